"""Any bytes give a Header that JSON can say, or InvalidObject; nothing else, and soon."""

import os
import struct
import time
from contextlib import suppress
from itertools import chain
from typing import Any

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bfr_dicomweb.dicom.part10 import Header, Limits, read_header
from bfr_dicomweb.errors import InvalidObject
from part10_bytes import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ITEM_END,
    JPEG,
    LONG,
    RLE,
    SEQUENCE_END,
    UNDEFINED,
    encapsulated,
    explicit,
    image,
    implicit,
    item,
    part10,
)
from shared_data import dicom_files

# About 5 s of CI; hours when BFR_TEST_FUZZ_SECONDS says so.
EXAMPLES = int(float(os.environ.get("BFR_TEST_FUZZ_SECONDS", "5")) * 100)
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
LIMITS = Limits(elements=20_000, items=5_000, value_bytes=1 << 20, inflated_bytes=1 << 20)

SYNTAXES = st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, JPEG, RLE])
IMAGE_TAGS = (0x00280008, 0x00280010, 0x00280103, 0x00280106, 0x00283006, 0x7FE00001, 0x7FE00010)
OTHER_TAGS = (0x00080005, 0x00080018, 0x00081110, 0x00091001, 0x00100010, 0x54001010, 0xFFFEE000)
TAGS = st.sampled_from(IMAGE_TAGS + OTHER_TAGS)
VRS = st.sampled_from(
    [*LONG, "AE", "AT", "CS", "DS", "FD", "IS", "LO", "PN", "UI", "US", "??", "ZZ"]
)
LENGTHS = st.one_of(st.none(), st.sampled_from([0, 1, 2, 8, 0xFFFE, UNDEFINED]))
TEXTS = st.sampled_from(
    [b"ISO_IR 192", b"\\ISO 2022 IR 87", b"1.5\\1e999", b"A^B=\x1b$B;3", b"\xff\0"]
)
VALUES = st.one_of(st.binary(max_size=24), TEXTS)


def _explicit(tag: int, vr: str, value: bytes, length: int | None) -> bytes:
    largest = UNDEFINED if vr in LONG else 0xFFFF
    return explicit(tag, vr, value, length=None if length is None else min(length, largest))


def _implicit(tag: int, value: bytes, length: int | None) -> bytes:
    return implicit(tag, value, length=length)


ELEMENTS = st.one_of(
    st.builds(_explicit, TAGS, VRS, VALUES, LENGTHS),
    st.builds(
        lambda tag, value, length: implicit(tag, value, length=length), TAGS, VALUES, LENGTHS
    ),
    st.sampled_from([item(), item(delimited=True), ITEM_END, SEQUENCE_END, image(frames=2)]),
    st.lists(VALUES, max_size=4).map(lambda fragments: encapsulated(*fragments)),
)
DATA_SETS = st.recursive(
    st.lists(ELEMENTS, max_size=6).map(b"".join),
    lambda inner: st.lists(inner, max_size=3).map(
        lambda items: explicit(
            0x00081110,
            "SQ",
            b"".join(item(one, delimited=True) for one in items) + SEQUENCE_END,
            length=UNDEFINED,
        )
    ),
    max_leaves=8,
)


def is_header_or_refused(file: bytes) -> None:
    started = time.process_time()
    with suppress(InvalidObject):
        is_sound(read_header(file, limits=LIMITS), len(file))
    assert time.process_time() - started < 5


def is_sound(header: Header, size: int) -> None:
    """What every reader of a header relies on."""
    document = orjson.dumps([header.file_meta, header.attributes])
    assert document.count(b"\\u0000") == document.count(b'"BulkDataURI":"\\u0000/bulkdata/')
    assert sorted(value.path for value in header.bulk) == sorted(bulk_paths(header.attributes))
    end = LIMITS.inflated_bytes if header.deflated else size
    assert all(0 <= value.offset <= value.offset + value.length <= end for value in header.bulk)
    assert list(header.attributes) == sorted(header.attributes)
    frames = header.frames
    if frames is not None:
        assert frames.number_of_frames > 0
        assert len(frames.spans) in {0, 16 * frames.number_of_frames}
        spans = struct.unpack(f"<{len(frames.spans) // 8}Q", frames.spans)
        assert list(spans) == sorted(spans)
        assert frames.offset * 8 + frames.frame_bits * frames.number_of_frames <= end * 8


def bulk_paths(attributes: dict[str, Any], path: str = "") -> list[str]:
    here = [path + key for key, element in attributes.items() if "BulkDataURI" in element]
    nested = (
        bulk_paths(one, f"{path}{key}/{number}/")
        for key, element in attributes.items()
        if element["vr"] == "SQ"
        for number, one in enumerate(element.get("Value", ()), 1)
    )
    return [*here, *chain.from_iterable(nested)]


@FUZZ
@given(tail=st.binary(max_size=300), syntax=SYNTAXES)
def test_any_data_set(tail: bytes, syntax: str) -> None:
    is_header_or_refused(part10(tail, syntax))


@FUZZ
@given(data_set=DATA_SETS, syntax=SYNTAXES, cut=st.integers(0, 12))
@example(data_set=explicit(0x00081110, "SQ", item()) * 50, syntax=EXPLICIT, cut=0)
def test_any_elements(data_set: bytes, syntax: str, cut: int) -> None:
    is_header_or_refused(part10(data_set[: len(data_set) - cut], syntax))


@FUZZ
@given(file=st.binary(max_size=300), prefixed=st.booleans())
def test_any_file(file: bytes, prefixed: bool) -> None:
    is_header_or_refused(bytes(128) + b"DICM" + file if prefixed else file)


# Real headers where they are, else one of our own; large ones would only be slow.
SEEDS = [
    *(path.read_bytes() for path in dicom_files() if path.stat().st_size < 12_000),
    part10(image(frames=2) + encapsulated(b"\xff\xd8\xff\xd9", b"ab", b"cd"), JPEG),
]
EDITS = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8)


@FUZZ
@given(seed=st.sampled_from(SEEDS), edits=EDITS, cut=st.integers(0, 4000))
def test_any_damage_to_a_real_file(seed: bytes, edits: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(seed[: len(seed) - cut] if cut % 4 == 0 else seed)
    for place, value in edits:
        if damaged:
            damaged[(132 + place) % len(damaged)] = value
    is_header_or_refused(bytes(damaged))
