"""DIMSE over TLS: DCMTK and openssl call."""

import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from associations import ACCEPTED, asked, connected, echo_request, request, status
from bfr_dicomweb import tls
from bfr_dicomweb.dimse.door import Credentials
from bfr_dicomweb.dimse.listening import Limits
from bfr_dicomweb.dimse.peers import ANY, Peer
from bfr_dicomweb.errors import Undelivered
from certificates import Authority
from dimse_served import Served, served

LIMITS = Limits(artim_seconds=3)
PEERS = (
    Peer(ANY),
    Peer("SECURE", tls=True),
    Peer("NAMED", tls=True, certificates=("ct1.example.org", "ct2.example.org")),
    Peer("OTHER", tls=True, certificates=("elsewhere.example.org",)),
)
Certificate = tuple[Path, Path]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def ct1(authority: Authority) -> Certificate:
    return authority.issue("ct1", "DNS:ct1.example.org")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    """Whoever calls needs a certificate."""
    context = tls.server_context(*authority.issue("bfr", "IP:127.0.0.1"), authority.ca)
    folder = tmp_path_factory.mktemp("door")
    with served(folder, peers=PEERS, limits=LIMITS, ssl_context=context) as open_archive:
        yield open_archive


@pytest.fixture(scope="module")
def one_way(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    """Only the archive shows a certificate."""
    context = tls.server_context(*authority.issue("bfr", "IP:127.0.0.1"))
    folder = tmp_path_factory.mktemp("door")
    with served(folder, peers=PEERS, limits=LIMITS, ssl_context=context) as open_archive:
        yield open_archive


def echo(
    archive: Served, authority: Authority, certificate: Certificate | None, calling: str = "ANYONE"
) -> "subprocess.CompletedProcess[str]":
    shown = ["+tla"] if certificate is None else ["+tls", str(certificate[1]), str(certificate[0])]
    command = ["echoscu", "-v", *shown, "+cf", str(authority.ca), "-aet", calling, "-aec", "BFR"]
    return subprocess.run(
        [*command, "127.0.0.1", str(archive.port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("calling", ["ANYONE", "SECURE", "NAMED"])
def test_a_peer_with_a_certificate_is_answered(
    archive: Served, authority: Authority, ct1: Certificate, calling: str
) -> None:
    done = echo(archive, authority, ct1, calling)

    assert done.returncode == 0, done.stderr


def test_a_certificate_that_is_not_the_peers_is_refused(
    archive: Served, authority: Authority, ct1: Certificate
) -> None:
    done = echo(archive, authority, ct1, "OTHER")

    assert "Rejected Permanent, Source: Service User" in done.stderr


def test_a_caller_without_a_certificate_is_refused(archive: Served, authority: Authority) -> None:
    assert echo(archive, authority, None).returncode != 0


def test_a_certificate_of_a_strange_authority_is_refused(
    archive: Served, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").issue("ct1", "DNS:ct1.example.org")

    assert echo(archive, authority, stranger).returncode != 0


def test_no_certificate_is_needed_where_none_is_asked_for(
    one_way: Served, authority: Authority
) -> None:
    done = echo(one_way, authority, None)

    assert done.returncode == 0, done.stderr


def test_a_peer_with_names_is_refused_where_no_certificate_is_asked_for(
    one_way: Served, authority: Authority
) -> None:
    assert "Rejected Permanent" in echo(one_way, authority, None, "NAMED").stderr


def test_a_caller_in_clear_is_not_answered(archive: Served) -> None:
    with connected(archive.port) as (connection,):
        try:
            answer = asked(connection, request())
        except ConnectionResetError:
            answer = b""

    assert answer[:1] != bytes((ACCEPTED,))


def handshake(archive: Served, certificate: Certificate, *options: str) -> str:
    """What openssl says of a connection."""
    shown = ["-cert", str(certificate[0]), "-key", str(certificate[1])]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{archive.port}", *shown, *options],
        input="",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_tls_1_2_and_1_3_are_spoken(archive: Served, ct1: Certificate, version: str) -> None:
    assert "Cipher is (NONE)" not in handshake(archive, ct1, version)


@pytest.mark.parametrize(
    "options",
    [
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "AES128-SHA"),
        ("-tls1_2", "-cipher", "AES256-GCM-SHA384"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"),
    ],
    ids=["TLS 1.1", "TLS 1.0", "CBC", "no forward secrecy", "ECDHE with CBC"],
)
def test_what_bcp_195_forbids_is_refused(
    archive: Served, ct1: Certificate, options: tuple[str, ...]
) -> None:
    assert "Cipher is (NONE)" in handshake(archive, ct1, *options)


def test_clients_that_say_nothing_keep_nobody(
    archive: Served, authority: Authority, ct1: Certificate
) -> None:
    with connected(archive.port, 20):
        started = time.monotonic()
        assert echo(archive, authority, ct1).returncode == 0
        assert time.monotonic() - started < LIMITS.artim_seconds


def test_a_client_that_says_nothing_is_disconnected(archive: Served) -> None:
    with connected(archive.port) as (connection,):
        assert connection.recv(1) == b""


def test_a_client_that_says_nothing_after_tls_is_disconnected(
    archive: Served, authority: Authority, ct1: Certificate
) -> None:
    context = tls.client_context(authority.ca, *ct1)
    with (
        connected(archive.port) as (connection,),
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        assert secured.recv(1) == b""


def test_a_message_and_its_answer_can_pass_each_other(
    archive: Served, authority: Authority, ct1: Certificate
) -> None:
    context = tls.client_context(authority.ca, *ct1)
    with (
        connected(archive.port) as (connection,),
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        assert asked(secured, request())[0] == ACCEPTED
        secured.sendall(b"".join(echo_request(number) for number in range(1, 201)))
        answered = [status(asked(secured, b"")) for _ in range(200)]

    assert answered == [0] * 200


# --- calling -------------------------------------------------------------------------------------


def test_a_peer_is_trusted_by_its_own_authority_or_that_of_all(authority: Authority) -> None:
    own = Peer("PACS", tls=True, tls_ca=authority.ca)

    for credentials, peer in (
        (Credentials(), own),
        (Credentials(ca=authority.ca), Peer("PACS", tls=True)),
    ):
        context = credentials.context(peer)
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) == 1


def test_a_peer_without_tls_needs_no_credentials() -> None:
    assert Credentials(Path("none.pem"), Path("none.key")).context(Peer("PACS")) is None


def test_credentials_that_are_not_there_are_told_with_the_peer(tmp_path: Path) -> None:
    missing = Credentials(tmp_path / "none.pem", tmp_path / "none.key")

    with pytest.raises(Undelivered, match="certificates for PACS: No such file"):
        missing.context(Peer("PACS", tls=True))
