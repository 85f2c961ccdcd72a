"""The worklist is found along an index; a catalogue of before gets what it needs."""

import importlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bfr_dicomweb.index import scheduled_steps, statements
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.scheduled_steps import Narrowing
from bfr_dicomweb.orders.events import Facts, Kind
from bfr_dicomweb.orders.identifiers import AliasKind
from orders_kept import Teller, accession, an_event, at, telling

DAY = ("20240110000000.000000", "20240110235959.999999")
NARROWED = {
    "everything": (Narrowing(), "exam_starts"),
    "a day": (Narrowing(starts=DAY), "exam_starts"),
    "a station": (Narrowing(stations=["CT1"]), "exam_station"),
    "a station on a day": (Narrowing(stations=["CT1"], starts=DAY), "exam_station"),
    "a modality on a day": (Narrowing(modalities=["CT"], starts=DAY), "exam_starts_modality"),
    "a station and a modality": (
        Narrowing(stations=["CT1"], modalities=["CT"], starts=DAY),
        "exam_station",
    ),
    "a patient": (Narrowing(patients=[1]), "exam_starts_patient"),
    "a patient on a day": (Narrowing(patients=[1], starts=DAY), "exam_starts_patient"),
    "a name": (Narrowing(families="sven"), "exam_starts_patient"),
    "a number": (Narrowing(names=(((AliasKind.ACCESSION,), ("A1",)),)), "INTEGER PRIMARY KEY"),
}


@pytest.mark.parametrize(("narrowing", "index_name"), NARROWED.values(), ids=NARROWED)
@pytest.mark.parametrize("after", [None, ("20240110080000.000000", 7)], ids=["first", "next"])
def test_no_page_of_the_worklist_looks_at_every_exam(
    sqlite_template: Path,
    narrowing: Narrowing,
    index_name: str,
    after: tuple[str, int] | None,
) -> None:
    named = {1, 2} if narrowing.names else None
    sql, parameters = scheduled_steps._statement(narrowing, named, after, 50, for_sqlite=True)

    with sqlite3.connect(f"file:{sqlite_template}?mode=ro", uri=True) as conn:
        explained = f"EXPLAIN QUERY PLAN {statements._for_sqlite(sql)}"
        plan = conn.execute(explained, statements._bound(parameters.values)).fetchall()

    of_exams = [row[3] for row in plan if " exam" in row[3]]
    assert [f" {index_name} " in f"{step} " for step in of_exams] == [True], plan


# --- catalogues of before --------------------------------------------------------------------

MIGRATION = importlib.import_module("bfr_dicomweb.index.migrations.versions.0004_performed_steps")


@pytest.fixture
async def teller(index: Index) -> AsyncIterator[Teller]:
    async with telling(index) as opened:
        yield opened


async def of_worklist(teller: Teller) -> list[list[tuple[Any, ...]]]:
    return [
        await teller.rows("SELECT id, station, starts FROM exam ORDER BY id"),
        await teller.rows("SELECT value, exam_id FROM order_alias WHERE kind = 'study'"),
    ]


async def test_a_catalogue_of_the_version_before_gets_the_same_worklist(teller: Teller) -> None:
    facts = Facts(scheduled_start=at(10), station_ae_title="CT1", modality="CT")
    await teller.tell(
        an_event(Kind.BOOKED, 2, accession("A1"), facts=facts),
        an_event(Kind.RECEIVED, 2, accession("A2")),
    )
    before = await of_worklist(teller)
    async with teller.index.write() as conn:
        await conn.exec_driver_sql("UPDATE exam SET station = '', starts = ''")
        await conn.exec_driver_sql("DELETE FROM order_alias WHERE kind = 'study'")
        await conn.run_sync(MIGRATION._fill)

    assert await of_worklist(teller) == before
