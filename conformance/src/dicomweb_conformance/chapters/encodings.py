"""ENC: DICOM JSON (PS3.18 Annex F) and XML (PS3.19), wherever a run has met them."""

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Final

from dicomweb_conformance import dicom_json, equivalence, native_xml
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.findings import Inspection
from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.media_types import DICOM, DICOM_XML, OCTETS
from dicomweb_conformance.synthetic import ACME
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, Unmet, Violated, expect, need

_ANY_DATA: Final = (Fixture.F1, Feature.RETRIEVE)
_SINK: Final = (Fixture.F9, Feature.RETRIEVE)
_EVERYWHERE: Final = "metadata and search results of F1 and F9, and all JSON that the run has met"
_XML_EVERYWHERE: Final = "metadata of F1 and F9 as XML, and all XML that the run has met"
_MAX_FOLLOWED: Final = 10

Data = dict[str, object]


@lru_cache(maxsize=1024)
def _inspected(content: bytes, single: bool) -> Inspection:
    return dicom_json.inspect(content, single=single)


def _may_be_single(answer: Response) -> bool:
    """Annexes I, J and K and events are bare objects; metadata and search results are arrays."""
    method, _, url = answer.asked.partition(" ")
    last = url.partition("?")[0].rstrip("/").rpartition("/")[2]
    return method != "GET" or last not in ("metadata", "studies", "series", "instances")


async def _json_payloads(target: Target) -> list[Response]:
    """Those of F1, and of F9 where it is there, anew; then whatever else was met."""
    study = target.study(Fixture.F1)
    described = [study.path]
    if target.has(Fixture.F9):
        # the instance that is not a number has a case of its own
        described += [each.path for each in target.study(Fixture.F9).instances[::2]]
    for path in described:
        # a server without metadata still has results of searches
        with suppress(Unmet):
            await target.get(f"{path}/metadata")
    await target.get("/studies", query=f"StudyInstanceUID={study.uid}")
    return target.seen.json


async def _expect_json(target: Target, rule: str) -> None:
    """Raises Unmet where the rule had nothing to judge."""
    seen = 0
    for answer in await _json_payloads(target):
        inspection = _inspected(answer.content, _may_be_single(answer))
        seen += inspection.seen[rule]
        for finding in inspection.of(rule)[:1]:
            number = len(inspection.of(rule))
            text = f"{answer.asked}: {finding.where} {finding.what} ({number} in this payload)"
            expect(False, text)
    need(seen > 0, "no payload had anything that the rule is about")


def _json_rule(
    id: str, section: str, level: Level, requirement: str, expected: str, rule: str, slug: str
) -> None:
    """A case that asks for one rule of `dicom_json`, in every payload."""

    async def check(target: Target) -> None:
        await _expect_json(target, rule)

    check.__name__ = slug
    case(
        id,
        section=section,
        level=level,
        requirement=requirement,
        request=_EVERYWHERE,
        expected=expected,
        needs=_ANY_DATA,
        wants=(Fixture.F9,),
    )(check)


# id, section, level, requirement, expected, rule, slug
_JSON_RULES: Final = (
    ("ENC-01", "F.2.2", Level.SHALL,
     "Attributes are named by 8 upper-case hexadecimal digits, in ascending order, each once.",
     "keys that match [0-9A-F]{8}, ascending, unique", dicom_json.KEYS,
     "keys_are_upper_case_ascending_and_unique"),
    ("ENC-02", "F.2.2", Level.SHALL,
     "Group lengths (gggg,0000) are left out.",
     "no key that ends in 0000", dicom_json.GROUP_LENGTH, "group_lengths_are_left_out"),
    ("ENC-03", "F.2.2", Level.SHALL,
     "An attribute has vr, and at most one of Value, BulkDataURI and InlineBinary.",
     "no other members, and not two of the three", dicom_json.MEMBERS,
     "attributes_have_vr_and_one_content"),
    ("ENC-04", "F.2.2", Level.SHALL,
     "Value is an array, for every VR that is not binary.",
     "arrays", dicom_json.VALUE, "value_is_an_array"),
    ("ENC-08", "F.2.2", Level.SHALL,
     "A person name is an object of the component groups that are not empty.",
     "only Alphabetic, Ideographic, Phonetic; texts that are not empty",
     dicom_json.PERSON_NAMES, "person_names_are_objects_of_component_groups"),
    ("ENC-09", "F.2.3", Level.SHALL,
     "Values of FL, FD, SL, SS, UL and US are JSON numbers.",
     "numbers, not texts", dicom_json.NUMBERS, "binary_numbers_are_json_numbers"),
    ("ENC-14", "F.2", Level.SHALL,
     "DICOM JSON is JSON in UTF-8, without a byte order mark.",
     "valid UTF-8 and JSON", dicom_json.SYNTAX, "payloads_are_json_in_utf_8"),
    ("ENC-15", "F.2.1", Level.SHALL,
     "Several data sets are one top-level array of objects.",
     "an array of objects for metadata and search results", dicom_json.ARRAY,
     "several_data_sets_are_one_array"),
    ("ENC-17", "F.2.3", Level.SHOULD,
     "Values are not padded.",
     "no NUL and no blank at the end of a value", dicom_json.PADDING, "values_are_not_padded"),
    ("ENC-23", "F.2, PS3.5 7.8.1", Level.SHALL,
     "A private attribute has the creator element of its block beside it.",
     "(gggg,00xx) for each (gggg,xxee)", dicom_json.PRIVATE,
     "private_attributes_have_their_creator"),
    ("ENC-25", "F.2", Level.SHOULD,
     "Specific Character Set, if it is there, is ISO_IR 192: what the JSON is encoded in.",
     "00080005 is ISO_IR 192", dicom_json.CHARACTER_SET, "character_set_is_utf_8"),
    ("ENC-26", "F.2.3", Level.SHALL,
     "Values of the text VRs are JSON strings.",
     "texts", dicom_json.STRINGS, "texts_are_json_strings"),
)  # fmt: skip
for _row in _JSON_RULES:
    _json_rule(*_row)


