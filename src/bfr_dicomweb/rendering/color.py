"""Colour spaces: of stored samples (PS3.3 section C.7.6.3.1.2), CIELab, and ICC profiles."""

import struct
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.rendering.parameters import IccProfile
from bfr_dicomweb.rendering.picture import Picture, Pixels

Samples = npt.NDArray[Any]
Matrix = npt.NDArray[np.float64]

# White of the profile connection space of ICC.1
D50: Final = (0.9642, 1.0, 0.8249)
# Chromaticities of red, green, blue and white: IEC 61966-2-1; Adobe RGB (1998) section 4.3.1;
# ISO 22028-2, whose white is that of the profile connection space
_SRGB: Final = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))
_ADOBE_RGB: Final = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.3290))
_ROMM_RGB: Final = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585))
# Parametric curves of type 3 (ICC.1 section 10.18): gamma, a, b, c, d
_SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_ROMM_CURVE: Final = (1.8, 1.0, 0.0, 1 / 16, 16 / 512)
_ADOBE_CURVE: Final = (563 / 256,)
_BRADFORD: Final[Matrix] = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SPACES: Final = {
    "SRGB": IccProfile.SRGB,
    "ADOBERGB": IccProfile.ADOBE_RGB,
    "ROMMRGB": IccProfile.ROMM_RGB,
}


def rgb(samples: Samples, photometric_interpretation: str, *, bits_stored: int) -> Pixels:
    """Red, green and blue of 8 bits.

    Args:
        samples: Shape (rows, columns, samples per pixel), chroma for each pixel.
        photometric_interpretation: What the samples are.
        bits_stored: Of each sample; white is 2 ** bits_stored - 1.

    Raises:
        UndecodablePixelData: no colours can be made of as many samples per pixel.
    """
    eight = _eight_bits(samples, bits_stored)
    name = photometric_interpretation.upper()
    if samples.shape[2] == 4:
        return _of_four(eight, name)
    if samples.shape[2] != 3:
        raise UndecodablePixelData(f"{samples.shape[2]} samples per pixel have no known colours")
    if name.startswith("YBR_PARTIAL"):
        return _of_partial(eight)
    if name == "YBR_RCT":
        return _of_reversible(eight)
    if name.startswith("YBR"):
        return _of_ycbcr(eight)
    if name == "HSV":
        return np.asarray(Image.fromarray(np.ascontiguousarray(eight), "HSV").convert("RGB"))
    return eight


