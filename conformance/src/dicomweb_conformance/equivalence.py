"""Do a DICOM JSON object and a Native DICOM Model say the same (PS3.18 section F.3.1)?"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from dicomweb_conformance import dicom_json

_INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_FLOATS = frozenset({"FL", "FD"})

Data = Mapping[str, object]


def differences(in_json: Data, in_xml: Data, where: str = "") -> list[str]:
    """The attributes that differ, by tag. `in_xml` is what `native_xml.to_json` makes."""
    left, right = _by_creator(in_json), _by_creator(in_xml)
    found = []
    for name in sorted(left.keys() | right.keys()):
        at = where + name
        if name not in left or name not in right:
            found.append(f"{at} is only in {'JSON' if name in left else 'XML'}")
        else:
            found += _attribute_differences(left[name], right[name], at)
    return found


def _by_creator(data: Data) -> dict[str, Data]:
    """Private attributes by group, element and creator; without the creator elements."""
    creators = {
        tag[:4] + tag[6:8]: dicom_json.text(data, tag)
        for tag in data
        if dicom_json.is_private(tag) and tag[4:6] == "00"
    }
    found: dict[str, Data] = {}
    for tag, attribute in data.items():
        if not isinstance(attribute, dict):
            continue
        if dicom_json.is_private(tag):
            if tag[4:6] == "00":
                continue
            found[f"{tag[:4]}00{tag[6:]} {creators.get(tag[:6], '')}"] = attribute
        else:
            found[tag] = attribute
    return found


def _attribute_differences(left: Data, right: Data, at: str) -> list[str]:
    vr = str(left.get("vr"))
    if right.get("vr") != vr:
        return [f"{at} has another vr"]
    if vr in dicom_json.INLINE_VRS and "Value" in left:
        return []  # the rules of JSON judge that
    if "BulkDataURI" in left or "BulkDataURI" in right:
        # what is behind it is compared elsewhere; here, both must have something
        return [] if len(left) == len(right) else [f"{at} is empty in one of them"]
    if "InlineBinary" in left or "InlineBinary" in right:
        pair = [dicom_json.inline_bytes(each.get("InlineBinary", "")) for each in (left, right)]
        same = None not in pair and pair[0] == pair[1]
        return [] if same else [f"{at} has other bytes"]
    values, others = left.get("Value", []), right.get("Value", [])
    if not isinstance(values, list) or not isinstance(others, list) or len(values) != len(others):
        return [f"{at} has another number of values"]
    found: list[str] = []
    for index, (value, other) in enumerate(zip(values, others, strict=True)):
        if vr == "SQ" and isinstance(value, dict) and isinstance(other, dict):
            found += differences(value, other, f"{at}[{index}].")
        elif _canonical(vr, value) != _canonical(vr, other):
            found.append(f"{at}[{index}] has another value")
    return found


def _canonical(vr: str, value: object) -> object:
    if value is None:
        return {} if vr == "PN" else ""
    if isinstance(value, dict):
        return {str(name): str(group).rstrip("^ ") for name, group in value.items() if group}
    try:
        if vr in _FLOATS:
            return float(str(value))
        if vr == "DS" or vr in _INTEGERS:
            return Decimal(str(value).strip())
    except (ValueError, InvalidOperation):
        return str(value)
    return str(value).replace("\r\n", "\n").rstrip(" \0")
