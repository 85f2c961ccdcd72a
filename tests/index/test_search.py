from dataclasses import replace

import orjson
import pytest
import zstandard

from bfr_dicomweb.dicom.matching import LEVEL_OF_KEY, SearchLevel
from bfr_dicomweb.index import conditions
from bfr_dicomweb.index.instances import NewInstance
from bfr_dicomweb.refs import Ref
from catalogue_objects import CT, a_new_instance
from searched import Catalogue


def named(*names: object) -> list[NewInstance]:
    """A study for each name: 2.25.1, 2.25.2 ... by their order."""
    return [a_new_instance(f"2.25.{n}", PatientName=name) for n, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    "wanted",
    ["åkesson^åsa", "AKESSON^ASA", "Akesson^Asa^", "akess*", "*åsa", "A?esson^*", "Åkesson^Åsa^^^"],
)
def test_a_name_is_found_without_regard_to_case_accents_and_empty_components(
    catalogue: Catalogue, wanted: str
) -> None:
    catalogue.store(named("Åkesson^Åsa", "Berg^Bo"))

    assert catalogue.uids(("PatientName", wanted)) == ["2.25.1"]


@pytest.mark.parametrize("wanted", ["Åkesson", "sson", "Asa", "Åkesson^Å", "esson^Åsa"])
def test_a_name_without_wildcard_must_be_the_whole_name(catalogue: Catalogue, wanted: str) -> None:
    catalogue.store(named("Åkesson^Åsa"))

    assert catalogue.uids(("PatientName", wanted)) == []


@pytest.mark.parametrize("wanted", ["山田^太郎", "yamada*", "やまだ^*", "Yamada^Tarou=山田^太郎"])
def test_any_component_group_of_a_name_is_found(catalogue: Catalogue, wanted: str) -> None:
    catalogue.store(
        named(
            {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
        )
    )

    assert catalogue.uids(("PatientName", wanted)) == ["2.25.1"]


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("Svensson^Anna", "anna svens"),
        ("Svensson^Anna", "*anna svenson*"),
        ("Carlsson^Christina", "kristina karlson"),
        ("Karlsson^Kristina", "Carlsson^Christina"),
        ("Joeran^Bjoern", "björn göran"),
        ("Göran^Björn", "joeran"),
        ("Öberg^Eva", "o"),
        ("Lindqvist^Wiktor", "viktor lindkvist"),
    ],
)
def test_fuzzy_matching_finds_what_sounds_or_begins_alike(
    catalogue: Catalogue, stored: str, typed: str
) -> None:
    catalogue.store(named(stored, "Xi^Quo"))

    assert catalogue.uids(("PatientName", typed), ("fuzzymatching", "true")) == ["2.25.1"]


def test_fuzzy_matching_needs_every_word(catalogue: Catalogue) -> None:
    catalogue.store(named("Svensson^Anna"))

    assert catalogue.uids(("PatientName", "anna berg"), ("fuzzymatching", "true")) == []


WRITTEN = ["191212121212", "19121212-1212", "121212-1212", "1212121212"]


@pytest.mark.parametrize("asked", WRITTEN)
def test_written_variants_of_an_identity_number_find_each_other(
    catalogue: Catalogue, asked: str
) -> None:
    catalogue.store([a_new_instance(f"2.25.{n}", PatientID=text) for n, text in enumerate(WRITTEN)])

    assert len(catalogue.uids(("PatientID", asked))) == len(WRITTEN)


@pytest.mark.parametrize("asked", ["201212121212", "12121212", "191212121213", "1912121212-12"])
def test_another_identity_number_finds_nothing(catalogue: Catalogue, asked: str) -> None:
    catalogue.store([a_new_instance(PatientID="191212121212")])

    assert catalogue.uids(("PatientID", asked)) == []


@pytest.mark.parametrize("asked", ["P", "P1", "p12", "12", "P123"])
def test_a_part_of_an_identifier_finds_nothing(catalogue: Catalogue, asked: str) -> None:
    catalogue.store([a_new_instance(PatientID="P12")])

    assert catalogue.uids(("PatientID", asked)) == []


