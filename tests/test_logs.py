"""What is logged of what libraries say: where, and nothing of what they handled."""

import subprocess
import sys

import pytest

HEAD = """
import logging, warnings
from bfr_dicomweb import logs
logs.configure("info")
"""


def logged(statement: str) -> str:
    command = [sys.executable, "-c", HEAD + statement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("logging.getLogger('pynetdicom.acse').warning('of SVENSSON')", "line 5"),
        ("logging.getLogger('pynetdicom').error(ValueError('SVENSSON'))", "(ValueError)"),
        ("logging.getLogger('pydicom').error('of %s', 'SVENSSON')", "line 5"),
        ("warnings.warn('of SVENSSON')", "UserWarning"),
    ],
)
def test_a_library_is_named_without_its_text(statement: str, said: str) -> None:
    found = logged(statement)

    assert said in found
    assert "SVENSSON" not in found
