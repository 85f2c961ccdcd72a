"""The connection of an association, held by the one thread that sends much over it.

pynetdicom sends by handing each PDU to a thread of the association, which looks for work, and for
bytes from the peer, every millisecond: that limits an association to some 30 MB/s. While a
`Connection` is held, that thread finds nothing to do and the holder writes and reads PDUs itself
(PS3.8 section 9.3). It may: the association is established (state Sta6 of PS3.8 Table 9-10), where
all that is sent is P-DATA-TF, and sending or getting that changes no state. Whatever else comes
(an abort, a release, the end of the connection) is given to pynetdicom's state machine, and the
connection with it.
"""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_GET_RSP, C_MOVE_RSP
from pynetdicom.dimse_primitives import C_CANCEL, C_GET, C_MOVE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.transport import AssociationSocket

P_DATA: Final = 0x04
HEADER_BYTES: Final = 6
ESTABLISHED: Final = "Sta6"
# Of a PDU and of its one presentation data value (PS3.8 sections 9.3.5 and 9.3.5.1).
_VALUE: Final = struct.Struct(">BBIIBB")
# Message control header (PS3.8 Annex E.2).
COMMAND: Final = 0x01
LAST: Final = 0x02
# Command fields and elements (PS3.7 Annex E).
C_STORE_RSP: Final = 0x8001
C_CANCEL_RQ: Final = 0x0FFF
COMMAND_FIELD: Final = 0x0100
MESSAGE_ID_RESPONDED_TO: Final = 0x0120
DATA_SET_TYPE: Final = 0x0800
STATUS: Final = 0x0900
ERROR_COMMENT: Final = 0x0902
NO_DATA_SET: Final = 0x0101

# Bytes that are read and sent together.
BLOCK_BYTES: Final = 1 << 20
# A PDU that a peer without a limit gets is no longer than this, and none that we take.
MAX_PDU_BYTES: Final = 1 << 18
MAX_TAKEN_BYTES: Final = 1 << 20
# Of what sendmsg takes at once (IOV_MAX).
MAX_PIECES: Final = 1000
# Without a byte taken by the peer, or come within a PDU.
STALLED_SECONDS: Final = 60.0
# Between two looks at what else may end the wait.
GLANCE_SECONDS: Final = 0.25
HANDOVER_SECONDS: Final = 5.0
# How soon the thread of pynetdicom sees that it shall abort.
LOOK_SECONDS: Final = 0.1

Block = bytes | memoryview


class Lost(Exception):
    """The association is of no use any more; the text says why."""


class Silent(Lost):
    """The peer let its time pass."""


