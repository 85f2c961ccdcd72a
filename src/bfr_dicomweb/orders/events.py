"""What senders say: one event for each thing that a message tells of one exam.

All times are text in UTC of one width, ``2024-01-08T08:00:00.000000Z``, so that they sort.
Absent text is "". Everything here is a value: two events are the same exactly when their
`digest` is.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from bfr_dicomweb.orders import records
from bfr_dicomweb.orders.identifiers import Alias, Identifier


class Kind(StrEnum):
    RECEIVED = "received"
    BOOKED = "booked"
    REBOOKED = "rebooked"
    ARRIVED = "arrived"
    STARTED = "started"
    PERFORMED = "performed"
    REPORTED = "reported"  # with a report
    CANCEL_REQUESTED = "cancel-requested"
    CANCELLED = "cancelled"
    HELD = "held"
    RELEASED = "released"
    REFUSED = "refused"
    MOVED = "moved"
    WITHDRAWN = "entered-in-error"  # of the exam; a report's is a ReportStatus
    UPDATED = "updated"  # facts, and nothing of the status
    UNKNOWN = "unknown"  # a status code that the sender's mapping does not have


class ReportStatus(StrEnum):
    """As the sender says; whether a final one is an addendum follows from what came before."""

    REGISTERED = "registered"
    PARTIAL = "partial"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    ADDENDUM = "addendum"  # said to be one (MDM T06)
    CORRECTED = "corrected"
    CANCELLED = "cancelled"
    WITHDRAWN = "entered-in-error"
    PROMOTED = "promoted"  # OBX-11 U: the last preliminary version is final without being resent


@dataclass(frozen=True, slots=True)
class Coding:
    code: str = ""
    system: str = ""
    display: str = ""


@dataclass(frozen=True, slots=True)
class Party:
    """A person or a unit."""

    identifier: Identifier | None = None
    name: str = ""  # of a unit
    family: str = ""  # of a person
    given: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a message tells of an exam beside its status. Of two values the later one counts."""

    authored: str = ""  # when the order was placed
    procedure: Coding | None = None
    modality: str = ""
    station_name: str = ""
    station_ae_title: str = ""
    scheduled_start: str = ""
    scheduled_end: str = ""
    priority: str = ""  # FHIR: routine, urgent, asap, stat
    reason: str = ""
    clinical_information: str = ""
    requester: Party | None = None
    requesting_unit: Party | None = None
    performing_unit: Party | None = None
    status_reason: str = ""
    exam_start: str = ""
    status_reason_code: Coding | None = None
    location: str = ""  # of the station
    protocol: Coding | None = None
    performing_physician: Party | None = None  # who is to perform it
    referrer: Party | None = None
    admission: Identifier | None = None
    ward: str = ""  # where the patient is


@dataclass(frozen=True, slots=True)
class Section:
    code: Coding
    text: str
    status: ReportStatus = ReportStatus.FINAL


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document that came with a report. Its bytes are kept by their digest."""

    digest: str  # SHA-256, hexadecimal
    content_type: str
    title: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """One version of a report as one message has it."""

    status: ReportStatus
    sections: tuple[Section, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    signer: Party | None = None
    identifier: str = ""  # the filler's own number of the report
    parent: str = ""  # of the report that this one adds to or replaces
    sop_instance_uid: str = ""  # of the SR document that it was read from

    @property
    def text(self) -> str:
        return "\n\n".join(section.text for section in self.sections if section.text)


@dataclass(frozen=True, slots=True)
class Event:
    """What one message says of one exam.

    Attributes:
        time: When it happened; for a report when it got this status.
        source: The sender's name in our configuration, or its MSH-3 and MSH-4.
        performer: Key of who performs the exam, "" when the source does not know or is the placer.
        aliases: By what the exam is known here, at least one; GROUP names its order.
        codes: The codes as sent, by their field: ("ORC-1", "SC").
        claimed: The time as sent when that lay in the future, else "".
        may_regress: An undo that the sender is trusted with: it may lower the status.
        shared: Equal and not "" for the events by which one report was sent for several exams.
    """

    kind: Kind
    time: str
    source: str
    control_id: str
    aliases: tuple[Alias, ...]
    performer: str = ""
    codes: tuple[tuple[str, str], ...] = ()
    facts: Facts = Facts()
    report: Report | None = None
    claimed: str = ""
    may_regress: bool = False
    is_order: bool = False  # an order message, not only a status or a report of one
    shared: str = ""

    @property
    def digest(self) -> str:
        """Equal for repetitions. A report sent again under a new control id is a repetition."""
        return self.digest_of(records.dumps(self))

    def digest_of(self, body: bytes) -> str:
        """The same, for who has the body already: what `records.dumps` makes of this event."""
        if self.report is not None:
            # quotation marks within texts are escaped, so that this can only be the field itself
            named = b'"control_id":'
            body = body.replace(named + records.dumps(self.control_id), named + b'""', 1)
        return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class Demographics:
    family: str = ""
    given: str = ""
    birth_date: str = ""  # FHIR date: YYYY, YYYY-MM or YYYY-MM-DD
    gender: str = ""  # FHIR: male, female, other, unknown
    deceased: str = ""  # UTC time, or "true"
    address: str = ""
    security: str = ""  # code of a security label, e.g. sekretessmarkering


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """`identifiers` name one person, the most telling first; of two values the later one counts."""

    identifiers: tuple[Identifier, ...]
    time: str
    demographics: Demographics = Demographics()


@dataclass(frozen=True, slots=True)
class PatientLink:
    """Two records are (A40, A47) or are no longer (A37) of one person; the last word counts."""

    survivor: Identifier
    other: Identifier
    time: str
    merged: bool = True


@dataclass(frozen=True, slots=True)
class Notice:
    """What is odd in a message and concerns no status: a finding to raise. No patient data."""

    code: str
    detail: str
    severity: str = "moderate"  # FHIR: high, moderate, low


@dataclass(frozen=True, slots=True)
class Contents:
    """All that one message says."""

    patient: PatientFacts | None = None
    events: tuple[Event, ...] = ()
    links: tuple[PatientLink, ...] = ()
    notices: tuple[Notice, ...] = ()
    attachments: tuple[tuple[Attachment, bytes], ...] = ()
