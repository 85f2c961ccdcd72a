"""What has been deleted: that it was here, and the bytes that are kept for a while after it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.index import changes
from bfr_dicomweb.index.statements import Connection, Script, insert, row, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.refs import Ref

_INSERT: Final = insert(
    "tombstone",
    (
        *("study_instance_uid", "series_instance_uid", "sop_instance_uid"),
        *("change", "deleted_us", "with_study"),
    ),
) + (
    " ON CONFLICT (study_instance_uid, series_instance_uid, sop_instance_uid) DO UPDATE SET"
    " change = excluded.change, deleted_us = excluded.deleted_us, with_study = excluded.with_study"
)
_LIFT: Final = (
    "DELETE FROM tombstone WHERE study_instance_uid = ?1 AND series_instance_uid = ?2"
    " AND sop_instance_uid = ?3"
)
_KEEP_BLOB: Final = insert("deleted_blob", ("blob_key", "deleted_us", "is_set_aside")) + (
    " ON CONFLICT (blob_key) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Of an instance.

    Attributes:
        with_study: It was of the last ones of its study.
    """

    ref: Ref
    deleted_us: int
    with_study: bool


@dataclass(frozen=True, slots=True)
class DeletedBlob:
    """Attributes:
    is_set_aside: It lies where deleted bytes lie.
    """

    blob_key: str
    deleted_us: int
    is_set_aside: bool


def put(turn: Turn, tombstones: Sequence[Tombstone], *, study_id: int | None = None) -> None:
    """Add them, and tell of each deletion."""
    numbered = [(turn.number(), one) for one in tombstones]
    told = changes.INSTANCE_DELETED
    changes.add(
        turn.script,
        [(number, one.deleted_us, told, study_id, *_uids(one.ref)) for number, one in numbered],
    )
    turn.script.add(
        _INSERT,
        [
            (*_uids(one.ref), number, one.deleted_us, int(one.with_study))
            for number, one in numbered
        ],
    )


def _uids(ref: Ref) -> tuple[str, str, str]:
    return ref.study_instance_uid, ref.series_instance_uid or "", ref.sop_instance_uid or ""


def lift(script: Script, refs: Iterable[Ref]) -> None:
    """They are here again."""
    script.add(_LIFT, [_uids(ref) for ref in refs])


async def was_here(conn: Connection, ref: Ref) -> bool:
    """Whether something at or below a resource has been deleted and is not here again."""
    return await find(conn, ref) is not None


async def find(conn: Connection, ref: Ref) -> Tombstone | None:
    """One at or below a resource."""
    sql = (
        "SELECT study_instance_uid, series_instance_uid, sop_instance_uid, deleted_us, with_study"
        " FROM tombstone WHERE study_instance_uid = ?1"
    )
    uids = [uid for uid in _uids(ref) if uid]
    for number, name in enumerate(("series_instance_uid", "sop_instance_uid"), 2):
        if len(uids) >= number:
            sql += f" AND {name} = ?{number}"
    found = await row(conn, f"{sql} LIMIT 1", uids)
    if found is None:
        return None
    *held, deleted_us, with_study = found
    return Tombstone(Ref(*held), deleted_us, bool(with_study))


# --- bytes -----------------------------------------------------------------------------------


def keep_blobs(script: Script, blobs: Iterable[DeletedBlob]) -> None:
    script.add(_KEEP_BLOB, [(b.blob_key, b.deleted_us, int(b.is_set_aside)) for b in blobs])


async def known_blobs(conn: Connection, keys: Sequence[str]) -> set[str]:
    found = await rows(
        conn,
        "SELECT blob_key FROM deleted_blob WHERE blob_key IN (?1::text[])",
        (list(keys),),
    )
    return {key for (key,) in found}


async def blobs_to_set_aside(conn: Connection, limit: int) -> list[str]:
    found = await rows(
        conn, "SELECT blob_key FROM deleted_blob WHERE is_set_aside = 0 LIMIT ?1", (limit,)
    )
    return [key for (key,) in found]


async def are_set_aside(conn: Connection, keys: Sequence[str]) -> None:
    script = Script()
    set_aside = "UPDATE deleted_blob SET is_set_aside = 1 WHERE blob_key = ?1"
    script.add(set_aside, [(key,) for key in keys])
    await script.run(conn)


async def blobs_due(conn: Connection, before_us: int, limit: int) -> list[str]:
    """Of what was deleted by then, the oldest first."""
    found = await rows(
        conn,
        "SELECT blob_key FROM deleted_blob WHERE deleted_us <= ?1 ORDER BY deleted_us LIMIT ?2",
        (before_us, limit),
    )
    return [key for (key,) in found]


async def are_removed(conn: Connection, keys: Sequence[str]) -> None:
    script = Script()
    script.add("DELETE FROM deleted_blob WHERE blob_key = ?1", [(key,) for key in keys])
    await script.run(conn)
