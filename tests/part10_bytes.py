"""PS3.10 files written byte by byte, so that they can also be wrong."""

import struct
import zlib

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"
MPEG4 = "1.2.840.10008.1.2.4.102"

UNDEFINED = 0xFFFFFFFF
ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")


def explicit(
    tag: int, vr: str, value: bytes = b"", *, length: int | None = None, order: str = "<"
) -> bytes:
    """An element in Explicit VR; `length` where it shall differ from that of `value`."""
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    size = len(value) if length is None else length
    if vr in LONG:
        return head + struct.pack(order + "HI", 0, size) + value
    return head + struct.pack(order + "H", size) + value


def implicit(tag: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, size) + value


def item(content: bytes = b"", *, delimited: bool = False) -> bytes:
    head = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED if delimited else len(content))
    return head + content + (ITEM_END if delimited else b"")


def encapsulated(*fragments: bytes, table: bytes = b"", tag: int = 0x7FE00010) -> bytes:
    items = item(table) + b"".join(item(fragment) for fragment in fragments)
    return explicit(tag, "OB", items + SEQUENCE_END, length=UNDEFINED)


def image(
    *, rows: int = 2, columns: int = 2, frames: int | None = None, bits: int = 8, samples: int = 1
) -> bytes:
    """The elements that say how large a frame is."""
    return (
        explicit(0x00280002, "US", struct.pack("<H", samples))
        + (b"" if frames is None else explicit(0x00280008, "IS", f"{frames:<6}".encode()))
        + explicit(0x00280010, "US", struct.pack("<H", rows))
        + explicit(0x00280011, "US", struct.pack("<H", columns))
        + explicit(0x00280100, "US", struct.pack("<H", bits))
    )


def part10(data_set: bytes, syntax: str = EXPLICIT, *, preamble: bytes = bytes(128)) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = explicit(0x00020001, "OB", b"\0\1") + explicit(0x00020010, "UI", uid)
    length = explicit(0x00020000, "UL", struct.pack("<I", len(meta)))
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data_set = deflater.compress(data_set) + deflater.flush()
    return preamble + b"DICM" + length + meta + data_set
