"""Which exams are on the worklist of modalities, always found along an index."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.index import exam_rows
from bfr_dicomweb.index.conditions import Parameters
from bfr_dicomweb.index.exam_rows import ExamRow
from bfr_dicomweb.index.statements import Connection, is_sqlite, rows
from bfr_dicomweb.orders.identifiers import DICOM_UID, AliasKind

# By when it is to start, and its id.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What the exams that are asked for must have; None narrows nothing.

    Attributes:
        stations: AE titles.
        starts: The first and the last moment at which they start, as in the column.
        patients: Roots.
        families: How the folded family name begins; "" narrows nothing.
        names: By which the exam is called: kinds of aliases, and values of which it has one.
    """

    stations: Collection[str] | None = None
    modalities: Collection[str] | None = None
    starts: tuple[str, str] | None = None
    patients: Collection[int] | None = None
    families: str = ""
    names: tuple[tuple[tuple[AliasKind, ...], tuple[str, ...]], ...] = ()


async def page(
    conn: Connection, narrowing: Narrowing, *, after: Place | None = None, limit: int
) -> list[tuple[Place, ExamRow]]:
    """The exams in the order in which they start, from the one after `after` on."""
    named = await _named(conn, narrowing)
    asked = [named, narrowing.patients, narrowing.stations, narrowing.modalities]
    if any(values is not None and not values for values in asked):
        return []
    sql, parameters = _statement(narrowing, named, after, limit, for_sqlite=is_sqlite(conn))
    places = {key: (starts, key) for starts, key in await rows(conn, sql, parameters.values)}
    found = {row.id: row for row in await exam_rows.by_ids(conn, places)}
    return [(place, found[key]) for key, place in sorted(places.items(), key=lambda i: i[1])]


_NAMED: Final = """
    SELECT DISTINCT exam_id FROM order_alias
    WHERE value IN (?1::text[]) AND kind IN (?2::text[]) AND exam_id <> 0
"""
# Sorts after every text that begins like the one before it.
_LAST: Final = "\U0010ffff"


async def _named(conn: Connection, narrowing: Narrowing) -> set[int] | None:
    found: set[int] | None = None
    for kinds, values in narrowing.names:
        asked = (sorted(values), sorted(kind.value for kind in kinds))
        exams = {key for (key,) in await rows(conn, _NAMED, asked)}
        found = exams if found is None else found & exams
    return found


def _statement(
    narrowing: Narrowing,
    named: Collection[int] | None,
    after: Place | None,
    limit: int,
    *,
    for_sqlite: bool,
) -> tuple[str, Parameters]:
    parameters = Parameters(for_sqlite=for_sqlite)
    # the words of the indexes' own condition, by which planners know that they may be used
    where = ["starts <> ''"]
    columns: list[tuple[str, Collection[int] | Collection[str] | None, str]] = [
        ("id", named, "bigint"),
        ("patient_id", narrowing.patients, "bigint"),
        ("station", narrowing.stations, "text"),
        ("modality", narrowing.modalities, "text"),
    ]
    given = [(name, values, kind) for name, values, kind in columns if values is not None]
    for place, (name, values, kind) in enumerate(given):
        # "+" keeps SQLite, which has no statistics, from any index but that of the first
        plain = "+" if for_sqlite and place else ""
        where.append(f"{plain}{name} {parameters.add_list(sorted(values), kind)}")
    plain = "+" if for_sqlite and named is not None else ""
    if narrowing.families and not given and narrowing.starts is None:
        # whoever asks for a name alone means somebody
        first = parameters.add(narrowing.families)
        last = parameters.add(narrowing.families + _LAST)
        where.append(
            "patient_id IN (SELECT root_id FROM patient WHERE"  # noqa: S608 # our words
            f" family >= {first} AND family < {last})"
        )
    if narrowing.starts is not None:
        first, last = narrowing.starts
        where.append(f"{plain}starts >= {parameters.add(first)}")
        where.append(f"{plain}starts <= {parameters.add(last)}")
    if after is not None:
        moment, key = map(parameters.add, after)
        where.append(f"({plain}starts, id) > ({moment}, {key})")
    sql = (
        f"SELECT starts, id FROM exam WHERE {' AND '.join(where)}"  # noqa: S608 # our words
        f" ORDER BY starts, id LIMIT {parameters.add(limit)}"
    )
    return sql, parameters


_OF_STUDY: Final = """
    SELECT exam_id FROM order_alias
    WHERE value = ?1 AND kind = ?2 AND system = ?3 AND patient_id IN (?4::bigint[])
        AND exam_id <> 0
"""


async def of_study(
    conn: Connection, study_instance_uid: str, patients: Collection[int]
) -> list[ExamRow]:
    """Exams of these patients (roots) that have this study, also where nobody ordered it."""
    asked = (study_instance_uid, AliasKind.STUDY.value, DICOM_UID, sorted(patients))
    found = await rows(conn, _OF_STUDY, asked)
    return await exam_rows.by_ids(conn, {key for (key,) in found})
