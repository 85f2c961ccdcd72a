"""Data sets that travel in messages (PS3.5): from their bytes to DICOM JSON and back.

What is read is read as `part10` reads files, with all that it forgives. What is written is the
plain form: defined lengths, no group lengths, one character set that can tell all of the text.
"""

import struct
import zlib
from array import array
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from pydicom.charset import convert_encodings, encode_string

from bfr_dicomweb.dicom import character_sets, part10
from bfr_dicomweb.dicom.attributes import Attributes
from bfr_dicomweb.dicom.character_sets import SINGLE, character_set
from bfr_dicomweb.dicom.frames import UNDEFINED_LENGTH
from bfr_dicomweb.dicom.json_values import NUMBERS, UNDIVIDED
from bfr_dicomweb.dicom.part10 import BINARY, LONG_VRS, Limits
from bfr_dicomweb.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from bfr_dicomweb.errors import InvalidObject, TooLarge

# Of a message that is no object: a query, an action, an event.
MESSAGE_LIMITS: Final = Limits(
    depth=16,
    elements=20_000,
    items=20_000,
    value_bytes=1 << 22,
    inflated_bytes=1 << 24,
    whole=True,
)
_CHARACTER_SET: Final = "00080005"
_GROUP_LENGTH_BYTES: Final = 12
_LONGEST_SHORT: Final = 0xFFFE
_DS_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class Received:
    """
    Attributes:
        character_set: What the data set declares, as it is written; "" when it declares nothing.
        attributes: DICOM JSON.
    """

    character_set: str
    attributes: dict[str, Any]


def decode(
    encoded: bytes,
    transfer_syntax_uid: str,
    *,
    character_set: str = "",
    limits: Limits = MESSAGE_LIMITS,
) -> Received:
    """Read an encoded data set.

    Args:
        character_set: In effect where the data set declares none; values separated by a backslash.

    Raises:
        InvalidObject: it cannot be read; the text holds no value of it.
    """
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        encoded, transfer_syntax_uid = _inflated(encoded, limits), EXPLICIT_VR_LITTLE_ENDIAN
    form = _Form.of(transfer_syntax_uid)
    declared, stripped = _without_character_set(encoded, form)
    effective = declared or character_set
    if effective and effective != declared:
        value = _padded(effective.encode("latin-1", "replace"), b" ")
        stripped = form.element(_CHARACTER_SET, "CS", value) + stripped
    header = part10.read_header(
        _file_meta(transfer_syntax_uid) + (encoded if declared else stripped), limits=limits
    )
    return Received(declared, header.attributes)


def _inflated(encoded: bytes, limits: Limits) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = inflater.decompress(encoded, limits.inflated_bytes + 1)
    except zlib.error:
        raise InvalidObject("the deflated data set is damaged") from None
    if len(found) > limits.inflated_bytes:
        raise InvalidObject(f"the data set inflates to more than {limits.inflated_bytes} bytes")
    return found


@lru_cache(maxsize=8)
def _file_meta(transfer_syntax_uid: str) -> bytes:
    form = _Form.of(EXPLICIT_VR_LITTLE_ENDIAN)
    syntax = form.element("00020010", "UI", _padded(transfer_syntax_uid.encode(), b"\0"))
    length = form.element("00020000", "UL", struct.pack("<I", len(syntax)))
    return bytes(128) + b"DICM" + length + syntax


def _without_character_set(encoded: bytes, form: "_Form") -> tuple[str, bytes]:
    """What is declared, and the data set without the declaration, which may be empty."""
    at = _GROUP_LENGTH_BYTES if encoded[:4] == form.tag("00080000") else 0
    if encoded[at : at + 4] != form.tag(_CHARACTER_SET) or len(encoded) < at + 8:
        return "", encoded
    explicit = encoded[at + 4 : at + 6] == b"CS"
    field = encoded[at + 6 : at + 8] if explicit else encoded[at + 4 : at + 8]
    end = at + 8 + int.from_bytes(field, "big" if form.order == ">" else "little")
    text = encoded[at + 8 : end].decode("latin-1").strip(" \0")
    return text, encoded[:at] + encoded[end:]


