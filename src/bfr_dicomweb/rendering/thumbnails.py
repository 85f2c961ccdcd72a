"""One small picture of an object, in which nobody can be recognised (PS3.18 section 10.4.3.3.4)."""

from dataclasses import replace
from enum import Enum, auto
from typing import Final

import numpy as np
from PIL import Image

from bfr_dicomweb.dicom.attributes import first_text, values_of
from bfr_dicomweb.dicom.pixels import MAX_FRAME_BYTES
from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import (
    elements,
    frame_rendering,
    icons,
    planes,
    slides,
    video,
    viewport,
)
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.icons import Icon
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.reduced_samples import reduced_samples

# Without a viewport no side is longer, and nothing is enlarged.
DEFAULT_SIDE: Final = 256
# A viewport may be larger, the picture in it is not.
MAX_SIDE: Final = 1024
# So few that no writing is left, however large: a name across the picture has less than two
# of them for each letter.
WITHHELD_SIDE: Final = 16
# Of pictures that may have writing in them: so few that small letters are lost.
COARSE_SIDE: Final = 96
COARSER: Final = 6
# Of a slide that is shown as a whole
MAX_TILES: Final = 64
# Of media types that lose something
QUALITY: Final = 85

_IMAGE_TYPE: Final = "00080008"
_BURNED_IN_ANNOTATION: Final = "00280301"
_RECOGNIZABLE_VISUAL_FEATURES: Final = "00280302"
# Ultrasound, in all its forms, and secondary capture: what they show is a screen, names and all.
_SCREENS: Final = tuple(
    f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("3", "3.1", "6", "6.1", "6.3", "7")
)


class Detail(Enum):
    """How much of a picture may be seen.

    FULL: It says that nobody can be recognised, or is made where nothing is written upon it.
    COARSE: It does not say, and is of a kind that often is written upon.
    WITHHELD: It says that somebody can be recognised.
    """

    FULL = auto()
    COARSE = auto()
    WITHHELD = auto()


def detail_of(stored: StoredObject) -> Detail:
    attributes = stored.attributes
    burned_in = first_text(attributes, _BURNED_IN_ANNOTATION)
    if "YES" in (burned_in, first_text(attributes, _RECOGNIZABLE_VISUAL_FEATURES)):
        return Detail.WITHHELD
    if "LABEL" in values_of(attributes, _IMAGE_TYPE):
        return Detail.WITHHELD  # of a slide, whose it is
    if burned_in == "NO":
        return Detail.FULL
    uid = stored.sop_class_uid
    is_screen = any(uid == known or uid.startswith(known + ".") for known in _SCREENS)
    return Detail.COARSE if is_screen else Detail.FULL


def thumbnail(
    stored: StoredObject,
    index: int | None,
    size: Viewport | None,
    *,
    max_frame_bytes: int = MAX_FRAME_BYTES,
) -> Picture:
    """One frame, with nothing written upon it, neither annotations nor overlays.

    Args:
        index: Of the frame, from 0. None: the one in the middle; of a slide of no more than
            `MAX_TILES` the whole.
        size: In which it has to fit; None: `DEFAULT_SIDE`.

    Raises:
        NotFound: there is no such frame.
        UndecodablePixelData: it cannot be decoded, or is too large.
    """
    if index is None:
        if stored.number_of_frames <= MAX_TILES and planes.is_tiled(stored.attributes):
            return _of_slide(stored, size)
        index = (stored.number_of_frames - 1) // 2
    seen = replace(appearance_of(stored, index), overlays=())
    longest = DEFAULT_SIDE if size is None else min(MAX_SIDE, max(size.width, size.height))
    if seen.shutters is None:
        samples = reduced_samples(stored, index, longest, max_frame_bytes=max_frame_bytes)
    else:  # which are counted in pixels of the whole
        samples = stored.samples(index, max_frame_bytes=max_frame_bytes)
    window = frame_rendering.chosen_window(samples, seen)
    picture = frame_rendering.of_samples(stored, samples, seen, window)
    described = stored.description
    return finished(
        Picture(picture.pixels),
        size,
        detail_of(stored),
        stored_size=(described.columns, described.rows),
        pixel_aspect=seen.pixel_aspect,
    )


def _of_slide(stored: StoredObject, size: Viewport | None) -> Picture:
    longest = DEFAULT_SIDE if size is None else MAX_SIDE
    matrix = slides.matrix_of(stored)
    few = min(longest, max(matrix.columns, matrix.rows))
    picture = slides.slide_region([stored], Rendering(Viewport(few, few)))
    stored_size = (matrix.columns, matrix.rows)
    plain = Picture(picture.pixels)
    return finished(plain, size, detail_of(stored), stored_size=stored_size)


def of_video(stored: StoredObject, size: Viewport | None) -> Picture:
    """The frame in its middle.

    Raises:
        NotAcceptable: the extra is missing.
        NotFound, UndecodablePixelData: nothing can be decoded.
    """
    count = elements.integer(stored.attributes, "NumberOfFrames") or 1
    frame = video.picture(stored, (count - 1) // 2, count)
    stored_size = (frame.columns, frame.rows)
    return finished(frame, size, detail_of(stored), stored_size=stored_size)


def finished(
    picture: Picture,
    size: Viewport | None,
    detail: Detail,
    *,
    stored_size: tuple[int, int],
    pixel_aspect: float = 1.0,
) -> Picture:
    """A picture in the size of a thumbnail, with as much detail as may be seen.

    Args:
        stored_size: Columns and rows that it had before it was reduced.
    """
    box = _box(size, max(stored_size))
    if detail is Detail.FULL:
        fewer = _averaged(picture, box)
        return viewport.place(fewer, Rendering(box), pixel_aspect=pixel_aspect)
    side = WITHHELD_SIDE
    if detail is Detail.COARSE:
        side = max(1, min(COARSE_SIDE, max(stored_size) // COARSER))
    few = viewport.place(picture, Rendering(Viewport(side, side)), pixel_aspect=pixel_aspect)
    spread = viewport.place(few, Rendering(box))
    return _withheld(spread) if detail is Detail.WITHHELD else spread


def _averaged(picture: Picture, box: Viewport) -> Picture:
    """Whole cells of pixels as one each: what a better filter then has to do is little."""
    by = int(max(picture.columns / box.width, picture.rows / box.height))
    if by < 2:
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture.pixels)).reduce(by)
    return Picture(np.asarray(image))


def icon(of: Icon, size: Viewport | None) -> Picture:
    side = DEFAULT_SIDE if size is None else min(MAX_SIDE, size.width, size.height)
    return icons.drawn(of, side)


def _box(size: Viewport | None, longest: int) -> Viewport:
    if size is None:
        side = min(DEFAULT_SIDE, longest)
        return Viewport(side, side)
    return Viewport(min(size.width, MAX_SIDE), min(size.height, MAX_SIDE))


def _withheld(picture: Picture) -> Picture:
    """With the sign for that in its middle."""
    image = Image.fromarray(np.ascontiguousarray(picture.pixels)).convert("RGB")
    image = image.point([value * 2 // 3 for value in range(256)] * 3)
    side = max(1, min(image.size) // 2)
    place = ((image.width - side) // 2, (image.height - side) // 2)
    image.paste((235, 240, 246), place, icons.emblem(Icon.WITHHELD, side))
    return Picture(np.asarray(image))
