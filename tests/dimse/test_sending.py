"""Jobs of sending: each instance is delivered once, whatever happens to the peer or to us."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pynetdicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when it is imported
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from bfr_dicomweb.errors import InvalidRequest, NotFound
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import dispatching, sending
from bfr_dicomweb.services.sending import InstanceState, JobState, Priority, Progress
from dimse_peers import Entity, after, delivering, keep, listening, until
from dimse_served import AE_TITLE, Served, served
from objects import a_series, an_object, uid


@pytest.fixture(scope="module", autouse=True)
def _impatient() -> Iterator[None]:
    """Attempts follow each other sooner than they do in life."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dispatching, "FIRST_PAUSE_S", 0.1)
        patched.setattr(sending, "_FIRST_PAUSE_US", 50_000)
        yield


@pytest.fixture(scope="module")
def entities() -> dict[str, Entity]:
    return {title: Entity(title) for title in ("PACS", "HANGING", "LATER", "KEEPER")}


@pytest.fixture(scope="module")
def archive(
    entities: dict[str, Entity], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    peers = [
        entities["PACS"].peer(),
        entities["HANGING"].peer(response_seconds=2),
        entities["LATER"].peer(),
        entities["KEEPER"].peer(),
    ]
    with served(tmp_path_factory.mktemp("archive"), peers=peers) as archive, delivering(archive):
        yield archive


@pytest.fixture
def _choosy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers made of pynetdicom take only what they name; the door lets it take everything."""
    monkeypatch.setattr(pynetdicom._config, "UNRESTRICTED_STORAGE_SERVICE", False)


@pytest.fixture
def pacs(archive: Served, entities: dict[str, Entity]) -> Iterator[Entity]:
    """Takes everything; a test may tell it otherwise."""
    entity = entities["PACS"]
    entity.store = lambda entity, event: 0x0000
    entity.stored.clear()
    entity.attempts.clear()
    with listening(entity):
        yield entity


def a_study(archive: Served, instances: int) -> tuple[Ref, list[str]]:
    study = uid()
    return Ref(study), keep(archive, a_series(instances, StudyInstanceUID=study))


def submit(archive: Served, peer: str, *refs: Ref, **how: Any) -> int:
    number: int = archive.wait(sending.submit(archive.archive, peer, refs, **how))
    return number


def progress(archive: Served, number: int) -> Progress:
    return archive.wait(sending.progress(archive.archive.index, number))


def ended(archive: Served, number: int) -> Progress:
    def found() -> Progress | None:
        so_far = progress(archive, number)
        return None if so_far.job.state is JobState.OPEN else so_far

    done: Progress = until(found)
    return done


def test_every_instance_of_a_study_is_delivered_once(archive: Served, pacs: Entity) -> None:
    ref, uids = a_study(archive, 7)

    done = ended(archive, submit(archive, "PACS", ref))

    assert (done.job.state, Counter(pacs.attempts)) == (JobState.DONE, Counter(uids))


def test_an_instance_named_twice_is_sent_once(archive: Served, pacs: Entity) -> None:
    ref, uids = a_study(archive, 2)

    ended(archive, submit(archive, "PACS", ref, ref))

    assert sorted(pacs.attempts) == sorted(uids)


def test_what_comes_after_a_job_was_made_is_not_of_it(archive: Served, pacs: Entity) -> None:
    ref, _ = a_study(archive, 2)
    number = submit(archive, "PACS", ref)
    keep(archive, a_series(1, StudyInstanceUID=ref.study_instance_uid))

    assert ended(archive, number).instances == 2


def test_a_receiver_that_refuses_every_third_gets_all_of_them(
    archive: Served, pacs: Entity
) -> None:
    ref, uids = a_study(archive, 9)
    pacs.store = lambda entity, event: 0xA700 if len(entity.attempts) % 3 == 0 else 0x0000

    done = ended(archive, submit(archive, "PACS", ref))

    assert (done.job.state, sorted(pacs.stored)) == (JobState.DONE, sorted(uids))


def test_an_instance_that_is_always_refused_fails_alone(archive: Served, pacs: Entity) -> None:
    ref, uids = a_study(archive, 4)
    pacs.store = lambda entity, event: (
        0xC000 if event.request.AffectedSOPInstanceUID == uids[1] else 0x0000
    )

    done = ended(archive, submit(archive, "PACS", ref))

    assert done.counts == {InstanceState.SENT: 3, InstanceState.FAILED: 1}
    assert done.reasons == {"refused with status C000H": 1}


def test_what_failed_is_sent_when_the_job_is_resumed(archive: Served, pacs: Entity) -> None:
    ref, uids = a_study(archive, 3)
    pacs.store = lambda entity, event: (
        0x0122 if event.request.AffectedSOPInstanceUID == uids[1] else 0x0000
    )
    number = submit(archive, "PACS", ref)
    assert ended(archive, number).job.state is JobState.FAILED
    pacs.store = lambda entity, event: 0x0000

    resumed = archive.wait(sending.resume(archive.archive.index, number))

    assert (resumed, ended(archive, number).job.state) == (1, JobState.DONE)
    assert Counter(pacs.attempts) == Counter([*uids, uids[1]])


def test_after_a_broken_association_only_the_rest_is_sent(archive: Served, pacs: Entity) -> None:
    ref, uids = a_study(archive, 8)

    def break_once(entity: Entity, event: Any) -> int:
        if len(entity.attempts) == 4:
            event.assoc.abort()
        return 0x0000

    pacs.store = break_once

    ended(archive, submit(archive, "PACS", ref))

    repeated = [one for one, count in Counter(pacs.attempts).items() if count > 1]
    assert (len(pacs.attempts), set(pacs.attempts)) == (9, set(uids))
    assert repeated == [pacs.attempts[3]]


def test_a_peer_that_was_away_gets_what_waits(archive: Served, entities: dict[str, Entity]) -> None:
    ref, uids = a_study(archive, 3)
    number = submit(archive, "LATER", ref)
    until(lambda: _waits_for(archive, "LATER"))

    with listening(entities["LATER"]) as later:
        done = ended(archive, number)

    assert (done.job.state, sorted(later.stored)) == (JobState.DONE, sorted(uids))


def _waits_for(archive: Served, peer: str) -> bool:
    from bfr_dicomweb.index import outbox

    backlog = archive.wait(archive.archive.index.ask(outbox.backlog))
    return any(one.receiver == f"{peer} (send)" and one.attempts for one in backlog)


def test_a_receiver_that_hangs_delays_no_other(
    archive: Served, pacs: Entity, entities: dict[str, Entity]
) -> None:
    ref, uids = a_study(archive, 2)
    hanging = entities["HANGING"]
    hanging.store = lambda entity, event: after(4)
    with listening(hanging):
        stuck = submit(archive, "HANGING", ref)
        until(lambda: hanging.attempts)

        ended(archive, submit(archive, "PACS", ref))

        assert progress(archive, stuck).counts == {InstanceState.WAITING: 2}
    assert sorted(pacs.stored) == sorted(uids)


def test_a_receiver_that_hung_gets_everything_in_the_end(
    archive: Served, entities: dict[str, Entity]
) -> None:
    ref, uids = a_study(archive, 3)
    hanging = entities["HANGING"]
    hanging.attempts.clear()
    hanging.stored.clear()
    hanging.store = lambda entity, event: after(3 if len(entity.attempts) == 2 else 0)
    with listening(hanging):
        done = ended(archive, submit(archive, "HANGING", ref))

    assert (done.job.state, set(hanging.stored) >= set(uids)) == (JobState.DONE, True)


def test_an_urgent_job_overtakes_one_that_waits(
    archive: Served, entities: dict[str, Entity]
) -> None:
    routine, routine_uids = a_study(archive, 2)
    urgent, urgent_uids = a_study(archive, 2)
    later = entities["LATER"]
    later.stored.clear()
    jobs = [
        submit(archive, "LATER", routine),
        submit(archive, "LATER", urgent, priority=Priority.HIGH),
    ]

    with listening(later):
        for number in jobs:
            ended(archive, number)

    assert set(later.stored[:2]) == set(urgent_uids)
    assert set(later.stored[2:]) == set(routine_uids)


def test_the_priority_is_told_to_the_receiver(archive: Served, pacs: Entity) -> None:
    ref, _ = a_study(archive, 1)
    told: list[int] = []

    def take(entity: Entity, event: Any) -> int:
        told.append(event.request.Priority)
        return 0x0000

    pacs.store = take

    ended(archive, submit(archive, "PACS", ref, priority=Priority.LOW))

    assert told == [2]


@pytest.mark.usefixtures("_choosy")
def test_a_sop_class_that_is_not_taken_fails_alone_with_the_reason(
    archive: Served, entities: dict[str, Entity]
) -> None:
    study = uid()
    (ct,) = keep(archive, [an_object(StudyInstanceUID=study)])
    keep(archive, [an_object(StudyInstanceUID=study, SOPClassUID=MRImageStorage)])
    taken: list[str] = []

    def take(event: Any) -> int:
        taken.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    narrow = AE("KEEPER")
    narrow.add_supported_context(CTImageStorage)
    server = narrow.start_server(
        ("127.0.0.1", entities["KEEPER"].port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, take)],
    )
    assert server is not None

    done = ended(archive, submit(archive, "KEEPER", Ref(study)))

    server.shutdown()
    assert (taken, done.counts) == ([ct], {InstanceState.SENT: 1, InstanceState.FAILED: 1})
    assert done.reasons == {"the receiver does not take this SOP class": 1}


@pytest.mark.usefixtures("_choosy")
def test_a_job_of_which_nothing_is_taken_holds_up_no_other(archive: Served, pacs: Entity) -> None:
    study = uid()
    keep(archive, [an_object(StudyInstanceUID=study, SOPClassUID="1.2.840.10008.5.1.4.999")])
    ref, uids = a_study(archive, 1)
    unknown = submit(archive, "PACS", Ref(study), priority=Priority.HIGH)

    ended(archive, submit(archive, "PACS", ref))

    assert (ended(archive, unknown).job.state, pacs.stored) == (JobState.FAILED, uids)


def test_nothing_is_sent_of_a_study_that_is_not_there(archive: Served) -> None:
    with pytest.raises(NotFound):
        submit(archive, "PACS", Ref("2.25.1"))


def test_a_job_of_nothing_is_refused(archive: Served) -> None:
    with pytest.raises(InvalidRequest):
        submit(archive, "PACS")


def test_an_unknown_job_is_not_found(archive: Served) -> None:
    with pytest.raises(NotFound):
        progress(archive, 7)


# --- with a commitment of the receiver ---------------------------------------------------------


def commit(archive: Served, entity: Entity, failing: Sequence[str] = ()) -> None:
    """Answer the last request, on an association of the receiver's own."""
    asked = entity.actions[-1]
    result = Dataset()
    result.TransactionUID = asked.TransactionUID
    references = list(asked.ReferencedSOPSequence)
    result.ReferencedSOPSequence = [
        item for item in references if item.ReferencedSOPInstanceUID not in failing
    ]
    failed = [item for item in references if item.ReferencedSOPInstanceUID in failing]
    for item in failed:
        item.FailureReason = 0x0112
    if failed:
        result.FailedSOPSequence = failed
    caller = AE(entity.title)
    caller.add_requested_context(StorageCommitmentPushModel)
    association = caller.associate(
        "127.0.0.1",
        archive.port,
        ae_title=AE_TITLE,
        ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
    )
    assert association.is_established
    status, _ = association.send_n_event_report(
        result,
        2 if failed else 1,
        StorageCommitmentPushModel,
        StorageCommitmentPushModelInstance,
    )
    association.release()
    assert status.Status == 0x0000


def test_a_job_is_done_when_the_receiver_has_committed(archive: Served, pacs: Entity) -> None:
    ref, uids = a_study(archive, 3)
    pacs.actions.clear()
    number = submit(archive, "PACS", ref, commits=True)
    until(lambda: pacs.actions)
    before = progress(archive, number)

    commit(archive, pacs)

    assert (before.job.state, before.counts) == (JobState.OPEN, {InstanceState.ASKED: 3})
    done = ended(archive, number)
    assert (done.counts, done.delivered) == ({InstanceState.COMMITTED: 3}, len(uids))


def test_what_the_receiver_does_not_commit_to_is_sent_again(archive: Served, pacs: Entity) -> None:
    ref, uids = a_study(archive, 3)
    pacs.actions.clear()
    number = submit(archive, "PACS", ref, commits=True)
    until(lambda: len(pacs.actions) == 1)

    commit(archive, pacs, failing=uids[1:2])
    until(lambda: len(pacs.actions) == 2)
    commit(archive, pacs)

    assert ended(archive, number).counts == {InstanceState.COMMITTED: 3}
    assert Counter(pacs.stored) == Counter([*uids, uids[1]])


def test_a_commitment_that_nobody_asked_for_is_refused(archive: Served, pacs: Entity) -> None:
    asked = Dataset()
    asked.TransactionUID = uid()
    item = Dataset()
    item.ReferencedSOPClassUID = item.ReferencedSOPInstanceUID = "2.25.1"
    asked.ReferencedSOPSequence = [item]
    pacs.actions.append(asked)

    with pytest.raises(AssertionError):
        commit(archive, pacs)


# --- the process dies --------------------------------------------------------------------------


def test_a_job_goes_on_in_the_next_process(tmp_path: Path) -> None:
    with listening(Entity("NEXT")) as receiver:
        with served(tmp_path, peers=[receiver.peer()]) as archive:
            ref, uids = a_study(archive, 3)
            number = submit(archive, "NEXT", ref)
        with served(tmp_path, peers=[receiver.peer()]) as archive, delivering(archive):
            done = ended(archive, number)

        assert (done.job.state, sorted(receiver.stored)) == (JobState.DONE, sorted(uids))
