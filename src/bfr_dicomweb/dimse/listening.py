"""Listening for associations: threads, TLS, limits, and an orderly end."""

import select
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self, cast

import structlog
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import AssociationServer, RequestHandler

from bfr_dicomweb.dimse.door import Door
from bfr_dicomweb.dimse.negotiation import Acceptance, Offer, Seats
from bfr_dicomweb.dimse.receiving import MAX_PDU_BYTES, Begin, PromptAssociation, UpperLayer
from bfr_dicomweb.tls import certificate_names

# Connections that have not been accepted yet.
BACKLOG: Final = 256
# Connections for each association that is allowed: some have not asked for one yet.
CONNECTIONS_PER_SEAT: Final = 2
SHUTDOWN_POLL_SECONDS: Final = 0.1
# When the server stops: an association without a message for so long has nothing under way.
NOTHING_UNDER_WAY_SECONDS: Final = 1.0
# For an abort or a release response to leave.
LAST_WORDS_SECONDS: Final = 2.0
A_ASSOCIATE_RQ_TYPE: Final = 0x01
# Where they stand in the PDU (PS3.8 Table 9-11).
CALLED_AND_CALLING: Final = (slice(10, 26), slice(26, 42))

log = structlog.get_logger("dimse")


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Attributes:
        associations: At one time.
        idle_seconds: Without a byte from the peer, after which an association is aborted.
        artim_seconds: For the request for an association to come, for TLS to be agreed on before,
            and for the connection to end after a release (PS3.8 section 9.1.5).
        pdu_bytes: Longest PDU that peers are told to send.
    """

    associations: int = 128
    idle_seconds: int = 600
    artim_seconds: int = 30
    pdu_bytes: int = MAX_PDU_BYTES


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all associations of a process, whichever address they came to."""

    door: Door
    offer: Offer
    seats: Seats
    begin: Begin
    handlers: Iterable[evt.EventHandlerType]
    limits: Limits


class _TwoWaySocket(ssl.SSLSocket):
    """One thread reads while another writes, which OpenSSL must not see (Python does not care)."""

    _turn: threading.Lock

    @classmethod
    def _create(cls, *arguments: Any, **named: Any) -> Self:
        made = cast(Self, super()._create(*arguments, **named))  # type: ignore[misc]
        made._turn = threading.Lock()
        return made

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002
        """Never waits within its turn: what came may be no data but a matter of TLS alone."""
        patience = self.gettimeout()
        while True:
            with self._turn:
                self.settimeout(0)
                try:
                    return super().read(len, buffer)
                except ssl.SSLWantReadError:
                    pass
                finally:
                    self.settimeout(patience)
            poll = select.poll()
            poll.register(self, select.POLLIN)
            if not poll.poll(None if patience is None else patience * 1000):
                raise TimeoutError("the read operation timed out")

    def send(self, data: Any, flags: int = 0) -> int:
        with self._turn:
            return super().send(data, flags)


class _Tolerant(UpperLayer):
    """Reads AE titles that are padded with zeros, as some old devices have them."""

    def _decode_pdu(self, bytestream: bytearray) -> Any:
        is_request = bytestream[0] == A_ASSOCIATE_RQ_TYPE
        if is_request:
            for titles in CALLED_AND_CALLING:
                bytestream[titles] = bytestream[titles].replace(b"\0", b" ")
        pdu, event = super()._decode_pdu(bytestream)
        if is_request:
            pdu.to_primitive()  # raises here, where it is told from a bug
        return pdu, event

    def close(self) -> None:
        """It has never been started."""
        self._woken.close()
        self._waking.close()


