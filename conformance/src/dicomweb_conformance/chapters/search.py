"""QID: searching for studies, series and instances (QIDO-RS, section 10.6; PS3.4 C.2.2.2)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom import datadict
from pydicom.uid import generate_uid

from dicomweb_conformance import dicom_json, native_xml
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.exchanges import query_string
from dicomweb_conformance.fixtures import Fixture, Instance, Study
from dicomweb_conformance.media_types import ANY, DICOM, DICOM_JSON, DICOM_XML, dicom_in
from dicomweb_conformance.synthetic import ACME
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Unmet, Violated, expect, need

_CT: Final = (Fixture.F1, Feature.SEARCH)
_DATES: Final = (Fixture.F1, Fixture.F7, Fixture.F14, Feature.SEARCH)
_CASES: Final = (Fixture.F1, Fixture.F12, Feature.SEARCH)
_PAGES: Final = (Fixture.F13, Feature.SEARCH)
_PAGE: Final = "PatientID=PAGE"

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_RETRIEVE_URL: Final = "00081190"
_STEP_ID: Final = "RequestAttributesSequence.ScheduledProcedureStepID"
_MODALITIES: Final = "00080061"

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

_ADDITIONAL: Final = r"There are (\d+) additional results that can be requested"
_NOT_SUPPORTED: Final = {
    "fuzzymatching": r"The fuzzymatching parameter is not supported\."
    r" Only literal matching has been performed",
    "emptyvaluematching": r"The emptyvaluematching parameter is not supported\."
    r" Empty Value Matching has not been performed",
    "multiplevaluematching": r"The multiplevaluematching parameter is not supported\."
    r" (?:Multiple|Empty) Value Matching has not been performed",
}
_AVAILABILITIES: Final = frozenset({"ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE"})


def _tag(keyword: str) -> str:
    return f"{datadict.tag_for_keyword(keyword):08X}"


def _missing(row: Mapping[str, object], keywords: Iterable[str]) -> list[str]:
    return [keyword for keyword in keywords if _tag(keyword) not in row]


def _warning(answer: Response, text: str) -> re.Match[str] | None:
    """The Warning of that text: as the Standard writes it, or with the quotes of RFC 9111."""
    written = ", ".join(answer.headers.get_list("warning"))
    return re.search(rf'299 \S+?:?\s+"?{text}"?\.?"?(?:,|$)', written)


def _row(answer: Response, tag: str, uid: str) -> dict[str, object]:
    """The result with that UID. Raises Violated."""
    for row in answer.datasets():
        if dicom_json.text(row, tag) == uid:
            return row
    raise Violated(f"{answer.asked}: what it asks for is not among the results")


def _uids(answer: Response, tag: str = _STUDY) -> list[str]:
    return [dicom_json.text(row, tag) for row in answer.datasets()]


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where something of ours is searched for, in such a way that nothing else can be found."""

    path: str
    own: str  # a query that is always sent
    tag: str  # of the UID by which it is known
    uid: str

    async def ask(self, target: Target, query: str | Mapping[str, str] = "") -> Response:
        written = "&".join(part for part in (self.own, query_string(query)) if part)
        return await target.get(self.path, query=written)

    async def finds(self, target: Target, query: str | Mapping[str, str] = "") -> bool:
        """Raises Violated: the answer is neither results nor none."""
        return self.uid in _uids(await self.ask(target, query), self.tag)

    async def row(self, target: Target, query: str | Mapping[str, str] = "") -> dict[str, object]:
        return _row(await self.ask(target, query), self.tag, self.uid)


def _in_studies(study: Study) -> _Scope:
    return _Scope("/studies", f"StudyInstanceUID={study.uid}", _STUDY, study.uid)


def _ct(target: Target) -> Instance:
    return target.study(Fixture.F1).series("CT")[0]


def _in_series(target: Target) -> _Scope:
    """The CT series among those of its study."""
    instance = _ct(target)
    return _Scope(f"/studies/{instance.study_uid}/series", "", _SERIES, instance.series_uid)


def _in_instances(target: Target) -> _Scope:
    """The first slice among those of its series."""
    instance = _ct(target)
    path = f"{instance.series_path}/instances"
    return _Scope(path, "", _INSTANCE, instance.sop_instance_uid)


def _nobody(target: Target) -> str:
    """A UID that nothing has."""
    uid = str(generate_uid(prefix=None))
    target.shown.names[uid] = "{nothing}"
    target.shown.add_own([uid])
    return uid


async def _need_found(target: Target, *scopes: _Scope) -> None:
    """Raises Unmet: it cannot be found even without what the case is about."""
    for scope in scopes:
        answer = await scope.ask(target)
        found = answer.status == 200 and scope.uid in _uids(answer, scope.tag)
        need(found, f"{answer.asked}: does not find it ({answer.status})")


async def _expect_found(target: Target, scope: _Scope, query: str | Mapping[str, str]) -> None:
    answer = await scope.ask(target, query)
    expect(scope.uid in _uids(answer, scope.tag), f"{answer.asked}: it matches, and is not found")


async def _expect_not_found(target: Target, scope: _Scope, query: str | Mapping[str, str]) -> None:
    answer = await scope.ask(target, query)
    held = scope.uid not in _uids(answer, scope.tag)
    expect(held, f"{answer.asked}: it does not match, and is found")


@case(
    "QID-01",
    section="10.6.1.1, 10.3",
    level=Level.SHALL,
    requirement="Studies, series and instances can be searched for through all six resources.",
    request="GET /studies, /series, /instances, /studies/{S1}/series, /studies/{S1}/instances,"
    " .../{R1}/instances",
    expected="200 each, one top-level array with what was stored",
    needs=_CT,
)
async def all_six_resources_answer(target: Target) -> None:
    instance = _ct(target)
    study, own = f"/studies/{instance.study_uid}", f"StudyInstanceUID={instance.study_uid}"
    for path, query, tag, uid in (
        ("/studies", own, _STUDY, instance.study_uid),
        ("/series", own, _SERIES, instance.series_uid),
        ("/instances", own, _INSTANCE, instance.sop_instance_uid),
        (f"{study}/series", "", _SERIES, instance.series_uid),
        (f"{study}/instances", "", _INSTANCE, instance.sop_instance_uid),
        (f"{instance.series_path}/instances", "", _INSTANCE, instance.sop_instance_uid),
    ):
        answer = await target.get(path, query=query)
        answer.expect_status(200)
        _row(answer, tag, uid)


@case(
    "QID-02",
    section="10.6.3.1, 8.3.4.4.1",
    level=Level.SHALL,
    requirement="A search that nothing matches is answered with 204 and no payload.",
    request="GET {b}/studies?StudyInstanceUID={a UID that nothing has}",
    expected="204, no payload",
    needs=_CT,
)
async def nothing_found_is_204(target: Target) -> None:
    await _need_found(target, _in_studies(target.study(Fixture.F1)))
    answer = await target.get("/studies", query=f"StudyInstanceUID={_nobody(target)}")
    answer.expect_status(204)
    expect(not answer.content, f"204 with a payload of {len(answer.content)} bytes")


