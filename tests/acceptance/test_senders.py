"""Who may send messages, and what becomes of those that are not as they should be."""

import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import commands
import hl7_samples
import registry as registries
from certificates import Authority
from hl7_said import Exam, msh, order, pid, segment, status
from mllp_client import MllpClient, acknowledged
from registry import Registry, status_of
from shared_data import require_shared_data

HL7: Final = "application/hl7-v2"
FINDING: Final = "sender-not-authentic"
TRUSTED: Final = """
unknown = "refuse"
[[senders]]
name = "evidia"
application = "RISEVIDIA"
certificates = ["ris.evidia.example"]
role = "filler"
[[senders]]
name = "unilabs"
application = "UNIRIS"
certificates = ["ris.unilabs.example"]
role = "filler"
"""
# Samples that ask for an answer of the enhanced mode, or for none (MSH-15, MSH-16).
ENHANCED: Final = {
    "SYNTHETIC_swedish/OMI_O23_new_order_utf8.hl7": "CA",
    "samples/ADT-A40-01.hl7": "",
    "samples/ORU-R01-01.hl7": "CR",
}


def exam(number: int) -> Exam:
    return Exam(f"P{number}", f"A{number}", f"1.2.752.113.99.40.{number}")


def an_order(number: int, **said: Any) -> bytes:
    given = {"control_id": f"N{number}", "time": "20240108080000", "group": f"G{number}"}
    return order(exam(number), **{**given, **said})


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registries.running(tmp_path_factory.mktemp("senders")) as running:
        yield running


def statuses(registry: Registry, number: int) -> list[str]:
    found = registry.found("Task", **{"focus:ServiceRequest.identifier": f"A{number}"})
    return [status_of(task) for task in found]


# --- certificates -------------------------------------------------------------------------------


class Certified:
    """A server that wants certificates, and the certificates that there are."""

    def __init__(self, registry: Registry, authority: Authority) -> None:
        self.registry = registry
        self._authority = authority

    def context(self, name: str = "", authority: Authority | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._authority.ca)
        if name:
            certificate, key = (authority or self._authority).issue(name, f"DNS:{name}")
            context.load_cert_chain(certificate, key)
        return context

    def send(self, message: bytes, context: ssl.SSLContext | None) -> tuple[str, str]:
        port = self.registry.live.mllp_port
        with MllpClient(port, context=context, timeout_s=10) as connection:
            return acknowledged(connection.send(message))


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certified]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder / "ca")
    certificate, key = authority.issue("server")
    (folder / "exchange.toml").write_text(TRUSTED)
    settings = {
        "mllp_certificate": str(certificate),
        "mllp_key": str(key),
        "mllp_client_ca": str(authority.ca),
        "exchange": str(folder / "exchange.toml"),
    }
    with registries.running(folder, settings) as registry:
        yield Certified(registry, authority)


EVIDIA: Final = ("RISEVIDIA", "EVIDIA")


def test_a_sender_with_its_certificate_is_taken(certified: Certified) -> None:
    context = certified.context("ris.evidia.example")

    assert certified.send(an_order(1, sender=EVIDIA), context) == ("AA", "N1")


def test_without_a_certificate_nothing_is_taken(certified: Certified) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        certified.send(an_order(2, sender=EVIDIA), certified.context())

    assert statuses(certified.registry, 2) == []


def test_without_tls_nothing_is_taken(certified: Certified) -> None:
    with pytest.raises(ConnectionError):
        certified.send(an_order(3, sender=EVIDIA), None)

    assert statuses(certified.registry, 3) == []


def test_a_certificate_of_another_authority_is_not_taken(
    certified: Certified, tmp_path: Path
) -> None:
    context = certified.context("ris.evidia.example", Authority(tmp_path))

    with pytest.raises((ssl.SSLError, ConnectionError)):
        certified.send(an_order(4, sender=EVIDIA), context)

    assert statuses(certified.registry, 4) == []


def test_a_message_in_the_name_of_another_sender_is_refused_and_a_finding(
    certified: Certified,
) -> None:
    context = certified.context("ris.unilabs.example")

    answer = certified.send(an_order(5, sender=EVIDIA), context)

    findings = certified.registry.found("DetectedIssue", code=FINDING)
    assert (answer, statuses(certified.registry, 5)) == (("AR", "N5"), [])
    assert ["evidia" in finding["detail"] for finding in findings] == [True]


def test_an_unknown_sender_is_refused_where_that_is_configured(certified: Certified) -> None:
    context = certified.context("ris.evidia.example")

    answer = certified.send(an_order(6, sender=("NOBODY", "NOWHERE")), context)

    assert (answer, statuses(certified.registry, 6)) == (("AR", "N6"), [])


