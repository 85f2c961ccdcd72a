"""What a modality finds to do, asked by pynetdicom and by DCMTK's findscu."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityWorklistInformationFind,
    Verification,
)

from bfr_dicomweb.dimse.peers import ANY, Peer, Quirks
from dimse_served import AE_TITLE, Served, served
from hl7_said import ABDOMEN, THORAX, Exam, m1, m2, message, msh, order, pid, segment, status
from modalities import ISSUER, Modality, a_query, told
from shared_data import NO_DCMTK

KNEE = Exam("P-3", "MR7", "", "81200^MR Knä^KVÅ", "MR", "MR1_SU", "202401110730", "")
OTHER = pid("196408233234", name="Öberg^Åsa^^^^^L", birth="19640823", sex="F")
# Without a time; without a station.
TIMELESS = replace(KNEE, placer="P-4", accession="MR8", start="")
STATIONLESS = replace(KNEE, placer="P-5", accession="MR9", station="")


def detailed() -> bytes:
    """An order that says all that a worklist can tell."""
    return message(
        msh("OMI^O23^OMI_O23", "D1", "20240109080000"),
        pid("19810829M071", oid="1.2.752.113.11.0.2.1.1.1", name="Ek^Eva^^^^^L", birth="19810829"),
        "PV1|1|I|AVA 12|||||SE2321000131-P2^Remittent^Rut|||||||||||ADM77^^1.2.752.113.99.8^ISO",
        "ORC|NW|P-9|F-9|G-9|||||20240109080000|||P1^Beställare^Bo|||||||||VC Hjällbo",
        "TQ1|1||||||202401121015|202401121045|S",
        segment(
            "OBR",
            {
                2: "P-9",
                3: "F-9",
                4: "84300^DT buk^KVÅ",
                13: "Tidigare op",
                24: "CT",
                31: "^Buksmärta",
                34: "P5&Utförare&Ulla",
            },
        ),
        f"IPC|A-9^^{ISSUER}^ISO|RP-9|1.2.752.113.99.1.9|SPS-9|CT|BUK1^Buk rutin^99SU|CT2|Lab 3"
        "|CT2_SU",
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Exams of three patients; two of the orders are no worklist's yet."""
    with served(tmp_path_factory.mktemp("worklist")) as archive:
        orders = [
            order(exam, control_id=exam.accession, time="20240109090000", patient=OTHER, group="")
            for exam in (KNEE, TIMELESS, STATIONLESS)
        ]
        # nobody gives the procedures and steps numbers of their own
        orders = [sent.replace(b"|SPSMR7|", b"||").replace(b"|RPMR7|", b"||") for sent in orders]
        archive.wait(told(archive.door.orders, m1(), m2(), detailed(), *orders))
        yield archive


@pytest.fixture(scope="module")
def modality(archive: Served) -> Modality:
    return Modality(archive.port)


def accessions(items: list[Dataset]) -> list[str]:
    return [item.AccessionNumber for item in items]


def test_a_station_finds_its_exams_with_the_numbers_of_the_order(modality: Modality) -> None:
    found = modality.worklist(ScheduledStationAETitle="CT1_SU")

    assert [(i.PatientID, i.AccessionNumber, i.StudyInstanceUID) for i in found] == [
        ("191212121212", THORAX.accession, THORAX.study_uid),
        ("191212121212", ABDOMEN.accession, ABDOMEN.study_uid),
    ]


def test_everything_that_is_scheduled_is_found_in_the_order_of_its_start(
    modality: Modality,
) -> None:
    assert accessions(modality.worklist()) == ["SU24000123", "SU24000124", "MR7", "A-9"]


