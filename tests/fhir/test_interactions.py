"""Reading and writing single resources over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fhir_schema
from bfr_dicomweb import errors
from bfr_dicomweb.fhir import outcomes
from bfr_dicomweb.fhir.limits import Limits
from bfr_dicomweb.fhir.written import REQUIRED_CODES
from bfr_dicomweb.http.border import HTTP_STATUS
from fhir_schema import validate
from fhir_served import BASE, Served, link, matched, served

UNIT: dict[str, Any] = {
    "resourceType": "Organization",
    "name": "Vårdcentralen Hjällbo",
    "identifier": [{"system": "urn:oid:1.2.752.29.4.19", "value": "SE2321000131-E000000000011"}],
}


@pytest.fixture
async def fhir(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Served]:
    async with served(tmp_path, sqlite_url) as one:
        yield one


@pytest.fixture
async def client(fhir: Served) -> httpx2.AsyncClient:
    return fhir.client


async def create(client: httpx2.AsyncClient, resource: dict[str, Any], **headers: str) -> Any:
    kind = resource["resourceType"]
    response = await client.post(f"{BASE}/{kind}", json=resource, headers=headers)
    assert response.status_code in (200, 201), response.text
    return response.json()


async def test_a_created_resource_is_answered_with_its_place(client: httpx2.AsyncClient) -> None:
    response = await client.post(f"{BASE}/Organization", json=UNIT)

    made = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"{BASE}/Organization/{made['id']}/_history/1"


async def test_a_created_resource_is_read_as_it_was_written(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)

    read = (await client.get(f"{BASE}/Organization/{made['id']}")).json()

    assert {name: read[name] for name in UNIT} == UNIT


async def test_what_is_read_is_valid(client: httpx2.AsyncClient) -> None:
    validate(await create(client, UNIT))


async def test_a_read_tells_the_version_and_its_time(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)

    response = await client.get(f"{BASE}/Organization/{made['id']}")

    assert response.headers["ETag"] == 'W/"1"'
    assert response.headers["Last-Modified"].endswith(" GMT")


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If-None-Match", 'W/"1"', 304),
        ("If-None-Match", '"1"', 304),
        ("If-None-Match", 'W/"0", W/"1"', 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", 'W/"2"', 200),
        ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", 304),
        ("If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 200),
        ("If-Modified-Since", "yesterday", 200),
    ],
)
async def test_what_the_client_has_is_not_sent_again(
    client: httpx2.AsyncClient, name: str, value: str, status: int
) -> None:
    made = await create(client, UNIT)

    response = await client.get(f"{BASE}/Organization/{made['id']}", headers={name: value})

    assert response.status_code == status


async def test_head_has_the_headers_of_get_and_no_payload(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)
    url = f"{BASE}/Organization/{made['id']}"

    known = {"X-Request-ID": "one"}

    head, get = await client.head(url, headers=known), await client.get(url, headers=known)

    assert (head.content, dict(head.headers)) == (b"", dict(get.headers))


async def test_an_update_is_the_next_version(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)

    response = await client.put(
        f"{BASE}/Organization/{made['id']}", json={**made, "name": "Hjällbo"}
    )

    assert (response.status_code, response.headers["ETag"]) == (200, 'W/"2"')


async def test_an_update_of_what_is_not_there_creates_it(client: httpx2.AsyncClient) -> None:
    response = await client.put(f"{BASE}/Organization/own-id", json={**UNIT, "id": "own-id"})

    assert (response.status_code, response.json()["id"]) == (201, "own-id")


async def test_an_update_that_knows_an_older_version_is_refused(
    client: httpx2.AsyncClient,
) -> None:
    made = await create(client, UNIT)
    url = f"{BASE}/Organization/{made['id']}"
    await client.put(url, json=made)

    response = await client.put(url, json=made, headers={"If-Match": 'W/"1"'})

    assert response.status_code == 412


async def test_an_update_that_knows_the_current_version_is_taken(
    client: httpx2.AsyncClient,
) -> None:
    made = await create(client, UNIT)
    url = f"{BASE}/Organization/{made['id']}"

    response = await client.put(url, json=made, headers={"If-Match": 'W/"1"'})

    assert response.status_code == 200


@pytest.mark.parametrize(
    "changed", [{"id": "other"}, {"id": None}, {"resourceType": "Practitioner"}]
)
async def test_an_update_of_another_resource_than_the_url_names_is_refused(
    client: httpx2.AsyncClient, changed: dict[str, Any]
) -> None:
    response = await client.put(f"{BASE}/Organization/own", json={**UNIT, "id": "own", **changed})

    assert response.status_code == 400


async def test_an_update_that_wants_to_be_the_first_is_refused_when_it_is_not(
    client: httpx2.AsyncClient,
) -> None:
    made = await create(client, UNIT)

    response = await client.put(
        f"{BASE}/Organization/{made['id']}", json=made, headers={"If-None-Match": "*"}
    )

    assert response.status_code == 412


async def test_of_updates_at_the_same_time_that_know_one_version_one_is_taken(
    client: httpx2.AsyncClient,
) -> None:
    made = await create(client, UNIT)
    url, known = f"{BASE}/Organization/{made['id']}", {"If-Match": 'W/"1"'}

    responses = await asyncio.gather(*(client.put(url, json=made, headers=known) for _ in range(5)))

    assert sorted(one.status_code for one in responses) == [200, 412, 412, 412, 412]


async def test_what_comes_from_elsewhere_cannot_be_written(fhir: Served) -> None:
    fhir.put("Organization", **{**UNIT, "id": "derived"})

    response = await fhir.client.put(f"{BASE}/Organization/derived", json={**UNIT, "id": "derived"})

    assert response.status_code == 409


async def test_a_deleted_resource_is_gone(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)
    url = f"{BASE}/Organization/{made['id']}"

    deleted, read = await client.delete(url), await client.get(url)

    assert (deleted.status_code, read.status_code) == (204, 410)


async def test_a_deleted_resource_is_not_found_by_a_search(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)
    await client.delete(f"{BASE}/Organization/{made['id']}")

    found = await client.get(f"{BASE}/Organization?identifier=SE2321000131-E000000000011")

    assert matched(found.json()) == []


async def test_a_version_is_read_after_it_was_replaced(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)
    url = f"{BASE}/Organization/{made['id']}"
    await client.put(url, json={**made, "name": "Hjällbo"})

    first = await client.get(f"{url}/_history/1")

    assert first.json()["name"] == UNIT["name"]


@pytest.mark.parametrize(
    "path", ["Organization/none", "Organization/none/_history", "Task/1/_history/1"]
)
async def test_what_is_not_there_is_not_found(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(f"{BASE}/{path}")

    assert (response.status_code, response.json()["issue"][0]["code"]) == (404, "not-found")


@pytest.mark.parametrize("path", ["Nothing", "Nothing/1", "Nothing/_search", "$nothing", "a/b/c/d"])
async def test_what_there_is_no_such_thing_of_is_not_found(
    client: httpx2.AsyncClient, path: str
) -> None:
    response = await client.get(f"{BASE}/{path}")

    assert response.status_code == 404


async def test_a_history_has_all_versions_the_last_one_first(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)
    url = f"{BASE}/Organization/{made['id']}"
    await client.put(url, json=made)
    await client.delete(url)

    bundle = (await client.get(f"{url}/_history")).json()

    validate(bundle)
    assert [entry["request"]["method"] for entry in bundle["entry"]] == ["DELETE", "PUT", "PUT"]


async def test_a_history_is_read_in_pages(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)
    url = f"{BASE}/Organization/{made['id']}"
    for _ in range(4):
        await client.put(url, json=made)
    versions: list[str] = []
    following: str | None = f"{url}/_history?_count=2"
    while following is not None:
        bundle = (await client.get(following)).json()
        versions += [entry["response"]["etag"] for entry in bundle["entry"]]
        following = link(bundle, "next")

    assert versions == ['W/"5"', 'W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']


async def test_a_history_since_a_time_leaves_out_what_is_older(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)

    bundle = await client.get(
        f"{BASE}/Organization/{made['id']}/_history?_since=2100-01-01T00:00:00Z"
    )

    assert bundle.json()["total"] == 0


async def test_a_written_resource_is_found_by_its_identifier(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)

    found = await client.get(f"{BASE}/Organization?identifier=SE2321000131-E000000000011")

    assert matched(found.json()) == [made["id"]]


async def test_an_hsa_id_is_found_under_its_other_system(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)
    asked = "urn:oid:1.2.752.129.2.1.4.1|SE2321000131-E000000000011"

    found = await client.get(f"{BASE}/Organization", params={"identifier": asked})

    assert matched(found.json()) == [made["id"]]


async def test_written_resources_are_walked_in_pages(client: httpx2.AsyncClient) -> None:
    made = [(await create(client, {**UNIT, "name": f"unit {n}"}))["id"] for n in range(5)]
    found: list[str] = []
    following: str | None = f"{BASE}/Organization?_count=2"
    while following is not None:
        bundle = (await client.get(following)).json()
        found += matched(bundle)
        following = link(bundle, "next")

    assert found == made[::-1]


async def test_if_none_exist_creates_once(client: httpx2.AsyncClient) -> None:
    condition = {"If-None-Exist": "identifier=SE2321000131-E000000000011"}

    first = await create(client, UNIT, **condition)
    second = await client.post(f"{BASE}/Organization", json=UNIT, headers=condition)

    assert (second.status_code, second.json()["id"]) == (200, first["id"])


async def test_if_none_exist_that_finds_several_is_refused(client: httpx2.AsyncClient) -> None:
    await create(client, UNIT)
    await create(client, UNIT)

    response = await client.post(
        f"{BASE}/Organization",
        json=UNIT,
        headers={"If-None-Exist": "identifier=SE2321000131-E000000000011"},
    )

    assert response.status_code == 412


@pytest.mark.parametrize("condition", ["", "shoe-size=44"])
async def test_a_condition_that_says_nothing_is_refused(
    client: httpx2.AsyncClient, condition: str
) -> None:
    response = await client.post(
        f"{BASE}/Organization", json=UNIT, headers={"If-None-Exist": condition}
    )

    assert response.status_code == 400


async def test_a_conditional_update_changes_what_it_finds(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)

    response = await client.put(
        f"{BASE}/Organization?identifier=SE2321000131-E000000000011", json=UNIT
    )

    assert (response.json()["id"], response.headers["ETag"]) == (made["id"], 'W/"2"')


async def test_a_conditional_update_that_finds_nothing_creates(client: httpx2.AsyncClient) -> None:
    response = await client.put(f"{BASE}/Organization?identifier=none", json=UNIT)

    assert response.status_code == 201


async def test_a_conditional_delete_deletes_what_it_finds(client: httpx2.AsyncClient) -> None:
    made = await create(client, UNIT)
    await client.delete(f"{BASE}/Organization?identifier=SE2321000131-E000000000011")

    response = await client.get(f"{BASE}/Organization/{made['id']}")

    assert response.status_code == 410


@pytest.mark.parametrize(
    ("preference", "kind"),
    [("representation", "Organization"), ("OperationOutcome", "OperationOutcome")],
)
async def test_a_client_says_what_it_wants_back(
    client: httpx2.AsyncClient, preference: str, kind: str
) -> None:
    response = await client.post(
        f"{BASE}/Organization", json=UNIT, headers={"Prefer": f"return={preference}"}
    )

    assert response.json()["resourceType"] == kind


async def test_a_client_that_wants_little_back_gets_no_payload(client: httpx2.AsyncClient) -> None:
    response = await client.post(
        f"{BASE}/Organization", json=UNIT, headers={"Prefer": "return=minimal"}
    )

    assert (response.status_code, response.content) == (201, b"")


ENDPOINT: dict[str, Any] = {
    "resourceType": "Endpoint",
    "status": "active",
    "connectionType": {"code": "dicom-wado-rs"},
    "payloadType": [{"text": "DICOM"}],
    "address": "https://archive.test",
}


@pytest.mark.parametrize(
    "resource",
    [
        {**ENDPOINT, "status": "zzz"},
        {**ENDPOINT, "status": None},
        {**ENDPOINT, "colour": "red"},
        {**ENDPOINT, "period": {"start": "yesterday"}},
        {**ENDPOINT, "contact": [{"system": "pigeon", "value": "x"}], "telecom": 3},
        {name: value for name, value in ENDPOINT.items() if name != "payloadType"},
        {**UNIT, "telecom": [{"system": "pigeon", "value": "x"}]},
        {"resourceType": "Practitioner", "gender": "zzz"},
    ],
)
async def test_what_is_not_valid_is_refused(
    client: httpx2.AsyncClient, resource: dict[str, Any]
) -> None:
    response = await client.post(f"{BASE}/{resource['resourceType']}", json=resource)

    assert (response.status_code, response.json()["issue"][0]["code"]) == (400, "invalid")


async def test_a_refusal_does_not_repeat_what_was_sent(client: httpx2.AsyncClient) -> None:
    resource = {"resourceType": "Practitioner", "birthDate": "191212121212"}

    response = await client.post(f"{BASE}/Practitioner", json=resource)

    assert "191212" not in response.text


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b'{"name":"x"}',
        b'{"resourceType":3}',
        b"\xff",
        b'{"resourceType":"Organization","name":"a\\u0000b"}',
        b'{"resourceType":"Organization","contact":' + b"[" * 500 + b"]" * 500 + b"}",
    ],
)
async def test_what_is_no_resource_is_refused(client: httpx2.AsyncClient, payload: bytes) -> None:
    response = await client.post(
        f"{BASE}/Organization", content=payload, headers={"Content-Type": "application/fhir+json"}
    )

    assert response.status_code == 400


async def test_a_payload_of_another_media_type_is_refused(client: httpx2.AsyncClient) -> None:
    response = await client.post(
        f"{BASE}/Organization", content=b"<x/>", headers={"Content-Type": "application/fhir+xml"}
    )

    assert response.status_code == 415


async def test_a_payload_that_is_too_large_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url, limits=Limits(body_bytes=100)) as one:
        response = await one.client.post(f"{BASE}/Organization", json=UNIT)

    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "Task", {"GET", "HEAD"}),
        ("PUT", "Task/1", {"GET", "HEAD"}),
        ("PATCH", "Organization/1", {"GET", "HEAD", "PUT", "DELETE", "POST"}),
        ("POST", "metadata", {"GET", "HEAD"}),
        ("DELETE", "Task/1/_history", {"GET", "HEAD"}),
    ],
)
async def test_a_method_that_a_resource_does_not_have_is_refused(
    client: httpx2.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    response = await client.request(method, f"{BASE}/{path}")

    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {*allowed, "OPTIONS"}


@pytest.mark.parametrize(
    ("accept", "made"),
    [
        ("application/fhir+json", "application/fhir+json"),
        ("application/json", "application/json"),
        ("*/*", "application/fhir+json"),
        ("application/fhir+xml, application/fhir+json;q=0.5", "application/fhir+json"),
        ("application/fhir+json; fhirVersion=4.0", "application/fhir+json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/fhir+json"),
    ],
)
async def test_the_media_type_is_one_that_the_client_takes(
    client: httpx2.AsyncClient, accept: str, made: str
) -> None:
    response = await client.get(f"{BASE}/metadata", headers={"Accept": accept})

    assert response.headers["Content-Type"] == made


@pytest.mark.parametrize(
    "accept", ["application/fhir+xml", "text/turtle", "application/fhir+json; fhirVersion=5.0"]
)
async def test_another_media_type_is_refused_with_an_outcome(
    client: httpx2.AsyncClient, accept: str
) -> None:
    response = await client.get(f"{BASE}/metadata", headers={"Accept": accept})

    assert (response.status_code, response.json()["resourceType"]) == (406, "OperationOutcome")


@pytest.mark.parametrize(
    ("wanted", "status"), [("json", 200), ("application/fhir+json", 200), ("xml", 406)]
)
async def test_format_counts_more_than_accept(
    client: httpx2.AsyncClient, wanted: str, status: int
) -> None:
    response = await client.get(
        f"{BASE}/metadata",
        params={"_format": wanted},
        headers={"Accept": "application/fhir+xml" if status == 200 else "application/json"},
    )

    assert response.status_code == status


async def test_a_pretty_answer_has_lines(client: httpx2.AsyncClient) -> None:
    response = await client.get(f"{BASE}/metadata?_pretty=true")

    assert response.text.startswith('{\n  "resourceType"')


async def test_bytes_that_are_posted_become_a_binary(client: httpx2.AsyncClient) -> None:
    made = await client.post(
        f"{BASE}/Binary", content=b"%PDF-1.7", headers={"Content-Type": "application/pdf"}
    )

    read = await client.get(f"{BASE}/Binary/{made.json()['id']}", headers={"Accept": "*/*"})

    assert (read.content, read.headers["Content-Type"]) == (b"%PDF-1.7", "application/pdf")


async def test_a_binary_is_a_resource_for_who_asks_for_one(client: httpx2.AsyncClient) -> None:
    made = await client.post(
        f"{BASE}/Binary", content=b"%PDF-1.7", headers={"Content-Type": "application/pdf"}
    )

    read = await client.get(
        f"{BASE}/Binary/{made.json()['id']}", headers={"Accept": "application/fhir+json"}
    )

    assert (read.json()["resourceType"], read.json()["data"]) == ("Binary", "JVBERi0xLjc=")


async def test_what_took_its_place_is_named(fhir: Served) -> None:
    fhir.shelves["ServiceRequest"].unavailable.add("o1")

    response = await fhir.client.get(f"{BASE}/ServiceRequest/o1")

    assert (response.status_code, response.json()["issue"][0]["code"]) == (410, "deleted")


def concrete(kind: type[errors.ArchiveError]) -> set[type[errors.ArchiveError]]:
    return {kind}.union(*(concrete(sub) for sub in kind.__subclasses__()))


ERRORS = sorted(concrete(errors.ArchiveError), key=str)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_reported_as_a_valid_outcome(kind: type[errors.ArchiveError]) -> None:
    error = kind.__new__(kind)

    validate(outcomes.of_error(error, "what happened"))


def test_every_error_that_can_be_raised_has_a_status() -> None:
    # a door may have errors of its own, which no other door meets
    shared = {cls for cls in concrete(errors.ArchiveError) if cls.__module__ == errors.__name__}

    assert shared - {errors.ArchiveError} == HTTP_STATUS.keys()


def test_a_bug_is_reported_as_an_exception() -> None:
    assert outcomes.of_error(None, "x")["issue"][0]["code"] == "exception"


@pytest.mark.parametrize("kind", sorted(REQUIRED_CODES))
def test_required_codes_are_those_of_the_standard(kind: str) -> None:
    published = fhir_schema.definition(fhir_schema.CODES)[kind]

    assert {path: sorted(codes) for path, codes in REQUIRED_CODES[kind].items()} == published


def test_no_required_code_of_a_type_that_is_written_is_forgotten(
    published: dict[str, dict[str, list[str]]],
) -> None:
    written = {"Organization", "Practitioner", "PractitionerRole", "Endpoint", "Subscription"}
    written |= {"DocumentReference", "ConceptMap", "Binary", "Task"}

    assert {kind for kind in written if kind in published} == REQUIRED_CODES.keys()


@pytest.fixture
def published() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = fhir_schema.definition(fhir_schema.CODES)
    return found


@given(text=st.text(min_size=1, max_size=30))
def test_any_issue_text_is_valid(text: str) -> None:
    # a text of spaces alone is none in FHIR, and we write no such
    if text.strip() and text.isprintable():
        validate(outcomes.outcome([outcomes.issue("warning", "incomplete", text)]))


async def a_document_of_a_patient(fhir: Served) -> str:
    fhir.put("Patient", id="p1")
    fhir.put("ServiceRequest", id="e7")
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"{BASE}/Patient/p1"},
        "date": "2024-01-08T08:00:00Z",
        "content": [{"attachment": {"contentType": "application/pdf", "url": "Binary/1"}}],
        "context": {"related": [{"reference": "ServiceRequest/e7"}]},
    }
    made: str = (await create(fhir.client, document))["id"]
    return made


@pytest.mark.parametrize(
    "query",
    [
        "patient=p1",
        "subject=Patient/p1",
        "related=ServiceRequest/e7",
        "related:ServiceRequest=e7",
        "patient=p1&related=e7",
        "status=current",
        "date=2024-01-08",
    ],
)
async def test_a_document_is_found_by_what_it_refers_to(
    tmp_path: Path, database_url: str, query: str
) -> None:
    async with served(tmp_path, database_url) as fhir:
        made = await a_document_of_a_patient(fhir)

        assert await fhir.ids(f"DocumentReference?{query}") == [made]


@pytest.mark.parametrize("query", ["patient=p2", "related=ServiceRequest/e8"])
async def test_a_document_is_not_found_by_what_it_does_not_refer_to(
    fhir: Served, query: str
) -> None:
    await a_document_of_a_patient(fhir)

    assert await fhir.ids(f"DocumentReference?{query}") == []


async def test_a_document_is_included_with_the_exam_that_it_is_of(fhir: Served) -> None:
    made = await a_document_of_a_patient(fhir)

    bundle = await fhir.search("ServiceRequest?_id=e7&_revinclude=DocumentReference:related")

    assert matched(bundle, "include") == [made]
