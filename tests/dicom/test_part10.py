"""What a PS3.10 header becomes, on files written byte by byte."""

import base64
import math
import mmap
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from bfr_dicomweb.dicom.part10 import (
    BulkValue,
    Limits,
    bulk_from_bytes,
    bulk_to_bytes,
    read_header,
)
from bfr_dicomweb.errors import InvalidObject
from part10_bytes import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    SEQUENCE_END,
    UNDEFINED,
    encapsulated,
    explicit,
    image,
    implicit,
    item,
    part10,
)


def attributes(data_set: bytes, syntax: str | None = None) -> dict[str, Any]:
    file = part10(data_set) if syntax is None else part10(data_set, syntax)
    return read_header(file).attributes


def codes(data_set: bytes) -> list[tuple[str, str]]:
    return [(finding.code, finding.path) for finding in read_header(part10(data_set)).findings]


NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
ODD_NAMES = ({"Ideographic": "C"}, None)

# One value of each VR, PS3.18 Annex F.2.3.
VALUES: list[tuple[int, str, bytes, dict[str, Any]]] = [
    (0x00080054, "AE", b" STORE1 ", {"Value": [" STORE1"]}),
    (0x00101010, "AS", b"012Y", {"Value": ["012Y"]}),
    (0x00280009, "AT", b"\x18\0\x63\x10\xe0\x7f\x0a\0", {"Value": ["00181063", "7FE0000A"]}),
    (0x00080008, "CS", b"ORIGINAL\\PRIMARY ", {"Value": ["ORIGINAL", "PRIMARY"]}),
    (0x00080020, "DA", b"20240101", {"Value": ["20240101"]}),
    (0x00200032, "DS", b"1.5\\ -2\\+3e1\\", {"Value": [1.5, -2.0, 30.0, None]}),
    (0x0008002A, "DT", b"20240101120000.5&0100 ", {"Value": ["20240101120000.5&0100"]}),
    (0x00189073, "FD", struct.pack("<d", 0.1), {"Value": [0.1]}),
    (0x00180013, "FL", struct.pack("<f", 1.5), {"Value": [1.5]}),
    (0x00200013, "IS", b" 12 ", {"Value": [12]}),
    (0x00080080, "LO", b"One\\\\Two", {"Value": ["One", None, "Two"]}),
    (0x00104000, "LT", b" a\\b\r\nc ", {"Value": [" a\\b\r\nc"]}),
    (0x00420011, "OB", b"\x01\x02", {"InlineBinary": "AQI="}),
    (0x7FE00009, "OB", b"", {}),
    (0x00080016, "UI", b"1.2.3\0", {"Value": ["1.2.3"]}),
    (0x0040A160, "UT", b"text", {"Value": ["text"]}),
    (0x00080119, "UC", b"a\\b ", {"Value": ["a", "b"]}),
    (0x00081190, "UR", b"http://x/a\\b  ", {"Value": ["http://x/a\\b"]}),
    (0x00186020, "SL", struct.pack("<i", -5), {"Value": [-5]}),
    (0x00189219, "SS", struct.pack("<hh", -1, 2), {"Value": [-1, 2]}),
    (0x00080082, "SV", struct.pack("<q", -(2**60)), {"Value": [-(2**60)]}),
    (0x7FE00003, "UV", struct.pack("<Q", 2**64 - 1), {"Value": [2**64 - 1]}),
    (0x00186018, "UL", struct.pack("<I", 7), {"Value": [7]}),
    (0x00280010, "US", struct.pack("<H", 7), {"Value": [7]}),
    (0x00091001, "UN", b"\x01\x02", {"InlineBinary": "AQI="}),
    (0x00100010, "PN", b"Doe^Jane", {"Value": [{"Alphabetic": "Doe^Jane"}]}),
    (0x00100020, "LO", b"", {}),
    (0x00100020, "LO", b"  ", {}),
    (
        0x00100010,
        "PN",
        b"A^B\\=C\\",
        {"Value": [{"Alphabetic": "A^B"}, {"Ideographic": "C"}, None]},
    ),
]


@pytest.mark.parametrize(("tag", "vr", "value", "expected"), VALUES)
def test_each_vr_has_its_json_form(
    tag: int, vr: str, value: bytes, expected: dict[str, Any]
) -> None:
    element = attributes(explicit(tag, vr, value))[f"{tag:08X}"]

    assert element == {"vr": vr, **expected}


