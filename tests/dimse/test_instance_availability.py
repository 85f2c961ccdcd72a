"""Peers that want to know are told of studies that have become available (PS3.4 Annex R)."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from bfr_dicomweb.services import availability
from bfr_dicomweb.services.dispatching import Chore, Follower
from dimse_peers import Entity, delivering, keep, listening, until
from dimse_served import AE_TITLE, Served, served
from objects import a_series, an_object, uid

QUIET_S = 0.6
PERFORMED_STEP = "1.2.840.10008.3.1.2.3.3"


@pytest.fixture(scope="module")
def ris() -> Iterator[Entity]:
    with listening(Entity("RIS")) as entity:
        yield entity


@pytest.fixture(scope="module")
def archive(ris: Entity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    peers = [ris.peer(is_notified=True), Entity("OTHER").peer()]
    with served(tmp_path_factory.mktemp("archive"), peers=peers) as archive:
        index = archive.archive.index
        follower = Follower(availability.FOLLOWER, partial(availability.follow, index))
        look = partial(availability.tell_quiet, index, ["RIS"], quiet_s=QUIET_S)
        with delivering(archive, followers=[follower], chores=[Chore("quiet", 0.1, look)]):
            yield archive


def told_of(entity: Entity, study: str) -> list[Dataset]:
    return [made for _, made in entity.created if made.StudyInstanceUID == study]


def test_a_study_that_has_stopped_growing_is_told_with_its_instances(
    archive: Served, ris: Entity
) -> None:
    study = uid()
    uids = keep(archive, a_series(3, StudyInstanceUID=study))

    (told,) = until(lambda: told_of(ris, study))

    (series,) = told.ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence] == uids
    assert {
        (item.ReferencedSOPClassUID, item.InstanceAvailability, item.RetrieveAETitle)
        for item in series.ReferencedSOPSequence
    } == {(CTImageStorage, "ONLINE", AE_TITLE)}
    assert list(told.ReferencedPerformedProcedureStepSequence) == []


def test_instances_that_come_close_together_are_told_once(archive: Served, ris: Entity) -> None:
    study, series = uid(), uid()
    for number in range(4):
        made = an_object(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
        keep(archive, [made])
    other = uid()
    until(lambda: told_of(ris, study))
    keep(archive, [an_object(StudyInstanceUID=other)])
    until(lambda: told_of(ris, other))

    (told,) = told_of(ris, study)
    assert len(told.ReferencedSeriesSequence[0].ReferencedSOPSequence) == 4


def test_a_study_that_grows_later_is_told_again_as_a_whole(archive: Served, ris: Entity) -> None:
    study = uid()
    keep(archive, [an_object(StudyInstanceUID=study)])
    until(lambda: told_of(ris, study))

    keep(archive, [an_object(StudyInstanceUID=study)])
    told = until(lambda: told_of(ris, study)[1:])

    assert len(told[0].ReferencedSeriesSequence) == 2


def test_the_performed_procedure_step_of_the_images_is_named(archive: Served, ris: Entity) -> None:
    study, step = uid(), uid()
    item = Dataset()
    item.ReferencedSOPClassUID = PERFORMED_STEP
    item.ReferencedSOPInstanceUID = step
    keep(
        archive,
        [an_object(StudyInstanceUID=study, ReferencedPerformedProcedureStepSequence=[item])],
    )

    (told,) = until(lambda: told_of(ris, study))

    (named,) = told.ReferencedPerformedProcedureStepSequence
    assert named.ReferencedSOPInstanceUID == step


def test_a_notification_that_is_refused_is_told_again_under_the_same_uid(
    archive: Served, ris: Entity
) -> None:
    study = uid()
    attempts: list[str] = []

    def refuse_once(entity: Entity, event: Any) -> int:
        if event.attribute_list.StudyInstanceUID == study:
            attempts.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0213 if len(attempts) == 1 else 0x0000

    ris.create = refuse_once
    keep(archive, [an_object(StudyInstanceUID=study)])
    until(lambda: told_of(ris, study))

    assert attempts[0] == attempts[1]


def test_who_was_away_is_told_when_it_is_back(archive: Served, ris: Entity) -> None:
    study = uid()
    ris.create = lambda entity, event: 0x0000
    ris.stop()
    keep(archive, [an_object(StudyInstanceUID=study)])
    until(lambda: archive.wait(availability.waiting(archive.archive.index, "RIS")))

    ris.start()

    assert until(lambda: told_of(ris, study))
