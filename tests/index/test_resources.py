"""What clients write is kept in all its versions, whole transactions at a time."""

import asyncio
import re
import shutil
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from bfr_dicomweb.errors import Conflict, Gone, NotFound
from bfr_dicomweb.index import changes, statements
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.orders.identifiers import Identifier
from bfr_dicomweb.services import resources
from bfr_dicomweb.services.resources import Delete, Post, Put, ResourceRow, Write

ORGANIZATION = "Organization"
HSA = Identifier("urn:oid:1.2.752.29.4.19", "SE2321000131-E000000000011")


async def posted(index: Index, key: str = "a", *identifiers: Identifier) -> ResourceRow:
    (row,) = await resources.write(index, [Post(ORGANIZATION, key, b'{"n":1}', identifiers)])
    return row


async def test_what_is_written_is_read(index: Index) -> None:
    written = await posted(index)

    assert await resources.read(index, ORGANIZATION, "a") == written
    assert (written.version, written.body, written.deleted) == (1, b'{"n":1}', False)


async def test_an_update_is_the_next_version(index: Index) -> None:
    await posted(index)

    (row,) = await resources.write(index, [Put(ORGANIZATION, "a", b"{}", expected=1)])

    assert row.version == 2
    assert await resources.read(index, ORGANIZATION, "a") == row


async def test_an_earlier_version_can_still_be_read(index: Index) -> None:
    first = await posted(index)
    await resources.write(index, [Put(ORGANIZATION, "a", b"{}")])

    assert await resources.vread(index, ORGANIZATION, "a", 1) == first


@pytest.mark.parametrize("expected", [0, 2])
async def test_an_update_of_another_version_is_refused(index: Index, expected: int) -> None:
    await posted(index)

    with pytest.raises(Conflict):
        await resources.write(index, [Put(ORGANIZATION, "a", b"{}", expected=expected)])


async def test_an_update_makes_what_is_not_there(index: Index) -> None:
    (row,) = await resources.write(index, [Put(ORGANIZATION, "own-id", b"{}", expected=0)])

    assert row.version == 1


async def test_an_id_is_given_once(index: Index) -> None:
    await posted(index)

    with pytest.raises(Conflict):
        await posted(index)


async def test_what_has_been_deleted_is_gone(index: Index) -> None:
    await posted(index)
    await resources.write(index, [Delete(ORGANIZATION, "a")])

    with pytest.raises(Gone):
        await resources.read(index, ORGANIZATION, "a")
    with pytest.raises(Gone):
        await resources.vread(index, ORGANIZATION, "a", 2)


async def test_a_deletion_is_a_version_of_the_history(index: Index) -> None:
    await posted(index)
    await resources.write(index, [Delete(ORGANIZATION, "a", expected=1)])

    history = await resources.history(index, ORGANIZATION, "a")

    assert [(row.version, row.deleted) for row in history] == [(2, True), (1, False)]


async def test_what_has_been_deleted_is_deleted_once(index: Index) -> None:
    await posted(index)
    (first,) = await resources.write(index, [Delete(ORGANIZATION, "a")])

    assert await resources.write(index, [Delete(ORGANIZATION, "a")]) == [first]


async def test_what_has_never_been_there_cannot_be_deleted(index: Index) -> None:
    with pytest.raises(NotFound):
        await resources.write(index, [Delete(ORGANIZATION, "a")])


async def test_what_has_been_deleted_can_be_written_again(index: Index) -> None:
    await posted(index)
    await resources.write(index, [Delete(ORGANIZATION, "a")])

    (row,) = await resources.write(index, [Put(ORGANIZATION, "a", b"{}")])

    assert row.version == 3
    assert await resources.read(index, ORGANIZATION, "a") == row


async def test_a_transaction_is_written_as_a_whole_or_not_at_all(index: Index) -> None:
    await posted(index, "b")

    with pytest.raises(Conflict):
        await resources.write(
            index,
            [Post(ORGANIZATION, "a", b"{}"), Put(ORGANIZATION, "b", b"{}", expected=7)],
        )

    assert await resources.read(index, ORGANIZATION, "a") is None


async def test_a_later_write_of_a_transaction_follows_an_earlier_one(index: Index) -> None:
    rows = await resources.write(
        index,
        [
            Post(ORGANIZATION, "a", b"{}"),
            Put(ORGANIZATION, "a", b"[]", expected=1),
            Delete(ORGANIZATION, "a", expected=2),
        ],
    )

    assert [row.version for row in rows] == [1, 2, 3]
    assert await resources.history(index, ORGANIZATION, "a") == rows[::-1]


async def test_writers_at_the_same_time_make_versions_one_after_the_other(index: Index) -> None:
    await posted(index)

    await asyncio.gather(
        *(resources.write(index, [Put(ORGANIZATION, "a", b"{}")]) for _ in range(8))
    )

    history = await resources.history(index, ORGANIZATION, "a")
    assert [row.version for row in history] == list(range(9, 0, -1))


async def test_a_resource_is_found_by_the_identifier_that_it_has_now(index: Index) -> None:
    await posted(index, "a", HSA)
    await posted(index, "b", Identifier("", HSA.value))

    async def found(system: str | None) -> list[str]:
        named = [(system, HSA.value)]
        return [row.id for row in await resources.identified(index, ORGANIZATION, named)]

    assert await found(HSA.system) == ["a"]
    assert await found(None) == ["a", "b"]
    await resources.write(index, [Put(ORGANIZATION, "a", b"{}")])
    assert await found(HSA.system) == []


