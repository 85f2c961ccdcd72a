"""Reading findings: what a person has to look at, or had to."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.index.statements import Connection, rows
from bfr_dicomweb.index.walks import Page, Walk, page_of

_WALK: Final = Walk(
    "finding",
    "id, finding_key, code, severity, subject, detail, performer, patient_id, order_id, exam_id,"
    " study_instance_uid, message, raised, resolved, change, changed_us",
    "raised",
    (("patient_id",), ("code",)),
)
_SELECT: Final = f"SELECT {_WALK.columns} FROM finding"  # noqa: S608 # our words


@dataclass(frozen=True, slots=True)
class FindingRow:
    """Attributes:
    resolved: When it no longer held; "" as long as it does.
    patient_id: 0 as long as it concerns no one, like the other ids.
    """

    id: int
    finding_key: str
    code: str
    severity: str
    subject: str
    detail: str
    performer: str
    patient_id: int
    order_id: int
    exam_id: int
    study_instance_uid: str
    message: int
    raised: str
    resolved: str
    change: int
    changed_us: int

    @property
    def moment(self) -> str:
        return self.raised


async def by_ids(conn: Connection, ids: Collection[int]) -> list[FindingRow]:
    return await _where_in(conn, "id", ids)


async def of_orders(conn: Connection, order_ids: Collection[int]) -> list[FindingRow]:
    return await _where_in(conn, "order_id", order_ids)


async def of_exams(conn: Connection, exam_ids: Collection[int]) -> list[FindingRow]:
    return await _where_in(conn, "exam_id", exam_ids)


async def walk(
    conn: Connection,
    page: Page,
    *,
    patients: Collection[int] | None = None,
    codes: Collection[str] | None = None,
) -> list[FindingRow]:
    narrowed = {"patient_id": patients, "code": codes}
    return _read(await page_of(conn, _WALK, page, narrowed))


async def _where_in(conn: Connection, column: str, keys: Collection[int]) -> list[FindingRow]:
    if not keys:
        return []
    sql = f"{_SELECT} WHERE {column} IN (?1::bigint[]) ORDER BY id"
    return _read(await rows(conn, sql, (sorted(keys),)))


def _read(found: Sequence[Any]) -> list[FindingRow]:
    return [FindingRow(*columns) for columns in found]
