"""Instances that belong to no patient: in the catalogue, and where each of them is."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bfr_dicomweb.dicom import non_patient
from bfr_dicomweb.dicom.matching import AnyOf, Key
from bfr_dicomweb.index.instances import Added, NewInstance, Outcome, StoredBlob, StoredInstance
from bfr_dicomweb.index.statements import Connection, insert, row, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.refs import NonPatientRef

STORED: Final = "non-patient-instance-stored"
_UID: Final = ("00080018",)
_PAGE: Final = 1000
_THIN: Final = (
    *("id", "category", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid"),
    *("blob_key", "size_bytes", "digest", "dataset_offset", "big_endian", "deflated"),
)
_SELECTED: Final = ", ".join(_THIN)
_INSERT: Final = insert("non_patient_instance", (*_THIN, "summary", "document", "bulk"))


@dataclass(frozen=True, slots=True)
class PreparedNonPatientInstance:
    """A new instance with the values of its row, worked out away from the writer."""

    new: NewInstance
    ref: NonPatientRef
    summary: bytes


@dataclass(frozen=True, slots=True)
class StoredNonPatientInstance:
    """
    Attributes:
        instance: The thin row. Study, series and pixel data it has none.
    """

    ref: NonPatientRef
    instance: StoredInstance


def prepare(new: NewInstance, ref: NonPatientRef) -> PreparedNonPatientInstance:
    """Pure, for a worker thread."""
    told = non_patient.summary(non_patient.BY_NAME[ref.category], new.attributes)
    return PreparedNonPatientInstance(new, ref, orjson.dumps(told))


async def add(conn: Connection, prepared: Sequence[PreparedNonPatientInstance]) -> list[Added]:
    """Write what is new; the outcomes are in the order of `prepared`. The caller commits."""
    if not prepared:
        return []
    turn = await Turn.take(conn)
    found = await rows(
        conn,
        "SELECT sop_instance_uid, digest, id FROM non_patient_instance"
        " WHERE sop_instance_uid IN (?1::text[])",
        ([one.ref.sop_instance_uid for one in prepared],),
    )
    taken = {uid: (bytes(digest), number) for uid, digest, number in found}
    outcomes = []
    for one in prepared:
        uid, digest = one.ref.sop_instance_uid, one.new.digest
        if uid in taken:
            is_same = taken[uid][0] == digest
            outcome = Outcome.DUPLICATE if is_same else Outcome.DIFFERENT
            outcomes.append(Added(outcome, taken[uid][1]))
            continue
        number = turn.tell(STORED, one.ref.path.lstrip("/"))
        turn.script.add(_INSERT, [_values(number, one)])
        taken[uid] = (digest, number)
        outcomes.append(Added(Outcome.STORED, number))
    await turn.end()
    return outcomes


def _values(number: int, one: PreparedNonPatientInstance) -> tuple[Any, ...]:
    new = one.new
    return (
        *(number, one.ref.category, one.ref.sop_instance_uid, new.sop_class_uid),
        *(new.transfer_syntax_uid, new.blob_key, new.size_bytes, new.digest, new.dataset_offset),
        *(int(new.big_endian), int(new.deflated), one.summary, new.document, new.bulk),
    )


async def locate(conn: Connection, ref: NonPatientRef) -> StoredNonPatientInstance | None:
    found = await row(
        conn,
        f"SELECT {_SELECTED} FROM non_patient_instance"  # noqa: S608 # our words
        " WHERE sop_instance_uid = ?1 AND category = ?2",
        (ref.sop_instance_uid, ref.category),
    )
    return None if found is None else _stored(found)


def _stored(found: Any) -> StoredNonPatientInstance:
    values = dict(zip(_THIN, found, strict=True))
    number, uid = values["id"], values["sop_instance_uid"]
    instance = StoredInstance(
        key=number,
        study_instance_uid="",
        series_instance_uid="",
        sop_instance_uid=uid,
        sop_class_uid=values["sop_class_uid"],
        transfer_syntax_uid=values["transfer_syntax_uid"],
        change=number,
        blob_key=values["blob_key"],
        size_bytes=values["size_bytes"],
        digest=bytes(values["digest"]),
        dataset_offset=values["dataset_offset"],
        big_endian=bool(values["big_endian"]),
        deflated=bool(values["deflated"]),
        pixel_tag=None,
        number_of_frames=0,
        frame_offset=0,
        frame_bits=0,
        first_span=b"",
        instance_number=None,
    )
    return StoredNonPatientInstance(NonPatientRef(values["category"], uid), instance)


async def documents(conn: Connection, keys: Sequence[int]) -> dict[int, bytes]:
    """The compressed metadata, by key."""
    found = await rows(
        conn,
        "SELECT id, document FROM non_patient_instance WHERE id IN (?1::bigint[])",
        (list(keys),),
    )
    return {key: bytes(document) for key, document in found}


async def bulk_table(conn: Connection, key: int) -> bytes:
    found = await row(conn, "SELECT bulk FROM non_patient_instance WHERE id = ?1", (key,))
    return b"" if found is None else bytes(found[0])


@dataclass(frozen=True, slots=True)
class Candidate:
    key: int
    sop_instance_uid: str
    summary: bytes


async def candidates(
    conn: Connection, category: str, keys: Sequence[Key], *, after: int, limit: int
) -> list[Candidate]:
    """Of a category, in the order of storing, from the one after `after`."""
    condition = ""
    parameters: list[Any] = [category, after, limit]
    for key in keys:
        if key.path == _UID and isinstance(key.match, AnyOf):
            condition = " AND sop_instance_uid IN (?4::text[])"
            parameters.append(list(key.match.values))
    found = await rows(
        conn,
        "SELECT id, sop_instance_uid, summary FROM non_patient_instance"  # noqa: S608 # our words
        f" WHERE category = ?1 AND id > ?2{condition} ORDER BY id LIMIT ?3",
        parameters,
    )
    return [Candidate(key, uid, bytes(summary)) for key, uid, summary in found]


async def iterate_blobs(conn: Connection, *, page: int = _PAGE) -> AsyncIterator[StoredBlob]:
    """Every stored object, in the order of storing."""
    after = 0
    while True:
        found = await rows(
            conn,
            "SELECT id, category, sop_instance_uid, blob_key, size_bytes, digest"
            " FROM non_patient_instance WHERE id > ?1 ORDER BY id LIMIT ?2",
            (after, page),
        )
        for _, category, uid, blob_key, size_bytes, digest in found:
            yield StoredBlob(NonPatientRef(category, uid), blob_key, size_bytes, bytes(digest))
        if len(found) < page:
            return
        after = found[-1][0]


async def is_empty(conn: Connection) -> bool:
    return await row(conn, "SELECT 1 FROM non_patient_instance LIMIT 1") is None
