"""What becomes of the bytes of instances that belong to no patient."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bfr_dicomweb.dicom import part10
from bfr_dicomweb.errors import Conflict
from bfr_dicomweb.refs import NonPatientRef
from bfr_dicomweb.services import non_patient, rebuilding, retrieve, store, verification
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.store import Expected, Outcome, StoreResult
from non_patient_objects import a_non_patient_object
from objects import an_object

CATEGORY = "hanging-protocols"


@pytest.fixture
async def archive(database_url: str, tmp_path: Path) -> AsyncIterator[Archive]:
    opened = await Archive.open(index_url=database_url, data=tmp_path / "data")
    yield opened
    await opened.close()


async def stored(archive: Archive, file: bytes, category: str | None = CATEGORY) -> StoreResult:
    receiving = archive.store.receive(Expected(category=category))
    await receiving.write(file)
    return await (await receiving.finish())


def files(archive: Archive) -> int:
    return len([*archive.blobs.objects.rglob("*.dcm")])


async def bytes_of(archive: Archive, result: StoreResult) -> bytes:
    assert isinstance(result.ref, NonPatientRef)
    found = await non_patient.locate(archive.index, result.ref)
    return await archive.reader.bytes_of(retrieve.as_stored(found.instance).pieces[0])


async def test_check_knows_them(archive: Archive) -> None:
    await stored(archive, a_non_patient_object(CATEGORY))
    await stored(archive, an_object(), None)

    found = await verification.verify(archive, lambda: None)

    assert (found.verified, found.is_clean) == (2, True)


async def test_check_misses_a_lost_one(archive: Archive) -> None:
    await stored(archive, a_non_patient_object(CATEGORY))
    (path,) = archive.blobs.objects.rglob("*.dcm")
    path.unlink()

    found = await verification.verify(archive, lambda: None)

    assert len(found.missing) == 1


async def test_their_bytes_are_kept_once(archive: Archive) -> None:
    file = a_non_patient_object(CATEGORY)

    outcomes = [(await stored(archive, file)).outcome for _ in range(2)]

    # groups are committed one after the other, and the last one is finished by then
    await stored(archive, a_non_patient_object(CATEGORY))
    assert outcomes == [Outcome.STORED, Outcome.DUPLICATE]
    assert files(archive) == 2


async def test_other_bytes_leave_no_trace(archive: Archive) -> None:
    file = a_non_patient_object(CATEGORY, SOPInstanceUID="1.2.3")
    first = await stored(archive, file)

    other = a_non_patient_object(CATEGORY, SOPInstanceUID="1.2.3", HangingProtocolName="X")
    outcome = (await stored(archive, other)).outcome

    assert outcome is Outcome.REFUSED
    assert await bytes_of(archive, first) == file
    assert files(archive) == 1


async def test_images_and_others_share_a_group(archive: Archive) -> None:
    async def receiving(file: bytes, category: str | None) -> store.Receiving:
        begun = archive.store.receive(Expected(category=category))
        await begun.write(file)
        return begun

    begun = [
        await receiving(a_non_patient_object(CATEGORY), CATEGORY),
        await receiving(an_object(), None),
        await receiving(a_non_patient_object(CATEGORY), CATEGORY),
        await receiving(an_object(), None),
    ]
    results = [await task for task in [await one.finish() for one in begun]]

    assert [one.outcome for one in results] == [Outcome.STORED] * 4
    kinds = [isinstance(one.ref, NonPatientRef) for one in results]
    assert kinds == [True, False, True, False]


@pytest.mark.parametrize("is_committed", [True, False])
async def test_the_next_start_decides_what_was_in_doubt(
    archive: Archive, database_url: str, *, is_committed: bool
) -> None:
    file = a_non_patient_object(CATEGORY)
    staged = archive.blobs.stage()
    staged.write([file])
    archive.blobs.place(staged)
    staged.seal()
    archive.blobs.flush([staged.key])
    if is_committed:
        header = part10.read_header(file)
        ref, sop_class_uid = store.identify(header, store.expected_of(header))
        row = store.prepare(
            header,
            ref,
            sop_class_uid,
            key=staged.key,
            size=staged.size_bytes,
            digest=staged.digest,
        )
        await archive.index.transact(lambda conn: store.add(conn, [row]))
    archive.blobs.close()  # lets go of its staging folder, as a dead process does

    again = await Archive.open(index_url=database_url, data=archive.blobs.objects.parent)

    try:
        found = await verification.verify(again, lambda: None)
        assert (found.verified, found.is_clean) == (int(is_committed), True)
        assert files(again) == int(is_committed)
        assert [*again.blobs.staging.glob("*/*.dcm")] == []
    finally:
        await again.close()


async def test_a_rebuilt_catalogue_has_them(archive: Archive, tmp_path: Path) -> None:
    file = a_non_patient_object(CATEGORY)
    result = await stored(archive, file)
    await stored(archive, an_object(), None)
    url = f"sqlite:///{tmp_path / 'rebuilt.sqlite'}"

    rebuilt = await rebuilding.rebuild(url, archive.blobs, lambda _: None)

    assert (rebuilt.added, rebuilt.left_out) == (2, {})
    again = await Archive.open(index_url=url, data=archive.blobs.objects.parent)
    try:
        assert await bytes_of(again, result) == file
    finally:
        await again.close()


async def test_a_catalogue_that_has_them_is_not_rebuilt_into(
    archive: Archive, database_url: str
) -> None:
    await stored(archive, a_non_patient_object(CATEGORY))

    with pytest.raises(Conflict):
        await rebuilding.rebuild(database_url, archive.blobs, lambda _: None)
