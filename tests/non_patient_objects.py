"""Objects that belong to no patient, each of one category."""

import io
from typing import Any, Final

from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from objects import uid

CLASSES: Final = {
    "color-palettes": ("1.2.840.10008.5.1.4.39.1",),
    "defined-procedure-protocols": (
        "1.2.840.10008.5.1.4.1.1.200.1",
        "1.2.840.10008.5.1.4.1.1.200.7",
    ),
    "hanging-protocols": ("1.2.840.10008.5.1.4.38.1",),
    "implant-templates": (
        "1.2.840.10008.5.1.4.43.1",
        "1.2.840.10008.5.1.4.44.1",
        "1.2.840.10008.5.1.4.45.1",
    ),
    "inventories": ("1.2.840.10008.5.1.4.1.1.201.1",),
    "protocol-approvals": ("1.2.840.10008.5.1.4.1.1.200.3",),
}


def a_non_patient_object(category: str, sop_class_uid: str = "", **elements: Any) -> bytes:
    """A PS3.10 file; elements by keyword."""
    made = Dataset()
    made.SOPClassUID = sop_class_uid or CLASSES[category][0]
    made.SOPInstanceUID = uid()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made
