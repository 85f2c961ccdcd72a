"""Batches and transactions over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bfr_dicomweb.fhir.limits import Limits
from fhir_schema import validate
from fhir_served import BASE, Served, matched, served

UNIT: dict[str, Any] = {
    "resourceType": "Organization",
    "name": "Unit",
    "identifier": [{"value": "U1"}],
}
ROLE: dict[str, Any] = {
    "resourceType": "PractitionerRole",
    "organization": {"reference": "urn:uuid:0a0a0a0a-0000-4000-8000-000000000001"},
}


@pytest.fixture
async def fhir(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Served]:
    async with served(tmp_path, sqlite_url) as one:
        yield one


@pytest.fixture
async def client(fhir: Served) -> httpx2.AsyncClient:
    return fhir.client


def entry(
    method: str, url: str, resource: dict[str, Any] | None = None, **request: str
) -> dict[str, Any]:
    made: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    return made if resource is None else {**made, "resource": resource}


def bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


async def post(client: httpx2.AsyncClient, sent: dict[str, Any], status: int = 200) -> Any:
    response = await client.post(BASE, json=sent)
    assert response.status_code == status, response.text
    answer = response.json()
    validate(answer)
    return answer


def statuses(answer: dict[str, Any]) -> list[str]:
    return [one["response"]["status"].split()[0] for one in answer["entry"]]


async def count(client: httpx2.AsyncClient, kind: str) -> int:
    total: int = (await client.get(f"{BASE}/{kind}?_summary=count")).json()["total"]
    return total


async def test_entries_of_a_batch_succeed_and_fail_each_for_itself(
    client: httpx2.AsyncClient,
) -> None:
    answer = await post(
        client,
        bundle(
            "batch",
            entry("POST", "Organization", UNIT),
            entry("GET", "Organization/none"),
            entry("POST", "Organization", {**UNIT, "colour": "red"}),
            entry("GET", "Organization?identifier=U1"),
            entry("POST", "Task", {"resourceType": "Task"}),
        ),
    )

    assert statuses(answer) == ["201", "404", "400", "200", "405"]


async def test_a_failed_entry_of_a_batch_has_an_outcome(client: httpx2.AsyncClient) -> None:
    answer = await post(client, bundle("batch", entry("GET", "Organization/none")))

    assert answer["entry"][0]["response"]["outcome"]["issue"][0]["code"] == "not-found"


async def test_a_search_in_a_batch_has_a_bundle(client: httpx2.AsyncClient) -> None:
    await client.post(f"{BASE}/Organization", json=UNIT)

    answer = await post(client, bundle("batch", entry("GET", "Organization?identifier=U1")))

    assert len(matched(answer["entry"][0]["resource"])) == 1


async def test_a_transaction_links_the_resources_that_it_creates(
    client: httpx2.AsyncClient,
) -> None:
    unit = {**entry("POST", "Organization", UNIT), "fullUrl": ROLE["organization"]["reference"]}

    answer = await post(
        client, bundle("transaction", entry("POST", "PractitionerRole", ROLE), unit)
    )

    role, organization = (one["resource"] for one in answer["entry"])
    assert role["organization"]["reference"] == f"Organization/{organization['id']}"


async def test_a_transaction_with_a_bad_entry_writes_nothing(client: httpx2.AsyncClient) -> None:
    await post(
        client,
        bundle(
            "transaction",
            entry("POST", "Organization", UNIT),
            entry("POST", "Organization", {**UNIT, "colour": "red"}),
        ),
        400,
    )

    assert await count(client, "Organization") == 0


async def test_a_transaction_that_comes_too_late_writes_nothing(client: httpx2.AsyncClient) -> None:
    await client.put(f"{BASE}/Organization/u", json={**UNIT, "id": "u"})
    changed = {**UNIT, "id": "u", "name": "other"}

    await post(
        client,
        bundle(
            "transaction",
            entry("POST", "Organization", UNIT),
            entry("PUT", "Organization/u", changed, ifMatch='W/"7"'),
        ),
        412,
    )

    assert await count(client, "Organization") == 1


async def test_a_transaction_reads_what_it_has_written(client: httpx2.AsyncClient) -> None:
    answer = await post(
        client,
        bundle(
            "transaction",
            entry("GET", "Organization/u"),
            entry("PUT", "Organization/u", {**UNIT, "id": "u"}),
        ),
    )

    assert answer["entry"][0]["resource"]["name"] == "Unit"


async def test_a_transaction_deletes(client: httpx2.AsyncClient) -> None:
    await client.put(f"{BASE}/Organization/u", json={**UNIT, "id": "u"})

    answer = await post(client, bundle("transaction", entry("DELETE", "Organization/u")))

    assert statuses(answer) == ["204"]


async def test_a_transaction_links_to_what_was_there_already(client: httpx2.AsyncClient) -> None:
    made = (await client.post(f"{BASE}/Organization", json=UNIT)).json()
    unit = {
        **entry("POST", "Organization", UNIT, ifNoneExist="identifier=U1"),
        "fullUrl": ROLE["organization"]["reference"],
    }

    answer = await post(
        client, bundle("transaction", unit, entry("POST", "PractitionerRole", ROLE))
    )

    assert statuses(answer) == ["200", "201"]
    assert answer["entry"][1]["resource"]["organization"]["reference"] == (
        f"Organization/{made['id']}"
    )


async def test_a_conditional_reference_becomes_what_it_finds(client: httpx2.AsyncClient) -> None:
    made = (await client.post(f"{BASE}/Organization", json=UNIT)).json()
    role = {**ROLE, "organization": {"reference": "Organization?identifier=U1"}}

    answer = await post(client, bundle("transaction", entry("POST", "PractitionerRole", role)))

    assert answer["entry"][0]["resource"]["organization"]["reference"] == (
        f"Organization/{made['id']}"
    )


async def test_a_conditional_reference_that_finds_nothing_is_refused(
    client: httpx2.AsyncClient,
) -> None:
    role = {**ROLE, "organization": {"reference": "Organization?identifier=none"}}

    await post(client, bundle("transaction", entry("POST", "PractitionerRole", role)), 412)


async def test_two_changes_of_one_resource_are_refused(client: httpx2.AsyncClient) -> None:
    put = entry("PUT", "Organization/u", {**UNIT, "id": "u"})

    await post(client, bundle("transaction", put, put), 400)


@pytest.mark.parametrize(
    "sent",
    [
        UNIT,
        bundle("collection"),
        bundle("batch", {}),
        bundle("batch", {"request": {"method": "GET"}}),
        bundle("batch", {"request": {"url": "Task"}}),
        bundle("transaction", entry("PATCH", "Organization/u")),
        bundle("transaction", entry("POST", "Organization/u/$x", UNIT)),
        {"resourceType": "Bundle", "type": "batch", "entry": {}},
        {"resourceType": "Bundle", "type": "batch", "entry": [3]},
    ],
)
async def test_what_is_no_batch_is_refused(fhir: Served, sent: dict[str, Any]) -> None:
    response = await fhir.client.post(BASE, json=sent)

    # an entry that is none fails alone in a batch
    failed = response.status_code == 400 or statuses(response.json()) == ["400"]
    assert failed


async def test_a_batch_with_too_many_entries_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url, limits=Limits(entries=2)) as one:
        response = await one.client.post(
            BASE, json=bundle("batch", *[entry("GET", "Organization")] * 3)
        )

    assert response.status_code == 413


async def test_an_empty_batch_has_an_empty_answer(client: httpx2.AsyncClient) -> None:
    answer = await post(client, {"resourceType": "Bundle", "type": "batch"})

    assert answer == {"resourceType": "Bundle", "type": "batch-response"}
