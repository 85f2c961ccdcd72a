"""DELETE, and what every door says afterwards."""

import io
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE, build_role, evt

from dimse_queries import identifier, scu
from dimse_retrieved import STUDY_ROOT_GET
from dimse_served import AE_TITLE
from live import Live, free_port, running
from objects import a_series, an_object, multipart, uid

JSON = {"Accept": "application/dicom+json"}
ANY = {"Accept": "*/*"}


class Archive:
    """A running server as its clients see it."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.http = httpx2.Client(base_url=live.url, headers=JSON, timeout=60)

    def store(self, *files: bytes) -> None:
        body, content_type = multipart(list(files))
        headers = {"Content-Type": content_type}
        self.http.post("/studies", content=body, headers=headers).raise_for_status()

    def delete(self, path: str) -> int:
        return self.http.delete(path).status_code

    def status(self, path: str) -> int:
        return self.http.get(path, headers=ANY).status_code

    def rows(self, path: str, **query: str) -> list[dict[str, Any]]:
        answer = self.http.get(path, params=query)
        return [] if answer.status_code == 204 else list(answer.raise_for_status().json())

    def fhir(self, path: str) -> httpx2.Response:
        return self.http.get(f"{self.live.fhir}/{path}", headers=ANY)

    def imaging_studies(self, study: str) -> list[dict[str, Any]]:
        bundle = self.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study}").json()
        resources = [entry["resource"] for entry in bundle.get("entry", [])]
        return [one for one in resources if one["resourceType"] == "ImagingStudy"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def archive(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("deleting")
    peers = folder / "peers.toml"
    peers.write_text('[[peers]]\nae_title = "SCU"\nmay = ["query", "retrieve"]\n')
    settings = {"allow_deletion": "true", "dimse": f"127.0.0.1:{free_port()}"}
    settings["peers"] = str(peers)
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgresql")
        name = f"deleting_{uid()[-12:]}"
        cluster.create_database(name)
        settings["database_url"] = cluster.url(name)
    with running(folder, settings) as live:
        archive = Archive(live)
        yield archive
        archive.http.close()


@pytest.fixture
def deleted(archive: Archive) -> list[str]:
    """UIDs of study, series and instance of what was stored and deleted."""
    file = an_object()
    archive.store(file)
    stored = dcmread(io.BytesIO(file))
    uids = [stored.StudyInstanceUID, stored.SeriesInstanceUID, stored.SOPInstanceUID]
    assert archive.delete(f"/studies/{uids[0]}") == 204
    return uids


def paths(study: str, series: str, instance: str) -> list[str]:
    of_series = f"/studies/{study}/series/{series}"
    levels = [f"/studies/{study}", of_series, f"{of_series}/instances/{instance}"]
    resources = ("", "/metadata", "/bulkdata", "/pixeldata")
    every = [level + resource for level in levels for resource in resources]
    return [*every, f"{levels[-1]}/frames/1", f"{levels[-1]}/bulkdata/7FE00010"]


# --- while it is not allowed -----------------------------------------------------------------


@pytest.mark.parametrize("path", [0, 4, 8])
def test_com_27_where_deleting_is_off_the_resources_do_not_have_the_method(
    client: httpx2.Client, path: int
) -> None:
    answer = client.delete(paths("1.2", "1.2.3", "1.2.3.4")[path])
    assert (answer.status_code, "DELETE" in answer.headers["Allow"]) == (405, False)


def studies_deleted_by_capabilities(http: httpx2.Client) -> bool:
    answer = http.request("OPTIONS", "/", headers={"Accept": "application/json"})
    described = answer.raise_for_status().json()["application"]["resources"]
    (studies,) = (one for one in described["resource"] if one["@path"] == "studies")
    (study,) = (one for one in studies["resource"] if one["@path"] == "{StudyInstance}")
    return "DELETE" in [method["@name"] for method in study["method"]]


def test_where_deleting_is_off_the_capabilities_do_not_have_it(client: httpx2.Client) -> None:
    assert not studies_deleted_by_capabilities(client)


def test_where_deleting_is_allowed_the_capabilities_have_it(archive: Archive) -> None:
    assert studies_deleted_by_capabilities(archive.http)


# --- retrieve --------------------------------------------------------------------------------


def test_com_30_every_resource_of_what_was_deleted_is_gone(
    archive: Archive, deleted: list[str]
) -> None:
    assert {path: archive.status(path) for path in paths(*deleted)} == dict.fromkeys(
        paths(*deleted), 410
    )


def test_com_30_what_was_never_stored_is_not_found(archive: Archive, deleted: list[str]) -> None:
    study, series, _ = deleted
    never = [*paths(uid(), series, uid()), *paths(study, uid(), uid())[4:]]
    assert {archive.status(path) for path in never} == {404}


def test_deleting_twice_is_gone(archive: Archive, deleted: list[str]) -> None:
    assert archive.delete(f"/studies/{deleted[0]}") == 410


def test_deleting_what_was_never_stored_is_not_found(archive: Archive) -> None:
    assert archive.delete(f"/studies/{uid()}") == 404


def test_deleting_something_that_is_no_uid_is_a_bad_request(archive: Archive) -> None:
    assert archive.delete("/studies/abc") == 400


# --- search ----------------------------------------------------------------------------------


@pytest.fixture
def two_series(archive: Archive) -> dict[str, str]:
    """A study of two CT instances and one MR instance."""
    uids = {"study": uid(), "ct": uid(), "mr": uid(), "first": uid()}
    study = uids["study"]
    ct = a_series(1, StudyInstanceUID=study, SeriesInstanceUID=uids["ct"])
    ct += a_series(
        1, StudyInstanceUID=study, SeriesInstanceUID=uids["ct"], SOPInstanceUID=uids["first"]
    )
    mr = an_object(StudyInstanceUID=study, SeriesInstanceUID=uids["mr"], Modality="MR")
    archive.store(*ct, mr)
    return uids


def told(row: dict[str, Any], *tags: str) -> list[Any]:
    return [row[tag]["Value"] for tag in tags]


def test_counts_and_modalities_are_those_of_what_is_left(
    archive: Archive, two_series: dict[str, str]
) -> None:
    study = two_series["study"]
    assert archive.delete(f"/studies/{study}/series/{two_series['mr']}") == 204
    (row,) = archive.rows("/studies", StudyInstanceUID=study)
    assert told(row, "00080061", "00201206", "00201208") == [["CT"], [1], [2]]


def test_the_number_of_instances_of_a_series_is_that_of_what_is_left(
    archive: Archive, two_series: dict[str, str]
) -> None:
    study, series, instance = (two_series[name] for name in ("study", "ct", "first"))
    archive.delete(f"/studies/{study}/series/{series}/instances/{instance}")
    (row,) = archive.rows(f"/studies/{study}/series", SeriesInstanceUID=series)
    assert told(row, "00201209") == [[1]]


def test_of_a_study_that_is_left_in_part_only_what_was_deleted_is_gone(
    archive: Archive, two_series: dict[str, str]
) -> None:
    study, of_ct, of_mr = (two_series[name] for name in ("study", "ct", "mr"))
    archive.delete(f"/studies/{study}/series/{of_mr}")
    statuses = [
        archive.status(f"/studies/{study}/metadata"),
        archive.status(f"/studies/{study}/series/{of_ct}/metadata"),
        archive.status(f"/studies/{study}/series/{of_mr}/metadata"),
    ]
    assert statuses == [200, 200, 410]


def test_nothing_deleted_is_found(archive: Archive, deleted: list[str]) -> None:
    study, series, instance = deleted
    found = [
        archive.rows("/studies", StudyInstanceUID=study),
        archive.rows("/series", SeriesInstanceUID=series),
        archive.rows("/instances", SOPInstanceUID=instance),
    ]
    assert found == [[], [], []]


def test_dimse_finds_as_little(archive: Archive, deleted: list[str]) -> None:
    port = archive.live.dimse_port or 0
    with scu(port) as asking:
        found = asking.find("STUDY", ("StudyInstanceUID", deleted[0]))
    assert (found.answers, found.status.Status) == ([], 0)


def got(port: int, study: str) -> set[str]:
    """The instances that C-GET of a study gives."""
    received: set[str] = set()

    def keep(event: evt.Event) -> int:
        request: Any = event.request
        received.add(str(request.AffectedSOPInstanceUID))
        return 0x0000

    entity = AE("SCU")
    entity.add_requested_context(STUDY_ROOT_GET)
    entity.add_requested_context(CTImageStorage)
    association = entity.associate(
        "127.0.0.1",
        port,
        ae_title=AE_TITLE,
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    assert association.is_established
    wanted = identifier("STUDY", [("StudyInstanceUID", study)])
    list(association.send_c_get(wanted, STUDY_ROOT_GET))
    association.release()
    return received


def test_dimse_retrieves_what_is_left(archive: Archive, two_series: dict[str, str]) -> None:
    study, first = two_series["study"], two_series["first"]
    port = archive.live.dimse_port or 0
    before = got(port, study)
    archive.delete(f"/studies/{study}/series/{two_series['ct']}/instances/{first}")
    assert before - got(port, study) == {first}


# --- FHIR ------------------------------------------------------------------------------------


def test_the_imaging_study_of_what_was_deleted_is_gone(archive: Archive) -> None:
    file = an_object()
    study = dcmread(io.BytesIO(file)).StudyInstanceUID
    archive.store(file)
    (resource,) = archive.imaging_studies(study)

    archive.delete(f"/studies/{study}")

    answer = archive.fhir(f"ImagingStudy/{resource['id']}")
    assert (answer.status_code, archive.imaging_studies(study)) == (410, [])


def test_the_imaging_study_shows_what_is_left(archive: Archive, two_series: dict[str, str]) -> None:
    study = two_series["study"]
    archive.delete(f"/studies/{study}/series/{two_series['mr']}")
    (resource,) = archive.imaging_studies(study)
    assert (resource["numberOfSeries"], resource["numberOfInstances"]) == (1, 2)


# --- storing again ---------------------------------------------------------------------------


def test_what_was_deleted_can_be_stored_again(archive: Archive) -> None:
    file = an_object()
    stored = dcmread(io.BytesIO(file))
    path = paths(stored.StudyInstanceUID, stored.SeriesInstanceUID, stored.SOPInstanceUID)[8]
    archive.store(file)
    archive.delete(path)

    archive.store(file)

    answer = archive.http.get(path, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert answer.content == file
