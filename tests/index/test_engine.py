import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc

import postgresql_server
from bfr_dicomweb.errors import StorageFull, Unavailable
from bfr_dicomweb.index import columns, instances, revision, statements
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection, row
from catalogue_objects import a_new_instance


async def names_of(index: Index, table: str) -> set[str]:
    async with index.read() as conn:
        found = await conn.exec_driver_sql(f"SELECT * FROM {table}")
        return set(found.keys())


async def test_the_schema_has_every_column_that_is_written(index: Index) -> None:
    assert set(columns.names(columns.STUDY)) <= await names_of(index, "study")
    assert set(columns.names(columns.SERIES)) <= await names_of(index, "series")
    assert set(columns.names(columns.INSTANCE)) <= await names_of(index, "instance")


def test_the_last_migration_is_the_known_revision() -> None:
    from alembic.script import ScriptDirectory

    folder = Path(revision.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_heads() == [revision.HEAD]


async def test_migrating_again_changes_nothing(index: Index) -> None:
    await index.migrate()

    async with index.read() as conn:
        assert await revision.stored(conn) == revision.HEAD


async def test_a_reader_does_not_see_what_is_not_committed(index: Index) -> None:
    async with index.write() as writing:
        await instances.add_instances(writing, [instances.prepare(a_new_instance())])
        async with index.read() as reading:
            assert await instances.count(reading) == 0


async def test_writers_take_turns(index: Index) -> None:
    async def write(number: int) -> None:
        async with index.write() as conn:
            new = a_new_instance(instance=f"2.25.{number}")
            await instances.add_instances(conn, [instances.prepare(new)])

    await asyncio.gather(*(write(number) for number in range(20)))

    async with index.read() as conn:
        assert await instances.count(conn) == 20


async def test_a_cancelled_writer_leaves_nothing_and_blocks_nobody(index: Index) -> None:
    written = asyncio.Event()

    async def write_forever() -> None:
        async with index.write() as conn:
            await instances.add_instances(conn, [instances.prepare(a_new_instance())])
            written.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(write_forever())
    await written.wait()
    task.cancel()
    await asyncio.wait([task])

    async with index.write() as conn:
        assert await instances.count(conn) == 0


@pytest.mark.parametrize("durable", [True, False])
async def test_only_what_has_to_be_durable_waits_for_the_disk(index: Index, durable: bool) -> None:
    async def setting(conn: Connection) -> object:
        sql = "PRAGMA synchronous" if index.is_sqlite else "SHOW synchronous_commit"
        return (await row(conn, sql))[0]

    before = await index.transact(setting)
    within = await index.transact(setting, durable=durable)
    after = await index.transact(setting)

    waits_less = {2: 1, "on": "off", "off": "off"}[before]
    assert (within, after) == (before if durable else waits_less, before)


async def test_a_transaction_that_fails_leaves_nothing(index: Index) -> None:
    async def work(conn: Connection) -> None:
        await row(conn, "UPDATE counter SET change = 77 WHERE id = 1 RETURNING change")
        raise LookupError

    with pytest.raises(LookupError):
        await index.transact(work)

    found = await index.ask(lambda conn: row(conn, "SELECT change FROM counter WHERE id = 1"))
    assert found[0] != 77


async def test_a_bug_of_the_caller_stays_a_bug(index: Index) -> None:
    with pytest.raises(exc.DBAPIError):
        async with index.read() as conn:
            await conn.exec_driver_sql("SELECT nonsense")


async def test_a_failure_of_the_caller_keeps_its_type(index: Index) -> None:
    with pytest.raises(FileNotFoundError):
        async with index.read():
            raise FileNotFoundError(2, "of the caller")


async def test_a_full_disk_is_storage_full_and_leaves_nothing(sqlite_url: str) -> None:
    index = await Index.open(sqlite_url)
    many = [a_new_instance(f"2.25.{n}", PatientName="x" * 500) for n in range(200)]

    async def fill() -> None:
        async with index.write() as conn:
            pages = (await conn.exec_driver_sql("PRAGMA page_count")).scalar()
            await conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            await instances.add_instances(conn, [instances.prepare(new) for new in many])

    with pytest.raises(StorageFull):
        await fill()

    async with index.write() as conn:
        assert await instances.count(conn) == 0
    await index.close()


async def test_a_missing_folder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await Index.open(f"sqlite+aiosqlite:///{tmp_path}/missing/catalogue.db")


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable):
        await Index.open(f"sqlite+aiosqlite:///{tmp_path}/catalogue.db")


