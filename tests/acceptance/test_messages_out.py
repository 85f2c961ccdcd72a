"""What the systems of requesters and performers are told of exams and reports."""

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

import registry as registries
from certificates import Authority
from hl7_said import EHR, Exam, order, report, status
from live import free_port
from receivers import Called, HttpReceiver, MllpReceiver, Received, acknowledgement
from registry import Registry, eventually

UNIT: Final = "SE2321000131-P2{:010}"
RECEIVER: Final = """
[[receivers]]
name = "{name}"
kind = "mllp"
host = "127.0.0.1"
port = {port}
for = {{ requesters = ["{unit}"] }}
"""
# ORC-1, ORC-5 and OBR-25 of what `story` comes to.
STORY_TOLD: Final = [
    ("ORM", ("SC", "IP", "O")),
    ("ORM", ("SC", "SC", "S")),
    ("ORM", ("SC", "IP", "I")),
    ("ORM", ("SC", "CM", "N")),
    ("ORM", ("SC", "CM", "F")),
    ("ORU", ("RE", "CM", "F")),
    ("ORM", ("SC", "CM", "F")),
    ("ORU", ("RE", "CM", "F")),
]


class Case:
    """A requesting unit of its own, so that what is told of it goes to its receiver alone."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.port = free_port()
        self.unit = UNIT.format(number)
        self.exam = Exam(f"P{number}-1", f"A{number}", f"1.2.752.113.99.20.{number}")

    def configured(self, *more: str) -> str:
        text = RECEIVER.format(name=self.name, port=self.port, unit=self.unit)
        return "\n".join([text, *more])

    def _said(self, message: bytes) -> bytes:
        return message.replace(b"SE2321000131-E000000000011", self.unit.encode())

    def ordered(self) -> bytes:
        return self._said(
            order(
                self.exam,
                control_id=f"N{self.number}",
                time="20240108080000",
                group=f"G{self.number}",
            )
        )

    def step(self, time: str, *codes: str, sender: tuple[str, str] = EHR) -> bytes:
        control, state, result = codes
        return self._said(
            status(
                self.exam,
                codes=(control, state, result),
                control_id=f"S{self.number}-{time}",
                time=time,
                group=f"G{self.number}",
                sender=sender,
            )
        )

    def reported(self, time: str, text: str) -> bytes:
        return self._said(
            report(
                self.exam,
                text,
                control_id=f"R{self.number}-{time}",
                time=time,
                group=f"G{self.number}",
            )
        )

    def story(self) -> list[bytes]:
        return [
            self.ordered(),
            self.step("20240108090000", "SC", "SC", "S"),
            self.step("20240110091500", "SC", "IP", "I"),
            self.step("20240110093000", "SC", "CM", "N"),
            self.reported("20240110150000", "Utlåtande: u.a."),
            self.reported("20240111100000", "Tilläggssvar: 4 mm nodulus."),
        ]


CASES: Final = {
    name: Case(name, number)
    for number, name in enumerate(
        ("in-order", "down", "refusing", "silent", "beside", "closing", "web", "ehr", "old"),
        start=1,
    )
}


def answered_by_ack(called: Called) -> tuple[int, str, bytes]:
    return 200, "application/hl7-v2", acknowledgement(Received(called.body), "AA")


@pytest.fixture(scope="module")
def web() -> Iterator[HttpReceiver]:
    with HttpReceiver(answered_by_ack) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, web: HttpReceiver) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("out")
    texts = ['[[senders]]\nname = "ehr"\napplication = "EHR"\nrole = "both"\n']
    for case in CASES.values():
        more = {
            "ehr": 'sender = "ehr"',
            "old": 'version = "2.3.1"\ncharset = "8859/1"\nformat = "OMG^O19"',
        }
        if case.name == "web":
            texts.append(
                f'[[receivers]]\nname = "web"\nkind = "http"\nurl = "{web.url}/in"\n'
                f'for = {{ requesters = ["{case.unit}"] }}'
            )
        else:
            texts.append(case.configured(more.get(case.name, "")))
    file = folder / "exchange.toml"
    file.write_text("\n".join(texts))
    with registries.running(folder, {"exchange": str(file)}) as running:
        yield running


def told(messages: list[Received]) -> list[tuple[str, tuple[str, str, str]]]:
    return [(message.kind, message.codes) for message in messages]


def test_a_receiver_is_told_in_order_what_the_exam_came_to(registry: Registry) -> None:
    case = CASES["in-order"]
    with MllpReceiver(case.port) as receiver:
        registry.told(*case.story())

        messages = receiver.wait_for(len(STORY_TOLD))

    assert told(messages) == STORY_TOLD


def test_a_receiver_that_was_down_gets_all_in_order_when_it_comes_up(registry: Registry) -> None:
    case = CASES["down"]
    registry.told(*case.story())
    eventually(registry.live.log.read_text, lambda log: f'"receiver":"{case.name}"' in log)

    with MllpReceiver(case.port) as receiver:
        messages = receiver.wait_for(len(STORY_TOLD))

    assert told(messages) == STORY_TOLD
    # the text of the addendum stands before that of the report
    cumulative = messages[-1].fields("OBX", 5)[-2]
    assert cumulative.index("Tilläggssvar") < cumulative.index("Utlåtande")


def refusing_twice() -> Callable[[Received], str]:
    answers = iter(("AE", "AR"))
    return lambda _: next(answers, "AA")


def test_a_message_that_was_not_accepted_is_sent_again_as_the_same(registry: Registry) -> None:
    case = CASES["refusing"]
    with MllpReceiver(case.port, refusing_twice()) as receiver:
        registry.told(case.ordered(), case.step("20240108090000", "SC", "SC", "S"))

        first, second, third, fourth = receiver.wait_for(4)

    assert first.data == second.data == third.data
    assert (third.codes, fourth.codes) == (("SC", "IP", "O"), ("SC", "SC", "S"))
    assert fourth.control_id != third.control_id


def test_a_receiver_that_does_not_answer_keeps_no_other_waiting(registry: Registry) -> None:
    hanging, beside = CASES["silent"], CASES["beside"]
    with (
        MllpReceiver(hanging.port, lambda _: None) as silent,
        MllpReceiver(beside.port) as receiver,
    ):
        registry.told(hanging.ordered())
        silent.wait_for(1)
        registry.told(beside.ordered())

        messages = receiver.wait_for(1, within_s=5)

    assert told(messages) == STORY_TOLD[:1]


def test_a_receiver_that_closes_after_each_message_gets_the_next_at_once(
    registry: Registry,
) -> None:
    case = CASES["closing"]
    with MllpReceiver(case.port, closes_after_each=True) as receiver:
        registry.told(*case.story())

        messages = receiver.wait_for(len(STORY_TOLD), within_s=6)

    assert told(messages) == STORY_TOLD


def test_a_receiver_over_http_is_told_the_same(registry: Registry, web: HttpReceiver) -> None:
    registry.told(*CASES["web"].story())

    called = web.wait_for(lambda _: True, len(STORY_TOLD))

    assert told([Received(one.body) for one in called]) == STORY_TOLD
    assert {(one.path, one.headers["content-type"]) for one in called} == {
        ("/in", "application/hl7-v2")
    }


def test_a_sender_does_not_hear_of_its_own_events(registry: Registry) -> None:
    case = CASES["ehr"]
    ris = ("RIS", "X")
    with MllpReceiver(case.port) as receiver:
        registry.told(case.ordered(), case.step("20240108090000", "SC", "SC", "S"))
        registry.told(case.step("20240110093000", "SC", "CM", "N", sender=ris))

        messages = receiver.wait_for(1)

    assert [message.codes for message in messages] == [("SC", "CM", "N")]


def test_a_receiver_is_written_to_in_its_own_version_and_character_set(
    registry: Registry,
) -> None:
    case = CASES["old"]
    with MllpReceiver(case.port) as receiver:
        registry.told(case.ordered())

        (message,) = receiver.wait_for(1)

    header = [message.field("MSH", number) for number in (9, 12, 18)]
    assert header == ["OMG^O19^OMG_O19", "2.3.1", "8859/1"]
    assert "VC Hjällbo" in message.field("ORC", 21)


def test_a_receiver_over_tls_sees_our_certificate(tmp_path: Path) -> None:
    case = Case("certified", 51)
    authority = Authority(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost", "DNS:localhost,IP:127.0.0.1"))
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    certificate, key = authority.issue("bfr")
    tls = f'tls = {{ ca = "{authority.ca}", certificate = "{certificate}", key = "{key}" }}'
    (tmp_path / "exchange.toml").write_text(case.configured(tls))
    settings = {"exchange": str(tmp_path / "exchange.toml")}
    with (
        MllpReceiver(case.port, context=context) as receiver,
        registries.running(tmp_path, settings) as registry,
    ):
        registry.told(case.ordered())

        messages = receiver.wait_for(1)

    assert told(messages) == STORY_TOLD[:1]


def test_what_was_acknowledged_is_told_although_the_server_was_killed(tmp_path: Path) -> None:
    case = Case("killed", 50)
    (tmp_path / "exchange.toml").write_text(case.configured())
    got = threading.Event()

    def unanswered(_: Received) -> None:
        got.set()

    settings = {"exchange": str(tmp_path / "exchange.toml")}
    with registries.running(tmp_path, settings) as registry:
        # the first is in the hands of the server when it dies, the others wait behind it
        with MllpReceiver(case.port, unanswered):
            registry.told(*case.story())
            assert got.wait(10)
            registry.live.kill()
        with MllpReceiver(case.port) as receiver:
            registry.live.start()

            messages = receiver.wait_for(len(STORY_TOLD))

    assert told(messages) == STORY_TOLD
