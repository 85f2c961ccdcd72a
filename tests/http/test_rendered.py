"""Rendered resources (PS3.18 sections 8.3.5 and 8.7.4); ids are those of the conformance cases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    JPEGBaseline8Bit,
)

import presentation_objects
import slide_objects
import waveforms
from live import Live
from objects import a_cine, a_dataset, a_report, uid, written
from retrieved import jpeg, parts_of, raw_parts
from stored_images import a_ramp

Store = Callable[..., httpx2.Response]
Ask = Callable[..., httpx2.Response]
Pixels = npt.NDArray[Any]

JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
SEVERAL_JPEG = 'multipart/related; type="image/jpeg"'
ROWS, COLUMNS = 48, 64
# What is shown does not depend on the database; how it is found there, the other classes tell.
ONE_DATABASE = pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="session")


def slices() -> list[Dataset]:
    """F1: slices of 64 x 48 pixels, a ramp of Hounsfield units from -1024."""
    ramp = np.arange(ROWS * COLUMNS, dtype=np.int16).reshape(ROWS, COLUMNS)
    study, series = uid(), uid()
    return [
        a_dataset(
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            InstanceNumber=number,
            Rows=ROWS,
            Columns=COLUMNS,
            PixelRepresentation=1,
            BitsStored=16,
            HighBit=15,
            RescaleSlope=1,
            RescaleIntercept=-1024,
            WindowCenter=40,
            WindowWidth=400,
            PixelData=(ramp + number).tobytes(),
        )
        for number in range(1, 9)
    ]


def path_of(dataset: Dataset) -> str:
    return (
        f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )


def image_of(response: httpx2.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(BytesIO(response.content))


def pixels_of(response: httpx2.Response) -> Pixels:
    return np.asarray(image_of(response)).astype(int)


@pytest.fixture(scope="module")
def ct() -> list[Dataset]:
    return slices()


@pytest.fixture
def ask(client: httpx2.Client, store: Store, ct: list[Dataset]) -> Ask:
    """GET /rendered of the first slice; keyword arguments are its query."""
    store([written(one) for one in ct], status=200)

    def get(header: str | None = JPEG, path: str = "", **query: Any) -> httpx2.Response:
        where = (path or path_of(ct[0])) + "/rendered"
        request = client.build_request("GET", where, params=query)
        del request.headers["Accept"]
        if header is not None:
            request.headers["Accept"] = header
        return client.send(request)

    return get


class TestMediaTypes:
    def test_a_jpeg_is_a_baseline_one_of_the_size_of_the_image(self, ask: Ask) -> None:
        """REN-01, REN-20"""
        response = ask(JPEG)

        assert response.headers["Content-Type"] == JPEG
        assert b"\xff\xc0\x00\x0b\x08" in response.content  # SOF0, 8 bits, one component
        assert image_of(response).size == (COLUMNS, ROWS)

    @pytest.mark.parametrize(
        "media_type", [PNG, GIF, "image/jp2", "image/jph", "image/jxl", "image/webp", "image/avif"]
    )
    def test_other_types_are_made(self, ask: Ask, media_type: str) -> None:
        """REN-02"""
        response = ask(media_type)

        assert response.status_code == 200
        assert response.headers["Content-Type"] == media_type

    @pytest.mark.parametrize("accept", ["*/*", "image/*"])
    def test_a_range_of_types_gets_jpeg(self, ask: Ask, accept: str) -> None:
        """REN-03"""
        assert ask(accept).headers["Content-Type"] == JPEG

    def test_the_accept_parameter_comes_first(self, ask: Ask) -> None:
        """COM-13, COM-14"""
        assert ask("*/*", accept=PNG).headers["Content-Type"] == PNG
        assert ask("image/*", accept=PNG).headers["Content-Type"] == PNG

    def test_without_an_accept_header_nothing_is_acceptable(self, ask: Ask) -> None:
        """COM-02"""
        assert ask(None, accept=JPEG).status_code == 406

    def test_dicom_and_rendered_types_are_not_mixed(self, ask: Ask) -> None:
        """COM-11"""
        assert ask("image/jpeg, application/dicom").status_code == 400

    def test_a_transfer_syntax_parameter_means_nothing(self, ask: Ask) -> None:
        """REN-09"""
        response = ask("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50")

        assert response.headers["Content-Type"] == JPEG

    def test_what_cannot_be_made_is_refused_with_what_can(self, ask: Ask) -> None:
        response = ask("text/html")

        assert response.status_code == 406
        assert "image/jpeg" in response.text

    def test_an_unknown_instance_is_404(self, ask: Ask) -> None:
        """REN-34"""
        assert (
            ask(JPEG, path=f"/studies/{uid()}/series/{uid()}/instances/{uid()}").status_code == 404
        )

    def test_a_known_entity_tag_is_answered_with_304(
        self, ask: Ask, client: httpx2.Client, ct: list[Dataset]
    ) -> None:
        etag = ask(JPEG).headers["ETag"]
        again = client.get(
            path_of(ct[0]) + "/rendered", headers={"Accept": JPEG, "If-None-Match": etag}
        )

        assert again.status_code == 304

    def test_another_window_is_another_representation(self, ask: Ask) -> None:
        assert ask(JPEG).headers["ETag"] != ask(JPEG, window="1,2,linear").headers["ETag"]

    def test_a_part_of_it_can_be_asked_for(
        self, ask: Ask, client: httpx2.Client, ct: list[Dataset]
    ) -> None:
        whole = ask(PNG).content
        part = client.get(
            path_of(ct[0]) + "/rendered", headers={"Accept": PNG, "Range": "bytes=4-9"}
        )

        assert (part.status_code, part.content) == (206, whole[4:10])


@ONE_DATABASE
class TestSeveral:
    def test_a_study_is_no_single_picture(self, ask: Ask, ct: list[Dataset]) -> None:
        """REN-05"""
        assert ask(JPEG, f"/studies/{ct[0].StudyInstanceUID}").status_code == 406

    def test_a_series_comes_in_parts_in_its_order(self, ask: Ask, ct: list[Dataset]) -> None:
        """REN-06"""
        series = path_of(ct[0]).split("/instances")[0]
        response = ask(SEVERAL_JPEG, series)

        assert response.status_code == 200
        locations = [part["Content-Location"] for part, _ in parts_of(response)]
        assert [one.SOPInstanceUID in location for one, location in zip(ct, locations, strict=True)]
        assert {part["Content-Type"] for part, _ in parts_of(response)} == {JPEG}

    def test_what_cannot_be_shown_is_left_out_and_said(
        self, ask: Ask, store: Store, ct: list[Dataset]
    ) -> None:
        raw = a_dataset(
            SOPClassUID="1.2.840.10008.5.1.4.1.1.66",
            StudyInstanceUID=uid(),
            Modality="OT",
            Rows=None,
            PixelData=None,
        )
        image = a_dataset(StudyInstanceUID=raw.StudyInstanceUID)
        store([written(raw), written(image)])

        response = ask(SEVERAL_JPEG, f"/studies/{raw.StudyInstanceUID}")

        assert response.status_code == 206
        assert len(parts_of(response)) == 1


@ONE_DATABASE
class TestWindow:
    """REN-10, REN-11: PS3.3 sections C.11.2.1.2 and C.11.2.1.3"""

    @pytest.fixture
    def hounsfield(self, ct: list[Dataset]) -> Pixels:
        return ct[0].pixel_array.astype(float) - 1024

    def test_linear(self, ask: Ask, hounsfield: Pixels) -> None:
        shown = pixels_of(ask(PNG, window="40,400,linear"))
        expected = np.clip(((hounsfield - 39.5) / 399 + 0.5) * 255, 0, 255)

        assert np.abs(shown - expected).max() <= 1
        assert not shown[hounsfield <= -160].any()
        assert (shown[hounsfield > 239] == 255).all()

    def test_linear_exact(self, ask: Ask, hounsfield: Pixels) -> None:
        shown = pixels_of(ask(PNG, window="40,400,linear-exact"))
        expected = np.clip(((hounsfield - 40) / 400 + 0.5) * 255, 0, 255)

        assert np.abs(shown - expected).max() <= 1

    def test_sigmoid(self, ask: Ask, hounsfield: Pixels) -> None:
        shown = pixels_of(ask(PNG, window="40,400,sigmoid"))
        expected = 255 / (1 + np.exp(-4 * (hounsfield - 40) / 400))

        assert np.abs(shown - expected).max() <= 1

    def test_without_one_that_of_the_image_is_used(self, ask: Ask) -> None:
        assert (pixels_of(ask(PNG)) == pixels_of(ask(PNG, window="40,400,linear"))).all()

    @pytest.mark.parametrize("window", ["40", "40,400", "40,400,foo", "a,b,linear", "40,0,linear"])
    def test_an_invalid_one_is_refused(self, ask: Ask, window: str) -> None:
        """REN-12, REN-13"""
        assert ask(JPEG, window=window).status_code == 400


@ONE_DATABASE
class TestViewport:
    @pytest.mark.parametrize(
        ("viewport", "size"),
        [("32,32", (32, 24)), ("128,128", (128, 96))],
        ids=["REN-14", "REN-15"],
    )
    def test_the_image_fits_and_keeps_its_aspect(
        self, ask: Ask, viewport: str, size: tuple[int, int]
    ) -> None:
        assert image_of(ask(PNG, viewport=viewport)).size == size

    def test_a_region_of_its_own_size_is_cut_out(self, ask: Ask) -> None:
        """REN-16"""
        assert (
            pixels_of(ask(PNG, viewport="32,24,0,0,32,24")) == pixels_of(ask(PNG))[:24, :32]
        ).all()

    def test_a_negative_width_turns_it_from_left_to_right(self, ask: Ask) -> None:
        """REN-17"""
        shown = pixels_of(ask(PNG, viewport="64,48,,,-64,48"))
        assert (shown == pixels_of(ask(PNG))[:, ::-1]).all()

    def test_a_negative_height_turns_it_upside_down(self, ask: Ask) -> None:
        """REN-18"""
        shown = pixels_of(ask(PNG, viewport="64,48,,,64,-48"))
        assert (shown == pixels_of(ask(PNG))[::-1]).all()

    @pytest.mark.parametrize("viewport", ["32", "0,10", "a,b", "1,2,3,4,5,6,7", "9,9,100,100,2,2"])
    def test_an_invalid_one_is_refused(self, ask: Ask, viewport: str) -> None:
        """REN-19"""
        assert ask(JPEG, viewport=viewport).status_code == 400


@ONE_DATABASE
class TestQualityAndAnnotation:
    def test_a_low_quality_is_not_larger(self, ask: Ask) -> None:
        """REN-21"""
        assert len(ask(JPEG, quality=10).content) <= len(ask(JPEG, quality=95).content)

    @pytest.mark.parametrize("quality", ["0", "101", "x", ""])
    def test_an_invalid_quality_is_refused(self, ask: Ask, quality: str) -> None:
        """REN-22"""
        assert ask(JPEG, quality=quality).status_code == 400

    @pytest.mark.parametrize("annotation", ["patient", "technique", "patient,technique"])
    def test_an_annotation_is_burnt_in(self, ask: Ask, annotation: str) -> None:
        """REN-23"""
        shown = pixels_of(ask(PNG, annotation=annotation, viewport="512,512"))
        assert (shown != pixels_of(ask(PNG, viewport="512,512"))).any()

    def test_one_that_is_not_known_is_ignored_with_a_warning(self, ask: Ask) -> None:
        """REN-24"""
        response = ask(JPEG, annotation="foo")

        assert response.status_code == 200
        said = response.headers["Warning"]
        assert said.startswith("299 http")
        assert said.endswith(": The following annotation values are not supported: foo")

    def test_an_empty_one_is_refused(self, ask: Ask) -> None:
        """REN-25"""
        assert ask(JPEG, annotation="").status_code == 400


@ONE_DATABASE
class TestColor:
    @pytest.fixture
    def photograph(self, ask: Ask, store: Store) -> str:
        file = a_cine([jpeg(50)])
        store([file])
        return path_of(pydicom.dcmread(BytesIO(file)))

    def test_a_profile_is_embedded_when_it_is_asked_for(self, ask: Ask, photograph: str) -> None:
        """REN-26"""
        response = ask(JPEG, photograph, iccprofile="srgb")
        assert b"ICC_PROFILE\0" in response.content

    def test_none_is_embedded_when_none_is_asked_for(self, ask: Ask, photograph: str) -> None:
        """REN-27"""
        assert b"ICC_PROFILE\0" not in ask(JPEG, photograph, iccprofile="no").content

    def test_a_type_that_cannot_hold_one_is_refused(self, ask: Ask, photograph: str) -> None:
        """REN-28"""
        assert ask(GIF, photograph, iccprofile="yes").status_code == 400

    def test_an_unknown_space_is_refused(self, ask: Ask, photograph: str) -> None:
        """REN-29"""
        assert ask(JPEG, photograph, iccprofile="foo").status_code == 400

    def test_monochrome1_is_inverted(self, ask: Ask, store: Store, ct: list[Dataset]) -> None:
        """REN-30"""
        inverted = slices()[0]
        inverted.PhotometricInterpretation = "MONOCHROME1"
        store([written(inverted)])

        shown = pixels_of(ask(PNG, path_of(inverted)))
        assert np.abs(shown + pixels_of(ask(PNG)) - 255).max() <= 1

    def test_palette_colors_are_mapped(self, ask: Ask, store: Store) -> None:
        """REN-30"""
        image = a_dataset(PhotometricInterpretation="PALETTE COLOR", BitsStored=8, HighBit=7)
        for name, values in (
            ("Red", np.arange(256)),
            ("Green", np.arange(256)[::-1]),
            ("Blue", np.full(256, 7)),
        ):
            setattr(image, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
            table = (values * 257).astype("<u2").tobytes()
            setattr(image, f"{name}PaletteColorLookupTableData", table)
        store([written(image)])

        shown = pixels_of(ask(PNG, path_of(image)))
        stored = image.pixel_array.astype(int)
        assert (shown[..., 0] == stored).all()
        assert (shown[..., 1] == 255 - stored).all()
        assert (shown[..., 2] == 7).all()


@ONE_DATABASE
class TestFrames:
    """F8"""

    @pytest.fixture
    def frames(self, ask: Ask, store: Store) -> Dataset:
        pixels = np.stack([np.full((16, 16), shade, "<u2") for shade in (0, 2000, 4095)])
        multi = a_dataset(
            SOPClassUID=EnhancedMRImageStorage,
            NumberOfFrames=3,
            WindowCenter=2048,
            WindowWidth=4096,
            PixelData=pixels.tobytes(),
        )
        store([written(multi)])
        return multi

    def test_one_frame_is_one_picture(self, ask: Ask, frames: Dataset) -> None:
        """REN-04"""
        shown = pixels_of(ask(JPEG, f"{path_of(frames)}/frames/2"))
        assert abs(shown.mean() - 125) < 3

    def test_several_frames_come_in_parts(self, ask: Ask, frames: Dataset) -> None:
        response = ask(SEVERAL_JPEG, f"{path_of(frames)}/frames/3,1")
        means = [np.asarray(Image.open(BytesIO(part))).mean() for part in raw_parts(response)]
        assert means == pytest.approx([255, 0], abs=2)

    def test_all_of_them_are_what_anything_stands_for(self, ask: Ask, frames: Dataset) -> None:
        """REN-35, D-3"""
        response = ask("*/*", path_of(frames))

        assert response.headers["Content-Type"].startswith("multipart/related")
        assert len(parts_of(response)) == 3

    def test_a_gif_moves(self, ask: Ask, frames: Dataset) -> None:
        shown = image_of(ask(GIF, path_of(frames)))
        assert getattr(shown, "n_frames", 1) == 3

    def test_a_still_picture_of_several_is_for_links_alone(self, ask: Ask, frames: Dataset) -> None:
        """As viewers link to thumbnails; a header gets all frames or none."""
        assert ask(JPEG, path_of(frames)).status_code == 406
        assert abs(pixels_of(ask("*/*", path_of(frames), accept=JPEG)).mean() - 125) < 3

    @pytest.mark.parametrize("number", ["4", "1,4"])
    def test_a_frame_that_is_not_there_is_404(self, ask: Ask, frames: Dataset, number: str) -> None:
        assert ask(SEVERAL_JPEG, f"{path_of(frames)}/frames/{number}").status_code == 404


@ONE_DATABASE
class TestSafety:
    def test_a_frame_that_is_declared_to_be_huge_is_refused(self, ask: Ask, store: Store) -> None:
        bomb = pydicom.dcmread(BytesIO(a_cine([jpeg(1)])))
        bomb.Rows = bomb.Columns = 65535
        store([written(bomb, JPEGBaseline8Bit)])

        response = ask(JPEG, path_of(bomb) + "/frames/1")

        assert response.status_code == 406
        assert "exceeds the limit" in response.text

    def test_one_that_is_declared_to_be_larger_than_it_is_is_refused(
        self, ask: Ask, store: Store
    ) -> None:
        lie = pydicom.dcmread(BytesIO(a_cine([jpeg(1)])))
        lie.Rows = lie.Columns = 8000
        store([written(lie, JPEGBaseline8Bit)])

        assert ask(JPEG, path_of(lie) + "/frames/1").status_code == 406

    def test_a_slow_picture_keeps_no_frame_waiting(
        self, ask: Ask, store: Store, server: Live, client: httpx2.Client
    ) -> None:
        """Frames are decoded by other processes than those that render."""
        noise = np.random.default_rng(7).integers(0, 4096, (30, 256, 256), dtype="<u2")
        long = a_dataset(
            SOPClassUID=EnhancedMRImageStorage,
            NumberOfFrames=30,
            Rows=256,
            Columns=256,
            PixelData=noise.tobytes(),
        )
        compressed = a_cine([jpeg(9), jpeg(8)])
        store([written(long), compressed])
        frames = path_of(pydicom.dcmread(BytesIO(compressed))) + "/frames"
        wanted = {"Accept": "application/octet-stream"}
        # the decoders have begun their work before
        assert client.get(f"{frames}/2", headers=wanted).status_code == 200

        def animate(quality: int) -> None:
            headers = {"Accept": GIF}
            where = f"{server.url}{path_of(long)}/rendered?quality={quality}&viewport=1024,1024"
            assert httpx2.get(where, headers=headers, timeout=60).status_code == 200

        with ThreadPoolExecutor(2) as threads:
            slow = [threads.submit(animate, quality) for quality in (1, 2)]
            assert client.get(f"{frames}/1", headers=wanted).status_code == 200
            assert not any(one.done() for one in slow)


class TestPresentationStates:
    """F6"""

    @pytest.fixture
    def image(self) -> Dataset:
        return presentation_objects.a_slice(a_ramp(16, 16))

    @pytest.fixture
    def state(self, ask: Ask, store: Store, image: Dataset) -> Dataset:
        state = presentation_objects.a_state(
            image,
            SoftcopyVOILUTSequence=[presentation_objects.a_window(100, 2, image)],
            StudyInstanceUID=image.StudyInstanceUID,
        )
        store([written(image), written(state)])
        return state

    def test_the_image_is_shown_as_it_says(self, ask: Ask, image: Dataset, state: Dataset) -> None:
        """REN-31"""
        shown = pixels_of(ask(PNG, path_of(state)))

        assert shown.shape == image.pixel_array.shape
        assert (shown[image.pixel_array < 98] == 0).all()
        assert (shown[image.pixel_array > 101] == 255).all()

    @pytest.mark.parametrize(
        "query",
        [{"window": "1,2,linear"}, {"viewport": "10,10,0,0,5,5"}],
        ids=["REN-32", "REN-33"],
    )
    def test_it_takes_neither_window_nor_region(
        self, ask: Ask, state: Dataset, query: dict[str, str]
    ) -> None:
        assert ask(JPEG, path_of(state), **query).status_code == 400

    def test_without_its_image_there_is_nothing_to_show(
        self, ask: Ask, store: Store, image: Dataset
    ) -> None:
        alone = presentation_objects.a_state(image)
        store([written(alone)])

        response = ask(JPEG, path_of(alone))

        assert response.status_code == 404
        assert "not stored" in response.text

    def test_images_that_are_not_here_are_said_to_be_left_out(
        self, ask: Ask, store: Store, image: Dataset
    ) -> None:
        other = presentation_objects.a_slice(a_ramp(16, 16))
        state = presentation_objects.a_state(image, other)
        store([written(image), written(state)])

        response = ask(SEVERAL_JPEG, path_of(state))

        assert response.status_code == 206
        assert "1 of the referenced images cannot be shown" in response.headers["Warning"]

    def test_the_uri_service_applies_one_to_an_image(
        self, client: httpx2.Client, ask: Ask, image: Dataset, state: Dataset
    ) -> None:
        """URI-25 without its contradiction"""
        query = {
            "requestType": "WADO",
            "studyUID": image.StudyInstanceUID,
            "seriesUID": image.SeriesInstanceUID,
            "objectUID": image.SOPInstanceUID,
            "presentationSeriesUID": state.SeriesInstanceUID,
            "presentationUID": state.SOPInstanceUID,
            "contentType": PNG,
        }
        shown = client.get("/wado", params=query, headers={"Accept": "*/*"})

        assert shown.content == ask(PNG, path_of(state)).content


@ONE_DATABASE
class TestSlides:
    @pytest.fixture
    def slide(self, ask: Ask, store: Store) -> Dataset:
        slide = slide_objects.a_slide(slide_objects.a_matrix())
        store([written(slide)])
        return slide

    def test_a_region_is_made_out_of_the_tiles(self, ask: Ask, slide: Dataset) -> None:
        whole = pixels_of(ask(PNG, path_of(slide)))
        rows, columns = slide.TotalPixelMatrixRows, slide.TotalPixelMatrixColumns
        part = pixels_of(ask(PNG, path_of(slide), viewport=f"{columns // 2},{rows},{columns // 2}"))

        assert whole.shape[:2] == (rows, columns)
        assert (part == whole[:, columns // 2 :]).all()

    def test_a_frame_is_a_tile(self, ask: Ask, slide: Dataset) -> None:
        tile = pixels_of(ask(PNG, path_of(slide) + "/frames/1"))

        assert tile.shape[:2] == (slide.Rows, slide.Columns)


@ONE_DATABASE
class TestText:
    def test_a_report_is_text(self, ask: Ask, store: Store) -> None:
        """REN-07, COM-32"""
        report = a_report("Återbesök på måndag")
        store([written(report)])
        for media_type in ("text/html", "text/plain", "text/xml"):
            response = ask(media_type, path_of(report))
            assert response.headers["Content-Type"] == f"{media_type}; charset=utf-8"
            assert "Återbesök på måndag" in response.content.decode()

    def test_html_can_do_nothing(self, ask: Ask, store: Store) -> None:
        report = a_report("<script>alert(1)</script>")
        store([written(report)])
        response = ask("text/html", path_of(report))

        assert response.headers["Content-Security-Policy"].startswith("sandbox;")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert b"<script" not in response.content

    def test_an_encapsulated_pdf_is_what_it_was(self, ask: Ask, store: Store) -> None:
        """REN-08"""
        pdf = b"%PDF-1.4\n%odd\n%%EOF"
        document = a_dataset(
            SOPClassUID=EncapsulatedPDFStorage,
            Modality="DOC",
            PixelData=None,
            MIMETypeOfEncapsulatedDocument="application/pdf",
            EncapsulatedDocument=pdf + b"\0",
            EncapsulatedDocumentLength=len(pdf),
        )
        store([written(document)])

        for accept in ("application/pdf", "*/*"):
            response = ask(accept, path_of(document))
            assert (response.headers["Content-Type"], response.content) == ("application/pdf", pdf)

    @pytest.mark.parametrize("media_type", [JPEG, PNG, "image/svg+xml", "application/pdf"])
    def test_a_waveform_is_drawn(self, ask: Ask, store: Store, media_type: str) -> None:
        """REN-36"""
        curve = waveforms.spikes([100], 500, 1000, 2)
        ecg = waveforms.a_waveform(waveforms.a_group(curve, "I", "II"))
        store([written(ecg)])

        response = ask(media_type, path_of(ecg))

        assert (response.status_code, response.headers["Content-Type"]) == (200, media_type)

    def test_it_is_html_by_default(self, ask: Ask, store: Store) -> None:
        report = a_report("x")
        store([written(report)])
        assert ask("*/*", path_of(report)).headers["Content-Type"].startswith("text/html")

    def test_another_character_set_is_used_where_it_can_be(self, ask: Ask, store: Store) -> None:
        """COM-34"""
        report = a_report("Återbesök")
        store([written(report)])
        response = ask("text/plain", path_of(report), charset="ISO-8859-1")

        assert response.headers["Content-Type"] == "text/plain; charset=iso-8859-1"
        assert "Återbesök".encode("latin-1") in response.content
