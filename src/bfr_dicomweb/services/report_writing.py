"""Reports that came without a DICOM document of their own get one, cumulative, in their study.

A viewer that knows nothing but DICOM then shows what a reader must see: the newest document holds
every version that is in force, the newest first, and names the documents that it replaces.
"""

import asyncio
import hashlib
import multiprocessing
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone, tzinfo
from functools import partial
from typing import Any, Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import orjson

from bfr_dicomweb.dicom import report_writing
from bfr_dicomweb.dicom.attributes import first_text
from bfr_dicomweb.dicom.matching import offset_minutes
from bfr_dicomweb.dicom.report_writing import (
    ADDENDUM,
    FINDINGS,
    HEADINGS,
    Draft,
    Part,
    Predecessor,
    RequestedProcedure,
    Verified,
)
from bfr_dicomweb.dicom.structured_report import ENHANCED, REPORT_CLASSES, Code, Number, Person
from bfr_dicomweb.errors import DifferentDuplicate, Gone, NotFound, Unavailable
from bfr_dicomweb.index import instances, report_documents, studies, tombstones
from bfr_dicomweb.orders import composing
from bfr_dicomweb.orders.events import Party, ReportStatus, Section
from bfr_dicomweb.orders.identifiers import HSA_ID, NAMESPACE, AliasKind, Identifier
from bfr_dicomweb.orders.state import Exam, Report, ReportVersion
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.store import Expected, Outcome, StoreResult

LOCAL: Final = ZoneInfo("Europe/Stockholm")
# Of the first version. High, so that the numbers of the modalities are free.
FIRST_SERIES_NUMBER: Final = 9001
WRITE_SECONDS: Final = 60.0
# How long the process that writes is kept for the next report: it takes seconds to start.
IDLE_SECONDS: Final = 20.0

_SIGNED: Final = frozenset(
    {
        ReportStatus.FINAL,
        ReportStatus.ADDENDUM,
        ReportStatus.CORRECTED,
        ReportStatus.PROMOTED,
        ReportStatus.WITHDRAWN,
    }
)
_LOINC: Final = "http://loinc.org"


@dataclass(frozen=True, slots=True)
class Written:
    """Where the document of one version stands; the same for the same texts in the same study."""

    ref: Ref
    series_number: int


def producer_sends_sr(version: ReportVersion, *, own_sr: bool = False) -> bool:
    """Whether the producer's own document makes ours superfluous.

    Args:
        own_sr: The sender is configured to send its own, which may still be on its way.
    """
    return own_sr or bool(version.sop_instance_uids)


def place_of(report: Report, study_instance_uid: str, ordinal: int) -> Written:
    """Args:
    ordinal: Of the version among those of the report, from 1.
    """
    # Not by events: a rendition that arrives later makes no new document.
    texts = [[v.kind, " ".join(v.text.split())] for v in report.versions[:ordinal]]
    told = [study_instance_uid, report.key, texts]
    digest = hashlib.sha256(orjson.dumps(told)).digest()
    instance = f"2.25.{int.from_bytes(digest[:16])}"
    series = f"2.25.{int.from_bytes(digest[16:])}"
    return Written(Ref(study_instance_uid, series, instance), FIRST_SERIES_NUMBER + ordinal - 1)


