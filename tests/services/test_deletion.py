"""What becomes of bytes and documents when something is deleted."""

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from bfr_dicomweb.errors import Gone, NotFound
from bfr_dicomweb.index import deletions
from bfr_dicomweb.orders.events import Coding, Party, ReportStatus, Section
from bfr_dicomweb.orders.state import Report, ReportVersion
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import deletion, rebuilding, retrieve, verification
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.change_feed import ChangeFeed
from bfr_dicomweb.services.content import Content, FileRange
from bfr_dicomweb.services.report_writing import ReportWriter
from bfr_dicomweb.services.store import Outcome, StoreResult
from objects import a_series, an_object


@pytest.fixture
async def archive(database_url: str, tmp_path: Path) -> AsyncIterator[Archive]:
    opened = await Archive.open(index_url=database_url, data=tmp_path / "data")
    yield opened
    await opened.close()


async def store(archive: Archive, file: bytes) -> Ref:
    ref = (await stored(archive, file)).ref
    assert isinstance(ref, Ref)
    return ref


async def stored(archive: Archive, file: bytes) -> StoreResult:
    receiving = archive.store.receive()
    await receiving.write(file)
    return await (await receiving.finish())


def files(archive: Archive) -> dict[str, int]:
    """How many there are of objects, and of deleted ones."""
    folders = {"objects": archive.blobs.objects, "deleted": archive.blobs.deleted}
    return {name: len([*folder.rglob("*.dcm")]) for name, folder in folders.items()}


async def is_clean(archive: Archive) -> bool:
    return (await verification.verify(archive, lambda: None)).is_clean


async def cut_off(archive: Archive, ref: Ref) -> None:
    """Delete it as a process does that dies after the commit."""
    await archive.index.transact(
        lambda conn: deletions.delete(conn, ref=ref, read=deletion._attributes)
    )


# --- bytes -----------------------------------------------------------------------------------


async def test_deleted_bytes_are_set_aside(archive: Archive) -> None:
    await store(archive, an_object())

    await deletion.delete(archive, await store(archive, an_object()))

    assert files(archive) == {"objects": 1, "deleted": 1}


async def test_they_are_kept_until_their_time_is_over(archive: Archive) -> None:
    await deletion.delete(archive, await store(archive, an_object()))

    await deletion.clean(archive, after_days=1)

    assert files(archive) == {"objects": 0, "deleted": 1}


async def test_they_are_removed_when_their_time_is_over(archive: Archive) -> None:
    await store(archive, an_object())
    await deletion.delete(archive, await store(archive, an_object()))

    await deletion.clean(archive, after_days=0)

    assert files(archive) == {"objects": 1, "deleted": 0}


async def test_what_was_cut_off_is_finished_later(archive: Archive) -> None:
    await cut_off(archive, await store(archive, an_object()))
    before = files(archive), await is_clean(archive)

    await deletion.clean(archive, after_days=1)

    after = files(archive), await is_clean(archive)
    assert before == ({"objects": 1, "deleted": 0}, True)
    assert after == ({"objects": 0, "deleted": 1}, True)


async def test_bytes_that_were_removed_already_are_no_trouble(archive: Archive) -> None:
    ref = await store(archive, an_object())
    await cut_off(archive, ref)
    for file in archive.blobs.objects.rglob("*.dcm"):
        file.unlink()

    await deletion.clean(archive, after_days=0)

    assert await is_clean(archive)


async def test_the_bytes_of_what_was_stored_again_stay(archive: Archive) -> None:
    file = an_object()
    await deletion.delete(archive, await store(archive, file))
    ref = await store(archive, file)

    await deletion.clean(archive, after_days=0)

    assert await is_clean(archive)
    assert files(archive) == {"objects": 1, "deleted": 0}
    assert (await retrieve.locate(archive, ref)).size_bytes == len(file)


async def test_a_download_that_has_begun_goes_on(archive: Archive) -> None:
    file = an_object()
    ref = await store(archive, file)
    located = await retrieve.locate(archive, ref)

    await deletion.delete(archive, ref)

    whole = Content((FileRange(located.blob_key, 0, located.size_bytes),))
    assert await archive.reader.whole(whole) == file


async def test_what_was_deleted_is_gone_and_what_never_was_is_not_found(archive: Archive) -> None:
    ref = await store(archive, an_object())
    await deletion.delete(archive, ref)

    with pytest.raises(Gone):
        await deletion.delete(archive, ref)
    with pytest.raises(NotFound) as caught:
        await deletion.delete(archive, Ref("2.25.404"))
    assert not isinstance(caught.value, Gone)


