"""Modality Performed Procedure Step and its Retrieve SOP class (PS3.4 sections F.7 and F.8)."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import evt
from pynetdicom.dimse_primitives import N_CREATE, N_GET, N_SET

from bfr_dicomweb.dicom import data_sets
from bfr_dicomweb.dicom.performed_steps import RETRIEVE_SOP_CLASS_UID, SOP_CLASS_UID
from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.modality_worklist import dataset_of
from bfr_dicomweb.dimse.peers import Permission
from bfr_dicomweb.errors import ArchiveError, Conflict, DifferentDuplicate, InvalidDataset
from bfr_dicomweb.services import performed_steps

# Error ID (0000,0903), PS3.4 Table F.7.2-2.
MAY_NO_LONGER_BE_UPDATED: Final = 0xA710

_DEFECTS: Final = {
    "missing": "is missing",
    "empty": "must have a value",
    "invalid": "is not valid here",
    "not-allowed": "may not be changed",
}

Answer = tuple[int | Dataset, Dataset | None]

log = structlog.get_logger("dimse")


def create(event: evt.Event, door: Door) -> Answer:
    """N-CREATE: durable when it is answered."""
    request = cast(N_CREATE, event.request)
    given = request.AffectedSOPInstanceUID

    def work() -> Answer:
        attributes = _attributes(event, door, request.AttributeList)
        uid = door.wait(
            performed_steps.create(
                door.archive.index,
                door.orders,
                attributes,
                uid=str(given or ""),
                sender=_calling(event),
            )
        )
        if given is not None:
            return statuses.SUCCESS, None
        made = Dataset()
        made.AffectedSOPInstanceUID = uid
        return statuses.SUCCESS, made

    return _answered(work)


def modify(event: evt.Event, door: Door) -> Answer:
    """N-SET: durable when it is answered."""
    request = cast(N_SET, event.request)

    def work() -> Answer:
        attributes = _attributes(event, door, request.ModificationList)
        uid = str(request.RequestedSOPInstanceUID)
        door.wait(
            performed_steps.modify(
                door.archive.index, door.orders, uid, attributes, sender=_calling(event)
            )
        )
        return statuses.SUCCESS, None

    return _answered(work)


def get(event: evt.Event, door: Door) -> Answer:
    """N-GET of what is asked for; of everything when nothing is named."""
    request = cast(N_GET, event.request)

    def work() -> Answer:
        uid = str(request.RequestedSOPInstanceUID)
        step = door.wait(performed_steps.find(door.archive.index, uid))
        named = request.AttributeIdentifierList
        if named is not None:
            tags = named if isinstance(named, list) else [named]
            wanted = {f"{int(tag):08X}" for tag in tags}
            step = {tag: element for tag, element in step.items() if tag in wanted}
        own = door.peer_of(event.assoc).quirks.character_set
        return statuses.SUCCESS, dataset_of(step, (own,) if own else ())

    return _answered(work)


def _calling(event: evt.Event) -> str:
    return event.assoc.requestor.ae_title.strip()


def _attributes(event: evt.Event, door: Door, encoded: BytesIO | None) -> dict[str, Any]:
    received = data_sets.decode(
        encoded.getvalue() if encoded is not None else b"",
        str(event.context.transfer_syntax),
        character_set=door.peer_of(event.assoc).quirks.character_set,
    )
    return received.attributes


def _answered(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except ArchiveError as error:
        return _refusal(error), None
    except Exception as error:
        log.exception("bug", error=type(error).__name__)
        return statuses.PROCESSING_FAILURE, None


def _refusal(error: ArchiveError) -> Dataset:
    status = statuses.normalized(error)
    if isinstance(error, InvalidDataset):
        refused = statuses.refusal(status, _named(error))
        refused.AttributeIdentifierList = [Tag(int(error.path[0], 16))]
        return refused
    refused = statuses.refusal(status, error)
    if isinstance(error, Conflict) and not isinstance(error, DifferentDuplicate):
        refused.ErrorID = MAY_NO_LONGER_BE_UPDATED
    return refused


def _named(error: InvalidDataset) -> str:
    """Short enough for an Error Comment: the path in tags."""
    path = " > ".join(f"({tag[:4]},{tag[4:]})" for tag in error.path)
    return f"{path} {_DEFECTS.get(error.defect, error.defect)}"


SERVICES: Final = (
    Service(
        "performed procedure step",
        evt.EVT_N_CREATE,
        (SOP_CLASS_UID,),
        create,
        permission=Permission.PERFORM,
    ),
    Service(
        "performed procedure step",
        evt.EVT_N_SET,
        (SOP_CLASS_UID,),
        modify,
        permission=Permission.PERFORM,
    ),
    Service(
        "performed procedure step retrieve",
        evt.EVT_N_GET,
        (RETRIEVE_SOP_CLASS_UID,),
        get,
        permission=Permission.PERFORM,
    ),
)
