"""DetectedIssue: something about an order, an exam or a study that a person has to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.fhir import codings, ids, places
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import FindingRow, Page

TITLES: Final[dict[str, str]] = {
    "unmapped-status": "Okänd statuskod",
    "report-or-exam-without-order": "Svar eller undersökning utan remiss",
    "cancel-after-performed": "Avbokad efter genomförande",
    "preliminary-after-final": "Preliminärt svar efter signerat",
    "addendum-before-report": "Tilläggssvar före svar",
    "control-id-reuse": "Återanvänt meddelandenummer",
    "future-dated": "Tidpunkt i framtiden",
    "accession-conflict": "Motstridiga undersökningsnummer",
    "patient-conflict": "Undersökningsnummer med olika patienter",
    "identifier-shared": "Identitet som delas av flera personer",
    "charset-wrong": "Fel teckenkodning",
    "several-orders": "Undersökning med flera remisser",
    "images-overdue": "Bilder saknas",
    "performer-silent": "Utförare som tystnat",
    "undelivered": "Mottagare som inte tar emot",
    "sender-not-authentic": "Avsändare utan rätt certifikat",
    "study-ambiguous": "Bildstudie som inte kan kopplas säkert",
    "study-patient-mismatch": "Bildstudie med annan patient än remissen",
    "images-without-order": "Bilder utan remiss",
    "irregular-object": "Bildobjekt som avviker från standarden",
}


def build(row: FindingRow) -> Resource:
    title = TITLES.get(row.code)
    coding = {"system": codings.FINDING_CODE, "code": row.code}
    if title is not None:
        coding["display"] = title
    made: Resource = {
        "resourceType": "DetectedIssue",
        "id": f"{ids.FINDING}{row.id}",
        "meta": codings.meta(row.change, row.changed_us),
        "status": "final" if row.resolved else "preliminary",
        "code": {"coding": [coding], "text": title or row.code},
        "severity": row.severity,
    }
    if row.patient_id:
        made["patient"] = {"reference": f"Patient/{ids.PATIENT}{row.patient_id}"}
    if row.raised:
        made["identifiedDateTime"] = codings.time(row.raised)
    if row.performer:
        made["author"] = codings.named(row.performer)
    if implicated := _implicated(row):
        made["implicated"] = implicated
    if row.message:
        made["evidence"] = [{"detail": [{"reference": f"Binary/{ids.MESSAGE}{row.message}"}]}]
    if row.detail:
        made["detail"] = row.detail
    if row.resolved:
        action = {"text": "Åtgärdat: det som anmärktes på gäller inte längre"}
        made["mitigation"] = [{"action": action, "date": codings.time(row.resolved)}]
    return made


def _implicated(row: FindingRow) -> list[Element]:
    found: list[Element] = []
    if row.order_id:
        found.append({"reference": f"ServiceRequest/{ids.ORDER}{row.order_id}"})
    if row.exam_id:
        found.append({"reference": f"ServiceRequest/{ids.EXAM}{row.exam_id}"})
        found.append({"reference": f"Task/{ids.EXAM}{row.exam_id}"})
    if uid := row.study_instance_uid:
        found.append({"type": "ImagingStudy", "identifier": codings.study_uid(uid)})
    return found


# --- where they come from --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DetectedIssues:
    """By when they were raised."""

    archive: Archive
    type: str = "DetectedIssue"
    moment: str = "identified"

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        rows = await self._named(narrowing)
        if rows is None:
            rows = await timeline.walk_findings(
                self.archive.index,
                Page(limit, newest_first, after),
                patients=narrowing.patients,
                codes=narrowing.tokens.get("code"),
            )
        found = (Entry(row.moment, row.id, partial(build, row)) for row in rows)
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        number = ids.number_of(id, ids.FINDING)
        rows = [] if number is None else await timeline.findings(self.archive.index, [number])
        return build(rows[0]) if rows else None

    async def history(self, id: str) -> Sequence[Resource]:
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)

    async def _named(self, narrowing: Narrowing) -> Sequence[FindingRow] | None:
        index = self.archive.index
        if narrowing.ids is not None:
            return await places.rows(
                timeline.findings, index, places.numbers(narrowing.ids, ids.FINDING)
            )
        implicated = narrowing.references.get("implicated")
        if implicated is None:
            return None
        orders = places.named(implicated, "ServiceRequest", ids.ORDER) or set()
        exams = places.named(implicated, "ServiceRequest", ids.EXAM) or set()
        exams |= places.named(implicated, "Task", ids.EXAM) or set()
        if not orders and not exams:
            return None
        of_orders = await places.rows(timeline.findings_of_orders, index, orders)
        return [*of_orders, *await places.rows(timeline.findings_of_exams, index, exams)]
