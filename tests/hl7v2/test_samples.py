"""What an imaging archive answers to the messages of others, and why."""

from pathlib import Path

import pytest

from bfr_dicomweb.errors import InvalidMessage
from hl7_read import read
from shared_data import SHARED, require_shared_data

FOLDER = SHARED / "hl7v2"
OK = ("AA", 0, "", 0)

# Acknowledgement, code of table 0357, segment and field. Every sample that is not named here is
# understood and accepted.
ANSWERS = {
    # a booking that names no appointment
    "dcm4che_imaging/SIU^S12-NewAppointmentBooking.hl7": ("AE", 100, "SCH", 0),
    # persons are not deleted at the word of a message
    "samples/ADT-A29-01.hl7": ("AR", 201, "MSH", 9),
    # haematology: nothing of it will ever have images, and whoever sent it sent it to the wrong
    # place; better that its sender learns of it than that it stands in a timeline of images
    "samples/LAB-ORM-1.hl7": ("AE", 103, "OBR", 24),
    # for training (T), not for patients' care
    "samples/LAB-ORU-1.hl7": ("AR", 202, "MSH", 11),
    "samples/ORU-R01-01.hl7": ("AR", 202, "MSH", 11),
    # notifications without the document
    "samples/MDM-T01-01.hl7": ("AR", 201, "MSH", 9),
    "samples/MDM-T05-01.hl7": ("AR", 201, "MSH", 9),
    "samples/MDM-T09-01.hl7": ("AR", 201, "MSH", 9),
    # authenticated, and the document is empty
    "samples/MDM-T02-01.hl7": ("AE", 101, "OBX", 5),
    "samples/MDM-T06-01.hl7": ("AE", 101, "OBX", 5),
    # an order that only a group has a number of: no exam could ever be told from another
    "samples/OMG-O19-01.hl7": ("AE", 101, "ORC", 3),
    # orders of laboratories, vaccinations
    "samples/OML-O21-01.hl7": ("AR", 200, "MSH", 9),
    "samples/VXU-V04-01.hl7": ("AR", 200, "MSH", 9),
    # discontinued and deleted appointments have events that are not taken here
    "samples/SIU-S16-01.hl7": ("AR", 201, "MSH", 9),
    "samples/SIU-S17-01.hl7": ("AR", 201, "MSH", 9),
}


def names() -> list[str]:
    return sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.hl7"))


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
