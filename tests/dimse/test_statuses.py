import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.status import QR_FIND_SERVICE_CLASS_STATUS as FIND
from pynetdicom.status import QR_GET_SERVICE_CLASS_STATUS as GET
from pynetdicom.status import QR_MOVE_SERVICE_CLASS_STATUS as MOVE
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS as STORE
from pynetdicom.status import code_to_category

from bfr_dicomweb import errors
from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.errors import ArchiveError


def tree(cls: type[ArchiveError]) -> set[type[ArchiveError]]:
    below = (tree(sub) for sub in cls.__subclasses__() if sub.__module__ == errors.__name__)
    return {cls}.union(*below)


def test_every_error_has_a_status() -> None:
    assert tree(ArchiveError) - {ArchiveError} == statuses.DIMSE_STATUS.keys()


@pytest.mark.parametrize("row", statuses.DIMSE_STATUS.values(), ids=lambda row: hex(row.store))
def test_every_status_is_a_failure(row: statuses.Statuses) -> None:
    for code in (row.store, row.query, row.retrieve, row.normalized):
        assert code_to_category(code) == "Failure"


@pytest.mark.parametrize("kind", statuses.DIMSE_STATUS)
def test_a_status_of_a_service_is_one_that_the_standard_has_for_it(
    kind: type[ArchiveError],
) -> None:
    row = statuses.DIMSE_STATUS[kind]

    assert row.store in STORE or row.store in (0x0111, 0x0112)
    assert row.query in FIND or row.query == statuses.NOT_AUTHORIZED
    assert row.retrieve in GET
    assert row.retrieve in MOVE


def test_no_room_is_out_of_resources() -> None:
    full = errors.StorageFull("no room is left")

    assert statuses.store(full) == 0xA700
    assert statuses.query(full) == 0xA700
    assert statuses.retrieve(full) == 0xA702
    assert statuses.normalized(full) == 0x0213


def test_another_object_of_the_same_uid_is_a_duplicate() -> None:
    assert statuses.store(errors.DifferentDuplicate("taken")) == 0x0111


@pytest.mark.parametrize(
    ("defect", "code"),
    [("missing", 0x0120), ("empty", 0x0121), ("invalid", 0x0106), ("not-allowed", 0x0105)],
)
def test_a_defect_of_an_attribute_has_its_own_status(defect: str, code: int) -> None:
    error = errors.InvalidDataset(("00400254",), defect, "it is wrong")

    assert statuses.normalized(error) == code


def test_a_conflict_of_states_has_the_status_that_says_which() -> None:
    assert statuses.normalized(errors.WorkitemStateConflict("C310", "it is scheduled")) == 0xC310


def test_a_refusal_says_why() -> None:
    answer = statuses.refusal(0xA900, errors.StudyMismatch("it is of another study"))

    assert (answer.Status, answer.ErrorComment) == (0xA900, "it is of another study")


@given(text=st.text())
def test_a_comment_is_one_value_of_vr_lo(text: str) -> None:
    comment = statuses.comment(ArchiveError(text))

    assert len(comment) <= 64
    assert comment.isascii()
    assert "\\" not in comment
    assert not comment or comment.isprintable()


def test_a_comment_is_the_beginning_of_a_long_text() -> None:
    assert statuses.comment("word " * 40) == ("word " * 13)[:64].rstrip()
