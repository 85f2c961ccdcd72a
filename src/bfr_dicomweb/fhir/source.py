"""Where resources of one type come from: the catalogue of orders, the archive, or clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a search says that a source can use to look at fewer candidates.

    All that is given has to hold. A source may ignore any of it and so give more candidates than
    match: each is compared with the whole search afterwards.

    Attributes:
        ids: Logical ids.
        patients: Ids of Patient, those merged into them included.
        identifiers: System (None: any) and value.
        references: By search parameter: "Type/id", any of them.
        tokens: By search parameter: codes, any of them.
    """

    ids: frozenset[str] | None = None
    patients: frozenset[int] | None = None
    identifiers: tuple[tuple[str | None, str], ...] | None = None
    references: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tokens: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A resource at its place in the order of its source.

    Attributes:
        moment: What the source orders by, as sortable text.
        key: Unique within the source; decides between equal moments.
    """

    resource: Resource
    moment: str
    key: int


class Source(Protocol):
    """Resources of one type.

    Attributes:
        moment: The search parameter that `Candidate.moment` is; candidates come in its order.
    """

    @property
    def type(self) -> str: ...

    @property
    def moment(self) -> str: ...

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: tuple[str, int] | None,
        limit: int,
    ) -> Sequence[Candidate]:
        """The next candidates after a place in the order; fewer than `limit` only at the end."""
        ...

    async def read(self, id: str) -> Resource | None:
        """Raises Gone: it has been deleted, or another took its place (the text names it)."""
        ...

    async def history(self, id: str) -> Sequence[Resource]:
        """All versions, the current one first."""
        ...

    async def vread(self, id: str, version: str) -> Resource | None: ...


@runtime_checkable
class Acts(Protocol):
    """A source whose resources a service keeps in another shape: what a client writes makes it act.

    What it does is done at once, so that it cannot be one part of a transaction.
    """

    def check(self, resource: Resource) -> None:
        """Raises InvalidRequest: it is no valid resource of this type."""
        ...

    def is_written(self, id: str) -> bool:
        """Whether clients write this one, and not only read it."""
        ...

    async def create(self, resource: Resource) -> Resource: ...

    async def update(
        self, id: str, resource: Resource, expected: int | None
    ) -> tuple[Resource, bool]:
        """The resource as it is then, and whether all that was asked is done.

        Args:
            id: Of one that `is_written`.
            expected: The version that is to be changed; None is any.
        """
        ...
