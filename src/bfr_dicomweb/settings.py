"""What can be set, from the command line, `BFR_*` variables or a TOML file, in that order."""

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX: Final = "BFR_"
# Variables of the test suite share the prefix; the server does not read them.
TEST_PREFIX: Final = "BFR_TEST_"
CONFIG_VARIABLE: Final = "BFR_CONFIG"
OFF: Final = "off"


class SettingsError(Exception):
    """A setting is unknown or has a value that cannot be used; the text says which."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data: Path = Field(Path("bfr-data"), description="Folder of the stored objects.")
    http: str = Field("127.0.0.1:8080", description="Address of the HTTP door, HOST:PORT.")
    mllp: str = Field(
        "127.0.0.1:2575", description="Address of the HL7 v2 door (MLLP), HOST:PORT, or off."
    )
    dimse: str = Field(
        "127.0.0.1:11112", description="Address of the DIMSE door, HOST:PORT, or off."
    )
    dimse_tls: str = Field(
        OFF, description="Address of the DIMSE door for peers that use TLS, HOST:PORT, or off."
    )
    only: Literal["http", "mllp", "dimse", "dispatcher"] | None = Field(
        None, description="Run this part alone."
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Processes that answer HTTP."
    )
    database_url: SecretStr | None = Field(
        None,
        description="sqlite:///PATH or postgresql://...; by default SQLite in the data folder.",
    )
    public_url: str | None = Field(
        None, description="URL of this server as clients see it, without /dicomweb."
    )
    trust_forwarded: bool = Field(
        True, description="Believe Forwarded and X-Forwarded-* headers when building URLs."
    )
    allow_unauthenticated: bool = Field(
        False, description="Listen on other than loopback addresses although nobody has to log in."
    )
    cors_origins: list[str] = Field(
        default_factory=list,
        description="Origins of browsers' pages that may read; pages on this machine always may.",
    )
    max_results: Annotated[int, Field(ge=101)] = Field(
        1000, description="Most matches of one search answer."
    )
    max_request_bytes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Largest request payload; no limit by default."
    )
    max_metadata_bytes: Annotated[int, Field(ge=1)] = Field(
        32 << 20, description="Most metadata of one request that stores it apart from bulk data."
    )
    max_bulk_bytes: Annotated[int, Field(ge=1)] = Field(
        16 << 30, description="Most bulk data of such a request; it is kept on disk meanwhile."
    )
    max_object_bytes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Largest object that is stored; no limit by default."
    )
    max_query_length: Annotated[int, Field(ge=1000)] = Field(
        32_768, description="Longest query string, in characters."
    )
    max_message_bytes: Annotated[int, Field(ge=1)] = Field(
        32 << 20, description="Largest HL7 v2 message and largest FHIR payload."
    )
    max_frame_bytes: Annotated[int, Field(ge=1)] = Field(
        1 << 30, description="Largest decoded frame."
    )
    frame_cache_bytes: Annotated[int, Field(ge=0)] = Field(
        64 << 20, description="Memory of each process for frames that it has decoded or encoded."
    )
    render_cache_bytes: Annotated[int, Field(ge=0)] = Field(
        64 << 20, description="Memory of each process for what it has rendered."
    )
    exchange: Path | None = Field(
        None,
        description="TOML file of HL7 v2 senders and receivers; taken over when it has changed.",
    )
    mllp_certificate: Path | None = Field(
        None, description="Certificate chain (PEM) of the HL7 v2 door; with it, it speaks TLS."
    )
    mllp_key: Path | None = Field(None, description="Private key (PEM) of that certificate.")
    mllp_client_ca: Path | None = Field(
        None, description="Authorities (PEM) of the certificates that senders must then show."
    )
    peers: Path | None = Field(
        None, description="TOML file of DIMSE peers; taken over when it has changed."
    )
    dimse_ae_title: str = Field(
        "BFR", description="AE title of this archive, when it is called and when it calls."
    )
    dimse_workers: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Processes that answer DIMSE."
    )
    dimse_max_associations: Annotated[int, Field(ge=1, le=4096)] = Field(
        128, description="Associations at one time that each of these processes accepts."
    )
    dimse_idle_seconds: Annotated[int, Field(ge=1)] = Field(
        600, description="Time without a byte after which an association is aborted."
    )
    dimse_max_pdu_bytes: Annotated[int, Field(ge=4096, le=1 << 20)] = Field(
        1 << 18, description="Longest DIMSE PDU that peers are told to send."
    )
    dimse_certificate: Path | None = Field(
        None,
        description="Certificate chain (PEM) that is shown to DIMSE peers that use TLS.",
    )
    dimse_key: Path | None = Field(None, description="Private key (PEM) of that certificate.")
    dimse_ca: Path | None = Field(
        None,
        description="Authorities (PEM) of peers' certificates; with it, callers have to show one.",
    )
    worklist_rules: Path | None = Field(
        None, description="TOML file of rules by which workitems are made."
    )
    workitem_days: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Days after which workitems that are over are deleted."
    )
    indexed_attributes: Path | None = Field(
        None,
        description="TOML file of further attributes to search by; taken over when it has changed.",
    )
    allow_deletion: bool = Field(False, description="Take DELETE of studies, series and instances.")
    deleted_days: Annotated[float, Field(ge=0)] = Field(
        30.0, description="Days after which the bytes of what was deleted are removed."
    )
    viewer_url: str | None = Field(
        None, description="URL of a viewer, to which /IHEInvokeImageDisplay leads."
    )
    notified_hosts: list[str] = Field(
        default_factory=list,
        description='Hosts to which FHIR subscriptions may be delivered; "*" is any.',
    )
    reserve_bytes: Annotated[int, Field(ge=0)] = Field(
        64 << 20, description="Free disk space below which nothing more is stored."
    )
    shutdown_seconds: Annotated[int, Field(ge=0)] = Field(
        30, description="Time that requests under way get to finish when the server stops."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )

    @field_validator("http")
    @classmethod
    def _has_host_and_port(cls, address: str) -> str:
        split_address(address)
        return address

    @field_validator("dimse_ae_title")
    @classmethod
    def _is_an_ae_title(cls, title: str) -> str:
        title = title.strip(" ")
        if not 1 <= len(title) <= 16 or "\\" in title:
            raise ValueError("must have 1 to 16 characters and no backslash")
        if not title.isascii() or not title.isprintable():
            raise ValueError("must be of printable ASCII characters")
        return title

    @field_validator("mllp", "dimse", "dimse_tls")
    @classmethod
    def _has_host_and_port_or_is_off(cls, address: str) -> str:
        if address != OFF:
            split_address(address)
        return address

    @field_validator("public_url", "viewer_url")
    @classmethod
    def _is_absolute(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/") if url else None

    @model_validator(mode="after")
    def _is_not_open_to_strangers(self) -> Self:
        host, _ = split_address(self.http)
        if not self.allow_unauthenticated and not is_loopback(host):
            raise ValueError(
                f"http: {host} is no loopback address, and without authentication anyone who "
                "reaches it could read every image; set allow_unauthenticated to do it anyway"
            )
        return self

    @model_validator(mode="after")
    def _knows_who_sends(self) -> Self:
        if (self.mllp_certificate is None) != (self.mllp_key is None):
            raise ValueError("mllp_certificate and mllp_key belong together")
        if self.mllp_client_ca is not None and self.mllp_certificate is None:
            raise ValueError("mllp_client_ca needs mllp_certificate: without TLS nobody shows any")
        if self.mllp == OFF or self.allow_unauthenticated or self.mllp_client_ca is not None:
            return self
        host, _ = split_address(self.mllp)
        if not is_loopback(host):
            raise ValueError(
                f"mllp: {host} is no loopback address, and without mllp_client_ca anyone who "
                "reaches it could send messages; set allow_unauthenticated to do it anyway"
            )
        return self

    @model_validator(mode="after")
    def _knows_who_associates(self) -> Self:
        if (self.dimse_certificate is None) != (self.dimse_key is None):
            raise ValueError("dimse_certificate and dimse_key belong together")
        if self.dimse_tls != OFF and self.dimse_certificate is None:
            raise ValueError("dimse_tls needs dimse_certificate and dimse_key")
        if self.dimse_tls != OFF and self.dimse_tls == self.dimse:
            raise ValueError("dimse_tls needs an address of its own: dimse has this one")
        if self.allow_unauthenticated:
            return self
        if self.opens_dimse_to_strangers and self.peers is None:
            raise ValueError(
                f"dimse: {self.dimse} is no loopback address, and needs peers, each with addresses;"
                " set allow_unauthenticated to do it anyway"
            )
        if (
            self.dimse_tls != OFF
            and self.dimse_ca is None
            and not is_loopback(split_address(self.dimse_tls)[0])
        ):
            raise ValueError(
                f"dimse_tls: {self.dimse_tls} is no loopback address, and without dimse_ca callers"
                " need no certificate; set allow_unauthenticated to do it anyway"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        file = os.environ.get(CONFIG_VARIABLE)
        toml = (TomlConfigSettingsSource(settings_cls, Path(file)),) if file else ()
        return (init_settings, env_settings, *toml)

    @property
    def http_address(self) -> tuple[str, int]:
        return split_address(self.http)

    @property
    def mllp_address(self) -> tuple[str, int] | None:
        return None if self.mllp == OFF else split_address(self.mllp)

    @property
    def dimse_addresses(self) -> dict[str, tuple[str, int]]:
        """By setting."""
        wanted = {"dimse": self.dimse, "dimse_tls": self.dimse_tls}
        return {name: split_address(text) for name, text in wanted.items() if text != OFF}

    @property
    def opens_dimse_to_strangers(self) -> bool:
        """Whether callers without TLS come from other machines."""
        return self.dimse != OFF and not is_loopback(split_address(self.dimse)[0])

    @property
    def index_url(self) -> str:
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.catalogue_file}"

    @property
    def catalogue_file(self) -> Path:
        """Of the embedded default."""
        return self.data / "catalogue.sqlite"

    def shown(self) -> dict[str, str]:
        """The effective values as text, secrets masked."""
        values = self.model_dump(mode="json")
        return {name: _text(value) for name, value in values.items()}


def load(**given: Any) -> Settings:
    """The effective settings; `given` are those of the command line that are not None.

    Raises:
        SettingsError: an unknown name, or a value that cannot be used.
    """
    _refuse_unknown_variables()
    file = os.environ.get(CONFIG_VARIABLE)
    if file and not Path(file).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {file}")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is no TOML: {error}") from None
    except ValueError as error:
        raise SettingsError(_reasons(error)) from None


def export(settings: Settings) -> None:
    """Make the processes that this one starts see the same settings."""
    for name, value in settings.model_dump(mode="json", exclude={"database_url"}).items():
        if value is not None:
            os.environ[PREFIX + name.upper()] = _text(value)
    if settings.database_url is not None:
        os.environ[PREFIX + "DATABASE_URL"] = settings.database_url.get_secret_value()


def split_address(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, e.g. 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known
    )
    if unknown:
        raise SettingsError(f"unknown setting: {', '.join(unknown)}")


def _reasons(error: ValueError) -> str:
    details = getattr(error, "errors", None)
    if details is None:
        return str(error)
    lines = []
    for detail in details(include_url=False, include_input=False):
        name = ".".join(str(part) for part in detail["loc"])
        reason = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            reason = "unknown setting"
        lines.append(f"{name}: {reason}" if name else reason)
    return "; ".join(lines)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return "" if value is None else str(value)
