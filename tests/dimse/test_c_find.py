"""C-FIND by findscu and pynetdicom; what is to be answered is asked of QIDO-RS."""

import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import encode

from bfr_dicomweb.dimse import c_find
from bfr_dicomweb.dimse.c_find import PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT
from bfr_dicomweb.dimse.peers import ANY, Peer, Quirks
from bfr_dicomweb.services import importing
from dimse_queries import UIDS, Found, Json, Qido, Scu, identifier, scu
from dimse_served import AE_TITLE, Served, served
from objects import a_dataset, uid, written
from shared_data import NO_DCMTK, SHARED, require_shared_data

# The samples hold values that are wrong, and are answered as they are.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")

SUCCESS, CANCELLED, MORE = 0x0000, 0xFE00, 0xB001
REFUSED = 0xA900
PENDING, PENDING_WITH_UNSUPPORTED_KEYS = 0xFF00, 0xFF01


async def store(archive: Served, *paths: Path) -> None:
    async def sources() -> AsyncIterator[importing.Source]:
        for source in importing.sources(paths):
            yield source

    await importing.import_files(archive.archive.store, sources(), lambda _: None)


def put(archive: Served, folder: Path, *objects: Dataset) -> None:
    """Store them one after the other."""
    for one in objects:
        file = folder / f"{one.SOPInstanceUID}.dcm"
        file.write_bytes(written(one))
        archive.wait(store(archive, file))


# --- every study of the samples --------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    require_shared_data()
    with served(tmp_path_factory.mktemp("samples"), services=c_find.SERVICES) as archive:
        archive.wait(store(archive, SHARED / "dicom"))
        yield archive


@pytest.fixture(scope="module")
def asking(samples: Served) -> Iterator[Scu]:
    with scu(samples.port) as asking:
        yield asking


@pytest.fixture(scope="module")
def qido(samples: Served) -> Qido:
    return Qido(samples)


def words(text: str) -> list[str]:
    return text.split()


# What both doors tell of a study, a series and an instance.
STUDY_TOLD = words("""
    StudyDate StudyTime AccessionNumber ReferringPhysicianName PatientName PatientID
    PatientBirthDate PatientSex StudyInstanceUID StudyID NumberOfStudyRelatedSeries
    NumberOfStudyRelatedInstances ModalitiesInStudy TimezoneOffsetFromUTC StudyDescription
    InstitutionName IssuerOfPatientID PatientAge PatientWeight PatientComments SOPClassesInStudy
    ProcedureCodeSequence OtherPatientIDsSequence NameOfPhysiciansReadingStudy
""")
SERIES_TOLD = [
    *STUDY_TOLD,
    *words("""
    Modality SeriesInstanceUID SeriesNumber NumberOfSeriesRelatedInstances SeriesDescription
    PerformedProcedureStepStartDate PerformedProcedureStepStartTime RequestAttributesSequence
    BodyPartExamined Manufacturer StationName ProtocolName PatientPosition SoftwareVersions
    """),
]
IMAGE_TOLD = [
    *SERIES_TOLD,
    *words("""
    SOPClassUID SOPInstanceUID InstanceNumber Rows Columns BitsAllocated NumberOfFrames
    PhotometricInterpretation PixelSpacing WindowCenter ImageOrientationPatient ContentDate
    AcquisitionDateTime FrameIncrementPointer ConceptNameCodeSequence
    """),
]
TOLD = {"STUDY": STUDY_TOLD, "SERIES": SERIES_TOLD, "IMAGE": IMAGE_TOLD}
# Of the one sample whose UID pydicom does not tell.
WRONG_UID = {"Value": ["999.999.01.23.45.6789"]}
PATHS = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}


def values(row: Json, tag: str) -> Any:
    """Comparable values: numbers as numbers, and what is empty the same in all its forms."""
    element = row.get(tag, {})
    found = [plain(value) for value in element.get("Value", [])]
    return found if any(value not in (None, "", {}) for value in found) else []


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if plain(inner)}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?", value):
        value = float(value)
    # a DS has room for so many digits
    return float(f"{value:.12g}") if isinstance(value, float) else value


