"""Event reports of workitems on their way to subscribers (PS3.18 sections 8.10 and 11.13).

Events are rows of the catalogue, written in the transaction that makes them, so that it does not
matter which process somebody is connected to, nor whether anybody is connected. Each process looks
for new events, once for all of its channels; a channel that has just been opened first reads what
its subscriber has missed.

An event counts as told a while after it was sent over a channel that still stands, since a lost
connection is noticed late. Until then a new channel repeats it: at least once, in order. Repeated
events have the same Message ID.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import parse_qsl

import structlog

from bfr_dicomweb.dicom.matching import Asked, parse_asked
from bfr_dicomweb.dicom.query_identifiers import matches
from bfr_dicomweb.dicom.workitem_attributes import SEARCHED
from bfr_dicomweb.errors import ArchiveError, InvalidQuery
from bfr_dicomweb.index import workitem_events as events
from bfr_dicomweb.index import workitems
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.index.workitem_events import StoredEvent as StoredEvent
from bfr_dicomweb.index.workitem_events import WorkitemSubscription, WorklistSubscription
from bfr_dicomweb.services.worklist import WORKLIST

POLL_S: Final = 0.05
PAGE: Final = 500
# Events that a subscriber is behind before its channel is closed; it can open another.
BACKLOG: Final = 1000
# Longer than it takes to notice that a connection is gone.
SURE_S: Final = 45.0
KEEP_EVERY_S: Final = 1.0
PAUSE_S: Final = 1.0

log = structlog.get_logger("events")


class Overrun(Exception):
    """The subscriber takes its events more slowly than they come."""


@dataclass(frozen=True, slots=True)
class Told:
    """Events and whom they concern."""

    events: Sequence[StoredEvent]
    worklist: Mapping[str, Sequence[WorklistSubscription]]
    own: Mapping[tuple[str, int], WorkitemSubscription]
    attributes: Mapping[int, Mapping[str, Any]]

    def concerns(self, event: StoredEvent, aet: str) -> bool:
        if event.aet:
            return event.aet == aet
        if not event.workitem_id:
            return True
        own = self.own.get((aet, event.workitem_id))
        if own is not None and own.subscribed:
            return own.since < event.number
        since = own.since if own is not None else 0
        return any(
            since < one.since < event.number
            and one.covers(event.workitem_id)
            and self._passes(one.filter, event.workitem_id)
            for one in self.worklist.get(aet, ())
        )

    def _passes(self, filtered: str, workitem_id: int) -> bool:
        if not filtered:
            return True
        attributes = self.attributes.get(workitem_id)
        return attributes is not None and matches(parse_filter(filtered).keys, attributes)


@lru_cache(maxsize=256)
def parse_filter(text: str) -> Asked:
    """A filter as the query of a search: ``attribute=value`` joined by ``&``.

    Raises:
        InvalidQuery: It asks for nothing, or for what is not searched by.
    """
    asked = parse_asked(parse_qsl(text, keep_blank_values=True), matched=SEARCHED, max_results=1)
    if not asked.keys:
        raise InvalidQuery("filter", "has no attribute to filter by")
    if asked.ignored:
        raise InvalidQuery("filter", "has an attribute that workitems are not searched by")
    return asked


async def _told(conn: Connection, *, after: int, aet: str | None = None) -> Told:
    page = await events.after(conn, after, limit=PAGE)
    ids = sorted({event.workitem_id for event in page if event.workitem_id})
    if not page:
        return Told((), {}, {}, {})
    worklist: dict[str, list[WorklistSubscription]] = {}
    for one in await events.worklist_subscriptions(conn, aet):
        worklist.setdefault(one.aet, []).append(one)
    own = {
        (one.aet, one.workitem_id): one for one in await events.workitem_subscriptions(conn, ids)
    }
    attributes: dict[int, Mapping[str, Any]] = {}
    if any(one.filter for each in worklist.values() for one in each):
        attributes = {
            stored.id: stored.workitem.attributes
            for stored in await workitems.by_id(conn, ids)
            if stored.workitem is not None
        }
    return Told(page, worklist, own, attributes)


def message_id(event: StoredEvent) -> int:
    """The same again when the event is repeated; 1 to 65535."""
    return event.number % 0xFFFF + 1


def instance_uid(event: StoredEvent) -> str:
    """Affected SOP Instance UID: of the workitem, or of the worklist for what befalls all."""
    return event.uid or WORKLIST


async def for_called(index: Index, aet: str) -> tuple[list[StoredEvent], int]:
    """What one that is called has not been told yet, and up to where that has been looked for."""

    async def work(conn: Connection) -> tuple[list[StoredEvent], int]:
        at = await events.told(conn, aet) or 0
        told = await _told(conn, after=at, aet=aet)
        # of what befalls the service nobody is called who has no subscription by then
        since = await events.subscribed_since(conn, aet)
        concerned = [
            event
            for event in told.events
            if told.concerns(event, aet)
            and (event.workitem_id or (since is not None and since < event.number))
        ]
        return concerned, told.events[-1].number if told.events else at

    return await index.ask(work)


async def keep_called(index: Index, aet: str, number: int) -> None:
    """It has been told of all up to this event."""

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        events.keep_told(turn, {aet: number}, called=True)
        await turn.end()

    await index.transact(work)


class Channel:
    """One subscriber's connection.

    Attributes:
        at: The last event that it was looked at for.
        has_room: For another page of events.
    """

    def __init__(self, aet: str, told: int) -> None:
        self.aet = aet
        self.at = told
        self.has_room = asyncio.Event()
        self.has_room.set()
        self._waiting: deque[StoredEvent] = deque()
        self._arrived = asyncio.Event()
        self._sent: deque[tuple[int, float]] = deque()
        self._is_overrun = False

    def offer(self, event: StoredEvent) -> None:
        if event.number <= self.at:
            return
        self.at = event.number
        if len(self._waiting) >= BACKLOG:
            self._is_overrun = True
        else:
            self._waiting.append(event)
        if len(self._waiting) + PAGE > BACKLOG:
            self.has_room.clear()
        self._arrived.set()

    async def next(self) -> StoredEvent:
        """
        Raises:
            Overrun: The channel has to be closed.
        """
        while not self._waiting:
            if self._is_overrun:
                raise Overrun
            self._arrived.clear()
            await self._arrived.wait()
        event = self._waiting.popleft()
        if not self._waiting:
            self.has_room.set()
        return event

    def sent(self, event: StoredEvent) -> None:
        self._sent.append((event.number, time.monotonic()))

    def sure(self, *, is_closed: bool = False) -> int:
        """The last event that the subscriber is sure to have since it was asked last, or 0."""
        before = time.monotonic() - SURE_S
        number = 0
        while self._sent and (is_closed or self._sent[0][1] < before):
            number = self._sent.popleft()[0]
        return number


class EventChannels:
    """The channels of one process."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._live: dict[Channel, None] = {}
        self._at = 0
        self._joined = asyncio.Event()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._follow(), name="event-channels"),
            asyncio.create_task(self._keep_told(), name="event-channels-told"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """There may be new events; without it they are found a moment later."""
        self._woken.set()

    @asynccontextmanager
    async def opened(self, aet: str) -> AsyncIterator[Channel]:
        told = await self._index.ask(partial(events.told, aet=aet))
        if told is None:
            told = await self._index.ask(events.latest)
        channel = Channel(aet, told)
        catching_up = asyncio.create_task(self._catch_up(channel), name="event-channel-catch-up")
        try:
            yield channel
        finally:
            catching_up.cancel()
            await asyncio.gather(catching_up, return_exceptions=True)
            self._live.pop(channel, None)

    async def closed_by_subscriber(self, channel: Channel) -> None:
        """It has closed the connection in good order, so that it has all that was sent."""
        with suppress(ArchiveError):
            await self._keep({channel.aet: channel.sure(is_closed=True)})

    async def _catch_up(self, channel: Channel) -> None:
        while True:
            told = await self._index.ask(partial(_told, after=channel.at, aet=channel.aet))
            for event in told.events:
                if told.concerns(event, channel.aet):
                    channel.offer(event)
            if told.events:
                channel.at = told.events[-1].number
            is_end = len(told.events) < PAGE
            if is_end and (not self._live or channel.at >= self._at):
                self._join(channel)
                return
            await channel.has_room.wait()

    def _join(self, channel: Channel) -> None:
        if not self._live:
            self._at = channel.at
        self._live[channel] = None
        self._joined.set()

    async def _follow(self) -> None:
        while True:
            if not self._live:
                self._joined.clear()
                await self._joined.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), POLL_S)
            self._woken.clear()
            try:
                while await self._advance():
                    pass
            except ArchiveError as error:
                log.warning("event channels paused", reason=str(error))
                await asyncio.sleep(PAUSE_S)
            except Exception as error:  # the border: this loop must not end
                log.exception("bug", error=type(error).__name__)
                await asyncio.sleep(PAUSE_S)

    async def _advance(self) -> bool:
        """Offer the next events to all channels; whether there may be more."""
        told = await self._index.ask(partial(_told, after=self._at))
        for event in told.events:
            for channel in self._live:
                if told.concerns(event, channel.aet):
                    channel.offer(event)
        if told.events:
            self._at = told.events[-1].number
        return len(told.events) == PAGE

    async def _keep_told(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            with suppress(ArchiveError):
                await self._keep(_least((each.aet, each.sure()) for each in list(self._live)))

    async def _keep(self, told_of: Mapping[str, int]) -> None:
        numbers = {aet: number for aet, number in told_of.items() if number}
        if not numbers:
            return

        async def work(conn: Connection) -> None:
            turn = await Turn.take(conn)
            events.keep_told(turn, numbers)
            await turn.end()

        await self._index.transact(work)


def _least(sure: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Of several channels of one subscriber the slowest counts."""
    found: dict[str, int] = {}
    for aet, number in sure:
        found[aet] = min(number, found.get(aet, number))
    return found
