"""The DIMSE door as its users start it: `bfr-dicomweb serve`, and what becomes of its process."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from live import Live, free_port, is_listened_on, running

PEERS = '[[peers]]\nae_title = "ECHOSCU"\n'
PATIENCE_S = 60.0


def settings(folder: Path) -> dict[str, str]:
    file = folder / "peers.toml"
    file.write_text(PEERS)
    return {"dimse": f"127.0.0.1:{free_port()}", "peers": str(file)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("server")
    with running(folder, settings(folder)) as live:
        yield live


def echo(live: Live) -> int:
    command = ["echoscu", "-aec", "BFR", "127.0.0.1", str(live.dimse_port)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if b"spawn_main" in _command(int(child))]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_door_is_opened_with_all_others(server: Live) -> None:
    assert echo(server) == 0


def test_a_change_of_the_peers_counts_without_a_new_start(server: Live) -> None:
    file = Path(server.settings["peers"])
    file.write_text(PEERS.replace("ECHOSCU", "ANOTHER"))
    until(lambda: echo(server) != 0)

    file.write_text(PEERS)
    until(lambda: echo(server) == 0)


def test_the_process_comes_back_when_it_is_killed(server: Live) -> None:
    (killed,) = children(server.pid)
    os.kill(killed, signal.SIGKILL)
    until(lambda: children(server.pid) not in ([], [killed]))

    until(lambda: is_listened_on(server.dimse_port or 0))
    assert echo(server) == 0


def test_the_process_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    live = Live(tmp_path, settings(tmp_path))
    live.start()
    (child,) = children(live.pid)
    os.kill(live.pid, signal.SIGKILL)
    try:
        until(lambda: not is_listened_on(live.dimse_port or 0))
        until(lambda: b"spawn_main" not in _ended(child))
    finally:
        live.kill()


def _ended(pid: int) -> bytes:
    try:
        return _command(pid)
    except OSError:
        return b""


def test_the_door_can_be_all_there_is_in_several_processes(tmp_path: Path) -> None:
    alone = settings(tmp_path) | {"only": "dimse", "dimse_workers": "2"}
    with running(tmp_path, alone) as live:
        until(lambda: live.log.read_text().count("dimse listening") == 2)

        assert [echo(live) for _ in range(8)] == [0] * 8
        assert not is_listened_on(live.port)


def test_an_address_that_is_taken_is_told(server: Live, tmp_path: Path) -> None:
    other = Live(tmp_path, {"dimse": server.settings["dimse"], "only": "dimse"})

    done = other.command("serve")

    assert done.returncode == 1
    assert f"dimse: cannot listen on {server.settings['dimse']}: Address" in done.stderr
