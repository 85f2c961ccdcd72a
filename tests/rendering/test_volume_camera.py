"""From where a volume is looked at (PS3.18 sections 8.3.5.3.4 to 8.3.5.3.12)."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering import volume_camera
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.volume_camera import Camera, View, camera_of, views_of
from bfr_dicomweb.rendering.volume_parameters import Orientation, Point, VolumeParameters
from volumes import a_geometry

GEOMETRY = a_geometry((21, 21, 21), origin=(-10, -10, -10))
AS_IS = Rendering()
COORDINATE = st.floats(-500, 500).map(lambda number: round(number, 3))
POINT = st.tuples(COORDINATE, COORDINATE, COORDINATE)


def camera(**asked: Point | Orientation) -> Camera:
    return camera_of(VolumeParameters(**asked), GEOMETRY)  # type: ignore[arg-type]


# Which way the patient's left, posterior and head point, in the picture and out of it.
SEEN = {
    "a": {"right": (1, 0, 0), "down": (0, 0, -1), "sight": (0, 1, 0)},
    "p": {"right": (-1, 0, 0), "down": (0, 0, -1), "sight": (0, -1, 0)},
    "r": {"right": (0, -1, 0), "down": (0, 0, -1), "sight": (1, 0, 0)},
    "l": {"right": (0, 1, 0), "down": (0, 0, -1), "sight": (-1, 0, 0)},
    "h": {"right": (-1, 0, 0), "down": (0, 1, 0), "sight": (0, 0, -1)},
    "f": {"right": (1, 0, 0), "down": (0, 1, 0), "sight": (0, 0, 1)},
}


@pytest.mark.parametrize("side", SEEN)
def test_the_patient_is_seen_from_the_side_that_is_named(side: str) -> None:
    found = camera(orientation=Orientation(side))

    assert found.look_at == (0, 0, 0)
    for direction, expected in SEEN[side].items():
        np.testing.assert_allclose(getattr(found, direction), expected, atol=1e-12)


def test_by_default_the_patient_is_seen_from_the_front() -> None:
    assert camera() == camera(orientation=Orientation.ANTERIOR)


def test_the_camera_is_outside_of_the_volume() -> None:
    assert np.linalg.norm(camera().position) > 21


def test_a_camera_without_position_looks_from_the_front_at_what_it_looks_at() -> None:
    np.testing.assert_allclose(camera(look_at=(5, 6, 7)).sight, (0, 1, 0), atol=1e-12)


def test_a_camera_straight_above_has_the_front_of_the_patient_up() -> None:
    assert camera(position=(0, 0, 100)).up == (0, -1, 0)


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"position": (0.0, 0.0, 0.0)}, "viewpointposition"),
        ({"position": (1.0, 2.0, 3.0), "look_at": (1.0, 2.0, 3.0)}, "viewpointposition"),
        ({"position": (0.0, 0.0, 9.0), "up": (0.0, 0.0, -1.0)}, "viewpointup"),
    ],
)
def test_a_camera_that_sees_nothing_is_refused(asked: dict[str, Point], parameter: str) -> None:
    with pytest.raises(InvalidQuery, match=parameter):
        camera(**asked)


@given(POINT, POINT, POINT)
def test_right_down_and_sight_are_a_right_handed_frame(
    position: Point, look_at: Point, up: Point
) -> None:
    sight = np.subtract(look_at, position)
    assume(np.linalg.norm(np.cross(sight, up)) > 1e-2 * np.linalg.norm(sight) * np.linalg.norm(up))
    assume(np.linalg.norm(sight) > 1 and np.linalg.norm(up) > 1)
    found = camera(position=position, look_at=look_at, up=up)

    axes = np.array((found.right, found.down, found.sight))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert found.down @ np.array(up) < 0


def angle(first: Camera, second: Camera) -> float:
    return float(np.degrees(np.arccos(np.clip(first.sight @ second.sight, -1, 1))))


@pytest.mark.parametrize(("degrees", "step", "count"), [(90, 10, 9), (360, 5, 72), (20, 30, 1)])
def test_a_swivel_has_as_many_pictures_as_its_range_has_steps(
    degrees: float, step: float, count: int
) -> None:
    cameras = volume_camera.swivel(camera(), degrees, step)

    assert len(cameras) == count
    assert all(angle(*pair) == pytest.approx(step, abs=1e-4) for pair in pairwise(cameras))


def test_the_middle_of_a_swivel_is_the_camera_that_was_asked_for() -> None:
    cameras = volume_camera.swivel(camera(), 90, 10)

    np.testing.assert_allclose(cameras[4].position, camera().position, atol=1e-5)
    assert angle(cameras[0], camera()) == pytest.approx(40, abs=1e-4)


def test_a_whole_turn_begins_with_the_camera_that_was_asked_for() -> None:
    assert volume_camera.swivel(camera(), 360, 10)[0] == camera()


def test_a_swivel_goes_round_the_axis_through_what_is_looked_at_along_up() -> None:
    for turned in volume_camera.swivel(camera(look_at=(1, 2, 3)), 180, 20):
        assert turned.look_at == (1, 2, 3)
        assert turned.up == (0, 0, 1)
        assert turned.position[2] == 3


def test_a_swivel_first_goes_from_the_right_side_of_the_camera_to_its_left() -> None:
    to_right = camera().turned(90)
    np.testing.assert_allclose(to_right.sight, (-1, 0, 0), atol=1e-6)  # at the patient's left


def test_a_curve_has_as_many_pictures_as_steps_fit_on_it() -> None:
    curve = ((0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (3.0, 4.0, 0.0))
    cameras = volume_camera.along_curve(camera(), curve, 1.0)

    assert [moved.look_at for moved in cameras] == [
        (0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (3, 1, 0), (3, 2, 0), (3, 3, 0)
    ]  # fmt: skip
    assert all(angle(moved, camera()) == pytest.approx(0, abs=1e-4) for moved in cameras)


def test_animations_without_end_are_refused() -> None:
    with pytest.raises(InvalidQuery, match="volumetriccurvepoint"):
        volume_camera.along_curve(camera(), ((0.0, 0.0, 0.0), (9e5, 0.0, 0.0)), 1.0)


def view(rendering: Rendering = AS_IS, **asked: Point | Orientation) -> View:
    (found,) = views_of([camera(**asked)], GEOMETRY, rendering)
    return found


def test_without_a_viewport_a_pixel_is_as_large_as_a_voxel() -> None:
    found = view()

    assert (found.rows, found.columns) == (21, 21)
    np.testing.assert_allclose(found.first, (-10, 0, 10), atol=1e-9)
    np.testing.assert_allclose(found.right, (1, 0, 0), atol=1e-9)
    np.testing.assert_allclose(found.down, (0, 0, -1), atol=1e-9)


@given(st.integers(1, 600), st.integers(1, 600), POINT)
def test_the_picture_fits_the_viewport_and_the_volume_the_picture(
    width: int, height: int, position: Point
) -> None:
    assume(np.linalg.norm(position) > 1)
    found = view(Rendering(viewport=Viewport(width, height)), position=position)

    assert found.columns <= width
    assert found.rows <= height
    assert found.columns == width or found.rows == height
    if min(width, height) > 20:
        spacing = np.linalg.norm(found.right)
        assert spacing == pytest.approx(np.linalg.norm(found.down), rel=0.1)
        offsets = (GEOMETRY.corners() - found.first) / spacing
        assert (np.abs(offsets @ (found.right / spacing) - (found.columns - 1) / 2)).max() <= (
            found.columns / 2 * 1.1
        )


def test_a_source_region_is_part_of_the_picture_without_viewport() -> None:
    found = view(
        Rendering(viewport=Viewport(20, 20, left=1, top=2, source_width=10, source_height=10))
    )

    assert (found.rows, found.columns) == (20, 20)
    np.testing.assert_allclose(found.first, (-9.25, 0, 8.25), atol=1e-9)
    np.testing.assert_allclose(found.right, (0.5, 0, 0), atol=1e-9)


def test_a_negative_source_width_turns_the_picture_over() -> None:
    found = view(Rendering(viewport=Viewport(21, 21, source_width=-21, source_height=21)))

    np.testing.assert_allclose(found.first, (10, 0, 10), atol=1e-9)
    np.testing.assert_allclose(found.right, (-1, 0, 0), atol=1e-9)
