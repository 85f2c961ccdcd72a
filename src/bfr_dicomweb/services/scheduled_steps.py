"""The worklist of modalities: exams that are scheduled and not over (PS3.4 Annex K)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from bfr_dicomweb.dicom import matching, person_names, query_identifiers
from bfr_dicomweb.dicom.attributes import Attributes, first_text, tag_of, values_of
from bfr_dicomweb.dicom.matching import AnyOf, Key, Modes, Multiple, Name, Path, Range, Single
from bfr_dicomweb.dicom.query_identifiers import Returned
from bfr_dicomweb.index import patient_rows, scheduled_steps
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.patient_rows import PatientRow
from bfr_dicomweb.index.scheduled_steps import Narrowing, Place
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.orders.identifiers import AliasKind
from bfr_dicomweb.services import worklist_items

Dataset = dict[str, Any]


def _path(names: str) -> Path:
    tags = (tag_of(name) for name in names.split("."))
    return tuple(tag for tag in tags if tag is not None)


STEP: Final = "ScheduledProcedureStepSequence."
# PS3.4 Table K.6-1
REQUIRED_KEYS: Final = tuple(
    _path(name)
    for name in (
        STEP + "ScheduledStationAETitle",
        STEP + "ScheduledProcedureStepStartDate",
        STEP + "ScheduledProcedureStepStartTime",
        STEP + "Modality",
        STEP + "ScheduledPerformingPhysicianName",
        "PatientName",
        "PatientID",
    )
)
_STATION, _START_DATE, _START_TIME, _MODALITY, _, _PATIENT_NAME, _PATIENT_ID = REQUIRED_KEYS
_STEPS: Final = _STATION[0]
_ACCESSION: Final = _path("AccessionNumber")
_STUDY: Final = _path("StudyInstanceUID")
_CHARACTER_SET: Final = "00080005"
_DATES: Final = ("00000000", "99991231")
_TIMES: Final = ("000000.000000", "235959.999999")
# What else names an exam here, and by what it is found in the catalogue: where an order gives no
# number of its own for a procedure or a step, the exam's stands for it (`worklist_items`).
_NUMBERS: Final = (AliasKind.ACCESSION, AliasKind.FILLER, AliasKind.PLACER)
_NAMES: Final[Mapping[Path, tuple[AliasKind, ...]]] = {
    _ACCESSION: (AliasKind.ACCESSION,),
    _STUDY: (AliasKind.STUDY,),
    _path("RequestedProcedureID"): (AliasKind.PROCEDURE, *_NUMBERS),
    _path(STEP + "ScheduledProcedureStepID"): (AliasKind.STEP, AliasKind.PROCEDURE, *_NUMBERS),
    _path("PlacerOrderNumberImagingServiceRequest"): (AliasKind.PLACER,),
    _path("FillerOrderNumberImagingServiceRequest"): (AliasKind.FILLER,),
}


@dataclass(frozen=True, slots=True)
class WorklistQuery:
    """
    Attributes:
        keys: To be compared with each item.
        returned: What is told of items; None is everything.
        moments: Between which it has to start, when both date and time are asked for.
        unsupported: Keys with a value that are not matched.
    """

    keys: tuple[Key, ...]
    returned: Mapping[str, Returned] | None
    patient_id: str = ""
    moments: tuple[str, str] | None = None
    unsupported: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class WorklistPage:
    """
    Attributes:
        after: Where the next page begins; None when there is none.
    """

    items: list[Dataset]
    after: Place | None


def read_query(identifier: Attributes) -> WorklistQuery:
    """Read the DICOM JSON of an identifier.

    Raises:
        InvalidQuery: A key has a value that nothing can match.
    """
    asked = query_identifiers.asked(_without_character_set(identifier), Modes())
    returned = query_identifiers.returned_keys(_without_character_set(identifier))
    return query_of(asked, returned)


def query_of(asked: Sequence[Key], returned: Mapping[str, Returned] | None = None) -> WorklistQuery:
    """
    Args:
        returned: What is to be told of items; None is everything.
    """
    keys, moments = _joined(tuple(key for key in asked if key.path in worklist_items.KEYS))
    # a patient is found by any of the numbers that the records of one person have
    ids = {
        key: key.match.value
        for key in keys
        if key.path == _PATIENT_ID and isinstance(key.match, Single)
    }
    return WorklistQuery(
        keys=tuple(key for key in keys if key not in ids),
        returned=returned,
        patient_id=next(iter(ids.values()), ""),
        moments=moments,
        unsupported=tuple(key.path for key in asked if key.path not in worklist_items.KEYS),
    )


def _without_character_set(identifier: Attributes) -> Dataset:
    return {tag: element for tag, element in identifier.items() if tag != _CHARACTER_SET}


def _joined(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], tuple[str, str] | None]:
    """Start date and time as one interval, where both are given (PS3.4 section K.6.1.2.1)."""
    ranges = {
        key.path: key.match
        for key in keys
        if key.path in (_START_DATE, _START_TIME) and isinstance(key.match, Range)
    }
    if len(ranges) < 2:
        return keys, None
    date, time = ranges[_START_DATE], ranges[_START_TIME]
    moments = (
        (date.start or _DATES[0]) + (time.start or _TIMES[0]),
        (date.end or _DATES[1]) + (time.end or _TIMES[1]),
    )
    return tuple(key for key in keys if key.path not in ranges), moments


async def page(
    index: Index, query: WorklistQuery, *, after: Place | None = None, limit: int = 200
) -> WorklistPage:
    """The items among the next exams of the worklist, in the order in which they start.

    Args:
        limit: How many exams are looked at; the items may be fewer, and there may be more behind.
    """
    return await index.ask(partial(_page, query=query, after=after, limit=limit))


async def _page(
    conn: Connection, *, query: WorklistQuery, after: Place | None, limit: int
) -> WorklistPage:
    narrowing = await _narrowing(conn, query)
    found = await scheduled_steps.page(conn, narrowing, after=after, limit=limit)
    people = await _people(conn, {row.patient_id for _, row in found})
    items = [worklist_items.item(row, people.get(row.patient_id, ())) for _, row in found]
    return WorklistPage(
        [
            item if query.returned is None else query_identifiers.projected(item, query.returned)
            for item in items
            if _is_asked(query, item)
        ],
        found[-1][0] if len(found) == limit else None,
    )


async def _people(conn: Connection, roots: Collection[int]) -> dict[int, list[PatientRow]]:
    """The records of each person, the one that stands for it first."""
    found: dict[int, list[PatientRow]] = {}
    for record in await patient_rows.of_roots(conn, roots):
        own = found.setdefault(record.root_id, [])
        own.insert(0 if record.id == record.root_id else len(own), record)
    return found


def _is_asked(query: WorklistQuery, item: Attributes) -> bool:
    if query.moments is not None:
        first, last = query.moments
        (step,) = values_of(item, _STEPS)
        starts = f"{first_text(step, _START_DATE[-1])}{first_text(step, _START_TIME[-1])}.000000"
        if not first <= starts <= last:
            return False
    return query_identifiers.matches(query.keys, item)


# --- what the catalogue can narrow by --------------------------------------------------------


async def _narrowing(conn: Connection, query: WorklistQuery) -> Narrowing:
    by_path = {key.path: key.match for key in query.keys}
    names = tuple(
        (kinds, tuple(values))
        for path, kinds in _NAMES.items()
        if (values := _values(by_path.get(path))) is not None
    )
    found = Narrowing(
        stations=_values(by_path.get(_STATION)),
        modalities=_values(by_path.get(_MODALITY)),
        starts=query.moments or _days(by_path.get(_START_DATE)),
        families=_beginning(by_path.get(_PATIENT_NAME)),
        names=names,
    )
    if not query.patient_id:
        return found
    records = await patient_rows.identified(conn, [(None, query.patient_id)])
    return replace(found, patients={record.root_id for record in records})


def _values(match: matching.Match | None) -> Sequence[str] | None:
    match match:
        case Single(value):
            return [value]
        case AnyOf(values) | Multiple(values):
            return list(values)
    return None


def _days(match: matching.Match | None) -> tuple[str, str] | None:
    if not isinstance(match, Range):
        return None
    return (match.start or _DATES[0]) + _TIMES[0], (match.end or _DATES[1]) + _TIMES[1]


def _beginning(match: matching.Match | None) -> str:
    """How the folded family name begins, as far as a literal key says; "" when it does not."""
    if not isinstance(match, Name):
        return ""
    family = _before(match.groups[0], "^*?")
    return person_names.fold(family)


def _before(text: str, stops: Iterable[str]) -> str:
    for stop in stops:
        text = text.partition(stop)[0]
    return text
