"""The query of rendered resources, parsed and checked (PS3.18 sections 8.3.5.1 and 8.3.5.2)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.rendering.parameters import (
    Annotation,
    IccProfile,
    Rendering,
    Viewport,
    Window,
    WindowFunction,
)

# PS3.18 section 5.1.1
DECIMAL: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[Ee][+-]?[0-9]+)?", re.ASCII)
MAX_DECIMAL_LENGTH: Final = 16
POSITIVE: Final = re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII)
# Pictures are made in memory; no screen has so many pixels a side.
MAX_VIEWPORT: Final = 8192
MAX_QUALITY: Final = 100

_KEYWORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class RenderingRequest:
    """
    Attributes:
        unsupported_annotations: Keywords that this server does not know, for the warning.
    """

    rendering: Rendering
    unsupported_annotations: tuple[str, ...] = ()

    def warnings(self) -> list[str]:
        """What section 8.3.5.1.1 wants said."""
        if not self.unsupported_annotations:
            return []
        values = ", ".join(self.unsupported_annotations)
        return [f"The following annotation values are not supported: {values}"]


class Query:
    """Percent-decoded parameters, each of which may be given once."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
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

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def positive(self, name: str, *, most: int = 999_999_999) -> int | None:
        value = self.one(name)
        return None if value is None else positive(name, value, most=most)

    def decimals(self, name: str) -> list[float] | None:
        value = self.one(name)
        return None if value is None else [decimal(name, text) for text in value.split(",")]


def decimal(name: str, text: str) -> float:
    """Raises InvalidQuery."""
    if len(text) > MAX_DECIMAL_LENGTH or DECIMAL.fullmatch(text) is None:
        raise InvalidQuery(name, f"must be decimals of at most {MAX_DECIMAL_LENGTH} characters")
    number = float(text)
    if not isfinite(number):
        raise InvalidQuery(name, "is too large")
    return number


def positive(name: str, text: str, *, most: int) -> int:
    """Raises InvalidQuery."""
    if POSITIVE.fullmatch(text) is None or int(text) > most:
        raise InvalidQuery(name, f"must be an integer from 1 to {most}")
    return int(text)


def parse(pairs: Sequence[tuple[str, str]]) -> RenderingRequest:
    """Of /rendered, and of volumes.

    Raises:
        InvalidQuery: a parameter has an invalid value.
    """
    query = Query(pairs)
    annotations, unsupported = _annotations(query)
    rendering = Rendering(
        viewport=_viewport(query.one("viewport"), is_source_allowed=True),
        window=_window(query.one("window")),
        quality=query.positive("quality", most=MAX_QUALITY),
        annotations=annotations,
        icc_profile=_icc_profile(query.one("iccprofile")),
    )
    return RenderingRequest(rendering, unsupported)


def parse_thumbnail(pairs: Sequence[tuple[str, str]]) -> Viewport | None:
    """Of /thumbnail (section 8.3.5.2); None: the server chooses the size.

    Raises:
        InvalidQuery: a parameter has an invalid value.
    """
    return _viewport(Query(pairs).one("viewport"), is_source_allowed=False)


def require_presentation(rendering: Rendering) -> None:
    """What cannot be asked of an instance that says itself how images are shown (8.3.5.1.6).

    Raises:
        InvalidQuery: it was asked.
    """
    viewport = rendering.viewport
    if rendering.window is not None:
        raise InvalidQuery("window", "a presentation state has its own")
    if viewport is not None and viewport != Viewport(viewport.width, viewport.height):
        raise InvalidQuery("viewport", "of a presentation state takes a width and a height alone")


def _viewport(text: str | None, *, is_source_allowed: bool) -> Viewport | None:
    if text is None:
        return None
    parts = text.split(",")
    if not 2 <= len(parts) <= (6 if is_source_allowed else 2):
        form = "vw,vh[,sx,sy,sw,sh]" if is_source_allowed else "vw,vh"
        raise InvalidQuery("viewport", f"must be {form}")
    width, height = (positive("viewport", part, most=MAX_VIEWPORT) for part in parts[:2])
    source = [decimal("viewport", part) if part else None for part in parts[2:]]
    source += [None] * (4 - len(source))
    left, top, source_width, source_height = source
    if (left or 0) < 0 or (top or 0) < 0:
        raise InvalidQuery("viewport", "the source region begins at 0 or behind it")
    if source_width == 0 or source_height == 0:
        raise InvalidQuery("viewport", "the source region is empty")
    return Viewport(width, height, left or 0.0, top or 0.0, source_width, source_height)


def _window(text: str | None) -> Window | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3:
        raise InvalidQuery("window", "must be center,width,function")
    center, width = (decimal("window", part) for part in parts[:2])
    try:
        function = WindowFunction(parts[2])
    except ValueError:
        names = ", ".join(WindowFunction)
        raise InvalidQuery("window", f"its function must be one of {names}") from None
    # PS3.3 sections C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2
    if width < 1 if function is WindowFunction.LINEAR else width <= 0:
        raise InvalidQuery("window", "its width is too small")
    return Window(center, width, function)


def _annotations(query: Query) -> tuple[frozenset[Annotation], tuple[str, ...]]:
    text = query.one("annotation")
    if text is None:
        return frozenset(), ()
    words = text.split(",")
    if not all(_KEYWORD.fullmatch(word) for word in words):
        raise InvalidQuery("annotation", "must be keywords: patient, technique")
    known = frozenset(Annotation(word) for word in words if word in set(Annotation))
    return known, tuple(word for word in words if word not in known)


def _icc_profile(text: str | None) -> IccProfile:
    if text is None:
        return IccProfile.NO
    try:
        return IccProfile(text)
    except ValueError:
        raise InvalidQuery("iccprofile", f"must be one of {', '.join(IccProfile)}") from None
