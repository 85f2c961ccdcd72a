"""What was told of patients, orders, exams and reports is found again, and from an index."""

import asyncio
import random
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

import orders_population
import orders_said
from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.index import instances, statements, study_rows
from bfr_dicomweb.index.changes import now_us
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.orders.events import (
    Contents,
    Demographics,
    Event,
    Kind,
    PatientFacts,
    PatientLink,
)
from bfr_dicomweb.orders.identifiers import PERSONNUMMER, Identifier
from bfr_dicomweb.orders.state import Status
from bfr_dicomweb.services import sight, timeline
from bfr_dicomweb.services.orders import Orders, RawMessage
from bfr_dicomweb.services.timeline import Page
from catalogue_objects import a_new_instance, data_set
from orders_said import ABDOMEN, ISSUER, ORDER, THORAX, an_event, utc
from postgresql_server import Server

TOLVAN = Identifier(PERSONNUMMER, "191212121212")
RESERVE = Identifier("urn:oid:1.2.752.113.11.0.2.1.1.1", "19810829M071")


def facts(identifier: Identifier = TOLVAN, **demographics: str) -> PatientFacts:
    known = {"family": "Tolvansson", "given": "Tolvan", "birth_date": "1912-12-12"}
    return PatientFacts(
        (identifier,), utc("2024-01-08T08:00"), Demographics(**(known | demographics))
    )


