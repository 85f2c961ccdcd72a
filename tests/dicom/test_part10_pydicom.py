"""The same header as pydicom reads, on real files and on generated data sets."""

import base64
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from bfr_dicomweb.dicom.frames import join_fragments
from bfr_dicomweb.dicom.part10 import BulkValue, Header, read_header
from bfr_dicomweb.errors import InvalidObject
from shared_data import SHARED, dicom_files

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"

# What differs from pydicom 3.0.2 on purpose, by file and attribute ("" for all of the file).
DEVIATIONS = {
    ("SYNTHETIC_2022_58.dcm", "00100010"): "pydicom leaves the escape sequence in the text",
    ("chrGB2312.dcm", "00100010"): "pydicom leaves the escape sequence in the text",
    ("SYNTHETIC_ISO_IR_203.dcm", "00100010"): "pydicom does not know ISO_IR 203",
    ("GH1339.dcm", ""): "pydicom drops all of a file whose last delimiter is missing",
    ("emri_small_jpeg_2k_lossless_too_short.dcm", ""): "as GH1339.dcm",
    ("GH179A.dcm", ""): "a VR of NULs makes pydicom read the rest as one value",
    ("SYNTHETIC_invalid_vr_bytes.dcm", ""): "a VR ?? makes pydicom read the rest as one value",
}
# What pydicom 3.0.2 does not read to the end.
UNREADABLE = {
    "DIRW0007": "stray delimiter",
    "FreezePattern.dcm": "stray item",
    "GH364.dcm": "stray item",
    "GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": "implicit items in big endian",
    "GH195.dcm": "DS that is no number",
    "SYNTHETIC_invalid_values.dcm": "DS and IS that are no numbers",
    "badVR.dcm": "IS that is no number",
}
# What is refused although pydicom reads something of it.
REFUSED = {
    "DICOMDIR-nooffset": "the last item says more bytes than are there",
    "ExplVR_BigEndNoMeta.dcm": "no DICM prefix",
    "ExplVR_LitEndNoMeta.dcm": "no DICM prefix",
    "GH340.dcm": "no DICM prefix",
    "JLSL_RGB_ILV0.dcm": "no DICM prefix",
    "JLSL_RGB_ILV1.dcm": "no DICM prefix",
    "JLSL_RGB_ILV2.dcm": "no DICM prefix",
    "JLSN_RGB_ILV0.dcm": "no DICM prefix",
    "MR_truncated.dcm": "pixel data is cut short",
    "OT-PAL-8-face.dcm": "no DICM prefix",
    "SYNTHETIC_dataset_only_explicit.dcm": "no DICM prefix",
    "SYNTHETIC_jpeg_named.dcm": "no DICM prefix",
    "SYNTHETIC_no_preamble_meta_first.dcm": "no DICM prefix",
    "SYNTHETIC_not_dicom.dcm": "no DICM prefix",
    "SYNTHETIC_preamble_only.dcm": "no Transfer Syntax UID",
    "SYNTHETIC_truncated_in_header.dcm": "an element is cut short",
    "SYNTHETIC_truncated_in_pixels.dcm": "pixel data is cut short",
    "SYNTHETIC_zero_bytes.dcm": "empty",
    "meta_missing_tsyntax.dcm": "no Transfer Syntax UID",
    "rtplan_truncated.dcm": "a sequence is cut short",
    "rtstruct.dcm": "no DICM prefix",
}
# More pixel data than the frames have.
PADDED = {"MR_small_padded.dcm"}

FILES = dicom_files()


def file_id(path: Path) -> str:
    return str(path.relative_to(SHARED / "dicom"))


def data_set_bytes(file: bytes, header: Header) -> bytes:
    """The bytes that the offsets of the header count in."""
    if not header.deflated:
        return file
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(file[header.dataset_offset :])


