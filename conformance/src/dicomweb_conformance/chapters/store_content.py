"""STW: what the archive then holds: what was sent, once, and what may be changed (10.5.2)."""

from io import BytesIO
from typing import Final

import pydicom
from pydicom.uid import UID

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Instance
from dicomweb_conformance.kept_instances import KEEP, differences, expect_kept, kept_file
from dicomweb_conformance.media_types import DICOM, IMPLICIT_LE, dicom_in
from dicomweb_conformance.store_responses import (
    FAILED_SOPS,
    REFERENCED_SOPS,
    TRANSFER_SYNTAX_NOT_SUPPORTED,
    WARNING_REASON,
    expect_reason,
    expect_stored,
    need_stored,
    reasons_in,
    response_module,
    uids_in,
)
from dicomweb_conformance.submissions import as_files, file_of, new_study, stored_files, submit
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, NotClaimed, expect, need

_SEARCHED: Final = (Feature.STORE, Feature.SEARCH, Feature.WRITING)
_COERCION: Final = 45056


@case(
    "STW-27",
    section="10.5.2, I.2.1",
    level=Level.SHALL,
    requirement="Where attributes are coerced or corrected, the stored object has the Original"
    " Attributes Sequence.",
    request="POST {b}/studies with one CT slice, then GET of it",
    expected="unchanged; or (0400,0561) in the stored object",
    needs=KEEP,
)
async def coercion_leaves_the_original_attributes(target: Target) -> None:
    instance = new_study(target).first
    answer = await submit(target, as_files(*stored_files(instance)))
    module = expect_stored(target, answer, instance)
    warned = reasons_in(module, REFERENCED_SOPS, WARNING_REASON) == [_COERCION]
    kept = (await kept_file(target, instance)).dataset
    changed = differences(instance.original, kept)
    if not warned and not changed:
        raise NotClaimed("nothing is coerced")
    told = bool(kept.get("OriginalAttributesSequence"))
    expect(told, f"coerced without (0400,0561): {'; '.join(changed) or 'a warning says so'}")


async def _rows(target: Target, instance: Instance) -> list[dict[str, object]]:
    query = {"SOPInstanceUID": instance.sop_instance_uid}
    return (await target.get(f"/studies/{instance.study_uid}/instances", query=query)).datasets()


@case(
    "STW-28",
    section="10.5.2",
    level=Level.MAY,
    requirement="An instance that is stored twice is there once.",
    request="POST {b}/studies with the same CT slice twice, then a search for it",
    expected="one result; the status of the second request is reported",
    needs=_SEARCHED,
)
async def instance_sent_twice_is_there_once(target: Target) -> None:
    instance = new_study(target).first
    await need_stored(target, instance)
    answer = await submit(target, as_files(*stored_files(instance)))
    target.note(f"the same instance again: {answer.status}")
    count = len(await _rows(target, instance))
    expect(count == 1, f"the instance is found {count} times")


@case(
    "STW-29",
    section="10.5.2",
    level=Level.MAY,
    requirement="Other content under the UID of a stored instance does not replace it in silence.",
    request="POST {b}/studies with a CT slice, then with another one of the same UID",
    expected="the first stays; or the response has a warning or a failure",
    needs=KEEP,
)
async def other_content_does_not_replace_in_silence(target: Target) -> None:
    instance = new_study(target).first
    await need_stored(target, instance)
    await kept_file(target, instance)
    other = instance.original
    other.InstanceNumber = 77
    answer = await submit(target, as_files(file_of(other)))
    kept = await kept_file(target, instance)
    replaced = kept.dataset.get("InstanceNumber") == 77
    told = answer.status not in (200, 202)
    if not told:
        module = response_module(target, answer)
        told = bool(
            uids_in(module, FAILED_SOPS) or any(reasons_in(module, REFERENCED_SOPS, WARNING_REASON))
        )
    words = "replaces the first" if replaced else "does not replace the first"
    target.note(f"other content of the same UID: {answer.status}, {words}")
    expect(told or not replaced, f"{answer.asked}: replaced without a warning")


def _implicit(instance: Instance) -> bytes:
    dataset = instance.original
    dataset.file_meta.TransferSyntaxUID = UID(IMPLICIT_LE)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True, implicit_vr=True)
    return buffer.getvalue()


@case(
    "STW-37",
    section="8.6.2.1, 8.7.3, I.2.2",
    level=Level.SHALL,
    requirement="Instances in Implicit VR are never sent so: they are transformed, or not taken.",
    request="POST {b}/studies with a file in Implicit VR, then GET of it in any transfer syntax",
    expected="200 and then Explicit VR; or a refusal with Failure Reason 49442",
    needs=KEEP,
)
async def implicit_vr_does_not_come_back(target: Target) -> None:
    instance = new_study(target).first
    answer = await submit(target, as_files(_implicit(instance)))
    if answer.status in (400, 409):
        await need_stored(target, new_study(target).first)
        target.note(f"{answer.status}: Implicit VR is not taken")
        expect_reason(target, answer, TRANSFER_SYNTAX_NOT_SUPPORTED, range(0))
        return
    expect_stored(target, answer, instance)
    await expect_kept(target, instance)
    for accept in (DICOM, dicom_in("*")):
        syntax = (await kept_file(target, instance, accept=accept)).transfer_syntax
        need(bool(syntax), "the file has no transfer syntax, which INS-14 judges")
        expect(syntax != IMPLICIT_LE, f"Accept {accept}: the file is in Implicit VR")


@case(
    "STW-38",
    section="10.5.3.1, 10.6",
    level=Level.SHOULD,
    requirement="What was stored is found by a search that comes after the response.",
    request="POST {b}/studies, and at once GET {b}/studies/{study}/instances?SOPInstanceUID=...",
    expected="the instance",
    needs=_SEARCHED,
)
async def stored_instance_is_found_at_once(target: Target) -> None:
    instance = new_study(target).first
    answer = await submit(target, as_files(*stored_files(instance)))
    need(answer.status == 200, f"it is not stored with 200: {answer.status}")
    found = [dicom_json.text(row, "00080018") for row in await _rows(target, instance)]
    expect(found == [instance.sop_instance_uid], "a search at once does not find the instance")
