"""A stored file in another transfer syntax, streamed (PS3.5 Annex A).

The file is rewritten element by element from its own bytes, so that text keeps its
character set and numbers their spelling. What changes: the transfer syntax, VRs and
byte order, decoded or encoded pixel data with the attributes that describe it, and group
lengths, which are left out of the data set. The preamble is zeros: what it held may point
at bytes of the stored file that have moved (PS3.10 section 7.1).

Compressed frames are sent as they are made, each in one fragment. So the Basic Offset
Table in front of them is empty, as PS3.5 section A.4 permits, and the size is unknown.
"""

import mmap
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from bfr_dicomweb.dicom import data_sets, frames, pixels, transcoding
from bfr_dicomweb.dicom.encoding import BY_TRANSFER_SYNTAX, deflater
from bfr_dicomweb.dicom.frames import Frames, join_fragments
from bfr_dicomweb.dicom.part10 import LONG_VRS, SHORT_VRS, BulkValue, Header
from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.transcoding import Conversion, Convert
from bfr_dicomweb.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    Codec,
    lookup,
)
from bfr_dicomweb.errors import NotAcceptable, UndecodablePixelData

Source = bytes | mmap.mmap

CHUNK_BYTES: Final = 512 * 1024
# Uncompressed: what every file can be rewritten to, the better one first.
TARGETS: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
MAX_INFLATED_BYTES: Final = 512 * 1024 * 1024
# Pages of a mapped file are let go after so many bytes of frames.
_RELEASE_BYTES: Final = 8 << 20

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
WORD_BYTES: Final = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_TEXT_VRS: Final = SHORT_VRS - WORD_BYTES.keys() - {"UI"} | {"UC", "UR", "UT"}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A PS3.10 file, or the data set of one, that is made while it is read.

    `chunks` can be read once; each is at most the size of a frame or half a mebibyte.
    It raises UndecodablePixelData where a later frame is broken. `size_bytes` is None where
    it is known only in the end: of several compressed frames, and of deflated data sets.
    """

    size_bytes: int | None
    chunks: Iterator[bytes]


def rewrite(
    buffer: bytes | memoryview | mmap.mmap,
    header: Header,
    *,
    transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN,
    as_file: bool = True,
    convert: Convert = transcoding.convert_frames,
) -> Rewritten:
    """Rewrite a stored file to another transfer syntax.

    Args:
        buffer: The whole stored file; a mmap keeps memory flat.
        header: What `part10.read_header` made of it.
        transfer_syntax_uid: One of `TARGETS` or of `transcoding`.
        as_file: With preamble and file meta information, not the data set alone.
        convert: Makes the new frames. The first frame is made before this returns, so
            that pixel data which nobody can decode is refused rather than broken off; for
            a lossy target all are made once, as their size is told before them.

    Raises:
        UndecodablePixelData: there is no way to native pixel data.
        NotAcceptable: the file cannot be said in that transfer syntax.
    """
    source: Source = bytes(buffer) if isinstance(buffer, memoryview) else buffer
    _require_convertible(header, transfer_syntax_uid)
    start = header.dataset_offset
    stored = source
    if header.deflated:
        source, start = _inflate(source, start), 0
    rewriter = _Rewriter(source, header, convert, transfer_syntax_uid)
    encoding = _Encoding(header.implicit_vr, header.big_endian)
    root = _Level(encoding, len(source), header.attributes)
    rewriter.data_set(data_set := _Output(), root, start)
    out = _Output()
    if as_file:
        out.write(bytes(128) + b"DICM")
        out.write(_file_meta(stored, header, transfer_syntax_uid, rewriter.sop_instance_uid))
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        deflated = _deflated(_chunks(data_set.pieces, source))
        return Rewritten(None, chain(_chunks(out.pieces, stored), deflated))
    out.extend(data_set)
    return Rewritten(out.size if out.is_sized else None, _chunks(out.pieces, source))


def _require_convertible(header: Header, transfer_syntax_uid: str) -> None:
    syntax, table = lookup(header.transfer_syntax_uid), header.frames
    if syntax.uid in _JPIP:
        raise NotAcceptable("the pixel data is only referred to, not contained")
    if syntax.codec is Codec.NONE and table is not None:
        raise UndecodablePixelData(f"no decoder for transfer syntax {syntax.uid}")
    if syntax.encapsulated and table is not None and not table.spans:
        raise UndecodablePixelData("the pixel data is not in fragments that can be told apart")
    if transfer_syntax_uid not in BY_TRANSFER_SYNTAX:
        return
    if table is None:
        raise NotAcceptable("the object has no pixel data that could be compressed")
    if table.number_of_frames != frames.frame_count(header.attributes):
        raise UndecodablePixelData("some frames are missing")


def _deflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Of even length, as PS3.5 section A.5 has it."""
    deflating = deflater()
    size = 0
    for chunk in chunks:
        if made := deflating.compress(chunk):
            size += len(made)
            yield made
    last = deflating.flush()
    yield last + b"\0" * ((size + len(last)) % 2)


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
class _NativeFrames:
    """Frames that become native one after the other, without anything between them."""

    frames: Iterator[bytes]
    number: int
    frame_bits: int

    @property
    def length(self) -> int:
        return (self.number * self.frame_bits + 7) // 8


