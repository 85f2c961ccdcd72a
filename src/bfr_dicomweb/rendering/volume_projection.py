"""Projections of a whole volume: maximum, minimum, average, and volume rendering.

By shear-warp factorization: the slices across the axis that the line of sight is nearest to are
moved over each other so that every ray goes straight through them, are put together to one
intermediate image, and only that image is turned and scaled. Each slice is read once, in the
order in which it lies in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor
from typing import Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.rendering.picture import Pixels
from bfr_dicomweb.rendering.volume import Volume, Voxels
from bfr_dicomweb.rendering.volume_camera import View
from bfr_dicomweb.rendering.volume_geometry import MAX_VOLUME_BYTES
from bfr_dicomweb.rendering.volume_parameters import RenderingMethod
from bfr_dicomweb.rendering.volume_presets import TransferFunction, transfer_function_of

Image = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

# Voxels along the longest side of what is volume rendered.
RENDERED_SIDE: Final = 320
# A fifth more of them is still not too many.
_SPARE: Final = 0.2
SLICES_AT_ONCE: Final = 32
# Opacities and colours are looked up in tables of this many entries.
TABLE_ENTRIES: Final = 2048
AMBIENT: Final = 0.2
DIFFUSE: Final = 0.65
SPECULAR: Final = 0.15
# A slice that has become this opaque hides what is behind it.
OPAQUE: Final = 0.995


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Voxels at even distances.

    Attributes:
        voxels: Shape (slices, rows, columns).
        origin: Centre of the first voxel, mm.
        axes: Directions of slices, rows and columns, shape (3, 3).
        spacings: Along these, mm.
    """

    voxels: Voxels
    origin: Vector
    axes: Vector
    spacings: Vector

    @property
    def nbytes(self) -> int:
        return int(self.voxels.nbytes)

    def places(self, vector: Vector) -> Vector:
        """A difference in space as one of voxels."""
        return (self.axes @ vector) / self.spacings


