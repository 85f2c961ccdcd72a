"""Frames brought to other transfer syntaxes, and decoded again by other libraries than encoded."""

import io
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from shutil import which
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openjpeg.utils import decode as openjpeg_decode
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.rle import _rle_decode_frame
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)

from bfr_dicomweb.dicom import encoding, pixels, rewriting, transcoding
from bfr_dicomweb.dicom.codestreams import read_codestream
from bfr_dicomweb.dicom.encoding import BY_TRANSFER_SYNTAX
from bfr_dicomweb.dicom.part10 import Header, read_header
from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.transcoding import LOSSLESS, Conversion, convert_frame
from bfr_dicomweb.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, lookup
from bfr_dicomweb.errors import NotAcceptable, UndecodablePixelData
from objects import a_dataset, written
from shared_data import NO_DCMTK, dicom_files

Samples = npt.NDArray[Any]

STEM = "1.2.840.10008.1.2"
RLE = f"{STEM}.5"
HTJ2K = [f"{STEM}.4.{number}" for number in (201, 202, 203)]
JPEG_LS, JPEG_LOSSLESS, JPEG_2000 = f"{STEM}.4.80", f"{STEM}.4.70", f"{STEM}.4.90"
JPEG_XL, DEFLATED_FRAMES, VERBATIM = f"{STEM}.4.110", f"{STEM}.8.1", f"{STEM}.1.98"
JPEG_BASELINE = f"{STEM}.4.50"


def an_image(**fields: Any) -> PixelDescription:
    known: dict[str, Any] = {"rows": 9, "columns": 13} | fields
    return PixelDescription(transfer_syntax=lookup(ExplicitVRLittleEndian), **known)


# --- other decoders ----------------------------------------------------------------------------


def by_pydicom(frame: bytes, image: PixelDescription) -> Samples:
    if image.bits_allocated == 1:
        return one_bit(bytes(imagecodecs.packbits_decode(frame[64:])), image)
    size = (image.rows, image.columns, image.samples_per_pixel)
    planes = _rle_decode_frame(frame, *size, image.bits_allocated)
    kind = "iu"[1 - image.pixel_representation]
    samples = np.frombuffer(bytes(planes), f"<{kind}{image.bits_allocated // 8}")
    return np.moveaxis(samples.reshape(image.samples_per_pixel, image.rows, image.columns), 0, -1)


def native(content: bytes, image: PixelDescription) -> Samples:
    if image.bits_allocated == 1:
        return one_bit(content, image)
    kind = "iu"[1 - image.pixel_representation]
    return np.frombuffer(content, f"<{kind}{image.bits_allocated // 8}")


def one_bit(content: bytes, image: PixelDescription) -> Samples:
    bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
    return bits[: image.rows * image.columns]


def by_inflating(frame: bytes, image: PixelDescription) -> Samples:
    return native(zlib.decompress(frame, -zlib.MAX_WBITS), image)


def by(decode: Callable[[bytes], Any], frame: bytes, _image: PixelDescription) -> Samples:
    return np.asarray(decode(frame))


DECODERS: dict[str, Callable[[bytes, PixelDescription], Samples]] = {
    RLE: by_pydicom,
    **dict.fromkeys((*HTJ2K, JPEG_2000), partial(by, openjpeg_decode)),
    JPEG_LS: partial(by, imagecodecs.jpegls_decode),
    JPEG_LOSSLESS: partial(by, imagecodecs.jpegsof3_decode),
    JPEG_XL: partial(by, imagecodecs.jpegxl_decode),
    DEFLATED_FRAMES: by_inflating,
    VERBATIM: native,
}


def is_exact(frame: bytes, before: bytes, conversion: Conversion) -> bool:
    """Whether two decoders find the pixels that were encoded: another one, and ours."""
    image = conversion.image
    found = DECODERS[conversion.target](frame, image).reshape(-1).astype(np.int64)
    difference = found - native(before, image).astype(np.int64)
    if image.pixel_representation:
        difference %= 1 << image.bits_stored  # most of these codecs know no sign
    changed = {**described(image), **transcoding.changes(conversion)}
    after = PixelDescription.from_attributes(changed, conversion.target)
    ours = pixels.decode_frame(frame, after)
    return not difference.any() and ours == before


