"""CMT: storage commitment (chapter 13, Annex J)."""

import asyncio
import json
import re
from typing import Final

from dicomweb_conformance import dicom_json, native_xml
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.media_types import DICOM_JSON
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, Unmet, Violated, expect, need
from dicomweb_conformance.workitems import (
    Attributes,
    as_xml,
    attribute,
    new_uid,
    require_known,
    sequence,
)

_NEEDS: Final = (Fixture.F1, Feature.COMMITMENT, Feature.WRITING)
_XML: Final = "application/dicom+xml"
_COMMITTED: Final = "00081199"
_FAILED: Final = "00081198"
_REASON: Final = "00081197"
_STUDIES: Final = "00081110"
_FAILED_STUDIES: Final = "0008119B"
_NO_SUCH_INSTANCE: Final = 274
_CLASS_CONFLICT: Final = 281
# How long a commitment may take: the suite's instances are two and small.
_PATIENCE_S: Final = 30.0
_MR_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.4"


def _two(target: Target) -> list[Instance]:
    return list(target.study(Fixture.F1).series("CT")[:2])


def _reference(sop_class: str, uid: str) -> Attributes:
    return {"00081150": attribute("UI", sop_class), "00081155": attribute("UI", uid)}


def _references(*instances: Instance) -> Attributes:
    found = [_reference(each.sop_class_uid, each.sop_instance_uid) for each in instances]
    return {_COMMITTED: sequence(*found)}


def _path(uid: str) -> str:
    return f"/commitment-requests/{uid}"


async def _request(target: Target, uid: str, wanted: Attributes) -> Response:
    content = json.dumps(wanted).encode()
    answer = await target.post(_path(uid), content, content_type=DICOM_JSON)
    require_known(target, answer)
    return answer


async def _finished(target: Target, uid: str, answer: Response, accept: str) -> Response:
    """The result, at once or when it is ready (section 13.5). Raises Unmet: it takes too long."""
    waited = 0.0
    while answer.status == 202 and waited < _PATIENCE_S:
        expect(not answer.content, f"{answer.asked}: 202 with a payload")
        asked_for = answer.headers.get("retry-after", "")
        pause = min(float(asked_for) if re.fullmatch(r"\d+", asked_for) else 1.0, _PATIENCE_S)
        await asyncio.sleep(pause)
        waited += max(pause, 0.1)
        answer = await target.get(_path(uid), accept=accept)
    if answer.status == 202:
        raise Unmet(f"the commitment takes longer than {_PATIENCE_S:.0f} s")
    return answer


async def _result(target: Target, wanted: Attributes) -> dict[str, object]:
    """What becomes of a new request. Raises Violated, Unmet."""
    uid = new_uid(target, "transaction")
    answer = await _finished(target, uid, await _request(target, uid, wanted), DICOM_JSON)
    return _dataset(answer)


def _dataset(answer: Response) -> dict[str, object]:
    """Annex J is shown as a bare object, and datasets elsewhere as an array: both pass."""
    answer.expect_status(200)
    answer.expect_media_type(DICOM_JSON)
    found = answer.json()
    listed: list[object] = found if isinstance(found, list) else [found]
    if len(listed) != 1 or not isinstance(listed[0], dict):
        raise Violated(f"{answer.asked}: the payload is not one dataset")
    return dict(listed[0])


def _uids(result: dict[str, object], tag: str) -> set[str]:
    return {dicom_json.text(item, "00081155") for item in dicom_json.values_of(result, tag)}


async def _need_commitment(target: Target) -> None:
    """Raises Unmet: not even what is there is committed."""
    first = _two(target)[0]
    try:
        result = await _result(target, _references(first))
    except Violated as error:
        raise Unmet(f"nothing is committed: {error}") from None
    held = _uids(result, _COMMITTED) == {first.sop_instance_uid}
    need(held, "an instance that is stored is not committed")


