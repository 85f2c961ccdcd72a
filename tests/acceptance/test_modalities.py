"""Legacy modalities: the worklist of orders, and exams that follow the steps performed (B-05)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from pydicom.dataset import Dataset

import registry as registries
from hl7_said import ABDOMEN, THORAX, Exam, m1, order
from live import free_port
from modalities import Modality, a_scheduled_item, a_step, completed, discontinued
from objects import an_object, uid
from registry import Registry, eventually, status_of

# An order of a system that gives its exams no Study Instance UID.
WITHOUT_STUDY: Final = Exam("P-7", "SU24000777", "", "83300^CT Thorax^KVÅ", "CT", "CT7_SU")
PEERS: Final = """
[[peers]]
ae_title = "CT1_SU"
may = ["worklist", "perform"]
"""


@dataclass(frozen=True, slots=True)
class Day:
    """What was seen in the course of it.

    Attributes:
        worklists: Of the station: before, and after all was done.
        statuses: Of the first exam after each thing that was told of its step.
    """

    registry: Registry
    modality: Modality
    worklists: tuple[list[Dataset], list[Dataset]]
    statuses: tuple[str, ...]


def task_of(registry: Registry, exam: Exam) -> dict[str, Any]:
    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": exam.accession})
    return task


def step_of(item: Dataset) -> Dataset:
    """The N-CREATE that a modality makes of an item of its worklist."""
    step = item.ScheduledProcedureStepSequence[0]
    return a_step(
        a_scheduled_item(
            item.AccessionNumber,
            item.StudyInstanceUID,
            ScheduledProcedureStepID=step.ScheduledProcedureStepID,
        ),
        patient_id=item.PatientID,
    )


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Two exams of one order; the first is performed, the second is given up. HL7 says nothing."""
    folder = tmp_path_factory.mktemp("modalities")
    (folder / "peers.toml").write_text(PEERS)
    settings = {"dimse": f"127.0.0.1:{free_port()}", "peers": str(folder / "peers.toml")}
    with registries.running(folder, settings) as registry:
        registry.told(m1(), order(WITHOUT_STUDY, control_id="W", time="20240108080000", group="W"))
        port = registry.live.dimse_port
        assert port is not None
        modality = Modality(port)
        before = modality.worklist(ScheduledStationAETitle="CT1_SU")
        steps = {item.AccessionNumber: uid() for item in before}
        statuses = [status_of(task_of(registry, THORAX))]
        for item in before:
            assert modality.create(step_of(item), steps[item.AccessionNumber]).Status == 0
        statuses.append(status_of(task_of(registry, THORAX)))
        assert modality.set(completed(), steps[THORAX.accession]).Status == 0
        statuses.append(status_of(task_of(registry, THORAX)))
        last = discontinued("110501", "Equipment failure")
        assert modality.set(last, steps[ABDOMEN.accession]).Status == 0
        after = modality.worklist(ScheduledStationAETitle="CT1_SU")
        yield Day(registry, modality, (before, after), tuple(statuses))


def test_the_station_finds_both_exams_as_they_were_ordered(day: Day) -> None:
    before, _ = day.worklists

    assert [(i.PatientID, i.AccessionNumber, i.StudyInstanceUID) for i in before] == [
        ("191212121212", exam.accession, exam.study_uid) for exam in (THORAX, ABDOMEN)
    ]


def test_an_exam_follows_its_step_without_a_message(day: Day) -> None:
    assert day.statuses == ("received", "started", "performed")


def test_an_exam_tells_when_it_was_performed(day: Day) -> None:
    assert task_of(day.registry, THORAX)["executionPeriod"] == {
        "start": "2024-01-10T08:15:00Z",
        "end": "2024-01-10T08:30:00Z",
    }


def test_an_exam_that_was_given_up_tells_the_reason(day: Day) -> None:
    task = task_of(day.registry, ABDOMEN)

    assert (task["status"], status_of(task), task["statusReason"]) == (
        "cancelled",
        "cancelled",
        {
            "coding": [
                {
                    "system": "http://dicom.nema.org/resources/ontology/DCM",
                    "code": "110501",
                    "display": "Equipment failure",
                }
            ],
            "text": "Equipment failure",
        },
    )


def test_the_request_of_an_exam_that_was_given_up_is_revoked(day: Day) -> None:
    request = day.registry.get(task_of(day.registry, ABDOMEN)["focus"]["reference"])

    assert request["status"] == "revoked"


def test_what_is_done_is_on_no_worklist(day: Day) -> None:
    _, after = day.worklists

    assert after == []


def test_the_images_of_an_exam_without_a_study_uid_are_those_that_the_worklist_named(
    day: Day,
) -> None:
    """Even when the images tell nothing else of the order."""
    (item,) = day.modality.worklist(ScheduledStationAETitle="CT7_SU")
    image = an_object(
        StudyInstanceUID=item.StudyInstanceUID, PatientID=item.PatientID, AccessionNumber=""
    )
    day.registry.store(image)

    (study,) = eventually(
        lambda: day.registry.found("ImagingStudy", identifier=f"urn:oid:{item.StudyInstanceUID}"),
        lambda found: bool(found and found[0].get("basedOn")),
    )

    task = task_of(day.registry, WITHOUT_STUDY)
    assert study["basedOn"] == [{"reference": task["focus"]["reference"]}]


def test_what_the_modality_said_is_kept_as_dicom_json(day: Day) -> None:
    request = task_of(day.registry, THORAX)["focus"]["reference"]
    (performed,) = [
        event
        for event in day.registry.found("Provenance", target=request)
        if event["activity"]["coding"][0]["code"] == "performed"
    ]

    reference = performed["entity"][0]["what"]["reference"]
    kept = day.registry.http("GET", f"{day.registry.live.fhir}/{reference}")

    said, _ = kept.json()
    assert (kept.headers["Content-Type"], said["00400252"]["Value"]) == (
        "application/dicom+json",
        ["COMPLETED"],
    )
