"""The outbox gives each receiver what it is to be told, strictly in order."""

import pytest

from bfr_dicomweb.index import outbox
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.outbox import Entry
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn

LATER = 1 << 60
LEASE = 1000


async def put(index: Index, *entries: tuple[str, bytes]) -> None:
    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        outbox.enqueue(turn, [(receiver, "hl7", payload) for receiver, payload in entries])
        await turn.end()

    await index.transact(work)


async def claim(index: Index, receiver: str, owner: str = "me", now: int = LATER) -> Entry | None:
    return await index.transact(
        lambda conn: outbox.claim(conn, receiver, owner, now_us=now, until_us=now + LEASE)
    )


async def done(index: Index, entry: Entry | None, owner: str = "me") -> bool:
    assert entry is not None
    number = entry.number
    return await index.transact(lambda conn: outbox.done(conn, number, owner))


async def failed(index: Index, entry: Entry | None, due: int) -> None:
    assert entry is not None
    number = entry.number
    await index.transact(
        lambda conn: outbox.failed(conn, number, "me", error="it is down", due_us=due)
    )


async def due(index: Index, now: int = LATER) -> list[str]:
    return await index.ask(lambda conn: outbox.receivers_due(conn, now))


async def test_entries_come_in_the_order_they_were_put_in(index: Index) -> None:
    await put(index, ("EHR", b"1"), ("RIS", b"x"), ("EHR", b"2"))
    payloads = []
    for _ in range(2):
        entry = await claim(index, "EHR")
        payloads.append(entry and entry.payload)
        await done(index, entry)

    assert payloads == [b"1", b"2"]


async def test_the_next_entry_waits_for_the_one_before_it(index: Index) -> None:
    await put(index, ("EHR", b"1"), ("EHR", b"2"))
    await claim(index, "EHR")

    assert await claim(index, "EHR", "other") is None


async def test_one_receiver_does_not_wait_for_another(index: Index) -> None:
    await put(index, ("EHR", b"1"), ("RIS", b"2"))
    await claim(index, "EHR")

    assert await due(index) == ["RIS"]


async def test_a_lease_that_ran_out_lets_another_take_it(index: Index) -> None:
    await put(index, ("EHR", b"1"))
    await claim(index, "EHR")

    entry = await claim(index, "EHR", "other", LATER + LEASE + 1)

    assert entry is not None


async def test_who_lost_the_lease_cannot_say_that_it_is_done(index: Index) -> None:
    await put(index, ("EHR", b"1"))
    entry = await claim(index, "EHR")
    await claim(index, "EHR", "other", LATER + LEASE + 1)

    assert (await done(index, entry), await done(index, entry, "other")) == (False, True)


async def test_what_failed_is_first_again_when_it_is_due(index: Index) -> None:
    await put(index, ("EHR", b"1"), ("EHR", b"2"))
    await failed(index, await claim(index, "EHR"), LATER + 5)

    assert await claim(index, "EHR", now=LATER + 4) is None
    entry = await claim(index, "EHR", now=LATER + 5)
    assert entry is not None
    assert (entry.payload, entry.attempts) == (b"1", 1)


async def test_a_receiver_whose_first_entry_is_not_due_is_not_due(index: Index) -> None:
    await put(index, ("EHR", b"1"), ("EHR", b"2"))
    await failed(index, await claim(index, "EHR"), LATER + 5)

    assert (await due(index, LATER + 4), await due(index, LATER + 5)) == ([], ["EHR"])


async def test_nothing_is_due_when_nothing_waits(index: Index) -> None:
    assert await due(index) == []


async def test_the_backlog_says_what_a_receiver_lacks_and_why(index: Index) -> None:
    await put(index, ("EHR", b"1"), ("EHR", b"2"))
    await failed(index, await claim(index, "EHR"), LATER)

    (one,) = await index.ask(outbox.backlog)

    assert (one.receiver, one.entries, one.attempts, one.last_error) == ("EHR", 2, 1, "it is down")


@pytest.mark.parametrize("receivers", [1, 3])
async def test_all_receivers_that_wait_are_due(index: Index, receivers: int) -> None:
    names = [f"R{number}" for number in range(receivers)]
    await put(index, *((name, b"1") for name in names), *((name, b"2") for name in names))

    assert await due(index) == names
