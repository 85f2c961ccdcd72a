"""Search transaction (PS3.18 section 10.6) on the catalogue.

Studies come newest first, the series of a study and the instances of a series by number, but
reports after all else and newest first; results across studies come in the order in which they
were stored. Ties are broken by UID or key, so equal requests give equal orders.
"""

import asyncio
from collections.abc import ItemsView, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import zstandard

from bfr_dicomweb.dicom.matching import AnyOf, Key, Search, Single
from bfr_dicomweb.index import answers, columns, indexed_values
from bfr_dicomweb.index.answers import Assembly, Result, Wanted, element, shared
from bfr_dicomweb.index.columns import unwrapped
from bfr_dicomweb.index.conditions import Parameters, conditions
from bfr_dicomweb.index.plans import (
    COUNTED,
    VISITS,
    StudySource,
    level_keys,
    owners_if_few,
    study_source,
)
from bfr_dicomweb.index.sqlite import InThread
from bfr_dicomweb.index.statements import Connection, is_sqlite, row, rows
from bfr_dicomweb.refs import Level, Ref

# So many studies, or series and instances below them, are better sorted than walked past.
_FEW_STUDIES: Final = 500
_FEW_BELOW: Final = 20_000
_FEW_OWNERS: Final = 2_000
# Documents that are decoded without leaving the event loop.
_FEW_DOCUMENTS: Final = 8


@dataclass(frozen=True, slots=True)
class Matches:
    """One page of results, and how many matches come after it: at least, when not exact."""

    rows: list[Result]
    remaining: int
    remaining_is_exact: bool


