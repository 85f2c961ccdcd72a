"""Messages out: from the command line, and from the outbox to EHR and RIS."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2

from bfr_dicomweb import tls
from bfr_dicomweb.errors import InvalidMessage, InvalidRequest, Unavailable, Undelivered
from bfr_dicomweb.hl7v2 import batches, mllp, telling
from bfr_dicomweb.hl7v2 import exchange as exchanges
from bfr_dicomweb.hl7v2.exchange import Receiver, Tls
from bfr_dicomweb.hl7v2.http_post import HL7_V2
from bfr_dicomweb.hl7v2.message import HEAD_BYTES, parse, peek
from bfr_dicomweb.services.dispatching import Entry
from bfr_dicomweb.services.orders import Orders

TIMEOUT_S: Final = 30.0
ACCEPTED: Final = frozenset({"AA", "CA"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said of one message."""

    control_id: str
    code: str
    text: str = ""

    @property
    def accepted(self) -> bool:
        return self.code in ACCEPTED

    @property
    def line(self) -> str:
        return "  ".join(part for part in (self.control_id, self.code or "-", self.text) if part)


def read_answer(data: bytes) -> Answer:
    """
    Raises:
        Undelivered: it is no acknowledgement.
    """
    try:
        answer = parse(data)
    except InvalidMessage as error:
        raise Undelivered(f"the answer is no acknowledgement: {error}") from None
    for segment in answer.segments("MSA"):
        reasons = [segment.text(3), *(err.text(8) or err.text(3) for err in answer.segments("ERR"))]
        return Answer(
            segment.text(2), segment.text(1), "; ".join(dict.fromkeys(filter(None, reasons)))
        )
    raise Undelivered("the answer has no MSA segment")


def context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Of TLS when any of these is given.

    Raises:
        InvalidRequest: there is a key, and nothing that it is the key of.
        Unavailable: a file cannot be used.
    """
    if key is not None and certificate is None:
        raise InvalidRequest("--key needs --certificate")
    if ca is None and certificate is None:
        return None
    return _client_context(ca, certificate, key)


def messages_of(data: bytes) -> list[bytes]:
    """One message, or those of a batch.

    Raises:
        InvalidRequest: there is none.
    """
    batch = batches.split(data)
    if batch is not None:
        return list(batch.messages)
    if not peek(data).type and b"MSH" not in data[:HEAD_BYTES]:
        raise InvalidRequest("there is no message: it has to begin with MSH")
    return [data]


async def send_all(
    to: str,
    messages: Sequence[bytes],
    ssl_context: ssl.SSLContext | None,
    timeout_s: float,
    answered: Callable[[Answer], None],
) -> None:
    """Send them one after the other over one connection; `to` is HOST:PORT.

    Raises:
        InvalidRequest: `to` is something else.
        Unavailable, Undelivered: of one there was no answer, or none that can be read.
    """
    host, _, port = to.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidRequest("--to must be HOST:PORT")
    async with mllp.connect(host.strip("[]"), int(port), ssl_context=ssl_context) as connection:
        for message in messages:
            answered(read_answer(await connection.send(message, timeout_s=timeout_s)))


class Courier:
    """Delivers the outbox entries of the receivers that the exchange configuration names.

    A connection is kept between messages; one receiver has one, so that its messages stay in order.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._connections: dict[str, mllp.MllpConnection] = {}
        self._reached: dict[str, tuple[str, int, Tls | None]] = {}
        self._http = httpx2.AsyncClient(timeout=TIMEOUT_S)

    async def deliver(self, entry: Entry) -> None:
        """
        Raises:
            Undelivered: the receiver is not configured any more, or did not accept the message.
            Unavailable: it could not be reached.
        """
        receiver = await self._receiver(entry.receiver)
        message = telling.message(entry, receiver)
        if receiver.kind == "http":
            answer = await self._post(receiver, message)
        else:
            answer = await self._send(receiver, message)
        if not answer.accepted:
            raise Undelivered(f"the receiver answered {answer.code or 'nothing'}")

    async def close(self) -> None:
        for name in list(self._connections):
            await self._hang_up(name)
        await self._http.aclose()

    async def _receiver(self, name: str) -> Receiver:
        _, text = await self._orders.exchange()
        for receiver in exchanges.parse(text).receivers:
            if receiver.name == name:
                return receiver
        raise Undelivered("no receiver of this name is configured")

    async def _send(self, receiver: Receiver, message: bytes) -> Answer:
        connection = await self._connection(receiver)
        try:
            return read_answer(await connection.send(message, timeout_s=TIMEOUT_S))
        except BaseException:
            await self._hang_up(receiver.name)
            raise

    async def _connection(self, receiver: Receiver) -> mllp.MllpConnection:
        """The one that is open, as long as the receiver is to be found where it was."""
        known = self._connections.get(receiver.name)
        if known is not None and known.is_open and self._reached[receiver.name] == _way(receiver):
            return known
        await self._hang_up(receiver.name)
        opened = await mllp.MllpConnection.open(
            receiver.host, receiver.port, ssl_context=_context_of(receiver)
        )
        self._connections[receiver.name] = opened
        self._reached[receiver.name] = _way(receiver)
        return opened

    async def _hang_up(self, name: str) -> None:
        connection = self._connections.pop(name, None)
        if connection is not None:
            with suppress(OSError):
                await connection.close()

    async def _post(self, receiver: Receiver, message: bytes) -> Answer:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await self._http.post(
                    receiver.url, content=message, headers={"Content-Type": HL7_V2}
                )
        except (httpx2.HTTPError, TimeoutError) as error:
            raise Undelivered(f"no answer: {type(error).__name__}") from None
        if not response.is_success:
            raise Undelivered(f"the receiver answered with status {response.status_code}")
        return read_answer(response.content)


def _way(receiver: Receiver) -> tuple[str, int, Tls | None]:
    return receiver.host, receiver.port, receiver.tls


def _context_of(receiver: Receiver) -> ssl.SSLContext | None:
    tls = receiver.tls
    if tls is None:
        return None
    paths = [Path(name) if name else None for name in (tls.ca, tls.certificate, tls.key)]
    return _client_context(*paths)


def _client_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """
    Raises:
        Unavailable: one of the files is not there, or is not what it should be.
    """
    try:
        return tls.client_context(ca, certificate, key)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise Unavailable(f"TLS: certificates cannot be used: {reason}") from None
