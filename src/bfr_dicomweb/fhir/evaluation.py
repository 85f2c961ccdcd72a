"""Does a resource match a search? Compiled once for each search: a page asks it often."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from bfr_dicomweb.dicom.person_names import fold
from bfr_dicomweb.fhir import references
from bfr_dicomweb.fhir.intervals import Interval, interval_of
from bfr_dicomweb.fhir.references import Values
from bfr_dicomweb.fhir.search import Criterion, Moment, References, Search, Text, Token
from bfr_dicomweb.fhir.search_parameters import Kind, Parameter
from bfr_dicomweb.fhir.source import Resource
from bfr_dicomweb.fhir.tokens import Wanted

Test = Callable[[Resource], bool]
# `ap` takes in what lies off by a tenth of the time from now to the value (FHIR R4 3.1.1.4.5).
_APPROXIMATE: Final = 10


def matches(search: Search, resource: Resource, *, base: str = "") -> bool:
    return compiled(search, base=base)(resource)


def compiled(search: Search, *, base: str = "") -> Test:
    """A function that compares resources with all criteria.

    Raises:
        ValueError: A chained criterion has not been resolved to references.
    """
    tests = [_test(criterion, base) for criterion in search.criteria]
    if not tests:
        return lambda _: True
    if len(tests) == 1:
        return tests[0]
    return lambda resource: all(test(resource) for test in tests)


def _test(criterion: Criterion, base: str) -> Test:
    if criterion.nested:
        raise ValueError("the chain has to be resolved first")
    values = references.values_at(criterion.parameter.paths)
    if criterion.modifier == "missing":
        return _missing(criterion, values)
    if criterion.parameter.kind is Kind.REFERENCE:
        return _reference(criterion, values, base)
    if criterion.parameter.kind is Kind.TOKEN:
        return _token(criterion, values)
    if criterion.parameter.kind is Kind.DATE:
        return _date(criterion, values)
    if criterion.parameter.kind is Kind.URI:
        return _uri(criterion, values)
    return _string(criterion, values)


def _missing(criterion: Criterion, values: Values) -> Test:
    parameter, wanted = criterion.parameter, criterion.missing
    if parameter.kind is Kind.REFERENCE and len(parameter.targets) == 1:
        # other parameters may look at the same element for other types
        return lambda resource: (not _of_type(values(resource), parameter)) is wanted
    return lambda resource: (not values(resource)) is wanted


def _of_type(elements: Iterable[Any], parameter: Parameter) -> bool:
    for element in elements:
        text = element.get("reference", "") if isinstance(element, dict) else element
        known = references.local(text)
        if known is None or known.split("/")[0] in parameter.targets:
            return True
    return False


def _reference(criterion: Criterion, values: Values, base: str) -> Test:
    targets = frozenset().union(
        *(value.targets for value in criterion.values if isinstance(value, References))
    )
    tokens = [value for value in criterion.values if isinstance(value, Token)]
    wanted = Wanted.of(tokens) if tokens else None

    def test(resource: Resource) -> bool:
        for element in values(resource):
            is_reference = isinstance(element, dict)
            text = element.get("reference") if is_reference else element
            if isinstance(text, str) and (
                text in targets or references.local(text, base) in targets
            ):
                return True
            if wanted is not None and is_reference and wanted.has(element.get("identifier")):
                return True
        return False

    return test


def _token(criterion: Criterion, values: Values) -> Test:
    if criterion.modifier == "text":
        begins = [fold(value.text) for value in criterion.values if isinstance(value, Text)]
        return lambda resource: any(
            text.startswith(begin)
            for element in values(resource)
            for text in _texts_of_code(element)
            for begin in begins
        )
    has = Wanted.of(value for value in criterion.values if isinstance(value, Token)).has
    if criterion.modifier == "not":
        return lambda resource: not any(map(has, values(resource)))
    return lambda resource: any(map(has, values(resource)))


def _texts_of_code(element: Any) -> Iterable[str]:
    if not isinstance(element, dict):
        return ()
    concepts = [element, *element.get("coding", ()), element.get("type") or {}]
    texts = [concept.get(name) for concept in concepts for name in ("text", "display")]
    return [fold(text) for text in texts if isinstance(text, str)]


def _string(criterion: Criterion, values: Values) -> Test:
    wanted = [value.text for value in criterion.values if isinstance(value, Text)]
    if criterion.modifier == "exact":
        exactly = frozenset(wanted)
        return lambda resource: any(
            text in exactly for element in values(resource) for text in _strings(element)
        )
    folded = [fold(text) for text in wanted]
    compared = str.__contains__ if criterion.modifier == "contains" else str.startswith
    return lambda resource: any(
        compared(text, part)
        for element in values(resource)
        for text in map(fold, _strings(element))
        for part in folded
    )


# Parts of HumanName and Address that a string parameter looks at (FHIR R4 on Patient.name).
_PARTS: Final = (
    "text",
    "family",
    "given",
    "prefix",
    "suffix",
    "line",
    "city",
    "district",
    "state",
    "postalCode",
    "country",
)


def _strings(element: Any) -> Iterable[str]:
    if isinstance(element, str):
        return (element,)
    if not isinstance(element, dict):
        return ()
    found: list[str] = []
    for name in _PARTS:
        value = element.get(name)
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            found += value
    return found


def _uri(criterion: Criterion, values: Values) -> Test:
    wanted = tuple(value.text for value in criterion.values if isinstance(value, Text))
    if criterion.modifier == "below":
        below = tuple(f"{text.rstrip('/')}/" for text in wanted)
        return lambda resource: any(
            text in wanted or text.startswith(below) for text in values(resource)
        )
    return lambda resource: any(text in wanted for text in values(resource))


def _date(criterion: Criterion, values: Values) -> Test:
    tests = [
        partial(_COMPARED[value.prefix], _widened(value))
        for value in criterion.values
        if isinstance(value, Moment)
    ]

    def test(resource: Resource) -> bool:
        for element in values(resource):
            covered = interval_of(element)
            if covered is not None and any(compare(covered) for compare in tests):
                return True
        return False

    return test


def _widened(moment: Moment) -> Interval:
    if moment.prefix != "ap":
        return moment.interval
    now = time.time_ns() // 1000
    room = abs(now - moment.interval.low) // _APPROXIMATE
    return Interval(moment.interval.low - room, moment.interval.high + room)


def _within(wanted: Interval, found: Interval) -> bool:
    return wanted.low <= found.low and found.high <= wanted.high


# FHIR R4 section 3.1.1.4.5: of the value of the search first, then of that of the resource.
_COMPARED: Final[dict[str, Callable[[Interval, Interval], bool]]] = {
    "eq": _within,
    "ne": lambda wanted, found: not _within(wanted, found),
    "gt": lambda wanted, found: found.high > wanted.high,
    "lt": lambda wanted, found: found.low < wanted.low,
    "ge": lambda wanted, found: found.high > wanted.high or _within(wanted, found),
    "le": lambda wanted, found: found.low < wanted.low or _within(wanted, found),
    "sa": lambda wanted, found: found.low >= wanted.high,
    "eb": lambda wanted, found: found.high <= wanted.low,
    "ap": lambda wanted, found: found.low < wanted.high and wanted.low < found.high,
}


def sort_value(resource: Resource, parameter: Parameter, *, descending: bool) -> Any:
    """What orders resources by a parameter; None for one that has no value."""
    elements = references.values_at(parameter.paths)(resource)
    if parameter.kind is Kind.DATE:
        covered = [found for element in elements if (found := interval_of(element))]
        if not covered:
            return None
        return max(c.high for c in covered) if descending else min(c.low for c in covered)
    texts = [text for element in elements for text in _sortable(element)]
    if not texts:
        return None
    return max(texts) if descending else min(texts)


def _sortable(element: Any) -> Iterable[str]:
    if isinstance(element, bool):
        return ("true" if element else "false",)
    if not isinstance(element, dict):
        return (fold(str(element)),)
    if "coding" in element:
        return [coding["code"] for coding in element["coding"] if "code" in coding]
    for name in ("value", "code", "reference"):
        if name in element:
            return (str(element[name]),)
    return map(fold, _strings(element))
