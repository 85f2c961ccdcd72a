"""Waveforms as they were measured (PS3.3 section C.10.9): groups of channels, in their units."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.dicom.structured_report import code_of
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.elements import element, integer, items, number, text
from bfr_dicomweb.rendering.report_encoding import showable

Attributes = Mapping[str, Any]
Values = npt.NDArray[np.float32]

MAX_CHANNELS: Final = 256
# What is read at one time: all channels together.
MAX_SAMPLES: Final = 20_000_000

_SIGNED: Final = {"SB": "i1", "SS": "<i2", "SL": "<i4", "SV": "<i8"}
_UNSIGNED: Final = {"UB": "u1", "US": "<u2", "UL": "<u4", "UV": "<u8"}
# The two companded forms of 8 bits (ITU-T G.711).
_COMPANDED: Final = {"MB": "u1", "AB": "u1"}
_TYPES: Final[Mapping[str, np.dtype[Any]]] = {
    name: np.dtype(code) for name, code in (_SIGNED | _UNSIGNED | _COMPANDED).items()
}
MILLIVOLT: Final = "mV"
# Millivolts in what potentials are told in.
_MILLIVOLTS: Final = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "nV": 1e-6}

LEADS: Final = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_LEAD: Final = re.compile(r"(?:lead\s*)?(I{1,3}|aV[RLF]|V[1-9])(?:\s*\(.*\))?", re.I)
_LEAD_NAMES: Final = {lead.lower(): lead for lead in (*LEADS, "V7", "V8", "V9")}
# MDC codes of the standard leads (ISO/IEEE 11073-10102), by reference id and by number.
_MDC: Final = {
    **{f"MDC_ECG_LEAD_{lead.upper()}": lead for lead in LEADS},
    **{f"2:{place}": lead for place, lead in ((1, "I"), (2, "II"), (61, "III"))},
    **{f"2:{place}": lead for place, lead in zip((62, 63, 64), ("aVR", "aVL", "aVF"), strict=True)},
    **{f"2:{place}": f"V{place - 2}" for place in range(3, 9)},
}


@dataclass(frozen=True, slots=True)
class Channel:
    """
    Attributes:
        name: Of its source; that of the standard leads as in `LEADS`.
        unit: Of its values; mV for every potential.
        scale, baseline: A value is a sample times the one plus the other.
    """

    name: str
    unit: str
    scale: float
    baseline: float
    filters: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """One multiplex group; its channels were sampled together.

    Attributes:
        number: From 1, as annotations name it.
        frequency: Samples a second.
    """

    number: int
    label: str
    frequency: float
    channels: tuple[Channel, ...]
    number_of_samples: int
    padding: float | None
    _samples: npt.NDArray[Any]

    @property
    def seconds(self) -> float:
        return self.number_of_samples / self.frequency

    @property
    def leads(self) -> dict[str, int]:
        """Where the potentials of the standard leads are among the channels."""
        places = {
            channel.name: place
            for place, channel in reversed(list(enumerate(self.channels)))
            if channel.unit == MILLIVOLT
        }
        return {lead: places[lead] for lead in LEADS if lead in places}

    def values(self, channel: int, start: int, stop: int) -> Values:
        """In the unit of the channel; NaN where nothing was measured."""
        stored = self._samples[start:stop, channel]
        described = self.channels[channel]
        found: Values = stored.astype(np.float32)
        if self.padding is not None:
            found[stored == self.padding] = np.nan
        # what is too large for a float is no measurement
        with np.errstate(over="ignore", invalid="ignore"):
            found *= np.float32(described.scale)
            found += np.float32(described.baseline)
        found[~np.isfinite(found)] = np.nan
        return found


def groups_of(stored: StoredObject, *, max_seconds: float) -> tuple[Group, ...]:
    """The multiplex groups that can be read, each from its beginning.

    Raises:
        NotAcceptable: There is none: something is missing, contradicts itself, or is cut off.
    """
    defects: list[str] = []
    found: list[Group] = []
    for place, item in enumerate(items(stored.attributes, "WaveformSequence"), 1):
        try:
            found.append(_group(stored, item, place, max_seconds))
        except NotAcceptable as error:
            defects.append(str(error))
    if not found:
        raise NotAcceptable(defects[0] if defects else "the instance has no waveform")
    return tuple(found)


def _group(stored: StoredObject, item: Attributes, place: int, max_seconds: float) -> Group:
    count = integer(item, "NumberOfWaveformChannels") or 0
    samples = integer(item, "NumberOfWaveformSamples") or 0
    frequency = number(item, "SamplingFrequency") or 0.0
    kind = text(item, "WaveformSampleInterpretation")
    sample_type = _TYPES.get(kind)
    if sample_type is None or not 0 < count <= MAX_CHANNELS or samples <= 0 or frequency <= 0:
        raise NotAcceptable(f"group {place} of the waveform is not described as one that is shown")
    bits = integer(item, "WaveformBitsAllocated")
    if bits != sample_type.itemsize * 8:
        raise NotAcceptable(f"group {place} of the waveform has {bits} bits for samples of {kind}")
    content = stored.content(element(item, "WaveformData"))
    if len(content) < count * samples * sample_type.itemsize:
        raise NotAcceptable(f"group {place} of the waveform is shorter than it declares")
    shown = min(samples, MAX_SAMPLES // count, max(1, int(max_seconds * frequency)))
    native = np.frombuffer(content, sample_type, count=shown * count).reshape(shown, count)
    padding = _padding(stored, item, sample_type)
    if kind in _COMPANDED:
        native, padding = _EXPANDED[kind](native), None
    definitions = items(item, "ChannelDefinitionSequence")
    channels = tuple(
        _channel(definitions[index] if index < len(definitions) else {}, index)
        for index in range(count)
    )
    label = showable(text(item, "MultiplexGroupLabel"))
    return Group(place, label, frequency, channels, shown, padding, native)


def duration_of(attributes: Attributes, group: Group) -> float:
    """Seconds that a group lasts, of which `group` may have the first only."""
    item = items(attributes, "WaveformSequence")[group.number - 1]
    return (integer(item, "NumberOfWaveformSamples") or 0) / group.frequency


def _padding(stored: StoredObject, item: Attributes, sample_type: np.dtype[Any]) -> float | None:
    value = stored.content(element(item, "WaveformPaddingValue"))
    if len(value) < sample_type.itemsize:
        return None
    return float(np.frombuffer(value, sample_type, count=1)[0])


def _channel(item: Attributes, index: int) -> Channel:
    sensitivity = number(item, "ChannelSensitivity")
    correction = number(item, "ChannelSensitivityCorrectionFactor")
    unit = code_of(item, "003A0211")
    scale = (1.0 if sensitivity is None else sensitivity) * (
        1.0 if correction is None else correction
    )
    baseline = number(item, "ChannelBaseline") or 0.0
    # as people write what is mm[Hg] in UCUM
    name = (unit.value or unit.meaning).translate({ord("["): None, ord("]"): None})
    if name in _MILLIVOLTS:
        factor, name = _MILLIVOLTS[name], MILLIVOLT
        scale, baseline = scale * factor, baseline * factor
    return Channel(_name(item, index), showable(name), scale, baseline, _filters(item))


def _name(item: Attributes, index: int) -> str:
    source = code_of(item, "003A0208")
    label = text(item, "ChannelLabel")
    for said in (source.meaning, label):
        if match := _LEAD.fullmatch(said.strip()):
            return _LEAD_NAMES[match[1].lower()]
    if source.scheme.startswith("MDC") and source.value in _MDC:
        return _MDC[source.value]
    return showable(label or source.meaning or source.value or f"channel {index + 1}")


def _filters(item: Attributes) -> str:
    low, high = number(item, "FilterLowFrequency"), number(item, "FilterHighFrequency")
    notch = number(item, "NotchFilterFrequency")
    band = f"{low or 0:g}-{high:g} Hz" if high else f"from {low:g} Hz" if low else ""
    return ", ".join(filter(None, (band, f"without {notch:g} Hz" if notch else "")))


def _mu_law(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    code = ~stored.astype(np.uint8)
    exponent = (code >> 4) & 7
    magnitude = (((code & 15).astype(np.int32) << 3) + 132 << exponent) - 132
    return np.where(code & 128, -magnitude, magnitude)


def _a_law(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    code = stored.astype(np.uint8) ^ 0x55
    exponent = ((code >> 4) & 7).astype(np.int32)
    mantissa = ((code & 15).astype(np.int32) << 4) + 8
    magnitude = np.where(exponent > 0, mantissa + 256 << np.maximum(exponent - 1, 0), mantissa)
    return np.where(code & 128, magnitude, -magnitude)


_EXPANDED: Final[Mapping[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]]] = {
    "MB": _mu_law,
    "AB": _a_law,
}
