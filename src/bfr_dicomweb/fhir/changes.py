"""A change that a client asks for, from the check of its conditions to its answer."""

from dataclasses import dataclass

from bfr_dicomweb.errors import InvalidRequest, PreconditionFailed
from bfr_dicomweb.fhir.exchange import Answer, Call
from bfr_dicomweb.fhir.outcomes import issue, outcome
from bfr_dicomweb.fhir.source import Resource
from bfr_dicomweb.fhir.written import Written, shown, version_number
from bfr_dicomweb.services.resources import ResourceRow, Write


@dataclass(frozen=True, slots=True)
class Change:
    """Attributes:
    write: None: what should be created is there already, as `existing`.
    status: Of the answer.
    """

    written: Written
    id: str
    write: Write | None
    status: int
    existing: Resource | None = None


def expected_of(call: Call, before: Resource | None) -> int | None:
    """The version that If-Match names; None when any will do.

    Raises:
        PreconditionFailed: Another is the current one.
    """
    text = call.headers.get("if-match")
    if text is None:
        return None
    tag = text.strip().removeprefix("W/").strip('"')
    current = None if before is None else before["meta"]["versionId"]
    if current is None or tag not in (current, "*"):
        raise PreconditionFailed("the resource has another version than If-Match says")
    if tag == "*":
        return None
    number = version_number(tag)
    if number is None:
        raise InvalidRequest("If-Match names no version")
    return number


def answer_of(call: Call, change: Change, row: ResourceRow | None) -> Answer:
    resource = change.existing if row is None else shown(row)
    if resource is None:
        return Answer(204)
    version = resource["meta"]["versionId"]
    if change.status == 204:
        return Answer(204, headers={"ETag": f'W/"{version}"'})
    return answer_with(call, resource, change.status)


def answer_with(call: Call, resource: Resource, status: int) -> Answer:
    """As much of what was written as the client prefers to see."""
    version = resource["meta"]["versionId"]
    name = f"{resource['resourceType']}/{resource['id']}"
    headers = {"ETag": f'W/"{version}"'}
    if status == 201:
        headers["Location"] = f"{call.base}/{name}/_history/{version}"
    match call.preference("return"):
        case "minimal":
            return Answer(status, None, headers)
        case "OperationOutcome":
            text = f"{name} is stored as version {version}."
            told = outcome([issue("information", "informational", text)])
            return Answer(status, told, headers)
    return Answer(status, resource, headers)
