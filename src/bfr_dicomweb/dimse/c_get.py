"""C-GET (PS3.4 section C.4.3): instances come over the association that asked for them."""

from typing import Final

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt

from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.dimse.connection import Connection, Lost, break_off, held
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.peers import Permission
from bfr_dicomweb.dimse.retrieving import GET_CLASSES, Progress, Retrieval
from bfr_dicomweb.dimse.sending_instances import Sender
from bfr_dicomweb.services.data_sets import StoredInstance

log = structlog.get_logger("dimse")


def get(event: evt.Event, door: Door) -> None:
    """Send what is asked for, and all responses."""
    retrieval = Retrieval(event)
    instances = retrieval.instances(door)
    progress = Progress(len(instances))
    peer = door.peer_of(event.assoc)
    try:
        with held(event.assoc) as connection:
            sender = Sender(
                door.archive,
                connection,
                priority=retrieval.request.Priority,
                seconds=peer.response_seconds,
            )
            _send(instances, retrieval, progress, sender, connection)
            connection.respond(retrieval.context_id, retrieval.final(progress))
    except Lost as error:
        log.warning("C-GET broken off", peer=retrieval.caller, reason=str(error))
        break_off(event.assoc)
    log.info(
        "C-GET",
        peer=retrieval.caller,
        completed=progress.completed,
        failed=len(progress.failed),
        remaining=progress.remaining,
    )


def _send(
    instances: list[StoredInstance],
    retrieval: Retrieval,
    progress: Progress,
    sender: Sender,
    connection: Connection,
) -> None:
    for stored in instances:
        if retrieval.is_cancelled:
            return
        progress.attempt(stored, sender)
        retrieval.pending(progress, lambda it: connection.respond(retrieval.context_id, it))


def refuse_to_store(_event: evt.Event, _door: Door) -> int | Dataset:
    """Who may only retrieve accepts storage SOP classes to be sent instances, not to send any."""
    return statuses.NOT_AUTHORIZED


SERVICES: Final = (
    Service("retrieve by C-GET", evt.EVT_C_GET, GET_CLASSES, get, Permission.RETRIEVE),
    Service(
        "sub-operations of C-GET",
        evt.EVT_C_STORE,
        None,
        refuse_to_store,
        Permission.RETRIEVE,
        as_scu=True,
    ),
)
