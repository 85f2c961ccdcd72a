"""Does the store still hold what the catalogue promises, byte for byte?"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

from bfr_dicomweb.errors import ArchiveError
from bfr_dicomweb.index import instances, non_patient_instances
from bfr_dicomweb.services.archive import Archive

AT_ONCE: Final = 4
KEYS_AT_ONCE: Final = 500


@dataclass(slots=True)
class Verification:
    """Blob keys by defect."""

    verified: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.missing or self.damaged or self.strays)


async def verify(archive: Archive, progress: Callable[[], None]) -> Verification:
    """Read every stored object again and compare it with the catalogue.

    Args:
        progress: Called after each object.
    """
    found = Verification()
    slots = asyncio.Semaphore(AT_ONCE)

    async def compare(key: str, digest: bytes, size_bytes: int) -> None:
        try:
            if not await asyncio.to_thread(archive.blobs.path(key).is_file):
                found.missing.append(key)
            elif await asyncio.to_thread(archive.blobs.digest, key) != (digest, size_bytes):
                found.damaged.append(key)
            else:
                found.verified += 1
        except ArchiveError:
            found.damaged.append(key)
        finally:
            slots.release()
            progress()

    async with asyncio.TaskGroup() as group:
        async for row in _stored(archive):
            await slots.acquire()
            group.create_task(compare(row.blob_key, row.digest, row.size_bytes))
    # what was deleted meanwhile is where deleted bytes are
    found.missing = [key for key in found.missing if await _is_stored(archive, key)]
    async for key in _strays(archive):
        found.strays.append(key)
    return found


async def _is_stored(archive: Archive, key: str) -> bool:
    return await archive.index.ask(partial(instances.has_blob, key=key))


async def _stored(archive: Archive) -> AsyncIterator[instances.StoredBlob]:
    async with archive.index.read() as conn:
        async for row in instances.iterate_blobs(conn):
            yield row
        async for row in non_patient_instances.iterate_blobs(conn):
            yield row


async def _strays(archive: Archive) -> AsyncIterator[str]:
    """Objects that the catalogue does not know and that are not on their way in."""
    keys = archive.blobs.keys()
    while page := await asyncio.to_thread(_page, keys):
        async with archive.index.read() as conn:
            known = await instances.known_blob_keys(conn, page)
        for key in page:
            if key not in known and not archive.blobs.is_in_flight(key):
                yield key


def _page(keys: Iterator[str]) -> list[str]:
    return list(islice(keys, KEYS_AT_ONCE))
