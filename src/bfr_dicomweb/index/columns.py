"""What the catalogue keeps of a data set beside its document: the columns that are searched.

One table per level says which attribute is which column and how its values are compared. Text
columns are never NULL: what is absent is the empty text, which only Empty Value Matching finds.
Columns that can hold several values hold each between separators.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.dicom import attributes, matching, person_names
from bfr_dicomweb.dicom.attributes import Attributes, first_text, texts_of, values_of

SEPARATOR: Final = "\x1f"
# Series and instances without a number stand after those that have one; no IS value reaches it.
NO_NUMBER: Final = 1 << 31
_LONGEST_TERM: Final = 128
_LONGEST_TEXT: Final = 512


class Kind(Enum):
    TEXT = auto()  # at most one value
    TEXTS = auto()  # the other identifiers of the patient
    NAME = auto()  # folded groups; its words stand in a column `<name>_words`
    DATE = auto()
    TIME = auto()
    DATETIME = auto()
    INTEGER = auto()  # NULL when absent
    NUMBER = auto()  # NO_NUMBER when absent


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    tag: str
    kind: Kind
    trigrams: bool = False  # patterns are looked up in the trigram index

    @property
    def words(self) -> str:
        return f"{self.name}_words"


def _columns(text: str) -> tuple[Column, ...]:
    """One column a line: its name, the keyword, the kind, ``~`` for the trigram index."""
    found = []
    for line in text.split("\n"):
        if parts := line.split():
            tag = attributes.tag_of(parts[1]) or ""
            found.append(Column(parts[0], tag, Kind[parts[2]], trigrams=parts[-1] == "~"))
    return tuple(found)


STUDY: Final = _columns("""
    study_date                  StudyDate                       DATE
    study_time                  StudyTime                       TIME
    accession_number            AccessionNumber                 TEXT  ~
    study_id                    StudyID                         TEXT  ~
    study_description           StudyDescription                TEXT  ~
    institution_name            InstitutionName                 TEXT  ~
    referring_physician_name    ReferringPhysicianName          NAME  ~
    reading_physician_name      NameOfPhysiciansReadingStudy    NAME  ~
    patient_name                PatientName                     NAME  ~
    patient_id                  PatientID                       TEXT  ~
    issuer_of_patient_id        IssuerOfPatientID               TEXT
    patient_birth_date          PatientBirthDate                DATE
    patient_birth_time          PatientBirthTime                TIME
    patient_sex                 PatientSex                      TEXT
    other_patient_ids           OtherPatientIDs                 TEXTS ~
    other_patient_names         OtherPatientNames               NAME  ~
    ethnic_group                EthnicGroup                     TEXT
    patient_comments            PatientComments                 TEXT
""")
SERIES: Final = _columns("""
    modality                        Modality                        TEXT
    series_number                   SeriesNumber                    NUMBER
    series_description              SeriesDescription               TEXT
    series_date                     SeriesDate                      DATE
    series_time                     SeriesTime                      TIME
    performed_step_id               PerformedProcedureStepID        TEXT
    performed_step_start_date       PerformedProcedureStepStartDate DATE
    performed_step_start_time       PerformedProcedureStepStartTime TIME
    body_part_examined              BodyPartExamined                TEXT
    laterality                      Laterality                      TEXT
    protocol_name                   ProtocolName                    TEXT
    performing_physician_name       PerformingPhysicianName         NAME
    operators_name                  OperatorsName                   NAME
    manufacturer                    Manufacturer                    TEXT
    manufacturer_model_name         ManufacturerModelName           TEXT
    station_name                    StationName                     TEXT
    institutional_department_name   InstitutionalDepartmentName     TEXT
""")
INSTANCE: Final = _columns("""
    instance_number             InstanceNumber                  NUMBER
    content_date                ContentDate                     DATE
    content_time                ContentTime                     TIME
    acquisition_date            AcquisitionDate                 DATE
    acquisition_time            AcquisitionTime                 TIME
    acquisition_datetime        AcquisitionDateTime             DATETIME
    frames_stated               NumberOfFrames                  INTEGER
    image_rows                  Rows                            INTEGER
    image_columns               Columns                         INTEGER
    bits_allocated              BitsAllocated                   INTEGER