@dataclass(frozen=True, slots=True)
class _Form:
    """How elements are written."""

    implicit_vr: bool
    order: str

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, transfer_syntax_uid: str) -> "_Form":
        big = transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
        return cls(transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN, ">" if big else "<")

    def tag(self, key: str) -> bytes:
        return struct.pack(self.order + "HH", int(key[:4], 16), int(key[4:], 16))

    def element(self, key: str, vr: str, value: bytes) -> bytes:
        return self.header(key, vr, len(value)) + value

    def header(self, key: str, vr: str, length: int) -> bytes:
        """Of an element whose value follows.

        Raises:
            TooLarge: The value is longer than can be told.
        """
        if length > UNDEFINED_LENGTH - (vr != "OB"):
            raise TooLarge(f"({key[:4]},{key[4:]}) has {length} bytes, more than can be told")
        is_short = length <= _LONGEST_SHORT
        size = "I" if self.implicit_vr or vr in LONG_VRS or not is_short else "H"
        return _head(self, key, vr, is_short) + struct.pack(self.order + size, length)

    def delimiter(self, key: str, length: int) -> bytes:
        return self.tag(key) + struct.pack(self.order + "I", length)


@lru_cache(maxsize=8192)
def _head(form: _Form, key: str, vr: str, is_short: bool) -> bytes:
    """The header of an element up to its length."""
    if form.implicit_vr:
        return form.tag(key)
    if vr in LONG_VRS:
        return form.tag(key) + vr.encode() + b"\0\0"
    # PS3.5 section 6.2.2: what is too long for its own VR is written as UN
    return form.tag(key) + (vr.encode() if is_short else b"UN\0\0")


