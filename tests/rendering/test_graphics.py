"""What is drawn over pictures."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from bfr_dicomweb.rendering.graphics import (
    WHITE,
    Drawing,
    Stroke,
    circle,
    dashes,
    lettering,
    spline,
)
from bfr_dicomweb.rendering.picture import Picture

POINT = st.tuples(st.floats(-200, 300, allow_nan=False), st.floats(-200, 300, allow_nan=False))


def gray(rows: int = 60, columns: int = 80, value: int = 0) -> Drawing:
    return Drawing(Picture(np.full((rows, columns), value, np.uint8)))


def test_white_on_greys_stays_grey() -> None:
    drawing = gray()

    drawing.line(np.array([[1.0, 1.0], [50.0, 50.0]]), Stroke(WHITE))

    assert not drawing.picture.is_color


def test_a_colour_on_greys_makes_colours() -> None:
    drawing = gray(value=100)

    drawing.area(np.array([[10.0, 10], [20, 10], [20, 20], [10, 20]]), (255, 0, 0))

    assert drawing.picture.pixels[15, 15].tolist() == [255, 0, 0]
    assert drawing.picture.pixels[50, 50].tolist() == [100, 100, 100]


def test_an_area_may_be_seen_through() -> None:
    drawing = gray(value=100)

    drawing.area(np.array([[10.0, 10], [20, 10], [20, 20], [10, 20]]), WHITE, 0.5)

    assert drawing.picture.pixels[15, 15] == pytest.approx(178, abs=2)


def test_the_picture_that_is_drawn_upon_is_left_alone() -> None:
    pixels = np.zeros((60, 80), np.uint8)

    Drawing(Picture(pixels)).line(np.array([[1.0, 1.0], [50.0, 50.0]]), Stroke())

    assert not pixels.any()


def test_edges_are_smooth() -> None:
    drawing = gray()

    drawing.area(circle(np.array([40.0, 30.0]), 20), WHITE)

    pixels = drawing.picture.pixels
    assert pixels.sum() / 255 == pytest.approx(np.pi * 400, rel=0.02)
    assert len(np.unique(pixels)) > 5


@settings(deadline=None, max_examples=60)
@given(points=st.lists(POINT, min_size=0, max_size=6), width=st.floats(0.3, 9))
def test_whatever_is_drawn_anywhere_keeps_the_size(
    points: list[tuple[float, float]], width: float
) -> None:
    figure = np.array(points, np.float64).reshape(-1, 2)
    for drawing in (gray(), Drawing(Picture(np.zeros((60, 80, 3), np.uint8)))):
        drawing.line(figure, Stroke((255, 0, 0), width, (4, 2)))
        drawing.area(figure, (0, 255, 0), 0.5)
        drawing.dots(figure, Stroke(WHITE, width))

        assert drawing.picture.pixels.shape[:2] == (60, 80)


@settings(deadline=None)
@given(points=st.lists(POINT, min_size=2, max_size=8))
def test_a_spline_goes_through_its_points(points: list[tuple[float, float]]) -> None:
    knots = np.array(points, np.float64)

    line = spline(knots)

    for knot in knots:
        assert np.abs(line - knot).max(axis=1).min() < 1e-9


def test_dashes_are_as_long_as_they_are_said_to_be() -> None:
    pieces = dashes(np.array([[0.0, 0.0], [6.0, 0.0], [6.0, 14.0]]), 4, 2)

    lengths = [float(np.hypot(*np.diff(piece, axis=0).T).sum()) for piece in pieces]
    assert lengths == pytest.approx([4, 4, 4, 2])


def test_a_bend_inside_of_a_dash_is_kept() -> None:
    pieces = dashes(np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 5.0]]), 4, 2)

    assert pieces[0].tolist() == [[0, 0], [2, 0], [2, 2]]


def test_swedish_letters_have_shapes_of_their_own() -> None:
    shapes = {lettering(letter, 24).letters.tobytes() for letter in "aåäoöAÅÄOÖ"}

    assert len(shapes) == 10


def test_a_text_that_is_turned_has_its_sides_changed() -> None:
    upright = lettering("Längd", 20)

    assert (upright.turned(1).width, upright.turned(1).height) == (upright.height, upright.width)


def test_a_text_can_be_read_on_white() -> None:
    drawing = gray(value=255)

    drawing.text(lettering("M", 24), WHITE, left=20, top=15)

    assert drawing.picture.pixels.min() < 40
