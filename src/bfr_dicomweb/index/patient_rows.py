"""Reading patients: records, who they are and which of them are of one person."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.dicom import person_names
from bfr_dicomweb.index.aliases import Named
from bfr_dicomweb.index.conditions import Parameters
from bfr_dicomweb.index.statements import Connection, is_sqlite, rows
from bfr_dicomweb.orders import identifiers, records
from bfr_dicomweb.orders.events import Demographics
from bfr_dicomweb.orders.identifiers import Identifier

_COLUMNS: Final = "id, root_id, change, modified_us, body"
_SELECT: Final = f"SELECT {_COLUMNS} FROM patient"  # noqa: S608 # our words
# Sorts after every text that begins like the one before it.
_LAST: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class PatientRow:
    """Attributes:
    root_id: The record under which everything of this person is kept.
    merged_into: That record, when it is another one.
    others: Ids of the records that were merged into this one.
    """

    id: int
    root_id: int
    identifiers: tuple[Identifier, ...]
    demographics: Demographics
    merged_into: int | None
    others: tuple[int, ...]
    change: int
    changed_us: int


async def by_ids(conn: Connection, ids: Collection[int]) -> list[PatientRow]:
    if not ids:
        return []
    sql = f"{_SELECT} WHERE id IN (?1::bigint[]) ORDER BY id"
    return await _read(conn, await rows(conn, sql, (sorted(ids),)))


async def of_roots(conn: Connection, roots: Collection[int]) -> list[PatientRow]:
    """All records of these persons."""
    if not roots:
        return []
    sql = f"{_SELECT} WHERE root_id IN (?1::bigint[]) ORDER BY id"
    return await _read(conn, await rows(conn, sql, (sorted(roots),)))


async def identified(conn: Connection, named: Collection[Named]) -> list[PatientRow]:
    """Records that have one of these identifiers; identity numbers in any of their forms."""
    if not named:
        return []
    wanted = {pair for each in named for pair in _meant(*each)}
    found = await rows(
        conn,
        "SELECT value, system, patient_id FROM patient_identifier WHERE value IN (?1::text[])",
        (sorted({value for _, value in wanted}),),
    )
    ids = {key for value, system, key in found if {(None, value), (system, value)} & wanted}
    return await by_ids(conn, ids)


def _meant(system: str | None, value: str) -> set[Named]:
    keys = identity_numbers.match_keys(value)
    if system is None:
        return {(None, value), *((None, key) for key in keys)}
    own = [identifiers.of_patient(key, system) for key in keys]
    return {(system, value), *((one.system, one.value) for one in own)}


async def walk(
    conn: Connection,
    limit: int,
    *,
    newest_first: bool = False,
    after: int | None = None,
    family: str = "",
    given: str = "",
    birth_date: str = "",
) -> list[PatientRow]:
    """Records by id.

    Args:
        family: The beginning of the family name, whatever case and accents.
        given: The same of the given name.
        birth_date: A FHIR date or the beginning of one.
    """
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    folded = {
        "family": person_names.fold(family),
        "given": person_names.fold(given),
        "birth_date": birth_date,
    }
    where = [
        f"{name} >= {parameters.add(begin)} AND {name} < {parameters.add(begin + _LAST)}"
        for name, begin in folded.items()
        if begin
    ]
    if after is not None:
        where.append(f"id {'<' if newest_first else '>'} {parameters.add(after)}")
    direction = "DESC" if newest_first else "ASC"
    sql = (
        f"{_SELECT} WHERE {' AND '.join(where) or '1 = 1'}"
        f" ORDER BY id {direction} LIMIT {parameters.add(limit)}"
    )
    return await _read(conn, await rows(conn, sql, parameters.values))


async def _read(conn: Connection, found: Sequence[Any]) -> list[PatientRow]:
    if not found:
        return []
    ids = sorted(key for key, *_ in found)
    known = await _identifiers(conn, ids)
    others = await _others(conn, ids)
    return [
        PatientRow(
            key,
            root_id,
            tuple(sorted(known[key], key=_most_telling)),
            records.loads(Demographics, body),
            None if root_id == key else root_id,
            tuple(others[key]),
            change,
            changed_us,
        )
        for key, root_id, change, changed_us, body in found
    ]


def _most_telling(identifier: Identifier) -> tuple[bool, Identifier]:
    return identifier.system not in identifiers.NATIONAL, identifier


async def _identifiers(conn: Connection, ids: list[int]) -> dict[int, list[Identifier]]:
    found = defaultdict(list)
    sql = (
        "SELECT patient_id, system, value FROM patient_identifier"
        " WHERE patient_id IN (?1::bigint[])"
    )
    for key, system, value in await rows(conn, sql, (ids,)):
        found[key].append(Identifier(system, value))
    return found


async def _others(conn: Connection, ids: list[int]) -> dict[int, list[int]]:
    found = defaultdict(list)
    sql = "SELECT root_id, id FROM patient WHERE root_id IN (?1::bigint[]) ORDER BY id"
    for root_id, key in await rows(conn, sql, (ids,)):
        if key != root_id:
            found[root_id].append(key)
    return found
