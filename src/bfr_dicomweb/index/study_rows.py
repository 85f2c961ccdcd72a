"""Reading stored studies with their series, as other standards than DICOM show them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.dicom import matching
from bfr_dicomweb.dicom.attributes import Attributes, first_text, texts_of, values_of
from bfr_dicomweb.index import columns
from bfr_dicomweb.index.answers import Result, element
from bfr_dicomweb.index.columns import Term, unwrapped
from bfr_dicomweb.index.conditions import Parameters
from bfr_dicomweb.index.statements import Connection, is_sqlite, rows
from bfr_dicomweb.index.walks import Page
from bfr_dicomweb.orders import identifiers
from bfr_dicomweb.orders.identifiers import Identifier

_SELECT: Final = (
    "SELECT t.id, t.study_instance_uid, t.change, t.study_date, t.study_time, t.modalities,"
    " t.sop_classes, t.number_of_series, t.number_of_instances, a.attributes"
    " FROM study t JOIN study_attributes a ON a.study_id = t.id"
)
_PATIENT_ID: Final = "00100020"
_ISSUER: Final = "00100021"
_ISSUER_QUALIFIERS: Final = "00100024"
_UNIVERSAL_ID: Final = "00400032"
_OTHER_IDS: Final = "00101000"
_OTHER_IDS_SEQUENCE: Final = "00101002"
# Stands for a date that is not known, and sorts before every one that is.
_NO_DATE: Final = "0000-00-00"


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """Attributes:
    attributes: DICOM JSON of the series level, with the number of its instances.
    """

    id: int
    series_instance_uid: str
    change: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class StudyRow:
    """Attributes:
    attributes: DICOM JSON of the study level, with counts, modalities and SOP classes.
    series: By number, but reports after all else and newest first.
    moment: By which studies are walked: the beginning of an ISO 8601 local time, from
        ``0000-00-00`` when no date is known.
    exam_ids: The exams that it is linked to.
    """

    id: int
    study_instance_uid: str
    change: int
    attributes: Attributes
    series: tuple[SeriesRow, ...]
    moment: str = ""
    exam_ids: tuple[int, ...] = ()


async def by_ids(conn: Connection, ids: Collection[int]) -> list[StudyRow]:
    if not ids:
        return []
    sql = f"{_SELECT} WHERE t.id IN (?1::bigint[]) ORDER BY t.id"
    return await _read(conn, await rows(conn, sql, (sorted(ids),)))


async def by_uids(conn: Connection, study_instance_uids: Collection[str]) -> list[StudyRow]:
    if not study_instance_uids:
        return []
    sql = f"{_SELECT} WHERE t.study_instance_uid IN (?1::text[]) ORDER BY t.id"
    return await _read(conn, await rows(conn, sql, (sorted(study_instance_uids),)))


async def ids_of_uids(conn: Connection, study_instance_uids: Collection[str]) -> dict[str, int]:
    """Of those of these studies that are stored, without reading what they are."""
    if not study_instance_uids:
        return {}
    sql = "SELECT study_instance_uid, id FROM study WHERE study_instance_uid IN (?1::text[])"
    return dict(map(tuple, await rows(conn, sql, (sorted(study_instance_uids),))))


async def was_given(conn: Connection, id: int) -> bool:
    """Whether a study has ever had this id; none gets it again."""
    (last,) = (await rows(conn, "SELECT study FROM counter WHERE id = 1"))[0]
    return 0 < id <= int(last)


async def of_exams(conn: Connection, exam_ids: Collection[int]) -> list[StudyRow]:
    if not exam_ids:
        return []
    sql = (
        f"{_SELECT} WHERE t.id IN"  # noqa: S608 # our words
        " (SELECT study_id FROM study_exam WHERE exam_id IN (?1::bigint[])) ORDER BY t.id"
    )
    return await _read(conn, await rows(conn, sql, (sorted(exam_ids),)))


async def by_accession_numbers(conn: Connection, values: Collection[str]) -> list[StudyRow]:
    """Studies that carry one of these accession numbers, whoever gave it."""
    if not values:
        return []
    terms = sorted({columns.term_value(matching.normal_text(value)) for value in values})
    of_study = "SELECT study_id FROM study_term WHERE kind = ?1 AND value IN (?2::text[])"
    of_series = "SELECT study_id FROM series_request WHERE accession_number IN (?1::text[])"
    found = [
        *await rows(conn, of_study, (Term.ACCESSION.value, terms)),
        *await rows(conn, of_series, (sorted(set(values)),)),
    ]
    return await by_ids(conn, {key for (key,) in found})


async def walk(
    conn: Connection, page: Page, *, modalities: Collection[str] | None = None
) -> list[StudyRow]:
    if modalities is None:
        return await _read(conn, await _page(conn, page))
    terms = [(Term.MODALITY.value, columns.term_value(value)) for value in sorted(modalities)]
    return await _of_terms(conn, terms, page)


async def of_patients(
    conn: Connection, known_as: Collection[Identifier], page: Page
) -> list[StudyRow]:
    """Studies of who has one of these identifiers.

    Two identifiers of one value whose issuers are both known and differ are of two persons.
    """
    keys = {key for known in known_as for key in identity_numbers.match_keys(known.value)}
    terms = [(Term.PATIENT.value, columns.term_value(key)) for key in sorted(keys)]
    found: list[StudyRow] = []
    while terms:
        more = await _of_terms(conn, terms, page)
        found += [row for row in more if is_of(row.attributes, known_as)]
        if len(more) < page.limit or len(found) >= page.limit:
            break
        page = Page(page.limit, page.newest_first, (more[-1].moment, more[-1].id))
    return found[: page.limit]


def is_of(study: Attributes, known_as: Collection[Identifier]) -> bool:
    """Whether the study's patient has one of these identifiers."""
    return any(is_same(one, other) for one in patient_identifiers(study) for other in known_as)


