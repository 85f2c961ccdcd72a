"""Patients: PID in every message, and ADT of which merges and their undoing is more than that."""

from collections.abc import Iterable
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import fields
from bfr_dicomweb.hl7v2.message import Segment
from bfr_dicomweb.hl7v2.occasion import Occasion
from bfr_dicomweb.orders.events import Contents, Demographics, PatientFacts, PatientLink
from bfr_dicomweb.orders.identifiers import NATIONAL, Identifier

MERGES: Final = frozenset({"A40", "A47"})
UNLINK: Final = "A37"
# Events that tell how a patient is called, whatever else. Visits and accounts are not kept here,
# so that it does not matter where those went. Merges and deletions that are not done here are not
# among them: accepting such a message would say that they are.
_DEMOGRAPHICS: Final = """
    A01 A02 A03 A04 A05 A06 A07 A08 A09 A10 A11 A12 A13 A14 A15 A16 A21 A22
    A25 A26 A27 A28 A31 A32 A33 A38 A41 A42 A45 A52 A53 A54 A55 A60 A61 A62
"""
DEMOGRAPHICS: Final = frozenset(_DEMOGRAPHICS.split())
EVENTS: Final = DEMOGRAPHICS | MERGES | {UNLINK}
PROTECTED: Final = "sekretessmarkering"


def read(occasion: Occasion) -> Contents:
    trigger = occasion.message.trigger
    patient = facts(occasion)
    if trigger in MERGES:
        return Contents(patient, links=_merges(occasion, patient.time))
    if trigger == UNLINK:
        return Contents(patient, links=(_unlinked(occasion, patient.time),))
    return Contents(patient)


def facts(occasion: Occasion) -> PatientFacts:
    """
    Raises:
        InvalidMessage: there is no PID, or no identifier in it.
    """
    pid = occasion.message.first("PID")
    if pid is None:
        raise InvalidMessage("there is no PID segment", code=100, segment="PID")
    secret = _security(occasion)
    named, described = occasion.sender.said_before.once(
        # all that the two depend on
        (pid.encoding_of(3), pid.fields, secret, occasion.zone),
        lambda: (identifiers(pid, occasion), demographics(pid, occasion, secret)),
    )
    return PatientFacts(named, _recorded(occasion), described)


def identifiers(pid: Segment, occasion: Occasion) -> tuple[Identifier, ...]:
    """Of PID-3, else of PID-2 and PID-4; national numbers first."""
    default = occasion.sender.issuers.patient
    found = fields.patient_identifiers(pid, 3, default)
    if not found:
        found = tuple(
            identifier
            for field in (2, 4)
            for identifier in fields.patient_identifiers(pid, field, default)
        )
    if not found:
        raise InvalidMessage(
            "PID-3 names no patient", code=101, segment="PID", sequence=pid.sequence, field=3
        )
    return _telling_first(found)


def _telling_first(found: Iterable[Identifier]) -> tuple[Identifier, ...]:
    return tuple(dict.fromkeys(sorted(found, key=_precedence)))


def _precedence(identifier: Identifier) -> tuple[bool, bool]:
    return identifier.system not in NATIONAL, not identifier.system


def demographics(pid: Segment, occasion: Occasion, security: str) -> Demographics:
    family, given = _name(pid)
    return Demographics(
        family=family,
        given=given,
        birth_date=fields.date(fields.text(pid, 7)),
        gender=fields.gender(fields.text(pid, 8)),
        deceased=_deceased(pid, occasion),
        address=_address(pid),
        security=security,
    )


def _name(pid: Segment) -> tuple[str, str]:
    """The legal name, else the first one."""
    count = len(pid.repetitions(5))
    names = [fields.components(pid, 5, n) for n in range(1, count + 1)]
    if not names:
        return "", ""
    family, given, middle = next((name for name in names if name[6] in ("L", "C")), names[0])[:3]
    return family, f"{given} {middle}".strip()


def _deceased(pid: Segment, occasion: Occasion) -> str:
    time = occasion.time_or_none(pid, 29)
    return time or ("true" if fields.text(pid, 30).upper() == "Y" else "")


def _address(pid: Segment) -> str:
    parts = fields.components(pid, 11)
    if not parts:
        return ""
    lines = (parts[0], parts[1], f"{parts[4]} {parts[2]}".strip(), parts[5])
    return ", ".join(line for line in lines if line)


def _security(occasion: Occasion) -> str:
    pd1 = occasion.message.first("PD1")
    return PROTECTED if pd1 is not None and fields.text(pd1, 12).upper() == "Y" else ""


def _recorded(occasion: Occasion) -> str:
    """When it was entered (EVN-2), else said; never in the time to come."""
    event = occasion.message.first("EVN")
    entered = occasion.time_or_none(event, 2) if event is not None else ""
    return occasion.settled(entered or occasion.said)[0]


def _merges(occasion: Occasion, time: str) -> tuple[PatientLink, ...]:
    """Each MRG is of the PID before it."""
    links: list[PatientLink] = []
    pid: Segment | None = None
    for segment in occasion.message:
        if segment.name == "PID":
            pid = segment
        elif segment.name == "MRG" and pid is not None:
            kept = identifiers(pid, occasion)
            gone = [other for other in _merged(segment, occasion) if other not in kept]
            links += (PatientLink(kept[0], other, time) for other in gone)
    if occasion.message.first("MRG") is None:
        raise InvalidMessage("there is no MRG segment", code=100, segment="MRG")
    return tuple(links)


def _merged(mrg: Segment, occasion: Occasion) -> tuple[Identifier, ...]:
    """Of MRG-1, before version 2.3.1 of MRG-4."""
    default = occasion.sender.issuers.patient
    found = fields.patient_identifiers(mrg, 1, default)
    found = found or fields.patient_identifiers(mrg, 4, default)
    if not found:
        raise InvalidMessage(
            "MRG-1 names no patient", code=101, segment="MRG", sequence=mrg.sequence, field=1
        )
    return _telling_first(found)


def _unlinked(occasion: Occasion, time: str) -> PatientLink:
    pids = occasion.message.segments("PID")
    if len(pids) != 2:
        raise InvalidMessage("A37 needs two PID segments", code=100, segment="PID", sequence=2)
    first, second = (identifiers(pid, occasion)[0] for pid in pids)
    return PatientLink(first, second, time, merged=False)
