from dataclasses import replace
from pickle import dumps, loads
from typing import Any

import numpy as np
import pytest
from pydicom.uid import XRayAngiographicImageStorage

from bfr_dicomweb.rendering.appearance import Appearance, appearance_of
from bfr_dicomweb.rendering.frame_rendering import show
from bfr_dicomweb.rendering.grayscale import IDENTITY, LookupTable, Padding, Rescale
from bfr_dicomweb.rendering.parameters import Window, WindowFunction
from stored_images import a_ramp, a_stored_image, an_item


def appearance(**attributes: Any) -> Appearance:
    return appearance_of(a_stored_image(a_ramp(), **attributes), 0)


def a_group(**attributes: Any) -> dict[str, Any]:
    return {
        "PixelValueTransformationSequence": [
            an_item(RescaleSlope="2", RescaleIntercept=str(attributes.get("intercept", 0)))
        ],
        "FrameVOILUTSequence": [
            an_item(WindowCenter=str(attributes.get("center", 1)), WindowWidth="10")
        ],
    }


def test_an_object_that_says_nothing_is_shown_as_it_is() -> None:
    assert appearance() == Appearance()


def test_rescale_and_window_of_the_object_are_found() -> None:
    found = appearance(RescaleSlope="2", RescaleIntercept="-1024", WindowCenter=40, WindowWidth=400)

    assert (found.modality, found.voi) == (Rescale(2, -1024), Window(40, 400))


def test_shared_functional_groups_go_before_the_object() -> None:
    found = appearance(
        SharedFunctionalGroupsSequence=[an_item(**a_group(intercept=-7, center=40))],
        RescaleSlope="1",
        RescaleIntercept="0",
        WindowCenter=1,
        WindowWidth=1,
    )

    assert (found.modality, found.voi) == (Rescale(2, -7), Window(40, 10))


def test_functional_groups_of_the_frame_go_before_shared_ones() -> None:
    image = a_stored_image(
        a_ramp(),
        NumberOfFrames=2,
        PixelData=a_ramp().tobytes() * 2,
        SharedFunctionalGroupsSequence=[an_item(**a_group(intercept=9, center=9))],
        PerFrameFunctionalGroupsSequence=[
            an_item(**a_group(intercept=number, center=number)) for number in (1, 2)
        ],
    )

    found = [appearance_of(image, index) for index in range(2)]

    assert [one.modality for one in found] == [Rescale(2, 1), Rescale(2, 2)]
    assert [one.voi for one in found] == [Window(1, 10), Window(2, 10)]


def test_a_slope_of_0_is_taken_for_none() -> None:
    assert appearance(RescaleSlope="0", RescaleIntercept="5").modality == Rescale(1, 5)


# DCMTK's dcm2pnm decides the same way.
@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
    ],
)
def test_presentation_lut_shape_goes_before_the_photometric_interpretation(
    photometric: str, shape: str | None, inverted: bool
) -> None:
    told = {} if shape is None else {"PresentationLUTShape": shape}

    assert appearance(PhotometricInterpretation=photometric, **told).inverted is inverted


def test_monochrome1_is_shown_inverted() -> None:
    image = a_stored_image(np.array([[0, 255]], "u1"), PhotometricInterpretation="MONOCHROME1")

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[255, 0]]


@pytest.mark.parametrize(
    ("kind", "bits", "expected"),
    [
        ("u1", 8, [0, 128, 255]),
        ("u1", 4, [0, 136, 255]),
        ("<u2", 8, [0, 128, 255]),
        ("<u2", 1, [0, 255, 255]),
    ],
)
def test_eight_bits_and_less_are_shown_from_the_first_to_the_last(
    kind: str, bits: int, expected: list[int]
) -> None:
    samples = np.array([[0, 1 << bits - 1, (1 << bits) - 1]], kind)

    image = a_stored_image(samples, BitsStored=bits, HighBit=bits - 1)

    assert show(image, 0, appearance_of(image, 0)).pixels[0].tolist() == expected


def test_signed_samples_of_8_bits_are_shown_from_the_first_to_the_last() -> None:
    image = a_stored_image(np.array([[-128, 0, 127]], "i1"))

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 128, 255]]


