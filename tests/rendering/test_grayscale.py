from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_presentation_lut, apply_voi_lut

from bfr_dicomweb.rendering import grayscale
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.frame_rendering import show
from bfr_dicomweb.rendering.grayscale import LookupTable, Padding, Rescale
from bfr_dicomweb.rendering.parameters import Window, WindowFunction
from stored_images import a_ramp, a_stored_image, an_image, an_item, stored

LINEAR, EXACT, SIGMOID = WindowFunction
EVERY_INT16 = np.arange(-32768, 32768, dtype="<i2").reshape(256, 256)


def a_table(first: int, values: Sequence[int], bits: int = 16, *, signed: bool = False) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(values) & 0xFFFF, first, bits])
    item.add_new("LUTData", "OW", np.array(values, "<u2").tobytes())
    return item


def shown_by_pydicom(dataset: Dataset) -> npt.NDArray[np.float64]:
    """What pydicom makes of the VOI output, scaled to 0..255."""
    values = apply_modality_lut(dataset.pixel_array, dataset)
    with np.errstate(over="ignore"):
        shown = apply_voi_lut(values, dataset)
    if "VOILUTSequence" in dataset:
        highest = 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
        return np.asarray(shown / highest * 255, np.float64)
    signed = dataset.PixelRepresentation
    bits = dataset.BitsStored
    # pydicom scales a window to the range that the stored values could have, rescaled
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
    low, high = low * slope + intercept, high * slope + intercept
    return np.asarray((shown - low) / (high - low) * 255, np.float64)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(40, 400), (-600, 1600), (0.5, 2), (300.25, 17.5)])
def test_windows_are_those_of_pydicom(function: str, center: float, width: float) -> None:
    dataset = an_image(
        EVERY_INT16,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=center,
        WindowWidth=width,
        VOILUTFunction=function,
    )
    image = stored(dataset)

    picture = show(image, 0, appearance_of(image, 0))

    assert np.abs(picture.pixels - shown_by_pydicom(dataset)).max() < 0.51


def test_a_linear_window_is_black_and_white_where_the_standard_says() -> None:
    values = np.array([[-161, -160, 239, 240]], "<i2")

    shown = grayscale.grays(values, Rescale(), Window(40, 400, LINEAR))

    assert shown.tolist() == [[0, 0, 255, 255]]


def test_a_linear_window_of_width_1_is_a_step() -> None:
    shown = grayscale.grays(np.array([[9, 10, 11]], "<i2"), Rescale(), Window(10, 1, LINEAR))

    assert shown.tolist() == [[0, 255, 255]]


@given(
    center=st.floats(-3e4, 3e4),
    width=st.floats(1, 6e4),
    function=st.sampled_from(list(WindowFunction)),
    slope=st.floats(0.01, 100),
)
def test_greys_never_fall_while_values_rise(
    center: float, width: float, function: WindowFunction, slope: float
) -> None:
    samples = np.arange(-32768, 32767, 13, dtype="<i2").reshape(1, -1)

    shown = grayscale.grays(samples, Rescale(slope), Window(center, width, function))

    assert (np.diff(shown[0].astype(int)) >= 0).all()


@given(
    center=st.floats(-2000, 2000),
    width=st.floats(1, 4000),
    function=st.sampled_from(list(WindowFunction)),
)
def test_all_kinds_of_samples_are_shown_the_same_way(
    center: float, width: float, function: WindowFunction
) -> None:
    samples = np.arange(-2048, 2048, dtype="<i2").reshape(64, 64)
    window = Window(center, width, function)

    shown = [
        grayscale.grays(samples.astype(kind), Rescale(2.0, -7.0), window).astype(int)
        for kind in ("<i2", "<i4", "<f4", "<f8")
    ]

    assert max(np.abs(one - shown[0]).max() for one in shown) <= 1


@pytest.mark.parametrize("function", list(WindowFunction))
def test_inversion_changes_black_and_white(function: WindowFunction) -> None:
    window = Window(1000, 700, function)

    plain = grayscale.grays(a_ramp(), Rescale(), window)
    inverted = grayscale.grays(a_ramp(), Rescale(), window, inverted=True)

    assert np.abs(255 - plain.astype(int) - inverted).max() <= 1


def test_a_modality_lut_is_applied_as_by_pydicom() -> None:
    table = a_table(100, [7 * entry % 4096 for entry in range(1000)])
    dataset = an_image(
        a_ramp(), ModalityLUTSequence=[table], WindowCenter=2048, WindowWidth=4096, BitsStored=16
    )
    image = stored(dataset)

    shown = show(image, 0, appearance_of(image, 0)).pixels

    values = apply_modality_lut(dataset.pixel_array, dataset)
    assert np.abs(shown - (values / 4095 * 255)).max() < 0.51


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("first", [0, 500])
def test_a_voi_lut_is_applied_as_by_pydicom_and_before_windows(bits: int, first: int) -> None:
    curve = [round((2**bits - 1) * (entry / 1023) ** 2) for entry in range(1024)]
    dataset = an_image(
        a_ramp(), VOILUTSequence=[a_table(first, curve, bits)], WindowCenter=1, WindowWidth=2
    )
    image = stored(dataset)

    shown = show(image, 0, appearance_of(image, 0)).pixels

    assert np.abs(shown - shown_by_pydicom(dataset)).max() < 0.51


def test_a_voi_lut_whose_first_value_is_negative_is_applied_as_by_pydicom() -> None:
    samples = np.arange(-1000, 1000, dtype="<i2").reshape(40, 50)
    curve = [round(4095 * (entry / 1023) ** 0.5) for entry in range(1024)]
    dataset = an_image(samples, VOILUTSequence=[a_table(-500, curve, 12, signed=True)])
    image = stored(dataset)

    shown = show(image, 0, appearance_of(image, 0)).pixels

    assert np.abs(shown - shown_by_pydicom(dataset)).max() < 0.51


