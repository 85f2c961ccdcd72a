"""Range requests and conditions on one representation (RFC 9110 sections 13 and 14).

Entity tags are written as in the header, with their quotes; ours are always strong.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.errors import RangeNotSatisfiable

# more than any viewer asks for; a request for more gets the whole representation
MAX_RANGES: Final = 16
MAX_LENGTH: Final = 1024
# about what a part of multipart/byteranges costs besides its bytes
PART_OVERHEAD_BYTES: Final = 150

_UNIT: Final = re.compile(r"bytes=(.*)", re.IGNORECASE | re.ASCII)
_RANGE: Final = re.compile(r"([0-9]*)-([0-9]*)")
_ENTITY_TAG: Final = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
# fits the 64-bit integers of every file system
_FARTHEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to and without `stop`; never empty."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    def content_range(self, size_bytes: int) -> str:
        return f"bytes {self.start}-{self.stop - 1}/{size_bytes}"


def requested(
    range_header: str | None, if_range: str | None, etag: str, size_bytes: int
) -> tuple[ByteRange, ...] | None:
    """The ranges to send, in the order of the request; None: send all of it.

    What is malformed, in another unit, or too much is ignored, as section 14.2 allows.
    Ranges that overlap, or nearly touch, are joined and sorted.

    Raises:
        RangeNotSatisfiable: no byte of any range exists.
    """
    if range_header is None or not _may_range(if_range, etag):
        return None
    specs = _parse(range_header)
    if specs is None:
        return None
    ranges = [found for spec in specs if (found := _resolve(*spec, size_bytes)) is not None]
    if not ranges:
        raise RangeNotSatisfiable(size_bytes)
    joined = _join(ranges)
    return tuple(ranges if len(joined) == len(ranges) else joined)


def first_match(if_none_match: str | None, etags: Iterable[str]) -> str | None:
    """The first of these entity tags that If-None-Match names, compared weakly.

    Give those of all content codings: the client may keep the data in any of them.
    """
    if if_none_match is None:
        return None
    if if_none_match.strip(" \t") == "*":
        return next(iter(etags), None)
    named = {opaque for _, opaque in _ENTITY_TAG.findall(if_none_match)}
    return next((etag for etag in etags if etag.removeprefix("W/") in named), None)


def not_modified(if_none_match: str | None, etag: str) -> bool:
    return first_match(if_none_match, (etag,)) is not None


def _may_range(if_range: str | None, etag: str) -> bool:
    # dates never match: nothing here is sent with Last-Modified
    return if_range is None or (if_range.strip(" \t") == etag and not etag.startswith("W/"))


def _parse(range_header: str) -> list[tuple[str, str]] | None:
    unit = _UNIT.fullmatch(range_header.strip(" \t"))
    if unit is None or len(range_header) > MAX_LENGTH:
        return None
    specs = [text.strip(" \t") for text in unit[1].split(",")]
    # an empty element of a list is ignored (section 5.6.1)
    found = [_RANGE.fullmatch(text) for text in specs if text]
    if not 0 < len(found) <= MAX_RANGES:
        return None
    parsed = [(match[1], match[2]) for match in found if match and match[0] != "-"]
    if len(parsed) < len(found) or any(_is_backwards(*spec) for spec in parsed):
        return None
    return parsed


def _is_backwards(first: str, last: str) -> bool:
    return bool(first and last) and _position(first) > _position(last)


def _position(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < 19 else _FARTHEST


def _resolve(first: str, last: str, size_bytes: int) -> ByteRange | None:
    if not first:
        start, stop = max(0, size_bytes - _position(last)), size_bytes
    else:
        start = _position(first)
        stop = min(_position(last) + 1, size_bytes) if last else size_bytes
    return ByteRange(start, stop) if start < stop else None


def _join(ranges: list[ByteRange]) -> list[ByteRange]:
    joined: list[ByteRange] = []
    for one in sorted(ranges, key=lambda found: found.start):
        if joined and one.start - joined[-1].stop <= PART_OVERHEAD_BYTES:
            last = joined.pop()
            joined.append(ByteRange(last.start, max(last.stop, one.stop)))
        else:
            joined.append(one)
    return joined
