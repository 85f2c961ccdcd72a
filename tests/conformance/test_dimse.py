"""DIM: what each case says of a right entity, of a faulty one, and where nothing can be seen."""

import sys
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from pydicom.dataset import Dataset

from dicomweb_conformance import associations
from dicomweb_conformance.chapters.dimse import NONSENSE, STUDY_FIND
from dicomweb_conformance.running import Verdict
from dicomweb_conformance.verdicts import Outcome
from planted_faults import ids_of, judged, when_broken
from right_dimse import OTHERS, VERIFICATION, Faults, RightEntity, contexts_of
from right_server import RightServer

CHAPTER: Final = "DIM"
COMPLETED: Final = "NumberOfCompletedSuboperations"
FAILED: Final = "NumberOfFailedSuboperations"
EXPLICIT_ALONE: Final = ["1.2.840.10008.1.2.1"]
# The messages of the cases, by which an entity may end the association.
MESSAGES: Final = {
    "C-ECHO": ["DIM-01"],
    "C-STORE": ["DIM-04"],
    "C-FIND": ["DIM-05", "DIM-06", "DIM-07", "DIM-08", "DIM-11", "DIM-15"],
    "C-GET": ["DIM-12"],
    "C-MOVE": ["DIM-13"],
    "N-ACTION": ["DIM-14"],
}


def on_each(change: Callable[[Dataset], object]) -> Faults:
    def changed(matches: list[Dataset]) -> list[Dataset]:
        for match in matches:
            change(match)
        return matches

    return Faults(matches=changed)


def setting(keyword: str, value: str) -> Faults:
    return on_each(lambda match: setattr(match, keyword, value))


def without(keyword: str) -> Faults:
    return on_each(lambda match: match.pop(keyword, None))


def less_one(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:-1]


def twice(datasets: list[Dataset]) -> list[Dataset]:
    return datasets + datasets[:1]


def by_any_name(matches: list[Dataset]) -> list[Dataset]:
    other = Dataset()
    other.StudyInstanceUID = "1.2.3"
    return matches or [other]


def without_counts(command: Dataset) -> None:
    for each in ("Completed", "Failed", "Warning"):
        del command[f"NumberOf{each}Suboperations"]
        command.CommandGroupLength -= 10


def failing(**status: int) -> Faults:
    return Faults(status={name.replace("_", "-"): code for name, code in status.items()})


FAULTS: Final[list[tuple[str, Faults]]] = [
    ("DIM-01", failing(C_ECHO=0x0110)),
    ("DIM-04", failing(C_STORE=0xA700)),
    ("DIM-04", failing(C_STORE=0xC000)),
    ("DIM-05", Faults(matches=less_one)),
    ("DIM-05", Faults(matches=twice)),
    ("DIM-05", failing(C_FIND=0xC001)),
    ("DIM-05", setting("StudyInstanceUID", "1.2.3")),
    ("DIM-05", without("QueryRetrieveLevel")),
    ("DIM-05", without("AccessionNumber")),
    ("DIM-06", Faults(matches=less_one)),
    ("DIM-06", setting("PatientID", "P-002")),
    ("DIM-06", failing(C_FIND=0xA700)),
    ("DIM-07", Faults(matches=less_one)),
    ("DIM-07", Faults(matches=twice)),
    ("DIM-07", setting("SeriesInstanceUID", "1.2.3")),
    ("DIM-08", Faults(matches=less_one)),
    ("DIM-08", setting("SOPInstanceUID", "1.2.3")),
    ("DIM-09", failing(level=0x0000)),
    ("DIM-10", Faults(matches=less_one)),
    ("DIM-10", setting("PatientName", "?str?m^Bj?rn")),
    ("DIM-10", Faults(matches=by_any_name)),
    ("DIM-11", failing(C_FIND=0xC000)),
    ("DIM-11", Faults(matches=by_any_name)),
    ("DIM-12", Faults(sent=less_one)),
    ("DIM-12", Faults(sent=twice)),
    ("DIM-12", failing(C_GET=0xA702)),
    ("DIM-12", Faults(command=lambda sent: setattr(sent, COMPLETED, 9))),
    ("DIM-12", Faults(command=lambda sent: setattr(sent, FAILED, 1))),
    ("DIM-13", failing(C_MOVE=0x0000)),
    ("DIM-14", failing(N_ACTION=0x0110)),
    ("DIM-15", failing(C_FIND=0xC000)),
    ("DIM-15", Faults(matches=by_any_name)),
]
# These are about what is offered.
ELSEWHERE: Final = {"DIM-02", "DIM-03"}


@pytest.fixture(scope="module")
def listening() -> Iterator[RightEntity]:
    entity = RightEntity()
    yield entity
    entity.close()


@pytest.fixture
def entity(listening: RightEntity) -> RightEntity:
    listening.become(RightServer())
    return listening


async def judged_of(id: str, entity: RightEntity) -> Verdict:
    return await judged(id, server=entity.web, dimse=entity.address)


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_entity_passes(id: str, entity: RightEntity) -> None:
    verdict = await judged_of(id, entity)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "faults"), FAULTS)
