"""Which exams a stored study is of, by the ladder of `orders.linking`, from whichever side.

What an order names and nobody has stored yet stands there, too, with 0 for the study.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.dicom import matching
from bfr_dicomweb.dicom.attributes import Attributes, first_text, values_of
from bfr_dicomweb.index import columns, findings, study_rows
from bfr_dicomweb.index.columns import Term, unwrapped
from bfr_dicomweb.index.statements import Connection, insert, rows
from bfr_dicomweb.index.turn import STUDY_LINKED, Turn
from bfr_dicomweb.orders import identifiers, linking, records, state
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind, Identifier
from bfr_dicomweb.orders.linking import ExamKeys, StudyKeys

OVERDUE: Final = "images-overdue"
AMBIGUOUS: Final = "study-ambiguous"
WITHOUT_ORDER: Final = "images-without-order"
MISMATCH: Final = "study-patient-mismatch"
_CODES: Final = (AMBIGUOUS, WITHOUT_ORDER, MISMATCH)
# More exams with one accession number are no help to anybody.
_MOST: Final = 500
# Of how many of a patient's exams, the last ones, suggestions are chosen.
_LOOKED_AT: Final = 50

_ACCESSION: Final = "00080050"
_ISSUER: Final = "00080051"
_NAMESPACE: Final = "00400031"
_UNIVERSAL_ID: Final = "00400032"

_STUDIES: Final = """
    SELECT s.id, s.study_instance_uid, s.study_date, s.modalities, a.attributes
    FROM study s JOIN study_attributes a ON a.study_id = s.id
    WHERE s.study_instance_uid IN (?1::text[])
"""
_REQUESTS: Final = (
    "SELECT DISTINCT study_id, scheduled_step_id, requested_procedure_id, accession_number"
    " FROM series_request WHERE series_id IN"
    " (SELECT id FROM series WHERE study_id IN (?1::bigint[]))"
)
_ROOTS: Final = """
    SELECT i.value, i.system, p.root_id
    FROM patient_identifier i JOIN patient p ON p.id = i.patient_id
    WHERE i.value IN (?1::text[])
"""
_NAMING: Final = (
    "SELECT kind, value, exam_id FROM order_alias"
    " WHERE value IN (?1::text[]) AND kind IN (?2::text[]) AND exam_id <> 0 LIMIT ?3"
)
_NAMING_OF: Final = (
    "SELECT kind, value, exam_id, patient_id FROM order_alias"
    " WHERE patient_id IN (?1::bigint[]) AND value IN (?2::text[]) AND exam_id <> 0"
)
_LAST_EXAMS: Final = (
    "SELECT id, patient_id FROM exam WHERE patient_id IN (?1::bigint[])"
    " ORDER BY patient_id DESC, modified DESC, id DESC LIMIT ?2"
)
_EXAMS: Final = "SELECT id, patient_id, order_id, body FROM exam WHERE id IN (?1::bigint[])"
_IDENTIFIERS_OF_ROOTS: Final = """
    SELECT i.system, i.value, p.root_id
    FROM patient p JOIN patient_identifier i ON i.patient_id = p.id
    WHERE p.root_id IN (?1::bigint[])
"""
_LINKS: Final = (
    "SELECT study_instance_uid, exam_id, rung, study_id, patient_id FROM study_exam"
    " WHERE study_instance_uid IN (?1::text[])"
)
_LINKED: Final = "SELECT study_instance_uid FROM study_exam WHERE exam_id IN (?1::bigint[])"
_OF_TERMS: Final = (
    "SELECT study_instance_uid FROM study_term WHERE kind = ?1 AND value IN (?2::text[]) LIMIT ?3"
)
_OF_REQUESTS: Final = """
    SELECT DISTINCT s.study_instance_uid FROM series_request r JOIN study s ON s.id = r.study_id
    WHERE r.accession_number IN (?1::text[]) LIMIT ?2
"""
# From the patient's studies on, as it is written (for SQLite a CROSS JOIN is an order): the ids
# of steps are often as short as "1".
_OF_STEPS: Final = """
    SELECT DISTINCT t.study_instance_uid
    FROM study_term t CROSS JOIN series s CROSS JOIN series_request r
    WHERE t.kind = ?1 AND t.value IN (?2::text[]) AND s.study_id = t.study_id
        AND r.series_id = s.id
        AND (r.requested_procedure_id IN (?3::text[]) OR r.scheduled_step_id IN (?4::text[]))
