"""ServiceRequest: an order, and each of its exams."""

import pytest

from bfr_dicomweb.fhir import ids, service_request
from bfr_dicomweb.orders.events import Coding, Facts, Kind, Party
from bfr_dicomweb.orders.identifiers import HSA_ID, Identifier
from bfr_dicomweb.orders.state import Status
from orders_said import ABDOMEN, THORAX, a_report, an_event, m1, m1_to_m7, m2, utc
from rows_said import Rows


def test_every_status_of_an_exam_has_one_of_the_request() -> None:
    assert service_request.STATUS.keys() == set(Status)


def test_an_exam_is_based_on_its_order() -> None:
    rows = Rows(m1())

    built = service_request.of_exam(rows.of(THORAX), rows.order)

    assert built["basedOn"] == [{"reference": "ServiceRequest/o10"}]


def test_order_and_exams_share_the_requisition() -> None:
    rows = Rows(m1())

    built = [service_request.of_exam(row, rows.order) for row in rows.exams]
    built.append(service_request.of_order(rows.order))

    assert [one["requisition"] for one in built] == [{"value": "REM1001"}] * 3


def test_the_accession_number_of_an_exam_says_what_it_is() -> None:
    rows = Rows(m1())

    built = service_request.of_exam(rows.of(THORAX), rows.order)

    (accession,) = (
        one for one in built["identifier"] if one["value"] == THORAX and "system" in one
    )
    assert accession["type"]["coding"][0]["code"] == "ACSN"


def test_an_order_is_not_known_by_the_numbers_of_its_exams() -> None:
    built = service_request.of_order(Rows(m1()).order)

    assert [one["value"] for one in built["identifier"]] == ["REM1001"]


@pytest.mark.parametrize(
    ("accession", "status"),
    [(THORAX, "completed"), (ABDOMEN, "revoked")],
    ids=["signed", "cancelled"],
)
def test_the_status_of_the_request_follows_the_exam(accession: str, status: str) -> None:
    rows = Rows(m1_to_m7())

    assert service_request.of_exam(rows.of(accession), rows.order)["status"] == status


def test_an_exam_on_hold_is_on_hold() -> None:
    rows = Rows([*m1(), an_event(Kind.HELD, "2024-01-08T09:00")])

    assert service_request.of_exam(rows.of(THORAX), rows.order)["status"] == "on-hold"


def test_what_is_signed_is_not_on_hold() -> None:
    rows = Rows([an_event(Kind.HELD, "2024-01-08T09:00"), a_report()])

    assert service_request.of_exam(rows.exams[0], rows.order)["status"] == "completed"


def test_an_exam_is_authored_when_its_order_was() -> None:
    rows = Rows(m1())

    built = service_request.of_exam(rows.of(THORAX), rows.order)

    assert built["authoredOn"] == service_request.of_order(rows.order)["authoredOn"]


def test_a_booked_exam_says_when_it_is_to_happen() -> None:
    rows = Rows([*m1(), *m2()])

    built = service_request.of_exam(rows.of(THORAX), rows.order)

    assert built["occurrenceDateTime"] == "2024-01-10T08:00:00Z"


def test_a_time_with_an_end_is_a_period() -> None:
    facts = Facts(scheduled_start=utc("2024-01-10T08:00"), scheduled_end=utc("2024-01-10T08:30"))
    rows = Rows([an_event(facts=facts)])

    built = service_request.of_exam(rows.exams[0], rows.order)

    assert built["occurrencePeriod"]["end"] == "2024-01-10T08:30:00Z"


def test_who_ordered_is_named_with_the_unit() -> None:
    doctor = Party(Identifier(HSA_ID, "SE2321000131-P1"), family="Remittent", given="Rut")
    facts = Facts(requester=doctor, requesting_unit=Party(name="VC Hjällbo"))

    built = service_request.of_order(Rows([an_event(facts=facts)]).order)

    assert built["requester"] == {
        "reference": f"Practitioner/{ids.of_party(Identifier(HSA_ID, 'SE2321000131-P1'))}",
        "type": "Practitioner",
        "identifier": {"system": HSA_ID, "value": "SE2321000131-P1"},
        "display": "Rut Remittent, VC Hjällbo",
    }


@pytest.mark.parametrize(
    ("scheme", "system"),
    [
        ("KVÅ", "urn:oid:1.2.752.116.1.3.2.1.4"),
        ("LN", "http://loinc.org"),
        ("http://snomed.info/sct", "http://snomed.info/sct"),
        ("L å", "urn:bfr:coding-scheme:L%20%C3%A5"),
    ],
)
def test_a_coding_scheme_becomes_a_uri(scheme: str, system: str) -> None:
    facts = Facts(procedure=Coding("83300", scheme, "CT Thorax"))
    rows = Rows([an_event(facts=facts)])

    built = service_request.of_exam(rows.exams[0], rows.order)

    assert built["code"] == {
        "coding": [{"system": system, "code": "83300", "display": "CT Thorax"}],
        "text": "CT Thorax",
    }
