"""How answers are put on the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bfr_dicomweb.dicomweb import byte_ranges, multipart
from bfr_dicomweb.services.content import Content, Piece, Reader

# Answers hold what the caller may see now: caches of one user may keep them, and ask again.
CACHE_CONTROL: Final = "private, max-age=0, must-revalidate"
# The bytes below one strong entity tag never change; viewers ask for frames again and again.
CACHE_IMMUTABLE: Final = "private, max-age=3600, immutable"


class ContentResponse(Response):
    """A content of known size; nothing of it is read for HEAD."""

    def __init__(
        self, reader: Reader, content: Content, *, status: int = 200, headers: dict[str, str]
    ) -> None:
        self._reader = reader
        self._content = content
        self.status_code = status
        self.background = None
        self.body = b""
        size = content.size_bytes
        length = {} if size is None else {"content-length": str(size)}
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (headers | length).items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        start = {"type": "http.response.start", "status": self.status_code}
        if scope["method"] == "HEAD":
            await send({**start, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        # the first bytes are read before the status is sent: trouble is still told rightly
        chunks = self._reader.chunks(self._content)
        first = await anext(chunks, None)
        await send({**start, "headers": self.raw_headers})
        for data in first or ():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        async for batch in chunks:
            for data in batch:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def not_modified(request: Request, *etags: str) -> Response | None:
    """304 when the client has one of these representations already."""
    etag = byte_ranges.first_match(request.headers.get("if-none-match"), etags)
    if etag is None:
        return None
    return Response(status_code=304, headers={"ETag": etag, "Cache-Control": CACHE_CONTROL})


def single_part(
    request: Request,
    reader: Reader,
    content: Content,
    *,
    content_type: str,
    location: str,
    etag: str,
    **more_headers: str,
) -> Response:
    """One representation, or the ranges of it that are asked for (RFC 9110 section 14).

    Raises:
        RangeNotSatisfiable: no byte of the ranges exists.
    """
    headers = {
        "Content-Type": content_type,
        "ETag": etag,
        "Cache-Control": CACHE_IMMUTABLE,
        "Accept-Ranges": "bytes",
        "Content-Location": location,
        "Vary": "Accept",
        **more_headers,
    }
    size = content.size_bytes
    if size is None:
        return ContentResponse(reader, content, headers=headers)
    ranges = byte_ranges.requested(
        request.headers.get("range"), request.headers.get("if-range"), etag, size
    )
    if ranges is None:
        return ContentResponse(reader, content, headers=headers)
    if len(ranges) == 1:
        (only,) = ranges
        headers["Content-Range"] = only.content_range(size)
        return ContentResponse(
            reader, content.cut(only.start, only.stop), status=206, headers=headers
        )
    boundary = multipart.boundary_for(etag)
    pieces: list[Piece] = []
    for one in ranges:
        content_range = one.content_range(size)
        pieces.append(multipart.part_header(boundary, content_type, content_range=content_range))
        pieces += [*content.cut(one.start, one.stop).pieces, multipart.PART_END]
    pieces.append(multipart.closing(boundary))
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    return ContentResponse(reader, Content(tuple(pieces)), status=206, headers=headers)


@dataclass(frozen=True, slots=True)
class Part:
    content_type: str
    location: str
    content: Content


def multipart_related(
    reader: Reader, parts: Sequence[Part], *, root_type: str, etag: str, status: int = 200
) -> Response:
    boundary = multipart.boundary_for(etag)
    pieces: list[Piece] = []
    for part in parts:
        size = part.content.size_bytes
        header = multipart.part_header(boundary, part.content_type, part.location, size)
        pieces += [header, *part.content.pieces, multipart.PART_END]
    pieces.append(multipart.closing(boundary))
    headers = {
        "Content-Type": multipart.content_type_of(boundary, root_type),
        "ETag": etag,
        "Cache-Control": CACHE_IMMUTABLE,
        "Vary": "Accept",
    }
    return ContentResponse(reader, Content(tuple(pieces)), status=status, headers=headers)
