"""One person, several numbers: merged, separated, renamed, in whatever order that is told."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

import registry as registries
from hl7_said import PERSONNUMMER_OID, Exam, message, msh, order, segment
from registry import PERSONNUMMER, Registry

RESERVE_OID: Final = "1.2.752.113.11.0.2.1.1.1"
LOCAL_OID: Final = "1.2.752.113.99.41"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registries.running(tmp_path_factory.mktemp("patients")) as running:
        yield running


def number_of(value: str, oid: str) -> str:
    return f"{value}^^^&{oid}&ISO^PI"


def person(number: str, name: str = "Tolvansson^Tolvan", *, birth: str = "19121212") -> str:
    return segment("PID", {3: number, 5: name, 7: birth, 8: "M"})


def adt(event: str, time: str, *segments: str) -> bytes:
    control_id = f"{event}-{time}-{hash(segments) & 0xFFFFFF}"
    head = msh(f"ADT^{event}", control_id, time, sender=("PAS", "VGR"))
    return message(head, segment("EVN", {1: event, 2: time}), *segments)


class Case:
    """A person with a national number and one of a reserve, and an order under each."""

    def __init__(self, place: int, national: str) -> None:
        self.place = place
        self.national = number_of(national, PERSONNUMMER_OID)
        self.reserve = number_of(f"19{place:02}0829M071", RESERVE_OID)
        self.known = f"{PERSONNUMMER}|{national}"
        self.temporary = f"urn:oid:{RESERVE_OID}|19{place:02}0829M071"

    def ordered(self, number: str, which: int) -> bytes:
        name = f"{self.place}-{which}"
        exam = Exam(f"P{name}", f"A{name}", f"1.2.752.113.99.42.{self.place}.{which}")
        return order(
            exam,
            control_id=f"N{name}",
            time="20240108080000",
            group=f"G{name}",
            patient=person(number),
        )

    def orders(self) -> list[bytes]:
        return [self.ordered(self.national, 1), self.ordered(self.reserve, 2)]

    def merge(self, time: str = "20240109080000") -> bytes:
        mrg = segment("MRG", {1: self.reserve})
        return adt("A40", time, person(self.national), mrg)

    def separation(self, time: str = "20240110080000") -> bytes:
        return adt("A37", time, person(self.national), person(self.reserve))


def groups_found(registry: Registry, identifier: str) -> list[str]:
    found = registry.found(
        "ServiceRequest", **{"patient.identifier": identifier, "intent": "order"}
    )
    return sorted(one["requisition"]["value"] for one in found)


def links(registry: Registry, identifier: str) -> dict[str, list[str]]:
    """By the id of each record the types of its links."""
    found = registry.found("Patient", identifier=identifier)
    return {one["id"]: [link["type"] for link in one.get("link", [])] for one in found}


@pytest.mark.parametrize("merged_first", [False, True], ids=["orders first", "merge first"])
def test_orders_of_a_merged_number_are_found_by_either(
    registry: Registry, *, merged_first: bool
) -> None:
    case = Case(2, "195001012383") if merged_first else Case(1, "196408233234")
    messages = [*case.orders(), case.merge()]
    registry.told(*(messages[-1:] + messages[:-1] if merged_first else messages))

    expected = [f"G{case.place}-1", f"G{case.place}-2"]
    assert groups_found(registry, case.known) == expected
    assert groups_found(registry, case.temporary) == expected


def test_a_merged_record_says_by_which_it_is_replaced(registry: Registry) -> None:
    case = Case(3, "198001012390")
    registry.told(*case.orders(), case.merge())

    kept, gone = (registry.get(f"Patient/{one['id']}") for one in records_of_both(registry, case))

    assert (kept["active"], gone["active"]) == (True, False)
    assert kept["link"] == [{"other": {"reference": f"Patient/{gone['id']}"}, "type": "replaces"}]
    assert gone["link"] == [
        {"other": {"reference": f"Patient/{kept['id']}"}, "type": "replaced-by"}
    ]


def records_of_both(registry: Registry, case: Case) -> list[dict[str, Any]]:
    """The record that is kept, then the one that is gone."""
    by_id = {
        one["id"]: one
        for identifier in (case.known, case.temporary)
        for one in registry.found("Patient", identifier=identifier)
    }
    return sorted(by_id.values(), key=lambda one: not one["active"])


@pytest.mark.parametrize("in_order", [True, False], ids=["in order", "separation first"])
def test_what_is_separated_again_is_found_apart(registry: Registry, *, in_order: bool) -> None:
    case = Case(4, "197001012392") if in_order else Case(5, "196001012394")
    last = [case.merge(), case.separation()]
    registry.told(*case.orders(), *(last if in_order else reversed(last)))

    assert groups_found(registry, case.known) == [f"G{case.place}-1"]
    assert groups_found(registry, case.temporary) == [f"G{case.place}-2"]


def test_what_is_merged_anew_after_a_separation_is_together(registry: Registry) -> None:
    case = Case(6, "195501012398")
    registry.told(*case.orders(), case.merge(), case.separation(), case.merge("20240111080000"))

    assert groups_found(registry, case.temporary) == ["G6-1", "G6-2"]


def test_a_changed_identifier_leads_to_what_stood_under_the_old(registry: Registry) -> None:
    case = Case(7, "195101012391")
    old, new = number_of("OLD7", LOCAL_OID), number_of("NEW7", LOCAL_OID)
    changed = adt("A47", "20240109080000", person(new), segment("MRG", {1: old}))
    registry.told(case.ordered(old, 1), changed, case.ordered(new, 2))

    for number in ("OLD7", "NEW7"):
        assert groups_found(registry, f"urn:oid:{LOCAL_OID}|{number}") == ["G7-1", "G7-2"]


def name_of(registry: Registry, number: str) -> str:
    (patient,) = registry.found("Patient", identifier=f"urn:oid:{LOCAL_OID}|{number}")
    text: str = patient["name"][0]["text"]
    return text


def test_the_latest_name_counts_and_not_the_last_that_arrived(registry: Registry) -> None:
    number = number_of("NAME8", LOCAL_OID)
    registry.told(
        adt("A08", "20240301080000", person(number, "Ny^Nora")),
        adt("A08", "20240201080000", person(number, "Gammal^Nora")),
    )

    assert name_of(registry, "NAME8") == "Nora Ny"


def test_an_update_that_is_late_fills_what_nobody_said(registry: Registry) -> None:
    number = number_of("NAME9", LOCAL_OID)
    registry.told(
        adt("A08", "20240301080000", person(number, "Ny^Nils", birth="")),
        adt("A08", "20240201080000", person(number, "Gammal^Nils", birth="19800101")),
    )

    (patient,) = registry.found("Patient", identifier=f"urn:oid:{LOCAL_OID}|NAME9")
    assert (patient["name"][0]["family"], patient["birthDate"]) == ("Ny", "1980-01-01")


@pytest.mark.parametrize("event", ["A01", "A04", "A08", "A31"])
def test_each_kind_of_update_names_the_patient(registry: Registry, event: str) -> None:
    number = number_of(f"EV{event}", LOCAL_OID)
    registry.told(adt(event, "20240301080000", person(number, "Efter^Eva")))

    assert name_of(registry, f"EV{event}") == "Eva Efter"


def test_a_merge_says_the_same_twice(registry: Registry) -> None:
    case = Case(10, "194901012386")
    registry.told(*case.orders(), case.merge(), case.merge(), case.merge())

    assert groups_found(registry, case.known) == ["G10-1", "G10-2"]


def test_two_personal_numbers_are_not_joined_by_one_message(registry: Registry) -> None:
    one, other = ("194801012388", "194701012390")
    both = "~".join(number_of(number, PERSONNUMMER_OID) for number in (one, other))
    registry.told(
        order(
            Exam("P11", "A11", "1.2.752.113.99.42.11"),
            control_id="N11",
            time="20240108080000",
            group="G11",
            patient=person(both),
        )
    )

    findings = registry.found("DetectedIssue", code="identifier-shared")
    assert findings
    assert groups_found(registry, f"{PERSONNUMMER}|{one}") == ["G11"]
    assert groups_found(registry, f"{PERSONNUMMER}|{other}") == []
