"""Segmentations of whole slides, over the slide that they were made of."""

from typing import Final

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import TooLarge
from bfr_dicomweb.rendering import slides
from bfr_dicomweb.rendering.annotation import annotate
from bfr_dicomweb.rendering.color import with_profile
from bfr_dicomweb.rendering.elements import text
from bfr_dicomweb.rendering.graphics import Drawing
from bfr_dicomweb.rendering.legend import Entry, draw_legend
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.planes import is_tiled
from bfr_dicomweb.rendering.references import WHOLE_SLIDE, Images, LeftOut, Reason, Target
from bfr_dicomweb.rendering.segmentations import (
    Mask,
    SegmentMasks,
    fill,
    segment_of,
    segments_of,
)
from bfr_dicomweb.rendering.slides import Matrix, TileCanvas
from bfr_dicomweb.rendering.source_frames import references_of
from bfr_dicomweb.rendering.viewport import Part

# Shown of a label map; each needs a canvas of its own.
_MAX_LABELS: Final = 64
Size = tuple[int, int]


class SlideSegmentation:
    """A segmentation in tiles with its slide; see `references.Showing`."""

    def __init__(self, stored: StoredObject, images: Images) -> None:
        self._stored = stored
        self._masks = SegmentMasks(stored)
        self._segments = segments_of(stored.attributes)
        references = references_of(stored)
        self.left_out = tuple(
            LeftOut(reference, Reason.NOT_STORED)
            for reference in references
            if reference.sop_instance_uid not in images
        )
        self._levels = [
            images[reference.sop_instance_uid]
            for reference in references
            if reference.sop_instance_uid in images
            and is_tiled(images[reference.sop_instance_uid].attributes)
        ]
        below = self._levels[0] if self._levels else stored
        self.targets: tuple[Target, ...] = (
            Target(text(below.attributes, "SOPInstanceUID"), WHOLE_SLIDE),
        )

    def picture(self, target: Target, rendering: Rendering) -> Picture:  # noqa: ARG002
        """All of the slide, or the part of it that the viewport names."""
        matrix = slides.matrix_of(self._stored, self._channels())
        part, size = slides.shown_part(matrix, rendering)
        drawing = Drawing(self._below(matrix, part, size, rendering))
        shown = []
        for number, mask in self._shown(matrix, part, size).items():
            if mask.any():
                segment = segment_of(self._segments, number)
                fill(drawing, mask, segment.color)
                shown.append(Entry(segment.label, segment.color))
        draw_legend(drawing, shown)
        finished = with_profile(drawing.picture, rendering.icc_profile)
        return annotate(finished, self._stored, 0, rendering.annotations)

    def _channels(self) -> tuple[str, ...]:
        return () if self._masks.is_label_map else tuple(str(number) for number in self._segments)

    def _below(self, matrix: Matrix, part: Part, size: Size, rendering: Rendering) -> Picture:
        if not self._levels:
            return Picture(slides.nothing(size))
        target = slides.matrix_of(self._levels[0])
        own = slides.scaled_part(part, matrix, target)
        return slides.composed(self._levels, target, own, size, rendering)

    def _shown(self, matrix: Matrix, part: Part, size: Size) -> dict[int, Mask]:
        canvases: dict[int, TileCanvas] = {}
        numbers = list(self._segments) or [1]
        tiles = 0
        for channel in range(matrix.number_of_channels):
            touched = slides.touched(matrix, part, channel=channel)
            tiles += len(touched)
            if tiles > slides.MAX_TILES:
                raise TooLarge("the region has too many tiles: ask for a smaller one")
            for tile in touched:
                for label, mask in self._masks.frame(tile.index):
                    number = label if self._masks.is_label_map else numbers[channel]
                    if number not in canvases and len(canvases) < _MAX_LABELS:
                        canvases[number] = TileCanvas(matrix, part, size, (0,))
                    if number in canvases and mask.any():
                        canvases[number].lay(mask, tile)
        return {number: canvases[number].resampled(part, size) for number in sorted(canvases)}
