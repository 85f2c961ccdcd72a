"""One heart beat seen by ultrasound: a cine loop of JPEG frames with colour flow."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage

from bfr_dicomweb.example_studies.canvas import Plane, smooth_noise
from bfr_dicomweb.example_studies.identity import ASA, Series, Study, code, new_object, part10

WIDTH: Final = 640
HEIGHT: Final = 480
FRAMES: Final = 30
FRAMES_PER_SECOND: Final = 30
APEX: Final = (320, 34)  # pixel (column, row) of the transducer
DEPTH_PX: Final = 390
DEPTH_CM: Final = 15.6
HALF_ANGLE: Final = 0.68  # radians
MITRAL_PLANE: Final = 0.60  # of the depth

HEART: Final = Series(
    study=Study(
        name="us heart",
        patient=ASA,
        description="Ultraljud hjärta",
        procedure_code="UKG",
        accession_number="EX2611020008",
        date="20261102",
        time="094510",
        referring_physician="Nyström^Åke^^Dr",
        reading_physician="Höglund^Örjan^^Dr",
        character_set="ISO_IR 192",
    ),
    modality="US",
    number=1,
    description="Apikal fyrkammarbild",
    body_part="HEART",
    station="UKG1",
    model="Phantom US",
)


def heart_files() -> Iterator[bytes]:
    made = new_object(HEART, UltrasoundMultiFrameImageStorage, 1)
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.PatientOrientation = ""
    made.AnatomicRegionSequence = Sequence([code("80891009", "SCT", "Heart")])
    made.UltrasoundColorDataPresent = 1
    made.HeartRate = 60
    made.BurnedInAnnotation = "NO"
    made.SequenceOfUltrasoundRegions = Sequence([_region()])
    _add_cine(made)
    _add_frames(made, [_jpeg(frame) for frame in _frames()])
    yield part10(made, JPEGBaseline8Bit)


def _region() -> Dataset:
    """The sector, calibrated in centimetres (PS3.3 section C.8.5.5)."""
    region = Dataset()
    region.RegionSpatialFormat = 1  # two-dimensional
    region.RegionDataType = 1  # tissue
    region.RegionFlags = 0
    reach = int(DEPTH_PX * np.sin(HALF_ANGLE)) + 1
    region.RegionLocationMinX0 = APEX[0] - reach
    region.RegionLocationMinY0 = APEX[1]
    region.RegionLocationMaxX1 = APEX[0] + reach
    region.RegionLocationMaxY1 = APEX[1] + DEPTH_PX
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # centimetres
    region.PhysicalDeltaX = region.PhysicalDeltaY = DEPTH_CM / DEPTH_PX
    return region


def _add_cine(made: Dataset) -> None:
    made.NumberOfFrames = FRAMES
    made.FrameIncrementPointer = Tag("FrameTime")
    made.FrameTime = round(1000 / FRAMES_PER_SECOND, 3)
    made.RecommendedDisplayFrameRate = made.CineRate = FRAMES_PER_SECOND
    made.StartTrim, made.StopTrim = 1, FRAMES
    made.PreferredPlaybackSequencing = 0


def _add_frames(made: Dataset, frames: list[bytes]) -> None:
    made.SamplesPerPixel = 3
    made.PhotometricInterpretation = "YBR_FULL_422"
    made.PlanarConfiguration = 0
    made.Rows, made.Columns = HEIGHT, WIDTH
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.PixelRepresentation = 0
    made.LossyImageCompression = "01"
    made.LossyImageCompressionMethod = "ISO_10918_1"
    size_bytes = sum(len(frame) for frame in frames)
    made.LossyImageCompressionRatio = round(WIDTH * HEIGHT * 3 * FRAMES / size_bytes, 1)
    made.PixelData = encapsulate(frames, has_bot=True)
    made["PixelData"].VR = "OB"


def _jpeg(frame: Image.Image) -> bytes:
    written = io.BytesIO()
    frame.save(written, "JPEG", quality=88, subsampling="4:2:2")
    return written.getvalue()


@dataclass(frozen=True, slots=True)
class Sector:
    """The pixels of the sector at half size, in parts of the depth."""

    across: Plane  # to the right of the image
    depth: Plane
    range: Plane  # distance from the transducer
    angle: Plane
    inside: Plane
    speckle: Plane  # a texture to take speckle from
    gain: Plane


def _sector() -> Sector:
    columns = (np.arange(WIDTH // 2) * 2 - APEX[0]) / DEPTH_PX
    rows = (np.arange(HEIGHT // 2) * 2 - APEX[1]) / DEPTH_PX
    grid = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    across, depth = grid[0], grid[1]
    distance, angle = np.hypot(across, depth), np.arctan2(across, depth)
    inside = np.clip((1 - distance) * 90, 0, 1) * np.clip((HALF_ANGLE - np.abs(angle)) * 60, 0, 1)
    inside *= np.clip((distance - 0.03) * 60, 0, 1)
    generator = np.random.default_rng(4)
    real, imaginary = (smooth_noise((512, 512), 1.3, generator) for _ in range(2))
    shadow = 1 - 0.75 * np.exp(-(((angle - 0.47) / 0.07) ** 2)) * np.clip(distance * 3, 0, 1)
    gain = (1.05 - 0.35 * distance) * shadow
    return Sector(across, depth, distance, angle, inside, np.hypot(real, imaginary), gain)


def _frames() -> Iterator[Image.Image]:
    sector = _sector()
    for index in range(FRAMES):
        beat = index / FRAMES
        grey = _echoes(sector, beat)
        image = _colour_flow(sector, grey, beat).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        _annotate(ImageDraw.Draw(image), beat)
        yield image


def _squeeze(beat: float) -> float:
    """How far the ventricles have contracted, 0 to 1; systole is short, diastole long."""
    return float(np.sin(np.pi * beat / 0.45) ** 2) if beat < 0.45 else 0.0


def _ellipse(
    sector: Sector, centre: tuple[float, float], radii: tuple[float, float], tilt: float = 0.0
) -> Plane:
    """Depth inside an ellipse, negative outside, in parts of the sector's depth."""
    x, y = sector.across - centre[0], sector.depth - centre[1]
    x = x - tilt * y
    return np.asarray((1 - np.hypot(x / radii[0], y / radii[1])) * min(radii), np.float32)


