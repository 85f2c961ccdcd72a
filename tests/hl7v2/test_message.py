"""Messages: what stands where, whatever the sender's habits."""

import re
from pathlib import Path

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2.message import (
    STANDARD,
    Designator,
    Encoding,
    Limits,
    Segment,
    parse,
    peek,
)
from shared_data import SHARED, require_shared_data

MSH = "MSH|^~\\&|RIS|SU|BFR|VGR|20260102101500||ORM^O01^ORM_O01|C1|P|2.5.1"
SAMPLES = sorted((SHARED / "hl7v2").glob("*/*.hl7"))


def segment(line: str, *, header: str = MSH) -> Segment:
    return parse(f"{header}\r{line}\r".encode()).all_segments[1]


def test_a_component_is_named_by_the_numbers_of_the_standard() -> None:
    pid = segment("PID|||1912^^^&1.2.752.129.2.1.3.1&ISO^PI~R1^^^X")
    assert pid.text(3, 4, subcomponent=2) == "1.2.752.129.2.1.3.1"


def test_a_repetition_is_named_by_its_number() -> None:
    assert segment("PID|||1912^^^A~R1^^^B").text(3, 4, 2) == "B"


def test_a_field_without_further_numbers_is_its_first_component() -> None:
    assert segment("OBR|1||F1^RIS").text(3) == "F1"


@pytest.mark.parametrize(("field", "component", "repetition"), [(3, 9, 1), (3, 1, 7), (77, 1, 1)])
def test_what_was_not_sent_is_empty(field: int, component: int, repetition: int) -> None:
    assert segment("PID|||1912^^^A").text(field, component, repetition) == ""


def test_repetitions_of_an_absent_field_are_none() -> None:
    assert segment("PID|1||").repetitions(3) == ()


def test_repetitions_keep_their_places() -> None:
    assert [one.text() for one in segment("PID|||A~~B").repetitions(3)] == ["A", "", "B"]


def test_null_is_not_absent() -> None:
    pid = segment('PID|1|""|')
    assert [pid.field(2).is_null, pid.field(3).is_null] == [True, False]


def test_null_has_no_text() -> None:
    assert segment('PID|1|""').text(2) == ""


def test_a_component_can_be_null() -> None:
    assert segment('PID|||A^""').repetitions(3)[0].is_null(2)


def test_components_of_a_repetition_come_without_escape_sequences() -> None:
    assert segment("PID|||A\\T\\B^C&D^E").repetitions(3)[0].components == ("A&B", "C", "E")


def test_a_text_with_delimiters_that_are_not_escaped_can_be_had_whole() -> None:
    assert segment("OBX|1|TX|||5 ^ 6 & 7").repetitions(5)[0].whole == "5 ^ 6 & 7"


def test_the_delimiters_of_the_header_are_the_delimiters() -> None:
    pid = segment("PID#1##A*B", header="MSH#*!?%#RIS#SU")
    assert pid.text(3, 2) == "B"


def test_the_first_fields_of_the_header_are_its_delimiters() -> None:
    msh = parse(MSH.encode()).msh
    assert [msh.text(1), msh.text(2), msh.text(3)] == ["|", "^~\\&", "RIS"]


def test_a_delimiter_that_is_not_named_divides_nothing() -> None:
    pid = segment("PID|||A&B~C", header="MSH|^~|RIS")
    assert [one.text() for one in pid.repetitions(3)] == ["A&B", "C"]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r", "\n\n"])
def test_every_line_end_ends_a_segment(end: str) -> None:
    message = parse(end.join([MSH, "PID|1", "PV1|1|O"]).encode())
    assert [one.name for one in message] == ["MSH", "PID", "PV1"]


def test_line_ends_may_be_mixed() -> None:
    message = parse(f"{MSH}\r\nPID|1\nPV1|1\rOBR|1".encode())
    assert [one.name for one in message] == ["MSH", "PID", "PV1", "OBR"]


def test_a_line_that_begins_no_segment_goes_on_with_the_one_before() -> None:
    obx = segment("OBX|1|TX|||First line.\n\nThird: 3|x||F")
    assert obx.text(5) == "First line.\n\nThird: 3"


