"""The header of a PS3.10 file in one pass: DICOM JSON, byte ranges of bulk values, frame table.

A recognised element header (tag and VR, or the tag alone in Implicit VR) is looked up in a
table which says where its length is and what makes JSON of its value. All that is not of
the usual kind goes the slow way through `_Reader._unusual`: sequences, large values, text
outside of ASCII, and whatever is broken. Values of bulk data are never read.
"""

import mmap
import struct
import zlib
from array import array
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson
from pydicom.datadict import dictionary_VR, private_dictionary_VR

from bfr_dicomweb.dicom import character_sets, json_values
from bfr_dicomweb.dicom.character_sets import CharacterSet
from bfr_dicomweb.dicom.frames import (
    PIXEL_DATA,
    UNDEFINED_LENGTH,
    BrokenFragments,
    ExtendedOffsetTable,
    Fragments,
    Frames,
    Source,
    encapsulated_frames,
    frame_count,
    native_frames,
    read_sparsely,
    release,
    scan_fragments,
    without_padding,
)
from bfr_dicomweb.errors import InvalidObject

__all__ = [
    "DEFAULT_LIMITS",
    "MARKER",
    "BulkValue",
    "Finding",
    "Frames",
    "Header",
    "Limits",
    "bulk_from_bytes",
    "bulk_to_bytes",
    "frame_count",
    "read_header",
    "write_file_meta",
]

MARKER: Final = "\0/bulkdata/"
"""What a BulkDataURI starts with; the NUL stands for the URL of the instance."""

IMPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
# Deflated Explicit VR Little Endian, and the JPIP syntaxes whose data set is deflated.
DEFLATED: Final = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)

# Header forms of Explicit VR, PS3.5 Tables 7.1-1 and 7.1-2.
LONG_VRS: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
SHORT_VRS: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN"}
    | {"SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"}
)
WRITTEN_VRS: Final = LONG_VRS | SHORT_VRS
# VRs whose value is bytes in DICOM JSON, with the size of the word that byte order turns.
BINARY: Final[dict[str, int]] = {
    "OB": 1,
    "OD": 8,
    "OF": 4,
    "OL": 4,
    "OV": 8,
    "OW": 2,
    "UN": 1,
}
# VRs that may be replaced by a BulkDataURI (PS3.18 section 10.4.3.3.2), besides BINARY.
REPLACEABLE: Final = frozenset(
    {"DS", "FD", "FL", "IS", "LT", "SL", "SS", "ST", "SV", "UC", "UL", "US", "UT", "UV"}
)
INLINE_BYTES: Final = 1024
VALUE_BYTES: Final = 65536
# Lengths that the fast way takes: even ones that are not large.
USUAL_LENGTHS: Final = frozenset(range(0, INLINE_BYTES + 1, 2))

ITEM: Final = "FFFEE000"
ITEM_DELIMITER: Final = "FFFEE00D"
SEQUENCE_DELIMITER: Final = "FFFEE0DD"
ITEM_TAGS: Final = frozenset({ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER})
# Extended Offset Table and its lengths (PS3.3 section C.7.6.3.1.8).
OFFSET_TABLES: Final = ("7FE00001", "7FE00002")
# Encapsulated Document and its length without padding (PS3.3 section C.24.2).
DOCUMENT: Final = "00420011"
DOCUMENT_LENGTH: Final = "00420015"
# Private Information Creator UID and Private Information (PS3.10 Table 7.1-1), and the creator
# whose information is that of `frames.padding_record`.
CREATOR: Final = "00020100"
INFORMATION: Final = "00020102"
PADDED: Final = "2.25.130914780571283427904231758093847563201"
# Transfer syntaxes whose pixel data is encapsulated (PS3.5 Annexes A.4 and A.8).
ENCAPSULATED: Final = (
    "1.2.840.10008.1.2.4.",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.8.",
)

KNOWN_HEADERS: Final = 16384  # bounds the tables, which strangers' files fill
FINDINGS: Final = 100


