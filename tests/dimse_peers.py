"""Application entities that this archive calls, made of pynetdicom, and its own deliveries."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any, Final

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when it is imported
    InstanceAvailabilityNotification,
    StorageCommitmentPushModel,
    Verification,
)

from bfr_dicomweb.dimse.delivery import Deliveries
from bfr_dicomweb.dimse.peers import Peer
from bfr_dicomweb.services import errands
from bfr_dicomweb.services.dispatching import Chore, Dispatcher, Follower
from dimse_served import Served
from live import free_port
from shared_data import NO_DCMTK

PATIENCE_S: Final = 20.0


def after(seconds: float) -> int:
    """Success, in a while."""
    time.sleep(seconds)
    return 0x0000


def until(happened: Callable[[], Any], *, patience_s: float = PATIENCE_S) -> Any:
    """What `happened` gives once that is true."""
    deadline = time.monotonic() + patience_s
    while not (found := happened()):
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.02)
    return found


# The status of a message, from the entity that got it and the event of it.
Behaviour = Callable[["Entity", Any], int]


@dataclass(slots=True)
class Entity:
    """A receiver that does as it is told; without instructions it takes everything.

    Attributes:
        attempts: SOP Instance UIDs of all C-STORE; `stored` are those that it took.
    """

    title: str = "PACS"
    port: int = field(default_factory=free_port)
    store: Behaviour = lambda entity, event: 0x0000
    event: Behaviour = lambda entity, event: 0x0000
    create: Behaviour = lambda entity, event: 0x0000
    action: Behaviour = lambda entity, event: 0x0000
    stored: list[str] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    events: list[tuple[int, Dataset]] = field(default_factory=list)
    created: list[tuple[str, Dataset]] = field(default_factory=list)
    actions: list[Dataset] = field(default_factory=list)
    associations: int = 0
    _server: Any = None

    def peer(self, **more: Any) -> Peer:
        return Peer(self.title, host="127.0.0.1", port=self.port, **more)

    def start(self) -> None:
        entity = AE(self.title)
        entity.maximum_associations = 100
        entity.supported_contexts = AllStoragePresentationContexts
        for context in entity.supported_contexts:
            context.transfer_syntax = [UID(syntax) for syntax in ALL_TRANSFER_SYNTAXES]
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        entity.add_supported_context(InstanceAvailabilityNotification)
        entity.add_supported_context(Verification)
        self._server = entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_N_EVENT_REPORT, self._event),
                (evt.EVT_N_CREATE, self._create),
                (evt.EVT_N_ACTION, self._action),
                (evt.EVT_ESTABLISHED, self._established),
            ],
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _established(self, event: Any) -> None:
        self.associations += 1

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.attempts.append(uid)
        status = self.store(self, event)
        if status == 0x0000:
            self.stored.append(uid)
        return status

    def _event(self, event: Any) -> tuple[int, None]:
        status = self.event(self, event)
        if status == 0x0000:
            self.events.append((event.event_type, event.event_information))
        return status, None

    def _create(self, event: Any) -> tuple[int, Dataset | None]:
        status = self.create(self, event)
        if status == 0x0000:
            uid = str(event.request.AffectedSOPInstanceUID)
            self.created.append((uid, event.attribute_list))
        return status, Dataset() if status == 0x0000 else None

    def _action(self, event: Any) -> tuple[int, None]:
        status = self.action(self, event)
        if status == 0x0000:
            self.actions.append(event.action_information)
        return status, None


def keep(archive: Served, made: Iterable[bytes]) -> list[str]:
    """Store objects through no door; gives their SOP Instance UIDs."""

    async def store() -> list[str]:
        uids = []
        for one in made:
            receiving = archive.archive.store.receive()
            await receiving.write(one)
            result = await (await receiving.finish())
            assert result.ref is not None
            uids.append(result.ref.sop_instance_uid or "")
        return uids

    return archive.wait(store())


@contextmanager
def listening(entity: Entity) -> Iterator[Entity]:
    entity.start()
    try:
        yield entity
    finally:
        entity.stop()


@contextmanager
def delivering(
    archive: Served, *, followers: Sequence[Follower] = (), chores: Sequence[Chore] = ()
) -> Iterator[Deliveries]:
    """What the dispatcher of a server does for peers, as long as this lasts."""

    async def start() -> tuple[Deliveries, Dispatcher]:
        deliveries = Deliveries(
            archive.archive, peers=archive.door.peers, ae_title=archive.door.ae_title
        )
        dispatcher = Dispatcher(
            archive.archive.index,
            followers=followers,
            channels={errands.KIND: deliveries.deliver},
            chores=chores,
        )
        dispatcher.start()
        return deliveries, dispatcher

    async def stop() -> None:
        await dispatcher.stop()
        await deliveries.close()

    deliveries, dispatcher = archive.wait(start())
    try:
        yield deliveries
    finally:
        archive.wait(stop())


@contextmanager
def dcmqrscp(folder: Path, *, title: str) -> Iterator[str]:
    """DCMTK's archive, as AET@HOST:PORT; it knows nobody to move anything to."""
    if which("dcmqrscp") is None:
        pytest.skip(NO_DCMTK)
    port = free_port()
    (folder / "objects").mkdir()
    (folder / "dcmqrscp.cfg").write_text(
        "MaxPDUSize = 16384\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{title} {folder / 'objects'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    process = subprocess.Popen(
        ["dcmqrscp", "--config", str(folder / "dcmqrscp.cfg"), str(port)],
        env={**os.environ, "TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: is_open(port))
        yield f"{title}@127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
