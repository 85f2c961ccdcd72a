"""UPS: others ask for a workitem to be canceled (section 11.8)."""

import asyncio
from typing import Final

from dicomweb_conformance.archive import SETTLE_S
from dicomweb_conformance.cases import case
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, need
from dicomweb_conformance.workitems import (
    ALREADY_IN_STATE,
    CANCELED,
    COMPLETED,
    IN_PROGRESS,
    SCHEDULED,
    STATE,
    WORKLIST_SERVICE,
    Attributes,
    Workitem,
    attribute,
    expect_warning,
    new_uid,
    workitem,
)

_POLL_S: Final = 0.25


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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
)
async def request_to_cancel_the_canceled_is_warned_about(target: Target) -> None:
    async with workitem(target, CANCELED) as made:
        answer = await made.request_cancel(_REASON)
        answer.expect_status(202, 409)
        expect_warning(answer, f"{ALREADY_IN_STATE} {CANCELED}")


@case(
    "UPS-46",
    section="11.8.1.4, 11.8.3.1",
    level=Level.SHALL,
    requirement="A request to cancel needs no payload.",
    request="POST {b}/workitems/{uid}/cancelrequest without a payload, of a SCHEDULED workitem",
    expected="as with a payload: 202 and CANCELED, or 409",
    needs=WORKLIST_SERVICE,
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
    needs=WORKLIST_SERVICE,
)
async def request_to_cancel_the_unknown_is_404(target: Target) -> None:
    async with workitem(target, COMPLETED) as made:
        answer = await made.request_cancel()
        need(answer.status != 404, "a request to cancel a known workitem is 404 as well")
        unknown = Workitem(target, new_uid(target, "unknown"))
        (await unknown.request_cancel(_REASON)).expect_status(404)
