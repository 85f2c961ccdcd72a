"""UPS: workitems are created and retrieved (sections 11.4 and 11.5, PS3.4 Annex CC)."""

import json
from typing import Final

from pydicom.dataset import Dataset

from dicomweb_conformance import dicom_json, native_xml
from dicomweb_conformance.associations import SUCCESS, Context, Dialogue, talk
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.media_types import DICOM_JSON, DICOM_XML
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, expect, need
from dicomweb_conformance.workitems import (
    COMPLETED,
    IN_PROGRESS,
    LABEL,
    PATIENT_ID,
    READINESS,
    SCHEDULED,
    SOP_INSTANCE,
    STATE,
    TRANSACTION_UID,
    UPS_PUSH,
    WORKLIST_LABEL,
    WORKLIST_SERVICE,
    Attributes,
    Workitem,
    as_json,
    as_xml_part,
    attribute,
    create,
    created,
    expect_warning,
    new_uid,
    require_known,
    scheduled,
    workitem,
)

_CREATED_MODIFIED: Final = "The Workitem was created with modifications"


async def _need_creation(target: Target) -> None:
    """Raises Unmet: not even a complete workitem is taken."""
    await (await created(target)).give_up()


async def _expect_refused(
    target: Target, attributes: Attributes, statuses: tuple[int, ...]
) -> None:
    """The workitem is not created."""
    made = Workitem(target, new_uid(target, "refused workitem"))
    answer = await create(target, attributes, made.uid)
    if answer.status == 201:
        await made.give_up()
    answer.expect_status(*statuses)


@case(
    "UPS-01",
    section="11.4.1, 11.4.3",
    level=Level.SHALL,
    requirement="A workitem that has all it needs is created under the UID in the query, and"
    " Location leads to it.",
    request="POST {b}/workitems?{uid} with a SCHEDULED workitem in DICOM JSON",
    expected="201; Location is the URL of the workitem, which can be retrieved",
    needs=WORKLIST_SERVICE,
)
async def workitem_is_created_and_can_be_found_at_its_location(target: Target) -> None:
    uid = new_uid(target, "workitem")
    answer = await create(target, scheduled(), uid)
    require_known(target, answer)
    answer.expect_status(201)
    made = Workitem(target, uid)
    try:
        location = answer.headers.get("location", "")
        expect(bool(location), f"{answer.asked}: 201 without a Location")
        at = str(
            target.client.build_request("GET", target.base_url + "/workitems").url.join(location)
        )
        expect(at.endswith(made.path), "Location does not end with /workitems/{workitem}")
        (await target.get(at)).expect_status(200)
    finally:
        await made.give_up()


async def _works(target: Target, query: str, uid: str, content: bytes) -> bool:
    answer = await target.post("/workitems", content, content_type=DICOM_JSON, query=query)
    if answer.status != 201:
        return False
    made = Workitem(target, uid)
    is_there = (await target.get(made.path)).status == 200
    if is_there:
        await made.give_up()
    return is_there


@case(
    "UPS-02",
    section="11.4.1, 11.4.1.4",
    level=Level.MAY,
    requirement="Clients of other editions name the new workitem with a parameter, or send a bare"
    " JSON object.",
    request="POST {b}/workitems?workitem={uid}, ?AffectedSOPInstanceUID={uid}, ?{uid} with an"
    " object instead of an array",
    expected="says which forms work",
    needs=WORKLIST_SERVICE,
)
async def other_forms_of_create_work(target: Target) -> None:
    await _need_creation(target)
    uids = [new_uid(target, "workitem") for _ in range(3)]
    payload, bare = as_json(scheduled()), json.dumps(scheduled()).encode()
    forms = {
        "?workitem=": await _works(target, f"workitem={uids[0]}", uids[0], payload),
        "?AffectedSOPInstanceUID=": await _works(
            target, f"AffectedSOPInstanceUID={uids[1]}", uids[1], payload
        ),
        "a bare JSON object": await _works(target, uids[2], uids[2], bare),
    }
    works = [form for form, does in forms.items() if does]
    target.note(f"works: {', '.join(works) or 'none of the other forms'}")


