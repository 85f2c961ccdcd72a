"""Judge a DICOMweb server, this one or another, by the conformance suite from a program.

    python examples/judge_a_server.py --url http://127.0.0.1:8080/dicomweb QID 8.7.5
    python examples/judge_a_server.py --before last-week/report.json --report today

Runs the cases of a chapter, a section or an id, by default all. Prints each requirement ("shall")
that is broken, with its section and what came back; then, with --before, what has changed since
that report. Writes the page and the record with --report. The suite stores synthetic studies and
deletes them again; with --read-only it changes nothing. Exits with 1 when a requirement is broken,
with 2 when nothing could be judged.

Needs the suite: pip install ./conformance
"""

import argparse
import asyncio
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

try:
    from dicomweb_conformance import running
    from dicomweb_conformance.cases import UnknownSelection, select
    from dicomweb_conformance.reports import comparison, files, record
    from dicomweb_conformance.running import Run, Verdict
    from dicomweb_conformance.target import Target, Unreachable, open_client
    from dicomweb_conformance.verdicts import Outcome
except ModuleNotFoundError as missing:
    print(f"{missing.name} is missing; in a checkout: pip install ./conformance", file=sys.stderr)
    sys.exit(2)


async def judge(options: argparse.Namespace) -> Run:
    name, _, value = options.header.partition(":")
    async with open_client() as client:
        target = Target(
            client,
            options.url.rstrip("/"),
            credentials={name: value.strip()} if value else {},
            read_only=options.read_only,
        )
        return await running.run(target, select(options.selection), run_id=uuid.uuid4().hex)


def tell(verdict: Verdict) -> None:
    case = verdict.case
    print(f"{case.id} {case.slug} (PS3.18 {case.section})")
    print(f"    the Standard: {case.requirement}")
    print(f"    came back:    {verdict.reason}")
    for exchange in verdict.exchanges[-1:]:
        print(f"    last request: {exchange.request} -> {exchange.status or 'no response'}")


def tell_changes(before: Mapping[str, object], run: Run) -> None:
    changes = comparison.differences(before, record.record(run))
    asked = {verdict.case.id for verdict in run.verdicts}
    for change in changes:
        if change.id in asked:
            print(f"{change.id} {change.slug}: {change.before} -> {change.after}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge a DICOMweb server.")
    parser.add_argument("--url", default="http://127.0.0.1:8080/dicomweb", help="DICOMweb base URL")
    parser.add_argument("--header", default="", help="of each request, e.g. 'Authorization: ...'")
    parser.add_argument("--read-only", action="store_true", help="ask about what is there")
    parser.add_argument("--before", type=Path, help="report.json of an earlier run")
    parser.add_argument("--report", type=Path, help="folder for the page and the record")
    parser.add_argument("selection", nargs="*", help="chapters, sections or ids of cases")
    options = parser.parse_args()

    try:
        before = record.read(options.before) if options.before else None
        run = asyncio.run(judge(options))
        if options.report:
            files.write(run, options.report)
    except (UnknownSelection, Unreachable, record.NotARecord, OSError) as error:
        print(f"not judged: {error}", file=sys.stderr)
        sys.exit(2)
    broken = [verdict for verdict in run.verdicts if verdict.outcome is Outcome.FAIL]
    for verdict in broken:
        tell(verdict)
    if before:
        tell_changes(before, run)
    counts = run.counts()
    print(", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome]))
    if broken:
        sys.exit(1)


if __name__ == "__main__":
    main()
