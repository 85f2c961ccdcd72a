"""STW: what cannot be stored, alone or among others, and the reasons (sections 10.5.3.1, I.2.2)."""

import secrets
from io import BytesIO
from typing import Final

import pydicom

from dicomweb_conformance import dicom_json, multipart
from dicomweb_conformance.cases import case, need_passed
from dicomweb_conformance.fixtures import Instance
from dicomweb_conformance.kept_instances import KEEP, expect_kept, expect_not_kept
from dicomweb_conformance.media_types import DICOM, EXPLICIT_LE
from dicomweb_conformance.store_responses import (
    FAILED_SOPS,
    OTHER_FAILURES,
    REFERENCED_SOPS,
    RETRIEVE_URL,
    STORE,
    TRANSFER_SYNTAX_NOT_SUPPORTED,
    expect_reason,
    has_module,
    need_stored,
    reasons_in,
    response_module,
    uids_in,
)
from dicomweb_conformance.submissions import as_files, new_slices, new_study, stored_files, submit
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

_SOP_CLASS_NOT_SUPPORTED: Final = 290
# Section I.2.2; codes beyond these may be used where they are documented.
_FAILURE_RANGES: Final = (
    range(272, 273),
    range(290, 291),
    range(42752, 43008),
    range(43264, 43520),
    range(49152, 53248),
)
_WARNINGS: Final = range(45056, 49152)


async def _refused_into_another(target: Target) -> tuple[Response, Instance]:
    """The answer to a slice sent to a study that it is not of."""
    first, second = new_slices(target, 2)
    await need_stored(target, first)
    other = new_study(target)
    return await submit(target, as_files(*stored_files(second)), study=other.uid), second


@case(
    "STW-05",
    section="10.5.1.1.1, 10.5.3.1, I.1",
    level=Level.SHALL,
    requirement="An instance of another study than the target is not stored: 409, with its failure"
    " reason.",
    request="POST {b}/studies/{study} with a CT slice of another study",
    expected="409; the slice in (0008,1198) with a Failure Reason, or a Status Report; not stored",
    needs=KEEP,
)
async def instance_of_another_study_is_refused(target: Target) -> None:
    answer, instance = await _refused_into_another(target)
    answer.expect_status(409)
    if has_module(answer):
        module = response_module(target, answer)
        held = uids_in(module, FAILED_SOPS) == [instance.sop_instance_uid]
        expect(held, f"{answer.asked}: the instance is not in (0008,1198)")
        held = reasons_in(module, FAILED_SOPS) != [None]
        expect(held, f"{answer.asked}: the item of (0008,1198) has no (0008,1197)")
        expect(
            not uids_in(module, REFERENCED_SOPS),
            f"{answer.asked}: (0008,1199) says that it is stored",
        )
    else:
        target.note("409 without a Store Instances Response Module")
    await expect_not_kept(target, instance)


async def _need_readable(target: Target, answer: Response) -> None:
    """Raises Unmet: what comes with a refusal cannot be read, whatever is refused."""
    if has_module(answer):
        try:
            response_module(target, answer)
        except Violated:
            why = "the response module of a refusal cannot be read, which STW-05 judges"
            await need_passed(target, instance_of_another_study_is_refused, why)


async def _expect_partly(
    target: Target, answer: Response, good: Instance
) -> dict[str, object] | None:
    """202 with the good one stored; or a refusal of the whole, and then nothing is stored."""
    answer.expect_status(202, 400, 409)
    if answer.status != 202:
        kept = await target.get(good.path, accept=DICOM)
        words = f"{answer.status} says that nothing was stored, but the good instance was"
        expect(kept.status in (404, 410), f"{answer.asked}: {words}: expected 202")
        target.note(f"{answer.status}: the whole request is refused where one part fails")
        return None
    module = response_module(target, answer)
    held = uids_in(module, REFERENCED_SOPS) == [good.sop_instance_uid]
    expect(held, f"{answer.asked}: the good instance is not alone in (0008,1199)")
    await expect_kept(target, good)
    return module


