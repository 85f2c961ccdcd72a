"""The same keys find the same by C-FIND and by QIDO-RS, whatever keys they are."""

from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.dimse import c_find
from bfr_dicomweb.dimse.c_find import PATIENT_ROOT
from bfr_dicomweb.index import instances
from dimse_queries import Qido, Scu, scu
from dimse_served import Served, served
from population import MODALITIES, SOP_CLASSES, population

FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ALL_BUT_FUZZY = bytes((1, 1, 0, 0, 0))
ALL = bytes((1, 1, 1, 0, 0))
PATHS = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}


@dataclass(frozen=True, slots=True)
class Doors:
    plain: Scu
    fuzzy: Scu
    qido: Qido


async def fill(archive: Served) -> None:
    async with archive.archive.index.write() as conn:
        await instances.add_instances(conn, [instances.prepare(item) for item in population()])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def doors(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Doors]:
    url = None
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgresql")
        cluster.create_database("c_find", "template")
        url = cluster.url("c_find")
    folder = tmp_path_factory.mktemp("law")
    with served(folder, index_url=url, services=c_find.SERVICES) as archive:
        archive.wait(fill(archive))
        with (
            scu(archive.port, extended=ALL_BUT_FUZZY) as plain,
            scu(archive.port, extended=ALL) as fuzzy,
        ):
            yield Doors(plain, fuzzy, Qido(archive))


def one(keyword: str, *values: str) -> st.SearchStrategy[tuple[str, str]]:
    return st.tuples(st.just(keyword), st.sampled_from(["", "*", *values]))


DATES = ("20240131", "20240201-20240229", "-20240201", "20240131-", "19991231")
TIMES = ("10", "103059", "100000-103059.5", "-12", "12-")
TEXTS = ("DT*", "*buk", "mr hj?rna", "*%_[*", "buk", "DT BUK")
NAMES = ("akesson*", "Åkesson^Åsa", "SVENSSON^ANNA", "*son*", "山田*", "*_[y]*", "Ø*", "=山田^太郎")
PATIENT_KEYS = st.one_of(
    one("PatientName", *NAMES),
    one("PatientID", "191212121212", "121212-1212", "19121212-1212", "P1", "P?", "A_B", "none"),
    one("IssuerOfPatientID", "X", "Y"),
    one("PatientBirthDate", *DATES),
    one("PatientSex", "F", "M\\O"),
    one("OtherPatientIDsSequence.PatientID", "P1", "P10", "X"),
    one("OtherPatientIDsSequence.IssuerOfPatientID", "X"),
)
STUDY_KEYS = PATIENT_KEYS | st.one_of(
    one("StudyDate", *DATES),
    one("StudyTime", *TIMES),
    one("AccessionNumber", "A1", "A?", "A1*"),
    one("StudyDescription", *TEXTS),
    one("ModalitiesInStudy", *MODALITIES, "CT\\SR", "M*"),
    one("SOPClassesInStudy", *SOP_CLASSES),
    one("NameOfPhysiciansReadingStudy", *NAMES),
    one("ReferringPhysicianName", *NAMES),
    one("ProcedureCodeSequence.CodeValue", "K", "L"),
    one("ProcedureCodeSequence.CodingSchemeDesignator", "99A"),
    one(
        "StudyInstanceUID",
        population()[0].study_instance_uid,
        "\\".join(item.study_instance_uid for item in population()[::7]),
    ),
)
SERIES_KEYS = STUDY_KEYS | st.one_of(
    one("Modality", *MODALITIES),
    one("SeriesNumber", "1", "30"),
    one("SeriesDescription", *TEXTS),
    one("BodyPartExamined", "CHEST", "ABD*"),
    one("PerformedProcedureStepStartDate", *DATES),
    one("PerformedProcedureStepStartTime", *TIMES),
    one("PerformingPhysicianName", *NAMES),
    one("RequestAttributesSequence.ScheduledProcedureStepID", "S1"),
    one("RequestAttributesSequence.RequestedProcedureID", "R1"),
)
IMAGE_KEYS = SERIES_KEYS | st.one_of(
    one("SOPClassUID", *SOP_CLASSES),
    one("InstanceNumber", "1", "3"),
    one("Rows", "64"),
    one("NumberOfFrames", "20"),
    one("ContentDate", *DATES),
    one("ContentTime", *TIMES),
    one("AcquisitionDateTime", "20240201-20240202"),
)
KEYS = {"STUDY": STUDY_KEYS, "SERIES": SERIES_KEYS, "IMAGE": IMAGE_KEYS}
_NUMBERS = {"Rows"}