@case(
    "QID-03",
    section="10.6.4",
    level=Level.SHALL,
    requirement="DICOM JSON is the default media type of search results.",
    request="GET {b}/studies?StudyInstanceUID={S1}, Accept: */*",
    expected="200, application/dicom+json",
    needs=_CT,
)
async def default_type_of_results_is_json(target: Target) -> None:
    query = f"StudyInstanceUID={target.study(Fixture.F1).uid}"
    answer = await target.get("/studies", query=query, accept=ANY)
    answer.expect_status(200)
    answer.expect_media_type(DICOM_JSON)


@case(
    "QID-04",
    section="10.6.4",
    level=Level.SHALL,
    requirement="Search results can be had in XML, one part for each.",
    request='GET {b}/studies/{S1}/series, Accept: multipart/related; type="application/dicom+xml"',
    expected="200; as many parts as there are results in JSON, of the same series",
    needs=_CT,
)
async def results_can_be_xml(target: Target) -> None:
    path = _in_series(target).path
    plain = await target.get(path)
    need(plain.status == 200, f"they cannot be had in JSON: {plain.status}")
    answer = await target.get(path, accept=DICOM_XML)
    documents = map(native_xml.to_json, answer.xml_documents())
    found = sorted(dicom_json.text(each, _SERIES) for each in documents)
    wanted = sorted(_uids(plain, _SERIES))
    expect(found == wanted, f"{answer.asked}: {len(found)} results, in JSON {len(wanted)} others")


@case(
    "QID-05",
    section="10.6.3.3.1",
    level=Level.SHALL,
    requirement="Each study in the results has the required attributes, with what is true of it.",
    request="GET {b}/studies?StudyInstanceUID={S1}",
    expected="R and U attributes of Table 10.6.3-3; numbers of series and instances; modalities",
    needs=_CT,
)
async def study_has_its_required_attributes(target: Target) -> None:
    study = target.study(Fixture.F1)
    row = await _in_studies(study).row(target)
    missing = _missing(row, _OF_STUDY)
    expect(not missing, f"GET /studies: {', '.join(missing)} is not in the result")
    for keyword, wanted in (
        ("NumberOfStudyRelatedSeries", len({each.series_uid for each in study})),
        ("NumberOfStudyRelatedInstances", len(study.instances)),
    ):
        got = dicom_json.text(row, _tag(keyword))
        expect(got == str(wanted), f"GET /studies: {keyword} is {got or 'empty'}, not {wanted}")
    _expect_all_modalities(row, study)


def _expect_all_modalities(row: Mapping[str, object], study: Study) -> None:
    got = set(map(str, dicom_json.values_of(row, _MODALITIES)))
    missing = sorted({each.modality for each in study if each.modality} - got)
    expect(not missing, f"GET /studies: ModalitiesInStudy is without {', '.join(missing)}")


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
    row = await _in_studies(study).row(target)
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
    found = {str(file.dataset.StudyInstanceUID) for file in files}
    expect(found == {study.uid}, "behind the Retrieve URL is another study")


@case(
    "QID-07",
    section="10.6.3.3.2",
    level=Level.SHALL,
    requirement="Each series in the results has the required attributes, with what is true of it.",
    request="GET {b}/studies/{S1}/series",
    expected="R and U attributes of Table 10.6.3-4; the number of instances",
    needs=_CT,
)
async def series_has_its_required_attributes(target: Target) -> None:
    row = await _in_series(target).row(target)
    missing = _missing(row, _OF_SERIES)
    expect(not missing, f"GET .../series: {', '.join(missing)} is not in the result")
    wanted = str(len(target.study(Fixture.F1).series("CT")))
    got = dicom_json.text(row, _tag("NumberOfSeriesRelatedInstances"))
    expect(got == wanted, f"GET .../series: {got or 'no'} related instances, not {wanted}")


@case(
    "QID-08",
    section="10.6.3.3.3",
    level=Level.SHALL,
    requirement="Each instance in the results has the required attributes, with true values.",
    request="GET {b}/studies/{S1}/series/{R1}/instances",
    expected="R and U attributes of Table 10.6.3-5; Rows, Columns and Bits Allocated of an image",
    needs=_CT,
)
async def instance_has_its_required_attributes(target: Target) -> None:
    row = await _in_instances(target).row(target)
    missing = _missing(row, (*_OF_INSTANCE, "Rows", "Columns", "BitsAllocated"))
    expect(not missing, f"GET .../instances: {', '.join(missing)} is not in the result")
    original = _ct(target).original
    for keyword in ("SOPClassUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated"):
        held = dicom_json.text(row, _tag(keyword)) == str(original[keyword].value)
        expect(held, f"GET .../instances: {keyword} is not that of the instance")


@case(
    "QID-09",
    section="10.6.3.3.2",
    level=Level.SHALL,
    requirement="Series that are searched for in all studies come with the attributes of theirs.",
    request="GET {b}/series?SeriesInstanceUID={R1}",
    expected="attributes of Tables 10.6.3-3 and -4",
    needs=_CT,
)
async def series_of_all_studies_have_study_attributes(target: Target) -> None:
    uid = _ct(target).series_uid
    answer = await target.get("/series", query=f"SeriesInstanceUID={uid}")
    missing = _missing(_row(answer, _SERIES, uid), (*_OF_STUDY, *_OF_SERIES))
    expect(not missing, f"{answer.asked}: {', '.join(missing)} is not in the result")


@case(
    "QID-10",
    section="10.6.3.3.3",
    level=Level.SHALL,
    requirement="Instances that are searched for in all studies come with the attributes of their"
    " study and series.",
    request="GET {b}/instances?SOPInstanceUID={I1}",
    expected="attributes of Tables 10.6.3-3, -4 and -5",
    needs=_CT,
)
async def instances_of_all_studies_have_all_attributes(target: Target) -> None:
    uid = _ct(target).sop_instance_uid
    answer = await target.get("/instances", query=f"SOPInstanceUID={uid}")
    row = _row(answer, _INSTANCE, uid)
    missing = _missing(row, (*_OF_STUDY, *_OF_SERIES, *_OF_INSTANCE))
    expect(not missing, f"{answer.asked}: {', '.join(missing)} is not in the result")


@case(
    "QID-11",
    section="10.6.3.3.3",
    level=Level.SHALL,
    requirement="Instances that are searched for in a study come with the attributes of their"
    " series.",
    request="GET {b}/studies/{S1}/instances?SOPInstanceUID={I1}",
    expected="attributes of Tables 10.6.3-4 and -5",
    needs=_CT,
)
async def instances_of_a_study_have_series_attributes(target: Target) -> None:
    instance = _ct(target)
    query = f"SOPInstanceUID={instance.sop_instance_uid}"
    answer = await target.get(f"/studies/{instance.study_uid}/instances", query=query)
    row = _row(answer, _INSTANCE, instance.sop_instance_uid)
    missing = _missing(row, (*_OF_SERIES, *_OF_INSTANCE))
    expect(not missing, f"{answer.asked}: {', '.join(missing)} is not in the result")