async def _metadata(target: Target, instance: Instance) -> Data:
    answer = await target.get(f"{instance.path}/metadata")
    found = answer.datasets()
    need(len(found) == 1, f"its metadata cannot be retrieved: {answer.status}")
    return found[0]


def _private(data: Data, element: int) -> Data:
    """The attribute of the private block of F9. Raises Unmet: it is not there (MET-05 judges)."""
    for tag in data:
        if tag[:6] == "000900" and dicom_json.text(data, tag) == ACME:
            found = data.get(f"0009{tag[6:]}{element:02X}")
            if isinstance(found, dict):
                return found
    name = f"(0009,xx{element:02X})"
    raise Unmet(f"the private attribute {name} of the kitchen sink is missing, which MET-05 judges")


def _private_values(data: Data, element: int, vr: str) -> list[object]:
    attribute = _private(data, element)
    need(attribute.get("vr") == vr, f"it is returned as {attribute.get('vr')}, not as {vr}")
    values = attribute.get("Value")
    if not isinstance(values, list):
        raise Unmet("it has no Value")
    return values


def _sink(target: Target) -> Instance:
    return target.study(Fixture.F9).instance("sink")


@case(
    "ENC-05",
    section="F.2.5",
    level=Level.SHALL,
    requirement="An empty attribute has vr alone.",
    request="metadata of F9, whose Study Description is empty; and all JSON that the run has met",
    expected='"00081030": {"vr": "LO"}',
    needs=(*_ANY_DATA, Fixture.F9),
)
async def empty_attributes_have_vr_alone(target: Target) -> None:
    description = (await _metadata(target, _sink(target))).get("00081030")
    need(description is not None, "the empty Study Description is missing (MET-05 judges that)")
    expect(description == {"vr": "LO"}, "the empty 00081030 has more than its vr")
    await _expect_json(target, dicom_json.EMPTY)


@case(
    "ENC-06",
    section="F.2.5",
    level=Level.SHALL,
    requirement="An empty value among several is null.",
    request="metadata of F9, whose Software Versions have an empty value between two others",
    expected='"00181020": {"vr": "LO", "Value": ["one", null, "three"]}',
    needs=_SINK,
)
async def empty_value_among_several_is_null(target: Target) -> None:
    values = dicom_json.values_of(await _metadata(target, _sink(target)), "00181020")
    need(bool(values), "Software Versions are missing (MET-05 judges that)")
    expect(values == ["one", None, "three"], "00181020 is not one, null, three")


@case(
    "ENC-07",
    section="F.2.5",
    level=Level.SHALL,
    requirement="An empty item of a sequence is an empty object.",
    request="metadata of F9, which has a private sequence with an empty second item",
    expected="two items, the second {}",
    needs=_SINK,
)
async def empty_item_is_an_empty_object(target: Target) -> None:
    items = _private_values(await _metadata(target, _sink(target)), 0x0B, "SQ")
    expect(len(items) == 2, f"expected 2 items, got {len(items)}")
    expect(items[1] == {}, "the empty item is not {}")


@case(
    "ENC-10",
    section="F.2.3",
    level=Level.SHALL,
    requirement="Values of DS, IS, SV and UV are numbers or their texts, and keep their value.",
    request="metadata of F9, which has an SV of -2^63 and a UV of 2^64-1",
    expected="-9223372036854775808 and 18446744073709551615, as numbers or as texts",
    needs=(*_ANY_DATA, Fixture.F9),
)
async def long_integers_keep_their_value(target: Target) -> None:
    await _expect_json(target, dicom_json.DECIMALS)
    data = await _metadata(target, _sink(target))
    for element, vr, stored in ((0x04, "SV", -(2**63)), (0x05, "UV", 2**64 - 1)):
        got = _private_values(data, element, vr)
        expect([str(value) for value in got] == [str(stored)], f"a value of {vr} is another one")


