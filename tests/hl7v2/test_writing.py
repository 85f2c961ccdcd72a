from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.hl7v2 import writing
from bfr_dicomweb.hl7v2.exchange import Receiver
from bfr_dicomweb.hl7v2.message import parse
from bfr_dicomweb.orders.events import (
    Attachment,
    Coding,
    Demographics,
    Event,
    Facts,
    Kind,
    Party,
    PatientFacts,
    ReportStatus,
    Section,
)
from bfr_dicomweb.orders.identifiers import (
    DICOM_UID,
    HSA_ID,
    PERSONNUMMER,
    Alias,
    AliasKind,
    Identifier,
)
from bfr_dicomweb.orders.state import Exam, ReportVersion, Status, Step
from hl7_read import read

TIME = "2024-01-10T08:15:00.000000Z"
AT = "2024-01-10T08:15:01.000000Z"
RECEIVER = Receiver("ehr", "mllp", application="EHR", facility="VGR")
LATIN = replace(RECEIVER, charset="8859/1")
PATIENT = PatientFacts(
    (Identifier(PERSONNUMMER, "191212121212"), Identifier("urn:oid:1.2.752.1.9", "R1")),
    TIME,
    Demographics("Sjöström", "Åsa", "1912-12-12", "female"),
)
GROUP = Alias(AliasKind.GROUP, "", "REM1001")
EXAM = Exam(
    aliases=(
        Alias(AliasKind.ACCESSION, "urn:oid:1.2.752.113.99.7", "SU24000123"),
        Alias(AliasKind.FILLER, "urn:oid:1.2.752.113.99.6", "F1"),
        Alias(AliasKind.PLACER, "urn:bfr:assigner:EHR%201", "REM1001-1"),
        Alias(AliasKind.PROCEDURE, "", "RP1"),
        Alias(AliasKind.STEP, "", "SPS1"),
        Alias(AliasKind.STUDY, DICOM_UID, "1.2.752.113.99.1.1"),
    ),
    status=Status.STARTED,
    steps=(),
    facts=Facts(
        procedure=Coding("83300", "urn:oid:1.2.752.116.1.3.2.1.4", "CT Thorax"),
        modality="CT",
        scheduled_start="2024-01-10T08:00:00.000000Z",
        priority="routine",
        requester=Party(Identifier(HSA_ID, "SE2321000131-P000000000001"), "", "Remittent", "Rut"),
        requesting_unit=Party(Identifier(HSA_ID, "SE2321000131-E000000000011"), "VC Hjällbo"),
    ),
)
OTHER = replace(EXAM, aliases=(Alias(AliasKind.FILLER, "", "F2"),))
SIGNER = Party(Identifier(HSA_ID, "SE1-P2"), "", "Läkare", "Lisa")


def a_step(kind: Kind, status: Status) -> Step:
    return Step(TIME, kind, status, "evidia", "SE1", (), "")


def a_version(
    *texts: str, status: str = "final", signer: Party | None = SIGNER, time: str = TIME
) -> ReportVersion:
    code = Coding("18782-3", "http://loinc.org", "Utlåtande")
    sections = tuple(
        Section(replace(code, code=f"{code.code}{place}"), text) for place, text in enumerate(texts)
    )
    return ReportVersion(time, status, sections, (), signer, ())


def status(step: Step, receiver: Receiver = RECEIVER) -> bytes:
    return writing.status_message(
        receiver, 7, at=AT, patient=PATIENT, exam=EXAM, step=step, group=GROUP
    )


def report(version: ReportVersion, receiver: Receiver = RECEIVER, cumulative: str = "") -> bytes:
    return writing.report_message(
        receiver,
        7,
        at=AT,
        patient=PATIENT,
        exams=[EXAM],
        version=version,
        group=GROUP,
        cumulative=cumulative,
    )


def read_back(data: bytes) -> Event:
    (event,) = read(data, "").events
    return event


STARTED = a_step(Kind.STARTED, Status.STARTED)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (a_step(Kind.RECEIVED, Status.RECEIVED), Kind.RECEIVED),
        (a_step(Kind.BOOKED, Status.BOOKED), Kind.BOOKED),
        (a_step(Kind.REBOOKED, Status.BOOKED), Kind.REBOOKED),
        (a_step(Kind.ARRIVED, Status.ARRIVED), Kind.BOOKED),
        (STARTED, Kind.STARTED),
        (a_step(Kind.PERFORMED, Status.PERFORMED), Kind.PERFORMED),
        (a_step(Kind.REPORTED, Status.PRELIMINARY), Kind.PERFORMED),
        (a_step(Kind.REPORTED, Status.SIGNED), Kind.PERFORMED),
        (a_step(Kind.CANCEL_REQUESTED, Status.BOOKED), Kind.CANCEL_REQUESTED),
        (a_step(Kind.CANCELLED, Status.CANCELLED), Kind.CANCELLED),
        (a_step(Kind.HELD, Status.BOOKED), Kind.HELD),
        (a_step(Kind.RELEASED, Status.BOOKED), Kind.RELEASED),
        (a_step(Kind.REFUSED, Status.REFUSED), Kind.REFUSED),
        (a_step(Kind.MOVED, Status.MOVED), Kind.MOVED),
        (a_step(Kind.WITHDRAWN, Status.ERROR), Kind.WITHDRAWN),
        (a_step(Kind.UPDATED, Status.BOOKED), Kind.UPDATED),
        (a_step(Kind.UNKNOWN, Status.BOOKED), Kind.UNKNOWN),
    ],
)
@pytest.mark.parametrize("sent_as", ["ORM^O01", "OMG^O19"])
def test_status_is_read_back(step: Step, kind: Kind, sent_as: str) -> None:
    assert read_back(status(step, replace(RECEIVER, format=sent_as))).kind is kind


