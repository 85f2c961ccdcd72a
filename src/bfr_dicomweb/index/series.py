"""The rows of series: what their instances say of them, and what they hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from bfr_dicomweb.dicom import attributes
from bfr_dicomweb.dicom.attributes import Attributes
from bfr_dicomweb.index import changes, columns
from bfr_dicomweb.index.statements import Connection, Script, insert, row, rows
from bfr_dicomweb.index.studies import filled
from bfr_dicomweb.refs import Ref

_STEP_DATE: Final = "00400244"
_STEP_TIME: Final = "00400245"
_KEPT: Final = attributes.SERIES_LEVEL - {"00080005", "00201209"}


@dataclass(frozen=True, slots=True)
class Described:
    """All that follows from the series' attributes."""

    attributes: dict[str, Any]
    own: tuple[Any, ...]  # the columns of columns.SERIES, and performed_step_utc
    requests: tuple[tuple[str, ...], ...]
    document: bytes


@dataclass(frozen=True, slots=True)
class PreparedSeries:
    series_instance_uid: str
    described: Described


def prepare(series_instance_uid: str, data_set: Attributes) -> PreparedSeries:
    return PreparedSeries(series_instance_uid, _describe(attributes.select(data_set, _KEPT)))


def _describe(kept: dict[str, Any]) -> Described:
    return _described(orjson.dumps(kept))


# The instances of a series mostly say the same of it.
@lru_cache(maxsize=512)
def _described(document: bytes) -> Described:
    kept = orjson.loads(document)
    return Described(
        attributes=kept,
        own=(*columns.row(columns.SERIES, kept), columns.utc(kept, _STEP_DATE, _STEP_TIME)),
        requests=tuple(columns.requests(kept)),
        document=document,
    )


@dataclass(slots=True)
class OpenSeries:
    """A series that instances are being added to."""

    id: int
    study_id: int
    series_instance_uid: str
    is_new: bool
    attributes: dict[str, Any]
    number_of_instances: int = 0
    change: int = 0
    described: Described | None = None
    is_filled: bool = False
    stored_place: str = ""
    newest: str = ""  # least place of its reports

    def add(self, item: PreparedSeries, change: int, report_place: str) -> None:
        """Count an instance; `report_place` is empty when it is no report."""
        self.number_of_instances += 1
        self.change = change
        if report_place and (not self.newest or report_place < self.newest):
            self.newest = report_place
        new = item.described.attributes
        if new is self.attributes:
            return
        together = filled(self.attributes, new)
        if together is not None:
            self.attributes, self.described, self.is_filled = together, None, True

    def describe(self) -> Described:
        if self.described is None:
            self.described = _describe(self.attributes)
        return self.described

    @property
    def report_place(self) -> str:
        if not self.newest:
            return ""
        own = dict(zip(_OWN, self.describe().own, strict=True))
        if own["modality"] not in columns.REPORT_MODALITIES:
            return ""
        return columns.place_of_series(self.newest, own["series_number"])


_OWN: Final = (*columns.names(columns.SERIES), "performed_step_utc")
_INSERT: Final = insert(
    "series",
    (
        *("id", "study_id", "series_instance_uid", *_OWN, "number_of_instances", "change"),
        "report_place",
    ),
)
_INSERT_ATTRIBUTES: Final = insert("series_attributes", ("series_id", "study_id", "attributes"))
_INSERT_REQUEST: Final = insert(
    "series_request",
    ("series_id", "study_id", "scheduled_step_id", "requested_procedure_id", "accession_number"),
)
_UPDATE_SUMS: Final = "UPDATE series SET number_of_instances = ?1, change = ?2 WHERE id = ?3"
_UPDATE_PLACE: Final = "UPDATE series SET report_place = ?1 WHERE id = ?2"
_UPDATE_OWN: Final = (
    "UPDATE series SET "  # noqa: S608 # our names
    + ", ".join(f"{name} = ?{number}" for number, name in enumerate(_OWN, 2))
    + " WHERE id = ?1"
)


async def open_for_writing(
    conn: Connection,
    prepared: Sequence[tuple[int, PreparedSeries]],
    counter: changes.Counter,
) -> dict[tuple[int, str], OpenSeries]:
    """The series of a batch by study and UID, made where they are new."""
    first: dict[tuple[int, str], PreparedSeries] = {}
    for study_id, item in prepared:
        first.setdefault((study_id, item.series_instance_uid), item)
    found = await rows(
        conn,
        "SELECT s.id, s.study_id, s.series_instance_uid, a.attributes, s.number_of_instances,"
        " s.change, s.report_place FROM series s JOIN series_attributes a ON a.series_id = s.id"
        " WHERE s.series_instance_uid IN (?1::text[])",
        (list({uid for _, uid in first}),),
    )
    opened = {
        (study_id, uid): OpenSeries(
            *(key, study_id, uid, False, orjson.loads(document), instances, change),
            stored_place=place,
            newest=place,
        )
        for key, study_id, uid, document, instances, change, place in found
    }
    for (study_id, uid), item in first.items():
        if (study_id, uid) not in opened:
            counter.series += 1
            opened[study_id, uid] = OpenSeries(
                counter.series,
                study_id,
                uid,
                True,
                item.described.attributes,
                described=item.described,
            )
    return {key: opened[key] for key in first}


