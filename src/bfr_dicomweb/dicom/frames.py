"""Where each frame of the pixel data lies (PS3.5 section 8 and Annex A.4)."""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

Source = bytes | mmap.mmap

ITEM: Final = b"\xfe\xff\x00\xe0"
DELIMITER: Final = b"\xfe\xff\xdd\xe0"
UNDEFINED_LENGTH: Final = 0xFFFFFFFF

# MPEG2, MPEG-4 AVC/H.264 and HEVC: the frames are in one stream, which may be cut anywhere.
VIDEO: Final = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"

# How a compressed frame begins: JPEG and JPEG-LS, JPEG 2000, JP2, JPEG XL bare and boxed.
SIGNATURES: Final = (
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"\x00\x00\x00\x0cjP  ",
    b"\xff\x0a",
    b"\x00\x00\x00\x0cJXL ",
)
# An RLE header counts at most 15 segments, and the first begins behind it (PS3.5 Annex G.5).
RLE_FIRST_SEGMENT: Final = struct.pack("<I", 64)

PIXEL_DATA: Final = ("7FE00010", "7FE00008", "7FE00009")

# Released to the system after so many items, so that a scan of gigabytes stays small in memory.
RELEASE_EVERY: Final = 4096


@dataclass(frozen=True, slots=True)
class Frames:
    """The frame table of one object.

    Attributes:
        tag: Of the pixel data: "7FE00010", "7FE00008" or "7FE00009".
        number_of_frames: Frames that can be asked for; the whole stream of a
            video is one.
        offset: Native: of the first byte of the first frame. Encapsulated: 0.
        frame_bits: Native: bits of one frame, which need not be whole bytes.
            Encapsulated, and where the frames cannot be told apart: 0.
        spans: Encapsulated: per frame 16 bytes, '<QQ': start at the item header
            of the first fragment, stop at the end of the last fragment. Empty
            for native, and where the frames cannot be told apart.
    """

    tag: str
    number_of_frames: int
    offset: int
    frame_bits: int
    spans: bytes

    def span(self, frame_index: int) -> tuple[int, int]:
        """Start and stop of an encapsulated frame; 0-based.

        Raises:
            IndexError: No span is known for this frame.
        """
        if not 0 <= frame_index < len(self.spans) // 16:
            raise IndexError(frame_index)
        start, stop = struct.unpack_from("<QQ", self.spans, frame_index * 16)
        return start, stop


@dataclass(frozen=True, slots=True)
class Fragments:
    """The items of encapsulated pixel data.

    Attributes:
        starts: Offsets of the item headers, the Basic Offset Table's left out.
        stops: Offsets of the first byte behind each item.
        table: Value of the Basic Offset Table item.
        base: Offset that both offset tables count from.
        end: Of the whole value, without the sequence delimiter.
        after: Of the first byte behind the sequence delimiter.
        delimited: Whether the sequence delimiter is there.
    """

    starts: list[int]
    stops: list[int]
    table: bytes
    base: int
    end: int
    after: int
    delimited: bool


@dataclass(frozen=True, slots=True)
class ExtendedOffsetTable:
    """Values of (7FE0,0001) and (7FE0,0002)."""

    offsets: Sequence[int]
    lengths: Sequence[int]


class BrokenFragments(ValueError):
    """The items do not follow each other; says where."""


def frame_count(attributes: dict[str, Any]) -> int:
    """Number of Frames (0028,0008) as DICOM JSON tells it; 1 where it is absent or senseless."""
    frames = _integer(attributes, "00280008")
    return 1 if frames is None or frames < 1 else frames


def join_fragments(span: bytes) -> bytes:
    """The encoded frame out of the bytes of its span, that is without the item headers."""
    if len(span) >= 8 and 8 + int.from_bytes(span[4:8], "little") == len(span):
        return span[8:]
    parts: list[bytes] = []
    position = 0
    while position + 8 <= len(span):
        stop = position + 8 + int.from_bytes(span[position + 4 : position + 8], "little")
        parts.append(span[position + 8 : stop])
        position = stop
    return b"".join(parts)


