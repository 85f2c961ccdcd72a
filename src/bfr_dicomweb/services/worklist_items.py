"""An exam as an item of the Modality Worklist (PS3.4 Table K.6-1), in DICOM JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import tag_of, vr_of
from bfr_dicomweb.dicom.matching import Path
from bfr_dicomweb.index.exam_rows import ExamRow
from bfr_dicomweb.index.patient_rows import PatientRow
from bfr_dicomweb.orders import scheduled_steps
from bfr_dicomweb.orders.events import Coding, Demographics, Facts, Party
from bfr_dicomweb.orders.identifiers import Alias, AliasKind, Identifier, authority_of
from bfr_dicomweb.orders.state import Exam
from bfr_dicomweb.services import coded_concepts

Dataset = dict[str, Any]

# PS3.5 Table 6.2-1: what is said to people is cut to it, numbers never are.
_SH_CHARACTERS: Final = 16
_LO_CHARACTERS: Final = 64
_SEXES: Final = {"male": "M", "female": "F", "other": "O"}
# Requested Procedure Priority (0040,1003), PS3.3 Table C.4-11.
_PRIORITIES: Final = {"stat": "STAT", "asap": "HIGH", "urgent": "HIGH", "routine": "ROUTINE"}
_NUMBERS: Final = (AliasKind.ACCESSION, AliasKind.FILLER, AliasKind.PLACER)


def _keys() -> Iterator[Path]:
    for line in _MATCHED.split("\n"):
        above, _, names = line.strip().rpartition(": ")
        sequences = tuple(filter(None, map(tag_of, above.split("."))))
        yield from ((*sequences, tag) for tag in map(tag_of, names.split()) if tag is not None)


_CODE: Final = "CodeValue CodingSchemeDesignator CodeMeaning"
_MATCHED: Final = f"""
    PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex AccessionNumber
    StudyInstanceUID RequestedProcedureID RequestedProcedureDescription RequestedProcedurePriority
    PlacerOrderNumberImagingServiceRequest FillerOrderNumberImagingServiceRequest
    RequestingPhysician ReferringPhysicianName RequestingService AdmissionID CurrentPatientLocation
    ReasonForTheRequestedProcedure
    OtherPatientIDsSequence: PatientID IssuerOfPatientID
    RequestedProcedureCodeSequence: {_CODE}
    ScheduledProcedureStepSequence: ScheduledStationAETitle ScheduledProcedureStepStartDate
    ScheduledProcedureStepSequence: ScheduledProcedureStepStartTime Modality ScheduledStationName
    ScheduledProcedureStepSequence: ScheduledPerformingPhysicianName ScheduledProcedureStepID
    ScheduledProcedureStepSequence: ScheduledProcedureStepDescription ScheduledProcedureStepLocation
    ScheduledProcedureStepSequence: ScheduledProcedureStepStatus
    ScheduledProcedureStepSequence: ScheduledProcedureStepEndDate ScheduledProcedureStepEndTime
    ScheduledProcedureStepSequence.ScheduledProtocolCodeSequence: {_CODE}
