"""What a compressed frame says of itself, read without decoding it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final


class Family(Enum):
    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    HTJ2K = "HTJ2K"
    JPEG_XL = "JPEG XL"


class ColorSpace(Enum):
    """What the stream declares for three components; None of these when it is silent."""

    RGB = "RGB"
    YBR = "YBR"


@dataclass(frozen=True, slots=True)
class Codestream:
    """The header of one compressed frame.

    `payload` is the bare codestream: without the boxes of a file format around it,
    because those may ask for palettes and colour transforms that DICOM forbids.
    `lossless` is told of JPEG only, whose colour transform depends on it.
    """

    family: Family
    payload: bytes
    rows: int
    columns: int
    components: int | None = None
    precision: int | None = None
    signed: bool = False
    lossless: bool = False
    color_space: ColorSpace | None = None


_JP2_SIGNATURE: Final = b"\x00\x00\x00\x0cjP  "
_JXL_SIGNATURE: Final = b"\x00\x00\x00\x0cJXL "
_J2K_START: Final = b"\xff\x4f\xff\x51"

# ISO/IEC 10918-1 Table B.1 without DHT, JPG and DAC; 0xF7 is that of ISO/IEC 14495-1.
_START_OF_FRAME: Final = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_LOSSLESS_FRAMES: Final = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9


def read_codestream(frame: bytes) -> Codestream:
    """The header of a JPEG, JPEG-LS, JPEG 2000, HTJ2K or JPEG XL frame.

    The stream tells its family by itself, as some writers name the wrong transfer
    syntax.

    Raises:
        ValueError: this is none of them, or its header is broken; the text says how.
    """
    if frame.startswith(b"\xff\xd8"):
        return _read_jpeg(frame)
    if frame.startswith(_J2K_START):
        return _read_jpeg_2000(frame)
    if frame.startswith(_JP2_SIGNATURE):
        return _read_jpeg_2000(b"".join(_boxes(frame, b"jp2c")))
    if frame.startswith(b"\xff\x0a"):
        return _read_jpeg_xl(frame, frame)
    if frame.startswith(_JXL_SIGNATURE):
        parts = b"".join(part[4:] for part in _boxes(frame, b"jxlp"))
        return _read_jpeg_xl(frame, b"".join(_boxes(frame, b"jxlc")) or parts)
    raise ValueError("no known codestream starts like this")


def _boxes(frame: bytes, wanted: bytes) -> Iterator[bytes]:
    """The contents of the boxes of one type at the top level (ISO/IEC 15444-1 Annex I)."""
    position = 0
    while position + 8 <= len(frame):
        length, kind = struct.unpack_from(">I4s", frame, position)
        start = position + 8
        if length == 1 and start + 8 <= len(frame):
            (length,) = struct.unpack_from(">Q", frame, start)
            start += 8
        end = len(frame) if length == 0 else position + length
        if end < start:
            raise ValueError("a box is shorter than its own header")
        if kind == wanted:
            yield frame[start:end]
        position = end


def _segments(frame: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Marker, position and content of each segment up to and with the header of the first scan.

    Source: ISO/IEC 10918-1 section B.1.1.
    """
    position = 2
    marker = 0
    while position + 4 <= len(frame) and marker != _START_OF_SCAN:
        if frame[position] != 0xFF:
            raise ValueError("bytes between two JPEG marker segments")
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _STANDALONE:
            position += 2
        elif marker == _END_OF_IMAGE:
            return
        else:
            (length,) = struct.unpack_from(">H", frame, position + 2)
            yield marker, position, frame[position + 4 : position + 2 + length]
            position += 2 + max(length, 2)


def _read_jpeg(frame: bytes) -> Codestream:
    declared: ColorSpace | None = None
    header: Codestream | None = None
    for marker, position, content in _segments(frame):
        if marker == 0xE0 and content.startswith(b"JFIF\x00"):
            declared = declared or ColorSpace.YBR
        elif marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12:
            declared = {0: ColorSpace.RGB, 1: ColorSpace.YBR}.get(content[11], declared)
        elif marker in _START_OF_FRAME:
            header = _jpeg_frame_header(frame, marker, content)
        elif marker == _START_OF_SCAN and header is not None:
            # Coded data never look like this. Decoders paint over what is missing, and
            # CharLS needs many seconds to miss it.
            if frame.rfind(b"\xff\xd9") < position:
                raise ValueError("a JPEG stream without its end: it is cut off")
            return replace(header, color_space=header.color_space or declared)
    raise ValueError("a JPEG stream without a picture")


def _jpeg_frame_header(frame: bytes, marker: int, content: bytes) -> Codestream:
    if len(content) < 6 or len(content) < 6 + 3 * content[5]:
        raise ValueError("a JPEG frame header is cut off")
    precision, rows, columns, components = struct.unpack_from(">BHHB", content)
    identifiers = bytes(content[6 + 3 * i] for i in range(components))
    return Codestream(
        family=Family.JPEG_LS if marker == 0xF7 else Family.JPEG,
        payload=frame,
        rows=rows,
        columns=columns,
        components=components,
        precision=precision,
        lossless=marker in _LOSSLESS_FRAMES,
        color_space=ColorSpace.RGB if identifiers.upper() == b"RGB" else None,
    )


def _read_jpeg_2000(stream: bytes) -> Codestream:
    """The SIZ segment (ISO/IEC 15444-1 section A.5.1); Rsiz bit 14 announces Part 15."""
    if not stream.startswith(_J2K_START) or len(stream) < 45:
        raise ValueError("a JPEG 2000 stream without image and tile sizes")
    capabilities, right, bottom, left, top = struct.unpack_from(">H4I", stream, 6)
    (components,) = struct.unpack_from(">H", stream, 40)
    depths = stream[42 : 42 + 3 * components : 3]
    if not components or len(set(depths)) != 1:
        raise ValueError("the JPEG 2000 components differ in precision")
    if max(stream[43 : 42 + 3 * components : 3] + stream[44 : 42 + 3 * components : 3]) != 1:
        raise ValueError("the JPEG 2000 components are subsampled")
    return Codestream(
        family=Family.HTJ2K if capabilities & 0x4000 else Family.JPEG_2000,
        payload=stream,
        rows=bottom - top,
        columns=right - left,
        components=components,
        precision=(depths[0] & 0x7F) + 1,
        signed=bool(depths[0] & 0x80),
    )


# Width for a height, ISO/IEC 18181-1 table "ratio".
_JXL_RATIOS: Final = {
    1: (1, 1),
    2: (12, 10),
    3: (4, 3),
    4: (3, 2),
    5: (16, 9),
    6: (5, 4),
    7: (2, 1),
}
_JXL_SIZE_BITS: Final = (9, 13, 18, 30)


def _read_jpeg_xl(frame: bytes, stream: bytes) -> Codestream:
    """The SizeHeader, which is packed from the least significant bit up."""
    if not stream.startswith(b"\xff\x0a") or len(stream) < 12:
        raise ValueError("a JPEG XL file without a codestream")
    bits = int.from_bytes(stream[2:12], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def size() -> int:
        return 8 * (1 + take(5)) if small else 1 + take(_JXL_SIZE_BITS[take(2)])

    rows = size()
    ratio = take(3)
    if ratio:
        numerator, denominator = _JXL_RATIOS[ratio]
        columns = rows * numerator // denominator
    else:
        columns = size()
    return Codestream(family=Family.JPEG_XL, payload=frame, rows=rows, columns=columns)
