"""Waveforms on paper: where the curves go, what is told beside them, and to whom."""

import io
import re
from xml.etree import ElementTree

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.waveform_rendering import MEDIA_TYPES, picture_of, render_waveform
from pdf_text import pdf_pages, pdf_text
from rendering_safety import HOSTILE
from shared_data import dicom_files, require_shared_data
from waveforms import LEADS, a_channel, a_code, a_group, a_waveform, read, spikes

SVG = "image/svg+xml"
NAMESPACE = "{http://www.w3.org/2000/svg}"
MM_PER_SECOND = 25.0
MM_PER_MILLIVOLT = 10.0

Path2 = npt.NDArray[np.float64]


def svg_of(dataset: Dataset, *, with_identity: bool = True) -> ElementTree.Element:
    written = render_waveform(read(dataset), SVG, with_identity=with_identity)
    return ElementTree.fromstring(written)


def curves(svg: ElementTree.Element, name: str) -> list[Path2]:
    """The points of the curves of a channel, in millimetres of the page."""
    found = [
        path.get("d", "") for path in svg.iter(NAMESPACE + "path") if path.get("aria-label") == name
    ]
    return [
        np.array([[float(x) for x in point.split()] for point in path.removeprefix("M").split("L")])
        for path in found
    ]


def said(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter(NAMESPACE + "text")]


