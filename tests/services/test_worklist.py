"""Workitems by their service: retention, locks, origins, and events that nobody takes."""

import asyncio

import pytest

from bfr_dicomweb.errors import Gone
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import event_channels, worklist
from bfr_dicomweb.services.event_channels import Channel, EventChannels, Overrun
from workitems_said import a_workitem, new_uid, performed, text

NOW = 0.0


async def all_of(channel: Channel) -> None:
    while True:
        await asyncio.wait_for(channel.next(), 5)


async def created(index: Index, **attributes: object) -> str:
    kept = await worklist.create(index, a_workitem(**attributes), uid=new_uid())  # type: ignore[arg-type]
    return kept.uid


async def completed(index: Index) -> str:
    uid = await created(index)
    for state in ("IN PROGRESS", "COMPLETED"):
        await worklist.change_state(index, uid, state, transaction_uid="2.25.1")
        if state == "IN PROGRESS":
            await worklist.update(index, uid, performed(), transaction_uid="2.25.1")
    return uid


async def test_ups_80_what_is_over_is_deleted_and_gone(index: Index) -> None:
    uid = await completed(index)
    assert await worklist.delete_ended(index, after_days=NOW) == 1
    with pytest.raises(Gone):
        await worklist.retrieve(index, uid)


async def test_what_is_not_over_is_not_deleted(index: Index) -> None:
    await created(index)
    assert await worklist.delete_ended(index, after_days=NOW) == 0


async def test_what_has_just_ended_is_kept_for_a_time(index: Index) -> None:
    await completed(index)
    assert await worklist.delete_ended(index, after_days=1) == 0


async def test_a_deleted_workitem_is_not_found_by_a_search(index: Index) -> None:
    await completed(index)
    await worklist.delete_ended(index, after_days=NOW)
    found = await worklist.stretch(index, ())
    assert found.workitems == []


@pytest.mark.parametrize("target", ["itself", worklist.WORKLIST])
async def test_ups_75_a_lock_keeps_it_until_it_is_removed(index: Index, target: str) -> None:
    uid = await completed(index)
    locked = uid if target == "itself" else target
    await worklist.subscribe(index, locked, "READER", locks=True)
    assert await worklist.delete_ended(index, after_days=NOW) == 0
    await worklist.unsubscribe(index, locked, "READER")
    assert await worklist.delete_ended(index, after_days=NOW) == 1


async def test_who_subscribes_again_without_a_lock_has_none(index: Index) -> None:
    uid = await completed(index)
    for locks in (True, False):
        await worklist.subscribe(index, uid, "READER", locks=locks)
    assert await worklist.delete_ended(index, after_days=NOW) == 1


async def test_a_suspended_lock_holds_what_was_here(index: Index) -> None:
    await completed(index)
    await worklist.subscribe(index, worklist.WORKLIST, "READER", locks=True)
    await worklist.suspend(index, worklist.WORKLIST, "READER")
    later = await completed(index)
    assert await worklist.delete_ended(index, after_days=NOW) == 1
    with pytest.raises(Gone):
        await worklist.retrieve(index, later)


async def test_an_origin_is_made_into_one_workitem(index: Index) -> None:
    made = await asyncio.gather(
        *(
            worklist.create(index, a_workitem(), uid=new_uid(), origin="rule|study/1")
            for _ in range(20)
        )
    )
    assert len({kept.uid for kept in made}) == 1


async def test_forgotten_events_are_not_told(index: Index) -> None:
    uid = await created(index)
    await worklist.subscribe(index, uid, "READER", locks=False)
    await worklist.forget_events(index, after_days=NOW)
    channels = EventChannels(index)
    await channels.start()
    async with channels.opened("READER") as channel:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.next(), 0.3)
    await channels.stop()


async def test_who_does_not_take_its_events_is_cut_off(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_channels, "BACKLOG", 5)
    uid = await created(index)
    await worklist.subscribe(index, uid, "READER", locks=False)
    channels = EventChannels(index)
    await channels.start()
    async with channels.opened("READER") as channel:
        await channel.next()
        for number in range(10):
            change = {"00404041": text("CS", "READY" if number % 2 else "INCOMPLETE")}
            await worklist.update(index, uid, change)
        channels.wake()
        await asyncio.sleep(0.5)
        with pytest.raises(Overrun):
            await all_of(channel)
    await channels.stop()


async def test_nobody_waits_for_who_does_not_take_its_events(index: Index) -> None:
    uid = await created(index)
    for aet in ("SLOW", "QUICK"):
        await worklist.subscribe(index, uid, aet, locks=False)
    channels = EventChannels(index)
    await channels.start()
    async with channels.opened("SLOW"), channels.opened("QUICK") as quick:
        assert (await asyncio.wait_for(quick.next(), 5)).uid == uid
        await worklist.update(index, uid, {"00404041": text("CS", "INCOMPLETE")})
        channels.wake()
        assert (await asyncio.wait_for(quick.next(), 5)).uid == uid
    await channels.stop()
