"""Volumes made for tests: from formulas, and as series of stored objects."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.volume import Volume
from bfr_dicomweb.rendering.volume_geometry import Slice, VolumeGeometry
from bfr_dicomweb.rendering.volume_parameters import Point
from objects import uid
from stored_images import a_stored_image, an_image, an_item, stored

Array = npt.NDArray[Any]
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def a_geometry(
    shape: tuple[int, int, int] = (6, 8, 10),
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    distances: Sequence[float] | None = None,
    origin: Point = (0.0, 0.0, 0.0),
    directions: Sequence[float] = AXIAL,
) -> VolumeGeometry:
    slices, rows, columns = shape
    row, column = np.array(directions[:3]), np.array(directions[3:])
    return VolumeGeometry(
        slices=tuple(Slice(at, 0) for at in range(slices)),
        rows=rows,
        columns=columns,
        row_spacing=spacing[0],
        column_spacing=spacing[1],
        origin=origin,
        row=_point(row),
        column=_point(column),
        normal=_point(np.cross(row, column)),
        distances=tuple(distances) if distances is not None else tuple(map(float, range(slices))),
        sample_bytes=4,
    )


def a_volume(
    formula: Callable[[Array, Array, Array], Array],
    geometry: VolumeGeometry,
    *,
    dtype: npt.DTypeLike = np.float32,
    **known: Any,
) -> Volume:
    """The voxels are what a formula gives for the x, y and z of their centres, mm."""
    x, y, z = positions(geometry)
    voxels = np.broadcast_to(formula(x, y, z), x.shape).astype(dtype)
    return Volume(geometry, voxels, **known)


def positions(geometry: VolumeGeometry) -> Array:
    """x, y and z of the centres of voxels, shape (3, slices, rows, columns)."""
    across = np.arange(geometry.columns) * geometry.column_spacing
    down = np.arange(geometry.rows) * geometry.row_spacing
    along = np.array(geometry.distances)
    grids = np.meshgrid(along, down, across, indexing="ij")
    axes = (geometry.normal, geometry.column, geometry.row)
    return np.stack(
        [
            geometry.origin[k] + sum(grid * axis[k] for grid, axis in zip(grids, axes, strict=True))
            for k in range(3)
        ]
    )


def a_stored_series(
    voxels: Array,
    *,
    directions: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    first: Sequence[float] = (0.0, 0.0, 0.0),
    positions: Sequence[Sequence[float]] | None = None,
    each: Callable[[int], dict[str, Any]] = lambda _: {},
    **attributes: Any,
) -> list[StoredObject]:
    """One CT image for each slice, 1 mm from each other along the normal.

    Args:
        positions: Of the slices, instead of these.
        each: Attributes of a slice.
    """
    normal = np.cross(directions[:3], directions[3:])
    shared = {
        keyword: uid()
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    }
    found = []
    for at, plane in enumerate(voxels):
        position = positions[at] if positions is not None else np.add(first, normal * at)
        described = {
            "ImagePositionPatient": [f"{value:.8g}" for value in position],
            "ImageOrientationPatient": [f"{value:.8g}" for value in directions],
            "PixelSpacing": list(spacing),
            "InstanceNumber": at + 1,
        }
        known = shared | described | attributes | each(at)
        there = {keyword: value for keyword, value in known.items() if value is not None}
        found.append(a_stored_image(plane, **there))
    return found


def a_multi_frame(
    voxels: Array,
    groups: Callable[[int], dict[str, Dataset]],
    shared: dict[str, Dataset],
    **attributes: Any,
) -> StoredObject:
    """An enhanced CT image: functional groups by the keyword of their sequence."""
    dataset = an_image(voxels[0], FrameOfReferenceUID=uid(), **attributes)
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = len(voxels)
    dataset.PixelData = voxels.tobytes()
    dataset.SharedFunctionalGroupsSequence = [_groups(shared)]
    dataset.PerFrameFunctionalGroupsSequence = [_groups(groups(at)) for at in range(len(voxels))]
    return stored(dataset)


def _groups(by_keyword: dict[str, Dataset]) -> Dataset:
    return an_item(**{keyword: [item] for keyword, item in by_keyword.items()})


def _point(vector: Array) -> Point:
    x, y, z = (float(value) for value in vector)
    return x, y, z
