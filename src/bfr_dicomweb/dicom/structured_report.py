"""What a radiologist's report says that is stored as a structured report (PS3.3 section A.35).

The tree of content items becomes sections of plain text, each under its heading. Nothing here is
in a language: words come from the document, only the marks between them from here.

Many structured reports are no reports in a clinician's sense: dose reports, measurements,
findings of computer-aided detection, key object selections. `is_report` tells them apart. It
believes a document to be a report when it is of a class for general text, claims no template of
measurements, and its title is a document type for imaging reports (CID 7000 and the LOINC types
in use beside it) or its template is one for such reports. When in doubt it is none: a report that
is not recognised can still be opened as what it is, but a measurement taken for a report would
tell a clinician that the exam has been read.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import Attributes
from bfr_dicomweb.errors import InvalidObject

DEPTH: Final = 40
ITEMS: Final = 100_000
TEXT_CHARACTERS: Final = 4_000_000

_CLASSES: Final = "1.2.840.10008.5.1.4.1.1.88."
BASIC_TEXT: Final = f"{_CLASSES}11"
ENHANCED: Final = f"{_CLASSES}22"
COMPREHENSIVE: Final = f"{_CLASSES}33"
# Basic Text, Enhanced, Comprehensive, Comprehensive 3D, Extensible (PS3.3 section A.35).
REPORT_CLASSES: Final = frozenset(
    {BASIC_TEXT, ENHANCED, COMPREHENSIVE, f"{_CLASSES}34", f"{_CLASSES}35"}
)
# PS3.16: Basic Diagnostic Imaging Report, Transcribed, with conditional radiation exposure.
_REPORT_TEMPLATES: Final = frozenset({"2000", "2005", "2006"})
# CID 7000 Diagnostic Imaging Report Document Title; in the last line types that were in use
# before it had codes of its own for them.
_LOINC_TITLES: Final = """
    11524-0 11525-3 11528-7 18745-0 18748-4 18750-0 18752-6 18754-2 18756-7 24534-0 24590-2
    24601-7 24606-6 24616-5 24627-2 24725-4 24733-8 24859-1 24884-9 24907-8 24990-4 25002-7
    25010-0 25045-6 25056-3 25061-3 28614-6 30695-1 38036-0 38269-7 39036-9 39445-2 39448-6
    39453-6 41806-1 42148-7 43468-8 43771-5 44136-0 44174-1 46375-2 47048-4 49118-3 49512-7
    18747-6 18755-9 18757-5 18758-3 18760-9 18782-3 68604-8
"""
_TITLES: Final = frozenset(
    {("LN", value) for value in _LOINC_TITLES.split()}
    | {("DCM", "111400")}  # Breast Imaging Report
)

# CID 7001 headings, by whichever of the codes in use for an addendum.
_ADDENDUM: Final = frozenset({("LN", "55107-7"), ("DCM", "121078")})
# Concepts that only repeat what the heading says: CID 7001 and 7002, in both generations.
_LOINC_HEADINGS: Final = """
    11329-0 18783-1 18785-6 18834-2 19005-8 29549-3 55107-7 55108-5 55109-3 55110-1 55111-9
    55112-7 55113-5 55114-3 55115-0 55752-0 59776-5 73568-8 73569-6 18782-3 18748-4
"""
_PLAIN: Final = frozenset(
    {("LN", value) for value in _LOINC_HEADINGS.split()}
    | {("DCM", str(value)) for value in (*range(121060, 121080), *range(121109, 121114))}
)
_LANGUAGE: Final = frozenset({("DCM", "121049"), ("DCM", "121046")})
_PERSON_OBSERVER: Final = ("DCM", "121008")

_VALUE_TYPE: Final = "0040A040"
_RELATIONSHIP: Final = "0040A010"
_CONCEPT: Final = "0040A043"
_CONTENT: Final = "0040A730"
_CONTINUITY: Final = "0040A050"
_TEMPLATES: Final = "0040A504"
_NO_UNIT: Final = frozenset({"1", "{no units}", "{unity}"})


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept; `scheme` is a Coding Scheme Designator (PS3.16 section 8)."""

    value: str = ""
    scheme: str = ""
    meaning: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.scheme, self.value


