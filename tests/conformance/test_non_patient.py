"""NPI: what each case says of a right server, of a faulty one, and where there is nothing."""

from typing import Final

import httpx2
import pytest

from dicomweb_conformance.chapters import non_patient
from dicomweb_conformance.verdicts import Outcome
from planted_faults import (
    Fault,
    When,
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
from right_services import Services

CHAPTER: Final = "NPI"
STORE: Final = on("POST", ends="/color-palettes")
SEARCH: Final = on(ends="/color-palettes", query="ContentLabel")
PROTOCOLS: Final = on(ends="/hanging-protocols")
OTHERS_UID: Final = on("POST", has="/color-palettes/")
UNKNOWN: Final = on(has="/no-such-category/")


def of_an_image(request: httpx2.Request) -> bool:
    return STORE(request) and b"1.2.840.10008.5.1.4.1.1." in request.content


def refused(when: When) -> Fault:
    """Says that it was stored, where it was not."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        return answer(200) if when(request) and right.status_code >= 400 else right

    return fault


FAULTS: Final[list[tuple[str, Fault]]] = [
    ("NPI-01", status(201, STORE)),
    ("NPI-01", status(500, STORE)),
    ("NPI-02", status(406, on(accept="xml"))),
    ("NPI-02", body(lambda right: right[1:-1], on(has="/color-palettes/", accept="json"))),
    ("NPI-02", header("Content-Type", "application/octet-stream", on(ends="", accept="dicom"))),
    ("NPI-02", body(lambda right: right[128:], on(has="/color-palettes/"))),
    ("NPI-03", instead(answer(200, b"[]", JSON), UNKNOWN)),
    ("NPI-03", instead(answer(400), UNKNOWN)),
    ("NPI-04", instead(answer(204), SEARCH)),
    ("NPI-04", body(lambda right: right.replace(b"00700084", b"00700085"), SEARCH)),
    ("NPI-05", status(200, on(accept="image/jpeg"))),
    ("NPI-06", refused(of_an_image)),
    ("NPI-07", refused(OTHERS_UID)),
    ("NPI-08", instead(answer(204), PROTOCOLS)),
    ("NPI-08", instead(answer(200, b"[{}]", JSON), on(ends="/hanging-protocols", query="=MR"))),
]


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(non_patient, "SETTLE_S", 0.05)
    monkeypatch.setattr(non_patient, "_POLL_S", 0.01)


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id, server=Services().server())

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault, server=Services().server())

    assert verdict.outcome is when_broken(id), verdict.reason


async def test_a_label_that_is_ignored_is_found() -> None:
    services = Services()
    server = services.server()

    def ignoring(request: httpx2.Request, right: Answer) -> Answer:
        if not SEARCH(request):
            return right
        url = request.url.copy_with(query=None)
        return server(httpx2.Request("GET", url, headers=request.headers))

    verdict = await judged("NPI-04", ignoring, server=server)

    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize("id", ["NPI-06", "NPI-07"])
async def test_what_is_refused_and_kept_all_the_same_is_found(id: str) -> None:
    services = Services()

    def keeping(request: httpx2.Request, right: Answer) -> Answer:
        if request.method == "GET" and right.status_code == 404:
            return answer(200, b"[{}]", JSON)
        return right

    verdict = await judged(id, keeping, server=services.server())

    assert verdict.outcome is Outcome.FAIL


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
