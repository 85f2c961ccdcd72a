"""The example studies: valid, realistic, and the same in every run."""

import io
import itertools
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.uid import JPEGLosslessSV1

from bfr_dicomweb import example_studies

SWEDISH = re.compile("[ÅÄÖåäö]")


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return list(example_studies.example_objects())


@pytest.fixture(scope="module")
def objects(files: list[bytes]) -> list[Dataset]:
    return [pydicom.dcmread(io.BytesIO(file)) for file in files]


def of_modality(objects: list[Dataset], modality: str) -> list[Dataset]:
    return [made for made in objects if made.Modality == modality]


@pytest.fixture(scope="module")
def volume(objects: list[Dataset]) -> list[Dataset]:
    """The slices of the CT that was made in 2026."""
    return [made for made in of_modality(objects, "CT") if made.StudyDate.startswith("2026")]


def luhn_is_right(digits: str) -> bool:
    doubled = [int(digit) * factor for digit, factor in zip(digits, itertools.cycle((2, 1)))]
    return sum(value // 10 + value % 10 for value in doubled) % 10 == 0


@pytest.fixture(scope="module")
def validator() -> str:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dicom3tools is not installed: apt-get install dicom3tools")
    return program


@pytest.mark.parametrize(
    "position",
    [
        pytest.param(0, id="radiograph"),
        pytest.param(1, id="ultrasound"),
        pytest.param(2, id="compressed CT"),
        pytest.param(50, id="CT"),
        pytest.param(-1, id="report"),
    ],
)
def test_an_independent_validator_finds_no_error(
    validator: str, files: list[bytes], position: int, tmp_path: Path
) -> None:
    (tmp_path / "one.dcm").write_bytes(files[position])

    told = subprocess.run(
        [validator, tmp_path / "one.dcm"], capture_output=True, text=True, check=False
    )

    assert [line for line in told.stderr.splitlines() if line.startswith("Error")] == []


def test_the_number_of_objects_is_as_announced(files: list[bytes]) -> None:
    assert len(files) == example_studies.OBJECTS


def test_they_take_less_than_sixty_megabytes(files: list[bytes]) -> None:
    assert sum(map(len, files)) < 60_000_000


def test_each_run_makes_the_same_bytes(files: list[bytes]) -> None:
    again = example_studies.example_objects()

    assert list(itertools.islice(again, 4)) == files[:4]


def test_the_report_too_is_the_same_in_each_run(files: list[bytes]) -> None:
    from bfr_dicomweb.example_studies import report

    assert next(report.report_files()) == files[-1]


def test_no_two_share_a_sop_instance_uid(objects: list[Dataset]) -> None:
    assert len({made.SOPInstanceUID for made in objects}) == len(objects)


def test_every_uid_is_valid(objects: list[Dataset]) -> None:
    uids = {
        uid
        for made in objects
        for uid in (made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)
    }

    assert all(uid.is_valid for uid in uids)


def test_every_study_has_one_patient(objects: list[Dataset]) -> None:
    pairs = {(made.StudyInstanceUID, made.PatientID) for made in objects}

    assert len(pairs) == len({study for study, _ in pairs})


def test_every_series_has_one_modality(objects: list[Dataset]) -> None:
    pairs = {(made.SeriesInstanceUID, made.Modality) for made in objects}

    assert len(pairs) == len({series for series, _ in pairs})


def test_the_modalities_are_those_of_a_radiology_department(objects: list[Dataset]) -> None:
    counted = Counter(made.Modality for made in objects)

    assert counted == {"CT": 96, "DX": 1, "US": 1, "SR": 1}


def test_the_abdomen_has_a_prior_of_the_same_patient(objects: list[Dataset]) -> None:
    scans = {(made.PatientID, made.StudyDate) for made in of_modality(objects, "CT")}

    assert len(scans) == 2
    assert len({patient for patient, _ in scans}) == 1


def test_patient_ids_are_identity_numbers_with_a_right_check_digit(
    objects: list[Dataset],
) -> None:
    assert all(luhn_is_right(made.PatientID[2:]) for made in objects)


def test_birth_date_and_sex_agree_with_the_identity_number(objects: list[Dataset]) -> None:
    for made in objects:
        assert made.PatientBirthDate == made.PatientID[:8]
        assert made.PatientSex == ("M" if int(made.PatientID[10]) % 2 else "F")


def test_swedish_letters_survive_both_character_sets(objects: list[Dataset]) -> None:
    sets = {
        str(made.SpecificCharacterSet)
        for made in objects
        if SWEDISH.search(f"{made.PatientName}{made.ReferringPhysicianName}")
    }

    assert sets == {"ISO_IR 100", "ISO_IR 192"}


def test_names_are_read_back_as_written(objects: list[Dataset]) -> None:
    names = {str(made.PatientName) for made in objects}

    assert names == {"Åkerström^Björn", "Öberg^Åsa Märta", "Tolvansson^Tolvan"}


def test_the_slices_of_the_volume_are_evenly_spaced(volume: list[Dataset]) -> None:
    heights = np.array([float(made.ImagePositionPatient[2]) for made in volume])

    assert np.allclose(np.diff(heights), float(volume[0].SliceThickness))


def test_the_volume_has_one_frame_of_reference_and_one_orientation(volume: list[Dataset]) -> None:
    grids = {
        (made.FrameOfReferenceUID, tuple(made.ImageOrientationPatient), tuple(made.PixelSpacing))
        for made in volume
    }

    assert len(grids) == 1


def test_the_volume_holds_air_fat_organs_and_bone(volume: list[Dataset]) -> None:
    middle = volume[46]
    hounsfield = middle.pixel_array + float(middle.RescaleIntercept)
    ranges = [(-1024, -900), (-130, -70), (80, 140), (400, 700)]

    shares = [((hounsfield > low) & (hounsfield < high)).mean() for low, high in ranges]

    assert min(shares) > 0.003


def test_the_compressed_prior_decodes_to_a_picture(objects: list[Dataset]) -> None:
    prior = next(made for made in of_modality(objects, "CT") if made.StudyDate < "2026")

    assert prior.pixel_array.std() > 300


def test_the_report_measures_what_the_slice_shows(
    objects: list[Dataset], volume: list[Dataset]
) -> None:
    (report,) = of_modality(objects, "SR")
    text = str(report)
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    referenced = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    measured = next(
        made for made in volume if made.SOPInstanceUID == referenced.ReferencedSOPInstanceUID
    )
    found = re.search(r"Graphic Data\s+FL: \[(.*?)\]", text)
    assert found is not None
    left, row, right, *_ = (round(float(number)) for number in found[1].split(","))
    centre = measured.pixel_array[row - 5 : row + 5, (left + right) // 2 - 5 :][:, :10]

    assert abs(centre.mean() + float(measured.RescaleIntercept) - 48) < 5


def test_the_cine_loop_has_an_offset_for_each_frame(objects: list[Dataset]) -> None:
    (cine,) = of_modality(objects, "US")

    assert len(parse_basic_offsets(cine.PixelData)) == cine.NumberOfFrames == 30


def test_the_frames_of_the_cine_loop_differ(objects: list[Dataset]) -> None:
    (cine,) = of_modality(objects, "US")

    assert len(set(generate_frames(cine.PixelData, number_of_frames=30))) == 30


def test_the_cine_loop_says_how_fast_it_goes(objects: list[Dataset]) -> None:
    (cine,) = of_modality(objects, "US")

    assert cine[cine.FrameIncrementPointer].value == pytest.approx(33.333)


def test_the_chest_is_large_and_compressed_without_loss(objects: list[Dataset]) -> None:
    (chest,) = of_modality(objects, "DX")

    assert (chest.Rows, chest.Columns, chest.BitsStored) == (2048, 2048, 12)
    assert chest.file_meta.TransferSyntaxUID == JPEGLosslessSV1
