"""Store transaction, PS3.18 section 10.5."""

import hashlib
from collections.abc import Callable
from xml.etree import ElementTree

import httpx2
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from objects import DICOM, a_dataset, a_series, an_object, multipart, uid, written

Store = Callable[..., httpx2.Response]

AS_STORED = {"Accept": f"{DICOM}; transfer-syntax=*"}


def url_of(file: bytes) -> str:
    dataset = dcmread(DicomBytesIO(file), stop_before_pixels=True)
    return (
        f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )


def fetched(client: httpx2.Client, file: bytes) -> httpx2.Response:
    return client.get(url_of(file), headers=AS_STORED)


def failures(response: httpx2.Response, tag: str = "00081198") -> list[int]:
    return [item["00081197"]["Value"][0] for item in response.json()[tag]["Value"]]


def test_a_stored_object_comes_back_byte_for_byte(client: httpx2.Client, store: Store) -> None:
    file = an_object()
    store([file])
    assert fetched(client, file).content == file


def test_every_stored_object_is_referenced_with_its_url(
    client: httpx2.Client, store: Store
) -> None:
    files = a_series(3)
    items = store(files).json()["00081199"]["Value"]
    urls = [item["00081190"]["Value"][0] for item in items]
    assert urls == [str(client.base_url).rstrip("/") + url_of(file) for file in files]


def test_objects_of_one_study_are_located_at_that_study(store: Store) -> None:
    file = an_object()
    response = store([file])
    assert response.headers["Location"].endswith(url_of(file).split("/series")[0])


def test_objects_of_two_studies_have_no_single_retrieve_url(store: Store) -> None:
    assert store([an_object(), an_object()]).json()["00081190"] == {"vr": "UR"}


def test_a_repeated_object_is_a_success(client: httpx2.Client, store: Store) -> None:
    file = an_object()
    store([file])
    assert "00081199" in store([file]).json()


def test_other_bytes_under_a_taken_uid_are_a_conflict(store: Store) -> None:
    taken = uid()
    shared = {"SOPInstanceUID": taken, "StudyInstanceUID": uid(), "SeriesInstanceUID": uid()}
    store([an_object(**shared)])
    response = store([an_object(**shared, PatientID="other")], status=409)
    assert failures(response) == [0x0111]


def test_the_first_of_two_with_one_uid_is_kept(client: httpx2.Client, store: Store) -> None:
    shared = {"SOPInstanceUID": uid(), "StudyInstanceUID": uid(), "SeriesInstanceUID": uid()}
    first, second = an_object(**shared), an_object(**shared, PatientID="other")
    store([first])
    store([second], status=409)
    assert fetched(client, first).content == first


def test_an_object_of_another_study_than_the_target_is_refused(store: Store) -> None:
    response = store([an_object()], path=f"/studies/{uid()}", status=409)
    assert failures(response) == [0xA901]


def test_an_object_of_the_target_study_is_stored(store: Store) -> None:
    study = uid()
    store([an_object(StudyInstanceUID=study)], path=f"/studies/{study}")


def test_a_partly_refused_request_is_202(store: Store) -> None:
    response = store([an_object(), b"no DICOM at all" * 20], status=202)
    assert failures(response, "0008119A") == [0xC000]


def test_a_refusal_names_the_defect(store: Store) -> None:
    response = store([an_object(StudyInstanceUID=None)], status=400)
    (item,) = response.json()["00081198"]["Value"]
    assert item["00000902"]["Value"] == ["Study Instance UID (0020,000D) is missing"]


def test_a_study_uid_that_is_no_uid_is_400(store: Store) -> None:
    store([an_object()], path="/studies/nonsense", status=400)


def test_a_single_dicom_payload_is_stored(client: httpx2.Client) -> None:
    response = client.post("/studies", content=an_object(), headers={"Content-Type": DICOM})
    assert response.status_code == 200


def test_another_payload_type_is_415(client: httpx2.Client) -> None:
    response = client.post("/studies", content=b"{}", headers={"Content-Type": "application/json"})
    assert response.status_code == 415


