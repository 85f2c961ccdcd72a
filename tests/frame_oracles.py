"""What a frame of a sample file is, and what it decodes to, by others than the archive.

Uncompressed frames are cut out of what pydicom reads; compressed ones are decoded by
pydicom's plugins or by DCMTK, or are known because the sample was made from them.
"""

import subprocess
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import get_expected_length

from shared_data import SHARED

STEM = "1.2.840.10008.1.2"
BIG_ENDIAN = f"{STEM}.2"
PYDICOM_DECODES = {f"{STEM}.5", *(f"{STEM}.4.{n}" for n in (50, 80, 81, 90, 91, 201, 202, 203))}
DCMTK_DECODES = {f"{STEM}.4.{number}" for number in (51, 53, 57, 70)}
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

# Pixels of one bit, in syntaxes in which pydicom does not decode them.
ONE_BIT = {
    "liver_rle.dcm": "liver.dcm",
    "liver_deflate.dcm": "liver.dcm",
    "liver_nonbyte_aligned_rle.dcm": "liver_nonbyte_aligned.dcm",
}


@lru_cache(maxsize=4)
def dataset_of(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path)


def pixel_element(dataset: Dataset) -> Any:
    return next(dataset[keyword] for keyword in PIXEL_KEYWORDS if keyword in dataset)


def frame_count(dataset: Dataset) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def stored_frame(path: Path, index: int, count: int) -> bytes:
    """As it is in the file, without item headers; big endian words are turned."""
    dataset = dataset_of(path)
    element = pixel_element(dataset)
    if element.is_undefined_length:
        return list(generate_frames(element.value, number_of_frames=count))[index]
    return native_frame(dataset, index)


def native_frame(dataset: Dataset, index: int) -> bytes:
    """Of uncompressed pixel data, little endian and from the first bit of its first byte."""
    element = pixel_element(dataset)
    value = element.value
    if dataset.file_meta.TransferSyntaxUID == BIG_ENDIAN and element.VR != "OB":
        width = max(2, dataset.BitsAllocated // 8)
        value = np.frombuffer(value, f">u{width}").astype(f"<u{width}").tobytes()
    pixels = get_expected_length(dataset, unit="pixels")
    bits = pixels * dataset.BitsAllocated // frame_count(dataset)
    if bits % 8 == 0:
        return bytes(value[index * bits // 8 : (index + 1) * bits // 8])
    unpacked = np.unpackbits(np.frombuffer(value, "u1"), bitorder="little")
    return np.packbits(unpacked[index * bits : (index + 1) * bits], bitorder="little").tobytes()


def decoded_frame(path: Path, index: int) -> bytes | None:
    """As uncompressed and little endian; planes where the data set says planes.

    None when the tools that decode it are not installed.
    """
    dataset = dataset_of(path)
    if not pixel_element(dataset).is_undefined_length:
        return native_frame(dataset, index)
    source = made_of(path)
    if source is not None:
        return native_frame(dataset_of(source), index)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax in PYDICOM_DECODES or path.name == "GH195.dcm":  # DCMTK is not told its color space
        return _as_declared(_by_pydicom(dataset, index), dataset)
    if syntax in DCMTK_DECODES and which("dcmdjpeg") is not None:
        frame = native_frame(_by_dcmtk(path), index)
        shape = (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
        samples = np.frombuffer(frame, f"<u{dataset.BitsAllocated // 8}").reshape(shape)
        return _as_declared(samples, dataset)
    return None


def made_of(path: Path) -> Path | None:
    """The uncompressed file that a compressed one was made from."""
    folder = SHARED / "dicom" / "by_transfer_syntax"
    if path.name in ONE_BIT:
        return next((SHARED / "dicom").rglob(ONE_BIT[path.name]))
    if folder not in path.parents or not path.parent.name.endswith("_SYNTHETIC"):
        return None
    kinds = ("gray8_1f", "rgb8_1f", "gray16_3f")
    kind = next((kind for kind in kinds if kind in path.name), "gray16_3f")
    return folder / "reference_uncompressed_SYNTHETIC" / f"reference_{kind}.dcm"


def _by_pydicom(dataset: Dataset, index: int) -> npt.NDArray[Any]:
    # raw keeps YBR as it is declared, but also what a JPEG holds that is declared as RGB
    raw = dataset.PhotometricInterpretation != "RGB"
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples, _ = decoder.as_array(dataset, raw=raw, index=index)
    return np.asarray(samples)


@lru_cache(maxsize=2)
def _by_dcmtk(path: Path) -> Dataset:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = Path(folder) / "native.dcm"
        subprocess.run(["dcmdjpeg", "+cn", "+px", path, target], check=True, capture_output=True)
        return pydicom.dcmread(target)


def _as_declared(samples: npt.NDArray[Any], dataset: Dataset) -> bytes:
    if dataset.BitsAllocated == 1:
        return np.packbits(samples.reshape(-1), bitorder="little").tobytes()
    if dataset.SamplesPerPixel > 1 and dataset.get("PlanarConfiguration"):
        samples = np.moveaxis(samples, -1, 0)
    return samples.astype(samples.dtype.newbyteorder("<")).tobytes()


def is_near(frame: bytes, other: bytes, dataset: Dataset) -> bool:
    """Whether samples are on average no further apart than what lossy compression does."""
    dtype = f"<u{max(8, dataset.BitsAllocated) // 8}"
    one, two = (np.frombuffer(each, dtype).astype(float) for each in (frame, other))
    return bool(one.shape == two.shape and np.abs(one - two).mean() < np.ptp(two) / 50)
