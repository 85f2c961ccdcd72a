"""The outermost layer of the HTTP door: request ids, errors, CORS, metrics and the access log.

Nothing of a patient goes into logs or metrics: a request is known there by the
template of its path, never by the path itself or its query.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bfr_dicomweb import errors

# The status of every class of the tree; one test walks the tree and proves it complete.
HTTP_STATUS: Final[dict[type[errors.ArchiveError], int]] = {
    errors.InvalidRequest: 400,
    errors.InvalidQuery: 400,
    errors.TooCostly: 400,
    errors.InvalidMultipart: 400,
    errors.InvalidMessage: 400,
    errors.InvalidDataset: 400,
    errors.NotTheClaimant: 400,
    errors.WorkitemEnded: 400,
    errors.NoVolume: 400,
    errors.InvalidObject: 400,
    errors.UnidentifiableObject: 400,
    errors.TargetMismatch: 409,
    errors.StudyMismatch: 409,
    errors.SOPClassMismatch: 409,
    errors.NotFound: 404,
    errors.Gone: 410,
    errors.PreconditionFailed: 412,
    errors.Conflict: 409,
    errors.DifferentDuplicate: 409,
    errors.WorkitemStateConflict: 409,
    errors.NotAcceptable: 406,
    errors.UndecodablePixelData: 406,
    errors.UnsupportedMediaType: 415,
    errors.TooLarge: 413,
    errors.RangeNotSatisfiable: 416,
    errors.LengthRequired: 411,
    errors.NotAllowed: 405,
    errors.Forbidden: 403,
    errors.Unavailable: 503,
    errors.StorageFull: 507,
    errors.Undelivered: 503,
}
RETRY_AFTER_SECONDS: Final = "30"
# RFC 6455 section 7.4.1: policy violation; before the connection is accepted it is a 403.
WEBSOCKET_REFUSED: Final = 1008
PREFLIGHT_MAX_AGE_SECONDS: Final = "86400"
ALLOWED_METHODS: Final = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
ALLOWED_HEADERS: Final = (
    "Accept, Accept-Charset, Authorization, Content-Type, If-Match, If-Modified-Since,"
    " If-None-Exist, If-None-Match, If-Range, Prefer, Range, X-Request-ID"
)
EXPOSED_HEADERS: Final = (
    "Accept-Ranges, Allow, Content-Location, Content-Range, ETag, Last-Modified, Location,"
    " Retry-After, Warning, X-Request-ID"
)
LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

REQUESTS: Final = Counter(
    "bfr_http_requests_total", "Requests answered.", ("method", "path", "status")
)
SECONDS: Final = Histogram(
    "bfr_http_request_seconds",
    "Time from the first byte of a request to the last byte of its answer.",
    ("method", "path"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
)
SENT: Final = Counter("bfr_http_sent_bytes_total", "Payload bytes sent.", ("path",))
RECEIVED: Final = Counter("bfr_http_received_bytes_total", "Payload bytes received.", ("path",))

log = structlog.get_logger("http")

# How a door tells an error: status, detail, the error if it was expected, and the request's id
# become a media type and a payload.
Reporter = Callable[[int, str, errors.ArchiveError | None, str], tuple[str, bytes]]


def problem_details(
    status: int, detail: str, error: errors.ArchiveError | None, request_id: str
) -> tuple[str, bytes]:
    """A Status Report (PS3.18 section 8.6.3) as problem details (RFC 9457)."""
    del error
    report: dict[str, Any] = {
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request": request_id,
    }
    return "application/problem+json", orjson.dumps(report)


class Border:
    """Wraps the router.

    Args:
        cors_origins: Origins that may read beside those of this machine; "*" is any.
        reporters: How errors are told below a path; problem details elsewhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        cors_origins: Sequence[str] = (),
        reporters: Mapping[str, Reporter] | None = None,
    ) -> None:
        self._app = app
        self._origins = frozenset(cors_origins)
        self._reporters = dict(reporters or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._run_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin, reporter = self._allowed_origin(scope), self._reporter(scope["path"])
        await _Exchange(self._app, scope, receive, send, origin, reporter).run()

    async def _run_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A browser opens one for any page: only those that may read are let through."""
        refused = {"type": "websocket.close", "code": WEBSOCKET_REFUSED}
        if "origin" in Headers(scope=scope) and self._allowed_origin(scope) is None:
            await send(refused)
            return
        try:
            await self._app(scope, receive, send)
        except errors.ArchiveError:
            # before it was accepted: there is no such resource
            await send(refused)
        except Exception as error:  # the border: everything else is a bug
            log.exception("bug", path=scope.get("path_template", "websocket"), error=_kind(error))
            raise

    def _reporter(self, path: str) -> Reporter:
        for below, reporter in self._reporters.items():
            if path == below or path.startswith(below + "/"):
                return reporter
        return problem_details

    def _allowed_origin(self, scope: Scope) -> str | None:
        """The Origin of the request when its page may read the answer."""
        origin = Headers(scope=scope).get("origin")
        if origin is None:
            return None
        if origin in self._origins or "*" in self._origins:
            return origin
        try:
            local = urlsplit(origin).hostname in LOOPBACK_HOSTS
        except ValueError:
            return None
        return origin if local else None


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        origin: str | None,
        reporter: Reporter,
    ) -> None:
        self._app, self._scope, self._origin = app, scope, origin
        self._reporter = reporter
        self._receive_raw, self._send_raw = receive, send
        self._headers = Headers(scope=scope)
        given = self._headers.get("x-request-id", "")
        self._id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self._status = 0
        self._sent = 0
        self._received = 0

    async def run(self) -> None:
        begun = time.perf_counter()
        self._scope["request_id"] = self._id
        try:
            if self._is_preflight():
                await self._answer_preflight()
            else:
                await self._run_app()
        finally:
            self._account(time.perf_counter() - begun)

    async def _run_app(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except errors.ArchiveError as error:
            await self._report(HTTP_STATUS[type(error)], str(error), error)
        except ClientDisconnect:
            self._status = self._status or 499
        except Exception as error:  # the border: everything else is a bug
            log.exception("bug", request_id=self._id, path=self._template(), error=_kind(error))
            if self._status:
                raise  # too late for an answer: the connection has to break
            await self._report(500, "The archive failed; its log tells more under this request.")

    async def _receive(self) -> Message:
        message = await self._receive_raw()
        self._received += len(message.get("body", b""))
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._id
            if self._origin is not None:
                headers["Access-Control-Allow-Origin"] = self._origin
                headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
            headers.add_vary_header("Origin")
            # for pages that isolate themselves and show images straight from here
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            headers["X-Content-Type-Options"] = "nosniff"
        else:
            self._sent += len(message.get("body", b""))
        await self._send_raw(message)

    async def _report(
        self, status: int, detail: str, error: errors.ArchiveError | None = None
    ) -> None:
        if self._status:
            raise ConnectionAbortedError(detail)  # headers are out: break the connection
        media_type, report = self._reporter(status, detail, error, self._id)
        headers = {"Content-Type": media_type, "Cache-Control": "no-store"}
        if isinstance(error, errors.NotAllowed):
            headers["Allow"] = ", ".join(error.allowed)
        if isinstance(error, errors.RangeNotSatisfiable):
            headers["Content-Range"] = f"bytes */{error.size_bytes}"
        if isinstance(error, errors.Unavailable):
            headers["Retry-After"] = RETRY_AFTER_SECONDS
        if "warnings" in self._scope:
            # what the handler has to say of its refusal
            headers["Warning"] = ", ".join(self._scope["warnings"])
        await self._answer(status, headers, report)

    async def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if body:
            raw.append((b"content-length", str(len(body)).encode()))
        shown = b"" if self._scope["method"] == "HEAD" else body
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": shown})

    def _is_preflight(self) -> bool:
        # a capabilities request is an OPTIONS too, but without these (PS3.18 section 8.9)
        return (
            self._scope["method"] == "OPTIONS"
            and "origin" in self._headers
            and "access-control-request-method" in self._headers
        )

    async def _answer_preflight(self) -> None:
        if self._origin is None:
            await self._answer(403, {"Content-Type": "text/plain"}, b"origin not allowed")
            return
        await self._answer(
            204,
            {
                "Access-Control-Allow-Methods": ALLOWED_METHODS,
                "Access-Control-Allow-Headers": ALLOWED_HEADERS,
                "Access-Control-Max-Age": PREFLIGHT_MAX_AGE_SECONDS,
            },
            b"",
        )

    def _template(self) -> str:
        return str(self._scope.get("path_template", "other"))

    def _account(self, seconds: float) -> None:
        method, path = self._scope["method"], self._template()
        if method not in ALLOWED_METHODS:
            method = "other"
        requests, durations, sent, received = _metrics(method, path, self._status)
        requests.inc()
        durations.observe(seconds)
        sent.inc(self._sent)
        received.inc(self._received)
        log.info(
            "request",
            request_id=self._id,
            method=method,
            path=path,
            status=self._status,
            ms=round(seconds * 1000, 2),
            received=self._received,
            sent=self._sent,
        )


@lru_cache(maxsize=2048)
def _metrics(method: str, path: str, status: int) -> tuple[Counter, Histogram, Counter, Counter]:
    return (
        REQUESTS.labels(method, path, str(status)),
        SECONDS.labels(method, path),
        SENT.labels(path),
        RECEIVED.labels(path),
    )


def _kind(error: BaseException) -> str:
    return type(error).__name__
