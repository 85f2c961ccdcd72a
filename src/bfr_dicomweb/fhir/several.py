"""One type of resources that comes from several sources, in one order."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bfr_dicomweb.errors import Gone
from bfr_dicomweb.fhir.outcomes import Explains, Issue
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource, Source


class Several:
    """
    Args:
        sources: Of one type and ordered by the same moment; an id is looked up in them in turn.
    """

    def __init__(self, *sources: Source) -> None:
        kinds = {(source.type, source.moment) for source in sources}
        if len(kinds) != 1:
            raise ValueError("the sources differ in type or order")
        self.sources = sources

    @property
    def type(self) -> str:
        return self.sources[0].type

    @property
    def moment(self) -> str:
        return self.sources[0].moment

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: tuple[str, int] | None,
        limit: int,
    ) -> Sequence[Candidate]:
        async def of(place: int, narrowed: Narrowing) -> list[Candidate]:
            found = await self.sources[place].candidates(
                narrowed,
                newest_first=newest_first,
                after=self._own(after, place, newest_first=newest_first),
                limit=limit,
            )
            # the keys of the sources may be equal: each gets a class of remainders of its own
            count = len(self.sources)
            return [Candidate(c.resource, c.moment, c.key * count + place) for c in found]

        merged: list[Candidate] = []
        if narrowing.ids is None:
            each = (of(place, narrowing) for place in range(len(self.sources)))
            merged = [one for found in await asyncio.gather(*each) for one in found]
        else:
            wanted = narrowing.ids
            for place in range(len(self.sources)):
                merged += await of(place, replace(narrowing, ids=wanted)) if wanted else []
                wanted -= {candidate.resource["id"] for candidate in merged}
        merged.sort(key=lambda c: (c.moment, c.key), reverse=newest_first)
        return merged[:limit]

    def _own(
        self, after: tuple[str, int] | None, place: int, *, newest_first: bool
    ) -> tuple[str, int] | None:
        """The last key of the source that lies at or before a merged one."""
        if after is None or after[1] == 0:
            return after
        moment, key = after
        count = len(self.sources)
        return moment, -((place - key) // count) if newest_first else (key - place) // count

    async def read(self, id: str) -> Resource | None:
        gone: Gone | None = None
        for source in self.sources:
            try:
                found = await source.read(id)
            except Gone as error:
                gone = error
                continue
            if found is not None:
                return found
        if gone is not None:
            raise gone
        return None

    async def history(self, id: str) -> Sequence[Resource]:
        for source in self.sources:
            found = await source.history(id)
            if found:
                return found
        return ()

    async def vread(self, id: str, version: str) -> Resource | None:
        for source in self.sources:
            found = await source.vread(id, version)
            if found is not None:
                return found
        return None

    async def reasons(self, resources: Sequence[Resource]) -> Sequence[Issue]:
        found: list[Issue] = []
        for source in self.sources:
            if isinstance(source, Explains):
                found += await source.reasons(resources)
        return found
