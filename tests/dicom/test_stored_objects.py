"""Stored objects opened for their values and samples; pydicom is the oracle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from bfr_dicomweb.dicom import part10
from bfr_dicomweb.dicom.stored_objects import Layout, StoredObject
from bfr_dicomweb.dicom.transfer_syntaxes import lookup
from bfr_dicomweb.errors import NotFound, Unavailable, UndecodablePixelData
from objects import a_dataset, written
from shared_data import dicom_files

Kept = Callable[..., Path]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    def write(transfer_syntax_uid: str = ExplicitVRLittleEndian, **attributes: object) -> Path:
        path = tmp_path / "one.dcm"
        path.write_bytes(written(a_dataset(**attributes), transfer_syntax_uid))
        return path

    return write


@pytest.mark.parametrize(
    "transfer_syntax_uid",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian],
)
def test_samples_are_those_of_pydicom(kept: Kept, transfer_syntax_uid: str) -> None:
    path = kept(transfer_syntax_uid)

    assert np.array_equal(StoredObject.read(path).samples(0), dcmread(path).pixel_array)


def native_samples() -> list[Path]:
    def is_native(path: Path) -> bool:
        try:
            found = dcmread(path, defer_size=1024)
        except Exception:
            return False
        uid = str(getattr(found.file_meta, "TransferSyntaxUID", ""))
        gray = str(found.get("PhotometricInterpretation", "")).startswith("MONOCHROME")
        return gray and "PixelData" in found and not lookup(uid).encapsulated

    return [path for path in dicom_files("by_transfer_syntax/*/*") if is_native(path)]


@pytest.mark.parametrize("path", native_samples(), ids=lambda path: path.name)
def test_samples_of_real_objects_are_those_of_pydicom(path: Path) -> None:
    expected = dcmread(path).pixel_array
    stored = StoredObject.read(path)
    if stored.number_of_frames == 1:
        expected = expected[np.newaxis]

    assert np.array_equal(stored.samples(stored.number_of_frames - 1), expected[-1])


def test_what_lies_below_and_above_the_bits_stored_is_no_part_of_a_sample(kept: Kept) -> None:
    words = np.full(256, 0b1111_0000_0101_0011, "<u2")
    path = kept(BitsStored=8, HighBit=11, PixelData=words.tobytes())

    assert set(StoredObject.read(path).samples(0).flat) == {0b0000_0101}


def test_a_sign_is_that_of_the_bits_stored(kept: Kept) -> None:
    path = kept(
        BitsStored=12, PixelRepresentation=1, PixelData=np.full(256, 0x0FFF, "<u2").tobytes()
    )

    assert set(StoredObject.read(path).samples(0).flat) == {-1}


def test_words_are_read_in_their_byte_order(tmp_path: Path) -> None:
    dataset = a_dataset(PixelData=np.arange(256, dtype=">u2").tobytes())
    dataset.RedPaletteColorLookupTableDescriptor = [3, 0, 16]
    dataset.RedPaletteColorLookupTableData = np.array([1, 2, 3], ">u2").tobytes()
    path = tmp_path / "big.dcm"
    path.write_bytes(written(dataset, ExplicitVRBigEndian))
    stored = StoredObject.read(path)

    assert list(stored.words(stored.attributes["00281201"])) == [1, 2, 3]
    assert list(stored.samples(0).flat[:3]) == [0, 1, 2]


def test_an_object_is_opened_from_what_a_catalogue_knows(kept: Kept) -> None:
    path = kept()
    header = part10.read_header(path.read_bytes())
    layout = Layout(
        path,
        header.transfer_syntax_uid,
        header.big_endian,
        header.deflated,
        header.dataset_offset,
        zstandard.compress(orjson.dumps(header.attributes)),
        part10.bulk_to_bytes(header.bulk),
        header.frames,
    )
    opened = layout.open()

    assert opened.attributes == header.attributes
    assert np.array_equal(opened.samples(0), dcmread(path).pixel_array)


def test_a_frame_that_is_not_there_is_not_found(kept: Kept) -> None:
    with pytest.raises(NotFound, match="no frame 2"):
        StoredObject.read(kept()).samples(1)


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read(kept: Kept) -> None:
    with pytest.raises(UndecodablePixelData, match="limit"):
        StoredObject.read(kept()).samples(0, max_frame_bytes=511)


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        StoredObject.read(tmp_path / "gone.dcm")
