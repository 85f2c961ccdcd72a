"""Stored objects as plain files under one folder.

Layout, published so that the catalogue can be rebuilt from it::

    objects/<day>/<bucket>/<name>.dcm    one stored object, the bytes as they were received
    staging/<process>/<key, '/' as '+'>  an object on its way in (same file, hard link)
    staging/<process>/lock               held with flock while its process lives
    deleted/<key, '/' as '+'>.dcm        an object that was deleted, kept for a while

A key is ``<day>/<bucket>/<name>``. Buckets hold at most ``BUCKET_SIZE`` objects
of one process and one day, so that a group of objects shares one folder to flush.

How an object gets in, each step safe to be cut off after:

1. the bytes are written to staging;
2. the file is hard linked into ``objects`` (`place`); then the file (`Staged.seal`) and the folder
   (`flush`) are flushed, in any order or at once;
3. the caller commits the catalogue row that names the key;
4. the staging link is removed (`settle`), or, when the catalogue did not take the
   object, both links are (`withdraw`).

A staging entry of a dead process is therefore an object whose commit is in doubt:
`FileBlobStore.doubtful` yields its key, and the catalogue decides between settle
and withdraw. Nothing has to search ``objects`` for strays.

How an object gets out: the catalogue row goes first, then the file is moved out of ``objects``
(`set_aside`), so that a catalogue that is rebuilt from ``objects`` does not bring it back, and is
removed in the end (`remove`). Each step may be done again.
"""

import errno
import fcntl
import hashlib
import itertools
import mmap
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from bfr_dicomweb.errors import StorageFull, Unavailable

BUCKET_SIZE: Final = 1000
CHUNK_BYTES: Final = 1 << 20
SUFFIX: Final = ".dcm"
MAX_VECTOR: Final = 1024  # IOV_MAX of Linux
ROOM_CHECK_SECONDS: Final = 0.2
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Staged:
    """One object on its way in; used by one thread at a time, but for `seal`."""

    def __init__(self, key: str, path: Path) -> None:
        self.key = key
        self.path = path
        self.size_bytes = 0
        self._digest = hashlib.sha256()
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Append.

        Raises:
            StorageFull: the file system or the quota is exhausted.
        """
        for piece in pieces:
            self._digest.update(piece)
        size = sum(map(len, pieces))
        with translated_os_errors():
            written = os.writev(self._file, pieces) if len(pieces) <= MAX_VECTOR else 0
            if written < size:
                _write_rest(self._file, pieces, written)
        self.size_bytes += size

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes that have been written."""
        return self._digest.digest()

    def seal(self) -> None:
        """Flush to stable storage; no more writes. May run in another thread."""
        try:
            with translated_os_errors():
                os.fsync(self._file)
        finally:
            self._close()

    def discard(self) -> None:
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Spool:
    """Bytes that are kept while one request lasts, in a file without a name: whatever happens to
    the process, nothing stays behind. Used by one thread at a time, but for `read`.
    """

    def __init__(self, folder: Path, check_room: Callable[[], None]) -> None:
        with translated_os_errors():
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._check_room = check_room
        self.size_bytes = 0

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Append.

        Raises:
            StorageFull: less than the reserve is free.
        """
        self._check_room()
        with translated_os_errors():
            for piece in pieces:
                _write_rest(self._file.fileno(), [piece], 0)
                self.size_bytes += len(piece)

    def read(self, start: int, stop: int) -> bytes:
        with translated_os_errors():
            return read_exactly(self._file.fileno(), start, stop)

    def map(self) -> mmap.mmap | bytes:
        """All that has been written; to be closed by the caller."""
        if not self.size_bytes:
            return b""
        return mmap.mmap(self._file.fileno(), self.size_bytes, prot=mmap.PROT_READ)

    def close(self) -> None:
        self._file.close()


class translated_os_errors:  # noqa: N801  a context manager, read as a verb phrase
    """Tell "no room" (StorageFull) from other trouble with the disk (Unavailable)."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            if error.errno in FULL:
                raise StorageFull("no room is left on the storage device") from error
            raise Unavailable(f"the storage device failed: {error.strerror}") from error


