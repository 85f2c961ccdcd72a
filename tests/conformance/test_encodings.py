"""ENC: what each case says of a right server, of a faulty one, and where nothing can be seen."""

import json
from collections.abc import Callable
from typing import Final

import pytest

from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, body, ids_of, judged, on, status, when_broken
from right_server import RightServer

CHAPTER: Final = "ENC"
JSON: Final = on(ends="/metadata", accept="json")
XML: Final = on(ends="/metadata", accept="xml")


def written(right: str, wrong: str) -> Fault:
    """Every JSON metadata payload has the one instead of the other."""
    return body(lambda payload: payload.replace(right.encode(), wrong.encode()), JSON)


def in_xml(right: str, wrong: str) -> Fault:
    return body(lambda payload: payload.replace(right.encode(), wrong.encode()), XML)


def changed(change: Callable[[dict[str, object]], object]) -> Fault:
    """Every object of a JSON metadata payload is changed."""

    def of(payload: bytes) -> bytes:
        listed = json.loads(payload)
        for data in listed:
            change(data)
        return json.dumps(listed).encode()

    return body(of, JSON)


def moved_to_the_end(data: dict[str, object]) -> None:
    data["00080018"] = data.pop("00080018")


def without_creators(data: dict[str, object]) -> None:
    data.pop("00090010", None)


FAULTS: Final[list[tuple[str, Fault]]] = [
    ("ENC-01", written('"0020000D"', '"0020000d"')),
    ("ENC-01", written('"0020000D"', '"StudyInstanceUID"')),
    ("ENC-01", changed(moved_to_the_end)),
    ("ENC-01", written('"00080018": {', '"00080016": {"vr": "UI"}, "00080018": {')),
    ("ENC-02", written('"00080005"', '"00080000": {"vr": "UL", "Value": [8]}, "00080005"')),
    ("ENC-03", written('{"vr": "LO"', '{"vr": "LO", "keyword": "x"')),
    ("ENC-03", written('{"vr": "LO", "Value"', '{"vr": "LO", "BulkDataURI": "/x", "Value"')),
    ("ENC-03", written('{"vr": "LO"', '{"VR": "LO"')),
    ("ENC-04", written('"Value": ["CT"]', '"Value": "CT"')),
    ("ENC-05", written('"00081030": {"vr": "LO"}', '"00081030": {"vr": "LO", "Value": []}')),
    ("ENC-05", written('"00081030": {"vr": "LO"}', '"00081030": {"vr": "LO", "Value": [null]}')),
    ("ENC-06", written('"one", null', '"one", ""')),
    ("ENC-06", written('"one", null, "three"', '"one", "three"')),
    ("ENC-07", written("}, {}]", "}, null]")),
    ("ENC-07", written("}, {}]", "}]")),
    ("ENC-08", written('{"Alphabetic": "Berg^Eva"}', '"Berg^Eva"')),
    ("ENC-08", written('"Alphabetic": "Berg^Eva"', '"Alphabetic": "Berg^Eva", "Phonetic": ""')),
    ("ENC-09", written('"vr": "US", "Value": [16]', '"vr": "US", "Value": ["16"]')),
    ("ENC-10", written("18446744073709551615", "1.8446744073709552e19")),
    ("ENC-10", written("-9223372036854775808", "-9223372036854775807")),
    ("ENC-10", written('"vr": "DS", "Value": [', '"vr": "DS", "Value": ["about one", ')),
    ("ENC-11", written('"0020000D"]', '"0020000d"]')),
    ("ENC-11", written('"0020000D"]', '"0020000E"]')),
    ("ENC-13", written('"vr": "LO", "Value"', '"vr": "LO", "BulkDataURI": "/x", "X"')),
    ("ENC-13", status(404, on(has="/bulkdata/"))),
    ("ENC-14", body(lambda right: b"\xef\xbb\xbf" + right, JSON)),
    ("ENC-14", body(lambda right: right.replace(b"Berg^Eva", b"Berg^\xc5"), JSON)),
    ("ENC-15", body(lambda right: b'{"0020000D": ' + right + b"}", JSON)),
    ("ENC-15", body(lambda right: b"[" + right + b"]", JSON)),
    ("ENC-16", written('"BulkDataURI": ', '"Value": [NaN], "X": ')),
    ("ENC-17", written('"CT"', '"CT "')),
    ("ENC-18", in_xml('xml:space="preserve"', 'xml:space="default"')),
    ("ENC-18", in_xml("PS3.19/models/NativeDICOM", "other")),
    ("ENC-19", in_xml('tag="0020000D"', 'tag="0020000d"')),
    ("ENC-19", in_xml(' keyword="Modality"', "")),
    ("ENC-19", in_xml(' keyword="Modality"', ' keyword="Mode"')),
    ("ENC-19", in_xml(' privateCreator="ACME 1.0"', "")),
    ("ENC-20", in_xml('<Value number="1">', '<Value number="0">')),
    ("ENC-21", in_xml('<Value number="1">', "<InlineBinary/>" + '<Value number="1">')),
    ("ENC-22", in_xml(">64<", ">65<")),
    ("ENC-22", in_xml("Berg", "Borg")),
    ("ENC-22", written('"00080005"', '"00080001": {"vr": "UL", "Value": [8]}, "00080005"')),
    ("ENC-23", changed(without_creators)),
    ("ENC-24", body(lambda right: right.replace(b"1.25\\1.25", b"1.25\\1.26"))),
    ("ENC-25", written('"ISO_IR 192"', '"ISO_IR 100"')),
    ("ENC-26", written('"CS", "Value": ["CT"]', '"CS", "Value": [1]')),
]
# The right server holds binary values elsewhere, unless it is told to hold them inline.
ELSEWHERE: Final = {"ENC-12"}


@pytest.mark.parametrize("id", ids_of(CHAPTER, but=ELSEWHERE))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault)

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_there(id: str) -> None:
    assert (await judged(id, holds=False)).outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} | ELSEWHERE == set(ids_of(CHAPTER))


async def test_values_that_are_held_inline_pass() -> None:
    verdict = await judged("ENC-12", server=RightServer(inline_up_to=64))

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


async def test_a_server_that_holds_nothing_inline_is_not_judged() -> None:
    assert (await judged("ENC-12")).outcome is Outcome.SKIP


@pytest.mark.parametrize(
    ("right", "wrong"), [("AAEC/w==", "AAEC"), ("AAEC/w==", "no base64"), ('"OB"', '"LO"')]
)
async def test_a_wrong_inline_binary_is_found(right: str, wrong: str) -> None:
    verdict = await judged("ENC-12", written(right, wrong), server=RightServer(inline_up_to=64))

    assert verdict.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("id", "right", "wrong"),
    [
        ("ENC-10", "18446744073709551615", '"18446744073709551615"'),
        ("ENC-10", "[1.5, 2.0]", '["1.50", "2.0"]'),
        ("ENC-22", "[1.5, 2.0]", '["1.50", "2.0"]'),
    ],
)
async def test_a_sanctioned_alternative_passes(id: str, right: str, wrong: str) -> None:
    assert (await judged(id, written(right, wrong))).outcome is Outcome.PASS


async def test_a_finding_never_shows_a_value() -> None:
    verdict = await judged("ENC-08", written('{"Alphabetic": "Berg^Eva"}', '"Berg^Eva"'))

    assert "Berg" not in verdict.reason
