"""MPP: what each case says of a right server, of a faulty one, and where there is nothing."""

from typing import Final

import httpx2
import pytest

from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, body, ids_of, instead, judged, on, status, when_broken
from right_server import JSON, Answer, RightServer, answer
from right_services import Services

CHAPTER: Final = "MPP"
STEP: Final = on("POST", has="/modality-performed-procedure-steps/")
UPDATE: Final = on("POST", query="update")
RETRIEVE: Final = on(has="/modality-performed-procedure-steps/")


def accepting(refused: int) -> Fault:
    """Says that it was done, where it was refused with that status."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        return answer(200) if STEP(request) and right.status_code == refused else right

    return fault


def another(refused: int, number: int) -> Fault:
    def fault(request: httpx2.Request, right: Answer) -> Answer:
        return answer(number) if STEP(request) and right.status_code == refused else right

    return fault


def keeping_what_is_refused(services: Services) -> Fault:
    """Answers rightly, and completes the step without its series all the same."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if UPDATE(request) and right.status_code == 400:
            uid = request.url.path.rpartition("/")[2]
            services.performed[uid]["00400252"]["Value"] = ["COMPLETED"]
        return right

    return fault


def _is_new(request: httpx2.Request) -> bool:
    return STEP(request) and not request.url.query


FAULTS: Final[list[tuple[str, Fault]]] = [
    ("MPP-01", status(200, _is_new)),
    ("MPP-01", status(400, _is_new)),
    ("MPP-02", another(409, 201)),
    ("MPP-02", another(409, 400)),
    ("MPP-03", another(400, 201)),
    ("MPP-03", another(400, 409)),
    ("MPP-03", another(404, 200)),
    ("MPP-04", status(204, UPDATE)),
    ("MPP-04", status(409, UPDATE)),
    ("MPP-05", accepting(409)),
    ("MPP-05", another(409, 400)),
    ("MPP-06", accepting(404)),
    ("MPP-06", another(404, 409)),
    ("MPP-07", accepting(400)),
    ("MPP-08", status(404, RETRIEVE)),
    ("MPP-08", status(400, on(query="includefield=all"))),
    ("MPP-08", instead(answer(200, b"[{}]", JSON), RETRIEVE)),
    ("MPP-08", body(lambda _: b"not json", RETRIEVE)),
]


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id, server=Services().server())

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault, server=Services().server())

    assert verdict.outcome is when_broken(id), verdict.reason


async def test_a_refused_completion_that_is_done_all_the_same_is_found() -> None:
    services = Services()

    verdict = await judged("MPP-07", keeping_what_is_refused(services), server=services.server())

    assert verdict.outcome is Outcome.FAIL


async def test_no_step_is_left_in_progress() -> None:
    services = Services()
    server = services.server()
    for id in ids_of(CHAPTER):
        await judged(id, server=server)

    states = {step["00400252"]["Value"][0] for step in services.performed.values()}
    assert states == {"COMPLETED", "DISCONTINUED"}


async def test_retrieving_is_optional() -> None:
    server = Services().server()
    server.capabilities["modality-performed-procedure-steps/{s}"] = ["POST"]

    assert (await judged("MPP-08", server=server)).outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_without_the_service_is_not_blamed(id: str) -> None:
    assert (await judged(id)).outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_that_says_nothing_and_has_no_service_is_not_blamed(id: str) -> None:
    verdict = await judged(id, instead(answer(404)), server=RightServer(capabilities={}))

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_changed_in_a_run_that_only_reads(id: str) -> None:
    verdict = await judged(id, server=Services().server(), read_only=True)

    assert verdict.outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))
