"""Reports and their versions."""

from typing import Any

import pytest

from bfr_dicomweb.orders import composing
from bfr_dicomweb.orders.events import Attachment, Coding, Event, ReportStatus, Section
from bfr_dicomweb.orders.fold import fold
from bfr_dicomweb.orders.state import Report, Status
from orders_said import ABDOMEN, SIGNER, THORAX, a_report, an_event, m1_to_m7, m4, m5, m6, utc

PDF = Attachment("ab" * 32, "application/pdf")


def the_report(*events: Event) -> Report:
    (report,) = fold(events).reports
    return report


def versions(*events: Event) -> list[str]:
    return [version.kind.value for version in the_report(*events).versions]


def test_a_report_sent_again_has_one_version() -> None:
    assert versions(*m5(), a_report(at="2024-01-10T14:00", control_id="AGAIN")) == ["final"]


def test_the_same_text_at_another_time_is_the_same_version() -> None:
    assert versions(*m5(), a_report("Utlåtande:  u.a.\n", "2024-01-10T15:30")) == ["final"]


def test_an_sr_of_the_same_text_is_a_rendition() -> None:
    sr = a_report(at="2024-01-10T14:01", of={"sop_instance_uid": "1.2.3"}, performer="")

    (version,) = the_report(*m5(), sr).versions
    assert (len(version.digests), version.sop_instance_uids) == (2, ("1.2.3",))


def test_a_document_with_another_number_and_the_same_text_is_of_the_same_report() -> None:
    numbered = a_report(of={"identifier": "F1"})
    document = a_report(of={"identifier": "DOC7", "attachments": (PDF,)})

    assert versions(numbered, document) == ["final"]


def test_a_document_without_text_is_of_what_was_signed_at_its_time() -> None:
    document = a_report("", "2024-01-10T14:00", of={"attachments": (PDF,)})

    (version,) = the_report(*m5(), document).versions
    assert (version.text, version.attachments) == ("Utlåtande: u.a.", (PDF,))


def test_a_bare_status_makes_no_version_beside_a_text() -> None:
    assert versions(*m5(), a_report("", "2024-01-10T14:05")) == ["final"]


def test_a_bare_status_that_comes_first_makes_no_addendum_of_the_text() -> None:
    assert the_report(a_report("", "2024-01-10T13:00"), *m5()).status == "final"


def test_a_preliminary_report_becomes_final_without_being_sent_again() -> None:
    preliminary = a_report("Text", "2024-01-10T13:00", "preliminary")
    promoted = a_report("", "2024-01-10T14:00", "promoted")

    report = the_report(preliminary, promoted)
    assert (report.status, report.versions[-1].text) == ("final", "Text")


def test_a_second_signed_report_is_an_addendum() -> None:
    assert versions(*m5(), *m6()) == ["final", "addendum"]


def test_an_addendum_that_arrived_alone_is_final() -> None:
    assert the_report(*m6()).status == "final"


def test_a_corrected_report_is_corrected() -> None:
    report = the_report(*m5(), a_report("Rätt text", "2024-01-11T08:00", "corrected"))

    assert report.status == "corrected"


def test_an_sr_of_a_corrected_report_is_its_rendition() -> None:
    corrected = a_report("Rätt text", "2024-01-11T08:00", "corrected")
    sr = a_report("Rätt text", "2024-01-11T08:00", of={"sop_instance_uid": "1.2.3"})

    assert versions(*m5(), corrected, sr) == ["final", "corrected"]


def test_an_addition_to_a_corrected_report_is_appended() -> None:
    corrected = a_report("Rätt text", "2024-01-11T08:00", "corrected")

    assert the_report(*m5(), corrected, a_report("Mer", "2024-01-12T08:00")).status == "appended"


def test_a_report_signed_again_after_its_withdrawal_is_final() -> None:
    withdrawn = a_report("", "2024-01-11T08:00", "entered-in-error")

    assert the_report(*m5(), withdrawn, a_report(at="2024-01-12T08:00")).status == "final"


def test_a_preliminary_report_that_is_cancelled_is_cancelled() -> None:
    preliminary = a_report("Text", "2024-01-10T13:00", "preliminary")

    assert the_report(preliminary, a_report("", status="cancelled")).status == "cancelled"


def test_preliminary_and_final_of_one_minute_follow_each_other() -> None:
    assert versions(a_report("A", status="final"), a_report("B", status="preliminary")) == [
        "preliminary",
        "final",
    ]


def test_reports_of_two_readers_are_two_reports() -> None:
    folded = fold([*m5(), a_report("Annan text", performer="unilabs")])

    assert [report.performer for report in folded.reports] == ["evidia", "unilabs"]


def test_reports_with_two_numbers_are_two_reports() -> None:
    one, other = a_report("A", of={"identifier": "1"}), a_report("B", of={"identifier": "2"})

    assert [report.identifier for report in fold([one, other]).reports] == ["1", "2"]


def test_a_report_that_names_its_parent_is_of_the_same_report() -> None:
    one = a_report("A", of={"identifier": "1"})
    other = a_report("B", "2024-01-11T08:00", of={"identifier": "2", "parent": "1"})

    assert (the_report(one, other).identifier, versions(one, other)) == ("1", ["final", "addendum"])


def test_a_report_without_number_is_known_by_the_accession_number() -> None:
    assert the_report(*m5()).identifier == THORAX


def test_the_key_of_a_report_stays_when_another_rendition_comes() -> None:
    document = a_report(of={"identifier": "DOC7"})

    assert the_report(*m5(), document).key == the_report(*m5()).key


