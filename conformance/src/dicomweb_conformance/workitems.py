"""Workitems of the suite's own: how they are made, brought into a state, and given up again."""

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from dicomweb_conformance import dicom_json, multipart, native_xml
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.media_types import DICOM_JSON
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import NotClaimed, Unmet, Violated, expect, need

WORKLIST_SERVICE: Final = (Feature.WORKLIST, Feature.WRITING)

SCHEDULED: Final = "SCHEDULED"
IN_PROGRESS: Final = "IN PROGRESS"
COMPLETED: Final = "COMPLETED"
CANCELED: Final = "CANCELED"

WORKLIST: Final = "1.2.840.10008.5.1.4.34.5"  # all workitems, for subscriptions
FILTERED_WORKLIST: Final = "1.2.840.10008.5.1.4.34.5.1"
UPS_PUSH: Final = "1.2.840.10008.5.1.4.34.6.1"

STATE: Final = "00741000"
READINESS: Final = "00404041"
TRANSACTION_UID: Final = "00081195"
LABEL: Final = "00741204"
WORKLIST_LABEL: Final = "00741202"
PROGRESS_SEQUENCE: Final = "00741002"
PROGRESS: Final = "00741004"
PERFORMED_SEQUENCE: Final = "00741216"
STATION_NAMES: Final = "00404025"
PATIENT_ID: Final = "00100020"
SOP_INSTANCE: Final = "00080018"

ALREADY_IN_STATE: Final = "The UPS is already in the requested state of"

Attributes = dict[str, dict[str, object]]


def attribute(vr: str, *values: object) -> dict[str, object]:
    """Of DICOM JSON; empty without values."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def sequence(*items: Attributes) -> dict[str, object]:
    return attribute("SQ", *items)


def code(value: str, scheme: str = "99CONF", meaning: str = "Conformance") -> Attributes:
    return {
        "00080100": attribute("SH", value),
        "00080102": attribute("SH", scheme),
        "00080104": attribute("LO", meaning),
    }


def new_uid(target: Target, name: str) -> str:
    """A UID of the suite's own (2.25., PS3.5 section B.2), which messages call by the name."""
    uid = f"2.25.{uuid.uuid4().int}"
    target.shown.add_own([uid])
    target.shown.names[uid] = f"{{{name}}}"
    return uid


def new_patient_id(target: Target) -> str:
    """Of a patient that no other case and no other run has."""
    made = f"CONF-{uuid.uuid4().hex[:12].upper()}"
    target.shown.add_own([made])
    return made


def scheduled(patient_id: str = "CONFORMANCE-UPS") -> Attributes:
    """All that a SCHEDULED workitem has to have (types 1 and 2 of PS3.4 Table CC.2.5-3)."""
    return {
        "00081080": attribute("LO"),
        "00081084": sequence(),
        TRANSACTION_UID: attribute("UI"),
        "00100010": attribute("PN", {"Alphabetic": "Conformance^Worklist"}),
        PATIENT_ID: attribute("LO", patient_id),
        "00100030": attribute("DA", "19700101"),
        "00100040": attribute("CS", "O"),
        "00101002": sequence(),
        "0020000D": attribute("UI"),
        "00380010": attribute("LO"),
        "00380014": sequence(),
        "00400400": attribute("LT"),
        "00404005": attribute("DT", "20240105101500"),
        "00404018": sequence(),
        "00404021": sequence(),
        STATION_NAMES: sequence(),
        "00404026": sequence(),
        "00404027": sequence(),
        READINESS: attribute("CS", "READY"),
        "0040A370": sequence(),
        STATE: attribute("CS", SCHEDULED),
        PROGRESS_SEQUENCE: sequence(),
        "00741200": attribute("CS", "MEDIUM"),
        WORKLIST_LABEL: attribute("LO", "Conformance"),
        LABEL: attribute("LO", "Conformance check"),
        "00741210": sequence(),
        PERFORMED_SEQUENCE: sequence(),
    }


def performed() -> Attributes:
    """What is missing for COMPLETED (code P of PS3.4 Table CC.2.5-3)."""
    return {
        PERFORMED_SEQUENCE: sequence(
            {
                "00404019": sequence(code("WORK")),
                "00404028": sequence(code("STATION")),
                "00404033": sequence(),
                "00404050": attribute("DT", "20240105101600"),
                "00404051": attribute("DT", "20240105102600"),
            }
        )
    }