# What the order of results is by, of one result.
Position = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Results that follow each other, and where they end; None when nothing is left."""

    rows: list[Result]
    after: Position | None


_NOTHING: Final = Matches([], 0, remaining_is_exact=True)


async def find_studies(conn: Connection, search: Search, ref: Ref | None = None) -> Matches:
    """One page of the studies that match; `ref` can narrow it to one study."""
    keys = _with_ref(search.keys, ref)
    if search.limit == 0:
        return _NOTHING
    zone, page_end = search.timezone_minutes, search.offset + search.limit
    source = await study_source(conn, keys, zone, page_end)
    before = len(source.parameters.values)
    page = source.select(f"{source.study_key} AS id", limit=search.limit + 1, offset=search.offset)
    found = await _study_rows(conn, page, source)
    results = await _study_results(conn, search, found[: search.limit])
    if len(found) <= search.limit:
        return Matches(results, 0, remaining_is_exact=True)
    del source.parameters.values[before:]
    count, exact = await _count_studies(conn, source, page_end)
    return Matches(results, max(count - page_end, 1), exact)


async def studies_after(conn: Connection, search: Search, after: Position | None) -> Stretch:
    """The next studies behind a position, in the order of `find_studies`; nothing is counted."""
    behind = None if after is None else (after[0], after[1], after[2])
    source = await study_source(conn, search.keys, search.timezone_minutes, search.limit, behind)
    page = source.select(f"{source.study_key} AS id", limit=search.limit)
    found = await _study_rows(conn, page, source)
    return _stretch(search, await _study_results(conn, search, found), found, 3)


def _stretch(search: Search, results: list[Result], found: Sequence[Any], parts: int) -> Stretch:
    """Args:
    parts: How many columns at the end of a row are its position.
    """
    is_last = len(found) < search.limit
    return Stretch(results, None if is_last else tuple(found[-1][-parts:]))


async def _study_rows(conn: Connection, page: str, source: StudySource) -> Sequence[Any]:
    return await rows(
        conn,
        "SELECT t.id, t.study_instance_uid, t.modalities, t.sop_classes, t.number_of_series,"  # noqa: S608 # our words
        " t.number_of_instances, a.attributes, t.study_date, t.study_time, t.study_instance_uid"
        f" FROM ({page}) p"
        " JOIN study t ON t.id = p.id JOIN study_attributes a ON a.study_id = p.id"
        " ORDER BY t.study_date DESC, t.study_time DESC, t.study_instance_uid DESC",
        source.parameters.values,
    )


async def _study_results(conn: Connection, search: Search, found: Sequence[Any]) -> list[Result]:
    chosen = answers.wanted(search)
    assembly = Assembly(chosen)
    results = [_study(assembly, chosen, *columns_[1:7]) for columns_ in found]
    return await _with_indexed(conn, search, [key for key, *_ in found], results)


async def _with_indexed(
    conn: Connection, search: Search, owners: list[int], results: list[Result]
) -> list[Result]:
    """The results with the values that the index of further attributes has of them."""
    if not search.returned_custom:
        return results
    found = await indexed_values.shown(conn, (own.id for _, own in search.returned_custom), owners)
    for owner, result in zip(owners, results, strict=True):
        for tag, own in search.returned_custom:
            values = found.get((own.id, owner))
            if values and tag not in result:
                result[tag] = element(own.vr, *values)
                if own.creator:
                    result[f"{tag[:4]}00{tag[4:6]}"] = element("LO", own.creator)
    return [{tag: result[tag] for tag in sorted(result)} for result in results]


def _with_ref(keys: Sequence[Key], ref: Ref | None) -> tuple[Key, ...]:
    if ref is None:
        return tuple(keys)
    uids = (ref.study_instance_uid, ref.series_instance_uid, ref.sop_instance_uid)
    tags = ("0020000D", "0020000E", "00080018")
    of_path = [Key((tag,), AnyOf((uid,))) for tag, uid in zip(tags, uids, strict=True) if uid]
    return (*of_path, *keys)


def _study(
    assembly: Assembly,
    chosen: Wanted,
    uid: str,
    modalities: str,
    sop_classes: str,
    series: int,
    instances: int,
    document: bytes,
) -> Result:
    own = answers.told(Ref(uid)) | _sums(modalities, sop_classes, series, instances)
    stored = orjson.loads(document)
    result = assembly.result(own, stored)
    if chosen.every_study:
        return assembly.with_all(result, own.items(), stored.items())
    return result


def _sums(modalities: str, sop_classes: str, series: int, instances: int) -> Result:
    found = {
        "00201206": element("IS", series),
        "00201208": element("IS", instances),
        "00080062": element("UI", *unwrapped(sop_classes)),
    }
    if modalities:
        found["00080061"] = element("CS", *unwrapped(modalities))
    return found


async def _count_studies(conn: Connection, source: StudySource, page_end: int) -> tuple[int, bool]:
    """How many match, and whether that is all: a bound keeps it as cheap as the page."""
    parameters = source.parameters
    if source.is_checked and not source.bounds_all:
        visits = page_end + VISITS
        condition = source.condition
        visited = StudySource(
            source.tables, (), parameters, source.ordered_by, source.study_key
        ).select(f"CASE WHEN {condition} THEN 1 ELSE 0 END AS matches", limit=visits)
        sql = f"SELECT coalesce(sum(matches), 0), count(*) FROM ({visited}) v"  # noqa: S608
        matched, looked_at = await row(conn, sql, parameters.values)
        return int(matched), looked_at < visits
    most = page_end + COUNTED
    sql = (
        f"SELECT count(*) FROM (SELECT 1 FROM {source.tables}"  # noqa: S608 # our words
        f" WHERE {source.condition} LIMIT {parameters.add(most)}) c"
    )
    counted = int((await row(conn, sql, parameters.values))[0])
    return counted, counted < min(most, source.most or most)


# --- series and instances --------------------------------------------------------------------

_SERIES_ORDER: Final = "s.report_place, s.series_number, s.series_instance_uid"
_INSTANCE_ORDER: Final = f"{_SERIES_ORDER}, i.report_place, i.instance_number, i.sop_instance_uid"


@dataclass(frozen=True, slots=True)
class _Below:
    """A search below the studies, in SQL."""

    tables: str
    where: list[str]
    order: str
    parameters: Parameters

    @property
    def text(self) -> str:
        return f"FROM {self.tables} WHERE {' AND '.join(self.where) or '1 = 1'}"

    @property
    def parts(self) -> int:
        """Of how many columns the order is."""
        return self.order.count(",") + 1


async def find_series(conn: Connection, search: Search, ref: Ref | None = None) -> Matches:
    """One page of the series that match, of the study of `ref` or of all."""
    if search.limit == 0:
        return _NOTHING
    below = await _below(conn, search, ref, Level.SERIES)
    found, remaining, exact = await _page_below(conn, below, search, _SERIES_COLUMNS)
    return Matches(await _series_results(conn, search, found), remaining, exact)


async def series_after(conn: Connection, search: Search, after: Position | None) -> Stretch:
    """The next series behind a position, in the order of `find_series`."""
    below = await _below(conn, search, None, Level.SERIES)
    found = await _next_below(conn, below, search, _SERIES_COLUMNS, after)
    results = await _series_results(conn, search, found)
    return _stretch(search, results, found, below.parts)


_SERIES_COLUMNS: Final = (
    "s.id, s.study_id, t.study_instance_uid, s.series_instance_uid, s.number_of_instances"
)


async def _series_results(conn: Connection, search: Search, found: Sequence[Any]) -> list[Result]:
    chosen = answers.wanted(search)
    series = await _attributes(conn, "series", {key for key, *_ in found})
    needed = {of for _, of, *_ in found} if chosen.needs_study else set()
    studies = await _studies(conn, needed)
    assembly = Assembly(chosen)
    results = []
    for key, study_key, study_uid, uid, instances, *_ in found:
        own, study = studies.get(study_key, ({}, {}))
        own = own | answers.told(Ref(study_uid, uid)) | {"00201209": element("IS", instances)}
        stored = series.get(key, {})
        result = assembly.result(own, stored, study)
        if chosen.every_series:
            result = assembly.with_all(result, stored.items(), own.items(), study.items())
        results.append(result)
    return await _with_indexed(conn, search, [key for key, *_ in found], results)


async def _below(conn: Connection, search: Search, ref: Ref | None, level: Level) -> _Below:
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    keys = _with_ref(search.keys, ref)
    where = conditions(keys, search.timezone_minutes, parameters)
    first, own, ordered = "s", "s.id", _SERIES_ORDER
    tables = "study t JOIN series s ON s.study_id = t.id"
    if level is Level.INSTANCE:
        first, own, ordered = "i", "i.id", _INSTANCE_ORDER
        tables += " JOIN instance i ON i.series_id = s.id"
    if _names_one_study(keys):
        return _Below(tables, where, ordered, parameters)
    if _names_own(keys, level):
        return _Below(tables, where, own, parameters)
    for of, alias in ((Level.INSTANCE, "i"), (Level.SERIES, "s")):
        owners = await owners_if_few(conn, keys, of, most=_FEW_OWNERS)
        if owners is not None:
            where.append(f"{alias}.id {parameters.add_list(owners, 'bigint')}")
            return _Below(tables, where, own, parameters)
    few = await _few_studies(conn, search, level)
    if few is not None:
        where.append(f"t.id {parameters.add_list(few, 'bigint')}")
        return _Below(tables, where, own, parameters)
    # Walk what was stored, in its order; SQLite keeps to the order of CROSS JOIN.
    join = "CROSS JOIN" if parameters.for_sqlite else "JOIN"
    tables = f"series s {join} study t ON t.id = s.study_id"
    if first == "i":
        tables = (
            f"instance i {join} series s ON s.id = i.series_id {join} study t ON t.id = i.study_id"
        )
    return _Below(tables, where, own, parameters)


def _names_one_study(keys: Iterable[Key]) -> bool:
    """Whether the target resource or a key says which study is meant."""
    return any(
        key.path == _STUDY_UID and isinstance(key.match, AnyOf) and len(key.match.values) == 1
        for key in keys
    )


_STUDY_UID: Final = ("0020000D",)
_NAMED: Final = {Level.SERIES: ("0020000E",), Level.INSTANCE: ("0020000E", "00080018")}


def _names_own(keys: Iterable[Key], level: Level) -> bool:
    """Whether UIDs or request identifiers say which series or instances are meant."""
    built_in = [key.path[0] for key in keys if key.custom is None]
    return any(tag in _NAMED[level] or tag == "00400275" for tag in built_in)


_SUMMED: Final = {("00080016",): ("00080062",), ("00080060",): ("00080061",)}


async def _few_studies(conn: Connection, search: Search, level: Level) -> list[int] | None:
    """The studies that the keys of the study level leave, when they are few; else None."""
    keys = level_keys(search.keys, Level.STUDY)
    # The classes of a study are known, so a rare class need not be looked for instance by instance.
    keys += [
        Key(_SUMMED[key.path], key.match)
        for key in search.keys
        if key.path in _SUMMED and isinstance(key.match, Single | AnyOf)
    ]
    if not keys:
        return None
    source = await study_source(conn, keys, search.timezone_minutes, _FEW_STUDIES)
    page = source.select(f"{source.study_key} AS id", limit=_FEW_STUDIES + 1)
    found = await rows(
        conn,
        "SELECT t.id, t.number_of_series, t.number_of_instances"  # noqa: S608 # our words
        f" FROM ({page}) p JOIN study t ON t.id = p.id",
        source.parameters.values,
    )
    below = sum(series if level is Level.SERIES else held for _, series, held in found)
    if len(found) > _FEW_STUDIES or below > _FEW_BELOW:
        return None
    return [key for key, *_ in found]


async def _page_below(
    conn: Connection, below: _Below, search: Search, selected: str
) -> tuple[Sequence[Any], int, bool]:
    """The rows of one page, how many come after it, and whether that is exact."""
    parameters = below.parameters
    before = len(parameters.values)
    page = f"LIMIT {parameters.add(search.limit + 1)} OFFSET {parameters.add(search.offset)}"
    sql = f"SELECT {selected} {below.text} ORDER BY {below.order} {page}"
    found = await rows(conn, sql, parameters.values)
    if len(found) <= search.limit:
        return found, 0, True
    del parameters.values[before:]
    page_end = search.offset + search.limit
    most = page_end + VISITS
    limit = parameters.add(most)
    sql = f"SELECT count(*) FROM (SELECT 1 {below.text} LIMIT {limit}) c"  # noqa: S608
    counted = int((await row(conn, sql, parameters.values))[0])
    return found[: search.limit], max(counted - page_end, 1), counted < most


async def _next_below(
    conn: Connection, below: _Below, search: Search, selected: str, after: Position | None
) -> Sequence[Any]:
    """The rows behind a position, each with its own position at its end."""
    parameters = below.parameters
    if after is not None:
        below.where.append(f"({below.order}) > ({', '.join(map(parameters.add, after))})")
    limit = parameters.add(search.limit)
    sql = f"SELECT {selected}, {below.order} {below.text} ORDER BY {below.order} LIMIT {limit}"
    return await rows(conn, sql, parameters.values)


async def _attributes(
    conn: Connection, level: str, keys: Iterable[int]
) -> dict[int, Mapping[str, Any]]:
    wanted = sorted(keys)
    if not wanted:
        return {}
    found = await rows(
        conn,
        f"SELECT {level}_id, attributes FROM {level}_attributes"  # noqa: S608 # our words
        f" WHERE {level}_id IN (?1::bigint[])",
        (wanted,),
    )
    return {key: orjson.loads(document) for key, document in found}


async def _studies(
    conn: Connection, keys: Iterable[int]
) -> dict[int, tuple[Result, Mapping[str, Any]]]:
    """What the archive tells and what was stored of each study."""
    wanted = sorted(keys)
    if not wanted:
        return {}
    found = await rows(
        conn,
        "SELECT t.id, t.modalities, t.sop_classes, t.number_of_series, t.number_of_instances,"
        " a.attributes FROM study t JOIN study_attributes a ON a.study_id = t.id"
        " WHERE t.id IN (?1::bigint[])",
        (wanted,),
    )
    return {key: (_sums(*sums), orjson.loads(document)) for key, *sums, document in found}


_THIN: Final = (
    "i.id, i.study_id, i.series_id, i.study_instance_uid, i.series_instance_uid,"
    " i.sop_instance_uid, i.sop_class_uid, i.transfer_syntax_uid, i.instance_number,"
    " i.timezone_offset, i.frames_stated, i.image_rows, i.image_columns, i.bits_allocated"
)


async def find_instances(conn: Connection, search: Search, ref: Ref | None = None) -> Matches:
    """One page of the instances that match, of the study or series of `ref` or of all."""
    if search.limit == 0:
        return _NOTHING
    below = await _below(conn, search, ref, Level.INSTANCE)
    found, remaining, exact = await _page_below(conn, below, search, _THIN)
    return Matches(await _instance_results(conn, search, found), remaining, exact)


async def instances_after(conn: Connection, search: Search, after: Position | None) -> Stretch:
    """The next instances behind a position, in the order of `find_instances`."""
    below = await _below(conn, search, None, Level.INSTANCE)
    found = await _next_below(conn, below, search, _THIN, after)
    thin = [one[: -below.parts] for one in found]
    return _stretch(search, await _instance_results(conn, search, thin), found, below.parts)


async def _instance_results(conn: Connection, search: Search, found: Sequence[Any]) -> list[Result]:
    chosen = answers.wanted(search)
    studies = await _studies(
        conn, {study_id for _, study_id, *_ in found} if chosen.needs_study else ()
    )
    series = await _series(
        conn, {series_id for _, _, series_id, *_ in found} if chosen.needs_series else ()
    )
    documents = await _documents(conn, [key for key, *_ in found] if chosen.needs_document else [])
    assembly = Assembly(chosen)
    results = []
    for thin in found:
        key, study_id, series_id, *_ = thin
        told_of_study, study = studies.get(study_id, ({}, {}))
        told_of_series, of_series = series.get(series_id, ({}, {}))
        own = _instance(thin)
        document = documents.get(key, {})
        above = {**told_of_study, **told_of_series}
        result = assembly.result({**above, **own}, of_series, study, document)
        if chosen.every_instance:
            sources: list[ItemsView[str, Any]] = [answers.of_instance(document).items()]
            sources += [of_series.items()] if chosen.every_series else []
            sources += [study.items(), above.items()] if chosen.every_study else []
            result = assembly.with_all(result, *sources)
        if document:
            result = answers.rooted(result, Ref(*thin[3:6]))
        results.append(result)
    return results


def _instance(thin: Any) -> Result:
    _, _, _, study_uid, series_uid, uid, sop_class, syntax, number, zone, *numbers = thin
    found = answers.told(Ref(study_uid, series_uid, uid))
    found["00080016"] = shared("UI", sop_class)
    found["00083002"] = shared("UI", syntax)
    if number != columns.NO_NUMBER:
        found["00200013"] = shared("IS", number)
    if zone:
        found["00080201"] = shared("SH", zone)
    for (tag, vr), value in zip(_NUMBERS, numbers, strict=True):
        if value is not None:
            found[tag] = shared(vr, value)
    return found


_NUMBERS: Final = (
    ("00280008", "IS"),
    ("00280010", "US"),
    ("00280011", "US"),
    ("00280100", "US"),
)


async def _series(
    conn: Connection, keys: Iterable[int]
) -> dict[int, tuple[Result, Mapping[str, Any]]]:
    wanted = sorted(keys)
    if not wanted:
        return {}
    found = await rows(
        conn,
        "SELECT s.id, s.number_of_instances, a.attributes"
        " FROM series s JOIN series_attributes a ON a.series_id = s.id"
        " WHERE s.id IN (?1::bigint[])",
        (wanted,),
    )
    return {
        key: ({"00201209": element("IS", held)}, orjson.loads(document))
        for key, held, document in found
    }


async def _documents(conn: Connection, keys: list[int]) -> dict[int, Mapping[str, Any]]:
    if not keys:
        return {}
    found = await rows(
        conn,
        "SELECT instance_id, document FROM instance_document WHERE instance_id IN (?1::bigint[])",
        (keys,),
    )
    packed = [(key, bytes(document)) for key, document in found]
    # What SQLite finds is decoded in the thread of the connection, where there is no event loop.
    if len(packed) > _FEW_DOCUMENTS and not isinstance(conn, InThread):
        return await asyncio.to_thread(_decoded, packed)
    return _decoded(packed)


def _decoded(packed: Iterable[tuple[int, bytes]]) -> dict[int, Mapping[str, Any]]:
    unpack = zstandard.ZstdDecompressor().decompressobj
    return {key: orjson.loads(unpack().decompress(document)) for key, document in packed}
