"""Images as the rendering takes them, made in memory with pydicom."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from bfr_dicomweb.dicom import part10
from bfr_dicomweb.dicom.stored_objects import StoredObject
from objects import a_dataset, written

Samples = npt.NDArray[Any]


def stored(dataset: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> StoredObject:
    return opened(written(dataset, transfer_syntax_uid))


def opened(file: bytes) -> StoredObject:
    """As `StoredObject.read` opens it."""
    header = part10.read_header(file)
    return StoredObject(
        file,
        transfer_syntax_uid=header.transfer_syntax_uid,
        big_endian=header.big_endian,
        attributes=header.attributes,
        bulk=header.bulk,
        frames=header.frames,
    )


def an_image(samples: Samples, **attributes: Any) -> Dataset:
    """A data set whose Image Pixel module describes `samples`.

    Args:
        samples: (rows, columns), or (rows, columns, 3); integers of any width.
        attributes: Instead of, or beside, what follows from them.
    """
    bits = 8 * samples.itemsize
    described: dict[str, Any] = {
        "Rows": samples.shape[0],
        "Columns": samples.shape[1],
        "SamplesPerPixel": 3 if samples.ndim == 3 else 1,
        "PhotometricInterpretation": "RGB" if samples.ndim == 3 else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(samples.dtype.kind == "i"),
        "PixelData": samples.tobytes() + bytes(samples.nbytes % 2),
    }
    if samples.ndim == 3:
        described["PlanarConfiguration"] = 0
    dataset = a_dataset(**(described | attributes))
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return dataset


def a_stored_image(samples: Samples, **attributes: Any) -> StoredObject:
    return stored(an_image(samples, **attributes))


def a_ramp(rows: int = 48, columns: int = 64) -> npt.NDArray[np.uint16]:
    """Every pixel another value: 0 at the top left, rising along the rows."""
    return np.arange(rows * columns, dtype="<u2").reshape(rows, columns)


def an_item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