async def test_a_fault_is_found(id: str, faults: Faults, entity: RightEntity) -> None:
    entity.become(RightServer(), faults)

    verdict = await judged_of(id, entity)

    assert verdict.outcome is when_broken(id), verdict.reason


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} | ELSEWHERE == set(ids_of(CHAPTER))


async def test_a_refused_default_transfer_syntax_is_found(entity: RightEntity) -> None:
    entity.offer([*contexts_of(VERIFICATION), *contexts_of(STUDY_FIND, plain=EXPLICIT_ALONE)])

    verdict = await judged_of("DIM-02", entity)

    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason == "not accepted in Implicit VR Little Endian: query"


async def test_no_class_in_the_default_transfer_syntax_is_found(entity: RightEntity) -> None:
    entity.offer(contexts_of(VERIFICATION, plain=EXPLICIT_ALONE))

    verdict = await judged_of("DIM-02", entity)

    assert verdict.outcome is Outcome.FAIL


async def test_an_entity_that_accepts_anything_is_noted(entity: RightEntity) -> None:
    entity.offer([*contexts_of(), *contexts_of(NONSENSE)])

    verdict = await judged_of("DIM-03", entity)

    assert verdict.outcome is Outcome.NOTE


@pytest.mark.parametrize("id", ids_of(CHAPTER, but={"DIM-01", "DIM-02", "DIM-03"}))
async def test_what_is_not_accepted_is_not_applicable(id: str, entity: RightEntity) -> None:
    entity.offer(contexts_of(VERIFICATION))

    verdict = await judged_of(id, entity)

    assert verdict.outcome is Outcome.NA, verdict.reason


@pytest.mark.parametrize("id", ["DIM-01", "DIM-03"])
async def test_verification_that_is_not_accepted_is_not_applicable(
    id: str, entity: RightEntity
) -> None:
    entity.offer(contexts_of(*OTHERS))

    verdict = await judged_of(id, entity)

    assert verdict.outcome is Outcome.NA, verdict.reason


@pytest.mark.parametrize(
    ("message", "id"), [(name, id) for name, ids in MESSAGES.items() for id in ids]
)
async def test_an_association_that_is_ended_says_nothing(
    message: str, id: str, entity: RightEntity
) -> None:
    """So do servers that do not permit an AE title something."""
    entity.become(RightServer(), Faults(ends=message))

    verdict = await judged_of(id, entity)

    assert verdict.outcome is Outcome.SKIP, verdict.reason
    assert "permit" in verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_without_dimse_is_not_applicable(id: str) -> None:
    verdict = await judged(id)

    assert verdict.outcome is Outcome.NA


# pynetdicom does not close the socket of a connection that is refused
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("id", ids_of(CHAPTER))
@pytest.mark.parametrize("address", ["127.0.0.1:1/NOBODY", "nonsense"])
async def test_nothing_is_said_where_nobody_listens(id: str, address: str) -> None:
    verdict = await judged(id, dimse=address)

    assert verdict.outcome is Outcome.SKIP


@pytest.mark.parametrize("id", ["DIM-04", "DIM-14"])
async def test_nothing_is_changed_in_a_run_that_only_reads(id: str, entity: RightEntity) -> None:
    verdict = await judged(id, server=entity.web, dimse=entity.address, read_only=True)

    assert verdict.outcome is Outcome.SKIP


async def test_the_last_response_of_a_c_get_need_not_count(entity: RightEntity) -> None:
    entity.become(RightServer(), Faults(command=without_counts))

    verdict = await judged_of("DIM-12", entity)

    assert verdict.outcome is Outcome.PASS, verdict.reason
    assert "does not count" in " ".join(verdict.notes)


async def test_any_failure_is_right_for_an_unknown_destination(entity: RightEntity) -> None:
    entity.become(RightServer(), failing(C_MOVE=0xC000))

    verdict = await judged_of("DIM-13", entity)

    assert verdict.outcome is Outcome.PASS, verdict.reason
    assert "0xC5" in " ".join(verdict.notes)


@pytest.mark.parametrize("id", ["DIM-01", "DIM-05"])
async def test_no_response_in_time_is_found(
    id: str, entity: RightEntity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(associations, "TIMEOUT_S", 1)
    entity.become(RightServer(), Faults(delay_s=2))

    verdict = await judged_of(id, entity)

    assert verdict.outcome is Outcome.FAIL
    assert "no response" in verdict.reason


async def test_the_report_says_what_was_exchanged(entity: RightEntity) -> None:
    verdict = await judged_of("DIM-05", entity)

    said = [(each.request, each.response_body) for each in verdict.exchanges]
    assert said == [("C-FIND STUDY", "1 data sets, status 0x0000")]


async def test_nothing_is_said_without_pynetdicom(
    entity: RightEntity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynetdicom", None)

    verdict = await judged_of("DIM-01", entity)

    assert verdict.outcome is Outcome.SKIP
    assert "dicomweb-conformance[dimse]" in verdict.reason
