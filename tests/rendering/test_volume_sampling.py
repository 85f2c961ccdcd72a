"""Reformatted planes against a formula, and against interpolation written out by hand."""

from collections.abc import Callable
from math import floor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.volume import Volume
from bfr_dicomweb.rendering.volume_camera import View, camera_of, views_of
from bfr_dicomweb.rendering.volume_parameters import (
    Orientation,
    Point,
    RenderingMethod,
    VolumeParameters,
)
from bfr_dicomweb.rendering.volume_sampling import reformatted
from volumes import Array, a_geometry, a_volume, positions

TURNED = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
EVEN = a_geometry(
    (9, 14, 17), spacing=(1.5, 0.75), distances=[2.5 * k for k in range(9)],
    origin=(-20, 13, 40), directions=TURNED,
)  # fmt: skip
UNEVEN = a_geometry(
    (6, 14, 17), spacing=(1.5, 0.75), distances=(0, 1, 4, 5, 9, 11.5),
    origin=(-20, 13, 40), directions=TURNED,
)  # fmt: skip
COORDINATE = st.floats(-30, 30)
POINT = st.tuples(COORDINATE, COORDINATE, COORDINATE)
AVERAGE = RenderingMethod.AVERAGE_IP


def view_of(volume: Volume, parameters: VolumeParameters, side: int = 40) -> View:
    camera = camera_of(parameters, volume.geometry)
    (found,) = views_of([camera], volume.geometry, Rendering(viewport=Viewport(side, side)))
    return found


def oblique(volume: Volume, towards: Point, aside: Point, side: int = 40) -> View:
    center = volume.geometry.center
    look_at = center + np.array(aside) / 6
    position = look_at + np.array(towards)
    return view_of(volume, VolumeParameters(position=tuple(position), look_at=tuple(look_at)), side)


def points(view: View) -> Array:
    """Where the pixels of a view lie, shape (3, rows, columns)."""
    rows, columns = np.mgrid[: view.rows, : view.columns]
    first, down, right = (vector[:, None, None] for vector in (view.first, view.down, view.right))
    found: Array = first + down * rows + right * columns
    return found


def slope(x: Array, y: Array, z: Array) -> Array:
    found: Array = 3 * x - 2 * y + 5 * z + 7
    return found


@pytest.mark.parametrize("geometry", [EVEN, UNEVEN], ids=["even", "uneven"])
@given(towards=POINT, aside=POINT)
def test_what_rises_straight_is_reformatted_exactly(
    geometry: object, towards: Point, aside: Point
) -> None:
    """Linear interpolation of a linear field makes no error; at the rim, half a voxel is flat."""
    assume(np.linalg.norm(towards) > 1 and np.hypot(*towards[:2]) > 0.1)
    volume = a_volume(slope, geometry)  # type: ignore[arg-type]
    view = oblique(volume, towards, aside)
    values, inside = reformatted(volume, view, method=AVERAGE, slab_mm=None)

    between = between_centres(volume, points(view))
    assert not (between & ~inside).any()
    np.testing.assert_allclose(values[between], slope(*points(view))[between], atol=0.01)


def between_centres(volume: Volume, at: Array) -> Array:
    geometry = volume.geometry
    offsets = at - np.array(geometry.origin)[:, None, None]
    mm = [
        np.tensordot(axis, offsets, 1) for axis in (geometry.normal, geometry.column, geometry.row)
    ]
    ends = (
        geometry.distances[-1],
        (geometry.rows - 1) * geometry.row_spacing,
        (geometry.columns - 1) * geometry.column_spacing,
    )
    found = np.ones(at.shape[1:], bool)
    for place, end in zip(mm, ends, strict=True):
        found &= (place > 1e-3) & (place < end - 1e-3)
    return found


def by_hand(voxels: Array, place: tuple[float, float, float]) -> float:
    """Trilinear interpolation, one voxel after the other."""
    total = 0.0
    lows = [min(floor(p), size - 2) for p, size in zip(place, voxels.shape, strict=True)]
    for corner in np.ndindex(2, 2, 2):
        weight = 1.0
        for p, low, bit in zip(place, lows, corner, strict=True):
            weight *= p - low if bit else 1 - (p - low)
        at = tuple(low + bit for low, bit in zip(lows, corner, strict=True))
        total += weight * float(voxels[at])
    return total


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.float32])
@settings(max_examples=20)
@given(towards=POINT, aside=POINT)
def test_an_oblique_plane_is_what_interpolation_by_hand_gives(
    dtype: type, towards: Point, aside: Point
) -> None:
    assume(np.linalg.norm(towards) > 1 and np.hypot(*towards[:2]) > 0.1)
    noise: Array = np.random.default_rng(7).integers(0, 200, (9, 14, 17)).astype(dtype)
    volume = Volume(EVEN, noise)
    view = oblique(volume, towards, aside, 12)
    values, _ = reformatted(volume, view, method=AVERAGE, slab_mm=None)

    at = points(view)
    axes = np.array((EVEN.normal, EVEN.column, EVEN.row))
    for row, column in np.argwhere(between_centres(volume, at)):
        offset = at[:, row, column] - EVEN.origin
        z, y, x = axes @ offset / (2.5, 1.5, 0.75)
        assert values[row, column] == pytest.approx(by_hand(noise, (z, y, x)), abs=0.01)


