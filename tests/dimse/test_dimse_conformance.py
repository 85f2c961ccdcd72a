"""conformance/DIMSE.md says what the code does."""

import re
from pathlib import Path

from pydicom.uid import UID

from bfr_dicomweb.dimse import conformance_statement, scp
from bfr_dicomweb.settings import PREFIX, Settings

COMMITTED = (
    Path(__file__).resolve().parents[2].joinpath(conformance_statement.FILE).read_text("utf-8")
)


def test_the_committed_statement_is_what_the_code_says() -> None:
    assert conformance_statement.document() == COMMITTED


def test_every_sop_class_has_a_name() -> None:
    uids = {uid for service in scp.SERVICES for uid in service.sop_classes or ()}

    assert {uid for uid in uids if UID(uid).name == uid} == set()


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(rf"{PREFIX}(DIMSE\w*|PEERS)", COMMITTED))

    assert named <= {name.upper() for name in Settings.model_fields}


def test_the_limits_are_the_defaults_of_the_settings() -> None:
    for name, value in re.findall(rf"\| (\d+) \| {PREFIX}(\w+) \|", COMMITTED):
        assert Settings.model_fields[value.lower()].default == int(name), value
