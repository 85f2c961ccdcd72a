"""Content codings: which bodies, which coding, and the tags that keep them apart."""

import gzip

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicomweb.byte_ranges import first_match
from bfr_dicomweb.dicomweb.compression import (
    OFF_LOOP_BYTES,
    SMALLEST_BYTES,
    coded_etag,
    coding_for,
    coding_headers,
    encode,
    encode_off_loop,
    etags,
)

BODY = b'{"vr":"UI","Value":["1.2.840.10008.1.2.1"]},' * 100


def decoded(body: bytes, coding: str | None) -> bytes:
    match coding:
        case "gzip":
            return gzip.decompress(body)
        case "zstd":
            return zstandard.ZstdDecompressor().decompress(body)
        case _:
            return body


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "gzip"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP;Q=0.5", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("gzip;q=0.2, zstd;q=0.1", "gzip"),
        ("*;q=0.1, gzip", "gzip"),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000, zstd; q=0", None),
        ("*;q=0", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0, gzip;q=0.5", "gzip"),
        ("deflate, br", None),
        ("", None),
        (None, None),
        ("gzip," * 1000, None),
    ],
)
def test_the_coding_is_the_best_that_the_client_prefers(
    accept_encoding: str | None, coding: str | None
) -> None:
    assert coding_for(accept_encoding) == coding


@pytest.mark.parametrize("accept_encoding", ["gzip", "zstd", "br"])
def test_the_coded_body_is_the_body(accept_encoding: str) -> None:
    assert decoded(*encode(BODY, accept_encoding)) == BODY


@pytest.mark.parametrize("accept_encoding", ["gzip", "zstd"])
def test_text_becomes_smaller(accept_encoding: str) -> None:
    assert len(encode(BODY, accept_encoding)[0]) < len(BODY) / 5


def test_a_small_body_is_left_alone() -> None:
    body = b"x" * (SMALLEST_BYTES - 1)
    assert encode(body, "gzip") == (body, None)


def test_the_gzip_header_holds_no_time() -> None:
    # so that equal bodies have equal bytes, as a strong entity tag promises
    assert encode(BODY, "gzip")[0][4:8] == b"\0\0\0\0"


@pytest.mark.parametrize("size", [len(BODY), OFF_LOOP_BYTES])
async def test_off_the_loop_the_result_is_the_same(size: int) -> None:
    body = (BODY * (size // len(BODY) + 1))[:size]
    assert await encode_off_loop(body, "gzip") == encode(body, "gzip")


def test_every_coding_has_its_own_entity_tag() -> None:
    assert etags('"7"') == ('"7"', '"7-zstd"', '"7-gzip"')


@pytest.mark.parametrize("coding", [None, "gzip", "zstd"])
def test_the_entity_tag_of_any_coding_is_recognised(coding: str | None) -> None:
    sent = coded_etag('"7"', coding)
    assert first_match(sent, etags('"7"')) == sent


def test_a_coded_response_names_its_coding_and_tag() -> None:
    assert coding_headers("gzip", '"7"') == {
        "Vary": "Accept-Encoding",
        "Content-Encoding": "gzip",
        "ETag": '"7-gzip"',
    }


def test_an_uncoded_response_varies_too() -> None:
    assert coding_headers(None) == {"Vary": "Accept-Encoding"}


@given(accept_encoding=st.text())
def test_any_accept_encoding_gives_a_coding_or_none(accept_encoding: str) -> None:
    assert coding_for(accept_encoding) in ("gzip", "zstd", None)
