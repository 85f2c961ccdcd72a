"""Pictures as the media types of rendered images (PS3.18 sections 8.7.4 and 8.3.5.1.2)."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import imagecodecs
import numpy as np
from PIL import Image

from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering import color
from bfr_dicomweb.rendering.parameters import IccProfile
from bfr_dicomweb.rendering.picture import Picture, Pixels

DEFAULT_QUALITY: Final = 90
# From here on chroma is kept for every pixel where a format leaves the choice.
FULL_CHROMA: Final = 90
DEFAULT_FRAME_MS: Final = 100.0
LOSSLESS: Final = 100
_PNG_SIGNATURE_AND_HEADER: Final = 8 + 25
_JP2_SIGNATURE: Final = b"\x0d\x0a\x87\x0a"


@dataclass(frozen=True, slots=True)
class ImageType:
    """What a media type can do.

    Attributes:
        is_animated: It holds several pictures.
        embeds_icc: A profile can be put into it.
        is_lossy: `quality` says something; 100 loses nothing where the format allows that.
        max_side: Of a picture, in pixels.
    """

    is_animated: bool = False
    embeds_icc: bool = True
    is_lossy: bool = True
    max_side: int = 0xFFFF


# The rendered media types of PS3.18 Table 8.7.4-1 and, from image/webp on, what browsers like
IMAGE_TYPES: Final[Mapping[str, ImageType]] = {
    "image/jpeg": ImageType(max_side=65500),
    "image/png": ImageType(is_lossy=False, max_side=1 << 20),
    "image/gif": ImageType(is_animated=True, embeds_icc=False, is_lossy=False),
    "image/jp2": ImageType(),
    "image/jph": ImageType(),
    "image/jxl": ImageType(embeds_icc=False),
    "image/webp": ImageType(max_side=16383),
    "image/avif": ImageType(max_side=16384),
}


def encode(
    pictures: Sequence[Picture],
    media_type: str,
    *,
    quality: int | None = None,
    durations_ms: Sequence[float] | None = None,
) -> bytes:
    """The pictures as one file; several of them only where the type is animated.

    Args:
        pictures: At least one. All have the size of the first.
        media_type: A key of `IMAGE_TYPES`.
        quality: 1 to 100; None: `DEFAULT_QUALITY`.
        durations_ms: How long each of several pictures is shown; None: `DEFAULT_FRAME_MS`.

    Raises:
        NotAcceptable: the pictures do not fit into a file of this type.
    """
    kind = IMAGE_TYPES.get(media_type)
    if kind is None:
        raise NotAcceptable(f"images cannot be rendered as {media_type}")
    if len(pictures) != 1 and not kind.is_animated:
        raise NotAcceptable(f"{media_type} holds one image; there are {len(pictures)}")
    for picture in pictures:
        if max(picture.rows, picture.columns) > kind.max_side:
            raise NotAcceptable(
                f"{media_type} holds images of at most {kind.max_side} pixels a side"
            )
    if kind.is_animated:
        return _gif(pictures, durations_ms)
    first = pictures[0]
    flat = Picture(np.ascontiguousarray(first.pixels), first.icc_profile)
    return _ENCODERS[media_type](flat, DEFAULT_QUALITY if quality is None else quality)


def _saved(picture: Picture, name: str, **options: Any) -> bytes:
    file = BytesIO()
    if picture.icc_profile is not None:
        options["icc_profile"] = picture.icc_profile
    Image.fromarray(picture.pixels).save(file, name, **options)
    return file.getvalue()


def _jpeg(picture: Picture, quality: int) -> bytes:
    """Baseline, 8 bits (SOF0)."""
    subsampling = "4:4:4" if quality >= FULL_CHROMA else "4:2:0"
    return _saved(picture, "JPEG", quality=quality, subsampling=subsampling)


def _png(picture: Picture, _quality: int) -> bytes:
    """Rows as differences, compressed for speed: as small as any level for what scanners give."""
    file = bytes(imagecodecs.png_encode(picture.pixels, level=1, strategy=3, filter=16))
    if picture.icc_profile is None:
        return file
    content = b"iCCP" + b"ICC profile\x00\x00" + zlib.compress(picture.icc_profile)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    # behind the header, before the samples (PNG section 11.3.3.3)
    return file[:_PNG_SIGNATURE_AND_HEADER] + chunk + file[_PNG_SIGNATURE_AND_HEADER:]


def _jpeg_2000(picture: Picture, quality: int) -> bytes:
    """At quality 90 about 50 dB of signal to noise."""
    lossless = quality >= LOSSLESS
    codestream = imagecodecs.jpeg2k_encode(
        picture.pixels,
        level=0 if lossless else 28 + quality // 4,
        reversible=lossless,
        codecformat="j2k",
        numthreads=1,
    )
    return _boxed(picture, bytes(codestream), b"jp2 ")


def _htj2k(picture: Picture, quality: int) -> bytes:
    """The step of quantisation doubles with every 20 less; 1/200 of white at quality 90."""
    lossless = quality >= LOSSLESS
    codestream = imagecodecs.htj2k_encode(
        picture.pixels,
        level=None if lossless else 0.005 * 2 ** ((90 - quality) / 20),
        reversible=lossless,
        rgb=picture.is_color,
    )
    return _boxed(picture, bytes(codestream), b"jph ")


def _boxed(picture: Picture, codestream: bytes, brand: bytes) -> bytes:
    """A JP2 file (ISO/IEC 15444-1 Annex I), or a JPH file (ISO/IEC 15444-15 Annex D)."""
    components = 3 if picture.is_color else 1
    header = struct.pack(">IIHBBBB", picture.rows, picture.columns, components, 7, 7, 0, 0)
    profile = picture.icc_profile
    if profile is None:
        described = struct.pack(">BBBI", 1, 0, 0, 16 if picture.is_color else 17)
    else:
        # 2: restricted, which is what has no tables; 3: any
        described = struct.pack(">BBB", 3 if b"A2B0" in profile[128:1024] else 2, 0, 0) + profile
    return b"".join(
        (
            _box(b"jP  ", _JP2_SIGNATURE),
            _box(b"ftyp", brand + bytes(4) + brand),
            _box(b"jp2h", _box(b"ihdr", header) + _box(b"colr", described)),
            _box(b"jp2c", codestream),
        )
    )


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _jpeg_xl(picture: Picture, quality: int) -> bytes:
    lossless = quality >= LOSSLESS
    return bytes(
        imagecodecs.jpegxl_encode(
            picture.pixels,
            effort=1 if lossless else 3,
            distance=0.0 if lossless else _distance(quality),
            lossless=lossless,
            usecontainer=True,
            numthreads=1,
        )
    )


def _distance(quality: int) -> float:
    """What libjxl's own programs take a JPEG quality for."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality * quality - 23 / 20 * quality + 25.0


