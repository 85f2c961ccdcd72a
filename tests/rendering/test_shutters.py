from typing import Any

import numpy as np
import pytest

from bfr_dicomweb.rendering import shutters
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.frame_rendering import show
from bfr_dicomweb.rendering.overlays import Overlay
from bfr_dicomweb.rendering.shutters import Circle, Polygon, Rectangle, Shutters
from stored_images import Samples, a_stored_image, an_item

WHITE = np.full((20, 30), 255, "u1")
RECTANGLE: dict[str, Any] = {
    "ShutterLeftVerticalEdge": 3,
    "ShutterRightVerticalEdge": 10,
    "ShutterUpperHorizontalEdge": 2,
    "ShutterLowerHorizontalEdge": 5,
}


def shown(samples: Samples = WHITE, **attributes: Any) -> Samples:
    image = a_stored_image(samples, **attributes)
    return show(image, 0, appearance_of(image, 0)).pixels


def test_a_rectangle_leaves_its_edges_visible() -> None:
    found = shown(ShutterShape="RECTANGULAR", ShutterPresentationValue=0, **RECTANGLE)

    assert (found[1:5, 2:10] == 255).all()
    assert int((found == 255).sum()) == 4 * 8


def test_a_circle_leaves_what_lies_within_its_radius_visible() -> None:
    found = shown(
        ShutterShape="CIRCULAR", CenterOfCircularShutter=[10, 15], RadiusOfCircularShutter=5
    )

    rows, columns = np.mgrid[1:21, 1:31]
    within = (rows - 10) ** 2 + (columns - 15) ** 2 <= 25
    assert np.array_equal(found == 255, within)


def test_a_polygon_leaves_its_inside_and_its_edges_visible() -> None:
    vertices = [2, 3, 2, 12, 9, 12, 9, 3]
    found = shown(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=vertices)

    visible = np.zeros((20, 30), np.bool_)
    visible[1:9, 2:12] = True
    assert np.array_equal(found == 255, visible)


def test_several_shapes_leave_visible_what_all_of_them_do() -> None:
    found = shown(
        ShutterShape=["RECTANGULAR", "CIRCULAR"],
        CenterOfCircularShutter=[5, 3],
        RadiusOfCircularShutter=1,
        **RECTANGLE,
    )

    assert [tuple(place) for place in np.argwhere(found == 255).tolist()] == [
        (3, 2),
        (4, 2),
        (4, 3),
    ]


@pytest.mark.parametrize(("value", "gray"), [(0, 0), (0x8000, 128), (0xFFFF, 255)])
def test_what_is_hidden_has_the_presentation_value(value: int, gray: int) -> None:
    found = shown(
        np.full((20, 30), 77, "u1"),
        ShutterShape="RECTANGULAR",
        ShutterPresentationValue=value,
        **RECTANGLE,
    )

    assert found[0, 0] == gray


def test_what_is_hidden_of_an_image_of_colours_has_the_presentation_colour() -> None:
    found = shown(
        np.full((20, 30, 3), 255, "u1"),
        ShutterShape="RECTANGULAR",
        ShutterPresentationColorCIELabValue=[0xFFFF, 0x8080, 0x8080],
        **RECTANGLE,
    )

    assert found[0, 0].tolist() == [255, 255, 255]


def test_a_bitmap_hides_what_it_has_set() -> None:
    bits = np.zeros((2, 2), np.bool_)
    bits[1, 0] = True

    found = shutters.hidden(Shutters(bitmap=Overlay(bits, top=3, left=4)), 6, 6)

    assert np.argwhere(found).tolist() == [[4, 4]]


def test_the_shutter_of_a_frame_goes_before_that_of_the_object() -> None:
    group = an_item(FrameDisplayShutterSequence=[an_item(ShutterShape="RECTANGULAR", **RECTANGLE)])
    image = a_stored_image(
        WHITE,
        SharedFunctionalGroupsSequence=[group],
        ShutterShape="CIRCULAR",
        CenterOfCircularShutter=[1, 1],
        RadiusOfCircularShutter=1,
    )

    assert appearance_of(image, 0).shutters == Shutters((Rectangle(3, 10, 2, 5),))


@pytest.mark.parametrize(
    "attributes",
    [
        {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 3},
        {"ShutterShape": "CIRCULAR", "RadiusOfCircularShutter": 3},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 2, 3, 4]},
        {"ShutterShape": "ODD"},
        {"ShutterShape": "BITMAP", "ShutterOverlayGroup": 0x6000},
    ],
)
def test_a_shutter_that_does_not_say_where_it_is_hides_nothing(attributes: dict[str, Any]) -> None:
    assert (shown(**attributes) == 255).all()


def test_shapes_far_outside_of_the_image_are_no_error() -> None:
    shapes = (Rectangle(-5, 99999, -5, 99999), Circle(-1e6, 0, 1e9))

    assert not shutters.hidden(Shutters(shapes), 4, 4).any()
    assert shutters.hidden(Shutters((Polygon(((1e9, 1e9), (2e9, 1e9), (1e9, 2e9))),)), 4, 4).all()
