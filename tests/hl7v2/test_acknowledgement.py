"""Acknowledgements: who hears what, in which version, and where the error is."""

import hl7
import pytest

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import batches
from bfr_dicomweb.hl7v2.acknowledgement import answer
from bfr_dicomweb.hl7v2.message import Message, parse, peek

WRONG = InvalidMessage("PID-3 is missing", code=101, segment="PID", sequence=2, field=3)


def message(
    *, version: str = "2.5.1", msh_9: str = "ORM^O01^ORM_O01", asked: str = "|", charset: str = ""
) -> bytes:
    head = f"MSH|^~\\&|RIS^1.2^ISO|SU|BFR|VGR|20260102||{msh_9}|C1|T|{version}|||{asked}"
    return f"{head}||{charset}\rPID|1".encode()


def answered(sent: bytes, error: InvalidMessage | None = None) -> Message:
    found = answer(peek(sent), error)
    assert found is not None
    return parse(found)


def code(sent: bytes, error: InvalidMessage | None = None) -> str | None:
    found = answer(peek(sent), error)
    return None if found is None else parse(found).segments("MSA")[0].text(1)


def test_what_was_taken_is_acknowledged_under_its_control_id() -> None:
    msa = answered(message()).segments("MSA")[0]
    assert [msa.text(1), msa.text(2)] == ["AA", "C1"]


def test_sender_and_receiver_change_places() -> None:
    msh = answered(message()).msh
    assert [msh.raw(n) for n in (3, 4, 5, 6)] == ["BFR", "VGR", "RIS^1.2^ISO", "SU"]


def test_version_processing_id_and_character_set_are_those_of_the_message() -> None:
    msh = answered(message(version="2.4", charset="8859/1")).msh
    assert [msh.raw(n) for n in (11, 12, 18)] == ["T", "2.4", "8859/1"]


def test_every_acknowledgement_has_a_control_id_of_its_own() -> None:
    assert answered(message()).control_id != answered(message()).control_id


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.3", "ACK^O01"), ("2.3.1", "ACK^O01^ACK"), ("2.8", "ACK^O01^ACK"), ("", "ACK^O01^ACK")],
)
def test_the_type_is_written_as_the_version_has_it(version: str, expected: str) -> None:
    assert answered(message(version=version)).msh.raw(9) == expected


def test_a_message_without_an_event_is_answered_without_one() -> None:
    assert answered(message(msh_9="XYZ")).msh.raw(9) == "ACK"


def test_an_error_in_the_contents_is_ae() -> None:
    assert code(message(), WRONG) == "AE"


@pytest.mark.parametrize("condition", [200, 201, 202, 203])
def test_a_kind_of_message_that_is_not_taken_is_ar(condition: int) -> None:
    assert code(message(), InvalidMessage("not taken", code=condition)) == "AR"


def test_bytes_that_are_no_message_are_ar_with_an_empty_control_id() -> None:
    refusal = InvalidMessage("no message", code=100, segment="MSH", rejected=True)
    msa = answered(b"\x00\xff no message", refusal).segments("MSA")[0]
    assert [msa.text(1), msa.text(2)] == ["AR", ""]


def test_the_place_of_an_error_is_named_in_err_2() -> None:
    assert answered(message(), WRONG).segments("ERR")[0].raw(2) == "PID^2^3"


def test_the_component_of_an_error_is_named_after_the_repetition() -> None:
    error = InvalidMessage("no date", code=102, segment="PID", field=7, component=1)
    assert answered(message(), error).segments("ERR")[0].raw(2) == "PID^1^7^^1"


def test_the_kind_and_the_severity_of_an_error_are_coded() -> None:
    err = answered(message(), WRONG).segments("ERR")[0]
    assert [err.raw(3), err.raw(4)] == ["101^Required field missing^HL70357", "E"]


def test_the_text_of_an_error_is_for_the_user() -> None:
    assert answered(message(), WRONG).segments("ERR")[0].text(8) == "PID-3 is missing"


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4"])
def test_before_2_5_place_and_kind_of_an_error_stand_in_err_1(version: str) -> None:
    err = answered(message(version=version), WRONG).segments("ERR")[0]
    assert err.raw(1) == "PID^2^3^101&Required field missing&HL70357"


@pytest.mark.parametrize(("version", "text"), [("2.4", "PID-3 is missing"), ("2.7", "")])
def test_the_text_stands_in_msa_3_until_that_was_withdrawn(version: str, text: str) -> None:
    assert answered(message(version=version), WRONG).segments("MSA")[0].text(3) == text


def test_a_text_with_delimiters_is_escaped() -> None:
    error = InvalidMessage("ORC|1^2 is odd", segment="ORC")
    assert answered(message(), error).segments("ERR")[0].text(8) == "ORC|1^2 is odd"


def test_what_was_taken_has_no_err() -> None:
    assert answered(message()).segments("ERR") == ()


