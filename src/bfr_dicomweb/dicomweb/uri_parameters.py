"""The query of the URI service, parsed and checked (PS3.18 sections 9.1.2, 9.4.1 and 9.5.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from bfr_dicomweb.dicom.media_types import ANY, DICOM, RENDERED, MediaType, split_outside_quotes
from bfr_dicomweb.dicomweb.rendering_parameters import MAX_QUALITY, MAX_VIEWPORT, Query
from bfr_dicomweb.errors import InvalidQuery, InvalidRequest
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.rendering.parameters import Annotation, Region, Rendering, Viewport, Window
from bfr_dicomweb.services.store import is_uid

# Beside a presentation state; the others would contradict it (section 9.5.1.2.7).
_NOT_WITH_PRESENTATION: Final = ("frameNumber", "windowCenter", "windowWidth")


@dataclass(frozen=True, slots=True)
class UriRendering:
    """Parameters of Retrieve Rendered Instance.

    Attributes:
        frame_number: 1-based; None: not given.
        presentation: The presentation state to apply.
    """

    rendering: Rendering = field(default_factory=Rendering)
    frame_number: int | None = None
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
    shown: UriRendering = UriRendering()

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
        if request.wants_dicom and request.shown.rendering.window is not None:
            raise InvalidQuery("windowCenter", "is for rendered images, not for application/dicom")
        return request


class _Query(Query):
    def uid(self, name: str) -> str:
        value = self.one(name, required=True)
        if value is None or not is_uid(value):
            raise InvalidQuery(name, "is no UID")
        return value


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


def _rendering(query: _Query, study: str) -> UriRendering:
    shown = UriRendering(
        Rendering(
            viewport=_viewport(query),
            region=_region(query.decimals("region")),
            window=_window(query),
            quality=query.positive("imageQuality", most=MAX_QUALITY),
            annotations=_annotations(query),
        ),
        query.positive("frameNumber"),
        _presentation(query, study),
    )
    if shown.presentation is not None:
        for name in _NOT_WITH_PRESENTATION:
            if query.one(name) is not None:
                raise InvalidQuery(name, "cannot be combined with presentationUID")
    return shown


def _viewport(query: _Query) -> Viewport | None:
    """One of the two is enough, and the aspect gives the other (section 9.5.2.5)."""
    height, width = (query.positive(name, most=MAX_VIEWPORT) for name in ("rows", "columns"))
    if height is None and width is None:
        return None
    return Viewport(width or MAX_VIEWPORT, height or MAX_VIEWPORT)


def _annotations(query: _Query) -> frozenset[Annotation]:
    # the text names it annotation, the tables imageAnnotation
    for name in ("annotation", "imageAnnotation"):
        value = query.one(name)
        if value is None:
            continue
        words = value.split(",")
        if not set(Annotation).issuperset(words):
            raise InvalidQuery(name, "must be patient, technique, or both")
        return frozenset(Annotation(word) for word in words)
    return frozenset()


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