def twelve_leads(seconds: float = 10, frequency: int = 500) -> Dataset:
    samples = spikes([], 0, int(seconds * frequency), 12)
    # each lead has its own height, each second its own spike
    for lead in range(12):
        samples[frequency // 2 :: frequency, lead] = 100 * (lead + 1)
    return a_group(samples, *(f"Lead {name}" for name in LEADS), frequency=frequency)


# --- where curves are ------------------------------------------------------------------------


def test_a_millivolt_is_ten_millimetres_and_a_second_twenty_five() -> None:
    samples = spikes([500, 1000], 1000, 2000, 1)
    (curve,) = curves(svg_of(a_waveform(a_group(samples, "I"))), "I")

    peaks = curve[curve[:, 1] < curve[:, 1].max() - 5]
    assert np.ptp(curve[:, 1]) == pytest.approx(MM_PER_MILLIVOLT)
    assert peaks[1, 0] - peaks[0, 0] == pytest.approx(MM_PER_SECOND)


def test_peaks_of_a_sample_stand_where_pydicom_has_them() -> None:
    require_shared_data()
    (path,) = dicom_files("by_modality/WAVEFORM_SYNTHETIC/ecg_12lead_500hz.dcm")
    svg = ElementTree.fromstring(render_waveform(StoredObject.read(path), SVG, with_identity=False))
    rhythm = curves(svg, "II")[-1]

    lead = dcmread(path).waveform_array(0)[:, 1] / 1000
    seconds = np.arange(len(lead)) / 500
    assert len(rhythm) == len(lead)
    np.testing.assert_allclose(rhythm[:, 0] - rhythm[0, 0], seconds * MM_PER_SECOND, atol=0.011)
    np.testing.assert_allclose(
        rhythm[0, 1] - rhythm[:, 1], (lead - lead[0]) * MM_PER_MILLIVOLT, atol=0.011
    )


def test_twelve_leads_have_four_columns_that_follow_in_time() -> None:
    svg = svg_of(a_waveform(twelve_leads()))
    starts = {name: curves(svg, name)[0][0, 0] for name in LEADS}

    columns = [LEADS[0:3], LEADS[3:6], LEADS[6:9], LEADS[9:12]]
    for number, names in enumerate(columns):
        assert {starts[name] - starts["I"] for name in names} == {number * 62.5}
    assert np.ptp(curves(svg, "V4")[0][:, 1]) == pytest.approx(MM_PER_MILLIVOLT)


def test_twelve_leads_have_lead_ii_as_rhythm_strip() -> None:
    parts = curves(svg_of(a_waveform(twelve_leads())), "II")

    assert [round(np.ptp(part[:, 0])) for part in parts] == [62, 250]


def test_of_a_single_beat_each_lead_shows_the_whole() -> None:
    svg = svg_of(a_waveform(twelve_leads(seconds=1.2)))

    assert {len(curves(svg, name)) for name in LEADS} == {1}
    assert {round(np.ptp(curves(svg, name)[0][:, 0])) for name in LEADS} == {30}


def test_channels_that_are_no_leads_stand_one_above_the_other() -> None:
    svg = svg_of(a_waveform(a_group(spikes([5], 100, 500, 3), "I", "II", "V9")))

    heights = [curves(svg, name)[0][0, 1] for name in ("I", "II", "V9")]
    assert heights == sorted(heights)
    assert len(set(heights)) == 3


def test_what_lasts_longer_than_a_strip_goes_on_below() -> None:
    svg = svg_of(a_waveform(a_group(spikes([5], 100, 2500, 1), "I", frequency=100)))

    assert [len(part) for part in curves(svg, "I")] == [1000, 1000, 500]


def test_high_potentials_have_a_smaller_scale_that_is_told() -> None:
    svg = svg_of(a_waveform(a_group(spikes([100], 3000, 500, 1), "I")))

    assert np.ptp(curves(svg, "I")[0][:, 1]) == pytest.approx(15)
    assert any("5 mm/mV" in line for line in said(svg))


def test_pressures_have_a_scale_that_fits_and_is_told() -> None:
    samples = np.tile(np.array([[80], [120]], "<i2"), (500, 1))
    svg = svg_of(a_waveform(a_group(samples, "ART", unit="mm[Hg]")))

    assert np.ptp(curves(svg, "ART")[0][:, 1]) == pytest.approx(20)
    assert "10 mm = 20 mmHg, middle 100 mmHg" in said(svg)


def test_a_curve_has_a_gap_where_nothing_was_measured() -> None:
    samples = spikes([], 0, 500, 1)
    samples[100:200] = -32768
    svg = svg_of(a_waveform(a_group(samples, "I", WaveformPaddingValue=b"\x00\x80")))

    assert [len(part) for part in curves(svg, "I")] == [100, 300]


def test_of_many_samples_the_highest_and_the_lowest_are_drawn() -> None:
    samples = spikes([12_345], 1000, 100_000, 1)
    samples[54_321] = -1000
    svg = svg_of(a_waveform(a_group(samples, "I", frequency=10_000)))

    (curve,) = curves(svg, "I")
    assert len(curve) < 12_000
    assert np.ptp(curve[:, 1]) == pytest.approx(2 * MM_PER_MILLIVOLT)


def test_nothing_leaves_the_page() -> None:
    samples = np.array([[30000], [-30000]] * 500, "<i2")
    channel = a_channel("I", unit="V")
    svg = svg_of(a_waveform(a_group(samples, ChannelDefinitionSequence=[channel])))
    height = float(svg.get("height", "").removesuffix("mm"))

    for curve in curves(svg, "I"):
        assert curve[:, 1].min() >= 0
        assert curve[:, 1].max() <= height


# --- what is told ----------------------------------------------------------------------------


def test_speed_gain_and_duration_are_told() -> None:
    line = next(line for line in said(svg_of(a_waveform(twelve_leads()))) if "mm/s" in line)

    assert line.split("   ") == ["25 mm/s", "10 mm/mV", "500 Hz", "0 to 10 s of 10 s"]


def an_annotation(**values: object) -> Dataset:
    annotation = Dataset()
    for keyword, value in values.items():
        setattr(annotation, keyword, value)
    return annotation


def test_measurements_and_words_of_the_device_are_told() -> None:
    interval = an_annotation(
        ConceptNameCodeSequence=Items([a_code("x", "QT Interval", "MDC")]),
        NumericValue="368",
        MeasurementUnitsCodeSequence=Items([a_code("ms", "millisecond")]),
    )
    words = an_annotation(UnformattedTextValue="Sinusrytm")
    place = an_annotation(
        ConceptNameCodeSequence=Items([a_code("x", "QRS Onset", "MDC")]),
        ReferencedSamplePositions=460,
    )
    dataset = a_waveform(twelve_leads(), WaveformAnnotationSequence=Items([interval, words, place]))

    lines = said(svg_of(dataset))
    assert {"QT Interval: 368 ms", "Sinusrytm"} <= set(lines)
    assert "QRS Onset" not in " ".join(lines)


def test_annotations_that_do_not_fit_are_counted() -> None:
    many = [an_annotation(UnformattedTextValue=f"Said {number}") for number in range(50)]
    lines = said(svg_of(a_waveform(twelve_leads(), WaveformAnnotationSequence=Items(many))))

    assert sum(line.startswith("Said") for line in lines) == 20
    assert "and 30 more" in lines


def test_the_patient_is_named() -> None:
    assert "Björn Åkerström, 191212121212, born 1912-12-12, male" in said(
        svg_of(a_waveform(twelve_leads()))
    )


@pytest.mark.parametrize("media_type", [SVG, "application/pdf"])
def test_without_identity_nothing_tells_whose_it_is(media_type: str) -> None:
    dataset = a_waveform(
        twelve_leads(),
        WaveformAnnotationSequence=Items([an_annotation(UnformattedTextValue="Björn")]),
    )
    written = render_waveform(read(dataset), media_type, with_identity=False)
    found = pdf_text(written) if media_type == "application/pdf" else written.decode()

    assert re.search(r"Åkerström|Björn|1912|A1\b|2024", found) is None


# --- forms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("media_type", "form"), [("image/png", "PNG"), ("image/jpeg", "JPEG")])
def test_pictures_have_six_pixels_a_millimetre(media_type: str, form: str) -> None:
    written = render_waveform(read(a_waveform(twelve_leads())), media_type, with_identity=True)

    with Image.open(io.BytesIO(written)) as image:
        assert image.format == form
        assert image.width == 297 * 6


def test_the_picture_is_drawn_where_the_svg_has_the_curve() -> None:
    dataset = a_waveform(a_group(spikes([500], 1000, 2000, 1), "I"))
    (curve,) = curves(svg_of(dataset), "I")
    x, y = curve[curve[:, 1].argmin()]

    pixels = picture_of(read(dataset), with_identity=False).pixels
    around = pixels[round(y * 6) + 2 : round(y * 6) + 12, round(x * 6) - 3 : round(x * 6) + 4]
    assert around.min() < 90


def test_a_pdf_has_all_groups_and_all_strips() -> None:
    long_group = a_group(spikes([5], 100, 8000, 1), "I", frequency=100)
    written = render_waveform(
        read(a_waveform(twelve_leads(), long_group)), "application/pdf", with_identity=True
    )

    assert pdf_pages(written) == 1 + 2
    assert "Björn Åkerström" in pdf_text(written)


def test_a_pdf_has_no_more_pages_than_anyone_turns() -> None:
    group = a_group(spikes([5], 100, 30_000, 12), *(f"C{n}" for n in range(12)), frequency=10)
    written = render_waveform(read(a_waveform(group)), "application/pdf", with_identity=True)

    assert pdf_pages(written) == 60


def test_equal_waveforms_are_equal_bytes() -> None:
    stored = read(a_waveform(twelve_leads()))

    for media_type in MEDIA_TYPES:
        first = render_waveform(stored, media_type, with_identity=True)
        assert render_waveform(stored, media_type, with_identity=True) == first


def test_a_media_type_that_shows_no_curves_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable):
        render_waveform(read(a_waveform(twelve_leads())), "text/html", with_identity=True)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_markup_in_names_is_text(hostile: str) -> None:
    annotation = an_annotation(UnformattedTextValue=hostile)
    group = a_group(spikes([5], 10, 100, 1), hostile)
    svg = svg_of(
        a_waveform(
            group,
            PatientName=hostile.replace("=", ""),
            WaveformAnnotationSequence=Items([annotation]),
        )
    )

    assert {element.tag.removeprefix(NAMESPACE) for element in svg.iter()} == {
        "svg",
        "rect",
        "path",
        "g",
        "text",
    }


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 5))


@settings(deadline=None, max_examples=50)
@given(
    SHAPES,
    st.sampled_from([1e-6, 0.1, 50, 500, 1e5, 1e12]),
    st.sampled_from(["uV", "mV", "mm[Hg]", "", "1"]),
    st.integers(-32768, 32767),
    st.lists(st.sampled_from([*LEADS, "", "x" * 64]), min_size=5, max_size=5),
    st.sampled_from(["0", "1", "-2.5", "1e-30", "1e30", "1e300"]),
)
def test_any_waveform_is_drawn(
    shape: tuple[int, int],
    frequency: float,
    unit: str,
    height: int,
    names: list[str],
    sensitivity: str,
) -> None:
    samples = np.zeros(shape, "<i2")
    samples[::3] = height
    channels = [a_channel(name, unit=unit, ChannelSensitivity=sensitivity) for name in names]
    group = a_group(samples, frequency=frequency, ChannelDefinitionSequence=channels[: shape[1]])

    svg = svg_of(a_waveform(group))
    assert all(np.isfinite(curve).all() for name in names for curve in curves(svg, name))
