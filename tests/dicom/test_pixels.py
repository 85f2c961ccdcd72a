"""Native frames out of every codec, compared with other decoders and with what was encoded."""

import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
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
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.encoders.base import RLELosslessEncoder

from bfr_dicomweb.dicom.codestreams import Family, read_codestream
from bfr_dicomweb.dicom.part10 import read_header
from bfr_dicomweb.dicom.pixels import (
    PixelDescription,
    decode_frame,
    little_endian,
    native_changes,
    packed_frame,
    swapped_unit,
)
from bfr_dicomweb.dicom.transfer_syntaxes import lookup
from bfr_dicomweb.errors import UndecodablePixelData
from shared_data import SHARED, dicom_files

Pixels = npt.NDArray[Any]

STEM = "1.2.840.10008.1.2"
ROWS, COLUMNS = 17, 23


def a_description(suffix: str, **fields: Any) -> PixelDescription:
    usual: dict[str, Any] = {"rows": ROWS, "columns": COLUMNS}
    if fields.get("samples_per_pixel") == 3:
        usual |= {"photometric_interpretation": "RGB", "bits_allocated": 8, "bits_stored": 8}
    return PixelDescription(transfer_syntax=lookup(STEM + suffix), **(usual | fields))


def gray(bits: int) -> Pixels:
    values = np.arange(ROWS * COLUMNS, dtype=np.uint32) * 2654435761 % (1 << bits)
    return values.astype("u1" if bits <= 8 else "<u2").reshape(ROWS, COLUMNS)


def rgb() -> Pixels:
    return np.stack([gray(8), gray(8)[::-1], gray(8)[:, ::-1]], axis=-1)


def rle(pixels: Pixels) -> bytes:
    samples = 3 if pixels.ndim == 3 else 1
    bits = 8 * pixels.itemsize
    return RLELosslessEncoder.encode(
        pixels.tobytes(),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples_per_pixel=samples,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
        number_of_frames=1,
        planar_configuration=0,
    )


def deflated(pixels: Pixels) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(pixels.tobytes()) + compressor.flush()


Encode = Callable[[Pixels], bytes]

LOSSLESS: list[tuple[str, Encode]] = [
    (".1", lambda pixels: pixels.tobytes()),
    (".1.98", lambda pixels: pixels.tobytes()),
    (".8.1", deflated),
    (".5", rle),
    (".4.57", lambda pixels: bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=4))),
    (".4.70", lambda pixels: bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1))),
    (".4.80", lambda pixels: bytes(imagecodecs.jpegls_encode(pixels))),
    (
        ".4.90",
        lambda pixels: bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True)),
    ),
    (".4.110", lambda pixels: bytes(imagecodecs.jpegxl_encode(pixels, lossless=True))),
    (".4.201", lambda pixels: bytes(imagecodecs.htj2k_encode(pixels))),
]


# What was encoded here comes back


@pytest.mark.parametrize(("suffix", "encode"), LOSSLESS, ids=[row[0] for row in LOSSLESS])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_gray_frame_comes_back_exactly(suffix: str, encode: Encode, bits: int) -> None:
    pixels = gray(bits)
    description = a_description(suffix, bits_allocated=bits, bits_stored=bits)
    assert decode_frame(encode(pixels), description) == pixels.tobytes()


@pytest.mark.parametrize(("suffix", "encode"), LOSSLESS, ids=[row[0] for row in LOSSLESS])
def test_a_color_frame_comes_back_exactly(suffix: str, encode: Encode) -> None:
    pixels = rgb()
    assert decode_frame(encode(pixels), a_description(suffix, samples_per_pixel=3)) == (
        pixels.tobytes()
    )


@pytest.mark.parametrize(("suffix", "encode"), LOSSLESS[3:], ids=[row[0] for row in LOSSLESS[3:]])
def test_planes_are_given_when_planes_are_wanted(suffix: str, encode: Encode) -> None:
    pixels = rgb()
    description = a_description(suffix, samples_per_pixel=3, planar_configuration=1)
    decoded = decode_frame(encode(pixels), description, planar_configuration=1)
    assert decoded == np.moveaxis(pixels, -1, 0).tobytes()


