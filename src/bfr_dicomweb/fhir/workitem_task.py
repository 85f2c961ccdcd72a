"""Task of a workitem of the worklist service, one for each: the same thing in two shapes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import first_text, has_value, values_of
from bfr_dicomweb.dicom.workitems import (
    HUMANS,
    LABEL,
    PERFORMED,
    PRIORITY,
    PROGRESS,
    READINESS,
    STATE,
    State,
)
from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.fhir import codings, ids, places, workitem_writing, written
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.intervals import LOCAL
from bfr_dicomweb.fhir.places import Entry, Place
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.fhir.task import FULFILL
from bfr_dicomweb.fhir.workitem_writing import CODED_REFERENCE, NO_SYSTEM, WORKLIST
from bfr_dicomweb.orders.identifiers import DICOM_UID, Identifier
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import coded_concepts, workitem_subjects, worklist
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import Page
from bfr_dicomweb.services.workitem_claims import Claims
from bfr_dicomweb.services.workitem_making import Access, tag
from bfr_dicomweb.services.workitem_subjects import Subject
from bfr_dicomweb.services.worklist import WorkitemRow

STATUS: Final[dict[State, str]] = {
    State.SCHEDULED: "requested",
    State.IN_PROGRESS: "in-progress",
    State.COMPLETED: "completed",
    State.CANCELED: "cancelled",
}
ON_HOLD: Final = "on-hold"
PRIORITIES: Final = {"HIGH": "stat", "MEDIUM": "urgent", "LOW": "routine"}
_STUDY: Final[Element] = {"coding": [{"system": codings.DCM, "code": "113014", "display": "Study"}]}
_INSTANCE: Final[Element] = {"text": "SOP Instance"}
_STATES: Final[dict[str, frozenset[str]]] = {
    ON_HOLD: frozenset({State.SCHEDULED.value}),
    **{status: frozenset({state.value}) for state, status in STATUS.items()},
}

_CODE: Final = tag("ScheduledWorkitemCodeSequence")
_STEP_LABEL: Final = tag("ProcedureStepLabel")
_COMMENTS: Final = tag("CommentsOnTheScheduledProcedureStep")
_STARTS: Final = tag("ScheduledProcedureStepStartDateTime")
_EXPECTED: Final = tag("ExpectedCompletionDateTime")
_INPUTS: Final = tag("InputInformationSequence")
_OUTPUTS: Final = tag("OutputInformationSequence")
_STARTED: Final = tag("PerformedProcedureStepStartDateTime")
_ENDED: Final = tag("PerformedProcedureStepEndDateTime")
_REASON: Final = tag("ReasonForCancellation")
_REASON_CODE: Final = tag("ProcedureStepDiscontinuationReasonCodeSequence")
_PERFORMER_CODE: Final = tag("HumanPerformerCodeSequence")
_PERFORMER_NAME: Final = tag("HumanPerformerName")
_ORGANIZATION: Final = tag("HumanPerformerOrganization")
_WADO_RS: Final = tag("WADORSRetrievalSequence")
_RETRIEVE_URL: Final = tag("RetrieveURL")
_STUDY_UID, _SERIES_UID = "0020000D", "0020000E"
_SOP_SEQUENCE, _SOP_UID = "00081199", "00081155"
_UID: Final = ("00080018",)
_DT: Final = re.compile(
    r"(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)?(\d\d)?(?:\.(\d{1,6}))?)?([+-]\d{4})?", re.ASCII
)


# --- what a workitem tells by itself ---------------------------------------------------------


def told(attributes: Mapping[str, Any]) -> Resource:
    """The elements that only the workitem decides; `changes_of` reads them back."""
    made: Resource = {"status": status_of(attributes), "intent": "order"}
    made["priority"] = PRIORITIES[first_text(attributes, PRIORITY)]
    made["code"] = _concept(attributes, _CODE) or FULFILL
    if label := first_text(attributes, LABEL):
        made["groupIdentifier"] = {"system": WORKLIST, "value": label}
    if description := first_text(attributes, _STEP_LABEL):
        made["description"] = description
    if owner := _owner(attributes):
        made["owner"] = owner
    if comments := first_text(attributes, _COMMENTS):
        made["note"] = [{"text": comments}]
    if period := _period(attributes, _STARTS, _EXPECTED):
        made["restriction"] = {"period": period}
    performed = _first(attributes, PERFORMED)
    if period := _period(performed, _STARTED, _ENDED):
        made["executionPeriod"] = period
    progress = _first(attributes, PROGRESS)
    if reason := _concept(progress, _REASON_CODE) or first_text(progress, _REASON):
        concept = reason if isinstance(reason, dict) else {}
        text = first_text(progress, _REASON)
        made["statusReason"] = concept | ({"text": text} if text else {})
    return made


def status_of(attributes: Mapping[str, Any]) -> str:
    state = State(first_text(attributes, STATE))
    if state is State.SCHEDULED and first_text(attributes, READINESS) != "READY":
        return ON_HOLD
    return STATUS[state]


def _concept(dataset: Mapping[str, Any], sequence: str) -> Element | None:
    item = _first(dataset, sequence)
    return codings.concept(coded_concepts.coding_of(item)) if item else None


def _owner(attributes: Mapping[str, Any]) -> Element:
    item = _first(attributes, HUMANS)
    if not item:
        return {}
    coding = coded_concepts.coding_of(_first(item, _PERFORMER_CODE))
    name = first_text(item, _ORGANIZATION) or coding.display or _name(item)
    made: Element = {"display": name} if name else {}
    if not coding.code:
        return made
    if coding.system != CODED_REFERENCE:
        system = "" if coding.system == NO_SYSTEM else coding.system
        return {"identifier": codings.identifier(Identifier(system, coding.code))} | made
    system, bar, value = coding.code.rpartition("|")
    if bar:
        return {"identifier": codings.identifier(Identifier(system, value))} | made
    return {"reference": coding.code} | made


def _name(performer: Mapping[str, Any]) -> str:
    names = values_of(performer, _PERFORMER_NAME)
    written = names[0].get("Alphabetic", "") if names and isinstance(names[0], dict) else ""
    family, _, given = written.partition("^")
    return f"{given.replace('^', ' ')} {family}".strip()


def _period(dataset: Mapping[str, Any], start: str, end: str) -> Element:
    ends = {"start": time(first_text(dataset, start)), "end": time(first_text(dataset, end))}
    return {name: at for name, at in ends.items() if at}


def time(text: str) -> str:
    """A dateTime of a DT value (PS3.5 Table 6.2-1); "" of what is none."""
    match = _DT.fullmatch(text.strip())
    if match is None:
        return ""
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if hour is None:
        return "-".join(part for part in (year, month, day) if part)
    try:
        at = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute or 0),
            min(int(second or 0), 59),
            int((fraction or "").ljust(6, "0")),
            tzinfo=LOCAL if offset is None else datetime.strptime(offset, "%z").tzinfo,
        )
        return codings.time(at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    except (ValueError, OverflowError):
        return ""


def _first(dataset: Mapping[str, Any], sequence: str) -> Mapping[str, Any]:
    return next(iter(_items(dataset, sequence)), {})


def _items(dataset: Mapping[str, Any], sequence: str) -> list[Mapping[str, Any]]:
    return [item for item in values_of(dataset, sequence) if isinstance(item, dict)]


# --- with what the archive knows of its subject ----------------------------------------------


def build(row: WorkitemRow, subject: Subject, retrieve_url: str) -> Resource:
    attributes = row.workitem.attributes
    made: Resource = {
        "resourceType": "Task",
        "id": f"{ids.WORKITEM}{row.id}",
        "meta": {"versionId": str(row.change), "lastUpdated": codings.time(row.moment)},
        "identifier": [codings.study_uid(row.uid)],
    }
    if row.created_us:
        made["authoredOn"] = codings.instant(row.created_us)
    made["lastModified"] = codings.time(row.moment)
    if subject.exam_ids:
        made["basedOn"] = [
            {"reference": f"ServiceRequest/{ids.EXAM}{exam}"} for exam in subject.exam_ids
        ]
    if stored := [number for number in subject.studies.values() if number]:
        made["focus"] = {"reference": f"ImagingStudy/{ids.STUDY}{stored[0]}"}
    if whose := _for(subject):
        made["for"] = whose
    made |= told(attributes)
    if inputs := _inputs(attributes, retrieve_url):
        made["input"] = inputs
    if outputs := _outputs(attributes, retrieve_url):
        made["output"] = outputs
    return made


def _for(subject: Subject) -> Element:
    if subject.patient_id:
        return {"reference": f"Patient/{ids.PATIENT}{subject.patient_id}"}
    if subject.patient is None:
        return {}
    return {"type": "Patient", "identifier": codings.identifier(subject.patient)}


def _inputs(attributes: Mapping[str, Any], retrieve_url: str) -> list[Element]:
    """One for each study, where it is retrieved."""
    urls: dict[str, None] = {}
    for item in _items(attributes, _INPUTS):
        url = first_text(_first(item, _WADO_RS), _RETRIEVE_URL)
        study = first_text(item, _STUDY_UID)
        if study and url:
            begin, _, _ = url.partition(f"/studies/{study}")
            urls[f"{begin}{Ref(study).path}"] = None
        elif study or url:
            urls[url or f"{retrieve_url}{Ref(study).path}"] = None
    return [{"type": _STUDY, "valueUrl": url} for url in urls]


def _outputs(attributes: Mapping[str, Any], retrieve_url: str) -> list[Element]:
    return [
        {"type": _INSTANCE, **_output(item, first_text(instance, _SOP_UID), retrieve_url)}
        for performed in _items(attributes, PERFORMED)
        for item in _items(performed, _OUTPUTS)
        for instance in _items(item, _SOP_SEQUENCE)
        if has_value(instance.get(_SOP_UID))
    ]


def _output(item: Mapping[str, Any], sop: str, retrieve_url: str) -> Element:
    study, series = first_text(item, _STUDY_UID), first_text(item, _SERIES_UID)
    if not (study and series):
        return {"valueIdentifier": {"system": DICOM_UID, "value": f"urn:oid:{sop}"}}
    url = first_text(_first(item, _WADO_RS), _RETRIEVE_URL)
    base = url.partition("/studies/")[0] if "/studies/" in url else retrieve_url
    return {"valueUrl": f"{base}{Ref(study, series, sop).path}"}


# --- where they come from, and what clients do with them -------------------------------------


@dataclass(frozen=True, slots=True)
class WorkitemTasks:
    """One for each workitem, by when it was last modified; written through the worklist service.

    Attributes:
        access: To what workitems have as inputs.
        claims: Of performers that write Tasks.
    """

    archive: Archive
    access: Access
    claims: Claims
    type: str = "Task"
    moment: str = "modified"

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        statuses = narrowing.tokens.get("status")
        rows = await worklist.walk(
            self.archive.index,
            Page(limit, newest_first, after),
            ids=await self._named(narrowing),
            states=None
            if statuses is None
            else frozenset().union(*(_STATES.get(one, frozenset()) for one in statuses)),
            labels=narrowing.tokens.get("group-identifier"),
        )
        subjects = await self._subjects(rows)
        found = [
            Entry(row.moment, row.id, partial(build, row, subject, self.access.retrieve_url))
            for row, subject in zip(rows, subjects, strict=True)
        ]
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def _named(self, narrowing: Narrowing) -> set[int] | None:
        """By what few workitems are meant; None when nothing says so."""
        index, named = self.archive.index, narrowing.references
        if narrowing.ids is not None:
            return places.numbers(narrowing.ids, ids.WORKITEM)
        if narrowing.identifiers is not None:
            uids = {value for _, value in codings.identifiers_of(narrowing.identifiers)}
            return await worklist.ids_with(index, _UID, uids)
        if (studies := places.named(named.get("focus"), "ImagingStudy", ids.STUDY)) is not None:
            return await workitem_subjects.ids_of_studies(index, studies)
        if (exams := places.named(named.get("based-on"), "ServiceRequest", ids.EXAM)) is not None:
            return await workitem_subjects.ids_of_exams(index, exams)
        if narrowing.patients is not None:
            return await workitem_subjects.ids_of_patients(index, narrowing.patients)
        return None

    async def _subjects(self, rows: Sequence[WorkitemRow]) -> list[Subject]:
        attributes = [row.workitem.attributes for row in rows]
        return await workitem_subjects.subjects(self.archive.index, attributes)

    async def read(self, id: str) -> Resource | None:
        number = ids.number_of(id, ids.WORKITEM)
        row = None if number is None else await worklist.by_id(self.archive.index, number)
        if row is None:
            return None
        (subject,) = await self._subjects([row])
        return build(row, subject, self.access.retrieve_url)

    async def history(self, id: str) -> Sequence[Resource]:
        """What a workitem was before is not kept."""
        current = await self.read(id)
        return [] if current is None else [current]

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.of_version(await self.read(id), version)

    def check(self, resource: Resource) -> None:
        written.validate(resource, self.type)
        workitem_writing.check(resource)

    def is_written(self, id: str) -> bool:
        return ids.number_of(id, ids.WORKITEM) is not None

    async def create(self, resource: Resource) -> Resource:
        asked = await workitem_writing.asked_for(self.archive, self.access, resource)
        kept = await worklist.create(self.archive.index, asked.dataset, uid=asked.uid)
        return await self._by_uid(kept.uid)

    async def _by_uid(self, uid: str) -> Resource:
        (number,) = await worklist.ids_with(self.archive.index, _UID, [uid])
        found = await self.read(f"{ids.WORKITEM}{number}")
        if found is None:
            raise NotFound("no such workitem")
        return found

    async def update(
        self, id: str, resource: Resource, expected: int | None
    ) -> tuple[Resource, bool]:
        before = await self.read(id)
        if before is None:
            raise NotFound("there is no such Task")
        workitem_writing.require_same(before, resource)
        outputs = await workitem_writing.outputs_of(self.archive, self.access, before, resource)
        uid = before["identifier"][0]["value"].removeprefix("urn:oid:")
        await self.claims.fulfil(
            self.archive.index,
            uid,
            lambda attributes: workitem_writing.wish_of(resource, told(attributes), outputs),
            if_change=expected,
        )
        after = await self.read(id)
        if after is None:
            raise NotFound("there is no such Task")
        return after, _is_done(resource, after)


def _is_done(resource: Resource, after: Resource) -> bool:
    """What is asked of somebody else, to cancel what he performs, is not done with that."""
    return bool(after["status"] == "cancelled" or resource["status"] != "cancelled")
