"""The revision of the schema, read without Alembic, which is slow to import."""

from typing import Final

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection

HEAD: Final = "0011"


async def stored(conn: AsyncConnection) -> str | None:
    """What the database says; None when it has never been migrated."""
    try:
        found = await conn.exec_driver_sql("SELECT version_num FROM alembic_version")
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        return None
    return found.scalar()