def test_stored_planes_become_pixels() -> None:
    planes = np.moveaxis(rgb(), -1, 0).tobytes()
    description = a_description(".1", samples_per_pixel=3, planar_configuration=1)
    assert decode_frame(planes, description) == rgb().tobytes()


def test_jpeg_inside_jpeg_xl_is_restored_to_what_the_jpeg_stored() -> None:
    jpeg = bytes(imagecodecs.jpeg8_encode(rgb(), level=95))
    described = a_description(
        ".4.111", samples_per_pixel=3, photometric_interpretation="YBR_FULL_422"
    )
    same = replace(described, transfer_syntax=lookup(STEM + ".4.50"))
    frame = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))
    assert decode_frame(frame, described) == decode_frame(jpeg, same)


def test_twelve_bit_jpeg_is_decoded() -> None:
    pixels = np.linspace(0, 4095, ROWS * COLUMNS).astype("<u2").reshape(ROWS, COLUMNS)
    frame = bytes(imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=12))
    decoded = np.frombuffer(decode_frame(frame, a_description(".4.51", bits_stored=12)), "<u2")
    assert np.abs(decoded.astype(int) - pixels.reshape(-1)).max() < 40


def test_lossy_htj2k_does_not_wrap_round_at_black_and_white() -> None:
    pixels = np.kron(np.indices((16, 16)).sum(0) % 2, np.ones((8, 8))).astype("u1") * 255
    frame = bytes(imagecodecs.htj2k_encode(pixels, level=0.05, reversible=False))
    description = a_description(".4.203", rows=128, columns=128, bits_allocated=8, bits_stored=8)
    decoded = np.frombuffer(decode_frame(frame, description), "u1")
    assert np.abs(decoded.astype(int) - pixels.reshape(-1)).max() < 128


def test_a_jp2_file_is_decoded_like_the_codestream_in_it() -> None:
    boxed = bytes(imagecodecs.jpeg2k_encode(gray(8), codecformat="jp2", reversible=True))
    assert boxed.startswith(b"\0\0\0\x0cjP")
    description = a_description(".4.90", bits_allocated=8, bits_stored=8)
    assert decode_frame(boxed, description) == gray(8).tobytes()


# One bit


@given(
    st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=6),
    st.integers(0, 20),
)
def test_packed_frames_come_apart_as_they_were(frames: list[list[bool]], before: int) -> None:
    bits = np.array([False] * before + [bit for frame in frames for bit in frame])
    packed = np.packbits(bits, bitorder="little").tobytes()
    for index, frame in enumerate(frames):
        expected = np.packbits(frame, bitorder="little").tobytes()
        assert packed_frame(packed, before + 9 * index, 9) == expected


ONE_BIT = (gray(8) % 2).astype("u1")
PACKED = np.packbits(ONE_BIT.reshape(-1), bitorder="little").tobytes()


@pytest.mark.parametrize(
    ("suffix", "frame"),
    [
        (".1", PACKED),
        (".1.98", PACKED + b"\0"),
        (".8.1", deflated(np.frombuffer(PACKED, "u1"))),
        (".4.90", bytes(imagecodecs.jpeg2k_encode(ONE_BIT, codecformat="j2k", bitspersample=1))),
    ],
)
def test_a_frame_of_one_bit_is_packed(suffix: str, frame: bytes) -> None:
    description = a_description(suffix, bits_allocated=1, bits_stored=1)
    assert decode_frame(frame, description) == PACKED


# Sign and width


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(-2048, 2047), min_size=ROWS * COLUMNS, max_size=ROWS * COLUMNS))
def test_signed_samples_in_an_unsigned_codec_keep_their_sign(values: list[int]) -> None:
    pixels = np.array(values, "<i2").reshape(ROWS, COLUMNS)
    frame = bytes(imagecodecs.jpeg8_encode(
        (pixels & 0xFFF).astype("u2"), lossless=True, predictor=1, bitspersample=12
    ))  # fmt: skip
    description = a_description(".4.70", bits_stored=12, pixel_representation=1)
    assert decode_frame(frame, description) == pixels.tobytes()