def test_initials_below_a_text_are_text() -> None:
    assert segment("OBX|1|TX|||No finding.\nTLV").text(5) == "No finding.\nTLV"


def test_a_segment_without_fields_is_a_segment() -> None:
    assert [one.name for one in parse(f"{MSH}\rPV1|1\rPV2\rORC|NW".encode())][2] == "PV2"


def test_a_vertical_tab_in_a_text_is_a_line_break() -> None:
    assert segment("OBX|1|TX|||First.\x0bSecond.").text(5) == "First.\nSecond."


def test_a_z_segment_is_kept() -> None:
    assert segment("ZDS|1.2.3^BFR^Application^DICOM").text(1) == "1.2.3"


@pytest.mark.parametrize(
    "junk", [b"\xef\xbb\xbf", b" \r\n", b"\x0b", b"\x0b\xef\xbb\xbf", b"\r\n\xef\xbb\xbf\n"]
)
def test_junk_in_front_is_no_part_of_the_message(junk: bytes) -> None:
    assert parse(junk + MSH.encode()).control_id == "C1"


@pytest.mark.parametrize("junk", [b"\r", b"\r\n\r\n", b"\x1c\r", b"\0\0", b"  "])
def test_junk_behind_is_no_part_of_the_message(junk: bytes) -> None:
    assert parse(MSH.encode() + junk).version == "2.5.1"


def test_segments_are_found_by_name() -> None:
    message = parse(f"{MSH}\rORC|1\rOBR|1\rORC|2".encode())
    assert [(one.text(1), one.sequence) for one in message.segments("ORC")] == [("1", 1), ("2", 2)]


def test_a_facility_may_have_a_universal_id() -> None:
    message = parse(b"MSH|^~\\&|A|Lab^2.16.840^ISO|B|C")
    assert message.sending_facility == Designator("Lab", "2.16.840", "ISO")


@pytest.mark.parametrize(
    ("msh_9", "expected"),
    [
        ("ORM^O01", "ORM^O01"),
        ("ORM^O01^ORM_O01", "ORM^O01"),
        ("ORM", "ORM^O01"),
        ("ORU^^ORU_R01", "ORU^R01"),
        ("ORM_O01", "ORM^O01"),
        ("oru^r01", "ORU^R01"),
        ("ACK", "ACK"),
        ("", ""),
    ],
)
def test_the_type_is_told_by_whatever_part_was_sent(msh_9: str, expected: str) -> None:
    assert parse(f"MSH|^~\\&|A|B|C|D|||{msh_9}|1".encode()).type == expected


def test_the_event_of_an_adt_may_stand_in_evn_only() -> None:
    assert parse(b"MSH|^~\\&|A|B|C|D|||ADT^^ADT_A01|1\rEVN|A08|2026").type == "ADT^A08"


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (r"A\F\B", "A|B"),
        (r"A\S\B", "A^B"),
        (r"A\T\B", "A&B"),
        (r"A\R\B", "A~B"),
        (r"A\E\B", "A\\B"),
        (r"A\.br\B", "A\nB"),
        (r"A\.BR\B", "A\nB"),
        (r"A\.sp2\B", "A\n\nB"),
        (r"A\.sk 3\B", "A   B"),
        (r"A\.in+4\B", "AB"),
        (r"\H\A\N\B", "AB"),
        (r"\C2842\A\M2442\B", "AB"),
        (r"A\X0D0A\B", "A\nB"),
        (r"\XC3A5\ ", "å "),
        (r"\XC3\\XA5\ ", "å "),
        (r"\XE5\ ", "å "),
        (r"A\X00\B", "A\ufffdB"),
        (r"A\Zxx\B", r"A\Zxx\B"),
        (r"A\X5\B", r"A\X5\B"),
        (r"C:\temp\new", r"C:\temp\new"),
        (r"A\B C\.br\D", "A\\B C\nD"),
        ("A\\", "A\\"),
    ],
)
def test_escape_sequences_are_undone(sent: str, text: str) -> None:
    assert segment(f"OBX|1|TX|||{sent}|").text(5) == text


def test_an_escape_sequence_cannot_ask_for_endless_lines() -> None:
    assert len(segment("OBX|1|TX|||\\.sp9999\\").text(5)) == 100


