"""Associations with the server's application entity (PS3.7, PS3.8), by way of pynetdicom.

pynetdicom is the extra `dimse`: without it every case that needs an association is skipped.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicomweb_conformance.exchanges import Exchange
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import NotClaimed, Unmet, Violated, expect

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

T = TypeVar("T")

AE_TITLE: Final = "CONFORMANCE"
TIMEOUT_S: Final = 20
PLAIN: Final = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
SUCCESS: Final = 0x0000
_CANNOT_UNDERSTAND: Final = 0xC000  # of C-STORE (PS3.4 section B.2.3)
PENDING: Final = frozenset({0xFF00, 0xFF01})


@dataclass(frozen=True, slots=True)
class Context:
    """A presentation context to propose."""

    abstract_syntax: str
    transfer_syntaxes: Sequence[str] = PLAIN
    as_scp: bool = False  # what the server sends of it comes here (C-GET)


@dataclass(frozen=True, slots=True)
class Found:
    """What came back of a C-FIND."""

    status: int
    identifiers: list[Dataset]


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What came back of a C-GET or a C-MOVE."""

    status: int
    completed: int | None = None
    failed: int | None = None
    datasets: list[Dataset] = field(default_factory=list)


@dataclass(slots=True)
class Dialogue:
    """An open association; its methods say in words what was exchanged."""

    association: "Association"
    received: list[Dataset]
    said: list[tuple[str, str]] = field(default_factory=list)
    heard: float = field(default_factory=time.monotonic)  # when the server last said something

    def accepts(self, abstract_syntax: str) -> list[str]:
        """The transfer syntaxes that were accepted for it, as SCU."""
        return [
            str(context.transfer_syntax[0])
            for context in self.association.accepted_contexts
            if context.abstract_syntax == abstract_syntax
        ]

    def require(self, abstract_syntax: str, name: str) -> None:
        """Raises NotClaimed: the service was not accepted."""
        if not self.accepts(abstract_syntax):
            raise NotClaimed(f"{name} is not accepted")

    def echo(self) -> int:
        return self._status("C-ECHO", self.association.send_c_echo())

    def store(self, dataset: Dataset) -> int:
        return self._status("C-STORE", self.association.send_c_store(dataset))

    def find(self, model: str, identifier: Dataset) -> Found:
        level = identifier.get("QueryRetrieveLevel", "worklist")
        found: list[Dataset] = []
        final: int | None = None
        for answer, match in self.association.send_c_find(identifier, model):
            final = self._number(f"C-FIND {level}", answer)
            if final in PENDING:
                held = match is not None and _can_be_read(match)
                expect(held, f"C-FIND {level}: a match without an identifier that can be read")
                found += [match] if match is not None else []
        return Found(self._final(f"C-FIND {level}", final, len(found)), found)

    def get(self, model: str, identifier: Dataset) -> Retrieved:
        return self._retrieved("C-GET", self.association.send_c_get(identifier, model))

    def move(self, model: str, identifier: Dataset, destination: str) -> Retrieved:
        answers = self.association.send_c_move(identifier, destination, model)
        return self._retrieved("C-MOVE", answers)

    def act(self, information: Dataset, kind: int, sop_class: str, instance: str) -> int:
        """N-ACTION."""
        answer, _ = self.association.send_n_action(information, kind, sop_class, instance)
        return self._status("N-ACTION", answer)

    def _retrieved(
        self, name: str, answers: "Iterator[tuple[Dataset, Dataset | None]]"
    ) -> Retrieved:
        final, last = None, Dataset()
        for answer, _ in answers:
            final, last = self._number(name, answer), answer
        status = self._final(name, final, len(self.received))
        completed = last.get("NumberOfCompletedSuboperations")
        failed = last.get("NumberOfFailedSuboperations")
        return Retrieved(status, completed, failed, list(self.received))

    def _final(self, name: str, status: int | None, count: int) -> int:
        if status is None:
            raise Violated(f"{name}: no response")
        expect(status not in PENDING, f"{name}: no final response")
        self.said.append((name, f"{count} data sets, status 0x{status:04X}"))
        return status

    def _status(self, name: str, answer: Dataset) -> int:
        status = self._number(name, answer)
        self.said.append((name, f"status 0x{status:04X}"))
        return status

    def _number(self, name: str, answer: Dataset) -> int:
        status = answer.get("Status")
        if isinstance(status, int):
            self.heard = time.monotonic()
            return status
        self.said.append((name, "no response"))
        # pynetdicom aborts as well, but not before the time is up
        if time.monotonic() - self.heard < TIMEOUT_S * 0.9:
            # The way in which some servers say that the AE title may not do this.
            raise Unmet(f"{name}: the server ended the association; does it permit {AE_TITLE}?")
        raise Violated(f"{name}: no response")


