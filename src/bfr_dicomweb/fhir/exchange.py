"""A request and its answer as FHIR sees them, whether over HTTP or in an entry of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bfr_dicomweb.fhir.search import Pairs
from bfr_dicomweb.fhir.source import Resource


@dataclass(frozen=True, slots=True)
class Call:
    """
    Attributes:
        path: Below the base URL: ("Patient", "p12").
        base: URL of the service as the client sees it.
        query: Of the URL, percent-decoded.
        headers: With names in lower case.
        form: What a POST to _search has in its payload.
        resource: The payload, of a request that has one.
    """

    method: str
    path: tuple[str, ...]
    base: str
    query: Pairs = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Pairs | None = None
    resource: Resource | None = None

    def said(self, name: str) -> str | None:
        """The value of a query parameter, or of the form."""
        pairs = [*self.query, *(self.form or ())]
        return next((value for key, value in pairs if key == name), None)

    def preference(self, name: str) -> str:
        """Of the Prefer header (RFC 7240): "strict" of ``handling=strict``."""
        for part in self.headers.get("prefer", "").replace(";", ",").split(","):
            key, _, value = part.strip().partition("=")
            if key.strip().lower() == name:
                return value.strip().strip('"')
        return ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Attributes:
    resource: The payload; None: there is none, or `content` is it.
    content: Bytes and their media type.
    """

    status: int
    resource: Resource | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content: tuple[bytes, str] | None = None
