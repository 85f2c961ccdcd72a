"""Modality scheduled and performed procedure steps over HTTP (PS3.18 chapters 14 and 15).

Tests bear the numbers of the conformance cases.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from pydicom import Dataset

import registry as registries
from hl7_said import ABDOMEN, THORAX, m1
from http_described import deviation
from modalities import a_scheduled_item, a_step, completed
from objects import uid
from registry import Registry

JSON = "application/dicom+json"
SCHEDULED = "/modality-scheduled-procedure-steps"
STEP = "ScheduledProcedureStepSequence."


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registries.running(tmp_path_factory.mktemp("steps")) as registry:
        registry.told(m1())
        yield registry


@pytest.fixture
def client(registry: Registry) -> Iterator[httpx2.Client]:
    deviations: list[str] = []

    def check(response: httpx2.Response) -> None:
        response.read()
        found = deviation(response)
        deviations.extend([found] if found else [])

    with httpx2.Client(
        base_url=registry.live.url,
        headers={"Accept": JSON},
        event_hooks={"response": [check]},
        timeout=60,
    ) as client:
        yield client
    assert not deviations


def accessions(answer: httpx2.Response) -> list[str]:
    assert answer.status_code in (200, 204), answer.text
    items = [] if answer.status_code == 204 else answer.json()
    return [item["00080050"]["Value"][0] for item in items]


def post(client: httpx2.Client, path: str, dataset: Dataset) -> httpx2.Response:
    body = json.dumps(dataset.to_json_dict())
    return client.post(path, content=body, headers={"Content-Type": JSON})


def created(client: httpx2.Client) -> str:
    path = f"/modality-performed-procedure-steps/{uid()}"
    answer = post(client, path, a_step(a_scheduled_item(THORAX.accession, THORAX.study_uid)))
    assert answer.status_code == 201, answer.text
    return path


def test_msp_01_the_worklist_is_searched_by_modality(client: httpx2.Client) -> None:
    found = client.get(SCHEDULED, params={f"{STEP}Modality": "CT"})
    assert sorted(accessions(found)) == sorted([THORAX.accession, ABDOMEN.accession])


@pytest.mark.parametrize("tag", ["00100010", "00100020", "0020000D", "00400100", "00401001"])
def test_msp_01_return_keys_of_type_1_have_values(client: httpx2.Client, tag: str) -> None:
    items = client.get(SCHEDULED).json()
    assert all(item[tag]["Value"] for item in items)


def step_of(item: dict[str, Any]) -> tuple[str, str]:
    step = item["00400100"]["Value"][0]
    return step["00400002"]["Value"][0], step["00400003"]["Value"][0]


def test_msp_02_date_and_time_are_one_interval(client: httpx2.Client) -> None:
    date, time = step_of(client.get(SCHEDULED).json()[0])
    hour = int(time[:2])
    inside = {
        f"{STEP}ScheduledProcedureStepStartDate": f"{int(date) - 1}-{date}",
        f"{STEP}ScheduledProcedureStepStartTime": f"{(hour + 2) % 24:02}00-{hour:02}59",
    }
    assert accessions(client.get(SCHEDULED, params=inside))


def test_msp_03_patient_and_station_match_exactly(client: httpx2.Client) -> None:
    both = {"PatientID": "191212121212", f"{STEP}ScheduledStationAETitle": "CT1_SU"}
    assert len(accessions(client.get(SCHEDULED, params=both))) == 2


@pytest.mark.parametrize("query", ["PatientID=X", f"{STEP}ScheduledStationAETitle=CT1"])
def test_msp_04_no_match_is_204(client: httpx2.Client, query: str) -> None:
    assert client.get(f"{SCHEDULED}?{query}").status_code == 204


def test_msp_04_what_remains_is_said(client: httpx2.Client) -> None:
    answer = client.get(f"{SCHEDULED}?limit=1")
    assert answer.headers["Warning"].endswith(
        "There are 1 additional results that can be requested"
    )


def test_mpp_01_a_step_is_created(client: httpx2.Client) -> None:
    path = created(client)
    assert client.get(path).json()[0]["00400252"]["Value"] == ["IN PROGRESS"]


def test_mpp_02_a_uid_is_created_once(client: httpx2.Client) -> None:
    assert post(client, created(client), a_step()).status_code == 409


def test_mpp_03_a_step_begins_in_progress(client: httpx2.Client) -> None:
    step = a_step(PerformedProcedureStepStatus="COMPLETED")
    answer = post(client, f"/modality-performed-procedure-steps/{uid()}", step)
    assert answer.status_code == 400
    assert "(0040,0252)" in answer.json()["detail"]


def test_mpp_04_a_step_is_completed(client: httpx2.Client) -> None:
    path = created(client)
    assert post(client, f"{path}?update", completed()).status_code == 200
    assert client.get(path).json()[0]["00400252"]["Value"] == ["COMPLETED"]


def test_mpp_05_what_is_completed_stays_so(client: httpx2.Client) -> None:
    path = created(client)
    post(client, f"{path}?update", completed())
    assert post(client, f"{path}?update", completed()).status_code == 409


def test_mpp_06_an_unknown_step_is_not_updated(client: httpx2.Client) -> None:
    path = f"/modality-performed-procedure-steps/{uid()}?update"
    assert post(client, path, completed()).status_code == 404


def test_mpp_07_without_series_nothing_is_completed(client: httpx2.Client) -> None:
    path, end = created(client), completed()
    end.PerformedSeriesSequence = []
    assert post(client, f"{path}?update", end).status_code == 400


@pytest.mark.parametrize("query", ["", "?includefield=all"])
def test_mpp_08_a_step_is_retrieved(client: httpx2.Client, query: str) -> None:
    path = created(client)
    assert client.get(path + query).json()[0]["00400241"]["Value"]


def test_mpp_08_an_unknown_step_is_not_found(client: httpx2.Client) -> None:
    assert client.get(f"/modality-performed-procedure-steps/{uid()}").status_code == 404


def test_a_step_over_http_is_heard_of_as_one_over_dimse(
    registry: Registry, client: httpx2.Client
) -> None:
    created(client)
    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": THORAX.accession})
    assert task["businessStatus"]["coding"][0]["code"] in ("started", "performed")