@dataclass(frozen=True, slots=True)
class BulkValue:
    """Where a value lies that the JSON only refers to.

    Attributes:
        path: "7FE00010"; nested "54000100/1/54001010": tag, 1-based item number, tag.
        vr: Its Value Representation.
        offset: Of the first byte of the value, in the file, or in the inflated
            data set where `Header.deflated`.
        length: In bytes; of encapsulated pixel data the span up to and without
            the sequence delimiter.
    """

    path: str
    vr: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd that does not prevent storing."""

    code: str
    path: str


@dataclass(frozen=True, slots=True)
class Header:
    """What `read_header` makes of a file.

    Attributes:
        file_meta: DICOM JSON of group 0002.
        transfer_syntax_uid: As group 0002 names it, even if unknown.
        big_endian: Byte order of the data set.
        implicit_vr: Whether the data set was read as Implicit VR.
        dataset_offset: Of the data set in the file.
        deflated: Then offsets in `bulk` and `frames` are those of the inflated data set.
        attributes: DICOM JSON of the data set (PS3.18 Annex F), tags ascending,
            without group lengths; each BulkDataURI starts with `MARKER`.
        bulk: Range of each BulkDataURI.
        frames: None when there is no pixel data.
        findings: At most the first hundred.
        presumed_character_set: Whether text was read by the one that the caller gave.
    """

    file_meta: dict[str, Any]
    transfer_syntax_uid: str
    big_endian: bool
    implicit_vr: bool
    dataset_offset: int
    deflated: bool
    attributes: dict[str, Any]
    bulk: tuple[BulkValue, ...]
    frames: Frames | None
    findings: tuple[Finding, ...]
    presumed_character_set: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one object may ask for; beyond it is refused.

    Attributes:
        depth: Of sequences in sequences; at most 100, for the stack's sake.
        elements: Of the data set and all its items.
        items: Of all sequences, and of each encapsulated pixel data.
        value_bytes: Of the large values that become JSON, together.
        inflated_bytes: Of a deflated data set.
        whole: Large values become JSON too, where there is nothing that a reference could mean.
    """

    depth: int = 64
    elements: int = 2_000_000
    items: int = 1_000_000
    value_bytes: int = 256 * 1024 * 1024
    inflated_bytes: int = 512 * 1024 * 1024
    whole: bool = False

    def __post_init__(self) -> None:
        if self.depth > 100:
            raise ValueError(f"depth {self.depth} is more than 100")


DEFAULT_LIMITS: Final = Limits()


