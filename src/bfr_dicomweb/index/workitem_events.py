"""Events of workitems, and who is subscribed to them (PS3.4 section CC.2.3).

A subscription to the whole worklist is one row, whatever the number of workitems: it covers those
with ids up to `until_id`, and while it is open all that are to come. A subscriber's last word on
one workitem stands above it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bfr_dicomweb.dicom.workitems import EventReport, EventType
from bfr_dicomweb.index.statements import Connection, insert, row, rows
from bfr_dicomweb.index.turn import Turn

_INSERT: Final = insert("workitem_event", ("number", "at_us", "workitem_id", "type", "aet", "body"))
_PUT_ONE: Final = (
    "INSERT INTO workitem_subscription (aet, workitem_id, since, subscribed, locks)"
    " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (workitem_id, aet)"
    " DO UPDATE SET since = ?3, subscribed = ?4, locks = ?5"
)
_PUT_WORKLIST: Final = insert(
    "worklist_subscription", ("since", "aet", "until_id", "locks", "filter")
)
_PUT_SUBSCRIBER: Final = (
    "INSERT INTO worklist_subscriber (aet, told, called) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (aet) DO UPDATE SET called = ?3"
)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """`aet`: the one who is told, when nobody else is; `workitem_id` 0 is the service itself."""

    number: int
    workitem_id: int
    uid: str
    type: EventType
    aet: str
    information: dict[str, Any]


@dataclass(frozen=True, slots=True)
class WorklistSubscription:
    """`until_id` is 0 while it is open; `filter` is "" when it is of all workitems."""

    aet: str
    since: int
    until_id: int
    locks: bool
    filter: str

    def covers(self, workitem_id: int) -> bool:
        return not self.until_id or workitem_id <= self.until_id


@dataclass(frozen=True, slots=True)
class WorkitemSubscription:
    aet: str
    workitem_id: int
    since: int
    subscribed: bool
    locks: bool


def add(turn: Turn, workitem_id: int, events: Iterable[EventReport], *, aet: str = "") -> None:
    turn.script.add(
        _INSERT,
        [
            (
                turn.number(),
                turn.at_us,
                workitem_id,
                event.type,
                aet,
                orjson.dumps(event.information),
            )
            for event in events
        ],
    )


async def latest(conn: Connection) -> int:
    """The number of the last event, 0 when there is none."""
    found = await row(conn, "SELECT number FROM workitem_event ORDER BY number DESC LIMIT 1")
    return int(found[0]) if found else 0


async def after(conn: Connection, number: int, *, limit: int) -> list[StoredEvent]:
    found = await rows(
        conn,
        "SELECT e.number, e.workitem_id, w.uid, e.type, e.aet, e.body FROM workitem_event e"
        " LEFT JOIN workitem w ON w.id = e.workitem_id"
        " WHERE e.number > ?1 ORDER BY e.number LIMIT ?2",
        (number, limit),
    )
    return [
        StoredEvent(key, workitem_id, uid or "", EventType(kind), aet, orjson.loads(body))
        for key, workitem_id, uid, kind, aet, body in found
    ]


def forget_before(turn: Turn, at_us: int) -> None:
    turn.script.add("DELETE FROM workitem_event WHERE at_us < ?1", [(at_us,)])


# --- subscriptions ---------------------------------------------------------------------------


def subscribe(turn: Turn, aet: str, workitem_id: int, *, locks: bool, called: bool) -> None:
    number = turn.number()
    turn.script.add(_PUT_ONE, [(aet, workitem_id, number, 1, int(locks))])
    turn.script.add(_PUT_SUBSCRIBER, [(aet, number, int(called))])


def unsubscribe(turn: Turn, aet: str, workitem_id: int) -> None:
    turn.script.add(_PUT_ONE, [(aet, workitem_id, turn.number(), 0, 0)])


def subscribe_worklist(turn: Turn, aet: str, *, locks: bool, filtered: str, called: bool) -> None:
    number = turn.number()
    # the new one covers all that one of the same kind did
    turn.script.add(
        "DELETE FROM worklist_subscription WHERE aet = ?1 AND locks = ?2 AND filter = ?3",
        [(aet, int(locks), filtered)],
    )
    suspend_worklist(turn, aet)
    turn.script.add(_PUT_WORKLIST, [(number, aet, 0, int(locks), filtered)])
    turn.script.add(_PUT_SUBSCRIBER, [(aet, number, int(called))])


def suspend_worklist(turn: Turn, aet: str) -> None:
    """What is here stays subscribed; what comes is not."""
    turn.script.add(
        "UPDATE worklist_subscription SET until_id = ?2 WHERE aet = ?1 AND until_id = 0",
        [(aet, turn.counter.change)],
    )


def unsubscribe_worklist(turn: Turn, aet: str) -> None:
    """From everything, single workitems too (PS3.4 Table CC.2.3-2)."""
    turn.script.add("DELETE FROM worklist_subscription WHERE aet = ?1", [(aet,)])
    turn.script.add("DELETE FROM workitem_subscription WHERE aet = ?1", [(aet,)])


async def worklist_subscriptions(
    conn: Connection, aet: str | None = None
) -> list[WorklistSubscription]:
    """The oldest first, which is the one that counts where several cover a workitem."""
    columns = "SELECT aet, since, until_id, locks, filter FROM worklist_subscription"
    found = (
        await rows(conn, f"{columns} ORDER BY since")
        if aet is None
        else await rows(conn, f"{columns} WHERE aet = ?1 ORDER BY since", (aet,))
    )
    return [
        WorklistSubscription(title, since, until, bool(locks), filtered)
        for title, since, until, locks, filtered in found
    ]


async def workitem_subscriptions(
    conn: Connection, workitem_ids: Sequence[int]
) -> list[WorkitemSubscription]:
    found = await rows(
        conn,
        "SELECT aet, workitem_id, since, subscribed, locks FROM workitem_subscription"
        " WHERE workitem_id IN (?1::bigint[])",
        (list(workitem_ids),),
    )
    return [
        WorkitemSubscription(aet, key, since, bool(subscribed), bool(locks))
        for aet, key, since, subscribed, locks in found
    ]


async def is_subscriber(conn: Connection, aet: str) -> bool:
    return await subscribed_since(conn, aet) is not None


async def subscribed_since(conn: Connection, aet: str) -> int | None:
    """The number of its oldest subscription; None when it has none."""
    found = await row(
        conn,
        "SELECT MIN(s.since) FROM ("
        "SELECT since FROM worklist_subscription WHERE aet = ?1 UNION ALL"
        " SELECT since FROM workitem_subscription WHERE aet = ?1 AND subscribed = 1) s",
        (aet,),
    )
    return None if found is None or found[0] is None else int(found[0])


# --- how far each has been told --------------------------------------------------------------


async def told(conn: Connection, aet: str) -> int | None:
    """The last event that the subscriber is sure to have; None when it never subscribed."""
    found = await row(conn, "SELECT told FROM worklist_subscriber WHERE aet = ?1", (aet,))
    return None if found is None else int(found[0])


def keep_told(turn: Turn, told_of: Mapping[str, int], *, called: bool = False) -> None:
    """Of who is told in both ways only the calls count."""
    turn.script.add(
        "UPDATE worklist_subscriber SET told = ?2 WHERE aet = ?1 AND told < ?2 AND called = ?3",
        [(aet, number, int(called)) for aet, number in sorted(told_of.items())],
    )


async def called(conn: Connection) -> list[str]:
    """Who is told by calling."""
    found = await rows(conn, "SELECT aet FROM worklist_subscriber WHERE called = 1 ORDER BY aet")
    return [aet for (aet,) in found]
