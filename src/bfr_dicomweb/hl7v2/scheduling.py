"""Appointments: SIU, S12 to S15 and S26."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import exams, fields, patients
from bfr_dicomweb.hl7v2.exams import Group
from bfr_dicomweb.hl7v2.message import Segment
from bfr_dicomweb.hl7v2.occasion import Occasion
from bfr_dicomweb.orders.events import Contents, Event, Facts, Notice
from bfr_dicomweb.orders.identifiers import Alias, AliasKind, Identifier

EVENTS: Final = frozenset({"S12", "S13", "S14", "S15", "S26"})
NO_SHOW: Final = "no-show"
# A booking does not say when it was made: SCH-11 and AIS-4 are the time of the appointment.


def read(occasion: Occasion) -> Contents:
    """
    Raises:
        InvalidMessage: there is no SCH, or no number in it.
    """
    patient = patients.facts(occasion)
    sch = occasion.message.first("SCH")
    if sch is None:
        raise InvalidMessage("there is no SCH segment", code=100, segment="SCH")
    group = _whole(occasion)
    events: list[Event] = []
    notices: list[Notice] = []
    for aliases, odd in _named(group, sch, occasion):
        events.append(_event(group, sch, occasion, aliases))
        notices += odd
    return Contents(patient, tuple(events), notices=tuple(notices))


def _whole(occasion: Occasion) -> Group:
    segments: dict[str, list[Segment]] = {}
    for segment in occasion.message:
        segments.setdefault(segment.name, []).append(segment)
    return Group(segments)


def _named(
    group: Group, sch: Segment, occasion: Occasion
) -> Sequence[tuple[tuple[Alias, ...], tuple[Notice, ...]]]:
    """An appointment can be for the exams of several orders: SCH-26 and SCH-27 repeat."""
    count = max(len(sch.repetitions(26)), len(sch.repetitions(27)))
    if count < 2:
        return [exams.aliases(group, occasion.sender)]
    issuers = occasion.sender.issuers
    found: list[tuple[tuple[Alias, ...], tuple[Notice, ...]]] = []
    for repetition in range(1, count + 1):
        aliases = (
            *_alias(AliasKind.FILLER, fields.entity(sch, 27, repetition), issuers.filler),
            *_alias(AliasKind.PLACER, fields.entity(sch, 26, repetition), issuers.placer),
        )
        if aliases:
            found.append((aliases, ()))
    return found


def _alias(kind: AliasKind, number: Identifier | None, issuer: str) -> tuple[Alias, ...]:
    return () if number is None else (Alias(kind, number.system or issuer, number.value),)


def _event(group: Group, sch: Segment, occasion: Occasion, aliases: tuple[Alias, ...]) -> Event:
    codes = exams.codes(group, occasion)
    time, claimed = occasion.settled(occasion.said)
    performer, unit = occasion.performer()
    facts = exams.facts(group, occasion, performing_unit=unit)
    return Event(
        kind=occasion.sender.mapping.kind(codes),
        time=time,
        source=occasion.sender.name,
        control_id=occasion.message.control_id,
        aliases=aliases,
        performer=performer,
        codes=(("MSH-9", codes.trigger), *exams.as_sent(codes)),
        facts=_with_reason(facts, sch, occasion),
        claimed=claimed,
    )


def _with_reason(facts: Facts, sch: Segment, occasion: Occasion) -> Facts:
    reason = fields.meaning(sch, 6) or facts.status_reason
    if occasion.message.trigger == "S26":
        return replace(facts, status_reason=reason or NO_SHOW)
    return replace(facts, status_reason=reason) if reason else facts
