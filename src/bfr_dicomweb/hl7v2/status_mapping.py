"""Which status a message tells of: tables of HL7 v2 codes and what they mean here.

A rule names the codes that it is for; the first rule that fits decides. What a sender says in its
own way stands in rules of its own before the standard ones. Codes that no rule has are told as
`Kind.UNKNOWN`, never guessed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bfr_dicomweb.orders.events import Kind, ReportStatus


class Role(StrEnum):
    """Who a sender is in the life of an order."""

    PLACER = "placer"
    FILLER = "filler"
    BOTH = "both"  # or not known


@dataclass(frozen=True, slots=True)
class Codes:
    """What a message says of the status of one exam, as sent; "" is absent.

    Attributes:
        trigger: Message type and event: ``ORM^O01``, ``SIU^S14``.
        orc1: Order control, table 0119.
        orc5: Order status, table 0038.
        obr25: Result status, table 0123.
        sch25: Filler status of an appointment, table 0278.
    """

    trigger: str
    role: Role
    orc1: str = ""
    orc5: str = ""
    obr25: str = ""
    sch25: str = ""


Values = tuple[str, ...]  # "" among them: it may be absent; no value at all: it does not matter


@dataclass(frozen=True, slots=True)
class Rule:
    """Attributes:
    trigger: ``SIU^S14``, or only the type or the event of it.
    report: What a report with these codes is, when `kind` is REPORTED.
    """

    kind: Kind
    trigger: Values = ()
    role: tuple[Role, ...] = ()
    orc1: Values = ()
    orc5: Values = ()
    obr25: Values = ()
    sch25: Values = ()
    report: ReportStatus | None = None

    def fits(self, codes: Codes) -> bool:
        return (
            _has(self.orc1, codes.orc1)
            and _has(self.orc5, codes.orc5)
            and _has(self.obr25, codes.obr25)
            and _has(self.sch25, codes.sch25)
            and (not self.role or codes.role in self.role)
            and (not self.trigger or _is_trigger(self.trigger, codes.trigger))
        )


def _has(values: Values, value: str) -> bool:
    return not values or value in values


def _is_trigger(named: Collection[str], trigger: str) -> bool:
    kind, _, event = trigger.partition("^")
    return trigger in named or kind in named or event in named


class StatusMapping:
    """Rules in their order, the standard ones at the end."""

    def __init__(self, own: Sequence[Rule] = ()) -> None:
        self.rules: Final = (*own, *STANDARD)
        self._found: dict[Codes, Rule | None] = {}

    def rule(self, codes: Codes) -> Rule | None:
        try:
            return self._found[codes]
        except KeyError:
            found = next((rule for rule in self.rules if rule.fits(codes)), None)
        # codes come from outside: any number of them must not fill the memory
        if len(self._found) < 10_000:
            self._found[codes] = found
        return found

    def kind(self, codes: Codes) -> Kind:
        rule = self.rule(codes)
        return Kind.UNKNOWN if rule is None else rule.kind


# Order status, table 0038, without A and CM (done), CA and DC (cancelled), HD, ER and RP.
_UNDER_WAY: Final = ("", "IP", "SC")
# Result status, table 0123: nothing that belongs to a report. Some fillers leave O in every
# message, so it tells something only where the order status does not.
_NOTHING_YET: Final = ("", "O")
_REPORTS: Final = ("P", "R", "F", "C", "M")
_ALL_RESULTS: Final = ("", "O", "S", "I", "N", "A", *_REPORTS)
# Order control, table 0119. An order is placed, or its number is.
_PLACED: Final = ("NW", "RO", "SN")
_TAKEN: Final = ("OK", "NA")
_CHANGED: Final = ("XO", "XX", "XR")
# It is told how an order stands.
_STATES: Final = ("SC", "RE", "SR", "PR", "", *_TAKEN, *_CHANGED)
_PERFORMER: Final = (Role.FILLER, Role.BOTH)
_ORDERER: Final = (Role.PLACER, Role.BOTH)
# Unable to: accept, cancel, change, discontinue, put on hold, replace, release, refill.
_UNABLE: Final = ("UA", "UC", "UX", "UD", "UH", "UM", "UR", "UF")

_SCHEDULING: Final = (
    Rule(Kind.BOOKED, ("SIU^S12",)),
    Rule(Kind.REBOOKED, ("SIU^S13",)),
    # Table 0278. A modification can be that the appointment is none any more.
    Rule(Kind.CANCELLED, ("SIU^S14",), sch25=("Cancelled", "Dc", "Deleted", "Noshow")),
    Rule(Kind.STARTED, ("SIU^S14",), sch25=("Started",)),
    Rule(Kind.PERFORMED, ("SIU^S14",), sch25=("Complete",)),
    Rule(
        Kind.UPDATED,
        ("SIU^S14",),
        sch25=("", "Booked", "Pending", "Waitlist", "Overbook", "Blocked"),
    ),
    Rule(Kind.CANCELLED, ("SIU^S15",)),
    Rule(Kind.CANCELLED, ("SIU^S26",)),
)

_ENDED: Final = (
    Rule(Kind.CANCELLED, orc1=("OC", "CR", "OD", "DR")),
    # A placer asks for it, and who performs the exam decides.
    Rule(Kind.CANCEL_REQUESTED, role=_ORDERER, orc1=("CA", "DC")),
    Rule(Kind.CANCELLED, role=(Role.FILLER,), orc1=("CA", "DC")),
    Rule(Kind.REFUSED, orc1=_UNABLE),
    Rule(Kind.MOVED, orc1=("RP", "RU", "RQ")),
    Rule(Kind.HELD, orc1=("HD", "OH", "HR")),
    Rule(Kind.RELEASED, orc1=("RL", "OE", "OR")),
    Rule(Kind.WITHDRAWN, orc5=("ER",)),
    Rule(Kind.CANCEL_REQUESTED, role=(Role.PLACER,), orc5=("CA", "DC")),
    Rule(Kind.CANCELLED, orc5=("CA", "DC")),
    Rule(Kind.CANCEL_REQUESTED, role=(Role.PLACER,), obr25=("X",)),
    Rule(Kind.CANCELLED, obr25=("X",)),
    Rule(Kind.MOVED, orc5=("RP",)),
    Rule(Kind.HELD, orc5=("HD",)),
)

_BEGUN: Final = (
    # IHE's order filler tells the archive of a scheduled exam with NW and SC.
    Rule(Kind.BOOKED, role=_PERFORMER, orc1=_PLACED, orc5=("SC",)),
    Rule(Kind.PERFORMED, role=_PERFORMER, orc1=_PLACED, orc5=("CM",)),
    Rule(Kind.RECEIVED, orc1=_PLACED),
)

_TOLD: Final = (
    Rule(Kind.PERFORMED, orc1=_STATES, orc5=("CM", "A"), obr25=_ALL_RESULTS),
    # The report itself comes in a message of its own; until then it is known to be performed.
    Rule(Kind.PERFORMED, orc1=_STATES, orc5=_UNDER_WAY, obr25=("N", "A", *_REPORTS)),
    Rule(Kind.STARTED, orc1=_STATES, orc5=_UNDER_WAY, obr25=("I",)),
    Rule(Kind.REBOOKED, orc1=_CHANGED, orc5=("SC",), obr25=("S", *_NOTHING_YET)),
    Rule(Kind.BOOKED, orc1=_STATES, orc5=_UNDER_WAY, obr25=("S",)),
    Rule(Kind.BOOKED, orc1=_STATES, orc5=("SC",), obr25=_NOTHING_YET),
    Rule(Kind.RECEIVED, orc1=_TAKEN, orc5=("", "IP"), obr25=_NOTHING_YET),
    Rule(Kind.RECEIVED, orc1=_STATES, orc5=("", "IP"), obr25=("O",)),
    Rule(Kind.STARTED, orc1=_STATES, orc5=("IP",), obr25=("",)),
    # An order is changed, and nothing is said of its status.
    Rule(Kind.UPDATED, orc1=_CHANGED, orc5=("",), obr25=("",)),
)

STANDARD: Final = (*_SCHEDULING, *_ENDED, *_BEGUN, *_TOLD)

# Result status, table 0123. A final one after a final one is an addendum: the fold sees that.
REPORTS: Final = {
    "P": ReportStatus.PRELIMINARY,
    "R": ReportStatus.PARTIAL,
    "A": ReportStatus.PARTIAL,
    "M": ReportStatus.PRELIMINARY,
    "F": ReportStatus.FINAL,
    "C": ReportStatus.CORRECTED,
    "X": ReportStatus.CANCELLED,
}

# Observation result status, table 0085. O, I and N tell nothing of a report.
SECTIONS: Final = {
    "F": ReportStatus.FINAL,
    "V": ReportStatus.FINAL,
    "A": ReportStatus.CORRECTED,
    "B": ReportStatus.ADDENDUM,
    "S": ReportStatus.PARTIAL,
    "C": ReportStatus.CORRECTED,
    "P": ReportStatus.PRELIMINARY,
    "R": ReportStatus.PARTIAL,
    "D": ReportStatus.WITHDRAWN,
    "W": ReportStatus.WITHDRAWN,
    "X": ReportStatus.CANCELLED,
    "U": ReportStatus.PROMOTED,
}

# Document completion status, table 0271.
DOCUMENTS: Final = {
    "DI": ReportStatus.REGISTERED,
    "IP": ReportStatus.PARTIAL,
    "IN": ReportStatus.PARTIAL,
    "DO": ReportStatus.PRELIMINARY,
    "PA": ReportStatus.PRELIMINARY,
    "AU": ReportStatus.FINAL,
    "LA": ReportStatus.FINAL,
}

# Order control codes with which an order or its content comes, not only its status.
ORDERS: Final = frozenset({"NW", "RO", "SN", "XO", "XX", "XR", "RP", "RU", "PA", "CH"})
# Those with which its time of placing comes.
PLACES: Final = frozenset({"NW", "RO", "SN"})
# Order control codes by which a trusted sender takes a status back.
UNDOES: Final = frozenset({"XX", "XO", "SC"})
# Codes that only a placer says (table 0119, column for the originator).
SAID_BY_PLACERS: Final = frozenset(
    {"NW", "CA", "DC", "HD", "RL", "XO", "RP", "SS", "NA", "PA", "CH"}
)
