"""References between resources, and where the values of a search parameter are in a resource."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from bfr_dicomweb.fhir.search_parameters import Parameter
from bfr_dicomweb.fhir.source import Resource

ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_LOCAL: Final = re.compile(
    r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?", re.ASCII
)
_FILTERED: Final = re.compile(r"(\w+)\[(\w+)=(\w+)\]", re.ASCII)

Values = Callable[[Resource], list[Any]]


def of_resource(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def local(text: str, base: str = "") -> str | None:
    """The "Type/id" of a reference to a resource of this server, without a version."""
    if base and text.startswith(base + "/"):
        text = text[len(base) + 1 :]
    match = _LOCAL.fullmatch(text)
    return f"{match[1]}/{match[2]}" if match else None


@lru_cache(maxsize=1024)
def values_at(paths: tuple[str, ...]) -> Values:
    """A function that gives the elements at these paths of a resource, lists gone through."""
    if len(paths) == 1 and "." not in paths[0] and "[" not in paths[0]:
        return _at_top(paths[0])
    each = [tuple(path.split(".")) for path in paths]

    def values(resource: Resource) -> list[Any]:
        found: list[Any] = []
        for names in each:
            level: list[Any] = [resource]
            for name in names:
                level = list(_step(level, name))
                if not level:
                    break
            found += level
        return found

    return values


def _at_top(name: str) -> Values:
    def values(resource: Resource) -> list[Any]:
        value = resource.get(name)
        if value is None:
            return []
        return value if isinstance(value, list) else [value]

    return values


def _step(level: Iterable[Any], name: str) -> Iterator[Any]:
    wanted = _FILTERED.fullmatch(name)
    if wanted is not None:
        name = wanted[1]
    for element in level:
        value = element.get(name) if isinstance(element, dict) else None
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                continue
            if wanted is None or (isinstance(item, dict) and item.get(wanted[2]) == wanted[3]):
                yield item


def referred(resource: Resource, parameter: Parameter, base: str = "") -> list[str]:
    """The "Type/id" of what a resource refers to by a parameter."""
    found = []
    for value in values_at(parameter.paths)(resource):
        text = value.get("reference") if isinstance(value, dict) else value
        reference = local(text, base) if isinstance(text, str) else None
        if reference is not None and reference.split("/")[0] in parameter.targets:
            found.append(reference)
    return found


def replaced(value: Any, new: dict[str, str]) -> Any:
    """A resource in which each reference that is a key of `new` has become its value."""
    if isinstance(value, list):
        return [replaced(item, new) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: new.get(item, item)
        if name in ("reference", "url", "uri") and isinstance(item, str)
        else replaced(item, new)
        for name, item in value.items()
    }


def every(value: Any) -> Iterator[str]:
    """All literal references in a resource."""
    if isinstance(value, list):
        for item in value:
            yield from every(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name == "reference" and isinstance(item, str):
                yield item
            else:
                yield from every(item)
