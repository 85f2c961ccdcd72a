"""Workitems in the catalogue. Whoever changes one holds the turn, and is the only one to."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from bfr_dicomweb.dicom.attributes import texts_of, values_of, vr_of
from bfr_dicomweb.dicom.matching import (
    AnyOf,
    Key,
    Name,
    Range,
    Single,
    date_interval,
    datetime_interval,
    normal_text,
)
from bfr_dicomweb.dicom.person_names import folded_groups
from bfr_dicomweb.dicom.workitem_attributes import SEARCHED, Path
from bfr_dicomweb.dicom.workitems import FINAL, LABEL, MODIFIED, Workitem
from bfr_dicomweb.identity_numbers import match_keys
from bfr_dicomweb.index.statements import Connection, insert, row, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.index.walks import Page

WORKITEM_CHANGED: Final = "workitem-changed"

_COLUMNS: Final = "id, uid, state, transaction_uid, change, body"
_INSERT: Final = insert(
    "workitem",
    ("id", "uid", "state", "transaction_uid", "origin", "change", "ended_us", "body"),
)
_UPDATE: Final = (
    "UPDATE workitem SET state = ?2, transaction_uid = ?3, change = ?4, ended_us = ?5, body = ?6"
    " WHERE id = ?1"
)
_INSERT_VALUE: Final = (
    "INSERT INTO workitem_value (path, value, workitem_id) VALUES (?1, ?2, ?3)"
    " ON CONFLICT DO NOTHING"
)
_DELETE_VALUES: Final = "DELETE FROM workitem_value WHERE workitem_id = ?1"
_PATIENT_ID: Final = "00100020"
_STATE: Final = ("00741000",)
# By whose values a search is narrowed. Names are kept folded, dates by where they begin.
NARROWED: Final = tuple(sorted(path for path in SEARCHED if vr_of(path[-1]) not in ("SQ", "TM")))
_BEGINNINGS: Final = {"DA": date_interval, "DT": datetime_interval}
_LITERAL: Final = re.compile(r"[^*?]*")
_BEFORE_ALL, _AFTER_ALL = "", "\U0010ffff"
# Longer ones are of no use to narrow by, and of no good to an index.
_LONGEST_VALUE: Final = 200


@dataclass(frozen=True, slots=True)
class StoredWorkitem:
    """`workitem` is None once it has been deleted."""

    id: int
    uid: str
    change: int
    workitem: Workitem | None


async def find(conn: Connection, uid: str) -> StoredWorkitem | None:
    found = await row(conn, f"SELECT {_COLUMNS} FROM workitem WHERE uid = ?1", (uid,))  # noqa: S608
    return None if found is None else _stored(found)


async def find_by_origin(conn: Connection, origin: str) -> StoredWorkitem | None:
    """What a rule has made of this, if it has."""
    found = await row(
        conn,
        f"SELECT {_COLUMNS} FROM workitem WHERE origin = ?1 AND origin <> ''",  # noqa: S608
        (origin,),
    )
    return None if found is None else _stored(found)


async def by_id(conn: Connection, ids: Sequence[int]) -> list[StoredWorkitem]:
    found = await rows(
        conn,
        f"SELECT {_COLUMNS} FROM workitem WHERE id IN (?1::bigint[]) ORDER BY id",  # noqa: S608
        (list(ids),),
    )
    return [_stored(one) for one in found]


def _stored(found: Any) -> StoredWorkitem:
    key, uid, state, transaction_uid, change, body = found
    workitem = Workitem(orjson.loads(body), transaction_uid) if state else None
    return StoredWorkitem(key, uid, change, workitem)


def add(turn: Turn, uid: str, workitem: Workitem, *, origin: str = "") -> StoredWorkitem:
    number = turn.number()
    turn.tell_as(number, WORKITEM_CHANGED, f"workitem/{number}")
    body = orjson.dumps(workitem.attributes)
    turn.script.add(
        _INSERT,
        [(number, uid, workitem.state, workitem.transaction_uid, origin, number, 0, body)],
    )
    turn.script.add(_INSERT_VALUE, _values(number, workitem))
    return StoredWorkitem(number, uid, number, workitem)


def put(turn: Turn, stored: StoredWorkitem, workitem: Workitem) -> StoredWorkitem:
    change = turn.tell(WORKITEM_CHANGED, f"workitem/{stored.id}")
    ended_us = turn.at_us if workitem.state in FINAL else 0
    body = orjson.dumps(workitem.attributes)
    values = (stored.id, workitem.state, workitem.transaction_uid, change, ended_us, body)
    turn.script.add(_UPDATE, [values])
    if stored.workitem is None or set(_values(stored.id, stored.workitem)) != set(
        _values(stored.id, workitem)
    ):
        turn.script.add(_DELETE_VALUES, [(stored.id,)])
        turn.script.add(_INSERT_VALUE, _values(stored.id, workitem))
    return StoredWorkitem(stored.id, stored.uid, change, workitem)


def delete(turn: Turn, stored: StoredWorkitem) -> None:
    """What it held goes; that it was here stays."""
    change = turn.tell(WORKITEM_CHANGED, f"workitem/{stored.id}")
    turn.script.add(_UPDATE, [(stored.id, "", "", change, 0, b"{}")])
    turn.script.add(_DELETE_VALUES, [(stored.id,)])


# --- searching -------------------------------------------------------------------------------


def _values(key: int, workitem: Workitem) -> list[tuple[str, str, int]]:
    return [
        (".".join(path), value, key)
        for path in NARROWED
        for value in dict.fromkeys(_texts(workitem.attributes, path))
        if len(value) <= _LONGEST_VALUE
    ]


def _texts(attributes: Mapping[str, Any], path: Path) -> Iterable[str]:
    if len(path) > 1:
        for item in values_of(attributes, path[0]):
            yield from _texts(item, path[1:])
        return
    vr = vr_of(path[0])
    if vr == "PN":
        for name in values_of(attributes, path[0]):
            yield from folded_groups(name)
        return
    for text in texts_of(attributes, path[0]):
        if path[0] == _PATIENT_ID:
            yield from match_keys(text)
        elif vr in _BEGINNINGS:
            if (interval := _BEGINNINGS[vr](normal_text(text))) is not None:
                yield interval[0]
        else:
            yield normal_text(text)


@dataclass(slots=True)
class Narrowing:
    """Conditions that every workitem meets which a search wants.

    Attributes:
        is_exact: Nothing else meets them.
    """

    conditions: list[str] = field(default_factory=lambda: ["w.state <> ''"])
    parameters: list[Any] = field(default_factory=list)
    is_exact: bool = True

    def place(self, value: Any) -> str:
        self.parameters.append(value)
        return f"?{len(self.parameters)}"


def narrowing(keys: Sequence[Key]) -> Narrowing:
    found = Narrowing()
    for key in keys:
        if key.path not in NARROWED:
            found.is_exact = False
        elif (values := _wanted(key)) is not None:
            _narrow_to(found, key, values)
        else:
            _narrow_between(found, key)
    return found


def _narrow_to(found: Narrowing, key: Key, values: tuple[str, ...]) -> None:
    if key.path == _STATE:
        # the condition on all that are not deleted would hide the index
        found.conditions[0] = f"w.state IN ({found.place(list(values))}::text[])"
        return
    # several keys of one sequence have to be in the same item
    found.is_exact = found.is_exact and len(key.path) == 1
    path = found.place(".".join(key.path))
    found.conditions.append(
        "w.id IN (SELECT v.workitem_id FROM workitem_value v"  # noqa: S608 # our names
        f" WHERE v.path = {path} AND v.value IN ({found.place(list(values))}::text[]))"
    )


def _narrow_between(found: Narrowing, key: Key) -> None:
    ends = _ends(key)
    found.is_exact = found.is_exact and len(key.path) == 1 and isinstance(key.match, Range)
    if ends is None:
        return
    path, first, last = (found.place(value) for value in (".".join(key.path), *ends))
    found.conditions.append(
        "w.id IN (SELECT v.workitem_id FROM workitem_value v"  # noqa: S608 # our names
        f" WHERE v.path = {path} AND v.value >= {first} AND v.value <= {last})"
    )


def _wanted(key: Key) -> tuple[str, ...] | None:
    """The values of which one has to be there; None when that is no matter of whole values."""
    match key.match:
        case Single(value):
            values = tuple(match_keys(value)) if key.path[-1] == _PATIENT_ID else (value,)
        case AnyOf(values):
            pass
        case _:
            return None
    return values if all(len(value) <= _LONGEST_VALUE for value in values) else None


def _ends(key: Key) -> tuple[str, str] | None:
    """Between which a value has to be."""
    match key.match:
        case Range(start, end):
            return start or _BEFORE_ALL, end or _AFTER_ALL
        case Name((group, *_)):
            literal = _LITERAL.match(group)
            prefix = literal.group() if literal else ""
            return (prefix, prefix + _AFTER_ALL) if prefix else None
    return None


async def candidates(
    conn: Connection, among: Narrowing, *, after: int, limit: int
) -> list[StoredWorkitem]:
    """By id, from the one after `after`."""
    place = len(among.parameters)
    found = await rows(
        conn,
        f"SELECT {_COLUMNS} FROM workitem w WHERE {' AND '.join(among.conditions)}"  # noqa: S608
        f" AND w.id > ?{place + 1} ORDER BY w.id LIMIT ?{place + 2}",
        (*among.parameters, after, limit),
    )
    return [_stored(one) for one in found]


async def count(conn: Connection, among: Narrowing) -> int:
    found = await row(
        conn,
        f"SELECT COUNT(*) FROM workitem w WHERE {' AND '.join(among.conditions)}",  # noqa: S608
        among.parameters,
    )
    return int(found[0])


# --- in the order of their last modification -------------------------------------------------

# Every workitem that is not deleted has the value, of one width and in UTC: its rows are the order.
_WALK: Final = (
    "SELECT w.id, w.uid, w.state, w.transaction_uid, w.change, w.body, m.value, c.at_us"  # noqa: S608
    " FROM workitem_value m CROSS JOIN workitem w LEFT JOIN change c ON c.number = w.id"
    f" WHERE w.id = m.workitem_id AND m.path = '{MODIFIED}'"
)
_FEW: Final = 1000
_NO_PUNCTUATION: Final = str.maketrans("", "", "-:TZ")


@dataclass(frozen=True, slots=True)
class WorkitemRow:
    """
    Attributes:
        moment: By which workitems are walked: when it was last modified, ISO 8601 in UTC.
        created_us: 0 when the change that made it is not known.
    """

    id: int
    uid: str
    change: int
    workitem: Workitem
    moment: str
    created_us: int


async def walk(
    conn: Connection,
    page: Page,
    *,
    ids: Collection[int] | None = None,
    states: Collection[str] | None = None,
    labels: Collection[str] | None = None,
) -> list[WorkitemRow]:
    """By modification; None narrows nothing, an empty collection leaves nothing."""
    if labels is not None and ids is None:
        ids = await _few_with(conn, labels)
    if any(given is not None and not given for given in (ids, states, labels)):
        return []
    parameters: list[Any] = []

    def place(value: Any) -> str:
        parameters.append(value)
        return f"?{len(parameters)}"

    conditions = [_WALK]
    if ids is not None:
        conditions.append(f"m.workitem_id IN ({place(sorted(ids))}::bigint[])")
    if states is not None:
        conditions.append(f"w.state IN ({place(sorted(states))}::text[])")
    if labels is not None:
        conditions.append(
            "EXISTS (SELECT 1 FROM workitem_value l"  # noqa: S608 # our names
            f" WHERE l.path = '{LABEL}' AND l.value IN ({place(sorted(labels))}::text[])"
            " AND l.workitem_id = w.id)"
        )
    if page.after is not None:
        moment, key = page.after
        compared = "<" if page.newest_first else ">"
        places = f"{place(moment.translate(_NO_PUNCTUATION))}, {place(key)}"
        conditions.append(f"(m.value, m.workitem_id) {compared} ({places})")
    direction = "DESC" if page.newest_first else "ASC"
    order = f"ORDER BY m.value {direction}, m.workitem_id {direction} LIMIT {place(page.limit)}"
    found = await rows(conn, f"{' AND '.join(conditions)} {order}", parameters)
    return [
        WorkitemRow(key, uid, change, Workitem(orjson.loads(body), transaction), _iso(at), us or 0)
        for key, uid, _, transaction, change, body, at, us in found
    ]


async def _few_with(conn: Connection, labels: Collection[str]) -> set[int] | None:
    """The workitems of small worklists, which a walk would hardly ever meet; None: it would."""
    found = await rows(
        conn,
        "SELECT workitem_id FROM workitem_value WHERE path = ?1 AND value IN (?2::text[]) LIMIT ?3",
        (LABEL, sorted(labels), _FEW + 1),
    )
    return {key for (key,) in found} if len(found) <= _FEW else None


def _iso(at: str) -> str:
    return f"{at[:4]}-{at[4:6]}-{at[6:8]}T{at[8:10]}:{at[10:12]}:{at[12:]}Z"


async def ids_with(conn: Connection, path: Path, values: Collection[str]) -> set[int]:
    """The workitems of which an attribute has one of these values; of `NARROWED`."""
    wanted = {
        key
        for value in values
        for key in (match_keys(value) if path[-1] == _PATIENT_ID else (normal_text(value),))
    }
    found = await rows(
        conn,
        "SELECT workitem_id FROM workitem_value WHERE path = ?1 AND value IN (?2::text[])",
        (".".join(path), sorted(wanted)),
    )
    return {key for (key,) in found}


# --- retention -------------------------------------------------------------------------------


async def ended_before(conn: Connection, *, at_us: int, limit: int) -> list[StoredWorkitem]:
    """In a final state since before this, and kept by no deletion lock of a subscriber."""
    found = await rows(
        conn,
        f"SELECT {_COLUMNS} FROM workitem w WHERE w.ended_us > 0 AND w.ended_us < ?1"  # noqa: S608
        " AND NOT EXISTS (SELECT 1 FROM workitem_subscription s WHERE s.workitem_id = w.id"
        " AND s.subscribed = 1 AND s.locks = 1)"
        " AND NOT EXISTS (SELECT 1 FROM worklist_subscription g WHERE g.locks = 1"
        " AND (g.until_id = 0 OR g.until_id >= w.id)"
        " AND NOT EXISTS (SELECT 1 FROM workitem_subscription s WHERE s.workitem_id = w.id"
        " AND s.aet = g.aet AND (s.subscribed = 1 OR s.since > g.since)))"
        " ORDER BY w.ended_us, w.id LIMIT ?2",
        (at_us, limit),
    )
    return [_stored(one) for one in found]
