"""Worklist transactions (PS3.18 chapter 11, PS3.4 Annex CC), shared by UPS-RS, DIMSE and FHIR.

Each is one transaction of the catalogue: the workitem is read, the rules of `dicom.workitems` say
what becomes of it, and the new version is written with its events. The turn makes sure that nobody
else is between the reading and the writing, so that of a hundred claims exactly one is first.
"""

import secrets
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from bfr_dicomweb.dicom import workitems as rules
from bfr_dicomweb.dicom.attributes import first_text
from bfr_dicomweb.dicom.matching import Asked, Key, Path
from bfr_dicomweb.dicom.query_identifiers import matches
from bfr_dicomweb.dicom.workitem_attributes import RETURNED
from bfr_dicomweb.dicom.workitems import EventReport as EventReport
from bfr_dicomweb.dicom.workitems import EventType as EventType
from bfr_dicomweb.dicom.workitems import Outcome, Workitem
from bfr_dicomweb.dicom.workitems import State as State
from bfr_dicomweb.errors import Conflict, Gone, InvalidRequest, NotFound, PreconditionFailed
from bfr_dicomweb.index import workitem_events as events
from bfr_dicomweb.index import workitems
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.index.walks import Page
from bfr_dicomweb.index.workitems import StoredWorkitem
from bfr_dicomweb.index.workitems import WorkitemRow as WorkitemRow
from bfr_dicomweb.services import errands
from bfr_dicomweb.services.errands import Act

# Well-known (PS3.4 section CC.2.3.1): all workitems, and those that a filter lets through.
WORKLIST: Final = "1.2.840.10008.5.1.4.34.5"
FILTERED_WORKLIST: Final = "1.2.840.10008.5.1.4.34.5.1"

# UPS SCP status (0074,1242), of events of the service itself.
RESTARTED: Final = "RESTARTED"
GOING_DOWN: Final = "GOING DOWN"

