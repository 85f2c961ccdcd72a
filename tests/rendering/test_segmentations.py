"""Segmentations over their images, compared with what highdicom reads out of them."""

from collections.abc import Sequence
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.references import Reason, Shown
from bfr_dicomweb.rendering.referring import Result, references_of, render_references
from objects import uid
from segmentation_objects import SIDE, a_segmentation, described, slices
from shared_data import SHARED, require_shared_data
from stored_images import stored

SAMPLES = SHARED / "dicom" / "by_modality" / "SEG"
Masks = npt.NDArray[Any]


def shown(
    segmentation: Dataset,
    images: Sequence[Dataset],
    rendering: Rendering = Rendering(),  # noqa: B008
) -> Result:
    archive = {image.SOPInstanceUID: stored(image) for image in images}
    return render_references(stored(segmentation), archive, rendering)


def colored(picture: Picture) -> npt.NDArray[np.bool_]:
    """Where something is shown on black."""
    pixels = picture.pixels
    found: npt.NDArray[np.bool_] = pixels.max(axis=2) > 0 if picture.is_color else pixels > 0
    return found


def blobs(segments: int = 1) -> Masks:
    """Three slices; each segment is a rectangle of its own in each."""
    masks = np.zeros((3, SIDE, SIDE, segments), np.bool_)
    for place in range(3):
        for segment in range(segments):
            masks[place, 2 + place : 6 + place, 1 + 7 * segment : 6 + 7 * segment, segment] = True
    return masks


def by_target(result: Result) -> dict[str, Shown]:
    return {each.target.sop_instance_uid: each for each in result.shown}


def test_each_slice_shows_what_highdicom_reads_for_it() -> None:
    sources = slices()
    segmentation = a_segmentation(sources, blobs(2))
    uids = [source.SOPInstanceUID for source in sources]
    expected = segmentation.get_pixels_by_source_instance(uids).max(axis=3) > 0

    found = by_target(shown(segmentation, sources))

    for source, mask in zip(uids, expected, strict=True):
        assert np.array_equal(colored(found[source].picture), mask)


def test_slices_are_shown_along_their_normal_and_none_without_a_segment() -> None:
    sources = slices()
    masks = blobs()
    masks[1] = False
    segmentation = a_segmentation(sources[::-1], masks[::-1])

    found = shown(segmentation, sources)

    shown_uids = [each.target.sop_instance_uid for each in found.shown]
    assert shown_uids == [sources[0].SOPInstanceUID, sources[2].SOPInstanceUID]
    assert not found.left_out


def test_the_image_is_seen_through_a_segment() -> None:
    sources = slices(WindowCenter=0, WindowWidth=2000)
    dark, _, light = sources
    light.PixelData = np.full((SIDE, SIDE), 900, "<u2").tobytes()

    found = by_target(shown(a_segmentation(sources, blobs()), sources))

    inside = {
        "dark": found[dark.SOPInstanceUID].picture.pixels[4, 3],
        "light": found[light.SOPInstanceUID].picture.pixels[6, 3],
    }
    assert (inside["light"] > inside["dark"]).all()
    assert len(set(inside["dark"].tolist())) > 1


def test_the_edge_of_a_segment_stands_out() -> None:
    sources = slices()

    picture = by_target(shown(a_segmentation(sources, blobs()), sources))[
        sources[0].SOPInstanceUID
    ].picture

    assert picture.pixels[2, 1].max() > 2 * picture.pixels[4, 3].max()


def test_segments_have_their_recommended_colours() -> None:
    sources = slices()
    green = [round(87.8 / 100 * 65535), round((-79.3 + 128) * 257), round((81.0 + 128) * 257)]
    segments = [described(1, color=green)]

    found = shown(a_segmentation(sources, blobs(), segments=segments), sources)

    edge = found.shown[0].picture.pixels[2, 1]
    assert edge[1] > 220
    assert max(edge[0], edge[2]) < 30


