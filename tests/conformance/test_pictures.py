"""Pictures that servers send are decoded, measured and compared as the Standard has them."""

from io import BytesIO

import httpx2
import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi_lut

from dicomweb_conformance import pictures
from dicomweb_conformance.pictures import GIF, JPEG, PNG, Values
from dicomweb_conformance.target import Response
from dicomweb_conformance.verdicts import Violated

VALUES = np.arange(-1024, 1024, dtype=np.float64).reshape(32, 64)
FUNCTIONS = {
    "LINEAR": pictures.linear,
    "LINEAR_EXACT": pictures.linear_exact,
    "SIGMOID": pictures.sigmoid,
}


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gray_picture(values: Values) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("center", "width"), [(40, 400), (40, 50), (-300, 1500), (0.5, 20)])
def test_window_functions_are_those_of_pydicom(name: str, center: float, width: float) -> None:
    """pydicom scales to the range of the stored values: here 11 bits, signed."""
    made = Dataset()
    made.WindowCenter, made.WindowWidth, made.VOILUTFunction = center, width, name
    made.PhotometricInterpretation, made.BitsStored = "MONOCHROME2", 11
    made.PixelRepresentation = 1
    expected = apply_voi_lut(VALUES.astype(np.int16), made)

    ours = FUNCTIONS[name](VALUES, center, width)

    assert np.allclose(ours, (expected + 1024) / 2047 * 255, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_a_narrow_sigmoid_is_a_step() -> None:
    step = pictures.sigmoid(np.array([-1024.0, 1024.0]), 0, 1)

    assert np.allclose(step, [0, 255])


@pytest.mark.parametrize(("options", "frame"), [({}, (0, 8)), ({"progressive": True}, (2, 8))])
def test_the_kind_of_a_jpeg_is_read(options: dict[str, object], frame: tuple[int, int]) -> None:
    content = written(gray_picture(VALUES), "JPEG", **options)

    assert pictures.jpeg_frame(content) == frame


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\xff\xff", b"GIF89a"])
def test_what_is_no_jpeg_has_no_frame(content: bytes) -> None:
    assert pictures.jpeg_frame(content) == (-1, 0)


@pytest.mark.parametrize(("media_type", "kind"), [(JPEG, "JPEG"), (PNG, "PNG"), (GIF, "GIF")])
def test_a_picture_of_each_type_is_decoded(media_type: str, kind: str) -> None:
    content = written(gray_picture(np.full((3, 5), 77.0)), kind)

    picture = pictures.read(content, media_type, "GET /it")

    assert picture.size == (5, 3)
    assert np.all(np.abs(picture.gray - 77) <= 1)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    image = Image.fromarray(np.full((2, 2), 65535, np.uint16))

    assert np.all(pictures.read(written(image, "PNG"), PNG, "GET /it").gray == 255)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_cannot_be_decoded_is_a_violation(content: bytes) -> None:
    with pytest.raises(Violated, match="cannot be decoded"):
        pictures.read(content, PNG, "GET /it")


def test_an_enormous_picture_is_a_violation_and_not_decoded() -> None:
    content = written(Image.new("1", (2**15, 2**14)), "PNG")

    with pytest.raises(Violated):
        pictures.read(content, PNG, "GET /it")


def test_a_picture_of_another_type_than_it_says_is_a_violation() -> None:
    with pytest.raises(Violated, match="image/png"):
        pictures.read(written(gray_picture(VALUES), "PNG"), JPEG, "GET /it")


def test_a_colored_picture_is_not_gray() -> None:
    content = written(Image.new("RGB", (2, 2), (9, 99, 0)), "PNG")

    with pytest.raises(Violated, match="in colour"):
        _ = pictures.read(content, PNG, "GET /it").gray


@pytest.mark.parametrize(("media_type", "kind"), [(JPEG, "JPEG"), (PNG, "PNG")])
def test_an_icc_profile_is_found(media_type: str, kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = written(Image.new("RGB", (2, 2)), kind, icc_profile=profile)

    assert pictures.read(content, media_type, "GET /it").icc_profile == profile


def test_an_animation_has_its_frames() -> None:
    first, *others = (Image.new("L", (4, 4), 50 * number) for number in range(3))
    content = written(first, "GIF", save_all=True, append_images=others)

    assert pictures.read(content, GIF, "GET /it").frames == 3


def test_a_picture_comes_with_200_and_its_type() -> None:
    headers = httpx2.Headers({"Content-Type": PNG})
    answer = Response(404, headers, b"", "GET /it")

    with pytest.raises(Violated, match="expected 200, got 404"):
        pictures.of(answer, PNG)


def test_pictures_of_two_sizes_are_infinitely_different() -> None:
    assert pictures.difference(np.zeros((2, 2)), np.zeros((2, 3))) == float("inf")
