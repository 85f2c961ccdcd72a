"""MLLP: messages over a stream, each between 0x0B and 0x1C 0x0D (HL7 v2 transport, appendix C).

`FrameReader` knows the framing and no sockets. `MllpServer` answers the messages of a connection
one after another, in their order; `connect` is the other side.
"""

import asyncio
import math
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, cast

import structlog

from bfr_dicomweb.errors import InvalidMessage, Unavailable
from bfr_dicomweb.hl7v2 import acknowledgement, charsets
from bfr_dicomweb.hl7v2.message import HEAD_BYTES, peek
from bfr_dicomweb.tls import certificate_names

VT: Final = b"\x0b"
FS: Final = b"\x1c"
CR: Final = b"\r"
READ_BYTES: Final = 64 * 1024
MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
TLS_HANDSHAKE_S: Final = 10.0
CLOSING_S: Final = 2.0

# 0x0B begins a message only before a header: word processors write it for a line break.
_BREAK = re.compile(rb"\x1c|\x0b(?=MSH|FHS|BHS)")
_UNDECIDED_BYTES: Final = 3  # of 0x0B and a header that is not complete yet
_JUNK_END = re.compile(rb"[\x0b\x1c\r\n]")
_GAP = re.compile(rb"[ \t\r\n\x1c\0]+")
_NOTHING: Final = b" \t\r\n\x0b\0"
_HEADERS: Final = (b"MSH", b"FHS", b"BHS")

log = structlog.get_logger("hl7v2")

Handler = Callable[[bytes, frozenset[str] | None], Awaitable[bytes | None]]


def framed(message: bytes) -> bytes:
    return VT + message + FS + CR


@dataclass(frozen=True, slots=True)
class TooLong:
    """A message above the limit; of its bytes only the first are left."""

    head: bytes


class FrameReader:
    """Finds the messages in a stream, the same ones however the stream was cut into pieces.

    Tolerated: a missing 0x0D, or 0x0A in its place; anything between two frames; a message without
    the 0x0B in front of it; a frame that breaks off and is followed by another one, which then
    counts alone. An empty frame is no message.

    Attributes:
        broken: How many messages broke off.
    """

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = max_message_bytes
        self._buffer = bytearray()
        self._inside = False  # of a message, which begins where the buffer does
        self._in_junk = False  # of a line between frames that is nothing
        self._searched = 0
        self._head = b""  # of a message that is too long and is being skipped
        self.broken = 0

    @property
    def is_idle(self) -> bool:
        """No message has begun."""
        return not self._inside and not self._buffer

    @property
    def held_bytes(self) -> int:
        return len(self._buffer) + len(self._head)

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """The messages that are complete with `data`."""
        self._buffer += data
        found: list[bytes | TooLong] = []
        while self._inside or self._begin():
            end = self._end()
            if end is None:
                self._shorten()
                break
            if self._buffer.startswith(FS, end):
                message = self._taken(end)
                if isinstance(message, TooLong) or message.strip(_NOTHING):
                    found.append(message)
            else:
                self._taken(end)
                self.broken += 1
                self._inside = True
        return found

    def _begin(self) -> bool:
        """Go to where the next message begins, if that is known yet."""
        buffer = self._buffer
        while buffer:
            if self._in_junk:
                end = _JUNK_END.search(buffer)
                del buffer[: len(buffer) if end is None else end.start()]
                self._in_junk = end is None
                continue
            gap = _GAP.match(buffer)
            del buffer[: gap.end() if gap is not None else 0]
            first = bytes(buffer[:_UNDECIDED_BYTES])
            if first.startswith(VT):
                del buffer[:1]
                self._inside = True
            elif first in _HEADERS:
                self._inside = True
            elif any(header.startswith(first) for header in _HEADERS):
                return False
            else:
                self._in_junk = True
                continue
            return True
        return False

    def _end(self) -> int | None:
        """Where the message ends, at 0x1C or at the 0x0B of the next one."""
        buffer = self._buffer
        while (found := _BREAK.search(buffer, self._searched)) is not None:
            place = found.start()
            if buffer[place : place + 1] == VT or not self._is_wide(place):
                return place
            # the byte may be half of a character: only with 0x0D after it it is an end
            if len(buffer) == place + 1:
                self._searched = place
                return None
            if buffer[place + 1 : place + 2] == CR:
                return place
            self._searched = place + 1
        self._searched = max(self._searched, len(buffer) - _UNDECIDED_BYTES)
        return None

    def _is_wide(self, end: int) -> bool:
        return charsets.wide_codec(self._head or bytes(self._buffer[: min(end, 6)])) is not None

    def _taken(self, end: int) -> bytes | TooLong:
        message = bytes(self._buffer[:end]) if not self._head and end <= self._limit else None
        head = self._head or bytes(self._buffer[: min(end, HEAD_BYTES)])
        del self._buffer[: end + 1]
        self._inside, self._searched, self._head = False, 0, b""
        return TooLong(head) if message is None else message

    def _shorten(self) -> None:
        """Hold no more of a message that is too long than its beginning."""
        excess = len(self._buffer) - _UNDECIDED_BYTES
        if self._head or excess > self._limit:
            self._head = self._head or bytes(self._buffer[: min(excess, HEAD_BYTES)])
            if excess > 0:
                del self._buffer[:excess]
                self._searched = 0


