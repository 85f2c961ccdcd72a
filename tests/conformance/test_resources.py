"""A resource that is not there at all is blamed once, however many cases would ask it."""

from typing import Final

import httpx2
import pytest

import right_search
from dicomweb_conformance import running
from dicomweb_conformance.cases import select
from dicomweb_conformance.running import Run
from dicomweb_conformance.target import Target, open_client
from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, Peer, on, status
from right_server import BASE, RightServer

BLAME: Final = {Outcome.FAIL, Outcome.WARN, Outcome.ERROR}


async def run(*chapters: str, fault: Fault | None = None) -> Run:
    peer = Peer(RightServer(routes=list(right_search.ROUTES)), fault)
    async with open_client(transport=httpx2.MockTransport(peer)) as client:
        return await running.run(Target(client, BASE), select(chapters), run_id="test")


def blamed(done: Run) -> set[str]:
    return {each.case.id for each in done.verdicts if each.outcome in BLAME}


@pytest.mark.parametrize(
    ("chapters", "absent", "judged_by"),
    [
        (("MET", "COM", "ENC"), status(404, on(ends="/metadata")), "MET-01"),
        (("MET",), status(501, on(ends="/metadata")), "MET-01"),
        (("BLK",), status(404, on(has="/frames/")), "BLK-01"),
        (("QID",), status(405, on(ends="dicomweb/series")), "QID-01"),
        (("QID",), status(404, on(ends="dicomweb/instances")), "QID-01"),
    ],
)
async def test_one_case_says_that_it_is_not_there(
    chapters: tuple[str, ...], absent: Fault, judged_by: str
) -> None:
    done = await run(*chapters, fault=absent)

    assert blamed(done) - blamed(await run(*chapters)) == {judged_by}


async def test_the_others_say_which_case_that_is() -> None:
    done = await run("MET", fault=status(404, on(ends="/metadata")))

    skipped = [each.reason for each in done.verdicts if each.outcome is Outcome.SKIP]
    assert skipped
    assert all(reason.endswith("is not there, which MET-01 judges") for reason in skipped)


async def test_objects_are_found_by_themselves_where_there_are_no_metadata() -> None:
    done = await run("INS", fault=status(404, on(ends="/metadata")))

    assert done.unavailable == {}
    assert blamed(done) == set()


async def test_a_resource_that_is_answered_wrongly_is_judged_by_its_cases() -> None:
    done = await run("MET", fault=status(500, on(ends="/metadata")))

    assert {"MET-01", "MET-02"} < blamed(done)
