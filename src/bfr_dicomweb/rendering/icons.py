"""What stands for objects that have no picture, or none that may be shown; drawn here.

The icons have no words: they are the same in every language, and say nothing of a patient.
"""

from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from math import cos, exp, pi, sin
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from bfr_dicomweb.dicom.frames import VIDEO
from bfr_dicomweb.rendering.picture import Picture

Color = tuple[int, int, int]
Point = tuple[float, float]

# Drawn four times as large as they are mostly shown, in places counted from 0 to 256.
UNITS: Final = 256
SCALE: Final = 4
_TOP: Final[Color] = (37, 48, 64)
_BOTTOM: Final[Color] = (22, 29, 40)
_INK: Final[Color] = (226, 233, 242)
_SHADE: Final[Color] = (122, 138, 158)
_BLUE: Final[Color] = (92, 168, 255)
_GREEN: Final[Color] = (94, 214, 160)
_RED: Final[Color] = (240, 104, 104)
_YELLOW: Final[Color] = (250, 200, 90)
_VIOLET: Final[Color] = (178, 146, 255)


class Icon(Enum):
    """PICTURE: an image that cannot be decoded. WITHHELD: one that may show who the patient is."""

    AUDIO = auto()
    DOCUMENT = auto()
    KEY_OBJECTS = auto()
    MODEL = auto()
    OTHER = auto()
    PICTURE = auto()
    PRESENTATION = auto()
    RADIOTHERAPY = auto()
    RAW = auto()
    REGISTRATION = auto()
    REPORT = auto()
    SEGMENTATION = auto()
    VIDEO = auto()
    WAVEFORM = auto()
    WITHHELD = auto()


_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
# Those of the Standard that are no images for a thumbnail, by the rest of their UID (PS3.4 B.5);
# the longest that fits counts.
_CLASSES: Final[dict[str, Icon | None]] = {
    "88.": Icon.REPORT,
    "88.59": Icon.KEY_OBJECTS,
    "104.1": Icon.DOCUMENT,
    "104.2": Icon.REPORT,
    "104.3": Icon.MODEL,
    "104.4": Icon.MODEL,
    "104.5": Icon.MODEL,
    "68.": Icon.MODEL,
    "9.": Icon.WAVEFORM,
    "9.4.": Icon.AUDIO,
    "11.": Icon.PRESENTATION,
    "481.": Icon.RADIOTHERAPY,
    "481.1": None,
    "481.2": None,
    "66": Icon.RAW,
    "66.1": Icon.REGISTRATION,
    "66.2": Icon.REGISTRATION,
    "66.3": Icon.REGISTRATION,
    "66.4": Icon.SEGMENTATION,
    "66.5": Icon.SEGMENTATION,
    "66.6": Icon.SEGMENTATION,
    "66.7": Icon.SEGMENTATION,
    "91.1": Icon.SEGMENTATION,
    "4.2": Icon.RAW,
    "4.5": Icon.RAW,
}
_LONGEST_FIRST: Final = sorted(_CLASSES, key=len, reverse=True)


def icon_of(sop_class_uid: str, transfer_syntax_uid: str, *, has_pixel_data: bool) -> Icon | None:
    """None: it has pictures, one of which can stand for it."""
    rest = sop_class_uid.removeprefix(_STORAGE)
    if rest != sop_class_uid:
        for known in _LONGEST_FIRST:
            if rest == known or rest.startswith(known if known[-1] == "." else known + "."):
                icon = _CLASSES[known]
                if icon is not None:
                    return icon
                break
    if not has_pixel_data:
        return Icon.OTHER
    return Icon.VIDEO if transfer_syntax_uid.startswith(VIDEO) else None


def drawn(icon: Icon, side: int) -> Picture:
    """Square, with so many pixels a side."""
    pixels = _large(icon).resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return Picture(np.asarray(pixels))


def emblem(icon: Icon, side: int) -> Image.Image:
    """Its drawing alone in light grey, to be laid upon a picture."""
    marks = _Sheet()
    marks.image.paste((0, 0, 0), (0, 0, *marks.image.size))
    _DRAWINGS[icon](marks)
    return marks.image.convert("L").resize((side, side), Image.Resampling.LANCZOS)


@lru_cache(maxsize=len(Icon))
def _large(icon: Icon) -> Image.Image:
    sheet = _Sheet()
    _DRAWINGS[icon](sheet)
    return sheet.image