def test_segments_without_colours_are_told_apart() -> None:
    sources = slices()

    picture = shown(a_segmentation(sources, blobs(2)), sources).shown[0].picture

    first, second = (picture.pixels[2, column].astype(int) for column in (1, 8))
    assert np.abs(first - second).max() > 60


def test_fractions_are_shown_by_how_much_they_cover() -> None:
    sources = slices()
    fractions = np.zeros((3, SIDE, SIDE))
    fractions[0, 2:14, 2:14] = np.linspace(0.1, 0.45, 12)

    found = shown(a_segmentation(sources, fractions, kind="FRACTIONAL"), sources)

    row = found.shown[0].picture.pixels[7, 2:14].max(axis=1).astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[-1] > 3 * row[0]


def test_labels_of_a_label_map_are_segments() -> None:
    sources = slices()
    labels = blobs(2)[..., 0].astype(np.uint8) + 2 * blobs(2)[..., 1].astype(np.uint8)
    segmentation = a_segmentation(sources, labels, kind="LABELMAP")

    found = shown(segmentation, sources)

    picture = found.shown[0].picture
    assert np.array_equal(colored(picture), labels[0] > 0)
    assert picture.pixels[2, 1].tolist() != picture.pixels[2, 8].tolist()


def test_slices_are_found_by_their_planes_where_no_source_is_named() -> None:
    sources = slices()
    segmentation = a_segmentation(sources, blobs())
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence

    found = by_target(shown(segmentation, sources))

    assert set(found) == {source.SOPInstanceUID for source in sources}
    for source, mask in zip(sources, blobs()[..., 0], strict=True):
        assert np.array_equal(colored(found[source.SOPInstanceUID].picture), mask)


def test_images_of_another_frame_of_reference_are_not_laid_under() -> None:
    sources = slices()
    others = slices(FrameOfReferenceUID="2.25.8")
    segmentation = a_segmentation(sources, blobs())

    found = shown(segmentation, others)

    assert {each.target.sop_instance_uid for each in found.shown} == {segmentation.SOPInstanceUID}


def test_finer_segments_lie_where_they_belong() -> None:
    sources = slices()
    segmentation = a_segmentation(sources, blobs())
    # the same rectangle in a grid of half the spacing that begins two pixels further in
    segmentation.Rows = segmentation.Columns = 2 * SIDE - 8
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [0.5, 0.5]
    fine = np.repeat(np.repeat(blobs()[..., 0], 2, axis=1), 2, axis=2)[:, 4:-4, 4:-4]
    segmentation.PixelData = np.packbits(fine.ravel(), bitorder="little").tobytes()
    for place, frame in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        # centers of fine pixels lie a quarter of a pixel off those of large ones
        frame.PlanePositionSequence[0].ImagePositionPatient = [1.75, 1.75, place]

    found = by_target(shown(segmentation, sources))

    for source, mask in zip(sources, blobs()[..., 0], strict=True):
        within = mask.copy()
        within[:2] = within[:, :2] = False
        assert np.array_equal(colored(found[source.SOPInstanceUID].picture), within)


def test_frames_without_their_images_are_shown_on_black() -> None:
    sources = slices()
    segmentation = a_segmentation(sources, blobs())

    found = shown(segmentation, [])

    assert sorted(each.target.own_frames for each in found.shown) == [(1,), (2,), (3,)]
    assert {each.target.sop_instance_uid for each in found.shown} == {segmentation.SOPInstanceUID}
    assert np.array_equal(colored(found.shown[1].picture), blobs()[1, ..., 0])
    assert [each.reason for each in found.left_out] == [Reason.NOT_STORED] * 3


def test_images_are_referenced_with_their_series() -> None:
    sources = slices()

    found = references_of(stored(a_segmentation(sources, blobs())))

    assert [each.sop_instance_uid for each in found] == [
        source.SOPInstanceUID for source in sources
    ]
    assert {each.series_instance_uid for each in found} == {sources[0].SeriesInstanceUID}


