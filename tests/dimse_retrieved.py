"""Peers that retrieve: a receiver of C-STORE, and C-GET and C-MOVE with what comes of them."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from bfr_dicomweb.dimse.peers import Peer
from bfr_dicomweb.errors import ArchiveError
from bfr_dicomweb.services.archive import Archive
from dimse_served import AE_TITLE, Served
from live import free_port

RECEIVER = "RECEIVER"
CALLING = "VIEWER"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_STUDY_ONLY_MOVE = "1.2.840.10008.5.1.4.1.2.3.2"
COMPOSITE_INSTANCE_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.4.2"
COMPOSITE_INSTANCE_ROOT_GET = "1.2.840.10008.5.1.4.1.2.4.3"


@dataclass(frozen=True, slots=True)
class Received:
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes
    originator: tuple[str | None, int | None]
    priority: int

    def read(self) -> Dataset:
        syntax = UID(self.transfer_syntax_uid)
        return pydicom.filereader.read_dataset(
            BytesIO(self.data_set), syntax.is_implicit_VR, syntax.is_little_endian
        )


Answer = Callable[[int, Association], int]
"""The status for an object; the first argument counts the objects from 1."""


@dataclass(slots=True)
class Inbox:
    """What a peer was sent."""

    answer: Answer = lambda _number, _association: 0x0000
    objects: list[Received] = field(default_factory=list)
    tried: int = 0
    associations: int = 0
    cleared: int = 0

    def take(self, event: evt.Event) -> int:
        self.tried += 1
        cleared = self.cleared
        status = self.answer(self.tried, event.assoc)
        # what took so long that it was cleared away meanwhile belongs to nobody
        if status == 0x0000 and cleared == self.cleared:
            request: Any = event.request
            self.objects.append(
                Received(
                    str(request.AffectedSOPInstanceUID),
                    str(event.context.transfer_syntax),
                    request.DataSet.getvalue(),
                    (
                        request.MoveOriginatorApplicationEntityTitle,
                        request.MoveOriginatorMessageID,
                    ),
                    request.Priority,
                )
            )
        return status

    def opened(self, _event: evt.Event) -> None:
        self.associations += 1

    def clear(self) -> None:
        self.cleared += 1
        self.objects.clear()
        self.tried = self.associations = 0
        self.answer = lambda _number, _association: 0x0000

    @property
    def uids(self) -> list[str]:
        return [one.sop_instance_uid for one in self.objects]


@contextmanager
def receiving(port: int, *, ae_title: str = RECEIVER) -> Iterator[Inbox]:
    """A storage SCP in this process, of pynetdicom, that takes everything."""
    inbox = Inbox()
    entity = AE(ae_title)
    # With its unrestricted storage service, which the door turns on, pynetdicom accepts every
    # storage SOP class; naming them all would cost it half a second an association.
    entity.add_supported_context(Verification)
    handlers: list[Any] = [(evt.EVT_C_STORE, inbox.take), (evt.EVT_ESTABLISHED, inbox.opened)]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield inbox
    finally:
        server.shutdown()


def a_receiver(**settings: Any) -> Peer:
    """A peer at a free port, which may be called."""
    return Peer(RECEIVER, "127.0.0.1", free_port(), **settings)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The responses to a request, and the seconds until the last."""

    responses: tuple[tuple[Dataset, Dataset | None], ...]
    seconds: float

    @property
    def status(self) -> int:
        return int(self.last.Status)

    @property
    def last(self) -> Dataset:
        return self.responses[-1][0]

    @property
    def comment(self) -> str:
        return str(self.last.get("ErrorComment", ""))

    @property
    def counts(self) -> tuple[int | None, int | None, int | None]:
        """Completed, failed, warnings."""
        return (
            self.last.get("NumberOfCompletedSuboperations"),
            self.last.get("NumberOfFailedSuboperations"),
            self.last.get("NumberOfWarningSuboperations"),
        )

    @property
    def failed_uids(self) -> list[str]:
        identifier = self.responses[-1][1]
        value = identifier.get("FailedSOPInstanceUIDList") if identifier is not None else None
        if not value:
            return []
        return [value] if isinstance(value, str) else list(value)


