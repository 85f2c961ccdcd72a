"""Statements that go to PostgreSQL's driver at once: SQLAlchemy costs more than most of them do."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from bfr_dicomweb.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Direct:
    """Attributes:
    raw: An asyncpg.Connection; the driver need not be installed, and has no types.
    """

    raw: Any


@asynccontextmanager
async def direct(conn: AsyncConnection, fail: Callable[[str], None]) -> AsyncIterator[Direct]:
    """The driver's connection below one of SQLAlchemy's.

    Args:
        fail: Given the SQLSTATE of an error; may raise another one in its place.

    Raises:
        Unavailable: The connection was lost.
    """
    raw = await _driver(conn)
    if raw.is_closed():
        # it was lost while it waited in the pool
        await conn.invalidate()
        try:
            raw = await _driver(conn)
        except OSError:
            raise Unavailable("the catalogue's database cannot be reached") from None
    try:
        yield Direct(raw)
    except Exception as error:
        if raw.is_closed():
            await conn.invalidate()
            raise Unavailable("the catalogue's database was lost") from None
        if state := getattr(error, "sqlstate", None):
            fail(str(state))
        raise


async def _driver(conn: AsyncConnection) -> Any:
    return (await conn.get_raw_connection()).driver_connection