@case(
    "UPS-03",
    section="11.4.1.1",
    level=Level.SHALL,
    requirement="Where the target is /workitems, the UID of the new workitem is taken from the"
    " dataset.",
    request="POST {b}/workitems with SOP Instance UID (0008,0018) in the dataset",
    expected="201; the workitem has that UID",
    needs=WORKLIST_SERVICE,
)
async def uid_of_the_dataset_names_the_workitem(target: Target) -> None:
    await _need_creation(target)
    made = Workitem(target, new_uid(target, "workitem"))
    named = scheduled() | {SOP_INSTANCE: attribute("UI", made.uid)}
    answer = await create(target, named, "")
    answer.expect_status(201)
    try:
        (await target.get(made.path)).expect_status(200)
    finally:
        await made.give_up()


@case(
    "UPS-04",
    section="11.4.1.1",
    level=Level.SHOULD,
    requirement="A workitem that nothing gives a UID is refused, or given one that Location tells.",
    request="POST {b}/workitems without a UID in query and dataset",
    expected="400, or 201 with a Location",
    needs=WORKLIST_SERVICE,
)
async def workitem_without_a_uid_is_refused_or_given_one(target: Target) -> None:
    await _need_creation(target)
    answer = await create(target, scheduled(), "")
    answer.expect_status(400, 201)
    target.note(f"a new workitem without a UID: {answer.status}")
    if answer.status == 201:
        uid = answer.headers.get("location", "").rstrip("/").rpartition("/workitems/")[2]
        expect(bool(uid), f"{answer.asked}: 201 without the Location of a workitem")
        target.shown.add_own([uid])
        await Workitem(target, uid).give_up()


@case(
    "UPS-05",
    section="11.4.3.1",
    level=Level.SHALL,
    requirement="A workitem that exists is not created a second time.",
    request="POST {b}/workitems?{uid} twice",
    expected="201, then 409",
    needs=WORKLIST_SERVICE,
)
async def second_workitem_of_a_uid_is_409(target: Target) -> None:
    async with workitem(target) as made:
        changed = scheduled() | {LABEL: attribute("LO", "another")}
        (await create(target, changed, made.uid)).expect_status(409)
        label = await made.text(LABEL)
        expect(label == "Conformance check", "the second one has replaced the first")


@case(
    "UPS-06",
    section="11.4.1.4, PS3.4 CC.2.5.3",
    level=Level.SHALL,
    requirement="A workitem is created in the state SCHEDULED and in no other.",
    request="POST {b}/workitems?{uid} with Procedure Step State IN PROGRESS",
    expected="400",
    needs=WORKLIST_SERVICE,
)
async def workitem_in_another_state_is_not_created(target: Target) -> None:
    await _need_creation(target)
    await _expect_refused(target, scheduled() | {STATE: attribute("CS", IN_PROGRESS)}, (400,))


_TYPE_1: Final = {
    "00741200": "Scheduled Procedure Step Priority",
    LABEL: "Procedure Step Label",
    "00404005": "Scheduled Procedure Step Start DateTime",
    READINESS: "Input Readiness State",
    STATE: "Procedure Step State",
}


@case(
    "UPS-07",
    section="11.4.1.4, PS3.4 CC.2.5.1.3",
    level=Level.SHALL,
    requirement="A workitem without an attribute of type 1 is not created.",
    request="POST {b}/workitems?{uid} without (0074,1200), (0074,1204), (0040,4005), (0040,4041),"
    " (0074,1000): one at a time",
    expected="400 each",
    needs=WORKLIST_SERVICE,
)
async def type_1_attributes_are_required(target: Target) -> None:
    await _need_creation(target)
    for tag, name in _TYPE_1.items():
        made = Workitem(target, new_uid(target, "refused workitem"))
        lacking = {key: value for key, value in scheduled().items() if key != tag}
        answer = await create(target, lacking, made.uid)
        if answer.status == 201:
            await made.give_up()
        expect(answer.status == 400, f"without {name}: expected 400, got {answer.status}")


@case(
    "UPS-08",
    section="11.4.1.4, PS3.3 C.30.1",
    level=Level.SHALL,
    requirement="Priority and input readiness have one of their enumerated values.",
    request="POST {b}/workitems?{uid} with the priority URGENT; with the input readiness YES",
    expected="400 each",
    needs=WORKLIST_SERVICE,
)
async def values_that_are_not_enumerated_are_400(target: Target) -> None:
    await _need_creation(target)
    await _expect_refused(target, scheduled() | {"00741200": attribute("CS", "URGENT")}, (400,))
    await _expect_refused(target, scheduled() | {READINESS: attribute("CS", "YES")}, (400,))


