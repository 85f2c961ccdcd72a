"""The worklist of the right server: workitems, subscriptions, and event reports on a WebSocket."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import httpx2
from pydicom import datadict
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from right_server import (
    BASE,
    CAPABILITIES,
    JSON,
    Answer,
    Handler,
    Refused,
    RightServer,
    accepted,
    answer,
    multipart,
    native_xml,
    query_of,
)

Data = dict[str, Any]
Event = Data | bytes | str | None

GLOBAL = "1.2.840.10008.5.1.4.34.5"
FILTERED = "1.2.840.10008.5.1.4.34.5.1"
TYPE_1 = ("00741200", "00741204", "00404005", "00404041", "00741000")
ENUMERATED = {
    "00741200": ("HIGH", "MEDIUM", "LOW"),
    "00404041": ("READY", "INCOMPLETE", "UNAVAILABLE"),
}
NOT_TO_BE_SET = ("00741000", "00100020", "00100010")
LACKING = "The submitted request is inconsistent with the state of the UPS Instance"
FIXED_KEYS = {"limit", "offset", "includefield", "fuzzymatching"}
WORKLIST_CAPABILITIES = {
    **CAPABILITIES,
    "workitems": ["GET", "POST"],
    "workitems/{w}": ["GET", "POST"],
    "workitems/{w}/state": ["PUT"],
    "workitems/{w}/cancelrequest": ["POST"],
    "workitems/{w}/subscribers/{a}": ["POST", "DELETE"],
    "workitems/{w}/subscribers/{a}/suspend": ["POST"],
}


def first(data: Data, tag: str) -> Any:
    return next(iter(data.get(tag, {}).get("Value", [])), None)


def attribute(vr: str, *values: Any) -> Data:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


class Conflict(Refused):
    """With one of the Warnings that section 11.7.3.2 has for failures."""

    def __init__(self, status: int, warning: str) -> None:
        super().__init__(status, warning)
        self.warning = warning


@dataclass
class Worklist:
    """Give `routes` to a RightServer. `tell` changes event reports, None keeps them back."""

    items: dict[str, Data] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # the Transaction UID of a workitem
    of_item: dict[str, set[str]] = field(default_factory=dict)  # AE titles by workitem
    of_all: dict[str, Data] = field(default_factory=dict)  # the filter, by AE title
    channels: dict[str, list[asyncio.Queue[Event]]] = field(default_factory=dict)
    url: str = "ws://right.example"
    tell: Callable[[Data], Event] = lambda event: event
    has_filters: bool = True
    grants_locks: bool = True
    cancels_scheduled: bool = True

    def server(self) -> RightServer:
        return RightServer(routes=self.routes, capabilities=dict(WORKLIST_CAPABILITIES))

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        def handled(do: Callable[[httpx2.Request, dict[str, str]], Answer]) -> Handler:
            def handler(_: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
                try:
                    return do(request, of)
                except Conflict as conflict:
                    return _warn(answer(conflict.status), conflict.warning)

            return handler

        item, subscriber = r"/workitems/(?P<uid>[\d.]+)", r"/subscribers/(?P<aet>[^/]+)"
        return [
            ("GET", "/workitems", handled(self.search)),
            ("POST", "/workitems", handled(self.create)),
            ("GET", item, handled(self.retrieve)),
            ("POST", item, handled(self.update)),
            ("PUT", f"{item}/state", handled(self.change_state)),
            ("POST", f"{item}/cancelrequest", handled(self.cancel)),
            ("POST", item + subscriber, handled(self.subscribe)),
            ("DELETE", item + subscriber, handled(self.unsubscribe)),
            ("POST", f"{item}{subscriber}/suspend", handled(self.suspend)),
        ]

    def _item(self, uid: str) -> Data:
        if uid not in self.items:
            raise Refused(404)
        return self.items[uid]

    def create(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        data = _dataset(request)
        query = unquote(request.url.query.decode())
        uid = query.rpartition("=")[2] or first(data, "00080018")
        if not uid or first(data, "00741000") != "SCHEDULED" or first(data, "00081195"):
            raise Refused(400)
        if uid in self.items:
            raise Refused(409)
        if any(not first(data, tag) for tag in TYPE_1) or not _is_valid(data):
            raise Refused(400)
        is_complete = "00100010" in data
        data["00080016"] = attribute("UI", "1.2.840.10008.5.1.4.34.6.1")
        data["00080018"] = attribute("UI", uid)
        data["00404010"] = attribute("DT", "20240105120000")
        data.pop("00081195", None)
        data.setdefault("00100010", attribute("PN"))
        if not first(data, "00741202"):
            data["00741202"] = attribute("LO", "Default")
        self.items[uid] = data
        for aet, filters in self.of_all.items():
            if _matches(data, filters):
                self.of_item.setdefault(uid, set()).add(aet)
        self.report_state(uid)
        made = answer(201, Location=f"{BASE}/workitems/{uid}")
        return made if is_complete else _warn(made, "The Workitem was created with modifications")

    def retrieve(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        return _answer_in(request, [self._item(of["uid"])])

    def update(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        data, uid = self._item(of["uid"]), of["uid"]
        state, given = first(data, "00741000"), request.url.query.decode()
        changed = _dataset(request)
        if state in ("COMPLETED", "CANCELED") or given != self.owners.get(uid, ""):
            raise Conflict(
                400, "The submitted request is inconsistent with the current state of the Workitem"
            )
        if any(tag in changed for tag in NOT_TO_BE_SET) or not _is_valid(changed):
            raise Refused(400)
        data.update(changed)
        if "00404041" in changed:
            self.report_state(uid)
        if "00741002" in changed:
            self.report(uid, 3, {"00741002": data["00741002"]})
        if "00404025" in changed:
            self.report(uid, 5, {"00404025": data["00404025"]})
        return answer(200)

    def change_state(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        data, uid = self._item(of["uid"]), of["uid"]
        sent = _dataset(request)
        wanted, given, state = (
            first(sent, "00741000"),
            first(sent, "00081195"),
            first(data, "00741000"),
        )
        if wanted not in ("IN PROGRESS", "COMPLETED", "CANCELED", "SCHEDULED"):
            raise Refused(400)
        if not given:
            raise Conflict(400, "The Transaction UID is missing")
        if uid in self.owners and given != self.owners[uid]:
            raise Conflict(400, "The Transaction UID is incorrect")
        if wanted == state and wanted in ("COMPLETED", "CANCELED"):
            return _warn(answer(200), f"The UPS is already in the requested state of {wanted}")
        if (state, wanted) == ("SCHEDULED", "IN PROGRESS"):
            self.owners[uid] = given
        elif (
            state != "IN PROGRESS"
            or wanted not in ("COMPLETED", "CANCELED")
            or (wanted == "COMPLETED" and not first(data, "00741216"))
        ):
            raise Conflict(409, LACKING)
        self.enter(uid, wanted)
        return answer(200)

    def enter(self, uid: str, state: str) -> None:
        data = self.items[uid]
        data["00741000"] = attribute("CS", state)
        if state == "CANCELED":
            item = first(data, "00741002") or {}
            dated = {"00404052": attribute("DT", "20240105130000"), **item}
            data["00741002"] = attribute("SQ", dated)
        self.report_state(uid)

    def cancel(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        data, uid = self._item(of["uid"]), of["uid"]
        state = first(data, "00741000")
        if state == "CANCELED":
            return _warn(answer(202), "The UPS is already in the requested state of CANCELED")
        if state == "COMPLETED" or (state == "SCHEDULED" and not self.cancels_scheduled):
            raise Refused(409)
        if state == "SCHEDULED":
            self.enter(uid, "IN PROGRESS")
            self.enter(uid, "CANCELED")
        else:
            given = _dataset(request) if request.content else {}
            self.report(uid, 2, {"00741236": attribute("AE", "RIGHT"), **given})
        return answer(202)

    def search(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        query = query_of(request)
        keys = {name: value for name, value in query.items() if name not in FIXED_KEYS}
        found = [data for _, data in sorted(self.items.items()) if _matches(data, keys)]
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 1000))
        page = found[offset : offset + limit]
        if not page:
            return answer(204)
        response = _answer_in(request, page)
        if remaining := len(found) - offset - len(page):
            text = f"There are {remaining} additional results that can be requested"
            return _warn(response, text)
        return response

    def subscribe(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        uid, aet, query = of["uid"], of["aet"], query_of(request)
        lock = query.get("deletionlock", "false")
        if lock not in ("true", "false"):
            raise Refused(400)
        if uid == FILTERED and not self.has_filters:
            raise Conflict(403, "Filtered Worklist Subscriptions are not supported")
        if uid in (GLOBAL, FILTERED):
            self._subscribe_to_all(uid, aet, query, lock == "true")
        else:
            self._item(uid)
            self.of_item.setdefault(uid, set()).add(aet)
            self.report_state(uid, only=aet)
        made = answer(201, Content_Location=f"{self.url}/{aet}")
        if lock == "true" and not self.grants_locks:
            return _warn(made, "Deletion Lock not granted")
        return made

    def _subscribe_to_all(self, uid: str, aet: str, query: dict[str, str], locks: bool) -> None:
        filters = {name: value for name, _, value in _pairs(query.get("filter", ""))}
        if uid == FILTERED and not filters:
            raise Refused(400)
        self.of_all[aet] = filters
        for each, data in self.items.items():
            if _matches(data, filters):
                self.of_item.setdefault(each, set()).add(aet)
                if locks:
                    self.report_state(each, only=aet)

    def unsubscribe(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        uid, aet = of["uid"], of["aet"]
        if uid in (GLOBAL, FILTERED):
            self.of_all.pop(aet, None)
            for subscribers in self.of_item.values():
                subscribers.discard(aet)
        elif aet not in self.of_item.get(uid, set()):
            raise Refused(404)
        else:
            self.of_item[uid].discard(aet)
        return answer(200)

    def suspend(self, request: httpx2.Request, of: dict[str, str]) -> Answer:
        self.of_all.pop(of["aet"], None)
        return answer(200)

    def report_state(self, uid: str, *, only: str = "") -> None:
        data = self.items[uid]
        told = {tag: data[tag] for tag in ("00404041", "00741000")}
        self.report(uid, 1, told, only=only)

    def report(self, uid: str, kind: int, more: Data, *, only: str = "") -> None:
        event = {
            "00000002": attribute("UI", "1.2.840.10008.5.1.4.34.6.1"),
            "00000110": attribute("US", 1),
            "00001000": attribute("UI", uid),
            "00001002": attribute("US", kind),
            **more,
        }
        said = self.tell(event)
        for aet in [only] if only else self.of_item.get(uid, set()):
            for queue in self.channels.get(aet, []):
                if said is not None:
                    queue.put_nowait(said)

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Event reports are sent as long as the block lasts, on the loopback interface."""
        queues: dict[ServerConnection, asyncio.Queue[Event]] = {}

        def admit(connection: ServerConnection, request: Request) -> Response | None:
            # before the handshake is answered, so that no event is missed
            queues[connection] = asyncio.Queue()
            self.channels.setdefault(request.path[1:], []).append(queues[connection])
            return None

        async def serve_one(connection: ServerConnection) -> None:
            sending = asyncio.create_task(send(connection))
            await connection.wait_closed()
            sending.cancel()

        async def send(connection: ServerConnection) -> None:
            while True:
                said = await queues[connection].get()
                await connection.send(json.dumps(said) if isinstance(said, dict) else said or "")

        async with serve(serve_one, "127.0.0.1", 0, process_request=admit, ssl=tls) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"wss://localhost:{port}" if tls else f"ws://127.0.0.1:{port}"
            yield