@pytest.mark.parametrize("level", list(TOLD))
def test_every_attribute_is_answered_as_qido_answers_it(
    asking: Scu, qido: Qido, level: str
) -> None:
    keywords = TOLD[level]

    found = asking.find(level, *((keyword, None) for keyword in keywords))

    rows = qido.search(PATHS[level], *(("includefield", keyword) for keyword in keywords))
    told = {row[UIDS[level]]["Value"][0]: row for row in rows}
    assert len(found.answers) == len(told)
    assert set(found.uids(level)) == {uid for uid in told if UID(uid).is_valid} != set()
    for answer in found.answers:
        row = told[answer.get(UIDS[level], WRONG_UID)["Value"][0]]
        for tag in answer.keys() - {"00080005", "00080052", "00080054", "00080056"}:
            assert values(answer, tag) == values(row, tag), tag


def test_every_series_of_every_study_is_found_level_by_level(asking: Scu, qido: Qido) -> None:
    instances = []
    for study in asking.find("STUDY", ("StudyInstanceUID", "")).uids("STUDY"):
        of_study = ("StudyInstanceUID", study)
        for series in asking.find("SERIES", of_study, ("SeriesInstanceUID", "")).uids("SERIES"):
            of_series = ("SeriesInstanceUID", series)
            images = asking.find("IMAGE", of_study, of_series, ("SOPInstanceUID", ""))
            instances += images.uids("IMAGE")

    rows = qido.search("instances")
    uids = (row["00080018"]["Value"][0] for row in rows)
    assert sorted(instances) == sorted(uid for uid in uids if UID(uid).is_valid)


