"""DocumentReference: the document of an order, and what came with reports."""

import pytest

from bfr_dicomweb.fhir import document_reference
from bfr_dicomweb.orders.events import Attachment, ReportStatus
from orders_said import a_report, m1, m2, m4, m5, m6, m7
from rows_said import Rows, a_patient

STORY = [*m1(), *m2(), *m4(), *m5(), *m6()]


def documents(events: list) -> list[dict]:  # type: ignore[type-arg]
    rows = Rows(events)
    return [
        document_reference.build(rows.order, a_patient(), version.number)
        for version in rows.order.order.documents
    ]


def test_an_order_from_placed_to_addendum_has_five_versions() -> None:
    assert [one["status"] for one in documents(STORY)] == ["superseded"] * 4 + ["current"]


def test_a_cancellation_makes_a_sixth() -> None:
    assert len(documents([*STORY, *m7()])) == 6


def test_a_version_replaces_the_one_before() -> None:
    second = documents(STORY)[1]

    assert second["relatesTo"] == [
        {"code": "replaces", "target": {"reference": "DocumentReference/d10-1"}}
    ]


def test_versions_are_numbered() -> None:
    numbers = [one["identifier"][1]["value"] for one in documents(STORY)]

    assert numbers == ["1", "2", "3", "4", "5"]


def test_versions_are_of_one_set_and_each_is_unique() -> None:
    found = documents(STORY)

    sets = {one["identifier"][0]["value"] for one in found}
    unique = {one["masterIdentifier"]["value"] for one in found}
    assert (sets, len(unique)) == ({"REM1001"}, 5)


def test_a_document_is_preliminary_until_the_report_is_signed() -> None:
    states = [one["docStatus"] for one in documents(STORY)]

    assert states == ["preliminary"] * 3 + ["final", "amended"]


def test_a_document_is_related_to_the_order_and_its_exams() -> None:
    related = documents(STORY)[0]["context"]["related"]

    assert [one["reference"] for one in related] == [
        "ServiceRequest/o10",
        "ServiceRequest/e11",
        "ServiceRequest/e12",
    ]


@pytest.mark.parametrize(
    ("later", "status"),
    [(ReportStatus.FINAL, "current"), (ReportStatus.CORRECTED, "superseded")],
    ids=["an addendum", "a correction"],
)
def test_a_received_document_counts_until_a_report_takes_its_place(
    later: ReportStatus, status: str
) -> None:
    pdf = Attachment("ab" * 32, "application/pdf")
    events = [
        a_report(of={"attachments": (pdf,)}),
        a_report("Mer text", "2024-01-12T08:00", later),
    ]
    (row,) = Rows(events).reports
    ((version, attachment),) = document_reference.received_in(row)

    built = document_reference.build_received(row, version, attachment, [10])

    assert built["status"] == status
