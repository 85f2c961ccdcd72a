"""Whatever a server answers is the server's fault: no answer brings the suite itself down."""

import copy
import socketserver
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final

import httpx2
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

import right_search
import right_store
from dicomweb_conformance import notifications, running
from dicomweb_conformance.cases import CHAPTERS, find, select
from dicomweb_conformance.chapters import (
    commitment,
    non_patient,
    worklist_cancellation,
    worklist_events,
    worklist_search,
)
from dicomweb_conformance.target import Target, open_client
from dicomweb_conformance.verdicts import Outcome
from garbage import GARBAGE, ONE_ANSWER, drawn
from planted_faults import Peer, ids_of, judged, judged_by_each
from right_dimse import Faults, RightEntity
from right_pictures import server_with
from right_server import BASE, RightServer
from right_services import Services, scheduled_step
from right_uri import WADO, server_with_uri_service
from right_worklist import Event, Worklist

DRAWN: Final = 3
# DIM asks nothing by HTTP.
BY_HTTP: Final = [case.id for case in select(set(CHAPTERS) - {"DIM"})]


# What passes all the same, and why that is right.
PASSES_ON: Final[dict[str, set[str]]] = {
    # the claims were read before
    "CAP-04": set(ONE_ANSWER),
    "CAP-08": set(ONE_ANSWER) - {"404"},
    "CAP-09": set(ONE_ANSWER),
    # of headers alone, and these are right
    "COM-22": {"a page", "an empty object"},
    # JSON that is not in parts, and in an array; what is in it, others judge
    "MET-08": {"an empty object"},
    "ENC-14": {"an empty object"},
    "ENC-15": {"an empty object"},
    # of the status alone; NPI-02 retrieves what was stored
    "NPI-01": {"a page", "an empty object"},
}


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "EVENT_WAIT_S", 0.05)
    monkeypatch.setattr(notifications, "QUIET_S", 0.03)
    monkeypatch.setattr(worklist_events, "_AFTER_THE_END_S", 0)
    monkeypatch.setattr(commitment, "_PATIENCE_S", 0.05)
    for chapter in (worklist_cancellation, worklist_search, non_patient):
        monkeypatch.setattr(chapter, "_POLL_S", 0.01)
        monkeypatch.setattr(chapter, "SETTLE_S", 0.02)


@pytest.fixture(scope="module")
def entity() -> Iterator[RightEntity]:
    listening = RightEntity()
    yield listening
    listening.close()


@asynccontextmanager
async def right(id: str, entity: RightEntity) -> AsyncIterator[dict[str, Any]]:
    """The server that a case of this chapter needs, and where else it is to be found."""
    chapter = find(id).chapter
    if chapter == "UPS":
        items = Worklist()
        async with items.listening():
            yield {"server": items.server()}
    elif chapter == "URI":
        yield {"server": server_with_uri_service(), "wado_uri": WADO}
    elif chapter == "CON":
        entity.become(RightServer())
        yield {"server": entity.web, "dimse": entity.address}
    else:
        yield {"server": _server(chapter)}


def _server(chapter: str) -> RightServer:
    if chapter in ("STW", "QID"):
        routes = right_store.ROUTES if chapter == "STW" else right_search.ROUTES
        return RightServer(routes=list(routes))
    if chapter in ("REN", "THU", "VOL"):
        return server_with("thumbnail", "renderedmpr", "rendered3d")
    if chapter in ("NPI", "CMT", "MSP", "MPP"):
        step = scheduled_step("STATION", "CT", "20240105", "101500")
        return Services(scheduled=[step]).server()
    return RightServer()


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, which reads on
@pytest.mark.parametrize("id", BY_HTTP)
async def test_garbage_is_never_the_suites_fault(id: str, entity: RightEntity) -> None:
    faults = GARBAGE | {f"{id}/{seed}": drawn(f"{id}/{seed}") for seed in range(DRAWN)}
    async with right(id, entity) as fields:
        verdicts = await judged_by_each(id, faults, **fields)

    errors = {name: v.reason for name, v in verdicts.items() if v.outcome is Outcome.ERROR}
    assert errors == {}


@pytest.mark.parametrize("id", BY_HTTP)
async def test_one_answer_to_everything_passes_nothing(id: str, entity: RightEntity) -> None:
    """A case first proves that there is something to miss."""
    async with right(id, entity) as fields:
        verdicts = await judged_by_each(id, ONE_ANSWER, **fields)

    passed = {name for name, verdict in verdicts.items() if verdict.outcome is Outcome.PASS}
    assert passed == PASSES_ON.get(id, set())


@pytest.mark.parametrize("name", sorted(ONE_ANSWER))
async def test_a_run_against_one_answer_to_everything_comes_to_an_end(name: str) -> None:
    """Even what is asked before the cases, and after them."""
    peer = Peer(fault=ONE_ANSWER[name])
    async with open_client(transport=httpx2.MockTransport(peer)) as client:
        target = Target(client, BASE, wado_uri=WADO)
        run = await running.run(target, select(["CAP", "INS", "URI", "MPP"]), run_id="garbage")

    assert run.counts()[Outcome.ERROR] == 0
    assert run.counts()[Outcome.PASS] == 0


@pytest.mark.parametrize(
    "event", ["", "[", "[" * 20_000, "1", "{}", b"{}", '{"00001000": 1, "00001002": {"Value": {}}}']
)
async def test_no_event_report_is_the_suites_fault(event: Event) -> None:
    items = Worklist(tell=lambda _: event)
    outcomes = set()
    async with items.listening():
        for case in select(["UPS"]):
            if 57 <= int(case.id[4:]) <= 73:
                verdict = await judged(case.id, server=items.server())
                outcomes.add(verdict.outcome)

    assert Outcome.ERROR not in outcomes
    assert outcomes & {Outcome.FAIL, Outcome.SKIP}


class Rude(socketserver.BaseRequestHandler):
    """Answers the request for an association with bytes, and closes the connection."""

    says: ClassVar[bytes] = b""

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(self.says)


REJECTION: Final = b"\x03\x00\x00\x00\x00\x04\x00\x01\x01\x03"
ABORT: Final = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x00"


# pynetdicom does not close the socket of a connection that is refused
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400\r\n\r\n", b"\x02\x00\x00", REJECTION, ABORT])
async def test_no_peer_of_dimse_is_the_suites_fault(
    says: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rude, "says", says)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Rude) as peer:
        threading.Thread(target=peer.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{peer.server_address[1]}/RUDE"
        outcomes = {id: (await judged(id, dimse=address)).outcome for id in ids_of("DIM")}
        peer.shutdown()

    assert set(outcomes.values()) <= {Outcome.SKIP, Outcome.NA}, outcomes


def unreadable(datasets: list[Dataset]) -> list[Dataset]:
    """Each with a number that is none, and without what it is asked for by."""
    wrong = [copy.deepcopy(each) for each in datasets]
    for dataset in wrong:
        dataset.pop("SOPInstanceUID", None)
        number = Tag("SeriesNumber")
        dataset[number] = RawDataElement(number, "IS", 2, b"x ", 0, False, True)
    return wrong


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_no_data_set_of_dimse_is_the_suites_fault(entity: RightEntity) -> None:
    entity.become(RightServer(), Faults(matches=unreadable, sent=unreadable))
    outcomes = {
        case.id: await judged(case.id, server=entity.web, dimse=entity.address)
        for case in select(["DIM", "CON"])
    }

    errors = {id: v.reason for id, v in outcomes.items() if v.outcome is Outcome.ERROR}
    assert errors == {}
