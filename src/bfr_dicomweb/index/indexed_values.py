"""Attributes that an administrator has had indexed: which, how far, and their values.

What is stored is covered from the place of an attribute on: new instances are indexed in the
transaction that stores them, those that were here before from the newest to the oldest. A value
belongs to the study, the series or the instance, as the level of its attribute says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson

from bfr_dicomweb.dicom import indexed_attributes
from bfr_dicomweb.dicom.attributes import Attributes
from bfr_dicomweb.dicom.indexed_attributes import IndexedAttribute
from bfr_dicomweb.dicom.matching import Custom, Path
from bfr_dicomweb.index.statements import Connection, Script, insert, row, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.refs import Level

# Values of one attribute that a result has.
MOST_SHOWN: Final = 100
_COLUMNS: Final = ("id", "path", "level", "vr", "creator", "place", "total", "done", "is_dropped")
_INSERT: Final = insert("indexed_attribute", _COLUMNS)
_INSERT_VALUE: Final = (
    insert("indexed_value", ("attribute_id", "owner_id", "part", "value", "shown"))
    + " ON CONFLICT DO NOTHING"
)
_SELECT: Final = (
    "SELECT id, path, level, vr, creator, place, total, done FROM indexed_attribute"
    " WHERE is_dropped = 0 ORDER BY id"
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """
    Attributes:
        place: Instances whose id is lower are not covered; 0 when all are.
        total: How many instances there were when it was configured; `done` of them are covered.
    """

    id: int
    attribute: IndexedAttribute
    place: int
    total: int
    done: int

    @property
    def left(self) -> int:
        """How many instances are not covered: at most, for some may have been deleted since."""
        return max(self.total - self.done, 1) if self.place else 0


@dataclass(frozen=True, slots=True)
class Owners:
    """The ids of an instance, and of what it belongs to."""

    study: int
    series: int
    instance: int

    def at(self, level: Level) -> int:
        return {Level.STUDY: self.study, Level.SERIES: self.series}.get(level, self.instance)


@dataclass(frozen=True, slots=True)
class Page:
    """Instances that come next: those from `end` to below `place`."""

    attributes: tuple[Attribute, ...]
    place: int
    end: int
    documents: tuple[tuple[Owners, bytes], ...]


async def configured(conn: Connection) -> list[Attribute]:
    return [_attribute(found) for found in await rows(conn, _SELECT)]


def _attribute(found: Sequence[Any]) -> Attribute:
    key, path, level, vr, creator, *place = found
    wanted = IndexedAttribute(tuple(path.split(".")), Level(level), vr, creator)
    return Attribute(key, wanted, *place)


async def searchable(conn: Connection) -> dict[Path, Custom]:
    """What can be searched by, as a search is told of it."""
    return {
        one.attribute.path: Custom(
            one.id,
            one.attribute.name,
            one.attribute.level,
            one.attribute.vr,
            one.place,
            one.left,
            one.attribute.creator,
        )
        for one in await configured(conn)
    }


async def configure(conn: Connection, *, wanted: Sequence[IndexedAttribute]) -> bool:
    """Begin to index what is new, and drop what is not wanted any more; whether anything changed.

    The caller owns the transaction.
    """
    turn = await Turn.take(conn)
    present = await configured(conn)
    unwanted = [(one.id,) for one in present if one.attribute not in wanted]
    known = {one.attribute for one in present}
    new = [one for one in dict.fromkeys(wanted) if one not in known]
    turn.script.add("UPDATE indexed_attribute SET is_dropped = 1 WHERE id = ?1", unwanted)
    if new:
        (last,) = await row(conn, "SELECT coalesce(max(id), 0) FROM indexed_attribute")
        (total,) = await row(conn, "SELECT coalesce(sum(number_of_instances), 0) FROM study")
        place = turn.counter.instance + 1 if total else 0
        added = [
            (
                *(int(last) + number, ".".join(one.path), one.level.value, one.vr, one.creator),
                *(place, int(total), 0, 0),
            )
            for number, one in enumerate(new, start=1)
        ]
        turn.script.add(_INSERT, added)
    await turn.end()
    return bool(new or unwanted)


async def index_new(
    conn: Connection, script: Script, new: Sequence[tuple[Owners, Attributes]]
) -> None:
    """Add the values of instances that are being stored. The caller is the only writer."""
    wanted = await configured(conn)
    if wanted:
        add(script, values(wanted, new))


Value = tuple[int, int, int, str, str]


def values(
    wanted: Sequence[Attribute], instances: Iterable[tuple[Owners, Attributes]]
) -> set[Value]:
    """Rows of attribute, owner, part, text and the value it comes from."""
    return {
        (one.id, owners.at(one.attribute.level), part, text, value)
        for owners, data_set in instances
        for one in wanted
        for part, text, value in indexed_attributes.folded(one.attribute, data_set)
    }


def add(script: Script, found: Iterable[Value]) -> None:
    script.add(_INSERT_VALUE, sorted(found))


def forget(
    script: Script, wanted: Sequence[Attribute], gone: Mapping[Level, Iterable[int]]
) -> None:
    """Remove the values of what is deleted, or is worked out anew."""
    for one in wanted:
        owners = sorted(set(gone.get(one.attribute.level, ())))
        script.add(
            "DELETE FROM indexed_value WHERE attribute_id = ?1 AND owner_id = ?2",
            [(one.id, owner) for owner in owners],
        )


async def shown(
    conn: Connection, attributes: Iterable[int], owners: Sequence[int]
) -> dict[tuple[int, int], list[Any]]:
    """The values of some attributes by attribute and owner, each value once."""
    found: dict[tuple[int, int], dict[str, None]] = {}
    for key in attributes:
        for owner, value in await rows(
            conn,
            "SELECT owner_id, shown FROM indexed_value WHERE attribute_id = ?1"
            " AND owner_id IN (?2::bigint[]) AND part = ?3 ORDER BY owner_id, value",
            (key, list(owners), indexed_attributes.VALUE),
        ):
            found.setdefault((key, owner), {})[value] = None
    return {
        of: [orjson.loads(value) for value in islice(values, MOST_SHOWN)]
        for of, values in found.items()
    }


# --- what was stored before ------------------------------------------------------------------


async def next_page(conn: Connection, *, limit: int) -> Page | None:
    """What is to be indexed next; None when everything is."""
    waiting = [one for one in await configured(conn) if one.place]
    if not waiting:
        return None
    place = max(one.place for one in waiting)
    # those that have come further are met there, so that each document is read once for all
    end = max((one.place for one in waiting if one.place < place), default=0)
    found = await rows(
        conn,
        "SELECT i.study_id, i.series_id, i.id, d.document"
        " FROM instance i JOIN instance_document d ON d.instance_id = i.id"
        " WHERE i.id < ?1 AND i.id >= ?2 ORDER BY i.id DESC LIMIT ?3",
        (place, end, limit),
    )
    documents = tuple((Owners(*ids), bytes(document)) for *ids, document in found)
    if len(documents) == limit:
        end = documents[-1][0].instance
    return Page(tuple(one for one in waiting if one.place == place), place, end, documents)


async def fill(conn: Connection, *, page: Page, found: Mapping[int, Iterable[Value]]) -> None:
    """Add the values of a page, and move on; nothing happens when another process has done so.

    The caller owns the transaction.

    Args:
        found: By instance. One that has been deleted meanwhile leaves nothing.
    """
    turn = await Turn.take(conn)
    here = {
        key
        for (key,) in await rows(
            conn, "SELECT id FROM instance WHERE id IN (?1::bigint[])", (sorted(found),)
        )
    }
    asked = {one.id for one in page.attributes}
    still = {
        one.id for one in await configured(conn) if one.place == page.place and one.id in asked
    }
    add(turn.script, {v for key in here for v in found[key] if v[0] in still})
    turn.script.add(
        "UPDATE indexed_attribute SET place = ?2, done = done + ?3 WHERE id = ?1",
        [(key, page.end, len(page.documents)) for key in sorted(still)],
    )
    await turn.end()


async def remove_dropped(conn: Connection, *, limit: int) -> bool:
    """Remove some values of attributes that are not wanted any more; whether more are left."""
    dropped = await rows(conn, "SELECT id FROM indexed_attribute WHERE is_dropped = 1")
    for (key,) in dropped:
        turn = await Turn.take(conn)
        owners = await rows(
            conn,
            "SELECT DISTINCT owner_id FROM indexed_value WHERE attribute_id = ?1"
            " ORDER BY owner_id LIMIT ?2",
            (key, limit),
        )
        turn.script.add(
            "DELETE FROM indexed_value WHERE attribute_id = ?1 AND owner_id = ?2",
            [(key, owner) for (owner,) in owners],
        )
        if len(owners) < limit:
            turn.script.add("DELETE FROM indexed_attribute WHERE id = ?1", [(key,)])
        await turn.end()
    return bool(dropped)