@dataclass(frozen=True, slots=True, eq=False)
class Shaded:
    """A grid made ready for volume rendering.

    Attributes:
        grid: Its voxels are entries of the tables of `transfer`.
        normals: Of the surface in each voxel, shape (3, slices, rows, columns), 127 is 1.
        hidden: The greatest entry that is not seen, and below which nothing is.
        unit_mm: The way through the volume that opacities are given for.
    """

    grid: Grid
    normals: npt.NDArray[np.int8]
    transfer: TransferFunction
    hidden: int
    unit_mm: float

    @property
    def nbytes(self) -> int:
        return self.grid.nbytes + int(self.normals.nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class Shear:
    """How the slices across one axis are moved for a line of sight.

    Attributes:
        axis: Across which the slices lie.
        others: The other two axes.
        order: Of the slices, the nearest to the camera first.
        shifts: Of each slice, in voxels along `others`; none is negative.
        shape: Of the intermediate image.
        step_mm: From slice to slice along the line of sight.
        slopes: Voxels that a ray moves along `others` from one slice to the next.
        lowest: What was added to the shifts.
    """

    axis: int
    others: tuple[int, int]
    order: range
    shifts: Vector
    shape: tuple[int, int]
    step_mm: float
    slopes: Vector
    lowest: Vector


def projected(
    volume: Volume, view: View, method: RenderingMethod
) -> tuple[Image, npt.NDArray[np.bool_]]:
    """What the voxels along the line of sight of each pixel come to.

    Returns:
        Shape (rows, columns), in the numbers of `Volume.voxels`, and where the volume is.
    """
    grid = _even(volume)
    shear = _shear(grid, view.sight)
    neutral = {RenderingMethod.MAXIMUM_IP: -np.inf, RenderingMethod.MINIMUM_IP: np.inf}
    image = np.full(shear.shape, neutral.get(method, 0.0), np.float32)
    count = np.zeros(shear.shape, np.float32)
    mover = _Mover(tuple(grid.voxels.shape[k] for k in shear.others))
    for k, voxels in _slices(grid.voxels, shear):
        (top, left), moved = mover.moved(voxels, shear.shifts[k])
        part = (slice(top, top + moved.shape[0]), slice(left, left + moved.shape[1]))
        if method is RenderingMethod.MAXIMUM_IP:
            np.maximum(image[part], moved, out=image[part])
        elif method is RenderingMethod.MINIMUM_IP:
            np.minimum(image[part], moved, out=image[part])
        else:
            image[part] += moved
        count[part] += 1
    seen = count > 0
    if method is RenderingMethod.AVERAGE_IP:
        np.divide(image, count, out=image, where=seen)
    image[~seen] = 0.0
    # what lies beside the volume has no part in the values of its rim
    share = _warped(grid, shear, view, seen.astype(np.float32))
    values = _warped(grid, shear, view, image)
    inside = share >= 0.5
    np.divide(values, share, out=values, where=inside)
    return values, inside


def volume_rendered(volume: Volume, view: View) -> Pixels:
    """Surfaces and soft clouds, lit from the camera, before black; shape (rows, columns, 3)."""
    shaded = volume.prepared.get("shaded")
    if not isinstance(shaded, Shaded):
        shaded = volume.prepared["shaded"] = _shaded(volume)
    grid = shaded.grid
    shear = _shear(grid, view.sight)
    normals = np.moveaxis(shaded.normals, shear.axis + 1, 1)
    opacity, colors = shaded.transfer.tables(TABLE_ENTRIES, shear.step_mm / shaded.unit_mm)
    image = np.zeros((3, *shear.shape), np.float32)
    passing = np.ones(shear.shape, np.float32)
    shape = tuple(grid.voxels.shape[k] for k in shear.others)
    mover, lit_mover = _Mover(shape), _Mover(shape)
    light = (grid.axes @ view.sight / 127.0).astype(np.float32)
    for k, voxels in _slices(grid.voxels, shear):
        if voxels.max() <= shaded.hidden:
            continue
        (top, left), entries = mover.moved(voxels, shear.shifts[k])
        facing = np.abs(np.tensordot(light, normals[:, k].astype(np.float32), 1))
        _, facing = lit_mover.moved(facing, shear.shifts[k])
        part = (slice(top, top + facing.shape[0]), slice(left, left + facing.shape[1]))
        looked_up = entries.astype(np.intp)
        alpha = opacity[looked_up]
        alpha *= passing[part]
        passing[part] -= alpha
        matt, shine = _lit(facing, alpha)
        for channel in range(3):
            image[channel][part] += colors[channel][looked_up] * matt + shine
        if passing.max() < 1 - OPAQUE:
            break
    warped = np.stack([_warped(grid, shear, view, channel) for channel in image], axis=-1)
    shown: Pixels = np.clip(warped * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return shown


def _lit(facing: Image, alpha: Image) -> tuple[Image, Image]:
    """The share of its own colour and of white that a surface sends to the camera.

    Args:
        facing: Cosine between the surface and the line of sight; is written over.
        alpha: Of the surface, seen through what is in front of it.
    """
    shine = facing**2
    shine *= shine
    shine *= shine
    shine *= alpha
    shine *= SPECULAR
    facing *= DIFFUSE
    facing += AMBIENT
    facing *= alpha
    return facing, shine


def _slices(voxels: Voxels, shear: Shear) -> Iterator[tuple[int, Voxels]]:
    """The slices across the axis of the shear, the nearest to the camera first."""
    if shear.axis < 2:
        across = np.moveaxis(voxels, shear.axis, 0)
        yield from ((k, across[k]) for k in shear.order)
        return
    # Neighbours along the last axis lie side by side in memory: several slices are had with one
    # walk through it, and each turned while it is near.
    slices, rows, _ = voxels.shape
    block = np.empty((SLICES_AT_ONCE, slices, rows), voxels.dtype)
    for start in range(0, len(shear.order), SLICES_AT_ONCE):
        places = shear.order[start : start + SLICES_AT_ONCE]
        low, high = min(places), max(places) + 1
        for at, plane in enumerate(voxels[:, :, low:high]):
            block[: high - low, at] = plane.T
        yield from ((k, block[k - low]) for k in places)


class _Mover:
    """Moves slices of one shape by parts of a voxel, in memory that is used again."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        rows, columns = shape
        self._down = np.empty((rows + 1, columns), np.float32)
        self._both = np.empty((rows + 1, columns + 1), np.float32)
        self._work = np.empty((rows + 1, columns + 1), np.float32)

    def moved(self, samples: Voxels, shift: Vector) -> tuple[tuple[int, int], Image]:
        """By linear interpolation; edges hold half a voxel beyond them.

        Returns:
            Where the first of the moved samples lies; they are valid until the next call.
        """
        (top, by_row), (left, by_column) = ((floor(s), np.float32(s - floor(s))) for s in shift)
        down, both = self._down, self._both
        down[:-1] = samples
        down[-1] = down[-2]
        work = self._work[: down.shape[0] - 2, : down.shape[1]]
        if by_row:
            np.subtract(samples[:-1], samples[1:], out=work, dtype=np.float32, casting="unsafe")
            work *= by_row
            down[1:-1] += work
        both[:, :-1] = down
        both[:, -1] = down[:, -1]
        if by_column:
            work = self._work[:, : down.shape[1] - 1]
            np.subtract(down[:, :-1], down[:, 1:], out=work)
            work *= by_column
            both[:, 1:-1] += work
        return (top, left), both


def _shear(grid: Grid, sight: Vector) -> Shear:
    direction = grid.places(sight)
    axis = int(np.abs(direction).argmax())
    others = tuple(k for k in range(3) if k != axis)
    slopes = direction[list(others)] / direction[axis]
    count = grid.voxels.shape[axis]
    shifts = -np.outer(np.arange(count), slopes)
    lowest = -shifts.min(axis=0)
    shifts += lowest
    # a row and a column more for what moving by parts of a voxel spreads
    rows, columns = (
        grid.voxels.shape[k] + 2 + floor(shifts[:, at].max()) for at, k in enumerate(others)
    )
    return Shear(
        axis=axis,
        others=(others[0], others[1]),
        order=range(count) if direction[axis] > 0 else range(count - 1, -1, -1),
        shifts=shifts,
        shape=(rows, columns),
        step_mm=1.0 / abs(float(direction[axis])),
        slopes=slopes,
        lowest=lowest,
    )


def _warped(grid: Grid, shear: Shear, view: View, image: Image) -> Image:
    """The intermediate image as the view shows it."""
    from scipy import ndimage

    def places(vector: Vector) -> Vector:
        at = grid.places(vector)
        moved: Vector = at[list(shear.others)] - shear.slopes * at[shear.axis]
        return moved

    start = places(view.first - grid.origin) + shear.lowest
    matrix = np.stack((places(view.down), places(view.right)), axis=1)
    found: Image = ndimage.affine_transform(
        image, matrix, start, output_shape=(view.rows, view.columns), order=1, mode="constant",
        output=np.float32, prefilter=False,
    )  # fmt: skip
    return found


def _even(volume: Volume) -> Grid:
    """The voxels themselves, or between slices at uneven distances new ones at even ones."""
    geometry = volume.geometry
    axes = np.array((geometry.normal, geometry.column, geometry.row))
    spacings = np.array((geometry.slice_spacing, geometry.row_spacing, geometry.column_spacing))
    origin = np.array(geometry.origin)
    if geometry.is_even:
        return Grid(volume.voxels, origin, axes, spacings)
    kept = volume.prepared.get("even")
    if isinstance(kept, Grid):
        return kept
    distances = np.array(geometry.distances)
    steps = np.diff(distances)
    low, high = -steps[0] / 2, distances[-1] + steps[-1] / 2
    most = MAX_VOLUME_BYTES // max(1, volume.voxels[0].nbytes)
    count = min(round((high - low) / float(steps.min())), 4 * len(distances), most)
    spacings[0] = (high - low) / count
    heights = low + spacings[0] * (np.arange(count) + 0.5)
    places = np.interp(heights, distances, np.arange(len(distances)))
    voxels = _between_slices(volume.voxels, places)
    grid = Grid(voxels, origin + axes[0] * heights[0], axes, spacings)
    volume.prepared["even"] = grid
    return grid


def _between_slices(voxels: Voxels, places: Vector) -> Voxels:
    """Slices at places between the slices, of the same type."""
    found = np.empty((len(places), *voxels.shape[1:]), voxels.dtype)
    for at, place in enumerate(places):
        below = min(int(place), len(voxels) - 2)
        part = np.float32(place - below)
        mixed = voxels[below].astype(np.float32) * (1 - part)
        mixed += voxels[below + 1].astype(np.float32) * part
        found[at] = np.rint(mixed) if voxels.dtype.kind in "iu" else mixed
    return found


def _shaded(volume: Volume) -> Shaded:
    transfer = transfer_function_of(volume)
    grid = _about_cubic(_even(volume), RENDERED_SIDE)
    smooth = _smoothed(np.asarray(grid.voxels, np.float32))
    entries = transfer.entries(smooth, volume.rescale, TABLE_ENTRIES)
    visible = transfer.tables(TABLE_ENTRIES, 1.0)[0] > 0
    box = _box(visible[entries])
    first = np.array([part.start for part in box]) * grid.spacings
    sides = np.array(grid.voxels.shape) * grid.spacings
    cropped = Grid(
        np.ascontiguousarray(entries[box]),
        grid.origin + first @ grid.axes,
        grid.axes,
        grid.spacings,
    )
    return Shaded(
        cropped,
        _normals(_smoothed(smooth[box]), grid.spacings),
        transfer,
        hidden=int(visible.argmax()) - 1,
        unit_mm=float(sides.max()) / 256,
    )


def _box(visible: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The part of a volume that holds all that is visible and one voxel around it."""
    found = []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        places = np.flatnonzero(visible.any(axis=others))
        low, high = (int(places[0]), int(places[-1])) if places.size else (0, 0)
        found.append(slice(max(0, low - 1), min(visible.shape[axis], high + 2)))
    return found[0], found[1], found[2]


def _about_cubic(grid: Grid, most: int) -> Grid:
    """Fewer, larger voxels of nearly equal sides, `most` of them along the longest side."""
    shape = np.array(grid.voxels.shape)
    wanted = max(float((shape * grid.spacings).max()) / most, float(grid.spacings.min()))
    together = np.ceil(wanted / grid.spacings - _SPARE).astype(int)
    together = np.minimum(np.maximum(1, together), shape)
    origin = grid.origin + (grid.spacings * (together - 1) / 2) @ grid.axes
    voxels = grid.voxels if (together == 1).all() else _averaged(grid.voxels, together)
    spacings = grid.spacings * together
    for axis in range(3):
        between = round(spacings[axis] / wanted)
        count = voxels.shape[axis]
        if between > 1 and count > 1:
            places = np.arange((count - 1) * between + 1) / between
            voxels = np.moveaxis(_between_slices(np.moveaxis(voxels, axis, 0), places), 0, axis)
            spacings[axis] /= between
    return Grid(voxels, origin, grid.axes, spacings)


def _averaged(voxels: Voxels, together: npt.NDArray[np.int_]) -> Voxels:
    """Blocks of voxels as one each; those left over at the ends are dropped."""
    slices, rows, columns = (int(n) for n in np.array(voxels.shape) // together)
    deep, high, wide = (int(n) for n in together)
    found = np.empty((slices, rows, columns), np.float32)
    for at in range(slices):
        block = voxels[at * deep : (at + 1) * deep, : rows * high, : columns * wide]
        flat = block.sum(axis=0, dtype=np.float32)
        lines = flat.reshape(rows, high, columns * wide).sum(axis=1)
        lines.reshape(rows, columns, wide).sum(axis=2, out=found[at])
    found /= deep * high * wide
    return found


def _smoothed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each voxel mixed with its neighbours: steps from slice to slice would be seen as rings."""
    from scipy import ndimage

    smooth = values
    for axis in range(3):
        smooth = ndimage.correlate1d(smooth, (0.25, 0.5, 0.25), axis, mode="nearest")
    return smooth


def _normals(values: npt.NDArray[np.float32], spacings: Vector) -> npt.NDArray[np.int8]:
    """Unit vectors across the surfaces, shape (3, *values.shape), 127 is 1."""
    from scipy import ndimage

    found = np.zeros((3, *values.shape), np.int8)
    # some slices at a time: gradients need much more memory than voxels
    for start in range(0, len(values), 16):
        stop = min(len(values), start + 16)
        low, high = max(0, start - 1), min(len(values), stop + 1)
        slopes = np.empty((3, high - low, *values.shape[1:]), np.float32)
        for axis, mm in enumerate(spacings):
            weights = (-0.5 / mm, 0.0, 0.5 / mm)
            ndimage.correlate1d(values[low:high], weights, axis, slopes[axis], mode="nearest")
        lengths = np.sqrt((slopes * slopes).sum(axis=0))
        lengths[lengths == 0] = 1.0
        slopes *= 127.0 / lengths
        found[:, start:stop] = np.rint(slopes[:, start - low : stop - low])
    return found
