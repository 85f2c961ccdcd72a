"""When images are due."""

import pytest

from bfr_dicomweb.orders.delays import Criterion, Delay, expected
from bfr_dicomweb.orders.fold import fold
from bfr_dicomweb.orders.state import Exam
from orders_said import a_report, an_event, m1_to_m7, m4, m5, utc

HOUR_S = 3600


def signed_exam() -> Exam:
    return fold(m1_to_m7()[:-2]).exams[0]


def performed_at(at: str) -> Exam:
    return fold([an_event("performed", at)]).exams[0]


@pytest.mark.parametrize(
    ("criterion", "due"),
    [
        ("performed", "2024-01-10T09:30"),
        ("signed", "2024-01-10T15:00"),
        ("signed-untouched", "2024-01-10T15:00"),
    ],
)
def test_images_are_due_a_delay_after_the_criterion(criterion: Criterion, due: str) -> None:
    assert expected(signed_exam(), Delay(criterion, HOUR_S)) == utc(due)


def test_a_touched_report_is_waited_for_anew() -> None:
    exam = fold([*m4(), *m5(), a_report("Mer", "2024-01-10T14:30")]).exams[0]

    assert expected(exam, Delay("signed-untouched", HOUR_S)) == utc("2024-01-10T15:30")


def test_nothing_is_due_before_the_criterion() -> None:
    assert expected(performed_at("2024-01-10T08:30"), Delay("signed")) == ""


def test_nothing_is_due_of_a_producer_that_promised_nothing() -> None:
    assert expected(signed_exam(), Delay()) == ""


def test_no_images_are_due_of_a_cancelled_exam() -> None:
    cancelled = fold(m1_to_m7()).exams[1]

    assert expected(cancelled, Delay("performed")) == ""


@pytest.mark.parametrize(
    ("performed", "due"),
    [
        ("2024-01-10T08:30", "2024-01-10T19:00"),  # winter: 20:00 is 19:00 UTC
        ("2024-07-10T08:30", "2024-07-10T18:00"),  # summer
        ("2024-01-10T19:30", "2024-01-11T19:00"),  # after this evening's
        ("2024-01-10T19:00", "2024-01-10T19:00"),  # just in time
        ("2024-01-10T23:30", "2024-01-11T19:00"),  # already the next day here
        ("2024-03-30T19:30", "2024-03-31T18:00"),  # the clocks go forward in the night
        ("2024-10-26T18:30", "2024-10-27T19:00"),  # and back
    ],
)
def test_a_nightly_schedule_follows_swedish_clocks(performed: str, due: str) -> None:
    assert expected(performed_at(performed), Delay("schedule", at="20:00")) == utc(due)


def test_a_delay_is_as_long_in_the_night_when_clocks_change() -> None:
    exam = performed_at("2024-03-30T20:00")

    assert expected(exam, Delay("performed", 24 * HOUR_S)) == utc("2024-03-31T20:00")
