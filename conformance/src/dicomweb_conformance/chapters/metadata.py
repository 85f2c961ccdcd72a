"""MET: metadata (PS3.18 sections 10.4.1.1.2 and 10.4.3.3.2)."""

from typing import Final

from pydicom.dataset import Dataset

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case
from dicomweb_conformance.chapters.common import expect_not_acceptable
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.media_types import DICOM_JSON, DICOM_XML, OCTETS
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, Violated, expect, need

_CT: Final = (Fixture.F1, Feature.RETRIEVE)
_SOP_INSTANCE_UID: Final = "00080018"
_PIXEL_DATA: Final = "7FE00010"

Data = dict[str, object]


def _slice(target: Target) -> Instance:
    return target.study(Fixture.F1).series("CT")[0]


def _expect_instances(answer: Response, instances: tuple[Instance, ...]) -> None:
    answer.expect_status(200)
    got = sorted(dicom_json.text(data, _SOP_INSTANCE_UID) for data in answer.datasets())
    wanted = sorted(instance.sop_instance_uid for instance in instances)
    number = f"expected {len(wanted)} objects, got {len(got)}"
    expect(len(got) == len(wanted), f"{answer.asked}: {number}")
    expect(got == wanted, f"{answer.asked}: some are not of the instances of the resource")


def _are_of(found: list[Data], instances: tuple[Instance, ...]) -> bool:
    """Are there metadata, and of nothing else? Whether of all of them, MET-01 and -02 judge."""
    known = {instance.sop_instance_uid for instance in instances}
    return bool(found) and all(dicom_json.text(each, _SOP_INSTANCE_UID) in known for each in found)


@case(
    "MET-01",
    section="10.4.1.1.2, 10.4.4",
    level=Level.SHALL,
    requirement="The metadata of a study are one array of the metadata of all its instances.",
    request="GET {b}/studies/{S1}/metadata, Accept: application/dicom+json",
    expected="200, application/dicom+json; an array of 10 objects",
    needs=_CT,
)
async def metadata_of_a_study_are_of_all_instances(target: Target) -> None:
    study = target.study(Fixture.F1)
    _expect_instances(await target.get(f"{study.path}/metadata"), study.instances)


@case(
    "MET-02",
    section="10.4.1.1.2, 10.4.4",
    level=Level.SHALL,
    requirement="The metadata of a series and of an instance are arrays too.",
    request="GET .../series/{R1}/metadata and .../instances/{I1}/metadata",
    expected="arrays of 8 objects and of 1",
    needs=_CT,
)
async def metadata_of_series_and_instance_are_arrays(target: Target) -> None:
    series = target.study(Fixture.F1).series("CT")
    _expect_instances(await target.get(f"{series[0].series_path}/metadata"), series)
    _expect_instances(await target.get(f"{series[0].path}/metadata"), series[:1])


@case(
    "MET-03",
    section="10.4.4",
    level=Level.SHALL,
    requirement="Metadata can be had as XML: one part for each instance.",
    request="GET {b}/studies/{S1}/metadata as parts of application/dicom+xml",
    expected="200; 10 parts of application/dicom+xml",
    needs=_CT,
)
async def metadata_as_xml_are_one_part_each(target: Target) -> None:
    study = target.study(Fixture.F1)
    answer = await target.get(f"{study.path}/metadata", accept=DICOM_XML)
    got = len(answer.xml_documents())
    expected = len(study.instances)
    expect(got == expected, f"{answer.asked}: expected {expected} parts, got {got}")


@case(
    "MET-04",
    section="10.4.1.1.2, F.2.2",
    level=Level.SHALL,
    requirement="Metadata are the data set without file meta information and group lengths.",
    request="GET {b}/studies/{S1}/metadata",
    expected="no key of group 0002, none that ends in 0000",
    needs=_CT,
)
async def metadata_have_no_file_meta_information(target: Target) -> None:
    answer = await target.get(f"{target.study(Fixture.F1).path}/metadata")
    found = answer.datasets()
    need(_are_of(found, target.study(Fixture.F1).instances), "there are no metadata of it")
    wrong = {tag for data in found for tag in data if tag[:4] == "0002" or tag[4:] == "0000"}
    expect(not wrong, f"{answer.asked}: holds {', '.join(sorted(wrong))}")


def _missing(stored: Dataset, data: Data) -> list[str]:
    """The attributes of the data set that the metadata lack; private ones by their creator."""
    creators = {
        dicom_json.text(data, tag): tag[6:]
        for tag in data
        if dicom_json.is_private(tag) and tag[4:6] == "00"
    }
    found = []
    for element in stored:
        tag = element.tag
        if tag.element == 0 or tag.is_private_creator:
            continue
        name = f"{tag:08X}"
        if tag.is_private:
            block = creators.get(str(element.private_creator), "no block")
            name = f"{tag.group:04X}{block}{tag.element & 0xFF:02X}"
        if name not in data:
            found.append(f"{tag}")
    return found


@case(
    "MET-05",
    section="10.4.3.3.2",
    level=Level.SHALL,
    requirement="Metadata have all attributes, private and empty ones too; bulk data by reference,"
    " if at all, and only of the VRs that may be.",
    request="GET {b}/.../metadata of F9 (kitchen sink)",
    expected="every attribute that was stored; BulkDataURI for the VRs of 10.4.3.3.2 alone",
    needs=(Fixture.F9, Feature.RETRIEVE),
)
async def metadata_have_all_attributes(target: Target) -> None:
    instance = target.study(Fixture.F9).instance("sink")
    answer = await target.get(f"{instance.path}/metadata")
    found = answer.datasets()
    expect(len(found) == 1, f"{answer.asked}: expected 1 object, got {len(found)}")
    missing = _missing(instance.original, found[0])
    expect(not missing, f"{answer.asked}: missing {', '.join(missing)}")
    wrong = dicom_json.inspect(answer.content).of(dicom_json.BULK)
    expect(not wrong, f"{answer.asked}: {'; '.join(f'{w.where} {w.what}' for w in wrong)}")


