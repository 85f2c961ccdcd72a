"""Which exams a modality is to perform, and what their studies are called."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.orders import linking, scheduled_steps
from bfr_dicomweb.orders.events import Event, Facts, Kind
from bfr_dicomweb.orders.fold import fold
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind, Identifier
from bfr_dicomweb.orders.linking import StudyKeys
from bfr_dicomweb.orders.state import Exam, Status

ACCESSION = Alias(AliasKind.ACCESSION, "urn:oid:1.2.3", "A1")
PLACER = Alias(AliasKind.PLACER, "", "P1")
STUDY = Alias(AliasKind.STUDY, DICOM_UID, "1.2.752.113.99.1.1")
PATIENT = (Identifier("", "P"),)
BOOKED = Facts(scheduled_start="2024-01-10T08:00:00.000000Z", station_ae_title="CT1_SU")


def an_exam(*aliases: Alias, status: Status = Status.BOOKED, facts: Facts = BOOKED) -> Exam:
    return Exam(aliases=aliases or (ACCESSION,), status=status, steps=(), facts=facts)


@pytest.mark.parametrize("status", Status)
def test_what_is_scheduled_and_not_over_is_on_the_worklist(status: Status) -> None:
    is_on = bool(scheduled_steps.starts(an_exam(status=status)))

    assert is_on == (status in (Status.RECEIVED, Status.BOOKED, Status.ARRIVED, Status.STARTED))


@pytest.mark.parametrize(
    ("status", "facts", "expected"),
    [
        (Status.BOOKED, Facts(scheduled_start=BOOKED.scheduled_start), True),
        (Status.RECEIVED, Facts(scheduled_start=BOOKED.scheduled_start), False),
        (Status.RECEIVED, Facts(station_ae_title="CT1_SU"), False),
        (Status.BOOKED, Facts(station_ae_title="CT1_SU"), False),
    ],
    ids=["booked without a station", "ordered without", "ordered without a time", "never"],
)
def test_an_order_needs_a_time_and_a_station(status: Status, facts: Facts, expected: bool) -> None:
    assert bool(scheduled_steps.starts(an_exam(status=status, facts=facts))) is expected


def test_it_starts_when_swedish_clocks_say_so() -> None:
    assert scheduled_steps.starts(an_exam()) == "20240110090000.000000"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.000000Z"])
def test_the_ends_of_the_calendar_are_no_error(time: str) -> None:
    assert len(scheduled_steps.local_text(time)) in (0, 21)


def test_the_study_that_was_ordered_is_its_study() -> None:
    assert scheduled_steps.study_instance_uid(an_exam(ACCESSION, STUDY), 1) == STUDY.value


aliases = st.builds(
    Alias,
    st.sampled_from((AliasKind.ACCESSION, AliasKind.FILLER, AliasKind.PLACER)),
    st.sampled_from(("", "urn:oid:1.2.3")),
    st.text(min_size=1, max_size=5),
)


@given(st.lists(aliases, min_size=1, max_size=5), st.randoms())
def test_a_derived_uid_does_not_depend_on_the_order_of_the_numbers(
    own: list[Alias], random: Random
) -> None:
    shuffled = own.copy()
    random.shuffle(shuffled)

    assert scheduled_steps.derived_study_uid(own, 1) == (
        scheduled_steps.derived_study_uid(shuffled, 1)
    )


@given(aliases, aliases, st.integers(1, 9), st.integers(1, 9))
def test_exams_that_are_called_differently_have_different_uids(
    one: Alias, other: Alias, patient: int, another: int
) -> None:
    """A number that nobody vouches for names an exam only together with its patient."""
    is_same = one == other and (bool(one.system) or patient == another)

    uids = {
        scheduled_steps.derived_study_uid([one], patient),
        scheduled_steps.derived_study_uid([other], another),
    }

    assert (len(uids) == 1) == is_same


def test_a_derived_uid_is_one() -> None:
    uid = scheduled_steps.derived_study_uid([ACCESSION], 1)

    assert (uid.startswith("2.25."), len(uid) <= 64) == (True, True)


def test_an_accession_number_that_is_learned_later_leaves_a_study_that_was_performed() -> None:
    """What the modality said stays."""
    uid = scheduled_steps.derived_study_uid([PLACER], 1)
    told = [
        Event(Kind.RECEIVED, "2024-01-08T08:00:00.000000Z", "EHR", "1", (PLACER,), facts=BOOKED),
        Event(
            Kind.STARTED,
            "2024-01-10T08:00:00.000000Z",
            "CT1",
            "2",
            (PLACER, Alias(AliasKind.STUDY, DICOM_UID, uid)),
        ),
        Event(Kind.BOOKED, "2024-01-09T08:00:00.000000Z", "RIS", "3", (PLACER, ACCESSION)),
    ]

    (exam,) = fold(told).exams

    assert scheduled_steps.study_instance_uid(exam, 1) == uid


def test_a_study_with_the_derived_uid_is_of_the_exam() -> None:
    exam = an_exam(PLACER)
    uid = scheduled_steps.study_instance_uid(exam, 5)

    linked = linking.link(
        StudyKeys(uid, PATIENT), [linking.keys_of(7, exam, PATIENT, patient_id=5)]
    )

    assert linked.rungs == {7: linking.STUDY}
