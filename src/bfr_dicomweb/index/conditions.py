"""Matching keys as SQL conditions on the columns, and as questions to the trigram index.

The names ``t``, ``s`` and ``i`` are study, series and instance in every statement.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.dicom import matching, person_names
from bfr_dicomweb.dicom.indexed_attributes import LONGEST, VALUE, WORD, number
from bfr_dicomweb.dicom.matching import (
    AnyOf,
    Custom,
    Empty,
    Fuzzy,
    Key,
    Match,
    Multiple,
    Name,
    Number,
    Path,
    Range,
    Single,
    Wildcard,
)
from bfr_dicomweb.index import columns
from bfr_dicomweb.index.columns import SEPARATOR, Column, Kind, Term
from bfr_dicomweb.refs import Level

NEVER: Final = "1 = 0"


@dataclass(slots=True)
class Parameters:
    """The values of a statement and the places that stand for them."""

    for_sqlite: bool
    values: list[Any] = field(default_factory=list)

    def add(self, value: Any) -> str:
        self.values.append(value)
        return f"?{len(self.values)}"

    def add_list(self, values: Iterable[Any], sql_type: str = "text") -> str:
        return f"IN ({self.add(list(values))}::{sql_type}[])"


# --- text ------------------------------------------------------------------------------------


def _pattern(pattern: str, *, one: str, glob: bool) -> str:
    """A DICOM pattern in the language of GLOB or of LIKE; `one` is any character there."""
    found = []
    for character in pattern:
        if character == "*":
            found.append("*" if glob else "%")
        elif character == "?":
            found.append(one)
        elif glob:
            found.append(f"[{character}]" if character == "[" else character)
        else:
            found.append(f"\\{character}" if character in "%_\\" else character)
    return "".join(found)


def _like(column: str, pattern: str, parameters: Parameters) -> str:
    if parameters.for_sqlite:
        text = _pattern(pattern, one="?", glob=True)
        return f"{column} GLOB {parameters.add(text)}"
    return f"{column} LIKE {parameters.add(_pattern(pattern, one='_', glob=False))}"


def _has_value(column: str, value: str, parameters: Parameters) -> str:
    place = parameters.add(f"{SEPARATOR}{value}{SEPARATOR}")
    function = "instr" if parameters.for_sqlite else "strpos"
    return f"{function}({column}, {place}) > 0"


def _value_like(column: str, pattern: str, parameters: Parameters) -> str:
    """Whether one of the values between separators has the pattern."""
    if "*" not in pattern and "?" not in pattern:
        return _has_value(column, pattern, parameters)
    ends_open = pattern.endswith("*"), pattern.startswith("*")
    core = pattern.strip("*")
    roughly = "*" + ("" if ends_open[1] else SEPARATOR) + core
    roughly += "*" if ends_open[0] else f"{SEPARATOR}*"
    condition = _like(column, roughly, parameters)
    if "*" not in core and "?" not in core:
        return condition
    # A wildcard inside the pattern could run on into the next value.
    inside = f"[^{SEPARATOR}]"
    parts = (inside + "*" if c == "*" else inside if c == "?" else re.escape(c) for c in pattern)
    place = parameters.add(f"{SEPARATOR}{''.join(parts)}{SEPARATOR}")
    operator = "REGEXP" if parameters.for_sqlite else "~"
    return f"({condition} AND {column} {operator} {place})"


def _text(column: str, match: Match, parameters: Parameters) -> str:
    match match:
        case Single(value):
            return f"{column} = {parameters.add(value)}"
        case Wildcard(pattern):
            return _like(column, pattern, parameters)
        case AnyOf(values):
            return f"{column} {parameters.add_list(values)}"
        case Multiple(values):
            return f"{column} = {parameters.add(values[0])}" if len(values) == 1 else NEVER
    return NEVER


def _texts(column: str, match: Match, parameters: Parameters) -> str:
    match match:
        case Single(value):
            return _has_value(column, value, parameters)
        case Wildcard(pattern):
            return _value_like(column, pattern, parameters)
        case AnyOf(values):
            return _any(_has_value(column, value, parameters) for value in values)
        case Multiple(values):
            return _all(_has_value(column, value, parameters) for value in values)
    return NEVER


def _name(column: str, match: Match, parameters: Parameters) -> str:
    match match:
        case Name(groups):
            return _all(_value_like(column, group, parameters) for group in groups)
        case Fuzzy(words):
            return _all(_sounds_like(f"{column}_words", word, parameters) for word in words)
        case Multiple(values):
            return _all(_has_value(column, value, parameters) for value in values)
    return NEVER


def heard(word: str) -> list[str]:
    """What a typed word is looked for as, each with the separator in front.

    A code of one letter would find every second name, so it must be the whole code.
    """
    code = person_names.sound(word)
    found = [f"{SEPARATOR}{word}"]
    if code:
        found.append(f"{SEPARATOR}{code}" + ("" if len(code) > 1 else SEPARATOR))
    return found


def _sounds_like(column: str, word: str, parameters: Parameters) -> str:
    function = "instr" if parameters.for_sqlite else "strpos"
    return _any(f"{function}({column}, {parameters.add(text)}) > 0" for text in heard(word))


def _any(conditions: Iterable[str]) -> str:
    return "(" + " OR ".join(conditions) + ")"


def _all(conditions: Iterable[str]) -> str:
    return "(" + " AND ".join(conditions) + ")"


# --- values of all kinds ---------------------------------------------------------------------


def _range(column: str, match: Match, parameters: Parameters) -> str:
    if not isinstance(match, Range):
        return NEVER
    # An open start still leaves out what has no value.
    conditions = [f"{column} >= {parameters.add(match.start or '0')}"]
    if match.end is not None:
        conditions.append(f"{column} <= {parameters.add(match.end)}")
    return _all(conditions)


def _number(column: str, match: Match, parameters: Parameters) -> str:
    if not isinstance(match, Number) or abs(match.value) >= columns.NO_NUMBER:
        return NEVER
    return f"{column} = {parameters.add(int(match.value))}"


def condition(alias: str, column: Column, match: Match, parameters: Parameters) -> str:
    name = f"{alias}.{column.name}"
    if isinstance(match, Empty):
        return f"{name} = ''"
    if column.kind is Kind.TEXT:
        return _text(name, match, parameters)
    if column.kind is Kind.TEXTS:
        return _texts(name, match, parameters)
    if column.kind is Kind.NAME:
        return _name(name, match, parameters)
    if column.kind in (Kind.INTEGER, Kind.NUMBER):
        return _number(name, match, parameters)
    return _range(name, match, parameters)


# --- keys that are no plain column -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Items:
    """The table of a sequence: one row an item."""

    table: str
    owner: str  # its column that holds the key of the study or series
    alias: str
    columns: dict[str, str]  # tag -> column


OTHER_IDS: Final = Items(
    "study_other_id",
    "study_id",
    "t",
    {"00100020": "patient_id", "00100021": "issuer_of_patient_id"},
)
SEQUENCES: Final = {
    "00101002": OTHER_IDS,
    "00081032": Items(
        "study_procedure",
        "study_id",
        "t",
        {
            "00080100": "code_value",
            "00080102": "coding_scheme_designator",
            "00080104": "code_meaning",
        },
    ),
    "00400275": Items(
        "series_request",
        "series_id",
        "s",
        {
            "00400009": "scheduled_step_id",
            "00401001": "requested_procedure_id",
            "00080050": "accession_number",
        },
    ),
}


def _items(items: Items, keys: Sequence[Key], parameters: Parameters) -> str:
    """One item must match all the keys (PS3.4 section C.2.2.2.6)."""
    conditions = []
    for key in keys:
        column = items.columns[key.path[-1]]
        if isinstance(key.match, Empty):
            conditions.append(f"o.{column} = ''")
        elif column == "patient_id" and isinstance(key.match, Single):
            wanted = patient_terms(key.match.value)
            conditions.append(f"o.match_key {parameters.add_list(wanted)}")
        else:
            conditions.append(_text(f"o.{column}", key.match, parameters))
    of_owner = f"FROM {items.table} o WHERE o.{items.owner} = {items.alias}.id"
    found = f"EXISTS (SELECT 1 {of_owner} AND {_all(conditions)})"
    if all(isinstance(key.match, Empty) for key in keys):
        return f"({found} OR NOT EXISTS (SELECT 1 {of_owner}))"
    return found


def patient_terms(text: str) -> list[str]:
    return [columns.term_value(key) for key in identity_numbers.match_keys(text)]


def _patient_id(match: Match, parameters: Parameters) -> str:
    if isinstance(match, Single):
        terms = parameters.add_list(patient_terms(match.value))
        return (
            f"EXISTS (SELECT 1 FROM study_term x WHERE x.kind = {Term.PATIENT.value}"  # noqa: S608 # our words
            f" AND x.value {terms} AND x.study_date = t.study_date"
            " AND x.study_time = t.study_time AND x.study_instance_uid = t.study_instance_uid)"
        )
    if isinstance(match, Empty):
        return "t.patient_id = ''"
    own = _text("t.patient_id", match, parameters)
    return _any((own, _texts("t.other_patient_ids", match, parameters)))


def _uids(column: str, match: Match, parameters: Parameters) -> str:
    if not isinstance(match, AnyOf):
        return NEVER
    if len(match.values) == 1:
        # of one study an index gives the order; of a list, even of one, nothing does
        return f"{column} = {parameters.add(match.values[0])}"
    return f"{column} {parameters.add_list(match.values)}"


UID_COLUMNS: Final = {
    "0020000D": "t.study_instance_uid",
    "0020000E": "s.series_instance_uid",
    "00080016": "i.sop_class_uid",
    "00080018": "i.sop_instance_uid",
}
SUMS: Final = {"00080061": "t.modalities", "00080062": "t.sop_classes"}
BY_TAG: Final[dict[str, tuple[str, Column]]] = {
    column.tag: (alias, column)
    for alias, table in (("t", columns.STUDY), ("s", columns.SERIES), ("i", columns.INSTANCE))
    for column in table
}
_UTC: Final = {"00080020": "t.study_utc", "00400244": "s.performed_step_utc"}
_TWO_DAYS_MIN: Final = 2 * 24 * 60


def conditions(keys: Sequence[Key], zone: int | None, parameters: Parameters) -> list[str]:
    """The conditions that the keys are; all must hold."""
    found, left = _moments([key for key in keys if key.custom is None], zone, parameters)
    found += [indexed(key, key.custom, parameters) for key in keys if key.custom is not None]
    sequences: dict[str, list[Key]] = {}
    for key in left:
        if len(key.path) > 1:
            sequences.setdefault(key.path[0], []).append(key)
        else:
            found.append(_plain(key.path[0], key.match, parameters))
    for tag, inside in sequences.items():
        found.append(_items(SEQUENCES[tag], inside, parameters))
    return found


def _plain(tag: str, match: Match, parameters: Parameters) -> str:
    if tag in UID_COLUMNS:
        return _uids(UID_COLUMNS[tag], match, parameters)
    if tag in SUMS:
        name = SUMS[tag]
        return f"{name} = ''" if isinstance(match, Empty) else _texts(name, match, parameters)
    if tag == "00100020":
        return _patient_id(match, parameters)
    alias, column = BY_TAG[tag]
    return condition(alias, column, match, parameters)


def _moments(
    keys: Sequence[Key], zone: int | None, parameters: Parameters
) -> tuple[list[str], list[Key]]:
    """The conditions of dates with their times, and the keys that are left."""
    ranges = {key.path: key.match for key in keys if isinstance(key.match, Range)}
    found: list[str] = []
    done: set[Path] = set()
    for date_path, time_path in matching.DATE_TIME_PAIRS:
        date, time = ranges.get(date_path), ranges.get(time_path)
        if date is None:
            continue
        shifted = zone is not None and date_path[0] in _UTC
        combined = time is not None and not time.alone and _one_interval(date, time)
        if not combined and not shifted:
            continue
        done |= {date_path, time_path} if combined else {date_path}
        inside = _local(date_path[0], time_path[0], date, time if combined else None, parameters)
        if shifted:
            whole = _whole(date, time if combined else None)
            inside = _in_zone(date_path[0], whole, zone or 0, inside, parameters)
        found.append(inside)
    return found, [key for key in keys if key.path not in done]


def _one_interval(date: Range, time: Range) -> bool:
    """Whether a range of dates and one of times have the same form (PS3.4 C.2.2.2.5.2)."""
    same_form = (date.start is None, date.end is None) == (time.start is None, time.end is None)
    # on one day a single time is an interval, too, and has to be for a shift of zones
    return same_form and (not time.single or date.start == date.end)


def _local(
    date_tag: str, time_tag: str, date: Range, time: Range | None, parameters: Parameters
) -> str:
    alias, column = BY_TAG[date_tag]
    name = f"{alias}.{column.name}"
    found = [_range(name, date, parameters)]
    if time is not None:
        of_day = f"{alias}.{BY_TAG[time_tag][1].name}"
        found.append(f"{of_day} <> ''")
        whole = Range(*_whole(date, time))
        found.append(_range(f"({name} || {of_day})", whole, parameters))
    return _all(found)


def _whole(date: Range, time: Range | None) -> tuple[str | None, str | None]:
    first = time.start if time is not None and time.start else "000000.000000"
    last = time.end if time is not None and time.end else "235959.999999"
    return date.start and date.start + first, date.end and date.end + last


def _in_zone(
    tag: str, whole: tuple[str | None, str | None], zone: int, local: str, parameters: Parameters
) -> str:
    """Rows that know their zone are compared in UTC, the others as they stand."""
    utc = _UTC[tag]
    start, end = (moment and matching.shift(moment, -zone) for moment in whole)
    # Every zone lies within two days of every other; this bounds the walk of the date index.
    alias, column = BY_TAG[tag]
    first = start and matching.shift(start, -_TWO_DAYS_MIN)[:8]
    last = end and matching.shift(end, _TWO_DAYS_MIN)[:8]
    bounds = _range(f"{alias}.{column.name}", Range(first, last), parameters)
    known = _range(utc, Range(start, end), parameters)
    return f"({bounds} AND (({utc} <> '' AND {known}) OR ({utc} = '' AND {local})))"


# --- attributes that an administrator has had indexed ------------------------------------------

_OWNERS: Final = {Level.STUDY: "t.id", Level.SERIES: "s.id", Level.INSTANCE: "i.id"}
# Whether an owner has an instance that is not covered.
_BEFORE: Final = {
    Level.STUDY: "EXISTS (SELECT 1 FROM series v JOIN instance u ON u.series_id = v.id"
    " WHERE v.study_id = t.id AND u.id < {place})",
    Level.SERIES: "EXISTS (SELECT 1 FROM instance u WHERE u.series_id = s.id AND u.id < {place})",
    Level.INSTANCE: "i.id < {place}",
}
_AFTER_ALL: Final = "\U0010ffff"


def indexed(key: Key, custom: Custom, parameters: Parameters) -> str:
    owner = _OWNERS[custom.level]
    if isinstance(key.match, Empty):
        # of what is not covered nobody knows whether it is empty
        nothing = f"NOT {_indexed_value(custom, owner, '1 = 1')}"
        if not custom.place:
            return nothing
        before = _BEFORE[custom.level].format(place=parameters.add(custom.place))
        return f"({nothing} AND NOT {before})"
    asked = _indexed_texts(key.match, custom, parameters)
    return _all(_indexed_value(custom, owner, text) for text in asked)


def _indexed_value(custom: Custom, owner: str, condition: str) -> str:
    return (
        f"EXISTS (SELECT 1 FROM indexed_value c WHERE c.attribute_id = {custom.id}"  # noqa: S608
        f" AND c.owner_id = {owner} AND {condition})"
    )


def indexed_owners(key: Key, custom: Custom, parameters: Parameters) -> str:
    """The owners that have a value which is asked for; a superset where several are."""
    condition = next(_indexed_texts(key.match, custom, parameters))
    return (
        f"SELECT DISTINCT c.owner_id FROM indexed_value c"  # noqa: S608 # our words
        f" WHERE c.attribute_id = {custom.id} AND {condition}"
    )


def _indexed_texts(match: Match, custom: Custom, parameters: Parameters) -> Iterator[str]:
    """Conditions on rows of indexed_value; for each there has to be a row."""
    if isinstance(match, Fuzzy):
        for word in match.words:
            yield f"c.part = {WORD} AND {_indexed_word(word, parameters)}"
        return
    for condition in _indexed_values(match, custom, parameters):
        yield f"c.part = {VALUE} AND {condition}"


def _indexed_values(match: Match, custom: Custom, parameters: Parameters) -> Iterator[str]:
    match match:
        case Single(value):
            yield _is_indexed(value, parameters)
        case Multiple(values):
            yield from (_is_indexed(value, parameters) for value in values)
        case AnyOf(values):
            yield f"c.value {parameters.add_list([value[:LONGEST] for value in values])}"
        case Wildcard(pattern):
            yield _indexed_like(pattern, parameters)
        case Name(groups):
            yield from (_indexed_like(group, parameters) for group in groups)
        case Number(value):
            yield _is_indexed(number(value, custom.vr), parameters)
        case Range():
            yield _range("c.value", match, parameters)
        case _:
            yield NEVER


def _is_indexed(text: str, parameters: Parameters) -> str:
    return f"c.value = {parameters.add(text[:LONGEST])}"


def _indexed_like(pattern: str, parameters: Parameters) -> str:
    prefix = _LITERAL.split(pattern, maxsplit=1)[0]
    if prefix == pattern:
        return _is_indexed(pattern, parameters)
    found = _like("c.value", pattern, parameters)
    return _all((found, _begins(prefix, parameters))) if prefix else found


def _begins(prefix: str, parameters: Parameters) -> str:
    first, last = parameters.add(prefix), parameters.add(prefix + _AFTER_ALL)
    return f"c.value >= {first} AND c.value < {last}"


def _indexed_word(word: str, parameters: Parameters) -> str:
    """As `heard` has it: a code of one letter must be the whole code."""
    found = []
    for text in (one.strip(SEPARATOR) for one in heard(word)):
        is_code_of_one = len(text) == 1 and text.isupper()
        found.append(_is_indexed(text, parameters) if is_code_of_one else _begins(text, parameters))
    return _any(f"({one})" for one in found)


# --- the trigram index -----------------------------------------------------------------------

_LITERAL: Final = re.compile(r"[*?]+")
_MOST_TRIGRAMS: Final = 5


def trigrams(text: str) -> list[str]:
    """Trigrams that cover the text, as few as do."""
    if len(text) < 3:
        return []
    starts = [*range(0, len(text) - 3, 3), len(text) - 3]
    return list(dict.fromkeys(text[at : at + 3] for at in starts))[:_MOST_TRIGRAMS]


def _ask(names: str, literals: Iterable[str]) -> str | None:
    found = [t for literal in literals for t in trigrams(literal)][:_MOST_TRIGRAMS]
    if not found:
        return None
    quoted = " AND ".join('"' + text.replace('"', '""') + '"' for text in found)
    return f"{{{names}}} : ({quoted})"


def question(key: Key) -> str | None:
    """What FTS5 is asked for a study key: a condition that every match meets, or None."""
    if len(key.path) > 1 or key.path[0] not in BY_TAG:
        return None
    alias, column = BY_TAG[key.path[0]]
    if alias != "t" or not column.trigrams:
        return None
    names = f"{column.name} other_patient_ids" if column.name == "patient_id" else column.name
    match key.match:
        case Single(value):
            return _ask(names, [value])
        case Wildcard(pattern):
            return _ask(names, _LITERAL.split(pattern))
        case Name(groups):
            return _ask(names, [part for group in groups for part in _LITERAL.split(group)])
        case Fuzzy(words):
            asked = [_ask_heard(column.words, word) for word in words]
            return " AND ".join(f"({text})" for text in asked if text) or None
    return None


def _ask_heard(column: str, word: str) -> str | None:
    asked = [_ask(column, [text]) for text in heard(word)]
    # One that cannot be asked can be anything.
    return " OR ".join(f"({text})" for text in asked) if all(asked) else None


def level_of(key: Key) -> Level:
    return matching.LEVEL_OF_KEY[key.path]
