"""Volumetric presentation states, made with pydicom."""

from typing import Any

import numpy as np
import pytest

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import InvalidQuery, NotAcceptable, NotFound, NoVolume
from bfr_dicomweb.rendering import volume_presentation
from bfr_dicomweb.rendering.parameters import Rendering, Viewport, Window
from bfr_dicomweb.rendering.volume import Volume
from bfr_dicomweb.rendering.volume_parameters import (
    Orientation,
    RenderingMethod,
    VolumeParameters,
)
from bfr_dicomweb.rendering.volume_presentation import VolumetricPresentation
from objects import a_dataset, uid
from stored_images import an_item, stored
from volumes import a_stored_series

PLANAR = "1.2.840.10008.5.1.4.1.1.11.6"
VOLUME_RENDERING = "1.2.840.10008.5.1.4.1.1.11.9"
VOXELS = np.random.default_rng(7).integers(0, 100, (6, 8, 10)).astype(np.int16)
SERIES = a_stored_series(VOXELS)
IMAGES = {image.attributes["00080018"]["Value"][0]: image for image in SERIES}
AS_IS = Rendering()
NOTHING = VolumeParameters()


def a_state(sop_class_uid: str, uids: list[str], **attributes: Any) -> StoredObject:
    referenced = [
        an_item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=image)
        for image in uids
    ]
    dataset = a_dataset(
        SOPClassUID=sop_class_uid,
        Modality="PR",
        PixelData=None,
        FrameOfReferenceUID=uid(),
        ReferencedSeriesSequence=[
            an_item(SeriesInstanceUID="1.2.3", ReferencedInstanceSequence=referenced)
        ],
        VolumetricPresentationInputSetSequence=[
            an_item(
                VolumetricPresentationInputSetUID="1.2.3.4",
                PresentationInputType="VOLUME",
                ReferencedImageSequence=referenced,
            )
        ],
        VolumetricPresentationStateInputSequence=[
            an_item(
                VolumetricPresentationInputNumber=1,
                VolumetricPresentationInputSetUID="1.2.3.4",
                WindowCenter=50.5,
                WindowWidth=101,
                Crop="NO",
            )
        ],
        **attributes,
    )
    return stored(dataset)


def a_plane(**attributes: Any) -> StoredObject:
    """The third slice as it is."""
    geometry = {
        "MultiPlanarReconstructionStyle": "PLANAR",
        "MPRThicknessType": "THIN",
        "MPRViewWidthDirection": [1.0, 0.0, 0.0],
        "MPRViewWidth": 10.0,
        "MPRViewHeightDirection": [0.0, 1.0, 0.0],
        "MPRViewHeight": 8.0,
        "MPRTopLeftHandCorner": [-0.5, -0.5, 2.0],
        "PixelPresentation": "MONOCHROME",
        "GlobalCrop": "NO",
    }
    return a_state(PLANAR, list(IMAGES), **(geometry | attributes))


def a_view(**attributes: Any) -> StoredObject:
    geometry = {
        "RenderProjection": "ORTHOGRAPHIC",
        "ViewpointPosition": [4.5, 3.5, -100.0],
        "ViewpointLookAtPoint": [4.5, 3.5, 2.5],
        "ViewpointUpDirection": [0.0, -1.0, 0.0],
        "RenderFieldOfView": [-5.0, 5.0, 4.0, -4.0, 0.0, 500.0],
        "RenderingMethod": "MAXIMUM_IP",
        "PixelPresentation": "TRUE_COLOR",
    }
    return a_state(VOLUME_RENDERING, list(IMAGES), **(geometry | attributes))


def volume_of(presentation: VolumetricPresentation) -> Volume:
    geometry = volume_presentation.geometry_of(presentation, IMAGES)
    return Volume.read(geometry, volume_presentation.objects_of(presentation, IMAGES))


def grays(values: Any) -> Any:
    """The window of the state: 0 is black and 100 white."""
    return np.floor(np.asarray(values) * 2.55 + 0.5)


def test_a_planar_state_shows_its_plane_with_its_window() -> None:
    presentation = volume_presentation.read(a_plane())
    animation = volume_presentation.render(
        volume_of(presentation), presentation, NOTHING, AS_IS, mpr=True
    )

    np.testing.assert_allclose(animation.pictures[0].pixels, grays(VOXELS[2]), atol=1)


def test_a_planar_state_shows_no_more_than_its_rectangle() -> None:
    presentation = volume_presentation.read(
        a_plane(MPRViewWidth=4.0, MPRViewHeight=3.0, MPRTopLeftHandCorner=[1.5, 2.5, 4.0])
    )
    animation = volume_presentation.render(
        volume_of(presentation), presentation, NOTHING, AS_IS, mpr=True
    )

    expected = grays(VOXELS[4, 3:6, 2:6])
    np.testing.assert_allclose(animation.pictures[0].pixels, expected, atol=1)


def test_the_slab_of_a_planar_state_is_projected_by_its_method() -> None:
    presentation = volume_presentation.read(
        a_plane(MPRThicknessType="SLAB", MPRSlabThickness=2.0, RenderingMethod="MAXIMUM_IP")
    )
    animation = volume_presentation.render(
        volume_of(presentation), presentation, NOTHING, AS_IS, mpr=True
    )

    expected = grays(VOXELS[1:4].max(axis=0))
    np.testing.assert_allclose(animation.pictures[0].pixels, expected, atol=1)