def described(image: PixelDescription) -> dict[str, Any]:
    values = {
        "00280002": image.samples_per_pixel,
        "00280004": image.photometric_interpretation,
        "00280010": image.rows,
        "00280011": image.columns,
        "00280100": image.bits_allocated,
        "00280101": image.bits_stored,
        "00280103": image.pixel_representation,
    }
    return {key: {"Value": [value]} for key, value in values.items()}


# --- pixels made here --------------------------------------------------------------------------


@st.composite
def images(draw: st.DrawFn) -> tuple[PixelDescription, bytes]:
    """Any image of 8 or 16 bits, and pixels that need not keep to Bits Stored."""
    bits = draw(st.sampled_from([8, 16]))
    gray = draw(st.booleans())
    image = an_image(
        rows=draw(st.integers(1, 40)),
        columns=draw(st.integers(1, 40)),
        samples_per_pixel=1 if gray else 3,
        photometric_interpretation=draw(
            st.sampled_from(["MONOCHROME2", "PALETTE COLOR"] if gray else ["RGB", "YBR_FULL"])
        ),
        bits_allocated=bits,
        bits_stored=draw(st.integers(1, bits)),
        pixel_representation=draw(st.integers(0, 1)),
    )
    count = image.rows * image.columns * image.samples_per_pixel
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    kept = image.bits_stored if draw(st.booleans()) else bits
    low, high = (
        (-1 << (kept - 1), 1 << (kept - 1)) if image.pixel_representation else (0, 1 << kept)
    )
    values = random.integers(low, high, count)
    kind = "iu"[1 - image.pixel_representation]
    return image, values.astype(f"<{kind}{bits // 8}").tobytes()


@given(image=images(), target=st.sampled_from(LOSSLESS))
@settings(max_examples=300, deadline=None)
def test_any_pixels_come_back_bit_for_bit(
    image: tuple[PixelDescription, bytes], target: str
) -> None:
    description, content = image
    conversion = Conversion(description, target)
    if target not in transcoding.targets(description):
        return
    encoded = convert_frame(content, conversion)
    changed = {**described(description), **transcoding.changes(conversion)}
    after = PixelDescription.from_attributes(changed, target)
    assert pixels.decode_frame(encoded, after) == content


