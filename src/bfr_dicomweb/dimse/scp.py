"""The listening side: accepts associations and gives each message to its service."""

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import pynetdicom
from pynetdicom import AE, evt

from bfr_dicomweb.dicom.report_writing import IMPLEMENTATION_CLASS_UID
from bfr_dicomweb.dimse import (
    c_find,
    c_get,
    c_move,
    c_store,
    modality_worklist,
    performed_procedure_step,
    statuses,
    storage_commitment,
    unified_procedure_step,
    verification,
)
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.listening import Limits, Rules, Server
from bfr_dicomweb.dimse.negotiation import Offer, Seats

SERVICES: Final[tuple[Service, ...]] = (
    *verification.SERVICES,
    *c_store.SERVICES,
    *c_find.SERVICES,
    *storage_commitment.SERVICES,
    *c_get.SERVICES,
    *c_move.SERVICES,
    *modality_worklist.SERVICES,
    *performed_procedure_step.SERVICES,
    *unified_procedure_step.SERVICES,
)

# Identifiers hold patients' data.
pynetdicom._config.LOG_REQUEST_IDENTIFIERS = False
pynetdicom._config.LOG_RESPONSE_IDENTIFIERS = False
pynetdicom._config.LOG_HANDLER_LEVEL = "none"
# Private and retired SOP classes, too.
pynetdicom._config.UNRESTRICTED_STORAGE_SERVICE = True


def start(
    door: Door,
    host: str,
    port: int,
    *,
    services: Sequence[Service] = SERVICES,
    limits: Limits | None = None,
    seats: Seats | None = None,
    ssl_context: ssl.SSLContext | None = None,
    shares_port: bool = False,
) -> Server:
    """Listen and answer, in threads, until `shutdown` of what is returned.

    Args:
        seats: Shared with other servers of this process, as the limit of associations then is.
        ssl_context: TLS is spoken, and nothing else.
        shares_port: Other processes listen on the same port.

    Raises:
        OSError: it cannot be listened on this address.
    """
    limits = limits or Limits()
    rules = Rules(
        door=door,
        offer=Offer(services),
        seats=seats or Seats(limits.associations),
        begin=partial(c_store.begin, door=door),
        handlers=tuple(_handlers(door, services)),
        limits=limits,
    )
    server = Server(
        _entity(door.ae_title, limits),
        (host, port),
        rules,
        ssl_context=ssl_context,
        shares_port=shares_port,
    )
    server.start()
    return server


def _entity(ae_title: str, limits: Limits) -> AE:
    entity = AE(ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = c_store.IMPLEMENTATION_VERSION
    entity.maximum_pdu_size = limits.pdu_bytes
    entity.acse_timeout = limits.artim_seconds
    entity.network_timeout = limits.idle_seconds
    return entity


def _handlers(door: Door, services: Iterable[Service]) -> Iterable[evt.EventHandlerType]:
    by_event: dict[evt.InterventionEvent, list[Service]] = {}
    for service in services:
        by_event.setdefault(service.event, []).append(service)
    for event, offered in by_event.items():
        yield event, partial(_dispatch, door=door, offered=offered)


def _dispatch(event: evt.Event, *, door: Door, offered: Sequence[Service]) -> Any:
    sop_class = _sop_class(event)
    meant = [s for s in offered if s.sop_classes is None or sop_class in s.sop_classes]
    peer = door.peer_of(event.assoc)
    for service in meant:
        if service.permission is None or service.permission in peer.may:
            return service.handler(event, door)
    status = statuses.NOT_AUTHORIZED if meant else statuses.SOP_CLASS_NOT_SUPPORTED
    return _refused(event, status)


def _sop_class(event: evt.Event) -> str:
    request = event.request
    named = getattr(request, "AffectedSOPClassUID", None)
    return str(named or getattr(request, "RequestedSOPClassUID", ""))


def _refused(event: evt.Event, status: int) -> Any:
    """A status, in the form in which pynetdicom wants it of the handlers of an event."""
    return _FORMS.get(event.event, _with_dataset)(status)


def _alone(status: int) -> int:
    return status


def _with_dataset(status: int) -> tuple[int, None]:
    return status, None


def _once(status: int) -> Iterator[tuple[int, None]]:
    yield status, None


_FORMS: Final[dict[Any, Callable[[int], Any]]] = {
    evt.EVT_C_ECHO: _alone,
    evt.EVT_C_STORE: _alone,
    evt.EVT_C_FIND: _once,
    evt.EVT_C_GET: _alone,
    evt.EVT_C_MOVE: _alone,
}
