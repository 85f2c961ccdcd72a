"""Pixel data out of the parts of a payload (PS3.18 section 10.5.1.4): as it is wherever a transfer
syntax has a place for it, with what it tells of itself (Table 10.5.2-1).
"""

import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from bfr_dicomweb.dicom import (
    compressed_images,
    module_attributes,
    raster_images,
    transfer_syntaxes,
    videos,
)
from bfr_dicomweb.dicom.attributes import first_text, has_value
from bfr_dicomweb.dicom.compressed_images import CompressedImage
from bfr_dicomweb.dicom.data_sets import BulkContent, Piece, Span, size_of
from bfr_dicomweb.dicom.frames import (
    ITEM,
    PIXEL_DATA,
    RLE_LOSSLESS,
    Source,
    padding_record,
    release,
)
from bfr_dicomweb.dicom.json_model import named
from bfr_dicomweb.dicom.media_types import OCTET_STREAM
from bfr_dicomweb.dicom.module_attributes import element
from bfr_dicomweb.dicom.part10 import INLINE_BYTES, OFFSET_TABLES
from bfr_dicomweb.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    Codec,
)
from bfr_dicomweb.errors import InvalidDataset, InvalidObject, UnsupportedMediaType

VIDEO_TYPES: Final = frozenset({"video/mp4", "video/mpeg", "video/h265", "video/mpeg2"})
RLE: Final = "image/dicom-rle"
# Transfer syntaxes of bulk data that is native, little endian bytes; "" is the default.
NATIVE: Final = frozenset({"", EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN})
_SOP_CLASS: Final = "00080016"
_NUMBER_OF_FRAMES: Final = "00280008"
_SAMPLES: Final = "00280002"
_ROWS: Final = "00280010"
_COLUMNS: Final = "00280011"
_BITS_ALLOCATED: Final = "00280100"
_BITS: Final = (_BITS_ALLOCATED, "00280101", "00280102")
# A fragment is shorter than its length field can tell, and even (PS3.5 section A.4).
_FRAGMENT_BYTES: Final = 0xFFFFFFF0
# Frames that are looked at before what was read of them is let go.
_RELEASE_EVERY: Final = 64
# Beyond it the frames' offsets are told in the Extended Offset Table.
_BASIC_OFFSETS: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class BulkPart:
    """One part of a payload; its bytes are `start` to `stop` of what holds them all.

    Attributes:
        media_type: In lower case, without parameters.
        transfer_syntax_uid: "" when the part does not say.
    """

    media_type: str
    transfer_syntax_uid: str
    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class PixelValue:
    """The pixel data of an object.

    Attributes:
        derived: Attributes that the payload tells, for those that the metadata does not.
        sop_class_uid: Of an object of which nothing else is known; "" when there is none.
        is_decoded: Then `derived` holds whatever the metadata says.
        padded: As `frames.padding_record`.
    """

    tag: str
    vr: str
    transfer_syntax_uid: str
    content: BulkContent
    derived: Mapping[str, Any] = field(default_factory=dict)
    sop_class_uid: str = ""
    is_decoded: bool = False
    padded: bytes = b""


Decoded = Callable[[Iterable[bytes]], Span]


def pixel_tag(attributes: Mapping[str, Any]) -> str | None:
    """Of pixel data that the metadata refers to."""
    return next((tag for tag in PIXEL_DATA if "BulkDataURI" in attributes.get(tag, {})), None)


