"""Which attribute belongs to which information entity, and how an attribute is named."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, tag_for_keyword

Attributes = Mapping[str, Any]

_HEX_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)


@lru_cache(maxsize=4096)
def tag_of(name: str) -> str | None:
    """The 8 upper case hexadecimal digits of a PS3.6 keyword or of a tag; None for other text."""
    if _HEX_TAG.fullmatch(name):
        return name.upper()
    number = tag_for_keyword(name) if name else None
    return None if number is None else f"{number:08X}"


@lru_cache(maxsize=4096)
def vr_of(tag: str) -> str | None:
    """The VR of PS3.6, the first one where it gives a choice; None when the tag is not in it."""
    number = int(tag, 16)
    return dictionary_VR(number)[:2] if dictionary_has_tag(number) else None


@lru_cache(maxsize=4096)
def is_multi_valued(tag: str) -> bool:
    number = int(tag, 16)
    return not dictionary_has_tag(number) or dictionary_VM(number) != "1"


def _tags(keywords: str) -> frozenset[str]:
    found = {keyword: tag_of(keyword) for keyword in keywords.split()}
    return frozenset(tag for tag in found.values() if tag is not None)


# Patient, Clinical Trial Subject: PS3.3 Tables C.7-1 and C.7-2b
PATIENT: Final = _tags("""
    PatientName PatientID IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence
    SourcePatientGroupIdentificationSequence GroupOfPatientsIdentificationSequence
    PatientBirthDate PatientBirthTime PatientBirthDateInAlternativeCalendar
    PatientDeathDateInAlternativeCalendar PatientAlternativeCalendar PatientSex
    ReferencedPatientSequence QualityControlSubject ReferencedPatientPhotoSequence
    OtherPatientIDs OtherPatientNames OtherPatientIDsSequence PatientBirthName
    PatientMotherBirthName EthnicGroup EthnicGroups EthnicGroupCodeSequence PatientComments
    PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription
    PatientBreedCodeSequence BreedRegistrationSequence StrainDescription StrainNomenclature
    StrainCodeSequence StrainAdditionalInformation StrainStockSequence GeneticModificationsSequence
    ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization PatientIdentityRemoved
    DeidentificationMethod DeidentificationMethodCodeSequence PatientAddress
    PatientTelephoneNumbers MilitaryRank BranchOfService CountryOfResidence RegionOfResidence
    PatientReligiousPreference PatientPrimaryLanguageCodeSequence InsurancePlanIdentification
    MedicalRecordLocator ClinicalTrialSponsorName ClinicalTrialProtocolID
    ClinicalTrialProtocolName ClinicalTrialSiteID ClinicalTrialSiteName ClinicalTrialSubjectID
    IssuerOfClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    IssuerOfClinicalTrialSubjectReadingID ClinicalTrialProtocolEthicsCommitteeName
    ClinicalTrialProtocolEthicsCommitteeApprovalNumber OtherClinicalTrialProtocolIDsSequence
""")

# General Study, Patient Study, Clinical Trial Study: PS3.3 Tables C.7-3, C.7-4a and C.7-4b, and
# the study attributes that an archive counts (PS3.4 Table C.6-2). Institution Name stands here
# although PS3.3 has it with the equipment: people search studies by it.
STUDY: Final = _tags("""
    StudyInstanceUID StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence StudyID
    StudyDescription StudyUpdateDateTime ReferringPhysicianName
    ReferringPhysicianIdentificationSequence ConsultingPhysicianName
    ConsultingPhysicianIdentificationSequence PhysiciansOfRecord
    PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy
    PhysiciansReadingStudyIdentificationSequence RequestingService
    RequestingServiceCodeSequence ReferencedStudySequence ProcedureCodeSequence
    ReasonForPerformedProcedureCodeSequence ReasonForVisit ReasonForVisitCodeSequence
    AdmissionID IssuerOfAdmissionIDSequence ServiceEpisodeID IssuerOfServiceEpisodeIDSequence
    ServiceEpisodeDescription PatientState AdmittingDiagnosesDescription
    AdmittingDiagnosesCodeSequence AdmittingDate AdmittingTime PatientAge PatientSize PatientWeight
    PatientBodyMassIndex MeasuredAPDimension MeasuredLateralDimension PatientSizeCodeSequence
    MedicalAlerts Allergies SmokingStatus PregnancyStatus LastMenstrualDate PatientSexNeutered
    Occupation AdditionalPatientHistory OtherStudyNumbers RequestingPhysician
    InstitutionName InstitutionAddress InstitutionCodeSequence StudyStatusID StudyPriorityID
    ClinicalTrialTimePointID ClinicalTrialTimePointDescription
    LongitudinalTemporalOffsetFromEvent LongitudinalTemporalEventType
    ClinicalTrialTimePointTypeCodeSequence ConsentForClinicalTrialUseSequence
    ModalitiesInStudy SOPClassesInStudy AnatomicRegionsInStudyCodeSequence
    NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
    NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances
    SpecificCharacterSet TimezoneOffsetFromUTC
