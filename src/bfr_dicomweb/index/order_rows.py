"""Reading orders. What their rows and bodies hold is told where they are written."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from bfr_dicomweb.index import aliases, bodies
from bfr_dicomweb.index.aliases import Named
from bfr_dicomweb.index.statements import Connection, rows
from bfr_dicomweb.index.walks import Page, Walk, page_of
from bfr_dicomweb.orders.state import Order

_WALK: Final = Walk(
    "imaging_order",
    "id, patient_id, authored, change, changed_us, body",
    "authored",
    (("patient_id",),),
)


@dataclass(frozen=True, slots=True)
class OrderRow:
    """Attributes:
    patient_id: The root of the patient's records.
    order: Its exams are places in `exam_ids`.
    moment: By which orders are walked: when it was placed.
    """

    id: int
    patient_id: int
    order: Order
    exam_ids: tuple[int, ...]
    change: int
    changed_us: int
    moment: str = ""


async def by_ids(conn: Connection, ids: Collection[int]) -> list[OrderRow]:
    if not ids:
        return []
    sql = f"SELECT {_WALK.columns} FROM imaging_order WHERE id IN (?1::bigint[]) ORDER BY id"  # noqa: S608
    return await _read(conn, await rows(conn, sql, (sorted(ids),)))


async def walk(
    conn: Connection, page: Page, *, patients: Collection[int] | None = None
) -> list[OrderRow]:
    return await _read(conn, await page_of(conn, _WALK, page, {"patient_id": patients}))


async def identified(conn: Connection, named: Collection[Named]) -> list[OrderRow]:
    """Orders of which the order itself or an exam is known by one of these."""
    return await by_ids(conn, {found.order_id for found in await aliases.find(conn, named)})


async def of_exams(conn: Connection, exam_ids: Collection[int]) -> list[OrderRow]:
    if not exam_ids:
        return []
    sql = (
        f"SELECT {_WALK.columns} FROM imaging_order WHERE id IN"  # noqa: S608 # our words
        " (SELECT order_id FROM exam WHERE id IN (?1::bigint[])) ORDER BY id"
    )
    return await _read(conn, await rows(conn, sql, (sorted(exam_ids),)))


async def _read(conn: Connection, found: Sequence[Any]) -> list[OrderRow]:
    if not found:
        return []
    exams = await rows(
        conn,
        "SELECT order_id, id FROM exam WHERE order_id IN (?1::bigint[]) ORDER BY order_id, place",
        (sorted(key for key, *_ in found),),
    )
    of = {
        key: tuple(exam for _, exam in group) for key, group in groupby(exams, lambda row: row[0])
    }
    return [
        OrderRow(
            key,
            patient_id,
            bodies.order(bytes(body)),
            of.get(key, ()),
            change,
            changed_us,
            moment,
        )
        for key, patient_id, moment, change, changed_us, body in found
    ]
