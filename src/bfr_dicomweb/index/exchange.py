"""The configuration of senders and receivers, in every version that ever was in force."""

import hashlib
from dataclasses import dataclass

from bfr_dicomweb.index.statements import Connection, insert, row
from bfr_dicomweb.index.turn import Turn


@dataclass(frozen=True, slots=True)
class Exchange:
    """`version` is 0 and `text` empty as long as nothing was configured."""

    version: int
    text: str


async def current(conn: Connection) -> Exchange:
    found = await row(conn, "SELECT version, body FROM exchange ORDER BY version DESC LIMIT 1")
    return Exchange(0, "") if found is None else Exchange(*found)


async def current_version(conn: Connection) -> int:
    found = await row(conn, "SELECT max(version) FROM exchange")
    return int(found[0] or 0)


async def find(conn: Connection, version: int) -> Exchange | None:
    found = await row(conn, "SELECT version, body FROM exchange WHERE version = ?1", (version,))
    return None if found is None else Exchange(*found)


async def put(turn: Turn, text: str) -> int:
    """Its version; that of the one in force when it is the same."""
    in_force = await current(turn.conn)
    if in_force.version and in_force.text == text:
        return in_force.version
    version = turn.number()
    digest = hashlib.sha256(text.encode()).digest()
    turn.script.add(
        insert("exchange", ("version", "at_us", "digest", "body")),
        [(version, turn.at_us, digest, text)],
    )
    return version
