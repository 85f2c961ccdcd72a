from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering import color
from bfr_dicomweb.rendering.image_encoding import IMAGE_TYPES, encode
from bfr_dicomweb.rendering.parameters import IccProfile
from bfr_dicomweb.rendering.picture import Picture, Pixels

Y, X = np.mgrid[0:48, 0:64]
GRAYS: Pixels = (X * 2 + Y * 2).astype(np.uint8)
COLORS: Pixels = np.stack([GRAYS, GRAYS[::-1], 255 - GRAYS], axis=2)
NOISE: Pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
STILL = [media_type for media_type in IMAGE_TYPES if media_type != "image/gif"]
LOSSY = [media_type for media_type, kind in IMAGE_TYPES.items() if kind.is_lossy]
KEEPS_ALL_AT_100 = ["image/png", "image/jp2", "image/jph", "image/jxl", "image/webp"]


def decoded(file: bytes, media_type: str) -> npt.NDArray[Any]:
    if media_type in ("image/jp2", "image/jph"):
        return np.asarray(imagecodecs.jpeg2k_decode(file))
    if media_type == "image/jxl":
        return np.asarray(imagecodecs.jpegxl_decode(file))
    image = Image.open(BytesIO(file))
    return np.asarray(image.convert("L" if image.mode in ("L", "1") else "RGB"))


def of_same_kind(found: npt.NDArray[Any], pixels: Pixels) -> npt.NDArray[Any]:
    """WebP and AVIF have no greys."""
    return found[:, :, 0] if found.ndim > pixels.ndim else found


@pytest.mark.parametrize("media_type", STILL)
@pytest.mark.parametrize("pixels", [GRAYS, COLORS], ids=["greys", "colours"])
def test_a_picture_is_what_it_was(media_type: str, pixels: Pixels) -> None:
    file = encode([Picture(pixels)], media_type)

    found = of_same_kind(decoded(file, media_type), pixels)
    assert np.abs(found.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("media_type", KEEPS_ALL_AT_100)
@pytest.mark.parametrize("pixels", [NOISE[:, :, 0], NOISE], ids=["greys", "colours"])
def test_quality_100_loses_nothing_where_it_can(media_type: str, pixels: Pixels) -> None:
    file = encode([Picture(pixels)], media_type, quality=100)

    assert np.array_equal(of_same_kind(decoded(file, media_type), pixels), pixels)


@pytest.mark.parametrize("media_type", LOSSY)
def test_more_quality_costs_more_bytes(media_type: str) -> None:
    smooth = Image.fromarray(NOISE).resize((256, 256), Image.Resampling.BICUBIC)
    picture = Picture(np.asarray(smooth))

    sizes = [len(encode([picture], media_type, quality=quality)) for quality in (1, 30, 70, 95)]

    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("media_type", list(IMAGE_TYPES))
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 300), (3, 2), (33, 1)])
def test_pictures_of_any_size_are_encoded(media_type: str, rows: int, columns: int) -> None:
    for pixels in (np.full((rows, columns), 9, np.uint8), np.zeros((rows, columns, 3), np.uint8)):
        assert decoded(encode([Picture(pixels)], media_type), media_type).shape[:2] == (
            rows,
            columns,
        )


@pytest.mark.parametrize("media_type", list(IMAGE_TYPES))
def test_pictures_that_are_views_are_encoded(media_type: str) -> None:
    plain = encode([Picture(np.ascontiguousarray(COLORS[::-1, ::-1]))], media_type)

    assert encode([Picture(COLORS[::-1, ::-1])], media_type) == plain


@pytest.mark.parametrize("quality", [None, 50, 95])
def test_jpeg_is_baseline(quality: int | None) -> None:
    file = encode([Picture(COLORS)], "image/jpeg", quality=quality)

    assert b"\xff\xc0\x00\x11\x08" in file  # SOF0, 8 bits, 3 components
    assert b"\xff\xc2" not in file


@pytest.mark.parametrize(("quality", "sampling"), [(90, 0x11), (89, 0x22)])
def test_chroma_is_kept_whole_from_quality_90_on(quality: int, sampling: int) -> None:
    file = encode([Picture(COLORS)], "image/jpeg", quality=quality)

    start = file.index(b"\xff\xc0")
    assert file[start + 11] == sampling


def profile_in(file: bytes, media_type: str) -> bytes | None:
    if media_type in ("image/jp2", "image/jph"):
        start = file.index(b"colr")
        length = int.from_bytes(file[start - 4 : start], "big")
        return file[start + 7 : start + length - 4] if file[start + 4] == 2 else None
    found = Image.open(BytesIO(file)).info.get("icc_profile")
    return found if isinstance(found, bytes) else None


EMBEDDING = [media_type for media_type, kind in IMAGE_TYPES.items() if kind.embeds_icc]


