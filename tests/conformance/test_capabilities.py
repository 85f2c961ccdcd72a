"""CAP: what each case says of a right server, of a faulty one, and where nothing can be seen."""

from typing import Final

import pytest

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
from right_server import CAPABILITIES, RightServer, answer

CHAPTER: Final = "CAP"
OPTIONS: Final = on("OPTIONS")
WADL: Final = on("OPTIONS", accept="wadl")
JSON: Final = on("OPTIONS", accept="json")
PREFLIGHT: Final = on("OPTIONS", header="origin")
DESCRIPTION: Final = '<application xmlns="http://wadl.dev.java.net/2009/02"/>'

FAULTS: Final[list[tuple[str, Fault]]] = [
    ("CAP-01", status(405, OPTIONS)),
    ("CAP-01", body(lambda right: right[:-5], WADL)),
    ("CAP-01", header("Content-Type", "application/xml", WADL)),
    ("CAP-01", body(lambda _: DESCRIPTION.encode(), WADL)),
    ("CAP-02", status(500, JSON)),
    ("CAP-02", body(lambda right: right[:-5], JSON)),
    ("CAP-02", body(lambda _: b"{}", JSON)),
    ("CAP-03", body(lambda right: right.replace(b'base="http://', b'base="'), WADL)),
    ("CAP-03", body(lambda right: right.replace(b"wadl.dev.java.net/2009", b"other"), WADL)),
    ("CAP-05", body(lambda right: right.replace(b'"@name"', b'"name"'), JSON)),
    ("CAP-05", body(lambda right: right.replace(b'[{"@name": "GET"}]', b'{"@name": "GET"}'), JSON)),
    ("CAP-06", status(200, on("OPTIONS", header="if-none-match"))),
    ("CAP-08", status(404, on(ends="/pixeldata"))),
    ("CAP-08", status(405, on(ends="/frames/1"))),
]
# What these judge was read before the fault began: they need a server of their own.
ELSEWHERE: Final = {"CAP-04", "CAP-07", "CAP-09"}


@pytest.mark.parametrize("id", ids_of(CHAPTER, but={"CAP-07"}))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault)

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER, but={"CAP-01", "CAP-07"}))
async def test_nothing_is_said_where_nothing_is_described(id: str) -> None:
    silent = RightServer(routes=[("OPTIONS", "/?", lambda *_: answer(404))])

    verdict = await judged(id, server=silent)

    assert verdict.outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} | ELSEWHERE == set(ids_of(CHAPTER))


@pytest.mark.parametrize(("id", "refused"), [("CAP-01", WADL), ("CAP-02", JSON)])
async def test_one_form_is_enough(id: str, refused: When) -> None:
    verdict = await judged(id, instead(answer(406), refused))

    assert verdict.outcome is Outcome.NA


async def test_a_search_without_parameters_is_found() -> None:
    shy = RightServer(search_parameters=["limit", "PatientID"])

    verdict = await judged("CAP-04", server=shy)

    assert verdict.outcome is Outcome.FAIL
    assert "StudyInstanceUID" in verdict.reason


async def test_parameters_by_tag_alone_are_enough() -> None:
    by_tag = [name for name in RightServer().search_parameters if name[0].isdigit()]

    verdict = await judged("CAP-04", server=RightServer(search_parameters=by_tag))

    assert (verdict.outcome, verdict.notes) == (
        Outcome.PASS,
        ("attributes are named by keyword or tag only",),
    )


async def test_a_preflight_answered_with_the_description_is_noted() -> None:
    description = answer(
        200,
        DESCRIPTION.encode(),
        "application/vnd.sun.wadl+xml",
        Access_Control_Allow_Origin="*",
    )

    verdict = await judged("CAP-07", instead(description, PREFLIGHT))

    assert verdict.outcome is Outcome.NOTE


async def test_an_answer_to_the_preflight_passes() -> None:
    let_in = answer(204, Access_Control_Allow_Origin="*")

    verdict = await judged("CAP-07", instead(let_in, PREFLIGHT))

    assert verdict.outcome is Outcome.PASS


async def test_a_server_without_cors_is_not_blamed() -> None:
    assert (await judged("CAP-07")).outcome is Outcome.NA


@pytest.mark.parametrize("missing", ["studies/{s}/metadata", "studies/{s}/series"])
async def test_a_missing_mandatory_resource_is_found(missing: str) -> None:
    some = {path: methods for path, methods in CAPABILITIES.items() if path != missing}

    verdict = await judged("CAP-09", server=RightServer(capabilities=some))

    assert verdict.outcome is Outcome.FAIL


async def test_a_proxy_may_lack_relational_searches() -> None:
    some = {path: methods for path, methods in CAPABILITIES.items() if path != "series"}

    verdict = await judged("CAP-09", server=RightServer(capabilities=some))

    assert verdict.outcome is Outcome.PASS
    assert "proxy" in verdict.notes[0]
