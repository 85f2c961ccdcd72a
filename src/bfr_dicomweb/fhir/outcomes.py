"""What went wrong or has to be known, as an OperationOutcome."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import orjson

from bfr_dicomweb import errors
from bfr_dicomweb.fhir.source import Resource

FHIR_JSON: Final = "application/fhir+json"
Issue = dict[str, Any]

# Codes of http://hl7.org/fhir/issue-type; of an error that is not here the nearest base counts.
ISSUE_CODES: Final[dict[type[errors.ArchiveError], str]] = {
    errors.ArchiveError: "processing",
    errors.InvalidRequest: "invalid",
    errors.InvalidQuery: "invalid",
    errors.TooCostly: "too-costly",
    errors.NotFound: "not-found",
    errors.Gone: "deleted",
    errors.Conflict: "conflict",
    errors.WorkitemStateConflict: "business-rule",
    errors.NotAcceptable: "not-supported",
    errors.UnsupportedMediaType: "not-supported",
    errors.TooLarge: "too-long",
    errors.NotAllowed: "not-supported",
    errors.Forbidden: "forbidden",
    errors.Unavailable: "transient",
    errors.StorageFull: "no-store",
}


@runtime_checkable
class Explains(Protocol):
    """A source that can say why something linked is not, or not yet, delivered.

    The seam of "never an empty answer without a reason": a source that has this method besides
    those of `Source` is asked once for each page of a search in which resources of its type were
    searched or included.
    """

    async def reasons(self, resources: Sequence[Resource]) -> Sequence[Issue]:
        """Issues, made by `issue`, for the one outcome entry of the answer.

        Args:
            resources: All that the page delivers, of whatever type, matches first.
        """
        ...


def issue(severity: str, code: str, text: str, *, expression: str = "") -> Issue:
    """`severity`: fatal, error, warning, information; `code`: of issue-type. No patient data."""
    made: Issue = {"severity": severity, "code": code, "diagnostics": text}
    if expression:
        made["expression"] = [expression]
    return made


def outcome(issues: Iterable[Issue]) -> Resource:
    """One issue at least: the standard demands it."""
    found = list(issues) or [issue("information", "informational", "All is well.")]
    return {"resourceType": "OperationOutcome", "issue": found}


def of_error(error: errors.ArchiveError | None, detail: str) -> Resource:
    """`error` None is a bug."""
    code = "exception" if error is None else _code(type(error))
    severity = "fatal" if error is None else "error"
    return outcome([issue(severity, code, detail)])


def _code(kind: type[errors.ArchiveError]) -> str:
    return next(ISSUE_CODES[base] for base in kind.__mro__ if base in ISSUE_CODES)


def report(
    status: int, detail: str, error: errors.ArchiveError | None = None, request_id: str = ""
) -> tuple[str, bytes]:
    """Media type and payload of an answer that is an error, for the border."""
    del status, request_id  # they are on the status line and in the headers
    return FHIR_JSON, orjson.dumps(of_error(error, detail))
