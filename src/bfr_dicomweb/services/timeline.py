"""What there is to know of patients, orders, exams, reports, events, findings and studies.

Each function is one visit to the catalogue, or none for what is in sight (`sight`). What takes a
`Page` gives rows in the order of their `moment` and id (or number), from the row after `Page.after`
on, and fewer than `Page.limit` only at the end. None narrows nothing, an empty collection leaves
nothing.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from bfr_dicomweb.index import (
    event_rows,
    exam_rows,
    finding_rows,
    order_rows,
    patient_rows,
    report_rows,
    study_rows,
    versions,
)
from bfr_dicomweb.index.aliases import Named as Named
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.event_rows import EventRow as EventRow
from bfr_dicomweb.index.event_rows import MessageHead as MessageHead
from bfr_dicomweb.index.event_rows import MessageRow as MessageRow
from bfr_dicomweb.index.exam_rows import ExamRow as ExamRow
from bfr_dicomweb.index.exam_rows import StudyLink as StudyLink
from bfr_dicomweb.index.finding_rows import FindingRow as FindingRow
from bfr_dicomweb.index.order_rows import OrderRow as OrderRow
from bfr_dicomweb.index.patient_rows import PatientRow as PatientRow
from bfr_dicomweb.index.report_rows import ReportRow as ReportRow
from bfr_dicomweb.index.study_rows import SeriesRow as SeriesRow
from bfr_dicomweb.index.study_rows import StudyRow as StudyRow
from bfr_dicomweb.index.study_rows import is_of as is_of
from bfr_dicomweb.index.study_rows import patient_identifiers as patient_identifiers
from bfr_dicomweb.index.walks import Page as Page
from bfr_dicomweb.orders.identifiers import Identifier
from bfr_dicomweb.services import sight
from bfr_dicomweb.services.order_history import OrderVersion as OrderVersion
from bfr_dicomweb.services.order_history import order_at as order_at
from bfr_dicomweb.services.order_history import order_history as order_history


class _Row(Protocol):
    @property
    def id(self) -> int: ...


R = TypeVar("R", bound=_Row)


def _seen(known: dict[int, R], rows: list[R]) -> list[R]:
    known.update((row.id, row) for row in rows)
    return rows


async def _by_ids(
    known: dict[int, R],
    ids: Iterable[int],
    read: Callable[[Collection[int]], Awaitable[list[R]]],
) -> list[R]:
    """By id, reading only what is not in sight."""
    wanted = set(ids)
    if missing := wanted - known.keys():
        _seen(known, await read(missing))
    return [known[id] for id in sorted(wanted & known.keys())]


def _all_of(known: dict[int, R], ids: Collection[int]) -> Sequence[R] | None:
    """None: not all of them are in sight."""
    if not known.keys() >= set(ids):
        return None
    return [known[id] for id in sorted(set(ids))]


# --- patients --------------------------------------------------------------------------------


async def patients(index: Index, ids: Collection[int]) -> list[PatientRow]:
    return await _by_ids(
        sight.current().patients,
        ids,
        lambda missing: index.ask(lambda conn: patient_rows.by_ids(conn, missing)),
    )


async def patients_of_roots(index: Index, roots: Collection[int]) -> list[PatientRow]:
    """All records of these persons."""
    return await index.ask(lambda conn: patient_rows.of_roots(conn, roots))


async def patients_identified(index: Index, named: Collection[Named]) -> list[PatientRow]:
    """Records that have one of these identifiers; identity numbers in any of their forms."""
    found = await index.ask(lambda conn: patient_rows.identified(conn, named))
    return _seen(sight.current().patients, found)


async def walk_patients(
    index: Index,
    limit: int,
    *,
    newest_first: bool = False,
    after: int | None = None,
    family: str = "",
    given: str = "",
    birth_date: str = "",
) -> list[PatientRow]:
    """Records by id, whose names and birth date begin so, whatever case and accents."""
    return await index.ask(
        lambda conn: patient_rows.walk(
            conn,
            limit,
            newest_first=newest_first,
            after=after,
            family=family,
            given=given,
            birth_date=birth_date,
        )
    )


# --- orders ----------------------------------------------------------------------------------


async def orders(index: Index, ids: Collection[int]) -> list[OrderRow]:
    return await _by_ids(
        sight.current().orders,
        ids,
        lambda missing: index.ask(lambda conn: order_rows.by_ids(conn, missing)),
    )


async def orders_of_exams(index: Index, exam_ids: Collection[int]) -> list[OrderRow]:
    exams = _all_of(sight.current().exams, exam_ids)
    if exams is not None:
        return await orders(index, {row.order_id for row in exams})
    found = await index.ask(lambda conn: order_rows.of_exams(conn, exam_ids))
    return _seen(sight.current().orders, found)


async def orders_identified(index: Index, named: Collection[Named]) -> list[OrderRow]:
    """Orders of which the order itself or an exam is known by one of these."""
    found = await index.ask(lambda conn: order_rows.identified(conn, named))
    return _seen(sight.current().orders, found)


async def walk_orders(
    index: Index, page: Page, *, patients: Collection[int] | None = None
) -> list[OrderRow]:
    """By when they were placed; `patients` are roots."""
    found = await index.ask(lambda conn: order_rows.walk(conn, page, patients=patients))
    return _seen(sight.current().orders, found)


async def successors(index: Index, ids: Collection[int]) -> dict[int, int]:
    """Of orders, exams and reports that are no more: what took their place, 0 for nothing."""
    return await index.ask(lambda conn: versions.successors(conn, ids))


# --- exams -----------------------------------------------------------------------------------


async def exams(index: Index, ids: Collection[int]) -> list[ExamRow]:
    return await _by_ids(
        sight.current().exams,
        ids,
        lambda missing: index.ask(lambda conn: exam_rows.by_ids(conn, missing)),
    )


async def exams_of_orders(index: Index, order_ids: Collection[int]) -> list[ExamRow]:
    """By order, and within it by place."""
    of = _all_of(sight.current().orders, order_ids)
    if of is not None:
        own = [id for order in of for id in order.exam_ids]
        by_id = {row.id: row for row in await exams(index, own)}
        return [by_id[id] for id in own if id in by_id]
    found = await index.ask(lambda conn: exam_rows.of_orders(conn, order_ids))
    return _seen(sight.current().exams, found)


async def exams_of_studies(index: Index, study_instance_uids: Collection[str]) -> list[ExamRow]:
    found = await index.ask(lambda conn: exam_rows.of_studies(conn, study_instance_uids))
    return _seen(sight.current().exams, found)


async def exams_of_reports(index: Index, report_ids: Collection[int]) -> list[ExamRow]:
    found = await index.ask(lambda conn: exam_rows.of_reports(conn, report_ids))
    return _seen(sight.current().exams, found)


async def exams_identified(index: Index, named: Collection[Named]) -> list[ExamRow]:
    """Exams that are known by one of these; not those of an order that is."""
    found = await index.ask(lambda conn: exam_rows.identified(conn, named))
    return _seen(sight.current().exams, found)


async def walk_exams(
    index: Index,
    page: Page,
    *,
    patients: Collection[int] | None = None,
    statuses: Collection[str] | None = None,
    performers: Collection[str] | None = None,
    modalities: Collection[str] | None = None,
) -> list[ExamRow]:
    """By when their status was last changed; `patients` are roots."""
    return await index.ask(
        lambda conn: exam_rows.walk(
            conn,
            page,
            patients=patients,
            statuses=statuses,
            performers=performers,
            modalities=modalities,
        )
    )


# --- reports ---------------------------------------------------------------------------------


async def reports(index: Index, ids: Collection[int]) -> list[ReportRow]:
    return await _by_ids(
        sight.current().reports,
        ids,
        lambda missing: index.ask(lambda conn: report_rows.by_ids(conn, missing)),
    )


async def reports_of_exams(index: Index, exam_ids: Collection[int]) -> list[ReportRow]:
    of = _all_of(sight.current().exams, exam_ids)
    if of is not None:
        return await reports(index, {id for exam in of for id in exam.report_ids})
    found = await index.ask(lambda conn: report_rows.of_exams(conn, exam_ids))
    return _seen(sight.current().reports, found)


async def reports_with_stored_studies(
    index: Index, report_ids: Collection[int], exam_ids: Collection[int]
) -> list[int]:
    """Which of these reports, and of those of these exams, are about a study that is stored."""
    return await index.ask(lambda conn: report_rows.with_stored_studies(conn, report_ids, exam_ids))


async def reports_of_orders(index: Index, order_ids: Collection[int]) -> list[ReportRow]:
    found = await index.ask(lambda conn: report_rows.of_orders(conn, order_ids))
    return _seen(sight.current().reports, found)


async def reports_identified(index: Index, values: Collection[str]) -> list[ReportRow]:
    """By the filler's number of the report, or the accession number that stands for it."""
    return await index.ask(lambda conn: report_rows.identified(conn, values))


