"""Event reports over WebSockets (PS3.18 sections 8.10 and 11.13)."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from live import Live, running
from workitems_said import (
    FILTERED_WORKLIST,
    JSON,
    PUSH,
    WORKLIST,
    a_workitem,
    coded,
    new_uid,
    performed,
    progress,
    state,
    text,
)

WAIT_S = 10.0
SILENCE_S = 0.6
STATE_REPORT, CANCEL_REQUESTED, PROGRESS, STATUS_CHANGE, ASSIGNED = 1, 2, 3, 4, 5

Report = dict[str, Any]


def post(client: httpx2.Client, path: str, dataset: Any = None) -> httpx2.Response:
    answer = client.post(
        path,
        content=None if dataset is None else json.dumps(dataset),
        headers={"Content-Type": JSON},
    )
    return answer.raise_for_status()


def create(client: httpx2.Client, workitem: str | None = None, **attributes: Any) -> str:
    workitem = workitem or new_uid()
    post(client, f"/workitems?{workitem}", a_workitem(**attributes))
    return workitem


def change(client: httpx2.Client, workitem: str, requested: str, transaction: str) -> None:
    path, dataset = f"/workitems/{workitem}/state", json.dumps(state(requested, transaction))
    client.put(path, content=dataset, headers={"Content-Type": JSON}).raise_for_status()


class Reader:
    """A subscriber with a connection."""

    def __init__(self, client: httpx2.Client, aet: str, connection: ClientConnection) -> None:
        self.client, self.aet, self.connection = client, aet, connection

    def subscribe(self, workitem: str, **query: str) -> None:
        self.client.post(
            f"/workitems/{workitem}/subscribers/{self.aet}", params=query
        ).raise_for_status()

    def next(self) -> Report:
        return dict(json.loads(self.connection.recv(WAIT_S)))

    def told(self, count: int) -> list[tuple[str, int, str]]:
        """Workitem, event type and state of the next events."""
        return [summary(self.next()) for _ in range(count)]

    @property
    def is_silent(self) -> bool:
        try:
            self.connection.recv(SILENCE_S)
        except TimeoutError:
            return True
        return False


def summary(report: Report) -> tuple[str, int, str]:
    states = report.get("00741000", {}).get("Value", [""])
    return report["00001000"]["Value"][0], report["00001002"]["Value"][0], states[0]


def is_silent_again(client: httpx2.Client, aet: str) -> bool:
    with connect(channel(client, aet)) as again:
        return Reader(client, aet, again).is_silent


def eventually(condition: Callable[[], bool]) -> bool:
    return any(condition() for _ in range(10))


def channel(client: httpx2.Client, aet: str) -> str:
    base = str(client.base_url).replace("http", "ws", 1).rstrip("/")
    return f"{base}/ws/subscribers/{aet}"


@pytest.fixture
def reader(client: httpx2.Client) -> Iterator[Reader]:
    aet = f"R{new_uid()[-14:]}"
    with connect(channel(client, aet)) as connection:
        reader = Reader(client, aet, connection)
        yield reader
        client.delete(f"/workitems/{WORKLIST}/subscribers/{aet}")


def test_ups_56_the_url_of_a_subscription_opens_a_connection(client: httpx2.Client) -> None:
    answer = post(client, f"/workitems/{create(client)}/subscribers/READER56")
    with connect(answer.headers["Content-Location"]) as connection:
        assert json.loads(connection.recv(WAIT_S))


def test_ups_57_a_subscriber_is_told_how_it_is_now(client: httpx2.Client, reader: Reader) -> None:
    workitem = create(client)
    reader.subscribe(workitem)
    assert reader.told(1) == [(workitem, STATE_REPORT, "SCHEDULED")]


def test_ups_57_who_subscribes_again_is_told_again(client: httpx2.Client, reader: Reader) -> None:
    workitem = create(client)
    for _ in range(2):
        reader.subscribe(workitem)
    assert reader.told(2) == [(workitem, STATE_REPORT, "SCHEDULED")] * 2


def test_ups_58_a_report_is_one_data_set(client: httpx2.Client, reader: Reader) -> None:
    reader.subscribe(create(client))
    report = reader.next()
    assert report["00000002"] == {"vr": "UI", "Value": [PUSH]}
    assert {"00000110", "00001000", "00001002", "00404041", "00741000"} <= report.keys()


def test_ups_59_states_are_reported_in_order(client: httpx2.Client, reader: Reader) -> None:
    workitem, transaction = create(client), new_uid()
    reader.subscribe(workitem)
    change(client, workitem, "IN PROGRESS", transaction)
    post(client, f"/workitems/{workitem}?{transaction}", performed())
    change(client, workitem, "COMPLETED", transaction)
    states = [told for _, _, told in reader.told(3)]
    assert states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]


def test_ups_60_a_cancellation_that_is_asked_for_is_reported(
    client: httpx2.Client, reader: Reader
) -> None:
    workitem, transaction = create(client), new_uid()
    change(client, workitem, "IN PROGRESS", transaction)
    reader.subscribe(workitem)
    reader.next()
    reason = {
        "00741238": text("LT", "no longer needed"),
        "0074100C": text("LO", "Ward 7"),
        "0074100A": text("UR", "tel:+4631"),
    }
    post(client, f"/workitems/{workitem}/cancelrequest?requester=WARD7", reason)
    report = reader.next()
    assert summary(report)[1] == CANCEL_REQUESTED
    assert report["00741236"] == {"vr": "AE", "Value": ["WARD7"]}
    assert {tag: report[tag] for tag in reason} == reason


def test_ups_61_progress_is_reported(client: httpx2.Client, reader: Reader) -> None:
    workitem, transaction = create(client), new_uid()
    change(client, workitem, "IN PROGRESS", transaction)
    reader.subscribe(workitem)
    reader.next()
    post(client, f"/workitems/{workitem}?{transaction}", progress(40))
    report = reader.next()
    assert summary(report)[1] == PROGRESS
    assert report["00741002"]["Value"][0]["00741004"]["Value"] == [40]


def test_ups_62_who_is_to_do_it_is_reported(client: httpx2.Client, reader: Reader) -> None:
    workitem = create(client)
    reader.subscribe(workitem)
    reader.next()
    post(client, f"/workitems/{workitem}", {"00404025": coded("READER1")})
    report = reader.next()
    assert (summary(report)[1], report["00404025"]) == (ASSIGNED, coded("READER1"))


def test_ups_63_readiness_is_reported(client: httpx2.Client, reader: Reader) -> None:
    workitem = create(client, T00404041=text("CS", "INCOMPLETE"))
    reader.subscribe(workitem)
    reader.next()
    post(client, f"/workitems/{workitem}", {"00404041": text("CS", "READY")})
    report = reader.next()
    assert (summary(report)[1], report["00404041"]["Value"]) == (STATE_REPORT, ["READY"])


def test_ups_64_a_cancelled_schedule_is_two_reports(client: httpx2.Client, reader: Reader) -> None:
    workitem = create(client)
    reader.subscribe(workitem)
    reader.next()
    post(client, f"/workitems/{workitem}/cancelrequest")
    assert [told for _, _, told in reader.told(2)] == ["IN PROGRESS", "CANCELED"]


def test_ups_65_a_new_workitem_is_reported_to_the_worklist(
    client: httpx2.Client, reader: Reader
) -> None:
    reader.subscribe(WORKLIST)
    workitem = create(client)
    change(client, workitem, "IN PROGRESS", new_uid())
    told = [each for each in reader.told(2) if each[0] == workitem]
    assert [state for _, _, state in told] == ["SCHEDULED", "IN PROGRESS"]


def test_ups_66_with_a_lock_all_that_is_here_is_reported(
    client: httpx2.Client, reader: Reader
) -> None:
    made = {create(client) for _ in range(3)}
    reader.subscribe(WORKLIST, deletionlock="true")
    seen: set[str] = set()
    while not made <= seen:
        seen.add(summary(reader.next())[0])


def test_ups_67_without_a_lock_only_what_happens_is_reported(
    client: httpx2.Client, reader: Reader
) -> None:
    workitem = create(client)
    reader.subscribe(WORKLIST)
    assert reader.is_silent
    change(client, workitem, "IN PROGRESS", new_uid())
    assert reader.told(1) == [(workitem, STATE_REPORT, "IN PROGRESS")]


def test_ups_68_who_suspends_hears_of_nothing_new(client: httpx2.Client, reader: Reader) -> None:
    old = create(client)
    reader.subscribe(WORKLIST)
    post(client, f"/workitems/{WORKLIST}/subscribers/{reader.aet}/suspend")
    create(client)
    change(client, old, "IN PROGRESS", new_uid())
    assert reader.told(1) == [(old, STATE_REPORT, "IN PROGRESS")]


def test_ups_69_who_unsubscribes_hears_nothing(client: httpx2.Client, reader: Reader) -> None:
    workitem = create(client)
    reader.subscribe(WORKLIST)
    reader.subscribe(workitem)
    reader.next()
    client.delete(f"/workitems/{WORKLIST}/subscribers/{reader.aet}").raise_for_status()
    change(client, workitem, "IN PROGRESS", new_uid())
    assert reader.is_silent


def test_ups_70_who_unsubscribes_from_one_hears_no_more_of_it(
    client: httpx2.Client, reader: Reader
) -> None:
    workitem = create(client)
    reader.subscribe(workitem)
    reader.next()
    client.delete(f"/workitems/{workitem}/subscribers/{reader.aet}").raise_for_status()
    change(client, workitem, "IN PROGRESS", new_uid())
    assert reader.is_silent


def test_ups_70_one_is_left_out_of_the_worklist(client: httpx2.Client, reader: Reader) -> None:
    workitem = create(client)
    reader.subscribe(WORKLIST)
    client.delete(f"/workitems/{workitem}/subscribers/{reader.aet}").raise_for_status()
    change(client, workitem, "IN PROGRESS", new_uid())
    assert reader.is_silent


def test_ups_73_only_what_passes_the_filter_is_reported(
    client: httpx2.Client, reader: Reader
) -> None:
    reader.subscribe(FILTERED_WORKLIST, filter="ProcedureStepLabel=AI,InputReadinessState=READY")
    create(client)
    wanted = create(client, T00741204=text("LO", "AI"))
    assert reader.told(1) == [(wanted, STATE_REPORT, "SCHEDULED")]
    assert reader.is_silent


def test_what_happened_while_away_is_told(client: httpx2.Client) -> None:
    aet, workitem = f"R{new_uid()[-14:]}", create(client)
    post(client, f"/workitems/{workitem}/subscribers/{aet}")
    change(client, workitem, "IN PROGRESS", new_uid())
    with connect(channel(client, aet)) as connection:
        reader = Reader(client, aet, connection)
        assert [state for _, _, state in reader.told(2)] == ["SCHEDULED", "IN PROGRESS"]


def test_what_a_lost_connection_may_not_have_carried_is_told_again(client: httpx2.Client) -> None:
    aet, workitem = f"R{new_uid()[-14:]}", create(client)
    post(client, f"/workitems/{workitem}/subscribers/{aet}")
    with connect(channel(client, aet)) as lost:
        first = json.loads(lost.recv(WAIT_S))
        lost.socket.shutdown(socket.SHUT_RDWR)
    with connect(channel(client, aet)) as again:
        assert json.loads(again.recv(WAIT_S)) == first


def test_what_was_told_before_a_close_in_good_order_is_not_repeated(client: httpx2.Client) -> None:
    aet, workitem = f"R{new_uid()[-14:]}", create(client)
    post(client, f"/workitems/{workitem}/subscribers/{aet}")
    with connect(channel(client, aet)) as connection:
        connection.recv(WAIT_S)
    # the server notes it just after the connection is closed
    assert eventually(lambda: is_silent_again(client, aet))


def test_two_connections_of_one_subscriber_hear_the_same(client: httpx2.Client) -> None:
    aet, workitem = f"R{new_uid()[-14:]}", create(client)
    with connect(channel(client, aet)) as one, connect(channel(client, aet)) as other:
        post(client, f"/workitems/{workitem}/subscribers/{aet}")
        assert one.recv(WAIT_S) == other.recv(WAIT_S)


@pytest.mark.parametrize("origin", ["https://elsewhere.example.org", "null"])
def test_pages_from_elsewhere_hear_nothing(client: httpx2.Client, origin: str) -> None:
    with pytest.raises(InvalidStatus), connect(channel(client, "READER"), origin=Origin(origin)):
        pass


def test_pages_of_this_machine_hear_events(client: httpx2.Client) -> None:
    aet = f"R{new_uid()[-14:]}"
    origin = Origin("http://localhost:3000")
    with connect(channel(client, aet), origin=origin) as connection:
        post(client, f"/workitems/{create(client)}/subscribers/{aet}")
        assert connection.recv(WAIT_S)


@pytest.mark.parametrize("path", ["/ws/subscribers/ABCDEFGHIJKLMNOPQ", "/ws/nothing"])
def test_what_is_no_channel_is_refused(client: httpx2.Client, path: str) -> None:
    url = channel(client, "X").removesuffix("/ws/subscribers/X") + path
    with pytest.raises(InvalidStatus), connect(url):
        pass


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    settings: Mapping[str, str] = {"workers": "2"}
    with running(tmp_path_factory.mktemp("workers"), settings) as live:
        yield live


def test_events_reach_connections_of_every_process(two_workers: Live) -> None:
    aets = [f"R{number}" for number in range(8)]
    with ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=two_workers.url, timeout=60))
        connections = [stack.enter_context(connect(channel(client, aet))) for aet in aets]
        for aet in aets:
            post(client, f"/workitems/{WORKLIST}/subscribers/{aet}")
        workitem = create(client)
        heard = [first_of_a_workitem(each) for each in connections]
        assert heard == [workitem] * len(aets)


def first_of_a_workitem(connection: ClientConnection) -> str:
    """What its first event is about, but for that the service has started."""
    while True:
        uid = summary(json.loads(connection.recv(WAIT_S)))[0]
        if uid != WORKLIST:
            return uid


def test_ups_78_events_survive_the_server_which_says_that_it_restarted(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.start()
    try:
        with httpx2.Client(base_url=live.url, timeout=60) as client:
            workitem = create(client)
            post(client, f"/workitems/{workitem}/subscribers/READER")
            change(client, workitem, "IN PROGRESS", new_uid())
            live.kill()
            live.start()
            with connect(channel(client, "READER")) as connection:
                reader = Reader(client, "READER", connection)
                told = reader.told(3)
        assert [state for _, _, state in told[:2]] == ["SCHEDULED", "IN PROGRESS"]
        assert told[2][:2] == (WORKLIST, STATUS_CHANGE)
    finally:
        live.stop()