def write(script: Script, opened: Iterable[OpenSeries]) -> None:
    every = list(opened)
    described = [(series, series.describe()) for series in every if series.is_new]
    script.add(
        _INSERT,
        [
            (
                *(s.id, s.study_id, s.series_instance_uid, *d.own, s.number_of_instances),
                *(s.change, s.report_place),
            )
            for s, d in described
        ],
    )
    script.add(_INSERT_ATTRIBUTES, [(s.id, s.study_id, d.document) for s, d in described])
    _write_requests(script, described)
    old = [series for series in every if not series.is_new]
    for series in old:
        if series.is_filled:
            _rewrite(script, series)
    script.add(_UPDATE_SUMS, [(s.number_of_instances, s.change, s.id) for s in old])
    # Apart from the sums: to write an indexed column costs its index, even if nothing changes.
    moved = [(place, s.id) for s in old if (place := s.report_place) != s.stored_place]
    script.add(_UPDATE_PLACE, moved)


def _write_requests(script: Script, described: Iterable[tuple[OpenSeries, Described]]) -> None:
    script.add(
        _INSERT_REQUEST,
        [(s.id, s.study_id, *texts) for s, d in described for texts in d.requests],
    )


def _rewrite(script: Script, series: OpenSeries) -> None:
    """Replace what follows from the attributes, which later instances have filled."""
    after = series.describe()
    script.add(_UPDATE_OWN, [(series.id, *after.own)])
    script.add(
        "UPDATE series_attributes SET attributes = ?2 WHERE series_id = ?1",
        [(series.id, after.document)],
    )
    script.add("DELETE FROM series_request WHERE series_id = ?1", [(series.id,)])
    _write_requests(script, [(series, after)])


async def open_stored(conn: Connection, study_id: int) -> dict[int, OpenSeries]:
    """The series of a study by key, without what they hold."""
    found = await rows(
        conn,
        "SELECT s.id, s.series_instance_uid, a.attributes"
        " FROM series s JOIN series_attributes a ON a.series_id = s.id"
        " WHERE s.study_id = ?1 ORDER BY s.id",
        (study_id,),
    )
    return {
        key: OpenSeries(key, study_id, uid, False, orjson.loads(document))
        for key, uid, document in found
    }


def replace(script: Script, before: OpenSeries, after: OpenSeries) -> None:
    """Write a series that has lost instances; `before` is what stands there."""
    if after.attributes != before.attributes:
        _rewrite(script, after)
    script.add(_UPDATE_SUMS, [(after.number_of_instances, after.change, after.id)])
    script.add(_UPDATE_PLACE, [(after.report_place, after.id)])


def remove(script: Script, key: int) -> None:
    """With all that is below it."""
    script.add("DELETE FROM series WHERE id = ?1", [(key,)])


@dataclass(frozen=True, slots=True)
class StoredSeries:
    key: int
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    number_of_instances: int
    change: int
    attributes: Mapping[str, Any]


async def find(
    conn: Connection, study_instance_uid: str, series_instance_uid: str
) -> StoredSeries | None:
    found = await row(
        conn,
        "SELECT s.id, t.study_instance_uid, s.series_instance_uid, s.modality,"
        " s.number_of_instances, s.change, a.attributes"
        " FROM study t JOIN series s ON s.study_id = t.id"
        " JOIN series_attributes a ON a.series_id = s.id"
        " WHERE t.study_instance_uid = ?1 AND s.series_instance_uid = ?2",
        (study_instance_uid, series_instance_uid),
    )
    if found is None:
        return None
    key, study_uid, uid, modality, instances, change, document = found
    kept = orjson.loads(document)
    return StoredSeries(key, study_uid, uid, modality, instances, change, kept)


async def identified(conn: Connection, series_instance_uids: list[str]) -> list[Ref]:
    """Those of these series that are stored; two studies may use one UID."""
    found = await rows(
        conn,
        "SELECT t.study_instance_uid, s.series_instance_uid"
        " FROM series s JOIN study t ON t.id = s.study_id"
        " WHERE s.series_instance_uid IN (?1::text[])"
        " ORDER BY t.study_instance_uid, s.series_number, s.series_instance_uid",
        (series_instance_uids,),
    )
    return [Ref(study_uid, series_uid) for study_uid, series_uid in found]
