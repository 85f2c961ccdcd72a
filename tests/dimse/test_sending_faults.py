"""Sending to DCMTK's storescp that misbehaves, and from a server that is killed."""

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when it is imported
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from bfr_dicomweb.dimse.peers import Peer
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import sending
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.sending import JobState
from dimse_peers import Entity, delivering, is_open, keep, listening, until
from dimse_served import AE_TITLE, Served, served
from live import Live, free_port
from objects import a_series, uid
from shared_data import NO_DCMTK

needs_dcmtk = pytest.mark.skipif(which("storescp") is None, reason=NO_DCMTK)
PORT = free_port()
# The lease of a process that was killed lasts 10 s.
PATIENCE_S = 40.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    peers = [Peer("STORESCP", host="127.0.0.1", port=PORT)]
    with served(tmp_path_factory.mktemp("archive"), peers=peers) as archive, delivering(archive):
        yield archive


@contextmanager
def storescp(folder: Path, *how: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        ["storescp", *how, "--accept-all", "-aet", "STORESCP", "-od", str(folder), str(PORT)],
        env={**os.environ, "TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: is_open(PORT))
        yield
    finally:
        process.kill()
        process.wait()


def a_job(archive: Served, instances: int) -> tuple[int, list[str]]:
    study = uid()
    uids = keep(archive, a_series(instances, StudyInstanceUID=study))
    work = sending.submit(archive.archive, "STORESCP", [Ref(study)])
    return archive.wait(work), uids


def is_done(archive: Served, job: int) -> bool:
    found = archive.wait(sending.progress(archive.archive.index, job))
    return found.job.state is JobState.DONE


def has_failed(archive: Served) -> bool:
    return bool(archive.wait(sending.last_error(archive.archive.index, "STORESCP")))


def uids_in(folder: Path) -> list[str]:
    return sorted(str(dcmread(file).SOPInstanceUID) for file in folder.iterdir())


@needs_dcmtk
@pytest.mark.parametrize("fault", ["--abort-during", "--abort-after", "--refuse"])
def test_storescp_that_fails_and_then_does_not_has_every_instance(
    archive: Served, tmp_path: Path, fault: str
) -> None:
    with storescp(tmp_path / "failing", fault):
        job, uids = a_job(archive, 4)
        until(lambda: has_failed(archive))

    with storescp(tmp_path / "healthy"):
        until(lambda: is_done(archive, job))

    had = uids_in(tmp_path / "failing") + uids_in(tmp_path / "healthy")
    assert set(had) == set(uids)


# --- the server is killed ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow() -> Iterator[Entity]:
    """Takes its time for each instance, and a while passes before results are acknowledged."""

    def take(entity: Entity, event: Any) -> int:
        time.sleep(0.05)
        return 0x0000

    with listening(Entity("SLOW", store=take)) as entity:
        yield entity


@pytest.fixture(scope="module")
def live(slow: Entity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("killed")
    peers = folder / "peers.toml"
    peers.write_text(
        f'[[peers]]\nae_title = "SLOW"\nhost = "127.0.0.1"\nport = {slow.port}\nmay = ["commit"]\n'
    )
    live = Live(folder, {"dimse": f"127.0.0.1:{free_port()}", "peers": str(peers)})
    live.start()
    yield live
    live.stop()


async def test_a_killed_server_goes_on_with_the_rest_of_a_job(live: Live, slow: Entity) -> None:
    study = uid()
    archive = await Archive.open(
        index_url=f"sqlite:///{live.data / 'catalogue.sqlite'}", data=live.data
    )
    try:
        for made in a_series(60, StudyInstanceUID=study):
            receiving = archive.store.receive()
            await receiving.write(made)
            await (await receiving.finish())
        job = await sending.submit(archive, "SLOW", [Ref(study)])
        await waited(lambda: len(slow.stored) > 15)

        live.kill()
        before = len(slow.attempts)
        live.start()

        await ended(archive.index, job)
    finally:
        await archive.close()

    repeated = len(slow.attempts) - len(set(slow.attempts))
    assert (before < 60, len(set(slow.stored)), repeated < 10) == (True, 60, True)


async def test_a_killed_server_reports_the_commitment_that_it_was_asked_for(
    live: Live, slow: Entity
) -> None:
    asked = Dataset()
    asked.TransactionUID = uid()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid()
    asked.ReferencedSOPSequence = [item]
    slow.event = lambda entity, event: 0x0110
    caller = AE("SLOW")
    caller.add_requested_context(StorageCommitmentPushModel)
    host, _, port = live.settings["dimse"].rpartition(":")
    association = caller.associate(host, int(port), ae_title=AE_TITLE)
    status, _ = association.send_n_action(
        asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0000

    live.kill()
    association.kill()
    slow.event = lambda entity, event: 0x0000
    live.start()

    await waited(lambda: slow.events)
    assert slow.events[0][1].TransactionUID == asked.TransactionUID


async def waited(happened: Callable[[], object]) -> None:
    await asyncio.to_thread(until, happened, patience_s=PATIENCE_S)


async def ended(index: Index, job: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (await sending.progress(index, job)).job.state is JobState.DONE:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("the job did not end in time")
