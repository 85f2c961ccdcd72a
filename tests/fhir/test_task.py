"""Task: what has become of an exam."""

import pytest

from bfr_dicomweb.fhir import codings, task
from bfr_dicomweb.orders.events import Event, Kind, ReportStatus
from bfr_dicomweb.orders.state import Coarse, Status
from orders_said import THORAX, a_report, an_event, m1, m2, m3, m4, m5, m6
from rows_said import Rows

UNMAPPED = (("ORC-1", "SC"), ("ORC-5", "ZZ"))


def codes(events: list[Event]) -> list[str]:
    """Fine and coarse."""
    built = task.build(Rows(events).of(THORAX))
    return [coding["code"] for coding in built["businessStatus"]["coding"]]


def test_every_status_of_an_exam_has_one_of_the_task() -> None:
    assert task.STATUS.keys() == set(Status)


def test_every_status_has_a_name() -> None:
    assert {*codings.STATUS_NAMES, *codings.COARSE_NAMES} >= {*Status, *Coarse}


def test_a_task_is_about_the_exam_of_its_number() -> None:
    built = task.build(Rows(m1()).of(THORAX))

    assert built["focus"] == {"reference": f"ServiceRequest/{built['id']}"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ((m1,), ["received", "mottagen"]),
        ((m1, m2), ["booked", "bokad"]),
        ((m1, m2, m3), ["started", "bokad"]),
        ((m1, m2, m4), ["performed", "genomförd"]),
        ((m1, m2, m4, m5), ["signed", "signerad"]),
        ((m1, m2, m4, m5, m6), ["addendum", "signerad"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_business_status_is_fine_first_and_coarse_second(said: tuple, told: list[str]) -> None:  # type: ignore[type-arg]
    assert codes([event for tell in said for event in tell()]) == told


def test_an_unmapped_code_leaves_the_status_as_it_was() -> None:
    unmapped = an_event(Kind.UNKNOWN, "2024-01-09T08:00", codes=UNMAPPED)

    assert codes([*m1(), *m2(), unmapped]) == ["booked", "bokad"]


def test_an_exam_of_which_only_an_unmapped_code_is_known_shows_the_code() -> None:
    built = task.build(Rows([an_event(Kind.UNKNOWN, codes=UNMAPPED)]).exams[0])

    assert built["businessStatus"]["text"] == "ORC-1 SC, ORC-5 ZZ"


def test_what_is_on_hold_keeps_its_coarse_status() -> None:
    assert codes([*m1(), *m2(), an_event(Kind.HELD, "2024-01-09T08:00")]) == ["on-hold", "bokad"]


def test_a_requested_cancellation_is_the_reason_of_a_status_that_stays() -> None:
    events = [*m1(), *m2(), an_event(Kind.CANCEL_REQUESTED, "2024-01-09T08:00")]

    built = task.build(Rows(events).of(THORAX))

    reason = built["statusReason"]["coding"][0]["code"]
    assert (built["status"], reason) == ("accepted", "cancel-requested")


def test_the_time_of_the_last_change_is_when_it_happened() -> None:
    built = task.build(Rows([*m1(), *m2(), *m4()]).of(THORAX))

    assert built["lastModified"] == "2024-01-10T08:30:00Z"


def test_the_period_is_from_start_to_end_of_the_exam() -> None:
    built = task.build(Rows([*m1(), *m2(), *m3(), *m4()]).of(THORAX))

    assert built["executionPeriod"] == {
        "start": "2024-01-10T08:15:00Z",
        "end": "2024-01-10T08:30:00Z",
    }


@pytest.mark.parametrize(
    ("tokens", "statuses"),
    [
        ({"business-status": {"bokad"}}, {"booked", "arrived", "started"}),
        ({"business-status": {"booked"}}, {"booked"}),
        ({"status": {"in-progress"}}, {"started", "performed", "preliminary"}),
        ({"status": {"in-progress"}, "business-status": {"bokad"}}, {"started"}),
        ({"status": {"on-hold"}}, None),
        ({"business-status": {"on-hold", "booked"}}, None),
        ({}, None),
    ],
)
def test_codes_tell_which_statuses_an_exam_can_have(
    tokens: dict[str, set[str]], statuses: set[str] | None
) -> None:
    asked = {name: frozenset(codes) for name, codes in tokens.items()}

    assert task.statuses_of(asked) == statuses


def test_a_withdrawn_report_leaves_the_exam_performed() -> None:
    withdrawn = a_report("", "2024-01-12T08:00", ReportStatus.WITHDRAWN)

    assert codes([*m1(), *m4(), *m5(), withdrawn]) == ["performed", "genomförd"]
