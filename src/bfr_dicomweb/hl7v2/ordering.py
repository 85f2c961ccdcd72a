"""Orders and their statuses: ORM^O01, OMG^O19, OMI^O23."""

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import exams, patients
from bfr_dicomweb.hl7v2.exams import Group
from bfr_dicomweb.hl7v2.exchange import Sender
from bfr_dicomweb.hl7v2.occasion import Occasion
from bfr_dicomweb.hl7v2.status_mapping import ORDERS, PLACES, REPORTS, UNDOES, Codes, Role, Rule
from bfr_dicomweb.orders.events import (
    Contents,
    Event,
    Kind,
    Notice,
    Party,
    Report,
    ReportStatus,
)
from bfr_dicomweb.orders.identifiers import Alias


def read(occasion: Occasion) -> Contents:
    """
    Raises:
        InvalidMessage: there is no order in it, or one of them has no number.
    """
    patient = patients.facts(occasion)
    every = exams.groups(occasion.message)
    if not every:
        raise InvalidMessage("there is no ORC segment", code=100, segment="ORC")
    of_orders = exams.order_numbers(every, occasion.sender)
    events: list[Event] = []
    notices: list[Notice] = []
    for group in every:
        exams.refuse_laboratory(group)
        aliases, odd = exams.aliases(group, occasion.sender, of_orders)
        events.append(status_event(group, occasion, aliases))
        notices += odd
    return Contents(patient, tuple(events), notices=tuple(notices))


def status_event(group: Group, occasion: Occasion, aliases: tuple[Alias, ...]) -> Event:
    """What the codes of ORC and OBR say of an exam."""
    codes = exams.codes(group, occasion)
    rule = occasion.sender.mapping.rule(codes)
    kind = Kind.UNKNOWN if rule is None else rule.kind
    happened = _time(group, occasion)
    time, claimed = occasion.settled(happened or occasion.said)
    performer, unit = occasion.performer(codes.orc1)
    return Event(
        kind=kind,
        time=time,
        source=occasion.sender.name,
        control_id=occasion.message.control_id,
        aliases=aliases,
        performer=performer,
        codes=exams.as_sent(codes),
        facts=exams.facts(
            group,
            occasion,
            performing_unit=unit,
            authored=time if _is_placing(codes) else "",
            exam_start=_exam_start(group, occasion, kind),
        ),
        report=_report(rule, codes, unit),
        claimed=claimed,
        may_regress=_may_regress(occasion.sender, codes, happened),
        is_order=codes.orc1 in ORDERS,
    )


def _time(group: Group, occasion: Occasion) -> str:
    """Of the transaction (ORC-9), else of the change of status (OBR-22)."""
    for name, n in (("ORC", 9), ("OBR", 22)):
        segment = group.first(name)
        if segment is not None and (found := occasion.time(segment, n)):
            return found
    return ""


def _is_placing(codes: Codes) -> bool:
    """Who performs the exam repeats the order with a time of its own."""
    return codes.orc1 in PLACES and codes.role is not Role.FILLER


def _exam_start(group: Group, occasion: Occasion, kind: Kind) -> str:
    obr = group.first("OBR")
    if obr is None or kind not in (Kind.STARTED, Kind.PERFORMED):
        return ""
    return occasion.time_or_none(obr, 7)


def _report(rule: Rule | None, codes: Codes, signer: Party | None) -> Report | None:
    """Of a sender that tells by status alone that a report was signed."""
    if rule is None or rule.kind is not Kind.REPORTED:
        return None
    status = rule.report or REPORTS.get(codes.obr25, ReportStatus.FINAL)
    return Report(status, signer=signer)


def _may_regress(sender: Sender, codes: Codes, happened: str) -> bool:
    return sender.allow_regress and bool(happened) and codes.orc1 in UNDOES
