"""conformance/STATEMENT.md says what the code does."""

import re
from pathlib import Path

import pytest

from bfr_dicomweb.dicom import workitem_attributes
from bfr_dicomweb.dicom.attributes import tag_of
from bfr_dicomweb.dicom.json_model import named
from bfr_dicomweb.dicom.matching import LEVEL_OF_KEY, Key, SearchLevel, parse_search
from bfr_dicomweb.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from bfr_dicomweb.dicomweb import conformance_statement, representations
from bfr_dicomweb.dicomweb.endpoints import ENDPOINTS, Endpoint
from bfr_dicomweb.dicomweb.stow import FAILURE_REASON
from bfr_dicomweb.index import answers, conditions
from bfr_dicomweb.refs import Level
from bfr_dicomweb.settings import PREFIX, Settings

COMMITTED = (
    Path(__file__).resolve().parents[2].joinpath(conformance_statement.FILE).read_text("utf-8")
)
PLAIN_SEARCH = {
    Level.STUDY: SearchLevel.STUDIES,
    Level.SERIES: SearchLevel.STUDY_SERIES,
    Level.INSTANCE: SearchLevel.SERIES_INSTANCES,
}


def row_of(first: str) -> list[str]:
    """The other cells of the only row that begins with this one."""
    (row,) = re.findall(rf"^\| {re.escape(first)} \| (.*) \|$", COMMITTED, re.MULTILINE)
    return [cell.strip() for cell in row.split(" | ")]


def tags(keywords: str) -> set[str]:
    return {tag_of(keyword) or keyword for keyword in keywords.split()}


def test_the_committed_statement_is_the_generated_one() -> None:
    assert conformance_statement.document() == COMMITTED


def test_check_notices_a_statement_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    conformance_statement.main([])
    conformance_statement.FILE.write_text("another", "utf-8")

    assert conformance_statement.main(["--check"]) == 1


def test_check_is_content_with_what_was_just_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    conformance_statement.main([])

    assert conformance_statement.main(["--check"]) == 0


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda syntax: syntax.uid)
def test_a_file_is_said_to_be_converted_when_it_is_offered(syntax: TransferSyntax) -> None:
    name = f"{syntax.name} (retired)" if syntax.retired else syntax.name
    offers = representations.file_offers(syntax.uid, single=True)

    offered = any(offer.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN for offer in offers)

    assert row_of(name)[1] == ("yes" if offered else "-")


@pytest.mark.parametrize("level", list(Level))
def test_the_attributes_said_to_be_always_returned_are(level: Level) -> None:
    always, _ = conformance_statement.RETURNED[level]
    chosen = answers.wanted(parse_search([], level=PLAIN_SEARCH[level], max_results=1))

    assert tags(always) == chosen.required


@pytest.mark.parametrize("level", list(Level))
def test_the_attributes_said_to_be_returned_when_known_are(level: Level) -> None:
    _, known = conformance_statement.RETURNED[level]
    chosen = answers.wanted(parse_search([], level=PLAIN_SEARCH[level], max_results=1))

    assert tags(known) == chosen.known


@pytest.mark.parametrize("path", LEVEL_OF_KEY, ids=conformance_statement.keywords)
def test_a_key_is_one_that_the_catalogue_can_compare(path: tuple[str, ...]) -> None:
    of_columns = {(tag,) for tag in (*conditions.BY_TAG, *conditions.UID_COLUMNS)}
    of_items = {
        (tag, inner) for tag, items in conditions.SEQUENCES.items() for inner in items.columns
    }

    assert path in of_columns | of_items | {(tag,) for tag in conditions.SUMS}


@pytest.mark.parametrize("path", LEVEL_OF_KEY, ids=conformance_statement.keywords)
def test_every_key_has_single_value_matching(path: tuple[str, ...]) -> None:
    assert conformance_statement.matches(path, LEVEL_OF_KEY[path])[0]


@pytest.mark.parametrize("path", LEVEL_OF_KEY, ids=conformance_statement.keywords)
def test_the_catalogue_can_compare_a_key_in_every_way_that_is_said(path: tuple[str, ...]) -> None:
    found = [
        conditions.conditions([Key(path, match)], None, conditions.Parameters(for_sqlite=True))
        for matches in conformance_statement.matches(path, LEVEL_OF_KEY[path])
        for match in matches
    ]

    assert [one for one in found if conditions.NEVER in one] == []


def test_the_required_keys_are_all_matched() -> None:
    matched = {conformance_statement.keywords(path) for path in LEVEL_OF_KEY}

    assert matched >= conformance_statement.REQUIRED_KEYS


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("PatientName", ["yes", "-", "yes", "-", "yes", "-"]),
        ("StudyDate", ["yes", "-", "-", "yes", "yes", "-"]),
        ("StudyInstanceUID", ["yes", "yes", "-", "-", "-", "-"]),
        ("ModalitiesInStudy", ["yes", "yes", "yes", "-", "yes", "yes"]),
        ("SeriesNumber", ["yes", "-", "-", "-", "-", "-"]),
    ],
)
def test_the_kinds_of_matching_of_a_key_are_those_of_the_standard(
    keyword: str, expected: list[str]
) -> None:
    assert row_of(keyword)[-6:] == expected


@pytest.mark.parametrize(
    "endpoint", [one for one in ENDPOINTS if one.service == "Studies"], ids=lambda one: one.path
)
def test_every_status_of_an_endpoint_has_a_condition(endpoint: Endpoint) -> None:
    answered = {(endpoint.transaction, status) for status in endpoint.statuses}

    assert answered <= conformance_statement.CONDITIONS.keys()


@pytest.mark.parametrize("rule", workitem_attributes.RULES, ids=lambda rule: ".".join(rule.path))
def test_every_attribute_of_a_workitem_has_a_row(rule: workitem_attributes.Rule) -> None:
    assert f"{'>' * (len(rule.path) - 1)}{named(rule.path[-1:])} |" in COMMITTED


def test_every_endpoint_belongs_to_a_service() -> None:
    assert all(one.service for one in ENDPOINTS if one.section)


@pytest.mark.parametrize("code", sorted(set(FAILURE_REASON.values())))
def test_every_failure_reason_is_explained(code: int) -> None:
    assert f"| {code:04X}H ({code}) |" in COMMITTED


def test_the_settings_it_names_exist() -> None:
    named = set(re.findall(rf"{PREFIX}(\w+)", COMMITTED))

    assert named <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize(
    "name", ["max_results", "max_query_length", "max_frame_bytes", "reserve_bytes"]
)
def test_a_limit_has_the_default_of_its_setting(name: str) -> None:
    default = Settings.model_fields[name].default

    assert f"| {default} | {PREFIX}{name.upper()} |" in COMMITTED


@pytest.mark.parametrize(
    "place", [one for _, _, here in conformance_statement.PLACES for one in here.split(", ")]
)
def test_a_section_that_is_pointed_to_is_there(place: str) -> None:
    assert re.search(rf"^#+ {re.escape(place)} ", COMMITTED, re.MULTILINE)


def test_every_section_of_annex_n_in_a_heading_is_in_the_table_of_places() -> None:
    named = set(
        re.findall(r"\bN(?:\.\d+)+", "".join(re.findall(r"^#.*$", COMMITTED, re.MULTILINE)))
    )
    listed = {
        one for sections, _, _ in conformance_statement.PLACES for one in sections.split(", ")
    }
    assert named - {"N.1.3"} <= listed