class Teller:
    """Sends messages, each in a transaction of its own."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders

    async def contents(self, told: Contents) -> int:
        received_us = now_us()
        raw = RawMessage("mllp", "EHR", "1", "OMI^O23", "2.5.1", "UTF-8", b"MSH|", 0, received_us)
        number = await self.orders.keep(raw)
        await self.orders.apply(number, told, sender="EHR", received_us=received_us)
        return number

    async def __call__(self, *messages: Sequence[Event], of: Identifier = TOLVAN) -> None:
        for events in messages:
            await self.contents(Contents(patient=facts(of), events=tuple(events)))


@pytest.fixture
async def tell(index: Index, tmp_path: Path) -> AsyncIterator[Teller]:
    orders = Orders(index, Journal(tmp_path))
    await orders.open()
    yield Teller(orders)
    await orders.close()


async def tell_all(tell: Teller) -> None:
    for message in (1, 2, 3, 4, 5, 6, 7):
        await tell(getattr(orders_said, f"m{message}")())


def of_accession(exams: Sequence[timeline.ExamRow], accession: str) -> timeline.ExamRow:
    (found,) = (row for row in exams if accession in row.exam.values("accession"))
    return found


# --- patients --------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["191212121212", "19121212-1212", "121212+1212"])
async def test_a_patient_is_found_by_any_form_of_an_identity_number(
    index: Index, tell: Teller, written: str
) -> None:
    await tell(orders_said.m1())

    (found,) = await timeline.patients_identified(index, [(PERSONNUMMER, written)])

    assert found.identifiers == (TOLVAN,)


async def test_a_patient_is_not_found_under_another_system(index: Index, tell: Teller) -> None:
    await tell(orders_said.m1())

    assert await timeline.patients_identified(index, [("urn:oid:1.2", TOLVAN.value)]) == []


async def test_a_patient_is_found_by_the_beginning_of_a_name_in_any_case(
    index: Index, tell: Teller
) -> None:
    await tell.contents(Contents(patient=facts(family="Åkesson", given="Östen")))

    (found,) = await timeline.walk_patients(index, 10, family="ÅKE", given="os")

    assert found.demographics.family == "Åkesson"


async def test_a_patient_is_found_by_the_year_of_birth(index: Index, tell: Teller) -> None:
    await tell(orders_said.m1())

    assert len(await timeline.walk_patients(index, 10, birth_date="1912")) == 1
    assert await timeline.walk_patients(index, 10, birth_date="1913") == []


async def test_a_merged_record_says_into_which_one(index: Index, tell: Teller) -> None:
    await tell(orders_said.m1())
    await tell([an_event(accession="X1", aliases=orders_said.aliases(accession="X1"))], of=RESERVE)
    link = PatientLink(TOLVAN, RESERVE, utc("2024-02-01T08:00"))
    await tell.contents(Contents(links=(link,)))

    (survivor,) = await timeline.patients_identified(index, [(None, TOLVAN.value)])
    (other,) = await timeline.patients_identified(index, [(None, RESERVE.value)])

    assert other.merged_into == survivor.id
    assert survivor.others == (other.id,)
    assert survivor.merged_into is None


# --- orders, exams, reports ------------------------------------------------------------------


async def test_an_order_names_its_exams_by_place(index: Index, tell: Teller) -> None:
    await tell_all(tell)

    (order,) = await timeline.orders_identified(index, [(None, ORDER)])
    exams = await timeline.exams_of_orders(index, [order.id])

    assert order.exam_ids == tuple(row.id for row in exams)
    assert len(order.order.exams) == 2


async def test_an_exam_is_found_by_its_accession_number_and_who_gave_it(
    index: Index, tell: Teller
) -> None:
    await tell_all(tell)

    (exam,) = await timeline.exams_identified(index, [(ISSUER, ABDOMEN)])

    assert exam.exam.status is Status.CANCELLED
    assert await timeline.exams_identified(index, [("urn:oid:1.2", ABDOMEN)]) == []


async def test_an_order_is_found_by_the_accession_number_of_an_exam(
    index: Index, tell: Teller
) -> None:
    await tell_all(tell)

    (order,) = await timeline.orders_identified(index, [(None, THORAX)])

    assert order.order.key.value == ORDER


async def test_a_report_and_its_exam_name_each_other(index: Index, tell: Teller) -> None:
    await tell_all(tell)
    (exam,) = await timeline.exams_identified(index, [(None, THORAX)])

    (report,) = await timeline.reports_of_exams(index, [exam.id])

    assert report.exam_ids == (exam.id,)
    assert exam.report_ids == (report.id,)
    assert [row.id for row in await timeline.exams_of_reports(index, [report.id])] == [exam.id]


async def test_each_version_of_a_report_has_the_number_of_its_event(
    index: Index, tell: Teller
) -> None:
    await tell(orders_said.m1(), orders_said.m6(), orders_said.m5())
    (exam,) = await timeline.exams_identified(index, [(None, THORAX)])
    (report,) = await timeline.reports_of_exams(index, [exam.id])

    by_number = {row.number: row for row in await timeline.events_of_exams(index, [exam.id])}

    times = [by_number[number].event.time for number in report.arrivals]
    assert times == [version.time for version in report.report.versions]
    assert list(report.arrivals) == sorted(report.arrivals, reverse=True)


async def test_events_come_by_the_time_of_what_happened(index: Index, tell: Teller) -> None:
    await tell(orders_said.m4(), orders_said.m1(), orders_said.m3())
    (order,) = await timeline.orders_identified(index, [(None, ORDER)])

    found = await timeline.events_of_orders(index, [order.id])

    assert [row.event.time for row in found] == sorted(row.event.time for row in found)
    assert len(found) == 4


async def test_an_event_leads_to_the_message_it_came_with(index: Index, tell: Teller) -> None:
    await tell(orders_said.m4())
    (event,) = await timeline.walk_events(index, Page(10))

    message = await timeline.message(index, event.message)

    assert message is not None
    assert message.body == b"MSH|"


async def test_a_finding_is_found_by_its_code(index: Index, tell: Teller) -> None:
    await tell(orders_said.m1(), [an_event(Kind.UNKNOWN, codes=(("ORC-5", "ZZ"),))])

    (found,) = await timeline.walk_findings(index, Page(10), codes=["unmapped-status"])

    assert found.exam_id == of_accession(await timeline.walk_exams(index, Page(10)), THORAX).id


async def test_exams_are_narrowed_by_status_and_performer(index: Index, tell: Teller) -> None:
    await tell_all(tell)

    found = await timeline.walk_exams(
        index, Page(10), statuses=[Status.ADDENDUM, Status.BOOKED], performers=["evidia", "su"]
    )

    assert [row.exam.status for row in found] == [Status.ADDENDUM]
    assert await timeline.walk_exams(index, Page(10), performers=["su"]) == []


async def test_nothing_is_among_no_values(index: Index, tell: Teller) -> None:
    await tell_all(tell)

    assert await timeline.walk_exams(index, Page(10), statuses=[]) == []


# --- pages -----------------------------------------------------------------------------------


async def orders_of_several(tell: Teller, count: int) -> None:
    rng = random.Random(7)
    for number in range(count):
        at = f"2024-01-{rng.randint(1, 3):02}T08:00"
        await tell(
            [
                an_event(
                    "booked" if number % 2 else "received",
                    at,
                    aliases=orders_said.aliases(accession=f"A{number}"),
                    facts=orders_said.m1()[0].facts.__class__(authored=utc(at)),
                    performer=f"performer {number % 3}",
                )
            ],
            of=TOLVAN if number % 4 else RESERVE,
        )


Walk = Callable[[Index, Page], Coroutine[Any, Any, list[Any]]]
WALKS: dict[str, Walk] = {
    "orders": timeline.walk_orders,
    "exams": timeline.walk_exams,
    "events": timeline.walk_events,
    "booked or received": lambda i, p: timeline.walk_exams(
        i, p, statuses=[Status.BOOKED, Status.RECEIVED]
    ),
    "two performers": lambda i, p: timeline.walk_exams(
        i, p, performers=["performer 0", "performer 2"]
    ),
    "a modality": lambda i, p: timeline.walk_exams(i, p, modalities=[""]),
}


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
async def test_pages_hold_everything_once_and_in_order(
    index: Index, tell: Teller, walk: Walk, newest_first: bool
) -> None:
    await orders_of_several(tell, 14)
    whole = [place(row) for row in await walk(index, Page(100, newest_first=newest_first))]
    paged: list[tuple[str, int]] = []

    while page := await walk(
        index, Page(3, newest_first=newest_first, after=paged[-1] if paged else None)
    ):
        paged += [place(row) for row in page]

    assert paged == sorted(set(paged), reverse=newest_first) == whole
    assert len(whole) > 3


def place(row: Any) -> tuple[str, int]:
    return row.moment, row.number if isinstance(row, timeline.EventRow) else row.id


async def test_orders_of_two_patients_are_walked_together(index: Index, tell: Teller) -> None:
    await orders_of_several(tell, 8)
    patients = {row.patient_id for row in await timeline.walk_orders(index, Page(100))}

    found = await timeline.walk_orders(index, Page(100), patients=patients)

    assert len(patients) == 2
    assert found == await timeline.walk_orders(index, Page(100))


async def test_only_orders_of_the_patient_are_in_the_patients_timeline(
    index: Index, tell: Teller
) -> None:
    await orders_of_several(tell, 8)
    (patient,) = await timeline.patients_identified(index, [(None, RESERVE.value)])

    found = await timeline.walk_orders(index, Page(100), patients=[patient.id])

    assert {row.patient_id for row in found} == {patient.id}
    assert len(found) == 2


async def test_patients_are_walked_by_id(index: Index, tell: Teller) -> None:
    await orders_of_several(tell, 8)

    (first,) = await timeline.walk_patients(index, 1)
    (second,) = await timeline.walk_patients(index, 1, after=first.id)

    assert first.id < second.id
    assert await timeline.walk_patients(index, 1, after=second.id) == []


# --- studies ---------------------------------------------------------------------------------


async def store(index: Index, *values: dict[str, Any]) -> None:
    new = [a_new_instance(f"2.25.{n}", **of) for n, of in enumerate(values, 1)]
    async with index.write() as conn:
        await instances.add_instances(conn, [instances.prepare(item) for item in new])


async def uids(found: Coroutine[Any, Any, list[timeline.StudyRow]]) -> list[str]:
    return [row.study_instance_uid for row in await found]


async def test_studies_are_walked_by_date_and_time(index: Index) -> None:
    await store(
        index,
        {"StudyDate": "20240102", "StudyTime": "0900"},
        {"StudyDate": "20240102", "StudyTime": "101500.5"},
        {"StudyTime": "0900"},
        {"StudyDate": "20231231"},
        {},
        {"StudyDate": "20240102", "StudyTime": "0900"},
    )
    in_order = ["2.25.2", "2.25.6", "2.25.1", "2.25.4", "2.25.3", "2.25.5"]

    for newest_first in (True, False):
        found: list[timeline.StudyRow] = []
        while page := await timeline.walk_studies(
            index,
            Page(2, newest_first, (found[-1].moment, found[-1].id) if found else None),
        ):
            found += page
        assert [row.study_instance_uid for row in found] == in_order
        assert [row.moment for row in found] == sorted(
            (row.moment for row in found), reverse=newest_first
        )
        in_order.reverse()


async def test_a_study_tells_what_it_holds(index: Index) -> None:
    await store(index, {"Modality": "MR", "StudyDescription": "MR hjärna"})

    (study,) = await timeline.studies_by_uids(index, ["2.25.1"])

    assert study.attributes["00201208"]["Value"] == [1]
    assert study.attributes["00080061"]["Value"] == ["MR"]
    assert study.attributes["00081030"]["Value"] == ["MR hjärna"]
    assert [series.series_instance_uid for series in study.series] == ["2.25.1.1"]
    assert study.series[0].attributes["00080060"]["Value"] == ["MR"]


async def test_a_patients_studies_are_found_by_any_form_of_the_number(index: Index) -> None:
    await store(index, {"PatientID": "19121212-1212"}, {"PatientID": "196109732393"})

    assert await uids(timeline.studies_of_patients(index, [TOLVAN], Page(10))) == ["2.25.1"]


async def test_a_patients_studies_come_page_by_page(index: Index) -> None:
    own, others = {"PatientID": "7", "IssuerOfPatientID": "A"}, {"PatientID": "7"}
    others |= {"IssuerOfPatientID": "B"}
    await store(index, own, others, others, others, own, others, own)
    known_as = [Identifier("urn:bfr:assigner:A", "7")]

    first = await timeline.studies_of_patients(index, known_as, Page(2))
    after = (first[-1].moment, first[-1].id)
    rest = await timeline.studies_of_patients(index, known_as, Page(2, after=after))

    assert [row.study_instance_uid for row in (*first, *rest)] == ["2.25.7", "2.25.5", "2.25.1"]


@pytest.mark.parametrize(
    ("issuer", "system", "same"),
    [
        ("A", "urn:bfr:assigner:A", True),
        ("A", "urn:bfr:assigner:B", False),
        ("", "urn:bfr:assigner:B", True),
        ("A", "", True),
    ],
)
def test_one_value_of_two_issuers_is_two_persons(issuer: str, system: str, same: bool) -> None:
    study = data_set(PatientID="7", IssuerOfPatientID=issuer or None)

    assert study_rows.is_of(study, [Identifier(system, "7")]) is same


async def test_a_study_is_found_by_the_accession_number_of_a_request(index: Index) -> None:
    request = [{"AccessionNumber": "A2", "RequestedProcedureID": "R"}]
    await store(index, {"AccessionNumber": "A1", "RequestAttributesSequence": request})

    for number in ("A1", "A2"):
        assert await uids(timeline.studies_by_accession_numbers(index, [number])) == ["2.25.1"]


async def test_studies_are_narrowed_by_modality(index: Index) -> None:
    await store(index, {"Modality": "CT"}, {"Modality": "MR"}, {"Modality": "US"})

    found = await uids(timeline.walk_studies(index, Page(10), modalities=["CT", "US"]))

    assert found == ["2.25.3", "2.25.1"]


async def test_a_stored_study_is_linked_to_its_exam(index: Index, tell: Teller) -> None:
    await tell(orders_said.m1())
    (exam,) = await timeline.exams_identified(index, [(None, THORAX)])

    assert [link.study_instance_uid for link in exam.studies] == ["1.2.752.113.99.1.1"]
    (found,) = await timeline.exams_of_studies(index, ["1.2.752.113.99.1.1"])
    assert found.id == exam.id


# --- history ---------------------------------------------------------------------------------


async def test_the_history_of_an_order_tells_each_status_in_the_order_of_arrival(
    index: Index, tell: Teller
) -> None:
    await tell_all(tell)
    (order,) = await timeline.orders_identified(index, [(None, ORDER)])

    versions = await timeline.order_history(index, order.id)

    thorax = [of_accession(version.exams, THORAX).exam.status for version in versions]
    assert thorax == [
        Status.ADDENDUM,
        Status.ADDENDUM,
        Status.SIGNED,
        Status.PERFORMED,
        Status.STARTED,
        Status.BOOKED,
        Status.RECEIVED,
    ]


async def test_the_first_version_in_the_history_is_what_is_read(index: Index, tell: Teller) -> None:
    await tell_all(tell)
    (order,) = await timeline.orders_identified(index, [(None, ORDER)])

    version = (await timeline.order_history(index, order.id))[0]

    assert version.order == order
    assert list(version.exams) == await timeline.exams_of_orders(index, [order.id])
    assert list(version.reports) == await timeline.reports_of_orders(index, [order.id])


@pytest.mark.parametrize("latest", range(1, 8))
async def test_every_version_that_was_read_is_found_again(
    index: Index, tell: Teller, latest: int
) -> None:
    for message in range(1, latest + 1):
        await tell(getattr(orders_said, f"m{message}")())
    (order,) = await timeline.orders_identified(index, [(None, ORDER)])
    exams = await timeline.exams_of_orders(index, [order.id])
    reports = await timeline.reports_of_orders(index, [order.id])
    for message in range(latest + 1, 8):
        await tell(getattr(orders_said, f"m{message}")())

    read: list[Any] = [order, *exams, *reports]
    for row in read:
        version = await timeline.order_at(index, order.id, row.change)
        assert version is not None
        known: list[Any] = [version.order, *version.exams, *version.reports]
        (then,) = (one for one in known if type(one) is type(row) and one.id == row.id)
        assert without_links(then) == without_links(row)


def without_links(row: Any) -> tuple[Any, ...]:
    """What follows from events."""
    body = {"OrderRow": "order", "ExamRow": "exam", "ReportRow": "report"}[type(row).__name__]
    return row.id, row.change, row.changed_us, getattr(row, body), row.moment


async def test_there_is_no_version_before_the_first(index: Index, tell: Teller) -> None:
    await tell_all(tell)
    (order,) = await timeline.orders_identified(index, [(None, ORDER)])

    assert await timeline.order_at(index, order.id, 0) is None


async def test_an_order_that_is_not_there_has_no_history(index: Index) -> None:
    assert await timeline.order_history(index, 7) == []


async def test_a_late_message_is_a_late_version_of_an_early_status(
    index: Index, tell: Teller
) -> None:
    await tell(orders_said.m4(), orders_said.m1())
    (order,) = await timeline.orders_identified(index, [(None, ORDER)])

    latest, first = await timeline.order_history(index, order.id)

    assert len(first.exams) == 1
    assert len(latest.exams) == 2
    assert of_accession(latest.exams, THORAX).exam.status is Status.PERFORMED


async def test_what_was_read_wrongly_stays_in_the_history(index: Index, tell: Teller) -> None:
    await tell(orders_said.m1())
    wrong = Contents(patient=facts(), events=tuple(orders_said.m4()))
    number = await tell.contents(wrong)
    right = Contents(patient=facts(), events=tuple(orders_said.m3()))
    await tell.orders.replace(number, right, sender="EHR", received_us=now_us())
    (order,) = await timeline.orders_identified(index, [(None, ORDER)])

    versions = await timeline.order_history(index, order.id)

    statuses = [of_accession(version.exams, THORAX).exam.status for version in versions]
    assert statuses == [Status.STARTED, Status.PERFORMED, Status.RECEIVED]


async def test_an_order_that_took_the_place_of_another_is_named(index: Index, tell: Teller) -> None:
    alone = orders_said.aliases(accession="A1")
    other = orders_said.aliases(placer="P1")
    await tell([an_event(aliases=alone)], [an_event("booked", aliases=other)])
    before = {row.id for row in await timeline.walk_orders(index, Page(10))}
    both = orders_said.aliases(accession="A1", placer="P1")
    await tell([an_event("arrived", "2024-01-09T08:00", aliases=both)])

    (kept,) = await timeline.walk_orders(index, Page(10))
    (gone,) = before - {kept.id}

    assert await timeline.successors(index, [kept.id, gone]) == {gone: kept.id}


# --- plans -----------------------------------------------------------------------------------

Read = Callable[[Index], Coroutine[Any, Any, Any]]
PATIENT, OTHERS = [1], list(range(1, 200))
READS: dict[str, Read] = {
    "patients by id": lambda i: timeline.patients(i, [1, 2]),
    "patients of roots": lambda i: timeline.patients_of_roots(i, [1, 2]),
    "patients identified": lambda i: timeline.patients_identified(i, [(None, "P0000001")]),
    "patients by family name": lambda i: timeline.walk_patients(i, 10, family="andersson01"),
    "patients by given name": lambda i: timeline.walk_patients(i, 10, given="an"),
    "patients by birth date": lambda i: timeline.walk_patients(i, 10, birth_date="1950-01-01"),
    "orders by id": lambda i: timeline.orders(i, [200, 201]),
    "orders of a patient": lambda i: timeline.walk_orders(i, Page(25), patients=PATIENT),
    "orders after": lambda i: timeline.walk_orders(
        i, Page(25, after=("2009", 7)), patients=PATIENT
    ),
    "orders of some patients": lambda i: timeline.walk_orders(i, Page(25), patients=[1, 2, 3]),
    "orders of many patients": lambda i: timeline.walk_orders(i, Page(25), patients=OTHERS),
    "orders of all": lambda i: timeline.walk_orders(i, Page(25)),
    "orders of all, oldest": lambda i: timeline.walk_orders(i, Page(25, newest_first=False)),
    "orders identified": lambda i: timeline.orders_identified(i, [(None, "REM00000007")]),
    "orders of exams": lambda i: timeline.orders_of_exams(i, [202]),
    "exams by id": lambda i: timeline.exams(i, [202]),
    "exams of orders": lambda i: timeline.exams_of_orders(i, [200, 201]),
    "exams of studies": lambda i: timeline.exams_of_studies(i, ["2.25.202"]),
    "exams of reports": lambda i: timeline.exams_of_reports(i, [210]),
    "exams identified": lambda i: timeline.exams_identified(i, [(None, "SU00000007-0")]),
    "exams of a patient": lambda i: timeline.walk_exams(i, Page(25), patients=PATIENT),
    "exams of a patient by status": lambda i: timeline.walk_exams(
        i, Page(25), patients=PATIENT, statuses=[Status.BOOKED], performers=["SU"]
    ),
    "exams by status": lambda i: timeline.walk_exams(
        i, Page(25), statuses=[Status.BOOKED, Status.SIGNED]
    ),
    "exams by performer": lambda i: timeline.walk_exams(i, Page(25), performers=["SU"]),
    "exams by both": lambda i: timeline.walk_exams(
        i, Page(25), performers=["SU", "FTV"], statuses=[Status.UNKNOWN]
    ),
    "exams by modality": lambda i: timeline.walk_exams(i, Page(25), modalities=["CT"]),
    "exams of all": lambda i: timeline.walk_exams(i, Page(25)),
    "reports by id": lambda i: timeline.reports(i, [210]),
    "reports of exams": lambda i: timeline.reports_of_exams(i, [202]),
    "reports of orders": lambda i: timeline.reports_of_orders(i, [200]),
    "reports identified": lambda i: timeline.reports_identified(i, ["REM00000007"]),
    "reports by status": lambda i: timeline.walk_reports(i, Page(25), statuses=["appended"]),
    "reports of a patient": lambda i: timeline.walk_reports(i, Page(25), patients=PATIENT),
    "reports of all": lambda i: timeline.walk_reports(i, Page(25)),
    "events": lambda i: timeline.events(i, [203, 204]),
    "events of exams": lambda i: timeline.events_of_exams(i, [202]),
    "events of orders": lambda i: timeline.events_of_orders(i, [200]),
    "events of messages": lambda i: timeline.events_of_messages(i, [7]),
    "events of a patient": lambda i: timeline.walk_events(i, Page(25), patients=PATIENT),
    "events of all": lambda i: timeline.walk_events(i, Page(25)),
    "a message": lambda i: timeline.message(i, 7),
    "heads of messages": lambda i: timeline.message_heads(i, [7]),
    "findings by id": lambda i: timeline.findings(i, [7]),
    "findings of orders": lambda i: timeline.findings_of_orders(i, [200]),
    "findings of exams": lambda i: timeline.findings_of_exams(i, [202]),
    "findings of a patient": lambda i: timeline.walk_findings(i, Page(25), patients=PATIENT),
    "findings by code": lambda i: timeline.walk_findings(i, Page(25), codes=["late"]),
    "findings of all": lambda i: timeline.walk_findings(i, Page(25)),
    "studies by id": lambda i: timeline.studies(i, [202]),
    "studies by uid": lambda i: timeline.studies_by_uids(i, ["2.25.202"]),
    "studies by accession": lambda i: timeline.studies_by_accession_numbers(i, ["SU00000007-0"]),
    "studies of exams": lambda i: timeline.studies_of_exams(i, [202]),
    "studies of a patient": lambda i: timeline.studies_of_patients(
        i, [Identifier("", "P0000000"), Identifier("", "P0000004")], Page(25)
    ),
    "studies after": lambda i: timeline.walk_studies(i, Page(25, after=("2009-01-01", 7))),
    "studies by modality": lambda i: timeline.walk_studies(i, Page(25), modalities=["CT", "MR"]),
    "studies of all": lambda i: timeline.walk_studies(i, Page(25)),
    "successors": lambda i: timeline.successors(i, [7]),
    "history": lambda i: timeline.order_history(i, 201),
}
ORDERS = 3000


def fill(url: str) -> str:
    """In a thread, outside any event loop that a test may be running."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, orders_population.fill(url, ORDERS)).result()
    return url