class _Sheet:
    """A dark sheet, and the strokes and shapes that icons are made of."""

    def __init__(self) -> None:
        side = UNITS * SCALE
        shade = np.linspace(_TOP, _BOTTOM, side).round().astype(np.uint8)
        self.image = Image.fromarray(np.repeat(shade[:, np.newaxis], side, axis=1))
        self._draw = ImageDraw.Draw(self.image)

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        *,
        fill: Color | None = None,
        line: Color | None = None,
        radius: float = 8,
    ) -> None:
        place = (left * SCALE, top * SCALE, right * SCALE, bottom * SCALE)
        self._draw.rounded_rectangle(place, radius * SCALE, fill, line, width=7 * SCALE)

    def disc(
        self,
        x: float,
        y: float,
        radius: float,
        *,
        fill: Color | None = None,
        line: Color | None = None,
        width: float = 7,
    ) -> None:
        place = [(x - radius) * SCALE, (y - radius) * SCALE]
        place += [(x + radius) * SCALE, (y + radius) * SCALE]
        self._draw.ellipse(place, fill, line, width=round(width * SCALE))

    def shape(self, points: list[Point], color: Color) -> None:
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=color)

    def line(self, points: list[Point], color: Color, width: float = 7) -> None:
        """With round ends and corners."""
        places = [(x * SCALE, y * SCALE) for x, y in points]
        self._draw.line(places, fill=color, width=round(width * SCALE), joint="curve")
        for x, y in (points[0], points[-1]):
            self.disc(x, y, width / 2, fill=color)


def _page(sheet: _Sheet, *, accent: Color) -> None:
    """A sheet of paper with its corner turned down."""
    sheet.shape([(72, 44), (146, 44), (184, 82), (184, 212), (72, 212)], _INK)
    sheet.shape([(146, 44), (184, 82), (146, 82)], accent)


def _report(sheet: _Sheet) -> None:
    _page(sheet, accent=_BLUE)
    for row, right in enumerate((164, 150, 164, 164, 132)):
        y = 106 + 21 * row
        sheet.line([(92, y), (right, y)], _SHADE if row else _BLUE, 8)


def _document(sheet: _Sheet) -> None:
    _page(sheet, accent=_RED)
    sheet.box(72, 172, 184, 212, fill=_RED, radius=0)
    for y in (106, 127, 148):
        sheet.line([(92, y), (164, y)], _SHADE, 8)


def _waveform(sheet: _Sheet) -> None:
    for at in range(44, 213, 24):
        sheet.line([(at, 56), (at, 200)], (48, 62, 82), 2)
        sheet.line([(38, at), (218, at)], (48, 62, 82), 2)
    beat = ((0, 0), (16, 0), (24, -10), (32, 0), (38, 8), (46, -62), (54, 34), (61, 0), (90, 0))
    points = [(38.0 + x, 136.0 + y) for x, y in beat]
    points += [(128.0 + x, 136.0 + y) for x, y in beat]
    sheet.line(points, _GREEN, 7)


def _landscape(sheet: _Sheet) -> None:
    """A picture in its frame."""
    sheet.box(44, 60, 212, 196, line=_INK, radius=12)
    sheet.disc(90, 102, 14, fill=_YELLOW)
    sheet.shape([(60, 182), (110, 126), (140, 158), (164, 132), (196, 168), (196, 182)], _SHADE)


def _picture(sheet: _Sheet) -> None:
    _landscape(sheet)
    crack = [(150.0, 52.0), (122.0, 104.0), (142.0, 130.0), (112.0, 204.0)]
    sheet.line(crack, (28, 37, 50), 17)


def _withheld(sheet: _Sheet) -> None:
    """A crossed-out eye."""
    upper = [(128 + 80 * cos(pi - pi * n / 40), 132 - 50 * sin(pi * n / 40)) for n in range(41)]
    lower = [(x, 264 - y) for x, y in upper]
    sheet.line(upper, _INK, 9)
    sheet.line(lower, _INK, 9)
    sheet.disc(128, 132, 27, line=_INK, width=9)
    sheet.line([(64, 206), (192, 58)], _INK, 10)


def _presentation(sheet: _Sheet) -> None:
    _landscape(sheet)
    sheet.disc(150, 118, 27, line=_YELLOW)
    sheet.line([(184, 84), (169, 99)], _YELLOW)
    sheet.line([(44, 220), (212, 220)], _SHADE, 6)
    sheet.disc(96, 220, 10, fill=_YELLOW)


