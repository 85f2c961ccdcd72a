"""Rows in the order of a moment and an id, a page at a time, always along an index."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final

from bfr_dicomweb.index.conditions import Parameters
from bfr_dicomweb.index.statements import Connection, is_sqlite, rows

# So many walks are merged; the rows of more values are gathered and sorted instead.
_MOST_BRANCHES: Final = 128


@dataclass(frozen=True, slots=True)
class Page:
    """Attributes:
    after: Moment and id of the last row of the page before.
    """

    limit: int
    newest_first: bool = True
    after: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """Attributes:
    columns: What is read of each row.
    moment: By which and by the key the rows are ordered.
    indexed: Columns for whose values an index has the rows in that order, the best first.
    """

    table: str
    columns: str
    moment: str
    indexed: tuple[tuple[str, ...], ...] = ()
    key: str = "id"


Narrowed = Mapping[str, Collection[Any] | None]


async def page_of(
    conn: Connection, walk: Walk, page: Page, narrowed: Narrowed | None = None
) -> Sequence[Any]:
    """The next rows, of which each column that is narrowed has one of its values."""
    given = {name: sorted(v) for name, v in (narrowed or {}).items() if v is not None}
    if page.limit < 1 or not all(given.values()):
        return []
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    tail = f"{_order(walk, page)} LIMIT {parameters.add(page.limit)}"
    rest = _rest(walk, page, given, parameters)
    branches = _branches(walk, given, parameters)
    if len(branches) == 1:
        where = " AND ".join([*branches[0], *rest]) or "1 = 1"
        sql = f"SELECT {walk.columns} FROM {walk.table} WHERE {where} {tail}"  # noqa: S608
        return await rows(conn, sql, parameters.values)
    columns = ", ".join(f"t.{name}" for name in walk.columns.split(", "))
    sql = (
        f"SELECT {columns} FROM ({_merged(walk, branches, rest, tail)}) p"  # noqa: S608
        f" JOIN {walk.table} t ON t.{walk.key} = p.{walk.key} {_order(walk, page, 'p.')}"
    )
    return await rows(conn, sql, parameters.values)


def _merged(walk: Walk, branches: list[list[str]], rest: list[str], tail: str) -> str:
    thin = f"SELECT {walk.moment}, {walk.key} FROM"  # our words
    walks = (f"{thin} {walk.table} WHERE {' AND '.join([*b, *rest])} {tail}" for b in branches)
    union = " UNION ALL ".join(f"SELECT * FROM ({one}) b{n}" for n, one in enumerate(walks))  # noqa: S608
    return f"{thin} ({union}) u {tail}"


def _order(walk: Walk, page: Page, of: str = "") -> str:
    direction = "DESC" if page.newest_first else "ASC"
    return f"ORDER BY {of}{walk.moment} {direction}, {of}{walk.key} {direction}"


def _driving(walk: Walk, given: Mapping[str, Collection[Any]]) -> tuple[str, ...]:
    for names in walk.indexed:
        if given.keys() >= set(names):
            return names
    return ()


def _branches(
    walk: Walk, given: Mapping[str, Sequence[Any]], parameters: Parameters
) -> list[list[str]]:
    """One walk along the index for each of its values: each finds its first rows at once."""
    names = _driving(walk, given)
    if prod(len(given[name]) for name in names) > _MOST_BRANCHES:
        return [[_one_of(name, given[name], parameters) for name in names]]
    places = [[f"{name} = {parameters.add(value)}" for value in given[name]] for name in names]
    return [list(branch) for branch in product(*places)]


def _rest(
    walk: Walk, page: Page, given: Mapping[str, Sequence[Any]], parameters: Parameters
) -> list[str]:
    driving = _driving(walk, given)
    # "+" keeps SQLite, which has no statistics, from the index of this column
    plain = "+" if parameters.for_sqlite else ""
    found = [
        plain + _one_of(name, values, parameters)
        for name, values in given.items()
        if name not in driving
    ]
    if page.after is not None:
        moment, key = map(parameters.add, page.after)
        compared = "<" if page.newest_first else ">"
        found.append(f"({walk.moment}, {walk.key}) {compared} ({moment}, {key})")
    return found


def _one_of(name: str, values: Sequence[Any], parameters: Parameters) -> str:
    kind = "bigint" if isinstance(values[0], int) else "text"
    return f"{name} {parameters.add_list(values, kind)}"
