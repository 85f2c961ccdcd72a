"""BLK: what each case says of a right server, of a faulty one, and where nothing can be seen."""

from typing import Final

import pytest

from dicomweb_conformance.chapters.bulkdata import COMPRESSED_TYPES
from dicomweb_conformance.fixtures import Uids
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
from right_server import CAPABILITIES, RightServer, answer, multipart

CHAPTER: Final = "BLK"
FRAMES: Final = on(has="/frames/")
# The first pixels of the frames of F8 are 1000, 1600 and 2200.
FIRST: Final = b"\xe8\x03\xe9\x03"
THIRD: Final = b"\x98\x08\x99\x08"


def replaced(right: bytes, wrong: bytes) -> Fault:
    return body(lambda payload: payload.replace(right, wrong))


def of_frame(right: str, wrong: str) -> Fault:
    return replaced(right.encode(), wrong.encode())


def exchanged(payload: bytes) -> bytes:
    """The first two parts in the other order."""
    _, first, second, end = payload.split(b"--right")
    return b"--right".join([b"", second, first, end])


def unpacked(payload: bytes) -> bytes:
    """One byte for each pixel, instead of one bit."""
    head, _, rest = payload.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + b"\1" * 35 + b"\r\n--right" + rest.rpartition(b"--right")[2]


ICON: Final = b"--right\r\nContent-Type: application/octet-stream\r\n\r\nMMMM\r\n"


FAULTS: Final[list[tuple[str, Fault]]] = [
    ("BLK-01", replaced(FIRST, FIRST[::-1])),
    ("BLK-01", replaced(FIRST, FIRST + FIRST)),
    ("BLK-01", header("Content-Type", "application/octet-stream")),
    ("BLK-02", body(exchanged)),
    ("BLK-02", replaced(THIRD, FIRST)),
    ("BLK-03", of_frame("Content-Location", "X-Location")),
    ("BLK-03", of_frame("/frames/3", "/frames/2")),
    ("BLK-04", instead(answer(500), on(ends="/frames/4"))),
    ("BLK-04", instead(answer(200), on(ends="/frames/4"))),
    ("BLK-05", instead(answer(200), on(ends="/frames/0"))),
    ("BLK-05", instead(answer(500), on(ends="/frames/a"))),
    ("BLK-05", instead(answer(500), on(ends="/frames/1,,2"))),
    ("BLK-06", body(exchanged, on(ends="/frames/3,1"))),
    ("BLK-07", replaced(b"\xff\xd8\xff", b"\xfe\xff\x00\xe0\xff\xd8\xff")),
    ("BLK-07", of_frame("; transfer-syntax=", "; other=")),
    (
        "BLK-08",
        instead(
            multipart([({"Content-Type": "image/jpeg"}, b"\xff\xd8\xff\xc0\0\x08")], "image/jpeg"),
            lambda request: request.headers["accept"].endswith('"image/jpeg"'),
        ),
    ),
    ("BLK-09", of_frame("-syntax=1.2.840.10008.1.2.4.50", "-syntax=1.2.840.10008.1.2.4.80")),
    ("BLK-10", body(unpacked)),
    ("BLK-10", body(lambda payload: payload.replace(b"\r\n\r\n\x49", b"\r\n\r\n\x92"))),
    ("BLK-11", replaced(THIRD, FIRST)),
    ("BLK-12", of_frame("Content-Location", "X-Location")),
    ("BLK-13", body(lambda payload: payload.replace(b"--right--", ICON + b"--right--"))),
    ("BLK-14", replaced(FIRST, THIRD)),
    ("BLK-14", header("Content-Type", "image/jpeg")),
    ("BLK-15", instead(answer(200), on(ends="/frames/1,2"))),
    ("BLK-15", status(400, on(ends="/frames/1,2"))),
    ("BLK-16", status(406, on(accept="*/*"))),
    ("BLK-17", instead(answer(500), on(has=Uids("test")("S5")))),
    ("BLK-18", replaced(b"\x02\0\0\0\x40\0\0\0", b"\xfe\xff\x00\xe0\x40\0\0\0")),
    ("BLK-19", status(406)),
    ("BLK-19", body(lambda payload: payload.replace(b"\xce\xff", b"\xcf\xff"))),
]


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id)

    # what it does with descending frames is worth a note, and free
    expected = Outcome.NOTE if id == "BLK-06" else Outcome.PASS
    assert (verdict.outcome, verdict.reason) == (expected, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault)

    assert verdict.outcome is when_broken(id), verdict.reason
    assert verdict.reason or when_broken(id) is Outcome.NOTE


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_there(id: str) -> None:
    assert (await judged(id, holds=False)).outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))


async def test_another_status_than_406_is_blamed_once() -> None:
    verdict = await judged("BLK-15", in_place_of(406, 400))

    assert verdict.outcome is Outcome.SKIP
    assert "COM-04" in verdict.reason


@pytest.mark.parametrize("id", ["BLK-07", "BLK-08", "BLK-09", "BLK-14", "BLK-18"])
@pytest.mark.parametrize("number", [400, 406])
async def test_what_is_optional_may_be_refused(id: str, number: int) -> None:
    assert (await judged(id, status(number))).outcome is Outcome.NA


@pytest.mark.parametrize("id", ["BLK-11", "BLK-12", "BLK-13"])
async def test_resources_that_are_not_claimed_are_not_asked_for(id: str) -> None:
    some = {
        path: methods
        for path, methods in CAPABILITIES.items()
        if not path.endswith(("bulkdata", "pixeldata"))
    }

    verdict = await judged(id, status(500), server=RightServer(capabilities=some))

    assert verdict.outcome is Outcome.NA
    assert verdict.exchanges == ()


@pytest.mark.parametrize(
    ("id", "number", "seen"),
    [("BLK-04", 400, "400"), ("BLK-06", 400, "400"), ("BLK-17", 406, "406")],
)
async def test_a_sanctioned_alternative_is_said(id: str, number: int, seen: str) -> None:
    odd = {"BLK-04": on(ends="/4"), "BLK-06": on(ends="/3,1"), "BLK-17": on(has=Uids("test")("S5"))}

    verdict = await judged(id, status(number, odd[id]))

    assert verdict.outcome in (Outcome.PASS, Outcome.NOTE)
    assert verdict.reason == ""
    assert seen in verdict.notes[0]


async def test_a_lossy_frame_that_is_said_to_be_lossy_passes() -> None:
    """The server may send what it has instead of a 406, if it says what it is."""
    jpeg = b"\xff\xd8\xff\xe0\0\x04\0\0\xff\xc0\0\x08"
    said = {"Content-Type": "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"}
    plain = instead(
        multipart([(said, jpeg)], "image/jpeg"),
        lambda request: request.headers["accept"].endswith('"image/jpeg"'),
    )

    verdict = await judged("BLK-08", plain)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


def test_a_transfer_syntax_has_one_media_type() -> None:
    listed = [syntax for syntaxes in COMPRESSED_TYPES.values() for syntax in syntaxes]

    assert len(set(listed)) == len(listed)
