"""What receivers are told of: news of exams and reports, kept in the outbox as what happened.

The message itself is made when it goes out, so that a receiver that is configured anew gets what
it can read; the same entry gives the same control id, so that a repetition is recognised.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.hl7v2 import writing
from bfr_dicomweb.hl7v2.exchange import Exchange, Receiver
from bfr_dicomweb.orders import composing, records
from bfr_dicomweb.orders.events import Party, PatientFacts
from bfr_dicomweb.orders.identifiers import Alias, AliasKind
from bfr_dicomweb.orders.state import Exam, Order, ReportVersion, Step
from bfr_dicomweb.services.dispatching import Entry
from bfr_dicomweb.services.orders import ChangedExam, ChangedReport, News, Patient

KIND: Final = "hl7v2"
STATUS: Final = "status"
REPORT: Final = "report"


@dataclass(frozen=True, slots=True)
class Told:
    """One message to come: of an exam's step, or of a version of a report.

    Attributes:
        cumulative: The whole text of the report up to this version.
    """

    at: str
    patient: PatientFacts
    exams: tuple[Exam, ...]
    group: Alias | None = None
    step: Step | None = None
    version: ReportVersion | None = None
    cumulative: str = ""


def entries(news: News, exchange: Exchange) -> Iterable[tuple[str, str, bytes]]:
    """Receiver, kind and payload of the outbox entries that the news makes."""
    if not exchange.receivers:
        return
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if news.exam is not None:
        told, sources = _of_exam(news.exam, news.patient, at)
        yield from _addressed(exchange, STATUS, told, sources)
    if news.report is not None:
        for told, sources in _of_report(news.report, news.patient, at):
            yield from _addressed(exchange, REPORT, told, sources)


def message(entry: Entry, receiver: Receiver) -> bytes:
    """The message of an outbox entry as this receiver wants it."""
    told = records.loads(Told, entry.payload)
    if told.step is not None:
        return writing.status_message(
            receiver,
            entry.number,
            at=told.at,
            patient=told.patient,
            exam=told.exams[0],
            step=told.step,
            group=told.group,
        )
    if told.version is None:
        raise InvalidRequest("the entry of the outbox tells nothing")
    return writing.report_message(
        receiver,
        entry.number,
        at=told.at,
        patient=told.patient,
        exams=told.exams,
        version=told.version,
        group=told.group,
        cumulative=told.cumulative,
    )


def _of_exam(changed: ChangedExam, patient: Patient, at: str) -> tuple[Told, tuple[str, ...]]:
    step = _step(changed.exam)
    group = _group(changed.order)
    return Told(at, _patient(patient), (changed.exam,), group, step=step), (step.source,)


def _of_report(
    changed: ChangedReport, patient: Patient, at: str
) -> Iterable[tuple[Told, tuple[str, ...]]]:
    """Each version that is new; when a late one came in between, those after it anew."""
    report = changed.report
    exams = tuple(exam for _, exam in changed.exams)
    first = min(changed.versions_before, len(report.versions) - 1)
    for ordinal in range(first, len(report.versions)):
        version = report.versions[ordinal]
        upto = replace(report, versions=report.versions[: ordinal + 1])
        text = composing.report_text(upto)
        told = Told(at, _patient(patient), exams, version=version, cumulative=text)
        yield told, version.sources


def _addressed(
    exchange: Exchange, what: str, told: Told, sources: Sequence[str]
) -> Iterable[tuple[str, str, bytes]]:
    exam = told.exams[-1]
    payload = records.dumps(told)
    for receiver in exchange.receivers:
        if receiver.takes(
            what,
            sources=sources,
            requester=_identifier(exam.facts.requesting_unit),
            performer=exam.performer,
        ):
            yield receiver.name, KIND, payload


def _step(exam: Exam) -> Step:
    """That by which the exam came to its status."""
    before = [None, *(step.status for step in exam.steps)]
    for step, previous in reversed(list(zip(exam.steps, before, strict=False))):
        if step.status == exam.status != previous:
            return step
    return exam.steps[-1]


def _group(order: Order) -> Alias | None:
    return order.key if order.key.kind == AliasKind.GROUP else None


def _patient(patient: Patient) -> PatientFacts:
    return PatientFacts(patient.identifiers, "", patient.demographics)


def _identifier(party: Party | None) -> str:
    return party.identifier.value if party is not None and party.identifier is not None else ""
