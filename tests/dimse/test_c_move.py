"""C-MOVE as a peer sees it: which instances come, to whom, and what the responses say."""

import threading
from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedSRStorage,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from bfr_dicomweb.dimse.peers import ANY, Peer, Permission
from dimse_retrieved import (
    CALLING,
    COMPOSITE_INSTANCE_ROOT_MOVE,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_MOVE,
    STUDY_ROOT_MOVE,
    Inbox,
    a_receiver,
    keys,
    move,
    receiving,
    store,
)
from dimse_served import Served, served
from live import free_port
from objects import a_series, an_object

STUDY, OTHER_STUDY = "2.25.100", "2.25.200"
SERIES, SECOND_SERIES = "2.25.101", "2.25.102"
NUMBERED = {1: "2.25.1001", 2: "2.25.1002", 3: "2.25.1003"}
IN_SECOND = "2.25.1004"
OF_OTHER = "2.25.2001"


@pytest.fixture(scope="module")
def peer() -> Peer:
    return a_receiver()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, peer: Peer) -> Iterator[Served]:
    peers = (
        Peer(ANY),
        peer,
        Peer("NOWHERE"),
        Peer("GONE", "127.0.0.1", free_port()),
        Peer("WRITER", may=frozenset({Permission.STORE})),
    )
    with served(tmp_path_factory.mktemp("archive"), peers=peers) as opened:
        store(
            opened,
            [
                *(
                    an_object(
                        StudyInstanceUID=STUDY,
                        SeriesInstanceUID=SERIES,
                        SOPInstanceUID=uid,
                        InstanceNumber=number,
                    )
                    for number, uid in NUMBERED.items()
                ),
                an_object(
                    StudyInstanceUID=STUDY,
                    SeriesInstanceUID=SECOND_SERIES,
                    SeriesNumber=2,
                    SOPInstanceUID=IN_SECOND,
                ),
                an_object(StudyInstanceUID=OTHER_STUDY, SOPInstanceUID=OF_OTHER, PatientID="OTHER"),
            ],
        )
        yield opened


@pytest.fixture(scope="module")
def receiver(peer: Peer) -> Iterator[Inbox]:
    with receiving(peer.port) as opened:
        yield opened


@pytest.fixture
def inbox(receiver: Inbox) -> Inbox:
    receiver.clear()
    return receiver


@pytest.mark.parametrize(
    ("model", "identifier", "expected"),
    [
        (
            PATIENT_ROOT_MOVE,
            keys("PATIENT", PatientID="191212121212"),
            [*NUMBERED.values(), IN_SECOND],
        ),
        (PATIENT_ROOT_MOVE, keys("STUDY", PatientID="OTHER", StudyInstanceUID=STUDY), []),
        (PATIENT_STUDY_ONLY_MOVE, keys("PATIENT", PatientID="OTHER"), [OF_OTHER]),
        (
            STUDY_ROOT_MOVE,
            keys("STUDY", StudyInstanceUID=[OTHER_STUDY, STUDY]),
            [OF_OTHER, *NUMBERED.values(), IN_SECOND],
        ),
        (
            STUDY_ROOT_MOVE,
            keys("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID=[SERIES, "2.25.9"]),
            [*NUMBERED.values()],
        ),
        (STUDY_ROOT_MOVE, keys("SERIES", SeriesInstanceUID=SECOND_SERIES), [IN_SECOND]),
        (
            STUDY_ROOT_MOVE,
            keys("SERIES", StudyInstanceUID=OTHER_STUDY, SeriesInstanceUID=SERIES),
            [],
        ),
        (
            STUDY_ROOT_MOVE,
            keys(
                "IMAGE",
                StudyInstanceUID=STUDY,
                SeriesInstanceUID=SERIES,
                SOPInstanceUID=[NUMBERED[3], NUMBERED[1]],
            ),
            [NUMBERED[3], NUMBERED[1]],
        ),
        (
            COMPOSITE_INSTANCE_ROOT_MOVE,
            keys("IMAGE", SOPInstanceUID=[OF_OTHER, NUMBERED[2]]),
            [OF_OTHER, NUMBERED[2]],
        ),
        (STUDY_ROOT_MOVE, keys("STUDY", StudyInstanceUID="2.25.9"), []),
    ],
    ids=lambda value: value.QueryRetrieveLevel if isinstance(value, Dataset) else None,
)
def test_what_the_keys_name_is_sent(
    archive: Served, inbox: Inbox, model: str, identifier: Dataset, expected: list[str]
) -> None:
    outcome = move(archive.port, identifier, model=model)
    assert (outcome.status, outcome.counts, inbox.uids) == (0, (len(expected), 0, 0), expected)


@pytest.mark.parametrize(
    ("model", "identifier"),
    [
        (STUDY_ROOT_MOVE, keys("PATIENT", PatientID="OTHER")),
        (PATIENT_STUDY_ONLY_MOVE, keys("SERIES", SeriesInstanceUID=SERIES)),
        (COMPOSITE_INSTANCE_ROOT_MOVE, keys("FRAME", SOPInstanceUID=OF_OTHER)),
        (STUDY_ROOT_MOVE, keys("STUDY")),
        (STUDY_ROOT_MOVE, keys("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID="")),
        (PATIENT_ROOT_MOVE, keys("PATIENT", PatientID=["OTHER", "191212121212"])),
        (STUDY_ROOT_MOVE, keys("", StudyInstanceUID=STUDY)),
    ],
    ids=lambda value: value.QueryRetrieveLevel if isinstance(value, Dataset) else None,
)
def test_an_identifier_that_does_not_fit_the_sop_class_is_refused(
    archive: Served, model: str, identifier: Dataset
) -> None:
    assert move(archive.port, identifier, model=model).status == 0xA900


def test_few_instances_have_a_pending_response_each(archive: Served, inbox: Inbox) -> None:
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID=STUDY))
    told = [
        (answer.NumberOfRemainingSuboperations, answer.NumberOfCompletedSuboperations)
        for answer, _ in outcome.responses[:-1]
    ]
    assert told == [(3, 1), (2, 2), (1, 3)]
    assert len(inbox.objects) == 4


def test_the_receiver_learns_who_asked(archive: Served, inbox: Inbox) -> None:
    move(archive.port, keys("STUDY", StudyInstanceUID=OTHER_STUDY))
    assert inbox.objects[0].originator == (CALLING, 7)


@pytest.mark.parametrize("priority", [0, 1, 2])
def test_the_priority_is_handed_on(archive: Served, inbox: Inbox, priority: int) -> None:
    move(archive.port, keys("STUDY", StudyInstanceUID=OTHER_STUDY), priority=priority)
    assert inbox.objects[0].priority == priority


@pytest.mark.parametrize("destination", ["STRANGER", "NOWHERE"])
def test_a_destination_without_a_known_address_is_named(archive: Served, destination: str) -> None:
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID=STUDY), destination=destination)
    assert outcome.status == 0xA801
    assert destination in outcome.comment


