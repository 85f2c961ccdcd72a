"""JSON and XML as a server sent them: read, or refused with one exception, whatever is in them."""

import json
from collections.abc import Callable
from typing import Any, Final
from xml.etree import ElementTree

# Far more than sequences are nested; what reads further down does so by recursion.
MAX_DEPTH: Final = 200


class Unreadable(ValueError):
    pass


def read_json(content: bytes | str, **hooks: Any) -> Any:
    """Raises Unreadable. The hooks are those of json.loads, and may raise it too."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        data = json.loads(text, **hooks)
    except Unreadable:
        raise
    except ValueError as error:  # also of a number with thousands of digits
        raise Unreadable(f"no JSON: {type(error).__name__}") from None
    except RecursionError:
        raise Unreadable("JSON that is nested too deeply") from None
    _expect_shallow(data, _elements)
    return data


def read_xml(content: bytes) -> ElementTree.Element:
    """Raises Unreadable."""
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - expat expands no external entities
    except ElementTree.ParseError as error:
        raise Unreadable(f"no well-formed XML: {error}") from None
    except (ValueError, LookupError):
        raise Unreadable("XML of an encoding that is not known") from None
    _expect_shallow(root, list)
    return root


def _elements(data: Any) -> list[Any]:
    if isinstance(data, dict):
        return list(data.values())
    return list(data) if isinstance(data, list | tuple) else []


def _expect_shallow(root: Any, below: Callable[[Any], list[Any]]) -> None:
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        level = [each for one in level for each in below(one)]
