"""The command line.

What a command needs beyond its settings it imports when it runs: the whole server takes
seconds to import, and `--help` should not.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console

from bfr_dicomweb.errors import ArchiveError, Unavailable

if TYPE_CHECKING:
    from bfr_dicomweb.refs import Ref
    from bfr_dicomweb.services.importing import Source, Summary
    from bfr_dicomweb.services.rebuilding import Rebuilt
    from bfr_dicomweb.services.verification import Verification
    from bfr_dicomweb.settings import Settings

T = TypeVar("T")

# Plain progress lines, where no terminal shows a bar, come after so many objects.
LINE_EVERY: Final = 1000
REASONS_SHOWN: Final = 20

cli = typer.Typer(
    help="A DICOMweb server for a regional registry of medical images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of the stored objects.  [BFR_DATA, default bfr-data]"),
]
DatabaseURL = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="postgresql://... or sqlite:///PATH.  [BFR_DATABASE_URL, default: in the data folder]",
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings.  [BFR_CONFIG]")
]
Http = Annotated[
    str | None,
    typer.Option("--http", help="HOST:PORT of HTTP.  [BFR_HTTP, default 127.0.0.1:8080]"),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Processes that answer HTTP.  [BFR_WORKERS, default 1]"),
]
Only = Annotated[str | None, typer.Option("--only", help="Run this door alone: http.  [BFR_ONLY]")]
PublicURL = Annotated[
    str | None,
    typer.Option("--public-url", help="URL of this server as clients see it.  [BFR_PUBLIC_URL]"),
]


@cli.command()
def serve(
    data: Data = None,
    http: Http = None,
    workers: Workers = None,
    only: Only = None,
    database_url: DatabaseURL = None,
    public_url: PublicURL = None,
    config: Config = None,
) -> None:
    """Serve the archive; an empty one is made where there is none."""
    chosen = _load(
        config,
        data=data,
        http=http,
        workers=workers,
        only=only,
        database_url=database_url,
        public_url=public_url,
    )
    _require_free_address(chosen)
    _run(_prepare(chosen))
    _greet(chosen)
    _serve(chosen)


@cli.command()
def demo(
    data: Data = None,
    http: Http = None,
    workers: Workers = None,
    database_url: DatabaseURL = None,
    public_url: PublicURL = None,
    config: Config = None,
) -> None:
    """Serve; an empty archive is given synthetic example studies first."""
    chosen = _load(
        config,
        data=data,
        http=http,
        workers=workers,
        database_url=database_url,
        public_url=public_url,
    )
    _require_free_address(chosen)
    study = _run(_fill_with_examples(chosen))
    _greet(chosen)
    _suggest(chosen, study)
    _serve(chosen)


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
    chosen = _load(config, data=data, database_url=database_url)
    summary = _run(_import(chosen, paths))
    _show_summary(summary)
    if summary.refused:
        raise typer.Exit(1)


@cli.command()
def check(data: Data = None, database_url: DatabaseURL = None, config: Config = None) -> None:
    """Read every stored object again and compare it with the catalogue."""
    chosen = _load(config, data=data, database_url=database_url)
    found = _run(_check(chosen))
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
    chosen = _load(config, data=data, database_url=database_url)
    rebuilt = _run(_rebuild(chosen))
    out.print(f"catalogued {rebuilt.added}")
    if rebuilt.left_out:
        out.print(f"left out {len(rebuilt.left_out)}")
        for key, reason in islice(rebuilt.left_out.items(), REASONS_SHOWN):
            out.print(f"  {key}: {reason}", soft_wrap=True)
        raise typer.Exit(1)


@cli.command(name="settings")
def show_settings(
    data: Data = None,
    http: Http = None,
    workers: Workers = None,
    only: Only = None,
    database_url: DatabaseURL = None,
    public_url: PublicURL = None,
    config: Config = None,
) -> None:
    """Print the effective settings, secrets masked."""
    chosen = _read_settings(
        config,
        data=data,
        http=http,
        workers=workers,
        only=only,
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


def _read_settings(config: Path | None, **given: Any) -> "Settings":
    from bfr_dicomweb import settings

    if config is not None:
        os.environ[settings.CONFIG_VARIABLE] = str(config)
    return settings.load(**given)


def _load(config: Path | None, **given: Any) -> "Settings":
    chosen = _read_settings(config, **given)
    from bfr_dicomweb import logs

    logs.configure(chosen.log_level)
    return chosen


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _require_free_address(settings: "Settings") -> None:
    """Fail here, plainly, rather than after the greeting."""
    host, port = settings.http_address
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise Unavailable(f"http: cannot listen on {settings.http}: {error.strerror}") from None


async def _prepare(settings: "Settings") -> None:
    """Fail here, plainly, rather than in a worker."""
    from bfr_dicomweb.app import open_archive

    archive = await open_archive(settings)
    await archive.close()


def _serve(settings: "Settings") -> None:
    from bfr_dicomweb import app

    app.serve(settings)


async def _fill_with_examples(settings: "Settings") -> str | None:
    """The UID of an example study, when the archive holds only such."""
    from bfr_dicomweb import example_studies
    from bfr_dicomweb.app import open_archive
    from bfr_dicomweb.services.store import Outcome

    archive = await open_archive(settings)
    try:
        if not await archive.is_empty():
            return None
        first: Ref | None = None
        with _progress("making example studies", example_studies.OBJECTS) as step:
            for made in example_studies.example_objects():
                receiving = archive.store.receive()
                await receiving.write(made)
                result = await (await receiving.finish())
                if result.outcome is Outcome.REFUSED:
                    raise ArchiveError(f"an example study was refused: {result.error}")
                first = first or result.ref
                step()
        return first.study_instance_uid if first else None
    finally:
        await archive.close()


async def _import(settings: "Settings", paths: Sequence[Path]) -> "Summary":
    from bfr_dicomweb.app import open_archive
    from bfr_dicomweb.services import importing

    archive = await open_archive(settings)
    try:
        with _progress("importing", None) as step:
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
        with _progress("checking", await archive.count_instances()) as step:
            return await verification.verify(archive, step)
    finally:
        await archive.close()


async def _rebuild(settings: "Settings") -> "Rebuilt":
    """Into an empty catalogue only: the old one counts until the new one is complete."""
    from bfr_dicomweb.blobs.filesystem import FileBlobStore
    from bfr_dicomweb.services import rebuilding

    blobs = FileBlobStore(settings.data)
    if settings.database_url is not None:
        with _progress("cataloguing", None) as step:
            return await rebuilding.rebuild(settings.index_url, blobs, step)
    with (
        rebuilding.replaced(settings.catalogue_file) as new,
        _progress("cataloguing", None) as step,
    ):
        return await rebuilding.rebuild(f"sqlite:///{new}", blobs, step)


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Any]:
    """A bar on a terminal, a line now and then elsewhere; gives the function to call."""
    if err.is_terminal:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=err) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count=1: bar.advance(task, count)
        return
    done = 0

    def step(count: int = 1) -> None:
        nonlocal done
        before, done = done, done + count
        if done // LINE_EVERY > before // LINE_EVERY:
            err.print(f"{what}: {done}" + (f" of {total}" if total else ""))

    yield step
    err.print(f"{what}: {done} done")


def _show_summary(summary: "Summary") -> None:
    out.print(f"files     {summary.files}")
    out.print(f"stored    {summary.stored}")
    out.print(f"duplicate {summary.duplicates}")
    out.print(f"refused   {summary.refused.total()}")
    for reason, count in summary.refused.most_common(REASONS_SHOWN):
        out.print(f"  {count} x {reason}", soft_wrap=True, markup=False)
        out.print(f"      e.g. {summary.examples[reason]}", soft_wrap=True, markup=False)


def _greet(settings: "Settings") -> None:
    err.print(f"DICOMweb at {_base(settings)}  (data in {settings.data}; stop with Ctrl-C)")


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
