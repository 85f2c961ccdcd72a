"""STW: what each case says of a right server, of a faulty one, and where nothing can be seen."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import httpx2
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ImplicitVRLittleEndian

import right_store
from dicomweb_conformance.running import Verdict
from dicomweb_conformance.verdicts import Outcome
from planted_faults import (
    Fault,
    When,
    body,
    header,
    ids_of,
    instead,
    on,
    status,
    when_broken,
)
from planted_faults import judged as judged_by
from right_server import CAPABILITIES, JSON, Answer, RightServer, answer, multipart

CHAPTER: Final = "STW"
POST: Final = on("POST")
SEARCH: Final = on(ends="/instances")
# They report what they saw, which is a NOTE without a reason.
REPORTED: Final = {"STW-28", "STW-29"}
COERCED: Final = "STW-27"


async def judged(id: str, fault: Fault | None = None, **fields: Any) -> Verdict:
    return await judged_by(id, fault, server=RightServer(routes=list(right_store.ROUTES)), **fields)


def sent(content: bytes = b"", *, to: str = "/studies", type: str = "") -> When:
    """Is it a request to store that holds this, to that path, of that Content-Type?"""

    def applies(request: httpx2.Request) -> bool:
        return (
            request.method == "POST"
            and content in request.content
            and request.url.path.endswith(to)
            and type in request.headers["content-type"]
        )

    return applies


def is_without_boundary(request: httpx2.Request) -> bool:
    return request.method == "POST" and "boundary" not in request.headers["content-type"]


def is_garbage(request: httpx2.Request) -> bool:
    return request.method == "POST" and b"DICM" not in request.content


def has_no_part(request: httpx2.Request) -> bool:
    return is_garbage(request) and request.content.startswith(b"--")


def module(change: Callable[[dict[str, Any]], object], when: When = POST) -> Fault:
    """Changes the response module."""

    def changed(right: bytes) -> bytes:
        made = json.loads(right)
        change(made)
        return json.dumps(made).encode()

    return body(changed, lambda request: when(request) and "json" in request.headers["accept"])


def without(tag: str) -> Callable[[dict[str, Any]], object]:
    return lambda made: made.pop(tag, None)


def item_without(sequence: str, tag: str) -> Callable[[dict[str, Any]], object]:
    return lambda made: [each.pop(tag, None) for each in made.get(sequence, {}).get("Value", ())]


def reason_of(code: object, sequence: str = "00081198") -> Callable[[dict[str, Any]], object]:
    def change(made: dict[str, Any]) -> None:
        for item in made.get(sequence, {}).get("Value", ()):
            item["00081197"] = {"vr": "US", "Value": [code]}

    return change


def file(change: Callable[[FileDataset], object], when: When | None = None) -> Fault:
    """Changes the files that come back."""
    applies = when or on(has="/instances/")

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if not applies(request) or right.status_code != 200:
            return right
        content = right.content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n--right--\r\n")
        dataset = pydicom.dcmread(BytesIO(content))
        change(dataset)
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        headers = {"Content-Type": "application/dicom"}
        return multipart([(headers, buffer.getvalue())], "application/dicom")

    return fault


def put(**values: object) -> Callable[[FileDataset], object]:
    def change(dataset: FileDataset) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)

    return change


def coerced(dataset: FileDataset) -> None:
    dataset.PatientName = "Someone^Else"
    dataset.OriginalAttributesSequence = [Dataset()]


def as_if_stored(made: dict[str, Any]) -> None:
    made["00081199"] = made["00081198"]


def in_syntax(syntax: str, *frames: bytes) -> Callable[[FileDataset], object]:
    def change(dataset: FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate(list(frames))
        dataset["PixelData"].VR = "OB"

    return change


def as_implicit(dataset: FileDataset) -> None:
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def add_a_page(dataset: Dataset) -> None:
    dataset.EncapsulatedDocument = dataset.EncapsulatedDocument + b"%%"


def frames_shuffled(dataset: FileDataset) -> None:
    frames = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=10)
    dataset.PixelData = encapsulate(list(frames)[::-1])


def is_found(request: httpx2.Request, right: Answer) -> Answer:
    """What was not stored is there all the same."""
    if request.method == "GET" and right.status_code == 404:
        return answer(200, b"something")
    return right


def refused_in_two_types(request: httpx2.Request, right: Answer) -> Answer:
    """The Content-Type of what comes with a refusal is there twice."""
    twice = header("Content-Type", f"{JSON}, text/plain", POST)
    return twice(request, right) if right.status_code >= 400 else right


def replaces(request: httpx2.Request, right: Answer) -> Answer:
    """The second instance of a UID takes the place of the first, and nothing is said of it."""
    other = file(put(InstanceNumber=77))(request, right)
    if request.method == "POST":
        return status(200)(httpx2.Request("GET", request.url), right_module_only(right))
    return other


def right_module_only(right: Answer) -> Answer:
    made = json.loads(right.content)
    item_without("00081199", "00081196")(made)
    return answer(200, json.dumps(made).encode(), JSON)


def both(*faults: Fault) -> Fault:
    def fault(request: httpx2.Request, right: Answer) -> Answer:
        for each in faults:
            right = each(request, right)
        return right

    return fault


def is_single_part(request: httpx2.Request) -> bool:
    return POST(request) and request.headers["content-type"] == "application/dicom"


SECOND_SLICE: Final = on(has="/instances/")
REFUSED_STUDY: Final = on("POST", has="/studies/")
PICTURE_FAULTS: Final = [("Rows", 1), ("BitsAllocated", 16)]
MULTIPART_JSON: Final = sent(b"application/dicom+json")
IMPLICIT: Final = sent(b"1.2.840.10008.1.2\0")
REFUSED_FOR_ANOTHER_REASON: Final = answer(
    409,
    b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}',
    JSON,
)
J2K: Final = "1.2.840.10008.1.2.4.90"

FAULTS: Final[list[tuple[str, Fault]]] = [
    ("STW-01", status(201, POST)),
    ("STW-01", status(202, POST)),
    ("STW-01", module(without("00081199"))),
    ("STW-01", module(item_without("00081199", "00081150"))),
    ("STW-01", module(item_without("00081199", "00081155"))),
    ("STW-01", module(item_without("00081199", "00081190"))),
    ("STW-01", header("Content-Type", "application/json", POST)),
    ("STW-02", module(without("00081190"))),
    ("STW-02", module(lambda made: made["00081190"].update(vr="UT"))),
    ("STW-02", module(lambda made: made["00081190"].update(Value=["http://right.example/x"]))),
    ("STW-02", status(400, on(has="/studies/"))),
    ("STW-03", header("Location", None, POST)),
    ("STW-03", header("Content-Location", None, POST)),
    ("STW-04", status(409, REFUSED_STUDY)),
    ("STW-04", file(put(PatientName="Someone^Else"))),
    ("STW-05", status(200, REFUSED_STUDY)),
    ("STW-05", status(400, REFUSED_STUDY)),
    ("STW-05", module(without("00081198"), REFUSED_STUDY)),
    ("STW-05", module(item_without("00081198", "00081197"), REFUSED_STUDY)),
    ("STW-05", module(as_if_stored, REFUSED_STUDY)),
    ("STW-05", is_found),
    ("STW-05", refused_in_two_types),
    ("STW-06", status(409, POST)),
    ("STW-06", module(lambda made: made["00081199"]["Value"].pop())),
    ("STW-07", status(200, POST)),
    ("STW-07", module(without("00081198"))),
    ("STW-07", module(without("00081199"))),
    ("STW-07", status(409, POST)),  # and yet the good one is there
    ("STW-07", is_found),
    ("STW-08", status(400, sent(type="text/plain"))),
    ("STW-08", status(200, sent(type="text/plain"))),
    ("STW-09", status(200, sent(b"no delimiter"))),
    ("STW-09", status(500, sent(b"no delimiter"))),
    ("STW-09", status(200, is_without_boundary)),
    ("STW-10", status(200, POST)),
    ("STW-10", module(without("0008119A"))),
    ("STW-10", module(item_without("0008119A", "00081197"))),
    ("STW-11", status(200, sent())),
    ("STW-11", status(400, sent())),  # and yet the good one is there
    ("STW-11", module(without("00081198"))),
    ("STW-11", is_found),
    ("STW-12", status(400, sent(b"1.2.826.0.1.3680043.9.9.9"))),
    ("STW-12", module(reason_of(49152))),
    ("STW-13", status(500, sent(b"1.2.826.0.1.3680043"))),
    ("STW-13", module(reason_of(272))),
    ("STW-14", header("Content-Type", "text/xml", POST)),
    ("STW-14", header("Content-Type", JSON, POST)),
    ("STW-14", body(lambda _: b"<NativeDicomModel/>", POST)),
    ("STW-14", body(lambda _: b"{}", POST)),
    ("STW-14", status(406, on("POST", accept="dicom+xml"))),
    ("STW-15", header("Content-Type", "application/json", POST)),
    ("STW-15", body(lambda right: b"[" + right + b"," + right + b"]", POST)),
    ("STW-15", module(without("00081199"))),
    ("STW-16", status(415, MULTIPART_JSON)),
    ("STW-16", file(put(PixelData=b"\0" * 48 * 64 * 2))),
    ("STW-16", file(put(PatientName="Someone^Else"))),
    ("STW-17", status(415, sent(b"application/dicom+xml"))),
    ("STW-17", file(put(PixelData=b"\0" * 48 * 64 * 2))),
    ("STW-18", module(lambda made: made["00081199"]["Value"].__delitem__(slice(1, None)))),
    ("STW-18", file(put(PixelData=b"\0" * 48 * 64 * 2))),
    ("STW-19", is_found),
    ("STW-20", file(put(Rows=1))),
    ("STW-20", file(put(BitsAllocated=16))),
    ("STW-20", file(in_syntax("1.2.840.10008.1.2.4.50", b"\xff\xd8another"))),
    ("STW-20", file(in_syntax(J2K, b"\xff\x4f\xff\x51"))),
    ("STW-20", status(500, MULTIPART_JSON)),
    ("STW-21", file(put(PixelData=b"\0" * 24 * 32))),
    ("STW-21", file(put(Columns=None))),
    ("STW-22", file(put(NumberOfFrames=1))),
    ("STW-22", file(put(PixelData=b"\0" * 24 * 32))),
    ("STW-23", file(in_syntax(J2K, b"\0\0\0\x0cjP  boxes"))),
    ("STW-23", file(in_syntax("1.2.840.10008.1.2.4.50", b"\xff\x4f\xff\x51"))),
    ("STW-23", file(put(HighBit=15))),
    ("STW-24", file(in_syntax("1.2.840.10008.1.2.4.50", b"only one"))),
    ("STW-24", file(frames_shuffled)),
    ("STW-24", file(in_syntax(J2K, *[b"\xff\x4f\xff\x51"] * 10))),
    ("STW-25", status(415, sent(b"application/pdf"))),
    ("STW-25", file(add_a_page)),
    ("STW-26", file(in_syntax(J2K, b"\xff\x4f\xff\x51"), on(accept="transfer-syntax=*"))),
    ("STW-26", status(500, sent(b"00020010"))),
    ("STW-27", file(put(PatientName="Someone^Else"))),
    ("STW-28", body(lambda right: b"[" + right[1:-1] + b"," + right[1:], SEARCH)),
    ("STW-29", replaces),
    ("STW-30", status(400, sent(type="application/dicom"))),
    ("STW-30", status(500, sent(type="application/dicom"))),
    ("STW-30", file(put(PatientName="Someone^Else"))),
    ("STW-31", status(415, sent(type="type=application/dicom;"))),
    ("STW-32", status(400, sent(type="()+_"))),
    ("STW-33", status(411, on("POST", header="transfer-encoding"))),
    ("STW-33", status(400, on("POST", without="content-length"))),
    ("STW-35", status(200, has_no_part)),
    ("STW-35", status(500, has_no_part)),
    ("STW-36", status(200, POST)),
    ("STW-36", module(reason_of(272, "0008119A"))),
    ("STW-36", module(without("0008119A"))),
    ("STW-37", file(as_implicit, on(accept="transfer-syntax=*"))),
    ("STW-37", file(as_implicit)),
    ("STW-37", status(500, POST)),
    ("STW-37", instead(REFUSED_FOR_ANOTHER_REASON, IMPLICIT)),
    ("STW-38", instead(answer(204), SEARCH)),
    ("STW-39", status(202, REFUSED_STUDY)),
    ("STW-39", status(200, REFUSED_STUDY)),
    ("STW-39", is_found),
    ("STW-40", module(reason_of("A900"))),
    ("STW-40", module(reason_of(45056))),
    ("STW-40", module(reason_of(0))),
    ("STW-40", module(reason_of(70000))),
    ("STW-41", module(lambda made: made.update({"00081198": {"vr": "SQ"}}))),
    ("STW-41", module(lambda made: made.update({"0008119A": {"vr": "SQ"}}))),
]

ALTERNATIVES: Final[list[tuple[str, Fault, str]]] = [
    ("STW-01", module(lambda made: made["00081190"].pop("Value", None)), ""),
    (
        "STW-01",
        both(
            status(202, POST),
            module(
                lambda made: made["00081199"]["Value"][0].update(
                    {"00081196": {"vr": "US", "Value": [45062]}}
                )
            ),
        ),
        "with warnings",
    ),
    ("STW-02", module(lambda made: made["00081190"].pop("Value")), "is empty"),
    ("STW-04", file(put(StationName="added")), ""),
    ("STW-04", file(coerced), "coerced"),
    ("STW-05", header("Content-Type", "text/plain", REFUSED_STUDY), "without a Store Instances"),
    ("STW-09", status(415, is_without_boundary), "a boundary is 415"),
    ("STW-10", header("Content-Type", "text/plain", is_garbage), "409 without"),
    ("STW-12", status(501, sent(b"1.2.826.0.1.3680043.9.9.9")), "501"),
    ("STW-15", body(lambda right: b"[" + right + b"]", POST), "in an array"),
    ("STW-26", status(409, sent(b"00020010")), "group 0002 is refused"),
    ("STW-30", status(415, is_single_part), "415"),
    ("STW-37", instead(answer(409, b"no", "text/plain"), IMPLICIT), "not taken"),
    ("STW-39", status(400, REFUSED_STUDY), "bad syntax"),
    ("STW-40", module(reason_of(501)), "has to be documented"),
]


@pytest.mark.parametrize("id", ids_of(CHAPTER, but={COERCED}))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id)

    passed = Outcome.NOTE if id in REPORTED else Outcome.PASS
    assert (verdict.outcome, verdict.reason) == (passed, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault)

    assert verdict.outcome is when_broken(id), verdict.reason
    assert verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_stored_in_a_read_only_run(id: str) -> None:
    verdict = await judged(id, holds=False, read_only=True)

    assert verdict.outcome is Outcome.SKIP


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_that_does_not_store_is_not_blamed(id: str) -> None:
    none = {
        path: [each for each in names if each != "POST"] for path, names in CAPABILITIES.items()
    }

    verdict = await judged_by(id, server=RightServer(capabilities=none))

    assert verdict.outcome is Outcome.NA


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))


@pytest.mark.parametrize(("id", "alternative", "seen"), ALTERNATIVES)
async def test_a_sanctioned_alternative_passes_and_is_said(
    id: str, alternative: Fault, seen: str
) -> None:
    verdict = await judged(id, alternative)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")
    assert seen in " ".join(verdict.notes)


@pytest.mark.parametrize("id", ["STW-20", "STW-21", "STW-22", "STW-23", "STW-24"])
async def test_a_server_that_takes_no_pictures_is_not_blamed(id: str) -> None:
    verdict = await judged(id, status(415, MULTIPART_JSON))

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ["STW-18", "STW-19", "STW-25", "STW-26"])
async def test_metadata_that_cannot_be_sent_at_all_is_blamed_once(id: str) -> None:
    verdict = await judged(id, status(415, MULTIPART_JSON))

    assert verdict.outcome is Outcome.SKIP


@pytest.mark.parametrize(
    ("id", "fault", "judge"),
    [
        ("STW-11", status(400, POST), "STW-07"),
        ("STW-35", status(200, is_garbage), "STW-09"),
        ("STW-10", refused_in_two_types, "STW-05"),
        ("STW-36", refused_in_two_types, "STW-05"),
        ("STW-40", refused_in_two_types, "STW-05"),
    ],
)
async def test_what_another_case_judges_is_not_held_against_a_server_twice(
    id: str, fault: Fault, judge: str
) -> None:
    verdict = await judged(id, fault)

    assert verdict.outcome is Outcome.SKIP
    assert judge in verdict.reason


@pytest.mark.parametrize("id", ["STW-12", "STW-13"])
async def test_a_server_that_stores_anything_is_not_blamed(id: str) -> None:
    verdict = await judged(id, status(200, POST))

    assert verdict.outcome is Outcome.NA


async def test_a_server_that_coerces_nothing_is_not_blamed() -> None:
    assert (await judged(COERCED)).outcome is Outcome.NA


async def test_a_request_in_chunks_is_shown_in_the_report() -> None:
    first, *_ = (await judged("STW-33")).exchanges

    assert first.request_headers["Transfer-Encoding"] == "chunked"


async def test_coercion_with_the_original_attributes_passes() -> None:
    verdict = await judged(COERCED, file(coerced))

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize("id", ["STW-07", "STW-11"])
async def test_a_request_that_is_refused_whole_passes(id: str) -> None:
    nothing = both(status(409, POST), instead(answer(404), on(has="/instances/")))

    verdict = await judged(id, nothing)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")
    assert "refused" in " ".join(verdict.notes)
