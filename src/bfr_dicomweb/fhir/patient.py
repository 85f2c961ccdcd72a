"""Patient: a record of a person, and what other records are of the same person."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.fhir import codings, ids, places
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders.events import Demographics
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import PatientRow

_SECURITY_LABEL: Final = "http://electronichealth.se/CodeSystem/SecurityLabel"


def build(row: PatientRow) -> Resource:
    known = row.demographics
    meta = codings.meta(row.change, row.changed_us)
    if known.security:
        meta["security"] = [{"system": _SECURITY_LABEL, "code": known.security}]
    made: Resource = {
        "resourceType": "Patient",
        "id": f"{ids.PATIENT}{row.id}",
        "meta": meta,
        "identifier": [codings.identifier(known_as) for known_as in row.identifiers],
        "active": row.merged_into is None,
    }
    if not made["identifier"]:
        del made["identifier"]
    _add_demographics(made, known)
    if links := _links(row):
        made["link"] = links
    return made


def _add_demographics(made: Resource, known: Demographics) -> None:
    if name := _name(known):
        made["name"] = [name]
    if known.gender:
        made["gender"] = known.gender
    if known.birth_date:
        made["birthDate"] = known.birth_date
    if known.deceased == "true":
        made["deceasedBoolean"] = True
    elif known.deceased:
        made["deceasedDateTime"] = codings.time(known.deceased)
    if known.address:
        made["address"] = [{"text": known.address}]


def _name(known: Demographics) -> Element:
    name: Element = {}
    if known.family:
        name["family"] = known.family
    if known.given:
        name["given"] = known.given.split()
    if name:
        name["text"] = " ".join(part for part in (known.given, known.family) if part)
    return name


def _links(row: PatientRow) -> list[Element]:
    if row.merged_into is not None:
        return [_link(row.merged_into, "replaced-by")]
    return [_link(other, "replaces") for other in row.others]


def _link(id: int, kind: str) -> Element:
    return {"other": {"reference": f"Patient/{ids.PATIENT}{id}"}, "type": kind}


# --- where they come from --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Patients:
    """Records of persons, in the order in which they were made."""

    archive: Archive
    type: str = "Patient"
    moment: str = ""

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        rows = await self._named(narrowing)
        if rows is None:
            rows = await timeline.walk_patients(
                self.archive.index,
                limit,
                newest_first=newest_first,
                after=None if after is None else after[1],
                family=_only(narrowing, "family"),
                given=_only(narrowing, "given"),
            )
        found = (Entry("", row.id, partial(build, row)) for row in rows)
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        number = ids.number_of(id, ids.PATIENT)
        rows = [] if number is None else await timeline.patients(self.archive.index, [number])
        return build(rows[0]) if rows else None

    async def history(self, id: str) -> Sequence[Resource]:
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)

    async def _named(self, narrowing: Narrowing) -> Sequence[PatientRow] | None:
        index = self.archive.index
        if narrowing.ids is not None:
            return await timeline.patients(index, places.numbers(narrowing.ids, ids.PATIENT))
        if narrowing.identifiers is not None:
            return await timeline.patients_identified(index, narrowing.identifiers)
        linked = places.named(narrowing.references.get("link"), "Patient", ids.PATIENT)
        if linked is not None:
            roots = await timeline.patients(index, linked)
            return await timeline.patients_of_roots(index, {row.root_id for row in roots})
        if narrowing.patients is not None:
            return await timeline.patients(index, narrowing.patients)
        return None


def _only(narrowing: Narrowing, parameter: str) -> str:
    """The beginning of a name, when the search gives just one."""
    (one, *others) = sorted(narrowing.tokens.get(parameter, ())) or [""]
    return "" if others else one