""")

# General Series, Clinical Trial Series, General Equipment, Frame of Reference:
# PS3.3 Tables C.7-5a, C.7-5b, C.7-6 and C.7-8
SERIES: Final = _tags("""
    SeriesInstanceUID Modality SeriesNumber Laterality SeriesDate SeriesTime
    PerformingPhysicianName PerformingPhysicianIdentificationSequence ProtocolName
    SeriesDescription SeriesDescriptionCodeSequence OperatorsName OperatorIdentificationSequence
    ReferencedPerformedProcedureStepSequence RelatedSeriesSequence BodyPartExamined PatientPosition
    SmallestPixelValueInSeries LargestPixelValueInSeries RequestAttributesSequence
    PerformedProcedureStepID PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedProcedureStepDescription
    PerformedProtocolCodeSequence CommentsOnThePerformedProcedureStep AnatomicalOrientationType
    TreatmentSessionUID ClinicalTrialCoordinatingCenterName ClinicalTrialSeriesID
    IssuerOfClinicalTrialSeriesID ClinicalTrialSeriesDescription
    Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions GantryID UDISequence
    DeviceUID StationName InstitutionalDepartmentName InstitutionalDepartmentTypeCodeSequence
    ManufacturerRelatedModelGroup SpatialResolution DateOfManufacture DateOfInstallation
    DateOfLastCalibration TimeOfLastCalibration PixelPaddingValue
    FrameOfReferenceUID PositionReferenceIndicator PresentationIntentType
    NumberOfSeriesRelatedInstances SpecificCharacterSet TimezoneOffsetFromUTC
""")

STUDY_LEVEL: Final = PATIENT | STUDY
SERIES_LEVEL: Final = SERIES


def select(attributes: Attributes, tags: frozenset[str]) -> dict[str, Any]:
    """The attributes among `tags`, in the order they have."""
    return {tag: element for tag, element in attributes.items() if tag in tags}


def has_value(element: Mapping[str, Any] | None) -> bool:
    """Whether a DICOM JSON attribute (PS3.18 section F.2.2) holds anything but empty values."""
    if not element:
        return False
    values = element.get("Value")
    if values is None:
        return "BulkDataURI" in element or "InlineBinary" in element
    return any(value is not None and value not in ("", {}) for value in values)


def values_of(attributes: Attributes, tag: str) -> list[Any]:
    """The values that are not empty."""
    element = attributes.get(tag)
    values = element.get("Value") if element else None
    return [value for value in values or () if value is not None and value not in ("", {})]


def texts_of(attributes: Attributes, tag: str) -> list[str]:
    """The values as text, for attributes of a VR that is text or a number."""
    return [str(value) for value in values_of(attributes, tag) if not isinstance(value, dict)]


def first_text(attributes: Attributes, tag: str) -> str:
    element = attributes.get(tag)
    if not element:
        return ""
    values = element.get("Value")
    if values and type(values[0]) is str and values[0]:
        return str(values[0])  # nearly always
    found = texts_of(attributes, tag)
    return found[0] if found else ""
