"""Entries that outlive this process until the catalogue has what they say.

Each process appends to files of its own in ``journal``, and removes a file when none of its
entries is needed any more. What stands in the files of a dead process is taken over by whoever
finds them (`Journal.left_behind`). An entry outlives its process, not a power failure.
"""

import errno
import os
import secrets
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bfr_dicomweb.blobs.filesystem import translated_os_errors, try_lock
from bfr_dicomweb.errors import Unavailable

FILE_BYTES: Final = 16 << 20
_HEAD: Final = struct.Struct("<4sII")  # magic, bytes of the entry, CRC-32 of the entry
_MAGIC: Final = b"BFRJ"


@dataclass(slots=True)
class _File:
    path: Path
    handle: int
    size_bytes: int = 0
    needed: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands, for `Journal.forget`."""

    file: _File


@dataclass(frozen=True, slots=True)
class Left:
    """What a dead process left in one file."""

    path: Path
    entries: tuple[bytes, ...]


class Journal:
    """Of one process; used by one thread at a time."""

    def __init__(self, root: Path, *, file_bytes: int = FILE_BYTES) -> None:
        self.folder = root / "journal"
        self._file_bytes = file_bytes
        self._current: _File | None = None
        self._own: set[Path] = set()

    def append(self, *pieces: bytes) -> Place:
        """Write an entry down: its pieces, joined.

        Raises:
            StorageFull, Unavailable: It is not written, or not wholly.
        """
        size = sum(map(len, pieces))
        sum_ = 0
        for piece in pieces:
            sum_ = zlib.crc32(piece, sum_)
        with translated_os_errors():
            file = self._file()
            written = os.writev(file.handle, [_HEAD.pack(_MAGIC, size, sum_), *pieces])
            if written < size + _HEAD.size:
                self._cut_back(file)
        file.size_bytes += written
        file.needed += 1
        return Place(file)

    def forget(self, place: Place) -> None:
        """The catalogue has what the entry says."""
        file = place.file
        file.needed -= 1
        if file.needed == 0 and file is not self._current:
            self._remove(file)

    def close(self) -> None:
        """What is still needed is left behind for the next."""
        file, self._current = self._current, None
        if file is None:
            return
        if file.needed == 0:
            self._remove(file)
        else:
            os.close(file.handle)

    def left_behind(self) -> Iterator[Left]:
        """What dead processes left. A file is removed when the consumer comes back for the next."""
        with translated_os_errors():
            found = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        for path in found:
            if path in self._own or path.name.startswith("."):
                continue
            with translated_os_errors():
                yield from _left(path)

    def _file(self) -> _File:
        file = self._current
        if file is not None and file.size_bytes < self._file_bytes:
            return file
        self._current = None
        if file is not None and file.needed == 0:
            self._remove(file)
        self._current = self._new()
        return self._current

    def _new(self) -> _File:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(6)}"
        # out of sight of those who look for files of the dead, until it is locked
        hidden = self.folder / f".{name}"
        handle = try_lock(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)
        if handle is None:
            raise Unavailable("the journal of this process is locked by another")
        path = hidden.rename(self.folder / name)
        self._own.add(path)
        return _File(path, handle)

    def _cut_back(self, file: _File) -> None:
        """An entry that is not whole must not hide those that come after it."""
        os.ftruncate(file.handle, file.size_bytes)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _remove(self, file: _File) -> None:
        with suppress(OSError):
            file.path.unlink()
        os.close(file.handle)
        self._own.discard(file.path)


def _left(path: Path) -> Iterator[Left]:
    """Nothing, when a process that lives has the file or has removed it meanwhile."""
    try:
        lock = try_lock(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    if lock is None:
        return
    try:
        if os.fstat(lock).st_nlink:
            yield Left(path, tuple(_entries(path.read_bytes())))
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _entries(data: bytes) -> Iterator[bytes]:
    """The whole ones, up to the first that is not."""
    place = 0
    while place + _HEAD.size <= len(data):
        magic, size, sum_ = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        entry = data[place : place + size]
        if magic != _MAGIC or len(entry) < size or zlib.crc32(entry) != sum_:
            return
        yield entry
        place += size
