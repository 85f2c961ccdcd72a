"""QID: what each case says of a right server, of a faulty one, and where nothing can be seen."""

import json
import re
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote

import httpx2
import pydicom
import pytest

import right_search
from dicomweb_conformance import archive, running
from dicomweb_conformance.cases import find
from dicomweb_conformance.fixtures import Fixture, Uids, studies_of
from dicomweb_conformance.running import Verdict
from dicomweb_conformance.synthetic import files
from dicomweb_conformance.target import Target, open_client
from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, When, body, header, ids_of, instead, on, status, when_broken
from planted_faults import judged as judged_by
from right_server import BASE, JSON, Answer, RightServer, answer

CHAPTER: Final = "QID"
# They report what they saw, which is a NOTE without a reason.
REPORTED: Final = {"QID-24"}
MAXIMUM: Final = "QID-49"
MORE: Final = "There are 20 additional results that can be requested"

Rows = list[dict[str, Any]]


def right() -> RightServer:
    return RightServer(routes=list(right_search.ROUTES))


async def judged(id: str, fault: Fault | None = None, **fields: Any) -> Verdict:
    return await judged_by(id, fault, server=right(), **fields)


def asked(*texts: str, ends: str = "") -> When:
    """Is it a GET of which the query, decoded, holds all these texts?"""

    def applies(request: httpx2.Request) -> bool:
        query = unquote(request.url.query.decode())
        return (
            request.method == "GET"
            and request.url.path.endswith(ends)
            and all(text in query for text in texts)
        )

    return applies


def rows(change: Callable[[Rows], object], when: When | None = None) -> Fault:
    """Changes the results."""
    applies = when or on()

    def changed(content: bytes) -> bytes:
        made = json.loads(content)
        change(made)
        return json.dumps(made).encode()

    def fault(request: httpx2.Request, given: Answer) -> Answer:
        if given.headers.get("content-type") != JSON:
            return given
        return body(changed, applies)(request, given)

    return fault


def without(*tags: str) -> Callable[[Rows], object]:
    def change(made: Rows) -> None:
        for row in made:
            for tag in tags:
                row.pop(tag, None)

    return change


def put(tag: str, vr: str, *values: object) -> Callable[[Rows], object]:
    def change(made: Rows) -> None:
        for row in made:
            row[tag] = {"vr": vr, "Value": list(values)}

    return change


def none(when: When) -> Fault:
    """Finds nothing."""
    return instead(answer(204), when)


def everything(when: When, *, keep: tuple[str, ...] = ("StudyInstanceUID",)) -> Fault:
    """Does not match by the keys of the query, but by those that are kept."""

    def fault(request: httpx2.Request, given: Answer) -> Answer:
        if not when(request):
            return given
        written = request.url.query.decode().split("&")
        kept = "&".join(part for part in written if part.startswith(keep))
        plain = httpx2.Request("GET", request.url.copy_with(query=kept.encode()))
        plain.headers["Accept"] = request.headers["accept"]
        return the_same_server()(plain)

    return fault


@cache
def the_same_server() -> RightServer:
    """It has the fixtures that `judged` stores."""
    wanted = (Fixture.F1, Fixture.F2, Fixture.F7, Fixture.F12, Fixture.F13, Fixture.F14)
    server = right()
    for fixture in wanted:
        for study in studies_of(files(fixture, Uids("test"))):
            server.files |= {each.sop_instance_uid: each.file for each in study if each.file}
    return server


def where_nothing_is_found(wrong: Answer) -> Fault:
    return lambda _, given: wrong if given.status_code == 204 else given


def elsewhere(request: httpx2.Request, given: Answer) -> Answer:
    """A proxy has another name for the server."""
    return body(lambda content: content.replace(b"right.example", b"other.example"))(request, given)


def doubled(made: Rows) -> None:
    made.append(made[0])


NO_WARNING: Final = header("Warning", None)
UNSUPPORTED: Final = {
    name: f"299 {BASE}: The {name} parameter is not supported. {rest}"
    for name, rest in (
        ("fuzzymatching", "Only literal matching has been performed."),
        ("emptyvaluematching", "Empty Value Matching has not been performed."),
        ("multiplevaluematching", "Multiple Value Matching has not been performed."),
    )
}

