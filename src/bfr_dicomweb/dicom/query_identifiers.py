"""Identifiers of queries (PS3.4 section C.2.2) as searches, and what is answered to them.

The keys mean what they mean in `matching`. `asked` and `matches` compare them with attributes that
stand in no catalogue, as those of a worklist do.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from pydicom.datadict import keyword_for_tag

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.dicom import attributes, matching, person_names
from bfr_dicomweb.dicom.attributes import Attributes, texts_of, values_of, vr_of
from bfr_dicomweb.dicom.matching import (
    AnyOf,
    Custom,
    Empty,
    Fuzzy,
    Key,
    Match,
    Modes,
    Multiple,
    Name,
    Number,
    Path,
    Range,
    Search,
    SearchLevel,
    Single,
    Universal,
    Wildcard,
)
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.refs import Level


class QueryLevel(StrEnum):
    """Query/Retrieve Level (0008,0052), PS3.4 Table C.4-1 and sections C.6.1 to C.6.3."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What SOP Class Extended Negotiation agreed on (PS3.4 Table C.5-1).

    Relational queries and enhanced multi-frame conversion change nothing here: the former are
    answered in any case, the latter are not offered.
    """

    combined_date_time: bool = False
    fuzzy_names: bool = False
    timezone: bool = False
    empty_values: bool = False
    multiple_values: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """A return key; `items` says what is returned of a sequence's items, None is everything."""

    vr: str
    items: "Mapping[str, Returned] | None" = None


@dataclass(frozen=True, slots=True)
class Query:
    """
    Attributes:
        search: For patients, one of studies by keys of patients only.
        returned: By tag.
        unsupported: Keys that are neither matched nor returned here, which is told with each
            answer (FF01).
        with_timezone: Timezone Offset From UTC is told even where it is not asked for.
    """

    level: QueryLevel
    search: Search
    returned: Mapping[str, Returned]
    unsupported: tuple[Path, ...]
    with_timezone: bool = False


_LEVEL: Final = "00080052"
_PATIENT_ID: Final = "00100020"
_TIMEZONE: Final = "00080201"
_RETRIEVE_AE_TITLE: Final = "00080054"
_AVAILABILITY: Final = "00080056"
# They say how to read the identifier or where to retrieve from; nothing is matched by them.
_NO_KEYS: Final = frozenset({"00080005", _LEVEL, _RETRIEVE_AE_TITLE, _AVAILABILITY, _TIMEZONE})
NUMBER_OF_PATIENT_RELATED: Final = ("00201200", "00201202", "00201204")
# Requests that name more are refused.
MOST_UIDS: Final = 10_000

_SEARCHED: Final = {
    QueryLevel.PATIENT: SearchLevel.STUDIES,
    QueryLevel.STUDY: SearchLevel.STUDIES,
    # Of the levels above only what is asked for is told.
    QueryLevel.SERIES: SearchLevel.STUDY_SERIES,
    QueryLevel.IMAGE: SearchLevel.SERIES_INSTANCES,
}
_MATCHED: Final[Mapping[QueryLevel, frozenset[Path]]] = {
    QueryLevel.PATIENT: matching.PATIENT_KEYS,
    QueryLevel.STUDY: frozenset((*matching.STUDY_KEYS, *matching.ORDER_KEYS)),
    QueryLevel.SERIES: frozenset(
        (*matching.STUDY_KEYS, *matching.ORDER_KEYS, *matching.SERIES_KEYS)
    ),
    QueryLevel.IMAGE: frozenset((*matching.LEVEL_OF_KEY, *matching.ORDER_KEYS)),
}
# Levels of the attributes that an administrator has had indexed.
_LEVELS: Final[Mapping[QueryLevel, frozenset[Level]]] = {
    QueryLevel.PATIENT: frozenset(),
    QueryLevel.STUDY: frozenset({Level.STUDY}),
    QueryLevel.SERIES: frozenset({Level.STUDY, Level.SERIES}),
    QueryLevel.IMAGE: frozenset(Level),
}
_OF_STUDIES: Final = attributes.STUDY_LEVEL.difference(NUMBER_OF_PATIENT_RELATED)
_KNOWN: Final[Mapping[QueryLevel, frozenset[str]]] = {
    QueryLevel.PATIENT: attributes.PATIENT.union(NUMBER_OF_PATIENT_RELATED),
    QueryLevel.STUDY: _OF_STUDIES,
    QueryLevel.SERIES: _OF_STUDIES | attributes.SERIES,
}
# Where to retrieve over HTTP is not known here; pixels are retrieved.
_NEVER_TOLD: Final = frozenset({"00081190", "7FE00008", "7FE00009", "7FE00010"})


# --- reading ---------------------------------------------------------------------------------


