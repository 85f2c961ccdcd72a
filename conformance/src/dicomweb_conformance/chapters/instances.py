"""INS: instances as PS3.10 files (PS3.18 sections 8.7.3 and 10.4)."""

from typing import Final

from dicomweb_conformance import part10
from dicomweb_conformance.cases import case
from dicomweb_conformance.chapters.common import expect_not_acceptable
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.media_types import (
    ANY,
    DICOM,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_BASELINE,
    OCTETS,
    RLE,
    dicom_in,
)
from dicomweb_conformance.part10 import File
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, expect, need

_CT: Final = (Fixture.F1, Feature.RETRIEVE)
_RLE: Final = (Fixture.F7, Feature.RETRIEVE)
_JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
_UNKNOWN: Final = "2.25.404"
# What a server answers to something optional that it does not offer.
_NOT_OFFERED: Final = (400, 404, 405, 406, 415, 501)


def _slice(target: Target) -> Instance:
    return target.study(Fixture.F1).series("CT")[0]


def _expect_instances(answer: Response, instances: tuple[Instance, ...]) -> None:
    """Each of the instances once, and no other."""
    got = sorted(file.sop_instance_uid for file in answer.files())
    wanted = sorted(instance.sop_instance_uid for instance in instances)
    number = f"expected {len(wanted)} instances, got {len(got)}"
    expect(len(got) == len(wanted), f"{answer.asked}: {number}")
    expect(got == wanted, f"{answer.asked}: some are not those of the resource")


@case(
    "INS-01",
    section="10.4.1.1.1, 10.4.4",
    level=Level.SHALL,
    requirement="A study is all its instances, each in a part of its own.",
    request="GET {b}/studies/{S1} as parts of application/dicom",
    expected="200; 10 parts: 8 slices, a report, a presentation state",
    needs=_CT,
)
async def study_is_all_its_instances(target: Target) -> None:
    study = target.study(Fixture.F1)
    _expect_instances(await target.get(study.path, accept=DICOM), study.instances)


@case(
    "INS-02",
    section="10.4.1.1.1, 10.4.4",
    level=Level.SHALL,
    requirement="A series is all its instances, each in a part of its own.",
    request="GET {b}/studies/{S1}/series/{R1} as parts of application/dicom",
    expected="200; 8 parts",
    needs=_CT,
)
async def series_is_all_its_instances(target: Target) -> None:
    series = target.study(Fixture.F1).series("CT")
    _expect_instances(await target.get(series[0].series_path, accept=DICOM), series)


@case(
    "INS-03",
    section="10.4.1.1.1, 10.4.4",
    level=Level.SHALL,
    requirement="An instance is one part.",
    request="GET {b}/.../instances/{I1} as parts of application/dicom",
    expected="200; 1 part",
    needs=_CT,
)
async def instance_is_one_part(target: Target) -> None:
    _expect_instances(await target.get(_slice(target).path, accept=DICOM), (_slice(target),))


@case(
    "INS-04",
    section="10.4.4",
    level=Level.SHALL,
    requirement="An individual instance may be had as a single part; then it is the file alone.",
    request="GET {b}/.../instances/{I1}, Accept: application/dicom",
    expected="200, application/dicom; or 406 where it is not offered",
    needs=_CT,
)
async def single_part_is_the_file_alone(target: Target) -> None:
    instance = _slice(target)
    answer = await target.get(instance.path, accept="application/dicom")
    if answer.status in _NOT_OFFERED:
        raise NotClaimed(f"single parts are not offered: {answer.status}")
    answer.expect_status(200)
    answer.expect_media_type("application/dicom")
    try:
        file = part10.read(answer.content)
    except part10.NotReadable as error:
        expect(False, f"{answer.asked}: {error}")
        return
    held = file.sop_instance_uid == instance.sop_instance_uid
    expect(held, f"{answer.asked}: it is another instance")


@case(
    "INS-05",
    section="10.4.4",
    level=Level.SHALL,
    requirement="Several instances are never a single part.",
    request="GET {b}/studies/{S1}, Accept: application/dicom",
    expected="406; or multipart/related, the default, as Table 8.7.3-1 has it",
    needs=_CT,
)
async def study_as_single_part_is_406(target: Target) -> None:
    study = target.study(Fixture.F1)
    need(len(study.instances) > 1, "the study has one instance")
    plain = await target.get(study.path, accept=DICOM)
    need(plain.status == 200, f"nor can it be retrieved in parts: {plain.status}")
    answer = await target.get(study.path, accept="application/dicom")
    if answer.status != 200:
        await expect_not_acceptable(target, answer)
        return
    answer.files()
    target.note("200 in parts, the default media type, as Table 8.7.3-1 has it")


