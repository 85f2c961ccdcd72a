"""The header of a file, read without the rest of it."""

import mmap
from pathlib import Path

from bfr_dicomweb.dicom import part10
from bfr_dicomweb.errors import InvalidObject


def read_header_of(path: Path, *, character_set: str = "") -> part10.Header:
    """Raises InvalidObject.

    Args:
        character_set: As `part10.read_header` takes it.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise InvalidObject("the object is empty")
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            return part10.read_header(mapped, character_set=character_set)
