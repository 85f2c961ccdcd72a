"""Rows of orders, exams, reports and patients follow from what was told, however it came."""

import itertools
import random
from collections.abc import AsyncIterator

import orjson
import pytest

from bfr_dicomweb.index import orders
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import rows
from bfr_dicomweb.orders.events import Kind
from bfr_dicomweb.orders.identifiers import Alias, AliasKind, Identifier
from orders_kept import (
    EXAM1,
    EXAM2,
    LIFE,
    OTHER,
    RESERVE,
    TOLVAN,
    Teller,
    a_report,
    accession,
    an_event,
    merged,
    of_patient,
    telling,
    unmerged,
)

PLACER = Alias(AliasKind.PLACER, "urn:oid:1.2", "P1")
LOCAL = Identifier("urn:oid:1.2.3", "4711")


@pytest.fixture
async def teller(index: Index) -> AsyncIterator[Teller]:
    async with telling(index) as opened:
        yield opened


async def told_in_order(index: Index, order: list[int]) -> dict[str, list[tuple[object, ...]]]:
    async with telling(index) as teller:
        for place in order:
            patient = of_patient(day=place + 1, family=f"Tolvansson {place}")
            await teller.tell(*LIFE[place], patient=patient)
        return await teller.state()


@pytest.mark.parametrize("seed", range(4))
async def test_messages_in_any_order_and_repeated_lead_to_the_same_rows(
    sqlite_url: str, postgresql_url: str, seed: int
) -> None:
    order = [*range(len(LIFE)), *random.Random(seed).choices(range(len(LIFE)), k=3)]
    random.Random(seed).shuffle(order)
    states = []
    for url, told in ((sqlite_url, list(range(len(LIFE)))), (postgresql_url, order)):
        index = await Index.open(url)
        states.append(await told_in_order(index, told))
        await index.close()

    assert states[0] == states[1]


async def test_the_exams_of_one_group_number_are_of_one_order(teller: Teller) -> None:
    await teller.tell(*LIFE[0])

    (row,) = await teller.rows("SELECT order_key, body FROM imaging_order")
    assert (row[0], orjson.loads(row[1])["exams"]) == ("group||REM1001", [0, 1])
    assert await teller.rows("SELECT place FROM exam ORDER BY place") == [(0,), (1,)]


async def test_a_report_counts_its_exams_in_the_order_of_their_ids(teller: Teller) -> None:
    await teller.tell(*LIFE[0])
    await teller.tell(*(a_report(2, "both", *exam, shared="r1") for exam in (EXAM1, EXAM2)))

    ((body,),) = await teller.rows("SELECT body FROM report")
    linked = await teller.rows("SELECT exam_id FROM report_exam ORDER BY exam_id")
    assert (orjson.loads(body)["exams"], len(linked)) == ([0, 1], 2)


async def test_a_report_for_exams_of_two_orders_keeps_both_when_one_of_them_changes(
    teller: Teller,
) -> None:
    exams = [accession("A1"), accession("A2")]
    await teller.tell(*(a_report(2, "both", exam, shared="r1") for exam in exams))

    await teller.tell(an_event(Kind.RECEIVED, 1, exams[0]))

    assert len(await teller.rows("SELECT * FROM imaging_order")) == 2
    assert len(await teller.rows("SELECT exam_id FROM report_exam")) == 2


async def test_what_is_told_of_the_order_only_is_of_all_its_exams(teller: Teller) -> None:
    await teller.tell(*LIFE[0])

    await teller.tell(an_event(Kind.BOOKED, 2, Alias(AliasKind.GROUP, "", "REM1001")))

    assert await teller.statuses() == {"SU24000123": "booked", "SU24000124": "booked"}


async def test_only_what_changed_gets_a_new_version(teller: Teller) -> None:
    await teller.tell(*LIFE[0])
    before = dict(await teller.rows("SELECT place, change FROM exam"))

    await teller.tell(an_event(Kind.BOOKED, 2, *EXAM1))

    after = dict(await teller.rows("SELECT place, change FROM exam"))
    assert (after[0] > before[0], after[1]) == (True, before[1])