class Interrupted(Lost):
    """Whoever waited does not want the answer any more."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    comment: str = ""


@contextmanager
def held(association: Association) -> Iterator["Connection"]:
    """Hold the connection of an association; in its own thread, if this archive accepted it.

    Raises:
        Lost: the association ends.
    """
    resting = _Resting(association.dul.socket)
    with _paused(association):
        _hand_over(association, resting)
        patience = resting.plain.gettimeout()
        try:
            yield Connection(association, resting)
        finally:
            if resting.plain.fileno() >= 0:
                resting.plain.settimeout(patience)
            association.dul.socket = resting.original
            resting.over.set()
            # what was sent meanwhile was no idleness
            association.dul._idle_timer.restart()


@contextmanager
def _paused(association: Association) -> Iterator[None]:
    """Keep the thread of a requested association from taking what its requestor waits for."""
    if association.is_acceptor:
        yield
        return
    association._reactor_checkpoint.clear()
    try:
        while not association._is_paused and association.is_alive():
            time.sleep(0.001)
        yield
    finally:
        association._reactor_checkpoint.set()


def break_off(association: Association) -> None:
    """Abort an association, unless what has happened to it has ended it already."""
    dul = association.dul
    deadline = time.monotonic() + HANDOVER_SECONDS
    while dul.is_alive() and not dul.event_queue.empty() and time.monotonic() < deadline:
        time.sleep(0.01)
    if dul.is_alive() and dul.state_machine.current_state == ESTABLISHED:
        association.abort()
    else:
        association.kill()


def _hand_over(association: Association, resting: "_Resting") -> None:
    association.dul.socket = cast(AssociationSocket, resting)
    deadline = time.monotonic() + HANDOVER_SECONDS
    while not resting.noticed.wait(0.05):
        if not association.dul.is_alive() or time.monotonic() > deadline:
            association.dul.socket = resting.original
            raise Lost("the association has ended")


class _Resting:
    """What the thread of pynetdicom sees in place of the connection: nothing ever comes.

    That it looks means that it has nothing left to send and is not in the middle of a PDU.
    """

    def __init__(self, original: AssociationSocket | None) -> None:
        if original is None or original.socket is None:
            raise Lost("the association has ended")
        self.original = original
        self.plain: socket.socket = original.socket
        self.noticed = threading.Event()
        self.over = threading.Event()

    @property
    def ready(self) -> bool:
        if self.noticed.is_set():
            self.over.wait(LOOK_SECONDS)  # nothing comes until then
        self.noticed.set()
        return False

    def send(self, _pdu: bytes) -> None:
        """Whoever aborts meanwhile cuts the connection: a PDU would end up in another one."""
        self._shutdown_socket()

    def _shutdown_socket(self) -> None:
        try:
            self.plain.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class Connection:
    """Sends requests with data sets and waits for their responses, one at a time."""

    def __init__(self, association: Association, resting: _Resting) -> None:
        self.association = association
        self._plain = resting.plain
        user = association.acceptor if association.is_requestor else association.requestor
        longest = min(user.maximum_length or MAX_PDU_BYTES, MAX_PDU_BYTES)
        # Of a PDU, without the header of its one presentation data value; even (PS3.8 Annex E.1)
        self._fragment_bytes = (longest - 6) // 2 * 2
        self.block_bytes = max(BLOCK_BYTES // self._fragment_bytes, 1) * self._fragment_bytes

    def send(self, context_id: int, command: bytes, blocks: Iterable[Block] = ()) -> None:
        """Send a message.

        Args:
            blocks: The data set, in pieces of `block_bytes` and a last shorter one; each has to
                stay as it is until the next but one is asked for.

        Raises:
            Lost: the peer is gone or takes nothing.
        """
        pieces = self._values(context_id, COMMAND, command, last=True)
        for block, is_last in _with_last(self._unbroken(blocks)):
            self._write([*pieces, *self._values(context_id, 0, block, last=is_last)])
            pieces = []
        self._write(pieces)

    def _unbroken(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Blocks that cannot be made are the end of the association once one is sent."""
        made = 0
        try:
            for block in blocks:
                made += 1
                yield block
        except Exception as error:
            if made < 2:  # none is sent before it is known whether it is the last
                raise
            raise Lost("the data set broke off") from error

    def respond(self, context_id: int, response: C_GET | C_MOVE) -> None:
        """Send a response to what the peer has asked for.

        Raises:
            Lost: the peer is gone or takes nothing.
        """
        message = C_GET_RSP() if isinstance(response, C_GET) else C_MOVE_RSP()
        message.primitive_to_message(response)
        longest = self._fragment_bytes + 6
        pdus = [P_DATA_TF(part).encode() for part in message.encode_msg(context_id, longest)]
        self._write([b"".join(pdus)])

    def response(
        self, message_id: int, *, seconds: float, interrupted: Callable[[], bool] = lambda: False
    ) -> Response:
        """The response to the message; a C-CANCEL that comes before is put where events find it.

        Raises:
            Silent: none came in time.
            Interrupted: `interrupted` became true.
            Lost: the peer is gone.
        """
        deadline = time.monotonic() + seconds
        while True:
            elements = self._command(deadline, interrupted)
            kind = _number(elements, COMMAND_FIELD)
            answered = _number(elements, MESSAGE_ID_RESPONDED_TO)
            if kind == C_CANCEL_RQ:
                cancel = C_CANCEL()
                cancel.MessageIDBeingRespondedTo = answered
                self.association.dimse.cancel_req[answered] = cancel
            elif kind == C_STORE_RSP and answered == message_id:
                comment = elements.get(ERROR_COMMENT, b"").decode("ascii", "replace").strip("\0 ")
                return Response(_number(elements, STATUS), comment)
            else:
                raise Lost("the peer sent another message than the response that was due")

    def _values(self, context_id: int, kind: int, content: Block, *, last: bool) -> list[Block]:
        """P-DATA-TF PDUs of one presentation data value each (PS3.8 section 9.3.5)."""
        view = memoryview(content)
        pieces: list[Block] = []
        for start in range(0, len(view), self._fragment_bytes):
            part = view[start : start + self._fragment_bytes]
            ends = last and start + len(part) == len(view)
            control = kind | (LAST if ends else 0)
            size = len(part)
            pieces.append(_VALUE.pack(P_DATA, 0, size + 6, size + 2, context_id, control))
            pieces.append(part)
        return pieces

    def _write(self, pieces: Sequence[Block]) -> None:
        try:
            self._plain.settimeout(STALLED_SECONDS)
            if isinstance(self._plain, ssl.SSLSocket):
                self._plain.sendall(b"".join(pieces))
                return
            for start in range(0, len(pieces), MAX_PIECES):
                _send_all(self._plain, pieces[start : start + MAX_PIECES])
        except TimeoutError:
            raise Silent(f"the peer took nothing for {STALLED_SECONDS:.0f} s") from None
        except OSError:
            raise self._ended() from None

    def _command(self, deadline: float, interrupted: Callable[[], bool]) -> dict[int, bytes]:
        """The elements of the next message, which has no data set, by element number."""
        command = bytearray()
        while True:
            for control, fragment in self._pdu(deadline, interrupted):
                if not control & COMMAND:
                    raise Lost("the peer sent a message that was not due")
                command += fragment
                if control & LAST:
                    elements = _elements(bytes(command))
                    if _number(elements, DATA_SET_TYPE) != NO_DATA_SET:
                        raise Lost("the peer sent a message that was not due")
                    return elements

    def _pdu(self, deadline: float, interrupted: Callable[[], bool]) -> list[tuple[int, bytes]]:
        head = self._header(deadline, interrupted)
        kind, length = head[0], int.from_bytes(head[2:], "big")
        if length > MAX_TAKEN_BYTES:
            raise Lost("the peer sent a PDU that is too long")
        body = self._body(length)
        if kind == P_DATA:
            return list(_presentation_data_values(body))
        dul = self.association.dul
        try:
            pdu, event = dul._decode_pdu(bytearray(head + body))
        except Exception:  # whatever the decoder trips over, it is no PDU
            dul.event_queue.put("Evt19")  # unrecognized or invalid PDU (PS3.8 Table 9-9)
        else:
            dul._recv_pdu.put(pdu)
            dul.event_queue.put(event)
        raise Lost("the peer ended the association")

    def _header(self, deadline: float, interrupted: Callable[[], bool]) -> bytes:
        """Of the next PDU; looks up now and then while none comes."""
        head = b""
        self._plain.settimeout(GLANCE_SECONDS)
        while len(head) < HEADER_BYTES:
            try:
                part = self._plain.recv(HEADER_BYTES - len(head))
            except TimeoutError:
                if interrupted():
                    raise Interrupted("the retrieval was ended") from None
                if time.monotonic() > deadline:
                    raise Silent("the peer did not answer in time") from None
                continue
            except OSError:
                raise self._ended() from None
            if not part:
                raise self._ended()
            head += part
        return head

    def _body(self, length: int) -> bytes:
        content = bytearray()
        self._plain.settimeout(STALLED_SECONDS)
        while len(content) < length:
            try:
                part = self._plain.recv(length - len(content))
            except TimeoutError:
                raise Silent("the peer stopped in the middle of a PDU") from None
            except OSError:
                raise self._ended() from None
            if not part:
                raise self._ended()
            content += part
        return bytes(content)

    def _ended(self) -> Lost:
        self.association.dul.event_queue.put("Evt17")  # transport connection closed
        return Lost("the peer closed the connection")


