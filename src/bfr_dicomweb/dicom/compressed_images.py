"""What the Image Pixel attributes of a compressed frame have to be (PS3.5 section 8.2)."""

import struct
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.dicom import codestreams
from bfr_dicomweb.dicom.codestreams import Codestream, ColorSpace, Family
from bfr_dicomweb.dicom.frames import Source

_SYNTAX: Final = "1.2.840.10008.1.2.4."
# A header is looked for in so many bytes at the beginning of a frame.
HEADER_BYTES: Final = 1 << 22
# The end of a JPEG stream is looked for in so many bytes at the end of a frame.
TAIL_BYTES: Final = 1 << 10

# Families by the media types of PS3.18 Tables 8.7.3-5 and 10.5.2-1.
FAMILIES: Final = {
    "image/jpeg": {Family.JPEG},
    "image/jls": {Family.JPEG_LS},
    "image/jp2": {Family.JPEG_2000},
    "image/jpx": {Family.JPEG_2000},
    "image/j2c": {Family.JPEG_2000},
    "image/jph": {Family.HTJ2K},
    "image/jphc": {Family.HTJ2K},
    "image/jxl": {Family.JPEG_XL},
}
# Lossy Image Compression Method (0028,2114), PS3.3 section C.7.6.1.1.5.1
METHODS: Final = {
    Family.JPEG: "ISO_10918_1",
    Family.JPEG_LS: "ISO_14495_1",
    Family.JPEG_2000: "ISO_15444_1",
    Family.HTJ2K: "ISO_15444_15",
    Family.JPEG_XL: "ISO_18181_1",
}


@dataclass(frozen=True, slots=True)
class CompressedImage:
    """One compressed frame.

    Attributes:
        transfer_syntax_uids: Those that it may stand in; the first says most about it.
        bits: Of one sample.
        start: Of the bare codestream in what holds the frame; DICOM has no place for the boxes of
            a file around it, save for those of JPEG XL.
        stop: Of the same.
    """

    family: Family
    transfer_syntax_uids: tuple[str, ...]
    rows: int
    columns: int
    samples_per_pixel: int
    bits: int
    is_signed: bool
    photometric_interpretation: str
    is_lossy: bool
    start: int
    stop: int


def describe(source: Source, start: int, stop: int) -> CompressedImage:
    """The frame in these bytes.

    Raises:
        ValueError: It is no such frame, or none that DICOM can hold; the text says why.
    """
    start, stop = _bare(source, start, stop)
    head = source[start : min(stop, start + HEADER_BYTES)]
    if start + HEADER_BYTES < stop:
        head += source[max(start + HEADER_BYTES, stop - TAIL_BYTES) : stop]
    try:
        stream = codestreams.read_codestream(head)
        if stream.family is Family.JPEG_XL:
            stream = codestreams.with_jpeg_xl_metadata(stream)
        found = _described(stream, start, stop)
    except (IndexError, struct.error):
        raise ValueError("the header of the compressed frame is cut off") from None
    if not 0 < found.rows < 1 << 16 or not 0 < found.columns < 1 << 16:
        raise ValueError(f"{found.rows} x {found.columns} pixels are more than DICOM can tell")
    if found.samples_per_pixel not in (1, 3):
        raise ValueError(f"{found.samples_per_pixel} samples a pixel, of which DICOM has 1 or 3")
    if found.bits > 16:
        raise ValueError(f"samples of {found.bits} bits, of which DICOM takes 16 at most")
    return found


def _bare(source: Source, start: int, stop: int) -> tuple[int, int]:
    """Without the boxes of JP2, JPX and JPH (ISO/IEC 15444-1 Annex I)."""
    if source[start : start + 8] != codestreams.JP2_SIGNATURE:
        return start, stop
    for kind, first, end in codestreams.boxes(source, start, stop):
        if kind == b"jp2c":
            return first, end
    raise ValueError("a JPEG 2000 file without a codestream")


def _described(stream: Codestream, start: int, stop: int) -> CompressedImage:
    samples, bits = stream.components, stream.precision
    if samples is None or bits is None:
        raise ValueError("the compressed frame does not say what its samples are")
    uids, is_lossy, photometric = _READ[stream.family](stream)
    return CompressedImage(
        family=stream.family,
        transfer_syntax_uids=tuple(_SYNTAX + uid for uid in uids),
        rows=stream.rows,
        columns=stream.columns,
        samples_per_pixel=samples,
        bits=bits,
        is_signed=stream.signed,
        photometric_interpretation="MONOCHROME2" if samples == 1 else photometric,
        is_lossy=is_lossy,
        start=start,
        stop=stop,
    )


_Read = tuple[tuple[str, ...], bool, str]
# By the marker of the frame header (ISO/IEC 10918-1 Table B.1). Progressive ones have but
# retired transfer syntaxes; only in these such a picture stays as it is.
_PROCESSES: Final = {0xC0: ("50", "51"), 0xC1: ("51",), 0xC2: ("55", "53")}


def _read_jpeg(stream: Codestream) -> _Read:
    if stream.marker == 0xC3:
        first_order = codestreams.scan_parameters(stream.payload)[0] == 1
        is_ybr = stream.color_space is ColorSpace.YBR
        return ("70", "57") if first_order else ("57",), False, "YBR_FULL" if is_ybr else "RGB"
    if stream.marker not in _PROCESSES:
        raise ValueError("JPEG with arithmetic or hierarchical coding, which DICOM has retired")
    is_rgb = stream.color_space is ColorSpace.RGB
    return _PROCESSES[stream.marker], True, "RGB" if is_rgb else "YBR_FULL_422"


def _read_jpeg_ls(stream: Codestream) -> _Read:
    is_lossy = codestreams.scan_parameters(stream.payload)[0] > 0
    return ("81",) if is_lossy else ("80", "81"), is_lossy, "RGB"


def _read_jpeg_2000(stream: Codestream) -> _Read:
    coding = codestreams.coding_style(stream.payload)
    first, second = ("92", "93") if coding.is_part_2 else ("90", "91")
    uids = (first, second) if coding.is_reversible else (second,)
    return uids, not coding.is_reversible, _transformed(coding)


def _read_htj2k(stream: Codestream) -> _Read:
    coding = codestreams.coding_style(stream.payload)
    if not coding.is_reversible:
        return ("203",), True, _transformed(coding)
    uids = ("202", "201", "203") if coding.is_by_resolution else ("201", "203")
    return uids, False, _transformed(coding)


def _transformed(coding: codestreams.CodingStyle) -> str:
    if not coding.transforms_components:
        return "RGB"
    return "YBR_RCT" if coding.is_reversible else "YBR_ICT"


def _read_jpeg_xl(stream: Codestream) -> _Read:
    if stream.is_recompressed_jpeg:
        return ("111", "112"), True, "RGB"
    if stream.lossless:
        return ("110", "112"), False, "RGB"
    return ("112",), True, "XYB"


_READ: Final = {
    Family.JPEG: _read_jpeg,
    Family.JPEG_LS: _read_jpeg_ls,
    Family.JPEG_2000: _read_jpeg_2000,
    Family.HTJ2K: _read_htj2k,
    Family.JPEG_XL: _read_jpeg_xl,
}
