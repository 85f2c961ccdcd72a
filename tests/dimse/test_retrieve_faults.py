"""Retrievals whose receiver refuses, hangs, aborts or changes its mind, and what cannot be sent."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RLELossless
from pynetdicom import build_context
from pynetdicom.association import Association

from bfr_dicomweb.dimse.peers import ANY, Peer
from dimse_retrieved import (
    CALLING,
    RECEIVER,
    STUDY_ROOT_MOVE,
    Gate,
    Inbox,
    Outcome,
    a_receiver,
    associated,
    forget_peak,
    get,
    keys,
    move,
    peak_memory_bytes,
    receiving,
    store,
)
from dimse_served import AE_TITLE, Served, served
from objects import a_dataset, an_object, written
from shared_data import NO_DCMTK

STUDY, LONG_STUDY = "2.25.100", "2.25.200"
UIDS = [f"2.25.100{number}" for number in range(1, 7)]
LONG = 200


@pytest.fixture(scope="module")
def peer() -> Peer:
    return a_receiver(response_seconds=2)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, peer: Peer) -> Iterator[Served]:
    peers = (Peer(ANY), peer)
    with served(tmp_path_factory.mktemp("archive"), peers=peers) as opened:
        store(opened, (an_image(uid, number) for number, uid in enumerate(UIDS)))
        series = {"StudyInstanceUID": LONG_STUDY, "SeriesInstanceUID": "2.25.201"}
        store(opened, (an_object(InstanceNumber=number, **series) for number in range(LONG)))
        yield opened


def an_image(uid: str, number: int) -> bytes:
    return an_object(
        StudyInstanceUID=STUDY,
        SeriesInstanceUID="2.25.101",
        SOPInstanceUID=uid,
        InstanceNumber=number,
    )


@pytest.fixture(scope="module")
def receiver(peer: Peer) -> Iterator[Inbox]:
    with receiving(peer.port) as opened:
        yield opened


@pytest.fixture
def inbox(receiver: Inbox) -> Inbox:
    receiver.clear()
    return receiver


Retrieve = Callable[[str, Inbox, int], Outcome]


@pytest.fixture(params=["C-MOVE", "C-GET"])
def retrieve(request: pytest.FixtureRequest, archive: Served) -> Retrieve:
    """Retrieves a study into the inbox, and cancels after so many pending responses."""

    def by_move(study: str, _inbox: Inbox, cancel_after: int = 0) -> Outcome:
        identifier = keys("STUDY", StudyInstanceUID=study)
        return move(archive.port, identifier, cancel_after=cancel_after)

    def by_get(study: str, inbox: Inbox, cancel_after: int = 0) -> Outcome:
        return get(
            archive.port,
            keys("STUDY", StudyInstanceUID=study),
            contexts=[build_context(CTImageStorage, ExplicitVRLittleEndian)],
            inbox=inbox,
            cancel_after=cancel_after,
        )

    return by_move if request.param == "C-MOVE" else by_get


def test_what_the_receiver_refuses_is_listed_and_the_rest_is_sent(
    retrieve: Retrieve, inbox: Inbox
) -> None:
    inbox.answer = lambda number, _association: 0 if number % 3 else 0xA700
    outcome = retrieve(STUDY, inbox, 0)
    assert (outcome.status, outcome.counts) == (0xB000, (4, 2, 0))
    assert outcome.failed_uids == [UIDS[2], UIDS[5]]
    assert inbox.uids == [UIDS[0], UIDS[1], UIDS[3], UIDS[4]]


def test_warnings_of_the_receiver_are_counted(retrieve: Retrieve, inbox: Inbox) -> None:
    inbox.answer = lambda number, _association: 0 if number > 1 else 0xB007
    outcome = retrieve(STUDY, inbox, 0)
    assert (outcome.status, outcome.counts, outcome.failed_uids) == (0xB000, (5, 0, 1), [])


def test_a_receiver_that_refuses_everything_is_a_failure(retrieve: Retrieve, inbox: Inbox) -> None:
    inbox.answer = lambda _number, _association: 0xA700
    outcome = retrieve(STUDY, inbox, 0)
    assert (outcome.status, outcome.failed_uids) == (0xA702, UIDS)


def test_a_retrieval_that_is_cancelled_ends(retrieve: Retrieve, inbox: Inbox) -> None:
    def slowly(_number: int, _association: Association) -> int:
        time.sleep(0.05)
        return 0

    inbox.answer = slowly
    outcome = retrieve(LONG_STUDY, inbox, 1)
    remaining = outcome.last.NumberOfRemainingSuboperations
    assert outcome.status == 0xFE00
    assert 0 < remaining < LONG
    assert outcome.counts == (LONG - remaining, 0, 0)


def test_a_receiver_that_hangs_is_given_up(archive: Served, inbox: Inbox) -> None:
    gate = Gate()
    inbox.answer = lambda number, it: gate.hang(number, it) if number == 3 else 0
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID=STUDY))
    gate.open()
    assert (outcome.status, outcome.counts) == (0xB000, (2, 4, 0))
    assert outcome.failed_uids == UIDS[2:]
    assert outcome.comment == f"{RECEIVER}: the peer did not answer in time"
    assert outcome.seconds < 6


def test_a_receiver_that_aborts_once_gets_the_rest_over_another_association(
    archive: Served, inbox: Inbox
) -> None:
    def abort_the_second(number: int, association: Association) -> int:
        if number == 2:
            association.abort()
            return 0xA700
        return 0

    inbox.answer = abort_the_second
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID=STUDY))
    assert (outcome.status, outcome.counts, inbox.associations) == (0, (6, 0, 0), 2)
    assert inbox.uids == [UIDS[0], *UIDS[2:], UIDS[1]]


def test_what_breaks_each_association_is_all_that_fails(archive: Served, inbox: Inbox) -> None:
    def abort_at_every_second(number: int, association: Association) -> int:
        if number in (2, 7):
            association.abort()
            return 0xA700
        return 0

    inbox.answer = abort_at_every_second
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID=STUDY))
    assert (outcome.status, outcome.counts) == (0xB000, (5, 1, 0))
    assert outcome.failed_uids == [UIDS[1]]


def test_a_cancelled_move_does_not_wait_for_a_receiver_that_hangs(
    archive: Served, inbox: Inbox
) -> None:
    gate = Gate()
    inbox.answer = lambda number, it: gate.hang(number, it) if number == 2 else 0
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID=STUDY), cancel_after=1)
    gate.open()
    assert (outcome.status, outcome.last.NumberOfRemainingSuboperations) == (0xFE00, 5)
    assert outcome.seconds < 1.5


def test_nothing_more_is_sent_when_the_one_who_asked_is_gone(archive: Served, inbox: Inbox) -> None:
    def slowly(_number: int, _association: Association) -> int:
        time.sleep(0.02)
        return 0

    inbox.answer = slowly
    with associated(archive.port, [build_context(STUDY_ROOT_MOVE)]) as association:
        identifier = keys("STUDY", StudyInstanceUID=LONG_STUDY)
        answers = association.send_c_move(identifier, RECEIVER, UID(STUDY_ROOT_MOVE))
        next(answers)
        association.abort()
    sent = inbox.tried
    time.sleep(1)
    assert inbox.tried <= sent + 10


def test_an_undecodable_frame_fails_its_instance_alone(archive: Served) -> None:
    study = "2.25.300"
    broken = a_cine(study, break_last=True)
    whole = a_cine(study, break_last=False)
    store(archive, [written(broken, RLELossless), written(whole, RLELossless)])
    inbox = Inbox()
    outcome = get(
        archive.port,
        keys("STUDY", StudyInstanceUID=study),
        contexts=[build_context(CTImageStorage, ExplicitVRLittleEndian)],
        inbox=inbox,
    )
    assert (outcome.status, outcome.failed_uids) == (0xB000, [broken.SOPInstanceUID])
    assert [one.read().PixelData for one in inbox.objects] == [pixels().tobytes()]


def pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.arange(3 * 16 * 16, dtype="<u2").reshape(3, 16, 16)


def a_cine(study: str, *, break_last: bool) -> Dataset:
    ds = a_dataset(StudyInstanceUID=study, NumberOfFrames=3)
    frames = [
        RLELosslessEncoder.encode(
            frame.tobytes(),
            rows=16,
            columns=16,
            samples_per_pixel=1,
            bits_allocated=16,
            bits_stored=16,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            number_of_frames=1,
        )
        for frame in pixels()
    ]
    if break_last:
        frames[-1] = frames[-1][:64] + b"\x81" * 4
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


@pytest.mark.skipif(which("getscu") is None, reason=NO_DCMTK)
def test_a_large_object_is_sent_with_flat_memory(archive: Served, tmp_path: Path) -> None:
    store(archive, [a_large_image("2.25.500")])
    forget_peak()
    before = peak_memory_bytes()
    command = ["getscu", "--ignore", "-S", "-aet", CALLING, "-aec", AE_TITLE]
    query = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=2.25.500"]
    subprocess.run(
        [*command, *query, "127.0.0.1", str(archive.port)], check=True, timeout=60, cwd=tmp_path
    )
    assert peak_memory_bytes() - before < 24 << 20


def a_large_image(study: str) -> bytes:
    return an_object(
        StudyInstanceUID=study,
        Rows=4096,
        Columns=4096,
        NumberOfFrames=6,
        PixelData=bytes(6 * 2 * 4096 * 4096),
    )
