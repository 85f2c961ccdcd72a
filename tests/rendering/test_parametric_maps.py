"""Parametric maps in pseudo-colours."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.parameters import Rendering, Viewport, Window, WindowFunction
from bfr_dicomweb.rendering.parametric_maps import hot_iron
from bfr_dicomweb.rendering.references import Reason
from bfr_dicomweb.rendering.referring import Result, render_references
from objects import uid
from presentation_objects import reference_to
from segmentation_objects import SIDE, slices
from shared_data import SHARED, require_shared_data
from stored_images import an_item, stored

SAMPLES = SHARED / "dicom" / "by_modality"


def a_map(values: npt.NDArray[np.float32], source: Dataset | None, **shared: Any) -> Dataset:
    """A parametric map of floats, in the plane of `source`."""
    derivation = []
    if source is not None:
        derivation = [an_item(SourceImageSequence=[reference_to(source)])]
    rows, columns = values.shape
    groups = an_item(
        PixelMeasuresSequence=[an_item(PixelSpacing=[1, 1], SliceThickness=1)],
        PlaneOrientationSequence=[an_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        **shared,
    )
    return an_item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.30",
        SOPInstanceUID=uid(),
        StudyInstanceUID=uid(),
        SeriesInstanceUID=uid(),
        Modality="MR",
        FrameOfReferenceUID="2.25.7",
        NumberOfFrames=1,
        Rows=rows,
        Columns=columns,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=32,
        FloatPixelData=values.astype("<f4").tobytes(),
        SharedFunctionalGroupsSequence=[groups],
        PerFrameFunctionalGroupsSequence=[
            an_item(
                PlanePositionSequence=[an_item(ImagePositionPatient=[0, 0, 0])],
                DerivationImageSequence=derivation,
            )
        ],
    )


def shown(parametric_map: Dataset, *images: Dataset, **asked: Any) -> Result:
    archive = {image.SOPInstanceUID: stored(image) for image in images}
    return render_references(stored(parametric_map), archive, Rendering(**asked))


def ramp() -> npt.NDArray[np.float32]:
    return np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)


def a_voi(center: float, width: float) -> list[Dataset]:
    return [an_item(WindowCenter=center, WindowWidth=width, VOILUTFunction="LINEAR")]


def test_hot_iron_is_that_of_the_standard() -> None:
    expected = apply_color_lut(np.arange(256, dtype=np.uint8), palette="1.2.840.10008.1.5.1")

    assert np.array_equal(hot_iron().colors, expected)


def test_a_map_alone_is_shown_in_colours_in_its_window() -> None:
    found = shown(a_map(ramp(), None, FrameVOILUTSequence=a_voi(0.5, 1)))

    pixels = found.shown[0].picture.pixels
    expected = hot_iron().spread(np.round(ramp() * 255).astype(np.uint8))
    assert np.abs(pixels.astype(int) - expected).max() <= 8


def test_a_map_without_a_window_uses_all_of_the_palette() -> None:
    pixels = shown(a_map(ramp() * 1e-6, None)).shown[0].picture.pixels

    assert pixels[0, 0].max() < 10
    assert pixels[-1, -1].min() > 200


def test_a_window_in_which_nothing_lies_is_not_used() -> None:
    pixels = shown(a_map(ramp(), None, FrameVOILUTSequence=a_voi(5000, 10))).shown[0].picture.pixels

    assert np.ptp(pixels) > 200


def test_a_window_that_is_asked_for_is_that_of_the_map() -> None:
    asked = Window(0.25, 0.1, WindowFunction.LINEAR_EXACT)

    pixels = shown(a_map(ramp(), None), window=asked).shown[0].picture.pixels

    assert not pixels[2].any()
    assert (pixels[-1] == 255).all()


def test_windows_count_in_real_world_values() -> None:
    mapping = an_item(RealWorldValueSlope=10.0, RealWorldValueIntercept=100.0)
    parametric_map = a_map(
        ramp(),
        None,
        RealWorldValueMappingSequence=[mapping],
        FrameVOILUTSequence=a_voi(105, 10),
    )

    pixels = shown(parametric_map).shown[0].picture.pixels

    expected = hot_iron().spread(np.round(ramp() * 255).astype(np.uint8))
    assert np.abs(pixels.astype(int) - expected).max() <= 8


def test_the_image_is_seen_where_the_map_has_nothing() -> None:
    image = slices(1)[0]
    image.PixelData = np.full((SIDE, SIDE), 2100, "<u2").tobytes()
    values = np.zeros((SIDE, SIDE), np.float32)
    values[4:8, 4:8] = 1.0

    found = shown(a_map(values, image, FrameVOILUTSequence=a_voi(0.5, 1)), image)

    pixels = found.shown[0].picture.pixels
    assert found.shown[0].target.sop_instance_uid == image.SOPInstanceUID
    assert np.ptp(pixels[0, 0]) == 0
    assert 100 < pixels[0, 0, 0] < 200
    assert (pixels[5, 5] > pixels[0, 0]).all()


def test_a_map_without_its_image_is_shown_alone() -> None:
    image = slices(1)[0]

    found = shown(a_map(ramp(), image))

    assert [each.reason for each in found.left_out] == [Reason.NOT_STORED]
    assert len(found.shown) == 1


def test_what_is_not_a_number_does_no_harm() -> None:
    values = ramp()
    values[3] = np.nan
    values[4] = np.inf

    assert shown(a_map(values, None)).shown[0].picture.rows == SIDE


@pytest.mark.parametrize("side", [256, 512])
def test_a_scale_is_drawn_on_large_pictures_only(side: int) -> None:
    found = shown(
        a_map(np.zeros((SIDE, SIDE), np.float32), None, FrameVOILUTSequence=a_voi(0, 2)),
        viewport=Viewport(side, side),
    )

    colors = np.unique(found.shown[0].picture.pixels.reshape(-1, 3), axis=0)
    assert (len(colors) > 20) == (side == 512)


def test_a_map_of_another_maker_lies_over_its_image() -> None:
    require_shared_data()
    image = StoredObject.read(SAMPLES / "SEG" / "ct_image.dcm")
    uid_of_image = image.attributes["00080018"]["Value"][0]
    parametric_map = StoredObject.read(SAMPLES / "PMAP" / "parametric_map_float.dcm")

    found = render_references(parametric_map, {uid_of_image: image}, Rendering())

    assert [each.target.sop_instance_uid for each in found.shown] == [uid_of_image]
    assert not found.left_out