def _padded(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value


# --- writing ---------------------------------------------------------------------------------

_ENOUGH: Final = ("ISO_IR 100", "ISO_IR 192")


def encode(
    attributes: Attributes, transfer_syntax_uid: str, *, character_sets: Sequence[str] = ()
) -> bytes:
    """Write DICOM JSON, whose tags ascend, as an encoded data set.

    Bulk data that is only referred to is written as an empty value.

    Args:
        character_sets: To be tried before Latin-1 and UTF-8, each as the value of Specific
            Character Set; the first that can tell all of the text is declared. Text of the default
            repertoire needs none.
    """
    form = _Form.of(transfer_syntax_uid)
    encoded = _encoded(attributes, form, character_sets)
    if transfer_syntax_uid != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        return encoded
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return _padded(deflater.compress(encoded) + deflater.flush(), b"\0")


def _encoded(attributes: Attributes, form: _Form, wished: Sequence[str]) -> bytes:
    told = {key: value for key, value in attributes.items() if key != _CHARACTER_SET}
    for declared in ("", *wished, *_ENOUGH):
        text = _text_encoder(declared)
        if text is None:
            continue
        if declared:
            told[_CHARACTER_SET] = {"vr": "CS", "Value": declared.split("\\")}
        try:
            return _data_set({key: told[key] for key in sorted(told)}, form, text)
        except UnicodeError:
            continue
    raise ValueError("text that UTF-8 cannot tell")  # lone surrogates, which JSON does not have


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to `stop` of what holds the bulk data."""

    start: int
    stop: int


Piece = bytes | Span


def size_of(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.stop - piece.start


@dataclass(frozen=True, slots=True)
class BulkContent:
    """The value of an element, without its padding.

    Attributes:
        encapsulated: It is made of items and ends with a delimiter (PS3.5 section A.4).
    """

    pieces: tuple[Piece, ...]
    encapsulated: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(map(size_of, self.pieces))


def encode_with_bulk(attributes: Attributes, bulk: Mapping[str, BulkContent]) -> list[Piece]:
    """Write DICOM JSON, whose tags ascend, in Explicit VR Little Endian, with its bulk data.

    Text is in UTF-8 where a character set is declared or is needed.

    Args:
        bulk: By BulkDataURI.

    Raises:
        TooLarge: A value is longer than Explicit VR Little Endian can tell.
    """
    form = _Form.of(EXPLICIT_VR_LITTLE_ENDIAN)
    told = dict(attributes)
    if _CHARACTER_SET not in told:
        try:
            return _joined(_pieces(told, form, _ASCII, bulk))
        except UnicodeError:
            pass
    told[_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    ascending = {key: told[key] for key in sorted(told)}
    return _joined(_pieces(ascending, form, str.encode, bulk))


def _pieces(
    attributes: Attributes, form: _Form, text: "TextEncoder", bulk: Mapping[str, BulkContent]
) -> Iterator[Piece]:
    for key, element in attributes.items():
        vr, uri = element["vr"], element.get("BulkDataURI")
        if uri is not None:
            yield from _bulk_element(key, vr, bulk[uri], form)
        elif vr == "SQ" and element.get("Value"):
            items = [_joined(_pieces(item or {}, form, text, bulk)) for item in element["Value"]]
            sizes = [sum(map(size_of, item)) for item in items]
            yield form.header(key, "SQ", sum(sizes) + 8 * len(sizes))
            for item, size in zip(items, sizes, strict=True):
                yield form.delimiter("FFFEE000", size)
                yield from item
        else:
            yield form.element(key, vr, _value(vr, element, form, text))


def _bulk_element(key: str, vr: str, content: BulkContent, form: _Form) -> Iterator[Piece]:
    if content.encapsulated:
        yield form.header(key, "OB", UNDEFINED_LENGTH)
        yield from content.pieces
        yield form.delimiter("FFFEE0DD", 0)
        return
    size = content.size_bytes
    yield form.header(key, vr, size + size % 2)
    yield from content.pieces
    if size % 2:
        yield b"\0" if vr in BINARY or vr == "UI" else b" "


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The same with what is in memory put together."""
    found: list[Piece] = []
    together: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            together.append(piece)
            continue
        found += [b"".join(together), piece]
        together = []
    return [*found, b"".join(together)]


TextEncoder = Callable[[str], bytes]
_ASCII: Final[TextEncoder] = partial(str.encode, encoding="ascii")


@lru_cache(maxsize=64)
def _text_encoder(declared: str) -> TextEncoder | None:
    """Raises UnicodeError for text that the character set cannot tell; None for unknown sets."""
    if not declared:
        return _ASCII
    codec = SINGLE.get(declared)
    if codec is not None and codec != "shift_jis":
        return partial(str.encode, encoding=codec)
    known = character_set(declared.encode("latin-1", "replace"))
    if not known.exact:
        return None
    return partial(_with_escapes, declared)


def _with_escapes(declared: str, text: str) -> bytes:
    """By code extensions; what comes out is read again, because nothing may be lost."""
    if text.isascii():
        return text.encode()
    codecs = list(convert_encodings(declared.split("\\")))
    if all(any(_has(codec, character) for codec in codecs) for character in text):
        encoded = encode_string(text, codecs)
        known = character_set(declared.encode())
        if character_sets.decode(encoded, known, delimiters=b"\\^=") == (text, ""):
            return encoded
    raise UnicodeEncodeError("dicom", text, 0, len(text), "not in this character set")


def _has(codec: str, character: str) -> bool:
    try:
        return bool(character.encode(codec))
    except UnicodeError:
        return False


def _data_set(attributes: Attributes, form: _Form, text: TextEncoder) -> bytes:
    return b"".join(
        form.element(key, vr := element["vr"], _value(vr, element, form, text))
        for key, element in attributes.items()
    )


def _value(vr: str, element: Mapping[str, Any], form: _Form, text: TextEncoder) -> bytes:
    values = element.get("Value")
    if values is None:
        inline = element.get("InlineBinary")
        return b"" if inline is None else _binary(vr, b64decode(inline), form)
    if vr == "SQ":
        return b"".join(_item(item or {}, form, text) for item in values)
    if vr in NUMBERS:
        return struct.pack(f"{form.order}{len(values)}{NUMBERS[vr]}", *values)
    if vr == "AT":
        return b"".join(form.tag(value) for value in values)
    if vr == "PN":
        return _padded(b"\\".join(text(_name(value)) for value in values), b" ")
    divider = b"" if vr in UNDIVIDED else b"\\"
    told = divider.join(text(_string(value)) for value in values)
    return _padded(told, b"\0" if vr == "UI" else b" ")


def _item(item: Attributes, form: _Form, text: TextEncoder) -> bytes:
    inside = _data_set(item, form, text)
    return form.delimiter("FFFEE000", len(inside)) + inside


def _name(value: Mapping[str, str] | None) -> str:
    groups = [(value or {}).get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(groups).rstrip("=")


def _string(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return _decimal(value)
    return str(value)


def _decimal(value: float) -> str:
    """In the 16 characters of a DS; more digits than these hold are rounded."""
    found = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    for digits in range(_DS_CHARACTERS, 0, -1):
        if len(found) <= _DS_CHARACTERS:
            break
        found = f"{value:.{digits}g}"
        if abs(value) < 1:
            found = found.replace("0.", ".", 1)
    return found


def _binary(vr: str, value: bytes, form: _Form) -> bytes:
    size = BINARY.get(vr, 1)
    if form.order == ">" and size > 1 and not len(value) % size:
        words = array({2: "H", 4: "I", 8: "Q"}[size], value)
        words.byteswap()
        value = words.tobytes()
    return _padded(value, b"\0")