@pytest.mark.parametrize("target", LOSSLESS)
@pytest.mark.parametrize("bits", [1, 7, 8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_another_decoder_finds_the_gray_pixels(target: str, bits: int, signed: bool) -> None:
    image = an_image(
        bits_allocated=8 if bits <= 8 else 16, bits_stored=bits, pixel_representation=int(signed)
    )
    random = np.random.default_rng(bits)
    low, high = (-1 << (bits - 1), 1 << (bits - 1)) if signed else (0, 1 << bits)
    kind = "i" if signed else "u"
    content = random.integers(low, high, 9 * 13).astype(f"<{kind}{image.bits_allocated // 8}")
    conversion = Conversion(image, target)
    encoded = convert_frame(content.tobytes(), conversion)
    assert is_exact(encoded, content.tobytes(), conversion)


@pytest.mark.parametrize("target", LOSSLESS)
@pytest.mark.parametrize("space", ["RGB", "YBR_FULL"])
def test_another_decoder_finds_the_colors(target: str, space: str) -> None:
    image = an_image(
        samples_per_pixel=3, photometric_interpretation=space, bits_allocated=8, bits_stored=8
    )
    if target not in transcoding.targets(image):
        assert (target, space) == (JPEG_XL, "YBR_FULL")
        return
    content = np.random.default_rng(1).integers(0, 256, 9 * 13 * 3, np.uint8).tobytes()
    conversion = Conversion(image, target)
    assert is_exact(convert_frame(content, conversion), content, conversion)


@pytest.mark.parametrize("target", [RLE, DEFLATED_FRAMES, VERBATIM])
@pytest.mark.parametrize("bits", [1, 32, 64])
def test_pixels_of_unusual_width_are_compressed_as_bytes(target: str, bits: int) -> None:
    image = an_image(bits_allocated=bits, bits_stored=bits)
    content = np.random.default_rng(2).bytes(image.frame_bytes)
    if bits == 1:
        content = content[:-1] + b"\x1f"  # 9 x 13 pixels leave three bits
    conversion = Conversion(image, target)
    encoded = convert_frame(content, conversion)
    after = replace(image, transfer_syntax=lookup(target))
    assert pixels.decode_frame(encoded, after) == content


def test_bits_above_bits_stored_are_kept() -> None:
    image = an_image(rows=1, columns=4, bits_stored=12)
    content = np.array([0x1FFF, 0x8001, 4095, 0], "<u2").tobytes()
    for target in transcoding.targets(image):
        if target in LOSSLESS:
            conversion = Conversion(image, target)
            assert is_exact(convert_frame(content, conversion), content, conversion), target


def test_shared_chroma_is_given_to_each_pixel() -> None:
    image = an_image(
        rows=1,
        columns=2,
        samples_per_pixel=3,
        photometric_interpretation="YBR_FULL_422",
        bits_allocated=8,
        bits_stored=8,
    )
    conversion = Conversion(image, VERBATIM)
    assert convert_frame(bytes([1, 2, 3, 4]), conversion) == bytes([1, 3, 4, 2, 3, 4])
    assert transcoding.changes(conversion)["00280004"]["Value"] == ["YBR_FULL"]


def test_stored_planes_become_pixels_before_they_are_encoded() -> None:
    image = an_image(
        rows=1,
        columns=2,
        samples_per_pixel=3,
        photometric_interpretation="RGB",
        bits_allocated=8,
        bits_stored=8,
        planar_configuration=1,
    )
    conversion = Conversion(image, JPEG_LS)
    encoded = convert_frame(bytes([1, 2, 3, 4, 5, 6]), conversion)
    assert imagecodecs.jpegls_decode(encoded).tolist() == [[[1, 3, 5], [2, 4, 6]]]


# --- codestreams -------------------------------------------------------------------------------


def marker(stream: bytes, code: int) -> int:
    return stream.index(bytes([0xFF, code]))


def test_an_htj2k_frame_is_in_order_of_resolution_with_its_lengths_in_front() -> None:
    image = an_image(rows=200, columns=300, bits_stored=12)
    content = np.random.default_rng(3).integers(0, 4096, 60_000).astype("<u2").tobytes()
    stream = convert_frame(content, Conversion(image, HTJ2K[1]))
    style = marker(stream, 0x52)
    levels = stream[style + 9]
    assert stream[style + 5] == 2  # RPCL
    assert marker(stream, 0x55) < marker(stream, 0x90)  # TLM before the first tile-part
    assert stream[marker(stream, 0x90) + 11] in (0, levels + 1)  # a tile-part a resolution


def test_the_first_bytes_of_an_htj2k_frame_are_a_smaller_picture() -> None:
    image = an_image(rows=256, columns=256, bits_stored=12)
    ramp = np.add.outer(np.arange(256), np.arange(256)).astype("<u2") * 8
    stream = convert_frame(ramp.tobytes(), Conversion(image, HTJ2K[1]))
    starts = [at for at in range(len(stream)) if stream.startswith(b"\xff\x90\x00\x0a", at)]
    assert len(starts) == encoding._levels(image) + 1
    assert starts[3] < len(stream) / 2
    small = imagecodecs.htj2k_decode(stream[: starts[3]], skipres=3, resilient=True)
    assert np.abs(small.astype(int) - ramp[::8, ::8]).max() < 100


@pytest.mark.parametrize(("bits", "signed"), [(12, False), (12, True), (16, False), (8, False)])
def test_the_precision_of_a_codestream_is_bits_stored(bits: int, signed: bool) -> None:
    image = an_image(bits_stored=bits, pixel_representation=int(signed))
    content = bytes(image.frame_bytes)
    for target in (*HTJ2K, JPEG_2000, JPEG_LS, JPEG_LOSSLESS):
        stream = read_codestream(convert_frame(content, Conversion(image, target)))
        assert stream.precision == bits, target


def test_large_htj2k_frames_have_more_resolutions() -> None:
    assert encoding._levels(an_image(rows=40_000, columns=10)) == 10


# --- which targets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "impossible"),
    [
        ({"bits_allocated": 32, "bits_stored": 32}, {*HTJ2K, JPEG_LS, JPEG_2000, JPEG_XL}),
        ({"bits_allocated": 1, "bits_stored": 1}, {*HTJ2K, JPEG_LOSSLESS, JPEG_BASELINE}),
        ({"photometric_interpretation": "ARGB", "samples_per_pixel": 4}, {*HTJ2K, JPEG_LS}),
        ({"bits_stored": 12}, {JPEG_BASELINE}),
        ({"bits_allocated": 8, "bits_stored": 8, "pixel_representation": 1}, {JPEG_BASELINE}),
        ({"bits_allocated": 32, "vr": "OF"}, {*LOSSLESS, JPEG_BASELINE}),
    ],
)
def test_what_a_syntax_cannot_hold_is_no_target(
    fields: dict[str, Any], impossible: set[str]
) -> None:
    assert not impossible & set(transcoding.targets(an_image(**fields)))


def test_eight_bit_images_can_become_anything_that_is_made() -> None:
    image = an_image(bits_allocated=8, bits_stored=8)
    assert transcoding.targets(image) == tuple(BY_TRANSFER_SYNTAX)


def test_the_stored_transfer_syntax_is_no_target() -> None:
    image = replace(an_image(bits_stored=12), transfer_syntax=lookup(JPEG_LS))
    assert JPEG_LS not in transcoding.targets(image)


def test_what_is_not_possible_is_refused_with_what_is() -> None:
    conversion = Conversion(an_image(bits_stored=12), JPEG_BASELINE)
    with pytest.raises(NotAcceptable, match=JPEG_LS.replace(".", r"\.")):
        convert_frame(bytes(9 * 13 * 2), conversion)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda syntax: syntax.uid)