def patient_identifiers(study: Attributes) -> set[Identifier]:
    """All that its attributes call the patient."""
    found = {_identifier(study), *(_identifier(item) for item in _other_ids(study))}
    found |= {identifiers.of_patient(text) for text in texts_of(study, _OTHER_IDS)}
    return {identifier for identifier in found if identifier.value}


def _other_ids(study: Attributes) -> list[Attributes]:
    return [item for item in values_of(study, _OTHER_IDS_SEQUENCE) if isinstance(item, dict)]


def _identifier(item: Attributes) -> Identifier:
    qualifiers = [q for q in values_of(item, _ISSUER_QUALIFIERS) if isinstance(q, dict)]
    universal_id = first_text(qualifiers[0], _UNIVERSAL_ID) if qualifiers else ""
    system = identifiers.system_of(first_text(item, _ISSUER), universal_id)
    return identifiers.of_patient(matching.normal_text(first_text(item, _PATIENT_ID)), system)


def is_same(one: Identifier, other: Identifier) -> bool:
    """Whether two identifiers can be of one person: an identity number is, whoever wrote it."""
    if one.value == other.value and ("" in (one.system, other.system) or one == other):
        return True
    numbers = identity_numbers.variants(one.value)
    return not set(numbers).isdisjoint(identity_numbers.variants(other.value))


# --- in the order of study date and time -----------------------------------------------------


def _moment(study_date: str, study_time: str) -> str:
    date = f"{study_date[:4]}-{study_date[4:6]}-{study_date[6:]}" if study_date else _NO_DATE
    if not study_time:
        return date
    return f"{date}T{study_time[:2]}:{study_time[2:4]}:{study_time[4:]}"


def _date_and_time(moment: str) -> tuple[str, str]:
    date, _, time = moment.partition("T")
    return "" if date == _NO_DATE else date.replace("-", ""), time.replace(":", "")


def _order(page: Page, of: str) -> str:
    direction = "DESC" if page.newest_first else "ASC"
    return f"ORDER BY {of}.study_date {direction}, {of}.study_time {direction}, {of}.id {direction}"


