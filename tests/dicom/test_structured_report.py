"""Structured reports as text, beside pydicom's reading of the same files."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import Collection
from pydicom.sr.coding import Code as PydicomCode

from bfr_dicomweb.dicom import part10, report_writing, structured_report
from bfr_dicomweb.dicom.structured_report import (
    DEPTH,
    Code,
    Number,
    Person,
    ReadReport,
    Section,
    is_report,
    read,
)
from bfr_dicomweb.errors import InvalidObject
from content_items import (
    BASIC,
    Json,
    a_report,
    code,
    coded,
    container,
    element,
    item,
    number,
    text,
)
from shared_data import dicom_files, require_shared_data

DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


FINDINGS = code("59776-5", "LN", "Findings")
FINDING = code("121071", "DCM", "Finding")
ADDENDUM = code("55107-7", "LN", "Addendum")
SIZE = code("246120007", "SCT", "Nodule size")


def told(*content: Json) -> str:
    return read(a_report(container(FINDINGS, *content))).text


# --- text ------------------------------------------------------------------------------------


def test_each_container_is_a_section_under_its_heading() -> None:
    report = read(
        a_report(
            container(ADDENDUM, text(FINDING, "4 mm nodulus.")),
            container(FINDINGS, text(FINDING, "Ua.")),
        )
    )

    assert report.sections == (
        Section(Code("55107-7", "LN", "Addendum"), "4 mm nodulus."),
        Section(Code("59776-5", "LN", "Findings"), "Ua."),
    )


def test_a_text_below_the_root_is_a_section_of_its_own() -> None:
    report = read(a_report(text(code("121106", "DCM", "Comment"), "Åäö.")))

    assert report.sections == (Section(Code("121106", "DCM", "Comment"), "Åäö."),)


@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r", "\n\r"])
def test_lines_end_alike(line_end: str) -> None:
    assert told(text(FINDING, f"first{line_end}second  ")) == "first\nsecond"


def test_a_concept_that_says_more_than_the_heading_stands_before_its_text() -> None:
    allergies = code("1", "99X", "Allergies")

    assert told(text(FINDING, "Ua."), text(allergies, "None known")) == "Ua.\nAllergies: None known"


@pytest.mark.parametrize(
    ("value", "meaning"), [("[hnsf'U]", "Hounsfield unit"), ("{pixels}", "pixels")]
)
def test_a_unit_that_ucum_writes_in_brackets_is_told_by_its_meaning(
    value: str, meaning: str
) -> None:
    assert told(number(SIZE, -119, code(value, "UCUM", meaning))) == f"Nodule size: -119 {meaning}"


def test_a_measurement_has_its_unit() -> None:
    millimetres = code("mm", "UCUM", "millimeter")

    assert told(number(SIZE, 4.0, millimetres)) == "Nodule size: 4 mm"


def test_a_number_of_things_has_no_unit() -> None:
    assert told(number(SIZE, 3, code("1", "UCUM", "no units"))) == "Nodule size: 3"


def test_a_measurement_that_was_not_possible_says_why() -> None:
    why = element("SQ", code("114000", "DCM", "Not a number"))

    assert told(item("NUM", SIZE, xA301=why)) == "Nodule size: Not a number"


def test_a_modifier_stands_below_what_it_modifies() -> None:
    side = coded(
        code("272741003", "SCT", "Laterality"),
        code("7771000", "SCT", "Left"),
        relationship="HAS CONCEPT MOD",
    )

    assert told(text(FINDING, "Mass.", side)) == "Mass.\n  Laterality: Left"


def test_continuous_content_is_one_sentence() -> None:
    sentence = container(
        FINDINGS,
        text(FINDING, "A mass of"),
        number(SIZE, 3, code("cm", "UCUM", "centimeter")),
        text(FINDING, "was seen."),
        continuous=True,
    )

    assert read(a_report(sentence)).text == "A mass of 3 cm was seen."


@pytest.mark.parametrize(
    ("child", "line"),
    [
        (item("PNAME", SIZE, xA123=element("PN", {"Alphabetic": "Öst^Åsa^B"})), "Åsa B Öst"),
        (item("DATE", SIZE, xA121=element("DA", "20240131")), "2024-01-31"),
        (item("TIME", SIZE, xA122=element("TM", "101112.5")), "10:11:12"),
        (item("DATETIME", SIZE, xA120=element("DT", "2024013110+0100")), "2024-01-31 10 +0100"),
        (item("UIDREF", SIZE, xA124=element("UI", "1.2.3")), "1.2.3"),
        (coded(SIZE, code("1", "99X", "Big")), "Big"),
    ],
)  # fmt: skip
def test_values_of_every_type_have_words(child: Json, line: str) -> None:
    assert told(child) == f"Nodule size: {line}"


def test_containers_in_sections_are_indented() -> None:
    assert told(container(SIZE, text(FINDING, "a"), text(FINDING, "b"))) == "Nodule size:\n  a\n  b"


def test_the_language_of_a_section_is_none_of_its_text() -> None:
    language = coded(
        code("121049", "DCM", "Language of Content Item and Descendants"),
        code("sv-SE", "RFC5646", "Swedish (Sweden)"),
        relationship="HAS CONCEPT MOD",
    )

    assert told(language, text(FINDING, "Ua.")) == "Ua."


def test_pictures_have_no_words() -> None:
    assert read(a_report(container(FINDINGS, item("IMAGE", None)))).sections == ()


def test_a_text_that_was_too_large_to_be_kept_is_counted() -> None:
    large = item("TEXT", FINDING, xA160={"vr": "UT", "BulkDataURI": "\0/bulkdata/x"})

    assert read(a_report(container(FINDINGS, large))).left_out == 1


# --- what stands beside the tree -------------------------------------------------------------


def test_an_observer_has_a_name_a_time_and_an_organisation() -> None:
    observer = {
        "0040A027": element("LO", "Evidia"),
        "0040A030": element("DT", "20240111110000+0100"),
        "0040A075": element("PN", {"Alphabetic": "Öst^Åsa"}),
        "0040A088": element("SQ", code("SE1-1", "99HSA", "Åsa Öst")),
    }
    (found,) = read(a_report(x0040A073=element("SQ", observer))).verifying_observers

    assert (found.name, found.organization) == (Person("Öst", "Åsa"), "Evidia")
    assert found.time == datetime(2024, 1, 11, 10, tzinfo=UTC)
    assert found.identification == Code("SE1-1", "99HSA", "Åsa Öst")


def test_times_are_in_the_zone_of_the_document() -> None:
    report = read(
        a_report(
            x00080023=element("DA", "20240111"),
            x00080033=element("TM", "1130"),
            x00080201=element("SH", "-0130"),
        )
    )

    zone = timezone(timedelta(minutes=-90))
    assert report.content_time == datetime(2024, 1, 11, 11, 30, tzinfo=zone)


@pytest.mark.parametrize(("date", "time"), [("", "11"), ("20240230", "11"), ("2024", "1")])
def test_a_time_that_is_none_is_left_out(date: str, time: str) -> None:
    report = read(a_report(x00080023=element("DA", date), x00080033=element("TM", time)))

    assert report.content_time is None


def test_accession_numbers_are_those_of_the_document_and_of_its_requests() -> None:
    issuer = {"00400032": element("UT", "1.2.752.113.99.7"), "00400033": element("CS", "ISO")}
    request = {
        "0020000D": element("UI", "2.25.1"),
        "00080050": element("SH", "SU2"),
        "00080051": element("SQ", issuer),
        "00402016": element("LO", "REM1"),
        "00401001": element("SH", "RP1"),
    }
    report = read(a_report(x00080050=element("SH", "SU1"), x0040A370=element("SQ", request)))

    assert report.accessions == (Number("SU1"), Number("SU2", "", "1.2.752.113.99.7"))
    assert report.requests[1].placer == Number("REM1")
    assert report.requests[1].requested_procedure_id == "RP1"


def test_predecessors_are_found_in_their_hierarchy() -> None:
    instances = [{"00081155": element("UI", uid)} for uid in ("2.25.8", "2.25.9")]
    series = {"00081199": element("SQ", *instances)}
    study = {"00081115": element("SQ", series)}

    assert read(a_report(x0040A360=element("SQ", study))).predecessors == ("2.25.8", "2.25.9")


def test_who_observed_is_named() -> None:
    observer = item(
        "PNAME",
        code("121008", "DCM", "Person Observer Name"),
        relationship="HAS OBS CONTEXT",
        xA123=element("PN", {"Alphabetic": "Öst^Åsa"}),
    )

    assert read(a_report(observer)).people == (Person("Öst", "Åsa"),)


# --- which are reports -----------------------------------------------------------------------


def context_group(name: str) -> list[PydicomCode]:
    group = Collection(name)
    found = [getattr(group, concept) for concept in group.dir()]
    return [concept for concept in found if isinstance(concept, PydicomCode)]


OF_REPORTS = [
    (concept.value, concept.scheme_designator)
    for concept in context_group("CID7000")
    if concept.scheme_designator == "LN"
]


@pytest.mark.parametrize("title", [*OF_REPORTS, ("111400", "DCM"), ("18782-3", "LN")], ids=str)
def test_a_text_with_the_title_of_an_imaging_report_is_a_report(title: tuple[str, str]) -> None:
    assert is_report(a_report(title=title))


@pytest.mark.parametrize(
    ("title", "sop_class"),
    [
        pytest.param(("113701", "DCM"), DOSE, id="dose"),
        pytest.param(("18748-4", "LN"), DOSE, id="dose under the title of a report"),
        pytest.param(("113000", "DCM"), KEY_OBJECTS, id="key objects"),
        pytest.param(("126000", "DCM"), structured_report.COMPREHENSIVE, id="measurements"),
        pytest.param(("125000", "DCM"), structured_report.COMPREHENSIVE, id="obstetric ultrasound"),
        pytest.param(("125200", "DCM"), structured_report.COMPREHENSIVE, id="echocardiography"),
        pytest.param(("111036", "DCM"), "1.2.840.10008.5.1.4.1.1.88.50", id="mammography CAD"),
        pytest.param(("18748-4", "99X"), BASIC, id="a code of another scheme"),
    ],
)
def test_what_no_radiologist_wrote_is_no_report(title: tuple[str, str], sop_class: str) -> None:
    assert not is_report(a_report(title=title, sop_class=sop_class))


def template(identifier: str) -> Json:
    return element("SQ", {"0040DB00": element("CS", identifier)})


@pytest.mark.parametrize(("identifier", "expected"), [("2000", True), ("1500", False)])
def test_the_template_has_the_last_word(identifier: str, expected: bool) -> None:
    title = ("18748-4", "LN") if not expected else ("X", "99LOCAL")

    assert is_report(a_report(title=title, x0040A504=template(identifier))) is expected


def test_a_data_set_that_is_no_structured_report_is_refused() -> None:
    with pytest.raises(InvalidObject, match="no structured report"):
        read({"00080016": element("UI", BASIC)})


def test_a_document_deeper_than_any_honest_one_is_refused() -> None:
    deep = text(FINDING, "x")
    for _ in range(DEPTH + 1):
        deep = container(FINDINGS, deep)

    with pytest.raises(InvalidObject, match="deeper"):
        read(a_report(deep))


# --- any JSON --------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["CONTAINER", "TEXT", "NUM", "PNAME", "CONTAINS", "20240230", "+9900", "CODE"]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.fixed_dictionaries({"Alphabetic": st.text(max_size=6)}),
)
TAGS = st.sampled_from(
    """
    0040A040 0040A010 0040A043 0040A050 0040A730 0040A504 0040A160 0040A168 0040A300 0040A30A
    004008EA 0040A301 0040A123 0040A121 0040A122 0040A120 0040A124 0040A073 0040A075 0040A030
    0040A027 0040A088 0040A360 00081115 00081199 00081155 0040A370 00080050 00080051 00400031
    00400032 00402016 00401001 00080016 00080018 00080023 00080033 00080201 0020000D 0040DB00
    00080100 00080102 00080104 00080119 0040A491 0040A493 0040A496 00080070
    """.split()  # noqa: SIM905
)
DATA_SETS = st.recursive(
    st.dictionaries(TAGS, st.just({"vr": "UN"}), max_size=2),
    lambda inner: st.dictionaries(
        TAGS,
        st.one_of(
            st.fixed_dictionaries({"vr": st.just("SQ"), "Value": st.lists(inner, max_size=3)}),
            st.fixed_dictionaries({"vr": st.just("LO"), "Value": st.lists(SCALARS, max_size=2)}),
            st.just({"vr": "UT", "BulkDataURI": "\0/bulkdata/1"}),
        ),
        max_size=6,
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(DATA_SETS, st.booleans())
@example({"00080023": element("DA", "00010101"), "00080201": element("SH", "+2359")}, True)
def test_any_json_is_a_report_or_an_invalid_object(data_set: Json, is_tree: bool) -> None:
    if is_tree:
        data_set = data_set | {"0040A040": element("CS", "CONTAINER")}
    is_report(data_set)
    try:
        found = read(data_set)
    except InvalidObject:
        return
    assert isinstance(found, ReadReport)


# --- files -----------------------------------------------------------------------------------


def structured_reports() -> Iterator[Path]:
    for path in dicom_files("by_modality/S*/*", "by_modality/K*/*", "odd/reportsi*"):
        if "0040A730" in part10.read_header(path.read_bytes()).attributes:
            yield path


FILES = list(structured_reports())


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def sample(request: pytest.FixtureRequest) -> Path:
    require_shared_data()
    path: Path = request.param
    return path


def read_file(path: Path) -> ReadReport:
    return read(part10.read_header(path.read_bytes()).attributes)


def inside(data_set: Dataset) -> Iterator[Dataset]:
    for child in data_set.get("ContentSequence", []):
        yield child
        yield from inside(child)


def sections_of(data_set: Dataset) -> Iterator[Dataset]:
    for child in data_set.get("ContentSequence", []):
        if child.get("RelationshipType") == "CONTAINS":
            yield child
            yield from inside(child)


def folded(told: str) -> str:
    return " ".join(told.split())


def test_every_text_that_pydicom_finds_is_told(sample: Path) -> None:
    told = folded(read_file(sample).text)
    document = dcmread(sample)

    texts = [
        folded(child.TextValue)
        for child in sections_of(document)
        if child.get("ValueType") == "TEXT" and child.get("TextValue")
    ]
    assert [text for text in texts if text not in told] == []


def test_every_code_and_uid_that_pydicom_finds_is_told(sample: Path) -> None:
    told = read_file(sample).text
    document = dcmread(sample)

    found = [child.UID for child in sections_of(document) if child.get("ValueType") == "UIDREF"]
    for child in sections_of(document):
        name = (child.get("ConceptNameCodeSequence") or [Dataset()])[0]
        if child.get("ValueType") == "CODE" and name.get("CodeValue") not in ("121049", "121046"):
            found.append(child.ConceptCodeSequence[0].CodeMeaning)
    assert [value for value in found if value not in told] == []


def test_every_number_that_pydicom_finds_is_told(sample: Path) -> None:
    told = read_file(sample).text.replace(",", " ").split()
    numbers = {float(word) for word in told if word.replace("-", "").replace(".", "")[:1].isdigit()
               and is_number(word)}  # fmt: skip
    document = dcmread(sample)

    missing = [
        child.MeasuredValueSequence[0].NumericValue
        for child in sections_of(document)
        if child.get("ValueType") == "NUM"
        and child.get("MeasuredValueSequence")
        and float(child.MeasuredValueSequence[0].NumericValue) not in numbers
    ]
    assert missing == []


def is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def test_what_stands_beside_the_tree_is_what_pydicom_reads(sample: Path) -> None:
    found, document = read_file(sample), dcmread(sample)

    assert found.completion_flag == document.get("CompletionFlag", "")
    assert found.verification_flag == document.get("VerificationFlag", "")
    assert found.title.meaning == document.ConceptNameCodeSequence[0].CodeMeaning
    assert [observer.name.family for observer in found.verifying_observers] == [
        observer.VerifyingObserverName.family_name
        for observer in document.get("VerifyingObserverSequence", [])
    ]


def test_no_sample_is_taken_for_a_report_of_a_radiologist(sample: Path) -> None:
    # They are measurements, doses, key objects, and demonstrations under titles of their own.
    assert not is_report(part10.read_header(sample.read_bytes()).attributes)


def test_headings_are_those_of_the_standard() -> None:
    known = {concept.value: concept.meaning for concept in context_group("CID7001")}
    known.pop("55113-5")  # Key Images have no text

    assert known == {value: code.meaning for value, code in report_writing.HEADINGS.items()}
