"""Workitems in the order of their modification, on both databases."""

import re
import sqlite3

import pytest

from bfr_dicomweb.dicom.workitems import State
from bfr_dicomweb.errors import Gone
from bfr_dicomweb.index import statements, workitems
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import workitem_subjects, worklist
from bfr_dicomweb.services.timeline import Page
from bfr_dicomweb.services.worklist import WorkitemRow
from workitems_said import Dataset, a_workitem, new_uid, performed, text


async def created(index: Index, **attributes: Dataset | None) -> str:
    return (await worklist.create(index, a_workitem(**attributes), uid=new_uid())).uid


async def claimed(index: Index, uid: str) -> None:
    await worklist.change_state(index, uid, State.IN_PROGRESS, transaction_uid="2.25.1")


async def all_of(index: Index, *, newest_first: bool, limit: int) -> list[WorkitemRow]:
    found: list[WorkitemRow] = []
    page = Page(limit, newest_first)
    while more := await worklist.walk(index, page):
        found += more
        page = Page(limit, newest_first, (more[-1].moment, more[-1].id))
    return found


@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_of_any_size_hold_each_once_and_in_one_order(
    index: Index, *, newest_first: bool
) -> None:
    made = [await created(index) for _ in range(5)]
    await claimed(index, made[1])
    expected = [made[0], *made[2:], made[1]]

    for limit in (1, 2, 5, 9):
        found = await all_of(index, newest_first=newest_first, limit=limit)
        assert [row.uid for row in found] == expected[:: -1 if newest_first else 1]


async def test_states_labels_and_ids_narrow_together(index: Index) -> None:
    one, other = [await created(index, T00741202=text("LO", "A")) for _ in range(2)]
    await created(index, T00741202=text("LO", "B"))
    await claimed(index, other)
    (row,) = await worklist.walk(index, Page(9), labels=["A"], states=["SCHEDULED"])

    assert row.uid == one
    assert await worklist.walk(index, Page(9), labels=["A"], ids=[row.id]) == [row]
    assert await worklist.walk(index, Page(9), labels=["B"], ids=[row.id]) == []
    assert await worklist.walk(index, Page(9), labels=[]) == []


async def test_when_it_was_made_is_known_after_it_has_changed(index: Index) -> None:
    uid = await created(index)
    (before,) = await worklist.walk(index, Page(1))
    await claimed(index, uid)
    (after,) = await worklist.walk(index, Page(1))

    assert after.created_us == before.created_us > 0
    assert after.moment > before.moment


async def test_what_has_been_deleted_is_gone(index: Index) -> None:
    uid = await created(index)
    (row,) = await worklist.walk(index, Page(1))
    await claimed(index, uid)
    await worklist.update(index, uid, performed(), transaction_uid="2.25.1")
    await worklist.change_state(index, uid, State.COMPLETED, transaction_uid="2.25.1")
    await worklist.delete_ended(index, after_days=0.0)

    assert await worklist.walk(index, Page(1)) == []
    with pytest.raises(Gone):
        await worklist.by_id(index, row.id)


async def test_a_subject_that_nobody_knows_is_named_by_its_number(index: Index) -> None:
    dataset = a_workitem(T0020000D=text("UI", "1.2.3"), T00100021=text("LO"))
    (subject,) = await workitem_subjects.subjects(index, [dataset])

    assert subject.patient is not None
    assert (subject.patient.value, subject.patient_id) == ("191212121212", 0)
    assert (subject.exam_ids, subject.studies) == ((), {"1.2.3": 0})


async def test_a_walk_looks_at_no_workitem_that_is_not_on_its_page(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = statements._for_sqlite

    def remember(sql: str) -> str:
        asked.append(original(sql))
        return asked[-1]

    monkeypatch.setattr(statements, "_for_sqlite", remember)
    monkeypatch.setattr(workitems, "_FEW", -1)  # every worklist is a large one
    index = await Index.open(sqlite_url)
    page = Page(10, after=("2024-01-01T00:00:00.000000Z", 1))
    await worklist.walk(index, page, states=["SCHEDULED"], labels=["A"])
    await index.close()

    with sqlite3.connect(sqlite_url.partition("///")[2]) as conn:
        places = [None] * len(set(re.findall(r"\?\d+", asked[-1])))
        plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {asked[-1]}", places)]
    scans = [step for step in plan if step.startswith("SCAN") and "json_each" not in step]
    assert plan
    assert (scans, [step for step in plan if "TEMP B-TREE" in step]) == ([], [])
