"""Received messages: kept whole before they are read, and what became of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.index.statements import Connection, insert, row, rows
from bfr_dicomweb.index.turn import MESSAGE_RECEIVED, Turn
from bfr_dicomweb.orders.events import Attachment

KEPT: Final = "kept"
APPLIED: Final = "applied"
FAILED: Final = "failed"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it came.

    Attributes:
        door: By which it came: "mllp", "http", "dicom".
        profile: Version of the exchange configuration that it is read with.
    """

    door: str
    sender: str
    control_id: str
    type: str
    version: str
    charset: str
    body: bytes
    profile: int
    received_us: int

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.body).digest()


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """Attributes:
    state: kept (not read yet), applied, failed, refused.
    ack: The acknowledgement code given, "" before.
    """

    number: int
    received_us: int
    door: str
    sender: str
    control_id: str
    type: str
    version: str
    charset: str
    state: str
    ack: str
    error: str
    profile: int
    digest: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is to know of a message before it is applied.

    Attributes:
        reused: Its control id came earlier from the same sender with another body.
    """

    state: str
    ack: str
    received_us: int
    reused: bool | int  # 0 or 1 on SQLite


_COLUMNS: Final = (
    *("number", "received_us", "door", "sender", "control_id", "type", "version"),
    *("charset", "state", "ack", "error", "profile", "digest", "body"),
)
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM message"  # noqa: S608 # our names
_INSERT: Final = insert("message", _COLUMNS)
_MARK: Final = "UPDATE message SET state = ?2, ack = ?3, error = ?4 WHERE number = ?1"
_READ_WITH: Final = "UPDATE message SET profile = ?2 WHERE number = ?1"
_ATTACH: Final = (
    insert("attachment", ("digest", "content_type", "size_bytes", "body"))
    + " ON CONFLICT (digest) DO NOTHING"
)
_STANDINGS: Final = """
    SELECT m.number, m.state, m.ack, m.received_us, EXISTS (
        SELECT 1 FROM message o WHERE o.sender = m.sender AND o.control_id = m.control_id
            AND o.number < m.number AND o.digest <> m.digest AND m.control_id <> '')
    FROM message m WHERE m.number IN (?1::bigint[])
"""
_SEEN: Final = """
    INSERT INTO sender_seen (sender, last_us, messages) VALUES (?1, ?2, ?3)
    ON CONFLICT (sender) DO UPDATE SET messages = sender_seen.messages + excluded.messages,
        last_us = CASE WHEN sender_seen.last_us > excluded.last_us THEN sender_seen.last_us
            ELSE excluded.last_us END
"""


def keep(
    turn: Turn, messages: Sequence[RawMessage], *, state: str = KEPT, ack: str = ""
) -> list[int]:
    """Write them down; gives their numbers.

    Args:
        state: APPLIED, with an `ack`, where what they say is written in the same turn.
    """
    numbers, written = [], []
    for one in messages:
        number = turn.number()
        turn.tell_as(number, MESSAGE_RECEIVED, f"message/{number}")
        numbers.append(number)
        # A database's text has no NUL. The body keeps it.
        texts = [
            text.replace("\0", "\ufffd")
            for text in (one.door, one.sender, one.control_id, one.type, one.version, one.charset)
        ]
        written.append(
            (number, one.received_us, *texts, state, ack, "", one.profile, one.digest, one.body)
        )
    turn.script.add(_INSERT, written)
    return numbers


def mark(turn: Turn, marks: Sequence[tuple[int, str, str, str]]) -> None:
    """Number, state, acknowledgement code and error of each."""
    turn.script.add(_MARK, marks)


def read_with(turn: Turn, number: int, profile: int) -> None:
    turn.script.add(_READ_WITH, [(number, profile)])


def seen(turn: Turn, senders: Mapping[str, tuple[int, int]]) -> None:
    """By sender: when the last of its messages came, and how many."""
    turn.script.add(_SEEN, [(sender, *values) for sender, values in sorted(senders.items())])


def attach(turn: Turn, attachments: Sequence[tuple[Attachment, bytes]]) -> None:
    """Keep documents that came with a message, each once."""
    turn.script.add(
        _ATTACH,
        [(one.digest, one.content_type, len(body), body) for one, body in attachments],
    )


async def standings(conn: Connection, numbers: Sequence[int]) -> dict[int, Standing]:
    found = await rows(conn, _STANDINGS, (list(numbers),))
    return {row[0]: Standing(*row[1:]) for row in map(tuple, found)}


_THERE: Final = """
    SELECT 1 FROM message WHERE sender = ?1 AND control_id = ?2 AND received_us = ?3
        AND digest = ?4 LIMIT 1
"""


async def is_there(conn: Connection, message: RawMessage) -> bool:
    """Whether this very arrival has been written down."""
    asked = (message.sender, message.control_id, message.received_us, message.digest)
    return await row(conn, _THERE, asked) is not None


async def find(conn: Connection, number: int) -> StoredMessage | None:
    found = await row(conn, f"{_SELECT} WHERE number = ?1", (number,))
    return None if found is None else _stored(found)


async def listed(
    conn: Connection,
    *,
    state: str | None = None,
    sender: str | None = None,
    control_id: str | None = None,
    after: int = 0,
    before_us: int | None = None,
    limit: int,
) -> list[StoredMessage]:
    """By number. All that is given has to hold; `control_id` alone is looked for in all rows."""
    where, values = ["number > ?1"], [after, limit]
    for column, value in (("state", state), ("sender", sender), ("control_id", control_id)):
        if value is not None:
            values.append(value)  # type: ignore[arg-type]
            where.append(f"{column} = ?{len(values)}")
    if before_us is not None:
        values.append(before_us)
        where.append(f"received_us < ?{len(values)}")
    condition = " AND ".join(where)
    sql = f"{_SELECT} WHERE {condition} ORDER BY number LIMIT ?2"
    return [_stored(values) for values in await rows(conn, sql, tuple(values))]


async def unmapped(conn: Connection, *, after: int, limit: int) -> list[StoredMessage]:
    """Those of which an event that counts has a status code that no mapping had; by number."""
    found = await rows(
        conn,
        f"{_SELECT} WHERE number IN (SELECT message FROM order_event"  # noqa: S608 # our words
        " WHERE kind = 'unknown' AND superseded = 0 AND message > ?1) ORDER BY number LIMIT ?2",
        (after, limit),
    )
    return [_stored(values) for values in found]


def _stored(values: Sequence[Any]) -> StoredMessage:
    return StoredMessage(*values)