@dataclass(frozen=True, slots=True)
class _EncodedFrames:
    """Frames that are compressed one after the other, each in an item."""

    frames: Iterator[bytes]
    length: int | None


_Piece = bytearray | _Stretch | _NativeFrames | _EncodedFrames


@dataclass(slots=True)
class _Output:
    """A plan of what to write, whose size is known before it is carried out."""

    pieces: list[_Piece] = field(default_factory=list)
    size: int = 0
    is_sized: bool = True

    def write(self, content: bytes | bytearray) -> None:
        if not self.pieces or not isinstance(self.pieces[-1], bytearray):
            self.pieces.append(bytearray())
        last = self.pieces[-1]
        if isinstance(last, bytearray):
            last += content
        self.size += len(content)

    def plan(self, piece: _Stretch | _NativeFrames | _EncodedFrames) -> None:
        self.pieces.append(piece)
        if piece.length is None:
            self.is_sized = False
        else:
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
        elif isinstance(piece, _NativeFrames):
            yield from _joined(piece.frames, piece.frame_bits)
        else:
            yield from (_item(frame) for frame in piece.frames)


def _stretch_chunks(stretch: _Stretch, source: Source) -> Iterator[bytes]:
    if isinstance(source, mmap.mmap) and hasattr(mmap, "MADV_SEQUENTIAL"):
        source.madvise(mmap.MADV_SEQUENTIAL)  # headers were read here and there
    end = stretch.offset + stretch.length
    for start in range(stretch.offset, end, CHUNK_BYTES):
        chunk = source[start : min(start + CHUNK_BYTES, end)]
        yield pixels.little_endian(chunk, stretch.unit)
        if (start - stretch.offset) % _RELEASE_BYTES == 0:
            frames.release(source)


def _item(frame: bytes) -> bytes:
    padding = len(frame) % 2
    return _delimiter(_ITEM, len(frame) + padding) + frame + b"\0" * padding


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


def _file_meta(
    source: Source, header: Header, transfer_syntax_uid: str, sop_instance_uid: str | None
) -> bytes:
    """`sop_instance_uid` is None where the object stays the one that it is."""
    changed = {"00020010": transfer_syntax_uid.encode()}
    if sop_instance_uid is not None:
        changed["00020003"] = sop_instance_uid.encode()
    out = bytearray()
    position = 132
    level = _Level(_Encoding(), header.dataset_offset, header.file_meta)
    while position < level.end:
        element = _element(source, position, level.encoding)
        if element.vr == _INVALID_VR:
            element = _guessed(source, position, level)
        value = changed.get(element.key) or source[element.start : element.stop]
        if element.key != "00020000":
            vr = element.vr or header.file_meta.get(element.key, {}).get("vr", "UN")
            value += _padding(vr) * (len(value) % 2)
            out += _element_header(element.key, vr, len(value)) + value
        position = element.stop
    return _element_header("00020000", "UL", 4) + struct.pack("<I", len(out)) + bytes(out)


