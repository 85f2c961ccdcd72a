"""Provenance: one event of an exam, in the words of who told of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.errors import Gone
from bfr_dicomweb.fhir import codings, ids, places
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders.events import Event, Kind, ReportStatus
from bfr_dicomweb.orders.state import Status
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import EventRow, ExamRow, MessageHead, Page

_STATUS: Final[dict[Kind, Status]] = {
    Kind.RECEIVED: Status.RECEIVED,
    Kind.BOOKED: Status.BOOKED,
    Kind.REBOOKED: Status.BOOKED,
    Kind.ARRIVED: Status.ARRIVED,
    Kind.STARTED: Status.STARTED,
    Kind.PERFORMED: Status.PERFORMED,
    Kind.CANCELLED: Status.CANCELLED,
    Kind.REFUSED: Status.REFUSED,
    Kind.MOVED: Status.MOVED,
    Kind.WITHDRAWN: Status.ERROR,
    Kind.UNKNOWN: Status.UNKNOWN,
}
_REPORTED: Final[dict[ReportStatus, Status]] = {
    ReportStatus.PRELIMINARY: Status.PRELIMINARY,
    ReportStatus.PARTIAL: Status.PRELIMINARY,
    ReportStatus.FINAL: Status.SIGNED,
    ReportStatus.PROMOTED: Status.SIGNED,
    ReportStatus.ADDENDUM: Status.ADDENDUM,
    ReportStatus.CORRECTED: Status.CORRECTED,
    ReportStatus.WITHDRAWN: Status.ERROR,
}
# What happened to an exam without being a status of it.
_OTHER: Final[dict[Kind, tuple[str, str]]] = {
    Kind.CANCEL_REQUESTED: ("cancel-requested", "Avbokning begärd"),
    Kind.HELD: ("on-hold", "Pausad"),
    Kind.RELEASED: ("released", "Återupptagen"),
    Kind.UPDATED: ("updated", "Uppdaterad"),
    Kind.REPORTED: ("reported", "Svar"),
}
_AGENT: Final[dict[str, Element]] = {
    kind: {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                "code": kind,
            }
        ]
    }
    for kind in ("performer", "transmitter")
}


def build(row: EventRow, exams: Sequence[ExamRow], message: MessageHead | None) -> Resource:
    """`exams` tell which versions of their Tasks are current, and what a report made of them."""
    event = row.event
    exam = exams[0] if exams else None
    targets = [target for one in exams for target in _targets(one)]
    targets.append({"reference": f"ServiceRequest/{ids.ORDER}{row.order_id}"})
    targets.append({"reference": f"Patient/{ids.PATIENT}{row.patient_id}"})
    made: Resource = {
        "resourceType": "Provenance",
        "id": f"{ids.EVENT}{row.number}",
        "meta": codings.meta(row.number, row.recorded_us),
        "target": targets,
        "occurredDateTime": codings.time(row.moment),
        "recorded": codings.instant(row.recorded_us),
        "activity": _activity(row, exam),
        "agent": _agents(event),
    }
    if event.claimed:
        made["occurredDateTime"] = codings.time(event.claimed)
    if row.message:
        made["entity"] = [{"role": "source", "what": _what(row, message)}]
    return made


def _targets(exam: ExamRow) -> list[Element]:
    task = f"Task/{ids.EXAM}{exam.id}/_history/{exam.change}"
    return [{"reference": f"ServiceRequest/{ids.EXAM}{exam.id}"}, {"reference": task}]


def _activity(row: EventRow, exam: ExamRow | None) -> Element:
    event = row.event
    sent = codings.codes_as_text(event.codes)
    if event.kind is Kind.REPORTED:
        return _of_report(row, exam)
    if status := _STATUS.get(event.kind):
        told = codings.status_concept(status)
        if status is Status.UNKNOWN and sent:
            return {**told, "text": sent}
        return told
    code, display = _OTHER[event.kind]
    coding = {"system": codings.STATUS_REASON, "code": code, "display": display}
    return {"coding": [coding], "text": display}


def _of_report(row: EventRow, exam: ExamRow | None) -> Element:
    """That a final report is an addendum follows from what came before it: the exam's step says."""
    steps = () if exam is None else exam.exam.steps
    for step in steps:
        if step.digest == row.digest and step.status in _REPORTED.values():
            return codings.status_concept(step.status)
    report = row.event.report
    status = None if report is None else _REPORTED.get(report.status)
    if status is not None:
        return codings.status_concept(status)
    code, display = _OTHER[Kind.REPORTED]
    coding = {"system": codings.STATUS_REASON, "code": code, "display": display}
    return {"coding": [coding], "text": display}