def test_unsigned_samples_in_a_signed_stream_lose_the_sign() -> None:
    pixels = gray(16)
    frame = bytes(imagecodecs.jpeg2k_encode(pixels.view("<i2"), codecformat="j2k", reversible=True))
    assert decode_frame(frame, a_description(".4.90")) == pixels.tobytes()


def test_samples_of_eight_bits_fill_the_allocated_sixteen() -> None:
    frame = bytes(imagecodecs.jpegls_encode(gray(8)))
    description = a_description(".4.80", bits_stored=8)
    assert decode_frame(frame, description) == gray(8).astype("<u2").tobytes()


# Byte order


@pytest.mark.parametrize(
    ("vr", "bits", "unit"),
    [("OB", 8, 1), ("OW", 1, 2), ("OW", 8, 2), ("OW", 16, 2), ("OW", 32, 4), ("OF", 32, 4)],
)
def test_big_endian_turns_words_by_vr_and_bits(vr: str, bits: int, unit: int) -> None:
    assert swapped_unit(vr, bits) == unit


@given(st.binary(max_size=64), st.sampled_from([1, 2, 4, 8]))
def test_turning_twice_changes_nothing(value: bytes, unit: int) -> None:
    value = value[: len(value) // unit * unit]
    assert little_endian(little_endian(value, unit), unit) == value


def test_big_endian_pixels_become_little_endian() -> None:
    description = a_description(".2")
    assert decode_frame(gray(16).byteswap().tobytes(), description) == gray(16).tobytes()


# Colour


def difference(one: bytes, other: Pixels) -> int:
    return int(np.abs(np.frombuffer(one, "u1").astype(int) - other.reshape(-1)).max())


SMOOTH = np.asarray(Image.fromarray(rgb(), "RGB").resize((4, 4)).resize((COLUMNS, ROWS), 2))


def test_ybr_stays_ybr() -> None:
    frame = bytes(imagecodecs.jpeg8_encode(SMOOTH, level=100, subsampling="444"))
    description = a_description(
        ".4.50", samples_per_pixel=3, photometric_interpretation="YBR_FULL_422"
    )
    expected = np.asarray(Image.fromarray(SMOOTH, "RGB").convert("YCbCr"))
    assert difference(decode_frame(frame, description), expected) <= 3


def test_a_stream_in_ybr_that_is_described_as_rgb_becomes_rgb() -> None:
    frame = bytes(imagecodecs.jpeg8_encode(SMOOTH, level=100, subsampling="444"))
    assert b"JFIF" in frame
    description = a_description(".4.50", samples_per_pixel=3)
    assert difference(decode_frame(frame, description), SMOOTH) <= 4


def test_a_stream_in_rgb_that_is_described_as_ybr_becomes_ybr() -> None:
    frame = bytes(
        imagecodecs.jpeg8_encode(SMOOTH, level=100, colorspace="RGB", outcolorspace="RGB")
    )
    assert read_codestream(frame).color_space is not None
    description = a_description(".4.50", samples_per_pixel=3, photometric_interpretation="YBR_FULL")
    expected = np.asarray(Image.fromarray(SMOOTH, "RGB").convert("YCbCr"))
    assert difference(decode_frame(frame, description), expected) <= 4


@pytest.mark.parametrize(
    ("suffix", "declared", "native"),
    [
        (".4.50", "YBR_FULL_422", "YBR_FULL"),
        (".4.50", "RGB", "RGB"),
        (".4.90", "YBR_RCT", "RGB"),
        (".4.203", "YBR_ICT", "RGB"),
        (".4.112", "XYB", "RGB"),
        (".5", "YBR_FULL", "YBR_FULL"),
        (".5", "PALETTE COLOR", "PALETTE COLOR"),
        (".1", "YBR_FULL_422", "YBR_FULL_422"),
        (".8.1", "YBR_FULL_422", "YBR_FULL_422"),
    ],
)
def test_the_photometric_interpretation_after_decoding(
    suffix: str, declared: str, native: str
) -> None:
    description = a_description(suffix, samples_per_pixel=3, photometric_interpretation=declared)
    assert description.native_photometric_interpretation == native


def test_uncompressed_ybr_422_has_two_samples_per_pixel() -> None:
    description = a_description(
        ".1", samples_per_pixel=3, photometric_interpretation="YBR_FULL_422"
    )
    assert description.frame_bytes == ROWS * COLUMNS * 2


def test_decoding_changes_only_attributes_that_get_another_value() -> None:
    assert native_changes(a_description(".5")) == {}


def test_decoding_lossy_jpeg_leaves_a_note_of_the_loss() -> None:
    assert native_changes(a_description(".4.51"))["00282110"]["Value"] == ["01"]


# What is refused


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("00280010", None, "Rows is missing"),
        ("00280010", "1A", "Rows is missing or not a number"),
        ("00280011", 0, "Columns is 0"),
        ("00280010", 65536, "Rows is 65536"),
        ("00280002", 7, "Samples per Pixel is 7"),
        ("00280100", 12, "Bits Allocated is 12"),
        ("00280100", None, "Bits Allocated is missing"),
    ],
)
def test_impossible_attributes_are_refused(attribute: str, value: object, reason: str) -> None:
    attributes: dict[str, Any] = {
        "00280002": {"vr": "US", "Value": [1]},
        "00280010": {"vr": "US", "Value": [8]},
        "00280011": {"vr": "US", "Value": [8]},
        "00280100": {"vr": "US", "Value": [8]},
        attribute: {"vr": "US"} if value is None else {"vr": "US", "Value": [value]},
    }
    with pytest.raises(UndecodablePixelData, match=reason):
        PixelDescription.from_attributes(attributes, STEM + ".1")