def test_a_sequence_is_an_array_of_objects_and_an_empty_item_is_an_empty_object() -> None:
    items = item(explicit(0x00080100, "SH", b"T-1 ")) + item()

    sequence = attributes(explicit(0x00081032, "SQ", items))["00081032"]

    assert sequence == {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["T-1"]}}, {}]}


def test_undefined_and_defined_lengths_say_the_same() -> None:
    code = explicit(0x00080100, "SH", b"T-1 ")
    defined = explicit(0x00081032, "SQ", item(code) + item(code))
    undefined = explicit(
        0x00081032, "SQ", item(code, delimited=True) + item(code) + SEQUENCE_END, length=UNDEFINED
    )

    assert attributes(undefined) == attributes(defined)


def test_group_lengths_are_left_out() -> None:
    data_set = explicit(0x00080000, "UL", b"\0\0\0\0") + explicit(0x00080060, "CS", b"CT")

    assert list(attributes(data_set)) == ["00080060"]


def test_file_meta_is_kept_apart_and_without_its_group_length() -> None:
    header = read_header(part10(explicit(0x00080060, "CS", b"CT")))

    assert list(header.file_meta) == ["00020001", "00020010"]


def test_an_implicit_data_set_takes_its_vrs_from_the_dictionary() -> None:
    assert attributes(implicit(0x00280010, b"\x07\0"), IMPLICIT) == {
        "00280010": {"vr": "US", "Value": [7]}
    }


def test_an_implicit_private_element_takes_its_vr_from_the_dictionary_of_its_creator() -> None:
    data_set = implicit(0x00190010, b"SIEMENS MR HEADER ") + implicit(0x0019100C, b"1000")

    assert attributes(data_set, IMPLICIT)["0019100C"] == {"vr": "IS", "Value": [1000]}


def test_an_implicit_private_element_of_an_unknown_creator_is_un() -> None:
    data_set = implicit(0x00190010, b"NOBODY") + implicit(0x0019100C, b"1000")

    assert attributes(data_set, IMPLICIT)["0019100C"] == {"vr": "UN", "InlineBinary": "MTAwMA=="}


@pytest.mark.parametrize(
    ("signed", "expected"), [(0, {"vr": "US", "Value": [65535]}), (1, {"vr": "SS", "Value": [-1]})]
)
@pytest.mark.parametrize("tag", [0x00280106, 0x00280071])
def test_pixel_representation_settles_us_or_ss_before_and_behind_it(
    tag: int, signed: int, expected: dict[str, Any]
) -> None:
    elements = {0x00280103: struct.pack("<H", signed), tag: b"\xff\xff"}
    data_set = b"".join(implicit(key, elements[key]) for key in sorted(elements))

    assert attributes(data_set, IMPLICIT)[f"{tag:08X}"] == expected


def test_big_endian_words_become_little_endian_in_inline_binary() -> None:
    data_set = explicit(0x00281201, "OW", b"\x01\x02\x03\x04", order=">")

    element = attributes(data_set, BIG_ENDIAN)["00281201"]

    assert base64.b64decode(element["InlineBinary"]) == b"\x02\x01\x04\x03"


def test_big_endian_numbers_and_tags_are_read_as_such() -> None:
    data_set = explicit(0x00280009, "AT", b"\0\x18\x10\x63", order=">") + explicit(
        0x00280010, "US", b"\0\x07", order=">"
    )

    assert attributes(data_set, BIG_ENDIAN) == {
        "00280009": {"vr": "AT", "Value": ["00181063"]},
        "00280010": {"vr": "US", "Value": [7]},
    }


def test_a_deflated_data_set_says_the_same_and_its_offsets_are_those_of_the_inflated_one() -> None:
    data_set = image() + explicit(0x7FE00010, "OB", b"abcd")

    header = read_header(part10(data_set, DEFLATED))

    assert header.deflated
    assert header.attributes == attributes(data_set)
    assert header.bulk == (BulkValue("7FE00010", "OB", len(data_set) - 4, 4),)


