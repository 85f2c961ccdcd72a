"""Stored files rewritten in an uncompressed transfer syntax, read back by pydicom and DCMTK."""

import mmap
import struct
import subprocess
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from shutil import which
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from bfr_dicomweb.dicom.part10 import read_header
from bfr_dicomweb.dicom.rewriting import CHUNK_BYTES, rewrite
from bfr_dicomweb.dicom.transcoding import Conversion, convert_frame
from bfr_dicomweb.errors import InvalidObject, NotAcceptable, UndecodablePixelData
from shared_data import dicom_files

CREATOR = "ACME 1.1"
PRIVATE = 0x00091001
ROWS, COLUMNS, FRAMES = 5, 7, 3


def a_data_set() -> Dataset:
    """One of every kind of value."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = "2.25.1"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.StudyDate = "20260102"
    ds.PatientName = "Åberg^Eva"
    ds.PatientWeight = "70.50"
    ds.InstanceNumber = " 7"
    ds.EchoTime = ""
    ds.RecommendedDisplayFrameRateInFloat = 1.5
    ds.TagAngleFirstAxis = -2.5
    ds.SimpleFrameList = [1, 70000]
    ds.ReferencePixelX0 = -3
    ds.FrameIncrementPointer = 0x00181063
    ds.PatientComments = "free text"
    ds.LongCodeValue = "an unlimited value"
    ds.RetrieveURL = "http://archive/studies/1"
    ds.SelectorOVValue = b"\1\2\3\4\5\6\7\x08"
    item = Dataset()
    item.CodeValue = "T-1"
    item.SmallestImagePixelValue = 3
    nested = Dataset()
    nested.RequestedProcedureDescription = "Röntgen"
    item.RequestAttributesSequence = Sequence([nested, Dataset()])
    ds.ProcedureCodeSequence = Sequence([item])
    ds.ReferencedStudySequence = Sequence([])
    block = ds.private_block(0x0009, CREATOR, create=True)
    block.add_new(0x01, "LO", "private")
    ds.add_new(0x00280103, "US", 1)
    ds.add_new(0x00280106, "SS", -5)
    ds.add_new(0x00281052, "DS", "-1024")
    return ds


def an_image(bits: int = 16, frames: int = FRAMES) -> Dataset:
    ds = a_data_set()
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.NumberOfFrames = frames
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = 0
    ds.SmallestImagePixelValue = 5
    if bits == 1:
        ds.PixelData = packed(one_bit_frames(frames))
    else:
        ds.PixelData = native_pixels(bits, frames)
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    return ds


def native_pixels(bits: int, frames: int = FRAMES) -> bytes:
    kind = {8: "u1", 16: "<u2", 32: "<u4"}[bits]
    content = np.arange(frames * ROWS * COLUMNS).astype(kind).tobytes()
    return content + b"\0" * (len(content) % 2)


def one_bit_frames(frames: int) -> Any:
    return np.arange(frames * ROWS * COLUMNS).reshape(frames, -1) % 3 == 0


def packed(bits: Any) -> bytes:
    content = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    return content + b"\0" * (len(content) % 2)


def a_file(ds: Dataset, syntax: UID | str = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.SourceApplicationEntityTitle = "MODALITY"
    target = BytesIO()
    ds.save_as(target, enforce_file_format=True)
    return target.getvalue()


def encapsulated(ds: Dataset, frames: list[bytes], syntax: UID, *, extended: bool = False) -> bytes:
    if extended:
        content, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(
            frames
        )
        ds.PixelData = content
    else:
        ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return a_file(ds, syntax)


def rle_frames(content: bytes, frames: int = FRAMES) -> list[bytes]:
    size = ROWS * COLUMNS * 2
    return [
        RLELosslessEncoder.encode(
            content[index * size : (index + 1) * size],
            rows=ROWS,
            columns=COLUMNS,
            samples_per_pixel=1,
            bits_allocated=16,
            bits_stored=16,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            number_of_frames=1,
        )
        for index in range(frames)
    ]


def rewritten(stored: bytes, target: str = ExplicitVRLittleEndian) -> bytes:
    result = rewrite(stored, read_header(stored), transfer_syntax_uid=target)
    content = b"".join(result.chunks)
    assert len(content) == result.size_bytes
    return content


def read(content: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(content))


# The data set stays what it was


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_the_data_set_reads_the_same(syntax: UID) -> None:
    ds = a_data_set()
    if syntax == ExplicitVRBigEndian:
        turn_words(ds)
    found, expected = read(rewritten(a_file(ds, syntax))), read(a_file(a_data_set()))
    if syntax == ImplicitVRLittleEndian:
        # of which nobody knows the VR
        del found[PRIVATE], expected[PRIVATE]
    assert found == expected


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_native_pixels_stay_byte_for_byte(bits: int, syntax: UID) -> None:
    assert read(rewritten(a_file(an_image(bits), syntax))).PixelData == native_pixels(bits)


@pytest.mark.parametrize("bits", [16, 32])
def test_big_endian_pixels_are_turned(bits: int) -> None:
    ds = an_image(bits)
    ds.PixelData = np.frombuffer(ds.PixelData, f"u{bits // 8}").byteswap().tobytes()
    assert read(rewritten(a_file(ds, ExplicitVRBigEndian))).PixelData == native_pixels(bits)


def test_the_file_meta_information_keeps_all_but_the_transfer_syntax() -> None:
    before = read(a_file(a_data_set(), ImplicitVRLittleEndian)).file_meta
    after = read(rewritten(a_file(a_data_set(), ImplicitVRLittleEndian))).file_meta
    before.TransferSyntaxUID = ExplicitVRLittleEndian
    before.FileMetaInformationGroupLength = after.FileMetaInformationGroupLength
    assert after == before


def test_the_group_length_counts_the_file_meta_information() -> None:
    content = rewritten(a_file(a_data_set(), ImplicitVRLittleEndian))
    (length,) = struct.unpack_from("<I", content, 140)
    assert content[144 + length : 148 + length] == b"\x08\0\5\0"


def test_the_preamble_is_zeros() -> None:
    stored = b"II*\0" + a_file(a_data_set())[4:]
    assert rewritten(stored)[:132] == bytes(128) + b"DICM"


def test_text_keeps_its_character_set_and_bytes() -> None:
    assert "Åberg^Eva ".encode("latin-1") in rewritten(a_file(a_data_set(), ImplicitVRLittleEndian))


def test_number_strings_keep_their_spelling() -> None:
    assert b"DS\x06\x0070.50 " in rewritten(a_file(a_data_set(), ImplicitVRLittleEndian))


def test_an_unknown_private_element_becomes_un() -> None:
    ds = read(rewritten(a_file(a_data_set(), ImplicitVRLittleEndian)))
    assert ds.get_item(PRIVATE).VR == "UN"


def test_a_value_too_long_for_its_vr_becomes_un() -> None:
    ds = a_data_set()
    ds.RedPaletteColorLookupTableDescriptor = [0, 0, 16]
    ds.SelectorUSValue = [1] * 40000
    found = read(rewritten(a_file(ds, ImplicitVRLittleEndian))).get_item("SelectorUSValue")
    assert (found.VR, len(found.value)) == ("UN", 80000)


def test_group_lengths_are_left_out() -> None:
    ds = a_data_set()
    ds.add_new(0x00080000, "UL", 1234)
    content = a_file(ds, ImplicitVRLittleEndian)
    assert b"\x08\0\0\0" in content
    assert 0x00080000 not in read(rewritten(content))


@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_keep_their_kind_of_length(undefined: bool) -> None:
    ds = a_data_set()
    ds["ProcedureCodeSequence"].is_undefined_length = undefined
    found = read(rewritten(a_file(ds, ImplicitVRLittleEndian)))
    assert found["ProcedureCodeSequence"].is_undefined_length is undefined


def test_large_values_come_in_pieces() -> None:
    ds = an_image()
    ds.Rows, ds.Columns, ds.NumberOfFrames = 1024, 1024, 1
    ds.PixelData = bytes(2 * 1024 * 1024)
    stored = a_file(ds, ImplicitVRLittleEndian)
    result = rewrite(stored, read_header(stored))
    assert max(map(len, result.chunks)) == CHUNK_BYTES


def test_a_mapped_file_is_rewritten_like_its_bytes(tmp_path: Path) -> None:
    stored = a_file(an_image(), ImplicitVRLittleEndian)
    path = tmp_path / "stored.dcm"
    path.write_bytes(stored)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        result = rewrite(mapped, read_header(mapped))
        assert b"".join(result.chunks) == rewritten(stored)


TEXT = st.text("abc åäö", max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "PatientComments": TEXT,
    "PatientID": TEXT,
    "SimpleFrameList": st.lists(st.integers(0, 2**32 - 1), max_size=9),
    "SelectorSSValue": st.lists(st.integers(-(2**15), 2**15 - 1), max_size=9),
    "SelectorFDValue": st.lists(st.floats(width=64, allow_nan=False), max_size=9),
    "SelectorOWValue": st.binary(max_size=40).map(lambda value: value + value),
}


def data_sets() -> st.SearchStrategy[Dataset]:
    flat = st.fixed_dictionaries({}, optional=VALUES).map(filled)
    return st.recursive(
        flat,
        lambda inner: st.tuples(flat, st.lists(inner, max_size=3), st.booleans()).map(
            lambda parts: with_items(*parts)
        ),
        max_leaves=6,
    )


def filled(values: dict[str, Any]) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def with_items(ds: Dataset, items: list[Dataset], undefined: bool) -> Dataset:
    outer = Dataset()
    outer.update(ds)
    outer.ContentSequence = Sequence(items)
    outer["ContentSequence"].is_undefined_length = undefined
    return outer


@settings(deadline=None, max_examples=60)
@given(
    data_sets(),
    st.sampled_from([ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]),
)
def test_any_data_set_reads_the_same(ds: Dataset, syntax: UID) -> None:
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    expected = read(a_file(ds))
    if syntax == ExplicitVRBigEndian:
        turn_words(ds)
    assert read(rewritten(a_file(ds, syntax))) == expected


def turn_words(ds: Dataset) -> None:
    """pydicom writes the bytes of OW and OV as they are, whatever the byte order."""
    for element in ds.iterall():
        if element.VR in {"OW", "OV"} and element.value:
            kind = {"OW": "u2", "OV": "u8"}[element.VR]
            element.value = np.frombuffer(element.value, kind).byteswap().tobytes()


# Encapsulated pixel data


@pytest.mark.parametrize("extended", [True, False])
def test_encapsulated_frames_become_native(extended: bool) -> None:
    ds = an_image()
    content = ds.PixelData
    stored = encapsulated(ds, rle_frames(content), RLELossless, extended=extended)
    found = read(rewritten(stored))
    assert (found.PixelData, found["PixelData"].VR) == (content, "OW")


def test_offset_tables_are_left_out_with_the_fragments() -> None:
    ds = an_image()
    stored = encapsulated(ds, rle_frames(ds.PixelData), RLELossless, extended=True)
    assert "ExtendedOffsetTable" not in read(rewritten(stored))


def test_nothing_but_pixel_data_changes_when_rle_is_decoded() -> None:
    ds = an_image()
    expected = read(a_file(ds))
    stored = encapsulated(ds, rle_frames(ds.PixelData), RLELossless)
    assert read(rewritten(stored)) == expected


def test_one_bit_frames_follow_each_other_without_padding() -> None:
    ds = an_image(bits=1)
    frames = [packed(frame) for frame in one_bit_frames(FRAMES)]
    stored = encapsulated(ds, frames, UID("1.2.840.10008.1.2.1.98"))
    assert read(rewritten(stored)).PixelData == packed(one_bit_frames(FRAMES))


def test_a_lossy_image_says_so_after_decoding() -> None:
    ds = an_image(bits=8, frames=1)
    stored = encapsulated(ds, [jpeg()], JPEGBaseline8Bit)
    assert read(rewritten(stored)).LossyImageCompression == "01"


def test_the_color_space_of_decoded_frames_is_told() -> None:
    ds = an_image(bits=8, frames=1)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 3, "YBR_FULL_422"
    ds.PlanarConfiguration = 1
    found = read(rewritten(encapsulated(ds, [jpeg(color=True)], JPEGBaseline8Bit)))
    assert (found.PhotometricInterpretation, found.PlanarConfiguration) == ("YBR_FULL", 0)


def jpeg(*, color: bool = False) -> bytes:
    shape = (ROWS, COLUMNS, 3) if color else (ROWS, COLUMNS)
    return bytes(imagecodecs.jpeg8_encode(np.full(shape, 90, "u1"), level=90))


def test_a_compressed_icon_is_decoded_too() -> None:
    ds = an_image()
    icon = Dataset()
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.Rows, icon.Columns = ROWS, COLUMNS
    icon.BitsAllocated = icon.BitsStored = 16
    icon.HighBit, icon.PixelRepresentation = 15, 0
    content = native_pixels(16, 1)
    icon.PixelData = encapsulate(rle_frames(content, 1))
    icon["PixelData"].VR = "OB"
    icon["PixelData"].is_undefined_length = True
    ds.IconImageSequence = Sequence([icon])
    stored = encapsulated(ds, rle_frames(ds.PixelData), RLELossless)
    found = read(rewritten(stored)).IconImageSequence[0]
    assert (found.PixelData, found["PixelData"].is_undefined_length) == (content, False)


def test_frames_are_decoded_one_at_a_time() -> None:
    ds = an_image()
    stored = encapsulated(ds, rle_frames(ds.PixelData), RLELossless)
    seen: list[int] = []

    def convert(frames: Iterable[bytes], conversion: Conversion, _path: str) -> Iterator[bytes]:
        for frame in frames:
            seen.append(len(frame))
            yield convert_frame(frame, conversion)

    result = rewrite(stored, read_header(stored), convert=convert)
    assert len(seen) == 1
    next(result.chunks)
    next(result.chunks)
    next(result.chunks)
    assert len(seen) == 2


# Implicit VR Little Endian


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_without_vrs_the_data_set_reads_the_same(syntax: UID) -> None:
    ds = a_data_set()
    if syntax == ExplicitVRBigEndian:
        turn_words(ds)
    found = read(rewritten(a_file(ds, syntax), ImplicitVRLittleEndian))
    assert found == read(a_file(a_data_set(), ImplicitVRLittleEndian))


def test_the_file_meta_information_names_the_target() -> None:
    found = read(rewritten(a_file(a_data_set()), ImplicitVRLittleEndian))
    assert found.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian


def test_decoded_frames_are_written_without_a_vr() -> None:
    content = native_pixels(16)
    stored = encapsulated(an_image(), rle_frames(content), RLELossless)
    assert read(rewritten(stored, ImplicitVRLittleEndian)).PixelData == content


def test_a_value_too_long_for_its_vr_keeps_it_where_none_is_written() -> None:
    ds = a_data_set()
    ds.SelectorUSValue = [1] * 40000
    found = read(rewritten(a_file(ds, ImplicitVRLittleEndian), ImplicitVRLittleEndian))
    assert found.SelectorUSValue == [1] * 40000


@settings(deadline=None, max_examples=60)
@given(data_sets(), st.sampled_from([True, False]))
def test_any_data_set_reads_the_same_with_and_without_vrs(ds: Dataset, implicit: bool) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    here, there = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)[:: 1 if implicit else -1]
    assert read(rewritten(a_file(ds, here), there)) == read(a_file(ds, there))


def test_the_data_set_alone_is_the_file_without_what_precedes_it() -> None:
    stored = a_file(an_image(), ImplicitVRLittleEndian)
    alone = b"".join(rewrite(stored, read_header(stored), as_file=False).chunks)
    file = rewritten(stored)
    assert file[read_header(file).dataset_offset :] == alone


# What is refused


def test_an_undecodable_first_frame_is_refused_before_anything_is_sent() -> None:
    stored = encapsulated(an_image(), [b"\0" * 80] * FRAMES, RLELossless)
    with pytest.raises(UndecodablePixelData):
        rewrite(stored, read_header(stored))


def test_video_cannot_become_native() -> None:
    stored = encapsulated(an_image(bits=8), [b"\0\0\1\xb3" * 8], MPEG2MPML)
    with pytest.raises(UndecodablePixelData, match=MPEG2MPML):
        rewrite(stored, read_header(stored))


def test_pixels_at_a_jpip_server_cannot_be_included() -> None:
    stored = a_file(a_data_set(), "1.2.840.10008.1.2.4.94")
    with pytest.raises(NotAcceptable, match="only referred to"):
        rewrite(stored, read_header(stored))


def test_more_than_four_gigabytes_of_native_pixels_are_not_acceptable() -> None:
    ds = an_image(frames=8)
    ds.Rows = ds.Columns = 16384
    stored = encapsulated(ds, [b"\0\0"] * 8, RLELossless)
    with pytest.raises(NotAcceptable, match="too long"):
        rewrite(stored, read_header(stored), convert=lambda _frames, _how, _path: iter([b""]))


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]),
    st.lists(st.tuples(st.integers(132, 1500), st.binary(min_size=1, max_size=4)), max_size=3),
)
def test_a_damaged_file_is_refused_or_rewritten_to_a_readable_one(
    syntax: UID, damages: list[tuple[int, bytes]]
) -> None:
    ds = an_image()
    content = ds.PixelData
    is_rle = syntax == RLELossless
    stored = encapsulated(ds, rle_frames(content), syntax) if is_rle else a_file(ds, syntax)
    for position, damage in damages:
        stored = stored[:position] + damage + stored[position + len(damage) :]
    try:
        result = rewritten(stored)
    except (InvalidObject, NotAcceptable):
        return
    assert read_header(result).transfer_syntax_uid == ExplicitVRLittleEndian


# The shared sample files


def refused_or_rewritten(path: Path) -> tuple[bytes, bytes] | None:
    stored = path.read_bytes()
    try:
        return stored, rewritten(stored)
    except (InvalidObject, NotAcceptable):
        return None


def without_pixels(attributes: dict[str, Any]) -> dict[str, Any]:
    """DICOM JSON without what is meant to change, and where bulk data lies."""
    kept = {}
    for key, attribute in attributes.items():
        if key[:4] == "7FE0" or key in ("00280004", "00280006", "00282110"):
            continue
        if attribute["vr"] == "SQ":
            attribute = [without_pixels(item) for item in attribute.get("Value", [])]
        kept[key] = attribute
    return kept


# One value of odd length, which gets its padding.
PADDED = "nested_priv_SQ.dcm"


@pytest.mark.parametrize(
    "path",
    dicom_files("by_transfer_syntax/*/*", "charsets/*", "odd/*", "by_modality/[C-RU-Z]*/*[05]*"),
    ids=lambda path: path.name[:48],
)
def test_every_sample_is_refused_or_says_the_same_afterwards(path: Path) -> None:
    result = refused_or_rewritten(path)
    if result is None or path.name == PADDED:
        return
    before, after = (read_header(content) for content in result)
    assert without_pixels(after.attributes) == without_pixels(before.attributes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "path",
    dicom_files(
        *(f"by_transfer_syntax/1.2.840.10008.1.2{s}_*/*" for s in ("", ".2", ".1.99")),
        "by_modality/RTPLAN/*",
        "by_modality/RTDOSE/*",
        "by_modality/SR_basic_text/*",
    ),
    ids=lambda path: path.name[:48],
)
@pytest.mark.skipif(
    which("dcmconv") is None, reason="DCMTK is not installed: apt-get install dcmtk"
)
def test_uncompressed_samples_read_like_what_dcmtk_makes_of_them(
    path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "dcmtk.dcm"
    subprocess.run(["dcmconv", "+te", "+e", "-g", path, target], check=True, capture_output=True)
    theirs = read_header(target.read_bytes())
    ours = read_header(rewritten(path.read_bytes()))
    assert without_vrs(ours.attributes) == without_vrs(theirs.attributes)


def without_vrs(attributes: dict[str, Any]) -> dict[str, Any]:
    """Values alone: DCMTK has another private dictionary, and OB for pixels of 8 bits."""
    return {
        key: [without_vrs(item) for item in attribute.get("Value", [])]
        if attribute["vr"] == "SQ"
        else attribute.get("Value")
        for key, attribute in attributes.items()
    }


@pytest.mark.skipif(
    which("dcmdump") is None, reason="DCMTK is not installed: apt-get install dcmtk"
)
@pytest.mark.parametrize(
    "path",
    dicom_files("by_transfer_syntax/*.5_rle/*", "by_transfer_syntax/*.4.90*/*", "odd/JPEGwith*"),
    ids=lambda path: path.name[:48],
)
def test_dcmtk_reads_decoded_samples_without_complaint(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "rewritten.dcm"
    target.write_bytes(rewritten(path.read_bytes()))
    done = subprocess.run(["dcmdump", "+E", target], check=True, capture_output=True)
    assert done.stderr == b""
