"""Followers of the changes: who has handled which, and who is at it now."""

from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.index.statements import Connection, Script, row, rows


@dataclass(frozen=True, slots=True)
class Followed:
    """A change as its followers need it.

    Attributes:
        subject: What it is about when that is no instance: ``exam/12``; else "".
    """

    number: int
    what: str
    study_instance_uid: str
    sop_instance_uid: str
    subject: str


_CLAIM: Final = """
    INSERT INTO follower (name, change, owner, lease_until_us) VALUES (?1, 0, ?2, ?4)
    ON CONFLICT (name) DO UPDATE SET owner = ?2, lease_until_us = ?4
    WHERE follower.owner = ?2 OR follower.lease_until_us < ?3
    RETURNING change
"""
_ADVANCE: Final = """
    UPDATE follower SET change = ?3, lease_until_us = 0 WHERE name = ?1 AND owner = ?2
"""


async def behind(conn: Connection, names: list[str]) -> list[str]:
    """Which of these have changes to handle, whoever may be handling them."""
    found = await rows(
        conn,
        "SELECT f.name FROM follower f, counter c"
        " WHERE f.name IN (?1::text[]) AND f.change >= c.change",
        (names,),
    )
    done = {name for (name,) in found}
    return [name for name in names if name not in done]


async def claim(
    conn: Connection, names: list[str], owner: str, *, now_us: int, until_us: int
) -> dict[str, int]:
    """Of each follower that nobody else is at: the last change that it has handled."""
    claimed = {}
    for name in names:
        found = await row(conn, _CLAIM, (name, owner, now_us, until_us))
        if found is not None:
            claimed[name] = int(found[0])
    return claimed


async def advance(conn: Connection, places: dict[str, int], owner: str) -> None:
    """Remember what is handled, and let go; what was claimed by another meanwhile stays his."""
    script = Script()
    script.add(_ADVANCE, [(name, owner, change) for name, change in places.items()])
    await script.run(conn)


async def leave_out(conn: Connection, name: str) -> None:
    """Of a follower to whom nothing is new of what has happened so far."""
    await row(
        conn,
        "UPDATE follower SET change = (SELECT change FROM counter WHERE id = 1) WHERE name = ?1"
        " RETURNING change",
        (name,),
    )


async def changes_after(conn: Connection, number: int, limit: int) -> list[Followed]:
    found = await rows(
        conn,
        "SELECT number, what, study_instance_uid, coalesce(sop_instance_uid, ''),"
        " coalesce(subject, '') FROM change WHERE number > ?1 ORDER BY number LIMIT ?2",
        (number, limit),
    )
    return [Followed(*values) for values in found]


async def latest(conn: Connection) -> int:
    found = await row(conn, "SELECT change FROM counter WHERE id = 1")
    return int(found[0])