FAULTS: Final[list[tuple[str, Fault]]] = [
    ("QID-01", status(404, on(ends="/series"))),
    ("QID-01", status(501, on(ends="/instances"))),
    ("QID-01", body(lambda given: given[1:-1], on(ends="/studies"))),
    ("QID-01", rows(lambda made: made.clear())),
    ("QID-02", where_nothing_is_found(answer(200, b"[{}]", JSON))),
    ("QID-02", where_nothing_is_found(answer(200, b"nothing", "text/plain"))),
    ("QID-02", where_nothing_is_found(answer(404))),
    ("QID-02", where_nothing_is_found(answer(204, b"[]", JSON))),
    ("QID-03", header("Content-Type", "application/json", on(accept="*/*"))),
    ("QID-03", status(406, on(accept="*/*"))),
    ("QID-04", status(406, on(accept="dicom+xml"))),
    ("QID-04", header("Content-Type", JSON, on(accept="dicom+xml"))),
    ("QID-04", body(lambda given: given.replace(b'"0020000E"', b'"0020000F"'), on(accept="+xml"))),
    ("QID-05", rows(without("00100030"))),
    ("QID-05", rows(without("00080061"))),
    ("QID-05", rows(put("00201206", "IS", 2))),
    ("QID-05", rows(put("00201208", "IS", 2))),
    ("QID-05", rows(put("00080061", "CS", "CT", "SR"))),
    ("QID-06", rows(without("00081190"))),
    ("QID-06", rows(put("00081190", "UT", "x"))),
    ("QID-06", rows(put("00081190", "UR", f"{BASE}/studies/1.2"))),
    ("QID-06", status(404, on(accept='application/dicom"'))),
    ("QID-07", rows(without("00200011"))),
    ("QID-07", rows(without("00081190"))),
    ("QID-07", rows(put("00201209", "IS", 1))),
    ("QID-08", rows(without("00280010"))),
    ("QID-08", rows(without("00080016"))),
    ("QID-08", rows(put("00280011", "US", 1))),
    ("QID-09", rows(without("00080061"))),
    ("QID-09", rows(without("00080060"))),
    ("QID-10", rows(without("00100010"))),
    ("QID-10", rows(without("00201209"))),
    ("QID-11", rows(without("00080060"))),
    ("QID-12", everything(asked("StudyID="))),
    ("QID-12", everything(asked("ModalitiesInStudy="))),
    ("QID-12", none(asked("ReferringPhysicianName=Berg"))),
    ("QID-12", status(400, asked("StudyTime="))),
    ("QID-13", everything(asked("00100020="))),
    ("QID-13", none(asked("00100020="))),
    ("QID-14", status(400, asked("0020000e="))),
    ("QID-14", everything(asked("0020000e="))),
    ("QID-15", status(400, asked("patientid="))),
    ("QID-15", none(asked("patientid="))),
    ("QID-16", status(200, asked("PatientID=a"))),
    ("QID-16", none(asked("PatientID=a"))),
    ("QID-17", none(asked("StudyDate=abc"))),
    ("QID-17", none(asked("2024-01-05"))),
    ("QID-17", none(asked("x.y"))),
    ("QID-18", none(asked("20240105-20240106"))),
    ("QID-18", everything(asked("20240106-"))),
    ("QID-18", everything(asked("=-20240105"))),
    ("QID-19", none(asked("1000-1100"))),
    ("QID-19", everything(asked("1000-1100"))),
    ("QID-20", everything(asked("0900-1200"), keep=("StudyInstanceUID", "StudyTime"))),
    ("QID-20", everything(asked("0900-1200"), keep=("StudyInstanceUID", "StudyDate"))),
    ("QID-21", none(asked("StudyTime=1015"))),
    ("QID-21", everything(asked("StudyTime=1016"))),
    ("QID-22", none(asked("=A0*"))),
    ("QID-22", none(asked("=A?01"))),
    ("QID-22", everything(asked("=?01"))),
    ("QID-22", everything(asked("=B*"))),
    ("QID-23", everything(asked("PatientID=p-001"))),
    ("QID-23", none(asked("PatientID=p-001"))),
    ("QID-24", none(asked("PatientName="))),
    ("QID-25", none(asked("=Åstr"))),
    ("QID-25", everything(asked("=Ånn"))),
    ("QID-26", none(asked("王"))),
    ("QID-27", none(asked(","))),
    ("QID-27", rows(lambda made: made.pop(), asked(","))),
    ("QID-27", rows(doubled, asked(","))),
    ("QID-28", none(asked("\\"))),
    ("QID-29", everything(asked("*"), keep=("nothing",))),
    ("QID-29", status(500, asked("*"))),
    ("QID-30", none(asked("PatientID="))),
    ("QID-31", everything(asked("ProcedureStepID"))),
    ("QID-31", none(asked("SPS-1"))),
    ("QID-32", everything(asked("RequestAttributesSequence.00400009"))),
    ("QID-32", none(asked("00400275.00400009"))),
    ("QID-33", rows(put("00080061", "CS", "SR"), asked("=SR"))),
    ("QID-33", everything(asked("=ZZ"))),
    ("QID-33", none(asked("ModalitiesInStudy="))),
    ("QID-34", none(asked("StudyDate="))),
    ("QID-35", rows(without("00100010"), asked("includefield=00100010"))),
    ("QID-35", rows(without("00080020"), asked("PatientName,"))),
    ("QID-35", rows(without("00100010"), asked("PatientName&"))),
    ("QID-35", status(400, asked("includefield="))),
    ("QID-36", rows(without("00080060"), asked("all"))),
    ("QID-36", status(400, asked("all"))),
    ("QID-37", status(500, asked("all&"))),
    ("QID-38", rows(put("00080018", "UI", "1.2"), asked("includefield="))),
    ("QID-38", rows(put("0008103E", "LO", "Axial"), asked("includefield="))),
    ("QID-39", rows(put("00080018", "UI", "1.2"), asked("includefield=", ends="/series"))),
    ("QID-39", rows(without("00100010"), asked("includefield="))),
    ("QID-40", rows(without("00100010"), asked("includefield="))),
    ("QID-40", rows(without("00080060"), asked("includefield="))),
    ("QID-41", status(400, asked("TableTop"))),
    ("QID-41", none(asked("TableTop"))),
    ("QID-42", rows(without("00090010"))),
    ("QID-42", rows(put("00091001", "LO", "other"))),
    ("QID-43", status(400, asked("StationName"))),
    ("QID-44", NO_WARNING),
    ("QID-44", header("Warning", f"299 {BASE}: There are 19 additional results", asked("limit"))),
    ("QID-44", header("Warning", f"299 {BASE}: {MORE.replace('20', '21')}", asked("limit"))),
    ("QID-44", everything(asked("limit="), keep=("PatientID",))),
    ("QID-45", header("Warning", f"299 {BASE}: {MORE}", asked("offset"))),
    ("QID-45", everything(asked("offset="), keep=("PatientID", "limit"))),
    ("QID-46", everything(asked("offset="), keep=("PatientID",))),
    ("QID-46", instead(answer(204, b"[]", JSON), asked("offset="))),
    ("QID-47", everything(asked("limit=0"), keep=("PatientID",))),
    ("QID-47", status(400, asked("limit=0"))),
    ("QID-48", everything(asked("offset="), keep=("PatientID", "limit"))),
    ("QID-48", everything(asked("offset="), keep=("PatientID",))),
    ("QID-48", rows(lambda made: made.pop(), asked("limit=7"))),
    ("QID-50", NO_WARNING),
    ("QID-50", status(400, asked("fuzzymatching"))),
    ("QID-50", header("Warning", f"299 {BASE}: fuzzymatching is not supported")),
    ("QID-51", header("Warning", UNSUPPORTED["fuzzymatching"], asked("fuzzymatching=false"))),
    ("QID-51", status(400, asked("fuzzymatching=false"))),
    ("QID-52", none(asked('""'))),
    ("QID-52", everything(asked('""'))),
    ("QID-53", none(asked("CT\\PT"))),
    ("QID-53", everything(asked("CT\\PT"))),
    ("QID-54", status(404, asked("StudyDate="))),
    ("QID-54", status(500, asked("StudyDate="))),
    ("QID-55", where_nothing_is_found(answer(500))),
    ("QID-55", where_nothing_is_found(answer(200, b"[{}]", JSON))),
    ("QID-57", rows(put("00083002", "UI", "1.2.840.10008.1.2.4.90"))),
    ("QID-58", rows(put("00080056", "CS", "MAYBE"))),
    ("QID-58", rows(put("00080056", "CS"))),
    ("QID-60", everything(asked("P-001&x=y"))),
    ("QID-60", everything(asked("P-001,x"))),
    ("QID-60", everything(asked("P-001#x"))),
    ("QID-60", none(on(query="%50%2D"))),
    ("QID-61", status(500, on(accept="application/json"))),
    ("QID-61", instead(answer(200, b"<p>", "text/html"), on(accept="application/json"))),
    ("QID-61", instead(answer(200, b"<p>", "application/json"), on(accept="application/json"))),
    ("QID-62", everything(asked("PatientID=%"))),
    ("QID-62", everything(asked("P-00_"))),
    ("QID-62", status(500, asked("OR"))),
    ("QID-63", everything(asked("2100-0100"))),
    ("QID-63", none(asked("2100-0100"))),
    ("QID-64", everything(asked("SeriesNumber="))),
    ("QID-64", none(asked("RequestedProcedureID="))),
    ("QID-65", everything(asked("InstanceNumber="))),
    ("QID-65", status(400, asked("SOPClassUID="))),
    ("QID-66", rows(without("00400275"))),
    ("QID-66", rows(put("00400275", "SQ", {}))),
    ("QID-66", rows(without("00400244"))),
]

