"""Whole slides out of their tiles, compared with highdicom's total pixel matrix."""

import highdicom
import numpy as np
import pytest

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import InvalidQuery, TooLarge, UndecodablePixelData
from bfr_dicomweb.rendering import slides
from bfr_dicomweb.rendering.parameters import Annotation, Rendering, Viewport
from bfr_dicomweb.rendering.references import WHOLE_SLIDE
from bfr_dicomweb.rendering.referring import references_of, render_references
from bfr_dicomweb.rendering.slides import slide_region
from presentation_objects import a_state, an_area
from shared_data import SHARED, require_shared_data
from slide_objects import TILE, Matrix, a_matrix, a_slide
from stored_images import stored

SAMPLES = SHARED / "dicom" / "by_modality" / "SM_tiled"
SEGMENTATIONS = SHARED / "dicom" / "by_modality" / "SEG"


class Counted:
    """How many frames of an object are decoded."""

    def __init__(self, stored_object: StoredObject, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames: list[int] = []
        decode = stored_object.samples

        def samples(index: int, **limits: int) -> Matrix:
            self.frames.append(index)
            return decode(index, **limits)

        monkeypatch.setattr(stored_object, "samples", samples)


def region(*part: float | None, width: int, height: int) -> Rendering:
    return Rendering(viewport=Viewport(width, height, *part))  # type: ignore[arg-type]


@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
def test_tiles_make_the_whole_slide(sparse: bool) -> None:
    matrix = a_matrix()

    picture = slide_region([stored(a_slide(matrix, sparse=sparse))], Rendering())

    assert np.array_equal(picture.pixels, matrix)


@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
def test_a_region_is_cut_out_across_tiles(sparse: bool) -> None:
    matrix = a_matrix()
    asked = region(10, 12, 30, 20, width=30, height=20)

    picture = slide_region([stored(a_slide(matrix, sparse=sparse))], asked)

    assert np.array_equal(picture.pixels, matrix[12:32, 10:40])


def test_a_negative_width_turns_a_region_over() -> None:
    matrix = a_matrix()
    asked = region(10, 12, -30, 20, width=30, height=20)

    picture = slide_region([stored(a_slide(matrix))], asked)

    assert np.array_equal(picture.pixels, matrix[12:32, 10:40][:, ::-1])


def test_only_tiles_that_are_touched_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    slide = stored(a_slide(a_matrix()))
    counted = Counted(slide, monkeypatch)

    slide_region([slide], region(17, 1, 14, 14, width=14, height=14))

    assert set(counted.frames) == {1}


def test_a_slide_is_scaled_without_seams() -> None:
    matrix = a_matrix(128, 128)
    asked = region(width=32, height=32)

    picture = slide_region([stored(a_slide(matrix))], asked)

    expected = matrix.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.abs(picture.pixels.astype(float) - expected).max() < 3


def test_tiles_come_from_the_coarsest_level_that_is_fine_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fine, middle, coarse = (stored(a_slide(a_matrix(side, side))) for side in (128, 64, 16))
    counted = [Counted(level, monkeypatch) for level in (fine, middle, coarse)]

    slide_region([fine, middle, coarse], region(0, 0, 64, 64, width=32, height=32))

    assert not counted[0].frames
    assert set(counted[1].frames) == {0, 1, 4, 5}
    assert not counted[2].frames


def test_a_slide_is_shown_as_one_picture_out_of_the_levels_of_its_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fine, coarse = a_slide(a_matrix(128, 128)), a_slide(a_matrix(32, 32))
    coarse.SeriesInstanceUID = fine.SeriesInstanceUID
    archive = {level.SOPInstanceUID: stored(level) for level in (fine, coarse)}
    counted = Counted(archive[fine.SOPInstanceUID], monkeypatch)
    opened = archive[fine.SOPInstanceUID]

    (needed,) = references_of(opened)
    found = render_references(opened, archive, region(width=32, height=32))

    assert (needed.sop_instance_uid, needed.series_instance_uid) == ("", fine.SeriesInstanceUID)
    assert [each.target.sop_instance_uid for each in found.shown] == [fine.SOPInstanceUID]
    assert not counted.frames


def test_what_is_asked_for_is_written_into_a_slide() -> None:
    slide = stored(a_slide(np.zeros((128, 128, 3), np.uint8)))
    asked = Rendering(annotations=frozenset({Annotation.PATIENT}))

    assert slide_region([slide], asked).pixels.any()


@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
def test_each_tile_knows_its_place(sparse: bool) -> None:
    slide = stored(a_slide(a_matrix(), sparse=sparse))  # four tiles across

    place = slides.tile_origin(slide, 6)

    assert place == ((5 % 4 * TILE, 5 // 4 * TILE) if sparse else (6 % 4 * TILE, 6 // 4 * TILE))


def test_a_presentation_state_turns_all_of_a_slide() -> None:
    matrix = a_matrix()
    slide = a_slide(matrix)
    state = a_state(
        slide,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.11.2",
        ImageRotation=90,
        DisplayedAreaSelectionSequence=[an_area([5, 39], [40, 3])],
    )

    found = render_references(stored(state), {slide.SOPInstanceUID: stored(slide)}, Rendering())

    (shown,) = found.shown
    assert shown.target.frame_number == WHOLE_SLIDE
    assert np.array_equal(shown.picture.pixels, np.rot90(matrix[2:39, 4:40], -1))


def test_an_overview_is_no_level(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = stored(a_slide(a_matrix(128, 128)))
    label = a_slide(a_matrix(64, 64))
    label.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
    other = stored(label)
    counted = Counted(other, monkeypatch)

    slide_region([fine, other], region(width=16, height=16))

    assert not counted.frames


def test_where_no_tile_is_the_slide_is_white() -> None:
    slide = a_slide(np.zeros((32, 32, 3), np.uint8), sparse=True)
    del slide.PerFrameFunctionalGroupsSequence[0]  # that of the last tile
    slide.NumberOfFrames = 3
    slide.PixelData = slide.PixelData[TILE * TILE * 3 :]

    picture = slide_region([stored(slide)], Rendering())

    assert (picture.pixels[16:, 16:] == 255).all()
    assert not picture.pixels[:16].any()


def test_of_several_focal_planes_the_middle_one_is_shown() -> None:
    planes = [np.full((16, 16, 3), value, np.uint8) for value in (10, 20, 30)]
    slide = a_slide(planes[0], TotalPixelMatrixFocalPlanes=3)
    slide.NumberOfFrames = 3
    slide.PixelData = b"".join(plane.tobytes() for plane in planes)

    assert set(slide_region([stored(slide)], Rendering()).pixels.ravel().tolist()) == {20}


def test_too_many_tiles_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "MAX_TILES", 8)

    with pytest.raises(TooLarge, match="coarser level"):
        slide_region([stored(a_slide(a_matrix(64, 64)))], Rendering())


def test_a_slide_that_is_declared_immense_is_refused_and_not_allocated() -> None:
    slide = a_slide(a_matrix(16, 16))
    slide.TotalPixelMatrixColumns = slide.TotalPixelMatrixRows = 2_000_000

    with pytest.raises(TooLarge, match="coarser level"):
        slide_region([stored(slide)], Rendering())


@pytest.mark.parametrize("rows", [None, 0, -5])
def test_what_has_no_total_pixel_matrix_is_no_slide(rows: int | None) -> None:
    slide = stored(a_slide(a_matrix()))
    slide.attributes = {**slide.attributes, "00480007": {"vr": "SL", "Value": [rows]}}

    with pytest.raises(UndecodablePixelData, match="Total Pixel Matrix"):
        slide_region([slide], Rendering())


def test_a_region_outside_of_the_slide_is_refused() -> None:
    with pytest.raises(InvalidQuery):
        slide_region([stored(a_slide(a_matrix()))], region(900, 900, 5, 5, width=9, height=9))


@pytest.mark.parametrize("file", ["sm_image.dcm", "sm_image_dots.dcm", "sm_image_numbers.dcm"])
def test_slides_of_other_makers_are_what_highdicom_reads(file: str) -> None:
    require_shared_data()
    read = highdicom.imread(SAMPLES / file)
    expected = read.get_total_pixel_matrix(
        apply_real_world_transform=False, apply_icc_profile=False
    )

    picture = slide_region([StoredObject.read(SAMPLES / file)], Rendering())

    assert np.array_equal(picture.pixels, expected.reshape(picture.pixels.shape))


def test_jpeg_tiles_are_put_together() -> None:
    require_shared_data()
    file = SAMPLES / "multiframe_camelyon_challenge_image.dcm"

    picture = slide_region([StoredObject.read(file)], region(width=300, height=300))

    assert picture.is_color
    assert max(picture.rows, picture.columns) == 300


@pytest.mark.parametrize(
    "file",
    ["seg_image_sm_control.dcm", "seg_image_sm_control_labelmap.dcm", "seg_image_sm_dots.dcm",
     "seg_image_sm_dots_tiled_full.dcm"],
)  # fmt: skip
def test_segmentations_of_slides_show_what_highdicom_reads(file: str) -> None:
    require_shared_data()
    segmentation = highdicom.seg.segread(SEGMENTATIONS / file)
    expected = segmentation.get_total_pixel_matrix(combine_segments=True, skip_overlap_checks=True)

    found = render_references(StoredObject.read(SEGMENTATIONS / file), {}, Rendering())

    pixels = found.shown[0].picture.pixels
    assert np.array_equal(pixels.max(axis=2) > 0, expected > 0)


def test_a_segmentation_lies_over_its_slide() -> None:
    require_shared_data()
    slide = StoredObject.read(SAMPLES / "sm_image_control.dcm")
    segmentation = StoredObject.read(SEGMENTATIONS / "seg_image_sm_control.dcm")
    uid = slide.attributes["00080018"]["Value"][0]
    expected = highdicom.seg.segread(
        SEGMENTATIONS / "seg_image_sm_control.dcm"
    ).get_total_pixel_matrix(combine_segments=True, skip_overlap_checks=True)

    found = render_references(segmentation, {uid: slide}, Rendering())

    assert [each.target.sop_instance_uid for each in found.shown] == [uid]
    bare = slide_region([slide], Rendering()).pixels
    changed = (found.shown[0].picture.pixels != bare).any(axis=2)
    assert np.array_equal(changed, expected > 0)
