"""From one stored frame to its native pixel bytes (PS3.5 section 8).

The bytes keep the colour space that the data set declares: YBR_FULL stays YBR_FULL
and only chroma subsampling and the transforms inside JPEG 2000 are undone. So the
metadata of the stored instance also describes the decoded frames, and nothing is
lost by a conversion that the receiver did not ask for.
"""

import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, TypeAlias

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from bfr_dicomweb.dicom.codestreams import (
    Codestream,
    ColorSpace,
    Family,
    read_codestream,
    with_jpeg_xl_metadata,
)
from bfr_dicomweb.dicom.transfer_syntaxes import Codec, TransferSyntax, lookup
from bfr_dicomweb.errors import UndecodablePixelData

MAX_FRAME_BYTES: Final = 1 << 30

Samples: TypeAlias = npt.NDArray[Any]

_ROWS: Final = "00280010"
_COLUMNS: Final = "00280011"
_SAMPLES_PER_PIXEL: Final = "00280002"
_PHOTOMETRIC_INTERPRETATION: Final = "00280004"
_PLANAR_CONFIGURATION: Final = "00280006"
_BITS_ALLOCATED: Final = "00280100"
_BITS_STORED: Final = "00280101"
_PIXEL_REPRESENTATION: Final = "00280103"
_LOSSY_IMAGE_COMPRESSION: Final = "00282110"
_PIXEL_DATA: Final = ("7FE00010", "7FE00008", "7FE00009")


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """The Image Pixel attributes that say how a frame is stored (PS3.3 section C.7.6.3)."""

    transfer_syntax: TransferSyntax
    rows: int
    columns: int
    samples_per_pixel: int = 1
    photometric_interpretation: str = "MONOCHROME2"
    planar_configuration: int = 0
    bits_allocated: int = 16
    bits_stored: int = 16
    pixel_representation: int = 0
    vr: str = "OW"

    @classmethod
    def from_attributes(
        cls, attributes: Mapping[str, Any], transfer_syntax_uid: str
    ) -> "PixelDescription":
        """Read a DICOM JSON data set or item.

        Raises:
            UndecodablePixelData: what the shape of a frame depends on is missing or
                impossible. What only has a usual value (Bits Stored, Pixel
                Representation, Planar Configuration) falls back to that.
        """
        samples = _number(attributes, _SAMPLES_PER_PIXEL)
        samples = _one_of(1 if samples is None else samples, range(1, 5), "Samples per Pixel")
        widths = (1, 8, 16, 32, 64) if samples == 1 else (8, 16, 32, 64)
        bits = _one_of(_number(attributes, _BITS_ALLOCATED), widths, "Bits Allocated")
        stored = _number(attributes, _BITS_STORED)
        photometric = _first(attributes, _PHOTOMETRIC_INTERPRETATION)
        vrs = (attributes[tag].get("vr") for tag in _PIXEL_DATA if tag in attributes)
        return cls(
            transfer_syntax=lookup(transfer_syntax_uid),
            rows=_one_of(_number(attributes, _ROWS), range(1, 1 << 16), "Rows"),
            columns=_one_of(_number(attributes, _COLUMNS), range(1, 1 << 16), "Columns"),
            samples_per_pixel=samples,
            photometric_interpretation=photometric if isinstance(photometric, str) else "",
            planar_configuration=int(_number(attributes, _PLANAR_CONFIGURATION) == 1),
            bits_allocated=bits,
            bits_stored=stored if stored and 0 < stored <= bits else bits,
            pixel_representation=int(_number(attributes, _PIXEL_REPRESENTATION) == 1),
            vr=next(vrs, None) or "OW",
        )

    @property
    def frame_bits(self) -> int:
        """Bits of one decoded frame; packed frames of 1 bit need not fill their last byte."""
        pixels = self.rows * self.columns
        if self.shares_chroma:
            return pixels * 2 * self.bits_allocated
        return pixels * self.samples_per_pixel * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        return (self.frame_bits + 7) // 8

    def stored_in(self, frame_bits: int) -> "PixelDescription":
        """As uncompressed frames of this size are really stored.

        Some writers name a subsampled interpretation and store every sample.
        """
        if self.shares_chroma and frame_bits == self.frame_bits * 3 // 2:
            return replace(self, photometric_interpretation="YBR_FULL")
        return self

    @property
    def native_photometric_interpretation(self) -> str:
        """The Photometric Interpretation of decoded frames (PS3.5 section 8.2)."""
        declared = self.photometric_interpretation
        if self.transfer_syntax.codec is Codec.NATIVE or not self.transfer_syntax.decodable:
            return declared
        if declared in ("YBR_RCT", "YBR_ICT", "XYB"):
            return "RGB"
        if declared.startswith("YBR_") and not self.shares_chroma:
            return "YBR_FULL"
        return declared

    @property
    def shares_chroma(self) -> bool:
        """Whether two pixels share their chroma in decoded bytes (PS3.3 C.7.6.3.1.2)."""
        return (
            self.photometric_interpretation == "YBR_FULL_422"
            and self.samples_per_pixel == 3
            and self.transfer_syntax.codec in _UNCODED
        )


