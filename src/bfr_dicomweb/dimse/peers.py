"""Application entities that this archive knows: who they are, what they may do, what they need.

They stand in one TOML file; its tables and keys, with their meanings, in ``peers.example.toml``
(`EXAMPLE`).
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

import structlog
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import RE_VALID_UID

from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.toml_tables import Table, parsed

EXAMPLE: Final = (files("bfr_dicomweb.dimse") / "peers.example.toml").read_text("utf-8")

# In place of an AE title: whoever no other peer's title names.
ANY: Final = "*"
# PS3.5 Table 6.2-1: VR AE.
AE_TITLE_CHARACTERS: Final = 16
UID_CHARACTERS: Final = 64
LEAST_PDU_BYTES: Final = 4096
MOST_PDU_BYTES: Final = 1 << 20
LOOK_AGAIN_SECONDS: Final = 1.0
# VRs of which a value can be written in TOML as a text or a number.
_TEXTS: Final = frozenset(
    ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)
_NUMBERS: Final = frozenset(("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"))

log = structlog.get_logger("dimse")


class Permission(StrEnum):
    """What a peer may do here. To verify (C-ECHO) everyone may who may associate."""

    STORE = "store"
    QUERY = "query"
    RETRIEVE = "retrieve"
    COMMIT = "commit"
    WORKLIST = "worklist"
    PERFORM = "perform"
    WORKITEM = "workitem"


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a peer departs from the Standard or from what its site means by it.

    Attributes:
        character_set: Specific Character Set of text in which it declares none, and of what it is
            answered; "" leaves the Standard's default, and UTF-8 in answers when that cannot tell.
        issuer: Issuer of Patient ID of objects that name none, as a universal entity id (OID) or a
            local name.
        coercions: Attributes that are added to what it stores when they are missing or empty: DICOM
            JSON elements by tag.
    """

    character_set: str = ""
    issuer: str = ""
    coercions: dict[str, dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """
    Attributes:
        ae_title: Under which it calls and is called.
        host: Where it listens; "" when it is never called.
        addresses: From where it may call; none given is from anywhere.
        may: What it may ask of this archive.
        called: AE titles of this archive, beside its own, under which it may call.
        tls: Whether it has to use TLS to call, and is called with TLS.
        tls_name: Of the certificate that it shows when it is called; "" is its host.
        tls_ca: File of the authorities (PEM) of that certificate; None is those of all peers.
        certificates: Names of which its certificate has to have one when it calls; none given is
            any.
        transfer_syntaxes: That it takes; none given is all.
        max_associations: That it may have at one time with each process.
        max_pdu_bytes: Largest PDU that it is sent; 0 is what it says itself.
        response_seconds: Until it has to answer a message.
        commits_on_same_association: Results of storage commitment go over the association of the
            request while that is open, else over one of their own.
        is_notified: Of instances that become available (Instance Availability Notification).
    """

    ae_title: str
    host: str = ""
    port: int = 104
    addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    may: frozenset[Permission] = frozenset(Permission)
    called: tuple[str, ...] = ()
    tls: bool = False
    tls_name: str = ""
    tls_ca: Path | None = None
    certificates: tuple[str, ...] = ()
    transfer_syntaxes: tuple[str, ...] = ()
    max_associations: int = 16
    max_pdu_bytes: int = 0
    response_seconds: int = 60
    commits_on_same_association: bool = False
    is_notified: bool = False
    quirks: Quirks = field(default_factory=Quirks)

    def may_call_from(self, address: str) -> bool:
        """
        Args:
            address: IPv4 or IPv6.
        """
        if not self.addresses:
            return True
        calling = ip_address(address.partition("%")[0])
        calling = getattr(calling, "ipv4_mapped", None) or calling
        return any(calling in network for network in self.addresses)


class Peers:
    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        self._by_title = {peer.ae_title: peer for peer in peers}

    def find(self, ae_title: str) -> Peer | None:
        """The peer of this title, or the one that stands for all others if there is one."""
        return self._by_title.get(ae_title) or self._by_title.get(ANY)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_title.values())


class PeersFile:
    """The peers of a file, read again when it has changed.

    A new text that cannot be used is told in the log, and the peers of the last one stay.
    """

    def __init__(self, file: Path, *, strangers: bool = True) -> None:
        """
        Args:
            strangers: As in `parse`.

        Raises:
            InvalidRequest: the file cannot be used; says why.
        """
        self._file = file
        self._strangers = strangers
        self._looking = threading.Lock()
        self._looked_at = time.monotonic()
        self._stamp = _stamp(file)
        self._peers = read(file, strangers=strangers)

    def __call__(self) -> Peers:
        if time.monotonic() - self._looked_at < LOOK_AGAIN_SECONDS:
            return self._peers
        # whoever comes while another looks is given what was known
        if self._looking.acquire(blocking=False):
            try:
                self._look_again()
            finally:
                self._looking.release()
        return self._peers

    def _look_again(self) -> None:
        self._looked_at = time.monotonic()
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._peers = read(self._file, strangers=self._strangers)
        except InvalidRequest as error:
            reason = str(error)
        else:
            log.info("peers taken over", peers=len(list(self._peers)))
            return
        log.error("peers not taken over: the last ones stay", reason=reason)


def anyone_on_loopback() -> Peers:
    """Whoever calls from this machine may do everything."""
    return Peers([Peer(ANY, addresses=(ip_network("127.0.0.0/8"), ip_network("::1/128")))])