def _eight_bits(samples: Samples, bits_stored: int) -> Pixels:
    if samples.dtype.kind == "f":
        return np.asarray(np.clip(np.nan_to_num(samples), 0, 1) * 255 + 0.5, np.uint8)
    if samples.dtype.kind == "i":
        samples = samples.view(f"u{samples.itemsize}") & ((1 << bits_stored) - 1)
    if bits_stored > 8:
        return np.minimum(np.right_shift(samples, bits_stored - 8), 0xFF).astype(np.uint8)
    if bits_stored < 8:
        highest = (1 << bits_stored) - 1
        return (np.minimum(samples, highest).astype(np.uint16) * 255 // highest).astype(np.uint8)
    return samples.astype(np.uint8, copy=False)


def _of_four(eight: Pixels, name: str) -> Pixels:
    if name == "CMYK":
        # DICOM 1998: 0 is no ink, as in Pillow
        return np.asarray(Image.fromarray(np.ascontiguousarray(eight), "CMYK").convert("RGB"))
    return eight[:, :, 1:] if name == "ARGB" else eight[:, :, :3]


def _of_ycbcr(eight: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(np.ascontiguousarray(eight), "YCbCr").convert("RGB"))


def _of_partial(eight: Pixels) -> Pixels:
    """Black at 16, white at 235; chroma from 16 to 240."""
    luma = np.clip((eight[:, :, :1].astype(np.float32) - 16) * (255 / 219), 0, 255)
    chroma = np.clip((eight[:, :, 1:].astype(np.float32) - 128) * (255 / 224) + 128, 0, 255)
    full = np.concatenate([luma, chroma], axis=2)
    return _of_ycbcr((full + 0.5).astype(np.uint8))


def _of_reversible(eight: Pixels) -> Pixels:
    """PS3.3 section C.7.6.3.1.2, where uncompressed samples were left so; chroma around 128."""
    luma, blue, red = (eight[:, :, place].astype(np.int16) for place in range(3))
    blue, red = blue - 128, red - 128
    green = luma - (blue + red) // 4
    colors = np.stack([red + green, green, blue + green], axis=2)
    return np.asarray(np.clip(colors, 0, 255), np.uint8)


def rgb_of_lab(encoded: list[int] | tuple[int, ...]) -> tuple[int, int, int]:
    """sRGB of a CIELab value of 16 bits each (PS3.3 section C.10.7.1.1)."""
    # what does not fit into 16 bits is written in none but broken objects
    first, *others = (min(max(value, 0), 0xFFFF) for value in encoded[:3])
    lightness = first * 100 / 0xFFFF
    a, b = (value * 255 / 0xFFFF - 128 for value in others)
    y = (lightness + 16) / 116
    xyz = np.array([_uncurved(y + a / 500), _uncurved(y), _uncurved(y - b / 200)]) * D50
    linear = np.clip(np.linalg.inv(_to_d50(_SRGB)) @ xyz, 0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(value) for value in np.rint(curved * 255))
    return red, green, blue


def _uncurved(value: float) -> float:
    return value**3 if value > 6 / 29 else 3 * (6 / 29) ** 2 * (value - 4 / 29)


def space_named(color_space: str) -> IccProfile | None:
    """That of Color Space (0028,2002), PS3.3 section C.11.15.1.2; None: it is no known one."""
    return _SPACES.get(color_space.strip().upper())


@lru_cache(maxsize=8)
def profile(space: IccProfile, *, gray: bool = False) -> bytes:
    """An ICC profile of one of the named spaces; `gray`: of its greys alone.

    Made of published primaries. All that it says follows from them: equal requests get equal
    bytes.
    """
    primaries, curve = {
        IccProfile.ADOBE_RGB: (_ADOBE_RGB, _ADOBE_CURVE),
        IccProfile.ROMM_RGB: (_ROMM_RGB, _ROMM_CURVE),
    }.get(space, (_SRGB, _SRGB_CURVE))
    name = {
        IccProfile.ADOBE_RGB: "compatible with Adobe RGB (1998)",
        IccProfile.ROMM_RGB: "ROMM RGB (ISO 22028-2)",
    }.get(space, "sRGB (IEC 61966-2-1)")
    tags = {
        b"desc": _unicode_text(name),
        b"cprt": _unicode_text("No copyright, use freely"),
        b"wtpt": _xyz(D50),
    }
    if gray:
        return _icc(b"GRAY", tags | {b"kTRC": _curve(curve)})
    colorants = _to_d50(primaries)
    for channel, letter in enumerate("rgb"):
        tags[f"{letter}XYZ".encode()] = _xyz(tuple(colorants[:, channel]))
        tags[f"{letter}TRC".encode()] = _curve(curve)
    tags[b"chad"] = _fixed(b"sf32", _adaptation(primaries[3]).ravel().tolist())
    return _icc(b"RGB ", tags)


def _to_d50(primaries: tuple[tuple[float, float], ...]) -> Matrix:
    """From linear red, green and blue to XYZ with the white of D50."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in primaries[:3]]).T
    white = _white(primaries[3])
    scaled: Matrix = columns * np.linalg.solve(columns, white)
    adapted: Matrix = _adaptation(primaries[3]) @ scaled
    return adapted


def _white(chromaticity: tuple[float, float]) -> Matrix:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _adaptation(white: tuple[float, float]) -> Matrix:
    """Of a white to that of D50, by the linear Bradford transform (ICC.1 Annex E)."""
    cones = (_BRADFORD @ np.array(D50)) / (_BRADFORD @ _white(white))
    adapted: Matrix = np.linalg.inv(_BRADFORD) @ (cones[:, np.newaxis] * _BRADFORD)
    return adapted


def _fixed(kind: bytes, numbers: list[float] | tuple[float, ...]) -> bytes:
    fixed = [round(number * 65536) for number in numbers]
    return kind + bytes(4) + struct.pack(f">{len(fixed)}i", *fixed)


def _xyz(numbers: tuple[float, ...]) -> bytes:
    return _fixed(b"XYZ ", numbers)


def _curve(parameters: tuple[float, ...]) -> bytes:
    kind = 3 if len(parameters) == 5 else 0
    numbers = [round(number * 65536) for number in parameters]
    return b"para" + bytes(4) + struct.pack(f">HH{len(numbers)}i", kind, 0, *numbers)


def _unicode_text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    head = struct.pack(">4s4xII2s2sII", b"mluc", 1, 12, b"en", b"US", len(encoded), 28)
    return head + encoded


def _icc(color_space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A display profile of version 4.3 (ICC.1 section 7); equal tags are stored once."""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    table, body = struct.pack(">I", len(tags)), b""
    for signature, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", signature, places[content], len(content))
    head = struct.pack(
        ">I4xI4s4s4s6H4s24xI12s48x",
        start + len(body),
        0x04300000,
        b"mntr",
        color_space,
        b"XYZ ",
        *(2020, 1, 1, 0, 0, 0),
        b"acsp",
        0,
        _fixed(b"", D50)[4:],
    )
    return head + table + body


def with_profile(picture: Picture, wanted: IccProfile) -> Picture:
    """The picture as `iccprofile` asks for it (PS3.18 section 8.3.5.1.5).

    Args:
        picture: Its profile is that of the object, if that has one.
        wanted: NO: without a profile. YES: with its own, or as sRGB. Others: in this space.

    A stored profile that cannot be used is taken for none.
    """
    if wanted is IccProfile.NO:
        return Picture(picture.pixels)
    stored = picture.icc_profile if _fits(picture) else None
    if wanted is IccProfile.YES:
        own = stored or profile(IccProfile.SRGB, gray=not picture.is_color)
        return Picture(picture.pixels, own)
    target = profile(wanted)
    return Picture(_transformed(picture, stored or profile(IccProfile.SRGB), target), target)


def _fits(picture: Picture) -> bool:
    """Whether the profile is one of such samples."""
    if picture.icc_profile is None:
        return False
    return picture.icc_profile[16:20] == (b"RGB " if picture.is_color else b"GRAY")


def _transformed(picture: Picture, source: bytes, target: bytes) -> Pixels:
    image = Image.fromarray(picture.pixels)
    if not picture.is_color:
        image = image.convert("RGB")
    if source == target:
        return np.asarray(image)
    if source[16:20] == b"GRAY":
        source = profile(IccProfile.SRGB)
    try:
        transform = _transform(source, target)
    except (ImageCms.PyCMSError, OSError):
        transform = _transform(profile(IccProfile.SRGB), target)
    converted = ImageCms.applyTransform(image, transform)
    return np.asarray(image if converted is None else converted)


@lru_cache(maxsize=8)
def _transform(source: bytes, target: bytes) -> ImageCms.ImageCmsTransform:
    """Relative colorimetric with black point compensation, as browsers do it."""
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(source)),
        ImageCms.ImageCmsProfile(BytesIO(target)),
        "RGB",
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
