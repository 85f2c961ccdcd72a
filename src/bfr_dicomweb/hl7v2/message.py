r"""Messages of HL7 v2 as they are sent: segments, fields, repetitions, components, subcomponents.

Reading is lazy. `parse` divides a message into segments and fields; what is inside of a field is
divided, and its escape sequences are undone, when somebody asks for it. All numbers are those of
the standard, from 1: ``segment.text(3, component=4, subcomponent=2)`` of a PID is PID-3.4.2.

Tolerated: CR, LF and CRLF as segment terminators, mixed; white space, a byte order mark and the
framing of MLLP around the message; line breaks inside of text (a line that does not begin as a
segment belongs to the one before); fewer delimiters in MSH-2; any Z segment.
"""

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import charsets
from bfr_dicomweb.hl7v2.charsets import Charset, How

NULL: Final = '""'  # "delete what you have", where nothing means "I do not say"
HEADERS: Final = frozenset({"MSH", "FHS", "BHS"})
# What may stand on a line for itself. Other such lines are text: who signs with three initials is
# no segment.
EMPTY_SEGMENTS: Final = frozenset(
    {
        *("ACC", "AIG", "AIL", "AIP", "AIS", "AL1", "ARV", "BLG", "BTS", "CTD", "CTI"),
        *("DB1", "DG1", "DRG", "DSC", "EVN", "FT1", "FTS", "GT1", "IN1", "IN2", "IN3"),
        *("IPC", "MRG", "NK1", "NTE", "OBR", "OBX", "ORC", "PD1", "PDA", "PID", "PR1"),
        *("PRT", "PV1", "PV2", "RGS", "ROL", "SCH", "SFT", "TQ1", "TQ2", "TXA", "UAC"),
        *("UB1", "UB2"),
    }
)
# Of message types that have a single trigger event here; for senders that leave MSH-9.2 out.
ONLY_TRIGGER: Final = {"ORM": "O01", "ORU": "R01", "OMG": "O19", "OMI": "O23"}

HEAD_BYTES: Final = 64 * 1024
MAX_SPACING: Final = 100  # lines or columns that one escape sequence may ask for
_LEADING_JUNK: Final = b" \t\r\n\x0b"
_JUNK: Final = " \t\r\n\x0b\x1c\0\ufeff"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PUNCTUATION: Final = frozenset(string.punctuation)
_LINE_END = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class Limits:
    message_bytes: int = 32 * 1024 * 1024
    segments: int = 50_000
    fields: int = 5_000  # of one segment


DEFAULT_LIMITS: Final = Limits()


# compared by identity, because it is part of the keys of caches; of each there is one
@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """The delimiters of MSH-1 and MSH-2, "" for one that is not in use, and the character set."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""
    codec: str = "utf-8"

    @property
    def characters(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation

    def pick(self, raw: str, repetition: int, component: int, subcomponent: int) -> str:
        part = _nth(raw, self.repetition, repetition)
        part = _nth(part, self.component, component)
        return self.unescaped(_nth(part, self.subcomponent, subcomponent))

    def unescaped(self, raw: str) -> str:
        if raw == NULL:
            return ""
        if not self.escape or self.escape not in raw:
            return raw
        text = _escape_sequences(self.escape).sub(self._undo, raw)
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

    def escaped(self, text: str) -> str:
        """For writing; line breaks become ``\\.br\\``, other control characters hexadecimal."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text.translate(_escapes(self))

    def _undo(self, found: re.Match[str]) -> str:
        octets, sequence = found["octets"], found["sequence"]
        if octets is not None:
            digits = octets.replace(self.escape, "").replace("X", "").replace("x", "")
            text = charsets.decode_octets(bytes.fromhex(digits), self.codec)
            return text.replace("\0", "\ufffd")
        if sequence[0] == ".":
            return _layout(sequence)
        meaning = {
            "F": self.field,
            "S": self.component,
            "T": self.subcomponent,
            "R": self.repetition,
            "E": self.escape,
            "P": self.truncation,
        }
        # highlighting (H, N) and changes of the character set (C, M) are no text
        return meaning.get(sequence, "")


