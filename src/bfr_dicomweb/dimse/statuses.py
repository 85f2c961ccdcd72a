"""The DIMSE status of everything that can go wrong (PS3.7 Annex C, PS3.4 B.2.3 and C.4)."""

from dataclasses import dataclass, replace
from typing import Final

from pydicom.dataset import Dataset

from bfr_dicomweb import errors

SUCCESS: Final = 0x0000
PENDING: Final = 0xFF00
PENDING_WITH_UNSUPPORTED_KEYS: Final = 0xFF01
CANCELLED: Final = 0xFE00
SUBOPERATIONS_FAILED: Final = 0xB000

NO_SUCH_ATTRIBUTE: Final = 0x0105
INVALID_ATTRIBUTE_VALUE: Final = 0x0106
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE_SOP_INSTANCE: Final = 0x0111
NO_SUCH_SOP_INSTANCE: Final = 0x0112
INVALID_ARGUMENT_VALUE: Final = 0x0115
INVALID_SOP_INSTANCE: Final = 0x0117
NO_SUCH_SOP_CLASS: Final = 0x0118
CLASS_INSTANCE_CONFLICT: Final = 0x0119
MISSING_ATTRIBUTE: Final = 0x0120
MISSING_ATTRIBUTE_VALUE: Final = 0x0121
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
NO_SUCH_ACTION: Final = 0x0123
NOT_AUTHORIZED: Final = 0x0124
RESOURCE_LIMITATION: Final = 0x0213

OUT_OF_RESOURCES: Final = 0xA700
UNABLE_TO_COUNT_MATCHES: Final = 0xA701
UNABLE_TO_SUBOPERATE: Final = 0xA702
MOVE_DESTINATION_UNKNOWN: Final = 0xA801
DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
UNABLE_TO_PROCESS: Final = 0xC000
# Of unified procedure steps (PS3.4 CC.2).
MAY_NO_LONGER_BE_UPDATED: Final = 0xC300
WRONG_TRANSACTION_UID: Final = 0xC301

# Error Comment (0000,0902) is one value of VR LO.
COMMENT_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Statuses:
    """Of one kind of error, by service.

    Attributes:
        store: C-STORE (PS3.4 B.2.3).
        query: C-FIND (PS3.4 C.4.1.1.4).
        retrieve: C-MOVE and C-GET (PS3.4 C.4.2.1.5, C.4.3.1.4).
        normalized: N-CREATE, N-SET, N-GET, N-ACTION and N-EVENT-REPORT (PS3.7 Annex C).
    """

    store: int
    query: int
    retrieve: int
    normalized: int


_INVALID: Final = Statuses(
    CANNOT_UNDERSTAND, DOES_NOT_MATCH_SOP_CLASS, DOES_NOT_MATCH_SOP_CLASS, INVALID_ATTRIBUTE_VALUE
)
_INVALID_OBJECT: Final = Statuses(
    CANNOT_UNDERSTAND, UNABLE_TO_PROCESS, UNABLE_TO_PROCESS, INVALID_SOP_INSTANCE
)
_UNIDENTIFIABLE: Final = Statuses(
    DOES_NOT_MATCH_SOP_CLASS, UNABLE_TO_PROCESS, UNABLE_TO_PROCESS, INVALID_SOP_INSTANCE
)
_NOT_FOUND: Final = Statuses(
    NO_SUCH_SOP_INSTANCE, UNABLE_TO_PROCESS, UNABLE_TO_PROCESS, NO_SUCH_SOP_INSTANCE
)
_CONFLICT: Final = Statuses(
    CANNOT_UNDERSTAND, UNABLE_TO_PROCESS, UNABLE_TO_PROCESS, PROCESSING_FAILURE
)
_DUPLICATE: Final = Statuses(
    DUPLICATE_SOP_INSTANCE, UNABLE_TO_PROCESS, UNABLE_TO_PROCESS, DUPLICATE_SOP_INSTANCE
)
_NOT_SENDABLE: Final = Statuses(
    CANNOT_UNDERSTAND, UNABLE_TO_PROCESS, UNABLE_TO_SUBOPERATE, PROCESSING_FAILURE
)
_RESOURCES: Final = Statuses(
    OUT_OF_RESOURCES, OUT_OF_RESOURCES, UNABLE_TO_SUBOPERATE, RESOURCE_LIMITATION
)
_NOT_AUTHORIZED: Final = Statuses(NOT_AUTHORIZED, NOT_AUTHORIZED, NOT_AUTHORIZED, NOT_AUTHORIZED)
_FAILURE: Final = Statuses(
    CANNOT_UNDERSTAND, UNABLE_TO_PROCESS, UNABLE_TO_PROCESS, PROCESSING_FAILURE
)