async def walk_reports(
    index: Index,
    page: Page,
    *,
    patients: Collection[int] | None = None,
    statuses: Collection[str] | None = None,
) -> list[ReportRow]:
    """By when their current version was issued; `patients` are roots."""
    return await index.ask(
        lambda conn: report_rows.walk(conn, page, patients=patients, statuses=statuses)
    )


# --- events and messages ---------------------------------------------------------------------


async def events(index: Index, numbers: Collection[int]) -> list[EventRow]:
    """Also what has been superseded."""
    return await index.ask(lambda conn: event_rows.by_numbers(conn, numbers))


async def events_of_exams(index: Index, exam_ids: Collection[int]) -> list[EventRow]:
    """What counts, by time."""
    return await index.ask(lambda conn: event_rows.of_exams(conn, exam_ids))


async def events_of_orders(index: Index, order_ids: Collection[int]) -> list[EventRow]:
    """What counts, by time."""
    return await index.ask(lambda conn: event_rows.of_orders(conn, order_ids))


async def events_of_messages(index: Index, numbers: Collection[int]) -> list[EventRow]:
    return await index.ask(lambda conn: event_rows.of_messages(conn, numbers))


async def walk_events(
    index: Index, page: Page, *, patients: Collection[int] | None = None
) -> list[EventRow]:
    """What counts, by time and number; `patients` are roots."""
    return await index.ask(lambda conn: event_rows.walk(conn, page, patients=patients))


