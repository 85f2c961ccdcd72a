"""Search transaction (PS3.18 section 10.6), shared by QIDO-RS, C-FIND and FHIR."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from bfr_dicomweb.dicom import attributes
from bfr_dicomweb.dicom.matching import (
    AnyOf,
    Custom,
    Key,
    Path,
    Search,
    SearchLevel,
    Single,
    parse_search,
)
from bfr_dicomweb.index import aliases, indexed_values
from bfr_dicomweb.index import search as index_search
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.search import Matches as Matches
from bfr_dicomweb.index.search import Position as Position
from bfr_dicomweb.index.search import Stretch as Stretch
from bfr_dicomweb.index.study_patients import patients_after
from bfr_dicomweb.orders.state import Status
from bfr_dicomweb.refs import Level, Ref
from bfr_dicomweb.services import timeline

_STUDY_INSTANCE_UID: Final = ("0020000D",)
_KNOWN: Final = attributes.STUDY_LEVEL | attributes.SERIES_LEVEL
_ACCESSION_NUMBER: Final = ("00080050",)
# Exams of which no images are to come.
_OVER: Final = frozenset({Status.CANCELLED, Status.MOVED, Status.REFUSED, Status.ERROR})


async def search(index: Index, wanted: Search, *, ref: Ref | None = None) -> Matches:
    """One page of the studies, series or instances that match.

    Args:
        ref: The study or series below which to search; None searches the archive.
    """
    wanted = await resolved(index, wanted)
    find = {
        Level.STUDY: index_search.find_studies,
        Level.SERIES: index_search.find_series,
        Level.INSTANCE: index_search.find_instances,
    }[wanted.level.level]
    return await index.ask(partial(find, search=wanted, ref=ref))


async def read_search(
    index: Index, params: Sequence[tuple[str, str]], *, level: SearchLevel, max_results: int
) -> Search:
    """Read query parameters, those of attributes that an administrator has had indexed too.

    Raises:
        InvalidQuery: A supported parameter has an invalid value or stands twice.
    """
    wanted = parse_search(params, level=level, max_results=max_results)
    if not wanted.ignored and _are_known(wanted.include):
        return wanted
    # asked for only here: nearly no search names other attributes
    custom = await custom_keys(index)
    if not custom:
        return wanted
    return parse_search(params, level=level, max_results=max_results, custom=custom)


def _are_known(include: Sequence[Path]) -> bool:
    return all(path[0] in _KNOWN for path in include)


async def custom_keys(index: Index) -> Mapping[Path, Custom]:
    """What can be searched by because an administrator has had it indexed."""
    return await index.ask(indexed_values.searchable)


async def next_results(
    index: Index, wanted: Search, after: Position | None, *, of_patients: bool = False
) -> Stretch:
    """What matches, a stretch of at most `wanted.limit` after the other; nothing is counted.

    Between stretches nothing is held, so that whoever takes them may be slow. What is stored
    meanwhile behind the position is found, too.

    Args:
        wanted: Without order numbers: `resolved` looks these up, once for all stretches.
        after: Where the stretch before ended; None begins.
        of_patients: The patients of matching studies instead of the studies.
    """
    if of_patients:
        return await index.ask(partial(patients_after, search=wanted, after=after))
    find = {
        Level.STUDY: index_search.studies_after,
        Level.SERIES: index_search.series_after,
        Level.INSTANCE: index_search.instances_after,
    }[wanted.level.level]
    return await index.ask(partial(find, search=wanted, after=after))


async def resolved(index: Index, wanted: Search) -> Search:
    """The same search with the studies of its orders in place of the orders."""
    if not wanted.order_numbers:
        return wanted
    return await _of_orders(index, wanted, wanted.order_numbers)


async def awaited(index: Index, wanted: Search) -> int:
    """How many exams the search names of which nothing is stored yet.

    By the number of their order, by their accession number, or by the study that was ordered.
    """
    exams: dict[int, timeline.ExamRow] = {}
    for number in wanted.order_numbers:
        for order in await timeline.orders_identified(index, [(None, number)]):
            found = await timeline.exams_of_orders(index, [order.id])
            exams |= {exam.id: exam for exam in found}
    for key in wanted.keys:
        if key.path == _ACCESSION_NUMBER and isinstance(key.match, Single):
            found = await timeline.exams_identified(index, [(None, key.match.value)])
            exams |= {exam.id: exam for exam in found}
        elif key.path == _STUDY_INSTANCE_UID and isinstance(key.match, AnyOf):
            found = await timeline.exams_of_studies(index, key.match.values)
            exams |= {exam.id: exam for exam in found}
    return sum(
        exam.exam.status not in _OVER and not any(link.study_id for link in exam.studies)
        for exam in exams.values()
    )


async def _of_orders(index: Index, wanted: Search, order_numbers: Sequence[str]) -> Search:
    """The same among the studies that are linked to each of these orders."""
    found: set[str] | None = None
    for number in order_numbers:
        linked = await index.ask(partial(aliases.study_uids, order_number=number))
        found = linked if found is None else found & linked
    keys = [key for key in wanted.keys if key.path != _STUDY_INSTANCE_UID]
    for key in wanted.keys:
        if key.path == _STUDY_INSTANCE_UID and isinstance(key.match, AnyOf):
            found = (found or set()) & set(key.match.values)
    of_orders = Key(_STUDY_INSTANCE_UID, AnyOf(tuple(sorted(found or ()))))
    return replace(wanted, keys=(*keys, of_orders), order_numbers=())