class FileBlobStore:
    """The blob store of one process. All methods block; call them in threads.

    Args:
        root: Folder of the store; made when missing. Its file system must have
            hard links, flock and an fsync that means it.
        reserve_bytes: Free space that stores leave untouched, so that the
            catalogue beside the objects can still be written.
    """

    def __init__(self, root: Path, *, reserve_bytes: int = 0) -> None:
        self.objects = root / "objects"
        self.staging = root / "staging"
        self.deleted = root / "deleted"
        self._reserve_bytes = reserve_bytes
        self._own: Path | None = None
        self._lock = -1
        self._serial = itertools.count()
        self._naming = threading.Lock()
        self._bucket = ""
        self._left_in_bucket = 0
        self._room = True
        self._room_checked = 0.0

    def open(self) -> None:
        self.objects.mkdir(parents=True, exist_ok=True)
        self.staging.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        if self._own is not None:
            os.close(self._lock)
            with suppress(OSError):
                (self._own / "lock").unlink()
                self._own.rmdir()
            self._own = None

    def stage(self) -> Staged:
        """Begin to receive one object.

        Raises:
            StorageFull: less than the reserve is free.
        """
        with translated_os_errors():
            with self._naming:
                own = self._own or self._claim_staging()
                key = self._next_key()
            self._require_room(own)
            return Staged(key, own / key.replace("/", "+"))

    def spool(self) -> Spool:
        """Room for what one request brings.

        Raises:
            StorageFull: less than the reserve is free.
        """
        with translated_os_errors():
            with self._naming:
                own = self._own or self._claim_staging()
            self._require_room(own)
        return Spool(own, partial(self._require_room, own))

    def place(self, staged: Staged) -> None:
        """Make a complete object part of the store; durable only after `seal` and `flush`."""
        target = self.path(staged.key)
        with translated_os_errors():
            try:
                os.link(staged.path, target)
            except FileNotFoundError:
                self._make_folder(target.parent)
                os.link(staged.path, target)

    def flush(self, keys: Iterable[str]) -> None:
        """Make it durable that these objects are in the store, before their rows commit."""
        with translated_os_errors():
            for folder in {self.path(key).parent for key in keys}:
                _flush_folder(folder)

    def settle(self, keys: Iterable[str], folder: Path | None = None) -> None:
        """The catalogue has these objects: their staging links have done their work."""
        own = folder or self._own
        for key in keys:
            if own is not None:
                (own / key.replace("/", "+")).unlink(missing_ok=True)

    def withdraw(self, keys: Iterable[str], folder: Path | None = None) -> None:
        """The catalogue does not have these objects: forget them."""
        gone = list(keys)
        for key in gone:
            self.path(key).unlink(missing_ok=True)
        self.settle(gone, folder)

    def set_aside(self, keys: Iterable[str]) -> None:
        """The catalogue has these objects no more; reads under way go on."""
        with translated_os_errors():
            self.deleted.mkdir(parents=True, exist_ok=True)
            folders = {self.deleted}
            for key in keys:
                with suppress(FileNotFoundError):  # it has been done
                    self.path(key).rename(self.deleted_path(key))
                    folders.add(self.path(key).parent)
            for folder in folders:
                _flush_folder(folder)

    def remove(self, keys: Iterable[str]) -> None:
        """Forget the bytes of objects that the catalogue has no more."""
        with translated_os_errors():
            for key in keys:
                self.path(key).unlink(missing_ok=True)
                self.deleted_path(key).unlink(missing_ok=True)

    def deleted_keys(self) -> Iterator[str]:
        """Every object that has been set aside and not removed."""
        for file in sorted(self.deleted.iterdir()) if self.deleted.is_dir() else ():
            if file.suffix == SUFFIX:
                yield file.stem.replace("+", "/")

    def deleted_path(self, key: str) -> Path:
        return self.deleted / (key.replace("/", "+") + SUFFIX)

    def doubtful(self) -> Iterator[tuple[Path, list[str]]]:
        """Staging folders of dead processes with the keys whose commit is in doubt.

        The folder stays locked while the consumer holds the pair, and is removed
        when it comes back for the next.
        """
        for folder in sorted(self.staging.iterdir()) if self.staging.is_dir() else ():
            if folder == self._own or folder.name.startswith(".") or not folder.is_dir():
                continue
            lock = try_lock(folder / "lock")
            if lock is None:
                continue
            try:
                names = [entry.name for entry in folder.iterdir() if entry.name != "lock"]
                yield folder, [name.replace("+", "/") for name in names]
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)

    def path(self, key: str) -> Path:
        return self.objects / (key + SUFFIX)

    def keys(self) -> Iterator[str]:
        """Every stored object, oldest day first."""
        for day in sorted(self.objects.iterdir()) if self.objects.is_dir() else ():
            for bucket in sorted(day.iterdir(), key=lambda path: (path.stat().st_mtime, path.name)):
                for file in sorted(bucket.iterdir()):
                    if file.suffix == SUFFIX:
                        yield f"{day.name}/{bucket.name}/{file.stem}"

    def is_in_flight(self, key: str) -> bool:
        """Whether some process is still storing it, or died while it was."""
        name = key.replace("/", "+")
        folders = self.staging.iterdir() if self.staging.is_dir() else ()
        return any((folder / name).exists() for folder in folders)

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` up to ``stop`` of an object.

        Raises:
            Unavailable: the file is missing, unreadable or shorter than that.
        """
        with translated_os_errors():
            file = self._opened(key)
            try:
                return read_exactly(file, start, stop)
            finally:
                os.close(file)

    def _opened(self, key: str) -> int:
        try:
            return os.open(self.path(key), os.O_RDONLY)
        except FileNotFoundError:
            # deleted while it is being read
            return os.open(self.deleted_path(key), os.O_RDONLY)

    def digest(self, key: str) -> tuple[bytes, int]:
        """SHA-256 and size of what is on the disk now."""
        digest, size = hashlib.sha256(), 0
        with translated_os_errors(), self.path(key).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
        return digest.digest(), size

    def _require_room(self, folder: Path) -> None:
        if self._reserve_bytes and not self._has_room(folder):
            raise StorageFull("the storage device is down to its reserve")

    def _has_room(self, folder: Path) -> bool:
        now = time.monotonic()
        if now - self._room_checked > ROOM_CHECK_SECONDS:
            self._room_checked = now
            room = os.statvfs(folder)
            self._room = room.f_bavail * room.f_frsize >= self._reserve_bytes
        return self._room

    def _claim_staging(self) -> Path:
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        # out of sight of those who look for folders of the dead, until it is locked
        made = self.staging / f".{name}"
        made.mkdir(parents=True)
        lock = try_lock(made / "lock")
        if lock is None:
            raise Unavailable("the staging folder of this process is locked by another")
        self._own, self._lock = made.rename(self.staging / name), lock
        return self._own

    def _next_key(self) -> str:
        day = datetime.now(UTC).strftime("%Y%m%d")
        if self._left_in_bucket == 0 or not self._bucket.startswith(day):
            self._bucket = f"{day}/{secrets.token_hex(5)}"
            self._left_in_bucket = BUCKET_SIZE
        self._left_in_bucket -= 1
        return f"{self._bucket}/{next(self._serial):08x}{secrets.token_hex(2)}"

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _flush_folder(folder.parent)
        _flush_folder(folder.parent.parent)


def _write_rest(file: int, pieces: Sequence[bytes | memoryview], written: int) -> None:
    """What one call did not take: it stops at about 2 GiB, and where the disk is full."""
    for piece in pieces:
        skipped = min(written, len(piece))
        written -= skipped
        view = memoryview(piece)[skipped:]
        while view:
            view = view[os.write(file, view) :]


def read_exactly(file: int, start: int, stop: int) -> bytes:
    data = os.pread(file, stop - start, start)
    if len(data) == stop - start:
        return data
    # Linux reads at most 0x7ffff000 bytes in one call
    pieces, position = [data], start + len(data)
    while position < stop and (more := os.pread(file, stop - position, position)):
        pieces.append(more)
        position += len(more)
    if position < stop:
        raise Unavailable("a stored file is shorter than the catalogue says")
    return b"".join(pieces)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def try_lock(path: Path, flags: int = os.O_CREAT | os.O_RDWR) -> int | None:
    """An flock on the file, or None when a living process holds it."""
    handle = os.open(path, flags, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
