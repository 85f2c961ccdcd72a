"""Projections of a whole volume against numpy, against planes, and against what has to be seen."""

from collections.abc import Callable

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
from bfr_dicomweb.rendering.volume_projection import projected, volume_rendered
from bfr_dicomweb.rendering.volume_sampling import reformatted
from volumes import Array, a_geometry, a_volume

GEOMETRY = a_geometry((12, 16, 20), origin=(-9.5, -7.5, -5.5))
NOISE = np.random.default_rng(7).integers(-1000, 2000, (12, 16, 20)).astype(np.int16)
METHODS: dict[RenderingMethod, Callable[..., Array]] = {
    RenderingMethod.MAXIMUM_IP: np.max,
    RenderingMethod.MINIMUM_IP: np.min,
    RenderingMethod.AVERAGE_IP: np.mean,
}
COORDINATE = st.floats(-30, 30)
DIRECTION = st.tuples(COORDINATE, COORDINATE, COORDINATE)


def view_of(volume: Volume, rendering: Rendering | None = None, **asked: object) -> View:
    camera = camera_of(VolumeParameters(**asked), volume.geometry)  # type: ignore[arg-type]
    (found,) = views_of([camera], volume.geometry, rendering or Rendering())
    return found


# What an axis of the voxels becomes in a picture from each side; ::-1 turns an axis round.
FROM: dict[str, Callable[[Callable[[int], Array]], Array]] = {
    "a": lambda flat: flat(1)[::-1],
    "p": lambda flat: flat(1)[::-1, ::-1],
    "r": lambda flat: flat(2)[::-1, ::-1],
    "l": lambda flat: flat(2)[::-1],
    "h": lambda flat: flat(0)[:, ::-1],
    "f": lambda flat: flat(0),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", FROM)
def test_along_an_axis_a_projection_is_that_of_the_voxels(
    side: str, method: RenderingMethod
) -> None:
    volume = Volume(GEOMETRY, NOISE)
    values, inside = projected(volume, view_of(volume, orientation=Orientation(side)), method)

    expected = FROM[side](lambda axis: METHODS[method](NOISE, axis=axis))
    np.testing.assert_allclose(values, expected, atol=1e-2)
    assert inside.all()


def test_the_rim_of_a_volume_has_its_own_values() -> None:
    """Where outside counted as 0, the rim of -900 would be nearer to 0."""
    volume = Volume(GEOMETRY, np.full((12, 16, 20), -900, np.int16))
    view = view_of(volume, Rendering(viewport=Viewport(300, 300)), position=(50.0, -80.0, 30.0))
    values, inside = projected(volume, view, RenderingMethod.MINIMUM_IP)

    np.testing.assert_allclose(values[inside], -900, atol=0.1)


def blob(x: Array, y: Array, z: Array) -> Array:
    found: Array = 1000 * np.exp(-((x - 2) ** 2 + (y + 1) ** 2 + (z - 1) ** 2) / 18)
    return found


@pytest.mark.parametrize("method", [RenderingMethod.MAXIMUM_IP, RenderingMethod.AVERAGE_IP])
@settings(max_examples=30)
@given(towards=DIRECTION)
def test_a_projection_is_about_that_of_all_planes_across_it(
    method: RenderingMethod, towards: Point
) -> None:
    assume(np.linalg.norm(towards) > 1 and np.hypot(*towards[:2]) > 0.1)
    geometry = a_geometry((25, 31, 41), origin=(-20, -15, -12))
    volume = a_volume(blob, geometry)
    view = view_of(volume, Rendering(viewport=Viewport(40, 40)), position=towards)
    values, inside = projected(volume, view, method)
    planes, _ = reformatted(volume, view, method=method, slab_mm=1000.0)

    # rays through corners are short: one sample more or less is much there
    deep = inside & (values > 300)
    np.testing.assert_allclose(values[deep], planes[deep], rtol=0.1)


def test_slices_at_uneven_distances_are_projected_where_they_lie() -> None:
    geometry = a_geometry((4, 8, 8), distances=(0, 1, 2, 9))
    voxels = np.zeros((4, 8, 8), np.int16)
    voxels[3] = 100
    volume = Volume(geometry, voxels)
    values, _ = projected(
        volume, view_of(volume, orientation=Orientation.ANTERIOR), RenderingMethod.MAXIMUM_IP
    )

    along = values[:, 4][::-1]  # from below: half a slice, 0, 1, 2, then rising to 9, half of 7
    heights = np.arange(13)
    np.testing.assert_allclose(along, np.clip((heights - 2) * 100 / 7, 0, 100), atol=15)


CORNERS = [(x, y, z) for x in (-8, 8) for y in (-6, 6) for z in (-4, 4)]


@pytest.mark.parametrize("method", list(RenderingMethod)[:2])
@pytest.mark.parametrize("side", FROM)
@pytest.mark.parametrize("corner", CORNERS)
def test_what_is_bright_is_seen_where_it_is(
    corner: tuple[int, int, int], side: str, method: RenderingMethod
) -> None:
    def bone(x: Array, y: Array, z: Array) -> Array:
        near = (x - corner[0]) ** 2 + (y - corner[1]) ** 2 + (z - corner[2]) ** 2 < 6
        return np.where(near, 1500, -1000)

    volume = a_volume(bone, GEOMETRY, dtype=np.int16, modality="CT")
    view = view_of(volume, orientation=Orientation(side))
    if method is RenderingMethod.VOLUME_RENDERED:
        bright = volume_rendered(volume, view).astype(float).sum(axis=2) > 100
    else:
        bright = projected(volume, view, method)[0] > 250
    row, column = np.argwhere(bright).mean(axis=0)

    at = np.array(corner) - view.first
    assert column == pytest.approx(at @ view.right, abs=1)
    assert row == pytest.approx(at @ view.down, abs=1)


def test_what_lies_in_front_hides_what_lies_behind() -> None:
    """White bone before, yellowish bone with a hole behind: only from behind both are seen."""

    def plates(x: Array, y: Array, z: Array) -> Array:
        front = np.abs(y + 5) < 2
        behind = (np.abs(y - 5) < 2) & (np.hypot(x, z) > 3)
        return np.select([front, behind], [1500, 230], -1000)

    geometry = a_geometry((32, 24, 32), origin=(-15.5, -11.5, -15.5))
    volume = a_volume(plates, geometry, dtype=np.int16, modality="CT")
    middle = (slice(15, 17), slice(15, 17))
    around = (slice(8, 9), slice(8, 9))
    seen = {
        side: volume_rendered(volume, view_of(volume, orientation=Orientation(side)))[..., 2]
        for side in "ap"
    }

    assert seen["a"][middle].mean() == pytest.approx(seen["a"][around].mean(), rel=0.05)
    assert seen["p"][middle].mean() > 1.2 * seen["p"][around].mean()


def test_a_sphere_is_lit_from_the_camera_and_the_same_from_all_sides() -> None:
    geometry = a_geometry((40, 40, 40), origin=(-19.5, -19.5, -19.5))
    volume = a_volume(
        lambda x, y, z: 1500 - 250 * np.sqrt(x**2 + y**2 + z**2), geometry, modality="CT"
    )
    pictures = [
        volume_rendered(volume, view_of(volume, orientation=Orientation(side))).astype(float)
        for side in FROM
    ]

    for picture in pictures:
        np.testing.assert_allclose(picture, pictures[0], atol=6)
        assert picture[19:21, 19:21].mean() > picture[19:21, 15].mean() > picture[0, 0].mean() == 0


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "NM", "OT", ""])
@pytest.mark.parametrize("value", [0, 1000])
def test_a_volume_of_one_value_is_rendered(modality: str, value: int) -> None:
    volume = a_volume(lambda x, y, z: 0 * x + value, GEOMETRY, dtype=np.int16, modality=modality)

    assert volume_rendered(volume, view_of(volume)).shape == (12, 20, 3)


@pytest.mark.parametrize("modality", ["MR", "PT", "OT"])
def test_values_without_a_scale_are_told_from_the_background(modality: str) -> None:
    def body(x: Array, y: Array, z: Array) -> Array:
        return np.where(np.hypot(x, y) < 5, 300 + 20 * z, 3 + np.sin(50 * x * y))

    volume = a_volume(body, GEOMETRY, modality=modality)
    picture = volume_rendered(volume, view_of(volume, orientation=Orientation.FEET))

    assert picture[8, 10].max() > 40
    assert picture[0, 0].max() == picture[15, 19].max() == 0


def test_two_slices_are_enough() -> None:
    geometry = a_geometry((2, 3, 1))
    volume = Volume(geometry, np.full((2, 3, 1), 900, np.int16), modality="CT")
    for side in FROM:
        view = view_of(volume, orientation=Orientation(side))
        assert volume_rendered(volume, view).shape == (view.rows, view.columns, 3)
        assert projected(volume, view, RenderingMethod.MAXIMUM_IP)[0].max() == 900
