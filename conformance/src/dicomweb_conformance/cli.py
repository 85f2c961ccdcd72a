"""The command `dicomweb-conformance`."""

import asyncio
import base64
import binascii
import logging
import re
import ssl
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit
from uuid import uuid4

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from dicomweb_conformance import __version__, requirements, running
from dicomweb_conformance.cases import CHAPTERS, Case, UnknownSelection, all_cases, find, select
from dicomweb_conformance.reports import comparison, files, record
from dicomweb_conformance.running import Run, Verdict
from dicomweb_conformance.target import TIMEOUT_S, Target, Unreachable, open_client
from dicomweb_conformance.verdicts import Level, Outcome

BROKEN: Final = 1  # exit status: a shall is broken
FAULTY: Final = 2  # exit status: the suite could not do its work
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]+")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)
_COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.WARN: "yellow",
    Outcome.NOTE: "blue",
    Outcome.ERROR: "bold magenta",
    Outcome.SKIP: "dim",
    Outcome.NA: "dim",
}
_AUTH_HELP = (
    "bearer:TOKEN, basic:USER:PASSWORD or header:NAME:VALUE; @FILE reads it from a file. Better"
    " given by the environment, where other users cannot see it."
)


class Unusable(Exception):
    """What was asked for on the command line cannot be done."""


def _show_version(wanted: bool) -> None:
    if wanted:
        _out.print(__version__)
        raise typer.Exit


