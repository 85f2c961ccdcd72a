"""UPS: what each case says of a right worklist, of a faulty one, and where there is none."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import N_CREATE

from dicomweb_conformance import notifications
from dicomweb_conformance.chapters import worklist_cancellation, worklist_events, worklist_search
from dicomweb_conformance.verdicts import Outcome
from dicomweb_conformance.workitems import UPS_PUSH
from planted_faults import (
    Fault,
    body,
    header,
    ids_of,
    instead,
    judged,
    on,
    status,
    when_broken,
)
from right_server import Answer, RightServer, answer
from right_worklist import GLOBAL, Event, Worklist, attribute, first

CHAPTER: Final = "UPS"
CREATE: Final = on("POST", ends="/workitems")
GET_ITEM: Final = on(has="/workitems/")
SEARCH: Final = on(ends="/workitems")
PUT_STATE: Final = on("PUT", ends="/state")
CANCEL: Final = on("POST", ends="/cancelrequest")
SUBSCRIBE: Final = on("POST", has="/subscribers/")
UNSUBSCRIBE: Final = on("DELETE", has="/subscribers/")
When = Callable[[httpx2.Request], bool]


def sent(text: str, when: When) -> When:
    """Such a request whose payload has that text."""
    return lambda request: when(request) and text.encode() in request.content


def lacking(text: str, when: When) -> When:
    return lambda request: when(request) and text.encode() not in request.content


def _is_update(request: httpx2.Request) -> bool:
    path = request.url.path
    return (
        request.method == "POST"
        and path.rpartition("/workitems/")[2].startswith("2.25.")
        and ("/" not in path.rpartition("/workitems/")[2])
    )


UPDATE: Final = _is_update


def nth(number: int, when: When) -> When:
    """The request of that kind with that number, from 1; it counts, hence one for every test."""
    met = {"count": 0}

    def applies(request: httpx2.Request) -> bool:
        if not when(request):
            return False
        met["count"] += 1
        return met["count"] == number

    return applies


def rows(change: Callable[[list[dict[str, Any]]], object], when: When) -> Fault:
    """Changes the datasets of an answer in place."""

    def changed(right: bytes) -> bytes:
        if not right.startswith(b"["):
            return right
        parsed = json.loads(right)
        change(parsed)
        return json.dumps(parsed).encode()

    return body(changed, when)


def leave_out(tag: str) -> Callable[[list[dict[str, Any]]], object]:
    return lambda found: [row.pop(tag, None) for row in found]


def put(tag: str, vr: str, *values: object) -> Callable[[list[dict[str, Any]]], object]:
    return lambda found: [row.update({tag: attribute(vr, *values)}) for row in found]


def unwarned(when: When) -> Fault:
    return header("Warning", None, when)


def accepting(number: int, when: When) -> Fault:
    """Says that it was done, where it was refused."""
    return instead(answer(number, Location="http://right.example/dicomweb/workitems/1"), when)


CLAIM: Final = sent("IN PROGRESS", PUT_STATE)
COMPLETE: Final = sent("COMPLETED", PUT_STATE)
TO_CANCELED: Final = sent("CANCELED", PUT_STATE)
ALL_ITEMS: Final = put("00741000", "CS", "SCHEDULED")

FAULTS: Final[list[tuple[str, Callable[[], Fault]]]] = [
    ("UPS-01", lambda: status(200, CREATE)),
    ("UPS-01", lambda: header("Location", None, CREATE)),
    ("UPS-01", lambda: header("Location", "/dicomweb/workitems/2.25.9", CREATE)),
    ("UPS-01", lambda: status(404, GET_ITEM)),
    ("UPS-03", lambda: status(400, sent("00080018", CREATE))),
    ("UPS-03", lambda: status(404, GET_ITEM)),
    ("UPS-04", lambda: accepting(500, on_without_uid())),
    ("UPS-04", lambda: instead(answer(201), on_without_uid())),
    ("UPS-05", lambda: accepting(201, nth(2, CREATE))),
    ("UPS-05", lambda: rows(put("00741204", "LO", "another"), GET_ITEM)),
    ("UPS-06", lambda: accepting(201, sent("IN PROGRESS", CREATE))),
    ("UPS-06", lambda: status(409, sent("IN PROGRESS", CREATE))),
    ("UPS-07", lambda: accepting(201, lacking("00404005", CREATE))),
    ("UPS-07", lambda: status(500, lacking("00741200", CREATE))),
    ("UPS-08", lambda: accepting(201, sent("URGENT", CREATE))),
    ("UPS-08", lambda: accepting(201, sent("YES", CREATE))),
    ("UPS-09", lambda: unwarned(CREATE)),
    ("UPS-09", lambda: status(500, lacking("00100010", CREATE))),
    ("UPS-10", lambda: status(500, nth(2, CREATE))),
    ("UPS-10", lambda: accepting(201, nth(2, CREATE))),
    ("UPS-11", lambda: rows(leave_out("00404010"), GET_ITEM)),
    ("UPS-11", lambda: rows(put("00741202", "LO"), GET_ITEM)),
    ("UPS-11", lambda: rows(put("00080016", "UI", "1.2.840.10008.5.1.4.34.6.4"), GET_ITEM)),
    ("UPS-12", lambda: status(415, sent("NativeDicomModel", CREATE))),
    ("UPS-12", lambda: rows(put("00741204", "LO", "other"), GET_ITEM)),
    ("UPS-13", lambda: body(lambda right: right[1:-1], on(has="/workitems/", accept="json"))),
    ("UPS-13", lambda: status(406, on(has="/workitems/", accept="xml"))),
    (
        "UPS-13",
        lambda: body(
            lambda right: right.replace(b"Conformance check", b"another"),
            on(has="/workitems/", accept="xml"),
        ),
    ),
    ("UPS-14", lambda: rows(put("00081195", "UI", "2.25.1"), GET_ITEM)),
    ("UPS-15", lambda: instead(answer(200, b"[{}]", "application/dicom+json"), nth(2, GET_ITEM))),
    ("UPS-15", lambda: status(410, nth(2, GET_ITEM))),
    ("UPS-16", lambda: status(204, CLAIM)),
    ("UPS-16", lambda: body(lambda _: b"done", CLAIM)),
    ("UPS-16", lambda: rows(ALL_ITEMS, GET_ITEM)),
    ("UPS-17", lambda: accepting(200, lacking("00081195", PUT_STATE))),
    ("UPS-17", lambda: unwarned(PUT_STATE)),
    ("UPS-17", lambda: header("Warning", "299 x: The Transaction UID is incorrect", PUT_STATE)),
    ("UPS-17", lambda: rows(put("00741000", "CS", "IN PROGRESS"), GET_ITEM)),
    ("UPS-18", lambda: accepting(200, nth(2, CLAIM))),
    ("UPS-18", lambda: unwarned(PUT_STATE)),
    ("UPS-19", lambda: accepting(200, nth(2, CLAIM))),
    ("UPS-19", lambda: unwarned(PUT_STATE)),
    ("UPS-19", lambda: status(400, UPDATE)),
    ("UPS-20", lambda: accepting(200, sent("SCHEDULED", PUT_STATE))),
    ("UPS-20", lambda: unwarned(PUT_STATE)),
    ("UPS-20", lambda: rows(ALL_ITEMS, GET_ITEM)),
    ("UPS-21", lambda: accepting(200, COMPLETE)),
    ("UPS-21", lambda: accepting(200, TO_CANCELED)),
    ("UPS-21", lambda: rows(put("00741000", "CS", "CANCELED"), GET_ITEM)),
    ("UPS-22", lambda: accepting(200, COMPLETE)),
    ("UPS-22", lambda: rows(put("00741000", "CS", "COMPLETED"), GET_ITEM)),
    ("UPS-23", lambda: status(409, COMPLETE)),
    ("UPS-23", lambda: rows(leave_out("00741216"), GET_ITEM)),
    ("UPS-23", lambda: rows(ALL_ITEMS, GET_ITEM)),
    ("UPS-23", lambda: status(400, UPDATE)),
    ("UPS-24", lambda: accepting(200, nth(1, COMPLETE))),
    ("UPS-24", lambda: accepting(200, nth(2, COMPLETE))),
    ("UPS-24", lambda: unwarned(PUT_STATE)),
    ("UPS-25", lambda: unwarned(PUT_STATE)),
    ("UPS-25", lambda: status(409, nth(2, COMPLETE))),
    ("UPS-26", lambda: unwarned(PUT_STATE)),
    ("UPS-26", lambda: status(409, nth(2, TO_CANCELED))),
    ("UPS-27", lambda: accepting(200, nth(1, TO_CANCELED))),
    ("UPS-27", lambda: unwarned(PUT_STATE)),
    ("UPS-28", lambda: status(400, nth(2, CLAIM))),
    ("UPS-29", lambda: accepting(200, sent("FOO", PUT_STATE))),
    ("UPS-29", lambda: accepting(200, lambda request: PUT_STATE(request) and not request.content)),
    ("UPS-30", lambda: rows(put("00741002", "SQ"), GET_ITEM)),
    ("UPS-30", lambda: status(409, TO_CANCELED)),
    ("UPS-31", lambda: status(409, UPDATE)),
    ("UPS-31", lambda: rows(put("00741204", "LO", "old"), GET_ITEM)),
    ("UPS-32", lambda: accepting(200, UPDATE)),
    ("UPS-33", lambda: status(400, UPDATE)),
    ("UPS-33", lambda: rows(put("00741002", "SQ"), GET_ITEM)),
    ("UPS-34", lambda: accepting(200, nth(2, UPDATE))),
    ("UPS-34", lambda: accepting(200, nth(3, UPDATE))),
    ("UPS-34", lambda: unwarned(UPDATE)),
    ("UPS-35", lambda: accepting(200, nth(2, UPDATE))),
    ("UPS-35", lambda: rows(put("00741204", "LO", "updated"), GET_ITEM)),
    ("UPS-36", lambda: accepting(200, UPDATE)),
    ("UPS-36", lambda: rows(put("00741000", "CS", "COMPLETED"), GET_ITEM)),
    ("UPS-37", lambda: accepting(200, UPDATE)),
    ("UPS-37", lambda: rows(put("00100020", "LO", "ANOTHER"), GET_ITEM)),
    ("UPS-38", lambda: keeping_the_old_items()),
    ("UPS-39", lambda: status(409, nth(2, UPDATE))),
    ("UPS-39", lambda: rows(twice("00741002"), GET_ITEM)),
    ("UPS-40", lambda: accepting(200, UPDATE)),
    ("UPS-40", lambda: rows(put("00741204", "LO", "updated"), GET_ITEM)),
    ("UPS-41", lambda: status(400, nth(2, UPDATE))),
    ("UPS-42", lambda: status(200, CANCEL)),
    ("UPS-42", lambda: rows(ALL_ITEMS, GET_ITEM)),
    ("UPS-43", lambda: status(200, CANCEL)),
    ("UPS-43", lambda: rows(put("00741000", "CS", "CANCELED"), GET_ITEM)),
    ("UPS-44", lambda: accepting(202, CANCEL)),
    ("UPS-44", lambda: rows(put("00741000", "CS", "CANCELED"), GET_ITEM)),
    ("UPS-45", lambda: unwarned(CANCEL)),
    ("UPS-45", lambda: status(400, CANCEL)),
    ("UPS-46", lambda: status(400, CANCEL)),
    ("UPS-47", lambda: accepting(202, nth(2, CANCEL))),
    ("UPS-48", lambda: searching_without("ProcedureStepState")),
    ("UPS-48", lambda: rows(leave_out("00404025"), SEARCH)),
    ("UPS-49", lambda: instead(answer(200, b"[{}]", "application/dicom+json"), nth(2, SEARCH))),
    ("UPS-49", lambda: body(lambda _: b"nothing", nth(2, SEARCH))),
    ("UPS-50", lambda: searching_without("AdmissionID")),
    ("UPS-50", lambda: searching_without("0040A370.00080050")),
    ("UPS-50", lambda: instead(answer(204), on(ends="/workitems", query="PatientName"))),
    ("UPS-81", lambda: searching_without("ScheduledProcedureStepStartDateTime")),
    ("UPS-81", lambda: instead(answer(204), on(ends="/workitems", query="20240106"))),
    ("UPS-82", lambda: searching_without("ScheduledWorkitemCodeSequence.CodeValue")),
    ("UPS-51", lambda: rows(put("00081195", "UI", "2.25.1"), SEARCH)),
    ("UPS-51", lambda: rows(put("00081195", "UI", "2.25.1"), on(query="includefield=all"))),
    ("UPS-52", lambda: unwarned(SEARCH)),
    ("UPS-52", lambda: searching_without("limit")),
    ("UPS-52", lambda: searching_without("offset")),
    ("UPS-52", lambda: rows(leave_out("00404010"), SEARCH)),
    (
        "UPS-53",
        lambda: searching_without("ScheduledStationNameCodeSequence.CodingSchemeDesignator"),
    ),
    ("UPS-54", lambda: instead(answer(204), on(ends="/workitems", query="CodeMeaning"))),
    ("UPS-54", lambda: status(500, on(ends="/workitems", query="CodeMeaning"))),
    ("UPS-55", lambda: status(200, SUBSCRIBE)),
    ("UPS-55", lambda: header("Content-Location", None, SUBSCRIBE)),
    ("UPS-55", lambda: header("Content-Location", "http://right.example/ws", SUBSCRIBE)),
    ("UPS-56", lambda: header("Content-Location", "ws://127.0.0.1:1/", SUBSCRIBE)),
    ("UPS-68", lambda: status(404, on("POST", ends="/suspend"))),
    ("UPS-69", lambda: status(204, UNSUBSCRIBE)),
    ("UPS-70", lambda: body(lambda _: b"done", UNSUBSCRIBE)),
    ("UPS-70", lambda: status(204, UNSUBSCRIBE)),
    ("UPS-70", lambda: status(500, nth(2, UNSUBSCRIBE))),
    ("UPS-71", lambda: accepting(201, nth(2, SUBSCRIBE))),
    ("UPS-74", lambda: accepting(201, nth(2, SUBSCRIBE))),
    ("UPS-75", lambda: instead(answer(404), GET_ITEM)),
    ("UPS-76", lambda: status(409, nth(2, SUBSCRIBE))),
    ("UPS-77", lambda: accepting(201, nth(2, SUBSCRIBE))),
    ("UPS-80", lambda: status(500, GET_ITEM)),
]


def on_without_uid() -> When:
    return lambda request: CREATE(request) and not request.url.query


def twice(tag: str) -> Callable[[list[dict[str, Any]]], object]:
    return lambda found: [row[tag]["Value"].append({}) for row in found if first(row, tag)]


def keeping_the_old_items() -> Fault:
    def more(found: list[dict[str, Any]]) -> None:
        for row in found:
            items = row["00404025"]["Value"]
            if len(items) == 1:
                items.insert(0, {"00080100": attribute("SH", "ONE")})

    return rows(more, GET_ITEM)


def searching_without(name: str) -> Fault:
    """Ignores that parameter."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        query = request.url.query.decode().split("&")
        kept = [each for each in query if each.partition("=")[0] != name]
        if not SEARCH(request) or len(kept) == len(query):
            return right
        url = f"{request.url.copy_with(query=None)}?{'&'.join(kept)}"
        return WITHOUT[0](httpx2.Request("GET", url, headers=request.headers))

    return fault