IN_QUOTES: Final = UNSUPPORTED["fuzzymatching"].partition(": ")[2]
# Only of a server that returns no more than 20 results.
MAXIMUM_FAULTS: Final[list[Fault]] = [
    NO_WARNING,
    header("Warning", f"299 {BASE}: {MORE}"),
]
ALTERNATIVES: Final[list[tuple[str, Fault, str]]] = [
    ("QID-02", where_nothing_is_found(answer(200, b"[]", JSON)), "CP-2473"),
    ("QID-02", where_nothing_is_found(answer(200)), "CP-2473"),
    ("QID-06", elsewhere, "not followed"),
    ("QID-18", where_nothing_is_found(answer(200)), ""),
    ("QID-29", instead(answer(200, b"[]", JSON), asked("*")), "CP-2473"),
    ("QID-46", where_nothing_is_found(answer(200, b"[]", JSON)), "CP-2473"),
    ("QID-47", where_nothing_is_found(answer(200)), "CP-2473"),
    ("QID-55", where_nothing_is_found(answer(200, b"[]", JSON)), "CP-2473"),
    ("QID-29", status(400, asked("*")), ""),
    ("QID-37", status(400, asked("all&")), "400"),
    ("QID-43", none(asked("StationName")), "is matched"),
    ("QID-44", header("Warning", f'299 example "{MORE}"', asked("limit")), ""),
    ("QID-50", header("Warning", f'299 - "{IN_QUOTES}"'), "not supported"),
    ("QID-52", header("Warning", UNSUPPORTED["emptyvaluematching"]), "not supported"),
    ("QID-53", header("Warning", UNSUPPORTED["multiplevaluematching"]), "not supported"),
    ("QID-54", status(400, asked("StudyDate=")), "400"),
    ("QID-54", none(asked("StudyDate=")), "204"),
    ("QID-55", where_nothing_is_found(answer(404)), "404"),
    ("QID-61", instead(answer(200, b"[]", JSON), on(accept="application/json")), "200"),
]