@pytest.fixture(scope="module")
def filled_sqlite(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("timeline") / "catalogue.db"
    shutil.copy(sqlite_template, path)
    return fill(f"sqlite+aiosqlite:///{path}")


@pytest.fixture(scope="module")
def filled_postgresql(postgresql: Server) -> str:
    postgresql.create_database("timeline", "template")
    return fill(postgresql.url("timeline"))


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_no_table_is_read_as_a_whole_on_sqlite(
    filled_sqlite: str, monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    asked = record(monkeypatch)
    index = await Index.open(filled_sqlite, readers=1)

    await read(index)

    await index.close()
    with sqlite3.connect(make_url(filled_sqlite).database or "") as raw:
        steps = [step for sql in asked for step in explain(raw, sql)]
    raw.close()
    assert steps
    assert not [step for step in steps if is_a_scan(step)], steps


async def around_a_patient(index: Index, patient: int) -> list[Any]:
    """What an answer reads of one patient, each thing by way of the one before."""
    orders = await timeline.walk_orders(index, Page(25), patients=[patient])
    exams = await timeline.exams_of_orders(index, [row.id for row in orders])
    ids = [row.id for row in exams]
    reports = await timeline.reports_of_exams(index, ids)
    return [
        orders,
        exams,
        reports,
        await timeline.reports_of_orders(index, [row.id for row in orders]),
        await timeline.orders_of_exams(index, ids),
        await timeline.exams_of_reports(index, [row.id for row in reports]),
        await timeline.exams(index, [*ids, 10**9]),
        await timeline.studies_of_exams(index, ids),
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_in_sight_is_what_would_be_read(filled_sqlite: str, seed: int) -> None:
    index = await Index.open(filled_sqlite)
    reads = random.Random(seed).sample(list(READS.values()), len(READS))
    patients = [1 + seed, 1 + seed * 4]
    alone = [
        *[await read(index) for read in reads],
        *[await around_a_patient(index, patient) for patient in patients],
    ]

    with sight.one():
        together = [
            *[await read(index) for read in reads],
            *[await around_a_patient(index, patient) for patient in patients],
        ]

    await index.close()
    assert together == alone


async def test_an_answer_reads_no_exam_twice(
    filled_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await Index.open(filled_sqlite)
    with sight.one():
        orders = await timeline.walk_orders(index, Page(25), patients=PATIENT)
        exams = await timeline.exams_of_orders(index, [row.id for row in orders])
        asked = record(monkeypatch)

        await timeline.exams(index, [row.id for row in exams])
        await timeline.exams_of_orders(index, [row.id for row in orders])
        await timeline.orders_of_exams(index, [row.id for row in exams])

    await index.close()
    assert asked == []


async def test_the_next_answer_shows_what_has_changed(tell: Teller, index: Index) -> None:
    await tell(orders_said.m1())
    with sight.one():
        (before,) = await timeline.walk_orders(index, Page(10))
        await tell(orders_said.m2())

    with sight.one():
        (after,) = await timeline.orders(index, [before.id])

    assert after.change > before.change


def record(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that are executed, as SQLite gets them."""
    asked: list[str] = []
    original = statements._for_sqlite

    def remember(sql: str) -> str:
        asked.append(original(sql))
        return asked[-1]

    monkeypatch.setattr(statements, "_for_sqlite", remember)
    return asked


def explain(raw: sqlite3.Connection, sql: str) -> list[str]:
    places = [None] * max((int(number) for number in re.findall(r"\?(\d+)", sql)), default=0)
    return [step for *_, step in raw.execute(f"EXPLAIN QUERY PLAN {sql}", places)]


def is_a_scan(step: str) -> bool:
    """Walks of a table along an index end at their LIMIT, unless they have to be sorted first."""
    if step == "USE TEMP B-TREE FOR ORDER BY":
        return False
    derived = re.fullmatch(r"SCAN (p|u|b\d+|k|json_each|CONSTANT ROW).*", step)
    along = re.search(
        r"USING (COVERING )?INDEX \w+_(authored|modified|issued|raised|time|newest)", step
    )
    return step.startswith("SCAN ") and not derived and not along


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_no_table_is_read_as_a_whole_on_postgresql(
    filled_postgresql: str, read: Read
) -> None:
    index = await Index.open(filled_postgresql, readers=1)
    asked: list[tuple[str, Any]] = []
    async with index.read() as conn:  # the only one
        driver: Any = (await conn.get_raw_connection()).driver_connection
    driver.add_query_logger(lambda logged: asked.append((logged.query, logged.args)))

    await read(index)

    await asyncio.sleep(0)  # the driver tells of a statement after it
    await index.close()
    steps = await explained(filled_postgresql, asked)
    assert steps
    assert not [step for step in steps if "Seq Scan" in step], steps


async def explained(url: str, asked: Sequence[tuple[str, Any]]) -> list[str]:
    connection = await asyncpg.connect(url)
    # then only what no index can answer is read as a whole
    await connection.execute("SET enable_seqscan = off")
    steps = [
        step
        for statement, parameters in asked
        for (step,) in await connection.fetch(f"EXPLAIN {statement}", *parameters)
    ]
    await connection.close()
    return steps


@pytest.mark.parametrize(
    "name",
    [
        "orders of a patient",
        "orders after",
        "orders of all",
        "exams of all",
        "exams of a patient",
        "exams by modality",
        "reports by status",
        "events of a patient",
        "events of all",
        "findings by code",
        "findings of all",
    ],
)
async def test_a_walk_is_not_sorted_first(
    filled_sqlite: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked = record(monkeypatch)
    index = await Index.open(filled_sqlite, readers=1)

    await READS[name](index)

    await index.close()
    with sqlite3.connect(make_url(filled_sqlite).database or "") as raw:
        steps = explain(raw, asked[0])
    raw.close()
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps
