"""Where a search begins: which index is walked, and in which order.

The planners of both databases guess wrong where it costs most (a rare name behind a walk of the
date index, a common one behind a sort of everything), so the way is chosen here from what is
counted, never more than a bound of it:

- keys that are terms (patient, accession number, modality ...) walk study_term, newest first;
- patterns ask the trigram index; when it finds few studies these are sorted, when it finds many
  the newest studies are walked and soon enough of them match;
- anything else walks the newest studies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from bfr_dicomweb.dicom.matching import AnyOf, Empty, Key, Multiple, Path, Range, Single
from bfr_dicomweb.index import columns
from bfr_dicomweb.index.columns import Term
from bfr_dicomweb.index.conditions import (
    Parameters,
    conditions,
    indexed_owners,
    patient_terms,
    question,
)
from bfr_dicomweb.index.statements import Connection, is_sqlite, row, rows
from bfr_dicomweb.refs import Level

# As many trigram matches are sorted at least before anything is counted a second time.
_FEW: Final = 700
# Rows of candidates that a count looks at when it has to look at rows.
VISITS: Final = 1000
COUNTED: Final = 10_000
# How far behind the page matches of several terms are merged, to count them.
_COUNTED_ON: Final = 200


_UID: Final = ("0020000D",)
# Keys that are terms: the selective ones, then those that many studies share.
_SELECTIVE: Final[dict[Path, Term]] = {
    ("00080050",): Term.ACCESSION,
    ("00100020",): Term.PATIENT,
    ("00101002", "00100020"): Term.PATIENT,
    ("00081032", "00080100"): Term.PROCEDURE,
    ("00100030",): Term.BIRTH_DATE,
}
_SHARED: Final[dict[Path, Term]] = {("00080062",): Term.SOP_CLASS, ("00080061",): Term.MODALITY}


@dataclass(frozen=True, slots=True)
class StudySource:
    """The studies to look at, in SQL, and the order they come in.

    `ordered_by` is the table whose date, time and UID give the order: ``t``, or ``x`` for
    study_term, which keeps them beside the term.
    """

    tables: str
    where: tuple[str, ...]
    parameters: Parameters
    ordered_by: str = "t"
    study_key: str = "t.id"
    is_checked: bool = True  # whether a row that is looked at can fail to match
    bounds_all: bool = False  # whether few studies are looked at in all
    most: int | None = None  # how many it gives when it does not give all

    def select(self, selected: str, *, limit: int, offset: int = 0) -> str:
        by = self.ordered_by
        return (
            f"SELECT {selected} FROM {self.tables} WHERE {self.condition}"  # noqa: S608
            f" ORDER BY {by}.study_date DESC, {by}.study_time DESC, {by}.study_instance_uid DESC"
            f" LIMIT {self.parameters.add(limit)} OFFSET {self.parameters.add(offset)}"
        )

    @property
    def condition(self) -> str:
        return " AND ".join(self.where) or "1 = 1"


# Study date, study time and Study Instance UID: the place of a study among all.
Moment = tuple[str, str, str]


async def study_source(
    conn: Connection,
    keys: Sequence[Key],
    zone: int | None,
    page_end: int,
    after: Moment | None = None,
) -> StudySource:
    """The cheapest way to the first `page_end` studies that match, of those behind `after`."""
    parameters = _Behind(for_sqlite=is_sqlite(conn), after=after)
    by_path = {key.path: key for key in keys}
    if _UID in by_path:
        return _walk(keys, zone, parameters, bounds_all=True)
    for path, term in _SELECTIVE.items():
        if path in by_path and (values := _term_values(by_path[path], term)):
            return _terms(keys, zone, parameters, term, values, page_end)
    asked = [(key, text) for key in keys if (text := question(key))]
    if asked:
        found = await _found_if_few(conn, asked, zone, page_end)
        if found is not None:
            return _few(found, keys, zone, parameters)
    few = await owners_if_few(conn, keys, Level.STUDY, most=_FEW)
    if few is not None:
        return _few(few, keys, zone, parameters)
    for path, term in _SHARED.items():
        if path in by_path and (values := _term_values(by_path[path], term)):
            return _terms(keys, zone, parameters, term, values, page_end)
    return _walk(keys, zone, parameters)


def _term_values(key: Key, term: Term) -> list[str]:
    """The values that a study must have one of; none when the key says no such thing."""
    match key.match:
        case Single(value):
            return patient_terms(value) if term is Term.PATIENT else [columns.term_value(value)]
        case AnyOf(values):
            return [columns.term_value(value) for value in values]
        case Multiple(values):
            return [columns.term_value(values[0])]
        case Range(start, end) if start == end and start is not None:
            return [start]
    return []


@dataclass(slots=True)
class _Behind(Parameters):
    """Of a statement that looks at studies behind a moment only."""

    after: Moment | None = None

    def condition(self, alias: str) -> list[str]:
        if self.after is None:
            return []
        names = ", ".join(f"{alias}.{name}" for name in _MOMENT)
        return [f"({names}) < ({', '.join(map(self.add, self.after))})"]


_MOMENT: Final = ("study_date", "study_time", "study_instance_uid")


def _walk(
    keys: Sequence[Key], zone: int | None, parameters: _Behind, *, bounds_all: bool = False
) -> StudySource:
    where = [*parameters.condition("t"), *conditions(keys, zone, parameters)]
    dates_only = zone is None and all(key.path in _DATES for key in keys)
    return StudySource(
        "study t", tuple(where), parameters, is_checked=not dates_only, bounds_all=bounds_all
    )


_DATES: Final = frozenset({("00080020",)})


def _terms(
    keys: Sequence[Key],
    zone: int | None,
    parameters: _Behind,
    term: Term,
    values: list[str],
    page_end: int,
) -> StudySource:
    left = [key for key in keys if not _is_said_by(key, term)]
    if len(values) > 1:
        return _several_terms(left, zone, parameters, term, values, page_end)
    tables, where, checked = _term(left, zone, parameters, term, values[0])
    key = "t.id" if checked else "x.study_id"
    return StudySource(tables, tuple(where), parameters, "x", key, is_checked=checked)


def _term(
    left: Sequence[Key], zone: int | None, parameters: _Behind, term: Term, value: str
) -> tuple[str, list[str], bool]:
    """The tables and conditions of one term, and whether the study is looked at for others."""
    dates = [key for key in left if key.path in _DATES and zone is None]
    where = [f"x.kind = {term.value}", f"x.value = {parameters.add(value)}"]
    where += parameters.condition("x")
    # The dates of the study stand beside the term, and its index is sorted by them.
    where += [
        text.replace("t.study_date", "x.study_date") for text in conditions(dates, None, parameters)
    ]
    if len(dates) == len(left):
        return "study_term x", where, False
    where += conditions(left, zone, parameters)
    return f"{_cross('study_term x', parameters)} study t ON t.id = x.study_id", where, True


def _is_said_by(key: Key, term: Term) -> bool:
    """Whether to be among the studies of the term is all that the key asks."""
    if isinstance(key.match, Multiple):
        return False
    named = _SELECTIVE.get(key.path) or _SHARED.get(key.path)
    return named is term and len(key.path) == 1


def _cross(first: str, parameters: Parameters) -> str:
    """A join that SQLite begins with `first`; PostgreSQL knows the sizes."""
    return f"{first} {'CROSS JOIN' if parameters.for_sqlite else 'JOIN'}"


def _several_terms(
    left: Sequence[Key],
    zone: int | None,
    parameters: _Behind,
    term: Term,
    values: list[str],
    page_end: int,
) -> StudySource:
    """The newest of each value, merged: enough of each for the page and for counting on."""
    most = page_end + _COUNTED_ON
    enough = parameters.add(most)
    branches = []
    for value in dict.fromkeys(values):
        tables, where, _ = _term(left, zone, parameters, term, value)
        branches.append(
            f"SELECT study_id FROM (SELECT x.study_id FROM {tables}"  # noqa: S608 # our words
            f" WHERE {' AND '.join(where)}"
            " ORDER BY x.study_date DESC, x.study_time DESC, x.study_instance_uid DESC"
            f" LIMIT {enough}) b"
        )
    merged = _cross(f"({' UNION '.join(branches)}) u", parameters)
    tables = f"{merged} study t ON t.id = u.study_id"
    return StudySource(tables, (), parameters, is_checked=False, bounds_all=True, most=most)


def _few(
    found: list[int], keys: Sequence[Key], zone: int | None, parameters: _Behind
) -> StudySource:
    where = [f"t.id {parameters.add_list(found, 'bigint')}", *parameters.condition("t")]
    where += conditions(keys, zone, parameters)
    return StudySource("study t", tuple(where), parameters, bounds_all=True)


async def _found_if_few(
    conn: Connection, asked: Sequence[tuple[Key, str]], zone: int | None, page_end: int
) -> list[int] | None:
    """What the trigram index finds, when to sort that is cheaper than to walk past the rest.

    To walk to the end of a page costs about N * page / found, to sort costs about found.
    """
    found = await _found(conn, asked, zone, _FEW + 1)
    if len(found) <= _FEW:
        return found
    counter = await row(conn, "SELECT study FROM counter WHERE id = 1")
    balance = math.isqrt(int(counter[0]) * max(page_end, 1))
    if balance < 2 * _FEW:
        return None
    found = await _found(conn, asked, zone, balance + 1)
    return found if len(found) <= balance else None


async def _found(
    conn: Connection, asked: Sequence[tuple[Key, str]], zone: int | None, most: int
) -> list[int]:
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    if parameters.for_sqlite:
        text = parameters.add(" AND ".join(f"({text})" for _, text in asked))
        sql = f"SELECT rowid AS id FROM study_text WHERE study_text MATCH {text}"  # noqa: S608
    else:
        where = " AND ".join(conditions([key for key, _ in asked], zone, parameters))
        sql = f"SELECT t.id FROM study t WHERE {where}"  # noqa: S608 # our words
    # One row with all keys: a thousand rows cost more than to find them does.
    listed = "json_group_array(id)" if parameters.for_sqlite else "json_agg(id)::text"
    limit = parameters.add(most)
    sql = f"SELECT {listed} FROM ({sql} LIMIT {limit}) f"  # noqa: S608 # our words
    (text,) = await row(conn, sql, parameters.values)
    keys: list[int] = orjson.loads(text or "[]")
    return keys


async def owners_if_few(
    conn: Connection, keys: Sequence[Key], level: Level, *, most: int
) -> list[int] | None:
    """What an attribute that was indexed for this level leaves, when it is few; else None."""
    for key in keys:
        if key.custom is None or key.level is not level or isinstance(key.match, Empty):
            continue
        parameters = Parameters(for_sqlite=is_sqlite(conn))
        owners = indexed_owners(key, key.custom, parameters)
        found = await rows(conn, f"{owners} LIMIT {parameters.add(most + 1)}", parameters.values)
        if len(found) <= most:
            return [owner for (owner,) in found]
    return None


def level_keys(keys: Sequence[Key], level: Level) -> list[Key]:
    return [key for key in keys if key.level is level]
