r"""Reading and writing of multipart bodies (PS3.18 section 8.6.1.2, RFC 2046 section 5.1).

The reader does no I/O: it is fed with chunks and answers with events, and holds back only
what may still become a delimiter, or a header block that is not complete.

Every position that the reader stops at is that of the line feed in front of what comes
next. So the first delimiter of the body, one right after a header block, and an empty
header block are found by the same searches as all others: `\n--boundary` and `\n\r?\n`.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from bfr_dicomweb.dicom.media_types import MULTIPART_RELATED, MediaType
from bfr_dicomweb.errors import InvalidMultipart, InvalidRequest, UnsupportedMediaType

PART_END: Final = b"\r\n"

# RFC 2046 allows at most 70, and fewer characters; nothing is gained by refusing what others send
_BOUNDARY: Final = re.compile(r"[\x20-\x7e]{0,199}[\x21-\x7e]")
MAX_PADDING: Final = 64


@dataclass(frozen=True, slots=True)
class PartBegin:
    """Names in lower case; of a field that occurs twice the first is kept."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Some of the part's bytes; a view into the chunk that was fed."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class PartEnd:
    pass


Event = PartBegin | PartData | PartEnd
_PART_END: Final = PartEnd()


@dataclass(frozen=True, slots=True)
class MultipartLimits:
    preamble_bytes: int = 64 * 1024
    parts: int = 200_000
    header_bytes: int = 16 * 1024
    headers: int = 64


DEFAULT_LIMITS: Final = MultipartLimits()


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


_END_OF_HEADERS: Final = re.compile(rb"\n\r?\n")
# after `--boundary`: the close delimiter; padding and a line end; or the chunk ended too early
_AFTER_BOUNDARY: Final = re.compile(
    rb"(?P<close>--)|[ \t]{0,%d}(?:\r?\n|(?P<partial>\r?\Z))|(?P<dash>-\Z)" % MAX_PADDING
)
_FIELD: Final = re.compile(rb"([!#-'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")


