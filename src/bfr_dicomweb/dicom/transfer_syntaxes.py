"""The transfer syntaxes of DICOM and what this archive knows of each."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydicom.uid import UID

EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
OCTET_STREAM: Final = "application/octet-stream"


class Codec(StrEnum):
    """How the bytes of one frame are made from its samples."""

    NATIVE = "native"
    VERBATIM = "encapsulated uncompressed"
    DEFLATE = "deflate"
    RLE = "RLE"
    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    HTJ2K = "HTJ2K"
    JPEG_XL = "JPEG XL"
    NONE = "none"
    """Not image frames (video, audio, references), or nothing here decodes them."""


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One transfer syntax.

    `encapsulated` is None when only the length of the Pixel Data element can tell.
    `lossy` is true when the syntax allows lossy compression, not when it was used.
    `media_type` is that of bulk pixel data sent as stored (PS3.18 Tables 8.7.3-4 and -5).
    """

    uid: str
    name: str
    encapsulated: bool | None
    codec: Codec
    media_type: str
    lossy: bool = False
    video: bool = False
    big_endian: bool = False
    implicit_vr: bool = False
    deflated: bool = False
    retired: bool = False

    @property
    def decodable(self) -> bool:
        return self.codec is not Codec.NONE


# PS3.6 Table A-1 of 2025, as far as pydicom does not have it yet.
_NEWER_NAMES: Final = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}

# Hierarchical JPEG and arithmetic coding: retired in 2000, and no library reads all of it.
_UNREADABLE_JPEG: Final = frozenset({"58", "59", "60", "61", "62", "63", "64", "65", "66"})
_LOSSLESS_JPEG: Final = frozenset({"57", "58", "65", "66", "70"})


def _row(
    suffix: str,
    codec: Codec = Codec.NONE,
    media_type: str = OCTET_STREAM,
    *,
    encapsulated: bool = True,
    lossy: bool = False,
    video: bool = False,
    big_endian: bool = False,
    implicit_vr: bool = False,
    deflated: bool = False,
) -> TransferSyntax:
    uid = UID("1.2.840.10008.1.2" + suffix)
    newer = _NEWER_NAMES.get(uid)
    return TransferSyntax(
        uid=str(uid),
        name=newer or uid.name,
        encapsulated=encapsulated,
        codec=codec,
        media_type=media_type,
        lossy=lossy,
        video=video,
        big_endian=big_endian,
        implicit_vr=implicit_vr,
        deflated=deflated,
        retired=newer is None and uid.is_retired,
    )


def _jpeg(number: int) -> TransferSyntax:
    last = str(number)
    codec = Codec.NONE if last in _UNREADABLE_JPEG else Codec.JPEG
    return _row(f".4.{last}", codec, "image/jpeg", lossy=last not in _LOSSLESS_JPEG)


def _video(numbers: str, media_type: str) -> tuple[TransferSyntax, ...]:
    return tuple(
        _row(f".4.{number}", media_type=media_type, lossy=True, video=True)
        for number in numbers.split()
    )


# PS3.6 Table A-1; media types from PS3.18 Table 8.7.3-5. The stereo profile .106 is video too.
TRANSFER_SYNTAXES: Final[tuple[TransferSyntax, ...]] = (
    _row("", Codec.NATIVE, encapsulated=False, implicit_vr=True),
    _row(".1", Codec.NATIVE, encapsulated=False),
    _row(".1.98", Codec.VERBATIM),
    _row(".1.99", Codec.NATIVE, encapsulated=False, deflated=True),
    _row(".2", Codec.NATIVE, encapsulated=False, big_endian=True),
    *(_jpeg(number) for number in (*range(50, 67), 70)),
    _row(".4.80", Codec.JPEG_LS, "image/jls"),
    _row(".4.81", Codec.JPEG_LS, "image/jls", lossy=True),
    _row(".4.90", Codec.JPEG_2000, "image/jp2"),
    _row(".4.91", Codec.JPEG_2000, "image/jp2", lossy=True),
    # Part 2 multi-component transforms span frames; no library here decodes them.
    _row(".4.92", media_type="image/jpx"),
    _row(".4.93", media_type="image/jpx", lossy=True),
    _row(".4.94", encapsulated=False),
    _row(".4.95", encapsulated=False, deflated=True),
    *_video("100 100.1 101 101.1", "video/mpeg"),
    *_video("102 102.1 103 103.1 104 104.1 105 105.1 106 106.1", "video/mp4"),
    *_video("107 108", "video/H265"),
    _row(".4.110", Codec.JPEG_XL, "image/jxl"),
    _row(".4.111", Codec.JPEG_XL, "image/jxl", lossy=True),
    _row(".4.112", Codec.JPEG_XL, "image/jxl", lossy=True),
    _row(".4.201", Codec.HTJ2K, "image/jphc"),
    _row(".4.202", Codec.HTJ2K, "image/jphc"),
    _row(".4.203", Codec.HTJ2K, "image/jphc", lossy=True),
    _row(".4.204", encapsulated=False),
    _row(".4.205", encapsulated=False, deflated=True),
    _row(".5", Codec.RLE, "image/dicom-rle"),
    _row(".6.1", encapsulated=False),
    _row(".6.2", encapsulated=False),
    # PS3.22: the essence travels on the network beside the data set, never in it.
    _row(".7.1", encapsulated=False, video=True),
    _row(".7.2", encapsulated=False, video=True),
    _row(".7.3", encapsulated=False),
    _row(".8.1", Codec.DEFLATE),
    _row("0", encapsulated=False, implicit_vr=True),
)

_BY_UID: Final = {syntax.uid: syntax for syntax in TRANSFER_SYNTAXES}


def lookup(uid: str) -> TransferSyntax:
    """The transfer syntax of this UID; for an unknown one what may safely be assumed.

    Private and future syntaxes are Explicit VR Little Endian (PS3.5 section 10 and
    Annex A leave new ones no other choice) and cannot be decoded.
    """
    found = _BY_UID.get(uid)
    if found is not None:
        return found
    return TransferSyntax(uid, "Unknown transfer syntax", None, Codec.NONE, OCTET_STREAM)


class ResourceCategory(StrEnum):
    """PS3.18 section 8.7.2."""

    SINGLE_FRAME = "Single Frame Image"
    MULTI_FRAME = "Multi-Frame Image"
    VIDEO = "Video"
    TEXT = "Text"
    OTHER = "Other"


# Structured reports (SR Document Content Module) and encapsulated documents, PS3.4 Table B.5-1.
_TEXT_CLASSES: Final = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.104.")


def resource_category(
    sop_class_uid: str, transfer_syntax_uid: str, number_of_frames: int | None
) -> ResourceCategory:
    """The Resource Category of an instance (PS3.18 section 8.7.2).

    `number_of_frames` is None when there is no pixel data, and 1 for one frame
    selected out of many, as that is a Single Frame Image whatever it came from.
    """
    if number_of_frames is None:
        text = sop_class_uid.startswith(_TEXT_CLASSES)
        return ResourceCategory.TEXT if text else ResourceCategory.OTHER
    if lookup(transfer_syntax_uid).video:
        return ResourceCategory.VIDEO
    if number_of_frames > 1:
        return ResourceCategory.MULTI_FRAME
    return ResourceCategory.SINGLE_FRAME
