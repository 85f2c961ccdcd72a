"""A stored file in an uncompressed little-endian transfer syntax, streamed (PS3.5 Annex A).

The file is rewritten element by element from its own bytes, so that text keeps its
character set and numbers their spelling. What changes: the transfer syntax, VRs and
byte order, decoded pixel data with the attributes that describe it, and group lengths,
which are left out of the data set. The preamble is zeros: what it held may point at
bytes of the stored file that have moved (PS3.10 section 7.1).
"""

import mmap
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from bfr_dicomweb.dicom import pixels
from bfr_dicomweb.dicom.frames import join_fragments
from bfr_dicomweb.dicom.part10 import LONG_VRS, SHORT_VRS, BulkValue, Header
from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    Codec,
    lookup,
)
from bfr_dicomweb.errors import NotAcceptable, UndecodablePixelData

Source = bytes | mmap.mmap
Decode = Callable[[bytes, PixelDescription], bytes]

CHUNK_BYTES: Final = 512 * 1024
# What a file can be rewritten to, the better one first.
TARGETS: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
MAX_INFLATED_BYTES: Final = 512 * 1024 * 1024

_UNDEFINED: Final = 0xFFFFFFFF
_MAX_LENGTH: Final = 0xFFFFFFFE
_MAX_SHORT_LENGTH: Final = 0xFFFE
# Values up to here are copied when the rewriting is planned.
_SMALL_BYTES: Final = 4096

_INVALID_VR: Final = "??"
_ITEM: Final = "FFFEE000"
_ITEM_DELIMITER: Final = "FFFEE00D"
_SEQUENCE_DELIMITER: Final = "FFFEE0DD"
_PIXEL_DATA: Final = ("7FE00008", "7FE00009", "7FE00010")
# They locate fragments, which native pixel data does not have (PS3.3 section C.7.6.3.1.8).
_FRAGMENT_TABLES: Final = frozenset({"7FE00001", "7FE00002", "7FE00003"})
# Without their reference to a JPIP server these would be images without pixels.
_JPIP: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (94, 95, 204, 205))

# Bytes that Explicit VR Big Endian turns round together (PS3.5 section 7.3).
_WORDS: Final = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_TEXT_VRS: Final = SHORT_VRS - _WORDS.keys() - {"UI"} | {"UC", "UR", "UT"}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A PS3.10 file, or the data set of one, that is made while it is read.

    `chunks` can be read once; each is at most the size of a frame or half a mebibyte.
    It raises UndecodablePixelData where a later frame is broken.
    """

    size_bytes: int
    chunks: Iterator[bytes]


def rewrite(
    buffer: bytes | memoryview | mmap.mmap,
    header: Header,
    *,
    transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN,
    as_file: bool = True,
    decode: Decode = pixels.decode_frame,
) -> Rewritten:
    """Rewrite a stored file to a transfer syntax that every receiver understands.

    Args:
        buffer: The whole stored file; a mmap keeps memory flat.
        header: What `part10.read_header` made of it.
        transfer_syntax_uid: One of `TARGETS`.
        as_file: With preamble and file meta information, not the data set alone.
        decode: Makes native bytes of one encapsulated frame. The first frame is
            decoded before this returns, so that pixel data which nobody can decode
            is refused rather than broken off.

    Raises:
        UndecodablePixelData: there is no way to native pixel data.
        NotAcceptable: the file cannot be said in that transfer syntax.
    """
    source: Source = bytes(buffer) if isinstance(buffer, memoryview) else buffer
    syntax = lookup(header.transfer_syntax_uid)
    if syntax.uid in _JPIP:
        raise NotAcceptable("the pixel data is only referred to, not contained")
    if syntax.codec is Codec.NONE and header.frames is not None:
        raise UndecodablePixelData(f"no decoder for transfer syntax {syntax.uid}")
    if syntax.encapsulated and header.frames is not None and not header.frames.spans:
        raise UndecodablePixelData("the pixel data is not in fragments that can be told apart")
    out = _Output()
    if as_file:
        out.write(bytes(128) + b"DICM")
        out.write(_file_meta(source, header, transfer_syntax_uid))
    start = header.dataset_offset
    if header.deflated:
        source, start = _inflate(source, start), 0
    implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    rewriter = _Rewriter(source, header, decode, _implicit_header if implicit else _element_header)
    encoding = _Encoding(header.implicit_vr, header.big_endian)
    rewriter.data_set(out, _Level(encoding, len(source), header.attributes), start)
    return Rewritten(out.size, _chunks(out.pieces, source))


def _inflate(source: Source, start: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(source[start:], MAX_INFLATED_BYTES + 1)
    if len(inflated) > MAX_INFLATED_BYTES:
        raise NotAcceptable(f"the data set inflates to more than {MAX_INFLATED_BYTES} bytes")
    return inflated


# What is written


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Bytes of the source, with words of `unit` bytes turned round."""

    offset: int
    length: int
    unit: int = 1


