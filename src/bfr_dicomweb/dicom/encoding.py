"""From the native bytes of one frame to a compressed frame (PS3.5 section 8.2).

What is called lossless is so to the last bit of the container: where a frame uses bits
above Bits Stored (old overlays, two's complement that is not extended) all of Bits
Allocated is encoded.
"""

import math
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import imagecodecs
import isal
import jpeg_ls
import numpy as np
from isal import isal_zlib

from bfr_dicomweb.dicom.pixels import PixelDescription, Samples
from bfr_dicomweb.dicom.transfer_syntaxes import TransferSyntax, lookup

# Of the one lossy encoder; of 8-bit samples 90 keeps what a reader can see.
JPEG_QUALITY: Final = 90
# As in ISO 10918-1; the term of PS3.3 section C.7.6.1.1.5.1.
JPEG_METHOD: Final = "ISO_10918_1"
# Tells representations apart that another release of the libraries makes of the same pixels.
ENCODERS: Final = f"{imagecodecs.__version__} {jpeg_ls.__version__} {isal.__version__}"

# The smallest resolution of an HTJ2K frame fits in a square of so many pixels.
_SMALLEST_RESOLUTION: Final = 64
_LEAST_LEVELS: Final = 5
_JPEG_XL_EFFORT: Final = 3
# Of 0 to 3; pixels get no smaller with more.
_DEFLATE_LEVEL: Final = 2
_MAX_RLE_SEGMENTS: Final = 15

_PALETTE: Final = "PALETTE COLOR"
_GRAY: Final = {"MONOCHROME1": "MONOCHROME1", "MONOCHROME2": "MONOCHROME2"}
_AS_IS: Final = {**_GRAY, _PALETTE: _PALETTE, "RGB": "RGB", "YBR_FULL": "YBR_FULL"}
_ANY_BITS: Final = frozenset({1, 8, 16, 32, 64})
_IMAGE_BITS: Final = frozenset({8, 16})


