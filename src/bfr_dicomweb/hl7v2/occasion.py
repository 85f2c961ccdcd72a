"""A message as something said by somebody at some time."""

from datetime import datetime, timedelta, tzinfo
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import fields
from bfr_dicomweb.hl7v2.exchange import Sender
from bfr_dicomweb.hl7v2.message import Message, Segment
from bfr_dicomweb.hl7v2.status_mapping import SAID_BY_PLACERS, Role
from bfr_dicomweb.orders.events import Party
from bfr_dicomweb.orders.identifiers import of_unit

# Clocks differ; what lies further ahead is no slow clock of ours.
TOLERANCE: Final = timedelta(minutes=5)


class Occasion:
    """
    Attributes:
        received: UTC text.
        type: Message type and event, ORM^O01.
        zone: Of times without an offset: that of MSH-7, else the sender's.
        said: MSH-7; when it was received if that is no time.
    """

    __slots__ = ("message", "received", "said", "sender", "type", "zone")

    def __init__(self, message: Message, sender: Sender, received: str) -> None:
        self.message = message
        self.sender = sender
        self.received = received
        self.type = message.type
        stated = message.time.strip()
        self.zone: tzinfo = fields.offset_of(stated) or sender.timezone
        self.said = fields.time_or_none(stated, self.zone) or received

    def time(self, segment: Segment, n: int) -> str:
        """A time on which a status depends, "" when absent.

        Raises:
            InvalidMessage: it is none.
        """
        value = fields.text(segment, n)
        if not value:
            return ""
        try:
            return fields.time(value, self.zone)
        except fields.InvalidTime as error:
            raise InvalidMessage(
                f"{segment.name}-{n} is {error}",
                code=102,
                segment=segment.name,
                sequence=segment.sequence,
                field=n,
            ) from None

    def time_or_none(self, segment: Segment, n: int, component: int = 1) -> str:
        """Any other time: "" when absent and when it is none."""
        return fields.time_or_none(fields.text(segment, n, component), self.zone)

    def settled(self, time: str) -> tuple[str, str]:
        """The time at which something counts, and the one that was claimed if that is to come."""
        is_past = time <= self.received or time <= _later(self.received)
        return (time, "") if is_past else (self.received, time)

    def performer(self, order_control: str = "") -> tuple[str, Party | None]:
        """Who performs the exams that it tells of: key and unit; ("", None) for a placer.

        Args:
            order_control: ORC-1, by which a sender that nothing is known of shows who it is.
        """
        sender = self.sender
        if sender.performer is not None:
            return sender.performer_key, sender.performer
        if sender.role is Role.PLACER:
            return "", None
        if sender.role is Role.FILLER:
            return sender.name, Party(None, sender.name)
        if order_control in SAID_BY_PLACERS:
            return "", None
        facility = self.message.sending_facility
        name = facility.namespace or facility.universal_id or sender.name
        known = of_unit(name)
        return name, Party(known) if known.system else Party(None, name)


def _later(received: str) -> str:
    return fields.utc_text(datetime.fromisoformat(received) + TOLERANCE)