STANDARD: Final = Encoding()


class Repetition:
    """One value of a field."""

    __slots__ = ("_encoding", "raw")

    def __init__(self, raw: str, encoding: Encoding) -> None:
        self.raw = raw
        self._encoding = encoding

    def text(self, component: int = 1, subcomponent: int = 1) -> str:
        """Without escape sequences; "" when absent and when HL7 null."""
        part = _nth(self.raw, self._encoding.component, component)
        return self._encoding.unescaped(_nth(part, self._encoding.subcomponent, subcomponent))

    def component(self, number: int) -> str:
        """A component as it was sent."""
        return _nth(self.raw, self._encoding.component, number)

    def is_null(self, component: int | None = None) -> bool:
        return (self.raw if component is None else self.component(component)) == NULL

    @property
    def whole(self) -> str:
        """All of it as one text, for senders that do not escape the delimiters in their texts."""
        return self._encoding.unescaped(self.raw)

    @property
    def components(self) -> tuple[str, ...]:
        """The first subcomponents, without escape sequences."""
        divided = _all(self.raw, self._encoding.component)
        sub, unescaped = self._encoding.subcomponent, self._encoding.unescaped
        return tuple(unescaped(_nth(part, sub, 1)) for part in divided)

    def __repr__(self) -> str:
        return "Repetition(...)"  # patient data has no place in a traceback


class Field:
    __slots__ = ("_encoding", "raw")

    def __init__(self, raw: str, encoding: Encoding) -> None:
        self.raw = raw
        self._encoding = encoding

    @property
    def is_absent(self) -> bool:
        return not self.raw

    @property
    def is_null(self) -> bool:
        return self.raw == NULL

    @property
    def repetitions(self) -> tuple[Repetition, ...]:
        """None when absent. One between two others may be empty."""
        if not self.raw:
            return ()
        encoding = self._encoding
        return tuple(Repetition(part, encoding) for part in _all(self.raw, encoding.repetition))

    def text(self, component: int = 1, repetition: int = 1, subcomponent: int = 1) -> str:
        """Without escape sequences; "" when absent and when HL7 null."""
        return self._encoding.pick(self.raw, repetition, component, subcomponent)

    def __repr__(self) -> str:
        return "Field(...)"


class Segment:
    """
    Attributes:
        sequence: Which one of the segments of this name it is, from 1.
    """

    __slots__ = ("_encoding", "_fields", "name", "sequence")

    def __init__(self, name: str, sequence: int, fields: list[str], encoding: Encoding) -> None:
        self.name = name
        self.sequence = sequence
        self._fields = fields
        self._encoding = encoding

    @property
    def fields(self) -> tuple[str, ...]:
        """As they were sent, the name of the segment first."""
        return tuple(self._fields)

    @property
    def last_field(self) -> int:
        return len(self._fields) - 1

    def raw(self, field: int) -> str:
        """A field as it was sent, "" when absent."""
        return self._fields[field] if field < len(self._fields) else ""

    def raws(self, numbers: tuple[int, ...]) -> tuple[str, ...]:
        """Several fields as they were sent, "" for each that is absent."""
        sent = self._fields
        count = len(sent)
        return tuple([sent[number] if number < count else "" for number in numbers])

    def field(self, number: int) -> Field:
        return Field(self.raw(number), self.encoding_of(number))

    def repetitions(self, field: int) -> tuple[Repetition, ...]:
        return self.field(field).repetitions

    def text(
        self, field: int, component: int = 1, repetition: int = 1, subcomponent: int = 1
    ) -> str:
        """Without escape sequences; "" when absent and when HL7 null."""
        if field >= len(self._fields) or not (raw := self._fields[field]):
            return ""
        if raw.isalnum():
            # most fields are, and no delimiter is
            return raw if component == repetition == subcomponent == 1 else ""
        encoding = self._encoding if field > 2 else self.encoding_of(field)
        return encoding.pick(raw, repetition, component, subcomponent)

    def is_null(self, field: int) -> bool:
        return self.raw(field) == NULL

    def __repr__(self) -> str:
        return f"Segment({self.name} {self.sequence})"

    def encoding_of(self, field: int) -> Encoding:
        # MSH-1 and MSH-2 hold the delimiters and are not divided by them
        return _UNDIVIDED if field <= 2 and self.name in HEADERS else self._encoding