# The server of the test that runs, for faults that ask it something else.
WITHOUT: Final[list[RightServer]] = []


def unheard(kind: int) -> Callable[[dict[str, Any]], Event]:
    """Keeps event reports of that type back, once the workitem is no longer new."""
    return lambda event: None if first(event, "00001002") == kind else event


def with_event(tag: str, vr: str, *values: object) -> Callable[[dict[str, Any]], Event]:
    return lambda event: event | {tag: attribute(vr, *values)}


def without_event(tag: str, kind: int = 0) -> Callable[[dict[str, Any]], Event]:
    def tell(event: dict[str, Any]) -> Event:
        if kind in (0, first(event, "00001002")):
            return {key: value for key, value in event.items() if key != tag}
        return event

    return tell


def without_state(state: str) -> Callable[[dict[str, Any]], Event]:
    return lambda event: None if first(event, "00741000") == state else event


def unready(event: dict[str, Any]) -> Event:
    if first(event, "00404041") == "INCOMPLETE":
        return event | {"00404041": attribute("CS", "READY")}
    return event


EVENT_FAULTS: Final[list[tuple[str, Callable[[dict[str, Any]], Event]]]] = [
    ("UPS-57", unheard(1)),
    ("UPS-57", with_event("00741000", "CS", "CANCELED")),
    ("UPS-58", with_event("00000002", "UI", "1.2.840.10008.5.1.4.34.6.4")),
    ("UPS-58", with_event("00741000", "US", "IN PROGRESS")),
    ("UPS-58", without_event("00000110")),
    ("UPS-58", lambda event: json.dumps(event).encode()),
    ("UPS-58", lambda event: json.dumps([event])),
    ("UPS-58", lambda event: "no JSON"),
    ("UPS-59", without_state("IN PROGRESS")),
    ("UPS-59", without_state("COMPLETED")),
    ("UPS-60", unheard(2)),
    ("UPS-60", without_event("00741236")),
    ("UPS-60", without_event("0074100C")),
    ("UPS-61", unheard(3)),
    ("UPS-61", without_event("00741002")),
    ("UPS-62", unheard(5)),
    ("UPS-62", without_event("00404025")),
    ("UPS-63", unready),
    ("UPS-64", without_state("IN PROGRESS")),
    ("UPS-64", without_state("CANCELED")),
    ("UPS-65", unheard(1)),
    ("UPS-65", without_state("IN PROGRESS")),
    ("UPS-67", without_state("IN PROGRESS")),
    ("UPS-68", without_state("IN PROGRESS")),
    ("UPS-73", unheard(1)),
]
# Faults of what the server remembers: they need a worklist of their own.
ELSEWHERE: Final = {"UPS-66", "UPS-72", "UPS-79"}
NOTED: Final = {"UPS-02", "UPS-80"}
RARE: Final = {"UPS-72", "UPS-76"}  # about servers that refuse
OTHER_WORKLISTS: Final = {
    "UPS-72": Worklist(has_filters=False),
    "UPS-76": Worklist(grants_locks=False),
}


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "EVENT_WAIT_S", 0.25)
    monkeypatch.setattr(notifications, "QUIET_S", 0.15)
    monkeypatch.setattr(worklist_events, "_AFTER_THE_END_S", 0)
    monkeypatch.setattr(worklist_cancellation, "_POLL_S", 0.01)
    monkeypatch.setattr(worklist_cancellation, "SETTLE_S", 0.05)
    monkeypatch.setattr(worklist_search, "_POLL_S", 0.01)
    monkeypatch.setattr(worklist_search, "SETTLE_S", 0.05)