async def _expect_keys(target: Target, scope: _Scope, keys: Mapping[str, tuple[str, str]]) -> None:
    """Each key finds it by the right value, and does not by the wrong one."""
    await _need_found(target, scope)
    broken = []
    for name, (right, wrong) in keys.items():
        try:
            if not await scope.finds(target, {name: right}):
                broken.append(f"{name}: the right value does not find it")
            elif await scope.finds(target, {name: wrong}):
                broken.append(f"{name}: any value finds it")
        except Violated as error:
            broken.append(f"{name}: {error}")
    expect(not broken, f"GET {target.shown.briefly(scope.path)}: {'; '.join(broken)}")


@case(
    "QID-12",
    section="10.6.1.2.3",
    level=Level.SHALL,
    requirement="Studies are matched by all required keys of their level.",
    request="GET {b}/studies with each key of Table 10.6.1-5: a right value, then a wrong one",
    expected="found by the right one, not by the wrong one",
    needs=_CT,
)
async def studies_match_by_all_required_keys(target: Target) -> None:
    study = target.study(Fixture.F1)
    original = study.first.original
    need(str(original.PatientName) == "Åström^Björn", "the study has another patient")
    await _expect_keys(
        target,
        _in_studies(study),
        {
            "StudyDate": (original.StudyDate, "19990101"),
            "StudyTime": (original.StudyTime, "030000"),
            "AccessionNumber": (original.AccessionNumber, "NO-SUCH"),
            "ModalitiesInStudy": ("CT", "MG"),
            # wildcards, since ^ and å would have to be encoded, which is a case of its own
            "ReferringPhysicianName": ("Berg*", "Nobody*"),
            "PatientName": ("*str*", "*nn*"),
            "PatientID": (original.PatientID, "NO-SUCH"),
            "StudyID": (original.StudyID, "NO-SUCH"),
        },
    )
    other = await target.get("/studies", query=f"StudyInstanceUID={_nobody(target)}")
    expect(study.uid not in _uids(other), "GET /studies: any StudyInstanceUID finds it")


@case(
    "QID-13",
    section="8.3.4.1",
    level=Level.SHALL,
    requirement="Attributes can be named by tag as well as by keyword.",
    request="GET {b}/studies?StudyInstanceUID={S1} with 00100020 and with PatientID",
    expected="found by the right value, not by a wrong one, whichever way it is named",
    needs=_CT,
)
async def tags_and_keywords_mean_the_same(target: Target) -> None:
    study = target.study(Fixture.F1)
    right = study.first.original.PatientID
    keys = dict.fromkeys(("PatientID", "00100020"), (right, "NO-SUCH"))
    await _expect_keys(target, _in_studies(study), keys)


@case(
    "QID-14",
    section="8.3.1",
    level=Level.SHALL,
    requirement="The hexadecimal digits of a tag may be in lower case.",
    request="GET {b}/studies/{S1}/series with 0020000e={R1}, and with another UID",
    expected="found; not found",
    needs=_CT,
)
async def lower_case_tags_are_understood(target: Target) -> None:
    scope = _in_series(target)
    await _expect_keys(target, scope, {"0020000e": (scope.uid, _nobody(target))})


@case(
    "QID-15",
    section="8.3.1, 8.3",
    level=Level.SHALL,
    requirement="Keywords are case-sensitive: another spelling is unknown, and ignored.",
    request="GET {b}/studies?StudyInstanceUID={S1}&patientid=NO-SUCH",
    expected="200; found, as without it",
    needs=_CT,
)
async def keyword_in_another_case_is_ignored(target: Target) -> None:
    scope = _in_studies(target.study(Fixture.F1))
    await _need_found(target, scope)
    await _expect_found(target, scope, "patientid=NO-SUCH")


@case(
    "QID-16",
    section="8.3.4.1, 10.6.3.1",
    level=Level.SHALL,
    requirement="An attribute that is there twice is answered with 400.",
    request="GET {b}/studies?StudyInstanceUID={S1}&PatientID=a&PatientID=b",
    expected="400",
    needs=_CT,
)
async def repeated_attribute_is_400(target: Target) -> None:
    scope = _in_studies(target.study(Fixture.F1))
    await _need_found(target, scope)
    (await scope.ask(target, "PatientID=a&PatientID=b")).expect_status(400)


@case(
    "QID-17",
    section="8.3, 10.6.3.1",
    level=Level.SHALL,
    requirement="A value that the VR of a supported attribute does not allow is answered with 400.",
    request="GET {b}/studies?StudyDate=2024-01-05; StudyDate=abc; StudyInstanceUID=x.y",
    expected="400 each",
    needs=_CT,
)
async def invalid_value_of_an_attribute_is_400(target: Target) -> None:
    scope = _in_studies(target.study(Fixture.F1))
    await _need_found(target, scope)
    answers = [await scope.ask(target, f"StudyDate={each}") for each in ("2024-01-05", "abc")]
    answers.append(await target.get("/studies", query="StudyInstanceUID=x.y&limit=1"))
    wrong = [f"{each.asked} is {each.status}" for each in answers if each.status != 400]
    expect(not wrong, f"expected 400 each: {'; '.join(wrong)}")


async def _expect_among(
    target: Target, query: str, *, found: Iterable[Fixture], others: Iterable[Fixture] = ()
) -> None:
    """Those studies match and the others do not; each is asked for by its UID."""
    wanted, unwanted = list(found), list(others)
    await _need_found(target, *(_in_studies(target.study(each)) for each in wanted + unwanted))
    for fixture in wanted:
        await _expect_found(target, _in_studies(target.study(fixture)), query)
    for fixture in unwanted:
        await _expect_not_found(target, _in_studies(target.study(fixture)), query)


@case(
    "QID-18",
    section="PS3.4 C.2.2.2.5.1",
    level=Level.SHALL,
    requirement="Ranges of dates include both ends, and one of these may be left out.",
    request="GET {b}/studies?StudyDate=20240105-20240106; 20240106-; -20240105",
    expected="F1, F7, F14; F7; F1, F14",
    needs=_DATES,
)
async def ranges_of_dates_match(target: Target) -> None:
    early = (Fixture.F1, Fixture.F14)
    await _expect_among(target, "StudyDate=20240105-20240106", found=(*early, Fixture.F7))
    await _expect_among(target, "StudyDate=20240106-", found=[Fixture.F7], others=early)
    await _expect_among(target, "StudyDate=-20240105", found=early, others=[Fixture.F7])


@case(
    "QID-19",
    section="PS3.4 C.2.2.2.5.2",
    level=Level.SHALL,
    requirement="Ranges of times match.",
    request="GET {b}/studies?StudyTime=1000-1100",
    expected="F1 (10:15), not F14 (22:00)",
    needs=(Fixture.F1, Fixture.F14, Feature.SEARCH),
)
async def range_of_times_matches(target: Target) -> None:
    query = "StudyTime=1000-1100"
    await _expect_among(target, query, found=[Fixture.F1], others=[Fixture.F14])


