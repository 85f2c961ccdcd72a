"""The change feed: in order, without gaps, whoever writes."""

import asyncio
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from bfr_dicomweb.errors import Conflict, Unavailable
from bfr_dicomweb.index import instances
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import change_feed
from bfr_dicomweb.services.change_feed import ChangeFeed
from catalogue_objects import a_new_instance

WRITERS, BATCHES, EACH = 2, 15, 3


async def store(index: Index, *uids: str) -> None:
    prepared = [instances.prepare(a_new_instance("2.25.1", instance=uid)) for uid in uids]
    await index.transact(lambda conn: instances.add_instances(conn, prepared))


async def test_changes_come_in_their_order(index: Index) -> None:
    await store(index, "1.1", "1.2")
    await store(index, "1.3")

    page = await ChangeFeed(index).page(0)

    assert [one.sop_instance_uid for one in page.changes] == ["1.1", "1.2", "1.3"]


async def test_a_reader_goes_on_where_a_page_ended(index: Index) -> None:
    await store(index, *(f"1.{number}" for number in range(7)))
    feed, after, seen = ChangeFeed(index), 0, []

    while (page := await feed.page(after, limit=3)).changes:
        seen += [one.sop_instance_uid for one in page.changes]
        after = page.next

    assert seen == [f"1.{number}" for number in range(7)]


@pytest.mark.parametrize("limit", [1, 2])
async def test_only_the_kinds_that_are_asked_for_are_told(index: Index, limit: int) -> None:
    await store(index, "1.1", "1.2")
    feed = ChangeFeed(index)

    found = await feed.page(0, limit=limit, kinds={"instance-stored"})
    none = await feed.page(0, kinds={"instance-deleted"})

    assert (len(found.changes), found.next) == (limit, limit)
    assert (none.changes, none.next) == ([], 2)


async def test_a_number_that_was_never_given_is_refused(index: Index) -> None:
    await store(index, "1.1")

    with pytest.raises(Conflict):
        await ChangeFeed(index).page(2)


async def test_waiting_ends_with_the_first_change(index: Index) -> None:
    feed = ChangeFeed(index)
    waiting = asyncio.create_task(feed.page(0, wait_s=20))
    await asyncio.sleep(0.1)
    await store(index, "1.1")
    begun = time.monotonic()

    page = await waiting

    assert len(page.changes) == 1
    assert time.monotonic() - begun < 10
    await feed.close()


async def test_waiting_ends_with_the_time(index: Index) -> None:
    feed = ChangeFeed(index)

    page = await feed.page(0, wait_s=0.3)

    assert (page.changes, page.next) == ([], 0)
    await feed.close()


async def test_no_more_than_a_number_of_clients_wait(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "MOST_WAITING", 1)
    feed = ChangeFeed(index)
    waiting = asyncio.create_task(feed.page(0, wait_s=1))
    await asyncio.sleep(0.2)

    with pytest.raises(Unavailable):
        await feed.page(0, wait_s=1)

    await waiting
    await feed.close()


def write(url: str, writer: int) -> None:
    asyncio.run(_write(url, writer))


async def _write(url: str, writer: int) -> None:
    index = await Index.open(url, readers=1)
    for batch in range(BATCHES):
        await store(index, *(f"2.{writer}.{batch}.{number}" for number in range(EACH)))
    await index.close()


async def test_a_reader_misses_nothing_that_several_processes_write(
    index: Index, database_url: str
) -> None:
    total, after = WRITERS * BATCHES * EACH, 0
    seen: list[int] = []
    feed = ChangeFeed(index)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WRITERS, mp_context=context) as pool:
        running = [pool.submit(write, database_url, number) for number in range(WRITERS)]
        async with asyncio.timeout(120):
            while len(seen) < total:
                page = await feed.page(after, limit=7, wait_s=5)
                seen += [one.number for one in page.changes]
                after = page.next
        for one in running:
            one.result(60)

    assert seen == list(range(1, total + 1))
    await feed.close()
