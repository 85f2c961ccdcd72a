"""Texts and graphics of presentation states: where they are drawn, and in which colour."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset

from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.referring import render_references
from objects import uid
from presentation_objects import (
    a_graphic,
    a_layer,
    a_state,
    a_text,
    an_annotation,
    an_area,
    reference_to,
    series_of,
)
from stored_images import an_image, an_item, stored

SIDE = 100
Pixels = npt.NDArray[np.uint8]


def black() -> Dataset:
    return an_image(np.zeros((SIDE, SIDE), np.uint8))


def drawn(*annotations: Dataset, image: Dataset | None = None, **attributes: Any) -> Pixels:
    """A black image of 100 x 100 pixels with these annotations."""
    under = black() if image is None else image
    state = a_state(under, GraphicAnnotationSequence=list(annotations), **attributes)
    archive = {under.SOPInstanceUID: stored(under)}
    return render_references(stored(state), archive, Rendering()).shown[0].picture.pixels


def graphic(kind: str, points: Sequence[float], **other: Any) -> Pixels:
    return drawn(an_annotation(graphics=[a_graphic(kind, points, **other)]))


def center(pixels: Pixels) -> tuple[float, float]:
    """Column and row of the middle of what is drawn, in pixels from the corner of the image."""
    rows, columns = np.nonzero(pixels)
    weights = pixels[rows, columns].astype(float)
    return (
        float(np.average(columns + 0.5, weights=weights)),
        float(np.average(rows + 0.5, weights=weights)),
    )


def extent(pixels: Pixels) -> tuple[int, int, int, int]:
    """First column and row, last column and row of what is at least half covered."""
    rows, columns = np.nonzero(pixels > 127)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_a_filled_polyline_covers_the_pixels_between_its_corners() -> None:
    found = graphic("POLYLINE", [20, 30, 40, 30, 40, 70, 20, 70, 20, 30], filled=True)

    assert (found[31:69, 21:39] == 255).all()
    # half of the line lies outside of the area
    assert extent(found) == pytest.approx((19, 29, 40, 70), abs=1)


def test_a_line_runs_between_its_points() -> None:
    found = graphic("POLYLINE", [10.5, 50.5, 90.5, 50.5])

    assert (found[50, 11:90] == 255).all()
    assert not found[:49].any()
    assert not found[52:].any()


def test_a_point_is_a_dot_around_it() -> None:
    assert center(graphic("POINT", [30, 60])) == pytest.approx((30, 60), abs=0.3)


def test_a_circle_has_its_radius() -> None:
    found = graphic("CIRCLE", [50, 50, 70, 50])

    rows, columns = np.nonzero(found > 127)
    radii = np.hypot(columns + 0.5 - 50, rows + 0.5 - 50)
    assert radii.min() > 18.5
    assert radii.max() < 21.5
    assert len(radii) > 2 * np.pi * 20 * 0.9


def test_an_ellipse_has_its_axes() -> None:
    found = graphic("ELLIPSE", [10, 50, 90, 50, 50, 30, 50, 70])

    left, top, right, bottom = extent(found)
    assert (left, top, right, bottom) == pytest.approx((9.5, 29.5, 89.5, 69.5), abs=1.1)


def test_an_interpolated_line_goes_through_its_points() -> None:
    points = [10, 80, 40, 20, 60, 70, 90, 30]

    found = graphic("INTERPOLATED", points)

    for x, y in zip(points[::2], points[1::2], strict=True):
        assert found[y - 1 : y + 1, max(0, x - 1) : x + 1].max() > 100


def test_display_units_are_fractions_of_the_displayed_area() -> None:
    point = an_annotation(graphics=[a_graphic("POINT", [0.25, 0.5], units="DISPLAY")])

    found = drawn(point, DisplayedAreaSelectionSequence=[an_area([1, 1], [40, 80])])

    assert center(found) == pytest.approx((10, 40), abs=0.3)


def test_pixel_units_are_turned_with_the_image() -> None:
    point = an_annotation(graphics=[a_graphic("POINT", [20, 30])])

    assert center(drawn(point, ImageRotation=90)) == pytest.approx((70, 20), abs=0.3)
    assert center(drawn(point, ImageRotation=90, ImageHorizontalFlip="Y")) == pytest.approx(
        (30, 20), abs=0.3
    )


def test_display_units_are_not_turned() -> None:
    point = an_annotation(graphics=[a_graphic("POINT", [0.2, 0.3], units="DISPLAY")])

    assert center(drawn(point, ImageRotation=90)) == pytest.approx((20, 30), abs=0.3)


def a_slide() -> Dataset:
    """400 x 400 pixels, of which one tile is there, at column 200 and row 100."""
    tile = black()
    tile.TotalPixelMatrixColumns = tile.TotalPixelMatrixRows = 400
    tile.PerFrameFunctionalGroupsSequence = [
        an_item(
            PlanePositionSlideSequence=[
                an_item(
                    ColumnPositionInTotalImagePixelMatrix=201,
                    RowPositionInTotalImagePixelMatrix=101,
                )
            ]
        )
    ]
    return tile


def test_matrix_units_count_from_the_corner_of_the_slide() -> None:
    tile = a_slide()
    point = an_annotation(graphics=[a_graphic("POINT", [220, 130], units="MATRIX")])
    series = series_of(tile)
    series[0].ReferencedImageSequence = [reference_to(tile, 1)]

    found = drawn(point, image=tile, ReferencedSeriesSequence=series)

    assert found.shape == (SIDE, SIDE)
    assert center(found) == pytest.approx((20, 30), abs=0.3)


@pytest.mark.parametrize("units", ["PIXEL", "MATRIX"])
def test_a_slide_of_which_no_tile_is_named_is_annotated_as_a_whole(units: str) -> None:
    point = an_annotation(graphics=[a_graphic("POINT", [220, 130], units=units)])

    found = drawn(point, image=a_slide())

    assert found.shape == (400, 400)
    assert center(found) == pytest.approx((220, 130), abs=0.3)


def square(corner: float, layer: str) -> Dataset:
    a, b = corner, corner + 30
    return an_annotation(
        layer, graphics=[a_graphic("POLYLINE", [a, a, b, a, b, b, a, b, a, a], filled=True)]
    )


def test_layers_are_drawn_in_their_order() -> None:
    layers = [
        a_layer("ABOVE", 2, GraphicLayerRecommendedDisplayGrayscaleValue=0xFFFF),
        a_layer("BELOW", 1, GraphicLayerRecommendedDisplayGrayscaleValue=0x4040),
    ]

    found = drawn(square(20, "ABOVE"), square(35, "BELOW"), GraphicLayerSequence=layers)

    assert found[40, 40] == 255
    assert found[60, 60] == 0x40


def test_a_layer_of_a_colour_makes_a_picture_in_colours() -> None:
    # L* 53.2, a* 80.1, b* 67.2 of D65 is pure red; adapted to D50 it is this
    red = [round(54.29 / 100 * 65535), round((80.80 + 128) * 257), round((69.89 + 128) * 257)]
    layer = a_layer("A", GraphicLayerRecommendedDisplayCIELabValue=red)

    found = drawn(square(20, "A"), GraphicLayerSequence=[layer])

    assert found[40, 40].tolist() == pytest.approx([255, 0, 0], abs=4)
    assert found[90, 90].tolist() == [0, 0, 0]


def test_a_layer_that_nothing_describes_is_white() -> None:
    assert drawn(square(20, "UNKNOWN"))[40, 40] == 255


def test_annotations_of_another_image_are_not_drawn() -> None:
    other = an_item(SOPClassUID="1.2.840.10008.5.1.4.1.1.2", SOPInstanceUID=uid())
    meant = square(20, "A")
    meant.ReferencedImageSequence = [reference_to(other)]

    assert not drawn(meant).any()


def test_lines_have_the_style_that_they_are_given() -> None:
    line = a_graphic("POLYLINE", [10, 50, 90, 50])
    line.LineStyleSequence = [
        an_item(
            PatternOnColorCIELabValue=[65535, 0x8080, 0x8080],
            PatternOnOpacity=1.0,
            LineThickness=4.0,
            LineDashingStyle="DASHED",
        )
    ]

    found = drawn(an_annotation(graphics=[line]))

    covered = (found[49:51].mean(axis=0) > 127).astype(int)
    assert found[48:52, 12].min() == 255
    assert 1 < (np.diff(covered) == 1).sum() < 8


def words(text: str = "Längd 12 mm", **other: Any) -> Dataset:
    return an_annotation(texts=[a_text(text, **other)])


def test_a_text_is_written_into_its_box() -> None:
    left, top, right, bottom = extent(drawn(words(box=[10, 20, 90, 40])))

    assert 10 <= left < 20
    assert top >= 20
    assert 60 < right <= 90
    assert bottom <= 40


def test_a_text_without_room_is_still_large_enough_to_be_read() -> None:
    _left, top, _right, bottom = extent(drawn(words(box=[10, 20, 12, 22])))

    assert bottom - top >= 6


@pytest.mark.parametrize(("align", "place"), [("LEFT", 0), ("CENTER", 1), ("RIGHT", 2)])
def test_a_text_is_justified_in_its_box(align: str, place: int) -> None:
    text = a_text("i", [10, 40, 90, 60])
    text.BoundingBoxTextHorizontalJustification = align

    column, _row = center(drawn(an_annotation(texts=[text])))

    assert column == pytest.approx((12, 50, 88)[place], abs=4)


def test_a_text_is_turned_with_the_image() -> None:
    upright = drawn(words("L", box=[10, 40, 30, 60]))
    turned = drawn(words("L", box=[10, 40, 30, 60]), ImageRotation=180)

    # not to the pixel: the box begins between pixels of letters
    assert np.abs(turned[::-1, ::-1].astype(int) - upright).mean() < 3


def test_a_text_is_never_mirrored() -> None:
    upright = drawn(words("L", box=[40, 40, 60, 60]))
    flipped = drawn(words("L", box=[40, 40, 60, 60]), ImageHorizontalFlip="Y")

    assert np.array_equal(flipped, upright)


def test_a_text_without_a_box_stands_beside_its_anchor() -> None:
    left, top, _right, _bottom = extent(
        drawn(words("A", AnchorPoint=[30, 40], AnchorPointAnnotationUnits="PIXEL"))
    )

    assert 30 <= left < 40
    assert 40 <= top < 50


@pytest.mark.parametrize("visible", ["Y", "N"])
def test_a_line_leads_to_an_anchor_that_is_visible(visible: str) -> None:
    found = drawn(
        words(
            "A",
            box=[60, 60, 90, 80],
            AnchorPoint=[10, 10],
            AnchorPointAnnotationUnits="PIXEL",
            AnchorPointVisibility=visible,
        )
    )

    assert (found[30:40, 30:40].max() > 127) == (visible == "Y")


def test_lines_of_a_text_stand_below_each_other() -> None:
    one = extent(drawn(words("A", box=[10, 10, 90, 30])))
    two = extent(drawn(words("A\r\nA", box=[10, 10, 90, 50])))

    assert two[3] - two[1] > 1.8 * (one[3] - one[1])


def test_graphics_are_as_sharp_as_the_viewport_is_large() -> None:
    image = black()
    line = an_annotation(graphics=[a_graphic("POLYLINE", [0, 50, 100, 50])])
    state = stored(a_state(image, GraphicAnnotationSequence=[line]))
    archive = {image.SOPInstanceUID: stored(image)}

    large = render_references(state, archive, Rendering(viewport=Viewport(800, 800))).shown[0]

    thickness = (large.picture.pixels[:, 400] > 0).sum()
    assert 1 <= thickness <= 4


@pytest.mark.parametrize(
    "broken",
    [
        a_graphic("POLYLINE", []),
        a_graphic("POLYLINE", [1.0]),
        a_graphic("CIRCLE", [5, 5]),
        a_graphic("ELLIPSE", [5, 5, 9, 9]),
        a_graphic("POLYLINE", [1e30, -1e30, 1e38, 5]),
        a_graphic("NOTHING", [5, 5, 9, 9]),
    ],
)
def test_broken_graphics_do_no_harm(broken: Dataset) -> None:
    assert drawn(an_annotation(graphics=[broken])).shape[:2] == (SIDE, SIDE)
