"""What a message of HL7 v2 tells: from `Message` to `Contents`."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import documents, ordering, patients, results, scheduling
from bfr_dicomweb.hl7v2.exchange import Exchange, Sender
from bfr_dicomweb.hl7v2.message import Header, Message
from bfr_dicomweb.hl7v2.occasion import Occasion
from bfr_dicomweb.orders.events import Contents, Notice

# HL7 v2.8 allows an entity identifier 199 characters, and its authority as many.
LONGEST_IDENTIFIER: Final = 400
_TOO_LONG: Final = f"an identifier has more than {LONGEST_IDENTIFIER} characters"
_VERSION: Final = re.compile(r"2\.[3-8](\.\d{1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Family:
    """A message type with the events of it that are understood."""

    events: Collection[str]
    read: Callable[[Occasion], Contents]


FAMILIES: Final = {
    "ADT": Family(patients.EVENTS, patients.read),
    "ORM": Family(("O01",), ordering.read),
    "OMG": Family(("O19",), ordering.read),
    "OMI": Family(("O23",), ordering.read),
    "SIU": Family(scheduling.EVENTS, scheduling.read),
    "ORU": Family(("R01",), results.read),
    "MDM": Family(documents.EVENTS, documents.read),
}


def sender_of(exchange: Exchange, header: Header, names: Collection[str] = ()) -> Sender:
    """Who says it.

    Args:
        names: Of the certificate with which it was sent.

    Raises:
        InvalidMessage: nobody that is known, and others are refused.
    """
    application, facility = header.sending_application, header.sending_facility
    return exchange.sender(
        application.namespace or application.universal_id,
        facility.namespace or facility.universal_id,
        names,
    )


def read(
    message: Message, sender: Sender, *, received: str, notices: tuple[Notice, ...] = ()
) -> Contents:
    """
    Args:
        received: When it came, UTC text as in `orders.events`.
        notices: What is odd in it already, to be told with the rest.

    Raises:
        InvalidMessage: it is not taken (AR), or cannot be understood (AE).
    """
    family = _family(message, sender)
    told = family.read(Occasion(message, sender, received))
    _require_plausible(told)
    return replace(told, notices=(*notices, *told.notices)) if notices else told


def _require_plausible(told: Contents) -> None:
    """Identifiers are looked up in indexes, and nobody's is a page long."""
    named = list(told.patient.identifiers) if told.patient is not None else []
    named += [one for link in told.links for one in (link.survivor, link.other)]
    if any(len(one.value) + len(one.system) > LONGEST_IDENTIFIER for one in named):
        raise InvalidMessage(_TOO_LONG, code=102, segment="PID", field=3)
    for event in told.events:
        values = [len(alias.value) + len(alias.system) for alias in event.aliases]
        report = "" if event.report is None else event.report.identifier + event.report.parent
        values += [len(event.facts.modality), len(report)]
        if max(values) > LONGEST_IDENTIFIER:
            raise InvalidMessage(_TOO_LONG, code=102, segment="OBR")


def _family(message: Message, sender: Sender) -> Family:
    processing = message.processing_id.strip()
    if processing and processing not in sender.processing:
        taken = ", ".join(sorted(sender.processing))
        raise InvalidMessage(f"only MSH-11 {taken} is taken", code=202, segment="MSH", field=11)
    if _VERSION.fullmatch(message.version) is None:
        raise InvalidMessage(
            "only versions 2.3 to 2.8 are taken", code=203, segment="MSH", field=12
        )
    family = FAMILIES.get(message.code)
    if family is None:
        raise InvalidMessage(
            f"only {', '.join(FAMILIES)} are taken", code=200, segment="MSH", field=9, component=1
        )
    if message.trigger not in family.events:
        raise InvalidMessage(
            f"of {message.code} only {', '.join(sorted(family.events))} are taken",
            code=201,
            segment="MSH",
            field=9,
            component=2,
        )
    if not message.control_id:
        raise InvalidMessage("MSH-10 is empty", code=101, segment="MSH", field=10)
    return family
