"""A strict reader of the DICOM JSON Model (PS3.18 Annex F) that names every broken rule."""

import base64
import binascii
import re
from typing import Final

from dicomweb_conformance import payloads
from dicomweb_conformance.findings import Inspection

# The rules, and the section of PS3.18 that each is from.
SYNTAX: Final = "syntax"  # F.2, RFC 8259: JSON in UTF-8 without a byte order mark
BARE_NUMBERS: Final = "bare numbers"  # RFC 8259 section 6: no NaN, no Infinity
ARRAY: Final = "array"  # F.2.1
KEYS: Final = "keys"  # F.2.2: 8 upper-case hexadecimal digits, ascending, each once
GROUP_LENGTH: Final = "group length"  # F.2.2
MEMBERS: Final = "members"  # F.2.2: vr and at most one of the three
VALUE: Final = "value"  # F.2.2: an array, F.2.5: not an empty one
NULLS: Final = "nulls"  # F.2.5: an empty value among several
EMPTY: Final = "empty"  # F.2.5: an empty attribute has only vr
EMPTY_ITEMS: Final = "empty items"  # F.2.5
PERSON_NAMES: Final = "person names"  # F.2.2
NUMBERS: Final = "numbers"  # F.2.3, FL FD SL SS UL US
DECIMALS: Final = "decimals"  # F.2.3, DS IS SV UV
TAGS: Final = "tags"  # F.2.3, AT
STRINGS: Final = "strings"  # F.2.3
INLINE: Final = "inline binary"  # F.2.2, F.2.3
BULK: Final = "bulk data"  # F.2.2
PADDING: Final = "padding"  # F.2.3
CHARACTER_SET: Final = "character set"  # F.2
PRIVATE: Final = "private"  # F.2, PS3.5 section 7.8.1

INLINE_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
BULK_VRS: Final = frozenset(
    {
        "DS",
        "FL",
        "FD",
        "IS",
        "LT",
        "OB",
        "OD",
        "OF",
        "OL",
        "OV",
        "OW",
        "SL",
        "SS",
        "ST",
        "SV",
        "UC",
        "UL",
        "UN",
        "US",
        "UT",
        "UV",
    }
)
_NUMBER_VRS = frozenset({"FL", "FD", "SL", "SS", "UL", "US"})
_DECIMAL_VRS = frozenset({"DS", "IS", "SV", "UV"})
_STRING_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_VRS = INLINE_VRS | _NUMBER_VRS | _DECIMAL_VRS | _STRING_VRS | {"AT", "PN", "SQ"}
_TAG = re.compile(r"[0-9A-F]{8}")
_DECIMAL = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")
_CONTENTS = frozenset({"Value", "BulkDataURI", "InlineBinary"})


class _Members(list[tuple[str, object]]):
    """A JSON object as it was written: with its order and its repeated names."""

    def get(self, name: str) -> object:
        return next((value for key, value in self if key == name), None)

    @property
    def names(self) -> list[str]:
        return [key for key, _ in self]


def inspect(payload: bytes, *, single: bool = False) -> Inspection:
    """Judges a payload by all the rules.

    Args:
        single: one bare object is right (PS3.18 Annexes I, J and K), not an array.
    """
    found = Inspection()
    data = _parsed(found, payload)
    if data is None:
        return found
    if single and isinstance(data, _Members):
        _inspect_dataset(found, data, "")
        return found
    if found.judge(ARRAY, type(data) is list, "", "the top level is not one array"):
        for index, dataset in enumerate(data if isinstance(data, list) else ()):
            where = f"[{index}]"
            if found.judge(ARRAY, isinstance(dataset, _Members), where, "is not an object"):
                _inspect_dataset(found, dataset, where)
    return found


def _parsed(found: Inspection, payload: bytes) -> object | None:
    bare: list[str] = []

    def constant(name: str) -> float:
        bare.append(name)
        return 0.0

    mark = payload.startswith(b"\xef\xbb\xbf")
    found.judge(SYNTAX, not mark, "", "begins with a byte order mark")
    try:
        text = payload.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        data = payloads.read_json(text, object_pairs_hook=_Members, parse_constant=constant)
    except UnicodeDecodeError:
        found.judge(SYNTAX, False, "", "is not UTF-8")
        return None
    except payloads.Unreadable:
        found.judge(SYNTAX, False, "", "is no JSON")
        return None
    found.judge(BARE_NUMBERS, not bare, "", f"holds {', '.join(sorted(set(bare)))}")
    return data if data is not None else []


def _inspect_dataset(found: Inspection, dataset: _Members, where: str) -> None:
    tags = dataset.names
    for tag in tags:
        at = f"{where}.{tag if len(tag) <= 40 else 'a long name'}"
        if found.judge(KEYS, bool(_TAG.fullmatch(tag)), at, "is not 8 upper-case hex digits"):
            found.judge(GROUP_LENGTH, not tag.endswith("0000"), at, "is a group length")
    if tags:  # an empty one shows nothing
        found.judge(KEYS, len(set(tags)) == len(tags), where, "holds an attribute twice")
        found.judge(KEYS, tags == sorted(tags), where, "attributes are not in ascending order")
    for tag, attribute in dataset:
        _inspect_attribute(found, attribute, f"{where}.{tag}")
        if tag == "00080005" and isinstance(attribute, _Members):
            held = attribute.get("Value") == ["ISO_IR 192"]
            found.judge(CHARACTER_SET, held, f"{where}.{tag}", "is not ISO_IR 192")
    _inspect_private(found, tags, where)


