"""Structured reports as documents: what a reader sees of a content tree, and in which order."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.dicom.structured_report import DEPTH, TEXT_CHARACTERS
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.report_content import document_of
from bfr_dicomweb.rendering.report_document import (
    Document,
    Fact,
    Facts,
    Heading,
    Paragraph,
    plain,
    texts,
)
from bfr_dicomweb.rendering.report_html import html
from bfr_dicomweb.rendering.report_text import plain_text
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
    opened,
    text,
)
from objects import a_dataset, written
from shared_data import COMPLETE, NO_DCMTK, dicom_files, require_shared_data

FINDINGS = code("59776-5", "LN", "Findings")
GROUP = code("125007", "DCM", "Measurement Group")
DIAMETER = code("81827009", "SCT", "Diameter")
SITE = code("363698007", "SCT", "Finding Site")
LUNG = code("39607008", "SCT", "Lung")
MILLIMETRE = code("mm", "UCUM", "millimeter")
REGION = code("111030", "DCM", "Image Region")
CT = "1.2.840.10008.5.1.4.1.1.2"


def shown(*content: Json, **values: Any) -> Document:
    return document_of(opened(a_report(*content, **values)))


def rows(document: Document) -> list[Fact]:
    return [row for block in document.blocks if isinstance(block, Facts) for row in block.rows]


def an_image(uid: str = "1.2.3", *, relationship: str = "CONTAINS", **values: Json) -> Json:
    reference = {"00081150": element("UI", CT), "00081155": element("UI", uid)}
    found = item("IMAGE", None, relationship=relationship)
    return found | {"00081199": element("SQ", reference | {k[1:]: v for k, v in values.items()})}


def pointing_at(*path: int, relationship: str = "INFERRED FROM") -> Json:
    return {
        "0040A010": element("CS", relationship),
        "0040DB73": element("UL", *path),
    }


# --- layout ----------------------------------------------------------------------------------


def test_a_container_is_a_heading_above_what_it_holds() -> None:
    document = shown(container(FINDINGS, text(None, "Utan anmärkning.")))

    assert document.blocks == (
        Heading(2, "Findings"),
        Paragraph(plain("Utan anmärkning.")),
    )


def test_containers_in_containers_have_lower_headings() -> None:
    document = shown(container(FINDINGS, container(GROUP, text(None, "a"))))

    assert [b.level for b in document.blocks if isinstance(b, Heading)] == [2, 3]


def test_neighbours_of_one_name_are_numbered() -> None:
    document = shown(container(GROUP, text(None, "a")), container(GROUP, text(None, "b")))

    headings = [b.text for b in document.blocks if isinstance(b, Heading)]
    assert headings == ["Measurement Group 1", "Measurement Group 2"]


def test_the_order_is_that_of_the_tree() -> None:
    document = shown(
        coded(SITE, LUNG),
        container(FINDINGS, text(None, "first"), number(DIAMETER, 3, MILLIMETRE)),
        text(None, "last"),
    )

    said = [told for told in texts(document.blocks) if told]
    assert said == ["Finding Site", "Lung", "Findings", "first", "Diameter", "3 mm", "last"]


def test_measurements_are_rows_of_one_table() -> None:
    document = shown(number(DIAMETER, 3, MILLIMETRE), number(DIAMETER, 4.5, MILLIMETRE))

    assert document.blocks == (
        Facts(
            (
                Fact("Diameter", "3 mm", is_number=True),
                Fact("Diameter", "4.5 mm", is_number=True),
            )
        ),
    )


def test_what_modifies_a_value_stands_beside_it() -> None:
    side = coded(SITE, LUNG, relationship="HAS CONCEPT MOD")

    assert rows(shown(number(DIAMETER, 3, MILLIMETRE, side)))[0].detail == "Finding Site: Lung"


def test_what_a_value_is_inferred_from_stands_below_it() -> None:
    measured = number(DIAMETER, 3, MILLIMETRE, an_image(relationship="INFERRED FROM"))

    assert rows(shown(measured))[1] == Fact(
        "Image", "CT Image, 1.2.3", relation="inferred from", level=1
    )


def test_a_number_that_could_not_be_measured_says_why() -> None:
    why = code("114006", "DCM", "Measurement failure")
    failed = item("NUM", DIAMETER) | {"0040A301": element("SQ", why)}

    assert rows(shown(failed))[0].value == "Measurement failure"


def test_a_long_text_is_a_paragraph_with_its_concept_before_it() -> None:
    said = "Längre än en rad. " * 8
    comment = code("121106", "DCM", "Comment")

    assert shown(text(comment, said)).blocks == (Paragraph(plain(said.strip()), "Comment"),)


def test_continuous_text_is_one_sentence() -> None:
    document = shown(
        container(
            None,
            text(None, "A mass of"),
            number(DIAMETER, 3, MILLIMETRE),
            text(None, "was detected."),
            continuous=True,
        )
    )

    assert document.blocks == (Paragraph(plain("A mass of 3 mm was detected.")),)


def test_a_continuous_container_of_measurements_is_a_table_all_the_same() -> None:
    group = container(GROUP, number(DIAMETER, 3, MILLIMETRE), continuous=True)

    assert rows(shown(group)) == [Fact("Diameter", "3 mm", is_number=True)]


# --- values ----------------------------------------------------------------------------------


def test_an_image_is_named_with_its_frames() -> None:
    found = rows(shown(an_image(x00081160=element("IS", 5, 2))))

    assert found == [Fact("Image", "CT Image, 1.2.3, frames 5, 2")]


def test_many_images_that_nothing_is_said_of_share_a_row() -> None:
    found = rows(shown(*(an_image(f"1.2.{number}") for number in range(4)), an_image("1.2.9")))

    uids = ("1.2.0", "1.2.1", "1.2.2", "1.2.3", "1.2.9")
    assert found == [Fact("Image", "5 x CT Image", members=uids)]


def test_a_waveform_is_named_with_its_channels() -> None:
    found = rows(shown(an_image(x0040A0B0=element("US", 1, 2, 2, 0))))

    assert found[0].value.endswith("channel 2 of group 1, all channels of group 2")


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        ("POINT", (1, 2), "point (1, 2)"),
        ("POLYLINE", (1, 2, 3.5, 4), "line through (1, 2) (3.5, 4)"),
        (
            "CIRCLE",
            (45, 55, 45, 65),
            "circle around the first point through the second (45, 55) (45, 65)",
        ),
    ],
)
def test_coordinates_are_told_in_words(kind: str, data: tuple[float, ...], told: str) -> None:
    drawn = item("SCOORD", REGION) | {
        "00700023": element("CS", kind),
        "00700022": element("FL", *data),
    }

    assert rows(shown(drawn))[0].value == told


def test_coordinates_in_space_name_their_frame_of_reference() -> None:
    drawn = item("SCOORD3D", REGION) | {
        "00700023": element("CS", "POINT"),
        "00700022": element("FD", 1.5, -2, 3),
        "30060024": element("UI", "1.9"),
    }

    assert rows(shown(drawn))[0].value == "point (1.5, -2, 3) mm in frame of reference 1.9"


def test_points_of_long_outlines_are_counted() -> None:
    drawn = item("SCOORD", REGION) | {
        "00700023": element("CS", "POLYLINE"),
        "00700022": element("FL", *range(2000)),
    }

    assert rows(shown(drawn))[0].value.endswith("and 976 more")


def test_points_that_lie_beside_the_attributes_are_not_told() -> None:
    drawn = item("SCOORD", REGION) | {
        "00700023": element("CS", "POLYLINE"),
        "00700022": {"vr": "FL", "BulkDataURI": "\0/bulkdata/x"},
    }

    assert rows(shown(drawn))[0].value == "line through more points than are told here"


def test_times_are_told_in_seconds() -> None:
    marked = item("TCOORD", REGION) | {
        "0040A130": element("CS", "SEGMENT"),
        "0040A138": element("DS", 1, 2.5),
    }

    assert rows(shown(marked))[0].value == "segment: 1, 2.5 s"


def test_a_name_is_spoken_with_its_other_writings() -> None:
    name = {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou^^Dr", "Ideographic": "山田^太郎"}]}
    person = item("PNAME", code("121008", "DCM", "Person Observer Name"), xA123=name)

    assert rows(shown(person))[0].value == "Dr Tarou Yamada (太郎 山田)"


def test_a_text_that_lies_beside_the_attributes_is_read(tmp_path: Path) -> None:
    long_text = "Å" * 80_000
    comment = Dataset()
    comment.RelationshipType, comment.ValueType, comment.TextValue = "CONTAINS", "TEXT", long_text
    report = a_dataset(SOPClassUID=BASIC, SpecificCharacterSet="ISO_IR 100", PixelData=None)
    report.ValueType, report.ContentSequence = "CONTAINER", [comment]
    path = tmp_path / "report.dcm"
    path.write_bytes(written(report))

    stored = StoredObject.read(path)
    assert "BulkDataURI" in stored.attributes["0040A730"]["Value"][0]["0040A160"]
    assert long_text in list(texts(document_of(stored).blocks))


# --- items that point at others --------------------------------------------------------------


def test_an_item_that_is_pointed_at_is_named_and_linked() -> None:
    document = shown(
        coded(SITE, LUNG),
        number(DIAMETER, 3, MILLIMETRE, pointing_at(1, 1)),
    )

    target, _, pointer = rows(document)
    assert (pointer.value, pointer.relation) == ("Finding Site: Lung", "inferred from")
    assert pointer.target == target.anchor != ""


def test_an_item_that_points_above_itself_ends() -> None:
    document = shown(
        container(FINDINGS, number(DIAMETER, 3, MILLIMETRE, pointing_at(1, 1), pointing_at(1)))
    )

    assert [row.value for row in rows(document)] == ["3 mm", "Findings", "title"]


def test_an_item_that_points_nowhere_says_so() -> None:
    found = rows(shown(number(DIAMETER, 3, MILLIMETRE, pointing_at(1, 7, 2))))

    assert found[1].value == "item 1.7.2, which is not there"


# --- header ----------------------------------------------------------------------------------


def test_the_header_tells_who_verified_the_document_and_when() -> None:
    observer = {
        "0040A075": {"vr": "PN", "Value": [{"Alphabetic": "Åberg^Eva"}]},
        "0040A027": element("LO", "Röntgen"),
        "0040A030": element("DT", "20240115101500"),
    }
    header = shown(x0040A073=element("SQ", observer)).header

    assert Fact("Verified by", "Eva Åberg, Röntgen, 2024-01-15 10:15:00") in header
    assert Fact("Status", "complete, verified") in header


def test_the_header_names_the_document_that_this_one_replaces() -> None:
    instance = {
        "00081150": element("UI", "1.2.840.10008.5.1.4.1.1.88.11"),
        "00081155": element("UI", "1.2.3.9"),
    }
    series = {"00081199": element("SQ", instance)}
    study = {"00081115": element("SQ", series)}

    header = shown(x0040A360=element("SQ", study)).header
    assert Fact("Replaces", "Basic Text SR, 1.2.3.9") in header


@pytest.mark.parametrize(
    ("language", "country", "tag"),
    [("sv", None, "sv"), ("sv", "SE", "sv-SE"), ('"><script>', None, ""), ("x y", "SE", "")],
)
def test_the_language_is_the_documents(language: str, country: str | None, tag: str) -> None:
    spoken = coded(code("121049", "DCM", "Language"), code(language, "RFC5646", "x"))
    if country:
        below = coded(code("121046", "DCM", "Country"), code(country, "ISO3166_1", "x"))
        spoken["0040A730"] = element("SQ", below)

    assert shown(spoken).language == tag


# --- limits ----------------------------------------------------------------------------------


def test_a_tree_that_is_too_deep_is_refused() -> None:
    tree = text(None, "a")
    for _ in range(DEPTH + 1):
        tree = container(GROUP, tree)

    with pytest.raises(NotAcceptable, match="deeper"):
        shown(tree)


def test_a_document_of_too_many_characters_is_refused() -> None:
    half = "x" * (TEXT_CHARACTERS // 2)

    with pytest.raises(NotAcceptable, match="characters"):
        shown(text(None, half), text(None, half), text(None, half))


VALUES = st.one_of(st.text(max_size=8), st.integers(), st.floats(allow_nan=False), st.none())
ELEMENTS = st.builds(
    lambda vr, values: {"vr": vr, "Value": values},
    st.sampled_from(["UT", "CS", "DS", "FL", "UI"]),
    st.lists(VALUES, max_size=4),
)
_TAG_NAMES = """
    0040A160 0040A121 0040A122 0040A120 0040A124 0040A123 00700022 00700023 0040A130 0040A132
    0040A138 0040A13A 0040DB73 0040A032 0040A050 0040A300 00081199
