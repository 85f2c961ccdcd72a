"""The FHIR service: which resources there are and what can be asked of them, within limits."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from starlette.requests import Request

from bfr_dicomweb.errors import NotAllowed, NotFound
from bfr_dicomweb.fhir.exchange import Answer, Call
from bfr_dicomweb.fhir.limits import DEFAULT, Limits
from bfr_dicomweb.fhir.paging import Pages
from bfr_dicomweb.fhir.search import Reader
from bfr_dicomweb.fhir.searching import Searcher
from bfr_dicomweb.fhir.several import Several
from bfr_dicomweb.fhir.source import Acts, Source
from bfr_dicomweb.fhir.written import Written
from bfr_dicomweb.http import base_uri
from bfr_dicomweb.services import resources
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.resources import ResourceRow, Write

ROOT: Final = "/fhir"
Level = Literal["system", "type", "instance"]
READING: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, by its name without the "$".

    Attributes:
        run: Given the service and the call, whose path ends in "$name".
        type: Of the resources that have it; "" at system level.
    """

    name: str
    level: Level
    run: Callable[["Fhir", Call], Awaitable[Answer]]
    type: str = ""
    methods: tuple[str, ...] = ("GET", "POST")
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Fhir:
    """
    Attributes:
        archive: Where what clients write goes.
        sources: By type.
        pages: Makes and reads the tokens of next pages.
        public_url: Of this server as clients see it; None: as the request says.
    """

    archive: Archive
    sources: Mapping[str, Source]
    pages: Pages
    limits: Limits = DEFAULT
    operations: tuple[Operation, ...] = ()
    public_url: str | None = None
    trust_forwarded: bool = True
    writable: Mapping[str, Written] = field(default_factory=dict)
    acting: Mapping[str, Acts] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        archive: Archive,
        sources: Iterable[Source],
        *,
        secret: bytes,
        limits: Limits = DEFAULT,
        operations: Iterable[Operation] = (),
        public_url: str | None = None,
        trust_forwarded: bool = True,
    ) -> "Fhir":
        """
        Args:
            sources: One for each type; `Several` makes one of more.
            secret: For the tokens of pages, see `Pages`.
        """
        by_type = {source.type: source for source in sources}
        return cls(
            archive,
            by_type,
            Pages(secret, lifetime_s=limits.page_lifetime_s),
            limits,
            tuple(operations),
            public_url,
            trust_forwarded,
            {kind: found for kind, source in by_type.items() if (found := _written(source))},
            {kind: acting for kind, source in by_type.items() if (acting := _acting(source))},
        )

    def base_of(self, request: Request) -> str:
        """URL of the service as the client sees it, without a slash at its end."""
        return base_uri.base_uri(
            request.headers,
            scheme=request.scope["scheme"],
            server=request.scope.get("server"),
            root_path=request.scope.get("root_path", "") + ROOT,
            configured=None if self.public_url is None else self.public_url + ROOT,
            trust_forwarded=self.trust_forwarded,
        )

    def source(self, resource_type: str) -> Source:
        """Raises NotFound: there are no such resources here."""
        found = self.sources.get(resource_type)
        if found is None:
            raise NotFound("there is no such type of resource here")
        return found

    def written(self, resource_type: str) -> Written:
        """Raises NotFound, and NotAllowed: clients only read these."""
        self.source(resource_type)
        found = self.writable.get(resource_type)
        if found is None:
            raise NotAllowed(READING)
        return found

    def searcher(self, base: str) -> Searcher:
        return Searcher(self.sources, self.limits, base)

    def reader(self, base: str, *, strict: bool) -> Reader:
        return Reader(self.sources.keys(), base, strict, self.limits)

    async def write(self, wanted: list[Write]) -> list[ResourceRow]:
        """All or nothing."""
        return await resources.write(self.archive.index, wanted)

    def operation(self, name: str, level: Level, resource_type: str = "") -> Operation:
        """Raises NotFound."""
        for operation in self.operations:
            if (operation.name, operation.level, operation.type) == (name, level, resource_type):
                return operation
        raise NotFound("there is no such operation here")


def _written(source: Source) -> Written | None:
    if isinstance(source, Written):
        return source
    if isinstance(source, Several):
        return next((one for one in source.sources if isinstance(one, Written)), None)
    return None


def _acting(source: Source) -> Acts | None:
    among = source.sources if isinstance(source, Several) else (source,)
    return next((one for one in among if isinstance(one, Acts)), None)