def test_a_data_set_that_is_not_deflated_although_it_should_be_is_read() -> None:
    file = part10(explicit(0x00080060, "CS", b"CT")).replace(
        explicit(0x00020010, "UI", b"1.2.840.10008.1.2.1\0"),
        explicit(0x00020010, "UI", b"1.2.840.10008.1.2.1.99"),
    )

    header = read_header(file)

    assert (header.deflated, list(header.attributes)) == (False, ["00080060"])


def test_an_unknown_transfer_syntax_is_read_as_explicit_little_endian() -> None:
    header = read_header(part10(explicit(0x00080060, "CS", b"CT"), "1.2.3.4"))

    assert (header.transfer_syntax_uid, list(header.attributes)) == ("1.2.3.4", ["00080060"])


# Bulk data.


def test_pixel_data_is_always_bulk() -> None:
    element = attributes(image() + explicit(0x7FE00010, "OB", b"abcd"))["7FE00010"]

    assert element == {"vr": "OB", "BulkDataURI": "\0/bulkdata/7FE00010"}


@pytest.mark.parametrize(("size", "member"), [(1024, "InlineBinary"), (1026, "BulkDataURI")])
def test_bytes_are_inline_up_to_1024(size: int, member: str) -> None:
    assert member in attributes(explicit(0x00420011, "OB", bytes(size)))["00420011"]


@pytest.mark.parametrize(("size", "member"), [(65536, "Value"), (65538, "BulkDataURI")])
def test_text_is_inline_up_to_64_kib(size: int, member: str) -> None:
    assert member in attributes(explicit(0x0040A160, "UT", b"x" * size))["0040A160"]


def test_a_bulk_value_knows_its_bytes() -> None:
    file = part10(explicit(0x00420011, "OB", b"x" * 2000))

    (value,) = read_header(file).bulk

    assert file[value.offset : value.offset + value.length] == b"x" * 2000


def test_the_path_of_a_nested_bulk_value_names_tags_and_item_numbers() -> None:
    waveform = item() + item(explicit(0x54001010, "OW", bytes(2000)))

    header = read_header(part10(explicit(0x54000100, "SQ", waveform)))

    assert [value.path for value in header.bulk] == ["54000100/2/54001010"]
    assert header.attributes["54000100"]["Value"][1]["54001010"] == {
        "vr": "OW",
        "BulkDataURI": "\0/bulkdata/54000100/2/54001010",
    }


def test_the_marker_is_six_bytes_in_json() -> None:
    document = orjson.dumps(attributes(explicit(0x00420011, "OB", bytes(2000))))

    assert b'"BulkDataURI":"\\u0000/bulkdata/00420011"' in document


def test_nested_encapsulated_pixel_data_is_bulk_up_to_its_delimiter() -> None:
    file = part10(explicit(0x00880200, "SQ", item(encapsulated(b"jpeg"))))

    header = read_header(file)

    (icon,) = header.bulk
    assert icon.path == "00880200/1/7FE00010"
    assert file[icon.offset : icon.offset + icon.length] == item() + item(b"jpeg")
    assert header.frames is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_bulk(number: float) -> None:
    element = attributes(explicit(0x00189073, "FD", struct.pack("<dd", 1, number)))["00189073"]

    assert element == {"vr": "FD", "BulkDataURI": "\0/bulkdata/00189073"}


def test_the_bulk_table_survives_storing() -> None:
    bulk = (BulkValue("7FE00010", "OW", 1234, 5), BulkValue("54000100/1/54001010", "OB", 2**40, 6))

    assert bulk_from_bytes(bulk_to_bytes(bulk)) == bulk


# Numbers in text.


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("DS", b"1,25", "1,25"),
        ("DS", b"NaN ", "NaN"),
        ("DS", b"1_0 ", "1_0"),
        ("DS", b"1e999 ", "1e999"),
        ("DS", b"1e-999", "1e-999"),
        ("DS", b"9007199254740993", "9007199254740993"),
        ("DS", b"9007199254740992", 9007199254740992.0),
        ("DS", b"-0.1234567890123", -0.1234567890123),
        ("DS", b"0.000000000000000000 ", 0.0),
        ("IS", b"1.0 ", "1.0"),
        ("IS", b"9999999999999999999 ", "9999999999999999999"),
        ("IS", b"0x10", "0x10"),
        ("IS", b"-2147483648 ", -2147483648),
    ],
)
def test_text_is_a_number_only_when_that_says_the_same(
    vr: str, value: bytes, expected: object
) -> None:
    tag = {"DS": 0x00101030, "IS": 0x00200013}[vr]

    assert attributes(explicit(tag, vr, value))[f"{tag:08X}"]["Value"] == [expected]


