"""PS3.10 files: read strictly, and compared with what was stored."""

import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames

_LENGTH_ELEMENT = b"\x02\x00\x00\x00UL\x04\x00"
# Type 1 in PS3.10 Table 7.1-1.
_REQUIRED_META: Final = (
    "FileMetaInformationVersion",
    "MediaStorageSOPClassUID",
    "MediaStorageSOPInstanceUID",
    "TransferSyntaxUID",
    "ImplementationClassUID",
)
_LONG_VRS: Final = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR"})
DCIODVFY_TIMEOUT_S: Final = 30


class NotReadable(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    dataset: FileDataset

    @property
    def transfer_syntax(self) -> str:
        return str(self.dataset.file_meta.get("TransferSyntaxUID", ""))

    @property
    def sop_instance_uid(self) -> str:
        return str(self.dataset.get("SOPInstanceUID", ""))


def read(content: bytes) -> File:
    """Raises NotReadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            dataset = pydicom.dcmread(BytesIO(content))
            dataset.walk(lambda *_: None)  # values are parsed when they are asked for
    except Exception as error:  # whatever pydicom stumbles over, it is the file's fault
        raise NotReadable(f"a part is no PS3.10 file: {type(error).__name__}") from None
    return File(content, dataset)


def bytes_of(dataset: Dataset, keyword: str) -> bytes:
    """The value of a binary attribute; nothing where it is missing, or of a VR of text."""
    value = dataset.get(keyword)
    return bytes(value) if isinstance(value, bytes | bytearray) else b""


def number_of(dataset: Dataset, keyword: str) -> int | None:
    """None where it is missing, empty, or no number."""
    try:
        return int(str(dataset.get(keyword)))
    except ValueError:
        return None


def frames(dataset: Dataset) -> list[bytes]:
    """Of encapsulated pixel data. Raises NotReadable."""
    count, pixels = number_of(dataset, "NumberOfFrames") or 1, bytes_of(dataset, "PixelData")
    try:
        return list(generate_frames(pixels, number_of_frames=count))
    except Exception as error:  # as above
        raise NotReadable(f"pixel data that is not encapsulated: {type(error).__name__}") from None


def problems(file: File) -> list[str]:
    """What PS3.10 section 7.1 asks of a file and this one does not hold to."""
    content, meta = file.content, file.dataset.file_meta
    found = []
    if content[128:132] != b"DICM":
        return ["there is no DICM after a preamble of 128 bytes"]
    if content[132:140] != _LENGTH_ELEMENT:
        found.append("the first element is not (0002,0000) UL in Explicit VR Little Endian")
    else:
        said = int.from_bytes(content[140:144], "little")
        if said != _end_of_group_2(content) - 144:
            found.append("the group length (0002,0000) is not the length of group 0002")
    found += [f"{name} is missing" for name in _REQUIRED_META if not meta.get(name)]
    for in_meta, in_dataset in (
        ("MediaStorageSOPClassUID", "SOPClassUID"),
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
    ):
        if meta.get(in_meta) != file.dataset.get(in_dataset):
            found.append(f"{in_meta} is not the {in_dataset} of the data set")
    return found


def _end_of_group_2(content: bytes) -> int:
    """Where the elements of group 0002 end, read as Explicit VR Little Endian."""
    position = 144
    while content[position : position + 2] == b"\x02\x00":
        if content[position + 4 : position + 6] in _LONG_VRS:
            length = int.from_bytes(content[position + 8 : position + 12], "little")
            position += 12 + length
        else:
            position += 8 + int.from_bytes(content[position + 6 : position + 8], "little")
    return position


# A server may write these anew: how the rest is written, and who wrote it.
_FREE = frozenset({0x00080005, 0x7FE00010, 0x04000561})


def differences(stored: Dataset, returned: Dataset, where: str = "") -> list[str]:
    """The attributes that are not what was stored, by tag; pixel data is not compared."""
    found = []
    tags = set(stored.keys()) | set(returned.keys())
    for tag in sorted(tags):
        if int(tag) in _FREE or tag.element == 0:
            continue
        at = f"{where}{tag}"
        if tag not in returned:
            found.append(f"{at} is missing")
        elif tag not in stored:
            if not where and tag.group == 0x0008 and tag.element == 0x0201:
                continue
            found.append(f"{at} was added")
        else:
            found += _element_differences(stored[tag], returned[tag], at)
    return found


def _element_differences(stored: DataElement, returned: DataElement, at: str) -> list[str]:
    if stored.VR == "SQ" and returned.VR == "SQ":
        if len(stored.value) != len(returned.value):
            return [f"{at} has another number of items"]
        pairs = enumerate(zip(stored.value, returned.value, strict=True))
        return [each for index, pair in pairs for each in differences(*pair, f"{at}[{index}].")]
    if "UN" in (stored.VR, returned.VR) and stored.VR != returned.VR:
        return []  # a server that does not know a private VR may keep the bytes as UN
    if stored.is_empty and returned.is_empty:
        return []
    return [] if _text(stored) == _text(returned) else [f"{at} has another value"]


def _text(element: DataElement) -> str:
    values = element.value if element.VM > 1 else [element.value]
    return "\\".join(str(value).rstrip(" \0") for value in values)


def iod_errors(content: bytes) -> frozenset[str] | None:
    """The errors that dciodvfy finds in a file; None where it is not installed, or does not end."""
    program = shutil.which("dciodvfy")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.dcm"
        path.write_bytes(content)
        try:
            done = subprocess.run(  # noqa: S603 - found above, and the path is our own
                [program, str(path)], capture_output=True, check=False, timeout=DCIODVFY_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return None
    lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    return frozenset(line for line in lines if line.startswith("Error"))