@case(
    "MET-06",
    section="10.4.3.3.2",
    level=Level.SHALL,
    requirement="Pixel Data is in the metadata, with its vr and a way to its value.",
    request="GET {b}/.../instances/{I1}/metadata",
    expected="7FE00010 with vr OW (or OB) and a BulkDataURI or InlineBinary",
    needs=_CT,
)
async def pixel_data_is_in_the_metadata(target: Target) -> None:
    await _pixel_data(target, _slice(target))


async def _pixel_data(target: Target, instance: Instance) -> Data:
    """The member 7FE00010 of the metadata. Raises Violated: it is not there, or empty."""
    answer = await target.get(f"{instance.path}/metadata")
    found = answer.datasets()
    attribute = found[0].get(_PIXEL_DATA) if found else None
    if not isinstance(attribute, dict):
        raise Violated(f"{answer.asked}: there is no {_PIXEL_DATA}")
    need(_are_of(found, (instance,)), f"{answer.asked}: metadata of something else")
    expect(attribute.get("vr") in ("OW", "OB"), f"{answer.asked}: {_PIXEL_DATA} has no vr OW or OB")
    held = "BulkDataURI" in attribute or "InlineBinary" in attribute
    expect(held, f"{answer.asked}: {_PIXEL_DATA} has neither BulkDataURI nor InlineBinary")
    return attribute


@case(
    "MET-07",
    section="10.4.1.1.5",
    level=Level.SHALL,
    requirement="The BulkDataURI of Pixel Data leads to its bytes, little endian, without header.",
    request="GET the BulkDataURI of 7FE00010 as parts of application/octet-stream",
    expected="200; the bytes that were stored",
    needs=_CT,
)
async def bulk_data_uri_leads_to_the_pixels(target: Target) -> None:
    instance = _slice(target)
    stored = bytes(instance.original.PixelData)
    attribute = await _pixel_data(target, instance)
    inline = attribute.get("InlineBinary")
    if isinstance(inline, str):
        target.note("the pixels are in the metadata themselves, as InlineBinary")
        expect(dicom_json.inline_bytes(inline) == stored, "the InlineBinary is not what was stored")
        return
    url = target.absolute(str(attribute["BulkDataURI"]), path=f"{instance.path}/metadata")
    answer = await target.get(url, accept=OCTETS)
    parts = answer.parts("application/octet-stream")
    expect(len(parts) == 1, f"{answer.asked}: expected 1 part, got {len(parts)}")
    expect(parts[0].content == stored, f"{answer.asked}: not the bytes that were stored")


@case(
    "MET-08",
    section="10.4.4",
    level=Level.SHOULD,
    requirement="JSON metadata are never in parts.",
    request="GET {b}/studies/{S1}/metadata as parts of application/dicom+json",
    expected="406; or the JSON without parts",
    needs=_CT,
)
async def json_is_never_in_parts(target: Target) -> None:
    path = f"{target.study(Fixture.F1).path}/metadata"
    plain = await target.get(path)
    need(plain.status == 200, f"there are no metadata: {plain.status}")
    accept = 'multipart/related; type="application/dicom+json"'
    answer = await target.get(path, accept=accept)
    await expect_not_acceptable(target, answer, 200)
    if answer.status == 200:
        answer.expect_media_type(DICOM_JSON)
    target.note(f"JSON in parts: {answer.status}")


@case(
    "MET-09",
    section="10.4.3.1",
    level=Level.SHALL,
    requirement="The metadata of what does not exist are answered with 404.",
    request="GET {b}/studies/{unknown}/metadata",
    expected="404",
    needs=_CT,
)
async def metadata_of_an_unknown_study_are_404(target: Target) -> None:
    (await target.get(f"{target.study(Fixture.F1).path}/metadata")).expect_status(200)
    (await target.get("/studies/2.25.404/metadata")).expect_status(404)


@case(
    "MET-10",
    section="10.4.1.1.2",
    level=Level.SHALL,
    requirement="The transfer syntax in which an object is stored is no part of its metadata.",
    request="GET {b}/.../metadata of F7 (stored in RLE Lossless)",
    expected="no 00020010",
    needs=(Fixture.F7, Feature.RETRIEVE),
)
async def metadata_do_not_say_the_transfer_syntax(target: Target) -> None:
    answer = await target.get(f"{target.instance(Fixture.F7).path}/metadata")
    found = answer.datasets()
    need(_are_of(found, (target.instance(Fixture.F7),)), "there are no metadata of it")
    expect("00020010" not in found[0], f"{answer.asked}: holds 00020010")


@case(
    "MET-11",
    section="8.6.1.2",
    level=Level.SHOULD,
    requirement="Each part of XML metadata has a Content-Location that names its resource.",
    request="GET {b}/studies/{S1}/metadata as parts of application/dicom+xml",
    expected="a Content-Location with each part, all different",
    needs=_CT,
)
async def parts_of_xml_metadata_name_their_resource(target: Target) -> None:
    answer = await target.get(f"{target.study(Fixture.F1).path}/metadata", accept=DICOM_XML)
    need(answer.status == 200, f"metadata cannot be had as XML: {answer.status}")
    locations = [part.location for part in answer.parts()]
    expect(None not in locations, f"{answer.asked}: a part has no Content-Location")
    expect(len(set(locations)) == len(locations), f"{answer.asked}: two parts have the same")
