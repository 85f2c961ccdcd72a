from contextlib import suppress
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from bfr_dicomweb.dicom import matching
from bfr_dicomweb.dicom.matching import (
    AnyOf,
    Empty,
    Fuzzy,
    Key,
    Match,
    Multiple,
    Name,
    Number,
    Range,
    Search,
    SearchLevel,
    Single,
    Wildcard,
    parse_search,
)
from bfr_dicomweb.errors import InvalidQuery


def parsed(*params: tuple[str, str], level: SearchLevel = SearchLevel.STUDIES) -> Search:
    return parse_search(params, level=level, max_results=100)


def match_of(name: str, value: str, *switches: str) -> Match:
    on = [(switch, "true") for switch in switches]
    search = parsed((name, value), *on, level=SearchLevel.INSTANCES)
    (key,) = search.keys
    return key.match


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PatientID", "P 1 ", Single("P 1")),
        ("StudyDescription", "DT*", Wildcard("DT*")),
        ("PatientName", "Ek^Åsa", Name(("ek^asa^",))),
        ("PatientName", "Ek*=山田", Name(("ek*", "山田^"))),
        ("StudyInstanceUID", "1.2,1.3", AnyOf(("1.2", "1.3"))),
        ("StudyInstanceUID", "1.2\\1.3", AnyOf(("1.2", "1.3"))),
        ("ModalitiesInStudy", "CT,US", AnyOf(("CT", "US"))),
        ("StudyDate", "20240131", Range("20240131", "20240131", single=True)),
        ("StudyDate", "1997.07.01", Range("19970701", "19970701", single=True)),
        ("StudyDate", "20240101-", Range("20240101", None)),
        ("StudyDate", "-20240101", Range(None, "20240101")),
        ("StudyTime", "2230", Range("223000.000000", "223059.999999", single=True)),
        ("StudyTime", "10-1130", Range("100000.000000", "113059.999999")),
        (
            "AcquisitionDateTime",
            "2023-202402",
            Range("20230101000000.000000", "20240229235959.999999"),
        ),
        ("SeriesNumber", "007", Number(7)),
        ("OtherPatientIDsSequence.00100020", "x", Single("x")),
    ],
)
def test_a_value_is_read_by_its_vr(name: str, value: str, expected: Match) -> None:
    assert match_of(name, value) == expected


def test_an_offset_from_utc_is_no_range() -> None:
    found = match_of("AcquisitionDateTime", "20240101120000-0500")
    assert found == Range("20240101170000.000000", "20240101170000.999999", single=True)


def test_several_values_are_all_wanted_when_asked_so() -> None:
    found = match_of("ModalitiesInStudy", "CT\\US", "multiplevaluematching")
    assert found == Multiple(("CT", "US"))


def test_two_quotation_marks_are_the_empty_value_when_asked_so() -> None:
    assert match_of("PatientID", '""', "emptyvaluematching") == Empty()
    assert match_of("PatientID", '""') == Single('""')


def test_fuzzy_matching_takes_the_words_of_a_name() -> None:
    assert match_of("PatientName", "*Åsa Ek*", "fuzzymatching") == Fuzzy(("asa", "ek"))


@pytest.mark.parametrize("value", ["", "*", "**"])
def test_a_key_without_value_asks_for_the_attribute(value: str) -> None:
    search = parsed(("StudyDescription", value), ("SeriesDescription", value))
    assert search.keys == ()
    assert search.returned_tags == {"00081030", "0008103E"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("StudyDate", "2024-01-01"),
        ("StudyDate", "20240230"),
        ("StudyDate", "-"),
        ("StudyTime", "25"),
        ("StudyTime", "1030*"),
        ("StudyInstanceUID", "1.2.*"),
        ("StudyInstanceUID", ","),
        ("SeriesNumber", "x"),
        ("SeriesNumber", "1-3"),
        ("Rows", "1.5"),
        ("ModalitiesInStudy", "CT;US"),
        ("ModalitiesInStudy", "CT,U*"),
        ("PatientID", "a\\b"),
        ("PatientID", "a\x00b"),
        ("OtherPatientIDsSequence", "x"),
        ("TimezoneOffsetFromUTC", "0100"),
        ("TimezoneOffsetFromUTC", "+1500"),
        ("fuzzymatching", "TRUE"),
        ("emptyvaluematching", ""),
        ("multiplevaluematching", "1"),
    ],
)
def test_a_value_that_the_vr_forbids_is_refused_by_the_name_of_its_parameter(
    name: str, value: str
) -> None:
    with pytest.raises(InvalidQuery) as refused:
        parsed((name, value), level=SearchLevel.INSTANCES)
    assert refused.value.parameter == name


