"""INS: what each case says of a right server, of a faulty one, and where nothing can be seen."""

from typing import Final

import pytest
from pydicom.dataset import Dataset

from dicomweb_conformance.fixtures import Fixture, Uids
from dicomweb_conformance.synthetic import files
from dicomweb_conformance.verdicts import Outcome
from planted_faults import (
    Fault,
    body,
    files_changed,
    header,
    ids_of,
    in_place_of,
    instead,
    judged,
    on,
    status,
    when_broken,
)
from right_server import Answer, answer, multipart

CHAPTER: Final = "INS"
LE_IN_FILE: Final = b"1.2.840.10008.1.2.1\0"
OTHER_IN_FILE: Final = b"1.2.840.10008.1.2.5\0"
IMPLICIT_IN_FILE: Final = b"1.2.840.10008.1.2\0\0\0"
DICOM: Final = "application/dicom"


def replaced(right: bytes, wrong: bytes, *, accept: str = "") -> Fault:
    return body(lambda payload: payload.replace(right, wrong), on(accept=accept))


def without_last_part(payload: bytes) -> bytes:
    return payload[: payload.rindex(b"--right\r\n")] + b"--right--\r\n"


def modified(dataset: Dataset) -> None:
    dataset.StudyDescription = "Something else"


def modified_and_told(dataset: Dataset) -> None:
    modified(dataset)
    dataset.OriginalAttributesSequence = [Dataset()]


def slice_in(transfer_syntax: bytes) -> Answer:
    """The first slice as parts, said to be in that transfer syntax in its file meta."""
    ((_, content), *_) = files(Fixture.F1, Uids("test"))
    changed = content.replace(LE_IN_FILE, transfer_syntax)
    return multipart([({"Content-Type": DICOM}, changed)], DICOM)


FAULTS: Final[list[tuple[str, Fault]]] = [
    ("INS-01", body(without_last_part)),
    ("INS-01", status(404)),
    ("INS-02", body(without_last_part)),
    ("INS-03", body(lambda _: b"--right\r\nContent-Type: application/dicom\r\n\r\n\r\n--right--")),
    ("INS-03", replaced(b"DICM", b"MCID")),
    ("INS-04", header("Content-Type", "application/octet-stream")),
    ("INS-04", body(lambda payload: payload[200:])),
    ("INS-05", instead(answer(200, b"", DICOM))),
    ("INS-05", status(400, lambda request: request.headers["accept"] == DICOM)),
    ("INS-06", replaced(LE_IN_FILE, OTHER_IN_FILE)),
    ("INS-06", body(lambda payload: payload.replace(b"\xce\xff", b"\xcf\xff"))),
    ("INS-07", status(406)),
    ("INS-08", replaced(OTHER_IN_FILE, LE_IN_FILE)),
    ("INS-09", status(200, on(accept="syntax=1.2.840.10008.1.2"))),
    ("INS-09", instead(slice_in(IMPLICIT_IN_FILE), on(accept="syntax=1.2.840.10008.1.2"))),
    ("INS-10", status(400, on(accept="syntax=1.2.840.10008.1.2.2"))),
    ("INS-10", instead(slice_in(OTHER_IN_FILE), on(accept="syntax=1.2.840.10008.1.2.2"))),
    ("INS-11", status(406)),
    ("INS-12", status(406, on(accept="q=0.5"))),
    ("INS-13", status(200, on(accept="syntax=1.2.3.4.5"))),
    ("INS-14", replaced(b"\x02\x00\x12\x00UI", b"\x02\x00\x13\x00SH")),
    ("INS-14", replaced(b"\x02\x00\x00\x00UL\x04\x00", b"\x02\x00\x00\x00UL\x04\x00\x01")),
    ("INS-15", status(400, on(has="2.25.404"))),
    ("INS-16", instead(answer(200))),
    ("INS-17", status(500, on(ends="not-a-uid"))),
    ("INS-18", status(406, on(accept="octet-stream"))),
    ("INS-18", body(lambda payload: payload.replace(b"\xce\xff", b"\xcf\xff"))),
    ("INS-19", replaced(b"private text", b"private tent")),
    ("INS-19", files_changed(modified)),
    ("INS-20", status(406, on(accept="*/*"))),
    ("INS-20", header("Content-Type", DICOM, on(accept="*/*"))),
    ("INS-21", status(405, on("HEAD"))),
    ("INS-21", header("Content-Type", "text/plain", on("HEAD"))),
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


@pytest.mark.parametrize("id", ["INS-09", "INS-10", "INS-13"])
async def test_the_default_in_place_of_what_is_not_supported_passes_and_is_said(id: str) -> None:
    asked = on(accept="syntax=1.2.840.10008.1.2" if id != "INS-13" else "syntax=1.2.3.4.5")

    verdict = await judged(id, instead(slice_in(LE_IN_FILE), asked))

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")
    assert "8.7.3-1" in verdict.notes[0]


@pytest.mark.parametrize("id", ["INS-05", "INS-09", "INS-10", "INS-13"])
async def test_another_status_than_406_is_blamed_once(id: str) -> None:
    verdict = await judged(id, in_place_of(406, 400))

    assert verdict.outcome is Outcome.SKIP
    assert "COM-04" in verdict.reason


@pytest.mark.parametrize("id", ["INS-04", "INS-08"])
@pytest.mark.parametrize("number", [400, 406])
async def test_what_is_optional_may_be_refused(id: str, number: int) -> None:
    assert (await judged(id, status(number))).outcome is Outcome.NA


async def test_a_change_that_the_object_tells_of_passes_and_is_said() -> None:
    verdict = await judged("INS-19", files_changed(modified_and_told))

    assert verdict.outcome is Outcome.PASS
    assert "(0008,1030)" in verdict.notes[0]


async def test_a_missing_attribute_is_found_by_its_tag() -> None:
    verdict = await judged("INS-19", files_changed(lambda dataset: dataset.pop("PatientSex")))

    assert verdict.outcome is Outcome.FAIL
    assert "(0010,0040) is missing" in verdict.reason