def scan_fragments(source: Source, start: int, end: int, *, limit: int) -> Fragments:
    """Walk over the items of encapsulated pixel data; reads nothing but their headers.

    Raises:
        BrokenFragments: An item is no item, does not end in time, or is one too many.
    """
    starts: list[int] = []
    stops: list[int] = []
    position, unpack = start, struct.Struct("<4sI").unpack_from
    tag = b""
    while position + 8 <= end:
        tag, length = unpack(source, position)
        if tag != ITEM:
            break
        stop = position + 8 + length
        if stop > end:
            raise BrokenFragments(
                f"item {len(starts) + 1} at byte {position} has only"
                f" {end - position - 8} of {length} bytes"
            )
        starts.append(position)
        stops.append(stop)
        if not len(starts) % RELEASE_EVERY:
            release(source)
            if len(starts) > limit:
                raise BrokenFragments(f"more than {limit} items")
        position = stop
    delimited = tag == DELIMITER
    if not delimited and position != end:
        raise BrokenFragments(f"byte {position} begins neither an item nor the end")
    table = source[starts[0] + 8 : stops[0]] if starts else b""
    return Fragments(
        starts=starts[1:],
        stops=stops[1:],
        table=table,
        base=stops[0] if stops else start,
        end=position,
        after=position + 8 if delimited else position,
        delimited=delimited,
    )


