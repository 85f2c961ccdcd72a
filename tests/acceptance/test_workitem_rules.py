"""Workitems that rules make of what happens, seen over UPS-RS."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

import registry as registries
from hl7_said import THORAX, m1, m2, m3, m4, order
from objects import a_series, uid
from registry import Registry, eventually

JSON = {"Accept": "application/dicom+json"}
RULES = """
[[rules]]
name = "read"
on = "exam"
status = ["performed"]
modality = ["CT"]
with_images = true
[rules.workitem]
label = "Read {modality}"
worklist = "UNILABS"
priority = "HIGH"
hours = 24

[[rules]]
name = "orphans"
on = "finding"
code = ["images-without-order"]
[rules.workitem]
label = "Study without order"
worklist = "QUALITY"
code = ["110002", "DCM", "Quality Control"]

[[rules]]
name = "check"
on = "study"
modality = ["MG"]
[rules.workitem]
label = "Check {modality}"
worklist = "CHECKS"
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "worklist.toml").write_text(RULES)
    settings = {"worklist_rules": str(folder / "worklist.toml")}
    with registries.running(folder, settings) as registry:
        yield registry


def workitems(registry: Registry, label: str, **query: str) -> list[dict[str, Any]]:
    params = {"WorklistLabel": label, "includefield": "all", **query}
    answer = httpx2.get(f"{registry.live.url}/workitems", params=params, headers=JSON)
    return [] if answer.status_code == 204 else list(answer.raise_for_status().json())


def first(dataset: dict[str, Any], tag: str) -> Any:
    return dataset[tag]["Value"][0]


@pytest.fixture(scope="module")
def read(registry: Registry) -> dict[str, Any]:
    """What is made when an exam is performed and its images are here."""
    registry.told(m1(), m2(), m3(), m4())
    files = a_series(3, StudyInstanceUID=THORAX.study_uid, PatientID="191212121212", Modality="CT")
    registry.store(*files)
    (made,) = eventually(lambda: workitems(registry, "UNILABS"), lambda found: len(found) > 0)
    return dict(made)


def test_a_performed_exam_with_images_is_to_be_read(read: dict[str, Any]) -> None:
    assert (first(read, "00741204"), first(read, "00741200")) == ("Read CT", "HIGH")


def test_it_names_the_patient_of_the_order(read: dict[str, Any]) -> None:
    assert first(read, "00100020") == "191212121212"


def test_it_names_the_request(read: dict[str, Any]) -> None:
    assert first(first(read, "0040A370"), "00080050") == THORAX.accession


def test_its_inputs_are_all_instances_of_the_study(read: dict[str, Any]) -> None:
    (series,) = read["00404021"]["Value"]
    assert len(series["00081199"]["Value"]) == 3


def test_its_inputs_are_where_they_say(read: dict[str, Any]) -> None:
    (series,) = read["00404021"]["Value"]
    url = first(first(series, "0040E025"), "00081190")
    answer = httpx2.get(f"{url}/metadata", headers=JSON)
    assert len(answer.raise_for_status().json()) == 3


def test_nothing_is_made_twice(registry: Registry, read: dict[str, Any]) -> None:
    registry.told(m4())
    registry.store(*a_series(1, StudyInstanceUID=THORAX.study_uid, PatientID="191212121212"))
    marker = uid()
    registry.store(*a_series(1, StudyInstanceUID=marker, PatientID="M-1", Modality="MG"))
    eventually(lambda: made_of(registry, "CHECKS", marker), bool)
    assert [first(one, "00080018") for one in workitems(registry, "UNILABS")] == [
        first(read, "00080018")
    ]


def made_of(registry: Registry, label: str, study: str) -> list[dict[str, Any]]:
    found = workitems(registry, label)
    return [one for one in found if one["0020000D"].get("Value") == [study]]


def test_a_complete_study_is_to_be_checked(registry: Registry) -> None:
    study = uid()
    registry.store(*a_series(2, StudyInstanceUID=study, PatientID="M-2", Modality="MG"))
    (made,) = eventually(lambda: made_of(registry, "CHECKS", study), bool)
    assert first(made, "00741204") == "Check MG"


def test_a_finding_is_to_be_resolved_until_it_is(registry: Registry) -> None:
    study, accession = uid(), "SU24009999"
    registry.store(
        *a_series(1, StudyInstanceUID=study, PatientID="191212121212", AccessionNumber=accession)
    )
    (made,) = eventually(lambda: made_of(registry, "QUALITY", study), bool)
    assert first(made, "00741000") == "SCHEDULED"
    late = type(THORAX)("REM9-1", accession, study)
    registry.told(order(late, control_id="LATE", time="20240108080000", group="REM9"))
    eventually(
        lambda: made_of(registry, "QUALITY", study),
        lambda found: first(found[0], "00741000") == "CANCELED",
    )
