"""For operators: is a peer there, what has it, fetch from it, send to it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from bfr_dicomweb.cli.frame import (
    Config,
    Data,
    DatabaseURL,
    PeersFile,
    err,
    load,
    out,
    progress,
    run,
)
from bfr_dicomweb.errors import InvalidRequest, Undelivered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydicom.dataset import Dataset

    from bfr_dicomweb.dimse.calling import Caller, Object, Suboperations
    from bfr_dicomweb.dimse.peers import Peer
    from bfr_dicomweb.services.archive import Archive
    from bfr_dicomweb.services.sending import Progress
    from bfr_dicomweb.settings import Settings

LOOK_EVERY_S: Final = 0.2
# Failed attempts after which nobody has to wait any more at a terminal.
PATIENCE: Final = 3
REASONS_SHOWN: Final = 20
# What is asked for where no keys are given.
COLUMNS: Final = {
    "STUDY": ("StudyDate", "ModalitiesInStudy", "StudyDescription", "StudyInstanceUID"),
    "SERIES": ("Modality", "SeriesNumber", "SeriesDescription", "SeriesInstanceUID"),
    "IMAGE": ("InstanceNumber", "SOPClassUID", "SOPInstanceUID"),
}


class Level(StrEnum):
    STUDY = "study"
    SERIES = "series"
    IMAGE = "image"


class Urgency(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


PeerName = Annotated[
    str, typer.Argument(metavar="PEER", help="AE title of a configured peer, or AET@HOST:PORT.")
]
AETitle = Annotated[
    str | None, typer.Option("--aet", help="AE title to call with.  [BFR_DIMSE_AE_TITLE]")
]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "-k", "--key", help="KEYWORD=VALUE to match, or KEYWORD alone to be told; may be repeated."
    ),
]

commands = typer.Typer(
    name="dimse", help="Other application entities, for operators.", no_args_is_help=True
)


@commands.command()
def echo(
    peer: PeerName, aet: AETitle = None, peers: PeersFile = None, config: Config = None
) -> None:
    """Ask whether PEER is there and lets us associate (C-ECHO)."""
    caller, called, _ = _ends(peer, aet, config, peers=peers)
    seconds = caller.echo(called)
    out.print(f"{called.ae_title} answers in {seconds * 1000:.0f} ms", markup=False)


@commands.command()
def find(
    peer: PeerName,
    key: Keys = None,
    level: Annotated[
        Level | None, typer.Option(help="By default the lowest that a UID is given of.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="DICOM JSON, one match a line.")] = False,
    aet: AETitle = None,
    peers: PeersFile = None,
    config: Config = None,
) -> None:
    """Ask PEER what it has (C-FIND, Study Root).

    bfr-dicomweb dimse find PACS -k PatientID=191212121212 -k StudyDate=20240101-
    """
    from bfr_dicomweb.dimse import calling

    caller, called, _ = _ends(peer, aet, config, peers=peers)
    keys = _keys(key or [])
    identifier = calling.identifier_of(keys, level)
    for keyword in COLUMNS.get(identifier.QueryRetrieveLevel, ()):
        if keyword not in identifier:
            setattr(identifier, keyword, "")
    columns = list(dict.fromkeys([*keys, *COLUMNS.get(identifier.QueryRetrieveLevel, ())]))
    matches = caller.find(called, identifier)
    if json:
        for match in matches:
            typer.echo(orjson.dumps(match.to_json_dict()))
        return
    _show_table(columns, matches)


@commands.command()
def move(
    peer: PeerName,
    to: Annotated[str, typer.Option("--to", help="AE title of the destination, known to PEER.")],
    key: Keys = None,
    aet: AETitle = None,
    peers: PeersFile = None,
    config: Config = None,
) -> None:
    """Have PEER send studies, series or instances to another (C-MOVE). Name them by -k UID.

    bfr-dicomweb dimse move PACS --to BFR -k StudyInstanceUID=1.2.3
    """
    from bfr_dicomweb.dimse import calling

    caller, called, _ = _ends(peer, aet, config, peers=peers)
    _follow(caller.move(called, calling.identifier_of(_keys(key or [])), to), "moving")


@commands.command()
def get(
    peer: PeerName,
    folder: Annotated[Path, typer.Option("--to", help="Folder for the files; made if missing.")],
    key: Keys = None,
    aet: AETitle = None,
    peers: PeersFile = None,
    config: Config = None,
) -> None:
    """Fetch studies, series or instances from PEER into files (C-GET). Name them by -k UID."""
    from bfr_dicomweb.dimse import calling

    caller, called, _ = _ends(peer, aet, config, peers=peers)
    folder.mkdir(parents=True, exist_ok=True)
    _follow(caller.get(called, calling.identifier_of(_keys(key or [])), folder), "fetching")


@commands.command()
def send(
    peer: PeerName,
    what: Annotated[
        list[str] | None,
        typer.Argument(help="Files and folders, or UIDs of studies of the archive."),
    ] = None,
    commit: Annotated[
        bool, typer.Option("--commit", help="Done only when PEER commits to keep them.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was not delivered before.")
    ] = False,
    priority: Annotated[Urgency, typer.Option(help="Of studies, among what waits for PEER.")] = (
        Urgency.MEDIUM
    ),
    journal: Annotated[
        Path | None,
        typer.Option(help="Where files are noted that PEER has; for --resume.", dir_okay=False),
    ] = None,
    aet: AETitle = None,
    data: Data = None,
    database_url: DatabaseURL = None,
    peers: PeersFile = None,
    config: Config = None,
) -> None:
    """Send to PEER (C-STORE).

    Studies of the archive become a job that outlives this command: a running server goes on with
    it. Files are sent from here; with --journal and --resume what PEER has already is left out.
    Exits with 1 unless everything was delivered.
    """
    named = what or []
    if not named and not resume:
        raise InvalidRequest("name files, folders or studies, or give --resume")
    paths = [Path(name) for name in named if Path(name).exists()]
    if paths and len(paths) < len(named):
        missing = next(name for name in named if not Path(name).exists())
        raise InvalidRequest(f"{missing}: there is no such file; send studies by themselves")
    caller, called, chosen = _ends(
        peer, aet, config, peers=peers, data=data, database_url=database_url
    )
    if paths:
        delivered = _send_files(caller, called, paths, commit, journal, resume)
    else:
        delivered = run(_send_studies(chosen, called, named, commit, resume, priority))
    if not delivered:
        raise typer.Exit(1)


def _ends(
    peer: str, aet: str | None, config: Path | None, **given: Any
) -> "tuple[Caller, Peer, Settings]":
    """Who calls, who is called, and the settings."""
    chosen = load(config, dimse_ae_title=aet, **given)
    from bfr_dicomweb import app
    from bfr_dicomweb.dimse.calling import Caller, peer_named

    called = peer_named(peer, lambda: app.known_peers(chosen)())
    return Caller(chosen.dimse_ae_title, app.dimse_credentials(chosen)), called, chosen


def _keys(given: Sequence[str]) -> dict[str, str]:
    return {keyword.strip(): value for keyword, _, value in (one.partition("=") for one in given)}


def _show_table(columns: Sequence[str], matches: "Iterator[Dataset]") -> None:
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    count = 0
    for match in matches:
        count += 1
        table.add_row(*(_text(match.get(keyword, "")) for keyword in columns))
    if out.is_terminal and count:
        out.print(table)
    elif count:
        # for programs: nothing is cut or wrapped
        for cells in zip(*(column.cells for column in table.columns), strict=True):
            typer.echo("\t".join(str(cell) for cell in cells))
    err.print(f"{count} found")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str | int | float) or not hasattr(value, "__iter__"):
        return str(value)
    return "/".join(map(str, value))


def _follow(told: "Iterator[Suboperations]", what: str) -> None:
    """Show how far a retrieval is; exits with 1 when something was not retrieved."""
    done = 0
    last = None
    with progress(what, None) as step:
        for last in told:
            now = last.completed + last.failed + last.warnings
            if now > done:
                step(now - done)
                done = now
    if last is None:
        raise Undelivered("the peer ended the association")
    out.print(f"completed {last.completed + last.warnings}, failed {last.failed}")
    if last.status or last.failed:
        err.print(f"bfr-dicomweb: ended with status {last.status or 0:04X}H")
        raise typer.Exit(1)


# --- files --------------------------------------------------------------------------------------


def _send_files(
    caller: "Caller",
    peer: "Peer",
    paths: Sequence[Path],
    commit: bool,
    journal: Path | None,
    resume: bool,
) -> bool:
    """Whether all files were delivered."""
    if resume and journal is None:
        raise InvalidRequest("--resume of files needs the --journal in which they were noted")
    objects, refused = _objects(paths)
    had = _noted(journal) if resume and journal is not None else set()
    wanted = [one for one in objects if one.reference.sop_instance_uid not in had]
    taken = _sent(caller, peer, wanted, journal, refused)
    out.print(f"sent {taken} of {len(wanted)}" + (f", left out {len(had)}" if had else ""))
    for reason, count in refused.items():
        err.print(f"{count} x {reason}", markup=False, soft_wrap=True)
    if commit and wanted and taken == len(wanted):
        committed, failed = caller.commit(peer, [one.reference for one in wanted])
        out.print(f"committed {committed}, refused {failed}")
        return not failed and not refused
    return taken == len(wanted) and not refused


def _objects(paths: Sequence[Path]) -> "tuple[list[Object], dict[str, int]]":
    """What can be sent, and how many files cannot, by the reason."""
    from bfr_dicomweb.dimse.calling import object_of
    from bfr_dicomweb.services import importing

    found = {}
    refused: dict[str, int] = {}
    for source in importing.sources(paths):
        try:
            if source.member is not None:
                raise InvalidRequest("it is in a zip archive: import it, or unpack it first")
            one = object_of(source.path)
            found[one.reference.sop_instance_uid] = one
        except InvalidRequest as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
    return list(found.values()), refused


def _noted(journal: Path) -> set[str]:
    return set(journal.read_text("ascii").split()) if journal.exists() else set()


def _sent(
    caller: "Caller",
    peer: "Peer",
    wanted: "Sequence[Object]",
    journal: Path | None,
    refused: dict[str, int],
) -> int:
    """How many were taken; notes them, and counts the others by the reason."""
    from bfr_dicomweb.dimse.calling import is_taken

    taken = 0
    noting = journal.open("a", encoding="ascii") if journal is not None else None
    try:
        with progress("sending", len(wanted)) as step:

            def told(one: "Object", status: int) -> None:
                nonlocal taken
                step()
                if not is_taken(status):
                    reason = f"refused with status {status:04X}H"
                    refused[reason] = refused.get(reason, 0) + 1
                    return
                taken += 1
                if noting is not None:
                    noting.write(f"{one.reference.sop_instance_uid}\n")
                    noting.flush()

            caller.send(peer, wanted, told)
    finally:
        if noting is not None:
            noting.close()
    return taken


# --- studies of the archive ---------------------------------------------------------------------


async def _send_studies(
    settings: "Settings",
    peer: "Peer",
    studies: Sequence[str],
    commit: bool,
    resume: bool,
    priority: Urgency,
) -> bool:
    """Whether all jobs were done; what is not stays, for a server or for --resume."""
    from bfr_dicomweb.app import open_archive
    from bfr_dicomweb.refs import Ref
    from bfr_dicomweb.services import sending

    archive = await open_archive(settings)
    try:
        jobs = []
        if resume:
            for job in await sending.unfinished(archive.index, peer.ae_title):
                await sending.resume(archive.index, job.number)
                jobs.append(job.number)
        if studies:
            jobs.append(
                await sending.submit(
                    archive,
                    peer.ae_title,
                    [Ref(uid) for uid in studies],
                    priority=sending.Priority[priority.name],
                    commits=commit,
                )
            )
        async with _delivering(settings, archive, peer):
            done = [await _watched(archive, number, peer) for number in jobs]
    finally:
        await archive.close()
    return all(done)


@asynccontextmanager
async def _delivering(
    settings: "Settings", archive: "Archive", peer: "Peer"
) -> "AsyncIterator[None]":
    """What a server would do for this peer; where one runs, only one of both does it."""
    from bfr_dicomweb import app
    from bfr_dicomweb.dimse.delivery import Deliveries
    from bfr_dicomweb.dimse.peers import Peers
    from bfr_dicomweb.services import errands
    from bfr_dicomweb.services.dispatching import Dispatcher

    deliveries = Deliveries(
        archive,
        peers=lambda: Peers([peer]),
        ae_title=settings.dimse_ae_title,
        credentials=app.dimse_credentials(settings),
    )
    dispatcher = Dispatcher(
        archive.index,
        channels={errands.KIND: deliveries.deliver},
        receivers=[errands.receiver_of(errands.Act.SEND, peer.ae_title)],
    )
    dispatcher.start()
    try:
        yield
    finally:
        await dispatcher.stop()
        await deliveries.close()


async def _watched(archive: "Archive", number: int, peer: "Peer") -> bool:
    """Show a job until it ends, or until nothing has gone for too long."""
    from bfr_dicomweb.services import sending

    so_far = await sending.progress(archive.index, number)
    shown = 0
    with progress(f"job {number}", so_far.instances) as step:
        while so_far.job.state is sending.JobState.OPEN:
            await asyncio.sleep(LOOK_EVERY_S)
            so_far = await sending.progress(archive.index, number)
            if so_far.delivered > shown:
                step(so_far.delivered - shown)
                shown = so_far.delivered
            if await sending.is_stuck(archive.index, peer.ae_title, attempts=PATIENCE):
                break
    _show_job(so_far, await sending.last_error(archive.index, peer.ae_title))
    return so_far.job.state is sending.JobState.DONE


def _show_job(so_far: "Progress", last_error: str) -> None:
    from bfr_dicomweb.services.sending import JobState

    counts = ", ".join(f"{state} {count}" for state, count in sorted(so_far.counts.items()))
    out.print(f"job {so_far.job.number} is {so_far.job.state}: {counts}")
    for reason, count in so_far.reasons.items():
        err.print(f"{count} x {reason}", markup=False, soft_wrap=True)
    if so_far.job.state is JobState.OPEN:
        err.print(f"bfr-dicomweb: {last_error}", markup=False, soft_wrap=True)
        err.print("it stays: a running server goes on with it, or --resume")
