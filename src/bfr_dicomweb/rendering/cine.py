"""Many pictures as one moving one: how long each is shown, and H.264 in MP4."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering import elements
from bfr_dicomweb.rendering.elements import Attributes
from bfr_dicomweb.rendering.image_encoding import DEFAULT_FRAME_MS
from bfr_dicomweb.rendering.picture import Picture, Pixels

if TYPE_CHECKING:
    from av.video.stream import VideoStream

MP4: Final = "video/mp4"
# What a renderer has to make of all frames in its time, and what decoders take
MAX_FRAMES: Final = 20_000
MAX_PIXELS: Final = 1 << 31
MAX_SIDE: Final = 4096
# All pictures of a GIF are in memory at once.
MAX_GIF_PIXELS: Final = 1 << 27
# Frames are shown for no less and no more.
SHORTEST_MS: Final = 5.0
LONGEST_MS: Final = 10_000.0
# Of time stamps, as in MPEG-2 systems
TICKS_A_SECOND: Final = 90_000
_DEFAULT_QUALITY: Final = 80
_FRAME_TIME_VECTOR: Final = "00181065"
# H.264 by name of what FFmpeg was built with, the best first
_ENCODERS: Final = ("libx264", "libopenh264", "h264")
# Each sample takes so many bytes of the table in front of the samples, about.
_TABLE_BYTES: Final = 64


@lru_cache(1)
def is_installed() -> bool:
    """Whether there is what reads and writes video (the extra `video`)."""
    return find_spec("av") is not None


def require_installed() -> None:
    """Raises NotAcceptable: the extra is missing."""
    if not is_installed():
        raise NotAcceptable("video is made with the extra `video`, which is not installed here")


def durations_ms(attributes: Attributes, count: int) -> list[float]:
    """How long each frame is shown (PS3.3 section C.7.6.5).

    What is recommended for showing comes before the rate at which they were taken.
    """
    recommended = elements.number(attributes, "RecommendedDisplayFrameRate") or 0
    if recommended > 0:
        return [_bounded(1000 / recommended)] * count
    pointers = elements.values(attributes, "FrameIncrementPointer")
    vector = elements.numbers(attributes, "FrameTimeVector")
    time = elements.number(attributes, "FrameTime") or 0
    # the vector holds the time from the frame before, that of the first is 0
    if len(vector) >= count > 1 and (_FRAME_TIME_VECTOR in pointers or time <= 0):
        shown = [_bounded(step) for step in vector[1:count]]
        return [*shown, shown[-1]]
    if time > 0:
        return [_bounded(time)] * count
    rate = elements.number(attributes, "CineRate") or 0
    return [_bounded(1000 / rate) if rate > 0 else DEFAULT_FRAME_MS] * count


def _bounded(milliseconds: float) -> float:
    return max(SHORTEST_MS, min(milliseconds, LONGEST_MS))


def require_size(media_type: str, frames: int, columns: int, rows: int) -> None:
    """
    Raises:
        NotAcceptable: so many pictures of this size are too much for one file.
    """
    most = MAX_PIXELS if media_type == MP4 else MAX_GIF_PIXELS
    if frames > MAX_FRAMES or frames * columns * rows > most:
        raise NotAcceptable(
            f"{frames} frames of {columns} x {rows} pixels are too much for one {media_type};"
            f" it holds {MAX_FRAMES} frames and {most} pixels: ask for fewer, or for a viewport"
        )
    if media_type == MP4 and max(columns, rows) > MAX_SIDE:
        raise NotAcceptable(f"{MP4} has at most {MAX_SIDE} pixels a side: ask for a viewport")


def encode_mp4(
    pictures: Iterable[Picture], durations: Sequence[float], *, quality: int | None = None
) -> bytes:
    """H.264 that every browser plays: 8 bits, 4:2:0, even sides, the table in front.

    Args:
        pictures: Taken one by one; all have the size of the first.
        durations: Of each, in milliseconds.
        quality: 1 to 100; None: the server's choice.

    Raises:
        NotAcceptable: there is nothing that makes it.
    """
    require_installed()
    import av

    file = BytesIO()
    table = str(4096 + _TABLE_BYTES * len(durations))
    options = {"moov_size": table}
    with av.open(file, "w", format="mp4", container_options=options) as container:
        stream: VideoStream | None = None
        at = 0.0
        for picture, shown in zip(pictures, durations, strict=False):
            pixels = _even(picture.pixels)
            if stream is None:
                stream = _stream(container, pixels, durations, quality)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24" if pixels.ndim == 3 else "gray")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = round(at), Fraction(1, TICKS_A_SECOND)
            container.mux(stream.encode(frame))
            at += shown * TICKS_A_SECOND / 1000
        if stream is None:
            raise NotAcceptable("there is no image to show")
        container.mux(stream.encode(None))
    return file.getvalue()


def _stream(
    container: Any, pixels: Pixels, durations: Sequence[float], quality: int | None
) -> "VideoStream":
    mean = Fraction(1000 * len(durations) / sum(durations)).limit_denominator(1001)
    name = _encoder()
    # 17 can hardly be told from the original, 51 is the worst there is
    rate_factor = round(51 - 34 * (_DEFAULT_QUALITY if quality is None else quality) / 100)
    stream: VideoStream = container.add_stream(
        name,
        rate=mean,
        # a preset that does not look ahead: less memory, and the same bytes every time
        options={"preset": "superfast", "crf": str(rate_factor)} if name == "libx264" else {},
    )
    context = stream.codec_context
    stream.height, stream.width = pixels.shape[:2]
    stream.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, TICKS_A_SECOND)
    context.thread_count = 1
    context.gop_size = max(1, min(50, round(mean)))  # a second: from there on it can be sought
    # BT.709, as it is without a word about it where pictures are large, and said for the others
    context.colorspace = context.color_primaries = context.color_trc = 1
    return stream


@lru_cache(1)
def _encoder() -> str:
    import av

    found = next((name for name in _ENCODERS if name in av.codecs_available), None)
    if found is None:
        raise NotAcceptable("there is no encoder for H.264 here")
    return found


def _even(pixels: Pixels) -> Pixels:
    """With the last row and column again where their number is odd."""
    rows, columns = pixels.shape[:2]
    if rows % 2 or columns % 2:
        edges = ((0, rows % 2), (0, columns % 2), (0, 0))[: pixels.ndim]
        pixels = np.pad(pixels, edges, mode="edge")
    return np.ascontiguousarray(pixels)