@case(
    "STW-07",
    section="10.5.3.1, I.1",
    level=Level.SHALL,
    requirement="Where some instances are stored and others fail, the answer is 202 with both.",
    request="POST {b}/studies/{study} with a slice of that study and one of another",
    expected="202, (0008,1198) and (0008,1199); or 409 where nothing at all was stored",
    needs=KEEP,
)
async def partial_success_is_202(target: Target) -> None:
    good, bad = new_study(target).first, new_study(target).first
    answer = await submit(target, as_files(*stored_files(good, bad)), study=good.study_uid)
    module = await _expect_partly(target, answer, good)
    if module is not None:
        held = uids_in(module, FAILED_SOPS) == [bad.sop_instance_uid]
        expect(held, f"{answer.asked}: the instance that failed is not in (0008,1198)")
    await expect_not_kept(target, bad)


@case(
    "STW-08",
    section="10.5.3.1, 8.5",
    level=Level.SHALL,
    requirement="A payload of an unsupported media type is answered with 415.",
    request="POST {b}/studies, Content-Type: text/plain",
    expected="415",
    needs=STORE,
)
async def unsupported_content_type_is_415(target: Target) -> None:
    await need_stored(target, new_study(target).first)
    (await submit(target, ("text/plain", b"no DICOM at all"))).expect_status(415)


_UNDELIMITED: Final = (f"{DICOM}; boundary=wanted", b"\x00\xffno delimiter at all" * 20)


@case(
    "STW-09",
    section="10.5.3.1",
    level=Level.SHALL,
    requirement="A multipart payload that cannot be taken apart is answered with 400.",
    request="POST {b}/studies without a boundary; and with a payload in which it does not occur",
    expected="400 each; 415 as well where the Content-Type has no boundary",
    needs=STORE,
)
async def broken_multipart_is_400(target: Target) -> None:
    instance = new_study(target).first
    await need_stored(target, instance)
    (await submit(target, _UNDELIMITED)).expect_status(400)
    _, payload = as_files(*stored_files(instance))
    answer = await submit(target, (DICOM, payload))
    answer.expect_status(400, 415)
    if answer.status == 415:
        target.note("multipart/related without a boundary is 415")


def _expect_other_failures(target: Target, answer: Response) -> None:
    """A failure that belongs to no instance is told in (0008,119A), where there is a module."""
    if not has_module(answer):
        target.note(f"{answer.status} without a Store Instances Response Module")
        return
    reasons = reasons_in(response_module(target, answer), OTHER_FAILURES)
    expect(bool(reasons), f"{answer.asked}: there is no (0008,119A)")
    expect(None not in reasons, f"{answer.asked}: an item of (0008,119A) has no (0008,1197)")


@case(
    "STW-10",
    section="10.5.3.1, I.1",
    level=Level.SHALL,
    requirement="A part that is no DICOM is refused; being of no known instance, it is among the"
    " other failures.",
    request="POST {b}/studies with a part of random bytes",
    expected="400 or 409; (0008,119A) where there is a Store Instances Response Module",
    needs=STORE,
)
async def part_that_is_no_dicom_is_refused(target: Target) -> None:
    await need_stored(target, new_study(target).first)
    answer = await submit(target, as_files(secrets.token_bytes(500)))
    answer.expect_status(400, 409)
    await _need_readable(target, answer)
    _expect_other_failures(target, answer)


