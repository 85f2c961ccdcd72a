"""Values of DICOM JSON by keyword: what the objects of a rendering are asked for."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from bfr_dicomweb.dicom.attributes import tag_of, values_of

Attributes = Mapping[str, Any]


def element(attributes: Attributes, keyword: str) -> Attributes:
    """The DICOM JSON attribute of a PS3.6 keyword; {} where there is none."""
    found = attributes.get(tag_of(keyword) or "")
    return found if isinstance(found, dict) else {}


def values(attributes: Attributes, keyword: str) -> list[Any]:
    """The values that are not empty."""
    return values_of(attributes, tag_of(keyword) or "")


def numbers(attributes: Attributes, keyword: str) -> list[float]:
    """The finite numbers among the values, those written as text too."""
    found = (_number(value) for value in values(attributes, keyword))
    return [number for number in found if number is not None]


def number(attributes: Attributes, keyword: str) -> float | None:
    found = numbers(attributes, keyword)
    return found[0] if found else None


def integers(attributes: Attributes, keyword: str) -> list[int]:
    return [int(value) for value in numbers(attributes, keyword)]


def integer(attributes: Attributes, keyword: str) -> int | None:
    found = number(attributes, keyword)
    return None if found is None else int(found)


def text(attributes: Attributes, keyword: str) -> str:
    """The first value as text, without the spaces around it; "" where there is none."""
    for value in values(attributes, keyword):
        if isinstance(value, str | int | float):
            return str(value).strip()
    return ""


def items(attributes: Attributes, keyword: str) -> list[Attributes]:
    """The items of a sequence."""
    return [item for item in values(attributes, keyword) if isinstance(item, dict)]


def first_item(attributes: Attributes, keyword: str) -> Attributes:
    """The first item of a sequence; {} where there is none."""
    found = items(attributes, keyword)
    return found[0] if found else {}


def functional_group(attributes: Attributes, index: int, keyword: str) -> Attributes:
    """What a functional group says of a frame (PS3.3 section C.7.6.16); {}: nothing.

    Args:
        attributes: Of the whole object.
        index: Of the frame, from 0.
        keyword: Of the sequence of the group, such as ``PixelMeasuresSequence``.
    """
    per_frame = items(attributes, "PerFrameFunctionalGroupsSequence")
    if index < len(per_frame) and (found := first_item(per_frame[index], keyword)):
        return found
    return first_item(first_item(attributes, "SharedFunctionalGroupsSequence"), keyword)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None
