"""Text of a data set, by its Specific Character Set (0008,0005) (PS3.3 section C.12.1.1.2).

Code extension works on two halves: bytes below 80 belong to G0, the others to G1, and an
escape sequence (ISO 2022) puts another character set into one of them.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# Defined Terms without code extensions, PS3.3 Tables C.12-2 and C.12-5; the codecs are Python's.
SINGLE: Final[dict[str, str]] = {
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "iso8859-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 127": "iso8859-6",
    "ISO_IR 126": "iso8859-7",
    "ISO_IR 138": "iso8859-8",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 203": "iso8859-15",
    "ISO_IR 13": "shift_jis",  # its one-byte half is JIS X 0201
    "ISO_IR 166": "tis-620",
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}

# Escape sequences without the ESC, PS3.3 Tables C.12-3 and C.12-4.
G0: Final[dict[bytes, str]] = {
    b"(B": "ascii",
    b"(J": "shift_jis",
    b"$B": "iso2022_jp",
    b"$@": "iso2022_jp",
    b"$(D": "iso2022_jp_1",
}
G1: Final[dict[bytes, str]] = {
    b"-A": "iso8859-1",
    b"-B": "iso8859-2",
    b"-C": "iso8859-3",
    b"-D": "iso8859-4",
    b"-L": "iso8859-5",
    b"-G": "iso8859-6",
    b"-F": "iso8859-7",
    b"-H": "iso8859-8",
    b"-M": "iso8859-9",
    b"-b": "iso8859-15",
    b"-T": "tis-620",
    b")I": "shift_jis",
    b"$)C": "euc_kr",
    b"$)A": "gb2312",
}
# Two-byte sets in G0: their bytes look like ASCII, so no delimiter is one while they are active.
TWO_BYTES: Final = frozenset({b"$B", b"$@", b"$(D"})
# The G1 set that each term designates, for values which forget the escape sequence.
DESIGNATED: Final[dict[str, str]] = {"ISO_IR 149": "euc_kr", "ISO_IR 58": "gb2312"}

ESCAPE: Final = re.compile(rb"\x1b(\$\)?[A-Z@]|\$\([A-Z]|[()-][A-Za-z])")
RUN: Final = re.compile(rb"[\x80-\xff]+|[\x00-\x7f]+")
REGISTRATION: Final = re.compile(r"(?:ISO)?[ _-]*(2022)?[ _-]*IR[ _-]*(\d+)")
LATIN: Final = re.compile(r"(?:ISO[ _-]?)?8859[ _-](\d+)")
# Parts of ISO 8859 by their registration numbers.
PARTS: Final = ("100", "101", "109", "110", "144", "127", "126", "138", "148")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """What a Specific Character Set declares.

    Attributes:
        codec: Of the text before any escape sequence.
        extended: Whether escape sequences may occur.
        fallback: G1 codec for high bytes where neither the first value nor an
            escape sequence has one; None where none is declared.
        declared: False when the attribute is missing or empty.
        exact: False when a term is misspelled or unknown.
    """

    codec: str = "ascii"
    extended: bool = True
    fallback: str | None = None
    declared: bool = False
    exact: bool = True


UNDECLARED: Final = CharacterSet()


def _term(text: str) -> tuple[str, bool]:
    """The single-byte Defined Term that a value means, and whether it is written so."""
    if text in SINGLE:
        return text, True
    tidy = text.upper().strip()
    if tidy in {"UTF-8", "UTF8", "ISO_IR 192", "ISO 10646"}:
        return "ISO_IR 192", False
    if tidy in {"LATIN1", "LATIN-1", "WINDOWS-1252"}:
        return "ISO_IR 100", False
    if tidy in {"GB18030", "GBK"}:
        return tidy, False
    if latin := LATIN.search(tidy):
        part = int(latin[1])
        if 1 <= part <= len(PARTS):
            return f"ISO_IR {PARTS[part - 1]}", False
        return ("ISO_IR 203" if part == 15 else "ISO_IR 6"), False
    if registered := REGISTRATION.fullmatch(tidy):
        return f"ISO_IR {registered[2]}", text == f"ISO 2022 IR {registered[2]}"
    return "ISO_IR 6", text == ""


@lru_cache(maxsize=256)
def character_set(terms: bytes) -> CharacterSet:
    """What the value field of Specific Character Set declares."""
    values = [part.strip(" \0") for part in terms.decode("latin-1").split("\\")]
    if not any(values):
        return UNDECLARED
    read = [_term(value) for value in values]
    first, others = read[0][0], read[1:]
    known = all(
        term in SINGLE or term in {*DESIGNATED, *("ISO_IR 87", "ISO_IR 159", "ISO_IR 14")}
        for term, _ in read
    )
    fallback = next(
        (
            DESIGNATED.get(term) or SINGLE[term]
            for term, _ in [*others, read[0]]
            if term in DESIGNATED or SINGLE.get(term, "ascii") != "ascii"
        ),
        None,
    )
    codec = SINGLE.get(first, "ascii")
    return CharacterSet(
        codec=codec,
        extended=codec not in {"utf-8", "gb18030", "gbk"},
        fallback=fallback,
        declared=True,
        exact=known and all(exact for _, exact in read),
    )


def decode(value: bytes, charset: CharacterSet, *, delimiters: bytes = b"") -> tuple[str, str]:
    """The text of a value field, and what was wrong with it ("" for nothing).

    Args:
        value: The value field; trailing padding may still be there.
        charset: What is in effect where the value stands.
        delimiters: Bytes that put the first character set into effect again:
            the backslash, and in PN also ^ and =; none in ST, LT and UT.
    """
    if charset.extended and b"\x1b" in value:
        return _decode_extended(value, charset, delimiters)
    if value.isascii():
        return value.decode("ascii"), ""
    if charset.codec == "ascii":
        if charset.fallback is not None:
            return _lenient(value, charset.fallback), "missing-escape-sequence"
        return _guess(value), "undeclared-character-set"
    try:
        return value.decode(charset.codec), ""
    except UnicodeDecodeError:
        if charset.codec == "utf-8":
            return _latin(value), "wrong-character-set"
        return _lenient(value, charset.codec), "undecodable-text"


def _lenient(value: bytes, codec: str) -> str:
    return value.decode(codec, "replace")


def _guess(value: bytes) -> str:
    # Text in another encoding is hardly ever valid UTF-8 by chance.
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _latin(value)


def _latin(value: bytes) -> str:
    """Windows-1252 where it differs from Latin-1 only by printing what is a control there."""
    try:
        return value.decode("cp1252")
    except UnicodeDecodeError:
        return value.decode("latin-1")


@dataclass(slots=True)
class _Halves:
    """What is invoked in G0 (an escape sequence) and in G1 (a codec)."""

    g0: bytes
    g1: str | None


def _decode_extended(value: bytes, charset: CharacterSet, delimiters: bytes) -> tuple[str, str]:
    first = _Halves(b"(J" if charset.codec == "shift_jis" else b"(B", None)
    if charset.codec != "ascii":
        first.g1 = charset.codec
    now = _Halves(first.g0, first.g1)
    resets = re.compile(b"([" + re.escape(delimiters) + rb"\t\n\x0c\r])")
    text: list[str] = []
    problem = "" if charset.declared else "undeclared-character-set"
    pieces = ESCAPE.split(value)
    for number, piece in enumerate(pieces):
        if number % 2:
            if piece in G0:
                now.g0 = piece
            elif piece in G1:
                now.g1 = G1[piece]
            else:
                problem = "unknown-escape-sequence"
            continue
        parts = [piece] if now.g0 in TWO_BYTES else resets.split(piece)
        for part in parts:
            if len(part) == 1 and resets.fullmatch(part) and now.g0 not in TWO_BYTES:
                now.g0, now.g1 = first.g0, first.g1
            decoded, complete = _decode_halves(part, now, charset)
            text.append(decoded)
            problem = problem if complete else "undecodable-text"
    return "".join(text), problem


def _decode_halves(part: bytes, now: _Halves, charset: CharacterSet) -> tuple[str, bool]:
    text: list[str] = []
    for run in RUN.findall(part):
        if run[0] >= 0x80:
            codec, encoded = now.g1 or charset.fallback or "latin-1", run
        elif now.g0 in TWO_BYTES:
            codec, encoded = G0[now.g0], b"\x1b" + now.g0 + run
        else:
            codec, encoded = "ascii", run
        text.append(encoded.decode(codec, "replace"))
    joined = "".join(text)
    return joined, "\ufffd" not in joined
