"""Requests for associations as bytes, for what no toolkit sends and for many at once."""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
ACCEPTED, REJECTED, ABORTED = 2, 3, 7


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def request(
    *,
    calling: str = "ANYONE",
    called: str = "BFR",
    sop_classes: Sequence[str] = (VERIFICATION,),
    application_context: str = "1.2.840.10008.3.1.1.1",
    max_pdu_bytes: int = 16384,
    user_items: Iterable[bytes] = (),
) -> bytes:
    """An A-ASSOCIATE-RQ PDU (PS3.8 section 9.3.2)."""
    contexts = b"".join(
        item(
            0x20,
            bytes((2 * place + 1, 0, 0, 0))
            + item(0x30, uid.encode())
            + item(0x40, IMPLICIT.encode()),
        )
        for place, uid in enumerate(sop_classes)
    )
    user = item(0x51, struct.pack(">L", max_pdu_bytes)) + item(0x52, b"1.2.3")
    body = (
        struct.pack(">HH", 1, 0)
        + called.encode().ljust(16)
        + calling.encode().ljust(16)
        + bytes(32)
        + item(0x10, application_context.encode())
        + contexts
        + item(0x50, user + b"".join(user_items))
    )
    return struct.pack(">BxL", 1, len(body)) + body


def echo_request(message_id: int = 1) -> bytes:
    """C-ECHO-RQ (PS3.7 section 9.3.5.1) in the first presentation context, as a P-DATA-TF PDU."""
    elements = (
        (0x0002, VERIFICATION.encode() + b"\0"),
        (0x0100, struct.pack("<H", 0x0030)),
        (0x0110, struct.pack("<H", message_id)),
        (0x0800, struct.pack("<H", 0x0101)),
    )
    command = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
    command = struct.pack("<HHLL", 0, 0, 4, len(command)) + command
    value = struct.pack(">LBB", len(command) + 2, 1, 0x03) + command
    return struct.pack(">BxL", 4, len(value)) + value


def status(answer: bytes) -> int:
    """Of a response without a data set, which is one P-DATA-TF PDU."""
    assert answer[:1] == b"\x04", answer
    found = answer.index(struct.pack("<HHL", 0, 0x0900, 2))
    return int.from_bytes(answer[found + 8 : found + 10], "little")


def pdu(connection: socket.socket) -> bytes:
    """The next PDU; empty when the connection has ended."""
    head = _exactly(connection, 6)
    if len(head) < 6:
        return b""
    return head + _exactly(connection, int.from_bytes(head[2:], "big"))


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            break
        found += part
    return found


def asked(connection: socket.socket, sent: bytes) -> bytes:
    connection.sendall(sent)
    return pdu(connection)


def rejection(answer: bytes) -> tuple[int, int, int]:
    """Result, source and reason of an A-ASSOCIATE-RJ PDU (PS3.8 section 9.3.4)."""
    assert answer[:1] == bytes((REJECTED,)), answer
    return answer[7], answer[8], answer[9]


@contextmanager
def connected(
    port: int, count: int = 1, *, timeout_s: float = 20.0
) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=timeout_s))
            for _ in range(count)
        ]


def answer_of(port: int, sent: bytes) -> bytes:
    with connected(port) as (connection,):
        return asked(connection, sent)