@pytest.fixture
async def worklist() -> AsyncIterator[Worklist]:
    made = Worklist()
    async with made.listening():
        yield made


@pytest.mark.parametrize("id", ids_of(CHAPTER, but=NOTED | RARE | {"UPS-79"}))
async def test_the_right_worklist_passes(id: str, worklist: Worklist) -> None:
    verdict = await judged(id, server=worklist.server())

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize("id", sorted(NOTED))
async def test_what_is_free_is_noted(id: str) -> None:
    verdict = await judged(id, server=Worklist().server())

    assert verdict.outcome is Outcome.NOTE
    assert verdict.notes


@pytest.mark.parametrize("id", sorted(RARE))
async def test_what_is_said_of_a_refusal_is_na_where_nothing_is_refused(id: str) -> None:
    verdict = await judged(id, server=Worklist().server())

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", sorted(RARE))
async def test_a_refusal_that_is_warned_about_passes(id: str) -> None:
    verdict = await judged(id, server=OTHER_WORKLISTS[id].server())

    assert verdict.outcome is Outcome.PASS


@pytest.mark.parametrize(("id", "made"), FAULTS)
async def test_a_fault_is_found(id: str, made: Callable[[], Fault], worklist: Worklist) -> None:
    server = worklist.server()
    WITHOUT[:] = [server]

    verdict = await judged(id, made(), server=server)

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize(("id", "tell"), EVENT_FAULTS)
async def test_a_fault_of_event_reports_is_found(
    id: str, tell: Callable[[dict[str, Any]], Event], worklist: Worklist
) -> None:
    met = {"first": id not in ("UPS-57", "UPS-65", "UPS-73")}

    def after_the_first(event: dict[str, Any]) -> Event:
        # the report with which a subscription begins is needed to see the others
        if met["first"] and first(event, "00741000") == "SCHEDULED" and tell is not unready:
            return event
        return tell(event)

    worklist.tell = after_the_first

    verdict = await judged(id, server=worklist.server())

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_without_a_worklist_is_not_blamed(id: str) -> None:
    verdict = await judged(id)

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_that_says_nothing_and_has_no_worklist_is_not_blamed(id: str) -> None:
    verdict = await judged(id, instead(answer(404)), server=RightServer(capabilities={}))

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_changed_in_a_run_that_only_reads(id: str) -> None:
    verdict = await judged(id, server=Worklist().server(), read_only=True)

    assert verdict.outcome is Outcome.SKIP


