"""From the wire to what a clinician reads: messages, statuses, producers, links."""

import random
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

import registry as registries
from hl7_said import ABDOMEN, STORY, THORAX, Exam, m1, m2, m3, m4, m5, order, pid, status
from objects import an_object
from registry import PERSONNUMMER, Registry, eventually, resources, status_of

SEEDS = range(20)
REPEATS = 3
# What differs between two registries that hold the same.
OWN = {"id", "meta", "reference", "fullUrl", "link", "recorded", "url", "timestamp"}
STRANGER = "196109732393"


def status_now(registry: Registry, accession: str) -> str:
    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": accession})
    return status_of(task)


def test_each_message_is_acknowledged_and_seen_at_once(registry: Registry) -> None:
    seen = []
    for tell in (m1, m2, m3, m4, m5):
        answers = registry.send(tell())
        seen.append((*answers, status_now(registry, THORAX.accession)))

    assert seen == [
        (("AA", "M1"), "received"),
        (("AA", "M2"), "booked"),
        (("AA", "M3"), "started"),
        (("AA", "M4"), "performed"),
        (("AA", "M5"), "signed"),
    ]


def without_own(value: Any) -> Any:
    """What a resource says, without ids and what only this registry gave it."""
    if isinstance(value, dict):
        return {key: without_own(item) for key, item in value.items() if key not in OWN}
    if isinstance(value, list):
        return [without_own(item) for item in value]
    return value


def the_order(registry: Registry) -> tuple[list[Any], int]:
    """All of order REM1001 in comparable form, and how many versions its report has."""
    included = ["Task:focus", "DiagnosticReport:based-on", "DocumentReference:related"]
    bundle = registry.get("ServiceRequest", requisition="REM1001", _revinclude=included)
    (report,) = resources(bundle, "DiagnosticReport")
    history = registry.get(f"DiagnosticReport/{report['id']}/_history")
    comparable = [without_own(resource) for resource in resources(bundle)]
    return sorted(comparable, key=repr), len(resources(history))


def test_any_order_and_any_repetition_give_the_same(tmp_path: Path) -> None:
    with registries.running(tmp_path / "in order") as registry:
        registry.told(*(tell() for tell in STORY))
        expected = the_order(registry)
    outcomes = []
    for seed in SEEDS:
        chance = random.Random(seed)
        messages = [tell() for tell in STORY]
        messages += chance.sample(messages, REPEATS)
        chance.shuffle(messages)
        with registries.running(tmp_path / str(seed)) as registry:
            registry.told(*messages)
            outcomes.append(the_order(registry))

    assert (expected[1], outcomes) == (2, [expected] * len(SEEDS))


def test_producers_of_all_kinds_are_seen_side_by_side(registry: Registry) -> None:
    units = ("FOLKTANDVARDEN", "UNILABS", "SU")
    for place, unit in enumerate(units, start=1):
        exam = Exam(f"P-{unit}", f"ACC{place}", f"1.2.752.113.99.2.{place}")
        group = f"G-{unit}"
        registry.told(
            order(exam, control_id=f"N{place}", time=f"2024010{place}080000", group=group),
            status(
                exam,
                codes=("SC", "CM", "N"),
                control_id=f"S{place}",
                time=f"2024010{place}090000",
                sender=(f"RIS{unit}", unit),
                group=group,
            ),
        )

    tasks = registry.found("Task", **{"patient.identifier": f"{PERSONNUMMER}|191212121212"})

    assert len({repr(task["owner"]) for task in tasks}) == len(units)


def requests_of(*exams: Exam) -> list[Dataset]:
    items = []
    for exam in exams:
        item = Dataset()
        item.AccessionNumber = exam.accession
        item.RequestedProcedureID = f"RP{exam.accession}"
        items.append(item)
    return items


@pytest.mark.parametrize("images_first", [True, False], ids=["images first", "order first"])
def test_a_study_with_two_accessions_is_found_from_either_exam(
    registry: Registry, *, images_first: bool
) -> None:
    study = "1.2.752.113.99.3.1"
    image = an_object(
        StudyInstanceUID=study,
        AccessionNumber="",
        RequestAttributesSequence=requests_of(THORAX, ABDOMEN),
    )
    # the order names other studies: the accession numbers alone link
    exams = [
        Exam(exam.placer, exam.accession, f"1.2.752.113.99.4.{place}")
        for place, exam in enumerate((THORAX, ABDOMEN))
    ]
    if images_first:
        registry.store(image)
    registry.told(order(*exams, control_id="N1", time="20240108080000"))
    if not images_first:
        registry.store(image)

    (found,) = eventually(
        lambda: registry.found("ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{study}"),
        lambda found: [len(one.get("basedOn", [])) for one in found] == [2],
    )

    children = [reference["reference"] for reference in found["basedOn"]]
    of_each = [
        registry.found("ImagingStudy", basedon=child, status="available") for child in children
    ]
    assert [[one["id"] for one in some] for some in of_each] == [[found["id"]]] * 2


def test_the_same_accession_of_another_patient_is_another_exam(registry: Registry) -> None:
    stranger = pid(STRANGER, oid="1.2.752.129.2.1.3.3", name="Okänd^Olga", birth="19610913")
    registry.told(
        m1(), order(THORAX, control_id="X1", time="20240108100000", patient=stranger, group="REM2")
    )

    tasks = registry.found("Task", **{"focus:ServiceRequest.identifier": THORAX.accession})

    assert len({task["for"]["reference"] for task in tasks}) == 2


def test_images_of_another_patient_under_the_same_accession_are_not_shown(
    registry: Registry,
) -> None:
    registry.told(m1())
    registry.store(
        an_object(
            StudyInstanceUID="1.2.752.113.99.66.1",
            AccessionNumber=THORAX.accession,
            PatientID=STRANGER,
        )
    )
    eventually(lambda: registry.found("DetectedIssue", code="study-patient-mismatch"), bool)

    (exam,) = registry.found("ServiceRequest", identifier=THORAX.accession)
    studies = registry.found("ImagingStudy", basedon=f"ServiceRequest/{exam['id']}")

    assert [study["status"] for study in studies] == ["registered"]
