"""The numbers of the versions that the rows of an order have had."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.index.statements import Connection, row, rows
from bfr_dicomweb.index.turn import EXAM_CHANGED, ORDER_CHANGED, REPORT_CHANGED

# Of the changes of one transaction; those of a larger one are not all found.
_MOST: Final = 2000
# Links to studies are no part of the rows.
_WHAT: Final = [ORDER_CHANGED, EXAM_CHANGED, REPORT_CHANGED]
_WRITTEN: Final = (
    "SELECT number, subject FROM change WHERE number >= ?1 AND number < ?2 AND at_us = ?3"
    " AND subject IN (?4::text[]) AND what IN (?5::text[]) ORDER BY number"
)


@dataclass(frozen=True, slots=True)
class Written:
    """A row, "order/12", was written with this number."""

    number: int
    subject: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """Attributes:
    first: The least of the numbers asked for that were given in it.
    """

    first: int
    at_us: int
    written: tuple[Written, ...]


async def transactions(
    conn: Connection, numbers: Collection[int], subjects: Collection[str]
) -> list[Transaction]:
    """Those that gave these numbers, and what they wrote of these rows, the oldest first."""
    found: list[Transaction] = []
    for number in sorted(set(numbers)):
        at_us = await _time_of(conn, number)
        if found and at_us in (None, found[-1].at_us):
            continue
        written = await rows(
            conn, _WRITTEN, (number, number + _MOST, at_us or 0, sorted(subjects), _WHAT)
        )
        found.append(Transaction(number, at_us or 0, tuple(Written(*row) for row in written)))
    return found


async def _time_of(conn: Connection, number: int) -> int | None:
    """When the transaction was that gave it: numbers of one are not mixed with another's."""
    sql = "SELECT at_us FROM change WHERE number >= ?1 ORDER BY number LIMIT 1"
    found = await row(conn, sql, (number,))
    return None if found is None else int(found[0])


async def successors(conn: Connection, ids: Collection[int]) -> dict[int, int]:
    """Of rows that are no more: those that took their place; 0 when none did."""
    found: dict[int, int] = {}
    asked = set(ids)
    while asked:
        sql = "SELECT id, successor FROM moved WHERE id IN (?1::bigint[])"
        next_ = dict(await rows(conn, sql, (sorted(asked),)))
        found |= next_
        asked = {successor for successor in next_.values() if successor} - found.keys()
    return {id: _end(found, id) for id in ids if id in found}


def _end(successor_of: dict[int, int], id: int) -> int:
    while successor_of.get(id):
        id = successor_of[id]
    return 0 if id in successor_of else id