@case(
    "INS-06",
    section="8.7.3.4",
    level=Level.SHALL,
    requirement="An object stored losslessly compressed comes in Explicit VR Little Endian, unless"
    " another transfer syntax is asked for.",
    request="GET the instance of F7 (stored in RLE Lossless), without transfer-syntax",
    expected="(0002,0010) is 1.2.840.10008.1.2.1, and the pixels are those that were stored",
    needs=_RLE,
)
async def compressed_object_is_decompressed_by_default(target: Target) -> None:
    instance = target.instance(Fixture.F7)
    answer = await target.get(instance.path, accept=DICOM)
    (file,) = _one(answer)
    held = file.transfer_syntax == EXPLICIT_LE
    expect(held, f"{answer.asked}: the file is in {file.transfer_syntax}")
    stored = instance.original
    stored.decompress()
    held = part10.bytes_of(file.dataset, "PixelData") == bytes(stored.PixelData)
    expect(held, f"{answer.asked}: the pixels are not those that were stored")


def _one(answer: Response) -> list[File]:
    files = answer.files()
    expect(len(files) == 1, f"{answer.asked}: expected 1 part, got {len(files)}")
    return files


@case(
    "INS-07",
    section="8.7.3.5.2",
    level=Level.SHALL,
    requirement="transfer-syntax=* is supported: as stored, or Explicit VR Little Endian.",
    request="GET the instance of F7 (stored in RLE Lossless), transfer-syntax=*",
    expected="200; RLE Lossless or Explicit VR Little Endian",
    needs=_RLE,
)
async def any_transfer_syntax_is_as_stored_or_the_default(target: Target) -> None:
    answer = await target.get(target.instance(Fixture.F7).path, accept=dicom_in("*"))
    (file,) = _one(answer)
    held = file.transfer_syntax in (RLE, EXPLICIT_LE)
    expect(held, f"{answer.asked}: the file is in {file.transfer_syntax}")
    target.note(f"transfer-syntax=* of an RLE object gives {file.transfer_syntax}")


@case(
    "INS-08",
    section="8.7.3.5.2",
    level=Level.SHALL,
    requirement="A transfer syntax that is asked for and supported is the one that is sent.",
    request="GET the instance of F7 (stored in RLE Lossless), transfer-syntax=1.2.840.10008.1.2.5",
    expected="200 in RLE Lossless; or 406 where it is not offered",
    needs=_RLE,
)
async def asked_transfer_syntax_is_sent(target: Target) -> None:
    answer = await target.get(target.instance(Fixture.F7).path, accept=dicom_in(RLE))
    if answer.status in _NOT_OFFERED:
        raise NotClaimed(f"RLE Lossless is not offered: {answer.status}")
    (file,) = _one(answer)
    held = file.transfer_syntax == RLE
    expect(held, f"{answer.asked}: the file is in {file.transfer_syntax}")


async def _expect_refused(target: Target, transfer_syntax: str) -> None:
    """406; or the default, which Table 8.7.3-1 wants where nothing acceptable is supported."""
    instance = _slice(target)
    plain = await target.get(instance.path, accept=DICOM)
    need(plain.status == 200, f"the instance cannot be retrieved: {plain.status}")
    answer = await target.get(instance.path, accept=dicom_in(transfer_syntax))
    if answer.status != 200:
        await expect_not_acceptable(target, answer)
        return
    (file,) = _one(answer)
    held = file.transfer_syntax == EXPLICIT_LE
    expect(held, f"{answer.asked}: expected 406, and the file is in {file.transfer_syntax}")
    target.note("200 in the default transfer syntax, as Table 8.7.3-1 has it")


@case(
    "INS-09",
    section="8.7.3",
    level=Level.SHALL,
    requirement="Implicit VR Little Endian is not used in DICOMweb.",
    request="GET {b}/.../instances/{I1}, transfer-syntax=1.2.840.10008.1.2",
    expected="406; or Explicit VR Little Endian, the default, as Table 8.7.3-1 has it",
    needs=_CT,
)
async def implicit_vr_is_not_sent(target: Target) -> None:
    await _expect_refused(target, IMPLICIT_LE)


