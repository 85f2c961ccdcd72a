"""From where a volume is looked at, and what of it a picture shows.

The camera is that of PS3.3 section C.11.30: a position, the point it looks at, and which way is up,
all in the frame of reference of the volume. Projection is orthographic, so that the distance of
the camera does not matter. The point looked at is the middle of the picture; a reformatted plane
goes through it. The picture holds the whole volume, because no parameter asks for less.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, radians
from typing import Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering import viewport
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.volume_geometry import VolumeGeometry
from bfr_dicomweb.rendering.volume_parameters import Orientation, Point, VolumeParameters

Vector = npt.NDArray[np.float64]

MAX_PICTURES: Final = 360
DEFAULT_STEP_DEGREES: Final = 10.0
DEFAULT_RATE: Final = 10.0
# A picture without a viewport has at most this many pixels at its longer side.
MAX_NATURAL_SIDE: Final = 1024
# Coordinates of cameras are told to this many decimals, mm; and used as they are told.
_DECIMALS: Final = 6
# Sine of the angle between sight and up, from which on up is no longer to be told.
_MIN_SINE: Final = 1e-3

_TOWARDS: Final[dict[Orientation, Point]] = {
    Orientation.ANTERIOR: (0.0, -1.0, 0.0),
    Orientation.POSTERIOR: (0.0, 1.0, 0.0),
    Orientation.RIGHT: (-1.0, 0.0, 0.0),
    Orientation.LEFT: (1.0, 0.0, 0.0),
    Orientation.HEAD: (0.0, 0.0, 1.0),
    Orientation.FEET: (0.0, 0.0, -1.0),
}
_SUPERIOR: Final = (0.0, 0.0, 1.0)
_FRONT: Final = (0.0, -1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Camera:
    """Attributes: those of PS3.3 Table C.11.30-1, mm."""

    position: Point
    look_at: Point
    up: Point

    @property
    def sight(self) -> Vector:
        """From the camera into the picture, of length 1."""
        return _unit(np.subtract(self.look_at, self.position))

    @property
    def right(self) -> Vector:
        """To the right in the picture, of length 1."""
        return _unit(np.cross(self.sight, self.up))

    @property
    def down(self) -> Vector:
        return np.cross(self.sight, self.right)

    def turned(self, degrees: float) -> "Camera":
        """Gone to its right, or left if below 0, around the axis through `look_at` along up."""
        axis = -self.down
        back = np.subtract(self.position, self.look_at)
        angle = radians(degrees)
        along = axis * (axis @ back)
        turned = along + np.cos(angle) * (back - along) + np.sin(angle) * np.cross(axis, back)
        return Camera(_told(turned + self.look_at), self.look_at, _told(axis))

    def moved_to(self, look_at: Point) -> "Camera":
        position = np.add(self.position, np.subtract(look_at, self.look_at))
        return Camera(_told(position), look_at, self.up)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The pixels of a picture in space.

    Attributes:
        first: Centre of the first pixel.
        right, down: From one pixel to the next, mm.
        sight: Away from the camera, of length 1.
        depth: Farthest that the volume reaches from the plane of the pixels, mm.
    """

    first: Vector
    right: Vector
    down: Vector
    sight: Vector
    depth: float
    rows: int
    columns: int


def camera_of(parameters: VolumeParameters, geometry: VolumeGeometry) -> Camera:
    """The camera that is asked for; what is not, is chosen.

    By default it looks from the front at the centre of the volume, and up is where the head is.

    Raises:
        InvalidQuery: its position is the point that it looks at, or it looks straight up.
    """
    corners = geometry.corners()
    away = float(np.linalg.norm(corners[-1] - corners[0]))
    center = _told(geometry.center)
    if parameters.orientation is not None:
        towards = _TOWARDS[parameters.orientation]
        is_level = parameters.orientation not in (Orientation.HEAD, Orientation.FEET)
        position = _told(np.add(center, np.multiply(towards, away)))
        return Camera(position, center, _SUPERIOR if is_level else _FRONT)
    look_at = parameters.look_at or center
    front = _told(np.add(look_at, np.multiply(_FRONT, away)))
    position = front if parameters.position is None else parameters.position
    if np.linalg.norm(np.subtract(position, look_at)) < 10.0**-_DECIMALS:
        name = "viewpointlookat" if parameters.position is None else "viewpointposition"
        raise InvalidQuery(name, "the camera has to be away from the point that it looks at")
    camera = Camera(position, look_at, parameters.up or _SUPERIOR)
    if np.linalg.norm(np.cross(camera.sight, _unit(camera.up))) >= _MIN_SINE:
        return camera
    if parameters.up is not None:
        raise InvalidQuery("viewpointup", "must not be the direction in which the camera looks")
    return replace(camera, up=_FRONT)


