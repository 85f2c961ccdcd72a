"""Character sets that texts are written in (PS3.18 section 8.8 and Annex D)."""

import codecs
import re
from typing import Final

from bfr_dicomweb.errors import NotAcceptable

# IANA's preferred names; Python's names of the same in the second column.
CHARSETS: Final = {
    "utf-8": "utf-8",
    "us-ascii": "ascii",
    **{f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))},
    "tis-620": "tis-620",
    "iso-2022-jp": "iso2022_jp",
    "iso-2022-kr": "iso2022_kr",
    "shift_jis": "shift_jis",
    "euc-jp": "euc_jp",
    "euc-kr": "euc_kr",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "gb18030": "gb18030",
    "big5": "big5",
    "koi8-r": "koi8-r",
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
}
_OTHER_NAMES: Final = {"utf8": "utf-8", "ascii": "us-ascii", "latin1": "iso-8859-1"}
# What neither HTML nor XML 1.0 can hold, and what a text has no use for.
_UNSHOWABLE: Final = re.compile(
    "[^\t\n\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def known_charset(name: str) -> str:
    """The preferred name of a character set, in lower case; "" for one that is not written."""
    lower = name.strip().lower()
    lower = _OTHER_NAMES.get(lower, lower)
    return lower if lower in CHARSETS else ""


def encode(text: str, charset: str) -> bytes:
    """
    Raises:
        NotAcceptable: The character set is unknown, or cannot hold the text.
    """
    known = known_charset(charset)
    if not known:
        raise NotAcceptable(f"no text is written in the character set {charset[:40]!r}")
    try:
        return codecs.encode(text, CHARSETS[known])
    except UnicodeEncodeError:
        raise NotAcceptable(f"the text has characters that {known} does not have") from None


def showable(text: str) -> str:
    """The text without control characters; every end of a line is one line feed."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSHOWABLE.sub("\ufffd", re.sub("\r\n|\n\r|[\r\f\v\x85\u2028\u2029]", "\n", text))
