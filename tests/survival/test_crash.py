"""What was acknowledged survives, whatever happens to the server."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from live import Live
from objects import DICOM, a_dataset, a_series, an_object, multipart, uid, written
from postgresql_server import Server

CRASHES = 8
DELETING_CRASHES = 2
CLIENTS = 4


@pytest.fixture(params=["sqlite", "postgresql"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Live]:
    settings = {}
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgresql")
        name = f"served_{uid()[-12:]}"
        cluster.create_database(name)
        settings["database_url"] = cluster.url(name)
    server = Live(tmp_path, settings)
    yield server
    server.stop()


@pytest.fixture
def new_postgresql_url(postgresql: Server) -> str:
    """An empty database."""
    name = f"rebuilt_{uid()[-12:]}"
    postgresql.create_database(name)
    return postgresql.url(name)


def stow(live: Live, files: list[bytes]) -> httpx2.Response:
    body, content_type = multipart(files)
    headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
    return httpx2.post(f"{live.url}/studies", content=body, headers=headers, timeout=30)


class Sender(threading.Thread):
    """Stores fresh objects until the server is gone; remembers what was acknowledged."""

    def __init__(self, live: Live, templates: list[bytes]) -> None:
        super().__init__()
        self._live = live
        self._templates = templates
        self.acknowledged: dict[str, bytes] = {}

    def run(self) -> None:
        try:
            while True:
                files = [
                    _fresh(random.choice(self._templates)) for _ in range(random.randint(1, 5))
                ]
                response = stow(self._live, [file for _, file in files])
                if response.status_code == 200:
                    self.acknowledged |= dict(files)
        except httpx2.TransportError:
            return


def _template(size: int) -> bytes:
    dataset = a_dataset(SOPInstanceUID="2.25." + "1" * 39, Rows=size, Columns=size)
    dataset.PixelData = random.randbytes(size * size * 2)
    return written(dataset)


def _fresh(template: bytes) -> tuple[str, bytes]:
    """The template under a new SOP Instance UID of the same length."""
    digits = "2.25." + "".join(random.choices("123456789", k=39))
    return digits, template.replace(b"2.25." + b"1" * 39, digits.encode())


def stored(live: Live) -> dict[str, str]:
    """Every instance that a search shows, with its path."""
    shown: dict[str, str] = {}
    with httpx2.Client(headers={"Accept": "application/dicom+json"}, timeout=30) as client:
        for offset in range(0, 1_000_000, 500):
            response = client.get(f"{live.url}/instances", params={"limit": 500, "offset": offset})
            if response.status_code == 204:
                return shown
            for row in response.json():
                shown[row["00080018"]["Value"][0]] = row["00081190"]["Value"][0]
    return shown


def test_every_acknowledged_object_survives_being_killed(live: Live) -> None:
    templates = [_template(size) for size in (16, 200, 900)]
    acknowledged: dict[str, bytes] = {}
    for _ in range(CRASHES):
        live.start()
        senders = [Sender(live, templates) for _ in range(CLIENTS)]
        for sender in senders:
            sender.start()
        time.sleep(random.uniform(0.3, 1.2))
        live.kill()
        for sender in senders:
            sender.join()
            acknowledged |= sender.acknowledged
    live.start()
    shown = stored(live)
    assert len(acknowledged) > CRASHES
    missing = acknowledged.keys() - shown.keys()
    assert not missing
    with httpx2.Client(headers={"Accept": f"{DICOM}; transfer-syntax=*"}, timeout=30) as client:
        altered = [
            uid for uid, file in acknowledged.items() if client.get(shown[uid]).content != file
        ]
    assert not altered
    checked = live.command("check")
    assert checked.stdout.splitlines()[-1] == "clean", checked.stdout + checked.stderr


class Deleter(threading.Thread):
    """Deletes until the server is gone; remembers what was acknowledged."""

    def __init__(self, live: Live, paths: list[str]) -> None:
        super().__init__()
        self._live = live
        self._paths = paths
        self.asked: set[str] = set()
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        try:
            for path in self._paths:
                self.asked.add(path)
                if httpx2.delete(path, timeout=30).status_code == 204:
                    self.acknowledged.add(path)
        except httpx2.TransportError:
            return


def test_every_acknowledged_deletion_survives_being_killed(live: Live) -> None:
    live.settings |= {"allow_deletion": "true", "deleted_days": "0"}
    live.start()
    stow(live, [file for _ in range(40) for file in a_series(3)])
    untouched = [*stored(live).values()]
    asked: set[str] = set()
    acknowledged: set[str] = set()
    for _ in range(DELETING_CRASHES):
        deleters = [Deleter(live, untouched[start:60:CLIENTS]) for start in range(CLIENTS)]
        for deleter in deleters:
            deleter.start()
        enough = random.randint(1, 15)
        while sum(len(each.acknowledged) for each in deleters) < enough:
            assert any(each.is_alive() for each in deleters)
            time.sleep(0.002)
        live.kill()
        for deleter in deleters:
            deleter.join()
            asked |= deleter.asked
            acknowledged |= deleter.acknowledged
        untouched = [path for path in untouched if path not in asked]
        live.start()
    with httpx2.Client(headers={"Accept": "*/*"}, timeout=30) as client:
        back = [path for path in acknowledged if client.get(path).status_code != 410]
        lost = [path for path in untouched if client.get(path).status_code != 200]
    assert acknowledged
    assert (back, lost) == ([], [])
    checked = live.command("check")
    assert checked.stdout.splitlines()[-1] == "clean", checked.stdout + checked.stderr


def test_what_was_not_committed_leaves_no_trace(live: Live) -> None:
    live.start()
    live.kill()
    left_over = live.data / "staging" / "1-dead"
    left_over.mkdir(parents=True)
    (left_over / "20260101+abc+0001").write_bytes(b"half an object")
    (live.data / "objects" / "20260101" / "abc").mkdir(parents=True)
    (live.data / "objects" / "20260101" / "abc" / "0001.dcm").write_bytes(b"half an object")
    live.start()
    assert not left_over.exists()
    assert not (live.data / "objects" / "20260101" / "abc" / "0001.dcm").exists()


def test_two_clients_storing_the_same_object_are_both_told_the_truth(live: Live) -> None:
    live.start()
    file = an_object(Rows=600, Columns=600, PixelData=bytes(600 * 600 * 2))
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: stow(live, [file]).status_code, range(16)))
    assert answers == [200] * 16
    assert len(stored(live)) == 1
    assert live.command("check").stdout.splitlines()[0] == "verified 1"


def test_of_two_different_objects_with_one_uid_exactly_one_is_stored(live: Live) -> None:
    live.start()
    shared = {"SOPInstanceUID": uid(), "StudyInstanceUID": uid(), "SeriesInstanceUID": uid()}
    files = [an_object(PatientID=str(number), **shared) for number in range(8)]
    with ThreadPoolExecutor(8) as clients:
        answers = sorted(clients.map(lambda file: stow(live, [file]).status_code, files))
    assert answers == [200] + [409] * 7
    assert live.command("check").returncode == 0


def test_check_finds_a_damaged_object(live: Live) -> None:
    live.start()
    stow(live, [an_object()])
    live.stop()
    (file,) = (live.data / "objects").rglob("*.dcm")
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    checked = live.command("check")
    assert checked.returncode == 1
    assert "damaged 1" in checked.stdout


def test_check_finds_a_missing_object(live: Live) -> None:
    live.start()
    stow(live, [an_object()])
    live.stop()
    (file,) = (live.data / "objects").rglob("*.dcm")
    file.unlink()
    assert "missing 1" in live.command("check").stdout


def test_a_rebuilt_catalogue_shows_the_same_instances(
    live: Live, request: pytest.FixtureRequest
) -> None:
    live.start()
    stow(live, [*a_series(5), an_object()])
    before = stored(live)
    live.stop()
    if "database_url" in live.settings:
        live.settings["database_url"] = request.getfixturevalue("new_postgresql_url")
    rebuilt = live.command("rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    live.start()
    assert stored(live).keys() == before.keys()
