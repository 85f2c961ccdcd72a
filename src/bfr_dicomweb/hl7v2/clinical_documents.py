"""What a person reads in a clinical document (HL7 CDA R2) that somebody sends."""

import re
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from bfr_dicomweb import xml_documents
from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.hl7v2.fields import CODING_SYSTEMS
from bfr_dicomweb.orders.events import Coding, Section

CDA: Final = "application/hl7-v3+xml"
_SPACE: Final = "urn:hl7-org:v3"
_BEGINS: Final = re.compile(rb"<(?:\w+:)?ClinicalDocument\b")
_HEAD_BYTES: Final = 4096
_LOINC_OID: Final = "2.16.840.1.113883.6.1"
_LINES: Final = frozenset({"paragraph", "br", "item", "tr", "caption", "list", "table"})
_DEEPEST: Final = 100


def is_cda(data: bytes) -> bool:
    return _BEGINS.search(data, 0, _HEAD_BYTES) is not None


def narrative(data: bytes) -> tuple[Section, ...]:
    """The sections that have a text; none of what is no well-formed document."""
    try:
        root = xml_documents.parse(data)
    except InvalidRequest:
        return ()
    found = []
    for section in root.iter(f"{{{_SPACE}}}section"):
        text = section.find(f"{{{_SPACE}}}text")
        told = _told(text) if text is not None else ""
        if told:
            found.append(Section(_code(section), told))
    return tuple(found)


def _code(section: Element) -> Coding:
    code = section.find(f"{{{_SPACE}}}code")
    title = section.find(f"{{{_SPACE}}}title")
    display = "".join(title.itertext()).strip() if title is not None else ""
    if code is None:
        return Coding(display=display)
    oid = code.get("codeSystem", "")
    system = CODING_SYSTEMS["LN"] if oid == _LOINC_OID else f"urn:oid:{oid}" if oid else ""
    return Coding(code.get("code", ""), system, display or code.get("displayName", ""))


def _told(text: Element) -> str:
    lines = "".join(_pieces(text, 0)).splitlines()
    return "\n".join(line for line in (" ".join(line.split()) for line in lines) if line)


def _pieces(element: Element, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    yield " ".join((element.text or "").split("\n"))
    for child in element:
        begins_line = child.tag.rpartition("}")[2] in _LINES
        yield "\n" if begins_line else ""
        yield from _pieces(child, depth + 1)
        yield "\n" if begins_line else " " if child.tag.endswith("}td") else ""
        yield " ".join((child.tail or "").split("\n"))
