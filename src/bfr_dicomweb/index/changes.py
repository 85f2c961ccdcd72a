"""What happened to the archive, numbered in the order of commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bfr_dicomweb.index.statements import Connection, Script, insert, row, rows

INSTANCE_STORED: Final = "instance-stored"
INSTANCE_DELETED: Final = "instance-deleted"
# With its last instance.
SERIES_DELETED: Final = "series-deleted"
STUDY_DELETED: Final = "study-deleted"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS: Final = (
    "number",
    "at_us",
    "what",
    "study_id",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
)
_INSERT: Final = insert("change", _COLUMNS)
_KEEP: Final = "UPDATE counter SET study = ?1, series = ?2, instance = ?3, change = ?4 WHERE id = 1"
_SELECT: Final = (
    "SELECT number, at_us, what, study_instance_uid, series_instance_uid, sop_instance_uid,"
    " coalesce(subject, '') FROM change"
)


@dataclass(frozen=True, slots=True)
class Change:
    """Attributes:
    study_instance_uid: "" when it is not about a study.
    subject: What it is about when that is no instance: ``exam/12``; else "".
    """

    number: int
    at: datetime
    what: str
    study_instance_uid: str
    series_instance_uid: str | None
    sop_instance_uid: str | None
    subject: str = ""


@dataclass(slots=True)
class Counter:
    """The last numbers given. Who holds it is the only writer until the commit."""

    study: int
    series: int
    instance: int
    change: int


async def take_counter(conn: Connection) -> Counter:
    """Wait for the right to write, also across processes and machines."""
    taken = await row(
        conn,
        "UPDATE counter SET change = change WHERE id = 1 RETURNING study, series, instance, change",
    )
    return Counter(*taken)


def keep_counter(script: Script, counter: Counter) -> None:
    script.add(_KEEP, [(counter.study, counter.series, counter.instance, counter.change)])


def add(script: Script, changes: Sequence[tuple[Any, ...]]) -> None:
    """Rows of number, microseconds, what, study key, and the three UIDs."""
    script.add(_INSERT, changes)


async def begin_after(conn: Connection, number: int) -> None:
    """In an empty catalogue: no change gets this number or a lower one."""
    script = "UPDATE counter SET change = ?1 WHERE id = 1 AND change < ?1 RETURNING change"
    await row(conn, script, (number,))


def now_us() -> int:
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)


async def latest(conn: Connection) -> int:
    """The number of the last change; 0 when there has been none."""
    found = await row(conn, "SELECT change FROM counter WHERE id = 1")
    return int(found[0])


async def list_after(
    conn: Connection, number: int, limit: int, *, without: str = ""
) -> list[Change]:
    """The changes with a higher number, oldest first; without those of one kind."""
    found = await rows(
        conn,
        f"{_SELECT} WHERE number > ?1 AND what <> ?3 ORDER BY number LIMIT ?2",
        (number, limit, without),
    )
    return [Change(n, _EPOCH + timedelta(microseconds=us), *rest) for n, us, *rest in found]
