"""QID: the resources of a search, and what its results hold (QIDO-RS, section 10.6)."""

from typing import Final

from dicomweb_conformance import dicom_json, native_xml
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture
from dicomweb_conformance.media_types import ANY, DICOM, DICOM_JSON, DICOM_XML, dicom_in
from dicomweb_conformance.searches import (
    CT_STUDY,
    INSTANCE_UID,
    SERIES_UID,
    STUDY_UID,
    Scope,
    ct_slice,
    expect_all_modalities,
    in_instances,
    in_series,
    in_studies,
    lacking,
    need_found,
    nobody,
    row_of,
    tag_of,
    uids_in,
)
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, NotClaimed, expect, need

_RETRIEVE_URL: Final = "00081190"
# What a result holds, if with a zero length: R and U in PS3.18 Tables 10.6.3-3, -4 and -5.
_OF_STUDY: Final = (
    "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName",
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
    "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
)  # fmt: skip
_OF_SERIES: Final = (
    "Modality", "RetrieveURL", "SeriesInstanceUID", "SeriesNumber",
    "NumberOfSeriesRelatedInstances",
)  # fmt: skip
_OF_INSTANCE: Final = ("SOPClassUID", "SOPInstanceUID", "RetrieveURL", "InstanceNumber")
_AVAILABILITIES: Final = frozenset({"ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE"})


@case(
    "QID-01",
    section="10.6.1.1, 10.3",
    level=Level.SHALL,
    requirement="Studies, series and instances can be searched for through all six resources.",
    request="GET /studies, /series, /instances, /studies/{S1}/series, /studies/{S1}/instances,"
    " .../{R1}/instances",
    expected="200 each, one top-level array with what was stored",
    needs=CT_STUDY,
)
async def all_six_resources_answer(target: Target) -> None:
    instance = ct_slice(target)
    study, own = f"/studies/{instance.study_uid}", f"StudyInstanceUID={instance.study_uid}"
    for path, query, tag, uid in (
        ("/studies", own, STUDY_UID, instance.study_uid),
        ("/series", own, SERIES_UID, instance.series_uid),
        ("/instances", own, INSTANCE_UID, instance.sop_instance_uid),
        (f"{study}/series", "", SERIES_UID, instance.series_uid),
        (f"{study}/instances", "", INSTANCE_UID, instance.sop_instance_uid),
        (f"{instance.series_path}/instances", "", INSTANCE_UID, instance.sop_instance_uid),
    ):
        answer = await target.get(path, query=query)
        answer.expect_status(200)
        row_of(answer, tag, uid)


@case(
    "QID-02",
    section="10.6.3.1, 8.3.4.4.1",
    level=Level.SHALL,
    requirement="A search that nothing matches is answered with 204 and no payload, or, in editions"
    " since CP-2473, with 200 and an empty one.",
    request="GET {b}/studies?StudyInstanceUID={a UID that nothing has}",
    expected="204, no payload; or 200 with an empty one",
    needs=CT_STUDY,
)
async def nothing_found_is_success_without_results(target: Target) -> None:
    await need_found(target, in_studies(target.study(Fixture.F1)))
    answer = await target.get("/studies", query=f"StudyInstanceUID={nobody(target)}")
    target.expect_no_results(answer)


