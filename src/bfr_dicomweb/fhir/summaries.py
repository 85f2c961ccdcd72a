"""Parts of resources: what `_summary` and `_elements` leave of one (FHIR R4 section 3.1.1.5.8)."""

from collections.abc import Collection
from typing import Any, Final

from bfr_dicomweb.fhir.source import Resource

_ALWAYS: Final = frozenset({"resourceType", "id", "meta"})
_SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}

# Elements at the top of each type that R4 marks with Σ; "[x]" stands for any type of value.
SUMMARY: Final[dict[str, frozenset[str]]] = {
    name: frozenset(elements.split())
    for name, elements in {
        "Patient": "identifier active name telecom gender birthDate deceased[x] address"
        " managingOrganization link",
        "ServiceRequest": "identifier instantiatesCanonical instantiatesUri basedOn replaces"
        " requisition status intent category priority doNotPerform code orderDetail quantity[x]"
        " subject encounter occurrence[x] asNeeded[x] authoredOn requester performerType performer"
        " locationCode locationReference reasonCode reasonReference specimen bodySite"
        " patientInstruction",
        "Task": "instantiatesCanonical instantiatesUri basedOn groupIdentifier partOf status"
        " statusReason businessStatus intent code description focus for encounter executionPeriod"
        " lastModified requester owner location",
        "ImagingStudy": "identifier status modality subject encounter started basedOn referrer"
        " interpreter endpoint numberOfSeries numberOfInstances procedureReference procedureCode"
        " location reasonCode reasonReference note description series",
        "DiagnosticReport": "identifier status category code subject encounter effective[x] issued"
        " performer resultsInterpreter media",
        "DocumentReference": "masterIdentifier identifier status docStatus type category subject"
        " date author relatesTo description securityLabel content context",
        "Binary": "contentType securityContext",
        "Provenance": "target recorded",
        "DetectedIssue": "identifier status code severity patient identified[x] author implicated",
        "Endpoint": "identifier status connectionType name managingOrganization period payloadType"
        " payloadMimeType address",
        "Organization": "identifier active type name partOf",
        "Practitioner": "identifier active name telecom address gender birthDate",
        "PractitionerRole": "identifier active period practitioner organization code specialty"
        " location telecom",
        "Subscription": "status contact end reason criteria error channel",
        "CodeSystem": "url identifier version name title status experimental date publisher contact"
        " useContext jurisdiction caseSensitive valueSet hierarchyMeaning compositional"
        " versionNeeded content supplements count filter property",
        "ConceptMap": "url identifier version name title status experimental date publisher contact"
        " useContext jurisdiction source[x] target[x]",
        "SearchParameter": "url version name status experimental date publisher contact description"
        " useContext jurisdiction code base type",
    }.items()
}

# Elements at the top that R4 demands, so that no part of a resource may go without them.
MANDATORY: Final[dict[str, frozenset[str]]] = {
    name: frozenset(elements.split())
    for name, elements in {
        "ServiceRequest": "status intent subject",
        "Task": "status intent",
        "ImagingStudy": "status subject",
        "DiagnosticReport": "status code",
        "DocumentReference": "status content",
        "Binary": "contentType",
        "Provenance": "target recorded agent",
        "DetectedIssue": "status",
        "Endpoint": "status connectionType payloadType address",
        "Subscription": "status reason criteria channel",
        "CodeSystem": "status content",
        "ConceptMap": "status",
        "SearchParameter": "url name status description code base type",
    }.items()
}


def reduced(resource: Resource, *, summary: str, elements: Collection[str] | None) -> Resource:
    """The resource itself when nothing is left out of it."""
    kind = resource["resourceType"]
    mandatory = MANDATORY.get(kind, frozenset())
    if elements is not None:
        return _only(resource, mandatory | set(elements))
    if summary == "true":
        known = SUMMARY.get(kind)
        return resource if known is None else _only(resource, known | mandatory)
    if summary == "text":
        return _only(resource, mandatory | {"text"})
    if summary == "data":
        return _marked({name: value for name, value in resource.items() if name != "text"})
    return resource


def _only(resource: Resource, wanted: Collection[str]) -> Resource:
    of_any_type = tuple(name[:-3] for name in wanted if name.endswith("[x]"))
    return _marked(
        {
            name: value
            for name, value in resource.items()
            if name in _ALWAYS
            or name.removeprefix("_") in wanted
            or (of_any_type and name.removeprefix("_").startswith(of_any_type))
        }
    )


def _marked(resource: Resource) -> Resource:
    meta: dict[str, Any] = dict(resource.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
    return {**resource, "meta": meta}
