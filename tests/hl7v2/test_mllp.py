"""MLLP: the framing by itself, then real sockets, with and without TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bfr_dicomweb.errors import Unavailable
from bfr_dicomweb.hl7v2.message import parse
from bfr_dicomweb.hl7v2.mllp import (
    FrameReader,
    MllpLimits,
    MllpServer,
    TooLong,
    connect,
    framed,
)
from bfr_dicomweb.tls import client_context, server_context
from certificates import Authority

HEAD = b"MSH|^~\\&|RIS|SU|BFR|VGR|2026||ORM^O01|"


def message(control_id: str, padding: int = 0) -> bytes:
    return HEAD + control_id.encode() + b"|P|2.5\rZZZ|" + b"x" * padding


ONE, TWO = message("1"), message("2")

# --- framing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        framed(ONE) + framed(TWO),
        b"\x0b" + ONE + b"\x1c\x0b" + TWO + b"\x1c",
        b"\x0b" + ONE + b"\x1c\n\x0b" + TWO + b"\x1c\r\n",
        b"junk" + framed(ONE) + b"\r\nmore junk\r\n" + framed(TWO) + b"junk",
        ONE + b"\x1c\r" + TWO + b"\x1c\r",
        b"junk\r" + ONE + b"\x1c\r" + framed(TWO),
        b"\x0bMSH|broken off" + framed(ONE) + framed(TWO),
        framed(ONE) + b"\x0b\x1c\r\x0b \r\x1c\r" + framed(TWO),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_messages_are_found_however_they_are_framed_and_cut(stream: bytes, size: int) -> None:
    reader = FrameReader()
    found = []
    for start in range(0, len(stream), size):
        found += reader.feed(stream[start : start + size])
    assert found == [ONE, TWO]


def test_a_message_that_has_not_ended_is_not_given() -> None:
    assert FrameReader().feed(framed(ONE)[:-2]) == []


def test_a_message_that_broke_off_is_counted() -> None:
    reader = FrameReader()
    reader.feed(b"\x0bMSH|broken off" + framed(ONE))
    assert reader.broken == 1


def test_a_line_break_of_a_word_processor_begins_no_message() -> None:
    text = HEAD + b"\rOBX|1|TX|||one\x0btwo"
    assert FrameReader().feed(framed(text)) == [text]


def test_what_is_framed_is_given_whatever_it_is() -> None:
    assert FrameReader().feed(framed(b"no message")) == [b"no message"]


def test_half_a_character_of_16_bits_ends_no_message() -> None:
    text = ("MSH|^~\\&|Ĝ|“").encode("utf-16-le")
    assert FrameReader().feed(framed(text)) == [text]


@pytest.mark.parametrize("size", [1, 50, 5000])
def test_of_a_message_that_is_too_long_the_head_is_left(size: int) -> None:
    reader = FrameReader(200)
    stream = framed(message("1", 1000)) + framed(TWO)
    found: list[bytes | TooLong] = []
    for start in range(0, len(stream), size):
        found += reader.feed(stream[start : start + size])
    long, other = found
    assert isinstance(long, TooLong)
    assert (long.head.startswith(ONE), other) == (True, TWO)


def test_no_more_is_held_of_a_message_than_may_be() -> None:
    reader = FrameReader(200)
    reader.feed(b"\x0bMSH")
    for _ in range(1000):
        reader.feed(b"x" * 100)
    assert reader.held_bytes < 500


@pytest.mark.parametrize("size", [200, 201])
def test_the_limit_is_the_last_size_that_is_taken(size: int) -> None:
    text = b"MSH|".ljust(size, b"x")
    assert (FrameReader(200).feed(framed(text)) == [text]) is (size == 200)


def test_between_messages_the_reader_is_idle() -> None:
    reader = FrameReader()
    reader.feed(framed(ONE) + b"\r\n")
    assert reader.is_idle


# --- sockets ---------------------------------------------------------------------------------

Handler = Callable[[bytes, frozenset[str] | None], Awaitable[bytes | None]]


async def echo(data: bytes, names: frozenset[str] | None) -> bytes | None:
    return b"MSH|^~\\&|\rMSA|AA|" + parse(data).control_id.encode()


@asynccontextmanager
async def served(
    handler: Handler = echo,
    *,
    limits: MllpLimits | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[MllpServer]:
    limits = limits or MllpLimits()
    async with MllpServer(
        handler, "127.0.0.1", 0, ssl_context=ssl_context, limits=limits
    ) as server:
        yield server


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def raw(server: MllpServer) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def acknowledged(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(5):
        frame = await reader.readuntil(b"\x1c\r")
    return parse(frame).segments("MSA")[0].text(2)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to it within 5 seconds")


async def test_a_message_is_acknowledged() -> None:
    async with served() as server, connect("127.0.0.1", server.port) as connection:
        assert (await connection.send(ONE)).endswith(b"MSA|AA|1")


async def test_one_connection_takes_many_messages() -> None:
    async with served() as server, connect("127.0.0.1", server.port) as connection:
        answers = [await connection.send(message(str(n))) for n in range(20)]
    assert [parse(one).segments("MSA")[0].text(2) for one in answers] == [str(n) for n in range(20)]


async def test_messages_sent_without_waiting_are_acknowledged_in_order() -> None:
    async def slower_first(data: bytes, names: frozenset[str] | None) -> bytes | None:
        await asyncio.sleep(0.05 if b"|1|" in data else 0)
        return await echo(data, names)

    async with served(slower_first) as server, raw(server) as (reader, writer):
        writer.write(framed(ONE) + framed(TWO) + framed(message("3")))
        assert [await acknowledged(reader) for _ in range(3)] == ["1", "2", "3"]


async def test_a_message_in_many_packets_is_one_message() -> None:
    async with served() as server, raw(server) as (reader, writer):
        for place in range(0, len(framed(ONE)), 9):
            writer.write(framed(ONE)[place : place + 9])
            await asyncio.sleep(0.001)
        assert await acknowledged(reader) == "1"


async def test_a_message_of_megabytes_is_taken() -> None:
    async with served() as server, connect("127.0.0.1", server.port) as connection:
        assert (await connection.send(message("1", 5_000_000))).endswith(b"|1")


async def test_no_answer_is_sent_where_none_is_wanted() -> None:
    async def only_two(data: bytes, names: frozenset[str] | None) -> bytes | None:
        return None if data == ONE else await echo(data, names)

    async with served(only_two) as server, raw(server) as (reader, writer):
        writer.write(framed(ONE) + framed(TWO))
        assert await acknowledged(reader) == "2"


async def test_a_message_that_is_too_long_is_refused_under_its_control_id() -> None:
    limits = MllpLimits(message_bytes=1000)
    async with served(limits=limits) as server, connect("127.0.0.1", server.port) as connection:
        msa = parse(await connection.send(message("1", 5000))).segments("MSA")[0]
        assert [msa.text(1), msa.text(2)] == ["AR", "1"]


async def test_after_a_message_that_was_too_long_the_next_is_taken() -> None:
    limits = MllpLimits(message_bytes=1000)
    async with served(limits=limits) as server, connect("127.0.0.1", server.port) as connection:
        await connection.send(message("1", 5000))
        assert (await connection.send(TWO)).endswith(b"MSA|AA|2")


async def test_a_bug_is_answered_by_ae_and_the_listener_lives_on() -> None:
    async def broken(data: bytes, names: frozenset[str] | None) -> bytes | None:
        return None if 1 / (data == TWO) > 1 else await echo(data, names)

    async with served(broken) as server, connect("127.0.0.1", server.port) as connection:
        answers = [await connection.send(ONE), await connection.send(TWO)]
    assert [parse(one).segments("MSA")[0].text(1) for one in answers] == ["AE", "AA"]


async def closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(5):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


async def test_a_silent_connection_is_closed() -> None:
    async with served(limits=MllpLimits(idle_s=0.05)) as server, raw(server) as (reader, _):
        assert await closed(reader)


async def test_a_message_that_takes_too_long_is_given_up() -> None:
    limits = MllpLimits(message_s=0.2)
    async with served(limits=limits) as server, raw(server) as (reader, writer):
        for _ in range(100):
            writer.write(b"\x0bMSH|" if _ == 0 else b"x")
            await asyncio.sleep(0.01)
            if reader.at_eof():
                break
        assert await closed(reader)


async def test_a_connection_above_the_limit_is_closed() -> None:
    limits = MllpLimits(connections=1)
    async with served(limits=limits) as server, connect("127.0.0.1", server.port) as first:
        await first.send(ONE)
        async with raw(server) as (reader, _):
            assert await closed(reader)


async def test_a_connection_that_ends_makes_room_for_another() -> None:
    async with served(limits=MllpLimits(connections=1)) as server:
        for number in range(3):
            async with connect("127.0.0.1", server.port) as connection:
                await connection.send(message(str(number)))
            await until(lambda: server.connections == 0)
        assert server.connections == 0


async def test_a_sender_that_reads_no_acknowledgements_is_cut_off() -> None:
    async def wordy(data: bytes, names: frozenset[str] | None) -> bytes | None:
        return b"x" * 1_000_000

    limits = MllpLimits(answer_s=0.1)
    async with served(wordy, limits=limits) as server, raw(server) as (_, writer):
        writer.write(framed(ONE) * 100)
        await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)


async def test_a_sender_that_goes_away_disturbs_nobody() -> None:
    async with served() as server:
        async with raw(server) as (_, writer):
            writer.write(framed(ONE)[:10])
        async with connect("127.0.0.1", server.port) as connection:
            assert (await connection.send(TWO)).endswith(b"|2")


async def test_stopping_finishes_the_message_in_hand() -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(data: bytes, names: frozenset[str] | None) -> bytes | None:
        begun.set()
        await finish.wait()
        return await echo(data, names)

    async with served(slow) as server, connect("127.0.0.1", server.port) as connection:
        sending = asyncio.create_task(connection.send(ONE))
        await begun.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.01)
        finish.set()
        assert (await sending).endswith(b"MSA|AA|1")
        await stopping


async def test_stopping_closes_connections_that_are_idle() -> None:
    async with served() as server, raw(server) as (reader, writer):
        writer.write(framed(ONE))
        await acknowledged(reader)
        await server.stop()
        assert await closed(reader)


async def test_stopping_waits_no_longer_than_it_is_told() -> None:
    begun = asyncio.Event()

    async def endless(data: bytes, names: frozenset[str] | None) -> bytes | None:
        begun.set()
        await asyncio.sleep(60)
        return None

    async with served(endless) as server, raw(server) as (reader, writer):
        writer.write(framed(ONE))
        await begun.wait()
        async with asyncio.timeout(5):
            await server.stop(grace_s=0.05)
        assert await closed(reader)


# --- the sending side ------------------------------------------------------------------------


async def test_no_acknowledgement_in_time_is_an_error() -> None:
    async def silent(data: bytes, names: frozenset[str] | None) -> bytes | None:
        return None

    async with served(silent) as server, connect("127.0.0.1", server.port) as connection:
        with pytest.raises(Unavailable, match="no acknowledgement"):
            await connection.send(ONE, timeout_s=0.05)


async def test_after_a_missing_acknowledgement_the_connection_is_closed() -> None:
    async def silent(data: bytes, names: frozenset[str] | None) -> bytes | None:
        return None

    async with served(silent) as server, connect("127.0.0.1", server.port) as connection:
        with pytest.raises(Unavailable):
            await connection.send(ONE, timeout_s=0.05)
        assert not connection.is_open


async def test_a_receiver_that_closes_is_an_error() -> None:
    async with served() as server, connect("127.0.0.1", server.port) as connection:
        await connection.send(ONE)
        await server.stop()
        with pytest.raises(Unavailable, match="connection"):
            await connection.send(TWO)


async def test_nobody_listening_is_an_error() -> None:
    async with served() as server:
        port = server.port
    with pytest.raises(Unavailable, match="no connection"):
        async with connect("127.0.0.1", port):
            pass


# --- TLS -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server_tls(authority: Authority) -> ssl.SSLContext:
    return server_context(*authority.issue("server", "IP:127.0.0.1"), authority.ca)


async def tell_names(data: bytes, names: frozenset[str] | None) -> bytes | None:
    return b"MSH|^~\\&|" + ",".join(sorted(names or ())).encode()


async def test_the_names_of_the_certificate_are_known(
    authority: Authority, server_tls: ssl.SSLContext
) -> None:
    tls = client_context(authority.ca, *authority.issue("ris", "DNS:ris.example,URI:urn:oid:1.2"))
    async with (
        served(tell_names, ssl_context=server_tls) as server,
        connect("127.0.0.1", server.port, ssl_context=tls) as connection,
    ):
        assert await connection.send(ONE) == b"MSH|^~\\&|ris,ris.example,urn:oid:1.2"


async def test_without_tls_there_are_no_names() -> None:
    seen: list[frozenset[str] | None] = []

    async def keep_names(data: bytes, names: frozenset[str] | None) -> bytes | None:
        seen.append(names)
        return b"MSH|"

    async with served(keep_names) as server, connect("127.0.0.1", server.port) as connection:
        await connection.send(ONE)
    assert seen == [None]


async def test_a_sender_without_a_certificate_is_turned_away(
    authority: Authority, server_tls: ssl.SSLContext
) -> None:
    tls = client_context(authority.ca)
    async with served(ssl_context=server_tls) as server:
        with pytest.raises(Unavailable):
            async with connect("127.0.0.1", server.port, ssl_context=tls) as connection:
                await connection.send(ONE)


async def test_a_sender_with_a_certificate_of_somebody_else_is_turned_away(
    authority: Authority, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger")
    tls = client_context(authority.ca, *stranger.issue("ris"))
    async with served(ssl_context=server_tls) as server:
        with pytest.raises(Unavailable):
            async with connect("127.0.0.1", server.port, ssl_context=tls) as connection:
                await connection.send(ONE)


async def test_a_receiver_that_is_not_trusted_gets_nothing(
    server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    tls = client_context(Authority(tmp_path / "other").ca)
    async with served(ssl_context=server_tls) as server:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            async with connect("127.0.0.1", server.port, ssl_context=tls):
                pass


async def test_a_sender_that_speaks_no_tls_is_turned_away(server_tls: ssl.SSLContext) -> None:
    async with served(ssl_context=server_tls) as server, raw(server) as (reader, writer):
        writer.write(framed(ONE))
        assert await closed(reader)


async def test_tls_below_1_2_is_not_spoken(
    authority: Authority, server_tls: ssl.SSLContext
) -> None:
    assert server_tls.minimum_version is ssl.TLSVersion.TLSv1_2
