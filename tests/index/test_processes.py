"""Several processes make and fill one catalogue at the same time."""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from bfr_dicomweb.index import changes, instances, studies
from bfr_dicomweb.index.engine import Index
from catalogue_objects import a_new_instance

PROCESSES = 3
BATCHES = 12
SHARED_STUDIES = 4


async def _fill(url: str, process: int) -> list[str]:
    index = await Index.open(url, readers=1)
    await index.migrate()
    outcomes = []
    for batch in range(BATCHES):
        new = [
            # Studies and series that all processes add to, in different order, and one instance
            # that all of them send.
            a_new_instance(f"2.25.{study}", instance=f"2.25.{study}.1.{process}.{batch}")
            for study in range(1, SHARED_STUDIES + 1)
        ]
        new.append(a_new_instance("2.25.99", instance=f"2.25.99.{batch}"))
        prepared = [instances.prepare(item) for item in new[:: 1 if process % 2 else -1]]
        async with index.write() as conn:
            outcomes += await instances.add_instances(conn, prepared)
    await index.close()
    return [added.outcome.value for added in outcomes]


def fill(url: str, process: int) -> list[str]:
    return asyncio.run(_fill(url, process))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/new.db"
    server = request.getfixturevalue("postgresql")
    server.create_database("filled_at_once")
    url: str = server.url("filled_at_once")
    return url


async def test_processes_that_migrate_and_store_at_once_lose_nothing(
    empty_database_url: str,
) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        running = [pool.submit(fill, empty_database_url, k) for k in range(PROCESSES)]
        outcomes = [outcome for one in running for outcome in one.result(120)]

    stored = PROCESSES * BATCHES * SHARED_STUDIES + BATCHES
    index = await Index.open(empty_database_url)
    async with index.read() as conn:
        study = await studies.find(conn, "2.25.1")
        numbers = [change.number for change in await changes.list_after(conn, 0, 10_000)]
        assert await instances.count(conn) == stored
    await index.close()
    assert study is not None
    assert study.number_of_instances == PROCESSES * BATCHES
    assert (outcomes.count("stored"), outcomes.count("different")) == (stored, 0)
    assert numbers == list(range(1, stored + 1))
