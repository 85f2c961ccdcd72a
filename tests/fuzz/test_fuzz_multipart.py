"""Any bytes in any chunking: the same parts as a reference that sees all at once, or our error."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bfr_dicomweb.dicomweb.multipart import (
    MAX_PADDING,
    PART_END,
    MultipartLimits,
    MultipartReader,
    PartBegin,
    PartData,
    PartEnd,
    closing,
    part_header,
)
from bfr_dicomweb.errors import InvalidMultipart

# About 4 s of CI; hours when BFR_TEST_FUZZ_SECONDS says so.
EXAMPLES = int(float(os.environ.get("BFR_TEST_FUZZ_SECONDS", "4")) * 150)
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)

BOUNDARY = "b-"
LIMITS = MultipartLimits(preamble_bytes=40, parts=4, header_bytes=60, headers=3)
HELD_IN_CONTENT = len(f"\r\n--{BOUNDARY}") + MAX_PADDING + 1

PIECES = st.one_of(
    st.sampled_from([b"--b-", b"\r\n--b-", b"\n--b-", b"--b---", b"\r\n", b"\n", b"\r", b"--"]),
    st.sampled_from([b"\r\n\r\n", b"A: 1\r\n\r\n", b"A:", b"A: 1\r\nB: 2", b" ", b"\t", b" " * 33]),
    st.sampled_from([b"data", b"b-", b"\0", b":", b"\xe5"]),
    st.binary(max_size=12),
)
DATA = st.lists(PIECES, max_size=5).map(b"".join)
PARTS = st.tuples(
    st.sampled_from([b"\r\n--b-\r\n", b"\n--b- \t\n", b"\n--b-" + b" " * 64 + b"\n", b"--b-\n"]),
    st.sampled_from([b"", b"A: 1\r\n", b"A:\t1 \nB:2\n", b"A: 1\r\n 2\n", b"A", b"A" * 60]),
    st.sampled_from([b"\r\n", b"\n"]),
    DATA,
).map(b"".join)
NEARLY_WELL_FORMED = st.tuples(
    st.one_of(st.just(b""), DATA),
    st.lists(PARTS, min_size=1, max_size=5).map(b"".join),
    st.sampled_from([b"\r\n--b---", b"\n--b---\r\n", b"\r\n--b-", b"--b---"]),
    st.one_of(st.just(b""), DATA),
).map(b"".join)
BODIES = st.one_of(st.lists(PIECES, max_size=30).map(b"".join), NEARLY_WELL_FORMED)
CUTS = st.lists(st.integers(1, 20), min_size=1, max_size=8)

Parts = list[tuple[dict[str, str], bytes]]


def chunks(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    place, turn = 0, 0
    while place < len(body):
        size = cuts[turn % len(cuts)]
        yield body[place : place + size]
        place, turn = place + size, turn + 1


def pushed(body: bytes, cuts: list[int]) -> Parts | None:
    """What the reader finds, None when it refuses; its promises are asserted on the way."""
    reader = MultipartReader(BOUNDARY, limits=LIMITS)
    parts: Parts = []
    is_open = False
    try:
        for chunk in chunks(body, cuts):
            for event in reader.feed(chunk):
                match event:
                    case PartBegin(headers):
                        assert not is_open
                        is_open = True
                        parts.append((dict(headers), b""))
                    case PartData(data):
                        assert is_open
                        assert len(data) > 0
                        parts[-1] = (parts[-1][0], parts[-1][1] + data)
                    case PartEnd():
                        assert is_open
                        is_open = False
            assert reader.held_bytes <= max(HELD_IN_CONTENT, LIMITS.header_bytes)
        reader.close()
    except InvalidMultipart:
        return None
    assert not is_open
    return parts


DELIMITER = re.compile(rb"\r?\n--b-(?:(--)|[ \t]{0,64}\r?\n)")
FIRST_DELIMITER = re.compile(rb"(?:\r?\n|\A)--b-(?:(--)|[ \t]{0,64}\r?\n)")
# white space around the colon and at the end of the line, and folding, as RFC 822 has it
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:([^\x00-\x08\x0a-\x1f\x7f]*)")


def fields(block: bytes) -> dict[str, str] | None:
    lines = re.sub(rb"\r?\n[ \t]+", b" ", block).split(b"\n") if block else []
    found = [FIELD.fullmatch(line.removesuffix(b"\r")) for line in lines]
    if len(found) > LIMITS.headers:
        return None
    headers: dict[str, str] = {}
    for field in found:
        if field is None:
            return None
        value = field[2].strip(b" \t").decode("utf-8", "replace")
        headers.setdefault(field[1].decode().lower(), value)
    return headers


def at_once(body: bytes) -> Parts | None:
    """The same grammar on the whole body, by regular expressions, part after part."""
    delimiter = FIRST_DELIMITER.search(body)
    if delimiter is None or delimiter.start() > LIMITS.preamble_bytes:
        return None
    parts: Parts = []
    while delimiter is not None and not delimiter[1]:
        rest = body[delimiter.end() :]
        blank = re.search(rb"(?:\A|\n)(\r?\n)", rest)
        if blank is None or blank.start() + 1 > LIMITS.header_bytes or len(parts) == LIMITS.parts:
            return None
        headers = fields(rest[: blank.start()])
        if headers is None:
            return None
        body = rest[blank.end() :]
        # the blank line may be the line end in front of the next delimiter
        delimiter = FIRST_DELIMITER.match(body) or DELIMITER.search(body)
        if delimiter is not None:
            parts.append((headers, body[: delimiter.start()]))
    return parts if delimiter is not None and parts else None


@FUZZ
@given(body=BODIES, cuts=CUTS)
def test_any_bytes_in_any_chunks_give_the_parts_of_the_reference(
    body: bytes, cuts: list[int]
) -> None:
    assert pushed(body, cuts) == at_once(body)


@FUZZ
@given(
    data=st.lists(st.lists(PIECES, max_size=6).map(b"".join), min_size=1, max_size=4),
    cuts=CUTS,
)
def test_data_that_holds_no_delimiter_is_read_as_it_was_written(
    data: list[bytes], cuts: list[int]
) -> None:
    data = [part for part in data if FIRST_DELIMITER.search(part + b"\r\n") is None] or [b""]
    header = part_header(BOUNDARY, "application/dicom")
    body = b"".join(header + part + PART_END for part in data) + closing(BOUNDARY)
    parts = pushed(body, cuts)
    assert parts is not None
    assert [part for _, part in parts] == data


@FUZZ
@given(
    body=st.binary(max_size=300), cuts=CUTS, boundary=st.text("ab-=:+ '", min_size=1, max_size=9)
)
def test_any_boundary_gives_events_or_our_error(
    body: bytes, cuts: list[int], boundary: str
) -> None:
    reader = MultipartReader(boundary)
    with suppress(InvalidMultipart):
        for chunk in chunks(b"--" + boundary.encode() + b"\r\n\r\n" + body, cuts):
            reader.feed(chunk)
        reader.close()
