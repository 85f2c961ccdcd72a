"""Identifiers of queries, and their keys compared with attributes in memory."""

from typing import Any

import pytest

from bfr_dicomweb.dicom.matching import Key, Modes, Range, Single
from bfr_dicomweb.dicom.query_identifiers import (
    Negotiated,
    QueryLevel,
    answer,
    asked,
    matches,
    parse_query,
)
from bfr_dicomweb.errors import InvalidQuery
from catalogue_objects import data_set

Json = dict[str, Any]


PLAIN = Negotiated()


def query(negotiated: Negotiated = PLAIN, /, **keys: Any) -> Any:
    return parse_query(data_set(**keys), levels=QueryLevel, negotiated=negotiated, page=100)


def test_values_are_keys_and_what_is_empty_is_returned() -> None:
    found = query(QueryRetrieveLevel="STUDY", PatientID="P1", StudyDescription=None)

    assert found.search.keys == (Key(("00100020",), Single("P1")),)
    assert ("00081030",) in found.search.include


def test_keys_of_levels_above_are_taken() -> None:
    found = query(QueryRetrieveLevel="IMAGE", PatientID="P1", Modality="CT", Rows=512)

    assert [key.path for key in found.search.keys] == [("00080060",), ("00100020",), ("00280010",)]
    assert found.unsupported == ()


@pytest.mark.parametrize(
    ("level", "key", "tag"),
    [
        ("STUDY", {"Modality": "CT"}, "00080060"),
        ("STUDY", {"Rows": None}, "00280010"),
        ("PATIENT", {"StudyDate": "20240131"}, "00080020"),
        ("SERIES", {"NumberOfPatientRelatedStudies": None}, "00201200"),
        ("IMAGE", {"PixelData": None}, "7FE00010"),
    ],
)
def test_keys_that_a_level_does_not_have_are_unsupported(level: str, key: Json, tag: str) -> None:
    assert query(QueryRetrieveLevel=level, **key).unsupported == ((tag,),)


def test_unsupported_keys_may_have_any_value() -> None:
    assert query(QueryRetrieveLevel="STUDY", SeriesDate="yesterday").unsupported


def test_times_are_alone_unless_agreed_otherwise() -> None:
    keys: Json = {"QueryRetrieveLevel": "STUDY", "StudyDate": "20240131-", "StudyTime": "10-"}

    assert {k.match.alone for k in query(**keys).search.keys if isinstance(k.match, Range)} == {
        False, True
    }  # fmt: skip
    together = query(Negotiated(combined_date_time=True), **keys)
    assert not any(key.match.alone for key in together.search.keys)


def test_a_timezone_counts_when_that_was_agreed() -> None:
    keys: Json = {"QueryRetrieveLevel": "STUDY", "TimezoneOffsetFromUTC": "+0200"}

    assert query(**keys).search.timezone_minutes is None
    assert query(Negotiated(timezone=True), **keys).search.timezone_minutes == 120


def test_errors_name_the_attribute_and_not_the_value() -> None:
    with pytest.raises(InvalidQuery, match=r"^StudyDate: must be") as refused:
        query(QueryRetrieveLevel="STUDY", StudyDate="19121212-1212")

    assert "1912" not in str(refused.value)


def test_an_answer_has_what_was_asked_for() -> None:
    found = query(
        QueryRetrieveLevel="STUDY",
        StudyDescription=None,
        ProcedureCodeSequence=[{"CodeMeaning": ""}],
    )
    result = data_set(
        PatientID="P1", ProcedureCodeSequence=[{"CodeValue": "K", "CodeMeaning": "Knee"}]
    )

    assert answer(found, result, retrieve_ae_title="ARCHIVE") == data_set(
        QueryRetrieveLevel="STUDY",
        RetrieveAETitle="ARCHIVE",
        InstanceAvailability="ONLINE",
        StudyDescription=None,
        ProcedureCodeSequence=[{"CodeMeaning": "Knee"}],
    )


# --- in memory -------------------------------------------------------------------------------

NESTED = data_set(
    PatientName="Åkesson^Åsa",
    PatientID="19121212-1212",
    ScheduledProcedureStepSequence=[
        {"Modality": "CT", "ScheduledProcedureStepStartDate": "20240131"},
        {"Modality": "MR", "ScheduledProcedureStepStartDate": "20240201"},
    ],
)


def found_by(**keys: Any) -> bool:
    return matches(asked(data_set(**keys), Modes()), NESTED)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"PatientName": "akesson*"},
        {"PatientID": "191212121212"},
        {"ScheduledProcedureStepSequence": None},
        {"ScheduledProcedureStepSequence": [{"Modality": "CT"}]},
        {"ScheduledProcedureStepSequence": [{"ScheduledProcedureStepStartDate": "20240131-"}]},
        {
            "ScheduledProcedureStepSequence": [
                {"Modality": "MR", "ScheduledProcedureStepStartDate": "20240201"}
            ]
        },
    ],
)
def test_attributes_in_memory_match(keys: Json) -> None:
    assert found_by(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"PatientName": "akesson"},
        {"PatientID": "191212121213"},
        {"AccessionNumber": "A1"},
        {"ScheduledProcedureStepSequence": [{"Modality": "US"}]},
        {
            "ScheduledProcedureStepSequence": [
                {"Modality": "CT", "ScheduledProcedureStepStartDate": "20240201"}
            ]
        },
    ],
)
def test_attributes_in_memory_do_not_match(keys: Json) -> None:
    assert not found_by(**keys)