""")

# Modalities of documents that people read: the newest comes first, after all images.
REPORT_MODALITIES: Final = frozenset({"SR", "DOC"})
MODALITY: Final = "00080060"
TIMEZONE: Final = "00080201"
MODALITIES_IN_STUDY: Final = "00080061"
SOP_CLASSES_IN_STUDY: Final = "00080062"
_PATIENT_ID: Final = "00100020"
_ISSUER: Final = "00100021"
_OTHER_IDS: Final = "00101000"
_OTHER_IDS_SEQUENCE: Final = "00101002"
_ACCESSION: Final = "00080050"
_BIRTH_DATE: Final = "00100030"
_REQUESTS: Final = "00400275"
_PROCEDURES: Final = "00081032"


class Term(Enum):
    """What study_term finds studies by, newest first."""

    MODALITY = 1
    SOP_CLASS = 2
    PATIENT = 3
    ACCESSION = 4
    BIRTH_DATE = 5
    PROCEDURE = 6


def names(columns: Iterable[Column]) -> list[str]:
    """The columns of the database, in the order of what `row` gives."""
    found = []
    for column in columns:
        found.append(column.name)
        if column.kind is Kind.NAME:
            found.append(column.words)
    return found


def row(columns: Iterable[Column], data_set: Attributes) -> list[Any]:
    found: list[Any] = []
    for column in columns:
        element = data_set.get(column.tag)
        if column.kind is Kind.TEXTS:
            found.append(_other_identifiers(data_set))
        elif column.kind is Kind.NAME:
            found.extend(_name_columns(data_set, column.tag) if element else ("", ""))
        elif element is None:
            found.append(_ABSENT.get(column.kind, ""))
        else:
            found.append(_value(column, data_set))
    return found


_ABSENT: Final[Mapping[Kind, Any]] = {Kind.INTEGER: None, Kind.NUMBER: NO_NUMBER}


def _value(column: Column, data_set: Attributes) -> Any:
    if column.kind in (Kind.INTEGER, Kind.NUMBER):
        return _integer(first_text(data_set, column.tag), _ABSENT[column.kind])
    text = first_text(data_set, column.tag)
    if column.kind is Kind.TEXT:
        several = len(data_set[column.tag].get("Value") or ()) > 1
        texts = texts_of(data_set, column.tag) if several else ()
        return matching.normal_text("\\".join(texts) if len(texts) > 1 else text)
    return _moment(column.kind, text, data_set)


def _moment(kind: Kind, text: str, data_set: Attributes) -> str:
    if kind is Kind.DATE:
        found = matching.date_interval(text)
    elif kind is Kind.TIME:
        found = matching.time_interval(text)
    else:
        found = matching.datetime_interval(text, timezone(data_set))
    return found[0] if found else ""


def _integer(text: str, absent: int | None) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return absent
    return number if -NO_NUMBER <= number < NO_NUMBER else absent


_INVERTED: Final = str.maketrans("0123456789", "9876543210")
_MOMENT_DIGITS: Final = 20


def report_place(modality: str, date: str, time: str, number: int) -> str:
    """Where a report stands among others in ascending order: newest and highest number first.

    Empty, and so before all reports, for what is no report. Moments without a date come last.
    """
    if modality not in REPORT_MODALITIES:
        return ""
    moment = date + time.replace(".", "") if date else ""
    digits = f"{moment:0<{_MOMENT_DIGITS}}".translate(_INVERTED)
    return digits + _inverted_number(number)


def place_of_series(newest: str, number: int) -> str:
    """Where a series of reports stands: by its newest report's place, then by its own number."""
    return newest[:_MOMENT_DIGITS] + _inverted_number(number) if newest else ""


def _inverted_number(number: int) -> str:
    # no number comes after every number
    return f"{2 * NO_NUMBER if number == NO_NUMBER else NO_NUMBER - number:010d}"


def wrapped(values: Iterable[str]) -> str:
    """Each value between separators; empty when there are none."""
    found = [value.replace(SEPARATOR, " ") for value in values if value]
    return f"{SEPARATOR}{SEPARATOR.join(found)}{SEPARATOR}" if found else ""


def unwrapped(text: str) -> list[str]:
    return text.strip(SEPARATOR).split(SEPARATOR) if text else []