def _with_color_profile(picture: Picture) -> Picture:
    """For formats that hold greys as colours: what describes greys alone does not fit there."""
    if picture.is_color or picture.icc_profile is None:
        return picture
    return Picture(picture.pixels, color.profile(IccProfile.SRGB))


def _webp(picture: Picture, quality: int) -> bytes:
    picture = _with_color_profile(picture)
    return _saved(picture, "WEBP", quality=quality, lossless=quality >= LOSSLESS, method=2)


def _avif(picture: Picture, quality: int) -> bytes:
    subsampling = "4:4:4" if quality >= FULL_CHROMA else "4:2:0"
    picture = _with_color_profile(picture)
    return _saved(picture, "AVIF", quality=quality, subsampling=subsampling, speed=9, max_threads=1)


_ENCODERS: Final[Mapping[str, Callable[[Picture, int], bytes]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/jp2": _jpeg_2000,
    "image/jph": _htj2k,
    "image/jxl": _jpeg_xl,
    "image/webp": _webp,
    "image/avif": _avif,
}


def _gif(pictures: Sequence[Picture], durations_ms: Sequence[float] | None) -> bytes:
    """Greys as they are; of colours the 256 that each picture needs most. It plays for ever."""
    frames = [_with_palette(picture.pixels) for picture in pictures]
    if not frames:
        raise NotAcceptable("there is no image to show")
    if {frame.size for frame in frames} != {frames[0].size}:
        raise NotAcceptable("image/gif holds images of one size; these differ")
    file = BytesIO()
    if len(frames) == 1:
        frames[0].save(file, "GIF")
        return file.getvalue()
    times = list(durations_ms or ())[: len(frames)]
    times += [DEFAULT_FRAME_MS] * (len(frames) - len(times))
    # GIF counts in hundredths; what is shown for less than two of them is slowed down by browsers.
    shown = [max(20, round(time / 10) * 10) for time in times]
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=shown, loop=0, optimize=False
    )
    return file.getvalue()


def _with_palette(pixels: Pixels) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return image if image.mode == "L" else image.quantize(256)
