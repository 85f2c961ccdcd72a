"""The query of the URI service, parsed and checked (PS3.18 sections 9.1.2, 9.4.1 and 9.5.1)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, Self

from bfr_dicomweb.dicom.media_types import ANY, DICOM, RENDERED, MediaType, split_outside_quotes
from bfr_dicomweb.errors import InvalidQuery, InvalidRequest
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services.store import is_uid

# PS3.18 section 5.1.1
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[Ee][+-]?[0-9]+)?", re.ASCII)
_POSITIVE: Final = re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII)
MAX_DECIMAL_LENGTH: Final = 16
ANNOTATIONS: Final = frozenset({"patient", "technique"})
# Beside a presentation state; the others would contradict it (section 9.5.1.2.7).
_NOT_WITH_PRESENTATION: Final = ("frameNumber", "windowCenter", "windowWidth")


@dataclass(frozen=True, slots=True)
class Region:
    """Part of the image that is wanted, each from 0 to 1 (section 9.5.1.2.5)."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Window:
    """Linear VOI window (section 9.5.1.2.6)."""

    center: float
    width: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """Parameters of Retrieve Rendered Instance; what is None was not given.

    Attributes:
        frame_number: 1-based.
        rows: Most rows of the image that is answered; the aspect is kept.
        quality: 1 to 100.
        presentation: The presentation state to apply.
    """

    frame_number: int | None = None
    annotation: tuple[str, ...] = ()
    rows: int | None = None
    columns: int | None = None
    region: Region | None = None
    window: Window | None = None
    quality: int | None = None
    presentation: Ref | None = None


@dataclass(frozen=True, slots=True)
class UriRequest:
    """One request to the URI service.

    Attributes:
        content_types: Lower case, in the order of preference; empty: not given.
        transfer_syntax_uid: None: not given; "*": as stored, which is this archive's addition.
        charset: Preferred first; those that are not supported are ignored (section 8.3.3.2).
    """

    ref: Ref
    content_types: tuple[str, ...] = ()
    anonymize: bool = False
    transfer_syntax_uid: str | None = None
    charset: tuple[str, ...] = ()
    rendering: Rendering = Rendering()

    @property
    def wants_dicom(self) -> bool:
        return self.content_types == (DICOM,)

    @classmethod
    def parse(cls, pairs: Sequence[tuple[str, str]]) -> Self:
        """
        Args:
            pairs: The percent-decoded query.

        Raises:
            InvalidQuery: a mandatory parameter is missing, or one has an invalid value.
        """
        query = _Query(pairs)
        if query.one("requestType", required=True) != "WADO":
            raise InvalidQuery("requestType", "must be WADO")
        study, series, instance = (
            query.uid(name) for name in ("studyUID", "seriesUID", "objectUID")
        )
        content_types = _content_types(query.one("contentType"))
        request = cls(
            Ref(study, series, instance),
            content_types,
            _anonymize(query),
            _transfer_syntax(query),
            _charset(query.one("charset")),
            _rendering(query, study),
        )
        if request.wants_dicom and request.rendering.window is not None:
            raise InvalidQuery("windowCenter", "is for rendered images, not for application/dicom")
        return request


class _Query:
    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def one(self, name: str, *, required: bool = False) -> str | None:
        values = self._values.get(name)
        if values is None:
            if required:
                raise InvalidQuery(name, "is required")
            return None
        if len(values) != 1:
            raise InvalidQuery(name, "is given more than once")
        return values[0]

    def uid(self, name: str) -> str:
        value = self.one(name, required=True)
        if value is None or not is_uid(value):
            raise InvalidQuery(name, "is no UID")
        return value

    def positive(self, name: str, *, most: int = 999_999_999) -> int | None:
        value = self.one(name)
        if value is None:
            return None
        if _POSITIVE.fullmatch(value) is None or int(value) > most:
            raise InvalidQuery(name, f"must be an integer from 1 to {most}")
        return int(value)

    def decimals(self, name: str) -> list[float] | None:
        value = self.one(name)
        return None if value is None else [_decimal(name, text) for text in value.split(",")]


