"""Overlay planes (PS3.3 section C.9.2), beside the pixel data or in its unused bits."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.picture import Pixels

GROUPS: Final = range(0x6000, 0x6020, 2)
MAX_SIDE: Final = 0xFFFF
_WHITE: Final = (255, 255, 255)
# Elements of the group
_ROWS: Final = 0x0010
_COLUMNS: Final = 0x0011
_FRAMES: Final = 0x0015
_TYPE: Final = 0x0040
_ORIGIN: Final = 0x0050
_FRAME_ORIGIN: Final = 0x0051
_BIT_POSITION: Final = 0x0102
_LABEL: Final = 0x1500
_DATA: Final = 0x3000


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """One plane, as it lies over one frame.

    Attributes:
        bits: What is set, shape (rows, columns).
        top, left: Of its first bit, in pixels of the image from 0; may lie outside of it.
        color: What set bits are shown as, red, green and blue. None: white on an image of greys.
        group: 0x6000 to 0x601E, even.
        is_roi: A region of interest, not graphics.
        label: Overlay Label, "" where there is none.
    """

    bits: npt.NDArray[np.bool_]
    top: int = 0
    left: int = 0
    color: tuple[int, int, int] | None = None
    group: int = 0x6000
    is_roi: bool = False
    label: str = ""


def read_overlays(source: StoredObject, index: int) -> tuple[Overlay, ...]:
    """All overlays of an image or presentation state that lie over one frame.

    What describes no plane, or one that is not there, is left out.

    Args:
        source: What holds them.
        index: Of the frame of the image, from 0.

    Raises:
        UndecodablePixelData: they lie in pixel data that cannot be decoded.
    """
    found = (read_overlay(source, group, index) for group in GROUPS)
    return tuple(overlay for overlay in found if overlay is not None)


def read_overlay(source: StoredObject, group: int, index: int) -> Overlay | None:
    """One overlay, as `read_overlays`; None: there is none over this frame."""
    plane = _Plane(source, group)
    if not plane.is_described:
        return None
    bits = plane.bits(index)
    if bits is None:
        return None
    top, left = plane.origin
    return Overlay(
        bits=bits,
        top=top,
        left=left,
        group=group,
        is_roi=plane.text(_TYPE) == "R",
        label=plane.text(_LABEL),
    )


class _Plane:
    """One group of overlay attributes."""

    def __init__(self, source: StoredObject, group: int) -> None:
        self._source = source
        self._group = group

    def _element(self, number: int) -> dict[str, Any]:
        found = self._source.attributes.get(f"{self._group:04X}{number:04X}")
        return found if isinstance(found, dict) else {}

    def _numbers(self, number: int) -> list[int]:
        values = self._element(number).get("Value") or []
        return [int(value) for value in values if isinstance(value, int | float)]

    def _number(self, number: int, otherwise: int) -> int:
        return next(iter(self._numbers(number)), otherwise)

    def text(self, number: int) -> str:
        values = self._element(number).get("Value") or [""]
        return str(values[0] or "").strip()

    @property
    def rows(self) -> int:
        return self._number(_ROWS, 0)

    @property
    def columns(self) -> int:
        return self._number(_COLUMNS, 0)

    @property
    def is_described(self) -> bool:
        return 0 < self.rows <= MAX_SIDE and 0 < self.columns <= MAX_SIDE

    @property
    def origin(self) -> tuple[int, int]:
        """Of the first bit, from 0."""
        row, column, *_ = [*self._numbers(_ORIGIN), 1, 1][:2]
        return row - 1, column - 1

    def bits(self, index: int) -> npt.NDArray[np.bool_] | None:
        if self._element(_DATA):
            return self._beside(index)
        return self._in_pixels(index)

    def _beside(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Bits of Overlay Data; one plane without Image Frame Origin lies over all frames."""
        size = self.rows * self.columns
        frame = 0
        if self._numbers(_FRAMES) or self._numbers(_FRAME_ORIGIN):
            count = self._number(_FRAMES, 1)
            frame = index + 1 - self._number(_FRAME_ORIGIN, 1)
            if not self._numbers(_FRAME_ORIGIN) and count == 1:
                frame = 0
            if not 0 <= frame < count:
                return None
        content = self._source.content(self._element(_DATA))
        first, last = frame * size, (frame + 1) * size
        if last > 8 * len(content):
            return None
        packed = np.frombuffer(content, np.uint8)[first // 8 : (last + 7) // 8]
        bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:size]
        return bits.view(np.bool_).reshape(self.rows, self.columns)

    def _in_pixels(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Bits that the samples leave unused, as it was done until 2004."""
        position = self._number(_BIT_POSITION, 0)
        frames = self._source.frames
        if frames is None or index >= frames.number_of_frames:
            return None
        described = self._source.description
        if not _holds_overlay(described, position):
            return None
        if frames.frame_bits not in (0, described.frame_bits):
            return None  # there will be no picture either
        words = self._source.stored_samples(index)
        found: npt.NDArray[np.bool_] = (words >> position & 1).astype(np.bool_)
        return found[: self.rows, : self.columns]


def _holds_overlay(described: PixelDescription, position: int) -> bool:
    return (
        described.samples_per_pixel == 1
        and described.bits_allocated in (8, 16, 32)
        and described.bits_stored <= position < described.bits_allocated
    )


def drawn(pixels: Pixels, overlays: tuple[Overlay, ...]) -> Pixels:
    """The picture with the overlays over it; one of greys gets colours if an overlay has any."""
    if not overlays:
        return pixels
    if pixels.ndim == 2 and any(_is_colored(overlay) for overlay in overlays):
        pixels = np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
    else:
        pixels = pixels.copy()
    for overlay in overlays:
        _draw(pixels, overlay)
    return pixels


def _is_colored(overlay: Overlay) -> bool:
    return overlay.color is not None and len(set(overlay.color)) > 1


def _draw(pixels: Pixels, overlay: Overlay) -> None:
    top, left = max(overlay.top, 0), max(overlay.left, 0)
    under = pixels[top:, left:]
    over = overlay.bits[top - overlay.top :, left - overlay.left :]
    over = over[: under.shape[0], : under.shape[1]]
    color = overlay.color or _WHITE
    shown = color if pixels.ndim == 3 else color[0]
    under[: over.shape[0], : over.shape[1]][over] = shown
