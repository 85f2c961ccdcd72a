"""Search parameters (PS3.18 section 8.3.4) as values, each matching key in a comparable form.

Keys are compared by `index/search.py`; what a key means is said here once:

- text matches exactly, case and accents included; person names as `person_names` folds them;
- dates and times are fixed-width texts (``20240131``, ``143000.000000``, both joined), so that
  they compare as text. A value of less precision denotes its whole interval;
- an empty stored value matches no key but the empty one: PS3.4 section C.2.2.1.2 would call it
  a match for any key, which would show a viewer other patients' studies.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from bfr_dicomweb.dicom import attributes, person_names
from bfr_dicomweb.dicom.attributes import tag_of, vr_of
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.refs import Level

Path = tuple[str, ...]
_LONGEST_DATE: Final = len("1997.07.01")


@dataclass(frozen=True, slots=True)
class Universal:
    """Matches everything; the attribute is returned (PS3.4 section C.2.2.2.3)."""


@dataclass(frozen=True, slots=True)
class Single:
    value: str


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Wildcard:
    """``*`` is any sequence of characters, ``?`` exactly one."""

    pattern: str


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the values: lists of UIDs, and of codes, in which a comma cannot stand."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Multiple:
    """Every one of the values (PS3.4 section C.2.2.2.8)."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Inclusive, in the fixed-width form; None is open."""

    start: str | None
    end: str | None
    single: bool = False  # one value was given, of which these are the ends
    alone: bool = False  # a time that is not joined with its date to one interval


@dataclass(frozen=True, slots=True)
class Empty:
    """Matches what is absent or has no value (PS3.4 section C.2.2.2.7)."""


@dataclass(frozen=True, slots=True)
class Name:
    """Folded component groups with or without wildcards; each must match a stored group."""

    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """Words of a name in any order; each must begin or sound like a stored word."""

    words: tuple[str, ...]


Match = Universal | Single | Number | Wildcard | AnyOf | Multiple | Range | Empty | Name | Fuzzy


@dataclass(frozen=True, slots=True)
class Custom:
    """An attribute that is searched because an administrator has had it indexed.

    Attributes:
        place: Instances whose key in the catalogue is lower are not covered yet; `left` is how
            many these are at most.
    """

    id: int
    name: str
    level: Level
    vr: str
    place: int = 0
    left: int = 0
    creator: str = ""  # of a private attribute


@dataclass(frozen=True, slots=True)
class Key:
    path: Path  # tags; all but the last are sequences
    match: Match
    custom: Custom | None = None

    @property
    def level(self) -> Level:
        return LEVEL_OF_KEY[self.path] if self.custom is None else self.custom.level


class SearchLevel(Enum):
    """The six resources of PS3.18 section 10.6.1.1: level of the results, levels of the keys."""

    STUDIES = (Level.STUDY, frozenset({Level.STUDY}))
    SERIES = (Level.SERIES, frozenset({Level.STUDY, Level.SERIES}))
    INSTANCES = (Level.INSTANCE, frozenset({Level.STUDY, Level.SERIES, Level.INSTANCE}))
    STUDY_SERIES = (Level.SERIES, frozenset({Level.SERIES}), "study")
    STUDY_INSTANCES = (Level.INSTANCE, frozenset({Level.SERIES, Level.INSTANCE}), "study")
    SERIES_INSTANCES = (Level.INSTANCE, frozenset({Level.INSTANCE}), "series")

    @property
    def level(self) -> Level:
        level: Level = self.value[0]
        return level

    @property
    def key_levels(self) -> frozenset[Level]:
        levels: frozenset[Level] = self.value[1]
        return levels


@dataclass(frozen=True, slots=True)
class Search:
    level: SearchLevel
    keys: tuple[Key, ...] = ()
    include: tuple[Path, ...] = ()
    include_all: bool = False
    limit: int = 0
    offset: int = 0
    timezone_minutes: int | None = None
    ignored: tuple[str, ...] = ()  # names of parameters that are not supported
    order_numbers: tuple[str, ...] = ()  # of orders that the studies must all answer
    returned_custom: tuple[tuple[str, Custom], ...] = ()  # tags whose values the index tells

    @property
    def returned_tags(self) -> frozenset[str]:
        """The attributes asked for, beyond those always returned; the outermost tag of each."""
        return frozenset(path[0] for path in (*(key.path for key in self.keys), *self.include))


