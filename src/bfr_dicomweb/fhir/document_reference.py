"""DocumentReference: the document that follows an order, and documents that came with reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.errors import TooCostly
from bfr_dicomweb.fhir import codings, diagnostic_report, ids, places
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders import cda
from bfr_dicomweb.orders.events import Attachment
from bfr_dicomweb.orders.identifiers import Identifier
from bfr_dicomweb.orders.state import ReportVersion
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import OrderRow, Page, PatientRow, ReportRow

_URI: Final = "urn:ietf:rfc:3986"
_SET_ID: Final[Element] = {"text": "setId"}
_VERSION_NUMBER: Final[Element] = {"text": "versionNumber"}
_DOC_STATUS: Final = {
    "preliminary": "preliminary",
    "partial": "preliminary",
    "final": "final",
    "appended": "amended",
    "corrected": "amended",
    "entered-in-error": "entered-in-error",
}
_SUPERSEDED: Final = "superseded"


def subject_of(patient: PatientRow | None) -> cda.Subject:
    if patient is None:
        return cda.Subject(())
    return cda.Subject(patient.identifiers, patient.demographics)


def build(row: OrderRow, patient: PatientRow | None, number: int) -> Resource:
    """Version `number` of the document of an order; the last one is the current one."""
    return _DocumentSet.of(row, patient).version(number)


@dataclass(frozen=True, slots=True)
class _DocumentSet:
    """The document of an order in all its versions, and what they have in common."""

    order: OrderRow
    subject: cda.Subject
    common: Resource
    set_id: Element
    title: str

    @classmethod
    def of(cls, row: OrderRow, patient: PatientRow | None) -> "_DocumentSet":
        key = row.order.key
        common: Resource = {
            "meta": codings.meta(row.change, row.changed_us),
            "type": codings.DIAGNOSTIC_IMAGING_STUDY,
            "category": [codings.RADIOLOGY],
            "subject": {"reference": f"Patient/{ids.PATIENT}{row.patient_id}"},
            "context": {"related": _related(row.exam_ids, row.id)},
        }
        set_id = {"type": _SET_ID, **codings.identifier(key.identifier)}
        return cls(row, subject_of(patient), common, set_id, f"Remiss och svar {key.value}")

    def version(self, number: int) -> Resource:
        versions = self.order.order.documents
        version = versions[number - 1]
        document = ids.DocumentId(self.order.id, number)
        unique = cda.document_id(self.order.order, self.subject, number)
        at = codings.time(version.time)
        attachment = {
            "contentType": cda.MEDIA_TYPE,
            "language": "sv-SE",
            "url": f"Binary/{document.binary}",
            "title": self.title,
            "creation": at,
        }
        made: Resource = {
            "resourceType": "DocumentReference",
            "id": document.reference,
            **self.common,
            "masterIdentifier": {"system": _URI, "value": f"urn:uuid:{unique}"},
            "identifier": [self.set_id, {"type": _VERSION_NUMBER, "value": str(number)}],
            "status": "current" if number == len(versions) else _SUPERSEDED,
            "docStatus": version.status,
            "date": at,
            "description": f"{self.title}, version {number}",
            "content": [{"attachment": attachment}],
        }
        if number > 1:
            before = ids.DocumentId(self.order.id, number - 1).reference
            target = {"reference": f"DocumentReference/{before}"}
            made["relatesTo"] = [{"code": "replaces", "target": target}]
        return made


def build_received(
    row: ReportRow, version: ReportVersion, attachment: Attachment, order_ids: Sequence[int]
) -> Resource:
    """A document that came with a version of a report."""
    later = row.report.versions[row.report.versions.index(version) + 1 :]
    made: Resource = {
        "resourceType": "DocumentReference",
        "id": ids.of_received(row.id, attachment.digest),
        "meta": codings.meta(row.change, row.changed_us),
        "identifier": [
            {"system": codings.ATTACHMENT, "value": attachment.digest},
            codings.identifier(Identifier("", row.report.identifier)),
        ],
        "status": "current" if all(one.is_addition for one in later) else _SUPERSEDED,
        "type": codings.DIAGNOSTIC_IMAGING_STUDY,
        "category": [codings.RADIOLOGY],
        "subject": {"reference": f"Patient/{ids.PATIENT}{row.patient_id}"},
        "date": codings.time(version.time),
        "content": [{"attachment": diagnostic_report.by_url(attachment)}],
    }
    if status := _DOC_STATUS.get(version.status):
        made["docStatus"] = status
    if version.status == "entered-in-error":
        made["status"] = "entered-in-error"
    if attachment.title:
        made["description"] = attachment.title
    related = _related(row.exam_ids, *order_ids)
    related.append({"reference": f"DiagnosticReport/{ids.REPORT}{row.id}"})
    made["context"] = {"related": related}
    return made


def _related(exam_ids: Sequence[int], *order_ids: int) -> list[Element]:
    named = [f"{ids.ORDER}{order}" for order in order_ids]
    named += [f"{ids.EXAM}{exam}" for exam in exam_ids]
    return [{"reference": f"ServiceRequest/{name}"} for name in named]


def received_in(row: ReportRow) -> list[tuple[ReportVersion, Attachment]]:
    """The documents of a report, each with the last version that has it."""
    found: dict[str, tuple[ReportVersion, Attachment]] = {}
    for version in row.report.versions:
        for attachment in version.attachments:
            found[attachment.digest] = version, attachment
    return list(found.values())


# --- where they come from --------------------------------------------------------------------

# A key is the number of the order or report, which of the two it is, and the place in it.
_PLACE_BITS: Final = 20
_BATCH: Final = 500
_REQUEST: Final = "ServiceRequest"


@dataclass(frozen=True, slots=True)
class DocumentReferences:
    """By date. They have no rows of their own: some condition has to name orders or a patient."""

    archive: Archive
    type: str = "DocumentReference"
    moment: str = "date"

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        orders, reports = await self._named(narrowing)
        found = await self._entries(orders, reports)
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        orders, reports = await self._by_ids([id])
        found = await self._entries(orders, reports)
        built = (entry.build() for entry in found)
        return next((resource for resource in built if resource["id"] == id), None)

    async def history(self, id: str) -> Sequence[Resource]:
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)

    async def _named(self, narrowing: Narrowing) -> tuple[Sequence[OrderRow], Sequence[ReportRow]]:
        index = self.archive.index
        if narrowing.ids is not None:
            return await self._by_ids(narrowing.ids)
        if (related := narrowing.references.get("related")) is not None:
            return await self._related(related)
        if narrowing.patients is not None:
            return await self._of_patients(narrowing.patients)
        if narrowing.identifiers is not None:
            orders = await timeline.orders_identified(index, narrowing.identifiers)
            values = {value for _, value in narrowing.identifiers}
            return orders, await timeline.reports_identified(index, values)
        raise TooCostly(self.type, "a patient, related, identifier or _id has to be given")

    async def _by_ids(
        self, wanted: Iterable[str]
    ) -> tuple[Sequence[OrderRow], Sequence[ReportRow]]:
        orders, reports = set(), set()
        for one in wanted:
            if (document := ids.document_of(one, "d")) is not None:
                orders.add(document.order)
            elif (received := ids.received_of(one)) is not None:
                reports.add(received[0])
        index = self.archive.index
        return await places.rows(timeline.orders, index, orders), await places.rows(
            timeline.reports, index, reports
        )

    async def _related(
        self, related: frozenset[str]
    ) -> tuple[Sequence[OrderRow], Sequence[ReportRow]]:
        index = self.archive.index
        orders = places.named(related, _REQUEST, ids.ORDER) or set()
        exams = places.named(related, _REQUEST, ids.EXAM) or set()
        named = places.named(related, "DiagnosticReport", ids.REPORT) or set()
        rows = {row.id: row for row in await places.rows(timeline.orders, index, orders)}
        rows |= {row.id: row for row in await places.rows(timeline.orders_of_exams, index, exams)}
        reports = {
            row.id: row for row in await places.rows(timeline.reports_of_orders, index, orders)
        }
        reports |= {
            row.id: row for row in await places.rows(timeline.reports_of_exams, index, exams)
        }
        reports |= {row.id: row for row in await places.rows(timeline.reports, index, named)}
        return list(rows.values()), list(reports.values())

    async def _of_patients(
        self, patients: frozenset[int]
    ) -> tuple[Sequence[OrderRow], Sequence[ReportRow]]:
        index = self.archive.index
        orders: list[OrderRow] = []
        reports: list[ReportRow] = []
        page = Page(_BATCH)
        while more := await timeline.walk_orders(index, page, patients=patients):
            orders += more
            page = Page(_BATCH, after=(more[-1].moment, more[-1].id))
        page = Page(_BATCH)
        while some := await timeline.walk_reports(index, page, patients=patients):
            reports += some
            page = Page(_BATCH, after=(some[-1].moment, some[-1].id))
        return orders, reports

    async def _entries(
        self, orders: Sequence[OrderRow], reports: Sequence[ReportRow]
    ) -> list[Entry]:
        index = self.archive.index
        received = [row for row in reports if received_in(row)]
        patients = await places.rows(timeline.patients, index, {row.patient_id for row in orders})
        of = {row.id: row for row in patients}
        answered = {exam for row in received for exam in row.exam_ids}
        order_of = {
            row.id: row.order_id for row in await places.rows(timeline.exams, index, answered)
        }
        found = [entry for row in orders for entry in _of_order(row, of.get(row.patient_id))]
        for row in received:
            own = sorted({order_of[exam] for exam in row.exam_ids if exam in order_of})
            found += _of_report(row, own)
        return found


def _of_order(row: OrderRow, patient: PatientRow | None) -> list[Entry]:
    base, of = row.id << (_PLACE_BITS + 1), _DocumentSet.of(row, patient)
    return [
        Entry(version.time, base + version.number, partial(of.version, version.number))
        for version in row.order.documents
    ]


def _of_report(row: ReportRow, order_ids: Sequence[int]) -> list[Entry]:
    base = ((row.id << 1) + 1) << _PLACE_BITS
    return [
        Entry(
            version.time,
            base + place,
            partial(build_received, row, version, attachment, order_ids),
        )
        for place, (version, attachment) in enumerate(received_in(row))
    ]
