"""The rows of studies: what their instances say of them, and what they hold."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from bfr_dicomweb.dicom import attributes
from bfr_dicomweb.dicom.attributes import Attributes, first_text, has_value
from bfr_dicomweb.index import changes, columns
from bfr_dicomweb.index.columns import Term, unwrapped, wrapped
from bfr_dicomweb.index.statements import Connection, Script, insert, row, rows

if TYPE_CHECKING:
    from bfr_dicomweb.index.series import OpenSeries

_STUDY_DATE: Final = "00080020"
_STUDY_TIME: Final = "00080030"
_MODALITY: Final = "00080060"
# They differ between the instances of a study, or are told from its rows.
_NOT_KEPT: Final = attributes.STUDY_LEVEL & {
    "00080005",
    columns.MODALITIES_IN_STUDY,
    columns.SOP_CLASSES_IN_STUDY,
    "00201200",
    "00201202",
    "00201204",
    "00201206",
    "00201208",
}
_KEPT: Final = attributes.STUDY_LEVEL - _NOT_KEPT


@dataclass(frozen=True, slots=True)
class Described:
    """All that follows from the study's attributes."""

    attributes: dict[str, Any]
    own: tuple[Any, ...]  # the columns of columns.STUDY, and study_utc
    terms: frozenset[tuple[int, str]]
    other_ids: tuple[tuple[str, ...], ...]
    procedures: tuple[tuple[str, ...], ...]
    document: bytes

    @property
    def moment(self) -> tuple[str, str]:
        """Study date and study time, by which studies and their terms are sorted."""
        return self.own[0], self.own[1]


@dataclass(frozen=True, slots=True)
class PreparedStudy:
    study_instance_uid: str
    modality: str
    described: Described


def prepare(study_instance_uid: str, data_set: Attributes) -> PreparedStudy:
    kept = attributes.select(data_set, _KEPT)
    return PreparedStudy(study_instance_uid, first_text(data_set, _MODALITY), _describe(kept))


def _describe(kept: dict[str, Any]) -> Described:
    return _described(orjson.dumps(kept))


# The instances of a study mostly say the same of it.
@lru_cache(maxsize=512)
def _described(document: bytes) -> Described:
    kept = orjson.loads(document)
    return Described(
        attributes=kept,
        own=(*columns.row(columns.STUDY, kept), columns.utc(kept, _STUDY_DATE, _STUDY_TIME)),
        terms=frozenset(columns.study_terms(kept)),
        other_ids=tuple(columns.other_id_rows(kept)),
        procedures=tuple(columns.procedures(kept)),
        document=document,
    )


def filled(stored: Attributes, new: Attributes) -> dict[str, Any] | None:
    """`stored` with the values that only `new` has; None when there are none.

    What is stored stays when the two contradict each other.
    """
    missing = [
        tag
        for tag, element in new.items()
        if element is not stored.get(tag)
        and not has_value(stored.get(tag))
        and (has_value(element) or tag not in stored)
    ]
    if not missing:
        return None
    together = {**stored, **{tag: new[tag] for tag in missing}}
    return {tag: together[tag] for tag in sorted(together)}


@dataclass(slots=True)
class OpenStudy:
    """A study that instances are being added to."""

    id: int
    study_instance_uid: str
    is_new: bool
    attributes: dict[str, Any]
    modalities: list[str] = field(default_factory=list)
    sop_classes: list[str] = field(default_factory=list)
    number_of_series: int = 0
    number_of_instances: int = 0
    change: int = 0
    described: Described | None = None  # of a new study or when later instances filled gaps
    before: Described | None = None  # what is to be taken away then
    terms: list[tuple[int, str]] = field(default_factory=list)  # new modalities, SOP classes

    def add(self, item: PreparedStudy, of: "OpenSeries", sop_class_uid: str, change: int) -> None:
        if item.described.attributes is not self.attributes:
            self._fill(item.described.attributes)
        if of.is_new and not of.number_of_instances:
            self.number_of_series += 1
        self.number_of_instances += 1
        self.change = change
        if item.modality and item.modality not in self.modalities:
            self.modalities.append(item.modality)
            self.terms.append((Term.MODALITY.value, columns.term_value(item.modality)))
        if sop_class_uid not in self.sop_classes:
            self.sop_classes.append(sop_class_uid)
            self.terms.append((Term.SOP_CLASS.value, sop_class_uid))

    def _fill(self, new: dict[str, Any]) -> None:
        together = filled(self.attributes, new)
        if together is None:
            return
        if not self.is_new and self.before is None:
            self.before = _describe(self.attributes)
        self.attributes = together
        self.described = None

    def describe(self) -> Described:
        if self.described is None or self.described.attributes is not self.attributes:
            self.described = _describe(self.attributes)
        return self.described


