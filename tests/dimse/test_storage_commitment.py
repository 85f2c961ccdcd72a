"""Storage commitment asked of this archive (PS3.4 Annex J)."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when it is imported
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from dimse_peers import Entity, delivering, keep, listening, until
from dimse_served import AE_TITLE, Served, served
from objects import a_series, an_object, uid

MODALITY, TABLET, LOST = "MODALITY", "TABLET", "LOST"


@pytest.fixture(scope="module")
def modality() -> Iterator[Entity]:
    """Gets results on associations of their own."""
    with listening(Entity(MODALITY)) as entity:
        yield entity


@pytest.fixture(scope="module")
def lost() -> Entity:
    """Does not listen unless a test lets it."""
    return Entity(LOST)


@pytest.fixture(scope="module")
def archive(
    modality: Entity, lost: Entity, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    peers = (
        modality.peer(),
        Entity(TABLET).peer(commits_on_same_association=True),
        lost.peer(),
    )
    with served(tmp_path_factory.mktemp("archive"), peers=peers) as archive, delivering(archive):
        yield archive


@pytest.fixture(scope="module")
def stored(archive: Served) -> list[str]:
    """UIDs of ten CT images, stored by C-STORE."""
    uids = []
    with associated(archive, MODALITY, storage=True) as association:
        for made in a_series(10):
            dataset = dcmread(DicomBytesIO(made))
            assert association.send_c_store(dataset).Status == 0x0000
            uids.append(str(dataset.SOPInstanceUID))
    return uids


@contextmanager
def associated(
    archive: Served, title: str, *, storage: bool = False, handlers: Sequence[Any] = ()
) -> Iterator[Association]:
    entity = AE(title)
    entity.add_requested_context(StorageCommitmentPushModel)
    if storage:
        entity.add_requested_context(CTImageStorage)
    association = entity.associate(
        "127.0.0.1", archive.port, ae_title=AE_TITLE, evt_handlers=list(handlers)
    )
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def referenced(uids: Sequence[str], sop_class: str = CTImageStorage) -> list[Dataset]:
    items = []
    for sop_instance_uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = sop_instance_uid
        items.append(item)
    return items


def information(items: Sequence[Dataset], transaction: str | None = None) -> Dataset:
    made = Dataset()
    made.TransactionUID = transaction or uid()
    made.ReferencedSOPSequence = list(items)
    return made


def ask(association: Association, asked: Dataset, action_type: int = 1) -> Dataset:
    status, _ = association.send_n_action(
        asked, action_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    return status


def told(entity: Entity, transaction: str) -> tuple[int, Dataset]:
    """The result of a transaction, when it has come."""

    def found() -> tuple[int, Dataset] | None:
        for event_type, result in entity.events:
            if result.TransactionUID == transaction:
                return event_type, result
        return None

    answer: tuple[int, Dataset] = until(found)
    return answer


def request(archive: Served, entity: Entity, items: Sequence[Dataset]) -> tuple[int, Dataset]:
    """The result of a request of its own."""
    asked = information(items)
    with associated(archive, entity.title) as association:
        assert ask(association, asked).Status == 0x0000
    return told(entity, asked.TransactionUID)


def test_ten_of_eleven_are_committed_to_and_one_is_not_there(
    archive: Served, modality: Entity, stored: list[str]
) -> None:
    missing = uid()

    event_type, result = request(archive, modality, referenced([*stored, missing]))

    assert event_type == 2
    assert [item.ReferencedSOPInstanceUID for item in result.ReferencedSOPSequence] == stored
    (failed,) = result.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (missing, 0x0112)


def test_all_committed_is_event_type_1(
    archive: Served, modality: Entity, stored: list[str]
) -> None:
    event_type, result = request(archive, modality, referenced(stored))

    assert (event_type, "FailedSOPSequence" in result) == (1, False)


def test_the_result_says_where_the_instances_can_be_retrieved(
    archive: Served, modality: Entity, stored: list[str]
) -> None:
    _, result = request(archive, modality, referenced(stored[:1]))

    assert result.RetrieveAETitle == AE_TITLE


def test_another_sop_class_than_the_stored_one_is_a_conflict(
    archive: Served, modality: Entity, stored: list[str]
) -> None:
    _, result = request(archive, modality, referenced(stored[:1], MRImageStorage))

    assert [item.FailureReason for item in result.FailedSOPSequence] == [0x0119]


def test_nothing_is_promised_of_a_file_that_is_gone(archive: Served, modality: Entity) -> None:
    (lost_uid,) = keep(archive, a_series(1))
    folder = archive.archive.blobs.path("x").parent
    newest = max(folder.rglob("*.dcm"), key=lambda path: path.stat().st_mtime_ns)
    newest.rename(newest.with_suffix(".away"))

    _, result = request(archive, modality, referenced([lost_uid]))

    assert [item.FailureReason for item in result.FailedSOPSequence] == [0x0110]


def test_nothing_is_promised_to_who_was_refused_with_other_bytes(
    archive: Served, modality: Entity
) -> None:
    uids = {"StudyInstanceUID": uid(), "SeriesInstanceUID": uid(), "SOPInstanceUID": uid()}
    sent = [an_object(**uids), an_object(**uids, PatientID="other")]
    with associated(archive, MODALITY, storage=True) as association:
        taken = [association.send_c_store(dcmread(DicomBytesIO(one))).Status for one in sent]

    _, result = request(archive, modality, referenced([uids["SOPInstanceUID"]]))

    assert [status == 0x0000 for status in taken] == [True, False]
    assert [item.FailureReason for item in result.FailedSOPSequence] == [0x0110]


def test_a_request_that_is_repeated_is_reported_again(
    archive: Served, modality: Entity, stored: list[str]
) -> None:
    asked = information(referenced(stored[:2]))
    for count in (1, 2):
        with associated(archive, MODALITY) as association:
            ask(association, asked)
        until(partial(is_told, modality, asked, times=count))

    assert [type for type, result in modality.events if is_of(result, asked)] == [1, 1]


def test_a_transaction_uid_that_is_taken_fails_every_instance(
    archive: Served, modality: Entity, stored: list[str]
) -> None:
    first = information(referenced(stored[:2]))
    second = information(referenced(stored[2:5]), first.TransactionUID)
    with associated(archive, MODALITY) as association:
        ask(association, first)
        ask(association, second)

    until(lambda: transactions(modality).count(first.TransactionUID) == 2)

    _, result = next(one for one in modality.events if is_of(one[1], first) and one[0] == 2)
    assert [item.FailureReason for item in result.FailedSOPSequence] == [0x0131] * 3


def is_told(entity: Entity, asked: Dataset, *, times: int) -> bool:
    return transactions(entity).count(asked.TransactionUID) == times


def transactions(entity: Entity) -> list[str]:
    return [result.TransactionUID for _, result in entity.events]


def is_of(result: Dataset, asked: Dataset) -> bool:
    return bool(result.TransactionUID == asked.TransactionUID)


# --- on the association of the request ---------------------------------------------------------


def test_the_result_comes_on_the_association_of_the_request(
    archive: Served, stored: list[str]
) -> None:
    heard: list[int] = []

    def hear(event: Any) -> tuple[int, None]:
        heard.append(event.event_type)
        return 0x0000, None

    handlers = [(evt.EVT_N_EVENT_REPORT, hear)]
    with associated(archive, TABLET, handlers=handlers) as association:
        ask(association, information(referenced(stored)))
        until(lambda: heard)

    assert heard == [1]


def stored_while_told(
    archive: Served, asked: Sequence[Dataset]
) -> tuple[list[int], list[str]] | None:
    """Statuses of three instances for each request, and the transactions that were told of.

    None when the requester waits for itself: pynetdicom's does, once in a great while, when
    something is asked of it while it sends.
    """
    heard: list[str] = []

    def hear(event: Any) -> tuple[int, None]:
        heard.append(event.event_information.TransactionUID)
        return 0x0000, None

    statuses: list[int] = []
    with associated(
        archive, TABLET, storage=True, handlers=[(evt.EVT_N_EVENT_REPORT, hear)]
    ) as association:
        watch = threading.Timer(20, association.kill)
        watch.daemon = True
        watch.start()
        for one in asked:
            ask(association, one)
            for made in a_series(3):
                answer = association.send_c_store(dcmread(DicomBytesIO(made)))
                if not association.is_established:
                    return None
                statuses.append(answer.Status)
        watch.cancel()
        until(lambda: len(heard) == len(asked))
    return statuses, heard


def test_instances_may_be_stored_while_the_result_comes(archive: Served, stored: list[str]) -> None:
    asked = [information(referenced(stored[at : at + 1])) for at in range(5)]

    found = stored_while_told(archive, asked) or stored_while_told(archive, asked)

    assert found is not None
    statuses, heard = found
    assert statuses == [0x0000] * 15
    assert sorted(heard) == sorted(one.TransactionUID for one in asked)


# --- a requester that is gone ------------------------------------------------------------------


def test_a_requester_that_was_gone_is_told_when_it_is_back(
    archive: Served, lost: Entity, stored: list[str]
) -> None:
    asked = information(referenced(stored))
    with associated(archive, LOST) as association:
        ask(association, asked)

    with listening(lost):
        event_type, _ = told(lost, asked.TransactionUID)

    assert event_type == 1


def test_a_result_that_is_refused_is_told_again_and_holds_up_no_other(
    archive: Served, modality: Entity, stored: list[str]
) -> None:
    unwanted = information(referenced(stored[:1]))
    refusals: list[int] = []

    def refuse_twice(entity: Entity, event: Any) -> int:
        if event.event_information.TransactionUID == unwanted.TransactionUID and len(refusals) < 2:
            refusals.append(len(entity.events))
            return 0x0110
        return 0x0000

    modality.event = refuse_twice
    other = information(referenced(stored[1:2]))
    with associated(archive, MODALITY) as association:
        ask(association, unwanted)
        ask(association, other)
    told(modality, unwanted.TransactionUID)

    order = transactions(modality)
    assert order.index(other.TransactionUID) < order.index(unwanted.TransactionUID)


def test_a_request_outlives_the_process_that_took_it(tmp_path: Path) -> None:
    asked = information(referenced([uid()]))
    with listening(Entity(MODALITY)) as modality:
        with (
            served(tmp_path, peers=[modality.peer()]) as archive,
            associated(archive, MODALITY) as association,
        ):
            ask(association, asked)
        with served(tmp_path, peers=[modality.peer()]) as archive, delivering(archive):
            event_type, _ = told(modality, asked.TransactionUID)

    assert event_type == 2


# --- requests that are refused -----------------------------------------------------------------


@pytest.fixture(scope="module")
def association(archive: Served) -> Iterator[Association]:
    with associated(archive, MODALITY) as association:
        yield association


def test_a_request_without_a_transaction_uid_is_refused_by_name(association: Association) -> None:
    asked = information(referenced(["2.25.1"]))
    del asked.TransactionUID

    answer = ask(association, asked)

    assert (answer.Status, answer.ErrorComment) == (0x0120, "TransactionUID is missing")


def test_a_request_without_references_is_refused_by_name(association: Association) -> None:
    asked = information([])
    del asked.ReferencedSOPSequence

    answer = ask(association, asked)

    assert (answer.Status, answer.ErrorComment) == (0x0120, "ReferencedSOPSequence is missing")


def test_a_request_of_no_instances_is_refused(association: Association) -> None:
    assert ask(association, information([])).Status == 0x0115


def test_a_reference_without_an_instance_is_refused_by_name(association: Association) -> None:
    items = referenced(["2.25.1"])
    del items[0].ReferencedSOPInstanceUID

    answer = ask(association, information(items))

    assert answer.ErrorComment == "ReferencedSOPInstanceUID is missing"


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_malformed_transaction_uid_is_refused(association: Association) -> None:
    asked = information(referenced(["2.25.1"]))
    asked.TransactionUID = "one"

    assert ask(association, asked).Status == 0x0115


def test_another_action_is_refused(association: Association) -> None:
    assert ask(association, information(referenced(["2.25.1"])), action_type=2).Status == 0x0123


def test_another_sop_instance_is_refused(association: Association) -> None:
    status, _ = association.send_n_action(
        information(referenced(["2.25.1"])), 1, StorageCommitmentPushModel, "2.25.7"
    )

    assert status.Status == 0x0112


def test_what_was_refused_is_not_reported(
    association: Association, modality: Entity, archive: Served, stored: list[str]
) -> None:
    asked = information([])
    ask(association, asked)
    request(archive, modality, referenced(stored[:1]))

    assert asked.TransactionUID not in transactions(modality)
