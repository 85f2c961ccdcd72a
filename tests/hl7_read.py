"""Messages through parser and reader, as the doors do it."""

from bfr_dicomweb.hl7v2 import exchange, reading
from bfr_dicomweb.hl7v2.message import parse
from bfr_dicomweb.orders.events import Contents, Event, Report

RECEIVED = "2026-11-23T05:00:00.000000Z"


def read(
    data: bytes, configuration: str = exchange.EXAMPLE, *, received: str = RECEIVED
) -> Contents:
    message = parse(data)
    sender = reading.sender_of(exchange.parse(configuration), message)
    return reading.read(message, sender, received=received)


def one_event(data: bytes, configuration: str = exchange.EXAMPLE) -> Event:
    (event,) = read(data, configuration).events
    return event


def one_report(data: bytes, configuration: str = exchange.EXAMPLE) -> Report:
    report = one_event(data, configuration).report
    assert report is not None
    return report
