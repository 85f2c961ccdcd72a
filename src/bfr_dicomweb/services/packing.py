"""Instances as one ZIP file that is made while it is sent (PS3.10 Annex B for its contents)."""

import asyncio
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZipFile

import orjson
import zstandard

from bfr_dicomweb.blobs.filesystem import FileBlobStore
from bfr_dicomweb.dicom import file_set
from bfr_dicomweb.dicom.attributes import select
from bfr_dicomweb.dicom.file_set import Entry
from bfr_dicomweb.index import instances
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.content import CHUNK_BYTES, Content, FileRange, Piece, Streamed
from bfr_dicomweb.services.retrieve import StoredInstance

# Larger files, and those whose size is known only in the end, are told in the ZIP64 form.
_PLAIN_BYTES: Final = (1 << 31) - 1
# Blocks that are not compressed: pixels hardly get smaller, and readers that cannot go back need
# a method that tells its own end, which "stored" does not.
_LEVEL: Final = zlib.Z_NO_COMPRESSION
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Packed:
    """One instance of a ZIP file, and how it is written there."""

    stored: StoredInstance
    transfer_syntax_uid: str
    content: Content


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a ZIP file; its content holds no frames that are still to be made."""

    name: str
    content: Content


async def packed(
    archive: Archive, ref: Ref, files: Sequence[Packed], *, with_directory: bool
) -> Content:
    """A ZIP file whose entries are named as a File-set's, so that no name tells of a patient.

    Args:
        ref: What all files are of.
        files: Those of one series stand together.
        with_directory: A DICOMDIR is the last entry.
    """
    file_ids = _file_ids(files)
    members = [
        Member("/".join(name), one.content) for name, one in zip(file_ids, files, strict=True)
    ]
    if with_directory:
        made = await _directory(archive, ref, files, file_ids)
        members.append(Member(file_set.DICOMDIR, Content((made,))))
    return Content((Streamed(None, partial(zipped, archive.blobs, members)),))


def _file_ids(files: Sequence[Packed]) -> list[tuple[str, ...]]:
    series: dict[str, int] = {}
    counts: Counter[str] = Counter()
    file_ids = []
    for one in files:
        uid = one.stored.series_instance_uid
        number = series.setdefault(uid, len(series) + 1)
        counts[uid] += 1
        file_ids.append(file_set.file_id(number, counts[uid]))
    return file_ids


async def _directory(
    archive: Archive, ref: Ref, files: Sequence[Packed], file_ids: Sequence[tuple[str, ...]]
) -> bytes:
    described: dict[str, dict[str, Any]] = {}
    after: instances.Position | None = None
    while True:
        page, after = await archive.index.ask(partial(_documents, ref=ref, after=after))
        described |= await asyncio.to_thread(_needed, page)
        if after is None:
            break
    entries = [
        Entry(name, one.transfer_syntax_uid, described[one.stored.sop_instance_uid])
        for name, one in zip(file_ids, files, strict=True)
        # what was deleted meanwhile is not there
        if one.stored.sop_instance_uid in described
    ]
    return await asyncio.to_thread(file_set.directory, entries)


async def _documents(
    conn: Connection, *, ref: Ref, after: instances.Position | None
) -> tuple[list[instances.Document], instances.Position | None]:
    return await instances.document_page(conn, ref, after=after, limit=_PAGE)


def _needed(page: Sequence[instances.Document]) -> dict[str, dict[str, Any]]:
    decompressor = zstandard.ZstdDecompressor()
    return {
        one.sop_instance_uid: select(
            orjson.loads(decompressor.decompress(one.document)), file_set.NEEDED
        )
        for one in page
    }


class _Sink(io.RawIOBase):
    """What the ZIP file is written to: it cannot go back, and is emptied all the time."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= CHUNK_BYTES // 2


def zipped(blobs: FileBlobStore, members: Sequence[Member]) -> Iterator[bytes]:
    """A ZIP file, piece by piece; what a member holds is read when its turn comes.

    Raises:
        Unavailable: a stored file cannot be read.
    """
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_DEFLATED, compresslevel=_LEVEL) as file:
        for member in members:
            yield from _entry(file, sink, blobs, member)
    yield sink.taken()


def _entry(file: ZipFile, sink: _Sink, blobs: FileBlobStore, member: Member) -> Iterator[bytes]:
    size = member.content.size_bytes
    is_large = size is None or size > _PLAIN_BYTES
    with file.open(member.name, "w", force_zip64=is_large) as entry:
        for piece in member.content.pieces:
            for chunk in _chunks(blobs, piece):
                entry.write(chunk)
                if sink.is_full:
                    yield sink.taken()


def _chunks(blobs: FileBlobStore, piece: Piece) -> Iterator[bytes]:
    if isinstance(piece, bytes):
        yield piece
    elif isinstance(piece, FileRange):
        for start in range(piece.start, piece.stop, CHUNK_BYTES):
            yield blobs.read(piece.blob_key, start, min(start + CHUNK_BYTES, piece.stop))
    elif isinstance(piece, Streamed):
        yield from piece.open()
    else:
        raise TypeError("a frame alone is no file")
