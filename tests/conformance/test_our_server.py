"""Our own server, judged by the suite over a real socket: no requirement is broken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import live
from dicomweb_conformance import running
from dicomweb_conformance.cases import all_cases
from dicomweb_conformance.running import Run
from dicomweb_conformance.target import Target, open_client
from dicomweb_conformance.verdicts import Outcome

# Broken on purpose: the conformance statement says why.
ARGUED: Final = frozenset({"STW-37"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[live.Live]:
    settings = {"allow_deletion": "true"}
    with live.running(tmp_path_factory.mktemp("judged"), settings) as running_server:
        yield running_server


async def judged(server: live.Live) -> Run:
    async with open_client() as client:
        target = Target(client, server.url, wado_uri=f"{server.url}/wado")
        return await running.run(target, all_cases(), run_id="ours")


async def test_no_requirement_is_broken_and_no_study_is_left_behind(server: live.Live) -> None:
    run = await judged(server)

    bad = {
        each.case.id: each.reason
        for each in run.verdicts
        if each.outcome in (Outcome.FAIL, Outcome.ERROR) and each.case.id not in ARGUED
    }
    assert not bad, "\n".join(f"{id}: {reason}" for id, reason in bad.items())
    assert [path for path in run.remaining if path.startswith("/studies/")] == []
    assert run.unavailable == {}
    assert run.counts()[Outcome.PASS] > 100


def test_what_is_argued_is_a_case() -> None:
    assert ARGUED.issubset(case.id for case in all_cases())


def test_the_conformance_statement_argues_each_exception() -> None:
    statement = Path(__file__).parents[2] / "conformance" / "STATEMENT.md"

    assert [id for id in ARGUED if id not in statement.read_text()] == []
