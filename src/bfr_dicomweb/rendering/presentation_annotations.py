"""Texts and graphics of presentation states (PS3.3 sections C.10.5 and C.10.7).

Compound graphics are not read: whoever writes them also writes them as the plain texts and
graphics that are drawn here (section C.10.5).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import graphics
from bfr_dicomweb.rendering.color import rgb_of_lab
from bfr_dicomweb.rendering.elements import (
    Attributes,
    element,
    first_item,
    integer,
    items,
    number,
    numbers,
    text,
)
from bfr_dicomweb.rendering.graphics import Drawing, Rgb, Stroke
from bfr_dicomweb.rendering.presentation_geometry import Placement
from bfr_dicomweb.rendering.references import applies_to

Points = npt.NDArray[np.float64]

# Of a text without a box, as a part of the picture's longer side; and the smallest ones.
_USUAL_SIZE: Final = 1 / 32
_SMALLEST: Final = 9
_LARGEST: Final = 160
_MAX_TEXT: Final = 10_240
# Whole patterns would have to be seen; a dash and a gap are as long as this many lines are wide.
_DASH: Final = 4.0
_MAX_WIDTH: Final = 64.0


@dataclass(frozen=True, slots=True)
class Layer:
    """A graphic layer: `order` from below to above."""

    name: str
    order: int
    color: Rgb


def layers(state: Attributes) -> dict[str, Layer]:
    """The layers by name, from below to above."""
    found = [
        Layer(text(item, "GraphicLayer"), integer(item, "GraphicLayerOrder") or 0, _color(item))
        for item in items(state, "GraphicLayerSequence")
    ]
    return {layer.name: layer for layer in sorted(found, key=lambda layer: layer.order)}


def _color(layer: Attributes) -> Rgb:
    lab = numbers(layer, "GraphicLayerRecommendedDisplayCIELabValue")
    if len(lab) == 3:
        return rgb_of_lab([int(value) for value in lab])
    red_green_blue = numbers(layer, "GraphicLayerRecommendedDisplayRGBValue")  # retired
    if len(red_green_blue) == 3:
        red, green, blue = (_byte(value) for value in red_green_blue)
        return red, green, blue
    gray = number(layer, "GraphicLayerRecommendedDisplayGrayscaleValue")
    return graphics.WHITE if gray is None else (_byte(gray),) * 3


def _byte(value: float) -> int:
    return round(min(max(value, 0.0), 65535.0) / 257)


class Annotator:
    """Draws the annotations of one presentation state over one of its images."""

    def __init__(
        self, stored: StoredObject, drawing: Drawing, placed: Placement, origin: tuple[int, int]
    ) -> None:
        """
        Args:
            stored: The presentation state.
            origin: Column and row of the image's first pixel in the Total Pixel Matrix, from 0,
                for coordinates in units of MATRIX.
        """
        self._stored = stored
        self._drawing = drawing
        self._placed = placed
        self._origin = origin
        self._width = graphics.stroke_width(placed.width, placed.height)

    def draw(self, layer: Layer, uid: str, frame_number: int) -> None:
        """What lies in a layer and is meant for this frame."""
        for annotation in items(self._stored.attributes, "GraphicAnnotationSequence"):
            in_layer = text(annotation, "GraphicLayer") == layer.name
            if in_layer and applies_to(annotation, uid, frame_number):
                for graphic in items(annotation, "GraphicObjectSequence"):
                    self._graphic(graphic, layer.color)
                for words in items(annotation, "TextObjectSequence"):
                    self._text(words, layer.color)

    def _graphic(self, item: Attributes, color: Rgb) -> None:
        points = self._coordinates(element(item, "GraphicData"))
        if not 0 < len(points) <= graphics.MAX_POINTS:
            return
        kind = text(item, "GraphicType")
        figure = self._places(_figure(kind, points), text(item, "GraphicAnnotationUnits"))
        stroke = self._stroke(first_item(item, "LineStyleSequence"), color)
        is_closed = len(figure) > 2 and np.allclose(figure[0], figure[-1])
        if text(item, "GraphicFilled") == "Y" and is_closed:
            fill = first_item(item, "FillStyleSequence")
            self._drawing.area(figure, _pattern_color(fill, color), _opacity(fill))
        if kind == "POINT":
            self._drawing.dots(figure, stroke)
        else:
            self._drawing.line(figure, stroke)

    def _coordinates(self, value: Attributes) -> Points:
        listed = value.get("Value")
        if isinstance(listed, list):
            flat = np.array([x for x in listed if isinstance(x, int | float)], np.float64)
        else:
            content = self._stored.content(value)
            flat = np.array(struct.unpack(f"<{len(content) // 4}f", content), np.float64)
        pairs = flat[: len(flat) // 2 * 2].reshape(-1, 2)
        return pairs[np.isfinite(pairs).all(axis=1)]

    def _places(self, points: Points, units: str) -> Points:
        if units == "DISPLAY":
            return self._placed.fractions(points)
        if units == "MATRIX":
            points = points - self._origin
        return self._placed.points(points)

    def _stroke(self, style: Attributes, color: Rgb) -> Stroke:
        width = number(style, "LineThickness")
        pixels = self._width if not width else min(max(width, 0.25) * self._width, _MAX_WIDTH)
        is_dashed = text(style, "LineDashingStyle") == "DASHED"
        dash = (_DASH * pixels, _DASH * pixels) if is_dashed else None
        return Stroke(_pattern_color(style, color), pixels, dash, _opacity(style))

    def _text(self, item: Attributes, color: Rgb) -> None:
        words = text(item, "UnformattedTextValue").replace("\r\n", "\n").replace("\r", "\n")
        box = _box(item)
        anchor = np.array(numbers(item, "AnchorPoint"))
        units = text(item, "AnchorPointAnnotationUnits")
        point = self._places(anchor[np.newaxis], units)[0] if anchor.size == 2 else None
        style = first_item(item, "TextStyleSequence")
        ink = _lab_color(style, "TextColorCIELabValue", color)
        shown = _Text(words[:_MAX_TEXT], ink, _alignment(item, style))
        if box is None:
            if point is not None:
                self._beside(point, shown)
            return
        units = text(item, "BoundingBoxAnnotationUnits")
        corners = self._places(box, units)
        self._boxed(corners, shown, self._quarters(corners, units))
        if point is not None and text(item, "AnchorPointVisibility") == "Y":
            nearest = np.clip(point, corners.min(axis=0), corners.max(axis=0))
            if graphics.length(nearest - point) > 1:
                self._drawing.line(np.stack([point, nearest]), Stroke(color, self._width))

    def _quarters(self, corners: Points, units: str) -> int:
        """Text runs from the first corner to the last, however the image is turned.

        Of an image that is flipped too it is kept from being mirrored.
        """
        area = self._placed.area
        if area.flipped and units != "DISPLAY":
            return area.quarters % 2
        right, down = (bool(later) for later in corners[1] >= corners[0])
        return {(True, True): 0, (False, True): 1, (False, False): 2, (True, False): 3}[right, down]

    def _usual_size(self) -> int:
        longer = max(self._placed.width, self._placed.height)
        return max(_SMALLEST, round(longer * _USUAL_SIZE))

    def _beside(self, point: Points, shown: "_Text") -> None:
        letters = shown.lettering(self._usual_size())
        gap = 2 * self._width
        left = min(point[0] + gap, self._placed.width - letters.width)
        top = min(point[1] + gap, self._placed.height - letters.height)
        self._drawing.text(letters, shown.color, left=max(0.0, left), top=max(0.0, top))

    def _boxed(self, corners: Points, shown: "_Text", quarters: int) -> None:
        low, high = corners.min(axis=0), corners.max(axis=0)
        width, height = high - low
        along, across = (height, width) if quarters % 2 else (width, height)
        size = shown.fitting(along, across, usual=self._usual_size())
        letters = shown.lettering(size).turned(quarters)
        room = np.array([width - letters.width, height - letters.height])
        # where the text begins in its own direction, turned along with it
        part = {"left": 0.0, "center": 0.5, "right": 1.0}[shown.align]
        share = {0: (part, 0.0), 1: (1.0, part), 2: (1 - part, 1.0), 3: (0.0, 1 - part)}[quarters]
        left, top = low + room * share
        self._drawing.text(letters, shown.color, left=float(left), top=float(top))


@dataclass(frozen=True, slots=True)
class _Text:
    words: str
    color: Rgb
    align: str

    def lettering(self, size: int) -> graphics.Lettering:
        return graphics.lettering(self.words, size, align=self.align)

    def fitting(self, width: float, height: float, *, usual: int) -> int:
        """The size that fills a box, but no smaller than can be read."""
        probe = self.lettering(40)
        fits = 40 * min(width / probe.width, height / probe.height)
        return int(min(max(fits, _SMALLEST, min(usual, height * 0.8) * 0.7), _LARGEST))


def _figure(kind: str, points: Points) -> Points:
    match kind:
        case "CIRCLE" if len(points) == 2:
            return graphics.circle(points[0], graphics.length(points[1] - points[0]))
        case "ELLIPSE" if len(points) == 4:
            center = (points[0] + points[1]) / 2
            major, minor = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
            return graphics.ellipse(center, major, minor)
        case "INTERPOLATED":
            return graphics.spline(points)
        case _:
            return points


def _box(item: Attributes) -> Points | None:
    names = ("BoundingBoxTopLeftHandCorner", "BoundingBoxBottomRightHandCorner")
    corners = [numbers(item, name) for name in names]
    return np.array(corners) if all(len(corner) == 2 for corner in corners) else None


def _alignment(item: Attributes, style: Attributes) -> str:
    named = text(style, "HorizontalAlignment") or text(
        item, "BoundingBoxTextHorizontalJustification"
    )
    return {"CENTER": "center", "RIGHT": "right"}.get(named, "left")


def _pattern_color(style: Attributes, color: Rgb) -> Rgb:
    return _lab_color(style, "PatternOnColorCIELabValue", color)


def _lab_color(style: Attributes, keyword: str, color: Rgb) -> Rgb:
    lab = numbers(style, keyword)
    return rgb_of_lab([int(value) for value in lab]) if len(lab) == 3 else color


def _opacity(style: Attributes) -> float:
    said = number(style, "PatternOnOpacity")
    return 1.0 if said is None else min(max(said, 0.0), 1.0)


def names_of_layers(state: Attributes) -> Iterator[str]:
    """The layers that something lies in, even if no layer of the name is described."""
    for annotation in items(state, "GraphicAnnotationSequence"):
        yield text(annotation, "GraphicLayer")
