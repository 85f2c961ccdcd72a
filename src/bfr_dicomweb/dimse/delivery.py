"""Delivers to peers: instances, results of storage commitment, notifications.

pynetdicom waits; each delivery has a thread of its own for as long as it takes, one for each act
at each peer, so that a peer that hangs keeps nobody else.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import structlog
from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from bfr_dicomweb.dicom.workitems import SOP_CLASS_UID as PUSH
from bfr_dicomweb.dimse import (
    instance_availability,
    sending_instances,
    statuses,
    storage_commitment,
)
from bfr_dicomweb.dimse.connection import Interrupted, Lost, Response, held
from bfr_dicomweb.dimse.door import Credentials
from bfr_dicomweb.dimse.instance_availability import NOTIFICATION
from bfr_dicomweb.dimse.modality_worklist import dataset_of
from bfr_dicomweb.dimse.peers import ANY, Peer, Peers
from bfr_dicomweb.dimse.requesting import associated
from bfr_dicomweb.dimse.sending_instances import Sender
from bfr_dicomweb.dimse.storage_commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from bfr_dicomweb.dimse.unified_procedure_step import EVENT
from bfr_dicomweb.dimse.verification import VERIFICATION
from bfr_dicomweb.errors import ArchiveError, NotAcceptable, NotFound, Undelivered
from bfr_dicomweb.services import availability, commitment, errands, event_channels, sending
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.availability import Notice
from bfr_dicomweb.services.commitment import Outcome, Request
from bfr_dicomweb.services.dispatching import Chore, Entry
from bfr_dicomweb.services.errands import Act
from bfr_dicomweb.services.event_channels import StoredEvent
from bfr_dicomweb.services.sending import Asked, Batch, Item, Priority, StoredInstance, Told

T = TypeVar("T")

# The dispatcher has no more deliveries under way.
THREADS: Final = 16
# A peer that was asked to commit is listened to for so long, on the association of the request.
LISTEN_S: Final = 2.0
LISTEN_AS_AGREED_S: Final = 30.0
LOOK_EVERY_S: Final = 1.0
AGE_EVERY_S: Final = 600.0
# An event that a subscriber does not answer so often is left out.
EVENT_ATTEMPTS: Final = 3
# PS3.7 section 9.3.1.1
_PRIORITIES: Final = {Priority.MEDIUM: 0, Priority.HIGH: 1, Priority.LOW: 2}
# Class of the status by which an instance is kept though something was wrong (PS3.7 Annex C).
_WARNING: Final = 0xB

log = structlog.get_logger("delivery")


_NONE: Final = Credentials()


class Deliveries:
    """Made in the event loop in which it delivers.

    Args:
        peers: Those that are configured now.
        ae_title: Of this archive.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        peers: Callable[[], Peers],
        ae_title: str,
        credentials: Credentials = _NONE,
    ) -> None:
        self._archive = archive
        self._index = archive.index
        self._peers = peers
        self._ae_title = ae_title
        self._credentials = credentials
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="deliver")
        self._closing = threading.Event()
        self._associations: set[Association] = set()
        self._loop = asyncio.get_running_loop()
        self._acts = {
            Act.SEND: self._send,
            Act.REPORT: self._report,
            Act.NOTIFY: self._notify,
            Act.TELL: self._tell,
        }
        # By AE title: the event that was not answered last, and how often it was not.
        self._unanswered: dict[str, tuple[int, int]] = {}

    @property
    def chores(self) -> tuple[Chore, ...]:
        return (
            Chore("quiet studies", LOOK_EVERY_S, self.tell_quiet),
            Chore("old deliveries", AGE_EVERY_S, self.age),
        )

    async def close(self) -> None:
        """Break off what is under way; it is done again by the next."""
        self._closing.set()
        for association in tuple(self._associations):
            association.abort(block=False)
        await asyncio.to_thread(self._threads.shutdown)

    async def deliver(self, entry: Entry) -> None:
        """
        Raises:
            Undelivered: something is left to do at the peer; says what and why.
        """
        act, title = errands.read(entry)
        peer = self._peers().find(title)
        if peer is None or peer.ae_title == ANY:
            # what it was told on an association of its own needs no call any more
            peer = Peer(title)
        await self._acts[act](peer)

    async def tell_quiet(self) -> None:
        """Let those that are notified be told of studies that have stopped growing."""
        await availability.tell_quiet(self._index, self.notified)

    @property
    def notified(self) -> list[str]:
        return [peer.ae_title for peer in self._peers() if peer.is_notified]

    async def age(self) -> None:
        await sending.age(self._index)
        await commitment.age(self._index)
        await availability.age(self._index)

    # --- instances -----------------------------------------------------------------------------

    async def _send(self, peer: Peer) -> None:
        while batch := await sending.next_batch(self._archive, peer.ae_title):
            await self._send_batch(peer, batch)
        while asked := await sending.next_commitment(self._index, peer.ae_title):
            await self._ask(peer, asked)
        waiting = await sending.waiting(self._index, peer.ae_title)
        if waiting:
            reason = next(filter(None, waiting), "not tried yet")
            raise Undelivered(f"{sum(waiting.values())} instances are still to be sent: {reason}")
        if await sending.is_anything_to_commit(self._index, peer.ae_title):
            raise Undelivered("the commitment has still to be asked for")

    async def _send_batch(self, peer: Peer, batch: Batch) -> None:
        """Send in a thread, and keep what became of each instance, many in one transaction."""
        told: asyncio.Queue[Told | None] = asyncio.Queue()
        loop = self._loop
        stopped = threading.Event()

        def tell(one: Told | None) -> None:
            loop.call_soon_threadsafe(told.put_nowait, one)

        def is_stopped() -> bool:
            return stopped.is_set() or self._closing.is_set()

        def work() -> None:
            try:
                self._store(peer, batch, tell, is_stopped)
            finally:
                tell(None)

        under_way = loop.run_in_executor(self._threads, work)
        try:
            await self._keep(told)
        finally:
            stopped.set()
            await asyncio.shield(under_way)

    async def _keep(self, told: asyncio.Queue[Told | None]) -> None:
        while True:
            first = await told.get()
            gathered = [first, *(told.get_nowait() for _ in range(told.qsize()))]
            await sending.keep(self._index, [one for one in gathered if one is not None])
            if None in gathered:
                return

    def _store(
        self,
        peer: Peer,
        batch: Batch,
        tell: Callable[[Told], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        items = {item.reference.sop_instance_uid: item for item, _ in batch.items}
        instances = [stored for _, stored in batch.items]
        for part in sending_instances.batches(instances, peer.transfer_syntaxes):
            with (
                self._calling(peer, _proposed(part)) as association,
                _unlost(peer),
                held(association) as connection,
            ):
                sender = Sender(
                    self._archive,
                    connection,
                    priority=_PRIORITIES[batch.priority],
                    seconds=peer.response_seconds,
                    interrupted=is_stopped,
                )
                for stored in part.instances:
                    if is_stopped():
                        return
                    _send_one(sender, stored, items[stored.sop_instance_uid], tell)

    # --- commitments asked of peers ------------------------------------------------------------

    async def _ask(self, peer: Peer, asked: Asked) -> None:
        try:
            status = await self._in_thread(self._request, peer, asked)
        except ArchiveError as error:
            await sending.not_asked(self._index, asked, str(error))
            raise
        if status != statuses.SUCCESS:
            await sending.not_asked(self._index, asked, f"commitment refused: {status:04X}H")

    def _request(self, peer: Peer, asked: Asked) -> int:
        told = threading.Event()

        def hear(event: evt.Event) -> tuple[int | Dataset, None]:
            status = storage_commitment.keep_result(
                event, archive=self._archive, told_by=peer.ae_title, wait=self._wait
            )
            told.set()
            return status, None

        contexts = [build_context(PUSH_MODEL)]
        with self._calling(peer, contexts, handlers=[(evt.EVT_N_EVENT_REPORT, hear)]) as called:
            references = [item.reference for item in asked.items]
            information = storage_commitment.request_of(asked.transaction_uid, references)
            with _answered(peer):
                answer, _ = called.send_n_action(
                    information, storage_commitment.REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE
                )
                status = int(answer.Status)
            if status == statuses.SUCCESS:
                agreed = peer.commits_on_same_association
                told.wait(LISTEN_AS_AGREED_S if agreed else LISTEN_S)
            return status

    # --- results of commitments asked of this archive ------------------------------------------

    async def _report(self, peer: Peer) -> None:
        while requests := await self._to_report(peer):
            results = [(one, await commitment.outcome(self._archive, one)) for one in requests]
            answers = await self._in_thread(self._report_all, peer, results)
            for one in requests:
                why_not = answers.get(one.number, _NOT_REACHED)
                if why_not:
                    await commitment.unreported(self._index, one.number, why_not)
                else:
                    await commitment.reported(self._index, one.number)
            _require_all(answers.values(), len(requests), "results of storage commitment")

    async def _to_report(self, peer: Peer) -> list[Request]:
        """Without those that the peer is being told on the association of its request."""
        found = await commitment.waiting(self._index, peer.ae_title)
        if not peer.commits_on_same_association:
            return found
        being_told_us = int(storage_commitment.SAME_ASSOCIATION_S * 1e6)
        return [one for one in found if one.received_us + being_told_us <= commitment.now_us()]

    def _report_all(self, peer: Peer, results: Sequence[tuple[Request, Outcome]]) -> dict[int, str]:
        """By the number of a request why its result was not taken, "" when it was."""
        answers: dict[int, str] = {}
        contexts = [build_context(PUSH_MODEL)]
        roles = [build_role(PUSH_MODEL, scp_role=True)]
        with self._calling(peer, contexts, roles=roles) as called, suppress(Undelivered):
            for at, (request, outcome) in enumerate(results, 1):
                event_type, information = storage_commitment.result_of(
                    request.transaction_uid, outcome, self._ae_title
                )
                with _answered(peer):
                    answer, _ = called.send_n_event_report(
                        information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE, at
                    )
                    answers[request.number] = _why_not(int(answer.Status))
        return answers

    # --- notifications -------------------------------------------------------------------------

    async def _notify(self, peer: Peer) -> None:
        while notices := await availability.waiting(self._index, peer.ae_title):
            lists = [(notice, await self._attribute_list(notice)) for notice in notices]
            answers = await self._in_thread(self._notify_all, peer, lists)
            for notice in notices:
                why_not = answers.get(notice, _NOT_REACHED)
                if why_not:
                    await availability.untold(self._index, notice, why_not)
                else:
                    await availability.told(self._index, notice)
            _require_all(answers.values(), len(notices), "notifications of availability")

    async def _attribute_list(self, notice: Notice) -> Dataset | None:
        try:
            return await instance_availability.notification_of(
                self._archive, notice, self._ae_title
            )
        except NotFound:
            return None  # deleted meanwhile: nothing of it is available

    def _notify_all(
        self, peer: Peer, notices: Sequence[tuple[Notice, Dataset | None]]
    ) -> dict[Notice, str]:
        """Why each was not taken, "" when it was."""
        answers = {notice: "" for notice, made in notices if made is None}
        if len(answers) == len(notices):
            return answers
        contexts = [build_context(NOTIFICATION)]
        with self._calling(peer, contexts) as called, suppress(Undelivered):
            for at, (notice, made) in enumerate(notices, 1):
                if made is None:
                    continue
                with _answered(peer):
                    answer, _ = called.send_n_create(
                        made, NOTIFICATION, instance_availability.sop_instance_uid(notice), at
                    )
                    answers[notice] = _why_not(int(answer.Status))
        return answers

    # --- events of workitems -------------------------------------------------------------------

    async def _tell(self, peer: Peer) -> None:
        """In order; what the subscriber refuses is not told again (PS3.4 section CC.2.4)."""
        aet, seen = peer.ae_title, 0
        while True:
            reports, last = await event_channels.for_called(self._index, aet)
            if last <= seen:
                return
            answered = await self._in_thread(self._tell_all, peer, reports) if reports else 0
            if answered < len(reports) and self._is_left_out(aet, reports[answered]):
                answered += 1
            if answered == len(reports):
                seen = last
            elif answered:
                seen = reports[answered - 1].number
            else:
                raise Undelivered(f"events of workitems: {_NOT_REACHED}")
            await event_channels.keep_called(self._index, aet, seen)

    def _is_left_out(self, aet: str, event: StoredEvent) -> bool:
        """Whether this event was tried often enough, so that those after it have their turn."""
        number, times = self._unanswered.get(aet, (0, 0))
        times = times + 1 if number == event.number else 1
        self._unanswered[aet] = event.number, times
        if times < EVENT_ATTEMPTS:
            return False
        log.warning("event left out: not answered", receiver=aet, type=event.type.name)
        return True

    def _tell_all(self, peer: Peer, reports: Sequence[StoredEvent]) -> int:
        """How many of them were answered, from the first one on."""
        answered = 0
        known = (peer.quirks.character_set,) if peer.quirks.character_set else ()
        roles = [build_role(EVENT, scp_role=True)]
        with (
            self._calling(peer, [build_context(EVENT)], roles=roles) as called,
            suppress(Undelivered),
        ):
            for report in reports:
                with _answered(peer):
                    answer, _ = called.send_n_event_report(
                        dataset_of(report.information, known),
                        int(report.type),
                        PUSH,
                        event_channels.instance_uid(report),
                        event_channels.message_id(report),
                        meta_uid=EVENT,
                    )
                    why_not = _why_not(int(answer.Status))
                if why_not:
                    log.warning("event refused", receiver=peer.ae_title, reason=why_not)
                answered += 1
        return answered

    # --- associations --------------------------------------------------------------------------

    @contextmanager
    def _calling(
        self, peer: Peer, contexts: Sequence[PresentationContext], **more: Any
    ) -> Iterator[Association]:
        tls = self._credentials.context(peer)
        with associated(peer, contexts, ae_title=self._ae_title, tls=tls, **more) as association:
            self._associations.add(association)
            try:
                yield association
            finally:
                self._associations.discard(association)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._loop.run_in_executor(self._threads, work, *arguments)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


_NOT_REACHED: Final = "the association ended before its turn came"


def _proposed(part: sending_instances.Batch) -> list[PresentationContext]:
    """With one that every receiver accepts: one of which nothing is accepted has no association,
    and nobody would learn which instances are not taken."""
    contexts = list(part.contexts)
    if len(contexts) < sending_instances.MAX_CONTEXTS:
        contexts.append(build_context(VERIFICATION))
    return contexts


def _send_one(
    sender: Sender, stored: StoredInstance, item: Item, tell: Callable[[Told], None]
) -> None:
    """
    Raises:
        Lost: the association is over.
    """
    try:
        response = sender.send(stored)
    except Interrupted:
        raise
    except Lost as error:
        tell(sending.interrupted(item, str(error)))
        raise
    except NotAcceptable as error:
        tell(sending.failed(item, str(error)))
    except ArchiveError as error:
        tell(sending.refused(item, str(error)))
    else:
        tell(_said(item, response))


def _said(item: Item, response: Response) -> Told:
    status = response.status
    is_kept = status in (statuses.SUCCESS, statuses.DUPLICATE_SOP_INSTANCE)
    if is_kept or status >> 12 == _WARNING:
        return sending.sent(item)
    reason = _why_not(status)
    if status == statuses.SOP_CLASS_NOT_SUPPORTED:
        return sending.failed(item, reason)
    return sending.refused(item, reason)


def _why_not(status: int) -> str:
    """Without what the peer says in words, which may name a patient."""
    # a duplicate is one whose response was lost
    if status in (statuses.SUCCESS, statuses.DUPLICATE_SOP_INSTANCE):
        return ""
    return f"refused with status {status:04X}H"


def _require_all(answers: Iterable[str], wanted: int, what: str) -> None:
    """
    Raises:
        Undelivered: not all of them were taken.
    """
    said = list(answers)
    refused = [why_not for why_not in said if why_not]
    if refused or len(said) < wanted:
        left = wanted - len(said) + len(refused)
        reason = refused[0] if refused else _NOT_REACHED
        raise Undelivered(f"{what}: {left} of {wanted} not taken: {reason}")


@contextmanager
def _unlost(peer: Peer) -> Iterator[None]:
    try:
        yield
    except Lost as error:
        raise Undelivered(f"{peer.ae_title}: {error}") from None


@contextmanager
def _answered(peer: Peer) -> Iterator[None]:
    """Around a message and its status, in pynetdicom's words."""
    try:
        yield
    except AttributeError:  # an empty data set in place of a response
        raise Undelivered(f"{peer.ae_title} did not answer") from None
    except (RuntimeError, ValueError):  # the association is over, or the context not accepted
        raise Undelivered(f"{peer.ae_title} does not take such a message") from None
