"""Associations that receive as fast as the disk takes it, and cost nothing while they are idle.

pynetdicom negotiates, keeps the state machine (PS3.8 section 9.2) and serves the messages. What is
replaced here is how bytes and threads meet:

- The thread of the upper layer (`UpperLayer`) sleeps until its socket has something or somebody
  has something for it, where pynetdicom looks every millisecond. It reads as much as is there.
- P-DATA-TF PDUs are taken apart where they were received (`PduReader`): fragments of a data set are
  views of that memory, whatever the length of the PDU.
- The data set of a C-STORE request goes to its `Sink` fragment by fragment (`Messages`). The thread
  that reads is the one that writes to the disk: while that is slow, TCP slows down the sender.
- The thread of the association (`PromptAssociation`) sleeps until there is a message, and what it
  answers goes to the socket at once.

Requests are read and responses written for C-STORE alone; all other messages take pynetdicom's way.
"""

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from queue import Empty, Queue
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_GET, C_MOVE, C_STORE, N_EVENT_REPORT
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from bfr_dicomweb.dimse import retrieving

T = TypeVar("T")

log = structlog.get_logger()

# What is offered to senders (PS3.8 section D.1).
MAX_PDU_BYTES: Final = 1 << 18
# Read at once, and the least for which it is worth to ask.
BUFFER_BYTES: Final = 1 << 18
LEAST_ROOM: Final = 1 << 15
# Of PDUs that are held whole: requests for associations are the longest.
MAX_HELD_BYTES: Final = 1 << 22
MAX_COMMAND_BYTES: Final = 1 << 16
# Of data sets that are held whole: identifiers of queries, lists of what is to be committed.
MAX_IDENTIFIER_BYTES: Final = 1 << 26
# How often timers are looked at.
TICK_SECONDS: Final = 1.0

P_DATA_TF_TYPE: Final = 0x04
ESTABLISHED: Final = "Sta6"
CLOSING: Final = "Sta13"
COMMAND: Final = 0b01
LAST: Final = 0b10

C_STORE_RQ: Final = 0x0001
C_STORE_RSP: Final = 0x8001
NO_DATA_SET: Final = 0x0101
PROCESSING_FAILURE: Final = 0x0110


class InvalidPdu(Exception):
    """What was received breaks PS3.8 section 9.3 or PS3.7 section 6.3."""


class Sink(Protocol):
    """Takes the data set of one object, in the thread of the upper layer."""

    def write(self, data: memoryview) -> None: ...

    def end(self) -> object:
        """All of it has come."""

    def abort(self) -> None:
        """Forget the object, unless it has ended."""


class StoreRequest(C_STORE):
    """A C-STORE request whose data set has gone to `sink`."""

    sink: Sink


Begin = Callable[[Association, StoreRequest, str], Sink]
"""Gives the sink of a request; the last argument is the transfer syntax of its data set."""


# --- PDUs ---------------------------------------------------------------------------------------


class Fragment(NamedTuple):
    """Part of a presentation data value (PS3.8 section 9.3.5.1, Annex E.2).

    Attributes:
        control: Message Control Header; of all parts but the last without the bit for the last.
        data: Stays as it is as long as it is held.
    """

    context_id: int
    control: int
    data: memoryview