@dataclass(frozen=True, slots=True)
class Designator:
    """HD: who sends or receives."""

    namespace: str = ""
    universal_id: str = ""
    universal_id_type: str = ""


class Header:
    """What MSH says; of a message that could not be parsed as far as it could be read."""

    __slots__ = ("_event", "charset", "encoding", "msh")

    def __init__(self, msh: Segment, encoding: Encoding, charset: Charset) -> None:
        self.msh = msh
        self.encoding = encoding
        self.charset = charset
        self._event: tuple[str, str] | None = None

    @property
    def sending_application(self) -> Designator:
        return self._designator(3)

    @property
    def sending_facility(self) -> Designator:
        return self._designator(4)

    @property
    def receiving_application(self) -> Designator:
        return self._designator(5)

    @property
    def receiving_facility(self) -> Designator:
        return self._designator(6)

    @property
    def time(self) -> str:
        """MSH-7 as sent."""
        return self.msh.text(7)

    @property
    def code(self) -> str:
        """MSH-9.1, the type without its event: ORM."""
        return self._code_and_trigger()[0]

    @property
    def trigger(self) -> str:
        """MSH-9.2, or what the rest of the header says of it: O01."""
        return self._code_and_trigger()[1]

    @property
    def type(self) -> str:
        """Type and event: ORM^O01."""
        code, trigger = self._code_and_trigger()
        return f"{code}^{trigger}" if trigger else code

    @property
    def control_id(self) -> str:
        return self.msh.text(10)

    @property
    def processing_id(self) -> str:
        return self.msh.text(11)

    @property
    def version(self) -> str:
        return self.msh.text(12).strip()

    def _code_and_trigger(self) -> tuple[str, str]:
        if self._event is None:
            # some write the structure where the type belongs
            code, _, structure = self.msh.text(9).strip().upper().partition("_")
            trigger = self.msh.text(9, 2).strip().upper()
            self._event = code, trigger or structure or self._guess(code)
        return self._event

    def _guess(self, code: str) -> str:
        named, _, trigger = self.msh.text(9, 3).strip().upper().partition("_")
        return trigger if code == named and trigger else ONLY_TRIGGER.get(code, "")

    def _designator(self, field: int) -> Designator:
        msh = self.msh
        return Designator(msh.text(field), msh.text(field, 2), msh.text(field, 3))


class Message(Header):
    __slots__ = ("_by_name", "all_segments")

    def __init__(self, segments: tuple[Segment, ...], encoding: Encoding, charset: Charset) -> None:
        super().__init__(segments[0], encoding, charset)
        self.all_segments = segments
        self._by_name: dict[str, list[Segment]] = {}
        for segment in segments:
            self._by_name.setdefault(segment.name, []).append(segment)

    def segments(self, name: str) -> tuple[Segment, ...]:
        return tuple(self._by_name.get(name, ()))

    def first(self, name: str) -> Segment | None:
        found = self._by_name.get(name)
        return found[0] if found else None

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.all_segments)

    def __repr__(self) -> str:
        return f"Message({len(self.all_segments)} segments)"

    def _guess(self, code: str) -> str:
        event = self.first("EVN")
        return (event.text(1).strip().upper() if event is not None else "") or super()._guess(code)


