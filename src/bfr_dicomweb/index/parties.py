"""Units, persons and roles that messages tell of: to write them, and to find them again."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.dicom.person_names import fold
from bfr_dicomweb.index.aliases import Named
from bfr_dicomweb.index.conditions import Parameters
from bfr_dicomweb.index.statements import Connection, insert, is_sqlite, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.orders.identifiers import Identifier
from bfr_dicomweb.orders.parties import PartyKind, ToldParty, id_of

# So many parties a process remembers to have written.
MOST: Final = 10_000

_TEXT: Final = ("name", "family", "given")
_COLUMNS: Final = ("kind", "id", "system", "value", *_TEXT, "person_id", "unit_id", "change")
_READ: Final = f"SELECT {', '.join(_COLUMNS)}, changed_us FROM party"  # noqa: S608 # our words
_OLD: Final = ", ".join(f"party.{name}" for name in _TEXT)
_NEW: Final = ", ".join(f"excluded.{name}" for name in _TEXT)
_WRITE: Final = (
    insert("party", (*_COLUMNS, "changed_us", "folded", "time"))
    + " ON CONFLICT (kind, id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in (*_TEXT, "folded", "time"))
    + "".join(
        f", {name} = CASE WHEN ({_OLD}) = ({_NEW}) THEN party.{name} ELSE excluded.{name} END"
        for name in ("change", "changed_us")
    )
    + f" WHERE (excluded.time, {_NEW}) > (party.time, {_OLD})"
)
# Sorts after every text that begins like the one before it.
_LAST: Final = "\U0010ffff"

_Key = tuple[PartyKind, Identifier, Identifier | None]


@dataclass(frozen=True, slots=True)
class PartyRow:
    """Attributes:
    identifier: Of a role it is that of the person.
    person_id: Of a role, and "" else; so is `unit_id`.
    """

    kind: str
    id: str
    identifier: Identifier
    name: str
    family: str
    given: str
    person_id: str
    unit_id: str
    change: int
    changed_us: int


class Notebook:
    """What a process has written, so that what it is told again costs it nothing.

    What it forgets, or another process wrote, is written again and changes nothing.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._written: OrderedDict[_Key, tuple[str, str, str, str]] = OrderedDict()

    def note(self, turn: Turn, told: Iterable[ToldParty]) -> None:
        """Write what counts more than what is known. `forget` when the turn is not committed."""
        fresh: dict[_Key, ToldParty] = {}
        for one in told:
            key = one.kind, one.identifier, one.unit
            known = self._written.get(key)
            if known is None or one.rank > known:
                self._written[key] = one.rank
                fresh[key] = one
            self._written.move_to_end(key)
        turn.script.add(_WRITE, [_row_of(turn, one) for one in fresh.values()])
        while len(self._written) > self._most:
            self._written.popitem(last=False)

    def forget(self) -> None:
        self._written.clear()


def _row_of(turn: Turn, told: ToldParty) -> tuple[Any, ...]:
    """A role is found by its person and unit, and not by their identifiers."""
    is_role = told.unit is not None
    identifier = Identifier("", "") if is_role else told.identifier
    return (
        told.kind.value,
        told.id,
        identifier.system,
        identifier.value,
        told.name,
        told.family,
        told.given,
        id_of(told.identifier) if is_role else "",
        "" if told.unit is None else id_of(told.unit),
        turn.number(),
        turn.at_us,
        fold(told.name if told.kind is PartyKind.UNIT else told.family),
        told.time,
    )


async def by_ids(conn: Connection, kind: PartyKind, ids: Collection[str]) -> list[PartyRow]:
    if not ids:
        return []
    sql = f"{_READ} WHERE kind = ?1 AND id IN (?2::text[]) ORDER BY change"
    return _rows(await rows(conn, sql, (kind.value, sorted(ids))))


async def identified(conn: Connection, kind: PartyKind, named: Collection[Named]) -> list[PartyRow]:
    """Units or persons that have one of these identifiers."""
    if not named:
        return []
    sql = f"{_READ} WHERE value IN (?1::text[]) AND kind = ?2 ORDER BY change"
    found = _rows(await rows(conn, sql, (sorted({value for _, value in named}), kind.value)))
    wanted = set(named)
    return [
        row
        for row in found
        if {(None, row.identifier.value), (row.identifier.system, row.identifier.value)} & wanted
    ]


async def roles(
    conn: Connection,
    *,
    persons: Collection[str] | None = None,
    units: Collection[str] | None = None,
) -> list[PartyRow]:
    """Roles of any of these persons, in any of these units; None is any."""
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    where = [
        f"{name} {parameters.add_list(sorted(ids), 'text')}"
        for name, ids in (("person_id", persons), ("unit_id", units))
        if ids is not None
    ]
    sql = f"{_READ} WHERE {' AND '.join(['kind = ' + _ROLE, *where])} ORDER BY change"
    return _rows(await rows(conn, sql, parameters.values))


_ROLE: Final = f"'{PartyKind.ROLE.value}'"


async def walk(
    conn: Connection,
    kind: PartyKind,
    limit: int,
    *,
    newest_first: bool = True,
    after: int | None = None,
    begins: str = "",
) -> list[PartyRow]:
    """In the order in which they were last changed.

    Args:
        after: The change of the last one that is known.
        begins: The beginning of a unit's name or a person's family name, whatever case and accents.
    """
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    where = [f"kind = {parameters.add(kind.value)}"]
    if folded := fold(begins):
        low, high = parameters.add(folded), parameters.add(folded + _LAST)
        where.append(f"folded >= {low} AND folded < {high}")
    if after is not None:
        where.append(f"change {'<' if newest_first else '>'} {parameters.add(after)}")
    direction = "DESC" if newest_first else "ASC"
    sql = (
        f"{_READ} WHERE {' AND '.join(where)}"
        f" ORDER BY change {direction} LIMIT {parameters.add(limit)}"
    )
    return _rows(await rows(conn, sql, parameters.values))


def _rows(found: Sequence[Any]) -> list[PartyRow]:
    return [
        PartyRow(kind, id_, Identifier(system, value), *others)
        for kind, id_, system, value, *others in found
    ]