def test_over_http_no_sender_with_a_certificate_can_be_claimed(certified: Certified) -> None:
    registry = certified.registry
    url = f"{registry.live.origin}/hl7v2"
    message = an_order(7, sender=EVIDIA)

    answer = registry.http("POST", url, content=message, headers={"Content-Type": HL7})

    assert (acknowledged(answer.content), statuses(registry, 7)) == (("AR", "N7"), [])


# --- over HTTP ----------------------------------------------------------------------------------


def test_a_message_over_http_is_acknowledged_and_seen(registry: Registry) -> None:
    url = f"{registry.live.origin}/hl7v2"

    answer = registry.http("POST", url, content=an_order(10), headers={"Content-Type": HL7})

    assert (answer.status_code, answer.headers["content-type"]) == (200, HL7)
    assert acknowledged(answer.content) == ("AA", "N10")
    assert statuses(registry, 10) == ["received"]


def test_another_media_type_over_http_is_refused(registry: Registry) -> None:
    url = f"{registry.live.origin}/hl7v2"

    answer = registry.http("POST", url, content=an_order(11), headers={"Content-Type": "text/xml"})

    assert (answer.status_code, statuses(registry, 11)) == (415, [])


# --- forms of messages --------------------------------------------------------------------------


def exchanged(registry: Registry, data: bytes) -> bytes:
    with MllpClient(registry.live.mllp_port) as connection:
        return connection.send(data)


def test_each_message_of_a_batch_is_acknowledged(registry: Registry) -> None:
    bad = an_order(21).replace(b"PID|", b"ZZZ|")
    batch = b"\r".join([b"FHS|^~\\&", b"BHS|^~\\&", an_order(20) + bad + an_order(22) + b"BTS|3"])

    answer = exchanged(registry, batch)

    said = [line.split(b"|")[1:3] for line in answer.split(b"\r") if line.startswith(b"MSA|")]
    assert said == [[b"AA", b"N20"], [b"AE", b"N21"], [b"AA", b"N22"]]
    assert [statuses(registry, n) for n in (20, 21, 22)] == [["received"], [], ["received"]]


@pytest.mark.parametrize(("number", "end"), [(30, b"\n"), (31, b"\r\n")], ids=["LF", "CR LF"])
def test_other_line_ends_are_understood(registry: Registry, number: int, end: bytes) -> None:
    message = an_order(number).replace(b"\r", end)

    assert acknowledged(exchanged(registry, message)) == ("AA", f"N{number}")
    assert statuses(registry, number) == ["received"]


def in_charset(number: int, declared: str, encoding: str) -> bytes:
    person = pid(f"LOCAL{number}", oid="1.2.752.113.99.40", name="Åström^Örjan Ärlig")
    text = an_order(number, patient=person).decode()
    return text.replace("UNICODE UTF-8", declared).encode(encoding)


@pytest.mark.parametrize(
    ("number", "declared", "encoding", "doubts"),
    [
        (40, "UNICODE UTF-8", "utf-8", 0),
        (41, "8859/1", "latin-1", 0),
        (42, "", "utf-8", 0),
        (43, "", "latin-1", 0),
        (44, "UNICODE UTF-8", "latin-1", 1),
        (45, "ASCII", "utf-8", 1),
        (46, "NO-SUCH-SET", "latin-1", 1),
    ],
    ids=[
        "UTF-8",
        "Latin-1",
        "UTF-8, undeclared",
        "Latin-1, undeclared",
        "Latin-1 declared as UTF-8",
        "UTF-8 declared as ASCII",
        "declared as nothing known",
    ],
)
def test_swedish_letters_are_read_and_a_wrong_declaration_is_a_finding(
    registry: Registry, number: int, declared: str, encoding: str, doubts: int
) -> None:
    message = in_charset(number, declared, encoding)

    answer = acknowledged(exchanged(registry, message))

    number_of = f"urn:oid:1.2.752.113.99.40|LOCAL{number}"
    (patient,) = registry.found("Patient", identifier=number_of)
    findings = registry.found(
        "DetectedIssue", **{"code": "charset-wrong", "patient.identifier": number_of}
    )
    name = patient["name"][0]
    assert (answer, name["family"], name["given"]) == (
        ("AA", f"N{number}"),
        "Åström",
        ["Örjan", "Ärlig"],
    )
    assert len(findings) == doubts


