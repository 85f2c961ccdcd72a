"""Identifiers, codes, parties and times in the shapes of FHIR."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from bfr_dicomweb.fhir import ids
from bfr_dicomweb.orders import parties
from bfr_dicomweb.orders.events import Coding, Facts, Party
from bfr_dicomweb.orders.identifiers import DICOM_UID, AliasKind, Identifier
from bfr_dicomweb.orders.state import COARSE, Exam, Status

Element = dict[str, Any]

LOINC: Final = "http://loinc.org"
DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED_CT: Final = "http://snomed.info/sct"
IDENTIFIER_TYPE: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
# The statuses of an exam, all of them and the five that BFR shows.
EXAM_STATUS: Final = "urn:bfr:code-system:bfr-exam-status"
COARSE_EXAM_STATUS: Final = "urn:bfr:code-system:bfr-exam-status-coarse"
STATUS_REASON: Final = "urn:bfr:code-system:bfr-status-reason"
FINDING_CODE: Final = "urn:bfr:code-system:bfr-finding"
MESSAGE_CONTROL_ID: Final = "urn:bfr:message-control-id"
ATTACHMENT: Final = "urn:bfr:sha256"

# Coding schemes as HL7 v2 (table 0396) and DICOM (PS3.16 Table 8-1) name them.
_CODE_SYSTEMS: Final = {
    "LN": LOINC,
    "LOINC": LOINC,
    "DCM": DCM,
    "SCT": SNOMED_CT,
    "SRT": SNOMED_CT,
    "SNM3": SNOMED_CT,
    "KVÅ": "urn:oid:1.2.752.116.1.3.2.1.4",
    "KVA": "urn:oid:1.2.752.116.1.3.2.1.4",
    "RADLEX": "http://www.radlex.org",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "UCUM": "http://unitsofmeasure.org",
}

DIAGNOSTIC_IMAGING_STUDY: Final[Element] = {
    "coding": [{"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}]
}
RADIOLOGY: Final[Element] = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
            "code": "RAD",
            "display": "Radiology",
        }
    ]
}
IMAGING: Final[Element] = {
    "coding": [{"system": SNOMED_CT, "code": "363679005", "display": "Imaging"}]
}

# Swedish and English names of the statuses.
STATUS_NAMES: Final[dict[str, tuple[str, str]]] = {
    Status.UNKNOWN: ("Okänd", "Unknown"),
    Status.RECEIVED: ("Mottagen", "Received"),
    Status.BOOKED: ("Bokad", "Booked"),
    Status.ARRIVED: ("Ankommen", "Arrived"),
    Status.STARTED: ("Påbörjad", "Started"),
    Status.PERFORMED: ("Genomförd", "Performed"),
    Status.PRELIMINARY: ("Preliminärt svar", "Preliminary report"),
    Status.SIGNED: ("Signerad", "Signed"),
    Status.ADDENDUM: ("Tilläggssvar", "Addendum"),
    Status.CORRECTED: ("Rättat svar", "Corrected"),
    Status.CANCELLED: ("Avbruten", "Cancelled"),
    Status.MOVED: ("Flyttad", "Moved"),
    Status.REFUSED: ("Avvisad", "Refused"),
    Status.ERROR: ("Felregistrerad", "Entered in error"),
    "on-hold": ("Pausad", "On hold"),
}
COARSE_NAMES: Final[dict[str, tuple[str, str]]] = {
    "mottagen": ("Mottagen", "Received"),
    "bokad": ("Bokad", "Booked"),
    "genomförd": ("Genomförd", "Performed"),
    "signerad": ("Signerad", "Signed"),
    "avbruten": ("Avbruten", "Cancelled"),
}

# The type of an exam's identifiers (v2-0203); those of procedure and step have no code there.
_ALIAS_TYPES: Final[dict[AliasKind, Element]] = {
    kind: {"coding": [{"system": IDENTIFIER_TYPE, "code": code, "display": display}]}
    for kind, code, display in (
        (AliasKind.ACCESSION, "ACSN", "Accession ID"),
        (AliasKind.FILLER, "FILL", "Filler Identifier"),
        (AliasKind.PLACER, "PLAC", "Placer Identifier"),
        (AliasKind.GROUP, "PGN", "Placer Group Number"),
    )
} | {
    AliasKind.PROCEDURE: {"text": "Requested Procedure ID"},
    AliasKind.STEP: {"text": "Scheduled Procedure Step ID"},
    AliasKind.REPORT: {"text": "Report number"},
}


def identifier(known: Identifier, kind: AliasKind | None = None) -> Element:
    """A Study Instance UID is written as FHIR wants it, an OID in a URI."""
    if kind is AliasKind.STUDY:
        return study_uid(known.value)
    told: Element = {}
    if kind is not None and (type_ := _ALIAS_TYPES.get(kind)):
        told["type"] = type_
    if known.system:
        told["system"] = known.system
    told["value"] = known.value
    return told


def identifiers_of(
    asked: Sequence[tuple[str | None, str]],
) -> list[tuple[str | None, str]]:
    """Identifiers as the catalogue has them: of a Study Instance UID also the bare one."""
    found = list(asked)
    for system, value in asked:
        if value.startswith("urn:oid:") and system in (None, DICOM_UID):
            bare = value.removeprefix("urn:oid:")
            found += [(None, bare)]
        elif system == DICOM_UID:
            found += [(None, value)]
    return found


def study_uid(uid: str) -> Element:
    return {"system": DICOM_UID, "value": f"urn:oid:{uid}"}


@lru_cache(maxsize=1024)
def code_system(scheme: str) -> str:
    """The URI of a coding scheme that a message names; "" stays ""."""
    if not scheme or ":" in scheme:
        return scheme
    return _CODE_SYSTEMS.get(scheme.upper()) or f"urn:bfr:coding-scheme:{quote(scheme, safe='')}"


def coding(told: Coding) -> Element:
    made: Element = {}
    if system := code_system(told.system):
        made["system"] = system
    if told.code:
        made["code"] = told.code
    if told.display:
        made["display"] = told.display
    return made


def concept(told: Coding) -> Element:
    """A CodeableConcept; of a code without a code there is only the text."""
    made: Element = {}
    if told.code:
        made["coding"] = [coding(told)]
    if text := told.display or told.code:
        made["text"] = text
    return made


@lru_cache(maxsize=512)
def modality(code: str) -> Element:
    return {"system": DCM, "code": code}


def party(told: Party, type_: str) -> Element:
    """An Organization or Practitioner. Of who has no identifier of its own there is no resource."""
    made: Element = {}
    if told.identifier is not None:
        if parties.is_known(told):
            made["reference"] = f"{type_}/{ids.of_party(told.identifier)}"
        made["type"] = type_
        made["identifier"] = identifier(told.identifier)
    if display := party_name(told):
        made["display"] = display
    return made


def named(name: str) -> Element:
    """A reference to a unit of which only the name is known that we have for it."""
    return {"type": "Organization", "display": name}


def requester(facts: Facts) -> Element | None:
    """Who ordered: the person, named with the unit; else the unit."""
    person, unit = facts.requester, facts.requesting_unit
    if person is None:
        return None if unit is None else party(unit, "Organization") or None
    made = party(person, "Practitioner")
    names = [party_name(told) for told in (person, unit) if told is not None]
    if display := ", ".join(name for name in names if name):
        made["display"] = display
    return made or None


def party_name(told: Party) -> str:
    if told.family or told.given:
        return " ".join(part for part in (told.given, told.family) if part)
    return told.name


def time(utc: str) -> str:
    """A dateTime or instant of a time as the catalogue has it, without a fraction of zeros."""
    return utc.replace(".000000Z", "Z")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# What one transaction wrote, and all that is made of one row, has the same.
@lru_cache(maxsize=4096)
def instant(microseconds: int) -> str:
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def meta(version: int | str, changed_us: int) -> Element:
    return {"versionId": str(version), "lastUpdated": instant(changed_us)}


def _status(code: str, coarse: str | None) -> Element:
    text = STATUS_NAMES[code][0]
    codes = [{"system": EXAM_STATUS, "code": code, "display": text}]
    if coarse is not None:
        display = COARSE_NAMES[coarse][0]
        codes.append({"system": COARSE_EXAM_STATUS, "code": coarse, "display": display})
    return {"coding": codes, "text": text}


_STATUSES: Final = {status: _status(status.value, COARSE[status]) for status in Status}
_HELD: Final = {status: _status("on-hold", COARSE[status]) for status in Status}
_DONE: Final = frozenset(
    {
        Status.SIGNED,
        Status.ADDENDUM,
        Status.CORRECTED,
        Status.CANCELLED,
        Status.MOVED,
        Status.REFUSED,
        Status.ERROR,
    }
)


def is_held(exam: Exam) -> bool:
    """What is done cannot be on hold."""
    return exam.held and exam.status not in _DONE


def exam_status(exam: Exam) -> Element:
    """The fine status and, when it has one, the one of the five that BFR shows."""
    if is_held(exam):
        return _HELD[exam.status]
    if exam.status is Status.UNKNOWN and (sent := _codes_sent(exam)):
        return {**_STATUSES[Status.UNKNOWN], "text": sent}
    return _STATUSES[exam.status]


def status_concept(status: Status) -> Element:
    return _STATUSES[status]


def _codes_sent(exam: Exam) -> str:
    return codes_as_text(exam.steps[-1].codes) if exam.steps else ""


def codes_as_text(codes: tuple[tuple[str, str], ...]) -> str:
    """Codes as they were sent: ``ORC-1 SC, ORC-5 ZZ``."""
    return ", ".join(f"{field} {code}" for field, code in codes)