def test_every_step_can_be_told() -> None:
    for kind in Kind:
        for state in Status:
            assert writing.codes_of(a_step(kind, state))


def test_time_is_read_back() -> None:
    assert read_back(status(STARTED)).time == TIME


def test_exam_is_read_back() -> None:
    unqualified = Alias(AliasKind.ACCESSION, "", "SU24000123")
    assert set(read_back(status(STARTED)).aliases) == {unqualified, GROUP, *EXAM.aliases[1:]}


def test_facts_are_read_back() -> None:
    facts = read_back(status(STARTED)).facts
    told = replace(facts, performing_unit=None)
    assert told == EXAM.facts


def test_patient_is_read_back() -> None:
    patient = read(status(STARTED), "").patient
    assert patient is not None
    assert (patient.identifiers, patient.demographics) == (
        PATIENT.identifiers,
        PATIENT.demographics,
    )


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.8"])
def test_every_version_is_read_back(version: str) -> None:
    assert read_back(status(STARTED, replace(RECEIVER, version=version))).kind is Kind.STARTED


def test_same_entry_makes_the_same_bytes() -> None:
    assert status(STARTED) == status(STARTED)


def test_control_id_is_that_of_the_entry() -> None:
    assert parse(status(STARTED)).control_id == "BFR7"


def test_message_is_addressed() -> None:
    assert parse(status(STARTED)).receiving_application.namespace == "EHR"


@pytest.mark.parametrize("receiver", [RECEIVER, LATIN])
def test_charset_is_that_of_the_receiver(receiver: Receiver) -> None:
    message = parse(status(STARTED, receiver))
    assert (message.charset.how, message.charset.declared) == ("declared", receiver.charset)


def test_characters_that_the_receiver_lacks_are_written_otherwise() -> None:
    text = "3 \N{EN DASH} 4 mm \N{GREATER-THAN OR EQUAL TO} \u0142 \u4e2d \u0107"
    sent = read_back(report(a_version(text), LATIN)).report
    assert sent is not None
    assert sent.text == "3 - 4 mm >= ? ? c"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("partial", ReportStatus.PARTIAL),
        ("preliminary", ReportStatus.PRELIMINARY),
        ("final", ReportStatus.FINAL),
        ("appended", ReportStatus.FINAL),
        ("amended", ReportStatus.CORRECTED),
        ("corrected", ReportStatus.CORRECTED),
        ("cancelled", ReportStatus.CANCELLED),
        ("entered-in-error", ReportStatus.WITHDRAWN),
    ],
)
def test_report_status_is_read_back(written: str, found: ReportStatus) -> None:
    sent = read_back(report(a_version("A", status=written))).report
    assert sent is not None
    assert sent.status is found


@pytest.mark.parametrize(
    ("written", "found"),
    [("cancelled", ReportStatus.CANCELLED), ("entered-in-error", ReportStatus.WITHDRAWN)],
)
def test_report_can_be_taken_back_without_its_text(written: str, found: ReportStatus) -> None:
    sent = read_back(report(a_version(status=written))).report
    assert sent is not None
    assert (sent.status, sent.sections) == (found, ())


def test_signer_is_read_back() -> None:
    sent = read_back(report(a_version("A"))).report
    assert sent is not None
    assert sent.signer == SIGNER


def test_all_versions_come_as_a_section_that_is_none_of_the_version() -> None:
    data = report(a_version("Tillägg"), cumulative="Tillägg\n\nUtlåtande")
    sent = read_back(data).report
    assert sent is not None
    assert ("Utlåtande".encode() in data, sent.text) == (True, "Tillägg")


def test_report_of_two_exams_is_read_back_for_both() -> None:
    data = writing.report_message(
        RECEIVER, 7, at=AT, patient=PATIENT, exams=[EXAM, OTHER], version=a_version("Both")
    )
    assert [event.report and event.report.text for event in read(data, "").events] == [
        "Both",
        "Both",
    ]


def test_document_is_read_back() -> None:
    pdf = b"%PDF-1.4"
    attachment = Attachment("0" * 64, "application/pdf", "Svar", len(pdf))
    data = writing.report_message(
        RECEIVER,
        7,
        at=AT,
        patient=PATIENT,
        exams=[EXAM],
        version=a_version("A"),
        documents=[(attachment, pdf)],
    )
    ((found, body),) = read(data, "").attachments
    assert (found.content_type, body) == ("application/pdf", pdf)


# What a text can hold; spaces around it are not kept, nor the kind of a line break.
LINE = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufeff"), min_size=1
)
TEXT = (
    st.lists(LINE, min_size=1, max_size=3)
    .map("\n".join)
    .filter(lambda text: text == text.strip() and bool(text))
)


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_whatever_is_written_in_a_report_is_read_back(texts: list[str]) -> None:
    sent = read_back(report(a_version(*texts))).report
    assert sent is not None
    assert [section.text for section in sent.sections] == texts


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20))
def test_whatever_a_patient_is_called_is_read_back(name: str) -> None:
    told = replace(PATIENT.demographics, family=f"A{name}B")
    data = writing.status_message(
        RECEIVER,
        7,
        at=AT,
        patient=replace(PATIENT, demographics=told),
        exam=EXAM,
        step=STARTED,
    )
    patient = read(data, "").patient
    assert patient is not None
    assert patient.demographics.family == f"A{name}B"


@given(st.integers(6_311_520_000_000, 17_672_256_000_000))
def test_every_moment_is_read_back(tenths_of_ms: int) -> None:
    moment = datetime.fromtimestamp(tenths_of_ms / 10_000, UTC)
    time = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 100:04d}00Z"
    step = replace(STARTED, time=time)
    assert read_back(status(step)).time == time
