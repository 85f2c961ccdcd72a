"""Units, persons and roles that messages tell of."""

from collections.abc import Collection

from bfr_dicomweb.index import parties
from bfr_dicomweb.index.aliases import Named as Named
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.parties import PartyRow as PartyRow
from bfr_dicomweb.orders.parties import PartyKind as PartyKind


async def by_ids(index: Index, kind: PartyKind, ids: Collection[str]) -> list[PartyRow]:
    return await index.ask(lambda conn: parties.by_ids(conn, kind, ids))


async def identified(index: Index, kind: PartyKind, named: Collection[Named]) -> list[PartyRow]:
    """Units or persons that have one of these identifiers."""
    return await index.ask(lambda conn: parties.identified(conn, kind, named))


async def roles(
    index: Index,
    *,
    persons: Collection[str] | None = None,
    units: Collection[str] | None = None,
) -> list[PartyRow]:
    """Roles of any of these persons, in any of these units; None is any."""
    return await index.ask(lambda conn: parties.roles(conn, persons=persons, units=units))


async def walk(
    index: Index,
    kind: PartyKind,
    limit: int,
    *,
    newest_first: bool = True,
    after: int | None = None,
    begins: str = "",
) -> list[PartyRow]:
    """In the order in which they were last changed; `after` is a `PartyRow.change`.

    Args:
        begins: The beginning of a unit's name or a person's family name, whatever case and accents.
    """
    return await index.ask(
        lambda conn: parties.walk(
            conn, kind, limit, newest_first=newest_first, after=after, begins=begins
        )
    )