@case(
    "QID-03",
    section="10.6.4",
    level=Level.SHALL,
    requirement="DICOM JSON is the default media type of search results.",
    request="GET {b}/studies?StudyInstanceUID={S1}, Accept: */*",
    expected="200, application/dicom+json",
    needs=CT_STUDY,
)
async def default_type_of_results_is_json(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    await need_found(target, scope)
    answer = await target.get(scope.path, query=scope.own, accept=ANY)
    answer.expect_status(200)
    answer.expect_media_type(DICOM_JSON)


@case(
    "QID-04",
    section="10.6.4",
    level=Level.SHALL,
    requirement="Search results can be had in XML, one part for each.",
    request='GET {b}/studies/{S1}/series, Accept: multipart/related; type="application/dicom+xml"',
    expected="200; as many parts as there are results in JSON, of the same series",
    needs=CT_STUDY,
)
async def results_can_be_xml(target: Target) -> None:
    path = in_series(target).path
    plain = await target.get(path)
    need(plain.status == 200, f"they cannot be had in JSON: {plain.status}")
    answer = await target.get(path, accept=DICOM_XML)
    documents = map(native_xml.to_json, answer.xml_documents())
    found = sorted(dicom_json.text(each, SERIES_UID) for each in documents)
    wanted = sorted(uids_in(plain, SERIES_UID))
    expect(found == wanted, f"{answer.asked}: {len(found)} results, in JSON {len(wanted)} others")


@case(
    "QID-05",
    section="10.6.3.3.1",
    level=Level.SHALL,
    requirement="Each study in the results has the required attributes, with what is true of it.",
    request="GET {b}/studies?StudyInstanceUID={S1}",
    expected="R and U attributes of Table 10.6.3-3; numbers of series and instances; modalities",
    needs=CT_STUDY,
)
async def study_has_its_required_attributes(target: Target) -> None:
    study = target.study(Fixture.F1)
    row = await in_studies(study).row(target)
    missing = lacking(row, _OF_STUDY)
    expect(not missing, f"GET /studies: {', '.join(missing)} is not in the result")
    for keyword, wanted in (
        ("NumberOfStudyRelatedSeries", len({each.series_uid for each in study})),
        ("NumberOfStudyRelatedInstances", len(study.instances)),
    ):
        got = dicom_json.text(row, tag_of(keyword))
        expect(got == str(wanted), f"GET /studies: {keyword} is {got or 'empty'}, not {wanted}")
    expect_all_modalities(row, study)


@case(
    "QID-06",
    section="10.6.3.3.1",
    level=Level.SHALL,
    requirement="Each study that can be retrieved has its Retrieve URL in the results.",
    request="GET {b}/studies?StudyInstanceUID={S1}, then GET of the URL in (0008,1190)",
    expected="(0008,1190) with VR UR; 200 where it points",
    needs=(Fixture.F1, Feature.SEARCH, Feature.RETRIEVE),
)
async def retrieve_url_of_a_result_leads_to_the_study(target: Target) -> None:
    study = target.study(Fixture.F1)
    row = await in_studies(study).row(target)
    element = row.get(_RETRIEVE_URL)
    vr = element.get("vr") if isinstance(element, dict) else None
    expect(vr == "UR", "GET /studies: (0008,1190) is not there with VR UR")
    url = dicom_json.text(row, _RETRIEVE_URL)
    held = url.rstrip("/").endswith(study.path)
    expect(held, "GET /studies: (0008,1190) is not the URL of the study")
    if not url.startswith(target.base_url):
        target.note("the Retrieve URL is not below the base URL; it was not followed")
        return
    files = (await target.get(url, accept=DICOM)).files()
    found = {str(file.dataset.get("StudyInstanceUID", "")) for file in files}
    expect(found == {study.uid}, "behind the Retrieve URL is another study")


@case(
    "QID-07",
    section="10.6.3.3.2",
    level=Level.SHALL,
    requirement="Each series in the results has the required attributes, with what is true of it.",
    request="GET {b}/studies/{S1}/series",
    expected="R and U attributes of Table 10.6.3-4; the number of instances",
    needs=CT_STUDY,
)
async def series_has_its_required_attributes(target: Target) -> None:
    row = await in_series(target).row(target)
    missing = lacking(row, _OF_SERIES)
    expect(not missing, f"GET .../series: {', '.join(missing)} is not in the result")
    wanted = str(len(target.study(Fixture.F1).series("CT")))
    got = dicom_json.text(row, tag_of("NumberOfSeriesRelatedInstances"))
    expect(got == wanted, f"GET .../series: {got or 'no'} related instances, not {wanted}")


@case(
    "QID-08",
    section="10.6.3.3.3",
    level=Level.SHALL,
    requirement="Each instance in the results has the required attributes, with true values.",
    request="GET {b}/studies/{S1}/series/{R1}/instances",
    expected="R and U attributes of Table 10.6.3-5; Rows, Columns and Bits Allocated of an image",
    needs=CT_STUDY,
)
async def instance_has_its_required_attributes(target: Target) -> None:
    row = await in_instances(target).row(target)
    missing = lacking(row, (*_OF_INSTANCE, "Rows", "Columns", "BitsAllocated"))
    expect(not missing, f"GET .../instances: {', '.join(missing)} is not in the result")
    original = ct_slice(target).original
    for keyword in ("SOPClassUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated"):
        held = dicom_json.text(row, tag_of(keyword)) == str(original[keyword].value)
        expect(held, f"GET .../instances: {keyword} is not that of the instance")


@case(
    "QID-09",
    section="10.6.3.3.2",
    level=Level.SHALL,
    requirement="Series that are searched for in all studies come with the attributes of theirs.",
    request="GET {b}/series?SeriesInstanceUID={R1}",
    expected="attributes of Tables 10.6.3-3 and -4",
    needs=CT_STUDY,
)
async def series_of_all_studies_have_study_attributes(target: Target) -> None:
    uid = ct_slice(target).series_uid
    answer = await target.get("/series", query=f"SeriesInstanceUID={uid}")
    missing = lacking(row_of(answer, SERIES_UID, uid), (*_OF_STUDY, *_OF_SERIES))
    expect(not missing, f"{answer.asked}: {', '.join(missing)} is not in the result")


@case(
    "QID-10",
    section="10.6.3.3.3",
    level=Level.SHALL,
    requirement="Instances that are searched for in all studies come with the attributes of their"
    " study and series.",
    request="GET {b}/instances?SOPInstanceUID={I1}",
    expected="attributes of Tables 10.6.3-3, -4 and -5",
    needs=CT_STUDY,
)
async def instances_of_all_studies_have_all_attributes(target: Target) -> None:
    uid = ct_slice(target).sop_instance_uid
    answer = await target.get("/instances", query=f"SOPInstanceUID={uid}")
    row = row_of(answer, INSTANCE_UID, uid)
    missing = lacking(row, (*_OF_STUDY, *_OF_SERIES, *_OF_INSTANCE))
    expect(not missing, f"{answer.asked}: {', '.join(missing)} is not in the result")


@case(
    "QID-11",
    section="10.6.3.3.3",
    level=Level.SHALL,
    requirement="Instances that are searched for in a study come with the attributes of their"
    " series.",
    request="GET {b}/studies/{S1}/instances?SOPInstanceUID={I1}",
    expected="attributes of Tables 10.6.3-4 and -5",
    needs=CT_STUDY,
)
async def instances_of_a_study_have_series_attributes(target: Target) -> None:
    instance = ct_slice(target)
    query = f"SOPInstanceUID={instance.sop_instance_uid}"
    answer = await target.get(f"/studies/{instance.study_uid}/instances", query=query)
    row = row_of(answer, INSTANCE_UID, instance.sop_instance_uid)
    missing = lacking(row, (*_OF_SERIES, *_OF_INSTANCE))
    expect(not missing, f"{answer.asked}: {', '.join(missing)} is not in the result")


@case(
    "QID-55",
    section="10.6.3.1, 8.5",
    level=Level.SHALL,
    requirement="The series of a study that does not exist are none.",
    request="GET {b}/studies/{a UID that nothing has}/series",
    expected="204 or 404; or 200 with an empty payload",
    needs=CT_STUDY,
)
async def study_that_does_not_exist_has_no_series(target: Target) -> None:
    await need_found(target, in_series(target))
    answer = await target.get(f"/studies/{nobody(target)}/series")
    target.expect_no_results(answer, 404)
    target.note(f"series of a study that does not exist: {answer.status}")


@case(
    "QID-57",
    section="10.6.3.3.3",
    level=Level.MAY,
    requirement="The first of the available transfer syntaxes is one that can be retrieved.",
    request="GET {b}/instances?SOPInstanceUID={I7}, then GET of it in (0008,3002)",
    expected="200 in that transfer syntax, if it is named",
    needs=(Fixture.F7, Feature.SEARCH, Feature.RETRIEVE),
)
async def available_transfer_syntax_is_available(target: Target) -> None:
    instance = target.instance(Fixture.F7)
    own = f"SOPInstanceUID={instance.sop_instance_uid}"
    scope = Scope("/instances", own, INSTANCE_UID, instance.sop_instance_uid)
    syntax = dicom_json.text(
        await scope.row(target, "includefield=AvailableTransferSyntaxUID"), "00083002"
    )
    if not syntax:
        raise NotClaimed("AvailableTransferSyntaxUID is not among the attributes")
    answer = await target.get(instance.path, accept=dicom_in(syntax))
    got = {file.transfer_syntax for file in answer.files()}
    expect(got == {syntax}, f"(0008,3002) is {syntax}, but it comes in {', '.join(sorted(got))}")


@case(
    "QID-58",
    section="10.6.3.3.1, PS3.4 C.4.1.1.3.2",
    level=Level.SHALL,
    requirement="Instance Availability, where it is there, has one of its four values.",
    request="GET {b}/studies?StudyInstanceUID={S1}",
    expected="ONLINE, NEARLINE, OFFLINE or UNAVAILABLE",
    needs=CT_STUDY,
)
async def instance_availability_has_a_defined_value(target: Target) -> None:
    row = await in_studies(target.study(Fixture.F1)).row(target)
    if "00080056" not in row:
        raise NotClaimed("InstanceAvailability is not among the attributes")
    held = dicom_json.text(row, "00080056") in _AVAILABILITIES
    expect(held, "GET /studies: (0008,0056) has none of its defined values")


@case(
    "QID-61",
    section="10.6.4, 8.7.8.1",
    level=Level.SHALL,
    requirement="application/json, which is no media type of search results, is 406 or taken for"
    " DICOM JSON.",
    request="GET {b}/studies?StudyInstanceUID={S1}, Accept: application/json",
    expected="406, or 200 with JSON",
    needs=CT_STUDY,
)
async def plain_json_is_406_or_dicom_json(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    await need_found(target, scope)
    answer = await target.get(scope.path, query=scope.own, accept="application/json")
    answer.expect_status(200, 406)
    if answer.status == 200:
        answer.expect_media_type("application/json", DICOM_JSON)
        answer.json()
    target.note(f"Accept: application/json is {answer.status}")


@case(
    "QID-66",
    section="10.6.3.3.2",
    level=Level.SHALL,
    requirement="Each series in the results has what else is known of it: description, performed"
    " step, requests.",
    request="GET {b}/studies/{S1}/series",
    expected="Series Description, start of the performed step; items of the Request Attributes"
    " Sequence with both IDs",
    needs=CT_STUDY,
)
async def series_has_what_is_known_of_it(target: Target) -> None:
    row = await in_series(target).row(target)
    original = ct_slice(target).original
    known = (
        "SeriesDescription",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    )
    missing = [
        each
        for each in known
        if each in original and dicom_json.text(row, tag_of(each)) != original[each].value
    ]
    expect(not missing, f"GET .../series: {', '.join(missing)} is not that of the series")
    items = dicom_json.values_of(row, "00400275")
    need("RequestAttributesSequence" in original, "the series has no request")
    expect(len(items) == 1, f"GET .../series: (0040,0275) has {len(items)} items, not 1")
    for keyword in ("ScheduledProcedureStepID", "RequestedProcedureID"):
        wanted = str(original.RequestAttributesSequence[0][keyword].value)
        held = dicom_json.text(items[0], tag_of(keyword)) == wanted
        expect(held, f"GET .../series: {keyword} is not in the item of (0040,0275)")
