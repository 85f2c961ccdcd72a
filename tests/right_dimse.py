"""A small application entity over the files of the right server, with faults that can be planted.

Where a handler of pynetdicom decides something, a planted fault can decide it otherwise.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext, build_context

from right_server import RightServer

VERIFICATION = "1.2.840.10008.1.1"
STORED = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.88.11",
)
OTHERS = (
    "1.2.840.10008.5.1.4.1.2.1.1",
    "1.2.840.10008.5.1.4.1.2.2.1",
    "1.2.840.10008.5.1.4.1.2.2.2",
    "1.2.840.10008.5.1.4.1.2.2.3",
    "1.2.840.10008.1.20.1",
    "1.2.840.10008.5.1.4.31",
)
PLAIN = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
DEFLATED, RLE, JPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"
C_GET_RESPONSE = 0x8010
UNIQUE = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}


def contexts_of(*classes: str, plain: Sequence[str] = PLAIN) -> list[PresentationContext]:
    """What is offered of these classes, or of all."""
    offered = []
    for each in classes or (VERIFICATION, *OTHERS, *STORED):
        syntaxes = [*plain, DEFLATED, RLE, JPEG] if each in STORED else list(plain)
        made = build_context(each, syntaxes)
        if each in STORED:
            made.scu_role = made.scp_role = True
        offered.append(made)
    return offered


@dataclass
class Faults:
    """What is done otherwise than rightly."""

    status: dict[str, int] = field(default_factory=dict)  # final status, by message
    matches: Callable[[list[Dataset]], list[Dataset]] = list  # of C-FIND
    sent: Callable[[list[Dataset]], list[Dataset]] = list  # by C-GET
    stored: Callable[[Dataset], Any] = lambda dataset: None  # changes what C-STORE keeps
    command: Callable[[Dataset], Any] = lambda command: None  # changes the last one of C-GET
    ends: str = ""  # the message at which the association is aborted
    delay_s: float = 0.0


@dataclass
class RightEntity:
    """Listens on a free port until it is closed."""

    web: RightServer = field(default_factory=RightServer)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        entity = AE("RIGHT")
        entity.supported_contexts = contexts_of()
        handlers: list[Any] = [
            (evt.EVT_C_ECHO, lambda event: self._status("C-ECHO", event)),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_GET, self._get),
            (evt.EVT_C_MOVE, self._move),
            (evt.EVT_N_ACTION, self._act),
            (evt.EVT_DIMSE_SENT, self._leaving),
        ]
        self._listening: Any = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=handlers
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listening.socket.getsockname()[1]}/RIGHT"

    def close(self) -> None:
        self._listening.shutdown()

    def become(self, web: RightServer, faults: Faults | None = None) -> None:
        """Right again, over the files of `web`, but for the faults."""
        self.web, self.faults = web, faults or Faults()
        self.offer(contexts_of())

    def offer(self, contexts: list[PresentationContext]) -> None:
        self._listening.contexts = contexts

    def _status(self, message: str, event: Event, right: int = 0x0000) -> int:
        time.sleep(self.faults.delay_s)
        if self.faults.ends == message:
            event.assoc.abort()
        return self.faults.status.get(message, right)

    def _datasets(self) -> list[Dataset]:
        return [pydicom.dcmread(BytesIO(file)) for file in self.web.files.values()]

    def _store(self, event: Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.faults.stored(dataset)
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        self.web.files[str(dataset.SOPInstanceUID)] = buffer.getvalue()
        return self._status("C-STORE", event)

    def _find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        level = str(identifier.get("QueryRetrieveLevel", ""))
        if level not in UNIQUE and "ScheduledProcedureStepSequence" not in identifier:
            yield self.faults.status.get("level", 0xA900), None
            return
        matches = [] if level not in UNIQUE else _matches(self._datasets(), identifier, level)
        for match in self.faults.matches(matches):
            yield 0xFF00, match
        final = self._status("C-FIND", event)
        if final:
            yield final, None

    def _get(self, event: Event) -> Iterator[Any]:
        identifier = event.identifier
        found = [each for each in self._datasets() if _is_below(each, identifier)]
        sent = self.faults.sent(found)
        yield len(sent)
        status = self._status("C-GET", event)
        if status:
            yield status, None
            return
        for dataset in sent:
            yield 0xFF00, dataset

    def _leaving(self, event: Event) -> None:
        """Not yet encoded, despite the name that pynetdicom gives the event."""
        command = event.message.command_set
        if command.CommandField == C_GET_RESPONSE and command.Status != 0xFF00:
            self.faults.command(command)

    def _move(self, event: Event) -> Iterator[Any]:
        status = self._status("C-MOVE", event, right=0xA801)
        if status >> 12 == 0xC:
            raise RuntimeError("pynetdicom answers 0xC511")
        if status != 0xA801:
            # a destination of which nothing comes
            yield "127.0.0.1", 1
            yield 0
            yield status, None
            return
        yield None, None

    def _act(self, event: Event) -> tuple[int, Dataset | None]:
        return self._status("N-ACTION", event), None


def _is_below(dataset: Dataset, identifier: Dataset) -> bool:
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return all(
        not identifier.get(each) or identifier[each].value == dataset[each].value for each in uids
    )


def _matches(datasets: list[Dataset], identifier: Dataset, level: str) -> list[Dataset]:
    """One for each entity of that level that has the values of the identifier."""
    found: dict[str, Dataset] = {}
    for dataset in datasets:
        if not all(_is_like(dataset, element) for element in identifier if element.value):
            continue
        match = Dataset()
        match.SpecificCharacterSet = "ISO_IR 192"
        for element in identifier:
            if element.keyword in dataset and element.keyword != "SpecificCharacterSet":
                match[element.tag] = dataset[element.tag]
        match.QueryRetrieveLevel = level
        found.setdefault(str(dataset[UNIQUE[level]].value), match)
    return list(found.values())


def _is_like(dataset: Dataset, element: pydicom.DataElement) -> bool:
    if element.keyword in ("SpecificCharacterSet", "QueryRetrieveLevel"):
        return True
    if element.keyword not in dataset:
        return False
    wanted, value = str(element.value), str(dataset[element.tag].value)
    if isinstance(element.value, UID) or not wanted.endswith("*"):
        return wanted == value
    return value.startswith(wanted[:-1])
