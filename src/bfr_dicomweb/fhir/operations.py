"""Operations: a patient's timeline, a report as a document, and messages read anew."""

import uuid
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from typing import Final

from bfr_dicomweb.errors import InvalidRequest, NotFound
from bfr_dicomweb.fhir import codings, interactions, references
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.exchange import Answer, Call
from bfr_dicomweb.fhir.outcomes import issue, outcome
from bfr_dicomweb.fhir.search import Pairs
from bfr_dicomweb.fhir.service import Fhir, Operation
from bfr_dicomweb.fhir.source import Resource

# Reads the messages anew whose statuses nobody had mapped; gives how many there were.
Reprocess = Callable[[], Awaitable[int]]

# The 25 newest orders and all that belongs to them.
TIMELINE: Final[Pairs] = (
    ("intent", "order"),
    ("_sort", "-authored"),
    ("_count", "25"),
    ("_revinclude", "ServiceRequest:based-on"),
    ("_revinclude:iterate", "Task:focus"),
    ("_revinclude:iterate", "ImagingStudy:basedon"),
    ("_revinclude:iterate", "DiagnosticReport:based-on"),
    ("_revinclude", "DocumentReference:related"),
    ("_include:iterate", "ImagingStudy:endpoint"),
)
# What a caller may say differently.
_CHOSEN: Final = frozenset({"_count", "_total"})
# From the report to patient, exams and studies, and from these to the order.
_ROUNDS: Final = 2
_DOCUMENT_STATUS: Final = {
    "partial": "preliminary",
    "preliminary": "preliminary",
    "final": "final",
    "appended": "amended",
    "corrected": "amended",
    "amended": "amended",
    "entered-in-error": "entered-in-error",
    "cancelled": "entered-in-error",
}


def operations(reprocess: Reprocess | None = None) -> tuple[Operation, ...]:
    """All of them; `$reprocess` only where there is somebody to do it."""
    meaning = "The newest orders of a patient with exams, statuses, studies, reports, documents."
    found = [
        Operation("imaging-timeline", "type", imaging_timeline, "Patient", meaning=meaning),
        Operation("imaging-timeline", "instance", imaging_timeline, "Patient", meaning=meaning),
        Operation(
            "document",
            "instance",
            document,
            "DiagnosticReport",
            meaning="The report with all that it refers to, as a document bundle.",
        ),
    ]
    if reprocess is not None:
        found.append(_reprocessing(reprocess))
    return tuple(found)


# --- timeline --------------------------------------------------------------------------------


async def imaging_timeline(fhir: Fhir, call: Call) -> Answer:
    """`ServiceRequest` as it is searched for a timeline, with less to write."""
    said = [*call.query, *(call.form or ()), *_parameters(call.resource)]
    chosen = {name: value for name, value in said if name in _CHOSEN}
    pairs = (
        *_patient(call, said),
        *((name, value) for name, value in TIMELINE if name not in chosen),
        *chosen.items(),
    )
    # what the client did not write into the URL itself does not come into one of ours
    in_url = call.method != "POST" and len(call.path) == 2
    searched = replace(
        call,
        method="GET",
        path=("ServiceRequest",),
        query=pairs if in_url else (),
        form=None if in_url else pairs,
        resource=None,
    )
    return await interactions.search(fhir, searched, "ServiceRequest")


def _patient(call: Call, said: Iterable[tuple[str, str]]) -> Pairs:
    if len(call.path) > 2:
        return (("patient", f"Patient/{call.path[1]}"),)
    found = tuple(("patient.identifier", value) for name, value in said if name == "identifier")
    if not found:
        raise InvalidRequest("$imaging-timeline needs the parameter identifier")
    return found


def _parameters(resource: Resource | None) -> Iterable[tuple[str, str]]:
    """Of a Parameters resource those that are text or an identifier."""
    if resource is None:
        return
    if resource.get("resourceType") != "Parameters":
        raise InvalidRequest("the payload of an operation is a Parameters resource")
    for one in resource.get("parameter", ()):
        for kind, value in one.items():
            if kind == "valueIdentifier":
                yield one["name"], f"{value.get('system', '')}|{value.get('value', '')}"
            elif kind.startswith("value") and isinstance(value, str | int):
                yield one["name"], str(value)


# --- messages read anew ----------------------------------------------------------------------


def _reprocessing(reprocess: Reprocess) -> Operation:
    async def run(_: Fhir, __: Call) -> Answer:
        text = f"{await reprocess()} messages were read anew."
        return Answer(200, outcome([issue("information", "informational", text)]))

    return Operation(
        "reprocess",
        "type",
        run,
        "Task",
        methods=("POST",),
        meaning="Read messages anew whose status codes were not known when they came.",
    )


# --- document --------------------------------------------------------------------------------


async def document(fhir: Fhir, call: Call) -> Answer:
    """A Bundle that begins with a Composition, as FHIR R4 section 3.3 wants documents."""
    report = await fhir.source("DiagnosticReport").read(call.path[1])
    if report is None:
        raise NotFound("there is no such DiagnosticReport")
    entries = [_composition(report), report]
    frontier = [report]
    for _ in range(_ROUNDS):
        known = {references.of_resource(resource) for resource in entries}
        frontier = await _referred(fhir, frontier, known)
        entries += frontier
    return Answer(200, _bundle(call.base, report, entries))


async def _referred(fhir: Fhir, near: Iterable[Resource], known: set[str]) -> list[Resource]:
    wanted = {
        local
        for resource in near
        for text in references.every(resource)
        if (local := references.local(text)) is not None
    }
    found = []
    for reference in sorted(wanted - known):
        kind, _, name = reference.partition("/")
        resource = await fhir.sources[kind].read(name) if kind in fhir.sources else None
        if resource is not None:
            found.append(resource)
    return found


def _bundle(base: str, report: Resource, entries: Iterable[Resource]) -> Resource:
    version = f"{references.of_resource(report)}/_history/{report['meta']['versionId']}"
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{base}/{version}")
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{unique}"},
        "type": "document",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "entry": [
            {"fullUrl": f"{base}/{references.of_resource(resource)}", "resource": resource}
            for resource in entries
        ],
    }


def _composition(report: Resource) -> Resource:
    author: list[Element] = [
        *report.get("resultsInterpreter", ()),
        *report.get("performer", ()),
    ]
    made: Resource = {
        "resourceType": "Composition",
        "id": report["id"],
        "meta": report["meta"],
        "identifier": report["identifier"][0],
        "status": _DOCUMENT_STATUS.get(report["status"], "preliminary"),
        "type": codings.DIAGNOSTIC_IMAGING_STUDY,
        "category": [codings.RADIOLOGY],
        "subject": report["subject"],
        "date": report["issued"],
        "author": author or [{"display": "Bild- och funktionsregistret"}],
        "title": "Svar",
        "section": [
            {
                "title": "Svar",
                "code": codings.DIAGNOSTIC_IMAGING_STUDY,
                "text": {"status": "generated", "div": _narrative(report)},
                "entry": [{"reference": references.of_resource(report)}],
            }
        ],
    }
    return made


def _narrative(report: Resource) -> str:
    """The composed text, which stands first among the presented forms."""
    lines = b64decode(report["presentedForm"][0]["data"]).decode().split("\n")
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</div>'
