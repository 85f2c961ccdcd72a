"""Says at the end which tests were left out and what to install for them.

With BFR_TEST_COMPLETE=1 a test that is left out is a failure: then nothing can be missing unseen.
"""

import re
from collections.abc import Generator
from typing import Final

import pytest

from shared_data import COMPLETE, NO_SAMPLES

# How fixtures word it: "PostgreSQL is not installed: apt-get install postgresql".
NOT_INSTALLED: Final = re.compile(r"(?P<part>.+) is not installed: (?P<remedy>.+)", re.DOTALL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if COMPLETE and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"left out although BFR_TEST_COMPLETE=1: {reason_of(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if COMPLETE and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"left out although BFR_TEST_COMPLETE=1: {reason_of(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = reason_of(report)
        left_out[reason] = left_out.get(reason, 0) + 1
    if not left_out:
        return
    terminalreporter.section("left out on this machine")
    for line in summary(left_out):
        terminalreporter.write_line(line)


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip, without the place where it was raised."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    text = text.removeprefix("Skipped: ")
    # only tests that are made from the sample files have a set that can be empty
    return NO_SAMPLES if text.startswith("got empty parameter set") else text


def summary(left_out: dict[str, int]) -> list[str]:
    """One line for each reason, and one that says how to have nothing left out."""
    lines, remedies = [], []
    for reason, count in sorted(left_out.items()):
        tests = "1 test" if count == 1 else f"{count} tests"
        lines.append(f"{tests}: {reason}")
        if found := NOT_INSTALLED.fullmatch(reason):
            remedies.append(found["remedy"])
    if remedies:
        lines.append("To run them too: " + " ; ".join(dict.fromkeys(remedies)))
    return lines
