"""What this server can do, for machines: Retrieve Capabilities (PS3.18 section 8.9) and OpenAPI."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

import orjson
from pydicom.datadict import keyword_for_tag
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.media_types import COMPRESSED_BULKDATA, JSON, Offer
from bfr_dicomweb.dicomweb.responses import CACHE_CONTROL, not_modified
from bfr_dicomweb.dicomweb.service import accept_of, base_uri_of, service_of
from bfr_dicomweb.rendering import volume

if TYPE_CHECKING:
    # the table has this module's handlers in it, so it is asked for when they run
    from bfr_dicomweb.dicomweb.endpoints import Endpoint

WADL: Final = "application/vnd.sun.wadl+xml"
NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"
PROBLEM: Final = "application/problem+json"

# Templates as Table H-1 of PS3.18 names them.
_TEMPLATES: Final = {
    "study": "StudyInstance",
    "series": "SeriesInstance",
    "instance": "SOPInstance",
    "frames": "framelist",
    "attribute": "BulkDataReference",
    "workitem": "Workitem",
    "aet": "AETitle",
    "npi": "uid",
}
_TEMPLATE: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
# Elements of which there may be several: arrays in JSON (PS3.18 Annex G).
_REPEATABLE: Final = frozenset(
    {"doc", "method", "option", "param", "representation", "resource", "response"}
)
# What may stand several times in one query.
_REPEATING: Final = frozenset({"StudyInstanceUID", "0020000D", "includefield"})
_XML_TYPES: Final = {"string": "xsd:string", "integer": "xsd:int", "boolean": "xsd:boolean"}
# Stands for all of Table 8.7.3-5 where a table for humans is made.
COMPRESSED: Final = "multipart/related; type=<compressed bulkdata media type>"
_COMPRESSED: Final = tuple(
    f'multipart/related; type="{row.media_type}"' for row in COMPRESSED_BULKDATA
)
# Rendered MPR and Rendered 3D.
_VOLUMES: Final = frozenset({"10.4.1.1.7", "10.4.1.1.8"})
_OFFERS: Final = (Offer(WADL, is_default=True), Offer(JSON))


@dataclass(frozen=True, slots=True)
class _Node:
    """An element of WADL; its text is a human's."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["_Node"] = field(default_factory=list)
    text: str = ""


async def retrieve_capabilities(request: Request) -> Response:
    """The Capabilities Description (Annexes G and H) of the resources below the base URI."""
    offer = accept_of(request, required=False).select(_OFFERS)
    service = service_of(request)
    told = offered(service.root, deletion=service.allows_deletion, volumes=volume.is_installed())
    body = _written(told, base_uri_of(request), offer.media_type)
    return _answer(request, body, offer.media_type, {"Allow": "OPTIONS", "Vary": "Accept"})


def offered(root: str, *, deletion: bool, volumes: bool) -> tuple["Endpoint", ...]:
    """What of the route table this service does, with paths below the base URI."""
    from bfr_dicomweb.dicomweb.endpoints import ENDPOINTS

    told = [one for one in ENDPOINTS if one.section and (volumes or one.section not in _VOLUMES)]
    if deletion:
        # what is not of the Standard stands in the table with its whole path
        told += [
            replace(one, path=one.path.removeprefix(root))
            for one in ENDPOINTS
            if one.method == "DELETE" and not one.section
        ]
    return tuple(told)


async def describe(request: Request) -> Response:
    """OpenAPI of every resource of the HTTP door that is in the route table."""
    from bfr_dicomweb.dicomweb import openapi

    origin = base_uri_of(request).removesuffix(service_of(request).root)
    document = openapi.document() | {"servers": [{"url": origin or "/"}]}
    return _answer(request, orjson.dumps(document), JSON, {})


