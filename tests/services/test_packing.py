"""ZIP files that are made while they are sent."""

import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from bfr_dicomweb.blobs.filesystem import FileBlobStore
from bfr_dicomweb.services.content import Content, Streamed
from bfr_dicomweb.services.packing import Member, zipped

# Local file header: signature, version needed, flags, method.
METHOD_AT = 8
DEFLATED = 8


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobStore:
    return FileBlobStore(tmp_path)


ZIP64 = 0x0001  # header of an extra field, APPNOTE.TXT 4.5.3


def streamed(size: int, chunk: bytes) -> Content:
    def chunks() -> Iterator[bytes]:
        for _ in range(size // len(chunk)):
            yield chunk

    return Content((Streamed(None, chunks),))


def test_entries_hold_what_was_put_in(blobs: FileBlobStore) -> None:
    members = [
        Member("DICOM/A", Content((b"one", b"two"))),
        Member("DICOM/B", streamed(100_000, b"x" * 1000)),
        Member("EMPTY", Content(())),
    ]

    file = zipfile.ZipFile(BytesIO(b"".join(zipped(blobs, members))))

    assert file.testzip() is None
    assert file.read("DICOM/A") == b"onetwo"
    assert file.read("DICOM/B") == b"x" * 100_000
    assert file.read("EMPTY") == b""


def test_the_same_members_make_the_same_bytes(blobs: FileBlobStore) -> None:
    def made() -> bytes:
        return b"".join(zipped(blobs, [Member("A", Content((b"one",)))]))

    assert made() == made()


def test_each_entry_tells_its_own_end(blobs: FileBlobStore) -> None:
    """Readers of a stream cannot take entries that are stored, and whose length comes later."""
    made = b"".join(zipped(blobs, [Member("A", Content((b"one",)))]))

    assert made[METHOD_AT] == DEFLATED


def test_an_entry_of_unknown_size_may_become_larger_than_four_gigabytes(
    blobs: FileBlobStore,
) -> None:
    made = b"".join(zipped(blobs, [Member("A", streamed(1000, b"x" * 100))]))

    name_bytes, extra_bytes = struct.unpack_from("<HH", made, 26)
    (kind,) = struct.unpack_from("<H", made, 30 + name_bytes)
    assert extra_bytes
    assert kind == ZIP64


def test_memory_stays_flat_however_large_an_entry_is(blobs: FileBlobStore) -> None:
    size = 200 << 20
    tracemalloc.start()

    sent = sum(len(piece) for piece in zipped(blobs, [Member("A", streamed(size, bytes(1 << 20)))]))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent > size
    assert peak < 12 << 20
