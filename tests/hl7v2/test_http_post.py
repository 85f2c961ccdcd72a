"""Messages by HTTP POST."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

import hl7_said
from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.hl7v2.door import Door
from bfr_dicomweb.hl7v2.http_post import receive_message
from bfr_dicomweb.hl7v2.message import Limits, parse
from bfr_dicomweb.http.border import Border
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services.orders import Orders

HL7 = {"Content-Type": "application/hl7-v2"}
MERGE_OF_NOBODY = b"MSH|^~\\&|RIS|SU|BFR|VGR|20240108||ADT^A40^ADT_A39|C1|P|2.5"


@pytest.fixture
async def client(index: Index, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    orders = Orders(index, Journal(tmp_path))
    await orders.open()
    door = Door(orders, limits=Limits(message_bytes=100_000))
    border = Border(Router(routes=[Route("/hl7v2", receive_message, methods=["POST"])]))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await border({**scope, "state": {"hl7v2": door}}, receive, send)

    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://archive") as opened:
        yield opened
    await orders.close()


def code(response: httpx2.Response) -> str:
    return parse(response.content).segments("MSA")[0].text(1)


async def test_a_message_is_answered_by_its_acknowledgement(client: httpx2.AsyncClient) -> None:
    response = await client.post("/hl7v2", content=hl7_said.m1(), headers=HL7)
    assert (response.status_code, code(response)) == (200, "AA")


async def test_the_answer_is_hl7_v2(client: httpx2.AsyncClient) -> None:
    response = await client.post("/hl7v2", content=hl7_said.m1(), headers=HL7)
    assert response.headers["Content-Type"] == "application/hl7-v2"


async def test_a_message_that_is_not_taken_is_answered_by_200_and_ae(
    client: httpx2.AsyncClient,
) -> None:
    response = await client.post("/hl7v2", content=MERGE_OF_NOBODY, headers=HL7)
    assert (response.status_code, code(response)) == (200, "AE")


async def test_where_no_answer_is_wanted_there_is_none(client: httpx2.AsyncClient) -> None:
    sent = MERGE_OF_NOBODY + b"|||NE|NE"
    response = await client.post("/hl7v2", content=sent, headers=HL7)
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/hl7-v2+er7",
        "x-application/hl7-v2+er7; charset=ISO-8859-1",
        'Application/HL7-v2; charset="utf-8"',
    ],
)
async def test_the_names_of_hl7_v2_are_taken(client: httpx2.AsyncClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    response = await client.post("/hl7v2", content=hl7_said.m1(), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "", "application/json", "application/hl7-v2; charset=klingon"]
)
async def test_other_types_are_415(client: httpx2.AsyncClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    response = await client.post("/hl7v2", content=hl7_said.m1(), headers=headers)
    assert response.status_code == 415


async def test_a_message_above_the_limit_is_413(client: httpx2.AsyncClient) -> None:
    response = await client.post("/hl7v2", content=hl7_said.m1() + b" " * 100_000, headers=HL7)
    assert response.status_code == 413


async def test_no_message_at_all_is_400(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/hl7v2", content=b"\r\n", headers=HL7)).status_code == 400
