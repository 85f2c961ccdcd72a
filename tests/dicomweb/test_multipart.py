"""Multipart bodies, read as real clients write them and written as strict clients read them."""

import email.parser
import email.policy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicomweb.multipart import (
    PART_END,
    MultipartLimits,
    MultipartReader,
    PartBegin,
    PartData,
    PartEnd,
    boundary_for,
    boundary_of,
    closing,
    content_type_of,
    new_boundary,
    part_header,
)
from bfr_dicomweb.errors import InvalidMultipart, UnsupportedMediaType

Part = tuple[dict[str, str], bytes]
DICOM = {"content-type": "application/dicom"}


def read(
    body: bytes, boundary: str = "b", *, chunk: int = 0, limits: MultipartLimits | None = None
) -> list[Part]:
    reader = MultipartReader(boundary, limits=limits or MultipartLimits())
    parts: list[Part] = []
    size = chunk or max(1, len(body))
    for start in range(0, len(body), size):
        for event in reader.feed(body[start : start + size]):
            match event:
                case PartBegin(headers):
                    parts.append((dict(headers), b""))
                case PartData(data):
                    parts[-1] = (parts[-1][0], parts[-1][1] + data)
                case PartEnd():
                    pass
    reader.close()
    return parts


def body_of(*parts: bytes, boundary: str = "b") -> bytes:
    written = (part_header(boundary, "application/dicom") + part + PART_END for part in parts)
    return b"".join(written) + closing(boundary)


TWO = [(DICOM, b"one"), (DICOM, b"two")]


@pytest.mark.parametrize(
    "body",
    [
        body_of(b"one", b"two"),
        b"\r\n" + body_of(b"one", b"two"),
        b"A preamble.\r\n--a line like a delimiter\r\n" + body_of(b"one", b"two"),
        body_of(b"one", b"two").removesuffix(b"\r\n"),
        body_of(b"one", b"two").removesuffix(b"\r\n") + b"\0" * 100,
        body_of(b"one", b"two") + b"--b\r\nan epilogue with a delimiter\r\n--b--",
        body_of(b"one", b"two").replace(b"\r\n", b"\n"),
        body_of(b"one", b"two").replace(b"--b\r\n", b"--b \t \r\n"),
        body_of(b"one", b"two").replace(b"Content-Type: ", b"content-type:"),
        body_of(b"one", b"two").replace(b"Content-Type: ", b"Content-Type:\r\n "),
    ],
    ids=[
        "as written",
        "leading CRLF",
        "preamble",
        "no CRLF at the end",
        "NUL bytes after the end",
        "epilogue",
        "LF alone",
        "padding after the delimiter",
        "header without space",
        "folded header",
    ],
)
@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_what_clients_send_is_read(body: bytes, chunk: int) -> None:
    assert read(body, chunk=chunk) == TWO


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r\n--",
        b"\r\n--B\r\n",
        b"\r\n--bb\r\n",
        b"\r\n--b-x",
        b"\r\n--b x\r\n",
        b"\r\n--b\rx",
        b"\r\n--b" + b" " * 65 + b"\r\n",
        b"\r\n-\r\n--\r\n--\r\n\r\n",
        b"x" * 100_000,
    ],
)
@pytest.mark.parametrize("chunk", [0, 1, 5])
def test_data_that_resembles_a_delimiter_is_data(data: bytes, chunk: int) -> None:
    assert read(body_of(data), chunk=chunk) == [(DICOM, data)]


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_part_may_have_no_headers(chunk: int) -> None:
    assert read(b"--b\r\n\r\ndata\r\n--b--", chunk=chunk) == [({}, b"data")]


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_part_may_have_neither_headers_nor_data(chunk: int) -> None:
    assert read(b"--b\r\n\r\n--b--", chunk=chunk) == [({}, b"")]


def test_the_first_of_two_equal_headers_counts() -> None:
    assert read(b"--b\r\nA: 1\r\na: 2\r\n\r\n\r\n--b--") == [({"a": "1"}, b"")]


def test_headers_that_differ_from_part_to_part_are_kept_apart() -> None:
    body = b"--b\r\nA: 1\r\n\r\n\r\n--b\r\nA: 2\r\n\r\n\r\n--b\r\nA: 1\r\n\r\n\r\n--b--"
    assert [headers["a"] for headers, _ in read(body)] == ["1", "2", "1"]


def test_every_truncation_is_noticed() -> None:
    body = body_of(b"one", b"two").removesuffix(b"\r\n")
    for size in range(len(body)):
        with pytest.raises(InvalidMultipart):
            read(body[:size])


@pytest.mark.parametrize(
    "block",
    [
        b"no colon",
        b": no name",
        b"na me: x",
        b"name: \x00",
        b"name: a\rb",
        b" name: x",
        b"\xe5: x",
        b"name: " + b"x" * 20_000,
        b"name: x\r\n" * 65 + b"name: x",
    ],
)
@pytest.mark.parametrize("chunk", [0, 100])
def test_a_malformed_header_block_is_refused(block: bytes, chunk: int) -> None:
    with pytest.raises(InvalidMultipart, match="header"):
        read(b"--b\r\n" + block + b"\r\n\r\ndata\r\n--b--", chunk=chunk)