async def test_what_has_been_deleted_is_not_found(index: Index) -> None:
    await posted(index, "a", HSA)
    await resources.write(index, [Delete(ORGANIZATION, "a")])

    assert await resources.identified(index, ORGANIZATION, [(None, HSA.value)]) == []
    assert await resources.by_ids(index, ORGANIZATION, ["a"]) == []
    assert await resources.walk(index, ORGANIZATION, limit=10) == []


@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_hold_everything_once_in_the_order_of_writing(
    index: Index, newest_first: bool
) -> None:
    for key in ("c", "a", "b", "e", "d"):
        await posted(index, key)
    await resources.write(index, [Put(ORGANIZATION, "a", b"{}"), Put("Patient", "a", b"{}")])
    found: list[ResourceRow] = []

    while page := await resources.walk(
        index,
        ORGANIZATION,
        limit=2,
        newest_first=newest_first,
        after=found[-1].change if found else None,
    ):
        found += page

    ids = [row.id for row in found]
    assert (ids[::-1] if newest_first else ids) == ["c", "b", "e", "d", "a"]


async def test_each_write_is_told_as_a_change(index: Index) -> None:
    row = await posted(index)

    async with index.read() as conn:
        found = await conn.exec_driver_sql("SELECT number, what, subject FROM change")
        assert [tuple(each) for each in found] == [
            (row.change, "resource-changed", "Organization/a")
        ]
        assert await changes.latest(conn) == row.change


KEYS = st.sampled_from("ab")
WRITES = st.one_of(
    st.builds(Post, st.just(ORGANIZATION), KEYS, st.binary(max_size=3)),
    st.builds(
        Put,
        st.just(ORGANIZATION),
        KEYS,
        st.binary(max_size=3),
        expected=st.none() | st.integers(0, 4),
    ),
    st.builds(Delete, st.just(ORGANIZATION), KEYS, expected=st.none() | st.integers(0, 4)),
)


@settings(max_examples=25)
@given(st.lists(WRITES, max_size=12))
def test_one_transaction_comes_to_the_same_as_many(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, wanted: list[Write]
) -> None:
    accepted = _accepted(wanted)
    apart = _written([[one] for one in accepted], sqlite_template, tmp_path_factory)
    together = _written([accepted], sqlite_template, tmp_path_factory)

    assert apart == together


def _accepted(wanted: Sequence[Write]) -> list[Write]:
    """Those that none of the rules refuses, by a model of them."""
    standing: dict[str, tuple[int, bool]] = {}
    found = []
    for one in wanted:
        version, deleted = standing.get(one.id, (0, False))
        expected = None if isinstance(one, Post) else one.expected
        if (isinstance(one, Post) and version) or (isinstance(one, Delete) and not version):
            continue
        if expected not in (None, version):
            continue
        found.append(one)
        if not (isinstance(one, Delete) and deleted):
            standing[one.id] = (version + 1, isinstance(one, Delete))
    return found


def _written(
    transactions: list[list[Write]], template: Path, folders: pytest.TempPathFactory
) -> list[tuple[object, ...]]:
    path = folders.mktemp("resources") / "catalogue.db"
    shutil.copy(template, path)

    async def work() -> None:
        index = await Index.open(f"sqlite+aiosqlite:///{path}", readers=1)
        for wanted in transactions:
            await resources.write(index, wanted)
        await index.close()

    asyncio.run(work())
    with sqlite3.connect(path) as raw:
        found = raw.execute(
            "SELECT id, version, current, deleted, body, change FROM resource ORDER BY id, version"
        ).fetchall()
    raw.close()
    return found


READS: dict[str, Callable[[Index], Coroutine[Any, Any, Any]]] = {
    "read": lambda i: resources.read(i, ORGANIZATION, "a"),
    "vread": lambda i: resources.vread(i, ORGANIZATION, "a", 1),
    "history": lambda i: resources.history(i, ORGANIZATION, "a"),
    "by ids": lambda i: resources.by_ids(i, ORGANIZATION, ["a", "b"]),
    "identified": lambda i: resources.identified(i, ORGANIZATION, [(None, HSA.value)]),
    "walk": lambda i: resources.walk(i, ORGANIZATION, limit=10),
    "walk on": lambda i: resources.walk(i, ORGANIZATION, limit=10, after=7),
    "write": lambda i: resources.write(i, [Put(ORGANIZATION, "a", b"{}")]),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_resources_are_read_along_an_index(
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Index], Coroutine[Any, Any, Any]],
) -> None:
    index = await Index.open(sqlite_url, readers=1)
    await posted(index, "a", HSA)
    asked = record(monkeypatch)

    await read(index)

    await index.close()
    with sqlite3.connect(make_url(sqlite_url).database or "") as raw:
        steps = [step for sql in asked for step in explained(raw, sql)]
    raw.close()
    assert [step for step in steps if step.startswith("SEARCH")]
    assert not [step for step in steps if re.match(r"SCAN (?!json_each)|USE TEMP", step)], steps


def record(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that are executed, as SQLite gets them."""
    asked: list[str] = []
    original = statements._for_sqlite

    def remember(sql: str) -> str:
        asked.append(original(sql))
        return asked[-1]

    monkeypatch.setattr(statements, "_for_sqlite", remember)
    return asked


def explained(raw: sqlite3.Connection, sql: str) -> list[str]:
    places = [None] * max((int(number) for number in re.findall(r"\?(\d+)", sql)), default=0)
    return [step for *_, step in raw.execute(f"EXPLAIN QUERY PLAN {sql}", places)]
