"""The query of Rendered MPR and Rendered 3D resources (PS3.18 section 8.3.5.3)."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import isfinite
from typing import Final, TypeVar

from bfr_dicomweb.dicom.attributes import tag_of, vr_of
from bfr_dicomweb.dicom.matching import Key, Modes, Universal, match_of, path_of
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering.volume_parameters import (
    AttributeMatch,
    Between,
    Orientation,
    Point,
    PrivateMatch,
    RenderingMethod,
    VolumeParameters,
    VolumeSelection,
)
from bfr_dicomweb.services.store import is_uid

Choice = TypeVar("Choice", bound=StrEnum)

MAX_CURVE_POINTS: Final = 1000
MAX_SLAB_MM: Final = 10_000.0
# Far more than a patient is long: numbers beyond it lose their decimals on the way.
MAX_COORDINATE_MM: Final = 1e6
# PS3.18 section 5.1.1
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{0,20})?(?:[Ee][+-]?[0-9]{1,3})?", re.ASCII)
_POSITIVE: Final = re.compile(r"0*[1-9][0-9]{0,5}", re.ASCII)
_NUMBER_RANGE: Final = re.compile(r"([+-]?[0-9.]+)-([+-]?[0-9.]+)", re.ASCII)
_NUMBER_VRS: Final = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
_CAMERA: Final = ("viewpointposition", "viewpointlookat", "viewpointup")
_OF_3D: Final = ("swivelrange",)
_OF_MPR: Final = ("mprslab", "volumetriccurvepoint")
# A volumetric presentation state has these itself; the camera may be another one.
NOT_WITH_PRESENTATION_STATE: Final = (
    "volumeinputreference", "renderingmethod", "mprslab", "swivelrange", "volumetriccurvepoint",
    "animationstepsize", "animationrate", "renderedvolumetricmetadata",
)  # fmt: skip


def parse(pairs: Sequence[tuple[str, str]], *, mpr: bool) -> VolumeParameters:
    """
    Args:
        pairs: The percent-decoded query; what is no parameter of this section is left alone.
        mpr: Whether the resource is ``renderedmpr``, not ``rendered3d``.

    Raises:
        InvalidQuery: a parameter breaks the rules of its section.
    """
    query = _by_name(pairs)
    for name in _OF_3D if mpr else _OF_MPR:
        if name in query:
            raise InvalidQuery(name, f"is for {'rendered3d' if mpr else 'renderedmpr'}")
    method = _choice(query, "renderingmethod", RenderingMethod)
    if mpr and method is RenderingMethod.VOLUME_RENDERED:
        raise InvalidQuery("renderingmethod", "volume_rendered is for rendered3d")
    orientation = _choice(query, "orientation", Orientation)
    for name in _CAMERA:
        if orientation is not None and name in query:
            raise InvalidQuery(name, "cannot be combined with orientation")
    return VolumeParameters(
        selection=_selection(query),
        method=method,
        orientation=orientation,
        position=_point(query, "viewpointposition"),
        look_at=_point(query, "viewpointlookat"),
        up=_direction(query, "viewpointup"),
        slab_mm=_positive_number(query, "mprslab", most=MAX_SLAB_MM),
        swivel_degrees=_positive_number(query, "swivelrange", most=360.0),
        curve=_curve(query.get("volumetriccurvepoint", ())),
        step=_positive_integer(query, "animationstepsize"),
        rate=_positive_integer(query, "animationrate"),
        wants_metadata=_wants_metadata(query),
    )


def check_with_presentation_state(pairs: Sequence[tuple[str, str]]) -> None:
    """
    Raises:
        InvalidQuery: the query has what is not for a volumetric presentation state.
    """
    query = _by_name(pairs)
    for name in NOT_WITH_PRESENTATION_STATE:
        if name in query:
            raise InvalidQuery(name, "is not for a volumetric presentation state")
    for match in _matches(query):
        name = match.tag if isinstance(match, PrivateMatch) else match.path[-1]
        raise InvalidQuery(name, "is not for a volumetric presentation state")


Query = Mapping[str, Sequence[str]]


def _by_name(pairs: Sequence[tuple[str, str]]) -> Query:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _one(query: Query, name: str) -> str | None:
    values = query.get(name)
    if values is None:
        return None
    if len(values) != 1:
        raise InvalidQuery(name, "is given more than once")
    return values[0]


def _choice(query: Query, name: str, choices: type[Choice]) -> Choice | None:
    value = _one(query, name)
    if value is None:
        return None
    if value not in list(choices):
        raise InvalidQuery(name, f"must be one of {', '.join(choices)}")
    return choices(value)


def _number(name: str, text: str) -> float:
    if _DECIMAL.fullmatch(text) is None or not isfinite(number := float(text)):
        raise InvalidQuery(name, "must be decimal numbers")
    if abs(number) > MAX_COORDINATE_MM:
        raise InvalidQuery(name, f"must be numbers of at most {MAX_COORDINATE_MM:.0f}")
    return number


def _triple(name: str, texts: Sequence[str]) -> Point:
    if len(texts) != 3:
        raise InvalidQuery(name, "must be three numbers: x,y,z")
    x, y, z = (_number(name, text) for text in texts)
    return x, y, z


def _point(query: Query, name: str) -> Point | None:
    value = _one(query, name)
    return None if value is None else _triple(name, value.split(","))


def _direction(query: Query, name: str) -> Point | None:
    found = _point(query, name)
    if found is not None and not any(found):
        raise InvalidQuery(name, "must not be 0,0,0, which is no direction")
    return found


def _positive_number(query: Query, name: str, *, most: float) -> float | None:
    value = _one(query, name)
    if value is None:
        return None
    number = _number(name, value)
    if not 0 < number <= most:
        raise InvalidQuery(name, f"must be a number above 0 and at most {most:g}")
    return number


def _positive_integer(query: Query, name: str) -> int | None:
    value = _one(query, name)
    if value is None:
        return None
    if _POSITIVE.fullmatch(value) is None:
        raise InvalidQuery(name, "must be an integer above 0")
    return int(value)


def _curve(values: Sequence[str]) -> tuple[Point, ...]:
    """The points of all occurrences; one of these may also list several points."""
    name = "volumetriccurvepoint"
    texts = [text for value in values for text in value.split(",")]
    if not texts:
        return ()
    if any(len(value.split(",")) % 3 for value in values):
        raise InvalidQuery(name, "must be three numbers each: x,y,z")
    if not 6 <= len(texts) <= 3 * MAX_CURVE_POINTS:
        raise InvalidQuery(name, f"must be given for 2 to {MAX_CURVE_POINTS} points")
    points = tuple(_triple(name, texts[at : at + 3]) for at in range(0, len(texts), 3))
    if len(set(points)) < 2:
        raise InvalidQuery(name, "must be given for at least two different points")
    return points


def _wants_metadata(query: Query) -> bool:
    name = "renderedvolumetricmetadata"
    value = _one(query, name)
    if value not in (None, "yes"):
        raise InvalidQuery(name, "must be yes, or not be there")
    return value is not None


def _selection(query: Query) -> VolumeSelection:
    reference = _one(query, "volumeinputreference")
    matches = _matches(query)
    if reference is None:
        return VolumeSelection(matches=matches)
    if matches:
        raise InvalidQuery(
            "volumeinputreference", "cannot be combined with the value of an attribute"
        )
    uid, comma, frame = reference.rpartition(",")
    if not comma and "." not in reference:
        uid, frame = "", reference
    elif not comma:
        uid, frame = reference, ""
    if uid and not is_uid(uid):
        raise InvalidQuery("volumeinputreference", "must be a UID, and may have a frame number")
    if (comma or frame) and _POSITIVE.fullmatch(frame) is None:
        raise InvalidQuery("volumeinputreference", "the frame number must be an integer above 0")
    return VolumeSelection(uid or None, int(frame) if frame else None)


def _matches(query: Query) -> tuple[AttributeMatch, ...]:
    found = (_match(name, query) for name in query)
    return tuple(match for match in found if match is not None)


def _match(name: str, query: Query) -> AttributeMatch | None:
    """None: the parameter is no attribute, or asks for any value of it."""
    path = path_of(name)
    if path is None:
        return _private_match(name, query)
    value = _one(query, name) or ""
    ends = _NUMBER_RANGE.fullmatch(value) if vr_of(path[-1]) in _NUMBER_VRS else None
    if ends is not None:
        low, high = (_number(name, end) for end in ends.groups())
        if low > high:
            raise InvalidQuery(name, "the first number of a range must not be the greater one")
        return Between(path, low, high)
    match = match_of(name, path, value, Modes())
    return None if isinstance(match, Universal) else Key(path, match)


def _private_match(name: str, query: Query) -> PrivateMatch | None:
    tag = tag_of(name)
    if tag is None or int(tag[3], 16) % 2 == 0 or tag[4:6] == "00":
        return None  # no attribute, or a private creator, which is read with its attributes
    creators = [
        _one(query, other)
        for other in query
        if tag_of(other) == f"{tag[:4]}00{tag[4:6]}"  # PS3.5 section 7.8.1
    ]
    if not creators or not creators[0]:
        raise InvalidQuery(name, f"needs its Private Creator, {tag[:4]}00{tag[4:6]}, beside it")
    return PrivateMatch(tag, creators[0].strip(), (_one(query, name) or "").strip())