@case(
    "QID-20",
    section="8.3.4.1.1",
    level=Level.SHALL,
    requirement="A range of dates and one of times are one interval, from the first time of the"
    " first date on.",
    request="GET {b}/studies?StudyDate=20240105-20240106&StudyTime=0900-1200",
    expected="F1 (5th, 10:15) and F14 (5th, 22:00), not F7 (6th, 23:59)",
    needs=_DATES,
)
async def dates_and_times_are_one_interval(target: Target) -> None:
    query = "StudyDate=20240105-20240106&StudyTime=0900-1200"
    await _expect_among(target, query, found=(Fixture.F1, Fixture.F14), others=[Fixture.F7])


@case(
    "QID-21",
    section="PS3.4 C.2.2.2.1.3",
    level=Level.SHALL,
    requirement="Times match by their meaning, not as they are written.",
    request="GET {b}/studies?StudyInstanceUID={S1} with StudyTime=101500, 1015 and 1016",
    expected="found, found, not found",
    needs=_CT,
)
async def times_match_by_meaning(target: Target) -> None:
    need(_ct(target).original.StudyTime == "101500", "the study is of another time")
    await _expect_among(target, "StudyTime=101500", found=[Fixture.F1])
    await _expect_among(target, "StudyTime=1015", found=[Fixture.F1])
    await _expect_among(target, "StudyTime=1016", found=(), others=[Fixture.F1])


@case(
    "QID-22",
    section="PS3.4 C.2.2.2.4",
    level=Level.SHALL,
    requirement="In text, * stands for any characters and ? for one.",
    request="GET {b}/studies?StudyInstanceUID={S1} with AccessionNumber=A0*, A?01, *, ?01, B*",
    expected="found by the first three, not by the others",
    needs=_CT,
)
async def wildcards_match(target: Target) -> None:
    need(_ct(target).original.AccessionNumber == "A001", "the study has another accession number")
    for pattern in ("A0*", "A?01", "*"):
        await _expect_among(target, f"AccessionNumber={pattern}", found=[Fixture.F1])
    for pattern in ("?01", "B*"):
        query = f"AccessionNumber={pattern}"
        await _expect_among(target, query, found=(), others=[Fixture.F1])


@case(
    "QID-23",
    section="PS3.4 C.2.2.2.1",
    level=Level.SHALL,
    requirement="Text other than names of persons is matched with its case.",
    request="GET {b}/studies?PatientID=p-001",
    expected="F12 (p-001), not F1 (P-001)",
    needs=_CASES,
)
async def patient_id_is_case_sensitive(target: Target) -> None:
    need(_ct(target).original.PatientID == "P-001", "the study has another patient")
    await _expect_among(target, "PatientID=p-001", found=[Fixture.F12], others=[Fixture.F1])


async def _need_decoding(target: Target) -> None:
    """Raises Unmet: percent-encoded values are not understood; QID-60 says so."""
    encoded = _encoded(_ct(target).original.PatientID)
    found = await _in_studies(target.study(Fixture.F1)).finds(target, f"PatientID={encoded}")
    need(found, "percent-encoded values are not decoded")


def _encoded(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode())


@case(
    "QID-24",
    section="PS3.4 C.2.2.2.1.1",
    level=Level.MAY,
    requirement="Whether names of persons are matched with their case and accents is up to the"
    " server, which documents it.",
    request="GET {b}/studies?PatientName=astrom^bjorn",
    expected="F12; whether also F1 (Åström^Björn) is reported",
    needs=_CASES,
)
async def names_match_by_the_documented_rules(target: Target) -> None:
    need(str(_ct(target).original.PatientName) == "Åström^Björn", "the study has another patient")
    await _need_decoding(target)
    query = "PatientName=astrom%5Ebjorn"
    await _expect_among(target, query, found=[Fixture.F12])
    also = await _in_studies(target.study(Fixture.F1)).finds(target, query)
    target.note(f"astrom^bjorn {'finds' if also else 'does not find'} Åström^Björn")


@case(
    "QID-25",
    section="PS3.4 C.2.2.2.4",
    level=Level.SHALL,
    requirement="Wildcards work in names of persons, and beyond ASCII.",
    request="GET {b}/studies?StudyInstanceUID={S1} with PatientName=%C3%85str*, %C3%85nn*",
    expected="found; not found",
    needs=_CT,
)
async def wildcards_match_in_names(target: Target) -> None:
    need(str(_ct(target).original.PatientName) == "Åström^Björn", "the study has another patient")
    await _need_decoding(target)
    await _expect_among(target, "PatientName=%C3%85str*", found=[Fixture.F1])
    await _expect_among(target, "PatientName=%C3%85nn*", found=(), others=[Fixture.F1])


@case(
    "QID-26",
    section="PS3.4 C.2.2.2.1.1",
    level=Level.MAY,
    requirement="Ideographic names may be matched as well.",
    request="GET {b}/studies?StudyInstanceUID={S2}&PatientName=*王*",
    expected="found",
    needs=(Fixture.F2, Feature.SEARCH),
)
async def ideographic_names_match(target: Target) -> None:
    name = str(target.instance(Fixture.F2).original.PatientName)
    need("王" in name, "the study has another patient")
    need(
        await _in_studies(target.study(Fixture.F2)).finds(target, "PatientName=W%61ng*"),
        "percent-encoded values are not decoded",
    )
    await _expect_among(target, "PatientName=*%E7%8E%8B*", found=[Fixture.F2])


def _two(target: Target) -> tuple[str, str]:
    return target.study(Fixture.F1).uid, target.study(Fixture.F7).uid


async def _expect_both(target: Target, separator: str) -> None:
    wanted = _two(target)
    await _need_found(
        target, *(_in_studies(target.study(each)) for each in (Fixture.F1, Fixture.F7))
    )
    answer = await target.get("/studies", query=f"StudyInstanceUID={separator.join(wanted)}")
    found = sorted(_uids(answer))
    held = found == sorted(wanted)
    expect(held, f"{answer.asked}: {len(found)} results, and not just the two that are listed")


@case(
    "QID-27",
    section="8.3.4.1, PS3.4 C.2.2.2.2",
    level=Level.SHALL,
    requirement="A list of UIDs, separated by commas, matches each of them.",
    request="GET {b}/studies?StudyInstanceUID={S1},{S7}",
    expected="both and no other",
    needs=(Fixture.F1, Fixture.F7, Feature.SEARCH),
)
async def list_of_uids_matches_each(target: Target) -> None:
    await _expect_both(target, ",")


@case(
    "QID-28",
    section="PS3.4 C.2.2.2.2",
    level=Level.MAY,
    requirement="A list of UIDs may also be separated as in DIMSE, by a backslash.",
    request="GET {b}/studies?StudyInstanceUID={S1}%5C{S7}",
    expected="both and no other",
    needs=(Fixture.F1, Fixture.F7, Feature.SEARCH),
)
async def list_of_uids_with_backslash_matches_each(target: Target) -> None:
    await _expect_both(target, "%5C")


