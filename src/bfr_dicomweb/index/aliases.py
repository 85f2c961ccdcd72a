"""Finding orders and exams by what they are called."""

from collections.abc import Collection
from dataclasses import dataclass

from bfr_dicomweb.index.statements import Connection, rows

# A system and a value; None is any system, "" is that nobody said who gave the value.
Named = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Found:
    """Attributes:
    exam_id: 0 for what names the order only.
    """

    kind: str
    system: str
    value: str
    order_id: int
    exam_id: int


async def find(conn: Connection, named: Collection[Named]) -> list[Found]:
    if not named:
        return []
    found = await rows(
        conn,
        "SELECT kind, system, value, order_id, exam_id FROM order_alias"
        " WHERE value IN (?1::text[])",
        (sorted({value for _, value in named}),),
    )
    wanted = set(named)
    return [
        alias
        for alias in (Found(*row) for row in found)
        if {(None, alias.value), (alias.system, alias.value)} & wanted
    ]


async def study_uids(conn: Connection, order_number: str) -> set[str]:
    """Of the stored studies that are linked to an order, or to an exam, of this number."""
    found = await find(conn, [(None, order_number)])
    exams = sorted({one.exam_id for one in found if one.exam_id})
    orders = sorted({one.order_id for one in found if not one.exam_id})
    linked = await rows(
        conn,
        "SELECT DISTINCT study_instance_uid FROM study_exam WHERE study_id <> 0 AND exam_id IN ("
        "SELECT id FROM exam WHERE id IN (?1::bigint[])"
        " UNION SELECT id FROM exam WHERE order_id IN (?2::bigint[]))",
        (exams, orders),
    )
    return {uid for (uid,) in linked}