async def message(index: Index, number: int) -> MessageRow | None:
    return await index.ask(lambda conn: event_rows.message(conn, number))


async def message_heads(index: Index, numbers: Collection[int]) -> list[MessageHead]:
    """What a reference to a message tells of it, without reading the message."""
    return await index.ask(lambda conn: event_rows.message_heads(conn, numbers))


# --- findings --------------------------------------------------------------------------------


async def findings(index: Index, ids: Collection[int]) -> list[FindingRow]:
    return await index.ask(lambda conn: finding_rows.by_ids(conn, ids))


async def findings_of_orders(index: Index, order_ids: Collection[int]) -> list[FindingRow]:
    return await index.ask(lambda conn: finding_rows.of_orders(conn, order_ids))


async def findings_of_exams(index: Index, exam_ids: Collection[int]) -> list[FindingRow]:
    return await index.ask(lambda conn: finding_rows.of_exams(conn, exam_ids))


async def walk_findings(
    index: Index,
    page: Page,
    *,
    patients: Collection[int] | None = None,
    codes: Collection[str] | None = None,
) -> list[FindingRow]:
    """By when they were raised; `patients` are roots."""
    return await index.ask(
        lambda conn: finding_rows.walk(conn, page, patients=patients, codes=codes)
    )


# --- stored studies --------------------------------------------------------------------------


async def studies(index: Index, ids: Collection[int]) -> list[StudyRow]:
    return await index.ask(lambda conn: study_rows.by_ids(conn, ids))


async def study_was_stored(index: Index, id: int) -> bool:
    """Whether there has been a study of this id, which none gets again."""
    return await index.ask(lambda conn: study_rows.was_given(conn, id))


async def studies_by_uids(index: Index, study_instance_uids: Collection[str]) -> list[StudyRow]:
    return await index.ask(lambda conn: study_rows.by_uids(conn, study_instance_uids))


async def studies_by_accession_numbers(index: Index, values: Collection[str]) -> list[StudyRow]:
    """Studies that carry one of these accession numbers, whoever gave it."""
    return await index.ask(lambda conn: study_rows.by_accession_numbers(conn, values))


async def studies_of_exams(index: Index, exam_ids: Collection[int]) -> list[StudyRow]:
    of = _all_of(sight.current().exams, exam_ids)
    if of is not None:
        stored = {link.study_id for exam in of for link in exam.studies if link.study_id}
        return await studies(index, stored) if stored else []
    return await index.ask(lambda conn: study_rows.of_exams(conn, exam_ids))


async def studies_of_patients(
    index: Index, known_as: Collection[Identifier], page: Page
) -> list[StudyRow]:
    """Studies of who has one of these identifiers, linked to an exam or not.

    Two identifiers of one value whose issuers are both known and differ are of two persons.
    """
    return await index.ask(lambda conn: study_rows.of_patients(conn, known_as, page))


async def walk_studies(
    index: Index, page: Page, *, modalities: Collection[str] | None = None
) -> list[StudyRow]:
    """By study date and time."""
    return await index.ask(lambda conn: study_rows.walk(conn, page, modalities=modalities))