@case(
    "QID-29",
    section="PS3.4 C.2.2.2.4",
    level=Level.SHALL,
    requirement="UIDs have no wildcards.",
    request="GET {b}/studies?StudyInstanceUID={S1 without its last digit}*",
    expected="400 or 204",
    needs=_CT,
)
async def uids_have_no_wildcards(target: Target) -> None:
    study = target.study(Fixture.F1)
    await _need_found(target, _in_studies(study))
    answer = await target.get("/studies", query=f"StudyInstanceUID={study.uid[:-1]}*")
    answer.expect_status(204, 400)


@case(
    "QID-30",
    section="PS3.4 C.2.2.2.3",
    level=Level.SHALL,
    requirement="A key without a value matches everything.",
    request="GET {b}/studies?StudyInstanceUID={S1}&PatientID=",
    expected="found",
    needs=_CT,
)
async def empty_key_matches_everything(target: Target) -> None:
    await _expect_among(target, "PatientID=", found=[Fixture.F1])


async def _expect_request_attributes(target: Target, *names: str) -> None:
    """By each name of the Scheduled Procedure Step ID, in /series."""
    instance = _ct(target)
    original = instance.original
    own = f"StudyInstanceUID={instance.study_uid}"
    scope = _Scope("/series", own, _SERIES, instance.series_uid)
    right = original.RequestAttributesSequence[0].ScheduledProcedureStepID
    await _expect_keys(target, scope, dict.fromkeys(names, (right, "NO-SUCH")))


@case(
    "QID-31",
    section="PS3.4 C.2.2.2.6, 10.6.1.2.3",
    level=Level.SHALL,
    requirement="Keys within a sequence match what is in its items.",
    request="GET {b}/series?StudyInstanceUID={S1}"
    "&RequestAttributesSequence.ScheduledProcedureStepID=SPS-1, and =NO-SUCH",
    expected="the CT series is found; is not found",
    needs=_CT,
)
async def keys_in_sequences_match(target: Target) -> None:
    await _expect_request_attributes(target, _STEP_ID)


@case(
    "QID-32",
    section="8.3.1",
    level=Level.SHALL,
    requirement="The path of a key within a sequence may be of tags, and of tags and keywords.",
    request="GET {b}/series?StudyInstanceUID={S1}&00400275.00400009=SPS-1, and mixed",
    expected="as with keywords",
    needs=_CT,
)
async def paths_may_mix_tags_and_keywords(target: Target) -> None:
    try:
        await _expect_request_attributes(target, _STEP_ID)
    except Violated as error:
        raise Unmet(f"not even with keywords: {error}") from None
    await _expect_request_attributes(
        target,
        "00400275.00400009",
        "RequestAttributesSequence.00400009",
        "00400275.ScheduledProcedureStepID",
    )


@case(
    "QID-33",
    section="PS3.4 C.2.2.3",
    level=Level.SHALL,
    requirement="One value of several is enough to match, and all of them are returned.",
    request="GET {b}/studies?StudyInstanceUID={S1}&ModalitiesInStudy=CT, and =ZZ",
    expected="found with all its modalities; not found",
    needs=_CT,
)
async def one_value_matches_and_all_come_back(target: Target) -> None:
    study = target.study(Fixture.F1)
    modalities = sorted({each.modality for each in study})
    need(len(modalities) > 1, "the study has one modality")
    scope = _in_studies(study)
    for modality in modalities:
        row = await scope.row(target, f"ModalitiesInStudy={modality}")
        _expect_all_modalities(row, study)
    await _expect_not_found(target, scope, "ModalitiesInStudy=ZZ")


@case(
    "QID-34",
    section="PS3.4 C.2.2.1.2",
    level=Level.SHOULD,
    requirement="An entity without a value for a required key is unknown, so that any value"
    " matches.",
    request="GET {b}/studies?StudyInstanceUID={S12}&StudyDate=20240105",
    expected="F12, which has no date, is found",
    needs=(Fixture.F12, Feature.SEARCH),
)
async def unknown_values_match(target: Target) -> None:
    await _expect_among(target, "StudyDate=20240105", found=[Fixture.F12])


@case(
    "QID-35",
    section="8.3.4.3, 10.6.3.3.2",
    level=Level.SHALL,
    requirement="Attributes that includefield names are returned: by keyword or tag, listed or"
    " repeated.",
    request="GET {b}/studies/{S1}/series?includefield=PatientName; 00100010; PatientName,StudyDate;"
    " two of them",
    expected="each attribute that is named",
    needs=_CT,
)
async def included_fields_are_returned(target: Target) -> None:
    scope = _in_series(target)
    for query, keywords in (
        ("includefield=PatientName", ["PatientName"]),
        ("includefield=00100010", ["PatientName"]),
        ("includefield=PatientName,StudyDate", ["PatientName", "StudyDate"]),
        ("includefield=PatientName&includefield=StudyDate", ["PatientName", "StudyDate"]),
    ):
        answer = await scope.ask(target, query)
        missing = _missing(_row(answer, scope.tag, scope.uid), keywords)
        expect(not missing, f"{answer.asked}: {', '.join(missing)} is not in the result")


@case(
    "QID-36",
    section="8.3.4.3",
    level=Level.SHALL,
    requirement="includefield=all returns no less than what is returned without it.",
    request="GET {b}/studies/{S1}/series, without and with includefield=all",
    expected="all attributes of the first in the second",
    needs=_CT,
)
async def all_fields_are_no_fewer_than_the_default(target: Target) -> None:
    scope = _in_series(target)
    plain = await scope.row(target)
    full = await scope.row(target, "includefield=all")
    missing = sorted(set(plain) - set(full))
    expect(not missing, f"includefield=all: {', '.join(missing)} is only there without it")


@case(
    "QID-37",
    section="8.3.4.3",
    level=Level.SHOULD,
    requirement="Nothing else may be included beside all.",
    request="GET {b}/studies/{S1}/series?includefield=all&includefield=PatientName",
    expected="400, or 200 as without the second",
    needs=_CT,
)
async def all_beside_another_field_is_400_or_all(target: Target) -> None:
    answer = await _in_series(target).ask(target, "includefield=all&includefield=PatientName")
    answer.expect_status(200, 400)
    target.note(f"includefield=all beside another: {answer.status}")


@case(
    "QID-38",
    section="10.6.3.3.1",
    level=Level.SHALL,
    requirement="Studies are returned without attributes of series and instances.",
    request="GET {b}/studies?StudyInstanceUID={S1}&includefield=SeriesDescription,SOPInstanceUID",
    expected="200 with neither of them",
    needs=_CT,
)
async def studies_have_no_attributes_of_lower_levels(target: Target) -> None:
    scope = _in_studies(target.study(Fixture.F1))
    row = await scope.row(target, "includefield=SeriesDescription,SOPInstanceUID")
    got = [each for each in ("SeriesDescription", "SOPInstanceUID") if _tag(each) in row]
    expect(not got, f"GET /studies: {' and '.join(got)} is in the result")


