"""Tables of TOML texts that operators write; what nobody reads in them is refused."""

import tomllib
from collections.abc import Collection
from enum import StrEnum
from typing import Any, TypeVar

from bfr_dicomweb.errors import InvalidRequest

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


def parsed(text: str) -> "Table":
    """
    Raises:
        InvalidRequest: it is no TOML; says where.
    """
    try:
        return Table("", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"no TOML: {error}") from None


class Table:
    """A table being read; what nobody asked for is refused at the end."""

    def __init__(self, path: str, values: dict[str, Any]) -> None:
        self.path = path
        self._values = dict(values)

    def refuse(self, key: str, reason: str) -> InvalidRequest:
        return InvalidRequest(f"{self.path}.{key}: {reason}" if self.path else f"{key}: {reason}")

    def refuse_others(self) -> None:
        for key in self._values:
            raise self.refuse(key, "there is no such key")

    def _take(self, key: str, kind: type[T] | tuple[type[T], ...], default: T, what: str) -> T:
        value = self._values.pop(key, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.refuse(key, f"has to be {what}")
        return value

    def text(self, key: str, default: str = "") -> str:
        return self._take(key, str, default, "a text")

    def required(self, key: str) -> str:
        found = self.text(key)
        if not found:
            raise self.refuse(key, "is missing")
        return found

    def flag(self, key: str, default: bool = False) -> bool:
        return self._take(key, bool, default, "true or false")

    def number(self, key: str, default: float = 0.0) -> float:
        found = float(self._take(key, (int, float), default, "a number"))
        if not 0 <= found < 1e9:
            raise self.refuse(key, "has to be 0 or more")
        return found

    def whole(self, key: str, default: int, *, least: int = 0, most: int) -> int:
        found = self._take(key, int, default, "a whole number")
        if not least <= found <= most:
            raise self.refuse(key, f"has to be {least} to {most}")
        return found

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts; one text is a list of one."""
        value = self._values.pop(key, None)
        if value is None:
            return default
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.refuse(key, "has to be a text or a list of texts")
        return tuple(found)

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        found = self.text(key, default)
        if found not in choices:
            raise self.refuse(key, f"has to be one of {', '.join(choices)}")
        return found

    def member(self, key: str, kind: type[E], default: E) -> E:
        return kind(self.choice(key, tuple(kind), default))

    def table(self, key: str) -> "Table | None":
        value = self._values.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.refuse(key, "has to be a table")
        return Table(f"{self.path}.{key}" if self.path else key, value)

    def tables(self, key: str, *, called: str = "name") -> list["Table"]:
        """An array of tables; each is named in errors by its key `called`, or else its place."""
        value = self._values.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.refuse(key, f"has to be written as [[{key}]]")
        path = f"{self.path}.{key}" if self.path else key
        return [
            Table(f"{path}[{item.get(called, place)}]", item)
            for place, item in enumerate(value, start=1)
        ]

    def value(self, key: str) -> object:
        return self._values.pop(key, None)

    def names(self) -> list[str]:
        return list(self._values)
