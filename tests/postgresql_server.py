"""A PostgreSQL server of our own for the time of a test run."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60")


@dataclass(frozen=True, slots=True)
class Server:
    binaries: Path
    folder: Path
    process: subprocess.Popen[bytes]

    def create_database(self, name: str, template: str = "template1") -> None:
        self._run("createdb", "--template", template, name)

    def drop_database(self, name: str) -> None:
        self._run("dropdb", "--force", name)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.binaries / program, "-h", self.folder, "-U", "postgres", *arguments],
            check=True,
            capture_output=True,
        )


def find_binaries() -> Path | None:
    """The folder of initdb and postgres; Debian keeps them out of PATH."""
    in_path = shutil.which("initdb")
    found = [Path(in_path).resolve()] if in_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return next((path.parent for path in found if (path.parent / "postgres").exists()), None)


def start(binaries: Path) -> Server:
    folder = Path(tempfile.mkdtemp(prefix="bfr-postgresql-"))
    prefix = _unprivileged(folder)
    data = folder / "data"
    how = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(
        [*prefix, f"{binaries}/initdb", "-D", f"{data}", *how],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    options = [part for setting in _FAST for part in ("-c", setting)]
    options += ["-D", f"{data}", "-k", f"{folder}", "-c", "listen_addresses="]
    process = subprocess.Popen(
        [*prefix, f"{binaries}/postgres", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    server = Server(binaries, folder, process)
    _wait_until_ready(server)
    return server


def _unprivileged(folder: Path) -> list[str]:
    """What a command begins with, because PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + 30
    ready = [f"{server.binaries}/pg_isready", "-q", "-h", f"{server.folder}"]
    while subprocess.run(ready, check=False).returncode != 0:
        if server.process.poll() is not None or time.monotonic() > deadline:
            server.stop()
            raise RuntimeError("the PostgreSQL server of the tests did not start")
        time.sleep(0.05)