def flat(attributes: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, element in attributes.items():
        if element["vr"] != "SQ":
            yield path + key, element
            continue
        yield path + key, {"vr": "SQ", "Value": [len(element.get("Value", ()))]}
        for number, one in enumerate(element.get("Value", ()), 1):
            yield from flat(one, f"{path}{key}/{number}/")


def as_pydicom_reads(dataset: Dataset, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for element in dataset:
        key = f"{element.tag:08X}"
        if key.endswith("0000"):
            continue
        if element.VR != "SQ":
            yield path + key, element.to_json_dict(None, 0)
            continue
        yield path + key, {"vr": "SQ", "Value": [len(element.value)]}
        for number, item in enumerate(element.value, 1):
            yield from as_pydicom_reads(item, f"{path}{key}/{number}/")


def tidy(element: dict[str, Any]) -> dict[str, Any]:
    """Without what says the same: padding, and "" for null."""
    values = [
        (value.strip(" \0") or None) if isinstance(value, str) else value
        for value in element.get("Value", ())
    ]
    return {**element, "vr": str(element["vr"]), "Value": values}


def little_endian(value: bytes, vr: str) -> bytes:
    size = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}.get(vr, 1)
    return b"".join(value[at : at + size][::-1] for at in range(0, len(value), size))


def differences(header: Header, file: bytes, dataset: Dataset) -> list[str]:
    """Paths of the attributes that are read differently."""
    source = data_set_bytes(file, header)
    bulk = {value.path: value for value in header.bulk}
    ours, theirs = dict(flat(header.attributes)), dict(as_pydicom_reads(dataset))
    return [
        path
        for path in sorted(ours.keys() | theirs.keys())
        if not path.endswith("00080005")
        and (path not in ours or path not in theirs or not same(path, ours, theirs, bulk, source))
    ]


def same(
    path: str,
    ours: dict[str, Any],
    theirs: dict[str, Any],
    bulk: dict[str, BulkValue],
    source: bytes,
) -> bool:
    mine, other = ours[path], theirs[path]
    if "InlineBinary" not in other:
        return tidy(mine) == tidy(other) or "BulkDataURI" in mine
    value = base64.b64decode(other["InlineBinary"])
    if "BulkDataURI" in mine:
        place = bulk[path]
        return source[place.offset : place.offset + place.length] == value
    inline = base64.b64decode(mine["InlineBinary"])
    return mine["vr"] == other["vr"] and inline in {value, little_endian(value, mine["vr"])}


def pydicom_dataset(file: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(file))
        if "EncapsulatedDocumentLength" in dataset:  # pydicom leaves the padding on
            length = dataset.EncapsulatedDocumentLength
            dataset.EncapsulatedDocument = dataset.EncapsulatedDocument[:length]
        list(as_pydicom_reads(dataset))
        return dataset


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_a_file_is_read_as_pydicom_reads_it(path: Path) -> None:
    file = path.read_bytes()
    if path.name in REFUSED:
        with pytest.raises(InvalidObject):
            read_header(file)
        return
    header = read_header(file)
    if path.name in UNREADABLE:
        with pytest.raises((NotImplementedError, ValueError, OSError)):
            pydicom_dataset(file)
        return

    found = differences(header, file, pydicom_dataset(file))

    explained = {tag for name, tag in DEVIATIONS if name == path.name}
    assert bool(found) == bool(explained)
    assert "" in explained or set(found) == explained


def frames_by_pydicom(dataset: Dataset, header: Header) -> list[bytes]:
    assert header.frames is not None
    value = dataset[header.frames.tag].value
    if header.frames.spans:
        return list(generate_frames(value, number_of_frames=header.frames.number_of_frames))
    return [value]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_the_frames_of_a_file_are_those_of_pydicom(path: Path) -> None:
    if path.name in REFUSED | UNREADABLE or (path.name, "") in DEVIATIONS:
        return
    file = path.read_bytes()
    header = read_header(file)
    frames = header.frames
    if frames is None:
        assert not pydicom_dataset(file).get("PixelData")
        return
    expected = frames_by_pydicom(pydicom_dataset(file), header)
    source = data_set_bytes(file, header)

    if frames.spans:
        assert [
            join_fragments(source[slice(*frames.span(index))])
            for index in range(frames.number_of_frames)
        ] == expected
    elif frames.frame_bits:
        size = (frames.frame_bits * frames.number_of_frames + 7) // 8
        assert source[frames.offset : frames.offset + size] == expected[0][:size]
        assert len(expected[0]) - size <= 1 or path.name in PADDED
    else:
        assert path.name == "nested_priv_SQ.dcm", "only this one has no size of a frame"


# Generated data sets: every VR, nested, in three encodings.

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\^="))
LATIN = st.text(st.characters(min_codepoint=192, max_codepoint=255), min_size=1, max_size=8)
SHORT_TEXT = TEXT.map(lambda text: text.strip()[:16])


VALUES: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "AE": (0x00080054, SHORT_TEXT),
    "AS": (0x00101010, st.sampled_from(["", "012Y", "003M"])),
    "AT": (0x00280009, st.lists(st.integers(0, 2**32 - 1), max_size=3)),
    "CS": (0x00080008, st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "A_1"]), max_size=3)),
    "DA": (0x00080020, st.sampled_from(["", "20240229", "19000101"])),
    "DS": (0x00200032, st.lists(st.sampled_from(["1", "-2.50", "1e-3", "0.1"]), max_size=6)),
    "DT": (0x0008002A, st.sampled_from(["", "20240229120000.123456+0100"])),
    "FD": (0x00189073, st.floats(allow_nan=False, allow_infinity=False)),
    "FL": (0x00180013, st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "IS": (0x00200013, st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))),
    "LO": (0x00080080, st.one_of(SHORT_TEXT, LATIN, st.lists(LATIN, min_size=2, max_size=3))),
    "LT": (0x00104000, TEXT.map(lambda text: text.rstrip())),
    "OB": (0x00420011, st.binary(max_size=1500)),
    "OD": (0x0070150D, st.binary(max_size=300).map(lambda value: value[: len(value) // 8 * 8])),
    "OF": (0x00660016, st.binary(max_size=300).map(lambda value: value[: len(value) // 4 * 4])),
    "OL": (0x00660040, st.binary(max_size=300).map(lambda value: value[: len(value) // 4 * 4])),
    "OW": (0x00281201, st.binary(max_size=2500).map(lambda value: value[: len(value) // 2 * 2])),
    "PN": (0x00100010, st.one_of(LATIN, st.tuples(LATIN, LATIN).map("^".join))),
    "SH": (0x00200010, SHORT_TEXT),
    "SL": (0x00186020, st.integers(-(2**31), 2**31 - 1)),
    "SS": (0x00189219, st.integers(-(2**15), 2**15 - 1)),
    "ST": (0x00080081, TEXT.map(lambda text: text.rstrip())),
    "SV": (0x00720082, st.integers(-(2**63), 2**63 - 1)),
    "TM": (0x00080030, st.sampled_from(["", "1200", "120000.123456"])),
    "UC": (0x00080119, TEXT.map(lambda text: text.strip())),
    "UI": (0x00080016, st.sampled_from(["1.2.3", "1.2.840.10008.1.2"])),
    "UL": (0x00186018, st.integers(0, 2**32 - 1)),
    "UN": (0x00091001, st.binary(max_size=1500)),
    "UR": (0x00081190, st.sampled_from(["", "https://example.org/a"])),
    "US": (0x00280010, st.integers(0, 2**16 - 1)),
    "UT": (0x0040A160, TEXT.map(lambda text: text.rstrip())),
    "UV": (0x00720083, st.integers(0, 2**64 - 1)),
}


@st.composite
def data_sets(draw: st.DrawFn, depth: int = 2) -> Dataset:
    dataset = Dataset()
    for vr in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=12, unique=True)):
        tag, values = VALUES[vr]
        dataset.add_new(tag, vr, draw(values))
    if depth:
        items = draw(st.lists(data_sets(depth - 1), max_size=2))
        dataset.add_new(0x00081110, "SQ", items)
        dataset[0x00081110].is_undefined_length = draw(st.booleans())
    return dataset


def written(dataset: Dataset, syntax: str) -> bytes:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.preamble = bytes(128)
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=False)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(dataset=data_sets())
def test_a_generated_data_set_is_read_as_pydicom_reads_it(dataset: Dataset, syntax: str) -> None:
    file = written(dataset, syntax)

    header = read_header(file)

    assert differences(header, file, pydicom_dataset(file)) == []


@given(values=st.lists(st.integers(0, 2**16 - 1), max_size=8))
def test_words_are_the_same_in_both_byte_orders(values: list[int]) -> None:
    dataset = Dataset()
    dataset.add_new(0x00281201, "OW", struct.pack(f"<{len(values)}H", *values))
    little = read_header(written(dataset, EXPLICIT)).attributes
    dataset[0x00281201].value = struct.pack(f">{len(values)}H", *values)

    assert read_header(written(dataset, BIG_ENDIAN)).attributes == little