@case(
    "INS-10",
    section="8.7.3",
    level=Level.SHALL,
    requirement="Explicit VR Big Endian is not used in DICOMweb.",
    request="GET {b}/.../instances/{I1}, transfer-syntax=1.2.840.10008.1.2.2",
    expected="406; or Explicit VR Little Endian, the default, as Table 8.7.3-1 has it",
    needs=_CT,
)
async def big_endian_is_not_sent(target: Target) -> None:
    await _expect_refused(target, EXPLICIT_BE)


@case(
    "INS-11",
    section="8.7.3.4",
    level=Level.SHALL,
    requirement="An object of which only lossy pixels exist may come in their transfer syntax, even"
    " where none is asked for.",
    request="GET the instance of F2 (stored in JPEG Baseline), without transfer-syntax",
    expected="200; JPEG Baseline or Explicit VR Little Endian",
    needs=(Fixture.F2, Feature.RETRIEVE),
)
async def lossy_object_can_be_had_by_default(target: Target) -> None:
    answer = await target.get(target.instance(Fixture.F2).path, accept=DICOM)
    (file,) = _one(answer)
    held = file.transfer_syntax in (JPEG_BASELINE, EXPLICIT_LE)
    expect(held, f"{answer.asked}: the file is in {file.transfer_syntax}")
    target.note(f"a lossy object comes in {file.transfer_syntax} by default")


@case(
    "INS-12",
    section="8.7.3.5.2, 8.7.8.1",
    level=Level.SHALL,
    requirement="Of several transfer syntaxes the supported one with the highest weight is sent.",
    request="GET {b}/.../instances/{I1}, JPEG 2000 Lossless with q=1, Explicit VR LE with q=0.5",
    expected="JPEG 2000 Lossless if it can be had alone, else Explicit VR Little Endian",
    needs=_CT,
)
async def heaviest_supported_transfer_syntax_is_sent(target: Target) -> None:
    path = _slice(target).path
    alone = await target.get(path, accept=dicom_in(_JPEG_2000_LOSSLESS))
    best = _JPEG_2000_LOSSLESS if alone.status == 200 else EXPLICIT_LE
    accept = f"{dicom_in(_JPEG_2000_LOSSLESS, weight='1')}, {dicom_in(EXPLICIT_LE, weight='0.5')}"
    answer = await target.get(path, accept=accept)
    (file,) = _one(answer)
    held = file.transfer_syntax == best
    expect(held, f"{answer.asked}: expected {best}, the file is in {file.transfer_syntax}")


@case(
    "INS-13",
    section="8.7.8.1",
    level=Level.SHALL,
    requirement="Where no acceptable transfer syntax is supported, the answer is 406.",
    request="GET {b}/.../instances/{I1}, transfer-syntax=1.2.3.4.5",
    expected="406; or Explicit VR Little Endian, the default, as Table 8.7.3-1 has it",
    needs=_CT,
)
async def unknown_transfer_syntax_is_406_or_the_default(target: Target) -> None:
    await _expect_refused(target, "1.2.3.4.5")


@case(
    "INS-14",
    section="PS3.10 7.1",
    level=Level.SHALL,
    requirement="application/dicom is a PS3.10 file: preamble, DICM, complete group 0002.",
    request="GET {b}/studies/{S1} as PS3.10 files",
    expected="in each: DICM, (0002,0000), (0002,0001-0003), (0002,0010), (0002,0012), all right",
    needs=_CT,
)
async def files_have_their_meta_information(target: Target) -> None:
    answer = await target.get(target.study(Fixture.F1).path, accept=DICOM)
    for file in answer.files():
        found = part10.problems(file)
        expect(not found, f"{answer.asked}: {'; '.join(found)}")


@case(
    "INS-15",
    section="10.4.3.1",
    level=Level.SHALL,
    requirement="What does not exist is answered with 404.",
    request="GET an unknown study, an unknown series of S1, an unknown instance of R1",
    expected="404 each",
    needs=_CT,
)
async def unknown_resources_are_404(target: Target) -> None:
    instance = _slice(target)
    (await target.get(instance.path, accept=DICOM)).expect_status(200)
    for path in (
        f"/studies/{_UNKNOWN}",
        f"/studies/{instance.study_uid}/series/{_UNKNOWN}",
        f"{instance.series_path}/instances/{_UNKNOWN}",
    ):
        (await target.get(path, accept=DICOM)).expect_status(404)


