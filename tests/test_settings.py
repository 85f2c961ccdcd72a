"""Where settings come from, and what is said of wrong ones."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb import settings
from bfr_dicomweb.settings import Settings, SettingsError

WriteConfig = Callable[[str], None]
PASSWORD_URL = "postgresql://bfr:s3cret@db.example.org/bfr"


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteConfig:
    """Writes the TOML file that BFR_CONFIG names."""
    file = tmp_path / "bfr.toml"
    monkeypatch.setenv(settings.CONFIG_VARIABLE, str(file))

    def write(text: str) -> None:
        file.write_text(text, "utf-8")

    return write


def refusal(**given: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        settings.load(**given)
    return str(caught.value)


def test_without_any_setting_the_defaults_count() -> None:
    assert settings.load().http == Settings.model_fields["http"].default


def test_the_file_counts_where_nothing_else_says_anything(config: WriteConfig) -> None:
    config('http = "127.0.0.1:1"')

    assert settings.load().http == "127.0.0.1:1"


def test_the_environment_counts_more_than_the_file(
    config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config('http = "127.0.0.1:1"')
    monkeypatch.setenv("BFR_HTTP", "127.0.0.1:2")

    assert settings.load().http == "127.0.0.1:2"


def test_the_command_line_counts_most(config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config('http = "127.0.0.1:1"')
    monkeypatch.setenv("BFR_HTTP", "127.0.0.1:2")

    assert settings.load(http="127.0.0.1:3").http == "127.0.0.1:3"


def test_an_option_that_is_not_given_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BFR_HTTP", "127.0.0.1:2")

    assert settings.load(http=None).http == "127.0.0.1:2"


def test_each_source_can_set_something_else(
    config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config("workers = 3")
    monkeypatch.setenv("BFR_MAX_RESULTS", "200")

    chosen = settings.load(http="127.0.0.1:3")

    assert (chosen.workers, chosen.max_results, chosen.http) == (3, 200, "127.0.0.1:3")


def test_a_list_is_written_as_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BFR_CORS_ORIGINS", '["https://viewer.example.org"]')

    assert settings.load().cors_origins == ["https://viewer.example.org"]


def test_a_list_that_is_no_json_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BFR_CORS_ORIGINS", "https://viewer.example.org")

    assert "cors_origins" in refusal()


def test_an_unknown_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BFR_MAX_RESULT", "200")

    assert refusal() == "unknown setting: BFR_MAX_RESULT"


def test_variables_of_the_test_suite_are_not_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BFR_TEST_ANYTHING", "1")

    settings.load()


def test_an_unknown_name_in_the_file_is_refused_by_name(config: WriteConfig) -> None:
    config("max_result = 200")

    assert refusal() == "max_result: unknown setting"


def test_names_in_the_file_have_no_prefix(config: WriteConfig) -> None:
    config('bfr_http = "127.0.0.1:1"')

    assert refusal() == "bfr_http: unknown setting"


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(settings.CONFIG_VARIABLE, str(tmp_path / "none.toml"))

    assert refusal() == f"BFR_CONFIG: there is no file {tmp_path / 'none.toml'}"


def test_a_file_that_is_no_toml_is_refused(config: WriteConfig) -> None:
    config("http = ")

    assert "Invalid value" in refusal()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"http": "8080"}, "http: must be HOST:PORT, e.g. 127.0.0.1:8080"),
        ({"http": "127.0.0.1:65536"}, "http: must be HOST:PORT, e.g. 127.0.0.1:8080"),
        ({"http": ":8080"}, "http: must be HOST:PORT, e.g. 127.0.0.1:8080"),
        ({"http": "127.0.0.1:٨٠"}, "http: must be HOST:PORT, e.g. 127.0.0.1:8080"),
        ({"workers": 0}, "workers: Input should be greater than or equal to 1"),
        ({"max_results": 100}, "max_results: Input should be greater than or equal to 101"),
        ({"only": "dims"}, "only: Input should be 'http', 'mllp', 'dimse' or 'dispatcher'"),
        ({"dimse": "11112"}, "dimse: must be HOST:PORT, e.g. 127.0.0.1:8080"),
        (
            {"dimse_ae_title": "SEVENTEEN LETTERS"},
            "dimse_ae_title: must have 1 to 16 characters and no backslash",
        ),
        ({"log_level": "loud"}, "log_level: Input should be 'debug', 'info', 'warning' or 'error'"),
        (
            {"public_url": "archive.example.org"},
            "public_url: must begin with http:// or https://",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_reason(
    given: dict[str, Any], said: str
) -> None:
    # pydantic puts words of its own in front of ours
    assert refusal(**given).replace("Value error, ", "") == said


def test_all_wrong_values_are_told_at_once() -> None:
    assert refusal(workers=0, max_results=1).count("Input should be") == 2


def test_a_wrong_value_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BFR_WORKERS", "s3cret")

    assert "s3cret" not in refusal()


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "archive.example.org:80"])
def test_an_address_for_strangers_is_refused_with_the_reason(address: str) -> None:
    assert "without authentication anyone who reaches it could read" in refusal(http=address)


def test_an_address_for_strangers_is_taken_from_who_insists() -> None:
    chosen = settings.load(http="0.0.0.0:8080", allow_unauthenticated=True)

    assert chosen.http_address == ("0.0.0.0", 8080)


@pytest.mark.parametrize("address", ["127.0.0.1:80", "127.9.9.9:80", "localhost:80", "[::1]:80"])
def test_a_loopback_address_is_taken(address: str) -> None:
    assert settings.load(http=address).http_address[1] == 80


def test_a_door_for_dimse_to_strangers_needs_peers() -> None:
    assert refusal(dimse="0.0.0.0:104").startswith("dimse: 0.0.0.0:104 is no loopback address")


def test_a_door_for_dimse_to_strangers_is_taken_with_peers_or_from_who_insists() -> None:
    with_peers = settings.load(dimse="0.0.0.0:104", peers="peers.toml")
    insisting = settings.load(dimse="0.0.0.0:104", allow_unauthenticated=True)

    assert with_peers.dimse_addresses == insisting.dimse_addresses == {"dimse": ("0.0.0.0", 104)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dimse_certificate": "a.pem"}, "dimse_certificate and dimse_key belong together"),
        ({"dimse_tls": "127.0.0.1:2762"}, "dimse_tls needs dimse_certificate and dimse_key"),
        (
            {
                "dimse_tls": "127.0.0.1:11112",
                "dimse_certificate": "a.pem",
                "dimse_key": "a.key",
            },
            "dimse_tls needs an address of its own: dimse has this one",
        ),
        (
            {"dimse_tls": "[::]:2762", "dimse_certificate": "a.pem", "dimse_key": "a.key"},
            "dimse_tls: [::]:2762 is no loopback address, and without dimse_ca callers need",
        ),
    ],
)
def test_a_door_for_dimse_with_tls_needs_all_that_belongs_to_it(
    given: dict[str, Any], said: str
) -> None:
    assert refusal(**given).startswith(said)


@given(port=st.integers(0, 65535))
def test_an_address_is_its_host_and_its_port(port: int) -> None:
    assert settings.split_address(f"[::1]:{port}") == ("::1", port)


def test_a_public_url_loses_the_slash_at_its_end() -> None:
    assert settings.load(public_url="https://a.example.org/").public_url == "https://a.example.org"


def test_the_password_of_the_database_is_masked_when_shown() -> None:
    shown = settings.load(database_url=PASSWORD_URL).shown()

    assert shown["database_url"].replace("*", "") == ""


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    assert "s3cret" not in repr(settings.load(database_url=PASSWORD_URL))


def test_the_mask_has_one_length_whatever_it_hides() -> None:
    short, long = (
        settings.load(database_url=url).shown()["database_url"]
        for url in (PASSWORD_URL, PASSWORD_URL + "?application_name=bfr")
    )

    assert short == long


def test_the_catalogue_lies_in_the_data_folder_by_default(tmp_path: Path) -> None:
    assert settings.load(data=tmp_path).index_url == f"sqlite:///{tmp_path}/catalogue.sqlite"


def test_exported_settings_are_those_that_another_process_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = settings.load(
        data=tmp_path,
        http="127.0.0.1:9",
        database_url=PASSWORD_URL,
        cors_origins=["https://a.example.org", "https://b.example.org"],
        trust_forwarded=False,
    )
    for name in Settings.model_fields:
        # set first, so that what is exported is taken away again after the test
        monkeypatch.setenv(settings.PREFIX + name.upper(), "")
        monkeypatch.delenv(settings.PREFIX + name.upper())

    settings.export(chosen)

    assert settings.load() == chosen
