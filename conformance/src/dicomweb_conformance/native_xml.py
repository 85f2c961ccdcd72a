"""A strict reader of the Native DICOM Model (PS3.19 section A.1) that names every broken rule."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from pydicom import datadict

from dicomweb_conformance import payloads
from dicomweb_conformance.dicom_json import BULK_VRS, INLINE_VRS
from dicomweb_conformance.findings import Inspection

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"

# The rules; all are from PS3.19 section A.1.5.
ROOT: Final = "root"
ATTRIBUTES: Final = "attributes"
NUMBERING: Final = "numbering"
CONTENT: Final = "content"
GROUP_LENGTH: Final = "group length"

_TAG = re.compile(r"[0-9A-F]{8}")
_KINDS = ("BulkData", "Value", "Item", "PersonName", "InlineBinary")


class NotReadable(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class Document:
    root: Element


def read(content: bytes) -> Document:
    """Raises NotReadable: not well-formed, or of another root."""
    try:
        root = payloads.read_xml(content)
    except payloads.Unreadable as error:
        raise NotReadable(f"a part is {error}") from None
    if _local(root) != "NativeDicomModel":
        raise NotReadable("the root of a part is not NativeDicomModel")
    return Document(root)


def inspect(document: Document) -> Inspection:
    """Judges a document by all the rules."""
    found = Inspection()
    root = document.root
    in_namespace = root.tag == f"{{{NAMESPACE}}}NativeDicomModel"
    found.judge(ROOT, in_namespace, "", "the root is not in the namespace of PS3.19")
    found.judge(ROOT, root.get(_SPACE) == "preserve", "", 'there is no xml:space="preserve"')
    _inspect_dataset(found, root, "")
    return found


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: Element, name: str | None = None) -> Iterator[Element]:
    for child in element:
        if name is None or _local(child) == name:
            yield child


def _inspect_dataset(found: Inspection, parent: Element, where: str) -> None:
    for child in parent:
        is_attribute = _local(child) == "DicomAttribute"
        found.judge(CONTENT, is_attribute, where, "a child is not a DicomAttribute")
        if is_attribute:
            _inspect_attribute(found, child, f"{where}/{child.get('tag', 'without a tag')[:8]}")


def _inspect_attribute(found: Inspection, element: Element, where: str) -> None:
    tag, vr = element.get("tag", ""), element.get("vr", "")
    if not found.judge(ATTRIBUTES, bool(_TAG.fullmatch(tag)), where, "tag is not 8 upper-case hex"):
        return
    found.judge(ATTRIBUTES, len(vr) == 2 and vr.isupper(), where, "there is no vr")
    found.judge(GROUP_LENGTH, not tag.endswith("0000"), where, "is a group length")
    creator, keyword = element.get("privateCreator"), element.get("keyword")
    if int(tag[3], 16) % 2:
        # a creator element itself (gggg,00xx) may stand beside what it reserves
        is_creator = tag[4:6] == "00" and int(tag[6:], 16) >= 0x10 and creator is None
        if not is_creator:
            found.judge(ATTRIBUTES, bool(creator), where, "private, without privateCreator")
            found.judge(ATTRIBUTES, tag[4:6] == "00", where, "private tag is not gggg00ee")
    else:
        found.judge(ATTRIBUTES, creator is None, where, "privateCreator on a standard attribute")
        known = datadict.keyword_for_tag(int(tag, 16))
        held = not known or keyword == known
        found.judge(ATTRIBUTES, held, where, "the keyword is missing or another one")
    _inspect_content(found, element, vr, where)


def _inspect_content(found: Inspection, element: Element, vr: str, where: str) -> None:
    kinds = {_local(child) for child in element}
    found.judge(CONTENT, kinds <= set(_KINDS), where, "has content that the model does not know")
    found.judge(CONTENT, len(kinds) <= 1, where, f"has {' and '.join(sorted(kinds))}")
    for kind in kinds & {"Value", "Item", "PersonName"}:
        numbers = [child.get("number") for child in _children(element, kind)]
        expected = [str(number) for number in range(1, len(numbers) + 1)]
        found.judge(NUMBERING, numbers == expected, where, f"{kind} is not numbered 1, 2, ...")
    for kind, held in _kinds_and_vrs(vr):
        if kind in kinds:
            found.judge(CONTENT, held, where, f"{vr} has {kind}")
    for child in _children(element, "BulkData"):
        addressed = bool(child.get("uri") or child.get("uuid"))
        found.judge(CONTENT, addressed, where, "BulkData has neither uri nor uuid")
    for child in _children(element, "Item"):
        _inspect_dataset(found, child, f"{where}[{child.get('number')}]")


def _kinds_and_vrs(vr: str) -> tuple[tuple[str, bool], ...]:
    return (
        ("InlineBinary", vr in INLINE_VRS),
        ("BulkData", vr in BULK_VRS),
        ("Item", vr == "SQ"),
        ("PersonName", vr == "PN"),
        ("Value", vr not in INLINE_VRS | {"SQ", "PN"}),
    )


def to_json(document: Document) -> dict[str, object]:
    """As DICOM JSON with private attributes as they are in XML (gggg00ee), beside their creator.

    Values stay the texts that they are in XML; the name of a private attribute is
    `gggg00ee creator`.
    """
    return _dataset_json(document.root)


def _dataset_json(parent: Element) -> dict[str, object]:
    made: dict[str, object] = {}
    for child in _children(parent, "DicomAttribute"):
        creator = child.get("privateCreator")
        name = child.get("tag", "") + (f" {creator}" if creator else "")
        made[name] = _attribute_json(child)
    return made


def _attribute_json(element: Element) -> dict[str, object]:
    vr = element.get("vr", "")
    suits = dict(_kinds_and_vrs(vr))
    made: dict[str, object] = {"vr": vr}
    for child in _children(element):
        kind = _local(child)
        if not suits.get(kind):
            continue  # `inspect` tells of it
        if kind == "BulkData":
            made["BulkDataURI"] = child.get("uri") or child.get("uuid")
        elif kind == "InlineBinary":
            made["InlineBinary"] = (child.text or "").strip()
        else:
            values = made.setdefault("Value", [])
            if isinstance(values, list):
                values.append(_value_json(kind, child))
    return made


def _value_json(kind: str, element: Element) -> object:
    if kind == "Item":
        return _dataset_json(element)
    if kind == "PersonName":
        return {_local(group): _group_text(group) for group in element}
    return element.text  # None: an empty value


def _group_text(group: Element) -> str:
    order = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
    written = {_local(child): child.text or "" for child in group}
    return "^".join(written.get(name, "") for name in order).rstrip("^")
