"""How long a patient's timeline takes in a large catalogue, on both databases: its reads alone, and
the whole FHIR request over HTTP to a server process.

    python tests/benchmarks/timeline.py [--orders 1000000] [--only sqlite] [--patients 300]

The databases are made in the folder for temporary files, some 10 GB for a million orders.
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx2

import orders_population
import postgresql_server
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.timeline import Page
from live import Live

PAGE = 25


@contextmanager
def sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite+aiosqlite:///{folder}/catalogue.db"


@contextmanager
def postgresql() -> Iterator[str]:
    binaries = postgresql_server.find_binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    server = postgresql_server.start(binaries)
    try:
        server.create_database("catalogue")
        yield server.url("catalogue")
    finally:
        server.stop()


async def read(index: Index, patient: int, after: tuple[str, int] | None = None) -> int:
    """All that one page of a patient's timeline is made of; gives how many rows."""
    orders = await timeline.walk_orders(index, Page(PAGE, after=after), patients=[patient])
    exams = await timeline.exams_of_orders(index, [row.id for row in orders])
    exam_ids = [row.id for row in exams]
    reports = await timeline.reports_of_exams(index, exam_ids)
    studies = await timeline.studies_of_exams(index, exam_ids)
    findings = await timeline.findings_of_orders(index, [row.id for row in orders])
    return len(orders) + len(exams) + len(reports) + len(studies) + len(findings)


async def measure(index: Index, name: str, patients: list[int]) -> None:
    for patient in patients[:20]:
        await read(index, patient)
    taken_ms, rows, used_s = [], 0, time.process_time()
    for patient in patients:
        begun = time.perf_counter()
        rows += await read(index, patient)
        taken_ms.append((time.perf_counter() - begun) * 1000)
    cpu_ms = (time.process_time() - used_s) / len(patients) * 1000
    cuts = statistics.quantiles(taken_ms, n=100)
    print(
        f"{name:30}{rows / len(patients):8.0f} rows"
        f"  median {cuts[49]:6.2f} ms  p95 {cuts[94]:6.2f} ms  min {min(taken_ms):6.2f} ms"
        f"  CPU of this process {cpu_ms:6.2f} ms",
        flush=True,
    )


def ask(url: str, chosen: list[int]) -> None:
    """The timeline of each patient as an EHR asks for it."""
    with tempfile.TemporaryDirectory() as folder:
        live = Live(Path(folder), {"database_url": url.replace("+aiosqlite", "")})
        live.start()
        try:
            with httpx2.Client(base_url=live.fhir, timeout=60) as client:
                for name in ("over HTTP, first time", "over HTTP, again"):
                    before_s = _cpu_s(live.pid)
                    _ask(client, name, chosen)
                    cpu_ms = (_cpu_s(live.pid) - before_s) / len(chosen) * 1000
                    print(f"{'':30}CPU of the server {cpu_ms:6.2f} ms for each", flush=True)
        finally:
            live.stop()


def _cpu_s(pid: int) -> float:
    """What a process has used of the processors by now (Linux)."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(stat[11]), int(stat[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def _ask(client: httpx2.Client, name: str, chosen: list[int]) -> None:
    taken_ms, entries = [], 0
    for number in chosen:
        identifier = orders_population.identity(number)
        begun = time.perf_counter()
        answer = client.post("/Patient/$imaging-timeline", data={"identifier": identifier})
        taken_ms.append((time.perf_counter() - begun) * 1000)
        entries += len(answer.raise_for_status().json().get("entry", []))
    cuts = statistics.quantiles(taken_ms, n=100)
    print(
        f"{name:30}{entries / len(chosen):5.0f} entries"
        f"  median {cuts[49]:6.2f} ms  p95 {cuts[94]:6.2f} ms  min {min(taken_ms):6.2f} ms",
        flush=True,
    )


async def run(url: str, orders: int, patients: int) -> list[int]:
    """Fill and read; gives the places of the patients that were chosen."""
    index = await Index.open(url)
    await index.migrate()
    await index.close()
    begun = time.perf_counter()
    await orders_population.fill(url, orders)
    print(f"{orders} orders in {time.perf_counter() - begun:.0f} s", flush=True)
    index = await Index.open(url)
    try:
        every = orders_population.patients(orders)
        chosen = random.Random(7).sample(range(every), min(patients, every))
        stored = [n + 1 for n in chosen if n % orders_population.STORED_EACH == 0]
        await measure(index, "with studies, first time", stored)
        await measure(index, "with studies, again", stored)
        await measure(index, "without studies", [n + 1 for n in chosen if n + 1 not in stored])
        return chosen
    finally:
        await index.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    chosen = parser.parse_args()
    for name, database in (("sqlite", sqlite), ("postgresql", postgresql)):
        if chosen.only in (None, name):
            print(name)
            with database() as url:
                ask(url, asyncio.run(run(url, chosen.orders, chosen.patients)))


if __name__ == "__main__":
    main()
