"""Storage commitments that others have asked of this archive."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from bfr_dicomweb.index.statements import Connection, insert, row, rows
from bfr_dicomweb.index.turn import Turn


class State(StrEnum):
    WAITING = "waiting"
    REPORTED = "reported"
    ABANDONED = "abandoned"
    # Of one that is asked about: of the result only this is kept, that there was one.
    FORGOTTEN = "forgotten"


# Requests that come over HTTP: their requesters have no AE title and are not called, they ask.
ASKING: Final = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance as it is named in a transaction (PS3.3 C.14, PS3.18 Annex J).

    Attributes:
        study_instance_uid: "" where it is named without its study and series.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """Attributes:
    clashes: The Transaction UID was in use for other instances.
    attempts: To report the result, that have failed.
    reasons: Of those that ask for it, once there is a result: by the place of each instance that is
        not committed to, why.
    """

    number: int
    requester: str
    transaction_uid: str
    received_us: int
    state: State
    clashes: bool
    attempts: int
    references: tuple[Reference, ...]
    reasons: Mapping[int, int] | None = None


_COLUMNS: Final = (
    *("number", "requester", "transaction_uid", "received_us", "state", "clashes"),
    *("attempts", "last_error", "body"),
)
_SELECT: Final = (
    "SELECT number, requester, transaction_uid, received_us, state, clashes, attempts, body, result"
    " FROM commitment"
)
_INSERT: Final = insert("commitment", _COLUMNS)
_REPEAT: Final = "UPDATE commitment SET state = 'waiting', received_us = ?2 WHERE number = ?1"


async def keep(
    turn: Turn, requester: str, transaction_uid: str, references: Sequence[Reference]
) -> int:
    """The number of the request; one that was made before, of the same instances, is that one."""
    known = await of_transaction(turn.conn, requester, transaction_uid)
    body = _body(references)
    if known is not None and _body(known.references) == body:
        if known.state is not State.WAITING:
            turn.script.add(_REPEAT, [(known.number, turn.at_us)])
        return known.number
    number = turn.number()
    clashes = int(known is not None)
    values = (number, requester, transaction_uid, turn.at_us, State.WAITING, clashes, 0, "", body)
    turn.script.add(_INSERT, [values])
    return number


async def ask(turn: Turn, transaction_uid: str, references: Sequence[Reference]) -> int | None:
    """The number of a request whose requester will ask for the result; None: the UID is taken."""
    if await of_transaction(turn.conn, ASKING, transaction_uid) is not None:
        return None
    number = turn.number()
    body = _body(references)
    values = (number, ASKING, transaction_uid, turn.at_us, State.WAITING, 0, 0, "", body)
    turn.script.add(_INSERT, [values])
    return number


async def answer(conn: Connection, number: int, reasons: Mapping[int, int]) -> None:
    """The result of a request that has none; the first one stays."""
    result = zlib.compress(orjson.dumps(sorted(reasons.items())))
    await row(
        conn,
        "UPDATE commitment SET state = 'reported', result = ?2"
        " WHERE number = ?1 AND state = 'waiting' RETURNING number",
        (number, result),
    )


async def of_transaction(conn: Connection, requester: str, transaction_uid: str) -> Request | None:
    found = await row(
        conn,
        f"{_SELECT} WHERE requester = ?1 AND transaction_uid = ?2 AND clashes = 0",
        (requester, transaction_uid),
    )
    return None if found is None else _request(found)


async def find(conn: Connection, number: int) -> Request | None:
    found = await row(conn, f"{_SELECT} WHERE number = ?1", (number,))
    return None if found is None else _request(found)


async def waiting(conn: Connection, requester: str, limit: int) -> list[Request]:
    """Those whose result has not been reported, those that failed most often last."""
    found = await rows(
        conn,
        f"{_SELECT} WHERE requester = ?1 AND state = 'waiting' ORDER BY attempts, number LIMIT ?2",
        (requester, limit),
    )
    return [_request(values) for values in found]


async def reported(conn: Connection, number: int) -> None:
    await row(
        conn,
        "UPDATE commitment SET state = 'reported' WHERE number = ?1 AND state = 'waiting'"
        " RETURNING number",
        (number,),
    )


async def unreported(conn: Connection, number: int, error: str) -> None:
    await row(
        conn,
        "UPDATE commitment SET attempts = attempts + 1, last_error = ?2 WHERE number = ?1"
        " RETURNING number",
        (number, error),
    )


async def abandon(conn: Connection, before_us: int) -> list[tuple[int, str, str]]:
    """Give up what has waited since then; gives number, requester and last error of each."""
    found = await rows(
        conn,
        "UPDATE commitment SET state = 'abandoned' WHERE state = 'waiting' AND received_us < ?1"
        " AND requester <> '' RETURNING number, requester, last_error",
        (before_us,),
    )
    return [tuple(values) for values in found]


async def forget(conn: Connection, before_us: int) -> None:
    """Of what is reported or abandoned, what was asked for before then."""
    for state in (State.REPORTED, State.WAITING):
        await rows(
            conn,
            "UPDATE commitment SET state = 'forgotten', body = ?3, result = NULL"
            " WHERE state = ?1 AND received_us < ?2 AND requester = '' RETURNING number",
            (state, before_us, b""),
        )
    for state in (State.REPORTED, State.ABANDONED):
        await rows(
            conn,
            "DELETE FROM commitment WHERE state = ?1 AND received_us < ?2 AND requester <> ''"
            " RETURNING number",
            (state, before_us),
        )


def _body(references: Sequence[Reference]) -> bytes:
    listed = [astuple(one)[: 4 if one.study_instance_uid else 2] for one in references]
    return zlib.compress(orjson.dumps(listed))


def _request(found: Sequence[Any]) -> Request:
    number, requester, transaction_uid, received_us, state, clashes, attempts, *blobs = found
    listed, result = [orjson.loads(zlib.decompress(one)) if one else None for one in blobs]
    return Request(
        number,
        requester,
        transaction_uid,
        received_us,
        State(state),
        bool(clashes),
        attempts,
        tuple(Reference(*uids) for uids in listed or ()),
        None if result is None else dict(result),
    )