def test_a_patient_is_found_by_an_earlier_identifier(catalogue: Catalogue) -> None:
    earlier = [{"PatientID": "19810829M071", "IssuerOfPatientID": "VGR"}]
    catalogue.store([a_new_instance(PatientID="1", OtherPatientIDsSequence=earlier)])

    assert catalogue.uids(("PatientID", "19810829-m071")) == ["2.25.1"]


def test_a_patient_without_identifier_is_not_found_by_one(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(PatientID=None)])

    assert catalogue.uids(("PatientID", "1")) == []


def test_other_text_is_found_only_in_its_case(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(StudyDescription="DT buk")])

    assert catalogue.uids(("StudyDescription", "dt buk")) == []
    assert catalogue.uids(("StudyDescription", "DT*")) == ["2.25.1"]


@pytest.mark.parametrize("separator", [",", "\\"])
def test_lists_of_uids_have_commas_or_backslashes(catalogue: Catalogue, separator: str) -> None:
    catalogue.store([a_new_instance(f"2.25.{n}") for n in range(4)])

    found = catalogue.uids(("StudyInstanceUID", f"2.25.1{separator}2.25.3"))
    assert sorted(found) == ["2.25.1", "2.25.3"]


def test_studies_come_newest_first(catalogue: Catalogue) -> None:
    moments = [("20240101", "08"), ("20240102", None), ("20240102", "0900"), (None, None)]
    catalogue.store(
        [
            a_new_instance(f"2.25.{n}", StudyDate=date, StudyTime=time)
            for n, (date, time) in enumerate(moments)
        ]
    )

    assert catalogue.uids() == ["2.25.2", "2.25.1", "2.25.0", "2.25.3"]


def test_a_study_tells_what_the_standard_requires_in_ascending_order(
    catalogue: Catalogue,
) -> None:
    catalogue.store([a_new_instance(PatientName="Berg^Bo", SeriesDescription="x")])

    (row,) = catalogue.search().rows
    assert list(row) == sorted(row)
    assert row["00081190"] == {"vr": "UR", "Value": ["\0/studies/2.25.1"]}
    assert row["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Berg^Bo"}]}
    assert row["00080050"] == {"vr": "SH"}
    assert row["00080061"] == {"vr": "CS", "Value": ["CT"]}
    assert (row["00201206"]["Value"], row["00201208"]["Value"]) == ([1], [1])
    assert "0008103E" not in row


def test_a_study_without_modality_has_no_modalities(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(Modality=None)])

    (row,) = catalogue.search(("includefield", "ModalitiesInStudy")).rows
    assert "00080061" not in row


def test_fields_are_included_when_asked_for(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(StudyDescription="DT", InstitutionName="SU", Modality="CT")])

    (row,) = catalogue.search(("includefield", "00081030,00080060"), ("StudyID", "")).rows
    assert row["00081030"]["Value"] == ["DT"]
    assert "00080080" not in row
    assert "00080060" not in row


def test_all_includes_every_study_attribute(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(StudyDescription="DT", PatientComments="c")])

    (row,) = catalogue.search(("includefield", "all")).rows
    assert {"00081030", "00104000", "00080062"} <= set(row)
    assert list(row) == sorted(row)


def test_a_series_tells_its_study_only_across_studies(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(StudyDate="20240101", SeriesDescription="Buk")])

    (across,) = catalogue.search(level=SearchLevel.SERIES).rows
    (within,) = catalogue.search(level=SearchLevel.STUDY_SERIES, ref=Ref("2.25.1")).rows
    assert across["00080020"]["Value"] == ["20240101"]
    assert across["00201206"]["Value"] == [1]
    assert "00080020" not in within
    assert within["00081190"]["Value"] == ["\0/studies/2.25.1/series/2.25.1.1"]
    assert within["00201209"]["Value"] == [1]


def test_a_series_can_include_a_study_attribute(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(StudyDescription="DT")])

    (row,) = catalogue.search(
        ("includefield", "StudyDescription"), level=SearchLevel.STUDY_SERIES, ref=Ref("2.25.1")
    ).rows
    assert row["00081030"]["Value"] == ["DT"]


