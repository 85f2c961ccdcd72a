"""Unified Procedure Step (PS3.4 Annex CC): the workitems of UPS-RS for those who speak DIMSE.

Whichever of the five SOP classes a presentation context was negotiated for, messages name the Push
SOP class (section CC.2.1.2), except queries, which name the class of their information model.
Reports of events go to subscribers over associations of their own (`workitem_events`).
"""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND, N_ACTION, N_CREATE, N_GET, N_SET

from bfr_dicomweb.dicom import data_sets, query_identifiers
from bfr_dicomweb.dicom.attributes import first_text, tag_of
from bfr_dicomweb.dicom.json_model import checked
from bfr_dicomweb.dicom.matching import Modes
from bfr_dicomweb.dicom.workitem_attributes import SEARCHED
from bfr_dicomweb.dicom.workitems import SOP_CLASS_UID as PUSH
from bfr_dicomweb.dicom.workitems import STATE, TRANSACTION_UID
from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.modality_worklist import dataset_of
from bfr_dicomweb.dimse.peers import ANY, Permission
from bfr_dicomweb.errors import (
    ArchiveError,
    Conflict,
    Gone,
    InvalidDataset,
    InvalidQuery,
    NotFound,
    WorkitemStateConflict,
)
from bfr_dicomweb.services import worklist

WATCH: Final = "1.2.840.10008.5.1.4.34.6.2"
PULL: Final = "1.2.840.10008.5.1.4.34.6.3"
EVENT: Final = "1.2.840.10008.5.1.4.34.6.4"
QUERY: Final = "1.2.840.10008.5.1.4.34.6.5"

# Action Type IDs, PS3.4 Table CC.2.1-1 and those after it.
CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = range(1, 6)
# PS3.4 sections CC.2.1.4 to CC.2.8.3
NOT_SUPPORTED_ATTRIBUTES: Final = 0x0001
CREATED_WITH_MODIFICATIONS: Final = 0xB300
ALREADY_CANCELED: Final = 0xB304
COERCED: Final = 0xB305
ALREADY_COMPLETED: Final = 0xB306
ONLY_CREATION_SCHEDULES: Final = 0xC303
NO_SUCH_WORKITEM: Final = 0xC307
UNKNOWN_SUBSCRIBER: Final = 0xC308
NOT_SCHEDULED: Final = 0xC309

_RECEIVING_AE: Final = "00741234"
_DELETION_LOCK: Final = "00741230"

Answer = tuple[int | Dataset, Dataset | None]

log = structlog.get_logger("dimse")


def create(event: evt.Event, door: Door) -> Answer:
    """N-CREATE"""
    request = cast(N_CREATE, event.request)
    given = str(request.AffectedSOPInstanceUID or "")

    def work() -> Answer:
        dataset = _dataset(event, door, request.AttributeList)
        uid = given or first_text(dataset, "00080018") or worklist.new_uid()
        kept = door.wait(worklist.create(door.archive.index, dataset, uid=uid))
        status = CREATED_WITH_MODIFICATIONS if kept.is_modified else statuses.SUCCESS
        if given:
            return status, None
        made = Dataset()
        made.AffectedSOPInstanceUID = uid
        return status, made

    return _answered(work, scheduling=NOT_SCHEDULED)


def get(event: evt.Event, door: Door) -> Answer:
    """N-GET of what is asked for; of everything when nothing is named."""
    request = cast(N_GET, event.request)

    def work() -> Answer:
        uid = str(request.RequestedSOPInstanceUID)
        attributes = dict(door.wait(worklist.retrieve(door.archive.index, uid)).attributes)
        named = request.AttributeIdentifierList
        status = statuses.SUCCESS
        if named is not None:
            tags = [f"{int(tag):08X}" for tag in (named if isinstance(named, list) else [named])]
            attributes = {tag: attributes[tag] for tag in sorted(tags) if tag in attributes}
            if len(attributes) < len(set(tags) - {"00080005"}):
                status = NOT_SUPPORTED_ATTRIBUTES
        return status, dataset_of(attributes, _character_sets(event, door))

    return _answered(work)