def read(file: Path, *, strangers: bool = True) -> Peers:
    """
    Args:
        strangers: As in `parse`.

    Raises:
        InvalidRequest: the file cannot be used; says why.
    """
    try:
        return parse(file.read_text("utf-8"), strangers=strangers)
    except OSError as error:
        raise InvalidRequest(f"{file}: {error.strerror}") from None
    except (UnicodeDecodeError, InvalidRequest) as error:
        raise InvalidRequest(f"{file}: {error}") from None


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Differs when the file does."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def parse(text: str, *, strangers: bool = True) -> Peers:
    """
    Args:
        strangers: Peers may call without TLS from anywhere, with nothing to tell them by.

    Raises:
        InvalidRequest: it is no TOML, or has what cannot be used; the text names peer and key.
    """
    top = parsed(text)
    found = [_peer(table) for table in top.tables("peers", called="ae_title")]
    top.refuse_others()
    titles = [peer.ae_title for peer in found]
    for title in titles:
        if titles.count(title) > 1:
            raise InvalidRequest(f"peers[{title}].ae_title: stands twice")
    for peer in found:
        if not (strangers or peer.addresses or peer.tls):
            raise InvalidRequest(
                f"peers[{peer.ae_title}].addresses: are needed where the door is open to other"
                " machines, unless the peer uses TLS"
            )
    return Peers(found)


def _peer(table: Table) -> Peer:
    found = Peer(
        ae_title=_ae_title(table, "ae_title", table.required("ae_title")),
        host=table.text("host"),
        port=table.whole("port", 104, least=1, most=65535),
        addresses=_addresses(table),
        may=_permissions(table),
        called=tuple(_ae_title(table, "called", title) for title in table.texts("called")),
        tls=table.flag("tls"),
        tls_name=table.text("tls_name"),
        tls_ca=_file(table, "tls_ca"),
        certificates=table.texts("certificates"),
        transfer_syntaxes=_transfer_syntaxes(table),
        max_associations=table.whole("max_associations", 16, least=1, most=1000),
        max_pdu_bytes=table.whole("max_pdu_bytes", 0, most=MOST_PDU_BYTES),
        response_seconds=table.whole("response_seconds", 60, least=1, most=3600),
        commits_on_same_association=table.flag("commits_on_same_association"),
        is_notified=table.flag("is_notified"),
        quirks=_quirks(table.table("quirks")),
    )
    _refuse_contradictions(table, found)
    table.refuse_others()
    return found


def _refuse_contradictions(table: Table, peer: Peer) -> None:
    if 0 < peer.max_pdu_bytes < LEAST_PDU_BYTES:
        raise table.refuse("max_pdu_bytes", f"has to be 0 or at least {LEAST_PDU_BYTES}")
    if peer.certificates and not peer.tls:
        raise table.refuse("certificates", "needs tls = true: without TLS it shows none")
    if (peer.tls_name or peer.tls_ca) and not peer.tls:
        raise table.refuse("tls_name" if peer.tls_name else "tls_ca", "needs tls = true")
    if peer.ae_title == ANY and peer.host:
        raise table.refuse("host", "a peer that stands for all others cannot be called")
    if peer.is_notified and not peer.host:
        raise table.refuse("is_notified", "needs the host that is to be notified")


def _ae_title(table: Table, key: str, text: str) -> str:
    title = text.strip(" ")
    if not title or len(title) > AE_TITLE_CHARACTERS:
        raise table.refuse(key, f"has to have 1 to {AE_TITLE_CHARACTERS} characters")
    if not title.isascii() or not title.isprintable() or "\\" in title:
        raise table.refuse(key, "has to be of printable ASCII characters without a backslash")
    return title


def _addresses(table: Table) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(text) for text in table.texts("addresses"))
    except ValueError as error:
        raise table.refuse("addresses", str(error)) from None


def _permissions(table: Table) -> frozenset[Permission]:
    names = table.texts("may")
    for name in names:
        if name not in tuple(Permission):
            raise table.refuse("may", f"{name!r} is none of {', '.join(Permission)}")
    return frozenset(Permission(name) for name in names)


def _file(table: Table, key: str) -> Path | None:
    name = table.text(key)
    if not name:
        return None
    if not Path(name).is_file():
        raise table.refuse(key, f"there is no file {name}")
    return Path(name)


def _transfer_syntaxes(table: Table) -> tuple[str, ...]:
    uids = table.texts("transfer_syntaxes")
    for uid in uids:
        if not re.fullmatch(RE_VALID_UID, uid) or len(uid) > UID_CHARACTERS:
            raise table.refuse("transfer_syntaxes", f"{uid!r} is no UID")
    return uids


def _quirks(table: Table | None) -> Quirks:
    if table is None:
        return Quirks()
    found = Quirks(
        character_set=table.text("character_set"),
        issuer=table.text("issuer"),
        coercions=_coercions(table.table("coercions")),
    )
    table.refuse_others()
    return found


def _coercions(table: Table | None) -> dict[str, dict[str, object]]:
    if table is None:
        return {}
    return dict(_coercion(table, keyword) for keyword in table.names())


def _coercion(table: Table, keyword: str) -> tuple[str, dict[str, object]]:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise table.refuse(keyword, "is no keyword of an attribute of DICOM")
    vr = dictionary_VR(tag)
    given = table.value(keyword)
    values = given if isinstance(given, list) else [given]
    allowed = (str,) if vr in _TEXTS else (int, float) if vr in _NUMBERS else ()
    if not all(isinstance(value, allowed) for value in values) or not values:
        raise table.refuse(keyword, f"an attribute of VR {vr} cannot be given this value")
    shown = [{"Alphabetic": value} for value in values] if vr == "PN" else values
    return f"{tag:08X}", {"vr": vr, "Value": shown}