FIRST = ["SU24000123", "SU24000124"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"ScheduledStationAETitle": "MR1_SU"}, ["MR7"]),
        ({"ScheduledStationAETitle": "CT?_SU"}, [*FIRST, "A-9"]),
        ({"ScheduledStationAETitle": "NONE"}, []),
        ({"ScheduledProcedureStepStartDate": "20240111"}, ["MR7"]),
        ({"ScheduledProcedureStepStartDate": "20240111-"}, ["MR7", "A-9"]),
        ({"ScheduledProcedureStepStartDate": "-20240110"}, FIRST),
        ({"ScheduledProcedureStepStartDate": "20240110-20240111"}, [*FIRST, "MR7"]),
        ({"ScheduledProcedureStepStartTime": "0730"}, ["MR7"]),
        ({"ScheduledProcedureStepStartTime": "0800-1000"}, FIRST),
        ({"ScheduledProcedureStepStartTime": "1000-"}, ["A-9"]),
        ({"Modality": "MR"}, ["MR7"]),
        ({"ScheduledPerformingPhysicianName": "utförare*"}, ["A-9"]),
        ({"ScheduledPerformingPhysicianName": "Ingen"}, []),
        ({"PatientName": "ÖBERG^ÅSA"}, ["MR7"]),
        ({"PatientName": "Ob*"}, ["MR7"]),
        ({"PatientName": "*sson*"}, FIRST),
        ({"PatientName": "Nobody*"}, []),
        ({"PatientID": "196408233234"}, ["MR7"]),
        ({"PatientID": "19640823-3234"}, ["MR7"]),
        ({"PatientID": "196408233242"}, []),
        ({"AccessionNumber": "SU24000124"}, ["SU24000124"]),
        ({"AccessionNumber": "SU2400012*"}, FIRST),
        ({"StudyInstanceUID": "1.2.752.113.99.1.2"}, ["SU24000124"]),
        ({"ScheduledProcedureStepID": "SPSSU24000123"}, ["SU24000123"]),
        ({"ScheduledProcedureStepID": "MR7"}, ["MR7"]),
        ({"RequestedProcedureID": "RP-9"}, ["A-9"]),
        ({"RequestedProcedureID": "MR7"}, ["MR7"]),
        ({"AdmissionID": "ADM77"}, ["A-9"]),
        ({"Modality": "CT", "ScheduledProcedureStepStartDate": "20240112"}, ["A-9"]),
        ({"Modality": "MR", "ScheduledStationAETitle": "CT1_SU"}, []),
        ({"PatientID": "191212121212", "AccessionNumber": "MR7"}, []),
    ],
    ids=str,
)
def test_keys_choose_what_is_found(
    modality: Modality, keys: dict[str, str], expected: list[str]
) -> None:
    query = a_query(**keys)
    query.SpecificCharacterSet = "ISO_IR 192"

    assert accessions(modality.worklist(query)) == expected


def test_a_range_of_dates_and_one_of_times_are_one_interval(modality: Modality) -> None:
    found = modality.worklist(
        ScheduledProcedureStepStartDate="20240110-20240111",
        ScheduledProcedureStepStartTime="0930-0800",
    )

    assert accessions(found) == ["MR7"]


# PS3.4 Table K.6-1: return keys of type 1 and 2, and what else is known.
TOLD = {
    "PatientName": "Ek^Eva",
    "PatientID": "19810829M071",
    "PatientBirthDate": "19810829",
    "PatientSex": "M",
    "PatientWeight": None,
    "ConfidentialityConstraintOnPatientDataDescription": "",
    "PatientState": "",
    "PregnancyStatus": None,
    "MedicalAlerts": "",
    "Allergies": "",
    "SpecialNeeds": "",
    "AdmissionID": "ADM77",
    "CurrentPatientLocation": "AVA 12",
    "AccessionNumber": "A-9",
    "StudyInstanceUID": "1.2.752.113.99.1.9",
    "RequestedProcedureID": "RP-9",
    "RequestedProcedureDescription": "DT buk",
    "RequestedProcedurePriority": "STAT",
    "PatientTransportArrangements": "",
    "ReasonForTheRequestedProcedure": "Buksmärta",
    "RequestingPhysician": "Beställare^Bo",
    "ReferringPhysicianName": "Remittent^Rut",
    "RequestingService": "VC Hjällbo",
    "PlacerOrderNumberImagingServiceRequest": "P-9",
    "FillerOrderNumberImagingServiceRequest": "F-9",
}
TOLD_OF_STEP = {
    "ScheduledStationAETitle": "CT2_SU",
    "ScheduledProcedureStepStartDate": "20240112",
    "ScheduledProcedureStepStartTime": "101500",
    "ScheduledProcedureStepEndTime": "104500",
    "Modality": "CT",
    "ScheduledPerformingPhysicianName": "Utförare^Ulla",
    "ScheduledProcedureStepDescription": "Buk rutin",
    "ScheduledStationName": "CT2",
    "ScheduledProcedureStepLocation": "Lab 3",
    "PreMedication": "",
    "RequestedContrastAgent": "",
    "ScheduledProcedureStepID": "SPS-9",
    "ScheduledProcedureStepStatus": "SCHEDULED",
}