async def test_a_server_that_is_not_there_is_unavailable(
    tmp_path: Path, postgresql: postgresql_server.Server
) -> None:
    with pytest.raises(Unavailable):
        await Index.open(f"postgresql://postgres@/x?host={tmp_path}")


async def test_a_lost_connection_is_unavailable_and_the_next_one_works(
    postgresql_url: str,
) -> None:
    index = await Index.open(postgresql_url, readers=1)
    end_others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with index.write() as conn:
        await conn.exec_driver_sql(end_others)

    with pytest.raises(Unavailable):
        await index.ping()
    await index.ping()
    await index.close()


async def test_a_question_on_a_lost_connection_is_unavailable_and_the_next_one_is_answered(
    postgresql_url: str,
) -> None:
    index = await Index.open(postgresql_url, readers=1)

    async def end_itself(conn: Connection) -> None:
        await statements.rows(conn, "SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable):
        await index.ask(end_itself)
    assert await index.ask(_one) == [(1,)]
    await index.close()


async def test_a_question_is_answered_after_its_connection_was_lost_unnoticed(
    postgresql_url: str,
) -> None:
    index = await Index.open(postgresql_url, readers=1)
    await index.ask(_one)
    async with index.read() as conn:
        driver: Any = (await conn.get_raw_connection()).driver_connection
    driver.terminate()

    assert await index.ask(_one) == [(1,)]
    await index.close()


async def test_a_question_that_is_a_bug_stays_a_bug(index: Index) -> None:
    async def broken(conn: Connection) -> None:
        await statements.rows(conn, "SELECT nothing_like_this")

    with pytest.raises(Exception, match="nothing_like_this"):
        await index.ask(broken)
    assert await index.ask(_one) == [(1,)]


async def _one(conn: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await statements.rows(conn, "SELECT 1")]


async def test_a_connection_lost_in_a_transaction_is_unavailable_and_the_next_one_works(
    postgresql_url: str,
) -> None:
    async def end_itself(conn: Connection) -> None:
        await row(conn, "SELECT pg_terminate_backend(pg_backend_pid())")

    async def answer(conn: Connection) -> object:
        return (await row(conn, "SELECT 7"))[0]

    index = await Index.open(postgresql_url, readers=1)

    with pytest.raises(Unavailable):
        await index.transact(end_itself)
    assert await index.transact(answer) == 7
    await index.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://x/y", "sqlite or postgresql"),
        ("sqlite://", "a file"),
        ("sqlite+aiosqlite:///:memory:", "a file"),
        ("not a url with secret", "cannot be read"),
    ],
)
async def test_a_url_of_no_known_database_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        await Index.open(url)
    assert "secret" not in str(refused.value)


async def test_without_the_driver_of_postgresql_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ValueError, match=r"bfr-dicomweb\[postgres\]"):
        await Index.open("postgresql://x/y")


async def test_a_transaction_without_a_statement_lets_others_write(sqlite_url: str) -> None:
    index, other = await Index.open(sqlite_url), await Index.open(sqlite_url)
    async with index.write():
        pass
    async with asyncio.timeout(5), other.write() as conn:
        await conn.exec_driver_sql("UPDATE counter SET change = change")
    await index.close()
    await other.close()
