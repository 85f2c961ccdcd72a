"""Errors reach other processes as they are."""

import pickle

import pytest

from bfr_dicomweb import errors
from bfr_dicomweb.errors import ArchiveError

MADE: list[ArchiveError] = [
    errors.InvalidQuery("viewport", "is too large"),
    errors.InvalidMessage("no", segment="PID", field=3),
    errors.UndecodablePixelData("broken"),
    errors.NotAllowed(("GET",)),
    errors.RangeNotSatisfiable(7),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_keeps_what_it_says_on_its_way(error: ArchiveError) -> None:
    arrived = pickle.loads(pickle.dumps(error))

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
