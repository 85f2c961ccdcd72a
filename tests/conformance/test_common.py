"""COM: what each case says of a right server, of a faulty one, and where nothing can be seen."""

from typing import Final

import httpx2
import pytest

from dicomweb_conformance.media_types import DICOM_JSON
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
from right_server import Answer, RightServer, answer

CHAPTER: Final = "COM"
WITH_PASSWORD: Final = {"Authorization": "Bearer right"}
NO_ACCEPT: Final = on(without="accept")
CSV: Final = on(accept="text/csv")
REPORT: Final = on(ends="/rendered", accept="text/html")
RANGE: Final = on(has="/frames/", header="range")

FAULTS: Final[list[tuple[str, Fault]]] = [
    ("COM-01", status(200, NO_ACCEPT)),
    ("COM-02", status(200, on(without="accept", query="accept="))),
    ("COM-03", header("Content-Type", "application/json", on(accept="*/*"))),
    ("COM-03", status(406, on(accept="*/*"))),
    ("COM-04", status(200, CSV)),
    ("COM-05", status(406, on(accept="vnd.example"))),
    ("COM-06", instead(answer(200, b"[]", DICOM_JSON), on(accept="q=0.9"))),
    ("COM-07", header("Content-Type", "multipart/related; boundary=x", on(accept="q=0.9"))),
    ("COM-07", status(406, on(accept="dicom+json;q=0.9"))),
    ("COM-08", status(406, on(accept="type=application/dicom"))),
    ("COM-09", status(406, on(accept='type="application/dicom"'))),
    ("COM-10", status(406, on(accept="APPLICATION"))),
    ("COM-11", status(200, on(accept="image/jpeg, application/dicom"))),
    ("COM-12", status(200, on(query="accept="))),
    ("COM-13", header("Content-Type", "image/jpeg", on(query="accept="))),
    ("COM-14", header("Content-Type", "image/jpeg", on(query="accept=", accept="image/*"))),
    ("COM-15", header("Content-Type", "image/png", on(query="accept="))),
    ("COM-15", status(500, on(query="accept="))),
    ("COM-16", status(400, on(query="foo="))),
    ("COM-16", instead(answer(204), on(query="foo="))),
    ("COM-17", instead(answer(204), on(query="LIMIT="))),
    ("COM-18", status(200, on(query="limit=abc"))),
    ("COM-19", status(200, on(query="limit=-1"))),
    ("COM-20", status(500, on(query="offset=x"))),
    ("COM-21", status(200, on(query="fuzzymatching=maybe"))),
    ("COM-22", header("Content-Type", None, on(ends="/metadata"))),
    ("COM-22", header("Transfer-Encoding", "chunked", on(ends="/metadata"))),
    ("COM-23", body(lambda right: right.replace(b"--right--", b"--wrong--"))),
    ("COM-23", body(lambda right: right.replace(b"Content-Type: ", b"X-Type: "))),
    ("COM-23", header("Content-Type", "multipart/related; boundary=other")),
    ("COM-24", body(lambda right: right.replace(b"Content-Location: ", b"X-Location: "))),
    ("COM-24", body(lambda right: right.replace(b"/instances/", b"/instances/1."))),
    ("COM-25", body(lambda right: right.replace(b"-syntax=1.2.840.10008.1.2.5", b"-syntax=1.2"))),
    ("COM-25", body(lambda right: right.replace(b"; transfer-syntax=", b"; other="))),
    ("COM-26", status(400, on("PATCH"))),
    ("COM-26", status(200, on("PATCH"))),
    ("COM-27", header("Allow", None, on("DELETE"))),
    ("COM-26", status(204, on("DELETE"))),
    ("COM-27", header("Allow", None, on("PATCH"))),
    ("COM-30", status(200, on(has="/studies/"))),
    ("COM-31", body(lambda _: b"", CSV)),
    ("COM-32", body(lambda right: right.decode().encode("latin-1"), REPORT)),
    ("COM-32", status(406, on(accept="charset"))),
    ("COM-33", status(400, on(query="charset=nonsense"))),
    (
        "COM-34",
        header("Content-Type", "text/html; charset=iso-8859-1", on(header="accept-charset")),
    ),
    ("COM-35", status(406, on(accept="charset"))),
    ("COM-36", instead(answer(204), on(query="PatientName=%C3%85"))),
    ("COM-37", header("Content-Range", "bytes 0-9/1200", RANGE)),
    ("COM-37", body(lambda right: right[:-1], RANGE)),
    ("COM-39", header("Content-Type", "multipart/related; boundary=right", on(has="/series/"))),
    ("COM-40", body(lambda right: right.replace(b"Content-Length: ", b"Content-Length: 1"))),
    ("COM-40", body(lambda right: right.replace(b"Content-Length: ", b"X-Length: "))),
]
# These need a server of their own.
ELSEWHERE: Final = {"COM-28", "COM-38", "COM-41"}


