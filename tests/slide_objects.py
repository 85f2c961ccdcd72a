"""Whole slide images in tiles, made with pydicom."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

from stored_images import an_image, an_item

TILE = 16
Matrix = npt.NDArray[Any]


def a_matrix(rows: int = 40, columns: int = 56) -> Matrix:
    """Colours that change slowly, so that scaling can be compared."""
    y, x = np.mgrid[0:rows, 0:columns]
    x, y = 240 * x / columns, 240 * y / rows
    return np.stack([x, y, (x + y) / 2], axis=2).astype(np.uint8)


def a_slide(matrix: Matrix, *, sparse: bool = False, **attributes: Any) -> Dataset:
    """A whole slide image in tiles of 16 x 16 pixels."""
    rows, columns = matrix.shape[:2]
    down, across = -(-rows // TILE), -(-columns // TILE)
    padded = np.pad(
        matrix, ((0, down * TILE - rows), (0, across * TILE - columns), (0, 0)), mode="edge"
    )
    places = [(row, column) for row in range(down) for column in range(across)]
    if sparse:
        places = places[::-1]
    tiles = [
        padded[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        for row, column in places
    ]
    slide = an_image(
        np.ascontiguousarray(tiles[0]),
        SOPClassUID=VLWholeSlideMicroscopyImageStorage,
        NumberOfFrames=len(tiles),
        TotalPixelMatrixColumns=columns,
        TotalPixelMatrixRows=rows,
        FrameOfReferenceUID="2.25.7",
        ImageType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"],
        DimensionOrganizationType="TILED_SPARSE" if sparse else "TILED_FULL",
        **attributes,
    )
    slide.PixelData = b"".join(tile.tobytes() for tile in tiles)
    if sparse:
        slide.PerFrameFunctionalGroupsSequence = [
            an_item(
                PlanePositionSlideSequence=[
                    an_item(
                        RowPositionInTotalImagePixelMatrix=row * TILE + 1,
                        ColumnPositionInTotalImagePixelMatrix=column * TILE + 1,
                        ZOffsetInSlideCoordinateSystem=0,
                    )
                ]
            )
            for row, column in places
        ]
    return slide
