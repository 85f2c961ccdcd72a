"""MET: what each case says of a right server, of a faulty one, and where nothing can be seen."""

import base64
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from dicomweb_conformance.synthetic import slice_pixels
from dicomweb_conformance.verdicts import Outcome
from planted_faults import (
    Fault,
    body,
    header,
    ids_of,
    in_place_of,
    instead,
    judged,
    on,
    status,
    when_broken,
)
from right_server import RightServer, answer

CHAPTER: Final = "MET"
METADATA: Final = on(ends="/metadata")
UNKNOWN: Final = on(has="2.25.404")
BULK: Final = on(has="/bulkdata/")
PARTS: Final = on(accept='multipart/related; type="application/dicom+json"')


def changed(change: Callable[[list[dict[str, Any]]], object]) -> Fault:
    def of(payload: bytes) -> bytes:
        listed = json.loads(payload)
        change(listed)
        return json.dumps(listed).encode()

    return body(of, METADATA)


def without(tag: str) -> Fault:
    return changed(lambda listed: [data.pop(tag, None) for data in listed])


def with_member(tag: str, attribute: dict[str, Any]) -> Fault:
    return changed(lambda listed: [data.update({tag: attribute}) for data in listed])


def inlined(content: bytes) -> Fault:
    inline = base64.b64encode(content).decode()
    return with_member("7FE00010", {"vr": "OW", "InlineBinary": inline})


FAULTS: Final[list[tuple[str, Fault]]] = [
    ("MET-01", changed(lambda listed: listed.pop())),
    ("MET-01", changed(lambda listed: listed.append(listed[0]))),
    ("MET-01", header("Content-Type", "application/json")),
    ("MET-02", changed(lambda listed: listed.pop())),
    ("MET-03", status(406, on(accept="xml"))),
    ("MET-03", body(lambda payload: payload.replace(b"NativeDicomModel", b"Model"))),
    ("MET-04", with_member("00020010", {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]})),
    ("MET-04", with_member("00080000", {"vr": "UL", "Value": [8]})),
    ("MET-05", without("00081030")),
    ("MET-05", without("00091001")),
    ("MET-05", with_member("00081030", {"vr": "LO", "BulkDataURI": "/x"})),
    ("MET-06", without("7FE00010")),
    ("MET-06", with_member("7FE00010", {"vr": "OW"})),
    ("MET-07", body(lambda payload: payload.replace(b"\xce\xff", b"\xcf\xff"), BULK)),
    ("MET-07", status(404, BULK)),
    ("MET-07", inlined(b"something else")),
    ("MET-08", instead(answer(200, b"", "multipart/related; boundary=x"), PARTS)),
    ("MET-08", status(400, PARTS)),
    ("MET-09", instead(answer(200, b"[]", "application/dicom+json"), UNKNOWN)),
    ("MET-10", with_member("00020010", {"vr": "UI", "Value": ["1.2.840.10008.1.2.5"]})),
    ("MET-11", body(lambda payload: payload.replace(b"Content-Location", b"X-Location"))),
]


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault)

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_there(id: str) -> None:
    assert (await judged(id, holds=False)).outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))


async def test_another_status_than_406_is_blamed_once() -> None:
    verdict = await judged("MET-08", in_place_of(406, 400))

    assert verdict.outcome is Outcome.SKIP
    assert "COM-04" in verdict.reason


async def test_pixels_in_the_metadata_themselves_pass() -> None:
    verdict = await judged("MET-07", inlined(slice_pixels(1).tobytes()))

    assert verdict.outcome is Outcome.PASS
    assert "InlineBinary" in verdict.notes[0]


async def test_short_values_inline_pass() -> None:
    verdict = await judged("MET-05", server=RightServer(inline_up_to=64))

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")