def queries() -> st.SearchStrategy[tuple[str, list[tuple[str, str]]]]:
    def of(level: str) -> st.SearchStrategy[tuple[str, list[tuple[str, str]]]]:
        keys = st.lists(KEYS[level], max_size=4, unique_by=lambda pair: pair[0])
        return st.tuples(st.just(level), keys)

    return st.sampled_from(list(KEYS)).flatmap(of)


def dicom(keys: list[tuple[str, str]]) -> list[tuple[str, object]]:
    """As pydicom takes them: universal for VRs that are no text is the empty value."""
    return [
        (
            word,
            (int(value) if value.isdigit() else None)
            if word in _NUMBERS
            else value.strip("*") and value,
        )
        for word, value in keys
    ]


@FEW
@given(query=queries(), fuzzy=st.booleans())
@example(query=("STUDY", []), fuzzy=False)
@example(query=("SERIES", []), fuzzy=False)
@example(query=("IMAGE", []), fuzzy=False)
@example(query=("STUDY", [("PatientName", "akeson karlson")]), fuzzy=True)
@example(query=("SERIES", [("ModalitiesInStudy", "CT\\SR"), ("PatientSex", "M\\O")]), fuzzy=False)
def test_both_doors_find_the_same(
    doors: Doors, query: tuple[str, list[tuple[str, str]]], fuzzy: bool
) -> None:
    level, keys = query
    unique = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
    asked = dict([(unique[level], ""), *dicom(keys)])

    found = (doors.fuzzy if fuzzy else doors.plain).find(level, *asked.items())

    wanted = [("fuzzymatching", "true" if fuzzy else "false"), ("limit", "10000")]
    wanted += [(word, value) for word, value in keys if value]
    expected = doors.qido.search(PATHS[level], *wanted)
    tag = {"STUDY": "0020000D", "SERIES": "0020000E", "IMAGE": "00080018"}[level]
    assert found.status.Status == 0x0000
    assert found.uids(level) == [row[tag]["Value"][0] for row in expected]


@FEW
@given(keys=st.lists(PATIENT_KEYS, max_size=3, unique_by=lambda pair: pair[0]))
@example(keys=[])
@example(keys=[("PatientID", "191212121212")])
@example(keys=[("PatientBirthDate", "20240131")])
def test_patients_are_those_of_the_studies_that_match(
    doors: Doors, keys: list[tuple[str, str]]
) -> None:
    asked: dict[str, object] = {"PatientID": "", "IssuerOfPatientID": "", **dict(dicom(keys))}

    found = doors.plain.find("PATIENT", *asked.items(), model=PATIENT_ROOT)

    wanted = [(word, value) for word, value in keys if value]
    studies = doors.qido.search("studies", ("includefield", "IssuerOfPatientID"), *wanted)
    expected = {patient(study) for study in studies} - {None}
    assert found.status.Status == 0x0000
    assert {patient(answer) for answer in found.answers} == expected
    assert len(found.answers) == len(expected)


def patient(answer: dict[str, dict[str, list[str]]]) -> tuple[str, str] | None:
    named = answer["00100020"].get("Value")
    if not named:
        return None
    issuer = answer.get("00100021", {}).get("Value", [""])[0]
    return identity_numbers.match_keys(named[0])[0], issuer
