"""Resources that clients write: checked on the way in, given back as they came."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
from pydantic import BaseModel, ValidationError

from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.fhir import bundles, evaluation, ids, intervals, references
from bfr_dicomweb.fhir.limits import DEFAULT
from bfr_dicomweb.fhir.search_parameters import Parameter, parameters_of
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.fhir.tokens import plain_system, plain_value
from bfr_dicomweb.orders.identifiers import Identifier
from bfr_dicomweb.services import resources
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.resources import Delete, Post, Put, ResourceRow

Check = Callable[[Resource], None]
Prepare = Callable[[Resource], Resource]

_GENDER: Final = "male female other unknown"
_PUBLICATION: Final = "draft active retired unknown"
# Codes of elements whose binding is "required" (R4); the models take any code.
REQUIRED_CODES: Final[dict[str, dict[str, frozenset[str]]]] = {
    kind: {path: frozenset(codes.split()) for path, codes in by_path.items()}
    for kind, by_path in {
        "ConceptMap": {
            "status": _PUBLICATION,
            "group.element.target.equivalence": "relatedto equivalent equal wider subsumes narrower"
            " specializes inexact unmatched disjoint",
            "group.unmapped.mode": "provided fixed other-map",
        },
        "DocumentReference": {
            "status": "current superseded entered-in-error",
            "docStatus": "preliminary final amended entered-in-error",
            "relatesTo.code": "replaces transforms signs appends",
        },
        "Endpoint": {"status": "active suspended error off entered-in-error test"},
        "Practitioner": {"gender": _GENDER},
        "PractitionerRole": {"availableTime.daysOfWeek": "mon tue wed thu fri sat sun"},
        "Subscription": {
            "status": "requested active error off",
            "channel.type": "rest-hook websocket email sms message",
        },
        "Task": {
            "status": "draft requested received accepted rejected ready cancelled in-progress"
            " on-hold failed completed entered-in-error",
            "intent": "unknown proposal plan order original-order reflex-order filler-order"
            " instance-order option",
            "priority": "routine urgent asap stat",
        },
    }.items()
}
# The same of data types, wherever the types above have an element of them.
_TYPE_CODES: Final[dict[str, frozenset[str]]] = {
    path: frozenset(codes.split())
    for path, codes in {
        "identifier.use": "usual official temp secondary old",
        "masterIdentifier.use": "usual official temp secondary old",
        "telecom.system": "phone fax email pager url sms other",
        "telecom.use": "home work temp old mobile",
        "contact.telecom.system": "phone fax email pager url sms other",
        "address.use": "home work temp old billing",
        "address.type": "postal physical both",
        "text.status": "generated extensions additional empty",
    }.items()
}
_NAME_USE: Final = frozenset("usual official temp nickname anonymous old maiden".split())  # noqa: SIM905


def _as_it_is(resource: Resource) -> Resource:
    return resource


class Written:
    """The resources of one type that clients have written.

    Args:
        moment: The parameter by which they are ordered; "": by when they were last written, and no
            parameter says so. By another than _lastUpdated all of the type are read and sorted:
            for types of which there are few.
        check: More that has to hold; raises InvalidRequest.
        prepare: What the server makes of a resource before it is kept.
    """

    def __init__(
        self,
        archive: Archive,
        resource_type: str,
        *,
        moment: str = "_lastUpdated",
        check: Check | None = None,
        prepare: Prepare = _as_it_is,
    ) -> None:
        self._index = archive.index
        self._type = resource_type
        self._moment = moment
        self._check = check
        self._prepare = prepare

    @property
    def type(self) -> str:
        return self._type

    @property
    def moment(self) -> str:
        return self._moment

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: tuple[str, int] | None,
        limit: int,
    ) -> Sequence[Candidate]:
        named = _named(narrowing)
        if narrowing.ids is not None:
            rows = await resources.by_ids(self._index, self._type, narrowing.ids)
        elif named is not None:
            rows = await resources.identified(self._index, self._type, named)
        elif self._moment in ("", "_lastUpdated"):
            return await self._walked(newest_first=newest_first, after=after, limit=limit)
        else:
            rows = await resources.walk(self._index, self._type, limit=DEFAULT.scanned)
        found = sorted(map(self._candidate, rows), key=_place, reverse=newest_first)
        if after is not None:
            found = [c for c in found if (_place(c) < after if newest_first else _place(c) > after)]
        return found[:limit]

    async def _walked(
        self, *, newest_first: bool, after: tuple[str, int] | None, limit: int
    ) -> list[Candidate]:
        # key 0 is the beginning of a moment; rows are not found by that, so all are walked
        known = after[1] if after is not None and after[1] > 0 else None
        rows = await resources.walk(
            self._index, self._type, limit=limit, newest_first=newest_first, after=known
        )
        return list(map(self._candidate, rows))

    def _candidate(self, row: ResourceRow) -> Candidate:
        resource = shown(row)
        if not self._moment:
            return Candidate(resource, "", row.change)
        if self._moment == "_lastUpdated":
            return Candidate(resource, intervals.text_of(row.changed_us), row.change)
        parameter = parameters_of(self._type).named[self._moment]
        low = evaluation.sort_value(resource, parameter, descending=False)
        return Candidate(resource, "" if low is None else intervals.text_of(low), row.change)

    async def read(self, id: str) -> Resource | None:
        row = await resources.read(self._index, self._type, id)
        return None if row is None else shown(row)

    async def history(self, id: str) -> Sequence[Resource]:
        return [shown(row) for row in await resources.history(self._index, self._type, id)]

    async def vread(self, id: str, version: str) -> Resource | None:
        number = version_number(version)
        if number is None:
            return None
        row = await resources.vread(self._index, self._type, id, number)
        return None if row is None else shown(row)

    def check(self, resource: Resource) -> None:
        """Raises InvalidRequest: it is no valid resource of this type."""
        validate(resource, self._type)
        if self._check is not None:
            self._check(resource)

    def post(self, id: str, resource: Resource, base: str) -> Post:
        kept = self._prepare(resource)
        return Post(self._type, id, _body(kept), found_by(kept, base))

    def put(
        self,
        id: str,
        resource: Resource,
        base: str,
        expected: int | None = None,
    ) -> Put:
        kept = self._prepare(resource)
        return Put(self._type, id, _body(kept), found_by(kept, base), expected)

    def delete(self, id: str, expected: int | None) -> Delete:
        return Delete(self._type, id, expected)


def _place(candidate: Candidate) -> tuple[str, int]:
    return candidate.moment, candidate.key


def version_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def shown(row: ResourceRow) -> Resource:
    """The resource with what the server knows of it; a tombstone of a deletion."""
    updated = intervals.text_of(row.changed_us)
    if row.deleted:
        return bundles.tombstone(row.type, row.id, str(row.version), updated)
    resource: Resource = orjson.loads(row.body)
    meta = {**resource.get("meta", {}), "versionId": str(row.version), "lastUpdated": updated}
    return {"resourceType": row.type, "id": row.id, "meta": meta} | {
        name: value
        for name, value in resource.items()
        if name not in ("resourceType", "id", "meta")
    }


def _body(resource: Resource) -> bytes:
    return orjson.dumps(resource)


def found_by(resource: Resource, base: str) -> tuple[Identifier, ...]:
    """The identifiers of a resource, and what it refers to, which is kept beside them.

    Args:
        base: URL of this service, which references may begin with.
    """
    own = references.values_at(("identifier", "masterIdentifier"))(resource)
    named = [
        Identifier(plain_system(identifier.get("system", "")), plain_value(identifier["value"]))
        for identifier in own
        if "value" in identifier
    ]
    referring = (p for p in parameters_of(resource["resourceType"]).offered if p.targets)
    return tuple(
        named
        + [
            Identifier(_REFERENCE + _parameter(parameter), target)
            for parameter in referring
            for target in references.referred(resource, parameter, base)
        ]
    )


# As the system of an "identifier" that is a reference; of patient and subject it is one.
_REFERENCE: Final = "urn:bfr:reference:"


def _parameter(parameter: Parameter) -> str:
    return "patient" if parameter.is_of_patient else parameter.name


def _named(narrowing: Narrowing) -> list[tuple[str | None, str]] | None:
    """By what the resources are found without walking; None: nothing says so."""
    if narrowing.identifiers is not None:
        return list(narrowing.identifiers)
    if narrowing.patients is not None:
        system = f"{_REFERENCE}patient"
        return [(system, f"Patient/{ids.PATIENT}{number}") for number in narrowing.patients]
    for name, targets in narrowing.references.items():
        if all(references.local(target) == target for target in targets):
            return [(_REFERENCE + name, target) for target in targets]
    return None


def validate(resource: Resource, resource_type: str) -> None:
    """Compare a resource with R4's structure and its required codes.

    Raises:
        InvalidRequest: The text names elements, and none of their contents.
    """
    if resource.get("resourceType") != resource_type:
        raise InvalidRequest(f"resourceType is not {resource_type}")
    try:
        _model(resource_type).model_validate(resource)
    except ValidationError as error:
        raise InvalidRequest(_reasons(error)) from None
    except RecursionError:
        raise InvalidRequest("the resource is nested too deeply") from None
    codes = {**_TYPE_CODES, **REQUIRED_CODES.get(resource_type, {})}
    if resource_type == "Practitioner":
        codes["name.use"] = _NAME_USE
    for path, allowed in codes.items():
        for value in references.values_at((path,))(resource):
            if value not in allowed:
                raise InvalidRequest(f"{path}: the code is none of {', '.join(sorted(allowed))}")


@lru_cache
def _model(resource_type: str) -> type[BaseModel]:
    # slow to import, and needed only by who writes
    from fhir.resources.R4B import get_fhir_model_class

    model: type[BaseModel] = get_fhir_model_class(resource_type)
    return model


def _reasons(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    found = [_reason(detail) for detail in details[:5]]
    return "; ".join(dict.fromkeys(found))


def _reason(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "the resource"
    kind = detail["type"]
    if kind in ("missing", "value_error.missing"):
        return f"{where}: it is missing"
    if kind == "extra_forbidden":
        return f"{where}: there is no such element"
    # the message of a model may repeat the value
    return f"{where}: it has not the form that FHIR demands"
