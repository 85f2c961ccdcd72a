"""What is rendered, from the descriptions of stored objects to bytes: one call, one result.

These calls are made in processes of their own, which keep open what they were asked for last.
"""

from functools import lru_cache
from typing import Final

import orjson

from bfr_dicomweb.dicom.stored_objects import Layout, StoredObject
from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.rendering import frame_rendering, image_encoding, references
from bfr_dicomweb.rendering.parameters import Rendering

# Objects that a process keeps open for the next frame.
OPEN_OBJECTS: Final = 16


@lru_cache(maxsize=OPEN_OBJECTS)
def _opened(layout: Layout) -> StoredObject:
    return layout.open()


def render_frame(
    layout: Layout, index: int, media_type: str, rendering: Rendering, max_frame_bytes: int
) -> bytes:
    stored = _image(layout, max_frame_bytes)
    picture = frame_rendering.render_frame(stored, index, rendering)
    return image_encoding.encode([picture], media_type, quality=rendering.quality)


def render_animation(layout: Layout, media_type: str, rendering: Rendering, max_frame_bytes: int) -> bytes:
    stored = _image(layout, max_frame_bytes)
    pictures = [
        frame_rendering.render_frame(stored, index, rendering)
        for index in range(stored.number_of_frames)
    ]
    return image_encoding.encode(pictures, media_type, quality=rendering.quality)


def render_document(layout: Layout, media_type: str, charset: str) -> bytes:
    from bfr_dicomweb.rendering import document_rendering

    return document_rendering.render_document(_opened(layout), media_type, charset=charset)


def list_references(layout: Layout) -> bytes:
    from bfr_dicomweb.rendering import referring

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
    from bfr_dicomweb.rendering import referring

    return referring.showing(_opened(layout), images)


def _image(layout: Layout, max_frame_bytes: int) -> StoredObject:
    stored = _opened(layout)
    size = stored.description.frame_bytes
    if size > max_frame_bytes:
        raise UndecodablePixelData(f"a frame of {size} bytes exceeds the limit")
    return stored
