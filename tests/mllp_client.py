"""Messages over MLLP by a plain socket: nothing of the server's own code is in it."""

import socket
import ssl
from types import TracebackType
from typing import Self

START, END = b"\x0b", b"\x1c\r"


class MllpClient:
    """One connection; `send` waits for the answer of what it sent."""

    def __init__(
        self, port: int, *, context: ssl.SSLContext | None = None, timeout_s: float = 30.0
    ) -> None:
        self._socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def write(self, message: bytes) -> None:
        self._socket.sendall(START + message + END)

    def read(self) -> bytes:
        """The next answer; raises ConnectionError when the server closed instead."""
        while END not in self._received:
            piece = self._socket.recv(65536)
            if not piece:
                raise ConnectionError("the server closed the connection")
            self._received += piece
        answer, _, self._received = self._received.partition(END)
        return answer.lstrip(START)

    def send(self, message: bytes) -> bytes:
        self.write(message)
        return self.read()


def acknowledged(answer: bytes) -> tuple[str, str]:
    """MSA-1 and MSA-2: AA, AE or AR, and the control id of the message."""
    (msa,) = (line for line in answer.split(b"\r") if line.startswith(b"MSA|"))
    fields = msa.decode().split("|")
    return fields[1], fields[2]
