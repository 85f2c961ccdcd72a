"""What peers do not take is given up after a week, and what is over is forgotten after a month."""

import pytest

from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.index import availability as notices
from bfr_dicomweb.index import changes, commitments, deliveries, findings, outbox
from bfr_dicomweb.index.commitments import Reference
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.services import availability, commitment, sending
from bfr_dicomweb.services.sending import InstanceState, JobState

DAY_US = 86_400_000_000
REFERENCES = [Reference("1.2.840.10008.5.1.4.1.1.2", f"2.25.{number}") for number in range(3)]


async def a_job(index: Index, *, commits: bool = False, days: float = 0) -> int:
    async def work(conn: Connection) -> int:
        turn = await Turn.take(conn)
        turn.at_us -= int(days * DAY_US)
        number = deliveries.add(turn, "PACS", REFERENCES, priority=0, commits=commits)
        await turn.end()
        return number

    return await index.transact(work)


async def a_request(index: Index, *, days: float) -> int:
    async def work(conn: Connection) -> int:
        turn = await Turn.take(conn)
        turn.at_us -= int(days * DAY_US)
        number = await commitments.keep(turn, "CT1", "2.25.7", REFERENCES)
        await turn.end()
        return number

    return await index.transact(work)


async def open_findings(index: Index) -> list[tuple[str, str]]:
    found = await index.ask(lambda conn: findings.by_beginning(conn, "given-up/"))
    return [(one.code, one.detail) for one in found if not one.resolved]


async def test_a_job_of_eight_days_has_failed_and_is_a_finding(index: Index) -> None:
    number = await a_job(index, days=8)

    await sending.age(index)

    found = await sending.progress(index, number)
    assert (found.job.state, found.counts) == (JobState.FAILED, {InstanceState.FAILED: 3})
    reason = "it was not delivered in 7 days"
    assert await open_findings(index) == [
        ("undelivered", f"sending to PACS was given up: {reason}")
    ]


async def test_a_job_of_six_days_goes_on(index: Index) -> None:
    number = await a_job(index, days=6)

    await sending.age(index)

    assert (await sending.progress(index, number)).job.state is JobState.OPEN


async def test_a_job_that_ended_is_forgotten_after_a_month(index: Index) -> None:
    number = await a_job(index, days=31)

    await sending.age(index)

    with pytest.raises(NotFound):
        await sending.progress(index, number)
    assert await index.ask(lambda conn: rows(conn, "SELECT 1 FROM delivery_instance")) == []


async def test_a_commitment_that_is_not_answered_in_an_hour_is_asked_for_anew(
    index: Index,
) -> None:
    number = await a_job(index, commits=True)
    items = await index.ask(lambda conn: deliveries.due(conn, "PACS", now_us=1 << 60, limit=10))
    await sending.keep(index, [sending.sent(item) for item in items])
    first = await sending.next_commitment(index, "PACS")
    assert first is not None
    await index.transact(
        lambda conn: rows(
            conn, "UPDATE delivery_commitment SET asked_us = asked_us - 3700000000 RETURNING 1"
        )
    )

    await sending.age(index)
    again = await sending.next_commitment(index, "PACS")

    assert again is not None
    assert (again.items, again.transaction_uid != first.transaction_uid) == (first.items, True)
    assert (await sending.progress(index, number)).counts == {InstanceState.ASKED: 3}


async def test_a_requester_that_is_gone_for_good_is_a_finding(index: Index) -> None:
    await a_request(index, days=8)

    await commitment.age(index)

    assert await commitment.waiting(index, "CT1") == []
    detail = "reporting a storage commitment to CT1 was given up: it could not be called"
    assert await open_findings(index) == [("undelivered", detail)]


async def test_a_notification_of_eight_days_is_given_up(index: Index) -> None:
    await index.transact(
        lambda conn: notices.grows(conn, ["2.25.1"], changes.now_us() - 9 * DAY_US)
    )
    await availability.tell_quiet(index, ["RIS"])
    await index.transact(
        lambda conn: rows(
            conn,
            "UPDATE availability_notice SET created_us = created_us - ?1 RETURNING 1",
            (8 * DAY_US,),
        )
    )

    await availability.age(index)

    assert await availability.waiting(index, "RIS") == []
    assert len(await open_findings(index)) == 1


async def test_a_new_job_makes_the_next_attempt_come_at_once(index: Index) -> None:
    from bfr_dicomweb.services import errands
    from bfr_dicomweb.services.errands import Act

    async def put(conn: Connection) -> None:
        turn = await Turn.take(conn)
        errands.put(turn, Act.SEND, ["PACS"])
        await turn.end()

    await index.transact(put)
    now = changes.now_us()
    entry = await index.transact(
        lambda conn: outbox.claim(conn, "PACS (send)", "me", now_us=now, until_us=now + 1000)
    )
    assert entry is not None
    await index.transact(
        lambda conn: outbox.failed(conn, entry.number, "me", error="away", due_us=now + DAY_US)
    )

    await index.transact(put)

    due = await index.ask(lambda conn: outbox.receivers_due(conn, changes.now_us()))
    assert due == ["PACS (send)"]
