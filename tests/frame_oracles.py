"""What a frame of a sample file must decode to, by others than the archive.

Uncompressed frames are cut out of what pydicom reads; compressed ones are decoded by
pydicom's plugins or by DCMTK, or are known because the sample was made from them.
"""

import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
RLE = f"{STEM}.5"
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

DCMTK_DECODES = tuple(f"{STEM}.4.{number}" for number in (51, 53, 57, 70))
PYDICOM_DECODES = (RLE, *(f"{STEM}.4.{n}" for n in (50, 80, 81, 90, 91, 201, 202, 203)))
# Bits per pixel 1 in syntaxes whose decoders in pydicom do not know it.
ONE_BIT = {
    "liver_rle.dcm": "liver.dcm",
    "liver_deflate.dcm": "liver.dcm",
    "liver_nonbyte_aligned_rle.dcm": "liver_nonbyte_aligned.dcm",
}
# The pixels behind the samples that were made for the purpose.
MADE_OF = {"gray16_3f": "gray16_3f", "gray8_1f": "gray8_1f", "rgb8_1f": "rgb8_1f"}


@contextmanager
def quiet() -> Iterator[None]:
    """Without what pydicom says about samples that are odd on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=4)
def dataset_of(path: Path) -> Dataset:
    with quiet():
        return pydicom.dcmread(path)


def syntax_of(dataset: Dataset) -> str:
    return str(dataset.file_meta.TransferSyntaxUID)


def pixel_element(dataset: Dataset) -> Any:
    """The element that holds the pixels, or None."""
    found = (dataset[keyword] for keyword in PIXEL_KEYWORDS if keyword in dataset)
    element = next(found, None)
    return element if element is not None and element.value else None


def encoded_frames(dataset: Dataset, count: int) -> list[bytes]:
    return list(generate_frames(pixel_element(dataset).value, number_of_frames=count))


def native_frame(dataset: Dataset, index: int) -> bytes:
    """Of uncompressed pixel data, little endian and from the first bit of its first byte."""
    element = pixel_element(dataset)
    value = element.value
    if syntax_of(dataset) == BIG_ENDIAN and element.VR != "OB":
        width = max(2, dataset.BitsAllocated // 8)
        value = np.frombuffer(value, f">u{width}").astype(f"<u{width}").tobytes()
    frames = int(dataset.get("NumberOfFrames") or 1)
    bits = get_expected_length(dataset, unit="pixels") * dataset.BitsAllocated // frames
    if bits % 8 == 0:
        return bytes(value[index * bits // 8 : (index + 1) * bits // 8])
    unpacked = np.unpackbits(np.frombuffer(value, "u1"), bitorder="little")
    return np.packbits(unpacked[index * bits : (index + 1) * bits], bitorder="little").tobytes()


def decoded_frame(path: Path, index: int) -> bytes | None:
    """As uncompressed Little Endian has it; None when nobody here decodes it."""
    dataset = dataset_of(path)
    syntax = syntax_of(dataset)
    if not pixel_element(dataset).is_undefined_length:
        return native_frame(dataset, index)
    if path.name in ONE_BIT:
        (uncompressed,) = (SHARED / "dicom").rglob(ONE_BIT[path.name])
        return native_frame(dataset_of(uncompressed), index)
    if (made_of := _made_of(path)) is not None:
        return native_frame(dataset_of(made_of), index)
    if syntax in PYDICOM_DECODES:
        return _as_declared(_by_pydicom(dataset, index), dataset)
    if syntax in DCMTK_DECODES and which("dcmdjpeg") is not None:
        native = _by_dcmtk(path)
        shape = (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
        dtype = np.dtype(f"<u{dataset.BitsAllocated // 8}")
        samples = np.frombuffer(native_frame(native, index), dtype).reshape(shape)
        return _as_declared(samples, dataset)
    return None


def _made_of(path: Path) -> Path | None:
    if "_SYNTHETIC" not in path.parent.name or "by_transfer_syntax" not in path.parts:
        return None
    kind = next((kind for kind in MADE_OF if kind in path.name), None)
    if kind is None:
        kind = "gray16_3f"
    folder = SHARED / "dicom" / "by_transfer_syntax" / "reference_uncompressed_SYNTHETIC"
    return folder / f"reference_{kind}.dcm"


def _by_pydicom(dataset: Dataset, index: int) -> npt.NDArray[Any]:
    with quiet():
        samples, _ = get_decoder(syntax_of(dataset)).as_array(dataset, raw=True, index=index)
    return np.asarray(samples)


@lru_cache(maxsize=2)
def _by_dcmtk(path: Path) -> Dataset:
    with tempfile.TemporaryDirectory() as folder, quiet():
        target = Path(folder) / "native.dcm"
        subprocess.run(["dcmdjpeg", "+cn", "+px", path, target], check=True, capture_output=True)
        return pydicom.dcmread(target)


def _as_declared(samples: npt.NDArray[Any], dataset: Dataset) -> bytes:
    """As planes where the data set says planes."""
    if dataset.BitsAllocated == 1:
        return np.packbits(samples.reshape(-1), bitorder="little").tobytes()
    if samples.ndim == 3 and dataset.SamplesPerPixel > 1 and dataset.get("PlanarConfiguration"):
        samples = np.moveaxis(samples, -1, 0)
    return samples.astype(samples.dtype.newbyteorder("<")).tobytes()


def furthest_apart(one: bytes, other: bytes, dataset: Dataset) -> int:
    """The largest difference of two samples of equally long frames."""
    kind = "iu"[1 - int(dataset.get("PixelRepresentation") == 1)]
    dtype = np.dtype(f"<{kind}{max(8, dataset.BitsAllocated) // 8}")
    pair = [np.frombuffer(frame, dtype).astype(np.int64) for frame in (one, other)]
    return int(np.abs(pair[0] - pair[1]).max())