def _agents(event: Event) -> list[Element]:
    """Who did it, and who told us when that is another or nobody is known to have done it."""
    agents = []
    unit = event.facts.performing_unit
    if unit is not None:
        agents.append({"type": _AGENT["performer"], "who": codings.party(unit, "Organization")})
    elif event.performer:
        agents.append({"type": _AGENT["performer"], "who": codings.named(event.performer)})
    if not agents or event.source != event.performer:
        agents.append({"type": _AGENT["transmitter"], "who": codings.named(event.source)})
    return agents


def _what(row: EventRow, message: MessageHead | None) -> Element:
    what: Element = {"reference": f"Binary/{ids.MESSAGE}{row.message}"}
    if message is not None:
        value = f"{message.sender}:{message.control_id}"
        what["identifier"] = {"system": codings.MESSAGE_CONTROL_ID, "value": value}
        if message.type:
            what["display"] = message.type
    return what


# --- where they come from --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Provenances:
    """One for each event that counts, by when it happened."""

    archive: Archive
    type: str = "Provenance"
    moment: str = "when"

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        rows = await self._named(narrowing)
        if rows is None:
            rows = await timeline.walk_events(
                self.archive.index,
                Page(limit, newest_first, after),
                patients=narrowing.patients,
            )
        exams, messages = await self._beside(rows)
        found = (
            Entry(
                row.moment,
                row.number,
                partial(build, row, exams[row.number], messages.get(row.message)),
            )
            for row in rows
        )
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        number = ids.number_of(id, ids.EVENT)
        rows = [] if number is None else await timeline.events(self.archive.index, [number])
        if not rows:
            return None
        if rows[0].superseded:
            raise Gone("the message was read anew: what it was taken to say counts no more")
        exams, messages = await self._beside(rows)
        row = rows[0]
        return build(row, exams[row.number], messages.get(row.message))

    async def history(self, id: str) -> Sequence[Resource]:
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)

    async def _named(self, narrowing: Narrowing) -> Sequence[EventRow] | None:
        index, references = self.archive.index, narrowing.references
        if narrowing.ids is not None:
            numbers = places.numbers(narrowing.ids, ids.EVENT)
            rows = await places.rows(timeline.events, index, numbers)
            return [row for row in rows if not row.superseded]
        if (targets := references.get("target")) is not None:
            orders = places.named(targets, "ServiceRequest", ids.ORDER) or set()
            exams = places.named(targets, "ServiceRequest", ids.EXAM) or set()
            exams |= places.named(targets, "Task", ids.EXAM) or set()
            of_orders = await places.rows(timeline.events_of_orders, index, orders)
            return [*of_orders, *await places.rows(timeline.events_of_exams, index, exams)]
        messages = places.named(references.get("entity"), "Binary", ids.MESSAGE)
        if messages is not None:
            return await places.rows(timeline.events_of_messages, index, messages)
        return None

    async def _beside(
        self, rows: Sequence[EventRow]
    ) -> tuple[dict[int, list[ExamRow]], dict[int, MessageHead]]:
        """By the number of an event the exams that it is said of; and the messages."""
        index = self.archive.index
        own = await places.rows(timeline.exams, index, {row.exam_id for row in rows if row.exam_id})
        orders = {row.order_id for row in rows if not row.exam_id}
        others = await places.rows(timeline.exams_of_orders, index, orders)
        heads = await places.rows(timeline.message_heads, index, {row.message for row in rows})
        by_id = {exam.id: [exam] for exam in own}
        exams = {row.number: by_id.get(row.exam_id) or _said_of(row, others) for row in rows}
        return exams, {head.number: head for head in heads}


def _said_of(row: EventRow, exams: Iterable[ExamRow]) -> list[ExamRow]:
    """The exams of which an event is a step, when it names several."""
    if row.exam_id:
        return []
    return [exam for exam in exams if any(step.digest == row.digest for step in exam.exam.steps)]