def release(source: Source) -> None:
    """Let go of the pages of a mapped file that have been looked at."""
    if isinstance(source, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        source.madvise(mmap.MADV_DONTNEED)


def read_sparsely(source: Source) -> None:
    """Keep the system from reading the neighbours of what is looked at."""
    if isinstance(source, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
        source.madvise(mmap.MADV_RANDOM)


def native_frames(
    tag: str, attributes: dict[str, Any], *, offset: int, length: int
) -> tuple[Frames, str]:
    """The table of native pixel data, and what is odd about it ("" for nothing).

    `length` is in bytes. Frames that are not wholly there are not counted.
    """
    count = frame_count(attributes)
    for samples in _samples_per_pixel(attributes):
        bits = _frame_bits(attributes, samples)
        if bits and bits * count <= length * 8:
            return Frames(tag, count, offset, bits, b""), ""
    if not bits or bits > length * 8:
        return Frames(tag, count, offset, 0, b""), (
            "pixel-data-too-short" if bits else "unknown-frame-size"
        )
    return Frames(tag, length * 8 // bits, offset, bits, b""), "pixel-data-too-short"


def _samples_per_pixel(attributes: dict[str, Any]) -> list[float]:
    """Candidates, the best first; chroma that is shared by pixels is stored once.

    Some writers name a subsampled interpretation and store every sample, so
    the larger frame is tried first: the data is long enough for one only.
    """
    samples = _integer(attributes, "00280002") or 1
    interpretation = attributes.get("00280004", {}).get("Value", [None])[0]
    if samples == 3 and interpretation in {"YBR_FULL_422", "YBR_PARTIAL_422"}:
        return [3, 2]
    if samples == 3 and interpretation == "YBR_PARTIAL_420":
        return [3, 1.5]
    return [samples]


def _frame_bits(attributes: dict[str, Any], samples: float) -> int:
    size = [_integer(attributes, key) or 0 for key in ("00280010", "00280011", "00280100")]
    return int(size[0] * size[1] * size[2] * samples) if min(size) > 0 else 0


def _integer(attributes: dict[str, Any], key: str) -> int | None:
    values = attributes.get(key, {}).get("Value")
    return values[0] if values and type(values[0]) is int else None


def encapsulated_frames(
    tag: str,
    attributes: dict[str, Any],
    *,
    source: Source,
    fragments: Fragments,
    extended: ExtendedOffsetTable | None,
    transfer_syntax_uid: str,
) -> tuple[Frames, list[str]]:
    """The table of encapsulated pixel data, and what is odd about it."""
    count, odd = frame_count(attributes), list[str]()
    if transfer_syntax_uid.startswith(VIDEO):
        count = 1
    firsts: list[int] | None = None
    if extended is not None:
        firsts = _by_table(extended.offsets, fragments, count)
        if firsts is None:
            odd.append("wrong-extended-offset-table")
    if firsts is None and fragments.table and count > 1:
        firsts = _by_table(_basic_offsets(fragments.table), fragments, count)
        if firsts is None:
            odd.append("wrong-basic-offset-table")
    if firsts is None:
        firsts = _by_counting(source, fragments, count, transfer_syntax_uid)
    if firsts is None:
        return Frames(tag, count, 0, 0, b""), [*odd, "frames-not-found"]
    return Frames(tag, count, 0, 0, _spans(fragments, firsts)), odd


def padding_record(sizes: Sequence[int]) -> bytes:
    """Which encapsulated frames end with a byte that is not theirs, since their size is odd.

    One bit a frame, the first in the least significant one; empty when there is none.
    """
    found = bytearray((len(sizes) + 7) // 8)
    for index, size in enumerate(sizes):
        found[index // 8] |= (size & 1) << index % 8
    return bytes(found) if any(found) else b""


def without_padding(frames: Frames, record: bytes) -> Frames:
    """The table with the padding left out that `padding_record` tells of."""
    spans = bytearray(frames.spans)
    for index in range(min(len(record) * 8, len(spans) // 16)):
        if record[index // 8] >> index % 8 & 1:
            (stop,) = struct.unpack_from("<Q", spans, index * 16 + 8)
            struct.pack_into("<Q", spans, index * 16 + 8, stop - 1)
    return replace(frames, spans=bytes(spans))


def _basic_offsets(table: bytes) -> Sequence[int]:
    return struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])


def _by_table(offsets: Sequence[int], fragments: Fragments, count: int) -> list[int] | None:
    """Index of the first fragment of each frame; None when the table cannot be right."""
    if len(offsets) != count or not offsets or offsets[0] != 0:
        return None
    index = {start - fragments.base: number for number, start in enumerate(fragments.starts)}
    firsts = [index.get(offset, -1) for offset in offsets]
    # Frames in another order than their fragments could not be told from a broken table.
    if firsts[0] != 0 or any(later <= earlier for earlier, later in pairwise(firsts)):
        return None
    return firsts


def _by_counting(
    source: Source, fragments: Fragments, count: int, transfer_syntax_uid: str
) -> list[int] | None:
    there = len(fragments.starts)
    if there == count:
        return list(range(count))
    if there < count:
        return None
    if count == 1:
        return [0]
    is_first = _begins_rle if transfer_syntax_uid == RLE_LOSSLESS else _begins_image
    heads = (source[start + 8 : start + 72] for start in fragments.starts)
    firsts = [number for number, head in enumerate(heads) if is_first(head)]
    release(source)
    return firsts if len(firsts) == count and firsts[0] == 0 else None


def _begins_image(head: bytes) -> bool:
    return head.startswith(SIGNATURES)


def _begins_rle(head: bytes) -> bool:
    segments = int.from_bytes(head[:4], "little")
    return (
        len(head) == 64
        and 1 <= segments <= 15
        and head[4:8] == RLE_FIRST_SEGMENT
        and not any(head[4 + 4 * segments :])
    )


def _spans(fragments: Fragments, firsts: list[int]) -> bytes:
    lasts = [first - 1 for first in firsts[1:]] + [len(fragments.stops) - 1]
    flat: list[int] = []
    for first, last in zip(firsts, lasts, strict=True):
        flat += (fragments.starts[first], fragments.stops[last])
    return struct.pack(f"<{len(flat)}Q", *flat)
