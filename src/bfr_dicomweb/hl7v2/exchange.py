"""Who exchanges messages with this archive, and how each of them writes: one TOML text.

Its tables and keys stand, with their meanings, in ``senders.example.toml`` (`EXAMPLE`).
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast, get_args
from zoneinfo import ZoneInfo

from bfr_dicomweb.errors import InvalidMessage, InvalidRequest
from bfr_dicomweb.hl7v2 import charsets
from bfr_dicomweb.hl7v2.field_names import DEFAULT_FIELDS, FieldName
from bfr_dicomweb.hl7v2.status_mapping import Role, Rule, StatusMapping
from bfr_dicomweb.orders.delays import Criterion, Delay
from bfr_dicomweb.orders.events import Kind, Party, ReportStatus
from bfr_dicomweb.orders.identifiers import of_unit, system_of
from bfr_dicomweb.toml_tables import Table, parsed

EXAMPLE: Final = (files("bfr_dicomweb.hl7v2") / "senders.example.toml").read_text("utf-8")
VERSIONS: Final = ("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8")
FORMATS: Final = ("ORM^O01", "OMG^O19")
CRITERIA: Final = get_args(Criterion)

_NOTHING_PROMISED: Final = Delay()
# Of each sender; about a kilobyte each.
MOST_SAID_BEFORE: Final = 1024

T = TypeVar("T")

HOME: Final = ZoneInfo("Europe/Stockholm")
PRODUCTION: Final = frozenset({"P"})
_STANDARD_MAPPING: Final = StatusMapping()


@dataclass(frozen=True, slots=True)
class Issuers:
    """Systems of identifiers that a sender writes without their authority."""

    accession: str = ""
    placer: str = ""
    filler: str = ""
    procedure: str = ""
    patient: str = ""


class SaidBefore:
    """What equal parts of a sender's messages were read as.

    An exam is told of again and again, with the same patient and the same numbers.
    """

    __slots__ = ("_read",)

    def __init__(self) -> None:
        self._read: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._read)

    def once(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` gives, which depends on nothing but the key and the sender."""
        found: T | None = self._read.get(key)
        if found is None:
            found = read()
            if len(self._read) >= MOST_SAID_BEFORE:
                self._read.clear()
            self._read[key] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Sender:
    """Attributes:
    performer: Who performs the exams that it tells of; None: a placer, or not known.
    charset: What it writes when MSH-18 is empty.
    allow_regress: It may take a status back.
    placer_number: ``exam``, or ``order`` when all exams of an order have the same one.
    fields: By item, the fields in which it stands, the first one first.
    headings: Of report sections, by the code of OBX-3.
    silence_hours: After so many hours without a message something is wrong; 0: never.
    own_reports: It sends structured reports (SR) of its own, so that none are written for it.
    processing: MSH-11 that is taken.
    said_before: For those who read its messages.
    """

    name: str
    role: Role = Role.BOTH
    application: tuple[str, ...] = ("*",)
    facility: tuple[str, ...] = ("*",)
    certificates: tuple[str, ...] = ()
    performer: Party | None = None
    issuers: Issuers = Issuers()
    charset: str = ""
    timezone: ZoneInfo = HOME
    allow_regress: bool = False
    placer_number: str = "exam"
    fields: Mapping[str, tuple[FieldName, ...]] = field(default_factory=lambda: DEFAULT_FIELDS)
    headings: Mapping[str, str] = field(default_factory=dict)
    mapping: StatusMapping = _STANDARD_MAPPING
    delay: Delay | None = None
    silence_hours: float = 0.0
    processing: frozenset[str] = PRODUCTION
    is_known: bool = True
    own_reports: bool = False
    said_before: SaidBefore = field(default_factory=SaidBefore, repr=False)

    @property
    def naming_fields(self) -> "Fields":
        """All that an exam can be named in."""
        return _naming_fields(self)

    @property
    def fact_fields(self) -> "Fields":
        """What is told of an exam in them, IPC and PV1 does not change with its status."""
        return _fact_fields(self)

    @property
    def performer_key(self) -> str:
        """As in `Event.performer`."""
        if self.performer is None:
            return ""
        identifier = self.performer.identifier
        return identifier.value if identifier is not None else self.performer.name

    def is_meant(self, application: str, facility: str, names: Collection[str]) -> bool:
        return (
            _matches(self.application, application)
            and _matches(self.facility, facility)
            and (not self.certificates or any(_matches(self.certificates, name) for name in names))
        )


