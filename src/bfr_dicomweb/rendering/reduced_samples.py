"""The samples of a frame for a picture that is much smaller: fewer, and sooner there."""

from contextlib import suppress
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, Jpeg2KImagePlugin, JpegImagePlugin

from bfr_dicomweb.dicom.codestreams import Codestream, ColorSpace, Family, read_codestream
from bfr_dicomweb.dicom.pixels import MAX_FRAME_BYTES
from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.dicom.transfer_syntaxes import Codec
from bfr_dicomweb.errors import UndecodablePixelData

Samples = npt.NDArray[Any]

# Samples for each pixel of the picture and direction: what is left is averaged.
SAMPLES_A_PIXEL: Final = 2
# What the decoder of JPEG can leave out itself
_JPEG_SCALES: Final = (8, 4, 2)
_MODES: Final = {"YBR_FULL": "YCbCr", "RGB": "RGB", "MONOCHROME1": "L", "MONOCHROME2": "L"}


def reduced_samples(
    stored: StoredObject, index: int, longest: int, *, max_frame_bytes: int = MAX_FRAME_BYTES
) -> Samples:
    """As `StoredObject.samples`, but where there are many of them only every second, third ...

    Args:
        index: Of the frame, from 0.
        longest: Side of the picture to be made of them; about twice as many samples are given.

    Raises:
        NotFound: there is no such frame.
        UndecodablePixelData: it cannot be decoded, or is too large.
    """
    described = stored.description
    factor = max(described.rows, described.columns) // (SAMPLES_A_PIXEL * longest)
    if described.frame_bytes > max_frame_bytes:
        raise UndecodablePixelData(f"a frame of {described.frame_bytes} bytes exceeds the limit")
    if factor < 2:
        return stored.samples(index, max_frame_bytes=max_frame_bytes)
    if described.transfer_syntax.codec in (Codec.JPEG, Codec.JPEG_2000, Codec.HTJ2K):
        # whatever such a decoder does not like, the usual one decides on
        with suppress(OSError, ValueError, IndexError, Image.DecompressionBombError):
            found = _decoded_smaller(stored, index, factor)
            if found is not None:
                return found
    return stored.samples(index, max_frame_bytes=max_frame_bytes)[::factor, ::factor]


def _decoded_smaller(stored: StoredObject, index: int, factor: int) -> Samples | None:
    """None: the codec cannot do it, or would not give just what `samples` gives."""
    described = stored.description
    stream = read_codestream(stored.stored_frame(index))
    # numbers of a palette have no averages
    mode = _MODES.get(stored.photometric_interpretation)
    if mode is None or (stream.rows, stream.columns) != (described.rows, described.columns):
        return None
    if stream.components not in (None, described.samples_per_pixel):
        return None
    if stream.family is Family.JPEG:
        return _of_jpeg(stream, mode, factor)
    if stream.family in (Family.JPEG_2000, Family.HTJ2K):
        samples = _of_jpeg_2000(stream, factor)
        is_signed = described.pixel_representation == 1
        return samples if stream.signed == is_signed else None
    return None


def _of_jpeg(stream: Codestream, mode: str, factor: int) -> Samples | None:
    """By fewer coefficients of each block of 8 x 8."""
    if stream.lossless or stream.precision != 8:
        return None
    if mode != "L" and stream.color_space is not (
        ColorSpace.RGB if mode == "RGB" else ColorSpace.YBR
    ):
        return None
    scale = next(one for one in (*_JPEG_SCALES, 1) if one <= factor)
    with Image.open(BytesIO(stream.payload), formats=["JPEG"]) as image:
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            return None
        image.draft(mode, (stream.columns // scale, stream.rows // scale))
        return np.asarray(image) if image.mode == mode else None


def _of_jpeg_2000(stream: Codestream, factor: int) -> Samples | None:
    """By fewer of its resolutions."""
    precision = stream.precision
    if precision is None or (stream.components or 1) not in (1, 3):
        return None
    with Image.open(BytesIO(stream.payload), formats=["JPEG2000"]) as image:
        if not isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile):
            return None
        image.reduce = factor.bit_length() - 1
        decoded = np.asarray(image)
    if decoded.dtype == np.uint8:
        return decoded if precision == 8 and not stream.signed else None
    if decoded.dtype != np.uint16 or not 8 < precision <= 16:
        return None
    # Pillow gives unsigned samples, spread over all 16 bits
    samples = decoded >> (16 - precision)
    if stream.signed:
        return (samples.astype(np.int32) - (1 << (precision - 1))).astype(np.int16)
    return samples
