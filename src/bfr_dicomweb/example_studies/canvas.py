"""A slice to paint anatomy on: soft-edged shapes in millimetres."""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.floating[Any]]
Where = tuple[slice, slice]  # rows and columns of a canvas

EDGE_MM: Final = 0.9  # half the width over which an edge goes from one value to the other
WARP_MM: Final = 5.0


class Canvas:
    """One image whose pixels have coordinates in millimetres; what is painted last lies on top."""

    def __init__(
        self, x: Plane, y: Plane, background: float, *, warp: tuple[Plane, Plane] | None = None
    ) -> None:
        """Take the place of every pixel, shape (rows, columns), on an even grid.

        A warp, at most WARP_MM, is added to the coordinates in which shapes are painted.
        """
        self._plain_x, self._plain_y = x, y
        self.x: Plane = x if warp is None else x + warp[0]
        self.y: Plane = y if warp is None else y + warp[1]
        self.values = np.full(x.shape, background, np.float32)
        self._left, self._top = float(x[0, 0]), float(y[0, 0])
        self._spacing = float(x[0, 1] - x[0, 0])

    def near(self, centre: tuple[float, float], reach_mm: tuple[float, float]) -> Where:
        """The pixels so near a point, across and down."""
        return (
            self._span(centre[1] - self._top, reach_mm[1], self.y.shape[0]),
            self._span(centre[0] - self._left, reach_mm[0], self.x.shape[1]),
        )

    def _span(self, middle_mm: float, reach_mm: float, size: int) -> slice:
        first = int((middle_mm - reach_mm) / self._spacing)
        last = int((middle_mm + reach_mm) / self._spacing) + 2
        return slice(min(max(first, 0), size), min(max(last, 0), size))

    def blend(self, where: Where, inside_mm: Plane, value: float) -> None:
        """Paint `value` where the depth inside a shape is positive, softly at its edge."""
        weight = np.clip(inside_mm * (0.5 / EDGE_MM) + 0.5, 0, 1)
        part = self.values[where]
        part += (value - part) * weight

    def ellipse(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        value: float,
        *,
        degrees: float = 0.0,
        squareness: float = 0.0,
    ) -> None:
        """Paint an ellipse, turned clockwise; a squareness up to 1 fills its corners."""
        margin = EDGE_MM + WARP_MM
        reach = (max(radii), max(radii)) if degrees else radii
        where = self.near(centre, (reach[0] + margin, reach[1] + margin))
        x, y = self.x[where] - centre[0], self.y[where] - centre[1]
        if degrees:
            cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            x, y = x * cosine + y * sine, y * cosine - x * sine
        x, y = (x * (1 / radii[0])) ** 2, (y * (1 / radii[1])) ** 2
        radius = np.sqrt(x + y - squareness * x * y if squareness else x + y)
        self.blend(where, (1 - radius) * min(radii), value)

    def dots(self, points: Plane, value: float) -> None:
        """Paint round dots, which no warp moves; each row is x, y, radius (mm) and weight 0..1."""
        for x, y, radius, weight in points.tolist():
            where = self.near((x, y), (radius + EDGE_MM, radius + EDGE_MM))
            distance = np.hypot(self._plain_x[where] - x, self._plain_y[where] - y)
            depth = np.clip((radius - distance) * (0.5 / EDGE_MM) + 0.5, 0, 1)
            part = self.values[where]
            part += (value - part) * (depth * weight)


def smooth_noise(shape: tuple[int, int], blur_px: float, generator: np.random.Generator) -> Plane:
    """Noise of mean 0 and standard deviation 1 that wraps around, blurred by a Gaussian."""
    white = np.fft.rfft2(generator.standard_normal(shape))
    down, across = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    white *= np.exp(-2 * (np.pi * blur_px) ** 2 * (down**2 + across**2))
    white[0, 0] = 0
    noise = np.fft.irfft2(white, shape)
    return np.asarray(noise / noise.std(), np.float32)
