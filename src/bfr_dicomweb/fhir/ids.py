"""The logical ids of resources that are made from rows: a letter and the number of the row."""

import re
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.orders import parties
from bfr_dicomweb.orders.identifiers import Identifier

PATIENT: Final = "p"
ORDER: Final = "o"
EXAM: Final = "e"  # ServiceRequest of an exam, and its Task
REPORT: Final = "r"
STUDY: Final = "s"  # ImagingStudy that is stored
AWAITED: Final = "w"  # ImagingStudy of an exam whose images are not stored
EVENT: Final = "v"
FINDING: Final = "f"
MESSAGE: Final = "m"
WORKITEM: Final = "u"
ENDPOINT: Final = "dicomweb"

# Numbers of rows fit the 64-bit integers of every database.
_NUMBERED: Final = re.compile(r"([a-z])([1-9]\d{0,17})", re.ASCII)
_DOCUMENT: Final = re.compile(r"([cd])([1-9]\d{0,17})-([1-9]\d{0,8})", re.ASCII)
_RECEIVED: Final = re.compile(r"a([1-9]\d{0,17})-([0-9a-f]{16})", re.ASCII)
# An id has 64 characters at most, one less than the letter and a whole digest.
_DIGITS: Final = 48
_CONTENT: Final = re.compile(rf"x([0-9a-f]{{{_DIGITS}}})", re.ASCII)


def number_of(id: str, letter: str) -> int | None:
    """The number of the row that an id names; None when it is none of this letter."""
    match = _NUMBERED.fullmatch(id)
    return int(match[2]) if match and match[1] == letter else None


@dataclass(frozen=True, slots=True)
class DocumentId:
    order: int
    version: int

    @property
    def reference(self) -> str:
        return f"d{self.order}-{self.version}"

    @property
    def binary(self) -> str:
        return f"c{self.order}-{self.version}"


def document_of(id: str, letter: str) -> DocumentId | None:
    """The version of an order's document that a DocumentReference (d) or Binary (c) is of."""
    match = _DOCUMENT.fullmatch(id)
    return DocumentId(int(match[2]), int(match[3])) if match and match[1] == letter else None


def of_received(report: int, digest: str) -> str:
    return f"a{report}-{digest[:16]}"


def received_of(id: str) -> tuple[int, str] | None:
    """The report of an attachment, and the beginning of its digest."""
    match = _RECEIVED.fullmatch(id)
    return (int(match[1]), match[2]) if match else None


def of_content(digest: str) -> str:
    return f"x{digest[:_DIGITS]}"


def content_of(id: str) -> str | None:
    """The beginning of the digest of a document that came with a report."""
    match = _CONTENT.fullmatch(id)
    return match[1] if match else None


def of_party(identifier: Identifier) -> str:
    """Of an Organization, Practitioner or PractitionerRole: the same for the same identifier."""
    return parties.id_of(identifier)
