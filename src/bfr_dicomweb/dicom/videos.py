"""What a video stream says of its pictures: MP4 with H.264 or HEVC, and MPEG-2."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.dicom.codestreams import boxes
from bfr_dicomweb.dicom.frames import Source, release

_SYNTAX: Final = "1.2.840.10008.1.2.4."
# The boxes that lead to the tables of a track (ISO/IEC 14496-12 section 6.2.3).
_CONTAINERS: Final = frozenset({b"trak", b"mdia", b"minf", b"stbl"})
# Sample entries that hold an AVC or HEVC configuration, and the box that holds it.
_CODINGS: Final = {b"avc1": b"avcC", b"avc3": b"avcC", b"hvc1": b"hvcC", b"hev1": b"hvcC"}
# Of a VisualSampleEntry, up to the boxes in it (ISO/IEC 14496-12 section 12.1.3).
_VISUAL_ENTRY_BYTES: Final = 78
# A movie box is read whole; that of hours of video has some ten thousands of samples.
_MOVIE_BYTES: Final = 1 << 26

# AVC: profile_idc of High and of Stereo High (ISO/IEC 14496-10 Annexes A and H).
_HIGH: Final = 100
_STEREO_HIGH: Final = 128
_LEVEL_4_1: Final = 41
_MAIN: Final = 1
_MAIN_10: Final = 2

# Frames a second by frame_rate_code, as fractions (ISO/IEC 13818-2 Table 6-4).
_FRAME_RATES: Final = {
    1: (24000, 1001),
    2: (24, 1),
    3: (25, 1),
    4: (30000, 1001),
    5: (30, 1),
    6: (50, 1),
    7: (60000, 1001),
    8: (60, 1),
}
_SEQUENCE_HEADER: Final = b"\x00\x00\x01\xb3"
_SEQUENCE_EXTENSION: Final = b"\x00\x00\x01\xb5"
_PICTURE: Final = b"\x00\x00\x01\x00"
# A packet of a transport stream, its first byte, and how a video stream begins in one.
_PACKET: Final = 188
_SYNC: Final = 0x47
_VIDEO_STREAMS: Final = frozenset(b"\x00\x00\x01" + bytes([code]) for code in range(0xE0, 0xF0))
# A sequence header is looked for in so many bytes.
_HEADER_BYTES: Final = 1 << 22
# So much is looked at at once.
_SCANNED_BYTES: Final = 1 << 22
# level_indication of profile_and_level_indication: above Main is what .100 cannot hold.
_MAIN_LEVEL: Final = 8


@dataclass(frozen=True, slots=True)
class Video:
    """
    Attributes:
        method: Lossy Image Compression Method (0028,2114).
        frame_time_ms: Mean time from one picture to the next.
        bits: Of one sample.
    """

    transfer_syntax_uids: tuple[str, ...]
    method: str
    rows: int
    columns: int
    number_of_frames: int
    frame_time_ms: float
    bits: int = 8


def describe(source: Source, start: int, stop: int) -> Video:
    """The video in these bytes.

    Raises:
        ValueError: It is in no form that is read here, or in none that DICOM has; says why.
    """
    try:
        if source[start + 4 : start + 8] in (b"ftyp", b"moov", b"free", b"mdat", b"wide", b"skip"):
            return _read_mp4(source, start, stop)
        if source[start : start + 3] == b"\x00\x00\x01":
            return _read_mpeg2(_chunks(source, start, stop))
        if {source[at] for at in range(start, min(stop, start + 3 * _PACKET), _PACKET)} == {_SYNC}:
            return _read_mpeg2(_video_of_packets(source, start, stop))
    except (struct.error, IndexError):
        raise ValueError("the header of the video is cut off") from None
    raise ValueError("the video is neither MP4 nor an MPEG-2 stream")


# --- MP4 (ISO/IEC 14496-12 and -15) ----------------------------------------------------------


def _read_mp4(source: Source, start: int, stop: int) -> Video:
    for kind, first, end in boxes(source, start, stop):
        if kind != b"moov":
            continue
        if end - first > _MOVIE_BYTES:
            raise ValueError("the movie box of the MP4 file is too long")
        movie = source[first:end]
        for track, track_first, track_end in boxes(movie, 0, len(movie)):
            if track == b"trak":
                found = _track(movie, track_first, track_end)
                if found is not None:
                    return found
    raise ValueError("the MP4 file has no track of H.264 or HEVC video")


def _track(movie: bytes, first: int, end: int) -> Video | None:
    tables = dict(_tables(movie, first, end))
    described = tables.get(b"stsd", b"")
    if len(described) < 16 or described[12:16] not in _CODINGS:
        return None
    entry = described[16:]
    columns, rows = struct.unpack_from(">HH", entry, 24)
    configured = _CODINGS[described[12:16]]
    for kind, start, stop in boxes(entry, _VISUAL_ENTRY_BYTES, len(entry)):
        if kind == configured:
            uids, method, bits = _CONFIGURED[configured](entry[start:stop])
            break
    else:
        raise ValueError("the MP4 file does not tell how its video is coded")
    (number_of_frames,) = struct.unpack_from(">I", tables.get(b"stsz", b""), 8)
    seconds = _duration(tables.get(b"mdhd", b""))
    if not number_of_frames or not seconds:
        raise ValueError("the MP4 file is divided into fragments or is empty")
    return Video(
        uids, method, rows, columns, number_of_frames, 1000 * seconds / number_of_frames, bits
    )


def _tables(movie: bytes, first: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    for kind, start, stop in boxes(movie, first, end):
        if kind in _CONTAINERS:
            yield from _tables(movie, start, stop)
        else:
            yield kind, movie[start:stop]


def _duration(header: bytes) -> float:
    """Seconds, of a MediaHeaderBox."""
    form, at = (">IQ", 20) if header[0] == 1 else (">II", 12)
    timescale, duration = struct.unpack_from(form, header, at)
    return float(duration / timescale) if timescale else 0.0


_Coding = tuple[tuple[str, ...], str, int]


def _avc(configuration: bytes) -> _Coding:
    """Of an AVCDecoderConfigurationRecord. What asks for more than a syntax has, goes to a next."""
    profile, level = configuration[1], configuration[3]
    if profile == _STEREO_HIGH:
        numbers = ["106"]
    elif profile > _HIGH:
        raise ValueError("H.264 of a profile above High, which no transfer syntax has")
    else:
        numbers = ["102", "103"] if level <= _LEVEL_4_1 else ["104", "105"]
    return _with_fragmentable(numbers), "ISO_14496_10", 8


def _hevc(configuration: bytes) -> _Coding:
    """Of an HEVCDecoderConfigurationRecord."""
    profile = configuration[1] & 0x1F
    if profile not in (_MAIN, _MAIN_10):
        raise ValueError("HEVC of another profile than Main and Main 10")
    is_main = profile == _MAIN
    uids = (_SYNTAX + "107", _SYNTAX + "108") if is_main else (_SYNTAX + "108",)
    return uids, "ISO_23008_2", 8 if is_main else 10


_CONFIGURED: Final = {b"avcC": _avc, b"hvcC": _hevc}


def _with_fragmentable(numbers: list[str]) -> tuple[str, ...]:
    """The syntaxes, and those of the same coding whose streams may be divided."""
    return tuple(_SYNTAX + number for number in numbers + [f"{number}.1" for number in numbers])


# --- MPEG-2 (ISO/IEC 13818-1 and -2) ---------------------------------------------------------


def _chunks(source: Source, start: int, stop: int) -> Iterator[bytes]:
    for first in range(start, stop, _SCANNED_BYTES):
        yield source[first : min(stop, first + _SCANNED_BYTES)]
        release(source)


def _video_of_packets(source: Source, start: int, stop: int) -> Iterator[bytes]:
    """The first video stream of a transport stream (ISO/IEC 13818-1 section 2.4.3)."""
    wanted: int | None = None
    at_once = _SCANNED_BYTES // _PACKET * _PACKET
    for first in range(start, stop, at_once):
        packets = source[first : min(stop, first + at_once)]
        found: list[bytes] = []
        for at in range(0, len(packets) - _PACKET + 1, _PACKET):
            payload = at + 4 + (1 + packets[at + 4] if packets[at + 3] & 0x20 else 0)
            number = (packets[at + 1] & 0x1F) << 8 | packets[at + 2]
            if wanted is None and packets[payload : payload + 4] in _VIDEO_STREAMS:
                wanted = number
            if number == wanted and packets[at + 3] & 0x10:
                found.append(packets[payload : at + _PACKET])
        yield b"".join(found)
        release(source)


def _read_mpeg2(stream: Iterator[bytes]) -> Video:
    head, tail, pictures = b"", b"", 0
    for chunk in stream:
        if len(head) < _HEADER_BYTES:
            head += chunk
        looked_at = tail + chunk
        pictures += looked_at.count(_PICTURE)
        tail = looked_at[-3:]
    at = head.find(_SEQUENCE_HEADER)
    if at < 0:
        raise ValueError("the MPEG stream has no MPEG-2 video")
    (size,) = struct.unpack_from(">I", head, at + 4)
    columns, rows, rate = size >> 20, size >> 8 & 0xFFF, size & 0xF
    extension = head.find(_SEQUENCE_EXTENSION, at)
    if extension < 0 or head[extension + 4] >> 4 != 1:
        raise ValueError("the MPEG stream is not MPEG-2 video")
    if rate not in _FRAME_RATES or not pictures:
        raise ValueError("the MPEG stream has no known frame rate, or no picture")
    level = head[extension + 5] >> 4
    uids = _with_fragmentable(["100", "101"] if level >= _MAIN_LEVEL else ["101"])
    frames, seconds = _FRAME_RATES[rate]
    return Video(uids, "ISO_13818_2", rows, columns, pictures, 1000 * seconds / frames)