async def test_each_changed_row_tells_so_with_its_own_number(teller: Teller) -> None:
    applied = await teller.tell(an_event(Kind.RECEIVED, 1))

    ((number, change),) = await teller.rows("SELECT id, change FROM exam")
    told = await teller.rows("SELECT number FROM change WHERE subject = ?1", f"exam/{number}")
    assert (applied.exams, told) == ((number,), [(change,)])


async def test_exams_that_turn_out_to_be_one_leave_where_the_other_went(teller: Teller) -> None:
    one = await teller.tell(an_event(Kind.RECEIVED, 1, PLACER))
    other = await teller.tell(an_event(Kind.BOOKED, 2, accession("A1")))

    both = await teller.tell(an_event(Kind.STARTED, 3, PLACER, accession("A1")))

    assert both.exams == one.exams
    moved = await teller.rows("SELECT id, successor FROM moved WHERE kind = 'exam'")
    assert moved == [(other.exams[0], one.exams[0])]


async def test_an_order_that_became_part_of_another_leaves_where_it_went(teller: Teller) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1, PLACER))
    await teller.tell(an_event(Kind.BOOKED, 2, accession("A1")))
    first, second = await teller.rows("SELECT id FROM imaging_order ORDER BY id")

    await teller.tell(an_event(Kind.STARTED, 3, PLACER, accession("A1")))

    moved = await teller.rows("SELECT id, successor FROM moved WHERE kind = 'order'")
    assert moved == [(*second, *first)]


# --- patients --------------------------------------------------------------------------------


async def test_the_latest_demographics_count_whenever_they_arrive(teller: Teller) -> None:
    await teller.tell(patient=of_patient(day=2, family="Ny"))
    await teller.tell(patient=of_patient(day=1, family="Gammal"))

    assert await teller.rows("SELECT family FROM patient") == [("ny",)]


async def test_identifiers_that_are_said_together_name_one_record(teller: Teller) -> None:
    await teller.tell(patient=of_patient(TOLVAN, LOCAL))
    await teller.tell(an_event(Kind.RECEIVED, 1), patient=of_patient(LOCAL))

    assert len(await teller.rows("SELECT id FROM patient")) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_records_that_are_said_to_be_one_later_are_one(
    sqlite_url: str, order: tuple[int, ...]
) -> None:
    index = await Index.open(sqlite_url)
    named = [(TOLVAN,), (LOCAL,), (TOLVAN, LOCAL)]
    async with telling(index) as teller:
        for place in order:
            event = an_event(Kind.RECEIVED, place + 1, accession(f"A{place}"))
            await teller.tell(event, patient=of_patient(*named[place], day=place + 1))

        roots = await teller.rows("SELECT DISTINCT patient_id FROM exam")
    await index.close()

    assert len(roots) == 1


async def test_two_national_numbers_never_become_one_patient_by_themselves(
    teller: Teller,
) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1), patient=of_patient(TOLVAN))
    await teller.tell(an_event(Kind.RECEIVED, 1), patient=of_patient(OTHER, TOLVAN))

    assert len(await teller.rows("SELECT DISTINCT patient_id FROM exam")) == 2
    assert "identifier-shared" in await teller.findings()


async def test_two_patients_with_one_accession_number_stay_apart(teller: Teller) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1), patient=of_patient(TOLVAN))
    await teller.tell(an_event(Kind.BOOKED, 2), patient=of_patient(OTHER))

    statuses = await teller.rows("SELECT status FROM exam ORDER BY id")
    assert statuses == [("received",), ("booked",)]
    assert "patient-conflict" in await teller.findings()


async def test_the_same_unqualified_number_at_two_patients_is_no_conflict(teller: Teller) -> None:
    for patient in (TOLVAN, OTHER):
        event = an_event(Kind.RECEIVED, 1, accession("1", ""))
        await teller.tell(event, patient=of_patient(patient))

    assert await teller.findings() == []


async def test_a_merge_makes_one_exam_of_what_was_said_of_both(teller: Teller) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1), patient=of_patient(TOLVAN))
    await teller.tell(an_event(Kind.BOOKED, 2), patient=of_patient(RESERVE))
    assert "patient-conflict" in await teller.findings()

    link = merged(TOLVAN, RESERVE, 3)
    await teller.tell(patient=of_patient(TOLVAN), links=(link,))

    assert await teller.rows("SELECT status FROM exam") == [("booked",)]
    assert await teller.findings() == []