@dataclass(frozen=True, slots=True)
class _DecodedFrames:
    """Frames that become native one after the other."""

    first: bytes
    spans: tuple[tuple[int, int], ...]
    description: PixelDescription
    decode: Decode

    @property
    def length(self) -> int:
        return (len(self.spans) * self.description.frame_bits + 7) // 8


_Piece = bytearray | _Stretch | _DecodedFrames


@dataclass(slots=True)
class _Output:
    """A plan of what to write, whose size is known before it is carried out."""

    pieces: list[_Piece] = field(default_factory=list)
    size: int = 0

    def write(self, content: bytes | bytearray) -> None:
        if not self.pieces or not isinstance(self.pieces[-1], bytearray):
            self.pieces.append(bytearray())
        last = self.pieces[-1]
        if isinstance(last, bytearray):
            last += content
        self.size += len(content)

    def plan(self, piece: _Stretch | _DecodedFrames) -> None:
        self.pieces.append(piece)
        self.size += piece.length

    def extend(self, other: "_Output") -> None:
        for piece in other.pieces:
            if isinstance(piece, bytearray):
                self.write(piece)
            else:
                self.plan(piece)


def _chunks(pieces: Iterable[_Piece], source: Source) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytearray):
            yield bytes(piece)
        elif isinstance(piece, _Stretch):
            yield from _stretch_chunks(piece, source)
        else:
            yield from _joined(_decoded(piece, source), piece.description.frame_bits)


def _stretch_chunks(stretch: _Stretch, source: Source) -> Iterator[bytes]:
    if isinstance(source, mmap.mmap) and hasattr(mmap, "MADV_SEQUENTIAL"):
        source.madvise(mmap.MADV_SEQUENTIAL)  # headers were read here and there
    end = stretch.offset + stretch.length
    for start in range(stretch.offset, end, CHUNK_BYTES):
        chunk = source[start : min(start + CHUNK_BYTES, end)]
        yield pixels.little_endian(chunk, stretch.unit)


def _decoded(frames: _DecodedFrames, source: Source) -> Iterator[bytes]:
    yield frames.first
    for start, stop in frames.spans[1:]:
        yield frames.decode(join_fragments(source[start:stop]), frames.description)


def _joined(frames: Iterable[bytes], frame_bits: int) -> Iterator[bytes]:
    """Packed frames follow each other without padding (PS3.5 section 8.1.1)."""
    if frame_bits % 8 == 0:
        yield from frames
        return
    kept = bits = 0
    for frame in frames:
        number = kept | (int.from_bytes(frame, "little") & ((1 << frame_bits) - 1)) << bits
        whole, bits = divmod(bits + frame_bits, 8)
        content = number.to_bytes(whole + 1, "little")
        kept = content[-1]
        yield content[:whole]
    if bits:
        yield bytes([kept])


def _element_header(key: str, vr: str, length: int) -> bytes:
    tag = struct.pack("<HH", int(key[:4], 16), int(key[4:], 16))
    if vr in SHORT_VRS and length <= _MAX_SHORT_LENGTH:
        return tag + vr.encode() + struct.pack("<H", length)
    # PS3.5 section 6.2.2: what is too long for its own VR is written as UN.
    long_vr = vr if vr in LONG_VRS else "UN"
    return tag + long_vr.encode() + struct.pack("<HI", 0, length)


def _implicit_header(key: str, _vr: str, length: int) -> bytes:
    return struct.pack("<HHI", int(key[:4], 16), int(key[4:], 16), length)


def _delimiter(key: str, length: int = 0) -> bytes:
    return struct.pack("<HHI", int(key[:4], 16), int(key[4:], 16), length)


def _padding(vr: str) -> bytes:
    return b" " if vr in _TEXT_VRS else b"\0"


def _encoded(attribute: Mapping[str, Any]) -> bytes:
    (value,) = attribute["Value"]
    if attribute["vr"] == "US":
        return struct.pack("<H", value)
    text = str(value).encode("ascii")
    return text + b" " * (len(text) % 2)