def _name_columns(data_set: Attributes, tag: str) -> tuple[str, str]:
    """The folded groups; their words and what these sound like (codes are upper case)."""
    people = (name for name in values_of(data_set, tag) if isinstance(name, dict))
    groups = [group for name in people for group in person_names.folded_groups(name)]
    heard: dict[str, None] = {}
    for group in groups:
        heard.update(dict.fromkeys(person_names.sounds(group)))
        heard.update(dict.fromkeys(person_names.words(group)))
    return wrapped(groups), wrapped(heard)


def timezone(data_set: Attributes) -> int | None:
    text = first_text(data_set, TIMEZONE)
    return matching.offset_minutes(text) if text else None


def utc(data_set: Attributes, date_tag: str, time_tag: str) -> str:
    """The moment of a date and a time in UTC, when the data set tells its zone; else empty."""
    minutes = timezone(data_set)
    date = matching.date_interval(first_text(data_set, date_tag))
    time = matching.time_interval(first_text(data_set, time_tag))
    if minutes is None or date is None or time is None:
        return ""
    return matching.shift(date[0] + time[0], -minutes)


def _items(data_set: Attributes, tag: str) -> list[Attributes]:
    return [item for item in values_of(data_set, tag) if isinstance(item, dict)]


def _texts(item: Attributes, keywords: str) -> tuple[str, ...]:
    tags = (attributes.tag_of(keyword) or "" for keyword in keywords.split())
    return tuple(matching.normal_text(first_text(item, tag)) for tag in tags)


def _other_identifiers(data_set: Attributes) -> str:
    if _OTHER_IDS not in data_set and _OTHER_IDS_SEQUENCE not in data_set:
        return ""
    texts = [*map(matching.normal_text, texts_of(data_set, _OTHER_IDS))]
    return wrapped(dict.fromkeys([*texts, *(text for text, _ in other_ids(data_set))]))


def other_ids(data_set: Attributes) -> list[tuple[str, ...]]:
    """Identifier and issuer of each item of OtherPatientIDsSequence."""
    keywords = "PatientID IssuerOfPatientID"
    return [_texts(item, keywords) for item in _items(data_set, _OTHER_IDS_SEQUENCE)]


def other_id_rows(data_set: Attributes) -> list[tuple[str, ...]]:
    """The same with what the identifier is matched by, once for each meaning it can have."""
    return [
        (term_value(key), text, issuer)
        for text, issuer in other_ids(data_set)
        for key in identity_numbers.match_keys(text)
    ]


def procedures(data_set: Attributes) -> list[tuple[str, ...]]:
    keywords = "CodeValue CodingSchemeDesignator CodeMeaning"
    return [_texts(item, keywords) for item in _items(data_set, _PROCEDURES)]


def requests(data_set: Attributes) -> list[tuple[str, ...]]:
    keywords = "ScheduledProcedureStepID RequestedProcedureID AccessionNumber"
    # These are indexed, and no value that the VR SH allows is as long as this.
    found = [_texts(item, keywords) for item in _items(data_set, _REQUESTS)]
    return [tuple(text[:_LONGEST_TEXT] for text in texts) for texts in found]


def term_value(text: str) -> str:
    """The text, or something as unique and shorter: an index holds no long texts."""
    if len(text) <= _LONGEST_TERM:
        return text
    return text[:_LONGEST_TERM] + hashlib.sha256(text.encode()).hexdigest()


def study_terms(data_set: Attributes) -> set[tuple[int, str]]:
    """The terms that are attributes; modalities and SOP classes come from the series."""
    found: set[tuple[int, str]] = set()
    identifiers = texts_of(data_set, _PATIENT_ID) + texts_of(data_set, _OTHER_IDS)
    identifiers += [text for text, _ in other_ids(data_set)]
    for text in identifiers:
        keys = identity_numbers.match_keys(matching.normal_text(text))
        found |= {(Term.PATIENT.value, key) for key in keys}
    found |= {(Term.ACCESSION.value, matching.normal_text(first_text(data_set, _ACCESSION)))}
    birth_date = matching.date_interval(first_text(data_set, _BIRTH_DATE))
    found |= {(Term.BIRTH_DATE.value, birth_date[0] if birth_date else "")}
    found |= {(Term.PROCEDURE.value, code) for code, *_ in procedures(data_set)}
    return {(kind, term_value(value)) for kind, value in found if value}
