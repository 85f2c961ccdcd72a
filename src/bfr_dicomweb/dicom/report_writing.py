"""A report as a DICOM document: Enhanced SR after TID 2000 Basic Diagnostic Imaging Report.

The document says nothing but what it is given, so equal drafts give equal bytes. highdicom makes
it; it is imported when it is needed, because it is large.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bfr_dicomweb.dicom import attributes
from bfr_dicomweb.dicom.attributes import has_value, select
from bfr_dicomweb.dicom.structured_report import Code, Number, Person

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, ContainerContentItem, ContentItem
    from pydicom.dataset import Dataset

MANUFACTURER: Final = "bfr_dicomweb"
MODEL: Final = "Report Writer"
TITLE: Final = Code("18748-4", "LN", "Diagnostic Imaging Report")
FINDINGS: Final = Code("59776-5", "LN", "Findings")
ADDENDUM: Final = Code("55107-7", "LN", "Addendum")
SWEDISH: Final = Code("sv-SE", "RFC5646", "Swedish (Sweden)")
IMPLEMENTATION_CLASS_UID: Final = "2.25.302406279421365431894311527402731984011"
IMPLEMENTATION_VERSION: Final = "BFR_DICOMWEB"

# CID 7001 Diagnostic Imaging Report Headings, by their LOINC code.
HEADINGS: Final[Mapping[str, Code]] = {
    value: Code(value, "LN", meaning)
    for value, meaning in (
        ("11329-0", "History"),
        ("18783-1", "Recommendations"),
        ("18785-6", "Indications for Procedure"),
        ("18834-2", "Previous Findings"),
        ("19005-8", "Impressions"),
        ("29549-3", "Medications Administered"),
        ("55107-7", "Addendum"),
        ("55108-5", "Patient Presentation"),
        ("55109-3", "Complications"),
        ("55110-1", "Conclusions"),
        ("55111-9", "Current Procedure Descriptions"),
        ("55112-7", "Summary"),
        ("55114-3", "Prior Procedure Descriptions"),
        ("55115-0", "Request"),
        ("55752-0", "Clinical Information"),
        ("59776-5", "Findings"),
        ("73568-8", "Communication of Critical Results"),
        ("73569-6", "Radiation Exposure and Protection Information"),
    )
}
# CID 7002 Diagnostic Imaging Report Elements, by the heading that they stand under.
_FINDING: Final = Code("121071", "DCM", "Finding")
_ELEMENTS: Final[Mapping[str, Code]] = {
    "18783-1": Code("121075", "DCM", "Recommendation"),
    "18834-2": Code("121069", "DCM", "Previous Finding"),
    "19005-8": Code("121073", "DCM", "Impression"),
    "55110-1": Code("121077", "DCM", "Conclusion"),
    "55111-9": Code("121065", "DCM", "Procedure Description"),
    "55114-3": Code("121065", "DCM", "Procedure Description"),
    "11329-0": HEADINGS["11329-0"],
    "55108-5": HEADINGS["55108-5"],
    "55112-7": HEADINGS["55112-7"],
    "55115-0": HEADINGS["55115-0"],
}

# What the document takes over from its study. The rest of the study's attributes is of images.
_STUDY_KEYWORDS: Final = """
    StudyInstanceUID StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence
    StudyID StudyDescription ReferringPhysicianName ReferringPhysicianIdentificationSequence
    ProcedureCodeSequence TimezoneOffsetFromUTC
"""
_OF_STUDY: Final = attributes.PATIENT | {
    tag for keyword in _STUDY_KEYWORDS.split() if (tag := attributes.tag_of(keyword))
}
_EMPTY_WHEN_ABSENT: Final = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber StudyID
    ReferringPhysicianName
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One section. `time` is of its content: YYYYMMDDHHMMSS with its offset, or ""."""

    heading: Code
    text: str
    time: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """By whom; `time` as in `Part`."""

    by: Person
    organization: str
    time: str
    identification: Code | None = None


