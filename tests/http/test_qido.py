"""Search transaction, PS3.18 section 10.6, as clients write it."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest

from live import Live
from objects import a_dataset, a_series, an_object, uid, written

Store = Callable[..., httpx2.Response]

# What the OHIF study list asks for, verbatim.
OHIF_FIELDS = "includefield=00081030%2C00080060%2C00080090%2C00100030"


@pytest.fixture
def patient_id(store: Store) -> str:
    """Of three studies of Björn Åkerström, one a day, the last with two CT series."""
    patient = f"P{uid()[-10:]}"
    last = uid()
    store(
        [
            an_object(PatientID=patient, StudyDate="20240115", StudyDescription="DT Thorax"),
            an_object(PatientID=patient, StudyDate="20240116", Modality="MR"),
            *a_series(2, PatientID=patient, StudyDate="20240117", StudyInstanceUID=last),
            an_object(PatientID=patient, StudyDate="20240117", StudyInstanceUID=last),
        ]
    )
    return patient


def values(response: httpx2.Response, tag: str) -> list[Any]:
    assert response.status_code == 200, response.text
    return [row[tag]["Value"][0] for row in response.json()]


def test_studies_come_newest_first(client: httpx2.Client, patient_id: str) -> None:
    response = client.get(f"/studies?PatientID={patient_id}")
    assert values(response, "00080020") == ["20240117", "20240116", "20240115"]


def test_no_match_is_204_without_a_payload(client: httpx2.Client) -> None:
    response = client.get("/studies?PatientID=NO-SUCH-PATIENT")
    assert (response.status_code, response.content) == (204, b"")


def test_the_study_list_of_a_viewer_finds_a_name_without_diacritics(
    client: httpx2.Client, patient_id: str
) -> None:
    response = client.get(
        f"/studies?PatientName=*akerstrom*&00100020=*{patient_id}*"
        f"&limit=101&offset=0&fuzzymatching=false&{OHIF_FIELDS}"
    )
    assert len(response.json()) == 3


def test_an_encoded_wildcard_is_a_wildcard(client: httpx2.Client, patient_id: str) -> None:
    response = client.get(f"/studies?PatientID={patient_id[:-2]}%2A&PatientName=%C3%A5ker%2A")
    assert len(response.json()) == 3


def test_part_of_an_id_is_not_a_match(client: httpx2.Client, patient_id: str) -> None:
    assert client.get(f"/studies?PatientID={patient_id[:-1]}").status_code == 204


def test_a_study_without_a_patient_id_is_no_ones_prior(client: httpx2.Client, store: Store) -> None:
    study = uid()
    store([an_object(PatientID="", StudyInstanceUID=study)])
    response = client.get(f"/studies?PatientID=191212121212&StudyInstanceUID={study}")
    assert response.status_code == 204


@pytest.mark.parametrize("separator", [",", "%2C", "%5C", "\\"])
def test_uids_are_listed_as_viewers_list_them(
    client: httpx2.Client, store: Store, separator: str
) -> None:
    first, second = uid(), uid()
    store([an_object(StudyInstanceUID=study) for study in (first, second)])
    response = client.get(f"/studies?StudyInstanceUID={first}{separator}{second}")
    assert sorted(values(response, "0020000D")) == sorted([first, second])


@pytest.mark.parametrize("written", ["191212121212", "19121212-1212", "121212-1212"])
def test_identity_numbers_match_in_their_written_variants(
    client: httpx2.Client, store: Store, written: str
) -> None:
    study = uid()
    store([an_object(PatientID="19121212-1212", StudyInstanceUID=study)])
    response = client.get(f"/studies?PatientID={written}&StudyInstanceUID={study}")
    assert values(response, "0020000D") == [study]


def test_a_date_range_and_a_time_range_are_one_interval(
    client: httpx2.Client, store: Store
) -> None:
    patient = uid()[-12:]
    moments = [("20240101", "120000"), ("20240102", "030000"), ("20240103", "120000")]
    store([an_object(PatientID=patient, StudyDate=date, StudyTime=time) for date, time in moments])
    response = client.get(
        f"/studies?PatientID={patient}&StudyDate=20240101-20240103&StudyTime=110000-040000"
    )
    assert values(response, "00080020") == ["20240102", "20240101"]


def test_more_matches_than_the_limit_are_announced(
    server: Live, client: httpx2.Client, patient_id: str
) -> None:
    response = client.get(f"/studies?PatientID={patient_id}&limit=1")
    assert response.headers["Warning"] == (
        f"299 {server.url}: There are 2 additional results that can be requested"
    )


def test_pages_are_disjoint_and_complete(client: httpx2.Client, patient_id: str) -> None:
    pages = [
        client.get(f"/studies?PatientID={patient_id}&limit=1&offset={offset}")
        for offset in range(3)
    ]
    dates = [date for page in pages for date in values(page, "00080020")]
    assert dates == ["20240117", "20240116", "20240115"]


def test_an_offset_beyond_the_last_match_is_204(client: httpx2.Client, patient_id: str) -> None:
    assert client.get(f"/studies?PatientID={patient_id}&offset=3").status_code == 204


def test_counts_and_modalities_of_a_study_are_returned(
    client: httpx2.Client, patient_id: str
) -> None:
    (row,) = client.get(f"/studies?PatientID={patient_id}&StudyDate=20240117").json()
    found = {tag: row[tag]["Value"] for tag in ("00080061", "00201206", "00201208")}
    assert found == {"00080061": ["CT"], "00201206": [2], "00201208": [3]}


def test_a_study_without_a_modality_has_no_empty_modalities(
    client: httpx2.Client, store: Store
) -> None:
    study = uid()
    store([an_object(StudyInstanceUID=study, Modality="")])
    (row,) = client.get(f"/studies?StudyInstanceUID={study}").json()
    assert "00080061" not in row


def test_an_included_field_is_returned(client: httpx2.Client, patient_id: str) -> None:
    response = client.get(
        f"/studies?PatientID={patient_id}&StudyDate=20240115&includefield=StudyDescription"
    )
    assert values(response, "00081030") == ["DT Thorax"]


def test_a_field_that_is_not_included_is_not_returned(
    client: httpx2.Client, patient_id: str
) -> None:
    (row,) = client.get(f"/studies?PatientID={patient_id}&StudyDate=20240115").json()
    assert "00081030" not in row


def test_series_of_a_study_are_searched(client: httpx2.Client, patient_id: str) -> None:
    (row,) = client.get(f"/studies?PatientID={patient_id}&StudyDate=20240117").json()
    study = row["0020000D"]["Value"][0]
    response = client.get(f"/studies/{study}/series?includefield=00080021%2C00080031")
    assert sorted(values(response, "00201209")) == [1, 2]


def test_series_are_searched_across_studies(client: httpx2.Client, patient_id: str) -> None:
    response = client.get(f"/series?PatientID={patient_id}&Modality=MR")
    assert values(response, "00080060") == ["MR"]


def test_instances_of_a_study_are_filtered_by_class(client: httpx2.Client, patient_id: str) -> None:
    (row,) = client.get(f"/studies?PatientID={patient_id}&StudyDate=20240117").json()
    study = row["0020000D"]["Value"][0]
    path = f"/studies/{study}/instances?00080016=1.2.840.10008.5.1.4.1.1.2&InstanceNumber=2"
    assert values(client.get(path), "00200013") == [2]


def test_instances_tell_their_stored_transfer_syntax(
    client: httpx2.Client, patient_id: str
) -> None:
    response = client.get(f"/instances?PatientID={patient_id}&limit=1")
    assert values(response, "00083002") == ["1.2.840.10008.1.2.1"]


def test_retrieve_urls_lead_to_what_was_found(client: httpx2.Client, patient_id: str) -> None:
    (url, *_) = values(client.get(f"/instances?PatientID={patient_id}"), "00081190")
    assert client.get(url, headers={"Accept": "application/dicom"}).status_code == 200


def test_xml_has_one_part_a_match(client: httpx2.Client, patient_id: str) -> None:
    accept = 'multipart/related; type="application/dicom+xml"'
    response = client.get(f"/studies?PatientID={patient_id}", headers={"Accept": accept})
    boundary = response.headers["Content-Type"].split("boundary=")[1]
    parts = response.content.split(f"--{boundary}".encode())[1:-1]
    roots = [ElementTree.fromstring(part.split(b"\r\n\r\n", 1)[1]) for part in parts]
    assert len(roots) == 3


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=1.0",
        "limit=",
        "offset=x",
        "limit=99999999999999999999999",
        "fuzzymatching=maybe",
        "StudyDate=20241301",
        "StudyDate=yesterday",
        "StudyInstanceUID=1.2.x",
        "PatientID=a&PatientID=b",
        "includefield=all&includefield=00081030",
        "PatientName=%FF%FE",
    ],
)
def test_an_invalid_value_is_400(client: httpx2.Client, query: str) -> None:
    assert client.get(f"/studies?{query}").status_code == 400


def test_the_error_names_the_parameter_and_not_its_value(client: httpx2.Client) -> None:
    detail = client.get("/studies?StudyDate=hemlig").json()["detail"]
    assert "StudyDate" in detail
    assert "hemlig" not in detail


def test_an_unknown_parameter_is_ignored_with_a_warning(
    client: httpx2.Client, patient_id: str
) -> None:
    response = client.get(f"/studies?PatientID={patient_id}&NoSuchThing=1")
    assert len(response.json()) == 3
    assert "NoSuchThing" in response.headers["Warning"]


def test_an_offset_from_utc_shifts_the_asked_times(client: httpx2.Client, store: Store) -> None:
    study = uid()
    store(
        [
            an_object(
                StudyInstanceUID=study,
                StudyDate="20240115",
                StudyTime="233000",
                TimezoneOffsetFromUTC="+0000",
            )
        ]
    )
    response = client.get(
        f"/studies?StudyInstanceUID={study}&TimezoneOffsetFromUTC=%2B0100"
        "&StudyDate=20240116&StudyTime=0030"
    )
    assert values(response, "0020000D") == [study]


def test_results_larger_than_a_packet_are_compressed(
    client: httpx2.Client, patient_id: str
) -> None:
    response = client.get(
        f"/instances?PatientID={patient_id}", headers={"Accept-Encoding": "zstd;q=1, gzip;q=0.5"}
    )
    assert response.headers["Content-Encoding"] == "zstd"


def test_a_private_attribute_comes_with_its_creator(client: httpx2.Client, store: Store) -> None:
    """8.3.4.3; the creator in the query is no unsupported parameter"""
    dataset = a_dataset()
    dataset.private_block(0x0009, "ACME 1.0", create=True).add_new(0x01, "LO", "own")
    store([written(dataset)])

    response = client.get(
        "/instances",
        params={
            "SOPInstanceUID": dataset.SOPInstanceUID,
            "00090010": "ACME 1.0",
            "includefield": "00091001",
        },
    )

    (found,) = response.json()
    assert found["00090010"]["Value"] == ["ACME 1.0"]
    assert found["00091001"]["Value"] == ["own"]
    assert "Warning" not in response.headers