def _warn(response: Answer, text: str) -> Answer:
    response.headers["Warning"] = f"299 {BASE}: {text}."
    return response


def _is_valid(data: Data) -> bool:
    return all(first(data, tag) in (None, *values) for tag, values in ENUMERATED.items())


def _dataset(request: httpx2.Request) -> Data:
    content = request.content
    if not content:
        raise Refused(400)
    if b"NativeDicomModel" in content:
        document = content[content.index(b"<?xml") : content.index(b"</NativeDicomModel>") + 19]
        return _of_xml(ElementTree.fromstring(document))
    try:
        parsed = json.loads(content)
    except ValueError:
        raise Refused(400) from None
    return dict(parsed[0] if isinstance(parsed, list) else parsed)


def _of_xml(parent: ElementTree.Element) -> Data:
    found: Data = {}
    for element in parent:
        values: list[Any] = []
        for below in element:
            kind = below.tag.rpartition("}")[2]
            if kind == "Item":
                values.append(_of_xml(below))
            elif kind == "PersonName":
                values.append({"Alphabetic": "^".join(part.text or "" for part in below[0])})
            else:
                values.append(below.text)
        found[element.attrib["tag"]] = attribute(element.attrib["vr"], *values)
    return found


def _answer_in(request: httpx2.Request, rows: list[Data]) -> Answer:
    rows = [dict(sorted(row.items())) for row in rows]
    for wanted in accepted(request):
        if wanted.name in (JSON, "*/*"):
            return answer(200, json.dumps(rows).encode(), JSON)
        if wanted.root == "application/dicom+xml":
            headers = {"Content-Type": "application/dicom+xml"}
            parts = [(headers, native_xml(row)) for row in rows]
            return multipart(parts, "application/dicom+xml")
    raise Refused(406)


