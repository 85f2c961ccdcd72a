"""The command, against a real server on a loopback port."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Request
from typer.testing import CliRunner, Result

from dicomweb_conformance import __version__, cli
from dicomweb_conformance.cases import all_cases
from planted_faults import Fault, on, status
from right_served import Served, serving
from right_server import Answer


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as server:
        yield server


def command(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner(env=environment).invoke(cli.app, arguments)


def silence(request: Request, right: Answer) -> Answer:
    raise ConnectionResetError


def run(served: Served, *arguments: str, fault: Fault | None = None) -> Result:
    served.peer.fault = fault
    return command("run", "--base-url", served.base_url, *arguments)


def test_a_right_server_gives_status_0_and_a_summary(served: Served) -> None:
    done = run(served, "COM-01", "MET-01")

    assert done.exit_code == 0, done.output
    assert "PASS  COM-01 no-accept-header-is-406 (8.7.5, 8.7.7)" in done.output
    assert "COM Common rules" in done.output


def test_a_broken_shall_gives_status_1_and_its_reason(served: Served) -> None:
    done = run(served, "COM-01", fault=status(200, on(without="accept")))

    assert done.exit_code == 1
    assert "expected 406, got 200" in done.output


def test_a_broken_should_gives_status_0(served: Served) -> None:
    done = run(served, "COM-26", fault=status(400, on("PATCH")))

    assert done.exit_code == 0
    assert "WARN" in done.output


def test_should_and_may_can_be_left_out(served: Served) -> None:
    done = run(served, "COM-26", "COM-27", "--level", "shall")

    assert "COM-27" in done.output
    assert "COM-26" not in done.output


def test_reports_are_written_where_they_are_wanted(served: Served, tmp_path: Path) -> None:
    done = run(served, "COM-01", "--report", str(tmp_path))

    assert done.exit_code == 0
    recorded = json.loads((tmp_path / "report.json").read_text())
    assert recorded["base_url"] == served.base_url
    assert recorded["cases"][0]["outcome"] == "PASS"


def test_a_run_leaves_nothing_behind(served: Served) -> None:
    run(served, "COM")

    assert served.peer.server.files == {}


def test_credentials_come_from_the_environment(served: Served, tmp_path: Path) -> None:
    served.peer.server.password = "right"
    arguments = ("run", "--base-url", served.base_url, "COM-28", "--report", str(tmp_path))

    done = command(*arguments, environment={"DICOMWEB_CONFORMANCE_AUTH": "bearer:right"})

    assert "PASS  COM-28" in done.output
    assert "right" not in (tmp_path / "report.json").read_text().lower().replace(
        "right.example", ""
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--base-url", "ftp://x/"], "no http or https URL"),
        (["--base-url", "http://me:secret@x/"], "--auth"),
        (["--base-url", "http://127.0.0.1:1/", "COM-01"], "cannot be reached"),
        (["--base-url", "http://x/", "COM-99"], "COM-99"),
        (["--base-url", "http://x/", "--auth", "secret"], "bearer:TOKEN"),
        (["--base-url", "http://x/", "--auth", "digest:secret"], "bearer:TOKEN"),
        (["--base-url", "http://x/", "--auth", "bearer:sec\nret"], "no header can carry"),
        (["--base-url", "http://x/", "--auth", "header:X Key:secret"], "no header can carry"),
        (["--base-url", "http://x/", "--auth", "@/no/such/file"], "No such file"),
        (["--base-url", "http://x/", "--auth", "@/bin/sh"], "/bin/sh is no text"),
        (["--base-url", "http://x/", "--ca", "/bin/sh"], "no certificates in PEM"),
        (["--base-url", "http://x/", "--ca", "/no/such/file"], "No such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], reason: str) -> None:
    done = command("run", *arguments)

    assert done.exit_code == 2
    assert reason in done.stderr
    assert "Traceback" not in done.output
    assert "secret" not in done.stderr


def test_who_wants_credentials_and_gets_none_is_not_judged(served: Served) -> None:
    served.peer.server.password = "right"

    done = run(served)

    assert done.exit_code == 2
    assert "401, the server wants credentials (see --auth)" in done.stderr


def test_who_wants_other_credentials_is_not_judged(served: Served) -> None:
    served.peer.server.password = "right"

    done = run(served, "--auth", "bearer:wrong")

    assert done.exit_code == 2
    assert "401, the server wants other credentials" in done.stderr


def test_what_speaks_no_http_is_not_judged(served: Served) -> None:
    done = run(served, fault=silence)

    assert done.exit_code == 2
    assert "no response" in done.stderr


def test_values_that_a_library_warns_of_are_not_printed() -> None:
    meant = """
import logging, warnings
from dicomweb_conformance import cli
def app():
    warnings.warn("Invalid value for VR CS: 'of a patient'")
    logging.getLogger("pydicom").warning("of a patient")
    logging.getLogger("pynetdicom.acse").error("of a patient")
cli.app = app
cli.main()
"""
    folder = Path(cli.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", meant], cwd=folder, capture_output=True, text=True, check=True
    )

    assert done.stdout + done.stderr == ""


def test_the_version_is_that_of_the_distribution() -> None:
    done = command("--version")

    assert done.output.strip() == __version__


def test_every_case_is_listed() -> None:
    done = command("list")

    assert [line.split()[0] for line in done.output.splitlines()] == [c.id for c in all_cases()]


@pytest.mark.parametrize("name", ["COM-01", "com-01", "no-accept-header-is-406"])
def test_a_case_is_shown_with_what_it_asks(name: str) -> None:
    done = command("show", name)

    for said in ("PS3.18 8.7.5", "shall", "without an Accept header", "406", "F1"):
        assert said in done.output


@pytest.mark.parametrize("selected", ["8.7", "COM", "8.7.5"])
def test_a_section_or_a_chapter_selects_its_cases(selected: str) -> None:
    assert "COM-01" in command("list", selected).output
    assert "CAP-01" not in command("list", selected).output


def test_two_runs_are_compared(served: Served, tmp_path: Path) -> None:
    run(served, "COM-01", "--report", str(tmp_path / "a"))
    wrong = status(200, on(without="accept"))
    run(served, "COM-01", "--report", str(tmp_path / "b"), fault=wrong)

    done = command("compare", *(str(tmp_path / name / "report.json") for name in "ab"))

    assert done.exit_code == 0
    assert "PASS" in done.output
    assert "FAIL" in done.output


def test_what_is_no_record_cannot_be_compared(tmp_path: Path) -> None:
    done = command("compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))

    assert done.exit_code == 2
    assert "No such file" in done.stderr


def test_the_matrix_shows_requirements_with_their_cases() -> None:
    output = command("coverage").output

    assert "COM-01" in output
    assert "not tested: It is a requirement on clients." in output
