"""What the client tests share: one archive for each test module, and the studies in it."""

from collections.abc import Iterator

import pytest

from clients.archive import Archive, running_archive
from clients.studies import Study, ct_study, ultrasound_study


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with running_archive(tmp_path_factory.mktemp("archive")) as archive:
        yield archive


@pytest.fixture(scope="module")
def ct(archive: Archive) -> Study:
    study = ct_study()
    archive.store(study.files)
    return study


@pytest.fixture(scope="module")
def ultrasound(archive: Archive) -> Study:
    study = ultrasound_study()
    archive.store(study.files)
    return study
