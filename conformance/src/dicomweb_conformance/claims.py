"""What a server says that it offers (PS3.18 section 8.9, Annexes G and H)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from xml.etree import ElementTree

from dicomweb_conformance import payloads

WADL: Final = "{http://wadl.dev.java.net/2009/02}"


class Feature(StrEnum):
    """What a case can be about that a server need not offer.

    The value says by which (method, resource) of the capabilities it is claimed: any of them.
    A resource is written without the names of its variables.
    """

    RETRIEVE = "GET studies/{}, GET studies/{}/metadata, GET studies/{}/series/{}/instances/{}"
    STORE = "POST studies"
    SEARCH = "GET studies"
    BULKDATA = "GET studies/{}/bulkdata, GET studies/{}/series/{}/instances/{}/bulkdata"
    PIXELDATA = "GET studies/{}/pixeldata, GET studies/{}/series/{}/instances/{}/pixeldata"
    THUMBNAIL = "GET studies/{}/thumbnail, GET studies/{}/series/{}/instances/{}/thumbnail"
    MPR = "GET studies/{}/series/{}/renderedmpr, GET studies/{}/renderedmpr"
    RENDERED_3D = "GET studies/{}/series/{}/rendered3d, GET studies/{}/rendered3d"
    DELETE = "DELETE studies/{}"
    WORKLIST = "GET workitems, POST workitems"
    NON_PATIENT = "GET hanging-protocols, POST hanging-protocols, GET color-palettes"
    COMMITMENT = "POST commitment-requests, POST commitment-requests/{}"
    SCHEDULED_STEPS = "GET modality-scheduled-procedure-steps"
    PERFORMED_STEPS = "POST modality-performed-procedure-steps/{}"
    URI_SERVICE = "--wado-uri"
    DIMSE = "--dimse"
    AUTHENTICATION = "--auth"
    WRITING = "not --read-only"

    @property
    def words(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def operations(self) -> frozenset[tuple[str, str]]:
        """Empty where it is not the capabilities that tell, but the command line."""
        if "--" in self.value:
            return frozenset()
        pairs = (each.strip().partition(" ") for each in self.value.split(","))
        return frozenset((method, path) for method, _, path in pairs)


class NotReadable(ValueError):
    """A capabilities description that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str  # studies/{}/metadata
    parameters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Claims:
    """`operations` is None where the server described nothing: then nothing is known."""

    operations: tuple[Operation, ...] | None = None

    @property
    def known(self) -> bool:
        return bool(self.operations)

    def offers(self, feature: Feature) -> bool | None:
        """None: the server does not say."""
        if not self.operations or not feature.operations:
            return None
        claimed = {(each.method, each.path) for each in self.operations}
        return not claimed.isdisjoint(feature.operations)

    def methods(self, path: str) -> frozenset[str]:
        return frozenset(each.method for each in self.operations or () if each.path == path)


def normalized(path: str) -> str:
    """studies/{StudyInstance}/metadata becomes studies/{}/metadata."""
    return re.sub(r"\{[^}]*\}", "{}", path).strip("/").lower()


def read(content_type: str, content: bytes) -> Claims:
    """Raises NotReadable."""
    if "wadl" in content_type or content.lstrip().startswith(b"<"):
        return Claims(tuple(_of_wadl(content)))
    return Claims(tuple(_of_json(content)))


def _of_wadl(content: bytes) -> Iterator[Operation]:
    try:
        root = payloads.read_xml(content)
    except payloads.Unreadable as error:
        raise NotReadable(str(error)) from None
    for resources in root.iter(f"{WADL}resources"):
        yield from _of_element(resources, "")


def _of_element(element: ElementTree.Element, above: str) -> Iterator[Operation]:
    path = f"{above}/{element.get('path', '').strip('/')}".strip("/")
    for method in element.findall(f"{WADL}method"):
        names = frozenset(each.get("name", "") for each in method.iter(f"{WADL}param"))
        yield Operation(method.get("name", "").upper(), normalized(path), names)
    for below in element.findall(f"{WADL}resource"):
        yield from _of_element(below, path)


def _of_json(content: bytes) -> Iterator[Operation]:
    try:
        root = payloads.read_json(content)
    except payloads.Unreadable as error:
        raise NotReadable(str(error)) from None
    for resources in _members({"": root}, "resources"):
        yield from _of_object(resources, "")


def _of_object(node: dict[str, object], above: str) -> Iterator[Operation]:
    path = f"{above}/{str(node.get('@path', '')).strip('/')}".strip("/")
    for method in _listed(node.get("method")):
        names = frozenset(str(each.get("@name", "")) for each in _members(method, "param"))
        yield Operation(str(method.get("@name", "")).upper(), normalized(path), names)
    for below in _listed(node.get("resource")):
        yield from _of_object(below, path)


def _listed(node: object) -> list[dict[str, object]]:
    """One object or an array of them: reading is lenient, a case of its own is strict."""
    nodes = node if isinstance(node, list) else [node]
    return [each for each in nodes if isinstance(each, dict)]


def _members(node: object, name: str) -> Iterator[dict[str, object]]:
    """Every object of that name, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == name:
                yield from _listed(value)
            else:
                yield from _members(value, name)
    elif isinstance(node, list):
        for each in node:
            yield from _members(each, name)
