"""Data sets of messages, with pydicom as the one that writes and reads the other end."""

from base64 import b64encode
from contextlib import suppress
from io import BytesIO
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import dsutils

from bfr_dicomweb.dicom.data_sets import decode, encode
from bfr_dicomweb.errors import InvalidObject
from catalogue_objects import data_set

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
VALUES = data_set(
    StudyDate="20240131",
    ModalitiesInStudy=["CT", "SR"],
    SOPClassesInStudy=["1.2.3", "1.2.34"],
    PatientName={"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"},
    PatientWeight=72.5,
    NumberOfStudyRelatedInstances=1234,
    Rows=512,
    FrameIncrementPointer=["00181063"],
    PixelSpacing=[0.123456789012345678, 1.0],
    ReferencePixelX0=-3,
    ProcedureCodeSequence=[{"CodeValue": "K1", "CodeMeaning": "Knä"}, {"CodeValue": "K2"}],
    ReferringPhysicianName=None,
)


def read(encoded: bytes, syntax: str) -> Dataset:
    form = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    return dsutils.decode(BytesIO(encoded), *form, syntax == DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_large_values_are_read(syntax: str) -> None:
    given = data_set(RedPaletteColorLookupTableData=None, TextValue="x" * 70_000)
    given["00281201"]["InlineBinary"] = b64encode(bytes(range(250)) * 20).decode()

    assert decode(encode(given, syntax), syntax).attributes == given


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_pydicom_reads_what_is_written(syntax: str) -> None:
    found = read(encode(VALUES, syntax), syntax).to_json_dict()

    assert found.pop("00080005") == {"vr": "CS", "Value": ["ISO_IR 192"]}
    spacing = found.pop("00280030")["Value"]
    assert spacing == pytest.approx(VALUES["00280030"]["Value"])
    assert found == {tag: value for tag, value in VALUES.items() if tag != "00280030"}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_written_is_read_again(syntax: str) -> None:
    found = decode(encode(VALUES, syntax), syntax).attributes

    assert found.pop("00280030")["Value"] == pytest.approx(VALUES["00280030"]["Value"])
    assert found.pop("00080005")["Value"] == ["ISO_IR 192"]
    assert found == {tag: value for tag, value in VALUES.items() if tag != "00280030"}


@settings(deadline=None)
@given(
    name=st.text(
        st.characters(exclude_categories=["C", "Z"], exclude_characters="\\=^"), min_size=1
    ),
    wished=st.sampled_from(
        ["", "ISO_IR 100", "ISO_IR 144", "ISO_IR 13", "\\ISO 2022 IR 87", "GB18030"]
    ),
)
def test_no_character_is_lost(name: str, wished: str) -> None:
    encoded = encode(data_set(PatientName=name), ExplicitVRLittleEndian, character_sets=[wished])

    assert decode(encoded, ExplicitVRLittleEndian).attributes["00100010"]["Value"] == [
        {"Alphabetic": name}
    ]


@pytest.mark.parametrize(
    ("name", "wished", "declared"),
    [
        ("Svensson", "ISO_IR 144", None),
        ("Åkesson", "", ["ISO_IR 100"]),
        ("Лук", "ISO_IR 144", ["ISO_IR 144"]),
        ("Лук", "ISO_IR 100", ["ISO_IR 192"]),
        ("Åkesson", "no such set", ["ISO_IR 100"]),
        ("山田", "\\ISO 2022 IR 87", ["", "ISO 2022 IR 87"]),
    ],
)
def test_the_first_character_set_that_can_tell_the_text_is_declared(
    name: str, wished: str, declared: Any
) -> None:
    encoded = encode(data_set(PatientName=name), ExplicitVRLittleEndian, character_sets=[wished])

    found = dcmread(BytesIO(encoded), force=True)
    told = found.get("SpecificCharacterSet")
    assert ([told] if isinstance(told, str) else told) == declared
    assert str(found.PatientName) == name


@pytest.mark.parametrize("declared", [None, ""])
def test_an_undeclared_character_set_is_the_one_given(declared: str | None) -> None:
    asked = Dataset()
    asked.PatientName = "x"
    if declared is not None:
        asked.SpecificCharacterSet = declared
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, asked)
    encoded = buffer.getvalue().replace(b"\x02\x00x ", b"\x04\x00" + "Лук*".encode("iso8859-5"))

    found = decode(encoded, ExplicitVRLittleEndian, character_set="ISO_IR 144")

    assert found.attributes["00100010"]["Value"] == [{"Alphabetic": "Лук*"}]
    assert found.character_set == ""


def test_a_declared_character_set_counts_more_than_the_one_given() -> None:
    encoded = encode(data_set(PatientName="Å"), ExplicitVRLittleEndian)

    found = decode(encoded, ExplicitVRLittleEndian, character_set="ISO_IR 144")

    assert found.character_set == "ISO_IR 100"
    assert found.attributes["00100010"]["Value"] == [{"Alphabetic": "Å"}]


@given(encoded=st.binary(max_size=300), syntax=st.sampled_from(SYNTAXES))
def test_any_bytes_are_read_or_refused(encoded: bytes, syntax: str) -> None:
    with suppress(InvalidObject):
        assert decode(encoded, syntax, character_set="ISO_IR 100").attributes is not None


def test_what_inflates_without_end_is_refused() -> None:
    encoded = encode(
        {"00081030": {"vr": "UT", "Value": ["x" * (1 << 25)]}}, DeflatedExplicitVRLittleEndian
    )

    with pytest.raises(InvalidObject, match="inflates"):
        decode(encoded, DeflatedExplicitVRLittleEndian)


def test_a_value_too_long_for_its_vr_is_written_as_un() -> None:
    encoded = encode(data_set(StudyDescription="x" * 70_000), ExplicitVRLittleEndian)

    assert encoded[4:8] == b"UN\0\0"
    assert len(encoded) == 12 + 70_000


@given(value=st.floats(-1e300, 1e300))
def test_a_decimal_has_sixteen_characters_and_its_value(value: float) -> None:
    element = {"00280030": {"vr": "DS", "Value": [value]}}
    text = encode(element, ExplicitVRLittleEndian)[8:].decode().strip()

    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-8)


def test_a_decimal_of_sixteen_characters_is_told_exactly() -> None:
    encoded = encode(
        {"00280030": {"vr": "DS", "Value": [0.999032176441525]}}, ImplicitVRLittleEndian
    )

    assert encoded[8:] == b".999032176441525"
