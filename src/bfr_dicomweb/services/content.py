"""What is sent of the stored bytes: a description first, the bytes when they are asked for.

Sizes are known before a byte is read, so that Content-Length, HEAD and Range cost
nothing; the bytes are read in threads, a few at a time, so that memory stays flat
whatever the size.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.blobs.filesystem import FileBlobStore

CHUNK_BYTES: Final = 1 << 20
THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes `start` up to `stop` of a stored object."""

    blob_key: str
    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Made:
    """Bytes that are made when their turn comes, e.g. a decoded frame.

    `size_bytes` is None when it is known only then.
    """

    size_bytes: int | None
    make: Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Streamed:
    """Bytes that are made little by little, in threads, when their turn comes.

    Attributes:
        size_bytes: None when it is known only in the end.
        open: Called once; gives the bytes.
    """

    size_bytes: int | None
    open: Callable[[], Iterator[bytes]]


Piece = bytes | FileRange | Made | Streamed


@dataclass(frozen=True, slots=True)
class Content:
    """Pieces in the order in which they are sent."""

    pieces: tuple[Piece, ...]

    @property
    def size_bytes(self) -> int | None:
        """None when a piece does not know its size."""
        total = 0
        for piece in self.pieces:
            size = size_of(piece)
            if size is None:
                return None
            total += size
        return total

    def cut(self, start: int, stop: int) -> "Content":
        """Bytes `start` up to `stop` of this content, whose size is known."""
        kept: list[Piece] = []
        position = 0
        for piece in self.pieces:
            size = size_of(piece) or 0
            first, last = max(start - position, 0), min(stop - position, size)
            if first < last:
                kept.append(_cut(piece, first, last))
            position += size
        return Content(tuple(kept))


def size_of(piece: Piece) -> int | None:
    return len(piece) if isinstance(piece, bytes) else piece.size_bytes


def _cut(piece: Piece, first: int, last: int) -> Piece:
    if isinstance(piece, bytes):
        return piece[first:last]
    if isinstance(piece, FileRange):
        return FileRange(piece.blob_key, piece.start + first, piece.start + last)
    if (first, last) == (0, piece.size_bytes):
        return piece
    if isinstance(piece, Streamed):
        return Streamed(last - first, lambda: _between(piece.open(), first, last))

    async def part() -> bytes:
        return (await piece.make())[first:last]

    return Made(last - first, part)


def _between(chunks: Iterator[bytes], first: int, last: int) -> Iterator[bytes]:
    position = 0
    for chunk in chunks:
        wanted = chunk[max(first - position, 0) : max(last - position, 0)]
        position += len(chunk)
        if wanted:
            yield wanted
        if position >= last:
            return


class Reader:
    """Reads content from the blob store of this process."""

    def __init__(self, blobs: FileBlobStore) -> None:
        self._blobs = blobs
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="read")

    def close(self) -> None:
        self._threads.shutdown()

    async def read(self, piece: FileRange) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, self._blobs.read, piece.blob_key, piece.start, piece.stop
        )

    async def bytes_of(self, piece: Piece) -> bytes:
        if isinstance(piece, bytes):
            return piece
        if isinstance(piece, FileRange):
            return await self.read(piece)
        if isinstance(piece, Made):
            return await piece.make()
        return b"".join([chunk async for chunk in self._stream(piece)])

    async def whole(self, content: Content) -> bytes:
        """All bytes at once: for what is known to be small."""
        if len(content.pieces) == 1:
            return await self.bytes_of(content.pieces[0])
        return b"".join([await self.bytes_of(piece) for piece in content.pieces])

    async def chunks(self, content: Content) -> AsyncIterator[list[bytes]]:
        """The bytes in order, about `CHUNK_BYTES` at a time; the next are read meanwhile.

        Raises:
            Unavailable: a stored file cannot be read.
        """
        ahead: asyncio.Future[list[bytes]] | None = None
        try:
            for batch in _batches(content.pieces):
                if isinstance(batch, Streamed):
                    if ahead is not None:
                        yield await ahead
                        ahead = None
                    async for chunk in self._stream(batch):
                        yield [chunk]
                    continue
                coming = asyncio.ensure_future(self._load(batch))
                if ahead is not None:
                    yield await ahead
                ahead = coming
            if ahead is not None:
                yield await ahead
                ahead = None
        finally:
            if ahead is not None:
                ahead.cancel()

    async def _stream(self, piece: Streamed) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        chunks = await loop.run_in_executor(self._threads, piece.open)
        while (chunk := await loop.run_in_executor(self._threads, next, chunks, None)) is not None:
            yield chunk

    async def _load(self, batch: "Sequence[Stored] | Made") -> list[bytes]:
        if isinstance(batch, Made):
            return [await batch.make()]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read_batch, batch)

    def _read_batch(self, batch: "Sequence[Stored]") -> list[bytes]:
        read = self._blobs.read
        return [
            piece if isinstance(piece, bytes) else read(piece.blob_key, piece.start, piece.stop)
            for piece in batch
        ]


Stored = bytes | FileRange


def _batches(pieces: Sequence[Piece]) -> Iterator[list[Stored] | Made | Streamed]:
    """Neighbours that one visit to a thread reads; large file ranges are divided."""
    batch: list[Stored] = []
    size = 0
    for piece in _divided(pieces):
        if isinstance(piece, Made | Streamed):
            if batch:
                yield batch
            yield piece
            batch, size = [], 0
            continue
        batch.append(piece)
        size += len(piece) if isinstance(piece, bytes) else piece.size_bytes
        if size >= CHUNK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _divided(pieces: Sequence[Piece]) -> Iterator[Piece]:
    for piece in pieces:
        if not isinstance(piece, FileRange) or piece.size_bytes <= CHUNK_BYTES:
            yield piece
            continue
        for start in range(piece.start, piece.stop, CHUNK_BYTES):
            yield FileRange(piece.blob_key, start, min(start + CHUNK_BYTES, piece.stop))