@case(
    "UPS-09",
    section="11.4.3.2, PS3.4 CC.2.5.1.3",
    level=Level.SHOULD,
    requirement="A workitem that lacks an attribute of type 2 is refused, or completed and said to"
    " be modified.",
    request="POST {b}/workitems?{uid} without Patient's Name",
    expected="400, or 201 with the Warning of modifications",
    needs=WORKLIST_SERVICE,
)
async def missing_type_2_attribute_is_not_passed_over(target: Target) -> None:
    await _need_creation(target)
    made = Workitem(target, new_uid(target, "workitem"))
    lacking = {key: value for key, value in scheduled().items() if key != "00100010"}
    answer = await create(target, lacking, made.uid)
    answer.expect_status(400, 201)
    target.note(f"a new workitem without an attribute of type 2: {answer.status}")
    if answer.status == 201:
        await made.give_up()
        expect_warning(answer, _CREATED_MODIFIED)


@case(
    "UPS-10",
    section="11.4.3.2, PS3.4 CC.2.5.1.3",
    level=Level.SHALL,
    requirement="A Transaction UID in the new workitem claims nothing: it is refused, or taken out"
    " and said to be.",
    request="POST {b}/workitems?{uid} with a Transaction UID (0008,1195)",
    expected="400, or 201 with the Warning of modifications, and it can be claimed",
    needs=WORKLIST_SERVICE,
)
async def new_workitem_is_not_locked(target: Target) -> None:
    await _need_creation(target)
    made = Workitem(target, new_uid(target, "workitem"))
    locked = scheduled() | {TRANSACTION_UID: attribute("UI", new_uid(target, "transaction"))}
    answer = await create(target, locked, made.uid)
    answer.expect_status(400, 201)
    target.note(f"a new workitem with a Transaction UID: {answer.status}")
    if answer.status == 400:
        return
    try:
        expect_warning(answer, _CREATED_MODIFIED)
        await made.expect_state(SCHEDULED)
        (await made.claim()).expect_status(200)
    finally:
        await made.give_up()


@case(
    "UPS-11",
    section="11.4.2, PS3.4 CC.2.5.1.3",
    level=Level.SHALL,
    requirement="The server sets the SOP Class UID and the modification time of a new workitem, and"
    " fills an empty worklist label.",
    request="POST {b}/workitems?{uid} with an empty Worklist Label, then GET",
    expected="(0008,0016) is UPS Push, (0040,4010) and (0074,1202) have values",
    needs=WORKLIST_SERVICE,
)
async def server_fills_what_is_its_own(target: Target) -> None:
    async with workitem(target, attributes={WORKLIST_LABEL: attribute("LO")}) as made:
        found = await made.get()
        sop_class = dicom_json.text(found, "00080016")
        expect(sop_class == UPS_PUSH, f"the SOP Class UID is not UPS Push ({UPS_PUSH})")
        for tag in ("00404010", WORKLIST_LABEL):
            expect(bool(dicom_json.text(found, tag)), f"{tag} has no value")


@case(
    "UPS-12",
    section="11.4, 11.1.3",
    level=Level.SHALL,
    requirement="A workitem can be created in DICOM XML.",
    request='POST {b}/workitems?{uid}, multipart/related; type="application/dicom+xml"',
    expected="201; it holds what was sent",
    needs=WORKLIST_SERVICE,
)
async def workitem_is_created_from_xml(target: Target) -> None:
    await _need_creation(target)
    made = Workitem(target, new_uid(target, "workitem"))
    content_type, payload = as_xml_part(scheduled())
    answer = await target.post("/workitems", payload, content_type=content_type, query=made.uid)
    answer.expect_status(201)
    try:
        expect(await made.text(LABEL) == "Conformance check", "the label is not what was sent")
        await made.expect_state(SCHEDULED)
    finally:
        await made.give_up()