def test_the_table_of_capabilities_says_what_is_done(syntax: Any) -> None:
    row = {one.transfer_syntax: one for one in transcoding.capabilities()}.get(syntax)
    made = syntax.uid in (*LOSSLESS, *transcoding.LOSSY, *transcoding.NATIVE)
    assert (row is not None and bool(row.encodes)) is made
    assert (row is not None and row.decodes) is syntax.decodable


def test_only_jpeg_baseline_is_lossy() -> None:
    lossy = [one for one in transcoding.capabilities() if one.encodes == "lossy"]
    assert [one.transfer_syntax.uid for one in lossy] == [JPEG_BASELINE]


# --- whole files -------------------------------------------------------------------------------


def brought(stored: bytes, target: str) -> bytes:
    result = rewriting.rewrite(stored, read_header(stored), transfer_syntax_uid=target)
    made = b"".join(result.chunks)
    assert result.size_bytes in (None, len(made))
    return made


def read(made: bytes) -> pydicom.FileDataset:
    # pydicom knows neither JPEG XL nor deflated frames
    return pydicom.dcmread(io.BytesIO(made), force=True)


def a_multi_frame(frames: int = 3, **attributes: Any) -> Dataset:
    values = np.random.default_rng(4).integers(0, 4096, frames * 256).astype("<u2")
    dataset = a_dataset(NumberOfFrames=frames, **attributes)
    dataset.PixelData = values.tobytes()
    return dataset


def a_color_image(**attributes: Any) -> Dataset:
    content = np.random.default_rng(5).integers(0, 256, 256 * 3, np.uint8).tobytes()
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    color = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    return a_dataset(**{**eight, **color, "PixelData": content, **attributes})


@pytest.mark.parametrize("target", LOSSLESS)
@pytest.mark.parametrize(
    "stored_as",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEG_LS, RLE],
)
def test_a_multi_frame_file_keeps_its_pixels(stored_as: str, target: str) -> None:
    dataset = a_multi_frame()
    plain = written(dataset)
    stored = brought(plain, stored_as) if stored_as in LOSSLESS else written(dataset, stored_as)
    again = brought(
        brought(stored, target) if target != stored_as else stored, ExplicitVRLittleEndian
    )
    assert read(again).PixelData == dataset.PixelData


