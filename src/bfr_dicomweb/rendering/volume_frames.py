"""Where the frames of objects lie in space, and whether they can be part of a volume."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom import query_identifiers
from bfr_dicomweb.dicom.attributes import tag_of, texts_of, values_of
from bfr_dicomweb.dicom.matching import Key, Single, normal_text
from bfr_dicomweb.errors import TooLarge
from bfr_dicomweb.rendering import elements
from bfr_dicomweb.rendering.volume_parameters import AttributeMatch, Between, PrivateMatch

Attributes = Mapping[str, Any]
Vector = npt.NDArray[np.float64]

MAX_FRAMES: Final = 50_000
MIN_SPACING_MM: Final = 1e-6
MAX_SPACING_MM: Final = 1e4
# Row and column directions may miss a right angle by this cosine.
MAX_SKEW: Final = 1e-3
# What has to be the same in a whole volume (PS3.3 section C.11.23.1).
_SAME: Final = (
    "SOPClassUID", "SeriesInstanceUID", "FrameOfReferenceUID", "VolumeFrameOfReferenceUID",
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip
_DIGITS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame that can be part of a volume.

    Attributes:
        instance: Place of its object among those that were given.
        index: Of the frame in its object, from 0.
        position: Of the centre of its first pixel, mm.
        row: Direction of increasing column numbers, of length 1.
        column: Direction of increasing row numbers, of length 1.
        spacing: mm between rows, and between columns.
        same: What has to be equal in all frames of a volume.
        data_sets: What says something of this frame, the most particular first.
    """

    instance: int
    index: int
    position: Vector
    row: Vector
    column: Vector
    spacing: tuple[float, float]
    same: tuple[object, ...]
    data_sets: tuple[Attributes, ...]

    @property
    def normal(self) -> Vector:
        return np.cross(self.row, self.column)

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The values of an attribute, from the data set that is most particular of this frame."""
        tag = tag_of(keyword) or ""
        for data_set in self.data_sets:
            if found := texts_of(data_set, tag):
                return tuple(found)
        return ()

    def integer(self, keyword: str) -> int:
        """0 where no data set says it."""
        found = (elements.integer(data_set, keyword) for data_set in self.data_sets)
        return next((number for number in found if number is not None), 0)

    def is_matched(self, match: AttributeMatch) -> bool:
        return any(_is_matched(match, data_set) for data_set in self.data_sets)


def frames_of(objects: Sequence[Attributes]) -> tuple[list[Frame], list[str]]:
    """The frames that can be part of a volume, and for each other one why it cannot.

    Args:
        objects: DICOM JSON.

    Raises:
        TooLarge: there are more frames than `MAX_FRAMES`.
    """
    found: list[Frame] = []
    defects: list[str] = []
    for place, attributes in enumerate(objects):
        defect = _defect(attributes)
        if defect:
            defects.append(defect)
            continue
        for frame in _frames(attributes, place):
            (defects if isinstance(frame, str) else found).append(frame)  # type: ignore[arg-type]
        if len(found) + len(defects) > MAX_FRAMES:
            raise TooLarge(f"a volume is sought among at most {MAX_FRAMES} images")
    return found, defects


def _defect(attributes: Attributes) -> str:
    if "7FE00010" not in attributes:
        return "what has no Pixel Data is no part of a volume"
    photometric = elements.text(attributes, "PhotometricInterpretation")
    if photometric != "MONOCHROME2":
        return f"a volume is made of MONOCHROME2 images, not of {photometric or 'unknown ones'}"
    return ""


def _frames(attributes: Attributes, place: int) -> Iterator[Frame | str]:
    shared = elements.first_item(attributes, "SharedFunctionalGroupsSequence")
    per_frame = elements.items(attributes, "PerFrameFunctionalGroupsSequence")
    count = elements.integer(attributes, "NumberOfFrames") or 1
    if count > MAX_FRAMES:
        raise TooLarge(f"a volume is sought among at most {MAX_FRAMES} images")
    same = tuple(elements.text(attributes, keyword) for keyword in _SAME)
    groups_of_all = tuple(_groups(shared))
    offsets = _dose_offsets(attributes)
    for index in range(count):
        groups = tuple(_groups(per_frame[index])) if index < len(per_frame) else ()
        data_sets = (*groups, *groups_of_all, attributes)
        offset = offsets[index] if index < len(offsets) else None
        if count > 1 and not groups and offset is None:
            yield "the frames have no positions of their own"
            continue
        yield _frame(place, index, data_sets, same, offset or 0.0)


def _groups(item: Attributes) -> Iterator[Attributes]:
    """The functional groups in an item, and the items of their sequences."""
    for element in item.values():
        for group in element.get("Value") or () if element.get("vr") == "SQ" else ():
            if isinstance(group, dict):
                yield group


def _dose_offsets(attributes: Attributes) -> list[float]:
    """Of the frames of a dose, along their normal (PS3.3 section C.8.8.3.2)."""
    offsets = elements.numbers(attributes, "GridFrameOffsetVector")
    return [offset - offsets[0] for offset in offsets]


def _frame(
    place: int,
    index: int,
    data_sets: tuple[Attributes, ...],
    same: tuple[object, ...],
    offset: float,
) -> Frame | str:
    position = _numbers(data_sets, 3, "ImagePositionPatient", "ImagePositionVolume")
    directions = _numbers(data_sets, 6, "ImageOrientationPatient", "ImageOrientationVolume")
    spacing = _numbers(data_sets, 2, "PixelSpacing")
    if position is None or directions is None:
        return "the images have no position and orientation in space"
    if spacing is None or min(spacing) < MIN_SPACING_MM or max(spacing) > MAX_SPACING_MM:
        return "the images have no Pixel Spacing that there can be"
    row, column = directions[:3], directions[3:]
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(row @ column) > MAX_SKEW:
        return "the rows and columns of the images are not perpendicular to each other"
    row = row / lengths[0]
    column = column - row * (row @ column)
    column /= np.linalg.norm(column)
    between_rows, between_columns = (float(f"{value:.{_DIGITS}g}") for value in spacing)
    return Frame(
        place,
        index,
        position + np.cross(row, column) * offset,
        row,
        column,
        (float(spacing[0]), float(spacing[1])),
        (*same, between_rows, between_columns),
        data_sets,
    )


def _numbers(data_sets: Sequence[Attributes], count: int, *keywords: str) -> Vector | None:
    for keyword in keywords:
        for data_set in data_sets:
            found = elements.numbers(data_set, keyword)
            if len(found) == count and max(map(abs, found)) < 1e7:
                return np.array(found)
    return None


def _is_matched(match: AttributeMatch, data_set: Attributes) -> bool:
    if isinstance(match, Key):
        return query_identifiers.matches([match], data_set)
    if isinstance(match, Between):
        return _is_between(match, data_set)
    return _is_privately_matched(match, data_set)


def _is_between(match: Between, data_set: Attributes) -> bool:
    first, *inner = match.path
    if inner:
        below = Between(tuple(inner), match.low, match.high)
        items = values_of(data_set, first)
        return any(_is_between(below, item) for item in items if isinstance(item, dict))
    # two values may be the ends of a range themselves: both have to be inside
    numbers = [value for value in values_of(data_set, first) if isinstance(value, int | float)]
    return bool(numbers) and all(match.low <= number <= match.high for number in numbers)


def _is_privately_matched(match: PrivateMatch, data_set: Attributes) -> bool:
    group, element = match.tag[:4], match.tag[6:]
    for tag in data_set:
        if not (tag.startswith(f"{group}00") and texts_of(data_set, tag) == [match.creator]):
            continue
        own = f"{group}{tag[6:]}{element}"
        wanted = Key((own,), Single(normal_text(match.value)))
        texts = [normal_text(text) for text in texts_of(data_set, own)]
        if query_identifiers.matches([wanted], data_set) or normal_text(match.value) in texts:
            return True
    return False
