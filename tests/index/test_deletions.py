"""What the catalogue says after instances have been deleted."""

import hypothesis.strategies as st
import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings

from bfr_dicomweb.dicom.attributes import Attributes
from bfr_dicomweb.dicom.matching import SearchLevel
from bfr_dicomweb.index import changes, deletions, instances, series, studies, tombstones
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.instances import NewInstance, Outcome
from bfr_dicomweb.refs import Ref
from catalogue_objects import a_new_instance
from searched import Catalogue

STUDY, CT, MR = "2.25.1", "2.25.1.1", "2.25.1.2"


def read(document: bytes) -> Attributes:
    attributes: Attributes = orjson.loads(zstandard.decompress(document))
    return attributes


async def store(index: Index, *new: NewInstance) -> list[instances.Added]:
    prepared = [instances.prepare(item) for item in new]
    return await index.transact(lambda conn: instances.add_instances(conn, prepared))


async def delete(index: Index, *uids: str) -> list[str] | None:
    return await index.transact(lambda conn: deletions.delete(conn, ref=Ref(*uids), read=read))


async def was_here(index: Index, *uids: str) -> bool:
    return await index.ask(lambda conn: tombstones.was_here(conn, Ref(*uids)))


async def study(index: Index) -> studies.StoredStudy | None:
    return await index.ask(lambda conn: studies.find(conn, STUDY))


@pytest.fixture
async def two_series(index: Index) -> Index:
    """One CT instance and two MR instances."""
    await store(
        index,
        a_new_instance(STUDY, CT, f"{CT}.1", Modality="CT"),
        a_new_instance(STUDY, MR, f"{MR}.1", Modality="MR", sop_class="1.2.3"),
        a_new_instance(STUDY, MR, f"{MR}.2", Modality="MR", sop_class="1.2.3"),
    )
    return index


async def test_a_deleted_instance_is_not_located(two_series: Index) -> None:
    await delete(two_series, STUDY, MR, f"{MR}.1")

    ref = Ref(STUDY, MR, f"{MR}.1")
    assert await two_series.ask(lambda conn: instances.locate(conn, ref)) is None


async def test_deleting_gives_the_keys_of_the_bytes(two_series: Index) -> None:
    assert await delete(two_series, STUDY, CT) == [f"blob/{CT}.1"]


async def test_deleting_what_is_not_there_gives_nothing(two_series: Index) -> None:
    found = [await delete(two_series, *uids) for uids in (("2.25.9",), (STUDY, "2.25.9"))]

    assert found == [None, None]


async def test_counts_are_those_of_what_is_left(two_series: Index) -> None:
    await delete(two_series, STUDY, MR, f"{MR}.1")

    left = await study(two_series)
    of_series = await two_series.ask(lambda conn: series.find(conn, STUDY, MR))
    assert left is not None
    assert of_series is not None
    found = (left.number_of_series, left.number_of_instances, of_series.number_of_instances)
    assert found == (2, 2, 1)


async def test_modalities_and_sop_classes_are_those_of_what_is_left(two_series: Index) -> None:
    await delete(two_series, STUDY, MR)

    left = await study(two_series)
    assert left is not None
    assert (left.modalities, len(left.sop_classes), left.number_of_series) == (("CT",), 1, 1)


async def test_a_study_goes_with_its_last_instance(two_series: Index) -> None:
    await delete(two_series, STUDY, CT)
    await delete(two_series, STUDY, MR)

    assert await study(two_series) is None


@pytest.mark.parametrize("uids", [(STUDY,), (STUDY, MR), (STUDY, MR, f"{MR}.2")])
async def test_of_what_was_deleted_it_is_known_that_it_was_here(
    two_series: Index, uids: tuple[str, ...]
) -> None:
    await delete(two_series, STUDY)

    assert await was_here(two_series, *uids)


@pytest.mark.parametrize("uids", [("2.25.9",), (STUDY, "2.25.9"), (STUDY, CT, f"{MR}.2")])
async def test_of_what_was_never_here_nothing_is_known(
    two_series: Index, uids: tuple[str, ...]
) -> None:
    await delete(two_series, STUDY)

    assert not await was_here(two_series, *uids)


async def test_every_deleted_instance_is_a_change_and_so_is_the_end_of_its_study(
    two_series: Index,
) -> None:
    await delete(two_series, STUDY)

    told = await two_series.ask(lambda conn: changes.list_after(conn, 3, 100))
    assert [one.what for one in told] == [
        *[changes.INSTANCE_DELETED] * 3,
        *[changes.SERIES_DELETED] * 2,
        changes.STUDY_DELETED,
    ]


