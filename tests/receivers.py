"""Systems that are told things, in a thread of the test: over MLLP and over HTTP.

Plain sockets and the standard library; nothing of the server's own code is in it.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

START, END = b"\x0b", b"\x1c\r"

# Gives MSA-1 for a message, None for no answer at all.
Answer = Callable[["Received"], str | None]


class Received:
    """A message as its receiver sees it: segments of fields."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        text = data.decode("latin-1" if b"|8859/1" in data else "utf-8")
        self.segments = [line.split("|") for line in text.split("\r") if line]

    def field(self, name: str, number: int) -> str:
        """The first such field, "" when there is none; MSH by its HL7 numbers too."""
        return next(iter(self.fields(name, number)), "")

    def fields(self, name: str, number: int) -> list[str]:
        place = number - (name == "MSH")
        found = [segment for segment in self.segments if segment[0] == name]
        return [segment[place] if place < len(segment) else "" for segment in found]

    @property
    def control_id(self) -> str:
        return self.field("MSH", 10)

    @property
    def kind(self) -> str:
        """ORM or ORU."""
        return self.field("MSH", 9).partition("^")[0]

    @property
    def codes(self) -> tuple[str, str, str]:
        """ORC-1, ORC-5 and OBR-25."""
        return self.field("ORC", 1), self.field("ORC", 5), self.field("OBR", 25)

    @property
    def text(self) -> str:
        return "\n".join(self.fields("OBX", 5))


def acknowledgement(received: Received, code: str) -> bytes:
    head = f"MSH|^~\\&|EHR|VGR|BFR|VGR|20240101||ACK|A{received.control_id}|P|2.5.1\r"
    return f"{head}MSA|{code}|{received.control_id}\r".encode()


def always_accepted(_: Received) -> str:
    return "AA"


class MllpReceiver:
    """Listens from the beginning to the end of a `with`."""

    def __init__(
        self,
        port: int,
        answer: Answer = always_accepted,
        *,
        closes_after_each: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._port = port
        self._answer = answer
        self._closes_after_each = closes_after_each
        self._context = context
        self._connections: list[socket.socket] = []
        self._arrived = threading.Condition()
        self._received: list[Received] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for opened in (self._listener, *self._connections):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    def wait_for(self, count: int, within_s: float = 30.0) -> list[Received]:
        """All that has come, once it is so many."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._received) >= count, within_s)
            return list(self._received)

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        waiting = b""
        with suppress(OSError), connection:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            while piece := connection.recv(65536):
                waiting += piece
                while END in waiting:
                    frame, _, waiting = waiting.partition(END)
                    self._take(connection, Received(frame.removeprefix(START)))
                    if self._closes_after_each:
                        return

    def _take(self, connection: socket.socket, received: Received) -> None:
        code = self._answer(received)
        with self._arrived:
            self._received.append(received)
            self._arrived.notify_all()
        if code is not None:
            connection.sendall(START + acknowledgement(received, code) + END)


@dataclass(frozen=True, slots=True)
class Called:
    """A request that came over HTTP."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


# Gives status, media type and payload.
Respond = Callable[[Called], tuple[int, str, bytes]]


def no_content(_: Called) -> tuple[int, str, bytes]:
    return 204, "", b""


class HttpReceiver:
    """Listens from the beginning to the end of a `with`."""

    def __init__(self, respond: Respond = no_content) -> None:
        self._arrived = threading.Condition()
        self._called: list[Called] = []
        self._respond = respond
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, kind, payload = outer._taken(Called(self.command, self.path, headers, body))
                self.send_response(status)
                if kind:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_POST = do_PUT = _take  # noqa: N815 # names of the standard library

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _taken(self, called: Called) -> tuple[int, str, bytes]:
        with self._arrived:
            self._called.append(called)
            self._arrived.notify_all()
        return self._respond(called)

    def wait_for(
        self, is_meant: Callable[[Called], bool], count: int = 1, within_s: float = 30.0
    ) -> Sequence[Called]:
        """All of these that have come, once they are so many."""

        def meant() -> list[Called]:
            return [called for called in self._called if is_meant(called)]

        with self._arrived:
            self._arrived.wait_for(lambda: len(meant()) >= count, within_s)
            return meant()
