"""What an object needs to be valid, for the classes that things other than DICOM are stored in.

A photograph says nothing of patient or series. What its information object definition demands
(PS3.3 Annex A) is supplied: empty where a value may be unknown, else with what holds of anything
that came this way. Attributes that are there, even empty, stay as they are.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from bfr_dicomweb.dicom import encapsulated_documents
from bfr_dicomweb.dicom.attributes import Attributes, has_value
from bfr_dicomweb.dicom.report_writing import IMPLEMENTATION_VERSION, MANUFACTURER

_CLASSES: Final = "1.2.840.10008.5.1.4.1.1."
SECONDARY_CAPTURE: Final = _CLASSES + "7"
MULTI_FRAME_SINGLE_BIT: Final = _CLASSES + "7.1"
MULTI_FRAME_GRAYSCALE_BYTE: Final = _CLASSES + "7.2"
MULTI_FRAME_GRAYSCALE_WORD: Final = _CLASSES + "7.3"
MULTI_FRAME_TRUE_COLOR: Final = _CLASSES + "7.4"
VL_PHOTOGRAPHIC: Final = _CLASSES + "77.1.4"
VIDEO_PHOTOGRAPHIC: Final = _CLASSES + "77.1.4.1"

_MULTI_FRAME_CAPTURES: Final = frozenset(
    {
        MULTI_FRAME_SINGLE_BIT,
        MULTI_FRAME_GRAYSCALE_BYTE,
        MULTI_FRAME_GRAYSCALE_WORD,
        MULTI_FRAME_TRUE_COLOR,
    }
)
_CAPTURES: Final = _MULTI_FRAME_CAPTURES | {SECONDARY_CAPTURE}
# Modality by class: endoscopy, microscopy of single fields, photography.
_VISIBLE_LIGHT: Final = {
    f"{_CLASSES}77.1.{suffix}": modality
    for suffix, modality in (
        ("1", "ES"),
        ("1.1", "ES"),
        ("2", "GM"),
        ("2.1", "GM"),
        ("4", "XC"),
        ("4.1", "XC"),
    )
}
MULTI_FRAME: Final = _MULTI_FRAME_CAPTURES | {
    uid for uid in _VISIBLE_LIGHT if uid.count(".") > VL_PHOTOGRAPHIC.count(".")
}

# Type 2 of Patient, General Study and General Series (PS3.3 Tables C.7-1, C.7-3 and C.7-5a).
_EMPTY: Final = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName
    StudyID AccessionNumber SeriesNumber
"""
_EMPTY_OF_IMAGES: Final = "InstanceNumber Laterality PatientOrientation"
# General Equipment, Acquisition Context (PS3.3 Tables C.7-8 and C.7.6.14-1)
_EMPTY_OF_VISIBLE_LIGHT: Final = "Manufacturer LossyImageCompression AcquisitionContextSequence"
# Encapsulated Document (PS3.3 Table C.24-2)
_EMPTY_OF_DOCUMENTS: Final = """
    Manufacturer ContentDate ContentTime AcquisitionDateTime DocumentTitle ConceptNameCodeSequence
"""
_EMPTY_OF_MODELS: Final = "PositionReferenceIndicator"
_UNITS: Final = {
    "00080100": {"vr": "SH", "Value": ["mm"]},
    "00080102": {"vr": "SH", "Value": ["UCUM"]},
    "00080104": {"vr": "LO", "Value": ["mm"]},
}


@dataclass(frozen=True, slots=True)
class Supplied:
    """
    Attributes:
        values: Attributes that say something, which nobody who sent the object has said.
        empty: Those that only have to be there.
    """

    values: dict[str, dict[str, Any]]
    empty: dict[str, dict[str, Any]]


def new_uid() -> str:
    """PS3.5 section B.2."""
    return f"2.25.{uuid.uuid4().int}"


