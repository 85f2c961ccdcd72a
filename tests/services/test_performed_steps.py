"""Performed procedure steps are kept first and then told of exams, on both databases."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.errors import (
    Conflict,
    DifferentDuplicate,
    InvalidDataset,
    NotFound,
    Unavailable,
)
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import performed_steps, timeline
from bfr_dicomweb.services.orders import Applied, Orders
from hl7_said import m1
from modalities import a_scheduled_item, a_step, completed, discontinued, told
from objects import uid
from orders_kept import Teller, telling

SENDER = "CT1_SU"
STEP = "2.25.77"
TESTS = str(Path(__file__).resolve().parents[1])


@pytest.fixture
async def teller(index: Index) -> AsyncIterator[Teller]:
    async with telling(index) as opened:
        await told(opened.orders, m1())
        yield opened


async def create(teller: Teller, step: str = STEP, **values: str) -> str:
    dataset = a_step(**values).to_json_dict()
    return await performed_steps.create(
        teller.index, teller.orders, dataset, uid=step, sender=SENDER
    )


async def status(teller: Teller, accession: str = "SU24000123") -> str:
    (row,) = await timeline.exams_identified(teller.index, [(None, accession)])
    return row.exam.status.value


async def messages(teller: Teller) -> list[tuple[str, str, str]]:
    found = await teller.orders.messages(sender=SENDER)
    return [(one.type, one.control_id, one.state) for one in found]


async def test_what_a_modality_says_is_kept_as_messages(teller: Teller) -> None:
    await create(teller)
    await performed_steps.modify(
        teller.index, teller.orders, STEP, completed().to_json_dict(), sender=SENDER
    )

    assert await messages(teller) == [
        ("MPPS N-CREATE", STEP, "applied"),
        ("MPPS N-SET", f"{STEP}/1", "applied"),
    ]


async def test_a_step_is_told_of_its_exam(teller: Teller) -> None:
    await create(teller)

    assert await status(teller) == "started"


async def test_a_second_step_of_a_uid_is_a_duplicate(teller: Teller) -> None:
    await create(teller)

    with pytest.raises(DifferentDuplicate):
        await create(teller)


async def test_of_two_that_create_a_step_at_once_one_does(teller: Teller) -> None:
    results = await asyncio.gather(create(teller), create(teller), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["DifferentDuplicate", "str"]


async def test_of_two_that_end_a_step_at_once_one_does(teller: Teller) -> None:
    await create(teller)
    ends = [completed().to_json_dict(), discontinued().to_json_dict()]

    results = await asyncio.gather(
        *(
            performed_steps.modify(teller.index, teller.orders, STEP, end, sender=SENDER)
            for end in ends
        ),
        return_exceptions=True,
    )

    assert sorted(type(result).__name__ for result in results) == ["Conflict", "dict"]


async def test_what_breaks_a_rule_is_not_kept(teller: Teller) -> None:
    with pytest.raises(InvalidDataset):
        await create(teller, PerformedProcedureStepID="")

    assert await messages(teller) == []


async def test_what_is_refused_on_update_is_not_kept(teller: Teller) -> None:
    await create(teller)
    last = completed().to_json_dict()
    await performed_steps.modify(teller.index, teller.orders, STEP, last, sender=SENDER)

    with pytest.raises(Conflict):
        await performed_steps.modify(teller.index, teller.orders, STEP, last, sender=SENDER)

    assert len(await messages(teller)) == 2


async def test_a_step_that_nobody_created_is_not_found(teller: Teller) -> None:
    with pytest.raises(NotFound):
        await performed_steps.find(teller.index, STEP)


# --- a process that dies between the two commits ---------------------------------------------

DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import performed_steps
from bfr_dicomweb.services.orders import Orders
from modalities import {made}

class Dies(Orders):
    async def apply(self, *_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    index = await Index.open(sys.argv[1])
    orders = Dies(index, Journal(Path(sys.argv[2])))
    await orders.open()
    dataset = {made}().to_json_dict()
    await {call}

asyncio.run(main())
"""
CALLS = {
    "a_step": "performed_steps.create(index, orders, dataset, uid='2.25.77', sender='CT1_SU')",
    "completed": "performed_steps.modify(index, orders, '2.25.77', dataset, sender='CT1_SU')",
}


