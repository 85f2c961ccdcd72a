"""What follows from changes, after the commit: links, documents, notifications, messages out.

A dispatcher follows the numbered changes and works off the outbox. Where it has come to is kept
in the catalogue with a lease, so that any number of processes can run one: each change is handled
by one of them, again if that one died, and never lost. Handlers must therefore be idempotent.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from bfr_dicomweb.errors import ArchiveError, Undelivered
from bfr_dicomweb.index import followers, outbox
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.followers import Followed as Followed
from bfr_dicomweb.index.outbox import Entry as Entry
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn

POLL_S: Final = 0.2
PAGE: Final = 2000
# A dead process is waited for so long; a living one renews what it has in hand.
LEASE_S: Final = 10.0
RENEW_S: Final = 3.0
# How long a receiver that does not answer may keep the server from stopping.
STOPPING_S: Final = 5.0
# Between two attempts of one receiver; it doubles up to the last.
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0
RECEIVERS_AT_ONCE: Final = 16

log = structlog.get_logger("dispatcher")

Handle = Callable[[Sequence[Followed]], Awaitable[None]]
Deliver = Callable[[Entry], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Follower:
    """Attributes:
    name: Under which its place is kept; a new name begins at the first change ever.
    """

    name: str
    handle: Handle


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to look after now and then, such as what is overdue."""

    name: str
    every_s: float
    do: Callable[[], Awaitable[None]]


