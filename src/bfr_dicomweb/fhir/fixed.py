"""Resources that are the same as long as the archive runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bfr_dicomweb.fhir import places
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource


@dataclass(frozen=True, slots=True)
class Fixed:
    type: str
    resources: tuple[Resource, ...]
    moment: str = ""

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        found = (
            Entry("", number, partial(dict, resource))
            for number, resource in enumerate(self.resources, start=1)
            if narrowing.ids is None or resource["id"] in narrowing.ids
        )
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        return next((dict(one) for one in self.resources if one["id"] == id), None)

    async def history(self, id: str) -> Sequence[Resource]:
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)
