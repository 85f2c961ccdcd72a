"""DiagnosticReport: a report in its versions; what is shown first is the newest."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from bfr_dicomweb.fhir import codings, ids, moved, places
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders import composing
from bfr_dicomweb.orders.events import Attachment
from bfr_dicomweb.orders.identifiers import AliasKind
from bfr_dicomweb.orders.state import Report, ReportVersion
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import ExamRow, Page, ReportRow

# Not shown before somebody asks for them: nothing has been reported yet.
HIDDEN: Final = "registered"
_HTML: Final = (
    '<!DOCTYPE html><html lang="sv"><head><meta charset="utf-8"/><title>Svar</title></head>'
    "<body>{}</body></html>"
)
_LANGUAGE: Final = "sv-SE"
_IMPRESSION: Final = "19005-8"  # LOINC: Radiology Imaging study [Impression] (narrative)


def build(row: ReportRow, exams: Sequence[ExamRow]) -> Resource:
    """The current version. `exams` are those that it answers, with the studies linked to them."""
    return version_of(row, exams, len(row.report.versions), row.changed_us)


def version_of(row: ReportRow, exams: Sequence[ExamRow], ordinal: int, changed_us: int) -> Resource:
    """The report as it was when its version `ordinal` (from 1) was the last one."""
    report = upto(row.report, ordinal)
    version = report.versions[-1]
    made: Resource = {
        "resourceType": "DiagnosticReport",
        "id": f"{ids.REPORT}{row.id}",
        "meta": codings.meta(version_id(row, ordinal), changed_us),
        "identifier": [_identifier(report, exams)],
        "basedOn": [{"reference": f"ServiceRequest/{ids.EXAM}{exam}"} for exam in row.exam_ids],
        "status": version.status,
        "category": [codings.RADIOLOGY],
        "code": _code(exams),
        "subject": {"reference": f"Patient/{ids.PATIENT}{row.patient_id}"},
        "issued": codings.time(version.time),
    }
    if performed := [exam.exam.performed for exam in exams if exam.exam.performed]:
        made["effectiveDateTime"] = codings.time(min(performed))
    if performer := _performer(report, exams):
        made["performer"] = [performer]
    if interpreters := _interpreters(report.versions):
        made["resultsInterpreter"] = interpreters
    if studies := _studies(exams):
        made["imagingStudy"] = studies
    if conclusion := _conclusion(version):
        made["conclusion"] = conclusion
    made["presentedForm"] = _presented(report)
    return made


def version_id(row: ReportRow, ordinal: int) -> str:
    return f"{ordinal}.{row.arrivals[ordinal - 1]}"


def upto(report: Report, ordinal: int) -> Report:
    if ordinal == len(report.versions):
        return report
    versions = report.versions[:ordinal]
    return replace(report, versions=versions, status=versions[-1].status)


def _identifier(report: Report, exams: Sequence[ExamRow]) -> Element:
    """The same for all versions."""
    for exam in exams:
        for alias in exam.exam.aliases:
            if alias.value == report.identifier:
                kind = alias.kind if alias.kind is AliasKind.ACCESSION else AliasKind.REPORT
                return codings.identifier(alias.identifier, kind)
    told: Element = {"value": report.identifier}
    if report.performer:
        told["assigner"] = {"display": report.performer}
    return told


def _code(exams: Sequence[ExamRow]) -> Element:
    procedures = [exam.exam.facts.procedure for exam in exams]
    names = dict.fromkeys(one.display or one.code for one in procedures if one is not None)
    text = ", ".join(name for name in names if name)
    return {**codings.DIAGNOSTIC_IMAGING_STUDY, "text": text} if text else _PLAIN_CODE


_PLAIN_CODE: Final = codings.DIAGNOSTIC_IMAGING_STUDY


def _performer(report: Report, exams: Sequence[ExamRow]) -> Element | None:
    for exam in exams:
        if unit := exam.exam.facts.performing_unit:
            return codings.party(unit, "Organization")
    return codings.named(report.performer) if report.performer else None


def _interpreters(versions: Sequence[ReportVersion]) -> list[Element]:
    """Who signed, the last one first."""
    signers = [version.signer for version in reversed(versions) if version.signer is not None]
    found = (codings.party(signer, "Practitioner") for signer in dict.fromkeys(signers))
    return [interpreter for interpreter in found if interpreter]


def _studies(exams: Sequence[ExamRow]) -> list[Element]:
    """Those that are stored; of an exam without one, the study that it lets expect."""
    found: dict[str, Element] = {}
    for exam in exams:
        stored = [link.study_id for link in exam.studies if link.study_id]
        names = [f"{ids.STUDY}{study}" for study in stored] or [f"{ids.AWAITED}{exam.id}"]
        found |= {name: {"reference": f"ImagingStudy/{name}"} for name in names}
    return list(found.values())


def _conclusion(version: ReportVersion) -> str:
    texts = [section.text for section in version.sections if section.code.code == _IMPRESSION]
    return "\n\n".join(text for text in texts if text)


def _presented(report: Report) -> list[Element]:
    """First what a reader should see: everything, the newest on top."""
    last = report.versions[-1].time
    forms = [
        _inline("text/plain", composing.report_text(report), last),
        _inline("text/html", _HTML.format(composing.report_html(report)), last),
    ]
    attached: dict[str, Attachment] = {}
    for version in reversed(report.versions):
        attached |= {one.digest: one for one in version.attachments if one.digest not in attached}
    return forms + [by_url(one) for one in attached.values()]


def _inline(content_type: str, text: str, time: str) -> Element:
    data = text.encode()
    return {
        "contentType": content_type,
        "language": _LANGUAGE,
        "data": b64encode(data).decode(),
        "size": len(data),
        "title": "Svar",
        "creation": codings.time(time),
    }


def by_url(attachment: Attachment) -> Element:
    """A document that came with a report. FHIR R4 takes SHA-1 only, so the hash is in the url."""
    made: Element = {
        "contentType": attachment.content_type,
        "url": f"Binary/{ids.of_content(attachment.digest)}",
    }
    if attachment.size_bytes:
        made["size"] = attachment.size_bytes
    if attachment.title:
        made["title"] = attachment.title
    return made


# --- where they come from --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DiagnosticReports:
    """By when the current version was issued."""

    archive: Archive
    type: str = "DiagnosticReport"
    moment: str = "issued"

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        rows = await self._named(narrowing)
        is_walk = rows is None
        if rows is None:
            rows = await timeline.walk_reports(
                self.archive.index,
                Page(limit, newest_first, after),
                patients=narrowing.patients,
                statuses=narrowing.tokens.get("status"),
            )
        shown = [row for row in rows if self._is_shown(row, narrowing)]
        exams = await self._exams(shown)
        found = [
            Entry(row.moment, row.id, partial(build, row, [exams[exam] for exam in row.exam_ids]))
            for row in shown
        ]
        chosen = places.page(found, newest_first=newest_first, after=after, limit=limit)
        if is_walk and len(rows) == limit and len(chosen) < limit:
            # fewer than `limit` would say that nothing comes after them
            last = rows[-1].moment, rows[-1].id
            more = await self.candidates(
                narrowing, newest_first=newest_first, after=last, limit=limit
            )
            return [*chosen, *more][:limit]
        return chosen

    async def read(self, id: str) -> Resource | None:
        row = await self._row(id)
        if row is None:
            return None
        return build(row, await self._answered(row))

    async def history(self, id: str) -> Sequence[Resource]:
        row = await self._row(id)
        if row is None:
            return []
        exams = await self._answered(row)
        recorded = await self._recorded(row)
        last = len(row.report.versions)
        return [
            version_of(row, exams, ordinal, recorded[ordinal - 1]) for ordinal in range(last, 0, -1)
        ]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.version_in(await self.history(id), version)

    def _is_shown(self, row: ReportRow, narrowing: Narrowing) -> bool:
        if row.report.status != HIDDEN or narrowing.ids is not None:
            return bool(row.report.versions)
        return HIDDEN in narrowing.tokens.get("status", ())

    async def _row(self, id: str) -> ReportRow | None:
        if (number := ids.number_of(id, ids.REPORT)) is None:
            return None
        rows = await timeline.reports(self.archive.index, [number])
        if not rows:
            await moved.refuse(self.archive, self.type, ids.REPORT, number)
        return rows[0] if rows and rows[0].report.versions else None

    async def _answered(self, row: ReportRow) -> list[ExamRow]:
        exams = await self._exams([row])
        return [exams[exam] for exam in row.exam_ids]

    async def _exams(self, rows: Iterable[ReportRow]) -> dict[int, ExamRow]:
        wanted = {exam for row in rows for exam in row.exam_ids}
        return {
            row.id: row for row in await places.rows(timeline.exams, self.archive.index, wanted)
        }

    async def _recorded(self, row: ReportRow) -> list[int]:
        """When each version came, in microseconds; the current one may have changed since."""
        earlier = row.arrivals[:-1]
        events = await places.rows(timeline.events, self.archive.index, set(earlier))
        recorded = {event.number: event.recorded_us for event in events}
        return [*(recorded.get(number, row.changed_us) for number in earlier), row.changed_us]

    async def _named(self, narrowing: Narrowing) -> Sequence[ReportRow] | None:
        index, references = self.archive.index, narrowing.references
        if narrowing.ids is not None:
            return await places.rows(
                timeline.reports, index, places.numbers(narrowing.ids, ids.REPORT)
            )
        exams = places.named(references.get("based-on"), "ServiceRequest", ids.EXAM)
        if exams is not None:
            return await places.rows(timeline.reports_of_exams, index, exams)
        if (asked := references.get("study")) is not None:
            studies = places.named(asked, "ImagingStudy", ids.STUDY) or set()
            stored = await places.rows(timeline.studies, index, studies)
            linked = await places.rows(
                timeline.exams_of_studies, index, {s.study_instance_uid for s in stored}
            )
            awaited = places.named(asked, "ImagingStudy", ids.AWAITED) or set()
            return await places.rows(
                timeline.reports_of_exams, index, {row.id for row in linked} | awaited
            )
        if narrowing.identifiers is not None:
            values = {value for _, value in narrowing.identifiers}
            return await timeline.reports_identified(index, values)
        return None
