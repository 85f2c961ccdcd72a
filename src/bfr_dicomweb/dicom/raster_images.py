"""GIF and PNG to native frames (PS3.18 Table 10.5.2-1): what DICOM has no transfer syntax for."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin, Image, ImageSequence

GIF: Final = "image/gif"
PNG: Final = "image/png"
RASTER: Final = frozenset({GIF, PNG})
# Files above this are no pictures of this kind that anybody has; they are read whole.
MAX_FILE_BYTES: Final = 1 << 28
MAX_FRAMES: Final = 100_000
# What viewers make of a GIF frame that is shown for no time.
_DEFAULT_MS: Final = 100.0


@dataclass(frozen=True, slots=True)
class RasterImage:
    """
    Attributes:
        frame_times_ms: How long each frame is shown; empty for a single one.
        frames: Native bytes, little endian and colour by pixel, one frame after the other.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    bits: int
    number_of_frames: int
    frame_times_ms: tuple[float, ...]
    frames: Iterator[bytes]


def read(media_type: str, file: bytes, *, max_frame_bytes: int) -> RasterImage:
    """
    Raises:
        ValueError: It is no such file, a broken one, or one beyond the limit; says which.
    """
    if len(file) > MAX_FILE_BYTES:
        raise ValueError(f"an image of this type may have at most {MAX_FILE_BYTES} bytes")
    return (_read_gif if media_type == GIF else _read_png)(file, max_frame_bytes)


def _require_size(rows: int, columns: int, bytes_per_pixel: int, limit: int) -> None:
    if not 0 < rows < 1 << 16 or not 0 < columns < 1 << 16:
        raise ValueError(f"{rows} x {columns} pixels are more than DICOM can tell")
    if rows * columns * bytes_per_pixel > limit:
        raise ValueError(f"a frame of the image has more than {limit} bytes")


def _read_png(file: bytes, limit: int) -> RasterImage:
    if not file.startswith(b"\x89PNG\r\n\x1a\n") or len(file) < 33 or file[12:16] != b"IHDR":
        raise ValueError("the image is no PNG")
    columns, rows, depth = struct.unpack_from(">IIB", file, 16)
    _require_size(rows, columns, 4 * max(depth // 8, 1), limit)
    try:
        samples = np.asarray(imagecodecs.png_decode(file))
    except Exception as error:  # codecs raise whatever they like
        raise ValueError("the PNG image is broken") from error
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        samples = samples[:, :, :-1]  # transparency, which DICOM has no place for
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    bits = 8 * samples.itemsize
    return RasterImage(
        rows, columns, 3 if samples.ndim == 3 else 1, bits, 1, (), iter([_little_endian(samples)])
    )


def _little_endian(samples: npt.NDArray[Any]) -> bytes:
    return samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()


def _read_gif(file: bytes, limit: int) -> RasterImage:
    if not file.startswith((b"GIF87a", b"GIF89a")) or len(file) < 13:
        raise ValueError("the image is no GIF")
    columns, rows = struct.unpack_from("<HH", file, 6)
    _require_size(rows, columns, 4, limit)
    try:
        image = GifImagePlugin.GifImageFile(BytesIO(file))
        times, is_grey = _surveyed(image)
    except Exception as error:  # codecs raise whatever they like
        raise ValueError("the GIF image is broken") from error
    return RasterImage(
        *(rows, columns, 1 if is_grey else 3, 8, len(times)),
        frame_times_ms=tuple(times) if len(times) > 1 else (),
        frames=_gif_frames(image, "L" if is_grey else "RGB"),
    )


def _surveyed(image: Image.Image) -> tuple[list[float], bool]:
    """How long each frame is shown, and whether none has a colour."""
    times: list[float] = []
    is_grey = True
    for frame in ImageSequence.Iterator(image):
        times.append(float(frame.info.get("duration") or _DEFAULT_MS))
        if len(times) > MAX_FRAMES:
            raise ValueError(f"more than {MAX_FRAMES} frames")
        if is_grey:
            colours = np.asarray(frame.convert("RGB"))
            is_grey = bool((colours == colours[:, :, :1]).all())
    return times, is_grey


def _gif_frames(image: Image.Image, mode: str) -> Iterator[bytes]:
    for frame in ImageSequence.Iterator(image):
        yield frame.convert("RGB").convert(mode).tobytes()
