"""Reading reports, with the exams that they answer."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.index import bodies
from bfr_dicomweb.index.statements import Connection, rows
from bfr_dicomweb.index.walks import Page, Walk, page_of
from bfr_dicomweb.orders.state import Report

_WALK: Final = Walk(
    "report",
    "id, patient_id, issued, change, changed_us, body",
    "issued",
    (("patient_id",), ("status",)),
)
_SELECT: Final = f"SELECT {_WALK.columns} FROM report"  # noqa: S608 # our words


@dataclass(frozen=True, slots=True)
class ReportRow:
    """Attributes:
    report: Its exams are places in `exam_ids`.
    moment: By which reports are walked: when the current version was issued.
    arrivals: For each version the number of the last event that carried it.
    """

    id: int
    patient_id: int
    report: Report
    exam_ids: tuple[int, ...]
    change: int
    changed_us: int
    moment: str = ""
    arrivals: tuple[int, ...] = ()


async def by_ids(conn: Connection, ids: Collection[int]) -> list[ReportRow]:
    if not ids:
        return []
    sql = f"{_SELECT} WHERE id IN (?1::bigint[]) ORDER BY id"
    return await _read(conn, await rows(conn, sql, (sorted(ids),)))


async def of_exams(conn: Connection, exam_ids: Collection[int]) -> list[ReportRow]:
    return await _joined(conn, "exam_id", exam_ids)


async def of_orders(conn: Connection, order_ids: Collection[int]) -> list[ReportRow]:
    return await _joined(conn, "order_id", order_ids)


async def identified(conn: Connection, values: Collection[str]) -> list[ReportRow]:
    """By the filler's number of the report, or the accession number that stands for it."""
    if not values:
        return []
    sql = f"{_SELECT} WHERE identifier IN (?1::text[]) ORDER BY id"
    return await _read(conn, await rows(conn, sql, (sorted(values),)))


async def walk(
    conn: Connection,
    page: Page,
    *,
    patients: Collection[int] | None = None,
    statuses: Collection[str] | None = None,
) -> list[ReportRow]:
    narrowed = {"patient_id": patients, "status": statuses}
    return await _read(conn, await page_of(conn, _WALK, page, narrowed))


async def _joined(conn: Connection, column: str, keys: Collection[int]) -> list[ReportRow]:
    if not keys:
        return []
    sql = (
        f"{_SELECT} WHERE id IN"  # noqa: S608 # our words
        f" (SELECT report_id FROM report_exam WHERE {column} IN (?1::bigint[])) ORDER BY id"
    )
    return await _read(conn, await rows(conn, sql, (sorted(keys),)))


async def _read(conn: Connection, found: Sequence[Any]) -> list[ReportRow]:
    if not found:
        return []
    exams: dict[int, list[int]] = defaultdict(list)
    sql = (
        "SELECT report_id, exam_id FROM report_exam WHERE report_id IN (?1::bigint[])"
        " ORDER BY report_id, exam_id"
    )
    for key, exam in await rows(conn, sql, (sorted(key for key, *_ in found),)):
        exams[key].append(exam)
    numbers = await _arrived(conn, {exam for of in exams.values() for exam in of})
    read = []
    for key, patient_id, moment, change, changed_us, body in found:
        report = bodies.report(bytes(body))
        arrivals = tuple(
            max((numbers.get(digest, 0) for digest in version.digests), default=0)
            for version in report.versions
        )
        of = tuple(exams[key])
        read.append(ReportRow(key, patient_id, report, of, change, changed_us, moment, arrivals))
    return read


async def with_stored_studies(
    conn: Connection, report_ids: Collection[int], exam_ids: Collection[int]
) -> list[int]:
    """Which of these reports, and of those of these exams, are about a study that is here."""
    found = await rows(
        conn,
        "SELECT DISTINCT r.report_id FROM report_exam r JOIN study_exam s ON s.exam_id = r.exam_id"
        " WHERE s.study_id <> 0 AND r.exam_id IN (?2::bigint[])"
        " UNION SELECT DISTINCT r.report_id FROM report_exam r"
        " JOIN study_exam s ON s.exam_id = r.exam_id"
        " WHERE s.study_id <> 0 AND r.report_id IN (?1::bigint[])",
        (sorted(report_ids), sorted(exam_ids)),
    )
    return [key for (key,) in found]


async def _arrived(conn: Connection, exam_ids: Collection[int]) -> dict[str, int]:
    """The numbers of the events that carried reports of these exams, by digest."""
    # literally as in the index that has all of it
    sql = (
        "SELECT digest, number FROM order_event WHERE exam_id IN (?1::bigint[])"
        " AND kind = 'reported' AND superseded = 0"
    )
    shared = (
        "SELECT digest, number FROM order_event"
        " WHERE order_id IN (SELECT order_id FROM exam WHERE id IN (?1::bigint[]))"
        " AND exam_id = 0 AND kind = 'reported' AND superseded = 0"
    )
    found: dict[str, int] = {}
    keys = (sorted(exam_ids),)
    for digest, number in [*await rows(conn, sql, keys), *await rows(conn, shared, keys)]:
        found[digest] = max(number, found.get(digest, 0))
    return found