def test_an_octet_is_read_in_the_character_set_of_the_message() -> None:
    header = f"{MSH}||||||8859/5"
    assert segment("OBX|1|TX|||\\XD0\\", header=header).text(5) == "а"


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"))


@given(text=TEXTS.filter(lambda text: text != '""'))
def test_a_text_is_read_as_it_was_written(text: str) -> None:
    assert segment(f"NTE|1|L|{STANDARD.escaped(text)}|").text(3) == text


def test_without_an_escape_character_delimiters_become_spaces() -> None:
    assert Encoding(escape="").escaped("a|b^c") == "a b c"


@pytest.mark.parametrize(
    ("data", "segment_name", "field"),
    [
        (b"", "MSH", 0),
        (b"hello", "MSH", 0),
        (b"PID|1\rMSH|^~\\&|A", "MSH", 0),
        (b"MSH", "MSH", 0),
        (b"MSHA^~\\&A", "MSH", 1),
        (b"MSH\xc3\xa5^~\\&\xc3\xa5", "MSH", 1),
        (b"MSH||A|B", "MSH", 2),
        (b"MSH|^^\\&|A|B", "MSH", 2),
        (b"MSH|^~\\&#!|A|B", "MSH", 2),
    ],
)
def test_what_is_no_message_says_where_it_fails(data: bytes, segment_name: str, field: int) -> None:
    with pytest.raises(InvalidMessage) as raised:
        parse(data)
    assert (raised.value.segment, raised.value.field) == (segment_name, field)


@pytest.mark.parametrize(
    "limits", [Limits(message_bytes=100), Limits(segments=2), Limits(fields=20)]
)
def test_a_limit_that_is_exceeded_is_an_error(limits: Limits) -> None:
    with pytest.raises(InvalidMessage, match="at most"):
        parse(f"{MSH}\rPID|{'|' * 30}\rPV1".encode(), limits=limits)


def test_the_header_of_a_broken_message_is_read_as_far_as_it_goes() -> None:
    assert peek(MSH.encode() + b"\r" + b"\xff" * 100).control_id == "C1"


def test_bytes_that_are_no_message_have_an_empty_header() -> None:
    assert peek(b"\xff\xfe\x00garbage").control_id == ""


def test_nothing_of_a_patient_is_shown_by_repr() -> None:
    message = parse(f"{MSH}\rPID|||1912".encode())
    shown = repr([message, *message, message.all_segments[1].repetitions(3)])
    assert "1912" not in shown


def read_by_another(data: bytes) -> hl7.Message:
    text = data.decode(parse(data).charset.codec).removeprefix("\ufeff")
    lines = "\r".join(line for line in re.split(r"\r\n|\r|\n", text.strip()) if line)
    # one sample has an attachment in Base64 with line breaks, which that library takes for segments
    return hl7.parse(re.sub(r"\r(?![A-Z][A-Z0-9]{2}\|)", r"\n", lines))


def stripped(segments: list[list[str]]) -> list[list[str]]:
    return [[field.strip() for field in one] for one in segments]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_have_the_segments_and_fields_that_another_library_finds(path: Path) -> None:
    data = path.read_bytes()
    ours = [
        [one.name, *(one.raw(number) for number in range(1, one.last_field + 1))]
        for one in parse(data)
    ]
    theirs = [[str(field) for field in one] for one in read_by_another(data)]
    assert stripped(ours) == stripped(theirs)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_have_the_components_that_another_library_finds(path: Path) -> None:
    data = path.read_bytes()
    other = read_by_another(data)
    wrong = []
    for place, one in enumerate(parse(data)):
        if one.name == "MSH":
            continue
        for number in range(1, one.last_field + 1):
            for repetition, value in enumerate(one.repetitions(number)):
                found = other[place][number][repetition]
                parts = [str(part) for part in found] if isinstance(found, list) else [str(found)]
                if [value.component(n + 1) for n in range(len(parts))] != parts:
                    wrong.append((one.name, number))
    assert wrong == []


def test_there_are_samples() -> None:
    require_shared_data()
    assert len(SAMPLES) > 50
