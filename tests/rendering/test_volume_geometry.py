"""What is a volume and what is none (PS3.3 section C.11.23.1), from attributes alone."""

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom.matching import Key, Single
from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import ArchiveError, InvalidQuery, NoVolume, TooLarge
from bfr_dicomweb.rendering import volume_geometry
from bfr_dicomweb.rendering.volume_geometry import (
    LARGEST,
    Frames,
    Slice,
    VolumeGeometry,
    volume_of,
)
from bfr_dicomweb.rendering.volume_parameters import Between, PrivateMatch, VolumeSelection
from shared_data import SHARED, require_shared_data
from stored_images import a_stored_image, an_item
from volumes import a_multi_frame, a_stored_series

PLANES = np.zeros((4, 6, 8), np.int16)
TURNS = [(1, 0), (0.8, 0.6), (0.6, 0.8), (0, 1)]


def found(
    objects: list[StoredObject],
    selection: VolumeSelection = LARGEST,
    frame_indexes: Frames | None = None,
) -> VolumeGeometry:
    attributes = [stored.attributes for stored in objects]
    return volume_of(attributes, selection, frame_indexes=frame_indexes)


def test_parallel_images_are_a_volume() -> None:
    geometry = found(a_stored_series(PLANES, spacing=(0.5, 0.25), first=(1, 2, 3)))

    assert (geometry.rows, geometry.columns) == (6, 8)
    assert (geometry.row_spacing, geometry.column_spacing) == (0.5, 0.25)
    assert geometry.origin == (1, 2, 3)
    assert geometry.normal == (0, 0, 1)
    assert geometry.distances == (0, 1, 2, 3)
    assert geometry.size_bytes == PLANES.nbytes


SERIES = a_stored_series(PLANES)


@given(st.permutations(range(4)))
def test_slices_lie_along_the_normal_in_whatever_order_they_come(order: list[int]) -> None:
    series = [SERIES[at] for at in order]

    assert [series[part.instance] for part in found(series).slices] == SERIES


def test_slices_may_have_gaps_of_any_size() -> None:
    heights = (0, 1, 5, 5.5)
    geometry = found(a_stored_series(PLANES, positions=[(0, 0, z) for z in heights]))

    assert geometry.distances == heights
    assert not geometry.is_even


def test_slices_on_their_way_down_are_turned_round() -> None:
    directions = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    heights = [(0, 0, z) for z in (0, 1, 2, 3)]
    geometry = found(a_stored_series(PLANES, directions=directions, positions=heights))

    assert geometry.normal == (0, 0, -1)
    assert geometry.origin == (0, 0, 3)


