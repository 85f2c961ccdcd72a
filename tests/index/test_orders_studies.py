"""Studies and exams find each other, whichever comes first."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bfr_dicomweb.index import instances
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.orders.delays import Delay
from bfr_dicomweb.orders.events import Facts, Kind
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind
from bfr_dicomweb.services import linking, watching
from catalogue_objects import a_new_instance
from orders_kept import (
    EVIDIA,
    EXAM1,
    LIFE,
    OTHER,
    RESERVE,
    TOLVAN,
    Teller,
    a_report,
    accession,
    an_event,
    merged,
    of_patient,
    telling,
)

STUDY = "2.25.1"
NAMED = Alias(AliasKind.STUDY, DICOM_UID, STUDY)


@pytest.fixture
async def teller(index: Index) -> AsyncIterator[Teller]:
    async with telling(index) as opened:
        yield opened


async def store(teller: Teller, study: str = STUDY, **values: Any) -> None:
    """Store an instance of the study, and follow the change."""
    told = {"PatientID": TOLVAN.value, "StudyDate": "20240103"} | values
    new = instances.prepare(a_new_instance(study, **told))
    await teller.index.transact(lambda conn: instances.add_instances(conn, [new]))
    await linking.link(teller.index, [study])


async def links(teller: Teller) -> list[tuple[Any, ...]]:
    """Study, accession number of the exam, rung, and whether the study is stored."""
    return await teller.rows(
        "SELECT DISTINCT x.study_instance_uid, a.value, x.rung, x.study_id > 0 FROM study_exam x"
        " JOIN order_alias a ON a.exam_id = x.exam_id AND a.kind = 'accession' ORDER BY 1, 2"
    )


async def test_a_study_with_the_accession_number_of_an_exam_is_its(teller: Teller) -> None:
    await teller.tell(*LIFE[0])
    await store(teller, AccessionNumber="SU24000123")

    ((study, number, rung, stored),) = await links(teller)
    assert (study, number, rung, bool(stored)) == (STUDY, "SU24000123", 2, True)


async def test_an_exam_finds_the_study_that_was_stored_before(teller: Teller) -> None:
    await store(teller, AccessionNumber="SU24000123")
    await teller.tell(*LIFE[0])

    ((study, number, rung, stored),) = await links(teller)
    assert (study, number, rung, bool(stored)) == (STUDY, "SU24000123", 2, True)


async def test_a_study_that_an_order_names_is_known_before_it_is_stored(teller: Teller) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1, *EXAM1, NAMED))

    ((study, _, rung, stored),) = await links(teller)
    assert (study, rung, bool(stored)) == (STUDY, 1, False)
    assert await teller.rows("SELECT studies FROM exam") == [(0,)]


async def test_a_named_study_counts_when_it_is_stored(teller: Teller) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1, *EXAM1, NAMED))
    await store(teller)

    assert await teller.rows("SELECT studies FROM exam") == [(1,)]


async def test_a_study_of_several_exams_is_linked_to_each(teller: Teller) -> None:
    requests = [{"AccessionNumber": "SU24000123"}, {"AccessionNumber": "SU24000124"}]
    await store(teller, RequestAttributesSequence=requests)
    await teller.tell(*LIFE[0])

    assert [number for _, number, *_ in await links(teller)] == ["SU24000123", "SU24000124"]


@pytest.mark.parametrize("first", ["study", "order"])
async def test_a_step_of_the_same_patient_links(teller: Teller, first: str) -> None:
    step = Alias(AliasKind.STEP, EVIDIA, "7")
    request = [{"ScheduledProcedureStepID": "7"}]
    if first == "study":
        await store(teller, RequestAttributesSequence=request)
    await teller.tell(an_event(Kind.RECEIVED, 1, *EXAM1, step))
    if first == "order":
        await store(teller, RequestAttributesSequence=request)

    assert [rung for *_, rung, _ in await links(teller)] == [3]


async def test_a_study_of_another_patient_is_not_linked(teller: Teller) -> None:
    await teller.tell(*LIFE[0])
    await store(teller, PatientID=OTHER.value, AccessionNumber="SU24000123")

    assert await links(teller) == []
    assert "study-patient-mismatch" in await teller.findings()


async def test_a_study_that_another_patients_order_named_is_unlinked_when_it_comes(
    teller: Teller,
) -> None:
    await teller.tell(an_event(Kind.RECEIVED, 1, *EXAM1, NAMED))
    await store(teller, PatientID=OTHER.value)

    assert await links(teller) == []


async def test_images_without_an_order_are_a_finding_until_it_comes(teller: Teller) -> None:
    await store(teller, AccessionNumber="SU24000123")
    assert await teller.findings() == ["images-without-order"]

    await teller.tell(*LIFE[0])

    assert await teller.findings() == []


async def test_what_only_looks_alike_is_a_suggestion(teller: Teller) -> None:
    facts = Facts(modality="CT", scheduled_start="2024-01-03T08:00:00.000000Z")
    applied = await teller.tell(an_event(Kind.RECEIVED, 1, *EXAM1, facts=facts))
    await store(teller)

    ((code, detail),) = await teller.rows("SELECT code, detail FROM finding")
    assert (code, await links(teller)) == ("study-ambiguous", [])
    assert f"exam/{applied.exams[0]}" in detail


async def test_linking_again_changes_nothing(teller: Teller) -> None:
    await teller.tell(*LIFE[0])
    await store(teller, AccessionNumber="SU24000123")
    before = await teller.rows("SELECT change FROM counter")

    await linking.link(teller.index, [STUDY])

    assert await teller.rows("SELECT change FROM counter") == before


async def test_a_merge_links_what_was_stored_under_the_other_number(teller: Teller) -> None:
    await teller.tell(*LIFE[0], patient=of_patient(TOLVAN))
    await store(teller, PatientID=RESERVE.value, AccessionNumber="SU24000123")
    assert await links(teller) == []

    await teller.tell(patient=of_patient(TOLVAN), links=(merged(TOLVAN, RESERVE, 3),))

    assert [number for _, number, *_ in await links(teller)] == ["SU24000123"]
    assert await teller.findings() == []


async def test_the_study_of_an_exam_that_became_part_of_another_goes_with_it(
    teller: Teller,
) -> None:
    placer = Alias(AliasKind.PLACER, EVIDIA, "P1")
    await teller.tell(an_event(Kind.RECEIVED, 1, placer))
    await teller.tell(an_event(Kind.BOOKED, 2, accession("A1")))
    await store(teller, AccessionNumber="A1")

    await teller.tell(an_event(Kind.STARTED, 3, placer, accession("A1")))

    linked = await teller.rows("SELECT exam_id FROM study_exam")
    assert linked == await teller.rows("SELECT id FROM exam")


async def test_a_status_looks_for_no_studies(teller: Teller) -> None:
    await teller.tell(*LIFE[0])
    await store(teller, AccessionNumber="SU24000123")
    before = await teller.rows("SELECT change FROM study_exam")

    await teller.tell(*LIFE[1])

    assert await teller.rows("SELECT change FROM study_exam") == before


async def test_each_link_is_told_of(teller: Teller) -> None:
    applied = await teller.tell(an_event(Kind.RECEIVED, 1))
    await store(teller, AccessionNumber="SU24000123")

    told = await teller.rows(
        "SELECT subject, study_instance_uid FROM change WHERE what = 'study-linked'"
    )
    assert told == [(f"exam/{applied.exams[0]}", STUDY)]


async def test_images_that_come_are_not_overdue_any_more(index: Index) -> None:
    async with telling(index, delay_of=lambda _: Delay("signed", 3600)) as teller:
        await teller.tell(a_report(1, "text"))
        await watching.raise_overdue(index)
        assert "images-overdue" in await teller.findings()

        await store(teller, AccessionNumber="SU24000123")

        assert "images-overdue" not in await teller.findings()


async def test_images_of_a_cancelled_exam_are_not_overdue(index: Index) -> None:
    async with telling(index, delay_of=lambda _: Delay("performed", 3600)) as teller:
        await teller.tell(an_event(Kind.PERFORMED, 1))
        await watching.raise_overdue(index)
        assert "images-overdue" in await teller.findings()

        await teller.tell(an_event(Kind.WITHDRAWN, 2))

        assert "images-overdue" not in await teller.findings()
