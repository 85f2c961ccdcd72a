"""Deleting what is stored.

The rows go at once and leave tombstones, so that it is known afterwards that something was here.
The bytes are set aside and removed after a time. What is cut off between these steps is done by
the next `clean`: a row without its file is never possible, a file without a row is known by its
key.
"""

import asyncio
from functools import partial
from typing import Final

import orjson
import structlog
import zstandard

from bfr_dicomweb.dicom.attributes import Attributes
from bfr_dicomweb.errors import ArchiveError
from bfr_dicomweb.index import changes, deletions, tombstones
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.archive import Archive

_PAGE: Final = 500
_DAY_US: Final = 86_400_000_000

log = structlog.get_logger("deletion")


async def delete(archive: Archive, ref: Ref) -> int:
    """Delete a study, a series or an instance; gives how many instances that were.

    Raises:
        NotFound: there is no such thing.
        Gone: it has been deleted already.
    """
    keys = await archive.index.transact(partial(deletions.delete, ref=ref, read=_attributes))
    if keys is None:
        raise await retrieve.absence(archive, ref)
    log.info("deleted", level=ref.level.value, instances=len(keys))
    try:
        await _set_aside(archive, keys)
    except ArchiveError as error:
        log.warning("bytes are set aside later", reason=str(error))
    return len(keys)


def _attributes(document: bytes) -> Attributes:
    attributes: Attributes = orjson.loads(zstandard.ZstdDecompressor().decompress(document))
    return attributes


async def _set_aside(archive: Archive, keys: list[str]) -> None:
    await asyncio.to_thread(archive.blobs.set_aside, keys)
    await archive.index.transact(partial(tombstones.are_set_aside, keys=keys))


async def clean(archive: Archive, *, after_days: float) -> None:
    """Remove bytes whose time is over, and finish what was cut off; may run anywhere, twice."""
    index = archive.index
    while keys := await index.ask(partial(tombstones.blobs_to_set_aside, limit=_PAGE)):
        await _set_aside(archive, keys)
    before_us = changes.now_us() - int(after_days * _DAY_US)
    while keys := await index.ask(partial(tombstones.blobs_due, before_us=before_us, limit=_PAGE)):
        await asyncio.to_thread(archive.blobs.remove, keys)
        await index.transact(partial(tombstones.are_removed, keys=keys))
        log.info("deleted bytes removed", objects=len(keys))