"""
# What items can be matched by.
KEYS: Final = frozenset(_keys())


def item(row: ExamRow, people: Sequence[PatientRow]) -> Dataset:
    """
    Args:
        people: The records of the patient, the one that stands for the person first.
    """
    return _dataset(
        {
            **_patient(people),
            **_visit(row.exam.facts),
            **_request(row.exam),
            **_procedure(row),
            "ScheduledProcedureStepSequence": [_step(row.exam)],
        }
    )


def patient(people: Sequence[PatientRow]) -> Dataset:
    """What an item says of the patient alone."""
    return _dataset({**_patient(people), "AdmissionID": "", "IssuerOfAdmissionIDSequence": []})


def identified(number: Identifier) -> Dataset:
    """Of a patient of whom there is nothing but a number."""
    return _dataset(_identified(number))


def _step(exam: Exam) -> dict[str, Any]:
    facts = exam.facts
    starts = scheduled_steps.starts(exam)
    ends = scheduled_steps.local_text(facts.scheduled_end) if facts.scheduled_end else ""
    protocols = [facts.protocol] if facts.protocol is not None else []
    description = facts.protocol or facts.procedure
    return {
        "ScheduledStationAETitle": facts.station_ae_title,
        "ScheduledProcedureStepStartDate": starts[:8],
        "ScheduledProcedureStepStartTime": _time(starts),
        "ScheduledProcedureStepEndDate": ends[:8],
        "ScheduledProcedureStepEndTime": _time(ends),
        "Modality": facts.modality,
        "ScheduledPerformingPhysicianName": _name(facts.performing_physician),
        "ScheduledProcedureStepDescription": _meaning(description),
        "ScheduledProtocolCodeSequence": _codes(protocols),
        "ScheduledStationName": facts.station_name[:_SH_CHARACTERS],
        "ScheduledProcedureStepLocation": facts.location[:_SH_CHARACTERS],
        "PreMedication": "",
        "RequestedContrastAgent": "",
        "ScheduledProcedureStepID": _number(exam, AliasKind.STEP, AliasKind.PROCEDURE),
        "ScheduledProcedureStepStatus": scheduled_steps.STEP_STATUS.get(exam.status, ""),
    }


def _procedure(row: ExamRow) -> dict[str, Any]:
    exam, facts = row.exam, row.exam.facts
    return {
        "StudyInstanceUID": scheduled_steps.study_instance_uid(exam, row.patient_id),
        "ReferencedStudySequence": [],
        "RequestedProcedureID": _number(exam, AliasKind.PROCEDURE),
        "RequestedProcedureDescription": _meaning(facts.procedure),
        "RequestedProcedureCodeSequence": _codes([facts.procedure] if facts.procedure else []),
        "RequestedProcedurePriority": _PRIORITIES.get(facts.priority, ""),
        "PatientTransportArrangements": "",
        "ReasonForTheRequestedProcedure": facts.reason[:_LO_CHARACTERS],
        "AdditionalPatientHistory": facts.clinical_information,
    }


def _request(exam: Exam) -> dict[str, Any]:
    facts = exam.facts
    accession = _alias(exam, AliasKind.ACCESSION)
    placer, filler = _alias(exam, AliasKind.PLACER), _alias(exam, AliasKind.FILLER)
    return {
        "AccessionNumber": accession.value if accession else "",
        "IssuerOfAccessionNumberSequence": _issuers(accession),
        "PlacerOrderNumberImagingServiceRequest": placer.value if placer else "",
        "OrderPlacerIdentifierSequence": _issuers(placer),
        "FillerOrderNumberImagingServiceRequest": filler.value if filler else "",
        "OrderFillerIdentifierSequence": _issuers(filler),
        "RequestingPhysician": _name(facts.requester),
        "ReferringPhysicianName": _name(facts.referrer or facts.requester),
        "RequestingService": facts.requesting_unit.name[:_LO_CHARACTERS]
        if facts.requesting_unit
        else "",
    }


def _visit(facts: Facts) -> dict[str, Any]:
    admission = facts.admission
    return {
        "AdmissionID": admission.value if admission else "",
        "IssuerOfAdmissionIDSequence": _issuers(admission),
        "CurrentPatientLocation": facts.ward[:_LO_CHARACTERS],
        "ReferencedPatientSequence": [],
    }


def _patient(people: Sequence[PatientRow]) -> dict[str, Any]:
    known = people[0].demographics if people else Demographics()
    numbers = list(dict.fromkeys(number for record in people for number in record.identifiers))
    own = numbers[0] if numbers else Identifier("", "")
    name = f"{known.family}^{known.given}".rstrip("^")
    return {
        "PatientName": {"Alphabetic": name} if name else None,
        **_identified(own),
        "OtherPatientIDsSequence": [
            {**_identified(number), "TypeOfPatientID": "TEXT"} for number in numbers[1:]
        ],
        "PatientBirthDate": known.birth_date.replace("-", "")
        if len(known.birth_date) == 10
        else "",
        "PatientSex": _SEXES.get(known.gender, ""),
        "PatientWeight": None,
        "ConfidentialityConstraintOnPatientDataDescription": known.security,
        "PatientState": "",
        "PregnancyStatus": None,
        "MedicalAlerts": "",
        "Allergies": "",
        "SpecialNeeds": "",
    }


def _identified(number: Identifier) -> dict[str, Any]:
    namespace, universal_id = authority_of(number.system) if number.system else ("", "")
    found: dict[str, Any] = {"PatientID": number.value, "IssuerOfPatientID": namespace}
    if universal_id:
        found["IssuerOfPatientIDQualifiersSequence"] = [_universal(universal_id)]
    return found


def _universal(universal_id: str) -> dict[str, Any]:
    kind = "ISO" if universal_id[:1].isdigit() else "URI"
    return {"UniversalEntityID": universal_id, "UniversalEntityIDType": kind}


def _issuers(number: Alias | Identifier | None) -> list[dict[str, Any]]:
    """HL7v2 Hierarchic Designator Macro, PS3.3 Table 10-17."""
    if number is None or not number.system:
        return []
    namespace, universal_id = authority_of(number.system)
    return [_universal(universal_id) if universal_id else {"LocalNamespaceEntityID": namespace}]


def _alias(exam: Exam, kind: AliasKind) -> Alias | None:
    return next((alias for alias in exam.aliases if alias.kind is kind), None)


def _number(exam: Exam, *kinds: AliasKind) -> str:
    """What a procedure or a step is called; where nobody did, what the exam is called."""
    found = (_alias(exam, kind) for kind in (*kinds, *_NUMBERS))
    return next((alias.value for alias in found if alias), "")


def _meaning(coding: Coding | None) -> str:
    return (coding.display or coding.code)[:_LO_CHARACTERS] if coding is not None else ""


def _codes(codings: Sequence[Coding]) -> list[Dataset]:
    return [item for coding in codings if (item := coded_concepts.item_of(coding)) is not None]


def _name(party: Party | None) -> dict[str, str] | None:
    if party is None:
        return None
    name = f"{party.family or party.name}^{party.given}".rstrip("^")
    return {"Alphabetic": name} if name else None


def _time(local: str) -> str:
    """Whole seconds: some modalities cannot read more."""
    return local[8:14]


# --- as DICOM JSON ---------------------------------------------------------------------------


def _dataset(told: Mapping[str, Any]) -> Dataset:
    """By keywords or by tags; of what is empty the attribute is there without a value."""
    found = {tag_of(name) or name: value for name, value in told.items()}
    return {tag: _element(tag, found[tag]) for tag in sorted(found)}


def _element(tag: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and "vr" in value:
        return value
    vr = vr_of(tag) or "UN"
    if not value:
        return {"vr": vr}
    return {"vr": vr, "Value": list(map(_dataset, value)) if vr == "SQ" else [value]}
