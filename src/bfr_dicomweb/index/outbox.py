"""What has to be told to others: for each receiver strictly in the order it was put in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.index.statements import Connection, insert, row, rows
from bfr_dicomweb.index.turn import Turn

WAITING: Final = "waiting"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """Attributes:
    kind: By what channel it is delivered.
    attempts: How many have failed.
    """

    number: int
    receiver: str
    kind: str
    payload: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one receiver has not got yet.

    Attributes:
        last_error: Of the oldest entry, "" when its delivery has not failed.
    """

    receiver: str
    entries: int
    oldest: int
    attempts: int
    last_error: str


_INSERT: Final = insert(
    "outbox",
    (
        *("number", "receiver", "kind", "payload", "state"),
        *("due_us", "lease_until_us", "owner", "attempts", "last_error"),
    ),
)
# One seek for each receiver, however much waits for it.
_HEADS: Final = """
    WITH RECURSIVE r(receiver) AS (
        SELECT min(receiver) FROM outbox
        UNION ALL
        SELECT (SELECT min(o.receiver) FROM outbox o WHERE o.receiver > r.receiver)
        FROM r WHERE r.receiver IS NOT NULL)
    SELECT r.receiver FROM r JOIN outbox h
        ON h.number = (SELECT min(o.number) FROM outbox o WHERE o.receiver = r.receiver)
    WHERE h.due_us <= ?1 AND h.lease_until_us < ?1
    ORDER BY h.number
"""
_CLAIM: Final = """
    UPDATE outbox SET owner = ?2, lease_until_us = ?4
    WHERE number = (SELECT min(o.number) FROM outbox o WHERE o.receiver = ?1)
        AND due_us <= ?3 AND lease_until_us < ?3
    RETURNING number, receiver, kind, payload, attempts
"""


def enqueue(turn: Turn, entries: Iterable[tuple[str, str, bytes]], *, delay_us: int = 0) -> None:
    """Put in receiver, kind and payload, to be delivered after the commit."""
    due_us = turn.at_us + delay_us
    turn.script.add(
        _INSERT,
        [
            (turn.number(), receiver, kind, payload, WAITING, due_us, 0, "", 0, "")
            for receiver, kind, payload in entries
        ],
    )


async def receivers_due(conn: Connection, now_us: int) -> list[str]:
    """Those whose oldest entry may be delivered now and is in nobody's hands."""
    return [receiver for (receiver,) in await rows(conn, _HEADS, (now_us,))]


async def claim(
    conn: Connection, receiver: str, owner: str, *, now_us: int, until_us: int
) -> Entry | None:
    """The oldest entry of a receiver, for this owner alone until then; None when it must wait."""
    found = await row(conn, _CLAIM, (receiver, owner, now_us, until_us))
    if found is None:
        return None
    number, to, kind, payload, attempts = found
    return Entry(number, to, kind, bytes(payload), attempts)


def hasten(turn: Turn, receiver: str) -> None:
    """What waits for the next attempt is tried now: there is a sign that it may succeed."""
    turn.script.add(
        "UPDATE outbox SET due_us = ?2 WHERE receiver = ?1 AND due_us > ?2 AND state = 'failed'",
        [(receiver, turn.at_us)],
    )


async def renew(conn: Connection, number: int, owner: str, *, until_us: int) -> None:
    """What was claimed stays this owner's until then."""
    await row(
        conn,
        "UPDATE outbox SET lease_until_us = ?3 WHERE number = ?1 AND owner = ?2 RETURNING number",
        (number, owner, until_us),
    )


async def done(conn: Connection, number: int, owner: str) -> bool:
    """Forget what was delivered. False when the lease was lost meanwhile."""
    found = await row(
        conn,
        "DELETE FROM outbox WHERE number = ?1 AND owner = ?2 RETURNING number",
        (number, owner),
    )
    return found is not None


async def failed(conn: Connection, number: int, owner: str, *, error: str, due_us: int) -> bool:
    """It stays the first of its receiver and is tried again then. False: the lease was lost."""
    found = await row(
        conn,
        "UPDATE outbox SET state = ?3, last_error = ?4, due_us = ?5, attempts = attempts + 1,"
        " lease_until_us = 0, owner = '' WHERE number = ?1 AND owner = ?2 RETURNING number",
        (number, owner, FAILED, error, due_us),
    )
    return found is not None


async def backlog(conn: Connection) -> list[Backlog]:
    found = await rows(
        conn,
        "SELECT c.receiver, c.entries, c.oldest, h.attempts, h.last_error FROM ("
        "SELECT receiver, count(*) AS entries, min(number) AS oldest FROM outbox GROUP BY receiver"
        ") c JOIN outbox h ON h.number = c.oldest ORDER BY c.receiver",
    )
    return [Backlog(*values) for values in found]
