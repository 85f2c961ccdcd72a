"""Provenance: one event of an exam, in the words of who told of it."""

import pytest

from bfr_dicomweb.fhir import provenance
from bfr_dicomweb.orders.events import Event, Facts, Kind, Party
from bfr_dicomweb.services.timeline import MessageHead
from orders_said import THORAX, an_event, m1, m5, m6, utc
from rows_said import Rows


def built(events: list[Event], place: int = 0) -> dict:  # type: ignore[type-arg]
    rows = Rows(events)
    row = rows.events[place]
    head = MessageHead(41, "ORM^O01", "RISEVIDIA|EVIDIA", "M2", 0)
    exam = next(exam for exam in rows.exams if exam.id == row.exam_id)
    return provenance.build(row, [exam], head)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.REPORTED])
def test_every_kind_of_event_has_a_code(kind: Kind) -> None:
    assert built([an_event(kind)])["activity"]["coding"][0]["code"]


def test_an_unmapped_code_is_shown_as_it_was_sent() -> None:
    activity = built([an_event(Kind.UNKNOWN, codes=(("ORC-5", "ZZ"),))])["activity"]

    assert (activity["coding"][0]["code"], activity["text"]) == ("unknown", "ORC-5 ZZ")


@pytest.mark.parametrize("events", [[*m5(), *m6()], [*m6(), *m5()]], ids=["in order", "late"])
def test_what_is_an_addendum_follows_from_all_events(events: list[Event]) -> None:
    codes = {
        one["occurredDateTime"]: one["activity"]["coding"][0]["code"]
        for one in (built(events, 0), built(events, 1))
    }

    assert codes == {"2024-01-10T14:00:00Z": "signed", "2024-01-11T09:00:00Z": "addendum"}


def test_an_event_is_about_the_exam_its_task_its_order_and_the_patient() -> None:
    targets = [one["reference"] for one in built(m1())["target"]]

    own = ["ServiceRequest/e11", "Task/e11/_history/91"]
    assert targets[:3] == [*own, "ServiceRequest/o10"]
    assert targets[3].startswith("Patient/p")


def test_the_message_is_named_by_sender_and_control_id() -> None:
    what = built(m1())["entity"][0]["what"]

    assert (what["reference"], what["identifier"]["value"]) == (
        "Binary/m41",
        "RISEVIDIA|EVIDIA:M2",
    )


def test_the_performer_is_an_agent_beside_who_told() -> None:
    event = an_event(facts=Facts(performing_unit=Party(name="Evidia Göteborg")))

    agents = [one["who"]["display"] for one in built([event])["agent"]]

    assert agents == ["Evidia Göteborg", "RISEVIDIA|EVIDIA"]


def test_a_time_in_the_future_is_told_as_it_was_said() -> None:
    event = an_event(accession=THORAX, claimed=utc("2030-01-01T08:00"))

    assert built([event])["occurredDateTime"] == "2030-01-01T08:00:00Z"