def parse_query(
    identifier: Attributes,
    *,
    levels: Iterable[QueryLevel],
    negotiated: Negotiated,
    page: int,
    custom: Mapping[Path, Custom] = MappingProxyType({}),
) -> Query:
    """Read the DICOM JSON of an identifier.

    Keys of any level above the one that is asked are taken, and none of them is demanded: so much
    is a relational query, and what hierarchical queries leave out is no error either.

    Args:
        levels: Of the information model.
        page: How many matches the search gives at a time.
        custom: What an administrator has had indexed. What is not complete yet counts as
            unsupported, too.

    Raises:
        InvalidQuery: the level is none of these, or a key has a value that nothing can match.
    """
    level = _level_of(identifier, levels)
    zone = _zone_of(identifier) if negotiated.timezone else None
    modes = Modes(negotiated.fuzzy_names, negotiated.empty_values, negotiated.multiple_values, zone)
    keys, orders, unsupported = [], [], _not_told(identifier, level)
    for path, text in _written(identifier):
        own = custom.get(path)
        if own is not None and own.level in _LEVELS[level]:
            asked = matching.match_of(own.name, path, text, modes, vr=own.vr)
            keys += [] if isinstance(asked, Universal) else [Key(path, asked, own)]
            unsupported += [path] if own.place else []
            continue
        if path not in _MATCHED[level]:
            unsupported += [path] if text.strip("*") else []
            continue
        match = _match(path, text, modes)
        if path in matching.ORDER_KEYS and isinstance(match, Single):
            orders.append(match.value)
        elif not isinstance(match, Universal):
            keys.append(Key(path, _apart(match, path, negotiated)))
    returned = returned_keys(identifier)
    search = Search(
        level=_SEARCHED[level],
        keys=tuple(keys),
        include=tuple((tag,) for tag in returned),
        limit=page,
        timezone_minutes=zone,
        order_numbers=tuple(orders),
    )
    return Query(level, search, returned, tuple(dict.fromkeys(unsupported)), negotiated.timezone)


def _level_of(identifier: Attributes, levels: Iterable[QueryLevel]) -> QueryLevel:
    told = "".join(texts_of(identifier, _LEVEL)).strip()
    for level in levels:
        if level == told:
            return level
    known = ", ".join(levels)
    raise InvalidQuery("QueryRetrieveLevel", f"must be one of {known}")


def _zone_of(identifier: Attributes) -> int | None:
    told = "".join(texts_of(identifier, _TIMEZONE))
    minutes = matching.offset_minutes(told) if told else None
    if told and minutes is None:
        raise InvalidQuery("TimezoneOffsetFromUTC", "must be an offset from UTC such as +0100")
    return minutes


def _not_told(identifier: Attributes, level: QueryLevel) -> list[Path]:
    return [(tag,) for tag in identifier if tag not in _NO_KEYS and not _is_told(tag, level)]


def _is_told(tag: str, level: QueryLevel) -> bool:
    known = _KNOWN.get(level)
    if known is not None:
        return tag in known
    return tag not in _NEVER_TOLD and tag not in NUMBER_OF_PATIENT_RELATED


def _written(identifier: Attributes, above: Path = ()) -> Iterator[tuple[Path, str]]:
    """The paths of all keys and the text of their values, as if asked for in a URL."""
    for tag, element in identifier.items():
        path = (*above, tag)
        if not above and tag in _NO_KEYS:
            continue
        if element["vr"] != "SQ":
            yield path, _text(element)
        elif items := values_of(identifier, tag):
            # a key has one item (PS3.4 section C.2.2.2.6)
            yield from _written(items[0], path)


def _text(element: Mapping[str, Any]) -> str:
    values = element.get("Value") or ()
    return "\\".join(
        "=".join(
            value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")
        ).rstrip("=")
        if isinstance(value, dict)
        else str("" if value is None else value)
        for value in values
    )


def _match(path: Path, text: str, modes: Modes) -> Match:
    name = ".".join(keyword_for_tag(int(tag, 16)) or tag for tag in path)
    match = matching.match_of(name, path, text, modes)
    if isinstance(match, AnyOf) and len(match.values) > MOST_UIDS:
        raise InvalidQuery(name, f"names more than {MOST_UIDS} values")
    if path in matching.ORDER_KEYS and not isinstance(match, Single | Universal):
        raise InvalidQuery(name, "must be one order number, without wildcards")
    return match


_TIMES: Final = frozenset(time for _, time in matching.DATE_TIME_PAIRS)


def _apart(match: Match, path: Path, negotiated: Negotiated) -> Match:
    """Without negotiation date and time are compared each for itself (PS3.4 C.2.2.2.5.2)."""
    if isinstance(match, Range) and path in _TIMES and not negotiated.combined_date_time:
        return replace(match, alone=True)
    return match


def returned_keys(identifier: Attributes) -> dict[str, Returned]:
    found = {}
    for tag, element in identifier.items():
        items = values_of(identifier, tag) if element["vr"] == "SQ" else []
        found[tag] = Returned(element["vr"], returned_keys(items[0]) if items else None)
    return found


# --- answering -------------------------------------------------------------------------------


