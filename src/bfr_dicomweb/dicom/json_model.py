"""Data sets that others wrote, in DICOM JSON (PS3.18 Annex F), checked before they are used."""

import math
import re
import struct
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydicom.datadict import dictionary_description, dictionary_has_tag, dictionary_VR

from bfr_dicomweb.dicom.json_values import NUMBERS
from bfr_dicomweb.errors import InvalidDataset, InvalidRequest, TooLarge

Path = tuple[str, ...]

MAX_DEPTH: Final = 20
MAX_ELEMENTS: Final = 20_000

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_MEMBERS: Final = frozenset({"vr", "Value", "BulkDataURI", "InlineBinary"})
_GROUPS: Final = frozenset({"Alphabetic", "Ideographic", "Phonetic"})
_NUMERIC: Final = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_TEXTUAL: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_VRS: Final = _TEXTUAL | _NUMERIC | _BINARY | {"PN", "SQ"}
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_DATE: Final = re.compile(r"(\d{4})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
_DATE_TIME: Final = re.compile(
    r"\d{4}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])([0-5]\d"
    r"(([0-5]\d|60)(\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?",
    re.ASCII,
)
_CODE: Final = re.compile(r"[A-Z0-9 _]{1,16}", re.ASCII)
# PS3.5 Table 6.2-1
_LENGTHS: Final = {"AE": 16, "CS": 16, "LO": 64, "SH": 16, "ST": 1024, "LT": 10240, "UI": 64}
_FORMS: Final = {"UI": _UID, "DA": _DATE, "TM": _TIME, "DT": _DATE_TIME, "CS": _CODE}


def named(path: Path) -> str:
    """How an attribute is told to people, such as ``Patient's Sex (0010,0040)``."""
    return " > ".join(_named(tag) for tag in path)


def _named(tag: str) -> str:
    number = int(tag, 16)
    shown = f"({tag[:4]},{tag[4:]})"
    return f"{dictionary_description(number)} {shown}" if dictionary_has_tag(number) else shown


def read_json(payload: bytes) -> list[dict[str, Any]]:
    """The data sets of a payload: an array of them, or one alone (D-16 tolerance).

    Raises:
        InvalidRequest: It is no JSON, or no data set.
        InvalidDataset: An attribute is malformed; says which.
        TooLarge: Too many attributes, or nested too deep.
    """
    return [checked(item) for item in read_items(payload)]


def read_items(payload: bytes) -> list[dict[str, Any]]:
    """The data sets of a payload, not checked.

    Raises:
        InvalidRequest: It is no JSON, or no data set.
    """
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise InvalidRequest("the payload is no JSON") from None
    items = found if isinstance(found, list) else [found]
    if not items or not all(isinstance(item, dict) for item in items):
        raise InvalidRequest("the payload has to be a DICOM JSON data set or an array of them")
    return items


def checked(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The same with upper case tags in ascending order.

    Raises:
        InvalidDataset: An attribute is malformed; says which.
        TooLarge: Too many attributes, or nested too deep.
    """
    return _Check().dataset(dataset, ())


def writable(dataset: Mapping[str, Any], *, max_elements: int) -> dict[str, Any]:
    """As `checked`, but only of what keeps it from being written: what is poor is kept as it is.

    Numbers become those of the type that their VR has.

    Raises:
        InvalidDataset: An attribute cannot be written; says which.
        TooLarge: Too many attributes, or nested too deep.
    """
    return _Writable(max_elements).dataset(dataset, ())


class _Check:
    def __init__(self, max_elements: int = MAX_ELEMENTS) -> None:
        self._max_elements = self._left = max_elements

    def dataset(self, dataset: Mapping[str, Any], above: Path) -> dict[str, Any]:
        if len(above) > MAX_DEPTH:
            raise TooLarge(f"sequences are nested more than {MAX_DEPTH} deep")
        found: dict[str, Any] = {}
        for key in sorted(dataset, key=str.upper):
            self._left -= 1
            if self._left < 0:
                raise TooLarge(f"more than {self._max_elements} attributes")
            if _TAG.fullmatch(key) is None:
                raise InvalidRequest("a name in the data set is no tag of 8 hexadecimal digits")
            tag = key.upper()
            if tag in found:
                raise _invalid((*above, tag), "stands twice")
            found[tag] = self._element(dataset[key], (*above, tag))
        return found

    def _element(self, element: Any, path: Path) -> dict[str, Any]:
        if not isinstance(element, dict) or not _MEMBERS.issuperset(element):
            raise _invalid(path, "is no DICOM JSON attribute")
        vr = self._vr(element, path)
        values = element.get("Value")
        if values is None:
            return {"vr": vr} | self._referred(element, path)
        if not isinstance(values, list) or vr in _BINARY:
            raise _invalid(path, "must have its values in an array")
        kept = [self._value(value, vr, path) for value in values]
        return {"vr": vr, "Value": kept} if kept else {"vr": vr}

    def _vr(self, element: Mapping[str, Any], path: Path) -> str:
        return _vr_of(element, path)

    def _referred(self, element: Mapping[str, Any], _path: Path) -> dict[str, Any]:
        return {name: element[name] for name in element if name != "vr"}

    def _value(self, value: Any, vr: str, path: Path) -> Any:
        if vr == "SQ":
            if value is not None and not isinstance(value, dict):
                raise _invalid(path, "must hold items")
            return self.dataset(value or {}, path)
        if value is None:
            return None
        if vr == "PN":
            return _person_name(value, path)
        if vr in _NUMERIC:
            return _number(value, path)
        if not isinstance(value, str):
            raise _invalid(path, "must be text")
        return self._text(value, vr, path)

    def _text(self, value: str, vr: str, path: Path) -> str:
        return _text(value, vr, path)


class _Writable(_Check):
    def _vr(self, element: Mapping[str, Any], path: Path) -> str:
        vr = element.get("vr")
        return vr if isinstance(vr, str) and vr in _VRS else _vr_of(element, path)

    def _referred(self, element: Mapping[str, Any], path: Path) -> dict[str, Any]:
        found = {
            name: element[name]
            for name in ("BulkDataURI", "InlineBinary")
            if element.get(name) is not None
        }
        are_texts = all(isinstance(value, str) for value in found.values())
        if not are_texts or len(found) > 1 or (found and element.get("vr") == "SQ"):
            raise _invalid(path, "must have one value, in base64, or one reference to bulk data")
        if "InlineBinary" in found and not _is_base64(found["InlineBinary"]):
            raise _invalid(path, "must have its value in base64")
        if not found or found.get("InlineBinary") == "":
            return {}
        return found

    def _value(self, value: Any, vr: str, path: Path) -> Any:
        if vr in ("DS", "IS") and isinstance(value, str):
            return self._text(value, vr, path)
        if vr not in NUMBERS:
            if isinstance(value, float) and not math.isfinite(value):
                raise _invalid(path, "must be a finite number")
            if vr == "AT" and value is None:
                raise _invalid(path, "must be a tag")
            return super()._value(value, vr, path)
        try:
            return _storable(value, NUMBERS[vr])
        except (TypeError, ValueError, OverflowError, struct.error):
            raise _invalid(path, f"must be a number that fits in {vr}") from None

    def _text(self, value: str, vr: str, path: Path) -> str:
        if "\0" in value or (vr == "AT" and _TAG.fullmatch(value) is None):
            raise _invalid(path, "holds a NUL" if "\0" in value else "must be a tag")
        return value


def _storable(value: Any, code: str) -> int | float:
    if isinstance(value, bool) or value is None:
        raise TypeError
    number: int | float = float(value) if code in "fd" else int(value)
    if code not in "fd" and isinstance(value, float) and value != number:
        raise ValueError
    struct.pack("<" + code, number)
    return number


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _vr_of(element: Mapping[str, Any], path: Path) -> str:
    number = int(path[-1], 16)
    known = dictionary_VR(number) if dictionary_has_tag(number) else ""
    vr = element.get("vr") or known
    if not isinstance(vr, str) or vr not in _VRS or (known and vr not in known.split(" or ")):
        raise _invalid(path, f"must have the vr {known}" if known else "must have a vr")
    return vr


def _text(value: str, vr: str, path: Path) -> str:
    if "\0" in value:
        raise _invalid(path, "holds a NUL")
    form, longest = _FORMS.get(vr), _LENGTHS.get(vr)
    if longest is not None and len(value) > longest:
        raise _invalid(path, f"has more than {longest} characters")
    if form is not None and value and form.fullmatch(value.strip(" ")) is None:
        raise _invalid(path, f"is no {vr}")
    return value


def _number(value: Any, path: Path) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _invalid(path, "must be a number")
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            raise _invalid(path, "must be a number") from None
    return value


def _person_name(value: Any, path: Path) -> dict[str, str]:
    if not isinstance(value, dict) or not _GROUPS.issuperset(value):
        raise _invalid(path, "must be a name in its groups")
    if not all(isinstance(group, str) and "\0" not in group for group in value.values()):
        raise _invalid(path, "must hold text")
    return value


def _invalid(path: Path, reason: str) -> InvalidDataset:
    return InvalidDataset(path, "invalid", f"{named(path)} {reason}")