@dataclass(frozen=True, slots=True)
class Section:
    heading: Code
    text: str

    @property
    def is_addendum(self) -> bool:
        return self.heading.key in _ADDENDUM


@dataclass(frozen=True, slots=True)
class Person:
    family: str = ""
    given: str = ""


@dataclass(frozen=True, slots=True)
class Observer:
    """Who verified the document. `time` has a zone when the document tells it."""

    name: Person
    time: datetime | None
    organization: str
    identification: Code | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """An identifier and who gave it, as DICOM names assigners (Table 10-11 of PS3.3)."""

    value: str
    namespace: str = ""
    universal_id: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What the document says of the order that it answers."""

    study_instance_uid: str = ""
    accession: Number | None = None
    placer: Number | None = None
    filler: Number | None = None
    requested_procedure_id: str = ""


@dataclass(frozen=True, slots=True)
class ReadReport:
    """One structured report.

    Attributes:
        requests: The document's own accession number and study first, then each item of
            Referenced Request Sequence (0040,A370).
        times: Without a zone when the document tells none.
        preliminary_flag: PRELIMINARY, FINAL or "".
        people: Who is named as observer in the document, beside those who verified it.
        left_out: Texts so large that the archive keeps them as bulk data only.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    title: Code
    sections: tuple[Section, ...]
    completion_flag: str
    verification_flag: str
    preliminary_flag: str
    verifying_observers: tuple[Observer, ...]
    content_time: datetime | None
    predecessors: tuple[str, ...]
    requests: tuple[Request, ...]
    people: tuple[Person, ...] = ()
    manufacturer: str = ""
    model: str = ""
    left_out: int = 0

    @property
    def text(self) -> str:
        return "\n\n".join(section.text for section in self.sections if section.text)

    @property
    def accessions(self) -> tuple[Number, ...]:
        found = (request.accession for request in self.requests)
        return tuple(dict.fromkeys(number for number in found if number is not None))


def is_report(attributes: Attributes) -> bool:
    """Whether a clinician would call this structured report a report; see the module."""
    if _text(attributes, "00080016") not in REPORT_CLASSES or not _is_tree(attributes):
        return False
    templates = {
        _text(item, "0040DB00")
        for item in _items(attributes, _TEMPLATES)
        if _text(item, "00080105") in ("DCMR", "")  # others are of their makers
    } - {""}
    if templates & _REPORT_TEMPLATES:
        return True
    return not templates and code_of(attributes, _CONCEPT).key in _TITLES


def read(attributes: Attributes) -> ReadReport:
    """The document as text.

    Args:
        attributes: DICOM JSON of the data set, as `part10.read_header` gives it.

    Raises:
        InvalidObject: It is no structured report, or larger or deeper than any honest one.
    """
    if not _is_tree(attributes):
        raise InvalidObject("no structured report: the data set has no root container")
    zone = _zone(_text(attributes, "00080201"))
    teller = _Teller()
    sections = tuple(teller.sections(attributes))
    return ReadReport(
        sop_class_uid=_text(attributes, "00080016"),
        sop_instance_uid=_text(attributes, "00080018"),
        study_instance_uid=_text(attributes, "0020000D"),
        title=code_of(attributes, _CONCEPT),
        sections=sections,
        completion_flag=_text(attributes, "0040A491"),
        verification_flag=_text(attributes, "0040A493"),
        preliminary_flag=_text(attributes, "0040A496"),
        verifying_observers=tuple(_observers(attributes, zone)),
        content_time=_moment(_text(attributes, "00080023"), _text(attributes, "00080033"), zone),
        predecessors=tuple(_predecessors(attributes)),
        requests=tuple(_requests(attributes)),
        people=tuple(_people(attributes)),
        manufacturer=_text(attributes, "00080070"),
        model=_text(attributes, "00081090"),
        left_out=teller.left_out,
    )