def test_text_that_is_no_number_is_found() -> None:
    assert codes(explicit(0x00101030, "DS", b"1,25")) == [("not-a-number", "00101030")]


# What is odd is found, and does not prevent reading.


def test_an_odd_length_is_found_and_read() -> None:
    data_set = explicit(0x00080060, "CS", b"OTX") + explicit(0x00080070, "LO", b"Acme")

    assert codes(data_set) == [("odd-length-value", "00080060")]
    assert list(attributes(data_set)) == ["00080060", "00080070"]


def test_a_nul_inside_text_is_replaced_and_found() -> None:
    data_set = explicit(0x00080070, "LO", b"Ac\0me\0")

    assert attributes(data_set)["00080070"]["Value"] == ["Ac\ufffdme"]
    assert codes(data_set) == [("nul-in-text", "00080070")]


@pytest.mark.parametrize("tail", [b"\0" * 40, b"garbage!" * 5, b"\0\0\0"])
def test_bytes_behind_the_pixel_data_are_found(tail: bytes) -> None:
    data_set = image() + explicit(0x7FE00010, "OB", b"abcd") + tail

    assert codes(data_set) == [("trailing-bytes", "")]
    assert len(attributes(data_set)) == 5


def test_zeros_behind_a_data_set_without_pixel_data_are_found() -> None:
    assert codes(explicit(0x00080060, "CS", b"SR") + bytes(64)) == [("trailing-bytes", "")]


def test_many_null_elements_do_not_take_forever() -> None:
    started = time.process_time()

    with suppress(InvalidObject):
        read_header(part10(bytes(2_000_000) + b"x"))

    assert time.process_time() - started < 5


def test_data_set_trailing_padding_is_an_element() -> None:
    data_set = explicit(0x00080060, "CS", b"SR") + explicit(0xFFFCFFFC, "OB", bytes(10))

    assert (codes(data_set), list(attributes(data_set))) == ([], ["00080060", "FFFCFFFC"])


def test_a_stray_delimiter_is_found_and_skipped() -> None:
    data_set = (
        explicit(0x00080060, "CS", b"CT") + SEQUENCE_END + explicit(0x00080070, "LO", b"Acme")
    )

    assert codes(data_set) == [("stray-delimiter", "")]
    assert list(attributes(data_set)) == ["00080060", "00080070"]


def test_an_item_outside_of_a_sequence_does_not_reach_the_attributes() -> None:
    patient = explicit(0x00100020, "LO", b"ANOTHER ")
    data_set = explicit(0x00100020, "LO", b"MINE") + item(patient) + explicit(0x00200010, "SH")

    assert attributes(data_set)["00100020"]["Value"] == ["MINE"]
    assert codes(data_set) == [("stray-item", "")]


def test_elements_of_an_item_that_lost_its_length_do_not_reach_the_attributes() -> None:
    lost = explicit(0x00550E04, "SQ") + item() + explicit(0x00100020, "LO", b"ANOTHER ")
    data_set = explicit(0x00100020, "LO", b"MINE") + lost + explicit(0x00880130, "SH", b"1 ")

    assert attributes(data_set)["00100020"]["Value"] == ["MINE"]
    assert list(attributes(data_set)) == ["00100020", "00550E04", "00880130"]


def test_tags_are_put_into_ascending_order() -> None:
    data_set = explicit(0x00080070, "LO", b"Acme") + explicit(0x00080060, "CS", b"CT")

    assert list(attributes(data_set)) == ["00080060", "00080070"]
    assert codes(data_set) == [("tags-not-ascending", "00080060")]


def test_of_a_repeated_element_the_last_counts_and_no_bulk_value_is_left_behind() -> None:
    data_set = explicit(0x00420011, "OB", bytes(2000)) + explicit(0x00420011, "OB", b"ab")

    header = read_header(part10(data_set))

    assert header.attributes["00420011"] == {"vr": "OB", "InlineBinary": "YWI="}
    assert header.bulk == ()


