"""Pictures as servers send them, and the grey values that PS3.3 C.11.2.1 wants of a window."""

import re
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicomweb_conformance.target import Response
from dicomweb_conformance.verdicts import Violated, expect

Values = npt.NDArray[np.float64]

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
GIF: Final = "image/gif"
JPEG_PARTS: Final = 'multipart/related; type="image/jpeg"'
# An interlaced or palette encoding is the server's choice; a picture of 4 Gpx is an attack.
MAX_PIXELS: Final = 2**24


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture. Messages name what was asked, and never show a pixel."""

    content: bytes
    image: Image.Image
    asked: str
    frames: int = 1  # more than one in an animation, of which `image` is the first

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as a viewport counts them."""
        return self.image.size

    def expect_size(self, columns: int, rows: int) -> None:
        got = "x".join(map(str, self.size))
        held = self.size == (columns, rows)
        expect(held, f"{self.asked}: expected {columns}x{rows} pixels, got {got}")

    @property
    def gray(self) -> Values:
        """Grey values from 0 to 255, shape (rows, columns). Raises Violated: it is in colour."""
        if self.image.mode.startswith("I"):
            return np.asarray(self.image, np.float64) / 257
        colors = self.colors
        spread = float(np.max(colors.max(axis=2) - colors.min(axis=2)))
        # JPEG and palettes may be off by a little
        expect(spread <= 2, f"{self.asked}: the picture of a grey image is in colour")
        return np.asarray(colors.mean(axis=2))

    @property
    def colors(self) -> Values:
        """RGB values from 0 to 255, shape (rows, columns, 3)."""
        return np.asarray(self.image.convert("RGB"), np.float64)

    @property
    def icc_profile(self) -> bytes | None:
        """As APP2 of JPEG or iCCP of PNG carry it."""
        found = self.image.info.get("icc_profile")
        return found if isinstance(found, bytes) and found else None


def read(content: bytes, media_type: str, asked: str) -> Picture:
    """Raises Violated: it is no picture of that media type."""
    try:
        with Image.open(BytesIO(content)) as image:
            expect(
                image.width * image.height <= MAX_PIXELS,
                f"{asked}: a picture of {image.width}x{image.height} pixels",
            )
            image.load()
            got = Image.MIME.get(image.format or "", "unknown")
            frames = getattr(image, "n_frames", 1)
            kept = image.copy()
            kept.info = dict(image.info)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise Violated(f"{asked}: the payload cannot be decoded as {media_type}") from None
    expect(got == media_type, f"{asked}: the payload said to be {media_type} is {got}")
    return Picture(content, kept, asked, frames)


def of(answer: Response, media_type: str) -> Picture:
    """The picture of a 200 answer in a single part. Raises Violated."""
    answer.expect_status(200)
    answer.expect_media_type(media_type)
    return read(answer.content, media_type, answer.asked)


def parts_of(answer: Response, media_type: str) -> list[Picture]:
    """The pictures of a multipart answer, all of that type."""
    return [read(part.content, media_type, answer.asked) for part in answer.parts(media_type)]


# Markers of JPEG that begin a frame (ISO 10918-1 table B.1): SOF0 to SOF15 without DHT, JPG, DAC.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def jpeg_frame(content: bytes) -> tuple[int, int]:
    """Number of the frame marker SOFn and bits per sample; (-1, 0) where there is none."""
    position = 2
    while found := re.compile(rb"\xff+([^\xff\x00])", re.DOTALL).match(content, position):
        marker = found[1][0]
        start = found.end()
        if marker in _FRAMES:
            return marker - 0xC0, content[start + 2] if len(content) > start + 2 else 0
        if marker in (0xD9, 0xDA) or len(content) < start + 2:
            break
        position = start + int.from_bytes(content[start : start + 2])
    return -1, 0


def linear(values: Values, center: float, width: float) -> Values:
    """PS3.3 C.11.2.1.2.1, into 0 to 255."""
    sloped = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.asarray(np.clip(sloped, 0, 255))


def linear_exact(values: Values, center: float, width: float) -> Values:
    """PS3.3 C.11.2.1.3.2, into 0 to 255."""
    return np.asarray(np.clip(((values - center) / width + 0.5) * 255, 0, 255))


def sigmoid(values: Values, center: float, width: float) -> Values:
    """PS3.3 C.11.2.1.3.1, into 0 to 255."""
    exponents = np.clip(-4 * (values - center) / width, -700, 700)  # what a double can hold
    return np.asarray(255 / (1 + np.exp(exponents)))


def difference(one: Values, other: Values) -> float:
    """The greatest difference of two pixels; infinite for pictures of different sizes."""
    return float(np.max(np.abs(one - other))) if one.shape == other.shape else float("inf")
