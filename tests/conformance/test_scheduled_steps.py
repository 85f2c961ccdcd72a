"""MSP: what each case says of a right server, of a faulty one, and where there is nothing."""

import json
from typing import Any, Final

import httpx2
import pytest

from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, body, ids_of, instead, judged, on, status, when_broken
from right_server import JSON, Answer, RightServer, answer
from right_services import Services, scheduled_step

CHAPTER: Final = "MSP"
SEARCH: Final = on(ends="/modality-scheduled-procedure-steps")
BY_TIME: Final = on(query="StartTime=")
BY_PATIENT: Final = on(query="PatientID=")
BY_STATION: Final = on(query="ScheduledStationAETitle=")


def planned() -> Services:
    steps = [
        scheduled_step("CT1", "CT", "20240105", "093000"),
        scheduled_step("MR1", "MR", "20240106", "140000"),
        scheduled_step("CT2", "CT", "20240107", "170000"),
    ]
    return Services(scheduled=steps)


def all_steps() -> Answer:
    return answer(200, json.dumps(planned().scheduled).encode(), JSON)


def without(tag: str) -> Fault:
    def changed(right: bytes) -> bytes:
        return right.replace(f'"{tag}"'.encode(), b'"0040FFFF"')

    return body(changed, SEARCH)


FAULTS: Final[list[tuple[str, Fault]]] = [
    ("MSP-01", instead(all_steps(), on(query="Modality="))),
    ("MSP-01", instead(answer(204), on(query="Modality="))),
    ("MSP-01", without("00400009")),
    ("MSP-01", without("00401001")),
    ("MSP-02", instead(answer(204), BY_TIME)),
    ("MSP-02", status(400, BY_TIME)),
    ("MSP-02", instead(all_steps(), BY_TIME)),
    ("MSP-03", instead(all_steps(), BY_PATIENT)),
    ("MSP-03", instead(all_steps(), BY_STATION)),
    ("MSP-03", instead(answer(204), BY_STATION)),
    ("MSP-04", instead(answer(200, b"[{}]", JSON), BY_PATIENT)),
    ("MSP-04", instead(answer(404), BY_PATIENT)),
]


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id, server=planned().server())

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault, server=planned().server())

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_scheduled(id: str) -> None:
    assert (await judged(id, server=Services().server())).outcome is Outcome.SKIP


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_no_value_of_a_patient_is_asked_for_or_told(id: str) -> None:
    asked: list[str] = []

    def listening(request: httpx2.Request, right: Answer) -> Answer:
        asked.append(str(request.url))
        return right

    verdict = await judged(id, listening, server=planned().server(), read_only=True)

    told: list[Any] = [*asked, *verdict.exchanges, *verdict.notes, verdict.reason]
    assert verdict.outcome is Outcome.PASS
    assert not [each for each in told if "PATIENT CT1" in str(each) or "Doe" in str(each)]


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_without_the_service_is_not_blamed(id: str) -> None:
    assert (await judged(id)).outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_that_says_nothing_and_has_no_service_is_not_blamed(id: str) -> None:
    verdict = await judged(id, instead(answer(404)), server=RightServer(capabilities={}))

    assert verdict.outcome is Outcome.NA


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))
