"""The right server on a socket, with or without TLS; a fault can be planted while it runs."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2

from planted_faults import Peer
from right_server import RightServer


class Served(ThreadingHTTPServer):
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.peer = Peer(RightServer())
        self.origin = f"http://127.0.0.1:{self.server_port}"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
            self.origin = f"https://localhost:{self.server_port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/dicomweb"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Served

    def answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        request = httpx2.Request(
            self.command,
            f"http://right.example{self.path}",
            headers=list(self.headers.items()),
            content=self.rfile.read(length),
        )
        if "accept" not in self.headers:
            request.headers.pop("accept", None)
        right = self.server.peer(request)
        self.send_response(right.status_code)
        for name, value in right.headers.items():
            self.send_header(name, value)
        if "content-length" not in right.headers:
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.write(right.content)

    do_GET = do_POST = do_DELETE = do_OPTIONS = do_PATCH = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    with Served(tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
