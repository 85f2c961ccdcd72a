"""Character sets: declared, not declared, declared wrongly, unheard of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2.charsets import How, codec_of, decode
from bfr_dicomweb.hl7v2.message import parse

NAME = "Sjöström^Åsa"


def message(msh_18: str, codec: str) -> bytes:
    return f"MSH|^~\\&|A|B|C|D|||ADT^A08|1|P|2.5||||||{msh_18}\rPID|||||{NAME}".encode(codec)


@pytest.mark.parametrize(
    ("msh_18", "codec", "how"),
    [
        ("UNICODE UTF-8", "utf-8", How.DECLARED),
        ("UNICODE", "utf-8", How.DECLARED),
        ("utf8", "utf-8", How.DECLARED),
        ("8859/1", "iso8859-1", How.DECLARED),
        ("8859/15", "iso8859-15", How.DECLARED),
        ("8859/10", "iso8859-10", How.DECLARED),
        ("ISO_IR 100", "iso8859-1", How.DECLARED),
        ("ISO_IR 192", "utf-8", How.DECLARED),
        ("WINDOWS-1252", "cp1252", How.DECLARED),
        ("ISO-8859-1", "iso8859-1", How.DECLARED),
        ("~8859/1", "iso8859-1", How.DECLARED),
        ("ASCII~8859/1", "iso8859-1", How.DECLARED),
        ("", "utf-8", How.UNDECLARED),
        ("", "cp1252", How.UNDECLARED),
        ('""', "utf-8", How.UNDECLARED),
        ("ASCII", "utf-8", How.WRONG),
        ("ASCII", "cp1252", How.WRONG),
        ("UNICODE UTF-8", "cp1252", How.WRONG),
        ("8859/1", "utf-8", How.WRONG),
        ("KLINGON", "utf-8", How.UNKNOWN),
        ("8859/12", "cp1252", How.UNKNOWN),
    ],
)
def test_the_text_is_read_and_how_is_said(msh_18: str, codec: str, how: How) -> None:
    found = parse(message(msh_18, codec))
    assert (found.segments("PID")[0].raw(5), found.charset.codec, found.charset.how) == (
        NAME,
        codec,
        how,
    )


def test_text_without_a_declaration_is_read_as_its_sender_writes() -> None:
    data = message("", "iso8859-15").replace(b"\xc5sa", b"\xa4sa")
    assert parse(data, charset="8859/15").segments("PID")[0].text(5, 2) == "€sa"


def test_text_that_is_valid_utf_8_is_so_whatever_its_sender_usually_writes() -> None:
    assert parse(message("", "utf-8"), charset="8859/1").charset.codec == "utf-8"


def test_a_declaration_counts_more_than_the_habit_of_the_sender() -> None:
    assert parse(message("8859/1", "latin-1"), charset="8859/5").charset.codec == "iso8859-1"


def test_letters_of_windows_in_a_message_that_declares_8859_1_are_read() -> None:
    data = message("8859/1", "cp1252").replace(b"\xc5sa", b"5 \x96 6")
    found = parse(data)
    assert (found.segments("PID")[0].text(5, 2), found.charset.how) == ("5 – 6", How.WRONG)


def test_a_byte_order_mark_is_a_declaration() -> None:
    assert parse(b"\xef\xbb\xbf" + message("", "utf-8")).charset.how is How.DECLARED


def test_cyrillic_that_could_be_utf_8_is_read_as_declared() -> None:
    assert decode("ТА".encode("iso8859-5"), ["8859/5"])[0] == "ТА"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_16_bit_units_are_recognised(codec: str) -> None:
    assert parse(message("UNICODE", codec)).segments("PID")[0].raw(5) == NAME


def test_half_a_character_of_16_bits_is_an_error() -> None:
    with pytest.raises(InvalidMessage, match="UTF-16"):
        parse(message("UNICODE", "utf-16-le")[:-1])


def test_japanese_in_7_bits_is_read_as_declared() -> None:
    assert decode("山田".encode("iso2022_jp"), ["ISO IR87"])[0] == "山田"


def test_a_trailing_byte_that_looks_like_a_delimiter_divides_nothing() -> None:
    name = "功"  # 0xA5 0x5C in Big5: the second is the escape character
    data = f"MSH|^~\\&|A|B|C|D|||ADT^A08|1|P|2.5||||||BIG-5\rPID|||||{name}^X".encode("big5")
    assert parse(data).segments("PID")[0].text(5, 2) == "X"


@pytest.mark.parametrize("word", ["", "KLINGON", "8859/12", "8859/99", "ISO_IR 999", "CP9999"])
def test_what_is_no_character_set_has_no_codec(word: str) -> None:
    assert codec_of(word) is None


@given(word=st.text(max_size=60))
def test_every_codec_that_a_word_leads_to_exists(word: str) -> None:
    codec = codec_of(word)
    assert codec is None or "a".encode(codec) == b"a"


WORDS = st.sampled_from(["", "ASCII", "UNICODE UTF-8", "8859/1", "8859/7", "ISO IR87", "BIG-5"])


@given(data=st.binary(), words=st.lists(WORDS, max_size=3), default=WORDS)
def test_no_byte_is_lost(data: bytes, words: list[str], default: str) -> None:
    text, found = decode(data, words, default=default)
    # stateful and double byte codecs have several spellings of one text, hence by way of the text
    assert text.encode(found.codec).decode(found.codec) == text
    if found.codec.startswith(("iso8859", "cp1252", "utf-8", "ascii")):
        assert text.encode(found.codec) == data
