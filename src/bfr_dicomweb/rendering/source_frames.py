"""Which frames of images lie under the frames of what was derived from them.

For segmentations and parametric maps: by the source images that their frames name (Derivation
Image functional group, PS3.3 section C.7.6.16.2.6), else by the plane in which they lie.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.elements import items, text
from bfr_dicomweb.rendering.picture import Pixels
from bfr_dicomweb.rendering.planes import (
    FunctionalGroups,
    Plane,
    PlaneIndex,
    along_normal,
    frame_count,
    planes_of,
)
from bfr_dicomweb.rendering.references import (
    Images,
    LeftOut,
    Reason,
    Reference,
    Target,
    reference_of,
    series_references,
)

# Grids that differ by less, in pixels, are one.
_SAME_GRID: Final = 0.05


def references_of(stored: StoredObject) -> tuple[Reference, ...]:
    """Every image that the frames were made of, each once."""
    found: dict[str, Reference] = {}
    for reference in series_references(stored.attributes, "ReferencedInstanceSequence"):
        found.setdefault(reference.sop_instance_uid, replace(reference, frame_numbers=()))
    groups = FunctionalGroups(stored.attributes)
    for index in range(frame_count(stored)):
        for source in _named(groups, index):
            found.setdefault(source.sop_instance_uid, replace(source, frame_numbers=()))
    for item in items(stored.attributes, "SourceImageSequence"):
        source = reference_of(item)
        found.setdefault(source.sop_instance_uid, replace(source, frame_numbers=()))
    found.pop("", None)
    return tuple(found.values())


def _named(groups: FunctionalGroups, index: int) -> Iterator[Reference]:
    for derivation in groups.items(index, "DerivationImageSequence"):
        for source in items(derivation, "SourceImageSequence"):
            yield reference_of(source)


@dataclass(frozen=True, slots=True, eq=False)
class Under:
    """Frames of a derived object that are shown in one picture.

    Attributes:
        target: What the picture is of: the image under it, or the object itself.
        plane: Of the picture; None: it is nowhere that is known.
        indices: Of the frames, from 0.
    """

    target: Target
    plane: Plane | None
    indices: tuple[int, ...]


class SourceFrames:
    """The frames of a derived object, sorted into pictures.

    Attributes:
        planes: Of the frames.
        pictures: By target, along the normal.
    """

    def __init__(self, stored: StoredObject, images: Images) -> None:
        self._uid = text(stored.attributes, "SOPInstanceUID")
        self._images = {uid: image for uid, image in images.items() if image.number_of_frames}
        self._planes_of_images = {uid: planes_of(image) for uid, image in self._images.items()}
        self._slices = PlaneIndex(
            ((uid, frame), plane)
            for uid, planes in self._planes_of_images.items()
            for frame, plane in enumerate(planes)
        )
        self._groups = FunctionalGroups(stored.attributes)
        self.planes = planes_of(stored)
        self.left_out = tuple(
            LeftOut(reference, Reason.NOT_STORED)
            for reference in references_of(stored)
            if reference.sop_instance_uid not in images
        )
        self.pictures = {under.target: under for under in self._sorted(stored.number_of_frames)}

    def _sorted(self, count: int) -> list[Under]:
        by_place: dict[Hashable, list[int]] = {}
        below: dict[Hashable, tuple[str, int] | None] = {}
        for index in range(count):
            source = self._source(index)
            place = source or _place(self.planes[index]) or index
            by_place.setdefault(place, []).append(index)
            below[place] = source
        found = [self._under(below[place], indices) for place, indices in by_place.items()]
        heights = along_normal([under.plane for under in found])
        if heights is None:
            return found
        return [found[number] for number in sorted(range(len(found)), key=heights.__getitem__)]

    def _under(self, source: tuple[str, int] | None, indices: list[int]) -> Under:
        own = tuple(index + 1 for index in indices)
        if source is None:
            target = Target(self._uid, own[0], own)
            return Under(target, self.planes[indices[0]], tuple(indices))
        uid, frame = source
        return Under(
            Target(uid, frame + 1, own), self._planes_of_images[uid][frame], tuple(indices)
        )

    def _source(self, index: int) -> tuple[str, int] | None:
        """Of the frames that lie in the slice a named one; where nothing lies, a named one."""
        own = self.planes[index]
        named = dict.fromkeys(self._candidates(index))
        if own is None:
            return next(iter(named), None)
        lying = self._slices.same_as(own)
        for key in lying:
            if key in named:
                return key
        nowhere = (key for key in named if self._planes_of_images[key[0]][key[1]] is None)
        return next(nowhere, None) or (lying[0] if lying else None)

    def _candidates(self, index: int) -> Iterator[tuple[str, int]]:
        for reference in _named(self._groups, index):
            image = self._images.get(reference.sop_instance_uid)
            if image is not None:
                frames = reference.frame_numbers or range(1, image.number_of_frames + 1)
                for number in frames:
                    if 1 <= number <= image.number_of_frames:
                        yield reference.sop_instance_uid, number - 1


def _place(plane: Plane | None) -> Hashable:
    return None if plane is None else tuple(round(float(value), 2) for value in plane.origin)


def laid_over(
    values: Pixels,
    plane: Plane | None,
    under: Plane | None,
    *,
    rows: int,
    columns: int,
) -> Pixels | None:
    """Values of one grid of pixels in another one, of the same plane.

    Args:
        values: Shape (rows, columns) of its own grid.
        plane, under: Where the grids lie.
        rows, columns: Of the other grid.

    Returns:
        The nearest value of each pixel, 0 outside. None: nothing says how they belong together.
    """
    if plane is None or under is None:
        return values if values.shape == (rows, columns) else None
    ends = np.array([[0, 0], [columns, 0], [0, rows]], np.float64)
    corner, right, bottom = plane.pixels(under.points(ends))
    across, down = (right - corner) / columns, (bottom - corner) / rows
    grid = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    same = np.abs(np.stack([across, down, corner]) - grid).max() * max(rows, columns) < _SAME_GRID
    if same and values.shape == (rows, columns):
        return values
    matrix = (across[0], down[0], corner[0], across[1], down[1], corner[1])
    image = Image.fromarray(np.ascontiguousarray(values))
    moved = image.transform(
        (columns, rows),
        Image.Transform.AFFINE,
        tuple(float(value) for value in matrix),
        Image.Resampling.NEAREST,
    )
    return np.asarray(moved)