NO_VOLUME: dict[str, tuple[list[StoredObject], str]] = {
    "VOL-08": ([a_stored_image(np.zeros((4, 4, 3), np.uint8))], "RGB"),
    "one": (SERIES[:1], "more than one image"),
    "inverted": (a_stored_series(PLANES, PhotometricInterpretation="MONOCHROME1"), "MONOCHROME1"),
    "no-position": (a_stored_series(PLANES, ImagePositionPatient=None), "no position"),
    "no-spacing": (a_stored_series(PLANES, PixelSpacing=None), "Pixel Spacing"),
    "same-position": (a_stored_series(PLANES, positions=[(0, 0, 0)] * 4), "same position"),
    "tilted": (
        a_stored_series(PLANES, positions=[(0, 2 * at, at) for at in range(4)]),
        "tilted gantry",
    ),
    "beside": (
        a_stored_series(PLANES, positions=[(8 * at, 0, 0) for at in range(4)]),
        "beside each other",
    ),
    "skew": (a_stored_series(PLANES, directions=(1.0, 0, 0, 0.1, 1, 0)), "perpendicular"),
    "different-series": (
        a_stored_series(PLANES, each=lambda at: {"SeriesInstanceUID": f"1.2.{at}"}),
        "more than one image",
    ),
    "different-space": (
        a_stored_series(PLANES, each=lambda at: {"FrameOfReferenceUID": f"1.2.{at}"}),
        "more than one image",
    ),
    "different-spacing": (
        a_stored_series(PLANES, each=lambda at: {"PixelSpacing": [1, 1 + at / 10]}),
        "more than one image",
    ),
    "different-bits": (
        a_stored_series(PLANES, each=lambda at: {"BitsStored": 12 + at}),
        "more than one image",
    ),
    "turning": (
        a_stored_series(
            PLANES,
            each=lambda at: {"ImageOrientationPatient": [1, 0, 0, 0, *TURNS[at]]},
        ),
        "more than one image",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("objects", "reason"), NO_VOLUME.values(), ids=NO_VOLUME)
def test_what_is_no_volume_is_refused_with_the_reason(
    objects: list[StoredObject], reason: str
) -> None:
    with pytest.raises(NoVolume, match=reason):
        found(objects)


def test_what_has_no_pixel_data_is_no_volume() -> None:
    without = [{k: v for k, v in s.attributes.items() if k != "7FE00010"} for s in SERIES]
    with pytest.raises(NoVolume, match="Pixel Data"):
        volume_of(without)


def test_nothing_is_no_volume() -> None:
    with pytest.raises(NoVolume):
        volume_of([])


def test_a_volume_beyond_the_limit_is_refused_by_what_it_declares() -> None:
    huge = a_stored_series(PLANES, Rows=65535, Columns=65535)
    with pytest.raises(TooLarge, match="MiB"):
        found(huge)


def test_declared_frames_beyond_the_limit_are_not_counted_out() -> None:
    endless = a_stored_series(PLANES, NumberOfFrames=2_000_000_000)
    with pytest.raises(TooLarge, match="images"):
        found(endless)


def test_images_that_do_not_belong_to_the_stack_are_left_out() -> None:
    localizer = a_stored_series(
        PLANES[:1],
        directions=(1.0, 0, 0, 0, 0, -1),
        SeriesInstanceUID=SERIES[0].attributes["0020000E"]["Value"][0],
    )

    assert {part.instance for part in found([*localizer, *SERIES]).slices} == {1, 2, 3, 4}


def phases(at: int) -> dict[str, Any]:
    return {"ImagePositionPatient": [0, 0, at // 2], "TemporalPositionIdentifier": at % 2 + 1}


PHASES = a_stored_series(np.zeros((8, 6, 8), np.int16), each=phases)


def test_phases_at_the_same_positions_are_volumes_of_their_own() -> None:
    assert [part.instance for part in found(PHASES).slices] == [0, 2, 4, 6]


def test_a_volume_is_selected_by_one_of_its_instances() -> None:
    wanted = PHASES[5].attributes["00080018"]["Value"][0]
    geometry = found(PHASES, VolumeSelection(wanted))

    assert [part.instance for part in geometry.slices] == [1, 3, 5, 7]


def test_a_volume_is_selected_by_the_value_of_an_attribute() -> None:
    second = Key(("00200100",), Single("2"))
    geometry = found(PHASES, VolumeSelection(matches=(second,)))

    assert [part.instance for part in geometry.slices] == [1, 3, 5, 7]


def test_a_reference_to_an_instance_elsewhere_is_refused() -> None:
    """VOL-04"""
    with pytest.raises(InvalidQuery, match="volumeinputreference: no such instance"):
        found(SERIES, VolumeSelection("1.2.3.4"))


@pytest.mark.parametrize("frame_number", [2, 10**9])
def test_a_reference_to_a_frame_that_is_not_there_is_refused(frame_number: int) -> None:
    uid = SERIES[0].attributes["00080018"]["Value"][0]
    with pytest.raises(InvalidQuery, match="volumeinputreference: no such frame"):
        found(SERIES, VolumeSelection(uid, frame_number))


def test_a_reference_to_what_is_part_of_no_volume_is_refused() -> None:
    alone = a_stored_series(PLANES[:1])
    uid = alone[0].attributes["00080018"]["Value"][0]
    with pytest.raises(InvalidQuery, match="volumeinputreference: is part of no volume"):
        found([*SERIES, *alone], VolumeSelection(uid))


def test_values_that_no_volume_has_are_refused() -> None:
    with pytest.raises(InvalidQuery, match="no volume"):
        found(SERIES, VolumeSelection(matches=(Key(("00200013",), Single("77")),)))


def test_the_largest_volume_is_the_one_by_default() -> None:
    larger = a_stored_series(np.zeros((5, 6, 8), np.int16))

    assert {part.instance for part in found([*SERIES, *larger]).slices} == {4, 5, 6, 7, 8}


MEASURES = {
    "PixelMeasuresSequence": an_item(PixelSpacing=[0.5, 0.5], SliceThickness=1),
    "PlaneOrientationSequence": an_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
}


def frame_groups(at: int) -> dict[str, Dataset]:
    private = an_item()
    private.add_new(0x00210010, "LO", "ACME")
    private.add_new(0x00211042, "LO", "late" if at % 2 else "early")
    return {
        "PlanePositionSequence": an_item(ImagePositionPatient=[0, 0, 2 * (at // 2)]),
        "FrameContentSequence": an_item(TemporalPositionIndex=at % 2 + 1, StackID="1"),
        "CardiacSynchronizationSequence": an_item(RRIntervalTimeNominal=100.0 + 50 * (at % 2)),
        "FrameAnatomySequence": private,
    }


def enhanced() -> StoredObject:
    return a_multi_frame(np.zeros((6, 6, 8), np.uint16), frame_groups, MEASURES)


@pytest.mark.parametrize(
    ("match", "frames"),
    [
        (Between(("00209251",), 140, 260), [1, 3, 5]),
        (Between(("00209251",), 90, 110), [0, 2, 4]),
        (PrivateMatch("00211142", "ACME", "late"), [1, 3, 5]),
    ],
)
def test_the_frames_of_an_enhanced_image_are_matched_by_their_groups(
    match: Between | PrivateMatch, frames: list[int]
) -> None:
    geometry = found([enhanced()], VolumeSelection(matches=(match,)))

    assert geometry.slices == tuple(Slice(0, index) for index in frames)
    assert geometry.slice_spacing == 2


def test_a_frame_of_the_only_instance_needs_no_uid() -> None:
    geometry = found([enhanced()], VolumeSelection(None, 2))

    assert [part.frame_index for part in geometry.slices] == [1, 3, 5]


def test_the_frames_of_the_target_are_those_that_can_be_in_the_volume() -> None:
    geometry = found([enhanced()], frame_indexes={0: (0, 2)})

    assert geometry.slices == (Slice(0, 0), Slice(0, 2))


def test_frames_without_positions_of_their_own_are_no_volume() -> None:
    cine = a_multi_frame(np.zeros((6, 6, 8), np.uint16), lambda _: {}, MEASURES)
    with pytest.raises(NoVolume, match="positions of their own"):
        found([cine])


def test_frames_may_lie_in_the_space_of_the_volume() -> None:
    """Enhanced US volumes (PS3.3 section C.8.24.2)."""
    frames = a_multi_frame(
        np.zeros((3, 6, 8), np.uint8),
        lambda at: {"PlanePositionVolumeSequence": an_item(ImagePositionVolume=[1, 2, at])},
        {
            "PixelMeasuresSequence": an_item(PixelSpacing=[0.5, 0.5]),
            "PlaneOrientationVolumeSequence": an_item(ImageOrientationVolume=[1, 0, 0, 0, 1, 0]),
        },
    )
    geometry = found([frames])

    assert geometry.origin == (1, 2, 0)
    assert geometry.size_bytes == 3 * 6 * 8


JUNK = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just({}),
    st.just({"00280010": {"vr": "PN", "Value": [{"Alphabetic": "x"}]}}),
)
ELEMENT = st.builds(
    lambda vr, values: {"vr": vr, "Value": values},
    st.sampled_from(["DS", "SQ", "PN", "US"]),
    st.lists(JUNK, max_size=6),
)
TAGS = st.sampled_from(
    ["00080018", "00200032", "00200037", "00280002", "00280004", "00280008", "00280010",
     "00280011", "00280030", "00280100", "52009229", "52009230", "3004000C", "00200052"]
)  # fmt: skip


@given(st.dictionaries(TAGS, ELEMENT, max_size=4), st.integers(0, 3))
def test_broken_attributes_are_refused_or_left_out(junk: dict[str, Any], place: int) -> None:
    attributes = [dict(stored.attributes) for stored in SERIES]
    attributes[place].update(junk)
    with contextlib.suppress(ArchiveError):
        volume_of(attributes, VolumeSelection("1.2.3"))
    with contextlib.suppress(ArchiveError):
        volume_of(attributes, VolumeSelection(matches=(Between(("00280010",), 1, 9),)))


SAMPLES = {
    "CT_series_28": 28,
    "MR_series_T1_29": 29,
    "MR_series_ADC_20": 20,
    "CT_enhanced": 2,
    "RTDOSE": 15,
}


@pytest.mark.parametrize(("folder", "slices"), SAMPLES.items())
def test_a_sample_is_a_volume_of_all_its_slices(folder: str, slices: int) -> None:
    require_shared_data()
    files = sorted((SHARED / "dicom/by_modality" / folder).iterdir())

    assert len(found([StoredObject.read(file) for file in files]).slices) == slices


def test_thousands_of_images_that_nothing_tells_apart_are_soon_refused() -> None:
    attributes = [SERIES[at % 4].attributes for at in range(4000)]
    with pytest.raises(NoVolume):
        volume_geometry.volume_of(attributes)
