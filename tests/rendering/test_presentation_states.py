"""Softcopy presentation states, compared with DCMTK's renderer where it has one."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.rendering.parameters import IccProfile, Region, Rendering, Viewport
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.references import Reason
from bfr_dicomweb.rendering.referring import render_references, showing
from objects import written
from presentation_objects import (
    a_layer,
    a_slice,
    a_state,
    a_window,
    an_area,
    reference_to,
    series_of,
)
from shared_data import COMPLETE, NO_DCMTK, SHARED, require_shared_data
from stored_images import a_ramp, an_image, an_item, stored

SAMPLES = SHARED / "dicom" / "by_modality" / "PR_gsps"
Greys = npt.NDArray[np.uint8]


def shown(state: Dataset, *images: Dataset, rendering: Rendering = Rendering()) -> list[Picture]:  # noqa: B008
    """All pictures of a presentation state, with these images in the archive."""
    archive = {image.SOPInstanceUID: stored(image) for image in images}
    found = render_references(stored(state), archive, rendering).shown
    return [each.picture for each in found]


def pixels(state: Dataset, image: Dataset, **asked: Any) -> Greys:
    return shown(state, image, rendering=Rendering(**asked))[0].pixels


def grays(count: int = 256) -> Dataset:
    """An image of 8 bits in which every value is there, each shown as itself by default."""
    return an_image(np.arange(count, dtype=np.uint8).reshape(16, -1))


def by_dcmtk(state: Path, image: Path, folder: Path) -> Greys:
    program = shutil.which("dcmp2pgm")
    if program is None:
        (pytest.fail if COMPLETE else pytest.skip)(NO_DCMTK)
    target = folder / "shown.pgm"
    subprocess.run(
        [program, "-p", state, image, target], check=True, capture_output=True, timeout=60
    )
    return np.asarray(Image.open(target))


def both(state: Dataset, image: Dataset, folder: Path) -> tuple[Greys, Greys]:
    """What we show and what DCMTK shows."""
    files = {}
    for name, dataset in (("state", state), ("image", image)):
        files[name] = folder / f"{name}.dcm"
        files[name].write_bytes(written(dataset))
    return pixels(state, image), by_dcmtk(files["state"], files["image"], folder)


def test_three_lookup_tables_give_what_they_give_in_dcmtk(tmp_path: Path) -> None:
    require_shared_data()
    state, image = SAMPLES / "prLUTs.dcm", SAMPLES / "imageForPrLUTs.dcm"
    opened = StoredObject.read(image)
    uid = opened.attributes["00080018"]["Value"][0]

    ours = render_references(StoredObject.read(state), {uid: opened}, Rendering()).shown[0]

    assert np.array_equal(ours.picture.pixels, by_dcmtk(state, image, tmp_path))


def test_overlays_of_image_and_presentation_state_are_shown_in_their_layers() -> None:
    require_shared_data()
    opened = StoredObject.read(SAMPLES / "overlay.dcm")
    uid = opened.attributes["00080018"]["Value"][0]

    ours = render_references(
        StoredObject.read(SAMPLES / "prOverlay.dcm"), {uid: opened}, Rendering()
    )

    # six lines of text, at these rows: two in unused bits, two of the image, two of the state
    rows = (ours.shown[0].picture.pixels == 255).sum(axis=1)
    assert all(rows[y : y + 16].sum() > 200 for y in (134, 176, 219, 261, 303, 346))


@pytest.mark.parametrize("flip", ["N", "Y"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turns_and_flips_are_those_of_dcmtk(rotation: int, flip: str, tmp_path: Path) -> None:
    image = an_image((a_ramp() % 251).astype(np.uint8))
    state = a_state(
        image,
        ImageRotation=rotation,
        ImageHorizontalFlip=flip,
        DisplayedAreaSelectionSequence=[an_area([1, 1], [64, 48])],
    )

    ours, theirs = both(state, image, tmp_path)

    assert np.array_equal(ours, theirs)


def test_a_shutter_hides_what_is_outside_of_a_rectangle() -> None:
    image = an_image(np.zeros((16, 16), np.uint8))
    state = a_state(
        image,
        ShutterShape="RECTANGULAR",
        ShutterLeftVerticalEdge=5,
        ShutterRightVerticalEdge=12,
        ShutterUpperHorizontalEdge=3,
        ShutterLowerHorizontalEdge=8,
        ShutterPresentationValue=0xFFFF,
    )

    visible = pixels(state, image) == 0

    assert np.argwhere(visible).min(axis=0).tolist() == [2, 4]
    assert np.argwhere(visible).max(axis=0).tolist() == [7, 11]


def test_a_shutter_is_turned_with_the_image() -> None:
    image = an_image(np.zeros((16, 16), np.uint8))
    state = a_state(
        image,
        ImageRotation=90,
        ShutterShape="CIRCULAR",
        CenterOfCircularShutter=[4, 8],
        RadiusOfCircularShutter=2,
        ShutterPresentationValue=0xFFFF,
    )

    visible = pixels(state, image) == 0

    assert np.argwhere(visible).mean(axis=0).tolist() == [7, 12]


@pytest.mark.parametrize(("center", "width"), [(1000, 500), (2048, 4096), (512.5, 33)])
def test_windows_give_what_they_give_in_dcmtk(center: float, width: float, tmp_path: Path) -> None:
    image = an_image(a_ramp(64, 64), BitsStored=12, HighBit=11)
    state = a_state(
        image,
        SoftcopyVOILUTSequence=[a_window(center, width)],
        DisplayedAreaSelectionSequence=[an_area([1, 1], [64, 64])],
    )

    ours, theirs = both(state, image, tmp_path)

    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_the_modality_lut_is_that_of_the_presentation_state() -> None:
    image = grays()
    image.RescaleSlope, image.RescaleIntercept = 1, -1000
    state = a_state(image, SoftcopyVOILUTSequence=[a_window(128, 256)])

    assert np.array_equal(pixels(state, image).ravel(), np.arange(256))


def test_a_window_of_the_image_is_not_used() -> None:
    image = grays()
    image.WindowCenter, image.WindowWidth = 10, 4

    assert np.array_equal(pixels(a_state(image), image).ravel(), np.arange(256))


def test_monochrome1_is_shown_as_the_presentation_state_says() -> None:
    image = grays()
    image.PhotometricInterpretation = "MONOCHROME1"

    assert pixels(a_state(image), image)[0, 0] == 0
    assert pixels(a_state(image, PresentationLUTShape="INVERSE"), image)[0, 0] == 255


def test_each_image_has_the_window_that_is_meant_for_it() -> None:
    images = [grays(), grays()]
    state = a_state(
        *images,
        SoftcopyVOILUTSequence=[a_window(128, 256, images[0]), a_window(64, 128, images[1])],
    )

    first, second = shown(state, *images)

    assert first.pixels.ravel()[100] == 100
    assert second.pixels.ravel()[100] == 201


def test_a_frame_has_the_window_that_is_meant_for_it() -> None:
    image = grays()
    image.NumberOfFrames, image.PixelData = 2, image.PixelData * 2
    meant = a_window(64, 128)
    meant.ReferencedImageSequence = [reference_to(image, 2)]

    first, second = shown(a_state(image, SoftcopyVOILUTSequence=[meant]), image)

    assert [first.pixels.ravel()[100], second.pixels.ravel()[100]] == [100, 201]


def test_an_area_is_cut_out() -> None:
    image = grays()
    state = a_state(image, DisplayedAreaSelectionSequence=[an_area([3, 5], [8, 6])])

    assert np.array_equal(pixels(state, image), np.arange(256).reshape(16, 16)[4:6, 2:8])


def test_corners_of_an_area_may_be_those_after_turning() -> None:
    image = grays()
    area = an_area([8, 6], [3, 5])
    state = a_state(image, DisplayedAreaSelectionSequence=[area], ImageRotation=180)

    cut = np.arange(256).reshape(16, 16)[4:6, 2:8]
    assert np.array_equal(pixels(state, image), cut[::-1, ::-1])


def test_what_lies_outside_of_the_image_is_black() -> None:
    image = an_image(np.full((16, 16), 255, np.uint8))
    state = a_state(image, DisplayedAreaSelectionSequence=[an_area([-3, 1], [20, 16])])

    found = pixels(state, image)

    assert found.shape == (16, 24)
    assert not found[:, :4].any()
    assert not found[:, 20:].any()
    assert found[:, 4:20].all()


def test_an_area_without_any_of_the_image_is_black() -> None:
    image = an_image(np.full((16, 16), 255, np.uint8))
    state = a_state(image, DisplayedAreaSelectionSequence=[an_area([100, 100], [110, 110])])

    assert not pixels(state, image).any()


def test_an_immense_area_is_not_allocated() -> None:
    image = grays()
    area = an_area([-(2**31) + 1, -(2**31) + 1], [2**31 - 1, 2**31 - 1])

    found = pixels(a_state(image, DisplayedAreaSelectionSequence=[area]), image)

    assert max(found.shape) <= 8192


def test_magnify_makes_larger() -> None:
    image = grays()
    area = an_area(
        [1, 1], [8, 8], PresentationSizeMode="MAGNIFY", PresentationPixelMagnificationRatio=3.0
    )

    assert pixels(a_state(image, DisplayedAreaSelectionSequence=[area]), image).shape == (24, 24)


@pytest.mark.parametrize(
    "said",
    [{"PresentationPixelAspectRatio": [2, 1]}, {"PresentationPixelSpacing": [1.0, 0.5]}],
    ids=["ratio", "spacing"],
)
def test_pixels_that_are_not_square_are_made_square(said: dict[str, Any]) -> None:
    image = grays()
    state = a_state(image, DisplayedAreaSelectionSequence=[an_area([1, 1], [16, 16], **said)])

    assert pixels(state, image).shape == (32, 16)


def test_a_viewport_is_filled_with_the_turned_area() -> None:
    image = grays()
    area = an_area([1, 1], [16, 8])
    state = a_state(image, DisplayedAreaSelectionSequence=[area], ImageRotation=90)

    assert pixels(state, image, viewport=Viewport(200, 100)).shape == (100, 50)


def test_a_region_is_cut_out_of_the_displayed_area() -> None:
    image = grays()
    area = an_area([1, 1], [16, 8])
    state = a_state(image, DisplayedAreaSelectionSequence=[area])

    found = pixels(state, image, region=Region(0.5, 0, 1, 1))

    assert np.array_equal(found, np.arange(256).reshape(16, 16)[:8, 8:])


def with_overlay(state: Dataset, layer: str | None) -> Dataset:
    bits = np.zeros((16, 16), np.uint8)
    bits[2, 3] = 1
    state.add_new(0x60000010, "US", 16)
    state.add_new(0x60000011, "US", 16)
    state.add_new(0x60000040, "CS", "G")
    state.add_new(0x60000050, "SS", [1, 1])
    state.add_new(0x60000100, "US", 1)
    state.add_new(0x60000102, "US", 0)
    state.add_new(0x60003000, "OW", np.packbits(bits, bitorder="little").tobytes())
    if layer:
        state.add_new(0x60001001, "CS", layer)
    return state


def test_an_overlay_has_the_grey_of_its_layer() -> None:
    image = an_image(np.zeros((16, 16), np.uint8))
    layer = a_layer("A", GraphicLayerRecommendedDisplayGrayscaleValue=0x8080)
    state = with_overlay(a_state(image, GraphicLayerSequence=[layer]), "A")

    found = pixels(state, image)

    assert found[2, 3] == 0x80
    assert (found > 0).sum() == 1


def test_an_overlay_that_is_not_activated_is_not_shown() -> None:
    image = with_overlay(an_image(np.zeros((16, 16), np.uint8)), None)

    assert not pixels(a_state(image), image).any()


def test_a_bitmap_shutter_is_an_overlay_of_the_presentation_state() -> None:
    image = an_image(np.zeros((16, 16), np.uint8))
    state = a_state(
        image,
        ShutterShape="BITMAP",
        ShutterOverlayGroup=0x6000,
        ShutterPresentationValue=0xFFFF,
    )

    found = pixels(with_overlay(state, None), image)

    assert found[2, 3] == 255
    assert (found > 0).sum() == 1


def a_run(*frames: npt.NDArray[Any], **subtraction: Any) -> tuple[Dataset, Dataset]:
    """An image of these frames, and a presentation state that subtracts; 50 is shown as 129."""
    image = an_image(frames[0])
    image.NumberOfFrames = len(frames)
    image.PixelData = b"".join(frame.tobytes() for frame in frames)
    state = a_state(
        image,
        RecommendedViewingMode="SUB",
        MaskSubtractionSequence=[an_item(**subtraction)],
        SoftcopyVOILUTSequence=[a_window(50, 101)],
    )
    return state, image


def test_a_mask_is_subtracted() -> None:
    state, image = a_run(
        a_ramp(16, 16), a_ramp(16, 16) + 50, MaskOperation="AVG_SUB", MaskFrameNumbers=[1]
    )

    _mask, contrast = shown(state, image)

    assert set(contrast.pixels.ravel().tolist()) == {129}


def test_several_frames_of_a_mask_are_averaged() -> None:
    ramp = a_ramp(16, 16)
    state, image = a_run(
        ramp, ramp + 20, ramp + 60, MaskOperation="AVG_SUB", MaskFrameNumbers=[1, 2]
    )

    assert set(shown(state, image)[2].pixels.ravel().tolist()) == {129}


def test_time_interval_difference_subtracts_an_earlier_frame() -> None:
    ramp = a_ramp(16, 16)
    state, image = a_run(ramp, ramp + 10, ramp + 50, MaskOperation="TID", TIDOffset=2)

    assert set(shown(state, image)[2].pixels.ravel().tolist()) == {129}


def test_frames_outside_of_its_range_keep_what_they_are() -> None:
    flat = np.full((16, 16), 50, np.uint16)
    state, image = a_run(
        flat, flat, MaskOperation="AVG_SUB", MaskFrameNumbers=[1], ApplicableFrameRange=[2, 2]
    )

    first, second = shown(state, image)

    assert first.pixels[0, 0] == 129
    assert second.pixels[0, 0] < 5


def test_a_mask_is_moved_before_it_is_subtracted() -> None:
    mask = np.zeros((16, 16), np.uint16)
    mask[4, 4] = 40
    contrast = np.full((16, 16), 50, np.uint16)
    contrast[6, 5] = 90
    state, image = a_run(
        mask, contrast, MaskOperation="AVG_SUB", MaskFrameNumbers=[1], MaskSubPixelShift=[2, 1]
    )

    assert set(shown(state, image)[1].pixels.ravel().tolist()) == {129}


def test_a_colour_presentation_state_has_its_own_icc_profile() -> None:
    image = an_image(np.zeros((16, 16, 3), np.uint8))
    profile = b"\0\0\0\x84ABCD\2\0\0\0spacRGB XYZ " + bytes(108)
    state = a_state(image, SOPClassUID="1.2.840.10008.5.1.4.1.1.11.2", ICCProfile=profile)

    found = shown(state, image, rendering=Rendering(icc_profile=IccProfile.YES))

    assert found[0].icc_profile == profile


def test_a_pseudo_colour_presentation_state_colours_greys() -> None:
    image = grays()
    state = a_state(image, SOPClassUID="1.2.840.10008.5.1.4.1.1.11.3")
    ramps = {"Red": np.arange(256), "Green": np.full(256, 7), "Blue": np.arange(256)[::-1]}
    for color, ramp in ramps.items():
        setattr(state, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 8])
        state.add_new(f"{color}PaletteColorLookupTableData", "OW", ramp.astype(np.uint8).tobytes())

    found = pixels(state, image)

    assert found[0, 0].tolist() == [0, 7, 255]
    assert found[15, 15].tolist() == [255, 7, 0]


def test_slices_are_shown_along_their_normal() -> None:
    slices = [a_slice(a_ramp(8, 8), position=(0, 0, z)) for z in (30, 10, 20)]

    found = showing(
        stored(a_state(*slices)), {image.SOPInstanceUID: stored(image) for image in slices}
    )

    uids = [target.sop_instance_uid for target in found.targets]
    assert uids == [slices[place].SOPInstanceUID for place in (1, 2, 0)]


def test_images_without_positions_are_shown_in_the_order_of_the_references() -> None:
    images = [grays(), grays(), grays()]
    archive = {image.SOPInstanceUID: stored(image) for image in reversed(images)}

    found = showing(stored(a_state(*images)), archive)

    uids = [target.sop_instance_uid for target in found.targets]
    assert uids == [image.SOPInstanceUID for image in images]


def test_frames_are_shown_in_the_order_of_their_dimension_indices() -> None:
    image = grays()
    image.NumberOfFrames, image.PixelData = 3, image.PixelData * 3
    image.DimensionOrganizationSequence = [an_item(DimensionOrganizationUID="2.25.9")]
    image.PerFrameFunctionalGroupsSequence = [
        an_item(FrameContentSequence=[an_item(DimensionIndexValues=[1, place])])
        for place in (3, 1, 2)
    ]

    found = showing(stored(a_state(image)), {image.SOPInstanceUID: stored(image)})

    assert [target.frame_number for target in found.targets] == [2, 3, 1]


def test_only_the_frames_that_are_referenced_are_shown() -> None:
    image = grays()
    image.NumberOfFrames, image.PixelData = 3, image.PixelData * 3
    series = series_of(image)
    series[0].ReferencedImageSequence = [reference_to(image, 3, 1, 9)]
    state = a_state(image, ReferencedSeriesSequence=series)

    found = showing(stored(state), {image.SOPInstanceUID: stored(image)})

    assert [target.frame_number for target in found.targets] == [3, 1]
    assert [each.reason for each in found.left_out] == [Reason.NO_SUCH_FRAME]


def test_what_is_not_stored_is_told() -> None:
    images = [grays(), grays()]

    found = showing(stored(a_state(*images)), {images[0].SOPInstanceUID: stored(images[0])})

    assert len(found.targets) == 1
    (missing,) = found.left_out
    assert missing.reference.sop_instance_uid == images[1].SOPInstanceUID
    assert missing.reference.series_instance_uid == images[1].SeriesInstanceUID
    assert missing.reason is Reason.NOT_STORED


def test_without_any_of_its_images_nothing_can_be_shown() -> None:
    with pytest.raises(NotFound, match="not stored here"):
        showing(stored(a_state(grays())), {})


def test_a_variable_modality_lut_is_that_of_the_frame() -> None:
    image = grays()
    state = a_state(
        image,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.11.12",
        VariableModalityLUTSequence=[
            an_item(
                RescaleSlope=1, RescaleIntercept=50, ReferencedImageSequence=[reference_to(image)]
            )
        ],
        SoftcopyVOILUTSequence=[a_window(128, 256)],
    )

    assert pixels(state, image).ravel()[100] == 150
