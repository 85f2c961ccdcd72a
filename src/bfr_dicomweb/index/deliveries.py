"""Jobs of sending: which instances go to which peer, and what became of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bfr_dicomweb.index.commitments import Reference
from bfr_dicomweb.index.statements import Connection, Script, insert, row, rows
from bfr_dicomweb.index.turn import Turn

# From so many failed attempts on, an instance comes after all others of its peer.
_SUSPECT: Final = 3


class JobState(StrEnum):
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


class InstanceState(StrEnum):
    """What has become of an instance of a job.

    `SENT` is the end unless the job wants a commitment; then `ASKED` follows when the peer has
    taken the request, and `COMMITTED` when it has said yes.
    """

    WAITING = "waiting"
    SENT = "sent"
    ASKED = "asked"
    COMMITTED = "committed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """Attributes:
    priority: As in DIMSE: 0 medium, 1 high, 2 low; kept so that the higher goes first.
    ended_us: 0 as long as it is open.
    """

    number: int
    peer: str
    priority: int
    commits: bool
    state: JobState
    created_us: int
    ended_us: int


@dataclass(frozen=True, slots=True)
class Item:
    """One instance of a job; `attempts` have failed."""

    job: int
    ordinal: int
    reference: Reference
    attempts: int


@dataclass(frozen=True, slots=True)
class Told:
    """What became of an instance, to be kept.

    Attributes:
        due_us: When it may be tried again.
        attempts: That have failed, this one among them.
    """

    job: int
    ordinal: int
    state: InstanceState
    attempts: int
    reason: str = ""
    due_us: int = 0


_JOB_COLUMNS: Final = "number, peer, priority, commits, state, created_us, ended_us"
_SELECT_JOB: Final = f"SELECT {_JOB_COLUMNS} FROM delivery"  # noqa: S608 # our words
_INSERT_JOB: Final = insert("delivery", _JOB_COLUMNS.split(", "))
_ITEM_COLUMNS: Final = (
    *("delivery", "ordinal", "sop_class_uid", "sop_instance_uid", "state"),
    *("attempts", "due_us", "reason", "transaction_uid"),
)
_INSERT_ITEM: Final = insert("delivery_instance", _ITEM_COLUMNS)
_SELECT_ITEM: Final = (
    "SELECT i.delivery, i.ordinal, i.sop_class_uid, i.sop_instance_uid, i.attempts"
    " FROM delivery_instance i"
)
_FIRST_JOB: Final = f"""
    SELECT d.number FROM delivery d WHERE d.peer = ?1 AND d.state = 'open' AND EXISTS (
        SELECT 1 FROM delivery_instance i WHERE i.delivery = d.number AND i.state = 'waiting'
        AND i.attempts {{compared}} {_SUSPECT} AND i.due_us <= ?2)
    ORDER BY d.priority DESC, d.number LIMIT 1
"""  # noqa: S608 # our words
_KEEP: Final = """
    UPDATE delivery_instance SET state = ?3, attempts = ?4, reason = ?5, due_us = ?6
    WHERE delivery = ?1 AND ordinal = ?2
"""
_END: Final = """
    UPDATE delivery SET ended_us = ?2, state = CASE WHEN EXISTS (
        SELECT 1 FROM delivery_instance i WHERE i.delivery = ?1 AND i.state = 'failed')
        THEN 'failed' ELSE 'done' END
    WHERE number = ?1 AND state = 'open' AND NOT EXISTS (
        SELECT 1 FROM delivery_instance i WHERE i.delivery = ?1
        AND (i.state IN ('waiting', 'asked') OR (i.state = 'sent' AND commits = 1)))
    RETURNING state