def test_a_view_shows_its_projection_in_its_field() -> None:
    presentation = volume_presentation.read(a_view(RenderFieldOfView=[-5, 0, 4, 0, 0, 500]))
    animation = volume_presentation.render(
        volume_of(presentation), presentation, NOTHING, AS_IS, mpr=False
    )

    expected = grays(VOXELS.max(axis=0)[:4, :5])
    np.testing.assert_allclose(animation.pictures[0].pixels, expected, atol=1)


def test_a_swivel_of_a_state_is_an_animation() -> None:
    presentation = volume_presentation.read(
        a_view(
            PresentationAnimationStyle="SWIVEL",
            SwivelRange=90.0,
            AnimationStepSize=15.0,
            RecommendedAnimationRate=5.0,
        )
    )

    assert presentation.parameters == VolumeParameters(
        method=RenderingMethod.MAXIMUM_IP, swivel_degrees=90, step=15, rate=5
    )


def test_a_plane_of_a_state_follows_its_curve() -> None:
    points = np.array([[4.5, 3.5, 0], [4.5, 3.5, 5]], "<f8")
    presentation = volume_presentation.read(
        a_plane(
            PresentationAnimationStyle="CROSSCURVE",
            AnimationStepSize=1.0,
            AnimationCurveSequence=[
                an_item(NumberOfVolumetricCurvePoints=2, VolumetricCurvePoints=points.tobytes())
            ],
        )
    )
    animation = volume_presentation.render(
        volume_of(presentation), presentation, NOTHING, AS_IS, mpr=True
    )

    assert len(animation.pictures) == 5
    for at, picture in enumerate(animation.pictures):
        np.testing.assert_allclose(picture.pixels, grays(VOXELS[at]), atol=1)


def test_the_camera_that_is_asked_for_is_used_instead() -> None:
    presentation = volume_presentation.read(a_plane())
    asked = VolumeParameters(orientation=Orientation.ANTERIOR)
    animation = volume_presentation.render(
        volume_of(presentation), presentation, asked, AS_IS, mpr=True
    )

    assert animation.pictures[0].pixels.shape == (6, 10)


def test_a_point_to_look_at_moves_the_plane_of_the_state() -> None:
    presentation = volume_presentation.read(a_plane())
    asked = VolumeParameters(position=(4.5, 3.5, 0.0), look_at=(4.5, 3.5, 5.0))
    animation = volume_presentation.render(
        volume_of(presentation), presentation, asked, AS_IS, mpr=True
    )

    np.testing.assert_allclose(animation.pictures[0].pixels, grays(VOXELS[5]), atol=1)


def test_only_the_images_that_are_referred_to_are_the_volume() -> None:
    state = a_state(
        VOLUME_RENDERING, list(IMAGES)[1:4],
        ViewpointPosition=[0.0, -9.0, 0.0], ViewpointLookAtPoint=[0.0, 0.0, 0.0],
        ViewpointUpDirection=[0.0, 0.0, 1.0],
    )  # fmt: skip
    presentation = volume_presentation.read(state)

    assert [ref.series_instance_uid for ref in presentation.references] == ["1.2.3"] * 3
    np.testing.assert_array_equal(volume_of(presentation).voxels, VOXELS[1:4])


def test_images_that_are_not_stored_are_not_found() -> None:
    presentation = volume_presentation.read(a_plane())
    with pytest.raises(NotFound):
        volume_presentation.geometry_of(presentation, dict(list(IMAGES.items())[1:]))


def test_a_window_is_refused_beside_a_state() -> None:
    presentation = volume_presentation.read(a_plane())
    asked = Rendering(window=Window(1, 2))
    with pytest.raises(InvalidQuery, match="window"):
        volume_presentation.render(volume_of(presentation), presentation, NOTHING, asked, mpr=True)


def test_a_source_region_is_refused_beside_a_state() -> None:
    presentation = volume_presentation.read(a_plane())
    asked = Rendering(viewport=Viewport(10, 10, source_width=5))
    with pytest.raises(InvalidQuery, match="viewport"):
        volume_presentation.render(volume_of(presentation), presentation, NOTHING, asked, mpr=True)


@pytest.mark.parametrize(("state", "mpr"), [(a_plane(), False), (a_view(), True)])
def test_a_state_is_shown_as_what_it_is(state: StoredObject, mpr: bool) -> None:
    presentation = volume_presentation.read(state)
    with pytest.raises(NoVolume, match="renderedmpr" if presentation.mpr else "rendered3d"):
        volume_presentation.render(volume_of(presentation), presentation, NOTHING, AS_IS, mpr=mpr)


REFUSED = {
    "cropped": a_plane(GlobalCrop="YES"),
    "coloured": a_plane(PixelPresentation="TRUE_COLOR"),
}


@pytest.mark.parametrize("state", REFUSED.values(), ids=REFUSED)
def test_a_state_that_would_be_shown_as_something_else_is_refused(state: StoredObject) -> None:
    with pytest.raises(NotAcceptable):
        volume_presentation.read(state)


BROKEN = {
    "no-state": SERIES[0],
    "no-plane": a_plane(MPRViewWidth=0.0),
    "no-corner": a_plane(MPRTopLeftHandCorner=[]),
    "no-camera": a_view(ViewpointPosition=[]),
    "blind": a_view(ViewpointUpDirection=[0.0, 0.0, 1.0]),
    "no-images": a_state(PLANAR, []),
}


@pytest.mark.parametrize("state", BROKEN.values(), ids=BROKEN)
def test_a_state_without_its_geometry_or_images_is_refused(state: StoredObject) -> None:
    with pytest.raises(NoVolume):
        volume_presentation.read(state)
