"""The Native DICOM Model, read back by an XML parser and compared with DCMTK's."""

import base64
import math
import subprocess
from pathlib import Path
from shutil import which
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicom.native_model import MAX_DEPTH, NAMESPACE, native_dicom_model
from bfr_dicomweb.dicom.part10 import read_header
from bfr_dicomweb.errors import InvalidObject, NotAcceptable
from shared_data import dicom_files

Q = f"{{{NAMESPACE}}}"


def root_of(attributes: dict[str, Any], **options: Any) -> ET.Element:
    return ET.fromstring(native_dicom_model(attributes, **options))


def attribute_of(attributes: dict[str, Any], **options: Any) -> ET.Element:
    (element,) = root_of(attributes, **options)
    return element


def values_of(element: ET.Element) -> list[str | None]:
    return [value.text for value in element.findall(f"{Q}Value")]


def test_the_root_keeps_white_space() -> None:
    root = root_of({})
    assert root.tag == Q + "NativeDicomModel"
    assert root.get("{http://www.w3.org/XML/1998/namespace}space") == "preserve"


def test_a_public_attribute_has_tag_vr_and_keyword() -> None:
    element = attribute_of({"00080060": {"vr": "CS", "Value": ["CT"]}})
    assert element.attrib == {"tag": "00080060", "vr": "CS", "keyword": "Modality"}


def test_an_attribute_without_a_name_has_no_keyword() -> None:
    element = attribute_of({"00080F0F": {"vr": "UN"}})
    assert element.attrib == {"tag": "00080F0F", "vr": "UN"}