@case(
    "QID-39",
    section="10.6.3.3.2",
    level=Level.SHALL,
    requirement="Series are returned with attributes of the study, but without those of instances.",
    request="GET {b}/studies/{S1}/series?includefield=SOPInstanceUID,PatientName",
    expected="PatientName, and no SOPInstanceUID",
    needs=_CT,
)
async def series_have_no_attributes_of_instances(target: Target) -> None:
    row = await _in_series(target).row(target, "includefield=SOPInstanceUID,PatientName")
    expect(_tag("PatientName") in row, "GET .../series: PatientName is not in the result")
    expect(_INSTANCE not in row, "GET .../series: SOPInstanceUID is in the result")


@case(
    "QID-40",
    section="10.6.3.3.3",
    level=Level.SHALL,
    requirement="Instances are returned with attributes of any level.",
    request="GET {b}/studies/{S1}/series/{R1}/instances?includefield=PatientName,Modality",
    expected="both",
    needs=_CT,
)
async def instances_have_attributes_of_any_level(target: Target) -> None:
    row = await _in_instances(target).row(target, "includefield=PatientName,Modality")
    missing = _missing(row, ("PatientName", "Modality"))
    expect(not missing, f"GET .../instances: {' and '.join(missing)} is not in the result")


@case(
    "QID-41",
    section="PS3.4 C.2.2.1.3, 8.3.4.3",
    level=Level.SHALL,
    requirement="An attribute that is not supported can be included without harm.",
    request="GET {b}/studies?StudyInstanceUID={S1}&includefield=TableTopPitchAngle",
    expected="200; found, as without it",
    needs=_CT,
)
async def unsupported_field_is_ignored(target: Target) -> None:
    await _expect_among(target, "includefield=TableTopPitchAngle", found=[Fixture.F1])


@case(
    "QID-42",
    section="8.3.4.3, 10.6.3.3.3",
    level=Level.SHALL,
    requirement="A private attribute that is returned comes with its creator.",
    request="GET {b}/instances?SOPInstanceUID={I9}&00090010=ACME%201.0&includefield=00091001",
    expected="(0009,1001) and (0009,0010), if private attributes can be included",
    needs=(Fixture.F9, Feature.SEARCH),
)
async def private_field_comes_with_its_creator(target: Target) -> None:
    instance = target.instance(Fixture.F9)
    original = instance.original
    own = f"SOPInstanceUID={instance.sop_instance_uid}"
    scope = _Scope("/instances", own, _INSTANCE, instance.sop_instance_uid)
    row = await scope.row(target, {"00090010": ACME, "includefield": "00091001"})
    creators = {
        tag: dicom_json.text(row, tag) for tag in row if re.fullmatch("000900[1-9A-F].", tag)
    }
    if not any(tag.startswith("0009") and tag not in creators for tag in row):
        raise NotClaimed("private attributes are not returned")
    block = next((tag[6:] for tag, creator in creators.items() if creator == ACME), None)
    expect(block is not None, "GET /instances: the private creator is not in the result")
    held = dicom_json.text(row, f"0009{block}01") == original[0x0009, 0x1001].value
    expect(held, "GET /instances: the private attribute has another value")


@case(
    "QID-43",
    section="8.3, PS3.4 C.2.2.1.3",
    level=Level.SHALL,
    requirement="A key that is not supported is ignored.",
    request="GET {b}/studies?StudyInstanceUID={S1}&StationName=NO-SUCH",
    expected="200 as without it; or no result where it is supported",
    needs=_CT,
)
async def unsupported_key_is_ignored(target: Target) -> None:
    scope = _in_studies(target.study(Fixture.F1))
    await _need_found(target, scope)
    answer = await scope.ask(target, "StationName=NO-SUCH")
    answer.expect_status(200, 204)
    if scope.uid in _uids(answer):
        target.note("StationName is ignored" + (", with a Warning" * ("warning" in answer.headers)))
    else:
        target.note("StationName is matched")


async def _total(target: Target) -> int:
    """How many studies the patient PAGE has, also of earlier runs. Raises Unmet."""
    answer = await target.get("/studies", query=_PAGE)
    warning = _warning(answer, _ADDITIONAL)
    total = len(_uids(answer)) + (int(warning[1]) if warning else 0)
    need(total >= len(target.studies(Fixture.F13)), f"{total} of 30 studies are found or announced")
    return total


async def _pages(target: Target, size: int) -> list[str]:
    """The UIDs of the patient PAGE, page by page. Raises Violated: a page repeats another."""
    found: list[str] = []
    while True:
        query = f"{_PAGE}&limit={size}&offset={len(found)}"
        page = _uids(await target.get("/studies", query=query))
        expect(len(page) <= size, f"GET /studies?limit={size}: {len(page)} results")
        if not page:
            break
        twice = len(set(page) & set(found)) + len(page) - len(set(page))
        expect(not twice, f"GET /studies?{query}: {twice} results come twice")
        found += page
    return found


@case(
    "QID-44",
    section="8.3.4.4.1, 10.6.3.1",
    level=Level.SHALL,
    requirement="Where there are more results than returned, a Warning says how many.",
    request="GET {b}/studies?PatientID=PAGE&limit=10",
    expected='10 results; "There are 20 additional results that can be requested"',
    needs=_PAGES,
)
async def remaining_results_are_announced(target: Target) -> None:
    total = await _total(target)
    answer = await target.get("/studies", query=f"{_PAGE}&limit=10")
    got = len(_uids(answer))
    expect(got == 10, f"{answer.asked}: {got} results")
    warning = _warning(answer, _ADDITIONAL)
    expect(warning is not None, f"{answer.asked}: no Warning says that there are more results")
    said = int(warning[1]) if warning else 0
    expect(said == total - 10, f"{answer.asked}: {said} additional results, not {total - 10}")


@case(
    "QID-45",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="The last page has what is left, and no Warning of more.",
    request="GET {b}/studies?PatientID=PAGE&limit=10&offset=25",
    expected="5 results, no such Warning",
    needs=_PAGES,
)
async def last_page_has_the_rest(target: Target) -> None:
    total = await _total(target)
    answer = await target.get("/studies", query=f"{_PAGE}&limit=10&offset={total - 5}")
    got = len(_uids(answer))
    expect(got == 5, f"{answer.asked}: {got} results, not 5")
    held = _warning(answer, _ADDITIONAL) is None
    expect(held, f"{answer.asked}: a Warning says that there are more results")


@case(
    "QID-46",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="Beyond the last result the answer is 204.",
    request="GET {b}/studies?PatientID=PAGE&offset=30",
    expected="204, no payload",
    needs=_PAGES,
)
async def offset_beyond_the_end_is_204(target: Target) -> None:
    total = await _total(target)
    answer = await target.get("/studies", query=f"{_PAGE}&offset={total}")
    answer.expect_status(204)
    expect(not answer.content, f"204 with a payload of {len(answer.content)} bytes")