@pytest.fixture(scope="module")
def whole(modality: Modality) -> Dataset:
    """The item of the detailed order with everything that can be asked for."""
    query = Dataset()
    for keyword in TOLD:
        setattr(query, keyword, None if keyword in ("PatientWeight", "PregnancyStatus") else "")
    for keyword in (
        "ScheduledProcedureStepSequence",
        "RequestedProcedureCodeSequence",
        "ReferencedStudySequence",
        "ReferencedPatientSequence",
        "IssuerOfAccessionNumberSequence",
        "IssuerOfPatientIDQualifiersSequence",
        "IssuerOfAdmissionIDSequence",
        "OtherPatientIDsSequence",
    ):
        setattr(query, keyword, [])
    query.AccessionNumber = "A-9"
    (item,) = modality.worklist(query)
    return item


@pytest.mark.parametrize("keyword", TOLD)
def test_an_item_tells_what_the_order_says(whole: Dataset, keyword: str) -> None:
    assert whole[keyword].value == TOLD[keyword]


@pytest.mark.parametrize("keyword", TOLD_OF_STEP)
def test_the_step_of_an_item_tells_what_the_order_says(whole: Dataset, keyword: str) -> None:
    (step,) = whole.ScheduledProcedureStepSequence

    assert step[keyword].value == TOLD_OF_STEP[keyword]


def test_codes_are_told_with_their_schemes(whole: Dataset) -> None:
    (step,) = whole.ScheduledProcedureStepSequence
    codes = [*whole.RequestedProcedureCodeSequence, *step.ScheduledProtocolCodeSequence]

    assert [(c.CodeValue, c.CodingSchemeDesignator, c.CodeMeaning) for c in codes] == [
        ("84300", "KVA", "DT buk"),
        ("BUK1", "99SU", "Buk rutin"),
    ]


def test_who_gave_a_number_is_told(whole: Dataset) -> None:
    (of_patient,) = whole.IssuerOfPatientIDQualifiersSequence
    (of_accession,) = whole.IssuerOfAccessionNumberSequence
    (of_admission,) = whole.IssuerOfAdmissionIDSequence

    assert [i.UniversalEntityID for i in (of_patient, of_accession, of_admission)] == [
        "1.2.752.113.11.0.2.1.1.1",
        ISSUER,
        "1.2.752.113.99.8",
    ]


def test_only_what_is_asked_for_is_told(modality: Modality) -> None:
    (item,) = modality.worklist(a_query(AccessionNumber="MR7"))
    (step,) = item.ScheduledProcedureStepSequence

    asked = a_query()
    assert (set(item.dir()) - {"SpecificCharacterSet"}, set(step.dir())) == (
        set(asked.dir()),
        set(asked.ScheduledProcedureStepSequence[0].dir()),
    )


def test_an_exam_without_a_study_uid_always_gets_the_same(modality: Modality) -> None:
    uids = {modality.worklist(AccessionNumber="MR7")[0].StudyInstanceUID for _ in range(2)}

    assert [uid.startswith("2.25.") for uid in uids] == [True]


def test_a_key_that_is_not_matched_is_told(modality: Modality) -> None:
    query = a_query(AccessionNumber="MR7")
    query.MedicalAlerts = "PACEMAKER"
    with modality.associated() as association:
        answers = list(association.send_c_find(query, ModalityWorklistInformationFind))

    assert [status.Status for status, _ in answers] == [0xFF01, 0x0000]


def test_a_key_that_nothing_can_match_is_refused_and_named(modality: Modality) -> None:
    query = a_query()
    query.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate = "20240230"
    with modality.associated() as association:
        ((status, _),) = association.send_c_find(query, ModalityWorklistInformationFind)

    assert (status.Status, status.OffendingElement) == (0xA900, 0x00400002)


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
    ids=lambda uid: uid.name,
)
def test_items_are_the_same_in_every_transfer_syntax(archive: Served, transfer_syntax: str) -> None:
    modality = Modality(archive.port, transfer_syntax=transfer_syntax)

    (item,) = modality.worklist(AccessionNumber="MR7")

    assert (item.PatientName, item.ScheduledProcedureStepSequence[0].Modality) == (
        "Öberg^Åsa",
        "MR",
    )


