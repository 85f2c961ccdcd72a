"""Parametric maps in pseudo-colours, over the images that they were made of (PS3.3 A.75)."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import grayscale
from bfr_dicomweb.rendering.annotation import letter_size
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.backdrop import Backdrop
from bfr_dicomweb.rendering.elements import first_item, number, text
from bfr_dicomweb.rendering.graphics import WHITE, Drawing, lettering
from bfr_dicomweb.rendering.grayscale import Rescale
from bfr_dicomweb.rendering.legend import SMALLEST_PICTURE
from bfr_dicomweb.rendering.palettes import Palette, read_palette
from bfr_dicomweb.rendering.parameters import Rendering, Window, WindowFunction
from bfr_dicomweb.rendering.picture import Picture, Pixels
from bfr_dicomweb.rendering.planes import FunctionalGroups
from bfr_dicomweb.rendering.references import Images, Target
from bfr_dicomweb.rendering.source_frames import SourceFrames, laid_over

Values = npt.NDArray[Any]

PARAMETRIC_MAP: Final = "1.2.840.10008.5.1.4.1.1.30"

# How much of the image the map hides, where it has more than this of 255; less where it has less.
OPACITY: Final = 0.6
FAINT: Final = 64
_SAID_IN_FULL: Final = 4


def hot_iron() -> Palette:
    """Black, red, orange, white: the Hot Iron palette (PS3.6 section B.1.1)."""
    steps = np.arange(256)
    red = np.minimum(steps * 2, 255)
    green = np.clip((steps - 128) * 2, 0, 255)
    blue = np.clip((steps - 191) * 4, 0, 255)
    colors = np.stack([red, green, blue], axis=1).astype(np.uint8)
    colors[-1] = 255
    return Palette(0, colors)


def _exact(window: Window) -> Window:
    """LINEAR is made for whole numbers: of others, one from 0 to 1 would be a step."""
    if window.function is WindowFunction.LINEAR:
        return replace(window, function=WindowFunction.LINEAR_EXACT)
    return window


class ParametricMap:
    """A parametric map with its images; see `references.Showing`."""

    def __init__(self, stored: StoredObject, images: Images) -> None:
        self._stored = stored
        self._images = images
        self._groups = FunctionalGroups(stored.attributes)
        self._sources = SourceFrames(stored, images)
        self._palette = read_palette(stored, stored.attributes) or hot_iron()
        self.left_out = self._sources.left_out
        self.targets = tuple(self._sources.pictures)

    def picture(self, target: Target, rendering: Rendering) -> Picture:
        """The window that is asked for is that of the map."""
        under = self._sources.pictures[target]
        index = under.indices[0]
        values = self._values(index)
        window = rendering.window or self._window(index, values)
        grays = grayscale.grays(values, Rescale(), window)
        if target.sop_instance_uid == text(self._stored.attributes, "SOPInstanceUID"):
            backdrop = Backdrop.black(self._stored, index, rendering)
            placed = backdrop.placed(self._palette.spread(grays))
        else:
            backdrop = self._on_image(target, rendering)
            placed = backdrop.placed()
            whole, planes = backdrop.whole, self._sources.planes
            over = laid_over(
                grays, planes[index], under.plane, rows=whole.rows, columns=whole.columns
            )
            if over is not None:
                placed = self._mixed(placed, backdrop.placed(over).pixels)
        drawing = Drawing(placed)
        self._draw_scale(drawing, window, self._unit(index))
        return backdrop.finished(drawing.picture)

    def _on_image(self, target: Target, rendering: Rendering) -> Backdrop:
        image, index = self._images[target.sop_instance_uid], target.frame_number - 1
        return Backdrop.of_frame(image, index, replace(rendering, window=None))

    def _mixed(self, placed: Picture, over: Pixels) -> Picture:
        below = placed.pixels if placed.is_color else np.stack([placed.pixels] * 3, axis=2)
        share = np.minimum(over * np.float32(1 / FAINT), np.float32(1))
        weight = (share * np.float32(OPACITY))[:, :, np.newaxis]
        mixed = below * (1 - weight) + self._palette.spread(over) * weight
        return Picture((mixed + 0.5).astype(np.uint8), placed.icc_profile)

    def _values(self, index: int) -> Values:
        """Real world values, where a linear mapping says so; else those of the Modality LUT."""
        samples = self._stored.samples(index)
        mapping = self._groups.group(index, "RealWorldValueMappingSequence")
        slope = number(mapping, "RealWorldValueSlope")
        intercept = number(mapping, "RealWorldValueIntercept")
        if slope and intercept is not None and np.isfinite([slope, intercept]).all():
            return samples * np.float64(slope) + intercept
        modality = appearance_of(self._stored, index).modality
        return np.asarray(grayscale.modality_values(samples, modality), np.float64)

    def _window(self, index: int, values: Values) -> Window:
        """That of the map, where something lies in it; else from its values."""
        group = self._groups.group(index, "FrameVOILUTSequence")
        said = grayscale.read_window(group) or grayscale.read_window(self._stored.attributes)
        if said is not None:
            finite = values[np.isfinite(values)]
            low, high = said.center - said.width / 2, said.center + said.width / 2
            if finite.size and float(finite.max()) > low and float(finite.min()) < high:
                return _exact(said)
        return grayscale.default_window(values, Rescale())

    def _unit(self, index: int) -> str:
        mapping = self._groups.group(index, "RealWorldValueMappingSequence")
        unit = text(first_item(mapping, "MeasurementUnitsCodeSequence"), "CodeValue")
        return "" if unit == "1" else unit[:16]

    def _draw_scale(self, drawing: Drawing, window: Window, unit: str) -> None:
        """Which colour is which value, at the right edge."""
        rows, columns = drawing.picture.rows, drawing.picture.columns
        if min(rows, columns) < SMALLEST_PICTURE:
            return
        size = letter_size(columns, rows)
        height, width = rows // 3, size
        top, left = (rows - height) // 2, columns - 2 * width
        pixels = np.array(drawing.picture.pixels)
        grays = np.linspace(255, 0, height).astype(np.uint8)[:, np.newaxis]
        pixels[top : top + height, left : left + width] = self._palette.spread(
            np.repeat(grays, width, axis=1)
        )
        drawing.become(pixels)
        low, high = grayscale.ends(window)
        for value, y in ((high, top - 1.5 * size), (low, top + height + 0.1 * size)):
            words = lettering(f"{value:.{_SAID_IN_FULL}g} {unit}".strip(), size)
            drawing.text(words, WHITE, left=columns - words.width - size // 2, top=y)
