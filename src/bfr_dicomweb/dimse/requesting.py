"""Associations that this archive opens with a peer."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from bfr_dicomweb.dimse.connection import STALLED_SECONDS, break_off
from bfr_dicomweb.dimse.peers import Peer
from bfr_dicomweb.errors import Undelivered

# To be connected, with TLS too.
CONNECT_SECONDS: Final = 10.0
# For an answer to the request for an association, or for its release.
ASSOCIATE_SECONDS: Final = 30.0
MAX_PDU_BYTES: Final = 131_072


@contextmanager
def associated(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    *,
    ae_title: str,
    roles: Sequence[Any] = (),
    tls: ssl.SSLContext | None = None,
    handlers: Sequence[evt.EventHandlerType] = (),
) -> Iterator[Association]:
    """An association with a peer, released in the end, or aborted when an error is raised.

    Args:
        contexts: At least one of these is accepted; which ones is to be looked up.
        ae_title: Of the caller.
        roles: Role selections and other items of extended negotiation.
        tls: Used when the peer is called with TLS.

    Raises:
        Undelivered: there is no association; says why, in words.
    """
    if not peer.host:
        raise Undelivered(f"{peer.ae_title} has no address at which it can be called")
    if peer.tls and tls is None:
        raise Undelivered(f"{peer.ae_title} is called with TLS, for which no certificate is set")
    entity = _Requestor(ae_title)
    entity.connection_timeout = CONNECT_SECONDS
    entity.acse_timeout = ASSOCIATE_SECONDS
    entity.dimse_timeout = peer.response_seconds
    # Sending a large object is no idleness; a peer that stalls is noticed by its socket.
    entity.network_timeout = None
    answers: list[Any] = []
    heard = (evt.EVT_ACSE_RECV, lambda event: answers.append(event.primitive))
    try:
        association = entity.associate(
            peer.host,
            peer.port,
            list(contexts),
            ae_title=peer.ae_title,
            max_pdu=MAX_PDU_BYTES,
            ext_neg=list(roles),
            tls_args=(tls, peer.tls_name or peer.host) if peer.tls and tls is not None else None,
            evt_handlers=[heard, *handlers],
        )
    except OSError as error:
        raise Undelivered(f"{peer.ae_title} cannot be found: {_reason(error)}") from None
    if not association.is_established:
        raise Undelivered(f"{peer.ae_title} {_why_not(association, answers)}")
    answer = association.acceptor.primitive
    if answer is not None and peer.max_pdu_bytes:
        said = answer.maximum_length_received or peer.max_pdu_bytes
        answer.maximum_length_received = min(said, peer.max_pdu_bytes)
    if not handlers:
        _leave_answers(association)
    try:
        yield association
    except BaseException:
        break_off(association)
        raise
    association.release()


def _leave_answers(association: Association) -> None:
    """Where a peer has nothing to ask, all that comes is for who waits for an answer.

    The thread of the association looks for requests without waiting, and may be about to when it
    is told to pause; the answer that it then takes is missed until the time of the peer is up.
    """
    provider = association.dimse
    take = provider.get_msg

    def get_msg(block: bool = False) -> tuple[Any, Any]:
        return take(block) if block else (None, None)

    provider.get_msg = get_msg  # type: ignore[method-assign]


class _Requestor(AE):
    """Opens its connections so that the reason of a failure is known."""

    def _create_socket(
        self,
        assoc: Association,
        address: AddressInformation,
        tls_args: tuple[ssl.SSLContext, str] | None,
    ) -> AssociationSocket:
        opened = _Connection(assoc, address=address)
        opened.tls_args = tls_args
        return opened


class _Connection(AssociationSocket):
    """Keeps why it could not be made, which pynetdicom only logs, and how it is used best."""

    failure: OSError | None = None

    def connect(self, primitive: T_CONNECT) -> None:
        try:
            self._connect(primitive)
        except OSError as error:
            self.failure = error
            self._shutdown_socket()
            self.socket = None
            primitive.result = "Evt17"  # transport connection closed (PS3.8 Table 9-9)
        else:
            self._is_connected = True
            address = {"address": primitive.address_info.as_tuple}
            evt.trigger(self.assoc, evt.EVT_CONN_OPEN, address)
            primitive.result = "Evt2"  # transport connection confirmed
        finally:
            self.provider_queue.put(primitive)
            self._ready.set()

    def _shutdown_socket(self) -> None:
        """Close it even if it was never connected, or is no more."""
        kept = self.socket
        super()._shutdown_socket()
        if kept is not None:
            kept.close()

    def _connect(self, primitive: T_CONNECT) -> None:
        plain = self.socket
        if plain is None:
            raise OSError("the socket is closed")
        plain.settimeout(CONNECT_SECONDS)
        plain.connect(primitive.address_info.as_tuple)
        # Otherwise the end of each message waits for the acknowledgement of its beginning.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls_args:
            context, host = self.tls_args
            self.socket = context.wrap_socket(plain, server_hostname=host)
            plain = self.socket
        plain.settimeout(STALLED_SECONDS)
        local = AddressInformation.from_tuple(plain.getsockname())
        self.assoc.requestor.address_info = local


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, TimeoutError):
        return f"no answer in {CONNECT_SECONDS:.0f} s"
    return error.strerror or type(error).__name__


def _why_not(association: Association, answers: Sequence[Any]) -> str:
    """What follows the name of a peer with which no association came about."""
    connection = association.dul.socket
    if isinstance(connection, _Connection) and connection.failure is not None:
        return f"cannot be reached: {_reason(connection.failure)}"
    answer = answers[0] if answers else None
    if isinstance(answer, A_ASSOCIATE) and answer.result == 0:
        return "accepts none of the proposed presentation contexts"
    if isinstance(answer, A_ASSOCIATE):
        words = f"{answer.source_str}, {answer.result_str}".lower()
        return f"rejected the association: {answer.reason_str} ({words})"
    if isinstance(answer, A_ABORT):
        return "aborted the association before it was established"
    if answer is None:
        return f"did not answer the request for an association in {ASSOCIATE_SECONDS:.0f} s"
    doubt = ""
    if isinstance(connection, _Connection) and connection.tls_args:
        doubt = " (does it trust the certificate of this archive?)"
    return f"closed the connection instead of answering{doubt}"
