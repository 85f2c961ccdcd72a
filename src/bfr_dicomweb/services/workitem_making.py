"""What a workitem says of the patient, the request and the images that it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import Attributes, tag_of, vr_of
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import retrieve, timeline, worklist_items
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import ExamRow, PatientRow, StudyRow

Dataset = dict[str, Any]

_PATIENT: Final = (
    "PatientName PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence"
    " OtherPatientIDsSequence PatientBirthDate PatientSex AdmissionID IssuerOfAdmissionIDSequence"
)
_REQUEST: Final = (
    "StudyInstanceUID AccessionNumber IssuerOfAccessionNumberSequence"
    " PlacerOrderNumberImagingServiceRequest OrderPlacerIdentifierSequence"
    " FillerOrderNumberImagingServiceRequest OrderFillerIdentifierSequence RequestedProcedureID"
    " RequestedProcedureDescription RequestedProcedureCodeSequence ReasonForTheRequestedProcedure"
    " RequestingPhysician RequestingService ReferringPhysicianName"
)
_STUDY_INSTANCE_UID: Final = "0020000D"


@dataclass(frozen=True, slots=True)
class Access:
    """
    Attributes:
        retrieve_url: Of the DICOMweb service, under which inputs are fetched.
        ae_title: Of this archive, from which they can be moved.
    """

    retrieve_url: str
    ae_title: str


async def about(index: Index, exams: Sequence[ExamRow], studies: Sequence[StudyRow]) -> Dataset:
    """Patient and request, from the exam if there is one and else from the study."""
    if not exams:
        source: Attributes = studies[0].attributes if studies else {}
        return _selected(source, _PATIENT)
    people = await timeline.patients_of_roots(index, {exams[0].patient_id})
    people.sort(key=lambda record: record.id != record.root_id)
    told = worklist_items.item(exams[0], people)
    request = _selected(told, _REQUEST)
    found = _selected(told, _PATIENT)
    return found | {tag("ReferencedRequestSequence"): {"vr": "SQ", "Value": [request]}}


def of_patient(people: Sequence[PatientRow]) -> Dataset:
    """Of the records of one patient, the one that stands for the person first."""
    return _selected(worklist_items.patient(people), _PATIENT)


async def references(archive: Archive, ref: Ref, access: Access) -> list[Dataset]:
    """Referenced Instances and Access Macro (PS3.4 Table CC.2.5-2c), an item for each series.

    Raises:
        NotFound: Nothing is stored there.
    """
    by_series: dict[str, list[retrieve.StoredInstance]] = {}
    for one in await retrieve.list_instances(archive, ref):
        by_series.setdefault(one.series_instance_uid, []).append(one)
    return [
        _reference(ref.study_instance_uid, series, instances, access)
        for series, instances in by_series.items()
    ]


def _reference(
    study: str, series: str, instances: Sequence[retrieve.StoredInstance], access: Access
) -> Dataset:
    url = f"{access.retrieve_url}{Ref(study, series).path}"
    referenced = [
        {
            "00081150": {"vr": "UI", "Value": [one.sop_class_uid]},
            "00081155": {"vr": "UI", "Value": [one.sop_instance_uid]},
        }
        for one in instances
    ]
    return {
        "00081199": {"vr": "SQ", "Value": referenced},
        _STUDY_INSTANCE_UID: {"vr": "UI", "Value": [study]},
        "0020000E": {"vr": "UI", "Value": [series]},
        tag("TypeOfInstances"): {"vr": "CS", "Value": ["DICOM"]},
        tag("DICOMRetrievalSequence"): items({"RetrieveAETitle": access.ae_title}),
        tag("WADORSRetrievalSequence"): items({"RetrieveURL": url}),
    }


def tag(keyword: str) -> str:
    found = tag_of(keyword)
    if found is None:
        raise ValueError(f"{keyword} is not in PS3.6")
    return found


def element(keyword: str, value: str) -> Dataset:
    vr = vr_of(tag(keyword)) or "UN"
    return {"vr": vr, "Value": [value]} if value else {"vr": vr}


def items(values: Mapping[str, str]) -> Dataset:
    """A sequence of one item."""
    item = {tag(keyword): element(keyword, value) for keyword, value in values.items()}
    return {"vr": "SQ", "Value": [item]}


def coded(code: tuple[str, str, str]) -> Dataset:
    value, scheme, meaning = code
    return items({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})


def _selected(source: Attributes, keywords: str) -> Dataset:
    wanted = [tag(keyword) for keyword in keywords.split()]
    return {each: source[each] for each in sorted(wanted) if each in source}


def moment(at: datetime) -> str:
    """A DT value of a time of UTC."""
    return at.strftime("%Y%m%d%H%M%S+0000")
