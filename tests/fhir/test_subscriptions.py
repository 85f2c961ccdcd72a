"""Telling a subscriber what a resource is by then."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bfr_dicomweb.fhir.service import Fhir
from bfr_dicomweb.fhir.subscriptions import KIND, Subscriptions
from bfr_dicomweb.fhir.written import Written
from bfr_dicomweb.services import resources
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.dispatching import Entry
from fhir_served import BASE, SECRET, Shelf
from receivers import HttpReceiver


@pytest.fixture
async def archive(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Archive]:
    opened = await Archive.open(index_url=sqlite_url, data=tmp_path / "data")
    yield opened
    await opened.close()


@pytest.mark.parametrize(("is_gone", "told"), [(False, ["/in/Task/t1"]), (True, [])])
async def test_what_was_deleted_meanwhile_holds_up_nothing(
    archive: Archive, told: list[str], *, is_gone: bool
) -> None:
    tasks, written = Shelf("Task", "modified"), Written(archive, "Subscription")
    tasks.put({"id": "t1"})
    tasks.unavailable |= {"t1"} if is_gone else set()
    fhir = Fhir.of(archive, [tasks, written], secret=SECRET)
    with HttpReceiver() as receiver:
        subscription = {
            "resourceType": "Subscription",
            "status": "active",
            "reason": "r",
            "criteria": "Task?",
            "channel": {
                "type": "rest-hook",
                "endpoint": f"{receiver.url}/in",
                "payload": "application/fhir+json",
            },
        }
        await resources.write(archive.index, [written.post("s1", subscription, BASE)])
        subscriptions = Subscriptions(fhir, public_url=BASE)
        await subscriptions.deliver(an_entry("Subscription/s1", b"Task/t1"))
        await subscriptions.close()
        called = receiver.wait_for(lambda _: True, len(told))

    assert [one.path for one in called] == told


def an_entry(receiver: str, payload: bytes) -> Entry:
    return Entry(1, receiver, KIND, payload, 0)