def discontinued() -> Attributes:
    """What is missing for CANCELED but its date and time, which the server fills in."""
    return {
        PROGRESS_SEQUENCE: sequence({"0074100E": sequence(code("110513", "DCM", "Discontinued"))})
    }


def progress(percent: int) -> Attributes:
    return {PROGRESS_SEQUENCE: sequence({PROGRESS: attribute("DS", percent)})}


def as_json(attributes: Attributes) -> bytes:
    """An array of one dataset (section 11.1.3), the attributes in ascending order."""
    return json.dumps([dict(sorted(attributes.items()))]).encode()


def as_xml(attributes: Attributes) -> bytes:
    """A Native DICOM Model (PS3.19 section A.1)."""
    root = Element("NativeDicomModel", {"xmlns": native_xml.NAMESPACE, "xml:space": "preserve"})
    _add_attributes(root, attributes)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _add_attributes(parent: Element, attributes: Attributes) -> None:
    for tag, one in sorted(attributes.items()):
        element = SubElement(parent, "DicomAttribute", {"tag": tag, "vr": str(one["vr"])})
        for number, value in enumerate(dicom_json.values_of({tag: one}, tag), 1):
            if not isinstance(value, dict):
                SubElement(element, "Value", number=str(number)).text = str(value)
            elif one["vr"] == "SQ":
                _add_attributes(SubElement(element, "Item", number=str(number)), value)
            else:
                name = SubElement(element, "PersonName", number=str(number))
                group = SubElement(name, "Alphabetic")
                family, _, given = str(value["Alphabetic"]).partition("^")
                SubElement(group, "FamilyName").text = family
                SubElement(group, "GivenName").text = given


def as_xml_part(attributes: Attributes) -> tuple[str, bytes]:
    """The Content-Type and the payload of a multipart with one dataset."""
    part = ({"Content-Type": "application/dicom+xml"}, as_xml(attributes))
    return multipart.write([part], root_type="application/dicom+xml")


def texts_in(value: object) -> Iterator[str]:
    """Every value at any depth, which a report may then show."""
    if isinstance(value, dict):
        for name, below in value.items():
            if name != "vr":
                yield from texts_in(below)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
    else:
        yield str(value)


def require_operation(target: Target, method: str, path: str) -> None:
    """Raises NotClaimed: the capabilities do not name it (`path` as in claims.Operation)."""
    if target.claims.known and method not in target.claims.methods(path):
        raise NotClaimed(f"the capabilities do not name {method} {path}")


def require_known(target: Target, answer: Response) -> None:
    """Raises NotClaimed: the server described nothing, and knows no such resource."""
    if answer.status in (404, 405, 501) and not target.claims.known:
        raise NotClaimed(f"{answer.asked}: {answer.status}, and it describes no capabilities")


def warned(answer: Response, *texts: str) -> bool:
    """Has the response one of these Warnings? (`299 <service>: <text>`, in quotes or not.)"""
    received = " ".join(answer.headers.get_list("warning"))
    return any(re.search(rf'299 \S+\s+"?{re.escape(text)}', received) for text in texts)


def expect_warning(answer: Response, *texts: str) -> None:
    wanted = " or ".join(f'"{text}"' for text in texts)
    expect(warned(answer, *texts), f"{answer.asked}: {answer.status} without the Warning {wanted}")


