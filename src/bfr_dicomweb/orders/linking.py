"""Which exams a stored study is of: the ladder from the certain to the merely likely.

Rung 1: the exam names the study. Rung 2: they share an accession number. Rung 3: they share the id
of a requested procedure or a scheduled step. What only looks alike (patient, modality, day,
performer) is rung 4: a suggestion to a person, never a link.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from bfr_dicomweb.orders import scheduled_steps
from bfr_dicomweb.orders.composing import LOCAL
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind, Identifier
from bfr_dicomweb.orders.state import Exam, Finding

STUDY: Final = 1
ACCESSION: Final = 2
PROCEDURE: Final = 3
_MOST_SUGGESTIONS: Final = 5
_DAYS_APART: Final = 1


@dataclass(frozen=True, slots=True)
class StudyKeys:
    """By what a study can be recognised.

    Attributes:
        accessions: Issuer as a system ("" when not said) and value; of the study and of each item
            of its Request Attributes Sequence.
        study_date: Local, ``YYYYMMDD`` or ``YYYY-MM-DD``.
    """

    study_instance_uid: str
    patient: tuple[Identifier, ...] = ()
    accessions: tuple[tuple[str, str], ...] = ()
    procedure_ids: tuple[str, ...] = ()
    step_ids: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    study_date: str = ""
    performer: str = ""


@dataclass(frozen=True, slots=True)
class ExamKeys:
    """By what an exam can be recognised. `times`: UTC, of its schedule and of what was done."""

    id: int
    aliases: tuple[Alias, ...]
    patient: tuple[Identifier, ...] = ()
    modality: str = ""
    times: tuple[str, ...] = ()
    performer: str = ""


def keys_of(
    exam_id: int, exam: Exam, patient: tuple[Identifier, ...], *, patient_id: int = 0
) -> ExamKeys:
    """
    Args:
        patient_id: Of the root, as in `scheduled_steps.study_instance_uid`.
    """
    facts = exam.facts
    times = {facts.scheduled_start, facts.exam_start, exam.performed} - {""}
    aliases = exam.aliases
    uid = scheduled_steps.study_instance_uid(exam, patient_id)
    if uid and not exam.values(AliasKind.STUDY):
        aliases = (*aliases, Alias(AliasKind.STUDY, DICOM_UID, uid))
    return ExamKeys(exam_id, aliases, patient, facts.modality, tuple(sorted(times)), exam.performer)


@dataclass(frozen=True, slots=True)
class Linked:
    """
    Attributes:
        rungs: By exam id, the rung on which it was found.
        suggestions: Ids of exams that a person may choose from, the likeliest first.
    """

    rungs: Mapping[int, int]
    findings: tuple[Finding, ...] = ()
    suggestions: tuple[int, ...] = ()


def link(study: StudyKeys, exams: Iterable[ExamKeys]) -> Linked:
    """The exams that a study is of, whichever of them came first.

    Exams of other patients are not linked. They are given so that a study in the wrong record is
    noticed.
    """
    known = sorted(exams, key=lambda exam: exam.id)
    own = [exam for exam in known if _is_of_one_patient(study, exam)]
    rungs, ambiguous = _climb(study, own)
    findings = []
    if _is_elsewhere(study, known, own, rungs):
        findings.append(_finding(study, "study-patient-mismatch", "high"))
    if ambiguous:
        findings.append(_finding(study, "study-ambiguous", "moderate"))
    if rungs:
        return Linked(rungs, tuple(findings))
    findings.append(_finding(study, "images-without-order", "low"))
    return Linked({}, tuple(findings), _suggestions(study, own, ambiguous))


_DETAIL: Final = {
    "study-patient-mismatch": "the exam that it names is of another patient",
    "study-ambiguous": "its numbers are those of several exams",
    "images-without-order": "no exam has its numbers",
}


def _finding(study: StudyKeys, code: str, severity: str) -> Finding:
    subject = f"{AliasKind.STUDY}|{DICOM_UID}|{study.study_instance_uid}"
    return Finding(code, severity, subject, _DETAIL[code])


def _is_of_one_patient(study: StudyKeys, exam: ExamKeys) -> bool:
    return any(
        one.value == other.value and _is_same_system(one.system, other.system)
        for one in study.patient
        for other in exam.patient
    )


def _is_same_system(one: str, other: str) -> bool:
    return one == other or not one or not other


def _climb(study: StudyKeys, exams: Sequence[ExamKeys]) -> tuple[dict[int, int], set[int]]:
    """The rung of each exam that is found; or, when none is, those between which none decides."""
    rungs: dict[int, int] = {}
    ambiguous: set[int] = set()
    for system, value in sorted(set(study.accessions)):
        found, is_decided = _by_accession(system, value, exams)
        if is_decided:
            rungs |= dict.fromkeys(found, ACCESSION)
        else:
            ambiguous |= found
    rungs |= dict.fromkeys(_having(AliasKind.STUDY, study.study_instance_uid, exams), STUDY)
    if not rungs and not ambiguous:
        return _by_procedure(study, exams)
    return rungs, set() if rungs else ambiguous


def _by_accession(system: str, value: str, exams: Sequence[ExamKeys]) -> tuple[set[int], bool]:
    """Exams with this accession number, and whether it is clear that it is theirs."""
    systems: dict[str, set[int]] = {}
    for exam in exams:
        for alias in exam.aliases:
            if alias.kind == AliasKind.ACCESSION and alias.value == value and value:
                systems.setdefault(alias.system, set()).add(exam.id)
    if system and system in systems:
        return systems[system], True
    meant = systems.get("", set()) if system else set().union(*systems.values())
    return meant, len(meant) < 2


def _by_procedure(study: StudyKeys, exams: Sequence[ExamKeys]) -> tuple[dict[int, int], set[int]]:
    """By the scheduled steps, else by the requested procedures."""
    for kind, ids in (
        (AliasKind.STEP, study.step_ids),
        (AliasKind.PROCEDURE, study.procedure_ids),
    ):
        found = [_having(kind, value, exams) for value in sorted(set(ids) - {""})]
        rungs = {exam: PROCEDURE for one in found if len(one) == 1 for exam in one}
        if rungs or any(found):
            return rungs, set() if rungs else set().union(*found)
    return {}, set()


def _having(kind: AliasKind, value: str, exams: Sequence[ExamKeys]) -> set[int]:
    return {
        exam.id
        for exam in exams
        if any(alias.kind == kind and alias.value == value for alias in exam.aliases)
    }


def _is_elsewhere(
    study: StudyKeys, known: Sequence[ExamKeys], own: Sequence[ExamKeys], rungs: Mapping[int, int]
) -> bool:
    """An exam of another patient names the study, or has its number and no exam of its own does."""
    owned = {exam.id for exam in own}
    others = [exam for exam in known if exam.id not in owned]
    if _having(AliasKind.STUDY, study.study_instance_uid, others):
        return True
    accessions = sorted(set(study.accessions))
    return not rungs and any(_by_accession(*accession, others)[0] for accession in accessions)


def _suggestions(
    study: StudyKeys, exams: Sequence[ExamKeys], ambiguous: set[int]
) -> tuple[int, ...]:
    ranked = sorted((-_likeness(study, exam, exam.id in ambiguous), exam.id) for exam in exams)
    return tuple(chosen for unlikeness, chosen in ranked if unlikeness)[:_MOST_SUGGESTIONS]


def _likeness(study: StudyKeys, exam: ExamKeys, is_ambiguous: bool) -> int:
    """0: nothing speaks for it."""
    values = {value for _, value in study.accessions if value}
    if is_ambiguous or any(
        alias.kind == AliasKind.ACCESSION and alias.value in values for alias in exam.aliases
    ):
        return 8
    is_possible = (not exam.modality or exam.modality in study.modalities) and (
        not exam.performer or not study.performer or exam.performer == study.performer
    )
    days = _days_apart(study.study_date, exam.times)
    if not is_possible or days is None or days > _DAYS_APART:
        return 0
    return 1 + (days == 0) + 2 * bool(exam.modality) + (exam.performer == study.performer != "")


def _days_apart(study_date: str, times: Iterable[str]) -> int | None:
    try:
        day = date.fromisoformat(study_date)
    except ValueError:
        return None
    days = (datetime.fromisoformat(time).astimezone(LOCAL).date() for time in times)
    return min((abs((other - day).days) for other in days), default=None)