_OWN: Final = (*columns.names(columns.STUDY), "study_utc")
_SUMS: Final = ("modalities", "sop_classes", "number_of_series", "number_of_instances", "change")
_INSERT: Final = insert("study", ("id", "study_instance_uid", *_OWN, *_SUMS))
_INSERT_ATTRIBUTES: Final = insert("study_attributes", ("study_id", "attributes"))
_INSERT_TERM: Final = insert(
    "study_term", ("kind", "value", "study_date", "study_time", "study_instance_uid", "study_id")
)
_INSERT_OTHER_ID: Final = insert(
    "study_other_id", ("study_id", "match_key", "patient_id", "issuer_of_patient_id")
)
_INSERT_PROCEDURE: Final = insert(
    "study_procedure", ("study_id", "code_value", "coding_scheme_designator", "code_meaning")
)
_UPDATE_SUMS: Final = (
    "UPDATE study SET modalities = ?1, sop_classes = ?2, number_of_series = ?3,"
    " number_of_instances = ?4, change = ?5 WHERE id = ?6"
)
_UPDATE_OWN: Final = (
    "UPDATE study SET "  # noqa: S608 # our names
    + ", ".join(f"{name} = ?{number}" for number, name in enumerate(_OWN, 2))
    + " WHERE id = ?1"
)
_DELETE_TERM: Final = (
    "DELETE FROM study_term WHERE kind = ?1 AND value = ?2 AND study_date = ?3"
    " AND study_time = ?4 AND study_instance_uid = ?5 AND study_id = ?6"
)


async def open_stored(conn: Connection, study_instance_uids: list[str]) -> dict[str, OpenStudy]:
    """Those of these that are there, by UID."""
    found = await rows(
        conn,
        "SELECT s.id, s.study_instance_uid, a.attributes, s.modalities, s.sop_classes,"
        " s.number_of_series, s.number_of_instances, s.change"
        " FROM study s JOIN study_attributes a ON a.study_id = s.id"
        " WHERE s.study_instance_uid IN (?1::text[])",
        (study_instance_uids,),
    )
    return {
        uid: OpenStudy(
            key, uid, False, orjson.loads(document), unwrapped(held), unwrapped(classes), *sums
        )
        for key, uid, document, held, classes, *sums in found
    }


async def open_for_writing(
    conn: Connection, prepared: Iterable[PreparedStudy], counter: changes.Counter
) -> dict[str, OpenStudy]:
    """The studies of a batch by UID, made where they are new. The caller holds the counter."""
    first: dict[str, PreparedStudy] = {}
    for item in prepared:
        first.setdefault(item.study_instance_uid, item)
    opened = await open_stored(conn, list(first))
    for uid, item in first.items():
        if uid not in opened:
            counter.study += 1
            described = item.described
            opened[uid] = OpenStudy(
                counter.study, uid, True, described.attributes, described=described
            )
    return opened


def write(script: Script, opened: Iterable[OpenStudy]) -> None:
    every = list(opened)
    new = [study for study in every if study.is_new]
    described = [(study, study.describe()) for study in new]
    script.add(
        _INSERT,
        [(s.id, s.study_instance_uid, *d.own, *_sums(s)) for s, d in described],
    )
    script.add(_INSERT_ATTRIBUTES, [(s.id, d.document) for s, d in described])
    _write_items(script, described)
    old = [study for study in every if not study.is_new]
    for study in old:
        if study.before is not None:
            _rewrite(script, study, study.before)
    script.add(_UPDATE_SUMS, [(*_sums(study), study.id) for study in old])
    terms = [
        _term(study, *term, study.describe().moment)
        for study in every
        for term in ({*study.describe().terms, *study.terms} if study.is_new else study.terms)
    ]
    script.add(_INSERT_TERM, sorted(terms))


