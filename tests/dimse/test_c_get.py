"""C-GET as a peer sees it: which instances come, and what the responses say."""

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)
from pynetdicom import build_context

from bfr_dicomweb.dimse.peers import ANY, Peer, Permission
from dimse_retrieved import (
    CALLING,
    COMPOSITE_INSTANCE_ROOT_GET,
    PATIENT_ROOT_GET,
    STUDY_ROOT_GET,
    Inbox,
    get,
    keys,
    store,
)
from dimse_served import Served, served
from objects import a_series, an_object

STUDY, SERIES = "2.25.100", "2.25.101"
IMAGES = ["2.25.1001", "2.25.1002", "2.25.1003"]
REPORT = "2.25.1004"
BOTH = [build_context(CTImageStorage), build_context(EnhancedSRStorage)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    peers = (Peer(ANY), Peer("WRITER", may=frozenset({Permission.STORE})))
    with served(tmp_path_factory.mktemp("archive"), peers=peers) as opened:
        images = [
            an_object(
                StudyInstanceUID=STUDY,
                SeriesInstanceUID=SERIES,
                SOPInstanceUID=uid,
                InstanceNumber=number,
            )
            for number, uid in enumerate(IMAGES)
        ]
        report = an_object(
            StudyInstanceUID=STUDY,
            SOPInstanceUID=REPORT,
            SOPClassUID=EnhancedSRStorage,
            SeriesNumber=2,
        )
        store(opened, [*images, report])
        yield opened


@pytest.mark.parametrize(
    ("model", "identifier", "expected"),
    [
        (PATIENT_ROOT_GET, keys("PATIENT", PatientID="191212121212"), [*IMAGES, REPORT]),
        (STUDY_ROOT_GET, keys("STUDY", StudyInstanceUID=STUDY), [*IMAGES, REPORT]),
        (STUDY_ROOT_GET, keys("SERIES", SeriesInstanceUID=SERIES), IMAGES),
        (COMPOSITE_INSTANCE_ROOT_GET, keys("IMAGE", SOPInstanceUID=IMAGES[:2]), IMAGES[:2]),
        (STUDY_ROOT_GET, keys("STUDY", StudyInstanceUID="2.25.9"), []),
    ],
    ids=lambda value: value.QueryRetrieveLevel if isinstance(value, Dataset) else None,
)
def test_what_the_keys_name_is_sent(
    archive: Served, model: str, identifier: Dataset, expected: list[str]
) -> None:
    inbox = Inbox()
    outcome = get(archive.port, identifier, model=model, contexts=BOTH, inbox=inbox)
    assert (outcome.status, outcome.counts, inbox.uids) == (0, (len(expected), 0, 0), expected)


def test_an_identifier_that_does_not_fit_the_sop_class_is_refused(archive: Served) -> None:
    outcome = get(archive.port, keys("PATIENT", PatientID="1"), contexts=BOTH)
    assert outcome.status == 0xA900


def test_each_of_few_instances_has_a_pending_response(archive: Served) -> None:
    outcome = get(archive.port, keys("STUDY", StudyInstanceUID=STUDY), contexts=BOTH)
    told = [
        (answer.NumberOfRemainingSuboperations, answer.NumberOfCompletedSuboperations)
        for answer, _ in outcome.responses[:-1]
    ]
    assert told == [(3, 1), (2, 2), (1, 3)]


def test_of_a_class_that_is_not_accepted_the_instances_fail(archive: Served) -> None:
    inbox = Inbox()
    outcome = get(
        archive.port,
        keys("STUDY", StudyInstanceUID=STUDY),
        contexts=[build_context(CTImageStorage)],
        inbox=inbox,
    )
    assert (outcome.status, outcome.counts) == (0xB000, (3, 1, 0))
    assert (outcome.failed_uids, inbox.uids) == ([REPORT], IMAGES)


def test_who_takes_only_compressed_images_gets_them_without_loss(archive: Served) -> None:
    inbox = Inbox()
    outcome = get(
        archive.port,
        keys("SERIES", SeriesInstanceUID=SERIES),
        contexts=[build_context(CTImageStorage, JPEG2000Lossless)],
        inbox=inbox,
    )
    assert (outcome.status, inbox.uids) == (0, IMAGES)
    assert {one.transfer_syntax_uid for one in inbox.objects} == {JPEG2000Lossless}


def test_nothing_is_sent_in_a_syntax_that_cannot_be_made(archive: Served) -> None:
    outcome = get(
        archive.port,
        keys("SERIES", SeriesInstanceUID=SERIES),
        contexts=[build_context(CTImageStorage, JPEGBaseline8Bit)],
    )
    assert (outcome.status, outcome.failed_uids) == (0xA702, IMAGES)
    assert "no transfer syntax that can be made" in outcome.comment


def test_as_stored_is_chosen_where_it_is_accepted(archive: Served) -> None:
    inbox = Inbox()
    contexts = [
        build_context(CTImageStorage, syntax)
        for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
    ]
    get(archive.port, keys("IMAGE", SOPInstanceUID=IMAGES[0]), contexts=contexts, inbox=inbox)
    assert [one.transfer_syntax_uid for one in inbox.objects] == [ExplicitVRLittleEndian]


def test_many_instances_have_a_pending_response_now_and_then(archive: Served) -> None:
    store(archive, a_series(60, StudyInstanceUID="2.25.400"))
    outcome = get(archive.port, keys("STUDY", StudyInstanceUID="2.25.400"), contexts=BOTH)
    assert outcome.counts == (60, 0, 0)
    assert len(outcome.responses) <= 2 + outcome.seconds


def test_the_association_serves_the_next_request(archive: Served) -> None:
    inbox = Inbox()
    for _ in range(2):
        get(archive.port, keys("SERIES", SeriesInstanceUID=SERIES), contexts=BOTH, inbox=inbox)
    assert inbox.uids == IMAGES * 2


def test_nothing_is_logged_of_what_was_retrieved(
    archive: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    get(archive.port, keys("STUDY", StudyInstanceUID=STUDY), contexts=BOTH)
    logged = "".join(capsys.readouterr())
    assert CALLING in logged
    assert not any(word in logged for word in (STUDY, "191212121212", "kerstr"))
