"""SQLite connections that cross to their thread once per statement.

The driver's own cursor crosses four times (open, execute, fetch, close), which costs more than
a read by primary key does.
"""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Self, TypeVar, cast

import aiosqlite

BUSY_TIMEOUT_MS: Final = 30_000
_JOIN_S: Final = 5.0
_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",
    "PRAGMA mmap_size = 268435456",
    "PRAGMA journal_size_limit = 67108864",
    # pages that change with every commit are then written into the database less often
    "PRAGMA wal_autocheckpoint = 16000",
)


class OneHopCursor:
    """The part of a cursor that SQLAlchemy uses; execution also fetches everything."""

    def __init__(self, connection: "OneHopConnection") -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        await self._connection.run(partial(self._execute, sql, parameters))

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        await self._connection.run(partial(self._executemany, sql, parameters))

    def _execute(self, sql: str, parameters: Sequence[Any]) -> None:
        cursor = self._connection.raw.execute(sql, parameters)
        self.description = cursor.description
        self._rows = cursor.fetchall() if cursor.description else []
        self.rowcount = cursor.rowcount
        self.lastrowid = cursor.lastrowid

    def _executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        cursor = self._connection.raw.executemany(sql, parameters)
        self.rowcount = cursor.rowcount

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []


class OneHopConnection(aiosqlite.Connection):
    """
    Attributes:
        is_durable: A commit outlives a power failure, not only this process.
        is_patient: Statements wait for other processes.
    """

    is_durable = True
    is_patient = True

    @property
    def raw(self) -> sqlite3.Connection:
        return self._conn

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run the function in the connection's thread."""
        return await self._execute(function)  # type: ignore[no-untyped-call]

    def cursor(self) -> Any:
        return OneHopCursor(self)

    async def rollback(self) -> None:
        # In the thread, behind a BEGIN that a cancelled task may have left there.
        await self.run(self._rollback)

    def _rollback(self) -> None:
        if self.raw.in_transaction:
            self.raw.rollback()


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


def _regexp(pattern: str, text: str | None) -> bool:
    return text is not None and _compiled(pattern).search(text) is not None


def _connect(path: str) -> sqlite3.Connection:
    # isolation_level=None: a transaction begins only where the archive says BEGIN.
    raw = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    try:
        for pragma in _PRAGMAS:
            raw.execute(pragma)
        raw.create_function("regexp", 2, _regexp, deterministic=True)
    except BaseException:
        raw.close()
        raise
    return raw


async def connect(path: str) -> OneHopConnection:
    connection = OneHopConnection(partial(_connect, path), 64)
    thread = connection._thread  # the driver has no public way to it
    # An event loop that dies without closing the index must not keep the process alive.
    thread.daemon = True
    try:
        return cast("OneHopConnection", await connection)
    except BaseException:
        # The thread reports its end to this loop, which may be about to close.
        await asyncio.to_thread(thread.join, _JOIN_S)
        raise


async def begin_immediate(connection: OneHopConnection, *, timeout_s: float = 30.0) -> None:
    """Take the write lock, waiting for other processes.

    SQLite's own waiting sleeps up to 100 ms at a time; between processes that store many small
    objects shorter naps give each its turn.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    nap_s = 0.001
    while not await connection.run(partial(_try_begin, connection)):
        if loop.time() > deadline:
            raise sqlite3.OperationalError("database is locked")
        await asyncio.sleep(nap_s)
        nap_s = min(nap_s * 1.5, 0.02)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InThread:
    """A connection for code that runs in the connection's own thread."""

    raw: sqlite3.Connection


class Busy(Exception):
    """Another process is writing."""


async def transact(
    connection: OneHopConnection,
    work: Callable[[InThread], Coroutine[Any, Any, T]],
    *,
    first: Callable[[], None] | None = None,
    durable: bool = True,
    timeout_s: float = 30.0,
) -> T:
    """Run a transaction in one visit to the connection's thread.

    Args:
        work: May await nothing but statements on what it is given.
        first: Runs there before the transaction begins.
        durable: False: it may be lost in a power failure as long as no durable one follows it.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    nap_s = 0.001
    while True:
        try:
            visit = partial(_transact, connection, work, first, durable=durable)
            return cast("T", await connection.run(visit))
        except Busy:
            first = None  # it has been done
            if loop.time() > deadline:
                raise sqlite3.OperationalError("database is locked") from None
        await asyncio.sleep(nap_s)
        nap_s = min(nap_s * 1.5, 0.02)


async def ask(
    connection: OneHopConnection, work: Callable[[InThread], Coroutine[Any, Any, T]]
) -> T:
    """Run reads in one visit to the connection's thread.

    Args:
        work: May await nothing but statements on what it is given.
    """
    return cast("T", await connection.run(lambda: _finished(work(InThread(connection.raw)))))


def _transact(
    connection: OneHopConnection,
    work: Callable[[InThread], Coroutine[Any, Any, T]],
    first: Callable[[], None] | None,
    *,
    durable: bool,
) -> T:
    if first is not None:
        first()
    if connection.is_durable is not durable:
        connection.raw.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.is_durable = durable
    if not _try_begin(connection):
        raise Busy
    try:
        result = _finished(work(InThread(connection.raw)))
        connection.raw.commit()
    except BaseException:
        connection.raw.rollback()
        raise
    return result


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    work.close()
    raise RuntimeError("only statements may be awaited here")


def _try_begin(connection: OneHopConnection) -> bool:
    raw = connection.raw
    if connection.is_patient:
        # for good: this is the only statement of a writer that can meet another one
        raw.execute("PRAGMA busy_timeout = 0")
        connection.is_patient = False
    try:
        raw.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