@case(
    "CMT-01",
    section="13.4.3, J.2",
    level=Level.SHALL,
    requirement="Instances that are stored are committed, at once or later.",
    request="POST {b}/commitment-requests/{transaction} with two stored instances",
    expected="200 with both in (0008,1199), or 202 without a payload and that as the result",
    needs=_NEEDS,
)
async def stored_instances_are_committed(target: Target) -> None:
    two = _two(target)
    uid = new_uid(target, "transaction")
    answer = await _request(target, uid, _references(*two))
    answer.expect_status(200, 202)
    target.note(f"a request that can be met: {answer.status}")
    result = _dataset(await _finished(target, uid, answer, DICOM_JSON))
    wanted = {each.sop_instance_uid for each in two}
    expect(_uids(result, _COMMITTED) == wanted, "(0008,1199) is not of the two instances")
    expect(_FAILED not in result, "(0008,1198) is there, though nothing has failed")


@case(
    "CMT-02",
    section="13.5.3.1",
    level=Level.SHALL,
    requirement="The result of a commitment can be asked for.",
    request="GET {b}/commitment-requests/{transaction}",
    expected="200 with the result; 410 or 404 only where it was told at once",
    needs=_NEEDS,
)
async def result_of_a_commitment_is_retrieved(target: Target) -> None:
    first = _two(target)[0]
    uid = new_uid(target, "transaction")
    posted = await _request(target, uid, _references(first))
    need(posted.status in (200, 202), f"{posted.asked}: {posted.status}")
    await _finished(target, uid, posted, DICOM_JSON)
    answer = await target.get(_path(uid))
    if posted.status == 200 and answer.status in (404, 410):
        target.note(f"the result of a request answered at once: {answer.status}")
        return
    result = _dataset(answer)
    expect(_uids(result, _COMMITTED) == {first.sop_instance_uid}, "it is another result")


async def _failure(target: Target, wrong: Attributes, reason: int) -> None:
    """The wrong reference fails with that reason, and the right one beside it is committed."""
    await _need_commitment(target)
    first = _two(target)[0]
    right = _reference(first.sop_class_uid, first.sop_instance_uid)
    result = await _result(target, {_COMMITTED: sequence(right, wrong)})
    committed = _uids(result, _COMMITTED)
    expect(committed == {first.sop_instance_uid}, "(0008,1199) is not of the right one alone")
    failed = dicom_json.values_of(result, _FAILED)
    expect(len(failed) == 1, f"(0008,1198) has {len(failed)} items instead of one")
    same = dicom_json.text(failed[0], "00081155") == dicom_json.text(wrong, "00081155")
    expect(same, "(0008,1198) is of another instance")
    got = dicom_json.text(failed[0], _REASON)
    expect(
        got == str(reason), f"the Failure Reason (0008,1197) is {got or 'missing'}, not {reason}"
    )


@case(
    "CMT-03",
    section="13.4.3.1, J.2",
    level=Level.SHALL,
    requirement="Of what is stored and what is not, the one is committed and the other has failed.",
    request="POST {b}/commitment-requests/{transaction} with a stored and an unknown instance",
    expected="one in (0008,1199), one in (0008,1198) with the Failure Reason 274",
    needs=_NEEDS,
)
async def unknown_instance_is_not_committed(target: Target) -> None:
    sop_class = _two(target)[0].sop_class_uid
    await _failure(target, _reference(sop_class, new_uid(target, "unknown")), _NO_SUCH_INSTANCE)


@case(
    "CMT-04",
    section="J.2, PS3.3 C.14.1.1",
    level=Level.SHALL,
    requirement="An instance with another SOP Class than the stored one has failed.",
    request="POST {b}/commitment-requests/{transaction}, one of two with the class of MR images",
    expected="one in (0008,1199), one in (0008,1198) with the Failure Reason 281",
    needs=_NEEDS,
)
async def instance_of_another_class_is_not_committed(target: Target) -> None:
    second = _two(target)[1]
    await _failure(target, _reference(_MR_IMAGE, second.sop_instance_uid), _CLASS_CONFLICT)


@case(
    "CMT-05",
    section="13.4.3.1",
    level=Level.SHALL,
    requirement="A Transaction UID that is in use is not used again.",
    request="POST {b}/commitment-requests/{transaction} twice",
    expected="409",
    needs=_NEEDS,
)
async def second_request_of_a_transaction_is_409(target: Target) -> None:
    uid = new_uid(target, "transaction")
    first = await _request(target, uid, _references(_two(target)[0]))
    need(first.status in (200, 202), f"{first.asked}: {first.status}")
    (await _request(target, uid, _references(*_two(target)))).expect_status(409)


