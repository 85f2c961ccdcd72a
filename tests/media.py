"""Folders as they are on discs: files and the DICOMDIR that lists them (PS3.10 section 8)."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.fileset import FileSet


def write_media(folder: Path, files: Sequence[bytes]) -> Path:
    """Give the path of the DICOMDIR of a new folder that holds these files."""
    media = FileSet()
    for file in files:
        media.add(dcmread(BytesIO(file)))
    media.write(folder)
    media._stage["t"].cleanup()  # else it is cleaned up later, with a warning
    return folder / "DICOMDIR"


def read_media(dicomdir: Path) -> list[tuple[Path, Dataset]]:
    """The files that a DICOMDIR lists, in its order, and what is in them."""
    media = FileSet(dicomdir)
    try:
        return [(Path(one.path), one.load()) for one in media]
    finally:
        media._stage["t"].cleanup()
