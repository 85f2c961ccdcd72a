"""The Native DICOM Model in XML (PS3.19 section A.1) to DICOM JSON."""

import re
from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import Element

from bfr_dicomweb import xml_documents
from bfr_dicomweb.dicom.attributes import tag_of
from bfr_dicomweb.dicom.native_model import NAMESPACE
from bfr_dicomweb.errors import InvalidRequest, TooLarge

MAX_DEPTH: Final = 20

_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_INTEGERS: Final = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_DECIMALS: Final = frozenset({"DS", "FD", "FL"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_FIRST_BLOCK: Final = 0x10
_LAST_BLOCK: Final = 0xFF


def read_native_model(data: bytes) -> dict[str, Any]:
    """The data set of a document, not yet checked against anything but the form of the XML.

    Raises:
        InvalidRequest: It is no such document; says what is wrong.
        TooLarge: Sequences are nested too deep.
    """
    root = xml_documents.parse(data)
    if _name(root) != "NativeDicomModel":
        raise InvalidRequest("the XML is no NativeDicomModel")
    return _data_set(root, 0)


def _name(element: Element) -> str:
    """Without the namespace, which some leave out and others get wrong."""
    return str(element.tag).removeprefix(f"{{{NAMESPACE}}}").rpartition("}")[2]


def _data_set(parent: Element, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise TooLarge(f"sequences are nested more than {MAX_DEPTH} deep")
    found: dict[str, Any] = {}
    blocks: dict[tuple[str, str], int] = {}
    for element in parent:
        if _name(element) != "DicomAttribute":
            raise InvalidRequest(f"the XML has {_name(element)[:64]} where an attribute belongs")
        tag = _tag(element, blocks, found)
        if tag in found:
            raise InvalidRequest(f"the XML has ({tag[:4]},{tag[4:]}) twice")
        found[tag] = _attribute(element, tag, depth)
    return found


def _tag(element: Element, blocks: dict[tuple[str, str], int], found: dict[str, Any]) -> str:
    tag = tag_of(element.get("tag") or element.get("keyword") or "")
    if tag is None:
        raise InvalidRequest("an attribute of the XML has no tag")
    creator = element.get("privateCreator")
    if creator is None or int(tag[:4], 16) % 2 == 0:
        return tag
    group = tag[:4]
    block = blocks.get((group, creator))
    if block is None:
        block = _FIRST_BLOCK + sum(known == group for known, _ in blocks)
        if block > _LAST_BLOCK:
            raise TooLarge("the XML has more private creators than a group has room for")
        blocks[group, creator] = block
        found[f"{group}00{block:02X}"] = {"vr": "LO", "Value": [creator]}
    return f"{group}{block:02X}{tag[6:]}"


def _attribute(element: Element, tag: str, depth: int) -> dict[str, Any]:
    vr = element.get("vr", "")
    found: dict[str, Any] = {"vr": vr}
    values: list[Any] = []
    for child in element:
        match _name(child):
            case "Value":
                values.append(_value(child.text or "", vr, tag))
            case "PersonName":
                values.append(_person_name(child))
            case "Item":
                values.append(_data_set(child, depth + 1))
            case "InlineBinary":
                found["InlineBinary"] = "".join((child.text or "").split())
            case "BulkData":
                found["BulkDataURI"] = child.get("uri") or child.get("uuid") or ""
            case other:
                raise InvalidRequest(f"the XML has {other[:64]} in an attribute")
    if values:
        found["Value"] = values
    return found


def _value(text: str, vr: str, tag: str) -> Any:
    if not text.strip():
        return None
    if vr in _INTEGERS:
        if _INTEGER.fullmatch(text.strip()) is None:
            raise InvalidRequest(f"({tag[:4]},{tag[4:]}) must be an integer")
        return int(text)
    if vr in _DECIMALS:
        try:
            return float(text)
        except ValueError:
            raise InvalidRequest(f"({tag[:4]},{tag[4:]}) must be a number") from None
    return text


def _person_name(element: Element) -> dict[str, str] | None:
    found = {}
    for group in element:
        if _name(group) in _GROUPS:
            text = "^".join(_components(group)).rstrip("^")
            if text:
                found[_name(group)] = text
    return found or None


def _components(group: Element) -> Iterator[str]:
    texts = {_name(part): part.text or "" for part in group}
    for name in _COMPONENTS:
        yield texts.get(name, "")