def _is_tree(attributes: Attributes) -> bool:
    return _text(attributes, _VALUE_TYPE) == "CONTAINER"


# --- values, whatever their type -------------------------------------------------------------


def _values(attributes: Attributes, tag: str) -> list[Any]:
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _items(attributes: Attributes, tag: str) -> list[dict[str, Any]]:
    return [item for item in _values(attributes, tag) if isinstance(item, dict)]


def _text(attributes: Attributes, tag: str) -> str:
    for value in _values(attributes, tag):
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _number(value)
    return ""


def _number(value: float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def code_of(attributes: Attributes, tag: str) -> Code:
    for item in _items(attributes, tag):
        # short, long and URN code values (PS3.3 section 8.1)
        value = _text(item, "00080100") or _text(item, "00080119") or _text(item, "00080120")
        return Code(value, _text(item, "00080102"), _text(item, "00080104"))
    return Code()


def _person(attributes: Attributes, tag: str) -> Person:
    for name in _items(attributes, tag):
        for group in ("Alphabetic", "Ideographic", "Phonetic"):
            text = name.get(group)
            if isinstance(text, str) and text.strip("^ "):
                family, given, middle, *_ = (*text.split("^"), "", "", "")
                both = f"{given.strip()} {middle.strip()}"
                return Person(family.strip(), both.strip())
    return Person()


# --- times -----------------------------------------------------------------------------------

_DA: Final = re.compile(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)", re.ASCII)
_TM: Final = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_DT: Final = re.compile(r"(\d{8})(\d{2,6}(?:\.\d{1,6})?)?([+-]\d{4})?", re.ASCII)


def _zone(text: str) -> timezone | None:
    match = re.fullmatch(r"([+-])(\d\d)(\d\d)", text, re.ASCII)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))


def _moment(date: str, time: str, zone: timezone | None) -> datetime | None:
    day, clock = _DA.fullmatch(date), _TM.fullmatch(time)
    if day is None:
        return None
    hour, minute, second, fraction = clock.groups() if clock else ("0", None, None, None)
    try:
        return datetime(
            *(int(day[1]), int(day[2]), int(day[3]), int(hour), int(minute or 0)),
            # a leap second is the last moment of its minute here
            min(int(second or 0), 59),
            int(f"{fraction or '':0<6}"),
            tzinfo=zone,
        )
    except ValueError:
        return None


def _datetime(text: str, zone: timezone | None) -> datetime | None:
    match = _DT.fullmatch(text)
    if match is None:
        return None
    return _moment(match[1], match[2] or "", _zone(match[3] or "") or zone)


# --- what stands beside the tree -------------------------------------------------------------


def _observers(attributes: Attributes, zone: timezone | None) -> Iterator[Observer]:
    for item in _items(attributes, "0040A073"):
        code = code_of(item, "0040A088")
        yield Observer(
            name=_person(item, "0040A075"),
            time=_datetime(_text(item, "0040A030"), zone),
            organization=_text(item, "0040A027"),
            identification=code if code.value else None,
        )


def _predecessors(attributes: Attributes) -> Iterator[str]:
    for study in _items(attributes, "0040A360"):
        for series in _items(study, "00081115"):
            for instance in _items(series, "00081199"):
                if uid := _text(instance, "00081155"):
                    yield uid


def _requests(attributes: Attributes) -> Iterator[Request]:
    yield Request(
        study_instance_uid=_text(attributes, "0020000D"),
        accession=_given(attributes, "00080050", "00080051"),
    )
    for item in _items(attributes, "0040A370"):
        yield Request(
            study_instance_uid=_text(item, "0020000D"),
            accession=_given(item, "00080050", "00080051"),
            placer=_given(item, "00402016", "00400026"),
            filler=_given(item, "00402017", "00400027"),
            requested_procedure_id=_text(item, "00401001"),
        )