# What is read


@dataclass(frozen=True, slots=True)
class _Encoding:
    implicit_vr: bool = False
    big_endian: bool = False

    def number(self, source: Source, position: int, size: int) -> int:
        try:
            (number,) = _NUMBERS[size, self.big_endian](source, position)
        except struct.error:
            raise _unreadable(position) from None
        return int(number)

    def key(self, source: Source, position: int) -> str:
        return _key(source[position : position + 4], self.big_endian)


_NUMBERS: Final = {
    (2, False): struct.Struct("<H").unpack_from,
    (4, False): struct.Struct("<I").unpack_from,
    (2, True): struct.Struct(">H").unpack_from,
    (4, True): struct.Struct(">I").unpack_from,
}


@lru_cache(maxsize=16384)
def _key(tag: bytes, big_endian: bool) -> str:
    group, element = struct.unpack(">HH" if big_endian else "<HH", tag)
    return f"{group:04X}{element:04X}"


@dataclass(frozen=True, slots=True)
class _Element:
    """`vr` is the written one, and empty where none is written."""

    key: str
    vr: str
    start: int
    length: int

    @property
    def stop(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class _Level:
    """A data set or an item, and the DICOM JSON that was made of it."""

    encoding: _Encoding
    end: int
    attributes: Mapping[str, Any]
    path: str = ""
    delimited: bool = False


def _unreadable(position: int) -> NotAcceptable:
    return NotAcceptable(f"the data set is too irregular to be rewritten, at byte {position}")


def _element(source: Source, position: int, encoding: _Encoding) -> _Element:
    """The element that begins here; one whose VR is none has undefined length and no VR."""
    key = encoding.key(source, position)
    if encoding.implicit_vr or key.startswith("FFFE"):
        return _Element(key, "", position + 8, encoding.number(source, position + 4, 4))
    vr = source[position + 4 : position + 6].decode("latin-1")
    if vr in SHORT_VRS:
        return _Element(key, vr, position + 8, encoding.number(source, position + 6, 2))
    if vr in LONG_VRS:
        return _Element(key, vr, position + 12, encoding.number(source, position + 8, 4))
    return _Element(key, _INVALID_VR, position, _UNDEFINED)


def _guessed(source: Source, position: int, level: "_Level") -> _Element:
    """The form of header after which the data set goes on, where no VR tells it.

    VRs that are new some day have the long form (PS3.5 section 7.1.2).
    """
    key = level.encoding.key(source, position)
    forms = [(6, 2, 8), (4, 4, 8), (8, 4, 12)]
    if source[position + 4 : position + 6].isalpha():
        forms.reverse()
    for length_at, size, value_at in forms:
        length = level.encoding.number(source, position + length_at, size)
        element = _Element(key, "", position + value_at, length)
        if element.stop == level.end:
            return element
        if element.stop + 8 <= level.end:
            following = level.encoding.key(source, element.stop)
            if following in level.attributes or following.startswith("FFFE"):
                return element
    raise _unreadable(position)


def _file_meta(source: Source, header: Header, transfer_syntax_uid: str) -> bytes:
    out = bytearray()
    position = 132
    level = _Level(_Encoding(), header.dataset_offset, header.file_meta)
    while position < level.end:
        element = _element(source, position, level.encoding)
        if element.vr == _INVALID_VR:
            element = _guessed(source, position, level)
        value = source[element.start : element.stop]
        if element.key == "00020010":
            value = transfer_syntax_uid.encode()
        if element.key != "00020000":
            vr = element.vr or header.file_meta.get(element.key, {}).get("vr", "UN")
            value += _padding(vr) * (len(value) % 2)
            out += _element_header(element.key, vr, len(value)) + value
        position = element.stop
    return _element_header("00020000", "UL", 4) + struct.pack("<I", len(out)) + bytes(out)


class _Rewriter:
    """Walks over one stored data set; the walk mirrors that of `part10`."""

    def __init__(
        self,
        source: Source,
        header: Header,
        decode: Decode,
        element_header: Callable[[str, str, int], bytes],
    ) -> None:
        self.source = source
        self.header = header
        self.decode = decode
        self.element_header = element_header
        self.bulk: dict[str, BulkValue] = {value.path: value for value in header.bulk}

    def data_set(self, out: _Output, level: _Level, position: int) -> int:
        """Write what lies between `position` and the end of `level`; returns where that is."""
        last_key, stray = "", False
        description = self._decoded_here(level)
        changes = self._changes(level, description)
        while position + 8 <= level.end:
            element = self._next(level, position)
            if element is None:
                break
            if element.key.startswith("FFFE"):
                if level.delimited:
                    return position + 8 if element.key == _ITEM_DELIMITER else position
                # One that nothing asked for; with an item go the elements that belong to it.
                stray = element.key == _ITEM
                position = element.stop if stray else position + 8
                continue
            stray = stray and element.key <= last_key
            if stray:
                position = element.stop
                continue
            last_key = max(last_key, element.key)
            if self._write_changes(out, changes, element.key):
                position = element.stop
                continue
            position = self._element(out, level, element, description)
        return level.end

    def _next(self, level: _Level, position: int) -> _Element | None:
        """The element at `position`; None where garbage behind the pixel data begins."""
        try:
            element = _element(self.source, position, level.encoding)
            if element.vr == _INVALID_VR:
                element = _guessed(self.source, position, level)
            if element.length == _UNDEFINED or element.stop <= level.end:
                return element
            raise _unreadable(position)
        except NotAcceptable:
            if level.path or not level.attributes.keys() & set(_PIXEL_DATA):
                raise
            return None

    def _write_changes(self, out: _Output, changes: dict[str, Any], key: str) -> bool:
        """Write the changed attributes up to `key`; whether that is one of them."""
        due = sorted(tag for tag in changes if tag <= key)
        for tag in due:
            attribute = changes.pop(tag)
            self._write_value(out, tag, attribute["vr"], _encoded(attribute))
        return key in due

    def _decoded_here(self, level: _Level) -> PixelDescription | None:
        """How the pixel data of this level is stored, if it has to be decoded."""
        for key in _PIXEL_DATA:
            bulk = self.bulk.get(level.path + key)
            if bulk and self.source[bulk.offset - 4 : bulk.offset] == b"\xff\xff\xff\xff":
                return PixelDescription.from_attributes(
                    level.attributes, self.header.transfer_syntax_uid
                )
        return None

    def _changes(self, level: _Level, description: PixelDescription | None) -> dict[str, Any]:
        if description is None:
            return {}
        changes = pixels.native_changes(description)
        if level.path:
            changes.pop("00282110", None)  # of the image, not of its icon
        return {
            key: attribute
            for key, attribute in changes.items()
            if level.attributes.get(key) != attribute
        }

    def _element(
        self, out: _Output, level: _Level, element: _Element, description: PixelDescription | None
    ) -> int:
        key = element.key
        vr = element.vr or level.attributes.get(key, {}).get("vr", "UN")
        if element.length == _UNDEFINED:
            if key in _PIXEL_DATA and description is not None:
                return self._pixel_data(out, level, element, description)
            return self._sequence(out, level, element)
        skipped = key.endswith("0000") or (description and key in _FRAGMENT_TABLES)
        if skipped or (not level.path and key not in level.attributes):
            return element.stop
        if vr == "SQ":
            return self._sequence(out, level, element)
        self._copy(out, level, element, vr)
        return element.stop

    def _copy(self, out: _Output, level: _Level, element: _Element, vr: str) -> None:
        unit = 1
        if level.encoding.big_endian:
            unit = _WORDS.get(vr, 1)
            if element.key in _PIXEL_DATA:
                unit = pixels.swapped_unit(vr, self._bits_allocated(level))
        if element.length % unit:
            raise _unreadable(element.start)
        if element.length <= _SMALL_BYTES:
            value = self.source[element.start : element.stop]
            self._write_value(out, element.key, vr, pixels.little_endian(value, unit))
            return
        padding = element.length % 2
        out.write(self.element_header(element.key, vr, element.length + padding))
        out.plan(_Stretch(element.start, element.length, unit))
        out.write(_padding(vr) * padding)

    def _bits_allocated(self, level: _Level) -> int:
        values = level.attributes.get("00280100", {}).get("Value")
        bits = values[0] if values else 16
        return bits if bits in (8, 16, 32, 64) else 16

    def _write_value(self, out: _Output, key: str, vr: str, value: bytes) -> None:
        padding = _padding(vr) * (len(value) % 2)
        out.write(self.element_header(key, vr, len(value) + len(padding)) + value + padding)

    def _sequence(self, out: _Output, level: _Level, element: _Element) -> int:
        if element.vr not in ("", "SQ", "UN"):
            raise _unreadable(element.start)
        delimited = element.length == _UNDEFINED
        end = level.end if delimited else element.stop
        # What is in a UN is implicit and little endian (PS3.5 section 6.2.2).
        encoding = _Encoding(implicit_vr=True) if element.vr == "UN" else level.encoding
        items = level.attributes.get(element.key, {}).get("Value", [])
        content = _Output()
        position = self._items(content, replace(level, encoding=encoding, end=end), element, items)
        length = _UNDEFINED if delimited or content.size > _MAX_LENGTH else content.size
        out.write(self.element_header(element.key, "SQ", length))
        out.extend(content)
        if length == _UNDEFINED:
            out.write(_delimiter(_SEQUENCE_DELIMITER))
        return position

    def _items(
        self,
        out: _Output,
        level: _Level,
        element: _Element,
        items: list[Any],
    ) -> int:
        position, number = element.start, 0
        while position < level.end:
            head = _element(self.source, position, level.encoding)
            if head.key == _SEQUENCE_DELIMITER:
                position += 8
                if element.length == _UNDEFINED:
                    return position
                continue
            if head.key != _ITEM or number >= len(items):
                raise _unreadable(position)
            path = f"{level.path}{element.key}/{number + 1}/"
            position = self._item(out, level, head, path, items[number])
            number += 1
        return position

    def _item(self, out: _Output, level: _Level, head: _Element, path: str, attributes: Any) -> int:
        delimited = head.length == _UNDEFINED
        stop = level.end if delimited else head.stop
        if stop > level.end:
            raise _unreadable(head.start)
        encoding = self._written_encoding(head.start, stop, level.encoding)
        content = _Output()
        item = _Level(encoding, stop, attributes, path, delimited)
        position = self.data_set(content, item, head.start)
        length = _UNDEFINED if delimited or content.size > _MAX_LENGTH else content.size
        out.write(_delimiter(_ITEM, length))
        out.extend(content)
        if length == _UNDEFINED:
            out.write(_delimiter(_ITEM_DELIMITER))
        return position

    def _written_encoding(self, start: int, stop: int, encoding: _Encoding) -> _Encoding:
        """The other VR encoding where an item plainly is in that one (as in a UN sequence)."""
        if encoding.big_endian or stop - start < 8:
            return encoding
        vr = self.source[start + 4 : start + 6]
        written = vr.decode("latin-1") in SHORT_VRS | LONG_VRS
        fits = encoding.number(self.source, start + 4, 4) <= stop - start - 8
        if encoding.implicit_vr:
            return _Encoding(implicit_vr=not (written and not fits))
        return _Encoding(implicit_vr=fits and not written and not vr.isalpha())

    def _pixel_data(
        self, out: _Output, level: _Level, element: _Element, description: PixelDescription
    ) -> int:
        bulk = self.bulk[level.path + element.key]
        frames = self.header.frames
        if level.path:
            spans: list[tuple[int, int]] = [self._icon(bulk)]
        elif frames is None or not frames.spans:
            raise UndecodablePixelData("where one frame ends and the next begins is unknown")
        else:
            spans = [tuple(span) for span in struct.iter_unpack("<QQ", frames.spans)]
        first_start, first_stop = spans[0]
        first = self.decode(join_fragments(self.source[first_start:first_stop]), description)
        decoded = _DecodedFrames(first, tuple(spans), description, self.decode)
        padding = decoded.length % 2
        if decoded.length + padding > _MAX_LENGTH:
            raise NotAcceptable("the decoded pixel data is too long for one element")
        vr = {"7FE00008": "OF", "7FE00009": "OD"}.get(element.key)
        vr = vr or ("OW" if description.bits_allocated > 8 else "OB")
        out.write(self.element_header(element.key, vr, decoded.length + padding))
        out.plan(decoded)
        out.write(b"\0" * padding)
        return self._after_fragments(bulk)

    def _icon(self, bulk: BulkValue) -> tuple[int, int]:
        """From the first fragment, behind the offset table, to the last: one frame."""
        table = _element(self.source, bulk.offset, _Encoding())
        return table.stop, bulk.offset + bulk.length

    def _after_fragments(self, bulk: BulkValue) -> int:
        stop = bulk.offset + bulk.length
        delimiter = self.source[stop : stop + 4] == b"\xfe\xff\xdd\xe0"
        return stop + 8 if delimiter else stop