def test_a_destination_that_does_not_listen_fails_every_instance(archive: Served) -> None:
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID=STUDY), destination="GONE")
    assert (outcome.status, outcome.counts) == (0xA702, (0, 4, 0))
    assert outcome.failed_uids == [*NUMBERED.values(), IN_SECOND]
    assert "Connection refused" in outcome.comment


def test_two_moves_at_once_both_arrive(archive: Served, inbox: Inbox) -> None:
    uids = (STUDY, OTHER_STUDY)
    threads = [
        threading.Thread(target=move, args=(archive.port, keys("STUDY", StudyInstanceUID=uid)))
        for uid in uids
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(inbox.uids) == sorted([*NUMBERED.values(), IN_SECOND, OF_OTHER])


def test_more_sop_classes_than_one_association_can_negotiate_need_several(
    archive: Served, inbox: Inbox
) -> None:
    study = "2.25.300"
    classes = [f"1.2.826.0.1.3680043.9.{number}" for number in range(100)]
    store(archive, [an_object(StudyInstanceUID=study, SOPClassUID=uid) for uid in classes])
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID=study))
    assert (outcome.status, len(inbox.objects), inbox.associations) == (0, 100, 2)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, JPEGLSLossless])
def test_a_peer_is_sent_only_the_transfer_syntaxes_it_is_configured_for(
    tmp_path_factory: pytest.TempPathFactory, syntax: str
) -> None:
    peer = a_receiver(transfer_syntaxes=(syntax,))
    with (
        served(tmp_path_factory.mktemp("only"), peers=(Peer(ANY), peer)) as archive,
        receiving(peer.port) as inbox,
    ):
        store(archive, [an_object(StudyInstanceUID=STUDY)])
        move(archive.port, keys("STUDY", StudyInstanceUID=STUDY))
        assert [one.transfer_syntax_uid for one in inbox.objects] == [syntax]


def test_many_instances_have_a_pending_response_now_and_then(archive: Served, inbox: Inbox) -> None:
    store(archive, a_series(60, StudyInstanceUID="2.25.400", SOPClassUID=EnhancedSRStorage))
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID="2.25.400"))
    assert (outcome.counts, len(inbox.objects)) == ((60, 0, 0), 60)
    assert len(outcome.responses) <= 2 + outcome.seconds


def test_an_object_of_odd_length_is_made_even(archive: Served, inbox: Inbox) -> None:
    file = an_object(StudyInstanceUID="2.25.500", SOPClassUID=CTImageStorage, PatientID="12345678")
    # a value of 7 bytes, as some write them
    odd = file.replace(b"LO\x08\x0012345678", b"LO\x07\x001234567")
    store(archive, [odd])
    outcome = move(archive.port, keys("STUDY", StudyInstanceUID="2.25.500"))
    assert outcome.status == 0
    assert inbox.objects[0].read().PatientID == "1234567"
    assert len(inbox.objects[0].data_set) % 2 == 0
