"""Work for codecs and renderers, away from the event loop and from harm.

They are C code fed with bytes from outside: they run in processes of their own, so that a
crash costs one answer and not the server, and a hang no more than its time. What is asked
for while it is being made is made once; what was made is kept for a while.
"""

import asyncio
import concurrent.futures
import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.errors import ArchiveError

# What work gives: bytes, or several.
Made = bytes | tuple[bytes, ...]
# A function of a module and its arguments, as another process can be sent them.
Call = tuple[Callable[..., Made], tuple[Any, ...]]
# What the process has loaded that the others are forked from.
PRELOADED: Final = ["bfr_dicomweb.dicom.transcoding", "bfr_dicomweb.rendering.work"]
# What has to be thrown away of a cache for one more result, at most this part of it.
LARGEST_KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class Flight:
    """Work under way, and the processes that it is in; None when it is done already."""

    made: Future[Made]
    pool: ProcessPoolExecutor | None = None


class WorkProcesses:
    """Runs calls in its own processes, each once for all who ask at a time.

    Args:
        processes: How many.
        seconds: After so long work is given up, and the processes with it.
        cache_bytes: Of results kept for the next who asks.
        failed: The error of work that crashed (False) or took too long (True), or that was in
            the same processes as such (None).
    """

    def __init__(
        self,
        *,
        processes: int,
        seconds: float,
        cache_bytes: int,
        failed: Callable[[bool | None], ArchiveError],
    ) -> None:
        self.processes = processes
        self._seconds = seconds
        self._cache_bytes = cache_bytes
        self._failed = failed
        self.cached_bytes = 0
        self._cache: OrderedDict[Hashable, Made] = OrderedDict()
        self._flights: dict[Hashable, Flight] = {}
        self._pool: ProcessPoolExecutor | None = None
        # of the cache, the flights and the pool, for loops and threads; never held while the
        # pool is called, which calls back from a thread of its own
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    async def result(self, key: Hashable, prepare: Callable[[], Awaitable[Call]]) -> Made:
        """What the call gives.

        Args:
            key: What identifies the result.
            prepare: Gives the call, if it has to be made.

        Raises:
            ArchiveError: as the call, or as `failed`.
        """
        flight = self.under_way(key)
        if flight is None:
            flight = self.submit(key, await prepare())
        try:
            async with asyncio.timeout(self._seconds):
                # shielded: one client that leaves must not fail the others
                return await asyncio.shield(asyncio.wrap_future(flight.made))
        except (BrokenProcessPool, TimeoutError) as error:
            self._abandon(flight.pool)
            raise self._failed(isinstance(error, TimeoutError)) from None
        except asyncio.CancelledError:
            if flight.made.cancelled():  # with the processes that other work hung or crashed
                raise self._failed(None) from None
            raise

    def awaited(self, flight: Flight) -> Made:
        """As `result`; for threads, which wait."""
        try:
            return flight.made.result(self._seconds)
        except (BrokenProcessPool, TimeoutError) as error:
            self._abandon(flight.pool)
            raise self._failed(isinstance(error, TimeoutError)) from None
        except concurrent.futures.CancelledError:
            raise self._failed(None) from None

    def under_way(self, key: Hashable | None) -> Flight | None:
        """What is there already, or is being made for another who asks for the same."""
        with self._lock:
            found = self._cache.get(key)
            if found is None:
                return self._flights.get(key)
            self._cache.move_to_end(key)
        there: Future[Made] = Future()
        there.set_result(found)
        return Flight(there)

    def submit(self, key: Hashable | None, call: Call) -> Flight:
        """Begin; without a key the result is neither shared nor kept."""
        flight = self.under_way(key)
        if flight is not None:
            return flight
        flight = self._begun(call)
        if key is not None:
            with self._lock:
                # who came at the very same time makes it twice
                self._flights[key] = flight
            flight.made.add_done_callback(lambda made: self._landed(key, made))
        return flight

    def _begun(self, call: Call) -> Flight:
        function, arguments = call
        for _ in range(2):
            pool = self._running()
            try:
                return Flight(pool.submit(function, *arguments), pool)
            except RuntimeError:  # it broke, or was given up, a moment ago
                self._abandon(pool)
        raise self._failed(None)

    def _landed(self, key: Hashable, flight: Future[Made]) -> None:
        made = None
        if not flight.cancelled() and flight.exception() is None:
            made = flight.result()
        with self._lock:
            self._flights.pop(key, None)
            if made is None or key in self._cache:
                return
            size = _size(made)
            if size > self._cache_bytes // LARGEST_KEPT:
                return
            self._cache[key] = made
            self.cached_bytes += size
            while self.cached_bytes > self._cache_bytes:
                _, dropped = self._cache.popitem(last=False)
                self.cached_bytes -= _size(dropped)

    def _abandon(self, broken: ProcessPoolExecutor | None) -> None:
        """Leave processes that crashed or hang to themselves; the next work gets new ones."""
        with self._lock:
            if self._pool is broken:
                self._pool = None
        if broken is not None:
            broken.shutdown(wait=False, cancel_futures=True)

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                # not forked from this process, which has threads and open databases
                context = multiprocessing.get_context("forkserver")
                context.set_forkserver_preload(PRELOADED)
                self._pool = ProcessPoolExecutor(self.processes, mp_context=context)
            return self._pool


def _size(made: Made) -> int:
    return len(made) if isinstance(made, bytes) else sum(map(len, made))