_SOP_INSTANCE_UID: Final = "00080018"
_ALWAYS_RETURNED: Final = frozenset(RETURNED)
# Workitems looked at together, and how many beyond a page to tell how many more match.
_PAGE: Final = 500
_COUNTED: Final = 1000
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A workitem as it is after a transaction, and what was said of it on the way.

    Attributes:
        change: Number of its version, for ETags.
        is_modified: Not all was taken as it was given (B300).
        is_already: It was in the requested state before (B304, B306).
    """

    uid: str
    change: int
    attributes: Mapping[str, Any]
    is_modified: bool = False
    is_already: bool = False


async def create(
    index: Index, dataset: Mapping[str, Any], *, uid: str | None = None, origin: str = ""
) -> Kept:
    """
    Args:
        uid: Of the workitem; otherwise the data set says it.
        origin: What it was made of by a rule. Only the first one of an origin is made; the others
            give that one.

    Raises:
        InvalidRequest: The UID is nowhere, or two differ.
        InvalidDataset: A rule of PS3.4 Table CC.2.5-3 is broken.
        Conflict: There is one of this UID, or there was.
    """
    uid = _uid_of(dataset, uid)
    outcome = rules.create(dataset, uid=uid, now=now())

    async def work(conn: Connection) -> Kept:
        turn = await Turn.take(conn)
        made = await workitems.find_by_origin(conn, origin) if origin else None
        if made is not None:
            return _kept(made)
        if await workitems.find(conn, uid) is not None:
            raise Conflict("there is a workitem with this UID")
        stored = workitems.add(turn, uid, outcome.workitem, origin=origin)
        await _report(turn, stored.id, outcome.events)
        await turn.end()
        return _kept(stored, outcome)

    return await index.transact(work)


def new_uid() -> str:
    """A UID derived from a UUID (PS3.5 section B.2)."""
    return f"2.25.{uuid.UUID(bytes=secrets.token_bytes(16), version=4).int}"


def _uid_of(dataset: Mapping[str, Any], uid: str | None) -> str:
    told = first_text(dataset, _SOP_INSTANCE_UID)
    if uid is not None and told and told != uid:
        raise InvalidRequest("the SOP Instance UID differs from that of the target resource")
    found = uid or told
    if not found:
        raise InvalidRequest("the UID of the workitem is missing: SOP Instance UID (0008,0018)")
    if found in (WORKLIST, FILTERED_WORKLIST):
        raise InvalidRequest("the UID is that of the worklist itself")
    return found


async def retrieve(index: Index, uid: str) -> Kept:
    """Raises NotFound, Gone."""
    return _kept(await index.ask(partial(_found, uid=uid)))


async def update(
    index: Index,
    uid: str,
    changes: Mapping[str, Any],
    *,
    transaction_uid: str = "",
    if_change: int | None = None,
) -> Kept:
    """
    Args:
        if_change: The version that is to be changed.

    Raises:
        NotFound, Gone: There is no such workitem.
        WorkitemEnded, NotTheClaimant, InvalidDataset: See `dicom.workitems.update`.
        PreconditionFailed: It has another version.
    """
    change = partial(rules.update, changes=changes, transaction_uid=transaction_uid, now=now())
    return await transact(index, uid, change, if_change)


async def change_state(
    index: Index, uid: str, state: str, *, transaction_uid: str, if_change: int | None = None
) -> Kept:
    """
    Raises:
        NotFound, Gone: There is no such workitem.
        InvalidDataset, NotTheClaimant, WorkitemStateConflict: See `dicom.workitems.change_state`.
        PreconditionFailed: It has another version.
    """
    change = partial(
        rules.change_state, requested=state, transaction_uid=transaction_uid, now=now()
    )
    return await transact(index, uid, change, if_change)


async def request_cancellation(
    index: Index, uid: str, request: Mapping[str, Any], *, requesting_ae: str
) -> Kept:
    """
    Raises:
        NotFound, Gone: There is no such workitem.
        WorkitemStateConflict: It is COMPLETED.
    """
    change = partial(
        rules.request_cancellation, request=request, requesting_ae=requesting_ae, now=now()
    )
    return await transact(index, uid, change, None)


async def transact(
    index: Index, uid: str, change: Callable[[Workitem], Outcome], if_change: int | None
) -> Kept:
    """Have a workitem become what rules make of it, with nobody between reading and writing.

    Raises:
        NotFound, Gone: There is no such workitem.
        PreconditionFailed: It has another version.
    """

    async def work(conn: Connection) -> Kept:
        turn = await Turn.take(conn)
        stored = await _found(conn, uid)
        if if_change is not None and stored.change != if_change:
            raise PreconditionFailed("the workitem has another version than If-Match says")
        outcome = change(_present(stored))
        if outcome.workitem != stored.workitem:
            stored = workitems.put(turn, stored, outcome.workitem)
        await _report(turn, stored.id, outcome.events)
        await turn.end()
        return _kept(stored, outcome)

    return await index.transact(work)


async def _report(turn: Turn, workitem_id: int, reports: Sequence[EventReport]) -> None:
    if reports:
        events.add(turn, workitem_id, reports)
        errands.put(turn, Act.TELL, await events.called(turn.conn))


async def _found(conn: Connection, uid: str) -> StoredWorkitem:
    stored = await workitems.find(conn, uid)
    if stored is None:
        raise NotFound("no such workitem")
    if stored.workitem is None:
        raise Gone("the workitem has been deleted")
    return stored


def _present(stored: StoredWorkitem) -> Workitem:
    if stored.workitem is None:
        raise Gone("the workitem has been deleted")
    return stored.workitem


def _kept(stored: StoredWorkitem, outcome: Outcome | None = None) -> Kept:
    return Kept(
        stored.uid,
        stored.change,
        _present(stored).attributes,
        outcome is not None and outcome.is_modified,
        outcome is not None and outcome.is_already,
    )


# --- searching -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkitemMatches:
    """`remaining` is how many more match, or at least so many when it is not exact."""

    workitems: list[dict[str, Any]]
    remaining: int
    remaining_is_exact: bool


async def search(index: Index, asked: Asked) -> WorkitemMatches:
    """One page of what matches, the oldest first."""
    return await index.ask(partial(_search, asked=asked))


@dataclass(frozen=True, slots=True)
class Stretch:
    """
    Attributes:
        after: Where the next one begins; None when there is none.
    """

    workitems: list[Mapping[str, Any]]
    after: int | None


async def stretch(index: Index, keys: Sequence[Key], *, after: int = 0) -> Stretch:
    """What matches among the next workitems, the oldest first; that may be nothing."""

    async def work(conn: Connection) -> Stretch:
        among = workitems.narrowing(keys)
        page = await workitems.candidates(conn, among, after=after, limit=_PAGE)
        held = [one.workitem.attributes for one in page if one.workitem is not None]
        return Stretch(
            [one for one in held if among.is_exact or matches(keys, one)],
            page[-1].id if len(page) == _PAGE else None,
        )

    return await index.ask(work)


async def _search(conn: Connection, *, asked: Asked) -> WorkitemMatches:
    among = workitems.narrowing(asked.keys)
    wanted = asked.offset + asked.limit
    found: list[Mapping[str, Any]] = []
    looked_at_beyond, after, is_end = 0, 0, asked.limit == 0
    while not is_end and (len(found) < wanted or looked_at_beyond < _COUNTED):
        if len(found) >= wanted and among.is_exact:
            break
        size = min(wanted, _PAGE) if among.is_exact else _PAGE
        page = await workitems.candidates(conn, among, after=after, limit=size)
        looked_at_beyond += len(page) if len(found) >= wanted else 0
        held = [one.workitem.attributes for one in page if one.workitem is not None]
        found += [one for one in held if among.is_exact or matches(asked.keys, one)]
        is_end = len(page) < size
        after = page[-1].id if page else after
    shown = found[asked.offset : wanted]
    if is_end or not among.is_exact:
        remaining, is_exact = max(0, len(found) - wanted), is_end
    else:
        remaining, is_exact = max(0, await workitems.count(conn, among) - wanted), True
    return WorkitemMatches([_shown(one, asked) for one in shown], remaining, is_exact)


def _shown(attributes: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    if asked.include_all:
        return dict(attributes)
    tags = _ALWAYS_RETURNED | asked.returned_tags
    return {tag: element for tag, element in attributes.items() if tag in tags}


async def walk(
    index: Index,
    page: Page,
    *,
    ids: Collection[int] | None = None,
    states: Collection[str] | None = None,
    labels: Collection[str] | None = None,
) -> list[WorkitemRow]:
    """By when they were last modified, from the one after `Page.after`."""
    return await index.ask(
        partial(workitems.walk, page=page, ids=ids, states=states, labels=labels)
    )


async def ids_with(index: Index, path: Path, values: Collection[str]) -> set[int]:
    """The workitems of which an attribute that is searched by has one of these values."""
    return await index.ask(partial(workitems.ids_with, path=path, values=values))


async def by_id(index: Index, id: int) -> WorkitemRow | None:
    """Raises Gone: It has been deleted."""

    async def work(conn: Connection) -> WorkitemRow | None:
        found = await workitems.walk(conn, Page(1), ids=[id])
        if not found and await workitems.by_id(conn, [id]):
            raise Gone("the workitem has been deleted")
        return found[0] if found else None

    return await index.ask(work)


# --- subscriptions ---------------------------------------------------------------------------


async def subscribe(
    index: Index,
    uid: str,
    aet: str,
    *,
    locks: bool,
    filtered: str | None = None,
    called: bool = False,
) -> None:
    """To one workitem, or to the worklist by its well-known UID (PS3.4 section CC.2.3).

    Args:
        locks: Keeps what is over from being deleted.
        filtered: Query parameters of a search; for the filtered worklist alone.
        called: It is told by calling it, not over a channel that it opens.

    Raises:
        InvalidRequest: There is a filter where none belongs, or none where one does.
        NotFound, Gone: There is no such workitem.
    """
    if (uid == FILTERED_WORKLIST) != bool(filtered):
        raise InvalidRequest(
            "filter: belongs to subscriptions to the filtered worklist, and to all"
        )

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        if uid in (WORKLIST, FILTERED_WORKLIST):
            events.subscribe_worklist(
                turn, aet, locks=locks, filtered=filtered or "", called=called
            )
            if locks:
                await _tell_of_all(turn, aet)
        else:
            stored = await _found(conn, uid)
            events.subscribe(turn, aet, stored.id, locks=locks, called=called)
            events.add(turn, stored.id, [rules.state_report(_present(stored))], aet=aet)
        if called:
            errands.put(turn, Act.TELL, [aet])
        await turn.end()

    await index.transact(work)


async def _tell_of_all(turn: Turn, aet: str) -> None:
    """With a lock, a subscriber is told of every workitem that is here (section CC.2.4.3)."""
    after, among = 0, workitems.Narrowing()
    while page := await workitems.candidates(turn.conn, among, after=after, limit=_PAGE):
        for stored in page:
            events.add(turn, stored.id, [rules.state_report(_present(stored))], aet=aet)
        after = page[-1].id


async def unsubscribe(index: Index, uid: str, aet: str) -> None:
    """From one workitem, or by the UID of the worklist from everything.

    Raises:
        NotFound, Gone: There is no such workitem, or no such subscription.
    """

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        if uid in (WORKLIST, FILTERED_WORKLIST):
            if not await events.is_subscriber(conn, aet):
                raise NotFound("this application entity has no subscription")
            events.unsubscribe_worklist(turn, aet)
        else:
            stored = await _found(conn, uid)
            if await subscription(conn, aet, stored.id) is None:
                raise NotFound("this application entity has no subscription to the workitem")
            events.unsubscribe(turn, aet, stored.id)
        await turn.end()

    await index.transact(work)


async def suspend(index: Index, uid: str, aet: str) -> None:
    """No subscription to workitems that are to come; those that are here stay subscribed.

    Raises:
        InvalidRequest: The target is not the worklist.
        NotFound: This application entity has no subscription to the worklist.
    """
    if uid not in (WORKLIST, FILTERED_WORKLIST):
        raise InvalidRequest("only subscriptions to the worklist can be suspended")

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        if not await events.worklist_subscriptions(conn, aet):
            raise NotFound("this application entity has no subscription to the worklist")
        events.suspend_worklist(turn, aet)
        await turn.end()

    await index.transact(work)


async def subscription(
    conn: Connection, aet: str, workitem_id: int
) -> events.WorkitemSubscription | events.WorklistSubscription | None:
    """What makes this application entity hear of the workitem, if anything does."""
    own = [
        one for one in await events.workitem_subscriptions(conn, [workitem_id]) if one.aet == aet
    ]
    return standing(
        own[0] if own else None, await events.worklist_subscriptions(conn, aet), workitem_id
    )


def standing(
    own: events.WorkitemSubscription | None,
    worklist: list[events.WorklistSubscription],
    workitem_id: int,
) -> events.WorkitemSubscription | events.WorklistSubscription | None:
    """The last word of a subscriber on a workitem, else what covers it (PS3.4 Table CC.2.3-2)."""
    if own is not None and own.subscribed:
        return own
    since = own.since if own is not None else 0
    return next((one for one in worklist if one.since > since and one.covers(workitem_id)), None)


# --- the service itself ----------------------------------------------------------------------


async def announce(index: Index, status: str) -> None:
    """Tell all subscribers that the service RESTARTED or is GOING DOWN (PS3.4 CC.2.4.3).

    Subscriptions and workitems are there as before: a warm start.
    """
    warm = {"vr": "CS", "Value": ["WARM START"]}
    information = {
        "00741242": {"vr": "CS", "Value": [status]},
        "00741244": warm,
        "00741246": warm,
    }

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        await _report(turn, 0, [EventReport(EventType.SCP_STATUS_CHANGE, information)])
        await turn.end()

    await index.transact(work)


# --- housekeeping ----------------------------------------------------------------------------


async def delete_ended(index: Index, *, after_days: float, limit: int = 500) -> int:
    """Delete what has been over for so long and is not locked; gives how many."""

    async def work(conn: Connection) -> int:
        turn = await Turn.take(conn)
        before_us = turn.at_us - int(after_days * _DAY_US)
        ended = await workitems.ended_before(conn, at_us=before_us, limit=limit)
        for stored in ended:
            workitems.delete(turn, stored)
        await turn.end()
        return len(ended)

    return await index.transact(work)


async def forget_events(index: Index, *, after_days: float) -> None:
    """Who has not fetched its events for so long has to look at the workitems themselves."""

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        events.forget_before(turn, turn.at_us - int(after_days * _DAY_US))
        await turn.end()

    await index.transact(work)


def now() -> str:
    """The time as a DT value, in UTC."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S.%f+0000")