def pixel_value(
    attributes: Mapping[str, Any],
    tag: str,
    parts: Sequence[BulkPart],
    source: Source,
    *,
    decoded: Decoded,
    max_frame_bytes: int,
) -> PixelValue:
    """What the parts make of the pixel data under `tag`.

    Args:
        source: What holds the parts.
        decoded: Puts frames behind the parts and tells where they are.

    Raises:
        InvalidObject: The parts do not make pixel data; says why.
        InvalidDataset: The metadata contradicts them, or lacks what they do not tell.
        UnsupportedMediaType: A part has a type that pixel data does not have.
    """
    types = {part.media_type for part in parts}
    if len(types) > 1:
        raise InvalidObject("the frames of the pixel data have different media types")
    (media_type,) = types
    is_video = transfer_syntaxes.lookup(parts[0].transfer_syntax_uid).video
    try:
        if is_video or media_type in VIDEO_TYPES:
            return _video(attributes, parts, source)
        if media_type == OCTET_STREAM and _is_native(parts):
            return _native(attributes, tag, parts)
        if media_type in raster_images.RASTER:
            return _raster(attributes, parts, source, decoded, max_frame_bytes)
        if media_type == RLE or parts[0].transfer_syntax_uid == RLE_LOSSLESS:
            return _run_lengths(attributes, parts)
        if media_type in compressed_images.FAMILIES or media_type == OCTET_STREAM:
            return _compressed(attributes, media_type, parts, source)
    except ValueError as error:
        raise InvalidObject(f"pixel data: {error}") from error
    raise UnsupportedMediaType(f"pixel data of type {media_type[:64]} is not taken")


def _is_native(parts: Sequence[BulkPart]) -> bool:
    for part in parts:
        if part.transfer_syntax_uid in NATIVE:
            continue
        codec = transfer_syntaxes.lookup(part.transfer_syntax_uid).codec
        if codec in (Codec.NATIVE, Codec.NONE):
            raise UnsupportedMediaType(
                f"bulk data in transfer syntax {part.transfer_syntax_uid[:64]} is not taken"
            )
        return False
    return True


def _number(attributes: Mapping[str, Any], tag: str) -> int | None:
    values = attributes.get(tag, {}).get("Value") or [None]
    try:
        return None if values[0] is None else int(values[0])
    except (TypeError, ValueError, OverflowError):
        raise InvalidDataset((tag,), "invalid", f"{named((tag,))} must be a number") from None


def _required_number(attributes: Mapping[str, Any], tag: str) -> int:
    number = _number(attributes, tag)
    if number is None or number < 1:
        reason = f"{named((tag,))} is needed for pixel data that does not tell it"
        raise InvalidDataset((tag,), "missing", reason)
    return number


def _samples(attributes: Mapping[str, Any]) -> tuple[int, ...]:
    """Samples of two pixels; chroma that is shared by pixels is stored once, or by some not."""
    samples = 2 * _required_number(attributes, _SAMPLES)
    photometric = first_text(attributes, "00280004")
    if samples != 6:
        return (samples,)
    return {"YBR_FULL_422": (4, 6), "YBR_PARTIAL_422": (4, 6), "YBR_PARTIAL_420": (3, 6)}.get(
        photometric, (samples,)
    )


def _native(attributes: Mapping[str, Any], tag: str, parts: Sequence[BulkPart]) -> PixelValue:
    """One part, or one a frame (PS3.18 section 8.7.3.3.1)."""
    require_size(attributes, sum(part.size_bytes for part in parts))
    bits = _required_number(attributes, _BITS_ALLOCATED)
    vr = {"7FE00008": "OF", "7FE00009": "OD"}.get(tag, "OW" if bits > 8 else "OB")
    if tag == PIXEL_DATA[0] and bits <= 8 and attributes[tag]["vr"] in ("OB", "OW"):
        vr = attributes[tag]["vr"]
    content = BulkContent(tuple(Span(part.start, part.stop) for part in parts))
    return PixelValue(tag, vr, EXPLICIT_VR_LITTLE_ENDIAN, content)


