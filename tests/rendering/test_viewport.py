import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering.parameters import Region, Rendering, Viewport
from bfr_dicomweb.rendering.picture import Picture, Pixels
from bfr_dicomweb.rendering.viewport import MAX_SIDE, place

SOURCE: Pixels = (np.arange(64 * 48, dtype=np.uint32) * 83 % 251).astype(np.uint8).reshape(48, 64)


def placed(
    viewport: Viewport | None, pixels: Pixels = SOURCE, *, aspect: float = 1.0
) -> npt.NDArray[np.uint8]:
    return place(Picture(pixels), Rendering(viewport=viewport), pixel_aspect=aspect).pixels


@pytest.mark.parametrize(
    ("viewport", "rows", "columns"),
    [
        (None, 48, 64),
        (Viewport(32, 32), 24, 32),
        (Viewport(128, 128), 96, 128),
        (Viewport(32, 24, 0, 0, 32, 24), 24, 32),
        (Viewport(64, 48, 0, 0, -64, 48), 48, 64),
        (Viewport(1000, 10), 10, 13),
        (Viewport(1, 1), 1, 1),
        (Viewport(100, 100, 60, 40), 100, 50),
    ],
)
def test_a_picture_fits_into_the_viewport_and_keeps_its_aspect(
    viewport: Viewport | None, rows: int, columns: int
) -> None:
    assert placed(viewport).shape == (rows, columns)


def test_a_part_is_shown_pixel_by_pixel_where_nothing_has_to_be_scaled() -> None:
    assert np.array_equal(placed(Viewport(32, 24, 0, 0, 32, 24)), SOURCE[:24, :32])
    assert np.array_equal(placed(Viewport(10, 5, 3, 4, 10, 5)), SOURCE[4:9, 3:13])


def test_a_negative_width_mirrors_and_a_negative_height_turns_upside_down() -> None:
    assert np.array_equal(placed(Viewport(64, 48, 0, 0, -64, 48)), SOURCE[:, ::-1])
    assert np.array_equal(placed(Viewport(64, 48, 0, 0, 64, -48)), SOURCE[::-1])
    assert np.array_equal(placed(Viewport(64, 48, 0, 0, -64, -48)), SOURCE[::-1, ::-1])


def test_a_part_that_goes_beyond_the_image_ends_at_its_edge() -> None:
    assert np.array_equal(placed(Viewport(4, 8, 60, 40, 99, 99)), SOURCE[40:, 60:])


@pytest.mark.parametrize(
    "viewport", [Viewport(9, 9, 64, 0), Viewport(9, 9, 0, 48), Viewport(9, 9, -9, 0, 9, 9)]
)
def test_a_part_outside_of_the_image_is_an_error(viewport: Viewport) -> None:
    with pytest.raises(InvalidQuery, match="viewport"):
        placed(viewport)


@pytest.mark.parametrize(
    "viewport", [Viewport(MAX_SIDE + 1, 9), Viewport(9, 10**9), Viewport(MAX_SIDE, MAX_SIDE)]
)
def test_a_viewport_that_is_too_large_is_an_error(viewport: Viewport) -> None:
    with pytest.raises(InvalidQuery, match="viewport"):
        placed(viewport)


@given(
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    left=st.floats(0, 63),
    top=st.floats(0, 47),
    source_width=st.none() | st.floats(0.01, 99) | st.floats(-99, -0.01),
    source_height=st.none() | st.floats(0.01, 99) | st.floats(-99, -0.01),
    aspect=st.floats(0.05, 20),
)
def test_a_picture_never_overflows_and_meets_one_side_of_the_viewport(
    width: int,
    height: int,
    left: float,
    top: float,
    source_width: float | None,
    source_height: float | None,
    aspect: float,
) -> None:
    rows, columns = placed(
        Viewport(width, height, left, top, source_width, source_height), aspect=aspect
    ).shape

    assert rows <= height
    assert columns <= width
    assert rows == height or columns == width


@pytest.mark.parametrize(
    ("aspect", "rows", "columns"), [(2.0, 96, 64), (0.5, 48, 128), (1.004, 48, 64)]
)
def test_pixels_become_square(aspect: float, rows: int, columns: int) -> None:
    assert placed(None, aspect=aspect).shape == (rows, columns)


def test_pixels_become_square_within_the_viewport() -> None:
    assert placed(Viewport(48, 48), aspect=2.0).shape == (48, 32)


def test_a_region_is_cut_out_in_whole_pixels() -> None:
    found = place(Picture(SOURCE), Rendering(region=Region(0.25, 0.5, 0.75, 1.0)))

    assert np.array_equal(found.pixels, SOURCE[24:, 16:48])


@pytest.mark.parametrize(
    "region", [Region(0.5, 0, 0.5, 1), Region(0, 0.9, 1, 0.1), Region(-0.1, 0, 1, 1)]
)
def test_a_region_that_is_none_is_an_error(region: Region) -> None:
    with pytest.raises(InvalidQuery, match="region"):
        place(Picture(SOURCE), Rendering(region=region))


def test_a_region_is_scaled_into_the_viewport() -> None:
    rendering = Rendering(region=Region(0, 0, 0.5, 0.5), viewport=Viewport(64, 64))

    assert place(Picture(SOURCE), rendering).pixels.shape == (48, 64)


def test_scaling_down_averages() -> None:
    board = (np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)

    small = placed(Viewport(40, 40), board)

    assert np.abs(small.astype(int) - 127).max() <= 3


def test_colours_and_their_profile_are_kept() -> None:
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:, :] = (10, 200, 30)

    found = place(Picture(pixels, b"profile"), Rendering(viewport=Viewport(5, 5)))

    assert found.icc_profile == b"profile"
    assert np.abs(found.pixels.astype(int) - (10, 200, 30)).max() <= 1
