"""Attributes that an administrator has indexed, over HTTP and DIMSE, from the command line."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from bfr_dicomweb.blobs.filesystem import FileBlobStore
from bfr_dicomweb.dicom.matching import SearchLevel
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import indexing, rebuilding
from bfr_dicomweb.services import search as searching
from bfr_dicomweb.services.archive import Archive
from live import Live, free_port, running
from objects import a_dataset, multipart, uid, written

JSON = {"Accept": "application/dicom+json"}
STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
OLD = 100
AGENT = """
[[attributes]]
path = "ContrastBolusAgent"
level = "study"
"""
BOTH = (
    AGENT
    + """
[[attributes]]
path = "00191008"
creator = "BFR TEST"
vr = "LO"
"""
)


def an_image(study: str, agent: str) -> bytes:
    dataset = a_dataset(StudyInstanceUID=study, ContrastBolusAgent=agent)
    block = dataset.private_block(0x0019, "BFR TEST", create=True)
    block.add_new(0x08, "LO", f"private {agent}")
    return written(dataset)


def store(live: Live, *files: bytes) -> None:
    body, content_type = multipart(list(files))
    headers = {"Content-Type": content_type, **JSON}
    url = f"{live.url}/studies"
    httpx2.post(url, content=body, headers=headers, timeout=60).raise_for_status()


def found(live: Live, path: str, **query: str) -> httpx2.Response:
    return httpx2.get(f"{live.url}{path}", params=query, headers=JSON).raise_for_status()


def count(answer: httpx2.Response) -> int:
    return 0 if answer.status_code == 204 else len(answer.json())


def left(live: Live, attribute: str) -> float | None:
    """As the metrics tell it."""
    for line in httpx2.get(f"{live.origin}/metrics").text.splitlines():
        if line.startswith(f'bfr_indexing_instances_left{{attribute="{attribute}"}}'):
            return float(line.rpartition(" ")[2])
    return None


def wait_until_complete(live: Live, attribute: str) -> None:
    deadline = time.monotonic() + 30
    while left(live, attribute) != 0.0:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("indexed")
    (folder / "indexed.toml").write_text(AGENT)
    settings = {
        "indexed_attributes": str(folder / "indexed.toml"),
        "dimse": f"127.0.0.1:{free_port()}",
        "allow_unauthenticated": "true",
        "peers": str(folder / "peers.toml"),
    }
    (folder / "peers.toml").write_text('[[peers]]\nae_title = "READER"\nmay = ["query"]\n')
    with running(folder, settings) as live:
        store(live, *(an_image(uid(), "Omnipaque") for _ in range(5)))
        store(live, *(an_image(uid(), "Ultravist") for _ in range(3)))
        yield live


def test_a_search_by_it_needs_no_wait_for_what_is_stored_from_now_on(live: Live) -> None:
    answer = found(live, "/studies", ContrastBolusAgent="Ultra*")

    assert count(answer) == 3
    assert "Warning" not in answer.headers


def test_a_study_is_found_by_c_find(live: Live) -> None:
    ae = AE("READER")
    ae.add_requested_context(STUDY_ROOT)
    association = ae.associate("127.0.0.1", live.dimse_port or 0, ae_title="BFR")
    assert association.is_established
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", ""
    asked.ContrastBolusAgent = "Ultra*"
    try:
        matches = [one for _, one in association.send_c_find(asked, STUDY_ROOT) if one]
    finally:
        association.release()

    assert len(matches) == 3


def test_a_file_that_has_changed_is_taken_over(live: Live) -> None:
    file = Path(live.settings["indexed_attributes"])
    file.write_text(BOTH)
    deadline = time.monotonic() + 30
    while left(live, "00191008") is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    wait_until_complete(live, "00191008")

    answer = found(live, "/instances", **{"00191008": "private Omni*"})

    assert count(answer) == 5
    assert answer.json()[0]["00191008"]["Value"] == ["private Omnipaque"]


# --- the command line ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """Objects that were stored before anything was indexed; no server runs."""
    folder = tmp_path_factory.mktemp("later")
    (folder / "indexed.toml").write_text(AGENT)
    live = Live(folder, {"indexed_attributes": str(folder / "indexed.toml")})
    asyncio.run(stored(live.data, [an_image(uid(), "Omnipaque") for _ in range(OLD)]))
    return live


async def stored(data: Path, objects: list[bytes]) -> None:
    archive = await Archive.open(index_url=f"sqlite:///{data / 'catalogue.sqlite'}", data=data)
    try:
        for one in objects:
            receiving = archive.store.receive()
            await receiving.write(one)
            await (await receiving.finish())
    finally:
        await archive.close()


@dataclass(frozen=True)
class CutOff:
    """What is told after the process that was indexing has been killed."""

    live: Live
    done: int
    status: str
    answer: httpx2.Response


# one instance at a time, so that it can be killed between two
SLOWLY = """
import asyncio
from bfr_dicomweb.cli import main
from bfr_dicomweb.services import indexing
indexing.step.__kwdefaults__["limit"] = 1
main()
"""


@pytest.fixture(scope="module")
def cut_off(stopped: Live) -> CutOff:
    catalogue = stopped.data / "catalogue.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", SLOWLY, "index", "--data", str(stopped.data)],
        env=stopped.environment,
    ) as started:
        deadline = time.monotonic() + 30
        while progress(catalogue) < 10:
            assert time.monotonic() < deadline
        os.kill(started.pid, signal.SIGKILL)
    done = progress(catalogue)
    status = stopped.command("index", "--status").stdout
    stopped.settings["only"] = "http"
    stopped.start()
    try:
        answer = found(stopped, "/studies", ContrastBolusAgent="Omni*")
    finally:
        stopped.stop()
        del stopped.settings["only"]
    return CutOff(stopped, done, status, answer)


def progress(catalogue: Path) -> int:
    with closing(sqlite3.connect(catalogue)) as raw:
        (done,) = raw.execute("SELECT coalesce(max(done), 0) FROM indexed_attribute").fetchone()
    return int(done)


def test_the_command_tells_how_much_is_left(cut_off: CutOff) -> None:
    assert cut_off.status == (
        f"ContrastBolusAgent (study): {OLD - cut_off.done} of {OLD} instances left\n"
    )


def test_an_answer_says_what_is_not_covered_yet(cut_off: CutOff) -> None:
    told = f"The index of ContrastBolusAgent does not cover {OLD - cut_off.done} older instances"

    assert count(cut_off.answer) == cut_off.done
    assert cut_off.answer.headers["Warning"] == f"299 {cut_off.live.url}: {told} yet"


def test_what_a_killed_process_has_done_is_not_done_again(cut_off: CutOff) -> None:
    finished = cut_off.live.command("index")

    assert f"indexing: {OLD - cut_off.done} done" in finished.stderr
    assert finished.stdout == "ContrastBolusAgent (study): complete\n"


async def test_a_rebuilt_catalogue_has_the_values(stopped: Live, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    wanted = indexing.parse(AGENT)

    await rebuilding.rebuild(url, FileBlobStore(stopped.data), lambda _: None, indexed=wanted)

    index = await Index.open(url)
    params = [("ContrastBolusAgent", "Omnipaque")]
    asked = await searching.read_search(
        index, params, level=SearchLevel.STUDIES, max_results=OLD + 1
    )
    rows = (await searching.search(index, asked)).rows
    await index.close()
    assert len(rows) == OLD
