"""An invented trunk, from the middle of the lungs to the pelvis, in Hounsfield units.

Millimetres: x to the patient's left, y to the back, z to the head, as in PS3.3 section C.7.6.2.1.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.example_studies.canvas import Canvas, Plane, smooth_noise

Point = tuple[float, float, float]

AIR: Final = -1000.0
FAT: Final = -102.0
MUSCLE: Final = 58.0
LIVER: Final = 112.0
TUMOUR: Final = 48.0
BONE: Final = 460.0
MARROW: Final = 190.0
TUMOUR_CENTRE: Final[Point] = (-74.0, -12.0, 24.0)


@dataclass(frozen=True, slots=True)
class Organ:
    """An ellipsoid of one density."""

    centre: Point
    radii: Point
    value: float
    degrees: float = 0.0

    def paint(self, canvas: Canvas, z: float) -> None:
        level = 1 - ((z - self.centre[2]) / self.radii[2]) ** 2
        if level <= 0:
            return
        scale = level**0.5
        radii = (self.radii[0] * scale, self.radii[1] * scale)
        if min(radii) > 1:
            canvas.ellipse(self.centre[:2], radii, self.value, degrees=self.degrees)


LUNGS: Final = (
    Organ((-76, -4, 190), (60, 86, 156), -865, 6),
    Organ((76, 0, 190), (58, 84, 162), -868, -6),
)
MEDIASTINUM: Final = Organ((0, 0, 190), (126, 84, 172), 15)
CHEST: Final = (
    Organ((22, -30, 112), (62, 50, 58), 105, -30),  # heart muscle
    Organ((44, -24, 108), (24, 20, 38), 175, -30),  # left ventricle
    Organ((0, -48, 108), (34, 16, 34), 165, -20),  # right ventricle
    Organ((-24, -18, 124), (20, 26, 36), 160),  # right atrium
    Organ((12, 40, 150), (9, 6, 110), 40),  # oesophagus
)
ABDOMEN: Final = (
    Organ((-52, -8, 6), (80, 76, 82), LIVER, 8),
    Organ((20, -48, 28), (62, 30, 46), LIVER, 12),
    Organ((-42, -44, -52), (14, 15, 26), 8),  # gallbladder
    Organ((92, 44, 20), (28, 38, 52), 128, -28),  # spleen
    Organ((66, -26, 16), (44, 36, 44), 70, 20),  # stomach: wall, content, air
    Organ((66, -26, 16), (39, 31, 40), 18, 20),
    Organ((62, -46, 18), (27, 13, 28), -930),
    Organ((14, 0, -20), (44, 11, 16), 102, 14),  # pancreas
    Organ((-22, 6, -30), (16, 18, 22), 100),
    Organ((-66, 50, -48), (28, 25, 54), 205, -25),  # kidneys: cortex, medulla, sinus
    Organ((-65, 50, -48), (19, 16, 44), 150, -25),
    Organ((-57, 46, -48), (11, 9, 26), -40, -25),
    Organ((68, 48, -34), (28, 25, 55), 208, 25),
    Organ((67, 48, -34), (19, 16, 45), 152, 25),
    Organ((59, 44, -34), (11, 9, 27), -40, 25),
    Organ((-26, 42, 0), (8, 3, 14), 45),  # adrenals
    Organ((30, 40, 4), (9, 3, 14), 45),
)


class Trunk:
    """Paints one axial slice at a time."""

    def __init__(self, x: Plane, y: Plane, *, tumour_radius_mm: float, seed: int) -> None:
        self._x, self._y = x, y
        self._tumour_radius_mm = tumour_radius_mm
        # the spine stays straight
        self._calm = np.clip(np.hypot(x, y - 70) / 60, 0, 1)
        self._shade = 11.5 * np.clip(1.25 - np.hypot(x, y) / 260, 0.4, 1.25)
        self._grain = smooth_noise((640, 640), 0.75, np.random.default_rng(seed))
        self._seed = seed
        anatomy = np.random.default_rng(12)  # the same person each time
        self._bowel = _bowel(anatomy)
        self._lung_vessels = np.concatenate(
            [
                _vessels(LUNGS[0], (-34, 0, 118), 3.8, anatomy, branches=120),
                _vessels(LUNGS[1], (34, 4, 122), 3.8, anatomy, branches=120),
            ]
        )
        self._liver_vessels = _vessels(ABDOMEN[0], (-30, 8, 6), 4.2, anatomy, branches=26)

    def slice_at(self, z: float) -> Plane:
        """Hounsfield units at the height `z`, with the noise of the scanner."""
        canvas = Canvas(self._x, self._y, AIR, warp=self._warp(z))
        _table(canvas, self._x, self._y)
        _wall(canvas, z)
        self._chest(canvas, z)
        self._abdomen(canvas, z)
        _muscles(canvas, z)
        _great_vessels(canvas, z)
        _spine(canvas, z)
        _ribs(canvas, z)
        return canvas.values + self._noise(z)

    def pixel_of(self, point: Point) -> tuple[int, int]:
        """Where a slice through a point of the anatomy shows it: column and row, from 0."""
        bend, lean = self._warp(point[2])
        away = np.hypot(self._x + bend - point[0], self._y + lean - point[1])
        row, column = np.unravel_index(np.argmin(away), away.shape)
        return int(column), int(row)

    def _warp(self, z: float) -> tuple[Plane, Plane]:
        """Bends everything a little, so that nothing is a perfect ellipse."""
        x, y = self._x[:1], self._y[:, :1]
        bend = 2.6 * np.sin(y / 27 + z / 41) + 1.9 * np.sin(x / 19 - z / 33)
        lean = 2.4 * np.sin(x / 31 + z / 37) + 1.7 * np.sin(y / 17 + z / 53)
        return bend * self._calm, lean * self._calm

    def _chest(self, canvas: Canvas, z: float) -> None:
        MEDIASTINUM.paint(canvas, z)
        for lung in LUNGS:
            lung.paint(canvas, z)
        canvas.dots(_crossing(self._lung_vessels, z), 25)
        for organ in CHEST:
            organ.paint(canvas, z)

    def _abdomen(self, canvas: Canvas, z: float) -> None:
        for organ in self._bowel:
            organ.paint(canvas, z)
        _colon(canvas, z)
        for organ in ABDOMEN[:2]:
            organ.paint(canvas, z)
        canvas.dots(_crossing(self._liver_vessels, z), 165)
        radius = self._tumour_radius_mm
        Organ(TUMOUR_CENTRE, (radius, radius * 0.9, radius), 78).paint(canvas, z)
        Organ(TUMOUR_CENTRE, (radius * 0.72, radius * 0.66, radius * 0.7), TUMOUR).paint(canvas, z)
        for organ in ABDOMEN[2:]:
            organ.paint(canvas, z)

    def _noise(self, z: float) -> Plane:
        rows, columns = self._x.shape
        generator = np.random.default_rng([self._seed, int(z * 10) + 10_000])
        down, across = generator.integers(0, 640, 2).tolist()
        return np.roll(self._grain, (down, across), (0, 1))[:rows, :columns] * self._shade


def _bowel(generator: np.random.Generator) -> tuple[Organ, ...]:
    loops: list[Organ] = []
    for _ in range(110):
        x, y, z = generator.uniform((-88, -72, -176), (88, 26, -48)).tolist()
        radii = generator.uniform((13, 12, 14), (19, 16, 26)).tolist()
        density, degrees = generator.uniform((85, 0), (110, 180)).tolist()
        wall = Organ((x, y, z), (radii[0], radii[1], radii[2]), density, degrees)
        inner = [radius - 3.2 for radius in radii]
        gas = y < -30 and generator.random() < 0.4
        content = -820.0 if gas else float(generator.uniform(10, 45))
        loops += [wall, Organ(wall.centre, (inner[0], inner[1], inner[2]), content, wall.degrees)]
    return tuple(loops)


def _vessels(
    organ: Organ, root: Point, radius_mm: float, generator: np.random.Generator, branches: int
) -> Plane:
    """Points along branches from a root to all sides of an organ: x, y, z and radius."""
    points = []
    start = np.array(root)
    for _ in range(branches):
        direction = generator.normal(size=3)
        end = np.array(organ.centre) + 0.86 * np.array(organ.radii) * direction / np.linalg.norm(
            direction
        )
        points.append(_branch(start, end, radius_mm, generator))
        for share in (0.35, 0.5, 0.65):
            fork = points[-1][int(share * len(points[-1]))]
            twig = fork[:3] + generator.normal(size=3) * 22
            points.append(_branch(fork[:3], twig, float(fork[3]) * 0.75, generator))
    made = np.concatenate(points)
    inside = ((made[:, :3] - organ.centre) / organ.radii) ** 2
    return np.asarray(made[inside.sum(axis=1) < 0.9], np.float32)


def _branch(
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    radius_mm: float,
    generator: np.random.Generator,
) -> npt.NDArray[np.float64]:
    share = np.linspace(0, 1, max(4, int(np.linalg.norm(end - start) / 2.8)))[:, None]
    sag = generator.normal(size=3) * 7 * np.sin(np.pi * share)
    return np.hstack([start + (end - start) * share + sag, radius_mm * (1 - 0.72 * share)])


def _crossing(points: Plane, z: float) -> Plane:
    """What a slice shows of vessel points: x, y, radius and weight."""
    reach = points[:, 3] + 1.5
    away = np.abs(points[:, 2] - z)
    hit = away < reach
    weight = 1 - (away[hit] / reach[hit]) ** 2
    return np.column_stack([points[hit][:, [0, 1, 3]], weight]).astype(np.float32)


def _table(canvas: Canvas, x: Plane, y: Plane) -> None:
    """The couch, which lies still while the body's outline is bent."""
    below = slice(int(np.searchsorted(y[:, 0], 115)), None), slice(None)
    x, y = x[below], y[below]
    depth = y - 132 + (x / 62) ** 2
    within = 192 - np.abs(x)
    canvas.blend(below, np.minimum(within, np.minimum(depth, 28 - depth)), -880)
    for shell in (1.3, 26.7):
        canvas.blend(below, np.minimum(within, 1.3 - np.abs(depth - shell)), -20)


