"""Operations: a patient's timeline, a report as a document, messages read anew."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import fhir_schema
from bfr_dicomweb.errors import InvalidRequest, NotFound
from bfr_dicomweb.fhir import operations
from bfr_dicomweb.fhir.diagnostic_report import DiagnosticReports
from bfr_dicomweb.fhir.document_reference import DocumentReferences
from bfr_dicomweb.fhir.endpoint import endpoints
from bfr_dicomweb.fhir.exchange import Call
from bfr_dicomweb.fhir.imaging_study import ImagingStudies
from bfr_dicomweb.fhir.interactions import perform
from bfr_dicomweb.fhir.patient import Patients
from bfr_dicomweb.fhir.search import Pairs
from bfr_dicomweb.fhir.service import Fhir
from bfr_dicomweb.fhir.service_request import ServiceRequests
from bfr_dicomweb.fhir.source import Source
from bfr_dicomweb.fhir.task import Tasks
from bfr_dicomweb.orders.identifiers import PERSONNUMMER
from bfr_dicomweb.services.archive import Archive
from orders_told import Registry, opened

BASE = "https://h/fhir"
TOLVAN = f"{PERSONNUMMER}|191212121212"


async def no_messages() -> int:
    return 3


@pytest.fixture
async def registry(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Registry]:
    async with opened(sqlite_url, tmp_path / "data") as empty:
        await empty.story()
        await empty.stored()
        yield empty


def service(archive: Archive) -> Fhir:
    sources: list[Source] = [
        Patients(archive),
        ServiceRequests(archive),
        Tasks(archive),
        ImagingStudies(archive),
        DiagnosticReports(archive),
        DocumentReferences(archive),
        endpoints("https://h/dicomweb"),
    ]
    told = operations.operations(no_messages)
    return Fhir.of(archive, sources, secret=bytes(32), operations=told)


async def asked(registry: Registry, method: str, path: str, **others: Any) -> dict[str, Any]:
    call = Call(method, tuple(path.split("/")), BASE, **others)
    answer = await perform(service(registry.archive), call)
    assert answer.resource is not None
    fhir_schema.validate(answer.resource)
    return answer.resource


def kinds(bundle: dict[str, Any]) -> list[str]:
    return sorted({entry["resource"]["resourceType"] for entry in bundle["entry"]})


PARAMETERS = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "identifier",
            "valueIdentifier": {"system": PERSONNUMMER, "value": "191212121212"},
        }
    ],
}
ASKED_HOW: dict[str, tuple[str, dict[str, Any]]] = {
    "query": ("GET", {"query": (("identifier", TOLVAN),)}),
    "form": ("POST", {"form": (("identifier", TOLVAN),)}),
    "parameters": ("POST", {"resource": PARAMETERS}),
}


@pytest.mark.parametrize("how", ASKED_HOW)
async def test_the_timeline_is_all_that_belongs_to_the_orders(registry: Registry, how: str) -> None:
    method, said = ASKED_HOW[how]

    bundle = await asked(registry, method, "Patient/$imaging-timeline", **said)

    assert kinds(bundle) == [
        "DiagnosticReport",
        "DocumentReference",
        "Endpoint",
        "ImagingStudy",
        "OperationOutcome",
        "ServiceRequest",
        "Task",
    ]


async def test_the_timeline_of_a_record_is_that_of_the_patient(registry: Registry) -> None:
    query: Pairs = (("identifier", TOLVAN),)
    wanted = await asked(registry, "GET", "Patient/$imaging-timeline", query=query)
    patient = wanted["entry"][0]["resource"]["subject"]["reference"]

    bundle = await asked(registry, "GET", f"{patient}/$imaging-timeline")

    assert bundle["entry"] == wanted["entry"]


@pytest.mark.parametrize("how", ["form", "parameters"])
async def test_no_link_names_a_patient_that_was_not_in_the_url(
    registry: Registry, how: str
) -> None:
    method, said = ASKED_HOW[how]

    bundle = await asked(registry, method, "Patient/$imaging-timeline", **said)

    assert "191212121212" not in str(bundle["link"])


async def test_a_timeline_is_of_somebody(registry: Registry) -> None:
    with pytest.raises(InvalidRequest, match="identifier"):
        await asked(registry, "GET", "Patient/$imaging-timeline")


async def test_a_payload_that_is_no_parameters_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidRequest, match="Parameters"):
        await asked(
            registry, "POST", "Patient/$imaging-timeline", resource={"resourceType": "List"}
        )


async def test_messages_are_read_anew_and_counted(registry: Registry) -> None:
    outcome = await asked(registry, "POST", "Task/$reprocess")

    assert outcome["issue"][0]["diagnostics"] == "3 messages were read anew."


async def the_report(registry: Registry) -> str:
    found = await asked(registry, "GET", "DiagnosticReport")
    return str(found["entry"][0]["resource"]["id"])


async def test_a_report_as_a_document_begins_with_its_composition(registry: Registry) -> None:
    report = await the_report(registry)

    bundle = await asked(registry, "GET", f"DiagnosticReport/{report}/$document")

    first, second, *_ = (entry["resource"]["resourceType"] for entry in bundle["entry"])
    assert (bundle["type"], first, second) == ("document", "Composition", "DiagnosticReport")


async def test_a_document_has_all_that_the_report_refers_to(registry: Registry) -> None:
    report = await the_report(registry)

    bundle = await asked(registry, "GET", f"DiagnosticReport/{report}/$document")

    wanted = {"Patient", "ServiceRequest", "ImagingStudy", "Endpoint"}
    assert wanted - set(kinds(bundle)) == set()


async def test_a_document_is_the_same_as_long_as_the_report_is(registry: Registry) -> None:
    report = await the_report(registry)

    twice = [await asked(registry, "GET", f"DiagnosticReport/{report}/$document") for _ in range(2)]

    assert twice[0]["identifier"] == twice[1]["identifier"]


async def test_there_is_no_document_of_no_report(registry: Registry) -> None:
    with pytest.raises(NotFound):
        await asked(registry, "GET", "DiagnosticReport/r1/$document")