@pytest.mark.parametrize("media_type", EMBEDDING)
@pytest.mark.parametrize("pixels", [GRAYS, COLORS], ids=["greys", "colours"])
def test_a_profile_is_embedded(media_type: str, pixels: Pixels) -> None:
    profile = color.profile(IccProfile.SRGB, gray=pixels is GRAYS)

    file = encode([Picture(pixels, profile)], media_type)

    has_grays = media_type not in ("image/webp", "image/avif")
    fitting = profile if has_grays else color.profile(IccProfile.SRGB)
    assert profile_in(file, media_type) == fitting
    assert of_same_kind(decoded(file, media_type), pixels).shape == pixels.shape


@pytest.mark.parametrize("media_type", EMBEDDING)
def test_without_a_profile_none_is_embedded(media_type: str) -> None:
    assert profile_in(encode([Picture(COLORS)], media_type), media_type) is None


def test_a_profile_of_jpeg_lies_in_app2() -> None:
    profile = color.profile(IccProfile.SRGB)

    file = encode([Picture(COLORS, profile)], "image/jpeg")

    assert b"\xff\xe2" + (len(profile) + 16).to_bytes(2, "big") + b"ICC_PROFILE\x00\x01\x01" in file


@pytest.mark.parametrize(("media_type", "brand"), [("image/jp2", b"jp2 "), ("image/jph", b"jph ")])
def test_jpeg_2000_lies_in_a_file_of_its_type(media_type: str, brand: bytes) -> None:
    file = encode([Picture(COLORS)], media_type)

    assert file[:12] == bytes.fromhex("0000000c6a5020200d0a870a")
    assert file[16:24] == b"ftyp" + brand
    assert b"jp2c\xff\x4f\xff\x51" in file


def test_jph_holds_a_high_throughput_codestream() -> None:
    file = encode([Picture(GRAYS)], "image/jph")

    capabilities = file.index(b"\xff\x50")
    assert int.from_bytes(file[capabilities + 4 : capabilities + 8], "big") & (1 << (32 - 15))


def test_gif_keeps_greys_exactly() -> None:
    file = encode([Picture(GRAYS)], "image/gif")

    assert np.array_equal(np.asarray(Image.open(BytesIO(file)).convert("L")), GRAYS)


def test_gif_keeps_up_to_256_colours_exactly() -> None:
    few = np.random.default_rng(2).integers(0, 256, (256, 3), dtype=np.uint8)
    few = few[np.random.default_rng(3).permutation(256 * 16) % 256].reshape(64, 64, 3)

    file = encode([Picture(few)], "image/gif")

    assert np.array_equal(np.asarray(Image.open(BytesIO(file)).convert("RGB")), few)


def test_gif_comes_close_to_many_colours() -> None:
    file = encode([Picture(COLORS)], "image/gif")

    found = np.asarray(Image.open(BytesIO(file)).convert("RGB"))
    assert np.abs(found.astype(int) - COLORS).mean() < 8


def test_an_animated_gif_holds_every_picture_and_its_time() -> None:
    pictures = [Picture(np.roll(GRAYS, 5 * number, axis=1)) for number in range(4)]

    file = encode(pictures, "image/gif", durations_ms=[33.3, 40, 500, 5])

    image = Image.open(BytesIO(file))
    times, frames = [], []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        times.append(image.info["duration"])
        frames.append(np.asarray(image.convert("L")))
    assert times == [30, 40, 500, 20]
    assert image.info["loop"] == 0
    assert all(
        np.array_equal(frame, picture.pixels)
        for frame, picture in zip(frames, pictures, strict=True)
    )


def test_equal_pictures_of_an_animation_are_all_kept() -> None:
    file = encode([Picture(GRAYS)] * 3, "image/gif", durations_ms=[100, 100, 100])

    image = Image.open(BytesIO(file))
    total = 0
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        total += image.info["duration"]
    assert total == 300


@pytest.mark.parametrize("media_type", STILL)
def test_several_pictures_do_not_fit_into_a_still_one(media_type: str) -> None:
    with pytest.raises(NotAcceptable):
        encode([Picture(GRAYS)] * 2, media_type)


def test_pictures_that_are_too_large_for_their_type_are_refused() -> None:
    with pytest.raises(NotAcceptable, match="16383"):
        encode([Picture(np.zeros((1, 16384), np.uint8))], "image/webp")


def test_other_media_types_are_refused() -> None:
    with pytest.raises(NotAcceptable, match="image/tiff"):
        encode([Picture(GRAYS)], "image/tiff")


@pytest.mark.parametrize("media_type", list(IMAGE_TYPES))
def test_equal_pictures_give_equal_bytes(media_type: str) -> None:
    picture = Picture(COLORS, color.profile(IccProfile.SRGB))

    assert encode([picture], media_type) == encode([picture], media_type)