def findscu(port: int, *options: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            ["findscu", "-v", "-aec", AE_TITLE, *options, "127.0.0.1", str(port)],
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
    except FileNotFoundError:
        pytest.skip(NO_DCMTK)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.parametrize("model", ["-S", "-P", "-O"])
def test_findscu_finds_the_studies_of_a_modality(samples: Served, qido: Qido, model: str) -> None:
    code, printed = findscu(
        samples.port, model, "-k", "0008,0052=STUDY", "-k", "ModalitiesInStudy=MR",
        "-k", "StudyInstanceUID",
    )  # fmt: skip

    rows = qido.search("studies", ("ModalitiesInStudy", "MR"))
    assert code == 0
    assert sorted(re.findall(r"\(0020,000d\) UI \[([\d.]+)", printed)) == sorted(
        row["0020000D"]["Value"][0] for row in rows
    )


def test_findscu_asks_for_series_across_studies(samples: Served, qido: Qido) -> None:
    code, printed = findscu(
        samples.port, "-S", "-k", "0008,0052=SERIES", "-k", "Modality=CT", "-k", "PatientName=*a*",
        "-k", "SeriesInstanceUID",
    )  # fmt: skip

    rows = qido.search("series", ("Modality", "CT"), ("PatientName", "*a*"))
    assert code == 0
    assert printed.count("Find Response: ") == len(rows) > 0


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_answers_are_the_same_in_every_transfer_syntax(
    samples: Served, asking: Scu, syntax: str
) -> None:
    keys = [(keyword, None) for keyword in SERIES_TOLD]
    with scu(samples.port, syntaxes=[syntax]) as other:
        found = other.find("SERIES", *keys)

    assert found.answers == asking.find("SERIES", *keys).answers


# --- patients --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two patients and one without an identifier."""
    peers = (Peer(ANY), Peer("OLD", quirks=Quirks(character_set="ISO_IR 144")))
    with served(tmp_path_factory.mktemp("own"), peers=peers, services=c_find.SERVICES) as archive:
        put(
            archive,
            tmp_path_factory.mktemp("objects"),
            study("191212121212", "Åkesson^Åsa", "20240131", "101500"),
            study("19121212-1212", "Åkesson^Åsa^M", "20240201", "235900"),
            study(
                "191212121212", "Other^Person", "20240301", "080000", IssuerOfPatientID="ELSEWHERE"
            ),
            study("B", "Лук^Иван", "20200101", "120000", SpecificCharacterSet="ISO_IR 144"),
            study("C", "Ягода=山田", "20200102", "120000", SpecificCharacterSet="ISO_IR 192"),
            study("", "No^Identifier", "20190101", ""),
        )
        yield archive


def study(identifier: str, name: str, date: str, time: str, **others: Any) -> Dataset:
    values = {"SpecificCharacterSet": "ISO_IR 192", "StudyInstanceUID": uid()} | others
    return a_dataset(
        PatientID=identifier, PatientName=name, StudyDate=date, StudyTime=time, **values
    )


@pytest.fixture(scope="module")
def own(archive: Served) -> Iterator[Scu]:
    with scu(archive.port) as own:
        yield own


def names(found: Found) -> list[str]:
    return ["=".join(a["00100010"]["Value"][0].values()) for a in found.answers]


def test_a_patient_is_an_identifier_of_an_issuer(own: Scu) -> None:
    keys = [("PatientID", ""), ("IssuerOfPatientID", ""), ("NumberOfPatientRelatedStudies", None)]
    found = own.find("PATIENT", *keys, model=PATIENT_ROOT)

    told = [
        tuple(answer[tag].get("Value", [""])[0] for tag in ("00100020", "00100021", "00201200"))
        for answer in found.answers
    ]
    assert told == [
        ("19121212-1212", "", 2),  # in the spelling of the study that came last
        ("191212121212", "ELSEWHERE", 1),
        ("B", "", 1),
        ("C", "", 1),
    ]


def test_patients_of_the_retired_model_are_found(own: Scu) -> None:
    found = own.find("PATIENT", ("PatientID", "B"), model=PATIENT_STUDY_ONLY)

    assert found.uids("PATIENT") == ["B"]


def test_all_studies_of_a_patient_are_counted_whichever_matches(own: Scu) -> None:
    keys = [
        ("PatientName", "Åkesson^Åsa^M"),
        ("PatientID", ""),
        ("NumberOfPatientRelatedStudies", None),
    ]
    (answer,) = own.find("PATIENT", *keys, model=PATIENT_ROOT).answers

    assert answer["00201200"]["Value"] == [2]


# --- keys ------------------------------------------------------------------------------------


def test_what_is_asked_for_and_unknown_is_answered_empty(own: Scu) -> None:
    (answer,) = own.find("STUDY", ("PatientID", "B"), ("ReasonForVisit", "")).answers

    assert answer["00321066"] == {"vr": "UT"}


def test_only_what_is_asked_for_is_answered(own: Scu) -> None:
    (answer,) = own.find("STUDY", ("PatientID", "B")).answers

    assert answer == {
        "00080052": {"vr": "CS", "Value": ["STUDY"]},
        "00080054": {"vr": "AE", "Value": [AE_TITLE]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00100020": {"vr": "LO", "Value": ["B"]},
    }


def test_answers_to_supported_keys_have_no_warning(own: Scu) -> None:
    assert own.find("STUDY", ("PatientID", "B")).pending == {PENDING}


@pytest.mark.parametrize("key", [("Modality", "MR"), ("Rows", None), ("RetrieveURL", "")])
def test_keys_that_a_level_does_not_have_are_warned_of(own: Scu, key: tuple[str, Any]) -> None:
    found = own.find("STUDY", ("PatientID", "B"), key)

    assert found.pending == {PENDING_WITH_UNSUPPORTED_KEYS}


def test_only_the_keys_of_an_item_are_answered(archive: Served, own: Scu, tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "K1", "99A", "Knee"
    put(archive, tmp_path, study("ITEM", "A", "20010101", "", ProcedureCodeSequence=[item]))

    found = own.find("STUDY", ("PatientID", "ITEM"), ("ProcedureCodeSequence.CodeMeaning", ""))

    assert found.answers[0]["00081032"]["Value"] == [{"00080104": {"vr": "LO", "Value": ["Knee"]}}]


def test_dates_and_times_are_apart_when_nothing_else_is_agreed(own: Scu) -> None:
    keys = (("StudyDate", "20240131-20240201"), ("StudyTime", "100000-110000"))

    assert names(own.find("STUDY", *keys, ("PatientName", ""))) == ["Åkesson^Åsa"]


def test_dates_and_times_are_one_interval_when_that_is_agreed(archive: Served) -> None:
    keys = (("StudyDate", "20240131-20240201"), ("StudyTime", "110000-235959"))
    with scu(archive.port, extended=bytes((0, 1))) as agreed:
        found = agreed.find("STUDY", *keys, ("PatientName", ""))

    assert names(found) == ["Åkesson^Åsa^M"]


def test_names_are_matched_by_sound_when_that_is_agreed(archive: Served, own: Scu) -> None:
    key = ("PatientName", "Okesson")
    with scu(archive.port, extended=bytes((0, 0, 1))) as agreed:
        assert agreed.find("STUDY", key).answers

    assert not own.find("STUDY", key).answers


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "key", "tag"),
    [
        ("STUDY", ("StudyDate", "yesterday"), 0x00080020),
        ("STUDY", ("StudyTime", "25"), 0x00080030),
        ("STUDY", ("StudyInstanceUID", "1.2.*.3"), 0x0020000D),
        ("SERIES", ("SeriesDate", "20241301"), 0x00080021),
        ("PATIENT", ("PatientName", ""), 0x00080052),
        ("", ("PatientName", ""), 0x00080052),
        ("FRAME", ("PatientName", ""), 0x00080052),
    ],
)
def test_what_cannot_be_matched_is_refused_by_name(
    own: Scu, level: str, key: tuple[str, Any], tag: int
) -> None:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    tag_of_key = pydicom.datadict.tag_for_keyword(key[0]) or 0
    vr = pydicom.datadict.dictionary_VR(tag_of_key)
    asked.add(
        pydicom.dataelem.DataElement(tag_of_key, vr, key[1], validation_mode=pydicom.config.IGNORE)
    )

    status = own.ask(asked).status

    assert (status.Status, status.OffendingElement) == (REFUSED, tag)
    assert not key[1] or str(key[1]) not in status.ErrorComment


def test_a_query_for_too_many_uids_is_refused(archive: Served) -> None:
    uids = [f"2.25.{number}" for number in range(10_001)]
    with scu(archive.port, syntaxes=[ImplicitVRLittleEndian]) as asking:
        found = asking.find("STUDY", ("StudyInstanceUID", uids))

    assert found.status.Status == REFUSED


WHOLE = identifier("STUDY", [("PatientName", "Å*"), ("ProcedureCodeSequence.CodeValue", "K")])


def mutated() -> st.SearchStrategy[bytes]:
    good = encode(WHOLE, is_implicit_vr=False, is_little_endian=True) or b""
    cut = st.integers(0, len(good)).map(lambda end: good[:end])
    places = st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255))
    changed = st.lists(places, min_size=1, max_size=4).map(
        lambda changes: bytes(dict(changes).get(at, byte) for at, byte in enumerate(good))
    )
    return st.binary(min_size=1, max_size=200) | cut.filter(bool) | changed


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(encoded=mutated())
def test_any_bytes_as_identifier_are_answered(own: Scu, encoded: bytes) -> None:
    status = own.send(encoded).status.Status

    assert status in (SUCCESS, REFUSED, 0xC000)


