"""UPS: workitems are claimed, completed and canceled by who performs them (section 11.7)."""

from typing import Final

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, expect, need
from dicomweb_conformance.workitems import (
    ALREADY_IN_STATE,
    CANCELED,
    COMPLETED,
    IN_PROGRESS,
    PERFORMED_SEQUENCE,
    PROGRESS_SEQUENCE,
    SCHEDULED,
    STATE,
    WORKLIST_SERVICE,
    Workitem,
    discontinued,
    expect_warning,
    new_uid,
    performed,
    progress,
    workitem,
)

_MISSING: Final = "The Transaction UID is missing"
_INCORRECT: Final = "The Transaction UID is incorrect"
_INCONSISTENT: Final = "The submitted request is inconsistent with the state of the UPS Instance"


@case(
    "UPS-16",
    section="11.7.2, 11.7.3.3, PS3.4 CC.2.1.3",
    level=Level.SHALL,
    requirement="A SCHEDULED workitem is claimed with a Transaction UID that the client makes.",
    request="PUT {b}/workitems/{uid}/state with IN PROGRESS and a new Transaction UID",
    expected="200 without a payload; the workitem is IN PROGRESS",
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
)
async def second_completion_is_warned_about(target: Target) -> None:
    async with workitem(target, COMPLETED) as made:
        answer = await made.change_state(COMPLETED)
        answer.expect_status(200)
        expect_warning(answer, f"{ALREADY_IN_STATE} {COMPLETED}")


@case(
    "UPS-26",
    section="11.7.3.2, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="To cancel what is CANCELED is a success with a Warning.",
    request="PUT {b}/workitems/{uid}/state with CANCELED, twice",
    expected='200, Warning: 299 "The UPS is already in the requested state of CANCELED"',
    needs=WORKLIST_SERVICE,
)
async def second_cancellation_is_warned_about(target: Target) -> None:
    async with workitem(target, CANCELED) as made:
        answer = await made.change_state(CANCELED)
        answer.expect_status(200)
        expect_warning(answer, f"{ALREADY_IN_STATE} {CANCELED}")


@case(
    "UPS-27",
    section="11.7.3.1, PS3.4 CC.1.1",
    level=Level.SHALL,
    requirement="A final state is final: COMPLETED does not become CANCELED, nor the reverse.",
    request="PUT {b}/workitems/{uid}/state with the other final state",
    expected="409 or 400, with a Warning; the state remains",
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
