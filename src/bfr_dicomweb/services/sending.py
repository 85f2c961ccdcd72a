"""Jobs of sending stored instances to a peer.

Which instances a job has is fixed when it is made. The state of each is kept, so that a job goes
on where it was after a broken association or a killed process: an instance that the peer has
acknowledged is not sent again. One whose acknowledgement was lost on the way to the catalogue may
be, and is then the same instance once more, which receivers take as a success.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Final

from pydicom.uid import generate_uid

from bfr_dicomweb.errors import InvalidRequest, NotFound
from bfr_dicomweb.index import changes, deliveries, instances, outbox
from bfr_dicomweb.index.commitments import Reference
from bfr_dicomweb.index.deliveries import InstanceState as InstanceState
from bfr_dicomweb.index.deliveries import Item as Item
from bfr_dicomweb.index.deliveries import Job as Job
from bfr_dicomweb.index.deliveries import JobState as JobState
from bfr_dicomweb.index.deliveries import Told as Told
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import errands, retrieve
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.commitment import Failure
from bfr_dicomweb.services.errands import Act
from bfr_dicomweb.services.retrieve import StoredInstance as StoredInstance

# Sent over one association; a more urgent job waits for no more than these.
BATCH: Final = 200
# Instances that one commitment is asked for.
TRANSACTION: Final = 1000
# Refusals of an instance after which it has failed.
MOST_REFUSALS: Final = 5
# Without an answer for so long, a commitment is asked for anew.
ANSWERED_WITHIN_US: Final = 3_600_000_000
REASONS_TOLD: Final = 20
_FIRST_PAUSE_US: Final = 500_000
_LONGEST_PAUSE_US: Final = 300_000_000


class Priority(IntEnum):
    """Order of the jobs of a peer; the same words as in DIMSE (PS3.7 section 9.1.1)."""

    LOW = -1
    MEDIUM = 0
    HIGH = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Attributes:
        reasons: Why instances are not there yet, or have failed, and how many for each reason.
    """

    job: Job
    counts: Mapping[InstanceState, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def instances(self) -> int:
        return sum(self.counts.values())

    @property
    def delivered(self) -> int:
        """Of which nothing is left to do."""
        final = (InstanceState.COMMITTED,) if self.job.commits else (InstanceState.SENT,)
        return sum(self.counts.get(state, 0) for state in final)


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be sent next.

    Attributes:
        items: With the stored instance of each.
        priority: Of their job.
    """

    items: tuple[tuple[Item, StoredInstance], ...]
    priority: Priority = Priority.MEDIUM


async def submit(
    archive: Archive,
    peer: str,
    refs: Sequence[Ref],
    *,
    priority: Priority = Priority.MEDIUM,
    commits: bool = False,
) -> int:
    """Make a job of all instances at or below these resources; gives its number.

    Args:
        peer: AE title.
        commits: Whether the job is done only when the peer has committed to keep what it got.

    Raises:
        NotFound: One of the resources is not here.
    """
    if not refs:
        raise InvalidRequest("there is nothing to send")
    references: dict[Reference, None] = {}
    for ref in refs:
        for stored in await retrieve.list_instances(archive, ref):
            references[Reference(stored.sop_class_uid, stored.sop_instance_uid)] = None

    async def work(conn: Connection) -> int:
        turn = await Turn.take(conn)
        number = deliveries.add(turn, peer, references, priority=int(priority), commits=commits)
        errands.put(turn, Act.SEND, [peer])
        await turn.end()
        return number

    return await archive.index.transact(work)


async def progress(index: Index, number: int) -> Progress:
    """
    Raises:
        NotFound: There is no such job, or it is long over and forgotten.
    """

    async def work(conn: Connection) -> Progress | None:
        job = await deliveries.find(conn, number)
        if job is None:
            return None
        counts = await deliveries.counts(conn, number)
        return Progress(job, counts, await deliveries.reasons(conn, number, REASONS_TOLD))

    found = await index.ask(work)
    if found is None:
        raise NotFound(f"there is no job {number}")
    return found


async def newest(index: Index, limit: int) -> list[Job]:
    return await index.ask(partial(deliveries.newest, limit=limit))


async def unfinished(index: Index, peer: str) -> list[Job]:
    """Jobs that are open or have failed."""
    return await index.ask(partial(deliveries.unfinished, peer=peer))


async def resume(index: Index, number: int) -> int:
    """Try again now what has failed or waits for its time; gives how many instances that is.

    Raises:
        NotFound: There is no such job.
    """
    job = (await progress(index, number)).job

    async def work(conn: Connection) -> int:
        turn = await Turn.take(conn)
        tried = await deliveries.retry(conn, number)
        errands.put(turn, Act.SEND, [job.peer])
        await turn.end()
        return tried

    return await index.transact(work)


async def last_error(index: Index, peer: str) -> str:
    """Why the last attempt to send to a peer did not succeed; "" when it did."""
    waits = await _waits(index, peer)
    return waits.last_error if waits is not None else ""


async def is_stuck(index: Index, peer: str, *, attempts: int) -> bool:
    """Whether so many attempts to send to a peer have failed, one after the other."""
    waits = await _waits(index, peer)
    return waits is not None and waits.attempts >= attempts


async def _waits(index: Index, peer: str) -> outbox.Backlog | None:
    receiver = errands.receiver_of(Act.SEND, peer)
    found = await index.ask(outbox.backlog)
    return next((one for one in found if one.receiver == receiver), None)


# --- what who sends asks and tells -------------------------------------------------------------


async def next_batch(archive: Archive, peer: str) -> Batch | None:
    """What is to be sent next; None when nothing is due.

    Instances that have been deleted meanwhile are noted as failed.
    """
    while True:
        now = changes.now_us()
        due = await archive.index.ask(partial(deliveries.due, peer=peer, now_us=now, limit=BATCH))
        if not due:
            return None
        uids = [item.reference.sop_instance_uid for item in due]
        found = await archive.index.ask(partial(instances.by_uids, sop_instance_uids=uids))
        held = {stored.sop_instance_uid: stored for stored in found}
        gone = [item for item in due if item.reference.sop_instance_uid not in held]
        await keep(archive.index, [failed(item, "it is no longer here") for item in gone])
        here = tuple(
            (item, held[item.reference.sop_instance_uid])
            for item in due
            if item.reference.sop_instance_uid in held
        )
        if here:
            job = await archive.index.ask(partial(deliveries.find, number=here[0][0].job))
            priority = Priority(job.priority) if job is not None else Priority.MEDIUM
            return Batch(here, priority)


def sent(item: Item) -> Told:
    """The peer has acknowledged it."""
    return Told(item.job, item.ordinal, InstanceState.SENT, item.attempts)


def failed(item: Item, reason: str) -> Told:
    """It cannot be delivered, however often it is tried."""
    return Told(item.job, item.ordinal, InstanceState.FAILED, item.attempts + 1, reason)


def refused(item: Item, reason: str) -> Told:
    """The peer did not take it; it is tried again a few times."""
    if item.attempts + 1 >= MOST_REFUSALS:
        return failed(item, reason)
    return interrupted(item, reason)


def interrupted(item: Item, reason: str) -> Told:
    """The association ended while it was sent: neither may be at fault; others go first now."""
    return _later(item, InstanceState.WAITING, reason)


def _later(item: Item, state: InstanceState, reason: str) -> Told:
    pause_us = min(_FIRST_PAUSE_US * 2 ** min(item.attempts, 16), _LONGEST_PAUSE_US)
    due_us = changes.now_us() + pause_us
    return Told(item.job, item.ordinal, state, item.attempts + 1, reason, due_us)


async def keep(index: Index, told: Sequence[Told]) -> None:
    """Keep what became of instances."""
    if told:
        await index.transact(partial(deliveries.keep, told=told, now_us=changes.now_us()))


async def waiting(index: Index, peer: str) -> dict[str, int]:
    """How many instances are still to be sent to a peer, by the reason why they are."""
    return await index.ask(partial(deliveries.waiting, peer=peer))


@dataclass(frozen=True, slots=True)
class Asked:
    """A commitment that a peer is to be asked for."""

    transaction_uid: str
    items: tuple[Item, ...]


async def next_commitment(index: Index, peer: str) -> Asked | None:
    """Instances of which the peer is to be asked now, kept as asked; None when there are none."""
    uid = str(generate_uid(prefix="2.25."))

    async def work(conn: Connection) -> Asked | None:
        now = changes.now_us()
        items = await deliveries.to_commit(conn, peer, now_us=now, limit=TRANSACTION)
        if not items:
            return None
        await deliveries.ask(conn, peer, uid, items, now_us=now)
        return Asked(uid, tuple(items))

    return await index.transact(work)


async def not_asked(index: Index, asked: Asked, reason: str) -> None:
    """The peer did not take the request, which is made again later."""

    async def work(conn: Connection) -> None:
        now = changes.now_us()
        await deliveries.answered(conn, asked.transaction_uid, now_us=now)
        again = [_later(item, InstanceState.SENT, reason) for item in asked.items]
        await deliveries.keep(conn, again, now_us=now)

    await index.transact(work)


async def is_anything_to_commit(index: Index, peer: str) -> bool:
    return await index.ask(partial(deliveries.is_anything_to_commit, peer=peer))


async def answered(
    index: Index,
    peer: str,
    transaction_uid: str,
    committed: Sequence[Reference],
    failures: Sequence[Failure],
) -> None:
    """Keep what a peer says of a commitment; what it does not have is sent again.

    What it says a second time changes nothing.

    Raises:
        NotFound: It has not been asked for this.
    """
    kept = {one.sop_instance_uid for one in committed}
    reasons = {one.reference.sop_instance_uid: one.reason for one in failures}

    async def work(conn: Connection) -> bool:
        turn = await Turn.take(conn)
        asked = await deliveries.asked_of(conn, transaction_uid)
        if asked is None or asked[0] != peer:
            return False
        told = []
        for item in await deliveries.asked_items(conn, transaction_uid):
            uid = item.reference.sop_instance_uid
            if uid in reasons:
                told.append(refused(item, f"not committed to: {reasons[uid]:04X}H"))
            elif uid in kept:
                told.append(Told(item.job, item.ordinal, InstanceState.COMMITTED, item.attempts))
            else:
                told.append(_later(item, InstanceState.SENT, "the commitment is silent about it"))
        await deliveries.keep(conn, told, now_us=turn.at_us)
        await deliveries.answered(conn, transaction_uid, now_us=turn.at_us)
        if any(one.state in (InstanceState.WAITING, InstanceState.SENT) for one in told):
            errands.put(turn, Act.SEND, [peer], delay_us=_FIRST_PAUSE_US)
        await turn.end()
        return True

    if not await index.transact(work):
        raise NotFound("no commitment was asked for under this Transaction UID")


async def age(index: Index) -> None:
    """Ask anew for what is not answered, give up what is old, forget what is long over."""

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        unanswered = await deliveries.unanswered(conn, turn.at_us - ANSWERED_WITHIN_US)
        for uid, _ in unanswered:
            items = await deliveries.asked_items(conn, uid)
            again = [Told(one.job, one.ordinal, InstanceState.SENT, one.attempts) for one in items]
            await deliveries.keep(conn, again, now_us=turn.at_us)
            await deliveries.answered(conn, uid, now_us=turn.at_us)
        errands.put(turn, Act.SEND, sorted({peer for _, peer in unanswered}))
        reason = "it was not delivered in 7 days"
        old = turn.at_us - errands.LONGEST_US
        given_up = await deliveries.give_up(conn, old, reason, now_us=turn.at_us)
        named = [(str(job.number), job.peer, reason) for job in given_up]
        await errands.state_given_up(turn, Act.SEND, named)
        await deliveries.forget(conn, turn.at_us - errands.KEPT_US)
        await turn.end()

    await index.transact(work)
