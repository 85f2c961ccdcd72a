"""Which studies a viewer is to open (IHE Invoke Image Display, RAD-106)."""

from collections.abc import Sequence
from dataclasses import dataclass

from bfr_dicomweb.dicom.attributes import values_of
from bfr_dicomweb.errors import Conflict
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.orders import identifiers
from bfr_dicomweb.orders.identifiers import Identifier
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.timeline import Page, StudyRow, is_of, patient_identifiers

_MODALITIES_IN_STUDY = "00080061"


@dataclass(frozen=True, slots=True)
class Display:
    """Attributes:
    studies: Study Instance UIDs of what is stored, in the order asked for.
    missing: Accession numbers or Study Instance UIDs of which nothing is stored.
    """

    studies: tuple[str, ...]
    missing: tuple[str, ...] = ()


async def of_studies(index: Index, study_instance_uids: Sequence[str]) -> Display:
    rows = await timeline.studies_by_uids(index, study_instance_uids)
    stored = {row.study_instance_uid for row in rows}
    return Display(
        tuple(uid for uid in study_instance_uids if uid in stored),
        tuple(uid for uid in study_instance_uids if uid not in stored),
    )


async def of_accession_numbers(
    index: Index, accession_numbers: Sequence[str], *, patient: Identifier | None = None
) -> Display:
    """The studies of each, found by their own attributes or by the order they are linked to.

    Raises:
        Conflict: the numbers are those of several patients, and `patient` names none of them.
    """
    studies: dict[str, StudyRow] = {}
    missing = []
    for number in accession_numbers:
        exams = await timeline.exams_identified(index, [(None, number)])
        linked = await timeline.studies_of_exams(index, [exam.id for exam in exams])
        own = await timeline.studies_by_accession_numbers(index, [number])
        found = {row.study_instance_uid: row for row in (*linked, *own)}
        if patient is not None:
            found = {uid: row for uid, row in found.items() if is_of(row.attributes, [patient])}
        studies |= found
        if not found:
            missing.append(number)
    _require_one_patient(list(studies.values()))
    return Display(tuple(studies), tuple(missing))


def _require_one_patient(rows: Sequence[StudyRow]) -> None:
    """Accession numbers of producers who do not name themselves may be the same by chance."""
    known_as = patient_identifiers(rows[0].attributes) if rows else set()
    if not all(is_of(row.attributes, known_as) for row in rows[1:]):
        raise Conflict("these accession numbers are of several patients: name patientID")


async def of_patient(
    index: Index,
    identifier: Identifier,
    *,
    most_recent: int | None = None,
    modalities: frozenset[str] = frozenset(),
    lower: str = "",
    upper: str = "",
    limit: int = 100,
) -> Display:
    """Studies of one patient, newest first; `lower` and `upper` are dates, YYYY-MM-DD."""
    records = await timeline.patients_identified(
        index, [(identifier.system or None, identifier.value)]
    )
    roots = {record.root_id for record in records}
    all_records = await timeline.patients_of_roots(index, roots)
    known_as = {identifier, *(one for record in all_records for one in record.identifiers)}
    found = await timeline.studies_of_patients(index, known_as, Page(limit))
    wanted = [row for row in found if _is_wanted(row, modalities, lower, upper)]
    return Display(tuple(row.study_instance_uid for row in wanted[:most_recent]))


def _is_wanted(row: StudyRow, modalities: frozenset[str], lower: str, upper: str) -> bool:
    date = row.moment[:10]
    if (lower and date < lower) or (upper and date > upper):
        return False
    held = set(map(str, values_of(row.attributes, _MODALITIES_IN_STUDY)))
    return not modalities or not modalities.isdisjoint(held)


def patient_identifier(text: str) -> Identifier:
    """From the form of HL7 v2, ``id^^^namespace&oid&ISO``, or the number alone."""
    value, *rest = text.split("^")
    namespace, universal_id, *_ = [*(rest[2] if len(rest) > 2 else "").split("&"), "", ""]
    return identifiers.of_patient(value, identifiers.system_of(namespace, universal_id))
