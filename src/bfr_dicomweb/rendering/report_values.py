"""Content items that point at something, and names, in words (PS3.3 sections C.17.3 and C.18)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from pydicom.uid import UID

from bfr_dicomweb.dicom.structured_report import code_of, value_in_words
from bfr_dicomweb.rendering import report_tables
from bfr_dicomweb.rendering.elements import element, first_item, items, numbers, text, values

Attributes = Mapping[str, Any]

# More of one kind are counted, not told: an outline of a lesion can have thousands of points.
_TOLD: Final = 24
_DIMENSIONS: Final = {"SCOORD": 2, "SCOORD3D": 3}


def value_of(item: Attributes) -> str:
    """The value of a content item of any type."""
    value_type = text(item, "ValueType")
    if value_type == "PNAME":
        return ", ".join(names(item, "PersonName"))
    tell = _POINTING.get(value_type)
    return tell(item) if tell else value_in_words(item)


def names(attributes: Attributes, keyword: str) -> list[str]:
    """Names as they are spoken, each with what it is in other writings."""
    return [name for value in values(attributes, keyword) if (name := _name(value))]


def _name(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    groups = (value.get(group) for group in ("Alphabetic", "Ideographic", "Phonetic"))
    spoken = [_spoken(group) for group in groups if isinstance(group, str)]
    first, *others = [group for group in spoken if group] or [""]
    return f"{first} ({', '.join(others)})" if others else first


def _spoken(group: str) -> str:
    family, given, middle, prefix, suffix = (*group.split("^", 4), "", "", "", "", "")[:5]
    return " ".join(" ".join((prefix, given, middle, family, suffix)).split())


def date(written: str) -> str:
    """A DA, TM or DT value as it is read; as it stands where it is none."""
    for value_type, tag in (("DATE", "0040A121"), ("DATETIME", "0040A120")):
        told = value_in_words(
            {"0040A040": {"vr": "CS", "Value": [value_type]}, tag: {"vr": "DT", "Value": [written]}}
        )
        if told != written:
            return told
    return written


@lru_cache(maxsize=1024)
def class_name(uid: str) -> str:
    """The name of a SOP class in PS3.6 without the word Storage, or its UID."""
    return UID(uid).name.removesuffix(" Storage") if uid else ""


def _reference(item: Attributes) -> str:
    return "; ".join(filter(None, map(_instance, items(item, "ReferencedSOPSequence"))))


def _instance(referenced: Attributes) -> str:
    parts = [
        class_name(text(referenced, "ReferencedSOPClassUID")),
        text(referenced, "ReferencedSOPInstanceUID"),
        _counted("frame", numbers(referenced, "ReferencedFrameNumber")),
        _counted("segment", numbers(referenced, "ReferencedSegmentNumber")),
        _channels(numbers(referenced, "ReferencedWaveformChannels")),
    ]
    shown_by = [_instance(state) for state in items(referenced, "ReferencedSOPSequence")]
    parts += [f"shown by {state}" for state in shown_by if state]
    return ", ".join(filter(None, parts))


def _counted(noun: str, found: Sequence[float]) -> str:
    if not found:
        return ""
    told = ", ".join(map(_number, found[:_TOLD]))
    return f"{noun}{'s' * (len(found) > 1)} {told}{_more(len(found))}"


def _more(count: int) -> str:
    return f" and {count - _TOLD} more" if count > _TOLD else ""


def _channels(found: Sequence[float]) -> str:
    """Pairs of a multiplex group and a channel; channel 0 is all of them (section C.18.5.1.1)."""
    pairs = [(_number(g), _number(c)) for g, c in zip(found[::2], found[1::2], strict=False)]
    told = [
        f"all channels of group {group}"
        if channel == "0"
        else f"channel {channel} of group {group}"
        for group, channel in pairs[:_TOLD]
    ]
    return ", ".join(told) + _more(len(pairs))


def _number(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.12g}"


def _coordinates(item: Attributes) -> str:
    dimensions = _DIMENSIONS[text(item, "ValueType")]
    data = numbers(item, "GraphicData")
    points = list(zip(*(data[axis::dimensions] for axis in range(dimensions)), strict=False))
    kind = text(item, "GraphicType").lower() or "coordinates"
    told = " ".join(f"({', '.join(map(_number, point))})" for point in points[:_TOLD])
    if "BulkDataURI" in element(item, "GraphicData"):
        told = "more points than are told here"
    parts = [_SHAPES.get(kind, kind), told + _more(len(points))]
    if dimensions == 3:
        frame = text(item, "ReferencedFrameOfReferenceUID")
        parts.append("mm" + (f" in frame of reference {frame}" if frame else ""))
    elif origin := text(item, "PixelOriginInterpretation"):
        parts.append(f"in the {origin.lower()}")
    return " ".join(filter(None, parts))


# PS3.3 sections C.18.6.1.2 and C.18.9.1.2: what the points of each graphic type are.
_SHAPES: Final = {
    "point": "point",
    "multipoint": "points",
    "polyline": "line through",
    "polygon": "polygon through",
    "circle": "circle around the first point through the second",
    "ellipse": "ellipse with the ends of its axes at",
    "ellipsoid": "ellipsoid with the ends of its axes at",
}


def _times(item: Attributes) -> str:
    kind = text(item, "TemporalRangeType").lower()
    parts = [
        _counted("sample", numbers(item, "ReferencedSamplePositions")),
        _seconds(numbers(item, "ReferencedTimeOffsets")),
        ", ".join(date(str(value)) for value in values(item, "ReferencedDateTime")[:_TOLD]),
    ]
    return ": ".join(filter(None, (kind, "; ".join(filter(None, parts)))))


def _seconds(found: Sequence[float]) -> str:
    told = ", ".join(map(_number, found[:_TOLD]))
    return f"{told}{_more(len(found))} s" if told else ""


_POINTING: Final[Mapping[str, Callable[[Attributes], str]]] = {
    "IMAGE": _reference,
    "WAVEFORM": _reference,
    "COMPOSITE": _reference,
    "SCOORD": _coordinates,
    "SCOORD3D": _coordinates,
    "TCOORD": _times,
    "TABLE": report_tables.in_words,
}

# What an item without a concept name is called.
KINDS: Final = {
    "IMAGE": "Image",
    "WAVEFORM": "Waveform",
    "COMPOSITE": "Document",
    "SCOORD": "Region",
    "SCOORD3D": "Region in space",
    "TCOORD": "Time",
    "TABLE": "Table",
}


def qualifiers(item: Attributes) -> Iterator[str]:
    """What is said of a value beside its children: NUM's qualifier, when it was observed."""
    if items(item, "MeasuredValueSequence"):
        qualifier = code_of(item, "0040A301")
        if qualifier.meaning or qualifier.value:
            yield qualifier.meaning or qualifier.value
    mapping = first_item(
        first_item(item, "ReferencedSOPSequence"), "PurposeOfReferenceCodeSequence"
    )
    if purpose := text(mapping, "CodeMeaning"):
        yield purpose
    if observed := text(item, "ObservationDateTime"):
        yield date(observed)
