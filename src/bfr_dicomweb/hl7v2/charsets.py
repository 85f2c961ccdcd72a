"""Which character set the bytes of a message are in, whatever MSH-18 says of it.

Senders declare a character set, declare none, declare one that nobody has heard of, or declare
one and write another. Every byte becomes text in any case; `Charset.how` says what was believed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from bfr_dicomweb.errors import InvalidMessage


class How(StrEnum):
    DECLARED = "declared"
    UNDECLARED = "undeclared"  # found out
    WRONG = "wrong"  # one is declared, and the bytes are in another
    UNKNOWN = "unknown"  # what is declared is no character set that is known here


@dataclass(frozen=True, slots=True)
class Charset:
    """
    Attributes:
        codec: Python's name of it.
        declared: MSH-18 as sent, its repetitions joined with "~".
    """

    codec: str
    how: How
    declared: str = ""

    @property
    def is_doubtful(self) -> bool:
        return self.how in (How.WRONG, How.UNKNOWN)


# HL7 table 0211, and the words of DICOM, IANA and Windows that are met in its place; letters and
# digits only. "UNICODE" alone means UCS-2 by the table, but who writes it sends UTF-8: text in
# 16-bit units is recognised by its bytes before anybody looks here.
CODECS: Final = {
    "ASCII": "ascii",
    "USASCII": "ascii",
    "ISO646": "ascii",
    "UNICODEUTF8": "utf-8",
    "UNICODE": "utf-8",
    "UTF8": "utf-8",
    "LATIN1": "iso8859-1",
    "ANSI": "cp1252",
    "GB180302000": "gb18030",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "KSX1001": "euc_kr",
    "BIG5": "big5",
    "CNS116431992": "big5",
    "SHIFTJIS": "shift_jis",
}
# Registration numbers of ISO 2375, as in PS3.3 section C.12.1.1.2 and HL7 table 0211.
REGISTERED: Final = {
    6: "ascii",
    14: "shift_jis",
    13: "shift_jis",
    87: "iso2022_jp_2",
    159: "iso2022_jp_2",
    100: "iso8859-1",
    101: "iso8859-2",
    109: "iso8859-3",
    110: "iso8859-4",
    144: "iso8859-5",
    127: "iso8859-6",
    126: "iso8859-7",
    138: "iso8859-8",
    148: "iso8859-9",
    166: "iso8859-11",
    192: "utf-8",
    203: "iso8859-15",
}
PARTS_OF_8859: Final = frozenset({*range(1, 12), *range(13, 17)})
WINDOWS_PAGES: Final = range(1250, 1259)
# In these, what reads as UTF-8 and is not plain ASCII makes no word of any language.
WESTERN: Final = frozenset({"ascii", "iso8859-1", "iso8859-15", "cp1252"})

_WORD = re.compile(
    r"(?:ISO)?8859(?P<part>\d{1,2})|ISO(?:2022)?IR(?P<number>\d{1,3})|(?:WINDOWS|CP)(?P<page>\d{4})"
)
_NOT_ALPHANUMERIC = re.compile(r"[^0-9A-Z]")
_UNUSED_IN_8859 = re.compile(rb"[\x80-\x9f]")
_ESCAPE = b"\x1b"


@lru_cache(maxsize=256)
def codec_of(word: str) -> str | None:
    """Python's name of a character set as MSH-18, a media type or a setting names it."""
    bare = _NOT_ALPHANUMERIC.sub("", word[:40].upper())
    if (codec := CODECS.get(bare)) is not None:
        return codec
    found = _WORD.fullmatch(bare)
    if found is None:
        return None
    if found["part"]:
        return f"iso8859-{int(found['part'])}" if int(found["part"]) in PARTS_OF_8859 else None
    if found["number"]:
        return REGISTERED.get(int(found["number"]))
    return f"cp{found['page']}" if int(found["page"]) in WINDOWS_PAGES else None


def wide_codec(data: bytes) -> str | None:
    """The codec when the message is written in 16-bit units."""
    if data.startswith((b"\xff\xfe", b"M\0S\0H\0")):
        return "utf-16-le"
    if data.startswith((b"\xfe\xff", b"\0M\0S\0H")):
        return "utf-16-be"
    return None


def decode_wide(data: bytes, codec: str) -> tuple[str, Charset]:
    """
    Raises:
        InvalidMessage: Half a character is at the end, or half a pair somewhere.
    """
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        raise InvalidMessage(
            "the message begins as UTF-16 and does not go on so",
            code=102,
            segment="MSH",
            field=18,
        ) from None
    return text.removeprefix("\ufeff"), Charset(codec, How.DECLARED)


def decode(
    data: bytes, declared: Sequence[str] = (), *, default: str | None = None
) -> tuple[str, Charset]:
    """The text of a message that is not in 16-bit units, and the character set it is in.

    Args:
        declared: The repetitions of MSH-18.
        default: What this sender writes when it does not say so, a word that `codec_of` knows.
            UTF-8 is tried before, because other text is hardly ever valid UTF-8.
    """
    words = [word for word in declared if word]
    known = [codec for word in words if (codec := codec_of(word)) is not None]
    said = "~".join(declared)
    if data.isascii() and _ESCAPE not in data:
        how = How.DECLARED if known else How.UNKNOWN if words else How.UNDECLARED
        return data.decode("ascii"), Charset(known[0] if known else "utf-8", how, said)
    for codec in known:
        if (text := _attempt(data, codec)) is not None and not _is_mistaken(data, codec):
            return text, Charset(codec, How.DECLARED, said)
    text, codec = _found_out(data, default)
    how = How.WRONG if known else How.UNKNOWN if words else How.UNDECLARED
    return text, Charset(codec, how, said)


def decode_octets(octets: bytes, codec: str) -> str:
    r"""What stands in ``\X..\``: in the character set of the message, or in Windows-1252."""
    text = _attempt(octets, codec)
    return text if text is not None else _found_out(octets, None)[0]


def _found_out(data: bytes, default: str | None) -> tuple[str, str]:
    for codec in _candidates(default):
        if (text := _attempt(data, codec)) is not None:
            return text, codec
    return data.decode("iso8859-1"), "iso8859-1"  # which has a character for every byte


def _candidates(default: str | None) -> Iterator[str]:
    yield "utf-8"
    codec = codec_of(default) if default else None
    if codec is not None:
        yield codec
    yield "cp1252"


def _attempt(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _is_mistaken(data: bytes, codec: str) -> bool:
    """Text of which the bytes are possible, but the characters are not."""
    if codec in ("iso8859-1", "iso8859-15") and _UNUSED_IN_8859.search(data) is not None:
        return True
    return codec in WESTERN and _attempt(data, "utf-8") is not None
