"""An image that something else is drawn upon, before and after."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import frame_rendering, viewport
from bfr_dicomweb.rendering.annotation import annotate
from bfr_dicomweb.rendering.appearance import Appearance, appearance_of
from bfr_dicomweb.rendering.color import with_profile
from bfr_dicomweb.rendering.parameters import Rendering, Window
from bfr_dicomweb.rendering.picture import Picture, Pixels
from bfr_dicomweb.rendering.viewport import Part

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Backdrop:
    """
    Attributes:
        source: What the picture is of, and who it is that it shows.
        index: Of the frame, from 0.
        whole: The frame in its own size.
        window: What it is shown with; None: with none.
    """

    source: StoredObject
    index: int
    whole: Picture
    pixel_aspect: float
    window: Window | None
    rendering: Rendering

    @classmethod
    def of_frame(
        cls,
        image: StoredObject,
        index: int,
        rendering: Rendering,
        appearance: Appearance | None = None,
    ) -> "Backdrop":
        """
        Raises:
            NotFound, UndecodablePixelData: as `frame_rendering.show`.
        """
        seen = appearance_of(image, index) if appearance is None else appearance
        samples = image.samples(index)
        window = rendering.window or frame_rendering.chosen_window(samples, seen)
        whole = frame_rendering.of_samples(image, samples, seen, window)
        return cls(image, index, whole, seen.pixel_aspect, window, rendering)

    @classmethod
    def black(cls, source: StoredObject, index: int, rendering: Rendering) -> "Backdrop":
        """In the size of a frame that lies on nothing."""
        described = source.description
        whole = Picture(np.zeros((described.rows, described.columns), np.uint8))
        aspect = appearance_of(source, index).pixel_aspect
        return cls(source, index, whole, aspect, None, rendering)

    def placed(self, pixels: Pixels | None = None) -> Picture:
        """As large as it is asked for: the frame, or pixels in its size that go with it."""
        picture = self.whole if pixels is None else Picture(pixels)
        return viewport.place(picture, self.rendering, pixel_aspect=self.pixel_aspect)

    def points(self, pixels: Points, placed: Picture) -> Points:
        """Places in the placed picture of points of the frame."""
        part: Part = viewport.part_of(self.whole.columns, self.whole.rows, self.rendering)
        x = (pixels[:, 0] - part.left) / part.width
        y = (pixels[:, 1] - part.top) / part.height
        x = 1 - x if part.mirrored else x
        y = 1 - y if part.upside_down else y
        return np.stack([x * placed.columns, y * placed.rows], axis=1)

    def finished(self, drawn: Picture) -> Picture:
        """With its colour profile, and what is to be written into it."""
        picture = with_profile(drawn, self.rendering.icc_profile)
        annotations = self.rendering.annotations
        return annotate(picture, self.source, self.index, annotations, window=self.window)