def require_size(attributes: Mapping[str, Any], size: int) -> None:
    """Raises InvalidObject: Native pixel data of `size` bytes is not what is described."""
    bits = _required_number(attributes, _BITS_ALLOCATED)
    area = _required_number(attributes, _ROWS) * _required_number(attributes, _COLUMNS)
    frames = _number(attributes, _NUMBER_OF_FRAMES) or 1
    wanted = [-(-area * samples * bits * frames // 16) for samples in _samples(attributes)]
    if size not in wanted and size - 1 not in [each for each in wanted if each % 2]:
        raise InvalidObject(f"the pixel data has {size} bytes, not the {wanted[0]} described")


def _raster(
    attributes: Mapping[str, Any],
    parts: Sequence[BulkPart],
    source: Source,
    decoded: Decoded,
    max_frame_bytes: int,
) -> PixelValue:
    spans, images = [], []
    for part in parts:
        file = source[part.start : part.stop]
        image = raster_images.read(part.media_type, file, max_frame_bytes=max_frame_bytes)
        images.append(image)
        spans.append(decoded(image.frames))
    shapes = {(one.rows, one.columns, one.samples_per_pixel, one.bits) for one in images}
    if len(shapes) > 1:
        raise InvalidObject("the frames of the pixel data have different sizes or colours")
    (shape,) = shapes
    _require_shape(attributes, shape[:3])
    count = sum(image.number_of_frames for image in images)
    derived = _image_pixel(*shape, photometric="RGB" if shape[2] == 3 else "MONOCHROME2")
    derived |= _frame_count(attributes, count)
    for tag in _BITS:
        if _number(attributes, tag) not in (None, derived[tag]["Value"][0]):
            raise _contradiction(tag)
    times = images[0].frame_times_ms if len(images) == 1 else ()
    derived |= _cine(times)
    return PixelValue(
        "7FE00010",
        "OW" if shape[3] > 8 else "OB",
        EXPLICIT_VR_LITTLE_ENDIAN,
        BulkContent(tuple(spans)),
        derived,
        _image_class(count, shape[2], shape[3]),
        is_decoded=True,
    )


def _compressed(
    attributes: Mapping[str, Any], media_type: str, parts: Sequence[BulkPart], source: Source
) -> PixelValue:
    frames = []
    for number, part in enumerate(parts, 1):
        frames.append(compressed_images.describe(source, part.start, part.stop))
        if not number % _RELEASE_EVERY:
            release(source)
    first = frames[0]
    families = compressed_images.FAMILIES.get(media_type)
    for frame in frames:
        if families is not None and frame.family not in families:
            raise InvalidObject(f"the pixel data is {frame.family.value}, not {media_type}")
        if _likeness(frame) != _likeness(first):
            raise InvalidObject("the frames of the pixel data have different sizes or colours")
    _require_shape(attributes, (first.rows, first.columns, first.samples_per_pixel))
    allocated = _number(attributes, _BITS_ALLOCATED)
    if allocated is not None and allocated < first.bits:
        raise _contradiction(_BITS_ALLOCATED)
    uid = _transfer_syntax(parts, frames)
    derived = _image_pixel(
        first.rows,
        first.columns,
        first.samples_per_pixel,
        first.bits,
        is_signed=first.is_signed,
        photometric=first.photometric_interpretation,
    ) | _frame_count(attributes, len(parts))
    if any(frame.is_lossy for frame in frames):
        size = sum(frame.stop - frame.start for frame in frames)
        native = first.rows * first.columns * first.samples_per_pixel * (1 + (first.bits > 8))
        derived |= _lossy(
            native * len(frames) / size, compressed_images.METHODS[first.family], attributes
        )
    elif _number(attributes, _ROWS) is None:
        derived |= dict([element("LossyImageCompression", "00")])
    spans = [Span(frame.start, frame.stop) for frame in frames]
    return _encapsulated(
        spans, uid, derived, _image_class(len(frames), first.samples_per_pixel, first.bits)
    )


def _likeness(frame: CompressedImage) -> tuple[object, ...]:
    shape = (frame.rows, frame.columns, frame.samples_per_pixel, frame.is_signed)
    return (*shape, frame.family, frame.bits)


def _transfer_syntax(parts: Sequence[BulkPart], frames: Sequence[CompressedImage]) -> str:
    """The one that the parts name, or else the first in which each of the frames may stand."""
    wished = {part.transfer_syntax_uid for part in parts} - {""}
    if len(wished) > 1:
        raise InvalidObject("the frames of the pixel data name different transfer syntaxes")
    common = [
        uid
        for uid in dict.fromkeys(uid for frame in frames for uid in frame.transfer_syntax_uids)
        if all(uid in frame.transfer_syntax_uids for frame in frames)
    ]
    if not common:
        raise InvalidObject("the frames of the pixel data have no transfer syntax in common")
    for uid in wished:
        if uid not in common:
            raise InvalidObject(f"the pixel data is not what transfer syntax {uid[:64]} has")
        return uid
    return common[0]


def _run_lengths(attributes: Mapping[str, Any], parts: Sequence[BulkPart]) -> PixelValue:
    """RLE says nothing of its pixels (PS3.5 Annex G)."""
    for tag in (_SAMPLES, _ROWS, _COLUMNS, _BITS_ALLOCATED):
        _required_number(attributes, tag)
    derived = _frame_count(attributes, len(parts))
    spans = [Span(part.start, part.stop) for part in parts]
    return _encapsulated(spans, RLE_LOSSLESS, derived, "")


def _video(attributes: Mapping[str, Any], parts: Sequence[BulkPart], source: Source) -> PixelValue:
    if len(parts) > 1:
        raise InvalidObject("a video is one part, whatever the number of its frames")
    (part,) = parts
    span, wished = Span(part.start, part.stop), part.transfer_syntax_uid
    sop_class = module_attributes.VIDEO_PHOTOGRAPHIC
    try:
        video = videos.describe(source, part.start, part.stop)
    except ValueError:
        # a stream in another container, of which sender and metadata tell all
        told = (_number(attributes, tag) for tag in (_ROWS, _COLUMNS, _NUMBER_OF_FRAMES))
        if not transfer_syntaxes.lookup(wished).video or None in told:
            raise
        return _encapsulated([span], wished, {}, sop_class)
    _require_shape(attributes, (video.rows, video.columns, 3))
    if wished and wished not in video.transfer_syntax_uids:
        raise InvalidObject(f"the video is not what transfer syntax {wished[:64]} has")
    uid = wished or video.transfer_syntax_uids[0]
    if part.size_bytes > _FRAGMENT_BYTES and not wished:
        uid = next((each for each in video.transfer_syntax_uids if each.endswith(".1")), uid)
    native = video.rows * video.columns * 1.5 * video.number_of_frames
    derived = _told_of_video(video) | _lossy(native / part.size_bytes, video.method, attributes)
    return _encapsulated([span], uid, derived, sop_class)


def _told_of_video(video: videos.Video) -> dict[str, Any]:
    """Image Pixel, Multi-frame and Cine (PS3.3 Tables C.7-11c, C.7-14 and C.7-13)."""
    pixels = _image_pixel(video.rows, video.columns, 3, video.bits, photometric="YBR_PARTIAL_420")
    return pixels | dict(
        [
            element("NumberOfFrames", video.number_of_frames),
            element("FrameTime", round(video.frame_time_ms, 6)),
            element("CineRate", round(1000 / video.frame_time_ms)),
            element("FrameIncrementPointer", "00181063"),
        ]
    )


def _encapsulated(
    spans: Sequence[Span], uid: str, derived: Mapping[str, Any], sop_class_uid: str
) -> PixelValue:
    """Each frame in fragments of its own, and where they begin (PS3.5 section A.4)."""
    sizes = [size_of(span) for span in spans]
    if not all(sizes):
        raise InvalidObject("a frame of the pixel data is empty")
    fragments = [list(_fragments(span)) for span in spans]
    lengths = [sum(8 + size_of(span) + size_of(span) % 2 for span in frame) for frame in fragments]
    offsets = [0, *accumulate(lengths)][: len(lengths)]
    derived = dict(derived)
    table = b""
    if len(spans) > 1 and offsets[-1] <= _BASIC_OFFSETS:
        table = struct.pack(f"<{len(offsets)}I", *offsets)
    elif len(spans) > 1:
        padded = [size + size % 2 for size in sizes]
        for tag, values in zip(OFFSET_TABLES, (offsets, padded), strict=True):
            packed = struct.pack(f"<{len(values)}Q", *values)
            derived[tag] = {"vr": "OV", "InlineBinary": b64encode(packed).decode()}
    pieces: list[Piece] = [ITEM + struct.pack("<I", len(table)) + table]
    for frame in fragments:
        for span in frame:
            size = size_of(span)
            pieces += [ITEM + struct.pack("<I", size + size % 2), span]
            if size % 2:
                pieces.append(b"\0")
    record = padding_record(sizes)
    return PixelValue(
        "7FE00010",
        "OB",
        uid,
        BulkContent(tuple(pieces), encapsulated=True),
        derived,
        sop_class_uid,
        padded=record if len(record) <= INLINE_BYTES else b"",
    )


def _fragments(span: Span) -> Iterator[Span]:
    for start in range(span.start, span.stop, _FRAGMENT_BYTES):
        yield Span(start, min(start + _FRAGMENT_BYTES, span.stop))


def _contradiction(tag: str) -> InvalidDataset:
    return InvalidDataset((tag,), "invalid", f"{named((tag,))} contradicts the pixel data")


def _require_shape(attributes: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    for tag, wanted in zip((_ROWS, _COLUMNS, _SAMPLES), shape, strict=True):
        if _number(attributes, tag) not in (None, wanted):
            raise _contradiction(tag)


def _frame_count(attributes: Mapping[str, Any], count: int) -> dict[str, Any]:
    told = _number(attributes, _NUMBER_OF_FRAMES)
    if told not in (None, count):
        raise InvalidObject(f"{count} frames for a Number of Frames (0028,0008) of {told}")
    sop_class = first_text(attributes, _SOP_CLASS)
    is_multi_frame = count > 1 or sop_class in module_attributes.MULTI_FRAME
    return dict([element("NumberOfFrames", count)]) if is_multi_frame else {}


def _image_pixel(
    rows: int, columns: int, samples: int, bits: int, *, photometric: str, is_signed: bool = False
) -> dict[str, Any]:
    """Image Pixel Description (PS3.3 Table C.7-11c)."""
    found = dict(
        [
            element("SamplesPerPixel", samples),
            element("PhotometricInterpretation", photometric),
            element("Rows", rows),
            element("Columns", columns),
            element("BitsAllocated", 8 if bits <= 8 else 16),
            element("BitsStored", bits),
            element("HighBit", bits - 1),
            element("PixelRepresentation", int(is_signed)),
        ]
    )
    if samples > 1:
        found |= dict([element("PlanarConfiguration", 0)])
    return found


def _lossy(ratio: float, method: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """PS3.3 section C.7.6.1.1.5; nothing where the metadata speaks of it."""
    if has_value(attributes.get("00282110")):
        return {}
    return dict(
        [
            element("LossyImageCompression", "01"),
            element("LossyImageCompressionRatio", float(f"{ratio:.4g}")),
            element("LossyImageCompressionMethod", method),
        ]
    )


def _cine(times: Sequence[float]) -> dict[str, Any]:
    """Cine (PS3.3 Table C.7-13): one time for all frames, or a vector of them."""
    if not times:
        return {}
    if len(set(times)) == 1:
        return dict([element("FrameTime", times[0]), element("FrameIncrementPointer", "00181063")])
    # the first value is the time of the first frame, which nothing goes before
    vector = [0.0, *times[:-1]]
    return dict([element("FrameTimeVector", *vector), element("FrameIncrementPointer", "00181065")])


def _image_class(frames: int, samples: int, bits: int) -> str:
    if frames > 1 and samples > 1:
        return module_attributes.MULTI_FRAME_TRUE_COLOR
    if frames > 1:
        is_byte = bits <= 8
        grayscale = module_attributes.MULTI_FRAME_GRAYSCALE_WORD
        return module_attributes.MULTI_FRAME_GRAYSCALE_BYTE if is_byte else grayscale
    is_photograph = samples > 1 and bits <= 8
    return (
        module_attributes.VL_PHOTOGRAPHIC if is_photograph else module_attributes.SECONDARY_CAPTURE
    )
