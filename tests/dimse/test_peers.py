"""The file of peers: what can be said in it, and what is told of wrong ones."""

import time
from ipaddress import ip_network
from pathlib import Path

import pytest
import structlog

from bfr_dicomweb.dimse import peers
from bfr_dicomweb.dimse.peers import ANY, Peer, PeersFile, Permission, Quirks
from bfr_dicomweb.errors import InvalidRequest

CT1 = '[[peers]]\nae_title = "CT1"\n'


def only(text: str) -> Peer:
    (found,) = peers.parse(text)
    return found


def refusal(text: str, *, strangers: bool = True) -> str:
    with pytest.raises(InvalidRequest) as caught:
        peers.parse(text, strangers=strangers)
    return str(caught.value)


def test_the_example_can_be_used() -> None:
    titles = [peer.ae_title for peer in peers.parse(peers.EXAMPLE, strangers=False)]

    assert titles == ["CT1_SU", "PACS_EVIDIA", "WS_OLD"]


def test_the_example_shows_every_key_of_a_peer() -> None:
    for key in {*Peer.__slots__, *Quirks.__slots__}:
        assert f"{key} = " in peers.EXAMPLE or f"[peers.{key}]" in peers.EXAMPLE, key


def test_a_peer_may_nothing_that_is_not_said() -> None:
    assert only(CT1) == Peer("CT1", may=frozenset())


def test_what_a_peer_may_is_listed() -> None:
    found = only(CT1 + 'may = ["store", "worklist"]')

    assert found.may == {Permission.STORE, Permission.WORKLIST}


def test_addresses_are_networks() -> None:
    found = only(CT1 + 'addresses = ["10.0.0.0/8", "2001:db8::1"]')

    assert found.addresses == (ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128"))


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("fe80::1%eth0", True),
        ("fe81::1", False),
    ],
)
def test_a_peer_calls_from_its_addresses(address: str, may: bool) -> None:
    peer = Peer("CT1", addresses=(ip_network("10.0.0.0/8"), ip_network("fe80::/16")))

    assert peer.may_call_from(address) is may


def test_a_peer_without_addresses_calls_from_anywhere() -> None:
    assert Peer("CT1").may_call_from("203.0.113.9")


def test_coercions_are_named_by_keyword() -> None:
    text = (
        '[peers.quirks]\ncoercions = { PatientName = "A^B", SeriesNumber = 3, ImageType = ["X"] }'
    )

    assert only(CT1 + text).quirks.coercions == {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]},
        "00200011": {"vr": "IS", "Value": [3]},
        "00080008": {"vr": "CS", "Value": ["X"]},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("peers = 3", "peers: has to be written as [[peers]]"),
        ("[[peers]]\nport = 3", "peers[1].ae_title: is missing"),
        (CT1 + "ports = 3", "peers[CT1].ports: there is no such key"),
        (CT1 + "[peers.quirks]\nissuers = 3", "peers[CT1].quirks.issuers: there is no such key"),
        (CT1 + "port = 0", "peers[CT1].port: has to be 1 to 65535"),
        (CT1 + 'port = "104"', "peers[CT1].port: has to be a whole number"),
        (CT1 + "port = true", "peers[CT1].port: has to be a whole number"),
        (CT1 + 'may = ["move"]', "peers[CT1].may: 'move' is none of store, query"),
        (CT1 + 'addresses = ["10.1.2.3/8"]', "peers[CT1].addresses: 10.1.2.3/8 has host bits set"),
        (CT1 + 'addresses = ["ct1"]', "peers[CT1].addresses: 'ct1' does not appear to be"),
        (CT1 + 'transfer_syntaxes = ["1.02"]', "peers[CT1].transfer_syntaxes: '1.02' is no UID"),
        (CT1 + "max_pdu_bytes = 100", "peers[CT1].max_pdu_bytes: has to be 0 or at least 4096"),
        (CT1 + 'certificates = ["x"]', "peers[CT1].certificates: needs tls = true"),
        (CT1 + 'tls_name = "x"', "peers[CT1].tls_name: needs tls = true"),
        (CT1 + 'tls = true\ntls_ca = "/none.pem"', "peers[CT1].tls_ca: there is no file /none.pem"),
        (CT1 + "is_notified = true", "peers[CT1].is_notified: needs the host"),
        (CT1 + CT1, "peers[CT1].ae_title: stands twice"),
        (CT1 + "max_associations = 0", "peers[CT1].max_associations: has to be 1 to 1000"),
        (CT1 + 'called = [""]', "peers[CT1].called: has to have 1 to 16 characters"),
        (
            '[[peers]]\nae_title = "SEVENTEEN_LETTERS"',
            "peers[SEVENTEEN_LETTERS].ae_title: has to have 1 to 16 characters",
        ),
        ("[[peers]]\nae_title = 'A\\B'", "has to be of printable ASCII characters"),
        ('[[peers]]\nae_title = "*"\nhost = "x"', "peers[*].host: a peer that stands for all"),
        (
            CT1 + "[peers.quirks]\ncoercions = { Nothing = 3 }",
            "peers[CT1].quirks.coercions.Nothing: is no keyword of an attribute of DICOM",
        ),
        (
            CT1 + '[peers.quirks]\ncoercions = { PixelData = "x" }',
            "peers[CT1].quirks.coercions.PixelData: an attribute of VR OB or OW cannot be given",
        ),
        ("peers = [", "no TOML: "),
    ],
)
def test_what_cannot_be_used_is_told_with_peer_and_key(text: str, said: str) -> None:
    assert refusal(text).startswith(said) or said in refusal(text)


