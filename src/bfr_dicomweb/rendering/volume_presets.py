"""What values look like in volume rendering: opacity and colour, by modality."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.rendering.grayscale import Rescale
from bfr_dicomweb.rendering.volume import Volume

Table = npt.NDArray[np.float32]
# Value, opacity of one unit of the way, and red, green and blue from 0 to 1.
Points = tuple[tuple[float, float, float, float, float], ...]

# Hounsfield units: skin and muscle as a haze, enhanced vessels reddish, bone like ivory.
CT: Final[Points] = (
    (-300.0, 0.0, 0.60, 0.35, 0.25),
    (-100.0, 0.004, 0.75, 0.45, 0.35),
    (60.0, 0.02, 0.80, 0.45, 0.35),
    (130.0, 0.03, 0.85, 0.45, 0.32),
    (220.0, 0.30, 0.95, 0.80, 0.62),
    (500.0, 0.75, 1.00, 0.95, 0.84),
    (1500.0, 0.95, 1.00, 1.00, 0.97),
)
# Share of the values above the background, for modalities whose values have no scale.
_SHARES_MR: Final[Points] = (
    (0.10, 0.0, 0.45, 0.40, 0.38),
    (0.35, 0.06, 0.62, 0.55, 0.50),
    (0.80, 0.22, 0.85, 0.80, 0.75),
    (0.99, 0.60, 1.00, 1.00, 0.98),
)
_SHARES_HOT: Final[Points] = (
    (0.30, 0.0, 0.30, 0.05, 0.02),
    (0.70, 0.03, 0.75, 0.20, 0.05),
    (0.95, 0.20, 1.00, 0.65, 0.15),
    (0.999, 0.80, 1.00, 1.00, 0.80),
)
_HOT_MODALITIES: Final = frozenset({"PT", "NM"})


@dataclass(frozen=True, slots=True)
class TransferFunction:
    """Straight between its points; below the first one nothing is seen."""

    points: Points

    @property
    def low(self) -> float:
        return self.points[0][0]

    @property
    def high(self) -> float:
        return self.points[-1][0]

    def entries(
        self, voxels: npt.NDArray[np.float32], rescale: Rescale, count: int
    ) -> npt.NDArray[np.uint16]:
        """Places in tables of `count` entries: the first is `low`, the last `high`."""
        per_value = (count - 1) / (self.high - self.low)
        scaled = voxels * np.float32(rescale.slope * per_value)
        scaled += np.float32((rescale.intercept - self.low) * per_value)
        np.clip(np.nan_to_num(scaled, copy=False), 0, count - 1, out=scaled)
        return scaled.astype(np.uint16)

    def tables(self, count: int, way: float) -> tuple[Table, Table]:
        """
        Args:
            way: Through a voxel, in the units that opacities are given for.

        Returns:
            Opacity, shape (count,), and colours, shape (3, count).
        """
        values = np.linspace(self.low, self.high, count)
        at = [point[0] for point in self.points]
        opacity, *colors = (
            np.interp(values, at, [point[k] for point in self.points]) for k in range(1, 5)
        )
        along = 1.0 - (1.0 - opacity) ** way
        return along.astype(np.float32), np.stack(colors).astype(np.float32)


def transfer_function_of(volume: Volume) -> TransferFunction:
    """The one of the modality: CT by its values, others by how common their values are."""
    if volume.modality == "CT":
        return TransferFunction(CT)
    shares = _SHARES_HOT if volume.modality in _HOT_MODALITIES else _SHARES_MR
    values = np.sort(volume.surveyed)
    if not values.size or values[0] == values[-1]:
        return TransferFunction(((0.0, 0.0, 1.0, 1.0, 1.0), (1.0, 0.5, 1.0, 1.0, 1.0)))
    foreground = values[values > _background(values)]
    if not foreground.size:
        foreground = values
    found: list[tuple[float, float, float, float, float]] = []
    for share, *look in shares:
        value = float(np.quantile(foreground, share))
        if found and value <= found[-1][0]:
            value = float(np.nextafter(np.float32(found[-1][0]), np.float32(np.inf)))
        opacity, red, green, blue = look
        found.append((value, opacity, red, green, blue))
    return TransferFunction(tuple(found))


def _background(values: npt.NDArray[np.float64]) -> float:
    """Up to where values are background: what parts the values best in two (Otsu's method)."""
    low, high = values[0], np.quantile(values, 0.995)
    if high <= low:
        return float(low)
    counts, edges = np.histogram(values, bins=256, range=(low, high))
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = sums / below - (sums[-1] - sums) / above
    between = np.nan_to_num(below * above * apart**2)
    return float(edges[int(between.argmax()) + 1])
