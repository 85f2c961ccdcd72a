"""Our own server, judged by the conformance suite: in the tests, and for the published report.

    nox -s results        # judges it and writes conformance/results/bfr_dicomweb anew

What is published is compared by verdict alone: UIDs, ports and times are others in each run.
"""

import asyncio
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import httpx2

import live
from dicomweb_conformance import running
from dicomweb_conformance.cases import CHAPTERS, Case, all_cases
from dicomweb_conformance.reports import files, record
from dicomweb_conformance.running import Run
from dicomweb_conformance.target import Target, open_client
from dicomweb_conformance.verdicts import Outcome
from hl7_said import m1

CONFORMANCE: Final = Path(__file__).parents[1] / "conformance"
STATEMENT: Final = CONFORMANCE / "STATEMENT.md"
RESULTS: Final = CONFORMANCE / "results" / "bfr_dicomweb"
RUN_ID: Final = "published"  # the same UIDs in each published report
# The suite associates by this AE title.
PEERS: Final = """\
[[peers]]
ae_title = "CONFORMANCE"
may = ["store", "query", "retrieve", "commit", "worklist", "perform", "workitem"]
"""
# What is not as the Standard would have it; each has its reason in the conformance statement.
EXCEPTIONS: Final = frozenset({Outcome.FAIL, Outcome.WARN})


@dataclass(frozen=True, slots=True)
class Archive:
    """Our server under the settings that the published README tells."""

    url: str
    dimse: str

    async def judged(self, cases: Sequence[Case]) -> Run:
        async with open_client() as client:
            target = Target(client, self.url, wado_uri=f"{self.url}/wado", dimse=self.dimse)
            return await running.run(target, cases, run_id=RUN_ID)


@contextmanager
def serving(folder: Path) -> Iterator[Archive]:
    """With one order, so that a procedure step is scheduled."""
    peers = folder / "peers.toml"
    peers.write_text(PEERS)
    address = f"127.0.0.1:{live.free_port()}"
    settings = {"allow_deletion": "true", "dimse": address, "peers": str(peers)}
    with live.running(folder, settings) as server:
        answer = httpx2.post(
            f"{server.origin}/hl7v2", content=m1(), headers={"Content-Type": "application/hl7-v2"}
        )
        answer.raise_for_status()
        yield Archive(server.url, f"{address}/BFR")


def published() -> dict[str, object]:
    return record.read(RESULTS / "report.json")


def verdicts(recorded: Mapping[str, object]) -> dict[str, str]:
    return {case["id"]: case["outcome"] for case in _cases(recorded)}


def argued(id: str, statement: str) -> str:
    """The item of the conformance statement that names the case; empty where none does."""
    items = re.split(r"\n(?:\d+\. |\n)", statement)
    return next((" ".join(item.split()) for item in items if id in item), "")


def readme(recorded: Mapping[str, object], statement: str) -> str:
    cases = _cases(recorded)
    return _README.format(
        version=recorded["suite_version"],
        started=str(recorded["started"])[:10],
        server=metadata.version("bfr-dicomweb"),
        run_id=recorded["run_id"],
        totals=totals(recorded),
        exceptions=_exceptions(cases, statement),
        untried="\n".join(_untried(cases)),
    )


def totals(recorded: Mapping[str, object]) -> str:
    """A table of Markdown: how often each chapter came to each verdict."""
    cases = _cases(recorded)
    chapters = list(dict.fromkeys(case["chapter"] for case in cases))
    shown = [each for each in Outcome if any(case["outcome"] == each for case in cases)]
    rows = [
        _row(["", *shown]),
        _row(["---", *["--:"] * len(shown)]),
        *(_row([f"{one} {CHAPTERS[one]}", *_numbers(cases, shown, one)]) for one in chapters),
        _row(["all", *_numbers(cases, shown)]),
    ]
    return "\n".join(rows)


def _cases(recorded: Mapping[str, object]) -> list[dict[str, str]]:
    cases = recorded["cases"]
    return cases if isinstance(cases, list) else []


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _numbers(
    cases: Sequence[Mapping[str, str]], shown: Sequence[Outcome], chapter: str = ""
) -> list[str]:
    counts = Counter(case["outcome"] for case in cases if chapter in ("", case["chapter"]))
    return [str(counts[outcome] or "") for outcome in shown]


def _exceptions(cases: Sequence[Mapping[str, str]], statement: str) -> str:
    found = [case for case in cases if case["outcome"] in EXCEPTIONS]
    if not found:
        return "None: no requirement is broken, and every recommendation is followed."
    return "\n".join(
        f"- **{case['outcome']} {case['id']}** ({case['section']}): {case['requirement']}\n  Seen:"
        f" {case['reason']}.\n"
        f"  The [conformance statement](../../STATEMENT.md#4-deviations-and-choices) says why:"
        f" {argued(case['id'], statement)}"
        for case in found
    )


def _untried(cases: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for case in cases:
        if case["outcome"] in (Outcome.SKIP, Outcome.NA):
            yield f"- {case['outcome']} {case['id']} {case['slug']}: {case['reason']}"


_README: Final = """\
# bfr_dicomweb, judged by the conformance suite

bfr_dicomweb {server}, version {version} of the suite, {started}. [report.html](report.html) is the
page to read; [report.json](report.json) is the record and [junit.xml](junit.xml) the same for
machines. This page and the reports are written by `nox -s results`. The tests judge the server in
the same way and fail where a verdict is not the published one.

## What was found

{totals}

What the verdicts mean, and the rules of fairness, stand in the
[README of the suite](../../README.md#verdicts).

## Exceptions

{exceptions}

## What was not tried, or is not offered

{untried}

## How it was judged

A new archive on SQLite, with these settings and otherwise the default ones:

```sh
export BFR_ALLOW_DELETION=true BFR_PEERS=peers.toml
bfr-dicomweb serve --http 127.0.0.1:8080 --dimse 127.0.0.1:11112
```

[peers.toml](peers.toml) lets the suite associate. One order for two
examinations is told by HL7 v2, so that procedure steps are scheduled. Then:

```sh
dicomweb-conformance run --base-url http://127.0.0.1:8080/dicomweb \\
  --wado-uri http://127.0.0.1:8080/dicomweb/wado --dimse 127.0.0.1:11112/BFR \\
  --run-id {run_id} --report report
```
"""


def publish() -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as archive:
        run = asyncio.run(archive.judged(all_cases()))
    faults = [f"{each.case.id}: {each.reason}" for each in run.verdicts if each.outcome == "ERROR"]
    if faults or run.unavailable:
        sys.exit("\n".join(["not published, for the suite has faults:", *faults]))
    files.write(run, RESULTS)
    (RESULTS / "peers.toml").write_text(PEERS)
    (RESULTS / "README.md").write_text(readme(published(), STATEMENT.read_text()))
    print(", ".join(f"{number} {outcome}" for outcome, number in run.counts().items()))


if __name__ == "__main__":
    publish()
