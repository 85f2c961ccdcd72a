"""FHIR resources that clients write, in all their versions: one row for each.

Versions are numbered 1, 2, 3 ...; a deletion is a version, too. Where a resource is current it
stands in the order of the changes, so that whoever walks them sees what is newer than before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.errors import Conflict, Gone, NotFound
from bfr_dicomweb.index.aliases import Named
from bfr_dicomweb.index.statements import Connection, insert, row, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.orders.identifiers import Identifier

RESOURCE_CHANGED: Final = "resource-changed"

_COLUMNS: Final = "type, id, version, deleted, changed_us, body, change"
_SELECT: Final = f"SELECT {_COLUMNS} FROM resource"  # noqa: S608 # our words
_INSERT: Final = insert("resource", (*_COLUMNS.split(", "), "current"))
_INSERT_IDENTIFIER: Final = insert("resource_identifier", ("value", "system", "type", "id"))
_REPLACE: Final = "UPDATE resource SET current = 0 WHERE type = ?1 AND id = ?2 AND version = ?3"
_FORGET: Final = "DELETE FROM resource_identifier WHERE type = ?1 AND id = ?2"


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """A version.

    Attributes:
        body: JSON as it was given to `write`; empty of a deletion.
        change: By which it came to be; unique among all rows.
    """

    type: str
    id: str
    version: int
    deleted: bool
    changed_us: int
    body: bytes
    change: int = 0


@dataclass(frozen=True, slots=True)
class Post:
    """A new resource under an id that nobody has."""

    type: str
    id: str
    body: bytes
    identifiers: tuple[Identifier, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """The next version; the first one when there is none, and one after a deletion.

    Attributes:
        expected: The version that it is to follow; None is any.
    """

    type: str
    id: str
    body: bytes
    identifiers: tuple[Identifier, ...] = ()
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """A deletion; what has been deleted already is left as it is."""

    type: str
    id: str
    expected: int | None = None


Write = Post | Put | Delete


async def write(conn: Connection, wanted: Sequence[Write]) -> list[ResourceRow]:
    """Write one after the other, so that a later one follows an earlier one of the same resource.

    Returns:
        The version that each has led to.

    Raises:
        Conflict: A version is not the expected one, or an id is taken.
        NotFound: What is to be deleted has never been there.
    """
    turn = await Turn.take(conn)
    current = {(held.type, held.id): held for held in await _current(conn, wanted)}
    written = []
    for one in wanted:
        before = current.get((one.type, one.id))
        _check(one, before)
        if isinstance(one, Delete) and before is not None and before.deleted:
            written.append(before)
            continue
        after = _next(turn, one, before)
        current[one.type, one.id] = after
        written.append(after)
    await turn.end()
    return written


async def _current(conn: Connection, wanted: Sequence[Write]) -> list[ResourceRow]:
    found = await rows(
        conn,
        f"{_SELECT} WHERE type IN (?1::text[]) AND id IN (?2::text[]) AND current = 1",
        (sorted({one.type for one in wanted}), sorted({one.id for one in wanted})),
    )
    return [_row(columns) for columns in found]


def _check(one: Write, before: ResourceRow | None) -> None:
    if isinstance(one, Post):
        if before is not None:
            raise Conflict("the id is taken")
        return
    if isinstance(one, Delete) and before is None:
        raise NotFound("there is no such resource")
    stands = 0 if before is None else before.version
    if one.expected is not None and one.expected != stands:
        raise Conflict(f"version {one.expected} is not the current one")


def _next(turn: Turn, one: Write, before: ResourceRow | None) -> ResourceRow:
    deleted = isinstance(one, Delete)
    after = ResourceRow(
        one.type,
        one.id,
        1 if before is None else before.version + 1,
        deleted,
        turn.at_us,
        b"" if isinstance(one, Delete) else one.body,
        turn.tell(RESOURCE_CHANGED, f"{one.type}/{one.id}"),
    )
    if before is not None:
        turn.script.add(_REPLACE, [(one.type, one.id, before.version)])
        turn.script.add(_FORGET, [(one.type, one.id)])
    thin = (after.type, after.id, after.version, int(deleted), after.changed_us)
    turn.script.add(_INSERT, [(*thin, after.body, after.change, 1)])
    if not isinstance(one, Delete):
        known_as = dict.fromkeys(one.identifiers)
        turn.script.add(
            _INSERT_IDENTIFIER, [(k.value, k.system, one.type, one.id) for k in known_as]
        )
    return after


async def find(conn: Connection, type: str, id: str) -> ResourceRow | None:
    """The current version.

    Raises:
        Gone: It has been deleted.
    """
    found = await row(
        conn,
        f"{_SELECT} WHERE type = ?1 AND id = ?2 ORDER BY version DESC LIMIT 1",
        (type, id),
    )
    return None if found is None else _unless_deleted(_row(found))


async def find_version(
    conn: Connection,
    type: str,
    id: str,
    version: int,
) -> ResourceRow | None:
    """Raises Gone: this version is a deletion."""
    found = await row(
        conn, f"{_SELECT} WHERE type = ?1 AND id = ?2 AND version = ?3", (type, id, version)
    )
    return None if found is None else _unless_deleted(_row(found))


async def history(conn: Connection, type: str, id: str) -> list[ResourceRow]:
    """All versions, the current one first; deletions are among them."""
    found = await rows(
        conn, f"{_SELECT} WHERE type = ?1 AND id = ?2 ORDER BY version DESC", (type, id)
    )
    return [_row(columns) for columns in found]


async def by_ids(conn: Connection, type: str, ids: Collection[str]) -> list[ResourceRow]:
    """The current versions of those that have not been deleted."""
    if not ids:
        return []
    found = await rows(
        conn,
        f"{_SELECT} WHERE type = ?1 AND id IN (?2::text[]) AND current = 1 AND deleted = 0"
        " ORDER BY id",
        (type, sorted(ids)),
    )
    return [_row(columns) for columns in found]


async def identified(
    conn: Connection,
    type: str,
    named: Collection[Named],
) -> list[ResourceRow]:
    """Those that have one of these identifiers."""
    if not named:
        return []
    found = await rows(
        conn,
        "SELECT value, system, id FROM resource_identifier"
        " WHERE value IN (?1::text[]) AND type = ?2",
        (sorted({value for _, value in named}), type),
    )
    wanted = set(named)
    ids = {id for value, system, id in found if {(None, value), (system, value)} & wanted}
    return await by_ids(conn, type, ids)


async def walk(
    conn: Connection,
    type: str,
    *,
    limit: int,
    newest_first: bool = True,
    after: int | None = None,
) -> list[ResourceRow]:
    """Current versions in the order in which they were written.

    Args:
        after: The change of the last one that is known.
    """
    compared, direction = ("<", "DESC") if newest_first else (">", "ASC")
    beyond = f"AND change {compared} ?3" if after is not None else ""
    sql = (
        f"{_SELECT} WHERE type = ?1 AND current = 1 AND deleted = 0 {beyond}"
        f" ORDER BY change {direction} LIMIT ?2"
    )
    parameters = (type, limit) if after is None else (type, limit, after)
    return [_row(columns) for columns in await rows(conn, sql, parameters)]


def _row(columns: Sequence[Any]) -> ResourceRow:
    type_, id_, version, deleted, changed_us, body, change = columns
    return ResourceRow(type_, id_, version, bool(deleted), changed_us, bytes(body), change)


def _unless_deleted(found: ResourceRow) -> ResourceRow:
    if found.deleted:
        raise Gone("the resource has been deleted")
    return found
