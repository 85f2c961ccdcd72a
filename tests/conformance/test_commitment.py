"""CMT: what each case says of a right server, of a faulty one, and where there is nothing."""

import json
from collections.abc import Callable
from typing import Any, Final

import httpx2
import pytest

from dicomweb_conformance.verdicts import Outcome
from planted_faults import (
    Fault,
    body,
    header,
    ids_of,
    instead,
    judged,
    on,
    status,
    when_broken,
)
from right_server import JSON, Answer, RightServer, answer
from right_services import Services, attribute

CHAPTER: Final = "CMT"
POST: Final = on("POST", has="/commitment-requests/")
GET: Final = on(has="/commitment-requests/")


def result(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Changes the result in place."""

    def changed(right: bytes) -> bytes:
        if not right.startswith(b"{"):
            return right
        parsed = json.loads(right)
        change(parsed)
        return json.dumps(parsed).encode()

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if "/commitment-requests/" not in request.url.path or right.status_code != 200:
            return right
        return Answer(
            right.status_code,
            headers={"Content-Type": right.headers["content-type"]},
            content=changed(right.content),
        )

    return fault


def _has_failed(found: dict[str, Any]) -> bool:
    return "00081198" in found


def all_committed(found: dict[str, Any]) -> None:
    if _has_failed(found):
        found["00081199"]["Value"] += found.pop("00081198")["Value"]


def other_reason(found: dict[str, Any]) -> None:
    if _has_failed(found):
        found["00081198"]["Value"][0]["00081197"] = attribute("US", 272)


def no_reason(found: dict[str, Any]) -> None:
    if _has_failed(found):
        del found["00081198"]["Value"][0]["00081197"]


def one_lost(found: dict[str, Any]) -> None:
    found.get("00081199", {"Value": [0]})["Value"].pop()


def other_form(found: dict[str, Any]) -> None:
    if "00081110" in found:
        del found["00081110"]
        found["00081199"] = attribute("SQ", {})


def empty_studies(found: dict[str, Any]) -> None:
    if "00081110" in found:
        found["00081110"] = attribute("SQ")


def without_payload(request: httpx2.Request) -> bool:
    return POST(request) and len(request.content) <= 2


def again(request: httpx2.Request, right: Answer) -> Answer:
    return answer(200, b"{}", JSON) if right.status_code == 409 else right


FAULTS: Final[list[tuple[str, Fault]]] = [
    ("CMT-01", status(201, POST)),
    ("CMT-01", result(one_lost)),
    ("CMT-01", result(lambda found: found.update({"00081198": attribute("SQ")}))),
    ("CMT-01", header("Content-Type", "application/json", POST)),
    ("CMT-01", status(202, POST)),  # with the payload
    ("CMT-02", status(500, GET)),
    ("CMT-02", instead(answer(200, b"{}", JSON), GET)),
    ("CMT-03", result(all_committed)),
    ("CMT-03", result(other_reason)),
    ("CMT-03", result(no_reason)),
    ("CMT-04", result(all_committed)),
    ("CMT-04", result(other_reason)),
    ("CMT-05", again),
    ("CMT-06", instead(answer(200, b"{}", JSON), GET)),
    ("CMT-06", instead(answer(410), GET)),
    ("CMT-07", result(other_form)),
    ("CMT-07", result(empty_studies)),
    ("CMT-08", status(415, POST)),
    ("CMT-08", header("Content-Type", JSON, POST)),
    ("CMT-08", body(lambda _: b"<html/>", POST)),
    ("CMT-09", status(200, without_payload)),
    ("CMT-09", status(500, without_payload)),
    ("CMT-10", result(lambda found: found.update({"00081195": attribute("UI", "2.25.1")}))),
]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_server_passes(id: str, later: bool) -> None:
    verdict = await judged(id, server=Services(commits_later=later).server())

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault, server=Services().server())

    assert verdict.outcome is when_broken(id), verdict.reason


async def test_a_result_that_was_promised_and_is_lost_is_found() -> None:
    server = Services(commits_later=True).server()

    verdict = await judged("CMT-02", instead(answer(404), GET), server=server)

    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize("number", [404, 410])
async def test_a_result_told_at_once_need_not_be_kept(number: int) -> None:
    verdict = await judged("CMT-02", instead(answer(number), GET), server=Services().server())

    assert verdict.outcome is Outcome.PASS
    assert str(number) in " ".join(verdict.notes)


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_without_the_service_is_not_blamed(id: str) -> None:
    assert (await judged(id)).outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_that_says_nothing_and_has_no_service_is_not_blamed(id: str) -> None:
    verdict = await judged(id, instead(answer(404), POST), server=RightServer(capabilities={}))

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_there(id: str) -> None:
    verdict = await judged(id, server=Services().server(), holds=False)

    assert verdict.outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))
