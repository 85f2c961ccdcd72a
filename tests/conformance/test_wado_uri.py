"""URI: what each case says of a right server, of a faulty one, and where nothing can be seen."""

from io import BytesIO
from typing import Final

import httpx2
import pydicom
import pytest
from PIL import Image, ImageOps

from dicomweb_conformance.fixtures import Uids
from dicomweb_conformance.verdicts import Outcome
from planted_faults import (
    Fault,
    When,
    body,
    header,
    ids_of,
    in_place_of,
    judged,
    status,
    when_broken,
)
from redrawn_pictures import black, brighter, doubled, redrawn, squeezed
from right_server import Answer, RightServer
from right_uri import WADO, server_with_uri_service

CHAPTER: Final = "URI"
SLICE_8: Final = Uids("test")("S1/R1/8")
# What a server may leave out, with the parameter that it then ignores.
OPTIONAL: Final = {
    "transferSyntax": ["URI-09", "URI-10", "URI-11"],
    "anonymize": ["URI-12", "URI-13"],
    "frameNumber": ["URI-14", "URI-15", "URI-16"],
    "windowCenter": ["URI-17", "URI-18", "URI-19", "URI-32"],
    "region": ["URI-20", "URI-21", "URI-22"],
    "columns": ["URI-23", "URI-24"],
    "presentationSeriesUID": ["URI-25", "URI-26", "URI-27", "URI-29"],
    "imageQuality": ["URI-28"],
}


def asks(*has: str, lacks: str = "\0") -> When:
    """Is it a request whose query has all of these, and not the other?"""

    def applies(request: httpx2.Request) -> bool:
        query = request.url.query.decode()
        return "/wado" in request.url.path and all(e in query for e in has) and lacks not in query

    return applies


def begins(text: str) -> When:
    return lambda request: request.url.query.decode().startswith(text)


