"""The FHIR service as it is served, over an archive in a folder and resources that a test makes."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from starlette.routing import Router

from bfr_dicomweb.errors import Gone, NotFound
from bfr_dicomweb.fhir import outcomes
from bfr_dicomweb.fhir.limits import DEFAULT, Limits
from bfr_dicomweb.fhir.routes import routes
from bfr_dicomweb.fhir.service import ROOT, Fhir, Operation
from bfr_dicomweb.fhir.several import Several
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource, Source
from bfr_dicomweb.fhir.written import Written
from bfr_dicomweb.http.border import Border
from bfr_dicomweb.services.archive import Archive

BASE = "http://archive.test/fhir"
SECRET = bytes(range(32))
WRITABLE = ("Organization", "Practitioner", "PractitionerRole", "Endpoint", "DocumentReference")


@dataclass
class Shelf:
    """Resources of one type in the order of a moment, of which none is left out beforehand.

    Attributes:
        asked: What each search has told of itself.
        unavailable: Ids of those that were there and are no longer.
    """

    type: str
    moment: str
    placed: list[Candidate] = field(default_factory=list)
    asked: list[Narrowing] = field(default_factory=list)
    unavailable: set[str] = field(default_factory=set)
    limits: list[int] = field(default_factory=list)

    def put(self, resource: dict[str, Any], moment: str = "") -> None:
        made = {"resourceType": self.type, "meta": {"versionId": "1"}, **resource}
        self.placed.append(Candidate(made, moment, len(self.placed) + 1))

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: tuple[str, int] | None,
        limit: int,
    ) -> Sequence[Candidate]:
        self.asked.append(narrowing)
        self.limits.append(limit)
        ordered = sorted(self.placed, key=_place, reverse=newest_first)
        if after is not None:
            ordered = [
                one
                for one in ordered
                if (_place(one) < after if newest_first else _place(one) > after)
            ]
        return ordered[:limit]

    async def read(self, id: str) -> Resource | None:
        if id in self.unavailable:
            raise Gone("another took its place")
        return next((one.resource for one in self.placed if one.resource["id"] == id), None)

    async def history(self, id: str) -> Sequence[Resource]:
        found = await self.read(id)
        return [] if found is None else [found]

    async def vread(self, id: str, version: str) -> Resource | None:
        found = await self.read(id)
        return found if found is not None and found["meta"]["versionId"] == version else None


class ExplainingShelf(Shelf):
    """Says of each resource of its type why it is not delivered whole."""

    async def reasons(self, resources: Sequence[Resource]) -> Sequence[outcomes.Issue]:
        return [
            outcomes.issue("information", "incomplete", f"{one['id']} is awaited")
            for one in resources
            if one["resourceType"] == self.type
        ]


def _place(candidate: Candidate) -> tuple[str, int]:
    return candidate.moment, candidate.key


@dataclass(frozen=True, slots=True)
class Served:
    """A client, and the shelves of what it finds beside what clients write."""

    client: httpx2.AsyncClient
    fhir: Fhir
    shelves: dict[str, Shelf]

    def put(self, kind: str, moment: str = "", **resource: Any) -> None:
        self.shelves[kind].put(resource, moment)

    async def search(self, query: str, **options: Any) -> dict[str, Any]:
        """Of a query such as "Patient?name=x" the bundle."""
        response = await self.client.get(f"{BASE}/{query}", **options)
        assert response.status_code == 200, response.text
        bundle: dict[str, Any] = response.json()
        return bundle

    async def ids(self, query: str) -> list[str]:
        return matched(await self.search(query))


def matched(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    return [
        entry["resource"]["id"]
        for entry in bundle.get("entry", ())
        if entry["search"]["mode"] == mode
    ]


def link(bundle: dict[str, Any], relation: str) -> str | None:
    found = [one["url"] for one in bundle["link"] if one["relation"] == relation]
    return found[0] if found else None


def issues(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        issue
        for entry in bundle.get("entry", ())
        if entry["search"]["mode"] == "outcome"
        for issue in entry["resource"]["issue"]
    ]


@asynccontextmanager
async def served(
    folder: Path,
    index_url: str,
    *,
    limits: Limits = DEFAULT,
    operations: Iterable[Operation] = (),
) -> AsyncIterator[Served]:
    archive = await Archive.open(index_url=index_url, data=folder / "data")
    shelves = {
        "Patient": Shelf("Patient", ""),
        "ServiceRequest": Shelf("ServiceRequest", "authored"),
        "Task": Shelf("Task", "modified"),
        "ImagingStudy": ExplainingShelf("ImagingStudy", "started"),
        "DiagnosticReport": Shelf("DiagnosticReport", "issued"),
        "Binary": Shelf("Binary", ""),
        "Device": Shelf("Device", ""),
        "Organization": Shelf("Organization", "_lastUpdated"),
    }
    sources: list[Source] = [
        shelf for kind, shelf in shelves.items() if kind not in ("Organization", "Binary")
    ]
    written = [Written(archive, kind) for kind in WRITABLE if kind != "Organization"]
    organizations = Several(shelves["Organization"], Written(archive, "Organization"))
    binaries = Several(shelves["Binary"], Written(archive, "Binary", moment=""))
    fhir = Fhir.of(
        archive,
        [*sources, *written, organizations, binaries],
        secret=SECRET,
        limits=limits,
        operations=operations,
    )
    router = Router(routes=routes(fhir), default=_not_found, redirect_slashes=False)
    app = Border(router, reporters={ROOT: outcomes.report})
    # what the border answers to a bug is looked at, too
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            yield Served(client, fhir, shelves)
    finally:
        await archive.close()


async def _not_found(*_: object) -> None:
    raise NotFound("there is no such resource")
