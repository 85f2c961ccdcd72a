import subprocess
import warnings
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from math import prod
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from bfr_dicomweb.dicom.frames import Frames
from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.dicom.transfer_syntaxes import Codec
from bfr_dicomweb.errors import ArchiveError, InvalidQuery, NotFound, UndecodablePixelData
from bfr_dicomweb.rendering import color, grayscale
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.frame_rendering import (
    chosen_window,
    render_frame,
    show,
    steady_window,
)
from bfr_dicomweb.rendering.grayscale import LookupTable
from bfr_dicomweb.rendering.image_encoding import encode
from bfr_dicomweb.rendering.parameters import (
    Annotation,
    IccProfile,
    Rendering,
    Viewport,
    Window,
    WindowFunction,
)
from objects import a_cine, written
from shared_data import NO_DCMTK, dicom_files, require_shared_data
from stored_images import Samples, a_ramp, a_stored_image, an_image, opened, stored

FOLDERS = ("by_modality/**/*", "by_transfer_syntax/**/*", "charsets/**/*", "odd/**/*")


@lru_cache(maxsize=1)
def sample_images() -> dict[Path, StoredObject]:
    """Those that can be opened and have frames; the test is skipped where there are none."""
    require_shared_data()
    found = {}
    for path in dicom_files(*FOLDERS):
        try:
            image = StoredObject.read(path)
        except ArchiveError:
            continue
        if image.number_of_frames:
            found[path] = image
    return found


def test_every_sample_is_rendered_or_says_why_not() -> None:
    refused = {}
    for path, image in sample_images().items():
        try:
            picture = render_frame(image, 0, Rendering(viewport=Viewport(64, 64)))
        except UndecodablePixelData as error:
            refused[path] = str(error)
            continue
        assert 64 in picture.pixels.shape[:2]
        assert encode([picture], "image/jpeg").startswith(b"\xff\xd8\xff")

    assert [
        path
        for path, reason in refused.items()
        if "VIDEO" not in str(path) and "odd" not in path.parts and "no decoder" not in reason
    ] == []


# What DCMTK shows otherwise: supplemental palettes and functional groups it does not read,
# words of 32 bits it does not turn round, and it takes colours that are said to be RGB for YBR.
OTHERWISE = {"eCT_Supplemental", "IM_0027_fMAP", "rtdose_expb", "rtdose_expb_1frame", "GH195"}


def one_of_each_kind() -> dict[Path, StoredObject]:
    """Samples that differ in what rendering depends on, those that DCMTK can show like us."""
    kinds: dict[tuple[object, ...], Path] = {}
    for path, image in sample_images().items():
        try:
            described, seen = image.description, appearance_of(image, 0)
        except UndecodablePixelData:
            continue
        if path.stem in OTHERWISE or described.frame_bytes > 3_000_000:
            continue
        codec = described.transfer_syntax.codec
        if codec not in (Codec.NATIVE, Codec.RLE, Codec.JPEG):
            continue
        about_pixels = replace(described, rows=1, columns=1)
        about_looks = (type(seen.voi), type(seen.modality), len(seen.overlays), seen.inverted)
        kinds.setdefault((about_pixels, about_looks), path)
    return {path: sample_images()[path] for path in kinds.values()}


def dcmtk_window(image: StoredObject) -> list[str]:
    """Options for what `show` does without being asked for a window."""
    appearance = appearance_of(image, 0)
    window = chosen_window(image.samples(0), appearance)
    if isinstance(appearance.voi, LookupTable):
        return ["+Wl", "1"]
    if window is None:
        return []
    if window.function is WindowFunction.SIGMOID:
        return ["+Wfs", "+Ww", repr(window.center), repr(window.width)]
    black, white = grayscale.ends(window)
    return ["+Wfl", "+Ww", repr((black + white) / 2 + 0.5), repr(white - black + 1)]


