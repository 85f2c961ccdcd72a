"""Which frames make a volume, found from their attributes alone (PS3.3 section C.11.23.1)."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bfr_dicomweb.errors import InvalidQuery, NoVolume, TooLarge
from bfr_dicomweb.rendering import elements
from bfr_dicomweb.rendering.volume_frames import Attributes, Frame, Vector, frames_of
from bfr_dicomweb.rendering.volume_parameters import Point, VolumeSelection

Frames = Mapping[int, Collection[int]]

MAX_VOLUME_BYTES: Final = 2 << 30
# Two frames nearer to each other than this are at one position, mm.
SAME_POSITION_MM: Final = 1e-3
# Frames whose directions differ by more than this cosine (0.8 degrees) are not parallel.
PARALLEL: Final = 1.0 - 1e-4
# By what frames differ that lie at one position: the volumes of a series or of an object.
_APART: Final = (
    "StackID", "TemporalPositionIndex", "TemporalPositionIdentifier", "SegmentNumber",
    "ReferencedSegmentNumber", "EchoNumbers", "EffectiveEchoTime", "EchoTime",
    "NominalCardiacTriggerDelayTime", "TriggerTime", "DiffusionBValue", "FrameType", "ImageType",
    "ComplexImageComponent", "AcquisitionNumber", "ConvolutionKernel", "AcquisitionTime",
    "SOPInstanceUID",
)  # fmt: skip

_TILTED: Final = (
    "the images do not lie one upon the other along their normal, as with a tilted gantry"
)
_AT_ONE_POSITION: Final = "two images lie at the same position, and nothing tells them apart"
_ALONE: Final = "a volume has more than one image"


LARGEST: Final = VolumeSelection()


@dataclass(frozen=True, slots=True)
class Slice:
    """One frame of a volume.

    Attributes:
        instance: Place of its object among those that were given.
        frame_index: From 0.
    """

    instance: int
    frame_index: int


@dataclass(frozen=True, slots=True)
class VolumeGeometry:
    """A volume before its voxels are read; lengths in mm, in its frame of reference.

    Attributes:
        slices: Along `normal`.
        row_spacing, column_spacing: Between rows, and between columns.
        origin: Centre of the first voxel of the first slice.
        row: Direction of increasing column numbers.
        column: Direction of increasing row numbers.
        normal: row x column.
        distances: Of the slices from the first; increasing, in whatever steps.
        sample_bytes: Of a voxel as it is kept.
    """

    slices: tuple[Slice, ...]
    rows: int
    columns: int
    row_spacing: float
    column_spacing: float
    origin: Point
    row: Point
    column: Point
    normal: Point
    distances: tuple[float, ...]
    sample_bytes: int

    @property
    def size_bytes(self) -> int:
        return len(self.slices) * self.rows * self.columns * self.sample_bytes

    @property
    def slice_spacing(self) -> float:
        """On average."""
        return self.distances[-1] / (len(self.distances) - 1)

    @property
    def is_even(self) -> bool:
        """Whether all steps between the slices are the same, but for 1 %."""
        steps = np.diff(self.distances)
        return bool(np.abs(steps - self.slice_spacing).max() <= 0.01 * self.slice_spacing)

    def corners(self) -> Vector:
        """The eight corners of the outermost voxels, shape (8, 3)."""
        first = (self.distances[1] - self.distances[0]) / 2
        last = (self.distances[-1] - self.distances[-2]) / 2
        ends = (
            (-first, self.distances[-1] + last),
            (-self.row_spacing / 2, (self.rows - 0.5) * self.row_spacing),
            (-self.column_spacing / 2, (self.columns - 0.5) * self.column_spacing),
        )
        axes = np.array((self.normal, self.column, self.row))
        mm = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, 8).T
        corners: Vector = np.array(self.origin) + mm @ axes
        return corners

    @property
    def center(self) -> Vector:
        middle: Vector = self.corners().mean(axis=0)
        return middle


def volume_of(
    objects: Sequence[Attributes],
    selection: VolumeSelection = LARGEST,
    *,
    frame_indexes: Frames | None = None,
) -> VolumeGeometry:
    """The volume that is meant: the one of `selection`, or the largest of the target.

    Of equally large ones the one that comes first.

    Args:
        objects: The instances of the target as DICOM JSON.
        frame_indexes: From 0, of instances (by their place) of which only some frames belong to
            the target.

    Raises:
        InvalidQuery: what is selected is not in the target, or is part of no volume.
        NoVolume: the target has none.
        TooLarge: it is larger than `MAX_VOLUME_BYTES`.
    """
    frames, defects = frames_of(objects)
    frames = [frame for frame in frames if _belongs(frame.instance, frame.index, frame_indexes)]
    wanted = _referenced(objects, selection, frame_indexes)
    if selection.matches:
        frames = [f for f in frames if all(f.is_matched(match) for match in selection.matches)]
    volumes, reasons = _volumes(frames)
    if wanted is not None:
        volumes = [volume for volume in volumes if not wanted.isdisjoint(volume.slices)]
    if volumes:
        found = max(volumes, key=lambda volume: volume.size_bytes)
        if found.size_bytes > MAX_VOLUME_BYTES:
            raise TooLarge(f"a volume is shown if it has at most {MAX_VOLUME_BYTES >> 20} MiB")
        return found
    reason = _commonest(reasons or defects) or "no image is there"
    if wanted is not None:
        raise InvalidQuery("volumeinputreference", f"is part of no volume: {reason}")
    if selection.matches:
        raise InvalidQuery("match", f"what has these values is no volume: {reason}")
    raise NoVolume(f"the images do not make a volume: {reason}")


def _belongs(instance: int, index: int, frame_indexes: Frames | None) -> bool:
    if frame_indexes is None or instance not in frame_indexes:
        return True
    return index in frame_indexes[instance]


def _commonest(reasons: Sequence[str]) -> str:
    return Counter(reasons).most_common(1)[0][0] if reasons else ""


def _referenced(
    objects: Sequence[Attributes],
    selection: VolumeSelection,
    frame_indexes: Frames | None,
) -> set[Slice] | None:
    """The frames that the volume must have one of; None: no matter which."""
    uid, frame_number = selection.instance_uid, selection.frame_number
    if uid is None and frame_number is None:
        return None
    name = "volumeinputreference"
    places = [
        place
        for place, attributes in enumerate(objects)
        if uid is None or uid == elements.text(attributes, "SOPInstanceUID")
    ]
    if not places or (uid is None and len(objects) > 1):
        reason = "no such instance is in the target" if uid else "the instance has to be named too"
        raise InvalidQuery(name, reason)
    count = elements.integer(objects[places[0]], "NumberOfFrames") or 1
    indexes: Iterable[int] = range(count) if frame_number is None else (frame_number - 1,)
    found = {
        Slice(places[0], index)
        for index in indexes
        if index < count and _belongs(places[0], index, frame_indexes)
    }
    if not found:
        raise InvalidQuery(name, "no such frame is in the target")
    return found


def _volumes(frames: Sequence[Frame]) -> tuple[list[VolumeGeometry], list[str]]:
    """All volumes among the frames, and why other frames make none, once for each frame."""
    volumes: list[VolumeGeometry] = []
    reasons: list[str] = []
    for group in _parallel(frames):
        for stacked in _stacks(group, _APART):
            if isinstance(stacked, VolumeGeometry):
                volumes.append(stacked)
            else:
                reasons += [stacked] * len(group)
    volumes.sort(key=lambda volume: (volume.slices[0].instance, volume.slices[0].frame_index))
    return volumes, reasons


def _parallel(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """The frames that are of one kind and parallel."""
    groups: dict[tuple[object, ...], list[list[Frame]]] = {}
    for frame in frames:
        alike = groups.setdefault(frame.same, [])
        for group in alike:
            first = group[0]
            if first.row @ frame.row >= PARALLEL and first.column @ frame.column >= PARALLEL:
                group.append(frame)
                break
        else:
            alike.append([frame])
    for alike in groups.values():
        yield from alike


def _stacks(frames: list[Frame], keywords: Sequence[str]) -> Iterator[VolumeGeometry | str]:
    """The volume of the frames, or those of their parts by what tells the frames apart."""
    whole = _stack(frames)
    if isinstance(whole, VolumeGeometry) or len(frames) == 1:
        yield whole
        return
    parts_by = {keyword: _parts(frames, keyword) for keyword in keywords}
    parts_by = {k: parts for k, parts in parts_by.items() if 1 < len(parts) < len(frames)}
    if not parts_by:
        yield whole
        return
    best = max(parts_by, key=lambda keyword: _stacked(parts_by[keyword]))
    others = [keyword for keyword in parts_by if keyword != best]
    for part in parts_by[best]:
        yield from _stacks(part, others)


def _stacked(parts: Sequence[Sequence[Frame]]) -> int:
    """How many frames are in parts that are volumes."""
    return sum(len(part) for part in parts if isinstance(_stack(part), VolumeGeometry))


def _parts(frames: Sequence[Frame], keyword: str) -> list[list[Frame]]:
    found: dict[tuple[str, ...], list[Frame]] = {}
    for frame in frames:
        found.setdefault(frame.texts(keyword), []).append(frame)
    return list(found.values())


def _stack(frames: Sequence[Frame]) -> VolumeGeometry | str:
    """A volume of all these frames, or why they are none."""
    if len(frames) < 2:
        return _ALONE
    first = frames[0]
    axes = np.array((first.normal, first.column, first.row))
    places = np.array([frame.position for frame in frames]) @ axes.T
    order = np.argsort(places[:, 0], kind="stable")
    places = places[order]
    if (np.diff(places[:, 0]) < SAME_POSITION_MM).any():
        across = np.diff(places[:, 1:], axis=0)[np.diff(places[:, 0]) < SAME_POSITION_MM]
        side_by_side = (np.abs(across) > max(first.spacing)).any()
        return "the images lie beside each other" if side_by_side else _AT_ONE_POSITION
    # the upper left corners have to be on one line along the normal: within a pixel
    if np.abs(places[:, 1:] - places[0, 1:]).max() > max(first.spacing):
        return _TILTED
    rows, columns, bits = map(first.integer, ("Rows", "Columns", "BitsAllocated"))
    if min(rows, columns) < 1:
        return "the images have no rows and columns"
    lowest = frames[order[0]]
    return VolumeGeometry(
        slices=tuple(Slice(frames[at].instance, frames[at].index) for at in order),
        rows=rows,
        columns=columns,
        row_spacing=first.spacing[0],
        column_spacing=first.spacing[1],
        origin=_point(lowest.position),
        row=_point(first.row),
        column=_point(first.column),
        normal=_point(first.normal),
        distances=tuple(float(at) for at in places[:, 0] - places[0, 0]),
        sample_bytes=1 if bits <= 8 else 2 if bits <= 16 else 4,
    )


def _point(vector: Vector) -> Point:
    x, y, z = (float(value) for value in vector)
    return x, y, z