@pytest.mark.parametrize(
    ("asked", "taken", "not_taken"),
    [
        ("|", "AA", "AE"),
        ("NE|NE", None, None),
        ("AL|NE", "CA", "CE"),
        ("ER|NE", None, "CE"),
        ("SU|NE", "CA", None),
        ("AL|", "CA", "CE"),
        ("NE|AL", "AA", "AE"),
        ("AL|AL", "AA", "AE"),
        ("NE|", "AA", "AE"),
        ("|NE", None, None),
        ("|ER", None, "AE"),
        ("AL|ER", "CA", "AE"),
        ("?|?", "AA", "AE"),
    ],
)
def test_the_sender_hears_what_it_asks_for(
    asked: str, taken: str | None, not_taken: str | None
) -> None:
    sent = message(asked=asked)
    assert (code(sent), code(sent, WRONG)) == (taken, not_taken)


def test_an_accept_acknowledgement_of_what_is_not_taken_here_is_cr() -> None:
    assert code(message(asked="AL|NE"), InvalidMessage("no", code=200)) == "CR"


def test_the_answer_has_the_delimiters_of_the_message() -> None:
    sent = b"MSH#*!?%#RIS#SU#BFR#VGR#2026##ORM*O01#C1#P#2.5"
    assert answered(sent).msh.raw(9) == "ACK*O01*ACK"


def test_the_answer_is_in_the_character_set_of_the_message() -> None:
    sent = "MSH|^~\\&|RÖNTGEN|SU|BFR|VGR|2026||ORM^O01|C1|P|2.5||||||8859/1".encode("latin-1")
    assert "RÖNTGEN".encode("latin-1") in (answer(peek(sent)) or b"")


def test_nothing_of_the_message_can_break_the_frame_of_the_answer() -> None:
    sent = b"MSH|^~\\&|A\x0b|B\x1c|BFR|VGR|2026||ORM^O01|C\x1c1|P|2.5"
    assert not set(answer(peek(sent)) or b"") & set(b"\x0b\x1c")


def test_another_library_reads_the_answer() -> None:
    found = hl7.parse((answer(peek(message()), WRONG) or b"").decode())
    assert [str(found["MSA"][0][1]), str(found["ERR"][0][4])] == ["AE", "E"]


def batch(*control_ids: str) -> bytes:
    lines = ["FHS|^~\\&|RIS|SU|BFR|VGR|2026||||F1", "BHS|^~\\&|RIS|SU|BFR|VGR|2026||||B1"]
    for control_id in control_ids:
        lines += [f"MSH|^~\\&|RIS|SU|BFR|VGR|2026||ORM^O01|{control_id}|P|2.5", "PID|1"]
    return "\r".join([*lines, f"BTS|{len(control_ids)}", "FTS|1"]).encode()


def answered_batch(sent: bytes) -> list[str]:
    split = batches.split(sent)
    assert split is not None
    answers = [answer(peek(one)) for one in split.messages]
    return (batches.answer(split, answers) or b"").decode().split("\r")[:-1]


def test_the_messages_of_a_batch_are_taken_apart() -> None:
    split = batches.split(batch("C1", "C2"))
    assert split is not None
    assert [parse(one).control_id for one in split.messages] == ["C1", "C2"]


def test_one_message_is_no_batch() -> None:
    assert batches.split(message()) is None


def test_a_word_in_a_text_begins_no_message() -> None:
    assert batches.split(message() + b"\rOBX|1|TX|||see MSH|5") is None


def test_messages_one_after_another_are_a_batch_without_an_envelope() -> None:
    split = batches.split(message() + b"\r" + message())
    assert split is not None
    assert len(split.messages) == 2


def test_a_batch_is_answered_in_the_envelope_in_which_it_came() -> None:
    lines = answered_batch(batch("C1", "C2"))
    assert [line[:3] for line in lines] == [
        *("FHS", "BHS", "MSH", "MSA", "MSH", "MSA", "BTS", "FTS"),
    ]


def test_the_answer_to_a_batch_refers_to_its_control_id() -> None:
    assert answered_batch(batch("C1"))[1].split("|")[-1] == "B1"


def test_the_answer_to_a_batch_counts_its_messages() -> None:
    assert answered_batch(batch("C1", "C2", "C3"))[-2:] == ["BTS|3", "FTS|1"]


def test_a_batch_that_is_not_ended_is_answered_by_one_that_is() -> None:
    sent = batch("C1").split(b"\rBTS")[0]
    assert answered_batch(sent)[-2:] == ["BTS|1", "FTS|1"]


def test_a_batch_of_which_no_message_wants_an_answer_gets_none() -> None:
    split = batches.split(batch("C1"))
    assert split is not None
    assert batches.answer(split, [None]) is None


def test_a_batch_of_endless_messages_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="at most"):
        batches.split(b"MSH|^~\\&|\r" * (batches.MAX_MESSAGES + 1))
