"""What is rendered, from the descriptions of stored objects to bytes: one call, one result.

These calls are made in processes of their own, which keep open what they were asked for last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Final

import orjson

from bfr_dicomweb.dicom.stored_objects import Layout, StoredObject
from bfr_dicomweb.errors import (
    InvalidQuery,
    NotAcceptable,
    NotFound,
    TooLarge,
    UndecodablePixelData,
)
from bfr_dicomweb.rendering import (
    cine,
    document_rendering,
    frame_rendering,
    image_encoding,
    references,
    referring,
    thumbnails,
    video,
    volume_presentation,
    volume_rendering,
)
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.icons import Icon
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.volume import Volume, require_scipy
from bfr_dicomweb.rendering.volume_cache import VolumeCache
from bfr_dicomweb.rendering.volume_geometry import volume_of
from bfr_dicomweb.rendering.volume_parameters import VolumeParameters
from bfr_dicomweb.rendering.volume_presentation import VolumetricPresentation

# Objects that a process keeps open for the next frame.
OPEN_OBJECTS: Final = 16
# Voxels, and what was made of them, that a process keeps.
VOLUME_CACHE_BYTES: Final = 1 << 30
NOT_KNOWN: Final = b""
# How long the only picture of what could move is shown.
STILL_SECONDS: Final = 1.0


@lru_cache(maxsize=OPEN_OBJECTS)
def _opened(layout: Layout) -> StoredObject:
    return layout.open()


def render_frame(
    layout: Layout, index: int, media_type: str, rendering: Rendering, max_frame_bytes: int
) -> bytes:
    stored = _image(layout, max_frame_bytes)
    picture = frame_rendering.render_frame(stored, index, rendering)
    return image_encoding.encode([picture], media_type, quality=rendering.quality)


def render_animation(
    layout: Layout,
    indices: tuple[int, ...],
    media_type: str,
    rendering: Rendering,
    max_frame_bytes: int,
) -> bytes:
    """Frames as one moving picture; in MP4 they are made, and gone, one by one."""
    stored = _image(layout, max_frame_bytes)
    if rendering.window is None:
        steady = frame_rendering.steady_window(stored, appearance_of(stored, indices[0]))
        rendering = replace(rendering, window=steady)
    first, *others = indices
    picture = frame_rendering.render_frame(stored, first, rendering)
    cine.require_size(media_type, len(indices), picture.columns, picture.rows)
    pictures = chain(
        [picture], (frame_rendering.render_frame(stored, index, rendering) for index in others)
    )
    durations = cine.durations_ms(stored.attributes, stored.number_of_frames)
    return _moving(pictures, media_type, [durations[index] for index in indices], rendering)


def _moving(
    pictures: Iterable[Picture], media_type: str, durations: Sequence[float], rendering: Rendering
) -> bytes:
    if media_type == cine.MP4:
        return cine.encode_mp4(pictures, durations, quality=rendering.quality)
    return image_encoding.encode(
        list(pictures), media_type, quality=rendering.quality, durations_ms=durations
    )


def render_video(layout: Layout, media_type: str, rendering: Rendering) -> bytes:
    """A stored video in another file format, or as other pictures."""
    stored = _opened(layout)
    if media_type != cine.MP4:
        return video.as_stream(stored)
    if video.is_as_stored(rendering):
        return video.as_mp4(stored)
    return video.encoded_anew(stored, rendering)


def render_video_frame(
    layout: Layout, index: int, count: int, media_type: str, rendering: Rendering
) -> bytes:
    stored = _opened(layout)
    picture = video.shown(stored, video.picture(stored, index, count), index, rendering)
    return image_encoding.encode([picture], media_type, quality=rendering.quality)


def render_video_thumbnail(layout: Layout, media_type: str, size: Viewport | None) -> bytes:
    """What cannot be decoded, or not here, is shown as an icon."""
    try:
        picture = thumbnails.of_video(_opened(layout), size)
    except (UndecodablePixelData, NotAcceptable, NotFound):
        return render_icon(Icon.VIDEO, media_type, size)
    return image_encoding.encode([picture], media_type, quality=thumbnails.QUALITY)


def render_thumbnail(
    layout: Layout, index: int | None, media_type: str, size: Viewport | None, max_frame_bytes: int
) -> bytes:
    """What cannot be decoded is shown as an icon that says so."""
    try:
        picture = thumbnails.thumbnail(
            _opened(layout), index, size, max_frame_bytes=max_frame_bytes
        )
    except (UndecodablePixelData, TooLarge, InvalidQuery):
        return render_icon(Icon.PICTURE, media_type, size)
    return image_encoding.encode([picture], media_type, quality=thumbnails.QUALITY)


def render_icon(icon: Icon, media_type: str, size: Viewport | None) -> bytes:
    picture = thumbnails.icon(icon, size)
    return image_encoding.encode([picture], media_type, quality=thumbnails.QUALITY)


def render_document(layout: Layout, media_type: str, charset: str, url: str) -> bytes:
    return document_rendering.render_document(
        _opened(layout), media_type, charset=charset, instance_url=url
    )


def list_references(layout: Layout) -> bytes:
    named = referring.references_of(_opened(layout))
    return orjson.dumps(
        [(one.sop_instance_uid, one.series_instance_uid, one.study_instance_uid) for one in named]
    )


def list_targets(layout: Layout, layouts: tuple[Layout, ...]) -> bytes:
    showing = _showing(layout, layouts)
    return orjson.dumps(
        {
            "targets": [
                (one.sop_instance_uid, one.frame_number, one.own_frames) for one in showing.targets
            ],
            "left_out": [str(one.reason) for one in showing.left_out],
        }
    )


def render_target(
    layout: Layout,
    layouts: tuple[Layout, ...],
    index: int,
    media_type: str,
    rendering: Rendering,
) -> bytes:
    showing = _showing(layout, layouts)
    picture = showing.picture(showing.targets[index], rendering)
    return image_encoding.encode([picture], media_type, quality=rendering.quality)


@lru_cache(maxsize=2)
def _showing(layout: Layout, layouts: tuple[Layout, ...]) -> references.Showing:
    objects = [one.open() for one in layouts]
    images = {str(one.attributes["00080018"]["Value"][0]): one for one in objects}
    return referring.showing(_opened(layout), images)


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """
    Attributes:
        mpr: renderedmpr, not rendered3d.
        media_type: Of the pictures; "": only what they show is asked for.
    """

    mpr: bool
    parameters: VolumeParameters
    rendering: Rendering
    media_type: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A volume with the presentation state that it was asked for by, if it was."""

    volume: Volume
    presentation: VolumetricPresentation | None

    @property
    def size_bytes(self) -> int:
        return self.volume.size_bytes


