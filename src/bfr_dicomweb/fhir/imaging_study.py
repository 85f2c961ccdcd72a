"""ImagingStudy: a study that is stored, or that an exam lets expect."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import Attributes, first_text, texts_of, values_of
from bfr_dicomweb.errors import Gone
from bfr_dicomweb.fhir import codings, endpoint, ids, moved, places
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.outcomes import Issue, issue
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders import composing, identifiers
from bfr_dicomweb.orders.events import Coding
from bfr_dicomweb.orders.identifiers import AliasKind, Identifier
from bfr_dicomweb.orders.state import Status
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import ExamRow, Page, SeriesRow, StudyRow

# Exams of which no images are to be expected, so that there is nothing to show.
NOT_AWAITED: Final = frozenset({Status.UNKNOWN, Status.MOVED, Status.REFUSED, Status.ERROR})

_DATE: Final = re.compile(r"\d{8}", re.ASCII)
_OFFSET: Final = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d", re.ASCII)


# --- stored ----------------------------------------------------------------------------------


def build(row: StudyRow, exams: Sequence[ExamRow], patient: int | None) -> Resource:
    """`exams` are those that it is linked to; `patient` is the root of the patient's records."""
    told = row.attributes
    zone = first_text(told, "00080201")
    made: Resource = {
        "resourceType": "ImagingStudy",
        "id": f"{ids.STUDY}{row.id}",
        "meta": {"versionId": str(row.change)},
        "identifier": [codings.study_uid(row.study_instance_uid), *_accessions(told, exams)],
        "status": "available",
        "modality": [codings.modality(code) for code in texts_of(told, "00080061")],
        "subject": _subject(told, patient),
    }
    if started := _started(told, "00080020", "00080030", zone):
        made["started"] = started
    if exams:
        made["basedOn"] = _based_on(exams)
    if referrer := _person(told, "00080090"):
        made["referrer"] = {"type": "Practitioner", "display": referrer}
    made["endpoint"] = [endpoint.REFERENCE]
    made["numberOfSeries"] = len(row.series)
    made["numberOfInstances"] = sum(_count(series) for series in row.series)
    if procedures := _procedures(told, exams):
        made["procedureCode"] = procedures
    if description := _text(told, "00081030"):
        made["description"] = description
    made["series"] = [_series(series, zone) for series in row.series]
    return {name: value for name, value in made.items() if value != []}


def patient_identifier(study: Attributes) -> Identifier | None:
    """What its objects call the patient."""
    value = _text(study, "00100020")
    if not value:
        return None
    qualifiers = [item for item in values_of(study, "00100024") if isinstance(item, dict)]
    universal_id = _text(qualifiers[0], "00400032") if qualifiers else ""
    system = identifiers.system_of(_text(study, "00100021"), universal_id)
    return identifiers.of_patient(value, system)


def _subject(study: Attributes, patient: int | None) -> Element:
    known_as = patient_identifier(study)
    subject: Element = {"type": "Patient"}
    if patient is not None:
        subject = {"reference": f"Patient/{ids.PATIENT}{patient}"}
    elif known_as is not None:
        subject["identifier"] = codings.identifier(known_as)
    else:
        subject["display"] = "Okänd patient"
    return subject


def _accessions(study: Attributes, exams: Iterable[ExamRow]) -> list[Element]:
    found = [
        alias.identifier
        for row in exams
        for alias in row.exam.aliases
        if alias.kind is AliasKind.ACCESSION
    ]
    own = _text(study, "00080050")
    if own and own not in {known.value for known in found}:
        found.insert(0, Identifier(_issuer(study), own))
    return [codings.identifier(known, AliasKind.ACCESSION) for known in dict.fromkeys(found)]


def _issuer(study: Attributes) -> str:
    """The system of an accession number (0008,0051)."""
    issuers = [item for item in values_of(study, "00080051") if isinstance(item, dict)]
    if not issuers:
        return ""
    return identifiers.system_of(_text(issuers[0], "00400031"), _text(issuers[0], "00400032"))


def _based_on(exams: Iterable[ExamRow]) -> list[Element]:
    return [{"reference": f"ServiceRequest/{ids.EXAM}{row.id}"} for row in exams]


