"""Who sent an object that was not stored, because its UID is taken by an object with other bytes.

Whoever did has something that is not here, and must not be told that it is.
"""

from typing import Final

from bfr_dicomweb.index.statements import Connection, row, rows

_NOTE: Final = """
    INSERT INTO refused_store (sop_instance_uid, sender, at_us) VALUES (?1, ?2, ?3)
    ON CONFLICT (sop_instance_uid, sender) DO UPDATE SET at_us = ?3 RETURNING at_us
"""
# What has been stored since then under that UID may be what the sender has.
_REFUSED: Final = """
    SELECT r.sop_instance_uid FROM refused_store r
    JOIN instance i ON i.sop_instance_uid = r.sop_instance_uid
    LEFT JOIN change c ON c.number = i.change
    WHERE r.sop_instance_uid IN (?1::text[]) AND r.sender = ?2 AND r.at_us >= coalesce(c.at_us, 0)
"""


async def note(conn: Connection, sop_instance_uid: str, sender: str, at_us: int) -> None:
    """Args:
    sender: AE title; "" for those that have none.
    """
    await row(conn, _NOTE, (sop_instance_uid, sender, at_us))


async def of_sender(conn: Connection, sop_instance_uids: list[str], sender: str) -> set[str]:
    """Of which of these the sender has other bytes than are stored."""
    found = await rows(conn, _REFUSED, (sop_instance_uids, sender))
    return {uid for (uid,) in found}


async def forget(conn: Connection, before_us: int) -> None:
    await rows(conn, "DELETE FROM refused_store WHERE at_us < ?1 RETURNING sender", (before_us,))
