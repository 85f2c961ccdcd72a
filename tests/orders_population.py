"""A catalogue with very many orders, written straight into its tables, for measurements.

Each patient has `ORDERS_EACH` orders, spread over the whole time, so that what belongs together
lies apart. The words of studies are not indexed: nothing here searches them.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
from sqlalchemy import make_url

from bfr_dicomweb.index.statements import insert
from bfr_dicomweb.orders import records
from bfr_dicomweb.orders.events import (
    Coding,
    Demographics,
    Event,
    Facts,
    Kind,
    Party,
    Report,
    ReportStatus,
    Section,
)
from bfr_dicomweb.orders.identifiers import HSA_ID, PERSONNUMMER, Alias, AliasKind, Identifier
from bfr_dicomweb.orders.state import (
    COARSE,
    DocumentVersion,
    Exam,
    Milestone,
    Order,
    ReportVersion,
    Status,
    Step,
)
from bfr_dicomweb.orders.state import Report as FoldedReport
from catalogue_objects import data_set

ORDERS_EACH: Final = 40
# Studies are stored of every fourth patient.
STORED_EACH: Final = 4
SERIES_EACH: Final = 2
_AT_ONCE: Final = 20_000
_BEGIN: Final = datetime(2008, 1, 1, tzinfo=UTC)
_PERFORMERS: Final = ("EVIDIA", "UNILABS", "SU", "FTV")
_MODALITIES: Final = ("CT", "MR", "US", "DX")
_STATUSES: Final = (*(Status.SIGNED,) * 6, Status.ADDENDUM, Status.PERFORMED, Status.BOOKED)
_SYSTEM: Final = "urn:oid:1.2.752.113.99.7"
_TEXT: Final = "Utlåtande: normala förhållanden utan hållpunkter för akut förändring. " * 8

_COLUMNS: Final = {
    "patient": "id root_id family given birth_date gender change modified_us body",
    "patient_identifier": "value system patient_id",
    "imaging_order": "id patient_id order_key status authored modified change changed_us body",
    "exam": "id order_id place patient_id status coarse performer modality modified authored"
    " expected studies change changed_us body",
    "order_alias": "value kind system patient_id order_id exam_id",
    "order_event": "number recorded_us message digest time kind source own_patient_id patient_id"
    " order_id exam_id superseded body",
    "report": "id patient_id report_key identifier performer status issued change changed_us body",
    "report_exam": "exam_id report_id order_id",
    "study_exam": "study_instance_uid exam_id rung study_id patient_id change",
    "finding": "id finding_key code severity subject detail performer patient_id order_id exam_id"
    " study_instance_uid message raised resolved change changed_us",
    "study": "id study_instance_uid study_date study_time accession_number patient_id modalities"
    " sop_classes number_of_series number_of_instances change",
    "study_attributes": "study_id attributes",
    "study_term": "kind value study_date study_time study_instance_uid study_id",
    "series": "id study_id series_instance_uid series_number modality number_of_instances change",
    "series_attributes": "series_id study_id attributes",
}
Rows = dict[str, list[tuple[Any, ...]]]


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _facts(modality: str) -> Facts:
    unit = Party(Identifier(HSA_ID, "SE2321000131-E000000000011"), name="VC Hjällbo")
    return Facts(
        authored="@authored",
        procedure=Coding("83300", "urn:oid:1.2.752.116.1.3.2.1.4", "CT Thorax"),
        modality=modality,
        scheduled_start="@modified",
        priority="routine",
        reason="Långvarig hosta",
        requester=Party(
            Identifier(HSA_ID, "SE2321000131-P000000000001"), family="Remittent", given="Rut"
        ),
        requesting_unit=unit,
    )


def _exam(status: Status, performer: str, modality: str) -> bytes:
    kinds = (Kind.RECEIVED, Kind.BOOKED, Kind.STARTED, Kind.PERFORMED, Kind.REPORTED)
    steps = tuple(
        Step("@modified", kind, status, performer, performer, (("ORC-5", "CM"),), f"@{n}" * 32)
        for n, kind in enumerate(kinds)
    )
    kinds_of_alias = (
        AliasKind.ACCESSION,
        AliasKind.FILLER,
        AliasKind.PLACER,
        AliasKind.PROCEDURE,
        AliasKind.STEP,
    )
    aliases = tuple(Alias(kind, _SYSTEM, "@accession") for kind in kinds_of_alias)
    return records.dumps(
        Exam(
            aliases, status, steps, _facts(modality), performer, "@modified", performed="@modified"
        )
    )


def _order(status: Status, modality: str, exams: int) -> bytes:
    places = tuple(range(exams))
    milestones = tuple(
        Milestone("@modified", place, status, "@0" * 32) for place in places for _ in range(4)
    )
    documents = tuple(DocumentVersion(n, "@modified", n, "final") for n in range(1, 5))
    key = Alias(AliasKind.GROUP, "", "@key")
    return records.dumps(
        Order(
            key, status, "@authored", "@modified", _facts(modality), places, milestones, documents
        )
    )


def _report(performer: str, exams: int) -> bytes:
    section = Section(Coding("18782-3", "http://loinc.org", "Radiology Study observation"), _TEXT)
    version = ReportVersion("@modified", "final", (section,), (), None, ("@digest",), (performer,))
    addition = replace(version, status="appended", digests=("@other",), is_addition=True)
    return records.dumps(
        FoldedReport(
            "@accession",
            "@accession",
            performer,
            "appended",
            (version, addition),
            tuple(range(exams)),
        )
    )


def _event(kind: Kind, performer: str) -> bytes:
    aliases = (Alias(AliasKind.ACCESSION, _SYSTEM, "@accession"),)
    report = None
    if kind is Kind.REPORTED:
        report = Report(ReportStatus.FINAL, (Section(Coding("18782-3"), _TEXT),))
    return records.dumps(
        Event(kind, "@modified", performer, "@accession", aliases, performer, report=report)
    )


class _Templates:
    """Bodies, made once and filled in for each row."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], bytes] = {}

    def filled(self, make: Callable[..., bytes], *of: Any, **values: str) -> bytes:
        key = (make, *of)
        body = self._made.get(key)
        if body is None:
            body = self._made[key] = make(*of)
        for name, value in values.items():
            body = body.replace(b"@" + name.encode(), value.encode())
        return body