def shown_by_dcmtk(path: Path, options: list[str], out: Path) -> npt.NDArray[Any] | None:
    command = ["dcmj2pnm", "+F", "1", "+op", *options, str(path), str(out)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return None
    return np.asarray(Image.open(out))


@pytest.mark.skipif(which("dcmj2pnm") is None, reason=NO_DCMTK)
def test_samples_look_as_dcmtk_shows_them(tmp_path: Path) -> None:
    compared, different = 0, {}
    for path, image in one_of_each_kind().items():
        try:
            ours = show(image, 0, appearance_of(image, 0)).pixels
        except UndecodablePixelData:
            continue
        theirs = shown_by_dcmtk(path, dcmtk_window(image), tmp_path / "shown.pnm")
        if theirs is None:
            continue
        if theirs.ndim < ours.ndim:
            theirs = np.repeat(theirs[:, :, np.newaxis], 3, axis=2)
        compared += 1
        if np.abs(ours.astype(int) - theirs).max() > 2:
            different[path.name] = np.abs(ours.astype(int) - theirs).max()

    assert different == {}
    assert compared > 40


@pytest.mark.skipif(which("dcm2pnm") is None, reason=NO_DCMTK)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("kind", ["u1", "i1", "<u2", "<i2", "<i4"])
@pytest.mark.parametrize("window", [(100, 200), (-3, 1), (40.5, 33)])
def test_greys_look_as_dcmtk_shows_them(
    tmp_path: Path, photometric: str, kind: str, window: tuple[float, float]
) -> None:
    samples = (np.arange(4096).reshape(64, 64) * 7 % 251).astype(kind)
    dataset = an_image(
        samples, PhotometricInterpretation=photometric, RescaleSlope="2", RescaleIntercept="-100"
    )
    image = stored(dataset)
    center, width = window
    (tmp_path / "image.dcm").write_bytes(written(dataset))

    options = ["+Ww", str(center), str(width)]
    theirs = shown_by_dcmtk(tmp_path / "image.dcm", options, tmp_path / "shown.pgm")

    ours = show(image, 0, appearance_of(image, 0), Window(center, width)).pixels
    assert theirs is not None
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_an_asked_window_goes_before_that_of_the_object() -> None:
    image = a_stored_image(a_ramp(), WindowCenter=1, WindowWidth=2)

    found = render_frame(image, 0, Rendering(window=Window(1536, 3072)))

    assert np.abs(found.pixels - a_ramp() / 3071 * 255).max() <= 0.51


def test_a_window_says_nothing_of_colours() -> None:
    colors = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)

    found = render_frame(a_stored_image(colors), 0, Rendering(window=Window(1, 2)))

    assert np.array_equal(found.pixels, colors)


def test_each_frame_is_another_picture() -> None:
    frames = np.stack([np.full((4, 4), number * 50, "u1") for number in range(3)])
    image = a_stored_image(frames[0], NumberOfFrames=3, PixelData=frames.tobytes())

    found = [render_frame(image, index, Rendering()).pixels[0, 0] for index in range(3)]

    assert found == [0, 50, 100]


def test_frames_of_jpeg_are_shown_in_their_colours() -> None:
    colors = np.zeros((16, 16, 3), np.uint8)
    colors[:, :] = (200, 30, 90)
    jpeg = BytesIO()
    Image.fromarray(colors).save(jpeg, "JPEG", quality=95)
    image = opened(a_cine([jpeg.getvalue()] * 2))

    found = render_frame(image, 1, Rendering()).pixels

    assert np.abs(found.astype(int) - (200, 30, 90)).max() <= 4


def test_there_is_no_frame_beyond_the_last() -> None:
    with pytest.raises(NotFound, match="there is no frame 2"):
        render_frame(a_stored_image(a_ramp()), 1, Rendering())


def test_a_frame_that_is_declared_to_be_huge_is_refused() -> None:
    image = a_stored_image(a_ramp(), Rows=65535, Columns=65535)

    with pytest.raises(UndecodablePixelData):
        render_frame(image, 0, Rendering())


def test_pixels_are_square_in_what_is_rendered() -> None:
    image = a_stored_image(a_ramp(), PixelSpacing=["2", "1"])

    assert render_frame(image, 0, Rendering()).pixels.shape == (96, 64)
    assert show(image, 0, appearance_of(image, 0)).pixels.shape == (48, 64)


def test_everything_can_be_asked_for_at_once() -> None:
    rendering = Rendering(
        viewport=Viewport(200, 200, 8, 8, -32, 32),
        window=Window(1000, 500, WindowFunction.SIGMOID),
        annotations=frozenset(Annotation),
        icc_profile=IccProfile.ADOBE_RGB,
    )

    found = render_frame(a_stored_image(a_ramp()), 0, rendering)

    assert found.pixels.shape == (200, 200, 3)
    assert found.icc_profile == color.profile(IccProfile.ADOBE_RGB)


def test_the_profile_in_a_jpeg_frame_is_embedded() -> None:
    profile = color.profile(IccProfile.ROMM_RGB)
    jpeg = BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 200)).save(jpeg, "JPEG", icc_profile=profile)
    image = opened(a_cine([jpeg.getvalue()]))

    found = render_frame(image, 0, Rendering(icc_profile=IccProfile.YES))

    assert found.icc_profile == profile


def test_a_steady_window_shows_the_extremes_of_all_frames() -> None:
    frames = [
        np.random.default_rng(n).integers(n * 1000, n * 1000 + 500, (32, 32)) for n in (1, 2, 3)
    ]
    samples: Samples = np.stack(frames).astype("<u2")
    image = a_stored_image(samples[0], NumberOfFrames=3, PixelData=samples.tobytes())

    found = steady_window(image, appearance_of(image, 0))

    assert found is not None
    low, high = grayscale.ends(found)
    assert 1000 <= low < 1010
    assert 3490 < high < 3500


