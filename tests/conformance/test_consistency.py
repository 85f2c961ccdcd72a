"""CON: what each case says where both doors lead to the same, and where they do not."""

import json
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from pydicom.dataset import Dataset

from dicomweb_conformance.running import Verdict
from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, body, ids_of, instead, judged, on, status, when_broken
from right_dimse import VERIFICATION, Faults, RightEntity, contexts_of
from right_server import RightServer, answer

CHAPTER: Final = "CON"


def with_another(keyword: str, value: object) -> Callable[[Dataset], None]:
    def changed(dataset: Dataset) -> None:
        setattr(dataset, keyword, value)

    return changed


def in_matches(change: Callable[[Dataset], None]) -> Faults:
    def changed(matches: list[Dataset]) -> list[Dataset]:
        for match in matches:
            change(match)
        return matches

    return Faults(matches=changed, sent=changed)


def less_one(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:-1]


def less_one_row(right: bytes) -> bytes:
    return json.dumps(json.loads(right)[:-1]).encode()


DATE: Final = with_another("StudyDate", "20240107")
NUMBER: Final = with_another("InstanceNumber", 99)
BLACK: Final = with_another("PixelData", bytes(64 * 48 * 2))
INSTANCES: Final = on(ends="/instances")

# What the application entity does otherwise, or the web server.
FAULTS: Final[list[tuple[str, Faults, Fault | None]]] = [
    ("CON-01", in_matches(DATE), None),
    ("CON-01", Faults(), body(lambda right: right.replace(b'"A001"', b'"A002"'))),
    ("CON-02", Faults(), body(less_one_row, INSTANCES)),
    ("CON-03", in_matches(NUMBER), None),
    ("CON-03", in_matches(BLACK), None),
    ("CON-04", Faults(stored=NUMBER), None),
    ("CON-04", Faults(stored=BLACK), None),
    ("CON-04", Faults(), status(404, on(has="/instances/", accept="application/dicom"))),
]


@pytest.fixture(scope="module")
def listening() -> Iterator[RightEntity]:
    entity = RightEntity()
    yield entity
    entity.close()


@pytest.fixture
def entity(listening: RightEntity) -> RightEntity:
    listening.become(RightServer())
    return listening


async def judged_of(id: str, entity: RightEntity, fault: Fault | None = None) -> Verdict:
    return await judged(id, fault, server=entity.web, dimse=entity.address)


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_two_doors_to_the_same_pass(id: str, entity: RightEntity) -> None:
    verdict = await judged_of(id, entity)

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "faults", "fault"), FAULTS)
async def test_a_difference_is_found(
    id: str, faults: Faults, fault: Fault | None, entity: RightEntity
) -> None:
    entity.become(RightServer(), faults)

    verdict = await judged_of(id, entity, fault)

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize(
    "faults", [Faults(matches=less_one), in_matches(with_another("SOPInstanceUID", "1.2.3"))]
)
async def test_matches_that_are_wrong_by_themselves_are_blamed_once(
    faults: Faults, entity: RightEntity
) -> None:
    entity.become(RightServer(), faults)

    verdict = await judged_of("CON-02", entity)

    assert verdict.outcome is Outcome.SKIP
    assert "DIM-08" in verdict.reason


def test_every_case_has_a_fault() -> None:
    assert {id for id, _, _ in FAULTS} == set(ids_of(CHAPTER))


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_a_server_without_dimse_is_not_applicable(id: str) -> None:
    verdict = await judged(id)

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_what_is_not_accepted_is_not_applicable(id: str, entity: RightEntity) -> None:
    entity.offer(contexts_of(VERIFICATION))

    verdict = await judged_of(id, entity)

    assert verdict.outcome is Outcome.NA


@pytest.mark.parametrize("id", ["CON-01", "CON-02"])
async def test_a_search_that_finds_nothing_leaves_nothing_to_compare(
    id: str, entity: RightEntity
) -> None:
    verdict = await judged_of(id, entity, instead(answer(204), on()))

    assert verdict.outcome is Outcome.SKIP
