"""Frozen dataclasses as JSON and back, for what the catalogue keeps whole."""

import types
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import itemgetter
from types import MemberDescriptorType
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
        return _Members(kind).__getitem__
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


class _Members(dict[Any, Enum]):
    """The members of an enumeration by their values."""

    def __init__(self, kind: type[Enum]) -> None:
        super().__init__((member.value, member) for member in kind)
        self._kind = kind

    def __missing__(self, value: object) -> Enum:
        return self._kind(value)  # says what is wrong


def _tuple_reader(arguments: tuple[Any, ...]) -> _Reader:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        each = _reader(arguments[0])
        return tuple if each is _as_it_is else lambda value: tuple(map(each, value))
    readers = [_reader(argument) for argument in arguments]
    if all(reader is _as_it_is for reader in readers):
        return tuple
    return lambda value: tuple(r(item) for r, item in zip(readers, value, strict=True))


def _record_reader(kind: Any) -> _Reader:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}

    def read_given(value: dict[str, Any]) -> Any:
        return kind(**{n: readers[n](item) for n, item in value.items() if n in readers})

    slots: dict[str, Any] = {name: getattr(kind, name, None) for name in readers}
    if not all(isinstance(slot, MemberDescriptorType) for slot in slots.values()):
        return read_given
    # Most records have all their fields, and go straight into the slots: reading a page of a
    # timeline consists of this, and it takes half the time of the class's own __init__.
    plain = [name for name, reader in readers.items() if reader is _as_it_is]
    others = [name for name in readers if name not in plain]
    items = _items_of([*plain, *others])
    puts = [slots[name].__set__ for name in plain]
    converted = [
        (slots[name].__set__, readers[name], at) for at, name in enumerate(others, len(plain))
    ]

    def read_record(value: dict[str, Any]) -> Any:
        try:
            given = items(value)
        except KeyError:
            return read_given(value)
        record = object.__new__(kind)
        for put, item in zip(puts, given):  # noqa: B905 # the others follow
            put(record, item)
        for put, reader, at in converted:
            put(record, reader(given[at]))
        return record

    return read_record


def _items_of(names: list[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda value: tuple(value[name] for name in names)
