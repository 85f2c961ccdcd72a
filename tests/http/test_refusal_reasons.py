"""What is no storable object is refused with a reason that fits into Error Comment (0000,0902)."""

from collections.abc import Callable

import httpx2
import pytest

from objects import an_object, uid
from part10_bytes import explicit, part10

Store = Callable[..., httpx2.Response]

OBJECT = an_object()
PIXELS = len(OBJECT) - 512 - 12  # where their element begins


def identified(study: bytes = b"1.2", sop_class: bytes = b"1.2") -> bytes:
    return part10(
        explicit(0x00080016, "UI", sop_class)
        + explicit(0x00080018, "UI", b"1.2")
        + explicit(0x0020000D, "UI", study)
        + explicit(0x0020000E, "UI", b"1.2")
    )


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "0 bytes are too few: not a PS3.10 file"),
        (b'{"resourceType": "Patient"}', "27 bytes are too few: JSON"),
        (b"\xff\xd8\xff\xe0" + bytes(200), "no DICM prefix: a JPEG image"),
        (OBJECT[132 + 200 :], "no DICM prefix: not a PS3.10 file"),
        (OBJECT[132:], "no DICM prefix: File Meta Information without preamble"),
        (OBJECT[:132], "Transfer Syntax UID (0002,0010) is missing or empty"),
        (OBJECT[:-300], f"(7FE0,0010) at byte {PIXELS} has only 212 of 512 bytes"),
        (an_object(SeriesInstanceUID=None), "Series Instance UID (0020,000E) is missing"),
        (
            identified(sop_class=b"../../../etc/passwd"),
            "SOP Class UID (0008,0016) is not made of digits and dots",
        ),
        (
            identified(study=b"1.2" * 22),
            "Study Instance UID (0020,000D) has more than 64 characters",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_reason_is_told_whole(store: Store, file: bytes, reason: str) -> None:
    report = store([file], status=400).json()
    (failure,) = report.get("00081198", report.get("0008119A"))["Value"]
    assert failure["00000902"]["Value"] == [reason]


def test_other_bytes_under_a_taken_uid_are_refused_with_a_reason(store: Store) -> None:
    taken = uid()
    store([an_object(SOPInstanceUID=taken)])
    report = store([an_object(SOPInstanceUID=taken)], status=409).json()
    (failure,) = report["00081198"]["Value"]
    reason = "the SOP Instance UID is taken by other bytes; the first is kept"
    assert failure["00000902"]["Value"] == [reason]