class WritingProcess:
    """Makes documents in a process that ends when there is nothing to make."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._busy = 0

    def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    async def make(self, draft: Draft) -> bytes:
        """Raises Unavailable: it took too long, or the process ended."""
        if self._pool is None:
            # spawned: forking a process with threads and open databases is not safe
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context)
        pool, loop = self._pool, asyncio.get_running_loop()
        if self._ending is not None:
            self._ending.cancel()
        self._busy += 1
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                return await loop.run_in_executor(pool, report_writing.write, draft)
        except (BrokenProcessPool, TimeoutError):
            if self._pool is pool:
                self._pool = None
            pool.shutdown(wait=False, cancel_futures=True)
            raise Unavailable("the report could not be written") from None
        finally:
            self._busy -= 1
            if not self._busy:
                self._ending = loop.call_later(IDLE_SECONDS, self._end)

    def _end(self) -> None:
        if self._busy or self._pool is None:
            return
        pool, self._pool = self._pool, None
        pool.shutdown(wait=False)


class ReportWriter:
    """Writes the reports of one archive into it."""

    def __init__(self, archive: Archive, process: WritingProcess | None = None) -> None:
        self._archive = archive
        self._process = process or WritingProcess()

    def close(self) -> None:
        self._process.close()

    async def write_missing(
        self,
        report: Report,
        study_instance_uid: str,
        *,
        exams: Sequence[Exam] = (),
        own_sr: bool = False,
    ) -> list[StoreResult]:
        """Write a document for each version that has none, the oldest first.

        Raises:
            NotFound: nothing of the study is stored yet.
            Unavailable: it cannot be written now.
        """
        results = []
        for ordinal, version in enumerate(report.versions, 1):
            wanted = version.kind != ReportStatus.REGISTERED
            if wanted and not producer_sends_sr(version, own_sr=own_sr):
                results.append(
                    await self.write(report, study_instance_uid, ordinal=ordinal, exams=exams)
                )
        return results

    async def write(
        self,
        report: Report,
        study_instance_uid: str,
        *,
        ordinal: int | None = None,
        exams: Sequence[Exam] = (),
        zone: tzinfo = LOCAL,
    ) -> StoreResult:
        """Store the document of one version; DUPLICATE when it is stored already.

        A document that somebody has deleted is not written again, and the result says Gone, unless
        its whole study was deleted and has come back.

        Args:
            ordinal: Of the version, from 1; None is the newest.
            exams: That the report answers, for Referenced Request Sequence.
            zone: Of the dates and times, when the study tells none.

        Raises:
            NotFound: nothing of the study is stored yet.
            Unavailable: it cannot be written now.
        """
        ordinal = len(report.versions) if ordinal is None else ordinal
        place = place_of(report, study_instance_uid, ordinal)
        index = self._archive.index
        if await index.ask(partial(instances.locate, ref=place.ref)) is not None:
            return StoreResult(
                Outcome.DUPLICATE, place.ref, ENHANCED, place.ref.sop_instance_uid or ""
            )
        grave = await index.ask(partial(tombstones.find, ref=place.ref))
        if grave is not None and not grave.with_study:
            gone = Gone("the document has been deleted")
            uid = place.ref.sop_instance_uid or ""
            return StoreResult(Outcome.REFUSED, place.ref, ENHANCED, uid, (), gone)
        study = await index.ask(partial(studies.find, study_instance_uid=study_instance_uid))
        if study is None:
            raise NotFound("nothing of the study is stored yet")
        stored = {**study.attributes, "0020000D": {"vr": "UI", "Value": [study_instance_uid]}}
        upto = replace(report, versions=report.versions[:ordinal])
        predecessors = await self._predecessors(upto, study_instance_uid)
        draft = _draft(upto, place, stored, exams, predecessors, zone)
        document = await self._process.make(draft)
        if await index.ask(partial(studies.find, study_instance_uid=study_instance_uid)) is None:
            raise NotFound("the study was deleted meanwhile")
        result = await self._store(document, study_instance_uid)
        if isinstance(result.error, DifferentDuplicate):
            # another process was faster, and knew the study when it said something else of it
            return replace(result, outcome=Outcome.DUPLICATE, error=None)
        return result

    async def _predecessors(self, report: Report, study_instance_uid: str) -> list[Predecessor]:
        """The stored documents of the earlier versions, whoever wrote them."""
        uids: list[str] = []
        for ordinal, version in enumerate(report.versions[:-1], 1):
            own = place_of(report, study_instance_uid, ordinal).ref.sop_instance_uid
            uids += [*version.sop_instance_uids, own or ""]
        found = await self._archive.index.ask(
            partial(report_documents.among, sop_instance_uids=uids, sop_classes=REPORT_CLASSES)
        )
        by_uid = {stored.ref.sop_instance_uid: stored for stored in found}
        return [
            Predecessor(
                stored.sop_class_uid,
                stored.ref.study_instance_uid,
                stored.ref.series_instance_uid or "",
                uid,
            )
            for uid in uids
            if (stored := by_uid.get(uid)) is not None
        ]

    async def _store(self, document: bytes, study_instance_uid: str) -> StoreResult:
        receiving = self._archive.store.receive(Expected(study_instance_uid))
        await receiving.write(document)
        return await (await receiving.finish())


async def write_report(
    archive: Archive, report: Report, study_instance_uid: str, **options: Any
) -> StoreResult:
    """As `ReportWriter.write`, with a process for this report alone."""
    writer = ReportWriter(archive)
    try:
        return await writer.write(report, study_instance_uid, **options)
    finally:
        await asyncio.to_thread(writer.close)


# --- what the document says ------------------------------------------------------------------


def _draft(
    report: Report,
    place: Written,
    study: dict[str, Any],
    exams: Sequence[Exam],
    predecessors: Sequence[Predecessor],
    zone: tzinfo,
) -> Draft:
    newest = report.versions[-1]
    minutes = offset_minutes(first_text(study, "00080201"))
    own_zone = zone if minutes is None else timezone(timedelta(minutes=minutes))
    at = datetime.fromisoformat(newest.time).astimezone(own_zone)
    return Draft(
        study=study,
        series_instance_uid=place.ref.series_instance_uid or "",
        sop_instance_uid=place.ref.sop_instance_uid or "",
        series_number=place.series_number,
        series_description=_description(newest, exams, own_zone),
        content_date=at.strftime("%Y%m%d"),
        content_time=at.strftime("%H%M%S.%f"),
        parts=[part for version in composing.in_force(report) for part in _parts(report, version)],
        is_complete=newest.kind != ReportStatus.PARTIAL,
        is_final=newest.kind in _SIGNED,
        verified=_verified(newest, _unit(exams, report)),
        predecessors=predecessors,
        requests=[_request(exam) for exam in exams],
    )


def _offset_time(time: str, zone: tzinfo) -> str:
    return datetime.fromisoformat(time).astimezone(zone).strftime("%Y%m%d%H%M%S%z")


def _parts(report: Report, version: ReportVersion) -> Iterable[Part]:
    """The version's sections, with its head in the first."""
    time = _offset_time(version.time, LOCAL)
    usual = ADDENDUM if version.kind == ReportStatus.ADDENDUM else FINDINGS
    if usual is ADDENDUM or not _are_headed(version.sections):
        yield Part(usual, _text(report, version), time)
        return
    first, *others = version.sections
    yield Part(HEADINGS[first.code.code], _text(report, replace(version, sections=(first,))), time)
    for section in others:
        yield Part(HEADINGS[section.code.code], section.text, time)


