"""What a new SQLite catalogue takes over from the old one: what no stored file can tell."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bfr_dicomweb.errors import Unavailable
from bfr_dicomweb.index.tombstones import DeletedBlob, Tombstone
from bfr_dicomweb.refs import Ref

# Everything that came by messages, that clients wrote, or that peers wait for.
_TABLES: Final = (
    *("message", "exchange", "attachment", "patient", "patient_identifier", "patient_link"),
    *("imaging_order", "exam", "order_alias", "order_event", "report", "report_exam", "moved"),
    *("finding", "resource", "resource_identifier", "outbox", "sender_seen", "secret"),
    *("commitment", "delivery", "delivery_instance", "delivery_commitment"),
    *("growing_study", "availability_notice", "refused_store"),
)
_PAGE: Final = 1000
_LINKS: Final = """
    INSERT INTO main.study_exam (study_instance_uid, exam_id, rung, study_id, patient_id, change)
    SELECT o.study_instance_uid, o.exam_id, o.rung,
        coalesce(t.id, 0), o.patient_id, o.change
    FROM old.study_exam o
    LEFT JOIN main.study t ON t.study_instance_uid = o.study_instance_uid
"""


def carry_over(old: Path, new: Path) -> int:
    """Copy it; gives how many messages that were. Nothing else may use either file.

    Raises:
        Unavailable: the old catalogue cannot be read; nothing has been copied.
    """
    with closing(sqlite3.connect(new, isolation_level=None)) as connection:
        try:
            connection.execute("ATTACH DATABASE ? AS old", (str(old),))
            connection.execute("BEGIN IMMEDIATE")
            return _copy(connection)
        except sqlite3.Error:
            raise Unavailable("the old catalogue cannot be read") from None


@dataclass(frozen=True, slots=True)
class Deletions:
    """What an old catalogue knows to be deleted."""

    tombstones: list[Tombstone]
    blobs: list[DeletedBlob]


def deletions(old: Path) -> Iterator[Deletions]:
    """Page by page; nothing from a catalogue that cannot be read, or is too old to know any."""
    if not old.exists():
        return
    try:
        # pages are fetched in one thread or another, never in two at once
        with closing(sqlite3.connect(old, check_same_thread=False)) as connection:
            graves = connection.execute(
                "SELECT study_instance_uid, series_instance_uid, sop_instance_uid, deleted_us,"
                " with_study FROM tombstone"
            )
            while found := graves.fetchmany(_PAGE):
                yield Deletions([Tombstone(Ref(*f[:3]), f[3], bool(f[4])) for f in found], [])
            blobs = connection.execute(
                "SELECT blob_key, deleted_us, is_set_aside FROM deleted_blob"
            )
            while found := blobs.fetchmany(_PAGE):
                yield Deletions([], [DeletedBlob(f[0], f[1], bool(f[2])) for f in found])
    except sqlite3.Error:
        return


def _copy(connection: sqlite3.Connection) -> int:
    held = {name for (name,) in connection.execute("SELECT name FROM old.sqlite_master")}
    for table in _TABLES:
        if table in held:
            columns = ", ".join(
                name for _, name, *_ in connection.execute(f"PRAGMA old.table_info({table})")
            )
            # findings about stored objects have just been raised anew
            connection.execute(
                f"INSERT OR REPLACE INTO main.{table} ({columns}) SELECT {columns} FROM old.{table}"  # noqa: S608 # our names
            )
    if "study_exam" in held:
        connection.execute(_LINKS)
    (messages,) = connection.execute("SELECT count(*) FROM main.message").fetchone()
    connection.execute("COMMIT")
    return int(messages)
