"""Notification connections: event reports over WebSockets (PS3.18 section 8.10)."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from bfr_dicomweb.dicomweb.service import service_of
from bfr_dicomweb.dicomweb.ups import ae_title, encoded_event_report
from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.services.event_channels import Channel, EventChannels, Overrun

# RFC 6455 section 7.4.1
GOING_AWAY: Final = 1001
POLICY: Final = 1008
TRY_AGAIN: Final = 1013
_IN_ORDER: Final = frozenset({1000, GOING_AWAY})

log = structlog.get_logger("events")


async def open_event_channel(websocket: WebSocket) -> None:
    """GET /ws/subscribers/{aet} (section 8.10.4): what this subscriber has not been told yet."""
    channels = service_of(websocket).channels
    try:
        aet = ae_title(websocket.path_params["aet"])
    except InvalidRequest:
        await websocket.close(POLICY)
        return
    await websocket.accept()
    async with channels.opened(aet) as channel:
        await _serve(websocket, channels, channel)


async def _serve(websocket: WebSocket, channels: EventChannels, channel: Channel) -> None:
    sending = asyncio.create_task(_send(websocket, channel), name="event-channel-send")
    listening = asyncio.create_task(_listen(websocket), name="event-channel-listen")
    try:
        await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done() and listening.result() in _IN_ORDER:
            await channels.closed_by_subscriber(channel)
        elif sending.done() and isinstance(sending.exception(), Overrun):
            log.warning("subscriber too slow", aet=channel.aet)
            with suppress(RuntimeError, WebSocketDisconnect):
                await websocket.close(TRY_AGAIN)
    finally:
        sending.cancel()
        listening.cancel()
        await asyncio.gather(sending, listening, return_exceptions=True)


async def _send(websocket: WebSocket, channel: Channel) -> None:
    while True:
        event = await channel.next()
        await websocket.send_text(encoded_event_report(event))
        channel.sent(event)


async def _listen(websocket: WebSocket) -> int:
    """Until it is closed; what the subscriber sends is no part of the service."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return int(message.get("code", 1006))
