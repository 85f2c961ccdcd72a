"""Value fields as DICOM JSON values, for the values that are as PS3.5 section 6.2 wants them.

Each function maps the bytes of one value field to the list for "Value", empty for an
empty value field. It answers None when the value needs a closer look: characters outside of
ASCII, NULs that are no padding, text that is no number, a length that does not fit.
"""

import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal

from bfr_dicomweb.dicom.character_sets import CharacterSet, decode

Values = list[Any]
Convert = Callable[[bytes], Values | None]
ByteOrder = Literal["<", ">"]

TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""The VRs that Specific Character Set (0008,0005) applies to (PS3.5 section 6.1.2.2)."""

UNDIVIDED: Final = frozenset({"LT", "ST", "UR", "UT"})
"""The string VRs in which a backslash does not separate values (PS3.5 section 6.2)."""

# Formats of struct for the VRs of fixed size, PS3.5 Table 6.2-1.
NUMBERS: Final[dict[str, str]] = {
    "FD": "d",
    "FL": "f",
    "SL": "i",
    "SS": "h",
    "SV": "q",
    "UL": "I",
    "US": "H",
    "UV": "Q",
}

EXACT: Final = 2**53
"""Below it a double holds all the digits that DS has room for."""

_NUMBER: Final = {
    "DS": re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"),
    "IS": re.compile(r"[+-]?[0-9]{1,18}"),
}


def special(_value: bytes) -> None:
    """Of elements that always need a closer look."""
    return


def strings(value: bytes) -> Values | None:
    if not value.isascii():
        return None
    text = value.decode().rstrip("\0 ")
    if not text.isprintable():
        return None
    if "\\" in text:
        return [part.strip(" ") or None for part in text.split("\\")]
    return [text] if text else []


def text(value: bytes) -> Values | None:
    if not value.isascii():
        return None
    stripped = value.decode().rstrip("\0 ")
    if "\0" in stripped or "\x1b" in stripped:
        return None
    return [stripped] if stripped else []


def person_names(value: bytes) -> Values | None:
    if not value.isascii():
        return None
    names = value.decode().rstrip("\0 ")
    if not names.isprintable() or "=" in names or "\\" in names:
        return None
    return [{"Alphabetic": names}] if names else []


def decimal_strings(value: bytes) -> Values | None:
    # strip() leaves something over exactly when another character occurs
    if value.strip(b"0123456789.-+eE \\"):
        return None
    try:
        values = [float(part) for part in value.split(b"\\")]
    except ValueError:
        return None
    if len(value) > 15 or b"e" in value or b"E" in value:
        underflow = not all(values) and (b"e" in value or b"E" in value)
        if underflow or max(map(abs, values)) >= EXACT:
            return None
    return values


def integer_strings(value: bytes) -> Values | None:
    if value.strip(b"0123456789-+ \\"):
        return None
    try:
        values = [int(part) for part in value.split(b"\\")]
    except ValueError:
        return None
    # the integers of JSON here are those of 64 bits
    return values if len(value) < 19 or max(map(abs, values)) < 2**63 else None


def _nearest(decimal: str) -> float | str:
    """The number for JSON, or the text itself where a double would lose digits or size."""
    number = float(decimal)
    if 0 < abs(number) < EXACT:
        return number
    if math.isfinite(number) and Decimal(repr(number)) == Decimal(decimal):
        return number
    return decimal


def numbers(code: str, order: ByteOrder) -> Convert:
    """For a VR whose values are numbers of fixed size, with the format code of struct."""
    one = struct.Struct(order + code)
    size, unpack = one.size, one.unpack
    is_float = code in "fd"

    def convert(value: bytes) -> Values | None:
        length = len(value)
        if length == size:
            values = [*unpack(value)]
        elif length % size:
            return None
        else:
            values = [*struct.unpack(f"{order}{length // size}{code}", value)]
        # infinities and NaN make the difference NaN; JSON has neither
        if is_float and any(number - number != 0 for number in values):
            return None
        return values

    return convert


def attribute_tags(order: ByteOrder) -> Convert:
    def convert(value: bytes) -> Values | None:
        if len(value) % 4:
            return None
        parts = struct.unpack(f"{order}{len(value) // 2}H", value)
        return [
            f"{group:04X}{element:04X}"
            for group, element in zip(parts[::2], parts[1::2], strict=True)
        ]

    return convert


def converters(order: ByteOrder) -> dict[str, Convert]:
    """By VR; a VR that is missing here has no "Value", or one that needs more than its bytes."""
    by_vr: dict[str, Convert] = dict.fromkeys(
        ("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"), strings
    )
    by_vr |= dict.fromkeys(UNDIVIDED, text)
    by_vr |= {"PN": person_names, "DS": decimal_strings, "IS": integer_strings}
    by_vr |= {vr: numbers(code, order) for vr, code in NUMBERS.items()}
    by_vr["AT"] = attribute_tags(order)
    return by_vr


def odd_strings(value: bytes, vr: str, charset: CharacterSet) -> tuple[Values, list[str]]:
    """Any value of a string VR, and what is wrong with it."""
    delimiters = {"PN": b"\\^="}.get(vr, b"" if vr in UNDIVIDED else b"\\")
    decoded, problem = decode(value.rstrip(b"\0 "), charset, delimiters=delimiters)
    problems = [problem] if problem else []
    if vr not in TEXT and not value.isascii():
        problems.append("beyond-default-repertoire")
    divided = [decoded] if vr in UNDIVIDED else decoded.split("\\")
    parts = [part.strip("\0 ") for part in divided] if len(divided) > 1 else divided
    # NUL is kept free: it stands for the URL of the instance in BulkDataURI
    if any("\0" in part for part in parts):
        problems.append("nul-in-text")
        parts = [part.replace("\0", "\ufffd") for part in parts]
    if parts == [""]:
        return [], problems
    if vr != "PN":
        return [part or None for part in parts], problems
    if any(part.count("=") > 2 for part in parts):
        problems.append("more-than-three-name-groups")
    return [_name_groups(part) for part in parts], problems


def _name_groups(name: str) -> dict[str, str] | None:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False)
    return {group: text.rstrip(" ") for group, text in groups if text.strip(" ")} or None


def odd_number_strings(value: bytes, vr: str) -> tuple[Values, list[str]]:
    """Any value of DS or IS: numbers, and strings where no JSON number says the same."""
    texts = [part.strip("\0 ") for part in value.decode("latin-1").split("\\")]
    if texts == [""]:
        return [], []
    problems: list[str] = []
    values: Values = []
    for text in texts:
        if not text:
            values.append(None)
        elif not _NUMBER[vr].fullmatch(text):
            problems.append("not-a-number")
            values.append(text.replace("\0", "\ufffd"))
        elif vr == "IS":
            values.append(int(text))
        else:
            values.append(_nearest(text))
    return values, problems[:1]
