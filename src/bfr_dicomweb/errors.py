"""What can go wrong, in the archive's own words.

    ArchiveError
      InvalidRequest            the request breaks a rule of the standard; says which
        InvalidQuery            a query parameter breaks PS3.18 section 8.3, or FHIR's search
          TooCostly             the search would look at more than is allowed; says what to do
        InvalidMultipart        the payload breaks PS3.18 section 8.6.1.2 or RFC 2046
        InvalidMessage          an HL7 v2 message cannot be taken; says where and why
        InvalidDataset          a data set breaks a rule of its service; names the attribute
        NotTheClaimant          a workitem's Transaction UID is missing or is not the one it has
        WorkitemEnded           a workitem in a final state can no longer be updated
        NoVolume                the images of the target do not make a volume; says why
      InvalidObject             the bytes are no storable PS3.10 file; says why
        UnidentifiableObject    a UID that says what and whose it is, is missing or malformed
        TargetMismatch          the object is another one than the request names
          StudyMismatch         it belongs to another study
          SOPClassMismatch      objects of its SOP class are no instances of the resource
      NotFound                  nothing is stored under this identity
        Gone                    it was stored here once and has been deleted
      Conflict                  the request contradicts what is stored
        DifferentDuplicate      the SOP Instance UID is taken by other bytes
        PreconditionFailed      it is no longer, or not yet, what the request demands
        WorkitemStateConflict   the state of the workitem does not allow it
      NotAcceptable             no representation that the client accepts can be made
        UndecodablePixelData    the stored pixel data cannot be decoded
      UnsupportedMediaType      the payload has a media type that the transaction does not take
      TooLarge                  a limit of this archive is exceeded; says which
      RangeNotSatisfiable       no byte of the asked range exists
      LengthRequired            the payload has no length and no transfer coding
      NotAllowed                the target resource does not have this method
      Forbidden                 the caller may not do this
      Unavailable               it cannot be done now, and may be tried again
        StorageFull             no room is left for the bytes or the catalogue
        Undelivered             a receiver did not take what it was sent

Texts of these errors are sent to clients: they never hold patient data. What is
none of these is a bug.
"""

from typing import Any


class ArchiveError(Exception):
    """An expected failure; a bug is never an ArchiveError."""

    def __reduce__(self) -> tuple[Any, ...]:
        # other processes raise it, too, whatever its class is made of
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: type[ArchiveError], arguments: tuple[Any, ...]) -> ArchiveError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    return error


class InvalidRequest(ArchiveError):
    """The request breaks a rule of the standard."""


class InvalidQuery(InvalidRequest):
    """A query parameter breaks PS3.18 section 8.3 or FHIR R4 section 3.1.1."""

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter
        self.reason = reason


class TooCostly(InvalidQuery):
    """The search would look at more than is allowed; the text says what to do."""


class InvalidMultipart(InvalidRequest):
    """The payload breaks PS3.18 section 8.6.1.2 or RFC 2046."""


class InvalidMessage(InvalidRequest):
    """An HL7 v2 message cannot be taken.

    Attributes:
        code: What is wrong, as in HL7 table 0357: 100 segment sequence, 101 required field missing,
            102 data type, 103 table value not found, 200 unsupported message type, 201 unsupported
            event, 202 unsupported processing id, 203 unsupported version, 204 unknown key,
            207 application internal error.
        segment: Name of the segment at fault, "" when the message as a whole is.
        sequence: Which of the segments of that name, from 1.
        field: From 1; 0 when the segment as a whole is at fault.
        component: From 1; 0 when the field as a whole is at fault.
        rejected: Nothing in the contents is wrong: messages like this one are not taken (AR).
    """

    def __init__(
        self,
        reason: str,
        *,
        code: int = 207,
        segment: str = "",
        sequence: int = 1,
        field: int = 0,
        component: int = 0,
        rejected: bool | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.segment = segment
        self.sequence = sequence
        self.field = field
        self.component = component
        self.rejected = 200 <= code <= 203 if rejected is None else rejected


class InvalidDataset(InvalidRequest):
    """A data set breaks a rule of the service that it was sent to.

    Attributes:
        path: Tags of the attribute at fault; all but the last are sequences.
        defect: ``missing``, ``empty``, ``invalid`` or ``not-allowed``.
    """

    def __init__(self, path: tuple[str, ...], defect: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.defect = defect


class NotTheClaimant(InvalidRequest):
    """The Transaction UID is missing, or is not the one that the workitem was claimed with.

    Attributes:
        is_missing: There was none.
    """

    def __init__(self, *, is_missing: bool) -> None:
        super().__init__(f"the Transaction UID is {'missing' if is_missing else 'incorrect'}")
        self.is_missing = is_missing


class WorkitemEnded(InvalidRequest):
    """The workitem is COMPLETED or CANCELED and can no longer be updated."""


class NoVolume(InvalidRequest):
    """The images of the target do not make a volume (PS3.3 section C.11.23.1); says why."""


class InvalidObject(ArchiveError):
    """The bytes are no storable PS3.10 file; the text names the defect."""


class UnidentifiableObject(InvalidObject):
    """A UID that says what the object is and where it belongs is missing or malformed."""


class TargetMismatch(InvalidObject):
    """The object is another one than the target of the request."""


class StudyMismatch(TargetMismatch):
    """The object belongs to another study than the target of the request."""


class SOPClassMismatch(TargetMismatch):
    """Objects of its SOP class are no instances of the target of the request."""


class NotFound(ArchiveError):
    """Nothing is stored under this identity."""


class Gone(NotFound):
    """The target resource was stored here once and has been deleted."""


class Conflict(ArchiveError):
    """The request contradicts what is stored."""


class DifferentDuplicate(Conflict):
    """The SOP Instance UID is taken by an object with other bytes; the first is kept."""


class PreconditionFailed(Conflict):
    """The target is no longer, or not yet, what the request demands of it (If-Match)."""


class WorkitemStateConflict(Conflict):
    """The state of the workitem does not allow what is asked.

    Attributes:
        refusal: Status of PS3.4 Annex CC that says which rule is in the way, such as C310.
    """

    def __init__(self, refusal: str, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


class NotAcceptable(ArchiveError):
    """No representation that the client accepts can be made."""


class UndecodablePixelData(NotAcceptable):
    """The stored pixel data cannot be decoded, so only the stored form can be sent."""


class UnsupportedMediaType(ArchiveError):
    """The payload has a media type that the transaction does not take."""


class TooLarge(ArchiveError):
    """A limit of this archive is exceeded."""


class RangeNotSatisfiable(ArchiveError):
    """No byte of the asked range exists (RFC 9110 section 14.4)."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the representation has {size_bytes} bytes")
        self.size_bytes = size_bytes


class LengthRequired(ArchiveError):
    """The payload has neither a length nor a transfer coding."""


class NotAllowed(ArchiveError):
    """The target resource does not have this method."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("allowed here: " + ", ".join(allowed))
        self.allowed = allowed


class Forbidden(ArchiveError):
    """The caller may not do this."""


class Unavailable(ArchiveError):
    """It cannot be done now; trying again later may work."""


class StorageFull(Unavailable):
    """No room is left for the bytes or for the catalogue."""


class Undelivered(Unavailable):
    """A receiver did not take what it was sent; it is sent again later."""
