"""The URI service (PS3.18 chapter 9); ids are those of the conformance cases."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from objects import a_cine, a_dataset, a_report, uid, written

Store = Callable[..., httpx2.Response]
Ask = Callable[..., httpx2.Response]

DICOM = "application/dicom"
# What OHIF sends with every request, the one to this service too.
OF_ANOTHER_SERVICE = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'


def read(response: httpx2.Response) -> Dataset:
    assert response.status_code == 200, response.text
    return pydicom.dcmread(BytesIO(response.content))


def query_of(dataset: Dataset) -> dict[str, str]:
    return {
        "requestType": "WADO",
        "studyUID": dataset.StudyInstanceUID,
        "seriesUID": dataset.SeriesInstanceUID,
        "objectUID": dataset.SOPInstanceUID,
    }


def jpeg(shade: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (16, 16), (shade, 255 - shade, 0)).save(file, "JPEG")
    return file.getvalue()


def picture(response: httpx2.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(BytesIO(response.content))


def pixels(response: httpx2.Response) -> npt.NDArray[Any]:
    return np.asarray(picture(response)).astype(int)


@pytest.fixture
def image(store: Store) -> Dataset:
    """Stored in Implicit VR, so that Explicit VR Little Endian has to be made of it."""
    dataset = a_dataset()
    store([written(dataset, ImplicitVRLittleEndian)])
    return dataset


@pytest.fixture
def cine(store: Store) -> Dataset:
    file = a_cine([jpeg(shade) for shade in range(10)])
    store([file])
    return pydicom.dcmread(BytesIO(file))


@pytest.fixture
def ask(client: httpx2.Client, image: Dataset) -> Ask:
    """GET with the query of the image; keyword arguments add parameters, None leaves one out."""

    def get(accept: str = "*/*", **parameters: str | None) -> httpx2.Response:
        query: dict[str, Any] = query_of(image) | parameters
        chosen = {name: value for name, value in query.items() if value is not None}
        return client.get("/wado", params=chosen, headers={"Accept": accept})

    return get


class TestInstances:
    def test_an_instance_comes_in_explicit_vr_little_endian(self, ask: Ask, image: Dataset) -> None:
        """URI-01"""
        response = ask(DICOM, contentType=DICOM)

        assert response.headers["Content-Type"] == DICOM
        assert read(response).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert read(response).PixelData == image.PixelData

    def test_a_contenttype_is_enough(self, ask: Ask) -> None:
        assert ask(contentType=DICOM).status_code == 200

    def test_an_accept_header_is_enough(self, ask: Ask) -> None:
        assert ask(DICOM).status_code == 200

    def test_no_accept_header_is_needed(self, client: httpx2.Client, image: Dataset) -> None:
        """9.4: the header is optional for the client."""
        request = client.build_request(
            "GET", "/wado", params=query_of(image) | {"contentType": DICOM}
        )
        del request.headers["Accept"]

        assert client.send(request).status_code == 200

    def test_the_accept_header_of_another_service_does_not_matter(self, ask: Ask) -> None:
        response = ask(OF_ANOTHER_SERVICE, contentType=DICOM, transferSyntax="*")

        assert read(response).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian

    def test_the_answer_has_a_length_and_a_location(self, ask: Ask) -> None:
        """9.4.3"""
        response = ask(contentType=DICOM)

        assert int(response.headers["Content-Length"]) == len(response.content)
        assert "/dicomweb/wado?requestType=WADO" in response.headers["Content-Location"]

    def test_a_known_entity_tag_is_answered_with_304(
        self, client: httpx2.Client, image: Dataset
    ) -> None:
        query = query_of(image) | {"contentType": DICOM}
        etag = client.get("/wado", params=query).headers["ETag"]

        again = client.get("/wado", params=query, headers={"If-None-Match": etag})

        assert again.status_code == 304

    def test_head_has_the_headers_alone(self, client: httpx2.Client, image: Dataset) -> None:
        response = client.head("/wado", params=query_of(image) | {"contentType": DICOM})

        assert response.status_code == 200
        assert response.content == b""

    def test_an_unknown_instance_is_404(self, ask: Ask) -> None:
        """URI-05"""
        assert ask(contentType=DICOM, objectUID=uid()).status_code == 404

    def test_an_instance_of_another_study_is_404(self, ask: Ask) -> None:
        assert ask(contentType=DICOM, studyUID=uid()).status_code == 404

    @pytest.mark.parametrize("name", ["requestType", "studyUID", "seriesUID", "objectUID"])
    def test_a_missing_parameter_is_400(self, ask: Ask, name: str) -> None:
        """URI-02, URI-04"""
        assert ask(contentType=DICOM, **{name: None}).status_code == 400

    def test_another_request_type_is_400(self, ask: Ask) -> None:
        """URI-03"""
        assert ask(requestType="FOO").status_code == 400

    def test_a_transfer_syntax_in_the_media_type_is_400(self, ask: Ask) -> None:
        """URI-08"""
        response = ask(contentType=f"{DICOM};transfer-syntax={ExplicitVRLittleEndian}")

        assert response.status_code == 400

    def test_another_transfer_syntax_is_made(self, ask: Ask) -> None:
        """URI-09"""
        found = read(ask(contentType=DICOM, transferSyntax=str(RLELossless)))

        assert found.file_meta.TransferSyntaxUID == RLELossless

    def test_a_transfer_syntax_that_cannot_be_made_is_406_with_those_that_can(
        self, ask: Ask
    ) -> None:
        """URI-10"""
        response = ask(contentType=DICOM, transferSyntax="1.2.3.4")

        assert response.status_code == 406
        assert str(ExplicitVRLittleEndian) in response.json()["detail"]

    def test_a_transfer_syntax_that_is_no_uid_is_400(self, ask: Ask) -> None:
        """URI-11"""
        assert ask(contentType=DICOM, transferSyntax="abc").status_code == 400


class TestAnonymized:
    def test_no_is_400(self, ask: Ask) -> None:
        """URI-12"""
        assert ask(contentType=DICOM, anonymize="no").status_code == 400

    def test_identities_are_replaced(self, ask: Ask, image: Dataset) -> None:
        """URI-13"""
        found = read(ask(contentType=DICOM, anonymize="yes"))

        assert found.SOPInstanceUID != image.SOPInstanceUID
        assert found.PatientName == ""
        assert found.PatientID != image.PatientID
        assert found.PatientIdentityRemoved == "YES"

    def test_nothing_of_the_patient_is_in_the_answer(self, ask: Ask, image: Dataset) -> None:
        response = ask(contentType=DICOM, anonymize="yes")

        for value in (image.PatientID, "kerstr", image.StudyInstanceUID, image.SOPInstanceUID):
            assert value.encode() not in response.content

    def test_pixels_are_the_same(self, ask: Ask, image: Dataset) -> None:
        assert read(ask(contentType=DICOM, anonymize="yes")).PixelData == image.PixelData

    def test_two_requests_have_the_same_answer(self, ask: Ask) -> None:
        first, second = (ask(contentType=DICOM, anonymize="yes") for _ in range(2))

        assert first.content == second.content
        assert first.headers["ETag"] == second.headers["ETag"]

    def test_instances_of_a_series_stay_together(self, client: httpx2.Client, store: Store) -> None:
        one = a_dataset()
        other = a_dataset(
            StudyInstanceUID=one.StudyInstanceUID, SeriesInstanceUID=one.SeriesInstanceUID
        )
        store([written(one), written(other)])

        found = [
            read(
                client.get(
                    "/wado", params=query_of(ds) | {"contentType": DICOM, "anonymize": "yes"}
                )
            )
            for ds in (one, other)
        ]

        assert found[0].SeriesInstanceUID == found[1].SeriesInstanceUID
        assert found[0].SOPInstanceUID != found[1].SOPInstanceUID

    def test_a_compressed_cine_keeps_its_frames(self, client: httpx2.Client, cine: Dataset) -> None:
        query = query_of(cine) | {"contentType": DICOM, "anonymize": "yes", "transferSyntax": "*"}

        found = read(client.get("/wado", params=query))

        assert found.PixelData == cine.PixelData

    def test_a_deflated_answer_can_be_read(self, ask: Ask, image: Dataset) -> None:
        response = ask(contentType=DICOM, anonymize="yes", transferSyntax="1.2.840.10008.1.2.1.99")

        assert read(response).PixelData == image.PixelData

    def test_text_burned_into_the_pixels_is_refused(
        self, client: httpx2.Client, store: Store
    ) -> None:
        dataset = a_dataset(BurnedInAnnotation="YES")
        store([written(dataset)])
        query = query_of(dataset) | {"contentType": DICOM, "anonymize": "yes"}

        response = client.get("/wado", params=query)

        assert response.status_code == 406
        assert "burned into its pixels" in response.json()["detail"]

    def test_a_warning_tells_when_nothing_is_known_of_burned_in_text(self, ask: Ask) -> None:
        response = ask(contentType=DICOM, anonymize="yes")

        assert "burned into the pixels" in response.headers["Warning"]

    def test_no_warning_is_needed_when_nothing_is_burned_in(
        self, client: httpx2.Client, store: Store
    ) -> None:
        dataset = a_dataset(BurnedInAnnotation="NO")
        store([written(dataset)])

        response = client.get(
            "/wado", params=query_of(dataset) | {"contentType": DICOM, "anonymize": "yes"}
        )

        assert "Warning" not in response.headers


class TestRendered:
    def test_no_content_type_means_an_image(self, ask: Ask) -> None:
        """URI-06"""
        response = ask()

        assert response.headers["Content-Type"] == "image/jpeg"
        assert picture(response).size == (16, 16)

    def test_the_content_type_is_the_media_type(self, ask: Ask) -> None:
        assert ask(contentType="image/png").headers["Content-Type"] == "image/png"

    def test_an_image_is_not_said_as_text(self, ask: Ask) -> None:
        assert ask(contentType="text/html").status_code == 406

    @pytest.mark.parametrize("content_type", ["text/html", "text/plain"])
    def test_a_report_is_said_as_text(
        self, client: httpx2.Client, store: Store, content_type: str
    ) -> None:
        """URI-30"""
        report = a_report("Återbesök")
        store([written(report)])
        query = query_of(report) | {"contentType": content_type}

        response = client.get("/wado", params=query)

        assert response.headers["Content-Type"] == f"{content_type}; charset=utf-8"
        assert "Återbesök" in response.text

    def test_a_presentation_state_and_a_window_contradict_each_other(self, ask: Ask) -> None:
        """URI-25"""
        response = ask(
            presentationUID=uid(),
            presentationSeriesUID=uid(),
            windowCenter="40",
            windowWidth="400",
        )

        assert response.status_code == 400

    def test_a_region_is_cut_out(self, ask: Ask) -> None:
        """URI-22"""
        shown = pixels(ask(contentType="image/png", region="0,0,0.5,0.5"))
        whole = pixels(ask(contentType="image/png"))

        assert (shown == whole[:8, :8]).all()

    @pytest.mark.parametrize(
        ("parameters", "size"),
        [
            ({"rows": "24", "columns": "64"}, (24, 24)),
            ({"columns": "32"}, (32, 32)),
            ({"rows": "8"}, (8, 8)),
        ],
        ids=["URI-23", "URI-24", "D-13"],
    )
    def test_an_image_fits_into_rows_and_columns(
        self, ask: Ask, parameters: dict[str, str], size: tuple[int, int]
    ) -> None:
        assert picture(ask(**parameters)).size == size

    def test_a_window_is_applied(self, ask: Ask) -> None:
        shown = pixels(ask(contentType="image/png", windowCenter="128", windowWidth="2"))

        assert set(shown.flat) <= {0, 127, 128, 255}
        assert shown[0, 0] == 0
        assert shown[15, 15] == 255

    def test_quality_and_annotation_are_taken(self, ask: Ask) -> None:
        assert ask(imageQuality="90", annotation="patient").status_code == 200

    @pytest.mark.parametrize(
        "parameters",
        [
            {"windowCenter": "40"},
            {"contentType": DICOM, "windowCenter": "40", "windowWidth": "400"},
            {"windowCenter": "a", "windowWidth": "1"},
            {"region": "0.5,0,0.25,1"},
            {"region": "0,0,0.5"},
            {"presentationUID": "1.2.3"},
            {"imageQuality": "0"},
            {"frameNumber": "1"},
        ],
        ids=["URI-17", "URI-18", "URI-19", "URI-20", "URI-21", "URI-26", "URI-28", "URI-16"],
    )
    def test_an_invalid_request_is_400(self, ask: Ask, parameters: dict[str, str]) -> None:
        assert ask(**parameters).status_code == 400

    def test_an_unknown_presentation_state_is_400(self, ask: Ask) -> None:
        """URI-27"""
        response = ask(presentationUID=uid(), presentationSeriesUID=uid())

        assert response.status_code == 400

    def test_a_presentation_state_is_not_applied_to_an_instance(self, ask: Ask) -> None:
        """URI-29"""
        response = ask(contentType=DICOM, presentationUID=uid(), presentationSeriesUID=uid())

        assert response.status_code == 406

    @pytest.mark.parametrize("number", ["0", "11", "1.5"])
    def test_a_frame_that_a_cine_has_not_is_400(
        self, client: httpx2.Client, cine: Dataset, number: str
    ) -> None:
        """URI-15"""
        query = query_of(cine) | {"frameNumber": number}

        assert client.get("/wado", params=query).status_code == 400

    def test_a_frame_of_a_cine_is_shown(self, client: httpx2.Client, cine: Dataset) -> None:
        """URI-14"""
        query = query_of(cine) | {"frameNumber": "3", "contentType": "image/png"}

        shown = pixels(client.get("/wado", params=query))
        assert np.abs(shown.mean(axis=(0, 1)) - (2, 253, 0)).max() < 4