# What names an exam, of `field_names.DEFAULT_FIELDS`.
_NAMING: Final = (
    *("accession", "filler", "placer", "group"),
    *("procedure_id", "step_id", "study_uid"),
)
# What else is told of it besides IPC and PV1: in fields that a sender can choose, and others.
_TELLING: Final = ("modality", "station_name", "station_ae_title", "start", "end")
_TOLD: Final = (
    *(FieldName("ORC", number) for number in (7, 12, 16, 17, 21)),
    *(FieldName("OBR", number) for number in (4, 5, 13, 16, 27, 31, 34, 44)),
    FieldName("AIS", 3),
    FieldName("TQ1", 9),
)


@dataclass(frozen=True, slots=True)
class Fields:
    """
    Attributes:
        by_segment: Names of segments, and numbers of their fields.
        codes: Of OBX-3, whose OBX-5 count too.
    """

    by_segment: tuple[tuple[str, tuple[int, ...]], ...]
    codes: frozenset[str]


def _by_segment(names: Iterable[FieldName]) -> Fields:
    numbers: dict[str, set[int]] = {}
    codes = set()
    for name in names:
        if name.code:
            codes.add(name.code)
        else:
            numbers.setdefault(name.segment, set()).add(name.number)
    by_segment = tuple((name, tuple(sorted(found))) for name, found in numbers.items())
    return Fields(by_segment, frozenset(codes))


@lru_cache(maxsize=512)
def _naming_fields(sender: Sender) -> Fields:
    return _by_segment(name for item in _NAMING for name in sender.fields[item])


@lru_cache(maxsize=512)
def _fact_fields(sender: Sender) -> Fields:
    return _by_segment([*_TOLD, *(name for item in _TELLING for name in sender.fields[item])])


@dataclass(frozen=True, slots=True)
class Tls:
    """Files. `certificate` and `key` are shown to a receiver that wants to know its client."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Attributes:
    send: Of status and report.
    format: Of status messages: ``ORM^O01`` or ``OMG^O19``.
    charset: As in MSH-18.
    requesters, performers: Identifiers of units; of their orders only. Empty: all.
    except_from: Names of senders whose own events are not sent back to them.
    """

    name: str
    kind: str
    host: str = ""
    port: int = 0
    url: str = ""
    tls: Tls | None = None
    send: frozenset[str] = frozenset({"status", "report"})
    format: str = "ORM^O01"
    version: str = "2.5.1"
    charset: str = "UNICODE UTF-8"
    application: str = ""
    facility: str = ""
    timezone: ZoneInfo = HOME
    requesters: frozenset[str] = frozenset()
    performers: frozenset[str] = frozenset()
    except_from: frozenset[str] = frozenset()

    def takes(
        self, what: str, *, sources: Collection[str] = (), requester: str = "", performer: str = ""
    ) -> bool:
        """
        Args:
            what: status or report.
            sources: Names of the senders that told of it.
            requester, performer: Identifiers of the units.
        """
        return (
            what in self.send
            and (not self.requesters or requester in self.requesters)
            and (not self.performers or performer in self.performers)
            and (not sources or not self.except_from.issuperset(sources))
        )


@dataclass(frozen=True, eq=False)
class Exchange:
    senders: tuple[Sender, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    accepts_unknown: bool = True
    processing: frozenset[str] = PRODUCTION

    def sender(self, application: str, facility: str, names: Collection[str] = ()) -> Sender:
        """The first that fits, else one of which nothing is known.

        Args:
            application, facility: MSH-3 and MSH-4.
            names: Of the certificate with which it connected.

        Raises:
            InvalidMessage: no sender fits, and unknown ones are refused.
        """
        for sender in self.senders:
            if sender.is_meant(application, facility, names):
                return sender
        if not self.accepts_unknown:
            raise InvalidMessage(
                "the sender is not known here", code=103, segment="MSH", field=3, rejected=True
            )
        return _stranger(application, facility, self.processing)

    def delay_of(self, performer: str) -> Delay:
        """When the images of a performer can be expected here (karens)."""
        return self._delays.get(performer, _NOTHING_PROMISED)

    @cached_property
    def _delays(self) -> dict[str, Delay]:
        return {s.performer_key: s.delay for s in reversed(self.senders) if s.delay is not None}

    def writes_own_reports(self, performer: str) -> bool:
        """Whether a performer sends structured reports (SR) of its own."""
        return any(s.own_reports for s in self.senders if s.performer_key == performer)

    @cached_property
    def silences(self) -> dict[str, float]:
        """Hours by sender's name."""
        return {s.name: s.silence_hours for s in self.senders if s.silence_hours}


@lru_cache(maxsize=256)
def _stranger(application: str, facility: str, processing: frozenset[str]) -> Sender:
    name = "|".join(part for part in (application, facility) if part) or "unknown"
    return Sender(name, processing=processing, is_known=False)


def _matches(globs: Collection[str], text: str) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)


