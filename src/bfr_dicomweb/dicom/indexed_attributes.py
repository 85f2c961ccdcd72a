"""Values of attributes that an administrator has had indexed, in the form they are compared in.

Private attributes are named with the element number that they have in the first block, ``10``:
``(gggg,10ee)``. Each data set tells by the private creator which block it is in there (PS3.5
section 7.8.1).
"""

import base64
import binascii
import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydicom.datadict import keyword_for_tag

from bfr_dicomweb.dicom import matching, person_names
from bfr_dicomweb.dicom.attributes import Attributes, first_text, values_of
from bfr_dicomweb.dicom.matching import Path
from bfr_dicomweb.refs import Level

# What an indexed text is: a whole value, or a word of a name and what it sounds like.
VALUE: Final = 0
WORD: Final = 1
# An index holds no longer texts; of longer values so much counts.
LONGEST: Final = 512
_TIMEZONE: Final = "00080201"
_NUMBERS: Final = frozenset({"IS", "SL", "SS", "UL", "US", "SV", "UV", "DS", "FD", "FL"})
# How a value of unknown VR is read when the administrator has said what it is.
_BINARY: Final[Mapping[str, str]] = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
}
_SINGLE_PRECISION: Final = struct.Struct("<f")

# Part, text, and the JSON of the value that it comes from.
Folded = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class IndexedAttribute:
    """
    Attributes:
        path: All but the last are sequences.
        level: Of the results that can be searched by it, and of all below these.
        creator: Of the private attributes on the path.
    """

    path: Path
    level: Level
    vr: str
    creator: str = ""

    @property
    def name(self) -> str:
        return ".".join(keyword_for_tag(int(tag, 16)) or tag for tag in self.path)


def is_private(tag: str) -> bool:
    return int(tag[3], 16) % 2 == 1


def folded(attribute: IndexedAttribute, data_set: Attributes) -> set[Folded]:
    """All that the data set has at the path, in all items of its sequences."""
    zone = matching.offset_minutes(first_text(data_set, _TIMEZONE) or " ")
    return {
        one
        for element in _elements(attribute.path, attribute.creator, data_set)
        for value in _values(element, attribute.vr)
        for one in _folded(value, attribute.vr, zone)
    }


def _elements(path: Path, creator: str, data_set: Attributes) -> Iterator[Mapping[str, Any]]:
    for tag in _tags(path[0], creator, data_set):
        if len(path) == 1:
            yield data_set[tag]
            continue
        for item in values_of(data_set, tag):
            if isinstance(item, dict):
                yield from _elements(path[1:], creator, item)


def _tags(tag: str, creator: str, data_set: Attributes) -> list[str]:
    """Under which tags a data set has it: more than one where a creator has several blocks."""
    if not is_private(tag):
        return [tag] if tag in data_set else []
    group, element = tag[:4], tag[6:]
    blocks = (f"{block:02X}" for block in range(0x10, 0x100))
    found = [
        f"{group}{block}{element}"
        for block in blocks
        if (reserved := f"{group}00{block}") in data_set
        and first_text(data_set, reserved).strip() == creator
    ]
    return [one for one in found if one in data_set]


def _values(element: Mapping[str, Any], vr: str) -> list[Any]:
    if "InlineBinary" in element and element.get("vr") == "UN":
        try:
            return _read(base64.b64decode(element["InlineBinary"]), vr)
        except binascii.Error:
            return []
    return [value for value in element.get("Value") or () if value not in (None, "", {})]


def _read(raw: bytes, vr: str) -> list[Any]:
    """The values of what was stored as UN; its bytes are little endian (PS3.5 section 6.2.2)."""
    if vr in _BINARY:
        each = struct.Struct("<" + _BINARY[vr])
        whole = raw[: len(raw) - len(raw) % each.size]
        return [value for (value,) in each.iter_unpack(whole)]
    text = raw.decode("utf-8", "replace").rstrip("\0 ")
    values = [part.strip() for part in text.split("\\") if part.strip()]
    return [{"Alphabetic": value} for value in values] if vr == "PN" else values


def _folded(value: Any, vr: str, zone: int | None) -> Iterator[Folded]:
    if vr == "PN":
        yield from _name(value)
        return
    if vr in ("DA", "TM", "DT"):
        found = matching.interval(vr, str(value), zone)
        text = found[0] if found else ""
    elif vr in _NUMBERS:
        text = number(value, vr)
    elif isinstance(value, dict):
        return
    else:
        text = matching.normal_text(str(value))
    if text:
        yield VALUE, text[:LONGEST], _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _name(value: Any) -> Iterator[Folded]:
    if not isinstance(value, dict):
        return
    for group in person_names.folded_groups(value):
        yield VALUE, group[:LONGEST], _json(value)
        for heard in (*person_names.sounds(group), *person_names.words(group)):
            yield WORD, heard[:LONGEST], ""


def number(value: Any, vr: str) -> str:
    """One text for all ways to write a number; empty for what is none."""
    try:
        found = float(value) + 0.0  # and no negative zero
        if vr == "FL":
            (found,) = _SINGLE_PRECISION.unpack(_SINGLE_PRECISION.pack(found))
    except (TypeError, ValueError, OverflowError):
        return ""
    return repr(found) if math.isfinite(found) else ""