class MultipartReader:
    """A push parser for one multipart body.

    Tolerates what clients send: text before the first delimiter and after the last,
    white space after a delimiter, lines that end with LF alone, no line end at the end.
    """

    __slots__ = (
        "_begin",
        "_block",
        "_held",
        "_limits",
        "_needle",
        "_parts",
        "_preamble_bytes",
        "_skip",
        "_state",
    )

    def __init__(self, boundary: str, *, limits: MultipartLimits = DEFAULT_LIMITS) -> None:
        self._needle = b"\n--" + boundary.encode("ascii")
        self._limits = limits
        self._state = _State.PREAMBLE
        self._held = b"\n"
        # bytes at the place of the reader that belong to what came before: 1 for the line feed
        self._skip = 1
        self._preamble_bytes = 0
        self._parts = 0
        self._block = b""
        self._begin = PartBegin(MappingProxyType({}))

    @property
    def held_bytes(self) -> int:
        """Bytes that are kept until the next chunk decides what they are."""
        return len(self._held)

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises InvalidMultipart: the body breaks the grammar or a limit."""
        buffer = self._held + chunk if self._held else chunk
        self._held = b""
        events: list[Event] = []
        place: int | None = 0
        while place is not None:
            if self._state is _State.BODY or self._state is _State.PREAMBLE:
                place = self._read_content(buffer, place, events)
            elif self._state is _State.HEADERS:
                place = self._read_headers(buffer, place, events)
            else:
                break
        return events

    def close(self) -> None:
        """Raises InvalidMultipart: the body ended before its close delimiter, or has no part."""
        if self._state is not _State.EPILOGUE:
            raise InvalidMultipart("the multipart payload is truncated: no close delimiter")
        if not self._parts:
            raise InvalidMultipart("the multipart payload has no part")

    def _read_content(self, buffer: bytes, place: int, events: list[Event]) -> int | None:
        """Up to the next delimiter, or hold what may be the beginning of one."""
        begin = place + self._skip
        at, tail = self._find_delimiter(buffer, place)
        end = at - 1 if at > begin and buffer[at - 1] == 0x0D else at
        if end > begin:
            self._take(buffer, begin, end, events)
        if tail is None:
            # the line feed that belongs to what came before may still begin a delimiter
            self._skip = int(at < begin)
            self._held = buffer[end:] if end < len(buffer) else b""
            return None
        self._begin_part(events, closing=tail.lastgroup == "close")
        return tail.end() - 1

    def _find_delimiter(self, buffer: bytes, place: int) -> tuple[int, re.Match[bytes] | None]:
        """Where the content ends, and the match of what follows the boundary.

        Without a match the rest of the buffer is undecided; nothing of it may be empty.
        """
        needle = self._needle
        at = buffer.find(needle, place)
        while at >= 0:
            tail = _AFTER_BOUNDARY.match(buffer, at + len(needle))
            if tail is not None:
                return at, None if tail.lastgroup in ("partial", "dash") else tail
            at = buffer.find(needle, at + 1)
        size = len(buffer)
        # a proper prefix of the needle has its only line feed at its first place
        at = buffer.rfind(b"\n", max(place, size - len(needle) + 1))
        if at >= 0 and needle.startswith(buffer[at:]):
            return at, None
        return size, None

    def _take(self, buffer: bytes, begin: int, end: int, events: list[Event]) -> None:
        if self._state is _State.BODY:
            events.append(PartData(memoryview(buffer)[begin:end]))
            return
        self._preamble_bytes += end - begin
        if self._preamble_bytes > self._limits.preamble_bytes:
            raise InvalidMultipart("the multipart payload has no delimiter at its beginning")

    def _begin_part(self, events: list[Event], *, closing: bool) -> None:
        if self._state is _State.BODY:
            events.append(_PART_END)
        if closing:
            self._state = _State.EPILOGUE
            return
        self._state = _State.HEADERS
        self._parts += 1
        if self._parts > self._limits.parts:
            raise InvalidMultipart(f"more than {self._limits.parts} parts are not taken")

    def _read_headers(self, buffer: bytes, place: int, events: list[Event]) -> int | None:
        end = _END_OF_HEADERS.search(buffer, place)
        stop = len(buffer) if end is None else end.start()
        if stop - place > self._limits.header_bytes:
            raise InvalidMultipart("the header of a part is too long")
        if end is None:
            self._held = buffer[place:]
            return None
        block = buffer[place + 1 : stop]
        if block != self._block:
            # the parts of a payload tend to have equal headers
            self._begin = PartBegin(self._parse_headers(block))
            self._block = block
        events.append(self._begin)
        self._state = _State.BODY
        self._skip = 1
        return end.end() - 1

    def _parse_headers(self, block: bytes) -> Mapping[str, str]:
        lines = _FOLD.sub(b" ", block).split(b"\n") if block else []
        if len(lines) > self._limits.headers:
            raise InvalidMultipart("a part has too many header fields")
        headers: dict[str, str] = {}
        for line in lines:
            field = _FIELD.fullmatch(line.removesuffix(b"\r"))
            if field is None:
                raise InvalidMultipart("a header field of a part is malformed")
            name, value = field.groups()
            headers.setdefault(
                name.decode("ascii").lower(), value.rstrip(b" \t").decode("utf-8", "replace")
            )
        return MappingProxyType(headers)


def boundary_of(content_type: str) -> tuple[str, str]:
    """The root type, lower case and "" when missing, and the boundary of multipart/related.

    Raises:
        UnsupportedMediaType: it is another media type.
        InvalidMultipart: the boundary is missing or malformed.
    """
    try:
        media_type = MediaType.parse(content_type)
    except InvalidRequest:
        if content_type.lstrip().lower().startswith(MULTIPART_RELATED):
            raise InvalidMultipart("the Content-Type is malformed") from None
        raise UnsupportedMediaType("the Content-Type is malformed") from None
    if media_type.name != MULTIPART_RELATED:
        raise UnsupportedMediaType(f"taken here: {MULTIPART_RELATED}")
    boundary = media_type.parameter("boundary")
    if boundary is None or _BOUNDARY.fullmatch(boundary) is None:
        raise InvalidMultipart("the boundary parameter is missing or malformed")
    return (media_type.parameter("type") or "").strip().lower(), boundary


def new_boundary() -> str:
    return secrets.token_hex(16)


def boundary_for(etag: str) -> str:
    """The same boundary for the same representation, as a strong entity tag promises.

    The tag has to depend on digests of what is sent: then nobody can have written the
    boundary into it.
    """
    return hashlib.blake2b(etag.encode(), digest_size=16).hexdigest()


def content_type_of(boundary: str, root_type: str) -> str:
    return f'{MULTIPART_RELATED}; type="{root_type}"; boundary={boundary}'


def part_header(
    boundary: str,
    content_type: str,
    location: str | None = None,
    length: int | None = None,
    *,
    content_range: str | None = None,
) -> bytes:
    """Delimiter and header fields; the part follows, then PART_END.

    `Content-Type` is written so, and first, because a common viewer reads it by text.
    """
    lines = [f"--{boundary}", f"Content-Type: {content_type}"]
    if location is not None:
        lines.append(f"Content-Location: {location}")
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if content_range is not None:
        lines.append(f"Content-Range: {content_range}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def closing(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode("ascii")
