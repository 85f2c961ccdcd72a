"""Character sets of texts (PS3.18 sections 8.8.5 and Annex D)."""

import codecs

import pytest

from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.report_encoding import CHARSETS, encode, known_charset, showable

_ANNEX_D_NAMES = """
    ISO-8859-1 ISO-8859-2 ISO-8859-3 ISO-8859-4 ISO-8859-5 ISO-8859-6 ISO-8859-7 ISO-8859-8
    ISO-8859-9 ISO-8859-15 TIS-620 ISO-2022-JP ISO-2022-KR GB18030 GBK UTF-8
"""
ANNEX_D = _ANNEX_D_NAMES.split()


@pytest.mark.parametrize("name", ANNEX_D)
def test_the_character_sets_of_annex_d_are_written(name: str) -> None:
    assert encode("abc 123", name).decode(name) == "abc 123"


@pytest.mark.parametrize("name", CHARSETS)
def test_every_name_means_to_python_what_it_means_to_iana(name: str) -> None:
    assert codecs.lookup(name).name == codecs.lookup(CHARSETS[name]).name


@pytest.mark.parametrize("name", ["UTF-8", " utf-8 ", "utf8"])
def test_case_and_spaces_do_not_matter(name: str) -> None:
    assert known_charset(name) == "utf-8"


@pytest.mark.parametrize("name", ["", "utf-7", "rot13", "idna", "unicode_escape", "x" * 5000])
def test_what_is_no_character_set_of_texts_is_not_acceptable(name: str) -> None:
    assert known_charset(name) == ""
    with pytest.raises(NotAcceptable):
        encode("a", name)


def test_swedish_letters_are_in_latin_1() -> None:
    assert encode("Åsa", "ISO-8859-1") == b"\xc5sa"


def test_a_text_that_the_character_set_cannot_hold_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable, match="iso-8859-1"):
        encode("山田", "ISO-8859-1")


@pytest.mark.parametrize("end", ["\r\n", "\n\r", "\r", "\n", "\f", "\u2028"])
def test_every_line_end_is_a_line_feed(end: str) -> None:
    assert showable(f"a{end}b") == "a\nb"


@pytest.mark.parametrize("letter", ["\0", "\x1b", "\x9f", "\ufffe", "\ud800"])
def test_what_xml_cannot_hold_is_replaced(letter: str) -> None:
    assert showable(f"a{letter}b") == "a\ufffdb"
