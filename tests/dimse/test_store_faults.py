"""What is acknowledged is stored, whatever else goes wrong."""

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

import postgresql_server
from bfr_dicomweb.dicom.coercion import NOTHING_PRESUMED
from bfr_dicomweb.services.store import Outcome
from dimse_sent import Sendable, associated, open_association, send_part, sendable, store
from dimse_sent import c_store as send
from dimse_served import served
from live import Live, free_port
from objects import a_dataset, an_object, written
from postgresql_server import find_binaries
from shared_data import COMPLETE

MIB = 1 << 20
HUGE_MIB = 300
GROWTH_LIMIT_MIB = 60
CRASHES = 3
SENDERS = 4


# --- the catalogue --------------------------------------------------------------------------


def test_a_busy_catalogue_delays_the_answer(tmp_path: Path) -> None:
    with (
        served(tmp_path) as archive,
        closing(sqlite3.connect(tmp_path / "catalogue.sqlite", isolation_level=None)) as other,
    ):
        one = sendable(an_object())
        statuses: list[int | None] = []
        other.execute("BEGIN IMMEDIATE")
        sender = threading.Thread(
            target=lambda: statuses.append(store(archive.port, one).Status), daemon=True
        )
        sender.start()
        time.sleep(1)
        assert statuses == []
        other.execute("ROLLBACK")
        sender.join(20)
        assert statuses == [0]
        assert archive.wait(archive.archive.count_instances()) == 1


@pytest.fixture
def own_postgresql() -> Iterator[postgresql_server.Server]:
    binaries = find_binaries()
    if binaries is None:
        reason = "PostgreSQL is not installed: apt-get install postgresql"
        if COMPLETE:
            pytest.fail(reason)
        pytest.skip(reason)
    server = postgresql_server.start(binaries)
    try:
        yield server
    finally:
        server.stop()


def test_while_the_catalogue_is_away_nothing_is_acknowledged(
    tmp_path: Path, own_postgresql: postgresql_server.Server
) -> None:
    own_postgresql.create_database("archive")
    with served(tmp_path, index_url=own_postgresql.url("archive")) as archive:
        first, second = sendable(an_object()), sendable(an_object())
        with associated(archive.port, [first]) as association:
            assert send(association, first).Status == 0
            own_postgresql.process.send_signal(signal.SIGQUIT)
            own_postgresql.process.wait(30)
            response = send(association, second)
            assert response.Status == 0xA700, response.ErrorComment


# --- the disk -------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [0, 1])
def test_an_object_that_is_refused_at_its_end_leaves_no_file(tmp_path: Path, others: int) -> None:
    with served(tmp_path) as archive:
        receive = archive.archive.store.receive_blocking
        for _ in range(others):  # is not committed as long as the loop is busy
            archive.door.loop.call_soon_threadsafe(time.sleep, 1)
            one = a_dataset()
            other = receive(sop_instance_uid=one.SOPInstanceUID, presumed=NOTHING_PRESUMED)
            other.write(written(one))
            other.end()
        refused = receive(sop_instance_uid="2.25.1", presumed=NOTHING_PRESUMED)
        refused.write(written(a_dataset()))

        assert refused.finish().outcome is Outcome.REFUSED
        assert len(list((tmp_path / "data" / "objects").rglob("*.dcm"))) == others


def test_a_disk_down_to_its_reserve_is_told(tmp_path: Path) -> None:
    with served(tmp_path, reserve_bytes=1 << 55) as archive:
        assert store(archive.port, sendable(an_object())).Status == 0xA700
        staging = archive.archive.blobs.staging.rglob("*")
        assert not [path for path in staging if path.is_file() and path.name != "lock"]


# --- memory ---------------------------------------------------------------------------------


def pss_mib() -> float:
    """Proportional set size of this process, where the archive is, too."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system does not tell the size")


def test_a_huge_object_does_not_grow_the_server(tmp_path: Path) -> None:
    frame_bytes = MIB
    dataset = a_dataset(Rows=512, Columns=1024, NumberOfFrames=HUGE_MIB, PixelData=b"\0\0")
    one = sendable(written(dataset))
    # the pixel data element is the last: its length stands in front of its two bytes
    head = one.data_set[:-6] + (HUGE_MIB * frame_bytes).to_bytes(4, "little")
    part = os.urandom(MIB // 8)
    with served(tmp_path) as archive:
        assert store(archive.port, sendable(an_object())).Status == 0
        idle, peak = pss_mib(), 0.0

        def parts() -> Iterator[bytes]:
            nonlocal peak
            yield head
            for number in range(HUGE_MIB * 8):
                if number % 400 == 0:
                    peak = max(peak, pss_mib())
                yield part

        association = open_association(archive.port, [one])
        send_part(association, one, parts(), is_last=True)
        _, response = association.dimse.get_msg(block=True)
        peak = max(peak, pss_mib())
        association.release()
        assert response is not None
        assert response.Status == 0
        assert peak - idle < GROWTH_LIMIT_MIB


# --- the process ----------------------------------------------------------------------------


class Sender(threading.Thread):
    """Stores fresh objects until the server is gone; remembers what was acknowledged."""

    def __init__(self, port: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self._port = port
        self._sizes = sizes
        self.acknowledged: dict[str, Sendable] = {}

    def run(self) -> None:
        kind = sendable(an_object())
        association = open_association(self._port, [kind])
        connection = association.dul.socket
        # pynetdicom does not close it when its peer has died
        plain = connection.socket if connection is not None else None
        try:
            while association.is_established:
                side = random.choice(self._sizes)
                pixels = random.randbytes(side * side * 2)
                one = sendable(an_object(Rows=side, Columns=side, PixelData=pixels))
                if send(association, one).Status == 0:
                    self.acknowledged[one.sop_instance_uid] = one
        except (RuntimeError, OSError, AttributeError):
            return  # what pynetdicom makes of a peer that is gone
        finally:
            if plain is not None:
                plain.close()


def stored(live: Live) -> set[str]:
    """Every instance that a search shows."""
    shown: set[str] = set()
    with httpx2.Client(headers={"Accept": "application/dicom+json"}, timeout=30) as client:
        for offset in range(0, 1_000_000, 500):
            response = client.get(f"{live.url}/instances", params={"limit": 500, "offset": offset})
            if response.status_code == 204:
                return shown
            shown |= {row["00080018"]["Value"][0] for row in response.json()}
    return shown


def test_what_was_acknowledged_survives_being_killed(tmp_path: Path) -> None:
    port = free_port()
    peers = tmp_path / "peers.toml"
    peers.write_text('[[peers]]\nae_title = "*"\naddresses = ["127.0.0.1"]\nmay = ["store"]\n')
    live = Live(tmp_path, {"dimse": f"127.0.0.1:{port}", "peers": str(peers)})
    acknowledged: dict[str, Sendable] = {}
    try:
        for _ in range(CRASHES):
            live.start()
            senders = [Sender(port, (16, 200, 700)) for _ in range(SENDERS)]
            for sender in senders:
                sender.start()
            time.sleep(random.uniform(1.0, 2.0))
            live.kill()
            for sender in senders:
                sender.join()
                acknowledged |= sender.acknowledged
        live.start()
        assert len(acknowledged) > CRASHES
        assert not acknowledged.keys() - stored(live)
        checked = live.command("check")
        assert checked.stdout.splitlines()[-1] == "clean", checked.stdout + checked.stderr
    finally:
        live.stop()