def test_frames_of_big_endian_files_are_turned_before_they_are_encoded() -> None:
    dataset = a_multi_frame()
    little = bytes(dataset.PixelData)
    dataset.PixelData = np.frombuffer(little, "<u2").byteswap().tobytes()
    dataset["PixelData"].VR = "OW"
    made = brought(written(dataset, ExplicitVRBigEndian), HTJ2K[0])
    assert read(brought(made, ExplicitVRLittleEndian)).PixelData == little


def test_frames_of_bits_that_are_no_bytes_are_encoded_one_by_one() -> None:
    bits = np.random.default_rng(6).integers(0, 2, (3, 81), dtype=np.uint8)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    dataset = a_dataset(
        NumberOfFrames=3, Rows=9, Columns=9, BitsAllocated=1, BitsStored=1, HighBit=0
    )
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    made = brought(written(dataset), RLE)
    assert read(brought(made, ExplicitVRLittleEndian)).PixelData == dataset.PixelData


@pytest.mark.parametrize("target", LOSSLESS)
def test_the_pixel_data_is_in_fragments_behind_an_empty_table(target: str) -> None:
    made = read(brought(written(a_multi_frame()), target))
    assert (made.file_meta.TransferSyntaxUID, made["PixelData"].VR) == (target, "OB")
    assert made.PixelData.startswith(b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0")
    assert made["PixelData"].is_undefined_length


@pytest.mark.parametrize("target", LOSSLESS)
def test_our_own_reader_finds_every_frame(target: str) -> None:
    header = read_header(brought(written(a_multi_frame(5)), target))
    assert header.findings == ()
    assert header.frames is not None
    assert (header.frames.number_of_frames, len(header.frames.spans)) == (5, 5 * 16)


def test_offset_tables_of_the_stored_fragments_are_left_out() -> None:
    dataset = read(written(a_multi_frame()))
    dataset.compress(UID(RLE), encoding_plugin="pydicom", generate_instance_uid=False)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3))
    content, offsets, lengths = pydicom.encaps.encapsulate_extended(frames)
    dataset.PixelData, dataset["PixelData"].is_undefined_length = content, True
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    made = read(brought(written(dataset, RLE), HTJ2K[0]))
    assert "ExtendedOffsetTable" not in made
    assert "ExtendedOffsetTableLengths" not in made


@pytest.mark.parametrize(
    ("target", "space", "planar"),
    [
        *((uid, "YBR_RCT", 0) for uid in (*HTJ2K, JPEG_2000)),
        *((uid, "RGB", 0) for uid in (JPEG_LS, JPEG_LOSSLESS, JPEG_XL)),
        (RLE, "RGB", 1),
        (JPEG_BASELINE, "YBR_FULL_422", 0),
    ],
)
def test_the_attributes_tell_how_colors_are_encoded(target: str, space: str, planar: int) -> None:
    made = read(brought(written(a_color_image()), target))
    assert (made.PhotometricInterpretation, made.PlanarConfiguration) == (space, planar)


def test_all_other_attributes_stay() -> None:
    stored = written(a_multi_frame())
    before, after = read_header(stored), read_header(brought(stored, JPEG_LS))
    assert without_pixel_data(after) == without_pixel_data(before)


def without_pixel_data(header: Header) -> dict[str, Any]:
    return {key: value for key, value in header.attributes.items() if key != "7FE00010"}


def test_a_deflated_file_inflates_to_the_explicit_one() -> None:
    stored = written(a_multi_frame(), ImplicitVRLittleEndian)
    deflated = brought(stored, DeflatedExplicitVRLittleEndian)
    assert len(deflated) % 2 == 0
    start = read_header(deflated).dataset_offset
    explicit = brought(stored, ExplicitVRLittleEndian)
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated[start:])
    assert inflated == explicit[read_header(explicit).dataset_offset :]


def test_an_object_without_pixels_can_be_deflated_but_not_compressed() -> None:
    stored = written(a_dataset(PixelData=None))
    assert read(brought(stored, DeflatedExplicitVRLittleEndian)).PatientID
    with pytest.raises(NotAcceptable, match="no pixel data"):
        brought(stored, JPEG_LS)


