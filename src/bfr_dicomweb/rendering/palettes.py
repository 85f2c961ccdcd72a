"""Palette Color Lookup Tables, plain and segmented (PS3.3 sections C.7.6.3.1.5 and C.7.9.2)."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.rendering import elements, grayscale
from bfr_dicomweb.rendering.elements import Attributes
from bfr_dicomweb.rendering.picture import Pixels

Entries = npt.NDArray[np.uint16]

MAX_ENTRIES: Final = 1 << 16
_CHANNELS: Final = ("Red", "Green", "Blue")
# Segments (PS3.3 section C.7.9.2)
_DISCRETE: Final = 0
_LINEAR: Final = 1
_INDIRECT: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours of numbers.

    Attributes:
        first: Number that `colors[0]` belongs to; the ends hold for all numbers beyond them.
        colors: Red, green and blue, shape (entries, 3).
    """

    first: int
    colors: npt.NDArray[np.uint8]

    def of(self, numbers: npt.NDArray[Any]) -> Pixels:
        """Red, green and blue of each number."""
        if numbers.dtype.kind in "iub" and numbers.itemsize <= 2:
            unsigned: np.dtype[Any] = np.dtype(f"u{numbers.itemsize}")
            every = np.arange(1 << 8 * numbers.itemsize, dtype=unsigned).view(numbers.dtype)
            return np.take(self._looked_up(every), numbers.view(unsigned), axis=0)
        return self._looked_up(numbers)

    def _looked_up(self, numbers: npt.NDArray[Any]) -> Pixels:
        if numbers.dtype.kind == "f":
            numbers = np.nan_to_num(np.rint(numbers))
        else:
            numbers = numbers.astype(np.int64)
        last = self.first + len(self.colors) - 1
        places = np.clip(numbers, self.first, last) - self.first
        found: Pixels = self.colors[places.astype(np.intp)]
        return found

    def spread(self, grays: Pixels) -> Pixels:
        """Colours of greys: the first entry is that of black, the last one that of white."""
        places = np.rint(np.arange(256) * ((len(self.colors) - 1) / 255)).astype(np.intp)
        return np.take(self.colors[places], grays, axis=0)


def read_palette(source: StoredObject, attributes: Attributes) -> Palette | None:
    """The Palette Color Lookup Table module of a data set or item; None: it has none.

    Args:
        source: The object that `attributes` are of.
        attributes: What may hold it.

    Raises:
        UndecodablePixelData: it has one that cannot be made out.
    """
    if not elements.element(attributes, "RedPaletteColorLookupTableDescriptor"):
        return None
    signed = elements.integer(source.attributes, "PixelRepresentation") == 1
    tables, firsts = [], []
    for channel in _CHANNELS:
        first, entries, bits = _descriptor(attributes, channel, signed=signed)
        tables.append(_channel(source, attributes, channel, entries, bits))
        firsts.append(first)
    length = max(len(table) for table, _bits in tables)
    # Most writers that declare 16 bits and mean 8 do so in all three.
    narrow = all(bits <= 8 or table.max() <= 0xFF for table, bits in tables)
    colors = np.empty((length, 3), np.uint8)
    for number, (table, _bits) in enumerate(tables):
        whole = np.pad(table, (0, length - len(table)), mode="edge")
        colors[:, number] = whole if narrow else whole >> 8
    return Palette(firsts[0], colors)


def _descriptor(attributes: Attributes, channel: str, *, signed: bool) -> tuple[int, int, int]:
    """First number, entries and bits."""
    found = elements.integers(attributes, f"{channel}PaletteColorLookupTableDescriptor")
    if len(found) != 3:
        raise UndecodablePixelData(f"the descriptor of the {channel.lower()} palette is not valid")
    first = found[1] - 0x10000 if signed and found[1] > 0x7FFF else found[1]
    return first, found[0] & 0xFFFF or MAX_ENTRIES, found[2] & 0xFFFF


def _channel(
    source: StoredObject, attributes: Attributes, channel: str, entries: int, bits: int
) -> tuple[Entries, int]:
    """At least one number, and the bits that they are meant to have."""
    plain = elements.element(attributes, f"{channel}PaletteColorLookupTableData")
    if plain:
        words = source.words(plain)
        packed = len(words) < entries <= 2 * len(words) and entries > 1
        table = grayscale.table_entries(words, entries, packed=packed)
        bits = 8 if packed else bits
    else:
        segmented = elements.element(attributes, f"Segmented{channel}PaletteColorLookupTableData")
        words = source.words(segmented)
        table = expanded(words, entries, bits_per_entry=8 if bits == 8 else 16)
    if not len(table):
        raise UndecodablePixelData(f"the {channel.lower()} palette is empty")
    return table, bits


def expanded(words: Entries, entries: int, *, bits_per_entry: int) -> Entries:
    """The numbers that the segments of a segmented palette stand for.

    Args:
        words: Segmented Palette Color Lookup Table Data.
        entries: What is beyond as many is left out.
        bits_per_entry: 8: every word holds two numbers, the first one in its low byte.

    Raises:
        UndecodablePixelData: a segment is broken.
    """
    stored = words.astype("<u2").view(np.uint8) if bits_per_entry == 8 else words
    segments = _Segments(stored.tolist(), bits_per_entry, min(entries, MAX_ENTRIES))
    segments.expand(0, None)
    return np.array(segments.found[:entries], np.uint16)


class _Segments:
    """Segmented data as it is gone through.

    Attributes:
        found: What the segments so far stand for.
    """

    def __init__(self, stored: list[int], bits_per_entry: int, limit: int) -> None:
        self._stored = stored
        self._bits_per_entry = bits_per_entry
        self._limit = limit
        self.found: list[int] = []

    def expand(self, place: int, segments: int | None) -> None:
        """Append what `segments` segments from `place` on stand for; None: all up to the end."""
        stored = self._stored
        # A segment has at least three numbers; what is less is padding.
        while place + 2 < len(stored) and len(self.found) < self._limit and segments != 0:
            code, length = stored[place : place + 2]
            place += 2
            if code == _DISCRETE:
                self.found += stored[place : place + length]
                place += length
            elif code == _LINEAR:
                self._draw_line(stored[place], length)
                place += 1
            elif code == _INDIRECT and segments is None:
                self.expand(self._offset(place), length)
                place += 32 // self._bits_per_entry
            else:
                raise UndecodablePixelData(f"the segmented palette has a segment of type {code}")
            segments = None if segments is None else segments - 1

    def _draw_line(self, end: int, length: int) -> None:
        if not self.found:
            raise UndecodablePixelData("the segmented palette begins with a line from nowhere")
        line = np.linspace(self.found[-1], end, min(length, self._limit) + 1)
        self.found += np.rint(line[1:]).astype(int).tolist()

    def _offset(self, place: int) -> int:
        """What an indirect segment points to; it says so in bytes, least significant part first."""
        bits = self._bits_per_entry
        parts = self._stored[place : place + 32 // bits]
        return sum(part << bits * number for number, part in enumerate(parts)) * 8 // bits