@dataclass(frozen=True, slots=True)
class MllpLimits:
    """
    Attributes:
        idle_s: How long a connection may be silent between two messages.
        message_s: How long a message may take from its first byte to its last.
        answer_s: How long the other side may take to accept an acknowledgement.
    """

    connections: int = 200
    message_bytes: int = MAX_MESSAGE_BYTES
    idle_s: float = 24 * 3600.0
    message_s: float = 60.0
    answer_s: float = 30.0


DEFAULT_MLLP_LIMITS: Final = MllpLimits()


class MllpServer:
    """Gives each message to `handler` and sends back what it returns.

    While a message is in hand, a connection is read ahead by one piece and what the operating
    system buffers, and no further: a sender that does not wait for acknowledgements is slowed
    down by its own messages.

    Args:
        handler: Gets the message and the names in the certificate of the sender, None when there
            is none. It may return None: no answer.
        port: 0 takes a free one; see the attribute `port`.
    """

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        limits: MllpLimits = DEFAULT_MLLP_LIMITS,
    ) -> None:
        self._handler = handler
        self._host, self._port = host, port
        self._ssl = ssl_context
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._is_stopping = False

    async def start(self) -> None:
        handshake = TLS_HANDSHAKE_S if self._ssl is not None else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, self._handler, self._limits, loop),
            self._host,
            self._port,
            ssl=self._ssl,
            ssl_handshake_timeout=handshake,
        )

    async def stop(self, grace_s: float = 10.0) -> None:
        """Take no more; messages in hand are finished, acknowledged, and their connection closed.

        What is not finished after `grace_s` is cut off without an acknowledgement.
        """
        self._is_stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            if not connection.is_busy:
                connection.close()
        await self._wait(grace_s)
        for connection in list(self._connections):
            connection.cut_off()
        await self._wait(CLOSING_S)
        if self._server is not None:
            await self._server.wait_closed()

    async def _wait(self, timeout_s: float) -> None:
        """For the end of all connections."""
        if self._connections:
            await asyncio.wait([one.over for one in self._connections], timeout=timeout_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        if self._server is None or not self._server.sockets:
            return self._port
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    def admit(self, connection: "_Connection") -> bool:
        if self._is_stopping or len(self._connections) >= self._limits.connections:
            log.warning("connection refused", connections=len(self._connections))
            return False
        self._connections.add(connection)
        return True

    def dismiss(self, connection: "_Connection") -> None:
        self._connections.discard(connection)


class _Connection(asyncio.Protocol):
    """One sender. A task answers the messages of one piece of the stream, then takes the next.

    Attributes:
        over: Done when it is closed and nothing of it is in hand any more.
    """

    _transport: asyncio.Transport

    def __init__(
        self,
        server: MllpServer,
        handler: Handler,
        limits: MllpLimits,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._server = server
        self._handler = handler
        self._limits = limits
        self._loop = loop
        self._names: frozenset[str] | None = None
        self._frames = FrameReader(limits.message_bytes)
        self._begun: float | None = None  # when the message that is coming in began
        self._ahead = b""  # came while messages were in hand
        self._task: asyncio.Task[None] | None = None
        self._has_ended = False  # the sender sends no more
        self._is_lost = False
        self._writable: asyncio.Future[None] | None = None  # is waited for when too much is unsent
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.over: asyncio.Future[None] = loop.create_future()

    @property
    def is_busy(self) -> bool:
        """A message is in hand."""
        return self._task is not None

    def close(self) -> None:
        """What has been answered is still sent, if that does not take too long."""
        self._transport.close()
        self._set_timer(self._loop.time() + CLOSING_S)

    def cut_off(self) -> None:
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    # --- what the transport tells ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.admit(self):
            self._transport.abort()
            return
        _keep_alive(transport)
        self._names = certificate_names(transport.get_extra_info("ssl_object"))
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._task is None:
            self._take(data)
        else:
            self._ahead += data
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._task is None:
            self.close()
        # with messages in hand it is closed when these are answered; TLS has no half of an end
        return self._task is not None and self._transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            log.info("connection lost", error=type(exc).__name__)
        self._is_lost = True
        self.resume_writing()
        if self._timer is not None:
            self._timer.cancel()
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._is_lost and self._task is None:
            self._server.dismiss(self)
            if not self.over.done():
                self.over.set_result(None)

    # --- time --------------------------------------------------------------------------------

    def _watch(self, *, begins: bool = False) -> None:
        """Wait for what comes next, between two messages or within one, and not for ever."""
        now = self._loop.time()
        if self._frames.is_idle:
            self._begun = None
            self._deadline = now + self._limits.idle_s
        else:
            if begins or self._begun is None:
                self._begun = now
            self._deadline = self._begun + self._limits.message_s
        # a timer that runs is left alone if it can: it looks for itself whether it is time
        if self._deadline < self._timer_at:
            self._set_timer(self._deadline)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._look_at_the_time)

    def _look_at_the_time(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._transport.is_closing():
            self._transport.abort()  # nobody takes what is unsent
        elif self._task is not None:
            return  # no time runs for the sender; afterwards there is a new deadline
        elif self._deadline > self._loop.time():
            self._set_timer(self._deadline)
        else:
            log.info("connection timed out")
            self.close()

    # --- messages ----------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        messages = self._frames.feed(data)
        if messages:
            self._task = self._loop.create_task(self._answer_all(messages))
        self._watch(begins=bool(messages))

    async def _answer_all(self, messages: Sequence[bytes | TooLong]) -> None:
        try:
            for message in messages:
                await self._answer(message)
                if self._server.is_stopping or self._is_lost:
                    self._has_ended, self._ahead = True, b""
                    break
        finally:
            self._task = None
            self._end_if_over()
        self._go_on()

    def _go_on(self) -> None:
        if self._is_lost:
            return
        if self._ahead:
            data, self._ahead = self._ahead, b""
            self._take(data)
        if self._task is None and self._has_ended:
            self.close()
        elif self._task is None:
            self._watch()
            self._transport.resume_reading()

    async def _answer(self, message: bytes | TooLong) -> None:
        answer = (
            self._refused(message) if isinstance(message, TooLong) else await self._taken(message)
        )
        if answer is None or self._is_lost:
            return
        self._transport.write(framed(answer))
        if self._writable is None:
            return
        try:
            async with asyncio.timeout(self._limits.answer_s):
                await self._writable
        except TimeoutError:
            log.info("connection timed out")
            self._transport.abort()  # closing would wait for the same peer
            self._is_lost = True

    async def _taken(self, message: bytes) -> bytes | None:
        try:
            return await self._handler(message, self._names)
        except Exception as error:  # the border: a bug, and no reason to stop listening
            # no traceback, because its last line may tell of a patient
            log.error("bug", error=type(error).__name__)  # noqa: TRY400
            failed = InvalidMessage("the archive failed; its log tells more")
            return acknowledgement.answer(peek(message), failed)

    def _refused(self, message: TooLong) -> bytes | None:
        limit = self._limits.message_bytes
        error = InvalidMessage(f"a message may have at most {limit} bytes", rejected=True)
        return acknowledgement.answer(peek(message.head), error)


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the operating system find out that a silent sender is gone."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(CLOSING_S):
            await writer.wait_closed()
            return
    writer.transport.abort()


class MllpConnection:
    """One message at a time, each with its acknowledgement."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._frames = FrameReader()
        self._turn = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timeout_s: float = 10.0,
    ) -> Self:
        """
        Raises:
            Unavailable: Nobody listens there, or the two do not trust each other.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return cls(*await asyncio.open_connection(host, port, ssl=ssl_context))
        except TimeoutError:
            raise Unavailable(f"{host}:{port} did not answer within {timeout_s:g} s") from None
        except OSError as error:
            raise Unavailable(f"no connection to {host}:{port}: {_reason(error)}") from error

    @property
    def is_open(self) -> bool:
        # many receivers close after each message
        return not self._writer.is_closing() and not self._reader.at_eof()

    async def send(self, message: bytes, *, timeout_s: float = 30.0) -> bytes:
        """The acknowledgement of `message`, both without their framing.

        Raises:
            Unavailable: None came. Whether the message arrived is not known, and the connection is
                closed: an acknowledgement that comes late would be taken for that of the next one.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    self._writer.write(framed(message))
                    await self._writer.drain()
                    return await self._receive()
            except TimeoutError:
                self._writer.transport.abort()
                raise Unavailable(f"no acknowledgement within {timeout_s:g} s") from None
            except (OSError, EOFError) as error:
                self._writer.transport.abort()
                raise Unavailable(f"the connection was lost: {_reason(error)}") from error
            except BaseException:
                self._writer.transport.abort()
                raise

    async def close(self) -> None:
        await _closed(self._writer)

    async def _receive(self) -> bytes:
        while data := await self._reader.read(READ_BYTES):
            for found in self._frames.feed(data):
                if isinstance(found, TooLong):
                    raise Unavailable("the acknowledgement is longer than any message may be")
                return found
        raise EOFError("closed by the receiver")


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
    timeout_s: float = 10.0,
) -> AsyncIterator[MllpConnection]:
    """
    Raises:
        Unavailable: See `MllpConnection.open`.
    """
    connection = await MllpConnection.open(host, port, ssl_context=ssl_context, timeout_s=timeout_s)
    try:
        yield connection
    finally:
        await connection.close()


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS failed"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
