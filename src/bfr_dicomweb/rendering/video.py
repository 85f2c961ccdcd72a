"""Stored video: in which file format it is, as MP4, and as pictures (PS3.5 section 8.2.5 ff.)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum, auto
from fractions import Fraction
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO, RawIOBase
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotAcceptable, NotFound, UndecodablePixelData
from bfr_dicomweb.rendering import cine, viewport
from bfr_dicomweb.rendering.annotation import annotate
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.picture import Picture

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

# PS3.18 Table 8.7.4-1
FORMS: Final = (cine.MP4, "video/mpeg", "video/H265")
# What has to be made in memory of another file format
MAX_REMUXED_BYTES: Final = 512 << 20
# Of a stream that says nothing of it
DEFAULT_RATE: Final = Fraction(25)
_SYNC_BYTE: Final = 0x47
_PACKET_BYTES: Final = 188
# Enough to tell them apart
HEAD_BYTES: Final = 2 * _PACKET_BYTES
_MP4_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
# Of transfer syntaxes, behind 1.2.840.10008.1.2.4.
_MPEG_2: Final = frozenset({"100", "101"})
_HEVC: Final = frozenset({"107", "108"})
# By name of FFmpeg: those that browsers find in MP4 files
_PLAYED: Final = frozenset({"h264", "hevc", "av1", "vp9"})


class FileFormat(Enum):
    MP4 = auto()
    TRANSPORT_STREAM = auto()
    OTHER = auto()


def file_format_of(head: bytes) -> FileFormat:
    """
    Args:
        head: The first `HEAD_BYTES` of the stream, or all of a shorter one.
    """
    if head[4:8] in _MP4_BOXES:
        return FileFormat.MP4
    if head[:1] == bytes([_SYNC_BYTE]) == head[_PACKET_BYTES : _PACKET_BYTES + 1]:
        return FileFormat.TRANSPORT_STREAM
    return FileFormat.OTHER


class FragmentsFile(RawIOBase):
    """The fragments of a video, read as one file."""

    def __init__(self, fragments: Sequence[memoryview]) -> None:
        self._fragments = fragments
        self._size = sum(map(len, fragments))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        start = 0
        for fragment in self._fragments:
            within = self._at - start
            if 0 <= within < len(fragment):
                piece = fragment[within : within + len(target)]
                target[: len(piece)] = piece
                self._at += len(piece)
                return len(piece)
            start += len(fragment)
        return 0


@contextmanager
def _opened(stored: StoredObject) -> Iterator["InputContainer"]:
    """
    Raises:
        NotAcceptable: the extra is missing.
        UndecodablePixelData: it is no video, or what is done with it fails.
    """
    cine.require_installed()
    import av

    stream = FragmentsFile(stored.fragments(0))
    try:
        with av.open(stream, "r", metadata_errors="replace") as container:
            if not container.streams.video:
                raise UndecodablePixelData("there is no video in the stream")
            yield container
    except av.FFmpegError as error:
        raise UndecodablePixelData(f"the video cannot be read: {error.strerror}") from None


def as_mp4(stored: StoredObject) -> bytes:
    """The whole video as MP4 that browsers play: as it is encoded, or else as H.264.

    Raises:
        NotAcceptable: it is too large for that, or the extra is missing.
        UndecodablePixelData: it cannot be read.
    """
    with _opened(stored) as container:
        if container.streams.video[0].codec_context.name in _PLAYED:
            return _remuxed(container, "mp4")
    return encoded_anew(stored, Rendering())


def as_stream(stored: StoredObject) -> bytes:
    """HEVC in MP4 without the MP4 around it: what video/H265 names.

    Raises:
        NotAcceptable, UndecodablePixelData: as `as_mp4`.
    """
    with _opened(stored) as container:
        return _remuxed(container, "hevc")


def _remuxed(source: "InputContainer", file_format: str) -> bytes:
    """The packets as they are, in another file."""
    import av

    if (source.size or 0) > MAX_REMUXED_BYTES:
        raise NotAcceptable("the video is too large to be put into another file format")
    file = BytesIO()
    with av.open(file, "w", format=file_format) as container:
        found = source.streams.video[0]
        stream = container.add_stream_from_template(found)
        for packet in source.demux(found):
            if packet.dts is not None:  # not the empty one at the end
                packet.stream = stream
                container.mux(packet)
    return file.getvalue()


def is_as_stored(rendering: Rendering) -> bool:
    """Whether it asks for nothing that changes the pictures of a video."""
    return replace(rendering, quality=None) == Rendering()


def shown(stored: StoredObject, frame: Picture, index: int, rendering: Rendering) -> Picture:
    """A frame in the size and with the annotations that are asked for."""
    placed = viewport.place(frame, rendering)
    return annotate(placed, stored, index, rendering.annotations)


def encoded_anew(stored: StoredObject, rendering: Rendering) -> bytes:
    """As H.264, with what else is asked for.

    Raises:
        NotAcceptable, UndecodablePixelData: as `as_mp4`.
    """
    with _opened(stored) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        rate = _rate(stream)
        seconds = (container.duration or 0) / 1_000_000
        frames = max(1, stream.frames or round(seconds * rate))
        cine.require_size(cine.MP4, frames, context.width, context.height)
        # no more than promised, whatever comes
        decoded = islice(container.decode(stream), frames + 1)
        pictures = (
            shown(stored, _picture(frame), index, rendering) for index, frame in enumerate(decoded)
        )
        durations = [float(1000 / rate)] * (frames + 1)
        return cine.encode_mp4(pictures, durations, quality=rendering.quality)


def picture(stored: StoredObject, index: int, count: int) -> Picture:
    """One frame.

    Args:
        index: From 0.
        count: How many there are, as the attributes say.

    Raises:
        NotFound: there is no such frame.
        NotAcceptable: the extra is missing.
        UndecodablePixelData: it cannot be decoded.
    """
    for seconds in _STARTS if index else (None,):
        with _opened(stored) as container:
            found = _at(container, index, seconds)
        if found is not None:
            return found
    raise NotFound(f"there is no frame {index + 1} of {count}")


# Before a frame, from where it is looked for; None: from the beginning. Of a transport stream
# nobody knows before where it can be entered.
_STARTS: Final = (0, 5, None)


def _at(container: "InputContainer", index: int, seconds: int | None) -> Picture | None:
    """The frame, or the last one; None: there is none, or the stream was entered too late."""
    stream = container.streams.video[0]
    tick = stream.time_base or Fraction(1, cine.TICKS_A_SECOND)
    shown = 1 / (_rate(stream) * tick)
    # a frame that is nearer than half its time is the one
    wanted = (stream.start_time or 0) + (index - Fraction(1, 2)) * shown
    if seconds is not None:
        container.seek(max(0, round(wanted - seconds / tick)), stream=stream)
    last = None
    for frame in container.decode(stream):
        if last is None and seconds is not None and (frame.pts or 0) > wanted + shown:
            return None
        last = frame
        if frame.pts is not None and frame.pts >= wanted:
            break
    if last is None:
        return None
    return _picture(last)


def _picture(frame: "VideoFrame") -> Picture:
    return Picture(np.ascontiguousarray(frame.to_ndarray(format="rgb24"), np.uint8))


def _rate(stream: "VideoStream") -> Fraction:
    return stream.average_rate or stream.guessed_rate or DEFAULT_RATE


def forms_of(transfer_syntax_uid: str, stored_in: FileFormat) -> dict[str, bool]:
    """The media types that it can be sent as, and whether its stored bytes are that.

    Source: PS3.18 Table 8.7.4-1, and what the types mean elsewhere: an MP4 file is video/mp4
    whatever is in it, and nothing else is.
    """
    number = transfer_syntax_uid.removeprefix("1.2.840.10008.1.2.4.").partition(".")[0]
    forms = {cine.MP4: stored_in is FileFormat.MP4}
    if number in _HEVC:
        forms["video/H265"] = stored_in is FileFormat.OTHER
    if number in _MPEG_2:
        forms["video/mpeg"] = True
    return forms


def default_of(forms: Mapping[str, bool]) -> str:
    """MP4, which browsers play, unless it cannot be made here and something else is there."""
    if forms[cine.MP4] or cine.is_installed():
        return cine.MP4
    return next((name for name, is_stored in forms.items() if is_stored), cine.MP4)
