"""A real archive process on loopback, as a client finds it."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Archive:
    """A DICOMweb service whose base URL is `url`, without a slash at the end."""

    url: str

    def store(self, files: Sequence[bytes]) -> None:
        """Store Part 10 files in one request.

        Raises:
            urllib.error.HTTPError: the archive refused the request.
        """
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + file + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
        request = urllib.request.Request(
            f"{self.url}/studies",
            data=body,
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_archive(folder: Path) -> Iterator[Archive]:
    """An archive of its own below `folder`, stopped in the end.

    With BFR_TEST_DICOMWEB=<base URL> the clients are pointed at that server instead.
    """
    elsewhere = os.environ.get("BFR_TEST_DICOMWEB")
    if elsewhere:
        yield Archive(elsewhere.rstrip("/"))
        return
    port = free_port()
    log = folder / "archive.log"
    command = [sys.executable, "-m", "bfr_dicomweb", "serve"]
    command += ["--data", str(folder / "data"), "--http", f"127.0.0.1:{port}"]
    # The settings of whoever runs the tests are not the settings under test.
    environment = {name: value for name, value in os.environ.items() if name[:4] != "BFR_"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/health/ready", process, log)
        yield Archive(f"http://127.0.0.1:{port}/dicomweb")
    finally:
        _stop(process)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the archive did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
