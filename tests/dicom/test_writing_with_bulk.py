"""Data sets that are written with bulk data beside them, and metadata that can be written."""

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from bfr_dicomweb.dicom import frames, json_model
from bfr_dicomweb.dicom.data_sets import BulkContent, Piece, Span, encode_with_bulk, size_of
from bfr_dicomweb.dicom.frames import Frames
from bfr_dicomweb.dicom.part10 import read_header, write_file_meta
from bfr_dicomweb.errors import ArchiveError, InvalidDataset, TooLarge

EXPLICIT = "1.2.840.10008.1.2.1"
SOURCE = b"<<0123456789abcdefghij>>"


def file_of(pieces: list[Piece], source: bytes = SOURCE) -> bytes:
    told = (one if isinstance(one, bytes) else source[one.start : one.stop] for one in pieces)
    return write_file_meta({"00020010": EXPLICIT}) + b"".join(told)


def test_bulk_data_stands_where_its_reference_was() -> None:
    attributes = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A"}]},
        "00420011": {"vr": "OB", "BulkDataURI": "b"},
    }
    pieces = encode_with_bulk(attributes, {"b": BulkContent((Span(2, 12), Span(12, 15)))})
    found = dcmread(io.BytesIO(file_of(pieces)))
    assert found.EncapsulatedDocument == b"0123456789abc\0"


def test_bulk_data_in_sequences_is_counted_in_their_lengths() -> None:
    item = {"56000020": {"vr": "OF", "BulkDataURI": "b"}, "00080100": {"vr": "SH", "Value": ["1"]}}
    attributes = {
        "00420013": {"vr": "SQ", "Value": [item, {}]},
        "00420014": {"vr": "LO", "Value": ["behind"]},
    }
    pieces = encode_with_bulk(attributes, {"b": BulkContent((Span(2, 10),))})
    found = dcmread(io.BytesIO(file_of(pieces)))
    assert found[0x00420013][0][0x56000020].value == b"01234567"
    assert found[0x00420014].value == "behind"


@pytest.mark.parametrize(
    ("text", "declared"), [("plain", None), ("Å", "ISO_IR 192")], ids=["ASCII", "beyond"]
)
def test_a_character_set_is_declared_where_it_is_needed(text: str, declared: str | None) -> None:
    attributes = {"00100020": {"vr": "LO", "Value": [text]}}
    found = dcmread(io.BytesIO(file_of(encode_with_bulk(attributes, {}))))
    assert (found.PatientID, found.get("SpecificCharacterSet")) == (text, declared)


def test_a_value_that_is_too_long_to_be_told_is_refused() -> None:
    attributes = {"7FE00010": {"vr": "OW", "BulkDataURI": "b"}}
    with pytest.raises(TooLarge):
        encode_with_bulk(attributes, {"b": BulkContent((Span(0, 1 << 32),))})


def test_a_span_has_a_size_without_being_read() -> None:
    assert size_of(Span(10, 1 << 40)) == (1 << 40) - 10


# --- padding ---------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=40))
def test_spans_without_padding_are_as_long_as_the_frames(sizes: list[int]) -> None:
    spans, position = b"", 100
    for size in sizes:
        stop = position + 8 + size + size % 2
        spans += struct.pack("<QQ", position, stop)
        position = stop
    table = Frames("7FE00010", len(sizes), 0, 0, spans)
    found = frames.without_padding(table, frames.padding_record(sizes))
    assert [found.span(n)[1] - found.span(n)[0] - 8 for n in range(len(sizes))] == sizes


def test_frames_that_are_all_even_need_no_record() -> None:
    assert frames.padding_record([2, 4, 6]) == b""


@pytest.mark.parametrize("record", [b"\xff" * 100, b"\xff"])
def test_a_record_of_more_frames_than_there_are_is_harmless(record: bytes) -> None:
    table = Frames("7FE00010", 1, 0, 0, struct.pack("<QQ", 0, 8))
    assert frames.without_padding(table, record).span(0) == (0, 7)


