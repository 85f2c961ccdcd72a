"""What only the passing of time tells."""

from functools import partial

from bfr_dicomweb.index import findings, messages, outbox
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.services import dispatching, watching


async def undelivered(index: Index) -> list[tuple[str, bool]]:
    """Subject of each finding, and whether it is open."""
    found = await index.ask(partial(findings.by_beginning, beginning=watching.RECEIVER))
    return [(one.subject, not one.resolved) for one in found]


async def fail(index: Index, times: int) -> None:
    """Let the delivery of the only entry fail so often."""
    for _ in range(times):
        entry = await index.transact(
            partial(outbox.claim, receiver="ehr", owner="me", now_us=1 << 60, until_us=1 << 60)
        )
        assert entry is not None
        await index.transact(
            partial(outbox.failed, number=entry.number, owner="me", error="AR", due_us=0)
        )


async def test_a_receiver_that_takes_nothing_is_a_finding(index: Index) -> None:
    await dispatching.enqueue(index, [("ehr", "hl7v2", b"{}")])
    await fail(index, watching.ATTEMPTS)

    await watching.raise_undelivered(index)

    assert await undelivered(index) == [("receiver/ehr", True)]


async def test_a_receiver_that_failed_once_is_none(index: Index) -> None:
    await dispatching.enqueue(index, [("ehr", "hl7v2", b"{}")])
    await fail(index, 1)

    await watching.raise_undelivered(index)

    assert await undelivered(index) == []


async def test_a_receiver_that_took_it_is_none_any_more(index: Index) -> None:
    await dispatching.enqueue(index, [("ehr", "hl7v2", b"{}")])
    await fail(index, watching.ATTEMPTS)
    await watching.raise_undelivered(index)

    async def clear(conn: Connection) -> None:
        entry = await outbox.claim(conn, "ehr", "me", now_us=1 << 60, until_us=1 << 61)
        assert entry is not None
        await outbox.done(conn, entry.number, "me")

    await index.transact(clear)
    await watching.raise_undelivered(index)

    assert await undelivered(index) == [("receiver/ehr", False)]


async def seen(index: Index, sender: str, at_us: int) -> None:
    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        messages.seen(turn, {sender: (at_us, 1)})
        await turn.end()

    await index.transact(work)


async def test_a_sender_is_silent_after_its_hours(index: Index) -> None:
    await seen(index, "evidia", watching.now_us() - 2 * 3_600_000_000)

    await watching.raise_silent(index, {"evidia": 1.0, "never heard of": 1.0})

    found = await index.ask(partial(findings.by_beginning, beginning=watching.SENDER))
    assert [one.subject for one in found] == ["sender/evidia"]


async def test_a_sender_that_speaks_again_is_silent_no_more(index: Index) -> None:
    await seen(index, "evidia", watching.now_us() - 2 * 3_600_000_000)
    await watching.raise_silent(index, {"evidia": 1.0})
    await seen(index, "evidia", watching.now_us())

    await watching.raise_silent(index, {"evidia": 1.0})

    found = await index.ask(partial(findings.by_beginning, beginning=watching.SENDER))
    assert [bool(one.resolved) for one in found] == [True]