def _procedures(study: Attributes, exams: Iterable[ExamRow]) -> list[Element]:
    found = [
        Coding(_text(item, "00080100"), _text(item, "00080102"), _text(item, "00080104"))
        for item in values_of(study, "00081032")
        if isinstance(item, dict)
    ]
    found += [row.exam.facts.procedure for row in exams if row.exam.facts.procedure is not None]
    unique = {(one.code, one.display): one for one in found if one.code or one.display}
    return [codings.concept(one) for one in unique.values()]


def _series(row: SeriesRow, study_zone: str) -> Element:
    told = row.attributes
    made: Element = {"uid": row.series_instance_uid}
    number = _integer(told, "00200011")
    if number is not None and number >= 0:
        made["number"] = number
    made["modality"] = codings.modality(_text(told, "00080060") or "OT")
    if description := _text(told, "0008103E"):
        made["description"] = description
    made["numberOfInstances"] = _count(row)
    if body_part := _text(told, "00180015"):
        made["bodySite"] = {"display": body_part}
    if laterality := _text(told, "00200060"):
        made["laterality"] = {"code": laterality}
    zone = first_text(told, "00080201") or study_zone
    started = _started(told, "00080021", "00080031", zone)
    if started := started or _started(told, "00400244", "00400245", zone):
        made["started"] = started
    return made


def _count(row: SeriesRow) -> int:
    return _integer(row.attributes, "00201209") or 0


def _started(told: Attributes, date_tag: str, time_tag: str, zone: str) -> str:
    return date_time(first_text(told, date_tag), first_text(told, time_tag), zone)


# The series of a study, and studies of one day, mostly say the same.
@lru_cache(maxsize=4096)
def date_time(date: str, time: str, zone: str) -> str:
    """A FHIR dateTime of a DICOM date and time, only a date when no time is known.

    Args:
        zone: Timezone Offset From UTC (0008,0201): ``+0100``; local time when it is something else.

    Returns:
        "" when the date cannot be read.
    """
    date, digits = date.replace(".", ""), time.replace(":", "").partition(".")[0]
    if not _DATE.fullmatch(date):
        return ""
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    # a leap second is no time of the calendar
    parts = [digits[:2], digits[2:4] or "00", min(digits[4:6] or "00", "59")]
    try:
        at = datetime.fromisoformat(f"{day}T{':'.join(parts)}")
    except ValueError:
        return day if _is_date(day) else ""
    if _OFFSET.fullmatch(zone):
        return f"{at.isoformat()}{zone[:3]}:{zone[3:]}"
    return at.replace(tzinfo=composing.LOCAL).isoformat()


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _person(told: Attributes, tag: str) -> str:
    """A person name (PS3.18 section F.2.2) as people write it."""
    names = [name for name in values_of(told, tag) if isinstance(name, dict)]
    text = names[0].get("Alphabetic") if names else None
    if not isinstance(text, str):
        return ""
    family, _, rest = text.partition("^")
    given = rest.partition("^")[0]
    return " ".join(part for part in (given.strip(), family.strip()) if part)


def _text(told: Attributes, tag: str) -> str:
    return first_text(told, tag).strip()


def _integer(told: Attributes, tag: str) -> int | None:
    values: list[Any] = values_of(told, tag)
    try:
        return int(values[0]) if values else None
    except (TypeError, ValueError):
        return None


# --- awaited ---------------------------------------------------------------------------------


def is_awaited(row: ExamRow) -> bool:
    """Whether an exam is shown with a study that is not there."""
    stored = any(link.study_id for link in row.studies)
    return not stored and row.exam.status not in NOT_AWAITED


def build_awaited(row: ExamRow, now: str) -> Resource:
    """The study of an exam of which nothing is stored. `now` decides whether it is overdue."""
    exam = row.exam
    uids = [link.study_instance_uid for link in row.studies] or list(exam.values(AliasKind.STUDY))
    made: Resource = {
        "resourceType": "ImagingStudy",
        "id": f"{ids.AWAITED}{row.id}",
        "meta": codings.meta(row.change, row.changed_us),
        "identifier": [
            *map(codings.study_uid, dict.fromkeys(uids)),
            *(
                codings.identifier(alias.identifier, alias.kind)
                for alias in exam.aliases
                if alias.kind is AliasKind.ACCESSION
            ),
        ],
        "status": "cancelled" if exam.status is Status.CANCELLED else "registered",
        "subject": {"reference": f"Patient/{ids.PATIENT}{row.patient_id}"},
        "basedOn": _based_on([row]),
        "numberOfSeries": 0,
        "numberOfInstances": 0,
        "note": [{"text": expectation(row, now)}],
    }
    if exam.facts.modality:
        made["modality"] = [codings.modality(exam.facts.modality)]
    if exam.facts.procedure is not None:
        made["procedureCode"] = [codings.concept(exam.facts.procedure)]
        made["description"] = exam.facts.procedure.display or exam.facts.procedure.code
    if not made["identifier"]:
        del made["identifier"]
    return made