class Accepted(PromptAssociation):
    """An association that a peer opens."""

    acse: Acceptance
    dul: _Tolerant
    server: "Server"
    client: socket.socket
    is_serving: bool
    counts: Counter[str]

    @classmethod
    def on(cls, server: "Server", accepted: Association, client: socket.socket) -> "Accepted":
        self = cast(Accepted, cls.of(accepted, client, server.rules.begin))
        self.dul.__class__ = _Tolerant
        self.server = server
        self.client = client
        self.is_serving = False
        self.counts = Counter()
        self.acse = Acceptance(
            self,
            door=server.rules.door,
            offer=server.rules.offer,
            seats=server.rules.seats,
            certificate_names=self._certificate_names,
        )
        server.remember(self)
        return self

    def run(self) -> None:
        # what pynetdicom has made the target is the method that it knew
        self.run_reactor()

    def _certificate_names(self) -> frozenset[str] | None:
        plain = self.dul.socket.socket
        if not isinstance(plain, ssl.SSLSocket):
            return None
        return certificate_names(plain) or frozenset()

    def run_reactor(self) -> None:
        try:
            if self._secure():
                self._run()
        except Exception as error:  # the border: one association's end is not another's
            log.exception("bug", error=type(error).__name__)
        finally:
            try:
                self._tidy()
            finally:
                self.server.forget(self)

    def _secure(self) -> bool:
        """Agree on TLS, where it is spoken, in the thread that may wait for it."""
        context, connection = self.server.ssl_context, self.dul.socket
        plain = connection.socket
        if context is None or plain is None:
            return True
        patience = plain.gettimeout()
        try:
            plain.settimeout(self.server.rules.limits.artim_seconds)
            secured = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            connection.socket = self.client = secured
            secured.do_handshake()
            secured.settimeout(patience)
        except OSError as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            log.warning("tls refused", reason=reason, address=self.requestor.address)
            return False
        return True

    def _run(self) -> None:
        self.dul.start()
        self._started_dul = True
        request = self._request()
        if request is None:
            return
        self.requestor.primitive = request
        evt.trigger(self, evt.EVT_REQUESTED, {})
        if self.server.is_stopping:
            self.abort()
            return
        self.acse.negotiate_association()
        if self.is_established:
            self._run_reactor()

    def _request(self) -> A_ASSOCIATE | None:
        """None when none came in time, or something else."""
        deadline = time.monotonic() + self.server.rules.limits.artim_seconds
        while (left := deadline - time.monotonic()) > 0:
            self.news.wait(min(left, 1.0))
            self.news.clear()
            primitive = self.dul.receive_pdu()
            if isinstance(primitive, A_ASSOCIATE):
                return primitive
            if primitive is not None or self._is_gone():
                return None
        return None

    def _is_gone(self) -> bool:
        return self.dul.socket.socket is None or not self.dul.is_alive()

    def _tidy(self) -> None:
        self.is_established = False
        if self.dul.ident is not None:
            self._let_last_words_out()
            self.dul.kill_dul()
            self.dul.join(LAST_WORDS_SECONDS)
        else:
            self.dul.close()
        self.dul.socket._shutdown_socket()
        # pynetdicom leaves it open when the other side was faster
        self.client.close()
        if self.acse.leave():
            by = {} if self.is_released else {"by": "archive" if self._sent_abort else "peer"}
            log.info(
                "association released" if self.is_released else "association aborted",
                calling=self.requestor.ae_title,
                address=self.requestor.address,
                **by,
                **self.counts,
            )

    def _let_last_words_out(self) -> None:
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        while self.dul.is_alive() and time.monotonic() < deadline and not self.dul.stop_dul():
            time.sleep(0.01)

    def end(self) -> None:
        """From another thread: abort it, and do not wait until it is."""
        if self.is_established:
            self.abort(block=False)
        self._kill = True
        self.news.set()

    @property
    def is_busy(self) -> bool:
        """Whether a message is being served, or was coming a moment ago."""
        idle = self.server.rules.limits.idle_seconds - self.dul._idle_timer.remaining
        return self.is_established and (self.is_serving or idle < NOTHING_UNDER_WAY_SECONDS)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        kind = "c_store" if isinstance(msg, C_STORE) else msg.msg_type.lower().replace("-", "_")
        self.counts[kind] += 1
        self.is_serving = True
        try:
            super()._serve_request(msg, context_id)
        finally:
            self.is_serving = False
            # what took long was no idleness
            self.dul._idle_timer.restart()


class _Handler(RequestHandler):
    server: "Server"

    def _create_association(self) -> Association:
        made = super()._create_association()
        return Accepted.on(self.server, made, self.request)


class Server(AssociationServer):
    """Accepts connections in a thread of its own; each association has two more."""

    request_queue_size = BACKLOG

    def __init__(
        self,
        entity: AE,
        address: tuple[str, int],
        rules: Rules,
        *,
        ssl_context: ssl.SSLContext | None = None,
        shares_port: bool = False,
    ) -> None:
        """
        Args:
            shares_port: Other processes listen on it, too.

        Raises:
            OSError: it cannot be listened on this address.
        """
        self.rules = rules
        self.is_stopping = False
        self._shares_port = shares_port
        self._open: set[Accepted] = set()
        self._opening = threading.Lock()
        if ssl_context is not None:
            ssl_context.sslsocket_class = _TwoWaySocket
        super().__init__(
            entity,
            address,
            entity.ae_title,
            [],  # negotiated here, not by pynetdicom
            ssl_context,
            evt_handlers=list(rules.handlers),
            request_handler=_Handler,
        )
        self._accepting = threading.Thread(
            target=self.serve_forever, args=(SHUTDOWN_POLL_SECONDS,), name="dimse", daemon=True
        )

    def start(self) -> None:
        self.ae._servers.append(cast(Any, self))
        self._accepting.start()

    def server_bind(self) -> None:
        if self._shares_port:
            cast(socket.socket, self.socket).setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        # TLS is agreed on by the thread of the association
        return cast(socket.socket, self.socket).accept()

    def process_request(self, request: Any, client_address: Any) -> None:
        most = self.rules.limits.associations * CONNECTIONS_PER_SEAT
        if self.is_stopping or len(self._open) >= most:
            log.warning("connection refused", reason="too many", address=client_address[0])
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Leave the collector alone: pynetdicom has it walk through everything now and then."""

    def handle_error(self, *_: Any) -> None:
        """Called where it was caught; pynetdicom's own prints it."""
        log.error("bug", error=type(sys.exception()).__name__, exc_info=sys.exception())

    def remember(self, association: Accepted) -> None:
        with self._opening:
            self._open.add(association)

    def forget(self, association: Accepted) -> None:
        with self._opening:
            self._open.discard(association)

    @property
    def associations(self) -> list[Accepted]:
        with self._opening:
            return list(self._open)

    def shutdown(self, grace_seconds: float = 0.0) -> None:
        """Stop listening; what is under way may end within the time, then it is aborted."""
        if self.is_stopping:
            return
        self.is_stopping = True
        super().shutdown()
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline and any(one.is_busy for one in self.associations):
            time.sleep(SHUTDOWN_POLL_SECONDS)
        ending = self.associations
        for association in ending:
            association.end()
        deadline = time.monotonic() + 2 * LAST_WORDS_SECONDS
        for association in ending:
            association.join(max(deadline - time.monotonic(), 0))
