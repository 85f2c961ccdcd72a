"""Non-Patient Instance service (PS3.18 chapter 12); tests bear the numbers of the cases."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydicom import dcmread

from metadata_parts import AS_STORED, Bulk, element, payload, referred
from non_patient_objects import CLASSES, a_non_patient_object, item
from objects import an_object, uid
from retrieved import raw_parts
from shared_data import SHARED, require_shared_data

JSON = "application/dicom+json"
XML = 'multipart/related; type="application/dicom+xml"'
SAMPLES = SHARED / "dicom" / "by_modality"
Store = Callable[..., httpx2.Response]


def retrieve_url(answer: httpx2.Response) -> str:
    (stored,) = answer.json()["00081199"]["Value"]
    return str(stored["00081190"]["Value"][0])


def post(client: httpx2.Client, path: str, body: bytes, media_type: str) -> httpx2.Response:
    return client.post(path, content=body, headers={"Content-Type": media_type})


def failure(answer: httpx2.Response) -> tuple[int, str]:
    (failed,) = answer.json()["00081198"]["Value"]
    return failed["00081197"]["Value"][0], failed["00000902"]["Value"][0]


def found(client: httpx2.Client, path: str, **query: str) -> list[str]:
    """SOP Instance UIDs in the order of the answer."""
    answer = client.get(path, params=query)
    assert answer.status_code in (200, 204), answer.text
    rows = [] if answer.status_code == 204 else answer.json()
    return [row["00080018"]["Value"][0] for row in rows]


def uid_of(file: bytes) -> str:
    return str(dcmread(io.BytesIO(file)).SOPInstanceUID)


# --- store -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("category", "sop_class_uid"), [(name, one) for name, uids in CLASSES.items() for one in uids]
)
def test_npi_01_each_class_is_stored_in_its_category(
    client: httpx2.Client, category: str, sop_class_uid: str
) -> None:
    file = a_non_patient_object(category, sop_class_uid)

    answer = post(client, f"/{category}", file, "application/dicom")

    assert answer.status_code == 200
    assert client.get(retrieve_url(answer), headers=AS_STORED).content == file


@pytest.mark.parametrize(
    "sample",
    [
        "COLOR_PALETTE/spring.dcm",
        "COLOR_PALETTE/pet.dcm",
        "HP_hanging_protocol/NeurosurgeryPlan.dcm",
    ],
)
def test_npi_01_samples_come_back_byte_for_byte(client: httpx2.Client, sample: str) -> None:
    require_shared_data()
    file = (SAMPLES / sample).read_bytes()
    category = "color-palettes" if "PALETTE" in sample else "hanging-protocols"

    answer = post(client, f"/{category}", file, "application/dicom")

    assert client.get(retrieve_url(answer), headers=AS_STORED).content == file


def test_several_are_stored_from_parts(client: httpx2.Client, store: Store) -> None:
    files = [a_non_patient_object("inventories") for _ in range(3)]

    answer = store(files, path="/inventories")

    assert len(answer.json()["00081199"]["Value"]) == 3
    assert answer.headers["Location"].endswith("/inventories")


def test_npi_06_an_image_is_not_stored(client: httpx2.Client, store: Store) -> None:
    image = an_object()

    answer = store([image], path="/color-palettes", status=409)

    assert failure(answer) == (0x0122, "the resource of its SOP class is /studies")
    assert not found(client, "/color-palettes", SOPInstanceUID=uid_of(image))


def test_another_category_is_named(store: Store) -> None:
    answer = store([a_non_patient_object("inventories")], path="/color-palettes", status=409)

    assert failure(answer)[1] == "the resource of its SOP class is /inventories"


@pytest.mark.parametrize("category", CLASSES)
def test_studies_names_the_resource(store: Store, category: str) -> None:
    answer = store([a_non_patient_object(category)], status=409)

    assert failure(answer) == (0x0122, f"of no study: its resource is /{category}")


def test_npi_07_the_target_names_the_instance(store: Store) -> None:
    answer = store(
        [a_non_patient_object("color-palettes")], path=f"/color-palettes/{uid()}", status=409
    )

    assert failure(answer)[0] == 0xA901


def test_it_is_stored_at_its_own_uid(client: httpx2.Client, store: Store) -> None:
    file = a_non_patient_object("color-palettes")

    answer = store([file], path=f"/color-palettes/{uid_of(file)}")

    assert answer.headers["Location"] == retrieve_url(answer)


def test_the_same_bytes_are_stored_once(client: httpx2.Client, store: Store) -> None:
    file = a_non_patient_object("color-palettes")

    store([file], path="/color-palettes")
    store([file], path="/color-palettes")

    assert found(client, "/color-palettes", SOPInstanceUID=uid_of(file)) == [uid_of(file)]


def test_other_bytes_under_the_uid_are_refused(client: httpx2.Client, store: Store) -> None:
    file = a_non_patient_object("color-palettes", ContentLabel="FIRST")
    store([file], path="/color-palettes")
    other = a_non_patient_object(
        "color-palettes", ContentLabel="OTHER", SOPInstanceUID=uid_of(file)
    )

    answer = store([other], path="/color-palettes", status=409)

    assert failure(answer)[0] == 0x0111
    assert client.get(f"/color-palettes/{uid_of(file)}", headers=AS_STORED).content == file


def test_metadata_becomes_an_object(client: httpx2.Client) -> None:
    metadata = {
        "00080016": element("UI", CLASSES["color-palettes"][0]),
        "00281203": referred("OW"),
        "00700080": element("CS", "MADE"),
    }
    values = bytes(range(256)) * 20
    body, media_type = payload([json.dumps([metadata]).encode()], [Bulk(values)])

    answer = post(client, "/color-palettes", body, media_type)

    assert answer.status_code == 202  # a UID was supplied
    made = dcmread(io.BytesIO(client.get(retrieve_url(answer), headers=AS_STORED).content))
    assert (made.ContentLabel, made.BluePaletteColorLookupTableData) == ("MADE", values)
    assert "StudyInstanceUID" not in made


def test_a_payload_of_another_type_is_not_taken(client: httpx2.Client) -> None:
    assert post(client, "/color-palettes", b"x", "image/png").status_code == 415


# --- retrieve --------------------------------------------------------------------------------


@pytest.fixture
def palette(store: Store) -> str:
    file = a_non_patient_object(
        "color-palettes",
        ContentLabel="SPRING",
        ContentDescription="From green to white",
        ContentCreatorName="Åkerström^Anna",
        SpecificCharacterSet="ISO_IR 192",
        RedPaletteColorLookupTableData=bytes(6000),
    )
    return retrieve_url(store([file], path="/color-palettes"))


def test_npi_02_a_file(client: httpx2.Client, palette: str) -> None:
    answer = client.get(palette, headers={"Accept": "application/dicom"})

    assert dcmread(io.BytesIO(answer.content)).ContentLabel == "SPRING"


def test_npi_02_a_file_in_another_transfer_syntax(client: httpx2.Client, palette: str) -> None:
    accept = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1.99"
    answer = client.get(palette, headers={"Accept": accept})

    made = dcmread(io.BytesIO(answer.content))
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1.99"
    assert made.ContentLabel == "SPRING"


def test_npi_02_a_file_in_parts(client: httpx2.Client, palette: str) -> None:
    answer = client.get(palette, headers={"Accept": 'multipart/related; type="application/dicom"'})

    (content,) = raw_parts(answer)
    assert dcmread(io.BytesIO(content)).ContentLabel == "SPRING"


@pytest.mark.parametrize("accept", [JSON, "*/*"])
def test_npi_02_metadata_is_the_default(client: httpx2.Client, palette: str, accept: str) -> None:
    (metadata,) = client.get(palette, headers={"Accept": accept}).json()

    assert metadata["00700080"]["Value"] == ["SPRING"]


def test_npi_02_metadata_in_xml(client: httpx2.Client, palette: str) -> None:
    answer = client.get(palette, headers={"Accept": XML})

    (content,) = raw_parts(answer)
    assert b"SPRING" in content
    assert b"NativeDicomModel" in content


def test_large_values_are_at_their_uri(client: httpx2.Client, palette: str) -> None:
    (metadata,) = client.get(palette).json()
    uri = metadata["00281201"]["BulkDataURI"]

    answer = client.get(uri, headers={"Accept": "application/octet-stream"})

    assert answer.content == bytes(6000)


def test_what_the_client_has_is_not_sent_again(client: httpx2.Client, palette: str) -> None:
    etag = client.get(palette, headers=AS_STORED).headers["ETag"]

    answer = client.get(palette, headers=AS_STORED | {"If-None-Match": etag})

    assert answer.status_code == 304


def test_ranges_of_a_file_are_sent(client: httpx2.Client, palette: str) -> None:
    answer = client.get(palette, headers=AS_STORED | {"Range": "bytes=128-131"})

    assert (answer.status_code, answer.content) == (206, b"DICM")


def test_npi_03_an_unknown_instance_is_not_found(client: httpx2.Client) -> None:
    assert client.get(f"/color-palettes/{uid()}").status_code == 404


def test_npi_03_an_instance_is_in_its_category_alone(client: httpx2.Client, palette: str) -> None:
    elsewhere = palette.replace("color-palettes", "hanging-protocols")

    assert client.get(elsewhere).status_code == 404


def test_npi_03_an_unknown_category_is_not_found(client: httpx2.Client) -> None:
    assert client.get("/colour-charts").status_code == 404


def test_what_is_no_uid_is_a_bad_request(client: httpx2.Client) -> None:
    assert client.get("/color-palettes/x").status_code == 400


def test_npi_05_an_image_cannot_be_made_of_it(client: httpx2.Client, palette: str) -> None:
    assert client.get(palette, headers={"Accept": "image/jpeg"}).status_code == 406


# --- search ----------------------------------------------------------------------------------


def test_npi_04_a_palette_is_found_by_its_label(client: httpx2.Client, palette: str) -> None:
    rows = client.get("/color-palettes", params={"ContentLabel": "SPRING"}).json()

    row = next(row for row in rows if row["00081190"]["Value"] == [palette])
    assert {"00080016", "00080018", "00700080", "00700081", "00700084"} <= row.keys()
    assert all(row["00700080"]["Value"] == ["SPRING"] for row in rows)


def test_results_are_in_xml_too(client: httpx2.Client, palette: str) -> None:
    query = {"SOPInstanceUID": palette.rsplit("/", 1)[1]}
    answer = client.get("/color-palettes", params=query, headers={"Accept": XML})

    assert len(raw_parts(answer)) == 1


def test_no_match_is_204(client: httpx2.Client, palette: str) -> None:
    answer = client.get("/color-palettes", params={"ContentLabel": "NO SUCH LABEL"})

    assert (answer.status_code, answer.content) == (204, b"")


def test_more_attributes_are_shown_when_asked_for(client: httpx2.Client, palette: str) -> None:
    query = {"SOPInstanceUID": palette.rsplit("/", 1)[1]}
    (usual,) = client.get("/color-palettes", params=query).json()
    (more,) = client.get(
        "/color-palettes", params=query | {"includefield": "RedPaletteColorLookupTableData"}
    ).json()
    (whole,) = client.get("/color-palettes", params=query | {"includefield": "all"}).json()

    assert "00281201" not in usual
    assert more["00281201"]["BulkDataURI"] == f"{palette}/bulkdata/00281201"
    assert whole.keys() >= more.keys()


def test_a_long_value_of_a_result_is_at_its_uri(client: httpx2.Client, store: Store) -> None:
    file = a_non_patient_object(
        "defined-procedure-protocols", ProtocolDesignRationale="because " * 10_000
    )
    store([file], path="/defined-procedure-protocols")

    query = {"SOPInstanceUID": uid_of(file)}
    (row,) = client.get("/defined-procedure-protocols", params=query).json()
    value = client.get(row["00189910"]["BulkDataURI"], headers={"Accept": "*/*"})

    assert raw_parts(value) == [b"because " * 10_000]


def test_pages_do_not_overlap_and_tell_of_more(client: httpx2.Client, store: Store) -> None:
    label = f"L{uid()[-10:]}"
    files = [a_non_patient_object("color-palettes", ContentLabel=label) for _ in range(3)]
    for file in files:
        store([file], path="/color-palettes")

    first = client.get("/color-palettes", params={"ContentLabel": label, "limit": "2"})

    assert "There are 1 additional results" in first.headers["Warning"]
    assert [
        *found(client, "/color-palettes", ContentLabel=label, limit="2"),
        *found(client, "/color-palettes", ContentLabel=label, limit="2", offset="2"),
    ] == [uid_of(file) for file in files]


def test_what_is_no_key_is_told(client: httpx2.Client, palette: str) -> None:
    answer = client.get("/color-palettes", params={"PatientName": "A"})

    assert "PatientName" in answer.headers["Warning"]


def test_a_key_with_an_invalid_value_is_a_bad_request(client: httpx2.Client) -> None:
    assert client.get("/inventories", params={"ContentDate": "x"}).status_code == 400


PROTOCOL: dict[str, Any] = {
    "HangingProtocolName": "NEURO",
    "HangingProtocolLevel": "SITE",
    "NumberOfPriorsReferenced": 1,
    "NumberOfScreens": 2,
    "HangingProtocolDefinitionSequence": [
        item(
            Modality="CT",
            Laterality="R",
            AnatomicRegionSequence=[item(CodeValue="T-D1100", CodingSchemeDesignator="SNM3")],
        ),
        item(Modality="MR", Laterality="L"),
    ],
}
DEFINITION = "HangingProtocolDefinitionSequence."


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ({DEFINITION + "Modality": "CT"}, True),
        ({DEFINITION + "Modality": "US"}, False),
        ({DEFINITION + "Modality": "CT", DEFINITION + "Laterality": "R"}, True),
        # of two items
        ({DEFINITION + "Modality": "CT", DEFINITION + "Laterality": "L"}, False),
        ({DEFINITION + "AnatomicRegionSequence.CodeValue": "T-D1100"}, True),
        ({"0072000C.00080060": "MR"}, True),
        ({"HangingProtocolName": "NEU*"}, True),
        ({"NumberOfScreens": "2", "NumberOfPriorsReferenced": "1"}, True),
        ({"NumberOfScreens": "3"}, False),
        ({"HangingProtocolUserGroupName": '""', "emptyvaluematching": "true"}, True),
    ],
)
def test_npi_08_a_hanging_protocol_is_found_by_its_keys(
    client: httpx2.Client, store: Store, query: dict[str, str], is_found: bool
) -> None:
    file = a_non_patient_object("hanging-protocols", **PROTOCOL)
    store([file], path="/hanging-protocols")

    uids = found(client, "/hanging-protocols", SOPInstanceUID=uid_of(file), **query)

    assert uids == [uid_of(file)] * is_found


@pytest.mark.parametrize(
    ("category", "elements", "query", "is_found"),
    [
        ("implant-templates", {"ImplantName": "HIP 7"}, {"ImplantName": "HIP ?"}, True),
        (
            "implant-templates",
            {"MaterialsCodeSequence": [item(CodeValue="C-1", CodingSchemeDesignator="99")]},
            {"MaterialsCodeSequence.CodeValue": "C-1"},
            True,
        ),
        (
            "defined-procedure-protocols",
            {"ModelSpecificationSequence": [item(Manufacturer="ACME")]},
            {"ModelSpecificationSequence.Manufacturer": "ACME"},
            True,
        ),
        (
            "protocol-approvals",
            {"ApprovalSubjectSequence": [item(ReferencedSOPInstanceUID="1.2.3")]},
            {"ApprovalSubjectSequence.ReferencedSOPInstanceUID": "1.2.3"},
            True,
        ),
        (
            "inventories",
            {"ContentDate": "20240202", "ContentTime": "080000"},
            {"ContentDate": "20240201-20240202", "ContentTime": "100000-090000"},
            True,
        ),
        (
            "inventories",
            {"ContentDate": "20240201", "ContentTime": "080000"},
            {"ContentDate": "20240201-20240202", "ContentTime": "100000-090000"},
            False,
        ),
        (
            "inventories",
            {"ContentDate": "20240201"},
            {"ContentDate": "20240201", "ContentTime": "10"},
            False,
        ),
    ],
)
def test_instances_are_found_by_the_keys_of_their_category(
    client: httpx2.Client,
    store: Store,
    category: str,
    elements: dict[str, Any],
    query: dict[str, str],
    is_found: bool,
) -> None:
    file = a_non_patient_object(category, **elements)
    store([file], path=f"/{category}")

    uids = found(client, f"/{category}", SOPInstanceUID=uid_of(file), **query)

    assert uids == [uid_of(file)] * is_found


# --- elsewhere -------------------------------------------------------------------------------


def test_the_change_feed_tells_of_it(client: httpx2.Client, palette: str) -> None:
    answer = client.get("/changes", params={"kind": "non-patient-instance-stored"})

    subjects = [one["subject"] for one in answer.json()["changes"]]
    assert palette.split("/dicomweb/")[1] in subjects


def test_no_study_comes_of_it(client: httpx2.Client, palette: str) -> None:
    assert not found(client, "/instances", SOPInstanceUID=palette.rsplit("/", 1)[1])
