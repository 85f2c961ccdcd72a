"""A real `bfr-dicomweb serve` on a free loopback port."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import httpx2

import commands

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
# Below those that the kernel gives to clients: no connection has taken one when a server wants it.
_PORTS: Final = range(20_000, 32_000)
_WORKERS: Final = 16
_tried = itertools.count(os.getpid())


def free_port() -> int:
    """One that is given to no other server of this test run, whichever worker starts it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    own = _PORTS[worker::_WORKERS]
    while True:
        port = own[next(_tried) % len(own)]
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def is_listened_on(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


class Live:
    """One server process over one data folder; it can be killed and started again."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = self.origin + "/dicomweb"
        # other tests run servers at the same time; those that want HL7 v2 or DIMSE name a port
        self.settings = {"mllp": "off", "dimse": "off"} | dict(settings or {})
        self._process: BaseProcess | None = None

    @property
    def fhir(self) -> str:
        return self.origin + "/fhir"

    @property
    def mllp_port(self) -> int:
        return int(self.settings["mllp"].rpartition(":")[2])

    @property
    def dimse_port(self) -> int | None:
        address = self.settings["dimse"]
        return None if address == "off" else int(address.rpartition(":")[2])

    @property
    def pid(self) -> int:
        if self._process is None or self._process.pid is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """That of the caller without its own settings, and the settings under test."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BFR_")}
        return kept | {f"BFR_{name.upper()}": value for name, value in self.settings.items()}

    def start(self) -> None:
        arguments = ["serve", "--data", str(self.data), "--http", f"127.0.0.1:{self.port}"]
        self._process = commands.start(arguments, self.environment, self.log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.exitcode is None and time.monotonic() < deadline:
            if self._is_ready():
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()[-4000:]}")

    def _is_ready(self) -> bool:
        only = self.settings.get("only")
        answers_http = only not in (None, "http") or self._answers_http()
        listens = self.dimse_port is None or only == "http" or is_listened_on(self.dimse_port)
        return answers_http and listens

    def _answers_http(self) -> bool:
        try:
            return httpx2.get(f"{self.origin}/health/ready", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """Without any chance to clean up, its children too."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        pid, process, self._process = self.pid, self._process, None
        if number is signal.SIGKILL:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
        process.join(STOP_TIMEOUT_S)
        if process.exitcode is None:
            os.killpg(pid, signal.SIGKILL)
            process.join()
            raise TimeoutError("the server did not stop")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `bfr-dicomweb ARGUMENTS` on the same data."""
        return subprocess.run(
            [sys.executable, "-m", "bfr_dicomweb", *arguments, "--data", str(self.data)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@contextmanager
def running(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Live]:
    live = Live(folder, settings)
    try:
        live.start()
        yield live
    finally:
        live.stop()
