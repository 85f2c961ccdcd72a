"""Waveforms laid out on paper: what stands where, in millimetres, before it is drawn.

Standard 12-lead electrocardiograms have the customary three rows of four leads and a rhythm
strip; anything else has its channels one above the other, strip after strip. Paper speed is 25
mm/s; potentials have 10 mm/mV, or less where they would not fit, and everything else a scale that
fits, which is told at the channel.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.structured_report import code_of
from bfr_dicomweb.rendering.elements import items, numbers, text
from bfr_dicomweb.rendering.report_encoding import showable
from bfr_dicomweb.rendering.report_header import header
from bfr_dicomweb.rendering.report_values import value_of
from bfr_dicomweb.rendering.waveform_samples import (
    LEADS,
    MILLIVOLT,
    Channel,
    Group,
    Values,
    duration_of,
)

Attributes = Mapping[str, Any]
Points = npt.NDArray[np.float64]

SPEED: Final = 25.0
WIDTH: Final = 297.0
STRIP_SECONDS: Final = 10.0
MAX_CHANNELS_SHOWN: Final = 64

_GRID_LEFT: Final = 16.0
_GRID_WIDTH: Final = 265.0
_TRACE_LEFT: Final = 28.0  # after the calibration pulse
_TOP: Final = 41.0
# Above the first row and below the last, for what reaches out of them.
_MARGIN: Final = 7.5
_FIRST_ROW: Final = _TOP + _MARGIN
_REACH: Final = 0.7
_FOOT: Final = 14.0
_GAINS: Final = (10.0, 5.0, 2.5, 1.0, 0.5)
_LEAD_COLUMNS: Final = (LEADS[0:3], LEADS[3:6], LEADS[6:9], LEADS[9:12])
_LEAD_ROW: Final = 35.0
# More samples for each millimetre than this are drawn as the span that they cover.
_POINTS_PER_MM: Final = 20
_LINES: Final = 7
_LINE: Final = 4.0
_COLUMNS: Final = (122.0, 177.0, 232.0)
_LETTERS: Final = 30


@dataclass(frozen=True, slots=True)
class Label:
    """A line of text; x and y are where it begins, on the line that the letters stand on."""

    x: float
    y: float
    text: str
    size: float = 3.0
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """Where there is a grid."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Trace:
    """A curve.

    Attributes:
        points: (number, 2): x to the right and y down.
    """

    name: str
    points: Points


@dataclass(slots=True)
class Sheet:
    """One page."""

    height: float
    grid: Box
    labels: list[Label] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    marks: list[Points] = field(default_factory=list)
    width: float = WIDTH


@dataclass(frozen=True, slots=True)
class Scale:
    """How values become millimetres: (value - center) * gain above the middle of the row."""

    gain: float
    center: float
    is_potential: bool = False

    def told(self, channel: Channel) -> str:
        """What the gain is, for a channel that is not in mV."""
        if not channel.unit or channel.unit == "1":
            return f"10 mm = {10 / self.gain:g}"
        return f"10 mm = {10 / self.gain:g} {channel.unit}, middle {self.center:g} {channel.unit}"


def sheets(
    attributes: Attributes,
    groups: Sequence[Group],
    *,
    with_identity: bool,
    rows_per_sheet: int,
) -> Iterator[Sheet]:
    """
    Args:
        attributes: Of the instance.
        groups: What is shown, in this order.
        with_identity: Whether it is told whose and from when the curves are, and what is
            said of them.
        rows_per_sheet: How many channels stand one above the other before a new page begins.
    """
    heading = _heading(attributes) if with_identity else []
    for group in groups:
        whole = duration_of(attributes, group)
        if len(group.leads) == len(LEADS):
            yield _twelve_leads(group, heading, whole)
        else:
            yield from _stacked(group, heading, whole, rows_per_sheet)


# --- standard 12 leads ---


