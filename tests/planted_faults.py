"""Runs a case of the conformance suite against the right server with one fault planted."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

import httpx2
import pydicom
from pydicom.dataset import Dataset

from dicomweb_conformance import archive, multipart, running
from dicomweb_conformance.cases import find, select
from dicomweb_conformance.fixtures import Fixture, Uids
from dicomweb_conformance.media_types import parse
from dicomweb_conformance.running import Verdict
from dicomweb_conformance.target import Seen, Target, open_client
from dicomweb_conformance.verdicts import OUTCOME_WHEN_VIOLATED, Outcome
from right_server import BASE, Answer, RightServer
from right_server import multipart as in_parts

# Turns the right answer to a request into a wrong one; returns it unchanged elsewhere.
Fault = Callable[[httpx2.Request, Answer], Answer]
When = Callable[[httpx2.Request], bool]


@dataclass
class Peer:
    """The right server, with a fault where one is planted."""

    server: RightServer = field(default_factory=RightServer)
    fault: Fault | None = None

    def __call__(self, request: httpx2.Request) -> Answer:
        right = self.server(request)
        return right if self.fault is None else self.fault(request, right)


async def judged(
    id: str,
    fault: Fault | None = None,
    *,
    server: RightServer | None = None,
    holds: bool = True,
    **target_fields: object,
) -> Verdict:
    """The verdict of one case, with the fixtures that it needs stored before the fault begins.

    Args:
        holds: False leaves the server without the fixtures.
        target_fields: further fields of Target, such as read_only.
    """
    async with _standing(id, server, holds, target_fields) as (peer, target):
        peer.fault = fault
        return await running.judge(target, find(id))


async def judged_by_each(
    id: str,
    faults: Mapping[str, Fault],
    *,
    server: RightServer | None = None,
    **target_fields: object,
) -> dict[str, Verdict]:
    """The verdicts of one case with each of the faults, one after the other on one server."""
    verdicts = {}
    async with _standing(id, server, True, target_fields) as (peer, target):
        for name, peer.fault in faults.items():
            target.seen = Seen()
            verdicts[name] = await running.judge(target, find(id))
    return verdicts


@asynccontextmanager
async def _standing(
    id: str, server: RightServer | None, holds: bool, target_fields: Mapping[str, object]
) -> AsyncIterator[tuple[Peer, Target]]:
    case, peer = find(id), Peer(server or RightServer())
    client = open_client(transport=httpx2.MockTransport(peer))
    async with client:
        target = Target(client, BASE, **target_fields)  # type: ignore[arg-type]
        target.claims = await running.read_claims(target)
        if holds:
            await archive.store(target, (*case.fixtures, *case.wants), Uids("test"))
        else:
            target.held = dict.fromkeys(Fixture, "it is not there")
        yield peer, target


def ids_of(chapter: str, *, but: Collection[str] = ()) -> list[str]:
    return [case.id for case in select([chapter]) if case.id not in but]


def when_broken(id: str) -> Outcome:
    return OUTCOME_WHEN_VIOLATED[find(id).level]


def on(
    method: str = "GET",
    *,
    ends: str = "",
    has: str = "",
    query: str = "",
    accept: str = "",
    header: str = "",
    without: str = "",
) -> When:
    """Is it a request of this kind? What is given has to occur, the header `without` must not."""

    def applies(request: httpx2.Request) -> bool:
        path, _, asked = request.url.raw_path.decode().partition("?")
        return (
            request.method == method
            and path.endswith(ends)
            and has in path
            and query in asked
            and accept in request.headers.get("accept", "")
            and (not header or header in request.headers)
            and (not without or without not in request.headers)
        )

    return applies


ANY_GET: Final = on()


def status(number: int, when: When = ANY_GET) -> Fault:
    """Answers with that status and the payload as it is."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if not when(request):
            return right
        return Answer(number, headers=_kept(right), content=right.content)

    return fault


def in_place_of(right_status: int, number: int) -> Fault:
    """Answers with that status wherever the other one is right."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        return status(number)(request, right) if right.status_code == right_status else right

    return fault


def header(name: str, value: str | None, when: When = ANY_GET) -> Fault:
    """Sets a header of the response, or leaves it out."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if not when(request):
            return right
        headers = _kept(right)
        headers.pop(name.lower(), None)
        if value is not None:
            headers[name] = value
        return Answer(right.status_code, headers=headers, content=right.content)

    return fault


def body(
    change: Callable[[bytes], bytes],
    when: When = ANY_GET,
) -> Fault:
    """Changes the payload."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if not when(request):
            return right
        return Answer(right.status_code, headers=_kept(right), content=change(right.content))

    return fault


def instead(wrong: Answer, when: When = ANY_GET) -> Fault:
    """Answers something else altogether."""

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        return wrong if when(request) else right

    return fault


def files_changed(change: Callable[[Dataset], object], when: When = ANY_GET) -> Fault:
    """Changes the data set of every PS3.10 file in the parts of the answer."""

    def of(part: multipart.Part) -> tuple[dict[str, str], bytes]:
        dataset = pydicom.dcmread(BytesIO(part.content))
        change(dataset)
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        headers = {"Content-Type": part.headers["content-type"]}
        return headers | {"Content-Location": part.location or ""}, buffer.getvalue()

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        if not when(request) or right.status_code != 200:
            return right
        parts = multipart.read(parse(right.headers["content-type"]), right.content)
        return in_parts([of(part) for part in parts], "application/dicom")

    return fault


def _kept(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "content-length"}
