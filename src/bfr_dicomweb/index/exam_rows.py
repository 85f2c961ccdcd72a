"""Reading exams, with the studies and reports that are linked to them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.index import aliases, bodies
from bfr_dicomweb.index.aliases import Named
from bfr_dicomweb.index.statements import Connection, rows
from bfr_dicomweb.index.walks import Page, Walk, page_of
from bfr_dicomweb.orders.state import Exam, Status

_WALK: Final = Walk(
    "exam",
    "id, order_id, patient_id, modified, expected, change, changed_us, body",
    "modified",
    (("patient_id",), ("performer", "status"), ("status",), ("modality",)),
)
_SELECT: Final = f"SELECT {_WALK.columns} FROM exam"  # noqa: S608 # our words


@dataclass(frozen=True, slots=True)
class StudyLink:
    """Attributes:
    study_id: 0 as long as nothing of the study is stored.
    rung: Of the ladder by which they were linked; 1 is the most certain.
    """

    study_instance_uid: str
    study_id: int
    rung: int


@dataclass(frozen=True, slots=True)
class ExamRow:
    """Attributes:
    expected: When images should have come; "" when that is not known.
    moment: By which exams are walked: when the status was last changed.
    """

    id: int
    order_id: int
    patient_id: int
    exam: Exam
    expected: str
    studies: tuple[StudyLink, ...]
    report_ids: tuple[int, ...]
    change: int
    changed_us: int
    moment: str = ""


async def by_ids(conn: Connection, ids: Collection[int]) -> list[ExamRow]:
    return await _where_in(conn, "id", "id", ids)


async def of_orders(conn: Connection, order_ids: Collection[int]) -> list[ExamRow]:
    """By order, and within it by place."""
    return await _where_in(conn, "order_id", "order_id, place", order_ids)


async def of_studies(conn: Connection, study_instance_uids: Collection[str]) -> list[ExamRow]:
    if not study_instance_uids:
        return []
    sql = (
        f"{_SELECT} WHERE id IN (SELECT exam_id FROM study_exam"  # noqa: S608 # our words
        " WHERE study_instance_uid IN (?1::text[])) ORDER BY id"
    )
    return await _read(conn, await rows(conn, sql, (sorted(study_instance_uids),)))


async def of_reports(conn: Connection, report_ids: Collection[int]) -> list[ExamRow]:
    if not report_ids:
        return []
    sql = (
        f"{_SELECT} WHERE id IN"  # noqa: S608 # our words
        " (SELECT exam_id FROM report_exam WHERE report_id IN (?1::bigint[])) ORDER BY id"
    )
    return await _read(conn, await rows(conn, sql, (sorted(report_ids),)))


async def identified(conn: Connection, named: Collection[Named]) -> list[ExamRow]:
    """Exams that are known by one of these; not those of an order that is."""
    found = await aliases.find(conn, named)
    return await by_ids(conn, {alias.exam_id for alias in found if alias.exam_id})


async def walk(
    conn: Connection,
    page: Page,
    *,
    patients: Collection[int] | None = None,
    statuses: Collection[str] | None = None,
    performers: Collection[str] | None = None,
    modalities: Collection[str] | None = None,
) -> list[ExamRow]:
    if performers is not None and statuses is None and patients is None:
        statuses = list(Status)  # the index of performers goes by status
    narrowed = {
        "patient_id": patients,
        "status": statuses,
        "performer": performers,
        "modality": modalities,
    }
    return await _read(conn, await page_of(conn, _WALK, page, narrowed))


async def _where_in(
    conn: Connection, column: str, order: str, keys: Collection[int]
) -> list[ExamRow]:
    if not keys:
        return []
    sql = f"{_SELECT} WHERE {column} IN (?1::bigint[]) ORDER BY {order}"
    return await _read(conn, await rows(conn, sql, (sorted(keys),)))


async def _read(conn: Connection, found: Sequence[Any]) -> list[ExamRow]:
    if not found:
        return []
    ids = sorted(key for key, *_ in found)
    studies = await _studies(conn, ids)
    reports = await _reports(conn, ids)
    return [
        ExamRow(
            key,
            order_id,
            patient_id,
            bodies.exam(bytes(body)),
            expected,
            tuple(studies[key]),
            tuple(reports[key]),
            change,
            changed_us,
            moment,
        )
        for key, order_id, patient_id, moment, expected, change, changed_us, body in found
    ]


async def _studies(conn: Connection, exam_ids: list[int]) -> dict[int, list[StudyLink]]:
    found = defaultdict(list)
    sql = (
        "SELECT exam_id, study_instance_uid, study_id, rung FROM study_exam"
        " WHERE exam_id IN (?1::bigint[]) ORDER BY exam_id, rung, study_instance_uid"
    )
    for key, *link in await rows(conn, sql, (exam_ids,)):
        found[key].append(StudyLink(*link))
    return found


async def _reports(conn: Connection, exam_ids: list[int]) -> dict[int, list[int]]:
    found = defaultdict(list)
    sql = (
        "SELECT exam_id, report_id FROM report_exam WHERE exam_id IN (?1::bigint[])"
        " ORDER BY exam_id, report_id"
    )
    for key, report in await rows(conn, sql, (exam_ids,)):
        found[key].append(report)
    return found
