"""Specific Character Set, against the examples of PS3.5 Annexes H to K and PS3.3 C.12.1.1.2."""

from typing import Any

import pytest
from pydicom.charset import python_encoding

from bfr_dicomweb.dicom.character_sets import SINGLE, character_set, decode
from bfr_dicomweb.dicom.part10 import read_header
from part10_bytes import explicit, item, part10

NAME, CHARACTER_SET = 0x00100010, 0x00080005


def name(charset: str | None, value: bytes) -> dict[str, str]:
    declared = b"" if charset is None else explicit(CHARACTER_SET, "CS", charset.encode())
    header = read_header(part10(declared + explicit(NAME, "PN", value)))
    groups: dict[str, str] = header.attributes["00100010"]["Value"][0]
    return groups


def codes(charset: str | None, value: bytes) -> list[str]:
    declared = b"" if charset is None else explicit(CHARACTER_SET, "CS", charset.encode())
    header = read_header(part10(declared + explicit(NAME, "PN", value)))
    return [finding.code for finding in header.findings]


@pytest.mark.parametrize(
    ("charset", "value", "expected"),
    [
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            ["Yamada^Tarou", "山田^太郎", "やまだ^たろう"],
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            (
                b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J="
                b"\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"
            ),
            ["ﾔﾏﾀﾞ^ﾀﾛｳ", "山田^太郎", "やまだ^たろう"],
        ),
        (
            "\\ISO 2022 IR 149",
            (
                b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7="
                b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
            ),
            ["Hong^Gildong", "洪^吉洞", "홍^길동"],
        ),
        (
            "\\ISO 2022 IR 58",
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab ",
            ["Zhang^XiaoDong", "张^小东"],
        ),
        ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), ["Wang^XiaoDong", "王^小东"]),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東".encode(), ["Wang^XiaoDong", "王^小東"]),
        ("ISO_IR 203", b"\xbcuvrard^\xa4", ["Œuvrard^€"]),
        (
            "ISO 2022 IR 100\\ISO 2022 IR 144",
            b"\xc5berg^\xd6rjan=\x1b-L\xb8\xd2\xd0\xdd\xde\xd2^\x1b-L\xbf",
            ["Åberg^Örjan", "Иванов^П"],
        ),
        ("\\ISO 2022 IR 159", b"Hoge=\x1b$(D\x6c\x3f\x1b(B^x", ["Hoge", "鷗^x"]),
    ],
)
def test_the_groups_of_a_name_are_decoded(charset: str, value: bytes, expected: list[str]) -> None:
    assert list(name(charset, value).values()) == expected


def test_two_byte_characters_may_contain_the_bytes_of_delimiters() -> None:
    text = "移緯綾"
    value = text.encode("iso2022_jp")
    assert b"\\" in value
    assert b"^" in value
    assert b"=" in value
    element = explicit(CHARACTER_SET, "CS", b"\\ISO 2022 IR 87") + explicit(0x00081030, "LO", value)

    assert read_header(part10(element)).attributes["00081030"]["Value"] == [text]


def test_a_backslash_in_a_gb18030_character_divides_nothing() -> None:
    value = "乗".encode("gb18030")
    data_set = explicit(CHARACTER_SET, "CS", b"GB18030 ") + explicit(0x00081030, "LO", value)

    assert b"\\" in value
    assert read_header(part10(data_set)).attributes["00081030"]["Value"] == ["乗"]


def test_a_delimiter_brings_the_first_character_set_back() -> None:
    value = b"\x1b-L\xb8^\xc5sa"

    assert name("ISO 2022 IR 100\\ISO 2022 IR 144", value)["Alphabetic"] == "И^Åsa"


def test_high_bytes_without_their_escape_sequence_are_read_by_the_only_set_they_fit() -> None:
    assert name("\\ISO 2022 IR 149", b"\xc8\xab^a") == {"Alphabetic": "홍^a"}
    assert codes("\\ISO 2022 IR 149", b"\xc8\xab^a") == ["missing-escape-sequence"]