@case(
    "CMT-06",
    section="13.5.3.1",
    level=Level.SHALL,
    requirement="The result of a transaction that is not known is 404.",
    request="GET {b}/commitment-requests/{a UID that nothing has}",
    expected="404",
    needs=_NEEDS,
)
async def unknown_transaction_is_404(target: Target) -> None:
    await _need_commitment(target)
    (await target.get(_path(new_uid(target, "unknown")))).expect_status(404)


@case(
    "CMT-07",
    section="J.1, J.2",
    level=Level.SHALL,
    requirement="A request by study and series is answered by study and series.",
    request="POST {b}/commitment-requests/{transaction} with a Referenced Study Sequence",
    expected="(0008,1110) with the two instances, or (0008,119B) what has failed; no (0008,1199)",
    needs=_NEEDS,
)
async def request_by_study_is_answered_by_study(target: Target) -> None:
    two = _two(target)
    uids = [{"00081155": attribute("UI", each.sop_instance_uid)} for each in two]
    of_class = {"00081150": attribute("UI", two[0].sop_class_uid), "0008114A": sequence(*uids)}
    series = {"0020000E": attribute("UI", two[0].series_uid), "00081112": sequence(of_class)}
    study = {"0020000D": attribute("UI", two[0].study_uid), "00081115": sequence(series)}
    result = await _result(target, {_STUDIES: sequence(study)})
    expect(_COMMITTED not in result, "the answer has (0008,1199), which the request had not")
    expect(_FAILED_STUDIES not in result, "(0008,119B) is there, though nothing has failed")
    text = json.dumps(dicom_json.values_of(result, _STUDIES))
    missing = [each for each in two if each.sop_instance_uid not in text]
    expect(not missing, f"(0008,1110) lacks {len(missing)} of the two instances")


@case(
    "CMT-08",
    section="13.1.3",
    level=Level.SHALL,
    requirement="Request and result can be in DICOM XML.",
    request="POST {b}/commitment-requests/{transaction}, Content-Type and Accept:"
    " application/dicom+xml",
    expected="200 application/dicom+xml with the instance in (0008,1199)",
    needs=_NEEDS,
)
async def commitment_speaks_xml(target: Target) -> None:
    first = _two(target)[0]
    uid = new_uid(target, "transaction")
    posted = await target.post(
        _path(uid), as_xml(_references(first)), content_type=_XML, accept=_XML
    )
    require_known(target, posted)
    posted.expect_status(200, 202)
    answer = await _finished(target, uid, posted, _XML)
    answer.expect_status(200)
    answer.expect_media_type(_XML)
    try:
        result = native_xml.to_json(native_xml.read(answer.content))
    except native_xml.NotReadable as error:
        raise Violated(f"{answer.asked}: {error}") from None
    held = _uids(result, _COMMITTED) == {first.sop_instance_uid}
    expect(held, "(0008,1199) is not of the one instance")


@case(
    "CMT-09",
    section="13.4.1.4, 13.4.3.1, J.1",
    level=Level.SHALL,
    requirement="A request that names no instance is 400.",
    request="POST {b}/commitment-requests/{transaction} without a payload; with an empty dataset",
    expected="400 each",
    needs=_NEEDS,
)
async def request_for_nothing_is_400(target: Target) -> None:
    await _need_commitment(target)
    path = _path(new_uid(target, "transaction"))
    (await target.post(path, b"", content_type=DICOM_JSON)).expect_status(400)
    (await _request(target, new_uid(target, "transaction"), {})).expect_status(400)


@case(
    "CMT-10",
    section="13.4.1.1, J.2",
    level=Level.SHALL,
    requirement="The Transaction UID is in the path and in no payload.",
    request="POST {b}/commitment-requests/{transaction} with a stored instance",
    expected="a result without (0008,1195)",
    needs=_NEEDS,
)
async def transaction_uid_is_not_in_the_result(target: Target) -> None:
    result = await _result(target, _references(_two(target)[0]))
    need(bool(dicom_json.values_of(result, _COMMITTED)), "nothing is committed")
    expect("00081195" not in result, "the result holds (0008,1195)")
