"""What a server answers to Store: the Store Instances Response Module (PS3.18 Annex I)."""

from typing import Final

from dicomweb_conformance import dicom_json
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Instance
from dicomweb_conformance.media_types import DICOM_JSON
from dicomweb_conformance.submissions import as_files, stored_files, submit
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Violated, expect, need

STORE: Final = (Feature.STORE, Feature.WRITING)

RETRIEVE_URL: Final = "00081190"
WARNING_REASON: Final = "00081196"
FAILED_SOPS: Final = "00081198"
REFERENCED_SOPS: Final = "00081199"
OTHER_FAILURES: Final = "0008119A"
_FAILURE_REASON: Final = "00081197"
_SOP_INSTANCE: Final = "00081155"
TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 49442  # a Failure Reason of section I.2.2


def response_module(target: Target, answer: Response) -> dict[str, object]:
    """The Store Instances Response Module of an answer in DICOM JSON. Raises Violated."""
    answer.expect_media_type(DICOM_JSON)
    content = answer.json()
    if isinstance(content, list) and len(content) == 1:
        target.note("the response module stands in an array")
        content = content[0]
    if not isinstance(content, dict):
        raise Violated(f"{answer.asked}: the payload is not one data set")
    return content


def has_module(answer: Response) -> bool:
    """Responses of failure may be a Status Report instead (section 10.5.3.3)."""
    return bool(answer.content) and "dicom+json" in answer.headers.get("content-type", "")


def uids_in(module: dict[str, object], sequence: str) -> list[str]:
    items = dicom_json.values_of(module, sequence)
    return [dicom_json.text(item, _SOP_INSTANCE) for item in items if isinstance(item, dict)]


def reasons_in(
    module: dict[str, object], sequence: str, tag: str = _FAILURE_REASON
) -> list[object]:
    """The first value of the reason of each item; None where there is none."""
    items = dicom_json.values_of(module, sequence)
    return [next(iter(dicom_json.values_of(item, tag)), None) for item in items]


def expect_stored(target: Target, answer: Response, *instances: Instance) -> dict[str, object]:
    """All were stored: with 200, or with 202 where there are warnings."""
    answer.expect_status(200, 202)
    module = response_module(target, answer)
    stored, failed = uids_in(module, REFERENCED_SOPS), uids_in(module, FAILED_SOPS)
    wanted = sorted(each.sop_instance_uid for each in instances)
    held = sorted(stored) == wanted
    expect(held, f"{answer.asked}: {len(stored)} instances in (0008,1199), {len(wanted)} were sent")
    expect(not failed, f"{answer.asked}: there are failures in (0008,1198)")
    if answer.status == 202:
        warned = any(reasons_in(module, REFERENCED_SOPS, WARNING_REASON))
        expect(warned, f"{answer.asked}: 202, but neither a failure nor a warning")
        target.note("202: all is stored, with warnings")
    return module


async def need_stored(target: Target, instance: Instance) -> None:
    answer = await submit(target, as_files(*stored_files(instance)))
    need(answer.status in (200, 202), f"a CT slice cannot be stored at all: {answer.status}")


def expect_reason(target: Target, answer: Response, reason: int, alternative: range) -> None:
    if not has_module(answer):
        target.note(f"{answer.status} without a Store Instances Response Module")
        return
    module = response_module(target, answer)
    failed = reasons_in(module, FAILED_SOPS)
    others = reasons_in(module, OTHER_FAILURES)
    if not failed and any(isinstance(each, int) and each in alternative for each in others):
        target.note(f"Failure Reason {others[0]}, not tied to the instance")
        return
    expect(failed == [reason], f"{answer.asked}: Failure Reason {failed}, expected {reason}")
