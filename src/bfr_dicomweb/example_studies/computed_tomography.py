"""Two CT examinations of one patient: an abdomen, and its prior of a year before."""

from collections.abc import Iterator
from typing import Final

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
)

from bfr_dicomweb.example_studies.anatomy import Trunk
from bfr_dicomweb.example_studies.identity import BJORN, Series, Study, new_object, part10, uid

SIZE: Final = 512
SPACING_MM: Final = 0.78125
SLICE_MM: Final = 4.0
FIRST_MM: Final = -158.0  # the lowest slice
INTERCEPT: Final = -1024

ABDOMEN: Final = Series(
    study=Study(
        name="ct abdomen",
        patient=BJORN,
        description="DT buk med iv kontrast",
        procedure_code="DTBUKK",
        accession_number="EX2610120017",
        date="20261012",
        time="101530",
        referring_physician="Lindqvist^Märta^^Dr",
        reading_physician="Sjöström^Göran^^Dr",
        character_set="ISO_IR 192",
    ),
    modality="CT",
    number=2,
    description="Buk portovenös fas 4.0",
    body_part="ABDOMEN",
    station="DT2",
    model="Phantom CT",
)
PRIOR: Final = Series(
    study=Study(
        name="ct abdomen prior",
        patient=BJORN,
        description="DT buk med iv kontrast",
        procedure_code="DTBUKK",
        accession_number="EX2509030004",
        date="20250903",
        time="084200",
        referring_physician="Lindqvist^Märta^^Dr",
        reading_physician="Höglund^Örjan^^Dr",
        character_set="ISO_IR 100",
    ),
    modality="CT",
    number=2,
    description="Lever 4.0",
    body_part="ABDOMEN",
    station="DT1",
    model="Phantom CT",
)
SLICES: Final = 80
PRIOR_SLICES: Final = 16
TUMOUR_RADIUS_MM: Final = 15.0
PRIOR_FIRST_SLICE: Final = 38


def abdomen_files() -> Iterator[bytes]:
    """The slices from the feet to the head, with native pixel data."""
    trunk = abdomen_trunk()
    for index in range(SLICES):
        yield part10(abdomen_slice(trunk, index), ExplicitVRLittleEndian)


def abdomen_trunk() -> Trunk:
    return _trunk(tumour_radius_mm=TUMOUR_RADIUS_MM, seed=1)


def abdomen_slice(trunk: Trunk, index: int) -> Dataset:
    height = slice_height_mm(index)
    return _slice(ABDOMEN, index + 1, height, trunk.slice_at(height))


def prior_files() -> Iterator[bytes]:
    """Slices through the liver, when the tumour was smaller; compressed without loss."""
    trunk = _trunk(tumour_radius_mm=9, seed=2)
    for index in range(PRIOR_SLICES):
        height = slice_height_mm(PRIOR_FIRST_SLICE + index)
        made = _slice(PRIOR, index + 1, height, trunk.slice_at(height))
        stored = np.frombuffer(made.PixelData, np.uint16).reshape(SIZE, SIZE)
        made.PixelData = encapsulate([bytes(imagecodecs.jpegls_encode(stored))])
        made["PixelData"].VR = "OB"
        yield part10(made, JPEGLSLossless)


def slice_height_mm(index: int) -> float:
    return FIRST_MM + SLICE_MM * index


def _trunk(*, tumour_radius_mm: float, seed: int) -> Trunk:
    axis = ((np.arange(SIZE) - (SIZE - 1) / 2) * SPACING_MM).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return Trunk(x, y, tumour_radius_mm=tumour_radius_mm, seed=seed)


def _slice(
    series: Series, number: int, height_mm: float, hounsfield: npt.NDArray[np.float32]
) -> Dataset:
    made = new_object(series, CTImageStorage, number)
    _add_plane(made, series, height_mm)
    _add_acquisition(made)
    stored = np.clip(np.rint(hounsfield) - INTERCEPT, 0, 4095).astype("<u2")
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = stored.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelRepresentation = 0
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = INTERCEPT, 1, "HU"
    made.WindowCenter, made.WindowWidth = [60, -500], [400, 1500]
    made.WindowCenterWidthExplanation = ["Buk", "Lunga"]
    made.PixelData = stored.tobytes()
    made["PixelData"].VR = "OW"
    return made


def _add_plane(made: Dataset, series: Series, height_mm: float) -> None:
    first_pixel = -(SIZE - 1) / 2 * SPACING_MM
    made.FrameOfReferenceUID = frame_of_reference_uid(series)
    made.PositionReferenceIndicator = "XY"
    made.PatientPosition = "FFS"
    made.ImagePositionPatient = [first_pixel, first_pixel, height_mm]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.PixelSpacing = [SPACING_MM, SPACING_MM]
    made.SliceThickness = made.SpacingBetweenSlices = SLICE_MM
    made.SliceLocation = height_mm


def frame_of_reference_uid(series: Series) -> UID:
    return uid(f"{series.study.name} frame of reference")


def _add_acquisition(made: Dataset) -> None:
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.AcquisitionNumber = 1
    made.KVP = 100
    made.XRayTubeCurrent = 220
    made.ExposureTime = 500
    made.DataCollectionDiameter = 500
    made.ReconstructionDiameter = SIZE * SPACING_MM
    made.ConvolutionKernel = "B30"
    made.ContrastBolusAgent = "Jodkontrast"
    made.ContrastBolusRoute = "IV"
    made.BurnedInAnnotation = "NO"
    made.LossyImageCompression = "00"
