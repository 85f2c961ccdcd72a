"""Where the frames lie, on pixel data written byte by byte."""

import struct

import pytest

from bfr_dicomweb.dicom.frames import join_fragments
from bfr_dicomweb.dicom.part10 import Frames, frame_count, read_header
from bfr_dicomweb.errors import InvalidObject
from part10_bytes import (
    EXPLICIT,
    JPEG,
    MPEG4,
    RLE,
    SEQUENCE_END,
    UNDEFINED,
    encapsulated,
    explicit,
    image,
    item,
    part10,
)

START, MIDDLE, END = b"\xff\xd8\xff\xe0..", b"......", b"....\xff\xd9"
RLE_HEAD = struct.pack("<16I", 1, 64, *[0] * 14)


def table(*offsets: int) -> bytes:
    return struct.pack(f"<{len(offsets)}I", *offsets)


def frames_of(file: bytes) -> Frames:
    frames = read_header(file).frames
    assert frames is not None
    return frames


def encoded(file: bytes) -> list[bytes]:
    frames = frames_of(file)
    return [
        join_fragments(file[slice(*frames.span(index))]) for index in range(frames.number_of_frames)
    ]


def codes(file: bytes) -> list[str]:
    return [finding.code for finding in read_header(file).findings]


def a_file(*fragments: bytes, frames: int, offsets: bytes = b"", syntax: str = JPEG) -> bytes:
    return part10(image(frames=frames) + encapsulated(*fragments, table=offsets), syntax)


def test_a_data_set_without_pixel_data_has_no_frames() -> None:
    assert read_header(part10(image())).frames is None


def test_empty_pixel_data_has_no_frames() -> None:
    assert read_header(part10(image() + explicit(0x7FE00010, "OB"))).frames is None


def test_native_frames_begin_with_the_value_and_follow_each_other() -> None:
    file = part10(image(frames=3, bits=16) + explicit(0x7FE00010, "OW", bytes(24)))

    assert frames_of(file) == Frames("7FE00010", 3, len(file) - 24, 64, b"")


def test_one_bit_frames_need_not_be_whole_bytes() -> None:
    pixels = explicit(0x7FE00010, "OB", bytes(32))

    frames = frames_of(part10(image(frames=3, rows=9, columns=9, bits=1) + pixels))

    assert (frames.number_of_frames, frames.frame_bits) == (3, 81)


