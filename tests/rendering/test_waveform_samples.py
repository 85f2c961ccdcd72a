"""Samples of waveforms in their units, beside pydicom's."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.waveform_samples import LEADS, Group, groups_of
from shared_data import dicom_files, require_shared_data
from waveforms import a_channel, a_group, a_waveform, read


def only(group: Dataset) -> Group:
    (found,) = groups_of(read(a_waveform(group)), max_seconds=60)
    return found


def values(group: Dataset, channel: int = 0) -> list[float]:
    found = only(group)
    return [float(value) for value in found.values(channel, 0, found.number_of_samples)]


@pytest.mark.parametrize(
    "path",
    dicom_files("by_modality/ECG_12lead/*", "by_modality/WAVEFORM_SYNTHETIC/*"),
    ids=lambda path: path.name,
)
def test_values_are_pydicoms(path: Path) -> None:
    require_shared_data()
    dataset = dcmread(path)

    for index, group in enumerate(groups_of(StoredObject.read(path), max_seconds=1e6)):
        expected = dataset.waveform_array(index) / 1000  # microvolts
        found = [
            group.values(channel, 0, group.number_of_samples)
            for channel in range(len(group.channels))
        ]
        np.testing.assert_allclose(np.column_stack(found), expected, rtol=1e-5, atol=1e-6)


def test_a_value_is_a_sample_times_sensitivity_and_correction_plus_the_baseline() -> None:
    channel = a_channel(
        "I",
        ChannelSensitivity="2.5",
        ChannelSensitivityCorrectionFactor="2",
        ChannelBaseline="1000",
    )
    samples = np.array([[0], [100], [-100]], "<i2")

    assert values(a_group(samples, ChannelDefinitionSequence=[channel])) == [1.0, 1.5, 0.5]


@pytest.mark.parametrize(
    ("interpretation", "code"),
    [
        ("SB", "i1"),
        ("UB", "u1"),
        ("SS", "<i2"),
        ("US", "<u2"),
        ("SL", "<i4"),
        ("UL", "<u4"),
        ("SV", "<i8"),
        ("UV", "<u8"),
    ],
)
def test_samples_have_the_type_that_their_interpretation_says(
    interpretation: str, code: str
) -> None:
    kind = np.iinfo(code)
    samples = np.array([[kind.min], [kind.max], [1], [0]], code)

    found = values(a_group(samples, "I", interpretation=interpretation, unit="mmHg"))
    np.testing.assert_allclose(found, samples[:, 0].astype(float), rtol=1e-6)


@pytest.mark.parametrize(
    ("interpretation", "expected"),
    # ITU-T G.711, of codes 00 7F 80 FF 55 D5 2A AA, as 16 bit numbers
    [
        ("MB", [-32124, 0, 32124, 0, -716, 716, -5372, 5372]),
        ("AB", [-5504, -848, 5504, 848, -8, 8, -32256, 32256]),
    ],
)
def test_companded_samples_are_expanded(interpretation: str, expected: list[int]) -> None:
    codes: npt.NDArray[np.uint8] = np.array(
        [[0x00], [0x7F], [0x80], [0xFF], [0x55], [0xD5], [0x2A], [0xAA]], np.uint8
    )

    assert values(a_group(codes, "A", interpretation=interpretation, unit="1")) == expected


def test_padding_is_no_value() -> None:
    samples = np.array([[1], [-32768]], "<i2")
    group = a_group(samples, "I", unit="mV", WaveformPaddingValue=b"\x00\x80")

    assert values(group)[0] == 1
    assert np.isnan(values(group)[1])


@pytest.mark.parametrize("said", ["Lead I", "lead i", "I", "Lead I (Einthoven)"])
def test_leads_are_known_by_their_meaning(said: str) -> None:
    assert only(a_group(np.zeros((2, 1), "<i2"), said)).channels[0].name == "I"


@pytest.mark.parametrize("code", ["MDC_ECG_LEAD_AVR", "2:62"])
def test_leads_are_known_by_their_code(code: str) -> None:
    channel = a_channel("")
    channel.ChannelSourceSequence[0].CodeValue = code
    channel.ChannelSourceSequence[0].CodingSchemeDesignator = "MDC"
    group = a_group(np.zeros((2, 1), "<i2"), ChannelDefinitionSequence=[channel])

    assert only(group).channels[0].name == "aVR"


def test_the_leads_of_a_sample_are_the_twelve() -> None:
    require_shared_data()
    (path,) = dicom_files("by_modality/ECG_12lead/*")

    assert tuple(groups_of(StoredObject.read(path), max_seconds=10)[0].leads) == LEADS


def test_channels_without_a_definition_are_numbered() -> None:
    group = a_group(np.zeros((2, 2), "<i2"), "I")

    assert [channel.name for channel in only(group).channels] == ["I", "channel 2"]


# --- what is refused before anything is allocated --------------------------------------------


@pytest.mark.parametrize(
    "values_of_group",
    [
        {"NumberOfWaveformSamples": 4_000_000_000},
        {"NumberOfWaveformChannels": 65535},
        {"NumberOfWaveformChannels": 0},
        {"SamplingFrequency": "0"},
        {"SamplingFrequency": "-500"},
        {"WaveformSampleInterpretation": "XX"},
        {"WaveformBitsAllocated": 8},
        {"WaveformData": b"\0"},
    ],
)
def test_a_waveform_that_declares_what_is_not_there_is_refused(
    values_of_group: dict[str, Any],
) -> None:
    group = a_group(np.zeros((10, 1), "<i2"), "I", **values_of_group)

    with pytest.raises(NotAcceptable, match="group 1"):
        only(group)


def test_the_groups_that_can_be_read_are_shown() -> None:
    good = a_group(np.zeros((10, 1), "<i2"), "I")
    bad = a_group(np.zeros((10, 1), "<i2"), "I", WaveformData=b"")

    (found,) = groups_of(read(a_waveform(bad, good)), max_seconds=60)
    assert found.number == 2


def test_no_more_than_is_asked_for_is_read() -> None:
    group = a_group(np.zeros((5000, 1), "<i2"), "I", frequency=100)

    (found,) = groups_of(read(a_waveform(group)), max_seconds=10)
    assert found.number_of_samples == 1000
