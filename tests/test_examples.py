"""The programs in examples/ do what they say, run as a reader would run them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import MRImageStorage

from live import free_port, running
from objects import a_series, an_object, uid
from planted_faults import on, status
from right_served import Served, serving
from workitems_said import JSON, a_workitem, text

EXAMPLES = Path(__file__).parents[1] / "examples"
SUITE = Path(__file__).parents[1] / "conformance" / "src"
PATIENT_ID = "191212121212"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("archive")) as live:
        yield live.url


@pytest.fixture(scope="module")
def study_uid() -> str:
    return uid()


@pytest.fixture(scope="module")
def files(study_uid: str) -> list[bytes]:
    return a_series(3, StudyInstanceUID=study_uid, PatientID=PATIENT_ID, StudyDescription="DT Buk")


def run(example: str, url: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / f"{example}.py", "--url", url, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def stored(
    url: str, files: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "below").mkdir()
    for number, file in enumerate(files):
        (folder / "below" / f"{number}.dcm").write_bytes(file)
    return run("store", url, folder)


def test_store_stores_the_files_below_a_folder(
    stored: subprocess.CompletedProcess[str],
) -> None:
    assert (stored.stdout, stored.returncode) == ("3 stored, 0 refused\n", 0)


def test_store_tells_what_was_refused(url: str, tmp_path: Path) -> None:
    (tmp_path / "good.dcm").write_bytes(an_object())
    (tmp_path / "bad.dcm").write_bytes(an_object(SOPInstanceUID=None))

    ended = run("store", url, tmp_path)

    assert ended.returncode == 1
    assert ended.stdout.startswith("refused ")
    assert ended.stdout.endswith("1 stored, 1 refused\n")


def test_store_tells_it_when_everything_was_refused(url: str, tmp_path: Path) -> None:
    (tmp_path / "bad.dcm").write_bytes(an_object(SOPInstanceUID=None))

    ended = run("store", url, tmp_path)

    assert ended.stdout.endswith("0 stored, 1 refused\n")


def test_search_finds_the_study(
    url: str, stored: subprocess.CompletedProcess[str], study_uid: str
) -> None:
    ended = run("search", url, f"PatientID={PATIENT_ID}", "StudyDescription=DT*")

    assert ended.stdout == f"20240115\tCT\t3\tDT Buk\t{study_uid}\n"


def test_search_without_a_match_prints_nothing(url: str) -> None:
    ended = run("search", url, "PatientID=NO-SUCH-PATIENT")

    assert (ended.stdout, ended.returncode) == ("", 0)


def test_retrieve_writes_the_bytes_that_were_stored(
    url: str,
    stored: subprocess.CompletedProcess[str],
    study_uid: str,
    files: list[bytes],
    tmp_path: Path,
) -> None:
    run("retrieve", url, study_uid, tmp_path / "new")

    assert sorted(file.read_bytes() for file in (tmp_path / "new").iterdir()) == sorted(files)


def test_retrieve_can_be_repeated(
    url: str, stored: subprocess.CompletedProcess[str], study_uid: str, tmp_path: Path
) -> None:
    run("retrieve", url, study_uid, tmp_path)

    ended = run("retrieve", url, study_uid, tmp_path)

    assert ended.stdout == f"3 instances in {tmp_path}\n"


def test_contact_sheet_has_a_picture_of_each_kind(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    pictures = [an_object(), an_object(), an_object(Modality="MR", SOPClassUID=MRImageStorage)]
    for number, file in enumerate(pictures):
        (tmp_path / f"{number}.dcm").write_bytes(file)
    sheet = tmp_path / "sheet.png"
    with running(tmp_path_factory.mktemp("kinds")) as live:
        run("store", live.url, tmp_path)

        ended = run("contact_sheet", live.url, sheet)

    assert ended.stdout == f"2 pictures of 2 kinds in {sheet}\n"
    with Image.open(sheet) as image:
        drawn = np.asarray(image.convert("L"))
    assert drawn[20:300, 20:300].max() > 200
    assert drawn[20:300, 340:600].max() > 200


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    mllp = f"127.0.0.1:{free_port()}"
    with running(tmp_path_factory.mktemp("orders"), {"mllp": mllp}) as live:
        return run("order_life", live.fhir, "--mllp", mllp)


def test_the_life_of_an_order_is_followed_to_its_end(
    life: subprocess.CompletedProcess[str],
) -> None:
    statuses = [
        line.split()[1] for line in life.stdout.splitlines() if line.startswith("    status:")
    ]

    assert (statuses, life.stderr) == (
        ["received", "booked", "started", "performed", "signed", "addendum"],
        "",
    )


def test_the_life_of_an_order_ends_with_what_happened(
    life: subprocess.CompletedProcess[str],
) -> None:
    _, told = life.stdout.split("what happened:\n")

    assert [line.split()[1] for line in told.splitlines()] == [
        *("addendum", "signed", "performed", "started", "booked", "received")
    ]


def test_worklist_loop_reads_what_waits_for_it(
    url: str, stored: subprocess.CompletedProcess[str], study_uid: str
) -> None:
    assert stored.returncode == 0
    workitem = uid()
    dataset = a_workitem(
        T00741202=text("LO", "EXAMPLE"),
        T0020000D=text("UI", study_uid),
        T00100020=text("LO", PATIENT_ID),
    )
    httpx2.post(
        f"{url}/workitems?{workitem}", json=dataset, headers={"Content-Type": JSON}
    ).raise_for_status()
    read = run("worklist_loop", url, "--label", "EXAMPLE", "--once")
    assert read.returncode == 0, read.stderr
    answer = httpx2.get(f"{url}/workitems/{workitem}", headers={"Accept": JSON})
    assert answer.json()[0]["00741000"]["Value"] == ["COMPLETED"]


@pytest.fixture(scope="module")
def modality_day(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("modality")
    peers = folder / "peers.toml"
    peers.write_text(
        '[[peers]]\nae_title = "CT1_SU"\n'
        'may = ["store", "query", "retrieve", "commit", "worklist", "perform"]\n'
    )
    mllp, dimse = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with running(folder, {"mllp": mllp, "dimse": dimse, "peers": str(peers)}):
        return subprocess.run(
            [sys.executable, EXAMPLES / "modality_day.py", "--dimse", dimse, "--mllp", mllp],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def test_the_day_of_a_modality_ends_with_its_prior(
    modality_day: subprocess.CompletedProcess[str],
) -> None:
    told = [line.partition(":")[2].strip() for line in modality_day.stdout.splitlines()[1:]]

    assert (told, modality_day.stderr) == (
        [
            *("in progress", "5 images", "completed"),
            *("5 of 5 images", "5 images fetched"),
        ],
        "",
    )


@pytest.fixture(scope="module")
def judged_server() -> Iterator[Served]:
    with serving() as server:
        yield server


def judge(server: Served, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / "judge_a_server.py", "--url", server.base_url, *arguments],
        env={**os.environ, "PYTHONPATH": str(SUITE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_judge_a_server_writes_the_page_of_a_right_one(
    judged_server: Served, tmp_path: Path
) -> None:
    ended = judge(judged_server, "COM-01", "MET-01", "--report", tmp_path)

    assert (ended.stdout, ended.returncode) == ("2 PASS\n", 0), ended.stderr
    assert "COM-01" in (tmp_path / "report.html").read_text()


def test_judge_a_server_tells_what_is_broken_and_what_has_changed(
    judged_server: Served, tmp_path: Path
) -> None:
    judge(judged_server, "COM-01", "MET-01", "--report", tmp_path)
    judged_server.peer.fault = status(200, on(without="accept"))

    ended = judge(judged_server, "COM-01", "--before", tmp_path / "report.json")
    judged_server.peer.fault = None

    assert ended.returncode == 1
    for told in ("COM-01 no-accept-header-is-406 (PS3.18 8.7.5", "expected 406, got 200"):
        assert told in ended.stdout
    assert ended.stdout.splitlines()[-2:] == [
        "COM-01 no-accept-header-is-406: PASS -> FAIL",
        "1 FAIL",
    ]


def test_judge_a_server_tells_how_the_suite_is_installed() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", EXAMPLES / "judge_a_server.py"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("pip install ./conformance\n")
    assert len(ended.stderr.splitlines()) == 1