def element(keyword: str, *values: Any) -> tuple[str, dict[str, Any]]:
    """Tag and DICOM JSON of an attribute of PS3.6 with one VR."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(keyword)
    vr = dictionary_VR(tag)
    return f"{tag:08X}", {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def supplied(attributes: Attributes, sop_class_uid: str) -> Supplied:
    """What an object of this class lacks; nothing for other classes than those named above."""
    values, empty = _needed(attributes, sop_class_uid)
    missing = dict(element(keyword, *found) for keyword, found in values.items())
    return Supplied(
        {
            tag: one
            for tag, one in missing.items()
            if tag not in attributes or not has_value(attributes[tag])
        },
        {
            tag: one
            for tag, one in (element(keyword) for keyword in empty.split())
            if tag not in attributes and tag not in missing
        },
    )


def _needed(
    attributes: Attributes, sop_class_uid: str
) -> tuple[Mapping[str, tuple[Any, ...]], str]:
    """By keyword: values of attributes of type 1; and the attributes of type 2."""
    if sop_class_uid in _CAPTURES:
        return _of_captures(attributes, sop_class_uid), f"{_EMPTY} {_EMPTY_OF_IMAGES}"
    if sop_class_uid in _VISIBLE_LIGHT:
        values = {
            "Modality": (_VISIBLE_LIGHT[sop_class_uid],),
            "ImageType": ("ORIGINAL", "PRIMARY"),
        }
        return values, f"{_EMPTY} {_EMPTY_OF_IMAGES} {_EMPTY_OF_VISIBLE_LIGHT}"
    if sop_class_uid in encapsulated_documents.BY_SOP_CLASS:
        of_models = _EMPTY_OF_MODELS if sop_class_uid in encapsulated_documents.MODELS else ""
        return _of_documents(sop_class_uid), f"{_EMPTY} {_EMPTY_OF_DOCUMENTS} {of_models}"
    return {}, ""


def _of_captures(attributes: Attributes, sop_class_uid: str) -> dict[str, tuple[Any, ...]]:
    """SC Equipment and SC Multi-frame Image (PS3.3 Tables C.8-24 and C.8-25b)."""
    values: dict[str, tuple[Any, ...]] = {"Modality": ("OT",), "ConversionType": ("WSD",)}
    if sop_class_uid not in _MULTI_FRAME_CAPTURES:
        return values
    # YES is the safe side: nobody has looked
    values["BurnedInAnnotation"] = ("YES",)
    if attributes.get("00280004", {}).get("Value") == ["MONOCHROME2"]:
        values["PresentationLUTShape"] = ("IDENTITY",)
        if sop_class_uid != MULTI_FRAME_SINGLE_BIT:
            values |= {"RescaleIntercept": (0,), "RescaleSlope": (1,), "RescaleType": ("US",)}
    return values


def _of_documents(sop_class_uid: str) -> dict[str, tuple[Any, ...]]:
    """Encapsulated Document Series and Encapsulated Document (PS3.3 section C.24), and of models
    Frame of Reference, Enhanced General Equipment and Manufacturing 3D Model.
    """
    is_model = sop_class_uid in encapsulated_documents.MODELS
    values: dict[str, tuple[Any, ...]] = {
        "Modality": ("M3D" if is_model else "DOC",),
        "SeriesNumber": (1,),
        "InstanceNumber": (1,),
        "ConversionType": ("WSD",),
        "BurnedInAnnotation": ("YES",),
    }
    if is_model:
        # files of these kinds have no unit; what makes and prints them takes millimetres
        values |= {
            "Manufacturer": (MANUFACTURER,),
            "ManufacturerModelName": (MANUFACTURER,),
            "DeviceSerialNumber": ("0",),
            "SoftwareVersions": (IMPLEMENTATION_VERSION,),
            "FrameOfReferenceUID": (new_uid(),),
            "MeasurementUnitsCodeSequence": (_UNITS,),
        }
    return values
