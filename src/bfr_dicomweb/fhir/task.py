"""Task: what has become of an exam at its performer, one for each exam."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.fhir import codings, ids, moved, places, service_request
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders.events import Kind
from bfr_dicomweb.orders.identifiers import AliasKind
from bfr_dicomweb.orders.state import COARSE, Coarse, Exam, Status
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.order_history import order_history
from bfr_dicomweb.services.timeline import ExamRow, Page

STATUS: Final[dict[Status, str]] = {
    Status.UNKNOWN: "requested",
    Status.RECEIVED: "received",
    Status.BOOKED: "accepted",
    Status.ARRIVED: "ready",
    Status.STARTED: "in-progress",
    Status.PERFORMED: "in-progress",
    Status.PRELIMINARY: "in-progress",
    Status.SIGNED: "completed",
    Status.ADDENDUM: "completed",
    Status.CORRECTED: "completed",
    Status.CANCELLED: "cancelled",
    Status.MOVED: "cancelled",
    Status.REFUSED: "rejected",
    Status.ERROR: "entered-in-error",
}
FULFILL: Final[Element] = {
    "coding": [
        {
            "system": "http://hl7.org/fhir/CodeSystem/task-code",
            "code": "fulfill",
            "display": "Fulfill the focal request",
        }
    ]
}
_CANCEL_REQUESTED: Final[Element] = {
    "coding": [
        {
            "system": codings.STATUS_REASON,
            "code": "cancel-requested",
            "display": "Avbokning begärd",
        }
    ],
    "text": "Avbokning begärd",
}


def build(row: ExamRow) -> Resource:
    exam = row.exam
    made: Resource = {
        "resourceType": "Task",
        "id": f"{ids.EXAM}{row.id}",
        "meta": codings.meta(row.change, row.changed_us),
        "basedOn": [{"reference": f"ServiceRequest/{ids.ORDER}{row.order_id}"}],
        "status": "on-hold" if codings.is_held(exam) else STATUS[exam.status],
        "businessStatus": codings.exam_status(exam),
        "intent": "order",
        "code": FULFILL,
        "focus": {"reference": f"ServiceRequest/{ids.EXAM}{row.id}"},
        "for": {"reference": f"Patient/{ids.PATIENT}{row.patient_id}"},
    }
    if accessions := [
        codings.identifier(alias.identifier, alias.kind)
        for alias in exam.aliases
        if alias.kind is AliasKind.ACCESSION
    ]:
        made["identifier"] = accessions
    if reason := _reason(exam):
        made["statusReason"] = reason
    if exam.facts.priority:
        made["priority"] = exam.facts.priority
    if exam.facts.procedure is not None:
        made["description"] = exam.facts.procedure.display or exam.facts.procedure.code
    if period := _period(exam):
        made["executionPeriod"] = period
    if exam.facts.authored:
        made["authoredOn"] = codings.time(exam.facts.authored)
    if exam.modified:
        made["lastModified"] = codings.time(exam.modified)
    if requester := codings.requester(exam.facts):
        made["requester"] = requester
    if owner := service_request.performer_of(row):
        made["owner"] = owner
    return made


def _reason(exam: Exam) -> Element | None:
    if exam.cancel_requested and exam.status not in (Status.CANCELLED, Status.MOVED):
        return _CANCEL_REQUESTED
    said, code = exam.facts.status_reason, exam.facts.status_reason_code
    if code is not None and code.code and (code.display or code.code) in said:
        return codings.concept(code) | {"text": said}
    return {"text": said} if said else None


def _period(exam: Exam) -> Element:
    started = exam.facts.exam_start or next(
        (step.time for step in exam.steps if step.kind is Kind.STARTED), ""
    )
    period: Element = {}
    if started:
        period["start"] = codings.time(started)
    if exam.performed and exam.performed >= started:
        period["end"] = codings.time(exam.performed)
    return period


# --- where they come from --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tasks:
    """One for each exam, by when its status was last changed."""

    archive: Archive
    type: str = "Task"
    moment: str = "modified"

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
            rows = await timeline.walk_exams(
                self.archive.index,
                Page(limit, newest_first, after),
                patients=narrowing.patients,
                statuses=statuses_of(narrowing.tokens),
            )
        found = (Entry(row.moment, row.id, partial(build, row)) for row in rows)
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        if (number := ids.number_of(id, ids.EXAM)) is None:
            return None
        rows = await timeline.exams(self.archive.index, [number])
        if not rows:
            await moved.refuse(self.archive, self.type, ids.EXAM, number)
        return build(rows[0]) if rows else None

    async def history(self, id: str) -> Sequence[Resource]:
        """In the order of arrival; by when things happened see Provenance."""
        index = self.archive.index
        number = ids.number_of(id, ids.EXAM)
        exams = [] if number is None else await timeline.exams(index, [number])
        versions = await order_history(index, exams[0].order_id) if exams else []
        return places.versions(
            build(exam) for version in versions for exam in version.exams if exam.id == number
        )

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.version_in(await self.history(id), version)

    async def _named(self, narrowing: Narrowing) -> Sequence[ExamRow] | None:
        index, references = self.archive.index, narrowing.references
        if narrowing.ids is not None:
            return await timeline.exams(index, places.numbers(narrowing.ids, ids.EXAM))
        if (focus := places.named(references.get("focus"), _REQUEST, ids.EXAM)) is not None:
            return await timeline.exams(index, focus)
        if (orders := places.named(references.get("based-on"), _REQUEST, ids.ORDER)) is not None:
            return await timeline.exams_of_orders(index, orders)
        if narrowing.identifiers is not None:
            known = codings.identifiers_of(narrowing.identifiers)
            return await timeline.exams_identified(index, known)
        return None


_REQUEST: Final = "ServiceRequest"
_BY_CODE: Final[dict[str, frozenset[str]]] = {
    code: frozenset(
        status.value for status in Status if code in (status.value, COARSE[status] or "")
    )
    for code in (*(status.value for status in Status), *(coarse.value for coarse in Coarse))
}
_BY_TASK_STATUS: Final[dict[str, frozenset[str]]] = {
    code: frozenset(status.value for status, told in STATUS.items() if told == code)
    for code in STATUS.values()
}


def statuses_of(tokens: Mapping[str, frozenset[str]]) -> frozenset[str] | None:
    """The statuses of exams that can have such a Task; None when they cannot be told."""
    chosen: frozenset[str] | None = None
    for name, table in (("business-status", _BY_CODE), ("status", _BY_TASK_STATUS)):
        codes = tokens.get(name)
        # what is on hold can have any status
        if codes is None or not codes <= table.keys():
            continue
        found = frozenset().union(*(table[code] for code in codes))
        chosen = found if chosen is None else chosen & found
    return chosen