def _are_headed(sections: Collection[Section]) -> bool:
    return len(sections) > 1 and all(
        section.code.system == _LOINC and section.code.code in HEADINGS and section.text.strip()
        for section in sections
    )


def _text(report: Report, version: ReportVersion) -> str:
    return composing.report_text(replace(report, versions=(version,)))


def _description(version: ReportVersion, exams: Sequence[Exam], zone: tzinfo) -> str:
    at = datetime.fromisoformat(version.time).astimezone(zone).strftime("%Y-%m-%d %H:%M")
    head = "Tilläggssvar" if version.kind == ReportStatus.ADDENDUM else "Svar"
    procedures = [
        exam.facts.procedure.display or exam.facts.procedure.code
        for exam in exams
        if exam.facts.procedure is not None
    ]
    return " ".join([head, at, *procedures])[:64]


def _unit(exams: Sequence[Exam], report: Report) -> str:
    for exam in exams:
        if exam.facts.performing_unit is not None and exam.facts.performing_unit.name:
            return exam.facts.performing_unit.name
    return report.performer


def _verified(version: ReportVersion, unit: str) -> Verified | None:
    """Who signed. Without a name nobody has: the flag then stays UNVERIFIED."""
    signer = version.signer
    if signer is None or version.kind not in _SIGNED:
        return None
    family = signer.family or signer.name
    if not family and not signer.given:
        return None
    return Verified(
        by=Person(family, signer.given),
        organization=unit or signer.name or "-",
        time=_offset_time(version.time, LOCAL),
        identification=_identification(signer),
    )


def _identification(signer: Party) -> Code | None:
    known = signer.identifier
    if known is None or known.system != HSA_ID:
        return None
    return Code(known.value, "99HSA", composing.signer_name(signer))


def _request(exam: Exam) -> RequestedProcedure:
    procedure = exam.facts.procedure
    return RequestedProcedure(
        accession=_number(exam, AliasKind.ACCESSION),
        placer=_number(exam, AliasKind.PLACER),
        filler=_number(exam, AliasKind.FILLER),
        requested_procedure_id=next(iter(exam.values(AliasKind.PROCEDURE)), ""),
        description=(procedure.display or procedure.code) if procedure else "",
    )


def _number(exam: Exam, kind: AliasKind) -> Number | None:
    """The identifier whose assigner is known, if one is."""
    found = [alias.identifier for alias in exam.aliases if alias.kind == kind]
    if not found:
        return None
    return _of_assigner(next((one for one in found if one.system), found[0]))


def _of_assigner(identifier: Identifier) -> Number:
    system = identifier.system
    if system.startswith(NAMESPACE):
        return Number(identifier.value, namespace=unquote(system.removeprefix(NAMESPACE)))
    return Number(identifier.value, universal_id=system.removeprefix("urn:oid:"))