def answer(query: Query, result: Attributes, *, retrieve_ae_title: str) -> dict[str, Any]:
    """The identifier of a response (PS3.4 section C.4.1.1.3.2), as DICOM JSON.

    Keys of which nothing is known have no value. Which Specific Character Set it has, is decided
    when it is encoded.
    """
    found = projected(result, query.returned)
    found[_LEVEL] = {"vr": "CS", "Value": [str(query.level)]}
    found[_RETRIEVE_AE_TITLE] = {"vr": "AE", "Value": [retrieve_ae_title]}
    found[_AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
    if query.with_timezone and _TIMEZONE in result:
        found[_TIMEZONE] = result[_TIMEZONE]
    return {tag: found[tag] for tag in sorted(found)}


def projected(result: Attributes, wanted: Mapping[str, Returned]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag, key in wanted.items():
        element = result.get(tag)
        if element is None or tag in _NEVER_TOLD:
            found[tag] = {"vr": vr_of(tag) or key.vr}
        elif key.items is None or element.get("vr") != "SQ":
            found[tag] = element
        else:
            items = [projected(item, key.items) for item in element.get("Value", ())]
            found[tag] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    return found


# --- without a catalogue ---------------------------------------------------------------------


def asked(identifier: Attributes, modes: Modes) -> tuple[Key, ...]:
    """All keys of an identifier that narrow what is found, in sequences to any depth.

    Raises:
        InvalidQuery: a key has a value that nothing can match.
    """
    found = ((path, _match(path, text, modes)) for path, text in _written(identifier))
    return tuple(Key(path, match) for path, match in found if not isinstance(match, Universal))


def as_query(identifier: Attributes) -> str:
    """The keys as the query of a search over HTTP (PS3.18 section 8.3.4.1)."""
    written = ((".".join(path), text) for path, text in _written(identifier))
    return "&".join(f"{name}={quote(text)}" for name, text in written if text)


def matches(keys: Sequence[Key], attributes: Attributes) -> bool:
    """Whether attributes (DICOM JSON) match all keys, as the archive's catalogue would say.

    For few data sets that stand in no catalogue, such as the items of a worklist: read the keys
    with `asked`. Keys of a sequence have to match within one item. What is empty or absent matches
    `Empty` only.
    """
    inside: dict[str, list[Key]] = {}
    for key in keys:
        if len(key.path) > 1:
            inside.setdefault(key.path[0], []).append(Key(key.path[1:], key.match))
        elif not _is_matched(key.path[0], key.match, attributes):
            return False
    return all(_any_item(values_of(attributes, tag), under) for tag, under in inside.items())


def _any_item(items: Sequence[Attributes], keys: Sequence[Key]) -> bool:
    return any(matches(keys, item) for item in items or ({},))


def _is_matched(tag: str, match: Match, attributes: Attributes) -> bool:
    values = values_of(attributes, tag)
    if isinstance(match, Empty):
        return not values
    if isinstance(match, Universal):
        return True
    vr = vr_of(tag) or "UN"
    if vr == "PN":
        return _name_matches(match, [value for value in values if isinstance(value, dict)])
    texts = [matching.normal_text(str(value)) for value in values]
    if isinstance(match, Number):
        return any(_number(text) == match.value for text in texts)
    if isinstance(match, Range):
        return any(_is_within(vr, text, match) for text in texts)
    return _text_matches(tag, match, texts)


def _text_matches(tag: str, match: Match, texts: Sequence[str]) -> bool:
    match match:
        case Single(value) if tag == _PATIENT_ID:
            wanted = set(identity_numbers.match_keys(value))
            return any(not wanted.isdisjoint(identity_numbers.match_keys(t)) for t in texts)
        case Single(value):
            return value in texts
        case Wildcard(pattern):
            return any(_pattern(pattern).fullmatch(text) for text in texts)
        case AnyOf(values):
            return not set(values).isdisjoint(texts)
        case Multiple(values):
            return set(values) <= set(texts)
    return False


def _pattern(pattern: str) -> re.Pattern[str]:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_within(vr: str, text: str, wanted: Range) -> bool:
    of = {"DA": matching.date_interval, "TM": matching.time_interval}
    moment = of.get(vr, matching.datetime_interval)(text)
    if moment is None:
        return False
    return (wanted.start or "") <= moment[0] and (wanted.end is None or moment[0] <= wanted.end)


def _name_matches(match: Match, names: Sequence[Mapping[str, Any]]) -> bool:
    groups = [group for name in names for group in person_names.folded_groups(name)]
    match match:
        case Name(wanted):
            return all(any(_pattern(w).fullmatch(group) for group in groups) for w in wanted)
        case Fuzzy(words):
            return all(any(_sounds(word, group) for group in groups) for word in words)
        case Multiple(wanted):
            return set(wanted) <= set(groups)
    return False


def _sounds(word: str, group: str) -> bool:
    """A stored word begins with the word, or its code with the code, if that is not too short."""
    code = person_names.sound(word)
    return any(own.startswith(word) for own in person_names.words(group)) or any(
        own == code or (len(code) > 1 and own.startswith(code))
        for own in person_names.sounds(group)
        if code
    )
