"""The FHIR door over HTTP: reads a request, has it performed, writes the answer."""

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from bfr_dicomweb.errors import (
    InvalidQuery,
    InvalidRequest,
    NotAllowed,
    TooLarge,
    UnsupportedMediaType,
)
from bfr_dicomweb.fhir import batch, interactions, negotiation
from bfr_dicomweb.fhir.exchange import Answer, Call
from bfr_dicomweb.fhir.outcomes import FHIR_JSON
from bfr_dicomweb.fhir.service import ROOT, Fhir
from bfr_dicomweb.fhir.source import Resource

# Answers hold what the caller may see now: caches of one user may keep them, and ask again.
CACHE_CONTROL: Final = "private, max-age=0, must-revalidate"
_TEMPLATES: Final = (
    "",
    "/metadata",
    "/{first}",
    "/{first}/{second}",
    "/{first}/{second}/{third}",
    "/{first}/{second}/_history/{version}",
)
_WITH_PAYLOAD: Final = frozenset({"POST", "PUT", "PATCH"})
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
_DEEPEST: Final = 64


def routes(fhir: Fhir) -> list[BaseRoute]:
    """Below /fhir; for `Router.routes`."""
    door = _Door(fhir)
    return [
        Route(f"{ROOT}/", door),
        *(Route(ROOT + template, door) for template in _TEMPLATES),
    ]


class _Door:
    """The ASGI application of all paths of the service."""

    def __init__(self, fhir: Fhir) -> None:
        self._fhir = fhir

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path_of(scope)
        scope["path_template"] = _template(self._fhir, path)
        request = Request(scope, receive, send)
        accept = ", ".join(request.headers.getlist("accept")) or None
        if request.method not in _METHODS:
            raise NotAllowed((*_METHODS, "OPTIONS"))
        call = await self._call(request, path, accept)
        perform = interactions.perform if path else batch.perform
        # a Binary is sent as what it is, whatever that may be
        is_binary = path[:1] == ("Binary",) and request.method in ("GET", "HEAD")
        media_type = FHIR_JSON
        if not is_binary or negotiation.wants_resource(accept, call.said("_format")):
            media_type = negotiation.chosen(accept, call.said("_format"))
        answer = await perform(self._fhir, call)
        response = _response(answer, media_type, pretty=call.said("_pretty") == "true")
        if request.method == "HEAD":
            response.body = b""
        await response(scope, receive, send)

    async def _call(self, request: Request, path: tuple[str, ...], accept: str | None) -> Call:
        fhir = self._fhir
        text = request.scope["query_string"]
        # a token can be longer than the query that it holds, encrypted and in letters
        times = 2 if text.startswith(b"_page=") else 1
        query = _pairs(text, fhir.limits.query_length * times)
        headers = dict(request.headers)
        if accept is not None:
            headers["accept"] = accept
        base = fhir.base_of(request)
        if request.method not in _WITH_PAYLOAD:
            return Call(request.method, path, base, query, headers)
        payload = await _payload(request, fhir.limits.body_bytes)
        content_type = headers.get("content-type")
        form = resource = None
        if _is_form(path, content_type):
            form = _form(payload, content_type, fhir.limits.query_length)
        elif path[:1] == ("Binary",) and not _is_resource(content_type):
            resource = _as_binary(payload, content_type, path)
        elif payload:
            negotiation.require_json(content_type)
            resource = parsed(payload)
        return Call(request.method, path, base, query, headers, form, resource)


def _path_of(scope: Scope) -> tuple[str, ...]:
    """What stands below the base, each part decoded."""
    path: str = scope["path"]
    mounted: str = scope.get("root_path", "").rstrip("/")
    if mounted and path.startswith(f"{mounted}/"):
        path = path[len(mounted) :]
    below = path.removeprefix(ROOT).strip("/")
    return tuple(below.split("/")) if below else ()


def _template(fhir: Fhir, path: tuple[str, ...]) -> str:
    """What the access log calls the request: no part of it that a client can choose freely."""
    parts = []
    for place, part in enumerate(path):
        fixed = part in ("metadata", "_search", "_history") or part in fhir.sources
        fixed = fixed or any(part == f"${operation.name}" for operation in fhir.operations)
        parts.append(part if fixed else ("{type}", "{id}", "{part}", "{version}")[min(place, 3)])
    return "/".join([ROOT, *parts])


def _pairs(query: bytes, most: int) -> list[tuple[str, str]]:
    if len(query) > most:
        raise InvalidQuery("query", f"at most {most} characters are accepted")
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidQuery("query", "it is not UTF-8 once percent-decoded") from None


def _form(payload: bytes, content_type: str | None, most: int) -> list[tuple[str, str]]:
    if payload and negotiation.media_type(content_type) != negotiation.FORM:
        raise UnsupportedMediaType(f"a search is posted as {negotiation.FORM}")
    return _pairs(payload, most)


async def _payload(request: Request, most: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise TooLarge(f"a payload has at most {most} bytes here")
        chunks.append(chunk)
    return b"".join(chunks)


def parsed(payload: bytes) -> Resource:
    """Raises InvalidRequest."""
    try:
        value: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise InvalidRequest("the payload is no JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        raise InvalidRequest("the payload is no resource: it has no resourceType")
    _require_sound(value)
    return value


def _require_sound(value: Any) -> None:
    """Raises InvalidRequest: it is too deep to be gone through, or no database could keep it."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if any("\0" in item for item in inner if isinstance(item, str)):
            raise InvalidRequest("a text has a character (NUL) that FHIR does not allow")
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    raise InvalidRequest(f"the resource is nested more than {_DEEPEST} levels deep")


def _is_form(path: tuple[str, ...], content_type: str | None) -> bool:
    """A search, or an operation that a form calls: identity numbers do not belong into URLs."""
    if path[-1:] == ("_search",):
        return True
    is_operation = bool(path) and path[-1].startswith("$")
    return is_operation and negotiation.media_type(content_type) == negotiation.FORM


def _is_resource(content_type: str | None) -> bool:
    return content_type is None or negotiation.media_type(content_type) in negotiation.PAYLOADS


def _as_binary(payload: bytes, content_type: str | None, path: tuple[str, ...]) -> Resource:
    """FHIR R4 section 2.42.5: bytes as they are, with their own media type."""
    data = base64.b64encode(payload).decode()
    made: Resource = {"resourceType": "Binary", "contentType": content_type, "data": data}
    return {**made, "id": path[1]} if len(path) > 1 else made


def _response(answer: Answer, media_type: str, *, pretty: bool) -> Response:
    headers: Mapping[str, str] = {
        **answer.headers,
        "Cache-Control": CACHE_CONTROL,
        "Vary": "Accept",
    }
    if answer.content is not None:
        content, own_type = answer.content
        return _Payload(content, answer.status, headers, own_type)
    if answer.resource is None:
        return Response(None, answer.status, headers)
    option = orjson.OPT_INDENT_2 if pretty else 0
    payload = orjson.dumps(answer.resource, option=option)
    return _Payload(payload, answer.status, headers, media_type)


class _Payload(Response):
    """Bytes with the media type as it is given; for HEAD its length is told all the same."""

    def __init__(
        self, content: bytes, status: int, headers: Mapping[str, str], media_type: str
    ) -> None:
        super().__init__(content, status, {**headers, "Content-Type": media_type})
