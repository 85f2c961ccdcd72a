"""Import of files, folders, media and zip archives through the one way in."""

import asyncio
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

import pydicom
from pydicom.errors import InvalidDicomError

from bfr_dicomweb.errors import ArchiveError
from bfr_dicomweb.services.store import Outcome, Store, StoreResult

CHUNK_BYTES: Final = 1 << 20
AT_ONCE: Final = 16
MEDIA_DIRECTORY: Final = "DICOMDIR"
MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class Source:
    """One file that may hold an object: on the disk, or a member of a zip archive."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"


@dataclass(slots=True)
class Summary:
    """What became of the files; reasons are texts of `ArchiveError`."""

    stored: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> int:
        return self.stored + self.duplicates + self.refused.total()

    def count(self, source: Source, result: StoreResult) -> None:
        if result.outcome is Outcome.STORED:
            self.stored += 1
        elif result.outcome is Outcome.DUPLICATE:
            self.duplicates += 1
        else:
            self.refuse(source, str(result.error))

    def refuse(self, source: Source, reason: str) -> None:
        self.refused[reason] += 1
        self.examples.setdefault(reason, source.name)


def sources(paths: Sequence[Path]) -> Iterator[Source]:
    """Every file to try, folders in order of name; a DICOMDIR stands for what it lists."""
    for path in paths:
        if path.is_dir():
            for file in sorted(item for item in path.rglob("*") if item.is_file()):
                if file.name.upper() != MEDIA_DIRECTORY:
                    yield from _file_sources(file)
        elif path.name.upper() == MEDIA_DIRECTORY:
            yield from (Source(file) for file in _listed_files(path))
        else:
            yield from _file_sources(path)


def _file_sources(path: Path) -> Iterator[Source]:
    if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
        yield Source(path)
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = PurePosixPath(member.filename).name.upper()
            if not member.is_dir() and name != MEDIA_DIRECTORY:
                yield Source(path, member.filename)


def _listed_files(directory: Path) -> list[Path]:
    """The files that a media directory references (PS3.10 section 8)."""
    try:
        records = pydicom.dcmread(directory).get("DirectoryRecordSequence") or []
    except (InvalidDicomError, OSError, ValueError):
        return [directory]
    listed = []
    for record in records:
        file_id = record.get("ReferencedFileID")
        if file_id:
            parts = [file_id] if isinstance(file_id, str) else list(file_id)
            listed.append(directory.parent.joinpath(*map(str, parts)))
    return listed


async def import_files(
    store: Store, files: AsyncIterator[Source], progress: Callable[[Source], None]
) -> Summary:
    """Store each file; safe to interrupt and to run again, since repeats are duplicates.

    Args:
        progress: Called after each file.
    """
    summary = Summary()
    slots = asyncio.Semaphore(AT_ONCE)

    async def take(source: Source) -> None:
        try:
            summary.count(source, await _import_one(store, source))
        except (OSError, zipfile.BadZipFile, ArchiveError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            summary.refuse(source, f"it cannot be read: {reason}")
        finally:
            slots.release()
            progress(source)

    async with asyncio.TaskGroup() as group:
        async for source in files:
            await slots.acquire()
            group.create_task(take(source))
    return summary


async def _import_one(store: Store, source: Source) -> StoreResult:
    file = await asyncio.to_thread(_open, source)
    try:
        receiving = store.receive()
        try:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                await receiving.write(chunk)
        except BaseException:
            await receiving.abort()
            raise
        return await (await receiving.finish())
    finally:
        file.close()


def _open(source: Source) -> BinaryIO:
    if source.member is None:
        return source.path.open("rb")
    # one handle a member: a shared one would have to be locked
    archive = zipfile.ZipFile(source.path)
    try:
        return archive.open(source.member)  # type: ignore[return-value]
    finally:
        archive.close()  # the member keeps the file open
