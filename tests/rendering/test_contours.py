"""Contours of RT structure sets, against places computed by hand."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.references import Reason
from bfr_dicomweb.rendering.referring import (
    Result,
    references_of,
    render_references,
    showing,
)
from objects import uid
from presentation_objects import a_slice, reference_to
from shared_data import SHARED, require_shared_data
from stored_images import an_item, stored

SAMPLES = SHARED / "dicom" / "by_modality" / "RTSTRUCT"
SIDE = 64
RED = (255, 0, 0)


def black(**plane: object) -> Dataset:
    return a_slice(np.zeros((SIDE, SIDE), np.uint8), **plane)  # type: ignore[arg-type]


def a_contour(
    points: Sequence[Sequence[float]], *images: Dataset, kind: str = "CLOSED_PLANAR"
) -> Dataset:
    contour = an_item(
        ContourGeometricType=kind,
        NumberOfContourPoints=len(points),
        ContourData=[value for point in points for value in point],
    )
    if images:
        contour.ContourImageSequence = [reference_to(image) for image in images]
    return contour


def a_region(number: int, *contours: Dataset, color: Sequence[int] = RED) -> Dataset:
    return an_item(
        ReferencedROINumber=number, ROIDisplayColor=list(color), ContourSequence=list(contours)
    )


def a_structure_set(*regions: Dataset, images: Sequence[Dataset] = ()) -> Dataset:
    """With the images that it says its frame of reference is that of."""
    series = an_item(
        SeriesInstanceUID="2.25.33",
        ContourImageSequence=[reference_to(image) for image in images],
    )
    return an_item(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
        SOPInstanceUID=uid(),
        StudyInstanceUID="2.25.32",
        SeriesInstanceUID=uid(),
        Modality="RTSTRUCT",
        ReferencedFrameOfReferenceSequence=[
            an_item(
                FrameOfReferenceUID="2.25.7",
                RTReferencedStudySequence=[an_item(RTReferencedSeriesSequence=[series])],
            )
        ],
        StructureSetROISequence=[
            an_item(ROINumber=region.ReferencedROINumber, ROIName="Spinal cord")
            for region in regions
        ],
        ROIContourSequence=list(regions),
    )


def shown(structure_set: Dataset, *images: Dataset, **asked: Viewport) -> Result:
    archive = {image.SOPInstanceUID: stored(image) for image in images}
    return render_references(stored(structure_set), archive, Rendering(**asked))  # type: ignore[arg-type]


def extent(pixels: npt.NDArray[np.uint8]) -> list[int]:
    """First column and row, last column and row of what is at least half red."""
    rows, columns = np.nonzero(pixels[:, :, 0] > 127)
    return [int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())]


def test_a_contour_lies_where_the_plane_of_the_image_says() -> None:
    # columns 2 mm apart, rows 0.5 mm; the first pixel's center at (-10, 20)
    image = black(position=(-10, 20, 5), spacing=(0.5, 2))
    corners = [(10, 25, 5), (50, 25, 5), (50, 40, 5), (10, 40, 5)]

    found = shown(a_structure_set(a_region(1, a_contour(corners, image))), image)

    pixels = found.shown[0].picture.pixels
    # pixels of the image are four times as wide as high: columns are stretched
    assert pixels.shape[:2] == (SIDE, 4 * SIDE)
    # (10 - -10) / 2 + 0.5 = column 10.5, that is 42; (25 - 20) / 0.5 + 0.5 = row 10.5
    assert extent(pixels) == pytest.approx([41, 10, 122, 40], abs=1)


def test_a_contour_of_an_oblique_image_is_turned_with_it() -> None:
    image = black(position=(5, 7, 60), orientation=(0, 1, 0, 0, 0, -1))
    corners = [(5, 17, 50), (5, 37, 50), (5, 37, 20), (5, 17, 20)]

    found = shown(a_structure_set(a_region(1, a_contour(corners, image))), image)

    assert extent(found.shown[0].picture.pixels) == pytest.approx([10, 10, 30, 40], abs=1)


def test_regions_have_their_colours() -> None:
    image = black()
    square = [(10, 10, 0), (30, 10, 0), (30, 30, 0), (10, 30, 0)]
    region = a_region(1, a_contour(square, image), color=(10, 200, 30))

    pixels = shown(a_structure_set(region), image).shown[0].picture.pixels

    assert (pixels.reshape(-1, 3) == (10, 200, 30)).all(axis=1).any()


def test_a_closed_contour_is_closed_and_an_open_one_is_not() -> None:
    image = black()
    bend = [(10, 10, 0), (50, 10, 0), (50, 50, 0)]

    closed, opened = (
        shown(a_structure_set(a_region(1, a_contour(bend, image, kind=kind))), image)
        .shown[0]
        .picture.pixels
        for kind in ("CLOSED_PLANAR", "OPEN_PLANAR")
    )

    assert closed[30, 30, 0] > 127
    assert not opened[30, 30].any()
    assert opened[10, 30, 0] > 127


def test_a_point_is_a_dot() -> None:
    image = black()

    pixels = shown(
        a_structure_set(a_region(1, a_contour([(20, 30, 0)], image, kind="POINT"))), image
    ).shown[0].picture.pixels  # fmt: skip

    rows, columns = np.nonzero(pixels[:, :, 0])
    assert [columns.mean(), rows.mean()] == pytest.approx([20, 30], abs=0.5)


def test_only_images_with_contours_are_shown_along_their_normal() -> None:
    images = [black(position=(0, 0, z)) for z in (3, 1, 2)]
    contours = [
        a_contour([(9, 9, z), (20, 9, z), (20, 20, z)], image)
        for z, image in zip((3, 1), images[:2], strict=True)
    ]

    found = shown(a_structure_set(a_region(1, *contours), images=images), *images)

    assert [each.target.sop_instance_uid for each in found.shown] == [
        images[1].SOPInstanceUID,
        images[0].SOPInstanceUID,
    ]


def test_a_contour_that_names_no_image_is_shown_in_its_slice() -> None:
    images = [black(position=(0, 0, z)) for z in range(3)]
    contour = a_contour([(9, 9, 1.1), (20, 9, 1.1), (20, 20, 1.1)])

    found = shown(a_structure_set(a_region(1, contour), images=images), *images)

    assert [each.target.sop_instance_uid for each in found.shown] == [images[1].SOPInstanceUID]


def test_images_of_contours_are_referenced_with_their_series() -> None:
    images = [black(), black()]
    contour = a_contour([(9, 9, 0), (20, 9, 0), (20, 20, 0)], images[1])

    (found,) = references_of(stored(a_structure_set(a_region(1, contour), images=images)))

    assert found.sop_instance_uid == images[1].SOPInstanceUID
    assert (found.series_instance_uid, found.study_instance_uid) == ("2.25.33", "2.25.32")


def test_an_image_that_is_not_stored_is_told() -> None:
    images = [black(), black(position=(0, 0, 1))]
    contours = [a_contour([(9, 9, 0), (20, 9, 0), (20, 20, 0)], image) for image in images]

    found = shown(a_structure_set(a_region(1, *contours)), images[0])

    assert [each.reason for each in found.left_out] == [Reason.NOT_STORED]
    assert found.left_out[0].reference.sop_instance_uid == images[1].SOPInstanceUID


def test_an_image_without_a_plane_is_told() -> None:
    image = black()
    del image.ImagePositionPatient
    contour = a_contour([(9, 9, 0), (20, 9, 0), (20, 20, 0)], image)

    with pytest.raises(NotFound, match="where in the patient"):
        showing(
            stored(a_structure_set(a_region(1, contour))), {image.SOPInstanceUID: stored(image)}
        )


def test_contours_are_cut_with_the_image() -> None:
    image = black()
    square = [(10, 10, 0), (30, 10, 0), (30, 30, 0), (10, 30, 0)]
    structure_set = a_structure_set(a_region(1, a_contour(square, image)))

    found = shown(structure_set, image, viewport=Viewport(100, 100, 5, 5, -50, 50))

    # twice as large, turned over: columns 11 to 51 of 100 become 49 to 89
    assert extent(found.shown[0].picture.pixels) == pytest.approx([48, 11, 89, 51], abs=2)


@pytest.mark.parametrize("data", [[], [1.0, 2.0], [1e30, 0.0, 0.0, -1e30, 5.0, 0.0]])
def test_broken_contours_do_no_harm(data: list[float]) -> None:
    image = black()
    good = a_contour([(9, 9, 0), (20, 9, 0), (20, 20, 0)], image)
    broken = a_contour([], image)
    broken.ContourData = data

    assert len(shown(a_structure_set(a_region(1, broken, good)), image).shown) == 1


def test_contours_of_another_maker_follow_the_skin() -> None:
    require_shared_data()
    image = StoredObject.read(SAMPLES / "ct.0.dcm")
    archive = {image.attributes["00080018"]["Value"][0]: image}

    found = render_references(StoredObject.read(SAMPLES / "rtss.dcm"), archive, Rendering())

    pixels = found.shown[0].picture.pixels
    assert len(found.left_out) == 97
    body = np.abs(pixels[:450].astype(int) - (154, 155, 100)).max(axis=2) < 8
    # air is on one side of the line and the patient on the other
    values = image.samples(0).astype(int)[:450]
    around = [np.roll(values, shift, axis=0)[body] for shift in (-6, 6)]
    assert body.sum() > 300
    assert np.median(np.abs(around[0] - around[1])) > 300
