"""What the client tests share: one archive for each test module, and the studies in it."""

import os
from collections.abc import Iterator

import pytest

from clients.archive import Archive
from clients.studies import Study, ct_study, ultrasound_study
from live import running


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A server process of its own; BFR_TEST_DICOMWEB=<base URL> names another server instead."""
    elsewhere = os.environ.get("BFR_TEST_DICOMWEB")
    if elsewhere:
        yield Archive(elsewhere.rstrip("/"))
        return
    with running(tmp_path_factory.mktemp("archive")) as live:
        yield Archive(live.url)


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