def test_what_has_a_window_needs_no_steady_one() -> None:
    image = a_stored_image(a_ramp(), WindowCenter=40, WindowWidth=400)

    assert steady_window(image, appearance_of(image, 0)) is None


NUMBERS = st.integers(-0x8000, 0xFFFF) | st.sampled_from([0, 1, 255, 256, 32768, 65535])
DECIMALS = st.sampled_from(["0", "-1", "1e30", "-1e30", "1e-30", "0.5", "NaN", "abc", "3", "65536"])


@st.composite
def odd_attributes(draw: st.DrawFn) -> dict[str, Any]:
    """DICOM JSON of an image whose values need not fit together."""

    def us(values: list[int]) -> dict[str, Any]:
        return {"vr": "US", "Value": values}

    def ds(strategy: st.SearchStrategy[str], count: int = 1) -> dict[str, Any]:
        return {"vr": "DS", "Value": [draw(strategy) for _ in range(count)]}

    def table() -> dict[str, Any]:
        words = draw(st.lists(st.integers(0, 0xFFFF), max_size=20))
        return {
            "00283002": us([draw(NUMBERS) for _ in range(draw(st.integers(0, 4)))]),
            "00283006": us(words),
        }

    named = st.sampled_from(
        ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_RCT", "ODD", ""]
    )
    attributes: dict[str, Any] = {
        "00280004": {"vr": "CS", "Value": [draw(named)]},
        "00281050": ds(DECIMALS, draw(st.integers(0, 2))),
        "00281051": ds(DECIMALS, draw(st.integers(0, 2))),
        "00281052": ds(DECIMALS),
        "00281053": ds(DECIMALS),
        "00280120": us([draw(NUMBERS)]),
        "00280030": ds(DECIMALS, 2),
        "00181600": {
            "vr": "CS",
            "Value": [draw(st.sampled_from(["CIRCULAR", "RECTANGULAR", "POLYGONAL"]))],
        },
        "00181620": {"vr": "IS", "Value": [draw(NUMBERS) for _ in range(6)]},
        "00181610": {"vr": "IS", "Value": [draw(NUMBERS) for _ in range(2)]},
        "00181612": {"vr": "IS", "Value": [draw(NUMBERS)]},
        "00189205": {"vr": "CS", "Value": ["COLOR"]},
        "60000010": us([draw(NUMBERS)]),
        "60000011": us([draw(NUMBERS)]),
        "60000050": {"vr": "SS", "Value": [draw(NUMBERS), draw(NUMBERS)]},
        "60000102": us([draw(st.integers(0, 40))]),
        "60000015": {"vr": "IS", "Value": [draw(NUMBERS)]},
    }
    if draw(st.booleans()):
        attributes["60003000"] = {"vr": "OW", "InlineBinary": "AAECAwQFBgcICQ=="}
    for tag in ("00283000", "00283010"):
        if draw(st.booleans()):
            attributes[tag] = {"vr": "SQ", "Value": [table()]}
    for place in range(3):
        if draw(st.booleans()):
            attributes[f"0028110{place + 1}"] = us([draw(NUMBERS) for _ in range(3)])
            attributes[f"0028120{place + 1}"] = us(
                draw(st.lists(st.integers(0, 0xFFFF), max_size=9))
            )
            attributes[f"0028122{place + 1}"] = us(
                draw(st.lists(st.integers(0, 0xFFFF), max_size=9))
            )
    shapes = {
        "00280002": st.sampled_from([1, 1, 1, 1, 3, 2, 4]),
        "00280010": st.sampled_from([8, 3, 1, 0, 65535]),
        "00280011": st.sampled_from([8, 5, 1, 0, 65535]),
        "00280100": st.sampled_from([1, 8, 8, 16, 16, 16, 32, 12]),
        "00280101": st.integers(0, 65),
        "00280102": st.integers(0, 65),
        "00280103": st.integers(0, 2),
    }
    return attributes | {tag: us([draw(numbers)]) for tag, numbers in shapes.items()}


@given(attributes=odd_attributes(), pixels=st.binary(min_size=512, max_size=513))
@settings(max_examples=300, deadline=None)
def test_any_values_give_a_picture_or_an_error_of_ours(
    attributes: dict[str, Any], pixels: bytes
) -> None:
    sizes = [
        attributes[tag]["Value"][0] for tag in ("00280002", "00280010", "00280011", "00280100")
    ]
    image = StoredObject(
        pixels,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        big_endian=False,
        attributes=attributes,
        bulk=(),
        frames=Frames("7FE00010", 1, 0, min(prod(sizes) or 8, 8 * len(pixels)), b""),
    )

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            picture = render_frame(image, 0, Rendering(viewport=Viewport(8, 8)))
    except (UndecodablePixelData, InvalidQuery):
        return

    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.ndim in (2, 3)