def _sums(study: OpenStudy) -> tuple[Any, ...]:
    return (
        wrapped(study.modalities),
        wrapped(study.sop_classes),
        study.number_of_series,
        study.number_of_instances,
        study.change,
    )


def _term(study: OpenStudy, kind: int, value: str, moment: tuple[str, str]) -> tuple[Any, ...]:
    return kind, value, *moment, study.study_instance_uid, study.id


def _write_items(script: Script, described: Collection[tuple[OpenStudy, Described]]) -> None:
    script.add(_INSERT_OTHER_ID, [(s.id, *texts) for s, d in described for texts in d.other_ids])
    script.add(_INSERT_PROCEDURE, [(s.id, *texts) for s, d in described for texts in d.procedures])


def _rewrite(script: Script, study: OpenStudy, before: Described) -> None:
    """Replace what follows from the attributes, which later instances have filled."""
    after = study.describe()
    _replace_attributes(script, study)
    new_terms = set(study.terms)
    held = _held(study) - new_terms  # these are inserted afterwards, with the new moment
    script.add(
        _DELETE_TERM,
        [_term(study, *term, before.moment) for term in before.terms | held],
    )
    script.add(_INSERT_TERM, [_term(study, *term, after.moment) for term in after.terms | held])


def _replace_attributes(script: Script, study: OpenStudy) -> None:
    described = study.describe()
    script.add(_UPDATE_OWN, [(study.id, *described.own)])
    script.add(
        "UPDATE study_attributes SET attributes = ?2 WHERE study_id = ?1",
        [(study.id, described.document)],
    )
    for table in ("study_other_id", "study_procedure"):
        script.add(f"DELETE FROM {table} WHERE study_id = ?1", [(study.id,)])  # noqa: S608
    _write_items(script, [(study, described)])


def _held(study: OpenStudy) -> set[tuple[int, str]]:
    """The terms of what its instances are."""
    held = {(Term.MODALITY.value, columns.term_value(m)) for m in study.modalities}
    return held | {(Term.SOP_CLASS.value, uid) for uid in study.sop_classes}


def _every_term(study: OpenStudy) -> set[tuple[Any, ...]]:
    described = study.describe()
    return {_term(study, *term, described.moment) for term in described.terms | _held(study)}


def replace(script: Script, before: OpenStudy, after: OpenStudy) -> None:
    """Write a study that has lost instances; `before` is what stands there."""
    if after.attributes != before.attributes:
        _replace_attributes(script, after)
    old, new = _every_term(before), _every_term(after)
    script.add(_DELETE_TERM, sorted(old - new))
    script.add(_INSERT_TERM, sorted(new - old))
    script.add(_UPDATE_SUMS, [(*_sums(after), after.id)])


def remove(script: Script, study: OpenStudy) -> None:
    """With all that is below it."""
    script.add(_DELETE_TERM, sorted(_every_term(study)))
    script.add("DELETE FROM study WHERE id = ?1", [(study.id,)])


@dataclass(frozen=True, slots=True)
class StoredStudy:
    key: int
    study_instance_uid: str
    modalities: tuple[str, ...]
    sop_classes: tuple[str, ...]
    number_of_series: int
    number_of_instances: int
    change: int
    attributes: Mapping[str, Any]


async def find(conn: Connection, study_instance_uid: str) -> StoredStudy | None:
    found = await row(
        conn,
        "SELECT s.id, s.study_instance_uid, s.modalities, s.sop_classes, s.number_of_series,"
        " s.number_of_instances, s.change, a.attributes"
        " FROM study s JOIN study_attributes a ON a.study_id = s.id"
        " WHERE s.study_instance_uid = ?1",
        (study_instance_uid,),
    )
    if found is None:
        return None
    key, uid, held, classes, series, instances, change, document = found
    kept = orjson.loads(document)
    modalities, sop_classes = tuple(unwrapped(held)), tuple(unwrapped(classes))
    return StoredStudy(key, uid, modalities, sop_classes, series, instances, change, kept)
