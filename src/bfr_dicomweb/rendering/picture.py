"""What rendering gives: samples that can be shown as they are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, ready to be shown or encoded.

    Attributes:
        pixels: (rows, columns) of greys, 0 black and 255 white; or (rows, columns, 3) of red,
            green and blue. Pixels are square.
        icc_profile: Describes the colours; None: sRGB, and nothing says so.
    """

    pixels: Pixels
    icc_profile: bytes | None = None

    @property
    def rows(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def is_color(self) -> bool:
        return self.pixels.ndim == 3
