"""Does a resource match: the laws of dates, tokens, strings and references."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.fhir.evaluation import matches
from bfr_dicomweb.fhir.intervals import FOREVER, interval, interval_of, text_of
from bfr_dicomweb.fhir.search import Reader, Search, split, unescaped
from bfr_dicomweb.fhir.search_parameters import PARAMETERS

READER = Reader(PARAMETERS.keys(), "http://archive.test/fhir")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# from 1900 to 2100
MOMENTS = st.integers(-2_208_988_800_000_000, 4_102_444_800_000_000).map(
    lambda microseconds: EPOCH + timedelta(microseconds=microseconds)
)


def searched(kind: str, **criteria: str) -> Search:
    pairs = [(name.replace("__", ":").replace("_", "-"), text) for name, text in criteria.items()]
    return READER.read(kind, pairs)


def finds(resource: dict[str, Any], name: str, value: str) -> bool:
    return matches(READER.read(resource["resourceType"], [(name, value)]), resource)


def authored(text: str) -> dict[str, Any]:
    return {"resourceType": "ServiceRequest", "id": "1", "authoredOn": text}


def written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


@given(resource=MOMENTS, wanted=MOMENTS)
@pytest.mark.parametrize(
    ("prefix", "holds"),
    [
        ("eq", lambda a, b: a == b),
        ("ne", lambda a, b: a != b),
        ("gt", lambda a, b: a > b),
        ("lt", lambda a, b: a < b),
        ("ge", lambda a, b: a >= b),
        ("le", lambda a, b: a <= b),
        ("sa", lambda a, b: a > b),
        ("eb", lambda a, b: a < b),
    ],
)
def test_a_prefix_compares_moments_as_datetime_does(
    prefix: str, holds: Any, resource: datetime, wanted: datetime
) -> None:
    found = finds(authored(written(resource)), "authored", prefix + written(wanted))

    assert found == holds(resource, wanted)


@given(moment=MOMENTS)
@pytest.mark.parametrize("length", [4, 7, 10, 16, 19])
def test_a_moment_lies_in_what_its_beginning_covers(length: int, moment: datetime) -> None:
    text = written(moment)
    covered = interval(text[:length] + ("Z" if length > 10 else ""))
    here = interval(text)
    # a day without a zone is a day of Stockholm, up to two hours off
    room = 0 if length > 10 else 2 * 3_600_000_000

    assert covered.low - room <= here.low < covered.high + room


@given(moment=MOMENTS)
def test_text_of_is_what_interval_reads(moment: datetime) -> None:
    assert text_of(interval(written(moment)).low) == written(moment)


@given(moment=MOMENTS, minutes=st.integers(-14 * 60, 14 * 60))
def test_the_zone_of_a_time_does_not_matter(moment: datetime, minutes: int) -> None:
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    shifted = moment + timedelta(minutes=minutes)
    elsewhere = f"{shifted:%Y-%m-%dT%H:%M:%S.%f}{sign}{hours:02}:{rest:02}"

    assert interval(elsewhere) == interval(written(moment))


@pytest.mark.parametrize(
    ("text", "hours"), [("2024-03-31", 23), ("2024-10-27", 25), ("2024-06-01", 24)]
)
def test_a_day_is_as_long_as_it_is_in_sweden(text: str, hours: int) -> None:
    day = interval(text)

    assert day.high - day.low == hours * 3_600_000_000


@pytest.mark.parametrize(
    "text",
    ["", "24", "2024-1", "2024-13", "2024-02-30", "2024-01-01T25:00", "2024-01-01T10", "x", "0000"],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        interval(text)


@pytest.mark.parametrize("text", ["0001", "0001-01-01", "9999", "9999-12-31", "9999-12-31T23:59Z"])
def test_the_first_and_the_last_dates_are_read(text: str) -> None:
    assert interval(text).low < interval(text).high


@pytest.mark.parametrize(
    ("element", "covered"),
    [
        ({"start": "2024-01-01T00:00:00Z"}, (1_704_067_200_000_000, FOREVER)),
        ({"end": "2024-01-01T00:00:00Z"}, (-FOREVER, 1_704_067_201_000_000)),
        ({"event": ["2024-01-01T00:00:00Z"]}, (1_704_067_200_000_000, 1_704_067_201_000_000)),
    ],
)
def test_periods_and_timings_cover_what_they_say(
    element: dict[str, Any], covered: tuple[int, int]
) -> None:
    found = interval_of(element)

    assert found is not None
    assert (found.low, found.high) == covered


def test_approximately_takes_in_what_is_near() -> None:
    assert finds(authored("2001-01-01T00:00:00Z"), "authored", "ap2002")


def test_approximately_leaves_out_what_is_far() -> None:
    assert not finds(authored("1980-01-01T00:00:00Z"), "authored", "ap2024")


def test_a_plus_sign_that_became_a_space_is_read_as_one() -> None:
    assert finds(authored("2024-01-08T08:00:00Z"), "authored", "2024-01-08T09:00:00 01:00")


CODE = {"coding": [{"system": "urn:a", "code": "x"}, {"code": "y"}], "text": "Röntgen Lungor"}
CODED = {"resourceType": "ServiceRequest", "id": "1", "code": CODE}


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("x", True),
        ("urn:a|x", True),
        ("urn:b|x", False),
        ("|x", False),
        ("|y", True),
        ("urn:a|", True),
        ("urn:b|", False),
        ("X", False),
        ("z,x", True),
    ],
)
def test_a_token_is_compared_in_all_its_forms(token: str, found: bool) -> None:
    assert finds(CODED, "code", token) is found


@given(token=st.sampled_from(["x", "urn:a|x", "urn:b|x", "|y", "urn:a|", "z"]))
def test_not_finds_what_is_not_found(token: str) -> None:
    assert finds(CODED, "code:not", token) is not finds(CODED, "code", token)


@pytest.mark.parametrize("name", ["code", "based-on", "authored", "patient", "_tag"])
@pytest.mark.parametrize("resource", [CODED, {"resourceType": "ServiceRequest", "id": "2"}])
def test_a_value_is_missing_or_it_is_not(resource: dict[str, Any], name: str) -> None:
    assert finds(resource, f"{name}:missing", "true") is not finds(
        resource, f"{name}:missing", "false"
    )


def test_a_separator_that_is_escaped_is_a_character() -> None:
    coded = {**CODED, "code": {"coding": [{"system": "urn:a", "code": "a,b|c$d\\e"}]}}

    assert finds(coded, "code", r"urn:a|a\,b\|c\$d\\e")


@given(parts=st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_parts_that_were_escaped_and_joined_are_split_again(parts: list[str]) -> None:
    escaped = [
        part.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|").replace("$", "\\$")
        for part in parts
    ]

    assert [unescaped(text) for text in split(",".join(escaped), ",")] == parts


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("name", "åke", True),
        ("name", "ake", True),
        ("name", "ke", False),
        ("name:contains", "ke", True),
        ("name:exact", "Åke", True),
        ("name:exact", "åke", False),
        ("family", "SVENS", True),
        ("address-city", "got", True),
    ],
)
def test_a_string_is_compared_by_its_beginning_without_case_and_accents(
    name: str, value: str, found: bool
) -> None:
    patient = {
        "resourceType": "Patient",
        "id": "1",
        "name": [{"family": "Svensson", "given": ["Bo", "Åke"]}],
        "address": [{"city": "Göteborg"}],
    }

    assert finds(patient, name, value) is found


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("based-on", "7", True),
        ("based-on", "ServiceRequest/7", True),
        ("based-on", "ServiceRequest/7/_history/2", True),
        ("based-on", "http://archive.test/fhir/ServiceRequest/7", True),
        ("based-on", "http://elsewhere.test/fhir/ServiceRequest/7", False),
        ("based-on", "Task/7", False),
        ("requester:identifier", "urn:h|SE1", True),
        ("requester:identifier", "urn:h|SE2", False),
        ("performer", "http://elsewhere.test/Organization/1", True),
        ("performer:Organization", "1", False),
    ],
)
def test_a_reference_is_compared_in_all_its_forms(name: str, value: str, found: bool) -> None:
    resource = {
        "resourceType": "ServiceRequest",
        "id": "1",
        "basedOn": [{"reference": "http://archive.test/fhir/ServiceRequest/7"}],
        "requester": {"identifier": {"system": "urn:h", "value": "SE1"}},
        "performer": [{"reference": "http://elsewhere.test/Organization/1"}],
    }
    search = READER.read("ServiceRequest", [(name, value)])

    assert matches(search, resource, base="http://archive.test/fhir") is found


@pytest.mark.parametrize(
    "token",
    ["191212121212", "19121212-1212", "121212+1212"],
)
@pytest.mark.parametrize(
    "system",
    [
        "",
        "http://electronichealth.se/identifier/personnummer|",
        "urn:oid:1.2.752.129.2.1.3.1|",
    ],
)
def test_an_identity_number_is_found_however_it_is_written(system: str, token: str) -> None:
    identifier = {
        "system": "http://electronichealth.se/identifier/personnummer",
        "value": "191212121212",
    }
    patient = {"resourceType": "Patient", "id": "1", "identifier": [identifier]}

    assert finds(patient, "identifier", system + token)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("urn:oid:1.2.752.29.4.19", "urn:oid:1.2.752.129.2.1.4.1"),
        ("urn:oid:1.2.752.129.2.1.4.1", "urn:oid:1.2.752.29.4.19"),
    ],
)
def test_both_systems_of_hsa_ids_are_one(stored: str, asked: str) -> None:
    identifier = {"system": stored, "value": "SE2321000131-E1"}
    unit = {"resourceType": "Organization", "id": "1", "identifier": [identifier]}

    assert finds(unit, "identifier", f"{asked}|SE2321000131-E1")


def test_a_chain_that_nobody_resolved_is_a_mistake() -> None:
    search = READER.read("ServiceRequest", [("patient.identifier", "x")])

    with pytest.raises(ValueError, match="resolved"):
        matches(search, CODED)


def test_a_chain_has_a_last_step() -> None:
    name = ".".join(["based-on"] * 6 + ["identifier"])

    with pytest.raises(InvalidQuery, match="steps"):
        READER.read("ServiceRequest", [(name, "x")])
