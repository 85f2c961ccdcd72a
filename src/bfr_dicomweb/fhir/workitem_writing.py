"""What a Task that a client writes asks of the workitem that it is."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bfr_dicomweb.dicom.workitems import HUMANS, LABEL, PRIORITY, READINESS, State
from bfr_dicomweb.errors import Conflict, InvalidRequest, NotFound, WorkitemStateConflict
from bfr_dicomweb.fhir import ids, intervals, references
from bfr_dicomweb.fhir.source import Resource
from bfr_dicomweb.orders.events import Coding
from bfr_dicomweb.orders.identifiers import DICOM_UID, Identifier, of_patient
from bfr_dicomweb.orders.state import Status
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import (
    coded_concepts,
    timeline,
    workitem_making,
    worklist,
    worklist_items,
)
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.store import is_uid
from bfr_dicomweb.services.timeline import ExamRow, PatientRow, StudyRow
from bfr_dicomweb.services.workitem_claims import Wish
from bfr_dicomweb.services.workitem_making import Access, coded, element, tag

Dataset = dict[str, Any]

TASK_CODE: Final = "http://hl7.org/fhir/CodeSystem/task-code"
# The worklist that a workitem is on: Worklist Label (0074,1202).
WORKLIST: Final = "urn:bfr:worklist"
# The scheme of codes of performers that are references ("Type/id") or identifiers of systems that
# have no designator of DICOM ("system|value").
CODED_REFERENCE: Final = coded_concepts.system_of("99FHIR")
# Of a code of which nobody said whose it is.
NO_SYSTEM: Final = coded_concepts.system_of("L")
INTERPRETATION: Final = ("110005", "DCM", "Interpretation")

_TARGETS: Final[dict[str, State]] = {
    "requested": State.SCHEDULED,
    "on-hold": State.SCHEDULED,
    "in-progress": State.IN_PROGRESS,
    "completed": State.COMPLETED,
    "cancelled": State.CANCELED,
}
_PRIORITIES: Final = {"stat": "HIGH", "asap": "HIGH", "urgent": "MEDIUM", "routine": "LOW"}
_LO_CHARACTERS: Final = 64
_LT_CHARACTERS: Final = 10240
_DATE: Final = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)
_STORED: Final = re.compile(
    r".*/studies/([0-9.]+)(?:/series/([0-9.]+)(?:/instances/([0-9.]+))?)?/?", re.ASCII
)
# Exams whose images can be read.
_PERFORMED: Final = frozenset(
    {
        Status.PERFORMED,
        Status.PRELIMINARY,
        Status.SIGNED,
        Status.ADDENDUM,
        Status.CORRECTED,
    }
)


def check(resource: Resource) -> None:
    """
    Raises:
        InvalidRequest: No workitem can be such a Task.
    """
    if resource["intent"] != "order":
        raise InvalidRequest("Task.intent: a workitem is an order")
    for name in ("basedOn", "focus"):
        for one in _listed(resource.get(name)):
            if "reference" in one and references.local(one["reference"]) is None:
                raise InvalidRequest(f"Task.{name}: only resources of this server can be read")


def _target(resource: Resource) -> State:
    """
    Raises:
        WorkitemStateConflict: A workitem has no such status.
    """
    target = _TARGETS.get(resource["status"])
    if target is None:
        raise WorkitemStateConflict(
            "C303", f"Task.status: a workitem is one of {', '.join(_TARGETS)}"
        )
    return target


# --- a new one -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    uid: str
    dataset: Dataset


async def asked_for(archive: Archive, access: Access, resource: Resource) -> Asked:
    """
    Raises:
        InvalidRequest: It is not said what there is to do, or it cannot be done.
        Conflict: What it is about is not as it would have to be.
    """
    if _target(resource) is not State.SCHEDULED:
        raise WorkitemStateConflict("C303", "Task.status: a new one is requested or on-hold")
    exams = await _exams(archive, resource)
    studies = await _studies(archive, resource, exams)
    if not exams and studies:
        exams = await timeline.exams(archive.index, studies[0].exam_ids[:1])
    _require_performed(exams, studies)
    people = await _people(archive, resource)
    _require_one_patient(exams, studies, people)
    refs = [Ref(study.study_instance_uid) for study in studies]
    refs += _stored_at(resource.get("input", ()), refs)
    dataset = _scheduled(resource, studies[0].study_instance_uid if studies else "")
    dataset |= await workitem_making.about(archive.index, exams, studies)
    if not exams and not studies:
        dataset |= _named_patient(resource, people)
    inputs = [item for ref in refs for item in await _found(archive, ref, access, "Task.input")]
    if inputs:
        dataset[tag("InputInformationSequence")] = {"vr": "SQ", "Value": inputs}
    return Asked(_uid(resource), dataset)


def _scheduled(resource: Resource, study: str) -> Dataset:
    values = {
        "ProcedureStepState": State.SCHEDULED.value,
        "ScheduledProcedureStepPriority": "MEDIUM",
        "ProcedureStepLabel": "Interpretation",
        "InputReadinessState": "READY",
        "ScheduledProcedureStepStartDateTime": workitem_making.moment(datetime.now(UTC)),
        "StudyInstanceUID": study,
    }
    made = {tag(keyword): element(keyword, value) for keyword, value in values.items()}
    made[tag("ScheduledWorkitemCodeSequence")] = coded(INTERPRETATION)
    if "groupIdentifier" not in resource and "owner" in resource:
        owner = resource["owner"]
        label = owner.get("display") or owner.get("identifier", {}).get("value", "")
        made[LABEL] = element("WorklistLabel", label[:_LO_CHARACTERS])
    return made | _changes(resource, {"status": "requested"})


def _uid(resource: Resource) -> str:
    """That which the Task names, else a new one."""
    for identifier in resource.get("identifier", ()):
        if identifier.get("system") == DICOM_UID:
            uid = str(identifier.get("value", "")).removeprefix("urn:oid:")
            if not is_uid(uid):
                raise InvalidRequest("Task.identifier: the value is no UID")
            return uid
    return worklist.new_uid()


async def _exams(archive: Archive, resource: Resource) -> list[ExamRow]:
    named = [*_listed(resource.get("basedOn")), *_listed(resource.get("focus"))]
    exams = _numbers(named, "ServiceRequest", ids.EXAM)
    orders = _numbers(named, "ServiceRequest", ids.ORDER)
    found = await timeline.exams(archive.index, exams) if exams else []
    if orders:
        found = [*found, *await timeline.exams_of_orders(archive.index, orders)]
    if len({row.id for row in found}) < len(exams) or (orders and not found):
        raise InvalidRequest("Task.basedOn: there is no such ServiceRequest")
    return found


async def _studies(
    archive: Archive, resource: Resource, exams: Sequence[ExamRow]
) -> list[StudyRow]:
    """That which is to be worked on first, then those that are given with it."""
    named = _listed(resource.get("focus"))
    named += [one.get("valueReference", {}) for one in resource.get("input", ())]
    wanted = _numbers(named, "ImagingStudy", ids.STUDY)
    if not _numbers(_listed(resource.get("focus")), "ImagingStudy", ids.STUDY):
        wanted = [link.study_id for row in exams for link in row.studies if link.study_id] + wanted
    by_id = {row.id: row for row in await timeline.studies(archive.index, wanted)}
    if missing := [number for number in wanted if number not in by_id]:
        raise InvalidRequest(f"Task.focus: ImagingStudy/{ids.STUDY}{missing[0]} is not stored here")
    return [by_id[number] for number in dict.fromkeys(wanted)]


def _numbers(named: Sequence[Mapping[str, Any]], type_: str, letter: str) -> list[int]:
    """The numbers of rows in local references."""
    found = []
    for one in named:
        kind, _, id_ = (references.local(one.get("reference", "")) or "").partition("/")
        number = ids.number_of(id_, letter) if kind == type_ else None
        if number is not None:
            found.append(number)
    return list(dict.fromkeys(found))


def _require_performed(exams: Sequence[ExamRow], studies: Sequence[StudyRow]) -> None:
    if exams and not studies and not any(row.exam.status in _PERFORMED for row in exams):
        raise WorkitemStateConflict("C310", "the exam has not been performed: nothing can be read")


async def _people(archive: Archive, resource: Resource) -> list[PatientRow]:
    """The records of who Task.for names; none when the archive does not know them."""
    whose = resource.get("for", {})
    roots: set[int] = set()
    if numbers := _numbers([whose], "Patient", ids.PATIENT):
        roots = {row.root_id for row in await timeline.patients(archive.index, numbers)}
        if not roots:
            raise InvalidRequest("Task.for: there is no such Patient")
    elif (number := _identifier(whose)) is not None:
        asked = [(number.system or None, number.value)]
        roots = {row.root_id for row in await timeline.patients_identified(archive.index, asked)}
    if len(roots) != 1:
        return []
    people = await timeline.patients_of_roots(archive.index, roots)
    return sorted(people, key=lambda row: row.id != row.root_id)


def _identifier(whose: Mapping[str, Any]) -> Identifier | None:
    told = whose.get("identifier", {})
    return of_patient(told["value"], told.get("system", "")) if told.get("value") else None


def _require_one_patient(
    exams: Sequence[ExamRow], studies: Sequence[StudyRow], people: Sequence[PatientRow]
) -> None:
    roots = {row.patient_id for row in exams} | {row.root_id for row in people}
    known = [number for row in people for number in row.identifiers]
    is_other = bool(known) and not all(timeline.is_of(row.attributes, known) for row in studies)
    if len(roots) > 1 or is_other:
        raise Conflict("Task.for: what it is about is of another patient")


def _named_patient(resource: Resource, people: Sequence[PatientRow]) -> Dataset:
    if people:
        return workitem_making.of_patient(people)
    number = _identifier(resource.get("for", {}))
    if number is None:
        raise InvalidRequest("Task.focus, basedOn or for: one has to say what there is to do")
    return worklist_items.identified(number)


def _stored_at(named: Sequence[Mapping[str, Any]], known: Sequence[Ref]) -> list[Ref]:
    """What URLs of the DICOMweb service say; a study that is there already is not named twice."""
    found = []
    for one in named:
        url = one.get("valueUrl") or one.get("valueUri") or ""
        if match := _STORED.fullmatch(url):
            ref = Ref(match[1], match[2], match[3])
            if Ref(ref.study_instance_uid) not in known and ref not in found:
                found.append(ref)
    return found


async def _found(archive: Archive, ref: Ref, access: Access, where: str) -> list[Dataset]:
    try:
        return await workitem_making.references(archive, ref, access)
    except NotFound:
        raise InvalidRequest(f"{where}: it is not stored here") from None


def _listed(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else [value] if value else []


# --- one that is there -----------------------------------------------------------------------


def require_same(before: Resource, after: Resource) -> None:
    """
    Raises:
        WorkitemStateConflict: What cannot change would.
    """
    for name in ("for", "focus", "basedOn"):
        said = {_local(one) for one in _listed(after.get(name)) if "reference" in one}
        known = {_local(one) for one in _listed(before.get(name)) if "reference" in one}
        if said - known:
            raise WorkitemStateConflict("C303", f"Task.{name}: it cannot be changed")
    uids = {
        str(one.get("value")).removeprefix("urn:oid:")
        for one in after.get("identifier", ())
        if one.get("system") == DICOM_UID
    }
    if uids and uids != {before["identifier"][0]["value"].removeprefix("urn:oid:")}:
        raise WorkitemStateConflict("C303", "Task.identifier: it cannot be changed")


def _local(reference: Mapping[str, Any]) -> str:
    text: str = reference["reference"]
    return "/".join(text.split("/")[-2:])


async def outputs_of(
    archive: Archive, access: Access, before: Resource, resource: Resource
) -> list[Dataset]:
    """Of Task.output, when it says something new, what was made.

    Raises:
        InvalidRequest: It is not stored here.
    """
    named = resource.get("output", [])
    if not named or named == before.get("output"):
        return []
    studies = _numbers([one.get("valueReference", {}) for one in named], "ImagingStudy", ids.STUDY)
    rows = await timeline.studies(archive.index, studies) if studies else []
    refs = [Ref(row.study_instance_uid) for row in rows]
    refs += _stored_at(named, refs)
    if len(refs) < len(named):
        raise InvalidRequest(
            "Task.output: each is an ImagingStudy or a URL of a study, series or instance here"
        )
    return [item for ref in refs for item in await _of_output(archive, access, ref)]


async def _of_output(archive: Archive, access: Access, ref: Ref) -> list[Dataset]:
    return await _found(archive, ref, access, "Task.output")


def wish_of(resource: Resource, shown: Resource, outputs: Sequence[Dataset]) -> Wish:
    """
    Args:
        shown: What the Task says now of the workitem alone.
        outputs: Items of what was made.

    Raises:
        WorkitemStateConflict: A Task that is completed has to say more.
        InvalidRequest: An element cannot be kept in a workitem.
    """
    target = _target(resource)
    performed = _performed(resource, shown, outputs)
    if target is State.COMPLETED and shown["status"] == "in-progress":
        for name, keyword in _DEMANDED.items():
            if tag(keyword) not in performed and name not in shown.get("executionPeriod", {}):
                raise WorkitemStateConflict(
                    "C304", f"Task.executionPeriod.{name} is required to be completed"
                )
    changes = _changes(resource, shown)
    reason = _reason(resource) if target is State.CANCELED else {}
    return Wish(target, changes, performed if target is not State.SCHEDULED else {}, reason)


_DEMANDED: Final = {
    "start": "PerformedProcedureStepStartDateTime",
    "end": "PerformedProcedureStepEndDateTime",
}


def _performed(resource: Resource, shown: Resource, outputs: Sequence[Dataset]) -> Dataset:
    period, known = resource.get("executionPeriod", {}), shown.get("executionPeriod", {})
    made = {
        tag(keyword): element(keyword, moment_of(period[name]))
        for name, keyword in _DEMANDED.items()
        if name in period and period[name] != known.get(name)
    }
    if outputs:
        made[tag("OutputInformationSequence")] = {"vr": "SQ", "Value": list(outputs)}
    if made and (owner := resource.get("owner")):
        made[tag("ActualHumanPerformersSequence")] = _performer(owner)
    return made


def _reason(resource: Resource) -> Dataset:
    reason = resource.get("statusReason", {})
    made: Dataset = {}
    text = reason.get("text") or next(
        (one["display"] for one in reason.get("coding", ()) if one.get("display")), ""
    )
    if text:
        made[tag("ReasonForCancellation")] = element(
            "ReasonForCancellation", _fitting(text, _LT_CHARACTERS, "statusReason")
        )
    if codes := _codes(reason):
        made[tag("ProcedureStepDiscontinuationReasonCodeSequence")] = codes
    return made


# --- elements as attributes ------------------------------------------------------------------


def _changes(resource: Resource, shown: Resource) -> Dataset:
    """What elements that differ make of a workitem; what is left out stays as it is."""
    made: Dataset = {}
    for name, attributes_of in _ATTRIBUTES.items():
        if name in resource and resource[name] != shown.get(name):
            made |= attributes_of(resource[name])
    return made


def _of_status(status: str) -> Dataset:
    if _TARGETS.get(status) is not State.SCHEDULED:
        return {}
    ready = "READY" if status == "requested" else "UNAVAILABLE"
    return {READINESS: element("InputReadinessState", ready)}


def _of_priority(priority: str) -> Dataset:
    found = _PRIORITIES.get(priority)
    if found is None:
        raise InvalidRequest(f"Task.priority: the code is none of {', '.join(_PRIORITIES)}")
    return {PRIORITY: element("ScheduledProcedureStepPriority", found)}


def _of_code(concept: Resource) -> Dataset:
    codes = _codes(concept)
    return {tag("ScheduledWorkitemCodeSequence"): codes} if codes else {}


def _codes(concept: Resource) -> Dataset | None:
    for one in concept.get("coding", ()):
        # that it is to be done says every Task
        if one.get("system") == TASK_CODE or not one.get("code"):
            continue
        coding = Coding(
            one["code"], one.get("system", ""), one.get("display") or concept.get("text", "")
        )
        item = _code_item(coding)
        if item is None:
            raise InvalidRequest("coding.system: DICOM has no designator for it, and it is long")
        return {"vr": "SQ", "Value": [item]}
    return None


def _code_item(coding: Coding) -> Dataset | None:
    """None: the item would be read as another code."""
    item = coded_concepts.item_of(coding)
    system = coding.system or NO_SYSTEM
    return item if item and coded_concepts.coding_of(item).system == system else None


def _of_label(identifier: Resource) -> Dataset:
    label = _fitting(identifier.get("value", ""), _LO_CHARACTERS, "groupIdentifier.value")
    if not label:
        raise InvalidRequest("Task.groupIdentifier.value: it is missing")
    return {LABEL: element("WorklistLabel", label)}


def _of_description(text: str) -> Dataset:
    label = _fitting(text, _LO_CHARACTERS, "description")
    return {tag("ProcedureStepLabel"): element("ProcedureStepLabel", label)}


def _of_owner(owner: Resource) -> Dataset:
    return {HUMANS: _performer(owner)}


def _performer(owner: Resource) -> Dataset:
    """An item of a sequence of human performers (PS3.4 Table CC.2.5-3)."""
    identifier = owner.get("identifier", {})
    local = references.local(owner.get("reference", ""))
    name = owner.get("display") or identifier.get("value") or local or ""
    if not name:
        raise InvalidRequest("Task.owner: it has no reference, identifier or display")
    if local:
        code = coded_concepts.item_of(Coding(local, CODED_REFERENCE, name))
    else:
        value, system = identifier.get("value") or name, identifier.get("system", "")
        code = _code_item(Coding(value, system, name))
        if code is None:
            code = coded_concepts.item_of(Coding(f"{system}|{value}", CODED_REFERENCE, name))
    item = {
        tag("HumanPerformerCodeSequence"): {"vr": "SQ", "Value": [code]},
        tag("HumanPerformerName"): {"vr": "PN", "Value": [{"Alphabetic": name[:_LO_CHARACTERS]}]},
        tag("HumanPerformerOrganization"): element(
            "HumanPerformerOrganization", name[:_LO_CHARACTERS]
        ),
    }
    return {"vr": "SQ", "Value": [{each: item[each] for each in sorted(item)}]}


def _of_restriction(restriction: Resource) -> Dataset:
    period = restriction.get("period", {})
    made: Dataset = {}
    for name, keyword in (
        ("start", "ScheduledProcedureStepStartDateTime"),
        ("end", "ExpectedCompletionDateTime"),
    ):
        if name in period:
            made[tag(keyword)] = element(keyword, moment_of(period[name]))
    return made


def _of_note(notes: Sequence[Resource]) -> Dataset:
    text = _fitting("\n".join(one["text"] for one in notes), _LT_CHARACTERS, "note")
    keyword = "CommentsOnTheScheduledProcedureStep"
    return {tag(keyword): element(keyword, text)}


_ATTRIBUTES: Final[dict[str, Callable[[Any], Dataset]]] = {
    "status": _of_status,
    "priority": _of_priority,
    "code": _of_code,
    "groupIdentifier": _of_label,
    "description": _of_description,
    "owner": _of_owner,
    "restriction": _of_restriction,
    "note": _of_note,
}


def _fitting(text: str, most: int, where: str) -> str:
    if len(text) > most:
        raise InvalidRequest(f"Task.{where}: it has more than {most} characters")
    if most == _LO_CHARACTERS and "\\" in text:
        raise InvalidRequest(f"Task.{where}: it has a backslash, which a workitem cannot keep")
    return text


def moment_of(text: str) -> str:
    """A DT value of a dateTime, in UTC; of a date the same date."""
    if _DATE.fullmatch(text):
        return text.replace("-", "")
    try:
        low = intervals.interval(text).low
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=low)
    except (ValueError, OverflowError):
        raise InvalidRequest("a dateTime is none") from None
    return f"{at.year:04d}{at:%m%d%H%M%S.%f}+0000"
