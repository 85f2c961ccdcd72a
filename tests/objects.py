"""Small valid objects, made with pydicom: valid by default, naming only what matters."""

import io
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

DICOM = "application/dicom"


def uid() -> str:
    """A new one; all have the same length, so that what stands in a file stands at one place."""
    return f"2.25.{10**37 + (uuid4().int >> 6)}"


def a_dataset(**attributes: Any) -> Dataset:
    """A CT image of 16 x 16 pixels; keyword arguments are attributes, None leaves one out."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uid()
    dataset.StudyInstanceUID = uid()
    dataset.SeriesInstanceUID = uid()
    dataset.StudyDate, dataset.StudyTime = "20240115", "101500"
    dataset.AccessionNumber = "A1"
    dataset.Modality = "CT"
    dataset.PatientName = "Åkerström^Björn"
    dataset.PatientID = "191212121212"
    dataset.PatientBirthDate, dataset.PatientSex = "19121212", "M"
    dataset.StudyID = "1"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.arange(256, dtype="<u2").tobytes()
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def written(dataset: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a PS3.10 file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "2.25.1")
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    dataset.file_meta = meta
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def an_object(**attributes: Any) -> bytes:
    return written(a_dataset(**attributes))


def a_series(count: int, **attributes: Any) -> list[bytes]:
    shared = {"StudyInstanceUID": uid(), "SeriesInstanceUID": uid()} | attributes
    return [an_object(InstanceNumber=number, **shared) for number in range(1, count + 1)]


def a_cine(frames: Sequence[bytes], **attributes: Any) -> bytes:
    """A multi-frame object of JPEG frames with a Basic Offset Table."""
    dataset = a_dataset(
        SOPClassUID=MultiFrameTrueColorSecondaryCaptureImageStorage,
        Modality="US",
        NumberOfFrames=len(frames),
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        **attributes,
    )
    dataset.PixelData = encapsulate(list(frames), has_bot=True)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return written(dataset, JPEGBaseline8Bit)


def multipart(files: Sequence[bytes], boundary: str = "boundary") -> tuple[bytes, str]:
    """A STOW-RS payload and its Content-Type."""
    head = f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
    body = b"".join(head + file + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
    return body, f'multipart/related; type="{DICOM}"; boundary={boundary}'


def a_report(text: str) -> Dataset:
    """A Basic Text SR with one finding."""
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.ConceptNameCodeSequence = [a_code("121071", "DCM", "Finding")]
    item.TextValue = text
    report = a_dataset(SOPClassUID=BasicTextSRStorage, Modality="SR", PixelData=None)
    for keyword in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"):
        del report[keyword]
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.ConceptNameCodeSequence = [a_code("18748-4", "LN", "Diagnostic imaging report")]
    report.ContentSequence = [item]
    return report


def a_code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
