"""CON: what came in by one door is found and retrieved by the other, and is the same."""

import re
from typing import Final

from dicomweb_conformance import dicom_json, media_types, part10
from dicomweb_conformance.cases import case, need_passed
from dicomweb_conformance.chapters.dimse import (
    EXPLICIT,
    STUDY_FIND,
    find,
    instances_of_a_series_are_found,
    keys,
    retrieve,
    store,
)
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, expect, need

_BOTH: Final = (Fixture.F1, Feature.DIMSE, Feature.SEARCH)
_RETRIEVED: Final = (Fixture.F1, Feature.DIMSE, Feature.RETRIEVE)
_COMPARED: Final = {
    "StudyInstanceUID": "0020000D",
    "StudyDate": "00080020",
    "StudyTime": "00080030",
    "AccessionNumber": "00080050",
    "PatientID": "00100020",
    "StudyID": "00200010",
    "NumberOfStudyRelatedSeries": "00201206",
    "NumberOfStudyRelatedInstances": "00201208",
}


@case(
    "CON-01",
    section="10.6.1, PS3.4 C.6.2.1",
    level=Level.SHOULD,
    requirement="C-FIND and the search of studies say the same of a study.",
    request="C-FIND STUDY and GET {b}/studies, both with StudyInstanceUID={S1}",
    expected="equal values of the attributes that both return",
    needs=_BOTH,
)
async def both_searches_say_the_same_of_a_study(target: Target) -> None:
    study = target.study(Fixture.F1).uid
    wanted = {**dict.fromkeys(_COMPARED), "StudyInstanceUID": study}
    found = await find(target, STUDY_FIND, keys("STUDY", **wanted))
    rows = (await target.get("/studies", query={"StudyInstanceUID": study})).datasets()
    need(len(found.identifiers) == len(rows) == 1, "one of the two does not find the study")
    compared = 0
    for keyword, tag in _COMPARED.items():
        dimse, web = str(found.identifiers[0].get(keyword, "")), dicom_json.text(rows[0], tag)
        if dimse and web:
            expect(_plain(dimse) == _plain(web), f"C-FIND and search differ in {keyword}")
            compared += 1
    need(compared > 1, "the two have no attribute in common")
    target.note(f"{compared} attributes compared")


def _plain(value: str) -> str:
    """Without what may be written otherwise: padding, a fraction of a second that is zero."""
    return re.sub(r"\.0+$", "", value.strip())


@case(
    "CON-02",
    section="10.6.1, PS3.4 C.6.2.1",
    level=Level.SHOULD,
    requirement="C-FIND and the search of instances find the same instances.",
    request="C-FIND IMAGE and GET {b}/studies/{S1}/series/{R1}/instances",
    expected="the same SOP Instance UIDs",
    needs=_BOTH,
)
async def both_searches_find_the_same_instances(target: Target) -> None:
    first = target.study(Fixture.F1).series("CT")[0]
    named = {"StudyInstanceUID": first.study_uid, "SeriesInstanceUID": first.series_uid}
    found = await find(target, STUDY_FIND, keys("IMAGE", **named, SOPInstanceUID=None))
    rows = (await target.get(f"{first.series_path}/instances")).datasets()
    need(bool(rows), "the search finds no instances")
    by_dimse = sorted(str(each.get("SOPInstanceUID")) for each in found.identifiers)
    by_web = sorted(dicom_json.text(row, "00080018") for row in rows)
    counts = f"C-FIND finds {len(by_dimse)} instances, the search {len(by_web)}"
    if by_dimse != by_web:
        words = "C-FIND of instances is not right, which DIM-08 judges"
        await need_passed(target, instances_of_a_series_are_found, words)
    expect(by_dimse == by_web, f"they find different instances: {counts}")


async def _file(target: Target, path: str) -> part10.File:
    answer = await target.get(path, accept=media_types.DICOM)
    files = answer.files()
    need(len(files) == 1, f"{answer.asked}: {len(files)} files, not one")
    return files[0]


@case(
    "CON-03",
    section="10.4.1, PS3.4 C.4.3",
    level=Level.SHOULD,
    requirement="C-GET and the retrieval of an instance send the same data set.",
    request="C-GET IMAGE of slice 1, and GET {b}/.../instances/{I1}",
    expected="the same attributes and the same pixels",
    needs=_RETRIEVED,
)
async def both_retrievals_send_the_same(target: Target) -> None:
    first = target.study(Fixture.F1).series("CT")[0]
    got = await retrieve(
        target,
        keys(
            "IMAGE",
            StudyInstanceUID=first.study_uid,
            SeriesInstanceUID=first.series_uid,
            SOPInstanceUID=first.sop_instance_uid,
        ),
    )
    need(len(got.datasets) == 1, f"C-GET of one instance sends {len(got.datasets)}")
    file = await _file(target, first.path)
    differences = part10.differences(file.dataset, got.datasets[0])
    expect(not differences, f"C-GET and the retrieval differ: {', '.join(differences[:5])}")
    one, other = (part10.bytes_of(each, "PixelData") for each in (got.datasets[0], file.dataset))
    expect(one == other, "C-GET and the retrieval differ in the pixels")


@case(
    "CON-04",
    section="10.4.1, PS3.4 B.2.3",
    level=Level.SHOULD,
    requirement="What was stored by C-STORE is retrieved from the studies service as it was.",
    request="C-STORE of a slice, then GET {b}/.../instances/{it}",
    expected="200; the same attributes and the same pixels",
    needs=(*_RETRIEVED, Feature.WRITING),
)
async def stored_by_dimse_is_retrieved(target: Target) -> None:
    sent, status = await store(target, EXPLICIT)
    need(status == 0, f"C-STORE fails: 0x{status:04X}")
    path = (
        f"/studies/{sent.StudyInstanceUID}/series/{sent.SeriesInstanceUID}"
        f"/instances/{sent.SOPInstanceUID}"
    )
    file = await _file(target, path)
    differences = part10.differences(sent, file.dataset)
    expect(not differences, f"not what was stored by C-STORE: {', '.join(differences[:5])}")
    held = bytes(sent.PixelData) == part10.bytes_of(file.dataset, "PixelData")
    expect(held, "the pixels are not those that were stored by C-STORE")
