"""A new catalogue from the stored files alone."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from bfr_dicomweb.blobs.filesystem import FileBlobStore
from bfr_dicomweb.dicom import coercion
from bfr_dicomweb.dicom.indexed_attributes import IndexedAttribute
from bfr_dicomweb.dicom.part10 import Header
from bfr_dicomweb.errors import ArchiveError, Conflict, Unavailable
from bfr_dicomweb.index import (
    carrying,
    changes,
    followers,
    instances,
    non_patient_instances,
    tombstones,
)
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.tombstones import DeletedBlob, Tombstone
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import availability, indexing
from bfr_dicomweb.services.headers import read_header_of
from bfr_dicomweb.services.store import Prepared, add, expected_of, identify, prepare

GROUP_SIZE: Final = 200


@dataclass(slots=True)
class Rebuilt:
    """Counts, and the keys that were left out with the reason.

    Attributes:
        messages: Taken over from the old catalogue; None when it could not be read.
    """

    added: int = 0
    messages: int | None = 0
    left_out: dict[str, str] = field(default_factory=dict)


@contextmanager
def replaced(catalogue: Path) -> Iterator[Path]:
    """A file beside an SQLite catalogue, which takes its place when all went well.

    The old one is kept beside it, as a last resort.
    """
    new = catalogue.with_name(catalogue.name + ".rebuilt")
    for leftover in new.parent.glob(new.name + "*"):
        leftover.unlink()
    yield new
    if catalogue.exists():
        for suffix in ("", "-wal", "-shm"):
            # with its companions: they must not be applied to the new one
            part = catalogue.with_name(catalogue.name + suffix)
            if part.exists():
                part.replace(catalogue.with_name(f"{catalogue.name}.replaced{suffix}"))
    new.replace(catalogue)


def carry_over(old: Path, new: Path) -> int | None:
    """Take over what no stored file can tell: messages and what follows from them.

    Gives how many messages that were; None when the old catalogue cannot be read.
    """
    if not old.exists():
        return 0
    try:
        return carrying.carry_over(old, new)
    except Unavailable:
        return None


async def rebuild(
    index_url: str,
    blobs: FileBlobStore,
    progress: Callable[[int], None],
    *,
    old: Path | None = None,
    indexed: Sequence[IndexedAttribute] = (),
) -> Rebuilt:
    """Fill an empty catalogue; where two files share an identity, the older one counts.

    What was deleted stays deleted, and is told again as a change: by the old catalogue, and where
    that is lost by the files that have been set aside.

    Args:
        progress: Called with the number of objects just read.
        old: The SQLite catalogue that was in use, if there is one.
        indexed: What else is searched by.

    Raises:
        Conflict: the catalogue is not empty.
    """
    index = await Index.open(index_url)
    try:
        await index.migrate()
        async with index.read() as conn:
            if await instances.count(conn) or not await non_patient_instances.is_empty(conn):
                raise Conflict("the database is not empty: rebuild into a new, empty one")
        async with index.write() as conn:
            # above every number of the old catalogue: caches hold entity tags made of them
            await changes.begin_after(conn, changes.now_us() // 1000)
        await indexing.configure(index, indexed)
        if old is not None:
            await _carry_deletions(index, old)
        rebuilt = await _fill(index, blobs, progress)
        await _bury_set_aside(index, blobs)
        # peers have been told of these studies when they came
        await index.transact(partial(followers.leave_out, name=availability.FOLLOWER))
        return rebuilt
    finally:
        await index.close()


async def _fill(index: Index, blobs: FileBlobStore, progress: Callable[[int], None]) -> Rebuilt:
    rebuilt = Rebuilt()
    keys = blobs.keys()
    while group := await asyncio.to_thread(lambda: list(islice(keys, GROUP_SIZE))):
        deleted = await index.ask(partial(tombstones.known_blobs, keys=group))
        group = [key for key in group if key not in deleted]
        prepared = await asyncio.to_thread(_prepare, blobs, group, rebuilt)
        rows = [row for _, row in prepared]
        added = await index.transact(partial(add, prepared=rows))
        for (key, _), result in zip(prepared, added, strict=True):
            if result.outcome is instances.Outcome.STORED:
                rebuilt.added += 1
            else:
                rebuilt.left_out[key] = "another stored object has the same identity"
        progress(len(group))
    return rebuilt


async def _carry_deletions(index: Index, old: Path) -> None:
    pages = carrying.deletions(old)
    while (page := await asyncio.to_thread(next, pages, None)) is not None:
        await index.transact(partial(_bury, graves=page.tombstones, blobs=page.blobs))


async def _bury(
    conn: Connection, graves: Sequence[Tombstone], blobs: Sequence[DeletedBlob]
) -> None:
    turn = await Turn.take(conn)
    tombstones.put(turn, graves)
    tombstones.keep_blobs(turn.script, blobs)
    await turn.end()


async def _bury_set_aside(index: Index, blobs: FileBlobStore) -> None:
    """Of files that were set aside and that no old catalogue told of."""
    keys = blobs.deleted_keys()
    while group := await asyncio.to_thread(lambda: list(islice(keys, GROUP_SIZE))):
        known = await index.ask(partial(tombstones.known_blobs, keys=group))
        graves, kept, now = [], [], changes.now_us()
        for key in group:
            if key in known:
                continue
            kept.append(DeletedBlob(key, now, is_set_aside=True))
            ref = await asyncio.to_thread(_ref_of, blobs.deleted_path(key))
            if ref is not None and await index.ask(partial(instances.locate, ref=ref)) is None:
                graves.append(Tombstone(ref, now, with_study=False))
        if kept:
            await index.transact(partial(_bury, graves=graves, blobs=kept))


def _ref_of(path: Path) -> Ref | None:
    try:
        ref, _ = identify(_header(path))
    except ArchiveError:
        return None
    return ref if isinstance(ref, Ref) else None


def _prepare(
    blobs: FileBlobStore, keys: Sequence[str], rebuilt: Rebuilt
) -> list[tuple[str, Prepared]]:
    prepared = []
    for key in keys:
        try:
            digest, size = blobs.digest(key)
            header = _header(blobs.path(key))
            ref, sop_class_uid = identify(header, expected_of(header))
        except ArchiveError as error:
            rebuilt.left_out[key] = str(error)
            continue
        row = prepare(header, ref, sop_class_uid, key=key, size=size, digest=digest)
        prepared.append((key, row))
    return prepared


def _header(path: Path) -> Header:
    """With what was presumed when the object was received."""
    header = read_header_of(path)
    presumed = coercion.recorded(header.file_meta)
    if presumed.character_set:
        header = read_header_of(path, character_set=presumed.character_set)
    return coercion.completed(header, presumed)