def _echoes(sector: Sector, beat: float) -> npt.NDArray[np.uint8]:
    squeeze = _squeeze(beat)
    plane = MITRAL_PLANE - 0.035 * squeeze
    narrow, wide = 1 - 0.24 * squeeze, 1 + 0.10 * squeeze
    cavities = np.maximum.reduce(
        [
            _ellipse(sector, (0.105, plane - 0.19), (0.105 * narrow, 0.205 * narrow), -0.16),
            _ellipse(sector, (-0.125, plane - 0.15), (0.085 * narrow, 0.17 * narrow), 0.22),
            _ellipse(sector, (0.100, plane + 0.118), (0.105 * wide, 0.135 * wide)),
            _ellipse(sector, (-0.125, plane + 0.118), (0.098 * wide, 0.135 * wide)),
        ]
    )
    heart = _ellipse(sector, (0.0, 0.52), (0.31 - 0.015 * squeeze, 0.42), -0.02)
    echo = 0.05 + 0.33 * np.clip(heart * 70, 0, 1)
    echo += 0.75 * np.exp(-((heart / 0.013) ** 2)) * (0.6 + 0.4 * np.sin(sector.angle * 9) ** 2)
    echo += 0.25 * np.exp(-(((cavities - 0.002) / 0.008) ** 2))
    echo *= 1 - 0.93 * np.clip(cavities * 90 + 0.5, 0, 1)
    echo += _valves(sector, beat, plane) + 0.5 * np.exp(-((sector.range / 0.07) ** 2))
    return _compressed(sector, echo, squeeze)


