"""Display Shutters and Bitmap Display Shutters (PS3.3 sections C.7.6.11 and C.7.6.15)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import color, elements, overlays
from bfr_dicomweb.rendering.elements import Attributes
from bfr_dicomweb.rendering.overlays import Overlay
from bfr_dicomweb.rendering.picture import Pixels

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Edges of what stays visible, in pixels from 1, themselves included."""

    left: int
    right: int
    upper: int
    lower: int


@dataclass(frozen=True, slots=True)
class Circle:
    """What stays visible; the center is in pixels from 1, the radius in pixels."""

    center_row: float
    center_column: float
    radius: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """What stays visible; (row, column) of each vertex, in pixels from 1."""

    vertices: tuple[tuple[float, float], ...]


Shape = Rectangle | Circle | Polygon


@dataclass(frozen=True, slots=True)
class Shutters:
    """Together they leave visible what each of them does.

    Attributes:
        bitmap: What it has set is hidden.
        gray: What is hidden is shown as this, a P-value of 0 black to 65535 white.
        color: Instead of `gray`, on an image of colours: red, green and blue.
    """

    shapes: tuple[Shape, ...] = ()
    bitmap: Overlay | None = None
    gray: int = 0
    color: tuple[int, int, int] | None = None


def read_shutters(source: StoredObject, attributes: Attributes, index: int) -> Shutters | None:
    """The shutters of a data set, or of an item of the functional group; None: it has none.

    Args:
        source: The object that `attributes` are of; it holds the bitmap.
        attributes: What may hold the Display Shutter and Bitmap Display Shutter modules.
        index: Of the frame, from 0.
    """
    names = [str(name).strip().upper() for name in elements.values(attributes, "ShutterShape")]
    shapes = tuple(shape for name in names if (shape := _shape(attributes, name)) is not None)
    group = elements.integer(attributes, "ShutterOverlayGroup")
    bitmap = None
    if group is not None and (not names or "BITMAP" in names):
        bitmap = overlays.read_overlay(source, group, index)
    if not shapes and bitmap is None:
        return None
    lab = elements.integers(attributes, "ShutterPresentationColorCIELabValue")
    gray = elements.integer(attributes, "ShutterPresentationValue") or 0
    return Shutters(
        shapes=shapes,
        bitmap=bitmap,
        gray=min(max(gray, 0), 0xFFFF),
        color=color.rgb_of_lab(lab) if len(lab) == 3 else None,
    )


def _shape(attributes: Attributes, name: str) -> Shape | None:
    if name == "RECTANGULAR":
        edges = [
            elements.integer(attributes, f"Shutter{edge}Edge")
            for edge in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
        ]
        left, right, upper, lower = edges
        if left is None or right is None or upper is None or lower is None:
            return None
        return Rectangle(left, right, upper, lower)
    if name == "CIRCULAR":
        center = elements.numbers(attributes, "CenterOfCircularShutter")
        radius = elements.number(attributes, "RadiusOfCircularShutter")
        if len(center) != 2 or radius is None:
            return None
        return Circle(center[0], center[1], radius)
    if name == "POLYGONAL":
        flat = elements.numbers(attributes, "VerticesOfThePolygonalShutter")
        vertices = tuple(zip(flat[::2], flat[1::2], strict=False))
        return Polygon(vertices) if len(vertices) > 2 else None
    return None


def hidden(shutters: Shutters, rows: int, columns: int) -> Mask:
    """What of an image of this size is hidden."""
    visible = np.ones((rows, columns), np.bool_)
    for shape in shutters.shapes:
        visible &= _visible(shape, rows, columns)
    bitmap = shutters.bitmap
    if bitmap is not None:
        over = np.zeros((rows, columns), np.uint8)
        visible &= overlays.drawn(over, (bitmap,)) == 0
    return ~visible


def _visible(shape: Shape, rows: int, columns: int) -> Mask:
    if isinstance(shape, Rectangle):
        visible = np.zeros((rows, columns), np.bool_)
        top, left = max(shape.upper - 1, 0), max(shape.left - 1, 0)
        visible[top : max(shape.lower, 0), left : max(shape.right, 0)] = True
        return visible
    if isinstance(shape, Circle):
        down = np.arange(1, rows + 1)[:, np.newaxis] - shape.center_row
        across = np.arange(1, columns + 1)[np.newaxis, :] - shape.center_column
        found: Mask = down * down + across * across <= shape.radius * shape.radius
        return found
    image = Image.new("1", (columns, rows))
    vertices = [(column - 1, row - 1) for row, column in shape.vertices]
    ImageDraw.Draw(image).polygon(vertices, fill=1, outline=1)
    return np.asarray(image)


def closed(pixels: Pixels, shutters: Shutters) -> Pixels:
    """The picture with all hidden that its shutters hide."""
    mask = hidden(shutters, pixels.shape[0], pixels.shape[1])
    gray = (shutters.gray * 255 + 0x7FFF) // 0xFFFF
    pixels = pixels.copy()
    if pixels.ndim == 3 and shutters.color is not None:
        pixels[mask] = shutters.color
    else:
        pixels[mask] = gray
    return pixels
