"""Fuzzing of FHIR searches: any query is a search or is refused, and never a server error.

Invariants: reading gives a Search or InvalidQuery; what was understood is read again as the same;
a search that was read can be compared with any resource; over ASGI the status is 200 or 400.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.routing import Router

from bfr_dicomweb.errors import ArchiveError, InvalidQuery
from bfr_dicomweb.fhir import evaluation
from bfr_dicomweb.fhir.routes import routes
from bfr_dicomweb.fhir.search import Reader
from bfr_dicomweb.fhir.search_parameters import PARAMETERS
from bfr_dicomweb.fhir.service import Fhir
from bfr_dicomweb.http.border import HTTP_STATUS
from bfr_dicomweb.services.archive import Archive
from fhir_served import SECRET, Shelf

SECONDS = float(os.environ.get("BFR_TEST_FUZZ_SECONDS", "4"))
QUIETLY = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)

NAMES_OF_ALL = sorted({name for known in PARAMETERS.values() for name in known.named})
HEADS = st.one_of(
    st.sampled_from(NAMES_OF_ALL),
    st.sampled_from(
        [
            "_sort",
            "_count",
            "_total",
            "_summary",
            "_elements",
            "_include",
            "_revinclude",
            "_include:iterate",
            "_page",
            "_has",
            "_format",
            "_pretty",
            "_revinclude:iterate",
            "_has:Task:focus:status",
            "_has:",
            "patient.identifier",
            "patient:Patient.name",
            "focus:ServiceRequest.based-on.patient.identifier",
            ".",
            ":",
            "a.b",
        ]
    ),
    st.text(max_size=8),
)
MODIFIERS = st.sampled_from(
    ["", ":missing", ":not", ":exact", ":contains", ":identifier", ":text", ":Patient", ":", ":x"]
)
NAMES = st.one_of(st.builds(str.__add__, HEADS, MODIFIERS), st.builds("{}.{}".format, HEADS, HEADS))
PIECES = st.one_of(
    st.sampled_from(
        [
            "true",
            "false",
            "active",
            "2024",
            "2024-01",
            "2024-02-30",
            "ge2024-01-08T09:00:00+01:00",
            "ap0001",
            "eb9999",
            "ne9999-12-31T23:59:59Z",
            "191212121212",
            "ServiceRequest/1",
            "http://archive.test/fhir/Task/1",
            "Task:focus",
            "ServiceRequest:based-on:Task",
            "*",
            "-_id",
            "authored",
            "urn:oid:1.2",
            "1e999",
        ]
    ),
    st.sampled_from(list(",|\\$:/-+ \0\t\n?&=%*\u0301\u0661\ud7ff\U0010ffff")),
    st.text(max_size=4),
)
VALUES = st.lists(PIECES, max_size=6).map("".join)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
KINDS = st.sampled_from(sorted(PARAMETERS))
READER = Reader(PARAMETERS.keys(), "http://archive.test/fhir")

RESOURCE: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "1",
    "status": "active",
    "identifier": [{"value": "1"}, {"system": "urn:x"}, {}],
    "code": {"coding": [{"code": "x"}, {}], "text": "y"},
    "authoredOn": "2024-01-08",
    "occurrencePeriod": {"start": "2024"},
    "subject": {"reference": "Patient/1", "display": "x"},
    "basedOn": [{"identifier": {"value": "1"}}, {}],
    "name": [{"family": "A", "given": ["B"]}, {"text": "C"}],
    "address": [{"line": ["A"], "city": "B"}],
}


@settings(QUIETLY, max_examples=int(SECONDS * 150))
@given(kind=KINDS, pairs=PAIRS)
@example(kind="ServiceRequest", pairs=[("authored", "ge0001"), ("authored", "le9999-12-31")])
@example(kind="Patient", pairs=[("_has:Task:patient:_has:Task:part-of:_id", "1")])
def test_any_pairs_are_a_search_or_refused(kind: str, pairs: list[tuple[str, str]]) -> None:
    with suppress(InvalidQuery):
        search = READER.read(kind, pairs)

        again = READER.read(kind, search.query)
        assert (again.criteria, again.includes) == (search.criteria, search.includes)


@settings(QUIETLY, max_examples=int(SECONDS * 150))
@given(kind=KINDS, pairs=PAIRS)
def test_any_search_can_be_compared_with_a_resource(
    kind: str, pairs: list[tuple[str, str]]
) -> None:
    with suppress(InvalidQuery):
        search = READER.read(kind, pairs)
        if any(criterion.nested for criterion in search.criteria):
            return

        assert evaluation.matches(search, RESOURCE) in (True, False)


class Answering:
    """The routes of a service, and a loop to run them in."""

    def __init__(self, folder: Path, index_url: str) -> None:
        self._runner = asyncio.Runner()
        self._archive = self._runner.run(Archive.open(index_url=index_url, data=folder))
        shelves = [Shelf(kind, "") for kind in PARAMETERS]
        for shelf in shelves:
            for number in range(3):
                shelf.put({**RESOURCE, "resourceType": shelf.type, "id": str(number)})
        fhir = Fhir.of(self._archive, shelves, secret=SECRET)
        self._transport = httpx2.ASGITransport(app=Router(routes=routes(fhir)))

    def status(self, query: str) -> int:
        return self._runner.run(self._status(query))

    async def _status(self, query: str) -> int:
        async with httpx2.AsyncClient(transport=self._transport) as client:
            try:
                response = await client.get(f"http://archive.test/fhir/{query}")
            except ArchiveError as error:  # as the border answers it
                return HTTP_STATUS[type(error)]
            return response.status_code

    def close(self) -> None:
        self._runner.run(self._archive.close())
        self._runner.close()


@pytest.fixture(scope="module")
def answering(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> Iterator[Answering]:
    folder = tmp_path_factory.mktemp("fhir")
    one = Answering(folder / "data", f"sqlite+aiosqlite:///{folder / 'catalogue.db'}")
    yield one
    one.close()


@settings(QUIETLY, max_examples=int(SECONDS * 40))
@given(kind=KINDS, pairs=PAIRS)
def test_any_search_over_http_finds_something_or_is_refused(
    answering: Answering, kind: str, pairs: list[tuple[str, str]]
) -> None:
    assert answering.status(f"{kind}?{urlencode(pairs)}") in (200, 400, 406)


@settings(QUIETLY, max_examples=int(SECONDS * 40))
@given(query=st.binary(max_size=40).map(lambda raw: quote_from_bytes(raw, safe="=&%")))
def test_any_percent_encoded_bytes_are_no_server_error(answering: Answering, query: str) -> None:
    assert answering.status(f"Patient?{query}") in (200, 400, 406)
