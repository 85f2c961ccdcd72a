"""Storage commitment for those who ask for the result."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bfr_dicomweb.errors import Conflict, Gone
from bfr_dicomweb.index import changes, commitments, instances
from bfr_dicomweb.services import commitment, deletion
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.commitment import FailureReason, Outcome, Reference
from objects import an_object, uid


@pytest.fixture
async def archive(database_url: str, tmp_path: Path) -> AsyncIterator[Archive]:
    opened = await Archive.open(index_url=database_url, data=tmp_path / "data")
    yield opened
    await opened.close()


async def stored(archive: Archive, file: bytes) -> Reference:
    receiving = archive.store.receive()
    await receiving.write(file)
    result = await (await receiving.finish())
    return Reference(result.sop_class_uid, result.sop_instance_uid)


async def asked(archive: Archive, *references: Reference) -> str:
    transaction = uid()
    await commitment.ask(archive, transaction, references)
    return transaction


async def outcome(archive: Archive, *references: Reference) -> Outcome:
    return await commitment.result(archive, await asked(archive, *references))


def reasons(found: Outcome) -> list[int]:
    return [one.reason for one in found.failed]


async def test_what_was_deleted_is_not_committed_to(archive: Archive) -> None:
    file = an_object()
    reference = await stored(archive, file)
    before = await outcome(archive, reference)
    found = await archive.index.ask(
        lambda conn: instances.by_uids(conn, [reference.sop_instance_uid])
    )
    await deletion.delete(archive, found[0].ref)

    after = await outcome(archive, reference)

    assert before.committed == (reference,)
    assert reasons(after) == [FailureReason.NO_SUCH_OBJECT_INSTANCE]


async def test_what_is_stored_again_after_a_refusal_is_committed_to(archive: Archive) -> None:
    uids = {"StudyInstanceUID": uid(), "SeriesInstanceUID": uid(), "SOPInstanceUID": uid()}
    first, other = an_object(**uids), an_object(**uids, PatientID="other")
    reference = await stored(archive, first)
    await stored(archive, other)
    refused = await outcome(archive, reference)
    found = await archive.index.ask(
        lambda conn: instances.by_uids(conn, [reference.sop_instance_uid])
    )
    await deletion.delete(archive, found[0].ref)
    await stored(archive, other)

    taken = await outcome(archive, reference)

    assert reasons(refused) == [FailureReason.PROCESSING_FAILURE]
    assert taken.committed == (reference,)


async def test_of_two_that_work_out_a_result_the_first_counts(archive: Archive) -> None:
    reference = Reference("1.2", uid())
    transaction = await asked(archive, reference)
    first = await commitment.result(archive, transaction)
    number = await archive.index.ask(changes.latest)

    await archive.index.transact(lambda conn: commitments.answer(conn, number, {}))

    assert await commitment.result(archive, transaction) == first


@pytest.mark.parametrize("was_worked_out", [True, False])
async def test_a_result_is_gone_when_it_is_no_longer_kept(
    archive: Archive, was_worked_out: bool
) -> None:
    transaction = await asked(archive, Reference("1.2", uid()))
    if was_worked_out:
        await commitment.result(archive, transaction)
    later = changes.now_us() + 1
    await archive.index.transact(lambda conn: commitments.forget(conn, later))

    with pytest.raises(Gone):
        await commitment.result(archive, transaction)
    with pytest.raises(Conflict):
        await commitment.ask(archive, transaction, [Reference("1.2", "1.3")])
