"""The reports say what the run found, need nothing else, and betray nobody."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import httpx2
import jsonschema
import pytest

from dicomweb_conformance import running
from dicomweb_conformance.cases import select
from dicomweb_conformance.reports import comparison, files, junit, page, record
from dicomweb_conformance.running import Run
from dicomweb_conformance.target import Target, open_client
from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, Peer, on, status
from right_server import BASE, RightServer

CHAPTERS_RUN: Final = ("COM-01", "COM-04", "COM-28", "COM-31", "MET-01", "BLK-06")
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
TEXT: Final = {"type": "string"}
SCHEMA: Final = {
    "type": "object",
    "required": ["schema", "suite_version", "base_url", "run_id", "started", "cases"],
    "properties": {
        "schema": {"const": "dicomweb-conformance/1"},
        "cases": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "section", "level", "requirement", "outcome", "exchanges"],
                "properties": {
                    "outcome": {"enum": [each.value for each in Outcome]},
                    "level": {"enum": ["shall", "should", "may"]},
                    "exchanges": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"request": TEXT, "status": {"type": "integer"}},
                        },
                    },
                },
            },
        },
    },
}


async def run_of(fault: Fault | None = None, **fields: object) -> Run:
    """A run of some cases; the fault is there from the beginning."""
    peer = Peer(RightServer(), fault)
    async with open_client(transport=httpx2.MockTransport(peer)) as client:
        target = Target(client, BASE, **fields)  # type: ignore[arg-type]
        return await running.run(target, select(CHAPTERS_RUN), run_id="test")


@pytest.fixture
async def broken() -> Run:
    """COM-01 broken, COM-28 skipped, BLK-06 noted, the others passed."""
    return await run_of(status(200, on(without="accept")))


def outcomes(run: Run) -> dict[str, Outcome]:
    return {each.case.id: each.outcome for each in run.verdicts}


async def test_a_run_judges_each_case_and_takes_everything_away_again() -> None:
    server = RightServer()
    async with open_client(transport=httpx2.MockTransport(Peer(server))) as client:
        done = await running.run(Target(client, BASE), select(CHAPTERS_RUN), run_id="test")

    assert list(outcomes(done)) == sorted(CHAPTERS_RUN, key=list(outcomes(done)).index)
    assert done.counts()[Outcome.PASS] == 4
    assert done.remaining == []
    assert server.files == {}


async def test_what_cannot_be_deleted_is_named() -> None:
    done = await run_of(status(405, on("DELETE")))

    assert done.remaining
    assert all(path.startswith("/studies/2.25.") for path in done.remaining)


async def test_what_cannot_be_stored_is_skipped_with_its_reason() -> None:
    done = await run_of(status(503, on("POST")))

    assert outcomes(done)["COM-01"] is Outcome.SKIP
    assert "503" in done.unavailable["F1"]


def test_the_record_is_of_its_schema(broken: Run) -> None:
    jsonschema.validate(json.loads(record.as_json(broken)), SCHEMA)


def test_junit_counts_what_is_broken_and_skipped(broken: Run) -> None:
    suites = ElementTree.fromstring(junit.as_xml(broken))

    common = next(each for each in suites if each.get("name", "").startswith("COM"))
    assert (common.get("failures"), common.get("skipped"), common.get("tests")) == ("1", "1", "4")
    assert "expected 406, got 200" in str(suites.find(".//failure").attrib)  # type: ignore[union-attr]


def test_the_page_says_what_was_asked_and_what_the_standard_says(broken: Run) -> None:
    text = page.as_html(broken)

    for said in ("COM-01", "expected 406, got 200", "without an Accept header", "PS3.18 8.7.5"):
        assert said in text


def test_the_page_needs_neither_script_nor_network(broken: Run) -> None:
    text = page.as_html(broken)

    assert "<script" not in text
    assert not re.search(r'(src|href)="?http|@import|url\(', text)


def test_what_a_server_says_cannot_become_markup() -> None:
    assert "<b>" not in page.as_html(Run("http://<b>", "1", False, NOW))


def test_all_three_are_written(broken: Run, tmp_path: Path) -> None:
    written = files.write(broken, tmp_path / "new" / "folder")

    assert [path.name for path in written] == ["report.json", "junit.xml", "report.html"]
    assert all(path.stat().st_size > 100 for path in written)


async def test_a_comparison_names_the_verdicts_that_changed(broken: Run) -> None:
    before, after = record.record(await run_of()), record.record(broken)

    (found,) = comparison.differences(before, after)

    assert (found.id, found.before, found.after, found.is_worse) == ("COM-01", "PASS", "FAIL", True)


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"schema": "another/1"}'])
def test_another_file_is_no_record(content: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)

    with pytest.raises(record.NotARecord):
        record.read(path)


async def test_credentials_are_in_no_report() -> None:
    done = await run_of(credentials={"Authorization": "Bearer very-secret", "X-Key": "very-secret"})

    assert done.counts()[Outcome.PASS] >= 4
    assert "very-secret" not in record.as_json(done) + page.as_html(done) + junit.as_xml(done)