async def test_a_worklist_that_keeps_initial_reports_back_is_found(worklist: Worklist) -> None:
    at_first = {"reports": 0}

    def tell(event: dict[str, Any]) -> Event:
        at_first["reports"] += 1
        return event if at_first["reports"] < 5 else None  # one of one, three of new ones

    worklist.tell = tell

    verdict = await judged("UPS-66", server=worklist.server())

    assert verdict.outcome is Outcome.FAIL, verdict.reason


async def test_initial_reports_that_nobody_asked_for_are_found(worklist: Worklist) -> None:
    def locking(request: httpx2.Request, right: Answer) -> Answer:
        if SUBSCRIBE(request) and f"/{GLOBAL}/" in request.url.path:
            for uid in worklist.items:
                worklist.report_state(uid)
        return right

    verdict = await judged("UPS-67", locking, server=worklist.server())

    assert verdict.outcome is Outcome.FAIL, verdict.reason


@pytest.mark.parametrize(
    ("id", "when"),
    [
        ("UPS-68", on("POST", ends="/suspend")),
        ("UPS-69", UNSUBSCRIBE),
        ("UPS-70", UNSUBSCRIBE),
    ],
)
async def test_reports_after_the_end_are_found(id: str, when: When, worklist: Worklist) -> None:
    def deaf(request: httpx2.Request, right: Answer) -> Answer:
        if when(request):
            aet = request.url.path.partition("/subscribers/")[2].partition("/")[0]
            worklist.of_all[aet] = {}
            for uid in worklist.items:
                worklist.of_item.setdefault(uid, set()).add(aet)
        return right

    verdict = await judged(id, deaf, server=worklist.server())

    assert verdict.outcome is Outcome.FAIL, verdict.reason


