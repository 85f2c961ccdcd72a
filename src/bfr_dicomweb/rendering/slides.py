"""Whole slides out of their tiles (PS3.3 sections C.7.6.17 and C.8.12.4)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil, isclose
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import TooLarge, UndecodablePixelData
from bfr_dicomweb.rendering import viewport
from bfr_dicomweb.rendering.annotation import annotate
from bfr_dicomweb.rendering.appearance import Appearance, appearance_of
from bfr_dicomweb.rendering.color import with_profile
from bfr_dicomweb.rendering.elements import Attributes, integer, number, text
from bfr_dicomweb.rendering.frame_rendering import show
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.picture import Picture, Pixels
from bfr_dicomweb.rendering.planes import FunctionalGroups, frame_count, is_tiled, matrix_size
from bfr_dicomweb.rendering.references import WHOLE_SLIDE, Images, LeftOut, Reference, Target
from bfr_dicomweb.rendering.viewport import Part

WHOLE_SLIDE_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
# Decoded for one picture. More is asked of a coarser level of the slide.
MAX_TILES: Final = 2048
MAX_TILE_PIXELS: Final = 1 << 28
MAX_CANVAS_PIXELS: Final = 1 << 26
# Without a viewport no more than this is shown of a slide, in pixels of a side.
USUAL_SIDE: Final = 2048
_SAME_SIZE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Tile:
    """A frame and the pixel of the Total Pixel Matrix that its first one is, from 0."""

    index: int
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Full:
    """Every tile is there, row by row, then focal planes, then channels (section C.7.6.17.3).

    Attributes:
        across, down: How many tiles.
        starts: Frame from which on the shown focal plane of each channel lies.
        frames: How many there are.
    """

    across: int
    down: int
    starts: tuple[int, ...]
    frames: int


@dataclass(frozen=True, slots=True)
class Sparse:
    """Tiles of the shown focal plane of each channel, as they come."""

    channels: tuple[tuple[Tile, ...], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The Total Pixel Matrix of an instance; its channels are optical paths or segments."""

    columns: int
    rows: int
    tile_columns: int
    tile_rows: int
    tiling: Full | Sparse

    @property
    def number_of_channels(self) -> int:
        tiling = self.tiling
        return len(tiling.starts if isinstance(tiling, Full) else tiling.channels)

    def touched(self, part: Part, channel: int) -> Iterator[Tile]:
        """The tiles that a part is made of."""
        width, height, tiling = self.tile_columns, self.tile_rows, self.tiling
        if isinstance(tiling, Sparse):
            for tile in tiling.channels[channel]:
                beside = part.left >= tile.left + width or tile.left >= part.right
                if not beside and part.top < tile.top + height and tile.top < part.bottom:
                    yield tile
            return
        start = tiling.starts[channel]
        for row in range(int(part.top // height), min(ceil(part.bottom / height), tiling.down)):
            first, last = int(part.left // width), ceil(part.right / width)
            for column in range(first, min(last, tiling.across)):
                index = start + row * tiling.across + column
                if index >= tiling.frames:
                    return
                yield Tile(index, column * width, row * height)


def matrix_of(stored: StoredObject, channels: tuple[str, ...] = ()) -> Matrix:
    """
    Args:
        channels: Optical Path Identifiers, or Segment Numbers; none: one channel, the first.

    Raises:
        UndecodablePixelData: it has none.
    """
    attributes = stored.attributes
    columns, rows = matrix_size(attributes)
    if min(columns, rows) <= 0:
        raise UndecodablePixelData("the instance has no Total Pixel Matrix")
    width, height = stored.description.columns, stored.description.rows
    if text(attributes, "DimensionOrganizationType") != "TILED_FULL":
        return Matrix(columns, rows, width, height, _sparse(stored, channels))
    across, down = ceil(columns / width), ceil(rows / height)
    planes = max(1, integer(attributes, "TotalPixelMatrixFocalPlanes") or 1)
    starts = tuple(
        (channel * planes + (planes - 1) // 2) * across * down
        for channel in range(max(1, len(channels)))
    )
    tiling = Full(across, down, starts, stored.number_of_frames)
    return Matrix(columns, rows, width, height, tiling)


# Where the tiles of slides are that many regions are asked of, while they are open.
_KNOWN: Final[WeakKeyDictionary[StoredObject, dict[tuple[str, ...], Sparse]]] = WeakKeyDictionary()


def _sparse(stored: StoredObject, channels: tuple[str, ...]) -> Sparse:
    known = _KNOWN.setdefault(stored, {})
    if channels not in known:
        known[channels] = _read_sparse(stored, channels)
    return known[channels]


def _read_sparse(stored: StoredObject, channels: tuple[str, ...]) -> Sparse:
    groups = FunctionalGroups(stored.attributes)
    by_channel: dict[str, dict[tuple[int, int], list[tuple[float, Tile]]]] = {}
    for index in range(frame_count(stored)):
        place = groups.group(index, "PlanePositionSlideSequence")
        left = (integer(place, "ColumnPositionInTotalImagePixelMatrix") or 1) - 1
        top = (integer(place, "RowPositionInTotalImagePixelMatrix") or 1) - 1
        depth = number(place, "ZOffsetInSlideCoordinateSystem") or 0.0
        places = by_channel.setdefault(_channel(groups, index), {})
        places.setdefault((top, left), []).append((depth, Tile(index, left, top)))
    wanted = channels or tuple(by_channel)[:1]
    return Sparse(tuple(tuple(_in_focus(by_channel.get(channel, {}))) for channel in wanted))


def tile_origin(stored: StoredObject, index: int) -> tuple[int, int]:
    """Column and row of a frame's first pixel in the Total Pixel Matrix, from 0."""
    if not is_tiled(stored.attributes):
        return 0, 0
    tiling = matrix_of(stored).tiling
    if isinstance(tiling, Full):
        place = index % (tiling.across * tiling.down)
        width, height = stored.description.columns, stored.description.rows
        return place % tiling.across * width, place // tiling.across * height
    tile = FunctionalGroups(stored.attributes).group(index, "PlanePositionSlideSequence")
    column = integer(tile, "ColumnPositionInTotalImagePixelMatrix") or 1
    row = integer(tile, "RowPositionInTotalImagePixelMatrix") or 1
    return column - 1, row - 1


def _channel(groups: FunctionalGroups, index: int) -> str:
    segment = groups.group(index, "SegmentIdentificationSequence")
    path = groups.group(index, "OpticalPathIdentificationSequence")
    return text(segment, "ReferencedSegmentNumber") or text(path, "OpticalPathIdentifier")


def _in_focus(places: dict[tuple[int, int], list[tuple[float, Tile]]]) -> Iterable[Tile]:
    """Of the focal planes at each place, the middle one."""
    for found in places.values():
        planes = sorted(found, key=lambda plane: plane[0])
        yield planes[(len(planes) - 1) // 2][1]


def slide_region(levels: Sequence[StoredObject], rendering: Rendering) -> Picture:
    """A part of a slide, made of the tiles that it touches and no others.

    Args:
        levels: The instance that is asked for, in whose Total Pixel Matrix the viewport counts,
            and then others of its pyramid: tiles come from the coarsest one that is fine enough.
        rendering: Without a viewport the picture has at most `USUAL_SIDE` pixels a side.

    Raises:
        TooLarge: more tiles than `MAX_TILES` would have to be decoded.
        InvalidQuery: no part of the slide lies in the viewport.
    """
    target = matrix_of(levels[0])
    part, size = shown_part(target, rendering)
    picture = composed(levels, target, part, size, rendering)
    finished = with_profile(picture, rendering.icc_profile)
    return annotate(finished, levels[0], 0, rendering.annotations, window=rendering.window)


def references_of(stored: StoredObject) -> tuple[Reference, ...]:
    """Its series, in which the other levels of its pyramid are."""
    attributes = stored.attributes
    series, study = (
        text(attributes, keyword) for keyword in ("SeriesInstanceUID", "StudyInstanceUID")
    )
    return (Reference("", (), series, study),)


class Slide:
    """A whole slide image with its other levels; see `references.Showing`."""

    def __init__(self, stored: StoredObject, images: Images) -> None:
        uid = text(stored.attributes, "SOPInstanceUID")
        self._levels = [stored, *(image for other, image in images.items() if other != uid)]
        self.left_out: tuple[LeftOut, ...] = ()
        self.targets: tuple[Target, ...] = ()
        if is_tiled(stored.attributes):
            self.targets = (Target(uid, WHOLE_SLIDE),)

    def picture(self, target: Target, rendering: Rendering) -> Picture:  # noqa: ARG002
        """As `slide_region`."""
        return slide_region(self._levels, rendering)


def shown_part(matrix: Matrix, rendering: Rendering) -> tuple[Part, tuple[int, int]]:
    """What of a Total Pixel Matrix is shown, and in how many columns and rows."""
    part = viewport.part_of(matrix.columns, matrix.rows, rendering)
    asked = rendering if rendering.viewport is not None else _usual(part, rendering)
    return part, viewport.size_of(part, asked, 1.0)


def _usual(part: Part, rendering: Rendering) -> Rendering:
    if max(part.width, part.height) <= USUAL_SIDE:
        return rendering
    return replace(rendering, viewport=Viewport(USUAL_SIDE, USUAL_SIDE))


def _level(
    levels: Sequence[StoredObject], target: Matrix, reduction: float
) -> tuple[StoredObject, Matrix]:
    """The coarsest level that has a pixel for each of the picture."""
    best, coarsest = (levels[0], target), 1.0
    for stored in levels[1:]:
        if not is_tiled(stored.attributes) or not _same_slide(levels[0], stored):
            continue
        matrix = matrix_of(stored)
        coarser = target.columns / matrix.columns
        if coarsest < coarser <= reduction * 1.01:
            best, coarsest = (stored, matrix), coarser
    return best


def _same_slide(one: StoredObject, other: StoredObject) -> bool:
    """Whether both show the same area: not so labels and overviews."""
    first, second = one.attributes, other.attributes
    if text(first, "FrameOfReferenceUID") != text(second, "FrameOfReferenceUID"):
        return False
    for keyword in ("ImagedVolumeWidth", "ImagedVolumeHeight"):
        sizes = [number(attributes, keyword) or 0.0 for attributes in (first, second)]
        # coarser levels may end a pixel earlier
        if not isclose(*sizes, rel_tol=_SAME_SIZE):
            return False
    return _flavor(first) == _flavor(second)


def _flavor(attributes: Attributes) -> str:
    values = attributes.get("00080008", {}).get("Value") or []
    return str(values[2]) if len(values) > 2 else ""


def composed(
    levels: Sequence[StoredObject],
    target: Matrix,
    part: Part,
    size: tuple[int, int],
    rendering: Rendering,
) -> Picture:
    """A part of the first optical path of a slide; as `slide_region`, with its own profile.

    Args:
        target: What `part` is counted in.
    """
    stored, matrix = _level(levels, target, part.width / size[0])
    own = scaled_part(part, target, matrix)
    tiles = touched(matrix, own)
    background = (255, 255, 255) if stored.description.samples_per_pixel > 1 else (0,)
    canvas = TileCanvas(matrix, own, size, background)
    profile = None
    appearance = appearance_of(stored, tiles[0].index) if tiles else Appearance()
    for tile in tiles:
        shown = show(stored, tile.index, appearance, rendering.window)
        profile = shown.icc_profile
        canvas.lay(shown.pixels, tile)
    return Picture(canvas.resampled(own, size), profile)


def scaled_part(part: Part, target: Matrix, matrix: Matrix) -> Part:
    """The same part of another level."""
    across, down = matrix.columns / target.columns, matrix.rows / target.rows
    return replace(
        part,
        left=part.left * across,
        right=part.right * across,
        top=part.top * down,
        bottom=part.bottom * down,
    )


def touched(matrix: Matrix, part: Part, *, channel: int = 0) -> list[Tile]:
    """The tiles of a channel that a part is made of.

    Raises:
        TooLarge: they are too many.
    """
    found = []
    if channel < matrix.number_of_channels:
        found = list(islice(matrix.touched(part, channel), MAX_TILES + 1))
    pixels = len(found) * matrix.tile_columns * matrix.tile_rows
    if len(found) > MAX_TILES or pixels > MAX_TILE_PIXELS:
        raise TooLarge(
            f"the region has more tiles than are shown at once ({MAX_TILES}, or"
            f" {MAX_TILE_PIXELS} pixels): ask for a smaller one, or for a coarser level"
        )
    return found


def _reduction(matrix: Matrix, part: Part, size: tuple[int, int]) -> int:
    """By how much tiles can be made smaller before they are put together.

    A power of two that divides their sides, so that no seams are seen.
    """
    reduction = 1
    while (
        part.width / size[0] >= 2 * reduction
        and matrix.tile_columns % (2 * reduction) == 0
        and matrix.tile_rows % (2 * reduction) == 0
    ):
        reduction *= 2
    return reduction


class TileCanvas:
    """The tiles of a part side by side, each made smaller by a whole number."""

    def __init__(
        self, matrix: Matrix, part: Part, size: tuple[int, int], background: tuple[int, ...]
    ) -> None:
        """
        Args:
            size: Columns and rows that the part is wanted in.
            background: What is shown where no tile is: glass is white, fluorescence black.

        Raises:
            TooLarge: it has more pixels than `MAX_CANVAS_PIXELS`.
        """
        reduction = _reduction(matrix, part, size)
        across, down = matrix.tile_columns, matrix.tile_rows
        self._left = int(part.left // across) * across
        self._top = int(part.top // down) * down
        width = min(ceil(part.right / across) * across, matrix.columns) - self._left
        height = min(ceil(part.bottom / down) * down, matrix.rows) - self._top
        self._reduction = reduction
        shape = [ceil(height / reduction), ceil(width / reduction)]
        if shape[0] * shape[1] > MAX_CANVAS_PIXELS:
            raise TooLarge("the region is too large: ask for a smaller one, or for a coarser level")
        if len(background) == 3:
            shape.append(3)
        self._pixels: Pixels = np.empty(shape, np.uint8)
        self._pixels[...] = background

    def lay(self, tile_pixels: Pixels, tile: Tile) -> None:
        pixels = _reduced(tile_pixels, self._reduction)
        if self._pixels.ndim == 2 and pixels.ndim == 3:  # a pseudo colour
            self._pixels = np.repeat(self._pixels[:, :, np.newaxis], 3, axis=2)
        elif self._pixels.ndim == 3 and pixels.ndim == 2:
            pixels = np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
        # a sparse tile may begin anywhere
        top = (tile.top - self._top) // self._reduction
        left = (tile.left - self._left) // self._reduction
        room = self._pixels[max(0, top) : top + pixels.shape[0], max(0, left) :]
        part = pixels[max(0, -top) :, max(0, -left) :]
        room = room[: part.shape[0], : part.shape[1]]
        room[...] = part[: room.shape[0], : room.shape[1]]

    def resampled(self, part: Part, size: tuple[int, int]) -> Pixels:
        own = replace(
            part,
            left=(part.left - self._left) / self._reduction,
            right=min((part.right - self._left) / self._reduction, self._pixels.shape[1]),
            top=(part.top - self._top) / self._reduction,
            bottom=min((part.bottom - self._top) / self._reduction, self._pixels.shape[0]),
        )
        return viewport.resampled(self._pixels, own, size)


def _reduced(pixels: Pixels, by: int) -> Pixels:
    """Each square of `by` x `by` pixels as its average."""
    if by == 1:
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(by))


def nothing(size: tuple[int, int]) -> Pixels:
    """Black, in so many columns and rows."""
    return np.zeros(size[::-1], np.uint8)
