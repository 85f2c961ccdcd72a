"""The search parameters of each type: FHIR R4's own, and aliases that profiles use."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """FHIR R4 section 3.1.1.4; numbers, quantities and composites are not offered."""

    DATE = "date"
    REFERENCE = "reference"
    STRING = "string"
    TOKEN = "token"  # noqa: S105 # no secret
    URI = "uri"


@dataclass(frozen=True, slots=True)
class Parameter:
    """Attributes:
    paths: Where its values are, below the resource: names with dots between them, lists are
        gone through; ``telecom[system=email]`` takes the elements of which that holds.
    targets: Types that a reference can be to.
    aliases: Other names by which it is taken.
    """

    name: str
    kind: Kind
    paths: tuple[str, ...]
    targets: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def is_of_patient(self) -> bool:
        """It says whose the resource is: merged records are then one patient."""
        return self.targets == ("Patient",) and self.name in ("patient", "subject")


def _token(name: str, *paths: str, aliases: tuple[str, ...] = (), meaning: str = "") -> Parameter:
    return Parameter(name, Kind.TOKEN, paths or (name,), aliases=aliases, meaning=meaning)


def _string(name: str, *paths: str, aliases: tuple[str, ...] = ()) -> Parameter:
    return Parameter(name, Kind.STRING, paths or (name,), aliases=aliases)


def _date(name: str, *paths: str) -> Parameter:
    return Parameter(name, Kind.DATE, paths or (name,))


def _uri(name: str, *paths: str) -> Parameter:
    return Parameter(name, Kind.URI, paths or (name,))


def _reference(
    name: str, *paths: str, to: str, aliases: tuple[str, ...] = (), meaning: str = ""
) -> Parameter:
    return Parameter(name, Kind.REFERENCE, paths or (name,), tuple(to.split()), aliases, meaning)


_ACTORS: Final = "Organization Practitioner PractitionerRole"
_TOLD_OF: Final = "ServiceRequest Task ImagingStudy DiagnosticReport DocumentReference Patient"

# FHIR R4 section 3.1.1.3: for every type.
COMMON: Final = (
    _token("_id", "id", meaning="Logical id."),
    _date("_lastUpdated", "meta.lastUpdated"),
    _uri("_profile", "meta.profile"),
    _token("_security", "meta.security"),
    _uri("_source", "meta.source"),
    _token("_tag", "meta.tag"),
)

_ADDRESS: Final = (
    _string("address"),
    _string("address-city", "address.city"),
    _string("address-country", "address.country"),
    _string("address-postalcode", "address.postalCode"),
    _string("address-state", "address.state"),
)
_TELECOM: Final = (
    _token("email", "telecom[system=email]"),
    _token("phone", "telecom[system=phone]"),
    _token("telecom"),
)
_SUBJECT: Final = (
    _reference("patient", "subject", to="Patient"),
    _reference("subject", to="Patient"),
)
_PUBLISHED: Final = (
    _date("date"),
    _string("description"),
    _string("name"),
    _string("publisher"),
    _token("status"),
    _uri("url"),
    _token("version"),
)

# R4 lists these with each type; IHE RAD.IMR section 4.143 has the names with capitals and
# DiagnosticReport.study (R5 gave it that name).
_BY_TYPE: Final[dict[str, tuple[Parameter, ...]]] = {
    "Patient": (
        _token("active"),
        *_ADDRESS,
        _date("birthdate", "birthDate"),
        _date("death-date", "deceasedDateTime"),
        _string("family", "name.family", aliases=("name.family",)),
        _token("gender"),
        _string("given", "name.given", aliases=("name.given",)),
        _token("identifier"),
        _reference("link", "link.other", to="Patient"),
        _string("name"),
        *_TELECOM,
    ),
    "ServiceRequest": (
        _date("authored", "authoredOn"),
        _reference("based-on", "basedOn", to="ServiceRequest", aliases=("basedOn",)),
        _token("body-site", "bodySite"),
        _token("category"),
        _token("code"),
        _token("identifier"),
        _token("intent", meaning="order: an order; filler-order: an exam of an order."),
        _date("occurrence", "occurrenceDateTime", "occurrencePeriod", "occurrenceTiming"),
        _reference("performer", to=_ACTORS),
        _token("performer-type", "performerType"),
        _token("priority"),
        _reference("replaces", to="ServiceRequest"),
        _reference("requester", to=_ACTORS),
        _token("requisition", meaning="The number that the exams of one order share."),
        _token("status"),
        *_SUBJECT,
    ),
    "Task": (
        _date("authored-on", "authoredOn"),
        _reference("based-on", "basedOn", to="ServiceRequest", aliases=("basedOn",)),
        _token("business-status", "businessStatus", meaning="Status of the exam, fine or coarse."),
        _token("code"),
        _reference(
            "focus",
            to="ServiceRequest ImagingStudy",
            meaning="Of the Task of an exam the exam, of that of a workitem the study.",
        ),
        _token(
            "group-identifier", "groupIdentifier", meaning="The worklist that a workitem is on."
        ),
        _token("identifier"),
        _token("intent"),
        _date("modified", "lastModified"),
        _reference("owner", to=_ACTORS),
        _reference("part-of", "partOf", to="Task"),
        _reference("patient", "for", to="Patient"),
        _token("performer", "performerType"),
        _date("period", "executionPeriod"),
        _token("priority"),
        _reference("requester", to=_ACTORS),
        _token("status"),
        _reference("subject", "for", to="Patient"),
    ),
    "ImagingStudy": (
        _reference("basedon", "basedOn", to="ServiceRequest", aliases=("basedOn", "based-on")),
        _token("bodysite", "series.bodySite"),
        _token("dicom-class", "series.instance.sopClass"),
        _reference("endpoint", "endpoint", "series.endpoint", to="Endpoint"),
        _token("identifier", meaning="Study Instance UID or accession number."),
        _token("instance", "series.instance.uid"),
        _reference("interpreter", to="Practitioner PractitionerRole"),
        # R4 looks at the series; an awaited study has none yet, but modalities of its own
        _token("modality", "modality", "series.modality"),
        _reference("performer", "series.performer.actor", to=_ACTORS),
        _reference("referrer", to="Practitioner PractitionerRole"),
        _token("series", "series.uid"),
        _date("started"),
        _token("status"),
        *_SUBJECT,
    ),
    "DiagnosticReport": (
        _reference("based-on", "basedOn", to="ServiceRequest", aliases=("basedOn",)),
        _token("category"),
        _token("code"),
        _token("conclusion", "conclusionCode"),
        _date("date", "effectiveDateTime", "effectivePeriod"),
        _token("identifier"),
        _date("issued"),
        _reference("performer", to=_ACTORS),
        _reference("results-interpreter", "resultsInterpreter", to=_ACTORS),
        _token("status"),
        _reference(
            "study",
            "imagingStudy",
            to="ImagingStudy",
            aliases=("imagingStudy", "imaging-study"),
            meaning="The study that is reported; a parameter of FHIR R5.",
        ),
        *_SUBJECT,
    ),
    "DocumentReference": (
        _reference("authenticator", to=_ACTORS),
        _reference("author", to=f"{_ACTORS} Patient"),
        _token("category"),
        _token("contenttype", "content.attachment.contentType"),
        _reference("custodian", to="Organization"),
        _date("date"),
        _string("description"),
        _token("event", "context.event"),
        _token("format", "content.format"),
        _token("identifier", "masterIdentifier", "identifier"),
        _date("period", "context.period"),
        _reference(
            "related", "context.related", to="ServiceRequest Task ImagingStudy DiagnosticReport"
        ),
        _reference("relatesto", "relatesTo.target", to="DocumentReference"),
        _token("relation", "relatesTo.code"),
        _token("security-label", "securityLabel"),
        _token("status"),
        _token("type"),
        *_SUBJECT,
    ),
    "Binary": (),
    "Provenance": (
        _reference("agent", "agent.who", to=f"{_ACTORS} Patient"),
        _token("agent-role", "agent.role"),
        _token("agent-type", "agent.type"),
        _reference("entity", "entity.what", to=f"{_TOLD_OF} Binary"),
        _reference("patient", "target", to="Patient"),
        _date("recorded"),
        _reference("target", to=_TOLD_OF),
        _date("when", "occurredDateTime"),
    ),
    "DetectedIssue": (
        _reference("author", to="Practitioner PractitionerRole"),
        _token("code"),
        _date("identified", "identifiedDateTime", "identifiedPeriod"),
        _token("identifier"),
        _reference("implicated", to=f"{_TOLD_OF} Binary"),
        _reference("patient", to="Patient"),
        _token("status"),
    ),
    "Endpoint": (
        _token("connection-type", "connectionType"),
        _token("identifier"),
        _string("name"),
        _reference("organization", "managingOrganization", to="Organization"),
        _token("payload-type", "payloadType"),
        _token("status"),
    ),
    "Organization": (
        _token("active"),
        *_ADDRESS,
        _reference("endpoint", to="Endpoint"),
        _token("identifier"),
        _string("name", "name", "alias"),
        _reference("partof", "partOf", to="Organization"),
        _token("type"),
    ),
    "Practitioner": (
        _token("active"),
        *_ADDRESS,
        _string("family", "name.family", aliases=("name.family",)),
        _token("gender"),
        _string("given", "name.given", aliases=("name.given",)),
        _token("identifier"),
        _string("name"),
        *_TELECOM,
    ),
    "PractitionerRole": (
        _token("active"),
        _date("date", "period"),
        _reference("endpoint", to="Endpoint"),
        _token("identifier"),
        _reference("organization", to="Organization"),
        _reference("practitioner", to="Practitioner"),
        _token("role", "code"),
        _token("specialty"),
        *_TELECOM,
    ),
    "Subscription": (
        _string("criteria"),
        _token("payload", "channel.payload"),
        _token("status"),
        _token("type", "channel.type"),
        _uri("url", "channel.endpoint"),
    ),
    "CodeSystem": (
        *_PUBLISHED,
        _token("code", "concept.code"),
        _token("content-mode", "content"),
        _token("identifier"),
        _uri("system", "url"),
        _string("title"),
    ),
    "ConceptMap": (*_PUBLISHED, _token("identifier"), _string("title")),
    "SearchParameter": (*_PUBLISHED, _token("base"), _token("code"), _token("type")),
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """Of one type. `named` has them by all their names."""

    offered: tuple[Parameter, ...]
    named: dict[str, Parameter] = field(repr=False)


def _named(offered: tuple[Parameter, ...]) -> dict[str, Parameter]:
    by_alias = {alias: parameter for parameter in offered for alias in parameter.aliases}
    return by_alias | {parameter.name: parameter for parameter in offered}


PARAMETERS: Final[dict[str, Parameters]] = {
    name: Parameters(COMMON + own, _named(COMMON + own)) for name, own in _BY_TYPE.items()
}
_ONLY_COMMON: Final = Parameters(COMMON, _named(COMMON))


def parameters_of(resource_type: str) -> Parameters:
    return PARAMETERS.get(resource_type, _ONLY_COMMON)
