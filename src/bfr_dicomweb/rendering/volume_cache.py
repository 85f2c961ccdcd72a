"""What a process keeps of the volumes that it has read, the latest used for longest."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    @property
    def size_bytes(self) -> int: ...


Kept = TypeVar("Kept", bound=Sized)


class VolumeCache(Generic[Kept]):
    """Values by key, of `most_bytes` together; those least recently used go first.

    A value may grow after it was put in; its size is asked for anew whenever room is made.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        return sum(value.size_bytes for value in self._kept.values())

    def find(self, key: Hashable) -> Kept | None:
        """None: it is not kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What is kept under the key, or else what `make` gives, which is kept if it fits."""
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make()
        self._kept.move_to_end(key)
        self._make_room()
        return found

    def _make_room(self) -> None:
        while self._kept and self.size_bytes > self.most_bytes:
            self._kept.popitem(last=False)
