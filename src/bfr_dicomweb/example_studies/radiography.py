"""A chest radiograph: the projection of an invented chest, compressed without loss."""

from collections.abc import Iterator
from typing import Final

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import DigitalXRayImageStorageForPresentation, JPEGLosslessSV1

from bfr_dicomweb.example_studies.canvas import Plane, smooth_noise
from bfr_dicomweb.example_studies.identity import (
    TOLVAN,
    Series,
    Study,
    code,
    new_object,
    part10,
)

SIZE: Final = 2048
SPACING_MM: Final = 0.21
# Half the width of the body, from the neck to the waist.
WAIST_AT: Final = (-215, -192, -176, -158, -138, -112, -70, -20, 40, 110, 215)
WAIST: Final = (57, 62, 84, 150, 205, 236, 240, 222, 204, 194, 186)
COARSE: Final = 4  # detector pixels per pixel of the projection before noise

CHEST: Final = Series(
    study=Study(
        name="dx chest",
        patient=TOLVAN,
        description="Lungröntgen",
        procedure_code="LUNGOR",
        accession_number="EX2611160031",
        date="20261116",
        time="131205",
        referring_physician="Ek^Åke^^Dr",
        reading_physician="Sjöström^Göran^^Dr",
        character_set="ISO_IR 100",
    ),
    modality="DX",
    number=1,
    description="Thorax PA",
    body_part="CHEST",
    station="LAB4",
    model="Phantom DX",
)


def chest_files() -> Iterator[bytes]:
    made = new_object(CHEST, DigitalXRayImageStorageForPresentation, 1)
    _add_acquisition(made)
    _add_image(made, _radiograph())
    yield part10(made, JPEGLosslessSV1)


def _add_acquisition(made: Dataset) -> None:
    made.ImageType = ["ORIGINAL", "PRIMARY", ""]
    made.PresentationIntentType = "FOR PRESENTATION"
    made.PatientOrientation = ["L", "F"]
    made.ImageLaterality = "U"
    made.ViewPosition = "PA"
    made.PositionerType = ""
    made.ViewCodeSequence = Sequence([code("399348003", "SCT", "postero-anterior")])
    made.AnatomicRegionSequence = Sequence([code("43799004", "SCT", "Thorax")])
    made.AcquisitionContextSequence = Sequence()
    made.KVP = 125
    made.DetectorType = "DIRECT"
    made.DistanceSourceToDetector = 1800
    made.ImagerPixelSpacing = [SPACING_MM, SPACING_MM]
    made.BurnedInAnnotation = "NO"


def _add_image(made: Dataset, stored: npt.NDArray[np.uint16]) -> None:
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = stored.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelRepresentation = 0
    made.PixelIntensityRelationship = "LOG"
    made.PixelIntensityRelationshipSign = -1
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = 0, 1, "US"
    made.PresentationLUTShape = "IDENTITY"
    made.WindowCenter, made.WindowWidth = 2048, 4096
    made.LossyImageCompression = "00"
    # selection value 1: the value that JPEGLosslessSV1 is named after
    compressed = imagecodecs.jpeg8_encode(stored, lossless=True, predictor=1, bitspersample=12)
    made.PixelData = encapsulate([bytes(compressed)])
    made["PixelData"].VR = "OB"