def _wall(canvas: Canvas, z: float) -> None:
    waist = 6 * np.exp(-(((z + 60) / 60) ** 2))
    canvas.ellipse((0, 6), (168 - waist, 121 - waist / 2), 5, squareness=0.25)
    canvas.ellipse((0, 6), (166 - waist, 119 - waist / 2), FAT, squareness=0.25)
    canvas.ellipse((0, 4), (146 - waist, 103), MUSCLE, squareness=0.2)
    canvas.ellipse((0, -2), (132 - waist, 88), FAT, squareness=0.2)


def _colon(canvas: Canvas, z: float) -> None:
    if z > -12:
        return
    bulge = 2.5 * math.sin(z / 5.5)
    for x, y in ((-104.0, 14.0), (108.0, 18.0)):
        canvas.ellipse((x, y), (22 + bulge, 20 + bulge), 70)
        canvas.ellipse((x, y), (19 + bulge, 17 + bulge), 5)
        canvas.ellipse((x + 2, y + 3), (11, 8), 60)
        canvas.ellipse((x, y - 9), (12 + bulge, 6), -900)
    sag = ((z + 44) / 17) ** 2
    if sag < 1:
        height = 16 * (1 - sag) ** 0.5
        for x in range(-84, 96, 28):
            centre = (float(x), -64.0 - 8 * math.cos(x / 60))
            canvas.ellipse(centre, (18, height + 2), 70)
            canvas.ellipse(centre, (16, height), -880)


