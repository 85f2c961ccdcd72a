"""Storing over DIMSE: this archive beside DCMTK's storescp and Orthanc, in one run on loopback.

    python tests/benchmarks/dimse_storing.py [--instances 200] [--only archive] [--rounds 1]

Every server gets the same objects from DCMTK's storescu, which sends PDUs of 16 KiB. What is
printed is the rate and the server's CPU time for each object; that of storescp misses a child which
it has not waited for yet. storescp keeps no catalogue; Orthanc runs with what it does by default;
this archive answers when file and catalogue are on stable storage.

A row is a `Row` in `ROWS`: rows of other services can stand beside those of storing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import search_path
from live import Live, free_port, is_listened_on
from objects import a_dataset, uid, written

TICKS: Final = os.sysconf("SC_CLK_TCK")
ORTHANC: Final = "/usr/sbin/Orthanc"
AE_TITLE: Final = "BENCH"
# The end of a message would wait for the acknowledgement of its beginning.
search_path.leave_out_environment()
ENVIRONMENT: Final = {**os.environ, "TCP_NODELAY": "1"}
MIB: Final = 1 << 20
LARGE_FRAMES: Final = 200
START_SECONDS: Final = 120.0
# In place of the SOP Instance UID, so that each run stores objects that are new.
PLACEHOLDER: Final = "2.25." + "1" * 39


# --- servers --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    ae_title: str
    port: int
    pid: int


@contextmanager
def archive(folder: Path) -> Iterator[Contender]:
    port = free_port()
    peers = folder / "peers.toml"
    peers.write_text('[[peers]]\nae_title = "*"\naddresses = ["127.0.0.1"]\nmay = ["store"]\n')
    settings = {
        "dimse": f"127.0.0.1:{port}",
        "dimse_ae_title": AE_TITLE,
        "peers": str(peers),
        "only": "dimse",
    }
    live = Live(folder, settings)
    live.start()
    try:
        yield Contender("archive", AE_TITLE, port, live.pid)
    finally:
        live.stop()


@contextmanager
def storescp(folder: Path) -> Iterator[Contender]:
    port = free_port()
    command = ["storescp", "--fork", "-aet", AE_TITLE, "-od", str(folder), str(port)]
    with started(command, port) as process:
        yield Contender("storescp", AE_TITLE, port, process.pid)


@contextmanager
def orthanc(folder: Path) -> Iterator[Contender]:
    port = free_port()
    configuration = {
        "Name": AE_TITLE,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": AE_TITLE,
        "DicomPort": port,
        "HttpPort": free_port(),
        "DicomAlwaysAllowStore": True,
        "DicomThreadsCount": 8,
        "RemoteAccessAllowed": False,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with started([ORTHANC, str(folder / "orthanc.json")], port) as process:
        yield Contender("Orthanc", AE_TITLE, port, process.pid)


@contextmanager
def started(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_listened_on(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait()


# name, program that has to be there, and how it is started
CONTENDERS: Final = (
    ("archive", "storescu", archive),
    ("storescp", "storescp", storescp),
    ("orthanc", ORTHANC, orthanc),
)


def cpu_s(pid: int) -> float:
    """Of a process with its children, those that have ended, too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    total = sum(map(int, fields[11:15])) / TICKS
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # the thread, or a child, has ended meanwhile
            total += sum(cpu_s(int(child)) for child in (task / "children").read_text().split())
    return total


# --- objects --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """Files of objects that differ in their SOP Instance UIDs alone."""

    template: bytes
    count: int

    @property
    def size_bytes(self) -> int:
        return len(self.template) * self.count

    def write(self, folder: Path, groups: int) -> list[Path]:
        """New objects, dealt out to as many folders."""
        shutil.rmtree(folder, ignore_errors=True)
        folders = [folder / str(number) for number in range(groups)]
        for one in folders:
            one.mkdir(parents=True)
        for number in range(self.count):
            digits = "2.25." + str(10**38 + int(uid()[5:]) % 10**38)
            file = self.template.replace(PLACEHOLDER.encode(), digits.encode())
            (folders[number % groups] / f"{number}.dcm").write_bytes(file)
        return folders


def ct(count: int) -> Sample:
    """CT slices of half a mebibyte with some hundred and twenty attributes."""
    pixels = np.random.default_rng(7).integers(0, 4096, (512, 512), dtype="<u2").tobytes()
    dataset = a_dataset(SOPInstanceUID=PLACEHOLDER, Rows=512, Columns=512, PixelData=pixels)
    dataset.add_new(0x00210010, "LO", "BENCHMARK")
    for element in range(0x10, 0x70):
        dataset.add_new(0x00211000 + element, "LO", f"private value {element}")
    return Sample(written(dataset), count)


def multi_frame() -> Sample:
    """One object of a hundred megabytes."""
    dataset = a_dataset(
        SOPInstanceUID=PLACEHOLDER,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.7.3",
        NumberOfFrames=LARGE_FRAMES,
        Rows=512,
        Columns=512,
        PixelData=os.urandom(LARGE_FRAMES * 512 * 512 * 2),
    )
    return Sample(written(dataset), 1)


# --- rows -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one row and one contender.

    Attributes:
        seconds: Of wall clock.
        cpu_seconds: Of the server.
    """

    objects: int
    size_bytes: int
    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        rate, mib_s = self.objects / self.seconds, self.size_bytes / MIB / self.seconds
        cpu_ms = self.cpu_seconds / self.objects * 1000
        return f"{rate:8.1f} objects/s {mib_s:7.1f} MiB/s  CPU {cpu_ms:8.2f} ms/object"


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    measure: Callable[[Contender, Path], Measured]


def storing(sample: Sample, associations: int) -> Callable[[Contender, Path], Measured]:
    def measure(contender: Contender, folder: Path) -> Measured:
        folders = sample.write(folder / "objects", associations)
        command = ["storescu", "-R", "-aec", contender.ae_title, "+sd", "127.0.0.1"]
        used, begun = cpu_s(contender.pid), time.perf_counter()
        senders = [
            subprocess.Popen([*command, str(contender.port), str(one)], env=ENVIRONMENT)
            for one in folders
        ]
        failed = [sender.wait() for sender in senders]
        seconds = time.perf_counter() - begun
        if any(failed):
            raise SystemExit(f"{contender.name} did not take everything")
        return Measured(sample.count, sample.size_bytes, seconds, cpu_s(contender.pid) - used)

    return measure


def rows(instances: int) -> tuple[Row, ...]:
    slices, large = ct(instances), multi_frame()
    return (
        *(
            Row(f"C-STORE {instances} CT, {count} at once", storing(slices, count))
            for count in (1, 4, 8)
        ),
        Row("C-STORE one of 100 MiB", storing(large, 1)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=[name for name, *_ in CONTENDERS])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        contenders = []
        for name, program, start in CONTENDERS:
            if chosen.only and name not in chosen.only:
                continue
            if shutil.which(program) is None:
                print(f"{name} is left out: {program} is not installed", flush=True)
                continue
            folder = Path(root) / name
            folder.mkdir()
            contenders.append(stack.enter_context(start(folder)))
        for row in rows(chosen.instances) * chosen.rounds:
            for contender in contenders:
                measured = row.measure(contender, Path(root))
                print(f"{row.name:32}{contender.name:10}{measured}", flush=True)


if __name__ == "__main__":
    main()
