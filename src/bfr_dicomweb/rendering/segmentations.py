"""Segmentations over the images that they were made of (PS3.3 section A.51)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.rendering.backdrop import Backdrop
from bfr_dicomweb.rendering.color import rgb_of_lab
from bfr_dicomweb.rendering.elements import Attributes, integer, items, number, numbers, text
from bfr_dicomweb.rendering.graphics import Drawing, Rgb
from bfr_dicomweb.rendering.legend import Entry, draw_legend
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.planes import FunctionalGroups
from bfr_dicomweb.rendering.references import Images, Target
from bfr_dicomweb.rendering.source_frames import SourceFrames, laid_over

Mask = npt.NDArray[np.uint8]

SEGMENTATION: Final = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEGMENTATION: Final = "1.2.840.10008.5.1.4.1.1.66.7"

# How much of the image a segment hides: inside, and at its edge.
FILL: Final = 0.35
EDGE: Final = 0.95
# Easily told apart, also on greys; then around the circle of hues.
_COLORS: Final[tuple[Rgb, ...]] = (
    (230, 75, 60),
    (60, 180, 75),
    (255, 200, 30),
    (70, 130, 255),
    (245, 130, 48),
    (190, 90, 230),
    (70, 230, 230),
    (240, 80, 200),
    (200, 240, 70),
    (250, 170, 170),
    (0, 150, 140),
    (200, 160, 255),
)


@dataclass(frozen=True, slots=True)
class Segment:
    number: int
    label: str
    color: Rgb


def segments_of(attributes: Attributes) -> dict[int, Segment]:
    """The segments by their number."""
    found = {}
    for place, item in enumerate(items(attributes, "SegmentSequence")):
        segment = integer(item, "SegmentNumber") or 0
        lab = numbers(item, "RecommendedDisplayCIELabValue")
        color = rgb_of_lab([int(value) for value in lab]) if len(lab) == 3 else color_at(place)
        found[segment] = Segment(segment, text(item, "SegmentLabel"), color)
    return found


def segment_of(segments: Mapping[int, Segment], number: int) -> Segment:
    """The segment of a number, even if nothing describes it."""
    return segments.get(number) or Segment(number, "", color_at(max(0, number - 1)))


def color_at(place: int) -> Rgb:
    """A colour for the segment, region or curve of this place, from 0."""
    return _COLORS[place % len(_COLORS)]


class Segmentation:
    """A segmentation with its images; see `references.Showing`."""

    def __init__(self, stored: StoredObject, images: Images) -> None:
        self._stored = stored
        self._images = images
        self._masks_of = SegmentMasks(stored)
        self._segments = segments_of(stored.attributes)
        self._sources = SourceFrames(stored, images)
        self.left_out = self._sources.left_out
        self.targets = tuple(self._sources.pictures)

    def picture(self, target: Target, rendering: Rendering) -> Picture:
        under = self._sources.pictures[target]
        backdrop = self._backdrop(target, rendering)
        rows, columns = backdrop.whole.rows, backdrop.whole.columns
        drawing = Drawing(backdrop.placed())
        shown = []
        for segment_number, mask in self._masks(under.indices):
            plane = self._sources.planes[under.indices[0]]
            over = laid_over(mask, plane, under.plane, rows=rows, columns=columns)
            if over is not None and over.any():
                segment = segment_of(self._segments, segment_number)
                fill(drawing, backdrop.placed(over).pixels, segment.color)
                shown.append(Entry(segment.label, segment.color))
        draw_legend(drawing, shown)
        return backdrop.finished(drawing.picture)

    def _backdrop(self, target: Target, rendering: Rendering) -> Backdrop:
        index = target.frame_number - 1
        if target.sop_instance_uid == text(self._stored.attributes, "SOPInstanceUID"):
            return Backdrop.black(self._stored, index, rendering)
        return Backdrop.of_frame(self._images[target.sop_instance_uid], index, rendering)

    def _masks(self, indices: Sequence[int]) -> Iterator[tuple[int, Mask]]:
        """Each segment of some frames with what it covers, 0 to 255."""
        found: dict[int, Mask] = {}
        for index in indices:
            for segment, mask in self._masks_of.frame(index):
                known = found.get(segment)
                found[segment] = mask if known is None else np.maximum(known, mask)
        for segment in sorted(found):
            yield segment, found[segment]


class SegmentMasks:
    """What the segments of a segmentation cover, frame by frame."""

    def __init__(self, stored: StoredObject) -> None:
        self._stored = stored
        self._groups = FunctionalGroups(stored.attributes)
        self._background_is_zero = not _is_foreground(segments_of(stored.attributes).get(0))
        self.is_label_map = text(stored.attributes, "SegmentationType") == "LABELMAP"

    def frame(self, index: int) -> Iterator[tuple[int, Mask]]:
        """The number of each segment of a frame, and 0 to 255 for each of its pixels.

        Raises:
            UndecodablePixelData: the frame cannot be decoded.
        """
        samples = self._stored.samples(index)
        if samples.ndim != 2 or samples.dtype.kind == "f":
            raise UndecodablePixelData("the pixel data are those of no segmentation")
        if self.is_label_map:
            yield from self._labelled(samples)
            return
        segment = self._groups.group(index, "SegmentIdentificationSequence")
        yield integer(segment, "ReferencedSegmentNumber") or 1, self._covered(samples)

    def _covered(self, samples: npt.NDArray[Any]) -> Mask:
        if text(self._stored.attributes, "SegmentationType") == "FRACTIONAL":
            highest = number(self._stored.attributes, "MaximumFractionalValue") or 255.0
            return np.minimum(samples * (255.0 / highest), 255.0).astype(np.uint8)
        return np.where(samples != 0, np.uint8(255), np.uint8(0))

    def _labelled(self, samples: npt.NDArray[Any]) -> Iterator[tuple[int, Mask]]:
        """All but the background: what Pixel Padding Value says, and 0 unless it is a segment."""
        background = {integer(self._stored.attributes, "PixelPaddingValue")}
        if self._background_is_zero:
            background.add(0)
        for value in np.unique(samples).tolist():
            if value not in background:
                yield value, (samples == value) * np.uint8(255)


def _is_foreground(segment: Segment | None) -> bool:
    return segment is not None and segment.label.strip().lower() != "background"


def fill(drawing: Drawing, mask: Mask, color: Rgb) -> None:
    """Show what a mask covers, 0 to 255: half transparent, with an edge around."""
    drawing.mask((mask * FILL).astype(np.uint8), color)
    inside = Image.fromarray(np.where(mask > 127, np.uint8(255), np.uint8(0)))
    width = 1 + 2 * ceil(max(mask.shape) / 1500)
    # what lies at the border of the picture has no edge there
    padded = np.pad(np.asarray(inside), width, mode="edge")
    smaller = np.asarray(Image.fromarray(padded).filter(ImageFilter.MinFilter(width)))
    inner = smaller[width:-width, width:-width]
    drawing.mask(((np.asarray(inside) - inner) * EDGE).astype(np.uint8), color)
