"""The query of Rendered MPR and Rendered 3D; ids are those of the conformance cases."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicom.matching import Key, Single
from bfr_dicomweb.dicomweb import volume_parameters
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering.volume_parameters import (
    Between,
    Orientation,
    PrivateMatch,
    RenderingMethod,
    VolumeParameters,
    VolumeSelection,
)


def parsed(*pairs: tuple[str, str], mpr: bool = True) -> VolumeParameters:
    return volume_parameters.parse(pairs, mpr=mpr)


def test_nothing_has_to_be_asked_for() -> None:
    assert parsed() == VolumeParameters()


def test_what_is_no_parameter_of_volumes_is_left_alone() -> None:
    query = [("foo", "1"), ("window", "1,2,linear"), ("foo", "2"), ("MPRSLAB", "x")]
    assert parsed(*query) == VolumeParameters()


def test_a_reformatted_plane_is_asked_for_by_camera_and_slab() -> None:
    assert parsed(
        ("renderingmethod", "average_ip"),
        ("viewpointposition", "1,-200.5,3e1"),
        ("viewpointlookat", "0,0,0"),
        ("viewpointup", "0,0,1"),
        ("mprslab", "2.5"),
    ) == VolumeParameters(
        method=RenderingMethod.AVERAGE_IP,
        position=(1.0, -200.5, 30.0),
        look_at=(0.0, 0.0, 0.0),
        up=(0.0, 0.0, 1.0),
        slab_mm=2.5,
    )


def test_a_swivel_is_asked_for_by_range_step_and_rate() -> None:
    assert parsed(
        ("orientation", "l"),
        ("swivelrange", "180"),
        ("animationstepsize", "5"),
        ("animationrate", "12"),
        ("renderedvolumetricmetadata", "yes"),
        mpr=False,
    ) == VolumeParameters(
        orientation=Orientation.LEFT, swivel_degrees=180, step=5, rate=12, wants_metadata=True
    )


@pytest.mark.parametrize(
    "query",
    [
        [("volumetriccurvepoint", "0,0,0"), ("volumetriccurvepoint", "1,2,3")],
        [("volumetriccurvepoint", "0,0,0,1,2,3")],
    ],
)
def test_the_points_of_a_curve_are_parameters_or_a_list(query: list[tuple[str, str]]) -> None:
    assert parsed(*query).curve == ((0, 0, 0), (1, 2, 3))


REFUSED = {
    "VOL-03": ([("orientation", "a"), ("viewpointup", "0,0,1")], "viewpointup"),
    "VOL-03-lookat": ([("viewpointlookat", "0,0,1"), ("orientation", "a")], "viewpointlookat"),
    "VOL-05": ([("volumeinputreference", "1.2"), ("InstanceNumber", "1")], "volumeinputreference"),
    "VOL-09-zero": ([("mprslab", "0")], "mprslab"),
    "VOL-09-negative": ([("mprslab", "-1")], "mprslab"),
    "VOL-09-word": ([("mprslab", "x")], "mprslab"),
    "VOL-10": ([("renderingmethod", "foo")], "renderingmethod"),
    "slab-infinite": ([("mprslab", "1e400")], "mprslab"),
    "method-empty": ([("renderingmethod", "")], "renderingmethod"),
    "method-case": ([("renderingmethod", "AVERAGE_IP")], "renderingmethod"),
    "method-of-3d": ([("renderingmethod", "volume_rendered")], "renderingmethod"),
    "orientation-word": ([("orientation", "x")], "orientation"),
    "orientation-two": ([("orientation", "a,l")], "orientation"),
    "point-two": ([("viewpointposition", "1,2")], "viewpointposition"),
    "point-word": ([("viewpointlookat", "1,2,x")], "viewpointlookat"),
    "point-far": ([("viewpointlookat", "1,2,1e300")], "viewpointlookat"),
    "up-zero": ([("viewpointup", "0,0,0")], "viewpointup"),
    "twice": ([("mprslab", "1"), ("mprslab", "2")], "mprslab"),
    "swivel-of-3d": ([("swivelrange", "90")], "swivelrange"),
    "curve-one": ([("volumetriccurvepoint", "1,2,3")], "volumetriccurvepoint"),
    "curve-still": ([("volumetriccurvepoint", "1,2,3,1,2,3")], "volumetriccurvepoint"),
    "curve-broken": (
        [("volumetriccurvepoint", "1,2"), ("volumetriccurvepoint", "3,4,5,6")],
        "volumetriccurvepoint",
    ),
    "curve-long": ([("volumetriccurvepoint", ",".join("1" * 3003))], "volumetriccurvepoint"),
    "step-zero": ([("animationstepsize", "0")], "animationstepsize"),
    "step-decimal": ([("animationstepsize", "1.5")], "animationstepsize"),
    "rate-negative": ([("animationrate", "-1")], "animationrate"),
    "metadata-no": ([("renderedvolumetricmetadata", "no")], "renderedvolumetricmetadata"),
    "reference-word": ([("volumeinputreference", "x.y")], "volumeinputreference"),
    "reference-frame": ([("volumeinputreference", "1.2.3,0")], "volumeinputreference"),
    "reference-comma": ([("volumeinputreference", "1.2.3,")], "volumeinputreference"),
    "match-word": ([("InstanceNumber", "one")], "InstanceNumber"),
    "match-range": ([("EchoTime", "9-3")], "EchoTime"),
    "match-sequence": ([("ReferencedImageSequence", "x")], "ReferencedImageSequence"),
    "match-private": ([("00231002", "x")], "00231002"),
}  # fmt: skip


@pytest.mark.parametrize(("query", "parameter"), REFUSED.values(), ids=REFUSED)
def test_a_parameter_that_breaks_its_section_is_named(
    query: list[tuple[str, str]], parameter: str
) -> None:
    with pytest.raises(InvalidQuery, match=f"^{parameter}:"):
        parsed(*query)


@pytest.mark.parametrize("name", ["mprslab", "volumetriccurvepoint"])
def test_what_is_for_planes_is_refused_of_3d(name: str) -> None:
    with pytest.raises(InvalidQuery, match="renderedmpr"):
        parsed((name, "1"), mpr=False)


@pytest.mark.parametrize("text", ["0", "-5", "361", "x", ""])
def test_a_swivel_range_that_is_no_part_of_a_turn_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="swivelrange"):
        parsed(("swivelrange", text), mpr=False)


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("1.2.3", VolumeSelection("1.2.3")),
        ("1.2.3,7", VolumeSelection("1.2.3", 7)),
        ("7", VolumeSelection(None, 7)),
    ],
)
def test_a_volume_is_referred_to_by_instance_and_frame(
    text: str, selection: VolumeSelection
) -> None:
    assert parsed(("volumeinputreference", text)).selection == selection


def test_a_volume_is_selected_by_values_of_attributes() -> None:
    selection = parsed(
        ("AcquisitionNumber", "2"),
        ("CardiacRRIntervalSpecified", "140-260"),
        ("ImageType", "*"),
        ("00230010", "AcmeCompany"),
        ("00231002", "17"),
    ).selection
    assert selection.matches[1:] == (
        Between(("00189070",), 140, 260),
        PrivateMatch("00231002", "AcmeCompany", "17"),
    )


def test_text_is_matched_as_in_a_search() -> None:
    assert parsed(("StackID", "1")).selection.matches == (Key(("00209056",), Single("1")),)


@pytest.mark.parametrize(
    "pair",
    [
        ("volumeinputreference", "1.2.3"),
        ("renderingmethod", "maximum_ip"),
        ("mprslab", "5"),
        ("swivelrange", "90"),
        ("volumetriccurvepoint", "1,2,3"),
        ("animationstepsize", "5"),
        ("animationrate", "5"),
        ("renderedvolumetricmetadata", "yes"),
        ("StackID", "1"),
    ],
)
def test_a_presentation_state_takes_no_parameter_that_it_has_itself(pair: tuple[str, str]) -> None:
    with pytest.raises(InvalidQuery, match="presentation state"):
        volume_parameters.check_with_presentation_state([pair])


@pytest.mark.parametrize(
    "pair", [("orientation", "a"), ("viewpointposition", "1,2,3"), ("viewport", "5,5")]
)
def test_a_presentation_state_is_seen_with_another_camera(pair: tuple[str, str]) -> None:
    volume_parameters.check_with_presentation_state([pair])


NAMES = st.sampled_from(
    [
        *volume_parameters.NOT_WITH_PRESENTATION_STATE, "orientation", "viewpointposition",
        "viewpointup", "EchoTime", "ImageType", "00231001", "00230010", "StudyDate",
    ]
)  # fmt: skip


@given(st.lists(st.tuples(NAMES, st.text(max_size=30)), max_size=5), st.booleans())
def test_whatever_is_sent_is_read_or_refused(pairs: list[tuple[str, str]], mpr: bool) -> None:
    with contextlib.suppress(InvalidQuery):
        volume_parameters.parse(pairs, mpr=mpr)
