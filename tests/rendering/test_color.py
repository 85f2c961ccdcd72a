from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom.pixels.processing import convert_color_space

from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.rendering import color
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.frame_rendering import show
from bfr_dicomweb.rendering.parameters import IccProfile
from bfr_dicomweb.rendering.picture import Picture
from stored_images import Samples, a_stored_image, an_item

NO, YES, SRGB, ADOBE, ROMM = IccProfile
ALL_COLORS = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def shown(samples: Samples, photometric: str, **attributes: object) -> Samples:
    image = a_stored_image(samples, PhotometricInterpretation=photometric, **attributes)
    return show(image, 0, appearance_of(image, 0)).pixels


def test_rgb_is_shown_as_it_is() -> None:
    assert np.array_equal(shown(ALL_COLORS, "RGB"), ALL_COLORS)


def test_ybr_full_gives_the_colours_of_pydicom() -> None:
    expected = convert_color_space(ALL_COLORS, "YBR_FULL", "RGB")

    assert np.abs(shown(ALL_COLORS, "YBR_FULL").astype(int) - expected).max() <= 1


def test_chroma_of_two_pixels_is_that_of_both() -> None:
    pairs = np.array([[[50, 90], [100, 200]]], "u1")  # Y Y Cb Cr
    image = a_stored_image(
        np.zeros((1, 2, 3), "u1"),
        PhotometricInterpretation="YBR_FULL_422",
        PixelData=pairs.tobytes(),
    )

    found = show(image, 0, appearance_of(image, 0)).pixels

    full = np.array([[[50, 100, 200], [90, 100, 200]]], "u1")
    expected = convert_color_space(full, "YBR_FULL", "RGB")
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("gray", [0, 100, 255])
def test_ybr_partial_is_black_at_16_and_white_at_235(gray: int) -> None:
    luma = round(16 + gray * 219 / 255)
    samples = np.full((2, 2, 3), (luma, 128, 128), "u1")

    found = color.rgb(samples, "YBR_PARTIAL_420", bits_stored=8)

    assert np.abs(found.astype(int) - gray).max() <= 1


def test_planes_of_colours_are_put_together() -> None:
    planes = np.ascontiguousarray(np.moveaxis(ALL_COLORS, -1, 0))

    found = shown(ALL_COLORS, "RGB", PlanarConfiguration=1, PixelData=planes.tobytes())

    assert np.array_equal(found, ALL_COLORS)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_white_is_white_however_many_bits_are_stored(bits: int) -> None:
    kind = "u1" if bits == 8 else "<u2"
    samples = np.array([[[0, 1 << bits - 1, (1 << bits) - 1]]], kind)

    assert shown(samples, "RGB", BitsStored=bits, HighBit=bits - 1).tolist() == [[[0, 128, 255]]]


def test_colours_of_fewer_than_8_bits_reach_white() -> None:
    assert color.rgb(np.array([[[0, 8, 15]]], "u1"), "RGB", bits_stored=4).tolist() == [
        [[0, 136, 255]]
    ]


def test_two_samples_per_pixel_have_no_colours() -> None:
    with pytest.raises(UndecodablePixelData, match="2 samples per pixel"):
        color.rgb(np.zeros((2, 2, 2), "u1"), "RGB", bits_stored=8)


def test_the_colour_of_argb_is_behind_its_first_sample() -> None:
    assert color.rgb(np.array([[[9, 1, 2, 3]]], "u1"), "ARGB", bits_stored=8).tolist() == [
        [[1, 2, 3]]
    ]


@pytest.mark.parametrize(
    ("lab", "expected"),
    [
        ([0, 0x8080, 0x8080], (0, 0, 0)),
        ([0xFFFF, 0x8080, 0x8080], (255, 255, 255)),
        ([0x8AFB, 0xD19F, 0xC6A9], (255, 0, 0)),
    ],
)
def test_cielab_becomes_srgb(lab: list[int], expected: tuple[int, int, int]) -> None:
    assert np.abs(np.subtract(color.rgb_of_lab(lab), expected)).max() <= 1


def opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(BytesIO(profile))


@pytest.mark.parametrize("space", [SRGB, ADOBE, ROMM])
@pytest.mark.parametrize("gray", [False, True])
def test_our_profiles_are_read_by_littlecms(space: IccProfile, gray: bool) -> None:
    read = opened(color.profile(space, gray=gray)).profile

    assert read.xcolor_space.strip() == ("GRAY" if gray else "RGB")
    assert read.connection_space.strip() == "XYZ"
    assert read.device_class == "mntr"


