"""Part, place and size of a picture (PS3.18 section 8.3.5.1.3 and 9.5.1.2.5)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.picture import Picture, Pixels

# Of a viewport, in pixels; and of what is made for one
MAX_SIDE: Final = 16_384
MAX_PIXELS: Final = 1 << 26
# A pixel is taken for square where its sides differ by less: spacings are rounded numbers.
SQUARE_WITHIN: Final = 0.005


@dataclass(frozen=True, slots=True)
class Part:
    """What is shown of a source, in its pixels, and how it is turned over."""

    left: float
    top: float
    right: float
    bottom: float
    mirrored: bool = False
    upside_down: bool = False

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


def place(picture: Picture, rendering: Rendering, *, pixel_aspect: float = 1.0) -> Picture:
    """The part that is asked for, as large as it fits into the viewport, with square pixels.

    Args:
        picture: In source pixels.
        pixel_aspect: Height of a source pixel divided by its width.

    Raises:
        InvalidQuery: the viewport is too large, or no part of the source lies in its region.
    """
    part = part_of(picture.columns, picture.rows, rendering)
    aspect = 1.0 if abs(pixel_aspect - 1) < SQUARE_WITHIN else pixel_aspect
    size = size_of(part, rendering, aspect)
    return Picture(resampled(picture.pixels, part, size), picture.icc_profile)


def part_of(columns: int, rows: int, rendering: Rendering) -> Part:
    """What is shown of a source of this size.

    Raises:
        InvalidQuery: that is nothing.
    """
    left, top, right, bottom = 0.0, 0.0, float(columns), float(rows)
    region = rendering.region
    if region is not None:
        left, right = _whole(region.left, region.right, columns)
        top, bottom = _whole(region.top, region.bottom, rows)
    asked = rendering.viewport
    if asked is None:
        return Part(left, top, right, bottom)
    # Of a region, the viewport counts from its corner.
    first_column, first_row = left + asked.left, top + asked.top
    width, height = asked.source_width, asked.source_height
    part = Part(
        left=max(left, first_column),
        top=max(top, first_row),
        right=right if width is None else min(right, first_column + abs(width)),
        bottom=bottom if height is None else min(bottom, first_row + abs(height)),
        mirrored=width is not None and width < 0,
        upside_down=height is not None and height < 0,
    )
    if not (part.width > 0 and part.height > 0):
        raise InvalidQuery("viewport", "no part of the image lies in its source region")
    return part


def _whole(start: float, stop: float, pixels: int) -> tuple[float, float]:
    """The pixels that are nearest to a part of all of them; at least one."""
    if not 0 <= start < stop <= 1:
        raise InvalidQuery(
            "region", "its corners are not from 0 to 1, top left before bottom right"
        )
    first = min(round(start * pixels), pixels - 1)
    return float(first), float(max(round(stop * pixels), first + 1))


def size_of(part: Part, rendering: Rendering, pixel_aspect: float) -> tuple[int, int]:
    """Columns and rows of what is shown.

    Raises:
        InvalidQuery: they would be too many.
    """
    # Pixels that are not square are made larger in the direction in which they are longer.
    width = part.width * max(1.0, 1 / pixel_aspect)
    height = part.height * max(1.0, pixel_aspect)
    asked = rendering.viewport
    if asked is not None:
        if max(asked.width, asked.height) > MAX_SIDE:
            raise InvalidQuery("viewport", f"a side may have at most {MAX_SIDE} pixels")
        scale = min(asked.width / width, asked.height / height)
        width = min(width * scale, asked.width)
        height = min(height * scale, asked.height)
    columns, rows = max(1, round(width)), max(1, round(height))
    if columns * rows > max(MAX_PIXELS, part.width * part.height):
        raise InvalidQuery("viewport", f"the image may have at most {MAX_PIXELS} pixels")
    return columns, rows


def resampled(pixels: Pixels, part: Part, size: tuple[int, int]) -> Pixels:
    columns, rows = size
    left, top = int(part.left), int(part.top)
    exact = (left, top, left + columns, top + rows)
    if exact == (part.left, part.top, part.right, part.bottom):
        shown = pixels[top : top + rows, left : left + columns]
    else:
        shrinks = part.width >= columns and part.height >= rows
        image = Image.fromarray(np.ascontiguousarray(pixels)).resize(
            size,
            Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC,
            box=(part.left, part.top, part.right, part.bottom),
            # Far smaller pictures are made of averages first: much faster, hardly to be seen
            reducing_gap=3.0,
        )
        shown = np.asarray(image)
    if part.mirrored:
        shown = shown[:, ::-1]
    return shown[::-1] if part.upside_down else shown
