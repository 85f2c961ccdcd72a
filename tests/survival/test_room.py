"""Memory stays flat, and a full disk is told plainly and harms nothing."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from live import Live, running
from objects import DICOM, a_dataset, an_object, multipart, uid, written
from shared_data import COMPLETE

MIB = 1 << 20
GROWTH_LIMIT_MIB = 150


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(one for child in children for one in family(child))]


def pss_mib(pid: int) -> float:
    """Proportional set size of a server, all its processes."""
    total = 0
    for one in family(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


class Watched:
    """Samples the memory of a server while a payload is sent."""

    def __init__(self, live: Live, every_bytes: int) -> None:
        self._live = live
        self._every_bytes = every_bytes
        self._next = 0
        self.idle = pss_mib(live.pid)
        self.peak = self.idle

    def sent(self, position: int) -> None:
        if position >= self._next:
            self._next = position + self._every_bytes
            self.sample()

    def sample(self) -> None:
        self.peak = max(self.peak, pss_mib(self._live.pid))

    @property
    def growth(self) -> float:
        return self.peak - self.idle


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with running(tmp_path) as server:
        # what is loaded once is not growth
        body, content_type = multipart([an_object()])
        httpx2.post(
            f"{server.url}/studies", content=body, headers={"Content-Type": content_type}
        ).raise_for_status()
        yield server


def post(live: Live, chunks: Iterator[bytes], content_type: str) -> httpx2.Response:
    headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
    return httpx2.post(f"{live.url}/studies", content=chunks, headers=headers, timeout=600)


def huge_object(frames: int, frame_bytes: int) -> Iterator[bytes]:
    """A multi-frame object of any size, made while it is sent."""
    side = int((frame_bytes // 2) ** 0.5)
    dataset = a_dataset(Rows=side, Columns=side, NumberOfFrames=frames, PixelData=b"\0\0")
    head = written(dataset)
    # the pixel data element is the last: its length stands in front of its two bytes
    yield head[:-6] + (frames * frame_bytes).to_bytes(4, "little")
    frame = os.urandom(frame_bytes)
    for _ in range(frames):
        yield frame


def test_storing_two_gigabytes_does_not_grow_the_server(live: Live) -> None:
    watched = Watched(live, 256 * MIB)
    position = 0

    def sending() -> Iterator[bytes]:
        nonlocal position
        for chunk in huge_object(1024, 2 * MIB):
            yield chunk
            position += len(chunk)
            watched.sent(position)

    response = post(live, sending(), DICOM)
    watched.sample()
    assert response.status_code == 200, response.text
    assert watched.growth < GROWTH_LIMIT_MIB


def test_ten_thousand_instances_in_one_request_do_not_grow_the_server(live: Live) -> None:
    watched = Watched(live, 2 * MIB)
    template = written(a_dataset(SOPInstanceUID="2.25." + "1" * 39, StudyInstanceUID=uid()))
    position = 0

    def sending() -> Iterator[bytes]:
        nonlocal position
        for number in range(10_000):
            sop_instance_uid = f"2.25.{10**38 + number}".encode()
            file = template.replace(b"2.25." + b"1" * 39, sop_instance_uid)
            chunk = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n"
            yield chunk
            position += len(chunk)
            watched.sent(position)
        yield b"--b--\r\n"

    response = post(live, sending(), f'multipart/related; type="{DICOM}"; boundary=b')
    watched.sample()
    assert len(response.json()["00081199"]["Value"]) == 10_000
    assert watched.growth < GROWTH_LIMIT_MIB


def test_senders_that_stall_keep_nobody_waiting(live: Live) -> None:
    stalled = []
    for _ in range(100):
        sender = socket.create_connection(("127.0.0.1", live.port))
        sender.sendall(
            b"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\n"
            b"Content-Length: 1000000\r\n\r\n" + bytes(1000)
        )
        stalled.append(sender)
    body, content_type = multipart([an_object()])
    headers = {"Content-Type": content_type}
    response = httpx2.post(f"{live.url}/studies", content=body, headers=headers, timeout=30)
    for sender in stalled:
        sender.close()
    assert response.status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        reason = "a small file system cannot be mounted: run the tests as root"
        if COMPLETE:
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("reserve", ["0", str(4 * MIB)])
def test_a_full_disk_refuses_and_harms_nothing(small_disk: Path, reserve: str) -> None:
    with running(small_disk, {"reserve_bytes": reserve}) as live:
        stored, status = {}, 0
        for _ in range(60):
            file = an_object(Rows=700, Columns=700, PixelData=os.urandom(700 * 700 * 2))
            body, content_type = multipart([file])
            response = httpx2.post(
                f"{live.url}/studies",
                content=body,
                headers={"Content-Type": content_type, "Accept": "application/dicom+json"},
            )
            status = response.status_code
            if status != 200:
                break
            url = response.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
            stored[url] = file
        assert status in (503, 507)
        accept = {"Accept": f"{DICOM}; transfer-syntax=*"}
        assert [
            url for url in stored if httpx2.get(url, headers=accept).content != stored[url]
        ] == []
        checked = live.command("check")
        assert checked.stdout.splitlines()[-1] == "clean", checked.stdout + checked.stderr
