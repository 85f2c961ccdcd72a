"""Workitems that are made by rules: what happens here becomes work for somebody.

Rules are data, one TOML text (`EXAMPLE`). Each says on what it looks (a study that is complete, an
exam that came to a status, a finding that was raised), which of these it wants, and what the
workitem is to say. A rule makes one workitem of each subject however often it is looked at: the
origin of the workitem names both, and the catalogue has each origin once.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import texts_of
from bfr_dicomweb.dicom.workitems import State
from bfr_dicomweb.errors import InvalidRequest, WorkitemStateConflict
from bfr_dicomweb.index import workitems
from bfr_dicomweb.orders.state import Status
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import timeline, workitem_making, worklist
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.timeline import ExamRow, FindingRow, StudyRow
from bfr_dicomweb.services.workitem_making import Access, coded, element, moment, tag
from bfr_dicomweb.toml_tables import Table, parsed

EXAMPLE: Final = (files("bfr_dicomweb.services") / "worklist.example.toml").read_text("utf-8")
SUBJECTS: Final = ("study", "exam", "finding")
PRIORITIES: Final = ("HIGH", "MEDIUM", "LOW")
# Of whom a workitem is cancelled whose reason has gone.
REQUESTER: Final = "BFR"

_MODALITIES: Final = "00080061"
_LO_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Template:
    """What a workitem says beside patient, request and inputs.

    Attributes:
        label: ``{modality}`` and ``{performer}`` stand for those of the exam.
        code: Of the work (0040,4018): value, scheme, meaning; `station` likewise (0040,4025).
        hours: From now, when it has to be done; 0 is not said.
    """

    label: str
    worklist: str
    priority: str
    code: tuple[str, str, str]
    station: tuple[str, str, str] | None
    hours: float


@dataclass(frozen=True, slots=True)
class Rule:
    """
    Attributes:
        on: One of SUBJECTS.
        statuses: Of an exam; the others are of exams, studies and findings, and empty is any.
        with_images: An exam has to have a stored study.
    """

    name: str
    on: str
    template: Template
    statuses: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset()
    performers: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    with_images: bool = False

    def wants_exam(self, row: ExamRow) -> bool:
        exam = row.exam
        return (
            self.on == "exam"
            and _is_among(exam.status, self.statuses)
            and _is_among(exam.facts.modality, self.modalities)
            and _is_among(exam.performer, self.performers)
            and (not self.with_images or any(link.study_id for link in row.studies))
        )

    def wants_study(self, row: StudyRow, exams: Sequence[ExamRow]) -> bool:
        modalities = texts_of(row.attributes, _MODALITIES)
        performers = [one.exam.performer for one in exams]
        return (
            self.on == "study"
            and (not self.modalities or not self.modalities.isdisjoint(modalities))
            and (not self.performers or not self.performers.isdisjoint(performers))
        )

    def wants_finding(self, row: FindingRow) -> bool:
        return (
            self.on == "finding"
            and _is_among(row.code, self.codes)
            and _is_among(row.performer, self.performers)
        )


def _is_among(value: str, wanted: Collection[str]) -> bool:
    return not wanted or value in wanted


@lru_cache(maxsize=4)
def parse(text: str) -> tuple[Rule, ...]:
    """
    Raises:
        InvalidRequest: It cannot be used; says where and why.
    """
    table = parsed(text)
    rules = tuple(map(_rule, table.tables("rules")))
    table.refuse_others()
    names = [rule.name for rule in rules]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest(f"rules[{twice}]: stands twice")
    return rules


def _rule(table: Table) -> Rule:
    name = table.required("name")
    on = table.choice("on", SUBJECTS, "study")
    statuses = table.texts("status")
    if unknown := next((one for one in statuses if one not in set(Status)), None):
        raise table.refuse("status", f"there is no status {unknown}")
    template = table.table("workitem")
    if template is None:
        raise table.refuse("workitem", "is missing")
    rule = Rule(
        name,
        on,
        _template(template),
        frozenset(statuses),
        frozenset(table.texts("modality")),
        frozenset(table.texts("performer")),
        frozenset(table.texts("code")),
        table.flag("with_images"),
    )
    table.refuse_others()
    return rule


def _template(table: Table) -> Template:
    found = Template(
        table.required("label"),
        table.required("worklist"),
        table.choice("priority", PRIORITIES, "MEDIUM"),
        _code(table, "code") or ("110005", "DCM", "Interpretation"),
        _code(table, "station"),
        table.number("hours"),
    )
    table.refuse_others()
    return found


def _code(table: Table, key: str) -> tuple[str, str, str] | None:
    parts = table.texts(key)
    if not parts:
        return None
    if len(parts) != 3 or not all(parts):
        raise table.refuse(key, "has to be a code, its scheme and its meaning")
    return parts[0], parts[1], parts[2]


# --- what happened ---------------------------------------------------------------------------


class WorkitemRules:
    """The rules at work.

    Args:
        retrieve_url: Of the DICOMweb service, under which inputs are fetched.
        ae_title: Of this archive, from which they can be moved.
    """

    def __init__(
        self, archive: Archive, rules: Sequence[Rule], *, retrieve_url: str, ae_title: str
    ) -> None:
        self._archive = archive
        self._index = archive.index
        self._rules = tuple(rules)
        self._access = Access(retrieve_url, ae_title)

    def __bool__(self) -> bool:
        return bool(self._rules)

    async def studies_settled(self, study_instance_uids: Collection[str]) -> None:
        """These are here, and have not changed for a while."""
        for study in await timeline.studies_by_uids(self._index, study_instance_uids):
            exams = await timeline.exams_of_studies(self._index, [study.study_instance_uid])
            for rule in self._rules:
                if rule.wants_study(study, exams):
                    origin = f"{rule.name}|study/{study.study_instance_uid}"
                    await self._make(rule, origin, exams[:1], [study])
            await self._exams(exams)

    async def exams_changed(self, ids: Collection[int]) -> None:
        await self._exams(await timeline.exams(self._index, ids))

    async def _exams(self, exams: Iterable[ExamRow]) -> None:
        for exam in exams:
            for rule in self._rules:
                if rule.wants_exam(exam):
                    uids = [link.study_instance_uid for link in exam.studies if link.study_id]
                    studies = await timeline.studies_by_uids(self._index, uids)
                    await self._make(rule, f"{rule.name}|exam/{exam.id}", [exam], studies)

    async def findings_changed(self, ids: Collection[int]) -> None:
        """What is raised becomes work, and what no longer holds is no work any more."""
        for finding in await timeline.findings(self._index, ids):
            for rule in self._rules:
                if not rule.wants_finding(finding):
                    continue
                origin = f"{rule.name}|finding/{finding.id}/{finding.raised}"
                if finding.resolved:
                    await self._withdraw(origin)
                else:
                    exams = [finding.exam_id] if finding.exam_id else []
                    uids = [finding.study_instance_uid] if finding.study_instance_uid else []
                    await self._make(
                        rule,
                        origin,
                        await timeline.exams(self._index, exams),
                        await timeline.studies_by_uids(self._index, uids),
                        told=finding.detail,
                    )

    async def _make(
        self,
        rule: Rule,
        origin: str,
        exams: Sequence[ExamRow],
        studies: Sequence[StudyRow],
        *,
        told: str = "",
    ) -> None:
        if await self._index.ask(partial(workitems.find_by_origin, origin=origin)) is not None:
            return
        refs = [Ref(study.study_instance_uid) for study in studies]
        inputs = [
            item
            for ref in refs
            for item in await workitem_making.references(self._archive, ref, self._access)
        ]
        dataset = _dataset(rule.template, exams[0] if exams else None, studies, inputs, told)
        dataset |= await workitem_making.about(self._index, exams, studies)
        await worklist.create(self._index, dataset, uid=worklist.new_uid(), origin=origin)

    async def _withdraw(self, origin: str) -> None:
        made = await self._index.ask(partial(workitems.find_by_origin, origin=origin))
        if made is None or made.workitem is None or made.workitem.state is not State.SCHEDULED:
            return
        reason = {"00741238": {"vr": "LT", "Value": ["what it was made for no longer holds"]}}
        try:
            await worklist.request_cancellation(
                self._index, made.uid, reason, requesting_ae=REQUESTER
            )
        except WorkitemStateConflict:
            return  # somebody was faster


def _dataset(
    template: Template,
    exam: ExamRow | None,
    studies: Sequence[StudyRow],
    inputs: Sequence[dict[str, Any]],
    told: str,
) -> dict[str, Any]:
    now = datetime.now(UTC)
    modality = exam.exam.facts.modality if exam else ""
    modality = modality or ", ".join(
        texts_of(studies[0].attributes, _MODALITIES) if studies else ()
    )
    performer = exam.exam.performer if exam else ""
    label = template.label.replace("{modality}", modality).replace("{performer}", performer)
    values: dict[str, Any] = {
        "ProcedureStepState": State.SCHEDULED.value,
        "ScheduledProcedureStepPriority": template.priority,
        "ProcedureStepLabel": label[:_LO_CHARACTERS],
        "WorklistLabel": template.worklist,
        "ScheduledProcedureStepStartDateTime": moment(now),
        "InputReadinessState": "READY",
        "CommentsOnTheScheduledProcedureStep": told,
        "StudyInstanceUID": studies[0].study_instance_uid if studies else "",
    }
    if template.hours:
        values["ExpectedCompletionDateTime"] = moment(now + timedelta(hours=template.hours))
    found = {tag(keyword): element(keyword, value) for keyword, value in values.items()}
    found[tag("ScheduledWorkitemCodeSequence")] = coded(template.code)
    if template.station is not None:
        found[tag("ScheduledStationNameCodeSequence")] = coded(template.station)
    if inputs:
        found[tag("InputInformationSequence")] = {"vr": "SQ", "Value": list(inputs)}
    return found