def as_without(*parameters: str, when: When = lambda _: True) -> Fault:
    """Answers as if the parameters had not been there: from a right server of the same files."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        asked = request.url.params
        if not set(parameters) & set(asked.keys()) or not when(request):
            return right
        for name in parameters:
            asked = asked.remove(name)
        url = request.url.copy_with(params=asked)
        return SERVERS[-1](httpx2.Request("GET", url, headers=request.headers))

    return fault


def as_stored(request: httpx2.Request, right: Answer) -> Answer:
    """Sends files in the transfer syntax in which they are stored."""
    if right.headers["content-type"] != "application/dicom":
        return right
    return Answer(200, headers=right.headers, content=next(iter(SERVERS[-1].files.values())))


def with_the_original(keyword: str) -> Fault:
    def changed(right: bytes) -> bytes:
        made = pydicom.dcmread(BytesIO(right))
        original = pydicom.dcmread(BytesIO(SERVERS[-1].files[SLICE_8]))
        made[keyword] = original[keyword]
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, made)
        return buffer.getvalue()

    return body(changed, asks("anonymize=yes"))


# The server of the test that runs, for faults that ask it something else.
SERVERS: Final[list[RightServer]] = []


@pytest.fixture
def server() -> RightServer:
    SERVERS[:] = [server_with_uri_service()]
    return SERVERS[-1]


def dimmed(image: Image.Image) -> Image.Image:
    return image.point(lambda value: value // 2)


FILE: Final = asks("contentType=application/dicom")
JPEG: Final = asks("contentType=image/jpeg")
QUALITIES: Final = ("imageQuality=0", "imageQuality=101", "imageQuality=x")

FAULTS: Final[list[tuple[str, Fault]]] = [
    ("URI-01", header("Content-Type", "multipart/related; boundary=x", FILE)),
    ("URI-01", body(lambda right: right[132:], FILE)),
    (
        "URI-01",
        body(
            lambda right: right.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"), FILE
        ),
    ),
    ("URI-02", status(404, asks(lacks="requestType"))),
    ("URI-02", status(200, asks(lacks="requestType"))),
    ("URI-03", status(200, asks("FOO"))),
    *(("URI-04", status(200, asks(lacks=uid))) for uid in ("studyUID", "seriesUID", "objectUID")),
    ("URI-05", in_place_of(404, 400)),
    ("URI-06", header("Content-Type", "image/png", asks(lacks="contentType"))),
    ("URI-06", status(406, asks(lacks="contentType"))),
    ("URI-07", status(400, begins("contentType"))),
    ("URI-08", status(200, asks("transfer-syntax"))),
    ("URI-09", as_without("transferSyntax", when=asks("transferSyntax=1.2.840"))),
    ("URI-09", status(500, asks("transferSyntax=1.2.840"))),
    ("URI-10", status(400, asks("1.2.3.4"))),
    ("URI-10", status(200, asks("1.2.3.4"))),
    ("URI-11", status(406, asks("abc"))),
    ("URI-12", status(200, asks("anonymize=no"))),
    ("URI-13", with_the_original("PatientName")),
    ("URI-13", with_the_original("PatientID")),
    ("URI-13", as_without("anonymize", when=asks("anonymize=yes"))),
    ("URI-14", redrawn(squeezed, asks("frameNumber=3"))),
    ("URI-14", redrawn(brighter, asks("frameNumber=3"))),
    ("URI-14", status(400, asks("frameNumber=3"))),
    *(("URI-15", status(200, asks(f"frameNumber={each}"))) for each in ("0", "11", "1.5")),
    ("URI-16", status(200, asks("frameNumber=1"))),
    ("URI-17", as_without("windowCenter")),
    ("URI-18", status(200, asks("application/dicom", "windowCenter"))),
    ("URI-19", status(200, asks("windowCenter=a"))),
    ("URI-20", status(200, asks("region=0.5,0,"))),
    ("URI-21", status(200, asks("region=0,0,0.5", lacks="0.5,0.5"))),
    ("URI-22", redrawn(ImageOps.mirror, asks("region=0.5,0.5"))),
    ("URI-22", redrawn(doubled, asks("region=0.5,0.5"))),
    ("URI-23", redrawn(squeezed, asks("rows=24"))),
    ("URI-23", status(400, asks("rows=24"))),
    ("URI-24", redrawn(squeezed, asks("columns=32"))),
    ("URI-24", status(500, asks("columns=32"))),
    ("URI-25", status(200, asks("presentationUID", "windowCenter"))),
    ("URI-26", status(200, asks("presentationUID", lacks="presentationSeriesUID"))),
    ("URI-27", in_place_of(400, 404)),
    *(("URI-28", status(200, asks(each))) for each in QUALITIES),
    ("URI-29", status(200, asks("presentationUID", "application/dicom"))),
    ("URI-30", status(406, asks("text/plain"))),
    ("URI-30", status(500, asks("text/"))),
    ("URI-30", header("Content-Type", "text/html", asks("text/plain"))),
    ("URI-31", as_stored),
    ("URI-32", redrawn(dimmed, asks("windowWidth=400"))),
    ("URI-32", redrawn(black, asks("windowWidth=400"))),
    ("URI-33", header("Content-Type", "image/png", JPEG)),
    ("URI-33", redrawn(doubled, JPEG)),
    ("URI-33", redrawn(lambda image: image, JPEG, progressive=True)),
]


@pytest.mark.parametrize("id", ids_of(CHAPTER, but={"URI-24"}))
async def test_the_right_server_passes(id: str, server: RightServer) -> None:
    verdict = await judged(id, server=server, wado_uri=WADO)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault, server: RightServer) -> None:
    verdict = await judged(id, fault, server=server, wado_uri=WADO)

    assert verdict.outcome is when_broken(id), verdict.reason
    assert verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_there(id: str) -> None:
    verdict = await judged(id, holds=False, wado_uri=WADO)

    assert verdict.outcome is Outcome.SKIP


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_service_that_is_not_named_is_not_applicable(id: str) -> None:
    verdict = await judged(id)

    assert verdict.outcome is Outcome.NA


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))


@pytest.mark.parametrize(
    ("parameter", "id"), [(name, id) for name, ids in OPTIONAL.items() for id in ids]
)
async def test_an_optional_parameter_may_be_ignored(
    parameter: str, id: str, server: RightServer
) -> None:
    together = {
        "windowCenter": ("windowCenter", "windowWidth"),
        "columns": ("rows", "columns"),
        "presentationSeriesUID": ("presentationUID", "presentationSeriesUID"),
    }

    ignoring = as_without(*together.get(parameter, (parameter,)))
    verdict = await judged(id, ignoring, server=server, wado_uri=WADO)

    assert verdict.outcome is Outcome.NA, verdict.reason


@pytest.mark.parametrize(
    ("id", "fault", "judge"),
    [
        ("URI-03", in_place_of(400, 404), "URI-02"),
        ("URI-06", header("Content-Type", "image/png"), "URI-33"),
    ],
)
async def test_what_another_case_judges_is_not_held_against_a_server_twice(
    id: str, fault: Fault, judge: str, server: RightServer
) -> None:
    def pictures_alone(request: httpx2.Request, right: Answer) -> Answer:
        is_file = right.headers.get("content-type") == "application/dicom"
        return right if is_file else fault(request, right)

    verdict = await judged(id, pictures_alone, server=server, wado_uri=WADO)

    assert verdict.outcome is Outcome.SKIP
    assert judge in verdict.reason


async def test_reports_need_not_be_rendered(server: RightServer) -> None:
    verdict = await judged("URI-30", status(406, asks("text/")), server=server, wado_uri=WADO)

    assert verdict.outcome is Outcome.NA


async def test_refusing_to_anonymize_is_no_fault(server: RightServer) -> None:
    verdict = await judged(
        "URI-13", status(403, asks("anonymize=yes")), server=server, wado_uri=WADO
    )

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("number", [200, 400])
async def test_columns_without_rows_are_said(number: int, server: RightServer) -> None:
    fault = status(number, asks("columns=32"))

    verdict = await judged("URI-24", fault, server=server, wado_uri=WADO)

    assert verdict.outcome is Outcome.NOTE
    assert str(number) in " ".join(verdict.notes)
