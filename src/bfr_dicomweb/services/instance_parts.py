"""Objects that arrive as metadata and bulk data (PS3.18 section 10.5.1.4).

What arrives is kept in one file without a name until all of it is there. Then each object is made
out of its metadata and ranges of that file, and takes the way that every object takes.
"""

import asyncio
import mmap
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from bfr_dicomweb.blobs.filesystem import Spool
from bfr_dicomweb.dicom import instance_making, json_model, pixel_parts
from bfr_dicomweb.dicom.attributes import first_text
from bfr_dicomweb.dicom.data_sets import Span
from bfr_dicomweb.dicom.frames import Source
from bfr_dicomweb.dicom.instance_making import (
    SOP_CLASS,
    SOP_INSTANCE,
    Identities,
    MadeInstance,
)
from bfr_dicomweb.dicom.part10 import DEFAULT_LIMITS
from bfr_dicomweb.dicom.pixel_parts import BulkPart
from bfr_dicomweb.errors import ArchiveError, InvalidObject, TooLarge
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.store import BUFFER_BYTES, Expected, Outcome, StoreResult


@dataclass(frozen=True, slots=True)
class PartLimits:
    """Of one request.

    Attributes:
        metadata_bytes: Of all metadata, which is held in memory.
        bulk_bytes: Of all bulk data, and of the frames that are decoded from it.
        frame_bytes: Of one decoded frame.
    """

    metadata_bytes: int = 32 << 20
    bulk_bytes: int = 16 << 30
    frame_bytes: int = 1 << 30


DEFAULT_PART_LIMITS: Final = PartLimits()


@asynccontextmanager
async def instance_parts(
    archive: Archive, *, expected: Expected, limits: PartLimits
) -> "AsyncIterator[InstanceParts]":
    """Begin to receive one request.

    Args:
        expected: What each object has to be.

    Raises:
        StorageFull: There is no room for it.
    """
    spool = await asyncio.to_thread(archive.blobs.spool)
    try:
        yield InstanceParts(archive, spool, expected, limits)
    finally:
        await asyncio.to_thread(spool.close)


