"""What an imaging archive answers to the messages of others, and why."""

from pathlib import Path

import pytest

from bfr_dicomweb.errors import InvalidMessage
from hl7_read import read
from hl7_samples import ANSWERS, FOLDER, OK, names
from shared_data import require_shared_data


def answer(data: bytes) -> tuple[str, int, str, int]:
    try:
        read(data, "")
    except InvalidMessage as error:
        return ("AR" if error.rejected else "AE", error.code, error.segment, error.field)
    return OK


@pytest.mark.parametrize("name", names() or [""])
def test_sample_gets_the_right_acknowledgement(name: str) -> None:
    require_shared_data()
    assert answer((FOLDER / name).read_bytes()) == ANSWERS.get(name, OK)


@pytest.mark.parametrize("name", names() or [""])
def test_sample_with_other_line_ends_means_the_same(name: str) -> None:
    require_shared_data()
    data = (FOLDER / name).read_bytes()
    lines = data.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    assert answer(lines.replace(b"\r", b"\n")) == answer(lines)


def test_no_answer_is_for_a_sample_that_is_not_there() -> None:
    require_shared_data()
    assert set(ANSWERS) <= set(names())


def sample(name: str) -> bytes:
    require_shared_data()
    return (FOLDER / Path(name)).read_bytes()


def test_swedish_order_and_its_report_name_one_exam() -> None:
    numbers = [
        {(alias.kind, alias.value) for alias in read(sample(name), "").events[0].aliases}
        for name in (
            "SYNTHETIC_swedish/OMI_O23_new_order_utf8.hl7",
            "SYNTHETIC_swedish/SIU_S12_booking.hl7",
            "SYNTHETIC_swedish/ORM_O01_status_inprogress.hl7",
            "SYNTHETIC_swedish/ORU_R01_final_report_utf8.hl7",
            "SYNTHETIC_swedish/MDM_T02_report.hl7",
        )
    ]
    assert set.intersection(*numbers) == {("placer", "PL101")}


def test_swedish_letters_are_read_from_latin_1() -> None:
    patient = read(sample("SYNTHETIC_swedish/ORM_O01_new_latin1.hl7"), "").patient
    assert patient is not None
    assert (patient.demographics.family, patient.demographics.given) == ("Sjöström", "Åsa Märta")


def test_report_as_a_clinical_document_has_a_text() -> None:
    (event,) = read(sample("dcm4che_imaging/ORU^R01-CDA.hl7"), "").events
    assert event.report is not None
    assert event.report.text.startswith("Suspected lung tumor")
