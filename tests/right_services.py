"""Smaller services of the right server: non-patient instances, commitment, procedure steps."""

import json
import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx2
import pydicom
from pydicom import datadict
from pydicom.dataset import Dataset

from right_server import (
    CAPABILITIES,
    JSON,
    Answer,
    Handler,
    Refused,
    RightServer,
    accepted,
    answer,
    json_of,
    multipart,
    native_xml,
    query_of,
)

Data = dict[str, Any]
CATEGORIES = {
    "color-palettes": "1.2.840.10008.5.1.4.39.1",
    "hanging-protocols": "1.2.840.10008.5.1.4.38.1",
}
SERVICE_CAPABILITIES = {
    **CAPABILITIES,
    "color-palettes": ["GET", "POST"],
    "color-palettes/{i}": ["GET", "POST"],
    "hanging-protocols": ["GET", "POST"],
    "hanging-protocols/{i}": ["GET", "POST"],
    "commitment-requests/{t}": ["GET", "POST"],
    "modality-scheduled-procedure-steps": ["GET"],
    "modality-performed-procedure-steps/{s}": ["GET", "POST"],
}


def attribute(vr: str, *values: Any) -> Data:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def scheduled_step(station: str, modality: str, date: str, time: str) -> Data:
    step = {
        "00080060": attribute("CS", modality),
        "00400001": attribute("AE", station),
        "00400002": attribute("DA", date),
        "00400003": attribute("TM", time),
        "00400009": attribute("SH", "SPS"),
    }
    return {
        "00100010": attribute("PN", {"Alphabetic": "Doe^Jane"}),
        "00100020": attribute("LO", f"PATIENT {station}"),
        "0020000D": attribute("UI", "2.25.77"),
        "00400100": attribute("SQ", step),
        "00401001": attribute("SH", "RP"),
    }


