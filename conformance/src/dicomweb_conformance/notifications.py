"""Event reports of the worklist: subscriptions, and the WebSocket on which they come."""

import asyncio
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from dicomweb_conformance import dicom_json, payloads
from dicomweb_conformance.exchanges import Exchange
from dicomweb_conformance.media_types import DICOM_JSON
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import NotClaimed, Unmet, Violated, expect, need
from dicomweb_conformance.workitems import (
    READINESS,
    STATE,
    WORKLIST,
    Workitem,
    require_known,
    require_operation,
    warned,
)

# How long an event report may take, and how long silence has to last to count as none.
EVENT_WAIT_S: float = 5.0
QUIET_S: float = 1.5

_MAX_REPORTS: Final = 100  # of one workitem, in one case

EVENT_TYPE: Final = "00001002"
AFFECTED: Final = "00001000"
STATE_REPORT: Final = 1
CANCEL_REQUESTED: Final = 2
PROGRESS_REPORT: Final = 3
ASSIGNED: Final = 5

FILTERS_NOT_SUPPORTED: Final = "Filtered Worklist Subscriptions are not supported"
LOCK_NOT_GRANTED: Final = "Deletion Lock not granted"

Event = dict[str, object]


@dataclass(slots=True)
class Channel:
    """An open WebSocket; what has come and not been asked for yet waits in `pending`."""

    target: Target
    connection: ClientConnection
    url: str
    pending: list[Event] = field(default_factory=list)

    async def next(self, made: Workitem, kind: int, *, where: str = "") -> Event:
        """The next event report of that type about the workitem. Raises Violated: none comes."""

        def fits(event: Event) -> bool:
            return _is(event, made, kind)

        event = await self._find(fits, EVENT_WAIT_S)
        if event is None:
            said = f" {where}" if where else ""
            raise Violated(f"no event report of type {kind}{said} within {EVENT_WAIT_S:.1f} s")
        return event

    async def need_state_report(self, made: Workitem) -> None:
        """Raises Unmet: not even the report comes that has to come before."""
        try:
            await self.next(made, STATE_REPORT)
        except Violated as error:
            raise Unmet(f"before what is to be seen: {error}") from None

    async def expect_none(self, made: Workitem, why: str) -> None:
        event = await self._find(lambda each: _about(each) == made.uid, QUIET_S)
        if event is not None:
            kind = dicom_json.text(event, EVENT_TYPE)
            raise Violated(f"an event report of type {kind} came {why}")

    async def states(self, made: Workitem, *, until: str) -> list[str]:
        """Of the state reports up to that state; what is said twice in a row counts once."""
        seen: list[str] = []
        reports = 0
        while until not in seen:
            event = await self.next(made, STATE_REPORT, where=f"with {until}")
            reports += 1
            expect(reports < _MAX_REPORTS, f"{reports} state reports, and none with {until}")
            state = dicom_json.text(event, STATE)
            if seen[-1:] != [state]:
                seen.append(state)
        return seen

    async def forget(self) -> None:
        """Leaves out what has come until now."""
        await self._find(lambda _: False, 0.1)
        self.pending.clear()

    async def _find(self, fits: Callable[[Event], bool], seconds: float) -> Event | None:
        for event in self.pending:
            if fits(event):
                self.pending.remove(event)
                return event
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    event = self._read(await self.connection.recv())
            except TimeoutError:
                return None
            except ConnectionClosed:
                raise Violated("the server closed the WebSocket (section 8.10.4.2)") from None
            if fits(event):
                return event
            self.pending.append(event)
        return None

    def _read(self, frame: str | bytes) -> Event:
        """Raises Violated: not a dataset in DICOM JSON in a text frame (section 8.10.5)."""
        expect(isinstance(frame, str), "an event report came in a binary frame")
        content = frame.encode() if isinstance(frame, str) else frame
        shown = self.target.shown.body(DICOM_JSON, content, status=101)
        url = self.target.shown.text(self.url)
        self.target.exchanges.append(Exchange(f"WebSocket {url}", {}, "", 101, {}, shown, 0.0))
        try:
            event = payloads.read_json(content)
        except payloads.Unreadable:
            raise Violated("an event report is no JSON") from None
        expect(isinstance(event, dict), "an event report is not one JSON object")
        return dict(event)


def _about(event: Event) -> str:
    return dicom_json.text(event, AFFECTED)


def _is(event: Event, made: Workitem, kind: int) -> bool:
    return _about(event) == made.uid and dicom_json.text(event, EVENT_TYPE) == str(kind)


def new_ae_title(target: Target) -> str:
    """Of a subscriber that no other case has."""
    made = f"CONF{uuid.uuid4().hex[:8].upper()}"
    target.shown.add_own([made])
    return made


