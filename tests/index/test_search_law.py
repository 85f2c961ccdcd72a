"""What SQL finds is what a plain reading of the rules finds, for every kind of key.

The matcher here works on the stored DICOM JSON and shares no code with the archive.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings
from pydicom.datadict import tag_for_keyword

from bfr_dicomweb.dicom.matching import SearchLevel
from population import MODALITIES, SOP_CLASSES, population
from searched import Catalogue

Json = dict[str, Any]
FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def values(data_set: Json, *keywords: str) -> list[Any]:
    """The values at a path of keywords, from all items of the sequences on the way."""
    tag = f"{tag_for_keyword(keywords[0]):08X}"
    found = [v for v in data_set.get(tag, {}).get("Value", []) if v not in ("", None)]
    if len(keywords) == 1:
        return found
    return [value for item in found for value in values(item, *keywords[1:])]


def pattern(text: str) -> re.Pattern[str]:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)
    return re.compile("".join(parts), re.DOTALL)


def text_matches(wanted: str) -> Callable[[Any], bool]:
    return lambda value: pattern(wanted).fullmatch(str(value)) is not None


def plain(text: str) -> str:
    text = text.casefold().replace("ø", "o").replace("æ", "ae").replace("ß", "ss")
    marks_off = [c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)]
    return unicodedata.normalize("NFC", "".join(marks_off))


def name_matches(wanted: str) -> Callable[[Any], bool]:
    def one(value: Json) -> bool:
        groups = [re.sub(r"\^*$", "", plain(group)) for group in value.values()]
        asked = re.sub(r"\^*$", "", plain(wanted))
        # A name can be read with any number of empty components behind it.
        return any(
            pattern(asked).fullmatch(group)
            or (asked.endswith("*") and pattern(asked).fullmatch(group + "^"))
            for group in groups
            if group
        )

    return one


def date_text(value: Any) -> str:
    return str(value).replace(".", "")


def time_text(value: Any) -> str:
    whole, _, fraction = str(value).partition(".")
    return f"{whole:0<6}.{fraction:0<6}"


def moment_of(text: str) -> datetime:
    return datetime.strptime(f"{text}+0000", "%Y%m%d%H%M%S.%f%z")


def studies_where(holds: Callable[[Json], bool]) -> set[str]:
    return {i.study_instance_uid for i in population() if holds(i.attributes)}


def any_value(keywords: Iterable[str], matches: Callable[[Any], bool]) -> Callable[[Json], bool]:
    path = tuple(keywords)
    return lambda data_set: any(matches(value) for value in values(data_set, *path))


TEXT_ATTRIBUTES = ["StudyDescription", "InstitutionName", "AccessionNumber", "IssuerOfPatientID"]
PIECES = st.sampled_from(
    ["DT", "buk", " ", "BUK", "MR hj", "ä", "rna", "%", "_", "[", "]", "A1", "0", "X", "thorax"]
)
PATTERNS = st.lists(st.one_of(PIECES, st.sampled_from("*?")), min_size=1, max_size=5).map("".join)
NAME_PIECES = st.sampled_from(
    ["Åke", "sson", "^", "asa", "SVEN", "anna", "-", "dr", "Ø", "st", "山田", "x", "[", "_", "é"]
)
NAME_PATTERNS = st.lists(st.one_of(NAME_PIECES, st.sampled_from("*?")), min_size=1, max_size=5)


@FEW
@given(keyword=st.sampled_from(TEXT_ATTRIBUTES), wanted=PATTERNS)
@example(keyword="StudyDescription", wanted="*[*")
@example(keyword="StudyDescription", wanted="*%_[a-z]*")
@example(keyword="StudyDescription", wanted="*_*")
@example(keyword="InstitutionName", wanted="50?_*")
def test_text_matches_like_its_pattern(populated: Catalogue, keyword: str, wanted: str) -> None:
    if not wanted.strip("* "):
        return
    expected = studies_where(any_value([keyword], text_matches(wanted.strip(" "))))

    assert set(populated.uids((keyword, wanted))) == expected


@FEW
@given(
    keyword=st.sampled_from(
        ["PatientName", "ReferringPhysicianName", "NameOfPhysiciansReadingStudy"]
    ),
    wanted=NAME_PATTERNS.map("".join),
)
@example(keyword="PatientName", wanted="x*[y]*")
@example(keyword="PatientName", wanted="*%\\")
@example(keyword="NameOfPhysiciansReadingStudy", wanted="a*n*")
def test_names_match_like_their_pattern(populated: Catalogue, keyword: str, wanted: str) -> None:
    if not wanted.strip("*^"):
        return
    expected = studies_where(any_value([keyword], name_matches(wanted)))

    assert set(populated.uids((keyword, wanted))) == expected


DAYS = st.sampled_from(["20231231", "20240131", "20240201", "20240215", "20240229", "19991231"])
CLOCK = st.sampled_from(["000000", "100000", "103000", "103059", "120000", "235959"])


@FEW
@given(DAYS, DAYS, st.sampled_from(["between", "from", "until"]))
def test_a_range_of_dates_is_inclusive(
    populated: Catalogue, first: str, last: str, form: str
) -> None:
    first, last = sorted((first, last))
    start, end = "" if form == "until" else first, "" if form == "from" else last

    def inside(value: Any) -> bool:
        return (start or "0") <= date_text(value) <= (end or "9")

    expected = studies_where(any_value(["StudyDate"], inside))
    assert set(populated.uids(("StudyDate", f"{start}-{end}"))) == expected


@FEW
@given(DAYS, DAYS, CLOCK, CLOCK)
def test_ranges_of_date_and_time_are_one_interval(
    populated: Catalogue, first: str, last: str, early: str, late: str
) -> None:
    first, last = sorted((first, last))

    def inside(data_set: Json) -> bool:
        date, time = values(data_set, "StudyDate"), values(data_set, "StudyTime")
        if not date or not time:
            return False
        moment = date_text(date[0]) + time_text(time[0])
        return f"{first}{early}" <= moment <= f"{last}{late}.999999"

    found = populated.uids(("StudyDate", f"{first}-{last}"), ("StudyTime", f"{early}-{late}"))
    assert set(found) == studies_where(inside)


@FEW
@given(DAYS, DAYS, st.sampled_from([-300, 0, 60, 840]))
def test_a_range_in_a_time_zone_is_compared_in_utc(
    populated: Catalogue, first: str, last: str, zone: int
) -> None:
    first, last = sorted((first, last))
    sign, minutes = ("-", -zone) if zone < 0 else ("+", zone)
    offset = timedelta(minutes=zone)
    start = moment_of(f"{first}000000.000000") - offset
    end = moment_of(f"{last}235959.999999") - offset

    def inside(data_set: Json) -> bool:
        date, time = values(data_set, "StudyDate"), values(data_set, "StudyTime")
        own = values(data_set, "TimezoneOffsetFromUTC")
        if not date:
            return False
        if not time or not own:
            return first <= date_text(date[0]) <= last
        hours = int(own[0][:3])
        moment = moment_of(date_text(date[0]) + time_text(time[0]))
        return start <= moment - timedelta(hours=hours) <= end

    found = populated.uids(
        ("StudyDate", f"{first}-{last}"),
        ("TimezoneOffsetFromUTC", f"{sign}{minutes // 60:02d}{minutes % 60:02d}"),
    )
    assert set(found) == studies_where(inside)


@FEW
@given(st.lists(st.sampled_from(MODALITIES), min_size=1, max_size=3, unique=True), st.booleans())
def test_modalities_in_study_are_any_or_all(
    populated: Catalogue, wanted: list[str], every: bool
) -> None:
    held: dict[str, set[str]] = {}
    for one in population():
        held.setdefault(one.study_instance_uid, set()).update(values(one.attributes, "Modality"))
    choose = all if every else any
    expected = {uid for uid, found in held.items() if choose(w in found for w in wanted)}

    found = populated.uids(
        ("ModalitiesInStudy", ",".join(wanted)),
        ("multiplevaluematching", "true" if every else "false"),
    )
    assert set(found) == expected


@FEW
@given(st.sampled_from(["P1", "P10", "A_B", "X"]), st.sampled_from("XY"))
def test_keys_of_a_sequence_match_within_one_item(
    populated: Catalogue, identifier: str, issuer: str
) -> None:
    def has_item(data_set: Json) -> bool:
        return any(
            values(item, "PatientID") == [identifier]
            and values(item, "IssuerOfPatientID") == [issuer]
            for item in values(data_set, "OtherPatientIDsSequence")
        )

    found = populated.uids(
        ("OtherPatientIDsSequence.PatientID", identifier),
        ("OtherPatientIDsSequence.00100021", issuer),
    )
    assert set(found) == studies_where(has_item)


@FEW
@given(st.sampled_from(["PatientName", "PatientID", "StudyDate", "StudyTime", "AccessionNumber"]))
def test_the_empty_value_matches_what_is_empty_or_absent(
    populated: Catalogue, keyword: str
) -> None:
    expected = studies_where(lambda data_set: not values(data_set, keyword))

    assert set(populated.uids((keyword, '""'), ("emptyvaluematching", "true"))) == expected


INSTANCE_KEYS = st.one_of(
    st.tuples(st.just("SOPClassUID"), st.sampled_from(SOP_CLASSES)),
    st.tuples(st.just("InstanceNumber"), st.sampled_from(["1", "2", "9"])),
    st.tuples(st.just("Rows"), st.sampled_from(["64", "512"])),
    st.tuples(st.just("NumberOfFrames"), st.sampled_from(["1", "20"])),
    st.tuples(st.just("Modality"), st.sampled_from(MODALITIES)),
    st.tuples(st.just("SeriesNumber"), st.sampled_from(["1", "30"])),
    st.tuples(st.just("BodyPartExamined"), st.sampled_from(["CHEST", "ABD*"])),
    st.tuples(st.just("AccessionNumber"), st.sampled_from(["A1", "A?", "A1*"])),
)


@FEW
@given(st.lists(INSTANCE_KEYS, min_size=1, max_size=3, unique_by=lambda pair: pair[0]))
def test_keys_of_all_levels_find_instances(
    populated: Catalogue, keys: list[tuple[str, str]]
) -> None:
    expected = {
        one.sop_instance_uid
        for one in population()
        if all(any_value([k], text_matches(w))(one.attributes) for k, w in keys)
    }

    assert set(populated.uids(*keys, level=SearchLevel.INSTANCES)) == expected


@FEW
@given(st.sampled_from(["S1", "S2", "S*"]), st.sampled_from(["R1", "R2"]))
def test_series_are_found_by_the_items_of_their_requests(
    populated: Catalogue, step: str, procedure: str
) -> None:
    def has_item(data_set: Json) -> bool:
        return any(
            text_matches(step)(values(item, "ScheduledProcedureStepID")[0])
            and values(item, "RequestedProcedureID") == [procedure]
            for item in values(data_set, "RequestAttributesSequence")
        )

    found = populated.uids(
        ("RequestAttributesSequence.ScheduledProcedureStepID", step),
        ("00400275.00401001", procedure),
        level=SearchLevel.SERIES,
    )
    expected = {i.series_instance_uid for i in population() if has_item(i.attributes)}
    assert set(found) == expected


@pytest.mark.parametrize("level", list(SearchLevel)[:3], ids=lambda level: level.name)
@settings(FEW, max_examples=12)
@given(
    limit=st.integers(1, 90),
    key=st.sampled_from([(), (("PatientSex", "F"),), (("Modality", "CT"),)]),
)
def test_pages_partition_the_whole_order(
    populated: Catalogue, level: SearchLevel, limit: int, key: tuple[tuple[str, str], ...]
) -> None:
    whole = populated.uids(*key, level=level)

    pages = []
    for offset in range(0, len(whole) + limit, limit):
        page = populated.search(*key, ("limit", str(limit)), ("offset", str(offset)), level=level)
        left = max(0, len(whole) - offset - len(page.rows))
        assert (page.remaining, page.remaining_is_exact) == (left, True)
        tag = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}[level.level]
        pages += [row[tag]["Value"][0] for row in page.rows]
    assert pages == whole
    assert len(set(whole)) == len(whole)
