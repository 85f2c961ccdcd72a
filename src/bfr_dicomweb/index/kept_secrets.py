"""What all processes of this archive share and nobody else may know, made at the first use."""

import secrets

from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection, row


async def secret(index: Index, name: str, *, size_bytes: int = 32) -> bytes:
    made = secrets.token_bytes(size_bytes)

    async def keep(conn: Connection) -> bytes:
        kept = await row(
            conn,
            "INSERT INTO secret (name, value) VALUES (?1, ?2)"
            " ON CONFLICT (name) DO UPDATE SET value = secret.value RETURNING value",
            (name, made),
        )
        return bytes(kept[0])

    async def find(conn: Connection) -> bytes:
        kept = await row(conn, "SELECT value FROM secret WHERE name = ?1", (name,))
        return b"" if kept is None else bytes(kept[0])

    return await index.ask(find) or await index.transact(keep)