def test_a_negative_first_value_that_is_written_unsigned_is_understood() -> None:
    samples = np.array([[-10, -9, -8]], "<i2")
    image = a_stored_image(samples, VOILUTSequence=[a_table(0xFFF6, [0, 128, 255, 255], 8)])

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 128, 255]]


def test_a_lut_with_65536_entries_says_so_with_0() -> None:
    samples = np.array([[0, 0xFFFF]], "<u2")
    table = a_table(0, range(65536))

    image = a_stored_image(samples, VOILUTSequence=[table])

    assert table.LUTDescriptor[0] == 0
    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 255]]


def test_a_lut_of_8_bits_may_have_two_entries_in_a_word() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 8])
    item.add_new("LUTData", "OW", bytes([0, 100, 200, 255]))
    image = a_stored_image(np.array([[0, 1, 2, 3]], "<u2"), VOILUTSequence=[item])

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 100, 200, 255]]


def test_a_lut_of_8_bits_may_have_one_entry_in_a_word() -> None:
    item = a_table(0, [0, 100, 200, 255])
    item.LUTDescriptor = [4, 0, 8]
    image = a_stored_image(np.array([[0, 1, 2, 3]], "<u2"), VOILUTSequence=[item])

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 100, 200, 255]]


def test_a_lut_shorter_than_it_says_goes_as_far_as_it_goes() -> None:
    item = a_table(0, [0, 100, 255], 9)
    item.LUTDescriptor = [900, 0, 8]
    image = a_stored_image(np.array([[0, 1, 2, 700]], "<u2"), VOILUTSequence=[item])

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 100, 255, 255]]


def test_a_lut_with_more_bits_than_it_says_does_not_wrap_round() -> None:
    item = a_table(0, [0, 4095])
    item.LUTDescriptor = [2, 0, 8]
    image = a_stored_image(np.array([[0, 1]], "<u2"), VOILUTSequence=[item])

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 255]]


def test_a_presentation_lut_is_applied_as_by_pydicom() -> None:
    curve = [round(65535 * (entry / 255) ** 3) for entry in range(256)]
    state = an_item(PresentationLUTSequence=[a_table(0, curve)])
    values = np.arange(256, dtype="<u2").reshape(16, 16)
    image = a_stored_image(values)
    lut = grayscale.read_presentation_lut(
        a_stored_image(values, PresentationLUTSequence=state.PresentationLUTSequence),
        a_stored_image(values, PresentationLUTSequence=state.PresentationLUTSequence).attributes,
    )

    shown = grayscale.grays(
        image.samples(0), Rescale(), Window(127.5, 255, EXACT), presentation_lut=lut
    )

    expected = apply_presentation_lut(values, state) / 65535 * 255
    assert np.abs(shown - expected).max() < 0.51


@pytest.mark.parametrize(
    ("attributes", "window"),
    [
        ({"WindowCenter": [50, 600], "WindowWidth": [350, 1500]}, Window(50, 350)),
        ({"WindowCenter": 0.5, "WindowWidth": 0.25}, Window(0.5, 0.25, EXACT)),
        ({"WindowCenter": 5, "WindowWidth": 0}, None),
        ({"WindowCenter": 5, "WindowWidth": -3}, None),
        ({"WindowCenter": 5}, None),
        (
            {"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "SIGMOID"},
            Window(5, 9, SIGMOID),
        ),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "ODD"}, Window(5, 9)),
    ],
)
def test_the_first_window_that_can_be_applied_is_read(
    attributes: dict[str, Any], window: Window | None
) -> None:
    assert grayscale.read_window(a_stored_image(a_ramp(), **attributes).attributes) == window


def test_a_default_window_leaves_out_what_few_pixels_have() -> None:
    samples = np.random.default_rng(1).normal(1000, 50, (200, 200)).astype("<i2")
    samples[0, 0], samples[0, 1] = 30000, -30000

    low, high = grayscale.ends(grayscale.default_window(samples, Rescale()))

    assert 800 < low < 900
    assert 1100 < high < 1200


def test_a_default_window_leaves_out_padding() -> None:
    samples = np.full((100, 100), -2000, "<i2")
    samples[40:60, 40:60] = np.arange(400).reshape(20, 20)

    window = grayscale.default_window(samples, Rescale(), Padding(-2000, -2000))

    assert grayscale.ends(window)[0] >= 0


def test_a_default_window_of_few_bright_pixels_shows_them() -> None:
    samples = np.zeros((100, 100), "<u2")
    samples[50, 50] = 9

    assert grayscale.ends(grayscale.default_window(samples, Rescale())) == (0, 9)


@pytest.mark.parametrize("value", [0, 7, -3])
def test_an_image_of_one_value_is_black(value: int) -> None:
    samples = np.full((10, 10), value, "<i2")

    shown = grayscale.grays(samples, Rescale(), grayscale.default_window(samples, Rescale()))

    assert not shown.any()


def test_a_default_window_of_what_is_no_number_can_be_had() -> None:
    samples = np.array([[np.nan, np.inf], [-np.inf, np.nan]], "<f4")

    window = grayscale.default_window(samples, Rescale())

    assert grayscale.grays(samples, Rescale(), window).tolist() == [[0, 255], [0, 0]]


def test_a_table_holds_its_ends_for_what_is_beyond() -> None:
    table = LookupTable(10, np.array([3, 4, 5], np.uint16), 8)

    assert table.of(np.array([-1e30, 9, 10.4, 11, 99, np.inf])).tolist() == [3, 3, 3, 4, 5, 5]
