"""The shared sample files, where the checkout has them beside it."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NO_DCMTK = "DCMTK is not installed: apt-get install dcmtk"
NO_TYPEFACE = "DejaVu (a typeface) is not installed: apt-get install fonts-dejavu-core"
NO_SAMPLES = "the shared sample files (../shared/data) are not beside this checkout"
COMPLETE = os.environ.get("BFR_TEST_COMPLETE") == "1"


def has_typeface() -> bool:
    """Whether letters other than those of western Europe can be drawn."""
    return any(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"))


def require_shared_data() -> None:
    """Skip with a plain reason, or fail when the run is meant to be complete."""
    if SHARED.is_dir():
        return
    if COMPLETE:
        pytest.fail(NO_SAMPLES)
    pytest.skip(NO_SAMPLES)


def dicom_files(*globs: str) -> list[Path]:
    """Sample DICOM files below ../shared/data/dicom, sorted; empty when the folder is missing.

    Fits ``pytest.mark.parametrize``: with no files the test is reported as skipped.
    """
    root = SHARED / "dicom"
    found = {path for glob in globs or ("**/*",) for path in root.glob(glob) if path.is_file()}
    return sorted(found)