def test_an_instance_tells_its_size_and_transfer_syntax(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(Rows=512, Columns=256, BitsAllocated=16, NumberOfFrames=2)])

    (row,) = catalogue.search(
        level=SearchLevel.SERIES_INSTANCES, ref=Ref("2.25.1", "2.25.1.1")
    ).rows
    numbers = [row[tag]["Value"] for tag in ("00280008", "00280010", "00280011", "00280100")]
    assert numbers == [[2], [512], [256], [16]]
    assert row["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert row["00080016"]["Value"] == [CT]
    assert "00080060" not in row


def test_an_instance_can_include_what_only_its_document_has(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(ContentDate="20240101", ImageType=["ORIGINAL", "PRIMARY"])])

    (row,) = catalogue.search(
        ("includefield", "ContentDate"),
        ("includefield", "ImageType,StudyInstanceUID"),
        level=SearchLevel.INSTANCES,
    ).rows
    assert row["00080023"]["Value"] == ["20240101"]
    assert row["00080008"]["Value"] == ["ORIGINAL", "PRIMARY"]


def test_bulk_data_in_a_result_begins_at_the_base_uri(catalogue: Catalogue) -> None:
    new = a_new_instance()
    bulk = {"vr": "OB", "BulkDataURI": "\0/bulkdata/00420011"}
    document = zstandard.compress(orjson.dumps(new.attributes | {"00420011": bulk}))
    catalogue.store([replace(new, document=document)])

    (row,) = catalogue.search(("includefield", "all"), level=SearchLevel.INSTANCES).rows
    path = "/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1"
    assert row["00420011"]["BulkDataURI"] == f"\0{path}/bulkdata/00420011"


def test_keys_of_an_upper_level_are_ignored_below_a_path(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(StudyDescription="DT")])

    found = catalogue.uids(
        ("StudyDescription", "MR"), level=SearchLevel.STUDY_SERIES, ref=Ref("2.25.1")
    )
    assert found == ["2.25.1.1"]


def test_a_patient_key_is_matched_below_a_path_too(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(PatientID="A")])

    found = catalogue.uids(("PatientID", "B"), level=SearchLevel.STUDY_SERIES, ref=Ref("2.25.1"))
    assert found == []


def test_what_is_filled_later_is_found_and_what_was_there_too(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(instance="2.25.8", AccessionNumber="A1")])
    catalogue.store(
        [
            a_new_instance(
                instance="2.25.9", PatientName="Ek^Bo", StudyDate="20240101", Modality="SR"
            )
        ]
    )

    for key in (
        ("PatientName", "ek*"),
        ("AccessionNumber", "A1"),
        ("StudyDate", "20240101"),
        ("ModalitiesInStudy", "CT"),
        ("ModalitiesInStudy", "SR"),
        ("PatientID", "1"),
    ):
        assert catalogue.uids(key) == ["2.25.1"], key


@pytest.mark.parametrize(("limit", "offset"), [("0", "0"), ("5", "3"), ("5", "999999999999")])
def test_past_the_end_is_nothing(catalogue: Catalogue, limit: str, offset: str) -> None:
    catalogue.store([a_new_instance(f"2.25.{n}") for n in range(3)])

    found = catalogue.search(("limit", limit), ("offset", offset))
    assert (found.rows, found.remaining) == ([], 0)


def test_remaining_matches_are_counted(catalogue: Catalogue) -> None:
    catalogue.store([a_new_instance(f"2.25.{n}") for n in range(5)])

    found = catalogue.search(("limit", "2"), ("offset", "1"))
    assert (len(found.rows), found.remaining, found.remaining_is_exact) == (2, 2, True)


def test_every_matching_key_has_a_condition() -> None:
    for path in LEVEL_OF_KEY:
        if len(path) == 1:
            known = {**conditions.BY_TAG, **conditions.UID_COLUMNS, **conditions.SUMS}
            assert path[0] in known, path
        else:
            assert path[1] in conditions.SEQUENCES[path[0]].columns, path