def _paths(keywords: str) -> dict[Path, None]:
    """Paths in the order written, which is the order their parameters are documented in."""
    found: dict[Path, None] = {}
    for word in keywords.split():
        tags = tuple(tag_of(part) for part in word.split("."))
        found[tuple(tag for tag in tags if tag is not None)] = None
    return found


# What can be matched: PS3.18 Table 10.6.1-5, the Patient keys of PS3.4 Table C.6-1, and what else
# people search by.
STUDY_KEYS: Final = _paths("""
    PatientName PatientID IssuerOfPatientID PatientBirthDate PatientBirthTime PatientSex
    OtherPatientIDs OtherPatientNames EthnicGroup PatientComments
    OtherPatientIDsSequence.PatientID OtherPatientIDsSequence.IssuerOfPatientID
    StudyInstanceUID StudyDate StudyTime AccessionNumber StudyID StudyDescription
    ModalitiesInStudy SOPClassesInStudy ReferringPhysicianName NameOfPhysiciansReadingStudy
    InstitutionName ProcedureCodeSequence.CodeValue ProcedureCodeSequence.CodingSchemeDesignator
    ProcedureCodeSequence.CodeMeaning
""")
SERIES_KEYS: Final = _paths("""
    SeriesInstanceUID Modality SeriesNumber SeriesDescription SeriesDate SeriesTime
    PerformedProcedureStepStartDate PerformedProcedureStepStartTime PerformedProcedureStepID
    BodyPartExamined Laterality ProtocolName PerformingPhysicianName OperatorsName Manufacturer
    ManufacturerModelName StationName InstitutionalDepartmentName
    RequestAttributesSequence.ScheduledProcedureStepID
    RequestAttributesSequence.RequestedProcedureID RequestAttributesSequence.AccessionNumber
""")
INSTANCE_KEYS: Final = _paths("""
    SOPClassUID SOPInstanceUID InstanceNumber ContentDate ContentTime AcquisitionDate
    AcquisitionTime AcquisitionDateTime NumberOfFrames Rows Columns
""")
# Matched by the orders that studies are linked to, whatever the objects say.
ORDER_KEYS: Final = _paths("""
    PlacerOrderNumberImagingServiceRequest FillerOrderNumberImagingServiceRequest
""")
LEVEL_OF_KEY: Final[dict[Path, Level]] = {
    **dict.fromkeys(STUDY_KEYS, Level.STUDY),
    **dict.fromkeys(SERIES_KEYS, Level.SERIES),
    **dict.fromkeys(INSTANCE_KEYS, Level.INSTANCE),
}
_NONE: Final[Mapping[Path, Custom]] = MappingProxyType({})
PATIENT_KEYS: Final = frozenset(p for p in STUDY_KEYS if p[0] in attributes.PATIENT)

# Pairs that are one moment (PS3.4 section C.2.2.2.5.2): a range of each is one interval.
DATE_TIME_PAIRS: Final = tuple(
    tuple(_paths(pair))
    for pair in (
        "StudyDate StudyTime",
        "SeriesDate SeriesTime",
        "PerformedProcedureStepStartDate PerformedProcedureStepStartTime",
        "ContentDate ContentTime",
        "AcquisitionDate AcquisitionTime",
    )
)

_SWITCHES: Final = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
# Parameters of other sections, and attributes that are no keys.
_NOT_KEYS: Final = frozenset({"accept", "charset", "SpecificCharacterSet", "00080005"})
_TIMEZONE: Final = "00080201"
_UINT: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_UID: Final = re.compile(r"[0-9][0-9.]{0,63}", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,12}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_AGE: Final = re.compile(r"[0-9]{3}[DWMY]", re.ASCII)
_CODE: Final = re.compile(r"[A-Za-z0-9 _*?]+", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])(\d\d)([0-5]\d)", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_LIST: Final = re.compile(r"[,\\]")

_WILDCARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_MULTI_LINE_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})
_EMPTY_VRS: Final = _WILDCARD_VRS | {"DA", "DT", "PN", "TM"}
_MULTIPLE_VRS: Final = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})
_INTEGER_VRS: Final = frozenset({"IS", "SL", "SS", "UL", "US", "SV", "UV"})
_DECIMAL_VRS: Final = frozenset({"DS", "FD", "FL"})


