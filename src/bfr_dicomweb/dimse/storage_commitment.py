"""Storage Commitment Push Model SOP Class (PS3.4 Annex J), asked of this archive and by it."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from io import BytesIO
from typing import Any, Final

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode

from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.peers import Permission
from bfr_dicomweb.errors import ArchiveError, InvalidRequest, NotFound
from bfr_dicomweb.services import commitment, sending
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.commitment import Failure, FailureReason, Outcome, Reference

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
# Well-known SOP instance, to which all requests are addressed.
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
REQUEST: Final = 1
# Event Type IDs, PS3.4 section J.3.3.
ALL_COMMITTED: Final = 1
FAILURES_EXIST: Final = 2
MOST_REFERENCES: Final = 100_000
# A requester that gets the result on its association has so long to acknowledge it there.
SAME_ASSOCIATION_S: Final = 15.0

Wait = Callable[[Coroutine[Any, Any, None]], None]

log = structlog.get_logger("dimse")


class _Malformed(InvalidRequest):
    """An attribute is missing or wrong."""

    def __init__(self, attribute: str, reason: str, *, status: int) -> None:
        super().__init__(f"{attribute} {reason}")
        self.status = status


# --- requests -----------------------------------------------------------------------------------


def request_of(transaction_uid: str, references: Iterable[Reference]) -> Dataset:
    """The Action Information of a request (PS3.4 Table J.3-1)."""
    made = Dataset()
    made.TransactionUID = transaction_uid
    made.ReferencedSOPSequence = [_item(reference) for reference in references]
    return made


def ask(event: evt.Event, door: Door) -> tuple[int | Dataset, None]:
    """N-ACTION: kept durably before it is answered; the result follows as an event."""
    try:
        uid, references = _asked_for(event)
        _keep(event, door, uid, references)
    except ArchiveError as error:
        return _refusal(error), None
    except Exception as error:  # the border: the association goes on
        log.exception("bug", error=type(error).__name__)
        return statuses.PROCESSING_FAILURE, None
    return statuses.SUCCESS, None


def _asked_for(event: evt.Event) -> tuple[str, list[Reference]]:
    request: Any = event.request
    if request.ActionTypeID != REQUEST:
        raise _Malformed("Action Type ID", "has to be 1", status=statuses.NO_SUCH_ACTION)
    if request.RequestedSOPInstanceUID != PUSH_MODEL_INSTANCE:
        expected = f"has to be {PUSH_MODEL_INSTANCE}"
        raise _Malformed(
            "Requested SOP Instance UID", expected, status=statuses.NO_SUCH_SOP_INSTANCE
        )
    information = _read(lambda: event.action_information, "Action Information")
    uid = _uid(information, "TransactionUID")
    if "ReferencedSOPSequence" not in information:
        raise _Malformed("ReferencedSOPSequence", "is missing", status=statuses.MISSING_ATTRIBUTE)
    references = _references(information, "ReferencedSOPSequence")
    if not references:
        raise _invalid("ReferencedSOPSequence", "has to have an item")
    if len(references) > MOST_REFERENCES:
        raise _Malformed(
            "ReferencedSOPSequence",
            f"has more than {MOST_REFERENCES} items",
            status=statuses.RESOURCE_LIMITATION,
        )
    return uid, references


def _keep(event: evt.Event, door: Door, uid: str, references: list[Reference]) -> None:
    peer = door.peer_of(event.assoc)
    requester = event.assoc.requestor.ae_title.strip()
    same = peer.commits_on_same_association or not peer.host
    delay_s = SAME_ASSOCIATION_S if same else 0.0
    number = door.wait(
        commitment.request(door.archive, requester, uid, references, delay_s=delay_s)
    )
    log.info("commitment requested", calling=requester, instances=len(references))
    if same:
        older = [] if peer.host else door.wait(commitment.waiting(door.archive.index, requester))
        numbers = (number, *(one.number for one in older if one.number != number))
        # taken up by the thread of the association when it has answered this request
        _Report(event, door, numbers).queue()


class _Report:
    """Stands in the queue of received messages, so that a result goes out between two answers.

    The thread of an association is the only one that may send on it; it calls what it finds there.
    Further results, of requesters that cannot be called, follow one by one, each when the one
    before it is acknowledged.
    """

    def __init__(self, event: evt.Event, door: Door, numbers: Sequence[int]) -> None:
        self._event = event
        self._association: Association = event.assoc
        self._door = door
        self._number, *self._further = numbers
        self._message_id = self._number % 65535 + 1

    def queue(self) -> None:
        messages: Any = self._association.dimse.msg_queue
        messages.put((self._event.context.context_id, self))

    def __call__(self) -> None:
        try:
            self._send()
        except ArchiveError as error:
            log.warning("commitment not reported yet", reason=str(error))
        except Exception as error:  # the border: the association goes on
            log.exception("bug", error=type(error).__name__)

    def _send(self) -> None:
        archive = self._door.archive
        asked = self._door.wait(commitment.find(archive.index, self._number))
        if asked is None or not self._association.is_established:
            return
        outcome = self._door.wait(commitment.outcome(archive, asked))
        event_type, information = result_of(asked.transaction_uid, outcome, self._door.ae_title)
        report = N_EVENT_REPORT()
        report.MessageID = self._message_id
        report.AffectedSOPClassUID = UID(PUSH_MODEL)
        report.AffectedSOPInstanceUID = UID(PUSH_MODEL_INSTANCE)
        report.EventTypeID = event_type
        syntax = self._event.context.transfer_syntax
        encoded = encode(
            information, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
        )
        report.EventInformation = BytesIO(encoded or b"")
        self._association.bind(evt.EVT_DIMSE_RECV, self._hear)
        self._association.dimse.send_msg(report, self._event.context.context_id)

    def _hear(self, event: evt.Event) -> None:
        """The acknowledgement, in the thread that reads."""
        command = event.message.command_set
        if not isinstance(event.message, N_EVENT_REPORT_RSP):
            return
        if command.MessageIDBeingRespondedTo != self._message_id:
            return
        self._association.unbind(evt.EVT_DIMSE_RECV, self._hear)
        if command.Status == statuses.SUCCESS:
            self._door.wait(commitment.reported(self._door.archive.index, self._number))
            if self._further:
                _Report(self._event, self._door, self._further).queue()


# --- results ------------------------------------------------------------------------------------


def result_of(transaction_uid: str, outcome: Outcome, ae_title: str) -> tuple[int, Dataset]:
    """Event Type ID and Event Information of a result (PS3.4 Table J.3-2).

    Args:
        ae_title: From which the instances can be retrieved.
    """
    made = Dataset()
    made.TransactionUID = transaction_uid
    made.RetrieveAETitle = ae_title
    if outcome.committed:
        made.ReferencedSOPSequence = [_item(reference) for reference in outcome.committed]
    if not outcome.failed:
        return ALL_COMMITTED, made
    failed = []
    for failure in outcome.failed:
        item = _item(failure.reference)
        item.FailureReason = failure.reason
        failed.append(item)
    made.FailedSOPSequence = failed
    return FAILURES_EXIST, made


def hear(event: evt.Event, door: Door) -> tuple[int | Dataset, None]:
    """N-EVENT-REPORT, on an association that the peer has opened."""
    told_by = event.assoc.requestor.ae_title.strip()
    return keep_result(event, archive=door.archive, told_by=told_by, wait=door.wait), None


def keep_result(event: evt.Event, *, archive: Archive, told_by: str, wait: Wait) -> int | Dataset:
    """The status of an event by which a peer tells a result, which is kept by then.

    Args:
        told_by: AE title of the peer.
        wait: Has the services do something, from this thread.
    """
    try:
        information = _read(lambda: event.event_information, "Event Information")
        uid = _uid(information, "TransactionUID")
        committed = _references(information, "ReferencedSOPSequence")
        failed = _failures(information)
        wait(sending.answered(archive.index, told_by, uid, committed, failed))
    except ArchiveError as error:
        return _refusal(error)
    except Exception as error:  # the border: the association goes on
        log.exception("bug", error=type(error).__name__)
        return statuses.PROCESSING_FAILURE
    log.info("commitment told", peer=told_by, committed=len(committed), failed=len(failed))
    return statuses.SUCCESS


def _refusal(error: ArchiveError) -> Dataset:
    if isinstance(error, _Malformed):
        return statuses.refusal(error.status, error)
    if isinstance(error, NotFound):
        return statuses.refusal(statuses.INVALID_ARGUMENT_VALUE, error)
    return statuses.refusal(statuses.normalized(error), error)


# --- attributes ---------------------------------------------------------------------------------


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item


def _read(decoded: Callable[[], Dataset], name: str) -> Dataset:
    try:
        return decoded()
    except Exception:  # whatever pydicom raises of damaged bytes
        raise _invalid(name, "cannot be read") from None


def _uid(dataset: Dataset, keyword: str) -> str:
    if keyword not in dataset:
        raise _Malformed(keyword, "is missing", status=statuses.MISSING_ATTRIBUTE)
    uid = str(dataset[keyword].value or "")
    if not UID(uid).is_valid:
        raise _invalid(keyword, "has to be a UID")
    return uid


def _references(dataset: Dataset, keyword: str) -> list[Reference]:
    return [
        Reference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID"))
        for item in dataset.get(keyword) or ()
    ]


def _failures(information: Dataset) -> list[Failure]:
    items = information.get("FailedSOPSequence") or ()
    references = _references(information, "FailedSOPSequence")
    reasons = [int(item.get("FailureReason") or _UNKNOWN) for item in items]
    return [Failure(*pair) for pair in zip(references, reasons, strict=True)]


def _invalid(attribute: str, reason: str) -> _Malformed:
    return _Malformed(attribute, reason, status=statuses.INVALID_ARGUMENT_VALUE)


_UNKNOWN: Final = FailureReason.PROCESSING_FAILURE

SERVICES: Final = (
    Service("storage commitment", evt.EVT_N_ACTION, (PUSH_MODEL,), ask, Permission.COMMIT),
    Service(
        "storage commitment results",
        evt.EVT_N_EVENT_REPORT,
        (PUSH_MODEL,),
        hear,
        as_scu=True,
    ),
)
