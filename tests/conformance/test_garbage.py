"""Whatever a server answers is the server's fault: no answer brings the suite itself down."""

from typing import Final

import httpx2
import pytest

from dicomweb_conformance.cases import select
from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, judged
from right_server import Answer, answer

CHAPTERS: Final = ("COM", "CAP", "INS", "MET", "BLK", "ENC")


def cut(request: httpx2.Request, right: Answer) -> Answer:
    """The first half of the right payload."""
    headers = {k: v for k, v in right.headers.items() if k != "content-length"}
    return Answer(
        right.status_code, headers=headers, content=right.content[: len(right.content) // 2]
    )


def damaged(request: httpx2.Request, right: Answer) -> Answer:
    """Some bytes of the right payload are others, and its parts are still parts."""
    headers = {k: v for k, v in right.headers.items() if k != "content-length"}
    content = bytearray(right.content)
    for position in range(300, len(content) - 40, 97):
        content[position] ^= 0x15
    return Answer(right.status_code, headers=headers, content=bytes(content))


def another(content: bytes, media_type: str) -> Fault:
    return lambda request, right: answer(right.status_code, content, media_type)


GARBAGE: Final[dict[str, Fault]] = {
    "cut": cut,
    "damaged": damaged,
    "nothing": another(b"", ""),
    "no content type": lambda request, right: Answer(200, content=right.content),
    "objects of nothing": another(b'[{}, {"00080018": null}, 1]', "application/dicom+json"),
    "wrong members": another(
        b'[{"StudyDate": 1, "00080018": {"Value": {}}, "7FE00010": {"vr": "OW", "InlineBinary":'
        b' "?"}, "00091001": {"vr": "AT", "BulkDataURI": "http://["}}]',
        "application/dicom+json",
    ),
    "parts of nothing": another(
        b"--x\r\nContent-Type: application/dicom\r\n\r\n\r\n--x--", "multipart/related; boundary=x"
    ),
    "failure": lambda request, right: answer(500, b"<html>", "text/html; charset=none"),
}


@pytest.mark.parametrize("id", [case.id for case in select(CHAPTERS)])
async def test_garbage_is_never_the_suites_fault(id: str) -> None:
    outcomes = {name: (await judged(id, fault)) for name, fault in GARBAGE.items()}

    errors = {name: v.reason for name, v in outcomes.items() if v.outcome is Outcome.ERROR}
    assert errors == {}