@pytest.mark.parametrize("length", ["3", 5, None, -1])
def test_a_length_of_a_document_that_is_senseless_changes_nothing(length: Any) -> None:
    vr = "LO" if isinstance(length, str) else "SL"
    attributes = {
        "00420011": {"vr": "OB", "InlineBinary": "AAAA"},
        "00420015": {"vr": vr, "Value": [length]} if length is not None else {"vr": vr},
    }
    found = read_header(file_of(encode_with_bulk(attributes, {})))
    assert found.attributes["00420011"]["InlineBinary"] == "AAAAAA=="[:4] + "AA=="


# --- metadata that can be written ------------------------------------------------------------


def writable(dataset: dict[str, Any]) -> dict[str, Any]:
    return json_model.writable(dataset, max_elements=100)


@pytest.mark.parametrize(
    "element",
    [
        {"vr": "LO", "Value": ["x" * 100]},
        {"vr": "CS", "Value": ["lower case"]},
        {"vr": "DA", "Value": ["2024-01-15"]},
        {"vr": "UI", "Value": ["no UID"]},
        {"vr": "DS", "Value": ["about 3"]},
    ],
)
def test_poor_values_are_kept(element: dict[str, Any]) -> None:
    assert writable({"00100020": element})["00100020"] == element


@pytest.mark.parametrize(
    ("value", "vr", "kept"),
    [("7", "US", 7), (2.0, "US", 2), (str(2**63), "UV", 2**63), ("1.5", "FD", 1.5), (3, "FL", 3.0)],
)
def test_numbers_become_those_of_their_vr(value: Any, vr: str, kept: Any) -> None:
    assert writable({"00091001": {"vr": vr, "Value": [value]}})["00091001"]["Value"] == [kept]


@pytest.mark.parametrize(
    "element",
    [
        {"vr": "US", "Value": [65536]},
        {"vr": "US", "Value": [-1]},
        {"vr": "US", "Value": [1.5]},
        {"vr": "US", "Value": [None]},
        {"vr": "US", "Value": [True]},
        {"vr": "US", "Value": ["x"]},
        {"vr": "FL", "Value": [1e300]},
        {"vr": "AT", "Value": ["PatientID"]},
        {"vr": "AT", "Value": [None]},
        {"vr": "OB", "Value": [1]},
        {"vr": "OB", "InlineBinary": "not base64!"},
        {"vr": "OB", "InlineBinary": 7},
        {"vr": "OB", "InlineBinary": "AAAA", "BulkDataURI": "b"},
        {"vr": "SQ", "BulkDataURI": "b"},
        {"vr": "SQ", "Value": ["x"]},
        {"vr": "LO", "Value": ["a\0b"]},
        {"vr": "LO", "Value": [7]},
        {"vr": "PN", "Value": ["text"]},
        {"vr": "XX", "Value": ["text"]},
        {"vr": 7, "Value": ["text"]},
        {"vr": ["LO"]},
        {"Value": "text"},
        [],
        None,
    ],
    ids=repr,
)
def test_what_cannot_be_written_is_refused(element: Any) -> None:
    with pytest.raises(InvalidDataset):
        writable({"00091001": element})


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)
VRS = st.sampled_from(
    ("AT", "DA", "DS", "FD", "FL", "IS", "LO", "OB", "OW", "PN", "SL", "SQ", "US", "")
)
ELEMENTS = st.fixed_dictionaries(
    {"vr": VRS},
    optional={
        "Value": st.lists(JSONS, max_size=3) | JSONS,
        "InlineBinary": st.sampled_from(["", "AAAA", "A", "?"]) | JSONS,
    },
)


@given(st.dictionaries(st.sampled_from(["00091001", "00100010", "00280010"]), ELEMENTS))
def test_what_is_writable_can_be_written(dataset: dict[str, Any]) -> None:
    try:
        found = writable(dataset)
    except ArchiveError:
        return
    encode_with_bulk(found, {})
