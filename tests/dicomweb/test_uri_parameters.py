"""The query of the URI service (PS3.18 chapter 9); ids are those of the conformance cases."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicomweb.rendering_parameters import MAX_VIEWPORT
from bfr_dicomweb.dicomweb.uri_parameters import UriRendering, UriRequest
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.rendering.parameters import (
    Annotation,
    Region,
    Rendering,
    Viewport,
    Window,
)

MANDATORY = {
    "requestType": "WADO",
    "studyUID": "1.2.3",
    "seriesUID": "1.2.4",
    "objectUID": "1.2.5",
}


def parsed(**parameters: str) -> UriRequest:
    return UriRequest.parse(list((MANDATORY | parameters).items()))


def test_the_four_mandatory_parameters_are_enough() -> None:
    assert parsed() == UriRequest(Ref("1.2.3", "1.2.4", "1.2.5"))


@pytest.mark.parametrize("name", MANDATORY)
def test_a_mandatory_parameter_that_is_missing_is_refused(name: str) -> None:
    """URI-02, URI-04"""
    pairs = [(key, value) for key, value in MANDATORY.items() if key != name]

    with pytest.raises(InvalidQuery, match=name):
        UriRequest.parse(pairs)


@pytest.mark.parametrize("name", MANDATORY)
def test_a_parameter_that_is_given_twice_is_refused(name: str) -> None:
    with pytest.raises(InvalidQuery, match="more than once"):
        UriRequest.parse([*MANDATORY.items(), (name, MANDATORY[name])])


def test_the_order_of_the_parameters_does_not_matter() -> None:
    """URI-07"""
    assert UriRequest.parse(list(reversed(MANDATORY.items()))) == parsed()


def test_an_unknown_parameter_is_ignored() -> None:
    assert parsed(colour="red") == parsed()


REFUSED = {
    "URI-03": ({"requestType": "FOO"}, "requestType"),
    "URI-04-syntax": ({"studyUID": "one"}, "studyUID"),
    "URI-08": ({"contentType": "application/dicom;transfer-syntax=1.2.840.10008.1.2"}, "content"),
    "URI-08-charset": ({"contentType": "text/html;charset=utf-8"}, "charset"),
    "URI-11": ({"transferSyntax": "abc"}, "transferSyntax"),
    "URI-12": ({"anonymize": "no"}, "anonymize"),
    "URI-12-empty": ({"anonymize": ""}, "anonymize"),
    "URI-15-zero": ({"frameNumber": "0"}, "frameNumber"),
    "URI-15-fraction": ({"frameNumber": "1.5"}, "frameNumber"),
    "URI-17": ({"windowCenter": "40"}, "windowWidth"),
    "URI-17-width": ({"windowWidth": "40"}, "windowCenter"),
    "URI-18": (
        {"contentType": "application/dicom", "windowCenter": "40", "windowWidth": "400"},
        "windowCenter",
    ),
    "URI-19": ({"windowCenter": "a", "windowWidth": "1"}, "windowCenter"),
    "URI-19-nan": ({"windowCenter": "nan", "windowWidth": "1"}, "windowCenter"),
    "URI-19-width": ({"windowCenter": "1", "windowWidth": "0"}, "windowWidth"),
    "URI-20": ({"region": "0.5,0,0.25,1"}, "region"),
    "URI-20-above": ({"region": "0,0,1,1.5"}, "region"),
    "URI-21": ({"region": "0,0,0.5"}, "region"),
    "URI-21-word": ({"region": "0,0,x,1"}, "region"),
    "URI-23-zero": ({"rows": "0"}, "rows"),
    "URI-24-minus": ({"columns": "-1"}, "columns"),
    "URI-25": (
        {
            "presentationUID": "1.2.6",
            "presentationSeriesUID": "1.2.7",
            "windowCenter": "1",
            "windowWidth": "2",
        },
        "windowCenter",
    ),
    "URI-25-frame": (
        {"presentationUID": "1.2.6", "presentationSeriesUID": "1.2.7", "frameNumber": "1"},
        "frameNumber",
    ),
    "URI-26": ({"presentationUID": "1.2.6"}, "presentationUID"),
    "URI-26-series": ({"presentationSeriesUID": "1.2.6"}, "presentationSeriesUID"),
    "URI-28-zero": ({"imageQuality": "0"}, "imageQuality"),
    "URI-28-101": ({"imageQuality": "101"}, "imageQuality"),
    "URI-28-word": ({"imageQuality": "x"}, "imageQuality"),
    "8.3.5.1.1-empty": ({"annotation": ""}, "annotation"),
    "8.3.5.1.1-word": ({"imageAnnotation": "shoe"}, "imageAnnotation"),
    "9.1.2.2.1-mixed": ({"contentType": "application/dicom,image/jpeg"}, "mixes"),
    "9.1.2.2.1-wildcard": ({"contentType": "image/*"}, "wildcards"),
    "9.1.2.2.1-syntax": ({"contentType": "jpeg"}, "contentType"),
}


@pytest.mark.parametrize(("parameters", "named"), REFUSED.values(), ids=list(REFUSED))
def test_an_invalid_value_is_refused(parameters: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidQuery, match=named):
        parsed(**parameters)


TAKEN = {
    "frame": ({"frameNumber": "3"}, UriRendering(frame_number=3)),
    "URI-22": ({"region": "0,0,0.5,0.5"}, UriRendering(Rendering(region=Region(0, 0, 0.5, 0.5)))),
    "URI-23": (
        {"rows": "24", "columns": "64"},
        UriRendering(Rendering(viewport=Viewport(64, 24))),
    ),
    "URI-24": ({"columns": "32"}, UriRendering(Rendering(viewport=Viewport(32, MAX_VIEWPORT)))),
    "window": (
        {"windowCenter": "-1.5e2", "windowWidth": "400"},
        UriRendering(Rendering(window=Window(-150, 400))),
    ),
    "quality": ({"imageQuality": "100"}, UriRendering(Rendering(quality=100))),
    "annotation": (
        {"annotation": "technique,patient"},
        UriRendering(Rendering(annotations=frozenset({Annotation.PATIENT, Annotation.TECHNIQUE}))),
    ),
    "D-12": (
        {"imageAnnotation": "patient"},
        UriRendering(Rendering(annotations=frozenset({Annotation.PATIENT}))),
    ),
    "presentation": (
        {"presentationUID": "1.2.6", "presentationSeriesUID": "1.2.7"},
        UriRendering(presentation=Ref("1.2.3", "1.2.7", "1.2.6")),
    ),
}


@pytest.mark.parametrize(("parameters", "rendering"), TAKEN.values(), ids=list(TAKEN))
def test_a_rendering_parameter_is_understood(
    parameters: dict[str, str], rendering: UriRendering
) -> None:
    assert parsed(**parameters).shown == rendering


def test_content_types_keep_their_order() -> None:
    found = parsed(contentType="image/png, Image/JPEG;q=0.5").content_types

    assert found == ("image/png", "image/jpeg")


VALUES = st.one_of(
    st.text(max_size=20),
    st.lists(st.floats().map(str) | st.integers().map(str), max_size=5).map(",".join),
)
NAMES = (
    *("contentType", "charset", "anonymize", "transferSyntax", "annotation", "imageAnnotation"),
    *("frameNumber", "imageQuality", "rows", "columns", "region", "windowCenter", "windowWidth"),
    *("presentationSeriesUID", "presentationUID"),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_whatever_is_asked_is_understood_or_refused_by_name(parameters: dict[str, str]) -> None:
    with contextlib.suppress(InvalidQuery):
        parsed(**parameters)
