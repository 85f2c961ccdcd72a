"""Who and what the example objects are about: people, UIDs, and the modules all objects share.

Every person is invented. The identity numbers are numbers published for testing, which belong
to nobody, and every UID is derived from a name, so that each run makes the same objects.
"""

import io
import uuid
from dataclasses import dataclass
from typing import Final

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

MANUFACTURER: Final = "bfr_dicomweb"
# OID of the Swedish personal identity number, as used in Issuer of Patient ID.
PERSONAL_IDENTITY_NUMBER: Final = "1.2.752.129.2.1.3.1"


def uid(name: str) -> UID:
    """The UID of what carries this name among the examples (PS3.5 section B.2)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'bfr_dicomweb example {name}').int}")


@dataclass(frozen=True, slots=True)
class Patient:
    name: str
    number: str  # twelve digits; the first eight are the birth date
    sex: str


@dataclass(frozen=True, slots=True)
class Study:
    name: str  # what its UIDs are derived from
    patient: Patient
    description: str
    procedure_code: str
    accession_number: str
    date: str
    time: str
    referring_physician: str
    reading_physician: str
    character_set: str

    @property
    def study_instance_uid(self) -> UID:
        return uid(self.name)


@dataclass(frozen=True, slots=True)
class Series:
    study: Study
    modality: str
    number: int
    description: str
    body_part: str
    station: str
    model: str

    @property
    def series_instance_uid(self) -> UID:
        return uid(f"{self.study.name} series {self.number}")


BJORN: Final = Patient("Åkerström^Björn", "198507099813", "M")
ASA: Final = Patient("Öberg^Åsa Märta", "196411139808", "F")
TOLVAN: Final = Patient("Tolvansson^Tolvan", "191212121212", "M")


def new_object(series: Series, sop_class_uid: UID, instance_number: int) -> Dataset:
    """Patient, General Study, General Series, General Equipment and SOP Common modules."""
    made = Dataset()
    made.SpecificCharacterSet = series.study.character_set
    made.SOPClassUID = sop_class_uid
    made.SOPInstanceUID = uid(f"{series.study.name} {series.number} {instance_number}")
    made.InstanceNumber = instance_number
    _add_patient(made, series.study.patient)
    _add_study(made, series.study)
    _add_series(made, series)
    return made


def _add_patient(made: Dataset, patient: Patient) -> None:
    made.PatientName = patient.name
    made.PatientID = patient.number
    qualifiers = Dataset()
    qualifiers.UniversalEntityID = PERSONAL_IDENTITY_NUMBER
    qualifiers.UniversalEntityIDType = "ISO"
    made.IssuerOfPatientIDQualifiersSequence = Sequence([qualifiers])
    made.PatientBirthDate = patient.number[:8]
    made.PatientSex = patient.sex


def _add_study(made: Dataset, study: Study) -> None:
    made.StudyInstanceUID = study.study_instance_uid
    made.StudyDate = study.date
    made.StudyTime = study.time
    made.StudyID = study.accession_number[-6:]
    made.AccessionNumber = study.accession_number
    made.StudyDescription = study.description
    made.ReferringPhysicianName = study.referring_physician
    made.NameOfPhysiciansReadingStudy = study.reading_physician
    made.ProcedureCodeSequence = Sequence([code(study.procedure_code, "99BFR", study.description)])


def _add_series(made: Dataset, series: Series) -> None:
    made.Modality = series.modality
    made.SeriesInstanceUID = series.series_instance_uid
    made.SeriesNumber = series.number
    made.SeriesDate = made.AcquisitionDate = made.ContentDate = series.study.date
    made.SeriesTime = made.AcquisitionTime = made.ContentTime = series.study.time
    made.SeriesDescription = series.description
    made.BodyPartExamined = series.body_part
    made.Manufacturer = MANUFACTURER
    made.ManufacturerModelName = series.model
    made.StationName = series.station
    made.DeviceSerialNumber = "1"
    made.SoftwareVersions = "1"
    made.InstitutionName = "Exempelsjukhuset"
    made.InstitutionalDepartmentName = "Röntgenkliniken"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def part10(made: Dataset, transfer_syntax_uid: UID) -> bytes:
    """The object as the bytes of a PS3.10 file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax_uid
    meta.ImplementationClassUID = uid("implementation class")
    meta.ImplementationVersionName = "BFR_EXAMPLES"
    made.file_meta = meta
    written = io.BytesIO()
    pydicom.dcmwrite(written, made, enforce_file_format=True)
    return written.getvalue()