def test_our_srgb_is_that_of_littlecms() -> None:
    theirs = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(opened(color.profile(SRGB)), theirs, "RGB", "RGB")

    found = ImageCms.applyTransform(Image.fromarray(ALL_COLORS), transform)

    assert found is not None
    assert np.abs(np.asarray(found).astype(int) - ALL_COLORS).max() <= 1


# sRGB colours in Adobe RGB and ROMM RGB: colour-science 0.4, Bradford
@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (ADOBE, {(255, 0, 0): (219, 0, 0), (0, 255, 0): (144, 255, 60), (0, 0, 255): (0, 0, 250)}),
        (ROMM, {(255, 255, 255): (255, 255, 255), (0, 0, 0): (0, 0, 0)}),
    ],
)
def test_colours_are_converted_into_the_named_space(
    space: IccProfile, expected: dict[tuple[int, int, int], tuple[int, int, int]]
) -> None:
    pixels = np.array([list(expected)], np.uint8)

    found = color.with_profile(Picture(pixels), space)

    assert found.icc_profile == color.profile(space)
    assert np.abs(found.pixels[0].astype(int) - list(expected.values())).max() <= 1


@pytest.mark.parametrize("space", [ADOBE, ROMM])
def test_colours_survive_the_way_there_and_back(space: IccProfile) -> None:
    there = color.with_profile(Picture(ALL_COLORS), space)

    back = color.with_profile(there, SRGB)

    # 8 bits of a wide space have gaps
    assert np.abs(back.pixels.astype(int) - ALL_COLORS).mean() < 1.5


def test_without_a_profile_none_is_kept() -> None:
    assert color.with_profile(Picture(ALL_COLORS, color.profile(ADOBE)), NO).icc_profile is None


def test_the_profile_of_the_object_is_embedded_as_it_is() -> None:
    stored = color.profile(ADOBE)

    found = color.with_profile(Picture(ALL_COLORS, stored), YES)

    assert found.icc_profile == stored
    assert found.pixels is ALL_COLORS


@pytest.mark.parametrize("pixels", [ALL_COLORS, ALL_COLORS[:, :, 0]])
def test_what_has_no_profile_is_said_to_be_srgb(pixels: Samples) -> None:
    found = color.with_profile(Picture(pixels), YES)

    assert found.icc_profile == color.profile(SRGB, gray=pixels.ndim == 2)


def test_a_profile_of_colours_is_not_embedded_in_greys() -> None:
    found = color.with_profile(Picture(ALL_COLORS[:, :, 0], color.profile(ADOBE)), YES)

    assert found.icc_profile == color.profile(SRGB, gray=True)


def test_a_broken_profile_is_taken_for_none() -> None:
    broken = color.profile(ADOBE)[:200]

    found = color.with_profile(Picture(ALL_COLORS, broken), ROMM)

    assert np.array_equal(found.pixels, color.with_profile(Picture(ALL_COLORS), ROMM).pixels)


def test_greys_stay_grey_in_a_named_space() -> None:
    grays = np.arange(256, dtype=np.uint8).reshape(16, 16)

    found = color.with_profile(Picture(grays), ADOBE).pixels

    assert np.abs(found.astype(int) - found[:, :, :1]).max() <= 1


def test_the_profile_of_an_object_is_found() -> None:
    profile = color.profile(ROMM)

    assert appearance_of(a_stored_image(ALL_COLORS, ICCProfile=profile), 0).icc_profile == profile


def test_the_profile_of_the_optical_path_of_a_frame_is_found() -> None:
    paths = [
        an_item(OpticalPathIdentifier="1", ICCProfile=color.profile(ROMM)),
        an_item(OpticalPathIdentifier="2", ICCProfile=color.profile(ADOBE)),
    ]
    group = an_item(
        OpticalPathIdentificationSequence=[an_item(OpticalPathIdentifier="2")],
    )
    image = a_stored_image(
        ALL_COLORS, OpticalPathSequence=paths, PerFrameFunctionalGroupsSequence=[group]
    )

    assert appearance_of(image, 0).icc_profile == color.profile(ADOBE)


def test_a_named_colour_space_goes_before_a_stored_profile() -> None:
    image = a_stored_image(ALL_COLORS, ColorSpace="ADOBERGB", ICCProfile=color.profile(ROMM))

    assert appearance_of(image, 0).icc_profile == color.profile(ADOBE)
