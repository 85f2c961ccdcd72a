"""Frozen dataclasses as JSON and back, for what the catalogue keeps whole."""

import types
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import orjson

T = TypeVar("T")
_Reader = Callable[[Any], Any]


def dumps(value: object) -> bytes:
    """Equal values give equal bytes."""
    return orjson.dumps(value)


def loads(kind: type[T], data: bytes | str) -> T:
    """The value that `dumps` was given. Fields that are missing get their default."""
    return cast("T", _reader(cast("Hashable", kind))(orjson.loads(data)))


def read(kind: type[T], value: object) -> T:
    """The same from parsed JSON."""
    return cast("T", _reader(cast("Hashable", kind))(value))


@cache
def _reader(kind: Any) -> _Reader:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in get_args(kind) if arg is not type(None))
        read_inner = _reader(inner)
        return lambda value: None if value is None else read_inner(value)
    if origin is tuple:
        return _tuple_reader(get_args(kind))
    if is_dataclass(kind):
        return _record_reader(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _tuple_reader(arguments: tuple[Any, ...]) -> _Reader:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        each = _reader(arguments[0])
        return tuple if each is _as_it_is else lambda value: tuple(map(each, value))
    readers = [_reader(argument) for argument in arguments]
    return lambda value: tuple(r(item) for r, item in zip(readers, value, strict=True))


def _record_reader(kind: Any) -> _Reader:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    plain = {name for name, reader in readers.items() if reader is _as_it_is}

    def read_record(value: dict[str, Any]) -> Any:
        given = {
            name: item if name in plain else readers[name](item)
            for name, item in value.items()
            if name in readers
        }
        return kind(**given)

    return read_record
