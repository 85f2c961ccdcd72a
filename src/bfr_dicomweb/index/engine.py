"""The catalogue's database: connections to read and to write, and its errors in our words."""

import asyncio
import errno
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, cast

from sqlalchemy import URL, exc, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bfr_dicomweb.errors import StorageFull, Unavailable
from bfr_dicomweb.index import postgresql, revision, sqlite
from bfr_dicomweb.index.statements import Connection

T = TypeVar("T")

DEFAULT_READERS: Final = 4
_TIMEOUT_S: Final = 30.0
_LOW_DISK_BYTES: Final = 1 << 20
# SQLSTATE classes and codes of PostgreSQL, Appendix A of its manual.
_DISK_FULL: Final = frozenset({"53100"})
_LOST: Final = ("08", "53", "57P", "25006", "40", "55P03")


class Index:
    """One catalogue. `read` gives any number of readers, `write` one writer at a time."""

    def __init__(self, readers: AsyncEngine, writer: AsyncEngine, url: URL, asked: int) -> None:
        self._readers = readers
        self._writer = writer
        self._url = url
        self._writing = asyncio.Lock()
        # Beside SQLAlchemy's: whole transactions and reads go to these threads in one piece.
        self._path = str(Path(url.database or "").expanduser())
        self._transactor: sqlite.OneHopConnection | None = None
        self._askers: asyncio.LifoQueue[sqlite.OneHopConnection | None] = asyncio.LifoQueue()
        for _ in range(asked):
            self._askers.put_nowait(None)

    @classmethod
    async def open(cls, url: str, *, readers: int = DEFAULT_READERS) -> "Index":
        """Connect to ``sqlite+aiosqlite:///path`` or ``postgresql://...``.

        Raises:
            ValueError: The URL names no database that this archive knows.
            Unavailable: The database cannot be reached.
        """
        parsed = _parse(url)
        index = cls(_engine(parsed, readers, autocommit=True), _engine(parsed, 1), parsed, readers)
        try:
            await index.ping()
        except BaseException:
            await index.close()
            raise
        return index

    @property
    def is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which every statement sees what is committed when it begins."""
        with self._translated():
            async with self._connected(self._readers) as conn:
                yield conn

    async def ask(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Run reads, as inside `read`, on the driver itself; on SQLite in one visit to a thread.

        Args:
            work: May await nothing but statements on what it is given.
        """
        if not self.is_sqlite:
            async with self.read() as conn, postgresql.direct(conn, _raise_for_state) as direct:
                return await work(direct)
        with self._translated():
            connection = await self._askers.get()
            try:
                # opened by whoever comes first
                connection = connection or await sqlite.connect(self._path)
                return await sqlite.ask(connection, work)
            finally:
                self._askers.put_nowait(connection)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction: committed at the end, rolled back on any exception."""
        with self._translated():
            async with self._writing, self._connected(self._writer) as conn:
                try:
                    if self.is_sqlite:
                        driver = await _driver(conn)
                        await sqlite.begin_immediate(driver, timeout_s=_TIMEOUT_S)
                    # else nothing would be committed, and the lock kept, where nothing is executed
                    await conn.begin()
                    yield conn
                    await conn.commit()
                except BaseException:
                    await asyncio.shield(self._roll_back(conn))
                    raise

    async def transact(
        self,
        work: Callable[[Connection], Coroutine[Any, Any, T]],
        *,
        first: Callable[[], None] | None = None,
        durable: bool = True,
    ) -> T:
        """Run work in a transaction, as inside `write`, on the driver itself.

        On SQLite in one visit to its thread.

        Args:
            work: May await nothing but statements on what it is given.
            first: May block; runs in a thread before the transaction begins.
            durable: False does not wait for the disk: what is committed outlives this process, and
                a power failure only when something durable was committed after it.
        """
        if not self.is_sqlite:
            if first is not None:
                await asyncio.to_thread(first)
            return await self._transact_directly(work, durable=durable)
        with self._translated():
            async with self._writing:
                if self._transactor is None:
                    self._transactor = await sqlite.connect(self._path)
                return await sqlite.transact(
                    self._transactor, work, first=first, durable=durable, timeout_s=_TIMEOUT_S
                )

    async def _transact_directly(
        self, work: Callable[[Connection], Coroutine[Any, Any, T]], *, durable: bool
    ) -> T:
        with self._translated():
            async with (
                self._writing,
                self._connected(self._writer) as conn,
                postgresql.direct(conn, _raise_for_state) as direct,
                direct.raw.transaction(),
            ):
                if not durable:
                    await direct.raw.execute("SET LOCAL synchronous_commit = off")
                return await work(direct)

    async def _roll_back(self, conn: AsyncConnection) -> None:
        await conn.rollback()
        if self.is_sqlite:
            # SQLAlchemy does not know of a BEGIN that no statement followed
            await (await _driver(conn)).rollback()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            conn = await engine.connect()
        except OSError as error:
            # Only here: what the caller does while connected may fail in its own ways.
            _raise_for_os(error)
        try:
            yield conn
        finally:
            await asyncio.shield(conn.close())

    async def migrate(self) -> None:
        """Bring the schema to this version; safe when several processes do it at once."""
        async with self.read() as conn:
            if await revision.stored(conn) == revision.HEAD:
                return
        # Alembic is slow to import and rarely needed.
        from bfr_dicomweb.index.migrations import upgrade

        async with self.write() as conn:
            await upgrade.lock(conn)
            await conn.run_sync(upgrade.upgrade)

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        async with self.read() as conn:
            await conn.exec_driver_sql("SELECT 1")

    async def close(self) -> None:
        await self._readers.dispose()
        await self._writer.dispose()
        own = [self._transactor, *(self._askers.get_nowait() for _ in range(self._askers.qsize()))]
        for connection in own:
            if connection is not None:
                await connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable("the catalogue's database was lost") from None
            _raise_ours(error.orig, self._url)
            raise
        except exc.TimeoutError:
            raise Unavailable("all connections to the catalogue are in use") from None
        except sqlite3.Error as error:
            _raise_ours(error, self._url)
            raise


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The text of the URL may hold a password.
        raise ValueError("the database URL cannot be read") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ValueError("the database URL must name a file: several connections share it")
        return parsed.set(drivername="sqlite+aiosqlite")
    if backend in ("postgresql", "postgres"):
        _require_asyncpg()
        return parsed.set(drivername="postgresql+asyncpg")
    raise ValueError(f"the catalogue is kept in sqlite or postgresql, not in {backend}")


def _require_asyncpg() -> None:
    try:
        import asyncpg  # noqa: F401
    except ImportError:
        raise ValueError(
            "PostgreSQL needs the extra 'postgres': pip install 'bfr-dicomweb[postgres]'"
        ) from None


async def _driver(conn: AsyncConnection) -> sqlite.OneHopConnection:
    raw = await conn.get_raw_connection()
    return cast("sqlite.OneHopConnection", raw.driver_connection)


def _engine(url: URL, connections: int, *, autocommit: bool = False) -> AsyncEngine:
    options: dict[str, Any] = {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": _TIMEOUT_S,
        "hide_parameters": True,  # they are patient data
        # reads leave nothing to roll back, and `write` does it itself: one hop less
        "pool_reset_on_return": None,
    }
    if url.get_backend_name() == "sqlite":
        path = str(Path(url.database or "").expanduser())
        options["async_creator"] = partial(sqlite.connect, path)
    else:
        options["connect_args"] = {"server_settings": {"application_name": "bfr-dicomweb"}}
    if autocommit:
        # Without BEGIN there is nothing to commit or to roll back after a read.
        options["skip_autocommit_rollback"] = True
        options["isolation_level"] = "AUTOCOMMIT"
    return create_async_engine(url, **options)


def _raise_ours(error: BaseException | None, url: URL) -> None:
    """Raise StorageFull or Unavailable when `error` is one of these; return when it is a bug."""
    state = getattr(error, "sqlstate", None)
    if state is not None:
        _raise_for_state(str(state))
    elif isinstance(error, sqlite3.Error):
        _raise_for_code(getattr(error, "sqlite_errorcode", None), url)


def _raise_for_state(state: str) -> None:
    if state in _DISK_FULL:
        raise StorageFull("no room is left for the catalogue") from None
    if state.startswith(_LOST):
        raise Unavailable("the catalogue's database was lost") from None


def _raise_for_code(code: int | None, url: URL) -> None:
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        raise StorageFull("no room is left for the catalogue") from None
    if primary == sqlite3.SQLITE_IOERR and _disk_is_full(url):
        raise StorageFull("no room is left for the catalogue") from None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, None):
        raise Unavailable("the catalogue is locked by another process") from None
    if primary in (
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
    ):
        raise Unavailable("the catalogue's file cannot be used") from None


def _disk_is_full(url: URL) -> bool:
    try:
        folder = Path(url.database or "").expanduser().resolve().parent
        return shutil.disk_usage(folder).free < _LOW_DISK_BYTES
    except OSError:
        return False


def _raise_for_os(error: OSError) -> NoReturn:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise StorageFull("no room is left for the catalogue") from None
    if isinstance(error, ConnectionError | TimeoutError) or error.errno is not None:
        raise Unavailable("the catalogue's database cannot be reached") from None
    raise error