@pytest.mark.parametrize("id", ids_of(CHAPTER, but={MAXIMUM}))
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
async def test_nothing_is_said_where_nothing_is_there(id: str) -> None:
    verdict = await judged(id, holds=False)

    assert verdict.outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} | {MAXIMUM} == set(ids_of(CHAPTER))


@pytest.mark.parametrize(("id", "alternative", "seen"), ALTERNATIVES)
async def test_a_sanctioned_alternative_passes_and_is_said(
    id: str, alternative: Fault, seen: str
) -> None:
    verdict = await judged(id, alternative)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")
    assert seen in " ".join(verdict.notes)


def with_a_maximum(request: httpx2.Request, given: Answer) -> Answer:
    """20 results at most, and the Warning where nothing else is asked for."""
    if request.url.query.decode() != "PatientID=PAGE":
        return given
    limited = json.loads(given.content)[:20]
    announced = {"Warning": f"299 {BASE}: {MORE.replace('20', '10')}"}
    return answer(200, json.dumps(limited).encode(), JSON, **announced)


async def test_a_maximum_that_is_announced_passes() -> None:
    verdict = await judged(MAXIMUM, with_a_maximum)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize("fault", MAXIMUM_FAULTS)
async def test_a_maximum_that_is_not_announced_is_found(fault: Fault) -> None:
    def faulty(request: httpx2.Request, given: Answer) -> Answer:
        return fault(request, with_a_maximum(request, given))

    assert (await judged(MAXIMUM, faulty)).outcome is Outcome.FAIL


async def test_a_maximum_that_is_not_reached_is_not_judged() -> None:
    assert (await judged(MAXIMUM)).outcome is Outcome.NA