"""


def add(
    turn: Turn, peer: str, references: Iterable[Reference], *, priority: int, commits: bool
) -> int:
    """A new job; gives its number. Higher numbers of `priority` go first."""
    number = turn.number()
    job = (number, peer, priority, int(commits), JobState.OPEN, turn.at_us, 0)
    turn.script.add(_INSERT_JOB, [job])
    turn.script.add(
        _INSERT_ITEM,
        [
            (number, at, one.sop_class_uid, one.sop_instance_uid, "waiting", 0, 0, "", "")
            for at, one in enumerate(references)
        ],
    )
    return number


async def find(conn: Connection, number: int) -> Job | None:
    found = await row(conn, f"{_SELECT_JOB} WHERE number = ?1", (number,))
    return None if found is None else _job(found)


async def newest(conn: Connection, limit: int) -> list[Job]:
    found = await rows(conn, f"{_SELECT_JOB} ORDER BY number DESC LIMIT ?1", (limit,))
    return [_job(values) for values in found]


async def unfinished(conn: Connection, peer: str) -> list[Job]:
    """Those that are open or have failed, in the order of their numbers."""
    found = await rows(
        conn,
        f"{_SELECT_JOB} WHERE peer = ?1 AND state IN ('open', 'failed') ORDER BY number",
        (peer,),
    )
    return [_job(values) for values in found]


async def counts(conn: Connection, number: int) -> dict[InstanceState, int]:
    found = await rows(
        conn,
        "SELECT state, count(*) FROM delivery_instance WHERE delivery = ?1 GROUP BY state",
        (number,),
    )
    return {InstanceState(state): count for state, count in found}


async def reasons(conn: Connection, number: int, limit: int) -> dict[str, int]:
    """Why instances of a job are not there yet or have failed; the most frequent first."""
    found = await rows(
        conn,
        "SELECT reason, count(*) FROM delivery_instance WHERE delivery = ?1"
        " AND state IN ('waiting', 'failed') AND reason <> ''"
        " GROUP BY reason ORDER BY count(*) DESC, reason LIMIT ?2",
        (number, limit),
    )
    return dict(map(tuple, found))


async def due(conn: Connection, peer: str, *, now_us: int, limit: int) -> list[Item]:
    """The next to be sent, all of one job: of the one that goes first."""
    for compared in ("<", ">="):
        job = await row(conn, _FIRST_JOB.format(compared=compared), (peer, now_us))
        if job is not None:
            found = await rows(
                conn,
                f"{_SELECT_ITEM} WHERE i.delivery = ?1 AND i.state = 'waiting' AND i.due_us <= ?2"
                f" AND i.attempts {compared} {_SUSPECT} ORDER BY i.attempts, i.ordinal LIMIT ?3",
                (job[0], now_us, limit),
            )
            return [_item(values) for values in found]
    return []


async def waiting(conn: Connection, peer: str) -> dict[str, int]:
    """How many instances are still to be sent to a peer, by the reason why they are."""
    found = await rows(
        conn,
        "SELECT i.reason, count(*) FROM delivery d JOIN delivery_instance i"
        " ON i.delivery = d.number WHERE d.peer = ?1 AND d.state = 'open'"
        " AND i.state = 'waiting' GROUP BY i.reason ORDER BY count(*) DESC",
        (peer,),
    )
    return dict(map(tuple, found))


async def to_commit(conn: Connection, peer: str, *, now_us: int, limit: int) -> list[Item]:
    """Instances of one job, all of which has been sent, that are to be committed to."""
    job = await row(
        conn,
        "SELECT d.number FROM delivery d WHERE d.peer = ?1 AND d.state = 'open' AND d.commits = 1"
        " AND EXISTS (SELECT 1 FROM delivery_instance i WHERE i.delivery = d.number"
        " AND i.state = 'sent' AND i.due_us <= ?2)"
        " AND NOT EXISTS (SELECT 1 FROM delivery_instance i WHERE i.delivery = d.number"
        " AND i.state = 'waiting')"
        " ORDER BY d.priority DESC, d.number LIMIT 1",
        (peer, now_us),
    )
    if job is None:
        return []
    found = await rows(
        conn,
        f"{_SELECT_ITEM} WHERE i.delivery = ?1 AND i.state = 'sent' AND i.due_us <= ?2"
        " ORDER BY i.ordinal LIMIT ?3",
        (job[0], now_us, limit),
    )
    return [_item(values) for values in found]


async def is_anything_to_commit(conn: Connection, peer: str) -> bool:
    found = await row(
        conn,
        "SELECT 1 FROM delivery d JOIN delivery_instance i ON i.delivery = d.number"
        " WHERE d.peer = ?1 AND d.state = 'open' AND d.commits = 1 AND i.state = 'sent' LIMIT 1",
        (peer,),
    )
    return found is not None


async def keep(conn: Connection, told: Sequence[Told], *, now_us: int) -> None:
    """Keep what became of instances, and end the jobs of which nothing is left to do."""
    script = Script()
    script.add(
        _KEEP,
        [(one.job, one.ordinal, one.state, one.attempts, one.reason, one.due_us) for one in told],
    )
    await script.run(conn)
    for job in {one.job for one in told}:
        await end(conn, job, now_us=now_us)


async def end(conn: Connection, job: int, *, now_us: int) -> None:
    await row(conn, _END, (job, now_us))


async def retry(conn: Connection, job: int) -> int:
    """What failed is tried again, and what waits for its time now; gives how much that is."""
    found = await rows(
        conn,
        "UPDATE delivery_instance SET attempts = CASE WHEN state = 'failed' THEN 0 ELSE attempts"
        " END, state = 'waiting', due_us = 0"
        " WHERE delivery = ?1 AND state IN ('waiting', 'failed') RETURNING ordinal",
        (job,),
    )
    await row(
        conn,
        "UPDATE delivery SET state = 'open', ended_us = 0"
        " WHERE number = ?1 AND state = 'failed' RETURNING number",
        (job,),
    )
    return len(found)


# --- commitments asked of peers ----------------------------------------------------------------


async def ask(
    conn: Connection, peer: str, transaction_uid: str, items: Sequence[Item], *, now_us: int
) -> None:
    """Keep that the peer is about to be asked: its answer may be faster than its response."""
    script = Script()
    script.add(
        insert(
            "delivery_commitment",
            ("transaction_uid", "delivery", "peer", "asked_us", "answered_us"),
        ),
        [(transaction_uid, items[0].job, peer, now_us, 0)],
    )
    script.add(
        "UPDATE delivery_instance SET state = 'asked', transaction_uid = ?3"
        " WHERE delivery = ?1 AND ordinal = ?2",
        [(one.job, one.ordinal, transaction_uid) for one in items],
    )
    await script.run(conn)


async def asked_of(conn: Connection, transaction_uid: str) -> tuple[str, int, bool] | None:
    """Of whom, for which job, and whether it has been answered."""
    found = await row(
        conn,
        "SELECT peer, delivery, answered_us FROM delivery_commitment WHERE transaction_uid = ?1",
        (transaction_uid,),
    )
    return None if found is None else (found[0], found[1], bool(found[2]))


async def asked_items(conn: Connection, transaction_uid: str) -> list[Item]:
    """Those about which the peer has not said anything yet."""
    found = await rows(
        conn,
        f"{_SELECT_ITEM} WHERE i.transaction_uid = ?1 AND i.state = 'asked' ORDER BY i.ordinal",
        (transaction_uid,),
    )
    return [_item(values) for values in found]


async def answered(conn: Connection, transaction_uid: str, *, now_us: int) -> None:
    await row(
        conn,
        "UPDATE delivery_commitment SET answered_us = ?2 WHERE transaction_uid = ?1 RETURNING 1",
        (transaction_uid, now_us),
    )


async def unanswered(conn: Connection, before_us: int) -> list[tuple[str, str]]:
    """Transaction and peer of what was asked before then."""
    found = await rows(
        conn,
        "SELECT transaction_uid, peer FROM delivery_commitment"
        " WHERE answered_us = 0 AND asked_us < ?1",
        (before_us,),
    )
    return [tuple(values) for values in found]


# --- ageing ------------------------------------------------------------------------------------


async def give_up(conn: Connection, before_us: int, reason: str, *, now_us: int) -> list[Job]:
    """End what has been open since then."""
    found = await rows(
        conn, f"{_SELECT_JOB} WHERE state = 'open' AND created_us < ?1", (before_us,)
    )
    for values in found:
        await rows(
            conn,
            "UPDATE delivery_instance SET state = 'failed', reason = CASE WHEN reason = ''"
            " THEN ?2 ELSE reason END WHERE delivery = ?1 AND (state IN ('waiting', 'asked')"
            " OR (state = 'sent' AND ?3 = 1)) RETURNING ordinal",
            (values[0], reason, int(values[3])),
        )
        await end(conn, values[0], now_us=now_us)
    return [_job(values) for values in found]


async def forget(conn: Connection, before_us: int) -> None:
    """Of what has ended, what was begun before then."""
    for state in (JobState.DONE, JobState.FAILED):
        found = await rows(
            conn,
            "DELETE FROM delivery WHERE state = ?1 AND created_us < ?2 RETURNING number",
            (state, before_us),
        )
        script = Script()
        ended = [tuple(values) for values in found]
        script.add("DELETE FROM delivery_instance WHERE delivery = ?1", ended)
        script.add("DELETE FROM delivery_commitment WHERE delivery = ?1", ended)
        await script.run(conn)


def _job(found: Sequence[Any]) -> Job:
    number, peer, priority, commits, state, created_us, ended_us = found
    return Job(number, peer, priority, bool(commits), JobState(state), created_us, ended_us)


def _item(found: Sequence[Any]) -> Item:
    job, ordinal, sop_class_uid, sop_instance_uid, attempts = found
    return Item(job, ordinal, Reference(sop_class_uid, sop_instance_uid), attempts)
