"""What a compressed frame makes the Image Pixel attributes say (PS3.5 section 8.2)."""

import re
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.misc import is_dicom

from bfr_dicomweb.dicom import compressed_images
from bfr_dicomweb.dicom.compressed_images import CompressedImage
from bfr_dicomweb.dicom.frames import join_fragments
from bfr_dicomweb.dicom.part10 import read_header
from metadata_parts import COLOUR, GREY, GREY_16, jpeg, saved
from shared_data import dicom_files, require_shared_data

SYNTAX = "1.2.840.10008.1.2.4."


def describe(frame: bytes) -> CompressedImage:
    return compressed_images.describe(b"before" + frame + b"behind", 6, 6 + len(frame))


def with_adobe(transform: int, frame: bytes) -> bytes:
    """A JPEG file whose APP14 names a colour transform, and that has no JFIF header."""
    start = 4 + struct.unpack_from(">H", frame, 4)[0]
    adobe = b"\xff\xee\x00\x0eAdobe" + bytes([0, 100, 0, 0, 0, 0, transform])
    return frame[:2] + adobe + frame[start:]


@pytest.mark.parametrize(
    ("frame", "photometric", "bits"),
    [
        pytest.param(jpeg(GREY), "MONOCHROME2", 8, id="grey"),
        pytest.param(jpeg(), "YBR_FULL_422", 8, id="colour"),
        pytest.param(jpeg(subsampling=0), "YBR_FULL_422", 8, id="colour, not subsampled"),
        pytest.param(with_adobe(0, jpeg()), "RGB", 8, id="RGB"),
        pytest.param(saved(COLOUR, "JPEG2000"), "RGB", 8, id="JP2"),
        pytest.param(saved(COLOUR, "JPEG2000", mct=1), "YBR_RCT", 8, id="reversible"),
        pytest.param(
            saved(COLOUR, "JPEG2000", mct=1, irreversible=True), "YBR_ICT", 8, id="irreversible"
        ),
        pytest.param(imagecodecs.htj2k_encode(COLOUR), "YBR_RCT", 8, id="HTJ2K"),
        pytest.param(
            imagecodecs.jpegxl_encode(GREY_16 >> 4, lossless=True, bitspersample=12),
            "MONOCHROME2",
            12,
            id="JPEG XL of 12 bits",
        ),
        pytest.param(imagecodecs.jpegxl_encode(COLOUR, lossless=True), "RGB", 8, id="JPEG XL"),
        pytest.param(imagecodecs.jpegxl_encode(COLOUR, distance=1.0), "XYB", 8, id="lossy"),
    ],
)
def test_colours_and_bits_are_read(frame: bytes, photometric: str, bits: int) -> None:
    found = describe(bytes(frame))
    assert (found.photometric_interpretation, found.bits) == (photometric, bits)
    assert (found.rows, found.columns) == GREY.shape


@pytest.mark.parametrize(
    ("frame", "is_lossy"),
    [
        (jpeg(), True),
        (imagecodecs.ljpeg_encode(GREY), False),
        (imagecodecs.jpegls_encode(GREY), False),
        (imagecodecs.jpegls_encode(GREY, level=2), True),
        (imagecodecs.htj2k_encode(GREY), False),
        (imagecodecs.htj2k_encode(GREY, level=10), True),
        (imagecodecs.jpegxl_encode(GREY, lossless=True), False),
        (imagecodecs.jpegxl_encode(GREY, distance=1.0), True),
        (imagecodecs.jpegxl_encode_jpeg(jpeg()), True),
    ],
)
def test_loss_is_read(frame: bytes, is_lossy: bool) -> None:
    assert describe(bytes(frame)).is_lossy is is_lossy


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        pytest.param(b"nothing", "no known codestream", id="nothing"),
        pytest.param(saved(np.dstack([COLOUR, GREY]), "JPEG2000"), "4 samples", id="alpha"),
        pytest.param(
            imagecodecs.jpegxl_encode(np.dstack([COLOUR, GREY]), lossless=True),
            "transparency",
            id="JPEG XL with alpha",
        ),
        pytest.param(jpeg()[:300], "cut off|without a picture", id="cut JPEG"),
        pytest.param(saved(COLOUR, "JPEG2000")[:90], "without image", id="cut JP2"),
        pytest.param(
            jpeg().replace(b"\xff\xc0", b"\xff\xc9", 1), "arithmetic", id="arithmetic coding"
        ),
        pytest.param(
            jpeg().replace(struct.pack(">HH", *GREY.shape), bytes(4), 1), "0 x 0", id="no rows"
        ),
    ],
)
def test_what_dicom_cannot_hold_is_told(frame: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        describe(bytes(frame))


@pytest.mark.parametrize("cut", range(12, 200, 7))
@pytest.mark.parametrize(
    "frame",
    [
        jpeg(),
        saved(COLOUR, "JPEG2000"),
        bytes(imagecodecs.jpegxl_encode_jpeg(jpeg())),
        bytes(imagecodecs.jpegxl_encode(GREY_16, lossless=True)),
    ],
    ids=["JPEG", "JP2", "boxed JPEG XL", "JPEG XL"],
)
def test_a_frame_that_is_cut_off_is_a_value_error_or_still_has_its_header(
    frame: bytes, cut: int
) -> None:
    try:
        found = describe(frame[:cut])
    except ValueError:
        return
    assert (found.rows, found.columns) == GREY.shape


def _compressed() -> list[Any]:
    wanted = re.compile(r"4\.(5|57|70|80|81|90|91|110|112|201|202|203)")
    folders = ("*4.5*", "*4.70*", "*4.8*", "*4.9[01]*", "*4.11*", "*4.20[123]*")
    paths = dicom_files(*(f"by_transfer_syntax/{folder}/*" for folder in folders))
    return [
        pytest.param(path, id=f"{path.parent.name}/{path.name}")
        for path in paths
        if wanted.search(path.parent.name) and is_dicom(path) and "_UNC" not in path.name
    ]


@pytest.mark.parametrize("path", _compressed())
def test_the_transfer_syntax_of_a_real_file_is_one_that_its_frames_allow(path: Path) -> None:
    require_shared_data()
    file = path.read_bytes()
    header = read_header(file)
    assert header.frames is not None
    start, stop = header.frames.span(0)
    found = describe(join_fragments(file[start:stop]))
    assert header.transfer_syntax_uid in found.transfer_syntax_uids
