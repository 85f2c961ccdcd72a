"""A catalogue that is searched, from plain functions."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bfr_dicomweb.dicom.matching import Search, SearchLevel, parse_search
from bfr_dicomweb.index import instances
from bfr_dicomweb.index import search as index_search
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.instances import NewInstance
from bfr_dicomweb.index.search import Matches
from bfr_dicomweb.refs import Level, Ref

FIND = {
    Level.STUDY: index_search.find_studies,
    Level.SERIES: index_search.find_series,
    Level.INSTANCE: index_search.find_instances,
}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A catalogue and an event loop of its own, so that properties can be plain functions."""

    index: Index
    runner: asyncio.Runner

    def store(self, new: Sequence[NewInstance]) -> None:
        self.runner.run(self._store(new))

    async def _store(self, new: Sequence[NewInstance]) -> None:
        async with self.index.write() as conn:
            await instances.add_instances(conn, [instances.prepare(item) for item in new])

    def search(
        self,
        *params: tuple[str, str],
        level: SearchLevel = SearchLevel.STUDIES,
        ref: Ref | None = None,
        max_results: int = 10_000,
    ) -> Matches:
        parsed = parse_search(params, level=level, max_results=max_results)
        return self.runner.run(self._search(parsed, ref))

    async def _search(self, parsed: Search, ref: Ref | None) -> Matches:
        async with self.index.read() as conn:
            return await FIND[parsed.level.level](conn, parsed, ref)

    def uids(self, *params: tuple[str, str], **options: Any) -> list[str]:
        """The UIDs of the results: of studies, series or instances."""
        level = options.get("level", SearchLevel.STUDIES).level
        tag = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}[level]
        return [row[tag]["Value"][0] for row in self.search(*params, **options).rows]


def opened(url: str) -> Iterator[Catalogue]:
    with asyncio.Runner() as runner:
        index = runner.run(Index.open(url, readers=1))
        yield Catalogue(index, runner)
        runner.run(index.close())
