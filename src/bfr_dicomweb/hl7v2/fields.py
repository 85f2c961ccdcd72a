"""HL7 v2 data types (chapter 2A) in the words of `orders`.

`n` is always the number of the field, counted from 1 as the standard does. What is absent
reads as "".
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from datetime import date as calendar_date
from functools import lru_cache, update_wrapper
from typing import Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import quote

from bfr_dicomweb.hl7v2.message import Encoding, Segment
from bfr_dicomweb.orders.events import Coding, Party
from bfr_dicomweb.orders.identifiers import Identifier, of_patient, of_unit, system_of

# Identifier types that name a visit or an account and no person (table 0203).
_NOT_OF_A_PERSON: Final = frozenset({"VN", "AN", "ANC", "AND", "ANON", "ANT", "BA"})

# Names of coding systems (table 0396) and what FHIR calls them.
CODING_SYSTEMS: Final = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "RADLEX": "http://radlex.org",
    "UCUM": "http://unitsofmeasure.org",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "ICD-10": "http://hl7.org/fhir/sid/icd-10",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "KVÅ": "urn:oid:1.2.752.116.1.3.2.1.4",
    "KVA": "urn:oid:1.2.752.116.1.3.2.1.4",
}
LOCAL_CODES: Final = "urn:bfr:coding:"

_NONE: Final = ("",) * 10

_TIME: Final = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6})\d*)?)?)?)?)?)?"
    r"([+-]\d{4})?",
    re.ASCII,
)
_DATE: Final = re.compile(r"(\d{4})(\d\d)?(\d\d)?", re.ASCII)
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)
_GENDERS: Final = {
    "M": "male",
    "F": "female",
    "K": "female",  # kvinna
    "O": "other",
    "A": "other",
    "N": "other",
    "U": "unknown",
}


class InvalidTime(ValueError):
    """The text is no HL7 time (data types TS, DTM)."""


# What is longer is text, and that hardly ever comes twice.
_LONGEST_REMEMBERED: Final = 200
_REMEMBERED: Final = 4096

P = ParamSpec("P")
T = TypeVar("T")


def _remembered(
    read: Callable[Concatenate[Segment, int, P], T],
) -> Callable[Concatenate[Segment, int, P], T]:
    """Read equal fields once: messages name the same patients, persons, units and codes."""

    def read_raw(raw: str, encoding: Encoding, *args: P.args, **kwargs: P.kwargs) -> T:
        return read(Segment("", 1, ["", raw], encoding), 1, *args, **kwargs)

    known: Callable[..., T] = lru_cache(maxsize=_REMEMBERED)(read_raw)

    def remembering(segment: Segment, n: int, /, *args: P.args, **kwargs: P.kwargs) -> T:
        raw = segment.raw(n)
        if len(raw) > _LONGEST_REMEMBERED:
            return read(segment, n, *args, **kwargs)
        return known(raw, segment.encoding_of(n), *args, **kwargs)

    return update_wrapper(remembering, read)


def text(segment: Segment, n: int, component: int = 1, repetition: int = 1) -> str:
    raw = segment.raw(n)
    if not raw:
        return ""
    if raw.isalnum():
        return raw if component == 1 == repetition else ""
    return _text(segment, n, component, repetition)


@_remembered
def _text(segment: Segment, n: int, component: int, repetition: int) -> str:
    return segment.text(n, component, repetition).strip()


def part(segment: Segment, n: int, component: int, subcomponent: int, repetition: int = 1) -> str:
    return segment.text(n, component, repetition, subcomponent).strip()


@_remembered
def components(segment: Segment, n: int, repetition: int = 1) -> tuple[str, ...]:
    """The first subcomponents of at least ten components; nothing when the field is absent."""
    repetitions = segment.repetitions(n)
    if repetition > len(repetitions):
        return ()
    return (*map(str.strip, repetitions[repetition - 1].components), *_NONE)


def utc_text(at: datetime) -> str:
    """A moment in UTC as `orders.events` writes it."""
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def time(value: str, zone: tzinfo) -> str:
    """UTC text of a time; one without an offset is of `zone`.

    A time without minutes or a day begins with the hour, day, month or year that it names.

    Raises:
        InvalidTime: it is none.
    """
    found = _time(value, zone)
    if found is None:
        raise InvalidTime("not a time of the form YYYYMMDD[HHMM[SS[.S...]]][+/-ZZZZ]")
    return found


def time_or_none(value: str, zone: tzinfo) -> str:
    """The same, "" for what is no time."""
    return (_time(value, zone) or "") if value else ""


@lru_cache(maxsize=8192)
def _time(value: str, zone: tzinfo) -> str | None:
    match = _TIME.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        local = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            # a leap second is shown in the second before it
            min(int(second or 0), 59),
            int((fraction or "0").ljust(6, "0")),
            tzinfo=zone if offset is None else _zone_of(offset),
        )
        return utc_text(local.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _zone_of(offset: str) -> tzinfo:
    amount = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    return timezone(-amount if offset[0] == "-" else amount)


def offset_of(value: str) -> tzinfo | None:
    """The offset that a time names, which all times of its message without one have (2.A.22)."""
    match = _TIME.fullmatch(value)
    if match is None or match[8] is None:
        return None
    try:
        return _zone_of(match[8])
    except ValueError:
        return None


def date(value: str) -> str:
    """FHIR date of a birth date, as exact as it is known; "" for what is none."""
    match = _DATE.match(value)
    if match is None:
        return ""
    year, month, day = match.groups()
    if month is None or not 1 <= int(month) <= 12 or year == "0000":
        return year if year != "0000" and month in (None, "00") else ""
    try:
        calendar_date(int(year), int(month), int(day or 1))
    except ValueError:
        # reserve numbers have a day 00
        return f"{year}-{month}" if day == "00" else ""
    return f"{year}-{month}-{day}" if day else f"{year}-{month}"


def gender(code: str) -> str:
    return _GENDERS.get(code.upper(), "")


def uid(value: str) -> str:
    """A DICOM UID, "" for what is none."""
    return value if len(value) <= 64 and _UID.fullmatch(value) else ""


def authority(segment: Segment, n: int, component: int, repetition: int = 1) -> str:
    """System of the HD in a component: namespace, universal id, its type."""
    namespace = part(segment, n, component, 1, repetition)
    universal_id = part(segment, n, component, 2, repetition)
    return system_of(namespace, universal_id) if namespace or universal_id else ""


@_remembered
def entity(segment: Segment, n: int, repetition: int = 1) -> Identifier | None:
    """An entity identifier (EI): value, namespace, universal id, its type.

    Also as the first component of a pair (EIP), with subcomponents.
    """
    value, namespace, universal_id = (components(segment, n, repetition) or _NONE)[:3]
    if not value:
        return None
    # a pair has no universal id, and its second component is the other identifier
    system = authority_of_pair(segment, n, repetition)
    if not system and (namespace or universal_id):
        system = system_of(namespace, universal_id)
    return Identifier(system, value)


def authority_of_pair(segment: Segment, n: int, repetition: int) -> str:
    namespace = part(segment, n, 1, 2, repetition)
    universal_id = part(segment, n, 1, 3, repetition)
    return system_of(namespace, universal_id) if namespace or universal_id else ""


@_remembered
def patient_identifiers(segment: Segment, n: int, default_system: str) -> tuple[Identifier, ...]:
    """Of all repetitions of a CX that name a person, in their order."""
    found = []
    for repetition in range(1, len(segment.repetitions(n)) + 1):
        parts = components(segment, n, repetition)
        if not parts[0] or parts[4] in _NOT_OF_A_PERSON:
            continue
        known = of_patient(parts[0], authority(segment, n, 4, repetition))
        if not known.system and default_system:
            known = Identifier(default_system, known.value)
        found.append(known)
    return tuple(found)


@_remembered
def person(segment: Segment, n: int, repetition: int = 1) -> Party | None:
    """A person with an identifier (XCN): number, family, given, ..., 9 the authority."""
    parts = components(segment, n, repetition)
    if not any(parts[:3]):
        return None
    number, family, given = parts[:3]
    return Party(_of_unit(segment, n, 9, number, repetition), "", family, given)


def _of_unit(
    segment: Segment, n: int, component: int, number: str, repetition: int = 1
) -> Identifier | None:
    if not number:
        return None
    return of_unit(number, authority(segment, n, component, repetition))


@_remembered
def interpreter(segment: Segment, n: int) -> Party | None:
    """A name with date and location (NDL), whose first component is a whole person (CNN)."""
    number, family, given = (part(segment, n, 1, place) for place in (1, 2, 3))
    if not family and not given:
        # many write an XCN here
        return person(segment, n)
    system = system_of(part(segment, n, 1, 9), part(segment, n, 1, 10))
    return Party(of_unit(number, system) if number else None, "", family, given)


@_remembered
def unit(segment: Segment, n: int) -> Party | None:
    """An organisation (XON): name, ..., 6 the authority, 10 (before version 2.5: 3) the number."""
    parts = components(segment, n)
    if not parts:
        return None
    name, number = parts[0], parts[9] or parts[2]
    if not name and not number:
        return None
    if not number and (known := of_unit(name)).system:
        return Party(known)
    return Party(_of_unit(segment, n, 6, number), name)


@_remembered
def unit_of_code(segment: Segment, n: int) -> Party | None:
    """An organisation that is named by a code (CE): number, name."""
    parts = components(segment, n)
    if not any(parts[:2]):
        return None
    number, name = parts[:2]
    identified = of_unit(number) if number else None
    if identified is not None and not identified.system and not name:
        return Party(None, number)
    return Party(identified, name)


@_remembered
def coding(segment: Segment, n: int, repetition: int = 1) -> Coding | None:
    """A coded element (CE, CWE); the alternative when there is nothing else."""
    parts = components(segment, n, repetition)
    for code, display, system in (parts[:3], parts[3:6]) if parts else ():
        if code or display:
            return Coding(code, coding_system(system) if code else "", display)
    return None


@lru_cache(maxsize=1024)
def coding_system(name: str) -> str:
    if not name or name == "L":
        return ""
    known = CODING_SYSTEMS.get(name.upper())
    return known or (system_of("", name) if uid(name) else LOCAL_CODES + quote(name, safe=""))


@_remembered
def meaning(segment: Segment, n: int) -> str:
    """What a coded or a plain field says to a person, all repetitions."""
    every = (components(segment, n, place + 1) for place in range(len(segment.repetitions(n))))
    said = (parts[1] or parts[8] or parts[0] for parts in every)
    return "; ".join(filter(None, said))
