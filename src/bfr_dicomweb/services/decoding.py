"""Decoding and encoding of frames, away from the event loop and from harm.

Codecs are C code fed with bytes from outside: they run in processes of their own,
so that a crash costs one answer and not the server.
"""

import asyncio
import concurrent.futures
import multiprocessing
import threading
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.dicom import transcoding
from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.transcoding import Conversion
from bfr_dicomweb.errors import UndecodablePixelData

PROCESSES: Final = 2
# Hostile streams can keep a codec busy; no honest frame takes so long.
DECODE_SECONDS: Final = 60.0
CACHE_BYTES: Final = 64 << 20
DESCRIPTIONS: Final = 4096


class Descriptions:
    """How the frames of those instances are stored that were asked for last, by their digest.

    The metadata that says so is large for some, and viewers ask for one frame after the other.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, PixelDescription] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, digest: bytes) -> PixelDescription | None:
        with self._lock:
            found = self._kept.get(digest)
            if found is not None:
                self._kept.move_to_end(digest)
            return found

    def keep(self, digest: bytes, description: PixelDescription) -> None:
        with self._lock:
            self._kept[digest] = description
            if len(self._kept) > DESCRIPTIONS:
                self._kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Flight:
    """A frame under way, and the processes that it is in; None when it is there already."""

    made: Future[bytes]
    pool: ProcessPoolExecutor | None = None


class Decoder:
    """Converts frames in its own processes, each frame once for all who ask at a time.

    Args:
        max_frame_bytes: Larger decoded frames are refused.
        cache_bytes: Converted frames kept for the next who asks.
    """

    def __init__(self, *, max_frame_bytes: int, cache_bytes: int = CACHE_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._cache: OrderedDict[Hashable, bytes] = OrderedDict()
        self._flights: dict[Hashable, _Flight] = {}
        self._pool: ProcessPoolExecutor | None = None
        self.descriptions = Descriptions()
        # of the cache, the flights and the pool, for loops and threads; never held while the
        # pool is called, which calls back from a thread of its own
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    async def frame(
        self, key: Hashable, read: Callable[[], Awaitable[bytes]], conversion: Conversion
    ) -> bytes:
        """One frame in the target of the conversion.

        Args:
            key: What identifies the stored frame.
            read: Gives the stored frame, if it has to be converted.

        Raises:
            UndecodablePixelData: no codec can, or the result would be too large.
            NotAcceptable: the target cannot hold it.
        """
        kept = (key, conversion)
        flight = self._under_way(kept)
        if flight is None:
            flight = self._submit(kept, await read(), conversion)
        try:
            async with asyncio.timeout(DECODE_SECONDS):
                # shielded: one client that leaves must not fail the others
                return await asyncio.shield(asyncio.wrap_future(flight.made))
        except (BrokenProcessPool, TimeoutError) as error:
            self._abandon(flight.pool)
            raise _failed(error) from None
        except asyncio.CancelledError:
            if flight.made.cancelled():  # with the processes that another frame hung or crashed
                raise _failed(None) from None
            raise

    def convert(
        self,
        frames: Iterable[bytes],
        conversion: Conversion,
        path: str = "",
        *,
        key: Hashable = None,
    ) -> Iterator[bytes]:
        """As `transcoding.convert_frames`; for threads, which wait.

        As many frames as there are processes are under way at a time, and no more are held.

        Args:
            key: What identifies the object, where the frames of its image shall be kept and
                shared; others are made for this caller alone.

        Raises:
            UndecodablePixelData: no codec can, or the result would be too large.
            NotAcceptable: the target cannot hold it.
        """
        ahead: deque[_Flight] = deque()
        shared = key is not None and not path
        try:
            for index, frame in enumerate(frames):
                kept = ((key, index), conversion) if shared else None
                ahead.append(self._submit(kept, frame, conversion))
                # the first is waited for alone: whether it can be made decides the answer
                while len(ahead) > PROCESSES or (not index and ahead):
                    yield self._awaited(ahead.popleft())
            while ahead:
                yield self._awaited(ahead.popleft())
        finally:
            if not shared:
                for flight in ahead:
                    flight.made.cancel()

    def _awaited(self, flight: _Flight) -> bytes:
        try:
            return flight.made.result(DECODE_SECONDS)
        except (BrokenProcessPool, TimeoutError) as error:
            self._abandon(flight.pool)
            raise _failed(error) from None
        except concurrent.futures.CancelledError:
            raise _failed(None) from None

    def _under_way(self, kept: Hashable | None) -> _Flight | None:
        """What is there already, or is being made for another who asks for the same."""
        with self._lock:
            found = self._cache.get(kept)
            if found is None:
                return self._flights.get(kept)
            self._cache.move_to_end(kept)
        there: Future[bytes] = Future()
        there.set_result(found)
        return _Flight(there)

    def _submit(self, kept: Hashable | None, frame: bytes, conversion: Conversion) -> _Flight:
        flight = self._under_way(kept)
        if flight is not None:
            return flight
        flight = self._new_flight(frame, conversion)
        if kept is not None:
            with self._lock:
                # who came at the very same time makes it twice
                self._flights[kept] = flight
            flight.made.add_done_callback(lambda made: self._landed(kept, made))
        return flight

    def _new_flight(self, frame: bytes, conversion: Conversion) -> _Flight:
        for _ in range(2):
            pool = self._processes()
            try:
                made = pool.submit(_convert_frame, frame, conversion, self._max_frame_bytes)
                return _Flight(made, pool)
            except RuntimeError:  # it broke, or was given up, a moment ago
                self._abandon(pool)
        raise _failed(None)

    def _landed(self, kept: Hashable, flight: Future[bytes]) -> None:
        made = None
        if not flight.cancelled() and flight.exception() is None:
            made = flight.result()
        with self._lock:
            self._flights.pop(kept, None)
            if made is None or len(made) > self._cache_bytes // 4 or kept in self._cache:
                return
            self._cache[kept] = made
            self._cached_bytes += len(made)
            while self._cached_bytes > self._cache_bytes:
                _, dropped = self._cache.popitem(last=False)
                self._cached_bytes -= len(dropped)

    def _abandon(self, broken: ProcessPoolExecutor | None) -> None:
        """Leave processes that crashed or hang to themselves; the next frame gets new ones."""
        with self._lock:
            if self._pool is broken:
                self._pool = None
        if broken is not None:
            broken.shutdown(wait=False, cancel_futures=True)

    def _processes(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                # spawned: forking a process with threads and open databases is not safe
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(PROCESSES, mp_context=context)
            return self._pool


def _failed(error: Exception | None) -> UndecodablePixelData:
    if error is None:
        return UndecodablePixelData("the decoder ended before this frame was made; ask again")
    hung = isinstance(error, TimeoutError)
    return UndecodablePixelData(
        f"the decoder {'took too long for' if hung else 'crashed on'} this frame"
    )


def _convert_frame(frame: bytes, conversion: Conversion, limit: int) -> bytes:
    return transcoding.convert_frame(frame, conversion, max_frame_bytes=limit)