def test_single_bits_are_black_and_white() -> None:
    packed = np.packbits(np.array([[1, 0, 0, 1] * 4], "u1"), bitorder="little").tobytes()
    image = a_stored_image(
        np.zeros((1, 16), "u1"), BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed
    )

    assert show(image, 0, appearance_of(image, 0)).pixels[0, :4].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize(
    ("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")]
)
def test_float_samples_are_shown_with_their_window_between_whole_numbers(
    keyword: str, kind: str
) -> None:
    samples = np.array([[-1, 0, 0.5, 1]], kind)
    image = a_stored_image(
        samples.astype("<f4").view("<i4"),
        BitsAllocated=8 * samples.itemsize,
        BitsStored=None,
        HighBit=None,
        PixelRepresentation=None,
        PixelData=None,
        WindowCenter=0.5,
        WindowWidth=1,
        **{keyword: samples.tobytes()},
    )

    assert appearance_of(image, 0).voi == Window(0.5, 1, WindowFunction.LINEAR_EXACT)
    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 0, 128, 255]]


@pytest.mark.parametrize("kind", ["<i4", "<u4"])
def test_samples_of_32_bits_are_shown(kind: str) -> None:
    samples = np.array([[0, 1 << 30]], kind)

    image = a_stored_image(samples)

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 255]]


def test_bits_above_those_stored_are_no_part_of_a_sample() -> None:
    samples = np.array([[0xF000, 0xF7FF, 0xFFFF]], "<u2")

    image = a_stored_image(samples, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096)

    assert show(image, 0, appearance_of(image, 0)).pixels.tolist() == [[0, 127, 255]]


@pytest.mark.parametrize(
    ("attributes", "padding"),
    [
        ({}, None),
        ({"PixelPaddingValue": 0}, Padding(0, 0)),
        ({"PixelPaddingValue": 9, "PixelPaddingRangeLimit": 4}, Padding(4, 9)),
    ],
)
def test_padding_is_found(attributes: dict[str, int], padding: Padding | None) -> None:
    assert appearance(**attributes).padding == padding


def test_padding_of_signed_samples_is_negative() -> None:
    image = a_stored_image(np.zeros((2, 2), "<i2"), PixelPaddingValue=-2000)

    assert appearance_of(image, 0).padding == Padding(-2000, -2000)


@pytest.mark.parametrize(
    ("attributes", "aspect"),
    [
        ({"PixelSpacing": ["2", "1"]}, 2.0),
        ({"PixelSpacing": ["1", "1"], "PixelAspectRatio": ["2", "1"]}, 1.0),
        ({"PixelAspectRatio": ["1", "2"]}, 0.5),
        ({"ImagerPixelSpacing": ["0.2", "0.1"]}, 2.0),
        ({"PixelSpacing": ["0", "1"]}, 1.0),
        ({"PixelSpacing": ["1000", "1"]}, 1.0),
    ],
)
def test_the_aspect_of_pixels_is_found(attributes: dict[str, list[str]], aspect: float) -> None:
    assert appearance(**attributes).pixel_aspect == aspect


def test_the_aspect_of_pixels_is_found_in_functional_groups() -> None:
    measures = an_item(PixelMeasuresSequence=[an_item(PixelSpacing=["3", "1"])])

    assert appearance(SharedFunctionalGroupsSequence=[measures]).pixel_aspect == 3.0


@pytest.mark.parametrize(("relationship", "applied"), [("LOG", False), ("LIN", True)])
def test_the_modality_lut_of_angiography_is_applied_to_linear_values_only(
    relationship: str, applied: bool
) -> None:
    table = an_item()
    table.add_new("LUTDescriptor", "US", [2, 0, 16])
    table.add_new("LUTData", "OW", bytes(4))

    found = appearance(
        SOPClassUID=XRayAngiographicImageStorage,
        PixelIntensityRelationship=relationship,
        ModalityLUTSequence=[table],
    )

    assert isinstance(found.modality, LookupTable) is applied
    assert applied or found.modality == IDENTITY


def test_an_appearance_can_be_sent_to_another_process() -> None:
    found = replace(appearance(), overlays=appearance().overlays, voi=Window(1, 2))

    assert loads(dumps(found)) == found
