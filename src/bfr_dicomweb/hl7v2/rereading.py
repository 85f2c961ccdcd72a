"""Reading kept messages: those that a dead process left, and those to be read anew."""

from typing import Final

import structlog

from bfr_dicomweb.hl7v2.door import Door
from bfr_dicomweb.services.orders import Orders

PAGE: Final = 500
DICOM: Final = "dicom"

log = structlog.get_logger("hl7v2")


async def recover(door: Door, orders: Orders) -> int:
    """Take over what was written down and never read, because its process died; gives how many.

    Their senders were not answered and may send them again, which then changes nothing.
    """
    await orders.take_over()
    after = recovered = 0
    while found := await orders.unfinished(after=after, limit=PAGE):
        for message in found:
            if message.door != DICOM:
                await door.read_again(message, anew=False)
                recovered += 1
        after = found[-1].number
    if recovered:
        log.info("messages recovered", messages=recovered)
    return recovered


async def replay(door: Door, orders: Orders, number: int) -> str:
    """Read one message anew; gives why it is not taken, "" when it is."""
    message = await orders.message(number)
    if message is None or message.door == DICOM:
        return "there is no such message"
    error = await door.read_again(message)
    return "" if error is None else str(error)


async def reprocess(door: Door, orders: Orders) -> int:
    """Read anew all messages with a status code that nobody had mapped; gives how many."""
    after = done = 0
    while found := await orders.unmapped(after=after, limit=PAGE):
        for message in found:
            if message.door != DICOM:
                await door.read_again(message)
                done += 1
        after = found[-1].number
    return done
