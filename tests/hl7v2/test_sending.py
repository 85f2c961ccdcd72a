"""What the other side said of a message."""

from bfr_dicomweb.hl7v2.sending import read_answer


def test_a_reason_that_is_told_twice_is_read_once() -> None:
    answer = read_answer(
        b"MSH|^~\\&|A|B|C|D|20240101||ACK|1|P|2.5\rMSA|AE|Q1|no number\r"
        b"ERR||ORC^1|101^Required field missing^HL70357|E||||no number\r"
    )

    assert answer.text == "no number"
