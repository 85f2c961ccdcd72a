"""Decoding of frames, away from the event loop and from harm.

Codecs are C code fed with bytes from outside: they run in processes of their own,
so that a crash costs one answer and not the server.
"""

import asyncio
import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from bfr_dicomweb.dicom import pixels
from bfr_dicomweb.errors import UndecodablePixelData

PROCESSES: Final = 2
# Hostile streams can keep a codec busy; no honest frame takes so long.
DECODE_SECONDS: Final = 60.0
CACHE_BYTES: Final = 64 << 20


class Decoder:
    """Decodes frames in its own processes, each frame once for all who ask at a time.

    Args:
        max_frame_bytes: Larger decoded frames are refused.
        cache_bytes: Decoded frames kept for the next who asks.
    """

    def __init__(self, *, max_frame_bytes: int, cache_bytes: int = CACHE_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._cache: OrderedDict[Hashable, bytes] = OrderedDict()
        self._flights: dict[Hashable, asyncio.Task[bytes]] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._starting = threading.Lock()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    async def frame(
        self,
        key: Hashable,
        read: Callable[[], Awaitable[bytes]],
        description: pixels.PixelDescription,
    ) -> bytes:
        """The native little-endian bytes of one frame.

        Args:
            key: What identifies the decoded bytes.
            read: Gives the encoded frame, if it has to be decoded.

        Raises:
            UndecodablePixelData: no codec can, or the result would be too large.
        """
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._decode(key, read, description))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        # shielded: one client that leaves must not fail the others
        return await asyncio.shield(flight)

    def decode_now(self, encoded: bytes, description: pixels.PixelDescription) -> bytes:
        """As `frame`, but for threads, which wait; nothing is kept.

        Raises:
            UndecodablePixelData: no codec can, or the result would be too large.
        """
        try:
            call = self._processes().submit(
                _decode_frame, encoded, description, self._max_frame_bytes
            )
            return call.result(DECODE_SECONDS)
        except (BrokenProcessPool, TimeoutError) as error:
            self._abandon()
            raise _failed(error) from None

    def _abandon(self) -> None:
        """Leave processes that crashed or hang to themselves; the next frame gets new ones."""
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    async def _decode(
        self,
        key: Hashable,
        read: Callable[[], Awaitable[bytes]],
        description: pixels.PixelDescription,
    ) -> bytes:
        encoded = await read()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DECODE_SECONDS):
                decoded = await loop.run_in_executor(
                    self._processes(), _decode_frame, encoded, description, self._max_frame_bytes
                )
        except (BrokenProcessPool, TimeoutError) as error:
            self._abandon()
            raise _failed(error) from None
        self._keep(key, decoded)
        return decoded

    def _keep(self, key: Hashable, decoded: bytes) -> None:
        if len(decoded) > self._cache_bytes // 4:
            return
        self._cache[key] = decoded
        self._cached_bytes += len(decoded)
        while self._cached_bytes > self._cache_bytes:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped)

    def _processes(self) -> ProcessPoolExecutor:
        with self._starting:
            if self._pool is None:
                # spawned: forking a process with threads and open databases is not safe
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(PROCESSES, mp_context=context)
            return self._pool


def _failed(error: Exception) -> UndecodablePixelData:
    hung = isinstance(error, TimeoutError)
    return UndecodablePixelData(
        f"the decoder {'took too long for' if hung else 'crashed on'} this frame"
    )


def _decode_frame(encoded: bytes, description: pixels.PixelDescription, limit: int) -> bytes:
    return pixels.decode_frame(
        encoded,
        description,
        planar_configuration=description.planar_configuration,
        max_frame_bytes=limit,
    )