async def test_a_filter_that_is_ignored_is_found(worklist: Worklist) -> None:
    def unfiltered(request: httpx2.Request, right: Answer) -> Answer:
        for aet in worklist.of_all:
            worklist.of_all[aet] = {}
        return right

    verdict = await judged("UPS-73", unfiltered, server=worklist.server())

    assert verdict.outcome is Outcome.FAIL, verdict.reason


@pytest.mark.parametrize("warning", [None, "299 x: Something else"])
async def test_a_filter_refused_without_the_warning_is_found(warning: str | None) -> None:
    silent = header("Warning", warning, SUBSCRIBE)

    verdict = await judged("UPS-72", silent, server=Worklist(has_filters=False).server())

    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize("id", ["UPS-42", "UPS-46"])
async def test_a_server_that_does_not_cancel_what_is_scheduled_passes(id: str) -> None:
    verdict = await judged(id, server=Worklist(cancels_scheduled=False).server())

    assert (verdict.outcome, verdict.notes) == (
        Outcome.PASS,
        ("a request to cancel what is SCHEDULED: 409",),
    )


@pytest.mark.parametrize("id", ["UPS-36", "UPS-37"])
async def test_what_is_left_out_of_an_update_and_said_to_be_passes(id: str) -> None:
    said = "299 x: Requested optional Attributes are not supported."
    left_out = instead(answer(200, Warning=said), UPDATE)

    verdict = await judged(id, left_out, server=Worklist().server())

    assert verdict.outcome is Outcome.PASS


