"""What C-MOVE and C-GET have in common (PS3.4 sections C.4.2, C.4.3 and Y.4).

pynetdicom's service class for retrievals wants each instance as a data set, which it encodes anew,
and sends one response for each. So that stored bytes can be sent as they are, with responses now
and then, these messages are served here (`serve`): their handlers send all responses themselves,
but for a refusal, which they return. Associations, negotiation and messages stay pynetdicom's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import PresentationContext

from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.dimse.connection import Lost, Response
from bfr_dicomweb.dimse.door import Door
from bfr_dicomweb.dimse.sending_instances import Sender
from bfr_dicomweb.errors import ArchiveError, InvalidRequest
from bfr_dicomweb.services.data_sets import StoredInstance
from bfr_dicomweb.services.selection import Selection, select_instances

log = structlog.get_logger("dimse")

# Of the Query/Retrieve Level; FRAME, which only Composite Instance Root has, is not offered.
PATIENT, STUDY, SERIES, IMAGE = "PATIENT", "STUDY", "SERIES", "IMAGE"
UNIQUE_KEYS: Final = {
    PATIENT: "PatientID",
    STUDY: "StudyInstanceUID",
    SERIES: "SeriesInstanceUID",
    IMAGE: "SOPInstanceUID",
}
# Levels of the information models (PS3.4 sections C.6 and Y.6), C-MOVE first.
LEVELS: Final = {
    **dict.fromkeys(
        ("1.2.840.10008.5.1.4.1.2.1.2", "1.2.840.10008.5.1.4.1.2.1.3"),  # Patient Root
        (PATIENT, STUDY, SERIES, IMAGE),
    ),
    **dict.fromkeys(
        ("1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"),  # Study Root
        (STUDY, SERIES, IMAGE),
    ),
    **dict.fromkeys(
        ("1.2.840.10008.5.1.4.1.2.3.2", "1.2.840.10008.5.1.4.1.2.3.3"),  # Patient/Study Only
        (PATIENT, STUDY),
    ),
    **dict.fromkeys(
        ("1.2.840.10008.5.1.4.1.2.4.2", "1.2.840.10008.5.1.4.1.2.4.3"),  # Composite Instance Root
        (STUDY, SERIES, IMAGE),
    ),
}
MOVE_CLASSES: Final = tuple(uid for uid in LEVELS if uid.endswith(".2"))
GET_CLASSES: Final = tuple(uid for uid in LEVELS if uid.endswith(".3"))

# Up to so many instances there is a pending response for each, else one now and then.
FEW: Final = 50
PENDING_SECONDS: Final = 1.0


@dataclass(slots=True)
class Progress:
    """Counts of sub-operations (PS3.7 section 9.1.3.1), and which failed."""

    remaining: int
    completed: int = 0
    warnings: int = 0
    failed: list[str] = field(default_factory=list)
    problem: str = ""

    def count(self, stored: StoredInstance, response: Response) -> None:
        """Take in what a receiver answered."""
        self.remaining -= 1
        if response.status == statuses.SUCCESS:
            self.completed += 1
        elif response.status >> 12 == 0xB or response.status in _WARNINGS:
            self.warnings += 1
        else:
            self.failed.append(stored.sop_instance_uid)
            told = response.comment or "no reason given"
            self.problem = f"receiver refused with {response.status:04X}: {told}"

    def attempt(self, stored: StoredInstance, sender: Sender) -> None:
        """Send it; what goes wrong with it alone does not stop the others.

        Raises:
            Lost: something is wrong with the association.
        """
        try:
            self.count(stored, sender.send(stored))
        except Lost:
            raise
        except ArchiveError as error:
            self.fail([stored], error)
        except Exception as error:  # the border: a bug fails one instance and not the others
            log.exception("bug", error=type(error).__name__)
            self.fail([stored], "an instance cannot be prepared")

    def fail(self, instances: Sequence[StoredInstance], problem: object) -> None:
        self.remaining -= len(instances)
        self.failed += [stored.sop_instance_uid for stored in instances]
        self.problem = str(problem)

    @property
    def status(self) -> int:
        """Of the last response (PS3.4 Tables C.4-2 and C.4-3)."""
        if self.failed and not self.completed and not self.warnings:
            return statuses.UNABLE_TO_SUBOPERATE
        if self.failed or self.warnings:
            return statuses.SUBOPERATIONS_FAILED
        return statuses.SUCCESS


# Warnings that are not Bxxx (PS3.7 Annex C).
_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116})


class Retrieval:
    """One request: what it asks for, and the responses to it."""

    def __init__(self, event: evt.Event) -> None:
        self.association: Association = event.assoc
        self.request = cast("C_GET | C_MOVE", event.request)
        context_id = cast(int, self.request._context_id)
        self._context: PresentationContext = self.association._accepted_cx[context_id]
        self._pending_at = time.monotonic()
        self._few = False

    @property
    def caller(self) -> str:
        return self.association.requestor.ae_title.strip()

    @property
    def message_id(self) -> int:
        return cast(int, self.request.MessageID)

    @property
    def context_id(self) -> int:
        return cast(int, self._context.context_id)

    def instances(self, door: Door) -> list[StoredInstance]:
        """Raises InvalidRequest: the identifier does not match the SOP class."""
        found = door.wait(select_instances(door.archive, self.selection()))
        self._few = len(found) <= FEW
        return found

    def selection(self) -> Selection:
        """Raises InvalidRequest: the identifier does not match the SOP class."""
        identifier = self._identifier()
        level = str(identifier.get("QueryRetrieveLevel", "")).strip()
        levels = LEVELS[str(self.request.AffectedSOPClassUID)]
        if level not in levels:
            raise InvalidRequest(f"Query/Retrieve Level has to be one of {', '.join(levels)}")
        above = list(UNIQUE_KEYS)[: list(UNIQUE_KEYS).index(level) + 1]
        keys = {name: _values(identifier, UNIQUE_KEYS[name]) for name in above}
        if not keys[level]:
            raise InvalidRequest(f"{UNIQUE_KEYS[level]} is missing")
        patient_ids = keys[PATIENT]
        if len(patient_ids) > 1:
            raise InvalidRequest("PatientID has to be one value")
        return Selection(
            patient_id=patient_ids[0] if patient_ids else "",
            study_instance_uids=keys.get(STUDY, ()),
            series_instance_uids=keys.get(SERIES, ()),
            sop_instance_uids=keys.get(IMAGE, ()),
        )

    def _identifier(self) -> Dataset:
        syntax = self._context.transfer_syntax[0]
        encoded = self.request.Identifier
        try:
            return decode(
                encoded or BytesIO(),
                syntax.is_implicit_VR,
                syntax.is_little_endian,
                syntax.is_deflated,
            )
        except Exception as error:  # whatever pydicom raises about a damaged data set
            raise InvalidRequest("the identifier cannot be read") from error

    @property
    def is_cancelled(self) -> bool:
        return self.message_id in self.association.dimse.cancel_req

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        gone = self.association.acse.is_aborted() or not self.association.is_established
        return gone or self.is_cancelled

    def pending(self, progress: Progress, send: "Callable[[C_GET | C_MOVE], None]") -> None:
        """Tell how far it is, if it is time to."""
        now = time.monotonic()
        if progress.remaining and (self._few or now - self._pending_at >= PENDING_SECONDS):
            self._pending_at = now
            send(self._response(statuses.PENDING, progress))

    def final(self, progress: Progress) -> "C_GET | C_MOVE":
        """The last response."""
        cut_short = self.is_cancelled and progress.remaining
        status = statuses.CANCELLED if cut_short else progress.status
        response = self._response(status, progress)
        if status != statuses.CANCELLED:
            response.NumberOfRemainingSuboperations = None
        if progress.problem:
            vars(response)["ErrorComment"] = statuses.comment(progress.problem)
        if progress.failed:
            failed = Dataset()
            failed.FailedSOPInstanceUIDList = progress.failed
            syntax = self._context.transfer_syntax[0]
            encoded = encode(
                failed, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
            )
            response.Identifier = BytesIO(encoded or b"")
        return response

    def _response(self, status: int, progress: Progress) -> "C_GET | C_MOVE":
        response = type(self.request)()
        response.MessageIDBeingRespondedTo = self.message_id
        response.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        response.Status = status
        response.NumberOfRemainingSuboperations = progress.remaining
        response.NumberOfCompletedSuboperations = progress.completed
        response.NumberOfFailedSuboperations = len(progress.failed)
        response.NumberOfWarningSuboperations = progress.warnings
        return response


def _values(identifier: Dataset, keyword: str) -> tuple[str, ...]:
    value = identifier.get(keyword)
    if value is None:
        return ()
    values = [value] if isinstance(value, str) else list(value)
    return tuple(text for text in (str(one).strip(" \0") for one in values) if text)


def serve(association: Association, request: "C_GET | C_MOVE", context_id: int) -> None:
    """Have a request handled; what its handler returns is a refusal."""
    context = association._accepted_cx[context_id]
    event = evt.EVT_C_GET if isinstance(request, C_GET) else evt.EVT_C_MOVE
    association.dimse.cancel_req.clear()
    try:
        refusal = evt.trigger(association, event, {"request": request, "context": context.as_tuple})
    except ArchiveError as error:
        refusal = statuses.refusal(statuses.retrieve(error), error)
    except Exception as error:  # the border: a bug fails one request and not the association
        log.exception("bug", error=type(error).__name__)
        refusal = statuses.UNABLE_TO_PROCESS
    association.dimse.cancel_req.clear()
    if refusal is None or not association.is_established:
        return
    response = type(request)()
    response.MessageIDBeingRespondedTo = request.MessageID
    response.AffectedSOPClassUID = cast(UID, request.AffectedSOPClassUID)
    response.Status = refusal.Status if isinstance(refusal, Dataset) else refusal
    if isinstance(refusal, Dataset):
        vars(response)["ErrorComment"] = refusal.get("ErrorComment")
    association.dimse.send_msg(response, context_id)
