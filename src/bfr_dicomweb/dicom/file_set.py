"""A File-set of one study and its DICOMDIR (PS3.3 Annex F, PS3.10 section 8).

The directory is written from DICOM JSON: a record is a few hundred bytes, whatever the size of
the instance, so that the directory of a large study is made in memory.
"""

import hashlib
import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from bfr_dicomweb.dicom import data_sets
from bfr_dicomweb.dicom.attributes import Attributes, first_text, has_value, tag_of, vr_of
from bfr_dicomweb.dicom.part10 import write_file_meta
from bfr_dicomweb.dicom.report_writing import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from bfr_dicomweb.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN

DICOMDIR: Final = "DICOMDIR"
FOLDER: Final = "DICOM"

_MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_IN_USE: Final = 0xFFFF
_CONTENT_SEQUENCE: Final = "0040A730"
_RELATIONSHIP_TYPE: Final = "0040A010"
_MODALITY: Final = "00080060"


def file_id(series: int, instance: int) -> tuple[str, ...]:
    """Referenced File ID of an instance: components of at most 8 characters (PS3.10 section 8.2).

    Args:
        series: From 1, within the File-set.
        instance: From 1, within the series.
    """
    return (FOLDER, f"SE{series:06d}", f"IM{instance:06d}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the File-set.

    Attributes:
        attributes: DICOM JSON of the instance, or of it what `needed` names.
    """

    file_id: tuple[str, ...]
    transfer_syntax_uid: str
    attributes: Attributes


def _tags(keywords: str) -> tuple[str, ...]:
    return tuple(tag for keyword in keywords.split() if (tag := tag_of(keyword)))


# Keys of the directory records, PS3.3 section F.5, and what stands where a value is required
# but the instance has none.
_PATIENT: Final = _tags("PatientName PatientID")
_STUDY: Final = _tags(
    "StudyDate StudyTime AccessionNumber StudyDescription StudyInstanceUID StudyID"
)
_SERIES: Final = _tags("Modality SeriesDescription SeriesInstanceUID SeriesNumber")
_IDENTIFIED: Final = _tags(
    "ContentDate ContentTime InstanceNumber ContentLabel ContentDescription ContentCreatorName"
)
_GENERIC: Final = _tags("ContentDate ContentTime InstanceNumber")
_LEAVES: Final[Mapping[str, tuple[str, ...]]] = {
    "IMAGE": _tags("InstanceNumber"),
    "RT DOSE": _tags("InstanceNumber DoseSummationType"),
    "RT STRUCTURE SET": _tags("InstanceNumber StructureSetLabel StructureSetDate StructureSetTime"),
    "RT PLAN": _tags("InstanceNumber RTPlanLabel RTPlanDate RTPlanTime"),
    "RT TREAT RECORD": _tags("InstanceNumber TreatmentDate TreatmentTime"),
    "PRESENTATION": _tags(
        "ReferencedSeriesSequence InstanceNumber ContentLabel ContentDescription"
        " PresentationCreationDate PresentationCreationTime ContentCreatorName BlendingSequence"
    ),
    "WAVEFORM": _GENERIC,
    "SR DOCUMENT": _tags(
        "ContentDate ContentTime InstanceNumber VerificationDateTime ConceptNameCodeSequence"
        " CompletionFlag VerificationFlag ContentSequence"
    ),
    "KEY OBJECT DOC": _tags(
        "ContentDate ContentTime InstanceNumber ConceptNameCodeSequence ContentSequence"
    ),
    "SPECTROSCOPY": _tags(
        "ImageType ContentDate ContentTime InstanceNumber ReferencedImageEvidenceSequence"
        " NumberOfFrames Rows Columns DataPointRows DataPointColumns"
    ),
    "RAW DATA": _GENERIC,
    "REGISTRATION": _IDENTIFIED,
    "FIDUCIAL": _IDENTIFIED,
    "VALUE MAP": _IDENTIFIED,
    "ENCAP DOC": _tags(
        "ContentDate ContentTime InstanceNumber DocumentTitle HL7InstanceIdentifier"
        " ConceptNameCodeSequence MIMETypeOfEncapsulatedDocument"
    ),
    "STEREOMETRIC": (),
    "MEASUREMENT": _IDENTIFIED,
    "SURFACE": _IDENTIFIED,
    "SURFACE SCAN": _tags("ContentDate ContentTime"),
    "TRACT": _IDENTIFIED,
    "ASSESSMENT": _tags("InstanceCreationDate InstanceCreationTime InstanceNumber"),
    "RADIOTHERAPY": _tags(
        "InstanceNumber UserContentLabel UserContentLongLabel ContentDescription ContentCreatorName"
    ),
    "PLAN": (),
}
_REQUIRED: Final[Mapping[str, Any]] = {
    tag: value
    for keyword, value in {
        "PatientID": "UNKNOWN",
        "StudyDate": "19000101",
        "StudyTime": "000000",
        "StudyID": "UNKNOWN",
        "Modality": "OT",
        "SeriesNumber": 0,
        "InstanceNumber": 0,
        "ContentDate": "19000101",
        "ContentTime": "000000",
        "PresentationCreationDate": "19000101",
        "PresentationCreationTime": "000000",
        "InstanceCreationDate": "19000101",
        "ContentLabel": "UNKNOWN",
        "StructureSetLabel": "UNKNOWN",
        "RTPlanLabel": "UNKNOWN",
        "DoseSummationType": "PLAN",
        "CompletionFlag": "PARTIAL",
        "VerificationFlag": "UNVERIFIED",
        "MIMETypeOfEncapsulatedDocument": "application/octet-stream",
    }.items()
    if (tag := tag_of(keyword))
}
# Of those above that may be empty, or missing, where the record does not require them (types 2, 3)
_OPTIONAL: Final = frozenset(
    _tags(
        "SeriesDescription VerificationDateTime ContentSequence ReferencedSeriesSequence"
        " BlendingSequence ReferencedImageEvidenceSequence HL7InstanceIdentifier"
        " UserContentLabel UserContentLongLabel"
    )
)

# By what follows the root of storage SOP classes; the others are images.
_BY_CLASS: Final = {
    "4.2": "SPECTROSCOPY",
    "66": "RAW DATA",
    "66.1": "REGISTRATION",
    "66.2": "FIDUCIAL",
    "66.3": "REGISTRATION",
    "66.5": "SURFACE",
    "66.6": "TRACT",
    "67": "VALUE MAP",
    "68.1": "SURFACE SCAN",
    "68.2": "SURFACE SCAN",
    "77.1.5.3": "STEREOMETRIC",
    "78.6": "SR DOCUMENT",
    "79.1": "SR DOCUMENT",
    "80.1": "MEASUREMENT",
    "88.59": "KEY OBJECT DOC",
    "90.1": "ASSESSMENT",
    "131": "PRESENTATION",
    "481.2": "RT DOSE",
    "481.3": "RT STRUCTURE SET",
    "481.4": "RT TREAT RECORD",
    "481.5": "RT PLAN",
    "481.6": "RT TREAT RECORD",
    "481.7": "RT TREAT RECORD",
    "481.8": "RT PLAN",
    "481.9": "RT TREAT RECORD",
}
_BY_FAMILY: Final = (
    ("9.", "WAVEFORM"),
    ("11.", "PRESENTATION"),
    ("78.", "MEASUREMENT"),
    ("88.", "SR DOCUMENT"),
    ("104.", "ENCAP DOC"),
)
_BY_MODALITY: Final = {
    "PLAN": "PLAN",
    "RTINTENT": "RADIOTHERAPY",
    "RTRAD": "RADIOTHERAPY",
    "RTSEGANN": "RADIOTHERAPY",
}

NEEDED: Final = frozenset(
    {*_PATIENT, *_STUDY, *_SERIES, "00080016", "00080018"}.union(*_LEAVES.values())
)
"""Tags of all attributes that a directory may take from an instance."""


def record_type(attributes: Attributes) -> str:
    """Directory Record Type of an instance (PS3.3 Table F.4-1)."""
    by_modality = _BY_MODALITY.get(first_text(attributes, _MODALITY))
    if by_modality is not None:
        return by_modality
    sop_class = first_text(attributes, "00080016").removeprefix(_STORAGE)
    if sop_class in _BY_CLASS:
        return _BY_CLASS[sop_class]
    found = (kind for family, kind in _BY_FAMILY if sop_class.startswith(family))
    return next(found, "IMAGE")


@dataclass(slots=True)
class _Record:
    """A directory record, and the entity of records below it."""

    kind: str
    keys: dict[str, Any] = field(default_factory=dict)
    below: list["_Record"] = field(default_factory=list)
    encoded: bytes = b""
    offset: int = 0

    def all(self) -> Iterator["_Record"]:
        yield self
        for record in self.below:
            yield from record.all()


def directory(entries: Iterable[Entry]) -> bytes:
    """The DICOMDIR of files that are of one study, in the order of their series."""
    patient = _patient(entries)
    records = list(patient.all())
    file_meta = _file_meta(records)
    position = root = len(file_meta) + _HEAD.size
    for record in records:
        record.encoded = data_sets.encode(record.keys, EXPLICIT_VR_LITTLE_ENDIAN)
        record.offset = position
        position += _ITEM.size + _LINKS.size + len(record.encoded)
    following = {
        id(one): other.offset for record in records for one, other in pairwise(record.below)
    }
    content = b"".join(_item(record, following.get(id(record), 0)) for record in records)
    return _head(file_meta, root, len(content)) + content


def _patient(entries: Iterable[Entry]) -> _Record:
    study, patient = _Record("STUDY"), _Record("PATIENT")
    patient.below.append(study)
    for entry in entries:
        if not study.below:
            study.keys = _keys(_STUDY, entry.attributes)
            patient.keys = _keys(_PATIENT, entry.attributes)
        uid = first_text(entry.attributes, "0020000E")
        if not study.below or first_text(study.below[-1].keys, "0020000E") != uid:
            study.below.append(_Record("SERIES", _keys(_SERIES, entry.attributes)))
        study.below[-1].below.append(_leaf(entry))
    return patient


def _leaf(entry: Entry) -> _Record:
    kind = record_type(entry.attributes)
    reference = {
        "00041500": {"vr": "CS", "Value": list(entry.file_id)},
        "00041510": _uid(first_text(entry.attributes, "00080016")),
        "00041511": _uid(first_text(entry.attributes, "00080018")),
        "00041512": _uid(entry.transfer_syntax_uid),
    }
    return _Record(kind, reference | _keys(_LEAVES[kind], entry.attributes))


def _uid(value: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [value]}


def _keys(tags: Iterable[str], attributes: Attributes) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for tag in sorted(tags):
        element = attributes.get(tag)
        if element is not None and has_value(element):
            keys[tag] = _context_alone(element) if tag == _CONTENT_SEQUENCE else element
        elif tag in _REQUIRED:
            keys[tag] = {"vr": vr_of(tag), "Value": [_REQUIRED[tag]]}
        elif tag not in _OPTIONAL:
            keys[tag] = {"vr": vr_of(tag)}
    return {tag: element for tag, element in keys.items() if element}


def _context_alone(element: Mapping[str, Any]) -> dict[str, Any]:
    """What modifies the title of a document, which is all of its content that a record has."""
    items = [
        item
        for item in element["Value"]
        if first_text(item, _RELATIONSHIP_TYPE) == "HAS CONCEPT MOD"
    ]
    return {"vr": "SQ", "Value": items} if items else {}


# (0004,1400) offset of the next record, (0004,1410) in use, (0004,1420) offset of the lower level
_LINKS: Final = struct.Struct("<HH2sHI HH2sHH HH2sHI HH2sH16s".replace(" ", ""))
_ITEM: Final = struct.Struct("<HHI")


def _item(record: _Record, following: int) -> bytes:
    lower = record.below[0].offset if record.below else 0
    links = _LINKS.pack(
        *(4, 0x1400, b"UL", 4, following),
        *(4, 0x1410, b"US", 2, _IN_USE),
        *(4, 0x1420, b"UL", 4, lower),
        *(4, 0x1430, b"CS", 16, record.kind.ljust(16).encode()),
    )
    length = len(links) + len(record.encoded)
    return _ITEM.pack(0xFFFE, 0xE000, length) + links + record.encoded


# File-set ID, offsets of the first and the last record of the root, consistency flag, records
_HEAD: Final = struct.Struct("<HH2sH HH2sHI HH2sHI HH2sHH HH2sHI".replace(" ", ""))


def _head(file_meta: bytes, root: int, length: int) -> bytes:
    return file_meta + _HEAD.pack(
        *(4, 0x1130, b"CS", 0),
        *(4, 0x1200, b"UL", 4, root),
        # there is one patient: the first record of the root entity is the last, too
        *(4, 0x1202, b"UL", 4, root),
        *(4, 0x1212, b"US", 2, 0),
        *(4, 0x1220, b"SQ", 0, length),
    )


def _file_meta(records: Iterable[_Record]) -> bytes:
    digest = hashlib.sha256()
    for record in records:
        digest.update(first_text(record.keys, "00041511").encode())
    return write_file_meta(
        {
            "00020001": b"\0\1",
            "00020002": _MEDIA_STORAGE_DIRECTORY,
            "00020003": f"2.25.{uuid.UUID(bytes=digest.digest()[:16], version=4).int}",
            "00020010": EXPLICIT_VR_LITTLE_ENDIAN,
            "00020012": IMPLEMENTATION_CLASS_UID,
            "00020013": IMPLEMENTATION_VERSION,
        }
    )
