"""Two self-made studies that look like something on a screen: a CT volume and an ultrasound loop.

Patients are invented; the identity numbers are of the kind the Swedish Tax Agency publishes
for testing.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

CT_SLICES = 16
CT_SIZE = 192
US_FRAMES = 24
US_ROWS, US_COLUMNS = 240, 320


@dataclass(frozen=True, slots=True)
class Study:
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    patient_name: str
    files: tuple[bytes, ...]

    def sop_instance_uid(self, number: int) -> str:
        """The SOP Instance UID of the instance with this Instance Number."""
        return f"{self.series_instance_uid}.{number}"


def ct_study(patient_name: str = "Åkerström^Björn", patient_id: str = "191212121212") -> Study:
    """A chest of 16 axial slices in Hounsfield units, every slice unlike the others.

    The same patient gives the same bytes.
    """
    study_uid = generate_uid(entropy_srcs=[patient_id, "CT study"])
    series_uid = generate_uid(entropy_srcs=[patient_id, "CT series"])[:58]
    files = []
    for number in range(1, CT_SLICES + 1):
        image = _ct_header(study_uid, series_uid, number)
        image.PatientName, image.PatientID = patient_name, patient_id
        image.PixelData = _chest_slice(number).tobytes()
        files.append(_part10(image, ExplicitVRLittleEndian))
    return Study(study_uid, series_uid, patient_id, patient_name, tuple(files))


def ultrasound_study() -> Study:
    """A cine loop of a beating chamber: one multi-frame object of JPEG Baseline frames."""
    patient_id, patient_name = "194604080982", "Sjöqvist^Märta"
    study_uid = generate_uid(entropy_srcs=[patient_id, "US study"])
    series_uid = generate_uid(entropy_srcs=[patient_id, "US series"])[:58]
    image = _us_header(study_uid, series_uid)
    image.PatientName, image.PatientID = patient_name, patient_id
    frames = [_jpeg(_sector_frame(index)) for index in range(US_FRAMES)]
    image.PixelData = encapsulate(frames)
    image["PixelData"].VR = "OB"
    image.LossyImageCompression = "01"
    image.LossyImageCompressionMethod = "ISO_10918_1"
    image.LossyImageCompressionRatio = "10"
    files = (_part10(image, JPEGBaseline8Bit),)
    return Study(study_uid, series_uid, patient_id, patient_name, files)


def _ct_header(study_uid: str, series_uid: str, number: int) -> Dataset:
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = f"{series_uid}.{number}"
    image.StudyDate = image.SeriesDate = image.ContentDate = "20260312"
    image.StudyTime = image.SeriesTime = image.ContentTime = "081500"
    image.AccessionNumber = "REM-2026-0001"
    image.Modality = "CT"
    image.Manufacturer = "bfr-dicomweb tests"
    image.StudyDescription = "DT Thorax utan kontrast"
    image.SeriesDescription = "Thorax 5 mm"
    image.PatientBirthDate = "19121212"
    image.PatientSex = "M"
    image.StudyInstanceUID = study_uid
    image.SeriesInstanceUID = series_uid
    image.StudyID = "1"
    image.SeriesNumber = 2
    image.InstanceNumber = number
    image.FrameOfReferenceUID = f"{series_uid}.0"
    image.PositionReferenceIndicator = ""
    image.ImagePositionPatient = [-180, -180, -5 * number]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.SliceThickness = 5
    image.PixelSpacing = [1.875, 1.875]
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows = image.Columns = CT_SIZE
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "HU"
    image.WindowCenter, image.WindowWidth = 40, 900
    return image


def _us_header(study_uid: str, series_uid: str) -> Dataset:
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    image.SOPClassUID = UltrasoundMultiFrameImageStorage
    image.SOPInstanceUID = f"{series_uid}.1"
    image.StudyDate = image.SeriesDate = image.ContentDate = "20260401"
    image.StudyTime = image.SeriesTime = image.ContentTime = "130000"
    image.AccessionNumber = "REM-2026-0002"
    image.Modality = "US"
    image.Manufacturer = "bfr-dicomweb tests"
    image.StudyDescription = "UL Hjärta"
    image.SeriesDescription = "Fyrkammarvy"
    image.PatientBirthDate = "19460408"
    image.PatientSex = "F"
    image.StudyInstanceUID = study_uid
    image.SeriesInstanceUID = series_uid
    image.StudyID = "1"
    image.SeriesNumber = 1
    image.InstanceNumber = 1
    image.NumberOfFrames = US_FRAMES
    image.FrameIncrementPointer = 0x00181063
    image.FrameTime = 50
    image.CineRate = 20
    image.SamplesPerPixel = 3
    image.PhotometricInterpretation = "YBR_FULL_422"
    image.PlanarConfiguration = 0
    image.Rows, image.Columns = US_ROWS, US_COLUMNS
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit = 7
    image.PixelRepresentation = 0
    return image


def _part10(image: Dataset, transfer_syntax_uid: UID) -> bytes:
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = transfer_syntax_uid
    file = io.BytesIO()
    image.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _chest_slice(number: int) -> npt.NDArray[np.int16]:
    """Body, ribs, lungs, vessels, heart, airway, spine and table in Hounsfield units."""
    y, x = np.mgrid[-1 : 1 : CT_SIZE * 1j, -1 : 1 : CT_SIZE * 1j]
    level = number / CT_SLICES
    girth = 0.62 + 0.25 * level

    def inside(cx: float, cy: float, rx: float, ry: float) -> npt.NDArray[np.bool_]:
        within: npt.NDArray[np.bool_] = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        return within

    hu = np.full((CT_SIZE, CT_SIZE), -1000.0)
    hu[inside(0, 0, girth, 0.62)] = -90
    hu[inside(0, 0, girth - 0.05, 0.56)] = 45
    angle = np.arctan2(y / 0.6, x / girth)
    wall = inside(0, 0, girth - 0.07, 0.54) & ~inside(0, 0, girth - 0.11, 0.5)
    hu[wall & (np.sin(9 * angle + 5 * level) > 0.2)] = 500
    lung = 0.17 + 0.15 * np.sin(np.pi * level)
    for side in (-1, 1):
        hu[inside(side * girth * 0.5, -0.02, lung, 1.35 * lung)] = -820
        for vessel in (0.25, 0.5, 0.75):
            hu[inside(side * girth * vessel, 0.2 * vessel - 0.1 * level, 0.018, 0.018)] = 40
    hu[inside(0.1, -0.14, 0.24 * level + 0.04, 0.2 * level + 0.04)] = 70
    hu[inside(-0.02, 0.12, 0.035, 0.03)] = -1000
    hu[inside(0.1, 0.22, 0.05, 0.05)] = 130
    hu[inside(0, 0.36, 0.12, 0.1)] = 420
    hu[inside(0, 0.36, 0.095, 0.075)] = 220
    hu[inside(0, 0.48, 0.04, 0.035)] = 20
    hu[(np.abs(y - 0.75) < 0.02) & (np.abs(x) < 0.8)] = 150
    noise = np.random.default_rng(number).normal(0, 12, hu.shape)
    return (hu + noise).astype("<i2")


def _sector_frame(index: int) -> npt.NDArray[np.uint8]:
    """A speckled sector with a dark chamber that shrinks and grows once in the loop."""
    y, x = np.mgrid[0:US_ROWS, 0:US_COLUMNS].astype(np.float64)
    x -= US_COLUMNS / 2
    radius = np.hypot(x, y - 8)
    sector = (radius < US_ROWS - 20) & (np.abs(np.arctan2(x, y - 8)) < 0.7)
    speckle = np.random.default_rng(index).gamma(2.0, 40.0, x.shape)
    chamber = 34 + 20 * np.cos(2 * np.pi * index / US_FRAMES)
    blood = (x / chamber) ** 2 + ((y - 130) / (1.3 * chamber)) ** 2 < 1
    grey = np.where(sector, np.where(blood, speckle / 12, speckle), 0).clip(0, 255)
    frame = np.repeat(grey[:, :, None], 3, axis=2)
    jet = sector & ((x - 4) ** 2 + (y - 130 - 1.5 * index) ** 2 < 120)
    frame[jet] = (40, 90, 230)
    return frame.astype(np.uint8)


def _jpeg(frame: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=85, subsampling="4:2:2")
    return file.getvalue()