def test_a_header_that_never_ends_is_refused_before_the_body_does() -> None:
    reader = MultipartReader("b")
    reader.feed(b"--b\r\n")
    for _ in range(16):
        reader.feed(b"x" * 1000)
    with pytest.raises(InvalidMultipart, match="too long"):
        reader.feed(b"x" * 1000)


def test_a_preamble_that_never_ends_is_refused_before_the_body_does() -> None:
    reader = MultipartReader("b")
    for _ in range(65):
        reader.feed(b"x" * 1000)
    with pytest.raises(InvalidMultipart, match="beginning"):
        reader.feed(b"x" * 1000)


def test_more_parts_than_the_limit_are_refused() -> None:
    with pytest.raises(InvalidMultipart, match="more than 2 parts"):
        read(body_of(b"1", b"2", b"3"), limits=MultipartLimits(parts=2))


def test_a_payload_without_a_part_is_refused() -> None:
    with pytest.raises(InvalidMultipart, match="no part"):
        read(b"--b--\r\n")


def test_large_data_is_passed_on_without_a_copy() -> None:
    reader = MultipartReader("b")
    reader.feed(b"--b\r\n\r\ndata")
    chunk = b"x" * 1000
    [event] = reader.feed(chunk)
    assert isinstance(event, PartData)
    assert event.data.obj is chunk


@given(data=st.lists(st.binary(max_size=50), min_size=1, max_size=5), chunk=st.integers(1, 60))
def test_what_is_written_is_read(data: list[bytes], chunk: int) -> None:
    boundary = "f00dfeed" * 4
    parts = read(body_of(*data, boundary=boundary), boundary, chunk=chunk)
    assert [part for _, part in parts] == data


def test_the_standard_library_reads_what_is_written() -> None:
    boundary = new_boundary()
    header = f"Content-Type: {content_type_of(boundary, 'application/dicom')}\r\n\r\n"
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(header.encode() + body_of(b"one", b"two", boundary=boundary))
    assert [part.get_payload(decode=True) for part in message.iter_parts()] == [b"one", b"two"]


def test_a_part_header_has_its_fields_in_the_standards_spelling() -> None:
    content_type = "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
    header = part_header("b", content_type, "http://h/f/1", 7, content_range="bytes 0-6/9")
    assert header.split(b"\r\n") == [
        b"--b",
        b"Content-Type: image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50",
        b"Content-Location: http://h/f/1",
        b"Content-Length: 7",
        b"Content-Range: bytes 0-6/9",
        b"",
        b"",
    ]


def test_a_part_header_of_the_longest_uids_is_short_enough_for_javascript_clients() -> None:
    uid = "1." + "2" * 62
    location = f"https://{'h' * 253}/studies/{uid}/series/{uid}/instances/{uid}/frames/99999"
    content_type = f"application/octet-stream; transfer-syntax={uid}"
    assert len(part_header(new_boundary(), content_type, location, 10**12)) < 1000


def test_a_boundary_is_new_each_time() -> None:
    assert new_boundary() != new_boundary()


def test_the_boundary_of_an_entity_tag_is_the_same_each_time() -> None:
    assert boundary_for('"1"') == boundary_for('"1"')


def test_another_entity_tag_has_another_boundary() -> None:
    assert boundary_for('"1"') != boundary_for('"2"')


@pytest.mark.parametrize(
    "boundary", [new_boundary(), boundary_for('"1"')], ids=["new", "of an entity tag"]
)
def test_a_boundary_needs_no_quotes(boundary: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", boundary)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ('multipart/related; type="application/dicom"; boundary=b', ("application/dicom", "b")),
        ("multipart/related; type=application/dicom; boundary=b", ("application/dicom", "b")),
        ('Multipart/Related;boundary="a b";TYPE=Application/DICOM', ("application/dicom", "a b")),
        ("multipart/related; boundary=----=_Part:1?'()+,./", ("", "----=_Part:1?'()+,./")),
        (content_type_of("b", "application/dicom+json"), ("application/dicom+json", "b")),
    ],
)
def test_root_type_and_boundary_are_read(content_type: str, expected: tuple[str, str]) -> None:
    assert boundary_of(content_type) == expected


@pytest.mark.parametrize(
    "content_type", ["", "application/dicom", "multipart/form-data; boundary=b", "multipart", "x;"]
)
def test_another_media_type_is_not_taken(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        boundary_of(content_type)


@pytest.mark.parametrize(
    "parameter",
    [
        "",
        "boundary",
        "boundary=",
        'boundary=""',
        'boundary="a ',
        'boundary="a "',
        "boundary=å",
        "boundary=\x00",
        "boundary=" + "b" * 201,
    ],
)
def test_a_missing_or_malformed_boundary_is_refused(parameter: str) -> None:
    with pytest.raises(InvalidMultipart):
        boundary_of(f'multipart/related; type="application/dicom"; {parameter}')
