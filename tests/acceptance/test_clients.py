"""Clients that others wrote read what the server answers: fhirpy, and fhirclient of SMART."""

import importlib
from collections.abc import Iterator
from typing import Any, Final

import pytest
from fhirclient.client import FHIRClient
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

import fhir_schema
import registry as registries
from hl7_said import STORY, THORAX, status
from objects import an_object
from registry import PERSONNUMMER, Registry, eventually

PATIENT: Final = f"{PERSONNUMMER}|191212121212"
TYPES: Final = (
    "Patient",
    "ServiceRequest",
    "Task",
    "ImagingStudy",
    "DiagnosticReport",
    "DocumentReference",
    "Provenance",
    "DetectedIssue",
    "Endpoint",
    "Organization",
    "Practitioner",
)
# Of these a search has to say whose it looks for.
NARROWED: Final = {"DocumentReference": {"patient.identifier": PATIENT}}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Filled with something of every type."""
    with registries.running(tmp_path_factory.mktemp("clients")) as running:
        running.store(
            an_object(StudyInstanceUID=THORAX.study_uid, AccessionNumber=THORAX.accession)
        )
        codes = ("SC", "ZZ", "")
        unknown = status(THORAX, codes=codes, control_id="ZZ", time="20240110091000")
        running.told(*(tell() for tell in STORY), unknown)
        eventually(lambda: running.found("ImagingStudy", status="available"), bool)
        yield running


@pytest.mark.parametrize("kind", TYPES)
async def test_fhirpy_finds_and_reads_each_type(registry: Registry, kind: str) -> None:
    client = AsyncFHIRClient(registry.live.fhir)

    found = await client.resources(kind).search(**NARROWED.get(kind, {})).limit(5).fetch()

    assert found
    for one in found:
        read = await client.reference(kind, one["id"]).to_resource()
        assert dict(read) == dict(one)


async def test_fhirpy_walks_all_pages(registry: Registry) -> None:
    client = AsyncFHIRClient(registry.live.fhir)

    found = await client.resources("Provenance").limit(2).fetch_all()

    expected = registry.found("Provenance", _count="500")
    assert [one["id"] for one in found] == [one["id"] for one in expected]


async def test_fhirpy_follows_references_of_a_report(registry: Registry) -> None:
    client = AsyncFHIRClient(registry.live.fhir)
    search = client.resources("DiagnosticReport").search(**{"based-on.identifier": "SU24000123"})

    report = await search.first()

    assert report is not None
    exam = await report["basedOn"][0].to_resource()
    person = await report["subject"].to_resource()
    assert (exam["resourceType"], person["resourceType"]) == ("ServiceRequest", "Patient")


def test_fhirpy_understands_what_is_wrong(registry: Registry) -> None:
    client = SyncFHIRClient(registry.live.fhir)

    with pytest.raises(ResourceNotFound):
        client.reference("Patient", "p99999999").to_resource()
    with pytest.raises(OperationOutcome):
        client.resources("Task").search(_count="many").fetch()


@pytest.fixture(scope="module")
def smart(registry: Registry) -> FHIRClient:
    return FHIRClient(settings={"app_id": "test", "api_base": registry.live.fhir})


def model(kind: str) -> Any:
    return getattr(importlib.import_module(f"fhirclient.models.{kind.lower()}"), kind)


@pytest.mark.parametrize("kind", TYPES)
def test_fhirclient_finds_and_reads_each_type(
    registry: Registry, smart: FHIRClient, kind: str
) -> None:
    query = {"_count": "5", **NARROWED.get(kind, {})}

    answered = model(kind).where(struct=query).perform_resources_iter(smart.server)

    # beside an OperationOutcome, where there are reasons to tell
    found = [one for one in answered if one.resource_type == kind]
    assert found
    for one in found:
        read = model(kind).read(one.id, smart.server)
        assert read.as_json() == one.as_json() == registry.get(f"{kind}/{one.id}")


def test_fhirclient_understands_the_capabilities(smart: FHIRClient) -> None:
    from fhirclient.models.capabilitystatement import CapabilityStatement

    statement = CapabilityStatement.read_from("metadata", smart.server)

    assert statement.fhirVersion == "4.0.1"
    assert set(TYPES) <= {one.type for one in statement.rest[0].resource}


def all_pages(registry: Registry, kind: str) -> list[dict[str, Any]]:
    bundle = registry.get(kind, _count="3", **NARROWED.get(kind, {}))
    bundles = [bundle]
    while following := [link for link in bundle["link"] if link["relation"] == "next"]:
        bundle = registry.ask("GET", following[0]["url"])
        bundles.append(bundle)
    return bundles


@pytest.mark.parametrize("kind", TYPES)
def test_searches_reads_versions_and_histories_are_valid(registry: Registry, kind: str) -> None:
    """Every answer is compared with the schema of R4 where it is received."""
    ids = [
        entry["resource"]["id"]
        for bundle in all_pages(registry, kind)
        for entry in bundle["entry"]
        if entry["search"]["mode"] == "match"
    ]

    for id_ in ids:
        one = registry.get(f"{kind}/{id_}")
        version = one["meta"]["versionId"]
        assert registry.get(f"{kind}/{id_}/_history/{version}") == one
        registry.get(f"{kind}/{id_}/_history")
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize(
    ("method", "path", "status_code"),
    [
        ("GET", "Patient/p99999999", 404),
        ("GET", "Patient/no%20such", 404),
        ("GET", "NoSuchType", 404),
        ("GET", "Task?_count=many", 400),
        ("GET", "Task?no-such-parameter=1", 200),
        ("POST", "Patient", 405),
        ("PUT", "Task/e1", 405),
        ("DELETE", "Task/e1", 405),
        ("POST", "Subscription", 400),
        ("GET", "Task?_format=xml", 406),
    ],
)
def test_what_is_wrong_is_told_as_an_outcome(
    registry: Registry, method: str, path: str, status_code: int
) -> None:
    answer = registry.http(method, f"{registry.live.fhir}/{path}")

    fhir_schema.validate(answer.json())
    assert answer.status_code == status_code