async def test_a_merge_moves_all_that_is_of_the_patient(teller: Teller) -> None:
    await teller.tell(patient=of_patient(TOLVAN))
    for message in LIFE:
        await teller.tell(*message, patient=of_patient(RESERVE))
    await teller.tell(patient=of_patient(TOLVAN), links=(merged(TOLVAN, RESERVE, 8),))

    ((root,),) = await teller.rows(
        "SELECT patient_id FROM patient_identifier WHERE value = ?1", TOLVAN.value
    )
    for table in ("imaging_order", "exam", "report", "order_event", "order_alias"):
        assert await teller.rows(f"SELECT DISTINCT patient_id FROM {table}") == [(root,)]


async def test_a_merge_keeps_the_ids_of_orders_and_exams(teller: Teller) -> None:
    await teller.tell(*LIFE[0], patient=of_patient(RESERVE))
    before = await teller.rows("SELECT id FROM exam UNION SELECT id FROM imaging_order ORDER BY 1")

    await teller.tell(patient=of_patient(TOLVAN), links=(merged(TOLVAN, RESERVE, 8),))

    sql = "SELECT id FROM exam UNION SELECT id FROM imaging_order ORDER BY 1"
    assert await teller.rows(sql) == before


async def test_an_open_finding_stays_the_same_one_through_a_merge(teller: Teller) -> None:
    await teller.tell(an_event(Kind.BOOKED, 1), patient=of_patient(RESERVE))
    before = await teller.rows("SELECT id FROM finding")

    await teller.tell(patient=of_patient(TOLVAN), links=(merged(TOLVAN, RESERVE, 8),))

    assert await teller.rows("SELECT id FROM finding WHERE resolved = ''") == before


async def test_an_unmerge_takes_apart_what_a_merge_put_together(teller: Teller) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1), patient=of_patient(TOLVAN))
    await teller.tell(an_event(Kind.BOOKED, 2), patient=of_patient(RESERVE))
    await teller.tell(patient=of_patient(TOLVAN), links=(merged(TOLVAN, RESERVE, 3),))
    await teller.tell(patient=of_patient(TOLVAN), links=(unmerged(TOLVAN, RESERVE, 4),))

    found = await teller.rows(
        "SELECT i.value, e.status FROM exam e"
        " JOIN patient_identifier i ON i.patient_id = e.patient_id ORDER BY 1"
    )
    assert found == [(TOLVAN.value, "received"), (RESERVE.value, "booked")]


async def test_a_merge_that_arrives_after_its_unmerge_does_not_count(teller: Teller) -> None:
    for link in (unmerged(TOLVAN, RESERVE, 4), merged(TOLVAN, RESERVE, 3)):
        await teller.tell(patient=of_patient(TOLVAN), links=(link,))

    roots = await teller.rows("SELECT DISTINCT root_id FROM patient")
    assert len(roots) == 2


async def test_what_comes_for_a_merged_record_is_of_the_one_it_was_merged_into(
    teller: Teller,
) -> None:
    await teller.tell(patient=of_patient(TOLVAN), links=(merged(TOLVAN, RESERVE, 3),))
    one = await teller.tell(an_event(Kind.RECEIVED, 4), patient=of_patient(TOLVAN))
    other = await teller.tell(an_event(Kind.BOOKED, 5), patient=of_patient(RESERVE))

    assert one.exams == other.exams


# --- cost ------------------------------------------------------------------------------------


async def test_a_group_is_found_without_looking_at_other_orders(sqlite_url: str) -> None:
    index = await Index.open(sqlite_url)
    plan = await index.ask(
        lambda conn: rows(
            conn, f"EXPLAIN QUERY PLAN {orders._CLOSED_GROUPS}", ([1], ["SU24000123"], [])
        )
    )
    await index.close()

    looked_at = [str(row[3]) for row in plan]
    assert not [text for text in looked_at if text.startswith(("SCAN a", "SCAN b", "SCAN e"))]
    assert any("a USING PRIMARY KEY (value=? AND patient_id=?)" in text for text in looked_at)
