"""Unified Procedure Step (PS3.4 Annex CC): the workitems of UPS-RS for those who speak DIMSE.

Whichever of the five SOP classes a presentation context was negotiated for, messages name the Push
SOP class (section CC.2.1.2), except queries, which name the class of their information model.
Reports of events go to subscribers over associations of their own (`delivery`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any, Final, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND, N_ACTION, N_CREATE, N_GET, N_SET

from bfr_dicomweb.dicom import data_sets, query_identifiers
from bfr_dicomweb.dicom.attributes import first_text, tag_of, values_of
from bfr_dicomweb.dicom.json_model import checked, named
from bfr_dicomweb.dicom.matching import Modes
from bfr_dicomweb.dicom.workitem_attributes import RULE_OF, SEARCHED, Path
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
    InvalidRequest,
    NotFound,
    NotTheClaimant,
    WorkitemEnded,
    WorkitemStateConflict,
)
from bfr_dicomweb.services import event_channels, worklist
from bfr_dicomweb.services.store import is_uid

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
NOT_OF_THIS_INSTANCE: Final = 0xC314
UNRECOGNIZED_OPERATION: Final = 0x0211

_CHARACTER_SET: Final = "00080005"
_RECEIVING_AE: Final = "00741234"
_DELETION_LOCK: Final = "00741230"
_LOCKS: Final = {"TRUE": True, "FALSE": False, "": False}
_WHOLE_WORKLIST: Final = frozenset({worklist.WORKLIST, worklist.FILTERED_WORKLIST})

Answer = tuple[int | Dataset, Dataset | None]

log = structlog.get_logger("dimse")


def create(event: evt.Event, door: Door) -> Answer:
    """N-CREATE"""
    request = cast(N_CREATE, event.request)
    given = str(request.AffectedSOPInstanceUID or "")

    def work() -> Answer:
        dataset = _dataset(event, door, request.AttributeList)
        uid = given or first_text(dataset, "00080018") or worklist.new_uid()
        if not is_uid(uid):
            return statuses.INVALID_SOP_INSTANCE, None
        kept = door.wait(worklist.create(door.archive.index, dataset, uid=uid))
        made = Dataset()
        if not given:
            made.AffectedSOPInstanceUID = uid
        if not kept.is_modified:
            return statuses.SUCCESS, made
        # pynetdicom takes the UID out of the answer for SUCCESS only
        made.Status = CREATED_WITH_MODIFICATIONS
        return made, None

    return _answered(work, _not_created)


def _not_created(error: InvalidRequest) -> int:
    match error:
        case InvalidDataset(path=path, defect="invalid") if path == (STATE,):
            return NOT_SCHEDULED
    return statuses.normalized(error)


def get(event: evt.Event, door: Door) -> Answer:
    """N-GET of what is asked for; of everything when nothing is named."""
    request = cast(N_GET, event.request)

    def work() -> Answer:
        uid = str(request.RequestedSOPInstanceUID)
        attributes = dict(door.wait(worklist.retrieve(door.archive.index, uid)).attributes)
        wanted = request.AttributeIdentifierList
        status = statuses.SUCCESS
        several = wanted if isinstance(wanted, list) else [wanted]
        if any(tag is not None for tag in several):
            tags = {f"{int(tag):08X}" for tag in several if tag is not None} - {_CHARACTER_SET}
            attributes = {tag: attributes[tag] for tag in sorted(tags & attributes.keys())}
            if len(attributes) < len(tags):
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

    return _answered(work, _not_acted)


def _not_acted(error: InvalidRequest) -> int:
    if isinstance(error, NotTheClaimant | WorkitemEnded):
        return statuses.normalized(error)
    # what is wrong is no attribute of the workitem (PS3.7 section 10.1.4.1.10)
    return statuses.INVALID_ARGUMENT_VALUE


def _change_state(door: Door, uid: str, information: dict[str, Any]) -> Answer:
    requested = first_text(information, STATE)
    try:
        kept = door.wait(
            worklist.change_state(
                door.archive.index,
                uid,
                requested,
                transaction_uid=first_text(information, TRANSACTION_UID),
            )
        )
    except InvalidDataset as error:
        if requested == worklist.State.SCHEDULED:
            return statuses.refusal(ONLY_CREATION_SCHEDULES, error), None
        raise
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
    if uid not in _WHOLE_WORKLIST:
        door.wait(worklist.retrieve(door.archive.index, uid))
    if kind == SUBSCRIBE:
        return _subscribe(door, uid, aet, information), None
    if kind == SUSPEND and uid not in _WHOLE_WORKLIST:
        return NOT_OF_THIS_INSTANCE, None
    end = worklist.unsubscribe if kind == UNSUBSCRIBE else worklist.suspend
    try:
        door.wait(end(door.archive.index, uid, aet))
    except Gone:
        raise
    except NotFound as error:  # the workitem is here, the subscription is not
        return statuses.refusal(UNKNOWN_SUBSCRIBER, error), None
    return statuses.SUCCESS, None


def _subscribe(door: Door, uid: str, aet: str, information: dict[str, Any]) -> int:
    peer = door.peers().find(aet)
    if peer is None or peer.ae_title == ANY or not peer.host:
        return UNKNOWN_SUBSCRIBER
    locks = _LOCKS.get(first_text(information, _DELETION_LOCK))
    if locks is None:
        text = "Deletion Lock (0074,1230) has to be TRUE or FALSE"
        raise InvalidDataset((_DELETION_LOCK,), "invalid", text)
    filtered = _filter(information) if uid == worklist.FILTERED_WORKLIST else None
    door.wait(
        worklist.subscribe(
            door.archive.index, uid, aet, locks=locks, filtered=filtered, called=True
        )
    )
    return statuses.SUCCESS


def _filter(information: dict[str, Any]) -> str:
    """The matching keys of the action as the query of a search (section CC.2.3.3.1).

    Raises:
        InvalidQuery: There are none, or they are not searched by.
    """
    keys = {
        tag: element
        for tag, element in information.items()
        if tag not in (_RECEIVING_AE, _DELETION_LOCK)
    }
    query = query_identifiers.as_query(keys)
    event_channels.parse_filter(query)
    return query


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
    identifier.pop(_CHARACTER_SET, None)
    keys = query_identifiers.asked(identifier, Modes())
    known = tuple(key for key in keys if key.path in SEARCHED)
    returned = query_identifiers.returned_keys(identifier)
    is_supported = len(known) == len(keys) and all((tag,) in RULE_OF for tag in returned)
    pending = statuses.PENDING if is_supported else statuses.PENDING_WITH_UNSUPPORTED_KEYS
    returned.pop(TRANSACTION_UID, None)
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
    """
    Raises:
        InvalidDataset: An attribute is malformed.
    """
    dataset = checked(_decoded(event, door, encoded))
    if (path := _malformed(dataset)) is not None:
        raise InvalidDataset(path, "invalid", f"{named(path)} has no value of its VR")
    return dataset


def _malformed(dataset: Mapping[str, Any], above: Path = ()) -> Path | None:
    """An attribute that decoding could only refer to, because it made nothing of its bytes."""
    for tag, element in dataset.items():
        path = (*above, tag)
        if "BulkDataURI" in element:
            return path
        if element["vr"] == "SQ":
            found = (_malformed(item, path) for item in values_of(dataset, tag))
            if (first := next(filter(None, found), None)) is not None:
                return first
    return None


Invalid = Callable[[InvalidRequest], int]


def _answered(work: Callable[[], Answer], invalid: Invalid = statuses.normalized) -> Answer:
    """
    Args:
        invalid: The status of a request that is not valid.
    """
    try:
        return work()
    except ArchiveError as error:
        return _refusal(error, invalid), None
    except Exception as error:  # the border: the association goes on
        log.exception("bug", error=type(error).__name__)
        return statuses.PROCESSING_FAILURE, None


def _refusal(error: ArchiveError, invalid: Invalid) -> Dataset:
    match error:
        case InvalidRequest():
            status = invalid(error)
        case NotFound():
            status = NO_SUCH_WORKITEM
        case Conflict() if not isinstance(error, WorkitemStateConflict):
            status = statuses.DUPLICATE_SOP_INSTANCE
        case _:
            status = statuses.normalized(error)
    refused = statuses.refusal(status, _brief(str(error)))
    if isinstance(error, InvalidDataset) and status != statuses.INVALID_ARGUMENT_VALUE:
        refused.AttributeIdentifierList = [Tag(int(tag, 16)) for tag in error.path[:1]]
    return refused


_NAMES: Final = re.compile(r"[^>()]+ (?=\([0-9A-F]{4},[0-9A-F]{4}\))")


def _brief(text: str) -> str:
    """Attributes by their tags alone where the text is too long for an Error Comment."""
    return text if len(text) <= statuses.COMMENT_CHARACTERS else _NAMES.sub(" ", text)


def hear(_event: evt.Event, _door: Door) -> Answer:
    """N-EVENT-REPORT: events are what this archive tells, and not what it is told."""
    return UNRECOGNIZED_OPERATION, None


def _service(event: evt.InterventionEvent, handler: Callable[..., Any], *classes: str) -> Service:
    return Service(
        "unified procedure step", event, classes, handler, permission=Permission.WORKITEM
    )


# PS3.4 Table CC.2-1; what names the class of its presentation context is understood, too
SERVICES: Final = (
    _service(evt.EVT_N_CREATE, create, PUSH),
    _service(evt.EVT_N_GET, get, PUSH, WATCH, PULL),
    _service(evt.EVT_N_SET, modify, PUSH, PULL),
    _service(evt.EVT_N_ACTION, act, PUSH, WATCH, PULL),
    _service(evt.EVT_C_FIND, find, WATCH, PULL, QUERY),
    _service(evt.EVT_N_EVENT_REPORT, hear, EVENT),
)
