"""The candidates of a source in their order, when all of them are known at once."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from bfr_dicomweb.fhir.source import Candidate, Resource

Place = tuple[str, int]
K = TypeVar("K")
T = TypeVar("T")


async def rows(
    find: Callable[[Any, Collection[K]], Awaitable[list[T]]], index: object, keys: Collection[K]
) -> list[T]:
    """Without a visit to the catalogue when there is nothing to look for."""
    return await find(index, keys) if keys else []


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate that is built when its turn has come. `moment` and `key` as `Candidate` has."""

    moment: str
    key: int
    build: Callable[[], Resource]

    @property
    def place(self) -> Place:
        return self.moment, self.key


def comes_after(place: Place, after: Place | None, *, newest_first: bool) -> bool:
    if after is None:
        return True
    return place < after if newest_first else place > after


def page(
    entries: Iterable[Entry], *, newest_first: bool, after: Place | None, limit: int
) -> list[Candidate]:
    wanted = {
        entry.place: entry
        for entry in entries
        if comes_after(entry.place, after, newest_first=newest_first)
    }
    places = sorted(wanted, reverse=newest_first)[:limit]
    return [Candidate(wanted[place].build(), *place) for place in places]


def of_version(resource: Resource | None, version: str) -> Resource | None:
    """The resource when its current version is the one asked for."""
    if resource is None or resource["meta"].get("versionId") != version:
        return None
    return resource


def versions(found: Iterable[Resource]) -> list[Resource]:
    """Each version once; what leaves a resource as it was is no version of it."""
    return list({resource["meta"]["versionId"]: resource for resource in found}.values())


def version_in(history: Iterable[Resource], version: str) -> Resource | None:
    return next((one for one in history if one["meta"]["versionId"] == version), None)


def named(references: Iterable[str] | None, type: str, letter: str) -> set[int] | None:
    """The numbers of rows in "Type/id" references; None when there is no such condition."""
    if references is None:
        return None
    begin = f"{type}/{letter}"
    found = (one.removeprefix(begin) for one in references if one.startswith(begin))
    return {int(number) for number in found if number.isascii() and number.isdigit()}


def numbers(ids: Iterable[str], letter: str) -> set[int]:
    """The numbers of rows in ids that begin with a letter."""
    found = (one[1:] for one in ids if one[:1] == letter)
    return {int(number) for number in found if number.isascii() and number.isdigit()}