def test_missing_frames_are_not_made_up() -> None:
    dataset = a_multi_frame()
    dataset.NumberOfFrames = 4
    stored = written(dataset)
    with pytest.raises(UndecodablePixelData, match="missing"):
        brought(stored, JPEG_LS)


def test_frames_are_encoded_when_they_are_asked_for() -> None:
    stored = written(a_multi_frame(4))
    seen: list[int] = []

    def convert(frames: Any, conversion: Conversion, _path: str) -> Any:
        for frame in frames:
            seen.append(len(frame))
            yield convert_frame(frame, conversion)

    header = read_header(stored)
    result = rewriting.rewrite(stored, header, transfer_syntax_uid=JPEG_LS, convert=convert)
    assert len(seen) == 1
    assert result.size_bytes is None
    for _ in range(3):
        next(result.chunks)
    assert len(seen) == 2


def test_the_size_of_a_single_frame_file_is_known() -> None:
    stored = written(a_dataset())
    result = rewriting.rewrite(stored, read_header(stored), transfer_syntax_uid=HTJ2K[0])
    assert result.size_bytes == len(b"".join(result.chunks))


# --- lossy -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def lossy() -> tuple[pydicom.FileDataset, pydicom.FileDataset]:
    stored = written(a_color_image(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"]))
    return read(stored), read(brought(stored, JPEGBaseline8Bit))


def test_a_lossy_image_says_how_it_was_compressed() -> None:
    _, made = lossy()
    assert made.LossyImageCompression == "01"
    assert made.LossyImageCompressionMethod == "ISO_10918_1"
    frame = next(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1))
    assert float(made.LossyImageCompressionRatio) == pytest.approx(768 / len(frame), abs=0.02)


def test_a_lossy_image_is_another_instance_derived_from_the_first() -> None:
    stored, made = lossy()
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID
    assert made.SOPInstanceUID != stored.SOPInstanceUID
    assert made.ImageType == ["DERIVED", "PRIMARY", "AXIAL"]
    (source,) = made.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == stored.SOPInstanceUID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121320"
    assert made.DerivationCodeSequence[0].CodeValue == "113040"


def test_what_an_image_was_derived_from_before_gives_way() -> None:
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = "2.25.1"
    dataset = a_color_image(SourceImageSequence=[reference])
    dataset["SourceImageSequence"].is_undefined_length = True
    made = read(brought(written(dataset), JPEGBaseline8Bit))
    (source,) = made.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert made.PatientID == dataset.PatientID


def test_the_same_lossy_image_has_the_same_uid_again() -> None:
    stored, made = lossy()
    again = read(brought(written(stored), JPEGBaseline8Bit))
    assert again.SOPInstanceUID == made.SOPInstanceUID


def test_a_second_lossy_step_is_told_beside_the_first() -> None:
    dataset = a_color_image(
        LossyImageCompression="01",
        LossyImageCompressionRatio="12.5",
        LossyImageCompressionMethod="ISO_15444_1",
    )
    made = read(brought(written(dataset), JPEGBaseline8Bit))
    assert made.LossyImageCompressionMethod == ["ISO_15444_1", "ISO_10918_1"]
    assert made.LossyImageCompressionRatio[0] == 12.5


def test_a_lossless_step_does_not_call_an_image_lossy() -> None:
    made = read(brought(written(a_color_image()), JPEGLosslessSV1))
    assert "LossyImageCompression" not in made


def test_lossy_colors_are_near_what_they_were() -> None:
    ramp = np.stack([np.add.outer(np.arange(16), np.arange(16)) * 8] * 3, axis=-1).astype(np.uint8)
    ramp[..., 1] = 255 - ramp[..., 1]
    made = read(brought(written(a_color_image(PixelData=ramp.tobytes())), JPEGBaseline8Bit))
    frame = next(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1))
    found = imagecodecs.jpeg8_decode(frame).astype(int)
    assert np.abs(found - ramp).mean() < 4


# --- the shared sample files -------------------------------------------------------------------


