"""Data sets of stored instances, in the transfer syntax of a receiver; for threads."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import IO

from bfr_dicomweb.dicom import transcoding
from bfr_dicomweb.dicom.rewriting import TARGETS as UNCOMPRESSED
from bfr_dicomweb.errors import Unavailable
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.retrieve import StoredInstance as StoredInstance


def transfer_syntaxes(stored: StoredInstance) -> tuple[str, ...]:
    """In which the data set can be sent without loss, the best first.

    An odd number of bytes cannot be sent (PS3.8 Annex E.1): such a data set is rewritten, which
    makes the value even that is not. Deflated bytes are padded (PS3.5 Annex A.5), and as a last
    resort so is a compressed image, which is not rewritten without decoding it.
    """
    own = stored.transfer_syntax_uid
    known = stored.pixel_tag is None or retrieve.can_be_decoded(stored)
    others = tuple(uid for uid in UNCOMPRESSED if known and uid != own)
    if _is_even(stored) or stored.deflated or own in UNCOMPRESSED:
        return (own, *others)
    return (*others, own)


def compressed(stored: StoredInstance) -> tuple[str, ...]:
    """To which an image may be brought for those who take nothing else, without loss.

    Whether it can be, `blocks` tells.
    """
    if stored.pixel_tag is None:
        return ()
    possible = transcoding.possible_targets(stored.transfer_syntax_uid)
    return tuple(uid for uid in possible if uid in transcoding.LOSSLESS)


def _is_even(stored: StoredInstance) -> bool:
    return (stored.size_bytes - stored.dataset_offset) % 2 == 0


def blocks(
    archive: Archive, stored: StoredInstance, transfer_syntax_uid: str, *, block_bytes: int
) -> Iterator[bytes | memoryview]:
    """The data set in blocks of `block_bytes` and a last shorter one, with flat memory.

    What cannot be made is found out before this returns. A block stays as it is until the next
    but one is asked for.

    Args:
        transfer_syntax_uid: One of `transfer_syntaxes` or `compressed`.

    Raises:
        UndecodablePixelData: a frame cannot be decoded.
        NotAcceptable: the data set cannot be said in that transfer syntax.
        Unavailable: the stored file cannot be read.
    """
    rewritable = transfer_syntax_uid in UNCOMPRESSED
    if transfer_syntax_uid == stored.transfer_syntax_uid and (_is_even(stored) or not rewritable):
        try:
            file = archive.blobs.path(stored.blob_key).open("rb", buffering=0)
        except OSError as error:
            raise Unavailable(f"a stored file cannot be read: {error.strerror}") from error
        return _file_blocks(file, stored.dataset_offset, block_bytes)
    made = retrieve.rewritten(
        archive, stored, transfer_syntax_uid=transfer_syntax_uid, as_file=False
    )
    native = stored.frame_bits > 0 and rewritable
    if stored.number_of_frames == 1 or native:
        return _regrouped(made.chunks, block_bytes)
    # A frame that turns out to be broken must not leave a receiver with half an object.
    return _file_blocks(_kept(archive, made.chunks), 0, block_bytes)


def _kept(archive: Archive, chunks: Iterable[bytes]) -> IO[bytes]:
    with ExitStack() as opened:
        folder = archive.blobs.staging
        whole = opened.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0))
        for chunk in chunks:
            whole.write(chunk)
        opened.pop_all()
        return whole


def _file_blocks(file: IO[bytes], start: int, block_bytes: int) -> Iterator[memoryview]:
    with file:
        left = os.fstat(file.fileno()).st_size - start
        left += left % 2
        file.seek(start)
        # two, as one is still being sent when the next is read
        buffers = [bytearray(min(block_bytes, left)) for _ in range(2)]
        while left > 0:
            block = memoryview(buffers[0])[: min(block_bytes, left)]
            read = _read_into(file, block)
            if read < len(block) - 1:
                raise Unavailable("a stored file has become shorter")
            block[read:] = bytes(len(block) - read)
            yield block
            left -= len(block)
            buffers.reverse()


def _read_into(file: IO[bytes], block: memoryview) -> int:
    read = 0
    while read < len(block):
        part = os.readv(file.fileno(), [block[read:]])
        if not part:
            break
        read += part
    return read


def _regrouped(chunks: Iterable[bytes], block_bytes: int) -> Iterator[bytes]:
    kept = bytearray()
    for chunk in chunks:
        kept += chunk
        while len(kept) >= block_bytes:
            yield bytes(kept[:block_bytes])
            del kept[:block_bytes]
    if kept:
        yield bytes(kept)