@pytest.mark.parametrize(
    "garbage",
    [
        b"MSH",
        b"MSH|",
        b"MSH|^~\\&",
        b"MSH|^~\\&|" + b"|" * 500,
        b"MSH|^~\\&|\x00\x01\xff\xfe|\x80" + bytes(range(32, 256)) * 4,
        an_order(50).replace(b"OBR|", b"\x00\xff|" * 20),
        an_order(51)[:-150],
        an_order(52).replace(b"20240108080000", b"20249908080000"),
        msh("ORM^O01", "", "20240101").encode() + b"\r" + pid().encode() + b"\r",
    ],
    ids=["name", "bar", "header", "bars", "bytes", "zeros", "cut off", "time", "no control id"],
)
def test_garbage_is_answered_and_the_next_message_is_taken(
    registry: Registry, garbage: bytes
) -> None:
    with MllpClient(registry.live.mllp_port) as connection:
        answer = connection.send(garbage)
        after = acknowledged(connection.send(an_order(59)))

    assert acknowledged(answer)[0] in ("AA", "AE", "AR")
    assert after == ("AA", "N59")


def test_unknown_segments_and_escapes_are_tolerated(registry: Registry) -> None:
    procedure = r"83300^CT \T\ Thorax \X41\^KVÅ"
    said = Exam("P60", "A60", "1.2.752.113.99.40.60", procedure=procedure)
    message = order(said, control_id="N60", time="20240108080000", group="G60")
    message += (segment("ZXX", {1: "anything", 40: "^~&"}) + "\r").encode()

    assert acknowledged(exchanged(registry, message)) == ("AA", "N60")

    found = registry.found("ServiceRequest", identifier="A60", intent="filler-order")
    assert [one["code"]["coding"][0]["display"] for one in found] == ["CT & Thorax A"]


# --- samples of others --------------------------------------------------------------------------


def answer_of(answer: bytes) -> tuple[str, int, str, int]:
    """MSA-1, the code of ERR-3, segment and field of ERR-2."""
    lines = [line.split("|") for line in answer.decode().split("\r") if line]
    code = next(line[1] for line in lines if line[0] == "MSA")
    for line in lines:
        if line[0] == "ERR":
            # before version 2.5 all of it stands in ERR-1
            place, reason = line[2:4] if len(line) > 3 else line[1].rsplit("^", 1)
            segment_name, _, field = [*place.split("^"), "", ""][:3]
            return code, int(re.split("[&^]", reason)[0]), segment_name, int(field or 0)
    return code, 0, "", 0


def test_every_sample_gets_its_acknowledgement_and_the_server_lives_on(
    registry: Registry,
) -> None:
    require_shared_data()
    answers, expected = {}, {}
    with MllpClient(registry.live.mllp_port) as connection:
        for name in hl7_samples.names():
            connection.write((hl7_samples.FOLDER / name).read_bytes())
            wanted = hl7_samples.ANSWERS.get(name, hl7_samples.OK)
            mode = ENHANCED.get(name, wanted[0])
            if mode:
                answers[name] = answer_of(connection.read())
                expected[name] = (mode, *wanted[1:])
        after = acknowledged(connection.send(an_order(90)))

    assert answers == expected
    assert after == ("AA", "N90")


# --- what failed is put right -------------------------------------------------------------------


def hl7(registry: Registry, *arguments: str) -> subprocess.CompletedProcess[str]:
    live = registry.live
    return commands.run(["hl7", *arguments, "--data", str(live.data)], live.environment)


def test_a_message_that_failed_is_fixed_by_configuration_and_replayed(registry: Registry) -> None:
    # this sender has its accession numbers in a field of its own, and no others
    said = order(
        Exam("", "", "", procedure="83300^CT Thorax^KVÅ"),
        control_id="N95",
        time="20240108080000",
        group="",
        sender=("ODD", "ODD"),
    )
    message = b"".join(re.findall(rb"(?:MSH|PID|ORC|OBR).*?\r", said)) + b"ZOD|A95\r"
    assert registry.send(message) == [("AE", "N95")]
    file = registry.live.data.parent / "odd.toml"
    file.write_text(
        '[[senders]]\nname = "odd"\napplication = "ODD"\n[senders.fields]\naccession = "ZOD-1"\n'
    )

    configured = hl7(registry, "configure", str(file))
    failed = hl7(registry, "inspect", "--state", "failed", "--control-id", "N95")
    replayed = hl7(registry, "replay", failed.stdout.split()[0])

    assert (configured.returncode, replayed.returncode, replayed.stdout) == (0, 0, "read anew 1\n")
    assert statuses(registry, 95) == ["received"]


def test_a_status_is_told_of_an_exam_that_came_by_replay(registry: Registry) -> None:
    registry.told(an_order(96))
    listed = hl7(registry, "inspect", "--control-id", "N96")

    registry.told(status(exam(96), codes=("SC", "CM", "N"), control_id="S96", time="20240110"))
    hl7(registry, "replay", listed.stdout.split()[0])

    assert statuses(registry, 96) == ["performed"]
