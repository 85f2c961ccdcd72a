"""How long a worklist takes to answer, and a claim to reach everybody.

    python tests/benchmarks/worklist.py [--workitems 10000] [--subscribers 500] [--database-url URL]

A server of its own gets so many open workitems and so many subscribers to the whole worklist, each
with a connection. Then workitems are claimed one by one. Printed are the times of claims, from the
request to the first and to the last event report of it, and of searches.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2
from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live import Live, running
from workitems_said import JSON, WORKLIST, a_workitem, new_uid, state, text

AT_ONCE = 16
CLAIMS = 50
SEARCHES = {
    "scheduled of one worklist": "ProcedureStepState=SCHEDULED&WorklistLabel=L3&limit=25",
    "a page of all": "ProcedureStepState=SCHEDULED&limit=25",
    "one patient": "PatientID=P77",
    "a name": "PatientName=PERSON77*&limit=25",
    "a start date": "ScheduledProcedureStepStartDateTime=20240105-20240106&limit=25",
}


async def fill(client: httpx2.AsyncClient, count: int) -> list[str]:
    uids = [new_uid() for _ in range(count)]
    numbers = iter(range(count))

    async def create() -> None:
        for number in numbers:
            dataset = a_workitem(
                T00741202=text("LO", f"L{number % 20}"),
                T00100010=text("PN", {"Alphabetic": f"Person{number}^Anna"}),
                T00100020=text("LO", f"P{number}"),
                T00404005=text("DT", f"202401{number % 28 + 1:02}090000"),
            )
            answer = await client.post(
                f"/workitems?{uids[number]}", json=dataset, headers={"Content-Type": JSON}
            )
            answer.raise_for_status()

    begun = time.perf_counter()
    await asyncio.gather(*(create() for _ in range(AT_ONCE)))
    print(f"{count} workitems in {time.perf_counter() - begun:.1f} s")
    return uids


async def hear(connection: ClientConnection, arrivals: asyncio.Queue[float]) -> None:
    async for _ in connection:
        arrivals.put_nowait(time.perf_counter())


async def subscribe(
    live: Live, client: httpx2.AsyncClient, count: int, arrivals: asyncio.Queue[float]
) -> list[asyncio.Task[None]]:
    tasks = []
    for number in range(count):
        answer = await client.post(f"/workitems/{WORKLIST}/subscribers/R{number}")
        connection = await connect(
            answer.headers["Content-Location"], ping_interval=None, max_queue=None
        )
        tasks.append(asyncio.create_task(hear(connection, arrivals)))
    print(f"{count} subscribers, server {live.pid}")
    return tasks


async def claim(
    client: httpx2.AsyncClient, uids: Sequence[str], listeners: int, arrivals: asyncio.Queue[float]
) -> None:
    answered, first, last = [], [], []
    for uid in uids:
        begun = time.perf_counter()
        answer = await client.put(
            f"/workitems/{uid}/state",
            json=state("IN PROGRESS", new_uid()),
            headers={"Content-Type": JSON},
        )
        answer.raise_for_status()
        answered.append(time.perf_counter() - begun)
        heard = [await asyncio.wait_for(arrivals.get(), 30) for _ in range(listeners)]
        first.append(heard[0] - begun)
        last.append(heard[-1] - begun)
    show("claim answered", answered)
    show("claim to first event", first)
    show(f"claim to event of all {listeners}", last)


async def search(client: httpx2.AsyncClient) -> None:
    for name, query in SEARCHES.items():
        times = []
        for _ in range(50):
            begun = time.perf_counter()
            (await client.get(f"/workitems?{query}")).raise_for_status()
            times.append(time.perf_counter() - begun)
        show(f"search: {name}", times)


def show(what: str, seconds: Sequence[float]) -> None:
    ms = sorted(each * 1000 for each in seconds)
    print(
        f"{what:34} median {statistics.median(ms):7.1f} ms   p95 {ms[int(len(ms) * 0.95)]:7.1f} ms"
    )


async def measure(live: Live, workitems: int, subscribers: int) -> None:
    arrivals: asyncio.Queue[float] = asyncio.Queue()
    async with httpx2.AsyncClient(
        base_url=live.url, headers={"Accept": JSON}, timeout=120
    ) as client:
        uids = await fill(client, workitems)
        await search(client)
        tasks = await subscribe(live, client, subscribers, arrivals)
        await claim(client, uids[:CLAIMS], subscribers, arrivals)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workitems", type=int, default=10_000)
    parser.add_argument("--subscribers", type=int, default=500)
    parser.add_argument("--database-url")
    given = parser.parse_args()
    settings = {"log_level": "warning"}
    if given.database_url:
        settings["database_url"] = given.database_url
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), settings) as live:
        asyncio.run(measure(live, given.workitems, given.subscribers))


if __name__ == "__main__":
    main()
