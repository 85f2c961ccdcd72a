"""The query of rendered resources (PS3.18 section 8.3.5), by ids of the conformance cases."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicomweb import rendering_parameters
from bfr_dicomweb.dicomweb.rendering_parameters import MAX_VIEWPORT
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering.parameters import (
    Annotation,
    IccProfile,
    Rendering,
    Viewport,
    Window,
    WindowFunction,
)

REFUSED = {
    "REN-12-one": ("window", "40"),
    "REN-12-two": ("window", "40,400"),
    "REN-12-function": ("window", "40,400,foo"),
    "REN-12-number": ("window", "a,b,linear"),
    "REN-13": ("window", "40,0,linear"),
    "window-exact": ("window", "40,0,linear-exact"),
    "window-nan": ("window", "nan,400,linear"),
    "REN-19-one": ("viewport", "32"),
    "REN-19-zero": ("viewport", "0,10"),
    "REN-19-word": ("viewport", "a,b"),
    "REN-19-seven": ("viewport", "1,2,3,4,5,6,7"),
    "viewport-decimal": ("viewport", "1.5,2"),
    "viewport-large": ("viewport", f"{MAX_VIEWPORT + 1},10"),
    "viewport-before": ("viewport", "10,10,-1,0"),
    "viewport-empty": ("viewport", "10,10,,,0,5"),
    "REN-22-zero": ("quality", "0"),
    "REN-22-more": ("quality", "101"),
    "REN-22-word": ("quality", "x"),
    "REN-22-empty": ("quality", ""),
    "REN-25": ("annotation", ""),
    "annotation-no-keyword": ("annotation", "patient,a b"),
    "REN-29": ("iccprofile", "foo"),
}


@pytest.mark.parametrize(("name", "value"), REFUSED.values(), ids=list(REFUSED))
def test_an_invalid_value_is_refused_by_the_name_of_its_parameter(name: str, value: str) -> None:
    with pytest.raises(InvalidQuery, match=name):
        rendering_parameters.parse([(name, value)])


def test_a_parameter_is_given_once() -> None:
    with pytest.raises(InvalidQuery, match="more than once"):
        rendering_parameters.parse([("quality", "1"), ("quality", "1")])


TAKEN = {
    "nothing": ([], Rendering()),
    "window": (
        [("window", "-1.5e2,400,sigmoid")],
        Rendering(window=Window(-150, 400, WindowFunction.SIGMOID)),
    ),
    "narrow": (
        [("window", "0,0.5,linear-exact")],
        Rendering(window=Window(0, 0.5, WindowFunction.LINEAR_EXACT)),
    ),
    "size": ([("viewport", "512,256")], Rendering(viewport=Viewport(512, 256))),
    "elided": (
        [("viewport", "512,512,,,512,-512")],
        Rendering(viewport=Viewport(512, 512, 0, 0, 512, -512)),
    ),
    "corner": (
        [("viewport", "512,512,10.5,20")],
        Rendering(viewport=Viewport(512, 512, 10.5, 20)),
    ),
    "quality": ([("quality", "100")], Rendering(quality=100)),
    "annotation": (
        [("annotation", "technique,patient")],
        Rendering(annotations=frozenset(Annotation)),
    ),
    "profile": ([("iccprofile", "srgb")], Rendering(icc_profile=IccProfile.SRGB)),
    "unknown": ([("shoesize", "43")], Rendering()),
}


@pytest.mark.parametrize(("pairs", "rendering"), TAKEN.values(), ids=list(TAKEN))
def test_what_is_asked_is_understood(pairs: list[tuple[str, str]], rendering: Rendering) -> None:
    assert rendering_parameters.parse(pairs).rendering == rendering


def test_an_annotation_that_is_not_known_is_named_in_a_warning() -> None:
    """REN-24"""
    asked = rendering_parameters.parse([("annotation", "foo,patient")])

    assert asked.warnings() == ["The following annotation values are not supported: foo"]
    assert asked.rendering.annotations == {Annotation.PATIENT}


def test_a_thumbnail_takes_a_size_alone() -> None:
    """THU-04"""
    assert rendering_parameters.parse_thumbnail([("viewport", "32,48")]) == Viewport(32, 48)
    with pytest.raises(InvalidQuery, match="viewport"):
        rendering_parameters.parse_thumbnail([("viewport", "32,32,0,0,8,8")])


@pytest.mark.parametrize(
    "pair", [("window", "1,2,linear"), ("viewport", "10,10,0,0,5,5")], ids=["REN-32", "REN-33"]
)
def test_a_presentation_state_takes_neither_window_nor_region(pair: tuple[str, str]) -> None:
    asked = rendering_parameters.parse([pair])
    with pytest.raises(InvalidQuery, match=pair[0]):
        rendering_parameters.require_presentation(asked.rendering)


NAMES = ("window", "viewport", "quality", "annotation", "iccprofile")
VALUES = st.one_of(
    st.text(max_size=20),
    st.lists(
        st.floats().map(str) | st.integers().map(str) | st.sampled_from(["", "linear"]), max_size=7
    ).map(",".join),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_whatever_is_asked_is_understood_or_refused_by_name(asked: dict[str, str]) -> None:
    with contextlib.suppress(InvalidQuery):
        rendering_parameters.parse(list(asked.items()))