async def test_other_bytes_are_taken_after_deletion(archive: Archive) -> None:
    first = dcmread(io.BytesIO(an_object()))
    uids = {
        "StudyInstanceUID": first.StudyInstanceUID,
        "SeriesInstanceUID": first.SeriesInstanceUID,
        "SOPInstanceUID": first.SOPInstanceUID,
    }
    await deletion.delete(archive, await store(archive, an_object(**uids)))

    result = await stored(archive, an_object(**uids, PatientID="other"))

    assert result.outcome is Outcome.STORED


# --- documents that the archive writes itself -------------------------------------------------

REPORT = Report(
    "evidia|SU24000123",
    "SU24000123",
    "evidia",
    "final",
    (
        ReportVersion(
            time="2024-01-10T10:00:00.000000Z",
            status="final",
            sections=(Section(Coding("18782-3", "http://loinc.org", "Radiology study"), "u.a."),),
            attachments=(),
            digests=("digest",),
            signer=Party(family="Öst"),
            kind=ReportStatus.FINAL,
        ),
    ),
    (0,),
)


@pytest.fixture
def writer(archive: Archive) -> Iterator[ReportWriter]:
    made = ReportWriter(archive)
    yield made
    made.close()


async def test_a_document_that_somebody_deleted_is_not_written_again(
    archive: Archive, writer: ReportWriter
) -> None:
    study = (await store(archive, an_object())).study_instance_uid
    written = await writer.write(REPORT, study)
    assert isinstance(written.ref, Ref)
    await deletion.delete(archive, written.ref)

    again = await writer.write(REPORT, study)

    assert isinstance(again.error, Gone)


async def test_it_is_written_again_when_its_whole_study_has_come_back(
    archive: Archive, writer: ReportWriter
) -> None:
    file = an_object()
    study = (await store(archive, file)).study_instance_uid
    await writer.write(REPORT, study)
    await deletion.delete(archive, Ref(study))
    await store(archive, file)

    again = await writer.write(REPORT, study)

    assert again.outcome is Outcome.STORED


# --- a catalogue made anew -------------------------------------------------------------------


async def rebuilt(archive: Archive, tmp_path: Path, *, knows_old: bool = True) -> Archive:
    """The archive over a new SQLite catalogue, made from the files."""
    # where the fixture of an SQLite database has it
    old = tmp_path / "catalogue.db"
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    await rebuilding.rebuild(url, archive.blobs, lambda _: None, old=old if knows_old else None)
    return await Archive.open(index_url=url, data=tmp_path / "data")


@pytest.mark.parametrize("knows_old", [True, False])
async def test_what_was_deleted_does_not_come_back(
    archive: Archive, tmp_path: Path, knows_old: bool
) -> None:
    kept = await store(archive, an_object())
    ref = await store(archive, an_object())
    await deletion.delete(archive, ref)

    new = await rebuilt(archive, tmp_path, knows_old=knows_old)
    try:
        with pytest.raises(Gone):
            await retrieve.locate(new, ref)
        assert (await retrieve.locate(new, kept)).ref == kept
        assert await is_clean(new)
        await deletion.clean(new, after_days=0)
        assert files(new) == {"objects": 1, "deleted": 0}
    finally:
        await new.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_was_cut_off_does_not_come_back_by_the_old_catalogue(
    archive: Archive, tmp_path: Path
) -> None:
    ref = await store(archive, an_object())
    await cut_off(archive, ref)

    new = await rebuilt(archive, tmp_path)
    try:
        with pytest.raises(Gone):
            await retrieve.locate(new, ref)
    finally:
        await new.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_of_what_is_long_gone_the_old_catalogue_still_tells(
    archive: Archive, tmp_path: Path
) -> None:
    ref = await store(archive, an_object())
    await deletion.delete(archive, ref)
    await deletion.clean(archive, after_days=0)

    new = await rebuilt(archive, tmp_path)
    try:
        with pytest.raises(Gone):
            await retrieve.locate(new, ref)
        page = await ChangeFeed(new.index).page(0)
        assert [(one.what, one.sop_instance_uid) for one in page.changes] == [
            ("instance-deleted", ref.sop_instance_uid)
        ]
    finally:
        await new.close()


async def test_what_was_stored_again_is_there_afterwards(archive: Archive, tmp_path: Path) -> None:
    (file,) = a_series(1)
    await deletion.delete(archive, await store(archive, file))
    ref = await store(archive, file)

    new = await rebuilt(archive, tmp_path)
    try:
        assert (await retrieve.locate(new, ref)).ref == ref
    finally:
        await new.close()
