"""What a person asks of a peer: whether it is there, what it has, to give it, to take something."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pynetdicom
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, generate_uid
from pynetdicom import StoragePresentationContexts, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from bfr_dicomweb.dimse import statuses, storage_commitment
from bfr_dicomweb.dimse.door import Credentials
from bfr_dicomweb.dimse.peers import ANY, Peer, Peers
from bfr_dicomweb.dimse.requesting import associated
from bfr_dicomweb.dimse.storage_commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from bfr_dicomweb.dimse.verification import VERIFICATION
from bfr_dicomweb.errors import InvalidRequest, Undelivered
from bfr_dicomweb.services.commitment import Reference

# Study Root Query/Retrieve Information Model (PS3.4 section C.6.2).
FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
# Of one association (PS3.8 section 9.3.2.2).
MOST_CONTEXTS: Final = 128
PENDING: Final = (statuses.PENDING, statuses.PENDING_WITH_UNSUPPORTED_KEYS)
COMMITTED_WITHIN_S: Final = 60.0
_UNCOMPRESSED: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_LEVELS: Final = (
    ("IMAGE", "SOPInstanceUID"),
    ("SERIES", "SeriesInstanceUID"),
    ("STUDY", "StudyInstanceUID"),
)

# Files go out as they are, and not decoded first.
pynetdicom._config.STORE_SEND_CHUNKED_DATASET = True


@dataclass(frozen=True, slots=True)
class Suboperations:
    """Of a retrieval, as the last response has them; `status` is None while it goes on."""

    status: int | None
    remaining: int
    completed: int
    failed: int
    warnings: int


@dataclass(frozen=True, slots=True)
class Object:
    """A file that can be sent."""

    path: Path
    reference: Reference
    transfer_syntax_uid: str


def peer_named(name: str, peers: Callable[[], Peers]) -> Peer:
    """
    Args:
        name: AE title of one that is configured, or AET@HOST:PORT of any.
        peers: Only asked for titles.

    Raises:
        InvalidRequest: it is neither.
    """
    title, at, address = name.rpartition("@")
    if not at:
        found = peers().find(name)
        if found is None or found.ae_title == ANY:
            raise InvalidRequest(f"{name}: no peer of this title is configured, see --peers")
        return found
    host, _, port = address.rpartition(":")
    known = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if not known or not host or not 0 < len(title) <= 16:
        raise InvalidRequest(f"{name}: has to be an AE title, or AET@HOST:PORT")
    return Peer(title, host=host.strip("[]"), port=int(port))


@dataclass(frozen=True, slots=True)
class Caller:
    """This archive, or whoever calls in its name."""

    ae_title: str
    credentials: Credentials

    def calling(
        self, peer: Peer, contexts: Sequence[PresentationContext], **more: Any
    ) -> AbstractContextManager[Association]:
        tls = self.credentials.context(peer)
        return associated(peer, contexts, ae_title=self.ae_title, tls=tls, **more)

    def echo(self, peer: Peer) -> float:
        """Seconds until the answer (C-ECHO); Raises Undelivered."""
        with self.calling(peer, [build_context(VERIFICATION)]) as association:
            began = time.monotonic()
            _require(association.send_c_echo(), peer)
            return time.monotonic() - began

    def find(self, peer: Peer, identifier: Dataset) -> Iterator[Dataset]:
        """The matches (C-FIND); Raises Undelivered."""
        with self.calling(peer, [build_context(FIND)]) as association:
            for status, match in association.send_c_find(identifier, FIND):
                if status.get("Status") in PENDING and match is not None:
                    yield match
                else:
                    _require(status, peer)

    def move(self, peer: Peer, identifier: Dataset, destination: str) -> Iterator[Suboperations]:
        """How far it is (C-MOVE); Raises Undelivered."""
        with self.calling(peer, [build_context(MOVE)]) as association:
            for status, _ in association.send_c_move(identifier, destination, MOVE):
                yield _suboperations(status, peer)

    def get(self, peer: Peer, identifier: Dataset, folder: Path) -> Iterator[Suboperations]:
        """How far it is (C-GET), each object being a file in the folder by then."""
        classes = [str(context.abstract_syntax) for context in StoragePresentationContexts]
        contexts = [build_context(GET), *(build_context(uid, list(_TAKEN)) for uid in classes)]
        with self.calling(
            peer,
            contexts,
            roles=[build_role(uid, scp_role=True) for uid in classes],
            handlers=[(evt.EVT_C_STORE, lambda event: _write(event, folder))],
        ) as association:
            for status, _ in association.send_c_get(identifier, GET):
                yield _suboperations(status, peer)

    def send(
        self, peer: Peer, objects: Sequence[Object], told: Callable[[Object, int], None]
    ) -> None:
        """Send files (C-STORE).

        Args:
            told: Gets the status of each; one that the peer does not take at all has 0122H.

        Raises:
            Undelivered: the association could not be made, or ended.
        """
        for contexts, part in _batches(objects):
            with self.calling(peer, contexts) as association:
                for one in part:
                    try:
                        answer = association.send_c_store(one.path)
                    except ValueError:  # no context for it was accepted
                        told(one, statuses.SOP_CLASS_NOT_SUPPORTED)
                        continue
                    except RuntimeError:
                        raise Undelivered(f"{peer.ae_title} ended the association") from None
                    if "Status" not in answer:
                        raise Undelivered(f"{peer.ae_title} did not answer")
                    told(one, int(answer.Status))

    def commit(self, peer: Peer, references: Sequence[Reference]) -> tuple[int, int]:
        """Ask for a commitment; how many instances were committed to and how many not.

        Raises:
            Undelivered: the peer does not say it on the association of the request.
        """
        results: list[Dataset] = []

        def hear(event: evt.Event) -> tuple[int, None]:
            results.append(event.event_information)
            return statuses.SUCCESS, None

        transaction = str(generate_uid(prefix="2.25."))
        asked = storage_commitment.request_of(transaction, references)
        handlers = [(evt.EVT_N_EVENT_REPORT, hear)]
        with self.calling(peer, [build_context(PUSH_MODEL)], handlers=handlers) as association:
            answer, _ = association.send_n_action(
                asked, storage_commitment.REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE
            )
            _require(answer, peer)
            deadline = time.monotonic() + COMMITTED_WITHIN_S
            while not results:
                if time.monotonic() > deadline or not association.is_established:
                    raise Undelivered(
                        f"{peer.ae_title} did not tell the result on the association of the request"
                    )
                time.sleep(0.05)
        (result,) = results
        return (
            len(result.get("ReferencedSOPSequence") or ()),
            len(result.get("FailedSOPSequence") or ()),
        )


def identifier_of(keys: Mapping[str, str], level: str | None = None) -> Dataset:
    """
    Args:
        keys: By keyword of the attribute; an empty value asks for it.
        level: STUDY, SERIES or IMAGE; None is the lowest that a UID is given of.

    Raises:
        InvalidRequest: a name is no keyword.
    """
    made = Dataset()
    for keyword, value in keys.items():
        if tag_for_keyword(keyword) is None:
            raise InvalidRequest(f"{keyword} is no keyword of an attribute of DICOM")
        setattr(made, keyword, value)
    lowest = next((name for name, uid in _LEVELS if keys.get(uid)), "STUDY")
    made.QueryRetrieveLevel = (level or lowest).upper()
    return made


def object_of(path: Path) -> Object:
    """
    Raises:
        InvalidRequest: it is no PS3.10 file of an instance.
    """
    try:
        meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
        return Object(
            path,
            Reference(str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)),
            str(meta.TransferSyntaxUID),
        )
    except (InvalidDicomError, AttributeError, OSError, ValueError):
        raise InvalidRequest("it is no DICOM file of an instance") from None


def is_taken(status: int) -> bool:
    """Whether an instance is kept: with a warning, or because it was there, too."""
    return status in (statuses.SUCCESS, statuses.DUPLICATE_SOP_INSTANCE) or status >> 12 == 0xB


_TAKEN: Final = (
    *_UNCOMPRESSED,
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
)


def _batches(
    objects: Sequence[Object],
) -> Iterator[tuple[list[PresentationContext], list[Object]]]:
    """Objects with the contexts that they need, as many as fit one association."""
    proposed: dict[tuple[str, tuple[str, ...]], None] = {}
    part: list[Object] = []
    for one in objects:
        own = one.transfer_syntax_uid
        offered = _UNCOMPRESSED if own in _UNCOMPRESSED else (own,)
        key = one.reference.sop_class_uid, offered
        if key not in proposed and len(proposed) == MOST_CONTEXTS:
            yield _contexts(proposed), part
            proposed, part = {}, []
        proposed[key] = None
        part.append(one)
    if part:
        yield _contexts(proposed), part


def _contexts(proposed: Mapping[tuple[str, tuple[str, ...]], None]) -> list[PresentationContext]:
    return [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in proposed]


def _write(event: evt.Event, folder: Path) -> int:
    request: Any = event.request
    uid = UID(str(request.AffectedSOPInstanceUID))
    if not uid.is_valid:
        return statuses.CANNOT_UNDERSTAND
    (folder / f"{uid}.dcm").write_bytes(event.encoded_dataset())
    return statuses.SUCCESS


def _require(answer: Dataset, peer: Peer) -> None:
    status = answer.get("Status")
    if status is None:
        raise Undelivered(f"{peer.ae_title} did not answer")
    if status != statuses.SUCCESS:
        raise Undelivered(f"{peer.ae_title} answered with status {status:04X}H")


def _suboperations(answer: Dataset, peer: Peer) -> Suboperations:
    status = answer.get("Status")
    if status is None:
        raise Undelivered(f"{peer.ae_title} did not answer")
    counts = (
        int(answer.get(f"NumberOf{kind}Suboperations") or 0)
        for kind in ("Remaining", "Completed", "Failed", "Warning")
    )
    return Suboperations(None if status in PENDING else int(status), *counts)