@dataclass
class Services:
    non_patient: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # category, file
    results: dict[str, Data] = field(default_factory=dict)  # of commitments
    scheduled: list[Data] = field(default_factory=list)
    performed: dict[str, Data] = field(default_factory=dict)
    commits_later: bool = False

    def server(self) -> RightServer:
        return RightServer(routes=self.routes, capabilities=dict(SERVICE_CAPABILITIES))

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        category = f"/(?P<category>{'|'.join(CATEGORIES)})"
        commitment = r"/commitment-requests/(?P<uid>[\d.]+)"
        step = r"/modality-performed-procedure-steps/(?P<uid>[\d.]+)"
        return [
            ("GET", category, self.search_non_patient),
            ("POST", rf"{category}(?:/(?P<uid>[\d.]+))?", self.store_non_patient),
            ("GET", rf"{category}/(?P<uid>[\d.]+)", self.retrieve_non_patient),
            ("POST", commitment, self.commit),
            ("GET", commitment, self.result),
            ("GET", "/modality-scheduled-procedure-steps", self.search_scheduled),
            ("POST", step, self.perform),
            ("GET", step, self.retrieve_performed),
        ]

    def store_non_patient(
        self, server: RightServer, request: httpx2.Request, of: dict[str, str]
    ) -> Answer:
        made = pydicom.dcmread(BytesIO(request.content))
        uid = str(made.SOPInstanceUID)
        if made.SOPClassUID != CATEGORIES[of["category"]] or of.get("uid", uid) != uid:
            raise Refused(409)
        self.non_patient[uid] = of["category"], request.content
        return answer(200, b"{}", JSON)

    def _non_patient(self, of: dict[str, str]) -> Dataset:
        category, file = self.non_patient.get(of["uid"], ("", b""))
        if category != of["category"]:
            raise Refused(404)
        return pydicom.dcmread(BytesIO(file))

    def retrieve_non_patient(
        self, server: RightServer, request: httpx2.Request, of: dict[str, str]
    ) -> Answer:
        row = json_of(self._non_patient(of), {})
        for wanted in accepted(request):
            if wanted.name == "application/dicom":
                return answer(200, self.non_patient[of["uid"]][1], wanted.name)
            if wanted.name == JSON:
                return answer(200, json.dumps([row]).encode(), JSON)
            if wanted.root == "application/dicom+xml":
                headers = {"Content-Type": "application/dicom+xml"}
                return multipart([(headers, native_xml(row))], "application/dicom+xml")
        raise Refused(406)

    def search_non_patient(
        self, server: RightServer, request: httpx2.Request, of: dict[str, str]
    ) -> Answer:
        rows = [
            json_of(pydicom.dcmread(BytesIO(file)), {})
            for category, file in self.non_patient.values()
            if category == of["category"]
        ]
        found = [row for row in rows if _matches(row, query_of(request))]
        return answer(200, json.dumps(found).encode(), JSON) if found else answer(204)

    def commit(self, server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
        if of["uid"] in self.results:
            raise Refused(409)
        wanted = _dataset(request)
        if not (wanted.get("00081199") or wanted.get("00081110")):
            raise Refused(400)
        self.results[of["uid"]] = self._judged(server, wanted)
        if self.commits_later:
            return answer(202, Retry_After="0")
        return self.result(server, request, of)

    def _judged(self, server: RightServer, wanted: Data) -> Data:
        if "00081110" in wanted:
            return wanted
        committed, failed = [], []
        for item in wanted["00081199"]["Value"]:
            uid = item["00081155"]["Value"][0]
            file = server.files.get(uid)
            held = pydicom.dcmread(BytesIO(file)).SOPClassUID if file else None
            if held == item["00081150"]["Value"][0]:
                committed.append(item)
            else:
                failed.append(item | {"00081197": attribute("US", 281 if held else 274)})
        found = {"00081198": attribute("SQ", *failed)} if failed else {}
        return found | ({"00081199": attribute("SQ", *committed)} if committed else {})

    def result(self, server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
        if of["uid"] not in self.results:
            raise Refused(404)
        row = dict(sorted(self.results[of["uid"]].items()))
        if any(each.name == "application/dicom+xml" for each in accepted(request)):
            return answer(200, native_xml(row), "application/dicom+xml")
        return answer(200, json.dumps(row).encode(), JSON)

    def search_scheduled(
        self, server: RightServer, request: httpx2.Request, of: dict[str, str]
    ) -> Answer:
        query = query_of(request)
        found = [row for row in self.scheduled if _matches(row, query)]
        page = found[: int(query.get("limit", 1000))]
        return answer(200, json.dumps(page).encode(), JSON) if page else answer(204)

    def perform(self, server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
        sent, uid = _dataset(request), of["uid"]
        status = _first(sent, "00400252")
        if request.url.query != b"update":
            if uid in self.performed:
                raise Refused(409)
            if status != "IN PROGRESS":
                raise Refused(400)
            self.performed[uid] = sent
            return answer(201)
        if uid not in self.performed:
            raise Refused(404)
        if _first(self.performed[uid], "00400252") != "IN PROGRESS":
            raise Refused(409)
        if status == "COMPLETED" and not _first(sent, "00400340"):
            raise Refused(400)
        self.performed[uid].update(sent)
        return answer(200)

    def retrieve_performed(
        self, server: RightServer, request: httpx2.Request, of: dict[str, str]
    ) -> Answer:
        if of["uid"] not in self.performed:
            raise Refused(404)
        return answer(200, json.dumps([self.performed[of["uid"]]]).encode(), JSON)


def _dataset(request: httpx2.Request) -> Data:
    if b"NativeDicomModel" in request.content:
        # the one thing that is asked for in XML: references to instances
        written = re.findall(r"<Value[^>]*>([\d.]+)<", request.content.decode())
        reference = {
            "00081150": attribute("UI", written[0]),
            "00081155": attribute("UI", written[1]),
        }
        return {"00081199": attribute("SQ", reference)}
    try:
        parsed = json.loads(request.content)
    except ValueError:
        raise Refused(400) from None
    return dict(parsed[0] if isinstance(parsed, list) else parsed)


def _first(data: Data, tag: str) -> Any:
    return next(iter(data.get(tag, {}).get("Value", [])), None)


def _matches(row: Data, query: dict[str, str]) -> bool:
    return _in_interval(row, query) and all(
        _fits(row, name.split("."), wanted)
        for name, wanted in query.items()
        if name != "limit" and "StartDate" not in name and "StartTime" not in name
    )


def _fits(row: Data, names: list[str], wanted: str) -> bool:
    tag = datadict.tag_for_keyword(names[0])
    held = row.get(f"{tag:08X}" if tag is not None else "", {}).get("Value", [])
    if len(names) > 1:
        return any(_fits(item, names[1:], wanted) for item in held)
    return wanted in held


def _in_interval(row: Data, query: dict[str, str]) -> bool:
    """Dates and times of scheduled steps, as one interval."""
    above = "ScheduledProcedureStepSequence.ScheduledProcedureStepStart"
    if f"{above}Date" not in query:
        return True
    first_day, _, last_day = query[f"{above}Date"].partition("-")
    times = query.get(f"{above}Time", "000000-235959")
    first_time, _, last_time = times.partition("-")
    step = _first(row, "00400100")
    begins = _first(step, "00400002") + _first(step, "00400003")
    return bool(first_day + first_time <= begins <= last_day + last_time)
