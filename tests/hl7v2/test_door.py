"""The door: what is kept, what is applied, and who hears what of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import hl7_said
from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.hl7v2 import exchange as exchanges
from bfr_dicomweb.hl7v2.door import Door, handler
from bfr_dicomweb.hl7v2.message import DEFAULT_LIMITS, Limits, parse
from bfr_dicomweb.hl7v2.mllp import MllpServer, connect
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection, Script
from bfr_dicomweb.services.orders import Orders, StoredMessage
from shared_data import SHARED, require_shared_data

SAMPLES = [path.read_bytes() for path in sorted((SHARED / "hl7v2").glob("*/*.hl7"))]
ORDER = "\r".join(
    [
        "MSH|^~\\&|EHR|VGR|BFR|VGR|20240108080000||ORM^O01^ORM_O01|C1|P|2.5.1||||||UNICODE UTF-8",
        "PID|||191212121212^^^&1.2.752.129.2.1.3.1&ISO||Tolvansson^Tolvan^^^^^L||19121212|M",
        "ORC|NW|REM1-1|SU1|REM1|||||20240108080000",
        "OBR|1|REM1-1|SU1|83300^CT Thorax^KVÅ||||||||||||||SU1||||||CT",
    ]
).encode()
CERTIFIED = '[[senders]]\nname = "ehr"\napplication = "EHR"\ncertificates = "ehr.example"\n'


class Opened:
    def __init__(self, orders: Orders, limits: Limits = DEFAULT_LIMITS) -> None:
        self.orders = orders
        self.door = Door(orders, limits=limits)

    async def say(self, data: bytes, names: frozenset[str] | None = None) -> str:
        """The acknowledgement code, "" when there is no answer."""
        answer = await self.door.receive(data, door="mllp", peer_names=names)
        return "" if answer is None else parse(answer).segments("MSA")[0].text(1)

    async def kept(self) -> list[StoredMessage]:
        return await self.orders.messages()


@pytest.fixture
async def opened(index: Index, tmp_path: Path) -> AsyncIterator[Opened]:
    orders = Orders(index, Journal(tmp_path))
    await orders.open()
    yield Opened(orders)
    await orders.close()


async def test_an_order_is_accepted(opened: Opened) -> None:
    assert await opened.say(ORDER) == "AA"


async def test_what_was_accepted_is_applied(opened: Opened) -> None:
    await opened.say(ORDER)
    assert [(one.state, one.ack) for one in await opened.kept()] == [("applied", "AA")]


@pytest.mark.parametrize(
    "data", [ORDER, b"no message \x00\xff", b"MSH|^~\\&|A|B|||||XYZ^Q01|1|P|2.5"]
)
async def test_the_bytes_are_kept_as_they_came(opened: Opened, data: bytes) -> None:
    await opened.say(data)
    assert [one.body for one in await opened.kept()] == [data]


async def test_an_error_in_the_contents_is_kept_as_failed(opened: Opened) -> None:
    assert await opened.say(ORDER.split(b"\rORC")[0]) == "AE"
    assert [(one.state, one.ack) for one in await opened.kept()] == [("failed", "AE")]


async def test_bytes_that_are_no_message_are_kept_as_refused(opened: Opened) -> None:
    assert await opened.say(b"no message") == "AR"
    assert [(one.state, one.ack) for one in await opened.kept()] == [("refused", "AR")]


PAGE = b"x" * 5000


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (ORDER.replace(b"|C1|", b"|" + PAGE + b"|"), "AA"),
        (ORDER.replace(b"SU1", PAGE), "AE"),
        (ORDER.replace(b"191212121212", PAGE), "AE"),
        (ORDER.replace(b"EHR|VGR", PAGE + b"|VGR"), "AA"),
    ],
    ids=["control id", "order number", "patient", "sender"],
)
async def test_what_fits_no_index_is_kept_and_answered(
    opened: Opened, told: bytes, code: str
) -> None:
    said = await opened.say(told)

    assert (said, [one.body for one in await opened.kept()]) == (code, [told])


async def test_a_failed_message_can_be_read_again(opened: Opened) -> None:
    opened.door = Door(opened.orders, limits=Limits(segments=2))
    await opened.say(ORDER)
    await Door(opened.orders).read_again((await opened.kept())[0])
    assert (await opened.kept())[0].state == "applied"


async def test_a_message_that_was_kept_and_never_read_can_be_read(opened: Opened) -> None:
    await opened.say(b"no message")
    stored = (await opened.kept())[0]
    error = await opened.door.read_again(stored, anew=False)
    assert error is not None


async def test_the_messages_of_a_batch_have_fates_of_their_own(opened: Opened) -> None:
    wrong = ORDER.replace(b"ORM^O01^ORM_O01", b"XYZ^Q01")
    answer = await opened.door.receive(
        b"BHS|^~\\&|EHR\r" + ORDER + b"\r" + wrong + b"\rBTS|2", door="mllp", peer_names=None
    )
    codes = [line[4:6] for line in (answer or b"").decode().split("\r") if line[:3] == "MSA"]
    assert codes == ["AA", "AR"]


async def test_a_sender_with_the_certificate_of_the_configuration_is_heard(opened: Opened) -> None:
    await opened.orders.put_exchange(CERTIFIED)
    assert await opened.say(ORDER, frozenset({"ehr.example"})) == "AA"


@pytest.mark.parametrize("names", [None, frozenset({"other.example"})])
async def test_somebody_else_who_uses_its_name_is_not(
    opened: Opened, names: frozenset[str] | None
) -> None:
    await opened.orders.put_exchange(CERTIFIED)
    assert await opened.say(ORDER, names) == "AR"


async def test_reading_it_again_does_not_make_up_for_the_certificate(opened: Opened) -> None:
    await opened.orders.put_exchange(CERTIFIED.replace('"ehr"', '"EHR|VGR"'))
    await opened.say(ORDER)
    error = await opened.door.read_again((await opened.kept())[0])
    assert error is not None
    assert error.rejected


async def test_what_the_carrier_said_of_the_bytes_is_known_when_they_are_read_again(
    opened: Opened,
) -> None:
    data = ORDER.replace(b"UNICODE UTF-8", b"")
    await opened.door.receive(data, door="http", peer_names=None, charset="8859/15")
    assert [one.charset for one in await opened.kept()] == ["8859/15"]


async def test_a_new_configuration_counts_from_the_next_message_on(opened: Opened) -> None:
    await opened.say(ORDER)
    version = await opened.orders.put_exchange(exchanges.EXAMPLE)
    await opened.say(ORDER.replace(b"|C1|", b"|C2|"))
    assert [one.profile for one in await opened.kept()] == [0, version]


async def test_the_life_of_an_order_is_accepted_over_a_socket(opened: Opened) -> None:
    said = [hl7_said.m1(), hl7_said.m2(), hl7_said.m3(), hl7_said.m4(), hl7_said.m5()]
    async with (
        MllpServer(handler(opened.door), "127.0.0.1", 0) as server,
        connect("127.0.0.1", server.port) as connection,
    ):
        answers = [await connection.send(one) for one in said]
    assert {parse(one).segments("MSA")[0].text(1) for one in answers} == {"AA"}


async def without(index: Index, table: str) -> None:
    async def work(conn: Connection) -> None:
        script = Script()
        script.add(f"ALTER TABLE {table} RENAME TO gone", [()])
        await script.run(conn)

    await index.transact(work)


async def test_what_cannot_be_kept_is_not_accepted(opened: Opened, index: Index) -> None:
    await without(index, "message")
    assert await opened.say(ORDER) == "AE"


async def test_what_cannot_be_applied_is_not_accepted(opened: Opened, index: Index) -> None:
    await without(index, "order_event")
    assert await opened.say(ORDER) == "AE"


async def test_what_cannot_be_applied_is_kept(opened: Opened, index: Index) -> None:
    await without(index, "order_event")
    await opened.say(ORDER)
    assert [one.state for one in await opened.kept()] == ["failed"]


async def test_no_sample_meets_a_bug(opened: Opened) -> None:
    require_shared_data()
    for data in SAMPLES:
        await opened.say(data)
    assert [one.number for one in await opened.kept() if "archive failed" in one.error] == []
