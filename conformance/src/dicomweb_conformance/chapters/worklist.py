"""UPS: the worklist service (chapter 11, PS3.4 Annex CC), all but its event reports."""

import asyncio
import json
from typing import Final

from pydicom.dataset import Dataset

from dicomweb_conformance import dicom_json, native_xml
from dicomweb_conformance.archive import SETTLE_S
from dicomweb_conformance.associations import SUCCESS, Context, Dialogue, talk
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.media_types import DICOM_JSON, DICOM_XML
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, expect, need
from dicomweb_conformance.workitems import (
    CANCELED,
    COMPLETED,
    IN_PROGRESS,
    LABEL,
    PATIENT_ID,
    PERFORMED_SEQUENCE,
    PROGRESS,
    PROGRESS_SEQUENCE,
    READINESS,
    SCHEDULED,
    SOP_INSTANCE,
    STATE,
    STATION_NAMES,
    TRANSACTION_UID,
    UPS_PUSH,
    WORKLIST_LABEL,
    Attributes,
    Workitem,
    as_json,
    as_xml_part,
    attribute,
    code,
    create,
    created,
    discontinued,
    expect_warning,
    new_patient_id,
    new_uid,
    performed,
    progress,
    require_known,
    scheduled,
    sequence,
    workitem,
)

_WORKLIST: Final = (Feature.WORKLIST, Feature.WRITING)
_POLL_S: Final = 0.25
_MISSING: Final = "The Transaction UID is missing"
_INCORRECT: Final = "The Transaction UID is incorrect"
_INCONSISTENT: Final = "The submitted request is inconsistent with the state of the UPS Instance"
_NOT_CLAIMED: Final = "The target URI did not reference a claimed Workitem"
_INCONSISTENT_UPDATE: Final = (
    "The submitted request is inconsistent with the current state of the Workitem"
)
_UPDATED_OTHERWISE: Final = (
    "The Workitem was updated with modifications",
    "Requested optional Attributes are not supported",
)
_ALREADY: Final = "The UPS is already in the requested state of"
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
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
    needs=_WORKLIST,
)
async def unknown_workitem_is_404(target: Target) -> None:
    async with workitem(target) as made:
        answer = await target.get(made.path)
        need(answer.status == 200, f"no workitem can be retrieved: {answer.status}")
        (await target.get(f"/workitems/{new_uid(target, 'unknown')}")).expect_status(404)


@case(
    "UPS-16",
    section="11.7.2, 11.7.3.3, PS3.4 CC.2.1.3",
    level=Level.SHALL,
    requirement="A SCHEDULED workitem is claimed with a Transaction UID that the client makes.",
    request="PUT {b}/workitems/{uid}/state with IN PROGRESS and a new Transaction UID",
    expected="200 without a payload; the workitem is IN PROGRESS",
    needs=_WORKLIST,
)
async def scheduled_workitem_is_claimed(target: Target) -> None:
    async with workitem(target) as made:
        answer = await made.claim()
        answer.expect_status(200)
        expect(not answer.content, f"{answer.asked}: 200 with a payload")
        await made.expect_state(IN_PROGRESS)


@case(
    "UPS-17",
    section="11.7.1.4, 11.7.3.1, 11.7.3.2",
    level=Level.SHALL,
    requirement="A claim without a Transaction UID is refused, and a Warning says so.",
    request="PUT {b}/workitems/{uid}/state with IN PROGRESS and no Transaction UID",
    expected='400, Warning: 299 "The Transaction UID is missing", still SCHEDULED',
    needs=_WORKLIST,
)
async def claim_without_a_transaction_uid_is_400(target: Target) -> None:
    async with workitem(target) as made:
        answer = await made.change_state(IN_PROGRESS, "")
        answer.expect_status(400)
        expect_warning(answer, _MISSING)
        await made.expect_state(SCHEDULED)


