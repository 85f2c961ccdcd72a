"""VOL: what each case says of a right server, of a faulty one, and where nothing can be seen."""

from itertools import count
from typing import Final

import httpx2
import pytest

from dicomweb_conformance.fixtures import Uids
from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, When, body, header, ids_of, judged, status, when_broken
from redrawn_pictures import black, redrawn
from right_pictures import server_with
from right_server import Answer, RightServer

CHAPTER: Final = "VOL"
UNKNOWN: Final = Uids(Uids("test")("S1"))("never stored")
POSITION, METHOD = b'"00701603"', b'"0070120D"'


def asked(*has: str, lacks: str = "\0") -> When:
    """Is it a request for a volume whose URL has all of these, and not the other?"""

    def applies(request: httpx2.Request) -> bool:
        url = request.url.raw_path.decode()
        is_volume = "/rendered" in url and "/rendered?" not in url
        return is_volume and all(each in url for each in has) and lacks not in url

    return applies


def in_place_of(right_status: int, number: int) -> Fault:
    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if right.status_code != right_status or not asked()(request):
            return right
        return status(number)(request, right)

    return fault


def other_numbers(right: bytes) -> bytes:
    return right.replace(b"1.0", str(next(NUMBERS)).encode())


NUMBERS: Final = count(7)
METADATA: Final = asked("metadata")

FAULTS: Final[list[tuple[str, Fault]]] = [
    ("VOL-01", redrawn(black, asked("mpr"))),
    ("VOL-01", header("Content-Type", "image/png", asked("mpr"))),
    ("VOL-01", status(500, asked("mpr"))),
    ("VOL-02", body(lambda right: right[:30], asked("3d"))),
    ("VOL-02", status(500, asked("3d"))),
    ("VOL-03", status(200, asked("orientation=a&viewpointup"))),
    ("VOL-04", status(200, asked("volumeinputreference=", lacks=",99"))),
    ("VOL-04", status(404, asked(UNKNOWN))),
    ("VOL-05", status(200, asked("InstanceNumber"))),
    ("VOL-06", body(lambda right: right.replace(POSITION, b'"00701609"'), METADATA)),
    ("VOL-06", body(lambda right: right.replace(METHOD, b'"0070120E"'), METADATA)),
    ("VOL-06", body(lambda right: right.replace(b"[1.0, 2.0, 3.0]", b"[1.0, 2.0]"), METADATA)),
    ("VOL-06", header("Content-Type", "image/jpeg", METADATA)),
    ("VOL-06", status(406, METADATA)),
    ("VOL-07", body(other_numbers, METADATA)),
    ("VOL-08", in_place_of(400, 200)),
    ("VOL-08", in_place_of(400, 500)),
    *(("VOL-09", status(200, asked(f"mprslab={each}"))) for each in ("0", "-1", "x")),
    ("VOL-10", status(200, asked("renderingmethod=foo"))),
    ("VOL-11", status(404, asked("rendered3D"))),
]


@pytest.fixture
def server() -> RightServer:
    return server_with("renderedmpr", "rendered3d")


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
    verdict = await judged(id, status(404, asked()), server=server)

    assert verdict.outcome is Outcome.NA


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))


async def test_an_orientation_may_be_ignored(server: RightServer) -> None:
    def ignoring(request: httpx2.Request, right: Answer) -> Answer:
        if not asked("orientation")(request):
            return right
        url = request.url.copy_with(params=request.url.params.remove("orientation"))
        return server(httpx2.Request("GET", url, headers=request.headers))

    verdict = await judged("VOL-03", ignoring, server=server)

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ["VOL-04", "VOL-05"])
async def test_a_reference_may_be_ignored(id: str, server: RightServer) -> None:
    def ignoring(request: httpx2.Request, right: Answer) -> Answer:
        if not asked("volumeinputreference")(request):
            return right
        url = request.url.copy_with(params=request.url.params.remove("volumeinputreference"))
        return server(httpx2.Request("GET", url, headers=request.headers))

    verdict = await judged(id, ignoring, server=server)

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize(
    ("id", "alternative", "seen"),
    [
        ("VOL-01", status(404, asked("renderedmpr")), "renderedMPR"),
        ("VOL-01", status(400, asked(lacks="viewpoint")), "camera"),
        ("VOL-02", status(404, asked("rendered3d")), "rendered3D"),
        ("VOL-06", body(lambda right: b"[" + right + b"]", METADATA), "array"),
        ("VOL-06", status(400, asked("orientation")), "renderedmpr"),
    ],
)
async def test_a_sanctioned_alternative_passes_and_is_said(
    id: str, alternative: Fault, seen: str, server: RightServer
) -> None:
    verdict = await judged(id, alternative, server=server)

    assert verdict.outcome is Outcome.PASS, verdict.reason
    assert seen in " ".join(verdict.notes)