@case(
    "ENC-11",
    section="F.2.3",
    level=Level.SHALL,
    requirement="A value of AT is 8 upper-case hexadecimal digits.",
    request="metadata of F9, which has a private AT of (0008,0018) and (0020,000D)",
    expected='["00080018", "0020000D"]',
    needs=(*_ANY_DATA, Fixture.F9),
)
async def tags_are_upper_case_hexadecimal(target: Target) -> None:
    await _expect_json(target, dicom_json.TAGS)
    got = _private_values(await _metadata(target, _sink(target)), 0x02, "AT")
    expect(got == ["00080018", "0020000D"], "the AT is not 00080018, 0020000D")


@case(
    "ENC-12",
    section="F.2.2, F.2.3",
    level=Level.SHALL,
    requirement="InlineBinary is the base64 of the whole value, of a binary VR.",
    request="metadata of F9, which has private OB and UN values of 4 bytes; and all JSON seen",
    expected="base64 of the stored bytes, for OB OD OF OL OV OW UN alone",
    needs=(*_ANY_DATA, Fixture.F9),
)
async def inline_binary_is_the_whole_value(target: Target) -> None:
    data = await _metadata(target, _sink(target))
    await _expect_json(target, dicom_json.INLINE)
    for element, stored in ((0x08, b"\x00\x01\x02\xff"), (0x0A, b"\x01\x02\x03\x04")):
        written = _private(data, element).get("InlineBinary")
        if isinstance(written, str):
            held = dicom_json.inline_bytes(written) == stored
            expect(held, f"the InlineBinary of (0009,xx{element:02X}) is not what was stored")


def _bulk_uris(data: object) -> Iterator[str]:
    if isinstance(data, dict):
        uri = data.get("BulkDataURI")
        if isinstance(uri, str):
            yield uri
        for below in data.values():
            yield from _bulk_uris(below)
    elif isinstance(data, list):
        for below in data:
            yield from _bulk_uris(below)


@case(
    "ENC-13",
    section="F.2.2, 10.4.3.3.2",
    level=Level.SHALL,
    requirement="A BulkDataURI stands for a value of a VR that may have one, and can be followed.",
    request="GET every BulkDataURI in the metadata of F9 (the first 10), Accept: octet-stream",
    expected="200 with the bytes",
    needs=(*_ANY_DATA, Fixture.F9),
)
async def bulk_data_uris_can_be_followed(target: Target) -> None:
    await _expect_json(target, dicom_json.BULK)
    instance = _sink(target)
    uris = list(_bulk_uris(await _metadata(target, instance)))
    need(bool(uris), "the metadata of F9 has no BulkDataURI")
    for uri in uris[:_MAX_FOLLOWED]:
        url = target.absolute(uri, path=f"{instance.path}/metadata")
        (await target.get(url, accept=OCTETS)).parts()


@case(
    "ENC-16",
    section="F.2",
    level=Level.SHALL,
    requirement="JSON has no NaN and no Infinity: such values are sent in another way.",
    request="metadata of an instance of F9 that has a private FD of NaN and Infinity",
    expected="200 and valid JSON",
    needs=_SINK,
)
async def not_a_number_is_no_bare_token(target: Target) -> None:
    instance = target.study(Fixture.F9).instance("not a number")
    answer = await target.get(f"{instance.path}/metadata")
    answer.expect_status(200)
    found = answer.datasets()  # refuses bare NaN
    is_there = bool(found) and dicom_json.text(found[0], "00080018") == instance.sop_instance_uid
    need(is_there, "there are no metadata of it, which MET-02 judges")
    attribute = _private(found[0], 0x03)
    kinds = sorted(set(attribute) - {"vr"})
    target.note(f"NaN and Infinity come as {', '.join(kinds) or 'an empty attribute'}")


async def _xml_of(target: Target, instance: Instance) -> native_xml.Document:
    answer = await target.get(f"{instance.path}/metadata", accept=DICOM_XML)
    need(answer.status == 200, f"metadata cannot be retrieved as XML: {answer.status}")
    documents = answer.xml_documents()
    expect(len(documents) == 1, f"{answer.asked}: expected 1 part, got {len(documents)}")
    return documents[0]


def _documents(answer: Response) -> list[native_xml.Document]:
    """Of metadata and search results, in parts; or of the response to a store, alone."""
    if answer.media_type.name == "multipart/related":
        return answer.xml_documents()
    try:
        return [native_xml.read(answer.content)]
    except native_xml.NotReadable as error:
        raise Violated(f"{answer.asked}: {error}") from None