def _given(attributes: Attributes, tag: str, issuer_tag: str) -> Number | None:
    value = _text(attributes, tag)
    if not value:
        return None
    for issuer in _items(attributes, issuer_tag):
        return Number(value, _text(issuer, "00400031"), _text(issuer, "00400032"))
    return Number(value)


def _people(attributes: Attributes) -> Iterator[Person]:
    for item in _items(attributes, _CONTENT):
        if _text(item, _VALUE_TYPE) == "PNAME" and code_of(item, _CONCEPT).key == _PERSON_OBSERVER:
            person = _person(item, "0040A123")
            if person != Person():
                yield person


# --- the tree --------------------------------------------------------------------------------


class _Teller:
    """Puts content items into words, within limits."""

    def __init__(self) -> None:
        self.left_out = 0
        self._items = 0
        self._characters = 0

    def sections(self, root: Attributes) -> Iterator[Section]:
        """What the root contains, in its order; its modifiers and context are no sections."""
        for item in _items(root, _CONTENT):
            self._count(1)
            if _text(item, _RELATIONSHIP) != "CONTAINS":
                continue
            heading = code_of(item, _CONCEPT)
            if _text(item, _VALUE_TYPE) == "CONTAINER":
                text = self._container(item, heading, 1)
            else:
                below = self._below(item, heading, 1)
                text = "\n".join([line for line in (self._value(item), *below) if line])
            if text:
                yield Section(heading, text)

    def _count(self, depth: int) -> None:
        self._items += 1
        if depth > DEPTH:
            raise InvalidObject(f"a structured report deeper than {DEPTH} content items")
        if self._items > ITEMS:
            raise InvalidObject(f"a structured report of more than {ITEMS} content items")

    def _container(self, item: Attributes, heading: Code, depth: int) -> str:
        children = _items(item, _CONTENT)
        if _text(item, _CONTINUITY) != "CONTINUOUS" or not any(map(_is_in_text, children)):
            return "\n".join(self._lines(children, heading, depth))
        # Continuous text (PS3.3 section C.18.8): the values one after another make sentences.
        others = [child for child in children if _text(child, _RELATIONSHIP) != "CONTAINS"]
        sentence = " ".join(self._running(children, depth))
        lines = [sentence, *self._lines(others, heading, depth)]
        return "\n".join(line for line in lines if line)

    def _running(self, children: Iterable[Attributes], depth: int) -> Iterator[str]:
        for child in children:
            if _text(child, _RELATIONSHIP) != "CONTAINS":
                continue
            self._count(depth + 1)
            if _text(child, _VALUE_TYPE) == "CONTAINER":
                text = self._container(child, code_of(child, _CONCEPT), depth + 1)
            else:
                text = self._value(child)
                told = [line.strip() for line in self._below(child, Code(), depth + 1)]
                text += f" ({'; '.join(told)})" if told else ""
            if text.strip():
                yield text.strip()

    def _below(self, item: Attributes, heading: Code, depth: int) -> list[str]:
        return self._lines(_items(item, _CONTENT), heading, depth)

    def _lines(self, children: Sequence[Attributes], heading: Code, depth: int) -> list[str]:
        """A line or more for each content item and what is below it, indented by depth."""
        lines: list[str] = []
        lone = sum(_text(child, _VALUE_TYPE) == "TEXT" for child in children) == 1
        for child in children:
            self._count(depth + 1)
            concept = code_of(child, _CONCEPT)
            if concept.key in _LANGUAGE:
                continue
            if _text(child, _VALUE_TYPE) == "CONTAINER":
                lines += _headed(concept, self._container(child, concept, depth + 1))
                continue
            value = self._value(child)
            inner = self._below(child, concept, depth + 1)
            if not value:
                lines += inner
                continue
            is_plain = _repeats(child, concept, heading, lone=lone)
            lines.append(value if is_plain else _labelled(concept, value))
            lines += [f"  {line}" for line in inner]
        return lines

    def _value(self, item: Attributes) -> str:
        text = value_in_words(item)
        if _text(item, _VALUE_TYPE) == "TEXT" and "BulkDataURI" in item.get("0040A160", {}):
            self.left_out += 1
        self._characters += len(text)
        if self._characters > TEXT_CHARACTERS:
            raise InvalidObject(f"a structured report of more than {TEXT_CHARACTERS} characters")
        return text