# What these hold is the native encoding itself, byte for byte.
_UNCODED: Final = frozenset({Codec.NATIVE, Codec.VERBATIM, Codec.DEFLATE})


def _first(attributes: Mapping[str, Any], tag: str) -> object:
    values = attributes.get(tag, {}).get("Value")
    return values[0] if isinstance(values, list) and values else None


def _number(attributes: Mapping[str, Any], tag: str) -> int | None:
    value = _first(attributes, tag)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _one_of(value: int | None, allowed: range | tuple[int, ...], name: str) -> int:
    if value is None:
        raise UndecodablePixelData(f"{name} is missing or not a number")
    if value not in allowed:
        raise UndecodablePixelData(f"{name} is {value}")
    return value


def native_changes(
    description: PixelDescription, *, planar_configuration: int = 0
) -> dict[str, dict[str, Any]]:
    """The attributes, as DICOM JSON, that decoding gives another value."""
    changes: dict[str, dict[str, Any]] = {}
    syntax = description.transfer_syntax
    if syntax.codec is Codec.NATIVE or not syntax.decodable:
        return changes
    photometric = description.native_photometric_interpretation
    if photometric != description.photometric_interpretation:
        changes[_PHOTOMETRIC_INTERPRETATION] = {"vr": "CS", "Value": [photometric]}
    if description.samples_per_pixel > 1:
        changes[_PLANAR_CONFIGURATION] = {"vr": "US", "Value": [planar_configuration]}
    if syntax.codec is Codec.JPEG and syntax.lossy:
        # Required once and for ever after a lossy step (PS3.3 section C.7.6.1.1.5).
        changes[_LOSSY_IMAGE_COMPRESSION] = {"vr": "CS", "Value": ["01"]}
    return changes


def decode_frame(
    frame: bytes,
    description: PixelDescription,
    *,
    planar_configuration: int = 0,
    max_frame_bytes: int = MAX_FRAME_BYTES,
) -> bytes:
    """The native bytes of one frame, as Explicit VR Little Endian stores them.

    Args:
        frame: Encapsulated: the joined fragments of the frame. Native: its bytes as they
            are stored, with the padding byte if its length is odd and there is one; of a
            1-bit frame those from `packed_frame`.
        description: How the frame is stored.
        planar_configuration: How several samples per pixel shall lie in the result.
            Answers that go with the stored metadata want that of `description`.
        max_frame_bytes: Refuse frames that would decode to more.

    Returns:
        Exactly `description.frame_bytes` bytes.

    Raises:
        UndecodablePixelData: no decoder, a broken stream, or a stream that is not of
            the described shape; the text says which.
    """
    size = description.frame_bytes
    if size > max_frame_bytes:
        raise UndecodablePixelData(f"a frame of {size} bytes exceeds the limit")
    codec = description.transfer_syntax.codec
    if codec is Codec.NONE:
        uid = description.transfer_syntax.uid
        raise UndecodablePixelData(f"no decoder for transfer syntax {uid}")
    if codec in _UNCODED:
        native = _uncoded(frame, description)
    elif codec is Codec.RLE:
        native = _run_length_decoded(frame, description)
    else:
        return _image_decoded(frame, description, planar_configuration)
    stored_planes = 1 if codec is Codec.RLE else description.planar_configuration
    return _rearranged(native, description, stored_planes, planar_configuration)