"""
TAGS = st.sampled_from(_TAG_NAMES.split())
_KIND_NAMES = """
    TEXT CODE NUM PNAME DATE TIME DATETIME UIDREF IMAGE WAVEFORM COMPOSITE SCOORD SCOORD3D
    TCOORD CONTAINER TABLE
"""
KINDS = st.sampled_from(_KIND_NAMES.split())
RELATIONS = st.sampled_from(
    ["CONTAINS", "HAS CONCEPT MOD", "INFERRED FROM", "SELECTED FROM", "HAS PROPERTIES", ""]
)
CODES = st.builds(code, st.text(max_size=4), st.text(max_size=4), st.text(max_size=8))
SEQUENCES = st.sampled_from(["0040A168", "0040A300", "00081199", "0040A301", "004008EA"])


def _an_item(
    kind: str,
    relation: str,
    concept: Json | None,
    values: Json,
    sequences: dict[str, Json],
    children: list[Json],
) -> Json:
    nested = {tag: element("SQ", value) for tag, value in sequences.items()}
    return item(kind, concept, *children, relationship=relation) | values | nested


TREES = st.recursive(
    st.builds(
        _an_item,
        KINDS,
        RELATIONS,
        st.none() | CODES,
        st.dictionaries(TAGS, ELEMENTS, max_size=4),
        st.dictionaries(SEQUENCES, CODES, max_size=2),
        st.just([]),
    ),
    lambda children: st.builds(
        _an_item,
        KINDS,
        RELATIONS,
        st.none() | CODES,
        st.dictionaries(TAGS, ELEMENTS, max_size=2),
        st.just({}),
        st.lists(children, max_size=4),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(TREES, max_size=3))
def test_any_content_tree_is_shown_or_refused(content: list[Json]) -> None:
    try:
        document = shown(*content)
    except NotAcceptable:
        return

    assert html(document, "utf-8").endswith("</html>\n")
    assert plain_text(document).startswith("title\n")


# --- DCMTK as the oracle ---------------------------------------------------------------------

REPORTS = dicom_files("by_modality/SR_*/*.dcm", "by_modality/SEG_SR_RWVM_tid1500/sr.dcm")
# What tells machines how to read the rest.
_NOT_TOLD = frozenset({"relationship", "scheme", "charset", "template", "evidence", "sopclass"})


def _by_dcmtk(path: Path) -> ElementTree.Element:
    command = ["dsr2xml", "-q", "+U8", "-Er", "-Ev", "-Ec", "-Ee", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return ElementTree.fromstring(done.stdout)


def _told_by_dcmtk(element: ElementTree.Element) -> Iterator[str]:
    """Texts, numbers, names and code meanings of the content, without codes and units."""
    for child in element:
        if child.tag in _NOT_TOLD or child.tag == "unit":
            continue
        if child.tag == "value" and child.find("meaning") is None and len(child) == 0:
            siblings = {one.tag for one in element}
            if "scheme" not in siblings:  # else it is the value of a code
                yield re.sub(r"^(\d{4}-\d\d-\d\d)T", r"\1 ", child.text or "")
            continue
        if child.tag == "datetime":
            yield (child.text or "").replace("T", " ")
        if child.tag in ("meaning", "date", "first", "last", "organization", "description"):
            yield child.text or ""
        yield from _told_by_dcmtk(child)


def _is_number(text_of_it: str) -> bool:
    try:
        float(text_of_it)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.name)
def test_what_dcmtk_reads_in_a_report_is_in_the_text(path: Path) -> None:
    require_shared_data()
    if shutil.which("dsr2xml") is None:
        if COMPLETE:
            pytest.fail(NO_DCMTK)
        pytest.skip(NO_DCMTK)
    found = _by_dcmtk(path).find("document")
    assert found is not None

    shown_text = " ".join(plain_text(document_of(StoredObject.read(path))).split())
    numbers_shown = {float(word) for word in shown_text.split() if _is_number(word)}
    expected = {" ".join(said.split()) for said in _told_by_dcmtk(found)} - {""}
    missing = {
        said
        for said in expected
        if said not in shown_text and not (_is_number(said) and float(said) in numbers_shown)
    }
    assert len(expected) > 5
    assert missing == set()


def test_reports_of_samples_have_all_their_images() -> None:
    require_shared_data()
    paths = [path for path in REPORTS if path.name == "sr.dcm"]
    for path in paths:
        stored = StoredObject.read(path)
        uids = set(_referenced(stored.attributes))
        said = plain_text(document_of(stored))
        assert uids
        assert {uid for uid in uids if uid not in said} == set()


def _referenced(item_of_tree: Any) -> Iterator[str]:
    for child in item_of_tree.get("0040A730", {}).get("Value", ()):
        for reference in child.get("00081199", {}).get("Value", ()):
            yield from reference["00081155"]["Value"]
        yield from _referenced(child)
