"""From the bytes of a message to its acknowledgement, by whichever way it came.

The bytes are written down before anything is made of them. AA is said only when what the message
tells has been committed; when it could not be, the message waits in the archive to be read again,
and the sender hears AE or AR.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from bfr_dicomweb.errors import ArchiveError, InvalidMessage, InvalidRequest
from bfr_dicomweb.hl7v2 import acknowledgement, batches, fields, reading
from bfr_dicomweb.hl7v2 import exchange as exchanges
from bfr_dicomweb.hl7v2.charsets import Charset
from bfr_dicomweb.hl7v2.exchange import Exchange, Sender
from bfr_dicomweb.hl7v2.message import DEFAULT_LIMITS, Designator, Header, Limits, parse, peek
from bfr_dicomweb.orders.events import Contents, Notice
from bfr_dicomweb.services.orders import Orders, RawMessage, StoredMessage, Taken

NOT_KEPT: Final = "the message could not be kept now: try again"
NOT_APPLIED: Final = "the message is kept and could not be applied now: try again"
FAILED: Final = "the archive failed to read the message, which is kept"
MOST_OF_A_FIELD: Final = 400
IN_THREAD_BYTES: Final = 256 * 1024  # from here on, reading would keep other senders waiting

MESSAGES: Final = Counter(
    "bfr_hl7v2_messages_total", "HL7 v2 messages answered.", ("door", "acknowledgement")
)
SECONDS: Final = Histogram(
    "bfr_hl7v2_message_seconds",
    "Time from a whole message to its acknowledgement.",
    ("door",),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)

_TYPE = re.compile(r"[A-Z]{3}(\^[A-Z]\d\d)?")

# To find the child of a metric takes longer than to count with it.
_count = cache(MESSAGES.labels)
_seconds = cache(SECONDS.labels)

log = structlog.get_logger("hl7v2")


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message came."""

    door: str
    peer_names: frozenset[str] | None
    charset: str | None
    received_us: int

    @property
    def received(self) -> str:
        return fields.utc_text(datetime.fromtimestamp(self.received_us / 1_000_000, UTC))


@dataclass(frozen=True, slots=True)
class _Refused:
    """A sender from whom nothing is taken."""

    name: str
    error: InvalidMessage
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class _Task:
    """A message that is written down, and what is needed to read it.

    Attributes:
        message: Just taken, or the number of a kept one.
        profile: Version of the configuration with which it is read anew, None the first time.
    """

    message: Taken | int
    body: bytes
    sender: Sender | _Refused
    arrival: Arrival
    profile: int | None = None


