import hypothesis.strategies as st
import pytest
from hypothesis import given

from bfr_dicomweb.index import changes, instances, series, studies
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.instances import Added, NewInstance, Outcome
from bfr_dicomweb.index.studies import filled
from bfr_dicomweb.refs import Ref
from catalogue_objects import a_new_instance, data_set


async def store(index: Index, *new: NewInstance) -> list[Added]:
    async with index.write() as conn:
        return await instances.add_instances(conn, [instances.prepare(item) for item in new])


async def test_a_stored_instance_is_located_with_all_it_was_given(index: Index) -> None:
    new = a_new_instance("2.25.1", "2.25.2", "2.25.3", InstanceNumber=7)

    (added,) = await store(index, new)

    async with index.read() as conn:
        stored = await instances.locate(conn, Ref("2.25.1", "2.25.2", "2.25.3"))
    assert stored is not None
    given_names = ("sop_class_uid", "blob_key", "size_bytes", "digest", "frame_bits", "deflated")
    assert [getattr(stored, n) for n in given_names] == [getattr(new, n) for n in given_names]
    assert (stored.change, stored.instance_number) == (added.change, 7)


async def test_an_instance_is_not_located_below_another_study(index: Index) -> None:
    await store(index, a_new_instance("2.25.1", "2.25.2", "2.25.3"))

    async with index.read() as conn:
        assert await instances.locate(conn, Ref("2.25.9", "2.25.2", "2.25.3")) is None


async def test_the_same_bytes_are_stored_once(index: Index) -> None:
    new = a_new_instance()

    first, again = (await store(index, new))[0], (await store(index, new))[0]

    assert first == Added(Outcome.STORED, again.change)
    assert again.outcome is Outcome.DUPLICATE


async def test_the_same_bytes_are_stored_once_within_a_batch(index: Index) -> None:
    outcomes = [added.outcome for added in await store(index, *[a_new_instance()] * 3)]

    assert outcomes == [Outcome.STORED, Outcome.DUPLICATE, Outcome.DUPLICATE]


async def test_other_bytes_under_a_taken_uid_change_nothing(index: Index) -> None:
    await store(index, a_new_instance("2.25.1", "2.25.2", "2.25.3"))

    (added,) = await store(index, a_new_instance("2.25.7", "2.25.8", "2.25.3", content=b"other"))

    async with index.read() as conn:
        assert added.outcome is Outcome.DIFFERENT
        assert await studies.find(conn, "2.25.7") is None
        assert await changes.latest(conn) == 1


async def test_an_empty_batch_is_no_change(index: Index) -> None:
    assert await store(index) == []


async def test_what_is_rolled_back_was_never_there(index: Index) -> None:
    async def fail_after_adding() -> None:
        async with index.write() as conn:
            await instances.add_instances(conn, [instances.prepare(a_new_instance())])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_after_adding()

    async with index.read() as conn:
        assert await studies.find(conn, "2.25.1") is None
        assert await changes.latest(conn) == 0


async def test_a_study_counts_what_is_below_it(index: Index) -> None:
    await store(index, a_new_instance("2.25.1", "2.25.1.1", "2.25.1.1.1"))
    await store(
        index,
        a_new_instance("2.25.1", "2.25.1.1", "2.25.1.1.2"),
        a_new_instance("2.25.1", "2.25.1.2", "2.25.1.2.1", Modality="SR", sop_class="1.2.3"),
    )

    async with index.read() as conn:
        study = await studies.find(conn, "2.25.1")
        one_series = await series.find(conn, "2.25.1", "2.25.1.1")
        assert await instances.count(conn) == 3
    assert study is not None
    assert one_series is not None
    assert (study.number_of_series, study.number_of_instances) == (2, 3)
    assert (study.modalities, study.sop_classes[-1]) == (("CT", "SR"), "1.2.3")
    assert (one_series.number_of_instances, one_series.change, study.change) == (2, 2, 3)


async def test_later_instances_fill_what_the_study_does_not_have(index: Index) -> None:
    await store(index, a_new_instance(instance="2.25.1.1.1", PatientName=None, StudyID="A"))
    await store(index, a_new_instance(instance="2.25.1.1.2", PatientName="Ek^Åsa", StudyID="B"))

    async with index.read() as conn:
        study = await studies.find(conn, "2.25.1")
    assert study is not None
    assert study.attributes["00100010"]["Value"] == [{"Alphabetic": "Ek^Åsa"}]
    assert study.attributes["00200010"]["Value"] == ["A"]