def _inspect_private(found: Inspection, tags: list[str], where: str) -> None:
    """Each private attribute has the creator element of its block."""
    for tag in tags:
        if not is_private(tag) or tag[4:6] == "00":
            continue
        creator = f"{tag[:4]}00{tag[4:6]}"
        found.judge(PRIVATE, creator in tags, f"{where}.{tag}", f"has no creator {creator}")


def _inspect_attribute(found: Inspection, attribute: object, where: str) -> None:
    if not found.judge(MEMBERS, isinstance(attribute, _Members), where, "is not an object"):
        return
    written = attribute if isinstance(attribute, _Members) else _Members()
    vr = written.get("vr")
    is_known = isinstance(vr, str) and vr in _VRS
    if not found.judge(MEMBERS, is_known, where, "has no vr, or none of the Standard"):
        return
    names = written.names
    known = set(names) <= _CONTENTS | {"vr"} and len(set(names)) == len(names)
    found.judge(MEMBERS, known, where, "has a member that the model does not know")
    contents = [name for name in names if name in _CONTENTS]
    found.judge(MEMBERS, len(contents) <= 1, where, f"has {' and '.join(contents)}")
    if not contents:
        found.judge(EMPTY, True, where, "")
    for name in contents:
        _inspect_content(found, str(vr), name, written.get(name), where)


def _inspect_content(found: Inspection, vr: str, name: str, content: object, where: str) -> None:
    if name == "InlineBinary":
        found.judge(INLINE, vr in INLINE_VRS, where, f"InlineBinary is not for {vr}")
        found.judge(INLINE, _is_base64(content), where, "InlineBinary is no base64 text")
        found.judge(EMPTY, content != "", where, "an empty attribute has an InlineBinary")
    elif name == "BulkDataURI":
        found.judge(BULK, vr in BULK_VRS, where, f"BulkDataURI is not for {vr}")
        held = isinstance(content, str) and bool(content)
        found.judge(BULK, held, where, "BulkDataURI is no text")
    else:
        found.judge(VALUE, vr not in INLINE_VRS, where, f"{vr} has a Value")
        if found.judge(VALUE, type(content) is list, where, "Value is not an array"):
            values = content if isinstance(content, list) else []
            found.judge(EMPTY, bool(values), where, "an empty attribute has a Value")
            if vr not in INLINE_VRS:
                _inspect_values(found, vr, values, where)


def _inspect_values(found: Inspection, vr: str, values: list[object], where: str) -> None:
    for index, value in enumerate(values):
        at = f"{where}[{index}]"
        if value is None:
            found.judge(NULLS, len(values) > 1, at, "null stands for a whole empty attribute")
        elif vr == "SQ":
            if found.judge(VALUE, isinstance(value, _Members), at, "an item is not an object"):
                _inspect_item(found, value, at)
        elif vr == "PN":
            _inspect_person_name(found, value, at)
        else:
            _inspect_value(found, vr, value, at)


def _inspect_item(found: Inspection, item: object, where: str) -> None:
    if isinstance(item, _Members) and item:
        _inspect_dataset(found, item, where)
    else:
        found.judge(EMPTY_ITEMS, True, where, "")


def _inspect_person_name(found: Inspection, value: object, where: str) -> None:
    if not found.judge(PERSON_NAMES, isinstance(value, _Members), where, "is not an object"):
        return
    for name, group in value if isinstance(value, _Members) else ():
        known = name in ("Alphabetic", "Ideographic", "Phonetic")
        found.judge(PERSON_NAMES, known, where, "has a member that is no component group")
        held = isinstance(group, str) and bool(group)
        found.judge(PERSON_NAMES, held, where, "has a component group that is empty or no text")


def _inspect_value(found: Inspection, vr: str, value: object, where: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if vr in _NUMBER_VRS:
        found.judge(NUMBERS, is_number, where, f"a value of {vr} is not a number")
    elif vr in _DECIMAL_VRS:
        held = is_number or (isinstance(value, str) and bool(_DECIMAL.fullmatch(value)))
        found.judge(DECIMALS, held, where, f"a value of {vr} is neither a number nor its text")
    elif vr == "AT":
        held = isinstance(value, str) and bool(_TAG.fullmatch(value))
        found.judge(TAGS, held, where, "a value of AT is not 8 upper-case hex digits")
    elif found.judge(STRINGS, isinstance(value, str), where, f"a value of {vr} is no text"):
        written = str(value)
        # blanks at the end of LT, ST and UT are padding too, but may be meant
        padded = written.endswith("\0") or (written.endswith(" ") and vr not in ("LT", "ST", "UT"))
        found.judge(PADDING, not padded, where, f"a value of {vr} ends in padding")
        found.judge(NULLS, written != "", where, "an empty value is not null")


def _is_base64(content: object) -> bool:
    return inline_bytes(content) is not None


def inline_bytes(content: object) -> bytes | None:
    """The bytes of an InlineBinary; None where it is no base64 text."""
    if not isinstance(content, str):
        return None
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return None


def is_private(tag: str) -> bool:
    return bool(_TAG.fullmatch(tag)) and int(tag[3], 16) % 2 == 1


def text(dataset: object, tag: str) -> str:
    """The first value of an attribute of a parsed object, as text; nothing if there is none."""
    values = values_of(dataset, tag)
    return "" if not values or values[0] is None else str(values[0])


def values_of(dataset: object, tag: str) -> list[object]:
    attribute = dataset.get(tag) if isinstance(dataset, dict) else None
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values if isinstance(values, list) else []


def number(dataset: object, tag: str) -> float | None:
    """The first value of an attribute, if it is a number or the text of one."""
    written = text(dataset, tag)
    return float(written) if _DECIMAL.fullmatch(written) else None