@given(
    st.dictionaries(
        st.sampled_from(["00280002", "00280004", "00280006", "00280010", "00280011", "00280100"]),
        st.fixed_dictionaries({"vr": st.just("US")}, optional={
            "Value": st.lists(st.none() | st.integers() | st.text() | st.booleans() | st.floats())
        }),
    )
)  # fmt: skip
def test_any_attributes_give_a_description_or_our_error(attributes: dict[str, Any]) -> None:
    try:
        description = PixelDescription.from_attributes(attributes, STEM + ".1")
    except UndecodablePixelData:
        return
    assert description.frame_bits > 0


@pytest.mark.parametrize(("suffix", "encode"), LOSSLESS, ids=[row[0] for row in LOSSLESS])
def test_a_frame_of_another_size_than_described_is_refused(suffix: str, encode: Encode) -> None:
    description = a_description(suffix, rows=ROWS + 1)
    with pytest.raises(UndecodablePixelData):
        decode_frame(encode(gray(16)), description)


@pytest.mark.parametrize(("suffix", "encode"), LOSSLESS[2:], ids=[row[0] for row in LOSSLESS[2:]])
@settings(deadline=None)
@given(cut=st.integers(0, 90))
def test_a_broken_frame_is_refused_or_decoded_to_its_size(
    suffix: str, encode: Encode, cut: int
) -> None:
    frame = encode(gray(16))
    frame = frame[: len(frame) * cut // 100]
    description = a_description(suffix)
    try:
        decoded = decode_frame(frame, description)
    except UndecodablePixelData:
        return
    assert len(decoded) == description.frame_bytes


@settings(deadline=None)
@given(frame=st.binary(max_size=300), suffix=st.sampled_from([".4.50", ".5", ".8.1", ".1.98"]))
def test_any_bytes_give_pixels_or_our_error(frame: bytes, suffix: str) -> None:
    description = a_description(suffix)
    try:
        decoded = decode_frame(frame, description)
    except UndecodablePixelData:
        return
    assert len(decoded) == description.frame_bytes


def test_a_frame_beyond_the_limit_is_refused_without_looking_at_it() -> None:
    with pytest.raises(UndecodablePixelData, match="exceeds the limit"):
        decode_frame(b"", a_description(".4.90", rows=65535, columns=65535))


def test_a_small_deflated_frame_cannot_become_a_huge_one() -> None:
    bomb = deflated(np.zeros(50_000_000, "u1"))
    with pytest.raises(UndecodablePixelData, match="are described"):
        decode_frame(bomb, a_description(".8.1"))


# Decoders paint over what is missing (JPEG), lose themselves for seconds (JPEG-LS) or hand out
# memory that nobody wrote (HTJ2K).
@pytest.mark.parametrize("percent", [30, 78, 98])
@pytest.mark.parametrize(("suffix", "encode"), LOSSLESS[1:], ids=[row[0] for row in LOSSLESS[1:]])
def test_a_frame_that_is_cut_off_is_refused(suffix: str, encode: Encode, percent: int) -> None:
    frame = encode(gray(16))
    with pytest.raises(UndecodablePixelData):
        decode_frame(frame[: len(frame) * percent // 100], a_description(suffix))


def test_more_bits_than_are_allocated_are_refused() -> None:
    frame = bytes(imagecodecs.jpegls_encode(gray(16)))
    with pytest.raises(UndecodablePixelData, match="only 8 are allocated"):
        decode_frame(frame, a_description(".4.80", bits_allocated=8, bits_stored=8))


def test_a_color_stream_described_as_gray_is_refused() -> None:
    frame = bytes(imagecodecs.jpegls_encode(rgb()))
    with pytest.raises(UndecodablePixelData, match="3 samples per pixel; 1 are described"):
        decode_frame(frame, a_description(".4.80", bits_allocated=8, bits_stored=8))


def test_video_is_refused_with_its_transfer_syntax() -> None:
    with pytest.raises(UndecodablePixelData, match=r"1\.2\.840\.10008\.1\.2\.4\.102"):
        decode_frame(b"", a_description(".4.102"))


def test_a_segment_offset_outside_of_an_rle_frame_is_refused() -> None:
    frame = struct.pack("<16I", 2, 64, 10**9, *[0] * 13) + bytes(100)
    with pytest.raises(UndecodablePixelData, match="RLE"):
        decode_frame(frame, a_description(".5"))


# The header of a codestream


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)) | st.sampled_from([(64, 64), (128, 256)])
)
def test_the_size_of_a_jpeg_xl_image_is_read_from_its_header(shape: tuple[int, int]) -> None:
    stream = read_codestream(bytes(imagecodecs.jpegxl_encode(np.zeros(shape, "u1"), effort=1)))
    assert (stream.family, stream.rows, stream.columns) == (Family.JPEG_XL, *shape)