# The large frame of this one is that of RG2_JPLY.dcm, byte for byte.
THE_SAME = "RG2_JPLY_fixed.dcm"


def image_files() -> list[Path]:
    return [
        path
        for path in dicom_files("by_transfer_syntax/*/*")
        if path.read_bytes()[128:132] == b"DICM" and path.name != THE_SAME
    ]


def first_frame(path: Path) -> tuple[PixelDescription, bytes] | None:
    """None where there is none, or where it cannot be decoded."""
    content = path.read_bytes()
    header = read_header(content)
    if header.frames is None or not lookup(header.transfer_syntax_uid).decodable:
        return None
    try:
        rewriter = rewriting._Rewriter(content, header, transcoding.convert_frames, VERBATIM)
        if header.deflated:
            rewriter.source = rewriting._inflate(content, header.dataset_offset)
        level = rewriting._Level(rewriting._Encoding(), 0, header.attributes)
        description = rewriter._description(level, header.frames)
        frame = next(rewriter._frames())
        pixels.decode_frame(frame, description)
    except UndecodablePixelData:
        return None
    return description, frame


@pytest.mark.parametrize("path", image_files(), ids=lambda path: path.name[:48])
def test_every_lossless_target_keeps_the_pixels_of_a_sample(path: Path) -> None:
    found = first_frame(path)
    if found is None:
        return
    description, frame = found
    before = convert_frame(frame, Conversion(description, VERBATIM))
    targets = [uid for uid in transcoding.targets(description) if uid in LOSSLESS]
    exact = {}
    for target in targets:
        conversion = Conversion(description, target)
        exact[target] = is_exact(convert_frame(frame, conversion), before, conversion)
    assert exact == dict.fromkeys(targets, True)


FILES = (
    "reference_uncompressed_SYNTHETIC/reference_*",
    "*.4.50_jpeg_baseline/examples_ybr_color*",
    "*.1_explicit_le/examples_palette*",
    "*.4.90_j2k_lossless/TOSHIBA_J2K_SIZ0*",
    "*.4.57*/JPEGLossless_1s_1f_u_16_12*",
)


@pytest.mark.parametrize("target", [*LOSSLESS, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize(
    "path",
    dicom_files(*(f"by_transfer_syntax/{one}" for one in FILES)),
    ids=lambda path: path.name[:48],
)
@pytest.mark.skipif(which("dcmdump") is None, reason=NO_DCMTK)
def test_dcmtk_reads_every_sample_in_every_target(path: Path, target: str, tmp_path: Path) -> None:
    stored = path.read_bytes()
    if target not in (*transcoding.NATIVE, *possible(stored)):
        return
    file = tmp_path / "made.dcm"
    file.write_bytes(brought(stored, target))
    done = subprocess.run(["dcmdump", "+E", "-q", file], check=True, capture_output=True)
    assert b"E:" not in done.stderr


def possible(stored: bytes) -> tuple[str, ...]:
    header = read_header(stored)
    return transcoding.targets(
        PixelDescription.from_attributes(header.attributes, header.transfer_syntax_uid)
    )


TOOLS = {JPEG_LS: "dcmdjpls", RLE: "dcmdrle", JPEG_LOSSLESS: "dcmdjpeg"}


@pytest.mark.parametrize("target", TOOLS)
@pytest.mark.parametrize("kind", ["gray8_1f", "rgb8_1f", "gray16_3f"])
@pytest.mark.skipif(which("dcmdjpls") is None, reason=NO_DCMTK)
def test_dcmtk_decodes_what_was_encoded(target: str, kind: str, tmp_path: Path) -> None:
    reference = dicom_files(f"by_transfer_syntax/reference_*/reference_{kind}.dcm")
    if not reference:
        pytest.skip("no samples")
    made, decoded = tmp_path / "made.dcm", tmp_path / "decoded.dcm"
    made.write_bytes(brought(reference[0].read_bytes(), target))
    subprocess.run([TOOLS[target], made, decoded], check=True, capture_output=True)
    before, after = pydicom.dcmread(reference[0]), pydicom.dcmread(decoded)
    assert np.array_equal(after.pixel_array, before.pixel_array)