async def test_no_workitem_is_left_scheduled_or_in_progress(worklist: Worklist) -> None:
    for id in ("UPS-01", "UPS-19", "UPS-48", "UPS-59"):
        await judged(id, server=worklist.server())

    states = {first(item, "00741000") for item in worklist.items.values()}
    assert states <= {"COMPLETED", "CANCELED"}


async def test_forms_of_other_editions_that_do_not_work_are_not_said_to() -> None:
    unknown = status(400, on("POST", query="workitem="))

    verdict = await judged("UPS-02", unknown, server=Worklist().server())

    assert verdict.notes == ("works: ?AffectedSOPInstanceUID=, a bare JSON object",)


async def test_what_the_suite_made_up_is_shown_in_the_report() -> None:
    verdict = await judged("UPS-01", status(500, on("POST")), server=Worklist().server())

    assert verdict.outcome is Outcome.FAIL
    assert "Conformance check" in verdict.exchanges[0].request_body


@contextmanager
def dimse(worklist: Worklist, status: int = 0, sop_class: str = UPS_PUSH) -> Iterator[str]:
    """The application entity of the worklist, as --dimse has it."""

    def create(event: evt.Event) -> tuple[int, Dataset]:
        request = event.request
        assert isinstance(request, N_CREATE)
        sent, uid = event.attribute_list, str(request.AffectedSOPInstanceUID)
        if status == 0:
            worklist.items[uid] = sent.to_json_dict() | {"00080018": attribute("UI", uid)}
        return status, Dataset()

    entity = AE("RIGHT")
    entity.add_supported_context(sop_class)
    served = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_CREATE, create)]
    )
    assert served is not None
    assert served.socket is not None
    try:
        yield f"127.0.0.1:{served.socket.getsockname()[1]}/RIGHT"
    finally:
        served.shutdown()