async def test_a_study_that_lost_an_instance_has_a_new_change_number(two_series: Index) -> None:
    await delete(two_series, STUDY, CT)

    left = await study(two_series)
    latest = await two_series.ask(changes.latest)
    assert left is not None
    assert left.change == latest


async def test_what_is_deleted_can_be_stored_again_with_other_bytes(two_series: Index) -> None:
    await delete(two_series, STUDY, CT)

    (added,) = await store(two_series, a_new_instance(STUDY, CT, f"{CT}.1", content=b"other"))

    assert added.outcome is Outcome.STORED
    assert not await was_here(two_series, STUDY, CT, f"{CT}.1")


async def test_storing_again_elsewhere_leaves_the_tombstone(two_series: Index) -> None:
    await delete(two_series, STUDY, CT)

    await store(two_series, a_new_instance("2.25.7", "2.25.8", f"{CT}.1"))

    assert await was_here(two_series, STUDY, CT, f"{CT}.1")


async def test_the_keys_of_deleted_bytes_are_known_until_the_bytes_are_removed(
    two_series: Index,
) -> None:
    (key,) = await delete(two_series, STUDY, CT) or []
    before = await two_series.ask(lambda conn: instances.known_blob_keys(conn, [key]))
    await two_series.transact(lambda conn: tombstones.are_removed(conn, [key]))

    after = await two_series.ask(lambda conn: instances.known_blob_keys(conn, [key]))
    assert (before, after) == ({key}, set())


async def test_the_name_of_a_wrong_patient_goes_with_the_image(index: Index) -> None:
    await store(
        index,
        a_new_instance(STUDY, CT, f"{CT}.1", PatientName="Wrong^Person"),
        a_new_instance(STUDY, CT, f"{CT}.2", PatientName="Right^Person"),
    )

    await delete(index, STUDY, CT, f"{CT}.1")

    left = await study(index)
    assert left is not None
    assert left.attributes["00100010"]["Value"] == [{"Alphabetic": "Right^Person"}]


# --- the law ---------------------------------------------------------------------------------

NAMES = st.sampled_from([None, "", "Svensson^Ann", "Lind^Bo"])
INSTANCES = st.lists(
    st.tuples(
        st.integers(1, 2),  # study
        st.integers(1, 3),  # series
        NAMES,
        st.sampled_from(["20240101", "20240202", None]),
        st.sampled_from(["1.2.3", "1.2.4"]),
    ),
    min_size=1,
    max_size=9,
)
MODALITIES = {1: "CT", 2: "MR", 3: "SR"}


def made(drawn: list[tuple[int, int, str | None, str | None, str]]) -> list[NewInstance]:
    return [
        a_new_instance(
            f"2.25.{number}",
            f"2.25.{number}.{of}",
            f"2.25.{number}.{of}.{place}",
            sop_class=sop_class,
            Modality=MODALITIES[of],
            PatientName=name,
            StudyDate=date,
            SeriesDescription=name,
            ContentDate=date,
        )
        for place, (number, of, name, date, sop_class) in enumerate(drawn, 1)
    ]


ASKED = [
    (),
    *((("PatientName", f"{name}*"),) for name in ("svensson", "lind")),
    *((("ModalitiesInStudy", modality),) for modality in MODALITIES.values()),
    *((("StudyDate", date),) for date in ("20240101", "20240202")),
    *((("SOPClassesInStudy", one),) for one in ("1.2.3", "1.2.4")),
]
UNORDERED = ("00080061", "00080062")  # modalities and SOP classes of a study


def shown(catalogue: Catalogue) -> list[object]:
    """What searches say, whichever way they get there."""
    found: list[object] = []
    for level in (SearchLevel.STUDIES, SearchLevel.SERIES, SearchLevel.INSTANCES):
        for parameters in ASKED:
            rows = catalogue.search(*parameters, ("includefield", "all"), level=level).rows
            found += [
                {tag: sorted(e["Value"]) if tag in UNORDERED else e for tag, e in row.items()}
                for row in rows
            ]
    return found


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=INSTANCES, gone=st.sets(st.integers(0, 8)))
def test_what_is_left_is_as_if_nothing_else_had_been_stored(
    catalogue: Catalogue, drawn: list[tuple[int, int, str | None, str | None, str]], gone: set[int]
) -> None:
    new = made(drawn)

    def delete_these(chosen: list[NewInstance]) -> None:
        for one in chosen:
            uids = (one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid)
            catalogue.runner.run(delete(catalogue.index, *uids))

    catalogue.store(new)
    delete_these([one for place, one in enumerate(new) if place in gone])
    after = shown(catalogue)
    delete_these(new)
    assert shown(catalogue) == []

    left = [one for place, one in enumerate(new) if place not in gone]
    if left:
        catalogue.store(left)
    assert after == shown(catalogue)

    delete_these(left)
