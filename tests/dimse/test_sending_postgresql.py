"""The same deliveries over a catalogue in PostgreSQL."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import availability, commitment, sending
from bfr_dicomweb.services.commitment import Reference
from bfr_dicomweb.services.dispatching import Chore, Follower
from bfr_dicomweb.services.sending import InstanceState, JobState
from dimse_peers import Entity, delivering, keep, listening, until
from dimse_served import Served, served
from objects import a_series, uid


@pytest.fixture
def pacs() -> Iterator[Entity]:
    with listening(Entity("PACS")) as entity:
        yield entity


@pytest.fixture
def archive(pacs: Entity, postgresql_url: str, tmp_path: Path) -> Iterator[Served]:
    peers = [pacs.peer(is_notified=True)]
    with served(tmp_path, peers=peers, index_url=postgresql_url) as archive:
        index = archive.archive.index
        follower = Follower(availability.FOLLOWER, partial(availability.follow, index))
        look = partial(availability.tell_quiet, index, ["PACS"], quiet_s=0.3)
        with delivering(archive, followers=[follower], chores=[Chore("quiet", 0.1, look)]):
            yield archive


def test_everything_that_goes_to_a_peer_goes_from_postgresql(archive: Served, pacs: Entity) -> None:
    index, study, transaction = archive.archive.index, uid(), uid()
    pacs.store = lambda entity, event: 0xA700 if len(entity.attempts) == 2 else 0x0000
    uids = keep(archive, a_series(4, StudyInstanceUID=study))

    references = [Reference(CTImageStorage, one) for one in (*uids, "2.25.1")]
    archive.wait(commitment.request(archive.archive, "PACS", transaction, references))
    job = archive.wait(sending.submit(archive.archive, "PACS", [Ref(study)], commits=True))
    (asked,) = until(lambda: pacs.actions)
    committed = [Reference(CTImageStorage, one) for one in uids]
    answer = sending.answered(index, "PACS", asked.TransactionUID, committed, [])
    archive.wait(answer)

    done = archive.wait(sending.progress(index, job))
    assert (done.job.state, done.counts) == (JobState.DONE, {InstanceState.COMMITTED: 4})
    assert sorted(pacs.stored) == sorted(uids)
    event_type, result = until(lambda: pacs.events)[0]
    assert (event_type, result.TransactionUID) == (2, transaction)
    assert until(lambda: pacs.created)[0][1].StudyInstanceUID == study


def test_what_was_asked_is_a_list_of_what_was_sent(archive: Served, pacs: Entity) -> None:
    uids = keep(archive, a_series(2, StudyInstanceUID=(study := uid())))

    archive.wait(sending.submit(archive.archive, "PACS", [Ref(study)], commits=True))

    asked: Dataset = until(lambda: pacs.actions)[0]
    assert [item.ReferencedSOPInstanceUID for item in asked.ReferencedSOPSequence] == uids