@case(
    "QID-47",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="Where no result is wanted the answer is 204.",
    request="GET {b}/studies?PatientID=PAGE&limit=0",
    expected="204, no payload",
    needs=_PAGES,
)
async def limit_of_zero_is_204(target: Target) -> None:
    await _total(target)
    answer = await target.get("/studies", query=f"{_PAGE}&limit=0")
    answer.expect_status(204)
    expect(not answer.content, f"204 with a payload of {len(answer.content)} bytes")


@case(
    "QID-48",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="Pages one after the other hold each result once.",
    request="GET {b}/studies?PatientID=PAGE&limit=7&offset=0, 7, 14, ...",
    expected="all 30 studies, none twice",
    needs=_PAGES,
)
async def pages_hold_each_result_once(target: Target) -> None:
    plain = _uids(await target.get("/studies", query=_PAGE))
    need(bool(plain), "a search without pages finds nothing")
    found = await _pages(target, 7)
    missing = {each.uid for each in target.studies(Fixture.F13)} - set(found)
    expect(not missing, f"{len(missing)} of 30 studies are on no page")


@case(
    "QID-49",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="Where the server returns no more than its maximum, a Warning says what is left.",
    request="GET {b}/studies?PatientID=PAGE",
    expected="all; or a Warning with the number of the others",
    needs=_PAGES,
)
async def server_maximum_is_announced(target: Target) -> None:
    try:
        total = len(await _pages(target, 20))
    except Violated as error:
        raise Unmet(f"pages cannot be asked for: {error}") from None
    answer = await target.get("/studies", query=_PAGE)
    got, warning = len(_uids(answer)), _warning(answer, _ADDITIONAL)
    if got == total and warning is None:
        raise NotClaimed(f"the server's maximum is not below {total}")
    said = int(warning[1]) if warning else 0
    held = said == total - got
    expect(held, f"{answer.asked}: {got} results, {said} additional ones announced, {total} exist")


def _says_unsupported(target: Target, answer: Response, parameter: str) -> bool:
    """Is it a Warning that this kind of matching has not been performed?"""
    if _warning(answer, _NOT_SUPPORTED[parameter]) is None:
        return False
    target.note(f"{parameter} is not supported, as the Warning says")
    return True


@case(
    "QID-50",
    section="8.3.4.2",
    level=Level.SHALL,
    requirement="Fuzzy matching is performed, or a Warning says that it is not supported.",
    request="GET {b}/studies?StudyInstanceUID={S12}&fuzzymatching=true&PatientName=astrom",
    expected="found by the first part of astrom^bjorn; or the Warning of 8.3.4.2",
    needs=(Fixture.F12, Feature.SEARCH),
)
async def fuzzy_matching_is_done_or_denied(target: Target) -> None:
    scope = _in_studies(target.study(Fixture.F12))
    await _need_found(target, scope)
    name = target.instance(Fixture.F12).original.PatientName.family_name
    answer = await scope.ask(target, {"fuzzymatching": "true", "PatientName": name})
    answer.expect_status(200, 204)
    held = _says_unsupported(target, answer, "fuzzymatching") or scope.uid in _uids(answer)
    expect(held, f"{answer.asked}: literal matching, and no Warning says so")


@case(
    "QID-51",
    section="8.3.4.2",
    level=Level.SHALL,
    requirement="Where no fuzzy matching is asked for, there is no Warning of it.",
    request="GET {b}/studies?StudyInstanceUID={S1}&fuzzymatching=false",
    expected="200; found, and no such Warning",
    needs=_CT,
)
async def no_fuzzy_matching_is_no_reason_to_warn(target: Target) -> None:
    scope = _in_studies(target.study(Fixture.F1))
    await _need_found(target, scope)
    answer = await scope.ask(target, "fuzzymatching=false")
    _row(answer, scope.tag, scope.uid)
    held = _warning(answer, _NOT_SUPPORTED["fuzzymatching"]) is None
    expect(held, f"{answer.asked}: a Warning says that fuzzymatching is not supported")


async def _expect_or_warning(
    target: Target, parameter: str, query: str, *, found: Fixture, other: Fixture
) -> None:
    wanted, unwanted = _in_studies(target.study(found)), _in_studies(target.study(other))
    await _need_found(target, wanted, unwanted)
    answer = await wanted.ask(target, f"{parameter}=true&{query}")
    if _says_unsupported(target, answer, parameter):
        answer.expect_status(200, 204)
        return
    held = wanted.uid in _uids(answer)
    expect(held, f"{answer.asked}: neither found, nor does a Warning say that it is not supported")
    await _expect_not_found(target, unwanted, f"{parameter}=true&{query}")


@case(
    "QID-52",
    section="8.3.4.5",
    level=Level.SHALL,
    requirement="Empty values are matched, or a Warning says that this is not supported.",
    request='GET {b}/studies?emptyvaluematching=true&StudyDate=""',
    expected="F12 (no date), not F1; or the Warning of 8.3.4.5",
    needs=_CASES,
)
async def empty_values_match_or_are_denied(target: Target) -> None:
    await _expect_or_warning(
        target,
        "emptyvaluematching",
        "StudyDate=%22%22",
        found=Fixture.F12,
        other=Fixture.F1,
    )


@case(
    "QID-53",
    section="8.3.4.6",
    level=Level.SHALL,
    requirement="Several values are matched together, or a Warning says that they are not.",
    request="GET {b}/studies?multiplevaluematching=true&ModalitiesInStudy=CT%5CPT",
    expected="F14 (CT and PT), not F1; or the Warning of 8.3.4.6",
    needs=(Fixture.F1, Fixture.F14, Feature.SEARCH),
)
async def several_values_match_or_are_denied(target: Target) -> None:
    await _expect_or_warning(
        target,
        "multiplevaluematching",
        "ModalitiesInStudy=CT%5CPT",
        found=Fixture.F14,
        other=Fixture.F1,
    )


@case(
    "QID-54",
    section="10.6.1.2.1",
    level=Level.SHOULD,
    requirement="Keys of the study are not keys for the series of one study.",
    request="GET {b}/studies/{S1}/series?StudyDate=19000101",
    expected="200 as without it, or 400",
    needs=_CT,
)
async def keys_of_another_level_are_ignored_or_400(target: Target) -> None:
    scope = _in_series(target)
    await _need_found(target, scope)
    answer = await scope.ask(target, "StudyDate=19000101")
    answer.expect_status(200, 400)
    target.note(f"a key of the study for the series of one: {answer.status}")


@case(
    "QID-55",
    section="10.6.3.1, 8.5",
    level=Level.SHALL,
    requirement="The series of a study that does not exist are none.",
    request="GET {b}/studies/{a UID that nothing has}/series",
    expected="204 or 404",
    needs=_CT,
)
async def series_of_no_study_are_204_or_404(target: Target) -> None:
    await _need_found(target, _in_series(target))
    answer = await target.get(f"/studies/{_nobody(target)}/series")
    answer.expect_status(204, 404)
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
    scope = _Scope("/instances", own, _INSTANCE, instance.sop_instance_uid)
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
    needs=_CT,
)
async def instance_availability_has_a_defined_value(target: Target) -> None:
    row = await _in_studies(target.study(Fixture.F1)).row(target)
    if "00080056" not in row:
        raise NotClaimed("InstanceAvailability is not among the attributes")
    held = dicom_json.text(row, "00080056") in _AVAILABILITIES
    expect(held, "GET /studies: (0008,0056) has none of its defined values")