class _Known(NamedTuple):
    """An element header that has been met: its meaning, and where its parts are."""

    key: str
    vr: str
    convert: json_values.Convert
    unpack_length: Callable[[Source, int], tuple[int]]
    length_at: int
    value_at: int


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How the elements of a data set are written, and the headers already met in it."""

    implicit_vr: bool
    order: json_values.ByteOrder
    known: dict[bytes, _Known] = field(default_factory=dict)
    item_tags: dict[bytes, str] = field(init=False)
    short: Callable[[Source, int], tuple[int]] = field(init=False)
    long: Callable[[Source, int], tuple[int]] = field(init=False)
    converters: dict[str, json_values.Convert] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "short", struct.Struct(self.order + "H").unpack_from)
        object.__setattr__(self, "long", struct.Struct(self.order + "I").unpack_from)
        object.__setattr__(self, "converters", json_values.converters(self.order))
        tags = {struct.pack(self.order + "HH", 0xFFFE, int(key[4:], 16)): key for key in ITEM_TAGS}
        object.__setattr__(self, "item_tags", tags)

    @property
    def head_size(self) -> int:
        return 4 if self.implicit_vr else 6

    def key(self, tag: bytes) -> str:
        group, element = struct.unpack(self.order + "HH", tag)
        return f"{group:04X}{element:04X}"

    def with_short_length(self, key: str, vr: str) -> _Known:
        return _Known(key, vr, self._convert(key, vr), self.short, 6, 8)

    def with_long_length(self, key: str, vr: str) -> _Known:
        return _Known(key, vr, self._convert(key, vr), self.long, 8, 12)

    def without_vr(self, key: str, vr: str) -> _Known:
        return _Known(key, vr, self._convert(key, vr), self.long, 4, 8)

    def remember(self, head: bytes, known: _Known) -> _Known:
        if len(self.known) >= KNOWN_HEADERS:
            self.known.clear()
        self.known[head] = known
        return known

    def _convert(self, key: str, vr: str) -> json_values.Convert:
        if key.endswith("0000") or key == "00080005":
            return json_values.special
        return self.converters.get(vr, json_values.special)


_EXPLICIT_LITTLE: Final = _Encoding(implicit_vr=False, order="<")
_EXPLICIT_BIG: Final = _Encoding(implicit_vr=False, order=">")
_IMPLICIT_LITTLE: Final = _Encoding(implicit_vr=True, order="<")


@dataclass(slots=True)
class _Level:
    """One data set: the outermost, or that of an item."""

    encoding: _Encoding
    end: int
    path: str = ""
    parent: "_Level | None" = None
    depth: int = 0
    delimited: bool = False
    charset: CharacterSet = character_sets.UNDECLARED
    attributes: dict[str, Any] = field(default_factory=dict)
    last_key: str = ""
    closed: bool = False
    unsorted: bool = False
    stray: bool = False


def _tag(key: str) -> str:
    return f"({key[:4]},{key[4:]})"


def bulk_to_bytes(bulk: Sequence[BulkValue]) -> bytes:
    """Compact form for the catalogue; `bulk_from_bytes` reads it."""
    return orjson.dumps([[value.path, value.vr, value.offset, value.length] for value in bulk])


def bulk_from_bytes(stored: bytes) -> tuple[BulkValue, ...]:
    return tuple(BulkValue(*row) for row in orjson.loads(stored))


def read_header(
    buffer: bytes | memoryview | mmap.mmap,
    *,
    limits: Limits = DEFAULT_LIMITS,
    character_set: str = "",
) -> Header:
    """Read all of a PS3.10 file but its bulk values.

    Args:
        buffer: The whole file. A memoryview is copied; for a large file give a
            mmap, of which only headers are touched (it is advised of random access).
        limits: What the object may ask for.
        character_set: Of text where none is declared, as Specific Character Set has it; "" is
            the default repertoire.

    Raises:
        InvalidObject: No PS3.10 file, cut short, or beyond the limits; the text
            names the defect, the tag and the byte offset.
    """
    source: Source = bytes(buffer) if isinstance(buffer, memoryview) else buffer
    read_sparsely(source)
    _require_prefix(source)
    reader = _Reader(source, limits)
    file_meta, dataset_offset = reader.file_meta()
    syntax = _transfer_syntax_uid(file_meta)
    deflated = _is_deflated(reader, syntax, dataset_offset)
    start = dataset_offset
    if deflated:
        reader.source, start = _inflate(source, dataset_offset, limits, reader), 0
    root = _Level(
        _encoding(reader, syntax, start),
        end=len(reader.source),
        charset=character_sets.character_set(character_set.encode("latin-1")),
    )
    reader.default = root.charset
    reader.data_set(root, start)
    reader.finish(root)
    return Header(
        file_meta=file_meta,
        transfer_syntax_uid=syntax,
        big_endian=root.encoding.order == ">",
        implicit_vr=root.encoding.implicit_vr,
        dataset_offset=dataset_offset,
        deflated=deflated,
        attributes=root.attributes,
        bulk=tuple(reader.bulk.values()),
        frames=_unpadded(reader.frames(root, syntax), file_meta),
        findings=tuple(reader.findings),
        presumed_character_set=reader.presumed,
    )


def _unpadded(frames: Frames | None, file_meta: Mapping[str, Any]) -> Frames | None:
    if frames is None or (file_meta.get(CREATOR, {}).get("Value") or [None])[0] != PADDED:
        return frames
    record = file_meta.get(INFORMATION, {}).get("InlineBinary", "")
    return without_padding(frames, b64decode(record))


def write_file_meta(values: Mapping[str, str | bytes]) -> bytes:
    """Preamble, prefix and File Meta Information (PS3.10 section 7.1).

    Args:
        values: By tag of group 0002; VRs are those of the data dictionary.
    """
    elements = b"".join(
        _file_meta_element(int(tag, 16), value) for tag, value in sorted(values.items())
    )
    return bytes(128) + b"DICM" + _FILE_META_LENGTH.pack(2, 0, b"UL", 4, len(elements)) + elements


_FILE_META_LENGTH: Final = struct.Struct("<HH2sHI")


def _file_meta_element(tag: int, text: str | bytes) -> bytes:
    vr = str(dictionary_VR(tag))
    value = text if isinstance(text, bytes) else text.encode("ascii", "replace")
    if len(value) % 2:
        value += b" " if vr in {"AE", "SH"} else b"\0"
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in LONG_VRS:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


# First bytes of what is sent instead of a PS3.10 file.
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"<", "HTML or XML"),
    (b"{", "JSON"),
    (b"\x02\0", "File Meta Information without preamble"),
    (b"\x08\0", "a data set without File Meta Information"),
    (b"\0\x08", "a data set without File Meta Information"),
)


def _require_prefix(source: Source) -> None:
    if source[128:132] == b"DICM":
        return
    size = len(source)
    found = next((name for start, name in _SIGNATURES if source[: len(start)] == start), None)
    what = "no DICM prefix" if size >= 132 else f"{size} bytes are too few"
    raise InvalidObject(f"{what}: {found or 'not a PS3.10 file'}")


def _transfer_syntax_uid(file_meta: dict[str, Any]) -> str:
    values = file_meta.get("00020010", {}).get("Value", [])
    if not values:
        raise InvalidObject("Transfer Syntax UID (0002,0010) is missing or empty")
    syntax = values[0]
    well_formed = isinstance(syntax, str) and len(syntax) <= 64 and syntax[:2].rstrip(".").isdigit()
    if len(values) > 1 or not well_formed or syntax.strip("0123456789."):
        raise InvalidObject("Transfer Syntax UID (0002,0010) is not a UID")
    return str(syntax)


def _inflate(source: Source, start: int, limits: Limits, reader: "_Reader") -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with memoryview(source) as view, view[start:] as rest:
        try:
            inflated = inflater.decompress(rest, limits.inflated_bytes + 1)
        except zlib.error:
            raise InvalidObject(f"the deflated data set at byte {start} is damaged") from None
    if len(inflated) > limits.inflated_bytes:
        raise InvalidObject(f"the data set inflates to more than {limits.inflated_bytes} bytes")
    if not inflater.eof:
        raise InvalidObject(f"the deflated data set at byte {start} is cut short")
    if inflater.unused_data.strip(b"\0"):
        reader.found("trailing-bytes", "")
    return inflated


def _is_deflated(reader: "_Reader", syntax: str, start: int) -> bool:
    if syntax not in DEFLATED:
        return False
    # As a deflate stream, group 0008 would begin a stored block of a senseless length.
    if reader.source[start : start + 2] == b"\x08\0":
        reader.found("not-deflated", "")
        return False
    return True


def _encoding(reader: "_Reader", syntax: str, start: int) -> _Encoding:
    """That of the transfer syntax, unless the first element plainly has the other one."""
    if syntax == EXPLICIT_BIG_ENDIAN:
        return _EXPLICIT_BIG
    named = _IMPLICIT_LITTLE if syntax == IMPLICIT_LITTLE_ENDIAN else _EXPLICIT_LITTLE
    written = _written_encoding(reader.source, start, len(reader.source), named)
    if written is not named:
        reader.found("other-vr-encoding-than-named", "")
    return written


@lru_cache(maxsize=16384)
def _dictionary_vr(key: str, creator: str) -> str:
    """The VR of the public or private data dictionary, perhaps "US or SS"; UN if unknown."""
    tag = int(key, 16)
    if key.endswith("0000"):
        return "UL"
    with suppress(KeyError, ValueError):
        if int(key[3], 16) % 2 == 0:
            return str(dictionary_VR(tag))
        if key[4:6] == "00" and int(key[4:], 16) >= 0x10:
            return "LO"
        if creator:
            return str(private_dictionary_VR(tag, creator))
    return "UN"


def _cut_short(key: str, pos: int, there: int, length: int | None = None) -> InvalidObject:
    where = f"{_tag(key)} at byte {pos}"
    if length is None:
        return InvalidObject(f"{where} is cut short: {there} bytes are there")
    return InvalidObject(f"{where} has only {max(there, 0)} of {length} bytes")


def _written_encoding(source: Source, start: int, end: int, encoding: _Encoding) -> _Encoding:
    """The other VR encoding where an item plainly is in that one, else the given one."""
    if encoding.order == ">" or end - start < 8:
        return encoding
    vr = source[start + 4 : start + 6]
    (length,) = _IMPLICIT_LITTLE.long(source, start + 4)
    fits = length <= end - start - 8
    written = vr.decode("latin-1") in WRITTEN_VRS
    if encoding.implicit_vr:
        return _EXPLICIT_LITTLE if written and not fits else encoding
    return _IMPLICIT_LITTLE if fits and not written and not vr.isalpha() else encoding


def _inline(vr: str, value: bytes, order: json_values.ByteOrder) -> dict[str, Any]:
    """InlineBinary, which is little endian whatever the file is (PS3.18 Annex F.2.2)."""
    if not value:
        return {"vr": vr}
    size = BINARY[vr]
    if order == ">" and size > 1 and not len(value) % size:
        words = array({2: "H", 4: "I", 8: "Q"}[size], value)
        words.byteswap()
        value = words.tobytes()
    return {"vr": vr, "InlineBinary": b2a_base64(value, newline=False).decode()}


def _as_signed(element: dict[str, Any]) -> dict[str, Any]:
    """An SS element out of one that was read as US."""
    if "Value" not in element:
        return {**element, "vr": "SS"}
    return {"vr": "SS", "Value": [value - (value >> 15 << 16) for value in element["Value"]]}


def _is_bulk(attributes: dict[str, Any], path: str) -> bool:
    """Whether the JSON still has a BulkDataURI here."""
    parts = path.split("/")
    for key, number in zip(parts[:-1:2], parts[1::2], strict=True):
        items = attributes.get(key, {}).get("Value", [])
        if len(items) < int(number) or not isinstance(items[int(number) - 1], dict):
            return False
        attributes = items[int(number) - 1]
    return "BulkDataURI" in attributes.get(parts[-1], {})


class _Reader:
    """One reading of one file."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.elements_left = limits.elements
        self.items_left = limits.items
        self.value_bytes_left = limits.value_bytes
        self.bulk: dict[str, BulkValue] = {}
        self.findings: list[Finding] = []
        self.default = character_sets.UNDECLARED
        self.presumed = False
        self.beyond_ascii = False
        self.replaced = False
        self.zeros_looked_for = False
        self.pixel_data: dict[str, tuple[int, int, Fragments | None]] = {}
        self.offset_tables: dict[str, tuple[int, ...]] = {}
        self.unsettled: list[tuple[_Level, str]] = []

    def found(self, code: str, path: str) -> None:
        if len(self.findings) < FINDINGS:
            self.findings.append(Finding(code, path))

    # The hot loop.

    def data_set(self, level: _Level, pos: int) -> int:
        """Read elements until the end of `level`; returns where that is."""
        source, end, attributes = self.source, level.end, level.attributes
        encoding, usual = level.encoding, USUAL_LENGTHS
        known_headers, size = encoding.known, encoding.head_size
        last_header = end - 8
        for _ in range(self.elements_left):
            if pos > last_header:
                pos = self._rest(level, pos)
                break
            known = known_headers.get(source[pos : pos + size]) or self._recognise(level, pos)
            key, vr, convert, unpack_length, length_at, value_at = known
            try:
                (length,) = unpack_length(source, pos + length_at)
            except struct.error:
                raise _cut_short(key, pos, end - pos) from None
            start = pos + value_at
            stop = start + length
            if length in usual and stop <= end and key > level.last_key:
                values = convert(source[start:stop])
                if values is not None:
                    attributes[key] = {"vr": vr, "Value": values} if values else {"vr": vr}
                    level.last_key = key
                    pos = stop
                    continue
            pos = self._unusual(level, known, pos, start, length)
            if level.closed:
                break
        else:
            raise InvalidObject(f"more than {self.limits.elements} elements")
        self._close(level)
        return pos

    def _close(self, level: _Level) -> None:
        self.elements_left -= len(level.attributes)
        if level.unsorted:
            level.attributes = dict(sorted(level.attributes.items()))

    # Element headers.

    def _recognise(self, level: _Level, pos: int) -> _Known:
        """What begins at `pos`, for headers that are not in the table."""
        encoding = level.encoding
        head = self.source[pos : pos + encoding.head_size]
        key = encoding.key(head[:4])
        if key.startswith("FFFE"):
            return encoding.remember(head, encoding.without_vr(key, ""))
        if encoding.implicit_vr:
            private = int(key[3], 16) % 2 == 1
            vr = _dictionary_vr(key, self._creator(level, key) if private else "")
            known = encoding.without_vr(key, vr)
            return known if private else encoding.remember(head, known)
        vr = head[4:].decode("latin-1")
        if vr in SHORT_VRS:
            return encoding.remember(head, encoding.with_short_length(key, vr))
        if vr in LONG_VRS:
            return encoding.remember(head, encoding.with_long_length(key, vr))
        return self._guess(level, pos, key)

    def _creator(self, level: _Level, key: str) -> str:
        values = level.attributes.get(f"{key[:4]}00{key[4:6]}", {}).get("Value")
        return values[0] if values and isinstance(values[0], str) else ""

    def _guess(self, level: _Level, pos: int, key: str) -> _Known:
        """The form of a header whose VR is none: the one after which another header stands.

        A VR that a later edition adds has the long form (PS3.5 section 7.1.2).
        """
        encoding = level.encoding
        vr = _dictionary_vr(key, self._creator(level, key))
        forms = [encoding.with_short_length, encoding.without_vr, encoding.with_long_length]
        if self.source[pos + 4 : pos + 6].isalpha():
            forms.reverse()
        for form in forms:
            known = form(key, vr)
            if self._is_followed(level, known, pos):
                self.found("invalid-vr", level.path + key)
                return known
        if key == "00000000" or (level.depth == 0 and self.pixel_data):
            return encoding.without_vr("00000000", vr)  # which _is_garbage knows
        raise InvalidObject(f"{_tag(key)} at byte {pos} has a VR that is none")

    def _is_followed(self, level: _Level, known: _Known, pos: int) -> bool:
        try:
            (length,) = known.unpack_length(self.source, pos + known.length_at)
        except struct.error:
            return False
        start = pos + known.value_at
        if length == UNDEFINED_LENGTH:
            return known.length_at != 6 and self._item_tag(level.encoding, start) in ITEM_TAGS
        stop = start + length
        if stop >= level.end:
            return stop == level.end
        following = self.source[stop : stop + 6]
        if len(following) < 6:
            return False
        next_key = level.encoding.key(following[:4])
        if next_key.startswith("FFFE"):
            return next_key in ITEM_TAGS
        return next_key > known.key and (
            following[4:].decode("latin-1") in WRITTEN_VRS or _dictionary_vr(next_key, "") != "UN"
        )

    def _item_tag(self, encoding: _Encoding, pos: int) -> str:
        return encoding.item_tags.get(self.source[pos : pos + 4], "")

    # Whatever is not of the usual kind.

    def _rest(self, level: _Level, pos: int) -> int:
        """Fewer bytes are left than an element header has."""
        left = level.end - pos
        if level.delimited:
            raise InvalidObject(f"the item before byte {level.end} has no end")
        if left <= 0:
            return pos
        if level.depth or not (self.pixel_data or not self.source[pos : level.end].strip(b"\0")):
            raise InvalidObject(f"{left} bytes at byte {pos} are no element")
        self.found("trailing-bytes", "")
        return level.end

    def _unusual(self, level: _Level, known: _Known, pos: int, start: int, length: int) -> int:
        key = known.key
        if known.vr == "":
            return self._delimiter(level, key, pos, length)
        if self._is_garbage(level, key, start, length):
            self.found("trailing-bytes", "")
            level.closed = True
            return level.end
        if length != UNDEFINED_LENGTH and start + length > level.end:
            raise _cut_short(key, pos, level.end - start, length)
        if key.endswith("0000") or self._is_out_of_place(level, key):
            if length == UNDEFINED_LENGTH:
                raise InvalidObject(f"{_tag(key)} at byte {pos} has undefined length")
            return start + length
        vr = self._settled_vr(level, key, known.vr)
        # what is in a UN is implicit (PS3.5 section 6.2.2)
        encoding = _IMPLICIT_LITTLE if known.vr == "UN" else level.encoding
        if length == UNDEFINED_LENGTH:
            return self._undefined_length(level, key, vr, start, encoding)
        if vr == "SQ":
            self._sequence(level, key, start, length, encoding)
        elif level.depth == 0 and key in PIXEL_DATA and length:
            level.attributes[key] = self._replaced(key, vr, start, length)
            self.pixel_data[key] = (start, length, None)
        else:
            level.attributes[key] = self._value(level, key, vr, start, length)
        return start + length

    def _delimiter(self, level: _Level, key: str, pos: int, length: int) -> int:
        if key == ITEM and not level.delimited:
            # The sequence it belongs to has lost its header or its length.
            if pos + 8 + length > level.end:
                raise InvalidObject(f"an item at byte {pos} outside of any sequence")
            self.found("stray-item", level.path)
            level.stray = True
            return pos + 8 + length
        if level.delimited:
            level.closed = True
            if key == ITEM_DELIMITER:
                return pos + 8
            self.found("missing-item-delimiter", level.path)
            return pos
        self.found("stray-delimiter", level.path)
        return pos + 8

    def _is_garbage(self, level: _Level, key: str, start: int, length: int) -> bool:
        """Behind the pixel data only signatures and padding stand; others are no elements."""
        if level.depth or key == "FFFAFFFA":
            return False
        if not self.pixel_data:
            return key == "00000000" and self._ends_in_zeros(start)
        too_long = length != UNDEFINED_LENGTH and start + length > level.end
        return key <= level.last_key or too_long

    def _ends_in_zeros(self, start: int) -> bool:
        if self.zeros_looked_for:
            return False
        self.zeros_looked_for = True  # once, or many such elements would take forever
        size = len(self.source)
        chunks = (self.source[at : at + VALUE_BYTES] for at in range(start, size, VALUE_BYTES))
        return not any(chunk.strip(b"\0") for chunk in chunks)

    def _is_out_of_place(self, level: _Level, key: str) -> bool:
        """Whether an element belongs to an item that strayed, so that it is not of this level."""
        if key > level.last_key:
            level.last_key = key
            level.stray = False
            return False
        if level.stray:
            return True
        if key in level.attributes:
            self.found("repeated-element", level.path + key)
            self.replaced = True
        else:
            self.found("tags-not-ascending", level.path + key)
            level.unsorted = True
        return False

    def _settled_vr(self, level: _Level, key: str, vr: str) -> str:
        """One VR where the dictionary gives a choice (PS3.5 Annex A.1), and of UN if known."""
        if vr == "UN" and level.encoding.order == "<":
            vr = _dictionary_vr(key, self._creator(level, key))
        if vr == "US or OW":  # LUT Data (0028,3006)
            descriptor = level.attributes.get("00283002", {}).get("Value", [0])
            return "US" if descriptor[0] == 1 else "OW"
        if vr == "US or SS":
            signed = self._is_signed(level)
            if signed is None:
                self.unsettled.append((level, key))
            return "SS" if signed else "US"
        return "OW" if " or " in vr else vr

    def _is_signed(self, level: _Level | None) -> bool | None:
        """By the nearest Pixel Representation (0028,0103); None where none is known yet."""
        while level is not None:
            values = level.attributes.get("00280103", {}).get("Value")
            if values:
                return bool(values[0] == 1)
            level = level.parent
        return None

    # Sequences and items.

    def _undefined_length(
        self, level: _Level, key: str, vr: str, start: int, encoding: _Encoding
    ) -> int:
        is_pixel_data = level.depth == 0 and key in PIXEL_DATA
        if is_pixel_data or (vr in BINARY and vr != "UN"):
            return self._encapsulated(level, key, "OB" if vr == "UN" else vr, start)
        if vr not in {"SQ", "UN"}:
            raise InvalidObject(f"{_tag(key)} has undefined length and VR {vr} at byte {start}")
        level.attributes[key], stop = self._items(
            level, key, start, level.end, encoding, delimited=True
        )
        return stop

    def _sequence(
        self, level: _Level, key: str, start: int, length: int, encoding: _Encoding
    ) -> None:
        bulk, findings = len(self.bulk), len(self.findings)
        try:
            level.attributes[key], _ = self._items(
                level, key, start, start + length, encoding, delimited=False
            )
        except InvalidObject:
            if encoding is level.encoding:
                raise
            # only the dictionary took it for a sequence
            while len(self.bulk) > bulk:
                self.bulk.popitem()
            del self.findings[findings:]
            level.attributes[key] = self._value(level, key, "UN", start, length)

    def _items(
        self,
        level: _Level,
        key: str,
        start: int,
        end: int,
        encoding: _Encoding,
        *,
        delimited: bool,
    ) -> tuple[dict[str, Any], int]:
        """The sequence that begins at `start`, and where it ends."""
        if level.depth >= self.limits.depth:
            raise InvalidObject(
                f"{_tag(key)} at byte {start}: more than {self.limits.depth} sequences deep"
            )
        items: list[dict[str, Any]] = []
        pos = start
        while pos < end or delimited:
            tag = self._item_tag(encoding, pos)
            if pos + 8 > end or tag not in ITEM_TAGS:
                raise InvalidObject(f"{_tag(key)}: no item begins at byte {pos}")
            if tag == ITEM:
                pos = self._item(level, f"{key}/{len(items) + 1}/", pos, end, encoding, items)
                continue
            pos += 8
            if tag == SEQUENCE_DELIMITER and delimited:
                break
            self.found("stray-delimiter", level.path + key)
        return ({"vr": "SQ", "Value": items} if items else {"vr": "SQ"}), pos

    def _item(
        self,
        level: _Level,
        path: str,
        pos: int,
        end: int,
        encoding: _Encoding,
        items: list[dict[str, Any]],
    ) -> int:
        """Append the item that begins at `pos` to `items`; returns where it ends."""
        self.items_left -= 1
        if self.items_left < 0:
            raise InvalidObject(f"more than {self.limits.items} items")
        (length,) = encoding.long(self.source, pos + 4)
        start, delimited = pos + 8, length == UNDEFINED_LENGTH
        stop = end if delimited else start + length
        if stop > end:
            raise InvalidObject(f"the item at byte {pos} has only {end - start} of {length} bytes")
        item = _Level(
            encoding=_written_encoding(self.source, start, stop, encoding),
            end=stop,
            path=level.path + path,
            parent=level,
            depth=level.depth + 1,
            delimited=delimited,
            charset=level.charset,
        )
        after = self.data_set(item, start)
        items.append(item.attributes)
        return after

    def _encapsulated(self, level: _Level, key: str, vr: str, start: int) -> int:
        try:
            fragments = scan_fragments(self.source, start, level.end, limit=self.limits.items)
        except BrokenFragments as error:
            raise InvalidObject(f"{_tag(key)}: {error}") from None
        release(self.source)
        if not fragments.delimited:
            self.found("missing-sequence-delimiter", level.path + key)
        level.attributes[key] = self._replaced(level.path + key, vr, start, fragments.end - start)
        if level.depth == 0 and key in PIXEL_DATA:
            self.pixel_data[key] = (start, fragments.end - start, fragments)
        return fragments.after

    # Values.

    def _replaced(self, path: str, vr: str, start: int, length: int) -> dict[str, Any]:
        self.bulk[path] = BulkValue(path, vr, start, length)
        return {"vr": vr, "BulkDataURI": MARKER + path}

    def _value(self, level: _Level, key: str, vr: str, start: int, length: int) -> dict[str, Any]:
        path, order = level.path + key, level.encoding.order
        if length % 2:
            self.found("odd-length-value", path)
        if level.depth == 0 and key in OFFSET_TABLES:
            value = self.source[start : start + length // 8 * 8]
            self.offset_tables[key] = struct.unpack(f"{order}{length // 8}Q", value)
        if (
            length > (INLINE_BYTES if vr in BINARY else VALUE_BYTES)
            and (vr in BINARY or vr in REPLACEABLE)
            and not self.limits.whole
        ):
            return self._replaced(path, vr, start, length)
        if length > INLINE_BYTES:
            self.value_bytes_left -= length
            if self.value_bytes_left < 0:
                raise InvalidObject(f"more than {self.limits.value_bytes} bytes of large values")
        value = self.source[start : start + length]
        if vr in BINARY:
            return _inline(vr, value, order)
        values = level.encoding.converters[vr](value)
        if key == "00080005":
            values = self._character_set(level, path, value)
        if values is None:
            values = self._odd_values(level, path, vr, value)
        if values is None:
            return self._replaced(path, vr, start, length)
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _character_set(self, level: _Level, path: str, value: bytes) -> list[Any]:
        declared = character_sets.character_set(value)
        level.charset = declared if declared.declared else self.default
        if not level.charset.exact:
            self.found("unknown-character-set", path)
        # JSON is UTF-8 whatever the data set is (PS3.18 Annex F.2)
        return ["ISO_IR 192"]

    def _odd_values(
        self, level: _Level, path: str, vr: str, value: bytes
    ) -> json_values.Values | None:
        """None when JSON cannot say it: infinities, NaN, a length that does not fit."""
        if vr in json_values.NUMBERS:
            return None
        if vr == "AT":
            self.found("value-length", path)
            return level.encoding.converters[vr](value[: len(value) // 4 * 4])
        if vr in {"DS", "IS"}:
            values, problems = json_values.odd_number_strings(value, vr)
        else:
            values, problems = json_values.odd_strings(value, vr, level.charset)
            if not value.isascii() or b"\x1b" in value:
                self.beyond_ascii = True
                self.presumed |= level.charset is self.default and self.default.declared
        for problem in problems:
            self.found(problem, path)
        return values

    # When all has been read.

    def finish(self, root: _Level) -> None:
        for level, key in self.unsettled:
            if self._is_signed(level):
                level.attributes[key] = _as_signed(level.attributes[key])
        if self.replaced:
            self.bulk = {
                path: value for path, value in self.bulk.items() if _is_bulk(root.attributes, path)
            }
        if self.beyond_ascii and "00080005" not in root.attributes:
            root.attributes["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
            root.attributes = dict(sorted(root.attributes.items()))
        if DOCUMENT_LENGTH in root.attributes and DOCUMENT in root.attributes:
            self._without_document_padding(root.attributes)

    def _without_document_padding(self, attributes: dict[str, Any]) -> None:
        size = (attributes[DOCUMENT_LENGTH].get("Value") or [0])[0]
        inline, value = attributes[DOCUMENT].get("InlineBinary"), self.bulk.get(DOCUMENT)
        if not isinstance(size, int):
            return
        if value is not None and value.length == size + 1:
            self.bulk[DOCUMENT] = replace(value, length=size)
        elif inline is not None and len(document := b64decode(inline)) == size + 1:
            attributes[DOCUMENT] = _inline(attributes[DOCUMENT]["vr"], document[:size], "<")

    def frames(self, root: _Level, syntax: str) -> Frames | None:
        tag = next((tag for tag in PIXEL_DATA if tag in self.pixel_data), None)
        if tag is None:
            return None
        start, length, fragments = self.pixel_data[tag]
        if fragments is None and syntax.startswith(ENCAPSULATED):
            self.found("native-pixel-data-in-encapsulated-syntax", tag)
            return Frames(tag, frame_count(root.attributes), start, 0, b"")
        if fragments is None:
            frames, odd = native_frames(tag, root.attributes, offset=start, length=length)
            if odd:
                self.found(odd, tag)
            return frames
        offsets, lengths = (self.offset_tables.get(key) for key in OFFSET_TABLES)
        extended = ExtendedOffsetTable(offsets, lengths or ()) if offsets else None
        frames, oddities = encapsulated_frames(
            tag,
            root.attributes,
            source=self.source,
            fragments=fragments,
            extended=extended,
            transfer_syntax_uid=syntax,
        )
        for code in oddities:
            self.found(code, tag)
        return frames

    # Group 0002.

    def file_meta(self) -> tuple[dict[str, Any], int]:
        """DICOM JSON of group 0002, always Explicit VR Little Endian, and where it ends."""
        end = self._file_meta_end()
        level = _Level(_EXPLICIT_LITTLE, end=end)
        self.data_set(level, 132)
        return level.attributes, end

    def _file_meta_end(self) -> int:
        size, pos, declared = len(self.source), 132, -1
        level = _Level(_EXPLICIT_LITTLE, end=size)
        # the declared end counts, because a deflated data set may begin with any bytes
        while pos != declared and self.source[pos : pos + 2] == b"\x02\0" and pos + 12 <= size:
            head = self.source[pos : pos + 6]
            known = _EXPLICIT_LITTLE.known.get(head) or self._recognise(level, pos)
            (length,) = known.unpack_length(self.source, pos + known.length_at)
            start = pos + known.value_at
            if start + length > size:
                raise _cut_short(known.key, pos, size - start, length)
            pos = start + length
            if known.key == "00020000" and length == 4:
                (group_length,) = level.encoding.long(self.source, start)
                declared = pos + group_length
        if declared not in {-1, pos}:
            self.found("wrong-group-length", "00020000")
        return pos
