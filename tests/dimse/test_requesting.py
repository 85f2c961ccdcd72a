"""Associations with peers: that they come about, and in which words it is told why not."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pynetdicom
import pytest
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from bfr_dicomweb import tls
from bfr_dicomweb.dimse import requesting
from bfr_dicomweb.dimse.peers import Peer
from bfr_dicomweb.dimse.requesting import associated
from bfr_dicomweb.errors import Undelivered
from certificates import Authority
from live import free_port

CONTEXTS = [build_context(Verification)]
A_ABORT = bytes.fromhex("07000000000400000000")


def reason(peer: Peer, context: ssl.SSLContext | None = None) -> str:
    """Why there is no association."""
    with (
        pytest.raises(Undelivered) as caught,
        associated(peer, CONTEXTS, ae_title="BFR", tls=context),
    ):
        pytest.fail("there is an association")
    return str(caught.value)


@contextmanager
def verifying(context: ssl.SSLContext | None = None) -> Iterator[tuple[AE, Peer]]:
    entity = AE("PACS")
    entity.add_supported_context(Verification)
    entity.require_called_aet = True
    server = entity.start_server(("127.0.0.1", 0), block=False, ssl_context=context)
    assert server is not None
    try:
        port = server.server_address[1]
        yield entity, Peer("PACS", "127.0.0.1", port, tls=context is not None)
    finally:
        server.shutdown()


@contextmanager
def answering(answer: Callable[[socket.socket], object]) -> Iterator[Peer]:
    """Something at a port that is no application entity."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Peer("PACS", "127.0.0.1", listening.getsockname()[1])
        thread.join()


def test_an_association_comes_about_and_is_released() -> None:
    with verifying() as (_, peer):
        with associated(peer, CONTEXTS, ae_title="BFR") as association:
            assert association.send_c_echo().Status == 0
        assert association.is_released


def test_an_association_is_aborted_when_its_user_fails() -> None:
    with verifying() as (_, peer):
        with (
            pytest.raises(KeyError),
            associated(peer, CONTEXTS, ae_title="BFR") as association,
        ):
            raise KeyError
        assert (association.is_released, association.is_established) == (False, False)


def test_small_packets_are_not_delayed() -> None:
    with (
        verifying() as (_, peer),
        associated(peer, CONTEXTS, ae_title="BFR") as association,
    ):
        connection = association.dul.socket
        assert connection is not None
        assert connection.socket is not None
        assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_pdus_are_no_longer_than_the_peer_is_configured_for() -> None:
    with verifying() as (_, peer):
        small = Peer("PACS", peer.host, peer.port, max_pdu_bytes=4096)
        with associated(small, CONTEXTS, ae_title="BFR") as association:
            assert association.dimse.maximum_pdu_size == 4096


def test_a_peer_without_a_host_is_not_called() -> None:
    assert reason(Peer("PACS")) == "PACS has no address at which it can be called"


def test_an_unknown_host_is_told() -> None:
    assert reason(Peer("PACS", "host.invalid")).startswith("PACS cannot be found: ")


def test_a_refused_connection_is_told() -> None:
    peer = Peer("PACS", "127.0.0.1", free_port())
    assert reason(peer) == "PACS cannot be reached: Connection refused"


def test_a_rejection_is_told_in_the_words_of_the_standard() -> None:
    with verifying() as (_, peer):
        other = Peer("ARCHIVE", peer.host, peer.port)
        assert reason(other) == (
            "ARCHIVE rejected the association:"
            " Called AE title not recognised (service user, rejected permanent)"
        )


def test_a_peer_that_takes_no_context_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # else the peer, which is in this process, takes every SOP class as the archive's own door does
    monkeypatch.setattr(pynetdicom._config, "UNRESTRICTED_STORAGE_SERVICE", False)
    with (
        verifying() as (_, peer),
        pytest.raises(Undelivered, match="accepts none of the proposed presentation contexts"),
        associated(peer, [build_context("1.2.3")], ae_title="BFR"),
    ):
        pytest.fail("there is an association")


def test_a_closed_connection_is_told() -> None:
    with answering(lambda connection: connection.recv(4096)) as peer:
        assert reason(peer) == "PACS closed the connection instead of answering"


def test_an_abort_is_told() -> None:
    def abort(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(A_ABORT)
        connection.recv(4096)

    with answering(abort) as peer:
        assert reason(peer) == "PACS aborted the association before it was established"


def test_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requesting, "ASSOCIATE_SECONDS", 0.2)

    def listen(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    with answering(listen) as peer:
        assert "did not answer the request for an association" in reason(peer)


def test_tls_needs_a_context() -> None:
    told = reason(Peer("PACS", "127.0.0.1", 1, tls=True))
    assert told == "PACS is called with TLS, for which no certificate is set"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def server_context(authority: Authority, name: str, alternatives: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(name, alternatives))
    return context


def test_an_association_comes_about_with_tls(authority: Authority) -> None:
    trusted = tls.client_context(authority.ca, None, None)
    with (
        verifying(server_context(authority, "server", "IP:127.0.0.1")) as (_, peer),
        associated(peer, CONTEXTS, ae_title="BFR", tls=trusted) as association,
    ):
        assert association.send_c_echo().Status == 0


def test_a_certificate_of_a_stranger_is_told(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    trusted = tls.client_context(authority.ca, None, None)
    with verifying(server_context(stranger, "server", "IP:127.0.0.1")) as (_, peer):
        assert "certificate is not trusted" in reason(peer, trusted)


def test_a_certificate_of_another_host_is_told(authority: Authority) -> None:
    trusted = tls.client_context(authority.ca, None, None)
    with verifying(server_context(authority, "other", "DNS:elsewhere")) as (_, peer):
        assert "certificate is not trusted (IP address mismatch" in reason(peer, trusted)


def test_a_peer_that_wants_our_certificate_is_told(authority: Authority) -> None:
    wanting = server_context(authority, "mutual", "IP:127.0.0.1")
    wanting.verify_mode = ssl.CERT_REQUIRED
    wanting.load_verify_locations(authority.ca)
    trusted = tls.client_context(authority.ca, None, None)
    with verifying(wanting) as (_, peer):
        assert "does it trust the certificate of this archive?" in reason(peer, trusted)
