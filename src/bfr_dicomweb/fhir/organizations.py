"""Organization and Practitioner: parties that are known by an identifier."""

from collections.abc import Iterable

from bfr_dicomweb.fhir import codings, ids
from bfr_dicomweb.fhir.fixed import Fixed
from bfr_dicomweb.fhir.source import Resource
from bfr_dicomweb.orders.events import Party


def build(told: Party, type: str) -> Resource:  # noqa: A002
    """`told` has an identifier: without one it is the same as nobody else."""
    if told.identifier is None:
        raise ValueError("a party without an identifier is no resource")
    made: Resource = {
        "resourceType": type,
        "id": ids.of_party(told.identifier),
        "meta": {"versionId": "1"},
        "identifier": [codings.identifier(told.identifier)],
        "active": True,
    }
    if type == "Practitioner":
        if name := {
            key: value
            for key, value in (
                ("text", codings.party_name(told)),
                ("family", told.family),
                ("given", told.given.split()),
            )
            if value
        }:
            made["name"] = [name]
    elif told.name:
        made["name"] = told.name
    return made


def organizations(known: Iterable[Party]) -> Fixed:
    """Of those that have an identifier: the performers of the configuration, for one."""
    named = {told.identifier: told for told in known if told.identifier is not None}
    return Fixed("Organization", tuple(build(told, "Organization") for told in named.values()))