@dataclass(slots=True)
class _Parameters:
    """The parameters of one request, sorted by what they are."""

    values: dict[Path, tuple[str, str]] = field(default_factory=dict)  # name as sent, value
    include: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def path_of(name: str) -> Path | None:
    """The tags that a parameter name stands for; None when it names no attribute of PS3.6."""
    tags = [tag_of(part) for part in name.split(".")]
    path = tuple(tag for tag in tags if tag is not None)
    if len(path) != len(tags) or any(vr_of(tag) is None for tag in path):
        return None
    if any(vr_of(tag) != "SQ" for tag in path[:-1]):
        return None
    return path


def parse_search(
    params: Sequence[tuple[str, str]],
    *,
    level: SearchLevel,
    max_results: int,
    custom: Mapping[Path, Custom] = _NONE,
) -> Search:
    """Read percent-decoded query parameters.

    Args:
        custom: What can be searched by beside `LEVEL_OF_KEY`.

    Raises:
        InvalidQuery: A supported parameter has an invalid value or stands twice.

    Names that are no parameter here are ignored (PS3.18 section 8.3) and told in `ignored`, as
    are keys of a level that the resource does not search (section 10.6.1.2.1).
    """
    sorted_out = _sort_out(params, custom)
    fuzzy, empty, multiple = (_switch(sorted_out.named, name) for name in _SWITCHES)
    zone = _timezone(sorted_out.values)
    keys: list[Key] = []
    order_numbers: list[str] = []
    include, include_all = _include(sorted_out.include)
    for path, (name, value) in sorted_out.values.items():
        own = custom.get(path)
        modes = Modes(fuzzy, empty, multiple, zone)
        match = match_of(name, path, value, modes, vr=own.vr if own else None)
        if isinstance(match, Universal):
            include.append(path)
        elif own is not None and own.level in level.key_levels:
            keys.append(Key(path, match, own))
        elif path in ORDER_KEYS and Level.STUDY in level.key_levels:
            order_numbers.append(_order_number(name, match))
        elif LEVEL_OF_KEY.get(path) in level.key_levels or path in PATIENT_KEYS:
            keys.append(Key(path, match))
        else:
            sorted_out.ignored.append(name)
    limit = _uint(sorted_out.named, "limit", max_results)
    return Search(
        level=level,
        keys=tuple(keys),
        include=tuple(dict.fromkeys(include)),
        include_all=include_all,
        limit=min(limit, max_results),
        offset=_uint(sorted_out.named, "offset", 0),
        timezone_minutes=zone,
        ignored=tuple(sorted_out.ignored),
        order_numbers=tuple(order_numbers),
        returned_custom=_returned_custom([*sorted_out.values, *include], custom, level.level),
    )