@app.callback()
def about(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Judges any DICOMweb server, requirement by requirement of DICOM PS3.18."""


@app.command("run")
def run_command(
    base_url: Annotated[
        str, typer.Option(help="Base URL of the DICOMweb services.", show_default=False)
    ],
    selection: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION or ID]...", help="COM, 8.7, COM-01; by default all."),
    ] = None,
    auth: Annotated[
        str, typer.Option(help=_AUTH_HELP, envvar="DICOMWEB_CONFORMANCE_AUTH", show_default=False)
    ] = "",
    dimse: Annotated[
        str | None, typer.Option(metavar="HOST:PORT/AET", help="Judge the DIMSE services too.")
    ] = None,
    wado_uri: Annotated[
        str | None, typer.Option(metavar="URL", help="Judge the URI service too.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option(help="Change nothing; ask about studies that are there already.")
    ] = False,
    level: Annotated[Level, typer.Option(help="Leave out what is weaker.")] = Level.MAY,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write JSON, JUnit XML and HTML there.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates (PEM) to trust.")
    ] = None,
    insecure: Annotated[bool, typer.Option(help="Trust any certificate.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a response.")] = TIMEOUT_S,
    run_id: Annotated[
        str, typer.Option(help="The same id gives the same UIDs; by default a new one.")
    ] = "",
) -> None:
    """Judge a server.

    Stores synthetic studies, asks about them, and deletes them again. Exit status: 0, or 1 where
    a requirement ("shall") is broken, or 2 where the suite could not do its work.
    """
    with_id = run_id or uuid4().hex[:12]
    try:
        chosen = select(selection or [], level=level)
        tls = _tls(ca, insecure)
        target = Target(
            open_client(verify=tls or True, timeout_s=timeout),
            _checked_url(base_url),
            credentials=_auth_headers(auth),
            tls=tls,
            wado_uri=wado_uri and _checked_url(wado_uri),
            dimse=dimse,
            read_only=read_only,
        )
        done = asyncio.run(_run(target, chosen, with_id))
        _print_summary(done)
        if report is not None:
            for path in files.write(done, report):
                _out.print(f"wrote {path}", markup=False)
        if done.lost:
            _fail(done.lost)
    except (UnknownSelection, Unusable, Unreachable, OSError) as error:
        _fail(str(error))
    counts = done.counts()
    if counts[Outcome.ERROR]:
        raise typer.Exit(FAULTY)
    if counts[Outcome.FAIL]:
        raise typer.Exit(BROKEN)


def _fail(message: str) -> None:
    _err.print(f"dicomweb-conformance: {message}", markup=False)
    raise typer.Exit(FAULTY)


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unusable(f"{url} is no http or https URL")
    if parts.username or parts.password:
        raise Unusable("credentials belong into --auth, not into the URL")
    if parts.query or parts.fragment:
        raise Unusable("the base URL has a query or a fragment")
    return url.rstrip("/")


def _auth_headers(auth: str) -> dict[str, str]:
    kind, _, rest = _auth_text(auth).partition(":")
    name, colon, value = rest.partition(":")
    if not kind:
        return {}
    if kind == "bearer" and rest:
        name, value = "Authorization", f"Bearer {rest}"
    elif kind == "basic" and colon:
        name, value = "Authorization", "Basic " + base64.b64encode(rest.encode()).decode()
    elif kind != "header" or not colon:
        raise Unusable(
            "--auth is none of bearer:TOKEN, basic:USER:PASSWORD, header:NAME:VALUE, @FILE"
        )
    if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value.strip())):
        raise Unusable("--auth has characters that no header can carry")
    return {name: value.strip()}


def _auth_text(auth: str) -> str:
    if not auth.startswith("@"):
        return auth.strip()
    try:
        return Path(auth[1:]).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise Unusable(f"{auth[1:]} is no text") from None


def _tls(ca: Path | None, insecure: bool) -> ssl.SSLContext | None:
    """None: whom the machine trusts."""
    if not insecure and ca is None:
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
    except (ssl.SSLError, binascii.Error):
        raise Unusable(f"{ca} holds no certificates in PEM") from None
    # The authorities of hospitals are not judged: an issuing one alone will do, and so do
    # certificates that lack extensions which Python asks for since 3.13.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _run(target: Target, cases: list[Case], run_id: str) -> Run:
    async with target.client:
        if not _out.is_terminal:
            return await running.run(target, cases, run_id=run_id, progress=_print_line)
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=_out
        ) as bar:
            return await running.run(
                target, cases, run_id=run_id, progress=_on_bar(bar, len(cases))
            )


def _on_bar(bar: Progress, total: int) -> Callable[[Verdict | str], None]:
    task = bar.add_task("", total=total)

    def advance(event: Verdict | str) -> None:
        if isinstance(event, str):
            bar.update(task, description=event)
            return
        bar.update(task, advance=1, description=event.case.id)
        if event.outcome not in (Outcome.PASS, Outcome.NA):
            _print_line(event)

    return advance


def _print_line(event: Verdict | str) -> None:
    if isinstance(event, str):
        _out.print(event, style="dim", markup=False)
        return
    case = event.case
    said = f": {event.reason}" if event.reason else ""
    notes = "".join(f"\n      seen: {note}" for note in event.notes)
    _out.print(f"{event.outcome:<5}", style=_COLOURS[event.outcome], end=" ")
    _out.print(f"{case.id} {case.slug} ({case.section}){said}{notes}", markup=False)


def _print_summary(run: Run) -> None:
    table = Table(title=f"{run.base_url}, {run.seconds:.0f} s", title_justify="left")
    table.add_column("chapter")
    shown = [each for each in Outcome if run.counts()[each]]
    for outcome in shown:
        table.add_column(outcome.value, justify="right", style=_COLOURS[outcome])
    for chapter in run.chapters:
        counts = run.counts(chapter)
        numbers = (str(counts[outcome] or "") for outcome in shown)
        table.add_row(f"{chapter} {CHAPTERS[chapter]}", *numbers)
    table.add_section()
    table.add_row("all", *(str(run.counts()[outcome]) for outcome in shown))
    _out.print(table)
    for fixture, reason in run.unavailable.items():
        _out.print(f"fixture {fixture} {reason}", markup=False)
    if run.remaining:
        kept = "the report names them" if len(run.remaining) > 3 else ", ".join(run.remaining)
        _out.print(
            f"{len(run.remaining)} of the suite's own objects could not be deleted: {kept}",
            markup=False,
        )


@app.command("list")
def list_command(
    selection: Annotated[list[str] | None, typer.Argument(metavar="[SECTION or ID]...")] = None,
    level: Annotated[Level, typer.Option(help="Leave out what is weaker.")] = Level.MAY,
) -> None:
    """Show the cases in the order in which they run."""
    try:
        for case in select(selection or [], level=level):
            _out.print(f"{case.id}  {case.level:<6}  {case.section:<18}  {case.slug}", markup=False)
    except UnknownSelection as error:
        _fail(str(error))


@app.command("show")
def show_command(id: Annotated[str, typer.Argument(help="COM-01, or its name.")]) -> None:
    """Show what a case asks, what it expects, and what the Standard says."""
    try:
        case = find(id)
    except UnknownSelection as error:
        _fail(str(error))
    _out.print(f"{case.id} {case.slug}", style="bold", markup=False)
    lines = {
        "chapter": f"{case.chapter} {CHAPTERS[case.chapter]}",
        "section": case.section if case.section.startswith("PS3") else f"PS3.18 {case.section}",
        "level": case.level.value,
        "requirement": case.requirement,
        "request": case.request,
        "expected": case.expected,
        "needs": ", ".join(
            [f"{each.name} ({each.value})" for each in case.fixtures]
            + [each.words for each in case.features]
        ),
    }
    for name, text in lines.items():
        if text:
            _out.print(f"{name + ':':<13}{text}", markup=False)


@app.command("compare")
def compare_command(
    before: Annotated[Path, typer.Argument(metavar="A.json")],
    after: Annotated[Path, typer.Argument(metavar="B.json")],
) -> None:
    """Show two runs side by side: the cases whose verdicts differ."""
    try:
        first, second = record.read(before), record.read(after)
    except record.NotARecord as error:
        _fail(str(error))
    table = Table()
    for heading in ("case", str(first["base_url"]), str(second["base_url"]), "reason"):
        table.add_column(heading, overflow="fold")
    found = comparison.differences(first, second)
    for each in found:
        table.add_row(f"{each.id} {each.slug}", each.before, each.after, each.reason)
    _out.print(table if found else "no verdict differs")


@app.command("coverage")
def coverage_command() -> None:
    """Show which requirement is tested by which case, and what is not tested, and why."""
    rows = requirements.catalogue()
    for row in rows:
        tested = ", ".join(row.cases) or f"not tested: {row.not_tested_because}"
        _out.print(f"{row.section:<16} {row.level:<6} {row.text}\n    {tested}", markup=False)
    gaps = requirements.gaps(rows, all_cases())
    for gap in gaps:
        _err.print(gap, markup=False)
    raise typer.Exit(FAULTY if gaps else 0)


def main() -> None:
    # they tell of an odd value by printing it, and it may be of a patient
    warnings.simplefilter("ignore")
    for library in ("pydicom", "pynetdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
