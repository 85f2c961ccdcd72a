"""What only the passing of time tells: images that do not come, senders that fall silent, receivers
that take nothing.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from bfr_dicomweb.index import changes, findings, lateness, outbox
from bfr_dicomweb.index.changes import now_us as now_us
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn, utc_text

SILENT: Final = "performer-silent"
SENDER: Final = "sender/"
RECEIVER: Final = "receiver/"
UNDELIVERED: Final = "undelivered"
# Failures of one delivery before somebody has to look.
ATTEMPTS: Final = 5
PAGE: Final = 500
_HOUR_US: Final = 3_600_000_000


async def raise_overdue(index: Index) -> int:
    """A finding for each exam whose images should have come; gives how many are new.

    When images come, or the exam is cancelled, linking and folding resolve it.
    """
    raised = 0
    while True:
        now = utc_text(changes.now_us())
        due = await index.ask(partial(lateness.overdue, now=now, limit=PAGE))
        if not due:
            return raised
        raised += await index.transact(partial(_raise_overdue, due=due))


async def _raise_overdue(conn: Connection, due: list[lateness.Overdue]) -> int:
    turn = await Turn.take(conn)
    stated = [
        findings.Stated(
            key=one.key,
            code=lateness.OVERDUE,
            severity="moderate",
            subject=f"{findings.EXAM}{one.exam_id}",
            detail=f"images were expected at {one.expected} and have not come",
            performer=one.performer,
            patient_id=one.patient_id,
            order_id=one.order_id,
            exam_id=one.exam_id,
            raised=one.expected,
        )
        for one in due
    ]
    await findings.settle(turn, stated, [])
    await turn.end()
    return len(stated)


async def raise_silent(index: Index, hours: Mapping[str, float]) -> None:
    """A finding for each sender from whom nothing came for its hours; resolved when it speaks.

    Args:
        hours: By the name of the sender. One that never sent anything is not silent yet.
    """
    last = await index.ask(lateness.last_seen)
    now = changes.now_us()
    silent = [
        name
        for name, window in hours.items()
        if name in last and now - last[name] > window * _HOUR_US
    ]
    await _state(
        index,
        SENDER,
        [
            findings.Stated(
                key=f"{SENDER}{name}|{SILENT}",
                code=SILENT,
                severity="high",
                subject=f"{SENDER}{name}",
                detail=f"nothing has come from {name} since {utc_text(last[name])}",
                performer=name,
            )
            for name in silent
        ],
    )


async def raise_undelivered(index: Index) -> None:
    """A finding for each receiver that again and again does not take what it is sent."""
    waiting = await index.ask(outbox.backlog)
    await _state(
        index,
        RECEIVER,
        [
            findings.Stated(
                key=f"{RECEIVER}{one.receiver}|{UNDELIVERED}",
                code=UNDELIVERED,
                severity="high",
                subject=f"{RECEIVER}{one.receiver}",
                detail=f"{one.receiver} does not take what it is sent: {one.last_error}",
            )
            for one in waiting
            if one.attempts >= ATTEMPTS
        ],
    )


async def _state(index: Index, scope: str, stated: list[findings.Stated]) -> None:
    """Raise what is new in a scope and resolve the rest; nothing is written when all is as it was.

    Details may change without being written again: a finding says since when, not how often.
    """
    known = await index.ask(partial(findings.by_beginning, beginning=scope))
    if {one.key for one in known if not one.resolved} == {one.key for one in stated}:
        return

    async def settle(conn: Connection) -> None:
        turn = await Turn.take(conn)
        await findings.settle(turn, stated, await findings.by_beginning(conn, scope))
        await turn.end()

    await index.transact(settle)
