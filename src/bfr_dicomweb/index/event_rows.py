"""Reading events and the messages that they came with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.index.statements import Connection, row, rows
from bfr_dicomweb.index.walks import Page, Walk, page_of
from bfr_dicomweb.orders import records
from bfr_dicomweb.orders.events import Event

_COLUMNS: Final = (
    "number, recorded_us, message, exam_id, order_id, patient_id, superseded, body, digest, time"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM order_event"  # noqa: S608 # our words
_WALK: Final = Walk("order_event", _COLUMNS, "time", (("patient_id",),), key="number")


@dataclass(frozen=True, slots=True)
class EventRow:
    """Attributes:
    message: Number of the message it was read from.
    exam_id: 0 for what names several exams; their steps have its digest.
    superseded: The change by which that message was read anew; 0 for what counts.
    moment: By which events are walked: when it happened.
    """

    number: int
    recorded_us: int
    message: int
    exam_id: int
    order_id: int
    patient_id: int
    superseded: int
    event: Event
    digest: str
    moment: str = ""


async def by_numbers(conn: Connection, numbers: Collection[int]) -> list[EventRow]:
    return await _where_in(conn, "number", "number", numbers)


_OF_EXAMS: Final = (
    f"{_SELECT} WHERE exam_id IN (?1::bigint[]) AND superseded = 0 UNION ALL {_SELECT} "  # noqa: S608 # our words
    "WHERE order_id IN (SELECT order_id FROM exam WHERE id IN (?1::bigint[]))"
    " AND exam_id = 0 AND superseded = 0"
)


async def of_exams(conn: Connection, exam_ids: Collection[int]) -> list[EventRow]:
    """What counts of these exams, and what is said of several exams of their orders, by time."""
    if not exam_ids:
        return []
    found = _read(await rows(conn, _OF_EXAMS, (sorted(exam_ids),)))
    return sorted(found, key=lambda row: (row.moment, row.number))


async def of_orders(conn: Connection, order_ids: Collection[int]) -> list[EventRow]:
    """What counts of these orders, by time."""
    return await _where_in(conn, "order_id", "time, number", order_ids, "AND superseded = 0")


async def of_messages(conn: Connection, messages: Collection[int]) -> list[EventRow]:
    """What counts of these messages, in the order in which it was recorded."""
    return await _where_in(conn, "message", "number", messages, "AND superseded = 0")


async def ever_of_order(conn: Connection, order_id: int) -> list[EventRow]:
    """In the order in which they were recorded, also what has been superseded."""
    return await _where_in(conn, "order_id", "number", [order_id])


async def walk(
    conn: Connection, page: Page, *, patients: Collection[int] | None = None
) -> list[EventRow]:
    found = await page_of(conn, _WALK, page, {"patient_id": patients, "superseded": [0]})
    return _read(found)


async def _where_in(
    conn: Connection, column: str, order: str, keys: Collection[int], also: str = ""
) -> list[EventRow]:
    if not keys:
        return []
    sql = f"{_SELECT} WHERE {column} IN (?1::bigint[]) {also} ORDER BY {order}"
    return _read(await rows(conn, sql, (sorted(keys),)))


def _read(found: Sequence[Any]) -> list[EventRow]:
    return [_event(*columns) for columns in found]


def _event(*columns: Any) -> EventRow:
    *ids, body, digest, time = columns
    number, recorded_us, message, exam_id, order_id, patient_id, superseded = ids
    return EventRow(
        number=number,
        recorded_us=recorded_us,
        message=message,
        exam_id=exam_id,
        order_id=order_id,
        patient_id=patient_id,
        superseded=superseded,
        event=records.loads(Event, body),
        digest=digest,
        moment=time,
    )


@dataclass(frozen=True, slots=True)
class MessageRow:
    """Attributes:
    body: As it was received.
    type: MSH-9: ``ORU^R01``.
    state: kept, applied, failed or refused.
    """

    number: int
    body: bytes
    type: str
    charset: str
    sender: str
    control_id: str
    received_us: int
    state: str
    error: str


_MESSAGE: Final = (
    "SELECT number, body, type, charset, sender, control_id, received_us, state, error FROM message"
)


async def message(conn: Connection, number: int) -> MessageRow | None:
    found = await row(conn, f"{_MESSAGE} WHERE number = ?1", (number,))
    return None if found is None else MessageRow(found[0], bytes(found[1]), *found[2:])


@dataclass(frozen=True, slots=True)
class MessageHead:
    """What a reference to a message tells of it."""

    number: int
    type: str
    sender: str
    control_id: str
    received_us: int


async def message_heads(conn: Connection, numbers: Collection[int]) -> list[MessageHead]:
    if not numbers:
        return []
    sql = (
        "SELECT number, type, sender, control_id, received_us FROM message"
        " WHERE number IN (?1::bigint[]) ORDER BY number"
    )
    return [MessageHead(*found) for found in await rows(conn, sql, (sorted(numbers),))]
