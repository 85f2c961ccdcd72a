from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.rendering import palettes
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.frame_rendering import show
from bfr_dicomweb.rendering.palettes import Palette
from stored_images import a_stored_image, an_image, stored

CHANNELS = ("Red", "Green", "Blue")


def with_palette(
    dataset: Dataset,
    tables: Sequence[bytes],
    descriptor: Sequence[int],
    *,
    segmented: bool = False,
    vr: str = "US",
) -> Dataset:
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    prefix = "Segmented" if segmented else ""
    for channel, table in zip(CHANNELS, tables, strict=True):
        dataset.add_new(f"{channel}PaletteColorLookupTableDescriptor", vr, list(descriptor))
        dataset.add_new(f"{prefix}{channel}PaletteColorLookupTableData", "OW", table)
    return dataset


def words(*numbers: int) -> bytes:
    return np.array(numbers, "<u2").tobytes()


def shown(dataset: Dataset) -> npt.NDArray[np.uint8]:
    image = stored(dataset)
    return show(image, 0, appearance_of(image, 0)).pixels


def rainbow(entries: int, highest: int) -> list[npt.NDArray[np.uint16]]:
    rise = np.linspace(0, highest, entries).astype("<u2")
    return [rise, rise[::-1], np.roll(rise, entries // 3)]


@pytest.mark.parametrize("entries", [256, 200])
def test_a_palette_of_16_bits_gives_the_colours_of_pydicom(entries: int) -> None:
    samples = np.arange(256, dtype="u1").reshape(16, 16)
    tables = [table.tobytes() for table in rainbow(entries, 65535)]
    dataset = with_palette(an_image(samples), tables, (entries, 0, 16))

    assert np.array_equal(shown(dataset), apply_color_lut(dataset.pixel_array, dataset) >> 8)


def test_a_palette_of_8_bits_packed_in_words_gives_the_colours_of_pydicom() -> None:
    samples = np.arange(256, dtype="u1").reshape(16, 16)
    tables = [table.astype("u1").tobytes() for table in rainbow(256, 255)]
    dataset = with_palette(an_image(samples), tables, (256, 0, 8))

    assert np.array_equal(shown(dataset), apply_color_lut(dataset.pixel_array, dataset))


def test_a_palette_of_8_bits_with_one_entry_a_word_is_understood() -> None:
    samples = np.arange(4, dtype="u1").reshape(2, 2)
    dataset = with_palette(an_image(samples), [words(10, 20, 30, 40)] * 3, (4, 0, 8))

    assert shown(dataset)[:, :, 0].tolist() == [[10, 20], [30, 40]]


def test_a_palette_that_says_16_bits_and_has_8_is_not_black() -> None:
    samples = np.arange(4, dtype="u1").reshape(2, 2)
    dataset = with_palette(an_image(samples), [words(10, 20, 30, 255)] * 3, (4, 0, 16))

    assert shown(dataset)[:, :, 0].tolist() == [[10, 20], [30, 255]]


def test_a_palette_with_65536_entries_says_so_with_0() -> None:
    samples = np.array([[0, 256], [32768, 65535]], "<u2")
    tables = [np.arange(65536, dtype="<u2").tobytes()] * 3

    assert shown(with_palette(an_image(samples), tables, (0, 0, 16)))[:, :, 0].tolist() == [
        [0, 1],
        [128, 255],
    ]


@pytest.mark.parametrize(("vr", "first"), [("SS", -2), ("US", 0xFFFE)])
def test_the_first_value_of_a_palette_may_be_negative(vr: str, first: int) -> None:
    samples = np.array([[-9, -2, -1, 0, 1, 9]], "<i2")
    tables = [words(*(entry << 8 for entry in (10, 20, 30, 40)))] * 3

    found = shown(with_palette(an_image(samples), tables, (4, first, 16), vr=vr))

    assert found[0, :, 0].tolist() == [10, 10, 20, 30, 40, 40]


SEGMENTS = {
    "discrete": ([0, 4, 10, 20, 30, 40], 4),
    "linear": ([0, 1, 0, 1, 9, 45], 10),
    "both, twice": ([0, 2, 0, 5, 1, 10, 105, 0, 2, 3, 2, 1, 5, 250], 19),
    "back to the beginning": ([0, 2, 0, 112, 1, 5, 0, 2, 2, 0, 0, 0, 0], 14),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_segments_of_8_bits_are_expanded_as_by_pydicom(name: str) -> None:
    numbers, entries = SEGMENTS[name]
    table = bytes(numbers) + bytes(len(numbers) % 2)
    samples = np.arange(entries, dtype="u1").reshape(1, -1)
    dataset = with_palette(an_image(samples), [table] * 3, (entries, 0, 8), segmented=True)

    assert np.array_equal(shown(dataset), apply_color_lut(dataset.pixel_array, dataset))


@pytest.mark.parametrize("name", ["discrete", "linear", "both, twice"])
def test_segments_of_16_bits_are_expanded_as_by_pydicom(name: str) -> None:
    numbers, entries = SEGMENTS[name]
    values = [number << 8 if number > 12 else number for number in numbers]
    samples = np.arange(entries, dtype="u1").reshape(1, -1)
    dataset = with_palette(
        an_image(samples), [words(*values)] * 3, (entries, 0, 16), segmented=True
    )

    assert np.array_equal(shown(dataset), apply_color_lut(dataset.pixel_array, dataset) >> 8)


def test_an_indirect_segment_of_16_bits_points_to_a_byte() -> None:
    # a black one that is left out, then a line; and that line once more
    stored_numbers = np.array([0, 1, 0, 1, 4, 400, 2, 1, 6, 0], np.uint16)

    found = palettes.expanded(stored_numbers, 99, bits_per_entry=16)

    assert found.tolist() == [0, 100, 200, 300, 400, 400, 400, 400, 400]


@pytest.mark.parametrize(
    "numbers", [[1, 5, 9], [2, 1, 0, 0], [7, 1, 1], [0, 1, 5, 2, 1, 6, 0]], ids=str
)
def test_segments_that_lead_nowhere_are_an_error(numbers: list[int]) -> None:
    with pytest.raises(UndecodablePixelData):
        palettes.expanded(np.array(numbers, np.uint16), 1 << 16, bits_per_entry=16)


@given(st.lists(st.integers(0, 0xFFFF), max_size=40), st.sampled_from([8, 16]))
def test_any_segments_are_expanded_or_an_error_of_ours(numbers: list[int], bits: int) -> None:
    try:
        found = palettes.expanded(np.array(numbers, np.uint16), 256, bits_per_entry=bits)
    except UndecodablePixelData:
        return
    assert len(found) <= 256


def test_a_palette_without_data_is_an_error() -> None:
    dataset = with_palette(an_image(np.zeros((2, 2), "u1")), [b""] * 3, (4, 0, 8))

    with pytest.raises(UndecodablePixelData, match="palette is empty"):
        shown(dataset)


def test_palette_color_without_a_palette_is_shown_in_greys() -> None:
    image = a_stored_image(np.array([[0, 255]], "u1"), PhotometricInterpretation="PALETTE COLOR")

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 255]]


@pytest.mark.parametrize("presentation", ["COLOR", "MIXED"])
def test_a_supplemental_palette_colours_what_it_maps(presentation: str) -> None:
    samples = np.array([[0, 100, 199, 200, 201, 255]], "<u2")
    dataset = with_palette(
        an_image(samples, WindowCenter=100, WindowWidth=200, PixelPresentation=presentation),
        [words(0xFF00, 0), words(0, 0xFF00), words(0, 0)],
        (2, 200, 16),
    )
    dataset.PhotometricInterpretation = "MONOCHROME2"

    found = shown(dataset)[0].tolist()

    assert found[0] == [0, 0, 0]
    assert len(set(found[1])) == 1
    assert found[3:] == [[255, 0, 0], [0, 255, 0], [0, 255, 0]]


def test_a_palette_spreads_its_colours_over_the_greys() -> None:
    palette = Palette(0, np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3]], np.uint8))

    found = palette.spread(np.array([[0, 127, 128, 255]], np.uint8))

    assert found[0, :, 0].tolist() == [1, 2, 2, 3]


def test_any_samples_have_a_colour() -> None:
    palette = Palette(-1, np.array([[1, 1, 1], [2, 2, 2]], np.uint8))
    samples: list[npt.NDArray[Any]] = [
        np.array([[-5, 0]], "<i4"),
        np.array([[-5, 0]], "<f8"),
        np.array([[np.nan, np.inf]], "<f4"),
    ]

    assert [palette.of(one)[0, :, 0].tolist() for one in samples] == [[1, 2], [1, 2], [2, 2]]
