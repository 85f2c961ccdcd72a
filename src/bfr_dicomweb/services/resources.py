"""FHIR resources that clients write: to keep them, and to find them again."""

from collections.abc import Collection, Sequence

from bfr_dicomweb.index import resources
from bfr_dicomweb.index.aliases import Named as Named
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.resources import Delete as Delete
from bfr_dicomweb.index.resources import Post as Post
from bfr_dicomweb.index.resources import Put as Put
from bfr_dicomweb.index.resources import ResourceRow as ResourceRow
from bfr_dicomweb.index.resources import Write as Write


async def write(index: Index, wanted: Sequence[Write]) -> list[ResourceRow]:
    """Write all of them or none.

    Raises:
        Conflict: A version is not the expected one, or an id is taken.
        NotFound: What is to be deleted has never been there.
    """
    return await index.transact(lambda conn: resources.write(conn, wanted))


async def read(index: Index, type: str, id: str) -> ResourceRow | None:
    """Raises Gone: it has been deleted."""
    return await index.ask(lambda conn: resources.find(conn, type, id))


async def vread(index: Index, type: str, id: str, version: int) -> ResourceRow | None:
    """Raises Gone: this version is a deletion."""
    return await index.ask(lambda conn: resources.find_version(conn, type, id, version))


async def history(index: Index, type: str, id: str) -> list[ResourceRow]:
    """All versions, the current one first; deletions are among them."""
    return await index.ask(lambda conn: resources.history(conn, type, id))


async def by_ids(index: Index, type: str, ids: Collection[str]) -> list[ResourceRow]:
    """Those that are there and not deleted."""
    return await index.ask(lambda conn: resources.by_ids(conn, type, ids))


async def identified(
    index: Index,
    type: str,
    named: Collection[Named],
) -> list[ResourceRow]:
    return await index.ask(lambda conn: resources.identified(conn, type, named))


async def walk(
    index: Index,
    type: str,
    *,
    limit: int,
    newest_first: bool = True,
    after: int | None = None,
) -> list[ResourceRow]:
    """In the order in which they were last written; `after` is a `ResourceRow.change`."""
    return await index.ask(
        lambda conn: resources.walk(conn, type, limit=limit, newest_first=newest_first, after=after)
    )