def a_shared_report(**said: Any) -> list[Event]:
    return [a_report(accession=exam, shared="M5", **said) for exam in (THORAX, ABDOMEN)]


def test_a_report_of_two_exams_is_one_report() -> None:
    assert the_report(*a_shared_report()).exams == (0, 1)


def test_a_report_of_two_exams_has_one_version() -> None:
    assert versions(*a_shared_report()) == ["final"]


def test_an_addendum_that_names_one_exam_of_a_shared_report_is_of_both() -> None:
    folded = fold([*a_shared_report(), a_report("Mer", "2024-01-11T08:00")])

    assert [exam.status for exam in folded.exams] == [Status.ADDENDUM, Status.ADDENDUM]


# As text


def text_of(*events: Event) -> str:
    return composing.report_text(the_report(*events))


def test_the_newest_comes_first_and_keeps_the_heads_of_its_sender() -> None:
    assert text_of(*m5(), *m6()) == (
        "Tilläggssvar: 4 mm nodulus.\n2024-01-11 10:00\n\nUtlåtande: u.a.\n2024-01-10 15:00"
    )


def test_a_text_without_head_gets_one_with_time_and_signer() -> None:
    assert text_of(a_report("U.a.", of={"signer": SIGNER})) == (
        "Utlåtande 2024-01-10 16:00, Lena Läkare\nU.a."
    )


def test_a_word_that_begins_like_a_head_is_no_head() -> None:
    assert text_of(a_report("Utlåtandet saknas")).startswith("Utlåtande 2024-01-10 16:00\n")


def test_a_correction_is_called_one() -> None:
    corrected = a_report("Rätt", "2024-07-11T08:00", "corrected")

    assert text_of(*m5(), corrected).startswith("Rättat svar 2024-07-11 10:00\nRätt\n\nUtlåtande")


def test_a_preliminary_report_gives_way_to_the_signed_one() -> None:
    preliminary = a_report("Kanske", "2024-01-10T13:00", "preliminary")

    assert "Kanske" not in text_of(preliminary, *m5())


def test_a_preliminary_report_after_the_signed_one_comes_last() -> None:
    stray = a_report("Kanske", "2024-01-12T08:00", "preliminary")

    assert text_of(*m5(), stray).endswith("\n\nPreliminärt svar 2024-01-12 09:00\nKanske")


def test_a_withdrawn_report_says_that_and_not_what_it_said() -> None:
    withdrawn = a_report("", "2024-01-11T08:00", "entered-in-error")

    assert text_of(*m5(), withdrawn) == (
        "Återkallat svar 2024-01-11 09:00\nSvaret har återkallats."
    )


def test_a_withdrawn_section_is_left_out() -> None:
    sections = (
        Section(Coding(), "Kvar"),
        Section(Coding(), "Borta", ReportStatus.WITHDRAWN),
    )

    assert "Borta" not in text_of(a_report(of={"sections": sections}))


def test_a_report_without_text_refers_to_its_document() -> None:
    assert text_of(a_report("", of={"attachments": (PDF,)})).endswith("Se bifogat dokument.")


def test_html_is_escaped() -> None:
    assert "&lt;b&gt; &amp;" in composing.report_html(the_report(a_report("<b> &")))


def test_html_has_the_versions_in_the_order_of_the_text() -> None:
    html = composing.report_html(the_report(*m5(), *m6()))

    assert html.index("Tilläggssvar") < html.index("Utlåtande")


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_line(status: Status) -> None:
    line = composing.status_line(utc("2024-01-08T09:00"), status)

    assert line.startswith("2024-01-08 10:00 ")


def test_a_booked_exam_reads_so() -> None:
    assert composing.status_line(utc("2024-07-08T08:00"), Status.BOOKED) == "2024-07-08 10:00 Bokad"


# The document of an order


def test_the_document_has_a_version_for_each_status_that_is_shown() -> None:
    (order,) = fold(m1_to_m7()[:-1]).orders

    assert [document.number for document in order.documents] == [1, 2, 3, 4, 5]


def test_a_cancellation_is_a_version_at_its_own_time() -> None:
    (order,) = fold(m1_to_m7()).orders

    assert [(d.number, d.status) for d in order.documents if d.time == utc("2024-01-10T11:00")] == [
        (4, "preliminary")
    ]


def test_the_document_is_final_when_signed_and_amended_after() -> None:
    (order,) = fold(m1_to_m7()).orders

    assert [document.status for document in order.documents][-3:] == [
        "preliminary",
        "final",
        "amended",
    ]


def test_the_last_document_tells_all_milestones() -> None:
    (order,) = fold(m1_to_m7()).orders

    assert order.documents[-1].steps == len(order.milestones)


def test_milestones_of_one_exam_are_those_that_its_users_know() -> None:
    (order,) = fold(m1_to_m7()).orders

    assert [line.status.value for line in order.milestones if line.exam == 0] == [
        "received",
        "booked",
        "performed",
        "signed",
        "addendum",
    ]


def test_a_rendition_is_no_milestone() -> None:
    rendition = a_report(at="2024-01-10T14:05", of={"sop_instance_uid": "1.2.3"})

    (order,) = fold([*m4(), *m5(), rendition]).orders
    assert len(order.milestones) == 2


def test_an_undone_exam_has_a_milestone_again() -> None:
    undone = an_event("booked", "2024-01-10T09:00", may_regress=True)

    (order,) = fold([*m4(), undone]).orders
    assert [line.status for line in order.milestones] == [Status.PERFORMED, Status.BOOKED]


def test_that_a_report_is_awaited_is_no_version_beside_the_report() -> None:
    assert versions(*m5(), a_report("", "2024-01-11T08:00", "registered")) == ["final"]