def _answer(request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    headers = {"ETag": etag, "Cache-Control": CACHE_CONTROL} | headers
    return Response(body, headers=headers, media_type=media_type)


@lru_cache(maxsize=16)
def _written(endpoints: tuple["Endpoint", ...], base: str, media_type: str) -> bytes:
    described = _application(endpoints, base)
    if media_type == JSON:
        return orjson.dumps({"application": _json(described)})
    return bytes(ElementTree.tostring(_xml(described), encoding="utf-8", xml_declaration=True))


def _xml(node: _Node) -> ElementTree.Element:
    element = ElementTree.Element(node.name, node.attributes)
    if node.name == "application":
        element.set("xmlns", NAMESPACE)
        element.set("xmlns:xsd", "http://www.w3.org/2001/XMLSchema")
    element.text = node.text or None
    element.extend(map(_xml, node.children))
    return element


def _json(node: _Node) -> dict[str, Any]:
    made: dict[str, Any] = {f"@{name}": value for name, value in node.attributes.items()}
    if node.text:
        made["value"] = node.text
    for child in node.children:
        if child.name in _REPEATABLE:
            made.setdefault(child.name, []).append(_json(child))
        else:
            made[child.name] = _json(child)
    return made


def _application(endpoints: Sequence["Endpoint"], base: str) -> _Node:
    resources = _Node("resources", {"base": base})
    for endpoint in endpoints:
        _resource(resources, endpoint.path).children.append(_method(endpoint))
    about = _doc("bfr_dicomweb", "Resources, methods and media types of this DICOMweb service.")
    return _Node("application", {}, [about, resources])


def _doc(title: str, text: str) -> _Node:
    return _Node("doc", {"xml:lang": "en", "title": title}, text=text)


def _resource(root: _Node, path: str) -> _Node:
    """The node of a path, in the tree that its segments make."""
    node = root
    for segment in path.strip("/").split("/") if path.strip("/") else ["/"]:
        name = _TEMPLATE.sub(lambda found: f"{{{_name(found[1])}}}", segment)
        below = (one for one in node.children if one.attributes.get("path") == name)
        found = next(below, None)
        if found is None:
            template = _TEMPLATE.fullmatch(segment)
            params = [] if template is None else [_param(_name(template[1]), "template")]
            found = _Node("resource", {"path": name}, params)
            node.children.append(found)
        node = found
    return node


def _name(template: str) -> str:
    return _TEMPLATES.get(template, template)


def _param(name: str, style: str, kind: str = "string", **attributes: str) -> _Node:
    required = {"required": "true"} if style == "template" else {}
    repeating = {"repeating": "true"} if name in _REPEATING else {}
    told = {"name": name, "style": style, "type": _XML_TYPES[kind]}
    return _Node("param", told | required | repeating | attributes)


def _method(endpoint: "Endpoint") -> _Node:
    words = re.sub(r"\W+", " ", f"{endpoint.transaction} {endpoint.path}").split()
    request = _Node("request", {}, [*_query(endpoint), *_headers(endpoint)])
    request.children.extend(map(_representation, endpoint.consumes))
    identity = {
        "name": endpoint.method,
        "id": "".join(word[0].upper() + word[1:] for word in words),
    }
    return _Node(
        "method",
        identity,
        [_doc(endpoint.summary, _section(endpoint)), request, *_responses(endpoint)],
    )


def _section(endpoint: "Endpoint") -> str:
    return f"PS3.18 section {endpoint.section}" if endpoint.section else "Not in PS3.18"


def _query(endpoint: "Endpoint") -> Iterator[_Node]:
    for param in endpoint.query:
        node = _param(param.name, "query", param.kind)
        if param.meaning:
            node.children.append(_doc(param.name, param.meaning))
        node.children.extend(_Node("option", {"value": value}) for value in param.values)
        yield node
    for path in endpoint.keys:
        # either name is taken (section 8.3.1)
        yield _param(".".join(keyword_for_tag(tag) for tag in path), "query")
        yield _param(".".join(path), "query")


def _headers(endpoint: "Endpoint") -> Iterator[_Node]:
    produced = media_types_of(endpoint)
    if produced:
        accept = _param("Accept", "header", default=produced[0])
        accept.children.extend(_Node("option", {"value": one}) for one in produced)
        yield accept
    if endpoint.consumes:
        content_type = _param("Content-Type", "header", required="true")
        content_type.children.extend(_Node("option", {"value": one}) for one in endpoint.consumes)
        yield content_type


def media_types_of(endpoint: "Endpoint") -> tuple[str, ...]:
    """What it answers with, each compressed bulkdata media type by its name."""
    return tuple(
        media_type
        for one in endpoint.produces
        for media_type in (_COMPRESSED if one == COMPRESSED else (one,))
    )


def _responses(endpoint: "Endpoint") -> Iterator[_Node]:
    """One for success, one for what is empty, one for failures."""
    for statuses, media_types in (
        ([one for one in endpoint.statuses if one < 300 and one != 204], media_types_of(endpoint)),
        ([one for one in endpoint.statuses if one == 204 or 300 <= one < 400], ()),
        ([one for one in endpoint.statuses if one >= 400], (PROBLEM,)),
    ):
        if statuses:
            told = ", ".join(f"{one} {HTTPStatus(one).phrase}" for one in statuses)
            node = _Node("response", {"status": " ".join(map(str, statuses))}, [_doc("", told)])
            node.children.extend(map(_representation, media_types))
            yield node


def _representation(media_type: str) -> _Node:
    return _Node("representation", {"mediaType": media_type})
