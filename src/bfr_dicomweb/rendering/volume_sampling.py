"""Planes and slabs through a volume (multi-planar reformatting)."""

from collections.abc import Callable
from math import ceil
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.rendering.volume import Volume
from bfr_dicomweb.rendering.volume_camera import View
from bfr_dicomweb.rendering.volume_parameters import RenderingMethod

Values = npt.NDArray[np.float32]
Inside = npt.NDArray[np.bool_]

# A slab is sampled at most this often across its thickness.
MAX_SLAB_SAMPLES: Final = 128

_PROJECTED: Final[dict[RenderingMethod, tuple[Callable[..., Any], float]]] = {
    RenderingMethod.MAXIMUM_IP: (np.maximum, -np.inf),
    RenderingMethod.MINIMUM_IP: (np.minimum, np.inf),
    RenderingMethod.AVERAGE_IP: (np.add, 0.0),
}


def reformatted(
    volume: Volume, view: View, *, method: RenderingMethod, slab_mm: float | None
) -> tuple[Values, Inside]:
    """The voxels of a plane, or of a slab with the plane in its middle, by linear interpolation.

    Returns:
        Shape (rows, columns): what `Volume.voxels` hold there, and whether that is in the volume
        at all; half a voxel around the outermost centres belongs to it.
    """
    if slab_mm is None:
        return _plane(volume, view, 0.0)
    function, neutral = _PROJECTED[method]
    projected = np.full((view.rows, view.columns), neutral, np.float32)
    count = np.zeros((view.rows, view.columns), np.int32)
    half = min(slab_mm / 2, view.depth)
    for offset in np.linspace(-half, half, sample_count(volume, view, slab_mm)):
        values, inside = _plane(volume, view, offset)
        function(projected, values, out=projected, where=inside)
        count += inside
    found = count > 0
    if method is RenderingMethod.AVERAGE_IP:
        np.divide(projected, count, out=projected, where=found)
    projected[~found] = 0.0
    return projected, found


def sample_count(volume: Volume, view: View, slab_mm: float | None) -> int:
    """How often each pixel is interpolated: about once a voxel across the thickness of a slab."""
    if slab_mm is None:
        return 1
    geometry = volume.geometry
    half = min(slab_mm / 2, view.depth)
    spacings = np.array((geometry.slice_spacing, geometry.row_spacing, geometry.column_spacing))
    axes = np.array((geometry.normal, geometry.column, geometry.row))
    step = 1.0 / float(np.abs(axes @ view.sight / spacings).max())
    return min(max(2, ceil(2 * half / step) + 1), MAX_SLAB_SAMPLES)


def _plane(volume: Volume, view: View, offset: float) -> tuple[Values, Inside]:
    from scipy import ndimage

    geometry = volume.geometry
    axes = np.array((geometry.normal, geometry.column, geometry.row))
    spacings = np.array((geometry.slice_spacing, geometry.row_spacing, geometry.column_spacing))
    if not geometry.is_even:
        spacings[0] = 1.0  # mm, until they are made slices of
    start = axes @ (view.first + view.sight * offset - geometry.origin) / spacings
    down, right = axes @ view.down / spacings, axes @ view.right / spacings
    shape = view.rows, view.columns
    if geometry.is_even:
        # the plane is a slice of one voxel of a turned volume: scipy walks through it by itself
        matrix = np.stack((axes @ view.sight, down, right), axis=1)
        values = ndimage.affine_transform(
            volume.voxels, matrix, start, output_shape=(1, *shape), order=1, mode="nearest",
            output=np.float32, prefilter=False,
        )[0]  # fmt: skip
        return values, _inside(start, down, right, volume.voxels.shape, shape)
    rows, columns = np.ogrid[: view.rows, : view.columns]
    z, y, x = (start[k] + down[k] * rows + right[k] * columns for k in range(3))
    distances = np.array(geometry.distances)
    margins = (distances[1] - distances[0]) / 2, (distances[-1] - distances[-2]) / 2
    inside = (z >= -margins[0]) & (z <= distances[-1] + margins[1])
    slices = np.interp(z, distances, np.arange(len(distances)))
    values = ndimage.map_coordinates(
        volume.voxels, (slices, y, x), order=1, mode="nearest", output=np.float32, prefilter=False
    )
    flat = start * (0, 1, 1), down * (0, 1, 1), right * (0, 1, 1)
    return values, inside & _inside(*flat, volume.voxels.shape, shape)


def _inside(
    start: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
    voxels: tuple[int, ...],
    shape: tuple[int, int],
) -> Inside:
    """Which pixels of a plane lie in the volume."""
    found = np.ones(shape, np.bool_)
    rows, columns = shape
    for k, count in enumerate(voxels):
        ends = [
            start[k] + down[k] * i + right[k] * j for i in (0, rows - 1) for j in (0, columns - 1)
        ]
        if min(ends) >= -0.5 and max(ends) <= count - 0.5:
            continue
        places = (start[k] + down[k] * np.arange(rows))[:, np.newaxis] + right[k] * np.arange(
            columns
        )
        found &= (places >= -0.5 - 1e-6) & (places <= count - 0.5 + 1e-6)
    return found