@pytest.mark.skipif(which("findscu") is None, reason=NO_DCMTK)
def test_findscu_finds_the_same(modality: Modality, tmp_path: Path) -> None:
    query = a_query(ScheduledStationAETitle="CT1_SU")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ModalityWorklistInformationFind
    meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    file = FileDataset(tmp_path / "query.wl", query, file_meta=meta, preamble=bytes(128))
    file.save_as(tmp_path / "query.wl", enforce_file_format=True)

    done = subprocess.run(
        [
            *("findscu", "-W", "-X", "-od", str(tmp_path), "-aet", "CT1_SU", "-aec", AE_TITLE),
            *("127.0.0.1", str(modality.port), str(tmp_path / "query.wl")),
        ],
        capture_output=True,
        timeout=30,
        check=False,
        env={**os.environ, "TCP_NODELAY": "1"},
    )

    assert done.returncode == 0, done.stderr
    found = [dcmread(path) for path in sorted(tmp_path.glob("rsp*.dcm"))]
    assert accessions(list(found)) == FIRST


# --- character sets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked_in", "quirk", "answered_in"),
    [
        ("ISO_IR 192", "", "ISO_IR 192"),
        (None, "", "ISO_IR 100"),
        (None, "ISO_IR 192", "ISO_IR 192"),
    ],
)
def test_items_are_in_a_character_set_that_the_modality_knows(
    tmp_path: Path, asked_in: str | None, quirk: str, answered_in: str
) -> None:
    peers = [Peer(ANY, quirks=Quirks(character_set=quirk))]
    with served(tmp_path, peers=peers) as archive:
        sent = order(KNEE, control_id="1", time="20240109090000", patient=OTHER)
        archive.wait(told(archive.door.orders, sent))
        query = a_query()
        if asked_in:
            query.SpecificCharacterSet = asked_in
        (item,) = Modality(archive.port).worklist(query)

    assert (item.SpecificCharacterSet, item.PatientName) == (answered_in, "Öberg^Åsa")


# --- coming and going ------------------------------------------------------------------------

IN_PROGRESS = ("SC", "IP", "I")


@pytest.mark.parametrize(
    ("codes", "remaining"),
    [
        (("SC", "SC", "S"), ["SCHEDULED", "SCHEDULED"]),
        (IN_PROGRESS, ["STARTED", "SCHEDULED"]),
        (("SC", "CM", "N"), ["SCHEDULED"]),
        (("OC", "CA", "X"), ["SCHEDULED"]),
        (("HD", "HD", ""), ["SCHEDULED"]),
    ],
    ids=str,
)
def test_what_is_over_or_waits_leaves_the_worklist(
    tmp_path: Path, codes: tuple[str, str, str], remaining: list[str]
) -> None:
    with served(tmp_path) as archive:
        change = status(THORAX, codes=codes, control_id="S1", time="20240110093000")
        archive.wait(told(archive.door.orders, m1(), m2(), change))
        query = Dataset()
        query.ScheduledProcedureStepSequence = []
        found = Modality(archive.port).worklist(query)

    steps = [item.ScheduledProcedureStepSequence[0] for item in found]
    assert [step.ScheduledProcedureStepStatus for step in steps] == remaining


def test_who_may_not_is_given_no_worklist(tmp_path: Path) -> None:
    entity = AE("CT1_SU")
    entity.add_requested_context(Verification)
    entity.add_requested_context(ModalityWorklistInformationFind)
    with served(tmp_path, peers=[Peer(ANY, may=frozenset())]) as archive:
        association = entity.associate("127.0.0.1", archive.port, ae_title=AE_TITLE)
        accepted = [context.abstract_syntax for context in association.accepted_contexts]
        association.release()

    assert accepted == [Verification]


def test_a_patient_is_found_by_a_number_that_was_merged(tmp_path: Path) -> None:
    merge = message(
        msh("ADT^A40^ADT_A39", "A40", "20240109120000"),
        pid(),
        "MRG|19810829M071^^^&1.2.752.113.11.0.2.1.1.1&ISO^PI",
    )
    reserve = pid("19810829M071", oid="1.2.752.113.11.0.2.1.1.1", name="Tolvansson^Tolvan^^^^^L")
    sent = order(KNEE, control_id="1", time="20240109090000", patient=reserve)
    with served(tmp_path) as archive:
        archive.wait(told(archive.door.orders, sent, merge))
        (item,) = Modality(archive.port).worklist(PatientID="19810829M071")

    assert item.PatientID == "191212121212"