@pytest.mark.parametrize(("tag", "vr", "bits"), [(0x7FE00008, "OF", 32), (0x7FE00009, "OD", 64)])
def test_float_pixel_data_has_frames_too(tag: int, vr: str, bits: int) -> None:
    frames = frames_of(part10(image(bits=bits) + explicit(tag, vr, bytes(bits // 2))))

    assert (frames.tag, frames.frame_bits) == (f"{tag:08X}", bits * 4)


@pytest.mark.parametrize(("stored_bytes", "frame_bits"), [(8, 64), (12, 96)])
def test_shared_chroma_is_counted_once_unless_every_sample_is_stored(
    stored_bytes: int, frame_bits: int
) -> None:
    interpretation = explicit(0x00280004, "CS", b"YBR_FULL_422")
    data_set = image(samples=3)
    data_set = data_set[:10] + interpretation + data_set[10:]

    frames = frames_of(part10(data_set + explicit(0x7FE00010, "OB", bytes(stored_bytes))))

    assert frames.frame_bits == frame_bits


def test_only_whole_native_frames_count() -> None:
    file = part10(image(frames=3) + explicit(0x7FE00010, "OB", bytes(10)))

    assert frames_of(file).number_of_frames == 2
    assert codes(file) == ["pixel-data-too-short"]


@pytest.mark.parametrize("data_set", [image(rows=0), b"", image(rows=65535)])
def test_native_frames_of_no_known_size_cannot_be_told_apart(data_set: bytes) -> None:
    file = part10(data_set + explicit(0x7FE00010, "OB", bytes(10)))

    assert frames_of(file).frame_bits == 0
    assert len(codes(file)) == 1


def test_one_fragment_per_frame_needs_no_table() -> None:
    assert encoded(a_file(b"one1", b"two2", frames=2)) == [b"one1", b"two2"]


def test_all_fragments_of_a_single_frame_are_joined() -> None:
    assert encoded(a_file(START, MIDDLE, END, frames=1)) == [START + MIDDLE + END]


def test_an_absent_number_of_frames_means_one() -> None:
    assert encoded(part10(image() + encapsulated(b"a1", b"b2"), JPEG)) == [b"a1b2"]


def test_a_basic_offset_table_tells_frames_of_several_fragments_apart() -> None:
    file = a_file(b"ab", b"cd", b"ef", frames=2, offsets=table(0, 20))

    assert encoded(file) == [b"abcd", b"ef"]
    assert codes(file) == []


def test_an_extended_offset_table_does_so_too() -> None:
    tables = explicit(0x7FE00001, "OV", struct.pack("<2Q", 0, 20)) + explicit(
        0x7FE00002, "OV", struct.pack("<2Q", 4, 2)
    )
    file = part10(image(frames=2) + tables + encapsulated(b"ab", b"cd", b"ef"), JPEG)

    assert encoded(file) == [b"abcd", b"ef"]


def test_a_large_extended_offset_table_is_read_although_it_is_bulk() -> None:
    tables = explicit(0x7FE00001, "OV", struct.pack("<200Q", *range(0, 4000, 20)))
    fragments = [b"ab", b"cd"] * 200
    file = part10(image(frames=200) + tables + encapsulated(*fragments), JPEG)

    assert encoded(file) == [b"abcd"] * 200


@pytest.mark.parametrize(
    "offsets", [table(0, 13), table(0), table(4, 20), table(20, 0), table(0, 0), b"\0\0\0\0\x14"]
)
def test_a_wrong_table_is_found_and_the_images_are_recognised(offsets: bytes) -> None:
    file = a_file(START, END, START + END, frames=2, offsets=offsets)

    assert encoded(file) == [START + END, START + END]
    assert codes(file) == ["wrong-basic-offset-table"]


def test_rle_frames_are_recognised_by_their_headers() -> None:
    file = a_file(RLE_HEAD + b"ab", b"cd", RLE_HEAD + b"ef", frames=2, syntax=RLE)

    assert encoded(file) == [RLE_HEAD + b"abcd", RLE_HEAD + b"ef"]


@pytest.mark.parametrize("fragments", [[b"ab"], [b"ab", b"cd", b"ef"], []])
def test_frames_that_cannot_be_told_apart_are_found(fragments: list[bytes]) -> None:
    file = a_file(*fragments, frames=2)

    assert frames_of(file) == Frames("7FE00010", 2, 0, 0, b"")
    assert codes(file) == ["frames-not-found"]


def test_a_video_is_one_frame_however_it_is_cut() -> None:
    file = a_file(b"mpeg", b"stream", frames=25, syntax=MPEG4)

    assert encoded(file) == [b"mpegstream"]


def test_a_span_is_that_of_the_items_of_the_frame() -> None:
    file = a_file(b"ab", b"cd", frames=1)

    (start, stop) = frames_of(file).span(0)

    assert file[start:stop] == item(b"ab") + item(b"cd")


@pytest.mark.parametrize("frame_index", [-1, 1])
def test_a_frame_that_is_not_there_has_no_span(frame_index: int) -> None:
    with pytest.raises(IndexError):
        frames_of(a_file(b"ab", frames=1)).span(frame_index)


def test_encapsulated_pixel_data_in_a_native_syntax_is_read_as_it_is_written() -> None:
    assert encoded(a_file(b"ab", frames=1, syntax=EXPLICIT)) == [b"ab"]


def test_native_pixel_data_in_an_encapsulated_syntax_has_no_frames_to_send() -> None:
    file = part10(image() + explicit(0x7FE00010, "OB", b"abcd"), JPEG)

    assert frames_of(file).frame_bits == 0
    assert codes(file) == ["native-pixel-data-in-encapsulated-syntax"]


def test_a_missing_sequence_delimiter_is_found() -> None:
    file = a_file(b"ab", b"cd", frames=2)

    assert encoded(file[:-8]) == [b"ab", b"cd"]
    assert codes(file[:-8]) == ["missing-sequence-delimiter"]


def test_a_sequence_delimiter_inside_of_a_fragment_is_data() -> None:
    assert encoded(a_file(SEQUENCE_END, frames=1)) == [SEQUENCE_END]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (item() + item(b"abcd")[:-2], "item 2 at byte .* has only 2 of 4 bytes"),
        (item() + b"garbage and more", "begins neither an item nor the end"),
    ],
)
def test_broken_fragments_are_refused(value: bytes, text: str) -> None:
    file = part10(image() + explicit(0x7FE00010, "OB", value, length=UNDEFINED), JPEG)

    with pytest.raises(InvalidObject, match=rf"\(7FE0,0010\).*{text}"):
        read_header(file)


@pytest.mark.parametrize(
    ("number", "expected"), [("12", 12), ("0 ", 1), ("-3", 1), ("1A", 1), ("", 1), ("3\\4 ", 3)]
)
def test_a_senseless_number_of_frames_counts_as_one(number: str, expected: int) -> None:
    data_set = explicit(0x00280008, "IS", number.encode())

    assert frame_count(read_header(part10(data_set)).attributes) == expected
