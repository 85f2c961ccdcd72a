"""Digital subtraction: what is taken away from a frame (PS3.3 section C.7.6.10)."""

from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.elements import Attributes, integer, numbers, text

Samples = npt.NDArray[Any]

# Averaged to be subtracted; more are no mask.
MAX_FRAMES: Final = 64
# Further a patient has not moved, in pixels.
_MAX_SHIFT: Final = 256.0


@dataclass(frozen=True, slots=True)
class Mask:
    """
    Attributes:
        indices: Frames that are averaged, from 0.
        down, right: By how many pixels the mask is moved.
    """

    indices: tuple[int, ...]
    down: float = 0.0
    right: float = 0.0

    def subtracted_from(self, samples: Samples, image: StoredObject) -> Samples:
        """
        Raises:
            UndecodablePixelData: a frame of the mask cannot be decoded.
        """
        known = [index for index in self.indices if 0 <= index < image.number_of_frames]
        if not known:
            return samples
        total = np.zeros(samples.shape, np.float32)
        for index in known[:MAX_FRAMES]:
            total += image.samples(index)
        total /= len(known[:MAX_FRAMES])
        mask = _moved(total, self.down, self.right)
        difference: Samples = samples - mask
        return difference


def read_mask(item: Attributes, frame_number: int) -> Mask | None:
    """What an item of a Mask Subtraction Sequence takes away from a frame; None: nothing."""
    ends = [int(end) for end in numbers(item, "ApplicableFrameRange")]
    ranges = list(zip(ends[::2], ends[1::2], strict=False))
    if ranges and not any(first <= frame_number <= last for first, last in ranges):
        return None
    operation = text(item, "MaskOperation")
    if operation == "TID":
        offset = integer(item, "TIDOffset")
        return Mask((frame_number - 1 - (1 if offset is None else offset),))
    if operation != "AVG_SUB":
        return None
    indices = tuple(int(number) - 1 for number in numbers(item, "MaskFrameNumbers"))
    shift = numbers(item, "MaskSubPixelShift")
    down, right = shift if len(shift) == 2 else (0.0, 0.0)
    if max(abs(down), abs(right)) > _MAX_SHIFT:
        down = right = 0.0
    return Mask(indices, down, right)


def _moved(mask: npt.NDArray[np.float32], down: float, right: float) -> npt.NDArray[np.float32]:
    """Moved by parts of a pixel; what comes in at an edge is as the edge is."""
    if not down and not right:
        return mask
    margin = ceil(max(abs(down), abs(right))) + 1
    image = Image.fromarray(np.pad(mask, margin, mode="edge"))
    moved = image.transform(
        image.size,
        Image.Transform.AFFINE,
        (1.0, 0.0, -right, 0.0, 1.0, -down),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(moved)[margin:-margin, margin:-margin]
