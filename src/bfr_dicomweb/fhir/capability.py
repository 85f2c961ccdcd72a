"""The CapabilityStatement, made from the same tables that answer requests."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from bfr_dicomweb.fhir.outcomes import FHIR_JSON
from bfr_dicomweb.fhir.search_parameters import Kind, Parameter, parameters_of
from bfr_dicomweb.fhir.source import Resource

if TYPE_CHECKING:
    from bfr_dicomweb.fhir.service import Fhir, Operation

FHIR_VERSION: Final = "4.0.1"
# Of this statement; it changes when what it says does.
_DATE: Final = "2026-11-23"


WORKITEMS: Final = (
    "Tasks of exams (e...) are read; those of workitems (u...) are created and updated: an update"
    " to in-progress claims, to completed or cancelled ends, and what it leaves out stays as it is."
    " What was claimed with a Transaction UID over DICOM can only be asked to be cancelled (202)."
    " Of a workitem the current version alone is kept. In a transaction they are not written."
)


def statement(fhir: "Fhir", base: str) -> Resource:
    rest: dict[str, Any] = {
        "mode": "server",
        "documentation": limits_in_words(fhir),
        "resource": [_resource(fhir, base, kind) for kind in sorted(fhir.sources)],
        "interaction": [{"code": "batch"}, {"code": "transaction"}],
    }
    operations = [_operation(base, one) for one in fhir.operations if one.level == "system"]
    if operations:
        rest["operation"] = operations
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _DATE,
        "kind": "instance",
        "software": {"name": "bfr-dicomweb", "version": version("bfr-dicomweb")},
        "implementation": {"description": "Orders, exams, reports and images", "url": base},
        "fhirVersion": FHIR_VERSION,
        "format": [FHIR_JSON, "json"],
        "rest": [rest],
    }


def limits_in_words(fhir: "Fhir") -> str:
    limits = fhir.limits
    return (
        f"Pages have {limits.default_count} matches unless _count says otherwise, and at most"
        f" {limits.count}. A page looks at no more than {limits.scanned} resources: a search that"
        " is not narrowed can have pages with few matches, or none, and a next link. Links to"
        f" pages can be followed for {limits.page_lifetime_s // 60} minutes. Includes add at most"
        f" {limits.included} resources and are followed {limits.include_rounds} steps; chained"
        f" parameters {limits.chain} steps, and what a chain begins with may be {limits.resolved}"
        " resources. Sorting by another parameter than the one in whose order a type is kept is"
        f" done for up to {limits.sorted} matches. Bundle.total is counted to"
        f" {limits.counted}. A query string has at most {limits.query_length} characters, a"
        f" parameter {limits.values} values, a search {limits.criteria} parameters, a batch or"
        f" transaction {limits.entries} entries, a payload {limits.body_bytes} bytes. Parameters"
        " that are not known are ignored and named in an OperationOutcome entry; with Prefer:"
        " handling=strict they are refused. References are not checked for existence."
    )


def _resource(fhir: "Fhir", base: str, kind: str) -> dict[str, Any]:
    may_write, may_act = kind in fhir.writable, kind in fhir.acting
    codes = ["read", "vread", "history-instance", "search-type"]
    if may_write:
        codes += ["create", "update", "delete"]
    elif may_act:
        codes += ["create", "update"]
    offered = parameters_of(kind).offered
    described: dict[str, Any] = {
        "type": kind,
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned-update" if may_write or may_act else "versioned",
        "readHistory": True,
        "updateCreate": may_write,
        "conditionalCreate": may_write or may_act,
        "conditionalRead": "full-support",
        "conditionalUpdate": may_write or may_act,
        "conditionalDelete": "single" if may_write else "not-supported",
        "referencePolicy": ["literal", "logical", "local"],
    }
    if moment := fhir.sources[kind].moment:
        described["documentation"] = f"Kept in the order of {moment}, and given newest first."
        if may_act:
            described["documentation"] += f" {WORKITEMS}"
    includes = [f"{kind}:{p.name}" for p in offered if p.kind is Kind.REFERENCE]
    if includes:
        described["searchInclude"] = ["*", *includes]
    reverse = _referring(fhir, kind)
    if reverse:
        described["searchRevInclude"] = reverse
    described["searchParam"] = [described_as(p) for p in offered]
    operations = [_operation(base, one) for one in fhir.operations if one.type == kind]
    if operations:
        described["operation"] = operations
    return described


def _referring(fhir: "Fhir", kind: str) -> list[str]:
    return [
        f"{source}:{parameter.name}"
        for source in sorted(fhir.sources)
        for parameter in parameters_of(source).offered
        if kind in parameter.targets
    ]


def described_as(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {"name": parameter.name, "type": parameter.kind.value}
    also = f"Also taken as {', '.join(parameter.aliases)}." if parameter.aliases else ""
    words = " ".join(text for text in (parameter.meaning, also) if text)
    if words:
        described["documentation"] = words
    return described


def _operation(base: str, operation: "Operation") -> dict[str, str]:
    where = f"{operation.type}-{operation.name}" if operation.type else operation.name
    described = {"name": operation.name, "definition": f"{base}/OperationDefinition/{where}"}
    if operation.meaning:
        described["documentation"] = operation.meaning
    return described


# Of R5 or IHE RAD.IMR: the standard's definitions of R4 do not have them.
_OWN: Final = (("DiagnosticReport", "study"),)


def own_search_parameters() -> tuple[Resource, ...]:
    """Definitions of the search parameters that R4 does not define."""
    return tuple(_definition(kind, parameters_of(kind).named[name]) for kind, name in _OWN)


def _definition(kind: str, parameter: Parameter) -> Resource:
    return {
        "resourceType": "SearchParameter",
        "id": f"{kind}-{parameter.name}",
        "meta": {"versionId": "1"},
        "url": f"urn:bfr:search-parameter:{kind}-{parameter.name}",
        "version": "1",
        "name": f"{kind}{parameter.name.capitalize()}",
        "status": "active",
        "date": _DATE,
        "description": parameter.meaning,
        "code": parameter.name,
        "base": [kind],
        "type": parameter.kind.value,
        "expression": " | ".join(f"{kind}.{path}" for path in parameter.paths),
        "xpathUsage": "normal",
        "target": list(parameter.targets),
        "chain": sorted(
            parameter.name for parameter in parameters_of(parameter.targets[0]).offered
        ),
    }