def swivel(camera: Camera, degrees: float, step: float) -> tuple[Camera, ...]:
    """The cameras of a swivel: as many as its range has steps (PS3.18 section 8.3.5.3.9).

    They go from one end of the range to the other, with the given camera in the middle; a whole
    turn begins with it. A player goes back and forth between the ends.

    Raises:
        InvalidQuery: there would be more than `MAX_PICTURES`.
    """
    count = _count("swivelrange", degrees / step)
    if degrees >= 360:
        return tuple(camera.turned(step * at) if at else camera for at in range(count))
    return tuple(camera.turned(step * (at - (count - 1) / 2)) for at in range(count))


def along_curve(camera: Camera, curve: Sequence[Point], step: float) -> tuple[Camera, ...]:
    """The camera moved along a curve: as many pictures as it has steps (section 8.3.5.3.10).

    The points are joined by straight lines; planes stay parallel to the first one.

    Raises:
        InvalidQuery: there would be more than `MAX_PICTURES`.
    """
    points = np.array(curve)
    way = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))))
    count = _count("volumetriccurvepoint", float(way[-1]) / step)
    places = np.arange(count) * step
    moved = np.stack([np.interp(places, way, points[:, axis]) for axis in range(3)], axis=1)
    return tuple(camera.moved_to(_told(point)) for point in moved)


def views_of(
    cameras: Sequence[Camera],
    geometry: VolumeGeometry,
    rendering: Rendering,
    *,
    field_mm: tuple[float, float] | None = None,
) -> tuple[View, ...]:
    """What the cameras see: pictures of one size and one scale.

    Args:
        field_mm: Width and height of what is shown; None: the whole volume.

    Raises:
        InvalidQuery: the viewport is too large, or shows nothing.
    """
    width, height = field_mm or _whole(cameras, geometry)
    spacing = min(
        geometry.row_spacing, geometry.column_spacing, float(np.diff(geometry.distances).min())
    )
    spacing = max(spacing, max(width, height) / MAX_NATURAL_SIDE)
    columns, rows = max(1, round(width / spacing)), max(1, round(height / spacing))
    part = viewport.part_of(columns, rows, rendering)
    shown_columns, shown_rows = viewport.size_of(part, rendering, 1.0)
    across, along = part.width / shown_columns * spacing, part.height / shown_rows * spacing
    left, right = (part.right, -1) if part.mirrored else (part.left, 1)
    top, down = (part.bottom, -1) if part.upside_down else (part.top, 1)
    corner = (left - columns / 2) * spacing, (top - rows / 2) * spacing
    corners = geometry.corners()
    return tuple(
        View(
            first=np.asarray(camera.look_at)
            + camera.right * (corner[0] + right * across / 2)
            + camera.down * (corner[1] + down * along / 2),
            right=camera.right * right * across,
            down=camera.down * down * along,
            sight=camera.sight,
            depth=float(np.abs((corners - camera.look_at) @ camera.sight).max()),
            rows=shown_rows,
            columns=shown_columns,
        )
        for camera in cameras
    )


def _whole(cameras: Sequence[Camera], geometry: VolumeGeometry) -> tuple[float, float]:
    """Width and height in which the volume is seen whole by all cameras."""
    corners = geometry.corners()
    seen = [corners - camera.look_at for camera in cameras]
    width = max(np.abs(at @ camera.right).max() for at, camera in zip(seen, cameras, strict=True))
    height = max(np.abs(at @ camera.down).max() for at, camera in zip(seen, cameras, strict=True))
    return 2 * float(width), 2 * float(height)


def _count(name: str, steps: float) -> int:
    count = max(1, ceil(steps - 1e-6))
    if count > MAX_PICTURES:
        reason = f"gives {count} pictures, more than {MAX_PICTURES}: ask for larger steps"
        raise InvalidQuery(name, reason)
    return count


def _unit(vector: npt.ArrayLike) -> Vector:
    found = np.asarray(vector, np.float64)
    return found / np.linalg.norm(found)


def _told(vector: npt.ArrayLike) -> Point:
    # + 0.0 makes 0.0 of -0.0
    x, y, z = (round(float(value), _DECIMALS) + 0.0 for value in np.asarray(vector))
    return x, y, z
