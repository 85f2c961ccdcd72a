"""The project's own benchmarks: a real server on loopback, its CPU time for each operation.

    python tests/benchmarks [--instances 300] [--studies 2000] [--workers 1]

Wall-clock figures depend on the machine and on its other work; CPU milliseconds of the
server are what to compare between two versions on one machine.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx2

from live import Live, running
from objects import a_dataset, multipart, uid, written

TICKS = os.sysconf("SC_CLK_TCK")
JSON = {"Accept": "application/dicom+json"}
AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
FRAME = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
SURNAMES = ["Andersson", "Åkerström", "Öberg", "Lindqvist", "Svensson", "Nyström", "Björk", "Ek"]


def cpu_s(pid: int) -> float:
    """Of a process and its children."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            total += cpu_s(int(child))
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return total + (int(fields[11]) + int(fields[12])) / TICKS


def slices(count: int) -> Iterator[bytes]:
    """A CT series with about a hundred attributes a slice."""
    study, series = uid(), uid()
    pixels = np.random.default_rng(7).integers(0, 4096, (512, 512), dtype="<u2").tobytes()
    for number in range(1, count + 1):
        dataset = a_dataset(
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            InstanceNumber=number,
            Rows=512,
            Columns=512,
            PixelData=pixels,
        )
        for element in range(0x10, 0x70):
            dataset.add_new(0x00210000 + element, "LO", f"private value {element}")
        dataset.add_new(0x00210010, "LO", "BENCHMARK")
        yield written(dataset)


def small_studies(count: int) -> Iterator[bytes]:
    for number in range(count):
        name = f"{random.choice(SURNAMES)}^{random.choice(SURNAMES)}"
        date = f"{random.randint(2000, 2025)}{random.randint(1, 12):02}{random.randint(1, 28):02}"
        yield written(
            a_dataset(
                PatientName=name,
                PatientID=f"P{number}",
                AccessionNumber=f"A{number}",
                StudyDate=date,
                Modality=random.choice(["CT", "MR", "US", "DX"]),
                PixelData=None,
            )
        )


class Table:
    def __init__(self, live: Live) -> None:
        self._live = live
        print(f"{'operation':32}{'ms/op':>10}{'CPU ms/op':>12}")

    def row(self, name: str, operations: int, work: Callable[[], None]) -> None:
        begun, used = time.perf_counter(), cpu_s(self._live.pid)
        work()
        wall = (time.perf_counter() - begun) / operations * 1000
        cpu = (cpu_s(self._live.pid) - used) / operations * 1000
        print(f"{name:32}{wall:10.2f}{cpu:12.2f}", flush=True)


def store(client: httpx2.Client, files: list[bytes], at_once: int) -> None:
    for start in range(0, len(files), at_once):
        body, content_type = multipart(files[start : start + at_once])
        headers = {"Content-Type": content_type}
        client.post("/studies", content=body, headers=headers).raise_for_status()


def repeat(client: httpx2.Client, times: int, path: str, headers: dict[str, str]) -> None:
    for _ in range(times):
        client.get(path, headers=headers).raise_for_status()


def measure(live: Live, client: httpx2.Client, instances: int, studies: int) -> None:
    table = Table(live)
    files = list(slices(instances))
    half = instances // 2
    table.row("store CT, 1 a request", half, lambda: store(client, files[:half], 1))
    table.row("store CT, 100 a request", instances - half, lambda: store(client, files[half:], 100))
    small = list(small_studies(studies))
    table.row("store small, 100 a request", studies, lambda: store(client, small, 100))
    (row,) = client.get("/instances", params={"limit": 1}, headers=JSON).json()
    instance = row["00081190"]["Value"][0]
    series = instance.split("/instances/")[0]
    reads = (
        ("search by Patient ID", 200, "/studies?PatientID=P17", JSON),
        ("search by name, wildcard", 100, "/studies?PatientName=*akerst*&limit=101", JSON),
        ("search by date range", 100, "/studies?StudyDate=20100101-20100401&limit=101", JSON),
        ("search, newest 50", 100, "/studies?limit=50", JSON),
        ("metadata of an instance", 200, f"{instance}/metadata", JSON),
        ("metadata of the series", 20, f"{series}/metadata", JSON),
        ("a frame", 200, f"{instance}/frames/1", FRAME),
        ("the series", 3, series, AS_STORED),
    )
    for name, times, path, headers in reads:
        table.row(name, times, partial(repeat, client, times, path, headers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=300)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    settings = {"workers": str(chosen.workers), "log_level": "warning"}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), settings) as live,
        httpx2.Client(base_url=live.url, headers=JSON, timeout=120) as client,
    ):
        measure(live, client, chosen.instances, chosen.studies)


if __name__ == "__main__":
    main()