def _muscles(canvas: Canvas, z: float) -> None:
    for side in (-1, 1):
        canvas.ellipse((side * 34, 98), (30, 18), MUSCLE, degrees=side * 8)
        grown = float(np.clip((10 - z) / 90, 0, 1))
        if grown > 0:
            canvas.ellipse((side * (30 + 10 * grown), 66), (8 + 13 * grown, 10 + 12 * grown), 62)
        if z < 60:
            canvas.ellipse((side * 28, -90), (28, 6), MUSCLE)


def _great_vessels(canvas: Canvas, z: float) -> None:
    canvas.ellipse((16 if z > 40 else 8, 38), (12, 12), 188)  # aorta
    canvas.ellipse((-20, 30 if z > -40 else 36), (13, 11), 150)  # inferior vena cava
    if z < 0:
        canvas.ellipse((4, 14), (4, 4), 180)
        canvas.ellipse((-8, 10), (6, 6), 165)


def _spine(canvas: Canvas, z: float) -> None:
    along = (z + 400) % 34  # one vertebra and its disc
    disc = along < 7
    canvas.ellipse((0, 88), (21, 13), BONE)
    if not disc:
        for side in (-1, 1):
            canvas.ellipse((side * 26, 88), (17, 4.5), 320, degrees=side * 12)
    if along > 12:
        canvas.ellipse((0, 107), (4, 12), 380)
    canvas.ellipse((0, 64), (23, 18), 95 if disc else BONE)
    if not disc:
        edge = min(along - 7, 34 - along)
        canvas.ellipse((0, 64), (20.5, 15.5), MARROW if edge > 2 else 380)
    canvas.ellipse((0, 87), (11, 8.5), -20)
    canvas.ellipse((0, 87), (8.5, 7), 30)


def _ribs(canvas: Canvas, z: float) -> None:
    """Twelve pairs on the chest wall, each falling from the spine to the front."""
    if z < -100:
        return
    radius = np.hypot(canvas.x / 139, canvas.y / 95)
    wall = np.nonzero(np.abs(radius - 1) < 0.09)
    x, y, radius = canvas.x[wall], canvas.y[wall], radius[wall]
    angle = np.arctan2(np.abs(x), y)  # 0 at the back, pi at the front
    height = z + 46 * (1 - np.cos(angle))
    outward = (radius - 1) * np.hypot(x, y) / radius
    along = (height + 3) % 28 - 14
    present = (angle > 0.42) & (height > 4 + 30 * (angle > 2))
    inside = np.where(present, 1 - np.hypot(outward / 5.2, along / 7.5), -9)
    cartilage = angle > 2.35
    values = canvas.values[wall]
    for depth, bone, soft in ((inside, BONE, 120), (inside - 0.42, MARROW + 40, 110)):
        weight = np.clip(depth * 3 + 0.5, 0, 1)
        values += (np.where(cartilage, soft, bone) - values) * weight
    canvas.values[wall] = values
    if z > 30:
        canvas.ellipse((0, -97), (17, 6), BONE)
        canvas.ellipse((0, -97), (15, 4), MARROW)