@lru_cache(maxsize=16)
def parse(text: str) -> Exchange:
    """
    Raises:
        InvalidRequest: it is no TOML, or has what cannot be used; the text names table and key.
    """
    top = parsed(text)
    unknown = top.choice("unknown", ("accept", "refuse"), "accept")
    processing = frozenset(top.texts("processing")) or PRODUCTION
    senders = tuple(_sender(table, processing) for table in top.tables("senders"))
    _refuse_doubles("senders", [sender.name for sender in senders])
    receivers = tuple(_receiver(table) for table in top.tables("receivers"))
    _refuse_doubles("receivers", [receiver.name for receiver in receivers])
    top.refuse_others()
    return Exchange(senders, receivers, unknown == "accept", processing)


def _refuse_doubles(table: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise InvalidRequest(f"{table}: each needs a name of its own")


def _sender(table: Table, processing: frozenset[str]) -> Sender:
    role = table.member("role", Role, Role.BOTH)
    zone = _zone(table)
    found = Sender(
        name=table.required("name"),
        role=role,
        application=table.texts("application", ("*",)),
        facility=table.texts("facility", ("*",)),
        certificates=table.texts("certificates"),
        performer=_performer(table, role),
        issuers=_issuers(table.table("issuers")),
        charset=_charset(table),
        timezone=zone,
        allow_regress=table.flag("allow_regress"),
        placer_number=table.choice("placer_number", ("exam", "order"), "exam"),
        fields=_fields(table.table("fields")),
        headings=_headings(table.table("headings")),
        mapping=StatusMapping([_rule(rule) for rule in table.tables("statuses")]),
        delay=_delay(table.table("delay")),
        silence_hours=table.number("silence_hours"),
        own_reports=table.flag("own_reports"),
        processing=processing,
    )
    table.refuse_others()
    return found


def _zone(table: Table) -> ZoneInfo:
    name = table.text("timezone", HOME.key)
    try:
        return ZoneInfo(name)
    # a name that leads out of the folder of time zones is a ValueError
    except (KeyError, ValueError, OSError):
        raise table.refuse("timezone", "is no time zone") from None


def _charset(table: Table) -> str:
    charset = table.text("charset")
    if charset and charsets.codec_of(charset) is None:
        raise table.refuse("charset", "is no character set that is known here")
    return charset


def _performer(table: Table, role: Role) -> Party | None:
    given = table.table("performer")
    if given is None:
        return None
    if role is Role.PLACER:
        raise table.refuse("performer", "a placer performs nothing")
    identifier, name = given.text("identifier"), given.text("name")
    given.refuse_others()
    if not identifier and not name:
        raise table.refuse("performer", "needs an identifier or a name")
    return Party(of_unit(identifier) if identifier else None, name)


def _issuers(table: Table | None) -> Issuers:
    if table is None:
        return Issuers()
    keys = ("accession", "placer", "filler", "procedure", "patient")
    found = Issuers(**{key: _system(table.text(key)) for key in keys})
    table.refuse_others()
    return found


def _system(text: str) -> str:
    """Of an object identifier, of a name, or written as a URI already."""
    if text.startswith(("http://", "https://", "urn:")):
        return text
    return system_of(text)


def _fields(table: Table | None) -> Mapping[str, tuple[FieldName, ...]]:
    if table is None:
        return DEFAULT_FIELDS
    given = {}
    for item in table.names():
        if item not in DEFAULT_FIELDS:
            raise table.refuse(item, f"is none of {', '.join(DEFAULT_FIELDS)}")
        try:
            given[item] = tuple(FieldName.parse(name) for name in table.texts(item))
        except ValueError as error:
            raise table.refuse(item, str(error)) from None
    return MappingProxyType({**DEFAULT_FIELDS, **given})


def _headings(table: Table | None) -> Mapping[str, str]:
    if table is None:
        return MappingProxyType({})
    return MappingProxyType({code: table.text(code) for code in table.names()})


def _rule(table: Table) -> Rule:
    found = Rule(
        kind=Kind(table.choice("kind", tuple(Kind), "")),
        trigger=table.texts("trigger"),
        role=tuple(_role(table, name) for name in table.texts("role")),
        orc1=table.texts("orc1"),
        orc5=table.texts("orc5"),
        obr25=table.texts("obr25"),
        sch25=table.texts("sch25"),
        report=_report(table),
    )
    table.refuse_others()
    return found


def _role(table: Table, name: str) -> Role:
    if name not in tuple(Role):
        raise table.refuse("role", f"has to be of {', '.join(Role)}")
    return Role(name)


def _report(table: Table) -> ReportStatus | None:
    name = table.choice("report", ("", *ReportStatus), "")
    return ReportStatus(name) if name else None


def _delay(table: Table | None) -> Delay | None:
    if table is None:
        return None
    criterion = table.choice("criterion", CRITERIA, "")
    at = table.text("at")
    if (criterion == "schedule") != bool(at):
        raise table.refuse("at", "belongs to the criterion schedule, and to no other")
    if at and not _is_time_of_day(at):
        raise table.refuse("at", "has to be HH:MM")
    found = Delay(cast("Criterion", criterion), round(table.number("hours") * 3600), at)
    table.refuse_others()
    return found


def _is_time_of_day(text: str) -> bool:
    hour, colon, minute = text.partition(":")
    return (
        len(text) == 5 and colon == ":" and (hour + minute).isascii()
        and (hour + minute).isdigit() and int(hour) < 24 and int(minute) < 60
    )  # fmt: skip


def _receiver(table: Table) -> Receiver:
    name = table.required("name")
    kind = table.choice("kind", ("mllp", "http"), "mllp")
    wanted = table.table("for")
    found = Receiver(
        name=name,
        kind=kind,
        host=table.text("host"),
        port=_port(table, kind),
        url=table.text("url"),
        tls=_tls(table.table("tls")),
        send=_send(table),
        format=table.choice("format", FORMATS, "ORM^O01"),
        version=table.choice("version", VERSIONS, "2.5.1"),
        charset=_charset(table) or "UNICODE UTF-8",
        application=table.text("application"),
        facility=table.text("facility"),
        timezone=_zone(table),
        requesters=frozenset(wanted.texts("requesters")) if wanted is not None else frozenset(),
        performers=frozenset(wanted.texts("performers")) if wanted is not None else frozenset(),
        except_from=_except_from(table),
    )
    _refuse_incomplete(table, found)
    if wanted is not None:
        wanted.refuse_others()
    table.refuse_others()
    return found


def _except_from(table: Table) -> frozenset[str]:
    sender = table.text("sender")
    return frozenset(table.texts("except_from", (sender,) if sender else ()))


def _refuse_incomplete(table: Table, receiver: Receiver) -> None:
    if receiver.kind == "mllp" and not receiver.host:
        raise table.refuse("host", "is missing")
    if receiver.kind == "http" and not receiver.url.startswith(("http://", "https://")):
        raise table.refuse("url", "has to begin with http:// or https://")


def _port(table: Table, kind: str) -> int:
    port = table.number("port", 2575)
    if kind == "mllp" and not (1 <= port <= 65535 and port == int(port)):
        raise table.refuse("port", "has to be between 1 and 65535")
    return int(port)


def _send(table: Table) -> frozenset[str]:
    send = frozenset(table.texts("send", ("status", "report")))
    if not send or not send <= {"status", "report"}:
        raise table.refuse("send", "has to be of status, report")
    return send


def _tls(table: Table | None) -> Tls | None:
    if table is None:
        return None
    found = Tls(table.text("ca"), table.text("certificate"), table.text("key"))
    if bool(found.certificate) != bool(found.key):
        raise table.refuse("key", "certificate and key belong together")
    table.refuse_others()
    return found
