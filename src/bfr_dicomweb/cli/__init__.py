"""The command line.

What a command needs beyond its settings it imports when it runs: the whole server takes
seconds to import, and `--help` should not.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bfr_dicomweb.cli import dimse, hl7, indexing
from bfr_dicomweb.cli.frame import (
    Config,
    Data,
    DatabaseURL,
    Dimse,
    ExchangeFile,
    Http,
    Mllp,
    Only,
    PeersFile,
    PublicURL,
    Workers,
    err,
    load,
    out,
    progress,
    read_settings,
    run,
)
from bfr_dicomweb.errors import ArchiveError, Unavailable

if TYPE_CHECKING:
    from bfr_dicomweb.services.importing import Source, Summary
    from bfr_dicomweb.services.rebuilding import Rebuilt
    from bfr_dicomweb.services.verification import Verification
    from bfr_dicomweb.settings import Settings

REASONS_SHOWN: Final = 20

cli = typer.Typer(
    help="A DICOMweb server for a regional registry of medical images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.add_typer(hl7.commands)
cli.add_typer(dimse.commands)
cli.command()(indexing.index)


@cli.command()
def serve(
    data: Data = None,
    http: Http = None,
    mllp: Mllp = None,
    dimse: Dimse = None,
    workers: Workers = None,
    only: Only = None,
    exchange: ExchangeFile = None,
    peers: PeersFile = None,
    database_url: DatabaseURL = None,
    public_url: PublicURL = None,
    config: Config = None,
) -> None:
    """Serve the archive; an empty one is made where there is none."""
    chosen = load(
        config,
        data=data,
        http=http,
        mllp=mllp,
        dimse=dimse,
        workers=workers,
        only=only,
        exchange=exchange,
        peers=peers,
        database_url=database_url,
        public_url=public_url,
    )
    _require_usable(chosen)
    run(_prepare(chosen))
    _greet(chosen)
    _serve(chosen)


@cli.command()
def demo(
    data: Data = None,
    http: Http = None,
    mllp: Mllp = None,
    dimse: Dimse = None,
    workers: Workers = None,
    exchange: ExchangeFile = None,
    peers: PeersFile = None,
    database_url: DatabaseURL = None,
    public_url: PublicURL = None,
    config: Config = None,
) -> None:
    """Serve; an empty archive is given synthetic example studies first."""
    chosen = load(
        config,
        data=data,
        http=http,
        mllp=mllp,
        dimse=dimse,
        workers=workers,
        exchange=exchange,
        peers=peers,
        database_url=database_url,
        public_url=public_url,
    )
    _require_usable(chosen)
    study = run(_fill_with_examples(chosen))
    _greet(chosen)
    _suggest(chosen, study)
    _serve(chosen, anyone_here=True)


@cli.command(name="import")
def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Files, folders, DICOMDIR media or zip archives.", exists=True),
    ],
    data: Data = None,
    database_url: DatabaseURL = None,
    config: Config = None,
) -> None:
    """Store what PATHS hold. Safe to interrupt and to run again."""
    chosen = load(config, data=data, database_url=database_url)
    summary = run(_import(chosen, paths))
    _show_summary(summary)
    if summary.refused:
        raise typer.Exit(1)


@cli.command()
def check(data: Data = None, database_url: DatabaseURL = None, config: Config = None) -> None:
    """Read every stored object again and compare it with the catalogue."""
    chosen = load(config, data=data, database_url=database_url)
    found = run(_check(chosen))
    out.print(f"verified {found.verified}")
    for name, keys in (
        ("missing", found.missing),
        ("damaged", found.damaged),
        ("not in the catalogue", found.strays),
    ):
        if keys:
            out.print(f"{name} {len(keys)}")
            for key in keys[:REASONS_SHOWN]:
                out.print(f"  {key}", soft_wrap=True)
    if not found.is_clean:
        raise typer.Exit(1)
    out.print("clean")


@cli.command()
def rebuild(data: Data = None, database_url: DatabaseURL = None, config: Config = None) -> None:
    """Make the catalogue anew from the stored files. Stop the server first."""
    chosen = load(config, data=data, database_url=database_url)
    rebuilt = run(_rebuild(chosen))
    out.print(f"catalogued {rebuilt.added}")
    if rebuilt.messages is None:
        err.print(
            "the old catalogue cannot be read: the messages in it are not in the new one;"
            " it is kept beside it under the name catalogue.sqlite.replaced"
        )
    elif rebuilt.messages:
        out.print(f"messages taken over {rebuilt.messages}")
    if rebuilt.left_out:
        out.print(f"left out {len(rebuilt.left_out)}")
        for key, reason in islice(rebuilt.left_out.items(), REASONS_SHOWN):
            out.print(f"  {key}: {reason}", soft_wrap=True)
        raise typer.Exit(1)


@cli.command(name="settings")
def show_settings(
    data: Data = None,
    http: Http = None,
    mllp: Mllp = None,
    dimse: Dimse = None,
    workers: Workers = None,
    only: Only = None,
    exchange: ExchangeFile = None,
    peers: PeersFile = None,
    database_url: DatabaseURL = None,
    public_url: PublicURL = None,
    config: Config = None,
) -> None:
    """Print the effective settings, secrets masked."""
    chosen = read_settings(
        config,
        data=data,
        http=http,
        mllp=mllp,
        dimse=dimse,
        workers=workers,
        only=only,
        exchange=exchange,
        peers=peers,
        database_url=database_url,
        public_url=public_url,
    )
    from bfr_dicomweb.settings import PREFIX

    for name, value in chosen.shown().items():
        typer.echo(f"{PREFIX}{name.upper()}={value}")


def main() -> None:
    """Run the command line; expected failures are one line, never a traceback."""
    try:
        cli()
    except Exception as error:  # the border between what was expected and bugs
        from bfr_dicomweb.settings import SettingsError

        if not isinstance(error, ArchiveError | SettingsError):
            raise
        err.print(f"bfr-dicomweb: {error}", markup=False, soft_wrap=True)
        sys.exit(1)


def _require_usable(settings: "Settings") -> None:
    """Fail here, plainly, rather than after the greeting."""
    from bfr_dicomweb.app import require_usable_files

    require_usable_files(settings)
    _require_free_addresses(settings)


def _require_free_addresses(settings: "Settings") -> None:
    wanted = {"http": {"http": settings.http_address}, "dimse": settings.dimse_addresses}
    if settings.mllp_address is not None:
        wanted["mllp"] = {"mllp": settings.mllp_address}
    for part, addresses in wanted.items():
        if settings.only in (None, part):
            for name, address in addresses.items():
                _require_free(name, *address)


def _require_free(name: str, host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise Unavailable(f"{name}: cannot listen on {host}:{port}: {error.strerror}") from None


async def _prepare(settings: "Settings") -> None:
    """Fail here, plainly, rather than in a worker."""
    from bfr_dicomweb.app import open_archive

    archive = await open_archive(settings)
    await archive.close()


def _serve(settings: "Settings", *, anyone_here: bool = False) -> None:
    from bfr_dicomweb import app

    app.serve(settings, anyone_here=anyone_here)


async def _fill_with_examples(settings: "Settings") -> str | None:
    """The UID of an example study, when the archive holds only such."""
    from bfr_dicomweb import example_studies
    from bfr_dicomweb.app import open_archive
    from bfr_dicomweb.refs import Ref
    from bfr_dicomweb.services.store import Outcome

    archive = await open_archive(settings)
    try:
        if not await archive.is_empty():
            return None
        first: Ref | None = None
        with progress("making example studies", example_studies.OBJECTS) as step:
            for made in example_studies.example_objects():
                receiving = archive.store.receive()
                await receiving.write(made)
                result = await (await receiving.finish())
                if result.outcome is Outcome.REFUSED:
                    raise ArchiveError(f"an example study was refused: {result.error}")
                first = first or (result.ref if isinstance(result.ref, Ref) else None)
                step()
        return first.study_instance_uid if first else None
    finally:
        await archive.close()


async def _import(settings: "Settings", paths: Sequence[Path]) -> "Summary":
    from bfr_dicomweb.app import open_archive
    from bfr_dicomweb.services import importing

    archive = await open_archive(settings)
    try:
        with progress("importing", None) as step:
            found = importing.sources(paths)
            return await importing.import_files(archive.store, _in_thread(found), lambda _: step())
    finally:
        await archive.close()


async def _in_thread(found: "Iterator[Source]") -> "AsyncIterator[Source]":
    """The files as they are found, without blocking while folders are listed."""
    while page := await asyncio.to_thread(lambda: list(islice(found, 100))):
        for source in page:
            yield source


async def _check(settings: "Settings") -> "Verification":
    from bfr_dicomweb.app import open_archive
    from bfr_dicomweb.services import verification

    archive = await open_archive(settings)
    try:
        with progress("checking", await archive.count_instances()) as step:
            return await verification.verify(archive, step)
    finally:
        await archive.close()


async def _rebuild(settings: "Settings") -> "Rebuilt":
    """Into an empty catalogue only: the old one counts until the new one is complete."""
    from bfr_dicomweb.app import indexed_attributes
    from bfr_dicomweb.blobs.filesystem import FileBlobStore
    from bfr_dicomweb.services import rebuilding

    blobs = FileBlobStore(settings.data)
    indexed = indexed_attributes(settings).attributes
    if settings.database_url is not None:
        with progress("cataloguing", None) as step:
            return await rebuilding.rebuild(settings.index_url, blobs, step, indexed=indexed)
    with (
        rebuilding.replaced(settings.catalogue_file) as new,
        progress("cataloguing", None) as step,
    ):
        old = settings.catalogue_file
        url = f"sqlite:///{new}"
        rebuilt = await rebuilding.rebuild(url, blobs, step, old=old, indexed=indexed)
        rebuilt.messages = await asyncio.to_thread(rebuilding.carry_over, old, new)
        return rebuilt


def _show_summary(summary: "Summary") -> None:
    out.print(f"files     {summary.files}")
    out.print(f"stored    {summary.stored}")
    out.print(f"duplicate {summary.duplicates}")
    out.print(f"refused   {summary.refused.total()}")
    for reason, count in summary.refused.most_common(REASONS_SHOWN):
        out.print(f"  {count} x {reason}", soft_wrap=True, markup=False)
        out.print(f"      e.g. {summary.examples[reason]}", soft_wrap=True, markup=False)


def _greet(settings: "Settings") -> None:
    origin = settings.public_url or f"http://{settings.http}"
    doors = {"http": f"DICOMweb at {_base(settings)}, FHIR at {origin}/fhir"}
    if settings.mllp_address is not None:
        doors["mllp"] = f"HL7 v2 (MLLP) at {settings.mllp}"
    if settings.dimse_addresses:
        at = " and ".join(f"{host}:{port}" for host, port in settings.dimse_addresses.values())
        doors["dimse"] = f"DIMSE ({settings.dimse_ae_title}) at {at}"
    if settings.only is None:
        opened = ", ".join(doors.values())
    else:
        opened = doors.get(settings.only, "the dispatcher alone")
    err.print(f"{opened}  (data in {settings.data}; stop with Ctrl-C)", soft_wrap=True)


def _suggest(settings: "Settings", study: str | None) -> None:
    base = _base(settings)
    json = "-H 'Accept: application/dicom+json'"
    lines = [f"  curl {json} '{base}/studies?limit=5'"]
    if study is not None:
        lines.append(f"  curl {json} '{base}/studies/{study}/series'")
    lines += [
        "Point OHIF at it: set qidoRoot, wadoRoot and wadoUriRoot of a dicomweb data source to",
        f"  {base}",
        "  (examples/ohif/app-config.js is such a configuration; pages on this machine may read)",
    ]
    err.print("Try:\n" + "\n".join(lines), soft_wrap=True, markup=False)


def _base(settings: "Settings") -> str:
    return (settings.public_url or f"http://{settings.http}") + "/dicomweb"