@case(
    "QID-60",
    section="8.3.1",
    level=Level.SHALL,
    requirement="Characters that are percent-encoded in a value are part of it.",
    request="GET {b}/studies?StudyInstanceUID={S1} with PatientID=%50%2D%30%30%31, and with"
    " P-001%26x%3Dy, P-001%23x, P-001%2Cx",
    expected="found by the first, not by the others",
    needs=_CT,
)
async def encoded_characters_belong_to_the_value(target: Target) -> None:
    right = _ct(target).original.PatientID
    await _expect_among(target, f"PatientID={_encoded(right)}", found=[Fixture.F1])
    for more in ("%26x%3Dy", "%23x", "%2Cx"):
        await _expect_among(target, f"PatientID={right}{more}", found=(), others=[Fixture.F1])


@case(
    "QID-61",
    section="10.6.4, 8.7.8.1",
    level=Level.SHALL,
    requirement="application/json, which is no media type of search results, is 406 or taken for"
    " DICOM JSON.",
    request="GET {b}/studies?StudyInstanceUID={S1}, Accept: application/json",
    expected="406, or 200 with JSON",
    needs=_CT,
)
async def plain_json_is_406_or_dicom_json(target: Target) -> None:
    scope = _in_studies(target.study(Fixture.F1))
    await _need_found(target, scope)
    answer = await target.get(scope.path, query=scope.own, accept="application/json")
    answer.expect_status(200, 406)
    if answer.status == 200:
        answer.expect_media_type("application/json", DICOM_JSON)
        answer.json()
    target.note(f"Accept: application/json is {answer.status}")


@case(
    "QID-62",
    section="PS3.4 C.2.2.2.1, 10.6.3.1",
    level=Level.SHOULD,
    requirement="Characters that mean something to databases are taken as they are.",
    request="GET {b}/studies?StudyInstanceUID={S1} with PatientID and PatientName of ' % _ [",
    expected="not found, and no 5xx",
    needs=_CT,
)
async def characters_of_other_languages_are_literal(target: Target) -> None:
    right = _ct(target).original.PatientID
    scope = _in_studies(target.study(Fixture.F1))
    await _need_found(target, scope)
    for value in (f"{right}'", "%", f"{right[:-1]}_", f"[{right[0]}]{right[1:]}", "' OR '1'='1"):
        for name in ("PatientID", "PatientName"):
            answer = await scope.ask(target, {name: value})
            expect(answer.status < 500, f"{answer.asked}: {answer.status}")
            found = answer.status == 200 and scope.uid in _uids(answer)
            expect(not found, f"{answer.asked}: it does not match, and is found")


@case(
    "QID-63",
    section="8.3.4.1.1",
    level=Level.SHOULD,
    requirement="In one interval of dates and times the first time may be later than the last one.",
    request="GET {b}/studies?StudyDate=20240105-20240106&StudyTime=2100-0100",
    expected="F14 (5th, 22:00), neither F1 (5th, 10:15) nor F7 (6th, 23:59)",
    needs=_DATES,
)
async def interval_may_begin_later_in_the_day_than_it_ends(target: Target) -> None:
    query = "StudyDate=20240105-20240106&StudyTime=2100-0100"
    await _expect_among(target, query, found=[Fixture.F14], others=(Fixture.F1, Fixture.F7))


@case(
    "QID-64",
    section="10.6.1.2.3",
    level=Level.SHALL,
    requirement="Series are matched by all required keys of their level.",
    request="GET {b}/studies/{S1}/series with each key of Table 10.6.1-5: a right value, then a"
    " wrong one",
    expected="found by the right one, not by the wrong one",
    needs=_CT,
)
async def series_match_by_all_required_keys(target: Target) -> None:
    scope, original = _in_series(target), _ct(target).original
    step = original.RequestAttributesSequence[0]
    within = "RequestAttributesSequence"
    await _expect_keys(
        target,
        scope,
        {
            "Modality": (original.Modality, "MG"),
            "SeriesInstanceUID": (scope.uid, _nobody(target)),
            "SeriesNumber": (str(original.SeriesNumber), "99"),
            "PerformedProcedureStepStartDate": (
                original.PerformedProcedureStepStartDate,
                "19990101",
            ),
            "PerformedProcedureStepStartTime": (original.PerformedProcedureStepStartTime, "030000"),
            f"{within}.ScheduledProcedureStepID": (step.ScheduledProcedureStepID, "NO-SUCH"),
            f"{within}.RequestedProcedureID": (step.RequestedProcedureID, "NO-SUCH"),
        },
    )


@case(
    "QID-65",
    section="10.6.1.2.3",
    level=Level.SHALL,
    requirement="Instances are matched by all required keys of their level.",
    request="GET {b}/studies/{S1}/series/{R1}/instances with each key of Table 10.6.1-5: a right"
    " value, then a wrong one",
    expected="found by the right one, not by the wrong one",
    needs=_CT,
)
async def instances_match_by_all_required_keys(target: Target) -> None:
    scope, original = _in_instances(target), _ct(target).original
    other = _nobody(target)
    await _expect_keys(
        target,
        scope,
        {
            "SOPClassUID": (str(original.SOPClassUID), other),
            "SOPInstanceUID": (scope.uid, other),
            "InstanceNumber": (str(original.InstanceNumber), "99"),
        },
    )


@case(
    "QID-66",
    section="10.6.3.3.2",
    level=Level.SHALL,
    requirement="Each series in the results has what else is known of it: description, performed"
    " step, requests.",
    request="GET {b}/studies/{S1}/series",
    expected="Series Description, start of the performed step; items of the Request Attributes"
    " Sequence with both IDs",
    needs=_CT,
)
async def series_has_what_is_known_of_it(target: Target) -> None:
    row = await _in_series(target).row(target)
    original = _ct(target).original
    known = (
        "SeriesDescription",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    )
    missing = [
        each
        for each in known
        if each in original and dicom_json.text(row, _tag(each)) != original[each].value
    ]
    expect(not missing, f"GET .../series: {', '.join(missing)} is not that of the series")
    items = dicom_json.values_of(row, "00400275")
    need("RequestAttributesSequence" in original, "the series has no request")
    expect(len(items) == 1, f"GET .../series: (0040,0275) has {len(items)} items, not 1")
    for keyword in ("ScheduledProcedureStepID", "RequestedProcedureID"):
        wanted = str(original.RequestAttributesSequence[0][keyword].value)
        held = dicom_json.text(items[0], _tag(keyword)) == wanted
        expect(held, f"GET .../series: {keyword} is not in the item of (0040,0275)")
