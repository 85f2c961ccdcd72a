from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicom.json_model import checked
from bfr_dicomweb.dicom.native_model import native_dicom_model
from bfr_dicomweb.dicom.native_model_reading import MAX_DEPTH, read_native_model
from bfr_dicomweb.errors import ArchiveError, InvalidRequest, TooLarge
from workitems_said import a_workitem, coded, performed, progress

NAMESPACE = b'xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"'


def document(inside: str) -> bytes:
    return b"<NativeDicomModel " + NAMESPACE + b">" + inside.encode() + b"</NativeDicomModel>"


@pytest.mark.parametrize(
    "dataset",
    [
        a_workitem(),
        a_workitem(T00404025=coded("Å<&>")),
        performed(),
        progress(12.5),
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ek^Bo^^Dr", "Ideographic": "山田"}]}},
        {"00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]}},
    ],
)
def test_what_is_written_is_read_again(dataset: dict[str, Any]) -> None:
    assert checked(read_native_model(native_dicom_model(dataset))) == checked(dataset)


def test_private_attributes_get_a_block_of_their_creator() -> None:
    dataset = {
        "00211001": {"vr": "LO", "Value": ["one"]},
        "00210010": {"vr": "LO", "Value": ["ACME"]},
    }
    assert checked(read_native_model(native_dicom_model(dataset))) == checked(dataset)


def test_a_document_type_is_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + document("")
    with pytest.raises(InvalidRequest, match="document type"):
        read_native_model(bomb)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<x/>",
        b"<NativeDicomModel",
        document("<Other/>"),
        document('<DicomAttribute vr="LO"/>'),
        document('<DicomAttribute tag="00100020" vr="LO"><Other/></DicomAttribute>'),
        document('<DicomAttribute tag="00100020" vr="LO"/>' * 2),
        document('<DicomAttribute tag="00280010" vr="US"><Value>x</Value></DicomAttribute>'),
    ],
)
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_native_model(data)


def test_sequences_end_somewhere() -> None:
    begin = '<DicomAttribute tag="0040A370" vr="SQ"><Item number="1">'
    end = "</Item></DicomAttribute>"
    deep = MAX_DEPTH + 2
    with pytest.raises(TooLarge):
        read_native_model(document(begin * deep + end * deep))


@given(st.binary() | st.text(alphabet="<>/= \"'aDicomAttribute").map(document))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ArchiveError):
        read_native_model(data)
