"""Range requests and conditions (RFC 9110 sections 13 and 14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicomweb.byte_ranges import (
    MAX_RANGES,
    PART_OVERHEAD_BYTES,
    ByteRange,
    first_match,
    not_modified,
    requested,
)
from bfr_dicomweb.errors import RangeNotSatisfiable

ETAG = '"7"'


def spans(header: str | None, size: int = 10_000, if_range: str | None = None) -> list[str] | None:
    ranges = requested(header, if_range, ETAG, size)
    return None if ranges is None else [f"{one.start}-{one.stop - 1}" for one in ranges]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # the examples of RFC 9110 section 14.1.2, on 10,000 bytes
        ("bytes=0-499", ["0-499"]),
        ("bytes=500-999", ["500-999"]),
        ("bytes=-500", ["9500-9999"]),
        ("bytes=9500-", ["9500-9999"]),
        ("bytes=0-0,-1", ["0-0", "9999-9999"]),
        ("bytes= 0-999, 4500-5499, -1000", ["0-999", "4500-5499", "9000-9999"]),
        ("bytes=500-600,601-999", ["500-999"]),
        ("bytes=500-700,601-999", ["500-999"]),
        # a video element
        ("bytes=0-", ["0-9999"]),
        ("bytes=0-99999", ["0-9999"]),
        ("bytes=-99999", ["0-9999"]),
        ("BYTES=0-1", ["0-1"]),
        ("bytes=007-0008", ["7-8"]),
        ("bytes=0-" + "9" * 500, ["0-9999"]),
        ("bytes=1-1,,", ["1-1"]),
        ("bytes=5000-5001,0-1", ["5000-5001", "0-1"]),
        ("bytes=0-1,20000-", ["0-1"]),
    ],
)
def test_the_bytes_that_were_asked_for_are_sent(header: str, expected: list[str]) -> None:
    assert spans(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=2-1",
        "bytes=0-1,x",
        "bytes=0--1",
        "bytes=\u0661-\u0662",
        "items=0-1",
        "0-1",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 10_000, 500)),
        "bytes=0-" + "9" * 2000,
    ],
)
def test_what_is_malformed_or_too_much_gets_the_whole(header: str | None) -> None:
    assert spans(header) is None


@pytest.mark.parametrize("header", ["bytes=10000-", "bytes=-0", "bytes=10000-10001,99999-"])
def test_a_range_without_a_byte_is_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        spans(header)
    assert raised.value.size_bytes == 10_000


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1"])
def test_no_range_of_nothing_is_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        spans(header, size=0)


@pytest.mark.parametrize("if_range", [None, ETAG, f" {ETAG}"])
def test_the_range_is_sent_while_the_entity_tag_is_the_same(if_range: str | None) -> None:
    assert spans("bytes=0-0", if_range=if_range) == ["0-0"]


@pytest.mark.parametrize("if_range", ['"8"', 'W/"7"', "7", "Tue, 15 Nov 1994 12:45:26 GMT", ""])
def test_the_whole_is_sent_when_the_entity_tag_is_another(if_range: str) -> None:
    assert spans("bytes=0-0", if_range=if_range) is None


def test_an_unsatisfiable_range_of_another_version_gets_the_whole() -> None:
    assert spans("bytes=99999-", if_range='"8"') is None


def test_content_range_counts_both_ends() -> None:
    assert ByteRange(0, 500).content_range(1234) == "bytes 0-499/1234"


SIZE = st.integers(1, 2000)
POSITION = st.integers(0, 2500)
SPECS = st.one_of(
    st.tuples(POSITION, POSITION).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    POSITION.map(lambda first: f"{first}-"),
    POSITION.map(lambda length: f"-{length}"),
)


def bytes_of(spec: str, size: int) -> set[int]:
    first, last = spec.split("-")
    if not first:
        return set(range(size)[max(0, size - int(last)) :])
    return set(range(size)[int(first) : int(last) + 1 if last else None])


@given(spec=SPECS, size=SIZE)
def test_one_range_is_exactly_its_bytes(spec: str, size: int) -> None:
    try:
        [found] = requested(f"bytes={spec}", None, ETAG, size) or ()
    except RangeNotSatisfiable:
        assert not bytes_of(spec, size)
    else:
        assert set(range(found.start, found.stop)) == bytes_of(spec, size)


@given(specs=st.lists(SPECS, min_size=1, max_size=MAX_RANGES), size=SIZE)
def test_many_ranges_send_no_byte_twice_and_leave_none_out(specs: list[str], size: int) -> None:
    wanted = set().union(*(bytes_of(spec, size) for spec in specs))
    if not wanted:
        return
    ranges = requested("bytes=" + ",".join(specs), None, ETAG, size) or ()
    sent = [place for one in ranges for place in range(one.start, one.stop)]
    assert len(sent) == len(set(sent))
    assert wanted <= set(sent)
    assert len(sent) <= len(wanted) + len(specs) * PART_OVERHEAD_BYTES


@pytest.mark.parametrize(
    "if_none_match", ['"7"', 'W/"7"', '"1", "7"', '"1",W/"7" , "9"', "*", " * ", '"a,b","7"']
)
def test_what_the_client_has_is_not_modified(if_none_match: str) -> None:
    assert not_modified(if_none_match, ETAG)


@pytest.mark.parametrize("if_none_match", [None, "", '"70"', "7", '"8"', "'7'", '"', 'W/7, "77"'])
def test_what_the_client_has_not_is_modified(if_none_match: str | None) -> None:
    assert not not_modified(if_none_match, ETAG)


def test_a_weak_entity_tag_of_ours_is_compared_weakly() -> None:
    assert not_modified('"7"', 'W/"7"')


def test_the_entity_tag_that_the_client_has_is_found_among_the_codings() -> None:
    assert first_match('"7-gzip"', ('"7"', '"7-zstd"', '"7-gzip"')) == '"7-gzip"'
