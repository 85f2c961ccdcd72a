"""The DIMSE door as its users start it: `bfr-dicomweb serve`, and what becomes of its process."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bfr_dicomweb import app
from bfr_dicomweb import settings as settings_module
from bfr_dicomweb.settings import SettingsError
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
    """Those that serve, whichever thread has started them."""
    lists = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    found = [int(child) for listed in lists for child in listed.split()]
    return [child for child in found if b"spawn_main" in _command(child)]


def _command(pid: int) -> bytes:
    """Nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


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
        until(lambda: b"spawn_main" not in _command(child))
    finally:
        live.kill()


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


def test_without_a_file_of_peers_only_the_demo_knows_anyone() -> None:
    chosen = settings_module.load()

    assert list(app.known_peers(chosen)()) == []
    (anyone,) = app.known_peers(chosen, anyone_here=True)()
    assert anyone.may_call_from("127.0.0.1")
    assert anyone.may_call_from("::1")
    assert not anyone.may_call_from("192.0.2.1")


def test_a_file_of_peers_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "peers.toml").write_text(PEERS + "colour = 1")

    with pytest.raises(SettingsError, match=r"peers: .*peers\[ECHOSCU\]\.colour: there is no such"):
        app.known_peers(settings_module.load(peers=tmp_path / "peers.toml"))


def test_peers_without_addresses_are_refused_where_strangers_can_call(tmp_path: Path) -> None:
    (tmp_path / "peers.toml").write_text(PEERS)
    chosen = settings_module.load(peers=tmp_path / "peers.toml", dimse="0.0.0.0:104")

    with pytest.raises(SettingsError, match=r"peers\[ECHOSCU\]\.addresses: are needed"):
        app.known_peers(chosen)
