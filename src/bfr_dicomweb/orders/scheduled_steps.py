"""Exams that a modality is to perform, as the Modality Worklist has them (PS3.4 Annex K)."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from bfr_dicomweb.orders.composing import LOCAL
from bfr_dicomweb.orders.identifiers import Alias, AliasKind
from bfr_dicomweb.orders.state import Exam, Status

# Scheduled Procedure Step Status (0040,0020) of what is scheduled and not over.
STEP_STATUS: Final = {
    Status.RECEIVED: "SCHEDULED",
    Status.BOOKED: "SCHEDULED",
    Status.ARRIVED: "ARRIVED",
    Status.STARTED: "STARTED",
}
# The first of these that an exam is known by names it; the others are of more than one exam.
_NAMING: Final = (
    AliasKind.ACCESSION,
    AliasKind.FILLER,
    AliasKind.PLACER,
    AliasKind.PROCEDURE,
    AliasKind.STEP,
)
# Names of our own (RFC 9562 version 5): equal exams have equal UIDs on every node.
_NAMES: Final = uuid.UUID("8a0f1b3a-6c1c-5f5e-9a57-3f0c2a4f7d21")


def starts(exam: Exam) -> str:
    """When it is to start: local time as ``YYYYMMDDHHMMSS.FFFFFF``; "" when it is on no worklist.

    An order is a wish until somebody has given it a station.
    """
    facts = exam.facts
    if exam.status not in STEP_STATUS or exam.held or not facts.scheduled_start:
        return ""
    if exam.status is Status.RECEIVED and not (facts.station_ae_title or facts.station_name):
        return ""
    return local_text(facts.scheduled_start)


# each message about an exam tells of the same appointment
@lru_cache(maxsize=8192)
def local_text(time: str) -> str:
    """A time of UTC as Swedish clocks show it, of one width; "" at the ends of the calendar."""
    try:
        local = datetime.fromisoformat(time).astimezone(LOCAL)
    except OverflowError:
        return ""
    return f"{local.year:04d}{local:%m%d%H%M%S.%f}"


def study_instance_uid(exam: Exam, patient_id: int) -> str:
    """That which the order names, else one that follows from what the exam is called."""
    ordered = exam.values(AliasKind.STUDY)
    return ordered[0] if ordered else derived_study_uid(exam.aliases, patient_id)


def derived_study_uid(aliases: Sequence[Alias], patient_id: int) -> str:
    """The Study Instance UID of an exam for which nobody gave one; "" when nothing names it alone.

    Args:
        patient_id: Of the root; a number of which nobody says who gave it names an exam only
            together with the patient.
    """
    for kind in _NAMING:
        named = [alias for alias in aliases if alias.kind is kind]
        if named:
            # a system sorts behind none
            alias = max(named, key=lambda one: (bool(one.system), one.system, one.value))
            whose = "" if alias.system else f"|{patient_id}"
            name = f"{alias.kind.value}|{alias.system}|{alias.value}{whose}"
            return f"2.25.{uuid.uuid5(_NAMES, name).int}"
    return ""