async def _expect_xml(target: Target, *rules: str) -> None:
    study = target.study(Fixture.F1)
    await target.get(f"{study.path}/metadata", accept=DICOM_XML)
    if target.has(Fixture.F9):
        await target.get(f"{_sink(target).path}/metadata", accept=DICOM_XML)
    seen = 0
    for answer in target.seen.xml:
        inspection = Inspection()
        for document in _documents(answer):
            inspection.add(native_xml.inspect(document))
        for rule in rules:
            seen += inspection.seen[rule]
            for finding in inspection.of(rule)[:1]:
                number = len(inspection.of(rule))
                text = f"{answer.asked}: {finding.where} {finding.what} ({number} in this payload)"
                expect(False, text)
    need(seen > 0, "metadata cannot be retrieved as XML")


@case(
    "ENC-18",
    section="PS3.19 A.1.5",
    level=Level.SHALL,
    requirement="The root is NativeDicomModel in the namespace of PS3.19, with"
    ' xml:space="preserve".',
    request=_XML_EVERYWHERE,
    expected='NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"',
    needs=_ANY_DATA,
)
async def xml_root_is_native_dicom_model(target: Target) -> None:
    await _expect_xml(target, native_xml.ROOT)


@case(
    "ENC-19",
    section="PS3.19 A.1.5",
    level=Level.SHALL,
    requirement="A DicomAttribute has tag and vr, a known one its keyword, a private one its"
    " creator and a tag gggg00ee.",
    request=_XML_EVERYWHERE,
    expected="tag, vr, keyword, privateCreator as the schema wants them",
    needs=_ANY_DATA,
    wants=(Fixture.F9,),
)
async def xml_attributes_are_named(target: Target) -> None:
    await _expect_xml(target, native_xml.ATTRIBUTES)


@case(
    "ENC-20",
    section="PS3.19 A.1.5",
    level=Level.SHALL,
    requirement="Value, Item and PersonName are numbered from 1 in steps of 1.",
    request=_XML_EVERYWHERE,
    expected='number="1", "2", ... an empty value is an empty element',
    needs=_ANY_DATA,
)
async def xml_values_are_numbered(target: Target) -> None:
    await _expect_xml(target, native_xml.NUMBERING)


@case(
    "ENC-21",
    section="PS3.19 A.1.5",
    level=Level.SHALL,
    requirement="An attribute has one kind of content, which suits its VR; none if it is empty.",
    request=_XML_EVERYWHERE,
    expected="only one of Value, Item, PersonName, BulkData, InlineBinary; no group lengths",
    needs=_ANY_DATA,
)
async def xml_content_is_of_one_kind(target: Target) -> None:
    await _expect_xml(target, native_xml.CONTENT, native_xml.GROUP_LENGTH)


@case(
    "ENC-22",
    section="F.3.1",
    level=Level.SHALL,
    requirement="The XML and the JSON of the same instance are the same data set.",
    request="metadata of a CT slice of F1 and of F9, as XML and as JSON",
    expected="the same attributes with the same values",
    needs=_ANY_DATA,
    wants=(Fixture.F9,),
)
async def xml_and_json_are_the_same_data_set(target: Target) -> None:
    instances = [target.study(Fixture.F1).series("CT")[0]]
    if target.has(Fixture.F9):
        instances.append(_sink(target))
    for instance in instances:
        in_json = await _metadata(target, instance)
        in_xml = native_xml.to_json(await _xml_of(target, instance))
        found = equivalence.differences(in_json, in_xml)
        expect(not found, f"{len(found)} differences, the first: {'; '.join(found[:3])}")


@case(
    "ENC-24",
    section="8.7.3.4, PS3.5 6.2.2",
    level=Level.SHALL,
    requirement="A value too long for the length field of its VR is not cut: it becomes UN.",
    request="GET the instance of F9 whose private DS has 14000 values (69999 bytes), as a file",
    expected="the whole value",
    needs=_SINK,
)
async def long_values_are_not_cut(target: Target) -> None:
    instance = target.study(Fixture.F9).instance("long")
    answer = await target.get(instance.path, accept=DICOM)
    returned = answer.files()[0].dataset
    stored = instance.original.private_block(0x0009, ACME)[0x09].value
    need(ACME in [str(each.value) for each in returned.group_dataset(0x0009)], "it is missing")
    got = returned.private_block(0x0009, ACME)[0x09].value
    written = got if isinstance(got, bytes) else "\\".join(map(str, got)).encode()
    held = written.rstrip(b" ") == bytes(stored).rstrip(b" ")
    expect(held, f"{answer.asked}: {len(written)} bytes of {len(bytes(stored))} are there")