@pytest.mark.parametrize("geometry", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_the_volume_ends_half_a_voxel_beyond_its_outermost_centres(geometry: object) -> None:
    volume = a_volume(slope, geometry)  # type: ignore[arg-type]
    corners = volume.geometry.corners()
    middle = corners.mean(axis=0)
    for corner in corners:
        for part, expected in ((0.99, True), (1.01, False)):
            at = middle + (corner - middle) * part
            one = View(at, np.zeros(3), np.zeros(3), np.array([0.0, 0, 1]), 1.0, 1, 1)
            _, inside = reformatted(volume, one, method=AVERAGE, slab_mm=None)
            assert inside[0, 0] == expected


def test_a_plane_along_the_slices_is_the_slice() -> None:
    geometry = a_geometry((5, 8, 10), distances=(0, 2, 4, 6, 8))
    noise = np.random.default_rng(7).integers(-1000, 2000, (5, 8, 10)).astype(np.int16)
    volume = Volume(geometry, noise)
    feet = VolumeParameters(orientation=Orientation.FEET)
    (view,) = views_of([camera_of(feet, geometry)], geometry, Rendering())
    values, inside = reformatted(volume, view, method=AVERAGE, slab_mm=None)

    np.testing.assert_array_equal(values, noise[2])
    assert inside.all()


PROJECTED: dict[RenderingMethod, Callable[..., Array]] = {
    RenderingMethod.MAXIMUM_IP: np.max,
    RenderingMethod.MINIMUM_IP: np.min,
    RenderingMethod.AVERAGE_IP: np.mean,
}


@pytest.mark.parametrize("method", PROJECTED)
def test_a_slab_projects_the_voxels_within_its_thickness(method: RenderingMethod) -> None:
    geometry = a_geometry((9, 8, 10))
    noise = np.random.default_rng(7).integers(-1000, 2000, (9, 8, 10)).astype(np.int16)
    volume = Volume(geometry, noise)
    feet = VolumeParameters(orientation=Orientation.FEET)
    (view,) = views_of([camera_of(feet, geometry)], geometry, Rendering())
    values, _ = reformatted(volume, view, method=method, slab_mm=4.0)

    np.testing.assert_allclose(values, PROJECTED[method](noise[2:7], axis=0), atol=1e-3)


def test_a_slab_beyond_the_volume_averages_what_there_is() -> None:
    volume = a_volume(lambda x, y, z: 0 * x + 5, EVEN)
    view = oblique(volume, (10, -20, 5), (0, 0, 0))
    values, inside = reformatted(volume, view, method=AVERAGE, slab_mm=10_000.0)

    np.testing.assert_allclose(values[inside], 5)
    assert (values[~inside] == 0).all()


def test_a_plane_beside_the_volume_shows_nothing() -> None:
    volume = a_volume(slope, EVEN)
    far = tuple(volume.geometry.center + np.array(EVEN.normal) * 100)
    view = view_of(
        volume, VolumeParameters(look_at=far, position=tuple(np.add(far, EVEN.normal)), up=EVEN.row)
    )
    _, inside = reformatted(volume, view, method=AVERAGE, slab_mm=None)

    assert not inside.any()


def test_positions_of_the_formula_are_those_of_the_geometry() -> None:
    """The oracle itself: the first and the last voxel lie where their attributes say."""
    at = positions(UNEVEN)
    np.testing.assert_allclose(at[:, 0, 0, 0], UNEVEN.origin)
    expected = (
        np.array(UNEVEN.origin)
        + np.array(TURNED[:3]) * 16 * 0.75
        + np.array(TURNED[3:]) * 13 * 1.5
        + np.cross(TURNED[:3], TURNED[3:]) * 11.5
    )
    np.testing.assert_allclose(at[:, -1, -1, -1], expected)
