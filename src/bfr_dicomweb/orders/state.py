"""What follows from all events of an order: its exams, their statuses, the reports.

The catalogue keeps these as documents (`records`), from which FHIR resources are made.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bfr_dicomweb.orders.events import Attachment, Facts, Kind, Party, ReportStatus, Section
from bfr_dicomweb.orders.identifiers import Alias


class Status(StrEnum):
    """Of an exam, and of an order the least of its exams'."""

    UNKNOWN = "unknown"  # nothing but unmapped codes so far
    RECEIVED = "received"
    BOOKED = "booked"
    ARRIVED = "arrived"
    STARTED = "started"
    PERFORMED = "performed"
    PRELIMINARY = "preliminary"
    SIGNED = "signed"
    ADDENDUM = "addendum"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"
    MOVED = "moved"
    REFUSED = "refused"
    ERROR = "error"  # entered in error


class Coarse(StrEnum):
    """The five statuses that BFR shows."""

    RECEIVED = "mottagen"
    BOOKED = "bokad"
    PERFORMED = "genomförd"
    SIGNED = "signerad"
    CANCELLED = "avbruten"


COARSE: Final[dict[Status, Coarse | None]] = {
    Status.UNKNOWN: None,
    Status.RECEIVED: Coarse.RECEIVED,
    Status.BOOKED: Coarse.BOOKED,
    Status.ARRIVED: Coarse.BOOKED,
    Status.STARTED: Coarse.BOOKED,
    Status.PERFORMED: Coarse.PERFORMED,
    Status.PRELIMINARY: Coarse.PERFORMED,
    Status.SIGNED: Coarse.SIGNED,
    Status.ADDENDUM: Coarse.SIGNED,
    Status.CORRECTED: Coarse.SIGNED,
    Status.CANCELLED: Coarse.CANCELLED,
    Status.MOVED: Coarse.CANCELLED,
    Status.REFUSED: None,
    Status.ERROR: None,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One event in the life of an exam, in the order of event times.

    Attributes:
        status: Of the exam after it.
        digest: Of the event.
    """

    time: str
    kind: Kind
    status: Status
    source: str
    performer: str
    codes: tuple[tuple[str, str], ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Exam:
    """Attributes:
    aliases: All that it is known by, sorted; without the group.
    modified: Time of the last event that changed its status.
    studies: Study Instance UIDs that order or report name.
    ordered: An order for it is known.
    """

    aliases: tuple[Alias, ...]
    status: Status
    steps: tuple[Step, ...]
    facts: Facts
    performer: str = ""
    modified: str = ""
    held: bool = False
    cancel_requested: bool = False
    ordered: bool = True
    performed: str = ""  # when it was first performed; "" when it was not
    signed: str = ""  # when its report was first signed

    def values(self, kind: str) -> tuple[str, ...]:
        return tuple(alias.value for alias in self.aliases if alias.kind == kind)


@dataclass(frozen=True, slots=True)
class ReportVersion:
    """Attributes:
    status: FHIR's DiagnosticReport.status when this was the last version.
    digests: Of the events that carried it: several renditions of one version are one version.
    is_addition: It adds to an earlier version instead of replacing it.
    kind: What it is in itself, whatever the report's status: an addendum, a preliminary one.
    """

    time: str
    status: str
    sections: tuple[Section, ...]
    attachments: tuple[Attachment, ...]
    signer: Party | None
    digests: tuple[str, ...]
    sources: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    is_addition: bool = False
    kind: ReportStatus = ReportStatus.FINAL

    @property
    def text(self) -> str:
        return "\n\n".join(section.text for section in self.sections if section.text)


@dataclass(frozen=True, slots=True)
class Report:
    """Versions are in the order of their times; the last one is the current one.

    Attributes:
        key: What tells it from the other reports of the same patient.
        exams: Places in `Folded.exams` of the exams it answers, ascending.
    """

    key: str
    identifier: str  # the filler's number, else the accession number
    performer: str
    status: str
    versions: tuple[ReportVersion, ...]
    exams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """One version of the document that follows an order (`BFR` rewrites it at each status).

    Attributes:
        steps: How many of `Order.milestones` it tells of.
        status: FHIR docStatus: preliminary, final, amended.
    """

    number: int
    time: str
    steps: int
    status: str


@dataclass(frozen=True, slots=True)
class Milestone:
    """A line of the document: an exam came to one of the five statuses, or got a report."""

    time: str
    exam: int  # place in `Folded.exams`
    status: Status
    digest: str


@dataclass(frozen=True, slots=True)
class Order:
    """Attributes:
    key: Its group number, else the placer number, else what its only exam is known by.
    exams: Places in `Folded.exams`, ascending.
    """

    key: Alias
    status: Status
    authored: str
    modified: str
    facts: Facts  # of the order as a whole: of its first exam
    exams: tuple[int, ...]
    milestones: tuple[Milestone, ...] = ()
    documents: tuple[DocumentVersion, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person has to look at, as long as it follows from the events.

    Attributes:
        subject: What it is about, an alias as ``kind|system|value``, stable between folds.
    """

    code: str
    severity: str
    subject: str
    detail: str
    exam: int | None = None
    time: str = ""


@dataclass(frozen=True, slots=True)
class Folded:
    """What a set of events of one patient comes to; equal for equal sets."""

    orders: tuple[Order, ...]
    exams: tuple[Exam, ...]
    reports: tuple[Report, ...]
    findings: tuple[Finding, ...]
