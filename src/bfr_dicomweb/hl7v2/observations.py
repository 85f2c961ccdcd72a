"""What the OBX segments of a report hold: its sections, documents, and their statuses."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import fields
from bfr_dicomweb.hl7v2.clinical_documents import CDA, is_cda, narrative
from bfr_dicomweb.hl7v2.fields import LOCAL_CODES
from bfr_dicomweb.hl7v2.message import Segment
from bfr_dicomweb.hl7v2.occasion import Occasion
from bfr_dicomweb.hl7v2.status_mapping import SECTIONS
from bfr_dicomweb.orders.events import Attachment, Coding, Party, ReportStatus, Section

# Study Instance UID (DCM): which study is reported on, and no part of the report.
STUDY_CODES: Final = frozenset({"110180", "113014"})
# All versions of a report in one text, as this archive sends it; it is the versions that count.
CUMULATIVE: Final = Coding("CUMULATIVE", LOCAL_CODES + "99BFR", "Alla svar, det senaste först")
# Kinds of data of an ED, table 0291, as media types.
_MEDIA_TYPES: Final = {
    "PDF": "application/pdf",
    "JPEG": "image/jpeg",
    "JPG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "HTML": "text/html",
    "HTM": "text/html",
    "XML": "text/xml",
    "RTF": "application/rtf",
    "PLAIN": "text/plain",
    "TXT": "text/plain",
    "DICOM": "application/dicom",
    "MSWORD": "application/msword",
    "X-HL7-CDA-LEVEL-ONE": CDA,
}
_MEDIA_TYPE: Final = re.compile(
    r"(?:application|audio|image|text|video)/[a-z0-9][a-z0-9.+-]*", re.ASCII
)
_UNTYPED: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Observations:
    """Attributes:
    statuses: Of OBX-11 of all that is part of the report.
    changed: The latest of OBX-14, "" when there is none.
    """

    sections: tuple[Section, ...] = ()
    documents: tuple[tuple[Attachment, bytes], ...] = ()
    statuses: frozenset[ReportStatus] = frozenset()
    changed: str = ""
    observer: Party | None = None

    @property
    def is_empty(self) -> bool:
        return not self.sections and not self.documents


def read(segments: Iterable[Segment], occasion: Occasion) -> Observations:
    """
    Raises:
        InvalidMessage: a document cannot be decoded.
    """
    sections: list[tuple[str, Section]] = []
    documents: list[tuple[Attachment, bytes]] = []
    statuses: list[ReportStatus] = []
    changed: list[str] = []
    observer: Party | None = None
    for obx in segments:
        if _is_no_content(obx):
            continue
        status = SECTIONS.get(fields.text(obx, 11).upper())
        if status is not None:
            statuses.append(status)
        changed.append(occasion.time_or_none(obx, 14))
        observer = observer or fields.person(obx, 16)
        found, document = _value(obx, occasion, status or ReportStatus.FINAL)
        sections += ((fields.text(obx, 4), section) for section in found)
        documents += [document] if document is not None else []
    return Observations(
        _joined(sections), tuple(documents), frozenset(statuses), max(changed, default=""), observer
    )


def _is_no_content(obx: Segment) -> bool:
    """A UID of the study, a series or a document in the archive, or what is told elsewhere."""
    code = fields.text(obx, 3)
    if code in STUDY_CODES or (code == CUMULATIVE.code and fields.text(obx, 3, 3) == "99BFR"):
        return True
    return "UID" in fields.text(obx, 3, 2) and bool(fields.uid(fields.text(obx, 5)))


def _value(
    obx: Segment, occasion: Occasion, status: ReportStatus
) -> tuple[list[Section], tuple[Attachment, bytes] | None]:
    code = _code(obx, occasion)
    if fields.text(obx, 2).upper() != "ED":
        text = _text(obx)
        return ([Section(code, text, status)] if text else []), None
    data, kind = _document(obx, occasion)
    if not data:
        return [], None
    if kind == "text/plain":
        text = data.decode("utf-8", "replace").strip()
        return ([Section(code, text, status)] if text else []), None
    attachment = Attachment(hashlib.sha256(data).hexdigest(), kind, code.display, len(data))
    told = narrative(data) if kind == CDA else ()
    return [replace(section, status=status) for section in told], (attachment, data)


def _code(obx: Segment, occasion: Occasion) -> Coding:
    code = fields.coding(obx, 3) or Coding()
    if not code.code:
        # some systems write the code of a section as a suffix: &GDT
        code = replace(code, code=fields.part(obx, 3, 1, 2))
    heading = occasion.sender.headings.get(code.code)
    return code if heading is None else replace(code, display=heading)


def _text(obx: Segment) -> str:
    kind = fields.text(obx, 2).upper()
    if kind in ("CE", "CWE", "CNE", "CF"):
        return fields.meaning(obx, 5)
    if kind in ("NM", "SN"):
        parts = range(1, 5) if kind == "SN" else (1,)
        value = "".join(fields.text(obx, 5, part) for part in parts)
        unit = fields.text(obx, 6) or fields.text(obx, 6, 2)
        return f"{value} {unit}".strip() if value else ""
    if kind == "RP":
        return fields.text(obx, 5)
    # TX, FT and ST have no components: a delimiter that was not escaped is part of the text
    return "\n".join(repetition.whole for repetition in obx.repetitions(5)).strip()


def _document(obx: Segment, occasion: Occasion) -> tuple[bytes, str]:
    """Bytes and media type of an ED: source, type, subtype, encoding, data."""
    encoding = occasion.message.encoding
    # XML has signs in it that delimit components, and that nobody escapes
    parts = obx.raw(5).split(encoding.component, 4) if encoding.component else [obx.raw(5)]
    parts += [""] * (5 - len(parts))
    text = encoding.unescaped(parts[4]).strip()
    data = _decoded(obx, parts[3].strip().upper(), text)
    return data, _media_type(data, parts[1].strip().lower(), parts[2].strip())


def _decoded(obx: Segment, encoding: str, text: str) -> bytes:
    try:
        if encoding == "BASE64":
            return base64.b64decode("".join(text.split()), validate=True)
        if encoding == "HEX":
            return bytes.fromhex(text)
    except (binascii.Error, ValueError):
        raise InvalidMessage(
            f"OBX-5 is not encoded in {encoding.lower()}, as it says",
            code=102,
            segment="OBX",
            sequence=obx.sequence,
            field=5,
            component=5,
        ) from None
    return text.encode("utf-8")


def _media_type(data: bytes, kind: str, subtype: str) -> str:
    if data.startswith(b"%PDF-"):
        return "application/pdf"
    if is_cda(data):
        return CDA
    if known := _MEDIA_TYPES.get(subtype.upper()):
        return known
    for said in (subtype.lower(), kind, f"{kind}/{subtype.lower()}"):
        if _MEDIA_TYPE.fullmatch(said):
            return said
    return "text/plain" if kind == "text" and not subtype else _UNTYPED


def _joined(sections: Sequence[tuple[str, Section]]) -> tuple[Section, ...]:
    """The lines of a text that is sent line by line are one section."""
    found: list[Section] = []
    last = None
    for part, section in sections:
        this = (part, section.code, section.status)
        if this == last:
            found[-1] = replace(found[-1], text=f"{found[-1].text}\n{section.text}")
        else:
            found.append(section)
        last = this
    return tuple(found)
