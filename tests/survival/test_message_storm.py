"""kill -9 while messages pour in: nothing that was acknowledged is lost, nothing counts twice."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl7_said import Exam, order, report, status
from live import free_port
from mllp_client import MllpClient, acknowledged
from objects import uid
from registry import PERSONNUMMER, Registry, status_of
from registry import running as running_registry

CONNECTIONS = 8
EXAMS_EACH = 40
KILLS = 4
# The life of an exam: after each message its status.
STATUSES = ("received", "booked", "started", "performed", "signed")
PATIENT = f"{PERSONNUMMER}|191212121212"


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    settings = {"mllp": f"127.0.0.1:{free_port()}"}
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgresql")
        name = f"storm{uid()[-12:]}"
        cluster.create_database(name)
        settings["database_url"] = cluster.url(name)
    with running_registry(tmp_path, settings) as registry:
        yield registry


def an_exam(connection: int, place: int) -> Exam:
    number = connection * EXAMS_EACH + place
    return Exam(f"P{number}", f"ACC{number}", f"1.2.752.113.99.8.{number + 1}")


def life_of(exam: Exam) -> list[bytes]:
    group = f"G{exam.accession}"

    def told(name: str, codes: tuple[str, str, str], at: str) -> bytes:
        control_id = f"{name}{exam.accession}"
        return status(exam, codes=codes, control_id=control_id, time=at, group=group)

    return [
        order(exam, control_id=f"N{exam.accession}", time="20240108080000", group=group),
        told("B", ("SC", "SC", "S"), "20240108090000"),
        told("S", ("SC", "IP", "I"), "20240110091500"),
        told("P", ("SC", "CM", "N"), "20240110093000"),
        report(
            exam,
            f"Utlåtande: {exam.accession}",
            control_id=f"R{exam.accession}",
            time="20240110150000",
            group=group,
        ),
    ]


class Sender(threading.Thread):
    """Sends the lives of its exams, each message again until it is acknowledged, as senders do."""

    def __init__(self, registry: Registry, connection: int) -> None:
        super().__init__(daemon=True)
        self._registry = registry
        self._messages = [
            message
            for place in range(EXAMS_EACH)
            for message in life_of(an_exam(connection, place))
        ]
        self.acknowledged = 0
        self.refused: list[str] = []

    def run(self) -> None:
        while self.acknowledged < len(self._messages):
            try:
                with MllpClient(self._registry.live.mllp_port) as connection:
                    while self.acknowledged < len(self._messages):
                        code, _ = acknowledged(connection.send(self._messages[self.acknowledged]))
                        if code != "AA":
                            self.refused.append(code)
                            return
                        self.acknowledged += 1
            except (OSError, ConnectionError):
                threading.Event().wait(0.05)


def storm(registry: Registry) -> list[Sender]:
    senders = [Sender(registry, connection) for connection in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    total = CONNECTIONS * EXAMS_EACH * len(STATUSES)
    for kill in range(1, KILLS + 1):
        while sum(sender.acknowledged for sender in senders) < total * kill // (KILLS + 1):
            threading.Event().wait(0.005)
            assert any(sender.is_alive() for sender in senders)
        registry.live.kill()
        registry.live.start()
    for sender in senders:
        sender.join(300)
    return senders


def test_a_storm_of_messages_survives_kills(registry: Registry) -> None:
    senders = storm(registry)
    assert [sender.refused for sender in senders] == [[]] * CONNECTIONS

    statuses, events = {}, {}
    for connection in range(CONNECTIONS):
        for place in range(EXAMS_EACH):
            accession = an_exam(connection, place).accession
            (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": accession})
            told = registry.found("Provenance", target=task["focus"]["reference"])
            statuses[accession] = status_of(task)
            events[accession] = len(told)

    assert (set(statuses.values()), set(events.values())) == ({"signed"}, {len(STATUSES)})
    assert len(statuses) == CONNECTIONS * EXAMS_EACH
