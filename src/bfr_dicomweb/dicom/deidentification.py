"""A data set without what identifies the patient, streamed (PS3.15 Annex E).

The Basic Application Level Confidentiality Profile, carried out on the bytes of a data set in an
explicit little-endian transfer syntax while they pass: nothing but the element at hand is kept.
Sequences are written with undefined length, because what remains of them is known only in the end.
"""

import hashlib
import hmac
import struct
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from pydicom.datadict import get_entry

from bfr_dicomweb.dicom.attributes import first_text
from bfr_dicomweb.dicom.codestream_comments import Unended, without_comments
from bfr_dicomweb.dicom.confidentiality_profile import Action, action
from bfr_dicomweb.dicom.part10 import LONG_VRS, SHORT_VRS, write_file_meta
from bfr_dicomweb.dicom.report_writing import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from bfr_dicomweb.dicom.transfer_syntaxes import lookup
from bfr_dicomweb.errors import NotAcceptable

PIXEL_DATA: Final = frozenset({"7FE00008", "7FE00009", "7FE00010"})
CHUNK_BYTES: Final = 512 * 1024

_SOP_INSTANCE: Final = "00080018"
_SOP_CLASS: Final = "00080016"
_PATIENT_ID: Final = "00100020"
_BURNED_IN: Final = "00280301"
_RECOGNIZABLE: Final = "00280302"
_ENCAPSULATED_DOCUMENT: Final = "00420011"
# UIDs below this root are of the Standard and the same for everyone.
_STANDARD: Final = b"1.2.840.10008."
# Values up to here may be replaced, and are looked at for it.
_SMALL_BYTES: Final = 1 << 20
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = "FFFEE000"
_ITEM_END: Final = "FFFEE00D"
_SEQUENCE_END: Final = "FFFEE0DD"
_MAX_DEPTH: Final = 100

