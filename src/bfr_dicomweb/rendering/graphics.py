"""Lines, areas and texts drawn over a picture, with smooth edges.

Points are (x, y) in pixels of the picture, shape (n, 2): (0, 0) is the corner of the first
pixel and (0.5, 0.5) its center. What lies outside of the picture may be drawn too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, hypot
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from bfr_dicomweb.errors import TooLarge
from bfr_dicomweb.rendering.annotation import runs
from bfr_dicomweb.rendering.picture import Picture, Pixels

Points = npt.NDArray[np.float64]
Mask = npt.NDArray[np.uint8]
Rgb = tuple[int, int, int]

WHITE: Final = (255, 255, 255)
BLACK: Final = (0, 0, 0)
# Points of one figure; a curve in the sample files has 464.
MAX_POINTS: Final = 100_000
# Pieces that a circle or ellipse is drawn in, and one piece of a spline.
_ARC_PIECES: Final = 128
_SPLINE_PIECES: Final = 12
# Sides up to which a pixel is drawn in 3 x 3 and in 2 x 2 parts.
_FINEST: Final = 1400
_FINE: Final = 3000
_MAX_LETTERING: Final = 1 << 25
_MAX_LINES: Final = 100


@dataclass(frozen=True, slots=True)
class Stroke:
    """
    Attributes:
        width: In pixels of the picture.
        dash: Lengths of a dash and of the gap behind it, in pixels; None: a solid line.
        opacity: From 0 to 1.
    """

    color: Rgb = WHITE
    width: float = 1.5
    dash: tuple[float, float] | None = None
    opacity: float = 1.0


def stroke_width(columns: int, rows: int) -> float:
    """A width of lines that is seen and hides little, in a picture of this size."""
    return max(1.5, max(columns, rows) / 600)


class Drawing:
    """A picture that is being drawn upon; greys become colours where a colour is drawn."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._is_own = False
        side = max(picture.rows, picture.columns)
        self._parts = 3 if side <= _FINEST else 2 if side <= _FINE else 1

    @property
    def picture(self) -> Picture:
        return self._picture

    def become(self, pixels: Pixels) -> None:
        """Go on with other pixels, in the same size."""
        self._picture, self._is_own = replace(self._picture, pixels=pixels), False

    def line(self, points: Points, stroke: Stroke) -> None:
        """Through all points; closed if the last one is the first."""
        pieces = [points] if stroke.dash is None else dashes(points, *stroke.dash)
        with_ends = [piece for piece in pieces if len(piece) > 1]
        if not with_ends:
            return
        canvas = _Canvas(self._picture, with_ends, self._parts, margin=stroke.width + 1)
        for piece in with_ends:
            canvas.line(piece, stroke.width)
        self._lay(canvas, stroke.color, stroke.opacity)

    def area(self, points: Points, color: Rgb, opacity: float = 1.0) -> None:
        if len(points) > 2:
            canvas = _Canvas(self._picture, [points], self._parts, margin=1)
            canvas.area(points)
            self._lay(canvas, color, opacity)

    def dots(self, points: Points, stroke: Stroke) -> None:
        """A disk around each point, three lines wide."""
        if len(points):
            canvas = _Canvas(self._picture, [points], self._parts, margin=2 * stroke.width + 1)
            for point in points:
                canvas.area(circle(point, 1.5 * stroke.width, pieces=16))
            self._lay(canvas, stroke.color, stroke.opacity)

    def mask(self, mask: Mask, color: Rgb, *, left: int = 0, top: int = 0) -> None:
        """Where the mask is 255 the picture gets this colour; between, a mixture."""
        rows, columns = self._picture.rows, self._picture.columns
        first_row, first_column = max(0, -top), max(0, -left)
        part = mask[first_row : max(0, rows - top), first_column : max(0, columns - left)]
        touched = Image.fromarray(np.ascontiguousarray(part)).getbbox() if part.size else None
        if touched is None:
            return
        part = part[touched[1] : touched[3], touched[0] : touched[2]]
        pixels = self._writable(color)
        top, left = top + first_row + touched[1], left + first_column + touched[0]
        area = pixels[top : top + part.shape[0], left : left + part.shape[1]]
        weight = part.astype(np.uint16)
        drawn: tuple[int, ...] = color
        if pixels.ndim == 3:
            weight = weight[:, :, np.newaxis]
        else:
            drawn = color[:1]
        mixed = area * (255 - weight) + np.array(drawn, np.uint16).squeeze() * weight
        area[...] = ((mixed + 127) // 255).astype(np.uint8)

    def text(self, lettering: "Lettering", color: Rgb, *, left: float, top: float) -> None:
        """With a thin dark edge, so that it is legible on white too."""
        x, y = round(left) - lettering.margin, round(top) - lettering.margin
        self.mask(lettering.edge, BLACK, left=x, top=y)
        self.mask(lettering.letters, color, left=x, top=y)

    def _writable(self, color: Rgb) -> Pixels:
        """The pixels, those of a copy, with colours if this one is no grey."""
        pixels = self._picture.pixels
        if not self._picture.is_color and len(set(color)) > 1:
            pixels = np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
        elif not self._is_own:
            pixels = np.array(pixels)
        self._is_own = True
        self._picture = replace(self._picture, pixels=pixels)
        return pixels

    def _lay(self, canvas: "_Canvas", color: Rgb, opacity: float) -> None:
        mask = canvas.mask()
        if opacity < 1:
            mask = (mask * max(0.0, opacity)).astype(np.uint8)
        self.mask(mask, color, left=canvas.left, top=canvas.top)


class _Canvas:
    """The part of a picture that some figures touch, in finer pixels."""

    def __init__(
        self, picture: Picture, figures: Sequence[Points], parts: int, *, margin: float
    ) -> None:
        low = np.min([figure.min(axis=0) for figure in figures], axis=0) - margin
        high = np.max([figure.max(axis=0) for figure in figures], axis=0) + margin
        size = (picture.columns, picture.rows)
        first = [int(np.clip(np.floor(low[axis]), 0, size[axis])) for axis in (0, 1)]
        last = [int(np.clip(np.ceil(high[axis]), 0, size[axis])) for axis in (0, 1)]
        self.left, self.top = first
        self._parts = parts
        width, height = max(0, last[0] - first[0]), max(0, last[1] - first[1])
        self._image = Image.new("L", (width * parts, height * parts))
        self._draw = ImageDraw.Draw(self._image)

    def _places(self, points: Points) -> list[tuple[float, float]]:
        # Pillow's (0, 0) is the center of a pixel; far away points would overflow its integers
        places = (points - (self.left, self.top)) * self._parts - 0.5
        clipped = np.clip(places, -100_000, 100_000)
        return [(float(x), float(y)) for x, y in clipped]

    def line(self, points: Points, width: float) -> None:
        fine = max(1, round(width * self._parts))
        self._draw.line(self._places(points), fill=255, width=fine, joint="curve")

    def area(self, points: Points) -> None:
        self._draw.polygon(self._places(points), fill=255)

    def mask(self) -> Mask:
        if not self._image.width or not self._image.height:
            return np.zeros((0, 0), np.uint8)
        image = self._image if self._parts == 1 else self._image.reduce(self._parts)
        return np.asarray(image)


@dataclass(frozen=True, slots=True, eq=False)
class Lettering:
    """A text as masks of one size, drawn letters 255.

    Attributes:
        edge: A line around the letters.
        margin: What the masks are larger by at each side, in pixels.
    """

    letters: Mask
    edge: Mask
    margin: int

    @property
    def width(self) -> int:
        return int(self.letters.shape[1]) - 2 * self.margin

    @property
    def height(self) -> int:
        return int(self.letters.shape[0]) - 2 * self.margin

    def turned(self, quarters: int) -> "Lettering":
        """Turned clockwise by quarters of a circle."""
        letters, edge = (np.rot90(mask, -quarters) for mask in (self.letters, self.edge))
        return Lettering(letters, edge, self.margin)


def lettering(text: str, size: int, *, align: str = "left") -> Lettering:
    """
    Args:
        text: In lines, by line feeds.
        size: Of the letters, in pixels.
        align: left, center or right; of the lines to each other.
    """
    lines = [list(runs(line, size)) for line in text.split("\n")[:_MAX_LINES]]
    widths = [ceil(sum(font.getlength(part) for part, font in line)) for line in lines]
    width, step, margin = max(1, *widths), round(size * 1.25), max(1, size // 14)
    height = step * len(lines)
    if width * height > _MAX_LETTERING:
        raise TooLarge("a text of the presentation state is too long to be shown")
    image = Image.new("L", (width + 2 * margin, height + 2 * margin))
    draw = ImageDraw.Draw(image)
    share = {"center": 0.5, "right": 1.0}.get(align, 0.0)
    for number, line in enumerate(lines):
        left = margin + share * (width - widths[number])
        for part, font in line:
            draw.text((left, margin + step * number + size), part, 255, font, anchor="ls")
            left += font.getlength(part)
    edge = image.filter(ImageFilter.MaxFilter(2 * margin + 1))
    return Lettering(np.asarray(image), np.asarray(edge), margin)


def circle(center: Points, radius: float, *, pieces: int = _ARC_PIECES) -> Points:
    return ellipse(center, np.array([radius, 0.0]), np.array([0.0, radius]), pieces=pieces)


def ellipse(center: Points, major: Points, minor: Points, *, pieces: int = _ARC_PIECES) -> Points:
    """A closed line; the half axes point from the center to the line."""
    angles = np.linspace(0.0, 2 * np.pi, pieces + 1)[:, np.newaxis]
    line: Points = center + np.cos(angles) * major + np.sin(angles) * minor
    return line


def spline(points: Points) -> Points:
    """A smooth line through all points (Catmull-Rom); closed if the last one is the first."""
    if len(points) < 3:
        return points
    if np.array_equal(points[0], points[-1]):
        before, after = points[-2], points[1]
    else:
        before, after = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
    knots = np.vstack([before, points, after])
    p0, p1, p2, p3 = (knots[start : len(knots) - 3 + start, np.newaxis] for start in range(4))
    t = np.linspace(0.0, 1.0, _SPLINE_PIECES, endpoint=False)[np.newaxis, :, np.newaxis]
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return np.vstack([curve.reshape(-1, 2), points[-1]])


def dashes(points: Points, dash: float, gap: float) -> list[Points]:
    """The line in pieces of length `dash`, `gap` apart."""
    if len(points) < 2 or dash <= 0 or gap <= 0:
        return [points]
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = ceil(along[-1] / (dash + gap))
    if count > MAX_POINTS:
        return [points]
    pieces = []
    for number in range(count):
        start = number * (dash + gap)
        stop = min(start + dash, float(along[-1]))
        inner = along[(along > start) & (along < stop)]
        places = np.concatenate([[start], inner, [stop]])
        x, y = (np.interp(places, along, points[:, axis]) for axis in (0, 1))
        pieces.append(np.stack([x, y], axis=1))
    return pieces


def length(vector: Points) -> float:
    return hypot(float(vector[0]), float(vector[1]))