def modify(event: evt.Event, door: Door) -> Answer:
    """N-SET"""
    request = cast(N_SET, event.request)

    def work() -> Answer:
        changes = _dataset(event, door, request.ModificationList)
        kept = door.wait(
            worklist.update(
                door.archive.index,
                str(request.RequestedSOPInstanceUID),
                changes,
                transaction_uid=first_text(changes, TRANSACTION_UID),
            )
        )
        return COERCED if kept.is_modified else statuses.SUCCESS, None

    return _answered(work)


def act(event: evt.Event, door: Door) -> Answer:
    """N-ACTION of the types 1 to 5."""
    request = cast(N_ACTION, event.request)
    uid = str(request.RequestedSOPInstanceUID)

    def work() -> Answer:
        information = _dataset(event, door, request.ActionInformation)
        kind = request.ActionTypeID
        if kind == CHANGE_STATE:
            return _change_state(door, uid, information)
        if kind == REQUEST_CANCEL:
            return _request_cancel(event, door, uid, information)
        if kind in (SUBSCRIBE, UNSUBSCRIBE, SUSPEND):
            return _subscription(door, uid, information, kind)
        return statuses.NO_SUCH_ACTION, None

    return _answered(work, scheduling=ONLY_CREATION_SCHEDULES)


def _change_state(door: Door, uid: str, information: dict[str, Any]) -> Answer:
    kept = door.wait(
        worklist.change_state(
            door.archive.index,
            uid,
            first_text(information, STATE),
            transaction_uid=first_text(information, TRANSACTION_UID),
        )
    )
    return _already(kept), None


def _request_cancel(event: evt.Event, door: Door, uid: str, information: dict[str, Any]) -> Answer:
    kept = door.wait(
        worklist.request_cancellation(
            door.archive.index, uid, information, requesting_ae=_calling(event)
        )
    )
    return _already(kept), None


def _already(kept: worklist.Kept) -> int:
    if not kept.is_already:
        return statuses.SUCCESS
    state = first_text(kept.attributes, STATE)
    return ALREADY_COMPLETED if state == worklist.State.COMPLETED else ALREADY_CANCELED


def _subscription(door: Door, uid: str, information: dict[str, Any], kind: int) -> Answer:
    aet = first_text(information, _RECEIVING_AE).strip()
    if not aet:
        raise InvalidDataset((_RECEIVING_AE,), "missing", "Receiving AE (0074,1234) is missing")
    index = door.archive.index
    if kind == UNSUBSCRIBE:
        door.wait(worklist.unsubscribe(index, uid, aet))
    elif kind == SUSPEND:
        door.wait(worklist.suspend(index, uid, aet))
    else:
        peer = door.peers().find(aet)
        if peer is None or peer.ae_title == ANY or not peer.host:
            return UNKNOWN_SUBSCRIBER, None
        locks = first_text(information, _DELETION_LOCK) == "TRUE"
        filtered = _filter(information) if uid == worklist.FILTERED_WORKLIST else None
        door.wait(worklist.subscribe(index, uid, aet, locks=locks, filtered=filtered, called=True))
    return statuses.SUCCESS, None


def _filter(information: dict[str, Any]) -> str:
    """The matching keys of the action as the query of a search (section CC.2.3.3.1)."""
    keys = {
        tag: element
        for tag, element in information.items()
        if tag not in (_RECEIVING_AE, _DELETION_LOCK)
    }
    return query_identifiers.as_query(keys)


# --- queries ---------------------------------------------------------------------------------


def find(event: evt.Event, door: Door) -> Iterator[Answer]:
    """C-FIND, a page at a time, as the peer takes them."""
    try:
        yield from _found(event, door)
    except ArchiveError as error:
        yield _query_refusal(error), None
    except Exception as error:  # the border: the association goes on
        log.exception("bug", error=type(error).__name__)
        yield statuses.UNABLE_TO_PROCESS, None


