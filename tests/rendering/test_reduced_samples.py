"""Reduced samples show what all of them show: the codecs' own full decoding is the oracle."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.rendering.reduced_samples import reduced_samples
from objects import a_dataset, written

Samples = npt.NDArray[Any]
SIDE = 512


def waves(depth: int) -> Samples:
    """Slow waves from 0 to the largest number of so many bits."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    shade: Samples = (np.sin(6 * x) * np.cos(5 * y) + 1) / 2 * (2**depth - 1)
    return shade


def an_object(
    path: Path, samples: Samples, transfer_syntax: str, frame: bytes | None, **more: Any
) -> StoredObject:
    bits = 8 * samples.itemsize
    dataset = a_dataset(
        **{
            "Rows": SIDE,
            "Columns": SIDE,
            "SamplesPerPixel": 1 if samples.ndim == 2 else 3,
            "BitsAllocated": bits,
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": int(samples.dtype.kind == "i"),
        }
        | more
    )
    if samples.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PixelData = samples.tobytes() if frame is None else encapsulate([frame])
    if frame is not None:
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    path.write_bytes(written(dataset, transfer_syntax))
    return StoredObject.read(path)


def deviation(found: Samples, whole: Samples) -> float:
    """The mean difference from averages, as a part of the range."""
    step = SIDE // found.shape[0]
    cells = whole.reshape(SIDE // step, step, SIDE // step, step, -1).mean((1, 3)).squeeze()
    return float(np.abs(found - cells).mean() / np.ptp(whole))


@pytest.mark.parametrize("dtype", ["<u2", "<i2", "u1"])
def test_native_samples_are_left_out(tmp_path: Path, dtype: str) -> None:
    samples = (waves(8) - (100 if dtype == "<i2" else 0)).astype(dtype)
    stored = an_object(tmp_path / "x", samples, ExplicitVRLittleEndian, None)

    found = reduced_samples(stored, 0, 64)

    assert found.shape == (128, 128)
    assert found.dtype == samples.dtype
    assert deviation(found, samples) < 0.02


@pytest.mark.parametrize("dtype", ["<u2", "<i2", "u1"])
@pytest.mark.parametrize("depth", [8, 12, 16])
def test_jpeg_2000_gives_fewer_resolutions(tmp_path: Path, dtype: str, depth: int) -> None:
    if dtype == "u1" and depth > 8:
        return
    whole = waves(depth) - (2 ** (depth - 1) if dtype == "<i2" else 0)
    samples = np.round(whole).astype(dtype)
    frame = imagecodecs.jpeg2k_encode(
        samples, level=0, reversible=True, codecformat="j2k", bitspersample=depth
    )
    more = {"BitsStored": depth, "HighBit": depth - 1}
    stored = an_object(tmp_path / "x", samples, JPEG2000Lossless, bytes(frame), **more)

    found = reduced_samples(stored, 0, 64)

    assert found.shape == (128, 128)
    assert deviation(found, samples) < 0.02


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "YBR_FULL_422"])
def test_jpeg_gives_fewer_coefficients(tmp_path: Path, photometric: str) -> None:
    grey = waves(8).astype(np.uint8)
    samples = grey if photometric == "MONOCHROME2" else np.dstack([grey, grey[::-1], grey.T])
    frame = bytes(imagecodecs.jpeg8_encode(samples, level=95))
    more = {"PhotometricInterpretation": photometric}
    stored = an_object(tmp_path / "x", samples, JPEGBaseline8Bit, frame, **more)

    found = reduced_samples(stored, 0, 64)

    assert found.shape[:2] == (128, 128)
    assert deviation(found, stored.samples(0)) < 0.02


def test_numbers_of_a_palette_are_never_averaged(tmp_path: Path) -> None:
    samples = (np.indices((SIDE, SIDE)).sum(0) % 2 * 255).astype(np.uint8)
    frame = imagecodecs.jpeg2k_encode(samples, level=0, reversible=True, codecformat="j2k")
    more = {"PhotometricInterpretation": "PALETTE COLOR"}
    stored = an_object(tmp_path / "x", samples, JPEG2000Lossless, bytes(frame), **more)

    assert set(np.unique(reduced_samples(stored, 0, 64))) <= {0, 255}


def test_what_is_small_already_is_whole(tmp_path: Path) -> None:
    samples = waves(12).astype("<u2")
    stored = an_object(tmp_path / "x", samples, ExplicitVRLittleEndian, None)

    assert (reduced_samples(stored, 0, 256) == samples).all()


def test_a_frame_that_is_too_large_is_refused(tmp_path: Path) -> None:
    samples = waves(12).astype("<u2")
    stored = an_object(tmp_path / "x", samples, ExplicitVRLittleEndian, None)

    with pytest.raises(UndecodablePixelData, match="limit"):
        reduced_samples(stored, 0, 64, max_frame_bytes=SIDE * SIDE)


def test_a_broken_frame_is_undecodable(tmp_path: Path) -> None:
    samples = waves(8).astype(np.uint8)
    stored = an_object(tmp_path / "x", samples, RLELossless, b"\0" * 64)

    with pytest.raises(UndecodablePixelData):
        reduced_samples(stored, 0, 64)