class PduReader:
    """Cuts a stream into PDUs, and P-DATA-TF PDUs into fragments as they arrive."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._start = 0
        self._end = 0
        self._pdu_left = 0
        self._value_left = 0
        self._context_id = 0
        self._control = 0

    def room(self) -> memoryview:
        """Where the next bytes are to be put. What was handed out is never written over."""
        if len(self._buffer) - self._end < LEAST_ROOM:
            self._move(BUFFER_BYTES)
        return self._buffer[self._end :]

    def _move(self, size: int) -> None:
        held = self._buffer[self._start : self._end]
        self._buffer = memoryview(bytearray(max(size, len(held) + LEAST_ROOM)))
        self._buffer[: len(held)] = held
        self._start, self._end = 0, len(held)

    def received(self, count: int) -> None:
        self._end += count

    @property
    def is_between_pdus(self) -> bool:
        return self._start == self._end and not self._pdu_left

    def next(self, *, in_fragments: bool) -> Fragment | bytes | None:
        """The next fragment, or PDU of another type, or None while it is incomplete.

        Args:
            in_fragments: Whether the next P-DATA-TF PDU comes in fragments, too.

        Raises:
            InvalidPdu: It is none.
        """
        if not self._pdu_left:
            whole = self._begin_pdu(in_fragments=in_fragments)
            if whole is not None or not self._pdu_left:
                return whole
        if not self._value_left and not self._begin_value():
            return None
        size = min(self._value_left, self._end - self._start)
        if not size and self._value_left:
            return None
        data = self._take(size)
        self._value_left -= size
        control = self._control if not self._value_left else self._control & ~LAST
        if not self._value_left:
            self._control = 0
        return Fragment(self._context_id, control, data)

    def _take(self, size: int) -> memoryview:
        data = self._buffer[self._start : self._start + size]
        self._start += size
        if self._pdu_left:
            self._pdu_left -= size
        return data

    def _begin_pdu(self, *, in_fragments: bool) -> bytes | None:
        there = self._end - self._start
        if there < 6:
            return None
        kind, length = struct.unpack_from(">BxL", self._buffer, self._start)
        if not 1 <= kind <= 7:
            raise InvalidPdu("unknown type of PDU")
        if kind == P_DATA_TF_TYPE and in_fragments:
            if length < 6:
                raise InvalidPdu("a P-DATA-TF PDU is empty")
            self._start += 6
            self._pdu_left = length
            return None
        if length > MAX_HELD_BYTES:
            raise InvalidPdu("a PDU is too long")
        if there < length + 6:
            if self._start + length + 6 > len(self._buffer):
                self._move(length + 6 + LEAST_ROOM)
            return None
        return bytes(self._take(length + 6))

    def _begin_value(self) -> bool:
        """Read the header of a presentation data value; False while it is incomplete."""
        if self._pdu_left < 6:
            raise InvalidPdu("a P-DATA-TF PDU does not hold whole presentation data values")
        if self._end - self._start < 6:
            return False
        length, context_id, control = struct.unpack_from(">LBB", self._buffer, self._start)
        if not 2 <= length <= self._pdu_left - 4:
            raise InvalidPdu("a presentation data value does not fit into its PDU")
        self._take(6)
        self._value_left = length - 2
        self._context_id, self._control = context_id, control
        return True


# --- messages -----------------------------------------------------------------------------------


class Messages(DIMSEServiceProvider):
    """Puts fragments together to messages; of C-STORE requests only the command."""

    def __init__(self, association: Association, begin: Begin, news: threading.Event) -> None:
        super().__init__(association)
        self.msg_queue = _Told(news.set)
        self._begin = begin
        self._command = bytearray()
        self._held_bytes = 0
        self._request: StoreRequest | None = None

    def take(self, fragment: Fragment) -> None:
        """Raises InvalidPdu: the association cannot go on."""
        if fragment.control & COMMAND:
            self._take_command(fragment)
        elif self._request is None:
            self._held_bytes += len(fragment.data)
            if self._held_bytes > MAX_IDENTIFIER_BYTES:
                raise InvalidPdu("a data set is too long")
            self._relay(fragment.context_id, fragment.control, bytes(fragment.data))
        else:
            self._request.sink.write(fragment.data)
            if fragment.control & LAST:
                request, self._request = self._request, None
                # under way already when the thread of the association asks what became of it
                request.sink.end()
                self.msg_queue.put((fragment.context_id, request))

    def _take_command(self, fragment: Fragment) -> None:
        self._command += fragment.data
        if len(self._command) > MAX_COMMAND_BYTES:
            raise InvalidPdu("a command is too long")
        if not fragment.control & LAST:
            return
        command, self._command = bytes(self._command), bytearray()
        self._held_bytes = 0
        context = self.assoc._accepted_cx.get(fragment.context_id)
        request = store_request(command)
        if request is None or context is None:
            self._relay(fragment.context_id, COMMAND | LAST, command)
            return
        request.sink = self._begin(self.assoc, request, str(context.transfer_syntax[0]))
        self._request = request

    def _relay(self, context_id: int, control: int, data: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, bytes((control,)) + data))
        self.receive_primitive(primitive)

    def forget(self) -> None:
        """The association is over: what has not been answered never came."""
        if self._request is not None:
            self._request.sink.abort()
            self._request = None

    def forget_unserved(self) -> None:
        with suppress(Empty):
            while True:
                _, message = self.msg_queue.get(block=False)
                if isinstance(message, StoreRequest):
                    message.sink.abort()


def store_request(command: bytes) -> StoreRequest | None:
    """The request of an encoded command set; None when it is another message.

    Raises:
        InvalidPdu: it has no elements, or they are not what PS3.7 Table 9.3-1 has.
    """
    elements = _elements(command)
    if _number(elements, 0x0100) != C_STORE_RQ or _number(elements, 0x0800) == NO_DATA_SET:
        return None
    request = StoreRequest()
    message_id = _number(elements, 0x0110)
    sop_class, sop_instance = (_uid(elements, element) for element in (0x0002, 0x1000))
    if message_id is None:
        raise InvalidPdu("a C-STORE request has no Message ID")
    request.MessageID = message_id
    request.Priority = _number(elements, 0x0700) or 0
    request.DataSet = BytesIO()
    # around the checks of pynetdicom: what a UID of an object may be is the store's to say
    request._affected_sop_class_uid = sop_class
    request._affected_sop_instance_uid = sop_instance
    return request


def _elements(command: bytes) -> dict[int, bytes]:
    """Values by element number of group 0000, which is in Implicit VR Little Endian."""
    found: dict[int, bytes] = {}
    position = 0
    while position + 8 <= len(command):
        group, element, length = struct.unpack_from("<HHL", command, position)
        position += 8
        if group or position + length > len(command):
            raise InvalidPdu("a command set is damaged")
        found[element] = command[position : position + length]
        position += length
    return found


def _number(elements: dict[int, bytes], element: int) -> int | None:
    value = elements.get(element, b"")
    return int.from_bytes(value, "little") if len(value) == 2 else None


def _uid(elements: dict[int, bytes], element: int) -> UID:
    text = elements.get(element, b"").decode("latin-1").strip(" \0")
    return UID(text, validation_mode=0)


def store_response(context_id: int, request: C_STORE, status: int, comment: str = "") -> bytes:
    """A C-STORE response (PS3.7 Table 9.3-2) as a P-DATA-TF PDU."""
    elements = [
        (0x0002, _even(request.AffectedSOPClassUID or "", "\0")),
        (0x0100, struct.pack("<H", C_STORE_RSP)),
        (0x0120, struct.pack("<H", request.MessageID)),
        (0x0800, struct.pack("<H", NO_DATA_SET)),
        (0x0900, struct.pack("<H", status)),
        *([(0x0902, _even(comment, " "))] if comment else []),
        (0x1000, _even(request.AffectedSOPInstanceUID or "", "\0")),
    ]
    command = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
    command = struct.pack("<HHLL", 0, 0, 4, len(command)) + command
    value = struct.pack(">LBB", len(command) + 2, context_id, COMMAND | LAST) + command
    return struct.pack(">BxL", P_DATA_TF_TYPE, len(value)) + value


def _even(text: str, padding: str) -> bytes:
    value = text.encode("latin-1", "replace")
    return value + padding.encode() * (len(value) % 2)


# --- threads ------------------------------------------------------------------------------------


class _Told(Queue[T]):
    """A queue that tells when something has been put into it."""

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self._told = told

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._told()


class Connection(AssociationSocket):
    """May be written to by the threads of the association and of the upper layer."""

    def __init__(self, association: Association, client_socket: socket.socket) -> None:
        super().__init__(association, client_socket=client_socket)
        self._sending = threading.Lock()
        # else the end of each message waits for the acknowledgement of its beginning
        client_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client_socket.settimeout(association.network_timeout)

    def send(self, bytestream: bytes) -> None:
        with self._sending:
            open_socket = self.socket
            if open_socket is None:
                return
            try:
                open_socket.sendall(bytestream)
            except OSError:
                self.event_queue.put("Evt17")  # transport connection closed

    def receive_into(self, room: memoryview) -> int:
        """How many bytes came; 0 is the end of the connection."""
        if self.socket is None:
            return 0
        try:
            return self.socket.recv_into(room)
        except OSError:
            return 0

    def wait(self, other: socket.socket, seconds: float) -> bool:
        """Until there are bytes to read, or `other` has some, or the time is over."""
        open_socket = self.socket
        if open_socket is None or not self._is_connected or open_socket.fileno() < 0:
            wait_for(other, seconds)
            return False
        if isinstance(open_socket, ssl.SSLSocket) and open_socket.pending():
            return True  # it has been received and deciphered already
        return wait_for(other, seconds, open_socket)


def wait_for(told: socket.socket, seconds: float, other: socket.socket | None = None) -> bool:
    """Until there is something to read; whether `other` has it. What `told` has is forgotten."""
    poll = select.poll()  # has no limit to the number of open files, as select has
    for one in (told, other):
        if one is not None:
            poll.register(one, select.POLLIN)
    ready = {file for file, _ in poll.poll(seconds * 1000)}
    if told.fileno() in ready:
        told.recv(4096)
    return bool(ready - {told.fileno()})


class UpperLayer(DULServiceProvider):
    """The reactor of the upper layer, driven by events."""

    assoc: "PromptAssociation"

    def __init__(self, association: "PromptAssociation") -> None:
        self._thread = 0
        self._woken, self._waking = socket.socketpair()
        self._waking.setblocking(False)
        super().__init__(association)
        self.event_queue = _Told(self.wake)
        self.to_provider_queue = _Told(self.wake)
        self.to_user_queue = _Told(association.news.set)
        self._reader = PduReader()

    @property
    def socket(self) -> Any:
        """The connection, or what stands in its place while another thread uses it."""
        return self._socket

    @socket.setter
    def socket(self, connection: Any) -> None:
        self._socket = connection
        self.wake()

    def wake(self) -> None:
        """Let the reactor look at its queues and its connection anew; from other threads."""
        if self._thread and threading.get_ident() != self._thread:
            with suppress(OSError):
                self._waking.send(b"\0")

    def kill_dul(self) -> None:
        super().kill_dul()
        self.wake()

    def stop_dul(self) -> bool:
        if self.state_machine.current_state == "Sta1":
            self.kill_dul()
        return super().stop_dul()

    def send_pdu(self, primitive: Any) -> None:
        """At once where the state machine would do no more than that (PS3.8 DT-1)."""
        if isinstance(primitive, P_DATA) and self.state_machine.current_state == ESTABLISHED:
            self._send(P_DATA_TF(primitive))
        else:
            super().send_pdu(primitive)

    def run_reactor(self) -> None:
        self._thread = threading.get_ident()
        self._idle_timer.start()
        self.assoc._dul_ready.set()
        try:
            while not self._kill_thread:
                self._turn()
        except Exception as error:  # the border: one association's end must be an orderly one
            log.exception("bug", error=type(error).__name__)
            self._break_off()
        finally:
            self.assoc.dimse.forget()
            self.assoc.news.set()
            self._woken.close()
            self._waking.close()

    def _turn(self) -> None:
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        if self.event_queue.empty() and not self._process_recv_primitive():
            self._receive()
        while not self._kill_thread and not self.event_queue.empty():
            self.state_machine.do_action(self.event_queue.get())

    def _receive(self) -> None:
        state = self.state_machine.current_state
        try:
            while unit := self._reader.next(in_fragments=state == ESTABLISHED):
                if isinstance(unit, bytes):
                    self._take_pdu(unit)
                    return
                if state == ESTABLISHED:
                    self.assoc.dimse.take(unit)
        except InvalidPdu as error:
            log.warning("invalid pdu", reason=str(error))
            self._reader = PduReader()
            self.event_queue.put("Evt19")
            return
        if self._rest():
            return
        closing = state == CLOSING
        if self.socket.wait(self._woken, 0 if closing else TICK_SECONDS):
            self._read()
        elif closing:
            self.socket.close()

    def _rest(self) -> bool:
        """Wait while another thread uses the connection, which begins when this one has looked."""
        connection = self.socket
        if isinstance(connection, Connection) or not self._reader.is_between_pdus:
            return False
        if not connection.ready:
            wait_for(self._woken, TICK_SECONDS)
        return True

    def _read(self) -> None:
        count = self.socket.receive_into(self._reader.room())
        if not count:
            self.event_queue.put("Evt17")
        self._reader.received(count)
        self._idle_timer.restart()

    def _take_pdu(self, encoded: bytes) -> None:
        try:
            pdu, event = self._decode_pdu(bytearray(encoded))
        except Exception as error:  # whatever pynetdicom raises about a damaged PDU
            raise InvalidPdu(type(error).__name__) from error
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)

    def _break_off(self) -> None:
        """Around the state machine, which cannot be trusted any more."""
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = 0x02, 0x00
        self.socket.send(abort.encode())
        self.socket._shutdown_socket()
        self.assoc.is_aborted = True
        self.assoc.is_established = False
        self.assoc._kill = True
        self._kill_thread = True


class PromptAssociation(Association):
    """Serves each message when it is there. Made of an association that has not started."""

    news: threading.Event
    dul: UpperLayer
    dimse: Messages

    @classmethod
    def of(cls, accepted: Association, client: socket.socket, begin: Begin) -> "PromptAssociation":
        """The same association with the parts of this module in place of its own."""
        accepted.__class__ = cls
        accepted = cast(PromptAssociation, accepted)
        accepted.news = threading.Event()
        accepted.dul = UpperLayer(accepted)
        accepted.dimse = Messages(accepted, begin, accepted.news)
        # these tell the new upper layer, too
        accepted.acse_timeout = accepted.ae.acse_timeout
        accepted.network_timeout = accepted.ae.network_timeout
        accepted.set_socket(Connection(accepted, client))
        return accepted

    def _run_reactor(self) -> None:
        try:
            while not self._kill:
                self._is_paused = True
                self.news.wait(TICK_SECONDS)
                self.news.clear()
                # held while another thread uses the association
                self._reactor_checkpoint.wait()
                self._is_paused = False
                while not self._kill and self._serve_next():
                    pass
                self._look_around()
        finally:
            self.dimse.forget_unserved()

    def _serve_next(self) -> bool:
        context_id, message = self.dimse.get_msg(block=False)
        if message is None or context_id is None:
            return False
        if callable(message):  # something to be done between two messages
            message()
        elif not isinstance(message, N_EVENT_REPORT) or message.is_valid_request:
            self._serve_request(message, context_id)
        return True

    def _look_around(self) -> None:
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self._end(evt.EVT_RELEASED, is_released=True)
        elif self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)
            self._end(evt.EVT_ABORTED, is_aborted=True)
        elif not self.dul.is_alive():
            self.kill()
        elif self.dul.idle_timer_expired():
            self.abort()
            self.kill()

    def _end(
        self, event: evt.NotificationEvent, *, is_released: bool = False, is_aborted: bool = False
    ) -> None:
        self.is_released, self.is_aborted = is_released, is_aborted
        self.is_established = False
        evt.trigger(self, event, {})
        self.kill()

    def _serve_request(self, msg: Any, context_id: int) -> None:
        if isinstance(msg, StoreRequest):
            self._is_paused = True
            self._serve_store(msg, context_id)
            self._is_paused = False
        elif isinstance(msg, C_GET | C_MOVE) and context_id in self._accepted_cx:
            self._is_paused = True
            retrieving.serve(self, msg, context_id)
            self._is_paused = False
        else:
            super()._serve_request(msg, context_id)

    def _serve_store(self, request: StoreRequest, context_id: int) -> None:
        context = self._accepted_cx[context_id]
        comment = ""
        try:
            answer: Any = evt.trigger(
                self, evt.EVT_C_STORE, {"request": request, "context": context.as_tuple}
            )
        except Exception as error:  # the border: a bug fails one object and not the association
            log.exception("bug", error=type(error).__name__)
            answer = PROCESSING_FAILURE
        finally:
            # nothing is left of what no handler has looked at
            request.sink.abort()
        if isinstance(answer, Dataset):
            comment = answer.get("ErrorComment", "")
            answer = answer.Status
        if self.is_established:
            self.dul.socket.send(store_response(context_id, request, answer, comment))
