"""What the commands share: options, the two consoles, settings, progress."""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console

if TYPE_CHECKING:
    from bfr_dicomweb.settings import Settings

T = TypeVar("T")

# Plain progress lines, where no terminal shows a bar, come after so many objects.
LINE_EVERY: Final = 1000
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
Mllp = Annotated[
    str | None,
    typer.Option("--mllp", help="HOST:PORT of HL7 v2, or off.  [BFR_MLLP, default 127.0.0.1:2575]"),
]
Dimse = Annotated[
    str | None,
    typer.Option(
        "--dimse", help="HOST:PORT of DIMSE, or off.  [BFR_DIMSE, default 127.0.0.1:11112]"
    ),
]
PeersFile = Annotated[
    Path | None, typer.Option("--peers", help="TOML file of DIMSE peers.  [BFR_PEERS]")
]
Only = Annotated[
    str | None,
    typer.Option("--only", help="Run this alone: http, mllp, dimse or dispatcher.  [BFR_ONLY]"),
]
ExchangeFile = Annotated[
    Path | None,
    typer.Option("--exchange", help="TOML file of senders and receivers.  [BFR_EXCHANGE]"),
]
PublicURL = Annotated[
    str | None,
    typer.Option("--public-url", help="URL of this server as clients see it.  [BFR_PUBLIC_URL]"),
]


def read_settings(config: Path | None, **given: Any) -> "Settings":
    from bfr_dicomweb import settings

    if config is not None:
        os.environ[settings.CONFIG_VARIABLE] = str(config)
    return settings.load(**given)


def load(config: Path | None, **given: Any) -> "Settings":
    chosen = read_settings(config, **given)
    from bfr_dicomweb import logs

    logs.configure(chosen.log_level)
    return chosen


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Any]:
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