def test_strangers_may_be_kept_out() -> None:
    assert refusal(CT1, strangers=False).startswith("peers[CT1].addresses: are needed")
    assert peers.parse(CT1 + 'addresses = ["10.0.0.1"]', strangers=False).find("CT1")
    assert peers.parse(CT1 + "tls = true", strangers=False).find("CT1")


def test_a_title_is_found_and_else_the_peer_that_stands_for_all_others() -> None:
    some = peers.Peers([Peer("CT1"), Peer(ANY, port=5)])

    assert some.find("CT1") == Peer("CT1")
    assert some.find("CT2") == Peer(ANY, port=5)
    assert peers.Peers([Peer("CT1")]).find("CT2") is None


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"none\.toml: No such file"):
        PeersFile(tmp_path / "none.toml")


def titles(source: PeersFile) -> list[str]:
    return [peer.ae_title for peer in source()]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PeersFile:
    monkeypatch.setattr(peers, "LOOK_AGAIN_SECONDS", 0.05)
    (tmp_path / "peers.toml").write_text(CT1)
    return PeersFile(tmp_path / "peers.toml")


def replace(file: Path, text: str) -> None:
    """As editors do."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)
    time.sleep(0.1)


def test_a_new_version_of_the_file_is_taken_over(source: PeersFile, tmp_path: Path) -> None:
    assert titles(source) == ["CT1"]

    replace(tmp_path / "peers.toml", CT1.replace("CT1", "CT2"))

    assert titles(source) == ["CT2"]


@pytest.mark.parametrize("broken", ["[[peers]", CT1 + "colour = 3", None])
def test_a_broken_version_leaves_the_last_one_in_force(
    source: PeersFile, tmp_path: Path, broken: str | None
) -> None:
    with structlog.testing.capture_logs() as logged:
        if broken is None:
            (tmp_path / "peers.toml").unlink()
            time.sleep(0.1)
        else:
            replace(tmp_path / "peers.toml", broken)
        for _ in range(3):
            assert titles(source) == ["CT1"]

    assert [line["log_level"] for line in logged] == ["error"]


def test_a_version_that_is_mended_is_taken_over(source: PeersFile, tmp_path: Path) -> None:
    replace(tmp_path / "peers.toml", "broken")
    assert titles(source) == ["CT1"]

    replace(tmp_path / "peers.toml", CT1.replace("CT1", "CT3"))

    assert titles(source) == ["CT3"]


def test_the_file_is_not_looked_at_for_every_call(tmp_path: Path) -> None:
    (tmp_path / "peers.toml").write_text(CT1)
    source = PeersFile(tmp_path / "peers.toml")

    (tmp_path / "peers.toml").write_text("broken")

    assert titles(source) == ["CT1"]
