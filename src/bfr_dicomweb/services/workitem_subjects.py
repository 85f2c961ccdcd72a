"""What the archive knows of those that workitems are about: patients, exams and studies."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import Attributes, first_text, values_of
from bfr_dicomweb.index import study_rows
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.orders import identifiers
from bfr_dicomweb.orders.identifiers import AliasKind, Identifier
from bfr_dicomweb.services import timeline, worklist
from bfr_dicomweb.services.timeline import ExamRow

_PATIENT_ID, _ISSUER, _ISSUER_QUALIFIERS = "00100020", "00100021", "00100024"
_STUDY_INSTANCE_UID: Final = "0020000D"
_ACCESSION, _ACCESSION_ISSUER = "00080050", "00080051"
_LOCAL_NAMESPACE, _UNIVERSAL_ID = "00400031", "00400032"
_INPUTS: Final = "00404021"
_REQUESTS: Final = "0040A370"


@dataclass(frozen=True, slots=True)
class Subject:
    """
    Attributes:
        patient: What the workitem calls the patient; None when it names nobody.
        patient_id: Of the record that stands for the person; 0 when the archive knows none, or
            several that could be meant.
        exam_ids: That the workitem's requests are.
        studies: Of the Study Instance UIDs that it names, the study first: ids, 0 when nothing of
            it is stored.
    """

    patient: Identifier | None
    patient_id: int
    exam_ids: tuple[int, ...]
    studies: dict[str, int] = field(default_factory=dict)


async def subjects(index: Index, workitems: Sequence[Attributes]) -> list[Subject]:
    """Of each workitem; a few visits to the catalogue for all of them."""
    patients = [_patient(one) for one in workitems]
    known = await _roots(index, {one for one in patients if one is not None})
    uids = [_studies(one) for one in workitems]
    every = {uid for own in uids for uid in own}
    studies = await index.ask(partial(study_rows.ids_of_uids, study_instance_uids=every))
    exams = await _exams(index, workitems)
    return [
        Subject(
            patient,
            root := known.get(patient, 0) if patient is not None else 0,
            tuple(
                dict.fromkeys(
                    exam for request in _requests(one) for exam in _meant(request, root, exams)
                )
            ),
            {uid: studies.get(uid, 0) for uid in own},
        )
        for one, patient, own in zip(workitems, patients, uids, strict=True)
    ]


async def ids_of_patients(index: Index, ids: Collection[int]) -> set[int]:
    """The workitems that may be of one of these patients: their Patient IDs are."""
    people = await timeline.patients(index, ids)
    records = await timeline.patients_of_roots(index, {row.root_id for row in people})
    numbers = {number.value for row in records for number in row.identifiers}
    return await worklist.ids_with(index, (_PATIENT_ID,), numbers) if numbers else set()


async def ids_of_exams(index: Index, ids: Collection[int]) -> set[int]:
    """The workitems that may be of one of these exams: a request has its number or study."""
    found: set[int] = set()
    exams = await timeline.exams(index, ids)
    numbers = {value for row in exams for value in row.exam.values(AliasKind.ACCESSION)}
    studies = {link.study_instance_uid for row in exams for link in row.studies}
    if numbers:
        found |= await worklist.ids_with(index, (_REQUESTS, _ACCESSION), numbers)
    if studies:
        found |= await worklist.ids_with(index, (_REQUESTS, _STUDY_INSTANCE_UID), studies)
    return found


async def ids_of_studies(index: Index, ids: Collection[int]) -> set[int]:
    """The workitems about one of these stored studies."""
    uids = {row.study_instance_uid for row in await timeline.studies(index, ids)}
    if not uids:
        return set()
    return await worklist.ids_with(index, (_STUDY_INSTANCE_UID,), uids) | await worklist.ids_with(
        index, (_INPUTS, _STUDY_INSTANCE_UID), uids
    )


def _patient(workitem: Attributes) -> Identifier | None:
    value = first_text(workitem, _PATIENT_ID).strip()
    if not value:
        return None
    qualifiers = _items(workitem, _ISSUER_QUALIFIERS)
    universal_id = first_text(qualifiers[0], _UNIVERSAL_ID) if qualifiers else ""
    system = identifiers.system_of(first_text(workitem, _ISSUER), universal_id)
    return identifiers.of_patient(value, system)


async def _roots(index: Index, patients: Collection[Identifier]) -> dict[Identifier, int]:
    """Whose each identifier is; not of who may be two persons."""
    if not patients:
        return {}
    rows = await timeline.patients_identified(index, [(None, one.value) for one in patients])
    found: dict[Identifier, int] = {}
    for one in patients:
        roots = {
            row.root_id
            for row in rows
            if any(study_rows.is_same(one, own) for own in row.identifiers)
        }
        if len(roots) == 1:
            found[one] = roots.pop()
    return found


def _studies(workitem: Attributes) -> list[str]:
    named = [workitem, *_items(workitem, _INPUTS), *_requests(workitem)]
    found = (first_text(one, _STUDY_INSTANCE_UID) for one in named)
    return list(dict.fromkeys(uid for uid in found if uid))


def _requests(workitem: Attributes) -> list[Attributes]:
    return _items(workitem, _REQUESTS)


def _items(dataset: Attributes, tag: str) -> list[Any]:
    return [item for item in values_of(dataset, tag) if isinstance(item, dict)]


async def _exams(index: Index, workitems: Iterable[Attributes]) -> list[ExamRow]:
    """All that any of the requests could mean."""
    requests = [request for one in workitems for request in _requests(one)]
    numbers = {first_text(one, _ACCESSION) for one in requests} - {""}
    uids = {first_text(one, _STUDY_INSTANCE_UID) for one in requests} - {""}
    named = [(None, number) for number in sorted(numbers)]
    found = await timeline.exams_identified(index, named) if named else []
    if uids:
        found = [*found, *await timeline.exams_of_studies(index, uids)]
    return list({row.id: row for row in found}.values())


def _meant(request: Attributes, root: int, exams: Iterable[ExamRow]) -> list[int]:
    """The exam of a request, by its study and else by its accession number; only one will do."""
    own = [row for row in exams if not root or row.patient_id == root]
    uid = first_text(request, _STUDY_INSTANCE_UID)
    found = [row.id for row in own if any(uid == link.study_instance_uid for link in row.studies)]
    number = first_text(request, _ACCESSION)
    if number and len(found) != 1:
        issuers = _items(request, _ACCESSION_ISSUER)
        namespace = first_text(issuers[0], _LOCAL_NAMESPACE) if issuers else ""
        universal_id = first_text(issuers[0], _UNIVERSAL_ID) if issuers else ""
        system = identifiers.system_of(namespace, universal_id)
        found = [row.id for row in own if _is_called(row, number, system)]
    return found if len(found) == 1 else []


def _is_called(row: ExamRow, number: str, system: str) -> bool:
    return any(
        alias.kind is AliasKind.ACCESSION
        and alias.value == number
        and (not system or not alias.system or alias.system == system)
        for alias in row.exam.aliases
    )