def _with_last(blocks: Iterable[Block]) -> Iterator[tuple[Block, bool]]:
    """Each block, and whether it is the last."""
    held_back: Block | None = None
    for block in blocks:
        if held_back is not None:
            yield held_back, False
        held_back = block
    if held_back is not None:
        yield held_back, True


def _send_all(plain: socket.socket, pieces: Sequence[Block]) -> None:
    left = list(pieces)
    while left:
        sent = plain.sendmsg(left)
        done = 0
        while done < len(left) and sent >= len(left[done]):
            sent -= len(left[done])
            done += 1
        left = left[done:]
        if sent:
            left[0] = memoryview(left[0])[sent:]


def _presentation_data_values(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Message control header and fragment of each (PS3.8 section 9.3.5.1)."""
    position = 0
    while position + 6 <= len(body):
        length = int.from_bytes(body[position : position + 4], "big")
        yield body[position + 5], body[position + 6 : position + 4 + length]
        position += 4 + length


def _elements(command: bytes) -> dict[int, bytes]:
    """Values by element number; commands are Implicit VR Little Endian (PS3.7 section 6.3.1)."""
    elements: dict[int, bytes] = {}
    position = 0
    while position + 8 <= len(command):
        _, element, length = struct.unpack_from("<HHI", command, position)
        elements[element] = command[position + 8 : position + 8 + length]
        position += 8 + length
    return elements


def _number(elements: dict[int, bytes], element: int) -> int:
    return int.from_bytes(elements.get(element, b""), "little")