def _path(uid: str, ae_title: str) -> str:
    return f"/workitems/{uid}/subscribers/{ae_title}"


async def subscribe(
    target: Target, uid: str, ae_title: str, *, lock: str = "", filters: str = ""
) -> Response:
    """`filters` as "00741204=AI": pairs with a comma between them. Raises NotClaimed."""
    require_operation(target, "POST", "workitems/{}/subscribers/{}")
    query = {}
    if lock:
        query["deletionlock"] = lock
    if filters:
        query["filter"] = filters
    written = "&".join(f"{name}={quote(value, safe=',')}" for name, value in query.items())
    answer = await target.request("POST", _path(uid, ae_title), query=written)
    if answer.status in (405, 501):
        raise NotClaimed(f"{answer.asked}: {answer.status}")
    return answer


async def unsubscribe(target: Target, uid: str, ae_title: str) -> Response:
    return await target.request("DELETE", _path(uid, ae_title))


async def suspend(target: Target, ae_title: str) -> Response:
    return await target.request("POST", f"{_path(WORKLIST, ae_title)}/suspend")


async def need_subscribed(
    target: Target, uid: str, ae_title: str, *, lock: str = "", filters: str = ""
) -> str:
    """The URL of the WebSocket. Raises Unmet: nobody is let in, NotClaimed: no such filters."""
    answer = await subscribe(target, uid, ae_title, lock=lock, filters=filters)
    if filters and answer.status == 403 and warned(answer, FILTERS_NOT_SUPPORTED):
        raise NotClaimed(FILTERS_NOT_SUPPORTED)
    require_known(target, answer)
    need(answer.status == 201, f"{answer.asked}: {answer.status}, so that no event can be awaited")
    url = answer.headers.get("content-location", "")
    need(url.startswith(("ws://", "wss://")), "the subscription names no WebSocket")
    return url


async def _connect(target: Target, url: str) -> Channel:
    """Raises Violated: the WebSocket cannot be opened as RFC 6455 has it (section 8.10.4)."""
    try:
        place = urlsplit(url)
    except ValueError:
        raise Violated("Content-Location is no URL of a WebSocket") from None
    own_host = place.netloc == urlsplit(target.base_url).netloc
    trusting: dict[str, Any] = {"ssl": target.tls} if target.tls and place.scheme == "wss" else {}
    try:
        connection = await connect(
            url,
            additional_headers=dict(target.credentials) if own_host else {},
            open_timeout=EVENT_WAIT_S * 2,
            proxy=None,
            **trusting,
        )
    except ssl.SSLError as error:
        raise Unmet(f"the certificate of the WebSocket's host: {error.reason}") from None
    # ValueError: of a port or a host that cannot be
    except (InvalidHandshake, InvalidURI, OSError, EOFError, ValueError) as error:
        named = type(error).__name__
        raise Violated(f"the WebSocket of Content-Location cannot be opened: {named}") from None
    return Channel(target, connection, url)


@asynccontextmanager
async def open_channel(target: Target, url: str) -> AsyncIterator[Channel]:
    """Raises Violated: it cannot be opened."""
    channel = await _connect(target, url)
    try:
        yield channel
    finally:
        await channel.connection.close()


@asynccontextmanager
async def subscribed(
    target: Target, uid: str, ae_title: str, *, lock: str = "", filters: str = ""
) -> AsyncIterator[Channel]:
    """A subscriber of a workitem or a worklist, who can hear of it. Raises Unmet, NotClaimed."""
    try:
        url = await need_subscribed(target, uid, ae_title, lock=lock, filters=filters)
        try:
            channel = await _connect(target, url)
        except Violated as error:  # a case of its own says so
            raise Unmet(str(error)) from None
        try:
            yield channel
        finally:
            await channel.connection.close()
    finally:
        await quietly_unsubscribe(target, uid, ae_title)


@asynccontextmanager
async def following(target: Target, made: Workitem) -> AsyncIterator[Channel]:
    """A subscriber of one workitem, whom event reports reach. Raises Unmet: they do not."""
    ae_title = new_ae_title(target)
    async with subscribed(target, made.uid, ae_title) as channel:
        await need_subscribed(target, made.uid, ae_title)
        await channel.need_state_report(made)
        await channel.forget()
        yield channel


async def quietly_unsubscribe(target: Target, uid: str, ae_title: str) -> None:
    try:
        await unsubscribe(target, uid, ae_title)
    except (Violated, Unmet):
        return


def expect_state_report(event: Event, state: str) -> None:
    got = dicom_json.text(event, STATE)
    expect(got == state, f"the state report says {got or 'no state'} instead of {state}")
    expect(bool(dicom_json.text(event, READINESS)), "the state report has no (0040,4041)")
