"""THU: what each case says of a right server, of a faulty one, and where nothing can be seen."""

from io import BytesIO
from typing import Final

import httpx2
import pytest
from PIL import Image

from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, When, body, header, ids_of, judged, on, status, when_broken
from redrawn_pictures import black, doubled, redrawn, squeezed
from right_pictures import server_with
from right_server import Answer, RightServer, answer, multipart

CHAPTER: Final = "THU"
NAMED: Final = on(ends="/thumbnail")
ANY: Final = on(ends="/thumbnail", accept="*/*")


def asked(query: str) -> When:
    return on(ends="/thumbnail", query=query)


def in_parts(request: httpx2.Request, right: Answer) -> Answer:
    if request.headers["accept"] != "*/*" or right.status_code != 200:
        return right
    return multipart([({"Content-Type": "image/jpeg"}, right.content)] * 2, "image/jpeg")


def of_any_size(request: httpx2.Request, right: Answer) -> Answer:
    """Knows no parameter: the same picture always."""
    if not request.url.path.endswith("/thumbnail"):
        return right
    buffer = BytesIO()
    Image.new("L", (48, 36)).save(buffer, "JPEG")
    return answer(200, buffer.getvalue(), "image/jpeg")


FAULTS: Final[list[tuple[str, Fault]]] = [
    *(
        ("THU-01", status(404, on(ends="/thumbnail", has=level)))
        for level in ("/series/", "/instances/", "/frames/")
    ),
    ("THU-01", body(lambda right: right[:20], on(ends="/thumbnail", has="/frames/"))),
    ("THU-01", lambda request, right: Answer(302) if NAMED(request) else right),
    ("THU-02", header("Content-Type", "image/png", ANY)),
    ("THU-02", in_parts),
    ("THU-02", status(406, ANY)),
    ("THU-03", redrawn(doubled, asked("viewport=32"))),
    ("THU-03", redrawn(lambda image: image.resize((8, 6)), asked("viewport=32"))),
    ("THU-03", status(500, asked("viewport=32"))),
    ("THU-04", status(200, asked("0,0,8,8"))),
    ("THU-05", body(lambda right: right + "Åström".encode(), NAMED)),
    ("THU-05", body(lambda right: right + b"P-001", NAMED)),
    ("THU-05", redrawn(black, asked("annotation=patient"))),
    ("THU-05", redrawn(squeezed, asked("annotation=patient"))),
]


@pytest.fixture
def server() -> RightServer:
    return server_with("thumbnail")


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_server_passes(id: str, server: RightServer) -> None:
    verdict = await judged(id, server=server)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault, server: RightServer) -> None:
    verdict = await judged(id, fault, server=server)

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_there(id: str, server: RightServer) -> None:
    verdict = await judged(id, holds=False, server=server)

    assert verdict.outcome is Outcome.SKIP


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_that_claims_none_is_not_blamed(id: str) -> None:
    verdict = await judged(id)

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_that_has_none_is_not_blamed(id: str, server: RightServer) -> None:
    verdict = await judged(id, status(404, NAMED), server=server)

    assert verdict.outcome is Outcome.NA


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))


@pytest.mark.parametrize("id", ["THU-03", "THU-04"])
async def test_a_viewport_may_be_ignored(id: str, server: RightServer) -> None:
    verdict = await judged(id, of_any_size, server=server)

    assert verdict.outcome is Outcome.NA


async def test_a_redirect_to_a_rendered_resource_passes_and_is_said(server: RightServer) -> None:
    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if "/frames/" not in request.url.path or not NAMED(request):
            return right
        instance = request.url.path.partition("/frames/")[0]
        return Answer(302, headers={"Location": f"{instance}/rendered?viewport=48,48"})

    verdict = await judged("THU-01", fault, server=server)

    assert verdict.outcome is Outcome.PASS
    assert "redirect" in " ".join(verdict.notes)
