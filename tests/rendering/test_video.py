"""The fragments of a video as one file, and what it is."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.rendering import video
from bfr_dicomweb.rendering.video import FileFormat

H_264, HEVC, MPEG_2 = (f"1.2.840.10008.1.2.4.{number}" for number in ("103", "107", "100.1"))


@given(
    parts=st.lists(st.binary(max_size=9), max_size=6),
    moves=st.lists(
        st.tuples(st.integers(-5, 60), st.sampled_from([0, 1, 2]), st.integers(0, 20)), max_size=8
    ),
)
def test_fragments_read_like_the_file_that_they_are(
    parts: list[bytes], moves: list[tuple[int, int, int]]
) -> None:
    expected = io.BytesIO(b"".join(parts))
    stream = io.BufferedReader(video.FragmentsFile([memoryview(part) for part in parts]))

    for offset, whence, count in moves:
        if whence == 0 and offset < 0:
            continue
        size = len(expected.getvalue())
        target = {0: 0, 1: expected.tell(), 2: size}[whence] + offset
        if target < 0:
            continue
        assert stream.seek(target) == expected.seek(target)
        assert stream.read(count) == expected.read(count)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\0\x20ftypisom", FileFormat.MP4),
        (b"G" + bytes(187) + b"G" + bytes(187), FileFormat.TRANSPORT_STREAM),
        (b"G" + bytes(400), FileFormat.OTHER),
        (b"\0\0\x01\xba", FileFormat.OTHER),
        (b"\0\0\0\x01\x40\x01", FileFormat.OTHER),
        (b"", FileFormat.OTHER),
    ],
)
def test_the_file_format_shows_in_the_first_bytes(head: bytes, expected: FileFormat) -> None:
    assert video.file_format_of(head) is expected


@pytest.mark.parametrize(
    ("transfer_syntax", "stored_in", "expected"),
    [
        (H_264, FileFormat.MP4, {"video/mp4": True}),
        (H_264, FileFormat.TRANSPORT_STREAM, {"video/mp4": False}),
        (HEVC, FileFormat.MP4, {"video/mp4": True, "video/H265": False}),
        (HEVC, FileFormat.OTHER, {"video/mp4": False, "video/H265": True}),
        (MPEG_2, FileFormat.TRANSPORT_STREAM, {"video/mp4": False, "video/mpeg": True}),
    ],
)
def test_what_is_stored_and_what_has_to_be_made(
    transfer_syntax: str, stored_in: FileFormat, expected: dict[str, bool]
) -> None:
    assert video.forms_of(transfer_syntax, stored_in) == expected
