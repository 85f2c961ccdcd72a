"""UPS: subscriptions to workitems, and the event reports that follow from them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case
from dicomweb_conformance.notifications import (
    ASSIGNED,
    CANCEL_REQUESTED,
    EVENT_TYPE,
    FILTERS_NOT_SUPPORTED,
    LOCK_NOT_GRANTED,
    PROGRESS_REPORT,
    STATE_REPORT,
    expect_state_report,
    following,
    need_subscribed,
    new_ae_title,
    open_channel,
    quietly_unsubscribe,
    subscribe,
    subscribed,
    suspend,
    unsubscribe,
)
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, expect, need
from dicomweb_conformance.workitems import (
    CANCELED,
    COMPLETED,
    FILTERED_WORKLIST,
    IN_PROGRESS,
    LABEL,
    PATIENT_ID,
    PROGRESS,
    PROGRESS_SEQUENCE,
    READINESS,
    SCHEDULED,
    STATE,
    STATION_NAMES,
    UPS_PUSH,
    WORKLIST,
    WORKLIST_SERVICE,
    Attributes,
    Workitem,
    attribute,
    code,
    expect_warning,
    new_patient_id,
    new_uid,
    progress,
    require_known,
    sequence,
    several,
    warned,
    workitem,
)

_SECTIONS_OF_EVENTS: Final = "11.13.1, 8.10.5, PS3.4 CC.2.4.3"


@asynccontextmanager
async def _subscriber(
    target: Target, uid: str, *, lock: str = "", filters: str = ""
) -> AsyncIterator[Response]:
    """The answer to a subscription, which ends with the block."""
    ae_title = new_ae_title(target)
    answer = await subscribe(target, uid, ae_title, lock=lock, filters=filters)
    try:
        yield answer
    finally:
        if answer.status < 300:
            await quietly_unsubscribe(target, uid, ae_title)


def _need_admitted(answer: Response) -> None:
    """Raises Unmet: a server may know its subscribers, and ours is none of them."""
    need(
        answer.status not in (403, 404),
        f"{answer.asked}: {answer.status}, it does not let the AE title of the suite subscribe",
    )


@case(
    "UPS-55",
    section="11.10.3.1, 11.10.3.2",
    level=Level.SHALL,
    requirement="A subscription is answered with the URL of the WebSocket for its event reports.",
    request="POST {b}/workitems/{uid}/subscribers/{aet}",
    expected="201; Content-Location is a ws or wss URL",
    needs=WORKLIST_SERVICE,
)
async def subscription_names_a_websocket(target: Target) -> None:
    async with workitem(target) as made, _subscriber(target, made.uid) as answer:
        _need_admitted(answer)
        answer.expect_status(201)
        url = answer.headers.get("content-location", "")
        is_one = url.lower().startswith(("ws://", "wss://"))
        expect(is_one, f"{answer.asked}: Content-Location is no ws or wss URL")


@case(
    "UPS-56",
    section="8.10.4",
    level=Level.SHALL,
    requirement="The WebSocket that a subscription names can be opened (RFC 6455).",
    request="GET {the URL of Content-Location}, Upgrade: websocket",
    expected="101 with the right Sec-WebSocket-Accept",
    needs=WORKLIST_SERVICE,
)
async def websocket_can_be_opened(target: Target) -> None:
    async with workitem(target) as made:
        ae_title = new_ae_title(target)
        url = await need_subscribed(target, made.uid, ae_title)
        try:
            async with open_channel(target, url):
                pass
        finally:
            await quietly_unsubscribe(target, made.uid, ae_title)


@case(
    "UPS-57",
    section="11.10.2, PS3.4 CC.2.3.3, PS3.4 CC.2.4.3",
    level=Level.SHALL,
    requirement="Who subscribes to a workitem gets a report of its state at once, each time.",
    request="POST {b}/workitems/{uid}/subscribers/{aet} again, the WebSocket being open",
    expected="a UPS State Report with the state SCHEDULED",
    needs=WORKLIST_SERVICE,
)
async def subscription_begins_with_a_state_report(target: Target) -> None:
    async with workitem(target) as made:
        ae_title = new_ae_title(target)
        url = await need_subscribed(target, made.uid, ae_title)
        try:
            async with open_channel(target, url) as channel:
                await channel.forget()
                await need_subscribed(target, made.uid, ae_title)
                expect_state_report(await channel.next(made, STATE_REPORT), SCHEDULED)
        finally:
            await quietly_unsubscribe(target, made.uid, ae_title)


@case(
    "UPS-58",
    section="8.10.5, 11.13.1, PS3.4 CC.2.4.1",
    level=Level.SHALL,
    requirement="An event report is one DICOM JSON object in a text frame, with class, instance,"
    " event type, message id and the attributes of its type.",
    request="a state report of a claim",
    expected="UPS Push, the workitem, event type 1, a message id, state and readiness",
    needs=WORKLIST_SERVICE,
)
async def state_report_has_its_attributes(target: Target) -> None:
    async with workitem(target) as made, following(target, made) as channel:
        await made.bring_to(IN_PROGRESS)
        event = await channel.next(made, STATE_REPORT)
        sop_class = dicom_json.text(event, "00000002")
        expect(sop_class == UPS_PUSH, f"Affected SOP Class UID is not UPS Push ({UPS_PUSH})")
        wanted = {
            "00000002": "UI", "00000110": "US", "00001000": "UI", EVENT_TYPE: "US",
            READINESS: "CS", STATE: "CS",
        }  # fmt: skip
        for tag, vr in wanted.items():
            held = event.get(tag)
            expect(bool(dicom_json.text(event, tag)), f"{tag} has no value")
            expect(isinstance(held, dict) and held.get("vr") == vr, f"{tag} is not of the VR {vr}")


@case(
    "UPS-59",
    section=_SECTIONS_OF_EVENTS,
    level=Level.SHALL,
    requirement="Every change of state is reported to the subscribers, in order.",
    request="claim and complete a workitem that is subscribed to",
    expected="state reports: IN PROGRESS, COMPLETED",
    needs=WORKLIST_SERVICE,
)
async def changes_of_state_are_reported_in_order(target: Target) -> None:
    async with workitem(target) as made, following(target, made) as channel:
        await made.bring_to(COMPLETED)
        states = await channel.states(made, until=COMPLETED)
        wanted = [IN_PROGRESS, COMPLETED]
        expect(states == wanted, f"the states reported are {', '.join(states)}")


@case(
    "UPS-60",
    section=_SECTIONS_OF_EVENTS,
    level=Level.SHALL,
    requirement="A request to cancel is passed on to the subscribers, with reason and contact.",
    request="POST {b}/workitems/{uid}/cancelrequest with reason and contact, one IN PROGRESS",
    expected="event type 2 with Requesting AE, reason, contact URI and contact name",
    needs=WORKLIST_SERVICE,
)
async def request_to_cancel_is_passed_on(target: Target) -> None:
    given: Attributes = {
        "0074100A": attribute("UR", "https://conformance.example/contact"),
        "0074100C": attribute("LO", "Conformance"),
        "00741238": attribute("LT", "Conformance check"),
    }
    async with workitem(target, IN_PROGRESS) as made, following(target, made) as channel:
        answer = await made.request_cancel(given)
        need(answer.status == 202, f"{answer.asked}: {answer.status}")
        event = await channel.next(made, CANCEL_REQUESTED)
        expect(bool(dicom_json.text(event, "00741236")), "there is no Requesting AE (0074,1236)")
        for tag in given:
            same = dicom_json.values_of(event, tag) == given[tag]["Value"]
            expect(same, f"{tag} is not what the request had")


@case(
    "UPS-61",
    section=_SECTIONS_OF_EVENTS,
    level=Level.SHALL,
    requirement="An update of the progress is reported to the subscribers.",
    request="POST {b}/workitems/{uid}?{transaction} with the progress 50",
    expected="event type 3 with the progress 50",
    needs=WORKLIST_SERVICE,
)
async def progress_is_reported(target: Target) -> None:
    async with workitem(target, IN_PROGRESS) as made, following(target, made) as channel:
        answer = await made.update(progress(50))
        need(answer.status == 200, f"the progress cannot be updated: {answer.status}")
        event = await channel.next(made, PROGRESS_REPORT)
        items = dicom_json.values_of(event, PROGRESS_SEQUENCE)
        expect(len(items) == 1, f"{PROGRESS_SEQUENCE} has {len(items)} items instead of one")
        expect(dicom_json.number(items[0], PROGRESS) == 50, "the progress reported is not 50")


@case(
    "UPS-62",
    section=_SECTIONS_OF_EVENTS,
    level=Level.SHALL,
    requirement="An update of the stations that are to do the work is reported as an assignment.",
    request="POST {b}/workitems/{uid} with a Scheduled Station Name Code Sequence",
    expected="event type 5 with the sequence",
    needs=WORKLIST_SERVICE,
)
async def assignment_is_reported(target: Target) -> None:
    async with workitem(target) as made, following(target, made) as channel:
        answer = await made.update({STATION_NAMES: sequence(code("STATION"))})
        need(answer.status == 200, f"the station cannot be updated: {answer.status}")
        event = await channel.next(made, ASSIGNED)
        items = dicom_json.values_of(event, STATION_NAMES)
        named = [dicom_json.text(item, "00080100") for item in items]
        expect(named == ["STATION"], f"{STATION_NAMES} does not hold the station")


@case(
    "UPS-63",
    section=_SECTIONS_OF_EVENTS,
    level=Level.SHALL,
    requirement="A change of the input readiness is reported to the subscribers.",
    request="POST {b}/workitems/{uid} with Input Readiness State INCOMPLETE",
    expected="event type 1 with INCOMPLETE",
    needs=WORKLIST_SERVICE,
)
async def readiness_is_reported(target: Target) -> None:
    async with workitem(target) as made, following(target, made) as channel:
        answer = await made.update({READINESS: attribute("CS", "INCOMPLETE")})
        need(answer.status == 200, f"the readiness cannot be updated: {answer.status}")
        event = await channel.next(made, STATE_REPORT)
        got = dicom_json.text(event, READINESS)
        expect(got == "INCOMPLETE", f"{READINESS} is not INCOMPLETE in the report")
        expect_state_report(event, SCHEDULED)


@case(
    "UPS-64",
    section="11.8.2, PS3.4 CC.2.2.3, PS3.4 CC.2.4.3",
    level=Level.SHALL,
    requirement="A SCHEDULED workitem that is canceled on request is reported to be IN PROGRESS,"
    " then CANCELED.",
    request="POST {b}/workitems/{uid}/cancelrequest of a SCHEDULED workitem",
    expected="state reports: IN PROGRESS, CANCELED",
    needs=WORKLIST_SERVICE,
)
async def cancellation_is_reported_in_two_steps(target: Target) -> None:
    async with workitem(target) as made, following(target, made) as channel:
        answer = await made.request_cancel()
        need(answer.status == 202, f"{answer.asked}: {answer.status}, it does not cancel")
        made.is_final = True
        states = await channel.states(made, until=CANCELED)
        expect(states == [IN_PROGRESS, CANCELED], f"the states reported are {', '.join(states)}")


@case(
    "UPS-65",
    section="11.10.2, PS3.4 CC.2.3.3, PS3.4 CC.2.4.3",
    level=Level.SHALL,
    requirement="Who subscribes to the worklist hears of new workitems, and of what becomes of"
    " them.",
    request="POST {b}/workitems/1.2.840.10008.5.1.4.34.5/subscribers/{aet}, then create and claim",
    expected="state reports: SCHEDULED, IN PROGRESS",
    needs=WORKLIST_SERVICE,
)
async def new_workitems_are_reported_to_the_worklist(target: Target) -> None:
    async with (
        subscribed(target, WORKLIST, new_ae_title(target)) as channel,
        workitem(target) as made,
    ):
        expect_state_report(await channel.next(made, STATE_REPORT), SCHEDULED)
        await made.bring_to(IN_PROGRESS)
        expect_state_report(await channel.next(made, STATE_REPORT), IN_PROGRESS)


@case(
    "UPS-66",
    section="11.10.2, PS3.4 CC.2.3.3, PS3.4 CC.2.4.3",
    level=Level.SHALL,
    requirement="Who subscribes to a worklist with a deletion lock gets an initial report of every"
    " workitem; tried with a filter, so that none but the suite's own are locked.",
    request="POST {b}/workitems/1.2.840.10008.5.1.4.34.5.1/subscribers/{aet}"
    "?deletionlock=true&filter=00100020={own}, twice, 3 workitems of that patient being there",
    expected="a state report of each of the 3",
    needs=WORKLIST_SERVICE,
)
async def lock_on_the_worklist_reports_what_is_there(target: Target) -> None:
    own, ae_title = new_patient_id(target), new_ae_title(target)
    filters = f"{PATIENT_ID}={own}"
    # The channel has to be open before the subscription that counts, hence of one that is not.
    async with (
        workitem(target) as other,
        subscribed(target, other.uid, ae_title) as channel,
        several(target, {}, {}, {}, patient_id=own) as items,
    ):
        await channel.forget()
        try:
            await need_subscribed(target, FILTERED_WORKLIST, ae_title, lock="true", filters=filters)
            for made in items:
                event = await channel.next(made, STATE_REPORT, where="for each workitem")
                expect_state_report(event, SCHEDULED)
        finally:
            await quietly_unsubscribe(target, FILTERED_WORKLIST, ae_title)


@case(
    "UPS-67",
    section="11.10.2, PS3.4 CC.2.3.3",
    level=Level.SHALL,
    requirement="Who subscribes to the worklist without a lock gets no initial reports, but hears"
    " of the changes of what was there.",
    request="POST {b}/workitems/1.2.840.10008.5.1.4.34.5/subscribers/{aet}, one being SCHEDULED",
    expected="no report at first; IN PROGRESS when it is claimed",
    needs=WORKLIST_SERVICE,
)
async def worklist_without_lock_reports_changes_only(target: Target) -> None:
    ae_title = new_ae_title(target)
    async with (
        workitem(target) as other,
        subscribed(target, other.uid, ae_title) as channel,
        workitem(target) as made,
    ):
        await channel.forget()
        try:
            await need_subscribed(target, WORKLIST, ae_title)
            await channel.expect_none(made, "for a workitem that was there before")
            await made.bring_to(IN_PROGRESS)
            expect_state_report(await channel.next(made, STATE_REPORT), IN_PROGRESS)
        finally:
            await quietly_unsubscribe(target, WORKLIST, ae_title)


@case(
    "UPS-68",
    section="11.12.2, 11.12.3.1, PS3.4 CC.2.3.3",
    level=Level.SHALL,
    requirement="Who suspends the subscription to the worklist hears of no new workitems, but still"
    " of the old ones.",
    request="POST {b}/workitems/1.2.840.10008.5.1.4.34.5/subscribers/{aet}/suspend",
    expected="200; no report of a workitem made later; reports of one made before",
    needs=WORKLIST_SERVICE,
)
async def suspension_keeps_what_is_subscribed_to(target: Target) -> None:
    ae_title = new_ae_title(target)
    async with subscribed(target, WORKLIST, ae_title) as channel, workitem(target) as old:
        await channel.need_state_report(old)
        (await suspend(target, ae_title)).expect_status(200)
        async with workitem(target) as new:
            await channel.expect_none(new, "for a workitem made after the suspension")
        await old.bring_to(IN_PROGRESS)
        expect_state_report(await channel.next(old, STATE_REPORT), IN_PROGRESS)


async def _touch(made: Workitem) -> None:
    """Something that every subscriber is told."""
    answer = await made.update({READINESS: attribute("CS", "INCOMPLETE")})
    need(answer.status == 200, f"the readiness cannot be updated: {answer.status}")


@case(
    "UPS-69",
    section="11.11.2, 11.11.3.1, PS3.4 CC.2.3.3",
    level=Level.SHALL,
    requirement="Who unsubscribes from the worklist is unsubscribed from every workitem, also from"
    " those subscribed to one by one.",
    request="DELETE {b}/workitems/1.2.840.10008.5.1.4.34.5/subscribers/{aet}",
    expected="200; no further reports",
    needs=WORKLIST_SERVICE,
)
async def unsubscribing_from_the_worklist_ends_all_reports(target: Target) -> None:
    ae_title = new_ae_title(target)
    async with subscribed(target, WORKLIST, ae_title) as channel, workitem(target) as made:
        await channel.need_state_report(made)
        await need_subscribed(target, made.uid, ae_title)
        await channel.need_state_report(made)
        (await unsubscribe(target, WORKLIST, ae_title)).expect_status(200)
        await channel.forget()
        try:
            await _touch(made)
            await channel.expect_none(made, "after the end of all subscriptions")
            async with workitem(target) as new:
                await channel.expect_none(new, "for a workitem made after the end")
        finally:
            await quietly_unsubscribe(target, made.uid, ae_title)


@case(
    "UPS-70",
    section="11.11.2, 11.11.3",
    level=Level.SHALL,
    requirement="Who unsubscribes from a workitem gets no further reports of it.",
    request="DELETE {b}/workitems/{uid}/subscribers/{aet}, twice",
    expected="200 without a payload, no further reports; then 404 or 200",
    needs=WORKLIST_SERVICE,
)
async def unsubscribing_ends_the_reports(target: Target) -> None:
    ae_title = new_ae_title(target)
    async with workitem(target) as made, subscribed(target, made.uid, ae_title) as channel:
        await need_subscribed(target, made.uid, ae_title)
        await channel.need_state_report(made)
        answer = await unsubscribe(target, made.uid, ae_title)
        answer.expect_status(200)
        expect(not answer.content, f"{answer.asked}: 200 with a payload")
        await channel.forget()
        await _touch(made)
        await channel.expect_none(made, "after the end of the subscription")
        again = await unsubscribe(target, made.uid, ae_title)
        again.expect_status(404, 200)
        target.note(f"to unsubscribe a second time: {again.status}")


@case(
    "UPS-71",
    section="11.10.3.1",
    level=Level.SHALL,
    requirement="A workitem that is not known cannot be subscribed to.",
    request="POST {b}/workitems/{a UID that nothing has}/subscribers/{aet}",
    expected="404",
    needs=WORKLIST_SERVICE,
)
async def unknown_workitem_cannot_be_subscribed_to(target: Target) -> None:
    async with workitem(target) as made, _subscriber(target, made.uid) as known:
        need(known.status == 201, f"{known.asked}: {known.status}")
        async with _subscriber(target, new_uid(target, "unknown")) as unknown:
            unknown.expect_status(404)


@case(
    "UPS-72",
    section="11.10.3.1, 11.10.3.2",
    level=Level.SHALL,
    requirement="A server that has no filtered worklist says so with 403 and a Warning.",
    request="POST {b}/workitems/1.2.840.10008.5.1.4.34.5.1/subscribers/{aet}?filter=...",
    expected='403, Warning: 299 "Filtered Worklist Subscriptions are not supported"; or 201',
    needs=WORKLIST_SERVICE,
)
async def filter_is_refused_with_a_warning(target: Target) -> None:
    async with workitem(target) as made, _subscriber(target, made.uid) as plain:
        need(plain.status == 201, f"{plain.asked}: {plain.status}")
    filters = f"{PATIENT_ID}={new_patient_id(target)}"
    async with _subscriber(target, FILTERED_WORKLIST, filters=filters) as answer:
        if answer.status == 201:
            raise NotClaimed("filtered worklist subscriptions are supported")
        answer.expect_status(403)
        expect_warning(answer, FILTERS_NOT_SUPPORTED)


@case(
    "UPS-73",
    section="11.10.1.2, PS3.4 CC.2.3.3",
    level=Level.SHALL,
    requirement="Who subscribes to the filtered worklist hears of what the filter matches, and of"
    " nothing else.",
    request="POST {b}/workitems/1.2.840.10008.5.1.4.34.5.1/subscribers/{aet}"
    "?filter=00741204%3DAI,00100020%3D{own}",
    expected="a report of the new workitem labelled AI, none of another",
    needs=WORKLIST_SERVICE,
)
async def filter_chooses_what_is_reported(target: Target) -> None:
    own = new_patient_id(target)
    filters = f"{LABEL}=AI,{PATIENT_ID}={own}"
    labelled = {LABEL: attribute("LO", "AI")}
    async with (
        subscribed(target, FILTERED_WORKLIST, new_ae_title(target), filters=filters) as channel,
        several(target, {}, labelled, patient_id=own) as (other, fitting),
    ):
        expect_state_report(await channel.next(fitting, STATE_REPORT), SCHEDULED)
        await channel.expect_none(other, "for a workitem that the filter does not match")


@case(
    "UPS-74",
    section="11.10.1.2, 11.10.3.1",
    level=Level.SHALL,
    requirement="The filtered worklist cannot be subscribed to without a filter.",
    request="POST {b}/workitems/1.2.840.10008.5.1.4.34.5.1/subscribers/{aet} without filter",
    expected="400",
    needs=WORKLIST_SERVICE,
)
async def filtered_worklist_needs_a_filter(target: Target) -> None:
    filters = f"{PATIENT_ID}={new_patient_id(target)}"
    async with _subscriber(target, FILTERED_WORKLIST, filters=filters) as filtered:
        if filtered.status == 403 and warned(filtered, FILTERS_NOT_SUPPORTED):
            raise NotClaimed(FILTERS_NOT_SUPPORTED)
        require_known(target, filtered)
        need(filtered.status == 201, f"{filtered.asked}: {filtered.status}")
    async with _subscriber(target, FILTERED_WORKLIST) as answer:
        answer.expect_status(400)


@case(
    "UPS-75",
    section="11.10.2, PS3.4 CC.2.1.3, PS3.4 CC.2.3.1",
    level=Level.SHALL,
    requirement="A workitem that somebody holds with a deletion lock is there after its end.",
    request="POST {b}/workitems/{uid}/subscribers/{aet}?deletionlock=true, complete, GET",
    expected="200, COMPLETED",
    needs=WORKLIST_SERVICE,
)
async def deletion_lock_keeps_the_workitem(target: Target) -> None:
    async with workitem(target) as made, _subscriber(target, made.uid, lock="true") as answer:
        need(answer.status == 201, f"{answer.asked}: {answer.status}")
        if warned(answer, LOCK_NOT_GRANTED):
            raise NotClaimed(LOCK_NOT_GRANTED)
        await made.bring_to(COMPLETED)
        await asyncio.sleep(_AFTER_THE_END_S)
        await made.expect_state(COMPLETED)


# A server that deletes what is over does not do it at once.
_AFTER_THE_END_S: Final = 0.5


@case(
    "UPS-76",
    section="11.10.3.2",
    level=Level.SHALL,
    requirement="Where the deletion lock is refused, the subscription stands, and a Warning says"
    " so.",
    request="POST {b}/workitems/{uid}/subscribers/{aet}?deletionlock=true",
    expected='201; Warning: 299 "Deletion Lock not granted" unless the lock is granted',
    needs=WORKLIST_SERVICE,
)
async def refused_lock_is_warned_about(target: Target) -> None:
    async with workitem(target) as made:
        async with _subscriber(target, made.uid) as plain:
            need(plain.status == 201, f"{plain.asked}: {plain.status}")
        async with _subscriber(target, made.uid, lock="true") as locked:
            locked.expect_status(201)
            if not warned(locked, LOCK_NOT_GRANTED):
                raise NotClaimed("the deletion lock is granted")


@case(
    "UPS-77",
    section="11.10.1.2, 8.3",
    level=Level.SHALL,
    requirement="deletionlock is true or false.",
    request="POST {b}/workitems/{uid}/subscribers/{aet}?deletionlock=maybe",
    expected="400",
    needs=WORKLIST_SERVICE,
)
async def deletionlock_that_is_no_truth_is_400(target: Target) -> None:
    async with workitem(target) as made:
        async with _subscriber(target, made.uid, lock="false") as plain:
            need(plain.status == 201, f"{plain.asked}: {plain.status}")
        async with _subscriber(target, made.uid, lock="maybe") as answer:
            answer.expect_status(400)
