"""DiagnosticReport: a report in its versions."""

from base64 import b64decode
from typing import Any

import pytest

from bfr_dicomweb.fhir import diagnostic_report
from bfr_dicomweb.orders.events import Attachment, Coding, Event, ReportStatus, Section
from bfr_dicomweb.services.timeline import StudyLink
from orders_said import SIGNER, a_report, m1, m4, m5, m6
from rows_said import Rows

TOLD = [*m1(), *m4(), *m5(), *m6()]


def built(events: list[Event], **others: Any) -> dict[str, Any]:
    rows = Rows(events, **others)
    (report,) = rows.reports
    return diagnostic_report.build(report, rows.answered(report))


def text_of(resource: dict[str, Any], place: int = 0) -> str:
    return b64decode(resource["presentedForm"][place]["data"]).decode()


@pytest.mark.parametrize("events", [TOLD, TOLD[::-1]], ids=["in order", "addendum first"])
def test_the_addendum_is_read_first_and_the_report_with_it(events: list[Event]) -> None:
    report = built(events)

    text = text_of(report)
    assert (report["status"], text.startswith("Tilläggssvar"), "Utlåtande" in text) == (
        "appended",
        True,
        True,
    )


def test_an_earlier_version_shows_what_was_known_then() -> None:
    rows = Rows(TOLD)

    first = diagnostic_report.version_of(rows.reports[0], rows.exams[:1], 1, 0)

    assert (first["status"], first["meta"]["versionId"], "Tillägg" in text_of(first)) == (
        "final",
        "1.71",
        False,
    )


def test_all_versions_have_one_identifier() -> None:
    rows = Rows(TOLD)
    versions = [
        diagnostic_report.version_of(rows.reports[0], rows.exams[:1], ordinal, 0)
        for ordinal in (1, 2)
    ]

    assert versions[0]["identifier"] == versions[1]["identifier"]


def test_a_report_is_based_on_the_exam_it_answers() -> None:
    assert built(TOLD)["basedOn"] == [{"reference": "ServiceRequest/e11"}]


def test_a_report_names_the_studies_of_its_exam() -> None:
    links = {0: (StudyLink("1.2.3", 3, 1), StudyLink("1.2.4", 0, 1))}

    assert built(TOLD, studies=links)["imagingStudy"] == [{"reference": "ImagingStudy/s3"}]


def test_a_report_without_images_names_the_study_that_is_awaited() -> None:
    assert built(TOLD)["imagingStudy"] == [{"reference": "ImagingStudy/w11"}]


def test_a_report_is_issued_when_its_last_version_was() -> None:
    assert built(TOLD)["issued"] == "2024-01-11T09:00:00Z"


def test_a_report_is_of_when_the_exam_was_performed() -> None:
    assert built(TOLD)["effectiveDateTime"] == "2024-01-10T08:30:00Z"


def test_who_signed_is_named() -> None:
    report = built([a_report(of={"signer": SIGNER})])

    assert report["resultsInterpreter"] == [{"display": "Lena Läkare"}]


def test_html_has_no_markup_of_the_sender() -> None:
    html = text_of(built([a_report("<script>alert(1)</script> & så")]), 1)

    assert ("<script" in html, "&lt;script&gt;" in html) == (False, True)


def test_an_attached_document_is_referred_to() -> None:
    pdf = Attachment("ab" * 32, "application/pdf", "Svar.pdf", 4)

    form = built([a_report(of={"attachments": (pdf,)})])["presentedForm"][2]

    assert form == {
        "contentType": "application/pdf",
        "url": f"Binary/x{'ab' * 24}",
        "size": 4,
        "title": "Svar.pdf",
    }


def test_the_impression_is_the_conclusion() -> None:
    sections = (
        Section(Coding("18782-3"), "Lungor: u.a."),
        Section(Coding("19005-8"), "Inget avvikande."),
    )

    assert built([a_report(of={"sections": sections})])["conclusion"] == "Inget avvikande."


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (ReportStatus.PRELIMINARY, "preliminary"),
        (ReportStatus.PARTIAL, "partial"),
        (ReportStatus.FINAL, "final"),
        (ReportStatus.WITHDRAWN, "entered-in-error"),
    ],
)
def test_the_status_is_that_of_the_last_version(status: ReportStatus, told: str) -> None:
    assert built([a_report(status=status)])["status"] == told