def _after(page: Page, key: str, parameters: Parameters) -> str:
    if page.after is None:
        return "1 = 1"
    moment, last = page.after
    places = ", ".join(map(parameters.add, (*_date_and_time(moment), last)))
    return f"(study_date, study_time, {key}) {'<' if page.newest_first else '>'} ({places})"


async def _page(conn: Connection, page: Page) -> Sequence[Any]:
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    where = _after(page, "id", parameters)
    thin = (
        f"SELECT id, study_date, study_time FROM study t WHERE {where}"  # noqa: S608 # our words
        f" {_order(page, 't')} LIMIT {parameters.add(page.limit)}"
    )
    return await _whole(conn, thin, page, parameters)


async def _of_terms(
    conn: Connection, terms: Sequence[tuple[int, str]], page: Page
) -> list[StudyRow]:
    if not terms:
        return []
    parameters = Parameters(for_sqlite=is_sqlite(conn))
    after = _after(page, "study_id", parameters)
    limit = parameters.add(page.limit)
    order = _order(page, "k").replace("k.id", "k.study_id")
    walks = [
        f"SELECT * FROM (SELECT k.study_id AS id, k.study_date, k.study_time FROM study_term k"  # noqa: S608
        f" WHERE k.kind = {parameters.add(kind)} AND k.value = {parameters.add(value)} AND {after}"
        f" {order} LIMIT {limit}) b{number}"
        for number, (kind, value) in enumerate(terms)
    ]
    thin = f"SELECT * FROM ({' UNION '.join(walks)}) u {_order(page, 'u')} LIMIT {limit}"  # noqa: S608
    return await _read(conn, await _whole(conn, thin, page, parameters))


async def _whole(conn: Connection, thin: str, page: Page, parameters: Parameters) -> Sequence[Any]:
    sql = f"{_SELECT} JOIN ({thin}) p ON p.id = t.id {_order(page, 'p')}"
    return await rows(conn, sql, parameters.values)


# --- rows ------------------------------------------------------------------------------------


async def _read(conn: Connection, found: Sequence[Any]) -> list[StudyRow]:
    if not found:
        return []
    series = await _series(conn, sorted(key for key, *_ in found))
    exams = await _exams(conn, sorted(uid for _, uid, *_ in found))
    return [
        StudyRow(
            key,
            uid,
            change,
            orjson.loads(document) | _told(uid, *sums),
            tuple(series[key]),
            _moment(date, time),
            tuple(exams[uid]),
        )
        for key, uid, change, date, time, *sums, document in found
    ]


def _told(uid: str, modalities: str, sop_classes: str, series: int, instances: int) -> Result:
    return {
        "0020000D": element("UI", uid),
        "00080061": element("CS", *unwrapped(modalities)),
        "00080062": element("UI", *unwrapped(sop_classes)),
        "00201206": element("IS", series),
        "00201208": element("IS", instances),
    }


async def _exams(conn: Connection, study_instance_uids: list[str]) -> dict[str, list[int]]:
    found = defaultdict(list)
    sql = (
        "SELECT study_instance_uid, exam_id FROM study_exam"
        " WHERE study_instance_uid IN (?1::text[]) ORDER BY study_instance_uid, exam_id"
    )
    for uid, exam in await rows(conn, sql, (study_instance_uids,)):
        found[uid].append(exam)
    return found


async def _series(conn: Connection, study_ids: list[int]) -> dict[int, list[SeriesRow]]:
    found = defaultdict(list)
    sql = (
        "SELECT s.study_id, s.id, s.series_instance_uid, s.change, s.number_of_instances,"
        " a.attributes FROM series s JOIN series_attributes a ON a.series_id = s.id"
        " WHERE s.study_id IN (?1::bigint[])"
        " ORDER BY s.study_id, s.report_place, s.series_number, s.series_instance_uid"
    )
    for study_id, key, uid, change, instances, document in await rows(conn, sql, (study_ids,)):
        own = orjson.loads(document) | {
            "0020000E": element("UI", uid),
            "00201209": element("IS", instances),
        }
        found[study_id].append(SeriesRow(key, uid, change, own))
    return found