@pytest.mark.parametrize("vr", ["??", "\0\0", "  "])
def test_an_element_with_a_vr_that_is_none_is_read_by_the_dictionary(vr: str) -> None:
    data_set = explicit(0x00280010, vr, b"\x07\0") + explicit(0x00280011, "US", b"\x08\0")

    assert attributes(data_set) == {
        "00280010": {"vr": "US", "Value": [7]},
        "00280011": {"vr": "US", "Value": [8]},
    }
    assert codes(data_set) == [("invalid-vr", "00280010")]


def test_a_vr_of_a_later_edition_has_the_long_form() -> None:
    new = b"\x09\0\x01\x10ZZ\0\0" + struct.pack("<I", 4) + b"abcd"
    data_set = new + explicit(0x00100020, "LO", b"ID")

    assert attributes(data_set)["00091001"] == {"vr": "UN", "InlineBinary": "YWJjZA=="}


def test_an_implicit_element_in_an_explicit_data_set_is_read() -> None:
    data_set = implicit(0x00280010, b"\x07\0") + explicit(0x00280011, "US", b"\x08\0")
    data_set = explicit(0x00080060, "CS", b"CT") + data_set

    assert attributes(data_set)["00280010"] == {"vr": "US", "Value": [7]}


def test_an_explicit_data_set_that_is_called_implicit_is_read() -> None:
    header = read_header(part10(explicit(0x00080060, "CS", b"CT"), IMPLICIT))

    assert not header.implicit_vr
    assert header.attributes["00080060"]["Value"] == ["CT"]


def test_an_implicit_data_set_that_is_called_explicit_is_read() -> None:
    header = read_header(part10(implicit(0x00080060, b"CT")))

    assert header.implicit_vr
    assert header.attributes["00080060"]["Value"] == ["CT"]


def test_un_of_undefined_length_is_an_implicit_sequence() -> None:
    content = item(implicit(0x00080100, b"T-1 "), delimited=True) + SEQUENCE_END

    element = attributes(explicit(0x00091001, "UN", content, length=UNDEFINED))["00091001"]

    assert element == {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["T-1"]}}]}


def test_un_of_a_known_element_is_read_by_the_dictionary() -> None:
    assert attributes(explicit(0x00280010, "UN", b"\x07\0"))["00280010"] == {
        "vr": "US",
        "Value": [7],
    }


def test_un_that_is_no_sequence_after_all_stays_un() -> None:
    element = attributes(explicit(0x00081032, "UN", b"no items"))["00081032"]

    assert element == {"vr": "UN", "InlineBinary": base64.b64encode(b"no items").decode()}


def test_a_missing_group_length_is_no_matter() -> None:
    length = explicit(0x00020000, "UL", struct.pack("<I", 42))
    file = part10(explicit(0x00080060, "CS", b"CT"))

    assert length in file
    assert list(read_header(file.replace(length, b"")).attributes) == ["00080060"]


def test_a_wrong_group_length_is_found() -> None:
    file = part10(explicit(0x00080060, "CS", b"CT"))
    length = explicit(0x00020000, "UL", struct.pack("<I", 42))

    header = read_header(file.replace(length, explicit(0x00020000, "UL", b"\x99\0\0\0")))

    assert list(header.attributes) == ["00080060"]
    assert [finding.code for finding in header.findings] == ["wrong-group-length"]


# What is refused says what and where.


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (b"", "0 bytes are too few"),
        (b"\xff\xd8\xff\xe0" + bytes(200), "no DICM prefix: a JPEG image"),
        (bytes(128) + b"DICM", r"\(0002,0010\) is missing"),
        (part10(b"", "no UID"), r"\(0002,0010\) is not a UID"),
        (part10(b"", "1.2\\1.2.3"), r"\(0002,0010\) is not a UID"),
        (
            part10(explicit(0x7FE00010, "OW", b"abcd", length=131072)),
            r"\(7FE0,0010\) at byte 186 has only 4 of 131072 bytes",
        ),
        (
            part10(explicit(0x00080060, "CS", b"CT", length=4)),
            r"\(0008,0060\) at byte 186 has only 2 of 4 bytes",
        ),
        (part10(b"\x08\0\x60"), "3 bytes at byte 186 are no element"),
        (part10(explicit(0x00081032, "SQ", item() + b"no item.")), "no item begins at byte 206"),
        (part10(explicit(0x00081032, "SQ", item(), length=UNDEFINED)), "no item begins at byte"),
        (part10(explicit(0x00081032, "SQ", item()[:-2] + b"\xff\0")), "has only 0 of .* bytes"),
        (part10(explicit(0x0040A160, "UT", b"", length=UNDEFINED)), "undefined length and VR UT"),
        (part10(b"not a data set at all"), r"\(6F6E,2074\) at byte 186"),
        (part10(image(), DEFLATED)[:-3], "cut short"),
        (part10(b"", DEFLATED)[:-2] + b"\xff\xff\xff", "damaged"),
    ],
)
def test_a_refusal_names_the_defect_and_its_place(file: bytes, text: str) -> None:
    with pytest.raises(InvalidObject, match=text):
        read_header(file)


