"""Which representation a client gets: FHIR's JSON, or a refusal that says so."""

from typing import Final

from bfr_dicomweb.errors import NotAcceptable, UnsupportedMediaType
from bfr_dicomweb.fhir.outcomes import FHIR_JSON

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
# What _format may say, as R4 section 3.1.0.1.11 lists it; "+" may have become a space.
_FORMATS: Final = {
    "json": FHIR_JSON,
    FHIR_JSON: FHIR_JSON,
    "application/fhir json": FHIR_JSON,
    JSON: JSON,
    "text/json": JSON,
}
_ACCEPTED: Final = {
    FHIR_JSON: FHIR_JSON,
    JSON: JSON,
    "text/json": JSON,
    "application/*": FHIR_JSON,
    "*/*": FHIR_JSON,
}
# FHIR R4 section 3.1.0.1.12, with the versions that are R4.
_VERSIONS: Final = frozenset({"", "4.0", "4.0.0", "4.0.1"})
PAYLOADS: Final = frozenset({FHIR_JSON, JSON, "text/json", "application/json-patch+json"})


def chosen(accept: str | None, wanted: str | None = None) -> str:
    """The media type of the answer.

    Args:
        accept: The Accept header; None when there is none.
        wanted: The value of _format, which then counts alone.

    Raises:
        NotAcceptable: Only JSON is made here.
    """
    if wanted:
        name, parameters = _parsed(wanted)
        if name not in _FORMATS or not _is_r4(parameters):
            raise NotAcceptable("resources are represented as application/fhir+json, FHIR 4.0")
        return _FORMATS[name]
    if accept is None or not accept.strip():
        return FHIR_JSON
    best: tuple[float, str] | None = None
    for text in accept.split(","):
        name, parameters = _parsed(text)
        quality = _quality(parameters.get("q", "1"))
        made = _ACCEPTED.get(name)
        if made is None or quality <= 0 or not _is_r4(parameters):
            continue
        if best is None or quality > best[0]:
            best = quality, made
    if best is None:
        raise NotAcceptable("resources are represented as application/fhir+json, FHIR 4.0")
    return best[1]


def wants_resource(accept: str | None, wanted: str | None) -> bool:
    """Of a Binary: whether the client asks for the resource instead of what is in it."""
    if wanted:
        return _parsed(wanted)[0] in _FORMATS
    names = [_parsed(text)[0] for text in (accept or "").split(",")]
    return any(name in (FHIR_JSON, JSON, "text/json") for name in names)


def require_json(content_type: str | None) -> None:
    """Raises UnsupportedMediaType: the payload is said to be something else."""
    if content_type is not None and _parsed(content_type)[0] not in PAYLOADS:
        raise UnsupportedMediaType("resources are taken as application/fhir+json")


def media_type(text: str | None) -> str:
    """Without its parameters."""
    return _parsed(text or "")[0]


def _parsed(text: str) -> tuple[str, dict[str, str]]:
    name, *rest = text.split(";")
    pairs = (part.partition("=") for part in rest)
    parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
    return name.strip().lower(), parameters


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _is_r4(parameters: dict[str, str]) -> bool:
    return parameters.get("fhirversion", "") in _VERSIONS
