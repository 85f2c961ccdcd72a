"""Rendered MPR and 3D as wholes; ids are those of the conformance cases."""

import json
import pickle

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_windowing

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering.parameters import Rendering, Viewport, Window, WindowFunction
from bfr_dicomweb.rendering.volume import Volume
from bfr_dicomweb.rendering.volume_geometry import volume_of
from bfr_dicomweb.rendering.volume_parameters import (
    Orientation,
    RenderingMethod,
    VolumeParameters,
)
from bfr_dicomweb.rendering.volume_rendering import Animation, render_3d, render_mpr
from shared_data import SHARED, require_shared_data
from volumes import Array, a_geometry, a_volume

GEOMETRY = a_geometry((10, 12, 14), origin=(-6.5, -5.5, -4.5))
AS_IS = Rendering()
ALL_METADATA = {
    "WindowCenter", "WindowWidth", "VOILUTFunction", "RenderingMethod", "MPRSlabThickness",
    "ViewpointPosition", "ViewpointLookAtPoint", "ViewpointUpDirection",
    "RecommendedAnimationRate", "AnimationStepSize", "SwivelRange", "ReformattingOperationType",
}  # fmt: skip
TYPE_1 = {
    "RenderingMethod", "ViewpointPosition", "ViewpointLookAtPoint", "ViewpointUpDirection",
    "ReformattingOperationType",
}  # fmt: skip
OF_WINDOW = {"WindowCenter", "WindowWidth", "VOILUTFunction"}


def ball(x: Array, y: Array, z: Array) -> Array:
    return np.where(x**2 + y**2 + z**2 < 16, 400, -1000)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return a_volume(ball, GEOMETRY, dtype=np.int16, modality="CT", window=Window(40, 400))


def told(animation: Animation) -> Dataset:
    """The metadata as pydicom reads it."""
    return Dataset.from_json(json.dumps(animation.metadata))


def keywords(animation: Animation) -> set[str]:
    return {element.keyword for element in told(animation)}


def test_a_plane_is_shown_with_the_window_of_the_images(volume: Volume) -> None:
    """VOL-01"""
    asked = VolumeParameters(method=RenderingMethod.AVERAGE_IP)
    (picture,) = render_mpr(volume, asked, AS_IS).pictures

    assert picture.pixels.shape == (10, 14)
    assert picture.pixels[5, 7] == 255
    assert picture.pixels[0, 0] == 0


def test_a_plane_is_shown_with_the_window_that_is_asked_for(volume: Volume) -> None:
    asked = Rendering(window=Window(400, 2800, WindowFunction.LINEAR_EXACT))
    (picture,) = render_mpr(volume, VolumeParameters(), asked).pictures

    assert picture.pixels[5, 7] == 128
    assert picture.pixels[0, 0] == 0


