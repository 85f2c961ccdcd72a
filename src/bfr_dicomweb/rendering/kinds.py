"""Which stored objects can be shown, and as what (PS3.18 section 8.7.2)."""

from enum import Enum, auto
from typing import Final

from bfr_dicomweb.dicom.frames import VIDEO
from bfr_dicomweb.rendering.referring import SHOWS_OTHERS

# Basic Text SR and its kin, key object selection left out; waveforms; encapsulated documents
_REPORT: Final = "1.2.840.10008.5.1.4.1.1.88."
_MACULAR_GRID: Final = "1.2.840.10008.5.1.4.1.1.79.1"
_WAVEFORM: Final = "1.2.840.10008.5.1.4.1.1.9."
_ENCAPSULATED: Final = "1.2.840.10008.5.1.4.1.1.104."


class Kind(Enum):
    """REFERRING shows other objects: presentation states, segmentations, key objects."""

    IMAGE = auto()
    VIDEO = auto()
    DOCUMENT = auto()
    REFERRING = auto()
    OTHER = auto()


def kind_of(sop_class_uid: str, transfer_syntax_uid: str, *, has_pixel_data: bool) -> Kind:
    if sop_class_uid in SHOWS_OTHERS:
        return Kind.REFERRING
    if has_pixel_data:
        is_video = transfer_syntax_uid.startswith(VIDEO)
        return Kind.VIDEO if is_video else Kind.IMAGE
    is_document = sop_class_uid.startswith((_REPORT, _WAVEFORM, _ENCAPSULATED))
    if is_document or sop_class_uid == _MACULAR_GRID:
        return Kind.DOCUMENT
    return Kind.OTHER
