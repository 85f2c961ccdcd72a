"""A PS3.10 object out of its metadata and its bulk data (PS3.18 section 10.5.1.4).

Bulk data is never read but for its headers: what is made is a list of pieces, of which those of
bulk data say where they lie. What DICOM has no transfer syntax for (GIF, PNG) is decoded before,
by `pixel_parts`, into frames that the caller puts where the other bulk data is.
"""

import struct
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.dicom import (
    coercion,
    encapsulated_documents,
    module_attributes,
)
from bfr_dicomweb.dicom.attributes import first_text, has_value
from bfr_dicomweb.dicom.data_sets import BulkContent, Piece, Span, encode_with_bulk
from bfr_dicomweb.dicom.frames import PIXEL_DATA, Source
from bfr_dicomweb.dicom.json_model import named
from bfr_dicomweb.dicom.json_values import NUMBERS
from bfr_dicomweb.dicom.media_types import OCTET_STREAM
from bfr_dicomweb.dicom.module_attributes import element
from bfr_dicomweb.dicom.part10 import (
    BINARY,
    CREATOR,
    DOCUMENT,
    DOCUMENT_LENGTH,
    INFORMATION,
    OFFSET_TABLES,
    PADDED,
    write_file_meta,
)
from bfr_dicomweb.dicom.pixel_parts import NATIVE, BulkPart, PixelValue, require_size
from bfr_dicomweb.dicom.report_writing import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION,
    MANUFACTURER,
)
from bfr_dicomweb.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from bfr_dicomweb.errors import InvalidObject, UnsupportedMediaType

STUDY: Final = "0020000D"
SERIES: Final = "0020000E"
SOP_INSTANCE: Final = "00080018"
SOP_CLASS: Final = "00080016"
ORIGINAL_ATTRIBUTES: Final = "04000561"
MIME_TYPE: Final = "00420012"
# What is true of one stored form only: its transfer syntaxes, and where its frames lie.
_OF_STORED_FORM: Final = frozenset({"00083002", *OFFSET_TABLES})

_CHARACTER_SET: Final = "00080005"
# Takes the place of the pixel data's own reference, which parts may share with other values.
_PIXELS: Final = "\0pixels"


@dataclass(frozen=True, slots=True)
class MadeInstance:
    """
    Attributes:
        pieces: The PS3.10 file.
        original_attributes: The item of Original Attributes Sequence that says what was supplied;
            None when nothing was.
    """

    pieces: Sequence[Piece]
    original_attributes: Mapping[str, Any] | None