class Deflater(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Encoder:
    """What makes frames of one transfer syntax.

    Attributes:
        photometric_interpretations: Which are taken, and what each is afterwards; None is
            any, unchanged.
        planar_configuration: Afterwards, where there are several samples per pixel.
        is_lossy: Pixels change.
    """

    transfer_syntax: TransferSyntax
    encode: Callable[[bytes, PixelDescription], bytes]
    bits_allocated: frozenset[int] = _IMAGE_BITS
    photometric_interpretations: Mapping[str, str] | None = None
    planar_configuration: int = 0
    is_lossy: bool = False

    def takes(self, image: PixelDescription) -> bool:
        """Whether native frames of this description can be encoded."""
        if image.bits_allocated not in self.bits_allocated or image.vr in ("OF", "OD"):
            return False
        if self.is_lossy and (image.bits_stored != 8 or image.pixel_representation):
            return False
        accepted = self.photometric_interpretations
        if accepted is None:
            return image.samples_per_pixel * image.bits_allocated <= 8 * _MAX_RLE_SEGMENTS
        samples = 3 if image.photometric_interpretation in ("RGB", "YBR_FULL") else 1
        return image.samples_per_pixel == samples and image.photometric_interpretation in accepted


def _verbatim(native: bytes, _image: PixelDescription) -> bytes:
    return native


def deflater() -> Deflater:
    """Of what PS3.5 calls deflated: without a header (RFC 1951)."""
    made: Deflater = isal_zlib.compressobj(level=_DEFLATE_LEVEL, wbits=-zlib.MAX_WBITS)
    return made


def _deflate(native: bytes, _image: PixelDescription) -> bytes:
    deflating = deflater()
    return deflating.compress(native) + deflating.flush()


def _run_length(native: bytes, image: PixelDescription) -> bytes:
    """One segment for each byte of a sample, the most significant first (PS3.5 Annex G)."""
    if image.bits_allocated == 1:
        segments = [_even(bytes(imagecodecs.packbits_encode(native)))]
    else:
        width = image.bits_allocated // 8
        shape = (image.rows, image.columns, image.samples_per_pixel, width)
        planes = np.frombuffer(native, np.uint8).reshape(shape)
        # runs end with their row (section G.3.1)
        segments = [
            _even(bytes(imagecodecs.packbits_encode(_plane(planes, sample, byte), axis=-1)))
            for sample in range(image.samples_per_pixel)
            for byte in reversed(range(width))
        ]
    offsets = [64]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    padding = [0] * (_MAX_RLE_SEGMENTS - len(offsets))
    return struct.pack("<16I", len(offsets), *offsets, *padding) + b"".join(segments)


def _plane(planes: Samples, sample: int, byte: int) -> Samples:
    return np.ascontiguousarray(planes[:, :, sample, byte])


def _even(segment: bytes) -> bytes:
    return segment + b"\0" * (len(segment) % 2)


def _samples(native: bytes, image: PixelDescription) -> Samples:
    kind = "iu"[1 - image.pixel_representation]
    shape: tuple[int, ...] = (image.rows, image.columns)
    if image.samples_per_pixel > 1:
        shape += (image.samples_per_pixel,)
    return np.frombuffer(native, f"<{kind}{image.bits_allocated // 8}").reshape(shape)


def _precision(samples: Samples, image: PixelDescription) -> int:
    """Bits Stored where these hold every sample, else Bits Allocated."""
    bits = image.bits_stored
    if bits == image.bits_allocated:
        return bits
    low, high = (
        (-1 << (bits - 1), 1 << (bits - 1)) if image.pixel_representation else (0, 1 << bits)
    )
    fits = low <= int(samples.min()) and int(samples.max()) < high
    return bits if fits else image.bits_allocated


def _contained(samples: Samples, precision: int) -> Samples:
    """In one byte where that is enough."""
    return samples.astype(f"{samples.dtype.kind}1") if precision <= 8 else samples


def _unsigned(samples: Samples, precision: int) -> Samples:
    """Two's complement of `precision` bits as numbers, for codecs that know no sign."""
    held = _contained(samples, precision)
    if held.dtype.kind == "u":
        return held
    mask = np.array((1 << precision) - 1, f"u{held.itemsize}")
    masked: Samples = held.view(mask.dtype) & mask
    return masked


def _jpeg_lossless(native: bytes, image: PixelDescription) -> bytes:
    samples = _samples(native, image)
    precision = max(2, _precision(samples, image))
    how: dict[str, Any] = {}
    if samples.ndim == 3:
        # a stream that calls itself YCbCr (JFIF) is converted by some, and refused by others
        space = 0 if image.photometric_interpretation == "YBR_FULL" else "RGB"
        how = {"colorspace": space, "outcolorspace": space}
    return bytes(
        imagecodecs.jpeg8_encode(
            _unsigned(samples, precision),
            lossless=True,
            predictor=1,
            bitspersample=precision,
            **how,
        )
    )


def _jpeg_baseline(native: bytes, image: PixelDescription) -> bytes:
    samples = _samples(native, image)
    if samples.ndim == 2:
        return bytes(imagecodecs.jpeg8_encode(samples, JPEG_QUALITY))
    space = "YCBCR" if image.photometric_interpretation == "YBR_FULL" else "RGB"
    return bytes(
        imagecodecs.jpeg8_encode(
            samples, JPEG_QUALITY, colorspace=space, outcolorspace="YCBCR", subsampling="422"
        )
    )


def _jpeg_ls(native: bytes, image: PixelDescription) -> bytes:
    samples = _samples(native, image)
    precision = max(2, _precision(samples, image))
    unsigned = _unsigned(samples, precision)
    if precision < 8 * unsigned.itemsize:
        # imagecodecs knows whole bytes only; pyjpegls has no room for frames that do not shrink
        with suppress(RuntimeError):
            return _jpeg_ls_of(unsigned, precision, image)
    return bytes(imagecodecs.jpegls_encode(_unsigned(samples, 8 * unsigned.itemsize)))


def _jpeg_ls_of(unsigned: Samples, precision: int, image: PixelDescription) -> bytes:
    return bytes(
        jpeg_ls.encode_buffer(
            unsigned.tobytes(),
            image.rows,
            image.columns,
            image.samples_per_pixel,
            precision,
            interleave_mode=0 if unsigned.ndim == 2 else 2,
        )
    )


def _jpeg_2000(native: bytes, image: PixelDescription) -> bytes:
    samples = _samples(native, image)
    precision = _precision(samples, image)
    return bytes(
        imagecodecs.jpeg2k_encode(
            _contained(samples, precision),
            codecformat="J2K",
            bitspersample=precision,
            reversible=True,
            mct=image.photometric_interpretation == "RGB",
            numthreads=1,
        )
    )


def _htj2k(native: bytes, image: PixelDescription) -> bytes:
    """Resolution by resolution, each a tile-part that TLM locates (PS3.5 section A.4.12).

    So the first bytes of a frame, as many as a range request asks for, are a smaller picture.
    The encoder knows samples of 8 and 16 bits only. Fewer are told by the precision in the
    header: of unsigned samples it is half the range that is subtracted before they are
    transformed, and the difference is added to them here.
    """
    samples = _samples(native, image)
    precision = _precision(samples, image)
    held = _contained(samples, precision)
    container = 8 * held.itemsize
    if precision < container and not image.pixel_representation:
        held = held + np.array((1 << (container - 1)) - (1 << (precision - 1)), held.dtype)
    stream = bytearray(
        imagecodecs.htj2k_encode(
            held,
            rgb=image.photometric_interpretation == "RGB",
            reversible=True,
            resolutions=_levels(image),
            tlm=True,
            tilepart=imagecodecs.HTJ2K.TILEPART.RESOLUTIONS,
        )
    )
    for component in range(image.samples_per_pixel):
        # Ssiz, ISO/IEC 15444-1 section A.5.1
        stream[42 + 3 * component] = image.pixel_representation << 7 | (precision - 1)
    return bytes(stream)


def _levels(image: PixelDescription) -> int:
    longest = max(image.rows, image.columns)
    return max(_LEAST_LEVELS, math.ceil(math.log2(longest / _SMALLEST_RESOLUTION)))


def _jpeg_xl(native: bytes, image: PixelDescription) -> bytes:
    samples = _samples(native, image)
    precision = _precision(samples, image)
    return bytes(
        imagecodecs.jpegxl_encode(
            _unsigned(samples, precision),
            lossless=True,
            effort=_JPEG_XL_EFFORT,
            bitspersample=precision,
            photometric="GRAY" if samples.ndim == 2 else "RGB",
            usecontainer=False,
            numthreads=1,
        )
    )


_JPEG_2000_SPACES: Final = {**_AS_IS, "RGB": "YBR_RCT"}


def _row(suffix: str, encode: Callable[[bytes, PixelDescription], bytes], **how: Any) -> Encoder:
    return Encoder(lookup(f"1.2.840.10008.1.2.{suffix}"), encode, **how)


# The quicker one first where a client leaves the choice. .203 holds lossless frames, too.
ENCODERS_BY_PREFERENCE: Final = (
    *(
        _row(f"4.{number}", _htj2k, photometric_interpretations=_JPEG_2000_SPACES)
        for number in (201, 202, 203)
    ),
    _row("4.80", _jpeg_ls, photometric_interpretations=_AS_IS),
    _row("4.70", _jpeg_lossless, photometric_interpretations=_AS_IS),
    _row("4.90", _jpeg_2000, photometric_interpretations=_JPEG_2000_SPACES),
    # the decoder gives RGB, and what made YBR of it would not be exact
    _row(
        "4.110", _jpeg_xl, photometric_interpretations={**_GRAY, _PALETTE: _PALETTE, "RGB": "RGB"}
    ),
    _row("5", _run_length, bits_allocated=_ANY_BITS, planar_configuration=1),
    _row("8.1", _deflate, bits_allocated=_ANY_BITS),
    _row("1.98", _verbatim, bits_allocated=_ANY_BITS),
    _row(
        "4.50",
        _jpeg_baseline,
        bits_allocated=frozenset({8}),
        photometric_interpretations={**_GRAY, "RGB": "YBR_FULL_422", "YBR_FULL": "YBR_FULL_422"},
        is_lossy=True,
    ),
)
BY_TRANSFER_SYNTAX: Final = {one.transfer_syntax.uid: one for one in ENCODERS_BY_PREFERENCE}
