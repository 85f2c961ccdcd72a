"""Requests that schemathesis makes of /openapi.json: no 500, nothing that is not described."""

import json
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pydicom
import pytest

from live import Live, running
from objects import DICOM, a_series, uid

EXAMPLES = 10
TIMEOUT_S = 300
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("generated")) as server:
        yield server


@pytest.fixture
def description(live: Live, tmp_path: Path) -> Path:
    """/openapi.json, whose UIDs are in part those of a stored instance."""
    (file,) = a_series(1)
    stored = pydicom.dcmread(BytesIO(file))
    httpx2.post(f"{live.url}/studies", content=file, headers={"Content-Type": DICOM})
    known = {
        "study": stored.StudyInstanceUID,
        "series": stored.SeriesInstanceUID,
        "instance": stored.SOPInstanceUID,
    }
    document = httpx2.get(f"{live.origin}/openapi.json").json()
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                _narrow(parameter, known)
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document))
    return path


def _narrow(parameter: dict[str, Any], known: dict[str, str]) -> None:
    name = parameter["name"].removesuffix("UID").replace("object", "instance")
    if name in known and (parameter["in"] == "path" or parameter["name"].endswith("UID")):
        parameter["schema"] = {"enum": [known[name]] * 3 + [uid(), "1.x"]}


def test_no_generated_request_finds_a_defect(live: Live, description: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(description)),
            *("--url", live.origin, "--checks", CHECKS, "--phases", "fuzzing"),
            *("--max-examples", str(EXAMPLES), "--generation-deterministic"),
            *("--mode", "all", "--no-color", "--workers", "2"),
        ],
        # what it keeps of its runs
        cwd=description.parent,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
