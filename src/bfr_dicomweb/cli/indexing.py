"""Attributes that an administrator has had indexed: how far that is, and doing it now."""

from typing import TYPE_CHECKING, Annotated

import typer

from bfr_dicomweb.cli.frame import Config, Data, DatabaseURL, load, out, progress, run

if TYPE_CHECKING:
    from bfr_dicomweb.services.indexing import Attribute
    from bfr_dicomweb.settings import Settings


def index(
    status: Annotated[
        bool, typer.Option("--status", help="Only show how far each attribute has come.")
    ] = False,
    data: Data = None,
    database_url: DatabaseURL = None,
    config: Config = None,
) -> None:
    """Index the attributes of BFR_INDEXED_ATTRIBUTES until nothing is left to index.

    A server does so in the background; this may run beside it, or while it is stopped.
    """
    chosen = load(config, data=data, database_url=database_url)
    found = run(_index(chosen, does_it=not status))
    for one in found:
        state = f"{one.left} of {one.total} instances left" if one.place else "complete"
        out.print(f"{one.attribute.name} ({one.attribute.level}): {state}", soft_wrap=True)
    if not found:
        out.print("no attributes are indexed")


async def _index(settings: "Settings", *, does_it: bool) -> "list[Attribute]":
    from bfr_dicomweb.app import indexed_attributes, open_archive
    from bfr_dicomweb.services import indexing

    wanted = indexed_attributes(settings).attributes
    archive = await open_archive(settings)
    try:
        if does_it:
            if settings.indexed_attributes is not None:
                await indexing.configure(archive.index, wanted)
            left = max((one.left for one in await indexing.configured(archive.index)), default=0)
            with progress("indexing", left) as step:
                before = left

                def show(now: int) -> None:
                    nonlocal before
                    step(max(before - now, 0))
                    before = now

                await indexing.finish(archive.index, show)
        return await indexing.configured(archive.index)
    finally:
        await archive.close()
