"""What pixel data can be turned into, and what changes with it (PS3.5 sections 8.2 and 10).

Decoding and encoding are done frame by frame; only the lossy target changes a pixel, and
it makes another image of it, with a SOP Instance UID of its own.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np

from bfr_dicomweb.dicom import encoding, pixels
from bfr_dicomweb.dicom.encoding import BY_TRANSFER_SYNTAX, ENCODERS_BY_PREFERENCE, Encoder
from bfr_dicomweb.dicom.pixels import MAX_FRAME_BYTES, PixelDescription
from bfr_dicomweb.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    Codec,
    TransferSyntax,
    lookup,
)
from bfr_dicomweb.errors import NotAcceptable

# Lossless transfer syntaxes of compressed frames that are made, the better one first.
LOSSLESS: Final = tuple(
    one.transfer_syntax.uid for one in ENCODERS_BY_PREFERENCE if not one.is_lossy
)
LOSSY: Final = tuple(one.transfer_syntax.uid for one in ENCODERS_BY_PREFERENCE if one.is_lossy)
# How data sets are written whose pixel data, if they have any, is native.
NATIVE: Final = (EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)

Attributes = Mapping[str, Any]

_IMAGE_TYPE: Final = "00080008"
_SOP_CLASS_UID: Final = "00080016"
_SOP_INSTANCE_UID: Final = "00080018"
_PHOTOMETRIC_INTERPRETATION: Final = "00280004"
_PLANAR_CONFIGURATION: Final = "00280006"
_LOSSY_IMAGE_COMPRESSION: Final = "00282110"
_LOSSY_RATIO: Final = "00282112"
_LOSSY_METHOD: Final = "00282114"


@dataclass(frozen=True, slots=True)
class Conversion:
    """From stored frames to those of another transfer syntax.

    Attributes:
        description: How the frames are stored.
        target: Transfer syntax UID; Explicit VR Little Endian for native frames.
        planar_configuration: Of native frames.
    """

    description: PixelDescription
    target: str = EXPLICIT_VR_LITTLE_ENDIAN
    planar_configuration: int = 0

    @property
    def encoder(self) -> Encoder | None:
        """None where the frames become native."""
        return BY_TRANSFER_SYNTAX.get(self.target)

    @property
    def image(self) -> PixelDescription:
        """The frames as they are encoded: native, each pixel with all its samples."""
        photometric = self.description.native_photometric_interpretation
        if self.description.shares_chroma:
            photometric = "YBR_FULL"
        return replace(
            self.description,
            transfer_syntax=lookup(EXPLICIT_VR_LITTLE_ENDIAN),
            photometric_interpretation=photometric,
            planar_configuration=0,
        )

    def require_encoder(self) -> None:
        """Raises NotAcceptable: the target cannot hold such frames; the text says which can."""
        if self.encoder is None or self.encoder.takes(self.image):
            return
        able = ", ".join((EXPLICIT_VR_LITTLE_ENDIAN, *targets(self.description)))
        raise NotAcceptable(
            f"{self.target} cannot hold this pixel data; these transfer syntaxes can: {able}"
        )


# Makes new frames out of stored ones, in their order, when they are asked for. The text is the path
# of the sequence item that they lie in, "" for those of the image.
Convert = Callable[[Iterable[bytes], Conversion, str], Iterator[bytes]]


def convert_frame(
    frame: bytes, conversion: Conversion, *, max_frame_bytes: int = MAX_FRAME_BYTES
) -> bytes:
    """One frame as it is in the target; compressed ones are not padded.

    Args:
        frame: As `pixels.decode_frame` takes it.

    Raises:
        UndecodablePixelData: the frame cannot be decoded.
        NotAcceptable: the target cannot hold such frames.
    """
    description, encoder = conversion.description, conversion.encoder
    planar = 0 if encoder is not None else conversion.planar_configuration
    native = pixels.decode_frame(
        frame, description, planar_configuration=planar, max_frame_bytes=max_frame_bytes
    )
    if encoder is None:
        return native
    conversion.require_encoder()
    if description.shares_chroma:
        native = with_own_chroma(native, description)
    return encoder.encode(native, conversion.image)


def with_own_chroma(native: bytes, description: PixelDescription) -> bytes:
    """YBR_FULL out of YBR_FULL_422, in which two pixels are stored as Y Y Cb Cr."""
    pairs = np.frombuffer(native, f"<u{description.bits_allocated // 8}").reshape(-1, 4)
    return pairs[:, [0, 2, 3, 1, 2, 3]].tobytes()


def convert_frames(
    frames: Iterable[bytes], conversion: Conversion, _path: str = ""
) -> Iterator[bytes]:
    return (convert_frame(frame, conversion) for frame in frames)


@lru_cache(maxsize=128)
def possible_targets(transfer_syntax_uid: str) -> tuple[str, ...]:
    """Compressed transfer syntaxes to which some image in this one can be brought."""
    if not lookup(transfer_syntax_uid).decodable:
        return ()
    return tuple(uid for uid in BY_TRANSFER_SYNTAX if uid != transfer_syntax_uid)


def targets(description: PixelDescription) -> tuple[str, ...]:
    """Compressed transfer syntaxes to which frames of this description can be brought."""
    image = Conversion(description).image
    return tuple(
        uid
        for uid in possible_targets(description.transfer_syntax.uid)
        if BY_TRANSFER_SYNTAX[uid].takes(image)
    )


def changes(conversion: Conversion) -> dict[str, dict[str, Any]]:
    """The attributes, as DICOM JSON, that may have another value afterwards."""
    description, encoder = conversion.description, conversion.encoder
    changed = pixels.native_changes(description)
    if encoder is None:
        return changed
    image = conversion.image
    after = image.photometric_interpretation
    if encoder.photometric_interpretations is not None:
        after = encoder.photometric_interpretations[after]
    if after != description.photometric_interpretation:
        changed[_PHOTOMETRIC_INTERPRETATION] = {"vr": "CS", "Value": [after]}
    else:
        changed.pop(_PHOTOMETRIC_INTERPRETATION, None)
    if image.samples_per_pixel > 1:
        changed[_PLANAR_CONFIGURATION] = {"vr": "US", "Value": [encoder.planar_configuration]}
    return changed


def lossy_changes(
    attributes: Attributes, conversion: Conversion, *, ratio: float
) -> dict[str, dict[str, Any]]:
    """What says that, how much and how an image was compressed lossily, and makes it another one.

    Args:
        attributes: Of the stored image, as DICOM JSON.
        ratio: Of the bytes before to those after.

    Source: PS3.3 sections C.7.6.1.1.2 to C.7.6.1.1.5 and C.12.4.
    """
    uid = _first(attributes, _SOP_INSTANCE_UID)
    source = {
        "00081150": {"vr": "UI", "Value": [_first(attributes, _SOP_CLASS_UID)]},
        "00081155": {"vr": "UI", "Value": [uid]},
        "0040A170": _code("121320", "Uncompressed predecessor"),
    }
    quality = f"JPEG baseline, quality {encoding.JPEG_QUALITY}"
    image_type = ["DERIVED", *(_values(attributes, _IMAGE_TYPE)[1:] or ["PRIMARY"])]
    return {
        _IMAGE_TYPE: {"vr": "CS", "Value": image_type},
        _SOP_INSTANCE_UID: {"vr": "UI", "Value": [_derived_uid(uid, conversion.target)]},
        "00082111": {"vr": "ST", "Value": [f"Lossy compression: {quality}"]},
        "00082112": {"vr": "SQ", "Value": [source]},
        "00089215": _code("113040", "Lossy Compression"),
        _LOSSY_IMAGE_COMPRESSION: {"vr": "CS", "Value": ["01"]},
        _LOSSY_RATIO: {
            "vr": "DS",
            "Value": [*_values(attributes, _LOSSY_RATIO), max(0.01, round(ratio, 2))],
        },
        _LOSSY_METHOD: {
            "vr": "CS",
            "Value": [*_values(attributes, _LOSSY_METHOD), encoding.JPEG_METHOD],
        },
    }


def _values(attributes: Attributes, key: str) -> list[Any]:
    return list(attributes.get(key, {}).get("Value", []))


def _first(attributes: Attributes, key: str) -> str:
    values = _values(attributes, key)
    if not values:
        raise NotAcceptable("an image without its UIDs cannot become another one")
    return str(values[0])


def _code(value: str, meaning: str) -> dict[str, Any]:
    item = {
        "00080100": {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": ["DCM"]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }
    return {"vr": "SQ", "Value": [item]}


def _derived_uid(uid: str, target: str) -> str:
    """Always the same for the same image, because it is made anew for each who asks."""
    name = f"{uid}\\{target}\\{encoding.JPEG_QUALITY}"
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"


# --- what the conformance statement says ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capability:
    """What this archive does with one transfer syntax.

    Attributes:
        decodes: Frames in it are decoded to native ones.
        encodes: ``lossless``, ``lossy``, or "" where nothing is brought to it.
    """

    transfer_syntax: TransferSyntax
    decodes: bool
    encodes: str


def capabilities() -> tuple[Capability, ...]:
    """Of every transfer syntax of which there is anything to say."""
    found = (_capability(syntax) for syntax in TRANSFER_SYNTAXES)
    return tuple(one for one in found if one.decodes or one.encodes)


def _capability(syntax: TransferSyntax) -> Capability:
    encoder = BY_TRANSFER_SYNTAX.get(syntax.uid)
    encodes = "lossless" if syntax.uid in NATIVE else ""
    if encoder is not None:
        encodes = "lossy" if encoder.is_lossy else "lossless"
    return Capability(syntax, syntax.codec is not Codec.NONE, encodes)
