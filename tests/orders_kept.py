"""Messages about orders, given to the service that keeps them; a test names only what matters."""

import itertools
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import rows
from bfr_dicomweb.orders.events import (
    Coding,
    Contents,
    Demographics,
    Event,
    Facts,
    Kind,
    PatientFacts,
    PatientLink,
    Report,
    ReportStatus,
    Section,
)
from bfr_dicomweb.orders.identifiers import (
    PERSONNUMMER,
    VGR_RESERVE,
    Alias,
    AliasKind,
    Identifier,
)
from bfr_dicomweb.services.orders import Applied, Orders, RawMessage

EVIDIA = "urn:oid:1.2.752.113.99.7"
TOLVAN = Identifier(PERSONNUMMER, "191212121212")
OTHER = Identifier(PERSONNUMMER, "196408233234")
RESERVE = Identifier(VGR_RESERVE, "19810829M071")
EXAM1 = (Alias(AliasKind.ACCESSION, EVIDIA, "SU24000123"), Alias(AliasKind.GROUP, "", "REM1001"))
EXAM2 = (Alias(AliasKind.ACCESSION, EVIDIA, "SU24000124"), Alias(AliasKind.GROUP, "", "REM1001"))


def at(day: int, hour: int = 8) -> str:
    return f"2024-01-{day:02d}T{hour:02d}:00:00.000000Z"


def accession(value: str, system: str = EVIDIA) -> Alias:
    return Alias(AliasKind.ACCESSION, system, value)


def an_event(kind: Kind, day: int, *aliases: Alias, **values: Any) -> Event:
    told: dict[str, Any] = {
        "time": at(day),
        "source": "RIS",
        "control_id": f"{kind.value}{day}",
        "performer": "EVIDIA",
        "is_order": kind is Kind.RECEIVED,
    }
    return Event(kind=kind, aliases=aliases or EXAM1, **(told | values))


def a_report(day: int, text: str, *aliases: Alias, **values: Any) -> Event:
    status = values.pop("status", ReportStatus.FINAL)
    section = Section(Coding("18782-3", "http://loinc.org"), text, status)
    return an_event(Kind.REPORTED, day, *aliases, report=Report(status, (section,)), **values)


def of_patient(*identifiers: Identifier, day: int = 1, **demographics: str) -> PatientFacts:
    return PatientFacts(identifiers or (TOLVAN,), at(day), Demographics(**demographics))


def merged(survivor: Identifier, other: Identifier, day: int) -> PatientLink:
    return PatientLink(survivor, other, at(day))


def unmerged(survivor: Identifier, other: Identifier, day: int) -> PatientLink:
    return PatientLink(survivor, other, at(day), merged=False)


# Received, booked, started, performed, signed, added to; the second exam is cancelled.
LIFE: Sequence[tuple[Event, ...]] = (
    tuple(
        an_event(Kind.RECEIVED, 1, *exam, facts=Facts(authored=at(1), modality="CT"))
        for exam in (EXAM1, EXAM2)
    ),
    (an_event(Kind.BOOKED, 2, *EXAM1), an_event(Kind.BOOKED, 2, *EXAM2)),
    (an_event(Kind.STARTED, 3, *EXAM1),),
    (an_event(Kind.PERFORMED, 4, *EXAM1),),
    (a_report(5, "Utlåtande: u.a.", *EXAM1),),
    (a_report(6, "Tilläggssvar: 4 mm nodulus.", *EXAM1),),
    (an_event(Kind.CANCELLED, 7, *EXAM2),),
)


@dataclass
class Teller:
    """Gives messages to the service, as a door does."""

    index: Index
    orders: Orders
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def raw(self, **values: Any) -> RawMessage:
        number = next(self.numbers)
        told: dict[str, Any] = {
            "door": "mllp",
            "sender": "RIS",
            "control_id": f"C{number}",
            "type": "ORM^O01",
            "version": "2.5",
            "charset": "utf-8",
            "body": f"MSH|{number}".encode(),
            "profile": 0,
            "received_us": 1_700_000_000_000_000 + number,
        }
        return RawMessage(**(told | values))

    async def tell(
        self,
        *events: Event,
        patient: PatientFacts | None = None,
        raw: dict[str, Any] | None = None,
        **contents: Any,
    ) -> Applied:
        taken = await self.orders.take(self.raw(**(raw or {})))
        told = Contents(patient or of_patient(), events, **contents)
        return await self.orders.apply(taken, told, sender="RIS")

    async def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        found = await self.index.ask(lambda conn: rows(conn, sql, parameters))
        return [
            tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
            for row in found
        ]

    async def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that follows from what was told, without the ids."""
        selects = {
            "orders": "SELECT order_key, status, authored, modified, body FROM imaging_order",
            "exams": "SELECT place, status, coarse, performer, expected, body FROM exam",
            "reports": "SELECT report_key, status, issued, body FROM report",
            "aliases": "SELECT value, kind, system, exam_id > 0 FROM order_alias",
            "findings": "SELECT code, subject, resolved = '' FROM finding WHERE resolved = ''",
            "patients": "SELECT family, given, birth_date, gender, body FROM patient",
            "events": "SELECT digest, time, kind FROM order_event WHERE superseded = 0",
        }
        return {name: sorted(await self.rows(sql)) for name, sql in selects.items()}

    async def findings(self) -> list[str]:
        """Codes of the open findings."""
        found = await self.rows("SELECT code FROM finding WHERE resolved = ''")
        return sorted(code for (code,) in found)

    async def statuses(self) -> dict[str, str]:
        """By accession number."""
        found = await self.rows(
            "SELECT a.value, e.status FROM exam e JOIN order_alias a ON a.exam_id = e.id"
            " WHERE a.kind = 'accession'"
        )
        return {row[0]: row[1] for row in found}


@asynccontextmanager
async def telling(index: Index, **how: Any) -> AsyncIterator[Teller]:
    with tempfile.TemporaryDirectory() as folder:
        orders = Orders(index, Journal(Path(folder)), **how)
        await orders.open()
        try:
            yield Teller(index, orders)
        finally:
            await orders.close()
