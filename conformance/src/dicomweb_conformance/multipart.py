"""A strict reader of multipart/related (RFC 2046 section 5.1, RFC 2387, PS3.18 8.6.1.2)."""

import re
from dataclasses import dataclass

from dicomweb_conformance import media_types
from dicomweb_conformance.media_types import MediaType

# RFC 2046: 1 to 70 characters, and not a space at the end.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*")


class Malformed(ValueError):
    """The payload breaks the rules of multipart; the text says which, and never shows content."""


@dataclass(frozen=True, slots=True)
class Part:
    headers: dict[str, str]  # by lower-case name
    content: bytes

    @property
    def media_type(self) -> MediaType:
        """Raises Malformed without a Content-Type that can be read."""
        if "content-type" not in self.headers:
            raise Malformed("a part has no Content-Type")
        try:
            return media_types.parse(self.headers["content-type"])
        except media_types.NotAMediaType as error:
            raise Malformed(f"a part's Content-Type cannot be read: {error}") from None

    @property
    def location(self) -> str | None:
        return self.headers.get("content-location")


def read(content_type: MediaType, payload: bytes) -> list[Part]:
    """The parts of a payload, in their order. Raises Malformed."""
    if content_type.name != "multipart/related":
        raise Malformed(f"expected multipart/related, got {content_type.name}")
    boundary = content_type.parameters.get("boundary")
    if boundary is None:
        raise Malformed("the Content-Type has no boundary")
    if not _BOUNDARY.fullmatch(boundary):
        raise Malformed("the boundary is not one of RFC 2046")
    return [_part(each) for each in _split(b"--" + boundary.encode("ascii"), payload)]


def _split(dash: bytes, payload: bytes) -> list[bytes]:
    """What stands between the delimiters; a preamble and an epilogue are ignored."""
    # Transport padding (blanks) may follow a delimiter, a character that goes on with it may not.
    delimiter = re.compile(rb"(?:\A|\r\n)" + re.escape(dash) + rb"(--)?[ \t]*(?:\r\n|\Z)")
    bodies: list[bytes] = []
    opened: int | None = None
    position = 0
    while found := delimiter.search(payload, position):
        if opened is not None:
            bodies.append(payload[opened : found.start()])
        if found[1]:
            if opened is None:
                raise Malformed("the closing delimiter is the only one")
            return bodies
        opened = found.end()
        # The line end of this delimiter can be the beginning of the next one's.
        position = opened - 2 if payload[: found.end()].endswith(b"\r\n") else opened
        position = max(position, found.start() + len(dash))
    if opened is None:
        raise Malformed("the boundary of the Content-Type does not occur in the payload")
    raise Malformed("the closing delimiter (--boundary--) is missing")


def _part(body: bytes) -> Part:
    head, blank, content = body.partition(b"\r\n\r\n")
    if body.startswith(b"\r\n"):
        head, content = b"", body[2:]
    elif not blank:
        raise Malformed("a part has no empty line after its headers")
    headers: dict[str, str] = {}
    for line in head.split(b"\r\n") if head else ():
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Malformed("a part has a header line that cannot be read")
        headers.setdefault(field[1].decode("ascii").lower(), field[2].decode("latin-1"))
    return Part(headers, content)


def write(parts: list[tuple[dict[str, str], bytes]], *, root_type: str) -> tuple[str, bytes]:
    """Content-Type and payload of the given headers and contents."""
    boundary = "dicomweb-conformance-boundary"
    while any(boundary.encode() in content for _, content in parts):
        boundary += "-"
    pieces = []
    for headers, content in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        pieces.append(f"--{boundary}\r\n{lines}\r\n".encode() + content + b"\r\n")
    payload = b"".join(pieces) + f"--{boundary}--\r\n".encode()
    return f'multipart/related; type="{root_type}"; boundary="{boundary}"', payload
