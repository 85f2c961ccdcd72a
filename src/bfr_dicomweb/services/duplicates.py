"""Whether two files hold the same object, however it got here.

What stands before the data set (preamble, File Meta Information) is made by who writes the file: an
object that came by C-STORE and by STOW-RS has two of them. Senders also write the lengths of groups
and sequences anew, or another VR encoding. None of this makes another object.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bfr_dicomweb.blobs.filesystem import CHUNK_BYTES, read_exactly, translated_os_errors
from bfr_dicomweb.dicom.part10 import IMPLICIT_LITTLE_ENDIAN, Header
from bfr_dicomweb.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from bfr_dicomweb.services.headers import read_header_of

# Bulk values are the same bytes in both.
_ALIKE: Final = frozenset({IMPLICIT_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN})


def are_same_object(one: Path, other: Path) -> bool:
    """Raises InvalidObject, Unavailable: one of them cannot be read."""
    with translated_os_errors(), ExitStack() as opened:
        left, right = (_Opened(path, opened) for path in (one, other))
        syntaxes = {left.header.transfer_syntax_uid, right.header.transfer_syntax_uid}
        if len(syntaxes) > 1 and not syntaxes <= _ALIKE:
            return False
        at, there = left.header.dataset_offset, right.header.dataset_offset
        length = left.size_bytes - at
        if length == right.size_bytes - there and _same_bytes(left, at, right, there, length):
            return True
        return _say_the_same(left, right)


class _Opened:
    def __init__(self, path: Path, opened: ExitStack) -> None:
        self.header: Header = read_header_of(path)
        self.file = opened.enter_context(path.open("rb", buffering=0)).fileno()
        self.size_bytes = os.fstat(self.file).st_size


def _say_the_same(left: _Opened, right: _Opened) -> bool:
    one, other = left.header, right.header
    # values of a deflated data set are not where its header says: they have been inflated
    if one.deflated or other.deflated or one.attributes != other.attributes:
        return False
    if [(v.path, v.length) for v in one.bulk] != [(v.path, v.length) for v in other.bulk]:
        return False
    return all(
        _same_bytes(left, value.offset, right, same.offset, value.length)
        for value, same in zip(one.bulk, other.bulk, strict=True)
    )


def _same_bytes(left: _Opened, at: int, right: _Opened, there: int, length: int) -> bool:
    for start in range(0, length, CHUNK_BYTES):
        stop = min(start + CHUNK_BYTES, length)
        mine = read_exactly(left.file, at + start, at + stop)
        if mine != read_exactly(right.file, there + start, there + stop):
            return False
    return True