@dataclass(slots=True)
class _Maker:
    orders: int
    numbers: Iterator[int]
    templates: _Templates

    def patients(self) -> Rows:
        made: Rows = {"patient": [], "patient_identifier": []}
        body = records.dumps(Demographics("Andersson", "Anna", "1950-01-01", "female"))
        for at in range(patients(self.orders)):
            key = next(self.numbers)
            family = f"andersson{at % 1000:03}"
            made["patient"].append((key, key, family, "anna", "1950-01-01", "female", key, 0, body))
            made["patient_identifier"].append((identity(at), PERSONNUMMER, key))
        return made

    def order(self, made: Rows, at: int) -> None:
        """Add order `at` with all that belongs to it."""
        holder = at % patients(self.orders)
        patient = holder + 1
        status, performer = _STATUSES[at % len(_STATUSES)], _PERFORMERS[at // 7 % 4]
        modality = _MODALITIES[at // 5 % 4]
        moment = _BEGIN + timedelta(minutes=9 * at)
        authored, modified = _text(moment), _text(moment + timedelta(days=3))
        key, exams = f"REM{at:08}", 1 + (at % 3 == 0)
        order_id = next(self.numbers)
        body = self.templates.filled(
            _order, status, modality, exams, authored=authored, modified=modified, key=key
        )
        made["imaging_order"].append(
            (order_id, patient, f"group||{key}", status, authored, modified, order_id, 0, body)
        )
        made["order_alias"].append((key, "group", "", patient, order_id, 0))
        exam_ids = []
        for place in range(exams):
            exam_id = next(self.numbers)
            exam_ids.append(exam_id)
            accession = f"SU{at:08}-{place}"
            body = self.templates.filled(
                *(_exam, status, performer, modality),
                authored=authored, modified=modified, accession=accession,
            )  # fmt: skip
            coarse = COARSE[status]
            made["exam"].append(
                (
                    *(exam_id, order_id, place, patient, status, coarse or "", performer),
                    *(modality, modified, authored, "", 1, exam_id, 0, body),
                )
            )
            for kind in ("accession", "placer", "step"):
                made["order_alias"].append((accession, kind, _SYSTEM, patient, order_id, exam_id))
            self._events(made, patient, order_id, exam_id, accession, modified, performer)
            self._study(made, holder, exam_id, accession, moment, modality)
        if status in (Status.SIGNED, Status.ADDENDUM):
            self._report(made, patient, order_id, exam_ids, key, modified, performer)
        if at % 50 == 0:
            number = next(self.numbers)
            made["finding"].append(
                (
                    *(number, f"f{number}", "unmapped-status", "low", "", "ZZ", performer),
                    *(patient, order_id, exam_ids[0], "", 0, modified, "", number, 0),
                )
            )

    def _events(
        self, made: Rows, patient: int, order: int, exam: int, accession: str, time: str, by: str
    ) -> None:
        for kind in (Kind.RECEIVED, Kind.PERFORMED, Kind.REPORTED):
            body = self.templates.filled(_event, kind, by, accession=accession, modified=time)
            number = next(self.numbers)
            made["order_event"].append(
                (
                    *(number, 0, 0, digest_of(exam, kind), time, kind, by),
                    *(patient, patient, order, exam, 0, body),
                )
            )

    def _report(
        self, made: Rows, patient: int, order: int, exams: list[int], key: str, time: str, by: str
    ) -> None:
        report = next(self.numbers)
        digest = digest_of(exams[0], Kind.REPORTED)
        body = self.templates.filled(
            *(_report, by, len(exams)),
            modified=time, accession=key, digest=digest, other=digest[::-1],
        )  # fmt: skip
        made["report"].append((report, patient, key, key, by, "appended", time, report, 0, body))
        made["report_exam"] += [(exam, report, order) for exam in exams]

    def _study(
        self, made: Rows, holder: int, exam: int, accession: str, moment: datetime, modality: str
    ) -> None:
        uid = f"2.25.{exam}"
        stored = holder % STORED_EACH == 0
        made["study_exam"].append((uid, exam, 1, exam if stored else 0, holder + 1, exam))
        if not stored:
            return
        date, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")
        patient = identity(holder)
        held = f"\x1f{modality}\x1f"
        made["study"].append(
            (exam, uid, date, time, accession, patient, held, "", SERIES_EACH, 10, exam)
        )
        attributes = data_set(
            StudyDate=date, StudyTime=time, PatientID=patient, AccessionNumber=accession,
            PatientName="Andersson^Anna", StudyDescription="CT Thorax", StudyInstanceUID=uid,
        )  # fmt: skip
        made["study_attributes"].append((exam, orjson.dumps(attributes)))
        for kind, value in ((1, modality), (3, patient), (4, accession)):
            made["study_term"].append((kind, value, date, time, uid, exam))
        for number in range(SERIES_EACH):
            series = exam * SERIES_EACH + number
            made["series"].append((series, exam, f"{uid}.{number}", number, modality, 5, exam))
            own = {"00080060": {"vr": "CS", "Value": [modality]}}
            made["series_attributes"].append((series, exam, orjson.dumps(own)))


def patients(orders: int) -> int:
    return max(1, orders // ORDERS_EACH)


def identity(at: int) -> str:
    """What the patient at this place is called."""
    return f"P{at:07}"


def digest_of(exam: int, kind: Kind) -> str:
    return f"{exam:060x}{kind.value[:4].encode().hex()[:4]}"


def _chunks(orders: int) -> Iterator[Rows]:
    maker = _Maker(orders, count(1), _Templates())
    yield maker.patients()
    for start in range(0, orders, _AT_ONCE):
        made: Rows = {table: [] for table in _COLUMNS}
        for at in range(start, min(start + _AT_ONCE, orders)):
            maker.order(made, at)
        yield made
    yield {"counter": [(last := next(maker.numbers), last * SERIES_EACH + SERIES_EACH)]}


async def fill(url: str, orders: int) -> None:
    """Fill a migrated, empty catalogue."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        await asyncio.to_thread(_fill_sqlite, Path(parsed.database or ""), orders)
    else:
        await _fill_postgresql(url, orders)


_COUNTER: Final = "UPDATE counter SET study = {0}, series = {1}, change = {0}"


def _fill_sqlite(path: Path, orders: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for pragma in ("synchronous = OFF", "cache_size = -262144", "foreign_keys = OFF"):
            raw.execute(f"PRAGMA {pragma}")
        raw.execute("PRAGMA journal_mode = OFF").fetchall()
        indexes = raw.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''"
        ).fetchall()
        triggers = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in indexes:
            raw.execute(f"DROP INDEX {name}")
        for (name,) in triggers:
            raw.execute(f"DROP TRIGGER {name}")
        for made in _chunks(orders):
            raw.execute("BEGIN")
            for table, rows in made.items():
                if table == "counter":
                    raw.execute(_COUNTER.format(*rows[0]))
                else:
                    raw.executemany(insert(table, _COLUMNS[table].split()), rows)
            raw.execute("COMMIT")
        for _, sql in indexes:
            raw.execute(sql)
        raw.execute("PRAGMA journal_mode = WAL").fetchall()


async def _fill_postgresql(url: str, orders: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        indexes = await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
        )
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['indexname']}")
        for made in _chunks(orders):
            for table, rows in made.items():
                if table == "counter":
                    await connection.execute(_COUNTER.format(*rows[0]))
                else:
                    await connection.copy_records_to_table(
                        table, records=rows, columns=_COLUMNS[table].split()
                    )
        for index in indexes:
            if index["indexname"] != "study_text":
                await connection.execute(index["indexdef"])
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