# --- many answers ----------------------------------------------------------------------------


def test_a_cancelled_query_ends_as_cancelled(
    samples: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_find, "FIRST_STRETCH", 5)
    monkeypatch.setattr(c_find, "STRETCH", 5)
    with scu(samples.port) as asking:
        association = asking.association
        answers = association.send_c_find(
            identifier("IMAGE", [("SOPInstanceUID", "")]), STUDY_ROOT, msg_id=9
        )
        next(answers)
        association.send_c_cancel(9, query_model=STUDY_ROOT)
        *rest, (status, _) = answers

        assert status.Status == CANCELLED
        assert len(rest) < 360
        assert asking.find("STUDY", ("StudyInstanceUID", "")).status.Status == SUCCESS


def test_that_matches_are_left_out_is_told(own: Scu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_find, "MOST_MATCHES", 2)

    found = own.find("STUDY", ("StudyInstanceUID", ""))

    assert (len(found.answers), found.status.Status) == (2, MORE)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_stretches_make_up_the_whole(
    samples: Served, asking: Scu, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    whole = {
        level: asking.find(level, (keyword, ""), model=PATIENT_ROOT).answers
        for level, keyword in (("PATIENT", "PatientID"), ("SERIES", "SeriesInstanceUID"))
    }
    monkeypatch.setattr(c_find, "FIRST_STRETCH", size)
    monkeypatch.setattr(c_find, "STRETCH", size)

    assert asking.find("PATIENT", ("PatientID", ""), model=PATIENT_ROOT).answers == whole["PATIENT"]
    assert asking.find("SERIES", ("SeriesInstanceUID", "")).answers == whole["SERIES"]


# --- character sets --------------------------------------------------------------------------


def test_names_of_every_character_set_are_found_and_told(samples: Served, asking: Scu) -> None:
    for path in sorted((SHARED / "dicom" / "charsets").glob("SYNTHETIC_ISO_IR_*.dcm")):
        if path.stem.endswith("203"):
            continue  # Latin alphabet No. 9, which pydicom cannot read yet
        stored = pydicom.dcmread(path, stop_before_pixels=True)
        found = asking.find(
            "STUDY", ("PatientName", str(stored.PatientName)), ("StudyInstanceUID", "")
        )

        assert str(stored.StudyInstanceUID) in found.uids("STUDY"), path.name
        assert str(stored.PatientName) in names(found), path.name


def first_character_set(found: Found) -> str:
    return str(found.answers[0].get("00080005", {}).get("Value", [""])[0])


def query_of(name: str | bytes, *, character_set: str | None) -> Dataset:
    asked = Dataset()
    if character_set is not None:
        asked.SpecificCharacterSet = character_set
    asked.QueryRetrieveLevel = "STUDY"
    asked.PatientName = name
    return asked


def test_an_answer_in_ascii_declares_nothing(own: Scu) -> None:
    assert first_character_set(own.find("STUDY", ("PatientID", "B"))) == ""


def test_an_answer_has_the_character_set_of_the_question_if_that_can_tell_it(own: Scu) -> None:
    found = own.ask(query_of("Лук*", character_set="ISO_IR 144"))

    assert (names(found), first_character_set(found)) == (["Лук^Иван"], "ISO_IR 144")


def test_an_answer_that_latin_1_can_tell_is_latin_1(own: Scu) -> None:
    found = own.ask(query_of("Akesson^Asa", character_set=None))

    assert (names(found), first_character_set(found)) == (["Åkesson^Åsa"], "ISO_IR 100")


def test_an_answer_that_nothing_else_can_tell_is_utf_8(own: Scu) -> None:
    asked = query_of("", character_set=None)
    asked.PatientID = "C"

    found = own.ask(asked)

    assert first_character_set(found) == "ISO_IR 192"


def test_a_peer_is_read_and_answered_in_its_own_character_set(archive: Served) -> None:
    declared = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 144"
    asked = encode(query_of("Лук*", character_set="ISO_IR 144"), False, True) or b""
    assert asked.startswith(declared)
    with scu(archive.port, title="OLD") as old:
        found = old.send(asked.removeprefix(declared))

    assert (names(found), first_character_set(found)) == (["Лук^Иван"], "ISO_IR 144")
