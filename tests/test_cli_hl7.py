"""`bfr-dicomweb hl7` as integrators run it: real processes, a real server."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import commands
import registry as registries
from certificates import Authority
from hl7_said import Exam, m1, m2, order
from live import Live, free_port
from receivers import MllpReceiver
from registry import Registry

LETTERS: Final = ("Tolvansson", "191212121212")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """With a message that was taken, and one that was not."""
    with registries.running(tmp_path_factory.mktemp("cli")) as running:
        running.told(m1())
        assert running.send(broken()) == [("AE", "BAD")]
        yield running


def broken() -> bytes:
    """No exam can be told from another, and the patient's name stands where the type should."""
    text = m2().decode().replace("|M2|", "|BAD|").split("\r")
    return "\r".join(line for line in text if line.startswith(("MSH", "PID", "PV1"))).encode()


def run(live: Live, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(["hl7", *arguments, "--data", str(live.data)], live.environment)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that failed."""
    (line,) = done.stderr.splitlines()
    return line


# --- send ---------------------------------------------------------------------------------------


def sent(
    tmp_path: Path, to: str, *arguments: str, data: bytes = b""
) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "message.hl7"
    file.write_bytes(data or m1())
    command = ["hl7", "send", str(file), "--to", to, *arguments]
    return commands.run(command, Live(tmp_path).environment)


def test_sent_messages_are_answered_one_by_one(tmp_path: Path) -> None:
    port = free_port()
    batch = b"BHS|^~\\&\r" + m1() + m2() + b"BTS|2\r"
    with MllpReceiver(port, lambda one: "AE" if one.control_id == "M1" else "AA") as receiver:
        done = sent(tmp_path, f"127.0.0.1:{port}", data=batch)

    assert [one.control_id for one in receiver.wait_for(2)] == ["M1", "M2"]
    assert done.stdout.splitlines() == ["M1  AE", "M2  AA", "accepted 1 of 2"]
    assert done.returncode == 1


def test_when_all_are_accepted_nothing_has_failed(tmp_path: Path) -> None:
    port = free_port()
    with MllpReceiver(port):
        done = sent(tmp_path, f"127.0.0.1:{port}")

    assert (done.returncode, done.stdout) == (0, "M1  AA\naccepted 1 of 1\n")


def test_what_was_answered_is_printed_although_the_rest_failed(tmp_path: Path) -> None:
    port = free_port()
    batch = b"BHS|^~\\&\r" + m1() + m2() + b"BTS|2\r"
    with MllpReceiver(port, closes_after_each=True):
        done = sent(tmp_path, f"127.0.0.1:{port}", data=batch)

    assert (done.returncode, done.stdout.splitlines()) == (1, ["M1  AA"])
    assert "connection" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("to", "arguments", "data", "said"),
    [
        ("127.0.0.1:1", (), b"", "127.0.0.1:1"),
        ("nowhere", (), b"", "--to must be HOST:PORT"),
        ("127.0.0.1:99999", (), b"", "--to must be HOST:PORT"),
        ("127.0.0.1:1", ("--ca", "/nonexistent"), b"", "certificates"),
        ("127.0.0.1:1", ("--key", "/nonexistent"), b"", "--key"),
        ("127.0.0.1:1", (), b" \r\n", "no message"),
        ("127.0.0.1:1", (), b"PID|1\r", "no message"),
    ],
    ids=["nobody", "no port", "large port", "no file", "key alone", "empty", "no header"],
)
def test_what_cannot_be_sent_is_told_in_one_line(
    tmp_path: Path, to: str, arguments: tuple[str, ...], data: bytes, said: str
) -> None:
    done = sent(tmp_path, to, *arguments, data=data)

    lines = [line for line in done.stderr.splitlines() if not line.startswith("sending: ")]
    assert done.returncode == 1
    assert [said in line for line in lines] == [True]


def test_a_folder_is_no_message(tmp_path: Path) -> None:
    done = commands.run(["hl7", "send", str(tmp_path)], Live(tmp_path).environment)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "not trusted"])
def test_only_a_receiver_that_is_trusted_gets_the_message(
    tmp_path: Path, *, is_trusted: bool
) -> None:
    port = free_port()
    own, other = Authority(tmp_path / "own"), Authority(tmp_path / "other")
    ca = str((own if is_trusted else other).ca)
    with MllpReceiver(port, context=tls(*own.issue("receiver"))) as receiver:
        done = sent(tmp_path, f"localhost:{port}", "--ca", ca)

        got = receiver.wait_for(0, within_s=0)
    assert (done.returncode, len(got)) == ((0, 1) if is_trusted else (1, 0))
    assert "Traceback" not in done.stderr


# --- inspect ------------------------------------------------------------------------------------


def test_messages_are_listed_with_what_became_of_them(registry: Registry) -> None:
    done = run(registry.live, "inspect")

    taken, failed = done.stdout.splitlines()
    assert taken.split()[1:] == ["applied", "AA", "OMI^O23", "EHR|VGR", "M1"]
    assert failed.split()[1:6] == ["failed", "AE", "ORM^O01", "RISEVIDIA|EVIDIA", "BAD"]


def test_the_list_names_no_patient(registry: Registry) -> None:
    registry.send(
        m1().replace(b"|OMI^O23^OMI_O23|", b"|Tolvansson 191212121212|").replace(b"|M1|", b"|ODD|")
    )

    done = run(registry.live, "inspect")

    assert len(done.stdout.splitlines()) > 1
    assert [text for text in LETTERS if text in done.stdout + done.stderr] == []


def test_one_message_is_printed_whole(registry: Registry) -> None:
    number = run(registry.live, "inspect", "--control-id", "M1").stdout.split()[0]

    done = run(registry.live, "inspect", number)

    assert m1().decode().replace("\r", "\n") in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("99999999",), 1), (("--state", "no-such"), 2), (("--limit", "-1"), 2), (("x",), 2)],
    ids=["unknown number", "unknown state", "negative limit", "no number"],
)
def test_what_cannot_be_inspected_is_told_plainly(
    registry: Registry, arguments: tuple[str, ...], code: int
) -> None:
    done = run(registry.live, "inspect", *arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    if code == 1:
        assert error_of(done) == "bfr-dicomweb: there is no message 99999999"


# --- replay -------------------------------------------------------------------------------------


def test_what_still_cannot_be_read_is_told_with_its_reason(registry: Registry) -> None:
    number = run(registry.live, "inspect", "--control-id", "BAD").stdout.split()[0]

    done = run(registry.live, "replay", number)

    assert (done.returncode, done.stdout) == (1, "read anew 0\n")
    reasons = [line for line in done.stderr.splitlines() if line.startswith(f"{number}: ")]
    assert len(reasons) == 1
    assert [text for text in LETTERS if text in done.stderr] == []


def test_a_message_that_is_not_there_cannot_be_replayed(registry: Registry) -> None:
    done = run(registry.live, "replay", "99999999")

    assert done.returncode == 1
    assert "99999999: there is no such message" in done.stderr


def test_a_replay_changes_nothing_that_was_right(registry: Registry) -> None:
    registry.told(order_of("RP1"))
    number = run(registry.live, "inspect", "--control-id", "RP1").stdout.split()[0]
    before = registry.found("ServiceRequest", identifier="RP1")

    done = run(registry.live, "replay", number)

    assert (done.returncode, done.stdout) == (0, "read anew 1\n")
    assert registry.found("ServiceRequest", identifier="RP1") == before


def order_of(name: str) -> bytes:
    exam = Exam(f"P{name}", name, "1.2.752.113.99.43.1")
    return order(exam, control_id=name, time="20240108080000", group=f"G{name}")


# --- configure ----------------------------------------------------------------------------------


def test_a_configuration_is_put_in_force_and_printed(tmp_path: Path) -> None:
    live = Live(tmp_path)
    file = tmp_path / "exchange.toml"
    file.write_text('[[senders]]\nname = "ehr"\n')

    put = run(live, "configure", str(file))
    again = run(live, "configure", str(file))
    printed = run(live, "configure")

    assert (put.stdout, again.stdout) == (put.stdout, put.stdout)
    assert printed.stdout.splitlines()[1:] == ["[[senders]]", 'name = "ehr"', ""]


def test_the_example_can_be_put_in_force(tmp_path: Path) -> None:
    live = Live(tmp_path)
    file = tmp_path / "exchange.toml"
    file.write_text(run(live, "configure", "--example").stdout)

    assert run(live, "configure", str(file)).returncode == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[senders]", "no TOML"),
        ('[[senders]]\nname = "a"\nrole = "king"\n', "senders[a].role"),
        ("unknown_key = 1\n", "unknown_key"),
        ('[[receivers]]\nname = "r"\nkind = "http"\nurl = "x"\n', "receivers[r].url"),
    ],
    ids=["no TOML", "value", "key", "receiver"],
)
def test_a_configuration_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text(text)

    done = run(Live(tmp_path), "configure", str(file))

    assert (done.returncode, said in error_of(done)) == (1, True)


def test_where_nothing_is_in_force_the_example_is_named(tmp_path: Path) -> None:
    done = run(Live(tmp_path), "configure")

    assert (done.returncode, "--example" in error_of(done)) == (1, True)


# --- serve --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"exchange": "/nonexistent"}, "exchange: /nonexistent"),
        ({"mllp_certificate": "/nonexistent", "mllp_key": "/nonexistent"}, "mllp_certificate"),
    ],
    ids=["exchange", "certificate"],
)
def test_a_file_that_cannot_be_used_is_told_before_the_server_starts(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    live = Live(tmp_path, {"http": f"127.0.0.1:{free_port()}"} | settings)

    done = commands.run(["serve", "--data", str(live.data)], live.environment)

    assert (done.returncode, said in error_of(done)) == (1, True)
