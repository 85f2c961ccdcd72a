"""The shared sample messages, and what an imaging archive answers to each of them, and why."""

from typing import Final

from shared_data import SHARED

FOLDER: Final = SHARED / "hl7v2"
OK: Final = ("AA", 0, "", 0)

# Acknowledgement, code of table 0357, segment and field. Every sample that is not named here is
# understood and accepted.
ANSWERS: Final = {
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