@pytest.mark.parametrize("parameter", ["limit", "offset"])
@pytest.mark.parametrize("text", ["-1", "1.0", "", " 1", "+1", "\u0661", "x", "9" * 19, "9" * 5000])
def test_a_number_that_is_no_uint_is_refused(parameter: str, text: str) -> None:
    with pytest.raises(InvalidQuery, match=parameter):
        parsed((parameter, text))


def test_the_limit_is_never_above_the_maximum() -> None:
    assert parsed(("limit", "999999999999999999")).limit == 100
    assert parsed().limit == 100


@pytest.mark.parametrize(
    "twice",
    [("PatientID", "00100020"), ("limit", "limit"), ("fuzzymatching", "fuzzymatching")],
)
def test_nothing_stands_twice(twice: tuple[str, str]) -> None:
    with pytest.raises(InvalidQuery):
        parsed(*((name, "1" if name != "fuzzymatching" else "true") for name in twice))


def test_fields_are_listed_and_repeated() -> None:
    search = parsed(
        ("includefield", "00081030,StudyID"), ("includefield", "00101002.PatientID,00231001,x")
    )
    # a private attribute comes with its creator
    own = {"00231001", "00230010"}
    assert search.returned_tags == {"00081030", "00200010", "00101002"} | own


@pytest.mark.parametrize("others", [["all,StudyID"], ["StudyID", "all"], ["all", "all"]])
def test_all_fields_stand_alone(others: list[str]) -> None:
    with pytest.raises(InvalidQuery, match="includefield"):
        parsed(*(("includefield", value) for value in others))


@pytest.mark.parametrize(
    "name", ["foo", "patientid", "0010002", "PatientID.PatientID", "00231001", "PatientAge", "x.y"]
)
def test_a_parameter_that_is_not_supported_is_ignored_and_told(name: str) -> None:
    search = parsed((name, "001Y"))
    assert (search.keys, search.ignored) == ((), (name,))


@pytest.mark.parametrize("name", ["accept", "charset", "SpecificCharacterSet"])
def test_parameters_of_other_sections_are_no_keys(name: str) -> None:
    search = parsed((name, "x"))
    assert (search.keys, search.ignored) == ((), ())


def test_keys_of_a_level_that_is_not_searched_are_ignored_and_told() -> None:
    search = parsed(
        ("Modality", "CT"), ("StudyID", "1"), ("PatientID", "1"), level=SearchLevel.STUDY_SERIES
    )
    assert search.keys == (
        Key(("00080060",), Single("CT")),
        Key(("00100020",), Single("1")),
    )
    assert search.ignored == ("StudyID",)


NAMES = st.sampled_from(
    [
        *("PatientName", "PatientID", "StudyDate", "StudyTime", "AcquisitionDateTime", "Rows"),
        *("limit", "includefield", "StudyInstanceUID", "00080061"),
        "ProcedureCodeSequence.CodeValue",
    ]
)


@given(st.lists(st.tuples(NAMES, st.text(max_size=20)), max_size=4))
def test_any_text_is_read_or_refused(params: list[tuple[str, str]]) -> None:
    with suppress(InvalidQuery):
        parsed(*params, level=SearchLevel.INSTANCES)


MOMENTS = st.integers(1, 3_652_000).map(
    lambda day: datetime.min.replace(tzinfo=UTC) + timedelta(days=day, microseconds=day * 23)
)


@given(MOMENTS, st.integers(-720, 840))
def test_a_moment_is_shifted_like_a_date_and_time(moment: datetime, minutes: int) -> None:
    def written(value: datetime) -> str:
        return f"{value.year:04d}{value:%m%d%H%M%S.%f}"

    expected = written(moment + timedelta(minutes=minutes))
    assert matching.shift(written(moment), minutes) == expected


@given(st.times())
def test_a_time_of_less_precision_denotes_its_whole_interval(time: object) -> None:
    text = f"{time:%H%M%S.%f}"
    for length in (2, 4, 6, 8, 13):
        interval = matching.time_interval(text[:length])
        assert interval is not None
        assert interval[0] <= text <= interval[1]
