"""Rendered MPR and Rendered 3D resources (PS3.18 sections 10.4.1.1.7 and 10.4.1.1.8)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering import volume_camera, volume_projection, volume_sampling
from bfr_dicomweb.rendering.grayscale import grays, modality_values
from bfr_dicomweb.rendering.parameters import Rendering, Window, WindowFunction
from bfr_dicomweb.rendering.picture import Picture, Pixels
from bfr_dicomweb.rendering.volume import Volume, require_scipy
from bfr_dicomweb.rendering.volume_camera import Camera, View
from bfr_dicomweb.rendering.volume_metadata import rendered_volume_response
from bfr_dicomweb.rendering.volume_parameters import (
    Point,
    RenderingMethod,
    VolumeParameters,
)

# Of a picture; and of all pictures of an animation together
MAX_PIXELS: Final = 1 << 24
MAX_ANIMATED_PIXELS: Final = 1 << 27
# Interpolated for one answer: about a minute of one processor, as are the voxels projected
MAX_SAMPLES: Final = 1 << 29
MAX_PROJECTED_VOXELS: Final = 1 << 34
# Projections are made with at most this many pixels at the longer side, and then enlarged.
MAX_PROJECTED_SIDE: Final = 768
# Of a projection through the whole volume, in percent: what becomes black and white.
PROJECTION_PERCENTILES: Final = (2.0, 99.8)
DEFAULT_CURVE_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Animation:
    """
    Attributes:
        pictures: All of one size; one, if nothing moves; none, if only metadata was asked for.
        seconds: That each is shown; None: nothing moves.
        metadata: DICOM JSON, the Rendered Volume Response Module (Annex K).
    """

    pictures: tuple[Picture, ...]
    seconds: float | None
    metadata: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class _Scene:
    """The cameras of all pictures, and how they follow each other."""

    cameras: tuple[Camera, ...]
    views: tuple[View, ...]
    step: float | None
    rate: float | None


Values = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]


def render_mpr(
    volume: Volume,
    parameters: VolumeParameters,
    rendering: Rendering,
    *,
    camera: Camera | None = None,
    field_mm: tuple[float, float] | None = None,
) -> Animation:
    """A plane or slab through the volume; its window is that of the images.

    Args:
        camera: Instead of that of the parameters.
        field_mm: Width and height of what is shown; None: the whole volume.

    Raises:
        InvalidQuery: a parameter asks for what cannot be.
        NotAcceptable: the extra `volume` is not installed.
    """
    require_scipy()
    method = parameters.method or RenderingMethod.AVERAGE_IP
    scene = _scene(volume, parameters, rendering, camera, field_mm)
    deep = volume_sampling.sample_count(volume, scene.views[0], parameters.slab_mm)
    pixels = sum(view.rows * view.columns for view in scene.views)
    if pixels * deep > MAX_SAMPLES:
        name = "animationstepsize" if scene.step is not None else "mprslab"
        raise InvalidQuery(name, "too much is asked for: take fewer pictures, or smaller ones")
    window = rendering.window or volume.window

    def picture(view: View) -> Picture:
        values, inside = volume_sampling.reformatted(
            volume, view, method=method, slab_mm=parameters.slab_mm
        )
        return _gray(volume, values, inside, window)

    metadata = _metadata(parameters, scene, mpr=True, method=method, window=window)
    return _animation(parameters, scene, picture, metadata)


def render_3d(
    volume: Volume,
    parameters: VolumeParameters,
    rendering: Rendering,
    *,
    camera: Camera | None = None,
    field_mm: tuple[float, float] | None = None,
) -> Animation:
    """The whole volume from outside; without a window, one that fits the first picture.

    Args:
        camera: Instead of that of the parameters.
        field_mm: Width and height of what is shown; None: the whole volume.

    Raises:
        InvalidQuery: a parameter asks for what cannot be.
        NotAcceptable: the extra `volume` is not installed.
    """
    require_scipy()
    method = parameters.method or RenderingMethod.VOLUME_RENDERED
    scene = _scene(volume, parameters, rendering, camera, field_mm)
    if method is RenderingMethod.VOLUME_RENDERED:
        metadata = _metadata(parameters, scene, mpr=False, method=method, window=None)
        return _animation(
            parameters,
            scene,
            lambda view: _enlarged(
                Picture(volume_projection.volume_rendered(volume, _projected(view))), view
            ),
            metadata,
        )
    if volume.voxels.size * len(scene.views) > MAX_PROJECTED_VOXELS:
        raise InvalidQuery("animationstepsize", "is too small for a volume of this size")
    first = volume_projection.projected(volume, _projected(scene.views[0]), method)
    window = rendering.window or _fitting(volume, *first)

    def picture(view: View) -> Picture:
        seen = first
        if view is not scene.views[0]:
            seen = volume_projection.projected(volume, _projected(view), method)
        return _enlarged(_gray(volume, *seen, window), view)

    metadata = _metadata(parameters, scene, mpr=False, method=method, window=window)
    return _animation(parameters, scene, picture, metadata)


def _scene(
    volume: Volume,
    parameters: VolumeParameters,
    rendering: Rendering,
    camera: Camera | None,
    field_mm: tuple[float, float] | None,
) -> _Scene:
    geometry = volume.geometry
    first = camera or volume_camera.camera_of(parameters, geometry)
    cameras: tuple[Camera, ...] = (first,)
    step: float | None = None
    if parameters.swivel_degrees is not None:
        step = parameters.step or min(volume_camera.DEFAULT_STEP_DEGREES, parameters.swivel_degrees)
        cameras = volume_camera.swivel(first, parameters.swivel_degrees, step)
    elif parameters.curve:
        step = parameters.step or _length(parameters.curve) / DEFAULT_CURVE_STEPS
        cameras = volume_camera.along_curve(first, parameters.curve, step)
    views = volume_camera.views_of(cameras, geometry, rendering, field_mm=field_mm)
    pixels = views[0].rows * views[0].columns
    if pixels > MAX_PIXELS or pixels * len(views) > MAX_ANIMATED_PIXELS:
        raise InvalidQuery("viewport", "the pictures would have too many pixels")
    rate = None if step is None else parameters.rate or volume_camera.DEFAULT_RATE
    return _Scene(cameras, views, step, rate)


def _length(curve: Sequence[Point]) -> float:
    return float(np.linalg.norm(np.diff(np.array(curve), axis=0), axis=1).sum())


def _metadata(
    parameters: VolumeParameters,
    scene: _Scene,
    *,
    mpr: bool,
    method: RenderingMethod,
    window: Window | None,
) -> dict[str, Any]:
    return rendered_volume_response(
        mpr=mpr,
        method=method,
        camera=scene.cameras[0],
        slab_mm=parameters.slab_mm,
        window=window,
        swivel_degrees=parameters.swivel_degrees,
        step=scene.step,
        rate=scene.rate,
    )


def _animation(
    parameters: VolumeParameters,
    scene: _Scene,
    picture: Callable[[View], Picture],
    metadata: dict[str, Any],
) -> Animation:
    views = () if parameters.wants_metadata else scene.views
    seconds = None if scene.rate is None else 1.0 / scene.rate
    return Animation(tuple(picture(view) for view in views), seconds, metadata)


def _gray(
    volume: Volume, values: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], window: Window
) -> Picture:
    pixels = grays(values, volume.rescale, window, inverted=volume.inverted)
    pixels[~inside] = 0
    return Picture(pixels)


def _fitting(
    volume: Volume, values: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]
) -> Window:
    """A window for what a projection comes to: that of the images is for single planes."""
    shown = modality_values(values[inside], volume.rescale)
    shown = shown[np.isfinite(shown)]
    if not shown.size:
        return volume.window
    low, high = (float(value) for value in np.percentile(shown, PROJECTION_PERCENTILES))
    width = round(max(high - low, 1e-6), 6)
    return Window(round((low + high) / 2, 6), width, WindowFunction.LINEAR_EXACT)


def _projected(view: View) -> View:
    """The view with as many pixels as a projection is made with."""
    longer = max(view.rows, view.columns)
    if longer <= MAX_PROJECTED_SIDE:
        return view
    rows, columns = (
        max(1, round(side * MAX_PROJECTED_SIDE / longer)) for side in (view.rows, view.columns)
    )
    by_row, by_column = view.rows / rows, view.columns / columns
    first = view.first + view.right * (by_column - 1) / 2 + view.down * (by_row - 1) / 2
    return replace(
        view,
        first=first,
        right=view.right * by_column,
        down=view.down * by_row,
        rows=rows,
        columns=columns,
    )


def _enlarged(picture: Picture, view: View) -> Picture:
    from PIL import Image

    if (picture.rows, picture.columns) == (view.rows, view.columns):
        return picture
    image = Image.fromarray(picture.pixels)
    larger: Pixels = np.asarray(image.resize((view.columns, view.rows), Image.Resampling.BICUBIC))
    return Picture(larger)
