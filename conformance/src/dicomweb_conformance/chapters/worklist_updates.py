"""UPS: workitems are updated (section 11.6)."""

from typing import Final

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, expect, need
from dicomweb_conformance.workitems import (
    COMPLETED,
    IN_PROGRESS,
    LABEL,
    PATIENT_ID,
    PROGRESS,
    PROGRESS_SEQUENCE,
    SCHEDULED,
    STATE,
    STATION_NAMES,
    WORKLIST_SERVICE,
    Workitem,
    attribute,
    code,
    expect_warning,
    new_patient_id,
    new_uid,
    progress,
    sequence,
    workitem,
)

_NOT_CLAIMED: Final = "The target URI did not reference a claimed Workitem"
_INCONSISTENT_UPDATE: Final = (
    "The submitted request is inconsistent with the current state of the Workitem"
)
_UPDATED_OTHERWISE: Final = (
    "The Workitem was updated with modifications",
    "Requested optional Attributes are not supported",
)


@case(
    "UPS-31",
    section="11.6.2, PS3.4 CC.2.6.2",
    level=Level.SHALL,
    requirement="A SCHEDULED workitem is updated without a Transaction UID.",
    request="POST {b}/workitems/{uid} with another Procedure Step Label",
    expected="200; the workitem has the new label",
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
)
async def update_of_an_unknown_workitem_is_404(target: Target) -> None:
    changed = {LABEL: attribute("LO", "updated")}
    async with workitem(target) as made:
        answer = await made.update(changed)
        need(answer.status == 200, f"no workitem can be updated: {answer.status}")
    unknown = Workitem(target, new_uid(target, "unknown"))
    (await unknown.update(changed)).expect_status(404)