def test_one_picture_has_all_segments_of_a_slice() -> None:
    sources = slices()

    found = shown(a_segmentation(sources, blobs(2)), sources)

    assert sorted(len(each.target.own_frames) for each in found.shown) == [2, 2, 2]


def test_a_frame_of_a_multiframe_image_is_laid_under() -> None:
    frames = slices()
    image = frames[0]
    image.NumberOfFrames = 3
    image.PixelData = b"".join(np.full((SIDE, SIDE), n, "<u2").tobytes() for n in range(3))
    del image.ImagePositionPatient
    segmentation = a_segmentation(slices(), blobs())
    for place, frame in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID = image.SOPInstanceUID
        source.ReferencedFrameNumber = 3 - place

    found = shown(segmentation, [image])

    assert [(each.target.frame_number, each.target.own_frames) for each in found.shown] == [
        (3, (1,)),
        (2, (2,)),
        (1, (3,)),
    ]


def test_edges_are_as_fine_as_the_viewport_is_large() -> None:
    sources = slices()
    rendering = Rendering(viewport=Viewport(256, 256))

    picture = shown(a_segmentation(sources, blobs()), sources, rendering).shown[0].picture

    # the rectangle is 80 pixels high there, and its edge one
    column = picture.pixels[:, 56].max(axis=1)
    assert (column > 200).sum() <= 4
    assert 70 < (column > 0).sum() < 95


def test_labels_of_segments_are_written_on_large_pictures_only() -> None:
    sources = slices()
    segmentation = a_segmentation(sources, blobs(), segments=[described(1, "Lever, höger lob")])

    small, large = (
        shown(segmentation, sources, Rendering(viewport=Viewport(side, side))).shown[0].picture
        for side in (128, 512)
    )

    assert not small.pixels[96:, 64:].any()
    assert large.pixels[460:, 256:].any()


@pytest.mark.parametrize(
    ("file", "pictures"),
    [
        ("seg_image_ct_binary_single_frame.dcm", 1),
        ("seg_image_ct_binary_overlap.dcm", 4),
        ("seg_image_ct_true_fractional.dcm", 3),
        ("sparse-labelmap-ppv5.dcm", 2),
        ("label.seg", 3),
    ],
)
def test_segmentations_of_other_makers_are_shown(file: str, pictures: int) -> None:
    require_shared_data()
    opened = StoredObject.read(SAMPLES / "ct_image.dcm")
    archive = {opened.attributes["00080018"]["Value"][0]: opened}

    found = render_references(StoredObject.read(SAMPLES / file), archive, Rendering())

    assert len(found.shown) == pictures
    assert any(each.picture.is_color for each in found.shown)


def test_a_single_frame_of_another_maker_shows_what_highdicom_reads() -> None:
    require_shared_data()
    file = SAMPLES / "seg_image_ct_binary_single_frame.dcm"
    opened = StoredObject.read(SAMPLES / "ct_image.dcm")
    source = opened.attributes["00080018"]["Value"][0]
    expected = highdicom.seg.segread(file).get_pixels_by_source_instance([source])[0, :, :, 0]

    picture = render_references(StoredObject.read(file), {source: opened}, Rendering()).shown[0]

    tinted = np.ptp(picture.picture.pixels.astype(int), axis=2) > 0
    assert np.array_equal(tinted, expected > 0)


def test_a_broken_segmentation_is_no_bug() -> None:
    sources = slices()
    segmentation = a_segmentation(sources, blobs())
    del segmentation.SegmentSequence
    del segmentation.PerFrameFunctionalGroupsSequence
    del segmentation.SharedFunctionalGroupsSequence
    segmentation.SOPInstanceUID = uid()

    assert len(shown(segmentation, sources).shown) == 3