def packed_frame(packed: bytes, first_bit: int, frame_bits: int) -> bytes:
    """One frame out of frames that are packed without padding between them.

    Args:
        packed: Bytes that hold the whole frame.
        first_bit: Where it starts, counted from the least significant bit of the first
            byte of `packed` (PS3.5 section 8.1.1).
        frame_bits: Its length.

    Returns:
        The frame from the first bit of its first byte, the last byte padded with zeros.
    """
    size = (frame_bits + 7) // 8
    first_byte, shift = divmod(first_bit, 8)
    window = packed[first_byte : first_byte + size + 1]
    if not shift and not frame_bits % 8:
        return bytes(window[:size])
    number = (int.from_bytes(window, "little") >> shift) & ((1 << frame_bits) - 1)
    return number.to_bytes(size, "little")


def _uncoded(frame: bytes, description: PixelDescription) -> bytes:
    size = description.frame_bytes
    if description.transfer_syntax.codec is Codec.DEFLATE:
        frame = _inflated(frame, size)
    # An even length may have cost one byte of padding.
    if not size <= len(frame) <= size + size % 2:
        raise UndecodablePixelData(f"the frame has {len(frame)} bytes; {size} are described")
    if description.transfer_syntax.big_endian:
        frame = little_endian(frame, swapped_unit(description.vr, description.bits_allocated))
    return bytes(frame[:size])