def expectation(row: ExamRow, now: str) -> str:
    """Why there are no images, and when they should come."""
    if row.exam.status is Status.CANCELLED:
        return "Undersökningen är avbruten, inga bilder väntas"
    if row.expected:
        at = composing.local_time(row.expected)
        if row.expected < now:
            return f"Bilder saknas: de skulle ha kommit {at}"
        return f"Bilder väntas {at}"
    if row.exam.performed or row.exam.signed:
        return "Bilder är inte arkiverade"
    return "Bilder är inte arkiverade: undersökningen är inte genomförd"


def is_overdue(row: ExamRow, now: str) -> bool:
    return "" < row.expected < now and row.exam.status is not Status.CANCELLED


def now_utc() -> str:
    """The present as the catalogue writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- where they come from --------------------------------------------------------------------

# Sorts before every date: what is awaited has not begun.
_AWAITED: Final = "!"
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class ImagingStudies:
    """Stored studies by study date and time; those that are awaited come as the oldest.

    Attributes:
        clock: The present as the catalogue writes it.
    """

    archive: Archive
    clock: Callable[[], str] = now_utc
    type: str = "ImagingStudy"
    moment: str = "started"

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        found = await self._named(narrowing)
        if found is None:
            walk = _Walk(self.archive, narrowing, newest_first, after, limit)
            found = await self._entries(*await walk.rows())
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        index = self.archive.index
        if (number := ids.number_of(id, ids.STUDY)) is not None:
            studies = await timeline.studies(index, [number])
            if not studies and await timeline.study_was_stored(index, number):
                raise Gone("the study has been deleted")
            found = await self._entries(studies, ())
            return found[0].build() if found else None
        if (number := ids.number_of(id, ids.AWAITED)) is None:
            return None
        exams = await timeline.exams(index, [number])
        if not exams:
            await moved.refuse(self.archive, self.type, ids.AWAITED, number)
        stored = [link.study_id for row in exams for link in row.studies if link.study_id]
        if stored:
            raise Gone(f"the images have come: ImagingStudy/{ids.STUDY}{stored[0]}")
        return build_awaited(exams[0], self.clock()) if exams else None

    async def history(self, id: str) -> Sequence[Resource]:
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)

    async def reasons(self, resources: Sequence[Resource]) -> Sequence[Issue]:
        """Why studies that belong to what is delivered have no images."""
        awaited = [
            number
            for resource in resources
            if resource["resourceType"] == self.type
            and (number := ids.number_of(resource["id"], ids.AWAITED)) is not None
        ]
        now = self.clock()
        return [
            reason(row, now)
            for row in await places.rows(timeline.exams, self.archive.index, awaited)
        ]

    async def _named(self, narrowing: Narrowing) -> list[Entry] | None:
        """All that the most telling condition leaves; None when nothing names a study."""
        index = self.archive.index
        if narrowing.ids is not None:
            studies = await places.rows(
                timeline.studies, index, places.numbers(narrowing.ids, ids.STUDY)
            )
            exams = await places.rows(
                timeline.exams, index, places.numbers(narrowing.ids, ids.AWAITED)
            )
            return await self._entries(studies, exams)
        based_on = places.named(narrowing.references.get("basedon"), "ServiceRequest", ids.EXAM)
        if based_on is not None:
            exams = await places.rows(timeline.exams, index, based_on)
            return await self._entries(
                await places.rows(timeline.studies_of_exams, index, based_on), exams
            )
        if narrowing.identifiers is not None:
            known = codings.identifiers_of(narrowing.identifiers)
            values = {value for _, value in known}
            exams = await timeline.exams_identified(index, known)
            linked = await places.rows(timeline.studies_of_exams, index, {row.id for row in exams})
            by_uid = await places.rows(timeline.studies_by_uids, index, values)
            own = await places.rows(timeline.studies_by_accession_numbers, index, values)
            return await self._entries([*linked, *by_uid, *own], exams)
        return None

    async def _entries(self, studies: Iterable[StudyRow], exams: Iterable[ExamRow]) -> list[Entry]:
        stored = list({row.id: row for row in studies}.values())
        exam_ids = {exam for row in stored for exam in row.exam_ids}
        linked = {
            row.id: row for row in await places.rows(timeline.exams, self.archive.index, exam_ids)
        }
        patients = await self._patients(row for row in stored if not row.exam_ids)
        found = []
        for row in stored:
            of = [linked[exam] for exam in row.exam_ids if exam in linked]
            patient = of[0].patient_id if of else patients.get(row.id)
            found.append(Entry(row.moment, row.id << 1, partial(build, row, of, patient)))
        now = self.clock()
        return found + [_awaited_entry(row, now) for row in exams if is_awaited(row)]

    async def _patients(self, studies: Iterable[StudyRow]) -> dict[int, int]:
        """For studies without an exam the root of who is called so, when that is one person."""
        named = {
            row.id: known
            for row in studies
            if (known := patient_identifier(row.attributes)) is not None
        }
        asked = {(known.system or None, known.value) for known in named.values()}
        roots: dict[Identifier, set[int]] = {}
        for patient in await places.rows(timeline.patients_identified, self.archive.index, asked):
            for known in patient.identifiers:
                roots.setdefault(known, set()).add(patient.root_id)
                roots.setdefault(Identifier("", known.value), set()).add(patient.root_id)
        found = {study: roots.get(known, set()) for study, known in named.items()}
        return {study: next(iter(of)) for study, of in found.items() if len(of) == 1}


def reason(row: ExamRow, now: str) -> Issue:
    code = "not-found" if is_overdue(row, now) else "incomplete"
    text = f"ImagingStudy/{ids.AWAITED}{row.id}: {expectation(row, now)}"
    return issue("information", code, text)


def _awaited_entry(row: ExamRow, now: str) -> Entry:
    place = f"{_AWAITED}{row.moment}"
    return Entry(place, row.id << 1 | 1, partial(build_awaited, row, now))


@dataclass(frozen=True, slots=True)
class _Walk:
    """First those that are stored, then those that are awaited; or the other way round."""

    archive: Archive
    narrowing: Narrowing
    newest_first: bool
    after: Place | None
    limit: int

    async def rows(self) -> tuple[list[StudyRow], list[ExamRow]]:
        statuses = self.narrowing.tokens.get("status")
        wants_stored = statuses is None or "available" in statuses
        wants_awaited = statuses is None or bool(statuses & {"registered", "cancelled"})
        if self.newest_first:
            studies = await self._stored() if wants_stored else []
            enough = len(studies) >= self.limit
            return studies, [] if enough or not wants_awaited else await self._awaited()
        exams = await self._awaited() if wants_awaited else []
        enough = len(exams) >= self.limit
        return [] if enough or not wants_stored else await self._stored(), exams

    @property
    def _is_among_awaited(self) -> bool:
        return self.after is not None and self.after[0].startswith(_AWAITED)

    async def _stored(self) -> list[StudyRow]:
        if self._is_among_awaited and self.newest_first:
            return []
        after = None
        if self.after is not None and not self._is_among_awaited:
            after = self.after[0], self.after[1] >> 1
        index, page = self.archive.index, Page(self.limit, self.newest_first, after)
        modalities = self.narrowing.tokens.get("modality")
        if self.narrowing.patients is None:
            return await timeline.walk_studies(index, page, modalities=modalities)
        patients = await places.rows(timeline.patients, index, self.narrowing.patients)
        known_as = {known for patient in patients for known in patient.identifiers}
        return await timeline.studies_of_patients(index, known_as, page)

    async def _awaited(self) -> list[ExamRow]:
        after = None
        if self.after is not None:
            if not self._is_among_awaited:
                if not self.newest_first:
                    return []
            else:
                after = self.after[0].removeprefix(_AWAITED), self.after[1] >> 1
        found: list[ExamRow] = []
        while True:
            rows = await timeline.walk_exams(
                self.archive.index,
                Page(_BATCH, self.newest_first, after),
                patients=self.narrowing.patients,
            )
            found += filter(is_awaited, rows)
            if len(rows) < _BATCH or len(found) >= self.limit:
                return found
            after = rows[-1].moment, rows[-1].id
