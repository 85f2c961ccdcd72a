"""What a set of events comes to."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.orders import records
from bfr_dicomweb.orders.events import Event, Facts, Kind, ReportStatus
from bfr_dicomweb.orders.fold import fold, fold_known
from bfr_dicomweb.orders.state import Exam, Folded, Status
from orders_said import (
    ABDOMEN,
    THORAX,
    a_report,
    an_event,
    m1,
    m1_to_m7,
    m2,
    m3,
    m4,
    m5,
    m6,
    m7,
    utc,
)


def the_exam(*events: Event) -> Exam:
    (exam,) = fold(events).exams
    return exam


def codes(folded: Folded) -> list[str]:
    return [finding.code for finding in folded.findings]


# The walk through an order of two exams


@pytest.mark.parametrize(
    ("messages", "order", "thorax", "abdomen"),
    [
        ((m1,), "received", "received", "received"),
        ((m1, m2), "booked", "booked", "booked"),
        ((m1, m2, m3), "booked", "started", "booked"),
        ((m1, m2, m3, m4), "booked", "performed", "booked"),
        ((m1, m2, m3, m4, m5), "booked", "signed", "booked"),
        ((m1, m2, m3, m4, m5, m6), "booked", "addendum", "booked"),
        ((m1, m2, m3, m4, m5, m6, m7), "addendum", "addendum", "cancelled"),
    ],
)
def test_an_order_has_the_least_status_of_its_exams(
    messages: tuple[object, ...], order: str, thorax: str, abdomen: str
) -> None:
    folded = fold([event for message in messages for event in message()])  # type: ignore[operator]

    (only,) = folded.orders
    assert (only.status, *(exam.status for exam in folded.exams)) == (order, thorax, abdomen)


def test_a_thousand_orders_of_arrival_come_to_the_same_bytes() -> None:
    chance, events = random.Random(20231012), m1_to_m7()
    expected = records.dumps(fold(events))

    for _ in range(1000):
        arrived = events + chance.choices(events, k=3)
        chance.shuffle(arrived)
        assert records.dumps(fold(arrived)) == expected


def test_what_was_kept_is_read_back_equal() -> None:
    folded = fold(m1_to_m7())

    assert records.loads(Folded, records.dumps(folded)) == folded


def test_digests_that_are_known_need_not_be_computed() -> None:
    events = m1_to_m7()

    assert fold_known([(event.digest, event) for event in events]) == fold(events)


def test_an_order_whose_exams_are_all_cancelled_is_cancelled() -> None:
    (order,) = fold([*m1(), an_event("cancelled", "2024-01-09T08:00"), *m7()]).orders

    assert order.status == Status.CANCELLED


def test_an_order_was_placed_when_its_placer_says() -> None:
    (order,) = fold(m1_to_m7()).orders

    assert order.authored == utc("2024-01-08T07:00")


def test_the_first_version_of_a_report_is_final_and_the_next_appended() -> None:
    (report,) = fold(m1_to_m7()).reports

    assert [version.status for version in report.versions] == ["final", "appended"]


# Rows of the mapping


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (an_event("received"), "received"),
        (an_event("booked"), "booked"),
        (an_event("rebooked"), "booked"),
        (an_event("arrived"), "arrived"),
        (an_event("started"), "started"),
        (an_event("performed"), "performed"),
        (a_report(status="registered"), "received"),
        (a_report(status="partial"), "preliminary"),
        (a_report(status="preliminary"), "preliminary"),
        (a_report(status="final"), "signed"),
        (a_report(status="addendum"), "signed"),
        (a_report(status="corrected"), "corrected"),
        (a_report(status="cancelled"), "cancelled"),
        (a_report(status="entered-in-error"), "performed"),
        (an_event("cancel-requested"), "received"),
        (an_event("cancelled"), "cancelled"),
        (an_event("held"), "received"),
        (an_event("released"), "received"),
        (an_event("refused"), "refused"),
        (an_event("moved"), "moved"),
        (an_event("entered-in-error"), "error"),
        (an_event("updated"), "received"),
        (an_event("unknown"), "unknown"),
    ],
)
def test_one_event_alone_gives_its_status(event: Event, status: str) -> None:
    assert the_exam(event).status == status


def test_a_late_event_of_an_earlier_stage_does_not_lower_the_status() -> None:
    exam = the_exam(*m4(), an_event("booked", "2024-01-10T09:00"))

    assert exam.status == Status.PERFORMED


def test_an_undo_of_a_trusted_sender_lowers_the_status() -> None:
    exam = the_exam(*m4(), an_event("booked", "2024-01-10T09:00", may_regress=True))

    assert exam.status == Status.BOOKED


def test_an_undo_that_is_older_than_what_it_undoes_does_nothing() -> None:
    exam = the_exam(*m4(), an_event("booked", "2024-01-10T08:00", may_regress=True))

    assert exam.status == Status.PERFORMED


def test_an_undone_exam_is_not_performed() -> None:
    exam = the_exam(*m4(), an_event("booked", "2024-01-10T09:00", may_regress=True))

    assert exam.performed == ""


def test_a_signed_exam_stays_signed_when_its_progress_is_undone() -> None:
    exam = the_exam(*m4(), *m5(), an_event("booked", "2024-01-11T09:00", may_regress=True))

    assert exam.status == Status.SIGNED


# Cancelling


def test_a_requested_cancellation_leaves_the_status() -> None:
    exam = the_exam(an_event("booked"), an_event("cancel-requested", "2024-01-09T08:00"))

    assert (exam.status, exam.cancel_requested) == (Status.BOOKED, True)


def test_a_confirmed_cancellation_is_no_longer_requested() -> None:
    exam = the_exam(
        an_event("cancel-requested", "2024-01-09T08:00"), an_event("cancelled", "2024-01-09T09:00")
    )

    assert (exam.status, exam.cancel_requested) == (Status.CANCELLED, False)


def test_a_refused_cancellation_leaves_the_exam_as_it_was() -> None:
    exam = the_exam(
        an_event("received"),
        an_event("cancel-requested", "2024-01-09T08:00"),
        an_event("refused", "2024-01-09T09:00"),
    )

    assert (exam.status, exam.cancel_requested) == (Status.RECEIVED, False)


def test_unable_to_change_does_not_refuse_the_exam() -> None:
    exam = the_exam(an_event("refused", codes=(("ORC-1", "UX"),)))

    assert exam.status == Status.RECEIVED


def test_a_new_order_after_the_cancellation_reopens_the_exam() -> None:
    exam = the_exam(
        an_event("booked"),
        an_event("cancelled", "2024-01-09T08:00"),
        an_event("received", "2024-01-09T09:00"),
    )

    assert exam.status == Status.RECEIVED


def test_an_order_at_the_time_of_the_cancellation_does_not_reopen_it() -> None:
    exam = the_exam(an_event("cancelled"), an_event("received"))

    assert exam.status == Status.CANCELLED


def test_a_performed_exam_cannot_be_cancelled() -> None:
    folded = fold([*m4(), an_event("cancelled", "2024-01-10T09:00")])

    assert (folded.exams[0].status, codes(folded)) == (
        Status.PERFORMED,
        ["cancel-after-performed"],
    )


def test_an_exam_that_is_reported_after_its_cancellation_is_signed_and_found_odd() -> None:
    folded = fold([an_event("cancelled"), *m5()])

    assert (folded.exams[0].status, codes(folded)) == (Status.SIGNED, ["cancel-after-performed"])


def test_a_booking_after_the_cancellation_is_found_odd() -> None:
    folded = fold([an_event("cancelled"), an_event("booked", "2024-01-09T08:00")])

    assert (folded.exams[0].status, codes(folded)) == (
        Status.CANCELLED,
        ["late-event-on-cancelled"],
    )


def test_a_moved_exam_stays_moved_when_its_old_performer_books_it() -> None:
    folded = fold([an_event("moved"), an_event("booked", "2024-01-09T08:00")])

    assert (folded.exams[0].status, codes(folded)) == (Status.MOVED, ["late-event-on-moved"])


def test_a_booking_from_before_the_move_is_not_odd() -> None:
    folded = fold([an_event("moved"), an_event("booked", "2024-01-07T08:00")])

    assert codes(folded) == []


def test_a_refused_exam_that_is_booked_later_is_booked() -> None:
    exam = the_exam(an_event("refused"), an_event("booked", "2024-01-09T08:00"))

    assert exam.status == Status.BOOKED


def test_an_exam_is_held_until_it_is_released() -> None:
    held, released = an_event("held"), an_event("released", "2024-01-09T08:00")

    assert (the_exam(held).held, the_exam(held, released).held) == (True, False)


# Reports and the status


def test_a_withdrawn_report_leaves_the_exam_performed() -> None:
    exam = the_exam(*m5(), a_report("", "2024-01-11T08:00", "entered-in-error"))

    assert (exam.status, exam.signed) == (Status.PERFORMED, "")


def test_a_cancelled_report_after_a_signed_one_is_withdrawn() -> None:
    folded = fold([*m5(), a_report("", "2024-01-11T08:00", "cancelled")])

    assert (folded.exams[0].status, folded.reports[0].status) == (
        Status.PERFORMED,
        "entered-in-error",
    )


def test_a_preliminary_report_after_the_signed_one_changes_no_status() -> None:
    folded = fold([*m4(), *m5(), a_report("Preliminärt", "2024-01-11T08:00", "preliminary")])

    assert (folded.exams[0].status, codes(folded)) == (Status.SIGNED, ["preliminary-after-final"])


def test_a_report_without_order_is_found_odd() -> None:
    assert codes(fold(m5())) == ["report-or-exam-without-order"]


def test_the_order_that_comes_later_settles_it() -> None:
    assert codes(fold([*m5(), *m1()])) == []


def test_an_addendum_without_its_report_is_found_odd() -> None:
    folded = fold([*m1(), a_report(status="addendum")])

    assert codes(folded) == ["addendum-before-report"]


def test_the_report_that_comes_later_settles_it() -> None:
    folded = fold([*m1(), *m5(), a_report("Mer", "2024-01-11T08:00", status="addendum")])

    assert codes(folded) == []


# Unknown codes, the future, and facts


def test_an_unmapped_code_is_found_and_names_the_performer_and_the_code() -> None:
    (finding,) = fold([an_event("booked"), an_event("unknown", codes=(("ORC-1", "ZZ"),))]).findings

    assert (finding.code, finding.detail) == ("unmapped-status", "evidia: ORC-1 ZZ")


def test_a_step_with_an_unmapped_code_has_the_status_of_before() -> None:
    exam = the_exam(an_event("booked"), an_event("unknown", "2024-01-09T08:00"))

    assert [step.status for step in exam.steps] == [Status.BOOKED, Status.BOOKED]


def test_a_time_in_the_future_is_found() -> None:
    folded = fold([an_event(claimed=utc("2034-01-08T08:00"))])

    assert codes(folded) == ["future-dated"]


def test_of_each_fact_the_latest_counts() -> None:
    exam = the_exam(
        an_event("booked", "2024-01-09T08:00", facts=Facts(scheduled_start="B", station_name="2")),
        an_event("received", "2024-01-08T08:00", facts=Facts(scheduled_start="A", modality="CT")),
    )

    assert exam.facts == Facts(scheduled_start="B", station_name="2", modality="CT")


def test_another_reader_of_the_images_does_not_become_the_performer() -> None:
    exam = the_exam(*m4(), a_report(performer="unilabs"))

    assert exam.performer == "evidia"


def test_modified_is_the_time_of_the_last_change_of_status() -> None:
    exam = the_exam(*m4(), an_event("updated", "2024-01-12T08:00"))

    assert exam.modified == utc("2024-01-10T08:30")


def test_performed_and_signed_are_the_first_times() -> None:
    exam = fold(m1_to_m7()).exams[0]

    assert (exam.performed, exam.signed) == (utc("2024-01-10T08:30"), utc("2024-01-10T14:00"))


def test_the_subject_of_a_finding_is_the_exams_first_alias() -> None:
    (finding,) = fold(m5()).findings

    assert finding.subject == f"accession|urn:oid:1.2.752.113.99.7|{THORAX}"


# Laws

_TIMES = st.integers(1, 6).map(lambda day: f"2024-01-0{day}T08:00")
_EXAMS = st.sampled_from((THORAX, ABDOMEN))
_STATUS_EVENTS = st.builds(
    an_event,
    st.sampled_from([kind for kind in Kind if kind != Kind.REPORTED]),
    _TIMES,
    _EXAMS,
    may_regress=st.booleans(),
    performer=st.sampled_from(("evidia", "")),
)
_REPORT_EVENTS = st.builds(
    a_report,
    st.sampled_from(("A", "B ", "B", "")),
    _TIMES,
    st.sampled_from(ReportStatus),
    _EXAMS,
    performer=st.sampled_from(("evidia", "unilabs", "")),
    shared=st.sampled_from(("", "", "S")),
    of=st.fixed_dictionaries({"identifier": st.sampled_from(("", "D1", "D2"))}),
)
_EVENTS = st.lists(st.one_of(_STATUS_EVENTS, _REPORT_EVENTS), min_size=1, max_size=9)


@given(events=_EVENTS, data=st.data())
def test_neither_arrival_nor_repetition_matters(events: list[Event], data: st.DataObject) -> None:
    arrived = data.draw(st.permutations(events))
    repeated = data.draw(st.lists(st.sampled_from(events)))

    assert records.dumps(fold([*arrived, *repeated])) == records.dumps(fold(events))


@given(events=_EVENTS)
def test_a_report_under_another_control_id_is_the_same_report(events: list[Event]) -> None:
    again = [replace(event, control_id="AGAIN") for event in events if event.report is not None]

    assert fold(events + again) == fold(events)


@given(events=_EVENTS, time=_TIMES, exam=_EXAMS)
def test_an_unmapped_code_changes_no_status(events: list[Event], time: str, exam: str) -> None:
    before = {e.aliases: e.status for e in fold(events).exams}
    after = {e.aliases: e.status for e in fold([*events, an_event("unknown", time, exam)]).exams}

    assert {aliases: after[aliases] for aliases in before} == before


@given(events=_EVENTS, data=st.data())
def test_no_text_of_a_report_is_ever_lost(events: list[Event], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(events)))
    before, after = (
        {" ".join(v.text.split()) for report in fold(told).reports for v in report.versions}
        for told in (some, events)
    )

    assert before - {""} <= after


@given(events=_EVENTS)
def test_each_event_is_a_step_of_its_exam(events: list[Event]) -> None:
    folded = fold(events)

    steps = {step.digest for exam in folded.exams for step in exam.steps}
    assert steps == {event.digest for event in events}


@given(events=_EVENTS)
def test_the_last_step_has_the_status_of_the_exam(events: list[Event]) -> None:
    assert all(exam.steps[-1].status == exam.status for exam in fold(events).exams)


@given(events=_EVENTS)
def test_a_finding_is_raised_once_for_each_subject(events: list[Event]) -> None:
    found = [(finding.code, finding.subject) for finding in fold(events).findings]

    assert len(found) == len(set(found))