def _inflated(frame: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # Two bytes more than needed are enough to see that there is too much.
        return inflater.decompress(frame, size + 2)
    except zlib.error as error:
        raise UndecodablePixelData(f"the deflated frame is broken: {error}") from None


def swapped_unit(vr: str, bits_allocated: int) -> int:
    """Bytes that Explicit VR Big Endian turns round together in a pixel data value.

    OW turns 16-bit words even where they hold two pixels of 8 bits or sixteen of 1;
    wider pixels are turned as a whole, as those who wrote such files did.
    """
    if vr == "OB":
        return 1
    return max(2, bits_allocated // 8)


def little_endian(value: bytes, unit: int) -> bytes:
    """`value` with the bytes of every `unit` reversed.

    Raises:
        UndecodablePixelData: the last unit is not complete.
    """
    if unit == 1:
        return value
    if len(value) % unit:
        raise UndecodablePixelData(f"{len(value)} bytes are no whole number of {unit}-byte words")
    return np.frombuffer(value, f"u{unit}").byteswap().tobytes()


def _run_length_decoded(frame: bytes, description: PixelDescription) -> bytes:
    """Planes of samples, whatever Planar Configuration says (PS3.5 Annex G)."""
    samples, bits = description.samples_per_pixel, description.bits_allocated
    cells = description.rows * description.columns
    if bits == 1:
        # The bytes of packed pixels are what is compressed.
        bits, cells = 8, (cells + 7) // 8
    width = bits // 8
    segments = _rle_segments(frame, samples * width)
    planes = np.empty((samples, cells, width), np.uint8)
    for index, segment in enumerate(segments):
        try:
            # Some encoders compress the padding of the segment with it.
            decoded = imagecodecs.packbits_decode(segment, out=cells + 2)
        except RuntimeError:
            raise UndecodablePixelData("a segment of the RLE frame is broken") from None
        if len(decoded) < cells:
            raise UndecodablePixelData(
                f"a segment of the RLE frame has {len(decoded)} bytes; {cells} are described"
            )
        sample, byte = divmod(index, width)
        planes[sample, :, width - 1 - byte] = np.frombuffer(decoded, np.uint8, cells)
    return planes.tobytes()


def _rle_segments(frame: bytes, expected: int) -> list[bytes]:
    """One per byte of a sample, the most significant one first."""
    if len(frame) < 64:
        raise UndecodablePixelData("the RLE frame is shorter than its header")
    count, *offsets = struct.unpack_from("<16I", frame)
    if count != expected:
        raise UndecodablePixelData(f"the RLE frame has {count} segments; {expected} are described")
    offsets = [*offsets[:count], len(frame)]
    if offsets[0] < 64 or any(start > stop for start, stop in pairwise(offsets)):
        raise UndecodablePixelData("the segments of the RLE frame are out of order")
    return [frame[start:stop] for start, stop in pairwise(offsets)]


def _rearranged(native: bytes, description: PixelDescription, stored: int, wanted: int) -> bytes:
    samples, width = description.samples_per_pixel, description.bits_allocated // 8
    whole = samples * width * description.rows * description.columns == len(native)
    if samples == 1 or stored == wanted or not whole:
        return native
    cells = np.frombuffer(native, f"V{width}")
    shape = (samples, -1) if stored else (-1, samples)
    return cells.reshape(shape).T.tobytes()


def _image_decoded(frame: bytes, description: PixelDescription, planar_configuration: int) -> bytes:
    try:
        stream = _with_precision(read_codestream(bytes(frame)))
    except (ValueError, IndexError) as error:
        raise UndecodablePixelData(f"the frame is broken: {error}") from None
    _check_shape(stream, description)
    try:
        samples = _DECODERS[stream.family](stream, description)
    except UndecodablePixelData:
        raise
    except Exception as error:  # codecs raise whatever they like
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UndecodablePixelData(f"the {stream.family.value} decoder gave up: {text}") from None
    return _as_native(samples, stream, description, planar_configuration)


def _with_precision(stream: Codestream) -> Codestream:
    """Of JPEG XL it stands behind much that DICOM does not use; what has that is left as it is."""
    if stream.family is Family.JPEG_XL:
        with suppress(ValueError, IndexError):
            return replace(stream, precision=with_jpeg_xl_metadata(stream).precision)
    return stream


def _check_shape(stream: Codestream, description: PixelDescription) -> None:
    """Refuse before decoding, so that no small file can ask for a huge picture."""
    if (stream.rows, stream.columns) != (description.rows, description.columns):
        raise UndecodablePixelData(
            f"the frame holds {stream.rows} x {stream.columns} pixels;"
            f" {description.rows} x {description.columns} are described"
        )
    if stream.components not in (None, description.samples_per_pixel):
        raise UndecodablePixelData(
            f"the frame holds {stream.components} samples per pixel;"
            f" {description.samples_per_pixel} are described"
        )
    if stream.precision is not None and stream.precision > description.bits_allocated:
        raise UndecodablePixelData(
            f"the frame holds {stream.precision} bits per sample;"
            f" only {description.bits_allocated} are allocated"
        )


def _declared_color_space(description: PixelDescription) -> ColorSpace | None:
    if description.native_photometric_interpretation == "YBR_FULL":
        return ColorSpace.YBR
    if description.native_photometric_interpretation == "RGB":
        return ColorSpace.RGB
    return None


def _decode_jpeg(stream: Codestream, description: PixelDescription) -> Samples:
    if stream.lossless or stream.components != 3:
        return _array(imagecodecs.jpeg8_decode(stream.payload, colorspace=0, outcolorspace=0))
    wanted = _declared_color_space(description)
    stored = stream.color_space or wanted
    if stored is None or wanted is None:
        stored = wanted = ColorSpace.RGB  # the same on both sides: as stored
    if stored is ColorSpace.RGB:
        samples = _array(
            imagecodecs.jpeg8_decode(stream.payload, colorspace="RGB", outcolorspace="RGB")
        )
        return samples if wanted is ColorSpace.RGB else _ybr_full(samples)
    out = "YCBCR" if wanted is ColorSpace.YBR else "RGB"
    return _array(imagecodecs.jpeg8_decode(stream.payload, colorspace="YCBCR", outcolorspace=out))


def _decode_jpeg_ls(stream: Codestream, _description: PixelDescription) -> Samples:
    return _array(imagecodecs.jpegls_decode(stream.payload))


def _decode_jpeg_2000(stream: Codestream, _description: PixelDescription) -> Samples:
    # HTJ2K too: OpenJPH is twice as fast, but as imagecodecs calls it, it lets lossy samples
    # wrap round at black and white, and leaves memory unwritten where a stream is broken.
    return _array(imagecodecs.jpeg2k_decode(stream.payload))


def _decode_jpeg_xl(stream: Codestream, description: PixelDescription) -> Samples:
    """JPEG XL gives RGB; a recompressed JPEG is restored to keep what it stored."""
    if _declared_color_space(description) is not ColorSpace.YBR:
        return _array(imagecodecs.jpegxl_decode(stream.payload))
    try:
        jpeg = read_codestream(bytes(imagecodecs.jpegxl_decode_jpeg(stream.payload, numthreads=1)))
    except (RuntimeError, ValueError):
        return _ybr_full(_array(imagecodecs.jpegxl_decode(stream.payload)))
    _check_shape(jpeg, description)
    return _decode_jpeg(jpeg, description)


_DECODERS: Final = {
    Family.JPEG: _decode_jpeg,
    Family.JPEG_LS: _decode_jpeg_ls,
    Family.JPEG_2000: _decode_jpeg_2000,
    Family.HTJ2K: _decode_jpeg_2000,
    Family.JPEG_XL: _decode_jpeg_xl,
}


def _array(decoded: Any) -> Samples:
    return np.asarray(decoded)


def _ybr_full(samples: Samples) -> Samples:
    if samples.dtype != np.uint8:
        raise UndecodablePixelData("RGB samples of more than 8 bits are described as YBR")
    return np.asarray(Image.fromarray(samples, "RGB").convert("YCbCr"))


def _as_native(
    samples: Samples, stream: Codestream, description: PixelDescription, planar_configuration: int
) -> bytes:
    shape: tuple[int, ...] = (description.rows, description.columns)
    if description.samples_per_pixel > 1:
        shape += (description.samples_per_pixel,)
    if samples.shape != shape and samples.shape != (*shape, 1):
        raise UndecodablePixelData("the decoded frame has another shape than described")
    if samples.dtype.kind not in "iu":
        raise UndecodablePixelData("the decoded frame does not hold integers")
    if description.bits_allocated == 1:
        return np.packbits(samples.reshape(-1) != 0, bitorder="little").tobytes()
    precision = stream.precision or min(description.bits_stored, 8 * samples.itemsize)
    samples = _with_sign(samples, description, precision)
    if planar_configuration and samples.ndim == 3:
        samples = np.moveaxis(samples, -1, 0)
    return samples.tobytes()


def _with_sign(samples: Samples, description: PixelDescription, precision: int) -> Samples:
    """The samples in the container and with the sign that the data set describes.

    Some writers compress two's complement as unsigned numbers or the other way round;
    JPEG, JPEG-LS and JPEG XL know no sign at all. The bits of `precision` are right
    either way, and those above are made from them.
    """
    bits = description.bits_allocated
    kind = "iu"[1 - description.pixel_representation]
    container = np.dtype(f"<{kind}{bits // 8}")
    if 8 * samples.itemsize > bits and precision > bits:
        raise UndecodablePixelData(f"samples of {precision} bits do not fit in {bits}")
    resigned = samples.astype(container, copy=False)
    if samples.dtype.kind == kind or precision >= bits:
        return resigned
    unused = bits - precision
    extended: Samples = np.right_shift(np.left_shift(resigned, unused), unused)
    return extended
