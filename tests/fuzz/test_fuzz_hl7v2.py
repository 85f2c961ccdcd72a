"""HL7 v2: any bytes are a message or our error; any stream gives the same frames however cut."""

import os
import re
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import acknowledgement, batches
from bfr_dicomweb.hl7v2.message import Limits, Message, parse, peek
from bfr_dicomweb.hl7v2.mllp import FrameReader, TooLong, framed

# About 4 s of CI; hours when BFR_TEST_FUZZ_SECONDS says so.
EXAMPLES = int(float(os.environ.get("BFR_TEST_FUZZ_SECONDS", "4")) * 150)
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
LIMITS = Limits(message_bytes=2000, segments=20, fields=30)
FRAME_LIMIT = 60
DONE_WITHIN_S = 5.0

PIECES = st.one_of(
    st.sampled_from(
        [b"MSH|^~\\&|", b"MSH|", b"MSH", b"\rPID|", b"\nOBX|1|TX|", b"FHS|^~\\&|", b"BTS"]
    ),
    st.sampled_from([b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\r\n", b'""', b"||||||"]),
    st.sampled_from([b"\\.br\\", b"\\X0D\\", b"\\XE5\\", b"\\.sp99\\", b"\\F\\", b"\\Q\\", b"\\"]),
    st.sampled_from([b"ORM^O01", b"2.5.1", b"8859/1", b"UNICODE UTF-8", b"ISO IR87", b"NE", b"AL"]),
    st.sampled_from(
        ["å".encode(), b"\xe5", b"\x96", b"\0", b"\x1b$B", b"\xff\xfe", b"\xef\xbb\xbf"]
    ),
    st.sampled_from([b"\x0b", b"\x1c", b"\x1c\r", b"M\0S\0H\0|\0", b"\0M\0S\0H\0|"]),
    st.binary(max_size=8),
)
ANYTHING = st.lists(PIECES, max_size=30).map(b"".join)
NEARLY = st.tuples(
    st.sampled_from(
        [b"MSH|^~\\&|RIS|SU|BFR|VGR|2026||ORM^O01|C1|P|2.5", b"MSH|^~\\&|", b"MSH#*!?%#"]
    ),
    st.lists(PIECES, max_size=20).map(b"".join),
).map(b"".join)
DATA = st.one_of(ANYTHING, NEARLY)
NUMBERS = st.integers(1, 4)
CUTS = st.lists(st.integers(1, 20), min_size=1, max_size=8)


def parsed(data: bytes) -> Message | None:
    with suppress(InvalidMessage):
        return parse(data, limits=LIMITS)
    return None


@FUZZ
@given(data=DATA, field=NUMBERS, component=NUMBERS, repetition=NUMBERS)
def test_any_bytes_are_a_message_of_text_or_our_error(
    data: bytes, field: int, component: int, repetition: int
) -> None:
    message = parsed(data)
    if message is None:
        return
    for segment in message:
        text = segment.text(field, component, repetition)
        whole = [one.whole for one in segment.repetitions(field)]
        # what every database and every JSON takes
        assert "\0" not in "".join([text, *whole])
        assert "\r" not in "".join([text, *whole])
        (text + "".join(whole)).encode()


@FUZZ
@given(data=DATA)
def test_a_message_has_its_header_first_and_no_more_than_the_limits(data: bytes) -> None:
    message = parsed(data)
    if message is None:
        return
    assert message.all_segments[0].name == "MSH"
    assert len(message.all_segments) <= LIMITS.segments
    assert max(segment.last_field for segment in message) <= LIMITS.fields + 1


@FUZZ
@given(data=DATA)
def test_what_is_seen_of_the_header_is_what_the_message_says(data: bytes) -> None:
    message = parsed(data)
    if message is None or not data.isascii() or b"\x0b" in data:
        return  # which character set it is may depend on the rest, and a header may be continued
    fields = [peek(data).msh.raw(number) for number in range(1, 19)]
    assert all(
        message.msh.raw(number).startswith(field) for number, field in enumerate(fields, start=1)
    )


@FUZZ
@given(data=DATA, taken=st.booleans(), rejected=st.booleans())
def test_any_bytes_get_an_acknowledgement_that_is_a_message(
    data: bytes, taken: bool, rejected: bool
) -> None:
    error = None if taken else InvalidMessage("odd", segment="PID", field=3, rejected=rejected)
    answer = acknowledgement.answer(peek(data), error)
    if answer is None:
        return
    assert FrameReader().feed(framed(answer)) == [answer]
    code = parse(answer).segments("MSA")[0].text(1)
    assert code[1] == ("A" if taken else "R" if rejected else "E")


@FUZZ
@given(data=DATA)
def test_the_control_id_comes_back_as_it_was_sent(data: bytes) -> None:
    answer = acknowledgement.answer(peek(data))
    if answer is None:
        return
    sent = peek(data).msh.raw(10)
    assert parse(answer).segments("MSA")[0].raw(2) == re.sub(r"[\0-\x1f\x7f]", "", sent).rstrip()


@FUZZ
@given(data=DATA)
def test_any_batch_is_divided_into_what_begins_with_a_header(data: bytes) -> None:
    batch = batches.split(data)
    if batch is None:
        return
    assert all(one.startswith(b"MSH") for one in batch.messages)
    answers = [acknowledgement.answer(peek(one)) for one in batch.messages]
    batches.answer(batch, answers)


@FUZZ
@given(stream=st.lists(st.one_of(DATA, DATA.map(framed)), max_size=5).map(b"".join), cuts=CUTS)
def test_any_stream_gives_the_same_messages_however_it_is_cut(
    stream: bytes, cuts: list[int]
) -> None:
    at_once = FrameReader(FRAME_LIMIT).feed(stream)
    reader = FrameReader(FRAME_LIMIT)
    pieces: list[bytes | TooLong] = []
    place = turn = 0
    while place < len(stream):
        size = cuts[turn % len(cuts)]
        pieces += reader.feed(stream[place : place + size])
        assert reader.held_bytes <= 2 * FRAME_LIMIT + 20
        place, turn = place + size, turn + 1
    kinds = [one if isinstance(one, bytes) else TooLong for one in pieces]
    assert kinds == [one if isinstance(one, bytes) else TooLong for one in at_once]


@FUZZ
@given(texts=st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_what_was_framed_is_found(texts: list[bytes]) -> None:
    texts = [b"MSH|" + re.sub(rb"[\x0b\x1c]", b"", text) for text in texts]
    assert FrameReader().feed(b"".join(map(framed, texts))) == texts


REPEATED = [
    *(b"|", b"\r", b"\n", b"a\r", b"^", b"~", b"\\", b"\\X41", b"\\.sp9", b"\\X41\\", b"PID|1\r"),
    *(b"\x0b", b"\x1c", b"\x0bMSH", b"MSH|\r", b"\rMSH", b"\xe5", "å".encode(), b"\0", b"A\0"),
    *(b"\x0bMSH|\x1c\r", b"\x1cMSH"),
]


@pytest.mark.parametrize("piece", REPEATED)
def test_a_megabyte_of_one_thing_is_dealt_with_quickly(piece: bytes) -> None:
    data = b"MSH|^~\\&|A\rOBX|1|TX|||" + piece * (1_000_000 // len(piece))
    begun = time.perf_counter()
    peek(data)
    with suppress(InvalidMessage):
        batches.split(data)
        message = parse(data, limits=Limits(segments=10_000_000, fields=10_000_000))
        for segment in message.all_segments[:100]:
            segment.text(5, 2, 2)
            [one.whole for one in segment.repetitions(5)]
    FrameReader(2_000_000).feed(framed(data))
    assert time.perf_counter() - begun < DONE_WITHIN_S