def _key_objects(sheet: _Sheet) -> None:
    sheet.box(74, 48, 222, 166, line=_SHADE, radius=10)
    sheet.box(40, 84, 188, 208, fill=(28, 37, 50), line=_INK, radius=10)
    sheet.shape(_star(114, 148, 46), _YELLOW)


def _star(x: float, y: float, radius: float) -> list[Point]:
    points = []
    for corner in range(10):
        length = radius * (0.42 if corner % 2 else 1.0)
        angle = pi * corner / 5
        points.append((x + length * sin(angle), y - length * cos(angle)))
    return points


def _radiotherapy(sheet: _Sheet) -> None:
    """A target, and beams that meet in it."""
    for turn in range(5):
        angle = 2 * pi * turn / 5 - pi / 2
        far = [
            (128 + 96 * cos(angle + side), 132 + 96 * sin(angle + side)) for side in (-0.12, 0.12)
        ]
        sheet.shape([(128, 132), *far], (98, 84, 140))
    sheet.disc(128, 132, 62, line=_INK)
    sheet.disc(128, 132, 34, line=_VIOLET)
    sheet.disc(128, 132, 10, fill=_RED)


def _segmentation(sheet: _Sheet) -> None:
    outer = [_lobe(n, 82, 9) for n in range(72)]
    inner = [_lobe(n, 38, 6) for n in range(72)]
    sheet.line([*outer, outer[0]], _INK, 7)
    sheet.shape([(x + 18, y - 12) for x, y in inner], _GREEN)
    sheet.shape([(x * 0.55 + 26, y * 0.55 + 84) for x, y in inner], _VIOLET)


def _lobe(step: int, radius: float, bump: float) -> Point:
    angle = 2 * pi * step / 72
    length = radius + bump * sin(3 * angle + 0.6)
    return 128 + length * cos(angle), 130 + length * sin(angle) * 0.9


def _model(sheet: _Sheet) -> None:
    """A cube."""
    top: list[Point] = [(128, 48), (200, 88), (128, 128), (56, 88)]
    sheet.shape(top, _INK)
    sheet.shape([(56, 88), (128, 128), (128, 212), (56, 172)], _BLUE)
    sheet.shape([(200, 88), (128, 128), (128, 212), (200, 172)], (58, 112, 180))


def _audio(sheet: _Sheet) -> None:
    for bar in range(11):
        middle = (bar - 5) / 3
        height = 16 + 60 * exp(-middle * middle) * (1 if bar % 2 else 0.6)
        x = 48 + 16 * bar
        sheet.line([(x, 130 - height), (x, 130 + height)], _BLUE if bar % 2 else _INK, 9)


def _raw(sheet: _Sheet) -> None:
    """Measured, not yet a picture: echoes in the plane that they were sampled in."""
    for row in range(9):
        for column in range(9):
            away = ((row - 4) ** 2 + (column - 4) ** 2) ** 0.5
            radius = 1.8 + 7.2 * exp(-away / 1.9)
            color = _BLUE if away < 2.3 else _SHADE
            sheet.disc(48 + 20 * column, 50 + 20 * row, radius, fill=color)


def _registration(sheet: _Sheet) -> None:
    sheet.box(44, 52, 162, 170, line=_SHADE, radius=10)
    sheet.box(94, 92, 212, 210, line=_BLUE, radius=10)
    sheet.line([(128, 114), (128, 148)], _YELLOW)
    sheet.line([(111, 131), (145, 131)], _YELLOW)


def _video(sheet: _Sheet) -> None:
    sheet.box(40, 64, 216, 194, line=_INK, radius=14)
    sheet.shape([(108, 96), (108, 162), (164, 129)], _BLUE)


def _other(sheet: _Sheet) -> None:
    sheet.box(52, 52, 204, 204, line=_SHADE, radius=18)
    for x in (92, 128, 164):
        sheet.disc(x, 128, 10, fill=_INK)


_DRAWINGS: Final[dict[Icon, Callable[[_Sheet], None]]] = {
    Icon.AUDIO: _audio,
    Icon.DOCUMENT: _document,
    Icon.KEY_OBJECTS: _key_objects,
    Icon.MODEL: _model,
    Icon.OTHER: _other,
    Icon.PICTURE: _picture,
    Icon.PRESENTATION: _presentation,
    Icon.RADIOTHERAPY: _radiotherapy,
    Icon.RAW: _raw,
    Icon.REGISTRATION: _registration,
    Icon.REPORT: _report,
    Icon.SEGMENTATION: _segmentation,
    Icon.VIDEO: _video,
    Icon.WAVEFORM: _waveform,
    Icon.WITHHELD: _withheld,
}
