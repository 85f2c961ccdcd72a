"""MPP: modality performed procedure steps (chapter 15, PS3.4 section F.7)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.media_types import DICOM_JSON
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, Unmet, Violated, expect, need
from dicomweb_conformance.workitems import (
    COMPLETED,
    IN_PROGRESS,
    Attributes,
    as_json,
    attribute,
    new_uid,
    require_known,
    require_operation,
    sequence,
)

_NEEDS: Final = (Feature.PERFORMED_STEPS, Feature.WRITING)
_STEPS: Final = "/modality-performed-procedure-steps"
_STATUS: Final = "00400252"
_SERIES: Final = "00400340"


def _begun(target: Target) -> Attributes:
    """All that a step has to have at its beginning (PS3.4 Table F.7.2-1, types 1 and 2)."""
    scheduled = {
        "00080050": attribute("SH"),
        "00081110": sequence(),
        "0020000D": attribute("UI", new_uid(target, "study")),
        "00321060": attribute("LO"),
        "00400007": attribute("LO"),
        "00400008": sequence(),
        "00400009": attribute("SH"),
        "00401001": attribute("SH"),
    }
    return {
        "00080060": attribute("CS", "CT"),
        "00081032": sequence(),
        "00081120": sequence(),
        "00100010": attribute("PN", {"Alphabetic": "Conformance^Step"}),
        "00100020": attribute("LO", "CONFORMANCE-MPPS"),
        "00100030": attribute("DA", "19700101"),
        "00100040": attribute("CS", "O"),
        "00200010": attribute("SH"),
        "00400241": attribute("AE", "CONFORMANCE"),
        "00400242": attribute("SH"),
        "00400243": attribute("SH"),
        "00400244": attribute("DA", "20240105"),
        "00400245": attribute("TM", "101500"),
        "00400250": attribute("DA"),
        "00400251": attribute("TM"),
        _STATUS: attribute("CS", IN_PROGRESS),
        "00400253": attribute("SH", "CONFORMANCE"),
        "00400254": attribute("LO"),
        "00400255": attribute("LO"),
        "00400260": sequence(),
        "00400270": sequence(scheduled),
        _SERIES: sequence(),
    }


def _ended(target: Target, status: str) -> Attributes:
    """What a final status requires."""
    series = {
        "00080054": attribute("AE"),
        "0008103E": attribute("LO"),
        "00081050": attribute("PN"),
        "00081070": attribute("PN"),
        "00081140": sequence(),
        "00181030": attribute("LO", "Conformance"),
        "0020000E": attribute("UI", new_uid(target, "series")),
        "00400220": sequence(),
    }
    return {
        _STATUS: attribute("CS", status),
        "00400250": attribute("DA", "20240105"),
        "00400251": attribute("TM", "103000"),
        _SERIES: sequence(series),
    }


async def _create(target: Target, uid: str, attributes: Attributes) -> Response:
    answer = await target.post(f"{_STEPS}/{uid}", as_json(attributes), content_type=DICOM_JSON)
    require_known(target, answer)
    return answer


async def _update(target: Target, uid: str, attributes: Attributes) -> Response:
    return await target.post(
        f"{_STEPS}/{uid}", as_json(attributes), content_type=DICOM_JSON, query="update"
    )


@asynccontextmanager
async def _step(target: Target) -> AsyncIterator[str]:
    """The UID of one IN PROGRESS, which is discontinued afterwards. Raises Unmet."""
    uid = new_uid(target, "step")
    answer = await _create(target, uid, _begun(target))
    need(answer.status == 201, f"a step cannot be created: {answer.status}")
    try:
        yield uid
    finally:
        await _give_up(target, uid)


async def _give_up(target: Target, uid: str) -> None:
    try:
        await _update(target, uid, _ended(target, "DISCONTINUED"))
    except (Violated, Unmet):
        return


@case(
    "MPP-01",
    section="15.4.1, 15.4.3.1",
    level=Level.SHALL,
    requirement="A step that is IN PROGRESS is created under the UID of the target.",
    request="POST {b}/modality-performed-procedure-steps/{uid} with the status IN PROGRESS",
    expected="201",
    needs=_NEEDS,
)
async def performed_step_is_created(target: Target) -> None:
    uid = new_uid(target, "step")
    answer = await _create(target, uid, _begun(target))
    try:
        answer.expect_status(201)
    finally:
        if answer.status < 300:
            await _give_up(target, uid)


@case(
    "MPP-02",
    section="15.4.3.1",
    level=Level.SHALL,
    requirement="A step that exists is not created a second time.",
    request="POST {b}/modality-performed-procedure-steps/{uid} twice",
    expected="201, then 409",
    needs=_NEEDS,
)
async def second_step_of_a_uid_is_409(target: Target) -> None:
    async with _step(target) as uid:
        (await _create(target, uid, _begun(target))).expect_status(409)


@case(
    "MPP-03",
    section="15.4.3.1, PS3.4 F.7.2.1.3",
    level=Level.SHALL,
    requirement="A step is created IN PROGRESS and in no other status.",
    request="POST {b}/modality-performed-procedure-steps/{uid} with the status COMPLETED",
    expected="400; it is not there",
    needs=_NEEDS,
)
async def completed_step_is_not_created(target: Target) -> None:
    async with _step(target):
        uid = new_uid(target, "step")
        answer = await _create(target, uid, _begun(target) | _ended(target, COMPLETED))
        answer.expect_status(400)
        (await _update(target, uid, _ended(target, COMPLETED))).expect_status(404)


@case(
    "MPP-04",
    section="15.5.1, 15.5.3.1, PS3.4 F.7.2.2",
    level=Level.SHALL,
    requirement="A step is completed with its series and its end.",
    request="POST {b}/modality-performed-procedure-steps/{uid}?update with the status COMPLETED",
    expected="200",
    needs=_NEEDS,
)
async def performed_step_is_completed(target: Target) -> None:
    async with _step(target) as uid:
        (await _update(target, uid, _ended(target, COMPLETED))).expect_status(200)


@case(
    "MPP-05",
    section="15.5.3.1, PS3.4 F.7.2.2.3",
    level=Level.SHALL,
    requirement="A step that is COMPLETED is not updated.",
    request="POST {b}/modality-performed-procedure-steps/{uid}?update of a COMPLETED step",
    expected="409",
    needs=_NEEDS,
)
async def completed_step_is_not_updated(target: Target) -> None:
    async with _step(target) as uid:
        completed = await _update(target, uid, _ended(target, COMPLETED))
        need(completed.status == 200, f"a step cannot be completed: {completed.status}")
        (await _update(target, uid, {"00400254": attribute("LO", "again")})).expect_status(409)


@case(
    "MPP-06",
    section="15.5.3.1",
    level=Level.SHALL,
    requirement="The update of a step that is not known is 404.",
    request="POST {b}/modality-performed-procedure-steps/{a UID that nothing has}?update",
    expected="404",
    needs=_NEEDS,
)
async def update_of_an_unknown_step_is_404(target: Target) -> None:
    described = {"00400254": attribute("LO", "Conformance")}
    async with _step(target) as uid:
        known = await _update(target, uid, described)
        need(known.status == 200, f"a step cannot be updated: {known.status}")
        unknown = await _update(target, new_uid(target, "unknown"), described)
        unknown.expect_status(404)


@case(
    "MPP-07",
    section="15.5.3.1, PS3.4 F.7.2.2",
    level=Level.SHALL,
    requirement="A step is not completed without a series.",
    request="POST {b}/modality-performed-procedure-steps/{uid}?update with COMPLETED and an empty"
    " Performed Series Sequence",
    expected="400 or 409; it can still be completed rightly",
    needs=_NEEDS,
)
async def step_without_a_series_is_not_completed(target: Target) -> None:
    async with _step(target) as uid:
        empty = _ended(target, COMPLETED) | {_SERIES: sequence()}
        (await _update(target, uid, empty)).expect_status(400, 409)
        (await _update(target, uid, _ended(target, COMPLETED))).expect_status(200)


@case(
    "MPP-08",
    section="15.6.1, 15.6.3.1",
    level=Level.SHALL,
    requirement="Where retrieving is offered, a step is retrieved, also with all its attributes.",
    request="GET {b}/modality-performed-procedure-steps/{uid}; ?includefield=all",
    expected="200 each; IN PROGRESS",
    needs=_NEEDS,
)
async def performed_step_is_retrieved(target: Target) -> None:
    require_operation(target, "GET", f"{_STEPS[1:]}/{{}}")
    async with _step(target) as uid:
        for query in ("", "includefield=all"):
            answer = await target.get(f"{_STEPS}/{uid}", query=query)
            answer.expect_status(200)
            answer.expect_media_type(DICOM_JSON)
            found = answer.json()
            row = found[0] if isinstance(found, list) and found else found
            status = dicom_json.text(row, _STATUS)
            expect(status == IN_PROGRESS, f"{answer.asked}: the status is not IN PROGRESS")
