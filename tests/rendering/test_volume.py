"""The voxels of a volume, against pydicom."""

import sys
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_modality_lut

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotAcceptable, NotFound, UndecodablePixelData
from bfr_dicomweb.rendering.grayscale import Rescale, modality_values
from bfr_dicomweb.rendering.parameters import Window, WindowFunction
from bfr_dicomweb.rendering.volume import Volume, require_scipy
from bfr_dicomweb.rendering.volume_geometry import volume_of
from shared_data import SHARED, require_shared_data
from stored_images import an_item
from volumes import a_geometry, a_multi_frame, a_stored_series, a_volume

PLANES = np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8)


def read(objects: list[StoredObject]) -> Volume:
    return Volume.read(volume_of([stored.attributes for stored in objects]), objects)


def test_voxels_are_kept_as_stored_where_one_rescale_holds_for_all() -> None:
    volume = read(a_stored_series(PLANES, RescaleSlope=2, RescaleIntercept=-1024))

    np.testing.assert_array_equal(volume.voxels, PLANES)
    assert volume.voxels.dtype == np.int16
    assert volume.rescale == Rescale(2, -1024)


def test_each_slice_has_its_own_rescale() -> None:
    def slopes(at: int) -> dict[str, Any]:
        return {"RescaleSlope": at + 1, "RescaleIntercept": 0}

    volume = read(a_stored_series(PLANES, each=slopes))

    np.testing.assert_array_equal(volume.voxels, PLANES * np.arange(1, 5)[:, None, None])
    assert volume.rescale == Rescale()


def test_slices_that_come_in_any_order_are_put_in_place() -> None:
    series = a_stored_series(PLANES)
    volume = read([series[at] for at in (2, 0, 3, 1)])

    np.testing.assert_array_equal(volume.voxels, PLANES)


def test_frames_of_one_object_are_slices() -> None:
    frames = a_multi_frame(
        PLANES.astype(np.uint16),
        lambda at: {"PlanePositionSequence": an_item(ImagePositionPatient=[0, 0, -at])},
        {
            "PixelMeasuresSequence": an_item(PixelSpacing=[1, 1]),
            "PlaneOrientationSequence": an_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
            "PixelValueTransformationSequence": an_item(RescaleSlope=1, RescaleIntercept=-7),
            "FrameVOILUTSequence": an_item(WindowCenter=50, WindowWidth=90),
        },
    )
    volume = read([frames])

    np.testing.assert_array_equal(volume.voxels, PLANES[::-1])
    assert volume.rescale == Rescale(1, -7)
    assert volume.window == Window(50, 90)


def test_each_frame_of_an_object_has_its_own_rescale() -> None:
    frames = a_multi_frame(
        PLANES.astype(np.uint16),
        lambda at: {
            "PlanePositionSequence": an_item(ImagePositionPatient=[0, 0, at]),
            "PixelValueTransformationSequence": an_item(
                RescaleSlope=1, RescaleIntercept=100 * (at // 2)
            ),
        },
        {
            "PixelMeasuresSequence": an_item(PixelSpacing=[1, 1]),
            "PlaneOrientationSequence": an_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        },
    )

    expected = PLANES + np.array([0, 0, 100, 100])[:, None, None]
    np.testing.assert_array_equal(read([frames]).voxels, expected)


def test_the_window_is_that_of_the_images() -> None:
    volume = read(a_stored_series(PLANES, WindowCenter=40, WindowWidth=80))

    assert volume.window == Window(40, 80)


def test_without_a_window_one_is_made_for_the_values() -> None:
    volume = a_volume(lambda x, y, z: x + 100, a_geometry((40, 40, 101)))

    assert volume.window.function is WindowFunction.LINEAR_EXACT
    assert volume.window.center == pytest.approx(150, abs=1)
    assert volume.window.width == pytest.approx(99, abs=2)


def test_a_frame_that_is_not_stored_is_not_found() -> None:
    series = a_stored_series(PLANES)
    geometry = volume_of([stored.attributes for stored in series])
    without = StoredObject(
        b"", transfer_syntax_uid="1.2.840.10008.1.2.1", big_endian=False,
        attributes=series[0].attributes, bulk=(), frames=None,
    )  # fmt: skip
    with pytest.raises((NotFound, UndecodablePixelData)):
        Volume.read(geometry, [without, *series[1:]])


@pytest.mark.parametrize("folder", ["CT_series_28", "MR_series_T1_29", "MR_series_ADC_20"])
def test_a_sample_has_the_values_that_pydicom_reads(folder: str) -> None:
    require_shared_data()
    files = sorted((SHARED / "dicom/by_modality" / folder).iterdir())
    volume = read([StoredObject.read(file) for file in files])

    datasets = [pydicom.dcmread(file) for file in files]
    normal = np.cross(*np.reshape(datasets[0].ImageOrientationPatient, (2, 3)))
    datasets.sort(key=lambda ds: float(np.dot(normal, ds.ImagePositionPatient)))
    for plane, dataset in zip(volume.voxels, datasets, strict=True):
        expected = apply_modality_lut(dataset.pixel_array, dataset)
        np.testing.assert_allclose(modality_values(plane, volume.rescale), expected)


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(NotAcceptable, match=r"bfr-dicomweb\[volume\]"):
        require_scipy()