"""
_COLUMNS: Final = (*("study_instance_uid", "exam_id", "rung", "study_id", "patient_id", "change"),)
_PUT: Final = insert("study_exam", _COLUMNS) + (
    " ON CONFLICT (study_instance_uid, exam_id) DO UPDATE SET rung = excluded.rung,"
    " study_id = excluded.study_id, patient_id = excluded.patient_id, change = excluded.change"
)
_DELETE: Final = "DELETE FROM study_exam WHERE study_instance_uid = ?1 AND exam_id = ?2"
_COUNT: Final = """
    UPDATE exam SET studies = (SELECT count(*) FROM study_exam x
        WHERE x.exam_id = exam.id AND x.study_id <> 0)
    WHERE id = ?1
"""


@dataclass(frozen=True, slots=True)
class _Study:
    id: int
    keys: StudyKeys


@dataclass(frozen=True, slots=True)
class _Exam:
    patient_id: int
    order_id: int
    keys: ExamKeys


@dataclass(slots=True)
class Plan:
    """What has to be written so that links and findings are as they should be.

    Attributes:
        put: Study, exam, rung, key of the study, patient.
        gone: Study and exam.
    """

    put: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    gone: list[tuple[str, int]] = field(default_factory=list)
    stated: list[findings.Stated] = field(default_factory=list)
    scope: list[findings.StoredFinding] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        open_ = {one.key for one in self.scope if not one.resolved}
        return not self.put and not self.gone and open_ == {one.key for one in self.stated}


async def relink_exams(
    turn: Turn,
    exams: Mapping[int, state.Exam],
    *,
    patients: Collection[int] = (),
    gone: Collection[int] = (),
) -> None:
    """Look again at what has to do with these exams, whose rows are written already.

    Args:
        patients: Of whom they are.
        gone: Exams that are no more.
    """
    uids = await _concerned(turn.conn, exams, gone)
    uids |= await _of_steps(turn.conn, exams.values(), patients)
    if uids:
        await write(turn, await plan(turn.conn, sorted(uids)))


async def _concerned(
    conn: Connection, exams: Mapping[int, state.Exam], gone: Collection[int]
) -> set[str]:
    """Studies that these exams name, have in common numbers with, or are linked to."""
    ids = sorted({*exams, *gone})
    uids = {uid for (uid,) in await rows(conn, _LINKED, (ids,))}
    named = {kind: _values(exams.values(), kind) for kind in AliasKind}
    uids.update(named[AliasKind.STUDY])
    accessions = [matching.normal_text(value) for value in named[AliasKind.ACCESSION]]
    if accessions:
        terms = [columns.term_value(value) for value in accessions]
        found = await rows(conn, _OF_TERMS, (Term.ACCESSION.value, terms, _MOST))
        uids.update(uid for (uid,) in found)
        found = await rows(conn, _OF_REQUESTS, (accessions, _MOST))
        uids.update(uid for (uid,) in found)
    return uids


async def _of_steps(
    conn: Connection, exams: Iterable[state.Exam], patients: Collection[int]
) -> set[str]:
    """Studies of these patients that have the id of a procedure or step of the exams."""
    known = list(exams)
    procedures, steps = (_values(known, kind) for kind in (AliasKind.PROCEDURE, AliasKind.STEP))
    if not (procedures or steps) or not patients:
        return set()
    found = await rows(conn, _IDENTIFIERS_OF_ROOTS, (sorted(patients),))
    keys = {key for _, value, _ in found for key in identity_numbers.match_keys(value)}
    terms = sorted(columns.term_value(key) for key in keys)
    asked = (Term.PATIENT.value, terms, procedures, steps)
    return {uid for (uid,) in await rows(conn, _OF_STEPS, asked)}


def _values(exams: Iterable[state.Exam], kind: AliasKind) -> list[str]:
    return sorted({value for exam in exams for value in exam.values(kind)})


async def plan(conn: Connection, uids: Sequence[str]) -> Plan:
    """What is not as it should be with these studies; nothing is written."""
    studies = await _studies(conn, uids)
    named = await _naming(conn, studies, uids)
    exams = await _exams(conn, {exam for group in named.values() for exam in group})
    found = Plan(scope=await findings.by_keys(conn, _finding_keys(uids)))
    wanted: dict[tuple[str, int], tuple[int, int, int]] = {}
    for uid in uids:
        study = studies.get(uid)
        candidates = {key: exams[key] for key in named[uid] if key in exams}
        rungs = (
            _naming_itself(uid, candidates)
            if study is None
            else await _link(conn, study, candidates, found)
        )
        for exam, rung in rungs.items():
            patient = candidates[exam].patient_id
            wanted[uid, exam] = (rung, study.id if study else 0, patient)
    links = {(uid, exam): tuple(row) for uid, exam, *row in await rows(conn, _LINKS, (list(uids),))}
    found.put = [(*pair, *row) for pair, row in wanted.items() if links.get(pair) != row]
    found.gone = [pair for pair in links if pair not in wanted]
    return found


def _finding_keys(uids: Iterable[str]) -> list[str]:
    return [f"{findings.STUDY}{uid}|{code}" for uid in uids for code in _CODES]


async def write(turn: Turn, planned: Plan) -> None:
    pairs = [*(row[:2] for row in planned.put), *planned.gone]
    changes = {
        pair: turn.tell(STUDY_LINKED, f"exam/{pair[1]}", study_instance_uid=pair[0])
        for pair in pairs
    }
    turn.script.add(_DELETE, planned.gone)
    turn.script.add(_PUT, [(*row, changes[row[0], row[1]]) for row in planned.put])
    turn.script.add(_COUNT, [(exam,) for exam in sorted({exam for _, exam in pairs})])
    await findings.settle(turn, planned.stated, planned.scope)
    arrived = sorted({exam for _, exam, _, study_id, _ in planned.put if study_id})
    overdue = [f"{findings.EXAM}{exam}|{OVERDUE}" for exam in arrived]
    findings.resolve(turn, await findings.by_keys(turn.conn, overdue))


# --- the study's side ------------------------------------------------------------------------


async def _studies(conn: Connection, uids: Sequence[str]) -> dict[str, _Study]:
    found = await rows(conn, _STUDIES, (list(uids),))
    if not found:
        return {}
    requests: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
    for study_id, *texts in await rows(conn, _REQUESTS, ([row[0] for row in found],)):
        requests[study_id].append((texts[0], texts[1], texts[2]))
    return {
        uid: _Study(
            key,
            _study_keys(uid, date, unwrapped(held), orjson.loads(document), requests[key]),
        )
        for key, uid, date, held, document in found
    }


def _study_keys(
    uid: str,
    study_date: str,
    modalities: Sequence[str],
    study: Attributes,
    requests: Sequence[tuple[str, str, str]],
) -> StudyKeys:
    accessions = {(_issuer(study), matching.normal_text(first_text(study, _ACCESSION)))}
    # a series does not keep who gave its accession numbers
    accessions |= {("", accession) for _, _, accession in requests}
    return StudyKeys(
        study_instance_uid=uid,
        patient=tuple(sorted(study_rows.patient_identifiers(study))),
        accessions=tuple(sorted(pair for pair in accessions if pair[1])),
        procedure_ids=tuple(sorted({procedure for _, procedure, _ in requests if procedure})),
        step_ids=tuple(sorted({step for step, _, _ in requests if step})),
        modalities=tuple(modalities),
        study_date=study_date,
    )


def _issuer(study: Attributes) -> str:
    items = [item for item in values_of(study, _ISSUER) if isinstance(item, dict)]
    if not items:
        return ""
    namespace, universal_id = (first_text(items[0], tag) for tag in (_NAMESPACE, _UNIVERSAL_ID))
    return identifiers.system_of(namespace, universal_id)


# --- the exams' side -------------------------------------------------------------------------


async def _naming(
    conn: Connection, studies: Mapping[str, _Study], uids: Sequence[str]
) -> dict[str, set[int]]:
    """By study: exams that name it or have one of its numbers, of any patient."""
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for uid in uids:
        wanted[AliasKind.STUDY, uid].add(uid)
    for uid, study in studies.items():
        for _, value in study.keys.accessions:
            wanted[AliasKind.ACCESSION, value].add(uid)
    values = sorted({value for _, value in wanted})
    kinds = [AliasKind.ACCESSION.value, AliasKind.STUDY.value]
    found = [tuple(row) for row in await rows(conn, _NAMING, (values, kinds, _MOST * len(uids)))]
    named: dict[str, set[int]] = {uid: set() for uid in uids}
    for kind, value, exam in found:
        for uid in wanted.get((kind, value), ()):
            named[uid].add(exam)
    for uid, study in studies.items():
        named[uid] |= await _of_patient(conn, study)
    return named


async def _of_patient(conn: Connection, study: _Study) -> set[int]:
    """Exams of the study's patient that have the id of its procedure or step.

    Such ids are often short, and only mean something together with the patient.
    """
    keys = study.keys
    wanted = {(AliasKind.PROCEDURE.value, value) for value in keys.procedure_ids}
    wanted |= {(AliasKind.STEP.value, value) for value in keys.step_ids}
    if not wanted or not (roots := await _roots(conn, keys.patient)):
        return set()
    values = sorted({value for _, value in wanted})
    found = await rows(conn, _NAMING_OF, (roots, values))
    return {exam for kind, value, exam, _ in found if (kind, value) in wanted}


async def _roots(conn: Connection, patient: Sequence[Identifier]) -> list[int]:
    values = sorted({one.value for one in patient})
    found = await rows(conn, _ROOTS, (values,))
    return sorted(
        {
            root
            for value, system, root in found
            if any(
                one.value == value and (one.system == system or "" in (one.system, system))
                for one in patient
            )
        }
    )


async def _exams(conn: Connection, keys: Collection[int]) -> dict[int, _Exam]:
    if not keys:
        return {}
    found = await rows(conn, _EXAMS, (sorted(keys),))
    people: dict[int, list[Identifier]] = defaultdict(list)
    roots = sorted({row[1] for row in found})
    for system, value, root in await rows(conn, _IDENTIFIERS_OF_ROOTS, (roots,)):
        people[root].append(Identifier(system, value))
    exams = {}
    for key, root, order_id, body in found:
        exam = records.loads(state.Exam, bytes(body))
        keys_ = linking.keys_of(key, exam, tuple(sorted(people[root])), patient_id=root)
        exams[key] = _Exam(root, order_id, keys_)
    return exams


# --- together --------------------------------------------------------------------------------


def _naming_itself(uid: str, exams: Mapping[int, _Exam]) -> Mapping[int, int]:
    """The exams that name a study of which nothing is stored."""
    alias = Alias(AliasKind.STUDY, DICOM_UID, uid)
    return {key: linking.STUDY for key, exam in exams.items() if alias in exam.keys.aliases}


async def _link(
    conn: Connection, study: _Study, exams: dict[int, _Exam], found: Plan
) -> Mapping[int, int]:
    linked = linking.link(study.keys, [exam.keys for exam in exams.values()])
    if not linked.rungs:
        likely = await _likely(conn, study)
        exams |= likely
        linked = linking.link(study.keys, [exam.keys for exam in exams.values()])
    for finding in linked.findings:
        if finding.code == WITHOUT_ORDER and not study.keys.accessions:
            continue
        found.stated.append(_stated(study, finding, linked, exams))
    codes = {finding.code for finding in linked.findings}
    if linked.suggestions and not study.keys.accessions and AMBIGUOUS not in codes:
        finding = state.Finding(AMBIGUOUS, "low", _subject(study), "it has no number of an exam")
        found.stated.append(_stated(study, finding, linked, exams))
    return linked.rungs


async def _likely(conn: Connection, study: _Study) -> dict[int, _Exam]:
    roots = await _roots(conn, study.keys.patient)
    if not roots:
        return {}
    found = await rows(conn, _LAST_EXAMS, (roots, _LOOKED_AT))
    return await _exams(conn, [key for key, _ in found])


def _subject(study: _Study) -> str:
    return f"{AliasKind.STUDY.value}|{DICOM_UID}|{study.keys.study_instance_uid}"


def _stated(
    study: _Study, finding: state.Finding, linked: linking.Linked, exams: Mapping[int, _Exam]
) -> findings.Stated:
    uid = study.keys.study_instance_uid
    likely = linked.suggestions if finding.code != MISMATCH else ()
    detail = finding.detail
    if likely:
        detail += "; likely: " + ", ".join(f"exam/{key}" for key in likely)
    exam = exams[likely[0]] if len(likely) == 1 else None
    return findings.Stated(
        key=f"{findings.STUDY}{uid}|{finding.code}",
        code=finding.code,
        severity=finding.severity,
        subject=finding.subject,
        detail=detail,
        patient_id=exam.patient_id if exam else 0,
        order_id=exam.order_id if exam else 0,
        exam_id=likely[0] if exam else 0,
        study_instance_uid=uid,
    )
