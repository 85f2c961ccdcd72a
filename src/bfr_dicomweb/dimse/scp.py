"""The listening side: accepts associations and gives each message to its service."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import pynetdicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

from bfr_dicomweb.dimse import verification
from bfr_dicomweb.dimse.door import Door, Service

SERVICES: Final[tuple[Service, ...]] = (*verification.SERVICES,)

UNCOMPRESSED: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)

# Identifiers hold patients' data.
pynetdicom._config.LOG_REQUEST_IDENTIFIERS = False
pynetdicom._config.LOG_RESPONSE_IDENTIFIERS = False
pynetdicom._config.LOG_HANDLER_LEVEL = "none"
# Private and retired SOP classes, too.
pynetdicom._config.UNRESTRICTED_STORAGE_SERVICE = True


def start(
    door: Door, host: str, port: int, *, services: Sequence[Service] = SERVICES
) -> ThreadedAssociationServer:
    """Listen and answer, in threads, until `shutdown` of what is returned."""
    entity = AE(door.ae_title)
    _support(entity, services)
    server = entity.start_server(
        (host, port), block=False, evt_handlers=list(_handlers(door, services))
    )
    assert server is not None
    return server


def _support(entity: AE, services: Iterable[Service]) -> None:
    for service in services:
        for sop_class in service.sop_classes or ():
            entity.add_supported_context(sop_class, list(service.transfer_syntaxes or UNCOMPRESSED))


def _handlers(door: Door, services: Iterable[Service]) -> Iterable[Any]:
    by_event: dict[evt.InterventionEvent, list[Service]] = {}
    for service in services:
        by_event.setdefault(service.event, []).append(service)
    for event, offered in by_event.items():
        yield event, partial(_dispatch, door=door, offered=offered)


def _dispatch(event: evt.Event, *, door: Door, offered: Sequence[Service]) -> Any:
    sop_class = _sop_class(event)
    for service in offered:
        if service.sop_classes is None or sop_class in service.sop_classes:
            return service.handler(event, door)
    return 0x0122  # refused: SOP class not supported


def _sop_class(event: evt.Event) -> str:
    request = event.request
    named = getattr(request, "AffectedSOPClassUID", None)
    return str(named or getattr(request, "RequestedSOPClassUID", ""))
