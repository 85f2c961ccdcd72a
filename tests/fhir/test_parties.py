"""Who has part in exams, as resources: of what messages tell, and of what clients write."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import fhir_schema
import registry as registries
from bfr_dicomweb.fhir.organizations import Organizations, PractitionerRoles, Practitioners
from bfr_dicomweb.fhir.source import Narrowing, Resource, Source
from bfr_dicomweb.orders.events import Facts, Party
from bfr_dicomweb.orders.identifiers import HSA_ID, Identifier
from bfr_dicomweb.orders.parties import id_of
from hl7_said import STORY
from orders_said import an_event
from orders_told import Registry as Told
from orders_told import opened
from registry import Registry, resources

DOCTOR = Identifier(HSA_ID, "SE2321000131-P000000000001")
CLINIC = Identifier(HSA_ID, "SE2321000131-E000000000011")
EVIDIA = Identifier(HSA_ID, "SE5560000000-E000000000001")
FACTS = Facts(
    requester=Party(DOCTOR, family="Remittent", given="Rut Ros"),
    requesting_unit=Party(CLINIC, name="VC Hjällbo"),
    performing_unit=Party(EVIDIA, name="Evidia Göteborg"),
)


@pytest.fixture
async def told(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Told]:
    async with opened(sqlite_url, tmp_path / "data") as registry:
        await registry.told([an_event(facts=FACTS)])
        yield registry


async def found(source: Source, **narrowing: Any) -> list[Resource]:
    candidates = await source.candidates(
        Narrowing(**narrowing), newest_first=True, after=None, limit=100
    )
    return [one.resource for one in candidates]


async def test_every_party_is_a_valid_resource(told: Told) -> None:
    for source in (Organizations, Practitioners, PractitionerRoles):
        for resource in await found(source(told.archive)):
            fhir_schema.validate(resource)


async def test_units_are_organizations_the_last_one_first(told: Told) -> None:
    names = [one["name"] for one in await found(Organizations(told.archive))]

    assert names == ["Evidia Göteborg", "VC Hjällbo"]


async def test_who_ordered_is_a_practitioner(told: Told) -> None:
    (doctor,) = await found(Practitioners(told.archive))

    assert doctor["id"] == id_of(DOCTOR)
    assert doctor["name"] == [
        {"text": "Rut Ros Remittent", "family": "Remittent", "given": ["Rut", "Ros"]}
    ]


async def test_who_ordered_in_a_unit_has_a_role_there(told: Told) -> None:
    (role,) = await found(PractitionerRoles(told.archive))

    assert role["practitioner"]["reference"] == f"Practitioner/{id_of(DOCTOR)}"
    assert role["organization"]["reference"] == f"Organization/{id_of(CLINIC)}"
    assert role["organization"]["display"] == "VC Hjällbo"


async def test_roles_are_narrowed_by_who_has_them_and_where(told: Told) -> None:
    source = PractitionerRoles(told.archive)
    own = frozenset({f"Practitioner/{id_of(DOCTOR)}"})
    elsewhere = frozenset({f"Organization/{id_of(EVIDIA)}"})

    assert len(await found(source, references={"practitioner": own})) == 1
    assert await found(source, references={"practitioner": own, "organization": elsewhere}) == []


async def test_identifiers_and_ids_narrow(told: Told) -> None:
    source = Organizations(told.archive)
    by_identifier = await found(source, identifiers=((HSA_ID, CLINIC.value),))

    assert [one["id"] for one in by_identifier] == [id_of(CLINIC)]
    assert await found(source, ids=frozenset({id_of(CLINIC)})) == by_identifier


async def test_the_beginning_of_a_name_narrows(told: Told) -> None:
    organizations = await found(Organizations(told.archive), tokens={"name": {"vc h"}})

    assert [one["name"] for one in organizations] == ["VC Hjällbo"]
    assert await found(Practitioners(told.archive), tokens={"family": {"x"}}) == []


async def test_a_party_is_read_in_its_current_version(told: Told) -> None:
    source = Practitioners(told.archive)
    current = await source.read(id_of(DOCTOR))

    assert current is not None
    assert await source.vread(id_of(DOCTOR), current["meta"]["versionId"]) == current
    assert await source.history(id_of(DOCTOR)) == [current]
    assert await source.read(id_of(EVIDIA)) is None


async def test_pages_go_on_where_the_last_one_ended(told: Told) -> None:
    source = Organizations(told.archive)
    (first,) = await source.candidates(Narrowing(), newest_first=True, after=None, limit=1)
    after = first.moment, first.key

    (second,) = await source.candidates(Narrowing(), newest_first=True, after=after, limit=1)

    assert (first.resource["id"], second.resource["id"]) == (id_of(EVIDIA), id_of(CLINIC))


# --- as they are served ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """That was told the story; every answer is compared with the schema."""
    folder = tmp_path_factory.mktemp("parties")
    with registries.running(folder, {"notified_hosts": '["subscriber.test"]'}) as running:
        running.told(*(say() for say in STORY))
        yield running


def test_the_endpoint_is_the_dicomweb_service(registry: Registry) -> None:
    assert registry.get("Endpoint/dicomweb")["address"] == registry.live.url


def test_a_written_endpoint_stands_beside_it(registry: Registry) -> None:
    own = registry.get("Endpoint/dicomweb") | {"name": "Vårt arkiv"}
    del own["id"], own["meta"]
    registry.ask("POST", "Endpoint", json=own)

    assert [one["name"] for one in registry.found("Endpoint")] == ["Vårt arkiv", "DICOMweb"]
    assert [one["name"] for one in registry.found("Endpoint", _sort="_lastUpdated")] == [
        "DICOMweb",
        "Vårt arkiv",
    ]


def test_a_unit_is_found_by_its_identifier_in_either_system(registry: Registry) -> None:
    for system in (HSA_ID, "urn:oid:1.2.752.129.2.1.4.1"):
        (unit,) = registry.found("Organization", identifier=f"{system}|{CLINIC.value}")
        assert unit["name"] == "VC Hjällbo"


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({"family": "remit"}, 1),
        ({"family:exact": "Remittent"}, 1),
        ({"family:exact": "remittent"}, 0),
        ({"family:contains": "mitt"}, 1),
        ({"given": "rut"}, 1),
        ({"name": "rut"}, 1),
        ({"family": "rut"}, 0),
        ({"family": "remit,x"}, 1),
        ({"_lastUpdated": "ge2024-01-01"}, 1),
        ({"_lastUpdated": "lt2024-01-01"}, 0),
    ],
)
def test_a_person_is_found_by_name(registry: Registry, query: dict[str, str], number: int) -> None:
    assert len(registry.found("Practitioner", **query)) == number


def test_a_role_is_found_by_the_identifier_of_who_has_it(registry: Registry) -> None:
    query = {"practitioner.identifier": DOCTOR.value, "_include": "PractitionerRole:organization"}

    bundle = registry.get("PractitionerRole", **query)

    assert [one["resourceType"] for one in resources(bundle)] == [
        "PractitionerRole",
        "Organization",
    ]


def test_who_ordered_is_included_with_the_orders(registry: Registry) -> None:
    bundle = registry.get("ServiceRequest", _include="ServiceRequest:requester")

    (doctor,) = resources(bundle, "Practitioner")
    assert doctor["name"][0]["family"] == "Remittent"


def test_orders_are_found_by_the_identifier_of_who_ordered(registry: Registry) -> None:
    def of(value: str) -> list[Resource]:
        return registry.found(
            "ServiceRequest", **{"intent": "order", "requester:Practitioner.identifier": value}
        )

    assert len(of(f"{HSA_ID}|{DOCTOR.value}")) == 1
    assert of(f"{HSA_ID}|{EVIDIA.value}") == []


def test_a_written_document_stands_beside_those_of_orders(registry: Registry) -> None:
    (known, *_) = registry.found("Patient")
    patient = f"Patient/{known['id']}"
    before = len(registry.found("DocumentReference", patient=patient))
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": patient},
        "date": "2024-01-09T12:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "data": "aGVq"}}],
    }
    own = registry.ask("POST", "DocumentReference", json=document)["id"]

    found = registry.found("DocumentReference", patient=patient)

    assert own in {one["id"] for one in found}
    assert len(found) == before + 1
    dates = [one["date"] for one in found]
    assert dates == sorted(dates, reverse=True)


def test_a_written_binary_is_read_like_a_message(registry: Registry) -> None:
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVq"}
    own = registry.ask("POST", "Binary", json=binary)["id"]
    (event, *_) = registry.found("Provenance", _count="1")
    message = event["entity"][0]["what"]["reference"].removeprefix("Binary/")

    for known in (own, message):
        assert registry.get(f"Binary/{known}", _format="json")["id"] == known
    both = registry.found("Binary", _id=f"{own},{message}")
    assert {one["id"] for one in both} == {own, message}


def test_statuses_are_published(registry: Registry) -> None:
    assert registry.get("CodeSystem/bfr-exam-status")["content"] == "complete"
    assert len(registry.found("ConceptMap")) == 1


def test_a_requested_subscription_is_active_at_once(registry: Registry) -> None:
    subscription = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": "Task?status=completed",
        "channel": {"type": "rest-hook", "endpoint": "https://subscriber.test/told"},
    }

    created = registry.ask("POST", "Subscription", json=subscription)

    assert created["status"] == "active"
    assert registry.get(f"Subscription/{created['id']}")["status"] == "active"
    ended = registry.ask("PUT", f"Subscription/{created['id']}", json=created | {"status": "off"})
    assert ended["status"] == "off"


def test_a_subscription_to_what_never_changes_is_refused(registry: Registry) -> None:
    subscription = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": "CodeSystem?",
        "channel": {"type": "rest-hook", "endpoint": "https://subscriber.test/told"},
    }

    answer = registry.http("POST", f"{registry.live.fhir}/Subscription", json=subscription)

    assert answer.status_code in (400, 422)