@dataclass(frozen=True, slots=True)
class Predecessor:
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class RequestedProcedure:
    accession: Number | None = None
    placer: Number | None = None
    filler: Number | None = None
    requested_procedure_id: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """All that a document says.

    Attributes:
        study: DICOM JSON of patient and study, as they are stored.
        content_date, content_time: DICOM DA and TM, as local as those of the study.
        parts: In the order in which they are read.
    """

    study: Mapping[str, Any]
    series_instance_uid: str
    sop_instance_uid: str
    series_number: int
    series_description: str
    content_date: str
    content_time: str
    parts: Sequence[Part]
    is_complete: bool = True
    is_final: bool = True
    verified: Verified | None = None
    predecessors: Sequence[Predecessor] = ()
    requests: Sequence[RequestedProcedure] = ()
    language: Code = SWEDISH


def write(draft: Draft) -> bytes:
    """The document as a PS3.10 file in Explicit VR Little Endian."""
    with warnings.catch_warnings():
        # Names and identifiers are those of the study, also where they break rules of today.
        warnings.simplefilter("ignore")
        return _file(_document(draft))


def _file(made: "Dataset") -> bytes:
    from pydicom.uid import UID

    made.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    made.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _document(draft: Draft) -> "Dataset":
    from highdicom.sr import EnhancedSR

    study = _study(draft.study)
    made = EnhancedSR(
        evidence=[_stand_in(study)],
        content=_content(draft),
        series_instance_uid=draft.series_instance_uid,
        series_number=draft.series_number,
        sop_instance_uid=draft.sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=draft.is_complete,
        is_final=draft.is_final,
        specific_character_set="ISO_IR 192",
        manufacturer_model_name=MODEL,
        software_versions="1",
        series_description=draft.series_description[:64],
        content_date=draft.content_date,
        content_time=draft.content_time,
        requested_procedures=[_request(draft, request) for request in draft.requests] or None,
    )
    # It says when it was made, by which version, and what stood in for the images.
    for keyword in (
        *("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"),
        *("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"),
    ):
        if keyword in made:
            del made[keyword]
    for element in study:
        made[element.tag] = element
    if draft.verified is not None:
        _verify(made, draft.verified)
    if draft.predecessors:
        made.PredecessorDocumentsSequence = _predecessors(draft.predecessors)
    return made


def _study(stored: Mapping[str, Any]) -> "Dataset":
    from pydicom.dataset import Dataset

    kept = {
        tag: element
        for tag, element in select(stored, _OF_STUDY).items()
        if has_value(element) and "BulkDataURI" not in element
    }
    study = Dataset.from_json(kept)
    for keyword in _EMPTY_WHEN_ABSENT.split():
        if keyword not in study:
            setattr(study, keyword, None)
    return study


def _stand_in(study: "Dataset") -> "Dataset":
    """What highdicom takes patient and study from; ours replace what it makes of them."""
    from pydicom.dataset import Dataset

    stand_in = Dataset()
    for keyword in _EMPTY_WHEN_ABSENT.split():
        setattr(stand_in, keyword, None)
    stand_in.PatientSex = ""
    stand_in.StudyInstanceUID = study.StudyInstanceUID
    stand_in.SeriesInstanceUID = stand_in.SOPInstanceUID = "2.25.1"
    stand_in.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    return stand_in


def _concept(code: Code) -> "CodedConcept":
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _content(draft: Draft) -> "ContainerContentItem":
    from highdicom.sr import (
        CodeContentItem,
        ContainerContentItem,
        ContentSequence,
        PnameContentItem,
        RelationshipTypeValues,
    )

    root = ContainerContentItem(_concept(TITLE), is_content_continuous=False, template_id="2000")
    children: list[ContentItem] = [
        CodeContentItem(
            _concept(Code("121049", "DCM", "Language of Content Item and Descendants")),
            _concept(draft.language),
            RelationshipTypeValues.HAS_CONCEPT_MOD,
        )
    ]
    if draft.verified is not None:
        children += [
            CodeContentItem(
                _concept(Code("121005", "DCM", "Observer Type")),
                _concept(Code("121006", "DCM", "Person")),
                RelationshipTypeValues.HAS_OBS_CONTEXT,
            ),
            PnameContentItem(
                _concept(Code("121008", "DCM", "Person Observer Name")),
                _name(draft.verified.by),
                RelationshipTypeValues.HAS_OBS_CONTEXT,
            ),
        ]
    children += [_section(part) for part in draft.parts]
    root.ContentSequence = ContentSequence(children)
    return root


