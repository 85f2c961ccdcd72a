"""Our own server, judged by the suite over real sockets: what is published of it is true."""

import asyncio

import pytest

import judged_ours
from dicomweb_conformance.cases import all_cases
from dicomweb_conformance.reports import record
from dicomweb_conformance.running import Run
from dicomweb_conformance.verdicts import Outcome


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with judged_ours.serving(tmp_path_factory.mktemp("judged")) as archive:
        return asyncio.run(archive.judged(all_cases()))


@pytest.fixture(scope="module")
def published() -> dict[str, object]:
    return judged_ours.published()


def test_the_verdicts_are_those_that_are_published(run: Run, published: dict[str, object]) -> None:
    now, then = judged_ours.verdicts(record.record(run)), judged_ours.verdicts(published)

    changed = {
        each.case.id: f"{then.get(each.case.id)} -> {each.outcome}: {each.reason}"
        for each in run.verdicts
        if then.get(each.case.id) != each.outcome
    }
    assert changed == {}, "where this is right: nox -s results"
    assert then.keys() - now.keys() == set()


def test_nothing_stood_in_the_way_and_no_study_is_left_behind(run: Run) -> None:
    assert run.counts()[Outcome.ERROR] == 0
    assert run.unavailable == {}
    assert [path for path in run.remaining if path.startswith("/studies/")] == []


def test_the_conformance_statement_argues_each_exception(published: dict[str, object]) -> None:
    statement = judged_ours.STATEMENT.read_text()

    assert [
        id
        for id, outcome in judged_ours.verdicts(published).items()
        if outcome in judged_ours.EXCEPTIONS and not judged_ours.argued(id, statement)
    ] == []


def test_the_published_totals_are_those_of_the_published_record(
    published: dict[str, object],
) -> None:
    page = (judged_ours.RESULTS / "README.md").read_text()

    assert judged_ours.totals(published) in page
