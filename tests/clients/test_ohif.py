"""OHIF in a real browser, from another origin than the archive's, reads and writes.

The viewer's configuration is the one in examples/ohif, so that it is known to work.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from dicomweb_client import DICOMwebClient
from playwright.sync_api import BrowserContext, expect, sync_playwright
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO

from clients.archive import Archive
from clients.ohif_pages import Ohif, StudyList, Viewer
from clients.ohif_server import OhifMissing, OhifServer, ohif_dist, ohif_server
from clients.other_studies import as_file, ecg_object, pdf_object, video_object
from clients.studies import CT_SIZE, US_COLUMNS, US_ROWS, Study, ct_study

APP_CONFIG = Path(__file__).parents[2] / "examples" / "ohif" / "app-config.js"
# Software WebGL, and no connection of the browser's own accord.
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
TIMEOUT_MS = 30_000
TOUR_IS_DONE = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))"

# Other ways to configure OHIF; each changes what it asks for and in which words.
VARIANTS = {
    "quoted-accept": {"omitQuotationForMultipartRequest: true": "omitQuotation: false"},
    "whole-study-at-once": {"enableStudyLazyLoad: true": "enableStudyLazyLoad: false"},
    "multipart-bulk-data": {"singlepart: 'bulkdata,video,pdf'": "singlepart: ''"},
}


def app_config(archive: Archive, changes: dict[str, str]) -> str:
    text = APP_CONFIG.read_text(encoding="utf-8")
    for old, new in {"http://127.0.0.1:8080/dicomweb": archive.url, **changes}.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def dist() -> Path:
    try:
        return ohif_dist()
    except OhifMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(dist: Path) -> Iterator[OhifServer]:
    with ohif_server(dist) as server:
        yield server


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        context = browser.new_context(viewport={"width": 1600, "height": 700})
        context.set_default_timeout(TIMEOUT_MS)
        context.add_init_script(TOUR_IS_DONE)
        yield context
        browser.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = os.environ.get("BFR_TEST_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def changes(request: pytest.FixtureRequest) -> dict[str, str]:
    """What to replace in app-config.js; a test asks for another by indirect parameters."""
    chosen: dict[str, str] = getattr(request, "param", {})
    return chosen


@pytest.fixture
def ohif(
    context: BrowserContext,
    server: OhifServer,
    archive: Archive,
    changes: dict[str, str],
    screenshots: Path,
) -> Iterator[Ohif]:
    server.app_config = app_config(archive, changes)
    with context.new_page() as page:
        yield Ohif(page, server.url, archive.url, screenshots)


@pytest.fixture(scope="module")
def ct_viewer(
    context: BrowserContext, server: OhifServer, archive: Archive, screenshots: Path, ct: Study
) -> Iterator[Viewer]:
    """The CT opened once. Tests scroll in it, so none may count on a certain slice."""
    server.app_config = app_config(archive, {})
    with context.new_page() as page:
        ohif = Ohif(page, server.url, archive.url, screenshots)
        yield Viewer.opened(ohif, ct.study_instance_uid)


@pytest.fixture(scope="module")
def ultrasound_viewer(
    context: BrowserContext,
    server: OhifServer,
    archive: Archive,
    screenshots: Path,
    ultrasound: Study,
) -> Iterator[Viewer]:
    """The cine loop opened once. Tests play it, so none may count on a certain frame."""
    server.app_config = app_config(archive, {})
    with context.new_page() as page:
        ohif = Ohif(page, server.url, archive.url, screenshots)
        yield Viewer.opened(ohif, ultrasound.study_instance_uid)


@dataclass(frozen=True, slots=True)
class Measurement:
    study: Study
    length_mm: float


@pytest.fixture(scope="module")
def measurement(
    context: BrowserContext, server: OhifServer, archive: Archive, screenshots: Path
) -> Measurement:
    """A length drawn and saved with OHIF, in a study of its own: saving adds a series."""
    study = ct_study("Öberg^Aina", "196408233234")
    archive.store(study.files)
    server.app_config = app_config(archive, {})
    with context.new_page() as page:
        ohif = Ohif(page, server.url, archive.url, screenshots)
        viewer = Viewer.opened(ohif, study.study_instance_uid)
        viewer.draw_length()
        length_mm = viewer.length_label_mm()
        viewer.save_measurements("Mätning")
        ohif.save_screenshot("measurement-saved")
    return Measurement(study, length_mm)


# Thumbnails made by the archive: how OHIF calls them, and which resource it asks for.
THUMBNAILS = {"thumbnail": "thumbnail", "rendered": "rendered", "thumbnailDirect": "thumbnail"}


def correlation(shown: npt.NDArray[np.uint8], stored: npt.NDArray[np.float64]) -> float:
    """How alike two pictures are, 1 for equal but for brightness and contrast."""
    return float(np.corrcoef(shown.ravel(), stored.ravel())[0, 1])


def content_items(report: Dataset) -> Iterator[Dataset]:
    for item in report.get("ContentSequence", []):
        yield item
        yield from content_items(item)


def windowed_slice(study: Study, number: int) -> npt.NDArray[np.float64]:
    image = dcmread(DicomBytesIO(study.files[number - 1]))
    low = image.WindowCenter - image.WindowWidth / 2
    stored: npt.NDArray[np.float64] = (image.pixel_array - low) / image.WindowWidth
    return stored.clip(0, 1)


def stored_frame(study: Study, number: int) -> npt.NDArray[np.float64]:
    """Shape (rows, columns, 3), values 0..255."""
    frames = dcmread(DicomBytesIO(study.files[0])).pixel_array
    frame: npt.NDArray[np.float64] = frames[number - 1].astype(np.float64)
    return frame


def test_the_study_list_shows_every_study(ohif: Ohif, ct: Study, ultrasound: Study) -> None:
    study_list = StudyList.opened(ohif)

    expect(study_list.row_of("Sjöqvist, Märta")).to_be_visible()
    expect(study_list.row_of("Åkerström, Björn")).to_be_visible()
    ohif.save_screenshot("study-list")


def test_the_study_list_shows_what_it_asked_to_have_included(
    ohif: Ohif, ct: Study, ultrasound: Study
) -> None:
    study_list = StudyList.opened(ohif)

    expect(study_list.row_of("Sjöqvist, Märta")).to_contain_text("UL Hjärta")


def test_a_name_is_found_in_lower_case_and_without_marks(
    ohif: Ohif, ct: Study, ultrasound: Study
) -> None:
    study_list = StudyList.opened(ohif)
    expect(study_list.row_of("Sjöqvist, Märta")).to_be_visible()

    study_list.filter("Patient", "akerstrom")

    expect(study_list.rows).to_have_count(1)
    expect(study_list.rows).to_contain_text("Åkerström, Björn")
    ohif.save_screenshot("search-by-name")


def test_a_part_of_the_patient_id_finds_the_study(ohif: Ohif, ct: Study, ultrasound: Study) -> None:
    study_list = StudyList.opened(ohif)
    expect(study_list.row_of("Åkerström, Björn")).to_be_visible()

    study_list.filter("MRN", "080982")

    expect(study_list.rows).to_have_count(1)
    expect(study_list.rows).to_contain_text("Sjöqvist, Märta")


def test_an_opened_series_shows_the_slice_as_stored(ct_viewer: Viewer, ct: Study) -> None:
    shown = ct_viewer.picture(columns=CT_SIZE, rows=CT_SIZE).mean(axis=2)

    ct_viewer.ohif.save_screenshot("ct")
    assert correlation(shown, windowed_slice(ct, ct_viewer.instance_number())) > 0.97


def test_scrolling_shows_the_slices_in_order(ct_viewer: Viewer, ct: Study) -> None:
    first = ct_viewer.instance_number()

    ct_viewer.scroll(6)

    ct_viewer.ohif.save_screenshot("ct-scrolled")
    assert ct_viewer.instance_number() == first + 6
    shown = ct_viewer.picture(columns=CT_SIZE, rows=CT_SIZE).mean(axis=2)
    assert correlation(shown, windowed_slice(ct, first + 6)) > 0.97


def test_the_viewer_shows_a_thumbnail_of_the_series(ct_viewer: Viewer) -> None:
    expect(ct_viewer.thumbnails).to_have_count(1)
    expect(ct_viewer.thumbnails).not_to_have_js_property("naturalWidth", 0)


def test_the_viewer_loads_every_slice_ahead(ct_viewer: Viewer, ct: Study) -> None:
    ct_viewer.ohif.page.wait_for_load_state("networkidle")

    frames = {path for _, _, path in ct_viewer.ohif.answers if path.endswith("/frames/1")}
    assert len(frames) == len(ct.files)


def test_nothing_the_viewer_asks_for_is_refused(ct_viewer: Viewer) -> None:
    ct_viewer.ohif.page.wait_for_load_state("networkidle")

    assert ct_viewer.ohif.refused() == []


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS, indirect=True)
def test_other_configurations_of_the_viewer_show_the_picture_too(ohif: Ohif, ct: Study) -> None:
    viewer = Viewer.opened(ohif, ct.study_instance_uid)

    shown = viewer.picture(columns=CT_SIZE, rows=CT_SIZE).mean(axis=2)

    assert correlation(shown, windowed_slice(ct, 1)) > 0.97
    expect(viewer.thumbnails).not_to_have_js_property("naturalWidth", 0)
    assert ohif.refused() == []


def test_a_cine_loop_shows_its_frame_in_colour(
    ultrasound_viewer: Viewer, ultrasound: Study
) -> None:
    shown = ultrasound_viewer.picture(columns=US_COLUMNS, rows=US_ROWS)

    ultrasound_viewer.ohif.save_screenshot("ultrasound")
    stored = stored_frame(ultrasound, ultrasound_viewer.image_number())
    blue, in_jet = shown[..., 2].astype(int) - shown[..., 0], stored[..., 2] - stored[..., 0] > 150
    assert in_jet.any()
    assert blue[in_jet].mean() > 100 > 20 > blue[~in_jet].mean()


def test_a_cine_loop_plays(ultrasound_viewer: Viewer, ultrasound: Study) -> None:
    first = ultrasound_viewer.image_number()

    ultrasound_viewer.play_until_image(first + 8)

    ultrasound_viewer.ohif.save_screenshot("ultrasound-played")
    assert ultrasound_viewer.instance_number() == 1
    shown = ultrasound_viewer.picture(columns=US_COLUMNS, rows=US_ROWS).mean(axis=2)
    alike = [
        correlation(shown, stored_frame(ultrasound, number).mean(axis=2))
        for number in (first, ultrasound_viewer.image_number())
    ]
    assert alike[1] > 0.9 > alike[0]


def test_a_saved_measurement_is_a_structured_report_in_the_study(
    archive: Archive, measurement: Measurement
) -> None:
    client = DICOMwebClient(archive.url)

    found = client.search_for_series(
        measurement.study.study_instance_uid, search_filters={"Modality": "SR"}
    )

    assert len(found) == 1


def test_a_saved_measurement_has_the_length_that_was_drawn(
    archive: Archive, measurement: Measurement
) -> None:
    client = DICOMwebClient(archive.url)
    study_uid = measurement.study.study_instance_uid
    [series] = client.search_for_series(study_uid, search_filters={"Modality": "SR"})

    [report] = client.retrieve_series_metadata(study_uid, series["0020000E"]["Value"][0])

    lengths = [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in content_items(Dataset.from_json(report))
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeMeaning == "Length"
    ]
    assert lengths == [pytest.approx(measurement.length_mm, abs=0.1)]


def test_a_saved_measurement_is_listed_when_the_study_is_opened_again(
    ohif: Ohif, measurement: Measurement
) -> None:
    Viewer.opened(ohif, measurement.study.study_instance_uid)

    report = ohif.page.get_by_text("SR", exact=True)

    expect(report.first).to_be_visible()
    ohif.save_screenshot("report-listed")


@pytest.mark.parametrize(
    ("changes", "resource"),
    [
        ({"thumbnailRendering: 'wadors'": f"thumbnailRendering: '{name}'"}, resource)
        for name, resource in THUMBNAILS.items()
    ],
    ids=THUMBNAILS,
    indirect=["changes"],
)
def test_the_panel_shows_the_thumbnails_of_the_archive(
    ohif: Ohif, ct: Study, resource: str
) -> None:
    viewer = Viewer.opened(ohif, ct.study_instance_uid)

    expect(viewer.thumbnails).not_to_have_js_property("naturalWidth", 0)
    asked = [status for status, _, path in ohif.answers if path.endswith(f"/{resource}")]
    assert asked[:1] == [200]
    assert ohif.refused() == []


def test_a_video_plays_and_can_be_sought(ohif: Ohif, archive: Archive) -> None:
    video = video_object()
    archive.store([as_file(video)])

    with ohif.page.expect_response(re.compile("/rendered$")) as asked:
        ohif.page.goto(f"{ohif.url}/viewer?StudyInstanceUIDs={video.StudyInstanceUID}")
    ohif.page.wait_for_function(
        """() => {
            const canvas = document.querySelector('.cornerstone-canvas');
            const context = canvas && canvas.getContext('2d');
            if (!context || !canvas.width) return false;
            const middle = [canvas.width / 2, canvas.height / 2];
            const [red, , blue] = context.getImageData(...middle, 1, 1).data;
            return blue > 200 && red < 50;
        }"""
    )
    sought = ohif.page.evaluate(
        """async link => {
            const video = document.createElement('video');
            const happens = name =>
                new Promise(done => video.addEventListener(name, done, {once: true}));
            const at = async seconds => {
                video.currentTime = seconds;
                await happens('seeked');
                const context = new OffscreenCanvas(1, 1).getContext('2d');
                context.drawImage(video, 0, 0, 1, 1);
                const [red, , blue] = context.getImageData(0, 0, 1, 1).data;
                return red > blue ? 'red' : 'blue';
            };
            video.crossOrigin = 'anonymous';
            video.muted = true;
            video.src = link;
            await happens('canplay');
            const colours = [await at(2.8), await at(0.2)];
            await video.play();
            await happens('timeupdate');
            await happens('timeupdate');
            return {colours, advanced: video.currentTime > 0.2, seconds: video.duration};
        }""",
        asked.value.url,
    )

    ohif.save_screenshot("video")
    assert sought == {"colours": ["red", "blue"], "advanced": True, "seconds": 3}
    assert asked.value.status == 206
    assert ohif.refused() == []


def test_an_encapsulated_pdf_opens(ohif: Ohif, archive: Archive) -> None:
    document = pdf_object()
    archive.store([as_file(document)])

    ohif.page.goto(f"{ohif.url}/viewer?StudyInstanceUIDs={document.StudyInstanceUID}")
    shown = ohif.page.locator("object[type='application/pdf']")

    expect(shown).to_have_attribute("data", re.compile("/rendered$"))
    ohif.save_screenshot("pdf")
    # what the browser's own viewer loads is not told; so once more, as a navigation asks
    link = str(shown.get_attribute("data"))
    answer = ohif.page.request.get(link, headers={"Accept": "text/html,image/avif,*/*;q=0.8"})
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.body().startswith(b"%PDF-")
    assert ohif.refused() == []


def test_an_electrocardiogram_is_drawn(ohif: Ohif, archive: Archive) -> None:
    ecg = ecg_object()
    archive.store([as_file(ecg)])

    ohif.page.goto(f"{ohif.url}/viewer?StudyInstanceUIDs={ecg.StudyInstanceUID}")
    ohif.page.wait_for_function(
        """() => {
            const canvas = document.querySelector('.cornerstone-canvas');
            const context = canvas && canvas.getContext('2d');
            if (!context || !canvas.width) return false;
            const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
            let white = 0;
            for (let at = 0; at < data.length; at += 4)
                white += data[at] > 180 && data[at + 1] > 180 && data[at + 2] > 180;
            return white > 2000;
        }"""
    )

    ohif.save_screenshot("ecg")
    assert ohif.refused() == []