@pytest.mark.parametrize("cut", range(1, 190, 7))
def test_a_file_that_is_cut_short_is_refused(cut: int) -> None:
    file = part10(
        explicit(0x00080060, "CS", b"CT")
        + explicit(0x00081032, "SQ", item(explicit(0x00080100, "SH", b"T-1 ")))
        + image()
        + explicit(0x7FE00010, "OB", bytes(60))
    )
    with pytest.raises(InvalidObject):
        read_header(file[:-cut] if cut < 66 else file[: -66 - 1])


def nested(depth: int) -> bytes:
    data_set = b""
    for _ in range(depth):
        content = item(data_set, delimited=True) + SEQUENCE_END
        data_set = explicit(0x0040A730, "SQ", content, length=UNDEFINED)
    return part10(data_set)


def test_sequences_may_be_nested_64_deep() -> None:
    assert "0040A730" in read_header(nested(64)).attributes


@pytest.mark.parametrize("depth", [65, 5000])
def test_deeper_nesting_is_refused(depth: int) -> None:
    with pytest.raises(InvalidObject, match="more than 64 sequences deep"):
        read_header(nested(depth))


def test_a_depth_that_the_stack_does_not_bear_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="101"):
        Limits(depth=101)


@pytest.mark.parametrize(
    ("limits", "data_set"),
    [
        (Limits(elements=3), image()),
        (Limits(items=2), explicit(0x00081032, "SQ", item() * 3)),
        (Limits(value_bytes=3000), explicit(0x0040A160, "UT", b"x" * 4000)),
    ],
)
def test_what_is_beyond_a_limit_is_refused(limits: Limits, data_set: bytes) -> None:
    with pytest.raises(InvalidObject, match="more than"):
        read_header(part10(data_set), limits=limits)


def test_a_data_set_that_inflates_beyond_the_limit_is_refused() -> None:
    bomb = part10(explicit(0x7FE00010, "OB", bytes(10_000_000)), DEFLATED)

    with pytest.raises(InvalidObject, match="inflates to more than 1000000 bytes"):
        read_header(bomb, limits=Limits(inflated_bytes=1_000_000))


def test_a_mapped_file_and_a_view_say_the_same_as_bytes(tmp_path: Path) -> None:
    file = part10(image() + encapsulated(b"\xff\xd8\xff\xd9"))
    path = tmp_path / "file"
    path.write_bytes(file)

    with (
        path.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        assert read_header(mapped) == read_header(file) == read_header(memoryview(file))


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_two_gigabytes_of_fragments_stay_small_in_memory(tmp_path: Path) -> None:
    path, frames = tmp_path / "large", 10_000
    head = part10(image(frames=frames) + encapsulated(), "1.2.840.10008.1.2.4.90")[:-8]
    fragment = 2 * 1024**3 // frames // 2 * 2
    with path.open("wb") as writer:
        writer.write(head)
        for number in range(frames):
            writer.seek(len(head) + number * (8 + fragment))
            writer.write(struct.pack("<HHI", 0xFFFE, 0xE000, fragment))
        writer.seek(len(head) + frames * (8 + fragment))
        writer.write(SEQUENCE_END)
    before = _resident_bytes()

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        header = read_header(mapped)
        grown = _resident_bytes() - before
    path.unlink()

    assert header.frames is not None
    assert len(header.frames.spans) == 16 * frames
    assert grown < 30_000_000
