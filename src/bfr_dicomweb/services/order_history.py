"""What an order was: its events up to a number, folded.

The rows of today are those of all events; those of an earlier time follow from the events that had
been recorded by then and not been superseded yet. Ids are today's: an exam of then is the exam of
today that is known by the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from bfr_dicomweb.index import event_rows, exam_rows, order_rows, report_rows, versions
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.event_rows import EventRow
from bfr_dicomweb.index.exam_rows import ExamRow
from bfr_dicomweb.index.order_rows import OrderRow
from bfr_dicomweb.index.report_rows import ReportRow
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.versions import Transaction
from bfr_dicomweb.orders import fold
from bfr_dicomweb.orders.state import Folded, Order, Report


@dataclass(frozen=True, slots=True)
class OrderVersion:
    """What an order was after a transaction.

    `change` of each row is the number with which it was last written by then: what a version
    leaves as it was has the same one as in the version before.

    Attributes:
        number: The first one that the transaction gave to something of the order.
    """

    number: int
    order: OrderRow
    exams: tuple[ExamRow, ...]
    reports: tuple[ReportRow, ...]


async def order_history(index: Index, order_id: int) -> list[OrderVersion]:
    """All versions, the current one first; none when there is no such order."""
    told = await index.ask(lambda conn: _told(conn, order_id))
    return [] if told is None else told.versions()


async def order_at(index: Index, order_id: int, number: int) -> OrderVersion | None:
    """The version of the transaction that gave `number` or was the last one before it."""
    found = await order_history(index, order_id)
    return next((version for version in found if version.number <= number), None)


@dataclass(frozen=True, slots=True)
class _Told:
    """Today's rows of an order, all its events, and when its rows were written."""

    order: OrderRow
    exams: tuple[ExamRow, ...]
    reports: tuple[ReportRow, ...]
    events: tuple[EventRow, ...]
    transactions: tuple[Transaction, ...]

    def versions(self) -> list[OrderVersion]:
        """The current one first."""
        firsts = [one.first for one in self.transactions] or [0]
        current = OrderVersion(firsts[-1], self.order, self.exams, self.reports)
        earlier = (self._version(*of) for of in pairwise(firsts))
        return [current, *reversed([version for version in earlier if version is not None])]

    def _version(self, first: int, end: int) -> OrderVersion | None:
        """What was known before `end`."""
        counted = [row for row in self.events if row.number < end and not 0 < row.superseded < end]
        if not counted:
            return None
        folded = fold.fold([row.event for row in counted])
        ids = self._exam_ids(folded)
        order = _chosen(folded.orders, self.order.order, ids)
        if order is None:
            return None
        marks = _Marks(end, counted, self.transactions)
        places = _first_places(order.exams, ids)
        exams = tuple(
            marks.stamped(
                replace(row, exam=folded.exams[place], moment=folded.exams[place].modified),
                f"exam/{row.id}",
            )
            for place, row in ((place, self._exam(ids[place])) for place in places)
        )
        return OrderVersion(
            first,
            marks.stamped(self._order(order, places, ids), f"order/{self.order.id}"),
            exams,
            tuple(self._reports(folded, ids, set(places), marks)),
        )

    def _exam(self, key: int) -> ExamRow:
        return next(row for row in self.exams if row.id == key)

    def _exam_ids(self, folded: Folded) -> dict[int, int]:
        """By place in `folded`: the exam of today that shares an alias."""
        known = {alias: row.id for row in self.exams for alias in row.exam.aliases}
        found: dict[int, int] = {}
        for place, exam in enumerate(folded.exams):
            key = next((known[alias] for alias in exam.aliases if alias in known), None)
            if key is not None:
                found[place] = key
        return found

    def _order(self, order: Order, places: Sequence[int], ids: Mapping[int, int]) -> OrderRow:
        local = {ids[place]: at for at, place in enumerate(places)}
        milestones = tuple(
            replace(one, exam=local[ids[one.exam]]) for one in order.milestones if one.exam in ids
        )
        then = replace(order, exams=tuple(range(len(places))), milestones=milestones)
        exam_ids = tuple(ids[place] for place in places)
        return replace(self.order, order=then, exam_ids=exam_ids, moment=order.authored)

    def _reports(
        self, folded: Folded, ids: Mapping[int, int], shown: set[int], marks: "_Marks"
    ) -> Iterable[ReportRow]:
        for report in folded.reports:
            today = self._report(report)
            if today is None or shown.isdisjoint(report.exams):
                continue
            exam_ids = tuple(sorted({ids[place] for place in report.exams if place in ids}))
            then = replace(
                today,
                report=replace(report, exams=tuple(range(len(exam_ids)))),
                exam_ids=exam_ids,
                moment=report.versions[-1].time if report.versions else "",
                arrivals=marks.arrivals(report),
            )
            yield marks.stamped(then, f"report/{today.id}")

    def _report(self, report: Report) -> ReportRow | None:
        """The report of today that has an event of this one."""
        own = _digests(report)
        return next((row for row in self.reports if own & _digests(row.report)), None)


def _digests(report: Report) -> set[str]:
    return {digest for version in report.versions for digest in version.digests}


def _chosen(orders: Iterable[Order], today: Order, ids: Mapping[int, int]) -> Order | None:
    """Of what was not known to be one order: what is called the same, else the larger part."""
    known = [order for order in orders if any(place in ids for place in order.exams)]
    return max(known, key=lambda o: (o.key == today.key, len(o.exams)), default=None)


def _first_places(places: Iterable[int], ids: Mapping[int, int]) -> list[int]:
    """Without those of exams of today that an earlier place has already."""
    found: dict[int, int] = {}
    for place in places:
        if place in ids:
            found.setdefault(ids[place], place)
    return list(found.values())


_Row = TypeVar("_Row", OrderRow, ExamRow, ReportRow)


@dataclass(frozen=True, slots=True)
class _Marks:
    """When things were written, before a number."""

    end: int
    counted: Sequence[EventRow]
    transactions: Sequence[Transaction]

    def stamped(self, row: _Row, subject: str) -> _Row:
        """The row with the number and the time of when it was last written."""
        for transaction in reversed(self.transactions):
            for one in reversed(transaction.written):
                if one.subject == subject and one.number < self.end:
                    return replace(row, change=one.number, changed_us=transaction.at_us)
        last = self.counted[-1]
        return replace(row, change=last.number, changed_us=last.recorded_us)

    def arrivals(self, report: Report) -> tuple[int, ...]:
        numbers = {row.digest: row.number for row in self.counted}
        return tuple(
            max((numbers.get(digest, 0) for digest in version.digests), default=0)
            for version in report.versions
        )


async def _told(conn: Connection, order_id: int) -> _Told | None:
    orders = await order_rows.by_ids(conn, [order_id])
    if not orders:
        return None
    exams = await exam_rows.of_orders(conn, [order_id])
    reports = await report_rows.of_orders(conn, [order_id])
    events = await event_rows.ever_of_order(conn, order_id)
    subjects = [
        f"order/{order_id}",
        *(f"exam/{row.id}" for row in exams),
        *(f"report/{row.id}" for row in reports),
    ]
    numbers = {row.number for row in events} | {row.superseded for row in events} - {0}
    found = await versions.transactions(conn, numbers, subjects)
    return _Told(orders[0], tuple(exams), tuple(reports), tuple(events), tuple(found))