def test_outside_of_the_volume_it_is_black_whatever_the_window(volume: Volume) -> None:
    asked = Rendering(window=Window(-5000, 1, WindowFunction.LINEAR_EXACT))
    oblique = VolumeParameters(position=(100.0, -100.0, 50.0))
    (picture,) = render_mpr(volume, oblique, asked).pictures

    assert picture.pixels[0, 0] == 0
    assert picture.pixels[picture.rows // 2, picture.columns // 2] == 255


def test_3d_is_volume_rendered_by_default_and_in_colour(volume: Volume) -> None:
    """VOL-02"""
    (picture,) = render_3d(volume, VolumeParameters(), AS_IS).pictures

    assert picture.is_color
    assert picture.pixels[5, 7].min() > 60
    assert picture.pixels[0, 0].max() == 0


@pytest.mark.parametrize("method", list(RenderingMethod)[1:])
def test_the_other_methods_are_grey(volume: Volume, method: RenderingMethod) -> None:
    (picture,) = render_3d(volume, VolumeParameters(method=method), AS_IS).pictures

    assert not picture.is_color


@pytest.mark.parametrize("render", [render_mpr, render_3d])
def test_metadata_holds_what_is_of_type_1_and_the_camera(volume: Volume, render: object) -> None:
    """VOL-06"""
    asked = VolumeParameters(
        orientation=Orientation.LEFT, wants_metadata=True, method=RenderingMethod.AVERAGE_IP
    )
    animation = render(volume, asked, AS_IS)  # type: ignore[operator]

    assert animation.pictures == ()
    assert keywords(animation) == TYPE_1 | OF_WINDOW
    dataset = told(animation)
    assert dataset.RenderingMethod == "AVERAGE_IP"
    assert list(dataset.ViewpointLookAtPoint) == [0, 0, 0]
    assert list(dataset.ViewpointUpDirection) == [0, 0, 1]
    assert dataset.ViewpointPosition[0] > 0
    assert list(dataset.ViewpointPosition[1:]) == [0, 0]


def test_metadata_tells_the_camera_that_gives_the_same_picture(volume: Volume) -> None:
    first = render_mpr(volume, VolumeParameters(orientation=Orientation.HEAD), AS_IS)
    dataset = told(first)
    again = render_mpr(
        volume,
        VolumeParameters(
            position=tuple(dataset.ViewpointPosition),
            look_at=tuple(dataset.ViewpointLookAtPoint),
            up=tuple(dataset.ViewpointUpDirection),
        ),
        AS_IS,
    )

    assert again.metadata == first.metadata
    np.testing.assert_array_equal(again.pictures[0].pixels, first.pictures[0].pixels)


def test_equal_requests_have_equal_metadata(volume: Volume) -> None:
    """VOL-07"""
    asked = VolumeParameters(method=RenderingMethod.MAXIMUM_IP, swivel_degrees=90, step=30)

    first = render_3d(volume, asked, AS_IS).metadata
    fresh = a_volume(ball, GEOMETRY, dtype=np.int16, modality="CT", window=Window(40, 400))
    assert json.dumps(render_3d(fresh, asked, AS_IS).metadata) == json.dumps(first)


def test_metadata_of_volume_rendering_has_no_window(volume: Volume) -> None:
    animation = render_3d(volume, VolumeParameters(), AS_IS)

    assert keywords(animation) == TYPE_1
    assert told(animation).RenderingMethod == "VOLUME_RENDERED"
    assert told(animation).ReformattingOperationType == "3D_RENDERING"


def test_metadata_of_a_slab_animation_has_all_that_there_is(volume: Volume) -> None:
    planes = render_mpr(
        volume, VolumeParameters(slab_mm=3, curve=((0.0, 0.0, -4.0), (0.0, 0.0, 4.0))), AS_IS
    )
    swivel = render_3d(
        volume, VolumeParameters(method=RenderingMethod.MINIMUM_IP, swivel_degrees=90), AS_IS
    )

    assert keywords(planes) | keywords(swivel) == ALL_METADATA
    assert told(planes).ReformattingOperationType == "MPR"
    assert told(planes).MPRSlabThickness == 3
    assert told(swivel).SwivelRange == 90
    assert told(swivel).AnimationStepSize == 10
    assert told(swivel).RecommendedAnimationRate == 10


def test_a_swivel_is_shown_step_by_step_at_its_rate(volume: Volume) -> None:
    asked = VolumeParameters(swivel_degrees=90, step=30, rate=5)
    animation = render_3d(volume, asked, AS_IS)

    assert len(animation.pictures) == 3
    assert animation.seconds == 0.2
    assert len({picture.pixels.shape for picture in animation.pictures}) == 1


def test_a_plane_moves_along_its_curve(volume: Volume) -> None:
    asked = VolumeParameters(
        orientation=Orientation.FEET, curve=((0.0, 0.0, -6.0), (0.0, 0.0, 6.0)), step=2
    )
    pictures = render_mpr(volume, asked, AS_IS).pictures

    sizes = [int((picture.pixels > 128).sum()) for picture in pictures]
    assert len(sizes) == 6
    assert sizes[0] == 0 < sizes[2] < sizes[3]


def test_pictures_larger_than_projections_are_made_are_enlarged(volume: Volume) -> None:
    asked = Rendering(viewport=Viewport(1400, 1400))
    (picture,) = render_3d(volume, VolumeParameters(), asked).pictures

    assert (picture.columns, picture.rows) == (1400, 1000)
    assert picture.pixels[500, 700].min() > 60


@pytest.mark.parametrize("viewport", [Viewport(16000, 16000), Viewport(99999, 5)])
def test_pictures_beyond_the_limit_are_refused(volume: Volume, viewport: Viewport) -> None:
    with pytest.raises(InvalidQuery, match="viewport"):
        render_mpr(volume, VolumeParameters(), Rendering(viewport=viewport))


def test_animations_beyond_the_limit_are_refused(volume: Volume) -> None:
    asked = VolumeParameters(swivel_degrees=360, step=1)
    with pytest.raises(InvalidQuery, match="viewport"):
        render_3d(volume, asked, Rendering(viewport=Viewport(4000, 4000)))


def test_work_beyond_the_limit_is_refused_before_it_is_begun(volume: Volume) -> None:
    asked = VolumeParameters(slab_mm=100, curve=((0.0, 0.0, 0.0), (0.0, 3600.0, 0.0)), step=10)
    with pytest.raises(InvalidQuery, match="animationstepsize"):
        render_mpr(volume, asked, Rendering(viewport=Viewport(500, 500)))


def test_parameters_and_pictures_reach_other_processes() -> None:
    parameters = VolumeParameters(method=RenderingMethod.AVERAGE_IP, look_at=(1.0, 2.0, 3.0))

    assert pickle.loads(pickle.dumps(parameters)) == parameters
    assert pickle.loads(pickle.dumps(GEOMETRY)) == GEOMETRY


def ct() -> tuple[Volume, list[pydicom.FileDataset]]:
    require_shared_data()
    files = sorted((SHARED / "dicom/by_modality/CT_series_28").iterdir())
    objects = [StoredObject.read(file) for file in files]
    volume = Volume.read(volume_of([stored.attributes for stored in objects]), objects)
    datasets = sorted(map(pydicom.dcmread, files), key=lambda ds: ds.ImagePositionPatient[2])
    return volume, datasets


def test_an_axial_plane_through_a_slice_is_that_slice_as_pydicom_shows_it() -> None:
    volume, datasets = ct()
    dataset = datasets[9]
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    middle = (x + 255.5 * 0.451171875, y + 255.5 * 0.451171875, z)
    below = (*middle[:2], z - 100)
    asked = VolumeParameters(look_at=middle, position=below, up=(0.0, -1.0, 0.0))
    (picture,) = render_mpr(volume, asked, AS_IS).pictures

    values = apply_windowing(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    expected = (values - values.min()) / (values.max() - values.min()) * 255
    np.testing.assert_allclose(picture.pixels.astype(float), expected, atol=1.01)


def test_the_nose_of_a_head_is_in_front() -> None:
    """From the patient's left the bone of the face is at the left, the back of the head right."""
    volume, _ = ct()
    asked = VolumeParameters(orientation=Orientation.LEFT, method=RenderingMethod.MAXIMUM_IP)
    (picture,) = render_3d(volume, asked, Rendering(window=Window(700, 600))).pictures

    bone = picture.pixels[-10] > 128  # at the height of the nose, below it there is only face
    columns = np.flatnonzero(bone)
    assert columns.min() < picture.columns * 0.2
