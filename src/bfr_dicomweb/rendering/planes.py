"""Where frames lie in the patient (PS3.3 sections C.7.6.2 and C.7.6.16.2.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import TooLarge
from bfr_dicomweb.rendering.elements import (
    Attributes,
    first_item,
    integer,
    items,
    number,
    numbers,
    text,
)

Points = npt.NDArray[np.float64]
Key = TypeVar("Key")

# Cosine of the angle up to which two planes are parallel: about half a degree.
_PARALLEL: Final = 0.99996
# Of one object; the tiles of a large slide.
MAX_FRAMES: Final = 1 << 20
# Slices without thickness or neighbours are taken to be this thick, in mm.
_THIN: Final = 1.0


class FunctionalGroups:
    """The functional groups of all frames (PS3.3 section C.7.6.16), looked up one by one."""

    def __init__(self, attributes: Attributes) -> None:
        self._per_frame = items(attributes, "PerFrameFunctionalGroupsSequence")
        self._shared = first_item(attributes, "SharedFunctionalGroupsSequence")

    def group(self, index: int, keyword: str) -> Attributes:
        """The first item of the sequence of a group; {} where the frame has none."""
        found = self.items(index, keyword)
        return found[0] if found else {}

    def items(self, index: int, keyword: str) -> list[Attributes]:
        own = items(self._per_frame[index], keyword) if index < len(self._per_frame) else []
        return own or items(self._shared, keyword)


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """
    Attributes:
        origin: Center of the first pixel, in mm.
        across, down: Directions in which columns and rows are counted, of length 1.
        column_spacing, row_spacing: Between the centers of columns, of rows, in mm.
        thickness: Of the slice, in mm.
        frame_of_reference_uid: What the coordinates are relative to.
    """

    origin: Points
    across: Points
    down: Points
    column_spacing: float
    row_spacing: float
    thickness: float
    frame_of_reference_uid: str

    @property
    def normal(self) -> Points:
        return np.cross(self.across, self.down)

    def pixels(self, points: Points) -> Points:
        """(column, row) of points of the patient, shape (n, 3), along the normal.

        The corner of the first pixel is (0, 0), its center (0.5, 0.5).
        """
        offsets = points - self.origin
        columns = offsets @ self.across / self.column_spacing + 0.5
        rows = offsets @ self.down / self.row_spacing + 0.5
        return np.stack([columns, rows], axis=1)

    def distances(self, points: Points) -> Points:
        """How far points lie above the plane, in mm."""
        distances: Points = (points - self.origin) @ self.normal
        return distances

    def points(self, pixels: Points) -> Points:
        """The opposite of `pixels`, for points of the plane."""
        columns = (pixels[:, :1] - 0.5) * self.column_spacing * self.across
        rows = (pixels[:, 1:] - 0.5) * self.row_spacing * self.down
        return self.origin + columns + rows


class PlaneIndex(Generic[Key]):
    """Many planes, among which those of a slice are sought."""

    def __init__(self, planes: Iterable[tuple[Key, Plane | None]]) -> None:
        known = [(key, plane) for key, plane in planes if plane is not None]
        self._keys = [key for key, _plane in known]
        self._spaces = np.array([plane.frame_of_reference_uid for _key, plane in known])
        self._normals = np.array([plane.normal for _key, plane in known]).reshape(-1, 3)
        origins = np.array([plane.origin for _key, plane in known]).reshape(-1, 3)
        self._heights = np.einsum("ij,ij->i", origins, self._normals)
        self._halves = np.array([plane.thickness / 2 for _key, plane in known])

    def same_as(self, plane: Plane) -> list[Key]:
        """Those that are pictures of one slice with it, whatever their pixels are; nearest first.

        Their normals may point to either side.
        """
        if not self._keys:
            return []
        apart = np.abs(self._normals @ plane.origin - self._heights)
        same = apart <= np.minimum(self._halves, plane.thickness / 2)
        same &= np.abs(self._normals @ plane.normal) >= _PARALLEL
        same &= self._spaces == plane.frame_of_reference_uid
        return [self._keys[place] for place in np.argsort(apart, kind="stable") if same[place]]

    def containing(self, points: Points) -> list[Key]:
        """Those in whose slices all points lie."""
        if not self._keys:
            return []
        apart = np.abs(points @ self._normals.T - self._heights).max(axis=0)
        return [self._keys[place] for place in np.nonzero(apart <= self._halves)[0]]


def is_tiled(attributes: Attributes) -> bool:
    """Whether the frames are tiles of one large image (PS3.3 section C.7.6.17)."""
    return min(matrix_size(attributes)) > 0


def matrix_size(attributes: Attributes) -> tuple[int, int]:
    """Columns and rows of the Total Pixel Matrix; 0 where nothing is said."""
    columns, rows = (
        integer(attributes, keyword) or 0
        for keyword in ("TotalPixelMatrixColumns", "TotalPixelMatrixRows")
    )
    return columns, rows


def frame_count(stored: StoredObject) -> int:
    """How many frames an object has; where they cannot be told apart, as many as it declares.

    Raises:
        TooLarge: that is more than `MAX_FRAMES`.
    """
    count = stored.number_of_frames
    if count > MAX_FRAMES:
        raise TooLarge(f"an instance has more than {MAX_FRAMES} frames")
    return count


def planes_of(stored: StoredObject) -> tuple[Plane | None, ...]:
    """The plane of each frame; None: it is nowhere that is known.

    Raises:
        TooLarge: there are more frames than `MAX_FRAMES`.
    """
    attributes = stored.attributes
    uid = text(attributes, "FrameOfReferenceUID")
    count = max(1, frame_count(stored))
    if "52009229" not in attributes and "52009230" not in attributes:
        plane = _plane(attributes, attributes, attributes, uid) if count == 1 else None
        return (plane,) * count
    groups = FunctionalGroups(attributes)
    return tuple(
        _plane(
            groups.group(index, "PlanePositionSequence"),
            groups.group(index, "PlaneOrientationSequence"),
            groups.group(index, "PixelMeasuresSequence"),
            uid,
        )
        for index in range(count)
    )


def along_normal(planes: Sequence[Plane | None]) -> list[float] | None:
    """Where each lies on their common normal, in mm; None: they have none."""
    known = [plane for plane in planes if plane is not None]
    if len(known) < len(planes) or not known:
        return None
    first = known[0]
    for plane in known:
        if plane.frame_of_reference_uid != first.frame_of_reference_uid:
            return None
        if float(first.normal @ plane.normal) < _PARALLEL:
            return None
    return [float(first.normal @ plane.origin) for plane in known]


def _plane(
    position: Attributes, orientation: Attributes, measures: Attributes, uid: str
) -> Plane | None:
    origin = np.array(numbers(position, "ImagePositionPatient"))
    cosines = np.array(numbers(orientation, "ImageOrientationPatient"))
    spacing = numbers(measures, "PixelSpacing")
    if origin.size != 3 or cosines.size != 6 or len(spacing) != 2 or min(spacing) <= 0:
        return None
    across, down = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(across), np.linalg.norm(down)
    if min(lengths) < 0.5 or abs(float(across @ down)) > 0.1:
        return None
    thickness = number(measures, "SpacingBetweenSlices") or number(measures, "SliceThickness")
    return Plane(
        origin=origin,
        across=across / lengths[0],
        down=down / lengths[1],
        column_spacing=spacing[1],
        row_spacing=spacing[0],
        thickness=abs(thickness) if thickness else _THIN,
        frame_of_reference_uid=uid,
    )
