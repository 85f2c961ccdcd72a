"""DICOMDIRs that are written here, read back by pydicom and DCMTK."""

import subprocess
from io import BytesIO
from pathlib import Path
from shutil import which

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from bfr_dicomweb.dicom import file_set
from bfr_dicomweb.dicom.file_set import Entry, directory, file_id, record_type
from bfr_dicomweb.dicom.part10 import read_header
from bfr_dicomweb.errors import InvalidObject
from media import read_media
from objects import a_dataset, a_series, uid, written
from shared_data import COMPLETE, NO_DCMTK, dicom_files


def an_entry(file: bytes, series: int = 1, instance: int = 1) -> Entry:
    header = read_header(file)
    return Entry(file_id(series, instance), header.transfer_syntax_uid, header.attributes)


def written_to(folder: Path, files: list[bytes]) -> Path:
    """A folder with these files of one series, and their DICOMDIR."""
    entries = []
    for number, file in enumerate(files, start=1):
        entry = an_entry(file, instance=number)
        path = folder.joinpath(*entry.file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
        entries.append(entry)
    folder.joinpath(file_set.DICOMDIR).write_bytes(directory(entries))
    return folder / file_set.DICOMDIR


def records(made: bytes) -> list[Dataset]:
    return list(pydicom.dcmread(BytesIO(made)).DirectoryRecordSequence)


def test_pydicom_finds_each_file_by_the_directory(tmp_path: Path) -> None:
    files = a_series(3)

    found = read_media(written_to(tmp_path, files))

    assert [one.InstanceNumber for _, one in found] == [1, 2, 3]
    assert [path.read_bytes() for path, _ in found] == files


def test_records_are_patient_study_series_and_images() -> None:
    series = [a_series(2, StudyInstanceUID="1.2.3") for _ in range(2)]
    entries = [
        an_entry(file, place, number)
        for place, files in enumerate(series, start=1)
        for number, file in enumerate(files, start=1)
    ]

    found = [one.DirectoryRecordType for one in records(directory(entries))]

    assert found == [
        *("PATIENT", "STUDY"),
        *("SERIES", "IMAGE", "IMAGE"),
        *("SERIES", "IMAGE", "IMAGE"),
    ]


def test_an_image_record_refers_to_its_file() -> None:
    dataset = a_dataset()
    image = records(directory([an_entry(written(dataset))]))[-1]

    assert list(image.ReferencedFileID) == ["DICOM", "SE000001", "IM000001"]
    assert image.ReferencedSOPInstanceUIDInFile == dataset.SOPInstanceUID
    assert image.ReferencedTransferSyntaxUIDInFile == ExplicitVRLittleEndian


def test_names_keep_their_letters() -> None:
    patient = records(directory([an_entry(written(a_dataset()))]))[0]

    assert patient.PatientName == "Åkerström^Björn"


@pytest.mark.parametrize(
    ("keyword", "record"),
    [("PatientID", 0), ("StudyDate", 1), ("StudyTime", 1), ("StudyID", 1), ("SeriesNumber", 2)],
)
def test_what_a_record_requires_is_there_when_the_instance_lacks_it(
    keyword: str, record: int
) -> None:
    dataset = a_dataset(**{keyword: None})

    found = records(directory([an_entry(written(dataset))]))[record]

    assert found[keyword].VM == 1


def test_file_ids_are_of_at_most_eight_characters_that_media_may_have() -> None:
    for component in file_id(999_999, 999_999):
        assert len(component) <= 8
        assert component.isalnum()
        assert component.isupper()


@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "SR DOCUMENT"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "KEY OBJECT DOC"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "PRESENTATION"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "ENCAP DOC"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "WAVEFORM"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "RT PLAN"),
        ("1.2.840.10008.5.1.4.1.1.66", "RAW DATA"),
    ],
)
def test_a_record_has_the_type_of_the_sop_class(sop_class: str, kind: str) -> None:
    attributes = {"00080016": {"vr": "UI", "Value": [sop_class]}}

    assert record_type(attributes) == kind


def test_only_what_modifies_the_title_of_a_document_is_in_its_record() -> None:
    item, modifier = Dataset(), Dataset()
    item.RelationshipType, modifier.RelationshipType = "CONTAINS", "HAS CONCEPT MOD"
    item.ValueType = modifier.ValueType = "TEXT"
    item.TextValue, modifier.TextValue = "long", "short"
    dataset = a_dataset(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", ContentSequence=[item, modifier]
    )

    found = records(directory([an_entry(written(dataset))]))[-1]

    assert [one.TextValue for one in found.ContentSequence] == ["short"]


def test_the_same_files_have_the_same_directory() -> None:
    entries = [an_entry(file) for file in a_series(2)]

    assert directory(entries) == directory(entries)


def read_by_dcmtk(dicomdir: Path) -> None:
    """DCMTK reads the directory, follows its offsets and writes it anew with another study."""
    if which("dcmgpdir") is None:
        if COMPLETE:
            pytest.fail(NO_DCMTK)
        pytest.skip(NO_DCMTK)
    more = dicomdir.parent / "DICOM" / "MORE"
    more.write_bytes(written(a_dataset(SeriesInstanceUID=uid())))
    done = subprocess.run(
        ["dcmgpdir", "--append", "--invent", "--no-backup", "DICOM/MORE"],
        cwd=dicomdir.parent,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"E:" not in done.stderr


def test_dcmtk_reads_the_directory(tmp_path: Path) -> None:
    dicomdir = written_to(tmp_path, a_series(3))
    before = len(records(dicomdir.read_bytes()))

    read_by_dcmtk(dicomdir)

    assert len(records(dicomdir.read_bytes())) == before + 3


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("path", dicom_files("**/*.dcm"), ids=lambda path: path.name)
def test_a_sample_file_is_listed_whatever_it_is_like(path: Path) -> None:
    try:
        entry = an_entry(path.read_bytes())
    except InvalidObject:
        return  # it is not stored either

    found = records(directory([entry]))

    assert [one.DirectoryRecordType for one in found[:3]] == ["PATIENT", "STUDY", "SERIES"]
    assert tuple(found[3].ReferencedFileID) == entry.file_id
    assert found[0].OffsetOfTheNextDirectoryRecord == 0
