"""The suite runs in programs that have not changed pynetdicom, and so it is tested."""

import pynetdicom
import pytest


@pytest.fixture(autouse=True)
def only_known_storage_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """This archive's DIMSE door, loaded by other tests of the same run, has it accept all."""
    monkeypatch.setattr(pynetdicom._config, "UNRESTRICTED_STORAGE_SERVICE", False)