@case(
    "UPS-18",
    section="11.7.3.2, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="A workitem that is IN PROGRESS cannot be claimed again, not even by its owner.",
    request="PUT {b}/workitems/{uid}/state with IN PROGRESS and its own Transaction UID",
    expected="409 or 400, with the Warning of an inconsistent request",
    needs=_WORKLIST,
)
async def second_claim_of_the_owner_is_a_conflict(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        answer = await made.change_state(IN_PROGRESS)
        answer.expect_status(409, 400)
        expect_warning(answer, _INCONSISTENT)


@case(
    "UPS-19",
    section="11.7.3.2, PS3.4 CC.2.1.3",
    level=Level.SHALL,
    requirement="A workitem that somebody has claimed cannot be claimed by another.",
    request="PUT {b}/workitems/{uid}/state with IN PROGRESS and another Transaction UID",
    expected="400 or 409 with a Warning; the first Transaction UID remains the right one",
    needs=_WORKLIST,
)
async def claimed_workitem_is_not_given_to_another(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        answer = await made.change_state(IN_PROGRESS, new_uid(target, "another transaction"))
        answer.expect_status(400, 409)
        expect_warning(answer, _INCORRECT, _INCONSISTENT)
        kept = await made.update(progress(10))
        expect(kept.status == 200, f"the first owner cannot update any more: {kept.status}")


@case(
    "UPS-20",
    section="11.7.1.4, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="No workitem can be set to SCHEDULED.",
    request="PUT {b}/workitems/{uid}/state with SCHEDULED: of one SCHEDULED, one IN PROGRESS",
    expected="400 or 409; the state remains",
    needs=_WORKLIST,
)
async def nothing_becomes_scheduled(target: Target) -> None:
    for state in (SCHEDULED, IN_PROGRESS):
        async with workitem(target, state) as made:
            own = made.transaction_uid or new_uid(target, "transaction")
            answer = await made.change_state(SCHEDULED, own)
            answer.expect_status(400, 409)
            expect_warning(answer, _INCONSISTENT, _INCORRECT)
            await made.expect_state(state)


@case(
    "UPS-21",
    section="11.7.3.1, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="A SCHEDULED workitem cannot be completed or canceled before it is claimed.",
    request="PUT {b}/workitems/{uid}/state with COMPLETED; with CANCELED",
    expected="409 or 400; still SCHEDULED",
    needs=_WORKLIST,
)
async def scheduled_workitem_has_to_be_claimed_first(target: Target) -> None:
    async with workitem(target) as made:
        for state in (COMPLETED, CANCELED):
            answer = await made.change_state(state, new_uid(target, "transaction"))
            answer.expect_status(409, 400)
            await made.expect_state(SCHEDULED)


@case(
    "UPS-22",
    section="11.7.3.1, PS3.4 CC.2.1.3",
    level=Level.SHALL,
    requirement="A workitem is not completed before it has what its final state requires.",
    request="PUT {b}/workitems/{uid}/state with COMPLETED, nothing performed",
    expected="409 or 400; still IN PROGRESS",
    needs=_WORKLIST,
)
async def completion_needs_what_was_performed(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        answer = await made.change_state(COMPLETED)
        answer.expect_status(409, 400)
        await made.expect_state(IN_PROGRESS)


@case(
    "UPS-23",
    section="11.7.2, PS3.4 CC.2.1.3",
    level=Level.SHALL,
    requirement="A workitem that has what its final state requires is completed by its owner.",
    request="POST {b}/workitems/{uid}?{transaction} with the performed procedure, PUT COMPLETED",
    expected="200, 200; the workitem is COMPLETED",
    needs=_WORKLIST,
)
async def performed_workitem_is_completed(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        (await made.update(performed())).expect_status(200)
        (await made.change_state(COMPLETED)).expect_status(200)
        made.is_final = True
        found = await made.get()
        expect(dicom_json.text(found, STATE) == COMPLETED, "the workitem is not COMPLETED")
        expect(
            len(dicom_json.values_of(found, PERFORMED_SEQUENCE)) == 1,
            "the performed procedure is not there",
        )


@case(
    "UPS-24",
    section="11.7.3.1, 11.7.3.2, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="Only who has the Transaction UID of a workitem can complete it.",
    request="PUT {b}/workitems/{uid}/state with COMPLETED: with another Transaction UID, with none",
    expected="400 or 409, with the Warning that it is incorrect, that it is missing",
    needs=_WORKLIST,
)
async def completion_needs_the_transaction_uid(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        updated = await made.update(performed())
        need(updated.status == 200, f"a claimed workitem cannot be updated: {updated.status}")
        wrong = await made.change_state(COMPLETED, new_uid(target, "another transaction"))
        wrong.expect_status(400, 409)
        expect_warning(wrong, _INCORRECT)
        none = await made.change_state(COMPLETED, "")
        none.expect_status(400, 409)
        expect_warning(none, _MISSING)
        await made.expect_state(IN_PROGRESS)


@case(
    "UPS-25",
    section="11.7.3.2, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="To complete what is COMPLETED is a success with a Warning.",
    request="PUT {b}/workitems/{uid}/state with COMPLETED, twice",
    expected='200, Warning: 299 "The UPS is already in the requested state of COMPLETED"',
    needs=_WORKLIST,
)
async def second_completion_is_warned_about(target: Target) -> None:
    async with workitem(target, COMPLETED) as made:
        answer = await made.change_state(COMPLETED)
        answer.expect_status(200)
        expect_warning(answer, f"{_ALREADY} {COMPLETED}")


@case(
    "UPS-26",
    section="11.7.3.2, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="To cancel what is CANCELED is a success with a Warning.",
    request="PUT {b}/workitems/{uid}/state with CANCELED, twice",
    expected='200, Warning: 299 "The UPS is already in the requested state of CANCELED"',
    needs=_WORKLIST,
)
async def second_cancellation_is_warned_about(target: Target) -> None:
    async with workitem(target, CANCELED) as made:
        answer = await made.change_state(CANCELED)
        answer.expect_status(200)
        expect_warning(answer, f"{_ALREADY} {CANCELED}")


@case(
    "UPS-27",
    section="11.7.3.1, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="A final state is final: COMPLETED does not become CANCELED, nor the reverse.",
    request="PUT {b}/workitems/{uid}/state with the other final state",
    expected="409 or 400, with a Warning; the state remains",
    needs=_WORKLIST,
)
async def final_states_are_final(target: Target) -> None:
    for state, other in ((COMPLETED, CANCELED), (CANCELED, COMPLETED)):
        async with workitem(target, state) as made:
            answer = await made.change_state(other)
            answer.expect_status(409, 400)
            expect_warning(answer, _INCONSISTENT)
            await made.expect_state(state)


@case(
    "UPS-28",
    section="11.7.3.1",
    level=Level.SHALL,
    requirement="The state of a workitem that is not known is 404.",
    request="PUT {b}/workitems/{a UID that nothing has}/state with IN PROGRESS",
    expected="404",
    needs=_WORKLIST,
)
async def state_of_an_unknown_workitem_is_404(target: Target) -> None:
    async with workitem(target) as made:
        claimed = await made.claim()
        need(claimed.status == 200, f"no workitem can be claimed: {claimed.status}")
        (await Workitem(target, new_uid(target, "unknown")).claim()).expect_status(404)


@case(
    "UPS-29",
    section="11.7.1.4, 11.7.3.1",
    level=Level.SHALL,
    requirement="A change of state to something that is no state, or to nothing, is 400.",
    request="PUT {b}/workitems/{uid}/state with the state FOO; with an empty payload",
    expected="400 each; the state remains",
    needs=_WORKLIST,
)
async def state_that_is_none_is_400(target: Target) -> None:
    async with workitem(target) as made:
        (await made.change_state("FOO", new_uid(target, "transaction"))).expect_status(400)
        (await made.put_state(b"")).expect_status(400)
        await made.expect_state(SCHEDULED)


@case(
    "UPS-30",
    section="11.7.2, PS3.4 CC.2.1.3",
    level=Level.SHALL,
    requirement="The owner can cancel a workitem, and the server fills in when that was.",
    request="PUT {b}/workitems/{uid}/state with CANCELED",
    expected="200; CANCELED, with a Procedure Step Cancellation DateTime (0040,4052)",
    needs=_WORKLIST,
)
async def cancellation_is_dated(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        updated = await made.update(discontinued())
        need(updated.status == 200, f"a claimed workitem cannot be updated: {updated.status}")
        (await made.change_state(CANCELED)).expect_status(200)
        made.is_final = True
        found = await made.get()
        expect(dicom_json.text(found, STATE) == CANCELED, "the workitem is not CANCELED")
        items = dicom_json.values_of(found, PROGRESS_SEQUENCE)
        dated = any(dicom_json.text(item, "00404052") for item in items)
        expect(dated, "the Procedure Step Cancellation DateTime (0040,4052) is not filled in")


@case(
    "UPS-31",
    section="11.6.2, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="A SCHEDULED workitem is updated without a Transaction UID.",
    request="POST {b}/workitems/{uid} with another Procedure Step Label",
    expected="200; the workitem has the new label",
    needs=_WORKLIST,
)
async def scheduled_workitem_is_updated(target: Target) -> None:
    async with workitem(target) as made:
        (await made.update({LABEL: attribute("LO", "updated")})).expect_status(200)
        expect(await made.text(LABEL) == "updated", "the label is not the new one")


@case(
    "UPS-32",
    section="11.6.3.1, PS3.4 CC.2.6.2",
    level=Level.SHOULD,
    requirement="An update of a SCHEDULED workitem has no Transaction UID.",
    request="POST {b}/workitems/{uid}?{transaction} of a SCHEDULED workitem",
    expected="400 or 409",
    needs=_WORKLIST,
)
async def transaction_uid_without_a_claim_is_refused(target: Target) -> None:
    async with workitem(target) as made:
        changed = {LABEL: attribute("LO", "updated")}
        answer = await made.update(changed, new_uid(target, "transaction"))
        answer.expect_status(400, 409)


@case(
    "UPS-33",
    section="11.6.2, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="The owner can update a workitem that is IN PROGRESS.",
    request="POST {b}/workitems/{uid}?{transaction} with the progress 50",
    expected="200; the progress is 50",
    needs=_WORKLIST,
)
async def owner_updates_the_progress(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        (await made.update(progress(50))).expect_status(200)
        expect(await _progress(made) == 50, "the progress is not 50")


async def _progress(made: Workitem) -> float | None:
    items = dicom_json.values_of(await made.get(), PROGRESS_SEQUENCE)
    return dicom_json.number(items[0], PROGRESS) if items else None


@case(
    "UPS-34",
    section="11.6.3.1, 11.6.3.2, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="Only who has the Transaction UID of a claimed workitem can update it.",
    request="POST {b}/workitems/{uid} without, and with another Transaction UID",
    expected="400 or 409, with a Warning; nothing is changed",
    needs=_WORKLIST,
)
async def others_do_not_update_a_claimed_workitem(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        (await made.update(progress(10))).expect_status(200)
        for wrong in ("", new_uid(target, "another transaction")):
            answer = await made.update(progress(90), wrong)
            answer.expect_status(400, 409)
            expect_warning(answer, _NOT_CLAIMED, _INCONSISTENT_UPDATE)
            expect(await _progress(made) == 10, "the workitem was updated all the same")


@case(
    "UPS-35",
    section="11.6.2, 11.6.3.1",
    level=Level.SHALL,
    requirement="A workitem in a final state cannot be updated.",
    request="POST {b}/workitems/{uid}?{transaction} of a COMPLETED workitem",
    expected="400 or 409; nothing is changed",
    needs=_WORKLIST,
)
async def completed_workitem_is_not_updated(target: Target) -> None:
    async with workitem(target, COMPLETED) as made:
        (await made.update({LABEL: attribute("LO", "updated")})).expect_status(400, 409)
        expect(await made.text(LABEL) != "updated", "the workitem was updated all the same")


@case(
    "UPS-36",
    section="11.6.1.4, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="The state of a workitem is not changed by an update.",
    request="POST {b}/workitems/{uid} with Procedure Step State COMPLETED",
    expected="400 or 409, or 200 with the Warning that it was left out; still SCHEDULED",
    needs=_WORKLIST,
)
async def update_does_not_change_the_state(target: Target) -> None:
    async with workitem(target) as made:
        _expect_not_done(await made.update({STATE: attribute("CS", COMPLETED)}))
        await made.expect_state(SCHEDULED)


def _expect_not_done(answer: Response) -> None:
    """Refused, or left out and said to be (section 11.6.3.2)."""
    answer.expect_status(400, 409, 200)
    if answer.status == 200:
        expect_warning(answer, *_UPDATED_OTHERWISE)


@case(
    "UPS-37",
    section="11.6.1.4, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="Attributes that an update may not set, such as Patient ID, remain.",
    request="POST {b}/workitems/{uid} with another Patient ID",
    expected="400 or 409, or 200 with the Warning that it was left out; the Patient ID remains",
    needs=_WORKLIST,
)
async def update_does_not_change_the_patient(target: Target) -> None:
    patient_id = new_patient_id(target)
    async with workitem(target, patient_id=patient_id) as made:
        _expect_not_done(await made.update({PATIENT_ID: attribute("LO", "ANOTHER")}))
        expect(await made.text(PATIENT_ID) == patient_id, "the Patient ID is another")


@case(
    "UPS-38",
    section="11.6.2, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="An update replaces a sequence as a whole.",
    request="POST {b}/workitems/{uid} with one item where there were two",
    expected="200; only the new item is there",
    needs=_WORKLIST,
)
async def sequences_are_replaced_whole(target: Target) -> None:
    stations = {STATION_NAMES: sequence(code("ONE"), code("TWO"))}
    async with workitem(target, attributes=stations) as made:
        need(await _stations(made) == ["ONE", "TWO"], "the first two items are not there")
        (await made.update({STATION_NAMES: sequence(code("THREE"))})).expect_status(200)
        got = len(await _stations(made))
        expect(await _stations(made) == ["THREE"], f"not just the new item, {got} items")


async def _stations(made: Workitem) -> list[str]:
    items = dicom_json.values_of(await made.get(), STATION_NAMES)
    return [dicom_json.text(item, "00080100") for item in items]


@case(
    "UPS-39",
    section="11.6.2, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="The same update can be sent again and has the same result.",
    request="POST {b}/workitems/{uid}?{transaction} with the progress 40, twice",
    expected="200 each; the progress is 40, in one item",
    needs=_WORKLIST,
)
async def updates_are_idempotent(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        for _ in range(2):
            (await made.update(progress(40))).expect_status(200)
        got = dicom_json.values_of(await made.get(), PROGRESS_SEQUENCE)
        expect(len(got) == 1, f"{len(got)} items instead of one")
        expect(await _progress(made) == 40, "the progress is not 40")


@case(
    "UPS-40",
    section="11.6.2, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="An update is done as a whole or not at all.",
    request="POST {b}/workitems/{uid} with a new label and a priority that does not exist",
    expected="400 or 409; the label remains",
    needs=_WORKLIST,
)
async def updates_are_atomic(target: Target) -> None:
    async with workitem(target) as made:
        mixed = {LABEL: attribute("LO", "updated"), "00741200": attribute("CS", "URGENT")}
        (await made.update(mixed)).expect_status(400, 409)
        expect(await made.text(LABEL) != "updated", "the valid half of it was done")


@case(
    "UPS-41",
    section="11.6.3.1",
    level=Level.SHALL,
    requirement="The update of a workitem that is not known is 404.",
    request="POST {b}/workitems/{a UID that nothing has}",
    expected="404",
    needs=_WORKLIST,
)
async def update_of_an_unknown_workitem_is_404(target: Target) -> None:
    changed = {LABEL: attribute("LO", "updated")}
    async with workitem(target) as made:
        answer = await made.update(changed)
        need(answer.status == 200, f"no workitem can be updated: {answer.status}")
    unknown = Workitem(target, new_uid(target, "unknown"))
    (await unknown.update(changed)).expect_status(404)


async def _cancel_scheduled(target: Target, attributes: Attributes | None) -> None:
    """202 and canceled; 409 is what the example of Table 11.8.3-1 has."""
    async with workitem(target) as made:
        answer = await made.request_cancel(attributes)
        answer.expect_status(202, 409)
        target.note(f"a request to cancel what is SCHEDULED: {answer.status}")
        if answer.status == 409:
            await made.expect_state(SCHEDULED)
        else:
            await _expect_in_time(made, CANCELED)


async def _expect_in_time(made: Workitem, state: str) -> None:
    """202 does not say that the state has changed already."""
    for _ in range(int(SETTLE_S / _POLL_S)):
        if await made.text(STATE) == state:
            return
        await asyncio.sleep(_POLL_S)
    await made.expect_state(state)


_REASON: Final[Attributes] = {
    "00741238": attribute("LT", "Conformance check"),
    "0074100C": attribute("LO", "Conformance"),
}


@case(
    "UPS-42",
    section="11.8.2, 11.8.3.1, PS3.4 CC.2.2.3",
    level=Level.SHALL,
    requirement="A request to cancel a SCHEDULED workitem cancels it; section 11.8.3.1 allows 409.",
    request="POST {b}/workitems/{uid}/cancelrequest with a reason",
    expected="202, and the workitem becomes CANCELED; or 409, and it is still SCHEDULED",
    needs=_WORKLIST,
)
async def scheduled_workitem_is_canceled_on_request(target: Target) -> None:
    await _cancel_scheduled(target, _REASON)


@case(
    "UPS-43",
    section="11.8.2, 11.8.3.1, PS3.4 CC.2.2.3",
    level=Level.SHALL,
    requirement="A request to cancel what somebody else performs is passed on and changes nothing.",
    request="POST {b}/workitems/{uid}/cancelrequest with a reason, of one IN PROGRESS",
    expected="202 (or 409 where the performer cannot be reached); still IN PROGRESS",
    needs=_WORKLIST,
)
async def performer_decides_about_a_cancellation(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made:
        answer = await made.request_cancel(_REASON)
        answer.expect_status(202, 409)
        target.note(f"a request to cancel what is IN PROGRESS: {answer.status}")
        await made.expect_state(IN_PROGRESS)


@case(
    "UPS-44",
    section="11.8.3.1, PS3.4 CC.2.2.3",
    level=Level.SHALL,
    requirement="A request to cancel what is COMPLETED is a conflict.",
    request="POST {b}/workitems/{uid}/cancelrequest of a COMPLETED workitem",
    expected="409; still COMPLETED",
    needs=_WORKLIST,
)
async def completed_workitem_is_not_canceled(target: Target) -> None:
    async with workitem(target, COMPLETED) as made:
        (await made.request_cancel(_REASON)).expect_status(409)
        await made.expect_state(COMPLETED)


@case(
    "UPS-45",
    section="11.8.3.2, PS3.4 CC.2.2.3",
    level=Level.SHALL,
    requirement="A request to cancel what is CANCELED is answered with a Warning.",
    request="POST {b}/workitems/{uid}/cancelrequest of a CANCELED workitem",
    expected='202 or 409, Warning: 299 "The UPS is already in the requested state of CANCELED"',
    needs=_WORKLIST,
)
async def request_to_cancel_the_canceled_is_warned_about(target: Target) -> None:
    async with workitem(target, CANCELED) as made:
        answer = await made.request_cancel(_REASON)
        answer.expect_status(202, 409)
        expect_warning(answer, f"{_ALREADY} {CANCELED}")


@case(
    "UPS-46",
    section="11.8.1.4, 11.8.3.1",
    level=Level.SHALL,
    requirement="A request to cancel needs no payload.",
    request="POST {b}/workitems/{uid}/cancelrequest without a payload, of a SCHEDULED workitem",
    expected="as with a payload: 202 and CANCELED, or 409",
    needs=_WORKLIST,
)
async def request_to_cancel_needs_no_payload(target: Target) -> None:
    await _cancel_scheduled(target, None)


@case(
    "UPS-47",
    section="11.8.3.1",
    level=Level.SHALL,
    requirement="A request to cancel a workitem that is not known is 404.",
    request="POST {b}/workitems/{a UID that nothing has}/cancelrequest",
    expected="404",
    needs=_WORKLIST,
)
async def request_to_cancel_the_unknown_is_404(target: Target) -> None:
    async with workitem(target, COMPLETED) as made:
        answer = await made.request_cancel()
        need(answer.status != 404, "a request to cancel a known workitem is 404 as well")
        unknown = Workitem(target, new_uid(target, "unknown"))
        (await unknown.request_cancel(_REASON)).expect_status(404)


@case(
    "UPS-80",
    section="11.5.3.1, PS3.4 CC.2.1.3",
    level=Level.MAY,
    requirement="A workitem in a final state may be removed, once nobody holds a deletion lock.",
    request="GET {b}/workitems/{uid} of a COMPLETED workitem",
    expected="200, or 404 or 410 where it is removed at once",
    needs=_WORKLIST,
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
    needs=(*_WORKLIST, Feature.DIMSE),
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
