"""Documents and waveforms in the media types of the category Text, and curves as pictures.

Of PS3.18 Table 8.7.4-1: text/html, text/plain, text/xml and application/pdf. The XML of a
structured report is its Native DICOM Model (PS3.19 section A.1), that of a clinical document the
document itself. Models for manufacturing have no other form than theirs.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from bfr_dicomweb.dicom import encapsulated_documents
from bfr_dicomweb.dicom.encapsulated_documents import BY_SOP_CLASS, CDA, MODELS
from bfr_dicomweb.dicom.native_model import native_dicom_model
from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import InvalidObject, NotAcceptable
from bfr_dicomweb.rendering import (
    clinical_document,
    report_content,
    report_encoding,
    waveform_rendering,
)
from bfr_dicomweb.rendering.elements import element, integer, items, text
from bfr_dicomweb.rendering.pdf import pdf
from bfr_dicomweb.rendering.report_document import Document
from bfr_dicomweb.rendering.report_html import html
from bfr_dicomweb.rendering.report_text import plain_text

HTML: Final = "text/html"
PLAIN: Final = "text/plain"
XML: Final = "text/xml"
PDF: Final = "application/pdf"
TEXTS: Final = (HTML, PLAIN, XML, PDF)

_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
# Shown as the images that it names.
_KEY_OBJECT_SELECTION: Final = _REPORTS + "59"
_DECLARATION: Final = re.compile(rb'^<\?xml version="1.0" encoding="UTF-8"\?>')


def media_types_of(attributes: Mapping[str, Any], sop_class_uid: str) -> tuple[str, ...]:
    """What a document or waveform can be rendered as, the default first; () for anything else."""
    if sop_class_uid == encapsulated_documents.PDF:
        return (PDF,)
    if sop_class_uid == CDA:
        return TEXTS
    if sop_class_uid in MODELS:
        return (BY_SOP_CLASS[sop_class_uid].mime_type.lower(),)
    if sop_class_uid == _KEY_OBJECT_SELECTION:
        return ()
    if sop_class_uid.startswith(_REPORTS) or _has_tree(attributes):
        return TEXTS
    if items(attributes, "WaveformSequence"):
        return waveform_rendering.MEDIA_TYPES
    return ()


def _has_tree(attributes: Mapping[str, Any]) -> bool:
    return text(attributes, "ValueType") == "CONTAINER" and bool(
        items(attributes, "ContentSequence")
    )


def render_document(
    stored: StoredObject, media_type: str, *, charset: str = "utf-8", instance_url: str = ""
) -> bytes:
    """A structured report, an encapsulated document or a waveform.

    Args:
        stored: What is rendered.
        media_type: One of `media_types_of`, without parameters. Key object selections, for which
            that is (), are rendered as structured reports are.
        charset: IANA's name of the character set of the text types. Encapsulated clinical
            documents are sent in text/xml as they are stored, in the set that they declare.
        instance_url: Of the instance, for the bulk data that text/xml points at.

    Raises:
        NotAcceptable: It has no such form, the character set cannot hold its text, or it is
            larger or deeper than what is rendered.
    """
    kind = stored.sop_class_uid
    if kind in BY_SOP_CLASS:
        return _encapsulated(stored, kind, media_type, charset)
    if kind.startswith(_REPORTS) or _has_tree(stored.attributes):
        if media_type == XML:
            return _native_model(stored, charset, instance_url)
        return _written(report_content.document_of(stored), media_type, charset)
    if items(stored.attributes, "WaveformSequence"):
        return waveform_rendering.render_waveform(stored, media_type, with_identity=True)
    raise NotAcceptable("the instance is no document and no waveform")


def encapsulated_document(stored: StoredObject) -> bytes:
    """The document as it was before it was encapsulated, without padding (PS3.3 section C.24.2)."""
    content = stored.content(element(stored.attributes, "EncapsulatedDocument"))
    if integer(stored.attributes, "EncapsulatedDocumentLength") is None and len(content) % 2 == 0:
        return content.removesuffix(b"\0")
    return content


def _encapsulated(stored: StoredObject, kind: str, media_type: str, charset: str) -> bytes:
    content = encapsulated_document(stored)
    if not content:
        raise NotAcceptable("the instance has no document in it")
    if kind != CDA:
        own = BY_SOP_CLASS[kind].mime_type.lower()
        if media_type != own:
            raise NotAcceptable(f"the document is shown as {own} only")
        return content
    if media_type == XML:
        return content
    return _written(clinical_document.document_of(content), media_type, charset)


def _native_model(stored: StoredObject, charset: str, instance_url: str) -> bytes:
    try:
        document = native_dicom_model(stored.attributes, instance_url=instance_url)
    except InvalidObject as error:
        raise NotAcceptable(str(error)) from None
    known = report_encoding.known_charset(charset)
    if known == "utf-8":
        return document
    declared = f'<?xml version="1.0" encoding="{known}"?>'.encode()
    return report_encoding.encode(_DECLARATION.sub(declared, document).decode(), charset)


def _written(document: Document, media_type: str, charset: str) -> bytes:
    if media_type == HTML:
        known = report_encoding.known_charset(charset)
        return report_encoding.encode(html(document, known), charset)
    if media_type == PLAIN:
        return report_encoding.encode(plain_text(document), charset)
    if media_type == PDF:
        return pdf(document)
    raise NotAcceptable(f"the document is not shown as {media_type}")
