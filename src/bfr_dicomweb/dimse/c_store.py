"""Storage service class (PS3.4 Annex B): C-STORE, stored as by any other door."""

from io import BytesIO
from typing import Final, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from bfr_dicomweb.dicom import coercion, part10
from bfr_dicomweb.dicom.report_writing import IMPLEMENTATION_CLASS_UID
from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.peers import Peer, Permission
from bfr_dicomweb.dimse.receiving import Sink, StoreRequest
from bfr_dicomweb.errors import ArchiveError
from bfr_dicomweb.services.store import BlockingReceiving, Presumed

log = structlog.get_logger()

IMPLEMENTATION_VERSION: Final = "BFR_DICOMWEB"


def store(event: evt.Event, door: Door) -> int | Dataset:
    """C-STORE: answered when the object is durable, or refused."""
    request = cast(C_STORE, event.request)
    if isinstance(request, StoreRequest):
        return end(request.sink)
    # of an association that this archive opened: pynetdicom has received all of it
    sink = begin(event.assoc, request, event.context.transfer_syntax, door=door)
    sink.write(cast(BytesIO, request.DataSet).getbuffer())
    return end(sink)


def end(sink: Sink) -> int | Dataset:
    if not isinstance(sink, BlockingReceiving):
        return statuses.NOT_AUTHORIZED
    try:
        result = sink.finish()
    except ArchiveError as error:
        return statuses.refusal(statuses.store(error), error)
    except Exception as error:  # the border: a bug fails one object and not the association
        log.exception("bug", error=type(error).__name__)
        return statuses.PROCESSING_FAILURE
    if result.error is not None:
        return statuses.refusal(statuses.store(result.error), result.error)
    return statuses.SUCCESS


class Unwanted:
    """The data set of an object that its sender may not store."""

    def write(self, data: memoryview) -> None:
        """Forget it."""

    def end(self) -> None:
        """There is nothing to store."""

    def abort(self) -> None:
        """There is nothing to forget."""


def begin(association: Association, request: C_STORE, transfer_syntax: str, *, door: Door) -> Sink:
    """Where the data set of a request goes, behind File Meta Information of our own.

    The same object of the same sender becomes the same bytes.
    """
    peer = door.peer_of(association)
    if Permission.STORE not in peer.may:
        return Unwanted()
    caller = association.requestor.ae_title.strip()
    sop_class_uid = str(request.AffectedSOPClassUID)
    sop_instance_uid = str(request.AffectedSOPInstanceUID)
    assumed = presumed(peer, caller, door.ae_title)
    receiving = door.archive.store.receive_blocking(
        sop_instance_uid=sop_instance_uid, presumed=assumed
    )
    file_meta: dict[str, str | bytes] = {
        "00020001": b"\0\1",
        "00020002": sop_class_uid,
        "00020003": sop_instance_uid,
        "00020010": transfer_syntax,
        "00020012": IMPLEMENTATION_CLASS_UID,
        "00020013": IMPLEMENTATION_VERSION,
        "00020016": caller,
        **coercion.written(assumed),
    }
    receiving.write(part10.write_file_meta(file_meta))
    return receiving


def presumed(peer: Peer, caller: str, ae_title: str) -> Presumed:
    quirks = peer.quirks
    return Presumed(
        sender=caller,
        character_set=quirks.character_set,
        issuer=quirks.issuer,
        attributes=quirks.coercions,
        by=ae_title,
    )


SERVICES: Final = (Service("storage", evt.EVT_C_STORE, None, store, Permission.STORE),)
