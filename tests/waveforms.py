"""Small waveforms, made with pydicom."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from bfr_dicomweb.dicom import part10
from bfr_dicomweb.dicom.stored_objects import StoredObject
from objects import a_dataset, written

GENERAL_ECG = "1.2.840.10008.5.1.4.1.1.9.1.2"
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def a_code(value: str, meaning: str, scheme: str = "UCUM") -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def a_channel(name: str, *, unit: str = "uV", **values: Any) -> Dataset:
    channel = Dataset()
    channel.ChannelSourceSequence = Items([a_code("x", name, "99X")])
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = "1", "1"
    channel.ChannelBaseline = "0"
    channel.ChannelSensitivityUnitsSequence = Items([a_code(unit, unit)])
    channel.WaveformBitsStored = 16
    for keyword, value in values.items():
        setattr(channel, keyword, value)
    return channel


def a_group(
    samples: npt.NDArray[Any],
    *names: str,
    frequency: float = 500,
    interpretation: str = "SS",
    unit: str = "uV",
    **values: Any,
) -> Dataset:
    """Samples are (number, channels) of the type that the interpretation has."""
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformSamples, group.NumberOfWaveformChannels = samples.shape
    group.SamplingFrequency = str(frequency)
    group.WaveformBitsAllocated = samples.dtype.itemsize * 8
    group.WaveformSampleInterpretation = interpretation
    group.ChannelDefinitionSequence = Items([a_channel(name, unit=unit) for name in names])
    group.WaveformData = samples.tobytes()
    group["WaveformData"].VR = "OB" if samples.dtype.itemsize == 1 else "OW"
    for keyword, value in values.items():
        setattr(group, keyword, value)
    return group


def a_waveform(*groups: Dataset, **attributes: Any) -> Dataset:
    shared = {"SOPClassUID": GENERAL_ECG, "Modality": "ECG", "PixelData": None}
    return a_dataset(**shared | attributes, WaveformSequence=Items(groups))


def read(dataset: Dataset) -> StoredObject:
    """As it is when it has been stored."""
    file = written(dataset)
    header = part10.read_header(file)
    return StoredObject(
        file,
        transfer_syntax_uid=header.transfer_syntax_uid,
        big_endian=header.big_endian,
        attributes=header.attributes,
        bulk=header.bulk,
        frames=header.frames,
    )


def spikes(places: Sequence[int], height: int, count: int, channels: int) -> npt.NDArray[np.int16]:
    """Silence with single samples of that height."""
    samples = np.zeros((count, channels), "<i2")
    samples[list(places)] = height
    return samples
