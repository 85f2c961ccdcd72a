import pytest

import hl7_said as said
from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.orders.events import Kind, ReportStatus
from hl7_read import one_event, one_report, read

TEXT = said.obx(1, "TX", "18748-4^Utlåtande^LN", "Normalt hjärta.")


def a_document(
    trigger: str = "T02", fields: dict[int, str] | None = None, *segments: str, entered: str = ""
) -> bytes:
    head = said.msh(f"MDM^{trigger}", "D1", "20240110160000", sender=("RISEVIDIA", "EVIDIA"))
    txa = {2: "DI", 12: "DOC1", 14: "PL1", 16: "ACC1", 17: "AU", **(fields or {})}
    event = said.segment("EVN", {1: trigger, 2: entered})
    return said.message(head, event, said.pid(), *(segments or ()), said.segment("TXA", txa), TEXT)


@pytest.mark.parametrize(
    ("trigger", "completion", "status"),
    [
        ("T02", "AU", ReportStatus.FINAL),
        ("T02", "LA", ReportStatus.FINAL),
        ("T02", "DO", ReportStatus.PRELIMINARY),
        ("T02", "PA", ReportStatus.PRELIMINARY),
        ("T02", "IP", ReportStatus.PARTIAL),
        ("T02", "DI", ReportStatus.REGISTERED),
        ("T06", "AU", ReportStatus.ADDENDUM),
        ("T06", "DO", ReportStatus.PRELIMINARY),
        ("T08", "AU", ReportStatus.CORRECTED),
        ("T08", "DO", ReportStatus.PRELIMINARY),
        ("T10", "LA", ReportStatus.CORRECTED),
        ("T11", "AU", ReportStatus.WITHDRAWN),
    ],
)
def test_status_of_a_document(trigger: str, completion: str, status: ReportStatus) -> None:
    assert one_report(a_document(trigger, {17: completion})).status is status


def test_cancelled_availability_withdraws_it() -> None:
    assert one_report(a_document("T02", {19: "CA"})).status is ReportStatus.WITHDRAWN


def test_unmapped_completion_is_unknown() -> None:
    event = one_event(a_document("T02", {17: "ZZ"}))
    assert (event.kind, event.report) == (Kind.UNKNOWN, None)


def test_codes_are_kept() -> None:
    assert one_event(a_document()).codes == (("MSH-9", "MDM^T02"), ("TXA-17", "AU"))


def test_document_has_its_number_and_that_of_its_parent() -> None:
    report = one_report(a_document("T06", {12: "DOC2", 13: "DOC1"}))
    assert (report.identifier, report.parent) == ("DOC2", "DOC1")


def test_document_is_of_the_exam_that_its_numbers_name() -> None:
    event = one_event(a_document("T02", {15: "FI1"}))
    assert [(alias.kind.value, alias.value) for alias in event.aliases] == [
        ("accession", "ACC1"),
        ("filler", "FI1"),
        ("placer", "PL1"),
    ]


@pytest.mark.parametrize("name", ["report.pdf", "C:\\1", "a" * 17])
def test_name_of_a_file_is_no_accession_number(name: str) -> None:
    aliases = one_event(a_document("T02", {16: name})).aliases
    assert [alias.value for alias in aliases] == ["PL1"]


def test_orders_before_the_document_name_the_exams() -> None:
    orders = [said.segment("ORC", {1: "SC", 3: number}) for number in ("F1", "F2")]
    events = read(a_document("T02", {14: ""}, *orders)).events
    assert [event.aliases[0].value for event in events] == ["F1", "F2"]
    assert events[0].shared == events[1].shared != ""


@pytest.mark.parametrize(
    ("fields", "entered", "expected"),
    [
        ({22: "1^A^B" + "^" * 12 + "20240110130000"}, "", "2024-01-10T12:00:00.000000Z"),
        ({8: "20240110140000"}, "20240110150000", "2024-01-10T13:00:00.000000Z"),
        ({4: "20240109"}, "20240110150000", "2024-01-10T14:00:00.000000Z"),
        ({}, "", "2024-01-10T15:00:00.000000Z"),
    ],
)
def test_time_of_a_document(fields: dict[int, str], entered: str, expected: str) -> None:
    assert one_event(a_document("T02", fields, entered=entered)).time == expected


def test_cancellation_has_the_time_of_its_entry() -> None:
    fields = {22: "1^A^B" + "^" * 12 + "20240110130000"}
    event = one_event(a_document("T11", fields, entered="20240111090000"))
    assert event.time == "2024-01-11T08:00:00.000000Z"


def test_who_authenticated_it_is_the_signer() -> None:
    signer = one_report(a_document("T02", {9: "1^Skrivare^S", 22: "2^Signerare^T"})).signer
    assert signer is not None
    assert signer.family == "Signerare"


def test_message_without_a_document_is_an_error() -> None:
    data = said.message(said.msh("MDM^T02", "D1", "20240110160000"), said.pid(), TEXT)
    with pytest.raises(InvalidMessage, match="TXA"):
        read(data)


def test_document_without_contents_is_an_error() -> None:
    data = a_document().replace(TEXT.encode(), b"OBX|1|ED|1^A^LN||^application^pdf^Base64^")
    with pytest.raises(InvalidMessage) as caught:
        read(data)
    assert (caught.value.code, caught.value.segment, caught.value.field) == (101, "OBX", 5)


def test_withdrawal_needs_no_contents() -> None:
    data = a_document("T11").replace(TEXT.encode(), b"")
    assert one_report(data).status is ReportStatus.WITHDRAWN


@pytest.mark.parametrize("trigger", ["T01", "T03", "T05", "T07", "T09"])
def test_notification_without_a_document_is_rejected(trigger: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(a_document(trigger))
    assert (caught.value.code, caught.value.rejected) == (201, True)
