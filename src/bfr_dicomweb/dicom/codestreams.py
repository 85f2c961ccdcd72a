"""What a compressed frame says of itself, read without decoding it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from bfr_dicomweb.dicom.frames import Source


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
    `lossless` is told of JPEG, whose colour transform depends on it, and of JPEG XL after
    `with_jpeg_xl_metadata`. `marker` is that of the frame header of JPEG and JPEG-LS.
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
    marker: int = 0
    is_recompressed_jpeg: bool = False
    uses_xyb: bool = False


JP2_SIGNATURE: Final = b"\x00\x00\x00\x0cjP  "
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
    if frame.startswith(JP2_SIGNATURE):
        return _read_jpeg_2000(b"".join(_boxes(frame, b"jp2c")))
    if frame.startswith(b"\xff\x0a"):
        return _read_jpeg_xl(frame, frame)
    if frame.startswith(_JXL_SIGNATURE):
        parts = b"".join(part[4:] for part in _boxes(frame, b"jxlp"))
        return _read_jpeg_xl(frame, b"".join(_boxes(frame, b"jxlc")) or parts)
    raise ValueError("no known codestream starts like this")


def _boxes(frame: bytes, wanted: bytes) -> Iterator[bytes]:
    """The contents of the boxes of one type at the top level."""
    for kind, start, stop in boxes(frame, 0, len(frame)):
        if kind == wanted:
            yield frame[start:stop]


def boxes(source: Source, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, first byte and end of the contents of each box (ISO/IEC 15444-1 Annex I).

    Raises:
        ValueError: A box is shorter than its own header.
    """
    while position + 8 <= end:
        length, kind = struct.unpack_from(">I4s", source, position)
        start = position + 8
        if length == 1 and start + 8 <= end:
            (length,) = struct.unpack_from(">Q", source, start)
            start += 8
        stop = end if length == 0 else position + length
        if stop < start:
            raise ValueError("a box is shorter than its own header")
        yield kind, start, min(stop, end)
        position = stop


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
        marker=marker,
    )


def scan_parameters(frame: bytes) -> tuple[int, int, int]:
    """The three bytes that end the header of the first scan of JPEG or JPEG-LS.

    They begin with the predictor of lossless JPEG (ISO/IEC 10918-1 section B.2.3), or with NEAR
    of JPEG-LS (ISO/IEC 14495-1 section C.2.3).

    Raises:
        ValueError: There is no scan.
    """
    for marker, _, content in _segments(frame):
        if marker == _START_OF_SCAN and len(content) >= 4:
            return content[-3], content[-2], content[-1]
    raise ValueError("a JPEG stream without a picture")


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


_START_OF_TILE: Final = 0x90
_CODING_STYLE: Final = 0x52
_TILE_LENGTHS: Final = 0x55
_RESOLUTION_FIRST: Final = 2


@dataclass(frozen=True, slots=True)
class CodingStyle:
    """
    Attributes:
        is_by_resolution: In the order that High-Throughput JPEG 2000 with RPCL asks for
            (PS3.5 section A.4.12), with the lengths of the tile parts.
    """

    is_reversible: bool
    transforms_components: bool
    is_by_resolution: bool
    is_part_2: bool


