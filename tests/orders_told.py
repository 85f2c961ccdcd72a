"""A catalogue that is told of orders and stores studies, without a door and without a network."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.index import instances
from bfr_dicomweb.index.changes import now_us
from bfr_dicomweb.orders.events import Attachment, Contents, Demographics, Event, PatientFacts
from bfr_dicomweb.orders.identifiers import PERSONNUMMER, Identifier
from bfr_dicomweb.services import linking
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.orders import Orders, RawMessage
from catalogue_objects import a_new_instance
from orders_said import m1, m2, m3, m4, m5, m6, m7, utc

TOLVAN = Identifier(PERSONNUMMER, "191212121212")
OTHER = Identifier(PERSONNUMMER, "196109732393")
UID = "1.2.752.113.99.1.1"
MESSAGE = b"MSH|^~\\&|EHR|VGR\r"


@dataclass
class Registry:
    archive: Archive
    orders: Orders

    async def told(
        self,
        *messages: Sequence[Event],
        of: Identifier = TOLVAN,
        attachments: tuple[tuple[Attachment, bytes], ...] = (),
    ) -> int:
        """Each as a message; gives the number of the last one."""
        number = 0
        for events in messages:
            contents = _contents(events, of, attachments)
            at = now_us()
            raw = RawMessage("mllp", "EHR", "1", "OMI^O23", "2.5.1", "UTF-8", MESSAGE, 0, at)
            number = await self.orders.keep(raw)
            await self.orders.apply(number, contents, sender="EHR", received_us=at)
        return number

    async def read_anew(self, number: int, events: Sequence[Event]) -> None:
        contents = _contents(events, TOLVAN, ())
        await self.orders.replace(number, contents, sender="EHR", received_us=now_us())

    async def story(self) -> None:
        await self.told(m1(), m2(), m3(), m4(), m5(), m6(), m7())

    async def stored(self, uid: str = UID, **attributes: Any) -> None:
        said = {"PatientID": TOLVAN.value, "StudyDate": "20240110", "StudyTime": "092500"}
        new = instances.prepare(a_new_instance(uid, **(said | attributes)))
        await self.archive.index.transact(lambda conn: instances.add_instances(conn, [new]))
        await linking.link(self.archive.index, [uid])


@asynccontextmanager
async def opened(url: str, data: Path) -> AsyncIterator[Registry]:
    archive = await Archive.open(index_url=url, data=data)
    orders = Orders(archive.index, Journal(data))
    await orders.open()
    yield Registry(archive, orders)
    await orders.close()
    await archive.close()


def _contents(
    events: Sequence[Event], of: Identifier, attachments: tuple[tuple[Attachment, bytes], ...]
) -> Contents:
    known = PatientFacts((of,), utc("2024-01-01T08:00"), Demographics(family="Tolvansson"))
    return Contents(known, tuple(events), attachments=attachments)
