"""Storage commitment (PS3.4 Annex J; PS3.18 chapter 13): what this archive promises to keep.

A request is kept durably before it is answered. Its result is worked out when it is reported, so
that what is reported is true then: an instance is committed to when the catalogue has it, under
the SOP class (and in the study and series) that was named, and its bytes are there; unless its
requester has sent other bytes under the same UID, which were refused.

Requesters that have an AE title are called with the result. Others ask for it, and what they are
told once stays what they are told.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Final

from bfr_dicomweb.errors import Conflict, Gone, NotFound
from bfr_dicomweb.index import changes, commitments, instances, refused_stores
from bfr_dicomweb.index.changes import now_us as now_us
from bfr_dicomweb.index.commitments import ASKING
from bfr_dicomweb.index.commitments import Reference as Reference
from bfr_dicomweb.index.commitments import Request as Request
from bfr_dicomweb.index.commitments import State as State
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.instances import StoredInstance
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.services import errands
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.errands import Act

PAGE: Final = 1000
# Results that are reported over one association.
AT_ONCE: Final = 100


class FailureReason(IntEnum):
    """Failure Reason (0008,1197), PS3.3 section C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    DUPLICATE_TRANSACTION_UID = 0x0131


@dataclass(frozen=True, slots=True)
class Failure:
    reference: Reference
    reason: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of the instances of one transaction, in the order in which they were named."""

    committed: tuple[Reference, ...]
    failed: tuple[Failure, ...]


async def request(
    archive: Archive,
    requester: str,
    transaction_uid: str,
    references: Sequence[Reference],
    *,
    delay_s: float = 0.0,
) -> int:
    """Keep a request; gives its number. The same request once more is reported once more.

    Args:
        requester: AE title.
        delay_s: After which the requester is called with the result, unless it has it by then.
    """

    async def keep(conn: Connection) -> int:
        turn = await Turn.take(conn)
        number = await commitments.keep(turn, requester, transaction_uid, references)
        errands.put(turn, Act.REPORT, [requester], delay_us=int(delay_s * 1e6))
        await turn.end()
        return number

    return await archive.index.transact(keep)


async def ask(archive: Archive, transaction_uid: str, references: Sequence[Reference]) -> None:
    """Keep a request whose requester will ask for the result.

    Raises:
        Conflict: the Transaction UID is in use.
    """

    async def keep(conn: Connection) -> bool:
        turn = await Turn.take(conn)
        kept = await commitments.ask(turn, transaction_uid, references)
        await turn.end()
        return kept is not None

    if not await archive.index.transact(keep):
        raise Conflict("the Transaction UID is already in use")


async def result(archive: Archive, transaction_uid: str) -> Outcome:
    """Of a request that `ask` has kept; worked out the first time.

    Raises:
        NotFound: there was no such request.
        Gone: it was so long ago that its result is no longer kept.
    """
    index = archive.index
    find_it = partial(commitments.of_transaction, requester=ASKING, transaction_uid=transaction_uid)
    asked = await index.ask(find_it)
    if asked is None:
        raise NotFound("no commitment was asked for under this Transaction UID")
    if asked.state is State.WAITING:
        reasons = await _every_reason(archive, asked)
        await index.transact(partial(commitments.answer, number=asked.number, reasons=reasons))
        # whoever else worked it out at the same time may have been first
        asked = await index.ask(find_it)
    if asked is None or asked.reasons is None:
        raise Gone("the result of this transaction is no longer kept")
    return _outcome(asked.references, asked.reasons)


async def find(index: Index, number: int) -> Request | None:
    return await index.ask(partial(commitments.find, number=number))


async def waiting(index: Index, requester: str) -> list[Request]:
    """Requests whose results have not been reported, as many as are reported at once."""
    return await index.ask(partial(commitments.waiting, requester=requester, limit=AT_ONCE))


async def outcome(archive: Archive, asked: Request) -> Outcome:
    """What can be promised now."""
    if asked.clashes:
        taken = FailureReason.DUPLICATE_TRANSACTION_UID
        return Outcome((), tuple(Failure(one, taken) for one in asked.references))
    return _outcome(asked.references, await _every_reason(archive, asked))


def _outcome(references: Sequence[Reference], reasons: Mapping[int, int]) -> Outcome:
    listed = list(enumerate(references))
    return Outcome(
        tuple(one for at, one in listed if at not in reasons),
        tuple(Failure(one, reasons[at]) for at, one in listed if at in reasons),
    )


async def _every_reason(archive: Archive, asked: Request) -> dict[int, int]:
    """By the place of each instance that is not committed to now: why."""
    found: dict[int, int] = {}
    for start in range(0, len(asked.references), PAGE):
        page = asked.references[start : start + PAGE]
        reasons = await _reasons(archive, page, asked.requester)
        found |= {start + at: int(why) for at, why in enumerate(reasons) if why is not None}
    return found


async def _reasons(
    archive: Archive, references: Sequence[Reference], requester: str
) -> list[FailureReason | None]:
    """Why each is not committed to; None when it is."""
    uids = [one.sop_instance_uid for one in references]
    found = await archive.index.ask(partial(instances.by_uids, sop_instance_uids=uids))
    held = {one.sop_instance_uid: one for one in found}
    whole = await asyncio.to_thread(lambda: {uid for uid in held if _is_whole(archive, held[uid])})
    whole -= await archive.index.ask(
        partial(refused_stores.of_sender, sop_instance_uids=uids, sender=requester)
    )
    reasons: list[FailureReason | None] = []
    for one in references:
        stored = held.get(one.sop_instance_uid)
        if stored is None or not _is_there(stored, one):
            reasons.append(FailureReason.NO_SUCH_OBJECT_INSTANCE)
        elif stored.sop_class_uid != one.sop_class_uid:
            reasons.append(FailureReason.CLASS_INSTANCE_CONFLICT)
        elif one.sop_instance_uid not in whole:
            reasons.append(FailureReason.PROCESSING_FAILURE)
        else:
            reasons.append(None)
    return reasons


def _is_there(stored: StoredInstance, named: Reference) -> bool:
    """In the study and series that are named, if any are."""
    return not named.study_instance_uid or (
        stored.study_instance_uid == named.study_instance_uid
        and stored.series_instance_uid == named.series_instance_uid
    )


def _is_whole(archive: Archive, stored: StoredInstance) -> bool:
    try:
        return archive.blobs.path(stored.blob_key).stat().st_size == stored.size_bytes
    except OSError:
        return False


async def reported(index: Index, number: int) -> None:
    """The requester has acknowledged the result."""
    await index.transact(partial(commitments.reported, number=number))


async def unreported(index: Index, number: int, error: str) -> None:
    await index.transact(partial(commitments.unreported, number=number, error=error))


async def age(index: Index) -> None:
    """Give up requesters that are gone for good, and forget what is long over."""
    now = changes.now_us()

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        given_up = await commitments.abandon(conn, now - errands.LONGEST_US)
        named = [(str(number), peer, error) for number, peer, error in given_up]
        await errands.state_given_up(turn, Act.REPORT, named)
        await commitments.forget(conn, now - errands.KEPT_US)
        await refused_stores.forget(conn, now - errands.LONGEST_US)
        await turn.end()

    await index.transact(work)
