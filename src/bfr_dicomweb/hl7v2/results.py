"""Reports as results: ORU^R01."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import exams, fields, observations, ordering, patients
from bfr_dicomweb.hl7v2.exams import Group
from bfr_dicomweb.hl7v2.observations import Observations
from bfr_dicomweb.hl7v2.occasion import Occasion
from bfr_dicomweb.hl7v2.status_mapping import REPORTS, Codes
from bfr_dicomweb.orders import records
from bfr_dicomweb.orders.events import Contents, Event, Kind, Notice, Report, ReportStatus
from bfr_dicomweb.orders.identifiers import Alias

# These statuses are told without sending the report again.
_TEXTLESS: Final = (ReportStatus.PROMOTED, ReportStatus.WITHDRAWN, ReportStatus.CANCELLED)
# Codes of an order that ended otherwise than by being reported; table 0038.
_ENDED: Final = ("CA", "DC", "ER")


def read(occasion: Occasion) -> Contents:
    """
    Raises:
        InvalidMessage: there is no result in it, or one of them has no number or no text.
    """
    _refuse_several_patients(occasion)
    patient = patients.facts(occasion)
    every = exams.groups(occasion.message)
    if not any(group.all("OBR") for group in every):
        raise InvalidMessage("there is no OBR segment", code=100, segment="OBR")
    own = [observations.read(group.all("OBX"), occasion) for group in every]
    of_orders = exams.order_numbers(every, occasion.sender)
    events: list[Event] = []
    notices: list[Notice] = []
    for group, (place, content) in zip(every, _shared(every, own), strict=True):
        exams.refuse_laboratory(group)
        aliases, odd = exams.aliases(group, occasion.sender, of_orders)
        events.append(_event(group, occasion, aliases, content, place))
        notices += odd
    used = dict.fromkeys(document for content in own for document in content.documents)
    return Contents(patient, marked(events), notices=tuple(notices), attachments=tuple(used))


def _refuse_several_patients(occasion: Occasion) -> None:
    pids = occasion.message.segments("PID")
    if len({pid.raw(3) for pid in pids}) > 1:
        raise InvalidMessage(
            "results of several patients in one message", code=100, segment="PID", sequence=2
        )


def _shared(every: Sequence[Group], own: Sequence[Observations]) -> list[tuple[int, Observations]]:
    """One text for several exams stands under the last of them, or else the first.

    With the place of the exam under which it stands.
    """
    written = [place for place, group in enumerate(every) if group.all("OBX")]
    found = []
    for place in range(len(every)):
        after = next((there for there in written if there >= place), None)
        there = after if after is not None else written[-1] if written else place
        found.append((there, own[there]))
    return found


def _event(
    group: Group, occasion: Occasion, aliases: tuple[Alias, ...], content: Observations, place: int
) -> Event:
    codes = exams.codes(group, occasion)
    status = _status(codes, content, occasion)
    told = ordering.status_event(group, occasion, aliases)
    obr = group.first("OBR")
    if status is None or obr is None:
        return told
    if content.is_empty and status not in _TEXTLESS:
        raise InvalidMessage(
            "a result without a text or a document",
            code=101,
            segment="OBX" if group.all("OBX") else "OBR",
            sequence=(group.first("OBX") or obr).sequence,
            field=5 if group.all("OBX") else 0,
        )
    happened = occasion.time(obr, 22) or content.changed or occasion.said
    time, claimed = occasion.settled(happened)
    report = Report(
        status,
        content.sections,
        tuple(attachment for attachment, _ in content.documents),
        fields.interpreter(obr, 32) or content.observer,
    )
    facts = replace(told.facts, exam_start=occasion.time_or_none(obr, 7))
    return replace(
        told,
        kind=Kind.REPORTED,
        time=time,
        claimed=claimed,
        facts=facts,
        report=report,
        may_regress=False,
        is_order=False,
        shared=str(place),
    )


def _status(codes: Codes, content: Observations, occasion: Occasion) -> ReportStatus | None:
    """What the report is; None when nothing is said of a report, or in no code that is known."""
    rule = occasion.sender.mapping.rule(codes)
    if rule is not None and rule.report is not None:
        return rule.report
    if codes.orc5 in _ENDED or (rule is not None and rule.kind is Kind.CANCEL_REQUESTED):
        return None
    said = REPORTS.get(codes.obr25)
    if said is None and codes.obr25 not in ("", "O", "I", "S", "N"):
        return None
    if content.is_empty and said is None and content.statuses.isdisjoint(_TEXTLESS):
        return None
    return _refined(said, content.statuses)


def _refined(said: ReportStatus | None, parts: frozenset[ReportStatus]) -> ReportStatus | None:
    """OBR-25 in the light of OBX-11."""
    if said is ReportStatus.CANCELLED:
        return said
    if parts and parts <= set(_TEXTLESS):
        return next(status for status in _TEXTLESS if status in parts)
    if ReportStatus.CORRECTED in parts and said in (None, ReportStatus.FINAL):
        return ReportStatus.CORRECTED
    if said is not None:
        return said
    for status in (ReportStatus.PARTIAL, ReportStatus.PRELIMINARY, ReportStatus.FINAL):
        if status in parts:
            return status
    return ReportStatus.ADDENDUM if ReportStatus.ADDENDUM in parts else None


def marked(events: Sequence[Event]) -> tuple[Event, ...]:
    """Events with the same text get a mark that is equal whenever they are sent again."""
    by_place: dict[str, list[Event]] = {}
    for event in events:
        by_place.setdefault(event.shared, []).append(event)
    marks = {
        place: _mark(together) if place and len(together) > 1 else ""
        for place, together in by_place.items()
    }
    return tuple(
        event if event.shared == marks[event.shared] else replace(event, shared=marks[event.shared])
        for event in events
    )


def _mark(together: Sequence[Event]) -> str:
    told = [(event.aliases, event.time, event.report) for event in together]
    return hashlib.sha256(records.dumps(told)).hexdigest()[:16]