def coding_style(stream: bytes) -> CodingStyle:
    """Of a JPEG 2000 or HTJ2K codestream (ISO/IEC 15444-1 sections A.5 and A.6).

    Raises:
        ValueError: The main header does not tell.
    """
    (capabilities,) = struct.unpack_from(">H", stream, 6)
    position, content, has_lengths = 2, b"", False
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker == _START_OF_TILE:
            break
        (length,) = struct.unpack_from(">H", stream, position + 2)
        if marker == _CODING_STYLE:
            content = stream[position + 4 : position + 2 + length]
        has_lengths |= marker == _TILE_LENGTHS
        position += 2 + max(length, 2)
    if len(content) < 10:
        raise ValueError("a JPEG 2000 stream without a coding style")
    return CodingStyle(
        is_reversible=content[9] == 1,
        transforms_components=bool(content[4]),
        is_by_resolution=has_lengths and content[1] == _RESOLUTION_FIRST,
        is_part_2=bool(capabilities & 0x8000),
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


class _Bits:
    """Fields that are packed from the least significant bit up (ISO/IEC 18181-1 section 6.2)."""

    def __init__(self, packed: bytes) -> None:
        self._bits = int.from_bytes(packed, "little")
        self._left = 8 * len(packed)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("the header of a JPEG XL stream is cut off")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value

    def choice(self, *forms: tuple[int, int]) -> int:
        """U32 of the standard: one of four forms, each an offset and a number of bits."""
        offset, count = forms[self.take(2)]
        return offset + self.take(count)

    def enum(self) -> int:
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))

    def size(self) -> tuple[int, int]:
        """SizeHeader: rows and columns."""
        small = self.take(1)

        def side() -> int:
            return 8 * (1 + self.take(5)) if small else 1 + self.take(_JXL_SIZE_BITS[self.take(2)])

        rows = side()
        ratio = self.take(3)
        if not ratio:
            return rows, side()
        numerator, denominator = _JXL_RATIOS[ratio]
        return rows, rows * numerator // denominator

    def bit_depth(self) -> int:
        """BitDepth, without the exponent of floating point samples, which DICOM has none of."""
        if self.take(1):
            raise ValueError("a JPEG XL stream with floating point samples")
        return self.choice((8, 0), (10, 0), (12, 0), (1, 6))


def _read_jpeg_xl(frame: bytes, stream: bytes) -> Codestream:
    if not stream.startswith(b"\xff\x0a") or len(stream) < 12:
        raise ValueError("a JPEG XL file without a codestream")
    rows, columns = _Bits(stream[2:12]).size()
    return Codestream(family=Family.JPEG_XL, payload=frame, rows=rows, columns=columns)


_JXL_GREY: Final = 1
_JXL_HEADER_BYTES: Final = 256


def with_jpeg_xl_metadata(stream: Codestream) -> Codestream:
    """With what ImageMetadata says of the samples (ISO/IEC 18181-1 Annex D.3).

    A stream in the colour space XYB is lossy. Another one is taken to be lossless, unless it is
    a recompressed JPEG.

    Raises:
        ValueError: It has what DICOM has no place for: animation, transparency, fractions.
    """
    frame = stream.payload
    bare, is_recompressed = frame, False
    if frame.startswith(_JXL_SIGNATURE):
        kinds = {kind for kind, _, _ in boxes(frame, 0, len(frame))}
        is_recompressed = b"jbrd" in kinds
        parts = b"".join(part[4:] for part in _boxes(frame, b"jxlp"))
        bare = b"".join(_boxes(frame, b"jxlc")) or parts
    bits = _Bits(bare[2:_JXL_HEADER_BYTES])
    bits.size()
    precision, uses_xyb, is_grey = _image_metadata(bits)
    return replace(
        stream,
        components=1 if is_grey else 3,
        precision=precision,
        lossless=not uses_xyb and not is_recompressed,
        is_recompressed_jpeg=is_recompressed,
        uses_xyb=uses_xyb,
    )


def _image_metadata(bits: _Bits) -> tuple[int, bool, bool]:
    """Bits of a sample, whether the colours are in XYB, and whether there is but one."""
    if bits.take(1):
        return 8, True, False
    if bits.take(1):
        bits.take(3)  # orientation
        if bits.take(1):
            bits.size()
        if bits.take(1) or bits.take(1):
            raise ValueError("a JPEG XL stream with a preview or an animation")
    precision = bits.bit_depth()
    bits.take(1)
    if bits.choice((0, 0), (1, 0), (2, 4), (1, 12)):
        raise ValueError("a JPEG XL stream with more than its colours, such as transparency")
    uses_xyb = bool(bits.take(1))
    if bits.take(1):
        return precision, uses_xyb, False
    bits.take(1)
    return precision, uses_xyb, bits.enum() == _JXL_GREY