def _is_in_text(item: Attributes) -> bool:
    return _text(item, _VALUE_TYPE) == "TEXT" and _text(item, _RELATIONSHIP) == "CONTAINS"


def _repeats(item: Attributes, concept: Code, heading: Code, *, lone: bool) -> bool:
    """Whether the concept of a text tells no more than the heading above it."""
    if _text(item, _VALUE_TYPE) != "TEXT":
        return False
    if concept.key in _PLAIN or concept == heading:
        return True
    return lone and bool(heading.value) and _text(item, _RELATIONSHIP) == "CONTAINS"


def _labelled(concept: Code, value: str) -> str:
    return f"{concept.meaning}: {value}" if concept.meaning else value


def _headed(concept: Code, text: str) -> list[str]:
    if not text:
        return []
    if not concept.meaning:
        return text.split("\n")
    return [f"{concept.meaning}:", *(f"  {line}" for line in text.split("\n"))]


def value_in_words(item: Attributes) -> str:
    """The value of a content item; "" for those that only point at something."""
    tell = _TOLD.get(_text(item, _VALUE_TYPE))
    return tell(item) if tell else ""


def _free_text(item: Attributes) -> str:
    lines = re.split(r"\r\n|\n\r|\r|\n|\f", _text(item, "0040A160"))
    return "\n".join(line.rstrip() for line in lines).strip()


def _coded(item: Attributes) -> str:
    code = code_of(item, "0040A168")
    return code.meaning or code.value


def _numeric(item: Attributes) -> str:
    for measured in _items(item, "0040A300"):
        unit = code_of(measured, "004008EA")
        value = _text(measured, "0040A30A")
        # UCUM writes units as people do, but for those in brackets and braces
        is_spoken = (
            unit.scheme == "UCUM" and unit.value.isprintable() and unit.value[:1] not in "[{"
        )
        name = unit.value if is_spoken else unit.meaning or unit.value
        return f"{value} {name}" if value and name and unit.value not in _NO_UNIT else value
    qualifier = code_of(item, "0040A301")
    return qualifier.meaning or qualifier.value


def _name(item: Attributes) -> str:
    person = _person(item, "0040A123")
    return f"{person.given} {person.family}".strip()


def _date(item: Attributes) -> str:
    text = _text(item, "0040A121")
    match = _DA.fullmatch(text)
    return "-".join(match.groups()) if match else text


def _time(item: Attributes) -> str:
    text = _text(item, "0040A122")
    match = _TM.fullmatch(text)
    return ":".join(part for part in match.groups()[:3] if part) if match else text


def _date_and_time(item: Attributes) -> str:
    text = _text(item, "0040A120")
    match = _DT.fullmatch(text)
    if match is None:
        return text
    date, time, zone = match.groups()
    clock = _TM.fullmatch(time or "")
    parts = [f"{date[:4]}-{date[4:6]}-{date[6:]}"]
    parts += [":".join(part for part in clock.groups()[:3] if part)] if clock else []
    return " ".join([*parts, *([zone] if zone else [])])


def _uid(item: Attributes) -> str:
    return _text(item, "0040A124")


# Images, waveforms, coordinates and other documents are pointed at and have no words.
_TOLD: Final = {
    "TEXT": _free_text,
    "CODE": _coded,
    "NUM": _numeric,
    "PNAME": _name,
    "DATE": _date,
    "TIME": _time,
    "DATETIME": _date_and_time,
    "UIDREF": _uid,
}
