"""What the test suite says about tests that it had to leave out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import plugin_left_out

TESTS = Path(__file__).parent


def run_pytest(folder: Path, source: str, *, complete: bool) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(
        "from plugin_left_out import (\n"
        "    pytest_make_collect_report, pytest_runtest_makereport, pytest_terminal_summary\n)\n"
    )
    (folder / "test_one.py").write_text(f"import pytest\n{source}\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(TESTS), "BFR_TEST_COMPLETE": str(int(complete))},
        capture_output=True,
        text=True,
        check=False,
    )


LEFT_OUT = "def test_one():\n    pytest.skip('Squid is not installed: apt-get install squid')"


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A run that leaves a test out, and may."""
    return run_pytest(tmp_path_factory.mktemp("incomplete"), LEFT_OUT, complete=False)


def test_a_left_out_test_is_told_with_what_to_install(
    incomplete: subprocess.CompletedProcess[str],
) -> None:
    assert "1 test: Squid is not installed: apt-get install squid" in incomplete.stdout


def test_a_left_out_test_does_not_fail_the_run(
    incomplete: subprocess.CompletedProcess[str],
) -> None:
    assert incomplete.returncode == 0


def test_a_left_out_test_fails_a_run_that_must_be_complete(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, LEFT_OUT, complete=True).returncode == 1


def test_a_left_out_module_fails_a_run_that_must_be_complete(tmp_path: Path) -> None:
    source = "pytest.skip('Squid is not installed: x', allow_module_level=True)"

    assert run_pytest(tmp_path, source, complete=True).returncode != 0


def test_remedies_are_gathered_in_one_line() -> None:
    lines = plugin_left_out.summary(
        {"A is not installed: apt-get install a": 2, "B is not installed: apt-get install b": 1}
    )

    assert lines[-1] == "To run them too: apt-get install a ; apt-get install b"
