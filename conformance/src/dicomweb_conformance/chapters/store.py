"""STW: storing instances (STOW-RS, section 10.5), and what the server answers (Annex I)."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import Final

import httpx2
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from dicomweb_conformance import archive, dicom_json, multipart, native_xml, part10
from dicomweb_conformance.cases import case, need_passed
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.exchanges import Exchange
from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_BASELINE,
    dicom_in,
)
from dicomweb_conformance.submissions import (
    BulkPart,
    Sent,
    as_files,
    as_json,
    as_xml,
    file_of,
    metadata,
    new_slices,
    new_study,
    new_uri,
    stored_files,
)
from dicomweb_conformance.target import UNAUTHORIZED, Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

_STORE: Final = (Feature.STORE, Feature.WRITING)
_KEEP: Final = (Feature.STORE, Feature.RETRIEVE, Feature.WRITING)
_SEARCHED: Final = (Feature.STORE, Feature.SEARCH, Feature.WRITING)

# Tags of the Store Instances Response Module (PS3.18 Annex I).
_SOP_CLASS, _SOP_INSTANCE = "00081150", "00081155"
_RETRIEVE_URL: Final = "00081190"
_WARNING_REASON, _FAILURE_REASON = "00081196", "00081197"
_FAILED, _STORED, _OTHER_FAILURES = "00081198", "00081199", "0008119A"

_COERCION: Final = 45056
_SOP_CLASS_NOT_SUPPORTED: Final = 290
_TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 49442
# Section I.2.2; codes beyond these may be used where they are documented.
_FAILURE_RANGES: Final = (
    range(272, 273),
    range(290, 291),
    range(42752, 43008),
    range(43264, 43520),
    range(49152, 53248),
)
_WARNINGS: Final = range(45056, 49152)
_JPEG_2000: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_CODESTREAM: Final = b"\xff\x4f\xff\x51"  # ISO/IEC 15444-1 A.2: SOC, then SIZ
_POLL_S: Final = 0.25


async def _post(
    target: Target, sent: Sent, *, study: str = "", accept: str = DICOM_JSON
) -> Response:
    content_type, payload = sent
    path = f"/studies/{study}" if study else "/studies"
    return await target.post(path, payload, content_type=content_type, accept=accept)


def _module(target: Target, answer: Response) -> dict[str, object]:
    """The Store Instances Response Module of an answer in DICOM JSON. Raises Violated."""
    answer.expect_media_type(DICOM_JSON)
    content = answer.json()
    if isinstance(content, list) and len(content) == 1:
        target.note("the response module stands in an array")
        content = content[0]
    if not isinstance(content, dict):
        raise Violated(f"{answer.asked}: the payload is not one data set")
    return content


def _has_module(answer: Response) -> bool:
    """Responses of failure may be a Status Report instead (section 10.5.3.3)."""
    return bool(answer.content) and "dicom+json" in answer.headers.get("content-type", "")


def _uids(module: dict[str, object], sequence: str) -> list[str]:
    items = dicom_json.values_of(module, sequence)
    return [dicom_json.text(item, _SOP_INSTANCE) for item in items if isinstance(item, dict)]


def _reasons(module: dict[str, object], sequence: str, tag: str = _FAILURE_REASON) -> list[object]:
    """The first value of the reason of each item; None where there is none."""
    items = dicom_json.values_of(module, sequence)
    return [next(iter(dicom_json.values_of(item, tag)), None) for item in items]


def _expect_stored(target: Target, answer: Response, *instances: Instance) -> dict[str, object]:
    """All were stored: with 200, or with 202 where there are warnings."""
    answer.expect_status(200, 202)
    module = _module(target, answer)
    stored, failed = _uids(module, _STORED), _uids(module, _FAILED)
    wanted = sorted(each.sop_instance_uid for each in instances)
    held = sorted(stored) == wanted
    expect(held, f"{answer.asked}: {len(stored)} instances in (0008,1199), {len(wanted)} were sent")
    expect(not failed, f"{answer.asked}: there are failures in (0008,1198)")
    if answer.status == 202:
        warned = any(_reasons(module, _STORED, _WARNING_REASON))
        expect(warned, f"{answer.asked}: 202, but neither a failure nor a warning")
        target.note("202: all is stored, with warnings")
    return module


async def _need_stored(target: Target, instance: Instance) -> None:
    answer = await _post(target, as_files(*stored_files(instance)))
    need(answer.status in (200, 202), f"a CT slice cannot be stored at all: {answer.status}")


async def _get(target: Target, path: str, accept: str) -> Response:
    """Waits as long as a server may fairly take to find what it was given."""
    deadline = time.monotonic() + archive.SETTLE_S
    while True:
        answer = await target.get(path, accept=accept)
        if answer.status not in (404, 503) or time.monotonic() > deadline:
            return answer
        await asyncio.sleep(_POLL_S)


async def _kept(target: Target, instance: Instance, *, accept: str = DICOM) -> part10.File:
    """The instance as the server gives it back. Raises Violated."""
    answer = await _get(target, instance.path, accept)
    files = answer.files()
    expect(len(files) == 1, f"{answer.asked}: {len(files)} files of one instance")
    return files[0]


def _differences(sent: Dataset, kept: Dataset) -> list[str]:
    """What was changed or left out; a server may add attributes.

    Decimal strings are compared as numbers: DICOM JSON may have made 5.0 of 5.
    """
    for dataset in (sent, kept):
        for element in dataset.iterall():
            if element.VR == "DS" and not element.is_empty:
                _as_numbers(element)
    return [each for each in part10.differences(sent, kept) if not each.endswith("was added")]


def _as_numbers(element: DataElement) -> None:
    """What is no number, as a server may send it, stays as it is."""
    values = element.value if element.VM > 1 else [element.value]
    with suppress(ValueError, TypeError):
        element.value = [str(float(each)) for each in values]


async def _expect_kept(target: Target, *instances: Instance, accept: str = DICOM) -> None:
    """The server gives back what was stored, but for what it may correct."""
    for instance in instances:
        file, original = await _kept(target, instance, accept=accept), instance.original
        kept = file.dataset
        found = _differences(original, kept)
        if found and kept.get("OriginalAttributesSequence"):
            target.note(f"coerced, as (0400,0561) says: {'; '.join(found)}")
        else:
            expect(not found, f"{instance.name} is stored, but otherwise: {'; '.join(found)}")
        same = part10.bytes_of(kept, "PixelData") == bytes(original.get("PixelData", b""))
        expect(same, f"stored, but {instance.name} comes back with other pixels")


async def _expect_not_kept(target: Target, *instances: Instance) -> None:
    for instance in instances:
        answer = await target.get(instance.path, accept=DICOM)
        held = answer.status in (404, 410)
        words = f"the answer says that {instance.name} is not stored"
        expect(held, f"{words}, but {answer.asked} is {answer.status}")


@case(
    "STW-01",
    section="10.5.3.1, I.1",
    level=Level.SHALL,
    requirement="Storing one instance is answered with 200 and a reference to it.",
    request="POST {b}/studies with one CT slice, Accept: application/dicom+json",
    expected="200; (0008,1199) has one item with class, instance and retrieve URL",
    needs=_STORE,
)
async def stored_instance_is_referenced(target: Target) -> None:
    instance = new_study(target).first
    answer = await _post(target, as_files(*stored_files(instance)))
    module = _expect_stored(target, answer, instance)
    (item,) = dicom_json.values_of(module, _STORED)
    held = dicom_json.text(item, _SOP_CLASS) == instance.sop_class_uid
    expect(held, f"{answer.asked}: (0008,1150) is not the SOP class of the instance")
    is_there = isinstance(item, dict) and _RETRIEVE_URL in item
    expect(is_there, f"{answer.asked}: the item of (0008,1199) has no (0008,1190)")


@case(
    "STW-02",
    section="I.1",
    level=Level.SHALL,
    requirement="The response has the Retrieve URL of the study, which may be empty; where it is"
    " not, the study can be retrieved there.",
    request="POST {b}/studies, then GET of the URL in (0008,1190)",
    expected="(0008,1190) with VR UR; 200 where it points",
    needs=_KEEP,
)
async def retrieve_url_leads_to_the_study(target: Target) -> None:
    study = new_study(target)
    answer = await _post(target, as_files(*stored_files(*study)))
    module = _expect_stored(target, answer, *study)
    element = module.get(_RETRIEVE_URL)
    vr = element.get("vr") if isinstance(element, dict) else None
    expect(vr == "UR", f"{answer.asked}: (0008,1190) is not there with VR UR")
    url = dicom_json.text(module, _RETRIEVE_URL)
    if not url:
        target.note("the Retrieve URL of the study is empty")
        return
    expect(url.rstrip("/").endswith(study.path), f"{answer.asked}: (0008,1190) is another study's")
    if not url.startswith(target.base_url):
        target.note("the Retrieve URL is not below the base URL; it was not followed")
        return
    found = {file.sop_instance_uid for file in (await _get(target, url, DICOM)).files()}
    expect(study.first.sop_instance_uid in found, "the instance is not behind the Retrieve URL")


@case(
    "STW-03",
    section="10.5.3.2",
    level=Level.SHALL,
    requirement="A response that tells of a new resource has Location and Content-Location.",
    request="POST {b}/studies with a study that the server does not have",
    expected="Location and Content-Location",
    needs=_STORE,
)
async def new_study_has_its_location(target: Target) -> None:
    study = new_study(target)
    answer = await _post(target, as_files(*stored_files(*study)))
    need(answer.status in (200, 202), f"it cannot be stored: {answer.status}")
    missing = [name for name in ("Location", "Content-Location") if name not in answer.headers]
    expect(not missing, f"{answer.asked}: no {' and no '.join(missing)}")


@case(
    "STW-04",
    section="10.5.1.1.1",
    level=Level.SHALL,
    requirement="Instances can be stored into the study that their Study Instance UID names.",
    request="POST {b}/studies/{study} with a CT slice of that study",
    expected="200, and the slice can be retrieved",
    needs=_KEEP,
)
async def instance_is_stored_into_its_study(target: Target) -> None:
    study = new_study(target)
    answer = await _post(target, as_files(*stored_files(*study)), study=study.uid)
    _expect_stored(target, answer, *study)
    await _expect_kept(target, *study)


async def _refused_into_another(target: Target) -> tuple[Response, Instance]:
    """The answer to a slice sent to a study that it is not of."""
    first, second = new_slices(target, 2)
    await _need_stored(target, first)
    other = new_study(target)
    return await _post(target, as_files(*stored_files(second)), study=other.uid), second


@case(
    "STW-05",
    section="10.5.1.1.1, 10.5.3.1, I.1",
    level=Level.SHALL,
    requirement="An instance of another study than the target is not stored: 409, with its failure"
    " reason.",
    request="POST {b}/studies/{study} with a CT slice of another study",
    expected="409; the slice in (0008,1198) with a Failure Reason, or a Status Report; not stored",
    needs=_KEEP,
)
async def instance_of_another_study_is_refused(target: Target) -> None:
    answer, instance = await _refused_into_another(target)
    answer.expect_status(409)
    if _has_module(answer):
        module = _module(target, answer)
        held = _uids(module, _FAILED) == [instance.sop_instance_uid]
        expect(held, f"{answer.asked}: the instance is not in (0008,1198)")
        held = _reasons(module, _FAILED) != [None]
        expect(held, f"{answer.asked}: the item of (0008,1198) has no (0008,1197)")
        expect(not _uids(module, _STORED), f"{answer.asked}: (0008,1199) says that it is stored")
    else:
        target.note("409 without a Store Instances Response Module")
    await _expect_not_kept(target, instance)


async def _need_readable(target: Target, answer: Response) -> None:
    """Raises Unmet: what comes with a refusal cannot be read, whatever is refused."""
    if _has_module(answer):
        try:
            _module(target, answer)
        except Violated:
            why = "the response module of a refusal cannot be read, which STW-05 judges"
            await need_passed(target, instance_of_another_study_is_refused, why)


@case(
    "STW-06",
    section="10.5.1.1.1, 10.5.3.1",
    level=Level.SHALL,
    requirement="One request may store instances of several studies.",
    request="POST {b}/studies with CT slices of two studies",
    expected="200, both are referenced and can be retrieved",
    needs=_KEEP,
)
async def two_studies_in_one_request_are_stored(target: Target) -> None:
    both = (new_study(target).first, new_study(target).first)
    answer = await _post(target, as_files(*stored_files(*both)))
    _expect_stored(target, answer, *both)
    await _expect_kept(target, *both)


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
    module = _module(target, answer)
    held = _uids(module, _STORED) == [good.sop_instance_uid]
    expect(held, f"{answer.asked}: the good instance is not alone in (0008,1199)")
    await _expect_kept(target, good)
    return module


@case(
    "STW-07",
    section="10.5.3.1, I.1",
    level=Level.SHALL,
    requirement="Where some instances are stored and others fail, the answer is 202 with both.",
    request="POST {b}/studies/{study} with a slice of that study and one of another",
    expected="202, (0008,1198) and (0008,1199); or 409 where nothing at all was stored",
    needs=_KEEP,
)
async def partial_success_is_202(target: Target) -> None:
    good, bad = new_study(target).first, new_study(target).first
    answer = await _post(target, as_files(*stored_files(good, bad)), study=good.study_uid)
    module = await _expect_partly(target, answer, good)
    if module is not None:
        held = _uids(module, _FAILED) == [bad.sop_instance_uid]
        expect(held, f"{answer.asked}: the instance that failed is not in (0008,1198)")
    await _expect_not_kept(target, bad)


@case(
    "STW-08",
    section="10.5.3.1, 8.5",
    level=Level.SHALL,
    requirement="A payload of an unsupported media type is answered with 415.",
    request="POST {b}/studies, Content-Type: text/plain",
    expected="415",
    needs=_STORE,
)
async def unsupported_content_type_is_415(target: Target) -> None:
    await _need_stored(target, new_study(target).first)
    (await _post(target, ("text/plain", b"no DICOM at all"))).expect_status(415)


_UNDELIMITED: Final = (f"{DICOM}; boundary=wanted", b"\x00\xffno delimiter at all" * 20)


@case(
    "STW-09",
    section="10.5.3.1",
    level=Level.SHALL,
    requirement="A multipart payload that cannot be taken apart is answered with 400.",
    request="POST {b}/studies without a boundary; and with a payload in which it does not occur",
    expected="400 each; 415 as well where the Content-Type has no boundary",
    needs=_STORE,
)
async def broken_multipart_is_400(target: Target) -> None:
    instance = new_study(target).first
    await _need_stored(target, instance)
    (await _post(target, _UNDELIMITED)).expect_status(400)
    _, payload = as_files(*stored_files(instance))
    answer = await _post(target, (DICOM, payload))
    answer.expect_status(400, 415)
    if answer.status == 415:
        target.note("multipart/related without a boundary is 415")


def _expect_other_failures(target: Target, answer: Response) -> None:
    """A failure that belongs to no instance is told in (0008,119A), where there is a module."""
    if not _has_module(answer):
        target.note(f"{answer.status} without a Store Instances Response Module")
        return
    reasons = _reasons(_module(target, answer), _OTHER_FAILURES)
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
    needs=_STORE,
)
async def part_that_is_no_dicom_is_refused(target: Target) -> None:
    await _need_stored(target, new_study(target).first)
    answer = await _post(target, as_files(secrets.token_bytes(500)))
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
    needs=_KEEP,
)
async def truncated_part_does_not_harm_the_others(target: Target) -> None:
    good, bad = new_study(target).first, new_study(target).first
    (whole,) = stored_files(bad)
    answer = await _post(target, as_files(whole[: len(whole) // 2], *stored_files(good)))
    if answer.status != 200:  # which says that both are stored: that is wrong whatever is kept
        await _expect_not_kept(target, bad)
    try:
        module = await _expect_partly(target, answer, good)
    except Violated:
        why = "partial success is answered wrongly, which STW-07 judges"
        await need_passed(target, partial_success_is_202, why)
        raise
    if module is not None:
        failures = len(_reasons(module, _FAILED)) + len(_reasons(module, _OTHER_FAILURES))
        expect(failures == 1, f"{answer.asked}: {failures} failures, one part was truncated")


def _expect_reason(target: Target, answer: Response, reason: int, alternative: range) -> None:
    if not _has_module(answer):
        target.note(f"{answer.status} without a Store Instances Response Module")
        return
    module = _module(target, answer)
    failed = _reasons(module, _FAILED)
    others = _reasons(module, _OTHER_FAILURES)
    if not failed and any(isinstance(each, int) and each in alternative for each in others):
        target.note(f"Failure Reason {others[0]}, not tied to the instance")
        return
    expect(failed == [reason], f"{answer.asked}: Failure Reason {failed}, expected {reason}")


async def _post_altered(target: Target, alter: dict[str, str]) -> Response:
    """Stores a slice with another SOP Class UID or transfer syntax in its file meta information."""
    instance = new_study(target).first
    await _need_stored(target, new_study(target).first)
    (file,) = stored_files(instance)
    for old, new in alter.items():
        # values of the same length: no other byte of the file changes
        file = file.replace(old.encode(), new.encode())
    return await _post(target, as_files(file))


@case(
    "STW-12",
    section="10.5.3.1, I.2.2",
    level=Level.SHALL,
    requirement="Where a SOP class is not supported, its instances are refused with 409 and reason"
    " 0122H.",
    request="POST {b}/studies with an instance of a SOP class that does not exist",
    expected="409 and Failure Reason 290, if refused (501: see 8.5)",
    needs=_STORE,
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
    _expect_reason(target, answer, _SOP_CLASS_NOT_SUPPORTED, range(0))


@case(
    "STW-13",
    section="I.2.2",
    level=Level.SHALL,
    requirement="Where a transfer syntax is not supported, its instances are refused with reason"
    " C122H.",
    request="POST {b}/studies with an instance in a transfer syntax that does not exist",
    expected="Failure Reason 49442, if refused",
    needs=_STORE,
)
async def unsupported_transfer_syntax_is_49442(target: Target) -> None:
    answer = await _post_altered(target, {f"{EXPLICIT_LE}\0": "1.2.826.0.1.3680043\0"})
    if answer.status in (200, 202):
        raise NotClaimed("instances in any transfer syntax are stored")
    answer.expect_status(400, 409)
    _expect_reason(target, answer, _TRANSFER_SYNTAX_NOT_SUPPORTED, range(49152, 53248))


@case(
    "STW-14",
    section="10.5.4",
    level=Level.SHALL,
    requirement="The response can be had in the Native DICOM Model.",
    request="POST {b}/studies, Accept: application/dicom+xml; if that is not answered with XML, the"
    " same as multipart/related",
    expected="200, application/dicom+xml (alone or as the one part of a multipart)",
    needs=_STORE,
)
async def response_can_be_xml(target: Target) -> None:
    instance = new_study(target).first
    sent = as_files(*stored_files(instance))
    answer = await _post(target, sent, accept="application/dicom+xml")
    if "dicom+xml" not in answer.headers.get("content-type", ""):
        target.note("XML is asked for as multipart/related")
        answer = await _post(target, sent, accept=DICOM_XML)
    answer.expect_status(200, 202)
    answer.expect_media_type("application/dicom+xml", "multipart/related")
    if answer.media_type.name == "multipart/related":
        document = answer.xml_documents()[0]
    else:
        try:
            document = native_xml.read(answer.content)
        except native_xml.NotReadable as error:
            raise Violated(f"{answer.asked}: {error}") from None
    held = _uids(native_xml.to_json(document), _STORED) == [instance.sop_instance_uid]
    expect(held, f"{answer.asked}: the instance is not in (0008,1199)")


@case(
    "STW-15",
    section="10.5.4, 10.5.3.3, I.1",
    level=Level.SHALL,
    requirement="The response module is a data set in DICOM JSON.",
    request="POST {b}/studies with one CT slice, Accept: application/dicom+json",
    expected="application/dicom+json: one object (in an array is tolerated) with (0008,1199)",
    needs=_STORE,
)
async def response_is_a_dataset_in_json(target: Target) -> None:
    instance = new_study(target).first
    answer = await _post(target, as_files(*stored_files(instance)))
    need(answer.status in (200, 202), f"it cannot be stored: {answer.status}")
    module = _module(target, answer)
    expect(_STORED in module, f"{answer.asked}: there is no (0008,1199)")


async def _expect_stored_from_metadata(target: Target, sent: Sent, *instances: Instance) -> None:
    answer = await _post(target, sent)
    _expect_stored(target, answer, *instances)
    await _expect_kept(target, *instances)


def _with_pixels(instance: Instance) -> tuple[dict[str, object], BulkPart]:
    """Metadata of an image and its uncompressed pixel data."""
    original, uri = instance.original, new_uri()
    part = BulkPart(uri, "application/octet-stream", original.PixelData)
    return metadata(original, uri), part


@case(
    "STW-16",
    section="10.5.1.4, 8.6.1.2",
    level=Level.SHALL,
    requirement="An instance can be sent as metadata in DICOM JSON, with its pixels in a part.",
    request="POST {b}/studies: dicom+json, and octet-stream whose Content-Location it refers to",
    expected="200; data set and pixels come back as they were sent",
    needs=_KEEP,
)
async def json_metadata_with_pixels_is_stored(target: Target) -> None:
    instance = new_study(target).first
    described, pixels = _with_pixels(instance)
    await _expect_stored_from_metadata(target, as_json([described], [pixels]), instance)


@case(
    "STW-17",
    section="10.5.1.4, 8.6.1.2",
    level=Level.SHALL,
    requirement="An instance can be sent as metadata in XML, with its pixels in a part.",
    request="POST {b}/studies: dicom+xml, and octet-stream whose Content-Location it refers to",
    expected="200; data set and pixels come back as they were sent",
    needs=_KEEP,
)
async def xml_metadata_with_pixels_is_stored(target: Target) -> None:
    instance = new_study(target).first
    described, pixels = _with_pixels(instance)
    await _expect_stored_from_metadata(target, as_xml([described], [pixels]), instance)


async def _need_metadata(target: Target) -> None:
    """Raises Unmet: instances cannot be sent as DICOM JSON at all; another case says so."""
    described, pixels = _with_pixels(new_study(target).first)
    answer = await _post(target, as_json([described], [pixels]))
    words = f"metadata with bulk data is not stored: {answer.status}, which STW-16 judges"
    need(answer.status in (200, 202), words)


@case(
    "STW-18",
    section="10.5.1.4",
    level=Level.SHALL,
    requirement="One part of DICOM JSON holds the metadata of several instances.",
    request="POST {b}/studies: an array of two in dicom+json, and two octet-stream parts",
    expected="200; both come back as they were sent, each with its own pixels",
    needs=_KEEP,
)
async def two_instances_in_one_array_are_stored(target: Target) -> None:
    await _need_metadata(target)
    study = new_slices(target, 2)
    (first, of_first), (second, of_second) = map(_with_pixels, study)
    sent = as_json([first, second], [of_second, of_first])
    await _expect_stored_from_metadata(target, sent, *study)


@case(
    "STW-19",
    section="8.6.1.2, 10.5.3.1",
    level=Level.SHALL,
    requirement="Metadata that refers to a part that is not there is not stored.",
    request="POST {b}/studies: dicom+json with a BulkDataURI that no part has",
    expected="400 or 409; not stored",
    needs=_KEEP,
)
async def bulk_data_that_is_not_there_is_a_failure(target: Target) -> None:
    await _need_metadata(target)
    broken = new_study(target).first
    described, pixels = _with_pixels(broken)
    astray = replace(pixels, uri=new_uri())
    (await _post(target, as_json([described], [astray]))).expect_status(400, 409)
    await _expect_not_kept(target, broken)


def _capture(target: Target, pixels: npt.NDArray[np.uint8], *, several: bool = False) -> Instance:
    """An instance that can hold such a picture; pixels: (frames,) rows, columns."""
    fixture = Fixture.F8 if several else Fixture.F11
    instance = new_study(target, fixture).first
    dataset = instance.original
    if several:
        # 8 bit: Multi-frame Grayscale Byte Secondary Capture
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.2"
        dataset.NumberOfFrames, dataset.PageNumberVector = len(pixels), list(range(1, 4))
    else:
        del dataset.IconImageSequence
        dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
    return replace(instance, sop_class_uid=str(dataset.SOPClassUID), file=file_of(dataset))


def _gradient() -> npt.NDArray[np.uint8]:
    return np.asarray(np.add.outer(np.arange(24) * 5, np.arange(32) * 4), np.uint8)


def _encoded(frames: list[npt.NDArray[np.uint8]], kind: str) -> bytes:
    buffer = BytesIO()
    first, *others = map(Image.fromarray, frames)
    if others:
        first.save(buffer, kind, save_all=True, append_images=others, duration=100)
    else:
        first.save(buffer, kind)
    return buffer.getvalue()


async def _store_picture(
    target: Target, instance: Instance, media_type: str, *frames: bytes
) -> None:
    """Metadata that does not describe the pixels, and a picture. Raises NotClaimed if refused."""
    uri = new_uri()
    described = metadata(instance.original, uri, describes_pixels=False)
    parts = [BulkPart(uri, media_type, each) for each in frames]
    answer = await _post(target, as_json([described], parts))
    if answer.status in (400, 409, 415, 501):
        raise NotClaimed(f"{media_type} is not taken: {answer.status}")
    _expect_stored(target, answer, instance)


def _expect_described(kept: Dataset, instance: Instance, *keywords: str) -> None:
    """The image pixel attributes are what the picture says."""
    original = instance.original
    wrong = [each for each in keywords if kept.get(each) != original.get(each)]
    expect(not wrong, f"stored, but {', '.join(wrong)} is missing or not that of the picture")


def _frames(kept: part10.File) -> list[bytes]:
    """The frames of encapsulated pixel data. Raises Violated."""
    try:
        found = part10.frames(kept.dataset)
    except part10.NotReadable:
        raise Violated("stored, but the pixel data is not encapsulated as it should be") from None
    expect(bool(found), "stored, but the pixel data has no frame")
    return found


_SHAPE: Final = ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit")


@case(
    "STW-20",
    section="10.5.2",
    level=Level.SHALL,
    requirement="image/jpeg is kept as it is in its transfer syntax, and describes the pixels.",
    request="POST {b}/studies: dicom+json without the Image Pixel Description, and image/jpeg",
    expected="200; (0002,0010) is JPEG Baseline; Rows, Columns and the like are those of the JPEG",
    needs=_KEEP,
)
async def jpeg_is_kept_unchanged(target: Target) -> None:
    instance, sent = _capture(target, _gradient()), _encoded([_gradient()], "JPEG")
    await _store_picture(target, instance, "image/jpeg", sent)
    kept = await _kept(target, instance, accept=dicom_in("*"))
    _expect_described(kept.dataset, instance, *_SHAPE)
    syntax = kept.transfer_syntax
    expect(syntax == JPEG_BASELINE, f"stored, but in {syntax}")
    frame = _frames(kept)[0]
    held = frame.rstrip(b"\0") == sent.rstrip(b"\0")
    expect(held, "stored, but the JPEG is not the one that was sent")


@case(
    "STW-21",
    section="10.5.2",
    level=Level.SHALL,
    requirement="image/png is transformed without loss, and describes the pixels.",
    request="POST {b}/studies: dicom+json without the Image Pixel Description, and image/png",
    expected="200; the same pixels, and Rows, Columns and the like",
    needs=_KEEP,
)
async def png_keeps_its_pixels(target: Target) -> None:
    instance, sent = _capture(target, _gradient()), _encoded([_gradient()], "PNG")
    await _store_picture(target, instance, "image/png", sent)
    kept = await _kept(target, instance)
    _expect_described(kept.dataset, instance, *_SHAPE)
    same = part10.bytes_of(kept.dataset, "PixelData") == _gradient().tobytes()
    expect(same, "stored, but with other pixels")


@case(
    "STW-22",
    section="10.5.2",
    level=Level.SHALL,
    requirement="An animated GIF becomes a multi-frame image.",
    request="POST {b}/studies: dicom+json without the Image Pixel Description, and image/gif of 3",
    expected="200; Number of Frames is 3, and so many frames are there",
    needs=_KEEP,
)
async def animated_gif_becomes_multi_frame(target: Target) -> None:
    frames = [_gradient(), np.ascontiguousarray(_gradient()[::-1]), _gradient() // 2]
    instance = _capture(target, np.stack(frames), several=True)
    await _store_picture(target, instance, "image/gif", _encoded(frames, "GIF"))
    kept = await _kept(target, instance)
    _expect_described(kept.dataset, instance, "NumberOfFrames", "Rows", "Columns")
    size = 3 * 24 * 32 * (part10.number_of(kept.dataset, "SamplesPerPixel") or 0)
    got = len(part10.bytes_of(kept.dataset, "PixelData"))
    expect(got == size, f"{got} bytes of pixels, expected {size}")


@case(
    "STW-23",
    section="10.5.2",
    level=Level.SHALL,
    requirement="image/jp2 is kept in its transfer syntax, without the boxes of the file.",
    request="POST {b}/studies: dicom+json without the Image Pixel Description, and image/jp2",
    expected="200; (0002,0010) is JPEG 2000; the frame begins with SOC and SIZ",
    needs=_KEEP,
)
async def jp2_is_kept_without_its_boxes(target: Target) -> None:
    instance, sent = _capture(target, _gradient()), _encoded([_gradient()], "JPEG2000")
    await _store_picture(target, instance, "image/jp2", sent)
    kept = await _kept(target, instance, accept=dicom_in("*"))
    _expect_described(kept.dataset, instance, *_SHAPE)
    syntax = kept.transfer_syntax
    expect(syntax in _JPEG_2000, f"stored, but in {syntax}")
    frame = _frames(kept)[0]
    expect(frame.startswith(_CODESTREAM), "stored, but the frame is no JPEG 2000 codestream")


@case(
    "STW-24",
    section="10.5.1.4",
    level=Level.SHALL,
    requirement="Compressed frames of a multi-frame image are sent in a part each.",
    request="POST {b}/studies: dicom+json of 10 frames, and 10 parts of image/jpeg",
    expected="200 with all frames, if image/jpeg is taken",
    needs=_KEEP,
)
async def part_for_each_compressed_frame(target: Target) -> None:
    instance = new_study(target, Fixture.F2).first
    original, uri = instance.original, new_uri()
    frames = list(generate_frames(original.PixelData, number_of_frames=10))
    parts = [BulkPart(uri, "image/jpeg", frame) for frame in frames]
    answer = await _post(target, as_json([metadata(original, uri)], parts))
    if answer.status in (400, 409, 415, 501):
        raise NotClaimed(f"frames of image/jpeg are not taken: {answer.status}")
    _expect_stored(target, answer, instance)
    kept = await _kept(target, instance, accept=dicom_in("*"))
    syntax = kept.transfer_syntax
    expect(syntax == JPEG_BASELINE, f"stored, but in {syntax}")
    got = _frames(kept)
    expect(len(got) == 10, f"stored, but with {len(got)} frames; 10 parts were sent")
    same = [one.rstrip(b"\0") for one in got] == [one.rstrip(b"\0") for one in frames]
    expect(same, "stored, but the frames are not those that were sent, or not in their order")


@case(
    "STW-25",
    section="10.5.1.4",
    level=Level.SHALL,
    requirement="The part of an encapsulated document has the media type of the document.",
    request="POST {b}/studies: dicom+json, and application/pdf whose Content-Location it refers to",
    expected="200; (0042,0011) is the PDF that was sent",
    needs=_KEEP,
)
async def pdf_in_its_own_part_is_stored(target: Target) -> None:
    await _need_metadata(target)
    instance = new_study(target, Fixture.F4).first
    original, uri = instance.original, new_uri()
    document = bytes(original.EncapsulatedDocument)
    part = BulkPart(uri, "application/pdf", document)
    answer = await _post(target, as_json([metadata(original, uri)], [part]))
    _expect_stored(target, answer, instance)
    kept = part10.bytes_of((await _kept(target, instance)).dataset, "EncapsulatedDocument")
    expect(kept.rstrip(b"\0") == document.rstrip(b"\0"), "stored, but with another document")


@case(
    "STW-26",
    section="10.5.1.4",
    level=Level.SHALL,
    requirement="File meta information is made by the server: what metadata says of it does not"
    " count.",
    request="POST {b}/studies: dicom+json with (0002,0010) JPEG 2000, and uncompressed pixels",
    expected="200 and a true (0002,0010); or 400 or 409",
    needs=_KEEP,
)
async def file_meta_in_metadata_does_not_count(target: Target) -> None:
    await _need_metadata(target)
    instance = new_study(target).first
    described, pixels = _with_pixels(instance)
    false = {"00020010": {"vr": "UI", "Value": [_JPEG_2000[0]]}}
    answer = await _post(target, as_json([false | described], [pixels]))
    if answer.status in (400, 409):
        target.note(f"{answer.status}: metadata with group 0002 is refused")
        return
    _expect_stored(target, answer, instance)
    kept = await _kept(target, instance, accept=dicom_in("*"))
    held = kept.transfer_syntax != _JPEG_2000[0]
    expect(held, "stored as JPEG 2000, as the metadata said; the pixels are uncompressed")
    await _expect_kept(target, instance)


@case(
    "STW-27",
    section="10.5.2, I.2.1",
    level=Level.SHALL,
    requirement="Where attributes are coerced or corrected, the stored object has the Original"
    " Attributes Sequence.",
    request="POST {b}/studies with one CT slice, then GET of it",
    expected="unchanged; or (0400,0561) in the stored object",
    needs=_KEEP,
)
async def coercion_leaves_the_original_attributes(target: Target) -> None:
    instance = new_study(target).first
    answer = await _post(target, as_files(*stored_files(instance)))
    module = _expect_stored(target, answer, instance)
    warned = _reasons(module, _STORED, _WARNING_REASON) == [_COERCION]
    kept = (await _kept(target, instance)).dataset
    changed = _differences(instance.original, kept)
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
    await _need_stored(target, instance)
    answer = await _post(target, as_files(*stored_files(instance)))
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
    needs=_KEEP,
)
async def other_content_does_not_replace_in_silence(target: Target) -> None:
    instance = new_study(target).first
    await _need_stored(target, instance)
    await _kept(target, instance)
    other = instance.original
    other.InstanceNumber = 77
    answer = await _post(target, as_files(file_of(other)))
    kept = await _kept(target, instance)
    replaced = kept.dataset.get("InstanceNumber") == 77
    told = answer.status not in (200, 202)
    if not told:
        module = _module(target, answer)
        told = bool(_uids(module, _FAILED) or any(_reasons(module, _STORED, _WARNING_REASON)))
    words = "replaces the first" if replaced else "does not replace the first"
    target.note(f"other content of the same UID: {answer.status}, {words}")
    expect(told or not replaced, f"{answer.asked}: replaced without a warning")


@case(
    "STW-30",
    section="B.21",
    level=Level.SHOULD,
    requirement="A single file can be stored without multipart, as an example of Annex B has it.",
    request="POST {b}/studies, Content-Type: application/dicom",
    expected="200, or 415",
    needs=_KEEP,
)
async def single_part_is_stored_or_415(target: Target) -> None:
    instance = new_study(target).first
    (file,) = stored_files(instance)
    answer = await _post(target, ("application/dicom", file))
    answer.expect_status(200, 202, 415)
    if answer.status == 415:
        await _need_stored(target, new_study(target).first)
        target.note("415: single-part requests are not taken")
    else:
        _expect_stored(target, answer, instance)
        await _expect_kept(target, instance)


@case(
    "STW-31",
    section="8.7.1, 8.6.1.2.1",
    level=Level.SHALL,
    requirement="The type parameter of a request may stand without quotes.",
    request="POST {b}/studies, multipart/related; type=application/dicom; boundary in quotes",
    expected="200, and the slice can be retrieved",
    needs=_KEEP,
)
async def unquoted_type_of_a_request_is_understood(target: Target) -> None:
    instance = new_study(target).first
    content_type, payload = as_files(*stored_files(instance))
    unquoted = content_type.replace('"application/dicom"', "application/dicom")
    _expect_stored(target, await _post(target, (unquoted, payload)), instance)
    await _expect_kept(target, instance)


@case(
    "STW-32",
    section="8.6.1.2.1",
    level=Level.SHALL,
    requirement="A boundary may have all the characters that RFC 2046 allows.",
    request='POST {b}/studies with the boundary "\'()+_,-./:=?suite"',
    expected="200, and the slice can be retrieved",
    needs=_KEEP,
)
async def boundary_of_odd_characters_is_understood(target: Target) -> None:
    instance = new_study(target).first
    sent = as_files(*stored_files(instance), boundary="'()+_,-./:=?suite")
    _expect_stored(target, await _post(target, sent), instance)
    await _expect_kept(target, instance)


def _record_chunked(target: Target, content_type: str, payload: bytes, got: Response) -> None:
    shown, received = target.shown, got.headers
    sent = {"Content-Type": content_type, "Accept": DICOM_JSON, "Transfer-Encoding": "chunked"}
    target.exchanges.append(
        Exchange(
            "POST /studies",
            shown.headers(sent.items()),
            shown.body(content_type, payload, status=got.status),
            got.status,
            shown.headers(received.multi_items()),
            shown.body(received.get("content-type", ""), got.content, status=got.status),
            0.0,
        )
    )


async def _in_chunks(payload: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(payload), 1000):
        yield payload[start : start + 1000]


@case(
    "STW-33",
    section="8.4.2, 10.5.1.3",
    level=Level.SHALL,
    requirement="A request may have a Transfer-Encoding instead of a Content-Length.",
    request="POST {b}/studies with one CT slice, Transfer-Encoding: chunked",
    expected="200, and the slice can be retrieved",
    needs=_KEEP,
)
async def chunked_request_is_understood(target: Target) -> None:
    instance = new_study(target).first
    content_type, payload = as_files(*stored_files(instance))
    sent = {"Content-Type": content_type, "Accept": DICOM_JSON, **target.credentials}
    # not with target.post, which knows the length of what it sends
    url = f"{target.base_url}/studies"
    try:
        answer = await target.client.post(url, content=_in_chunks(payload), headers=sent)
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise Violated(f"POST /studies in chunks: no response: {type(error).__name__}") from error
    got = Response(answer.status_code, answer.headers, answer.content, "POST /studies in chunks")
    _record_chunked(target, content_type, payload, got)
    need(got.status != UNAUTHORIZED, f"{got.asked}: {got.status}, the server wants credentials")
    _expect_stored(target, got, instance)
    await _expect_kept(target, instance)


@case(
    "STW-35",
    section="10.5.3.1, 8.6.1.2",
    level=Level.SHALL,
    requirement="A multipart payload without any part is answered with 400.",
    request="POST {b}/studies with nothing but the closing delimiter",
    expected="400",
    needs=_STORE,
)
async def no_part_at_all_is_400(target: Target) -> None:
    await _need_stored(target, new_study(target).first)
    answer = await _post(target, multipart.write([], root_type="application/dicom"))
    if answer.status != 400:
        undelimited = await _post(target, _UNDELIMITED)
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
    needs=_STORE,
)
async def dataset_without_identifiers_is_refused(target: Target) -> None:
    await _need_stored(target, new_study(target).first)
    for keyword in ("StudyInstanceUID", "SOPInstanceUID"):
        dataset = new_study(target).first.original
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        delattr(dataset, keyword)
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
        answer = await _post(target, as_files(buffer.getvalue()))
        _take_back(target, answer)
        held = answer.status in (400, 409)
        expect(held, f"without {keyword}: expected 400 or 409, got {answer.status}")
        if _has_module(answer):
            await _need_readable(target, answer)
            _expect_reason_of_identifiers(target, answer, keyword)
        else:
            target.note(f"without {keyword}: {answer.status} without a response module")


def _take_back(target: Target, answer: Response) -> None:
    """What the server stored under a UID of its own is to be deleted too."""
    if answer.status in (200, 202) and _has_module(answer):
        for item in dicom_json.values_of(_module(target, answer), _STORED):
            path = dicom_json.text(item, _RETRIEVE_URL).removeprefix(target.base_url)
            if path.startswith("/studies/"):
                target.may_delete.add(path)


def _expect_reason_of_identifiers(target: Target, answer: Response, keyword: str) -> None:
    module = _module(target, answer)
    reasons = _reasons(module, _FAILED) + _reasons(module, _OTHER_FAILURES)
    fits = (range(43264, 43520), range(49152, 53248))
    held = bool(reasons) and all(
        isinstance(each, int) and any(each in codes for codes in fits) for each in reasons
    )
    expect(held, f"without {keyword}: Failure Reason {reasons}")


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
    needs=_KEEP,
)
async def implicit_vr_does_not_come_back(target: Target) -> None:
    instance = new_study(target).first
    answer = await _post(target, as_files(_implicit(instance)))
    if answer.status in (400, 409):
        await _need_stored(target, new_study(target).first)
        target.note(f"{answer.status}: Implicit VR is not taken")
        _expect_reason(target, answer, _TRANSFER_SYNTAX_NOT_SUPPORTED, range(0))
        return
    _expect_stored(target, answer, instance)
    await _expect_kept(target, instance)
    for accept in (DICOM, dicom_in("*")):
        syntax = (await _kept(target, instance, accept=accept)).transfer_syntax
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
    answer = await _post(target, as_files(*stored_files(instance)))
    need(answer.status == 200, f"it is not stored with 200: {answer.status}")
    found = [dicom_json.text(row, "00080018") for row in await _rows(target, instance)]
    expect(found == [instance.sop_instance_uid], "a search at once does not find the instance")


@case(
    "STW-39",
    section="10.5.3.1",
    level=Level.SHALL,
    requirement="Where all instances fail, for different reasons, the answer is 409.",
    request="POST {b}/studies/{study} with a slice of another study and a part of random bytes",
    expected="409; or 400 for the part that is no DICOM; nothing is stored",
    needs=_KEEP,
)
async def all_failed_for_different_reasons_is_409(target: Target) -> None:
    study, other = new_study(target), new_study(target).first
    await _need_stored(target, study.first)
    sent = as_files(*stored_files(other), secrets.token_bytes(500))
    answer = await _post(target, sent, study=study.uid)
    answer.expect_status(400, 409)
    if answer.status == 400:
        target.note("400: the part that is no DICOM counts as bad syntax")
    await _expect_not_kept(target, other)


@case(
    "STW-40",
    section="I.2.2, F.2.3",
    level=Level.SHALL,
    requirement="Failure Reason is a number, and one that means a failure.",
    request="POST {b}/studies/{study} with a CT slice of another study",
    expected="(0008,1197) is a JSON number from 1 to 65535 that is no warning",
    needs=_STORE,
)
async def failure_reason_is_a_number_that_means_a_failure(target: Target) -> None:
    answer, _ = await _refused_into_another(target)
    need(_has_module(answer), f"there is no Store Instances Response Module: {answer.status}")
    await _need_readable(target, answer)
    module = _module(target, answer)
    reasons = _reasons(module, _FAILED) + _reasons(module, _OTHER_FAILURES)
    need(bool(reasons), "the response has no failure")
    for reason in reasons:
        is_number = isinstance(reason, int) and not isinstance(reason, bool)
        expect(is_number, f"{answer.asked}: Failure Reason is no JSON number")
        code = reason if isinstance(reason, int) else 0
        held = 0 < code <= 0xFFFF and code not in _WARNINGS
        expect(held, f"{answer.asked}: {code} is no Failure Reason")
        if not any(code in codes for codes in _FAILURE_RANGES):
            target.note(f"Failure Reason {code} is not one of I.2.2: it has to be documented")


@case(
    "STW-41",
    section="I.1",
    level=Level.SHALL,
    requirement="Sequences of the response module are there only with items: of what failed, and of"
    " what was stored.",
    request="POST {b}/studies with one CT slice",
    expected="neither (0008,1198) nor (0008,119A), which are of type 1C (PS3.5 section 7.4.2)",
    needs=_STORE,
)
async def sequences_of_failures_are_only_there_with_failures(target: Target) -> None:
    answer = await _post(target, as_files(*stored_files(*new_study(target))))
    need(answer.status == 200, f"it is not stored with 200: {answer.status}")
    module = _module(target, answer)
    need(bool(_uids(module, _STORED)), "the module names nothing that was stored")
    for tag, name in ((_FAILED, "(0008,1198)"), (_OTHER_FAILURES, "(0008,119A)")):
        expect(tag not in module, f"{answer.asked}: {name} is there without a failure")