@case(
    "STW-11",
    section="10.5.2, 10.5.3.1",
    level=Level.SHALL,
    requirement="A truncated instance is a failure and does not keep a good one from being stored.",
    request="POST {b}/studies with half a CT slice and a whole one",
    expected="202 with the good one stored; or 400 or 409 where nothing at all was stored",
    needs=KEEP,
)
async def truncated_part_does_not_harm_the_others(target: Target) -> None:
    good, bad = new_study(target).first, new_study(target).first
    (whole,) = stored_files(bad)
    answer = await submit(target, as_files(whole[: len(whole) // 2], *stored_files(good)))
    if answer.status != 200:  # which says that both are stored: that is wrong whatever is kept
        await expect_not_kept(target, bad)
    try:
        module = await _expect_partly(target, answer, good)
    except Violated:
        why = "partial success is answered wrongly, which STW-07 judges"
        await need_passed(target, partial_success_is_202, why)
        raise
    if module is not None:
        failures = len(reasons_in(module, FAILED_SOPS)) + len(reasons_in(module, OTHER_FAILURES))
        expect(failures == 1, f"{answer.asked}: {failures} failures, one part was truncated")


async def _post_altered(target: Target, alter: dict[str, str]) -> Response:
    """Stores a slice with another SOP Class UID or transfer syntax in its file meta information."""
    instance = new_study(target).first
    await need_stored(target, new_study(target).first)
    (file,) = stored_files(instance)
    for old, new in alter.items():
        # values of the same length: no other byte of the file changes
        file = file.replace(old.encode(), new.encode())
    return await submit(target, as_files(file))


@case(
    "STW-12",
    section="10.5.3.1, I.2.2",
    level=Level.SHALL,
    requirement="Where a SOP class is not supported, its instances are refused with 409 and reason"
    " 0122H.",
    request="POST {b}/studies with an instance of a SOP class that does not exist",
    expected="409 and Failure Reason 290, if refused (501: see 8.5)",
    needs=STORE,
)
async def unsupported_sop_class_is_290(target: Target) -> None:
    answer = await _post_altered(
        target, {"1.2.840.10008.5.1.4.1.1.2\0": "1.2.826.0.1.3680043.9.9.9\0"}
    )
    if answer.status in (200, 202):
        raise NotClaimed("instances of any SOP class are stored")
    answer.expect_status(409, 501)
    if answer.status == 501:
        target.note("501, as section 8.5 says, not 409")
    expect_reason(target, answer, _SOP_CLASS_NOT_SUPPORTED, range(0))


@case(
    "STW-13",
    section="I.2.2",
    level=Level.SHALL,
    requirement="Where a transfer syntax is not supported, its instances are refused with reason"
    " C122H.",
    request="POST {b}/studies with an instance in a transfer syntax that does not exist",
    expected="Failure Reason 49442, if refused",
    needs=STORE,
)
async def unsupported_transfer_syntax_is_49442(target: Target) -> None:
    answer = await _post_altered(target, {f"{EXPLICIT_LE}\0": "1.2.826.0.1.3680043\0"})
    if answer.status in (200, 202):
        raise NotClaimed("instances in any transfer syntax are stored")
    answer.expect_status(400, 409)
    expect_reason(target, answer, TRANSFER_SYNTAX_NOT_SUPPORTED, range(49152, 53248))


@case(
    "STW-35",
    section="10.5.3.1, 8.6.1.2",
    level=Level.SHALL,
    requirement="A multipart payload without any part is answered with 400.",
    request="POST {b}/studies with nothing but the closing delimiter",
    expected="400",
    needs=STORE,
)
async def no_part_at_all_is_400(target: Target) -> None:
    await need_stored(target, new_study(target).first)
    answer = await submit(target, multipart.write([], root_type="application/dicom"))
    if answer.status != 400:
        undelimited = await submit(target, _UNDELIMITED)
        words = f"a payload without parts is {answer.status}, which STW-09 judges"
        need(undelimited.status != answer.status, words)
    answer.expect_status(400)


@case(
    "STW-36",
    section="10.5.2, I.2.2",
    level=Level.SHOULD,
    requirement="A data set without its identifiers is refused with a reason that says so.",
    request="POST {b}/studies with a CT slice without SOP or Study Instance UID",
    expected="400 or 409; reason A9xxH or CxxxH in (0008,1198), or (0008,119A)",
    needs=STORE,
)
async def dataset_without_identifiers_is_refused(target: Target) -> None:
    await need_stored(target, new_study(target).first)
    for keyword in ("StudyInstanceUID", "SOPInstanceUID"):
        dataset = new_study(target).first.original
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        delattr(dataset, keyword)
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
        answer = await submit(target, as_files(buffer.getvalue()))
        _take_back(target, answer)
        held = answer.status in (400, 409)
        expect(held, f"without {keyword}: expected 400 or 409, got {answer.status}")
        if has_module(answer):
            await _need_readable(target, answer)
            _expect_reason_of_identifiers(target, answer, keyword)
        else:
            target.note(f"without {keyword}: {answer.status} without a response module")


def _take_back(target: Target, answer: Response) -> None:
    """What the server stored under a UID of its own is to be deleted too."""
    if answer.status in (200, 202) and has_module(answer):
        for item in dicom_json.values_of(response_module(target, answer), REFERENCED_SOPS):
            path = dicom_json.text(item, RETRIEVE_URL).removeprefix(target.base_url)
            if path.startswith("/studies/"):
                target.may_delete.add(path)


def _expect_reason_of_identifiers(target: Target, answer: Response, keyword: str) -> None:
    module = response_module(target, answer)
    reasons = reasons_in(module, FAILED_SOPS) + reasons_in(module, OTHER_FAILURES)
    fits = (range(43264, 43520), range(49152, 53248))
    held = bool(reasons) and all(
        isinstance(each, int) and any(each in codes for codes in fits) for each in reasons
    )
    expect(held, f"without {keyword}: Failure Reason {reasons}")


@case(
    "STW-39",
    section="10.5.3.1",
    level=Level.SHALL,
    requirement="Where all instances fail, for different reasons, the answer is 409.",
    request="POST {b}/studies/{study} with a slice of another study and a part of random bytes",
    expected="409; or 400 for the part that is no DICOM; nothing is stored",
    needs=KEEP,
)
async def all_failed_for_different_reasons_is_409(target: Target) -> None:
    study, other = new_study(target), new_study(target).first
    await need_stored(target, study.first)
    sent = as_files(*stored_files(other), secrets.token_bytes(500))
    answer = await submit(target, sent, study=study.uid)
    answer.expect_status(400, 409)
    if answer.status == 400:
        target.note("400: the part that is no DICOM counts as bad syntax")
    await expect_not_kept(target, other)


@case(
    "STW-40",
    section="I.2.2, F.2.3",
    level=Level.SHALL,
    requirement="Failure Reason is a number, and one that means a failure.",
    request="POST {b}/studies/{study} with a CT slice of another study",
    expected="(0008,1197) is a JSON number from 1 to 65535 that is no warning",
    needs=STORE,
)
async def failure_reason_is_a_number_that_means_a_failure(target: Target) -> None:
    answer, _ = await _refused_into_another(target)
    need(has_module(answer), f"there is no Store Instances Response Module: {answer.status}")
    await _need_readable(target, answer)
    module = response_module(target, answer)
    reasons = reasons_in(module, FAILED_SOPS) + reasons_in(module, OTHER_FAILURES)
    need(bool(reasons), "the response has no failure")
    for reason in reasons:
        is_number = isinstance(reason, int) and not isinstance(reason, bool)
        expect(is_number, f"{answer.asked}: Failure Reason is no JSON number")
        code = reason if isinstance(reason, int) else 0
        held = 0 < code <= 0xFFFF and code not in _WARNINGS
        expect(held, f"{answer.asked}: {code} is no Failure Reason")
        if not any(code in codes for codes in _FAILURE_RANGES):
            target.note(f"Failure Reason {code} is not one of I.2.2: it has to be documented")
