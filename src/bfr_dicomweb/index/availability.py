"""Studies that have become available, and who has to be told."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.index.statements import Connection, Script, row, rows
from bfr_dicomweb.index.turn import Turn

_GROWS: Final = """
    INSERT INTO growing_study (study_instance_uid, changed_us) VALUES (?1, ?2)
    ON CONFLICT (study_instance_uid) DO UPDATE SET changed_us = ?2
"""
_TELL: Final = """
    INSERT INTO availability_notice
        (peer, study_instance_uid, number, attempts, last_error, created_us)
    VALUES (?1, ?2, ?3, 0, '', ?4)
    ON CONFLICT (peer, study_instance_uid) DO UPDATE SET number = ?3
"""

STUDY_SETTLED: Final = "study-settled"
# Kind of the subject of such a change; the rest of it is the Study Instance UID.
SETTLED: Final = "settled"


@dataclass(frozen=True, slots=True)
class Notice:
    """Attributes:
    number: Of the last time when there was something to tell of the study.
    """

    peer: str
    study_instance_uid: str
    number: int


async def grows(conn: Connection, study_instance_uids: Iterable[str], now_us: int) -> None:
    script = Script()
    script.add(_GROWS, [(uid, now_us) for uid in study_instance_uids])
    await script.run(conn)


async def any_quiet(conn: Connection, before_us: int) -> bool:
    found = await row(
        conn, "SELECT 1 FROM growing_study WHERE changed_us < ?1 LIMIT 1", (before_us,)
    )
    return found is not None


async def tell(turn: Turn, before_us: int, peers: Collection[str]) -> int:
    """Each of the peers is to be told of each study that has not changed since then."""
    quiet = await rows(
        turn.conn,
        "DELETE FROM growing_study WHERE changed_us < ?1 RETURNING study_instance_uid",
        (before_us,),
    )
    for (uid,) in quiet:
        turn.tell(STUDY_SETTLED, f"{SETTLED}/{uid}")
        turn.script.add(_TELL, [(peer, uid, turn.number(), turn.at_us) for peer in peers])
    return len(quiet)


async def waiting(conn: Connection, peer: str, limit: int) -> list[Notice]:
    """Those that failed most often last."""
    found = await rows(
        conn,
        "SELECT peer, study_instance_uid, number FROM availability_notice"
        " WHERE peer = ?1 ORDER BY attempts, number LIMIT ?2",
        (peer, limit),
    )
    return [Notice(*values) for values in found]


async def told(conn: Connection, notice: Notice) -> None:
    """Forget it, unless there is something newer to tell of the study."""
    await row(
        conn,
        "DELETE FROM availability_notice WHERE peer = ?1 AND study_instance_uid = ?2"
        " AND number = ?3 RETURNING number",
        (notice.peer, notice.study_instance_uid, notice.number),
    )


async def untold(conn: Connection, notice: Notice, error: str) -> None:
    await row(
        conn,
        "UPDATE availability_notice SET attempts = attempts + 1, last_error = ?3"
        " WHERE peer = ?1 AND study_instance_uid = ?2 RETURNING number",
        (notice.peer, notice.study_instance_uid, error),
    )


async def abandon(conn: Connection, before_us: int) -> list[tuple[str, str, str]]:
    """Give up what has waited since then; gives peer, study and last error of each."""
    found = await rows(
        conn,
        "DELETE FROM availability_notice WHERE created_us < ?1"
        " RETURNING peer, study_instance_uid, last_error",
        (before_us,),
    )
    return [tuple(values) for values in found]