def test_values_are_numbered_from_one() -> None:
    element = attribute_of({"00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]}})
    assert [(value.get("number"), value.text) for value in element] == [
        ("1", "ORIGINAL"),
        ("2", None),
        ("3", "AXIAL"),
    ]


def test_more_values_than_usual_are_numbered_too() -> None:
    element = attribute_of({"00281201": {"vr": "US", "Value": list(range(100))}})
    assert [value.get("number") for value in element] == [str(n) for n in range(1, 101)]


@pytest.mark.parametrize(("value", "text"), [(12, "12"), (-1.5, "-1.5"), (1e-05, "1e-05")])
def test_numbers_are_written_as_digits(value: float, text: str) -> None:
    assert values_of(attribute_of({"00189306": {"vr": "FD", "Value": [value]}})) == [text]


def test_an_attribute_without_value_is_empty() -> None:
    assert len(attribute_of({"00080090": {"vr": "PN"}})) == 0


def test_a_private_attribute_names_its_creator_instead_of_its_block() -> None:
    element = attribute_of(
        {
            "00090010": {"vr": "LO", "Value": ["ACME 1.1"]},
            "00091011": {"vr": "SH", "Value": ["x"]},
        }
    )
    assert element.attrib == {"tag": "00090011", "vr": "SH", "privateCreator": "ACME 1.1"}


def test_a_private_attribute_without_creator_keeps_its_tag() -> None:
    assert attribute_of({"00091011": {"vr": "SH"}}).attrib == {"tag": "00091011", "vr": "SH"}


def test_person_names_are_split_into_components() -> None:
    name = {"Alphabetic": "Yamada^Tarou^^Dr^MD^x", "Ideographic": "山田^太郎"}
    (person,) = attribute_of({"00100010": {"vr": "PN", "Value": [name]}})
    found = {group.tag[len(Q) :]: [(c.tag[len(Q) :], c.text) for c in group] for group in person}
    assert found == {
        "Alphabetic": [
            ("FamilyName", "Yamada"),
            ("GivenName", "Tarou"),
            ("NamePrefix", "Dr"),
            ("NameSuffix", "MD^x"),
        ],
        "Ideographic": [("FamilyName", "山田"), ("GivenName", "太郎")],
    }


def test_an_empty_name_among_several_keeps_its_number() -> None:
    names = [{"Alphabetic": "A"}, None]
    element = attribute_of({"00101001": {"vr": "PN", "Value": names}})
    assert [(name.get("number"), len(name)) for name in element] == [("1", 1), ("2", 0)]


def test_items_are_numbered_and_may_be_empty() -> None:
    items = [{"00080100": {"vr": "SH", "Value": ["T-1"]}}, {}]
    element = attribute_of({"00081032": {"vr": "SQ", "Value": items}})
    assert [(item.get("number"), len(item)) for item in element] == [("1", 1), ("2", 0)]


def test_inline_binary_is_base64() -> None:
    text = base64.b64encode(b"\0\1\2").decode()
    (inline,) = attribute_of({"00420011": {"vr": "OB", "InlineBinary": text}})
    assert (inline.tag, inline.text) == (Q + "InlineBinary", text)


def test_bulk_data_of_this_instance_gets_its_url() -> None:
    stored = {"7FE00010": {"vr": "OW", "BulkDataURI": "\0/bulkdata/7FE00010"}}
    (bulk,) = attribute_of(stored, instance_url="http://x/studies/1?a=1&b=2")
    assert bulk.attrib == {"uri": "http://x/studies/1?a=1&b=2/bulkdata/7FE00010"}


def test_bulk_data_elsewhere_keeps_its_url() -> None:
    stored = {"7FE00010": {"vr": "OW", "BulkDataURI": "http://elsewhere/1"}}
    (bulk,) = attribute_of(stored, instance_url="http://x")
    assert bulk.attrib == {"uri": "http://elsewhere/1"}


@pytest.mark.parametrize("text", ["a<b>&amp;\"'", "line\r\nline\r", "\ttab ", "]]>", "𝔘"])
def test_text_comes_back_as_it_was(text: str) -> None:
    assert values_of(attribute_of({"00104000": {"vr": "LT", "Value": [text]}})) == [text]


@pytest.mark.parametrize("character", ["\0", "\x1b", "\ufffe", "\ud800"])
def test_what_xml_cannot_hold_is_replaced(character: str) -> None:
    element = attribute_of({"00104000": {"vr": "LT", "Value": [f"a{character}<"]}})
    assert values_of(element) == ["a\ufffd<"]


@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_text_makes_a_document(text: str) -> None:
    attributes = {
        "00104000": {"vr": "LT", "Value": [text]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": text}]},
        "00091010": {"vr": "LO", "Value": [text]},
        "00090010": {"vr": "LO", "Value": [text]},
        "00420011": {"vr": "OB", "BulkDataURI": text},
    }
    assert len(root_of(attributes)) == 4


def test_sequences_without_end_are_refused() -> None:
    item: dict[str, Any] = {}
    for _ in range(MAX_DEPTH + 1):
        item = {"0040A730": {"vr": "SQ", "Value": [item]}}
    with pytest.raises(InvalidObject, match="nested"):
        native_dicom_model(item)


# DCMTK as the oracle


def said(element: ET.Element) -> Any:
    """An attribute as plain values, numbers as numbers and bulk data left out."""
    vr = element.get("vr")
    if vr == "SQ":
        return [contents(item) for item in element]
    if vr == "PN":
        names = [
            [(part.tag, part.text) for part in name.iter() if part.text and part.text.strip()]
            for name in element
        ]
        return [name for name in names if name]
    texts = [(value.text or "").strip() for value in element.findall(f"{Q}Value")]
    if vr in {"DS", "FD", "FL", "IS", "SL", "SS", "UL", "US"}:
        return [float(text) if text else text for text in texts]
    return texts


def is_compared(element: ET.Element) -> bool:
    """Left out: bytes, the character set that DCMTK was told, and the creators it keeps."""
    tag, creator = element.get("tag", ""), element.get("privateCreator")
    if tag == "00080005" or element.get("vr") in {"OB", "OW", "OD", "OF", "OL", "OV", "UN"}:
        return False
    return creator is not None or int(tag[:4], 16) % 2 == 0


def contents(parent: ET.Element) -> dict[tuple[str | None, ...], Any]:
    return {
        (element.get("tag"), element.get("privateCreator")): said(element)
        for element in parent
        if is_compared(element)
    }


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        return [
            line
            for key in keys
            for line in (
                differences(ours[key], theirs[key], f"{path}/{key}")
                if key in ours and key in theirs
                else [f"{path}/{key} only on one side"]
            )
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            line
            for index, (one, other) in enumerate(zip(ours, theirs, strict=True))
            for line in differences(one, other, f"{path}[{index}]")
        ]
    if isinstance(ours, float) and isinstance(theirs, float):
        same = math.isclose(ours, theirs, rel_tol=1e-5)
        return [] if same else [f"{path}: {ours} {theirs}"]
    return [] if ours == theirs else [f"{path}: {ours!r} {theirs!r}"]


SAMPLES = dicom_files(
    "by_modality/CT_enhanced/*",
    "by_modality/MR_enhanced/6_1.dcm",
    "by_modality/MR_series_ADC_20/000000.dcm",
    "by_modality/MR_series_T1_29/N2D_0001.dcm",
    "by_modality/RTPLAN/*",
    "by_modality/SR_basic_text/*",
    "by_modality/SR_comprehensive3d/*",
    "by_modality/PT/*",
    "by_modality/US/ex*",
    "by_modality/US/gdcm*",
    "by_modality/KO_SYNTHETIC/*",
    "by_modality/HP_hanging_protocol/*",
)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name[:40])
@pytest.mark.skipif(
    which("dcm2xml") is None, reason="DCMTK is not installed: apt-get install dcmtk"
)
def test_the_document_says_what_dcmtk_says(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "dcmtk.xml"
    # +Ca: text without a declared character set is Latin-1
    command = ["dcm2xml", "--native-format", "+Xn", "+Ca", "latin-1", "+U8", str(path), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    ours = root_of(read_header(path.read_bytes()).attributes)
    theirs = contents(ET.parse(target).getroot())
    assert differences(contents(ours), theirs) == []


@pytest.mark.parametrize("path", dicom_files("charsets/*"), ids=lambda path: path.name[:40])
def test_every_character_set_makes_a_document(path: Path) -> None:
    try:
        header = read_header(path.read_bytes())
    except (InvalidObject, NotAcceptable):
        pytest.skip("no PS3.10 file")
    assert len(root_of(header.attributes)) > 0
