"""Messages are kept, applied, and applied anew."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.errors import InvalidRequest, NotFound
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.orders.delays import Delay
from bfr_dicomweb.orders.events import Attachment, Contents, Kind, Notice
from bfr_dicomweb.services.orders import News, Orders
from orders_kept import (
    EXAM1,
    EXAM2,
    LIFE,
    OTHER,
    TOLVAN,
    Teller,
    a_report,
    accession,
    an_event,
    at,
    of_patient,
    telling,
)


@pytest.fixture
async def teller(index: Index) -> AsyncIterator[Teller]:
    async with telling(index) as opened:
        yield opened


async def test_a_kept_message_is_there_as_it_came(teller: Teller) -> None:
    raw = teller.raw(body=b"MSH|^~\\&|\xe5\r\x00")

    number = await teller.orders.keep(raw)

    stored = await teller.orders.message(number)
    assert stored is not None
    assert (stored.body, stored.control_id, stored.state) == (raw.body, raw.control_id, "kept")


async def test_a_message_that_was_kept_and_not_applied_is_unfinished(teller: Teller) -> None:
    number = await teller.orders.keep(teller.raw())
    await teller.tell(an_event(Kind.RECEIVED, 1))

    assert [one.number for one in await teller.orders.unfinished()] == [number]


async def test_a_message_that_somebody_is_at_work_on_is_not_unfinished(teller: Teller) -> None:
    raw = teller.raw()
    await teller.orders.keep(raw)

    assert await teller.orders.unfinished(before_us=raw.received_us) == []


async def test_a_message_that_was_taken_is_in_the_catalogue_once_it_is_applied(
    teller: Teller,
) -> None:
    taken = await teller.orders.take(teller.raw())
    before = await teller.orders.messages()
    await teller.orders.apply(taken, Contents(), sender="RIS")
    stored = await teller.orders.message(taken.number)

    assert stored is not None
    assert (before, stored.state, stored.ack) == ([], "applied", "AA")


async def test_a_message_that_was_taken_and_failed_is_in_the_catalogue(teller: Teller) -> None:
    taken = await teller.orders.take(teller.raw())
    await teller.orders.fail(taken, state="failed", ack="AE", error="no PID")
    (stored,) = await teller.orders.messages()

    assert (stored.number, stored.state, stored.error) == (taken.number, "failed", "no PID")


async def test_a_message_that_a_dead_process_took_is_taken_over(
    index: Index, teller: Teller, tmp_path: Path
) -> None:
    dead, raw = Orders(index, Journal(tmp_path)), teller.raw(body=b"MSH|\n\xe5\r\x00")
    await dead.take(raw)
    await dead.close()
    heir = Orders(index, Journal(tmp_path))
    await heir.open()
    taken_over = await heir.take_over()
    await heir.close()
    (stored,) = await teller.orders.unfinished()

    assert (taken_over, stored.body, stored.control_id) == (1, raw.body, raw.control_id)


async def test_what_a_dead_process_committed_is_not_kept_again(
    index: Index, teller: Teller, tmp_path: Path
) -> None:
    dead, raw = Orders(index, Journal(tmp_path)), teller.raw()
    await dead.take(raw)
    await teller.orders.keep(raw)  # committed, and the process dies before it can forget it
    await dead.close()
    heir = Orders(index, Journal(tmp_path))
    await heir.open()
    taken_over = await heir.take_over()
    await heir.close()

    assert taken_over == 0


async def test_messages_are_found_by_state_sender_and_control_id(teller: Teller) -> None:
    for sender in ("A", "B"):
        await teller.orders.keep(teller.raw(sender=sender, control_id="1"))

    (found,) = await teller.orders.messages(state="kept", sender="B", control_id="1")

    assert found.sender == "B"


async def test_an_applied_message_leads_to_an_exam_with_its_status(teller: Teller) -> None:
    applied = await teller.tell(an_event(Kind.BOOKED, 1))

    assert await teller.rows("SELECT id, status FROM exam") == [(applied.exams[0], "booked")]


async def test_applying_a_message_again_changes_nothing(teller: Teller) -> None:
    applied = await teller.tell(an_event(Kind.BOOKED, 1))
    before = await teller.state()

    again = await teller.orders.apply(
        applied.number, Contents(of_patient(), (an_event(Kind.PERFORMED, 2),)), sender="RIS"
    )

    assert (again.again, again.ack, await teller.state()) == (True, "AA", before)


async def test_the_same_message_applied_twice_at_once_counts_once(teller: Teller) -> None:
    number = await teller.orders.keep(teller.raw())
    contents = Contents(of_patient(), (an_event(Kind.BOOKED, 1),))

    both = await asyncio.gather(
        *(teller.orders.apply(number, contents, sender="RIS") for _ in range(2))
    )

    assert sorted(one.again for one in both) == [False, True]
    assert len(await teller.rows("SELECT number FROM order_event")) == 1


async def test_a_repeated_message_adds_no_event(teller: Teller) -> None:
    first = await teller.tell(*LIFE[0])
    before = await teller.state()

    again = await teller.tell(*LIFE[0])

    assert (again.exams, await teller.state()) == (first.exams, before)


async def test_a_repetition_leaves_the_versions_of_rows_as_they_are(teller: Teller) -> None:
    await teller.tell(*LIFE[0])
    sql = "SELECT change FROM exam UNION SELECT change FROM imaging_order ORDER BY 1"
    before = await teller.rows(sql)

    await teller.tell(*LIFE[0])

    assert await teller.rows(sql) == before


async def test_callers_at_the_same_time_all_get_what_they_asked_for(teller: Teller) -> None:
    told = [accession(f"A{number}") for number in range(20)]

    applied = await asyncio.gather(*(teller.tell(an_event(Kind.BOOKED, 1, a)) for a in told))

    assert len({one.exams for one in applied}) == 20


async def test_a_message_that_cannot_be_applied_fails_alone(teller: Teller) -> None:
    contents = Contents(of_patient(), (an_event(Kind.BOOKED, 1),))

    good, bad = await asyncio.gather(
        teller.tell(an_event(Kind.BOOKED, 1)),
        teller.orders.apply(999_999, contents, sender="RIS"),
        return_exceptions=True,
    )

    assert (isinstance(bad, NotFound), await teller.statuses()) == (True, {"SU24000123": "booked"})
    assert not isinstance(good, BaseException)


async def test_what_is_told_of_an_exam_must_name_the_patient(teller: Teller) -> None:
    number = await teller.orders.keep(teller.raw())

    with pytest.raises(InvalidRequest, match="patient"):
        await teller.orders.apply(
            number, Contents(events=(an_event(Kind.BOOKED, 1),)), sender="RIS"
        )


async def test_a_control_id_that_comes_with_another_body_is_a_finding(teller: Teller) -> None:
    for body in (b"one", b"other"):
        await teller.tell(
            an_event(Kind.RECEIVED, 1), raw={"control_id": "M1", "body": body, "sender": "EHR"}
        )

    assert await teller.findings() == ["control-id-reuse"]


async def test_a_control_id_that_comes_with_the_same_body_is_none(teller: Teller) -> None:
    for _ in range(2):
        await teller.tell(an_event(Kind.RECEIVED, 1), raw={"control_id": "M1", "body": b"one"})

    assert await teller.findings() == []


async def test_what_is_odd_in_a_message_is_a_finding_of_it(teller: Teller) -> None:
    notice = Notice("charset-wrong", "read as ISO 8859-1")

    applied = await teller.tell(an_event(Kind.RECEIVED, 1), notices=(notice,))

    found = await teller.rows("SELECT code, message, exam_id FROM finding")
    assert found == [("charset-wrong", applied.number, applied.exams[0])]


async def test_a_failed_message_says_why(teller: Teller) -> None:
    number = await teller.orders.keep(teller.raw())

    await teller.orders.fail(number, state="failed", ack="AE", error="PID-3 is missing")

    (stored,) = await teller.orders.messages(state="failed")
    assert (stored.number, stored.ack, stored.error) == (number, "AE", "PID-3 is missing")


async def test_a_failed_message_can_be_applied_later(teller: Teller) -> None:
    number = await teller.orders.keep(teller.raw())
    notice = Notice("segment-missing", "PID")
    await teller.orders.fail(number, state="failed", ack="AE", error="", notices=[notice])

    contents = Contents(of_patient(), (an_event(Kind.RECEIVED, 1),))
    await teller.orders.apply(number, contents, sender="RIS")

    assert (await teller.statuses(), await teller.findings()) == ({"SU24000123": "received"}, [])


async def test_a_message_read_anew_says_only_what_it_says_now(teller: Teller) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1))
    unknown = an_event(Kind.UNKNOWN, 2, codes=(("ORC-5", "ZZ"),))
    applied = await teller.tell(unknown)
    assert await teller.findings() == ["unmapped-status"]

    known = replace(unknown, kind=Kind.BOOKED)
    await teller.orders.replace(applied.number, Contents(of_patient(), (known,)), sender="RIS")

    assert (await teller.statuses(), await teller.findings()) == ({"SU24000123": "booked"}, [])


async def test_an_exam_read_anew_keeps_its_id(teller: Teller) -> None:
    applied = await teller.tell(an_event(Kind.UNKNOWN, 2))
    contents = Contents(of_patient(), (an_event(Kind.BOOKED, 2),))

    again = await teller.orders.replace(applied.number, contents, sender="RIS")

    assert again.exams == applied.exams
    assert await teller.rows("SELECT id FROM moved") == []


async def test_a_report_read_anew_keeps_its_id(teller: Teller) -> None:
    applied = await teller.tell(a_report(2, "one text"))
    before = await teller.rows("SELECT id FROM report")
    contents = Contents(of_patient(), (a_report(2, "another text"),))

    await teller.orders.replace(applied.number, contents, sender="RIS")

    assert await teller.rows("SELECT id FROM report") == before


async def test_reading_anew_what_says_the_same_changes_nothing(teller: Teller) -> None:
    applied = await teller.tell(*LIFE[0])
    before = await teller.state()

    await teller.orders.replace(applied.number, Contents(of_patient(), LIFE[0]), sender="RIS")

    assert await teller.state() == before


async def test_a_message_that_says_nothing_any_more_takes_its_exam_away(teller: Teller) -> None:
    applied = await teller.tell(an_event(Kind.BOOKED, 1))

    await teller.orders.replace(applied.number, Contents(of_patient()), sender="RIS")

    assert await teller.rows("SELECT id FROM exam") == []
    assert (applied.exams[0], 0) in await teller.rows("SELECT id, successor FROM moved")


async def test_superseded_events_are_kept_with_the_change_that_superseded_them(
    teller: Teller,
) -> None:
    applied = await teller.tell(an_event(Kind.UNKNOWN, 2))
    contents = Contents(of_patient(), (an_event(Kind.BOOKED, 2),))
    await teller.orders.replace(applied.number, contents, sender="RIS")

    ((number, superseded), (_, current)) = await teller.rows(
        "SELECT number, superseded FROM order_event ORDER BY number"
    )
    assert (superseded > number, current) == (True, 0)


async def test_documents_that_come_with_a_message_are_kept(teller: Teller) -> None:
    attached = (Attachment("ab" * 32, "application/pdf"), b"%PDF")

    for _ in range(2):
        await teller.tell(a_report(1, "text"), attachments=(attached,))

    found = await teller.rows("SELECT digest, content_type, size_bytes, body FROM attachment")
    assert found == [("ab" * 32, "application/pdf", 4, b"%PDF")]


async def test_when_a_sender_was_last_heard_is_known(teller: Teller) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1), raw={"received_us": 7})
    await teller.tell(an_event(Kind.BOOKED, 2), raw={"received_us": 5})

    assert await teller.rows("SELECT * FROM sender_seen") == [("RIS", 7, 2)]


async def test_a_configuration_put_in_force_is_given(teller: Teller) -> None:
    assert await teller.orders.exchange() == (0, "")

    version = await teller.orders.put_exchange("[senders]")

    assert await teller.orders.exchange() == (version, "[senders]")


async def test_the_same_configuration_is_no_new_version(teller: Teller) -> None:
    first = await teller.orders.put_exchange("[senders]")

    assert await teller.orders.put_exchange("[senders]") == first


async def test_another_process_sees_the_new_configuration(
    teller: Teller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bfr_dicomweb.services.orders.EXCHANGE_LOOK_S", 0.0)
    other = Orders(teller.index, Journal(tmp_path))
    await other.exchange()

    version = await teller.orders.put_exchange("[senders]")

    assert await other.exchange() == (version, "[senders]")


def tell_statuses(news: News) -> Iterable[tuple[str, str, bytes]]:
    if news.exam is not None:
        yield "EHR", "hl7", news.exam.exam.status.value.encode()
    if news.report is not None:
        yield "EHR", "hl7", f"report {len(news.report.report.versions)}".encode()


async def test_each_new_status_and_version_is_put_out_once_and_in_order(index: Index) -> None:
    async with telling(index, router=tell_statuses) as teller:
        for message in LIFE[:6]:
            events = [event for event in message if event.aliases == EXAM1]
            for _ in range(2):
                await teller.tell(*events)

        found = await teller.rows("SELECT payload FROM outbox ORDER BY number")

    assert [bytes(payload) for (payload,) in found] == [
        b"received",
        b"booked",
        b"started",
        b"performed",
        b"signed",
        b"report 1",
        b"addendum",
        b"report 2",
    ]


async def test_who_is_told_of_is_named_by_all_identifiers(index: Index) -> None:
    told: list[News] = []

    def remember(news: News) -> Iterable[tuple[str, str, bytes]]:
        told.append(news)
        return ()

    local = replace(TOLVAN, system="urn:oid:1.2", value="77")
    async with telling(index, router=remember) as teller:
        patient = of_patient(TOLVAN, local, family="Tolvansson")
        await teller.tell(an_event(Kind.RECEIVED, 1), patient=patient)

    (news,) = told
    assert news.patient.identifiers == (TOLVAN, local)
    assert news.patient.demographics.family == "Tolvansson"


async def test_when_images_are_expected_follows_from_the_delay_of_the_performer(
    index: Index,
) -> None:
    delays = {"EVIDIA": Delay("signed", 48 * 3600)}
    async with telling(index, delay_of=delays.__getitem__) as teller:
        for message in LIFE[:5]:
            await teller.tell(*message)

        found = await teller.rows("SELECT expected FROM exam ORDER BY place")

    assert found == [(at(7),), ("",)]


async def test_the_second_exam_of_another_patient_is_another_exam(teller: Teller) -> None:
    one = await teller.tell(an_event(Kind.BOOKED, 1, *EXAM2))
    other = await teller.tell(an_event(Kind.BOOKED, 1, *EXAM2), patient=of_patient(OTHER))

    assert one.exams != other.exams