def _found(event: evt.Event, door: Door) -> Iterator[Answer]:
    identifier = _decoded(event, door, cast(C_FIND, event.request).Identifier)
    identifier.pop("00080005", None)
    keys = query_identifiers.asked(identifier, Modes())
    known = tuple(key for key in keys if key.path in SEARCHED)
    returned = query_identifiers.returned_keys(identifier)
    pending = (
        statuses.PENDING if len(known) == len(keys) else statuses.PENDING_WITH_UNSUPPORTED_KEYS
    )
    character_sets = _character_sets(event, door)
    after: int | None = 0
    while after is not None:
        found = door.wait(worklist.stretch(door.archive.index, known, after=after))
        for attributes in found.workitems:
            if event.is_cancelled:
                yield statuses.CANCELLED, None
                return
            answer = query_identifiers.projected(attributes, returned)
            yield pending, dataset_of(answer, character_sets)
        after = found.after


def _query_refusal(error: ArchiveError) -> Dataset:
    refused = statuses.refusal(statuses.query(error), error)
    if isinstance(error, InvalidQuery):
        tag = tag_of(error.parameter.rpartition(".")[2])
        if tag is not None:
            refused.OffendingElement = [Tag(int(tag, 16))]
    return refused


# --- messages --------------------------------------------------------------------------------


def _calling(event: evt.Event) -> str:
    return event.assoc.requestor.ae_title.strip()


def _character_sets(event: evt.Event, door: Door) -> tuple[str, ...]:
    own = door.peer_of(event.assoc).quirks.character_set
    return (own,) if own else ()


def _decoded(event: evt.Event, door: Door, encoded: BytesIO | None) -> dict[str, Any]:
    received = data_sets.decode(
        encoded.getvalue() if encoded is not None else b"",
        str(event.context.transfer_syntax),
        character_set=door.peer_of(event.assoc).quirks.character_set,
    )
    return dict(received.attributes)


def _dataset(event: evt.Event, door: Door, encoded: BytesIO | None) -> dict[str, Any]:
    return checked(_decoded(event, door, encoded))


def _answered(work: Callable[[], Answer], *, scheduling: int | None = None) -> Answer:
    """
    Args:
        scheduling: The status of what is wrong with Procedure Step State (0074,1000).
    """
    try:
        return work()
    except ArchiveError as error:
        return _refusal(error, scheduling), None
    except Exception as error:  # the border: the association goes on
        log.exception("bug", error=type(error).__name__)
        return statuses.PROCESSING_FAILURE, None


def _refusal(error: ArchiveError, scheduling: int | None) -> Dataset:
    status = statuses.normalized(error)
    match error:
        case InvalidDataset(path=path, defect="invalid") if scheduling and path == (STATE,):
            status = scheduling
        case NotFound() | Gone():
            status = NO_SUCH_WORKITEM
        case Conflict() if not isinstance(error, WorkitemStateConflict):
            status = statuses.DUPLICATE_SOP_INSTANCE
    refused = statuses.refusal(status, error)
    if isinstance(error, InvalidDataset):
        refused.AttributeIdentifierList = [Tag(int(tag, 16)) for tag in error.path[:1]]
    return refused


def _service(name: str, event: evt.InterventionEvent, handler: Callable[..., Any]) -> Service:
    return Service(name, event, (PUSH,), handler, permission=Permission.WORKITEM)


SERVICES: Final = (
    _service("unified procedure step push", evt.EVT_N_CREATE, create),
    _service("unified procedure step", evt.EVT_N_GET, get),
    _service("unified procedure step", evt.EVT_N_SET, modify),
    _service("unified procedure step", evt.EVT_N_ACTION, act),
    Service(
        "unified procedure step query",
        evt.EVT_C_FIND,
        (PULL, WATCH, QUERY),
        find,
        permission=Permission.WORKITEM,
    ),
)
