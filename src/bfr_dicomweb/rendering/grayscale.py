"""From stored values to greys: Modality, VOI and Presentation LUT (PS3.3 sections C.11.1 to 6)."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import elements
from bfr_dicomweb.rendering.elements import Attributes
from bfr_dicomweb.rendering.parameters import Window, WindowFunction
from bfr_dicomweb.rendering.picture import Pixels

Samples = npt.NDArray[Any]
Values = npt.NDArray[np.float32] | npt.NDArray[np.float64]

# Of the values of a frame, those that a default window leaves out at either end, in percent.
DEFAULT_PERCENTILES: Final = (0.5, 99.5)
# A default window looks at about this many pixels: more would not change it.
SURVEYED_PIXELS: Final = 1 << 16
# float32 holds every integer up to here, so that 16-bit images lose nothing by it.
_EXACT_IN_FLOAT32: Final = 1 << 24
_FUNCTIONS: Final = {
    "LINEAR": WindowFunction.LINEAR,
    "LINEAR_EXACT": WindowFunction.LINEAR_EXACT,
    "SIGMOID": WindowFunction.SIGMOID,
}


@dataclass(frozen=True, slots=True)
class Rescale:
    """Rescale Slope and Intercept (PS3.3 section C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0


IDENTITY: Final = Rescale()


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """An item of a Modality, VOI or Presentation LUT Sequence.

    Attributes:
        first: Input that `values[0]` belongs to; the ends hold for all inputs beyond them.
        values: Output, shape (entries,).
        bits: Of the output: it goes from 0 to 2 ** bits - 1.
    """

    first: int
    values: npt.NDArray[np.uint16]
    bits: int

    @property
    def highest(self) -> int:
        return (1 << self.bits) - 1

    def of(self, inputs: Samples) -> npt.NDArray[np.uint16]:
        """Output for each input; inputs between two whole numbers go to the nearer one."""
        whole = np.rint(inputs) if inputs.dtype.kind == "f" else inputs.astype(np.int64)
        last = self.first + len(self.values) - 1
        places = np.clip(whole, self.first, last) - self.first
        found: npt.NDArray[np.uint16] = self.values[np.nan_to_num(places).astype(np.intp)]
        return found


@dataclass(frozen=True, slots=True)
class Padding:
    """Stored values from `low` to `high`, both included, are no part of the image."""

    low: float
    high: float


def read_modality(source: StoredObject, attributes: Attributes) -> Rescale | LookupTable | None:
    """The Modality LUT module of a data set or item, or a Pixel Value Transformation item.

    Args:
        source: The object that `attributes` are of.
        attributes: What may hold it.

    Returns:
        None: it says nothing.
    """
    item = elements.first_item(attributes, "ModalityLUTSequence")
    table = read_table(source, item, signed=_is_signed(source))
    if table is not None:
        return table
    slope = elements.number(attributes, "RescaleSlope")
    intercept = elements.number(attributes, "RescaleIntercept")
    if slope is None and intercept is None:
        return None
    # A slope of 0 would leave nothing to see; it is what some write for none.
    return Rescale(slope or 1.0, intercept or 0.0)


def read_voi(
    source: StoredObject, attributes: Attributes, *, modality: Rescale | LookupTable | None = None
) -> Window | LookupTable | None:
    """The first VOI LUT of a data set or item, else its first window; None: it has neither.

    Args:
        source: The object that `attributes` are of.
        attributes: What may hold the VOI LUT module, or an item of a Softcopy or Frame VOI LUT
            Sequence.
        modality: What is applied before. It says whether a first input of more than 32767 is a
            negative one.
    """
    # What comes out of a LUT is never negative.
    signed = not isinstance(modality, LookupTable) and (
        _is_signed(source) or (modality is not None and modality.intercept < 0)
    )
    table = read_table(source, elements.first_item(attributes, "VOILUTSequence"), signed=signed)
    return table if table is not None else read_window(attributes)


def read_window(attributes: Attributes, which: int = 0) -> Window | None:
    """One of the windows of a data set or item; None: there is none that can be applied."""
    centers = elements.numbers(attributes, "WindowCenter")
    widths = elements.numbers(attributes, "WindowWidth")
    if len(centers) <= which or len(widths) <= which or widths[which] <= 0:
        return None
    named = elements.text(attributes, "VOILUTFunction").upper()
    function = _FUNCTIONS.get(named, WindowFunction.LINEAR)
    if function is WindowFunction.LINEAR and widths[which] < 1:
        # LINEAR is not defined for it (section C.11.2.1.2.1); floats are written so nevertheless
        function = WindowFunction.LINEAR_EXACT
    return Window(centers[which], widths[which], function)


def read_presentation_lut(source: StoredObject, attributes: Attributes) -> LookupTable | None:
    """The first item of a Presentation LUT Sequence; None: there is none."""
    return read_table(source, elements.first_item(attributes, "PresentationLUTSequence"))


def read_table(
    source: StoredObject, item: Attributes, *, signed: bool = False
) -> LookupTable | None:
    """LUT Descriptor and LUT Data of an item; None: they are missing or do not fit.

    Args:
        source: The object that `item` is of.
        item: Of a Modality, VOI or Presentation LUT Sequence.
        signed: A first input of more than 32767 is a negative one, whatever the VR says.
    """
    descriptor = elements.integers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    entries = descriptor[0] & 0xFFFF or 0x10000
    first = descriptor[1]
    if first > 0x7FFF and signed:
        first -= 0x10000
    words = source.words(elements.element(item, "LUTData"))
    bits = descriptor[2] & 0xFFFF
    packed = bits <= 8 and 1 < entries <= 2 * len(words) < 2 * entries
    values = table_entries(words, entries, packed=packed)
    if not len(values):
        return None
    # What is stored counts where the descriptor contradicts it.
    needed = max(int(values.max()).bit_length(), 1)
    return LookupTable(first, values, bits if needed <= bits <= 16 else max(needed, 8))


def _is_signed(source: StoredObject) -> bool:
    return elements.integer(source.attributes, "PixelRepresentation") == 1


def table_entries(
    words: npt.NDArray[np.uint16], entries: int, *, packed: bool
) -> npt.NDArray[np.uint16]:
    """At most `entries` numbers out of the words of a LUT.

    Args:
        words: As they are stored.
        entries: How many there shall be; what is stored beyond them is ignored.
        packed: Each word holds two of 8 bits, the first one in its low byte.
    """
    if packed:
        words = words.astype("<u2").view(np.uint8).astype(np.uint16)
    return words[:entries]


def full_range(description: PixelDescription, modality: Rescale | LookupTable) -> Window:
    """The window that shows all that the stored values could be; for integers only."""
    if isinstance(modality, LookupTable):
        return between(0.0, float(modality.highest))
    bits = description.bits_stored
    low = -(1 << (bits - 1)) if description.pixel_representation else 0
    ends = [modality.slope * end + modality.intercept for end in (low, low + (1 << bits) - 1)]
    return between(min(ends), max(ends))


@np.errstate(all="ignore")
def default_window(
    samples: Samples, modality: Rescale | LookupTable, padding: Padding | None = None
) -> Window:
    """A window for a frame that says nothing of one.

    It leaves out the `DEFAULT_PERCENTILES` at either end, padding, infinities and what is not
    a number; where they would leave nothing, it shows the least as black, the greatest as white.
    """
    step = max(1, int((samples.size / SURVEYED_PIXELS) ** 0.5))
    surveyed = samples[::step, ::step].ravel()
    if padding is not None:
        surveyed = surveyed[(surveyed < padding.low) | (surveyed > padding.high)]
    values = modality_values(surveyed, modality).astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return between(0.0, 1.0)
    low, high = np.percentile(values, DEFAULT_PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        high = low + max(1.0, abs(low))
    return between(float(low), float(high))


def between(low: float, high: float) -> Window:
    width = high - low
    return Window(low + width / 2, width, WindowFunction.LINEAR_EXACT)


def modality_values(samples: Samples, modality: Rescale | LookupTable) -> Samples:
    """What the Modality LUT makes of stored values; as they are where it changes nothing."""
    if isinstance(modality, LookupTable):
        return modality.of(samples)
    if modality == IDENTITY:
        return samples
    exact = _float_for(samples)
    rescaled: Samples = samples.astype(exact)
    rescaled *= exact.type(modality.slope)
    rescaled += exact.type(modality.intercept)
    return rescaled


def _float_for(samples: Samples) -> np.dtype[Any]:
    return np.dtype(np.float32 if samples.itemsize <= 2 else np.float64)


@np.errstate(all="ignore")  # what overflows is white or black
def grays(
    samples: Samples,
    modality: Rescale | LookupTable,
    voi: Window | LookupTable,
    *,
    presentation_lut: LookupTable | None = None,
    inverted: bool = False,
) -> Pixels:
    """The P-values of a frame, scaled to 0 for black and 255 for white.

    Args:
        samples: Integers or floats, shape (rows, columns).
        modality, voi, presentation_lut, inverted: As of an `Appearance`.
    """
    if (
        isinstance(modality, Rescale)
        and isinstance(voi, Window)
        and voi.function is not WindowFunction.SIGMOID
        and presentation_lut is None
        and not _is_step(voi)
    ):
        return _straight(samples, modality, voi, inverted=inverted)
    steps = (modality, voi, presentation_lut, inverted)
    if samples.dtype.kind in "iub" and samples.itemsize <= 2 and samples.size > 1 << 12:
        # Fewer numbers can be stored than there are pixels: each is looked at once.
        unsigned: np.dtype[Any] = np.dtype(f"u{samples.itemsize}")
        every = np.arange(1 << 8 * samples.itemsize, dtype=unsigned).view(samples.dtype)
        return np.take(_one_by_one(every, *steps), samples.view(unsigned))
    return _one_by_one(samples, *steps)


def _is_step(window: Window) -> bool:
    """LINEAR of width 1 has no slope: black up to its centre, white above."""
    black, white = ends(window)
    return not black < white


def ends(window: Window) -> tuple[float, float]:
    """The values that become black and white (sections C.11.2.1.2.1 and C.11.2.1.3.2)."""
    if window.function is WindowFunction.LINEAR:
        middle, half = window.center - 0.5, (window.width - 1) / 2
    else:
        middle, half = window.center, window.width / 2
    return middle - half, middle + half


def _straight(samples: Samples, rescale: Rescale, window: Window, *, inverted: bool) -> Pixels:
    """Rescale and a straight window are one multiplication and one addition."""
    black, white = ends(window)
    if inverted:
        black, white = white, black
    per_value = 255.0 / (white - black)
    slope = rescale.slope * per_value
    # half a grey more, because the conversion to integers cuts off
    offset = (rescale.intercept - black) * per_value + 0.5
    exact = _float_for(samples)
    if not (abs(slope) < _EXACT_IN_FLOAT32 and abs(offset) < _EXACT_IN_FLOAT32):
        exact = np.dtype(np.float64)
    scaled: Samples = np.multiply(samples, exact.type(slope), dtype=exact)
    scaled += exact.type(offset)
    np.clip(scaled, 0.5, 255.5, out=scaled)
    if samples.dtype.kind == "f" or exact == np.float64:
        scaled[np.isnan(scaled)] = 0.5
    return scaled.astype(np.uint8)


def _one_by_one(
    samples: Samples,
    modality: Rescale | LookupTable,
    voi: Window | LookupTable,
    presentation_lut: LookupTable | None,
    inverted: bool,
) -> Pixels:
    values = modality_values(samples, modality)
    if isinstance(voi, LookupTable):
        shown = voi.of(values) / voi.highest
    else:
        shown = windowed(values.astype(np.float64), voi)
    if presentation_lut is not None:
        # It has as many entries as it has; the whole range of the VOI LUT goes into them
        # (section C.11.6.1).
        inputs = shown * (len(presentation_lut.values) - 1) + presentation_lut.first
        shown = presentation_lut.of(inputs) / presentation_lut.highest
    if inverted:
        shown = 1.0 - shown
    return (np.nan_to_num(shown) * 255.0 + 0.5).astype(np.uint8)


def windowed(values: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.float64]:
    """From 0.0 to 1.0, by PS3.3 sections C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2."""
    if window.function is WindowFunction.SIGMOID:
        with np.errstate(over="ignore"):
            found: npt.NDArray[np.float64] = 1.0 / (
                1.0 + np.exp(-4.0 * (values - window.center) / window.width)
            )
        return found
    black, white = ends(window)
    if white <= black:
        return (values > black).astype(np.float64)
    return np.clip((values - black) / (white - black), 0.0, 1.0)
