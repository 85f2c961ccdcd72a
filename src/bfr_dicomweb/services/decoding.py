"""Decoding and encoding of frames, in processes of their own."""

import threading
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from typing import Final

from bfr_dicomweb.dicom import transcoding
from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.transcoding import Conversion
from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.services.work_processes import Call, Flight, Made, WorkProcesses

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


class Decoder:
    """Converts frames in its own processes, each frame once for all who ask at a time.

    Args:
        max_frame_bytes: Larger decoded frames are refused.
        cache_bytes: Converted frames kept for the next who asks.
    """

    def __init__(self, *, max_frame_bytes: int, cache_bytes: int = CACHE_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._work = WorkProcesses(
            processes=PROCESSES, seconds=DECODE_SECONDS, cache_bytes=cache_bytes, failed=_failed
        )
        self.descriptions = Descriptions()

    @property
    def cached_bytes(self) -> int:
        return self._work.cached_bytes

    def close(self) -> None:
        self._work.close()

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

        async def call() -> Call:
            return self._call(await read(), conversion)

        return _one(await self._work.result((key, conversion), call))

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
        ahead: deque[Flight] = deque()
        shared = key is not None and not path
        try:
            for index, frame in enumerate(frames):
                kept = ((key, index), conversion) if shared else None
                ahead.append(self._work.submit(kept, self._call(frame, conversion)))
                # the first is waited for alone: whether it can be made decides the answer
                while len(ahead) > PROCESSES or (not index and ahead):
                    yield _one(self._work.awaited(ahead.popleft()))
            while ahead:
                yield _one(self._work.awaited(ahead.popleft()))
        finally:
            if not shared:
                for flight in ahead:
                    flight.made.cancel()

    def _call(self, frame: bytes, conversion: Conversion) -> Call:
        return _convert_frame, (frame, conversion, self._max_frame_bytes)


def _one(made: Made) -> bytes:
    return made if isinstance(made, bytes) else made[0]


def _failed(hung: bool | None) -> UndecodablePixelData:
    if hung is None:
        return UndecodablePixelData("the decoder ended before this frame was made; ask again")
    return UndecodablePixelData(
        f"the decoder {'took too long for' if hung else 'crashed on'} this frame"
    )


def _convert_frame(frame: bytes, conversion: Conversion, limit: int) -> bytes:
    return transcoding.convert_frame(frame, conversion, max_frame_bytes=limit)
