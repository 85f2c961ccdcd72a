"""Reports that arrive as structured reports: what they say of exams, as events."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
import zstandard

from bfr_dicomweb.dicom import structured_report
from bfr_dicomweb.dicom.attributes import Attributes
from bfr_dicomweb.dicom.report_writing import MANUFACTURER, MODEL
from bfr_dicomweb.dicom.structured_report import Code, Number, Observer, ReadReport
from bfr_dicomweb.errors import InvalidObject
from bfr_dicomweb.index import report_documents as stored_documents
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.report_documents import StoredDocument
from bfr_dicomweb.orders.events import Coding, Event, Kind, Party, Report, ReportStatus, Section
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind, of_unit, system_of
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import coded_concepts

SOURCE: Final = "dicom"
LOCAL: Final = ZoneInfo("Europe/Stockholm")


@dataclass(frozen=True, slots=True)
class FoundReport:
    """A stored report; `change` is that by which it was stored."""

    ref: Ref
    change: int
    attributes: dict[str, Any]
    read: ReadReport


async def new_reports(
    index: Index, study_instance_uid: str, *, after: int = 0
) -> list[FoundReport]:
    """The reports of a study that were stored after a change, and were not written here."""
    found = await index.ask(
        partial(
            stored_documents.of_study,
            study_instance_uid=study_instance_uid,
            sop_classes=structured_report.REPORT_CLASSES,
            after=after,
        )
    )
    return await asyncio.to_thread(_reports, found)


async def reports_among(index: Index, sop_instance_uids: Collection[str]) -> list[FoundReport]:
    """Which of these instances are reports that were not written here."""
    if not sop_instance_uids:
        return []
    found = await index.ask(
        partial(
            stored_documents.among,
            sop_instance_uids=sop_instance_uids,
            sop_classes=structured_report.REPORT_CLASSES,
        )
    )
    return await asyncio.to_thread(_reports, found)


def _reports(found: Sequence[StoredDocument]) -> list[FoundReport]:
    unpack = zstandard.ZstdDecompressor().decompressobj
    reports = []
    for stored in found:
        attributes = orjson.loads(unpack().decompress(stored.document))
        read = read_report(attributes)
        if read is not None:
            reports.append(FoundReport(stored.ref, stored.change, attributes, read))
    return reports


def read_report(attributes: Attributes) -> ReadReport | None:
    """The report that this data set is; None when it is something else or was written here."""
    if not structured_report.is_report(attributes):
        return None
    try:
        read = structured_report.read(attributes)
    except InvalidObject:
        return None
    # What this archive writes is a rendition of what it knows, and no news to it.
    return None if (read.manufacturer, read.model) == (MANUFACTURER, MODEL) else read


def report_event(
    read: ReadReport, *, performer: str = "", source: str = SOURCE, zone: tzinfo = LOCAL
) -> Event | None:
    """What the report says of its exam; None when it says nothing or cannot be placed in time.

    Args:
        performer: Key of who performs the exam, when that is known.
        zone: Of documents that tell none.
    """
    time = _time_of(read, zone)
    sections = tuple(_sections(read))
    if not time or not sections:
        return None
    return Event(
        kind=Kind.REPORTED,
        time=time,
        source=source,
        control_id=read.sop_instance_uid,
        aliases=tuple(_aliases(read)),
        performer=performer,
        codes=_flags(read),
        report=Report(
            status=_status(read),
            sections=sections,
            signer=_signer(read),
            sop_instance_uid=read.sop_instance_uid,
        ),
    )


def _status(read: ReadReport) -> ReportStatus:
    """Table of the three flags (PS3.3 section C.17.2): nothing unsigned is final by silence."""
    if read.completion_flag == "PARTIAL":
        return ReportStatus.PARTIAL
    is_signed = read.verification_flag == "VERIFIED"
    if read.preliminary_flag == "PRELIMINARY" or not (is_signed or read.preliminary_flag):
        return ReportStatus.PRELIMINARY
    if not read.predecessors:
        return ReportStatus.FINAL
    # a new version of a document replaces it, unless it says that it adds to it
    adds = any(section.is_addendum for section in read.sections)
    return ReportStatus.ADDENDUM if adds else ReportStatus.CORRECTED


def _flags(read: ReadReport) -> tuple[tuple[str, str], ...]:
    flags = (
        ("CompletionFlag", read.completion_flag),
        ("VerificationFlag", read.verification_flag),
        ("PreliminaryFlag", read.preliminary_flag),
    )
    return tuple((name, value) for name, value in flags if value)


def _time_of(read: ReadReport, zone: tzinfo) -> str:
    """When it got its status: when it was last verified, else when its content was made."""
    verified = [
        moment
        for observer in read.verifying_observers
        if (moment := _utc(observer.time, zone)) is not None
    ]
    moment = max(verified) if verified else _utc(read.content_time, zone)
    if moment is None:
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _utc(moment: datetime | None, zone: tzinfo) -> datetime | None:
    if moment is None:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:  # at the ends of the calendar
        return None


def _sections(read: ReadReport) -> Iterable[Section]:
    # what was added is what is new
    newest_first = sorted(read.sections, key=lambda section: not section.is_addendum)
    status = _status(read)
    for section in newest_first:
        yield Section(_coding(section.heading), section.text, status)


def _coding(code: Code) -> Coding:
    return Coding(code.value, coded_concepts.system_of(code.scheme), code.meaning)


def _aliases(read: ReadReport) -> list[Alias]:
    found: dict[Alias, None] = {}
    for request in read.requests:
        numbers: tuple[tuple[AliasKind, Number | None], ...] = (
            (AliasKind.ACCESSION, request.accession),
            (AliasKind.FILLER, request.filler),
            (AliasKind.PLACER, request.placer),
        )
        for kind, number in numbers:
            if number is not None:
                system = system_of(number.namespace, number.universal_id)
                found[Alias(kind, system, number.value)] = None
        if request.requested_procedure_id:
            found[Alias(AliasKind.PROCEDURE, "", request.requested_procedure_id)] = None
    if read.study_instance_uid:
        found[Alias(AliasKind.STUDY, DICOM_UID, read.study_instance_uid)] = None
    return list(found)


def _signer(read: ReadReport) -> Party | None:
    """Who verified it last; of unverified ones who observed."""
    if read.verifying_observers:
        return _party(read.verifying_observers[-1])
    for person in read.people:
        return Party(family=person.family, given=person.given)
    return None


def _party(observer: Observer) -> Party:
    code = observer.identification
    identifier = None
    if code is not None:
        known = of_unit(code.value)  # an HSA-id under whichever designator
        identifier = known if known.system else of_unit(code.value, system_of(code.scheme))
    return Party(
        identifier=identifier,
        family=observer.name.family,
        given=observer.name.given,
    )
