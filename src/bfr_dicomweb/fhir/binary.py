"""Binary: messages as they came, the documents of orders, and documents that came with reports."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.fhir import document_reference, ids, places
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders import cda
from bfr_dicomweb.services import attachments, timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import MessageRow

HL7_V2: Final = "x-application/hl7-v2+er7"
# Of messages that are no HL7 v2, by the first word of their type.
_OTHERS: Final = {"MPPS": "application/dicom+json", "SR": "text/plain"}


@dataclass(frozen=True, slots=True)
class Content:
    """What a Binary holds, byte for byte.

    Attributes:
        version: Differs when the bytes do.
    """

    media_type: str
    data: bytes
    version: str


def _form(message: MessageRow) -> str:
    return _OTHERS.get(message.type.partition(" ")[0], HL7_V2)


def build(id: str, content: Content) -> Resource:
    return {
        "resourceType": "Binary",
        "id": id,
        "meta": {"versionId": content.version},
        "contentType": content.media_type,
        "data": b64encode(content.data).decode(),
    }


@dataclass(frozen=True, slots=True)
class Binaries:
    """They are read by id; a search can name nothing else."""

    archive: Archive
    type: str = "Binary"
    moment: str = ""

    async def content(self, id: str) -> Content | None:
        """For a reader that takes the content's own media type."""
        if (number := ids.number_of(id, ids.MESSAGE)) is not None:
            message = await timeline.message(self.archive.index, number)
            return None if message is None else Content(_form(message), message.body, "1")
        if (digest := ids.content_of(id)) is not None:
            attached = await attachments.attachment(self.archive.index, digest)
            return None if attached is None else Content(attached.content_type, attached.body, "1")
        if (document := ids.document_of(id, "c")) is not None:
            return await self._document(document)
        return None

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        contents = [(one, await self.content(one)) for one in sorted(narrowing.ids or ())]
        found = (
            Entry(one, 1, partial(build, one, content))
            for one, content in contents
            if content is not None
        )
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        content = await self.content(id)
        return None if content is None else build(id, content)

    async def history(self, id: str) -> Sequence[Resource]:
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)

    async def _document(self, document: ids.DocumentId) -> Content | None:
        index = self.archive.index
        orders = await timeline.orders(index, [document.order])
        if not orders or document.version > len(orders[0].order.documents):
            return None
        row = orders[0]
        exams = {exam.id: exam for exam in await timeline.exams(index, row.exam_ids)}
        reports = await timeline.reports_of_orders(index, [row.id])
        patients = await timeline.patients(index, [row.patient_id])
        told = cda.Told(
            order=row.order,
            exams={
                place: exams[exam].exam for place, exam in enumerate(row.exam_ids) if exam in exams
            },
            reports=[report.report for report in reversed(reports)],
            subject=document_reference.subject_of(patients[0] if patients else None),
        )
        version = row.order.documents[document.version - 1]
        return Content(cda.MEDIA_TYPE, cda.document(told, version), str(row.change))
