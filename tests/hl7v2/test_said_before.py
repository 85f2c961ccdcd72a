"""What is remembered of a sender's messages changes nothing in how its next ones are read."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import reading
from bfr_dicomweb.hl7v2.exchange import MOST_SAID_BEFORE, SaidBefore, Sender
from bfr_dicomweb.hl7v2.message import parse
from bfr_dicomweb.orders.events import Contents
from hl7_read import RECEIVED

SENDER = Sender("ris")
HEAD = "MSH|^~\\&|RIS|BFR|BFR|VGR|20240108080000||{type}|1|P|2.5.1"

WORDS = st.sampled_from(
    ["", '""', "1", "2^A", "3^B&1.2.3&ISO", "CT^Datortomografi^L", "~4", "A\\F\\"]
)
TIMES = st.sampled_from(["", "20240108090000", "20240108100000+0500", "x"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """About few patients and exams, so that much comes again with something else changed."""
    pid = ["PID", "1", "", draw(st.sampled_from(["7^^^A", "8^^^A", "7^^^A~191212121212^^^B"]))]
    pid += ["", draw(st.sampled_from(["Ek^Eva", "Ek^Åsa", ""])), "", draw(TIMES)[:8]]
    orc = ["ORC", draw(st.sampled_from(["SC", "NW", "CA"])), *[draw(WORDS) for _ in range(3)]]
    orc += [draw(st.sampled_from(["SC", "IP", "CM"])), "", draw(TIMES), "", draw(TIMES)]
    obr = ["OBR", "1", *[draw(WORDS) for _ in range(3)], *[""] * 2, draw(TIMES), *[""] * 10]
    obr += [draw(WORDS) for _ in range(10)]
    lines = [HEAD.format(type="ORM^O01"), *map("|".join, (pid, orc, obr))]
    if draw(st.booleans()):
        lines.append("|".join(["IPC", *[draw(WORDS) for _ in range(9)]]))
    if draw(st.booleans()):
        lines.append("ZDS|1.2.752.1^Application^DICOM")
    return "\r".join(lines).encode()


def read(data: bytes, sender: Sender) -> Contents | str:
    try:
        return reading.read(parse(data), sender, received=RECEIVED)
    except InvalidMessage as error:
        return str(error)


@given(st.lists(messages(), max_size=6))
def test_a_message_is_read_as_if_it_were_the_first(said: Sequence[bytes]) -> None:
    sender = replace(SENDER, said_before=SaidBefore())
    for data in said:
        assert read(data, sender) == read(data, replace(SENDER, said_before=SaidBefore()))


def test_only_so_much_is_remembered() -> None:
    memory = SaidBefore()
    for number in range(3 * MOST_SAID_BEFORE):
        assert memory.once(number, partial(str, number)) == str(number)
        assert len(memory) <= MOST_SAID_BEFORE
