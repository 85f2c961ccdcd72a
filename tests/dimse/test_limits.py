"""How many may be associated, for how long, and that nobody keeps the others."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import structlog
from pynetdicom import evt

from associations import (
    ABORTED,
    ACCEPTED,
    REJECTED,
    VERIFICATION,
    asked,
    connected,
    echo_request,
    pdu,
    rejection,
    request,
    status,
)
from bfr_dicomweb.dimse.door import Service
from bfr_dicomweb.dimse.listening import Limits
from bfr_dicomweb.dimse.peers import ANY, Peer
from dimse_served import Served, served

AT_ONCE = 64
LIMITS = Limits(associations=AT_ONCE + 4, idle_seconds=4, artim_seconds=2)
SOON_S = 15.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    peers = (Peer("FEW", max_associations=2), Peer(ANY, max_associations=AT_ONCE + 100))
    folder = tmp_path_factory.mktemp("door")
    with served(folder, peers=peers, limits=LIMITS) as open_archive:
        yield open_archive


@pytest.fixture(autouse=True)
def _empty(archive: Served) -> Iterator[None]:
    """The associations of one test are not there any more in the next."""
    yield
    until(lambda: not archive.server.associations)


def until(is_so: Callable[[], bool], within_s: float = SOON_S) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def echoed(connection: socket.socket) -> int:
    assert asked(connection, request())[0] == ACCEPTED
    return status(asked(connection, echo_request()))


def answers(archive: Served) -> bool:
    with connected(archive.port) as (connection,):
        return echoed(connection) == 0


def test_64_associations_at_once_are_all_answered(archive: Served) -> None:
    with connected(archive.port, AT_ONCE) as connections:
        for connection in connections:
            connection.sendall(request())
        accepted = [pdu(connection)[0] for connection in connections]
        for connection in connections:
            connection.sendall(echo_request())
        statuses = [status(pdu(connection)) for connection in connections]

    assert accepted == [ACCEPTED] * AT_ONCE
    assert statuses == [0] * AT_ONCE


def test_a_peer_has_no_more_associations_than_it_may(archive: Served) -> None:
    with connected(archive.port, 3) as connections:
        told = [asked(one, request(calling="FEW")) for one in connections]

        assert [answer[0] for answer in told[:2]] == [ACCEPTED, ACCEPTED]
        # transient, by the service provider (presentation), local limit exceeded
        assert rejection(told[2]) == (2, 3, 2)


def test_an_association_that_has_ended_makes_room_for_another(archive: Served) -> None:
    for _ in range(3):
        with connected(archive.port, 2) as connections:
            told = [asked(one, request(calling="FEW")) for one in connections]
            assert [answer[0] for answer in told] == [ACCEPTED, ACCEPTED]
        until(lambda: not archive.server.associations)


def test_there_are_no_more_associations_in_all_than_may_be(archive: Served) -> None:
    with connected(archive.port, LIMITS.associations + 1) as connections:
        told = [
            asked(one, request(calling=f"PEER{number}")) for number, one in enumerate(connections)
        ]

        assert {answer[0] for answer in told[:-1]} == {ACCEPTED}
        assert rejection(told[-1]) == (2, 3, 2)


def test_connections_that_ask_for_nothing_are_not_without_limit(archive: Served) -> None:
    with connected(archive.port, 2 * LIMITS.associations + 1) as connections:
        assert connections[-1].recv(1) == b""


def test_clients_that_stay_silent_keep_nobody(archive: Served) -> None:
    with connected(archive.port, 20):
        started = time.monotonic()
        assert answers(archive)
        assert time.monotonic() - started < LIMITS.artim_seconds


def test_a_client_that_stays_silent_is_disconnected(archive: Served) -> None:
    with connected(archive.port) as (connection,):
        assert connection.recv(1) == b""


def test_a_client_that_stops_within_its_request_is_disconnected(archive: Served) -> None:
    with connected(archive.port) as (connection,):
        connection.sendall(request()[:60])
        assert connection.recv(1) == b""


def test_an_association_without_a_message_is_aborted_after_its_time(archive: Served) -> None:
    with connected(archive.port) as (connection,):
        assert asked(connection, request())[0] == ACCEPTED
        started = time.monotonic()
        assert pdu(connection)[0] == ABORTED
        assert time.monotonic() - started >= LIMITS.idle_seconds * 0.9


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff",
        b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",
        b"\x01\x00\x00\x00\x00\x02\x00\x01",
        b"\x99" * 100,
    ],
    ids=["http", "endless", "data first", "too short", "no pdu"],
)
def test_what_is_no_request_is_refused_and_keeps_nobody(archive: Served, sent: bytes) -> None:
    with connected(archive.port) as (connection,):
        connection.sendall(sent)
        answer = _all_of(connection)

    assert answer[:1] in (b"", bytes((ABORTED,)))
    assert answers(archive)


def test_a_damaged_request_is_answered_and_is_no_bug(archive: Served) -> None:
    chance = random.Random(7)
    kinds = set()
    with structlog.testing.capture_logs() as logged:
        for _ in range(80):
            damaged = bytearray(request())
            for _ in range(3):
                damaged[chance.randrange(6, len(damaged))] = chance.choice([0, 1, 0xFF])
            with connected(archive.port) as (connection,):
                kinds.add(asked(connection, bytes(damaged))[:1])

    assert kinds <= {b"", bytes((ACCEPTED,)), bytes((REJECTED,)), bytes((ABORTED,))}
    assert [line for line in logged if line["event"] == "bug"] == []


def _all_of(connection: socket.socket) -> bytes:
    found = b""
    try:
        while part := connection.recv(4096):
            found += part
    except ConnectionResetError:
        pass
    return found


@contextmanager
def idle(archive: Served, count: int) -> Iterator[list[socket.socket]]:
    with connected(archive.port, count) as connections:
        for connection in connections:
            assert asked(connection, request())[0] == ACCEPTED
        yield connections


def test_idle_associations_cost_next_to_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    peers = (Peer(ANY, max_associations=AT_ONCE),)
    with (
        served(tmp_path_factory.mktemp("idle"), peers=peers) as archive,
        idle(archive, AT_ONCE),
    ):
        time.sleep(0.5)
        before = time.process_time()
        time.sleep(2)
        # two threads each, which look every millisecond, would need more than there is
        assert (time.process_time() - before) / 2 < 0.2


def test_a_server_that_stops_aborts_what_is_idle(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(tmp_path_factory.mktemp("stop")) as archive, idle(archive, 3) as connections:
        time.sleep(1.2)
        started = time.monotonic()
        archive.server.shutdown(30)

        assert [pdu(connection)[0] for connection in connections] == [ABORTED] * 3
        assert time.monotonic() - started < 10


def test_a_message_that_is_under_way_when_the_server_stops_is_answered(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    begun = threading.Event()

    def slow(*_: object) -> int:
        begun.set()
        time.sleep(1)
        return 0

    services = (Service("verification", evt.EVT_C_ECHO, (VERIFICATION,), slow),)
    with (
        served(tmp_path_factory.mktemp("slow"), services=services) as archive,
        idle(archive, 1) as (connection,),
    ):
        connection.sendall(echo_request())
        assert begun.wait(SOON_S)
        archive.server.shutdown(30)

        assert status(pdu(connection)) == 0
        assert pdu(connection)[0] == ABORTED


def test_a_server_that_stops_takes_no_more_connections(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with served(tmp_path_factory.mktemp("stopped")) as archive:
        archive.server.shutdown()

        with pytest.raises(ConnectionRefusedError):
            answers(archive)