def _twelve_leads(group: Group, heading: list[Label], whole: float) -> Sheet:
    """Each column follows in time on the one before; of a single beat each shows the whole."""
    is_beat = group.seconds <= STRIP_SECONDS / 4
    part = round(min(STRIP_SECONDS, group.seconds) / (1 if is_beat else 4) * group.frequency)
    shown = part if is_beat else part * 4
    leads = group.leads
    every = {lead: group.values(leads[lead], 0, shown) for lead in LEADS}
    scale = _potential_scale(every.values(), _LEAD_ROW)
    sheet = _sheet(3 if is_beat else 4, _LEAD_ROW, heading)
    width = STRIP_SECONDS / 4 * SPEED if is_beat else part / group.frequency * SPEED
    for column, names in enumerate(_LEAD_COLUMNS):
        start = 0 if is_beat else column * part
        for row, lead in enumerate(names):
            place = _Place(_TRACE_LEFT + column * width, _FIRST_ROW + (row + 0.5) * _LEAD_ROW)
            _draw_lead(sheet, lead, every[lead][start : start + part], group, scale, place)
            if column:
                ends = [(place.left, place.middle - 5), (place.left, place.middle + 5)]
                sheet.marks.append(np.array(ends))
    if not is_beat:
        place = _Place(_TRACE_LEFT, _FIRST_ROW + 3.5 * _LEAD_ROW)
        _draw_lead(sheet, "II", every["II"], group, scale, place)
    for row in range(3 if is_beat else 4):
        sheet.marks.append(_pulse(_FIRST_ROW + (row + 0.5) * _LEAD_ROW, scale.gain))
    _tell(sheet, group, f"{scale.gain:g} mm/mV", 0.0, shown / group.frequency, whole)
    return sheet


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a curve begins, and the middle of its row."""

    left: float
    middle: float


def _draw_lead(
    sheet: Sheet, lead: str, values: Values, group: Group, scale: Scale, place: _Place
) -> None:
    sheet.traces += _traces(lead, values, group, scale, place, sheet.grid)
    sheet.labels.append(Label(place.left + 1, place.middle - 9, lead, 3.6, is_bold=True))


# --- channels one above the other ---


def _stacked(
    group: Group, heading: list[Label], whole: float, rows_per_sheet: int
) -> Iterator[Sheet]:
    shown = min(len(group.channels), MAX_CHANNELS_SHOWN)
    height = 25.0 if shown <= 6 else 20.0 if shown <= 8 else 15.0
    scales = _scales(group, shown, height)
    told = next((f"{s.gain:g} mm/mV" for s in scales if s.is_potential), "")
    strips = max(1, rows_per_sheet // shown)
    needed = -(-group.number_of_samples // _strip_samples(group))
    for first in range(0, needed, strips):
        last = min(first + strips, needed)
        sheet = _sheet((last - first) * shown, height, heading)
        for strip in range(first, last):
            top = _FIRST_ROW + (strip - first) * shown * height
            _draw_strip(sheet, group, scales, strip, top, height)
        end = min(last * STRIP_SECONDS, group.seconds)
        _tell(sheet, group, told, first * STRIP_SECONDS, end, whole)
        yield sheet


def _strip_samples(group: Group) -> int:
    return max(1, int(STRIP_SECONDS * group.frequency))


def _draw_strip(
    sheet: Sheet, group: Group, scales: Sequence[Scale], strip: int, top: float, height: float
) -> None:
    start = strip * _strip_samples(group)
    for index, scale in enumerate(scales):
        middle = top + (index + 0.5) * height
        values = group.values(index, start, start + _strip_samples(group))
        channel = group.channels[index]
        place = _Place(_TRACE_LEFT, middle)
        sheet.traces += _traces(channel.name, values, group, scale, place, sheet.grid)
        name, line = channel.name[:_LETTERS], middle - height / 2 + 4
        sheet.labels.append(Label(_TRACE_LEFT + 1, line, name, 3.2, is_bold=True))
        if scale.is_potential:
            sheet.marks.append(_pulse(middle, scale.gain))
        else:
            beside = _TRACE_LEFT + 4 + 2.4 * len(name)
            sheet.labels.append(Label(beside, line, scale.told(channel), 2.6))
    sheet.labels.append(Label(4, top + height / 2 + 1, f"{strip * STRIP_SECONDS:g} s", 2.8))


def _scales(group: Group, shown: int, height: float) -> list[Scale]:
    """One scale for all potentials, and one for each other channel."""
    every = [group.values(index, 0, group.number_of_samples) for index in range(shown)]
    is_potential = [channel.unit == MILLIVOLT for channel in group.channels[:shown]]
    together = [v for v, known in zip(every, is_potential, strict=True) if known]
    potential = _potential_scale(together, height)
    return [
        potential if known else _fitting_scale(values, height)
        for values, known in zip(every, is_potential, strict=True)
    ]


def _fitting_scale(values: Values, height: float) -> Scale:
    known = values[np.isfinite(values)]
    if not known.size:
        return Scale(1.0, 0.0)
    low, high = float(known.min()), float(known.max())
    gain = _round_gain(0.8 * height / (high - low)) if high > low else 1.0
    return Scale(gain, _rounded((low + high) / 2, 10 / gain))


def _potential_scale(every: Iterable[Values], height: float) -> Scale:
    """The largest customary gain at which nothing is further than a row from where it belongs."""
    highest = max((float(np.nanmax(np.abs(v))) for v in every if np.isfinite(v).any()), default=0.0)
    fits = (gain for gain in _GAINS if highest * gain <= height * _REACH)
    gain = next(fits, None) or _round_gain(height * _REACH / highest)
    return Scale(gain, 0.0, is_potential=True)


def _round_gain(gain: float) -> float:
    """1, 2 or 5 times a power of ten, not above `gain`."""
    power: float = 10.0 ** math.floor(math.log10(gain)) if 0 < gain < math.inf else 1.0
    return max((step * power for step in (1, 2, 5) if step * power <= gain), default=power)


def _rounded(value: float, step: float) -> float:
    return round(value / step) * step if step > 0 else value


def _traces(
    name: str,
    values: Values,
    group: Group,
    scale: Scale,
    place: _Place,
    grid: Box,
) -> Iterator[Trace]:
    """The curve, in pieces where nothing was measured; kept within the grid."""
    y = np.clip(
        place.middle - (values.astype(np.float64) - scale.center) * scale.gain,
        grid.y,
        grid.y + grid.height,
    )
    x = place.left + np.arange(len(values)) / group.frequency * SPEED
    known = np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        points = np.column_stack((x[start:stop], y[start:stop]))
        yield Trace(name, _thinned(points, group.frequency))


def _thinned(points: Points, frequency: float) -> Points:
    """With the lowest and the highest of those that are too many to be told apart."""
    many = int(frequency / SPEED / _POINTS_PER_MM * 2)
    if many < 4 or len(points) < 4:
        return points
    many = min(many, len(points))
    whole = len(points) // many * many
    parts = points[:whole].reshape(-1, many, 2)
    row = np.arange(len(parts))
    ends = np.sort(np.stack((parts[:, :, 1].argmin(1), parts[:, :, 1].argmax(1))), axis=0)
    chosen = np.stack((parts[row, ends[0]], parts[row, ends[1]]), axis=1).reshape(-1, 2)
    return np.concatenate((chosen, points[whole:]))


def _pulse(middle: float, gain: float) -> Points:
    """1 mV for 0.2 s."""
    left = _GRID_LEFT + 3
    return np.array(
        [
            (left, middle),
            (left + 1, middle),
            (left + 1, middle - gain),
            (left + 6, middle - gain),
            (left + 6, middle),
            (left + 7, middle),
        ]
    )


# --- words around the curves ---


def _sheet(rows: int, height: float, heading: list[Label]) -> Sheet:
    grid = Box(_GRID_LEFT, _TOP, _GRID_WIDTH, math.ceil((rows * height + 2 * _MARGIN) / 5) * 5.0)
    return Sheet(_TOP + grid.height + _FOOT, grid, labels=list(heading))


def _tell(sheet: Sheet, group: Group, gain: str, start: float, end: float, whole: float) -> None:
    filters = {channel.filters for channel in group.channels}
    told = (
        f"{SPEED:g} mm/s",
        gain,
        f"{group.frequency:g} Hz",
        f"filter {filters.pop()}" if len(filters) == 1 and any(filters) else "",
        f"{start:g} to {end:.4g} s of {whole:.6g} s",
        group.label[:_LETTERS],
        _left_out(group),
    )
    line = "   ".join(filter(None, told))
    sheet.labels.append(Label(_GRID_LEFT, sheet.height - _FOOT + 6, line, 3.2))


def _left_out(group: Group) -> str:
    count = len(group.channels) - MAX_CHANNELS_SHOWN
    return f"{count} channels more" if count > 0 else ""


_HEADED: Final = ("Patient", "Date", "Study", "Accession number", "Institution", "Device")


def _heading(attributes: Attributes) -> list[Label]:
    known = {fact.label: fact.value for fact in header(attributes)}
    lines = [known[name] for name in _HEADED if name in known]
    labels = [
        Label(_GRID_LEFT, 11 + place * _LINE, line[:62], 3.0 if place else 3.6, is_bold=not place)
        for place, line in enumerate(lines)
    ]
    said = list(_annotations(attributes))
    room = _LINES * len(_COLUMNS)
    if len(said) > room:
        said = [*said[: room - 1], f"and {len(said) - room + 1} more"]
    for place, line in enumerate(said):
        x = _COLUMNS[place // _LINES]
        labels.append(Label(x, 11 + place % _LINES * _LINE, line[:_LETTERS], 2.9))
    return labels


def _annotations(attributes: Attributes) -> Iterator[str]:
    """What is said of the curves as a whole; marks at one time are not (PS3.3 C.10.10)."""
    for item in items(attributes, "WaveformAnnotationSequence"):
        if numbers(item, "ReferencedSamplePositions") or text(item, "TemporalRangeType"):
            continue
        if told := text(item, "UnformattedTextValue"):
            yield from (line for line in showable(told).split("\n") if line.strip())
            continue
        concept = code_of(item, "0040A043")
        value = _measured(item)
        if told := ": ".join(filter(None, (concept.meaning or concept.value, value))):
            yield showable(told)


def _measured(item: Attributes) -> str:
    found = text(item, "NumericValue")
    unit = code_of(item, "004008EA")
    if found:
        return f"{found.removesuffix('.0')} {unit.value or unit.meaning}".strip()
    coded = code_of(item, "0040A168")
    return coded.meaning or coded.value or value_of(item)
