"""SQL text for both databases: parameters are written ``?1``, ``?2`` ... and given as a tuple.

The statements of the hot paths are text on purpose: to build and look up an expression costs
more than SQLite needs to answer it.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, cast

import orjson
from sqlalchemy import CursorResult
from sqlalchemy.ext.asyncio import AsyncConnection

from bfr_dicomweb.index import postgresql, sqlite

_NUMBERED: Final = re.compile(r"\?(\d+)")
_LISTED: Final = re.compile(r"IN \((\?\d+)::(\w+)\[\]\)")


# What runs statements: of SQLAlchemy, in the thread of an SQLite connection, or the driver of
# PostgreSQL.
Connection = AsyncConnection | sqlite.InThread | postgresql.Direct


def is_sqlite(conn: Connection) -> bool:
    if isinstance(conn, AsyncConnection):
        return conn.dialect.name == "sqlite"
    return isinstance(conn, sqlite.InThread)


@lru_cache(maxsize=2048)
def _for_sqlite(sql: str) -> str:
    return _LISTED.sub(r"IN (SELECT value FROM json_each(\1))", sql)


@lru_cache(maxsize=2048)
def _for_postgresql(sql: str) -> str:
    return _NUMBERED.sub(r"$\1", _LISTED.sub(r"= ANY(\1::\2[])", sql))


async def execute(
    conn: AsyncConnection, sql: str, parameters: Sequence[Any] = ()
) -> CursorResult[Any]:
    """Run a statement. ``IN (?1::text[])`` takes a list, so that its text never varies."""
    if is_sqlite(conn):
        return await conn.exec_driver_sql(_for_sqlite(sql), _bound(parameters))
    return await conn.exec_driver_sql(_for_postgresql(sql), tuple(parameters))


def _bound(parameters: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        orjson.dumps(value).decode() if isinstance(value, list) else value for value in parameters
    )


async def rows(conn: Connection, sql: str, parameters: Sequence[Any] = ()) -> Sequence[Any]:
    if isinstance(conn, sqlite.InThread):
        return conn.raw.execute(_for_sqlite(sql), _bound(parameters)).fetchall()
    if isinstance(conn, postgresql.Direct):
        found: Sequence[Any] = await conn.raw.fetch(_for_postgresql(sql), *parameters)
        return found
    return (await execute(conn, sql, parameters)).fetchall()


async def row(conn: Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """The first row, or None."""
    found = await rows(conn, sql, parameters)
    return found[0] if found else None


class Script:
    """Statements whose answers nobody needs, run together in one turn of the database."""

    def __init__(self) -> None:
        self._statements: list[tuple[str, Sequence[tuple[Any, ...]]]] = []

    def add(self, sql: str, parameters: Sequence[tuple[Any, ...]]) -> None:
        """Run the statement once for each tuple of parameters."""
        if parameters:
            self._statements.append((sql, parameters))

    async def run(self, conn: Connection) -> None:
        if isinstance(conn, sqlite.InThread):
            self._run(conn.raw)
            return
        if isinstance(conn, postgresql.Direct):
            await self._run_directly(conn.raw)
            return
        if is_sqlite(conn):
            raw = await conn.get_raw_connection()
            driver = cast("sqlite.OneHopConnection", raw.driver_connection)
            await driver.run(partial(self._run, driver.raw))
            return
        for sql, parameters in self._statements:
            text = _for_postgresql(sql)
            if len(parameters) == 1:
                await conn.exec_driver_sql(text, parameters[0])
            else:
                await conn.exec_driver_sql(text, list(parameters))

    async def _run_directly(self, raw: Any) -> None:
        for sql, parameters in self._statements:
            text = _for_postgresql(sql)
            if len(parameters) == 1:
                await raw.execute(text, *parameters[0])
            else:
                await raw.executemany(text, parameters)

    def _run(self, raw: sqlite3.Connection) -> None:
        for sql, parameters in self._statements:
            raw.executemany(_for_sqlite(sql), parameters)


def insert(table: str, columns: Iterable[str]) -> str:
    names = list(columns)
    places = ", ".join(f"?{number}" for number in range(1, len(names) + 1))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"  # noqa: S608 # our names
