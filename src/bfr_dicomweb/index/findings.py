"""What a person has to look at: raised, kept as long as it is so, and then resolved.

The key says where a finding comes from and what it is about. Whoever states findings names the
scope, the beginning of their keys or the orders they are of: what stands there and is not stated
any more is resolved.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.index.statements import Connection, insert, rows
from bfr_dicomweb.index.turn import FINDING_CHANGED, Turn

# Beginnings of keys: what follows from the events of an order, from one message, from a study,
# from the time that has passed, and from the orders of two patients.
FOLD: Final = "fold|"
MESSAGE: Final = "message/"
STUDY: Final = "study/"
EXAM: Final = "exam/"
CONFLICT: Final = "conflict|"
OBJECTS: Final = "objects/"

# Stored as received, although something about it is not as the Standard has it.
IRREGULAR_OBJECT: Final = "irregular-object"
# Tags that a finding names.
_MOST_PATHS: Final = 8


@dataclass(frozen=True, slots=True)
class Stated:
    """A finding as it is now. `detail` names no patient.

    Attributes:
        raised: When it came to be so, "" for now.
    """

    key: str
    code: str
    severity: str
    subject: str
    detail: str
    performer: str = ""
    patient_id: int = 0
    order_id: int = 0
    exam_id: int = 0
    study_instance_uid: str = ""
    message: int = 0
    raised: str = ""


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """`resolved` is "" as long as it is so."""

    id: int
    key: str
    code: str
    severity: str
    subject: str
    detail: str
    performer: str
    patient_id: int
    order_id: int
    exam_id: int
    study_instance_uid: str
    message: int
    raised: str
    resolved: str


_STATED: Final = (
    *("code", "severity", "subject", "detail", "performer", "patient_id", "order_id"),
    *("exam_id", "study_instance_uid", "message"),
)
_SELECT: Final = f"SELECT id, finding_key, {', '.join(_STATED)}, raised, resolved FROM finding"  # noqa: S608
_BY_KEY: Final = f"{_SELECT} WHERE finding_key IN (?1::text[])"
_BY_BEGINNING: Final = f"{_SELECT} WHERE finding_key >= ?1 AND finding_key < ?2"
_BY_ORDER: Final = f"{_SELECT} WHERE order_id IN (?1::bigint[])"
_INSERT: Final = insert(
    "finding", ("id", "finding_key", *_STATED, "raised", "resolved", "change", "changed_us")
)
_UPDATE: Final = (
    "UPDATE finding SET finding_key = ?2, "  # noqa: S608 # our names
    + ", ".join(f"{name} = ?{number}" for number, name in enumerate(_STATED, 3))
    + f", resolved = ?{len(_STATED) + 3}, change = ?{len(_STATED) + 4}"
    + f", changed_us = ?{len(_STATED) + 5} WHERE id = ?1"
)
_RESOLVE: Final = (
    "UPDATE finding SET finding_key = ?2, resolved = ?3, change = ?4, changed_us = ?5 WHERE id = ?1"
)


async def by_keys(conn: Connection, keys: Sequence[str]) -> list[StoredFinding]:
    return _stored(await rows(conn, _BY_KEY, (list(keys),))) if keys else []


async def by_beginning(conn: Connection, beginning: str) -> list[StoredFinding]:
    return _stored(await rows(conn, _BY_BEGINNING, (beginning, f"{beginning}\U0010ffff")))


async def by_orders(conn: Connection, orders: Sequence[int]) -> list[StoredFinding]:
    return _stored(await rows(conn, _BY_ORDER, (list(orders),))) if orders else []


async def of_message(conn: Connection, number: int) -> list[StoredFinding]:
    return await by_beginning(conn, f"{MESSAGE}{number}|")


def _stored(found: Sequence[Any]) -> list[StoredFinding]:
    return [StoredFinding(*values) for values in found]


async def settle(turn: Turn, stated: Iterable[Stated], scope: Sequence[StoredFinding]) -> None:
    """Raise what is new, keep what is still so, resolve the rest of the scope."""
    wanted: dict[str, Stated] = {}
    for one in stated:
        wanted.setdefault(one.key, one)
    known = {one.key: one for one in scope}
    unknown = [key for key in wanted if key not in known]
    known |= {one.key: one for one in await by_keys(turn.conn, unknown)}
    _adopt(known, wanted, scope)
    for key, one in wanted.items():
        _write(turn, one, known.get(key))
    kept = {one.id for key, one in known.items() if key in wanted}
    resolve(turn, [one for one in scope if one.id not in kept])


def _adopt(
    known: dict[str, StoredFinding], wanted: Mapping[str, Stated], scope: Sequence[StoredFinding]
) -> None:
    """A finding that moved to another patient, when records are merged, stays the same one."""
    moved: dict[tuple[str, str], StoredFinding] = {}
    for one in scope:
        if one.key not in wanted and not one.resolved:
            moved.setdefault((one.code, one.subject), one)
    for key, stated in wanted.items():
        about = stated.code, stated.subject
        if key not in known and about in moved:
            known[key] = moved.pop(about)


def _write(turn: Turn, one: Stated, known: StoredFinding | None) -> None:
    texts = tuple(getattr(one, name) for name in _STATED)
    if known is None:
        key = turn.number()
        change = turn.tell(FINDING_CHANGED, f"finding/{key}")
        raised = one.raised or turn.at
        turn.script.add(_INSERT, [(key, one.key, *texts, raised, "", change, turn.at_us)])
        return
    if not known.resolved and texts == tuple(getattr(known, name) for name in _STATED):
        return
    change = turn.tell(FINDING_CHANGED, f"finding/{known.id}")
    turn.script.add(_UPDATE, [(known.id, one.key, *texts, "", change, turn.at_us)])


def resolve(turn: Turn, found: Iterable[StoredFinding]) -> None:
    for one in found:
        if not one.resolved:
            change = turn.tell(FINDING_CHANGED, f"finding/{one.id}")
            turn.script.add(_RESOLVE, [(one.id, one.key, turn.at, change, turn.at_us)])


@dataclass(frozen=True, slots=True)
class Irregular:
    """A stored object with oddities.

    Attributes:
        oddities: What is odd, and the path of the attribute where it is.
    """

    study_instance_uid: str
    sop_instance_uid: str
    sender: str
    oddities: tuple[tuple[str, str], ...]


async def raise_of_objects(turn: Turn, irregular: Sequence[Irregular]) -> None:
    """One finding for each kind of oddity in a study, however many of its objects have it."""
    stated: dict[str, Stated] = {}
    for one in irregular:
        paths: dict[str, list[str]] = {}
        for oddity, path in one.oddities:
            paths.setdefault(oddity, []).append(path)
        for oddity, found in paths.items():
            key = f"{OBJECTS}{one.study_instance_uid}|{oddity}"
            if key not in stated:
                stated[key] = _stated(key, oddity, found, one)
    known = {one.key for one in await by_keys(turn.conn, list(stated))}
    for key, finding in stated.items():
        if key not in known:
            _write(turn, finding, None)


def _stated(key: str, oddity: str, paths: Sequence[str], one: Irregular) -> Stated:
    places = ", ".join(sorted({path for path in paths if path})[:_MOST_PATHS])
    at = f" at {places}" if places else ""
    return Stated(
        key=key,
        code=IRREGULAR_OBJECT,
        severity="low",
        subject=oddity,
        detail=f"{oddity}{at}; first in the object {one.sop_instance_uid}",
        performer=one.sender,
        study_instance_uid=one.study_instance_uid,
    )