class Identities:
    """UIDs for instances of one request that have none: they belong together.

    Args:
        study_instance_uid: Of the target resource.
        of_patient: They are of a study and a series.
    """

    def __init__(self, study_instance_uid: str | None, *, of_patient: bool = True) -> None:
        self._study = study_instance_uid
        self._of_patient = of_patient
        self._series: dict[tuple[str, str], str] = {}

    def supplied(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Those that are missing, by tag."""
        found: dict[str, Any] = {}
        if not first_text(attributes, SOP_INSTANCE):
            found[SOP_INSTANCE] = {"vr": "UI", "Value": [module_attributes.new_uid()]}
        if not self._of_patient:
            return found
        study = first_text(attributes, STUDY)
        if not study:
            study = self._study = self._study or module_attributes.new_uid()
            found[STUDY] = {"vr": "UI", "Value": [study]}
        if not first_text(attributes, SERIES):
            kind = (study, first_text(attributes, SOP_CLASS))
            uid = self._series.setdefault(kind, module_attributes.new_uid())
            found[SERIES] = {"vr": "UI", "Value": [uid]}
        return found


def storable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a server makes itself: File Meta Information, group lengths, offset tables."""
    return {
        tag: one
        for tag, one in attributes.items()
        if tag[:4] not in ("0000", "0002", "FFFE")
        and not tag.endswith("0000")
        and tag not in _OF_STORED_FORM
    }


def references(attributes: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Path, VR and URI of each reference to bulk data, those in sequences too."""
    for tag, one in attributes.items():
        if "BulkDataURI" in one:
            yield (tag,), one["vr"], one["BulkDataURI"]
        elif one["vr"] == "SQ":
            for item in one.get("Value", ()):
                for path, vr, uri in references(item or {}):
                    yield (tag, *path), vr, uri


# --- bulk data other than pixels -----------------------------------------------------------------


def _value(vr: str, parts: Sequence[BulkPart], source: Source) -> tuple[BulkContent, bool]:
    """One value other than pixel data or a document, and whether it is text beyond ASCII."""
    (part,) = parts
    if part.media_type != OCTET_STREAM or part.transfer_syntax_uid not in NATIVE:
        raise UnsupportedMediaType(f"bulk data other than pixels has to be {OCTET_STREAM}")
    unit = struct.calcsize(NUMBERS[vr]) if vr in NUMBERS else BINARY.get(vr, 1)
    if part.size_bytes % unit:
        raise InvalidObject(f"bulk data of VR {vr} has {part.size_bytes} bytes")
    is_beyond_ascii = False
    if vr not in BINARY and vr not in NUMBERS:
        text = source[part.start : part.stop]
        is_beyond_ascii = not text.isascii()
        try:
            text.decode()
        except UnicodeDecodeError:
            raise InvalidObject(f"bulk data of VR {vr} has to be in UTF-8") from None
    return BulkContent((Span(part.start, part.stop),)), is_beyond_ascii


def _document(
    attributes: Mapping[str, Any], parts: Sequence[BulkPart], source: Source
) -> tuple[BulkContent, dict[str, Any], str]:
    """An Encapsulated Document: its value, what it tells, and the class for it alone."""
    (part,) = parts
    told, sop_class = first_text(attributes, MIME_TYPE), first_text(attributes, SOP_CLASS)
    said = told if part.media_type == OCTET_STREAM else part.media_type
    kind = encapsulated_documents.BY_MEDIA_TYPE.get(
        said.lower(), encapsulated_documents.BY_SOP_CLASS.get(sop_class)
    )
    among = kind.media_types if kind else {said.lower()}
    if {told.lower(), said.lower()} - {""} - among:
        raise InvalidObject(f"a {part.media_type[:40]} document is not what was described")
    wanted = encapsulated_documents.BY_SOP_CLASS.get(sop_class)
    if kind is not None and wanted is not None and kind is not wanted:
        raise InvalidObject(f"the SOP class has documents of type {wanted.mime_type}")
    derived = dict([element("EncapsulatedDocumentLength", part.size_bytes)])
    if kind is not None:
        derived |= _told_of_document(kind, source, part)
    elif said:
        derived |= dict([element("MIMETypeOfEncapsulatedDocument", said)])
    content = BulkContent((Span(part.start, part.stop),))
    return content, derived, kind.sop_class_uid if kind else ""


def _told_of_document(
    kind: encapsulated_documents.DocumentType, source: Source, part: BulkPart
) -> dict[str, Any]:
    defect = encapsulated_documents.defect(kind.sop_class_uid, source, part.start, part.stop)
    if defect:
        raise InvalidObject(defect)
    derived = dict([element("MIMETypeOfEncapsulatedDocument", kind.mime_type)])
    if kind.sop_class_uid == encapsulated_documents.CDA:
        identifier = encapsulated_documents.hl7_instance_identifier(source, part.start, part.stop)
        if identifier:
            derived |= dict([element("HL7InstanceIdentifier", identifier)])
    return derived


# --- the object ------------------------------------------------------------------------------


def make(
    attributes: Mapping[str, Any],
    bulk: Mapping[str, Sequence[BulkPart]],
    source: Source,
    *,
    identities: Identities,
    pixels: PixelValue | None,
) -> MadeInstance:
    """
    Args:
        attributes: As `storable` gives them.
        bulk: By BulkDataURI: the parts of each reference in the attributes.
        source: What holds the parts.
        pixels: Of what `pixel_tag` names.

    Raises:
        ArchiveError: An object cannot be made of it; says why.
    """
    made = dict(attributes)
    contents: dict[str, BulkContent] = {}
    derived, sop_class = _with_bulk(made, bulk, source, contents, pixels)
    for tag, one in derived.items():
        if not has_value(made.get(tag)) or (pixels is not None and pixels.is_decoded):
            made[tag] = one
    if DOCUMENT_LENGTH in derived:
        made[DOCUMENT_LENGTH] = derived[DOCUMENT_LENGTH]
    original = _complete(made, sop_class, identities)
    syntax = pixels.transfer_syntax_uid if pixels else EXPLICIT_VR_LITTLE_ENDIAN
    head = write_file_meta(_file_meta(made, syntax, pixels.padded if pixels else b""))
    ascending = {tag: made[tag] for tag in sorted(made)}
    return MadeInstance([head, *encode_with_bulk(ascending, contents)], original)


def _with_bulk(
    made: dict[str, Any],
    bulk: Mapping[str, Sequence[BulkPart]],
    source: Source,
    contents: dict[str, BulkContent],
    pixels: PixelValue | None,
) -> tuple[Mapping[str, Any], str]:
    """Fill in `contents`; what the bulk data tells, and the class for it alone."""
    derived: dict[str, Any] = {}
    sop_class = ""
    if pixels is not None:
        made[pixels.tag] = {"vr": pixels.vr, "BulkDataURI": _PIXELS}
        contents[_PIXELS] = pixels.content
        derived |= pixels.derived
        sop_class = pixels.sop_class_uid
    for path, vr, uri in list(references(made)):
        if uri == _PIXELS:
            continue
        if len(bulk[uri]) != 1:
            raise InvalidObject(f"{named(path[-1:])} has {len(bulk[uri])} parts, not one")
        if path == (DOCUMENT,):
            contents[uri], told, sop_class = _document(made, bulk[uri], source)
            derived |= told
            continue
        contents[uri], is_beyond_ascii = _value(vr, bulk[uri], source)
        if is_beyond_ascii:
            made[_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    if (inline := made.get(DOCUMENT, {}).get("InlineBinary")) is not None:
        derived |= dict([element("EncapsulatedDocumentLength", len(b64decode(inline)))])
    if (inline := made.get(PIXEL_DATA[0], {}).get("InlineBinary")) is not None:
        require_size(made, len(b64decode(inline)))
    return derived, sop_class


def _complete(
    made: dict[str, Any], sop_class_uid: str, identities: Identities
) -> dict[str, Any] | None:
    """Supply what is missing; the item that says of which attributes that was done."""
    values: dict[str, Any] = {}
    if not first_text(made, SOP_CLASS) and sop_class_uid:
        values[SOP_CLASS] = made[SOP_CLASS] = {"vr": "UI", "Value": [sop_class_uid]}
    values |= identities.supplied(made)
    lacking = module_attributes.supplied(made, first_text(made, SOP_CLASS))
    values |= lacking.values
    made |= lacking.empty | values
    if not values:
        return None
    before = {tag: {"vr": values[tag]["vr"]} for tag in sorted(values)}
    item = coercion.original_attributes(before, by=MANUFACTURER)
    earlier = made.get(ORIGINAL_ATTRIBUTES, {}).get("Value") or []
    made[ORIGINAL_ATTRIBUTES] = {"vr": "SQ", "Value": [*earlier, item]}
    return item


def _file_meta(made: Mapping[str, Any], syntax: str, padded: bytes) -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {
        "00020001": b"\0\1",
        "00020002": first_text(made, SOP_CLASS),
        "00020003": first_text(made, SOP_INSTANCE),
        "00020010": syntax,
        "00020012": IMPLEMENTATION_CLASS_UID,
        "00020013": IMPLEMENTATION_VERSION,
    }
    if padded:
        found |= {CREATOR: PADDED, INFORMATION: padded}
    return found