@pytest.mark.parametrize("id", ids_of(CHAPTER, but={"COM-28"}))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault)

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_there(id: str) -> None:
    verdict = await judged(id, holds=False, credentials=WITH_PASSWORD)

    assert verdict.outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} | ELSEWHERE == set(ids_of(CHAPTER))


async def test_a_challenge_is_asked_of_a_server_with_passwords() -> None:
    server = RightServer(password="right")

    verdict = await judged("COM-28", server=server, credentials=WITH_PASSWORD)

    assert verdict.outcome is Outcome.PASS


async def test_a_401_without_a_challenge_is_found() -> None:
    silent = header("WWW-Authenticate", None)

    verdict = await judged(
        "COM-28", silent, server=RightServer(password="right"), credentials=WITH_PASSWORD
    )

    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize("refusal", [302, 403, 404])
async def test_a_server_may_refuse_in_other_ways_than_401(refusal: int) -> None:
    def otherwise(request: httpx2.Request, right: Answer) -> Answer:
        return answer(refusal) if right.status_code == 401 else right

    verdict = await judged(
        "COM-28", otherwise, server=RightServer(password="right"), credentials=WITH_PASSWORD
    )

    assert verdict.outcome is Outcome.NA


async def test_a_server_without_passwords_is_not_blamed_for_having_none() -> None:
    verdict = await judged("COM-28", credentials=WITH_PASSWORD)

    assert verdict.outcome is Outcome.NA


async def test_another_order_of_equal_searches_is_found() -> None:
    answers = iter(range(9))

    def turned_round(right: bytes) -> bytes:
        rows = right.decode().removeprefix("[").removesuffix("]").split(', {"00080020"')
        first, *others = rows
        written = [first, *('{"00080020"' + each for each in others)]
        return f"[{', '.join(written[:: -1 if next(answers) else 1])}]".encode()

    verdict = await judged("COM-38", body(turned_round))

    assert (verdict.outcome, verdict.reason) == (
        Outcome.FAIL,
        "the second search has another order",
    )


async def test_files_in_another_transfer_syntax_than_the_default_are_found() -> None:
    implicit = body(lambda right: right.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))

    verdict = await judged("COM-41", implicit)

    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("id", "seen"),
    [("COM-04", "default"), ("COM-15", "406"), ("COM-30", "404"), ("COM-34", "ISO-8859-1")],
)
async def test_a_sanctioned_alternative_passes_and_is_said(id: str, seen: str) -> None:
    alternatives = {
        "COM-04": instead(answer(200, b"[]", DICOM_JSON), CSV),
        "COM-15": status(406, on(query="accept=")),
        "COM-30": status(404, on(has="/studies/")),
        "COM-34": status(406, on(header="accept-charset")),
    }

    verdict = await judged(id, alternatives[id])

    assert verdict.outcome is Outcome.PASS
    assert seen in " ".join(verdict.notes)


@pytest.mark.parametrize(
    ("id", "broken"),
    [
        ("COM-02", status(200, NO_ACCEPT)),
        ("COM-07", instead(answer(200, b"[]", DICOM_JSON), on(accept="dicom+json;q=0.2"))),
        ("COM-12", header("Content-Type", "image/jpeg", on(query="accept="))),
        ("COM-14", header("Content-Type", "image/jpeg", on(query="accept="))),
    ],
)
async def test_what_another_case_judges_is_not_held_against_a_server_twice(
    id: str, broken: Fault
) -> None:
    assert (await judged(id, broken)).outcome is Outcome.SKIP