_volumes: VolumeCache[_Known] = VolumeCache(VOLUME_CACHE_BYTES)


def render_known_volume(key: bytes, asked: VolumeRequest) -> bytes | tuple[bytes, ...]:
    """`NOT_KNOWN` where this process has not got it."""
    known = _volumes.find(key)
    return NOT_KNOWN if known is None else _shown(known, asked)


def render_volume(
    key: bytes,
    layouts: tuple[Layout, ...],
    frame_numbers: Sequence[int] | None,
    state: Layout | None,
    asked: VolumeRequest,
) -> tuple[bytes, ...]:
    def read() -> _Known:
        objects = [layout.open() for layout in layouts]
        if state is not None:
            presentation = volume_presentation.read(state.open())
            images = {str(one.attributes["00080018"]["Value"][0]): one for one in objects}
            geometry = volume_presentation.geometry_of(presentation, images)
            slices = volume_presentation.objects_of(presentation, images)
            return _Known(Volume.read(geometry, slices), presentation)
        frames = None
        if frame_numbers is not None:
            frames = {0: tuple(number - 1 for number in frame_numbers)}
        geometry = volume_of(
            [one.attributes for one in objects], asked.parameters.selection, frame_indexes=frames
        )
        return _Known(Volume.read(geometry, objects), None)

    require_scipy()
    return _shown(_volumes.get(key, read), asked)


def list_volume_references(layout: Layout) -> bytes:
    references = volume_presentation.read(_opened(layout)).references
    return orjson.dumps([reference.sop_instance_uid for reference in references])


def _shown(known: _Known, asked: VolumeRequest) -> tuple[bytes, ...]:
    if known.presentation is not None:
        animation = volume_presentation.render(
            known.volume, known.presentation, asked.parameters, asked.rendering, mpr=asked.mpr
        )
    else:
        render = volume_rendering.render_mpr if asked.mpr else volume_rendering.render_3d
        animation = render(known.volume, asked.parameters, asked.rendering)
    said = orjson.dumps(animation.metadata)
    if not asked.media_type:
        return (said,)
    pictures, media_type = animation.pictures, asked.media_type
    described = image_encoding.IMAGE_TYPES.get(media_type)
    if described is None or described.is_animated:
        first, count = pictures[0], len(pictures)
        cine.require_size(media_type, count, first.columns, first.rows)
        durations = [1000 * (animation.seconds or STILL_SECONDS)] * count
        return said, _moving(pictures, media_type, durations, asked.rendering)
    return said, *(
        image_encoding.encode([picture], media_type, quality=asked.rendering.quality)
        for picture in pictures
    )


def _image(layout: Layout, max_frame_bytes: int) -> StoredObject:
    stored = _opened(layout)
    size = stored.description.frame_bytes
    if size > max_frame_bytes:
        raise UndecodablePixelData(f"a frame of {size} bytes exceeds the limit")
    return stored