@pytest.mark.parametrize("charset", [None, "", "ISO_IR 6"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_undeclared_text_is_recognised_and_found(charset: str | None, encoding: str) -> None:
    value = "Sjöström^Åsa".encode(encoding)

    assert name(charset, value) == {"Alphabetic": "Sjöström^Åsa"}
    assert "undeclared-character-set" in codes(charset, value)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_text_that_is_not_the_utf_8_it_should_be_is_recognised(encoding: str) -> None:
    value = "Sjöström^Åsa".encode(encoding)

    assert name("ISO_IR 192", value) == {"Alphabetic": "Sjöström^Åsa"}
    assert "wrong-character-set" in codes("ISO_IR 192", value)


@pytest.mark.parametrize("charset", ["ISO-IR 100", "ISO_IR_100", "ISO 8859-1", "latin1", "IR 100"])
def test_a_misspelled_term_is_understood_and_found(charset: str) -> None:
    assert name(charset, "Åsa".encode("latin-1")) == {"Alphabetic": "Åsa"}
    assert "unknown-character-set" in codes(charset, b"A ")


def test_an_unknown_term_is_found() -> None:
    assert codes("EBCDIC", b"A ") == ["unknown-character-set"]


def test_bytes_that_a_character_set_does_not_have_are_replaced_and_found() -> None:
    assert name("ISO_IR 126", b"A\xff") == {"Alphabetic": "A\ufffd"}
    assert codes("ISO_IR 126", b"A\xff") == ["undecodable-text"]


def attributes(data_set: bytes) -> dict[str, Any]:
    return read_header(part10(data_set)).attributes


def test_an_item_inherits_the_character_set_and_may_have_its_own() -> None:
    description = 0x00081030
    inherited = item(explicit(description, "LO", b"\xd6l"))
    own = item(
        explicit(CHARACTER_SET, "CS", b"ISO_IR 144") + explicit(description, "LO", b"\xb8\xd2")
    )
    data_set = explicit(CHARACTER_SET, "CS", b"ISO_IR 100") + explicit(
        0x00081110, "SQ", inherited + own + inherited
    )

    items = attributes(data_set)["00081110"]["Value"]

    assert [one["00081030"]["Value"] for one in items] == [["Öl"], ["Ив"], ["Öl"]]


def test_the_json_is_declared_to_be_utf_8_where_a_character_set_was_declared() -> None:
    inner = explicit(0x00081110, "SQ", item(explicit(CHARACTER_SET, "CS", b"ISO_IR 144")))
    data_set = attributes(explicit(CHARACTER_SET, "CS", b"ISO_IR 100") + inner)
    utf_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}

    assert data_set["00080005"] == utf_8
    assert data_set["00081110"]["Value"] == [{"00080005": utf_8}]


def test_the_json_is_declared_to_be_utf_8_in_its_place_where_text_needs_it() -> None:
    data_set = explicit(0x00080001, "UL", b"\0\0\0\0") + explicit(0x00080080, "LO", b"\xd6l")

    assert list(attributes(data_set)) == ["00080001", "00080005", "00080080"]


def test_ascii_without_a_declaration_needs_none() -> None:
    assert "00080005" not in attributes(explicit(0x00080080, "LO", b"Acme"))


def test_text_beyond_the_default_repertoire_in_other_vrs_is_read_and_found() -> None:
    data_set = explicit(CHARACTER_SET, "CS", b"ISO_IR 100") + explicit(0x00080060, "CS", b"\xd6L")
    header = read_header(part10(data_set))

    assert header.attributes["00080060"]["Value"] == ["ÖL"]
    assert [finding.code for finding in header.findings] == ["beyond-default-repertoire"]


KNOWN_TO_PYDICOM = sorted(term for term in SINGLE if term in python_encoding and term != "ISO_IR 6")


@pytest.mark.parametrize("term", KNOWN_TO_PYDICOM)
def test_single_character_sets_are_those_of_pydicom(term: str) -> None:
    codec = python_encoding[term]
    for byte in range(0xA0, 0x100):
        value = bytes([byte])
        try:
            expected = value.decode(codec)
        except UnicodeDecodeError:
            continue
        assert decode(value, character_set(term.encode())) == (expected, "")
