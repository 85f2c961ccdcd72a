"""What follows from deleting for those who ordered it."""

from collections.abc import Iterator

import pytest

import registry as registries
from hl7_said import THORAX, m1, m4
from objects import an_object
from registry import Registry, eventually


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("deletion")
    with registries.running(folder, {"allow_deletion": "true"}) as registry:
        yield registry


def studies_of_exam(registry: Registry) -> list[str]:
    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": THORAX.accession})
    found = registry.found("ImagingStudy", basedon=task["focus"]["reference"])
    return [study["status"] for study in found]


def test_an_exam_awaits_its_images_again_when_they_are_deleted(registry: Registry) -> None:
    registry.store(an_object(StudyInstanceUID=THORAX.study_uid))
    registry.told(m1(), m4())
    eventually(lambda: studies_of_exam(registry), lambda found: found == ["available"])

    study = f"{registry.live.url}/studies/{THORAX.study_uid}"
    registry.http("DELETE", study).raise_for_status()

    eventually(lambda: studies_of_exam(registry), lambda found: found == ["registered"])
