import pytest

import hl7_said as said
from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.orders.events import Kind
from bfr_dicomweb.orders.identifiers import AliasKind
from hl7_read import one_event, read


def an_appointment(trigger: str, sch: dict[int, str], *more: str) -> bytes:
    head = said.msh(f"SIU^{trigger}", "S1", "20240108090000", sender=("FTVRIS", "FTV"))
    return said.message(head, said.segment("SCH", sch), said.pid(), *more)


def test_appointment_is_of_the_exam_that_its_order_numbers_name() -> None:
    event = one_event(an_appointment("S12", {1: "A1", 2: "A2", 26: "PL1", 27: "FI1"}))
    assert [(alias.kind, alias.value) for alias in event.aliases] == [
        (AliasKind.FILLER, "FI1"),
        (AliasKind.PLACER, "PL1"),
    ]


def test_appointment_without_order_numbers_is_known_by_its_own() -> None:
    event = one_event(an_appointment("S12", {1: "PL1", 2: "FI1"}))
    assert [alias.value for alias in event.aliases] == ["FI1", "PL1"]


def test_appointment_for_two_orders_is_of_both() -> None:
    events = read(an_appointment("S12", {26: "PL1~PL2", 27: "FI1~FI2"})).events
    assert [[alias.value for alias in event.aliases] for event in events] == [
        ["FI1", "PL1"],
        ["FI2", "PL2"],
    ]


def test_time_of_the_appointment_is_no_time_of_the_booking() -> None:
    ais = said.segment("AIS", {3: "X^CT^L", 4: "20240110080000"})
    event = one_event(an_appointment("S12", {26: "PL1"}, "RGS|1", ais))
    assert (event.time, event.facts.scheduled_start) == (
        "2024-01-08T08:00:00.000000Z",
        "2024-01-10T07:00:00.000000Z",
    )


def test_times_can_stand_in_the_schedule() -> None:
    event = one_event(an_appointment("S12", {26: "PL1", 11: "^^^20240110080000^20240110083000"}))
    assert event.facts.scheduled_end == "2024-01-10T07:30:00.000000Z"


def test_no_show_is_a_cancellation_with_its_reason() -> None:
    event = one_event(an_appointment("S26", {26: "PL1"}))
    assert (event.kind, event.facts.status_reason) == (Kind.CANCELLED, "no-show")


def test_modification_can_be_a_cancellation_in_the_words_of_the_sender() -> None:
    event = one_event(an_appointment("S14", {26: "PL1", 25: "Utebliven"}))
    assert event.kind is Kind.CANCELLED


def test_codes_name_the_event() -> None:
    event = one_event(an_appointment("S14", {26: "PL1", 25: "Booked"}))
    assert event.codes == (("MSH-9", "SIU^S14"), ("SCH-25", "Booked"))


def test_appointment_without_any_number_is_an_error() -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(an_appointment("S12", {7: "CT"}))
    assert (caught.value.segment, caught.value.field) == ("SCH", 26)
