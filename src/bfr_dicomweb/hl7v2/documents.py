"""Reports as documents: MDM, T02 T06 T08 T10 and T11."""

from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import exams, fields, observations, patients, results
from bfr_dicomweb.hl7v2.exams import Group
from bfr_dicomweb.hl7v2.message import Segment
from bfr_dicomweb.hl7v2.observations import Observations
from bfr_dicomweb.hl7v2.occasion import Occasion
from bfr_dicomweb.hl7v2.status_mapping import DOCUMENTS
from bfr_dicomweb.orders.events import Contents, Event, Kind, Notice, Party, Report, ReportStatus
from bfr_dicomweb.orders.identifiers import Alias

ADDENDUM: Final = "T06"
REPLACEMENTS: Final = frozenset({"T08", "T10"})  # of the text, of the whole document
CANCEL: Final = "T11"
EVENTS: Final = REPLACEMENTS | {"T02", ADDENDUM, CANCEL}


def read(occasion: Occasion) -> Contents:
    """
    Raises:
        InvalidMessage: there is no TXA, no number, or nothing in the document.
    """
    patient = patients.facts(occasion)
    txa = occasion.message.first("TXA")
    if txa is None:
        raise InvalidMessage("there is no TXA segment", code=100, segment="TXA")
    content = observations.read(occasion.message.segments("OBX"), occasion)
    status = _status(txa, occasion)
    if content.is_empty and status is not None and status is not ReportStatus.WITHDRAWN:
        _refuse_empty(occasion)
    events = []
    notices: list[Notice] = []
    for group in _groups(occasion):
        exams.refuse_laboratory(group)
        aliases, odd = exams.aliases(group, occasion.sender)
        notices += odd
        events.append(_event(group, txa, occasion, aliases, _report(txa, content, status)))
    return Contents(
        patient,
        results.marked(events),
        notices=tuple(notices),
        attachments=content.documents,
    )


def _refuse_empty(occasion: Occasion) -> None:
    obx = next(iter(occasion.message.segments("OBX")), None)
    raise InvalidMessage(
        "there is nothing in the document",
        code=100 if obx is None else 101,
        segment="OBX",
        field=0 if obx is None else 5,
    )


def _status(txa: Segment, occasion: Occasion) -> ReportStatus | None:
    """Of TXA-17 in the light of the event; None when it is no code that is known."""
    trigger = occasion.message.trigger
    if trigger == CANCEL or fields.text(txa, 19).upper() == "CA":
        return ReportStatus.WITHDRAWN
    status = DOCUMENTS.get(fields.text(txa, 17).upper())
    if status is not ReportStatus.FINAL:
        return status
    if trigger == ADDENDUM:
        return ReportStatus.ADDENDUM
    return ReportStatus.CORRECTED if trigger in REPLACEMENTS else status


def _groups(occasion: Occasion) -> list[Group]:
    """TXA and OBX stand after all orders, and are of each of them."""
    txa, obx = (occasion.message.segments(name) for name in ("TXA", "OBX"))
    every = exams.groups(occasion.message)
    if len(every) < 2:
        own = every[0].segments if every else {}
        return [Group({**own, "TXA": txa, "OBX": obx})]
    return [Group({**group.segments, "TXA": (), "OBX": obx}, group.has_own_orc) for group in every]


def _report(txa: Segment, content: Observations, status: ReportStatus | None) -> Report | None:
    if status is None:
        return None
    return Report(
        status,
        content.sections,
        tuple(attachment for attachment, _ in content.documents),
        _signer(txa) or content.observer,
        _number(txa, 12),
        _number(txa, 13),
    )


def _signer(txa: Segment) -> Party | None:
    """Who authenticated it (TXA-22), else who is to (TXA-10) or wrote it (TXA-9)."""
    return fields.person(txa, 22) or fields.person(txa, 10) or fields.person(txa, 9)


def _number(txa: Segment, n: int) -> str:
    """The last part of an EI of documents, which some write as the first only."""
    return fields.text(txa, n, 1) or fields.text(txa, n, 3)


def _event(
    group: Group,
    txa: Segment,
    occasion: Occasion,
    aliases: tuple[Alias, ...],
    report: Report | None,
) -> Event:
    time, claimed = occasion.settled(_time(group, txa, occasion))
    performer, unit = occasion.performer()
    return Event(
        kind=Kind.UNKNOWN if report is None else Kind.REPORTED,
        time=time,
        source=occasion.sender.name,
        control_id=occasion.message.control_id,
        aliases=aliases,
        performer=performer,
        codes=_codes(txa, occasion),
        facts=exams.facts(group, occasion, performing_unit=unit),
        report=report,
        claimed=claimed,
        shared="0",
    )


def _codes(txa: Segment, occasion: Occasion) -> tuple[tuple[str, str], ...]:
    named = (("TXA-17", fields.text(txa, 17)), ("TXA-19", fields.text(txa, 19)))
    return (("MSH-9", occasion.type), *((name, code) for name, code in named if code))


def _time(group: Group, txa: Segment, occasion: Occasion) -> str:
    """Of the authentication, else of the change of status or of the edit, else as entered."""
    signed = occasion.time_or_none(txa, 22, 15)
    if signed and occasion.message.trigger != CANCEL:
        return signed
    obr, event = group.first("OBR"), occasion.message.first("EVN")
    changed = occasion.time(obr, 22) if obr is not None else ""
    edited = occasion.time_or_none(txa, 8)
    entered = occasion.time_or_none(event, 2) if event is not None else ""
    if occasion.message.trigger == CANCEL:
        return entered or occasion.said
    return changed or edited or entered or occasion.said