@case(
    "UPS-13",
    section="11.5, 11.1.3",
    level=Level.SHALL,
    requirement="A workitem can be retrieved in DICOM JSON, in an array of one, and in DICOM XML.",
    request="GET {b}/workitems/{uid}, Accept: application/dicom+json; then XML",
    expected="200, one top-level array with one object; 200, one Native DICOM Model",
    needs=WORKLIST_SERVICE,
)
async def workitem_is_retrieved_in_json_and_xml(target: Target) -> None:
    async with workitem(target) as made:
        rows = (await target.get(made.path)).datasets()
        expect(len(rows) == 1, f"{len(rows)} datasets instead of one")
        documents = (await target.get(made.path, accept=DICOM_XML)).xml_documents()
        expect(len(documents) == 1, f"{len(documents)} XML documents instead of one")
        from_xml = native_xml.to_json(documents[0])
        for tag in (STATE, LABEL, PATIENT_ID):
            same = dicom_json.text(rows[0], tag) == dicom_json.text(from_xml, tag)
            expect(same, f"{tag} differs between JSON and XML")
        expect(dicom_json.text(rows[0], LABEL) == "Conformance check", "the label is another")


@case(
    "UPS-14",
    section="11.5.2, PS3.4 CC.2.7.3",
    level=Level.SHALL,
    requirement="The Transaction UID of a workitem is never told.",
    request="GET {b}/workitems/{uid} of one that is IN PROGRESS",
    expected="200 without (0008,1195)",
    needs=WORKLIST_SERVICE,
)
async def transaction_uid_is_not_retrieved(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        found = await made.get()
        expect(
            made.transaction_uid not in json.dumps(found) and not found.get(TRANSACTION_UID),
            "the workitem holds a Transaction UID (0008,1195)",
        )


@case(
    "UPS-15",
    section="11.5.3.1",
    level=Level.SHALL,
    requirement="A workitem that is not known is 404.",
    request="GET {b}/workitems/{a UID that nothing has}",
    expected="404",
    needs=WORKLIST_SERVICE,
)
async def unknown_workitem_is_404(target: Target) -> None:
    async with workitem(target) as made:
        answer = await target.get(made.path)
        need(answer.status == 200, f"no workitem can be retrieved: {answer.status}")
        (await target.get(f"/workitems/{new_uid(target, 'unknown')}")).expect_status(404)


@case(
    "UPS-80",
    section="11.5.3.1, PS3.4 CC.2.1.3",
    level=Level.MAY,
    requirement="A workitem in a final state may be removed, once nobody holds a deletion lock.",
    request="GET {b}/workitems/{uid} of a COMPLETED workitem",
    expected="200, or 404 or 410 where it is removed at once",
    needs=WORKLIST_SERVICE,
)
async def completed_workitem_is_kept_or_removed(target: Target) -> None:
    async with workitem(target, COMPLETED) as made:
        answer = await target.get(made.path)
        answer.expect_status(200, 404, 410)
        target.note(f"a workitem just COMPLETED: {answer.status}")


_CREATED: Final = (SUCCESS, 0xB300)  # 0xB300: with modifications


_NOT_AUTHORIZED: Final = 0x0124


@case(
    "UPS-79",
    section="11.2, PS3.4 CC.1",
    level=Level.SHALL,
    requirement="A workitem that was made through DIMSE is the same through DICOMweb.",
    request="N-CREATE on UPS Push, then GET {b}/workitems/{uid} and PUT .../state",
    expected="0x0000 (or 0xB300); 200 with the state SCHEDULED and its label; it can be claimed",
    needs=(*WORKLIST_SERVICE, Feature.DIMSE),
)
async def workitem_made_through_dimse_is_the_same(target: Target) -> None:
    made = Workitem(target, new_uid(target, "workitem"))
    dataset = Dataset.from_json(scheduled())

    def work(dialogue: Dialogue) -> int:
        dialogue.require(UPS_PUSH, "UPS Push")
        answer, _ = dialogue.association.send_n_create(dataset, UPS_PUSH, made.uid)
        expect("Status" in answer, "N-CREATE: no response")
        dialogue.said.append(("N-CREATE", f"status 0x{int(answer.Status):04X}"))
        return int(answer.Status)

    status = await talk(target, [Context(UPS_PUSH)], work)
    need(status != _NOT_AUTHORIZED, "N-CREATE: not authorized: the server has to permit it")
    expect(status in _CREATED, f"N-CREATE: the status is 0x{status:04X}")
    try:
        await made.expect_state(SCHEDULED)
        expect(await made.text(LABEL) == "Conformance check", "the label is another")
        (await made.claim()).expect_status(200)
    finally:
        await made.give_up()