@given(st.binary(max_size=200), st.sampled_from(
    [b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\xff\x0a", b"\0\0\0\x0cJXL "]
))  # fmt: skip
def test_any_bytes_are_a_codestream_or_a_value_error(content: bytes, start: bytes) -> None:
    try:
        stream = read_codestream(start + content)
    except ValueError:
        return
    assert stream.family in Family


# The shared sample files

REFERENCES = "by_transfer_syntax/reference_uncompressed_SYNTHETIC"


def stored(path: Path) -> tuple[PixelDescription, list[bytes]]:
    """The description of a file and its encoded frames, as pydicom finds them."""
    header = read_header(path.read_bytes())
    description = PixelDescription.from_attributes(header.attributes, header.transfer_syntax_uid)
    dataset = pydicom.dcmread(path)
    count = int(dataset.get("NumberOfFrames") or 1)
    if dataset["PixelData"].is_undefined_length:
        return description, list(generate_frames(dataset.PixelData, number_of_frames=count))
    bits = description.frame_bits
    if header.big_endian and count == 1:
        return description, [dataset.PixelData]  # with the byte that the last word is shared with
    return description, [
        packed_frame(dataset.PixelData, index * bits, bits) for index in range(count)
    ]


def decoded(path: Path) -> list[bytes]:
    description, frames = stored(path)
    return [decode_frame(frame, description) for frame in frames]


def transfer_syntax_files(*suffixes: str, synthetic: bool = False) -> list[Path]:
    """Image files in the folders of these syntaxes."""
    found = dicom_files(*(f"by_transfer_syntax/{STEM}{suffix}_*/*" for suffix in suffixes))
    return [
        path
        for path in found
        if path.parent.name.endswith("_SYNTHETIC") is synthetic
        and path.read_bytes()[128:132] == b"DICM"
    ]


def reference(path: Path) -> bytes:
    """The pixels that were encoded in a SYNTHETIC file."""
    kind = next(kind for kind in ("gray8_1f", "rgb8_1f", "gray16_3f", "3f") if kind in path.name)
    kind = "gray16_3f" if kind == "3f" else kind
    file = SHARED / "dicom" / REFERENCES / f"reference_{kind}.dcm"
    return bytes(pydicom.dcmread(file).PixelData)


def short_name(path: Path) -> str:
    return path.name[:48]


@pytest.mark.parametrize(
    "path",
    transfer_syntax_files(
        ".1.98", ".4.110", ".4.201", ".4.202", ".4.80", ".5", ".8.1", synthetic=True
    ),
    ids=short_name,
)
def test_lossless_samples_are_the_pixels_behind_them(path: Path) -> None:
    assert b"".join(decoded(path)) == reference(path)


@pytest.mark.parametrize(
    "path", transfer_syntax_files(".4.112", ".4.203", synthetic=True), ids=short_name
)
def test_lossy_samples_are_near_the_pixels_behind_them(path: Path) -> None:
    kind = "<u2" if "gray16" in path.name else "u1"
    original = np.frombuffer(reference(path), kind).astype(float)
    found = np.frombuffer(b"".join(decoded(path)), kind)
    assert np.abs(found - original).mean() < np.ptp(original) / 50


# pydicom spreads the shared chroma of the first over the pixels, whatever is asked for; the
# other has no pixel data.
NOT_COMPARED = {"SC_ybr_full_422_uncompressed.dcm", "Issue1097_FailToOpenDeflatedFileWithSQ.dcm"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "path",
    [
        path
        for path in transfer_syntax_files(
            ".1", ".1.99", "", ".2", ".4.50", ".4.80", ".4.81", ".4.90", ".4.91", ".4.201",
            ".4.202", ".4.203", ".5",
        )
        if path.name not in NOT_COMPARED and not path.name.startswith("liver")
    ],
    ids=short_name,
)  # fmt: skip
def test_frames_are_those_of_pydicom(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    description, frames = stored(path)
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    expected, _ = decoder.as_array(dataset, raw=True, index=0)
    found = decode_frame(frames[0], description)
    if description.bits_allocated == 1:
        expected = np.packbits(expected.reshape(-1), bitorder="little")
    assert found == expected.astype(expected.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize(
    "path", dicom_files(*(f"by_transfer_syntax/{STEM}{s}*/liver*" for s in (".5", ".8.1", ".4.90")))
)
def test_one_bit_frames_are_the_same_in_every_codec(path: Path) -> None:
    folder = SHARED / "dicom" / "by_transfer_syntax"
    # Of the frames that end inside a byte there is no uncompressed file; their codecs must agree.
    kind = "liver_nonbyte_aligned_j2k.dcm" if "nonbyte" in path.name else "liver.dcm"
    assert decoded(path) == decoded(next(folder.glob(f"*/{kind}")))


@pytest.mark.parametrize(
    "path", transfer_syntax_files(".4.51", ".4.53", ".4.57", ".4.70"), ids=short_name
)
@pytest.mark.skipif(
    which("dcmdjpeg") is None, reason="DCMTK is not installed: apt-get install dcmtk"
)
def test_jpeg_frames_are_those_of_dcmtk(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "native.dcm"
    subprocess.run(["dcmdjpeg", "+cn", "+px", path, target], check=True, capture_output=True)
    expected = np.frombuffer(pydicom.dcmread(target).PixelData, "u1")
    found = np.frombuffer(b"".join(decoded(path)), "u1")
    lossy = lookup(str(pydicom.dcmread(path).file_meta.TransferSyntaxUID)).lossy
    width = "<i2" if stored(path)[0].bits_allocated == 16 else "u1"
    apart = np.abs(expected[: found.size].view(width).astype(int) - found.view(width))
    assert apart.max() <= (16 if lossy else 0)


@pytest.mark.parametrize(
    "path",
    dicom_files("by_modality/CR/*", "by_modality/OP/*", "by_modality/PT/*", "by_modality/NM/*",
                "by_modality/US*/*", "by_modality/XA_cine/*", "by_modality/SM_tiled/*"),
    ids=short_name,
)  # fmt: skip
def test_every_frame_of_the_sample_studies_is_decoded(path: Path) -> None:
    description, frames = stored(path)
    for frame in frames[:5]:
        assert len(decode_frame(frame, description)) == description.frame_bytes
