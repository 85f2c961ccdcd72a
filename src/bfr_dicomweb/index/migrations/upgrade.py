"""Run the migrations on a connection that already holds the write lock."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

_LOCK: Final = 0x6266725F646963  # any number that nobody else uses


async def lock(conn: AsyncConnection) -> None:
    """Let one process at a time migrate; on SQLite the write transaction already does."""
    if conn.dialect.name == "postgresql":
        await conn.exec_driver_sql("SELECT pg_advisory_xact_lock($1)", (_LOCK,))


def upgrade(connection: Connection) -> None:
    # SQLAlchemy does not know of a transaction before its first statement, and Alembic would then
    # end ours, and with it the lock, after its first step.
    connection.exec_driver_sql("SELECT 1")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