class Dispatcher:
    """Args:
    channels: By the kind of an outbox entry, how it is delivered. Raises Undelivered.
    receivers: To others nothing is delivered here; None is to all.
    """

    def __init__(
        self,
        index: Index,
        *,
        followers: Sequence[Follower] = (),
        channels: Mapping[str, Deliver] | None = None,
        chores: Sequence[Chore] = (),
        receivers: Collection[str] | None = None,
    ) -> None:
        self._index = index
        self._receivers = receivers
        self._followers = {follower.name: follower for follower in followers}
        self._channels = dict(channels or {})
        self._chores = tuple(chores)
        self._owner = secrets.token_hex(8)
        self._tasks: list[asyncio.Task[None]] = []
        self._delivering: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._follow(), name="dispatcher-follow"),
            asyncio.create_task(self._deliver(), name="dispatcher-deliver"),
            *(asyncio.create_task(self._mind(chore), name=chore.name) for chore in self._chores),
        ]

    async def stop(self) -> None:
        """What is in hand is finished; what takes too long is done again by the next."""
        self._stopping.set()
        for task in self._tasks[2:]:
            task.cancel()
        if self._delivering:
            _, late = await asyncio.wait(self._delivering.values(), timeout=STOPPING_S)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._tasks, *self._delivering.values(), return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _follow(self) -> None:
        while not self._stopping.is_set():
            pause_s = POLL_S
            try:
                if await self._advance():
                    pause_s = 0.0
            except ArchiveError as error:
                log.warning("following paused", reason=str(error))
                pause_s = FIRST_PAUSE_S
            except Exception as error:  # the border: this loop must not end
                log.exception("bug", error=type(error).__name__)
                pause_s = FIRST_PAUSE_S
            await self._pause(pause_s)

    async def _advance(self) -> bool:
        """Let each follower handle its next page of changes; whether there are more."""
        names = await self._index.ask(partial(followers.behind, names=list(self._followers)))
        if not names:
            return False
        claimed = await self._claim_places(names)
        async with self._renewing(partial(self._claim_places, list(claimed))):
            return await self._handle_all(claimed)

    async def _claim_places(self, names: list[str]) -> dict[str, int]:
        now = _now_us()
        return await self._index.transact(
            partial(
                followers.claim,
                names=names,
                owner=self._owner,
                now_us=now,
                until_us=now + int(LEASE_S * 1e6),
            ),
            durable=False,
        )

    async def _handle_all(self, claimed: Mapping[str, int]) -> bool:
        handled, is_more = {}, False
        # first: what is committed between the two is then found the next time
        latest = await self._index.ask(followers.latest)
        pages: dict[int, Sequence[Followed]] = {}
        for name, after in claimed.items():
            if after not in pages:
                pages[after] = await self._index.ask(
                    partial(followers.changes_after, number=after, limit=PAGE)
                )
            page = pages[after]
            is_full = len(page) == PAGE
            # numbers are also given to what leaves no row in the table of changes
            place = page[-1].number if is_full else latest
            handled[name] = place if await self._handle(self._followers[name], page) else after
            is_more = is_more or is_full
        # a place that is lost with the power is followed from once more, which changes nothing
        await self._index.transact(
            partial(followers.advance, places=handled, owner=self._owner), durable=False
        )
        return is_more

    async def _handle(self, follower: Follower, page: Sequence[Followed]) -> bool:
        """Whether it has; a follower that cannot now tries again later, and keeps nobody else."""
        try:
            await follower.handle(page)
        except ArchiveError as error:
            log.warning("follower paused", follower=follower.name, reason=str(error))
        except Exception as error:  # the border: a bug in one follower must not end the others
            log.exception("bug", follower=follower.name, error=type(error).__name__)
        else:
            return True
        await self._pause(FIRST_PAUSE_S)
        return False

    async def _deliver(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._begin_deliveries()
            except ArchiveError as error:
                log.warning("delivering paused", reason=str(error))
            except Exception as error:  # the border: this loop must not end
                log.exception("bug", error=type(error).__name__)
            await self._pause(POLL_S)

    async def _begin_deliveries(self) -> None:
        for name in [name for name, task in self._delivering.items() if task.done()]:
            del self._delivering[name]
        free = RECEIVERS_AT_ONCE - len(self._delivering)
        if free <= 0:
            return
        waiting = await self._index.ask(partial(outbox.receivers_due, now_us=_now_us()))
        if self._receivers is not None:
            waiting = [name for name in waiting if name in self._receivers]
        for receiver in [name for name in waiting if name not in self._delivering][:free]:
            task = asyncio.create_task(self._serve(receiver), name=f"deliver-{receiver}")
            self._delivering[receiver] = task

    async def _serve(self, receiver: str) -> None:
        """Deliver what waits for one receiver, oldest first, until it fails or nothing is left."""
        try:
            while not self._stopping.is_set():
                entry = await self._claim_entry(receiver)
                if entry is None:
                    return
                async with self._renewing(partial(self._renew_entry, entry.number)):
                    delivered = await self._hand_over(entry)
                if not delivered:
                    return
        except ArchiveError as error:
            log.warning("delivering paused", receiver=receiver, reason=str(error))

    async def _claim_entry(self, receiver: str) -> Entry | None:
        now = _now_us()
        return await self._index.transact(
            partial(
                outbox.claim,
                receiver=receiver,
                owner=self._owner,
                now_us=now,
                until_us=now + int(LEASE_S * 1e6),
            )
        )

    async def _renew_entry(self, number: int) -> None:
        until = _now_us() + int(LEASE_S * 1e6)
        await self._index.transact(
            partial(outbox.renew, number=number, owner=self._owner, until_us=until)
        )

    @asynccontextmanager
    async def _renewing(self, renew: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """What is in hand stays ours however long it takes."""

        async def again() -> None:
            while True:
                await asyncio.sleep(RENEW_S)
                with suppress(ArchiveError):
                    await renew()

        task = asyncio.create_task(again())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _hand_over(self, entry: Entry) -> bool:
        deliver = self._channels.get(entry.kind)
        try:
            if deliver is None:
                raise Undelivered(f"nothing here delivers {entry.kind}")
            await deliver(entry)
        except ArchiveError as error:
            await self._retry(entry, str(error))
            return False
        except Exception as error:  # the border: the receiver's trouble stays the receiver's
            log.exception("bug", receiver=entry.receiver, error=type(error).__name__)
            await self._retry(entry, type(error).__name__)
            return False
        return await self._index.transact(
            partial(outbox.done, number=entry.number, owner=self._owner)
        )

    async def _retry(self, entry: Entry, reason: str) -> None:
        pause_s = min(FIRST_PAUSE_S * 2 ** min(entry.attempts, 16), LONGEST_PAUSE_S)
        log.warning("not delivered", receiver=entry.receiver, reason=reason, again_in_s=pause_s)
        await self._index.transact(
            partial(
                outbox.failed,
                number=entry.number,
                owner=self._owner,
                error=reason,
                due_us=_now_us() + int(pause_s * 1e6),
            )
        )

    async def _mind(self, chore: Chore) -> None:
        while not self._stopping.is_set():
            try:
                await chore.do()
            except ArchiveError as error:
                log.warning("chore paused", chore=chore.name, reason=str(error))
            except Exception as error:  # the border between one chore and the rest
                log.exception("bug", chore=chore.name, error=type(error).__name__)
            await self._pause(chore.every_s)


async def enqueue(index: Index, entries: Sequence[tuple[str, str, bytes]]) -> None:
    """Put receiver, kind and payload of each into the outbox."""
    if not entries:
        return

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        outbox.enqueue(turn, entries)
        await turn.end()

    await index.transact(work)


def _now_us() -> int:
    return time.time_ns() // 1000