async def test_a_server_without_pages_is_not_judged_for_its_maximum() -> None:
    ignored = everything(asked("limit="), keep=("PatientID",))

    assert (await judged(MAXIMUM, ignored)).outcome is Outcome.SKIP


@pytest.mark.parametrize(
    ("id", "tag"), [("QID-42", "00091001"), ("QID-57", "00083002"), ("QID-58", "00080056")]
)
async def test_an_attribute_that_is_not_returned_is_not_judged(id: str, tag: str) -> None:
    verdict = await judged(id, rows(without(tag)))

    assert verdict.outcome is Outcome.NA


async def test_a_sequence_that_is_not_matched_at_all_is_blamed_once() -> None:
    ignored = everything(asked("ProcedureStepID"))

    assert (await judged("QID-31", ignored)).outcome is Outcome.FAIL
    assert (await judged("QID-32", ignored)).outcome is Outcome.SKIP
    assert (await judged("QID-64", ignored)).outcome is Outcome.SKIP


@pytest.mark.parametrize(
    ("id", "ignored", "judge"),
    [
        ("QID-39", rows(put("00080018", "UI", "1.2"), asked("includefield=")), "QID-38"),
        ("QID-63", none(asked("StudyTime=")), "QID-20"),
    ],
)
async def test_what_another_case_judges_is_not_held_against_a_server_twice(
    id: str, ignored: Fault, judge: str
) -> None:
    verdict = await judged(id, ignored)

    assert verdict.outcome is Outcome.SKIP
    assert judge in verdict.reason


def names_a_tag(request: httpx2.Request) -> bool:
    return re.search(rb"(^|&)[0-9A-Fa-f]{8}=", request.url.query) is not None


ABSENT: Final = [
    ("QID-14", everything(names_a_tag), "QID-13"),
    ("QID-19", everything(asked("StudyTime=")), "QID-12"),
    ("QID-20", everything(asked("StudyTime=")), "QID-12"),
    ("QID-21", everything(asked("StudyTime=")), "QID-12"),
    ("QID-63", everything(asked("StudyTime=")), "QID-12"),
    ("QID-25", none(asked("*")), "QID-22"),
    ("QID-33", rows(without("00080061")), "QID-05"),
]


@pytest.mark.parametrize(("id", "fault", "judged_by"), ABSENT)
async def test_what_is_not_there_at_all_is_blamed_once(
    id: str, fault: Fault, judged_by: str
) -> None:
    verdict, other = await judged(id, fault), await judged(judged_by, fault)

    assert verdict.outcome is Outcome.SKIP, verdict.reason
    assert judged_by in verdict.reason
    assert other.outcome is Outcome.FAIL


async def test_names_are_left_out_where_wildcards_do_not_match() -> None:
    verdict = await judged("QID-12", none(asked("*")))

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")
    assert "QID-22" in verdict.notes[0]


async def test_an_empty_value_that_is_none_with_or_without_the_parameter_is_not_judged() -> None:
    verdict = await judged("QID-52", status(400, asked('""')))

    assert verdict.outcome is Outcome.NA


async def judged_read_only(id: str) -> Verdict:
    """Of a server that has nothing but a study of someone else."""
    server = right()
    for name, file in files(Fixture.F1, Uids("another's"))[:2]:
        dataset = pydicom.dcmread(BytesIO(file))
        dataset.PatientName, dataset.PatientID, dataset.StudyTime = "Else^Someone", "E-1", "080000"
        dataset.AccessionNumber, dataset.ReferringPhysicianName = "", "Other^Doctor"
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, dataset)
        server.files[name] = buffer.getvalue()
    case = find(id)
    async with open_client(transport=httpx2.MockTransport(server)) as client:
        target = Target(client, BASE, read_only=True)
        await archive.find(target, case.fixtures)
        return await running.judge(target, case)


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_values_of_others_are_no_reason_for_blame(id: str) -> None:
    verdict = await judged_read_only(id)

    assert verdict.outcome in (Outcome.PASS, Outcome.SKIP, Outcome.NA), verdict.reason


async def test_searches_that_need_no_values_are_judged_in_a_read_only_run() -> None:
    assert (await judged_read_only("QID-05")).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "id", ["QID-24", "QID-25", "QID-26", "QID-28", "QID-52", "QID-53", "QID-60", "QID-62"]
)
async def test_a_server_that_does_not_decode_is_blamed_for_that_alone(id: str) -> None:
    verdict = await judged(id, none(lambda request: b"%" in request.url.query))

    assert verdict.outcome is Outcome.SKIP