# Every class of the tree; one test walks the tree and proves the table complete.
DIMSE_STATUS: Final[dict[type[errors.ArchiveError], Statuses]] = {
    errors.InvalidRequest: _INVALID,
    errors.InvalidQuery: _INVALID,
    errors.TooCostly: Statuses(
        OUT_OF_RESOURCES, OUT_OF_RESOURCES, UNABLE_TO_COUNT_MATCHES, RESOURCE_LIMITATION
    ),
    errors.InvalidMultipart: _INVALID,
    errors.InvalidMessage: _INVALID,
    errors.InvalidDataset: _INVALID,
    errors.NotTheClaimant: replace(_INVALID, normalized=WRONG_TRANSACTION_UID),
    errors.WorkitemEnded: replace(_INVALID, normalized=MAY_NO_LONGER_BE_UPDATED),
    errors.NoVolume: _INVALID,
    errors.InvalidObject: _INVALID_OBJECT,
    errors.UnidentifiableObject: _UNIDENTIFIABLE,
    errors.TargetMismatch: _UNIDENTIFIABLE,
    errors.StudyMismatch: _UNIDENTIFIABLE,
    errors.SOPClassMismatch: _UNIDENTIFIABLE,
    errors.NotFound: _NOT_FOUND,
    errors.Gone: _NOT_FOUND,
    errors.Conflict: _CONFLICT,
    errors.DifferentDuplicate: _DUPLICATE,
    errors.PreconditionFailed: _CONFLICT,
    errors.WorkitemStateConflict: _CONFLICT,
    errors.NotAcceptable: _NOT_SENDABLE,
    errors.UndecodablePixelData: _NOT_SENDABLE,
    errors.UnsupportedMediaType: _INVALID_OBJECT,
    errors.TooLarge: _RESOURCES,
    errors.RangeNotSatisfiable: _FAILURE,
    errors.LengthRequired: _FAILURE,
    errors.NotAllowed: _FAILURE,
    errors.Forbidden: _NOT_AUTHORIZED,
    errors.Unavailable: _RESOURCES,
    errors.StorageFull: _RESOURCES,
    errors.Undelivered: _RESOURCES,
}

# Of an attribute, as `errors.InvalidDataset` names them.
_DEFECTS: Final = {
    "missing": MISSING_ATTRIBUTE,
    "empty": MISSING_ATTRIBUTE_VALUE,
    "invalid": INVALID_ATTRIBUTE_VALUE,
    "not-allowed": NO_SUCH_ATTRIBUTE,
}


def store(error: errors.ArchiveError) -> int:
    return DIMSE_STATUS[type(error)].store


def query(error: errors.ArchiveError) -> int:
    return DIMSE_STATUS[type(error)].query


def retrieve(error: errors.ArchiveError) -> int:
    return DIMSE_STATUS[type(error)].retrieve


def normalized(error: errors.ArchiveError) -> int:
    if isinstance(error, errors.InvalidDataset):
        return _DEFECTS.get(error.defect, INVALID_ATTRIBUTE_VALUE)
    if isinstance(error, errors.WorkitemStateConflict):
        return int(error.refusal, 16)
    return DIMSE_STATUS[type(error)].normalized


def comment(error: object) -> str:
    """Error Comment (0000,0902): one LO value of ASCII, made of the error's text."""
    text = " ".join(str(error).encode("ascii", "replace").decode("ascii").split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    # a backslash would begin a second value
    return text.replace("\\", "/")[:COMMENT_CHARACTERS].rstrip()


def refusal(status: int, error: object) -> Dataset:
    """A status and why, as handlers of pynetdicom answer it."""
    answer = Dataset()
    answer.Status = status
    if said := comment(error):
        answer.ErrorComment = said
    return answer
