"""OHIF's built files: fetched once from npm, served on loopback."""

import functools
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

OHIF_VERSION = "3.13.2"
# The package that these tests were written against.
OHIF_SHA512 = (
    "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3dee"
    "a3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10"
)


class OhifMissing(Exception):
    """OHIF's built files are not here and could not be fetched."""


def ohif_dist() -> Path:
    """The folder with OHIF's index.html: BFR_TEST_OHIF, or the cache, filled at the first use.

    Only the built files are wanted. `npm install` would bring the several hundred packages
    that OHIF was built from, so the package is fetched alone.

    Raises:
        OhifMissing: with what to install or set, in words.
    """
    chosen = os.environ.get("BFR_TEST_OHIF")
    if chosen:
        if not (Path(chosen) / "index.html").is_file():
            raise OhifMissing("BFR_TEST_OHIF names no folder with an index.html in it")
        return Path(chosen)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bfr-dicomweb"
    dist = cache / f"ohif-{OHIF_VERSION}"
    if not dist.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _unpack_dist(_fetch_package(Path(scratch)), Path(scratch))
            (Path(scratch) / "package" / "dist").rename(dist)
    return dist


def _fetch_package(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise OhifMissing("npm, which fetches OHIF, is not installed: apt-get install npm")
    command = [npm, "pack", f"@ohif/app@{OHIF_VERSION}", "--pack-destination", str(folder)]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
    packages = list(folder.glob("*.tgz"))
    if fetched.returncode != 0 or len(packages) != 1:
        raise OhifMissing(
            f"npm could not fetch @ohif/app {OHIF_VERSION}: BFR_TEST_OHIF can name a folder with it"
        )
    if hashlib.sha512(packages[0].read_bytes()).hexdigest() != OHIF_SHA512:
        raise RuntimeError(f"@ohif/app {OHIF_VERSION} has other content than it had")
    return packages[0]


def _unpack_dist(package: Path, folder: Path) -> None:
    with tarfile.open(package) as archive:
        members = [member for member in archive if member.name.startswith("package/dist/")]
        archive.extractall(folder, members, filter="data")


class OhifServer(ThreadingHTTPServer):
    """Serves `dist` on a free port of loopback, with `app_config` in place of its own.

    The same port for every configuration: a browser then keeps the rest in its cache.
    """

    daemon_threads = True

    def __init__(self, dist: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_OhifFiles, directory=str(dist)))
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.app_config = ""

    def handle_error(self, *_: object) -> None:
        """Nothing: a browser that leaves a page drops its connections."""


class _OhifFiles(SimpleHTTPRequestHandler):
    """Static files; any other path is a page of the single-page application."""

    protocol_version = "HTTP/1.1"
    server: OhifServer

    def do_GET(self) -> None:
        if self.path == "/app-config.js":
            self._answer_with_app_config()
            return
        if not Path(self.translate_path(self.path)).is_file():
            self.path = "/index.html"
        super().do_GET()

    def _answer_with_app_config(self) -> None:
        body = self.server.app_config.encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the browser's own record of requests is the better one."""


@contextmanager
def ohif_server(dist: Path) -> Iterator[OhifServer]:
    with OhifServer(dist) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