def _returned_custom(
    asked: Sequence[Path], custom: Mapping[Path, Custom], level: Level
) -> tuple[tuple[str, Custom], ...]:
    """Of instances every attribute is known without."""
    found = {
        path[0]: own
        for path in asked
        if len(path) == 1 and (own := custom.get(path)) and own.level is level
    }
    return tuple(found.items()) if level is not Level.INSTANCE else ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A search of a resource that is not below studies; the fields are those of `Search`."""

    keys: tuple[Key, ...] = ()
    include: tuple[Path, ...] = ()
    include_all: bool = False
    limit: int = 0
    offset: int = 0
    ignored: tuple[str, ...] = ()

    @property
    def returned_tags(self) -> frozenset[str]:
        return frozenset(path[0] for path in (*(key.path for key in self.keys), *self.include))


def parse_asked(
    params: Sequence[tuple[str, str]], *, matched: Collection[Path], max_results: int
) -> Asked:
    """As `parse_search`, for a resource that is searched by the attributes `matched`.

    Raises:
        InvalidQuery: A supported parameter has an invalid value or stands twice.
    """
    sorted_out = _sort_out(params)
    fuzzy, empty, multiple = (_switch(sorted_out.named, name) for name in _SWITCHES)
    modes = Modes(fuzzy, empty, multiple, _timezone(sorted_out.values))
    keys: list[Key] = []
    include, include_all = _include(sorted_out.include)
    for path, (name, value) in sorted_out.values.items():
        if path not in matched:
            sorted_out.ignored.append(name)
        elif isinstance(match := match_of(name, path, value, modes), Universal):
            include.append(path)
        else:
            keys.append(Key(path, match))
    return Asked(
        keys=tuple(keys),
        include=tuple(dict.fromkeys(include)),
        include_all=include_all,
        limit=min(_uint(sorted_out.named, "limit", max_results), max_results),
        offset=_uint(sorted_out.named, "offset", 0),
        ignored=tuple(sorted_out.ignored),
    )


def _order_number(name: str, match: Match) -> str:
    if not isinstance(match, Single):
        raise InvalidQuery(name, "must be one order number, without wildcards")
    return match.value


def _custom_path(name: str, custom: Mapping[Path, Custom]) -> Path | None:
    path = tuple(tag_of(part) or "" for part in name.split("."))
    return path if path in custom else None


def _sort_out(
    params: Sequence[tuple[str, str]], custom: Mapping[Path, Custom] = _NONE
) -> _Parameters:
    found = _Parameters()
    for name, value in params:
        if name == "includefield":
            found.include.append(value)
        elif name in ("limit", "offset") or name in _SWITCHES:
            if name in found.named:
                raise InvalidQuery(name, "stands twice")
            found.named[name] = value
        elif (path := path_of(name) or _custom_path(name, custom)) is not None:
            if path in found.values:
                raise InvalidQuery(name, "the attribute stands twice")
            if name not in _NOT_KEYS:
                found.values[path] = (name, value)
        elif name not in _NOT_KEYS and not _PRIVATE_CREATOR.fullmatch(name):
            found.ignored.append(name)
    return found


def _switch(named: dict[str, str], name: str) -> bool:
    value = named.get(name, "false")
    if value not in ("true", "false"):
        raise InvalidQuery(name, "must be true or false")
    return value == "true"


def _uint(named: dict[str, str], name: str, default: int) -> int:
    value = named.get(name)
    if value is None:
        return default
    if not _UINT.fullmatch(value):
        raise InvalidQuery(name, "must be an unsigned integer")
    return int(value)


# It says whose private attributes are meant (PS3.18 section 8.3.4.3), which here their tags do.
_PRIVATE_CREATOR: Final = re.compile(
    r"[0-9A-Fa-f]{3}[13579BDFbdf]00(?:[1-9A-Fa-f][0-9A-Fa-f])", re.ASCII
)
_PRIVATE: Final = re.compile(
    r"[0-9A-F]{3}[13579BDF](?:[1-9A-F][0-9A-F])[0-9A-F]{2}", re.ASCII
).fullmatch


def _include(values: list[str]) -> tuple[list[Path], bool]:
    names = [name for value in values for name in value.split(",") if name]
    if "all" in names:
        if len(names) > 1:
            raise InvalidQuery("includefield", "all must stand alone")
        return [], True
    # A field that is unknown has no value to return.
    paths = [path for name in names if (path := _include_path(name)) is not None]
    creators = [(f"{tag[:4]}00{tag[4:6]}",) for (tag, *rest) in paths if not rest and _PRIVATE(tag)]
    return [*paths, *creators], False


def _include_path(name: str) -> Path | None:
    path = path_of(name)
    if path is None and (tag := tag_of(name)) is not None:
        return (tag,)  # a private element by its tag
    return path


def _timezone(values: dict[Path, tuple[str, str]]) -> int | None:
    name, value = values.pop((_TIMEZONE,), ("", ""))
    if not value:
        return None
    minutes = offset_minutes(value)
    if minutes is None:
        raise InvalidQuery(name, "must be an offset from UTC such as +0100")
    return minutes


@dataclass(frozen=True, slots=True)
class Modes:
    """How keys are to be understood; `zone` is minutes east of UTC."""

    fuzzy: bool = False
    empty: bool = False
    multiple: bool = False
    zone: int | None = None


def match_of(name: str, path: Path, value: str, modes: Modes, *, vr: str | None = None) -> Match:
    """What a value asks of the attribute.

    Args:
        name: What the error calls the attribute.
        vr: Of the attribute; by default that of PS3.6.

    Raises:
        InvalidQuery: it asks nothing that there can be; the text does not hold the value.
    """
    vr = vr or vr_of(path[-1]) or "UN"
    if not value.strip("*"):
        return Universal()
    if value == '""' and modes.empty and vr in _EMPTY_VRS:
        return Empty()
    if _CONTROL.search(value):
        raise InvalidQuery(name, "holds control characters")
    if vr == "UI":
        return _uid_list(name, value)
    if vr in ("DA", "TM", "DT"):
        return _range(name, vr, value, modes.zone)
    if vr in _INTEGER_VRS or vr in _DECIMAL_VRS:
        return _number(name, vr, value)
    return _text(name, path, vr, value, modes)


def _uid_list(name: str, value: str) -> AnyOf:
    uids = tuple(dict.fromkeys(part.strip() for part in _LIST.split(value) if part.strip()))
    if not uids or not all(_UID.fullmatch(uid) for uid in uids):
        raise InvalidQuery(name, "must be a UID or a list of UIDs")
    return AnyOf(uids)


def _number(name: str, vr: str, value: str) -> Number:
    pattern = _INTEGER if vr in _INTEGER_VRS else _DECIMAL
    if not pattern.fullmatch(value.strip(" ")):
        raise InvalidQuery(name, "must be a number")
    return Number(float(value))


def _text(name: str, path: Path, vr: str, value: str, modes: Modes) -> Match:
    if vr == "SQ":
        raise InvalidQuery(name, "a sequence has no value of its own; name an attribute in it")
    listed = tuple(dict.fromkeys(part for part in _LIST.split(value) if part))
    may_have_many = attributes.is_multi_valued(path[-1])
    if modes.multiple and len(listed) > 1 and vr in _MULTIPLE_VRS and may_have_many:
        if any(_has_wildcard(part) for part in listed):
            raise InvalidQuery(name, "several values cannot have wildcards")
        return Multiple(tuple(_one(name, vr, part) for part in listed))
    if vr == "CS" and len(listed) > 1:
        if any(_has_wildcard(part) for part in listed):
            raise InvalidQuery(name, "several values cannot have wildcards")
        return AnyOf(tuple(_one(name, vr, part) for part in listed))
    if vr == "PN":
        return _person_name(value, fuzzy=modes.fuzzy)
    text = _one(name, vr, value)
    wild = vr in _WILDCARD_VRS and _has_wildcard(text)
    return Wildcard(text) if wild else Single(text)


def _has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


def _one(name: str, vr: str, value: str) -> str:
    """A single text value in the form stored text is compared in."""
    if vr == "PN":
        return person_names.fold_group(value)
    if "\\" in value and vr not in _MULTI_LINE_VRS:
        raise InvalidQuery(name, "must be a single value")
    if vr == "CS" and not _CODE.fullmatch(value):
        raise InvalidQuery(name, "must be a code string")
    if vr == "AS" and not _AGE.fullmatch(value):
        raise InvalidQuery(name, "must be an age such as 064Y")
    return normal_text(value)


def normal_text(value: str) -> str:
    """Text as it is compared: composed, without the padding that PS3.5 calls insignificant."""
    return (value if value.isascii() else unicodedata.normalize("NFC", value)).strip(" \0")


def _person_name(value: str, *, fuzzy: bool) -> Match:
    if fuzzy:
        found = tuple(dict.fromkeys(person_names.words(person_names.fold(value))))
        return Fuzzy(found) if found else Universal()
    groups = (person_names.fold_pattern(group) for group in value.split("="))
    wanted = tuple(group for group in groups if group.strip("*"))
    return Name(wanted) if wanted else Universal()


# --- dates and times -------------------------------------------------------------------------

_DATE: Final = re.compile(r"(\d{4})(\.?)(\d\d)\2(\d\d)", re.ASCII)
_TIME: Final = re.compile(r"(\d\d)(?:(:?)(\d\d)(?:\2(\d\d)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_DATETIME: Final = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?)?)?)?([+-]\d{4})?",
    re.ASCII,
)
_FIRST: Final = ("0001", "01", "01", "00", "00", "00")
_LAST: Final = ("9999", "12", "31", "23", "59", "59")


def offset_minutes(text: str) -> int | None:
    """Minutes east of UTC of a value of TimezoneOffsetFromUTC (0008,0201)."""
    match = _OFFSET.fullmatch(text.strip(" "))
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    minutes = -minutes if match[1] == "-" else minutes
    return minutes if -720 <= minutes <= 840 else None


def date_interval(text: str) -> tuple[str, str] | None:
    """A date in the fixed-width form, twice; None when it is none.

    The form of the ACR-NEMA, ``1997.07.01``, is tolerated (PS3.5 section 6.2).
    """
    date = text.strip(" ")
    return _date_interval(date) if len(date) <= _LONGEST_DATE else None


@lru_cache(maxsize=16_384)
def _date_interval(text: str) -> tuple[str, str] | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    whole = match[1] + match[3] + match[4]
    return (whole, whole) if _is_date(whole) else None


def _is_date(digits: str) -> bool:
    try:
        datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))  # noqa: DTZ001 # a day only
    except ValueError:
        return False
    return True


def time_interval(text: str) -> tuple[str, str] | None:
    """First and last microsecond of what a TM value denotes, as ``HHMMSS.FFFFFF``."""
    match = _TIME.fullmatch(text.strip(" "))
    if match is None:
        return None
    hour, _, minute, second, fraction = match.groups()
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        return None
    given = [part for part in (hour, minute, second) if part is not None]
    first = "".join([*given, *_FIRST[3 + len(given) :]])
    last = "".join([*given, *_LAST[3 + len(given) :]])
    return f"{first}.{fraction or '':0<6}", f"{last}.{fraction or '':9<6}"


def datetime_interval(text: str, zone: int | None = None) -> tuple[str, str] | None:
    """First and last microsecond of a DT value, in UTC where its offset or `zone` is known."""
    match = _DATETIME.fullmatch(text.strip(" "))
    if match is None:
        return None
    *parts, fraction, offset = match.groups()
    given = [part for part in parts if part is not None]
    first = [*given, *_FIRST[len(given) :]]
    last = [*given, *_LAST[len(given) :]]
    if len(given) == 2:
        last[2] = f"{_days_in(int(given[0]), given[1]):02d}"
    start, end = "".join(first), "".join(last)
    if not _is_date(start) or not _is_date(end) or not time_interval(start[8:]):
        return None
    minutes = offset_minutes(offset) if offset else zone
    if offset and minutes is None:
        return None
    bounds = f"{start}.{fraction or '':0<6}", f"{end}.{fraction or '':9<6}"
    return bounds if minutes is None else (shift(bounds[0], -minutes), shift(bounds[1], -minutes))


def _days_in(year: int, month: str) -> int:
    if month == "02":
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in ("04", "06", "09", "11") else 31


def shift(moment: str, minutes: int) -> str:
    """A moment of the fixed-width form, moved; at the ends of the calendar it stays."""
    if not minutes:
        return moment
    leap = moment[12:14] == "60"
    text = moment[:12] + "59" + moment[14:] if leap else moment
    try:
        date = int(text[:4]), int(text[4:6]), int(text[6:8])
        time = int(text[8:10]), int(text[10:12]), int(text[12:14]), int(text[15:21])
        moved = datetime(*date, *time) + timedelta(minutes=minutes)  # noqa: DTZ001 # any zone
    except (ValueError, OverflowError):
        return moment
    # strftime does not pad years to four digits everywhere.
    return f"{moved.year:04d}{moved:%m%d%H%M%S.%f}"


def interval(vr: str, text: str, zone: int | None) -> tuple[str, str] | None:
    """Of a value of the VR DA, TM or DT, as the functions above."""
    if vr == "DA":
        return date_interval(text)
    return time_interval(text) if vr == "TM" else datetime_interval(text, zone)


def _range(name: str, vr: str, value: str, zone: int | None) -> Range:
    """A single value or a range; a hyphen that can be part of an offset from UTC is."""
    single = interval(vr, value, zone)
    if single is not None:
        return Range(*single, single=True)
    for at in (found.start() for found in re.finditer("-", value)):
        start, end = value[:at].strip(" "), value[at + 1 :].strip(" ")
        low = interval(vr, start, zone) if start else None
        high = interval(vr, end, zone) if end else None
        if (start and low is None) or (end and high is None) or not (start or end):
            continue
        return Range(low and low[0], high and high[1])
    kind = {"DA": "date", "TM": "time", "DT": "date and time"}[vr]
    raise InvalidQuery(name, f"must be a {kind} or a range of these")
