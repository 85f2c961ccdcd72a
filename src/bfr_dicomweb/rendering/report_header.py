"""What stands above a document: whose and from when it is, and who answers for it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bfr_dicomweb.dicom.structured_report import code_of
from bfr_dicomweb.rendering.elements import items, text
from bfr_dicomweb.rendering.report_document import Fact
from bfr_dicomweb.rendering.report_encoding import showable
from bfr_dicomweb.rendering.report_values import class_name, date, names

Attributes = Mapping[str, Any]

_SEXES: Final = {"M": "male", "F": "female", "O": "other"}


def header(attributes: Attributes) -> tuple[Fact, ...]:
    """The rows above a report, those that are known."""
    told = (
        ("Patient", patient(attributes)),
        ("Study", _study(attributes)),
        ("Accession number", text(attributes, "AccessionNumber")),
        ("Referring physician", ", ".join(names(attributes, "ReferringPhysicianName"))),
        ("Series", _series(attributes)),
        ("Institution", _joined(attributes, "InstitutionName", "InstitutionalDepartmentName")),
        ("Device", _joined(attributes, "Manufacturer", "ManufacturerModelName", "StationName")),
        ("Date", _moment(attributes, "Content") or _moment(attributes, "Acquisition")),
        ("Status", _status(attributes)),
        *(("Verified by", told) for told in _verifiers(attributes)),
        *(("Author", told) for told in _people(attributes, "AuthorObserverSequence")),
        *(("Participant", told) for told in _people(attributes, "ParticipantSequence")),
        ("Procedure", _codes(attributes, "PerformedProcedureCodeSequence")),
        *(("Replaces", told) for told in _documents(attributes, "PredecessorDocumentsSequence")),
        *(("Identical to", told) for told in _documents(attributes, "IdenticalDocumentsSequence")),
    )
    return tuple(Fact(label, showable(value)) for label, value in told if value)


def patient(attributes: Attributes) -> str:
    """Who the patient is, in one line."""
    born = text(attributes, "PatientBirthDate")
    sex = text(attributes, "PatientSex")
    parts = (
        ", ".join(names(attributes, "PatientName")),
        text(attributes, "PatientID"),
        f"born {date(born)}" if born else "",
        _SEXES.get(sex, sex),
    )
    return ", ".join(filter(None, parts))


def _joined(attributes: Attributes, *keywords: str) -> str:
    return ", ".join(filter(None, (text(attributes, keyword) for keyword in keywords)))


def _study(attributes: Attributes) -> str:
    return ", ".join(
        filter(None, (text(attributes, "StudyDescription"), _moment(attributes, "Study")))
    )


def _series(attributes: Attributes) -> str:
    number = text(attributes, "SeriesNumber")
    told = (text(attributes, "SeriesDescription"), f"number {number}" if number else "")
    return ", ".join(filter(None, told))


def _moment(attributes: Attributes, what: str) -> str:
    day, time = text(attributes, f"{what}Date"), text(attributes, f"{what}Time")
    if not day:
        return date(text(attributes, f"{what}DateTime"))
    whole = day.replace(".", "").replace("-", "") + time.replace(":", "").split(".")[0]
    return date(whole)


def _status(attributes: Attributes) -> str:
    told = [
        text(attributes, keyword).lower()
        for keyword in ("CompletionFlag", "VerificationFlag", "PreliminaryFlag")
    ]
    if description := text(attributes, "CompletionFlagDescription"):
        told[0] = f"{told[0]} ({description})" if told[0] else description
    return ", ".join(filter(None, told))


def _verifiers(attributes: Attributes) -> Iterator[str]:
    for item in items(attributes, "VerifyingObserverSequence"):
        parts = (
            *names(item, "VerifyingObserverName"),
            text(item, "VerifyingOrganization"),
            code_of(item, "0040A088").meaning,
            date(text(item, "VerificationDateTime")),
        )
        yield ", ".join(filter(None, parts))


def _people(attributes: Attributes, keyword: str) -> Iterator[str]:
    for item in items(attributes, keyword):
        device = _joined(item, "Manufacturer", "ManufacturerModelName", "StationName")
        parts = (
            ", ".join(names(item, "PersonName")) or device,
            code_of(item, "00401101").meaning,
            text(item, "InstitutionName"),
            text(item, "ParticipationType").lower(),
            date(text(item, "ParticipationDateTime")),
        )
        yield ", ".join(filter(None, parts))


def _codes(attributes: Attributes, keyword: str) -> str:
    found = (
        text(item, "CodeMeaning") or text(item, "CodeValue") for item in items(attributes, keyword)
    )
    return ", ".join(filter(None, found))


def _documents(attributes: Attributes, keyword: str) -> Iterator[str]:
    for study in items(attributes, keyword):
        for series in items(study, "ReferencedSeriesSequence"):
            for instance in items(series, "ReferencedSOPSequence"):
                name = class_name(text(instance, "ReferencedSOPClassUID"))
                yield ", ".join(filter(None, (name, text(instance, "ReferencedSOPInstanceUID"))))