class _Rewriter:
    """Walks over one stored data set; the walk mirrors that of `part10`."""

    def __init__(
        self, source: Source, header: Header, convert: Convert, transfer_syntax_uid: str
    ) -> None:
        self.source = source
        self.header = header
        self.convert = convert
        self.target = transfer_syntax_uid
        implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
        self.element_header = _implicit_header if implicit else _element_header
        self.written = IMPLICIT_VR_LITTLE_ENDIAN if implicit else EXPLICIT_VR_LITTLE_ENDIAN
        self.bulk: dict[str, BulkValue] = {value.path: value for value in header.bulk}
        self.sop_instance_uid: str | None = None
        """Of the other image that a lossy target makes."""

    def data_set(self, out: _Output, level: _Level, position: int) -> int:
        """Write what lies between `position` and the end of `level`; returns where that is."""
        last_key, stray = "", False
        conversion = self._converted_here(level)
        changes = self._changes(level, conversion)
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
                position = self._behind(level, element)
                continue
            position = self._element(out, level, element, conversion)
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
            out.write(data_sets.encode({tag: changes.pop(tag)}, self.written))
        return key in due

    def _behind(self, level: _Level, element: _Element) -> int:
        if element.length == _UNDEFINED:
            return self._sequence(_Output(), level, element)
        return element.stop

    def _converted_here(self, level: _Level) -> Conversion | None:
        """What has to be done to the pixel data of this level; None: nothing, or there is none.

        Pixel data in sequences (icons) becomes native, whatever that of the image becomes.
        """
        table = self.header.frames
        if not level.path and self.target in BY_TRANSFER_SYNTAX and table is not None:
            conversion = Conversion(self._description(level, table), self.target)
            conversion.require_encoder()
            return conversion
        for key in _PIXEL_DATA:
            bulk = self.bulk.get(level.path + key)
            if bulk and self.source[bulk.offset - 4 : bulk.offset] == b"\xff\xff\xff\xff":
                return Conversion(
                    PixelDescription.from_attributes(
                        level.attributes, self.header.transfer_syntax_uid
                    )
                )
        return None

    def _description(self, level: _Level, table: Frames) -> PixelDescription:
        """Of frames as `_frames` gives them."""
        uid = self.header.transfer_syntax_uid
        described = PixelDescription.from_attributes(level.attributes, uid)
        if not table.frame_bits:
            return described
        explicit = replace(described, transfer_syntax=lookup(EXPLICIT_VR_LITTLE_ENDIAN))
        return explicit.stored_in(table.frame_bits)

    def _changes(self, level: _Level, conversion: Conversion | None) -> dict[str, Any]:
        if conversion is None:
            return {}
        changes = transcoding.changes(conversion)
        if level.path:
            changes.pop("00282110", None)  # of the image, not of its icon
        elif conversion.target in transcoding.LOSSY:
            changes |= self._lossy_changes(conversion)
        return {
            key: attribute
            for key, attribute in changes.items()
            if level.attributes.get(key) != attribute
        }

    def _element(
        self, out: _Output, level: _Level, element: _Element, conversion: Conversion | None
    ) -> int:
        key = element.key
        vr = element.vr or level.attributes.get(key, {}).get("vr", "UN")
        if key in _PIXEL_DATA and conversion is not None and conversion.encoder is not None:
            return self._encapsulated(out, element, conversion)
        if element.length == _UNDEFINED:
            if key in _PIXEL_DATA and conversion is not None:
                return self._native(out, level, element, conversion)
            return self._sequence(out, level, element)
        skipped = key.endswith("0000") or (conversion and key in _FRAGMENT_TABLES)
        if skipped or (not level.path and key not in level.attributes):
            return element.stop
        if vr == "SQ":
            return self._sequence(out, level, element)
        self._copy(out, level, element, vr)
        return element.stop

    def _copy(self, out: _Output, level: _Level, element: _Element, vr: str) -> None:
        unit = 1
        if level.encoding.big_endian:
            unit = WORD_BYTES.get(vr, 1)
            if element.key in _PIXEL_DATA:
                unit = pixels.swapped_unit(vr, self._bits_allocated(level.attributes))
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

    def _bits_allocated(self, attributes: Mapping[str, Any]) -> int:
        values = attributes.get("00280100", {}).get("Value")
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

    def _native(
        self, out: _Output, level: _Level, element: _Element, conversion: Conversion
    ) -> int:
        bulk = self.bulk[level.path + element.key]
        stored, number = self._frames(), 1
        if level.path:
            start, stop = self._icon(bulk)
            stored = iter((join_fragments(self.source[start:stop]),))
        elif self.header.frames is not None:
            number = self.header.frames.number_of_frames
        description = conversion.description
        native = _NativeFrames(
            self._begun(stored, conversion, level.path), number, description.frame_bits
        )
        padding = native.length % 2
        if native.length + padding > _MAX_LENGTH:
            raise NotAcceptable("the decoded pixel data is too long for one element")
        vr = {"7FE00008": "OF", "7FE00009": "OD"}.get(element.key)
        vr = vr or ("OW" if description.bits_allocated > 8 else "OB")
        out.write(self.element_header(element.key, vr, native.length + padding))
        out.plan(native)
        out.write(b"\0" * padding)
        return self._after_fragments(bulk)

    def _encapsulated(self, out: _Output, element: _Element, conversion: Conversion) -> int:
        table = self.header.frames
        single = table is not None and table.number_of_frames == 1
        encoded = self._begun(self._frames(), conversion, "")
        length = None
        if single:
            frame = next(encoded)
            encoded, length = iter((frame,)), len(_item(frame))
        out.write(self.element_header(element.key, "OB", _UNDEFINED) + _delimiter(_ITEM))
        out.plan(_EncodedFrames(encoded, length))
        out.write(_delimiter(_SEQUENCE_DELIMITER))
        if element.length == _UNDEFINED:
            return self._after_fragments(self.bulk[element.key])
        return element.stop

    def _begun(self, stored: Iterator[bytes], conversion: Conversion, path: str) -> Iterator[bytes]:
        """The new frames, of which the first is already there."""
        made = self.convert(stored, conversion, path)
        first = next(made, None)
        if first is None:
            raise UndecodablePixelData("there are no frames")
        return chain((first,), made)

    def _frames(self) -> Iterator[bytes]:
        """The frames as `decode_frame` takes them; uncompressed ones are little endian."""
        table = self.header.frames
        if table is None or not (table.spans or table.frame_bits):
            raise UndecodablePixelData("where one frame ends and the next begins is unknown")
        read = 0
        for index in range(table.number_of_frames):
            if table.frame_bits:
                frame = self._native_frame(table, index)
            else:
                start, stop = table.span(index)
                frame = join_fragments(self.source[start:stop])
            read += len(frame)
            if read > _RELEASE_BYTES:
                frames.release(self.source)
                read = 0
            yield frame

    def _native_frame(self, table: Frames, index: int) -> bytes:
        unit = 8  # bits
        if self.header.big_endian:
            bits = self._bits_allocated(self.header.attributes)
            vr = self.header.attributes.get(table.tag, {}).get("vr", "OW")
            unit = 8 * pixels.swapped_unit(vr, bits)
        first_bit = index * table.frame_bits
        start = first_bit // unit * unit
        stop = -(-(first_bit + table.frame_bits) // unit) * unit
        words = self.source[table.offset + start // 8 : table.offset + stop // 8]
        turned = pixels.little_endian(words, unit // 8)
        return pixels.packed_frame(turned, first_bit - start, table.frame_bits)

    def _lossy_changes(self, conversion: Conversion) -> dict[str, Any]:
        made = self.convert(self._frames(), conversion, "")
        sizes = [len(frame) for frame in made]
        image = conversion.image
        before = len(sizes) * image.rows * image.columns * image.samples_per_pixel
        ratio = before * image.bits_allocated / 8 / max(1, sum(sizes))
        changes = transcoding.lossy_changes(self.header.attributes, conversion, ratio=ratio)
        self.sop_instance_uid = changes["00080018"]["Value"][0]
        return changes

    def _icon(self, bulk: BulkValue) -> tuple[int, int]:
        """From the first fragment, behind the offset table, to the last: one frame."""
        table = _element(self.source, bulk.offset, _Encoding())
        return table.stop, bulk.offset + bulk.length

    def _after_fragments(self, bulk: BulkValue) -> int:
        stop = bulk.offset + bulk.length
        delimiter = self.source[stop : stop + 4] == b"\xfe\xff\xdd\xe0"
        return stop + 8 if delimiter else stop
