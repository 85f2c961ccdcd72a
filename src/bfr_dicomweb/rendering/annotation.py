"""What is written into a picture: whose it is and how it was made (PS3.18 section 8.3.5.1.1)."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import elements, fonts
from bfr_dicomweb.rendering.elements import Attributes
from bfr_dicomweb.rendering.parameters import Annotation, Window, WindowFunction
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.report_values import date, names

# Letters that the typeface of `fonts` does not have are taken from the first of these that has
# them; they are looked for by name where the system keeps its fonts.
SYSTEM_FONTS: Final = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansJP-Regular.otf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansThai-Regular.ttf",
)
# Height of letters in pixels, and how many of them fill the height or width of a picture
SMALLEST: Final = 9
LARGEST: Final = 96
_LINES_HIGH: Final = 42
_LETTERS_WIDE: Final = 56
# Of what stands in the file only as much as a line can show
_LONGEST: Final = 64
_NO_GLYPH: Final = "\U0010ffff"

_PROJECTIONS: Final = ("ImageLaterality", "ViewPosition", "BodyPartExamined")

Font = ImageFont.FreeTypeFont


def annotate(
    picture: Picture,
    stored: StoredObject,
    index: int,
    annotations: Iterable[Annotation],
    *,
    window: Window | None = None,
) -> Picture:
    """The picture with what is asked for written into it: the patient above, technique below.

    Args:
        picture: In its final size.
        stored: The object that it shows.
        index: Of the frame, from 0.
        annotations: What is written.
        window: That the picture is shown with.
    """
    wanted = set(annotations)
    if not wanted:
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture.pixels))
    page = _Page(image)
    if Annotation.PATIENT in wanted:
        page.write_above(patient_lines(stored.attributes))
    if Annotation.TECHNIQUE in wanted:
        page.write_below(technique_lines(stored, index, window))
    return Picture(np.asarray(image), picture.icc_profile)


def patient_lines(attributes: Attributes) -> list[str]:
    """Who it is: name, identity, birth date and sex; one line each."""
    identity = elements.text(attributes, "PatientID")
    born = date(elements.text(attributes, "PatientBirthDate"))
    sex = elements.text(attributes, "PatientSex")
    lines = [*names(attributes, "PatientName")[:1], identity, f"{born} {sex}".strip()]
    return [line for line in lines if line]


def technique_lines(stored: StoredObject, index: int, window: Window | None) -> list[str]:
    """What it is and how it was made; one line for each kind of fact."""
    attributes = stored.attributes
    lines = [
        _joined(attributes, ("Modality", "{}"), ("SeriesDescription", "{}"), sep="  "),
        _numbered(stored, index),
        _when(attributes),
        _exposure(attributes, index),
        _sequence(attributes, index),
        _geometry(attributes, index),
        _window(window),
        _compression(attributes),
    ]
    return [line[:_LONGEST] for line in lines if line]


def _joined(attributes: Attributes, *facts: tuple[str, str], sep: str = "  ") -> str:
    found = ((form, elements.text(attributes, keyword)) for keyword, form in facts)
    return sep.join(form.format(_short(value)) for form, value in found if value)


def _short(value: str) -> str:
    """A number with as many digits as someone reads."""
    try:
        return f"{float(value):.4g}" if "." in value or "e" in value.lower() else value
    except ValueError:
        return value


def _numbered(stored: StoredObject, index: int) -> str:
    line = _joined(stored.attributes, ("SeriesNumber", "Se {}"), ("InstanceNumber", "Im {}"))
    if stored.number_of_frames > 1:
        line += f"  Fr {index + 1}/{stored.number_of_frames}"
    return line.strip()


def _when(attributes: Attributes) -> str:
    moment = elements.text(attributes, "AcquisitionDateTime")
    for entity in ("Acquisition", "Content", "Series", "Study"):
        day = elements.text(attributes, f"{entity}Date")
        moment = moment or (day and day + elements.text(attributes, f"{entity}Time"))
    return date(moment.partition(".")[0])


def _exposure(attributes: Attributes, index: int) -> str:
    """X-rays, in the object itself or in the functional groups of CT and XA."""
    holders = [
        elements.functional_group(attributes, index, "CTExposureSequence"),
        elements.functional_group(attributes, index, "CTXRayDetailsSequence"),
        elements.functional_group(attributes, index, "FrameAcquisitionSequence"),
        attributes,
    ]
    facts = (
        (("KVP",), "{} kV"),
        (("XRayTubeCurrentInmA", "XRayTubeCurrent"), "{} mA"),
        (("ExposureInmAs", "Exposure"), "{} mAs"),
    )
    return "  ".join(
        form.format(_short(value))
        for keywords, form in facts
        if (value := _first(holders, keywords))
    )


def _first(holders: list[Attributes], keywords: tuple[str, ...]) -> str:
    found = (elements.text(holder, keyword) for keyword in keywords for holder in holders)
    return next((value for value in found if value), "")


def _sequence(attributes: Attributes, index: int) -> str:
    """Magnetic resonance."""
    holders = [
        elements.functional_group(attributes, index, "MRTimingAndRelatedParametersSequence"),
        elements.functional_group(attributes, index, "MREchoSequence"),
        attributes,
    ]
    facts = (
        (("RepetitionTime",), "TR {} ms"),
        (("EchoTime", "EffectiveEchoTime"), "TE {} ms"),
        (("InversionTime",), "TI {} ms"),
        (("FlipAngle",), "FA {}°"),
        (("MagneticFieldStrength",), "{} T"),
    )
    return "  ".join(
        form.format(_short(value))
        for keywords, form in facts
        if (value := _first(holders, keywords))
    )


def _geometry(attributes: Attributes, index: int) -> str:
    measures = elements.functional_group(attributes, index, "PixelMeasuresSequence")
    plane = elements.functional_group(attributes, index, "PlanePositionSequence")
    line = _first([measures, attributes], ("SliceThickness",))
    location = elements.text(attributes, "SliceLocation")
    position = elements.numbers(plane, "ImagePositionPatient")
    parts = [
        f"{_short(line)} mm" if line else "",
        f"Loc {_short(location)}" if location else "",
        "Pos " + "/".join(f"{number:.1f}" for number in position) if len(position) == 3 else "",
        *(elements.text(attributes, keyword) for keyword in _PROJECTIONS),
    ]
    return "  ".join(part for part in parts if part)


def _window(window: Window | None) -> str:
    if window is None:
        return ""
    function = "" if window.function is WindowFunction.LINEAR else f"  {window.function.value}"
    return f"C {window.center:.5g}  W {window.width:.5g}{function}"


def _compression(attributes: Attributes) -> str:
    """What is lost is said (PS3.3 section C.7.6.1.1.5)."""
    if elements.text(attributes, "LossyImageCompression") != "01":
        return ""
    ratios = elements.numbers(attributes, "LossyImageCompressionRatio")
    return f"lossy {max(ratios):.3g}:1" if ratios else "lossy"


class _Page:
    """A picture as it is written on."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self._draw = ImageDraw.Draw(image)
        self._size = letter_size(image.width, image.height)
        self._step = round(self._size * 1.3)
        self._margin = max(2, self._size // 3)

    def write_above(self, lines: list[str]) -> None:
        for number, line in enumerate(lines):
            self._write(line, self._margin + number * self._step)

    def write_below(self, lines: list[str]) -> None:
        bottom = self._image.height - self._margin
        for number, line in enumerate(reversed(lines)):
            top = bottom - (number + 1) * self._step
            if top >= self._margin:
                self._write(line, top)

    def _write(self, line: str, top: int) -> None:
        """White with a black edge can be read on anything."""
        white = 255 if self._image.mode == "L" else (255, 255, 255)
        black = 0 if self._image.mode == "L" else (0, 0, 0)
        left = float(self._margin)
        for text, font in runs(line, self._size):
            self._draw.text(
                (left, top + self._size),
                text,
                font=font,
                anchor="ls",
                fill=white,
                stroke_width=max(1, self._size // 9),
                stroke_fill=black,
            )
            left += font.getlength(text)


def letter_size(columns: int, rows: int) -> int:
    """Height of letters in pixels, for a picture of this size."""
    fitting = min(rows / _LINES_HIGH, 1.8 * columns / _LETTERS_WIDE)
    return min(max(round(fitting), SMALLEST), LARGEST)


def runs(line: str, size: int) -> Iterator[tuple[str, Font]]:
    """The parts of a line that are written in one font each.

    What no font has is written as a question mark; what is no letter at all is left out.
    """
    placed = [_placed(letter, size) for letter in line[:_LONGEST] if letter.isprintable()]
    for font, letters in groupby(placed, key=lambda place: place[1]):
        yield "".join(letter for letter, _font in letters), font


@lru_cache(maxsize=4096)
def _placed(letter: str, size: int) -> tuple[str, Font]:
    own = fonts.font(size)
    if letter.isascii() or _has(own, letter):
        return letter, own
    for font in _system_fonts(size):
        if _has(font, letter):
            return letter, font
    return "?", own


def _has(font: Font, letter: str) -> bool:
    """A letter that a font does not have looks like one that none can have."""
    mask, missing = font.getmask(letter), font.getmask(_NO_GLYPH)
    return mask.size != missing.size or bytes(mask) != bytes(missing)


@lru_cache(maxsize=16)
def _system_fonts(size: int) -> tuple[Font, ...]:
    opened = (_opened(name, size) for name in SYSTEM_FONTS)
    return tuple(font for font in opened if font is not None)


def _opened(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None