class Door:
    def __init__(self, orders: Orders, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._orders = orders
        self._limits = limits
        self._exchange = (0, exchanges.parse(""))

    @property
    def max_message_bytes(self) -> int:
        return self._limits.message_bytes

    async def receive(
        self,
        data: bytes,
        *,
        door: str,
        peer_names: frozenset[str] | None,
        charset: str | None = None,
    ) -> bytes | None:
        """The acknowledgement of a message or of a batch, None when the sender wants none.

        Args:
            door: By which it came: "mllp", "http".
            peer_names: Of the sender's certificate, None when it showed none.
            charset: What the carrier says of the bytes; it counts where MSH-18 says nothing.
        """
        arrival = Arrival(door, peer_names, charset, time.time_ns() // 1000)
        try:
            batch = batches.split(data)
        except InvalidMessage as error:
            return acknowledgement.answer(peek(data), error)
        if batch is None:
            return await self._answer(data, arrival)
        answers = [await self._answer(message, arrival) for message in batch.messages]
        return batches.answer(batch, answers)

    async def read_again(
        self, stored: StoredMessage, *, anew: bool = True
    ) -> InvalidMessage | None:
        """Read a kept message with the configuration now in force; why it is not taken, if so.

        Args:
            anew: What it was taken to say before counts no more. False for one that was never read.
        """
        version, exchange = await self._exchange_in_force()
        # whose name is in the catalogue has shown its certificate when it sent the message
        known = [sender for sender in exchange.senders if sender.name == stored.sender]
        sender = known[0] if known else _sender(exchange, peek(stored.body), None)
        arrival = Arrival(stored.door, None, stored.charset or None, stored.received_us)
        profile = version if anew else None
        return await self._finish(_Task(stored.number, stored.body, sender, arrival, profile))

    async def _answer(self, data: bytes, arrival: Arrival) -> bytes | None:
        begun = time.perf_counter()
        header = peek(data)
        number, error = await self._take(data, header, arrival)
        code = acknowledgement.code_of(error)
        seconds = time.perf_counter() - begun
        _count(arrival.door, code).inc()
        _seconds(arrival.door).observe(seconds)
        said = header.type
        log.info(
            "message",
            number=number,
            door=arrival.door,
            # what stands in the place of the type may be anything
            type=said if _TYPE.fullmatch(said) else "other",
            acknowledgement=code,
            ms=round(seconds * 1000, 2),
        )
        return acknowledgement.answer(header, error)

    async def _take(
        self, data: bytes, header: Header, arrival: Arrival
    ) -> tuple[int, InvalidMessage | None]:
        """The number of the message, 0 when it has none yet, and why it is not applied."""
        try:
            version, exchange = await self._exchange_in_force()
            sender = _sender(exchange, header, arrival.peer_names)
            taken = await self._orders.take(_raw(data, header, sender, version, arrival))
        except ArchiveError as error:
            log.warning("message not kept", error=type(error).__name__)
            return 0, InvalidMessage(NOT_KEPT)
        except Exception as error:  # the border: everything else is a bug
            _log_bug(error, 0)
            return 0, InvalidMessage(NOT_KEPT)
        refusal = await self._finish(_Task(taken, data, sender, arrival))
        return taken.number, refusal

    async def _finish(self, task: _Task) -> InvalidMessage | None:
        """Read and apply a kept message, or write down why that cannot be."""
        if isinstance(task.sender, _Refused):
            refusal: InvalidMessage | None = task.sender.error
            notices = task.sender.notices
        else:
            refusal, notices = await self._apply(task, task.sender), ()
        if refusal is not None:
            await self._mark(task, refusal, notices)
        return refusal

    async def _apply(self, task: _Task, sender: Sender) -> InvalidMessage | None:
        try:
            if len(task.body) < IN_THREAD_BYTES:
                contents = self._read(task, sender)
            else:
                contents = await asyncio.to_thread(self._read, task, sender)
            await self._commit(task, sender, contents)
        except InvalidMessage as error:
            return error
        except InvalidRequest as error:  # of an exam it is told and of no patient
            return InvalidMessage(str(error), code=101, segment="PID", field=3)
        except ArchiveError as error:
            log.warning("message not applied", number=_number(task), error=type(error).__name__)
            return InvalidMessage(NOT_APPLIED)
        except Exception as error:  # the border: everything else is a bug
            _log_bug(error, _number(task))
            return InvalidMessage(FAILED)
        return None

    async def _commit(self, task: _Task, sender: Sender, contents: Contents) -> None:
        received_us = task.arrival.received_us
        if task.profile is None:
            await self._orders.apply(
                task.message, contents, sender=sender.name, received_us=received_us
            )
        else:
            await self._orders.replace(
                _number(task),
                contents,
                sender=sender.name,
                received_us=received_us,
                profile=task.profile,
            )

    def _read(self, task: _Task, sender: Sender) -> Contents:
        charset = task.arrival.charset or sender.charset or None
        message = parse(task.body, charset=charset, limits=self._limits)
        return reading.read(
            message,
            sender,
            received=task.arrival.received,
            notices=_charset_notice(message.charset, sender),
        )

    async def _mark(
        self, task: _Task, error: InvalidMessage, notices: tuple[Notice, ...] = ()
    ) -> None:
        code = acknowledgement.code_of(error)
        state = "refused" if error.rejected else "failed"
        try:
            await self._orders.fail(
                task.message, state=state, ack=code, error=str(error), notices=notices
            )
        except ArchiveError as failure:  # it stays as kept, and will be read again
            log.warning("message not marked", number=_number(task), error=type(failure).__name__)
        except Exception as failure:  # the border: everything else is a bug
            _log_bug(failure, _number(task))

    async def _exchange_in_force(self) -> tuple[int, Exchange]:
        version, text = await self._orders.exchange()
        if version != self._exchange[0]:
            self._exchange = (version, exchanges.parse(text))
        return self._exchange


def handler(door: Door) -> Callable[[bytes, frozenset[str] | None], Awaitable[bytes | None]]:
    """What `MllpServer` gives its messages to."""

    async def receive(data: bytes, peer_names: frozenset[str] | None) -> bytes | None:
        return await door.receive(data, door="mllp", peer_names=peer_names)

    return receive


def _sender(exchange: Exchange, header: Header, names: frozenset[str] | None) -> Sender | _Refused:
    application = _name(header.sending_application)
    facility = _name(header.sending_facility)
    # under no name that a sender can have: nobody is to be trusted by it when it is read again
    claimed = f"unverified {application}|{facility}"
    found: Sender | _Refused
    try:
        found = reading.sender_of(exchange, header, names or ())
        if found.is_known:
            return found
    except InvalidMessage as error:
        found = _Refused(claimed, error)
    for sender in exchange.senders:
        if _is_claimed(sender, application, facility):
            detail = f"messages in the name of {sender.name}, but not with its certificate"
            notice = Notice("sender-not-authentic", detail, "high")
            return _Refused(claimed, _not_authentic(), (notice,))
    return found


def _name(designator: Designator) -> str:
    return designator.namespace or designator.universal_id


def _not_authentic() -> InvalidMessage:
    return InvalidMessage(
        "the certificate is not that of the sender in MSH-3 and MSH-4",
        code=103,
        segment="MSH",
        field=3,
        rejected=True,
    )


def _is_claimed(sender: Sender, application: str, facility: str) -> bool:
    """A sender with a certificate of its own, named by a message that came without it."""
    is_named = sender.application != ("*",) or sender.facility != ("*",)
    return (
        bool(sender.certificates)
        and is_named
        and sender.is_meant(application, facility, sender.certificates)
    )


def _raw(
    data: bytes, header: Header, sender: Sender | _Refused, version: int, arrival: Arrival
) -> RawMessage:
    """The header's fields as far as they fit an index; the body has them whole."""
    return RawMessage(
        door=arrival.door,
        sender=sender.name[:MOST_OF_A_FIELD],
        control_id=header.control_id[:MOST_OF_A_FIELD],
        type=header.type[:MOST_OF_A_FIELD],
        version=header.version[:MOST_OF_A_FIELD],
        charset=(header.charset.declared or arrival.charset or "")[:MOST_OF_A_FIELD],
        body=data,
        profile=version,
        received_us=arrival.received_us,
    )


def _charset_notice(charset: Charset, sender: Sender) -> tuple[Notice, ...]:
    if not charset.is_doubtful:
        return ()
    detail = f"MSH-18 of {sender.name} is {charset.how}; the text was read as {charset.codec}"
    return (Notice("charset-wrong", detail, "low"),)


def _number(task: _Task) -> int:
    return task.message if isinstance(task.message, int) else task.message.number


def _log_bug(error: Exception, number: int) -> None:
    """Neither its text nor values go into the log: they may be of a patient."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else ""
    log.error("bug", number=number, error=type(error).__name__, place=place)