async def talk(target: Target, contexts: Sequence[Context], work: Callable[[Dialogue], T]) -> T:
    """Runs `work` on an association of its own, in a thread of its own.

    Raises:
        Unmet: pynetdicom is not installed, or there is no association.
    """
    started = time.monotonic()
    said: list[tuple[str, str]] = []

    def run() -> T:
        with _opened(target, contexts) as dialogue:
            dialogue.said = said
            try:
                return work(dialogue)
            except RuntimeError:  # of pynetdicom, where there is no association any more
                if dialogue.association.is_established:
                    raise
                raise Unmet("the server ended the association before it was asked") from None

    try:
        return await asyncio.to_thread(run)
    finally:
        seconds = round(time.monotonic() - started, 3)
        for name, answer in said:
            target.exchanges.append(Exchange(name, {}, "", 0, {}, answer, seconds))


@contextmanager
def _opened(target: Target, contexts: Sequence[Context]) -> Iterator[Dialogue]:
    try:
        from pynetdicom import AE, build_role, evt
    except ImportError:
        reason = "pynetdicom is not installed: pip install 'dicomweb-conformance[dimse]'"
        raise Unmet(reason) from None
    host, port, title = address_of(target.dimse or "")
    received: list[Dataset] = []
    entity = AE(AE_TITLE)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT_S
    entity.connection_timeout = TIMEOUT_S
    for context in contexts:
        entity.add_requested_context(context.abstract_syntax, list(context.transfer_syntaxes))
    roles = [
        build_role(context.abstract_syntax, scu_role=True, scp_role=True)
        for context in contexts
        if context.as_scp
    ]
    connections: list[socket.socket] = []
    association = entity.associate(
        host,
        port,
        ae_title=title,
        ext_neg=list(roles),
        evt_handlers=[
            (evt.EVT_C_STORE, _kept, [received]),
            (evt.EVT_CONN_OPEN, _connected, [connections]),
        ],
    )
    try:
        if not association.is_established:
            raise Unmet(_why_not(association))
        yield Dialogue(association, received)
    finally:
        if association.is_established:
            association.release()
        # pynetdicom leaves the one open that the server has closed
        for connection in connections:
            connection.close()


def _connected(event: "Event", connections: list[socket.socket]) -> None:
    opened = event.assoc.dul.socket
    if opened is not None and opened.socket is not None:
        connections.append(opened.socket)


def _kept(event: "Event", received: list[Dataset]) -> int:
    dataset = event.dataset
    if not _can_be_read(dataset):
        return _CANNOT_UNDERSTAND
    dataset.file_meta = event.file_meta
    received.append(dataset)
    return SUCCESS


def _can_be_read(dataset: Dataset) -> bool:
    """Values are parsed when they are asked for, which is to raise nothing later on."""
    try:
        dataset.walk(lambda *_: None)
    except Exception:  # whatever pydicom stumbles over, it is the peer's fault
        return False
    return True


def _why_not(association: "Association") -> str:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        reason = answer.reason_str.lower()
        return f"the association was rejected ({reason}): does the server know {AE_TITLE}?"
    # pynetdicom aborts where no context was accepted
    if answer is not None:
        raise NotClaimed("none of the presentation contexts is accepted")
    return "there is no association: nothing answers at --dimse"


def address_of(text: str) -> tuple[str, int, str]:
    """Host, port and AE title of HOST:PORT/AET. Raises Unmet."""
    place, _, title = text.partition("/")
    host, _, port = place.rpartition(":")
    if not (host and port.isdecimal() and title):
        raise Unmet("--dimse is HOST:PORT/AET")
    return host.strip("[]"), int(port), title
