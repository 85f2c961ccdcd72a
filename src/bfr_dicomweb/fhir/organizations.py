"""Organization, Practitioner and PractitionerRole: parties that messages tell of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from bfr_dicomweb.fhir import codings, ids, intervals, places
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders.events import Party
from bfr_dicomweb.services import parties
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.parties import PartyKind, PartyRow


def build(told: Party, type: str, meta: Element | None = None) -> Resource:
    """`told` has an identifier: without one it is the same as nobody else."""
    if told.identifier is None:
        raise ValueError("a party without an identifier is no resource")
    made: Resource = {
        "resourceType": type,
        "id": ids.of_party(told.identifier),
        "meta": meta or {"versionId": "1"},
        "identifier": [codings.identifier(told.identifier)],
        "active": True,
    }
    if type == "Practitioner":
        if name := _name(told):
            made["name"] = [name]
    elif told.name:
        made["name"] = told.name
    return made


def _name(told: Party) -> Element:
    name: Element = {
        "text": codings.party_name(told),
        "family": told.family,
        "given": told.given.split(),
    }
    return {key: value for key, value in name.items() if value}


def build_role(row: PartyRow, person: PartyRow | None, unit: PartyRow | None) -> Resource:
    return {
        "resourceType": "PractitionerRole",
        "id": row.id,
        "meta": codings.meta(row.change, row.changed_us),
        "active": True,
        "practitioner": _reference("Practitioner", row.person_id, person),
        "organization": _reference("Organization", row.unit_id, unit),
    }


def _reference(type: str, id: str, row: PartyRow | None) -> Element:
    if row is None:
        return {"reference": f"{type}/{id}"}
    return codings.party(_party(row), type)


def _party(row: PartyRow) -> Party:
    return Party(row.identifier, row.name, row.family, row.given)


# --- where they come from --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Parties:
    """By when they were last changed.

    Attributes:
        begins: The search parameter that gives the beginning of the name.
    """

    archive: Archive
    type: str
    kind: PartyKind
    begins: ClassVar[str] = ""
    moment: str = "_lastUpdated"

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        named = await self._named(narrowing)
        if named is not None:
            return places.page(
                await self._entries(named), newest_first=newest_first, after=after, limit=limit
            )
        walked = await parties.walk(
            self.archive.index,
            self.kind,
            limit,
            newest_first=newest_first,
            # key 0 is the beginning of a moment; rows are not found by that, so all are walked
            after=after[1] if after is not None and after[1] > 0 else None,
            begins=self._beginning(narrowing),
        )
        entries = await self._entries(walked)
        return [Candidate(entry.build(), *entry.place) for entry in entries]

    async def read(self, id: str) -> Resource | None:
        found = await parties.by_ids(self.archive.index, self.kind, [id])
        return self._resource(found[0], await self._beside(found)) if found else None

    async def history(self, id: str) -> Sequence[Resource]:
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)

    async def _entries(self, found: Collection[PartyRow]) -> list[Entry]:
        beside = await self._beside(found)
        return [
            Entry(
                intervals.text_of(row.changed_us), row.change, partial(self._resource, row, beside)
            )
            for row in found
        ]

    async def _named(self, narrowing: Narrowing) -> list[PartyRow] | None:
        """None: nothing names any."""
        index = self.archive.index
        if narrowing.ids is not None:
            return await parties.by_ids(index, self.kind, narrowing.ids)
        if narrowing.identifiers is not None:
            return await parties.identified(index, self.kind, narrowing.identifiers)
        return None

    def _beginning(self, narrowing: Narrowing) -> str:
        (one, *others) = sorted(narrowing.tokens.get(self.begins, ())) or [""]
        return "" if others else one

    async def _beside(self, found: Collection[PartyRow]) -> Mapping[str, PartyRow]:
        """What else the resources are made of, by type and id."""
        del found
        return {}

    def _resource(self, row: PartyRow, beside: Mapping[str, PartyRow]) -> Resource:
        del beside
        return build(_party(row), self.type, codings.meta(row.change, row.changed_us))


@dataclass(frozen=True, slots=True)
class Organizations(_Parties):
    type: str = "Organization"
    kind: PartyKind = PartyKind.UNIT
    begins: ClassVar[str] = "name"


@dataclass(frozen=True, slots=True)
class Practitioners(_Parties):
    type: str = "Practitioner"
    kind: PartyKind = PartyKind.PERSON
    begins: ClassVar[str] = "family"


@dataclass(frozen=True, slots=True)
class PractitionerRoles(_Parties):
    type: str = "PractitionerRole"
    kind: PartyKind = PartyKind.ROLE

    async def _named(self, narrowing: Narrowing) -> list[PartyRow] | None:
        persons = _ids(narrowing.references.get("practitioner"), "Practitioner")
        units = _ids(narrowing.references.get("organization"), "Organization")
        if narrowing.ids is None and (persons is not None or units is not None):
            return await parties.roles(self.archive.index, persons=persons, units=units)
        return await _Parties._named(self, narrowing)

    async def _beside(self, found: Collection[PartyRow]) -> Mapping[str, PartyRow]:
        index = self.archive.index
        persons = {row.person_id for row in found}
        units = {row.unit_id for row in found}
        beside = [
            *await parties.by_ids(index, PartyKind.PERSON, persons),
            *await parties.by_ids(index, PartyKind.UNIT, units),
        ]
        return {f"{row.kind}/{row.id}": row for row in beside}

    def _resource(self, row: PartyRow, beside: Mapping[str, PartyRow]) -> Resource:
        person = beside.get(f"{PartyKind.PERSON}/{row.person_id}")
        return build_role(row, person, beside.get(f"{PartyKind.UNIT}/{row.unit_id}"))


def _ids(references: Collection[str] | None, type: str) -> set[str] | None:
    if references is None:
        return None
    begin = f"{type}/"
    return {one.removeprefix(begin) for one in references if one.startswith(begin)}