def parse(data: bytes, *, charset: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Message:
    """
    Args:
        charset: What the sender writes when MSH-18 does not say so; see `charsets.decode`.

    Raises:
        InvalidMessage: It does not begin with a usable MSH, or exceeds a limit.
    """
    if len(data) > limits.message_bytes:
        raise InvalidMessage(
            f"a message may have at most {limits.message_bytes} bytes", rejected=True
        )
    text, found = _decoded(data, charset)
    encoding = _encoding(text, found.codec)
    return Message(tuple(_segments(text, encoding, limits)), encoding, found)


def peek(data: bytes) -> Header:
    """What can be read of the header, of any bytes whatever; nothing is raised."""
    line = _head(data)
    try:
        text, found = _decoded(line, None)
        encoding = _encoding(text, found.codec)
    except InvalidMessage:
        charset = Charset("utf-8", How.UNDECLARED)
        return Header(Segment("MSH", 1, ["MSH", "|", "^~\\&"], STANDARD), STANDARD, charset)
    return Header(Segment("MSH", 1, _divided(text, "MSH", encoding), encoding), encoding, found)


def _head(data: bytes) -> bytes:
    bare = data[:HEAD_BYTES].lstrip(_LEADING_JUNK)
    codec = charsets.wide_codec(bare)
    if codec is not None:
        text = bare[: len(bare) & ~1].decode(codec, "replace").removeprefix("\ufeff")
        return ("\ufeff" + re.split("[\r\n]", text, maxsplit=1)[0]).encode(codec)
    return _first_line(bare)


def _first_line(data: bytes) -> bytes:
    bare = data.removeprefix(_BYTE_ORDER_MARK).lstrip(_LEADING_JUNK)
    end = _LINE_END.search(bare)
    return bare if end is None else bare[: end.start()]


def _decoded(data: bytes, default: str | None) -> tuple[str, Charset]:
    bare = data.lstrip(_LEADING_JUNK)
    codec = charsets.wide_codec(bare)
    if codec is not None:
        text, found = charsets.decode_wide(bare, codec)
    else:
        words = _declared(_first_line(bare[:HEAD_BYTES]))
        if bare.startswith(_BYTE_ORDER_MARK):
            words = words or ["UNICODE UTF-8"]
        text, found = charsets.decode(bare, words, default=default)
    text = text.strip(_JUNK)
    # no database keeps it as text
    return (text.replace("\0", "\ufffd") if "\0" in text else text), found


def _declared(header: bytes) -> list[str]:
    """The repetitions of MSH-18, read from bytes that are not decoded yet."""
    fields = header.split(header[3:4], 18) if header.startswith(b"MSH") and header[3:] else []
    if len(fields) < 18:
        return []
    repetition = fields[1][1:2].decode("latin-1")
    text = fields[17].decode("latin-1").strip()
    return [word.strip() for word in _all(text, repetition)] if text and text != NULL else []


def _encoding(text: str, codec: str) -> Encoding:
    if not text.startswith("MSH") or len(text) == 3:
        raise InvalidMessage(
            "the message does not begin with an MSH segment", code=100, segment="MSH", rejected=True
        )
    separator = text[3]
    characters = text[4:12].partition(separator)[0].partition("\r")[0].partition("\n")[0]
    return _known_encoding(separator, characters, codec)


@lru_cache(maxsize=256)
def _known_encoding(separator: str, characters: str, codec: str) -> Encoding:
    if not _are_delimiters(separator):
        raise InvalidMessage(
            "MSH-1 is no field separator", code=102, segment="MSH", field=1, rejected=True
        )
    if not characters:
        raise InvalidMessage(
            "MSH-2 names no delimiters", code=101, segment="MSH", field=2, rejected=True
        )
    if len(characters) > 5 or not _are_delimiters(separator + characters):
        raise InvalidMessage(
            "MSH-2 has to be up to five different delimiters",
            code=102,
            segment="MSH",
            field=2,
            rejected=True,
        )
    component, repetition, escape, sub, truncation = [*characters, "", "", "", ""][:5]
    return Encoding(separator, component, repetition, escape, sub, truncation, codec)


def _are_delimiters(characters: str) -> bool:
    return len(set(characters)) == len(characters) and set(characters) <= _PUNCTUATION


def _segments(text: str, encoding: Encoding, limits: Limits) -> Iterator[Segment]:
    if "\x0b" in text:  # how a word processor breaks a line inside of a paragraph
        text = text.replace("\x0b", "\n")
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    if text.count("\r") >= limits.segments:
        raise InvalidMessage(
            f"a message may have at most {limits.segments} segments", rejected=True
        )
    counts: dict[str, int] = {}
    for line in _whole_lines(text.split("\r"), encoding.field):
        name = line[:3]
        counts[name] = sequence = counts.get(name, 0) + 1
        if line.count(encoding.field) > limits.fields:
            raise InvalidMessage(
                f"a segment may have at most {limits.fields} fields",
                segment=name,
                sequence=sequence,
                rejected=True,
            )
        yield Segment(name, sequence, _divided(line, name, encoding), encoding)


def _whole_lines(lines: list[str], separator: str) -> Iterator[str]:
    """The lines; one that does not begin as a segment is put to the one before."""
    whole: list[str] = []
    for line in lines:
        if (line[3:4] == separator and _is_segment_name(line[:3])) or line in EMPTY_SEGMENTS:
            if whole:
                yield _joined(whole)
            whole = [line]
        else:
            whole.append(line)
    yield _joined(whole)


def _joined(lines: list[str]) -> str:
    return lines[0] if len(lines) == 1 else "\n".join(lines).rstrip("\n")


@lru_cache(maxsize=1024)
def _is_segment_name(name: str) -> bool:
    return (
        len(name) == 3 and name.isalnum() and name.isupper() and name.isascii()
        and not name[0].isdigit()
    )  # fmt: skip


def _divided(line: str, name: str, encoding: Encoding) -> list[str]:
    fields = line.split(encoding.field)
    if name in HEADERS:
        fields.insert(1, encoding.field)
    return fields


def _nth(raw: str, delimiter: str, number: int) -> str:
    if not delimiter or delimiter not in raw:
        return raw if number == 1 else ""
    if number == 1:
        return raw.partition(delimiter)[0]
    parts = raw.split(delimiter, number)
    return parts[number - 1] if number <= len(parts) else ""


def _all(raw: str, delimiter: str) -> list[str]:
    return raw.split(delimiter) if delimiter else [raw]


# Only what is an escape sequence matches, so that a lone escape character stays what it is.
@lru_cache(maxsize=64)
def _escape_sequences(escape: str) -> re.Pattern[str]:
    mark, two = re.escape(escape), "(?:[0-9A-Fa-f]{2})"
    return re.compile(
        rf"(?P<octets>(?:{mark}[Xx]{two}+{mark})+)"
        rf"|{mark}(?P<sequence>[FSTREPHN]|C{two}{{2}}|M{two}{{2,3}}"
        rf"|\.(?i:br|ce|fi|nf|(?:sp|sk|in|ti)[ ]*[+-]?[0-9]{{0,4}})){mark}"
    )


def _layout(sequence: str) -> str:
    """Formatting commands as line breaks and spaces; margins and filling are not kept."""
    command, number = sequence[1:3].lower(), sequence[3:].strip()
    count = min(abs(int(number)), MAX_SPACING) if number.strip("+-") else 1
    if command in ("br", "ce"):
        return "\n"
    if command == "sp":
        return "\n" * max(count, 1)
    return " " * count if command == "sk" else ""


@lru_cache(maxsize=64)
def _escapes(encoding: Encoding) -> dict[int, str]:
    mark = encoding.escape
    if not mark:  # what cannot be escaped cannot be said
        return dict.fromkeys(
            (*range(0x20), 0x7F, *map(ord, encoding.field + encoding.characters)), " "
        )
    table = {code: f"{mark}X{code:02X}{mark}" for code in (*range(0x20), 0x7F)}
    table[ord("\n")] = f"{mark}.br{mark}"
    named = {
        "F": encoding.field,
        "S": encoding.component,
        "T": encoding.subcomponent,
        "R": encoding.repetition,
        "E": encoding.escape,
        "P": encoding.truncation,
    }
    return table | {ord(sign): f"{mark}{name}{mark}" for name, sign in named.items() if sign}


_UNDIVIDED: Final = Encoding(component="", repetition="", escape="", subcomponent="")