@case(
    "INS-16",
    section="10.4.3.1",
    level=Level.SHALL,
    requirement="An instance is found in its own study and series alone.",
    request="GET a slice of S1 below the study and series of F7",
    expected="404",
    needs=(Fixture.F1, Fixture.F7, Feature.RETRIEVE),
)
async def instance_below_another_study_is_404(target: Target) -> None:
    instance, other = _slice(target), target.instance(Fixture.F7)
    (await target.get(instance.path, accept=DICOM)).expect_status(200)
    mixed = f"{other.series_path}/instances/{instance.sop_instance_uid}"
    (await target.get(mixed, accept=DICOM)).expect_status(404)


@case(
    "INS-17",
    section="8.3",
    level=Level.SHOULD,
    requirement="A path that is no UID is the client's fault.",
    request="GET {b}/studies/not-a-uid",
    expected="400 or 404",
    needs=_CT,
)
async def study_that_is_no_uid_is_400_or_404(target: Target) -> None:
    plain = await target.get(target.study(Fixture.F1).first.path, accept=DICOM)
    need(plain.status == 200, f"what is there cannot be retrieved either: {plain.status}")
    answer = await target.get("/studies/not-a-uid", accept=DICOM)
    answer.expect_status(400, 404)
    target.note(f"a study that is no UID: {answer.status}")


@case(
    "INS-18",
    section="10.4.4",
    level=Level.SHALL,
    requirement="application/octet-stream of an instance resource is its bulk data.",
    request="GET {b}/studies/{S1} as parts of application/octet-stream",
    expected="200; octet-stream parts, among them the pixel data of every slice",
    needs=_CT,
)
async def octet_stream_of_a_study_is_its_bulk_data(target: Target) -> None:
    study = target.study(Fixture.F1)
    wanted = [bytes(each.original.PixelData) for each in study.series("CT")]
    answer = await target.get(study.path, accept=OCTETS)
    got = {part.content for part in answer.parts("application/octet-stream")}
    missing = sum(pixels not in got for pixels in wanted)
    expect(not missing, f"{answer.asked}: the pixel data of {missing} slices is not there")


@case(
    "INS-19",
    section="10.5.2, PS3.4 B.4.1",
    level=Level.SHALL,
    requirement="What was stored comes back: every attribute, private and empty ones too, unless"
    " the object says in Original Attributes Sequence what was changed.",
    request="GET the instance of F9 (kitchen sink)",
    expected="the data set that was stored",
    needs=(Fixture.F9, Feature.RETRIEVE),
)
async def stored_object_comes_back_whole(target: Target) -> None:
    instance = target.study(Fixture.F9).instance("sink")
    answer = await target.get(instance.path, accept=DICOM)
    (file,) = _one(answer)
    found = part10.differences(instance.original, file.dataset)
    if found and "OriginalAttributesSequence" in file.dataset:
        target.note(f"changed, and said so in Original Attributes Sequence: {'; '.join(found)}")
        return
    expect(not found, f"{answer.asked}: {'; '.join(found[:5])}")


@case(
    "INS-20",
    section="8.7.7, 10.4.4",
    level=Level.SHALL,
    requirement="*/* stands for the default media type: of instances, parts of application/dicom.",
    request="GET {b}/.../instances/{I1}, Accept: */*",
    expected='200, multipart/related; type="application/dicom"',
    needs=_CT,
)
async def any_type_of_an_instance_is_multipart_dicom(target: Target) -> None:
    answer = await target.get(_slice(target).path, accept=ANY)
    answer.expect_status(200)
    answer.expect_media_type("multipart/related")
    _expect_instances(answer, (_slice(target),))


@case(
    "INS-21",
    section="10.4.3",
    level=Level.SHOULD,
    requirement="HEAD is answered as GET, without the payload (RFC 9110 section 9.3.2).",
    request="HEAD {b}/.../instances/{I1}",
    expected="the status and the media type of GET, and no payload",
    needs=_CT,
)
async def head_is_get_without_payload(target: Target) -> None:
    path = _slice(target).path
    full = await target.get(path, accept=DICOM)
    need(full.status == 200, f"the instance cannot be retrieved: {full.status}")
    answer = await target.request("HEAD", path, accept=DICOM)
    answer.expect_status(200)
    expect(not answer.content, f"{answer.asked}: a payload came")
    answer.expect_media_type(full.media_type.name)
