"""Which part of an image a presentation state shows, and turned in which way.

Displayed Area and Spatial Transformation modules (PS3.3 sections C.10.4 and C.10.6).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from bfr_dicomweb.rendering.elements import Attributes, integer, items, number, numbers, text
from bfr_dicomweb.rendering.parameters import Viewport
from bfr_dicomweb.rendering.picture import Picture, Pixels
from bfr_dicomweb.rendering.references import applies_to

Points = npt.NDArray[np.float64]

# A picture without a viewport gets no larger; a displayed area may name any size.
MAX_SIDE: Final = 8192
MAX_PIXELS: Final = 1 << 26
# Beyond it two spacings are no description of one image.
_MAX_ASPECT: Final = 20.0
_MAX_MAGNIFICATION: Final = 64.0


@dataclass(frozen=True, slots=True)
class DisplayedArea:
    """
    Attributes:
        left, top, right, bottom: Edges of what is shown, in pixels of the image: its corners
            are (0, 0) and (columns, rows). May lie outside of it.
        quarters: It is turned clockwise by so many quarters of a circle.
        flipped: Then left and right change places.
        pixel_aspect: Height of a pixel divided by its width.
        magnification: Pixels of the picture to one of the image, if no viewport says more.
    """

    left: float
    top: float
    right: float
    bottom: float
    quarters: int = 0
    flipped: bool = False
    pixel_aspect: float = 1.0
    magnification: float = 1.0

    @property
    def natural_size(self) -> tuple[float, float]:
        """Width and height without a viewport, with square pixels and none lost."""
        stretch = self.pixel_aspect
        width = (self.right - self.left) * max(1.0, 1.0 / stretch) * self.magnification
        height = (self.bottom - self.top) * max(1.0, stretch) * self.magnification
        return (height, width) if self.quarters % 2 else (width, height)


def displayed_area(
    state: Attributes, uid: str, frame_number: int, *, rows: int, columns: int, aspect: float
) -> DisplayedArea:
    """What a presentation state shows of a frame.

    Args:
        state: The attributes of the presentation state.
        rows, columns: Of the image.
        aspect: Of its pixels, where the presentation state says nothing.
    """
    whole = DisplayedArea(0, 0, columns, rows, pixel_aspect=aspect)
    turned = replace(
        whole,
        quarters=(integer(state, "ImageRotation") or 0) // 90 % 4,
        flipped=text(state, "ImageHorizontalFlip") == "Y",
    )
    selections = items(state, "DisplayedAreaSelectionSequence")
    item = next((item for item in selections if applies_to(item, uid, frame_number)), None)
    return turned if item is None else _selected(turned, item)


def _selected(area: DisplayedArea, item: Attributes) -> DisplayedArea:
    first = numbers(item, "DisplayedAreaTopLeftHandCorner")
    last = numbers(item, "DisplayedAreaBottomRightHandCorner")
    if len(first) == 2 and len(last) == 2:
        # the corners are those after turning, so the first need not be the smaller one
        (left, right), (top, bottom) = (sorted(pair) for pair in zip(first, last, strict=True))
        area = replace(area, left=left - 1, top=top - 1, right=right, bottom=bottom)
    spacing = numbers(item, "PresentationPixelSpacing")
    ratio = numbers(item, "PresentationPixelAspectRatio")
    pair = spacing if len(spacing) == 2 else ratio
    if len(pair) == 2 and min(pair) > 0:
        aspect = min(max(pair[0] / pair[1], 1 / _MAX_ASPECT), _MAX_ASPECT)
        area = replace(area, pixel_aspect=aspect)
    magnification = number(item, "PresentationPixelMagnificationRatio")
    if text(item, "PresentationSizeMode") == "MAGNIFY" and magnification and magnification > 0:
        area = replace(area, magnification=min(magnification, _MAX_MAGNIFICATION))
    return area


@dataclass(frozen=True, slots=True)
class Placement:
    """Where pixels of an image come to lie in a picture of it.

    Attributes:
        width, height: Of the picture.
    """

    area: DisplayedArea
    width: int
    height: int

    def points(self, pixels: Points) -> Points:
        """Places in the picture of points of the image, both counted from their corners."""
        area = self.area
        x = (pixels[:, 0] - area.left) / (area.right - area.left)
        y = (pixels[:, 1] - area.top) / (area.bottom - area.top)
        for _ in range(area.quarters):
            x, y = 1 - y, x
        if area.flipped:
            x = 1 - x
        return np.stack([x * self.width, y * self.height], axis=1)

    def fractions(self, fractions: Points) -> Points:
        """Places of points that are given as fractions of the displayed area."""
        places: Points = fractions * (self.width, self.height)
        return places

    @property
    def scale(self) -> float:
        """Pixels of the picture to one of the image, on average."""
        area = self.area
        pixels = (area.right - area.left) * (area.bottom - area.top)
        return float((self.width * self.height / pixels) ** 0.5)


def placement(area: DisplayedArea, viewport: Viewport | None) -> Placement:
    """As large as fits into a viewport, or as the presentation state says."""
    width, height = area.natural_size
    if viewport is None:
        scale = min(1.0, MAX_SIDE / width, MAX_SIDE / height, (MAX_PIXELS / width / height) ** 0.5)
    else:
        scale = min(viewport.width / width, viewport.height / height)
    return Placement(area, max(1, round(width * scale)), max(1, round(height * scale)))


Box = tuple[int, int, int, int]
Cut = Callable[[Box, tuple[int, int]], Pixels]
"""A box of the image, left, top, right and bottom, in so many columns and rows."""


def place(picture: Picture, placed: Placement) -> Picture:
    """The displayed area of a picture of the whole image; what lies outside of it is black."""

    def cut(box: Box, size: tuple[int, int]) -> Pixels:
        left, top, right, bottom = box
        return _scaled(picture.pixels[top:bottom, left:right], *size)

    pixels = laid_out(cut, placed, columns=picture.columns, rows=picture.rows)
    return replace(picture, pixels=pixels)


def laid_out(cut: Cut, placed: Placement, *, columns: int, rows: int) -> Pixels:
    """As `place`, of an image of which only the part that is needed is at hand.

    Args:
        cut: Gives it.
        columns, rows: Of the image.
    """
    area = placed.area
    left, top = max(0, floor(area.left)), max(0, floor(area.top))
    right, bottom = min(columns, ceil(area.right)), min(rows, ceil(area.bottom))
    if left >= right or top >= bottom:
        return np.zeros((placed.height, placed.width), np.uint8)
    corners = placed.points(np.array([[left, top], [right, bottom]], np.float64))
    first, last = np.rint(corners.min(axis=0)), np.rint(corners.max(axis=0))
    x, y = (int(value) for value in first)
    width, height = (max(1, int(value)) for value in last - first)
    size = (height, width) if area.quarters % 2 else (width, height)
    pixels = _turned(cut((left, top, right, bottom), size), area)
    shape = (placed.height, placed.width, *pixels.shape[2:])
    if pixels.shape == shape:
        return np.ascontiguousarray(pixels)
    whole = np.zeros(shape, np.uint8)
    room = whole[y : y + height, x : x + width]
    room[...] = pixels[: room.shape[0], : room.shape[1]]
    return whole


def _turned(pixels: Pixels, area: DisplayedArea) -> Pixels:
    turned = np.rot90(pixels, -area.quarters) if area.quarters else pixels
    return turned[:, ::-1] if area.flipped else turned


def _scaled(pixels: Pixels, width: int, height: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0))