def _decimal(name: str, text: str) -> float:
    if len(text) > MAX_DECIMAL_LENGTH or _DECIMAL.fullmatch(text) is None:
        raise InvalidQuery(name, f"must be decimals of at most {MAX_DECIMAL_LENGTH} characters")
    number = float(text)
    if not isfinite(number):
        raise InvalidQuery(name, "is too large")
    return number


def _content_types(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = []
    for element in split_outside_quotes(text, ","):
        try:
            media_type = MediaType.parse(element)
        except InvalidRequest as error:
            raise InvalidQuery("contentType", str(error)) from None
        for parameter in ("transfer-syntax", "charset"):
            if media_type.parameter(parameter) is not None:
                raise InvalidQuery(
                    "contentType", f"the {parameter} parameter is not for this service"
                )
        if ANY in media_type.name:
            raise InvalidQuery("contentType", "wildcards are for the Accept header")
        names.append(media_type.name)
    if DICOM in names and RENDERED & set(names):
        raise InvalidQuery("contentType", "mixes DICOM and rendered media types")
    return tuple(dict.fromkeys(names))


def _anonymize(query: _Query) -> bool:
    value = query.one("anonymize")
    if value not in (None, "yes"):
        raise InvalidQuery("anonymize", "must be yes, or not be there")
    return value is not None


def _transfer_syntax(query: _Query) -> str | None:
    value = query.one("transferSyntax")
    if value is not None and value != ANY and not is_uid(value):
        raise InvalidQuery("transferSyntax", "must be one UID, or * for as stored")
    return value


def _charset(text: str | None) -> tuple[str, ...]:
    return tuple(name.partition(";")[0].strip().lower() for name in (text or "").split(",") if name)


def _rendering(query: _Query, study: str) -> Rendering:
    rendering = Rendering(
        query.positive("frameNumber"),
        _annotation(query),
        query.positive("rows"),
        query.positive("columns"),
        _region(query.decimals("region")),
        _window(query),
        query.positive("imageQuality", most=100),
        _presentation(query, study),
    )
    if rendering.presentation is not None:
        for name in _NOT_WITH_PRESENTATION:
            if query.one(name) is not None:
                raise InvalidQuery(name, "cannot be combined with presentationUID")
    return rendering


def _annotation(query: _Query) -> tuple[str, ...]:
    # the text names it annotation, the tables imageAnnotation
    for name in ("annotation", "imageAnnotation"):
        value = query.one(name)
        if value is None:
            continue
        words = value.split(",")
        if not ANNOTATIONS.issuperset(words):
            raise InvalidQuery(name, "must be patient, technique, or both")
        return tuple(dict.fromkeys(words))
    return ()


def _region(numbers: list[float] | None) -> Region | None:
    if numbers is None:
        return None
    if len(numbers) != 4:
        raise InvalidQuery("region", "must be four decimals: xmin,ymin,xmax,ymax")
    left, top, right, bottom = numbers
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InvalidQuery("region", "must be within 0 and 1, and each minimum below its maximum")
    return Region(left, top, right, bottom)


def _window(query: _Query) -> Window | None:
    values: Mapping[str, list[float] | None] = {
        name: query.decimals(name) for name in ("windowCenter", "windowWidth")
    }
    given = {name: numbers for name, numbers in values.items() if numbers is not None}
    if not given:
        return None
    for name in values:
        if len(given.get(name, ())) != 1:
            raise InvalidQuery(name, "one windowCenter and one windowWidth belong together")
    (center,), (width,) = given.values()
    if width < 1:
        raise InvalidQuery("windowWidth", "must be at least 1")
    return Window(center, width)


def _presentation(query: _Query, study: str) -> Ref | None:
    names = ("presentationSeriesUID", "presentationUID")
    given = [name for name in names if query.one(name) is not None]
    if not given:
        return None
    if len(given) == 1:
        raise InvalidQuery(given[0], "presentationSeriesUID and presentationUID belong together")
    return Ref(study, query.uid("presentationSeriesUID"), query.uid("presentationUID"))