async def test_a_workitem_of_dimse_is_found_by_dicomweb() -> None:
    worklist = Worklist()
    with dimse(worklist) as at:
        verdict = await judged("UPS-79", server=worklist.server(), dimse=at)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(
    "fault",
    [
        instead(answer(404), GET_ITEM),
        rows(put("00741204", "LO", "other"), GET_ITEM),
        rows(put("00741000", "CS", "IN PROGRESS"), GET_ITEM),
        status(409, PUT_STATE),
    ],
)
async def test_a_workitem_of_dimse_that_is_another_by_dicomweb_is_found(fault: Fault) -> None:
    worklist = Worklist()
    with dimse(worklist) as at:
        verdict = await judged("UPS-79", fault, server=worklist.server(), dimse=at)

    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("number", "sop_class", "outcome"),
    [
        (0x0110, UPS_PUSH, Outcome.FAIL),
        (0x0124, UPS_PUSH, Outcome.SKIP),
        (0, "1.2.840.10008.1.1", Outcome.NA),
    ],
)
async def test_what_dimse_refuses(number: int, sop_class: str, outcome: Outcome) -> None:
    worklist = Worklist()
    with dimse(worklist, number, sop_class) as at:
        verdict = await judged("UPS-79", server=worklist.server(), dimse=at)

    assert verdict.outcome is outcome


def test_every_case_has_a_fault() -> None:
    faulty = {id for id, _ in FAULTS} | {id for id, _ in EVENT_FAULTS} | ELSEWHERE | {"UPS-02"}

    assert faulty == set(ids_of(CHAPTER))