class InstanceParts:
    """The metadata and the bulk data of one request."""

    def __init__(
        self,
        archive: Archive,
        spool: Spool,
        expected: Expected,
        limits: PartLimits,
    ) -> None:
        self._archive = archive
        self._spool = spool
        self._expected = expected
        self._limits = limits
        self._metadata: list[dict[str, Any] | ArchiveError] = []
        self._bulk: dict[str, list[BulkPart]] = {}
        self._buffer: list[bytes | memoryview] = []
        self._buffered = 0
        self._received = 0
        self._without_location = 0

    def add_metadata(self, dataset: dict[str, Any] | ArchiveError) -> None:
        """The data set of one object as it came, or why it is none."""
        self._metadata.append(dataset)

    async def write(self, data: bytes | memoryview) -> None:
        """The next bytes of the bulk part that has begun.

        Raises:
            TooLarge: More bulk data than one request may have.
            StorageFull: No room is left for it.
        """
        self._received += len(data)
        if self._received > self._limits.bulk_bytes:
            raise TooLarge(
                f"a request may have at most {self._limits.bulk_bytes} bytes of bulk data"
            )
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= BUFFER_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        pieces, self._buffer, self._buffered = self._buffer, [], 0
        if pieces:
            await asyncio.to_thread(self._spool.write, pieces)

    @property
    def received_bytes(self) -> int:
        return self._received

    def add_bulk(
        self, location: str, media_type: str, transfer_syntax_uid: str, *, start: int
    ) -> None:
        """The bulk part that began at `start` of what was received is complete.

        Args:
            location: Its Content-Location; "" when it has none.
        """
        if not location:
            self._without_location += 1
            return
        part = BulkPart(media_type, transfer_syntax_uid, start, self._received)
        self._bulk.setdefault(location, []).append(part)

    async def store(self, resolve: Callable[[str], str]) -> list[StoreResult]:
        """One result an object, in the order of the metadata, and one for bulk data to spare.

        Args:
            resolve: Makes the same text of two references to the same.
        """
        await self._flush()
        bulk = self._by_reference(resolve)
        identities = Identities(
            self._expected.study_instance_uid, of_patient=self._expected.category is None
        )
        referred: set[str] = set()
        results: list[asyncio.Task[StoreResult] | StoreResult] = []
        originals: list[Mapping[str, Any] | None] = []
        try:
            for dataset in self._metadata:
                made = await asyncio.to_thread(
                    self._make, dataset, bulk, resolve, identities, referred
                )
                if isinstance(made, StoreResult):
                    results.append(made)
                    originals.append(None)
                    continue
                results.append(await self._store(made))
                originals.append(made.original_attributes)
        except BaseException:
            tasks = [result for result in results if isinstance(result, asyncio.Task)]
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        done = [
            _with_original(one if isinstance(one, StoreResult) else await one, original)
            for one, original in zip(results, originals, strict=True)
        ]
        spare = sum(len(parts) for uri, parts in bulk.items() if uri not in referred)
        return [*done, *_to_spare(spare, self._without_location)]

    def _by_reference(self, resolve: Callable[[str], str]) -> dict[str, list[BulkPart]]:
        found: dict[str, list[BulkPart]] = {}
        for location, parts in self._bulk.items():
            found.setdefault(resolve(location), []).extend(parts)
        return found

    def _make(
        self,
        dataset: dict[str, Any] | ArchiveError,
        bulk: Mapping[str, Sequence[BulkPart]],
        resolve: Callable[[str], str],
        identities: Identities,
        referred: set[str],
    ) -> MadeInstance | StoreResult:
        """For threads."""
        if isinstance(dataset, ArchiveError):
            return _refusal({}, dataset)
        source = self._spool.map()
        try:
            return self._made(dataset, bulk, resolve, identities, referred, source)
        except ArchiveError as error:
            return _refusal(dataset, error)
        finally:
            if isinstance(source, mmap.mmap):
                source.close()

    def _made(
        self,
        dataset: dict[str, Any],
        bulk: Mapping[str, Sequence[BulkPart]],
        resolve: Callable[[str], str],
        identities: Identities,
        referred: set[str],
        source: Source,
    ) -> MadeInstance:
        # of what is refused, too: its parts are not to spare
        referred.update(map(resolve, _mentioned(dataset)))
        checked = json_model.writable(dataset, max_elements=DEFAULT_LIMITS.elements)
        attributes = instance_making.storable(checked)
        uris = {uri: resolve(uri) for _, _, uri in instance_making.references(attributes)}
        if any(resolved not in bulk for resolved in uris.values()):
            raise InvalidObject("bulk data is referred to that is no part of the payload")
        own = {uri: bulk[resolved] for uri, resolved in uris.items()}
        tag = pixel_parts.pixel_tag(attributes)
        pixels = None
        if tag is not None:
            pixels = pixel_parts.pixel_value(
                attributes,
                tag,
                own[attributes[tag]["BulkDataURI"]],
                source,
                decoded=self._keep,
                max_frame_bytes=self._limits.frame_bytes,
            )
        return instance_making.make(attributes, own, source, identities=identities, pixels=pixels)

    def _keep(self, frames: Iterable[bytes]) -> Span:
        start = self._spool.size_bytes
        for frame in frames:
            if self._spool.size_bytes + len(frame) > self._limits.bulk_bytes:
                raise TooLarge(f"a request may bring at most {self._limits.bulk_bytes} bytes")
            self._spool.write([frame])
        return Span(start, self._spool.size_bytes)

    async def _store(self, made: MadeInstance) -> "asyncio.Task[StoreResult]":
        receiving = self._archive.store.receive(self._expected)
        try:
            for piece in made.pieces:
                if isinstance(piece, bytes):
                    await receiving.write(piece)
                    continue
                for start in range(piece.start, piece.stop, BUFFER_BYTES):
                    stop = min(start + BUFFER_BYTES, piece.stop)
                    await receiving.write(await asyncio.to_thread(self._spool.read, start, stop))
        except BaseException:
            await receiving.abort()
            raise
        return await receiving.finish()


def _mentioned(found: Any) -> Iterator[str]:
    """Each BulkDataURI in what has not been checked."""
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
            uri = one.get("BulkDataURI")
            if isinstance(uri, str):
                yield uri


def _with_original(result: StoreResult, original: Mapping[str, Any] | None) -> StoreResult:
    return result if result.error is not None else replace(result, original_attributes=original)


def _refusal(dataset: Mapping[str, Any], error: ArchiveError) -> StoreResult:
    return StoreResult(
        Outcome.REFUSED,
        None,
        _uid(dataset, SOP_CLASS),
        _uid(dataset, SOP_INSTANCE),
        error=error,
    )


def _uid(dataset: Mapping[str, Any], tag: str) -> str:
    """Of what may be anything: it has not been checked."""
    try:
        found = json_model.writable({tag: dataset[tag]}, max_elements=1)
    except (KeyError, ArchiveError):
        return ""
    return first_text(found, tag)


def _to_spare(unreferenced: int, without_location: int) -> list[StoreResult]:
    found = []
    if unreferenced:
        text = f"{unreferenced} bulk data parts are not referred to by any metadata"
        found.append(_refusal({}, InvalidObject(text)))
    if without_location:
        text = f"{without_location} bulk data parts have no Content-Location"
        found.append(_refusal({}, InvalidObject(text)))
    return found