def _section(part: Part) -> "ContainerContentItem":
    from highdicom.sr import (
        ContainerContentItem,
        ContentSequence,
        RelationshipTypeValues,
        TextContentItem,
    )

    contains = RelationshipTypeValues.CONTAINS
    section = ContainerContentItem(
        _concept(part.heading), is_content_continuous=False, relationship_type=contains
    )
    element = _ELEMENTS.get(part.heading.value, _FINDING)
    section.ContentSequence = ContentSequence(
        [TextContentItem(_concept(element), _free_text(part.text), contains)]
    )
    if part.time:
        section.add_new(0x0040A032, "DT", part.time)
    return section


def _free_text(text: str) -> str:
    """Lines end as PS3.5 section 6.2 has it for UT; other control characters are none of text."""
    lines = text.splitlines() or ["-"]
    return "\r\n".join("".join(c for c in line if c.isprintable() or c == "\t") for line in lines)


def _name(person: Person) -> str:
    # the delimiters of the VR PN cannot be part of a name
    parts = (person.family, person.given)
    cleaned = ["".join(" " if c in "^=\\" else c for c in part).strip() for part in parts]
    return "^".join(cleaned)


def _verify(made: "Dataset", verified: Verified) -> None:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.VerifyingOrganization = verified.organization[:64]
    item.VerificationDateTime = verified.time
    item.VerifyingObserverName = _name(verified.by)
    codes = [_code_item(verified.identification)] if verified.identification else []
    item.VerifyingObserverIdentificationCodeSequence = codes
    made.VerificationFlag = "VERIFIED"
    made.VerifyingObserverSequence = [item]


def _code_item(code: Code) -> "Dataset":
    from pydicom.dataset import Dataset

    item = Dataset()
    # PS3.3 section 8.1: a value of more than 16 characters has an attribute of its own
    setattr(item, "CodeValue" if len(code.value) <= 16 else "LongCodeValue", code.value)
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning[:64]
    return item


def _predecessors(predecessors: Sequence[Predecessor]) -> list["Dataset"]:
    """Hierarchical references (PS3.3 Table C.17-3); predecessors are of one study."""
    from pydicom.dataset import Dataset

    studies: dict[str, Dataset] = {}
    for one in predecessors:
        study = studies.get(one.study_instance_uid)
        if study is None:
            study = studies[one.study_instance_uid] = Dataset()
            study.StudyInstanceUID = one.study_instance_uid
            study.ReferencedSeriesSequence = []
        instance, series = Dataset(), Dataset()
        instance.ReferencedSOPClassUID = one.sop_class_uid
        instance.ReferencedSOPInstanceUID = one.sop_instance_uid
        series.SeriesInstanceUID = one.series_instance_uid
        series.ReferencedSOPSequence = [instance]
        study.ReferencedSeriesSequence.append(series)
    return list(studies.values())


def _request(draft: Draft, request: RequestedProcedure) -> "Dataset":
    """An item of Referenced Request Sequence (PS3.3 Table C.17-2)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.StudyInstanceUID = draft.study["0020000D"]["Value"][0]
    item.ReferencedStudySequence = []
    _number(item, request.accession, "AccessionNumber", "IssuerOfAccessionNumberSequence")
    _number(
        item,
        request.placer,
        "PlacerOrderNumberImagingServiceRequest",
        "OrderPlacerIdentifierSequence",
    )
    _number(
        item,
        request.filler,
        "FillerOrderNumberImagingServiceRequest",
        "OrderFillerIdentifierSequence",
    )
    item.RequestedProcedureID = request.requested_procedure_id[:16]
    item.RequestedProcedureDescription = request.description[:64]
    item.RequestedProcedureCodeSequence = []
    return item


def _number(item: "Dataset", number: Number | None, keyword: str, issuer_keyword: str) -> None:
    from pydicom.dataset import Dataset

    setattr(item, keyword, number.value if number else None)
    if number is None or not (number.namespace or number.universal_id):
        return
    issuer = Dataset()
    if number.namespace:
        issuer.LocalNamespaceEntityID = number.namespace
    if number.universal_id:
        is_oid = number.universal_id.replace(".", "").isdigit()
        issuer.UniversalEntityID = number.universal_id
        issuer.UniversalEntityIDType = "ISO" if is_oid else "URI"
    setattr(item, issuer_keyword, [issuer])
