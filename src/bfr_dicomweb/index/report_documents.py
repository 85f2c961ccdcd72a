"""Stored documents that may be reports, with their metadata."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.index.statements import Connection, rows
from bfr_dicomweb.refs import Ref

_SELECT: Final = (
    "SELECT i.change, i.sop_class_uid, i.study_instance_uid, i.series_instance_uid,"
    " i.sop_instance_uid, d.document"
)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """Attributes:
    change: By which it was stored.
    document: Its compressed metadata.
    """

    ref: Ref
    change: int
    sop_class_uid: str
    document: bytes


async def of_study(
    conn: Connection,
    study_instance_uid: str,
    *,
    sop_classes: Collection[str],
    after: int = 0,
    limit: int = 1000,
) -> list[StoredDocument]:
    """Those of a study, of report modalities, that were stored after a change; oldest first."""
    found = await rows(
        conn,
        f"{_SELECT} FROM study t JOIN series s ON s.study_id = t.id"
        " JOIN instance i ON i.series_id = s.id JOIN instance_document d ON d.instance_id = i.id"
        " WHERE t.study_instance_uid = ?1 AND s.report_place > ''"
        " AND i.sop_class_uid IN (?2::text[]) AND i.change > ?3 ORDER BY i.change LIMIT ?4",
        (study_instance_uid, sorted(sop_classes), after, limit),
    )
    return _read(found)


async def among(
    conn: Connection, sop_instance_uids: Collection[str], *, sop_classes: Collection[str]
) -> list[StoredDocument]:
    """Which of these instances are of one of the classes; oldest first."""
    found = await rows(
        conn,
        f"{_SELECT} FROM instance i JOIN instance_document d ON d.instance_id = i.id"
        " WHERE i.sop_instance_uid IN (?1::text[]) AND i.sop_class_uid IN (?2::text[])"
        " ORDER BY i.change",
        (sorted(sop_instance_uids), sorted(sop_classes)),
    )
    return _read(found)


def _read(found: Sequence[Any]) -> list[StoredDocument]:
    return [
        StoredDocument(Ref(study, series, instance), change, sop_class, bytes(document))
        for change, sop_class, study, series, instance, document in found
    ]