# One dummy for each VR; a VR that is not here has zeros of its size.
_DUMMIES: Final = (
    dict.fromkeys(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), b"ANONYMIZED")
    | dict.fromkeys(("DS", "IS"), b"0 ")
    | {
        "AS": b"000Y",
        "DA": b"19000101",
        "DT": b"19000101000000",
        "TM": b"000000",
        "UR": b"urn:anonymized",
        "CS": b"ANONYMIZED",
    }
)
_ZEROS: Final = {
    **dict.fromkeys(("AT", "FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
# In a sequence that is replaced, numbers, codes of the Standard and UIDs of classes are kept.
_HARMLESS: Final = frozenset(
    {"AT", "CS", "DS", "FD", "FL", "IS", "OD", "OF", "OL", "OV", "SL", "SS", "SV", "UI", "UL"}
    | {"US", "UV"}
)


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Replacements that are the same wherever the replaced value is.

    Attributes:
        secret: Without it nobody can tell which value was replaced by which.
    """

    secret: bytes

    def uid(self, value: str) -> str:
        """A UID derived from a UUID (PS3.5 section B.2)."""
        digest = self._digest(b"uid", value.encode("latin-1"))
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    def patient_id(self, value: bytes) -> bytes:
        return b"ANON" + self._digest(b"patient", value)[:6].hex().upper().encode()

    def _digest(self, kind: bytes, value: bytes) -> bytes:
        return hmac.digest(self.secret, kind + b"\0" + value, hashlib.sha256)


def refusal(attributes: Mapping[str, Any]) -> str | None:
    """Why an instance cannot be de-identified; None: it can.

    Args:
        attributes: DICOM JSON of the instance.
    """
    if _text(attributes, _BURNED_IN) == "YES":
        return "identifying text is burned into its pixels, which cannot be cleaned here"
    if _text(attributes, _RECOGNIZABLE) == "YES":
        return "its pixels let the person be recognized, which cannot be cleaned here"
    if _ENCAPSULATED_DOCUMENT in attributes:
        return "what its document says of the patient cannot be taken out"
    return None


def pixels_are_clean(attributes: Mapping[str, Any]) -> bool:
    """Whether the instance says of itself that nothing is burned into its pixels."""
    if not PIXEL_DATA & attributes.keys():
        return True
    return _text(attributes, _BURNED_IN) == "NO"


def _text(attributes: Mapping[str, Any], tag: str) -> str:
    return first_text(attributes, tag).strip().upper()


def file(
    data_set: Iterator[bytes],
    attributes: Mapping[str, Any],
    pseudonyms: Pseudonyms,
    transfer_syntax_uid: str,
) -> Iterator[bytes]:
    """A de-identified PS3.10 file.

    Args:
        data_set: In the explicit little-endian encoding of that transfer syntax, not deflated.
        attributes: DICOM JSON of the stored instance.

    Raises:
        NotAcceptable: it cannot be de-identified; says why. What is too irregular raises it while
            the file is read.
    """
    reason = refusal(attributes)
    if reason is not None:
        raise NotAcceptable(f"the instance cannot be anonymized: {reason}")
    walk = _Walk(_Input(data_set), pseudonyms, _added(clean=_text(attributes, _BURNED_IN) == "NO"))
    walk.sop_instance_uid = pseudonyms.uid(first_text(attributes, _SOP_INSTANCE))
    return _file(walk, first_text(attributes, _SOP_CLASS), transfer_syntax_uid)


def _file(walk: "_Walk", sop_class_uid: str, transfer_syntax_uid: str) -> Iterator[bytes]:
    chunks = _regrouped(walk.data_set())
    # with the first elements, so that what is wrong with them is told before an answer begins,
    # and because transcoding may have made another instance of it
    first = next(chunks, b"")
    head = write_file_meta(
        {
            "00020001": b"\0\1",
            "00020002": sop_class_uid,
            "00020003": walk.sop_instance_uid,
            "00020010": transfer_syntax_uid,
            "00020012": IMPLEMENTATION_CLASS_UID,
            "00020013": IMPLEMENTATION_VERSION,
        }
    )
    if lookup(transfer_syntax_uid).deflated:
        yield head
        yield from _deflated(chain([first], chunks))
        return
    yield head + first
    yield from chunks


def _deflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    for chunk in chunks:
        coded = compressor.compress(chunk)
        size += len(coded)
        yield coded
    last = compressor.flush()
    yield last + bytes((size + len(last)) % 2)


def _added(*, clean: bool) -> dict[str, bytes]:
    """What says that and how it was done (PS3.15 section E.1.1, step 6)."""
    methods = [_code("113100", "Basic Application Confidentiality Profile")]
    if clean:
        methods.append(_code("113101", "Clean Pixel Data Option"))
    return {
        "00120062": _element("00120062", "CS", b"YES "),
        "00120063": _element(
            "00120063", "LO", b"PS3.15 Basic Application Level Confidentiality Profile"
        ),
        "00120064": _sequence_of("00120064", methods),
        "00280303": _element("00280303", "CS", b"REMOVED "),
    }


def _code(value: str, meaning: str) -> bytes:
    return (
        _element("00080100", "SH", value.encode())
        + _element("00080102", "SH", b"DCM")
        + _element("00080104", "LO", meaning.encode())
    )


def _sequence_of(tag: str, items: list[bytes]) -> bytes:
    content = b"".join(_delimiter(_ITEM, len(item)) + item for item in items)
    return _header(tag, "SQ", len(content)) + content


def _element(tag: str, vr: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return _header(tag, vr, len(value)) + value


def _header(tag: str, vr: str, length: int) -> bytes:
    head = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16)) + vr.encode()
    if vr in SHORT_VRS:
        return head + struct.pack("<H", length)
    return head + struct.pack("<HI", 0, length)


def _delimiter(tag: str, length: int = 0) -> bytes:
    return struct.pack("<HHI", int(tag[:4], 16), int(tag[4:], 16), length)


class _Input:
    """Bytes that come in chunks, read in order."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._at = 0
        self._before = 0

    @property
    def position(self) -> int:
        return self._before + self._at

    def is_at_end(self) -> bool:
        while self._at >= len(self._buffer):
            self._before += len(self._buffer)
            self._buffer, self._at = next(self._chunks, b""), 0
            if not self._buffer:
                return True
        return False

    def take(self, count: int) -> bytes:
        taken = self._buffer[self._at : self._at + count]
        if len(taken) == count:
            self._at += count
            return taken
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[bytes]:
        while count:
            if self.is_at_end():
                raise NotAcceptable("the data set ends in the middle of an element")
            piece = self._buffer[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        for _ in self.pieces(count):
            pass


@dataclass(frozen=True, slots=True)
class _Element:
    tag: str
    vr: str  # "" for items and delimiters, and where none is written
    length: int

    @property
    def is_sequence(self) -> bool:
        return self.vr == "SQ" or (self.length == _UNDEFINED and self.vr in ("", "UN"))


class _Walk:
    """Over one data set, from its beginning to its end."""

    def __init__(self, source: _Input, pseudonyms: Pseudonyms, added: dict[str, bytes]) -> None:
        self._source = source
        self._pseudonyms = pseudonyms
        self._added = added
        self.sop_instance_uid = ""

    def data_set(self) -> Iterator[bytes]:
        waiting = dict(self._added)
        pixels_passed = False
        while not self._source.is_at_end():
            try:
                element = self._next(implicit=False)
            except NotAcceptable:
                if pixels_passed:
                    break  # garbage behind the pixel data
                raise
            if element.tag.startswith("FFFE"):
                continue  # a delimiter that nothing asked for
            for tag in [tag for tag in waiting if tag <= element.tag]:
                yield waiting.pop(tag)
            pixels_passed = pixels_passed or element.tag in PIXEL_DATA
            if element.tag in self._added:
                self._skip(element)
            else:
                yield from self._element(element, depth=0, replaced=False)
        yield from waiting.values()

    def _next(self, *, implicit: bool) -> _Element:
        source = self._source
        group, number, length = struct.unpack("<HHI", source.take(8))
        tag = f"{group:04X}{number:04X}"
        if implicit or group == 0xFFFE:
            return _Element(tag, "", length)
        vr = struct.pack("<I", length)[:2].decode("latin-1")
        if vr in SHORT_VRS:
            return _Element(tag, vr, length >> 16)
        if vr in LONG_VRS:
            (length,) = struct.unpack("<I", source.take(4))
            return _Element(tag, vr, length)
        raise NotAcceptable(
            f"the data set is too irregular to be anonymized, at byte {source.position}"
        )

    def _element(self, element: _Element, *, depth: int, replaced: bool) -> Iterator[bytes]:
        """
        Args:
            replaced: It is in a sequence that is to be replaced by a dummy.
        """
        what = self._action(element, replaced=replaced)
        if what is Action.REMOVE:
            self._skip(element)
        elif what is Action.EMPTY:
            self._skip(element)
            yield _header(element.tag, _known_vr(element), 0)
        elif element.is_sequence:
            yield from self._sequence(
                element, depth=depth, replaced=replaced or what is Action.DUMMY
            )
        elif element.length == _UNDEFINED:
            yield from self._fragments(element)
        elif what is Action.KEEP:
            yield _header(element.tag, element.vr, element.length)
            yield from self._source.pieces(element.length)
        elif what is Action.NEW_UID and element.length <= _SMALL_BYTES:
            yield self._new_uids(element, depth)
        else:
            yield self._dummy(element)

    def _action(self, element: _Element, *, replaced: bool) -> Action:
        what = action(element.tag, element.vr)
        if element.is_sequence and element.vr != "SQ":
            # of items that are hidden in an UN nothing is kept
            return what if what is Action.EMPTY else Action.REMOVE
        if not replaced or what in (Action.REMOVE, Action.EMPTY, Action.NEW_UID):
            return what
        return Action.KEEP if element.vr in _HARMLESS or element.is_sequence else Action.DUMMY

    def _new_uids(self, element: _Element, depth: int) -> bytes:
        values = self._source.take(element.length).rstrip(b"\0 ").split(b"\\")
        made = b"\\".join(self._new_uid(value) for value in values)
        if element.tag == _SOP_INSTANCE and made and not depth:
            self.sop_instance_uid = made.decode("latin-1")
        return _element(element.tag, "UI", made)

    def _new_uid(self, value: bytes) -> bytes:
        value = value.strip(b"\0 ")
        if not value or value.startswith(_STANDARD):
            return value
        return self._pseudonyms.uid(value.decode("latin-1")).encode()

    def _dummy(self, element: _Element) -> bytes:
        vr = _known_vr(element)
        if element.tag == _PATIENT_ID and element.length <= _SMALL_BYTES:
            value = self._source.take(element.length).strip(b"\0 ")
            made = self._pseudonyms.patient_id(value) if value else b""
            return _element(element.tag, vr, made)
        self._skip(element)
        if not element.length:
            return _header(element.tag, vr, 0)
        return _element(element.tag, vr, _DUMMIES.get(vr, bytes(_ZEROS.get(vr, 2))))

    def _sequence(self, element: _Element, *, depth: int, replaced: bool) -> Iterator[bytes]:
        if depth >= _MAX_DEPTH:
            raise NotAcceptable("the data set is nested too deeply to be anonymized")
        yield _header(element.tag, "SQ", _UNDEFINED if element.length else 0)
        if not element.length:
            return
        for item in self._items(element):
            yield _delimiter(_ITEM, _UNDEFINED)
            for nested in self._content(item):
                yield from self._element(nested, depth=depth + 1, replaced=replaced)
            yield _delimiter(_ITEM_END)
        yield _delimiter(_SEQUENCE_END)

    def _items(self, element: _Element) -> Iterator[_Element]:
        """The items of a sequence; each has to be read before the next is asked for."""
        end = _end(self._source.position, element.length)
        while self._source.position < end:
            item = self._next(implicit=True)
            if item.tag == _SEQUENCE_END:
                return
            if item.tag != _ITEM:
                raise NotAcceptable("a sequence of the data set holds something else than items")
            yield item

    def _content(self, item: _Element, *, implicit: bool = False) -> Iterator[_Element]:
        end = _end(self._source.position, item.length)
        while self._source.position < end:
            element = self._next(implicit=implicit)
            if element.tag == _ITEM_END:
                return
            if not element.tag.startswith("FFFE"):
                yield element

    def _skip(self, element: _Element, *, implicit: bool = False) -> None:
        if element.length != _UNDEFINED:
            self._source.skip(element.length)
            return
        if element.tag in PIXEL_DATA or element.vr not in ("SQ", "UN", ""):
            for _ in self._fragments(element):
                pass
            return
        # What is in a UN is implicit (PS3.5 section 6.2.2).
        implicit = implicit or element.vr == "UN"
        for item in self._items(element):
            for nested in self._content(item, implicit=implicit):
                self._skip(nested, implicit=implicit)

    def _fragments(self, element: _Element) -> Iterator[bytes]:
        yield _header(element.tag, element.vr, _UNDEFINED)
        while True:
            item = self._next(implicit=True)
            yield _delimiter(item.tag, item.length)
            if item.tag == _SEQUENCE_END:
                return
            if item.tag != _ITEM or item.length == _UNDEFINED:
                raise NotAcceptable("the pixel data is not in fragments that can be told apart")
            head = self._source.take(min(item.length, _SMALL_BYTES))
            try:
                yield without_comments(head)
            except Unended:
                if len(head) < item.length:
                    raise NotAcceptable("a frame has comments of unusual length") from None
                raise NotAcceptable("a frame ends within its header") from None
            yield from self._source.pieces(item.length - len(head))


def _end(position: int, length: int) -> float:
    return float("inf") if length == _UNDEFINED else position + length


def _known_vr(element: _Element) -> str:
    """That of the dictionary where the written one says nothing."""
    if element.vr != "UN":
        return element.vr
    return str(get_entry(int(element.tag, 16))[0])[:2]


def _regrouped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
