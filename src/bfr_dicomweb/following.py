"""What follows from changes here: which follower, channel and chore does what."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.fhir.subscriptions import KIND as REST_HOOK
from bfr_dicomweb.fhir.subscriptions import Subscriptions
from bfr_dicomweb.hl7v2 import exchange as exchanges
from bfr_dicomweb.hl7v2 import telling
from bfr_dicomweb.hl7v2.exchange import Exchange
from bfr_dicomweb.hl7v2.sending import Courier
from bfr_dicomweb.orders.events import Contents
from bfr_dicomweb.services import (
    availability,
    deletion,
    errands,
    linking,
    performed_steps,
    report_documents,
    subjects,
    timeline,
    watching,
    worklist,
)
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.dispatching import Chore, Dispatcher, Followed, Follower
from bfr_dicomweb.services.indexing import Indexing
from bfr_dicomweb.services.orders import Orders, RawMessage
from bfr_dicomweb.services.report_documents import FoundReport
from bfr_dicomweb.services.report_writing import ReportWriter
from bfr_dicomweb.services.workitem_rules import WorkitemRules

if TYPE_CHECKING:
    # loaded where it is used: what has no dispatcher starts faster without pynetdicom
    from bfr_dicomweb.dimse.delivery import Deliveries

INSTANCE_STORED: Final = "instance-stored"
INSTANCE_DELETED: Final = "instance-deleted"
WATCH_EVERY_S: Final = 5.0
CLEAN_EVERY_S: Final = 600.0
# Event reports that a subscriber has not fetched for so long are forgotten.
EVENT_DAYS: Final = 7.0
RECOVER_EVERY_S: Final = 30.0

log = structlog.get_logger("following")


class Following:
    """The dispatcher of one process, and what it works with.

    Args:
        deliveries: None when this archive calls no DICOM application entities.
        rules: By which workitems are made.
        workitem_days: After which workitems that are over are deleted.
        deleted_days: After which the bytes of what was deleted are removed.
        indexing: Of what an administrator wants to search by.
    """

    def __init__(
        self,
        archive: Archive,
        orders: Orders,
        subscriptions: Subscriptions,
        deliveries: "Deliveries | None" = None,
        rules: WorkitemRules | None = None,
        workitem_days: float = 30.0,
        deleted_days: float = 30.0,
        indexing: Indexing | None = None,
    ) -> None:
        self._archive = archive
        self._deleted_days = deleted_days
        self._index = archive.index
        self._rules = rules
        self._workitem_days = workitem_days
        self._orders = orders
        self._writer = ReportWriter(archive)
        self._courier = Courier(orders)
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        channels = {telling.KIND: self._courier.deliver, REST_HOOK: subscriptions.deliver}
        if deliveries is not None:
            channels[errands.KIND] = deliveries.deliver
        self._dispatcher = Dispatcher(
            archive.index,
            followers=(
                Follower("links", self._link),
                Follower("reports-in", self._read_reports),
                Follower("reports-out", self._write_reports),
                Follower("subscriptions", subscriptions.handle),
                Follower(availability.FOLLOWER, self._watch_growth),
                Follower("workitems", self._make_workitems),
            ),
            channels=channels,
            chores=(
                Chore("overdue", WATCH_EVERY_S, self._watch_images),
                Chore("silent", WATCH_EVERY_S, self._watch_senders),
                Chore("performed-steps", RECOVER_EVERY_S, self._recover_steps),
                Chore("undelivered", WATCH_EVERY_S, self._watch_receivers),
                Chore("ended workitems", CLEAN_EVERY_S, self._delete_ended_workitems),
                Chore("deleted bytes", WATCH_EVERY_S, self._clean_deleted),
                *([Chore("indexing", WATCH_EVERY_S, indexing.look_again)] if indexing else []),
                *(deliveries.chores if deliveries is not None else ()),
            ),
        )

    def start(self) -> None:
        self._dispatcher.start()

    async def stop(self) -> None:
        await self._dispatcher.stop()
        if self._deliveries is not None:
            await self._deliveries.close()
        await self._courier.close()
        await self._subscriptions.close()
        self._writer.close()

    async def _link(self, changes: Sequence[Followed]) -> None:
        moved = (INSTANCE_STORED, INSTANCE_DELETED)
        studies = {one.study_instance_uid for one in changes if one.what in moved}
        if studies:
            await linking.link(self._index, sorted(studies))

    async def _read_reports(self, changes: Sequence[Followed]) -> None:
        """Structured reports become versions of the report of their exam."""
        stored = [one.sop_instance_uid for one in changes if one.what == INSTANCE_STORED]
        for found in await report_documents.reports_among(self._index, stored):
            await self._take_over(found)

    async def _take_over(self, found: FoundReport) -> None:
        uid = found.ref.sop_instance_uid or ""
        event = report_documents.report_event(found.read)
        patient = subjects.patient_of(found.attributes)
        if event is None or patient is None:
            return
        known = await self._orders.messages(sender=report_documents.SOURCE, control_id=uid, limit=1)
        received_us = watching.now_us()
        number = (
            known[0].number
            if known
            else await self._orders.keep(
                RawMessage(
                    door="dicom",
                    sender=report_documents.SOURCE,
                    control_id=uid,
                    type="SR",
                    version="",
                    charset="",
                    body=uid.encode(),
                    profile=0,
                    received_us=received_us,
                )
            )
        )
        await self._orders.apply(
            number,
            Contents(patient=patient, events=(event,)),
            sender=report_documents.SOURCE,
            received_us=received_us,
        )

    async def _write_reports(self, changes: Sequence[Followed]) -> None:
        """Each version of a report whose study is here becomes a structured report in it."""
        reports = {int(n) for kind, n in map(_subject, changes) if kind == "report"}
        exams = {int(n) for kind, n in map(_subject, changes) if kind == "exam"}
        studies = {one.study_instance_uid for one in changes if one.study_instance_uid}
        if studies:
            exams |= {exam.id for exam in await timeline.exams_of_studies(self._index, studies)}
        due = await timeline.reports_with_stored_studies(self._index, reports, exams)
        if not due:
            return
        rows = await timeline.reports(self._index, due)
        answered = await timeline.exams(self._index, {id_ for row in rows for id_ in row.exam_ids})
        by_id = {exam.id: exam for exam in answered}
        for row in rows:
            await self._write(row, [by_id[id_] for id_ in row.exam_ids if id_ in by_id])

    async def _write(self, row: timeline.ReportRow, exams: Sequence[timeline.ExamRow]) -> None:
        studies = {
            link.study_instance_uid for exam in exams for link in exam.studies if link.study_id
        }
        own = exchange_of(self._orders).writes_own_reports(row.report.performer)
        for study in sorted(studies):
            try:
                await self._writer.write_missing(
                    row.report, study, exams=[exam.exam for exam in exams], own_sr=own
                )
            except NotFound:
                continue

    async def _watch_growth(self, changes: Sequence[Followed]) -> None:
        is_told = self._deliveries is not None and self._deliveries.notified
        if is_told or self._rules:
            await availability.follow(self._index, changes)

    async def _make_workitems(self, changes: Sequence[Followed]) -> None:
        """What happens becomes work where a rule says so."""
        if not self._rules:
            return
        subjects_of: dict[str, list[str]] = {}
        for kind, name in map(_subject, changes):
            subjects_of.setdefault(kind, []).append(name)
        await self._rules.studies_settled(subjects_of.get(availability.SETTLED, []))
        await self._rules.exams_changed({int(one) for one in subjects_of.get("exam", [])})
        await self._rules.findings_changed({int(one) for one in subjects_of.get("finding", [])})

    async def _delete_ended_workitems(self) -> None:
        await worklist.delete_ended(self._index, after_days=self._workitem_days)
        await worklist.forget_events(self._index, after_days=EVENT_DAYS)

    async def _clean_deleted(self) -> None:
        await deletion.clean(self._archive, after_days=self._deleted_days)

    async def _watch_images(self) -> None:
        await watching.raise_overdue(self._index)

    async def _recover_steps(self) -> None:
        await performed_steps.recover(self._index, self._orders)

    async def _watch_receivers(self) -> None:
        await watching.raise_undelivered(self._index)

    async def _watch_senders(self) -> None:
        await self._orders.exchange()
        await watching.raise_silent(self._index, exchange_of(self._orders).silences)


def configure(orders: Orders) -> None:
    """Let what the configuration of senders and receivers says be what orders go by."""
    orders.configure(
        delay_of=lambda performer: exchange_of(orders).delay_of(performer),
        router=lambda news: telling.entries(news, exchange_of(orders)),
        is_heard=lambda: bool(exchange_of(orders).receivers),
    )


def exchange_of(orders: Orders) -> Exchange:
    """The configuration of senders and receivers that this process last saw."""
    return exchanges.parse(orders.exchange_text)


def _subject(change: Followed) -> tuple[str, str]:
    kind, _, number = change.subject.partition("/")
    return kind, number
