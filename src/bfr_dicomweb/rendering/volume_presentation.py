"""Volumetric presentation states: planes and views of a volume (PS3.3 sections A.80.1 and A.80.2).

What is read is what maps onto the parameters of PS3.18 section 8.3.5.3: the volume, its window,
the geometry, and the animation. Colours and opacities of volume rendering are this archive's own;
perspective is not applied, nor are near and far planes. A state that would be shown as something
else than it means is refused: cropped or registered volumes, and several of them.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import InvalidQuery, NotAcceptable, NotFound, NoVolume
from bfr_dicomweb.rendering import elements
from bfr_dicomweb.rendering.elements import Attributes
from bfr_dicomweb.rendering.grayscale import read_voi
from bfr_dicomweb.rendering.parameters import Rendering, Viewport, Window
from bfr_dicomweb.rendering.references import Images, Reference, reference_of, series_references
from bfr_dicomweb.rendering.volume import Volume, covering
from bfr_dicomweb.rendering.volume_camera import Camera, camera_of
from bfr_dicomweb.rendering.volume_geometry import VolumeGeometry, volume_of
from bfr_dicomweb.rendering.volume_parameters import Point, RenderingMethod, VolumeParameters
from bfr_dicomweb.rendering.volume_rendering import Animation, render_3d, render_mpr

# Grayscale and Compositing Planar MPR
PLANAR: Final = frozenset({"1.2.840.10008.5.1.4.1.1.11.6", "1.2.840.10008.5.1.4.1.1.11.7"})
# Volume Rendering, Segmented and Multiple Volume Rendering
RENDERED: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.11.9",
        "1.2.840.10008.5.1.4.1.1.11.10",
        "1.2.840.10008.5.1.4.1.1.11.11",
    }
)


@dataclass(frozen=True, slots=True)
class VolumetricPresentation:
    """
    Attributes:
        mpr: Whether it is a plane, not a view of the volume.
        references: The images of its volume.
        camera: In whose frame of reference the images are, too.
        field_mm: Width and height of what is shown; None: the whole volume.
        window: None: that of the images.
        parameters: What it says of method, slab and animation.
    """

    mpr: bool
    references: tuple[Reference, ...]
    camera: Camera
    field_mm: tuple[float, float] | None
    window: Window | None
    parameters: VolumeParameters


def read(stored: StoredObject) -> VolumetricPresentation:
    """
    Raises:
        NoVolume: it is no volumetric presentation state, or lacks what makes it one.
        NotAcceptable: it is shown by means that are not there.
    """
    attributes = stored.attributes
    mpr = stored.sop_class_uid in PLANAR
    if not mpr and stored.sop_class_uid not in RENDERED:
        raise NoVolume("it is no volumetric presentation state")
    inputs = elements.items(attributes, "VolumetricPresentationStateInputSequence")
    _check(attributes, inputs, mpr=mpr)
    camera, field_mm = _plane(attributes) if mpr else _view(attributes)
    return VolumetricPresentation(
        mpr=mpr,
        references=_references(attributes, inputs),
        camera=camera,
        field_mm=field_mm,
        window=covering(read_voi(stored, inputs[0])) if inputs else None,
        parameters=_parameters(stored, mpr=mpr),
    )


def geometry_of(presentation: VolumetricPresentation, images: Images) -> VolumeGeometry:
    """The volume, its slices counted in the order of `objects_of`.

    Raises:
        NotFound: not all images are there.
        NoVolume: they make none.
    """
    objects = objects_of(presentation, images)
    frames = {
        place: tuple(number - 1 for number in reference.frame_numbers)
        for place, reference in enumerate(presentation.references)
        if reference.frame_numbers
    }
    return volume_of([stored.attributes for stored in objects], frame_indexes=frames)


def objects_of(presentation: VolumetricPresentation, images: Images) -> tuple[StoredObject, ...]:
    """The images in the order of the references.

    Raises:
        NotFound: one is not there.
    """
    uids = [reference.sop_instance_uid for reference in presentation.references]
    if not all(uid in images for uid in uids):
        raise NotFound("not all images of the presentation state are stored here")
    return tuple(images[uid] for uid in uids)


def render(
    volume: Volume,
    presentation: VolumetricPresentation,
    asked: VolumeParameters,
    rendering: Rendering,
    *,
    mpr: bool,
) -> Animation:
    """
    Args:
        asked: Whose camera is used instead of that of the state; the rest is the state's.
        rendering: Without a window and a source region.
        mpr: Whether it is asked for as ``renderedmpr``, not as ``rendered3d``.

    Raises:
        NoVolume: it is asked for as the other one of the two.
        InvalidQuery: what the state says itself is asked for too.
    """
    if mpr != presentation.mpr:
        raise NoVolume(
            "the presentation state is shown as "
            + ("renderedmpr" if presentation.mpr else "rendered3d")
        )
    if rendering.window is not None:
        raise InvalidQuery("window", "is not for a presentation state")
    size = rendering.viewport
    if size is not None and size != Viewport(size.width, size.height):
        raise InvalidQuery("viewport", "of a presentation state is only a width and a height")
    camera, field_mm = presentation.camera, presentation.field_mm
    if asked.orientation is not None:
        camera, field_mm = camera_of(asked, volume.geometry), None
    elif asked.position or asked.look_at or asked.up:
        merged = VolumeParameters(
            position=asked.position or camera.position,
            look_at=asked.look_at or camera.look_at,
            up=asked.up or camera.up,
        )
        camera = camera_of(merged, volume.geometry)
    shown = replace(rendering, window=presentation.window)
    rendered = render_mpr if mpr else render_3d
    return rendered(volume, presentation.parameters, shown, camera=camera, field_mm=field_mm)


def _check(attributes: Attributes, inputs: list[Attributes], *, mpr: bool) -> None:
    sets = elements.items(attributes, "VolumetricPresentationInputSetSequence")
    if len(inputs) > 1 or len(sets) > 1:
        raise NotAcceptable("the presentation state puts several volumes together")
    cropped = [elements.text(attributes, "GlobalCrop")]
    cropped += [elements.text(item, "Crop") for item in inputs]
    if "YES" in cropped:
        raise NotAcceptable("the presentation state shows a volume with parts cut away")
    if any(
        elements.items(item, "ReferencedSpatialRegistrationSequence") for item in (*sets, *inputs)
    ):
        raise NotAcceptable("the presentation state moves its volume by a registration")
    if mpr and elements.text(attributes, "PixelPresentation") == "TRUE_COLOR":
        raise NotAcceptable("the presentation state colours its plane")


def _references(attributes: Attributes, inputs: list[Attributes]) -> tuple[Reference, ...]:
    """Of the input set; in the first edition of the standard the input itself held them."""
    known = {
        reference.sop_instance_uid: reference
        for reference in series_references(attributes, "ReferencedInstanceSequence")
    }
    sets = elements.items(attributes, "VolumetricPresentationInputSetSequence")
    found = []
    for item in sets or inputs:
        for image in elements.items(item, "ReferencedImageSequence"):
            reference = reference_of(image)
            place = known.get(reference.sop_instance_uid)
            if place is not None:
                reference = replace(
                    reference,
                    series_instance_uid=place.series_instance_uid,
                    study_instance_uid=place.study_instance_uid,
                )
            found.append(reference)
    if not found:
        raise NoVolume("the presentation state refers to no images")
    return tuple(found)


def _plane(attributes: Attributes) -> tuple[Camera, tuple[float, float]]:
    """As PS3.17 section XXX.8, but that up is up: the height goes from the top down."""
    corner = np.array(_point(attributes, "MPRTopLeftHandCorner"))
    across = np.array(_point(attributes, "MPRViewWidthDirection"))
    down = np.array(_point(attributes, "MPRViewHeightDirection"))
    width = elements.number(attributes, "MPRViewWidth") or 0.0
    height = elements.number(attributes, "MPRViewHeight") or 0.0
    if min(width, height) <= 0 or np.linalg.norm(np.cross(across, down)) < 1e-3:
        raise NoVolume("the plane of the presentation state has no width and height")
    look_at = corner + across * width / 2 + down * height / 2
    position = look_at - np.cross(across, down)
    x, y, z = (float(-value) + 0.0 for value in down)
    return Camera(_told(position), _told(look_at), (x, y, z)), (width, height)


def _view(attributes: Attributes) -> tuple[Camera, tuple[float, float] | None]:
    camera = Camera(
        _point(attributes, "ViewpointPosition"),
        _point(attributes, "ViewpointLookAtPoint"),
        _point(attributes, "ViewpointUpDirection"),
    )
    away = np.subtract(camera.look_at, camera.position)
    if np.linalg.norm(away) < 1e-6 or np.linalg.norm(np.cross(away, camera.up)) < 1e-6:
        raise NoVolume("the camera of the presentation state sees nothing")
    field = elements.numbers(attributes, "RenderFieldOfView")
    is_flat = elements.text(attributes, "RenderProjection") != "PERSPECTIVE"
    if len(field) != 6 or not is_flat or field[0] == field[1] or field[2] == field[3]:
        return camera, None
    left, right, top, bottom = field[:4]
    aside = camera.right * (left + right) / 2 - camera.down * (top + bottom) / 2
    moved = camera.moved_to(_told(np.add(camera.look_at, aside)))
    return moved, (abs(right - left), abs(top - bottom))


def _parameters(stored: StoredObject, *, mpr: bool) -> VolumeParameters:
    attributes = stored.attributes
    named = elements.text(attributes, "RenderingMethod")
    method = RenderingMethod.__members__.get(named)
    if mpr and method is RenderingMethod.VOLUME_RENDERED:
        method = None
    is_slab = elements.text(attributes, "MPRThicknessType") == "SLAB"
    thickness = elements.number(attributes, "MPRSlabThickness") if is_slab else None
    style = elements.text(attributes, "PresentationAnimationStyle")
    step = elements.number(attributes, "AnimationStepSize")
    rate = elements.number(attributes, "RecommendedAnimationRate")
    swivel = elements.number(attributes, "SwivelRange")
    return VolumeParameters(
        method=method,
        slab_mm=thickness if thickness and thickness > 0 else None,
        swivel_degrees=min(swivel, 360.0) if style == "SWIVEL" and swivel and swivel > 0 else None,
        curve=_curve(stored) if style == "CROSSCURVE" else (),
        step=step if step and step > 0 else None,
        rate=rate if rate and rate > 0 else None,
    )


def _curve(stored: StoredObject) -> tuple[Point, ...]:
    item = elements.first_item(stored.attributes, "AnimationCurveSequence")
    content = stored.content(elements.element(item, "VolumetricCurvePoints"))
    numbers = np.frombuffer(content[: len(content) // 24 * 24], "<f8").reshape(-1, 3)
    points = tuple(_told(point) for point in numbers if np.isfinite(point).all())
    return points if len(set(points)) > 1 else ()


def _point(attributes: Attributes, keyword: str) -> Point:
    found = elements.numbers(attributes, keyword)
    if len(found) != 3:
        raise NoVolume(f"the presentation state has no {keyword}")
    return found[0], found[1], found[2]


def _told(vector: npt.ArrayLike) -> Point:
    x, y, z = (float(value) for value in np.asarray(vector))
    return x, y, z
