"""What the service says of itself, and whether it says so from tables that are the standard's."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import fhir_schema
from bfr_dicomweb.fhir import capability
from bfr_dicomweb.fhir.exchange import Answer, Call
from bfr_dicomweb.fhir.search_parameters import PARAMETERS, Parameter
from bfr_dicomweb.fhir.service import Fhir, Operation
from bfr_dicomweb.fhir.summaries import MANDATORY, SUMMARY
from fhir_schema import validate
from fhir_served import BASE, Served, served


async def echo(_: Fhir, call: Call) -> Answer:
    return Answer(200, {"resourceType": "Basic", "id": call.path[-1]})


@pytest.fixture
async def fhir(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Served]:
    operations = (
        Operation("system-wide", "system", echo),
        Operation("of-type", "type", echo, "Patient", methods=("POST",)),
        Operation("of-one", "instance", echo, "Patient", methods=("GET",)),
    )
    async with served(tmp_path, sqlite_url, operations=operations) as one:
        yield one


@pytest.fixture
async def statement(fhir: Served) -> dict[str, Any]:
    found: dict[str, Any] = (await fhir.client.get(f"{BASE}/metadata")).json()
    return found


def test_the_statement_is_valid(statement: dict[str, Any]) -> None:
    validate(statement)


def test_the_statement_is_of_r4(statement: dict[str, Any]) -> None:
    assert statement["fhirVersion"] == "4.0.1"


def test_every_type_that_is_served_is_in_the_statement(
    fhir: Served, statement: dict[str, Any]
) -> None:
    assert {one["type"] for one in statement["rest"][0]["resource"]} == fhir.fhir.sources.keys()


def test_only_types_that_clients_may_write_are_said_to_be_created(
    fhir: Served, statement: dict[str, Any]
) -> None:
    created = {
        one["type"]
        for one in statement["rest"][0]["resource"]
        if {"code": "create"} in one["interaction"]
    }

    assert created == fhir.fhir.writable.keys()


async def test_every_search_parameter_of_the_statement_is_taken(
    fhir: Served, statement: dict[str, Any]
) -> None:
    values = {"date": "2024", "reference": "Patient/p1", "token": "x", "string": "x", "uri": "x"}
    for one in statement["rest"][0]["resource"]:
        query = {p["name"]: values[p["type"]] for p in one["searchParam"]}
        response = await fhir.client.get(
            f"{BASE}/{one['type']}", params=query, headers={"Prefer": "handling=strict"}
        )
        assert response.status_code == 200, (one["type"], response.text)


async def test_every_include_of_the_statement_is_taken(
    fhir: Served, statement: dict[str, Any]
) -> None:
    for one in statement["rest"][0]["resource"]:
        query = [("_include", value) for value in one.get("searchInclude", ())]
        query += [("_revinclude", value) for value in one.get("searchRevInclude", ())]
        for pair in query:
            response = await fhir.client.get(f"{BASE}/{one['type']}", params=[pair])
            assert response.status_code == 200, (pair, response.text)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "$system-wide", 200),
        ("POST", "$system-wide", 200),
        ("POST", "Patient/$of-type", 200),
        ("GET", "Patient/$of-type", 405),
        ("GET", "Patient/p1/$of-one", 200),
        ("HEAD", "Patient/p1/$of-one", 200),
        ("GET", "Patient/$of-one", 404),
        ("GET", "Task/p1/$of-one", 404),
    ],
)
async def test_an_operation_is_performed_where_it_is_registered(
    fhir: Served, method: str, path: str, status: int
) -> None:
    response = await fhir.client.request(method, f"{BASE}/{path}")

    assert response.status_code == status


def of_r4() -> dict[tuple[str, str], dict[str, Any]]:
    """The search parameters of R4 by type and name."""
    bundle = fhir_schema.definition("search-parameters.json")
    return {
        (base, entry["resource"]["code"]): entry["resource"]
        for entry in bundle["entry"]
        for base in entry["resource"]["base"]
    }


# What we offer beyond R4, and define ourselves.
BEYOND = {
    (definition["base"][0], definition["code"]) for definition in capability.own_search_parameters()
}
OFFERED = [
    pytest.param(kind, parameter, id=f"{kind}-{parameter.name}")
    for kind, parameters in PARAMETERS.items()
    for parameter in parameters.offered
    if (kind, parameter.name) not in BEYOND
]


@pytest.mark.parametrize(("kind", "parameter"), OFFERED)
def test_a_search_parameter_has_the_kind_that_r4_gives_it(kind: str, parameter: Parameter) -> None:
    published = of_r4()
    base = "Resource" if parameter.name.startswith("_") else kind

    assert published[base, parameter.name]["type"] == parameter.kind


@pytest.mark.parametrize(("kind", "parameter"), OFFERED)
def test_a_search_parameter_looks_where_r4_says(kind: str, parameter: Parameter) -> None:
    base = "Resource" if parameter.name.startswith("_") else kind
    expression = of_r4()[base, parameter.name]["expression"]
    # of a path the elements alone: R4 writes conditions and types in a language of its own
    looked = {path.split("[")[0].removesuffix("DateTime") for path in parameter.paths}
    if (kind, parameter.name) == ("ImagingStudy", "modality"):
        looked.remove("modality")  # of an awaited study, which has no series yet

    for path in looked:
        shortened = path.removesuffix("Period").removesuffix("Timing").removesuffix("DateTime")
        assert f"{base}.{shortened}" in expression


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_the_elements_of_a_summary_are_elements_of_the_type(kind: str) -> None:
    schema = fhir_schema.definition("fhir.schema.json")["definitions"][kind]
    names = set(schema["properties"])
    parts = SUMMARY.get(kind, frozenset()) | MANDATORY.get(kind, frozenset())

    assert all(
        any(name.startswith(part[:-3]) for name in names) if part.endswith("[x]") else part in names
        for part in parts
    )


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_what_the_schema_demands_is_mandatory(kind: str) -> None:
    schema = fhir_schema.definition("fhir.schema.json")["definitions"][kind]

    assert set(schema.get("required", ())) - {"resourceType"} <= MANDATORY.get(kind, frozenset())


def test_every_type_with_parameters_has_a_summary() -> None:
    assert PARAMETERS.keys() == SUMMARY.keys()


@pytest.mark.parametrize("definition", capability.own_search_parameters())
def test_what_r4_does_not_define_is_defined(definition: dict[str, Any]) -> None:
    validate(definition)