VALUES = st.sampled_from([None, "A", "B"])
DATA_SETS = st.dictionaries(st.sampled_from(["StudyID", "PatientID", "StudyDescription"]), VALUES)


@given(DATA_SETS, DATA_SETS)
def test_filling_keeps_every_value_and_adds_only_missing_ones(
    old: dict[str, str | None], new: dict[str, str | None]
) -> None:
    stored = data_set(**old)
    together = filled(stored, data_set(**new)) or stored

    expected = {k: old.get(k) or new.get(k) for k in {**old, **new}}
    assert together == data_set(**expected)


async def test_instances_of_a_study_come_by_series_number_and_instance_number(
    index: Index,
) -> None:
    await store(
        index,
        a_new_instance("2.25.1", "2.25.1.9", "2.25.1.9.1", SeriesNumber=1, InstanceNumber=2),
        a_new_instance("2.25.1", "2.25.1.1", "2.25.1.1.1", SeriesNumber=2, InstanceNumber=1),
        a_new_instance("2.25.1", "2.25.1.9", "2.25.1.9.2", SeriesNumber=1, InstanceNumber=1),
        a_new_instance("2.25.1", "2.25.1.0", "2.25.1.0.1"),
        a_new_instance("2.25.1", "2.25.1.9", "2.25.1.9.0", SeriesNumber=1),
    )
    expected = ["2.25.1.9.2", "2.25.1.9.1", "2.25.1.9.0", "2.25.1.1.1", "2.25.1.0.1"]

    async with index.read() as conn:
        listed = await instances.list_instances(conn, Ref("2.25.1"))
        paged = [one async for one in instances.iterate(conn, Ref("2.25.1"), page=2)]
        documents = [one async for one in instances.documents(conn, Ref("2.25.1"), page=2)]
        in_series = await instances.list_instances(conn, Ref("2.25.1", "2.25.1.9"))
    assert [one.sop_instance_uid for one in listed] == expected
    assert paged == listed
    assert [one.sop_instance_uid for one in documents] == expected
    assert [one.sop_instance_uid for one in in_series] == expected[:3]
    assert [one.series_number for one in listed] == [1, 1, 1, 2, None]


async def test_the_document_of_one_instance_is_its_own(index: Index) -> None:
    new = a_new_instance()
    await store(index, new, a_new_instance(instance="2.25.9"))
    ref = Ref(new.study_instance_uid, new.series_instance_uid, new.sop_instance_uid)

    async with index.read() as conn:
        stored = await instances.locate(conn, ref)
        assert stored is not None
        assert [d.document async for d in instances.documents(conn, ref)] == [new.document]
        assert await instances.bulk_table(conn, stored.key) == new.bulk


SPANS = b"".join(number.to_bytes(16, "little") for number in range(1000))


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), (0, 2), (239, 3), (240, 1), (999, 1), (5, 700)]
)
async def test_spans_of_some_frames_are_a_piece_of_the_frame_table(
    index: Index, first: int, count: int
) -> None:
    new = a_new_instance(spans=SPANS)
    await store(index, new)

    async with index.read() as conn:
        (stored,) = await instances.list_instances(conn, Ref(new.study_instance_uid))
        found = await instances.spans(conn, stored, first, count)
    assert found == SPANS[first * 16 : (first + count) * 16]


async def test_changes_are_numbered_in_order_without_gaps(index: Index) -> None:
    for number in range(3):
        await store(index, *(a_new_instance(f"2.25.{number}{k}") for k in range(4)))

    async with index.read() as conn:
        found = await changes.list_after(conn, 2, 100)
        assert await changes.latest(conn) == 12
    assert [change.number for change in found] == list(range(3, 13))
    assert {change.what for change in found} == {changes.INSTANCE_STORED}


async def test_blob_keys_are_known_when_an_instance_has_them(index: Index) -> None:
    new = a_new_instance()
    await store(index, new)

    async with index.read() as conn:
        assert await instances.known_blob_keys(conn, [new.blob_key, "x"]) == {new.blob_key}
        blobs = [blob async for blob in instances.iterate_blobs(conn, page=1)]
    assert [(blob.blob_key, blob.digest) for blob in blobs] == [(new.blob_key, new.digest)]


async def test_values_too_long_for_an_index_are_stored_and_found(index: Index) -> None:
    long = "x" * 9000
    await store(index, a_new_instance(PatientID=long, AccessionNumber=long, PatientName=long))

    async with index.read() as conn:
        assert await studies.find(conn, "2.25.1") is not None