def _radiograph() -> npt.NDArray[np.uint16]:
    """Twelve-bit values, shape (rows, columns); white is what stops the rays."""
    generator = np.random.default_rng(3)
    axis = (np.arange(SIZE // COARSE) - SIZE / COARSE / 2 + 0.5) * (SPACING_MM * COARSE)
    x, y = np.meshgrid(axis.astype(np.float32), axis.astype(np.float32))
    coarse = Image.fromarray(_thickness_cm(x, y, generator))
    thickness = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    grain = np.tile(smooth_noise((SIZE // 4, SIZE // 4), 0.6, generator), (4, 4))
    bright = 4095 * (1 - np.exp(-((np.maximum(thickness, 0) / 15.5) ** 1.55)))
    bright += grain * (14 + 22 * np.exp(-thickness / 10))
    return np.clip(_with_marker(bright), 0, 4095).astype(np.uint16)


def _with_marker(bright: Plane) -> Plane:
    """The lead letter that tells right from left."""
    letter = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(letter).text((130, 190), "R", 255, ImageFont.load_default(110))
    return np.where(np.asarray(letter) > 0, np.float32(4095), bright)


def _thickness_cm(x: Plane, y: Plane, generator: np.random.Generator) -> Plane:
    """What the rays cross, as centimetres of soft tissue."""
    side = np.abs(x)
    waist = np.interp(y, WAIST_AT, WAIST)
    body = 21 * np.sqrt(np.clip(1 - (side / waist) ** 2.6, 0, 1))
    body *= np.interp(y, (-215, -120, 40, 215), (0.62, 0.85, 1, 1.12))
    lungs = _lung(x, y, patient_left=False) + _lung(x, y, patient_left=True)
    # the heart and the mediastinum are seen where they take the place of air
    air = lungs - np.minimum(lungs, _heart(x, y) + _mediastinum(x, y))
    thickness = body - air - _airways(x, y) + _skeleton(x, y, side) * (body > 0.5)
    thickness += _vessels(x.shape, generator) * np.clip(air / 6, 0, 1)
    stomach = np.hypot((x - 62) / 34, (y - 128) / 17)
    thickness -= 4 * np.sqrt(np.clip(1 - stomach**2, 0, 1))
    return np.asarray(thickness * (body > 0), np.float32)


def _lung(x: Plane, y: Plane, *, patient_left: bool) -> Plane:
    """Centimetres of air; the patient's left side is at the right of the image."""
    x = x if patient_left else -x
    medial = np.interp(y, (-160, -110, -40, 60, 120), (26, 20, 22, 20, 16))
    lateral = np.interp(
        y, (-166, -160, -150, -130, -100, -40, 40, 130), (40, 62, 80, 97, 112, 129, 140, 143)
    )
    across = np.clip((x - medial) / (lateral - medial), 0, 1)
    dome = (94 if patient_left else 80) + 62 * ((x - 62) / 78) ** 2
    apex = np.sqrt(np.clip((y + 164) / 90, 0, 1))
    floor = np.clip((dome - y) / 26, 0, 1) ** 0.6
    return np.asarray(15.5 * (4 * across * (1 - across)) ** 0.46 * apex * floor, np.float32)


def _heart(x: Plane, y: Plane) -> Plane:
    turned = np.radians(34)
    along = (x - 24) * np.cos(turned) + (y - 48) * np.sin(turned)
    across = (y - 48) * np.cos(turned) - (x - 24) * np.sin(turned)
    heart = np.sqrt(np.clip(1 - (along / 76) ** 2 - (across / 56) ** 2, 0, 1))
    atrium = np.sqrt(np.clip(1 - ((x + 22) / 24) ** 2 - ((y - 42) / 42) ** 2, 0, 1))
    return np.asarray(13 * np.maximum(heart, atrium * 0.8), np.float32)


def _mediastinum(x: Plane, y: Plane) -> Plane:
    band = 7 * np.exp(-(((x - 2) / 24) ** 4)) * np.clip((150 + y) / 60, 0, 1)
    knob = 9 * np.sqrt(np.clip(1 - ((x - 22) / 21) ** 2 - ((y + 62) / 20) ** 2, 0, 1))
    aorta = 3 * np.exp(-(((x - 30 + y * 0.04) / 8) ** 4)) * (y > -62) * (y < 90)
    hila = sum(
        3.2 * np.exp(-(((x - cx) / 15) ** 2) - ((y - cy) / 23) ** 2)
        for cx, cy in ((-36, -12), (38, -22))
    )
    return np.asarray(band + knob + aorta + hila, np.float32)


def _airways(x: Plane, y: Plane) -> Plane:
    windpipe = 2.4 * np.exp(-(((x + 2) / 8.5) ** 4)) * np.clip((-34 - y) / 6, 0, 1)
    bronchi = sum(
        1.5 * np.exp(-(((y + 36 - slope * (x + 2)) / 6) ** 4)) * (np.abs(x + 2 - 18 * way) < 18)
        for way, slope in ((-1, -1.0), (1, 0.8))
    )
    return np.asarray(windpipe + bronchi, np.float32)


def _skeleton(x: Plane, y: Plane, side: Plane) -> Plane:
    bones = _spine(x, y) + _ribs(y, side)
    clavicle = -136 - 34 * np.sin((side - 14) / 95) + (side / 150) ** 2 * 6
    bones += _tube(y - clavicle, 6.5, 2.0) * (side > 14) * (side < 178)
    blade = np.hypot((side - 168) / 44, (y + 66 - 0.2 * (side - 168)) / 78)
    return np.asarray(bones + 0.9 * np.clip((1 - blade) * 9, 0, 1), np.float32)


def _spine(x: Plane, y: Plane) -> Plane:
    height = 20 + (y + 215) * 0.028
    along = np.abs(((y + 400) % height) / height - 0.5)
    disc = np.clip((along - 0.40) * 24, 0, 1)
    body = np.exp(-((x / (17 + y * 0.012)) ** 8)) * (2.6 - 1.3 * disc)
    process = 0.9 * np.exp(-((x / 3.5) ** 2) - ((along - 0.1) / 0.22) ** 2)
    return np.asarray(body + process, np.float32)


def _ribs(y: Plane, side: Plane) -> Plane:
    """Each rib is seen twice: flat at the back, then falling steeply along the front."""
    ribs = np.zeros_like(y)
    for number in range(1, 11):
        level = -168 + 26.5 * number
        reach = float(np.interp(level, (-150, -110, -20, 100), (72, 112, 140, 150)))
        share = np.clip((side - 16) / (reach - 16), 0, 1)
        back = level - 13 * np.sin(share * 2.4) + 33 * share**2.6
        ribs += _tube(y - back, 6.2, 1.6) * (side > 16) * (side < reach)
        if number < 8:
            ends = 30 + 5 * number
            front = level + 28 + (38 + 3 * number) * np.sqrt(np.clip(1 - share, 0, 1))
            ribs += _tube(y - front, 6.8, 0.95) * np.clip((side - ends) / 9, 0, 1) * (side < reach)
    return ribs


def _tube(distance_mm: Plane, half_width_mm: float, wall_cm: float) -> Plane:
    """A bone across the rays: thickest near its two edges."""
    share = np.abs(distance_mm) / half_width_mm
    return np.asarray(
        wall_cm * np.clip((1 - share) * 5, 0, 1) * (0.5 + 0.5 * np.minimum(share, 1) ** 3),
        np.float32,
    )


def _vessels(shape: tuple[int, ...], generator: np.random.Generator) -> Plane:
    """Branches from both hila, in centimetres."""
    scale = shape[0] / (SIZE * SPACING_MM)
    drawn = Image.new("L", (shape[1], shape[0]))
    pen = ImageDraw.Draw(drawn)
    for way, hilum in ((-1, (-32.0, -12.0)), (1, (34.0, -20.0))):
        for _ in range(34):
            angle = generator.uniform(-1.35, 1.45)
            _branch(pen, scale, hilum, (way, angle), 70 + generator.uniform(0, 50), generator)
    soft = drawn.filter(ImageFilter.GaussianBlur(0.8))
    return np.asarray(soft, np.float32) * np.float32(2.6 / 255)


def _branch(
    pen: ImageDraw.ImageDraw,
    scale: float,
    start: tuple[float, float],
    heading: tuple[int, float],
    length_mm: float,
    generator: np.random.Generator,
) -> None:
    way, angle = heading
    x, y = start
    width = length_mm / 26
    for _ in range(int(length_mm / 7)):
        following = x + way * 7 * float(np.cos(angle)), y + 7 * float(np.sin(angle))
        ends = [(value + SIZE * SPACING_MM / 2) * scale for value in (x, y, *following)]
        shade = int(90 + 34 * min(width, 4))
        pen.line(ends, fill=shade, width=max(1, round(width * scale)))
        if width > 1.6 and generator.random() < 0.3:
            fork = angle + float(generator.normal()) * 0.6
            _branch(pen, scale, following, (way, fork), length_mm * 0.5, generator)
        (x, y), width = following, width * 0.88
        angle += float(generator.normal()) * 0.13
