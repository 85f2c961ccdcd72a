"""Content codings for JSON, XML and text; pixels and files are never compressed again."""

import asyncio
import zlib
from functools import lru_cache
from typing import Final, Protocol

import zstandard
from isal import igzip, isal_zlib

from bfr_dicomweb.dicom.media_types import split_outside_quotes, thousandths

GZIP: Final = "gzip"
ZSTD: Final = "zstd"

# Smaller bodies fit into one packet anyway.
SMALLEST_BYTES: Final = 1024
# Below this, compressing takes less time than handing the body to a thread.
OFF_LOOP_BYTES: Final = 512 * 1024

# Measured on 6 MB of DICOM JSON: the next levels take 2 to 3 times as long for 5% less.
_GZIP_LEVEL: Final = 2
_ZSTD_LEVEL: Final = 1

# the better first: of equal weight zstd is smaller
_CODINGS: Final = (ZSTD, GZIP)
_MAX_ACCEPT_ENCODING: Final = 1024


@lru_cache(maxsize=512)
def coding_for(accept_encoding: str | None) -> str | None:
    """The content coding that the client prefers of those we make; None: leave it as it is."""
    weights = _weights(accept_encoding)
    best = max(_CODINGS, key=lambda coding: _weight(coding, weights))
    weight = _weight(best, weights)
    # a client that would rather have identity says so with a weight
    return best if weight and weight >= weights.get("identity", 0) else None


def encode(body: bytes, accept_encoding: str | None) -> tuple[bytes, str | None]:
    """The body in the coding that the client prefers, and its name for Content-Encoding.

    Equal bodies give equal bytes, so that the result can have a strong entity tag.
    """
    coding = coding_for(accept_encoding) if len(body) >= SMALLEST_BYTES else None
    return (body if coding is None else _compress(body, coding)), coding


async def encode_off_loop(body: bytes, accept_encoding: str | None) -> tuple[bytes, str | None]:
    """`encode`, in a thread when the body is large."""
    if len(body) < OFF_LOOP_BYTES or coding_for(accept_encoding) is None:
        return encode(body, accept_encoding)
    return await asyncio.to_thread(encode, body, accept_encoding)


class Compressor(Protocol):
    """Takes a body piece by piece; every piece but the last may give nothing yet."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Identity:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def compressor(coding: str | None) -> Compressor:
    """For bodies that are made while they are sent."""
    if coding is None:
        return _Identity()
    if coding == ZSTD:
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
    made: Compressor = isal_zlib.compressobj(level=_GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)
    return made


def coded_etag(etag: str, coding: str | None) -> str:
    """The entity tag of the representation in this coding: other bytes, another strong tag."""
    return etag if coding is None else f'{etag[:-1]}-{coding}"'


def etags(etag: str) -> tuple[str, ...]:
    """The entity tags of the representation in every coding; a condition may name any."""
    return (etag, *(coded_etag(etag, coding) for coding in _CODINGS))


def coding_headers(coding: str | None, etag: str | None = None) -> dict[str, str]:
    """The header fields of a response that `encode` has seen, coded or not."""
    headers = {"Vary": "Accept-Encoding"}
    if coding is not None:
        headers["Content-Encoding"] = coding
    if etag is not None:
        headers["ETag"] = coded_etag(etag, coding)
    return headers


def _compress(body: bytes, coding: str) -> bytes:
    if coding == ZSTD:
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
    # without mtime=0 the bytes differ from second to second
    compressed: bytes = igzip.compress(body, _GZIP_LEVEL, mtime=0)
    return compressed


def _weights(accept_encoding: str | None) -> dict[str, int]:
    if not accept_encoding or len(accept_encoding) > _MAX_ACCEPT_ENCODING:
        return {}
    weights: dict[str, int] = {}
    for element in split_outside_quotes(accept_encoding, ","):
        name, *parameters = (text.strip(" \t").lower() for text in element.split(";"))
        q = next((text[2:].strip(" \t") for text in parameters if text.startswith("q=")), None)
        weights[name.removeprefix("x-")] = thousandths(q)
    return weights


def _weight(coding: str, weights: dict[str, int]) -> int:
    return weights.get(coding, weights.get("*", 0))
