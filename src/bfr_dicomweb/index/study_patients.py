"""The patients whose studies are stored, as those studies tell of them.

Patients are walked along the terms of their identifiers, so that all spellings of one identity
number are one patient; with different issuers there are several. A study that names no Patient ID
belongs to no patient here: without a value of its unique key there is no such entity (PS3.4
section C.2.2.1.1).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bfr_dicomweb.dicom import attributes
from bfr_dicomweb.dicom.matching import Search
from bfr_dicomweb.index.answers import Result, element
from bfr_dicomweb.index.columns import Term
from bfr_dicomweb.index.conditions import Parameters, conditions, patient_terms
from bfr_dicomweb.index.plans import study_source
from bfr_dicomweb.index.search import Position, Stretch
from bfr_dicomweb.index.statements import Connection, is_sqlite, rows

# Above it the studies that keys find are not gathered first: most patients will match.
_GATHERED: Final = 20_000
_NUMBERS: Final = ("00201200", "00201202", "00201204")


@dataclass(slots=True)
class _Patient:
    newest: int  # the study that was stored last tells what is known of the patient
    studies: int = 0
    series: int = 0
    instances: int = 0


_Identity = tuple[str, str]  # term of the Patient ID, and its issuer


async def patients_after(conn: Connection, search: Search, after: Position | None) -> Stretch:
    """The next patients behind a position, by their identifiers.

    Patients match when one of their studies does. A stretch can be empty before the last one.
    """
    term, named = after or ("", await _named(conn, search))
    if named is None:
        values = await _next_terms(conn, term, search.limit)
    else:
        values, named = named[: search.limit], named[search.limit :]
    found = await _patients(conn, search, values)
    results = await _results(conn, search, found, values)
    is_last = len(values) < search.limit
    return Stretch(results, None if is_last else (values[-1], named))


async def _named(conn: Connection, search: Search) -> list[str] | None:
    """The terms of all patients that can match, when the keys tell them; else None."""
    source = await study_source(conn, search.keys, search.timezone_minutes, _GATHERED)
    if source.tables == "study t" and not source.bounds_all:
        return None
    page = source.select(f"{source.study_key} AS id", limit=_GATHERED + 1)
    found = await rows(
        conn,
        "SELECT t.patient_id, count(*)"  # noqa: S608 # our words
        f" FROM ({page}) p JOIN study t ON t.id = p.id GROUP BY t.patient_id",
        source.parameters.values,
    )
    if sum(studies for _, studies in found) > _GATHERED:
        return None
    return sorted({_own_term(patient_id) for patient_id, _ in found if patient_id})


def _own_term(patient_id: str) -> str:
    """The first of what a Patient ID can mean; of several values, which are in error, the first."""
    return patient_terms(patient_id.partition("\\")[0])[0]


async def _next_terms(conn: Connection, after: str, limit: int) -> list[str]:
    behind = f"SELECT min(x.value) FROM study_term x WHERE x.kind = {Term.PATIENT.value}"  # noqa: S608
    found = await rows(
        conn,
        f"WITH RECURSIVE v (value, n) AS (SELECT ({behind} AND x.value > ?1), 1"  # noqa: S608
        f" UNION ALL SELECT ({behind} AND x.value > v.value), v.n + 1 FROM v"
        " WHERE v.value IS NOT NULL AND v.n < ?2)"
        " SELECT value FROM v WHERE value IS NOT NULL ORDER BY n",
        (after, limit),
    )
    return [value for (value,) in found]


async def _patients(
    conn: Connection, search: Search, terms: Collection[str]
) -> dict[_Identity, _Patient]:
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    where = _of_terms(terms, parameters)
    where += conditions(search.keys, search.timezone_minutes, parameters)
    found: dict[_Identity, _Patient] = {}
    for term, patient_id, issuer, newest, *_ in await _grouped(conn, where, parameters):
        if patient_id and _own_term(patient_id) == term:
            patient = found.setdefault((term, issuer), _Patient(newest))
            patient.newest = max(patient.newest, newest)
    return found


def _of_terms(terms: Collection[str], parameters: Parameters) -> list[str]:
    return [f"x.kind = {Term.PATIENT.value}", f"x.value {parameters.add_list(terms)}"]


async def _grouped(conn: Connection, where: Sequence[str], parameters: Parameters) -> Sequence[Any]:
    join = "CROSS JOIN" if parameters.for_sqlite else "JOIN"
    return await rows(
        conn,
        "SELECT x.value, t.patient_id, t.issuer_of_patient_id, max(t.id), count(*),"  # noqa: S608
        " sum(t.number_of_series), sum(t.number_of_instances)"
        f" FROM study_term x {join} study t ON t.id = x.study_id WHERE {' AND '.join(where)}"
        " GROUP BY x.value, t.patient_id, t.issuer_of_patient_id"
        " ORDER BY x.value, t.issuer_of_patient_id, t.patient_id",
        parameters.values,
    )


async def _results(
    conn: Connection,
    search: Search,
    found: dict[_Identity, _Patient],
    terms: Collection[str],
) -> list[Result]:
    counted = not search.returned_tags.isdisjoint(_NUMBERS)
    if counted and found:
        await _count(conn, found, terms)
    documents = await _documents(conn, [patient.newest for patient in found.values()])
    results = []
    for patient in found.values():
        stored = orjson.loads(documents[patient.newest])
        result = attributes.select(stored, attributes.PATIENT)
        if counted:
            numbers = (patient.studies, patient.series, patient.instances)
            result |= {t: element("IS", n) for t, n in zip(_NUMBERS, numbers, strict=True)}
        results.append(result)
    return results


async def _count(
    conn: Connection, found: dict[_Identity, _Patient], terms: Collection[str]
) -> None:
    """Of all studies of the patients, whether they match or not."""
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    where = _of_terms(terms, parameters)
    for term, patient_id, issuer, _, *numbers in await _grouped(conn, where, parameters):
        patient = found.get((term, issuer))
        if patient is not None and patient_id and _own_term(patient_id) == term:
            patient.studies += int(numbers[0])
            patient.series += int(numbers[1])
            patient.instances += int(numbers[2])


async def _documents(conn: Connection, study_ids: list[int]) -> dict[int, bytes]:
    if not study_ids:
        return {}
    sql = "SELECT study_id, attributes FROM study_attributes WHERE study_id IN (?1::bigint[])"
    return dict(await rows(conn, sql, (study_ids,)))