def keys(level: str, **values: object) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(identifier, keyword, value)
    return identifier


def move(
    port: int,
    identifier: Dataset,
    *,
    model: str = STUDY_ROOT_MOVE,
    destination: str = RECEIVER,
    cancel_after: int = 0,
    priority: int = 2,
) -> Outcome:
    """C-MOVE; cancelled after so many pending responses if that is not 0."""
    with associated(port, [build_context(model)]) as association:
        started = time.monotonic()
        responses = []
        for pending, answer in enumerate(
            association.send_c_move(
                identifier, destination, UID(model), msg_id=7, priority=priority
            ),
            1,
        ):
            responses.append(answer)
            if pending == cancel_after:
                association.send_c_cancel(7, query_model=model)
        return Outcome(tuple(responses), time.monotonic() - started)


def get(
    port: int,
    identifier: Dataset,
    *,
    model: str = STUDY_ROOT_GET,
    contexts: Iterable[PresentationContext],
    inbox: Inbox | None = None,
    cancel_after: int = 0,
) -> Outcome:
    """C-GET of what the contexts (of storage SOP classes) take."""
    inbox = inbox or Inbox()
    proposed = list(contexts)
    classes = {str(context.abstract_syntax) for context in proposed}
    roles = [build_role(uid, scp_role=True) for uid in classes]
    handlers = [(evt.EVT_C_STORE, inbox.take)]
    proposed.append(build_context(model))
    with associated(port, proposed, roles=roles, handlers=handlers) as association:
        started = time.monotonic()
        responses = []
        for pending, answer in enumerate(
            association.send_c_get(identifier, UID(model), msg_id=7), 1
        ):
            responses.append(answer)
            if pending == cancel_after:
                association.send_c_cancel(7, query_model=model)
        return Outcome(tuple(responses), time.monotonic() - started)


@contextmanager
def associated(
    port: int,
    contexts: list[PresentationContext],
    *,
    roles: Iterable[Any] = (),
    handlers: Iterable[Any] = (),
) -> Iterator[Association]:
    entity = AE(CALLING)
    association = entity.associate(
        "127.0.0.1",
        port,
        contexts=contexts,
        ae_title=AE_TITLE,
        ext_neg=list(roles),
        evt_handlers=list(handlers),
    )
    if not association.is_established:
        raise RuntimeError("the association was not accepted")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


async def _store(archive: Archive, file: bytes) -> ArchiveError | None:
    try:
        receiving = archive.store.receive()
        await receiving.write(file)
        return (await (await receiving.finish())).error
    except ArchiveError as error:
        return error


async def _store_all(archive: Archive, files: Sequence[bytes]) -> list[ArchiveError]:
    """Together, as one flush of the disk then does for many."""
    outcomes = await asyncio.gather(*(_store(archive, file) for file in files))
    return [error for error in outcomes if error is not None]


def store(archive: Served, files: Iterable[bytes]) -> None:
    errors = store_what_can_be(archive, files)
    if errors:
        raise errors[0]


def store_what_can_be(archive: Served, files: Iterable[bytes]) -> list[ArchiveError]:
    """Store files; why those were refused that were."""
    return archive.wait(_store_all(archive.archive, list(files)))


def peak_memory_bytes() -> int:
    """Resident memory of this process, at its highest since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


class Gate:
    """Lets a receiver hang until it is opened, or for `seconds`."""

    def __init__(self, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._opened = threading.Event()

    def hang(self, _number: int, _association: Association) -> int:
        self._opened.wait(self._seconds)
        return 0x0000

    def open(self) -> None:
        self._opened.set()