async def killed(url: str, made: str, folder: Path) -> None:
    """Another process that is killed after the first commit and before the second."""
    program = DIES.format(made=made, call=CALLS[made])
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, url, str(folder)],
        env={**os.environ, "PYTHONPATH": TESTS},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_a_step_of_a_killed_process_is_told_of_its_exam_once(
    teller: Teller, database_url: str, tmp_path: Path
) -> None:
    await killed(database_url, "a_step", tmp_path)
    before = await status(teller)

    recovered = [
        await performed_steps.recover(teller.index, teller.orders, grace_us=0) for _ in range(2)
    ]

    assert (before, recovered, await status(teller)) == ("received", [1, 0], "started")


async def test_an_end_of_a_killed_process_is_told_of_its_exam_later(
    teller: Teller, database_url: str, tmp_path: Path
) -> None:
    await create(teller)
    await killed(database_url, "completed", tmp_path)

    await performed_steps.recover(teller.index, teller.orders, grace_us=0)

    assert await status(teller) == "performed"


class Interrupted(Orders):
    """The catalogue is gone after the first commit."""

    async def apply(self, *_: Any, **__: Any) -> Applied:
        raise Unavailable("the catalogue was lost")


async def test_a_step_is_kept_before_it_is_told_of_its_exam(teller: Teller, tmp_path: Path) -> None:
    orders = Interrupted(teller.index, Journal(tmp_path))
    with pytest.raises(Unavailable):
        await create(replace(teller, orders=orders))

    step = await performed_steps.find(teller.index, STEP)
    assert (step["00400252"]["Value"], await status(teller)) == (["IN PROGRESS"], "received")


async def test_what_another_process_is_at_work_on_is_left_to_it(
    teller: Teller, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable):
        await create(replace(teller, orders=Interrupted(teller.index, Journal(tmp_path))))

    assert await performed_steps.recover(teller.index, teller.orders) == 0


async def test_messages_of_hl7_are_left_to_their_door(teller: Teller) -> None:
    await teller.orders.keep(teller.raw(received_us=1))

    assert await performed_steps.recover(teller.index, teller.orders, grace_us=0) == 0


async def test_a_wrong_entry_leaves_no_trace_in_the_status(teller: Teller) -> None:
    """Also when the exam had come further by an earlier step."""
    first = uid()
    await create(teller, first)
    for step, last in ((first, completed()), (STEP, discontinued("110514", "Wrong entry"))):
        if step == STEP:
            await create(teller)
        await performed_steps.modify(
            teller.index, teller.orders, step, last.to_json_dict(), sender=SENDER
        )

    assert await status(teller) == "performed"


async def test_two_steps_of_an_exam_perform_it_once(teller: Teller) -> None:
    steps = [await create(teller, uid()) for _ in range(2)]
    for step in steps:
        await performed_steps.modify(
            teller.index, teller.orders, step, completed().to_json_dict(), sender=SENDER
        )

    (row,) = await timeline.exams_identified(teller.index, [(None, "SU24000123")])
    kinds = [one.kind.value for one in row.exam.steps]
    assert kinds == ["received", "started", "started", "performed", "performed"]


async def test_what_nobody_ordered_is_found(teller: Teller) -> None:
    item = a_scheduled_item("", uid())
    dataset = a_step(item).to_json_dict()

    await performed_steps.create(teller.index, teller.orders, dataset, uid=STEP, sender=SENDER)

    assert await teller.findings() == ["report-or-exam-without-order"]
