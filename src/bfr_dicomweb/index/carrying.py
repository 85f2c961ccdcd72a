"""What a new SQLite catalogue takes over from the old one: what no stored file can tell."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from bfr_dicomweb.errors import Unavailable

# Everything that came by messages, that clients wrote, or that peers wait for.
_TABLES: Final = (
    *("message", "exchange", "attachment", "patient", "patient_identifier", "patient_link"),
    *("imaging_order", "exam", "order_alias", "order_event", "report", "report_exam", "moved"),
    *("finding", "resource", "resource_identifier", "outbox", "sender_seen", "secret"),
    *("commitment", "delivery", "delivery_instance", "delivery_commitment"),
    *("growing_study", "availability_notice"),
)
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