def _pairs(written: str) -> list[tuple[str, str, str]]:
    return [each.partition("=") for each in written.split(",") if each]


def _matches(data: Data, keys: dict[str, str]) -> bool:
    """Keys below one sequence have to match in the same item."""
    below: dict[str, dict[str, str]] = {}
    for name, wanted in keys.items():
        above, _, rest = name.partition(".")
        tag = _tag(above)
        if rest:
            below.setdefault(tag, {})[rest] = wanted
        elif tag and tag != "00080104" and not _fits(data, tag, wanted):
            return False
    return all(
        any(_matches(item, of_item) for item in data.get(tag, {}).get("Value", []))
        for tag, of_item in below.items()
    )


def _tag(name: str) -> str:
    if re.fullmatch("[0-9A-F]{8}", name):
        return name
    tag = datadict.tag_for_keyword(name)
    return f"{tag:08X}" if tag is not None else ""


def _fits(data: Data, tag: str, wanted: str) -> bool:
    value = first(data, tag)
    if isinstance(value, dict):
        value = value.get("Alphabetic")
    if data.get(tag, {}).get("vr") == "DT" and "-" in wanted:
        start, _, end = wanted.partition("-")
        return start <= str(value) <= (end or "9").ljust(14, "9")
    return not wanted or value == wanted
