"""Documents that DICOM carries as they are (PS3.3 sections A.45, A.85, A.104 and A.105)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb import xml_documents
from bfr_dicomweb.dicom.frames import Source
from bfr_dicomweb.errors import InvalidRequest

_CLASSES: Final = "1.2.840.10008.5.1.4.1.1.104."
PDF: Final = _CLASSES + "1"
CDA: Final = _CLASSES + "2"
STL: Final = _CLASSES + "3"
OBJ: Final = _CLASSES + "4"
MTL: Final = _CLASSES + "5"
MODELS: Final = frozenset({STL, OBJ, MTL})
# A clinical document is read for its identifier; longer ones are kept without.
_READ_BYTES: Final = 1 << 24
_HL7: Final = "{urn:hl7-org:v3}"
# Head and length of a triangle of a binary STL file.
_STL_HEAD: Final = 84
_STL_TRIANGLE: Final = 50


@dataclass(frozen=True, slots=True)
class DocumentType:
    """
    Attributes:
        mime_type: As MIME Type of Encapsulated Document (0042,0012) has it.
        media_types: Under which such documents arrive, in lower case.
    """

    sop_class_uid: str
    mime_type: str
    media_types: frozenset[str]


def _type(sop_class_uid: str, mime_type: str, *others: str) -> DocumentType:
    return DocumentType(sop_class_uid, mime_type, frozenset({mime_type.lower(), *others}))


DOCUMENT_TYPES: Final = (
    _type(PDF, "application/pdf", "application/x-pdf"),
    _type(CDA, "text/XML", "application/xml", "application/cda+xml", "application/hl7-cda+xml"),
    _type(
        STL, "model/stl", "application/sla", "model/x.stl-binary", "model/x.stl-ascii", "model/sla"
    ),
    _type(OBJ, "model/obj"),
    _type(MTL, "model/mtl"),
)
BY_MEDIA_TYPE: Final[Mapping[str, DocumentType]] = {
    media_type: one for one in DOCUMENT_TYPES for media_type in one.media_types
}
BY_SOP_CLASS: Final[Mapping[str, DocumentType]] = {one.sop_class_uid: one for one in DOCUMENT_TYPES}


def defect(sop_class_uid: str, source: Source, start: int, stop: int) -> str:
    """What shows that these bytes are no document of that class; "" when nothing does."""
    head = source[start : min(stop, start + 1024)]
    if sop_class_uid == PDF and b"%PDF-" not in head:
        return "the document is no PDF"
    if sop_class_uid == CDA and b"<" not in head:
        return "the document is no XML"
    if sop_class_uid == STL and not head.lstrip().startswith(b"solid"):
        triangles = int.from_bytes(head[80:84], "little")
        if stop - start < _STL_HEAD + _STL_TRIANGLE * triangles or len(head) < _STL_HEAD:
            return "the document is no STL model, or is cut off"
    return ""


def hl7_instance_identifier(source: Source, start: int, stop: int) -> str:
    """HL7 Instance Identifier (0040,E001) of a clinical document; "" when it tells none.

    Raises:
        InvalidRequest: It is no such document.
    """
    if stop - start > _READ_BYTES:
        return ""
    root = xml_documents.parse(source[start:stop])
    if root.tag != _HL7 + "ClinicalDocument":
        raise InvalidRequest("the XML is no HL7 clinical document")
    identifier = root.find(_HL7 + "id")
    if identifier is None:
        return ""
    parts = (identifier.get("root", ""), identifier.get("extension", ""))
    return "^".join(part for part in parts if part)