def _valves(sector: Sector, beat: float, plane: float) -> Plane:
    """Two leaflets at each side, closed in systole and hanging into the ventricles after it."""
    opened = float(np.clip((beat - 0.45) * 8, 0, 1)) * (0.65 + 0.35 * np.cos((beat - 0.5) * 12))
    leaflets = np.zeros_like(sector.range)
    for hinge, way in ((0.19, -1), (0.012, 1), (-0.03, -1), (-0.215, 1)):
        along = (sector.across - hinge) * way
        line = plane + 0.012 - 0.014 * opened - along * (0.25 + 1.5 * opened)
        reach = 0.088 * (1 - 0.35 * opened)
        there = np.clip(along * 200, 0, 1) * np.clip((reach - along) * 200, 0, 1)
        thickness = 0.007 * np.hypot(1, 0.25 + 1.5 * opened)
        leaflets += 0.8 * there * np.exp(-(((sector.depth - line) / thickness) ** 2))
    return leaflets


def _compressed(sector: Sector, echo: Plane, squeeze: float) -> npt.NDArray[np.uint8]:
    """Echo times speckle on the logarithmic scale of a scanner, 0..255."""
    along = sector.range * (1 - 0.03 * squeeze)
    rows = (along * 640).astype(np.intp) % 512
    columns = (sector.angle * 200 * (1 + 0.02 * squeeze)).astype(np.intp) % 512
    amplitude = np.maximum(echo * sector.gain * (0.15 + sector.speckle[rows, columns]), 1e-4)
    decibels = 20 * np.log10(amplitude)
    return np.asarray(np.clip((decibels + 31) / 38, 0, 1) * sector.inside * 255, np.uint8)


def _colour_flow(sector: Sector, grey: npt.NDArray[np.uint8], beat: float) -> Image.Image:
    """Red towards the transducer in diastole, blue away from it in systole."""
    filling = _pulse(beat, 0.58, 0.07) + 0.6 * _pulse(beat, 0.9, 0.05)
    ejecting = _pulse(beat, 0.2, 0.09)
    jet = _ellipse(sector, (0.10, MITRAL_PLANE - 0.10), (0.04, 0.17), -0.12)
    outflow = _ellipse(sector, (0.045, MITRAL_PLANE - 0.16), (0.03, 0.13), -0.2)
    red = np.clip(jet * 60, 0, 1) * filling
    blue = np.clip(outflow * 60, 0, 1) * ejecting
    flow = np.clip(np.maximum(red, blue), 0, 1)[..., None] * (grey < 110)[..., None]
    core = np.clip(jet * 45, 0, 1) ** 2
    colours = np.stack([255 * red, 190 * core * red + 120 * blue, 255 * blue], axis=-1)
    mixed = grey[..., None] * (1 - flow) + colours * flow
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def _annotate(pen: ImageDraw.ImageDraw, beat: float) -> None:
    """Depth marks, machine settings and the electrocardiogram; nothing that names a patient."""
    small = ImageFont.load_default(13)
    for centimetre in range(0, int(DEPTH_CM) + 1, 5):
        row = APEX[1] + centimetre / DEPTH_CM * DEPTH_PX
        pen.line((606, row, 614, row), fill=(190, 190, 190))
        pen.text((618, row - 8), str(centimetre), (190, 190, 190), small)
    pen.text((12, 12), "Phantom   30 Hz   15.6 cm", (200, 200, 200), small)
    pen.text((12, 30), "2D 62%   C 50   MI 1.2   TIS 0.9", (150, 150, 150), small)
    for step in range(64):
        shade = 255 - step * 4
        pen.line((12, 70 + step, 22, 70 + step), fill=(shade, shade, shade))
    trace = [(20 + x, 458 - _electrocardiogram((x / 300) % 1)) for x in range(600)]
    pen.line(trace, fill=(60, 220, 90), width=1)
    now = 20 + beat * 300
    pen.line((now, 428, now, 470), fill=(220, 60, 60))


def _electrocardiogram(beat: float) -> float:
    """The P wave, the QRS complex and the T wave, in pixels."""
    waves = ((0.86, 0.03, 4), (0.985, 0.008, -3), (0, 0.009, 26), (0.022, 0.01, -6), (0.3, 0.05, 6))
    return sum(height * _pulse(beat, at, width) for at, width, height in waves)


def _pulse(beat: float, at: float, width: float) -> float:
    """A bell that comes back with each beat."""
    away = (beat - at + 0.5) % 1 - 0.5
    return float(np.exp(-((away / width) ** 2)))
