"""The changes of this archive in their order, so that others can follow it without scanning it.

Numbers are given by the one counter, whose holder is the only writer until the commit: a number
that can be read is never followed by a lower one. Numbers between two changes may be missing; they
belong to rows and not to changes.

That a message was kept is not told: until it has been read, that may be lost with the power, and
its number is given again then. All other changes are durable before they can be read.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from bfr_dicomweb.errors import ArchiveError, Conflict, Unavailable
from bfr_dicomweb.index import changes
from bfr_dicomweb.index.changes import Change as Change
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import MESSAGE_RECEIVED

LIMIT: Final = 1000
MOST: Final = 10_000
# Shorter than the time that requests have when the server stops.
LONGEST_WAIT_S: Final = 20.0
MOST_WAITING: Final = 200
POLL_S: Final = 0.2
# Changes that are looked at for one page.
_SCANNED: Final = 10_000

log = structlog.get_logger("change feed")


@dataclass(frozen=True, slots=True)
class Page:
    """Attributes:
    next: To go on from, also when there is nothing yet.
    """

    changes: Sequence[Change]
    next: int


@dataclass(frozen=True, slots=True)
class _Read:
    """Attributes:
    latest: The last number that was given before the page was read.
    is_end: Nothing more is there.
    """

    page: Page
    latest: int
    is_end: bool


async def _read(
    conn: Connection, *, after: int, limit: int, kinds: Collection[str] | None
) -> _Read:
    latest = await changes.latest(conn)
    if after > latest:
        raise Conflict(
            "no such number has been given here: this is another archive, or an older one that was"
            " restored; read it from 0"
        )
    scanned = limit if kinds is None else _SCANNED
    found = await changes.list_after(conn, after, scanned, without=MESSAGE_RECEIVED)
    told = [one for one in found if kinds is None or one.what in kinds]
    last = found[-1].number if found else after
    if len(told) > limit:
        told = told[:limit]
        last = told[-1].number
    return _Read(Page(told, last), latest, is_end=len(found) < scanned)


class ChangeFeed:
    """Of one process; what is committed by another one is told as soon."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._waiting = 0
        self._latest = 0
        self._news = asyncio.Condition()
        self._watch: asyncio.Task[None] | None = None

    async def page(
        self,
        after: int,
        *,
        limit: int = LIMIT,
        kinds: Collection[str] | None = None,
        wait_s: float = 0.0,
    ) -> Page:
        """The changes with higher numbers, oldest first.

        Args:
            kinds: Of changes; None is all. Where they are rare, a page may have none of them
                although there are more.
            wait_s: How long to wait for one when there are none.

        Raises:
            Conflict: this archive has not come to this number.
            Unavailable: too many are waiting already.
        """
        read = partial(_read, limit=limit, kinds=kinds)
        now = asyncio.get_running_loop().time
        deadline = now() + min(wait_s, LONGEST_WAIT_S)
        found = await self._index.ask(partial(read, after=after))
        while found.is_end and not found.page.changes and now() < deadline:
            await self._wait(found.latest, deadline - now())
            found = await self._index.ask(partial(read, after=found.page.next))
        return found.page

    async def _wait(self, seen: int, seconds: float) -> None:
        """Until a number above `seen` has been given, or the time is over."""
        if self._waiting >= MOST_WAITING:
            raise Unavailable("too many clients are waiting for changes")
        self._waiting += 1
        try:
            if self._watch is None or self._watch.done():
                self._watch = asyncio.create_task(self._look(), name="change-feed")
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), self._news:
                    await self._news.wait_for(lambda: self._latest > seen)
        finally:
            self._waiting -= 1

    async def _look(self) -> None:
        """One look at the catalogue for all that wait here."""
        while self._waiting:
            try:
                self._latest = await self._index.ask(changes.latest)
            except ArchiveError as error:
                log.warning("changes cannot be looked for", reason=str(error))
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