def test_a_payload_without_a_type_is_415_and_told_which_are_taken(client: httpx2.Client) -> None:
    response = client.post("/studies", content=an_object())
    assert response.status_code == 415
    assert "application/dicom" in response.json()["detail"]


@pytest.mark.parametrize("malformed", ["application/dicom;;x", "nonsense", "multipart/related;="])
def test_a_malformed_payload_type_is_a_client_error(client: httpx2.Client, malformed: str) -> None:
    response = client.post("/studies", content=b"x", headers={"Content-Type": malformed})
    assert response.status_code in (400, 415)


def test_another_part_type_is_415(client: httpx2.Client) -> None:
    body = b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n"
    response = client.post(
        "/studies", content=body, headers={"Content-Type": "multipart/related; boundary=b"}
    )
    assert response.status_code == 415


def test_an_answer_that_cannot_be_accepted_is_406_and_stores_nothing(
    client: httpx2.Client, store: Store
) -> None:
    file = an_object()
    store([file], status=406, Accept="image/png")
    assert fetched(client, file).status_code == 404


def test_a_truncated_payload_stores_only_its_complete_parts(
    client: httpx2.Client,
) -> None:
    first, second = an_object(), an_object()
    body, content_type = multipart([first, second])
    response = client.post(
        "/studies", content=body[: -len(second) // 2], headers={"Content-Type": content_type}
    )
    found = [fetched(client, file).status_code for file in (first, second)]
    assert (response.status_code, found) == (202, [200, 404])


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        (b"\r\n", b""),
        (b"a preamble\r\n", b"an epilogue"),
        (b"", b"\0" * 50),
    ],
)
def test_quirks_of_real_clients_are_tolerated(
    client: httpx2.Client, prefix: bytes, suffix: bytes
) -> None:
    body, content_type = multipart([an_object()])
    response = client.post(
        "/studies",
        content=prefix + body.removesuffix(b"\r\n") + suffix,
        headers={"Content-Type": content_type.replace('"', "")},
    )
    assert response.status_code == 200


def test_the_answer_is_xml_when_asked(store: Store) -> None:
    response = store([an_object()], Accept="application/dicom+xml")
    root = ElementTree.fromstring(response.content)
    assert root.tag == "{http://dicom.nema.org/PS3.19/models/NativeDICOM}NativeDicomModel"


def test_no_accept_header_gets_json(client: httpx2.Client) -> None:
    body, content_type = multipart([an_object()])
    request = client.build_request(
        "POST", "/studies", content=body, headers={"Content-Type": content_type}
    )
    del request.headers["Accept"]
    assert client.send(request).headers["Content-Type"] == "application/dicom+json"


def test_a_chunked_payload_is_stored(client: httpx2.Client) -> None:
    file = an_object()
    body, content_type = multipart([file])
    chunks = iter([body[:100], body[100:]])
    client.post("/studies", content=chunks, headers={"Content-Type": content_type})
    assert fetched(client, file).content == file


def test_an_object_larger_than_any_buffer_is_stored(client: httpx2.Client, store: Store) -> None:
    file = an_object(Rows=1500, Columns=1500, PixelData=bytes(1500 * 1500 * 2))
    store([file])
    digest = hashlib.sha256(fetched(client, file).content).hexdigest()
    assert digest == hashlib.sha256(file).hexdigest()


def test_another_sop_class_in_the_file_meta_is_a_warning(store: Store) -> None:
    file = an_object()
    named = file.replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.4\0", 1)
    (item,) = store([named], status=202).json()["00081199"]["Value"]
    assert item["00081196"]["Value"] == [0xB007]


def test_an_unknown_sop_class_is_stored(store: Store) -> None:
    store([an_object(SOPClassUID="1.2.3.4.5")])


def test_an_unknown_transfer_syntax_is_stored_byte_for_byte(
    client: httpx2.Client, store: Store
) -> None:
    file = written(a_dataset()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.3\0")
    store([file])
    assert fetched(client, file).content == file


def test_an_empty_multipart_is_400(client: httpx2.Client) -> None:
    response = client.post(
        "/studies", content=b"--b--\r\n", headers={"Content-Type": "multipart/related; boundary=b"}
    )
    assert response.status_code == 400