@dataclass(slots=True)
class Workitem:
    """One of the suite's own, and what it takes to claim it."""

    target: Target
    uid: str
    patient_id: str = ""
    transaction_uid: str = ""
    is_final: bool = False

    @property
    def path(self) -> str:
        return f"/workitems/{self.uid}"

    async def get(self) -> dict[str, object]:
        """Its one dataset. Raises Violated."""
        answer = await self.target.get(self.path)
        answer.expect_status(200)
        answer.expect_media_type(DICOM_JSON)
        found = answer.json()
        # some versions of the Standard show the bare object; a case of its own wants the array
        listed: list[object] = found if isinstance(found, list) else [found]
        expect(len(listed) == 1, f"{answer.asked}: {len(listed)} datasets instead of one")
        if not isinstance(listed[0], dict):
            raise Violated(f"{answer.asked}: the workitem is no JSON object")
        return dict(listed[0])

    async def text(self, tag: str) -> str:
        return dicom_json.text(await self.get(), tag)

    async def expect_state(self, *states: str) -> None:
        state = await self.text(STATE)
        wanted = " or ".join(states)
        expect(state in states, f"the workitem is {state or 'in no state'} instead of {wanted}")

    async def change_state(self, state: str, transaction_uid: str | None = None) -> Response:
        """`transaction_uid`: None for the one that it was claimed with, "" for none."""
        sent = {STATE: attribute("CS", state)} if state else {}
        own = self.transaction_uid if transaction_uid is None else transaction_uid
        if own:
            sent[TRANSACTION_UID] = attribute("UI", own)
        return await self.put_state(as_json(sent))

    async def put_state(self, content: bytes) -> Response:
        return await self.target.request(
            "PUT",
            f"{self.path}/state",
            headers={"Content-Type": DICOM_JSON},
            content=content,
        )

    async def claim(self) -> Response:
        self.transaction_uid = new_uid(self.target, "transaction")
        return await self.change_state(IN_PROGRESS)

    async def update(self, attributes: Attributes, transaction_uid: str | None = None) -> Response:
        own = self.transaction_uid if transaction_uid is None else transaction_uid
        self.target.shown.add_own(texts_in(attributes))
        return await self.target.post(
            self.path, as_json(attributes), content_type=DICOM_JSON, query=own
        )

    async def request_cancel(self, attributes: Attributes | None = None) -> Response:
        path = f"{self.path}/cancelrequest"
        if attributes is None:
            return await self.target.request("POST", path)
        return await self.target.post(path, as_json(attributes), content_type=DICOM_JSON)

    async def bring_to(self, state: str) -> None:
        """Raises Unmet: it cannot be brought there."""
        if state == SCHEDULED:
            return
        claimed = await self.claim()
        need(claimed.status == 200, f"a workitem cannot be claimed: {claimed.status}")
        if state == IN_PROGRESS:
            return
        lacking = performed() if state == COMPLETED else discontinued()
        updated = await self.update(lacking)
        need(updated.status == 200, f"a claimed workitem cannot be updated: {updated.status}")
        changed = await self.change_state(state)
        need(changed.status == 200, f"a workitem cannot become {state}: {changed.status}")
        self.is_final = True

    async def give_up(self) -> None:
        """Leaves it in a final state: a server has no way to delete a workitem."""
        if self.is_final:
            return
        try:
            if not self.transaction_uid:
                if (await self.request_cancel()).status == 202:
                    return
                await self.claim()
            await self.update(discontinued())
            await self.change_state(CANCELED)
        except (Violated, Unmet):
            return


async def create(
    target: Target, attributes: Attributes, uid: str, *, content_type: str = DICOM_JSON
) -> Response:
    target.shown.add_own(texts_in(attributes))
    return await target.post(
        "/workitems", as_json(attributes), content_type=content_type, query=uid
    )


async def created(
    target: Target, attributes: Attributes | None = None, *, patient_id: str = ""
) -> Workitem:
    """A new SCHEDULED one with these attributes instead of the usual ones.

    Raises Unmet, or NotClaimed where there is no worklist at all.
    """
    uid = new_uid(target, "workitem")
    sent = scheduled(patient_id or "CONFORMANCE-UPS") | (attributes or {})
    answer = await create(target, sent, uid)
    require_known(target, answer)
    need(answer.status == 201, f"a workitem cannot be created: {answer.status}")
    return Workitem(target, uid, patient_id)


@asynccontextmanager
async def workitem(
    target: Target,
    state: str = SCHEDULED,
    attributes: Attributes | None = None,
    *,
    patient_id: str = "",
) -> AsyncIterator[Workitem]:
    """One in that state. Raises Unmet: there is none to be had."""
    made = await created(target, attributes, patient_id=patient_id)
    try:
        await made.bring_to(state)
        yield made
    finally:
        await made.give_up()


@asynccontextmanager
async def several(
    target: Target, *variants: Attributes, patient_id: str
) -> AsyncIterator[list[Workitem]]:
    """SCHEDULED ones of one patient, as `workitem` makes them."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                workitem(target, attributes=each, patient_id=patient_id)
            )
            for each in variants
        ]


def uids_of(rows: Iterable[dict[str, object]]) -> set[str]:
    return {dicom_json.text(row, SOP_INSTANCE) for row in rows}
